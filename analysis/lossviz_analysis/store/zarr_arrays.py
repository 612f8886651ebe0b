"""Arrays of a run as they are written: one place for codecs and chunk keys.

Reading them is the business of `chunks`.
"""

from pathlib import Path
from typing import Any, TypeAlias

import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.chunk_key_encodings import ChunkKeyEncodingParams
from zarr.storage import LocalStore

from lossviz_analysis.store.durable import DurableStore
from lossviz_analysis.store.head import RunHead, ScanHead
from lossviz_analysis.store.schema import HEAD_SLOTS

Stored: TypeAlias = zarr.Array[Any]

CHUNK_KEYS: ChunkKeyEncodingParams = {"name": "default", "separator": "."}


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


def create_head(group: zarr.Group, head: RunHead | ScanHead) -> None:
    """Create the array of a head in a group and give it its first value."""
    array = group.create_array(
        "head",
        shape=(HEAD_SLOTS,),
        chunks=(HEAD_SLOTS,),
        dtype="<i8",
        compressors=[Crc32cCodec()],
        fill_value=0,
        chunk_key_encoding=CHUNK_KEYS,
    )
    array[:] = head.slots()
