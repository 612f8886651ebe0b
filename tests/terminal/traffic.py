"""What the program sends for one event: each budget of a screen that stays open all day.

Every measurement starts the program on a pty of its own that answers like a good terminal, with
the costliest colours, and counts the bytes between a cause and the silence after it.
"""

import re
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.terminal.harness import SYNC_END, SYNC_START, Terminal, command
from tests.tui.conftest import ask, begin_scan, chunk_sums, coordinates_for, geometry_for

from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.schema import FIXED_COLUMNS, Phase, RunState
from lossviz_analysis.store.writer import RunWriter

KB = 1_000
NAMES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
COLUMNS = (
    *FIXED_COLUMNS,
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "learning_rate",
    "weight_norm",
)
NUM_EPOCHS, PLANNED = 40, 60
SLOW_LINE = 50 * KB
"""Bytes a second of the slow line of the budgets."""
_AGE = re.compile(r" *data \d+\w old")


@dataclass(frozen=True)
class Size:
    """A terminal."""

    columns: int
    rows: int
    colors: str = "truecolor"

    def __str__(self) -> str:
        return f"{self.columns} x {self.rows} {self.colors}"


# Runs that look like real ones: noisy recalls, pairs that dance, a rugged bowl.


def lively_counts(epoch: int, num_classes: int = len(NAMES)) -> np.ndarray:
    """Counts of both splits after an epoch: recalls rise, swing and jitter."""
    generator = np.random.default_rng(epoch)
    counts = np.zeros((2, num_classes, num_classes), np.int32)
    for split, total in enumerate((500, 100)):
        for true in range(num_classes):
            swing = 0.1 * np.sin(epoch * (0.7 + 0.1 * true) + np.pi * (true % 2))
            right = 0.9 - 0.6 * np.exp(-epoch / 12) + swing + 0.03 * generator.normal()
            shares = generator.dirichlet(np.full(num_classes, 0.3))
            shares[true] = 0.0
            shares[(true ^ 1) % num_classes] += 0.8
            shares *= (1 - np.clip(right, 0.05, 0.97)) / max(1e-9, shares.sum())
            shares[true] = 1 - shares.sum()
            counts[split, true] = generator.multinomial(total, np.clip(shares, 0, 1))
    return counts


def commit_lively(writer: RunWriter, epoch: int) -> None:
    """Commit an epoch of a lively run."""
    counts = lively_counts(epoch, writer.description.num_classes)
    train, test = (float(np.trace(matrix) / matrix.sum()) for matrix in counts)
    scalars = {
        "epoch": float(epoch),
        "wall_time": time.time(),
        "duration_s": 1.0,
        "train_loss": 2.3 * np.exp(-epoch / 20),
        "test_loss": 0.4 + 2.0 * np.exp(-epoch / 15) + 0.05 * np.sin(epoch),
        "train_accuracy": train,
        "test_accuracy": test,
        "learning_rate": 0.1,
        "weight_norm": 20 + np.sqrt(epoch),
    }
    writer.commit_record(counts, scalars)


@contextmanager
def lively_run(
    folder: Path, *, epochs: int = NUM_EPOCHS, names: tuple[str, ...] = NAMES
) -> Generator[RunWriter, None, None]:
    """The writer of a live run of so many epochs so far."""
    path = folder / "lively.zarr"
    create_run(
        path,
        RunDescription(
            run_id="9b2e8f0e-6f4c-4a68-8f5b-3d1d6b9a0c11",
            created_at="2025-01-02T03:04:05Z",
            class_names=names,
            scalar_columns=COLUMNS,
            model={"name": "resnet20"},
            dataset={"name": "pets", "num_train": 5_000, "num_test": 1_000},
            recipe={"epochs": PLANNED},
        ),
    )
    with RunWriter(path) as writer:
        writer.set_state(RunState.RUNNING)
        for epoch in range(1, epochs + 1):
            commit_lively(writer, epoch)
        beat(writer, epochs + 1, 0.1)
        yield writer


def beat(writer: RunWriter, epoch: int, share: float) -> None:
    """Tell how far an epoch is, at once."""
    writer._last_pulse = 0.0
    writer.pulse(
        epoch=epoch, step=round(100 * share), steps_per_epoch=100, phase=Phase.TRAINING
    )


class RuggedPlane:
    """An ego plane of 51 x 51 points, computed as far as it is told to be."""

    def __init__(self, run: Path, *, points: int = 51) -> None:
        self.request: ScanRequest = ask(points=points)
        self.writer: ScanWriter = begin_scan(run, self.request, NAMES)
        self._geometry = geometry_for(self.request, NAMES)
        self._coordinates = coordinates_for(self.request)

    def fill(self, rows: range, *, columns: range | None = None) -> None:
        """Compute some rows and let them be seen."""
        first, second = self._coordinates
        width = len(second)
        for row in rows:
            for column in columns or range(width):
                t1, t2 = float(first[row]), float(second[column])
                ripple = 1 + 0.2 * np.sin(70 * t1) * np.cos(90 * t2 + 40 * t1)
                at = (t1 * ripple + 0.3 * t2, 0.6 * t2 * ripple)
                self.writer.add(row * width + column, 0, chunk_sums(self._geometry, at))
        self.writer.flush(force=True)


@contextmanager
def on_screen(
    path: Path, size: Size, *options: str, **how: Any
) -> Generator[Terminal, None, None]:
    """The program watching a run, until its first picture has come to rest."""
    variables = {"COLORTERM": "truecolor"} if size.colors == "truecolor" else {}
    arguments = command(path, *options)
    place = {"columns": size.columns, "rows": size.rows, "answers": True}
    terminal = Terminal(arguments, variables=variables, **place, **how)
    try:
        terminal.wait_for("epoch ", "accuracy")
        terminal.wait_until_quiet()
        yield terminal
    finally:
        terminal.close()


def cost(terminal: Terminal, cause: Callable[[], object], *words: str) -> int:
    """Bytes from a cause until words are on the screen and it has come to rest."""
    start = len(terminal.sent)
    cause()
    terminal.wait_for(*words)
    terminal.wait_until_quiet()
    return len(terminal.sent) - start


def largest(frames: Iterable[bytes]) -> int:
    """What the costliest frame costs."""
    return max(map(frame_bytes, frames), default=0)


def frame_bytes(frame: bytes) -> int:
    """What a frame costs, with its beginning and its end."""
    return len(SYNC_START) + len(frame) + len(SYNC_END)


def without_age(terminal: Terminal) -> str:
    """What is on the screen but for the age of the data."""
    return _AGE.sub("", terminal.text)


# The measurements.


def tick_frames(
    folder: Path, size: Size, *, seconds: float = 5.0
) -> tuple[list[bytes], list[bytes]]:
    """The frames of a live run: while nothing happens, and while its epoch comes on.

    In the first all that changes is the age of the data, in the others also three shares. The
    mouse is left alone.
    """
    with lively_run(folder) as writer, on_screen(writer.path, size, "--no-mouse") as terminal:
        assert b"\x1b[?1000h" not in terminal.sent
        start, before = len(terminal.sent), without_age(terminal)
        terminal.read(seconds)
        assert without_age(terminal) == before
        idle = terminal.frames(start)
        start = len(terminal.sent)
        for percent in (23, 47, 71):
            beat(writer, NUM_EPOCHS + 1, percent / 100)
            terminal.wait_for(f"+{percent}%")
        return idle, terminal.frames(start)


def epoch_bytes(folder: Path, size: Size, *, view: str = "3", num_epochs: int = 3) -> int:
    """The most that one new epoch costs in a view, of a few."""
    with lively_run(folder) as writer, on_screen(writer.path, size) as terminal:
        terminal.type(view)
        terminal.wait_for(f"[{view} ")
        terminal.wait_until_quiet()
        return max(
            cost(terminal, lambda e=epoch: commit_lively(writer, e), f"epoch {epoch}/")
            for epoch in range(NUM_EPOCHS + 1, NUM_EPOCHS + 1 + num_epochs)
        )


def plane_bytes(folder: Path, size: Size, *, num_rows: int = 4) -> tuple[int, int]:
    """What a new row of a plane costs, at most, and what the whole plane does."""
    with lively_run(folder) as writer:
        plane = RuggedPlane(writer.path)
        plane.fill(range(30))
        with on_screen(writer.path, size) as terminal:
            terminal.type("6")
            terminal.wait_for("[6 ")
            terminal.wait_until_quiet()
            rows: list[int] = []
            for row in range(30, 30 + num_rows):
                done = f"{51 * (row + 1):,} of 2,601"
                rows.append(cost(terminal, lambda r=row: plane.fill(range(r, r + 1)), done))
            plane.fill(range(30 + num_rows, 51))
            terminal.wait_until_quiet()
            cost(terminal, lambda: terminal.type("2"), "[2 Overview]")
            whole = cost(terminal, lambda: terminal.type("6"), "[6 Landscape]")
    return max(rows), whole


class Feeding(threading.Thread):
    """Commits epochs and rows of a plane all the time, as a training and a worker do."""

    def __init__(self, writer: RunWriter, plane: RuggedPlane, *, pause: float = 0.25) -> None:
        super().__init__(daemon=True)
        self._writer, self._plane = writer, plane
        self._pause = pause
        self._is_over = threading.Event()
        self.num_epochs = 0

    def run(self) -> None:
        """Feed until told to stop."""
        row = 10
        for epoch in range(NUM_EPOCHS + 1, 10_000):
            commit_lively(self._writer, epoch)
            self.num_epochs += 1
            for _ in range(2):
                beat(self._writer, epoch + 1, 0.01 * (row % 100))
                if row < 51:
                    self._plane.fill(range(row, row + 1))
                    row += 1
                if self._is_over.wait(self._pause):
                    return

    def stop(self) -> None:
        """Stop, and wait for the last commit."""
        self._is_over.set()
        self.join()


def echoes(
    folder: Path, size: Size, *, num_keys: int = 6, rate: float = SLOW_LINE
) -> dict[str, list[float]]:
    """Seconds from a key press to its answer on a slow line on which much happens.

    Curves move and a scan fills. In Dance the answer is the badge of a held epoch, in Landscape
    the angle of the cut.
    """
    with lively_run(folder) as writer:
        plane = RuggedPlane(writer.path)
        plane.fill(range(10))
        with on_screen(writer.path, size, bytes_per_second=rate) as terminal:
            found: dict[str, list[float]] = {}
            for view, title, keys in (("3", "Dance", ",. "), ("6", "Landscape", "]]]")):
                terminal.type(view)
                terminal.wait_for(f"[{view} {title}]")
                feeding = Feeding(writer, plane)
                feeding.start()
                try:
                    terminal.read(1.0)
                    found[title] = [
                        echo(terminal, keys[k % len(keys)], title) for k in range(num_keys)
                    ]
                finally:
                    feeding.stop()
    return found


def echo(terminal: Terminal, key: str, title: str) -> float:
    """Seconds until a key press is answered on the screen."""
    watched = re.compile(r"HELD at \d+" if title == "Dance" else r"cut at \d+")

    def answer() -> str:
        found = watched.search(terminal.text)
        return found[0] if found else ""

    terminal.read(0.4)
    before, started = answer(), time.monotonic()
    terminal.type(key)
    while answer() == before:
        assert time.monotonic() - started < 30, terminal.text
        terminal.read(0.05, until=lambda: answer() != before)
    return time.monotonic() - started
