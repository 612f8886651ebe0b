"""A run that is being written beside a training loop of the user's: what works in background.

The loop hands over and goes on. One thread commits (see Backlog), another gives signs of life
and looks whether somebody asks the loop to stop.
"""

import atexit
import logging
import math
import os
import re
import sys
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lossviz_analysis.errors import LossvizError, describe
from lossviz_analysis.store.backlog import Backlog
from lossviz_analysis.store.control import Wish
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.retention import Retention
from lossviz_analysis.store.schema import Phase, RunState
from lossviz_analysis.store.writer import RunWriter

BEAT_SECONDS = 2.0
LOOK_SECONDS = 0.25
READ_SECONDS = 0.5
"""Between two looks at a loss on the device."""
TROUBLED_SECONDS = 10.0
"""How long the end of a run waits for a disk that fails."""
PATIENT_SECONDS = 600.0
"""How long it waits for one that is only slow."""

log = logging.getLogger("lossviz_trainer")


class Reporter:
    """Says each kind of trouble once, and never raises."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def say(self, what: str, sentence: str, *, error: BaseException | None = None) -> None:
        """Log a warning, unless one that differs in numbers only was logged before.

        Args:
            what: What could not be done.
            sentence: Why.
            error: With its traceback, where the reason is not the user's.
        """
        kind = (what, re.sub(r"\d+", "0", sentence))
        if kind not in self._said:
            self._said.add(kind)
            log.warning("lossviz: %s: %s", what, sentence, exc_info=error)

    def say_error(self, what: str, error: Exception) -> None:
        """Log why something failed."""
        if isinstance(error, LossvizError):
            self.say(what, str(error))
        else:
            self.say(what, describe(error), error=error)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the training loop is."""

    epoch: int = 1
    """The epoch under way, counted from 1."""
    step: int = 0
    steps_per_epoch: int = 0
    """0 where it is not known."""
    loss: float = math.nan
    images_per_second: float = math.nan
    phase: Phase = Phase.TRAINING


class LossProbe:
    """Reads a loss that lies on a device without making the training loop wait for it."""

    def __init__(self) -> None:
        self._value = math.nan
        self._room: Tensor | None = None
        self._arrival: torch.cuda.Event | None = None
        self._last_read = -math.inf

    def read(self, loss: float | Tensor) -> float:
        """The latest value known.

        Args:
            loss: One number. On a GPU a copy of it is begun at most twice a second, which a
                later call finds done.

        Returns:
            That number, or for a GPU an earlier one; NaN before the first has arrived.

        Raises:
            LossvizError: It is not one number.
        """
        if not isinstance(loss, Tensor):
            return float(loss)
        if loss.numel() != 1:
            raise LossvizError(f"the loss should be one number; got shape {tuple(loss.shape)}")
        loss = loss.detach()
        if loss.device.type == "cpu":
            return float(loss)
        if loss.device.type == "cuda":
            self._read_cuda(loss)
        elif time.monotonic() - self._last_read >= BEAT_SECONDS:
            self._value, self._last_read = float(loss), time.monotonic()
        return self._value

    def _read_cuda(self, loss: Tensor) -> None:
        # Any question to the driver would end the capture of a graph.
        if torch.cuda.is_current_stream_capturing():
            return
        if self._arrival is not None and self._room is not None and self._arrival.query():
            self._value, self._arrival = float(self._room), None
        if self._arrival is None and time.monotonic() - self._last_read >= READ_SECONDS:
            if self._room is None:
                self._room = torch.empty((), dtype=torch.float32, device="cpu").pin_memory()
            self._room.copy_(loss.reshape(()), non_blocking=True)
            self._arrival = torch.cuda.Event()
            self._arrival.record(torch.cuda.current_stream(loss.device))
            self._last_read = time.monotonic()


class RunSession:
    """One attempt at a run, from its opening to its end, in the process that opened it."""

    def __init__(self, path: Path, retention: Retention | None, reporter: Reporter) -> None:
        """Open a run for writing.

        Args:
            path: The run's folder.
            retention: Which checkpoints to keep.
            reporter: Hears of trouble.

        Raises:
            StoreError: There is no readable run, or another process writes it.
        """
        self.last_epoch = _last_epoch(path)
        """The latest epoch handed over, in this attempt or one before."""
        self.writer = RunWriter(path, retention=retention, program="recorder")
        self.writer.open()
        self.progress = Progress()
        """Replaced as a whole by the training loop, read by the thread that gives signs of
        life."""
        self.should_stop = False
        """Whether somebody asked the loop to stop."""
        self._reporter = reporter
        self._pid = os.getpid()
        self._has_ended = False
        self._finalizer: weakref.finalize[..., Any] | None = None
        try:
            self.writer.set_state(RunState.RUNNING)
        except OSError as error:
            self.writer.close()
            raise StoreError(f"{path} cannot be written: {error.strerror}") from error
        self.backlog = Backlog(
            self.writer,
            when_full="drop",
            on_trouble=lambda sentence: reporter.say(f"run {path.name}", sentence),
        )
        self._ending = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="lossviz-beats", daemon=True)
        self._beating.start()

    def tie_to(self, owner: object) -> None:
        """See to it that the run is ended when its owner is gone, or the process is to exit.

        Args:
            owner: Not held by that.
        """
        self._finalizer = weakref.finalize(owner, self.end_forgotten)
        # atexit comes too late: by then no thread pool takes work any more, and writing needs
        # one.
        self._finalizer.atexit = False
        if not _exit_is_awaited:
            # This is where concurrent.futures itself waits for the end; the last to come is
            # called first.
            register: Any = getattr(threading, "_register_atexit", atexit.register)
            register(_end_all)
            _exit_is_awaited.append(True)
        _open_sessions.add(self)

    @property
    def is_mine(self) -> bool:
        """Whether this process opened the run, and has not ended it; a forked one did not."""
        return self._pid == os.getpid() and not self._has_ended

    def end(self, state: RunState, message: str = "") -> None:
        """Commit what waits, publish a last state, and give the run up; harmless when repeated.

        Args:
            state: How it ended.
            message: One sentence for people, or none.
        """
        if not self.is_mine:
            return
        self._has_ended = True
        if self._finalizer is not None:
            self._finalizer.detach()
        self._ending.set()
        self._beating.join(BEAT_SECONDS)
        # What it was kept for is now.
        self.writer.ballast.drop()
        is_done = self._drained()
        left, dropped = self.backlog.waiting, self.backlog.dropped
        self.backlog.close(TROUBLED_SECONDS if is_done else LOOK_SECONDS)
        if not is_done or dropped:
            why = self.backlog.trouble or str(self.backlog.failure or "the disk is too slow")
            self._reporter.say(
                f"run {self.writer.path.name}",
                f"{left + dropped} records and checkpoints were not written: {why}",
            )
        self.backlog.say(state, message)
        self.writer.close()

    def end_forgotten(self) -> None:
        """End a run whose recorder is gone without having been closed."""
        if not self.is_mine:
            return
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        planned = self.writer.description.planned_epochs
        is_cut_short = planned is not None and self.last_epoch < planned
        self.end(*ending(error, is_complete=self.is_complete and not is_cut_short))

    @property
    def is_complete(self) -> bool:
        """Whether the loop, leaving now, has done what it meant to."""
        planned = self.writer.description.planned_epochs
        return not self.should_stop or (planned is not None and self.last_epoch >= planned)

    def _drained(self) -> bool:
        started = time.monotonic()
        while time.monotonic() - started < PATIENT_SECONDS:
            try:
                if self.backlog.flush(LOOK_SECONDS):
                    return True
            except StoreError:
                return False
            if self.backlog.trouble and time.monotonic() - started > TROUBLED_SECONDS:
                return False
        return False

    def _beat(self) -> None:
        last_beat = -math.inf
        try:
            while True:
                is_last = self._ending.wait(LOOK_SECONDS)
                self.should_stop = self.should_stop or self.writer.wish() == Wish.STOP
                if is_last or time.monotonic() - last_beat >= BEAT_SECONDS:
                    last_beat = time.monotonic()
                    now = self.progress
                    self.writer.pulse(
                        epoch=now.epoch,
                        step=now.step,
                        steps_per_epoch=now.steps_per_epoch,
                        phase=now.phase,
                        loss=now.loss,
                        images_per_second=now.images_per_second,
                        is_last=is_last,
                    )
                if is_last:
                    return
        except Exception:
            log.exception("lossviz: no more signs of life are given")


def _last_epoch(path: Path) -> int:
    reader = RunReader(path)
    number = reader.head().num_records
    return int(reader.scalars(number - 1, number)[0, 0]) if number else 0


_open_sessions: "weakref.WeakSet[RunSession]" = weakref.WeakSet()
_exit_is_awaited: list[bool] = []


def _end_all() -> None:
    for session in list(_open_sessions):
        session.end_forgotten()


def ending(error: BaseException | None, *, is_complete: bool) -> tuple[RunState, str]:
    """How a run ended.

    Args:
        error: What ended it, if anything did.
        is_complete: Whether the planned epochs are done, or nobody planned any.

    Returns:
        The state, and a sentence about it or none.
    """
    if isinstance(error, KeyboardInterrupt | GeneratorExit | SystemExit):
        return RunState.STOPPED, ""
    if error is not None:
        return RunState.FAILED, describe(error)
    return (RunState.FINISHED if is_complete else RunState.STOPPED), ""
