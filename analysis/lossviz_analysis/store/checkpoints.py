"""Checkpoints: a handful of flat arrays and an index, not one array for each tensor.

One array for each tensor makes a ResNet18 checkpoint six to twelve times slower to write
durably.
"""

import contextlib
import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lossviz_analysis.store import fields
from lossviz_analysis.store.chunks import StoredArray, open_array
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.schema import MAX_CHUNK_FLOATS, even_chunk
from lossviz_analysis.store.zarr_arrays import create_array, new_group

Role = Literal["parameter", "buffer", "optimiser"]

_PREFIX: dict[Role, str] = {"parameter": "params", "buffer": "buffers", "optimiser": "optim"}
_ROLE_OF: dict[str, Role] = {prefix: role for role, prefix in _PREFIX.items()}
_DTYPES = ("f2", "f4", "f8", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")
_BITS = {"f": "f", "i": "i", "u": "u"}
MAX_ELEMENTS = 2**34
_MAX_INDEX_BYTES = 32 * 2**20
_MAX_CHUNK_BYTES = 8 * MAX_CHUNK_FLOATS


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
    views: Mapping[str, str] = field(default_factory=dict[str, str])
    """Tensors of a type NumPy has none for: the name of that type, such as "bfloat16"; their
    arrays hold the raw bits as unsigned integers."""


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
            view = {"view": content.views[name]} if name in content.views else {}
            index.append(
                {
                    "name": name,
                    "role": role,
                    "dtype": tensor.dtype.str.lstrip("<>|="),
                    "shape": list(tensor.shape),
                    "array": array,
                    "offset": lengths.get(array, 0),
                }
                | view
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
    blob = json.dumps(dict(content.extra)).encode()
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(pieces):
        for part in pieces[name]:
            digest.update(np.ascontiguousarray(part).view(np.uint8).data)
    digest.update(blob)
    num_bytes = size_of(content)
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
        "index_digest": _digest_of_index(index),
    }
    group = new_group(checkpoint_folder(run, number), attributes, durable=True)
    for name, parts in pieces.items():
        length, dtype = sum(part.size for part in parts), parts[0].dtype.newbyteorder("<")
        array = create_array(
            group,
            name,
            shape=(length,),
            chunks=(even_chunk(length),),
            dtype=dtype.str,
            fill_value=np.nan if dtype.kind == "f" else 0,
            packed="weights",
        )
        # Chunk by chunk: a second copy of a large model would be one too many.
        for start, values in _rechunked(parts, even_chunk(length), dtype):
            array[start : start + len(values)] = values
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


def size_of(content: Checkpoint) -> int:
    """Bytes of a checkpoint before compression: its tensors and its blob."""
    tensors = itertools.chain(
        content.parameters.values(), content.buffers.values(), content.optimiser.values()
    )
    return sum(values.nbytes for values in tensors) + len(json.dumps(dict(content.extra)))


def _rechunked(
    parts: Sequence[np.ndarray], chunk: int, dtype: np.dtype
) -> Iterator[tuple[int, np.ndarray]]:
    """The parts one after the other, cut into chunks.

    Yields:
        Where a chunk begins, and its values, which the next one overwrites.
    """
    room, filled, start = np.empty(chunk, dtype), 0, 0
    for part in parts:
        done = 0
        while done < part.size:
            take = min(part.size - done, chunk - filled)
            room[filled : filled + take] = part[done : done + take]
            done, filled = done + take, filled + take
            if filled == chunk:
                yield start, room
                start, filled = start + chunk, 0
    if filled:
        yield start, room[:filled]


def _digest_of_index(index: Sequence[object]) -> str:
    """Of the index in its canonical form: a moved offset would give a model other weights."""
    text = json.dumps(list(index), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def numbers_on_disk(run: Path) -> list[int]:
    """Numbers of the checkpoint folders of a run, published or not, ascending."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for entry in (run / "checkpoints").iterdir():
            digits = entry.name[1:]
            if entry.name[:1] == "c" and digits.isascii() and digits.isdecimal():
                found.append(int(digits[:18]))
    return sorted(found)


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
    return _info(_attributes(run, number), number)


def _attributes(run: Path, number: int) -> dict[str, Any]:
    folder = checkpoint_folder(run, number)
    if folder.is_symlink():
        raise StoreError(f"{folder} is a symbolic link; a run is read from its own folder only")
    return fields.attributes_of(folder, _MAX_INDEX_BYTES)


def _info(found: dict[str, Any], number: int) -> CheckpointInfo:
    return CheckpointInfo(
        # That of its folder, or retention would delete one for the other.
        number=fields.integer(found, "number", low=number, high=number),
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
    found = _attributes(run, number)
    info = _info(found, number)
    entries, arrays = _open(folder, found, info)
    flat = {name: array.read(0, array.shape[0]) for name, array in arrays.items()}
    blob = _read_blob(folder, info.num_bytes)
    _check_digest(folder, info, [*(flat[name] for name in sorted(flat)), blob])
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
        extra=_json_object(blob, folder),
        framework=fields.text(found, "framework", ""),
        views={entry.name: entry.view for entry in entries if entry.view},
    )


def verify_checkpoint(run: Path, number: int) -> None:
    """Read a checkpoint chunk by chunk and hold it against its digest, keeping nothing.

    Args:
        run: The run's folder.
        number: Its number.

    Raises:
        StoreError: It is absent, malformed or damaged.
    """
    folder = checkpoint_folder(run, number)
    found = _attributes(run, number)
    info = _info(found, number)
    _, arrays = _open(folder, found, info)
    chunks = (
        array.read(start, min(start + array.chunk_shape[0], array.shape[0]))
        for _, array in sorted(arrays.items())
        for start in range(0, array.shape[0], array.chunk_shape[0])
    )
    blob = _read_blob(folder, info.num_bytes)
    _check_digest(folder, info, itertools.chain(chunks, [blob]))
    _json_object(blob, folder)


def _open(
    folder: Path, found: dict[str, Any], info: CheckpointInfo
) -> tuple[list["_Entry"], dict[str, StoredArray]]:
    """The index and the arrays it points into.

    Raises:
        StoreError: They do not fit each other.
    """
    index = fields.sequence(found, "index", limit=200_000)
    entries = [_entry(item, folder) for item in index]
    if "index_digest" in found and found["index_digest"] != _digest_of_index(index):
        raise StoreError(f"{folder} is damaged: its index does not match its digest")
    lengths: dict[str, int] = {}
    for entry in entries:
        lengths[entry.array] = max(lengths.get(entry.array, 0), entry.stop)
    arrays: dict[str, StoredArray] = {}
    for name, length in lengths.items():
        array = open_array(
            folder, name, dtypes=_DTYPES, shape=(None,), max_chunk_bytes=_MAX_CHUNK_BYTES
        )
        if array.shape[0] != length or array.num_bytes > 2 * info.num_bytes:
            raise StoreError(f"{folder} is damaged: {name} has another length")
        # Missing chunks would read as fill values, as many as the metadata care to declare.
        if sum(1 for _ in (folder / name).glob("c.*")) < array.num_chunks:
            raise StoreError(f"{folder} is damaged: {name} is not whole")
        arrays[name] = array
    return entries, arrays


def _check_digest(
    folder: Path, info: CheckpointInfo, contents: Iterable[np.ndarray | bytes]
) -> None:
    digest = hashlib.blake2b(digest_size=16)
    for content in contents:
        digest.update(
            content
            if isinstance(content, bytes)
            else np.ascontiguousarray(content).view(np.uint8).data
        )
    if digest.hexdigest() != info.digest:
        raise StoreError(f"{folder} is damaged: its digest does not match")


@dataclass(frozen=True, kw_only=True)
class _Entry:
    name: str
    role: Role
    dtype: str
    shape: tuple[int, ...]
    array: str
    offset: int
    view: str

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
        view=fields.text(row, "view", ""),
    )


def _read_blob(folder: Path, num_bytes: int) -> bytes:
    blob = open_array(folder, "blob", dtypes=("u1",), shape=(None,))
    if blob.num_bytes > num_bytes:
        raise StoreError(f"{folder} is damaged: its blob is too long")
    return blob.read(0, blob.shape[0]).tobytes()


def _json_object(blob: bytes, folder: Path) -> dict[str, Any]:
    try:
        found: object = json.loads(blob)
    except (ValueError, RecursionError):
        raise StoreError(f"{folder} is damaged: its blob is not JSON") from None
    if not isinstance(found, dict):
        raise StoreError(f"{folder} is damaged: its blob is not a JSON object")
    return {str(key): value for key, value in found.items()}
