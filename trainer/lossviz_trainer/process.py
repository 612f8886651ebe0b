"""What a process of the package says to whoever started it, and how it becomes another one."""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

LEAVE = (signal.SIGTERM, signal.SIGINT)
"""Signals that ask a process to checkpoint and leave."""


def listen(handler: Callable[[int, FrameType | None], None]) -> None:
    """Have a handler called for the signals that ask to leave; a lost terminal is no reason to.

    Args:
        handler: Called with the number of the signal and the frame it met.
    """
    for number in LEAVE:
        signal.signal(number, handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, LEAVE)


def report(event: str, **values: str | int) -> None:
    """Tell whoever started this process; nobody listening is no reason to stop."""
    with contextlib.suppress(OSError):
        os.write(1, (json.dumps({"event": event, **values}) + "\n").encode())


def become(word: str, spec: str, lock: int) -> NoReturn:
    """Replace this program by another of the package, in the same process.

    Args:
        word: What the other is to do, "train" or "wait".
        spec: The training spec as JSON.
        lock: Descriptor of the run's lock, which stays held.
    """
    # A signal in between waits until the other program listens.
    signal.pthread_sigmask(signal.SIG_BLOCK, LEAVE)
    words = ["-P", "-m", "lossviz_trainer", word, spec, str(lock)]
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606  # no shell is wanted
