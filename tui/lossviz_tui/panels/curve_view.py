"""A line of a scan, or all lines of a series, as charts of cross-entropy and mistakes."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
from textual.strip import Strip

from lossviz_analysis.surfaces.curves import chance_loss, curve_type
from lossviz_tui.navigation import place_chosen
from lossviz_tui.paint.cells import Size
from lossviz_tui.paint.charts import (
    ChartOptions,
    LevelLine,
    Series,
    chart_frame,
    line_chart,
)
from lossviz_tui.paint.targets import Lines, whole
from lossviz_tui.panels.scan_point import point_facts
from lossviz_tui.panels.scan_values import axis_label, drawn, fact_text
from lossviz_tui.panels.texts import stacked, title_line
from lossviz_tui.scene import ScanPicture, Scene
from lossviz_tui.selection import Quantity

_ON_ONE_LINE = ("|d|", "centre")
"""Beginnings of the facts that share a line."""


def curve_view(
    scene: Scene, picture: ScanPicture, series: Sequence[ScanPicture], size: Size
) -> list[Strip]:
    """Cross-entropy with the line of chance, mistake rate below it, then facts."""
    width, height = size
    first = [fact for fact in picture.facts if fact.startswith(_ON_ONE_LINE)]
    rest = [fact for fact in picture.facts if fact not in first]
    at_cursor = [] if scene.point is None else [_cursor_fact(scene, picture, scene.point)]
    sentences = [*at_cursor, *_type_facts(series), "; ".join(first), *rest]
    facts = [
        title_line(fact_text(text, width, ascii_only=scene.look.is_ascii), width, scene.look)
        for text in sentences
    ][: max(2, height // 5) if height > 9 else 0]
    room = height - len(facts)
    # Below six rows a chart has no title, and two without titles say nothing.
    top = room if room < 12 else room - max(6, 2 * room // 5)
    chance = LevelLine(
        y=chance_loss(len(picture.result.geometry.class_names)), label="chance, log C"
    )
    losses, mistakes = (
        _curves(scene, picture, series or (picture,), quantity)
        for quantity in ("loss", "mistakes")
    )
    axis = axis_label(scene, picture, 0) if len(series) < 2 else picture.request.kind
    t = picture.result.coordinates[0]
    cursor = 0.0 if scene.point is None else float(t[scene.point[0]])
    loss = ChartOptions(
        title="cross-entropy",
        y_limits=_with_chance([one.y for one in losses], chance.y, log=scene.selection.log),
        x_label=axis,
        integer_x=False,
        log_y=scene.selection.log,
        h_lines=(chance,),
        cursor_x=cursor,
        empty_text="not computed yet",
    )
    rate = ChartOptions(
        title="mistakes",
        y_label="%",
        x_label=axis,
        integer_x=False,
        cursor_x=cursor,
        empty_text="",
    )
    return stacked(
        size,
        _chart(scene, losses, (width, top), loss),
        _chart(scene, mistakes, (width, room - top), rate),
        facts,
    )


def _chart(scene: Scene, series: Sequence[Series], size: Size, options: ChartOptions) -> Lines:
    """A chart that puts the cursor where it is clicked."""
    frame = chart_frame(series, size, look=scene.look, options=options)
    lines = line_chart(series, size, look=scene.look, options=options)
    choose = partial(place_chosen, frame.x_at)
    return Lines(lines, [whole(size, choose)])


def _cursor_fact(scene: Scene, picture: ScanPicture, point: tuple[int, ...]) -> str:
    return "; ".join(point_facts(scene, picture, point))


def _curves(
    scene: Scene,
    focus: ScanPicture,
    pictures: Sequence[ScanPicture],
    quantity: Quantity,
) -> list[Series]:
    """A curve for each scan and split; the points of one under way stand out on it."""
    found: list[Series] = []
    for picture in pictures:
        t = picture.result.coordinates[0]
        for name, split in picture.result.splits.items():
            one = drawn(split, quantity, picture.request.clip)
            words = [name] if len(pictures) == 1 else [_member_name(scene, pictures, picture)]
            if len(pictures) > 1 and len(picture.result.splits) > 1:
                words.append(name)
            curve = Series(
                label=" ".join(words),
                x=t,
                y=one.values,
                color_index=len({series.color_index for series in found}),
                bold=len(pictures) > 1 and picture.scan_id == focus.scan_id,
            )
            found.append(curve)
            if one.is_estimated.any():
                found.append(
                    Series(
                        label="",
                        x=t,
                        y=one.sure,
                        color_index=curve.color_index,
                        style="points",
                    )
                )
    return found


def _member_name(scene: Scene, pictures: Sequence[ScanPicture], picture: ScanPicture) -> str:
    """What tells a scan from the others of its chart: epoch, seed or direction."""
    if len({one.request.epoch for one in pictures}) > 1:
        return f"e{picture.request.epoch}"
    seed = picture.request.directions[0].seed
    return f"seed {seed}" if seed is not None else axis_label(scene, picture, 0)


def _type_facts(pictures: Sequence[ScanPicture]) -> list[str]:
    """How many curves of a series are of which type, by split."""
    if len(pictures) < 2:
        return []
    facts: list[str] = []
    for name in pictures[0].result.splits:
        types = Counter(
            curve_type(one.result.coordinates[0], one.result.splits[name].loss).kind
            for one in pictures
            if name in one.result.splits and one.result.splits[name].is_known.all()
        )
        if types:
            counts = ", ".join(f"{count} {kind}" for kind, count in types.most_common())
            facts.append(f"{name}: {counts}")
    return facts


def _with_chance(
    curves: Sequence[np.ndarray], chance: float, *, log: bool
) -> tuple[float, float] | None:
    """Limits that hold the curves and the line of chance, with a little air."""
    values = np.concatenate([chance * np.ones(1), *(curve.ravel() for curve in curves)])
    finite = values[np.isfinite(values) & (values > 0)] if log else values[np.isfinite(values)]
    low, high = float(finite.min(initial=np.inf)), float(finite.max(initial=-np.inf))
    if low >= high:
        return None
    if log:
        return low / 1.2, high * 1.2
    return low - 0.03 * (high - low), high + 0.03 * (high - low)
