"""What the CCTM view shows: one table, or one less another."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lossviz_analysis.classwise.confusion import cctm
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.schema import RUN_SUFFIX, SPLITS
from lossviz_tui.history import RunView
from lossviz_tui.scene import Scene
from lossviz_tui.selection import Split


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One confusion matrix."""

    name: str
    """What tells it from the other one."""
    counts: np.ndarray
    """[true class, predicted class]."""

    def rates(self) -> np.ndarray:
        """Its CCTM."""
        return cctm(self.counts)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """A table, or two whose difference is shown."""

    title: str
    unit: str
    focus: Side
    other: Side | None = None

    def values(self) -> np.ndarray:
        """Fractions [true class, predicted class]; signed where there are two tables."""
        if self.other is None:
            return self.focus.rates()
        return self.focus.rates() - self.other.rates()


def shown_tables(scene: Scene, view: RunView, position: int) -> Tables:
    """What the selection asks for at a position of the epoch axis.

    Raises StoreError with a sentence when it cannot be had.
    """
    selection = scene.selection
    split, epoch = selection.split, int(view.epochs[position])
    focus = Side(name=f"epoch {epoch}", counts=_counts(view, split, position))
    match selection.comparison:
        case "rates":
            title = f"CCTM, {split}, epoch {epoch}"
            return Tables(title=title, unit="percent", focus=focus)
        case "splits":
            sides = [Side(name=name, counts=_counts(view, name, position)) for name in SPLITS]
            title = f"CCTM, train minus test, epoch {epoch}"
            return Tables(title=title, unit="points", focus=sides[0], other=sides[1])
        case "epochs":
            place = marked_position(scene, view)
            if place == position:
                raise StoreError(f"epoch {epoch} is the one to compare with; go to another one")
            name = f"epoch {view.epochs[place]}"
            other = Side(name=name, counts=_counts(view, split, place))
            title = f"CCTM, {split}, epoch {epoch} minus {name}"
            return Tables(title=title, unit="points", focus=focus, other=other)
        case "runs":
            other = _of_other_run(scene, view, split, epoch)
            title = f"CCTM, {split}, epoch {epoch} minus {other.name}"
            here = Side(name=_run_name(view.path), counts=focus.counts)
            return Tables(title=title, unit="points", focus=here, other=other)


def marked_position(scene: Scene, view: RunView) -> int:
    """Place on the epoch axis of the epoch to compare with: the marked one, or the first."""
    marked = scene.selection.marked_epoch
    if marked is None:
        return 0
    return max(0, int(np.searchsorted(view.epochs, marked, side="right")) - 1)


def other_run(scene: Scene) -> Path | None:
    """The run to compare with: the first one marked in the list that is not the open one."""
    here = None if scene.view is None else scene.view.path
    return next((mark.path for mark in scene.selection.marks if mark.path != here), None)


def _counts(view: RunView, split: Split, position: int) -> np.ndarray:
    return view.counts_at(position)[SPLITS.index(split)]


def _of_other_run(scene: Scene, view: RunView, split: Split, epoch: int) -> Side:
    path = other_run(scene)
    if path is None:
        raise StoreError("mark another run in Runs (1) with space to compare this one with it")
    name = _run_name(path)
    found = scene.other_runs.matrix(path, epoch)
    if found.class_names != tuple(view.description.class_names):
        raise StoreError(f"{name} has other classes; only the same classes can be compared")
    at = "" if found.epoch == epoch else f" at epoch {found.epoch}"
    return Side(name=f"{name}{at}", counts=found.counts[SPLITS.index(split)])


def _run_name(path: Path) -> str:
    return path.name.removesuffix(RUN_SUFFIX)
