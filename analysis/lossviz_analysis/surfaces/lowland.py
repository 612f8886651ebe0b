"""The lowland: the flat terrain a minimum lies in (Diao 2022, sec. 3)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from lossviz_analysis.arrays import Coordinates, Surface

# Mistake rates are multiples of 1 / examples: a cell that is exactly delta above the centre on
# paper is off by rounding only, and no other cell comes this near.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Lowland:
    """The connected region around the model where hardly more mistakes are made."""

    mask: Bool[np.ndarray, "rows columns"]
    """The cells that belong to it."""

    area: float
    """Their area in coordinate units; NaN if the centre is missing."""

    share: float
    """Their share of the number of cells of the grid; NaN if the centre is missing."""

    threshold: float
    """The highest mistake rate that belongs: centre + delta; NaN if the centre is missing."""


def lowland(
    mistake_rate: Surface,
    t1: Float[np.ndarray, " rows"],
    t2: Float[np.ndarray, " columns"],
    *,
    delta: float = 0.05,
) -> Lowland:
    """Return the region around the centre where the mistake rate is at most centre + delta.

    Diao (2022, sec. 3) calls minima in a large flat terrain lowland minima; the number is ours.
    Cells are connected through their four sides, not their corners. The centre is the cell
    nearest to (0, 0), of equally near ones the first. A cell covers what is nearer to its own
    coordinates than to those of any other cell, within the grid's extent: cells at the border
    are half as wide as those inside, and a grid all of whose cells belong has the area (last -
    first of t1) x (last - first of t2).

    Args:
        mistake_rate: Fractions over the plane; NaN cells never belong.
        t1: Coordinates of the rows, strictly increasing.
        t2: Coordinates of the columns, strictly increasing.
        delta: How much above the centre still belongs, a fraction in [0, 1].

    Returns:
        The region. If the centre cell is NaN it is empty and its numbers are NaN.

    Raises:
        ValueError: Delta is not a fraction, or coordinates do not increase.
    """
    if not 0 <= delta <= 1:
        raise ValueError(f"delta is a fraction in [0, 1]; got {delta!r} (percent?)")
    for name, t in (("t1", t1), ("t2", t2)):
        if not (t.size and np.isfinite(t).all() and (np.diff(t) > 0).all()):
            raise ValueError(f"{name} must be finite and strictly increasing; got {t!r}")
    centre = (_nearest_to_zero(t1), _nearest_to_zero(t2))
    threshold = float(mistake_rate[centre]) + delta
    if np.isnan(threshold):
        empty = np.zeros(mistake_rate.shape, dtype=bool)
        return Lowland(mask=empty, area=np.nan, share=np.nan, threshold=np.nan)
    low = mistake_rate <= threshold + _ROUNDING
    regions = np.empty(low.shape, dtype=np.int32)
    ndimage.label(low, output=regions)
    mask = regions == regions[centre]
    return Lowland(
        mask=mask,
        area=float(_cell_widths(t1) @ mask @ _cell_widths(t2)),
        share=float(mask.mean()),
        threshold=threshold,
    )


def _nearest_to_zero(t: Coordinates) -> int:
    distance = np.abs(t)
    # A symmetric grid without 0 has two nearest points that can differ by rounding: take the
    # first.
    return int(np.argmax(distance <= distance.min() * (1 + 1e-9)))


def _cell_widths(t: Coordinates) -> Coordinates:
    middles = (t[1:] + t[:-1]) / 2
    return np.diff(middles, prepend=t[0], append=t[-1])


def lowest_entry(
    values: Surface,
    t1: Float[np.ndarray, " rows"],
    t2: Float[np.ndarray, " columns"],
) -> tuple[int, int] | None:
    """Where a surface is lowest; of equal places the one nearest to the model.

    Where a whole region makes no mistake, the first of its cells would be a corner of it.

    Args:
        values: Mistake rates or losses; what is not finite does not count.
        t1: Coordinates of the rows, ascending.
        t2: Coordinates of the columns, ascending.

    Returns:
        Row and column; None where nothing is finite. Distances are in spans of the axes.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return None
    rows, columns = np.nonzero(finite & (values == values[finite].min()))
    spans = [float(np.ptp(t)) or 1.0 for t in (t1, t2)]
    nearest = int(np.hypot(t1[rows] / spans[0], t2[columns] / spans[1]).argmin())
    return int(rows[nearest]), int(columns[nearest])
