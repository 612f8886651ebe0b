"""Scans along a line as figures, and the profile of a plane along a cut."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.surfaces.curves import chance_loss, curve_type, stationary_points
from lossviz_analysis.surfaces.cut import cut
from lossviz_tui.figures import provenance
from lossviz_tui.figures.curves import Curves
from lossviz_tui.figures.drawing import (
    MUTED,
    TEXT,
    color,
    entitle,
    logarithmic,
    new_figure,
)
from lossviz_tui.figures.scan_words import (
    AT_LEAST,
    NO_VALUE,
    UNITS,
    direction,
    lacking,
    member_names,
    subtitle,
    title_of,
)
from lossviz_tui.paint.palettes import as_values
from lossviz_tui.panels.scan_values import Drawn, drawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from lossviz_tui.scene import ScanPicture, Scene
    from lossviz_tui.selection import Quantity

_WIDTH = 7.2
_IN_FOCUS, _USUAL = 1.8, 1.2
"""Widths of lines in points."""


def lines_figure(scene: Scene, picture: ScanPicture) -> Figure:
    """Cross-entropy with the loss of chance, mistakes below it; a curve for scan and split."""
    other = scene.picture_beside
    siblings = [one for one in scene.siblings if len(one.result.coordinates) == 1]
    series = (other, picture) if other is not None else siblings or (picture,)
    names = member_names(scene, series)
    is_toward = any(one.request.kind == "toward" for one in series)
    figure = new_figure(_WIDTH, 5.0)
    axes = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    above, below = Curves(axes[0], log=scene.selection.log), Curves(axes[1])
    chance = chance_loss(len(picture.result.geometry.class_names))
    level = above.axes.axhline(chance, color=MUTED, lw=0.8, ls="--")
    above.name(level, "chance, log C")
    quantities: tuple[Quantity, Quantity] = ("loss", "mistakes")
    for curves, quantity in zip((above, below), quantities, strict=True):
        _draw_scans(curves, series, names, picture, quantity)
        curves.axes.axvline(0.0, color=TEXT, lw=0.6, ls=":")
        if is_toward:
            curves.axes.axvline(1.0, color=TEXT, lw=0.6, ls=":")
        curves.axes.set_ylabel(UNITS[quantity])
    if scene.selection.log:
        logarithmic(above.axes)
    total = len(series) if other is not None else max(len(series), len(scene.series))
    subtitle(above.axes, [*_types(series), *lacking(series, names)])
    above.legend()
    kinds = " and ".join(dict.fromkeys(one.request.kind for one in series))
    axis = direction(scene, picture, 0) if total == 1 else kinds
    end = ", 1 the other one" if is_toward else ""
    below.axes.set_xlabel(f"coordinate along {axis}; 0 is the model{end}")
    title = title_of(scene, picture)
    if total > 1:
        epochs = sorted({one.request.epoch for one in series})
        where = f"epoch {epochs[0]}" + (f" to {epochs[-1]}" if len(epochs) > 1 else "")
        of_all = f" of {total}" if total > len(series) else ""
        title = f"{len(series)}{of_all} lines, {axis}, around {where}"
    entitle(figure, title, provenance.of_scans(scene, series))
    return figure


def _draw_scans(
    curves: Curves,
    series: Sequence[ScanPicture],
    names: Sequence[str],
    focus: ScanPicture,
    quantity: Quantity,
) -> None:
    """A curve for each scan and split, with signs where it says less than it seems to."""
    index = 0
    for picture, member in zip(series, names, strict=True):
        t = picture.result.coordinates[0]
        for name, split in picture.result.splits.items():
            found = drawn(split, quantity, picture.request.clip)
            words = [name] if len(series) == 1 else [member]
            if len(series) > 1 and len(picture.result.splits) > 1:
                words.append(name)
            hue = color(index)
            is_in_focus = len(series) > 1 and picture.scan_id == focus.scan_id
            curves.add(
                t,
                found.values,
                color=hue,
                label=" ".join(words),
                width=_IN_FOCUS if is_in_focus else _USUAL,
            )
            if found.is_estimated.any():
                at = found.is_evaluated & np.isfinite(found.values)
                curves.axes.plot(t[at], found.values[at], ".", color=hue)
            if quantity == "loss" and found.is_evaluated.all():
                places = stationary_points(found.values)
                places = places[~found.is_capped[places]]
                curves.signs(
                    t[places], found.values[places], "o", hue, "stationary points", fill="white"
                )
            _draw_signs(curves, t, found, hue, log=quantity == "loss")
            index += 1


def _draw_signs(curves: Curves, t: np.ndarray, found: Drawn, hue: str, *, log: bool) -> None:
    """What was given up, what is infinite, and what cannot be evaluated."""
    values = as_values(found.values)
    at = found.is_capped
    curves.signs(t[at], values[at], "^", hue, AT_LEAST)
    curves.signs_at_edge(
        t[found.is_evaluated & np.isposinf(values)], "^", hue, AT_LEAST, top=True
    )
    curves.signs_at_edge(
        t[found.is_evaluated & np.isnan(values)], "x", hue, NO_VALUE, top=False
    )
    if log and curves.log:
        curves.signs_at_edge(t[found.is_evaluated & (values <= 0)], "v", hue, "0", top=False)


def _types(series: Sequence[ScanPicture]) -> list[str]:
    """The type of a curve in words (Xu 2024, app. A.4), or how many are of which; by split."""
    lines: list[str] = []
    for name in series[0].result.splits:
        types = [
            curve_type(one.result.coordinates[0], one.result.splits[name].loss)
            for one in series
            if name in one.result.splits and one.result.splits[name].is_known.all()
        ]
        if len(series) == 1:
            lines += [f"{name}: {found.describe()}" for found in types]
        elif types:
            kinds = Counter(found.name for found in types).most_common()
            lines.append(f"{name}: {', '.join(f'{count} {kind}' for kind, count in kinds)}")
    return lines


def is_inside(picture: ScanPicture) -> bool:
    """Whether the model is within the grid of a scan."""
    return all(bool(t[0] <= 0 <= t[-1]) for t in picture.result.coordinates)


def cut_figure(scene: Scene, picture: ScanPicture) -> Figure:
    """The profile through the model at the chosen angle, of the scan beside it too."""
    other = scene.picture_beside
    series = (picture,) if other is None else (other, picture)
    if not all(map(is_inside, series)):
        raise LossvizError("there is no figure: the model is not on this plane")
    degrees, quantity = scene.selection.cut_degrees, scene.selection.quantity
    names = member_names(scene, series)
    figure = new_figure(_WIDTH, 3.6)
    curves = Curves(figure.subplots(), log=scene.selection.log)
    index = 0
    for one, member in zip(series, names, strict=True):
        for name, split in one.result.splits.items():
            found = drawn(split, quantity, one.request.clip)
            s, along = _along_cut(one, found, float(degrees))
            label = name if len(series) == 1 else f"{member} {name}"
            curves.add(s, along.values, color=color(index), label=label)
            _draw_signs(curves, s, along, color(index), log=True)
            index += 1
    axes = curves.axes
    axes.axvline(0.0, color=TEXT, lw=0.6, ls=":")
    axes.set_xlabel("distance from the model in coordinates")
    axes.set_ylabel(UNITS[quantity])
    if scene.selection.log:
        logarithmic(axes)
    subtitle(axes, lacking(series, names))
    curves.legend()
    around = title_of(scene, picture) if other is None else f"two planes, {' and '.join(names)}"
    entitle(
        figure, f"cut at {degrees:.0f} degrees, {around}", provenance.of_scans(scene, series)
    )
    return figure


def _along_cut(picture: ScanPicture, found: Drawn, degrees: float) -> tuple[np.ndarray, Drawn]:
    """Distances along the cut, and what is drawn there.

    A point on the way between some cells is as sure as the least sure one of them.
    """
    t1, t2 = picture.result.coordinates
    profile = cut(found.values, t1, t2, degrees)

    def touches(mask: np.ndarray) -> np.ndarray:
        return cut(mask.astype(float), t1, t2, degrees).value > 0

    along = Drawn(
        label=found.label,
        values=profile.value,
        is_evaluated=~touches(~found.is_evaluated),
        is_shown=~np.isnan(profile.value),
        is_capped=touches(found.is_capped),
    )
    return profile.s, along
