"""Making an empty run."""

import glob
import math
import os
import secrets
import shutil
from pathlib import Path

from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.durable import fsync_folder, fsync_tree, give_up, make_folder
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.head import RunHead
from lossviz_analysis.store.schema import (
    PULSE_COLUMNS,
    RECORD_CAPACITY,
    SCALAR_CHUNK_ROWS,
    SPLITS,
    STEP_COLUMNS,
    STEP_RING_ROWS,
)
from lossviz_analysis.store.zarr_arrays import create_array, create_head, new_group


def create_run(path: Path, description: RunDescription) -> None:
    """Make an empty run: built under another name and renamed, so nobody meets half of it.

    Args:
        path: Where; nothing may be there.
        description: What it is.

    Raises:
        StoreError: Something is there already, the folder cannot be written, or no reader would
            accept the description.
    """
    if path.exists() or path.is_symlink():
        raise StoreError(f"{path} exists already; resume it, or choose another name")
    building = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    _sweep_half_made(path)
    num_classes = description.num_classes
    num_columns = len(description.scalar_columns)
    RunDescription.from_attributes(description.to_attributes(), path)
    try:
        make_folder(path.parent)
        shutil.rmtree(building, ignore_errors=True)
        root = new_group(building, description.to_attributes(), durable=False)
        records = root.create_group("records")
        create_head(records, RunHead(nonce=secrets.randbits(62)))
        create_array(
            records,
            "scalars",
            shape=(RECORD_CAPACITY, num_columns),
            chunks=(SCALAR_CHUNK_ROWS, num_columns),
            dtype="<f8",
            fill_value=math.nan,
        )
        create_array(
            records,
            "confusion",
            shape=(RECORD_CAPACITY, len(SPLITS), num_classes, num_classes),
            chunks=(1, len(SPLITS), num_classes, num_classes),
            dtype="<i4",
            fill_value=-1,
            packed="counts",
        )
        live = root.create_group("live")
        for name, shape, dtype in (
            ("heartbeat", (len(PULSE_COLUMNS),), "<f8"),
            ("steps", (STEP_RING_ROWS, len(STEP_COLUMNS)), "<f4"),
        ):
            create_array(
                live, name, shape=shape, chunks=shape, dtype=dtype, fill_value=math.nan
            )
        root.create_group("checkpoints")
        root.create_group("scans")
        fsync_tree(building)
        building.rename(path)
        fsync_folder(path.parent)
    except BaseException as error:
        give_up(building)
        if isinstance(error, OSError):
            raise StoreError(f"{path} cannot be created: {error.strerror}") from error
        raise


def _sweep_half_made(path: Path) -> None:
    """Delete what processes that died while they made a run of this name have left."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.tmp-*"):
        number = left.name.rpartition("-")[2]
        if number.isascii() and number.isdecimal() and not _is_alive(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
