"""Label dance: two recalls that rise at each other's expense (Diao 2022, sec. 4.2, Fig. 6)."""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from lossviz_analysis.arrays import EpochMask, PairValues, RatesByEpoch
from lossviz_analysis.classwise.ranking import ranked_indices

NO_CLASS: Final = -1
"""Where no class interferes."""

RecallByEpoch: TypeAlias = Float[np.ndarray, "epochs classes"]
"""The recall of each class at each epoch."""

EpochWindow: TypeAlias = tuple[int, int]
"""First epoch index and the one after the last, as in a slice; neither may be negative."""

# Recalls are multiples of 1 / examples, so changes that differ at all differ by far more than
# this, and changes that are equal on paper differ by rounding, far less.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class DancingPair:
    """Two classes and how much they dance."""

    first: int
    """The smaller class index."""

    second: int
    """The larger class index."""

    score: float
    """Dance score in [-1, 1]."""


def local_maxima(
    curve: Float[np.ndarray, "epochs *curves"],
) -> Bool[np.ndarray, "epochs *curves"]:
    """Mark the epochs at which a curve is greater than at both neighbours.

    A plateau counts once, at its first epoch, if the curve is lower on both its sides; a
    plateau that touches either end of the history does not count.

    Args:
        curve: Values over epochs (axis 0), for any number of curves at once.

    Returns:
        True at each local maximum; never at the first or last epoch, at NaN or next to NaN.
    """
    peaks = np.zeros(curve.shape, dtype=bool)
    num_steps = len(curve) - 1
    if num_steps < 2:
        return peaks
    rises = curve[1:] > curve[:-1]
    falls = curve[1:] < curve[:-1]
    flat = curve[1:] == curve[:-1]
    # For each step the next one that is not flat, itself included; without any, the last.
    steps = np.arange(num_steps).reshape(-1, *(1,) * (curve.ndim - 1))
    next_step = np.where(flat, num_steps - 1, steps)
    np.minimum.accumulate(next_step[::-1], axis=0, out=next_step[::-1])
    peaks[1:-1] = rises[:-1] & np.take_along_axis(falls, next_step[1:], axis=0)
    return peaks


def pair_moments(recall: RecallByEpoch, rates: RatesByEpoch, a: int, b: int) -> EpochMask:
    """Mark the epochs at which class b interferes class a (red arrows of Diao 2022, Fig. 6).

    At such an epoch the recall of b has a local maximum, the recall of a fell from the epoch
    before, and CCTM(a, b) has a local maximum.

    Args:
        recall: Recall of each class at each epoch.
        rates: CCTM of each epoch.
        a: The class interfered with.
        b: The class that interferes; another class than a.

    Returns:
        True at each moment; never at the first or last epoch.
    """
    _check_pair(rates.shape[1], a, b)
    return local_maxima(recall[:, b]) & _fell(recall[:, a]) & local_maxima(rates[:, a, b])


def third_class_moments(
    recall: RecallByEpoch, rates: RatesByEpoch, a: int, b: int
) -> Int[np.ndarray, " epochs"]:
    """Name the third class that interferes class a (blue arrows of Diao 2022, Fig. 6).

    At such an epoch the recalls of a and b both fell from the epoch before, and CCTM(a, c), c
    neither a nor b, has a local maximum and is the largest entry of row a off the diagonal (of
    equal entries the one with the smaller index).

    Args:
        recall: Recall of each class at each epoch.
        rates: CCTM of each epoch.
        a: The class interfered with.
        b: Its partner in the dance; another class than a.

    Returns:
        The class c, or NO_CLASS at epochs without such a moment, the first and last among them.
    """
    _check_pair(rates.shape[1], a, b)
    row = rates[:, a, :]
    leader = _largest_off_diagonal(row, a)
    # NO_CLASS picks the last column here, and stays NO_CLASS whatever is found there.
    peaks = np.take_along_axis(local_maxima(row), leader[:, None], axis=1)[:, 0]
    both_fell = _fell(recall[:, a]) & _fell(recall[:, b])
    is_moment = both_fell & peaks & (leader != b)
    return np.where(is_moment, leader, NO_CLASS)


def dance_score(
    recall: RecallByEpoch, a: int, b: int, *, window: EpochWindow | None = None
) -> float:
    """Return minus the Pearson correlation of the epoch-to-epoch changes of two recalls.

    1 means that whatever one class gains the other loses, in proportion (our number for the
    pattern of Diao 2022, sec. 4.2).

    Args:
        recall: Recall of each class at each epoch.
        a: One class.
        b: Another class.
        window: The epochs to look at, (start, stop); all when None.

    Returns:
        A score in [-1, 1]. NaN with fewer than three epochs, where a recall changes by the same
        amount at every epoch, and where one is missing inside the window.
    """
    _check_pair(recall.shape[1], a, b)
    return float(dance_scores(recall[:, [a, b]], window=window)[0, 1])


def dance_scores(recall: RecallByEpoch, *, window: EpochWindow | None = None) -> PairValues:
    """Return the dance score of every two classes; see `dance_score`.

    Args:
        recall: Recall of each class at each epoch.
        window: The epochs to look at, (start, stop); all when None.

    Returns:
        A symmetric matrix of scores in [-1, 1], NaN on the diagonal and where the score is
        undefined.

    Raises:
        ValueError: The window does not lie inside the history.
    """
    start, stop = (0, len(recall)) if window is None else window
    if not 0 <= start <= stop <= len(recall):
        raise ValueError(
            f"window is (start, stop), 0 <= start <= stop <= {len(recall)}; got {window!r}"
        )
    num_classes = recall.shape[1]
    scores = np.full((num_classes, num_classes), np.nan)
    changes = np.diff(recall[start:stop].astype(np.float64), axis=0)
    if len(changes) < 2:
        return scores
    (defined,) = np.nonzero(
        np.isfinite(changes).all(axis=0) & (np.ptp(changes, axis=0) > _ROUNDING)
    )
    changes = changes[:, defined]
    changes -= changes.mean(axis=0)
    changes /= np.linalg.norm(changes, axis=0)
    scores[np.ix_(defined, defined)] = np.clip(-(changes.T @ changes), -1, 1)
    np.fill_diagonal(scores, np.nan)
    return scores


def ranked_dances(
    recall: RecallByEpoch, *, limit: int | None = None, window: EpochWindow | None = None
) -> tuple[DancingPair, ...]:
    """Rank the pairs of classes by their dance score; see `dance_score`.

    Args:
        recall: Recall of each class at each epoch.
        limit: How many of the first pairs to return, 0 or more; all when None.
        window: The epochs to look at, (start, stop); all when None.

    Returns:
        Pairs by descending score; equal scores by (first, second). Pairs without a score are
        left out.
    """
    first, second = np.triu_indices(recall.shape[1], k=1)
    scores = dance_scores(recall, window=window)[first, second]
    kept = ranked_indices(scores, limit)
    rows = zip(first[kept].tolist(), second[kept].tolist(), scores[kept].tolist(), strict=True)
    return tuple(DancingPair(*row) for row in rows)


def dominance_epoch(rates: RatesByEpoch, a: int, b: int) -> int | None:
    """Return the epoch from which b stays the largest off-diagonal entry of row a to the end.

    Diao (2022, sec. 4.2) reports about 118 of 200 for dog over cat. Of equal entries the one
    with the smaller index counts as the largest, as in the dancing notes. A row without
    mistakes, or without examples, has no largest entry and so ends a dominance.

    Args:
        rates: CCTM of each epoch.
        a: The class interfered with.
        b: The class that dominates its mistakes; another class than a.

    Returns:
        An index into the epochs, or None if b does not dominate at the last one.
    """
    _check_pair(rates.shape[1], a, b)
    leads = _largest_off_diagonal(rates[:, a, :], a) == b
    if not leads.size or not leads[-1]:
        return None
    interruptions = np.flatnonzero(~leads)
    return int(interruptions[-1]) + 1 if interruptions.size else 0


def _check_pair(num_classes: int, a: int, b: int) -> None:
    if a == b or not (0 <= a < num_classes and 0 <= b < num_classes):
        raise ValueError(
            f"a and b are two different classes in 0..{num_classes - 1}; got {a!r} and {b!r}"
        )


def _fell(curve: Float[np.ndarray, " epochs"]) -> EpochMask:
    """Mark the epochs at which a curve is lower than at the epoch before."""
    fell = np.zeros(curve.shape, dtype=bool)
    fell[1:] = curve[1:] < curve[:-1]
    return fell


def _largest_off_diagonal(
    row: Float[np.ndarray, "epochs classes"], a: int
) -> Int[np.ndarray, " epochs"]:
    """Name the class a is most often taken for; NO_CLASS without mistakes or examples."""
    others = row.copy()
    others[:, a] = -np.inf
    leader = others.argmax(axis=1)  # the first of equals; of a NaN row its first entry
    largest = np.take_along_axis(others, leader[:, None], axis=1)[:, 0]
    return np.where(largest > 0, leader, NO_CLASS)
