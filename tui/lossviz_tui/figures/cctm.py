"""The CCTM as a figure: one table, or one less another, in the order and part chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lossviz_analysis.classwise.interference import symmetry
from lossviz_analysis.errors import LossvizError
from lossviz_tui.cctm_tables import Tables, shown_tables
from lossviz_tui.class_order import shown_classes
from lossviz_tui.figures import provenance
from lossviz_tui.figures.drawing import entitle, name_of
from lossviz_tui.figures.epochs import epochs_of
from lossviz_tui.figures.matrices import MatrixLabels, draw_matrix
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.paint.palettes import BLUE_ORANGE, EMBER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lossviz_tui.scene import Scene

_ORDERS = {"index": "", "similarity": "clustered", "recall": "by recall"}


def cctm_figure(scene: Scene) -> Figure:
    """What the CCTM view compares, with numbers where they fit and a colour bar.

    Raises LossvizError where there is nothing to compare with, or no class fits the filter.
    """
    view, position = epochs_of(scene), scene.position
    selection = scene.selection
    tables = shown_tables(scene, view, len(view) - 1 if position is None else position)
    sides = (tables.focus,) if tables.other is None else (tables.focus, tables.other)
    for side in sides:
        if not side.counts.any():
            raise LossvizError(f"there is no figure: no example was counted of {tables.title}")
    classes = shown_classes(scene)
    if not classes.size:
        raise LossvizError(
            f"there is no figure: no class has {selection.class_filter!r} in its name"
        )
    values = 100 * tables.values()
    shown = values[np.ix_(classes, classes)]
    names = [name_of(view.description.class_names[c]) for c in classes.tolist()]
    is_signed = tables.other is not None
    unit = "percentage points" if is_signed else "percent of the true class"
    ends: tuple[float, float] | None = None
    if is_signed:
        counted = np.isfinite(shown)
        if not selection.color_diagonal:
            counted &= ~np.eye(len(shown), dtype=np.bool_)
        largest = float(np.abs(shown[counted]).max(initial=0.0)) or 1.0
        ends = (-largest, largest)
    figure = draw_matrix(
        shown,
        names,
        palette=BLUE_ORANGE if is_signed else EMBER,
        labels=MatrixLabels(rows="true class", columns="predicted class", values=unit),
        ends=ends,
        color_diagonal=selection.color_diagonal,
        is_signed=is_signed,
    )
    num_classes = view.description.num_classes
    part = f"{len(classes):,} of {num_classes:,} classes" if len(classes) < num_classes else ""
    words = (tables.title, _ORDERS[selection.order], part, _summary(tables, values))
    title = clean_text(", ".join(word for word in words if word), 300)
    entitle(figure, title, provenance.of_epoch(scene))
    return figure


def _summary(tables: Tables, percents: np.ndarray) -> str:
    """One number about the whole table, empty where there is none."""
    if tables.other is None:
        found = symmetry(percents / 100)
        return f"symmetry {found:.3f}" if np.isfinite(found) else ""
    gains = np.diagonal(percents)
    gains = gains[np.isfinite(gains)]
    return f"mean recall {gains.mean():+.2f}" if gains.size else ""
