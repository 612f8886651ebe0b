"""Widgets that send only what changed, and no more than the link takes."""
