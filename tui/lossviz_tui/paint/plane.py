"""A landscape over two directions: heat map, coordinates along its edges, colour bar."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from textual.strip import Strip

from lossviz_tui.paint.axes import nice_ticks, tick_labels
from lossviz_tui.paint.cells import Canvas, Size, clean_text
from lossviz_tui.paint.colorbar import draw_color_bar
from lossviz_tui.paint.matrix import (
    Area,
    HeatOptions,
    color_range,
    draw_heatmap,
    placement,
)
from lossviz_tui.paint.palettes import ACCENT, MUTED, TEXT, Look, style_for
from lossviz_tui.paint.sampling import Placement

_BAR_WIDTH = 9


@dataclass(frozen=True, kw_only=True)
class PlaneOptions:
    """What surrounds the heat map of a plane."""

    heat: HeatOptions = field(default_factory=lambda: HeatOptions(origin="lower"))
    title: str = ""
    value_label: str = ""
    """Quantity and unit of the colours, shown beside the title."""
    row_label: str = ""
    """Name of the first direction, above the left edge."""
    column_label: str = ""
    """Name of the second direction, below the right end."""
    has_bar: bool = True
    """Whether a colour bar stands beside it where there is room."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    """A function over two directions of weight space."""

    values: NDArray[np.float64]
    """Rows along the first direction, columns along the second."""
    row_coordinates: NDArray[np.float64]
    column_coordinates: NDArray[np.float64]
    known: NDArray[np.bool_] | None = None
    """False where there is no value yet; None: there is one everywhere."""
    estimated: NDArray[np.bool_] | None = None
    """True where the value is only estimated from others; None: it is so nowhere."""
    capped: NDArray[np.bool_] | None = None
    """True where the value is at least the last colour's; None: it is so nowhere."""
    way: NDArray[np.float64] | None = None
    """Coordinates of the stops of a path, one row for each: first, second direction."""
    line: NDArray[np.float64] | None = None
    """Coordinates of both ends of a straight line, one row for each."""


def plane_picture(
    plane: Plane, size: Size, *, look: Look, options: PlaneOptions | None = None
) -> list[Strip]:
    """The plane as `size` cells; small ones lose the colour bar, then coordinates and title."""
    options = options or PlaneOptions()
    canvas = Canvas(size)
    area = _area(plane, size, options)
    heat = replace(
        options.heat, path=_entries(plane, plane.way), line=_entries(plane, plane.line)
    )
    place = draw_heatmap(
        canvas,
        area,
        plane.values,
        look=look,
        options=heat,
        known=plane.known,
        estimated=plane.estimated,
        capped=plane.capped,
    )
    if place is None:
        return canvas.strips()
    if area[0]:
        _draw_row_coordinates(canvas, place, plane, look, options)
        _draw_column_coordinates(canvas, place, plane, look, options)
    if area[1]:
        _draw_title(canvas, look, options)
    if options.has_bar and canvas.width - area[0] - area[2] >= _BAR_WIDTH:
        left = place.left + place.width + 2
        draw_color_bar(
            canvas,
            (left, place.top, canvas.width - left, place.height),
            color_range(plane.values, options.heat, _certain(plane)),
            look=look,
            palette=options.heat.palette,
            log=options.heat.log,
        )
    return canvas.strips()


def _certain(plane: Plane) -> NDArray[np.bool_] | None:
    """The entries that span the colours."""
    if plane.capped is None:
        return plane.known
    return ~plane.capped if plane.known is None else plane.known & ~plane.capped


def _entries(plane: Plane, points: NDArray[np.float64] | None) -> list[tuple[float, float]]:
    """Points in rows and columns, with fractions."""
    if points is None:
        return []
    found: list[NDArray[np.float64]] = []
    axes = (plane.row_coordinates, plane.column_coordinates)
    for values, axis in zip(points.T, axes, strict=True):
        length = axis[-1] - axis[0] if axis.size > 1 else 1.0
        with np.errstate(over="ignore"):
            found.append((values - axis[0]) / length * (axis.size - 1))
    return [(row, column) for row, column in np.stack(found, axis=1).tolist()]


def plane_placement(
    plane: Plane, size: Size, *, look: Look, options: PlaneOptions
) -> Placement | None:
    """Where `plane_picture` puts the entries, for the mouse; None if there are none."""
    shape = (plane.values.shape[0], plane.values.shape[1])
    return placement(shape, _area(plane, size, options), look=look, options=options.heat)


def _area(plane: Plane, size: Size, options: PlaneOptions) -> Area:
    """What is left for the heat map itself."""
    width, height = max(0, size[0]), max(0, size[1])
    has_axes = width >= 24 and height >= 8
    labels = tick_labels(_ticks(plane.row_coordinates, height))
    left = max(map(len, labels), default=0) + 1 if has_axes else 0
    words = options.title or options.value_label or options.row_label
    top = 1 if words and height >= 10 and width >= 24 else 0
    bottom = 1 if has_axes else 0
    bar = _BAR_WIDTH + 2 if width >= 44 and options.has_bar else 0
    return left, top, width - left - bar, height - top - bottom


def _ticks(coordinates: NDArray[np.float64], cells: int) -> list[float]:
    if not coordinates.size:
        return []
    return nice_ticks(float(coordinates.min()), float(coordinates.max()), max(2, cells // 5))


def _nearest(coordinates: NDArray[np.float64], value: float) -> int:
    return int(np.abs(coordinates - value).argmin())


def _draw_row_coordinates(
    canvas: Canvas, place: Placement, plane: Plane, look: Look, options: PlaneOptions
) -> None:
    ticks = _ticks(plane.row_coordinates, canvas.height)
    for value, text in zip(ticks, tick_labels(ticks), strict=True):
        at = place.centre_of(_nearest(plane.row_coordinates, value), 0)
        if at is not None:
            canvas.put_right(place.left - 1, at[1], text, style_for(look, TEXT))
    cursor = None if options.heat.cursor is None else place.centre_of(*options.heat.cursor)
    if cursor is not None:
        accent = style_for(look, ACCENT, bold=True)
        canvas.put(place.left - 1, cursor[1], ">" if look.is_ascii else "▶", accent)


def _draw_column_coordinates(
    canvas: Canvas, place: Placement, plane: Plane, look: Look, options: PlaneOptions
) -> None:
    row = place.top + place.height
    label = clean_text(options.column_label, place.width // 3, ascii_only=look.is_ascii)
    end = place.left + place.width - (cell_len(label) + 1 if label else 0)
    canvas.put_right(place.left + place.width, row, label, style_for(look, MUTED))
    cursor = None if options.heat.cursor is None else place.centre_of(*options.heat.cursor)
    taken = -1
    ticks = _ticks(plane.column_coordinates, place.width // 2)
    for value, text in zip(ticks, tick_labels(ticks), strict=True):
        at = place.centre_of(0, _nearest(plane.column_coordinates, value))
        if at is None:
            continue
        start = max(0, at[0] - (len(text) + text.startswith("-")) // 2)
        hidden = cursor is not None and start <= cursor[0] < start + len(text)
        if start > taken and start + len(text) <= end and not hidden:
            canvas.put(start, row, text, style_for(look, TEXT))
            taken = start + len(text)
    if cursor is not None:
        accent = style_for(look, ACCENT, bold=True)
        canvas.put(cursor[0], row, "^" if look.is_ascii else "▲", accent)


def _draw_title(canvas: Canvas, look: Look, options: PlaneOptions) -> None:
    column = 0
    bold, muted = style_for(look, TEXT, bold=True), style_for(look, MUTED)
    words = ((options.title, bold), (options.value_label, muted), (options.row_label, muted))
    for label, style in words:
        text = clean_text(label, max(0, canvas.width - column), ascii_only=look.is_ascii)
        canvas.put(column, 0, text, style)
        column += cell_len(text) + 2 if text else 0
