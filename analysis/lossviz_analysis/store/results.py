"""What the sums of a scan mean: losses, mistake rates and confusion matrices over its grid."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.scan_geometry import ScanGeometry
from lossviz_analysis.store.scans import ScanReader


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitResult:
    """One split over the grid; the leading axes are the grid's, one or two.

    A point that has not been evaluated is NaN here and False in `is_known`; one whose loss is
    not finite for some example is infinite here and True there.
    """

    is_known: Bool[np.ndarray, "*grid"]
    """At least one chunk is done."""
    is_complete: Bool[np.ndarray, "*grid"]
    """All chunks are done; elsewhere the values are estimates from the first ones."""
    loss: Float[np.ndarray, "*grid"]
    """Mean cross-entropy."""
    mistake_rate: Float[np.ndarray, "*grid"]
    """Fraction of examples whose most likely class is another one."""
    class_loss: Float[np.ndarray, "*grid classes"]
    """Mean cross-entropy by true class."""
    class_mistake_rate: Float[np.ndarray, "*grid classes"]
    """Recall loss by true class: the fraction of its examples called something else."""
    confusion: Int[np.ndarray, "*grid true predicted"] | None
    """Counts; -1 where nothing is done; None where the scan did not keep them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanResult:
    """A scan as far as it is done."""

    geometry: ScanGeometry
    coordinates: tuple[Float[np.ndarray, " _points"], ...]
    splits: dict[str, SplitResult]

    @property
    def share_known(self) -> float:
        """Share of the points that have at least one chunk in every split."""
        return float(np.mean([split.is_known.mean() for split in self.splits.values()]))


def read_result(scan: ScanReader) -> ScanResult:
    """A scan as far as it is done.

    Args:
        scan: The scan.

    Returns:
        Its result.

    Raises:
        StoreError: No worker has begun it, or it is damaged.
    """
    geometry = scan.geometry()
    if geometry is None:
        raise StoreError(f"scan {scan.scan_id} has no points yet")
    return result_of(geometry, scan.coordinates(), scan.cells())


def result_of(
    geometry: ScanGeometry,
    coordinates: tuple[Float[np.ndarray, " _points"], ...],
    cells: Float[np.ndarray, "points splits slots"],
) -> ScanResult:
    """The meaning of a scan's sums.

    Args:
        geometry: Shape and layout.
        coordinates: Along each direction.
        cells: The sums; slot 0 is NaN where nothing was computed.

    Returns:
        The result.
    """
    return ScanResult(
        geometry=geometry,
        coordinates=coordinates,
        splits={
            name: _split_result(geometry, cells[:, position], geometry.chunks[name])
            for position, name in enumerate(geometry.splits)
        },
    )


def _split_result(
    geometry: ScanGeometry, cells: Float[np.ndarray, "points slots"], chunks: int
) -> SplitResult:
    layout, grid = geometry.layout, geometry.points
    num_classes = layout.num_classes
    known = np.nan_to_num(cells[:, 0]) > 0
    seen, loss_sum = cells[:, layout.seen], cells[:, layout.loss_sum]
    mistakes, nonfinite = cells[:, layout.mistakes], cells[:, layout.nonfinite]
    # Sums a stranger made up may overflow as well.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        class_loss = np.where(nonfinite > 0, np.inf, loss_sum / seen)
        class_mistake_rate = mistakes / seen
        total = seen.sum(axis=1)
        loss = np.where(nonfinite.sum(axis=1) > 0, np.inf, loss_sum.sum(axis=1) / total)
        mistake_rate = mistakes.sum(axis=1) / total
    confusion = None
    if layout.has_confusion:
        with np.errstate(invalid="ignore"):
            counts = np.nan_to_num(cells[:, layout.confusion], nan=-1.0).astype(np.int64)
        confusion = counts.reshape(*grid, num_classes, num_classes)
    return SplitResult(
        is_known=known.reshape(grid),
        is_complete=(np.nan_to_num(cells[:, 0]) >= chunks).reshape(grid),
        loss=loss.reshape(grid),
        mistake_rate=mistake_rate.reshape(grid),
        class_loss=class_loss.reshape(*grid, num_classes),
        class_mistake_rate=class_mistake_rate.reshape(*grid, num_classes),
        confusion=confusion,
    )
