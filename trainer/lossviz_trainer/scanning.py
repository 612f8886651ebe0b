"""From a scan's request to its cells: directions, grid, and the sums as they come."""

import contextlib
import importlib.metadata
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import DirectionSpec, ScanRequest
from lossviz_analysis.store.scan_geometry import ScanGeometry
from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.scans import ScanReader
from lossviz_analysis.store.schema import CellLayout, ScanState, cell_layout
from lossviz_analysis.weightspace.directions import (
    cosine,
    ego_direction,
    gaussian_direction,
    gradient_direction,
    toward_direction,
)
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.grid import linspace
from lossviz_analysis.weightspace.normalise import normalise
from lossviz_analysis.weightspace.scan import ScanProblem, scan
from lossviz_analysis.weightspace.vector import MovableModel
from lossviz_trainer.device import choose_device, micro_batch_for
from lossviz_trainer.factory import UntrustedFactoryError
from lossviz_trainer.packing import to_tensor
from lossviz_trainer.problem import is_recorded, rebuild_model, reload_data
from lossviz_trainer.recorded import RecordedProblem, build_recorded
from lossviz_trainer.resident import ResidentData, move_to_device
from lossviz_trainer.state import restore

log = logging.getLogger(__name__)

_DTYPES = {"exact": torch.float32, "float64": torch.float64}


class Workbench:
    """A run's data and model, kept on the device from one scan to the next."""

    def __init__(self, run: Path, *, trust: bool = False) -> None:
        self.reader = RunReader(run)
        self.lacks_trust = False
        """Whether a scan was refused because nobody vouches for the run's factory."""
        self._trust = trust
        self._recorded: RecordedProblem | None = None
        self._data: dict[torch.device, ResidentData] = {}
        self._models: dict[tuple[torch.device, torch.dtype], nn.Module] = {}

    def data(self, device: torch.device) -> ResidentData:
        """Both splits on a device."""
        if device not in self._data:
            recorded = self._recorded_problem()
            if recorded is not None:
                self._data[device] = recorded.data(device)
            else:
                dataset = reload_data(self.reader.path, self.reader.description)
                self._data[device] = move_to_device(dataset, device)
        return self._data[device]

    def _recorded_problem(self) -> RecordedProblem | None:
        """What the factory of a recorded run makes; None for a run of the daemon.

        Raises:
            LossvizError: It cannot be made.
            UntrustedFactoryError: Nobody vouches for it.
        """
        if self._recorded is None and is_recorded(self.reader.description):
            try:
                self._recorded = build_recorded(
                    self.reader.path, self.reader.description, trust=self._trust
                )
            except UntrustedFactoryError:
                self.lacks_trust = True
                raise
        return self._recorded

    def model(self, content: Checkpoint, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """The model at a checkpoint, in eval mode."""
        recorded = self._recorded_problem()
        if recorded is not None:
            return recorded.model(content, device, dtype)
        key = (device, dtype)
        if key not in self._models:
            self._models[key] = rebuild_model(self.reader.description).to(device, dtype)
        model = self._models[key]
        restore(model, content)
        return model.eval()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Setting:
    """What directions are made from."""

    bench: Workbench
    movable: MovableModel
    data: ResidentData
    content: Checkpoint
    dtype: torch.dtype
    micro_batch: int


def compute(
    bench: Workbench, writer: ScanWriter, request: ScanRequest, should_stop: Callable[[], bool]
) -> ScanState | None:
    """Compute a claimed scan, going on from what is done.

    Args:
        bench: The run's model and data.
        writer: Holds the scan's lock.
        request: What is asked for.
        should_stop: Whether this process has been asked to leave.

    Returns:
        Done or cancelled; None when interrupted by `should_stop`.

    Raises:
        LossvizError: It cannot be computed as asked.
    """
    device, dtype = choose_device(request.device), _DTYPES[request.precision]
    info = next((c for c in bench.reader.checkpoints() if c.number == request.checkpoint), None)
    if info is None:
        raise LossvizError(f"checkpoint {request.checkpoint} is not there any more")
    content = bench.reader.checkpoint(request.checkpoint)
    setting = _Setting(
        bench=bench,
        movable=MovableModel(bench.model(content, device, dtype)),
        data=bench.data(device),
        content=content,
        dtype=dtype,
        micro_batch=micro_batch_for(device),
    )
    splits = tuple(_first(setting.data.split(s), request.examples) for s in request.splits)
    coordinates = tuple(
        linspace(low, high, points)
        for (low, high), points in zip(request.ranges, request.points, strict=True)
    )
    directions = _directions_and_room(
        setting, writer, request, splits, coordinates, digest=info.digest
    )
    problem = ScanProblem(
        movable=setting.movable,
        splits=splits,
        directions=directions,
        coordinates=coordinates,
        dtype=dtype,
        micro_batch=setting.micro_batch,
        with_confusion=_layout(request, setting).has_confusion,
        recompute_on=setting.data.train if request.batch_norm == "recompute" else None,
    )
    writer.flush(force=True)
    with contextlib.closing(scan(problem, writer.chunks_done())) as cells:
        for cell in cells:
            writer.add(cell.point, cell.split, cell.sums)
            writer.flush()
            if writer.is_cancelled():
                return ScanState.CANCELLED
            if should_stop():
                return None
    return ScanState.DONE


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


def _layout(request: ScanRequest, setting: _Setting) -> CellLayout:
    return cell_layout(request.num_points, len(request.splits), setting.data.train.num_classes)


def _directions_and_room(
    setting: _Setting,
    writer: ScanWriter,
    request: ScanRequest,
    splits: tuple[Examples, ...],
    coordinates: tuple[np.ndarray, ...],
    *,
    digest: str,
) -> tuple[Tensor, ...]:
    """The directions: read where a worker has begun, else made and stored with the result."""
    base = setting.movable.base
    stored = ScanReader(setting.bench.reader.path, writer.folder.name)
    begun = stored.geometry()
    if begun is not None:
        writer.resume(begun)
        rows = torch.from_numpy(stored.directions().copy()).to(base)
        return tuple(rows)
    directions = tuple(_direction(setting, spec) for spec in request.directions)
    geometry = ScanGeometry(
        class_names=setting.bench.reader.description.class_names,
        splits=request.splits,
        points=request.points,
        has_confusion=_layout(request, setting).has_confusion,
        chunks={s: e.num_chunks for s, e in zip(request.splits, splits, strict=True)},
        examples={s: len(e) for s, e in zip(request.splits, splits, strict=True)},
        direction_norms=tuple(float(d.double().norm()) for d in directions),
        weight_norm=float(base.double().norm()),
        cosine=cosine(*directions) if len(directions) == 2 else None,
        provenance=_provenance(setting, digest),
    )
    writer.begin(geometry, coordinates, torch.stack(directions).cpu().numpy())
    return directions


def _provenance(setting: _Setting, digest: str) -> dict[str, Any]:
    device = setting.movable.base.device
    return {
        "checkpoint_digest": digest,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "micro_batch": setting.micro_batch,
        "dtype": str(setting.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "lossviz-tui": importlib.metadata.version("lossviz-tui"),
    }


def _direction(setting: _Setting, spec: DirectionSpec) -> Tensor:
    """One direction, made and normalised as its spec says."""
    movable, model = setting.movable, setting.movable.model
    match spec.kind:
        case "gaussian":
            raw = gaussian_direction(movable.layout, spec.seed or 0, dtype=setting.dtype)
            raw = raw.to(movable.base.device)
        case "gradient":
            raw = gradient_direction(
                model, setting.data.train, dtype=setting.dtype, micro_batch=setting.micro_batch
            )
        case "ego":
            raw = ego_direction(
                model,
                setting.data.train,
                _known_class(setting, spec),
                dtype=setting.dtype,
                micro_batch=setting.micro_batch,
            )
        case "toward":
            raw = toward_direction(movable.base, _other_weights(setting, spec))
    return normalise(
        raw,
        movable.base,
        movable.layout,
        spec.normalise,
        keep_bias_and_bn=spec.scale_bias_and_bn,
    )


def _known_class(setting: _Setting, spec: DirectionSpec) -> int:
    number, num_classes = spec.class_index or 0, setting.data.train.num_classes
    if number >= num_classes:
        raise LossvizError(f"class {number} is not one of the run's {num_classes} classes")
    return number


def _other_weights(setting: _Setting, spec: DirectionSpec) -> Tensor:
    """The weights a `toward` direction points to, as one vector.

    Raises:
        LossvizError: They belong to another architecture.
    """
    run = setting.bench.reader.path if spec.toward_run is None else Path(spec.toward_run)
    content = RunReader(run).checkpoint(spec.toward_checkpoint or 0)
    mine = {name: values.shape for name, values in setting.content.parameters.items()}
    theirs = {name: values.shape for name, values in content.parameters.items()}
    if mine != theirs:
        raise LossvizError(
            f"the model of {run} has other parameters than this one; "
            "a line needs two models of one architecture"
        )
    parts = [
        to_tensor(values, content.views.get(name, "")).reshape(-1).to(setting.movable.base)
        for name, values in content.parameters.items()
    ]
    return torch.cat(parts)
