"""Polylines in, glyphs of the curve area out: braille, quadrants or ASCII.

A segment between two points is drawn as plotext 5 draws it, and a later curve covers the cells
of an earlier one as there; a test holds the two against each other. plotext itself, in pure
Python, took seconds for a dozen noisy curves on a large screen.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lossviz_tui.paint.cells import Size
from lossviz_tui.paint.palettes import Charset

Numbers: TypeAlias = NDArray[np.float64]
Points: TypeAlias = NDArray[np.int64]

DOTS: dict[Charset, tuple[int, int]] = {"braille": (2, 4), "blocks": (2, 2), "ascii": (1, 1)}
"""Points across and down that one cell can show."""

# What each dot of a cell adds to the number of its glyph, the upper row first.
_BRAILLE_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_QUADRANT_BITS = np.array([[1, 2], [4, 8]])
_BRAILLE = np.array([chr(0x2800 + code) for code in range(256)])
_QUADRANTS = np.array(list(" ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"))


class Curve(NamedTuple):
    """A polyline in points of the drawing area, (0, 0) at the bottom left; NaN is a gap."""

    x: Numbers
    y: Numbers
    owner: int
    """Number that marks its cells; later curves cover earlier ones."""
    glyph: str
    """What it is drawn with in ASCII."""


def rasterise(
    curves: Sequence[Curve], size: Size, charset: Charset
) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Glyph and owner of every cell; a blank and -1 where there is no curve."""
    width, height = max(0, size[0]), max(0, size[1])
    glyphs = np.full((height, width), " ", dtype="<U1")
    owners = np.full((height, width), -1, dtype=np.int64)
    across, down = DOTS[charset]
    extent = (width * across - 1, height * down - 1)
    if min(extent) < 1:
        return glyphs, owners
    for curve in curves:
        dots = _dots(curve, extent)
        if dots is None:
            continue
        # [row, dot down, column, dot across], the upper row first.
        cells = dots[::-1].reshape(height, down, width, across)
        touched = cells.any(axis=(1, 3))
        glyphs[touched] = _glyphs(cells, charset, curve.glyph)[touched]
        owners[touched] = curve.owner
    return glyphs, owners


def _glyphs(cells: NDArray[np.bool_], charset: Charset, glyph: str) -> NDArray[np.str_]:
    """The glyph of each cell that has a dot."""
    if charset == "ascii":
        return np.full((cells.shape[0], cells.shape[2]), glyph, dtype="<U1")
    bits, table = (
        (_BRAILLE_BITS, _BRAILLE) if charset == "braille" else (_QUADRANT_BITS, _QUADRANTS)
    )
    return table[np.einsum("rdca,da->rc", cells, bits)]


def _dots(curve: Curve, extent: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Which points of the drawing area a curve passes, the bottom row first; None: none."""
    shape = (extent[1] + 1, extent[0] + 1)
    dots = np.zeros(shape, np.bool_)
    # How many upright strokes begin at each point, less those that end below it.
    strokes = np.zeros((shape[0] + 1) * shape[1], np.int64)
    is_empty = True
    for piece in _visible_pieces(curve, extent):
        # Rounding first, so that 2.4999999 and 2.5 do not part.
        x, y = (np.floor(np.round(0.5 + part, 8)).astype(np.int64) for part in piece)
        is_empty = False
        # The points of one column, one after another, are an upright stroke.
        starts = np.flatnonzero(np.diff(x, prepend=x[0] - 1))
        stops = np.append(starts[1:], len(x)) - 1
        lowest, highest = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
        first = lowest * shape[1] + x[starts]
        end = (highest + 1) * shape[1] + x[starts]
        strokes += np.bincount(first, minlength=strokes.size)
        strokes -= np.bincount(end, minlength=strokes.size)
        columns, rows = _leaning(x[stops[:-1]], y[stops[:-1]], x[starts[1:]], y[starts[1:]])
        dots[rows, columns] = True
    dots |= strokes.reshape(-1, shape[1]).cumsum(axis=0)[:-1] > 0
    return None if is_empty else dots


def _leaning(x0: Points, y0: Points, x1: Points, y1: Points) -> tuple[Points, Points]:
    """The points of segments, each without its last one: there a stroke stands."""
    dx, dy = x1 - x0, y1 - y0
    steps = np.maximum(np.abs(dx), np.abs(dy))
    segment = np.repeat(np.arange(len(steps)), steps)
    place = np.arange(len(segment)) - np.repeat(np.cumsum(steps) - steps, steps)
    columns = x0[segment] + place * (dx / steps)[segment]
    rows = y0[segment] + place * (dy / steps)[segment]
    return columns.astype(np.int64), rows.astype(np.int64)


def _visible_pieces(curve: Curve, extent: tuple[int, int]) -> Iterator[tuple[Numbers, Numbers]]:
    finite = np.isfinite(curve.x) & np.isfinite(curve.y)
    edges = np.flatnonzero(np.diff(finite.astype(np.int8), prepend=0, append=0))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        x, y = curve.x[start:stop], curve.y[start:stop]
        inside = (x >= 0) & (x <= extent[0]) & (y >= 0) & (y <= extent[1])
        if inside.all():
            yield x, y
        elif len(x) > 1:
            yield from _clipped(x, y, extent)


def _clipped(
    x: Numbers, y: Numbers, extent: tuple[int, int]
) -> Iterator[tuple[Numbers, Numbers]]:
    """The parts of a polyline inside the drawing area (Liang and Barsky, 1984).

    Otherwise every point of a segment that leads a million cells out of sight would be walked.
    """
    start = np.stack([x[:-1], y[:-1]])
    step = np.diff(np.stack([x, y]))
    limit = np.array(extent, dtype=np.float64)[:, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        near, far = np.sort(np.stack([-start / step, (limit - start) / step]), axis=0)
    level = step == 0
    outside = level & ((start < 0) | (start > limit))
    near = np.where(level, np.where(outside, np.inf, -np.inf), near)
    far = np.where(level, np.where(outside, -np.inf, np.inf), far)
    enter, leave = np.maximum(near.max(axis=0), 0.0), np.minimum(far.min(axis=0), 1.0)
    seen = np.flatnonzero(enter <= leave)
    if not seen.size:
        return
    broken = (np.diff(seen) > 1) | (leave[seen[:-1]] < 1) | (enter[seen[1:]] > 0)
    for part in np.split(seen, np.flatnonzero(broken) + 1):
        first = start[:, part[:1]] + enter[part[:1]] * step[:, part[:1]]
        rest = start[:, part] + leave[part] * step[:, part]
        points = np.clip(np.hstack([first, rest]), 0, limit)
        yield points[0], points[1]
