"""Scans on disk: asked for by anybody, computed by one worker, read while they fill."""

import contextlib
import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import numpy as np
from jaxtyping import Float

from lossviz_analysis.store import fields
from lossviz_analysis.store.chunks import StoredArray, open_array
from lossviz_analysis.store.durable import fsync_folder, fsync_tree, give_up, put
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.files import read_text
from lossviz_analysis.store.head import ScanHead, read_scan_head
from lossviz_analysis.store.lock import is_held
from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.scan_geometry import ScanGeometry
from lossviz_analysis.store.scan_report import REPORT_NAME, ScanReport
from lossviz_analysis.store.schema import MESSAGE_NAME, ScanState
from lossviz_analysis.store.zarr_arrays import create_head, new_group

CANCEL_NAME = "cancel"
FOCUS_NAME = "focus"
MAX_RESULT_BYTES = 2**30
"""Of the cells, and of the directions; a reader that has no model to hold beside them does not
try to hold more."""
_MAX_CHUNKS = 4_096
"""Of each array of a result; a gigabyte is at most 1,024 of them."""


def scan_folder(run: Path, scan_id: str) -> Path:
    """Where a scan of a run lies.

    Args:
        run: The run's folder.
        scan_id: The scan's id.

    Returns:
        The folder.

    Raises:
        StoreError: The id is no name of a folder.
    """
    if not scan_id or "/" in scan_id or scan_id.startswith("."):
        raise StoreError(f"{scan_id!r} is not the id of a scan")
    return run / "scans" / scan_id


def read_request(folder: Path) -> ScanRequest:
    """The request in a scan's folder.

    Args:
        folder: The scan's folder.

    Returns:
        The request.

    Raises:
        StoreError: It is absent or malformed.
    """
    return ScanRequest.from_json(fields.mapping(fields.attributes_of(folder), "request"))


class ScanReader:
    """Reads one scan while it fills."""

    def __init__(self, run: Path, scan_id: str) -> None:
        self.scan_id = scan_id
        self.folder = scan_folder(run, scan_id)
        self._request: ScanRequest | None = None
        self._geometry: ScanGeometry | None = None
        self._cells: StoredArray | None = None
        self._result_inode = -1

    @property
    def request(self) -> ScanRequest:
        """What was asked for; read once."""
        if self._request is None:
            self._request = read_request(self.folder)
        return self._request

    def head(self) -> ScanHead:
        """How far it is."""
        return read_scan_head(self.folder)

    def state_word(self, head: ScanHead) -> str:
        """One word: queued, running, interrupted, done, failed or cancelled."""
        match head.state:
            case ScanState.QUEUED | ScanState.RUNNING if is_held(self.folder):
                return "running"  # also before there is anything to see of it
            case ScanState.QUEUED | ScanState.RUNNING if self.is_marked():
                return "cancelled"  # nobody has to come to say so
            case ScanState.QUEUED:
                return "queued"
            case ScanState.RUNNING:
                return "interrupted"
            case ScanState.DONE:
                return "done"
            case ScanState.FAILED:
                return "failed"
            case ScanState.CANCELLED:
                return "cancelled"

    def is_marked(self) -> bool:
        """Whether somebody asked for it to stop, and nobody since for it to go on."""
        return is_to_stop(self.folder)

    def message(self) -> str:
        """Why it failed; empty where there is nothing to say."""
        return read_text(self.folder / MESSAGE_NAME, limit=4_096).strip()

    def report(self) -> ScanReport:
        """How it was computed so far; empty where nothing is said, or it is malformed."""
        try:
            return ScanReport.from_json(fields.load_json(self.folder / REPORT_NAME))
        except StoreError:
            return ScanReport()

    def geometry(self) -> ScanGeometry | None:
        """Shape and provenance.

        Returns:
            The geometry; None until a worker has begun.

        Raises:
            StoreError: It is malformed, or a link leads out of the run.
        """
        path = self.folder / "result"
        try:
            inode = path.stat().st_ino
        except OSError:
            return None
        if path.is_symlink():
            raise StoreError(
                f"{path} is a symbolic link; a run is read from its own folder only"
            )
        if self._geometry is None or inode != self._result_inode:
            self._geometry = ScanGeometry.from_attributes(fields.attributes_of(path))
            self._cells = None
            self._result_inode = inode
        return self._geometry

    def coordinates(self) -> tuple[Float[np.ndarray, " _points"], ...]:
        """Coordinates along each direction.

        Returns:
            One array for each direction.

        Raises:
            StoreError: Nothing is there yet.
        """
        geometry = self.geometry()
        if geometry is None:
            raise StoreError(f"scan {self.scan_id} has no points yet")
        found = tuple(
            open_array(
                self.folder / "result",
                name,
                dtypes=("<f8",),
                shape=(n,),
                max_chunks=_MAX_CHUNKS,
            ).read(0, n, is_whole=True)
            for name, n in zip(("t1", "t2"), geometry.points, strict=False)
        )
        if not all(np.isfinite(t).all() and (np.diff(t) > 0).all() for t in found):
            raise StoreError(f"scan {self.scan_id} has coordinates that do not ascend")
        return found

    def directions(
        self, num_parameters: int | None = None
    ) -> Float[np.ndarray, "direction parameters"]:
        """The directions.

        Args:
            num_parameters: Of the model they are to belong to; None admits any number, as far
                as MAX_RESULT_BYTES reaches.

        Returns:
            One row for each direction.

        Raises:
            StoreError: Nothing is there yet, they are damaged, or they belong to another model.
        """
        found = open_array(
            self.folder / "result",
            "directions",
            dtypes=("<f4", "<f8"),
            shape=(None, None),
            max_chunks=_MAX_CHUNKS,
        )
        if found.shape[0] > 2:
            raise StoreError(f"scan {self.scan_id} declares {found.shape[0]} directions")
        if num_parameters is not None and found.shape[1] != num_parameters:
            raise StoreError(
                f"the directions of {self.folder} have {found.shape[1]} values, the model has "
                f"{num_parameters} parameters; they belong to another model"
            )
        if num_parameters is None and found.num_bytes > MAX_RESULT_BYTES:
            raise StoreError(
                f"scan {self.scan_id} declares directions of {found.shape[1]} values"
            )
        return found.read(0, found.shape[0], is_whole=True)

    def cells(self) -> Float[np.ndarray, "points splits slots"]:
        """The sums of all cells as they stand; slot 0 is NaN where nothing was computed.

        Returns:
            The sums.

        Raises:
            StoreError: Nothing is there yet, or a tile is damaged.
        """
        geometry = self.geometry()
        if geometry is None:
            raise StoreError(f"scan {self.scan_id} has no points yet")
        shape = (geometry.num_points, len(geometry.splits), geometry.layout.width)
        if 8 * math.prod(shape) > MAX_RESULT_BYTES:
            raise StoreError(f"scan {self.scan_id} declares {shape} cells, more than any scan")
        if self._cells is None:
            self._cells = open_array(
                self.folder / "result",
                "cells",
                dtypes=("<f8",),
                shape=shape,
                max_chunks=_MAX_CHUNKS,
            )
        return self._cells.read(0, shape[0])


def find_scans(run: Path) -> tuple[ScanReader, ...]:
    """The scans of a run, oldest first."""
    folder = run / "scans"
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.name[:1] != ".")
    except OSError:
        return ()
    return tuple(ScanReader(run, name) for name in names if _is_scan(folder / name))


def _is_scan(folder: Path) -> bool:
    """Whether a folder holds a scan; one that nobody may look into does not."""
    try:
        return (folder / "zarr.json").is_file() and not folder.is_symlink()
    except OSError:
        return False


def is_to_stop(folder: Path) -> bool:
    """Whether somebody asked for a scan to stop.

    Args:
        folder: The scan's folder.

    Returns:
        Whether `cancel` was called since it was last begun; where nobody may look, no.
    """
    try:
        return (folder / CANCEL_NAME).exists()
    except OSError:
        return False


def cancel(folder: Path) -> None:
    """Ask for a scan to stop; its worker keeps what is done.

    Args:
        folder: The scan's folder.

    Raises:
        StoreError: The folder cannot be written.
    """
    try:
        put(folder / CANCEL_NAME, b"", durable=False)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}") from None


def look_at(folder: Path, point: int) -> None:
    """Ask for a scan to compute first what lies near a point; its order changes, no number.

    Args:
        folder: The scan's folder.
        point: The point, counted row by row.
    """
    # Nothing is lost with it.
    with contextlib.suppress(OSError):
        put(folder / FOCUS_NAME, str(point).encode(), durable=False)


def submit(run: Path, request: ScanRequest) -> str:
    """Queue a scan: built under another name and renamed, so nobody meets half a request.

    Args:
        run: The run's folder.
        request: What to compute.

    Returns:
        The scan's id; ids sort by the time of asking.

    Raises:
        StoreError: The folder cannot be written.
    """
    now_ms = time.time_ns() // 1_000_000
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_ms // 1000))
    scan_id = f"{stamp}{now_ms % 1000:03d}-{request.kind}-{uuid4().hex[:6]}"
    folder = run / "scans" / scan_id
    building = folder.with_name(f".{scan_id}")
    attributes = {
        "request": request.to_json(),
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    try:
        group = new_group(building, json.loads(json.dumps(attributes)), durable=False)
        create_head(group, ScanHead())
        fsync_tree(building)
        building.rename(folder)
        fsync_folder(folder.parent)
    except OSError as error:
        give_up(building)
        raise StoreError(f"{run} cannot be written: {error.strerror}") from None
    return scan_id


def unfinished(scans: Iterable[ScanReader]) -> list[ScanReader]:
    """The scans that wait for a worker: queued, or left half-done by a dead one."""
    found: list[ScanReader] = []
    for scan in scans:
        try:
            word = scan.state_word(scan.head())
        except StoreError:
            continue
        if word in ("queued", "interrupted"):
            found.append(scan)
    return found
