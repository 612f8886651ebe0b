"""Starting and stopping the processes that compute: by command line, never by import."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.lock import is_held, read_holder
from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.scans import submit

WORKER_LOG = "worker.log"
_GIB = 2**30

_workers: list[subprocess.Popen[bytes]] = []
"""Kept and polled, so that a worker that left does not stay as a zombie of the app."""


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
    """The environment, with glibc told to keep big buffers instead of giving them back."""
    keep = {"MALLOC_MMAP_THRESHOLD_": str(4 * _GIB), "MALLOC_TRIM_THRESHOLD_": str(4 * _GIB)}
    return keep | dict(os.environ)


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


def has_worker(run: Path) -> bool:
    """Whether a scan worker of this machine serves a run."""
    _workers[:] = [worker for worker in _workers if worker.poll() is None]
    return is_held(run / "scans")


def ensure_worker(run: Path) -> None:
    """Start a scan worker for a run unless one is there; it outlives the terminal."""
    if has_worker(run):
        return
    try:
        with (run / "scans" / WORKER_LOG).open("ab") as log:
            worker = subprocess.Popen(
                _command("work", str(run.absolute())),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=_environment(),
            )
        _workers.append(worker)
    except OSError as error:
        raise LaunchError(f"no scan worker could be started: {error.strerror}") from None


def request_scan(run: Path, request: ScanRequest) -> str:
    """Queue a scan and see to it that somebody computes it; the scan's id."""
    scan_id = submit(run, request)
    ensure_worker(run)
    return scan_id


def stop_run(run: Path, *, patience_seconds: float = 60.0) -> None:
    """Ask the daemon of a run to checkpoint and leave, and wait until it has.

    Raises LaunchError when nobody writes the run, when the writer is on another machine, and
    when it has not left in time.
    """
    holder = read_holder(run)
    if holder is not None and not holder.is_local:
        raise LaunchError(f"{run} is written on {holder.host}; stop it there")
    if holder is None or not is_held(run):
        raise LaunchError(f"nobody writes {run}; there is nothing to stop")
    with contextlib.suppress(ProcessLookupError):
        os.kill(holder.pid, signal.SIGTERM)
    deadline = time.monotonic() + patience_seconds
    while is_held(run):
        if time.monotonic() > deadline:
            raise LaunchError(
                f"process {holder.pid} has not left within {patience_seconds:.0f} s; "
                "it may be writing a large checkpoint"
            )
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
