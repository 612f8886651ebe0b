"""Arrays of a run: one place for codecs, chunk keys, and distrust of metadata."""

from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from lossviz_analysis.store.durable import DurableStore
from lossviz_analysis.store.fields import StoreError, load_json
from lossviz_analysis.store.head import CHUNK_KEYS

Stored: TypeAlias = zarr.Array[Any]

_KNOWN_CODECS = frozenset({"bytes", "blosc", "zstd", "crc32c"})


def writable_group(root: Path, *, durable: bool = True) -> zarr.Group:
    """An existing group, opened for writing.

    Chunks equal to the fill value must be written like any other, or a reader could not tell
    them from missing ones; Zarr keeps that choice in its configuration, not in the array.

    Args:
        root: Folder of the group.
        durable: Whether every chunk is fsynced; off where the writer does it now and then.

    Returns:
        The group.
    """
    zarr.config.set({"array.write_empty_chunks": True})
    store = DurableStore(root) if durable else LocalStore(root)
    return zarr.open_group(store, mode="r+", use_consolidated=False)


def new_group(root: Path, attributes: dict[str, Any], *, durable: bool) -> zarr.Group:
    """A new group; `durable` is off where the whole tree is fsynced and renamed afterwards."""
    zarr.config.set({"array.write_empty_chunks": True})
    store = DurableStore(root) if durable else LocalStore(root)
    return zarr.create_group(store, zarr_format=3, attributes=attributes)


def create_array(
    group: zarr.Group,
    name: str,
    *,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: str,
    fill_value: int | float,
    packed: str | None = None,
) -> Stored:
    """Create an array with the run's conventions.

    Args:
        group: Where.
        name: Its name.
        shape: Its fixed shape.
        chunks: The shape of one chunk.
        dtype: Its dtype.
        fill_value: A value that is never legal.
        packed: None for raw bytes, "counts" for integers and sums, "weights" for floating-point
            tensors.

    Returns:
        The array.
    """
    compressors: list[Any] = []
    if packed == "counts":
        compressors.append(BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"))
    elif packed == "weights":
        compressors.append(BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"))
    compressors.append(Crc32cCodec())
    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        compressors=compressors,
        fill_value=fill_value,
        chunk_key_encoding=CHUNK_KEYS,
    )


def open_array(
    group_path: Path,
    name: str,
    *,
    dtypes: tuple[str, ...],
    shape: tuple[int | None, ...],
    max_chunk_bytes: int = 2**28,
) -> Stored:
    """Open an array for reading after its metadata were found to be what the schema says.

    Zarr would follow whatever the metadata ask for: any codec, any chunk size. A store may come
    from a stranger.

    Args:
        group_path: Folder of the group.
        name: Name of the array.
        dtypes: Admitted dtypes.
        shape: Expected shape, None for any length along an axis.
        max_chunk_bytes: Largest chunk that may be decoded.

    Returns:
        The array, read-only.

    Raises:
        StoreError: It is absent or not as the schema says.
    """
    path = group_path / name
    document = load_json(path / "zarr.json")
    found_shape: object = document.get("shape")
    grid: Any = document.get("chunk_grid")
    codecs: Any = document.get("codecs")
    try:
        chunk_shape = [int(n) for n in grid["configuration"]["chunk_shape"]]
        codec_names = {str(codec["name"]) for codec in codecs}
        lengths = [int(n) for n in cast("list[int]", found_shape)]
        dtype = np.dtype(str(document["data_type"]))
    except (KeyError, TypeError, ValueError, OverflowError, SyntaxError):
        # NumPy parses some names of types as Python; int() of an infinity overflows.
        raise StoreError(f"{path} is not an array of this schema") from None
    fits = len(lengths) == len(shape) == len(chunk_shape) and all(
        wanted is None or wanted == length
        for wanted, length in zip(shape, lengths, strict=True)
    )
    chunk_bytes = dtype.itemsize * int(np.prod(chunk_shape, dtype=object))
    if not fits or dtype not in {np.dtype(d) for d in dtypes} or min(chunk_shape) < 1:
        raise StoreError(
            f"{path} has shape {lengths} and type {dtype}, not those of the schema"
        )
    if chunk_bytes > max_chunk_bytes or not codec_names <= _KNOWN_CODECS:
        raise StoreError(
            f"{path} asks for chunks of {chunk_bytes} bytes in {sorted(codec_names)}"
        )
    try:
        return zarr.open_array(LocalStore(path, read_only=True), mode="r", zarr_format=3)
    except Exception as error:
        raise StoreError(f"{path} cannot be opened: {type(error).__name__}") from error


def read_slice(array: Stored, start: int, stop: int) -> np.ndarray:
    """Rows of an array.

    Args:
        array: The array.
        start: First row.
        stop: Row after the last.

    Returns:
        The rows.

    Raises:
        StoreError: A chunk is damaged or cannot be read.
    """
    try:
        return np.asarray(array[start:stop])
    except Exception as error:
        # Codecs raise what they like: RuntimeError, ValueError, their own.
        raise StoreError(
            f"rows {start} to {stop} of {array.store_path} are damaged: {error}"
        ) from error
