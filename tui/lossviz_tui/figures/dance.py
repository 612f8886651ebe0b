"""Label dance as a figure: recalls of classes with their moments, and a row of the CCTM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lossviz_analysis.classwise.dance import (
    NO_CLASS,
    dance_score,
    dominance_epoch,
    pair_moments,
    third_class_moments,
)
from lossviz_analysis.errors import LossvizError
from lossviz_tui.figures import provenance
from lossviz_tui.figures.curves import Curves
from lossviz_tui.figures.drawing import FAINT, MUTED, color, entitle, name_of, new_figure
from lossviz_tui.figures.epochs import (
    FULL_WIDTH,
    IN_FRONT,
    USUAL,
    epoch_axis,
    epochs_of,
    other_views,
    require_counts,
    run_names,
)
from lossviz_tui.figures.provenance import run_name
from lossviz_tui.panels.marked import DrawnRun, drawn_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from lossviz_tui.history import RowByEpoch, RunView
    from lossviz_tui.scene import Scene

_READ_SECONDS = 60.0
"""For the rows of large matrices."""
_NUM_OTHERS = 3
"""Classes of a CCTM row with colours of their own, beside the partner."""
_MAX_OTHERS, _LATELY = 12, 20
_MAX_NAMED_MOMENTS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class _Dance:
    """What there is to show of a pair."""

    view: RunView
    split: str
    pair: tuple[int, int]
    chosen: tuple[int, ...]
    """The classes that have colours, in the order of these; those of the pair among them."""
    recall: np.ndarray
    """[class epoch, class]."""
    row: RowByEpoch
    names: list[str]
    pair_moments: np.ndarray
    """Places of the class epochs; empty where some of these are not read."""
    third_moments: np.ndarray
    third_classes: np.ndarray
    """Which class it is, at each of them."""
    facts: list[str]

    @property
    def x(self) -> np.ndarray:
        """Epochs of the recalls."""
        return self.view.class_epochs

    def color_of(self, number: int) -> str:
        """The colour of a class among the chosen ones."""
        return color(self.chosen.index(number) if number in self.chosen else -1)


def dance_figure(scene: Scene) -> Figure:
    """The recalls of the chosen classes, or of a pair in every marked run; then a CCTM row."""
    view, pair = epochs_of(scene), scene.pair
    if pair is None:
        raise LossvizError("there is no figure: one class has nobody to dance with")
    dance = _dance_of(scene, view, pair)
    runs = _comparable(scene, dance)
    count = 3 if runs else 2
    figure = new_figure(FULL_WIDTH + (1.0 if runs else 0.0), 0.8 + 2.2 * count)
    charts = [Curves(axes) for axes in figure.subplots(count, 1, sharex=True)]
    if runs:
        for curves, c in zip(charts, pair, strict=False):
            _draw_runs(curves, dance, runs, c)
    else:
        _draw_recalls(charts[0], dance)
    _draw_row(charts[-1], dance, runs)
    of_open = f"{name_of(run_name(view))}: " if runs else ""
    charts[0].axes.set_title(of_open + ", ".join(dance.facts), color=MUTED)
    charts[-1].axes.set_xlabel("epoch")
    for curves in charts:
        curves.legend()
        epoch_axis(curves.axes, scene)
    who = _listed([dance.names[c] for c in dance.chosen])
    title = f"{who} on {dance.split}" + (f", {len(runs)} runs" if runs else "")
    entitle(figure, title, provenance.of_epoch(scene, other_views(runs)))
    return figure


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _dance_of(scene: Scene, view: RunView, pair: tuple[int, int]) -> _Dance:
    split = scene.selection.split
    recall = view.recall_of(split)
    require_counts(recall, split)
    a, b = pair
    chosen = scene.chosen_set or pair
    names = [name_of(name) for name in view.description.class_names]
    row = _whole_row(view, split, a)
    score = dance_score(recall, a, b)
    which = f" of {names[a]} and {names[b]}" if len(chosen) > 2 else ""
    facts = [f"dance score{which} {score:+.2f}" if np.isfinite(score) else "dance score n/a"]
    both = third = of_third = np.empty(0, np.int64)
    if row.is_complete and view.is_contiguous:
        # Moments and dominance of a pair look at no other row.
        shape = (len(row.rates), *row.rates.shape[1:] * 2)
        rates = np.broadcast_to(row.rates[:, None, :], shape)
        both = np.flatnonzero(pair_moments(recall, rates, a, b))
        by_epoch = third_class_moments(recall, rates, a, b)
        third = np.flatnonzero(by_epoch != NO_CLASS)
        of_third = by_epoch[third]
        since = dominance_epoch(rates, a, b)
        # Of a part of the history, dominance from its first epoch on may be older than that.
        if since is not None and not (since == 0 and view.is_partial):
            epoch = int(view.class_epochs[since])
            facts.append(f"{names[b]} dominates {names[a]} since epoch {epoch}")
    if view.coverage:
        facts.append(view.coverage)
    return _Dance(
        view=view,
        split=split,
        pair=pair,
        chosen=(*chosen, *(c for c in pair if c not in chosen)),
        recall=recall,
        row=row,
        names=names,
        pair_moments=both,
        third_moments=third,
        third_classes=of_third,
        facts=facts,
    )


def _whole_row(view: RunView, split: str, true_class: int) -> RowByEpoch:
    """A CCTM row at every epoch, read now where the matrices are not kept."""
    row = view.row_by_epoch(split, true_class)
    if not row.is_complete and view.matrices is not None:
        view.matrices.read_on(_READ_SECONDS)
        row = view.row_by_epoch(split, true_class)
    return row


def _comparable(scene: Scene, dance: _Dance) -> tuple[DrawnRun, ...]:
    """The runs to be drawn together, each with its dance score or why it is not drawn."""
    found: list[DrawnRun] = []
    for run in drawn_runs(scene):
        one = run
        if run.view is not None:
            if run.view.description.class_names != dance.view.description.class_names:
                one = replace(run, view=None, note="other classes")
            else:
                score = dance_score(run.view.recall_of(dance.split), *dance.pair)
                one = replace(run, note=f"{score:+.2f}" if np.isfinite(score) else "")
        found.append(one)
    return tuple(found)


def _draw_recalls(curves: Curves, dance: _Dance) -> None:
    """The recalls of the chosen classes, those of the pair in front, with its moments."""
    for c in dance.chosen:
        curves.add(
            dance.x,
            100 * dance.recall[:, c],
            color=dance.color_of(c),
            label=f"recall of {dance.names[c]}",
            width=IN_FRONT if c in dance.pair else USUAL,
            order=2.1 if c in dance.pair else 2.0,
        )
    for c in dance.pair:
        _draw_moments(curves, dance, c)
    curves.axes.set_ylabel("recall, percent")


def _draw_runs(
    curves: Curves, dance: _Dance, runs: tuple[DrawnRun, ...], true_class: int
) -> None:
    """The recall of one class in every run, with the moments of the open one."""
    for run, name in zip(runs, run_names(runs), strict=True):
        is_named = true_class == dance.pair[0]
        if run.view is None:
            if is_named:
                curves.say(name)
            continue
        curves.add(
            run.view.class_epochs,
            100 * run.view.recall_of(dance.split)[:, true_class],
            color=color(run.slot),
            label=name if is_named else None,
            width=IN_FRONT if run.is_open else USUAL,
        )
    _draw_moments(curves, dance, true_class)
    curves.axes.set_ylabel(f"recall of {dance.names[true_class]}, percent")


def _draw_moments(curves: Curves, dance: _Dance, true_class: int) -> None:
    """The arrows of Diao 2022, Fig. 6, as two signs; of the second kind with the class."""
    a, b = dance.pair
    x, y = dance.x, 100 * dance.recall[:, true_class]
    if true_class == b:
        label = f"{dance.names[b]} gains what {dance.names[a]} loses"
        found = dance.pair_moments
        curves.signs(x[found], y[found], "v", color(5), label)
        return
    found = dance.third_moments
    curves.signs(x[found], y[found], "D", color(4), "a third class takes from both")
    if not found.size or found.size > _MAX_NAMED_MOMENTS:
        return
    curves.axes.margins(y=0.12)
    for e, c in zip(found.tolist(), dance.third_classes.tolist(), strict=True):
        curves.axes.annotate(
            dance.names[c],
            (float(x[e]), float(y[e])),
            xytext=(0, -9),
            textcoords="offset points",
            ha="center",
            fontsize=6,
            color=MUTED,
        )


def _draw_row(curves: Curves, dance: _Dance, runs: tuple[DrawnRun, ...]) -> None:
    """CCTM(a, c) of the open run: the partner, the chosen, the worst others coloured."""
    a, b = dance.pair
    row, names = dance.row, dance.names
    front = [b, *(c for c in dance.chosen if c not in dance.pair)]
    for c in front:
        curves.add(
            row.epochs,
            100 * row.rates[:, c],
            color=dance.color_of(c),
            label=names[c],
            width=IN_FRONT if c == b else USUAL,
        )
    rates = np.nan_to_num(row.rates)
    others = [c for c in range(len(names)) if c != a and c not in front]
    peaks = rates[-_LATELY:, others].max(axis=0, initial=0.0)
    ranked = [others[k] for k in np.argsort(-peaks, kind="stable")[:_MAX_OTHERS]]
    num_named = _NUM_OTHERS if len(front) == 1 else 0
    for place, c in enumerate(ranked):
        is_named = place < num_named and bool(rates[:, c].any())
        curves.add(
            row.epochs,
            100 * row.rates[:, c],
            color=color(2 + place) if is_named else FAINT,
            label=names[c] if is_named else "others" if c == ranked[-1] else None,
            width=1.0 if is_named else 0.6,
            order=1.9 if is_named else 1.5,
        )
    curves.axes.set_ylabel(f"{names[a]} called ..., percent")
    facts: list[str] = []
    if runs:
        facts.append(f"of {name_of(run_name(dance.view))} alone")
    if not row.is_complete and not dance.view.is_partial:
        facts.append(f"row read at {len(row.places):,} of {len(dance.x):,} epochs")
    curves.axes.set_title(", ".join(facts), color=MUTED)
