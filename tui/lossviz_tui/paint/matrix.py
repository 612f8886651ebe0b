"""Heat maps of matrices in half blocks, and the colour bars beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.style import Style
from textual.strip import Strip

from lossviz_tui.paint.axes import short_number
from lossviz_tui.paint.cells import PLAIN, Canvas, Size
from lossviz_tui.paint.colors import contrast_for, luminance
from lossviz_tui.paint.palettes import (
    ACCENT,
    FAINT,
    LEVELS,
    MISSING,
    TEXT,
    VIRIDIS,
    Look,
    Palette,
    as_values,
    quantise,
    shades_for,
    style_for,
    value_range,
)
from lossviz_tui.paint.sampling import (
    Fit,
    Flags,
    Origin,
    Placement,
    Reduction,
    Values,
    crossings,
    placed,
    sampled,
    smoothed,
)

Area = tuple[int, int, int, int]
"""Left, top, width and height in cells."""

_NAN, _UNKNOWN, _OUTSIDE, _BRIGHT, _DARK = range(LEVELS, LEVELS + 5)
_CODES = LEVELS + 5

MARKS = {"centre": ("┼", "+"), "minimum": ("◆", "v"), "model": ("●", "o")}


@dataclass(frozen=True, kw_only=True)
class EntryMark:
    """A sign on one entry of a heat map."""

    row: int
    column: int
    kind: Literal["centre", "minimum", "model"] = "centre"


@dataclass(frozen=True, kw_only=True)
class HeatOptions:
    """How values become colours, and what is drawn over them."""

    palette: Palette = VIRIDIS
    low: float | None = None
    """Value of the first colour; None takes the smallest finite one that is known."""
    high: float | None = None
    """Value of the last colour; None takes the largest finite one that is known."""
    log: bool = False
    origin: Origin = "upper"
    """Where row 0 is drawn."""
    fit: Fit = "square"
    """Whether entries stay square or the area is filled."""
    reduction: Reduction = "mean"
    """What a point shows of several entries; "max" keeps rare hot ones in sight."""
    cursor: tuple[int, int] | None = None
    """Row and column of the entry in focus."""
    marks: Sequence[EntryMark] = ()
    contours: Sequence[float] = ()
    """Values to be traced by lines; not drawn where there is no palette: shades are bands."""


def heatmap(
    values: ArrayLike,
    size: Size,
    *,
    look: Look,
    options: HeatOptions | None = None,
    known: ArrayLike | None = None,
) -> list[Strip]:
    """A matrix as `size` cells, from the upper left corner on.

    Entries with `known` false are not computed yet and stay dotted; a NaN among the others is a
    result and has a colour of its own.
    """
    canvas = Canvas(size)
    area = (0, 0, canvas.width, canvas.height)
    draw_heatmap(canvas, area, values, look=look, options=options, known=known)
    return canvas.strips()


def placement(
    shape: tuple[int, int], area: Area, *, look: Look, options: HeatOptions
) -> Placement | None:
    """Where `draw_heatmap` puts a matrix; None if there is nothing to draw."""
    halves = 1 if look.is_ascii or not look.has_palette else 2
    return placed(shape, area, halves=halves, fit=options.fit, origin=options.origin)


def color_range(
    values: ArrayLike, options: HeatOptions, known: ArrayLike | None = None
) -> tuple[float, float]:
    """Values of the first and the last colour."""
    data = as_values(values)
    if known is not None:
        data = np.where(np.asarray(known, dtype=np.bool_), data, np.nan)
    low, high = value_range(data, log=options.log)
    low = low if options.low is None else options.low
    return low, high if options.high is None else options.high


def draw_heatmap(
    canvas: Canvas,
    area: Area,
    values: ArrayLike,
    *,
    look: Look,
    options: HeatOptions | None = None,
    known: ArrayLike | None = None,
) -> Placement | None:
    """Draw a matrix into part of a canvas; returns where it lies."""
    options = options or HeatOptions()
    data = as_values(values)
    flags = np.ones(data.shape, np.bool_) if known is None else np.asarray(known, np.bool_)
    place = placement((data.shape[0], data.shape[1]), area, look=look, options=options)
    if place is None:
        return None
    points, seen = sampled(data, flags, place, options.reduction)
    low, high = color_range(data, options, flags)
    if look.has_palette:
        codes = _codes(points, seen, (low, high), options)
        if options.contours:
            _trace(codes, np.where(flags, data, np.nan), place, look, options)
        _draw_codes(canvas, place, codes, look, options.palette)
    else:
        _draw_shades(canvas, place, points, seen, (low, high), look, options)
        _draw_numbers(canvas, place, data, flags, look)
    _draw_signs(canvas, place, look, options)
    return place


def _codes(
    points: Values, seen: Flags, ends: tuple[float, float], options: HeatOptions
) -> NDArray[np.int64]:
    codes = quantise(points, *ends, LEVELS, log=options.log)
    codes[codes < 0] = _NAN
    codes[~seen] = _UNKNOWN
    return codes


def _trace(
    codes: NDArray[np.int64],
    data: Values,
    place: Placement,
    look: Look,
    options: HeatOptions,
) -> None:
    """Overwrite the codes along contours, light on dark colours and dark on light ones."""
    line = crossings(smoothed(data, place), sorted(options.contours)) & (codes < LEVELS)
    bright = np.array([luminance(color) > 0.18 for color in options.palette.colors(look)])
    codes[line] = np.where(bright[codes[line]], _DARK, _BRIGHT)


def _draw_codes(
    canvas: Canvas,
    place: Placement,
    codes: NDArray[np.int64],
    look: Look,
    palette: Palette,
) -> None:
    """Two points per cell, or one where half blocks are not to be had."""
    upper = lower = codes
    if place.halves == 2:
        if len(codes) % 2:
            codes = np.vstack([codes, np.full((1, codes.shape[1]), _OUTSIDE)])
        upper, lower = codes[::2], codes[1::2]
    pairs = upper * _CODES + lower
    distinct, inverse = np.unique(pairs, return_inverse=True)
    drawn = [_cell(look, palette, *divmod(int(pair), _CODES)) for pair in distinct]
    glyphs = np.array([glyph for glyph, _ in drawn])
    inks = np.array([canvas.ink_of(style) for _, style in drawn], dtype=np.int32)
    inverse = inverse.reshape(pairs.shape)
    rows = slice(place.top, place.top + place.height)
    columns = slice(place.left, place.left + place.width)
    canvas.glyphs[rows, columns] = glyphs[inverse]
    canvas.inks[rows, columns] = inks[inverse]


def _cell(look: Look, palette: Palette, upper: int, lower: int) -> tuple[str, Style]:
    table = (*palette.colors(look), MISSING, None, None, "#f4f4f4", "#101010")
    above, below = table[upper], table[lower]
    if above is None and below is None:
        if upper == lower == _OUTSIDE:
            return " ", PLAIN
        return ("." if look.is_ascii else "·"), style_for(look, FAINT)
    if upper == lower:
        if upper == _NAN:
            glyph = "x" if look.is_ascii else "×"
            return glyph, style_for(look, "#ffffff", MISSING)
        return " ", style_for(look, None, above)
    if above is None:
        return "▄", style_for(look, below)
    return "▀", style_for(look, above, below)


def _draw_shades(
    canvas: Canvas,
    place: Placement,
    points: Values,
    seen: Flags,
    ends: tuple[float, float],
    look: Look,
    options: HeatOptions,
) -> None:
    ramp = np.array([*shades_for(look), "x", "." if look.is_ascii else "·"])
    codes = quantise(points, *ends, len(ramp) - 2, log=options.log)
    codes[codes < 0] = len(ramp) - 2
    codes[~seen] = len(ramp) - 1
    rows = slice(place.top, place.top + place.height)
    columns = slice(place.left, place.left + place.width)
    canvas.glyphs[rows, columns] = ramp[codes]
    inks = [canvas.ink_of(style_for(look, TEXT))] * (len(ramp) - 2)
    inks += [canvas.ink_of(style_for(look, MISSING)), canvas.ink_of(style_for(look, FAINT))]
    canvas.inks[rows, columns] = np.array(inks, dtype=np.int32)[codes]


def _draw_numbers(
    canvas: Canvas, place: Placement, data: Values, flags: Flags, look: Look
) -> None:
    """The values themselves, where the entries are wide enough to hold them."""
    if place.width < 7 * place.columns:
        return
    for row, column in np.argwhere(flags).tolist():
        box = place.cells_of(row, column)
        text = short_number(float(data[row, column]))
        if box is not None and len(text) + 2 <= box[2] - box[0]:
            start = (box[0] + box[2] - len(text)) // 2
            style = style_for(look, TEXT, bold=True)
            canvas.put(start, (box[1] + box[3] - 1) // 2, text, style)


def _draw_signs(canvas: Canvas, place: Placement, look: Look, options: HeatOptions) -> None:
    for mark in options.marks:
        at = place.centre_of(mark.row, mark.column)
        if at is not None:
            _sign(canvas, at, MARKS[mark.kind][1 if look.is_ascii else 0], look)
    box = None if options.cursor is None else place.cells_of(*options.cursor)
    at = None if options.cursor is None else place.centre_of(*options.cursor)
    if box is None or at is None:
        return
    if box[2] - box[0] >= 3:
        _sign(canvas, (box[0], at[1]), "[", look)
        _sign(canvas, (box[2] - 1, at[1]), "]", look)
    else:
        _sign(canvas, at, "X" if look.is_ascii else "╳", look)


def _sign(canvas: Canvas, at: tuple[int, int], glyph: str, look: Look) -> None:
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
