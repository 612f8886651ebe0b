"""The scalars of a run by epoch as a figure; of several runs one curve each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lossviz_analysis.errors import LossvizError
from lossviz_tui.figures import provenance
from lossviz_tui.figures.curves import Curves
from lossviz_tui.figures.drawing import color, entitle, logarithmic, name_of, new_figure
from lossviz_tui.figures.epochs import (
    FULL_WIDTH,
    IN_FRONT,
    USUAL,
    epoch_axis,
    epochs_of,
    other_views,
    run_names,
)
from lossviz_tui.paint.palettes import as_values
from lossviz_tui.paint.smooth import local_mean, window_of
from lossviz_tui.panels.marked import DrawnRun, drawn_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lossviz_tui.history import RunView
    from lossviz_tui.scene import Scene

_RAW = 0.3
"""Opacity of a curve under its smoothed one."""


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """What one pair of axes shows."""

    title: str
    unit: str = ""
    columns: tuple[str, ...]
    has_log: bool = False
    is_noisy: bool = True

    def compared(self, split: str) -> str:
        """The column by which runs are compared."""
        return next((one for one in self.columns if one.startswith(split)), self.columns[0])


_PANELS = (
    _Panel(title="accuracy", unit="percent", columns=("train_accuracy", "test_accuracy")),
    _Panel(
        title="cross-entropy",
        unit="nats",
        columns=("train_loss", "test_loss", "step_loss"),
        has_log=True,
    ),
    _Panel(title="learning rate", columns=("learning_rate",), has_log=True, is_noisy=False),
    _Panel(title="norm of all weights", columns=("weight_norm",), is_noisy=False),
    _Panel(title="images/s in training", columns=("images_per_second",)),
)
_LOOKS = {
    "train": (0, "-", "train"),
    "test": (1, "-", "test"),
    "step": (-1, "--", "batches in training"),
    "learning": (2, "-", None),
    "weight": (3, "-", None),
    "images": (6, "-", None),
}
"""Colour, style and name of a column, by the word it begins with."""


def overview_figure(scene: Scene) -> Figure:
    """Accuracy, cross-entropy, learning rate, weight norm and speed, as far as recorded.

    Where runs are marked each panel has one curve of every run, that of the chosen split.
    Smoothed curves lie over what they were made of.
    """
    view, runs = epochs_of(scene), drawn_runs(scene)
    views = [run.view for run in runs if run.view is not None] or [view]
    split = scene.selection.split
    shown = [
        panel
        for panel in _PANELS
        if any(
            bool(np.isfinite(one.column(column)).any())
            for one in views
            for column in ((panel.compared(split),) if runs else panel.columns)
        )
    ]
    if not shown:
        raise LossvizError("there is no figure: the run has no scalars that an overview shows")
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(FULL_WIDTH + (1.6 if runs else 0.0), 0.8 + 2.0 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    for place, (axes, panel) in enumerate(zip(grid, shown, strict=False)):
        curves = Curves(axes, log=panel.has_log and scene.selection.log)
        share = scene.selection.smoothing if panel.is_noisy else 0.0
        if runs:
            _draw_runs(curves, runs, panel, split, share)
        else:
            _draw_run(curves, view, panel, share)
        title = f"{panel.title}, {split}" if runs and len(panel.columns) > 1 else panel.title
        title += ", log scale" if curves.log else ""
        if share:
            over = f"{100 * share:g} % of the" if runs else f"{window_of(share, len(view))}"
            title += f", mean of {over} epochs"
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.set_ylabel(panel.unit)
        if curves.log:
            logarithmic(axes)
        if runs and place == columns - 1:
            curves.legend()
        elif not runs and len(panel.columns) > 1:
            curves.legend(beside=False)
        epoch_axis(axes, scene)
    model, dataset = (
        name_of(str(about.get("name", "?")))
        for about in (view.description.model, view.description.dataset)
    )
    title = f"{len(runs)} runs" if runs else f"{model} on {dataset}"
    entitle(figure, title, provenance.of_epoch(scene, other_views(runs)))
    return figure


def _draw_run(curves: Curves, view: RunView, panel: _Panel, share: float) -> None:
    """Every column of a panel."""
    for column in panel.columns:
        y = _values(view, column, panel)
        if np.isfinite(y).any():
            index, style, label = _LOOKS[column.split("_")[0]]
            order = 1.8 if index < 0 else 2.0
            _draw(curves, view, y, share, index, label, style=style, order=order)


def _draw_runs(
    curves: Curves, runs: tuple[DrawnRun, ...], panel: _Panel, split: str, share: float
) -> None:
    """One column of every run; the legend names those too that have no curve, and why."""
    for run, name in zip(runs, run_names(runs), strict=True):
        y = None if run.view is None else _values(run.view, panel.compared(split), panel)
        if run.view is None or y is None:
            curves.say(name)
            continue
        width = IN_FRONT if run.is_open else USUAL
        _draw(curves, run.view, y, share, run.slot, name, width=width)


def _draw(
    curves: Curves,
    view: RunView,
    y: np.ndarray,
    share: float,
    index: int,
    label: str | None,
    *,
    style: str = "-",
    width: float = USUAL,
    order: float = 2.0,
) -> None:
    """A curve; where it is smoothed over the raw one."""
    hue, window = color(index), window_of(share, len(y))
    if window > 1:
        curves.add(view.epochs, y, color=hue, opacity=_RAW, width=0.8, order=order - 0.5)
    curves.add(
        view.epochs,
        local_mean(y, window),
        color=hue,
        label=label,
        style=style,
        width=width,
        order=order,
    )


def _values(view: RunView, column: str, panel: _Panel) -> np.ndarray:
    values = as_values(view.column(column))
    return 100.0 * values if panel.unit == "percent" else values
