"""What follows from a scan's numbers: the stage it is in, and the facts beside its picture."""

import numpy as np

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.head import ScanHead
from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.results import ScanResult, SplitResult, read_result
from lossviz_analysis.store.scan_report import ScanReport
from lossviz_analysis.store.scans import ScanReader
from lossviz_analysis.store.schema import ScanState
from lossviz_analysis.surfaces.curves import curve_type
from lossviz_analysis.surfaces.estimate import estimated_rates
from lossviz_analysis.surfaces.lowland import lowest_entry, lowland
from lossviz_analysis.surfaces.similarity import (
    cluster_order,
    interference_agreement,
    loss_shape_similarity,
)
from lossviz_tui.history import RunView
from lossviz_tui.panels.scan_values import direction_name
from lossviz_tui.panels.texts import duration_text
from lossviz_tui.scene import ScanPicture

_SHORT_SECONDS = 10.0
_BUSY = 0.99
"""Share of computing from which on nothing is said of rests."""


def picture_of(scan: ScanReader, view: RunView) -> ScanPicture | None:
    """The scan as far as it is done, with its facts; None while nothing is done."""
    geometry, request = scan.geometry(), scan.request
    if geometry is None:
        return None
    if (geometry.points, geometry.splits) != (request.points, request.splits):
        raise StoreError(f"the result of scan {scan.scan_id} does not fit its request")
    head, report, result = scan.head(), scan.report(), read_result(scan, with_confusion=False)
    first = next(iter(result.splits.values()))
    findings = _centre_facts(result, report)
    similarity = order = None
    agreement = float("nan")
    if len(result.coordinates) == 2:
        findings += _plane_facts(result, first, request)
        if first.is_known.sum() > 2:
            surfaces = np.where(first.is_known[..., None], first.class_mistake_rate, np.nan)
            similarity = loss_shape_similarity(surfaces)
            order = cluster_order(similarity)
            agreement = _agreement(similarity, geometry.class_names, request.epoch, view)
    elif first.is_known.all():
        t = result.coordinates[0]
        for split, values in result.splits.items():
            findings.append(f"{split}: {curve_type(t, values.loss).describe()}")
    details = [*_way_facts(result), *_geometry_facts(result, request)]
    details += _report_facts(report, head)
    is_whole = all(
        bool((split.is_complete & ~split.is_void).all()) for split in result.splits.values()
    )
    return ScanPicture(
        scan_id=scan.scan_id,
        request=request,
        result=result,
        findings=tuple(findings),
        details=tuple(details),
        stage=stage_words(result, request, has_ended=head.state == ScanState.DONE),
        is_whole=is_whole,
        report=report,
        similarity=similarity,
        class_order=order,
        agreement=agreement,
    )


def stage_words(result: ScanResult, request: ScanRequest, *, has_ended: bool) -> str:
    """Which stage a scan shows: how many points on how many images, and what they lack.

    Of two splits it is that of the one further behind.
    """
    words = min(
        (_split_stage(result, request, name, has_ended=has_ended) for name in result.splits),
        key=lambda found: found[0],
    )[1]
    notes: list[str] = []
    num_capped = max(int(split.is_at_least.sum()) for split in result.splits.values())
    if num_capped and request.clip is not None:
        notes.append(f"{num_capped:,} cell{'s' * (num_capped > 1)} at least {request.clip:g}")
    num_void = max(int(split.is_void.sum()) for split in result.splits.values())
    if num_void:
        points = f"{num_void:,} point{'s' * (num_void > 1)}"
        notes.append(f"{points} without a value (negative BN variance)")
    return "; ".join([words, *notes])


def _split_stage(
    result: ScanResult, request: ScanRequest, name: str, *, has_ended: bool
) -> tuple[tuple[float, float], str]:
    """How far a split is, as a pair to compare by and in words."""
    split = result.splits[name]
    total, num_known = split.is_known.size, int(split.is_known.sum())
    images = result.geometry.examples[name]
    growing = split.is_known & ~split.is_at_least & ~split.is_void
    seen = int(split.num_seen[growing].min()) if growing.any() else 0
    is_done = bool((split.is_complete | split.is_at_least)[split.is_known].all())
    progress = (num_known / total, seen / max(1, images))
    on = "on all" if is_done else f"on {seen:,} of"
    if not num_known:
        return progress, "no point yet"
    if num_known < total:
        points = f"{num_known:,} of {total:,} points"
        if has_ended and request.refine:
            return progress, f"refined: {points} evaluated"
        start = "" if request.is_final else "coarse picture: "
        return progress, f"{start}{points} {on} {images:,} images"
    return progress, "complete" if is_done else f"all points {on} {images:,} images"


def _geometry_facts(result: ScanResult, request: ScanRequest) -> list[str]:
    geometry = result.geometry
    norms = ", ".join(f"{norm:.3g}" for norm in geometry.direction_norms)
    cosine = "" if geometry.cosine is None else f", cos {geometry.cosine:+.3f}"
    facts = [f"|d| {norms}, |w| {geometry.weight_norm:.4g}{cosine}"]
    if request.orthonormalise:
        facts.append("axes orthonormal: coordinates are distances")
    if request.auto_span and geometry.trajectory:
        ends = " and ".join(
            f"±{t[-1]:.3g}" if t[0] == -t[-1] else f"{t[0]:.3g}..{t[-1]:.3g}"
            for t in result.coordinates
        )
        facts.append(f"span of the way: {ends}")
    shares = [
        f"{100 * share:.1f} %"
        for share, spec in zip(geometry.explained, request.directions, strict=False)
        if spec.kind == "pca"
    ]
    if shares:
        facts.append(f"components explain {' and '.join(shares)} of the way")
    return facts


def _centre_facts(result: ScanResult, report: ScanReport) -> list[str]:
    """The model's own values: those measured at full size if they are, else the grid's."""
    facts: list[str] = []
    index = result.centre
    for name, split in result.splits.items():
        measured = report.centre.get(name, {})
        on_grid = index is not None and bool(split.is_known[index])
        if {"loss", "mistake_rate"} <= set(measured):
            rate, loss = measured["mistake_rate"], measured["loss"]
        elif index is not None and on_grid:
            rate, loss = float(split.mistake_rate[index]), float(split.loss[index])
        else:
            continue
        errors = ("", "")
        if index is not None and on_grid and np.isfinite(split.loss_error[index]):
            errors = (
                f"±{100 * split.mistake_rate_error[index]:.2f}",
                f"±{split.loss_error[index]:.2g}",
            )
        facts.append(
            f"centre {name} {100 * rate:.2f}{errors[0]} % wrong, loss {loss:.4g}{errors[1]}"
        )
    return facts


def _plane_facts(result: ScanResult, first: SplitResult, request: ScanRequest) -> list[str]:
    t1, t2 = result.coordinates
    rate = np.where(first.is_known, first.mistake_rate, np.nan)
    facts: list[str] = []
    if (lowest := lowest_entry(rate, t1, t2)) is not None:
        i, j = lowest
        names = result.geometry.class_names
        one, other = (direction_name(spec, names) for spec in request.directions)
        where = f"{one} {t1[i]:.3g}, {other} {t2[j]:.3g}"
        facts.append(f"lowest {100 * rate[i, j]:.2f} % at {where}")
    found = lowland(estimated_rates(first.mistake_rate, first.is_known), t1, t2)
    if np.isfinite(found.area):
        about = "" if first.is_known.all() else "about "
        facts.append(f"lowland (centre + 5 %) {about}{100 * found.share:.1f} % of the plane")
        facts.append(f"lowland area {about}{found.area:.3g}")
    return facts


def _way_facts(result: ScanResult) -> list[str]:
    way = np.array(result.geometry.trajectory)
    if len(way) < 2:
        return []
    epochs, away = way[:, 0], way[:, -1]
    return [
        f"way ○ epoch {epochs[0]:.0f} to ● epoch {epochs[-1]:.0f}, {len(way)} stops",
        f"out of the plane by at most {away.max():.3g}, mean {away.mean():.3g}",
    ]


def _report_facts(report: ScanReport, head: ScanHead) -> list[str]:
    """How it was computed: what the worker notes, rates, time and memory."""
    facts = list(report.notes)
    if report.images_per_second > 0:
        share = ""
        if report.bare_images_per_second > 0:
            ratio = report.images_per_second / report.bare_images_per_second
            share = f", {100 * ratio:.0f} % of the bare rate"
        facts.append(f"{report.images_per_second:,.0f} images/s{share}")
    if report.share_computing < _BUSY:
        resting = 100 * (1 - report.share_computing)
        facts.append(f"at rest {resting:.0f} % of the time, for the training")
    if report.estimated_seconds > 0:
        memory = f" and {report.num_bytes / 2**30:.2g} GiB" if report.num_bytes > 0 else ""
        took = f"took {_duration(head.elapsed_ms / 1000)}, " * (head.state == ScanState.DONE)
        facts.append(f"{took}estimated {_duration(report.estimated_seconds)}{memory}")
    if report.forward:
        facts.append(report.forward)
    return facts


def _duration(seconds: float) -> str:
    """A time in a word, short ones with a decimal."""
    return f"{seconds:.1f}s" if 0 <= seconds < _SHORT_SECONDS else duration_text(seconds)


def _agreement(
    similarity: np.ndarray, class_names: tuple[str, ...], epoch: int, view: RunView
) -> float:
    """Rank correlation with the training CCTM of the scan's own epoch, where it is recorded."""
    places = np.flatnonzero(view.epochs == epoch)
    if not places.size or class_names != view.description.class_names:
        return float("nan")
    try:
        rates = view.rates("train", int(places[-1]))
    except StoreError:  # that record is damaged; the tail has said so
        return float("nan")
    return interference_agreement(similarity, rates)
