"""Axis letters and array aliases, so that a signature says which way round a matrix lies.

A confusion matrix has the true class down (rows, `i`) and the predicted class across (columns,
`j`). Time, where there is any, comes first: `epochs` is the axis along which epochs follow one
another.

The aliases are shapes for people and for the tests, which check them at run time; a program in
use does not pay for them.
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

Counts: TypeAlias = Int[np.ndarray, "*batch true predicted"]
"""Examples counted by true class (rows) and predicted class (columns)."""

Rates: TypeAlias = Float[np.ndarray, "*batch true predicted"]
"""Fractions in [0, 1] by true class (rows) and predicted class (columns); NaN: no examples."""

CountsByEpoch: TypeAlias = Int[np.ndarray, "epochs true predicted"]
"""One confusion matrix for each epoch."""

RatesByEpoch: TypeAlias = Float[np.ndarray, "epochs true predicted"]
"""One CCTM for each epoch."""

ClassValues: TypeAlias = Float[np.ndarray, "*batch classes"]
"""One number for each class."""

PairValues: TypeAlias = Float[np.ndarray, "classes classes"]
"""One number for each ordered pair of classes; in a CCTM true class down, predicted across."""

PairCounts: TypeAlias = Int[np.ndarray, "classes classes"]
"""One count for each ordered pair of classes, the class concerned down and the other across."""

Curve: TypeAlias = Float[np.ndarray, " epochs"]
"""One number for each epoch."""

EpochMask: TypeAlias = Bool[np.ndarray, " epochs"]
"""A yes or no for each epoch."""

Notes: TypeAlias = Int[np.ndarray, "epochs classes"]
"""For each epoch and true class the class it is most confused with, or NO_NOTE."""

Coordinates: TypeAlias = Float[np.ndarray, " points"]
"""Positions along one direction, in multiples of that direction."""

Surface: TypeAlias = Float[np.ndarray, "rows columns"]
"""A quantity over a plane: rows follow the first direction, columns the second."""

ClassSurfaces: TypeAlias = Float[np.ndarray, "rows columns classes"]
"""One surface for each class over the same plane."""
