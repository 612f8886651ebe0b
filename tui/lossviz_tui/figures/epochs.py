"""What figures of the course of a training share: their epochs, and the runs drawn together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lossviz_analysis.errors import LossvizError
from lossviz_tui.figures.drawing import TEXT, whole_ticks
from lossviz_tui.paint.cells import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from lossviz_tui.history import RunView
    from lossviz_tui.panels.marked import DrawnRun
    from lossviz_tui.scene import Scene

FULL_WIDTH = 7.2
"""Of a page, in inches."""
USUAL, IN_FRONT = 1.2, 1.8
"""Widths of curves in points."""
_MAX_NAME = 32


def epochs_of(scene: Scene) -> RunView:
    """The run of a scene, which has epochs; raises LossvizError where it has none."""
    if scene.view is None or not len(scene.view) or not len(scene.view.class_epochs):
        raise LossvizError("there is no figure yet: no epoch is recorded")
    return scene.view


def require_counts(recall: np.ndarray, split: str) -> None:
    """Raise LossvizError where none of a split's classes was counted at any epoch."""
    if np.isnan(recall).all():
        raise LossvizError(f"there is no figure: no example of the {split} split was counted")


def epoch_axis(axes: Axes, scene: Scene) -> None:
    """Whole numbers along the axis, and a line at the epoch that is held."""
    whole_ticks(axes)
    if scene.selection.epoch is not None and scene.epoch is not None:
        axes.axvline(scene.epoch, color=TEXT, lw=0.6, ls=":")


def run_names(runs: Sequence[DrawnRun]) -> list[str]:
    """Names of runs for a legend, each with its note; of long ones alike their ends."""
    names = [clean_text(run.name, 10 * _MAX_NAME) for run in runs]
    short = [clean_text(name, _MAX_NAME) for name in names]
    if len(set(short)) < len(set(names)):
        short = [
            name if len(name) <= _MAX_NAME else f"…{name[1 - _MAX_NAME :]}" for name in names
        ]
    return [
        f"{name}, {run.note}" if run.note else name
        for name, run in zip(short, runs, strict=True)
    ]


def other_views(runs: Iterable[DrawnRun]) -> list[RunView]:
    """What is drawn of other runs than the open one."""
    return [run.view for run in runs if run.view is not None and not run.is_open]
