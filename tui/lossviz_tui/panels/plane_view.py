"""A plane of a scan: heat map with marks and the way of the checkpoints, facts, cut."""

import textwrap
from dataclasses import replace

import numpy as np
from textual.strip import Strip

from lossviz_analysis.surfaces.cut import cut
from lossviz_tui.paint.cells import Size, beside, blank_lines, text_line
from lossviz_tui.paint.charts import ChartOptions, Series, line_chart
from lossviz_tui.paint.matrix import EntryMark, HeatOptions
from lossviz_tui.paint.palettes import VIRIDIS
from lossviz_tui.paint.plane import Plane, PlaneOptions, plane_picture
from lossviz_tui.panels.scan_values import (
    Drawn,
    axis_label,
    common_ends,
    drawn,
    fact_text,
)
from lossviz_tui.panels.texts import centred, muted, stacked
from lossviz_tui.scene import ScanPicture, Scene

_FACTS_WIDTH = 40
_MAX_FACT = 400


def plane_view(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    """The plane of the first split, its facts and the cut beside it where there is room."""
    width, height = size
    facts = _FACTS_WIDTH if width >= 84 else 34 if width >= 76 else 0
    area = (width - facts - (2 if facts else 0), height - (0 if facts else 1))
    name, split = next(iter(picture.result.splits.items()))
    found = drawn(split, scene.selection.quantity, picture.request.clip)
    t1, t2 = picture.result.coordinates
    heat = HeatOptions(
        palette=VIRIDIS,
        origin="lower",
        log=scene.selection.log,
        marks=_marks(found, t1, t2),
        contours=_contours(scene, found.values, 4 if height >= 24 else 2),
    )
    if len(scene.siblings) > 1:
        low, high = common_ends(scene, scene.siblings)
        heat = replace(heat, low=low, high=high)
    elif found.is_capped.any():
        heat = replace(heat, high=float(found.values[found.is_capped][0]))
    options = PlaneOptions(
        heat=heat,
        title=name,
        value_label=found.label,
        row_label=axis_label(scene, picture, 0),
        column_label=axis_label(scene, picture, 1),
    )
    way = np.array(picture.result.geometry.trajectory)
    plane = Plane(
        values=found.values,
        row_coordinates=t1,
        column_coordinates=t2,
        known=found.is_shown,
        estimated=found.is_estimated,
        capped=found.is_capped,
        way=way[:, 1:3] if len(way) else None,
    )
    left = plane_picture(plane, area, look=scene.look, options=options)
    if facts:
        return beside(left, _facts(scene, picture, (facts, height)), gap=2)
    words = fact_text("; ".join(picture.facts), width, ascii_only=scene.look.is_ascii)
    return stacked(size, left, [text_line(words, width, muted(scene.look))])


def _marks(found: Drawn, t1: np.ndarray, t2: np.ndarray) -> list[EntryMark]:
    """The model, where it is in sight, and the lowest evaluated point."""
    marks: list[EntryMark] = []
    if t1[0] <= 0 <= t1[-1] and t2[0] <= 0 <= t2[-1]:
        marks.append(EntryMark(row=int(np.argmin(abs(t1))), column=int(np.argmin(abs(t2)))))
    sure = found.sure
    if np.isfinite(sure).any():
        lowest = np.unravel_index(int(np.nanargmin(sure)), sure.shape)
        marks.append(EntryMark(row=int(lowest[0]), column=int(lowest[1]), kind="minimum"))
    return marks


def _contours(scene: Scene, values: np.ndarray, count: int) -> tuple[float, ...]:
    """So many levels between the smallest and the largest value."""
    finite = values[np.isfinite(values)]
    if not scene.selection.contours or finite.size < 9 or finite.min() == finite.max():
        return ()
    if scene.selection.log and finite.min() > 0:
        return tuple(np.geomspace(finite.min(), finite.max(), count + 2)[1:-1].tolist())
    return tuple(np.linspace(finite.min(), finite.max(), count + 2)[1:-1].tolist())


def head_facts(picture: ScanPicture) -> tuple[str, ...]:
    """How it was evaluated, and on how much."""
    request, geometry = picture.request, picture.result.geometry
    precision = picture.report.precision or request.precision
    whole = ", complete" if picture.is_whole else ""
    images = ", ".join(f"{name} {geometry.examples[name]} images" for name in request.splits)
    return (f"{request.batch_norm} BN, {precision}{whole}", images)


def _facts(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    """What is known of the scan, then the cut through the centre."""
    width, height = size
    lines = [
        text_line(part, width, muted(scene.look))
        for text in (*head_facts(picture), *picture.facts)
        for part in textwrap.wrap(
            fact_text(text, _MAX_FACT, ascii_only=scene.look.is_ascii), width
        )
    ]
    room = height - len(lines) - 1
    if room < 8:
        return stacked(size, lines)
    return stacked(
        size, lines, blank_lines((width, 1)), cut_view(scene, picture, (width, room))
    )


def cut_view(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    """The profile through the centre at the chosen angle."""
    t1, t2 = picture.result.coordinates
    if not (t1[0] <= 0 <= t1[-1] and t2[0] <= 0 <= t2[-1]):
        return centred(size, ["no cut: the model is out of sight"], scene.look)
    degrees = scene.selection.cut_degrees
    series: list[Series] = []
    label = ""
    for k, (name, split) in enumerate(picture.result.splits.items()):
        found = drawn(split, scene.selection.quantity, picture.request.clip)
        profile = cut(found.values, t1, t2, float(degrees))
        label = found.label
        series.append(Series(label=name, x=profile.s, y=profile.value, color_index=k))
    options = ChartOptions(
        title=f"cut at {degrees:.0f} degrees",
        y_label=label,
        x_label="distance",
        integer_x=False,
        log_y=scene.selection.log,
        cursor_x=0.0,
        empty_text="not computed yet",
    )
    return line_chart(series, size, look=scene.look, options=options)
