"""A process that imports torch once and forks lives from it: trainers and scan workers.

Importing torch takes seconds, a fork milliseconds. A forked life is a process like any other: a
session of its own, its own log, no lock inherited (locks are lockf), and `os._exit` at its end.

Standard input takes one JSON object a line, standard output answers with one a line:

    {"job": "train", "spec": {...}, "log": PATH, "mark": PATH, "plant": WORD}   {"pid": N}
    {"job": "work", "run": PATH, "log": PATH, "mark": PATH, "plant": WORD}      {"pid": N}
    {"job": "poll", "pid": N}               {"code": CODE or null}

When standard input ends, all lives are killed.
"""

import functools
import json
import mmap
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lossviz_analysis.store import checkpoints, scan_writer, writer
from lossviz_analysis.store.backlog import Backlog
from lossviz_analysis.store.head import read_run_head, write_head
from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.writer import RunWriter
from lossviz_trainer import daemon, worker
from lossviz_trainer.loop import Trainer
from lossviz_trainer.spec import TrainingSpec
from lossviz_trainer.step import TrainingStep

MARKS = (
    "starting",
    "opening, sweeping",
    "restoring",
    "a step",
    "evaluating",
    "between",
    "a record",
    "a checkpoint",
    "thinning out",
)
"""What a life is about, by the byte it leaves in its mark file: first the training thread, then
the thread that commits."""

CRASHED = 70
"""Exit code of a life that ended with an exception."""

_lives: set[int] = set()


def main() -> None:
    torch.set_num_threads(1)
    # The first optimiser and the first masked array import for seconds; no thread is started.
    weight = torch.nn.Parameter(torch.zeros(1))
    torch.optim.SGD([weight], lr=0.1).step()
    np.ma.masked_array([0])
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise RuntimeError("a process with threads must not be forked")
    _answer(ready=os.getpid())
    try:
        for line in sys.stdin:
            asked = json.loads(line)
            match asked["job"]:
                case "poll":
                    _answer(code=_wait(asked["pid"]))
                case _:
                    _answer(pid=_fork(asked))
    finally:
        for pid in _lives:
            os.kill(pid, signal.SIGKILL)


def _answer(**values: int | None) -> None:
    os.write(1, (json.dumps(values) + "\n").encode())


def _wait(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    if found == 0:
        return None
    _lives.discard(pid)
    return os.waitstatus_to_exitcode(status)


def _fork(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        _lives.add(pid)
        return pid
    # The interpreter's own end would run what belongs to the nursery.
    code = CRASHED
    try:
        code = _live(asked)
    finally:
        if code == CRASHED:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)


def _live(asked: dict[str, Any]) -> int:
    os.setsid()
    _lives.clear()
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for standard, descriptor in enumerate((nothing, log, log)):
        os.dup2(descriptor, standard)
    os.close(nothing)
    os.close(log)
    _hurry()
    _mark(Path(asked["mark"]))
    if asked["plant"]:
        PLANTS[asked["plant"]]()
    if asked["job"] == "work":
        return worker.work(Path(asked["run"]))
    return daemon.train(TrainingSpec.from_json(json.dumps(asked["spec"])))


def _hurry() -> None:
    """Write signs of life and partial scans much more often, so that kills fall into them."""
    writer.PULSE_SECONDS = 0.01
    scan_writer.FLUSH_SECONDS = 0.01
    scan_writer.DURABLE_SECONDS = 0.1
    scan_writer.FULL_DISK_SECONDS = worker.FULL_DISK_SECONDS = 0.2
    defaults: Any = Backlog.__init__.__kwdefaults__
    defaults["retry_seconds"] = 0.2


def _mark(path: Path) -> None:
    """Keep in a file what this process is about, for whoever kills it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(descriptor, 2)
    marks: Any = mmap.mmap(descriptor, 2)
    marks[:] = bytes((0, MARKS.index("between")))
    os.close(descriptor)
    main_thread = threading.main_thread()

    def around(owner: Any, name: str, mark: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)
        byte = MARKS.index(mark)

        @functools.wraps(inner)
        def marked(*arguments: Any, **options: Any) -> Any:
            slot = 0 if threading.current_thread() is main_thread else 1
            before, marks[slot] = marks[slot], byte
            try:
                return inner(*arguments, **options)
            finally:
                marks[slot] = before

        setattr(owner, name, marked)

    def between(*_arguments: Any) -> None:
        marks[0] = MARKS.index("between")

    around(RunWriter, "open", "opening, sweeping")
    around(daemon, "restore", "restoring")
    around(TrainingStep, "__call__", "a step")
    around(Trainer, "_evaluate", "evaluating")
    around(RunWriter, "commit_record", "a record")
    around(RunWriter, "commit_checkpoint", "a checkpoint")
    around(RunWriter, "_thin_out", "thinning out")
    inner_run = Trainer.run

    def run(self: Trainer, *arguments: Any, **options: Any) -> bool:
        between()
        return inner_run(self, *arguments, **options)

    Trainer.run = run


def _replace(owner: Any, name: str, other: Callable[..., Any]) -> None:
    setattr(owner, name, other)


class _Late:
    """An array that is written only when it is told to."""

    def __init__(self, array: Any) -> None:
        self.shape = array.shape
        self._array = array
        self._waiting: list[tuple[Any, Any]] = []

    def __setitem__(self, key: Any, value: Any) -> None:
        self._waiting.append((key, value))

    def write(self) -> None:
        while self._waiting:
            key, value = self._waiting.pop()
            self._array[key] = value


def _plant_head_first() -> None:
    """A record's head is published before its counts."""
    honest = RunWriter.commit_record

    def commit_record(self: Any, *arguments: Any) -> int:
        array = self._confusion
        self._confusion = late = _Late(array)
        number = honest(self, *arguments)
        time.sleep(0.3)
        late.write()
        self._confusion = array
        return number

    _replace(RunWriter, "commit_record", commit_record)


def _plant_forgotten_record() -> None:
    """A start takes the newest record back."""
    honest = RunWriter.open

    def open_one_back(self: RunWriter, **options: Any) -> None:
        head = read_run_head(self.path / "records")
        write_head(self.path / "records", head.next(num_records=max(0, head.num_records - 1)))
        honest(self, **options)

    RunWriter.open = open_one_back


def _plant_lost_checkpoint() -> None:
    """Retention takes one of the last three as well."""
    honest = writer.expendable

    def too_many(infos: Any, **options: Any) -> tuple[int, ...]:
        second = tuple(info.number for info in infos[-2:-1])
        return tuple({*honest(infos, **options), *second})

    writer.expendable = too_many


def _plant_torn_checkpoint() -> None:
    """A checkpoint is published with one weight other than its digest says."""
    honest = writer.write_checkpoint

    def write(run: Path, number: int, *arguments: Any, **options: Any) -> Any:
        info = honest(run, number, *arguments, **options)
        attributes = checkpoints.checkpoint_folder(run, number) / "zarr.json"
        attributes.write_text(attributes.read_text().replace(info.digest, "0" * 32))
        return info

    writer.write_checkpoint = write


def _plant_no_momentum() -> None:
    """A resume forgets the momenta."""
    honest = daemon.restore
    daemon.restore = lambda model, content, _optimiser=None: honest(model, content)


def _plant_changed_cells() -> None:
    """A worker that goes on with a scan changes what was done."""
    honest = ScanWriter.resume

    def resume(self: ScanWriter, geometry: Any) -> None:
        honest(self, geometry)
        self.cells[:, :, 1:] += 1
        self._touched.update(range(-(-geometry.num_points // self._tile)))

    ScanWriter.resume = resume


def _plant_litter() -> None:
    """A start does not sweep, and every record leaves a temporary file."""
    honest = RunWriter.commit_record
    writer.sweep = lambda _folder: None

    def commit_record(self: Any, *arguments: Any) -> int:
        (self.path / "records" / f"left.{time.monotonic_ns()}.partial").touch()
        return honest(self, *arguments)

    _replace(RunWriter, "commit_record", commit_record)


def _plant_dropped_epoch() -> None:
    """What waits for a full disk is not tried again, but given up."""
    honest: Callable[..., None] = Backlog._fail

    def fail(self: Any, error: OSError) -> None:
        self._queue.records.clear()
        honest(self, error)

    _replace(Backlog, "_fail", fail)


PLANTS: dict[str, Callable[[], None]] = {
    "head-first": _plant_head_first,
    "forgotten-record": _plant_forgotten_record,
    "lost-checkpoint": _plant_lost_checkpoint,
    "torn-checkpoint": _plant_torn_checkpoint,
    "no-momentum": _plant_no_momentum,
    "changed-cells": _plant_changed_cells,
    "litter": _plant_litter,
    "dropped-epoch": _plant_dropped_epoch,
}
"""Defects put in on purpose, to see that they are found."""

if __name__ == "__main__":
    main()
