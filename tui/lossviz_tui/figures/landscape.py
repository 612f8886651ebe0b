"""The scan in focus as a figure: a line, a plane, class by class, a cut, similarity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossviz_analysis.errors import LossvizError
from lossviz_tui.figures.classes import classes_figure, similarity_figure
from lossviz_tui.figures.lines import cut_figure, lines_figure
from lossviz_tui.figures.planes import planes_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lossviz_tui.scene import ScanPicture, Scene


def shown_scan(scene: Scene) -> ScanPicture:
    """The picture of the scan in focus; of a curve without any that of another of its chart.

    Raises LossvizError where nothing is computed yet.
    """
    row, picture = scene.scan, scene.shown_picture
    is_curve = row is not None and row.request is not None and row.request.dims == 1
    if picture is None and is_curve and scene.siblings:
        picture = scene.siblings[-1]
    if picture is None or not any(
        bool(split.is_known.any()) for split in picture.result.splits.values()
    ):
        if row is not None and row.word in ("failed", "damaged"):
            raise LossvizError(f"there is no figure: the scan {row.word}")
        raise LossvizError("there is no figure yet: no point of the scan is computed")
    return picture


def landscape_figure(scene: Scene) -> Figure:
    """The scan in focus, as the selection wants to see it."""
    picture, other, mode = shown_scan(scene), scene.picture_beside, scene.selection.mode
    is_line = len(picture.result.coordinates) == 1
    if other is not None and (is_line or mode in ("plane", "cut")):
        _require_same_shape(picture, other)
    if is_line:
        return lines_figure(scene, picture)
    match mode:
        case "classes":
            return classes_figure(scene, picture)
        case "cut":
            return cut_figure(scene, picture)
        case "similarity":
            return similarity_figure(scene, picture)
        case "plane":
            return planes_figure(scene, picture)


def _require_same_shape(picture: ScanPicture, other: ScanPicture) -> None:
    if len(picture.result.coordinates) != len(other.result.coordinates):
        raise LossvizError(
            "there is no figure: a line and a plane have no scale in common; an .svg shows the "
            "screen"
        )
