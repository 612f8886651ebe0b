"""The axes of a scan: its directions, made, normalised and measured."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, assert_never

import numpy as np
import torch
from torch import Tensor

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.reference_files import read_direction, shapes_of
from lossviz_analysis.store.requests import DirectionSpec, ScanRequest
from lossviz_analysis.weightspace.directions import (
    cosine,
    ego_directions,
    gaussian_direction,
    gradient_direction,
    toward_direction,
)
from lossviz_analysis.weightspace.normalise import normalise
from lossviz_analysis.weightspace.orthonormal import orthonormalise, unit
from lossviz_analysis.weightspace.trajectory import principal_components, project
from lossviz_analysis.weightspace.vector import MovableModel
from lossviz_trainer.packing import to_tensor
from lossviz_trainer.workbench import REMEMBERED_BYTES, Workbench

_Made = TypeVar("_Made")

GRADIENT_BATCH = 250
"""Examples in one forward and backward pass."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Axes:
    """What is known of a scan's directions."""

    directions: tuple[Tensor, ...]
    norms: tuple[float, ...]
    """Before they were made orthonormal, where they were."""
    cosine: float | None
    explained: tuple[float, ...]
    trajectory: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Origin:
    """The model at the origin of a scan, and what directions from there are made of."""

    bench: Workbench
    movable: MovableModel
    content: Checkpoint
    digest: str
    device: torch.device
    dtype: torch.dtype
    on_batch: Callable[[], None] | None = None
    """Called before each batch and each checkpoint; what it raises ends the setting up."""

    def checkpoint(self, number: int) -> Tensor:
        """Another checkpoint of the run, as `vector` has it.

        Args:
            number: Which.

        Returns:
            Its weights, on the device.
        """
        if self.on_batch is not None:
            self.on_batch()
        return self.vector(self.bench.reader.checkpoint(number), f"checkpoint {number}")

    def with_enough_memory(self, make: Callable[[int], _Made]) -> _Made:
        """What a function makes with the largest micro-batch that fits.

        Args:
            make: Takes a micro-batch.

        Returns:
            Its result.

        Raises:
            LossvizError: Not even one example fits.
        """
        micro_batch = GRADIENT_BATCH
        while micro_batch:
            try:
                return make(micro_batch)
            except torch.OutOfMemoryError:
                micro_batch //= 2  # what the traceback holds is free only after it
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        raise LossvizError("the device has not enough memory for the gradient of one example")

    def vector(self, content: Checkpoint, where: object) -> Tensor:
        """Another checkpoint's weights as a vector of this model's layout.

        Args:
            content: The other checkpoint.
            where: What to call it in a message.

        Returns:
            The vector, on the device.

        Raises:
            LossvizError: It belongs to another architecture.
        """
        mine = {name: values.shape for name, values in self.content.parameters.items()}
        theirs = {name: values.shape for name, values in content.parameters.items()}
        if mine != theirs:
            raise LossvizError(
                f"the model of {where} has other parameters than this one; "
                "a line needs two models of one architecture"
            )
        return torch.cat(
            [
                to_tensor(values, content.views.get(name, "")).reshape(-1).to(self.movable.base)
                for name, values in content.parameters.items()
            ]
        )


def make_axes(origin: Origin, request: ScanRequest) -> Axes:
    """The directions of a request, and the way of the run over them.

    Args:
        origin: The model at the origin, moved nowhere.
        request: What is asked for.

    Returns:
        The axes.

    Raises:
        LossvizError: A direction cannot be made.
    """
    _make_ego(origin, request)
    explained = [0.0] * len(request.directions)
    components = _components(origin, request, explained)
    raw = [_direction(origin, spec, components) for spec in request.directions]
    made = tuple(
        normalise(
            direction,
            origin.movable.base,
            origin.movable.layout,
            spec.normalise,
            keep_bias_and_bn=spec.scale_bias_and_bn,
        )
        for direction, spec in zip(raw, request.directions, strict=True)
    )
    norms = tuple(float(d.double().norm()) for d in made)
    angle = cosine(*made) if len(made) == 2 else None
    if request.orthonormalise:
        made = orthonormalise(*made) if len(made) == 2 else (unit(made[0]),)
    way: tuple[tuple[float, ...], ...] = ()
    if request.trajectory:
        epochs = [origin.bench.info(number).epoch for number in request.trajectory]
        rows = project(_on_the_way(origin, request), origin.movable.base, made)
        # A checkpoint whose weights are not finite lies nowhere.
        way = tuple(
            (float(epoch), *row.tolist())
            for epoch, row in zip(epochs, rows, strict=True)
            if np.isfinite(row).all()
        )
    return Axes(
        directions=made,
        norms=norms,
        cosine=angle,
        explained=tuple(explained) if components else (),
        trajectory=way,
    )


def _direction(origin: Origin, spec: DirectionSpec, components: dict[int, Tensor]) -> Tensor:
    """One direction as it is before it is normalised."""
    match spec.kind:
        case "gaussian":
            made = gaussian_direction(origin.movable.layout, spec.seed or 0, dtype=origin.dtype)
            return made.to(origin.device)
        case "gradient":
            return _remembered_gradient(origin)
        case "ego":
            return _ego(origin, spec.class_index or 0)
        case "toward":
            return toward_direction(origin.movable.base, _other_weights(origin, spec))
        case "file":
            found = read_direction(
                Path(spec.file or ""),
                spec.component or 1,
                shapes_of(origin.content.parameters),
                shapes_of(origin.content.buffers),
            )
            return torch.from_numpy(found.copy()).to(origin.movable.base)
        case "pca":
            return components[spec.component or 1]
        case _:
            assert_never(spec.kind)


def _key(origin: Origin, *what: object) -> tuple[object, ...]:
    return (origin.digest, origin.device, origin.dtype, *what)


def _remembered_gradient(origin: Origin) -> Tensor:
    known = origin.bench.remembered(_key(origin, "gradient"))
    if known is None:
        known = origin.with_enough_memory(
            lambda micro_batch: gradient_direction(
                origin.movable.model,
                origin.bench.prepared("train", origin.device, origin.dtype),
                dtype=origin.dtype,
                micro_batch=micro_batch,
                on_batch=origin.on_batch,
            )
        )
        origin.bench.remember(_key(origin, "gradient"), known)
    return known


def _make_ego(origin: Origin, request: ScanRequest) -> None:
    """Make the ego directions that are not known yet, in one pass.

    Raises:
        LossvizError: A class is not there, or has no examples.
    """
    num_classes = origin.bench.data(origin.device).train.num_classes
    for number in request.classes:
        if number >= num_classes:
            raise LossvizError(f"class {number} is not one of the run's {num_classes} classes")
    wanted = [
        number
        for number in request.classes
        if origin.bench.remembered(_key(origin, "ego", number)) is None
    ]
    if not wanted:
        return
    for number, direction in _ego_directions(origin, tuple(wanted)).items():
        origin.bench.remember(_key(origin, "ego", number), direction)


def make_ahead(origin: Origin) -> bool:
    """Make one ego direction that is not known yet: whoever looks at a pair looks at others.

    Args:
        origin: Of a scan that is done; the model is at the origin.

    Returns:
        Whether there was one to make, and room to keep it.
    """
    train = origin.bench.data(origin.device).train
    if train.num_classes * origin.movable.base.nbytes > REMEMBERED_BYTES:
        return False
    present = set(train.labels.unique().tolist())
    for number in range(train.num_classes):
        if number in present and origin.bench.remembered(_key(origin, "ego", number)) is None:
            made = _ego_directions(origin, (number,))[number]
            origin.bench.remember(_key(origin, "ego", number), made)
            return True
    return False


def _ego(origin: Origin, number: int) -> Tensor:
    found = origin.bench.remembered(_key(origin, "ego", number))
    if found is None:  # larger than all that is kept
        found = _ego_directions(origin, (number,))[number]
    return found


def _ego_directions(origin: Origin, classes: tuple[int, ...]) -> dict[int, Tensor]:
    return origin.with_enough_memory(
        lambda micro_batch: ego_directions(
            origin.movable.model,
            origin.bench.prepared("train", origin.device, origin.dtype),
            classes,
            dtype=origin.dtype,
            micro_batch=micro_batch,
            on_batch=origin.on_batch,
        )
    )


def _on_the_way(origin: Origin, request: ScanRequest) -> Iterator[Tensor]:
    """The weights of the trajectory's checkpoints.

    Yields:
        One vector after the other; only one is held.
    """
    for number in request.trajectory:
        yield origin.checkpoint(number)


def _components(
    origin: Origin, request: ScanRequest, explained: list[float]
) -> dict[int, Tensor]:
    """The principal components asked for, by their number from 1."""
    wanted = tuple(spec.component or 1 for spec in request.directions if spec.kind == "pca")
    if not wanted:
        return {}
    # The origin of the plane comes last, wherever it lies on the way.
    numbers = [n for n in request.trajectory if n != request.checkpoint]
    numbers.append(request.checkpoint)

    def read(position: int) -> Tensor:
        return origin.checkpoint(numbers[position])

    found = principal_components(read, len(numbers), components=wanted)
    shares = dict(zip(wanted, found.explained, strict=True))
    for position, spec in enumerate(request.directions):
        if spec.kind == "pca":
            explained[position] = shares[spec.component or 1]
    return dict(zip(wanted, found.directions, strict=True))


def _other_weights(origin: Origin, spec: DirectionSpec) -> Tensor:
    """The weights a `toward` direction points to."""
    content = other_checkpoint(origin, spec)
    return origin.vector(content, spec.toward_run or origin.bench.reader.path)


def other_checkpoint(origin: Origin, spec: DirectionSpec) -> Checkpoint:
    """The checkpoint a `toward` direction points to.

    Args:
        origin: The model at the origin.
        spec: The direction.

    Returns:
        The checkpoint.
    """
    run = origin.bench.reader.path if spec.toward_run is None else Path(spec.toward_run)
    return RunReader(run).checkpoint(spec.toward_checkpoint or 0)
