"""The one writer of a scan: cells as they are computed, and how it ended."""

import contextlib
import json
import logging
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import zarr
from jaxtyping import Float

from lossviz_analysis.store.chunks import open_array
from lossviz_analysis.store.durable import discard, fsync_folder, fsync_tree, put, sweep
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.files import read_text
from lossviz_analysis.store.head import ScanHead, read_scan_head, write_head
from lossviz_analysis.store.lock import WriterLock
from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.scan_geometry import ScanGeometry
from lossviz_analysis.store.scan_report import REPORT_NAME, ScanReport
from lossviz_analysis.store.scans import CANCEL_NAME, FOCUS_NAME, is_to_stop, read_request
from lossviz_analysis.store.schema import MESSAGE_NAME, ScanState, even_chunk
from lossviz_analysis.store.space import is_disk_full
from lossviz_analysis.store.zarr_arrays import (
    Stored,
    create_array,
    new_group,
    writable_group,
)

FLUSH_SECONDS = 0.5
YOUNG_SECONDS = 3.0
DURABLE_SECONDS = 10.0
FULL_DISK_SECONDS = 5.0
"""Between two tries to write to a full disk."""

log = logging.getLogger(__name__)


class ScanWriter:
    """Writes one scan for as long as it holds the scan's lock.

    The sums of all cells are kept in memory as float64; a flush writes the tiles that changed,
    then the head.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = WriterLock(folder)
        self._touched: set[int] = set()
        self._unsynced: set[int] = set()
        self._head = ScanHead()
        self._started = time.monotonic()
        self._flushed = self._synced = -np.inf
        self._before_ms = 0
        self._focus = ""
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
        return is_to_stop(self.folder)

    def focus(self) -> int | None:
        """The point somebody looks at, if that is another than the last time."""
        found = read_text(self.folder / FOCUS_NAME, limit=16).strip()
        if found == self._focus or not found.isdecimal() or int(found) >= len(self.cells):
            return None
        self._focus = found
        return int(found)

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
        self.cells[:] = np.nan
        stored = open_array(
            self.folder / "result", "cells", dtypes=("<f8",), shape=self.cells.shape
        )
        for tile in range(-(-geometry.num_points // self._tile)):
            rows = self._rows(tile)
            # A tile that a power cut tore is computed again.
            with contextlib.suppress(StoreError):
                self.cells[rows] = stored.read(rows.start, rows.stop)

    def _open_cells(self, geometry: ScanGeometry) -> None:
        found = writable_group(self.folder / "result", durable=False)["cells"]
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

        Unless forced, a full disk is no error: the sums stay in memory and are tried again.

        Args:
            state: What to say of the scan.
            force: Write now, and durably.

        Raises:
            StoreError: The scan was moved or deleted.
            OSError: It could not be written.
        """
        now = time.monotonic()
        # A first picture is waited for.
        is_young = now - self._started < YOUNG_SECONDS
        if not force and now - self._flushed < FLUSH_SECONDS / (5 if is_young else 1):
            return
        if not self._lock.is_intact():
            raise StoreError(f"{self.folder} was moved or deleted while it was computed")
        try:
            self._write(state, now, durable=force or now - self._synced >= DURABLE_SECONDS)
        except OSError as error:
            if force or not is_disk_full(error):
                raise
            log.warning("%s: %s", self.folder.name, error.strerror)
            self._flushed = now + FULL_DISK_SECONDS

    def _write(self, state: ScanState, now: float, *, durable: bool) -> None:
        for tile in sorted(self._touched):
            rows = self._rows(tile)
            self._array[rows] = self.cells[rows]
        self._unsynced |= self._touched
        self._touched.clear()
        if durable:
            self._sync()
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

    def _rows(self, tile: int) -> slice:
        return slice(tile * self._tile, min((tile + 1) * self._tile, len(self.cells)))

    def _sync(self) -> None:
        """Make the tiles written since the last time durable."""
        cells = self.folder / "result" / "cells"
        for tile in sorted(self._unsynced):
            with (cells / f"c.{tile}.0.0").open("rb") as file:
                os.fsync(file.fileno())
        if self._unsynced:
            fsync_folder(cells)
        self._unsynced.clear()

    def report(self, report: ScanReport) -> None:
        """Say how the scan is computed; a full disk is no error.

        Args:
            report: What is known by now.
        """
        with contextlib.suppress(OSError):
            content = json.dumps(report.to_json()).encode()
            put(self.folder / REPORT_NAME, content, durable=False)

    def finish(self, state: ScanState, message: str = "") -> None:
        """Say how the scan ended, durably, and give the lock back.

        Args:
            state: Done, failed or cancelled.
            message: The sentence for people.

        Raises:
            OSError: It could not be written; the lock is still held, and the call can be made
                again.
        """
        if message or (self.folder / MESSAGE_NAME).exists():
            put(self.folder / MESSAGE_NAME, message.encode(), durable=True)
        self.flush(state, force=True)
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


def revive(folder: Path) -> None:
    """Let a scan that was cancelled be gone on with: it is interrupted again.

    Args:
        folder: The scan's folder.

    Raises:
        StoreError: It was not cancelled, somebody computes it, or it cannot be written.
    """
    lock = WriterLock(folder)
    lock.acquire()
    try:
        head = read_scan_head(folder)
        is_marked = is_to_stop(folder)
        if head.state != ScanState.CANCELLED and not is_marked:
            raise StoreError(f"scan {folder.name} was not cancelled")
        (folder / CANCEL_NAME).unlink(missing_ok=True)
        state = ScanState.RUNNING if (folder / "result").exists() else ScanState.QUEUED
        write_head(folder, replace(head, sequence=head.sequence + 1, state=state))
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}") from None
    finally:
        lock.release()
