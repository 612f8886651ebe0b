"""The views: each paints a scene into lines of cells and knows no app."""
