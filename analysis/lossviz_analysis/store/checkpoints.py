"""Checkpoints: a handful of flat arrays and an index, not one array for each tensor.

One array for each tensor makes a ResNet18 checkpoint six to twelve times slower to write
durably.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lossviz_analysis.store import fields
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.schema import even_chunk
from lossviz_analysis.store.zarr_arrays import create_array, new_group, open_array, read_slice

Role = Literal["parameter", "buffer", "optimiser"]

_PREFIX: dict[Role, str] = {"parameter": "params", "buffer": "buffers", "optimiser": "optim"}
_ROLE_OF: dict[str, Role] = {prefix: role for role, prefix in _PREFIX.items()}
_DTYPES = ("f2", "f4", "f8", "u1", "i1", "i2", "i4", "i8")
_BITS = {"f": "f", "i": "i", "u": "u"}
MAX_ELEMENTS = 2**34


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A model's state between two steps, as named numpy arrays."""

    epoch: int
    """Completed epochs."""
    step: int = 0
    """Steps into the next epoch; 0 at the end of an epoch."""
    parameters: Mapping[str, np.ndarray]
    """Trainable parameters, in the order that makes them one vector."""
    buffers: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    optimiser: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else a resume needs, as JSON values."""
    framework: str = ""
    """Name and version of what made the tensors."""


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """What is known of a checkpoint without reading its arrays."""

    number: int
    epoch: int
    step: int
    record: int
    """Record number of its epoch's record; -1 before the first."""
    attempt: int
    digest: str
    num_bytes: int


def checkpoint_folder(run: Path, number: int) -> Path:
    """Where checkpoint `number` of a run lies."""
    return run / "checkpoints" / f"c{number:08d}"


def _array_name(role: Role, dtype: np.dtype) -> str:
    return f"{_PREFIX[role]}_{_BITS[dtype.kind]}{8 * dtype.itemsize}"


def _layout(
    content: Checkpoint,
) -> tuple[list[dict[str, Any]], dict[str, list[np.ndarray]]]:
    index: list[dict[str, Any]] = []
    pieces: dict[str, list[np.ndarray]] = {}
    lengths: dict[str, int] = {}
    groups: tuple[tuple[Role, Mapping[str, np.ndarray]], ...] = (
        ("parameter", content.parameters),
        ("buffer", content.buffers),
        ("optimiser", content.optimiser),
    )
    for role, tensors in groups:
        for name, tensor in tensors.items():
            dtype = np.dtype(np.uint8) if tensor.dtype == np.bool_ else tensor.dtype
            array = _array_name(role, dtype)
            index.append(
                {
                    "name": name,
                    "role": role,
                    "dtype": tensor.dtype.str.lstrip("<>|="),
                    "shape": list(tensor.shape),
                    "array": array,
                    "offset": lengths.get(array, 0),
                }
            )
            pieces.setdefault(array, []).append(np.ravel(tensor).astype(dtype, copy=False))
            lengths[array] = lengths.get(array, 0) + tensor.size
    return index, pieces


def write_checkpoint(
    run: Path, number: int, content: Checkpoint, *, record: int, attempt: int
) -> CheckpointInfo:
    """Write a checkpoint durably; it exists for readers only once the head names it.

    Args:
        run: The run's folder.
        number: Its number.
        content: The state.
        record: Record number of its epoch, -1 before the first.
        attempt: The writer's attempt.

    Returns:
        What a reader would know of it.
    """
    index, pieces = _layout(content)
    flat = {name: np.concatenate(parts) for name, parts in pieces.items()}
    blob = json.dumps(dict(content.extra)).encode()
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(flat):
        digest.update(np.ascontiguousarray(flat[name]).view(np.uint8).data)
    digest.update(blob)
    num_bytes = sum(values.nbytes for values in flat.values()) + len(blob)
    info = CheckpointInfo(
        number=number,
        epoch=content.epoch,
        step=content.step,
        record=record,
        attempt=attempt,
        digest=digest.hexdigest(),
        num_bytes=num_bytes,
    )
    attributes = {
        "number": number,
        "epoch": content.epoch,
        "step": content.step,
        "record": record,
        "attempt": attempt,
        "digest": info.digest,
        "num_bytes": num_bytes,
        "framework": content.framework,
        "index": index,
    }
    group = new_group(checkpoint_folder(run, number), attributes, durable=True)
    for name, values in flat.items():
        dtype = values.dtype.newbyteorder("<").str
        array = create_array(
            group,
            name,
            shape=values.shape,
            chunks=(even_chunk(values.size),),
            dtype=dtype,
            fill_value=np.nan if values.dtype.kind == "f" else 0,
            packed="weights",
        )
        if values.size:
            array[:] = values
    stored_blob = create_array(
        group,
        "blob",
        shape=(len(blob),),
        chunks=(max(1, len(blob)),),
        dtype="|u1",
        fill_value=0,
    )
    stored_blob[:] = np.frombuffer(blob, np.uint8)
    return info


def read_info(run: Path, number: int) -> CheckpointInfo:
    """What is known of a checkpoint without its arrays.

    Args:
        run: The run's folder.
        number: Its number.

    Returns:
        The information.

    Raises:
        StoreError: It is absent (retention may have taken it) or malformed.
    """
    return _info(fields.attributes_of(checkpoint_folder(run, number)))


def _info(found: dict[str, Any]) -> CheckpointInfo:
    return CheckpointInfo(
        number=fields.integer(found, "number", low=1),
        epoch=fields.integer(found, "epoch"),
        step=fields.integer(found, "step"),
        record=fields.integer(found, "record", low=-1),
        attempt=fields.integer(found, "attempt"),
        digest=fields.text(found, "digest"),
        num_bytes=fields.integer(found, "num_bytes"),
    )


def read_checkpoint(run: Path, number: int) -> Checkpoint:
    """A whole checkpoint, its digest checked.

    Args:
        run: The run's folder.
        number: Its number.

    Returns:
        The state.

    Raises:
        StoreError: It is absent, malformed or damaged.
    """
    folder = checkpoint_folder(run, number)
    found = fields.attributes_of(folder)
    info = _info(found)
    index = fields.sequence(found, "index", limit=200_000)
    entries = [_entry(item, folder) for item in index]
    flat: dict[str, np.ndarray] = {}
    for name in sorted({entry.array for entry in entries}):
        array = open_array(folder, name, dtypes=_DTYPES, shape=(None,))
        needed = max(entry.stop for entry in entries if entry.array == name)
        if array.shape[0] != needed or array.nbytes > 2 * info.num_bytes:
            raise StoreError(
                f"checkpoint {number} of {run} is damaged: {name} has another length"
            )
        # Missing chunks would read as fill values, as many as the metadata care to declare.
        if sum(1 for _ in (folder / name).glob("c.*")) < array.nchunks:
            raise StoreError(f"checkpoint {number} of {run} is damaged: {name} is not whole")
        flat[name] = read_slice(array, 0, needed)
    blob = _read_blob(folder, info.num_bytes)
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(flat):
        digest.update(np.ascontiguousarray(flat[name]).view(np.uint8).data)
    digest.update(blob)
    if digest.hexdigest() != info.digest:
        raise StoreError(f"checkpoint {number} of {run} is damaged: its digest does not match")
    tensors: dict[Role, dict[str, np.ndarray]] = {
        "parameter": {},
        "buffer": {},
        "optimiser": {},
    }
    for entry in entries:
        part = flat[entry.array][entry.offset : entry.stop]
        tensors[entry.role][entry.name] = part.reshape(entry.shape).astype(
            entry.dtype, copy=False
        )
    return Checkpoint(
        epoch=info.epoch,
        step=info.step,
        parameters=tensors["parameter"],
        buffers=tensors["buffer"],
        optimiser=tensors["optimiser"],
        extra=_json_object(blob, number),
        framework=fields.text(found, "framework", ""),
    )


@dataclass(frozen=True, kw_only=True)
class _Entry:
    name: str
    role: Role
    dtype: str
    shape: tuple[int, ...]
    array: str
    offset: int

    @property
    def stop(self) -> int:
        return self.offset + math.prod(self.shape)


def _entry(item: object, folder: Path) -> _Entry:
    if not isinstance(item, dict):
        raise StoreError(f"{folder} has a malformed index")
    row: dict[str, Any] = {str(key): value for key, value in item.items()}
    array = fields.text(row, "array")
    prefix, _, bits = array.partition("_")
    dtype = fields.text(row, "dtype")
    shape = tuple(
        fields.integer({"shape": n}, "shape", high=MAX_ELEMENTS)
        for n in fields.sequence(row, "shape", limit=32)
    )
    if prefix not in _ROLE_OF or not bits.isalnum() or dtype not in (*_DTYPES, "b1"):
        raise StoreError(f"{folder} has a malformed index")
    if math.prod(shape) > MAX_ELEMENTS:
        raise StoreError(f"{folder} declares a tensor of {shape}, larger than any model")
    return _Entry(
        name=fields.text(row, "name"),
        role=_ROLE_OF[prefix],
        dtype=dtype,
        shape=shape,
        array=array,
        offset=fields.integer(row, "offset", high=MAX_ELEMENTS),
    )


def _read_blob(folder: Path, num_bytes: int) -> bytes:
    blob = open_array(folder, "blob", dtypes=("u1",), shape=(None,))
    if blob.nbytes > num_bytes:
        raise StoreError(f"{folder} is damaged: its blob is too long")
    return read_slice(blob, 0, blob.shape[0]).tobytes()


def _json_object(blob: bytes, number: int) -> dict[str, Any]:
    try:
        found: object = json.loads(blob)
    except (ValueError, RecursionError):
        raise StoreError(f"checkpoint {number} is damaged: its blob is not JSON") from None
    if not isinstance(found, dict):
        raise StoreError(f"checkpoint {number} is damaged: its blob is not a JSON object")
    return {str(key): value for key, value in found.items()}
