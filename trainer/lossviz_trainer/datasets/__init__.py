"""Labelled 32 x 32 images from wherever they come: one checked value, as numpy arrays.

`load.load_dataset` is the door. Behind it lies one module for each source (`digits`, `cifar`,
`folder`, `npz`), `images` with the value they all return and what it guarantees, and `subset`,
which picks fewer training examples without unbalancing the classes.
"""
