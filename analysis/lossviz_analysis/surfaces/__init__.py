"""Functions of scanned loss curves and surfaces: how wide, how alike, of which type.

A surface lies as it was scanned: rows follow the first direction, columns the second, and a
cell that is not there (not yet, or not a number) is NaN. The model itself is at the coordinates
(0, 0).
"""
