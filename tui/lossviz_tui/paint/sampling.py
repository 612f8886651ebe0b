"""Where the cells of a matrix lie on the screen, and which value each point of it shows.

A terminal cell is about twice as tall as wide. With half blocks it shows two square points one
above the other; without them it shows one. A matrix smaller than its area is enlarged until
its entries are squares of whole points, or of nearly equal ones where that would waste more
than a quarter of the area; a larger one is reduced.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Origin: TypeAlias = Literal["upper", "lower"]
Fit: TypeAlias = Literal["square", "stretch"]
Reduction: TypeAlias = Literal["mean", "max", "extreme", "nearest"]

Values: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A matrix laid over cells; answers where an entry lies and which one was clicked."""

    rows: int
    columns: int
    left: int
    top: int
    width: int
    """Cells across."""
    height: int
    """Cells down."""
    points_down: int
    """Points down: up to two per cell with half blocks."""
    halves: int
    """Points per cell, one above the other: 2 with half blocks, otherwise 1."""
    origin: Origin

    def entry_at(self, x: int, y: int) -> tuple[int, int] | None:
        """Row and column of the entry under a cell; None beside the picture."""
        column, line = x - self.left, y - self.top
        if not (0 <= column < self.width and 0 <= line < self.height):
            return None
        point = min(line * self.halves, self.points_down - 1)
        row = int((point + 0.5) * self.rows / self.points_down)
        return self._flipped(row), int((column + 0.5) * self.columns / self.width)

    def cells_of(self, row: int, column: int) -> tuple[int, int, int, int] | None:
        """Left, top, right and bottom (exclusive) of the cells of an entry; None outside."""
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            return None
        first, end = _share(self._flipped(row), self.rows, self.points_down)
        left, right = _share(column, self.columns, self.width)
        top, bottom = first // self.halves, math.ceil(end / self.halves)
        return self.left + left, self.top + top, self.left + right, self.top + bottom

    def centre_of(self, row: int, column: int) -> tuple[int, int] | None:
        """The cell in the middle of an entry; None outside."""
        box = self.cells_of(row, column)
        if box is None:
            return None
        return (box[0] + box[2] - 1) // 2, (box[1] + box[3] - 1) // 2

    def _flipped(self, row: int) -> int:
        return self.rows - 1 - row if self.origin == "lower" else row


def _share(index: int, count: int, points: int) -> tuple[int, int]:
    """The points whose middle falls into an entry; at least one."""
    first = math.ceil(index * points / count - 0.5)
    end = math.ceil((index + 1) * points / count - 0.5)
    first = min(max(0, first), points - 1)
    return first, max(first + 1, min(end, points))


def placed(
    shape: tuple[int, int],
    area: tuple[int, int, int, int],
    *,
    halves: int,
    fit: Fit,
    origin: Origin,
) -> Placement | None:
    """Lay a matrix over an area (left, top, width, height); None if either is empty."""
    rows, columns = shape
    left, top, width, height = area
    if min(rows, columns, width, height) < 1:
        return None
    across, down = width, height * halves
    if fit == "square":
        unit = 2 // halves  # a point is this many times as tall as wide
        scale = min(width / columns, down * unit / rows)
        whole = math.floor(scale / unit) * unit
        if whole >= 0.75 * scale:
            scale = whole
        across = min(width, max(1, round(columns * scale)))
        down = min(down, max(1, round(rows * scale / unit)))
    return Placement(
        rows=rows,
        columns=columns,
        left=left,
        top=top,
        width=across,
        height=math.ceil(down / halves),
        points_down=down,
        halves=halves,
        origin=origin,
    )


def sampled(
    values: Values, known: Flags, place: Placement, reduction: Reduction
) -> tuple[Values, Flags]:
    """Value and knownness of every point, the upper left one first."""
    if place.origin == "lower":
        values, known = values[::-1], known[::-1]
    values = np.where(known, values, np.nan)
    for axis, points in ((0, place.points_down), (1, place.width)):
        count = values.shape[axis]
        if reduction == "nearest" or points >= count:
            index = ((np.arange(points) + 0.5) * count / points).astype(np.intp)
            values, known = values.take(index, axis), known.take(index, axis)
        else:
            starts = (np.arange(points) * count / points).astype(np.intp)
            values = _reduced(values, starts, axis, reduction)
            known = np.logical_or.reduceat(known, starts, axis)
    return values, known


def _reduced(values: Values, starts: NDArray[np.intp], axis: int, how: Reduction) -> Values:
    """Mean, maximum or furthest from 0 in stretches of an axis, over what is not NaN."""
    if how in ("max", "extreme"):
        highest = np.fmax.reduceat(values, starts, axis)
        if how == "max":
            return highest
        lowest = np.fmin.reduceat(values, starts, axis)
        return np.where(-lowest > highest, lowest, highest)
    present = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        total = np.add.reduceat(np.where(present, values, 0.0), starts, axis)
        return total / np.add.reduceat(present, starts, axis, dtype=np.int64)


def smoothed(values: Values, place: Placement) -> Values:
    """Values between the entries, bilinearly, for contours that are not staircases."""
    if place.origin == "lower":
        values = values[::-1]
    for axis, points in ((0, place.points_down), (1, place.width)):
        count = values.shape[axis]
        at = np.clip((np.arange(points) + 0.5) * count / points - 0.5, 0, count - 1)
        low = np.floor(at).astype(np.intp)
        share = np.expand_dims(at - low, 1 - axis)
        high = np.minimum(low + 1, count - 1)
        with np.errstate(invalid="ignore"):
            values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return values


def crossings(field: Values, levels: list[float]) -> Flags:
    """Points where a field passes one of the levels on the way to the right or down."""
    band = np.searchsorted(np.sort(np.array(levels)), field)
    band = np.where(np.isfinite(field), band, -1)
    crossed = np.zeros(field.shape, dtype=np.bool_)
    for axis in (0, 1):
        ahead = np.roll(band, -1, axis)
        differs = (band != ahead) & (band >= 0) & (ahead >= 0)
        differs[(slice(None), -1) if axis else (-1, slice(None))] = False
        crossed |= differs
    return crossed
