"""Colour bars: which value a colour or a shade stands for."""

import math
from typing import Literal

from rich.style import Style
from textual.strip import Strip

from lossviz_tui.paint.axes import Scale, short_number, tick_labels, ticks_of
from lossviz_tui.paint.cells import Canvas, Size
from lossviz_tui.paint.palettes import (
    LARGEST,
    LEVELS,
    MUTED,
    SIGNED_SHADES,
    TEXT,
    VIRIDIS,
    Look,
    Palette,
    shades_for,
    style_for,
)


def color_bar(
    low: float,
    high: float,
    size: Size,
    *,
    look: Look,
    palette: Palette = VIRIDIS,
    log: bool = False,
    direction: Literal["vertical", "horizontal"] = "vertical",
) -> list[Strip]:
    """The palette from `low` to `high` as `size` cells, with round numbers beside it.

    Upright, the low end is at the bottom and the numbers stand to the right; lying, the low end
    is at the left and the numbers stand below (from a height of 2 on).
    """
    canvas = Canvas(size)
    area = (0, 0, canvas.width, canvas.height)
    ends = (low, high)
    draw_color_bar(canvas, area, ends, look=look, palette=palette, log=log, direction=direction)
    return canvas.strips()


def draw_color_bar(
    canvas: Canvas,
    area: tuple[int, int, int, int],
    ends: tuple[float, float],
    *,
    look: Look,
    palette: Palette = VIRIDIS,
    log: bool = False,
    direction: Literal["vertical", "horizontal"] = "vertical",
    signed: bool = False,
) -> None:
    """Draw a colour bar into part of a canvas (left, top, width, height)."""
    left, top, width, height = area
    upright = direction == "vertical"
    cells = max(0, height if upright else width)
    for cell in range(cells):
        glyph, style = _level_cell(look, palette, (cell + 0.5) / cells, signed=signed)
        if upright:
            row = top + height - 1 - cell
            canvas.paint((left, left + min(2, width)), (row, row + 1), glyph, style)
        else:
            columns = (left + cell, left + cell + 1)
            canvas.paint(columns, (top, top + max(1, height - 1)), glyph, style)
    scale = _bar_scale(*ends, cells, log=log)
    if scale is None:
        if math.isfinite(ends[0]) and (upright or height > 1):
            text = short_number(ends[0])
            canvas.put(left + (3 if upright else 0), top + height - 1, text)
    elif upright:
        _number_upright(canvas, area, scale, look)
    elif height > 1:
        _number_lying(canvas, area, scale, look)


def _bar_scale(low: float, high: float, cells: int, *, log: bool) -> Scale | None:
    low, high = max(low, -LARGEST), min(high, LARGEST)
    if log:
        if low <= 0 or high <= 0:
            return None
        low, high = math.log10(low), math.log10(high)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return None
    return Scale(low=low, high=high, cells=cells, log=log)


def _level_cell(
    look: Look, palette: Palette, share: float, *, signed: bool
) -> tuple[str, Style]:
    if look.has_palette:
        color = palette.colors(look)[min(LEVELS - 1, int(share * LEVELS))]
        return " ", style_for(look, None, color)
    ramp = SIGNED_SHADES if signed else shades_for(look)
    return ramp[min(len(ramp) - 1, int(share * len(ramp)))], style_for(look, TEXT)


def _number_upright(
    canvas: Canvas, area: tuple[int, int, int, int], scale: Scale, look: Look
) -> None:
    left, top, width, height = area
    ticks = ticks_of(scale, max(1, scale.cells // 4))
    taken: set[int] = set()
    for value, text in zip(ticks, tick_labels(ticks), strict=True):
        cell = scale.cell(value)
        if cell is not None and len(text) + 3 <= width:
            canvas.put(left + 3, top + height - 1 - cell, text, style_for(look, TEXT))
            taken.add(cell)
    for cell, end in ((0, scale.low), (scale.cells - 1, scale.high)):
        text = short_number(10.0**end if scale.log else end)
        if len(text) + 3 <= width and not taken & {cell - 1, cell, cell + 1}:
            canvas.put(left + 3, top + height - 1 - cell, text, style_for(look, MUTED))


def _number_lying(
    canvas: Canvas, area: tuple[int, int, int, int], scale: Scale, look: Look
) -> None:
    left, top, width, height = area
    ticks = ticks_of(scale, max(1, scale.cells // 8))
    end = -1
    for value, text in zip(ticks, tick_labels(ticks), strict=True):
        cell = scale.cell(value)
        if cell is None:
            continue
        start = min(max(0, cell - len(text) // 2), width - len(text))
        if start > end:
            canvas.put(left + start, top + height - 1, text, style_for(look, TEXT))
            end = start + len(text)
