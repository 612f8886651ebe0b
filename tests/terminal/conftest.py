"""A real terminal: the program on a pty, its bytes counted and its screen kept by pyte."""

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyte
import pytest

from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.schema import FIXED_COLUMNS, RunState
from lossviz_analysis.store.writer import RunWriter

PATIENCE_SECONDS = 30.0
NAMES = ("plane", "car", "cat", "dog")


def command(path: Path, *options: str) -> list[str]:
    """The program as a person would start it."""
    return [sys.executable, "-P", "-m", "lossviz_tui", "watch", str(path), *options]


def environment(**changes: str) -> dict[str, str]:
    """A usual terminal, whatever the tests are run in."""
    kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "TMUX", "COLORTERM"}}
    return kept | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | changes


class Terminal:
    """The program on a pty of its own, and what it has sent."""

    def __init__(self, arguments: list[str], *, columns: int = 80, rows: int = 24) -> None:
        self.sent = bytearray()
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._primary, secondary = pty.openpty()
        self._resize(columns, rows)
        self.process = subprocess.Popen(
            arguments,
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            start_new_session=True,
            env=environment(),
        )
        os.close(secondary)

    def _resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._primary, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds: float) -> bytes:
        """What comes within a time; less if the program leaves."""
        deadline, start = time.monotonic() + seconds, len(self.sent)
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self._primary], [], [], left)
            if not ready:
                break
            try:
                found = os.read(self._primary, 65_536)
            except OSError:  # nobody holds the other end any more
                break
            self.sent += found
            self._stream.feed(found)
        return bytes(self.sent[start:])

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._primary, keys.encode())

    @property
    def text(self) -> str:
        """The screen as a person reads it."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait_for(self, *words: str) -> None:
        """Read until all words are on the screen."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(word in self.text for word in words):
            assert time.monotonic() < deadline, f"no {words} in\n{self.text}"
            assert self.process.poll() is None or self.read(0.1), self.text
            self.read(0.05)

    def wait_until_quiet(self, seconds: float = 1.0) -> None:
        """Read until nothing has come for a while, so that what comes next has a cause."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.read(seconds):
            assert time.monotonic() < deadline, "the program never falls silent"

    def leave(self) -> int:
        """Read until the program has left; its exit code."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"the program does not leave\n{self.text}"
            self.read(0.05)
        self.read(0.2)
        return self.process.wait()

    def close(self) -> None:
        """End the program, whatever it is doing."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self._primary)


@pytest.fixture
def start():
    """Starts the program on a pty; whatever happens it is gone afterwards."""
    started: list[Terminal] = []

    def go(path: Path, *options: str, **size: int) -> Terminal:
        terminal = Terminal(command(path, *options), **size)
        started.append(terminal)
        return terminal

    yield go
    for terminal in started:
        terminal.close()


def commit(writer: RunWriter, epoch: int) -> None:
    """One epoch in which cats and dogs are taken for one another."""
    counts = np.zeros((2, len(NAMES), len(NAMES)), np.int32)
    np.fill_diagonal(counts[0], 80 + epoch)
    np.fill_diagonal(counts[1], 70 + epoch)
    counts[:, 2, 3] = 20 - epoch
    counts[:, 3, 2] = 10 + epoch % 2
    train, test = (float(np.trace(matrix) / matrix.sum()) for matrix in counts)
    writer.commit_record(
        counts,
        {
            "epoch": float(epoch),
            "duration_s": 5.0,
            "train_accuracy": train,
            "test_accuracy": test,
            "train_loss": 2.0 / epoch,
            "test_loss": 2.2 / epoch,
        },
    )


@pytest.fixture
def commit_epoch() -> Callable[[RunWriter, int], None]:
    """Commits an epoch."""
    return commit


@pytest.fixture
def run(tmp_path):
    """A run of eight epochs that has ended."""
    path = tmp_path / "pets.zarr"
    columns = ("train_accuracy", "test_accuracy", "train_loss", "test_loss")
    description = RunDescription(
        run_id="9b2e8f0e-6f4c-4a68-8f5b-3d1d6b9a0c11",
        created_at="2025-01-02T03:04:05Z",
        class_names=NAMES,
        scalar_columns=(*FIXED_COLUMNS, *columns),
        model={"name": "resnet20"},
        dataset={"name": "pets"},
        recipe={"epochs": 12},
    )
    create_run(path, description)
    with RunWriter(path) as writer:
        for epoch in range(1, 9):
            commit(writer, epoch)
        writer.set_state(RunState.FINISHED)
    return path


@pytest.fixture
def live(run):
    """The writer of a run that goes on."""
    with RunWriter(run) as writer:
        writer.set_state(RunState.RUNNING)
        yield writer


@pytest.fixture
def tmux(tmp_path):
    """Runs tmux commands on a server of their own, killed at the end."""
    base = ["tmux", "-S", str(tmp_path / "tmux.socket"), "-f", "/dev/null"]

    def ask(*words: str) -> str:
        found = subprocess.run(
            [*base, *words], capture_output=True, text=True, check=True, env=environment()
        )
        return found.stdout

    yield ask
    subprocess.run([*base, "kill-server"], capture_output=True, check=False)
