"""Label dance: the recalls of classes and where their examples go instead."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

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
from lossviz_analysis.store.fields import StoreError
from lossviz_tui.history import RowByEpoch, RunView
from lossviz_tui.paint.cells import Canvas, Size, beside, clean_text
from lossviz_tui.paint.charts import ChartOptions, Marks, Series
from lossviz_tui.panels.epoch_chart import epoch_chart, held_epoch
from lossviz_tui.panels.marked import DrawnRun, drawn_runs, run_legend
from lossviz_tui.panels.overview import nothing_counted, waiting
from lossviz_tui.panels.pairs import pair_list
from lossviz_tui.panels.texts import centred, muted, stacked, strong
from lossviz_tui.scene import Scene
from lossviz_tui.selection import Split

HELP = (
    "Above, the recalls CCTM(i, i), below, where the examples of the first class a go instead, "
    "CCTM(a, c); ▼ marks an epoch at which the second class b peaks, a falls and CCTM(a, b) "
    "peaks, ↓ one at which both fall and a third class has the largest CCTM(a, c), at a peak "
    "(Diao et al. 2022, sec. 4.2, Fig. 6); the dance score is minus the Pearson correlation of "
    "the changes of the two recalls from epoch to epoch."
)
_NOWHERE = np.empty(0)
_PAIR_MOMENT = Marks(x=_NOWHERE, y=_NOWHERE, glyph="▼", ascii_glyph="v", color_index=5)
_THIRD_MOMENT = Marks(x=_NOWHERE, y=_NOWHERE, glyph="↓", ascii_glyph="!", color_index=4)
_MAX_OTHERS = 12
_FEW = 3
"""Moments that are named by their epochs."""
_LABELLED_OTHERS = 3
_LATELY = 20
"""Epochs by which the other classes are ranked."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Dance:
    """What there is to show of a pair."""

    pair: tuple[int, int]
    split: Split
    view: RunView
    recall: np.ndarray
    """[class epoch, class]."""
    row: RowByEpoch

    @property
    def x(self) -> np.ndarray:
        """Epochs of the recalls."""
        return self.view.class_epochs.astype(float)

    @cached_property
    def rates(self) -> np.ndarray | None:
        """CCTMs by epoch of which only the row of the first class is true.

        Moments and dominance of a pair look at no other row, and a thousand classes have no
        room for more. They are facts of successive epochs: None while some are missing.
        """
        if not (self.row.is_complete and self.view.is_contiguous):
            return None
        rows = self.row.rates
        return np.broadcast_to(rows[:, None, :], (len(rows), rows.shape[1], rows.shape[1]))

    @cached_property
    def pair_moments(self) -> np.ndarray:
        """Places of the class epochs at which the second class interferes the first."""
        rates = self.rates
        if rates is None:
            return np.empty(0, np.int64)
        return self._remember(
            "pair moments",
            lambda: np.flatnonzero(pair_moments(self.recall, rates, *self.pair)),
        )

    @cached_property
    def third_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Places of the class epochs at which a third class interferes, and which it is."""
        rates = self.rates
        if rates is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)

        def compute() -> tuple[np.ndarray, np.ndarray]:
            found = third_class_moments(self.recall, rates, *self.pair)
            places = np.flatnonzero(found != NO_CLASS)
            return places, found[places]

        return self._remember("third moments", compute)

    def _remember(self, what: str, compute: Callable[[], Any]) -> Any:  # noqa: ANN401
        """What follows from the whole course of a pair, computed once."""
        return self.view.remember((what, self.split, self.pair), compute)


def paint(scene: Scene, size: Size) -> list[Strip]:
    """Recalls, the rows of the pair in focus, and on wide screens the ranked pairs."""
    view, pair = scene.view, scene.pair
    if view is None or not len(view.class_epochs):
        return waiting(scene, size)
    if pair is None:
        return centred(size, ["one class has nobody to dance with"], scene.look)
    split = scene.selection.split
    recall = view.recall_of(split)
    if np.isnan(recall).all():
        return nothing_counted(scene, size)
    dance = _dance_of(view, split, pair)
    width, height = size
    list_width = 0 if width < 92 else 28 if width < 120 else 42 if width < 200 else 56
    charts_width = width - list_width - (1 if list_width else 0)
    lines = _facts(scene, dance, charts_width, 3 if height >= 20 else 2 if height >= 18 else 1)
    runs = _comparable(scene, dance)
    if runs:
        lines += run_legend(runs, charts_width, scene.look)
    charts = _charts(scene, dance, runs, (charts_width, max(1, height - len(lines))))
    left = stacked((charts_width, height), lines, charts)
    if not list_width:
        return left
    return beside(left, pair_list(scene, pair, (list_width, height)), gap=1)


def _dance_of(view: RunView, split: Split, pair: tuple[int, int]) -> _Dance:
    recall = view.recall_of(split)
    row = view.row_by_epoch(split, pair[0])
    return _Dance(pair=pair, split=split, view=view, recall=recall, row=row)


def _charts(scene: Scene, dance: _Dance, runs: tuple[DrawnRun, ...], size: Size) -> list[Strip]:
    """Two charts; where there is room also where the second class goes."""
    width, height = size
    first, second = dance.pair
    is_wide = width >= 160 and height >= 18
    left, right = width // 2 - 1, width - width // 2 - 1
    if is_wide:
        top = height - height // 2
        areas = [(left, height)] if not runs else [(left, top), (left, height - top)]
        areas += [(right, top), (right, height - top)]
    else:
        count = 3 if height >= 33 else 2
        areas = [(width, height * (k + 1) // count - height * k // count) for k in range(count)]
    if runs:
        upper = [_runs_recalls(scene, dance, runs, c) for c in dance.pair]
    else:
        upper = [_recalls(scene, dance)]
    rows = [dance]
    if len(areas) > len(upper) + 1:
        rows.append(_dance_of(dance.view, scene.selection.split, (second, first)))
    colors = _colors_of_others(scene, rows)
    drawings = [*upper, *(_row(scene, one, colors) for one in rows)]
    painted = [
        epoch_chart(scene, series, area, options)
        for (series, options), area in zip(drawings, areas, strict=False)
    ]
    if is_wide:
        one, other = painted[: len(upper)], painted[len(upper) :]
        columns = (stacked((left, height), *one), stacked((right, height), *other))
        return beside(*columns, gap=2)
    return stacked(size, *painted)


def _comparable(scene: Scene, dance: _Dance) -> tuple[DrawnRun, ...]:
    """The runs to be drawn together, each with its dance score or why it is not drawn."""
    names, split = dance.view.description.class_names, scene.selection.split
    found: list[DrawnRun] = []
    for run in drawn_runs(scene):
        view = run.view
        if view is None:
            found.append(run)
        elif view.description.class_names != names:
            found.append(replace(run, view=None, note="other classes"))
        else:
            score = dance_score(view.recall_of(split), *dance.pair)
            note = f"{score:+.2f}" if np.isfinite(score) else ""
            found.append(replace(run, note=note))
    return tuple(found)


def _facts(scene: Scene, dance: _Dance, width: int, count: int) -> list[Strip]:
    """The pair, its score, who dominates; then its rank and its moments."""
    look, view = scene.look, dance.view
    a, b = dance.pair
    names = view.description.class_names
    score = dance_score(dance.recall, a, b)
    canvas = Canvas((width, count))
    first, second = (clean_text(names[c], 14, ascii_only=look.is_ascii) for c in (a, b))
    arrow = "<->" if look.is_ascii else "⇄"
    head = f"{first} {arrow} {second}"
    canvas.put(0, 0, head, strong(look))
    whole = "" if held_epoch(scene) is None else "all epochs: "
    text = f"  {scene.selection.split}  {whole}dance score "
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
    lines = [_at_epoch(scene, dance)] if count > 2 else []
    lines += [_rank_and_moments(scene, dance, width)] if count > 1 else []
    for row, line in enumerate(lines, 1):
        text = clean_text(line, width, ascii_only=look.is_ascii)
        canvas.put(0, row, text, muted(look))
    return canvas.strips()


def _at_epoch(scene: Scene, dance: _Dance) -> str:
    """How both classes fare at the epoch in focus: the numbers behind the rate of the pair."""
    position, names = scene.position, dance.view.description.class_names
    if position is None:
        return ""
    try:
        rates = dance.view.rates_among(scene.selection.split, position, dance.pair)
    except StoreError as error:
        return str(error)
    if np.isnan(rates).any():
        return f"epoch {scene.epoch}: no examples of them are counted"
    ascii_only = scene.look.is_ascii
    one, other = (clean_text(names[c], 14, ascii_only=ascii_only) for c in dance.pair)
    (right, called), (called_back, right_too) = (100 * rates).tolist()
    return (
        f"epoch {scene.epoch}: {one} {right:.1f} % right, {called:.1f} % as {other}; "
        f"{other} {right_too:.1f} % right, {called_back:.1f} % as {one}"
    )


def _rank_and_moments(scene: Scene, dance: _Dance, width: int) -> str:
    """Which of the pairs it is, how often they are taken for one another, its moments.

    Where there is room, with the epochs of those of the pair.
    """
    look, listed = scene.look, scene.listed_pairs
    places = [k for k, one in enumerate(listed) if {one.first, one.second} == set(dance.pair)]
    parts: list[str] = []
    if places:
        place = places[0]
        count = dance.recall.shape[1]  # all pairs, of which only the first are listed
        total = len(listed) if scene.chosen_set else count * (count - 1) // 2
        text = f"pair {place + 1}/{total:,} by {scene.selection.ranking}"
        rate = listed[place].rate
        text += f", {100 * rate:.2f} %" if np.isfinite(rate) else ""
        parts.append(text)
    if dance.rates is not None and not dance.view.is_partial:
        signs = [
            mark.ascii_glyph if look.is_ascii else mark.glyph
            for mark in (_PAIR_MOMENT, _THIRD_MOMENT)
        ]
        names = dance.view.description.class_names
        places, others = dance.third_moments
        named = [
            clean_text(names[c], 10, ascii_only=look.is_ascii)
            for c in dict.fromkeys(others.tolist())
        ]
        when = dance.view.class_epochs[dance.pair_moments].tolist()
        text = f"{signs[0]} {_counted(len(when), 'pair moment')}"
        parts.append(text)
        text = f"{signs[1]} {_counted(len(places), 'third-class moment')}"
        text += f" ({', '.join(named[:3])}{', ...' if len(named) > 3 else ''})" if named else ""
        parts.append(text)
        epochs = f" (epoch {', '.join(map(str, when))})" if 0 < len(when) <= _FEW else ""
        if cell_len("; ".join(parts) + epochs) <= width:
            parts[-2] += epochs
    return "; ".join(parts)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _coverage(dance: _Dance) -> str:
    """Of which epochs all this tells, where it is not all of them."""
    if dance.view.is_partial or dance.row.is_complete:
        return dance.view.coverage
    return f"row read at {len(dance.row.places):,} of {len(dance.x):,} epochs"


def _color_of(scene: Scene, dance: _Dance, true_class: int) -> int:
    """The colour and glyph of a class: its place among the chosen, or in the pair."""
    drawn = scene.chosen_set or scene.pair or dance.pair
    return drawn.index(true_class) if true_class in drawn else -1


def _recalls(scene: Scene, dance: _Dance) -> tuple[list[Series], ChartOptions]:
    """The recalls of the chosen classes, those of the pair in focus in front."""
    a, b = dance.pair
    names, recall, x = dance.view.description.class_names, dance.recall, dance.x
    pair_moments, (third_moments, _) = dance.pair_moments, dance.third_moments
    marks = [
        replace(_PAIR_MOMENT, x=x[pair_moments], y=100 * recall[pair_moments, b]),
        replace(_THIRD_MOMENT, x=x[third_moments], y=100 * recall[third_moments, a]),
    ]
    drawn = scene.chosen_set or dance.pair
    drawn = (*drawn, *(c for c in dance.pair if c not in drawn))
    series = [
        Series(
            label=names[c],
            x=x,
            y=100 * recall[:, c],
            color_index=_color_of(scene, dance, c),
            bold=c == a or (len(drawn) > 2 and c == b),
            marked=len(drawn) > 2,
        )
        for c in drawn
    ]
    return series, ChartOptions(title="recall", y_label="%", marks=marks)


def _runs_recalls(
    scene: Scene, dance: _Dance, runs: tuple[DrawnRun, ...], true_class: int
) -> tuple[list[Series], ChartOptions]:
    """The recall of one class in every run, with the moments of the open one."""
    split, x = scene.selection.split, dance.x
    names, recall = dance.view.description.class_names, dance.recall[:, true_class]
    is_first = true_class == dance.pair[0]
    usual = _THIRD_MOMENT if is_first else _PAIR_MOMENT
    places = dance.third_moments[0] if is_first else dance.pair_moments
    series = [
        Series(
            label=run.name,
            x=run.view.class_epochs.astype(float),
            y=100 * run.view.recall_of(split)[:, true_class],
            color_index=run.slot,
            bold=run.is_open,
            marked=True,
        )
        for run in runs
        if run.view is not None
    ]
    name = clean_text(names[true_class], 14, ascii_only=scene.look.is_ascii)
    options = ChartOptions(
        title=f"recall of {name}",
        y_label="%",
        marks=[replace(usual, x=x[places], y=100 * recall[places])],
        legend="none",
    )
    return series, options


def _front(scene: Scene, dance: _Dance) -> list[int]:
    """The classes whose share of the first one's row is in front: its partner, the chosen."""
    a, b = dance.pair
    return [b, *(c for c in scene.chosen_set if c not in (a, b))]


def _others(scene: Scene, dance: _Dance) -> list[int]:
    """The other classes that the first one is taken for, lately most often first."""
    front, row = _front(scene, dance), dance.row.rates[-_LATELY:]
    others = [c for c in range(row.shape[1]) if c != dance.pair[0] and c not in front]
    peaks = np.nan_to_num(row[:, others], nan=0.0).max(axis=0, initial=0.0)
    return [others[k] for k in np.argsort(-peaks, kind="stable")[:_MAX_OTHERS].tolist()]


def _colors_of_others(scene: Scene, rows: list[_Dance]) -> dict[int, int]:
    """Colours of the worst other classes, the same in every chart; none beside a chosen set."""
    found: dict[int, int] = {}
    for dance in rows:
        if len(_front(scene, dance)) > 1:
            return {}
        recent = np.nan_to_num(dance.row.rates[-_LATELY:], nan=0.0)
        for c in _others(scene, dance)[:_LABELLED_OTHERS]:
            if recent[:, c].any():
                found.setdefault(c, 2 + len(found))
    return found


def _row(
    scene: Scene, dance: _Dance, colors: dict[int, int]
) -> tuple[list[Series], ChartOptions]:
    """CCTM(a, c) over epochs: the chosen and the worst others coloured, the rest grey."""
    a, b = dance.pair
    names = dance.view.description.class_names
    row, x = 100 * dance.row.rates, dance.row.epochs.astype(float)
    front = _front(scene, dance)
    series = [
        Series(
            label=names[c],
            x=x,
            y=row[:, c],
            color_index=_color_of(scene, dance, c),
            bold=c == b,
            marked=len(front) > 1,
        )
        for c in front
    ]
    series += [
        Series(
            label=names[c] if c in colors else "",
            x=x,
            y=row[:, c],
            color_index=colors.get(c, -1),
        )
        for c in _others(scene, dance)
    ]
    marks: list[Marks] = []
    if dance.rates is not None:
        places, (third, others) = dance.pair_moments, dance.third_moments
        marks = [
            replace(_PAIR_MOMENT, x=x[places], y=row[places, b]),
            replace(_THIRD_MOMENT, x=x[third], y=row[third, others]),
        ]
    title = f"{clean_text(names[a], 14, ascii_only=scene.look.is_ascii)} called"
    return series, ChartOptions(title=title, y_label="%", marks=marks)
