"""Which classes the CCTM shows, and in which order."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.surfaces.similarity import cluster_order
from lossviz_tui.history import RunView
from lossviz_tui.scene import Scene
from lossviz_tui.selection import ClassOrder

_MAX_NAME = 200
"""Of a name so many characters are looked at."""


def shown_classes(scene: Scene) -> NDArray[np.int64]:
    """Class indices in the order they are shown in; none where the filter fits no name."""
    view, position = scene.view, scene.position
    if view is None or position is None:
        return np.empty(0, np.int64)
    order = _ordered(view, scene.selection.split, position, scene.selection.order)
    fits = fitting(view.description.class_names, scene.selection.class_filter)
    return order if fits is None else order[np.isin(order, fits)]


def fitting(names: Sequence[str], text: str) -> list[int] | None:
    """The classes whose names have one of the words, which commas part; None: no word given."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if not words:
        return None
    return [
        number
        for number, name in enumerate(names)
        if any(word in name[:_MAX_NAME].lower() for word in words)
    ]


def place_of(classes: NDArray[np.int64], wanted: int) -> int:
    """Where a class stands among those shown; the first place for one that is not."""
    found = np.flatnonzero(classes == wanted)
    return int(found[0]) if found.size else 0


def _ordered(view: RunView, split: str, position: int, order: ClassOrder) -> NDArray[np.int64]:
    if order == "index":
        return np.arange(view.description.num_classes)

    def compute() -> NDArray[np.int64]:
        try:
            rates = view.rates(split, position)
        except StoreError:  # that record is damaged; the view says so
            return np.arange(view.description.num_classes)
        if order == "recall":
            return np.argsort(-np.diagonal(rates), kind="stable")  # NaN comes last
        return cluster_order((rates + rates.T) / 2)

    if view.matrices is None:
        return compute()
    return view.matrices.remember((order, split, int(view.records[position])), compute)
