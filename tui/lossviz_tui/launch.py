"""Starting and stopping the processes that compute: by command line, never by import."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.control import Wish, ask, read_wish
from lossviz_analysis.store.files import open_regular
from lossviz_analysis.store.lock import Holder, is_held, read_holder
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.scans import submit
from lossviz_analysis.store.schema import RunState
from lossviz_tui.liveness import PATIENCE_SECONDS, silence

WORKER_LOG = "worker.log"
_GIB = 2**30

_children: list[subprocess.Popen[bytes]] = []
"""Kept and polled, so that a process that left does not stay as a zombie of the app."""


_worker_flags: set[str] = set()


class LaunchError(LossvizError):
    """A process could not be started, or gave up before its run existed."""


@dataclass(frozen=True, kw_only=True)
class Preparing:
    """The daemon is busy before its run exists."""

    what: str
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Created:
    """The daemon's run exists; from here on the store is the only channel."""

    run: Path


def _command(*words: str) -> list[str]:
    # -P: a file of the user's that is called like one of ours is not imported from their
    # folder.
    return [sys.executable, "-P", "-m", "lossviz_trainer", *words]


def _environment() -> dict[str, str]:
    """The environment, unless the user has said otherwise.

    glibc keeps big buffers instead of giving them back. Threads of OpenMP that wait do not
    spin: where training and scan share the cores, spinning made both up to ten times slower.
    """
    advice = {
        "MALLOC_MMAP_THRESHOLD_": str(4 * _GIB),
        "MALLOC_TRIM_THRESHOLD_": str(4 * _GIB),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    return advice | dict(os.environ)


def start_training(spec: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    """Start a training daemon in a session of its own; `events` says how it gets on."""
    return subprocess.Popen(
        _command("train", json.dumps(dict(spec))),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=_environment(),
    )


def start_bench(spec: Mapping[str, Any], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a benchmark, which prints one JSON object on each line and leaves with us."""
    return subprocess.Popen(
        _command("bench", json.dumps(dict(spec))),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=_environment(),
    )


def events(process: subprocess.Popen[bytes]) -> Iterator[Preparing | Created]:
    """What a daemon reports until its run exists.

    Raises LaunchError with the daemon's own sentence when it refuses, or with the last line it
    printed when it dies.
    """
    if process.stdout is None:
        raise LaunchError("the training process was started without a pipe to report through")
    last_line = ""
    for line in process.stdout:
        event = _event(line)
        match event.get("event"):
            case "progress":
                yield Preparing(
                    what=str(event.get("what")),
                    done=int(event.get("done", 0)),
                    total=int(event.get("total", 0)),
                )
            case "created":
                yield Created(run=Path(str(event.get("run"))))
                return
            case "error":
                process.wait()
                raise LaunchError(str(event.get("message")))
            case _:
                last_line = line.decode(errors="replace").strip() or last_line
    code = process.wait()
    raise LaunchError(f"the training process ended with code {code}: {last_line}")


def _event(line: bytes) -> dict[str, Any]:
    try:
        found: object = json.loads(line)
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def trust_factories() -> None:
    """Let workers started from here on call the factory of a run somebody else recorded."""
    _worker_flags.add("--trust")


def has_worker(run: Path) -> bool:
    """Whether a scan worker of this machine serves a run."""
    _children[:] = [child for child in _children if child.poll() is None]
    return is_held(run / "scans")


def ensure_worker(run: Path) -> None:
    """Start a scan worker for a run unless one is there; it outlives the terminal."""
    if has_worker(run):
        return
    try:
        with os.fdopen(open_regular(run / "scans" / WORKER_LOG, create=True), "ab") as log:
            worker = subprocess.Popen(
                _command("work", str(run.absolute()), *_worker_flags),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=_environment(),
            )
        _children.append(worker)
    except OSError as error:
        raise LaunchError(f"no scan worker could be started: {error.strerror}") from None


def request_scan(run: Path, request: ScanRequest) -> str:
    """Queue a scan and see to it that somebody computes it; the scan's id."""
    scan_id = submit(run, request)
    ensure_worker(run)
    return scan_id


def stop_run(run: Path, *, patience_seconds: float = 60.0) -> None:
    """Ask whoever writes a run to checkpoint and leave, and wait until they have.

    Raises LaunchError when nobody writes the run, and when they have not left in time, or at
    once when they are on another machine and have been silent for long.
    """
    holder = _writer_of(run, "stop")
    ask(run, Wish.STOP)
    late = (
        "it may be writing a large checkpoint"
        if holder.program == "train"
        else "it is a training loop of its own, which has to look at recorder.should_stop"
    )
    if _is_unseen(run, holder):
        late = _gone(run, holder)
    _wait_until(
        lambda: _has_left(run, holder),
        f"process {holder.pid} has not left within {patience_seconds:.0f} s; {late}",
        patience_seconds,
    )


def pause_run(run: Path, *, patience_seconds: float = 60.0) -> str:
    """Have a training checkpoint and give its device back; the sentence that says so.

    Raises LaunchError when nobody trains the run, when it is paused already, or is recorded by
    a loop that cannot be paused from outside.
    """
    holder = _writer_of(run, "pause")
    if holder.program != "train":
        raise LaunchError(
            f"{run} is recorded by a training loop of its own (process {holder.pid} on "
            f"{holder.host}), which cannot be paused from here; it can be stopped"
        )
    reader = RunReader(run)
    if reader.head().state == RunState.PAUSED:
        raise LaunchError(f"{run} is paused already")
    ask(run, Wish.PAUSE)
    late = "it will once it has written its checkpoint"
    if _is_unseen(run, holder):
        late = _gone(run, holder)
    _wait_until(
        lambda: reader.head().state == RunState.PAUSED or _has_left(run, holder),
        f"process {holder.pid} has not paused within {patience_seconds:.0f} s; {late}",
        patience_seconds,
    )
    if reader.head().state != RunState.PAUSED:
        raise LaunchError(f"{run} ended before it could be paused")
    return f"paused {run}; its device is free"


def resume_run(run: Path, *, patience_seconds: float = 60.0) -> str:
    """Have a paused training go on, or start one again that was stopped or killed.

    Returns the sentence that says so. Raises LaunchError when it is running or finished, or
    does not start.
    """
    reader = RunReader(run)
    head = reader.head()
    holder = read_holder(run)
    unseen = holder if holder is not None and _is_unseen(run, holder) else None
    if is_held(run) or (unseen is not None and head.state in _ALIVE):
        if head.state != RunState.PAUSED and read_wish(run) != Wish.PAUSE:
            raise LaunchError(
                f"{run} is being trained; there is nothing to resume"
                if unseen is None
                else _gone(run, unseen)
            )
        ask(run, Wish.NOTHING)
        why = "its train.log may say why" if unseen is None else _gone(run, unseen)
        _wait_until(
            lambda: reader.head().state != RunState.PAUSED,
            f"{run} has not gone on within {patience_seconds:.0f} s; {why}",
            patience_seconds,
        )
        if reader.head().state != RunState.RUNNING:
            raise LaunchError(reader.message() or f"{run} did not go on")
        return f"{run} goes on"
    if head.state == RunState.FINISHED:
        raise LaunchError(f"{run} is finished; there is nothing to resume")
    process = start_training({"run": str(run.absolute()), "resume": True})
    _children.append(process)
    try:
        is_there = any(isinstance(event, Created) for event in events(process))
    finally:
        if process.stdout is not None:
            process.stdout.close()
    if not is_there:
        raise LaunchError(f"{run} did not go on; its train.log may say why")
    return f"{run} goes on"


_ALIVE = (RunState.CREATED, RunState.RUNNING, RunState.PAUSED, RunState.DISK_FULL)
_BEATING = (RunState.CREATED, RunState.RUNNING)
"""States of a writer that gives signs of life; a paused one rests, a full disk takes none."""


def _writer_of(run: Path, verb: str) -> Holder:
    """Who writes a run; LaunchError when nobody does, or nobody has for long."""
    holder = read_holder(run)
    state = RunReader(run).head().state
    if holder is not None and _is_unseen(run, holder) and state in _ALIVE:
        if state in _BEATING and silence(run) > PATIENCE_SECONDS:
            raise LaunchError(_gone(run, holder))
        return holder
    if holder is None or not is_held(run):
        raise LaunchError(f"nobody writes {run}; there is nothing to {verb}")
    return holder


def _is_unseen(run: Path, holder: Holder) -> bool:
    """Whether nobody can tell from here if a writer lives.

    It is on another machine, or this one had another name then: a container that was made
    anew, a virtual machine that was renamed, a disk that was moved.
    """
    return not holder.is_local and not is_held(run)


def _gone(run: Path, holder: Holder) -> str:
    """What to do about a writer that cannot be seen."""
    then = (
        f"lossviz-tui train --resume --run {shlex.quote(str(run))}"
        if holder.program == "train"
        else "start that training loop of its own again"
    )
    return (
        f"its writer was process {holder.pid} on {holder.host}, which cannot be seen from "
        f"here; if that is gone: {then}"
    )


def _has_left(run: Path, holder: Holder) -> bool:
    """Whether a writer is gone; of one on another machine only its own word is known."""
    if holder.is_local:
        return not is_held(run)
    return RunReader(run).head().state not in _ALIVE


def _wait_until(condition: Callable[[], bool], complaint: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LaunchError(complaint)
        time.sleep(0.05)


def gpus_by_torch() -> str:
    """What torch sees of this machine's GPUs, asked in a process of its own."""
    asked = subprocess.run(
        [sys.executable, "-P", "-c", _ASK_TORCH], capture_output=True, text=True, check=False
    )
    lines = (asked.stdout if asked.returncode == 0 else asked.stderr).strip().splitlines()
    return lines[-1] if lines else "torch said nothing"


_ASK_TORCH = (
    "import torch; n = torch.cuda.device_count(); "
    "print(', '.join(map(torch.cuda.get_device_name, range(n))) if n else 'none, CPU only')"
)
