"""Label dance: the recalls of two classes and where their examples go instead."""

import numpy as np
from rich.cells import cell_len
from textual.strip import Strip

from lossviz_analysis.classwise.dance import (
    NO_CLASS,
    dance_score,
    dominance_epoch,
    pair_moments,
    third_class_moments,
)
from lossviz_tui.history import RunView
from lossviz_tui.paint.cells import Canvas, Size, beside, clean_text
from lossviz_tui.paint.charts import ChartOptions, Mark, Series, line_chart
from lossviz_tui.panels.overview import waiting
from lossviz_tui.panels.texts import accent, muted, stacked, strong
from lossviz_tui.scene import Scene

HELP = (
    "Above, the recall of two classes; below, how much of the first is called something else "
    "(its CCTM row). ▼ marks epochs where the second gains what the first loses, ◆ where a "
    "third class takes from both (Diao et al. 2022, Fig. 6)."
)
_MIN_LIST_WIDTH = 28


def paint(scene: Scene, size: Size) -> list[Strip]:
    """Recalls, the row of the first class, and on wide screens the ranked pairs."""
    view, pair = scene.view, scene.pair
    if view is None or not len(view) or pair is None:
        return waiting(scene, size)
    width, height = size
    list_width = _MIN_LIST_WIDTH if width >= 92 else 0
    charts_width = width - list_width - (1 if list_width else 0)
    lines = _facts(scene, pair, charts_width)
    room = height - len(lines)
    top = room - room // 2
    charts = stacked(
        (charts_width, height),
        lines,
        _recalls(scene, pair, (charts_width, top)),
        _row(scene, pair, (charts_width, room - top)),
    )
    if not list_width:
        return charts
    return beside(charts, _pairs(scene, pair, (list_width, height)), gap=1)


def _facts(scene: Scene, pair: tuple[int, int], width: int) -> list[Strip]:
    view, look = scene.view, scene.look
    if view is None:
        return []
    a, b = pair
    names = view.description.class_names
    recall = view.recall_of(scene.selection.split)
    rates = _rates_with_row(view, scene.selection.split, a)
    score = dance_score(recall, a, b)
    since = dominance_epoch(rates, a, b)
    canvas = Canvas((width, 1))
    first, second = (clean_text(names[c], 14, ascii_only=look.is_ascii) for c in pair)
    arrow = "<->" if look.is_ascii else "⇄"
    head = f"{first} {arrow} {second}"
    canvas.put(0, 0, head, strong(look))
    text = f"  {scene.selection.split}  dance score "
    text += "n/a" if not np.isfinite(score) else f"{score:+.2f}"
    if since is not None:
        dominance = f"  {second} dominates {first} since epoch {int(view.epochs[since])}"
        text += dominance if cell_len(head + text + dominance) <= width else ""
    canvas.put(len(head), 0, text, muted(look))
    return canvas.strips()


def _rates_with_row(view: RunView, split: str, a: int) -> np.ndarray:
    """CCTMs by epoch of which only row `a` is true, without the memory of a thousand classes.

    Moments and dominance of a pair (a, b) look at no other row.
    """
    row = view.row_by_epoch(split, a)
    return np.broadcast_to(row[:, None, :], (len(row), row.shape[1], row.shape[1]))


def _recalls(scene: Scene, pair: tuple[int, int], size: Size) -> list[Strip]:
    view = scene.view
    if view is None:
        return []
    a, b = pair
    names = view.description.class_names
    recall = view.recall_of(scene.selection.split)
    rates = _rates_with_row(view, scene.selection.split, a)
    x = view.epochs.astype(float)
    marks = [
        Mark(x=x[e], y=100 * float(recall[e, b]), glyph="▼", ascii_glyph="v", color_index=5)
        for e in np.flatnonzero(pair_moments(recall, rates, a, b))
    ]
    third = third_class_moments(recall, rates, a, b)
    marks += [
        Mark(x=x[e], y=100 * float(recall[e, a]), glyph="◆", ascii_glyph="#", color_index=4)
        for e in np.flatnonzero(third != NO_CLASS)
    ]
    series = [
        Series(label=names[c], x=x, y=100 * recall[:, c], color_index=k, bold=k == 0)
        for k, c in enumerate(pair)
    ]
    options = ChartOptions(title="recall", y_label="%", marks=marks, cursor_x=_cursor(scene))
    return line_chart(series, size, look=scene.look, options=options)


def _row(scene: Scene, pair: tuple[int, int], size: Size) -> list[Strip]:
    """CCTM(a, c) over epochs: the second class and the worst others coloured, the rest grey."""
    view = scene.view
    if view is None:
        return []
    a, b = pair
    names = view.description.class_names
    row = 100 * view.row_by_epoch(scene.selection.split, a)
    others = [c for c in range(len(names)) if c not in (a, b)]
    peaks = np.nan_to_num(row[:, others], nan=0.0)[-20:].max(axis=0)
    ranked = [others[k] for k in np.argsort(-peaks, kind="stable")]
    x = view.epochs.astype(float)
    series = [Series(label=names[b], x=x, y=row[:, b], color_index=1, bold=True)]
    for place, c in enumerate(ranked[:12]):
        shown = place < 3 and peaks[others.index(c)] > 0
        series.append(
            Series(
                label=names[c] if shown else "",
                x=x,
                y=row[:, c],
                color_index=2 + place if shown else -1,
            )
        )
    title = f"{clean_text(names[a], 14, ascii_only=scene.look.is_ascii)} called"
    options = ChartOptions(title=title, y_label="%", cursor_x=_cursor(scene))
    return line_chart(series, size, look=scene.look, options=options)


def _cursor(scene: Scene) -> float | None:
    return None if scene.selection.epoch is None or scene.epoch is None else float(scene.epoch)


def _pairs(scene: Scene, pair: tuple[int, int], size: Size) -> list[Strip]:
    """The most interfering pairs at the epoch in focus; the shown one is marked."""
    view, look = scene.view, scene.look
    canvas = Canvas(size)
    if view is None:
        return canvas.strips()
    names = view.description.class_names
    arrow = "<>" if look.is_ascii else "⇄"
    canvas.put(0, 0, "interference", strong(look))
    canvas.put_right(canvas.width, 0, "mean %", muted(look))
    for row, found in enumerate(scene.ranked_pairs[: canvas.height - 1], start=1):
        mine = {found.first, found.second} == set(pair)
        first, second = (
            clean_text(names[c], 8, ascii_only=look.is_ascii)
            for c in (found.first, found.second)
        )
        sign = ">" if mine else " "
        style = accent(look) if mine else muted(look)
        canvas.put(0, row, f"{sign}{first} {arrow} {second}", style)
        canvas.put_right(canvas.width, row, f"{100 * found.rate:.2f}", style)
    return canvas.strips()
