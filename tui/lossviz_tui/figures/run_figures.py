"""The course of a training as figures: overview, dance, notes, CCTM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lossviz_analysis.classwise.confusion import cctm
from lossviz_analysis.classwise.dance import (
    NO_CLASS,
    dance_score,
    dominance_epoch,
    pair_moments,
    third_class_moments,
)
from lossviz_analysis.classwise.interference import symmetry
from lossviz_analysis.classwise.notes import spells
from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.schema import SPLITS
from lossviz_tui.figures import provenance
from lossviz_tui.figures.drawing import (
    FAINT,
    MUTED,
    TEXT,
    color,
    edges,
    entitle,
    legend_beside,
    logarithmic,
    module,
    name_of,
    new_figure,
    whole_ticks,
)
from lossviz_tui.figures.matrices import MatrixLabels, draw_matrix
from lossviz_tui.paint.palettes import EMBER, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lossviz_tui.history import RowByEpoch, RunView
    from lossviz_tui.scene import Scene

_WIDTH = 7.2
_READ_SECONDS = 60.0
"""For the rows of large matrices."""
_NUM_OTHERS = 3
"""Classes of a CCTM row with colours of their own, beside the partner."""
_MAX_NAMED_MOMENTS = 16
_MAX_COLUMNS = 4_000
"""Of a matrix over epochs; no page has room for more."""
_MAX_STAFF = 40
_NOTE_HUES = (
    "#0073b3", "#e09b00", "#00936b", "#c96ba0", "#b3a800", "#d65f00", "#4fb0e8", "#8a5a2b",
    "#9a8cd6", "#7fbf4d",
)  # fmt: skip
"""Of the ten most frequent notes; they read on light and on dark ground."""
_OTHER_NOTE = "#a8a8a8"
_PLOT_MARKERS = dict(zip(MARKERS, "o^sDovsd", strict=True))
_CROWD = 2_000
"""Epochs from which on the notes are an image: a hundred thousand signs open in no editor."""
_MANY_EPOCHS = 120
"""From here on a line shows its course without a marker at each epoch."""


def epochs_of(scene: Scene) -> RunView:
    """The run of a scene, which has epochs; raises LossvizError where it has none."""
    if scene.view is None or not len(scene.view) or not len(scene.view.class_epochs):
        raise LossvizError("there is no figure yet: no epoch is recorded")
    return scene.view


def overview_figure(scene: Scene) -> Figure:
    """Accuracy, cross-entropy, learning rate and weight norm by epoch, as far as recorded."""
    view = epochs_of(scene)
    x, log = view.epochs, scene.selection.log
    panels = (
        ("accuracy", "percent", ("train_accuracy", "test_accuracy"), False),
        ("cross-entropy", "nats", ("train_loss", "test_loss", "step_loss"), log),
        ("learning rate", "", ("learning_rate",), log),
        ("norm of all weights", "", ("weight_norm",), False),
    )
    shown = [
        panel
        for panel in panels
        if any(np.isfinite(view.column(column)).any() for column in panel[2])
    ]
    if not shown:
        raise LossvizError("there is no figure: the run has no scalars that an overview shows")
    rows = -(-len(shown) // 2)
    figure = new_figure(_WIDTH, 0.8 + 2.0 * rows)
    grid = figure.subplots(rows, min(2, len(shown)), squeeze=False).ravel()
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    looks = {"train": (0, "-"), "test": (1, "-"), "step": (-1, "--")}
    labels = {"train": "train", "test": "test", "step": "batches in training"}
    for axes, (title, unit, columns, is_log) in zip(grid, shown, strict=False):
        for column in columns:
            y = view.column(column) * (100.0 if unit == "percent" else 1.0)
            if not np.isfinite(y).any():
                continue
            word = column.split("_")[0]
            index, style = looks.get(word, (2 if title == "learning rate" else 3, "-"))
            axes.plot(
                x,
                y,
                style,
                color=color(index),
                label=labels.get(word),
                marker="o" if len(x) == 1 else None,
                zorder=1.8 if word == "step" else 2,
            )
        axes.set_title(title + (", log scale" if is_log else ""))
        axes.set_xlabel("epoch")
        axes.set_ylabel(unit)
        if is_log:
            logarithmic(axes)
        if len(columns) > 1:
            axes.legend()
        _epoch_axis(axes, scene)
    model, dataset = (
        name_of(str(about.get("name", "?")))
        for about in (view.description.model, view.description.dataset)
    )
    entitle(figure, f"{model} on {dataset}", provenance.of_epoch(scene))
    return figure


def dance_figure(scene: Scene) -> Figure:
    """The recalls of two classes with their moments, and the CCTM row of the first one."""
    view, pair = epochs_of(scene), scene.pair
    if pair is None:
        raise LossvizError("there is no figure: one class has nobody to dance with")
    split = scene.selection.split
    recall = view.recall_of(split)
    _require_counts(recall, split)
    a, b = pair
    names = [name_of(name) for name in view.description.class_names]
    row = _whole_row(view, split, a)
    figure = new_figure(_WIDTH, 5.2)
    above, below = figure.subplots(2, 1, sharex=True)
    x = view.class_epochs
    for k, c in enumerate(pair):
        above.plot(x, 100 * recall[:, c], color=color(k), lw=1.6, label=f"recall of {names[c]}")
    is_whole = row.is_complete and view.is_contiguous
    since = None
    if is_whole:
        shape = (len(row.rates), *row.rates.shape[1:] * 2)
        rates = np.broadcast_to(row.rates[:, None, :], shape)
        _draw_moments(above, x, recall, rates, pair, names)
        since = dominance_epoch(rates, a, b)
    _draw_row(below, row, pair, names)
    score = dance_score(recall, a, b)
    facts = [f"dance score {score:+.2f}" if np.isfinite(score) else "dance score n/a"]
    if since is not None and not (since == 0 and view.is_partial):
        facts.append(f"{names[b]} dominates {names[a]} since epoch {int(x[since])}")
    if view.coverage:
        facts.append(view.coverage)
    above.set_title(", ".join(facts), color=MUTED)
    above.set_ylabel("recall, percent")
    below.set_ylabel(f"{names[a]} called ..., percent")
    below.set_xlabel("epoch")
    for axes in (above, below):
        legend_beside(axes)
        _epoch_axis(axes, scene)
    entitle(figure, f"{names[a]} and {names[b]} on {split}", provenance.of_epoch(scene))
    return figure


def _draw_moments(
    axes: Axes,
    x: np.ndarray,
    recall: np.ndarray,
    rates: np.ndarray,
    pair: tuple[int, int],
    names: list[str],
) -> None:
    """The arrows of Diao 2022, Fig. 6, as two signs; of the second kind with the class."""
    a, b = pair
    found = np.flatnonzero(pair_moments(recall, rates, a, b))
    if found.size:
        label = f"{names[b]} gains what {names[a]} loses"
        axes.plot(x[found], 100 * recall[found, b], "v", color=color(5), ms=6, label=label)
    third = third_class_moments(recall, rates, a, b)
    found = np.flatnonzero(third != NO_CLASS)
    if found.size:
        label = "a third class takes from both"
        axes.plot(x[found], 100 * recall[found, a], "D", color=color(4), label=label)
        axes.margins(y=0.12)
    if len(found) <= _MAX_NAMED_MOMENTS:
        for e in found.tolist():
            axes.annotate(
                names[int(third[e])],
                (float(x[e]), 100 * float(recall[e, a])),
                xytext=(0, -9),
                textcoords="offset points",
                ha="center",
                fontsize=6,
                color=MUTED,
            )


def _draw_row(axes: Axes, row: RowByEpoch, pair: tuple[int, int], names: list[str]) -> None:
    """CCTM(a, c): the partner and the worst others coloured, the rest thin."""
    a, b = pair
    others = [c for c in range(len(names)) if c not in pair]
    peaks = np.nan_to_num(row.rates[:, others])[-20:].max(axis=0, initial=0.0)
    ranked = [others[k] for k in np.argsort(-peaks, kind="stable")]
    axes.plot(row.epochs, 100 * row.rates[:, b], color=color(1), lw=1.6, label=names[b])
    ranked = ranked[:12]
    for place, c in enumerate(ranked):
        is_named = place < _NUM_OTHERS and bool(row.rates[:, c].max(initial=0.0) > 0)
        axes.plot(
            row.epochs,
            100 * row.rates[:, c],
            color=color(2 + place) if is_named else FAINT,
            lw=1.0 if is_named else 0.6,
            label=names[c] if is_named else "others" if c == ranked[-1] else None,
            zorder=1.9 if is_named else 1.5,
        )
    axes.set_title(f"{names[a]} called something else", color=MUTED)


def notes_figure(scene: Scene) -> Figure:
    """The notes of the chosen classes on a staff, or of every class as a matrix."""
    view = epochs_of(scene)
    split = scene.selection.split
    if view.description.num_classes < 2:
        raise LossvizError("there is no figure: one class is never taken for another")
    _require_counts(view.recall_of(split), split)
    chosen = scene.chosen_classes
    if scene.selection.all_classes or not chosen:
        figure = _notes_matrix(view, split)
    else:
        figure = _staff(view, split, chosen)
    title = f"dancing notes on {split}" + (f", {view.coverage}" if view.coverage else "")
    entitle(figure, title, provenance.of_epoch(scene))
    return figure


def _staff(view: RunView, split: str, chosen: tuple[int, ...]) -> Figure:
    """One staff line for each class, a held line for each spell of one note."""
    notes, x = view.notes_of(split), view.class_epochs.astype(float)
    names = [name_of(name) for name in view.description.class_names]
    lines = list(range(len(names)))
    if len(names) > _MAX_STAFF:
        heard = notes[:, list(chosen)]
        lines = sorted({*chosen, *heard[heard >= 0].tolist()})
    places = {c: line for line, c in enumerate(lines)}
    figure = new_figure(_WIDTH, 1.3 + 0.22 * max(4, len(lines)))
    axes = figure.subplots()
    is_crowded = len(x) > _CROWD
    for k, i in enumerate(chosen):
        shift = 0.5 * (k - (len(chosen) - 1) / 2) / max(1, len(chosen))
        held = spells(notes[:, i])
        axes.hlines(
            [places[spell.note] + shift for spell in held],
            [x[spell.start] for spell in held],
            [x[spell.stop - 1] for spell in held],
            color=color(k),
            lw=3.5,
            alpha=0.35,
            rasterized=is_crowded,
        )
        is_note = notes[:, i] >= 0
        heights = np.array([places[c] for c in notes[is_note, i].tolist()], float) + shift
        axes.plot(
            x[is_note],
            heights,
            _PLOT_MARKERS[MARKERS[k % len(MARKERS)]],
            color=color(k),
            ms=4 if len(x) <= _MANY_EPOCHS else 2,
            label=f"note of {names[i]}",
            mfc=color(k) if k < 4 else "white",
            rasterized=is_crowded,
        )
    axes.set_yticks(range(len(lines)), [names[c] for c in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_ylabel("most often taken for")
    axes.set_xlabel("epoch")
    axes.grid(visible=False, axis="x")
    axes.set_xlim(x[0] - 0.5, x[-1] + 0.5)
    whole_ticks(axes)
    legend_beside(axes)
    return figure


def _notes_matrix(view: RunView, split: str) -> Figure:
    """Epochs across, classes down, the most frequent notes each as a colour."""
    step = -(-len(view.class_epochs) // _MAX_COLUMNS)
    notes, x = view.notes_of(split)[::step], view.class_epochs[::step].astype(float)
    names = [name_of(name) for name in view.description.class_names]
    num_classes = len(names)
    counts = np.bincount(notes[notes >= 0], minlength=num_classes)
    heard = [c for c in np.argsort(-counts, kind="stable").tolist() if counts[c]]
    hues = _NOTE_HUES[: len(heard)]
    places = np.full(num_classes, len(hues))
    places[heard[: len(hues)]] = np.arange(len(hues))
    values = np.where(notes >= 0, places[notes], np.nan).T
    figure = new_figure(_WIDTH, min(9.0, 1.3 + max(1.6, 0.16 * num_classes)))
    axes = figure.subplots()
    colors = module("matplotlib.colors").ListedColormap([*hues, _OTHER_NOTE])
    axes.pcolormesh(
        edges(x),
        np.arange(num_classes + 1) - 0.5,
        values,
        cmap=colors,
        vmin=-0.5,
        vmax=len(hues) + 0.5,
        rasterized=True,
    )
    patch = module("matplotlib.patches").Patch
    handles = [patch(color=hue, label=names[c]) for hue, c in zip(hues, heard, strict=False)]
    if len(heard) > len(hues):
        handles.append(patch(color=_OTHER_NOTE, label=f"{len(heard) - len(hues)} others"))
    axes.legend(handles=handles, title="taken for", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    step = -(-num_classes // 60)
    axes.set_yticks(range(0, num_classes, step), names[::step])
    if num_classes > 30:
        axes.tick_params(axis="y", labelsize=5)
    axes.set_ylim(num_classes - 0.5, -0.5)
    axes.set_ylabel("class")
    axes.set_xlabel("epoch")
    axes.grid(visible=False)
    whole_ticks(axes)
    return figure


def cctm_figure(scene: Scene) -> Figure:
    """The CCTM of the epoch in focus with its numbers where they fit, and a colour bar."""
    view, position = epochs_of(scene), scene.position
    split = scene.selection.split
    counts = view.counts_at(-1 if position is None else position)[SPLITS.index(split)]
    if not counts.any():
        raise LossvizError(f"there is no figure: no example of the {split} split was counted")
    rates = cctm(counts)
    names = [name_of(name) for name in view.description.class_names]
    figure = draw_matrix(
        100 * rates,
        names,
        palette=EMBER,
        labels=MatrixLabels(
            rows="true class", columns="predicted class", values="percent of the true class"
        ),
        color_diagonal=scene.selection.color_diagonal,
    )
    found = symmetry(rates)
    words = f", symmetry {found:.3f}" if np.isfinite(found) else ""
    entitle(
        figure, f"CCTM of {split} after epoch {scene.epoch}{words}", provenance.of_epoch(scene)
    )
    return figure


def _require_counts(recall: np.ndarray, split: str) -> None:
    if np.isnan(recall).all():
        raise LossvizError(f"there is no figure: no example of the {split} split was counted")


def _whole_row(view: RunView, split: str, true_class: int) -> RowByEpoch:
    """A CCTM row at every epoch, read now where the matrices are not kept."""
    row = view.row_by_epoch(split, true_class)
    if not row.is_complete and view.matrices is not None:
        view.matrices.read_on(_READ_SECONDS)
        row = view.row_by_epoch(split, true_class)
    return row


def _epoch_axis(axes: Axes, scene: Scene) -> None:
    whole_ticks(axes)
    if scene.selection.epoch is not None and scene.epoch is not None:
        axes.axvline(scene.epoch, color=TEXT, lw=0.6, ls=":")
