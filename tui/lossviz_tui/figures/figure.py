"""From the view in focus to a figure, and from that to a file or to part of a page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.durable import put
from lossviz_tui.figures.cctm import cctm_figure
from lossviz_tui.figures.dance import dance_figure
from lossviz_tui.figures.drawing import figure_settings, rendered
from lossviz_tui.figures.landscape import landscape_figure
from lossviz_tui.figures.notes import notes_figure
from lossviz_tui.figures.overview import overview_figure
from lossviz_tui.paint import palettes
from lossviz_tui.paint.palettes import Look, category_ink

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.figure import Figure

    from lossviz_tui.scene import Scene

_FIGURES: dict[str, Callable[[Scene], Figure]] = {
    "overview": overview_figure,
    "dance": dance_figure,
    "notes": notes_figure,
    "cctm": cctm_figure,
    "landscape": landscape_figure,
}
_NUM_CATEGORIES = 8
_REFERENCE = re.compile(r'(?:xlink:href="#|url\(#)([^")]+)')
_STYLE = re.compile(r'style="[^"]*"')


def write_figure(scene: Scene, out: Path) -> None:
    """Write the view in focus as a figure: .svg, .png or .pdf.

    Raises LossvizError where matplotlib is not installed, or where there is nothing to see yet.
    """
    put(out, _rendered(scene, out.suffix, is_inline=False), durable=False)


def inline_svg(scene: Scene, prefix: str) -> str:
    """The view in focus as an <svg> element for an HTML page, on whatever ground that has.

    Its colours are the page's CSS variables of `css_variables`, its text is text, and its ids
    begin with the prefix.
    """
    text = _rendered(scene, ".svg", is_inline=True).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    return _STYLE.sub(_with_variables, _own_ids(text, prefix))


def css_variables(*, dark: bool) -> dict[str, str]:
    """The CSS variables that `inline_svg` uses, with their colours on one ground."""
    look = Look(dark=dark)
    place = 0 if dark else 1
    grounds = {
        "text": palettes.TEXT[place].rgb,
        "muted": palettes.MUTED[place].rgb,
        "faint": palettes.FAINT[place].rgb,
    }
    return grounds | {f"c{k}": category_ink(look, k).rgb for k in range(_NUM_CATEGORIES)}


def _figure_of(scene: Scene) -> Figure:
    make = _FIGURES.get(scene.selection.view)
    if make is None:
        raise LossvizError(
            f"there is no figure of the view {scene.selection.view}; an .svg shows the screen"
        )
    return make(scene)


def _rendered(scene: Scene, suffix: str, *, is_inline: bool) -> bytes:
    """The figure as bytes; what it cannot be drawn for is a sentence."""
    try:
        with figure_settings(text_as_paths=not is_inline):
            return rendered(_figure_of(scene), suffix, transparent=is_inline)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        # A stranger's numbers may be beyond what axes can be scaled to.
        raise LossvizError(f"the figure cannot be drawn: {error}") from error


def _with_variables(style: re.Match[str]) -> str:
    text = style[0]
    for name, rgb in css_variables(dark=False).items():
        text = text.replace(rgb, f"var(--{name})")
    return text


def _own_ids(text: str, prefix: str) -> str:
    """Without the ids that nothing refers to; the others are made this figure's own."""
    used = {found[1] for found in _REFERENCE.finditer(text)}

    def mended(found: re.Match[str]) -> str:
        return f' id="{prefix}{found[1]}"' if found[1] in used else ""

    text = re.sub(r' id="([^"]*)"', mended, text)
    return re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}", text)
