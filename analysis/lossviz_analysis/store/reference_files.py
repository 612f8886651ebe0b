"""Surfaces and directions in the HDF5 layout of Li et al.'s code, written and read.

The public code that goes with "Visualizing the Loss Landscape of Neural Nets" (2018) keeps a
surface and its directions in two files. A direction file has the groups `xdirection` and, for a
plane, `ydirection`, with one dataset for each tensor, named `0`, `1`, ..., in the tensor's own
shape: the parameters in the model's order (its type `weights`), or the whole state dict (its
type `states`). A surface file has the float64 datasets

```
xcoordinates   (X,)      along xdirection
ycoordinates   (Y,)      along ydirection; absent on a line
train_loss     (X, Y)    mean cross-entropy; (X,) on a line; likewise test_loss
train_acc      (X, Y)    accuracy in percent; likewise test_acc
dir_file       a text    name of the direction file
```

where -1 means "not computed". The declared shape of a plane is (X, Y), but its values lie in
the order of a mesh grid, y slow and x fast: the value at (x[i], y[j]) is number j X + i of the
flattened dataset. On a square grid that is row j and column i. On any other grid the two axes
of the declared shape mean nothing, and `values.ravel().reshape(Y, X)[j, i]` is the value.

Our first direction is x. Only `weights` are written, of the trainable parameters; both types
are read.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lossviz_analysis.store import hdf5
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.requests import MAX_POINTS
from lossviz_analysis.store.scans import ScanReader
from lossviz_analysis.store.schema import SPLITS

DIRECTIONS_SUFFIX = ".directions.h5"
NOT_COMPUTED = -1.0
_COORDINATES = ("xcoordinates", "ycoordinates")
_DIRECTIONS = ("xdirection", "ydirection")
_VALUES = tuple(f"{split}_{what}" for split in SPLITS for what in ("loss", "acc"))
_COUNTER = "num_batches_tracked"

Shapes = Sequence[tuple[str, tuple[int, ...]]]
"""Tensors of a model in its order: name and shape."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceSurface:
    """What a surface file holds, with the first axis along x."""

    coordinates: tuple[Float[np.ndarray, " _points"], ...]
    """Along x and, for a plane, along y."""
    values: dict[str, Float[np.ndarray, "*grid"]]
    """`train_loss`, `train_acc` and likewise of test, where there are such; entry (i, j) is at
    (x[i], y[j]), accuracies are percentages, NaN is not computed."""
    dir_file: str
    """Name of the direction file, as whoever wrote the file says."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits it has losses of, in stored order."""
        return tuple(split for split in SPLITS if f"{split}_loss" in self.values)


def shapes_of(tensors: Mapping[str, np.ndarray]) -> Shapes:
    """The shapes of tensors in their order.

    Args:
        tensors: Such as a checkpoint's parameters.

    Returns:
        Names and shapes.
    """
    return [(name, tensor.shape) for name, tensor in tensors.items()]


def directions_path(surface: Path) -> Path:
    """Where the directions of an exported surface lie: beside it.

    Args:
        surface: The surface file.

    Returns:
        The direction file.
    """
    return surface.with_suffix(DIRECTIONS_SUFFIX)


def write_surface(path: Path, surface: ReferenceSurface) -> None:
    """Write a surface file.

    Args:
        path: The file; overwritten.
        surface: What to write.

    Raises:
        OSError: It cannot be written.
    """
    with hdf5.created(path) as file:
        file["dir_file"] = surface.dir_file
        for name, coordinates in zip(_COORDINATES, surface.coordinates, strict=False):
            file[name] = coordinates.astype(np.float64)
        for name, values in surface.values.items():
            # Transposed, y is slow; the shape is then declared as the layout has it.
            in_order = np.where(np.isnan(values), NOT_COMPUTED, values).T.ravel()
            file[name] = in_order.reshape(values.shape).astype(np.float64)


def write_directions(
    path: Path, directions: Float[np.ndarray, "direction parameters"], shapes: Shapes
) -> None:
    """Write a direction file of type `weights`.

    Args:
        path: The file; overwritten.
        directions: One row for each direction, x first.
        shapes: The model's parameters in the order that made them one vector.

    Raises:
        StoreError: The parameters do not have as many values as the directions.
        OSError: It cannot be written.
    """
    sizes = [math.prod(shape) for _, shape in shapes]
    if sum(sizes) != directions.shape[1]:
        raise StoreError(
            f"the directions have {directions.shape[1]} values, the model has {sum(sizes)}"
        )
    with hdf5.created(path) as file:
        for group_name, direction in zip(_DIRECTIONS, directions, strict=False):
            group, start = file.create_group(group_name), 0
            for number, ((_, shape), size) in enumerate(zip(shapes, sizes, strict=True)):
                group[str(number)] = direction[start : start + size].reshape(shape)
                start += size


def read_surface(path: Path) -> ReferenceSurface:
    """What a surface file holds.

    Args:
        path: The file.

    Returns:
        The surface.

    Raises:
        StoreError: It cannot be read, is damaged, or is no surface.
    """
    with hdf5.opened(path) as file:
        if "xcoordinates" not in file:
            raise StoreError(f"{path} has no xcoordinates, so it is no surface")
        names = _COORDINATES if "ycoordinates" in file else _COORDINATES[:1]
        coordinates = tuple(file.floats(name, max_size=MAX_POINTS) for name in names)
        if not all(t.ndim == 1 and t.size and np.isfinite(t).all() for t in coordinates):
            raise StoreError(f"{path} has coordinates that are no list of numbers")
        shape = tuple(len(t) for t in coordinates)
        values: dict[str, np.ndarray] = {}
        for name in _VALUES:
            if name not in file:
                continue
            if file.shape(name) != shape:
                raise StoreError(f"{path}: {name} is {file.shape(name)}, expected {shape}")
            found = file.floats(name, max_size=math.prod(shape))
            in_order = found.ravel().reshape(shape[::-1]).T
            values[name] = np.where(in_order == NOT_COMPUTED, np.nan, in_order)
        return ReferenceSurface(
            coordinates=coordinates, values=values, dir_file=file.text("dir_file")
        )


def read_directions(
    path: Path, shapes: Shapes, buffers: Shapes = ()
) -> list[Float[np.ndarray, " parameters"]]:
    """The directions in a direction file, each as one vector of a model's parameters.

    Of a file of type `states` the parts that belong to buffers are left out: a scan does not
    move running statistics along a line.

    Args:
        path: The file.
        shapes: The model's trainable parameters, in its order.
        buffers: What else its state dict holds, in its order.

    Returns:
        One vector or two, x first, in float32, or float64 where the file has that.

    Raises:
        StoreError: It cannot be read, is damaged, or belongs to another model.
    """
    with hdf5.opened(path) as file:
        found = [
            _direction(file, name, shapes, buffers) for name in _DIRECTIONS if name in file
        ]
    if not found:
        raise StoreError(f"{path} has no xdirection, so it is no direction file")
    return found


def read_direction(
    path: Path, component: int, shapes: Shapes, buffers: Shapes = ()
) -> Float[np.ndarray, " parameters"]:
    """One direction of a direction file, or of a scan.

    Args:
        path: The file, or the folder of a scan of any run.
        component: Which direction, from 1.
        shapes: The model's trainable parameters, in its order.
        buffers: What else its state dict holds, in its order.

    Returns:
        The direction as one vector.

    Raises:
        StoreError: It cannot be read, is damaged, belongs to another model, or has fewer
            directions.
    """
    if path.is_dir():
        found = _directions_of_scan(path, sum(math.prod(shape) for _, shape in shapes))
    else:
        found = read_directions(path, shapes, buffers)
    if not 1 <= component <= len(found):
        raise StoreError(f"{path} has no direction {component}; it has {len(found)}")
    return found[component - 1]


def _directions_of_scan(folder: Path, length: int) -> list[np.ndarray]:
    """The directions of one of our own scans.

    Raises:
        StoreError: It is no scan, or its model has another number of parameters.
    """
    folder = folder.absolute()
    scan = ScanReader(folder.parent.parent, folder.name)
    if folder.parent.name != "scans" or scan.geometry() is None:
        raise StoreError(f"{folder} is not the folder of a scan that has begun")
    rows = scan.directions(length)
    if not np.isfinite(rows).all():
        raise StoreError(f"{folder} has a direction that is not finite")
    return list(rows)


def _direction(file: hdf5.Hdf5File, group: str, shapes: Shapes, buffers: Shapes) -> np.ndarray:
    where, count = f"{file.path}: {group}", file.count(group)
    counted = [item for item in buffers if item[0].rpartition(".")[2] != _COUNTER]
    # A file without counters is older than PyTorch 0.4.1, which brought them.
    others = {len(shapes) + len(some): some for some in ((), counted, buffers)}.get(count)
    if others is None:
        raise StoreError(
            f"{where} has {count} tensors, the model has {len(shapes)} parameters and "
            f"{len(buffers)} buffers; it belongs to another model"
        )
    found = [file.shape(f"{group}/{number}") for number in range(count)]
    places = _places_of_parameters(where, found, shapes, others)
    parts = [
        file.floats(f"{group}/{place}", max_size=math.prod(shape)).ravel()
        for place, (_, shape) in zip(places, shapes, strict=True)
    ]
    dtype = np.result_type(np.float32, *parts)
    vector = np.concatenate([np.empty(0, dtype), *parts]).astype(dtype, copy=False)
    if not np.isfinite(vector).all():
        raise StoreError(f"{where} is not finite")
    return vector


def _places_of_parameters(
    where: str, found: Sequence[tuple[int, ...]], shapes: Shapes, buffers: Shapes
) -> list[int]:
    """Which of the tensors of a list are the parameters.

    A state dict has the parameters of a module, then its buffers, then what its children have.
    Both kinds keep their order, so at each place there are two candidates: mostly their shapes
    decide, and between equal shapes a buffer comes after the parameters of its own module.

    Args:
        where: What to call the list in a complaint.
        found: Shapes of the tensors in the list, as many as parameters and buffers together.
        shapes: The parameters.
        buffers: The buffers.

    Returns:
        The place of each parameter.

    Raises:
        StoreError: The shapes do not fit, or leave more than one answer.
    """
    last = {name.rpartition(".")[0]: number for number, (name, _) in enumerate(shapes)}
    places: list[int] = []
    for place, shape in enumerate(found):
        parameter, buffer = len(places), place - len(places)
        is_parameter = parameter < len(shapes) and shapes[parameter][1] == shape
        is_buffer = buffer < len(buffers) and buffers[buffer][1] == shape
        if is_parameter and is_buffer:
            owner = buffers[buffer][0].rpartition(".")[0]
            if owner not in last:
                raise StoreError(
                    f"{where} is ambiguous: tensor {place} may be {shapes[parameter][0]} or "
                    f"{buffers[buffer][0]}"
                )
            is_parameter = parameter <= last[owner]
        elif not is_parameter and not is_buffer:
            name, expected = (*shapes, ("nothing", ()))[min(parameter, len(shapes))]
            raise StoreError(
                f"{where} has a tensor {place} of shape {shape} where the model has {name} of "
                f"shape {expected}; it belongs to another model"
            )
        if is_parameter:
            places.append(place)
    return places
