"""The one writer of a run: records, checkpoints, state, and the volatile signs of life."""

import contextlib
import errno
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
import zarr
from jaxtyping import Int

from lossviz_analysis.store.checkpoints import (
    Checkpoint,
    CheckpointInfo,
    checkpoint_folder,
    numbers_on_disk,
    read_info,
    size_of,
    write_checkpoint,
)
from lossviz_analysis.store.chunks import open_array
from lossviz_analysis.store.control import Wish, ask, read_wish
from lossviz_analysis.store.description import RunDescription, read_description, refuse_links
from lossviz_analysis.store.durable import (
    PARTIAL_SUFFIX,
    TRASH_PREFIX,
    discard,
    put_somehow,
    set_aside,
    sweep,
)
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.head import (
    RunHead,
    TornHeadError,
    read_run_head,
    write_block,
    write_head,
    write_state,
)
from lossviz_analysis.store.lock import WriterLock
from lossviz_analysis.store.pins import Pins
from lossviz_analysis.store.retention import FREE_SPACE_SHARE, Retention, expendable
from lossviz_analysis.store.schema import (
    CONTROL_NAME,
    MESSAGE_NAME,
    SCALAR_CHUNK_ROWS,
    SPLITS,
    STEP_COLUMNS,
    STEP_RING_ROWS,
    Phase,
    RunState,
)
from lossviz_analysis.store.space import Ballast, has_room
from lossviz_analysis.store.zarr_arrays import Stored, writable_group

PULSE_SECONDS = 0.5


class RunWriter:
    """Writes one run for as long as it holds the run's lock.

    Memory follows disk and never leads: after an exception in the middle of a commit `head`
    says what is on disk. Where that is still the old one, the same commit can be tried again;
    where it is the new one, which readers may have seen, the commit stands, and only a power
    cut before the next one could take it back.
    Records and checkpoints are committed by one thread at a time; signs of life, wishes and the
    state may come from another.
    """

    def __init__(
        self, path: Path, *, retention: Retention | None = None, program: str = "train"
    ) -> None:
        self.path = path
        self.ballast = Ballast(path)
        self._retention = retention or Retention()
        self._lock = WriterLock(path, program=program)
        self._publishing = threading.RLock()
        self._beats = 0
        self._last_pulse = -math.inf
        self._ring = np.full((STEP_RING_ROWS, len(STEP_COLUMNS)), np.nan, "<f4")
        self._pins = Pins(path)
        self._infos: dict[int, CheckpointInfo] | None = None
        self._description: RunDescription
        self._head: RunHead
        self._confusion: Stored
        self._scalars: Stored
        self._tail: np.ndarray

    def open(self, *, adopting: int | None = None) -> None:
        """Take the lock, sweep what a killed writer left, and begin a new attempt.

        Args:
            adopting: A descriptor of the lock, handed over by the program before; None takes
                the lock anew.

        Raises:
            StoreError: There is no readable run, or another process writes it.
        """
        self._description = read_description(self.path)
        refuse_links(self.path)
        if adopting is None:
            self._lock.acquire()
        else:
            self._lock.adopt(adopting)
        try:
            self._head = read_run_head(self.path / "records")
            self._take_back_pinned()
            for owned in ("records", "live", "checkpoints"):
                sweep(self.path / owned)
            for name in (MESSAGE_NAME, CONTROL_NAME):
                for left in self.path.glob(f"{name}.*{PARTIAL_SUFFIX}"):
                    left.unlink(missing_ok=True)
            self._drop_unpublished_checkpoints()
            # A wish was meant for the writer before.
            ask(self.path, Wish.NOTHING)
            records = writable_group(self.path / "records")
            self._confusion = _array(records, "confusion")
            self._scalars = _array(records, "scalars")
            self._tail = self._load_tail()
            self._publish(attempt=self._head.attempt + 1)
            self.ballast.load()
        except OSError as error:
            self._lock.release()
            raise StoreError(f"{self.path} cannot be written: {error.strerror}") from error
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
        """Give the lock back; what is committed stays, no wish is left to the next writer."""
        if self._lock.is_intact():
            self.ballast.drop(to_the_last=True)
            with contextlib.suppress(StoreError):
                ask(self.path, Wish.NOTHING)
        self._lock.release()

    def hand_over(self) -> int:
        """Keep the lock through an `exec`; nothing is to be written after.

        Returns:
            The descriptor for the program to come.
        """
        self.ballast.drop(to_the_last=True)
        return self._lock.hand_over()

    @property
    def head(self) -> RunHead:
        """What is committed."""
        return self._head

    @property
    def description(self) -> RunDescription:
        """What the run is."""
        return self._description

    def wish(self) -> Wish:
        """What somebody asks of this writer; one small file is opened."""
        return read_wish(self.path)

    def check_record(
        self, counts: Int[np.ndarray, "..."], scalars: Mapping[str, float]
    ) -> None:
        """See whether a record is one of this run.

        Args:
            counts: Confusion counts of the train and the test split.
            scalars: Values of the scalar columns.

        Raises:
            StoreError: The counts have another shape or are negative, a column is unknown, or
                the epoch is missing.
        """
        num_classes = self._description.num_classes
        if counts.shape != (len(SPLITS), num_classes, num_classes):
            raise StoreError(
                f"counts should have shape ({len(SPLITS)}, {num_classes}, {num_classes}); "
                f"got {counts.shape}"
            )
        if counts.min() < 0 or counts.max() > np.iinfo(np.int32).max:
            raise StoreError("counts should be from 0 to 2**31 - 1")
        if unknown := set(scalars) - set(self._description.scalar_columns):
            raise StoreError(f"this run has no scalar columns {sorted(unknown)}")
        if "epoch" not in scalars:
            raise StoreError("a record needs its epoch")

    def commit_record(
        self, counts: Int[np.ndarray, "split true predicted"], scalars: Mapping[str, float]
    ) -> int:
        """Commit one epoch: counts, then scalars, then the head, each durable.

        Args:
            counts: Confusion counts of the train and the test split.
            scalars: Values of the scalar columns; `epoch` is required, absent ones are NaN,
                `attempt` is filled in, and `wall_time` where it is absent.

        Returns:
            The record's number.

        Raises:
            StoreError: The record is not one of this run, the run is full, or it is no longer
                this writer's.
        """
        self.check_record(counts, scalars)
        number = self._head.num_records
        if number >= min(self._confusion.shape[0], self._scalars.shape[0]):
            raise StoreError(f"{self.path} is full: it holds {number} records")
        self._check_still_mine()
        values = {"wall_time": time.time()} | dict(scalars)
        values["attempt"] = float(self._head.attempt)
        first = number - number % SCALAR_CHUNK_ROWS
        tail = self._tail.copy() if number > first else np.full_like(self._tail, np.nan)
        tail[number - first] = [
            values.get(c, math.nan) for c in self._description.scalar_columns
        ]
        self._confusion[number] = counts.astype("<i4", copy=False)
        # The whole chunk, from memory: read-modify-write would turn a chunk that reads as
        # missing into NaN.
        self._scalars[first : first + SCALAR_CHUNK_ROWS] = tail
        self._tail = tail
        self._publish(num_records=number + 1)
        return number

    def commit_checkpoint(
        self, content: Checkpoint, *, is_best: bool = False, record: int | None = None
    ) -> CheckpointInfo:
        """Commit a checkpoint, then thin out older ones by the retention rule.

        Args:
            content: The state.
            is_best: Whether it is the best so far.
            record: Number of its epoch's record, -1 before the first; None means the newest.

        Returns:
            What is now known of it.

        Raises:
            StoreError: The run is no longer this writer's.
            OSError: It does not fit on the disk, also after older ones were thinned out.
        """
        self._check_still_mine()
        self._make_room(size_of(content))
        number = self._head.latest_checkpoint + 1
        record = self._head.num_records - 1 if record is None else record
        folder = checkpoint_folder(self.path, number)
        discard(folder)
        try:
            info = write_checkpoint(
                self.path, number, content, record=record, attempt=self._head.attempt
            )
            best = {"best_checkpoint": number} if is_best else {}
            self._publish(latest_checkpoint=number, latest_checkpoint_record=record, **best)
        except BaseException:
            if self._head.latest_checkpoint < number:
                with contextlib.suppress(OSError):
                    discard(folder)
            raise
        self._known_infos()[number] = info
        self._thin_out(self._budget())
        return info

    def set_state(self, state: RunState, message: str = "") -> None:
        """Say what the run is doing now.

        Args:
            state: The state.
            message: One sentence for people, or none.

        Raises:
            StoreError: The run is no longer this writer's.
            OSError: It could not be written.
        """
        with self._publishing:
            self._check_still_mine()
            try:
                # Never empty, so that there is a block to write over.
                put_somehow(self.path / MESSAGE_NAME, f"{message}\n".encode())
            finally:
                self._put_head(write_state, {"state": state})

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
        if not (is_last or self.pulse_is_due()) or not self._lock.is_intact():
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

    def _publish(self, **changes: int) -> None:
        """Commit what was written by naming it in the head.

        Raises:
            OSError: The head could not be written durably.
        """
        self._put_head(write_head, changes)

    def _put_head(
        self, write: Callable[[Path, RunHead], None], changes: Mapping[str, int]
    ) -> None:
        with self._publishing:
            self._check_still_mine()
            head = self._head.next(**changes)
            try:
                write(self.path / "records", head)
            except OSError:
                # Renamed, though its folder was not synced: readers have seen it, so it stands,
                # and the next head makes it durable.
                with contextlib.suppress(TornHeadError):
                    if read_run_head(self.path / "records") == head:
                        self._head = head
                raise
            self._head = head

    def _check_still_mine(self) -> None:
        """See to it that nobody else took the run over, moved it, or put another in its place.

        Raises:
            StoreError: Somebody did.
        """
        if not self._lock.is_intact():
            raise StoreError(f"{self.path} was moved or deleted while it was being written")
        # Not while another thread has replaced the head and not yet remembered it.
        with self._publishing:
            try:
                found = read_run_head(self.path / "records")
            except TornHeadError:
                return  # damaged on disk, under a lock that is ours: the next one mends it
            if (found.nonce, found.sequence) != (self._head.nonce, self._head.sequence):
                raise StoreError(
                    f"{self.path} was changed by somebody else while it was written"
                )

    def _load_tail(self) -> np.ndarray:
        columns = len(self._description.scalar_columns)
        tail = np.full((SCALAR_CHUNK_ROWS, columns), np.nan, "<f8")
        inside = self._head.num_records % SCALAR_CHUNK_ROWS
        if inside:
            stored = open_array(
                self.path / "records", "scalars", dtypes=("<f8",), shape=(None, columns)
            )
            first = self._head.num_records - inside
            tail[:inside] = stored.read(first, first + inside)
        return tail

    def _take_back_pinned(self) -> None:
        """Undo the thinning of a checkpoint that a scan asked for in that very moment."""
        pinned = self._pins.numbers()
        for trash in (self.path / "checkpoints").glob(f"{TRASH_PREFIX}c*"):
            digits = trash.name.removeprefix(f"{TRASH_PREFIX}c").partition("-")[0]
            number = int(digits) if digits.isascii() and digits.isdecimal() else 0
            folder = checkpoint_folder(self.path, number)
            if number in pinned and number <= self._head.latest_checkpoint:
                with contextlib.suppress(OSError):
                    trash.rename(folder)

    def _drop_unpublished_checkpoints(self) -> None:
        for number in numbers_on_disk(self.path):
            if number > self._head.latest_checkpoint:
                discard(checkpoint_folder(self.path, number))

    def _known_infos(self) -> dict[int, CheckpointInfo]:
        """The published checkpoints on disk; read once, as there can be thousands."""
        if self._infos is None:
            self._infos = {}
            for number in numbers_on_disk(self.path):
                if number <= self._head.latest_checkpoint:
                    with contextlib.suppress(StoreError):
                        self._infos[number] = read_info(self.path, number)
        return self._infos

    def _budget(self) -> int:
        kept = sum(info.num_bytes for info in self._known_infos().values())
        share = int(FREE_SPACE_SHARE * (shutil.disk_usage(self.path).free + kept))
        return min(self._retention.budget_bytes, share)

    def _make_room(self, num_bytes: int) -> None:
        if has_room(self.path, num_bytes):
            return
        self._thin_out(0)
        if not has_room(self.path, num_bytes):
            raise OSError(
                errno.ENOSPC,
                f"no room for a checkpoint of {num_bytes / 1e6:.0f} MB",
                str(self.path),
            )

    def _thin_out(self, budget: int) -> None:
        infos = self._known_infos()
        victims = expendable(
            [infos[number] for number in sorted(infos)],
            best=self._head.best_checkpoint,
            pinned=self._pins.numbers(),
            retention=Retention(keep_last=self._retention.keep_last, budget_bytes=budget),
        )
        for number in victims:
            folder = checkpoint_folder(self.path, number)
            trash = set_aside(folder)
            # Somebody may have asked for a scan of it in this very moment.
            if trash is not None and number in self._pins.numbers():
                trash.rename(folder)
                continue
            infos.pop(number)
            if trash is not None:
                shutil.rmtree(trash, ignore_errors=True)


def _array(group: zarr.Group, name: str) -> Stored:
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise StoreError(f"{name} should be an array")
    return found
