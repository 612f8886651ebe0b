"""What follows from a scan's numbers: the facts beside its picture."""

import numpy as np

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.results import ScanResult, SplitResult, read_result
from lossviz_analysis.store.scans import ScanReader
from lossviz_analysis.surfaces.curves import curve_type
from lossviz_analysis.surfaces.lowland import lowland
from lossviz_analysis.surfaces.similarity import (
    cluster_order,
    interference_agreement,
    loss_shape_similarity,
)
from lossviz_tui.history import RunView
from lossviz_tui.scene import ScanPicture


def picture_of(scan: ScanReader, view: RunView) -> ScanPicture | None:
    """The scan as far as it is done, with its facts; None while nothing is done."""
    geometry, request = scan.geometry(), scan.request
    if geometry is None:
        return None
    if (geometry.points, geometry.splits) != (request.points, request.splits):
        raise StoreError(f"the result of scan {scan.scan_id} does not fit its request")
    result = read_result(scan)
    first = next(iter(result.splits.values()))
    facts = [*_geometry_facts(result), *_centre_facts(result)]
    similarity = order = None
    agreement = float("nan")
    if len(result.coordinates) == 2:
        facts += _plane_facts(result, first)
        if first.is_known.sum() > 2:
            surfaces = np.where(first.is_known[..., None], first.class_mistake_rate, np.nan)
            similarity = loss_shape_similarity(surfaces)
            order = cluster_order(similarity)
            agreement = _agreement(similarity, request.epoch, view)
    elif first.is_known.all():
        t = result.coordinates[0]
        for split, values in result.splits.items():
            facts.append(f"{split}: {curve_type(t, values.loss).describe()}")
    return ScanPicture(
        scan_id=scan.scan_id,
        request=request,
        result=result,
        facts=tuple(facts),
        similarity=similarity,
        class_order=order,
        agreement=agreement,
    )


def _geometry_facts(result: ScanResult) -> list[str]:
    geometry = result.geometry
    norms = ", ".join(f"{norm:.3g}" for norm in geometry.direction_norms)
    facts = [f"|d| {norms}", f"|w| {geometry.weight_norm:.4g}"]
    if geometry.cosine is not None:
        facts.append(f"cos {geometry.cosine:+.3f}")
    return facts


def _centre_facts(result: ScanResult) -> list[str]:
    index = tuple(int(np.argmin(np.abs(t))) for t in result.coordinates)
    if any(abs(t[i]) > 1e-12 for t, i in zip(result.coordinates, index, strict=True)):
        return []
    return [
        f"centre {split} {100 * values.mistake_rate[index]:.2f} % wrong, "
        f"loss {values.loss[index]:.4g}"
        for split, values in result.splits.items()
        if values.is_known[index]
    ]


def _plane_facts(result: ScanResult, first: SplitResult) -> list[str]:
    t1, t2 = result.coordinates
    rate = np.where(first.is_known, first.mistake_rate, np.nan)
    facts: list[str] = []
    if np.isfinite(rate).any():
        i, j = np.unravel_index(int(np.nanargmin(rate)), rate.shape)
        facts.append(f"lowest {100 * rate[i, j]:.2f} % at ({t1[i]:.3g}, {t2[j]:.3g})")
    found = lowland(rate, t1, t2)
    if np.isfinite(found.area):
        facts.append(f"lowland (centre + 5 %) {100 * found.share:.1f} % of the plane")
        facts.append(f"lowland area {found.area:.3g}")
    return facts


def _agreement(similarity: np.ndarray, epoch: int, view: RunView) -> float:
    """Rank correlation with the training CCTM of the scan's own epoch, where it is recorded."""
    places = np.flatnonzero(view.epochs == epoch)
    if not places.size:
        return float("nan")
    return interference_agreement(similarity, view.rates("train", int(places[-1])))
