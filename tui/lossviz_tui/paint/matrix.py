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
from lossviz_tui.paint.colors import contrast_for, dimmed, luminance
from lossviz_tui.paint.palettes import (
    FAINT,
    LEVELS,
    MISSING,
    SIGNED_SHADES,
    TEXT,
    VIRIDIS,
    Ink,
    Look,
    Palette,
    as_values,
    quantise,
    shades_for,
    style_for,
    value_range,
)
from lossviz_tui.paint.path import draw_path, draw_sign
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

_NAN, _UNKNOWN, _OUTSIDE, _BRIGHT, _DARK, _CAPPED = range(LEVELS, LEVELS + 6)
_GUESSED = LEVELS + 6
"""From here on the levels of estimated entries."""
_CODES = _GUESSED + LEVELS
MAX_CONTOUR_SHARE = 1 / 3
"""Of the points of a heat map; lines that cover more hide what they trace."""

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
    """What a point shows of several entries; "max" keeps rare hot ones in sight, "extreme" what
    is furthest from 0."""
    signed: bool = False
    """Whether shades, where there is no palette, tell what is below the middle from what is
    above."""
    cursor: tuple[int, int] | None = None
    """Row and column of the entry in focus."""
    marks: Sequence[EntryMark] = ()
    contours: Sequence[float] = ()
    """Values to be traced by lines, ascending; every second one where all of them would hide a
    picture. Not drawn where there is no palette: shades are bands."""
    path: Sequence[tuple[float, float]] = ()
    """Rows and columns, also between entries or outside, joined by a line; see `draw_path`."""
    line: Sequence[tuple[float, float]] = ()
    """Rows and columns of the ends of a line without marks."""


def heatmap(
    values: ArrayLike,
    size: Size,
    *,
    look: Look,
    options: HeatOptions | None = None,
    known: ArrayLike | None = None,
    estimated: ArrayLike | None = None,
) -> list[Strip]:
    """A matrix as `size` cells, from the upper left corner on.

    Entries with `known` false are not computed yet and stay dotted; a NaN among the others is a
    result and has a colour of its own. Of the known ones those with `estimated` true are dimmer
    and strewn with dots.
    """
    canvas = Canvas(size)
    area = (0, 0, canvas.width, canvas.height)
    draw_heatmap(
        canvas, area, values, look=look, options=options, known=known, estimated=estimated
    )
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
    estimated: ArrayLike | None = None,
    capped: ArrayLike | None = None,
) -> Placement | None:
    """Draw a matrix into part of a canvas; returns where it lies.

    Entries with `capped` true take the last colour and a sign: they are at least that.
    """
    options = options or HeatOptions()
    data = as_values(values)
    shape = (data.shape[0], data.shape[1])
    flags = _flags(known, shape, default=True)
    guesses = _flags(estimated, shape, default=False) & flags
    caps = _flags(capped, shape, default=False) & flags
    place = placement(shape, area, look=look, options=options)
    if place is None:
        return None
    points, seen = sampled(data, flags, place, options.reduction)
    computed = sampled(data, flags & ~guesses, place, options.reduction)[1]
    layers = _Layers(
        points=points,
        seen=seen,
        guessed=seen & ~computed,
        capped=sampled(data, caps, place, options.reduction)[1],
    )
    ends = color_range(data, options, flags & ~caps)
    if look.has_palette:
        codes = _codes(layers, ends, options)
        if options.contours:
            _trace(codes, np.where(flags, data, np.nan), place, look, options)
        _draw_codes(canvas, place, codes, look, options.palette)
    else:
        _draw_shades(canvas, place, layers, ends, look, options)
        _draw_numbers(canvas, place, data, flags & ~guesses & ~caps, look)
    draw_path(canvas, place, options.line, look, has_marks=False)
    draw_path(canvas, place, options.path, look)
    _draw_signs(canvas, place, look, options)
    return place


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layers:
    """What is to be shown at every point of a placement."""

    points: Values
    seen: Flags
    guessed: Flags
    capped: Flags


def _flags(given: ArrayLike | None, shape: tuple[int, int], *, default: bool) -> Flags:
    return np.full(shape, default) if given is None else np.asarray(given, np.bool_)


def _strewn(shape: tuple[int, ...]) -> Flags:
    """One cell of four, on diagonals: where the signs of a texture stand."""
    rows, columns = np.indices(shape)
    return (columns + 2 * rows) % 4 == 0


def _codes(
    layers: _Layers, ends: tuple[float, float], options: HeatOptions
) -> NDArray[np.int64]:
    codes = quantise(layers.points, *ends, LEVELS, log=options.log)
    codes = np.where(layers.guessed & (codes >= 0), codes + _GUESSED, codes)
    codes[codes < 0] = _NAN
    codes[~layers.seen] = _UNKNOWN
    codes[layers.capped] = _CAPPED
    return codes


def _trace(
    codes: NDArray[np.int64],
    data: Values,
    place: Placement,
    look: Look,
    options: HeatOptions,
) -> None:
    """Overwrite the codes along contours, light on dark colours and dark on light ones."""
    levels = np.where(codes >= _GUESSED, codes - _GUESSED, codes)
    line = _contour_points(smoothed(data, place), options.contours) & (levels < LEVELS)
    bright = np.array([luminance(color) > 0.18 for color in options.palette.colors(look)])
    codes[line] = np.where(bright[levels[line]], _DARK, _BRIGHT)


def _contour_points(field: Values, contours: Sequence[float]) -> Flags:
    """The points on contours; of fewer where they would hide too much, and of none at last."""
    while len(contours):
        line = crossings(field, list(contours))
        if line.mean() <= MAX_CONTOUR_SHARE:
            return line
        contours = contours[1::2]
    return np.zeros(field.shape, np.bool_)


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
    is_textured = ((upper >= _GUESSED) & (lower >= _GUESSED)) | (
        (upper == _CAPPED) & (lower == _CAPPED)
    )
    # The last digit says whether the cell bears the sign of its texture.
    pairs = 2 * (upper * _CODES + lower) + (is_textured & _strewn(upper.shape))
    distinct, inverse = np.unique(pairs, return_inverse=True)
    drawn: list[tuple[str, Style]] = []
    for pair in distinct.tolist():
        above, below = divmod(pair // 2, _CODES)
        is_sign = pair % 2 == 1
        drawn.append(
            _sign_cell(look, palette, above) if is_sign else _cell(look, palette, above, below)
        )
    glyphs = np.array([glyph for glyph, _ in drawn])
    inks = np.array([canvas.ink_of(style) for _, style in drawn], dtype=np.int32)
    inverse = inverse.reshape(pairs.shape)
    rows = slice(place.top, place.top + place.height)
    columns = slice(place.left, place.left + place.width)
    canvas.glyphs[rows, columns] = glyphs[inverse]
    canvas.inks[rows, columns] = inks[inverse]


def _color_table(
    look: Look, palette: Palette
) -> tuple[Ink | tuple[Ink, Ink] | str | None, ...]:
    colors = palette.colors(look)
    signs = (MISSING, None, None, "#f4f4f4", "#101010", colors[-1])
    return (*colors, *signs, *(dimmed(color, dark=look.dark) for color in colors))


def _sign_cell(look: Look, palette: Palette, code: int) -> tuple[str, Style]:
    """A cell of the texture of estimated entries, or of those that are at least something."""
    color = _color_table(look, palette)[code]
    ink = contrast_for(color) if isinstance(color, str) else TEXT
    if code == _CAPPED:
        return (">" if look.is_ascii else "≥"), style_for(look, ink, color)
    return ("." if look.is_ascii else "·"), style_for(look, ink, color)


def _cell(look: Look, palette: Palette, upper: int, lower: int) -> tuple[str, Style]:
    table = _color_table(look, palette)
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
    layers: _Layers,
    ends: tuple[float, float],
    look: Look,
    options: HeatOptions,
) -> None:
    """Shades; every second cell of what is estimated is dotted as if it were unknown."""
    shades = SIGNED_SHADES if options.signed else shades_for(look)
    signs = ("x", ".", ">") if look.is_ascii else ("x", "·", "≥")
    ramp = np.array([*shades, *signs])
    missing, unknown, capped = range(len(shades), len(ramp))
    codes = quantise(layers.points, *ends, len(shades), log=options.log)
    codes[codes < 0] = missing
    rows, columns = np.indices(codes.shape)
    codes[~layers.seen | (layers.guessed & ((rows + columns) % 2 == 1))] = unknown
    codes[layers.capped] = len(shades) - 1
    codes[layers.capped & _strewn(codes.shape)] = capped
    block = (
        slice(place.top, place.top + place.height),
        slice(place.left, place.left + place.width),
    )
    canvas.glyphs[block] = ramp[codes]
    inks = [canvas.ink_of(style_for(look, TEXT))] * len(ramp)
    inks[missing] = canvas.ink_of(style_for(look, MISSING))
    inks[unknown] = canvas.ink_of(style_for(look, FAINT))
    canvas.inks[block] = np.array(inks, dtype=np.int32)[codes]


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
            draw_sign(canvas, at, MARKS[mark.kind][1 if look.is_ascii else 0], look)
    box = None if options.cursor is None else place.cells_of(*options.cursor)
    at = None if options.cursor is None else place.centre_of(*options.cursor)
    if box is None or at is None:
        return
    if box[2] - box[0] >= 3:
        draw_sign(canvas, (box[0], at[1]), "[", look)
        draw_sign(canvas, (box[2] - 1, at[1]), "]", look)
    else:
        draw_sign(canvas, at, "X" if look.is_ascii else "╳", look)
