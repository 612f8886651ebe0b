"""Commits from a thread of their own, so that training does not wait for the disk.

Records and checkpoints are handed over as copies on the host and committed in order, every
record before the checkpoint that contains its epoch. While the disk is full, or fails, they
wait in memory and are tried again; what is committed is never touched by that.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Int

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.schema import RunState
from lossviz_analysis.store.space import is_disk_full
from lossviz_analysis.store.writer import RunWriter

RETRY_SECONDS = 5.0
PATIENCE_SECONDS = 600.0
"""How long a disk may fail for other reasons than being full before the run is given up."""
_LOOK_SECONDS = 0.1
_ENDS = (RunState.FINISHED, RunState.FAILED, RunState.STOPPED, RunState.PAUSED)

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Record:
    counts: np.ndarray
    scalars: Mapping[str, float]
    number: int | None = None
    """Once it is committed."""


@dataclass(frozen=True, eq=False)
class _Pending:
    content: Checkpoint
    is_best: bool
    after: _Record | None
    """The record handed over before it; None for that of an earlier attempt."""
    arrive: Callable[[], object] | None
    """Waits for what is still being copied into its arrays."""


@dataclass
class _Queue:
    """What waits; guarded by the backlog's condition."""

    records: deque[_Record] = field(default_factory=deque[_Record])
    checkpoints: deque[_Pending] = field(default_factory=deque[_Pending])
    is_closing: bool = False
    is_committing: bool = False
    """Whether a checkpoint is being written; a record stays in the queue meanwhile."""
    is_working: bool = False
    """Whether the thread has something to do still, if only to say that all is well again."""

    def __len__(self) -> int:
        return len(self.records) + len(self.checkpoints)

    @property
    def record_bytes(self) -> int:
        return sum(record.counts.nbytes for record in self.records)


class Backlog:
    """Commits a run's records and checkpoints in the background, in order."""

    def __init__(
        self,
        writer: RunWriter,
        *,
        max_records: int = 256,
        max_record_bytes: int = 2**30,
        when_full: Literal["wait", "drop"] = "wait",
        on_trouble: Callable[[str], None] | None = None,
        should_give_up: Callable[[], bool] | None = None,
        retry_seconds: float = RETRY_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Start the thread that commits.

        Args:
            writer: An open writer; from here on nobody else commits with it.
            max_records: Records that may wait.
            max_record_bytes: And what their counts may take.
            when_full: What happens to a record beyond that: the caller waits, or the oldest one
                is given up. With "wait" the caller also waits while a checkpoint before is
                still to be begun, unless writing is in trouble: then only the newest and the
                best one are kept.
            on_trouble: Called with a sentence, on the thread, when writing begins to fail.
            should_give_up: Ends a wait of the caller's; asked ten times a second.
            retry_seconds: Between two tries.
            patience_seconds: See PATIENCE_SECONDS.
        """
        self.writer = writer
        self.trouble = ""
        """Why nothing is written at present; empty when all is well."""
        self.dropped = 0
        """Records given up."""
        self._max_records = max_records
        self._max_record_bytes = max_record_bytes
        self._may_wait = when_full == "wait"
        self._on_trouble = on_trouble
        self._should_give_up = should_give_up
        self._retry_seconds = retry_seconds
        self._patience_seconds = patience_seconds
        self._queue = _Queue()
        self._changed = threading.Condition()
        self._last: _Record | None = None
        self._before = writer.head.num_records - 1
        self._failure: Exception | None = None
        self._failing_since = 0.0
        self._state_before = RunState.RUNNING
        self._saying = threading.Lock()
        self._has_end = False
        self._thread = threading.Thread(target=self._work, name="lossviz-commits", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Records and checkpoints not committed yet."""
        with self._changed:
            return len(self._queue) + self._queue.is_committing

    @property
    def failure(self) -> Exception | None:
        """What ended the thread for good; None as long as it lives."""
        return self._failure

    def record(
        self, counts: Int[np.ndarray, "split true predicted"], scalars: Mapping[str, float]
    ) -> None:
        """Hand over one epoch.

        Args:
            counts: Confusion counts of the train and the test split; not to be changed after.
            scalars: Values of the scalar columns; `epoch` is required.

        Raises:
            StoreError: It is no record of this run, or nothing can be written any more.
        """
        self.writer.check_record(counts, scalars)
        record = _Record(counts, {"wall_time": time.time()} | dict(scalars))
        with self._changed:
            self._raise_failure()
            if self._may_wait:
                self._wait_until(lambda: self._fits(counts.nbytes))
                self._raise_failure()
            while self._queue.records and not self._fits(counts.nbytes):
                self._queue.records.popleft()
                self.dropped += 1
            self._queue.records.append(record)
            self._last = record
            self._changed.notify_all()

    def checkpoint(
        self,
        content: Checkpoint,
        *,
        is_best: bool = False,
        arrive: Callable[[], object] | None = None,
    ) -> None:
        """Hand over a checkpoint, which contains the epochs of all records handed over before.

        Args:
            content: The state; its arrays are not to be changed after.
            is_best: Whether it is the best so far.
            arrive: Where copies into the arrays are under way: waits for them. Called on the
                thread, again for every try.

        Raises:
            StoreError: Nothing can be written any more.
        """
        with self._changed:
            self._raise_failure()
            pending = self._queue.checkpoints
            if self._may_wait:
                self._wait_until(lambda: not pending or bool(self.trouble))
                self._raise_failure()
            # Only the newest is needed to go on from, and the best to look at.
            kept = [waiting for waiting in pending if waiting.is_best and not is_best]
            pending.clear()
            pending.extend([*kept, _Pending(content, is_best, self._last, arrive)])
            self._changed.notify_all()

    def say(self, state: RunState, message: str = "") -> None:
        """Publish a state, if need be with the room kept for that, as far as the disk lets it.

        After an end of the run the thread says nothing any more of its own.

        Args:
            state: The state.
            message: One sentence for people, or none.
        """
        with self._saying:
            self._has_end = state in _ENDS
            self._publish(state, message)

    def _publish(self, state: RunState, message: str) -> None:
        for is_last_chance in (state in _ENDS, True, True):
            try:
                self.writer.set_state(state, message)
            except OSError:
                # What is given up first can be taken by whoever fills the disk.
                if not self.writer.ballast.drop(to_the_last=is_last_chance):
                    return
            except StoreError:
                return
            else:
                return

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything handed over is committed.

        Args:
            timeout: Seconds to wait at most; None waits as long as it takes.

        Returns:
            Whether it is.

        Raises:
            StoreError: Nothing can be written any more.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._wait_until(lambda: not self._queue and not self._queue.is_working, deadline)
            self._raise_failure()
            return not self._queue and not self._queue.is_committing

    def close(self, timeout: float | None = None) -> bool:
        """Commit what is left, as far as that goes in time, and end the thread.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether everything handed over is committed.
        """
        is_done = False
        with contextlib.suppress(LossvizError):
            is_done = self.flush(timeout)
        with self._changed:
            self._queue.is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return is_done

    def _fits(self, num_bytes: int) -> bool:
        queue = self._queue
        return len(queue.records) < self._max_records and (
            queue.record_bytes + num_bytes <= self._max_record_bytes or not queue.records
        )

    def _wait_until(self, condition: Callable[[], bool], deadline: float | None = None) -> None:
        """Wait on the condition variable, which the caller holds."""
        while not condition() and self._failure is None and not self._queue.is_closing:
            if self._should_give_up is not None and self._should_give_up():
                return
            if deadline is not None and time.monotonic() >= deadline:
                return
            self._changed.wait(_LOOK_SECONDS)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise StoreError(str(self._failure)) from self._failure

    def _work(self) -> None:
        try:
            while self._wait_for_work():
                self._commit_all()
        except Exception as error:
            if not isinstance(error, LossvizError):
                log.exception("nothing can be written any more")
            with self._changed:
                self._failure = error
                self._queue.is_committing = self._queue.is_working = False
                self._changed.notify_all()
            if self._on_trouble is not None:
                self._on_trouble(str(error))

    def _wait_for_work(self) -> bool:
        """Wait for something to commit; False when there will be nothing more."""
        with self._changed:
            self._queue.is_working = False
            self._changed.notify_all()
            while not self._queue and not self._queue.is_closing:
                self._changed.wait()
            self._queue.is_working = not self._queue.is_closing
            return self._queue.is_working

    def _commit_all(self) -> None:
        """Commit what waits, records first; on an error of the disk say so and come back.

        Raises:
            StoreError: The run is no longer this writer's.
        """
        try:
            while self._commit_next():
                pass
        except OSError as error:
            self._fail(error)
        except StoreError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            self._fail(error.__cause__)
        if self.trouble and not self.waiting:
            self._recover()

    def _commit_next(self) -> bool:
        with self._changed:
            queue = self._queue
            record = queue.records[0] if queue.records else None
            pending = queue.checkpoints[0] if queue.checkpoints and record is None else None
            if queue.is_closing or (record is None and pending is None):
                return False
            if pending is not None:
                queue.checkpoints.popleft()
            queue.is_committing = pending is not None
        before = self.writer.head
        try:
            if record is not None:
                self.writer.commit_record(record.counts, record.scalars)
            elif pending is not None:
                if pending.arrive is not None:
                    pending.arrive()
                self.writer.commit_checkpoint(
                    pending.content, is_best=pending.is_best, record=self._record_of(pending)
                )
        finally:
            after = self.writer.head
            with self._changed:
                queue.is_committing = False
                # Also after an error: what the head names is committed.
                if record is not None and after.num_records > before.num_records:
                    record.number = before.num_records
                    if queue.records and queue.records[0] is record:
                        queue.records.popleft()
                elif (
                    pending is not None and after.latest_checkpoint == before.latest_checkpoint
                ):
                    self._put_back(pending)
                self._changed.notify_all()
        return True

    def _record_of(self, pending: _Pending) -> int:
        """Number of the record of a checkpoint's epoch; records overtake checkpoints."""
        if pending.after is None:
            return self._before
        number = pending.after.number
        return self.writer.head.num_records - 1 if number is None else number

    def _put_back(self, pending: _Pending) -> None:
        """Keep a checkpoint that could not be written, unless a newer one makes it needless."""
        newer = self._queue.checkpoints
        if not newer or (pending.is_best and not any(other.is_best for other in newer)):
            newer.appendleft(pending)

    def _fail(self, error: OSError) -> None:
        """Say that nothing can be written, and wait before the next try.

        Raises:
            StoreError: It has been so for too long.
        """
        now, is_full = time.monotonic(), is_disk_full(error)
        if not self.trouble:
            self._failing_since = now
            self._state_before = self.writer.head.state
        if not is_full and now - self._failing_since > self._patience_seconds:
            raise StoreError(
                f"{self.writer.path} could not be written for "
                f"{self._patience_seconds:.0f} s: {error.strerror}"
            ) from error
        what = "the disk is full" if is_full else f"{error.strerror or error}"
        sentence = f"{what}: {self._inventory()} in memory until it can be written"
        is_new = not self.trouble
        self.trouble = sentence
        if is_new:
            (self._on_trouble or log.warning)(sentence)
        has_room_again = is_full and self._make_room_for_records()
        with self._saying:
            if not self._has_end:
                state = RunState.DISK_FULL if is_full else self.writer.head.state
                self._publish(state, sentence)
        if has_room_again:
            return  # whoever fills the disk fills that, too: the next try is to come first
        with self._changed:
            deadline = time.monotonic() + self._retry_seconds
            while not self._queue.is_closing and (rest := deadline - time.monotonic()) > 0:
                self._changed.wait(rest)

    def _make_room_for_records(self) -> bool:
        """Give up the ballast where records wait; a checkpoint has more to ask for than that.

        Returns:
            Whether there was any.
        """
        with self._changed:
            has_records = bool(self._queue.records)
        return has_records and self.writer.ballast.drop()

    def _inventory(self) -> str:
        with self._changed:
            counts = {
                "epoch": len(self._queue.records),
                "checkpoint": len(self._queue.checkpoints),
            }
        parts = [f"{n} {word}{'s' if n > 1 else ''}" for word, n in counts.items() if n]
        verb = "wait" if sum(counts.values()) > 1 else "waits"
        return f"{' and '.join(parts)} {verb}"

    def _recover(self) -> None:
        """Everything is written again."""
        log.info("everything that waited is written")
        self.writer.ballast.load()
        self.trouble = ""
        with self._saying:
            if not self._has_end:
                state = self.writer.head.state
                # Somebody else may have said something newer.
                is_ours = state == RunState.DISK_FULL
                self._publish(self._state_before if is_ours else state, "")
