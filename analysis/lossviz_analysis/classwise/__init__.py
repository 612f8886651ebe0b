"""Functions of confusion matrices: which classes fight, when, and who wins.

Everything is numpy and derived from counts (Diao, Yao and Jiang 2022): `confusion` makes the
CCTM, `interference` ranks pairs of classes, `dance` follows two recalls over the epochs,
`notes` says who interferes most at each epoch.
"""
