"""Chunks of a run's arrays, decoded directly.

Zarr would follow whatever the metadata of a stranger ask for: any codec, any chunk size, a
compressed kilobyte that unpacks to a terabyte. And a Zarr call costs half a millisecond
whatever its size, where this takes a twentieth of that. What is written stays plain Zarr.
"""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import google_crc32c
import numcodecs.blosc
import numpy as np

from lossviz_analysis.store.fields import StoreError, load_json
from lossviz_analysis.store.files import read_regular

_CHECKSUM_BYTES = 4
_MAX_METADATA_BYTES = 2**18
_BLOSC_HEADER_BYTES = 16
_DTYPES = {
    np.dtype(code).name: np.dtype(code)
    for code in ("<f2", "<f4", "<f8", "|u1", "<u2", "<u4", "<u8", "|i1", "<i2", "<i4", "<i8")
}


class MissingChunkError(StoreError):
    """A chunk that should be there is absent."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredArray:
    """An array whose metadata were found to be what the schema says."""

    path: Path
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    dtype: np.dtype
    is_packed: bool
    """Whether chunks are compressed by Blosc; every chunk ends in its CRC-32C."""

    @property
    def num_chunks(self) -> int:
        """Chunks of the whole array."""
        return math.prod(
            -(-length // chunk)
            for length, chunk in zip(self.shape, self.chunk_shape, strict=True)
        )

    @property
    def num_bytes(self) -> int:
        """Bytes of the whole array, unpacked."""
        return self.dtype.itemsize * math.prod(self.shape)

    def read(self, start: int, stop: int, *, is_whole: bool = False) -> np.ndarray:
        """Rows of the array; a chunk that is absent reads as the fill value of its kind.

        Args:
            start: First row.
            stop: Row after the last.
            is_whole: Whether every chunk has to be there, so that nothing is filled in for
                those that a stranger only declares.

        Returns:
            The rows: NaN, -1 or (unsigned) 0 where a chunk is absent.

        Raises:
            StoreError: A chunk is damaged or cannot be read, or there is no memory for all.
            MissingChunkError: A chunk is absent, though all have to be there.
        """
        shape = (max(0, stop - start), *self.shape[1:])
        try:
            rows = np.empty(shape, self.dtype)
        except (MemoryError, ValueError):
            raise StoreError(f"{self.path} is too large to be read: {shape}") from None
        if not rows.size:
            return rows
        inner = [
            range(-(-length // chunk))
            for length, chunk in zip(self.shape[1:], self.chunk_shape[1:], strict=True)
        ]
        outer = range(start // self.chunk_shape[0], -(-stop // self.chunk_shape[0]))
        # One by one: a product of all axes would hold millions of numbers before the first.
        for position in ((k, *rest) for k in outer for rest in itertools.product(*inner)):
            low = [k * n for k, n in zip(position, self.chunk_shape, strict=True)]
            first, last = max(start, low[0]), min(stop, low[0] + self.chunk_shape[0])
            target = (
                slice(first - start, last - start),
                *(slice(k, k + n) for k, n in zip(low[1:], self.chunk_shape[1:], strict=True)),
            )
            part = rows[target]
            values = self.chunk(position)
            if values is None and is_whole:
                raise MissingChunkError(f"{self.path} misses chunk {position}")
            if values is None:
                part[...] = _fill(self.dtype)
            else:
                source = (
                    slice(first - low[0], last - low[0]),
                    *(slice(0, n) for n in part.shape[1:]),
                )
                part[...] = values[source]
        return rows

    def chunk(self, position: tuple[int, ...]) -> np.ndarray | None:
        """One chunk.

        Args:
            position: Its indices.

        Returns:
            Its values, or None where it is absent.

        Raises:
            StoreError: It is damaged or cannot be read.
        """
        path = self.path / ("c." + ".".join(map(str, position)))
        num_bytes = self.dtype.itemsize * math.prod(self.chunk_shape)
        # Incompressible data grow by Blosc's header only; the slack is for its block table.
        limit = num_bytes + num_bytes // 64 + 4_096
        try:
            content = read_regular(path, limit + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from None
        body, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
        if len(content) > limit or google_crc32c.value(body) != int.from_bytes(
            checksum, "little"
        ):
            raise StoreError(f"{path} is damaged: its checksum does not match")
        try:
            flat = _unpacked(body, num_bytes) if self.is_packed else body
        except MemoryError:
            raise StoreError(f"{path} is too large to be read: {num_bytes} bytes") from None
        if flat is None or len(flat) != num_bytes:
            raise StoreError(f"{path} is damaged: it does not hold {num_bytes} bytes")
        return np.frombuffer(flat, self.dtype).reshape(self.chunk_shape)


def _unpacked(body: bytes, num_bytes: int) -> bytes | None:
    """Blosc's content, unless its header promises another size than the schema."""
    if len(body) < _BLOSC_HEADER_BYTES:
        return None
    if int.from_bytes(body[4:8], "little") != num_bytes:
        return None
    if int.from_bytes(body[12:16], "little") != len(body):
        return None
    try:
        return cast("bytes", numcodecs.blosc.decompress(body))
    except RuntimeError:
        return None


def _fill(dtype: np.dtype) -> float | int:
    return {"f": math.nan, "i": -1, "u": 0}[dtype.kind]


def open_array(
    group_path: Path,
    name: str,
    *,
    dtypes: tuple[str, ...],
    shape: tuple[int | None, ...],
    max_chunk_bytes: int = 2**28,
    max_chunks: int | None = None,
) -> StoredArray:
    """Open an array for reading after its metadata were found to be what the schema says.

    Args:
        group_path: Folder of the group.
        name: Name of the array.
        dtypes: Admitted dtypes.
        shape: Expected shape, None for any length along an axis.
        max_chunk_bytes: Largest chunk that may be decoded.
        max_chunks: Into how many chunks it may be cut; None means any number, where the caller
            asks for every one to be there.

    Returns:
        The array.

    Raises:
        StoreError: It is absent or not as the schema says.
    """
    path = group_path / name
    if path.is_symlink() or group_path.is_symlink():
        raise StoreError(f"{path} is a symbolic link; a run is read from its own folder only")
    document = load_json(path / "zarr.json", _MAX_METADATA_BYTES)
    try:
        chunk_shape = tuple(
            int(n) for n in document["chunk_grid"]["configuration"]["chunk_shape"]
        )
        lengths = tuple(int(n) for n in document["shape"])
        dtype = _DTYPES[str(document["data_type"])]
        is_packed = _is_packed(document)
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError):
        # int() of an infinity overflows.
        raise StoreError(f"{path} is not an array of this schema") from None
    fits = len(lengths) == len(shape) == len(chunk_shape) and all(
        wanted is None or wanted == length
        for wanted, length in zip(shape, lengths, strict=True)
    )
    fits = fits and min(chunk_shape, default=0) >= 1 and min(lengths, default=0) >= 0
    if not fits or dtype not in {np.dtype(d) for d in dtypes}:
        raise StoreError(
            f"{path} has shape {list(lengths)[:8]} and type {dtype}, not those of the schema"
        )
    chunk_bytes = dtype.itemsize * math.prod(chunk_shape)
    if chunk_bytes > max_chunk_bytes:
        raise StoreError(f"{path} asks for chunks of {chunk_bytes} bytes")
    found = StoredArray(
        path=path, shape=lengths, chunk_shape=chunk_shape, dtype=dtype, is_packed=is_packed
    )
    if max_chunks is not None and found.num_chunks > max_chunks:
        raise StoreError(f"{path} is cut into {found.num_chunks} chunks, not as in the schema")
    return found


def _is_packed(document: dict[str, Any]) -> bool:
    """Whether Blosc is in use.

    Raises:
        ValueError: There are other codecs, or chunks of other names, than in the schema.
    """
    codecs = [str(codec["name"]) for codec in document["codecs"]]
    keys = document["chunk_key_encoding"]
    endian = document["codecs"][0].get("configuration", {}).get("endian", "little")
    separator = keys.get("configuration", {}).get("separator", "/")
    if (document["node_type"], document["zarr_format"]) != ("array", 3):
        raise ValueError
    if (keys["name"], separator, endian) != ("default", ".", "little"):
        raise ValueError
    if document["fill_value"] not in ("NaN", -1, 0):
        raise ValueError
    if codecs not in (["bytes", "crc32c"], ["bytes", "blosc", "crc32c"]):
        raise ValueError
    return len(codecs) == 3
