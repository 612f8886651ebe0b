"""A plane of a scan: heat map with marks and the way of the checkpoints, facts, cut."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from rich.style import Style
from textual.strip import Strip

from lossviz_analysis.surfaces.cut import Cut, cut
from lossviz_analysis.surfaces.lowland import lowest_entry
from lossviz_tui.navigation import point_chosen
from lossviz_tui.paint.axes import short_number
from lossviz_tui.paint.cells import Size, beside, blank_lines, text_line
from lossviz_tui.paint.charts import ChartOptions, Series, line_chart
from lossviz_tui.paint.matrix import EntryMark, HeatOptions
from lossviz_tui.paint.palettes import VIRIDIS
from lossviz_tui.paint.plane import Plane, PlaneOptions, plane_picture, plane_placement
from lossviz_tui.paint.targets import Lines, whole
from lossviz_tui.panels.scan_point import point_facts
from lossviz_tui.panels.scan_values import (
    Drawn,
    axis_label,
    common_ends,
    drawn,
    fact_text,
)
from lossviz_tui.panels.texts import centred, muted, stacked, strong
from lossviz_tui.scene import ScanPicture, Scene

_FACTS_WIDTH = 40
_MAX_FACT = 400
_PROFILE_ROWS = 8
"""A lower chart has no room for axis and title."""


def plane_view(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    """The plane of the first split, its facts and the cut beside it where there is room."""
    width, height = size
    facts = _FACTS_WIDTH if width >= 84 else 34 if width >= 76 else 0
    below = 0 if facts else 1 if scene.point is None else 2
    area = (width - facts - (2 if facts else 0), height - below)
    name, split = next(iter(picture.result.splits.items()))
    found = drawn(split, scene.selection.quantity, picture.request.clip)
    ends = common_ends(scene, scene.siblings) if len(scene.siblings) > 1 else (None, None)
    left = one_plane(scene, picture, found, area, title=name, ends=ends)
    if facts:
        return beside(left, _facts(scene, picture, (facts, height)), gap=2)
    return stacked(size, left, narrow_facts(scene, picture, (width, below)))


def one_plane(
    scene: Scene,
    picture: ScanPicture,
    found: Drawn,
    size: Size,
    *,
    title: str,
    ends: tuple[float | None, float | None],
    has_bar: bool = True,
) -> Lines:
    """A heat map with its coordinates, marks, way, cut and cursor; it answers the mouse."""
    t1, t2 = picture.result.coordinates
    heat = HeatOptions(
        palette=VIRIDIS,
        origin="lower",
        log=scene.selection.log,
        low=ends[0],
        high=ends[1],
        marks=_marks(found, t1, t2),
        cursor=_cursor(scene, picture),
        contours=_contours(scene, found.values, size[1]),
    )
    if ends == (None, None) and found.is_capped.any():
        heat = replace(heat, high=float(found.values[found.is_capped][0]))
    options = PlaneOptions(
        heat=heat,
        title=title,
        value_label=f"{found.label}, log" if scene.selection.log else found.label,
        row_label=axis_label(scene, picture, 0),
        column_label=axis_label(scene, picture, 1),
        has_bar=has_bar,
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
        line=_cut_line(scene, picture, found),
    )
    lines = plane_picture(plane, size, look=scene.look, options=options)
    place = plane_placement(plane, size, look=scene.look, options=options)
    if place is None or picture is not scene.shown_picture:
        return Lines(lines)
    choose = partial(point_chosen, place.entry_at)
    return Lines(lines, [whole(size, choose)])


def _cursor(scene: Scene, picture: ScanPicture) -> tuple[int, int] | None:
    """The cursor, or in another plane the point with the nearest coordinates."""
    at = point_in(scene, picture)
    return None if at is None else (at[0], at[-1])


def point_in(scene: Scene, picture: ScanPicture) -> tuple[int, ...] | None:
    """The point under the cursor, or that of another grid with the nearest coordinates."""
    focus, point = scene.shown_picture, scene.point
    if focus is None or point is None or picture is focus:
        return point
    pairs = zip(focus.result.coordinates, point, picture.result.coordinates, strict=True)
    return tuple(int(np.abs(other - t[at]).argmin()) for t, at, other in pairs)


def _marks(found: Drawn, t1: np.ndarray, t2: np.ndarray) -> list[EntryMark]:
    """The model, where it is in sight, and the lowest evaluated point."""
    marks: list[EntryMark] = []
    if t1[0] <= 0 <= t1[-1] and t2[0] <= 0 <= t2[-1]:
        marks.append(EntryMark(row=int(np.argmin(abs(t1))), column=int(np.argmin(abs(t2)))))
    if (lowest := lowest_entry(found.sure, t1, t2)) is not None:
        marks.append(EntryMark(row=lowest[0], column=lowest[1], kind="minimum"))
    return marks


def _contours(scene: Scene, values: np.ndarray, height: int) -> tuple[float, ...]:
    """Levels between the smallest and the largest value, more of them in a high picture."""
    count = 4 if height >= 24 else 2
    finite = values[np.isfinite(values)]
    if not scene.selection.contours or finite.size < 9 or finite.min() == finite.max():
        return ()
    if scene.selection.log and finite.min() > 0:
        return tuple(np.geomspace(finite.min(), finite.max(), count + 2)[1:-1].tolist())
    return tuple(np.linspace(finite.min(), finite.max(), count + 2)[1:-1].tolist())


def _levels(scene: Scene, picture: ScanPicture, height: int) -> list[str]:
    """At which values the contours are drawn, of the first split."""
    split = next(iter(picture.result.splits.values()))
    found = drawn(split, scene.selection.quantity, picture.request.clip)
    levels = _contours(scene, found.values, height)
    return [f"contours at {', '.join(map(short_number, levels))}"] if levels else []


def head_facts(picture: ScanPicture) -> tuple[str, ...]:
    """How it was evaluated, and on how much."""
    request, geometry = picture.request, picture.result.geometry
    precision = picture.report.precision or request.precision
    whole = ", complete" if picture.is_whole else ""
    images = ", ".join(f"{name} {geometry.examples[name]} images" for name in request.splits)
    return (f"{request.batch_norm} BN, {precision}{whole}", images)


def narrow_facts(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    """What is known of the cursor's point, or of the scan, in a line or two."""
    width, height = size
    ascii_only = scene.look.is_ascii
    if scene.point is None:
        if scene.selection.has_cut:
            degrees = scene.selection.cut_degrees
            shows = scene.hint("shows its profile", "set('next_mode')")
            words = ", ".join(filter(None, (f"cut at {degrees:.0f} degrees", shows)))
        else:
            words = "; ".join(picture.facts)
        return [
            text_line(fact_text(words, width, ascii_only=ascii_only), width, muted(scene.look))
        ]
    facts = point_facts(scene, picture, scene.point)
    lines = ["; ".join(facts[:1]), "; ".join(facts[1:])]
    return [
        text_line(fact_text(line, width, ascii_only=ascii_only), width, strong(scene.look))
        for line in lines[:height]
    ]


def _facts(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    """What is known of the cursor's point and of the scan, then the cut through the centre."""
    width, height = size
    lines = _all_facts(scene, picture, size)
    if scene.selection.has_cut:
        # A cut that was turned is looked at: the last facts make room for it.
        lines = lines[: max(0, height - _PROFILE_ROWS - 1)]
    room = height - len(lines) - 1
    if room < _PROFILE_ROWS:
        return stacked(size, lines)
    return stacked(
        size, lines, blank_lines((width, 1)), cut_view(scene, picture, (width, room))
    )


def _all_facts(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    """The facts of the cursor's point in place of as many of the scan's, then the others.

    Were they put before them, all lines would move down and be sent again, planes and all.
    """
    width, height = size
    facts = [*picture.findings, *head_facts(picture), *_levels(scene, picture, height)]
    facts += picture.details
    if scene.point is None:
        return _wrapped(scene, facts, width, muted(scene.look))
    upper = _wrapped(scene, point_facts(scene, picture, scene.point), width, strong(scene.look))
    hidden: list[Strip] = []
    while facts and len(hidden) < len(upper):
        hidden += _wrapped(scene, [facts.pop(0)], width, muted(scene.look))
    filling = blank_lines((width, max(0, len(hidden) - len(upper))))
    return [*upper, *filling, *_wrapped(scene, facts, width, muted(scene.look))]


def _wrapped(scene: Scene, facts: Sequence[str], width: int, style: Style) -> list[Strip]:
    return [
        text_line(part, width, style)
        for text in facts
        for part in textwrap.wrap(
            fact_text(text, _MAX_FACT, ascii_only=scene.look.is_ascii), width
        )
    ]


def _cut_line(scene: Scene, picture: ScanPicture, found: Drawn) -> np.ndarray | None:
    """Both ends of the cut in coordinates, one row each, where it is to be seen."""
    profile = _profile(scene, picture, found) if scene.selection.has_cut else None
    if profile is None:
        return None
    return np.stack([profile.t1, profile.t2], axis=1)[[0, -1]]


def _profile(scene: Scene, picture: ScanPicture, found: Drawn) -> Cut | None:
    """The values along the cut; None where the model is out of sight."""
    t1, t2 = picture.result.coordinates
    if not (t1[0] <= 0 <= t1[-1] and t2[0] <= 0 <= t2[-1]):
        return None
    return cut(found.values, t1, t2, float(scene.selection.cut_degrees))


def cut_view(
    scene: Scene, picture: ScanPicture, size: Size, *, other: ScanPicture | None = None
) -> list[Strip]:
    """The profile through the centre at the chosen angle, of another plane's too."""
    series: list[Series] = []
    label = ""
    for one in (picture, other):
        if one is None:
            continue
        for name, split in one.result.splits.items():
            found = drawn(split, scene.selection.quantity, one.request.clip)
            profile = _profile(scene, one, found)
            if profile is None:
                return centred(size, ["no cut: the model is out of sight"], scene.look)
            label = found.label
            words = (
                name if other is None else f"{'here' if one is picture else 'beside'} {name}"
            )
            curve = Series(label=words, x=profile.s, y=profile.value, color_index=len(series))
            series.append(curve)
    cursor = _distance_along_cut(scene, picture)
    options = ChartOptions(
        title=f"cut at {scene.selection.cut_degrees:.0f} degrees",
        y_label=label,
        x_label="distance",
        integer_x=False,
        log_y=scene.selection.log,
        cursor_x=0.0 if cursor is None else cursor,
        empty_text="not computed yet",
    )
    return line_chart(series, size, look=scene.look, options=options)


def _distance_along_cut(scene: Scene, picture: ScanPicture) -> float | None:
    """Where the point under the cursor lies beside the cut; None: no cursor."""
    point = point_in(scene, picture)
    if point is None:
        return None
    t1, t2 = picture.result.coordinates
    angle = np.deg2rad(scene.selection.cut_degrees)
    return float(t1[point[0]] * np.cos(angle) + t2[point[-1]] * np.sin(angle))


def whole_cut_view(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    """The profile by itself, with the values at the cursor below it."""
    width, height = size
    if scene.point is None or height < _PROFILE_ROWS:
        return cut_view(scene, picture, size)
    chart = cut_view(scene, picture, (width, height - 2))
    return stacked(size, chart, narrow_facts(scene, picture, (width, 2)))
