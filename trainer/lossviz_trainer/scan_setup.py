"""Everything between a scan's request and its first visit: axes, span, arithmetic, engine."""

import importlib.metadata
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.scan_geometry import ScanGeometry
from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.scans import ScanReader
from lossviz_analysis.store.schema import cell_layout
from lossviz_analysis.weightspace.evaluator import (
    PointEvaluator,
    Precision,
    best_micro_batch,
    forward_bytes,
)
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.grid import linspace, points_of
from lossviz_analysis.weightspace.planner import Task
from lossviz_analysis.weightspace.scan import Engine, ScanProblem, totals_of
from lossviz_analysis.weightspace.vector import MovableModel
from lossviz_trainer.scan_axes import Origin, make_axes
from lossviz_trainer.scan_trial import Trial, make_evaluator
from lossviz_trainer.sentinels import Deviation
from lossviz_trainer.workbench import Workbench

_FAST_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float16, torch.bfloat16, torch.float32)
}

MAX_MICRO_BATCH = 2**16
"""Beyond it a report is not believed."""
ROOM_AROUND_THE_WAY = 0.15
"""Of the trajectory's extent along an axis, beyond either end."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Setup:
    """A scan on one device, ready to be computed."""

    request: ScanRequest
    origin: Origin
    geometry: ScanGeometry
    directions: tuple[Tensor, ...]
    coordinates: tuple[np.ndarray, ...]
    splits: tuple[Examples, ...]
    arithmetic: Precision
    micro_batch: int | None = None
    """With which the scan has begun, so that what is left gets the same bits."""

    @property
    def task(self) -> Task:
        """The order of its work."""
        return Task(
            points=self.geometry.points,
            bounds=tuple(examples.bounds for examples in self.splits),
            is_final=self.request.is_final,
            is_arriving_dear=self.request.batch_norm == "recompute",
            clip=self.request.clip,
            refine=self.request.refine,
        )

    @property
    def num_classes(self) -> int:
        """Classes of the data."""
        return self.splits[0].num_classes


def set_up(
    bench: Workbench,
    writer: ScanWriter,
    request: ScanRequest,
    device: torch.device,
    on_batch: Callable[[], None] | None = None,
) -> tuple[Setup, list[str]]:
    """Get a claimed scan ready: go on where a worker has begun, else begin.

    Args:
        bench: The run's model and data.
        writer: Holds the scan's lock; its cells are there afterwards.
        request: What is asked for.
        device: Where the directions are made.
        on_batch: Called now and then, also by the evaluators of the setup; what it raises
            comes through.

    Returns:
        The setup, and sentences for people about what was chosen or given up; also those of
        the worker before.

    Raises:
        LossvizError: It cannot be computed as asked.
    """
    found = attach(bench, writer.folder.name, request, device)
    if found is not None:
        writer.resume(found.geometry)
        said = ScanReader(bench.reader.path, writer.folder.name).report().notes
        return replace(found, origin=replace(found.origin, on_batch=on_batch)), list(said)
    return _begin(writer, request, replace(_origin(bench, request, device), on_batch=on_batch))


def attach(
    bench: Workbench,
    scan_id: str,
    request: ScanRequest,
    device: torch.device,
    micro_batch: int | None = None,
) -> Setup | None:
    """The setup of a scan that has begun, for a further worker or a further process.

    Args:
        bench: The run's model and data.
        scan_id: The scan.
        request: What is asked for.
        device: Where to compute.
        micro_batch: To compute with; None for the one that the scan's report names, if any.

    Returns:
        The setup; None where the scan has not begun, or was begun by a version whose chunks
        were others.
    """
    stored = ScanReader(bench.reader.path, scan_id)
    geometry = stored.geometry()
    if geometry is None:
        return None
    origin = _origin(bench, request, device)
    splits = _splits(bench, request, origin)
    chunks = {s: e.num_chunks for s, e in zip(request.splits, splits, strict=True)}
    if chunks != geometry.chunks:
        return None
    base = origin.movable.base
    rows = torch.from_numpy(stored.directions(base.numel()).copy()).to(base)
    word = str(geometry.provenance.get("arithmetic", "exact"))
    return Setup(
        request=request,
        origin=origin,
        geometry=geometry,
        directions=tuple(rows),
        coordinates=stored.coordinates(),
        splits=splits,
        arithmetic=word if word in ("fast", "float64") else "exact",
        micro_batch=micro_batch or _reported_micro_batch(stored, geometry, device),
    )


def _reported_micro_batch(
    stored: ScanReader, geometry: ScanGeometry, device: torch.device
) -> int | None:
    """What the scan has been computed with; None where a device of another kind goes on."""
    was_on_cpu = geometry.provenance.get("device") == "cpu"
    found = stored.report().micro_batch
    if was_on_cpu != (device.type == "cpu") or not 0 < found <= MAX_MICRO_BATCH:
        return None
    return found


def _origin(bench: Workbench, request: ScanRequest, device: torch.device) -> Origin:
    dtype = torch.float64 if request.precision == "float64" else torch.float32
    info, content = bench.info(request.checkpoint), bench.content(request.checkpoint)
    return Origin(
        bench=bench,
        movable=MovableModel(bench.model(content, device, dtype)),
        content=content,
        digest=info.digest,
        device=device,
        dtype=dtype,
    )


def _splits(bench: Workbench, request: ScanRequest, origin: Origin) -> tuple[Examples, ...]:
    return tuple(
        _first(bench.prepared(split, origin.device, origin.dtype), request.examples)
        for split in request.splits
    )


def _first(examples: Examples, number: int | None) -> Examples:
    """The beginning of the class-balanced order: the same examples at every point."""
    if number is None or number >= len(examples):
        return examples
    return Examples(
        examples.images[:number],
        examples.labels[:number],
        examples.prepare,
        examples.num_classes,
    )


def _begin(writer: ScanWriter, request: ScanRequest, origin: Origin) -> tuple[Setup, list[str]]:
    """Make the directions, choose span and arithmetic, and write what is known by then."""
    bench = origin.bench
    splits = _splits(bench, request, origin)
    axes = make_axes(origin, request)
    notes: list[str] = []
    arithmetic: Precision = "exact" if request.precision == "fast" else request.precision
    ranges, span = request.ranges, {}
    with_confusion = cell_layout(
        request.num_points, len(request.splits), splits[0].num_classes
    ).has_confusion
    if not with_confusion:
        notes.append("confusion matrices are not kept: they would take more than 256 MiB")
    trial = Trial(origin, request, axes.directions, splits[0])
    if request.auto_span and axes.trajectory:
        ranges = _ranges_of_the_way(axes.trajectory, len(axes.directions))
    elif request.auto_span:
        ranges, span = trial.choose_ranges(notes)
    coordinates = tuple(
        linspace(low, high, points)
        for (low, high), points in zip(ranges, request.points, strict=True)
    )
    deviation: Deviation | None = None
    compute_dtype = origin.dtype
    if request.precision == "fast":
        deviation, fast_dtype = trial.check_fast(points_of(coordinates), request.points)
        if deviation.is_within:
            arithmetic, compute_dtype = "fast", fast_dtype
        notes.append(deviation.sentence)
    geometry = ScanGeometry(
        class_names=bench.reader.description.class_names,
        splits=request.splits,
        points=request.points,
        has_confusion=with_confusion,
        chunks={s: e.num_chunks for s, e in zip(request.splits, splits, strict=True)},
        examples={s: len(e) for s, e in zip(request.splits, splits, strict=True)},
        direction_norms=axes.norms,
        weight_norm=float(origin.movable.base.double().norm()),
        cosine=axes.cosine,
        explained=axes.explained,
        trajectory=axes.trajectory,
        provenance=_provenance(origin, arithmetic)
        | {"compute_dtype": str(compute_dtype).removeprefix("torch.")}
        | ({"span": span} if span else {})
        | ({"deviation": deviation.numbers()} if deviation else {}),
    )
    writer.begin(geometry, coordinates, torch.stack(axes.directions).cpu().numpy())
    setup = Setup(
        request=request,
        origin=origin,
        geometry=geometry,
        directions=axes.directions,
        coordinates=coordinates,
        splits=splits,
        arithmetic=arithmetic,
    )
    return setup, notes


def _ranges_of_the_way(
    way: tuple[tuple[float, ...], ...], dims: int
) -> tuple[tuple[float, float], ...]:
    """Ranges that hold the origin and the whole trajectory, with some room around."""
    found: list[tuple[float, float]] = []
    for axis in range(1, dims + 1):
        places = [0.0, *(row[axis] for row in way)]
        low, high = min(places), max(places)
        room = ROOM_AROUND_THE_WAY * (high - low) or 1.0
        found.append((low - room, high + room))
    return tuple(found)


def _provenance(origin: Origin, arithmetic: Precision) -> dict[str, Any]:
    device = origin.device
    return {
        "checkpoint_digest": origin.digest,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "arithmetic": arithmetic,
        "torch": torch.__version__,
        "lossviz-tui": importlib.metadata.version("lossviz-tui"),
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Running:
    """An engine and what is known of its speed."""

    engine: Engine
    evaluator: PointEvaluator
    bare_rate: float
    """Images a second of the forward pass alone, with all threads of this process."""
    num_bytes: int


def make_engine(setup: Setup) -> Running:
    """An engine for a setup; its micro-batch is measured once for a model and a device.

    Args:
        setup: The scan.

    Returns:
        The engine at the origin.
    """
    origin, arithmetic = setup.origin, setup.arithmetic
    word = str(setup.geometry.provenance.get("compute_dtype"))
    evaluator = make_evaluator(
        origin, setup.request, setup.directions, arithmetic, _FAST_DTYPES.get(word)
    )
    exact = None
    if arithmetic == "fast":
        exact = make_evaluator(origin, setup.request, setup.directions, "exact")
    key = (origin.device, arithmetic)
    if key not in origin.bench.rates:
        try:
            evaluator.move_to((0.0,) * len(setup.directions))
            origin.bench.rates[key] = best_micro_batch(
                evaluator, setup.splits[0], time.perf_counter
            )
        except BaseException:
            evaluator.close()
            raise
    best, rate = origin.bench.rates[key]
    evaluator.micro_batch = setup.micro_batch or best
    engine = Engine(
        ScanProblem(
            evaluator=evaluator,
            exact=exact,
            points=points_of(setup.coordinates),
            splits=setup.splits,
            width=setup.geometry.layout.width,
        )
    )
    needed = forward_bytes(evaluator, setup.splits[0])
    return Running(engine=engine, evaluator=evaluator, bare_rate=rate, num_bytes=needed)


def centre_of(setup: Setup, evaluator: PointEvaluator) -> dict[str, dict[str, float]]:
    """Cross-entropy and mistake rate of the model itself on every example.

    Args:
        setup: The scan.
        evaluator: Its evaluator.

    Returns:
        By split.
    """
    evaluator.move_to((0.0,) * len(setup.directions))
    found: dict[str, dict[str, float]] = {}
    for name, examples in zip(setup.request.splits, setup.splits, strict=True):
        sums = evaluator.chunk_many(examples, range(examples.num_chunks)).sum(dim=0)
        found[name] = centre_values(sums.cpu().numpy(), setup.num_classes)
    return found


def centre_values(sums: np.ndarray, num_classes: int) -> dict[str, float]:
    """Cross-entropy and mistake rate from the sums of one cell.

    Args:
        sums: See `evaluation.ClassSums`.
        num_classes: Of the data.

    Returns:
        `loss` and `mistake_rate`; the loss is left out where it is not finite.
    """
    seen, loss, nonfinite = totals_of(sums, num_classes).tolist()
    mistakes = float(sums[1 + 3 * num_classes : 1 + 4 * num_classes].sum())
    found = {"mistake_rate": mistakes / seen}
    return found if nonfinite else found | {"loss": loss / seen}
