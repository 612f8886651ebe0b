"""What the sums of a scan mean: losses, mistake rates and confusion matrices over its grid."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.scan_geometry import ScanGeometry
from lossviz_analysis.store.scans import ScanReader

_ON_THE_GRID = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitResult:
    """One split over the grid; the leading axes are the grid's, one or two.

    A point that has not been evaluated is NaN here and False in `is_known`; one whose loss is
    not finite for some example is infinite here and True there; one that cannot be evaluated at
    all is NaN here and True in `is_void`.

    Standard errors take the examples seen for independent draws from all there could be. There
    is no finite population correction, so they do not shrink to 0 when a whole split is seen;
    since the examples are balanced over the classes they are rather too large than too small.
    """

    is_known: Bool[np.ndarray, "*grid"]
    """At least one chunk is done."""
    is_complete: Bool[np.ndarray, "*grid"]
    """All chunks are done; elsewhere the values are estimates from the first ones."""
    is_void: Bool[np.ndarray, "*grid"]
    """Chunks are done and no example was seen: the model cannot be evaluated here, because an
    interpolated variance is negative."""
    is_at_least: Bool[np.ndarray, "*grid"]
    """Given up early: the loss is at least the request's clip, the values are running means."""
    num_seen: Int[np.ndarray, "*grid"]
    """Examples that the values are means over."""
    loss: Float[np.ndarray, "*grid"]
    """Mean cross-entropy."""
    loss_error: Float[np.ndarray, "*grid"]
    """Its standard error; NaN where it is infinite or fewer than two examples are seen."""
    mistake_rate: Float[np.ndarray, "*grid"]
    """Fraction of examples whose most likely class is another one."""
    mistake_rate_error: Float[np.ndarray, "*grid"]
    """Its standard error."""
    class_seen: Int[np.ndarray, "*grid classes"]
    """Examples of each true class that the values are means over."""
    class_loss: Float[np.ndarray, "*grid classes"]
    """Mean cross-entropy by true class."""
    class_mistake_rate: Float[np.ndarray, "*grid classes"]
    """Recall loss by true class: the fraction of its examples called something else."""
    confusion: Int[np.ndarray, "*grid true predicted"] | None
    """Counts; -1 where nothing is done; None where the scan did not keep them, or where they
    were not asked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanResult:
    """A scan as far as it is done."""

    geometry: ScanGeometry
    coordinates: tuple[Float[np.ndarray, " _points"], ...]
    splits: dict[str, SplitResult]

    @property
    def centre(self) -> tuple[int, ...] | None:
        """Index of the model's own point; None where it is not on the grid."""
        index = tuple(int(np.argmin(np.abs(t))) for t in self.coordinates)
        pairs = zip(self.coordinates, index, strict=True)
        return index if all(abs(t[i]) <= _ON_THE_GRID for t, i in pairs) else None

    @property
    def share_known(self) -> float:
        """Share of the points that have at least one chunk in every split."""
        return float(np.mean([split.is_known.mean() for split in self.splits.values()]))


def read_result(scan: ScanReader, *, with_confusion: bool = True) -> ScanResult:
    """A scan as far as it is done.

    Args:
        scan: The scan.
        with_confusion: Whether its confusion matrices are wanted, which can be a hundred times
            as large as all the rest.

    Returns:
        Its result.

    Raises:
        StoreError: No worker has begun it, or it is damaged.
    """
    geometry = scan.geometry()
    if geometry is None:
        raise StoreError(f"scan {scan.scan_id} has no points yet")
    return result_of(
        geometry,
        scan.coordinates(),
        scan.cells(),
        clip=scan.request.clip,
        with_confusion=with_confusion,
    )


def result_of(
    geometry: ScanGeometry,
    coordinates: tuple[Float[np.ndarray, " _points"], ...],
    cells: Float[np.ndarray, "points splits slots"],
    *,
    clip: float | None = None,
    with_confusion: bool = True,
) -> ScanResult:
    """The meaning of a scan's sums.

    Args:
        geometry: Shape and layout.
        coordinates: Along each direction.
        cells: The sums; slot 0 is NaN where nothing was computed.
        clip: The loss above which points may be given up, as in the request.
        with_confusion: Whether confusion matrices are wanted.

    Returns:
        The result.
    """
    return ScanResult(
        geometry=geometry,
        coordinates=coordinates,
        splits={
            name: _split_result(
                geometry,
                cells[:, position],
                geometry.chunks[name],
                clip,
                with_confusion=with_confusion,
            )
            for position, name in enumerate(geometry.splits)
        },
    )


def _split_result(
    geometry: ScanGeometry,
    cells: Float[np.ndarray, "points slots"],
    chunks: int,
    clip: float | None,
    *,
    with_confusion: bool,
) -> SplitResult:
    layout, grid = geometry.layout, geometry.points
    num_classes = layout.num_classes
    known = np.nan_to_num(cells[:, 0]) > 0
    complete = np.nan_to_num(cells[:, 0]) >= chunks
    seen, loss_sum = cells[:, layout.seen], cells[:, layout.loss_sum]
    mistakes, nonfinite = cells[:, layout.mistakes], cells[:, layout.nonfinite]
    # Sums a stranger made up may overflow as well.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        class_loss = np.where(nonfinite > 0, np.inf, loss_sum / seen)
        class_mistake_rate = mistakes / seen
        total = seen.sum(axis=1)
        loss = np.where(nonfinite.sum(axis=1) > 0, np.inf, loss_sum.sum(axis=1) / total)
        mistake_rate = mistakes.sum(axis=1) / total
        mean = loss_sum.sum(axis=1) / total
        mean_square = cells[:, layout.loss_square_sum].sum(axis=1) / total
        # Of a constant loss rounding may leave less than nothing.
        variance = np.maximum(mean_square - mean**2, 0.0)
        degrees = np.where(total > 1, total - 1, np.nan)
        loss_error = np.where(np.isfinite(loss), np.sqrt(variance / degrees), np.nan)
        mistake_rate_error = np.sqrt(mistake_rate * (1 - mistake_rate) / degrees)
        given_up = known & ~complete & (loss > 2 * (np.inf if clip is None else clip))
    confusion = None
    if layout.has_confusion and with_confusion:
        with np.errstate(invalid="ignore"):
            counts = np.nan_to_num(cells[:, layout.confusion], nan=-1.0).astype(np.int64)
        confusion = counts.reshape(*grid, num_classes, num_classes)
    return SplitResult(
        is_known=known.reshape(grid),
        is_complete=complete.reshape(grid),
        is_void=(known & (np.nan_to_num(total) == 0)).reshape(grid),
        is_at_least=given_up.reshape(grid),
        num_seen=_whole_numbers(total).reshape(grid),
        loss=loss.reshape(grid),
        loss_error=loss_error.reshape(grid),
        mistake_rate=mistake_rate.reshape(grid),
        mistake_rate_error=mistake_rate_error.reshape(grid),
        class_seen=_whole_numbers(seen).reshape(*grid, num_classes),
        class_loss=class_loss.reshape(*grid, num_classes),
        class_mistake_rate=class_mistake_rate.reshape(*grid, num_classes),
        confusion=confusion,
    )


def _whole_numbers(values: Float[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    return np.nan_to_num(values).clip(0, 2**53).astype(np.int64)
