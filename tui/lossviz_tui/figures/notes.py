"""Dancing notes as a figure: a staff of the chosen classes, or a matrix of every class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lossviz_analysis.classwise.notes import spells
from lossviz_analysis.errors import LossvizError
from lossviz_tui.figures import provenance
from lossviz_tui.figures.curves import write_legend
from lossviz_tui.figures.drawing import (
    color,
    edges,
    entitle,
    module,
    name_of,
    new_figure,
    whole_ticks,
)
from lossviz_tui.figures.epochs import FULL_WIDTH, epochs_of, require_counts
from lossviz_tui.paint.palettes import MARKERS

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    from lossviz_tui.history import RunView
    from lossviz_tui.scene import Scene

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


def notes_figure(scene: Scene) -> Figure:
    """The notes of the chosen classes on a staff, or of every class as a matrix."""
    view = epochs_of(scene)
    split = scene.selection.split
    if view.description.num_classes < 2:
        raise LossvizError("there is no figure: one class is never taken for another")
    require_counts(view.recall_of(split), split)
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
    figure = new_figure(FULL_WIDTH, 1.3 + 0.22 * max(4, len(lines)))
    axes = figure.subplots()
    is_crowded = len(x) > _CROWD
    entries: list[tuple[Artist, str]] = []
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
        sign = axes.plot(
            x[is_note],
            heights,
            _PLOT_MARKERS[MARKERS[k % len(MARKERS)]],
            color=color(k),
            ms=4 if len(x) <= _MANY_EPOCHS else 2,
            mfc=color(k) if k < 4 else "white",
            rasterized=is_crowded,
        )[0]
        entries.append((sign, f"note of {names[i]}"))
    axes.set_yticks(range(len(lines)), [names[c] for c in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_ylabel("most often taken for")
    axes.set_xlabel("epoch")
    axes.grid(visible=False, axis="x")
    axes.set_xlim(x[0] - 0.5, x[-1] + 0.5)
    whole_ticks(axes)
    write_legend(axes, entries)
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
    figure = new_figure(FULL_WIDTH, min(9.0, 1.3 + max(1.6, 0.16 * num_classes)))
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
    entries = [(patch(color=hue), names[c]) for hue, c in zip(hues, heard, strict=False)]
    if len(heard) > len(hues):
        entries.append((patch(color=_OTHER_NOTE), f"{len(heard) - len(hues)} others"))
    write_legend(axes, entries, title="taken for")
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
