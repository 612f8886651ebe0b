"""Computing a claimed scan: sums from one process or several into one writer."""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch

from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.scan_report import MAX_NOTES, ScanReport
from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.schema import ScanState
from lossviz_analysis.weightspace.planner import Planner
from lossviz_analysis.weightspace.scan import CellChunks, Engine, scan, totals_of
from lossviz_trainer.device import choose_devices
from lossviz_trainer.pool import Pool
from lossviz_trainer.scan_axes import make_ahead
from lossviz_trainer.scan_setup import (
    Running,
    Setup,
    centre_of,
    centre_values,
    make_engine,
    set_up,
)
from lossviz_trainer.workbench import Workbench

GROUP_SECONDS = 0.25
"""How long a group of visits should take: a cancel is heard and a picture sent that often."""
MIN_GROUP, MAX_GROUP = 50, 20_000
REPORT_SECONDS = 2.0
LOOK_SECONDS = 0.1
COMPILE_SECONDS = 20.0
COMPILE_FACTOR = 5.0
"""Compiling pays where the rest of a scan takes this many times as long."""
COMPILED_DEVICES = ("cuda",)
"""On a CPU the fused kernels are as fast as compiled code, without the wait."""
COARSE_EXAMPLES = 50
"""Of every point; with them a first picture is there, and compiling may begin."""
RECOMPUTE_COST = 1.3
"""A pass that gathers statistics, in forward passes."""

log = logging.getLogger(__name__)


class _AbandonedError(Exception):
    """Somebody asked to stop, or cancelled the scan."""


class _Attention:
    """Raises when somebody asks to stop or to cancel; looks ten times a second."""

    def __init__(self, writer: ScanWriter, should_stop: Callable[[], bool]) -> None:
        self._writer = writer
        self._should_stop = should_stop
        self._looked = -math.inf

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if self._writer.is_cancelled() or self._should_stop():
            raise _AbandonedError


class Pause(Protocol):
    """Rests where others need the device."""

    def __call__(self, seconds: float) -> None:
        """Rest after so many seconds of computing."""
        ...

    @property
    def share_now(self) -> float:
        """Share of the time it leaves for computing as things stand."""
        ...


@dataclass
class _Progress:
    """How fast it goes."""

    clock: Callable[[], float] = time.monotonic
    started: float = field(init=False)
    images: int = 0
    group: int = MIN_GROUP
    rested: float = 0.0

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def rate(self) -> float:
        """Images a second since the first visit, rests left out."""
        return self.images / max(1e-9, self.clock() - self.started - self.rested)

    def add(self, images: int, seconds: float) -> None:
        """Note a group; the next one is as large as fits in its time."""
        self.images += images
        wanted = self.group * min(2.0, GROUP_SECONDS / max(1e-6, seconds))
        self.group = int(min(MAX_GROUP, max(MIN_GROUP, wanted)))


def compute(
    bench: Workbench,
    writer: ScanWriter,
    request: ScanRequest,
    should_stop: Callable[[], bool],
    rest: Pause | None = None,
) -> ScanState | None:
    """Compute a claimed scan, going on from what is done.

    Args:
        bench: The run's model and data.
        writer: Holds the scan's lock.
        request: What is asked for.
        should_stop: Whether this process has been asked to leave.
        rest: Leaves the device to others for a while; called after every group of visits.

    Returns:
        Done or cancelled; None when interrupted by `should_stop`.
    """
    began = time.monotonic()
    devices = choose_devices(request.device)
    attention = _Attention(writer, should_stop)
    bench.ahead = None
    try:
        setup, notes = set_up(bench, writer, request, devices[0], attention)
        planner = _planner(setup, writer)
        with _workforce(bench, writer, setup, devices) as force:
            report = _first_report(
                setup,
                force,
                notes,
                seconds=time.monotonic() - began,
                share=1.0 if rest is None else rest.share_now,
            )
            writer.report(report)
            writer.flush(force=True)
            end = _run(setup, writer, planner, force, should_stop, rest, report)
    except _AbandonedError:
        return ScanState.CANCELLED if writer.is_cancelled() else None
    if end == ScanState.DONE:
        bench.ahead = partial(make_ahead, replace(setup.origin, on_batch=bench.listen))
    return end


class _Force:
    """Who computes: this process, or several others."""

    def __init__(
        self, running: Running, pool: Pool | None, devices: tuple[torch.device, ...]
    ) -> None:
        self.running = running
        self.bare_rate = running.bare_rate * _num_shares(devices)
        """Images a second of the forward pass alone, on all devices together."""
        self.may_compile = pool is None and devices[0].type in COMPILED_DEVICES
        """Whether it is still to be decided if compiling pays."""
        self._pool = pool

    def compile(self, seconds_left: float) -> None:
        """Compile the forward pass if what is left takes much longer than compiling."""
        self.may_compile = False
        if seconds_left > COMPILE_FACTOR * COMPILE_SECONDS:
            self.running.evaluator.compile()

    @property
    def notes(self) -> list[str]:
        return [] if self._pool is None else self._pool.notes

    @property
    def engine(self) -> Engine:
        return self.running.engine

    def work(
        self, planner: Planner, setup: Setup, group: Callable[[], int]
    ) -> Generator[list[CellChunks], None, None]:
        bounds = setup.task.bounds
        if self._pool is None:
            return scan(self.engine, planner, setup.num_classes, group, bounds)
        return self._pool.share(planner, setup.num_classes, group, bounds)


@contextlib.contextmanager
def _workforce(
    bench: Workbench, writer: ScanWriter, setup: Setup, devices: tuple[torch.device, ...]
) -> Generator[_Force, None, None]:
    """Yields who computes; gone afterwards."""
    running = make_engine(setup)
    with contextlib.closing(running.engine):
        if len(devices) == 1:
            yield _Force(running, None, devices)
            return
        with contextlib.closing(
            Pool(
                bench.reader.path,
                writer.folder.name,
                devices,
                micro_batch=running.evaluator.micro_batch,
                trust=bench.trust,
            )
        ) as pool:
            yield _Force(running, pool, devices)


def _num_shares(devices: tuple[torch.device, ...]) -> int:
    """How many times as fast as the first alone some devices are.

    Processes on the CPU divide its threads, so they are one; beside a GPU they hardly count.
    """
    return sum(device.type != "cpu" for device in devices) or 1


def _planner(setup: Setup, writer: ScanWriter) -> Planner:
    return Planner(setup.task, writer.chunks_done(), totals_of(writer.cells, setup.num_classes))


def _run(
    setup: Setup,
    writer: ScanWriter,
    planner: Planner,
    force: _Force,
    should_stop: Callable[[], bool],
    rest: Pause | None,
    report: ScanReport,
) -> ScanState | None:
    progress = _Progress()
    reported = since = time.monotonic()
    coarse = COARSE_EXAMPLES * setup.geometry.num_points
    with contextlib.closing(force.work(planner, setup, lambda: progress.group)) as groups:
        for cells in groups:
            for cell in cells:
                writer.add(cell.visit.point, cell.visit.split, cell.sums)
            now = time.monotonic()
            progress.add(_images(cells, setup), now - since)
            writer.flush()
            if now - reported >= REPORT_SECONDS:
                writer.report(_later(report, force, progress))
                reported = now
            if writer.is_cancelled():
                writer.report(_later(report, force, progress))
                return ScanState.CANCELLED
            if should_stop():
                return None
            if (point := writer.focus()) is not None:
                planner.focus(point)
            if force.may_compile and progress.images >= coarse:
                force.compile(_seconds_left(planner, setup, progress))
            if rest is not None:
                rest(now - since)
                progress.rested += time.monotonic() - now
            since = time.monotonic()
    writer.report(
        replace(_later(report, force, progress), centre=_centre(setup, writer, force))
    )
    return ScanState.DONE


def _seconds_left(planner: Planner, setup: Setup, progress: _Progress) -> float:
    """Until the scan is done, at the rate so far."""
    per_chunk = sum(setup.geometry.examples.values()) / sum(setup.geometry.chunks.values())
    return planner.num_left * per_chunk / max(1.0, progress.rate)


def _images(cells: list[CellChunks], setup: Setup) -> int:
    bounds = setup.task.bounds
    return sum(
        bounds[cell.visit.split][cell.visit.chunks.stop]
        - bounds[cell.visit.split][cell.visit.chunks.start]
        for cell in cells
    )


def _first_report(
    setup: Setup, force: _Force, notes: list[str], *, seconds: float, share: float
) -> ScanReport:
    """What is known before the first visit; `share` of the time is for computing."""
    running = force.running
    images = setup.geometry.num_points * sum(setup.geometry.examples.values())
    if setup.request.batch_norm == "recompute":
        train = len(setup.origin.bench.data(setup.origin.device).train)
        images += int(RECOMPUTE_COST * setup.geometry.num_points * train)
    rate = force.bare_rate * share
    return ScanReport(
        forward=running.evaluator.description,
        precision=setup.arithmetic,
        micro_batch=running.evaluator.micro_batch,
        bare_images_per_second=force.bare_rate,
        num_bytes=running.num_bytes,
        estimated_seconds=images / rate if rate > 0 else 0.0,
        seconds={"setup": seconds},
        deviation=_stored_deviation(setup),
        notes=tuple(notes),
    )


def _stored_deviation(setup: Setup) -> dict[str, float]:
    found: object = setup.geometry.provenance.get("deviation")
    if not isinstance(found, dict):
        return {}
    return {str(k): float(v) for k, v in found.items() if isinstance(v, int | float)}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _later(report: ScanReport, force: _Force, progress: _Progress) -> ScanReport:
    """The report with what was measured since."""
    engine, evaluator = force.engine, force.running.evaluator
    notes = [*report.notes, *force.notes]
    if engine.num_redone:
        notes.append(f"{engine.num_redone} chunks overflowed and were redone in float32")
    if engine.num_void:
        notes.append(f"{engine.num_void} visits met a negative running variance")
    if evaluator.num_halvings:
        notes.append(f"out of memory: the micro-batch is {evaluator.micro_batch} now")
    return replace(
        report,
        forward=evaluator.description,
        micro_batch=evaluator.micro_batch,
        images_per_second=progress.rate,
        seconds=report.seconds
        | {"computing": time.monotonic() - progress.started, "resting": progress.rested},
        # Who goes on may have the same to say as who began.
        notes=tuple(dict.fromkeys(notes))[:MAX_NOTES],
    )


def _centre(setup: Setup, writer: ScanWriter, force: _Force) -> dict[str, dict[str, float]]:
    """The value at the origin: from the grid where it lies on it, else computed."""
    places = [np.flatnonzero(axis == 0.0) for axis in setup.coordinates]
    if any(len(place) == 0 for place in places):
        return centre_of(setup, force.running.evaluator)
    point = int(np.ravel_multi_index(tuple(int(p[0]) for p in places), setup.geometry.points))
    cells = writer.cells[point]
    if (writer.chunks_done()[point] < [e.num_chunks for e in setup.splits]).any():
        return centre_of(setup, force.running.evaluator)  # left out by a refined scan
    return {
        name: centre_values(cells[k], setup.num_classes)
        for k, name in enumerate(setup.request.splits)
    }
