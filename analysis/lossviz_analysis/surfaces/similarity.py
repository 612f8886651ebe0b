"""Loss-shape similarity: whose losses look alike over one plane (Diao 2022, sec. 4.1)."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.cluster import hierarchy

from lossviz_analysis.arrays import ClassSurfaces, PairValues

_OPTIMAL_ORDER_CLASSES = 256
"""Up to here the leaves are ordered optimally; that takes 0.1 s, for 1,000 classes 3 s."""


def loss_shape_similarity(class_surfaces: ClassSurfaces) -> PairValues:
    """Return the Pearson correlation of every two classes' surfaces over the same plane.

    Diao (2022, sec. 4.1): classes that share similar loss shapes in other classes' ego spaces
    are likely to interfere.

    Args:
        class_surfaces: One surface for each class. Two classes are compared over the cells
            where both are finite. Classes that miss the same cells are dealt with at once, so a
            thousand classes of which each misses cells of its own take long.

    Returns:
        A symmetric matrix in [-1, 1], 1 on the diagonal. NaN where one of the two surfaces is
        constant over the cells they share, or they share fewer than two.
    """
    num_classes = class_surfaces.shape[2]
    cells = class_surfaces.reshape(-1, num_classes).astype(np.float64)
    finite = np.isfinite(cells)
    patterns, group = np.unique(finite, axis=1, return_inverse=True)
    members = [np.flatnonzero(group.ravel() == g) for g in range(patterns.shape[1])]
    similarity = np.full((num_classes, num_classes), np.nan)
    for g, first in enumerate(members):
        for h in range(g, len(members)):
            shared = patterns[:, g] & patterns[:, h]
            second = members[h]
            these = _standardised(cells, shared, first)
            those = these if g == h else _standardised(cells, shared, second)
            block = _correlations(these, those)
            similarity[np.ix_(first, second)] = block
            similarity[np.ix_(second, first)] = block.T
    defined = np.flatnonzero(~np.isnan(np.diagonal(similarity)))
    similarity[defined, defined] = 1  # rounding leaves 1 - 1e-16
    return similarity


def cluster_order(similarity: PairValues) -> Int[np.ndarray, " classes"]:
    """Order classes so that similar ones stand together, by average-linkage clustering.

    The distance of two classes is 1 - similarity. The leaves of the tree are turned so that
    neighbours are as near as possible (Bar-Joseph, Gifford and Jaakkola 2001), for more than
    256 classes left as they come.

    Args:
        similarity: Symmetric, as `loss_shape_similarity` returns it; NaN counts as 0, neither
            alike nor opposite.

    Returns:
        Class indices in drawing order, a permutation.
    """
    num_classes = len(similarity)
    if num_classes < 2:
        return np.arange(num_classes)
    first, second = np.triu_indices(num_classes, k=1)
    distances = 1 - np.nan_to_num(similarity[first, second].astype(np.float64), nan=0.0)
    tree = hierarchy.linkage(
        distances, method="average", optimal_ordering=num_classes <= _OPTIMAL_ORDER_CLASSES
    )
    return hierarchy.leaves_list(tree).astype(np.int64)


def interference_agreement(similarity: PairValues, rates: PairValues) -> float:
    """Return the rank correlation of similarity with interference.

    Spearman, over i < j, with (CCTM(i, j) + CCTM(j, i)) / 2: the number behind Diao's claim
    (2022, sec. 4.1) that loss shapes are indicative of interference.

    Args:
        similarity: Loss-shape similarity of every two classes.
        rates: One CCTM.

    Returns:
        A rank correlation in [-1, 1], equal values sharing their mean rank. Pairs where either
        is NaN are left out; NaN with fewer than two pairs, or where one side is all equal.
    """
    first, second = np.triu_indices(len(similarity), k=1)
    alike = similarity[first, second]
    interference = (rates[first, second] + rates[second, first]) / 2
    known = ~np.isnan(alike + interference)
    pairs = np.stack([_ranks(alike[known]), _ranks(interference[known])], axis=1)
    shape = _standardised(pairs, np.ones(len(pairs), dtype=bool), np.arange(2))
    return float(_correlations(shape, shape)[0, 1])


def _standardised(
    cells: Float[np.ndarray, "cells columns"],
    kept: Bool[np.ndarray, " cells"],
    members: Int[np.ndarray, " members"],
) -> Float[np.ndarray, "kept members"]:
    """Return columns of mean 0 and length 1; NaN for those that are constant up to rounding."""
    columns = cells[np.ix_(kept, members)]
    if len(columns) < 2:
        return np.full(columns.shape, np.nan)
    spread = np.ptp(columns, axis=0)
    constant = spread <= 4 * np.finfo(np.float64).eps * np.abs(columns).max(axis=0)
    # Divided by the spread before squaring: losses that exploded would overflow.
    columns = (columns - columns.mean(axis=0)) / np.where(constant, np.nan, spread)
    return columns / np.linalg.norm(columns, axis=0)


def _correlations(
    first: Float[np.ndarray, "cells first"], second: Float[np.ndarray, "cells second"]
) -> Float[np.ndarray, "first second"]:
    if len(first) < 2:
        return np.full((first.shape[1], second.shape[1]), np.nan)
    return np.clip(first.T @ second, -1, 1)


def _ranks(values: Float[np.ndarray, " values"]) -> Float[np.ndarray, " values"]:
    """Return ranks from 1, equal values sharing the mean of theirs."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[position]
