"""Label dance: the recalls of two classes and where their examples go instead."""

from dataclasses import dataclass
from functools import partial

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
from lossviz_tui.history import RowByEpoch, RunView
from lossviz_tui.navigation import moved, pair_chosen
from lossviz_tui.paint.cells import Canvas, Size, beside, clean_text
from lossviz_tui.paint.charts import ChartOptions, Mark, Series, line_chart
from lossviz_tui.paint.targets import Lines, Target
from lossviz_tui.panels.overview import nothing_counted, waiting
from lossviz_tui.panels.texts import accent, centred, muted, stacked, strong
from lossviz_tui.scene import Scene

HELP = (
    "Above, the recall of two classes; below, how much of the first is called something else "
    "(its CCTM row). ▼ marks epochs where the second gains what the first loses, ◆ where a "
    "third class takes from both (Diao et al. 2022, Fig. 6)."
)
_MIN_LIST_WIDTH = 28


@dataclass(frozen=True, kw_only=True, eq=False)
class _Dance:
    """What there is to show of a pair."""

    pair: tuple[int, int]
    view: RunView
    recall: np.ndarray
    """[class epoch, class]."""
    row: RowByEpoch

    @property
    def x(self) -> np.ndarray:
        """Epochs of the recalls."""
        return self.view.class_epochs.astype(float)

    @property
    def rates(self) -> np.ndarray | None:
        """CCTMs by epoch of which only the row of the first class is true.

        Moments and dominance of a pair look at no other row, and a thousand classes have no
        room for more. They are facts of successive epochs: None while some are missing.
        """
        if not (self.row.is_complete and self.view.is_contiguous):
            return None
        rows = self.row.rates
        return np.broadcast_to(rows[:, None, :], (len(rows), rows.shape[1], rows.shape[1]))


def paint(scene: Scene, size: Size) -> list[Strip]:
    """Recalls, the row of the first class, and on wide screens the ranked pairs."""
    view, pair = scene.view, scene.pair
    if view is None or not len(view.class_epochs):
        return waiting(scene, size)
    if pair is None:
        return centred(size, ["one class has nobody to dance with"], scene.look)
    split = scene.selection.split
    recall = view.recall_of(split)
    if np.isnan(recall).all():
        return nothing_counted(scene, size)
    dance = _Dance(pair=pair, view=view, recall=recall, row=view.row_by_epoch(split, pair[0]))
    width, height = size
    list_width = _MIN_LIST_WIDTH if width >= 92 else 0
    charts_width = width - list_width - (1 if list_width else 0)
    lines = _facts(scene, dance, charts_width)
    room = height - len(lines)
    top = room - room // 2
    charts = stacked(
        (charts_width, height),
        lines,
        _recalls(scene, dance, (charts_width, top)),
        _row(scene, dance, (charts_width, room - top)),
    )
    if not list_width:
        return charts
    return beside(charts, _pairs(scene, pair, (list_width, height)), gap=1)


def _facts(scene: Scene, dance: _Dance, width: int) -> list[Strip]:
    look, view = scene.look, dance.view
    a, b = dance.pair
    names = view.description.class_names
    score = dance_score(dance.recall, a, b)
    canvas = Canvas((width, 1))
    first, second = (clean_text(names[c], 14, ascii_only=look.is_ascii) for c in (a, b))
    arrow = "<->" if look.is_ascii else "⇄"
    head = f"{first} {arrow} {second}"
    canvas.put(0, 0, head, strong(look))
    text = f"  {scene.selection.split}  dance score "
    text += "n/a" if not np.isfinite(score) else f"{score:+.2f}"
    coverage = _coverage(dance)
    rates = dance.rates
    since = None if rates is None else dominance_epoch(rates, a, b)
    if coverage:
        text += f"  ({coverage})"
    # Of a part of the history, dominance from its first epoch on may be older than that.
    if since is not None and not (since == 0 and view.is_partial):
        dominance = f"  {second} dominates {first} since epoch {int(view.class_epochs[since])}"
        text += dominance if cell_len(head + text + dominance) <= width else ""
    canvas.put(cell_len(head), 0, text, muted(look))
    return canvas.strips()


def _coverage(dance: _Dance) -> str:
    """Of which epochs all this tells, where it is not all of them."""
    if dance.view.is_partial or dance.row.is_complete:
        return dance.view.coverage
    return f"row read at {len(dance.row.places):,} of {len(dance.x):,} epochs"


def _recalls(scene: Scene, dance: _Dance, size: Size) -> list[Strip]:
    a, b = dance.pair
    names, recall, x = dance.view.description.class_names, dance.recall, dance.x
    marks: list[Mark] = []
    if (rates := dance.rates) is not None:
        marks += [
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
        for k, c in enumerate(dance.pair)
    ]
    options = ChartOptions(title="recall", y_label="%", marks=marks, cursor_x=_cursor(scene))
    return line_chart(series, size, look=scene.look, options=options)


def _row(scene: Scene, dance: _Dance, size: Size) -> list[Strip]:
    """CCTM(a, c) over epochs: the second class and the worst others coloured, the rest grey."""
    a, b = dance.pair
    names = dance.view.description.class_names
    row, x = 100 * dance.row.rates, dance.row.epochs.astype(float)
    others = [c for c in range(len(names)) if c not in (a, b)]
    peaks = np.nan_to_num(row[:, others], nan=0.0)[-20:].max(axis=0, initial=0.0)
    ranked = [others[k] for k in np.argsort(-peaks, kind="stable")]
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
    listed = [(one.first, one.second) for one in scene.ranked_pairs[: canvas.height - 1]]
    choose = Target(
        left=0,
        top=1,
        width=canvas.width,
        height=len(listed),
        click=partial(pair_chosen, listed),
        wheel=moved,
    )
    return Lines(canvas.strips(), [choose])
