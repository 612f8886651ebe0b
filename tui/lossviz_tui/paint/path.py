"""Signs and paths over the colours of a heat map."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

from rich.style import Style

from lossviz_tui.paint.cells import Canvas
from lossviz_tui.paint.colors import contrast_for
from lossviz_tui.paint.palettes import ACCENT, Look, style_for
from lossviz_tui.paint.sampling import Placement

Point: TypeAlias = tuple[float, float]
"""Column and line of a cell; fractions lie between the middles of cells."""

_FAR = 1e6
"""Cells; nobody sees what is further away."""
START, END, STOP = ("○", "O"), ("●", "@"), ("•", "o")


def draw_sign(canvas: Canvas, at: tuple[int, int], glyph: str, look: Look) -> None:
    """One glyph on the colour that is there already."""
    under = canvas.style_at(*at)
    is_half = str(canvas.glyphs[at[1], at[0]]) in {"▀", "▄"}
    behind = under.bgcolor or (under.color if is_half else None)
    if behind is None or not look.has_palette:
        canvas.put(*at, glyph, style_for(look, ACCENT, bold=True, reverse=True))
        return
    triplet = behind.get_truecolor()
    ink = style_for(look, contrast_for(triplet.hex), bold=True)
    canvas.put(*at, glyph, ink + Style(bgcolor=behind))


def draw_path(
    canvas: Canvas,
    place: Placement,
    path: Sequence[tuple[float, float]],
    look: Look,
    *,
    has_marks: bool = True,
) -> None:
    """A way over a matrix: its stops joined by lines, the first and the last one marked.

    Stops are rows and columns with fractions; what lies outside the matrix is cut off at its
    edge.
    """
    if not path:
        return
    rows = [place.centre_of(row, 0) for row in range(place.rows)]
    columns = [place.centre_of(0, column) for column in range(place.columns)]
    lines, across = [at[1] for at in rows if at], [at[0] for at in columns if at]
    scale = place.points_down / place.halves / place.rows
    upwards = -1 if place.origin == "lower" else 1
    points = [
        (
            _between(across, column, place.width / place.columns),
            _between(lines, row, upwards * scale),
        )
        for row, column in path
    ]
    box = (place.left, place.top, place.left + place.width, place.top + place.height)
    edges = tuple(edge - 0.5 for edge in box)
    for start, end in pairwise(points):
        visible = visible_part(start, end, (edges[0], edges[1], edges[2], edges[3]))
        if visible is not None:
            cells = list(_cells_between(*visible))
            for here, ahead in pairwise([*cells, cells[-1]]):
                _put(canvas, box, here, _stroke(here, ahead, start, end, look), look)
    if not has_marks:
        return
    stops = [(point, STOP) for point in points[1:-1]]
    ends = [(points[-1], END), (points[0], START)]
    for point, sign in (*stops, *ends):
        _put(canvas, box, _cell_under(*point), sign[1 if look.is_ascii else 0], look)


def _between(cells: Sequence[int], at: float, step: float) -> float:
    """The cell of an entry, with a fraction where it lies between two of them.

    Beyond the last entry on either side cells go on by steps; bounded, so that no sum
    overflows.
    """
    last = len(cells) - 1
    if not 0 <= at <= last:
        nearest = 0 if at < 0 else last
        beyond = min(max((at - nearest) * step, -_FAR), _FAR)
        return cells[nearest] + beyond
    below = min(int(at), max(0, last - 1))
    above = min(below + 1, last)
    return cells[below] + (at - below) * (cells[above] - cells[below])


def _cell_under(column: float, line: float) -> tuple[int, int]:
    return math.floor(column + 0.5), math.floor(line + 0.5)


def visible_part(
    start: Point, end: Point, box: tuple[float, float, float, float]
) -> tuple[Point, Point] | None:
    """The part of a line inside a box (left, top, right, bottom); None if there is none.

    Liang and Barsky (1984).
    """
    enter, leave = 0.0, 1.0
    for axis in (0, 1):
        step = end[axis] - start[axis]
        near, far = box[axis] - start[axis], box[axis + 2] - start[axis]
        if step == 0:
            if near > 0 or far < 0:
                return None
            continue
        first, last = sorted((near / step, far / step))
        enter, leave = max(enter, first), min(leave, last)
    if enter > leave:
        return None
    across, down = end[0] - start[0], end[1] - start[1]
    return (
        (start[0] + enter * across, start[1] + enter * down),
        (start[0] + leave * across, start[1] + leave * down),
    )


def _cells_between(start: Point, end: Point) -> Iterator[tuple[int, int]]:
    """The cells along a line, one for each step of its longer side."""
    across, down = end[0] - start[0], end[1] - start[1]
    steps = max(1, math.ceil(max(abs(across), abs(down))))
    for k in range(steps + 1):
        yield _cell_under(start[0] + across * k / steps, start[1] + down * k / steps)


def _stroke(
    here: tuple[int, int], ahead: tuple[int, int], start: Point, end: Point, look: Look
) -> str:
    """The stroke that leads from a cell to the next one of a line."""
    level, upright, rising, falling = "-|/\\" if look.is_ascii else "─│╱╲"
    if here == ahead:  # the last one goes on as the line does
        return upright if abs(end[1] - start[1]) > abs(end[0] - start[0]) else level
    if here[1] == ahead[1]:
        return level
    if here[0] == ahead[0]:
        return upright
    return falling if (ahead[0] - here[0]) * (ahead[1] - here[1]) > 0 else rising


def _put(
    canvas: Canvas,
    box: tuple[int, int, int, int],
    cell: tuple[int, int],
    glyph: str,
    look: Look,
) -> None:
    inside = box[0] <= cell[0] < box[2] and box[1] <= cell[1] < box[3]
    if inside and 0 <= cell[0] < canvas.width and 0 <= cell[1] < canvas.height:
        draw_sign(canvas, cell, glyph, look)
