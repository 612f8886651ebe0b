"""What a scan will cost, from what earlier scans of the run have cost: never from a guess."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.scan_report import DUTY
from lossviz_analysis.store.scans import ScanReader, find_scans
from lossviz_analysis.store.schema import ScanState
from lossviz_tui.devices import num_gpus

_SETTLED_MS = 60_000
"""So long a scan that did not end must have been computed for its rate to count."""
_MAX_LOOKED_AT = 40
"""Scans whose reports are read, the newest first: the form is to appear at once."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one scan has cost, and under which conditions."""

    images_per_second: float
    """While it computed, without rests."""
    setup_seconds: float
    """From its start to its first point: directions, span, probes."""
    num_bytes: int
    """Weights, directions and activations of one batch; 0 where it is not known."""
    precision: str
    """The arithmetic that was asked for."""
    recomputes: bool
    """Whether the batch-norm statistics were computed anew at each point, which costs more than
    the point itself."""
    examples: int
    """At each point."""
    device: str
    """As asked for."""
    hardware: str
    """The name of what `device` meant."""


def measured_costs(reader: RunReader) -> tuple[Measured, ...]:
    """What the scans of a run have cost, the newest first; those that tell nothing left out."""
    found: list[Measured] = []
    for scan in reversed(find_scans(reader.path)[-_MAX_LOOKED_AT:]):
        try:
            one = _measured(scan)
        except StoreError:
            continue
        if one is not None:
            found.append(one)
    return tuple(found)


def _measured(scan: ScanReader) -> Measured | None:
    report, geometry, request = scan.report(), scan.geometry(), scan.request
    rate = report.images_per_second or report.bare_images_per_second
    if geometry is None or not (math.isfinite(rate) and rate > 0):
        return None
    head = scan.head()
    if head.state != ScanState.DONE and head.elapsed_ms < _SETTLED_MS:
        return None  # its first seconds are slower than the rest would have been
    setup = report.seconds.get("setup", 0.0)
    return Measured(
        images_per_second=rate,
        setup_seconds=setup if 0 <= setup < math.inf else 0.0,
        num_bytes=max(0, report.num_bytes),
        precision=request.precision,
        recomputes=request.batch_norm == "recompute",
        examples=max(1, sum(geometry.examples.values())),
        device=request.device,
        hardware=str(geometry.provenance.get("device", "")),
    )


def fitting(
    costs: Sequence[Measured], *, precision: str, recomputes: bool, examples: int, device: str
) -> Measured | None:
    """The newest measurement made under the conditions of a scan; None where there is none.

    With recomputed statistics the time of a point is mostly that of the training split, so
    only a scan of as many examples a point says anything.
    """
    for one in costs:
        if one.precision != precision or one.recomputes != recomputes:
            continue
        if recomputes and one.examples != examples:
            continue
        if _is_same_device(one, device):
            return one
    return None


def _is_same_device(one: Measured, device: str) -> bool:
    if one.device == device:
        return True
    # Where there is no GPU, auto is the CPU.
    return {one.device, device} == {"auto", "cpu"} and one.hardware == "cpu" and not num_gpus()


def share_beside_training(one: Measured, *, is_trained: bool) -> float:
    """Share of the time a scan computes: while its run is trained it leaves a GPU half of it.

    On a CPU processes share by their niceness, and nobody knows what that will cost.
    """
    return DUTY if is_trained and one.hardware not in ("", "cpu") else 1.0


def scan_seconds(
    one: Measured, num_scans: int, num_points: int, examples: int, *, share: float = 1.0
) -> float:
    """Seconds that so many scans of so many points will take, at a measured rate.

    `share` of the time of the points is for computing.
    """
    rate = one.images_per_second * share
    return num_scans * (one.setup_seconds + num_points * examples / rate)


def bytes_text(count: float) -> str:
    """A number of bytes in at most seven letters: 18 MB, 2.4 GB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.{1 if count < 10 * size else 0}f} {unit}"
    return f"{count:.0f} B"
