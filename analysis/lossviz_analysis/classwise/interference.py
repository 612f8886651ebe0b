"""Pairs of classes that interfere, and how symmetric that is (Diao 2022, sec. 2.1)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from lossviz_analysis.arrays import PairValues
from lossviz_analysis.classwise.ranking import ranked_indices


@dataclass(frozen=True, slots=True)
class DirectedPair:
    """`predicted_class` interferes `true_class`: the latter is taken for the former."""

    true_class: int
    """Row of the CCTM."""

    predicted_class: int
    """Column of the CCTM; never the same class."""

    rate: float
    """CCTM(true, predicted), a fraction."""


@dataclass(frozen=True, slots=True)
class UndirectedPair:
    """Two classes that are taken for one another."""

    first: int
    """The smaller class index."""

    second: int
    """The larger class index."""

    rate: float
    """(CCTM(first, second) + CCTM(second, first)) / 2, a fraction."""


def directed_pairs(rates: PairValues, *, limit: int | None = None) -> tuple[DirectedPair, ...]:
    """Rank the ordered pairs of classes by CCTM(i, j), i != j (Diao 2022, sec. 2.1).

    Args:
        rates: One CCTM.
        limit: How many of the first pairs to return, 0 or more; all when None.

    Returns:
        Pairs by descending rate; equal rates by (true, predicted). Pairs whose rate is NaN,
        those of classes without examples, are left out; pairs with rate 0 are not.
    """
    true, predicted = np.nonzero(~np.eye(len(rates), dtype=bool))
    off_diagonal = rates[true, predicted]
    kept = ranked_indices(off_diagonal, limit)
    rows = zip(
        true[kept].tolist(), predicted[kept].tolist(), off_diagonal[kept].tolist(), strict=True
    )
    return tuple(DirectedPair(*row) for row in rows)


def undirected_pairs(
    rates: PairValues, *, limit: int | None = None
) -> tuple[UndirectedPair, ...]:
    """Rank the pairs of classes by (CCTM(i, j) + CCTM(j, i)) / 2, i < j.

    Args:
        rates: One CCTM.
        limit: How many of the first pairs to return, 0 or more; all when None.

    Returns:
        Pairs by descending rate; equal rates by (first, second). Pairs with a class without
        examples are left out.
    """
    above = _above_diagonal(len(rates))
    mean = (rates[above] + rates.T[above]) / 2
    kept = ranked_indices(mean, limit)
    first, second = np.divmod(np.flatnonzero(above)[kept], len(rates))
    rows = zip(first.tolist(), second.tolist(), mean[kept].tolist(), strict=True)
    return tuple(UndirectedPair(*row) for row in rows)


def symmetry(rates: PairValues) -> float:
    """Return the Pearson correlation of CCTM(i, j) with CCTM(j, i) over i < j.

    Diao (2022, sec. 2.1) claims a symmetry pattern without a number; this is the number.

    Args:
        rates: One CCTM.

    Returns:
        A correlation in [-1, 1]. NaN with fewer than two pairs of classes that both have
        examples, and where the entries of one side are all equal.
    """
    above = _above_diagonal(len(rates))
    upper, lower = rates[above], rates.T[above]
    present = ~np.isnan(upper + lower)
    return _pearson(upper[present], lower[present])


def _above_diagonal(num_classes: int) -> Bool[np.ndarray, "classes classes"]:
    """Where i < j: a mask is quicker than half a million pairs of indices."""
    return np.triu(np.ones((num_classes, num_classes), dtype=bool), k=1)


def _pearson(x: Float[np.ndarray, " pairs"], y: Float[np.ndarray, " pairs"]) -> float:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))
