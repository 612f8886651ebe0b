"""Runs for the program on a real terminal, and terminals that are gone afterwards."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.terminal.harness import PATIENCE_SECONDS, Terminal, command, environment

from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.schema import FIXED_COLUMNS, RunState
from lossviz_analysis.store.writer import RunWriter

NAMES = ("plane", "car", "cat", "dog")


@pytest.fixture
def start():
    """Starts the program on a pty; whatever happens it is gone afterwards."""
    started: list[Terminal] = []

    def go(path: Path, *options: str, **how: Any) -> Terminal:
        terminal = Terminal(command(path, *options), **how)
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


class Tmux:
    """A tmux server of its own, and the one window in it."""

    def __init__(self, socket: Path) -> None:
        self._base = ["tmux", "-S", str(socket), "-f", "/dev/null"]

    def __call__(self, *words: str) -> str:
        """Run a tmux command; what it prints."""
        done = subprocess.run(
            [*self._base, *words],
            capture_output=True,
            text=True,
            check=True,
            env=environment(OMP_NUM_THREADS="1"),
        )
        return done.stdout

    def open(self, shell: str, *, term: str = "tmux-256color", folder: Path) -> None:
        """Open a window of 80 x 24 in which a shell command runs."""
        place = ("-x", "80", "-y", "24", "-c", str(folder))
        # The terminal of a window is chosen before there is one, so the first holds the server.
        self("new-session", "-d", "-s", "holder", "sleep 600")
        self("set-option", "-g", "default-terminal", term)
        self("new-session", "-d", "-s", "main", *place, shell)

    def keys(self, *names: str) -> None:
        """Press keys by tmux's names for them."""
        self("send-keys", "-t", "main", *names)

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size."""
        self("resize-window", "-t", "main", "-x", str(columns), "-y", str(rows))

    @property
    def text(self) -> str:
        """The window as a person reads it."""
        return self("capture-pane", "-t", "main", "-p")

    @property
    def pid(self) -> int:
        """The process in the window."""
        return int(self("list-panes", "-t", "main", "-F", "#{pane_pid}"))

    def wait_for(self, *words: str) -> str:
        """Wait until all words are in the window; its text."""
        return self.wait_until(lambda text: all(word in text for word in words), str(words))

    def wait_until(self, holds: Callable[[str], bool], what: str) -> str:
        """Wait until something holds of the text; the text."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds(text := self.text):
            assert time.monotonic() < deadline, f"no {what} in\n{text}"
            time.sleep(0.05)
        return text

    def attach(self) -> Terminal:
        """Another terminal that shows the window."""
        return Terminal([*self._base, "attach-session", "-t", "main"])

    def end(self) -> None:
        """End the server and what runs in it."""
        subprocess.run([*self._base, "kill-server"], capture_output=True, check=False)


@pytest.fixture
def tmux(tmp_path):
    """A tmux server, ended afterwards."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    server = Tmux(tmp_path / "tmux.socket")
    yield server
    server.end()
