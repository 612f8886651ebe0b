"""The one place that knows plotext 5: polylines in, glyphs of the curve area out.

plotext keeps a single global figure and clips to the terminal unless told otherwise, so a lock
guards it and it is asked for nothing but the bare curves: it turns them into braille, quadrants
or ASCII, and encodes in the colour whose curve a cell shows. Axes and labels are drawn by
`charts`, because plotext splits an axis evenly into unround numbers.
"""

import re
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import plotext
from numpy.typing import NDArray

from lossviz_tui.paint.cells import Size
from lossviz_tui.paint.palettes import Charset

Numbers: TypeAlias = NDArray[np.float64]

DOTS: dict[Charset, tuple[int, int]] = {"braille": (2, 4), "blocks": (2, 2), "ascii": (1, 1)}
"""Points across and down that one cell can show."""

MAX_OWNERS = 255

_FIGURE = threading.Lock()
_TOKEN = re.compile(r"\x1b\[([0-9;]*)m|([^\x1b]+)")


class Curve(NamedTuple):
    """A polyline in points of the drawing area, (0, 0) at the bottom left; NaN is a gap."""

    x: Numbers
    y: Numbers
    owner: int
    """Number that marks its cells, below MAX_OWNERS; later curves cover earlier ones."""
    glyph: str
    """What it is drawn with in ASCII."""


def rasterise(
    curves: Sequence[Curve], size: Size, charset: Charset
) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Glyph and owner of every cell; a blank and -1 where there is no curve."""
    width, height = size
    glyphs = np.full((height, width), " ", dtype="<U1")
    owners = np.full((height, width), -1, dtype=np.int64)
    across, down = DOTS[charset]
    extent = (width * across - 1, height * down - 1)
    drawn = [
        (piece, curve)
        for curve in curves
        for piece in _visible_pieces(_thinned(curve, 2 * extent[0]), extent)
    ]
    # plotext divides by the extent, and by nothing smaller than one point.
    if drawn and min(extent) >= 1:
        for row, line in enumerate(_build(drawn, size, charset, extent).split("\n")[:height]):
            _read_line(line, glyphs[row], owners[row])
    return glyphs, owners


def _build(
    drawn: Sequence[tuple[tuple[Numbers, Numbers], Curve]],
    size: Size,
    charset: Charset,
    extent: tuple[int, int],
) -> str:
    with _FIGURE:
        plotext.clear_figure()
        plotext.limit_size(False, False)
        plotext.plotsize(*size)
        plotext.frame(False)
        plotext.xaxes(False, False)
        plotext.yaxes(False, False)
        plotext.xticks([])
        plotext.yticks([])
        plotext.canvas_color("default")
        plotext.axes_color("default")
        plotext.xlim(0, extent[0])
        plotext.ylim(0, extent[1])
        for (x, y), curve in drawn:
            marker = {"braille": "braille", "blocks": "hd", "ascii": curve.glyph}[charset]
            plotext.plot(x.tolist(), y.tolist(), marker=marker, color=curve.owner + 1)
        built: str = plotext.build()
        plotext.clear_figure()
    return built


def _read_line(line: str, glyphs: NDArray[np.str_], owners: NDArray[np.int64]) -> None:
    owner, column = -1, 0
    for code, run in _TOKEN.findall(line):
        if not run:
            owner = int(code[5:]) - 1 if code.startswith("38;5;") else -1
            continue
        text = run[: len(glyphs) - column]
        glyphs[column : column + len(text)] = list(text)
        owners[column : column + len(text)] = owner if text.strip() else -1
        column += len(text)


def _thinned(curve: Curve, limit: int) -> Curve:
    """A long curve with only first, lowest, highest and last point of each column.

    It looks the same: a column of points cannot show more.
    """
    count = len(curve.x)
    if count <= 4 * max(1, limit) or not np.isfinite(curve.y).all():
        return curve
    if not np.isfinite(curve.x).all() or (np.diff(curve.x) < 0).any():
        return curve
    columns = np.floor(curve.x + 0.5)
    starts = np.flatnonzero(np.diff(columns, prepend=columns[0] - 1))
    stops = np.append(starts[1:], count)
    keep: set[int] = set()
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        part = curve.y[start:stop]
        keep |= {start, start + int(part.argmin()), start + int(part.argmax()), stop - 1}
    kept = np.array(sorted(keep))
    return curve._replace(x=curve.x[kept], y=curve.y[kept])


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

    plotext would walk every point of a segment that leads a million cells out of sight.
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
