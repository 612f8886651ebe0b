"""Scans on disk: asked for by anybody, computed by one worker, read while they fill."""

import json
import math
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import zarr
from jaxtyping import Float

from lossviz_analysis.store import fields
from lossviz_analysis.store.durable import discard, fsync_folder, fsync_tree, put, sweep
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.head import ScanHead, create_head, read_scan_head, write_head
from lossviz_analysis.store.lock import WriterLock, is_held
from lossviz_analysis.store.reader import read_text
from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.schema import CellLayout, ScanState, even_chunk
from lossviz_analysis.store.writer import MESSAGE_NAME
from lossviz_analysis.store.zarr_arrays import (
    Stored,
    create_array,
    new_group,
    open_array,
    read_slice,
    writable_group,
)

CANCEL_NAME = "cancel"
FLUSH_SECONDS = 0.5
DURABLE_SECONDS = 10.0
MAX_CELL_BYTES = 2**34
"""More than this no worker could have kept in memory; a reader does not try."""


@dataclass(frozen=True, kw_only=True)
class ScanGeometry:
    """What a worker knows of a scan before its first point; the attributes of `result`."""

    class_names: tuple[str, ...]
    splits: tuple[str, ...]
    points: tuple[int, ...]
    has_confusion: bool
    chunks: dict[str, int]
    """Chunks of the class-balanced order, by split."""
    examples: dict[str, int]
    """Examples evaluated at each point, by split."""
    direction_norms: tuple[float, ...]
    weight_norm: float
    cosine: float | None = None
    """Between the two directions."""
    provenance: dict[str, Any] = field(default_factory=dict[str, Any])
    """Digest of the checkpoint, versions, device, threads: what explains a number."""

    @property
    def layout(self) -> CellLayout:
        """Where sums lie in a cell."""
        return CellLayout(num_classes=len(self.class_names), has_confusion=self.has_confusion)

    @property
    def num_points(self) -> int:
        """Points of the grid."""
        return int(np.prod(self.points))

    @property
    def total_items(self) -> int:
        """Items of the whole scan: points times chunks, over the splits."""
        return self.num_points * sum(self.chunks[split] for split in self.splits)

    @classmethod
    def from_attributes(cls, found: dict[str, Any]) -> "ScanGeometry":
        """Check the attributes of a result somebody else may have written.

        Args:
            found: The attributes.

        Returns:
            The geometry.

        Raises:
            StoreError: They are malformed.
        """
        splits = fields.texts(found, "splits", limit=2)
        cosine: object = found.get("cosine")
        per_split = {
            name: {
                split: fields.integer(fields.mapping(found, name), split, high=2**40)
                for split in splits
            }
            for name in ("chunks", "examples")
        }
        return cls(
            class_names=fields.texts(found, "class_names", limit=10_000),
            splits=splits,
            points=tuple(
                fields.integer({"points": n}, "points", low=1, high=10_000)
                for n in fields.sequence(found, "points", limit=2)
            ),
            has_confusion=found.get("has_confusion") is True,
            direction_norms=tuple(
                fields.number({"norm": n}, "norm")
                for n in fields.sequence(found, "direction_norms", limit=2)
            ),
            weight_norm=fields.number(found, "weight_norm"),
            cosine=None if cosine is None else fields.number(found, "cosine"),
            provenance=fields.mapping(found, "provenance"),
            **per_split,
        )


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


class ScanWriter:
    """Writes one scan for as long as it holds the scan's lock.

    The sums of all cells are kept in memory as float64; a flush writes the tiles that changed,
    then the head.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = WriterLock(folder)
        self._touched: set[int] = set()
        self._head = ScanHead()
        self._started = time.monotonic()
        self._flushed = self._synced = -np.inf
        self._before_ms = 0
        self._array: Stored
        self._tile = 1
        self.cells: np.ndarray = np.empty((0, 1, 1))
        """Sums by point, split and slot; slot 0 is NaN where nothing was computed."""

    def claim(self) -> ScanRequest:
        """Take the scan's lock and read what is asked for.

        Returns:
            The request.

        Raises:
            StoreError: Another worker has it, or the request is malformed.
        """
        self._lock.acquire()
        try:
            self._head = read_scan_head(self.folder)
            self._before_ms = self._head.elapsed_ms
            self._started = time.monotonic()
            sweep(self.folder)
            return read_request(self.folder)
        except BaseException:
            self._lock.release()
            raise

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()

    @property
    def head(self) -> ScanHead:
        """What is committed."""
        return self._head

    def is_cancelled(self) -> bool:
        """Whether somebody asked for this scan to stop."""
        return (self.folder / CANCEL_NAME).exists()

    def begin(
        self,
        geometry: ScanGeometry,
        coordinates: tuple[np.ndarray, ...],
        directions: Float[np.ndarray, "direction parameters"],
    ) -> None:
        """Write what is known before the first point, and make room for the cells.

        Args:
            geometry: Shape and provenance.
            coordinates: Along each direction.
            directions: The directions themselves.
        """
        building = self.folder / f".result-{uuid4().hex[:8]}.partial"
        group = new_group(building, asdict(geometry), durable=False)
        for name, values in zip(("t1", "t2"), coordinates, strict=False):
            array = create_array(
                group,
                name,
                shape=values.shape,
                chunks=values.shape,
                dtype="<f8",
                fill_value=np.nan,
            )
            array[:] = values
        stored = create_array(
            group,
            "directions",
            shape=directions.shape,
            chunks=(1, even_chunk(directions.shape[1])),
            dtype=directions.dtype.newbyteorder("<").str,
            fill_value=np.nan,
            packed="weights",
        )
        stored[:] = directions
        num_splits, layout = len(geometry.splits), geometry.layout
        create_array(
            group,
            "cells",
            shape=(geometry.num_points, num_splits, layout.width),
            chunks=(layout.tile(geometry.num_points, num_splits), num_splits, layout.width),
            dtype="<f8",
            fill_value=np.nan,
            packed="counts",
        )
        fsync_tree(building)
        discard(self.folder / "result")
        building.rename(self.folder / "result")
        fsync_folder(self.folder)
        self._open_cells(geometry)
        self.cells[:] = np.nan

    def resume(self, geometry: ScanGeometry) -> None:
        """Go on from what an earlier worker wrote.

        Args:
            geometry: As read from the result.
        """
        self._open_cells(geometry)
        self.cells[:] = read_slice(self._array, 0, geometry.num_points)

    def _open_cells(self, geometry: ScanGeometry) -> None:
        found = writable_group(self.folder / "result")["cells"]
        if not isinstance(found, zarr.Array):
            raise StoreError(f"{self.folder} has no cells")
        self._array = found
        self._tile = int(found.chunks[0])
        self.cells = np.empty(found.shape, "<f8")
        self._head = ScanHead(
            sequence=self._head.sequence, total=geometry.total_items, elapsed_ms=self._before_ms
        )

    def add(
        self, point: int, split: int, chunk_sums: Float[np.ndarray, "chunks slots"]
    ) -> None:
        """Add the next chunks of a cell, one by one, so that no bit depends on their grouping.

        Args:
            point: The cell.
            split: Position of the split.
            chunk_sums: One row for each chunk, in order; slot 0 is 1.
        """
        cell = self.cells[point, split]
        if np.isnan(cell[0]):
            cell[:] = 0.0
        for row in chunk_sums:
            cell += row
        self._touched.add(point // self._tile)

    def chunks_done(self) -> np.ndarray:
        """Chunks done, by point and split."""
        return np.nan_to_num(self.cells[:, :, 0], nan=0.0).astype(np.int64)

    def flush(self, state: ScanState = ScanState.RUNNING, *, force: bool = False) -> None:
        """Write the changed tiles and the head, at most every half second unless forced.

        Args:
            state: What to say of the scan.
            force: Write now, and durably.
        """
        now = time.monotonic()
        if not force and now - self._flushed < FLUSH_SECONDS:
            return
        for tile in sorted(self._touched):
            rows = slice(tile * self._tile, min((tile + 1) * self._tile, len(self.cells)))
            self._array[rows] = self.cells[rows]
        self._touched.clear()
        durable = force or now - self._synced >= DURABLE_SECONDS
        head = ScanHead(
            sequence=self._head.sequence + 1,
            state=state,
            done=int(self.chunks_done().sum()) if self.cells.size else self._head.done,
            total=self._head.total,
            elapsed_ms=self._before_ms + int(1000 * (now - self._started)),
        )
        write_head(self.folder, head, durable=durable)
        self._head = head
        self._flushed = now
        if durable:
            self._synced = now

    def finish(self, state: ScanState, message: str = "") -> None:
        """Say how the scan ended, durably, and give the lock back.

        Args:
            state: Done, failed or cancelled.
            message: The sentence for people.
        """
        try:
            if message or (self.folder / MESSAGE_NAME).exists():
                put(self.folder / MESSAGE_NAME, message.encode(), durable=True)
            self.flush(state, force=True)
        finally:
            self.release()

    def reject(self, message: str) -> None:
        """Mark a scan whose request cannot be read as failed; no result is touched.

        Args:
            message: The sentence for people.
        """
        put(self.folder / MESSAGE_NAME, message.encode(), durable=True)
        head = ScanHead(sequence=self._head.sequence + 1, state=ScanState.FAILED)
        write_head(self.folder, head)

    def pause(self) -> None:
        """Leave a scan half-done, for the next worker, and give the lock back."""
        try:
            self.flush(force=True)
        finally:
            self.release()


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
        self._cells: Stored | None = None
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
            case ScanState.QUEUED:
                return "cancelled" if (self.folder / CANCEL_NAME).exists() else "queued"
            case ScanState.RUNNING:
                return "running" if is_held(self.folder) else "interrupted"
            case ScanState.DONE:
                return "done"
            case ScanState.FAILED:
                return "failed"
            case ScanState.CANCELLED:
                return "cancelled"

    def message(self) -> str:
        """Why it failed; empty where there is nothing to say."""
        return read_text(self.folder / MESSAGE_NAME, limit=4_096).strip()

    def geometry(self) -> ScanGeometry | None:
        """Shape and provenance; None until a worker has begun."""
        path = self.folder / "result"
        try:
            inode = path.stat().st_ino
        except OSError:
            return None
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
        return tuple(
            read_slice(
                open_array(self.folder / "result", name, dtypes=("<f8",), shape=(n,)), 0, n
            )
            for name, n in zip(("t1", "t2"), geometry.points, strict=False)
        )

    def directions(self) -> Float[np.ndarray, "direction parameters"]:
        """The directions.

        Returns:
            One row for each direction.

        Raises:
            StoreError: Nothing is there yet.
        """
        found = open_array(
            self.folder / "result", "directions", dtypes=("<f4", "<f8"), shape=(None, None)
        )
        if found.shape[0] > 2:
            raise StoreError(f"scan {self.scan_id} declares {found.shape[0]} directions")
        return read_slice(found, 0, found.shape[0])

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
        if 8 * math.prod(shape) > MAX_CELL_BYTES:
            raise StoreError(f"scan {self.scan_id} declares {shape} cells, more than any scan")
        if self._cells is None:
            self._cells = open_array(
                self.folder / "result", "cells", dtypes=("<f8",), shape=shape
            )
        return read_slice(self._cells, 0, shape[0])


def find_scans(run: Path) -> tuple[ScanReader, ...]:
    """The scans of a run, oldest first."""
    folder = run / "scans"
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.name[:1] != ".")
    except OSError:
        return ()
    return tuple(
        ScanReader(run, name) for name in names if (folder / name / "zarr.json").is_file()
    )


def cancel(folder: Path) -> None:
    """Ask for a scan to stop; its worker keeps what is done.

    Args:
        folder: The scan's folder.

    Raises:
        StoreError: The folder cannot be written.
    """
    try:
        (folder / CANCEL_NAME).touch()
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}") from None


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
        shutil.rmtree(building, ignore_errors=True)
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
