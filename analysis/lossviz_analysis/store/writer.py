"""The one writer of a run: records, checkpoints, state, and the volatile signs of life."""

import contextlib
import math
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
import zarr
from jaxtyping import Int

from lossviz_analysis.store.checkpoints import (
    Checkpoint,
    CheckpointInfo,
    checkpoint_folder,
    read_info,
    write_checkpoint,
)
from lossviz_analysis.store.description import RunDescription, read_description
from lossviz_analysis.store.durable import (
    discard,
    fsync_folder,
    fsync_tree,
    make_folder,
    put,
    sweep,
)
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.head import (
    RunHead,
    create_head,
    read_run_head,
    write_block,
    write_head,
)
from lossviz_analysis.store.lock import WriterLock
from lossviz_analysis.store.pins import pinned_checkpoints
from lossviz_analysis.store.retention import FREE_SPACE_SHARE, Retention, expendable
from lossviz_analysis.store.schema import (
    PULSE_COLUMNS,
    RECORD_CAPACITY,
    SCALAR_CHUNK_ROWS,
    SPLITS,
    STEP_COLUMNS,
    STEP_RING_ROWS,
    Phase,
    RunState,
)
from lossviz_analysis.store.zarr_arrays import (
    Stored,
    create_array,
    new_group,
    open_array,
    read_slice,
    writable_group,
)

PULSE_SECONDS = 0.5
MESSAGE_NAME = "message.txt"
LOG_NAME = "train.log"


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
    except OSError as error:
        raise StoreError(f"{path} cannot be created: {error.strerror}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


class RunWriter:
    """Writes one run for as long as it holds the run's lock.

    Memory follows disk and never leads: an exception in the middle of a commit leaves the
    committed state as it was, in memory and on disk, and the same commit can be tried again.
    """

    def __init__(self, path: Path, *, retention: Retention | None = None) -> None:
        self.path = path
        self._retention = retention or Retention()
        self._lock = WriterLock(path)
        self._beats = 0
        self._last_pulse = -math.inf
        self._ring = np.full((STEP_RING_ROWS, len(STEP_COLUMNS)), np.nan, "<f4")
        self._description: RunDescription
        self._head: RunHead
        self._confusion: Stored
        self._scalars: Stored
        self._tail: np.ndarray

    def open(self) -> None:
        """Take the lock, sweep what a killed writer left, and begin a new attempt.

        Raises:
            StoreError: There is no readable run, or another process writes it.
        """
        self._description = read_description(self.path)
        self._lock.acquire()
        try:
            self._head = read_run_head(self.path / "records")
            for owned in ("records", "live", "checkpoints"):
                sweep(self.path / owned)
            self._drop_unpublished_checkpoints()
            records = writable_group(self.path / "records")
            self._confusion = _array(records, "confusion")
            self._scalars = _array(records, "scalars")
            self._tail = self._load_tail()
            self._publish(self._head.next(attempt=self._head.attempt + 1))
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> "RunWriter":
        """Open the run."""
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the lock back."""
        self.close()

    def close(self) -> None:
        """Give the lock back; what is committed stays."""
        self._lock.release()

    @property
    def head(self) -> RunHead:
        """What is committed."""
        return self._head

    @property
    def description(self) -> RunDescription:
        """What the run is."""
        return self._description

    def commit_record(
        self, counts: Int[np.ndarray, "split true predicted"], scalars: Mapping[str, float]
    ) -> int:
        """Commit one epoch: counts, then scalars, then the head, each durable.

        Args:
            counts: Confusion counts of the train and the test split.
            scalars: Values of the scalar columns; `epoch` is required, absent ones are NaN,
                `attempt` and `wall_time` are filled in.

        Returns:
            The record's number.

        Raises:
            StoreError: The counts have another shape, a column is unknown, or the run is full.
        """
        num_classes = self._description.num_classes
        if counts.shape != (len(SPLITS), num_classes, num_classes):
            raise StoreError(
                f"counts should have shape ({len(SPLITS)}, {num_classes}, {num_classes}); "
                f"got {counts.shape}"
            )
        if unknown := set(scalars) - set(self._description.scalar_columns):
            raise StoreError(f"this run has no scalar columns {sorted(unknown)}")
        if "epoch" not in scalars:
            raise StoreError("a record needs its epoch")
        number = self._head.num_records
        if number >= RECORD_CAPACITY:
            raise StoreError(f"{self.path} is full: it holds {RECORD_CAPACITY} records")
        values = {"attempt": float(self._head.attempt), "wall_time": time.time()} | dict(
            scalars
        )
        first = number - number % SCALAR_CHUNK_ROWS
        tail = self._tail.copy() if number > first else np.full_like(self._tail, np.nan)
        tail[number - first] = [
            values.get(c, math.nan) for c in self._description.scalar_columns
        ]
        self._confusion[number] = counts.astype("<i4", copy=False)
        # The whole chunk, from memory: read-modify-write would turn a chunk that reads as
        # missing into NaN.
        self._scalars[first : first + SCALAR_CHUNK_ROWS] = tail
        self._publish(self._head.next(num_records=number + 1))
        self._tail = tail
        return number

    def commit_checkpoint(
        self, content: Checkpoint, *, is_best: bool = False
    ) -> CheckpointInfo:
        """Commit a checkpoint, then thin out older ones by the retention rule.

        Args:
            content: The state.
            is_best: Whether it is the best so far.

        Returns:
            What is now known of it.
        """
        number = self._head.latest_checkpoint + 1
        record = self._head.num_records - 1
        folder = checkpoint_folder(self.path, number)
        discard(folder)
        info = write_checkpoint(
            self.path, number, content, record=record, attempt=self._head.attempt
        )
        best = number if is_best else self._head.best_checkpoint
        self._publish(
            self._head.next(
                latest_checkpoint=number, best_checkpoint=best, latest_checkpoint_record=record
            )
        )
        self._thin_out()
        return info

    def set_state(self, state: RunState, message: str = "") -> None:
        """Say what the run is doing now.

        Args:
            state: The state.
            message: One sentence for people, or none.
        """
        put(self.path / MESSAGE_NAME, message.encode(), durable=True)
        self._publish(self._head.next(state=state))

    def pulse_is_due(self) -> bool:
        """Whether a sign of life given now would be written."""
        return time.monotonic() - self._last_pulse >= PULSE_SECONDS

    def pulse(
        self,
        *,
        epoch: int,
        step: int,
        steps_per_epoch: int,
        phase: Phase,
        loss: float = math.nan,
        images_per_second: float = math.nan,
        is_last: bool = False,
    ) -> None:
        """Show that the writer lives and where it is; written at most twice a second.

        Args:
            epoch: The epoch under way, counted from 1.
            step: Steps done in it.
            steps_per_epoch: Of how many.
            phase: What is going on.
            loss: Mean loss of the latest batches.
            images_per_second: Recent speed.
            is_last: Write it now, whenever the one before was.
        """
        if not math.isnan(loss):
            total = (epoch - 1) * steps_per_epoch + step
            self._ring[total % STEP_RING_ROWS] = (total, epoch, loss, images_per_second)
        if not (is_last or self.pulse_is_due()):
            return
        self._last_pulse = time.monotonic()
        self._beats += 1
        values = (
            self._beats,
            epoch,
            step,
            steps_per_epoch,
            loss,
            images_per_second,
            phase,
            os.getpid(),
        )
        # A full disk must not stop the training because its sign of life cannot be written.
        with contextlib.suppress(OSError):
            live = self.path / "live"
            write_block(live / "heartbeat" / "c.0", np.array(values, "<f8"), durable=False)
            write_block(live / "steps" / "c.0.0", self._ring, durable=False)

    def _publish(self, head: RunHead) -> None:
        write_head(self.path / "records", head)
        self._head = head

    def _load_tail(self) -> np.ndarray:
        columns = len(self._description.scalar_columns)
        tail = np.full((SCALAR_CHUNK_ROWS, columns), np.nan, "<f8")
        inside = self._head.num_records % SCALAR_CHUNK_ROWS
        if inside:
            stored = open_array(
                self.path / "records", "scalars", dtypes=("<f8",), shape=(None, columns)
            )
            first = self._head.num_records - inside
            tail[:inside] = read_slice(stored, first, first + inside)
        return tail

    def _drop_unpublished_checkpoints(self) -> None:
        for number in _numbers_on_disk(self.path):
            if number > self._head.latest_checkpoint:
                discard(checkpoint_folder(self.path, number))

    def _thin_out(self) -> None:
        infos: list[CheckpointInfo] = []
        for number in _numbers_on_disk(self.path):
            with contextlib.suppress(StoreError):
                infos.append(read_info(self.path, number))
        kept_bytes = sum(info.num_bytes for info in infos)
        share = int(FREE_SPACE_SHARE * (shutil.disk_usage(self.path).free + kept_bytes))
        budget = min(self._retention.budget_bytes, share)
        for number in expendable(
            infos,
            best=self._head.best_checkpoint,
            pinned=pinned_checkpoints(self.path),
            retention=Retention(keep_last=self._retention.keep_last, budget_bytes=budget),
        ):
            discard(checkpoint_folder(self.path, number))


def _numbers_on_disk(run: Path) -> list[int]:
    names = (entry.name for entry in (run / "checkpoints").iterdir())
    return sorted(int(name[1:]) for name in names if name[:1] == "c" and name[1:].isdecimal())


def _array(group: zarr.Group, name: str) -> Stored:
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise StoreError(f"{name} should be an array")
    return found
