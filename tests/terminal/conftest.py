"""Runs for the program on a real terminal, and terminals that are gone afterwards."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.terminal.harness import Terminal, command, environment

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
