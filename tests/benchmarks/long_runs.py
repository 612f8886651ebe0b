"""How long and wide runs open: time to the first view and to all of it, memory, cost of a look.

Each case is measured in a process of its own: the tail of the app opens the run, without a
screen. The stores are made for it without fsync, their matrices by the store's codec and
functions directly: 70,000 durable commits would take longer than anything measured here.

`python tests/benchmarks/long_runs.py` prints the table.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import google_crc32c
import numcodecs.blosc
import numpy as np

from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.durable import put
from lossviz_analysis.store.head import read_run_head, write_block, write_head
from lossviz_analysis.store.schema import FIXED_COLUMNS, SCALAR_CHUNK_ROWS, RunState
from lossviz_tui.messages import RunAdvanced, RunStirred
from lossviz_tui.tail import Tail

CASES = ((10, 70_000), (100, 2_000), (1_000, 100))
COLUMNS = (*FIXED_COLUMNS, "train_loss", "test_loss", "train_accuracy", "test_accuracy")
NUM_IDLE = 200
NUM_NEW = 20
PAUSE_SECONDS = 0.05
"""Between two looks while there is more to read, as in the app."""
_BITSHUFFLE = 2


def make_run(path: Path, num_classes: int, num_records: int) -> None:
    """A run of so many records, its matrices diagonal with a little noise."""
    create_run(
        path,
        RunDescription(
            run_id="9b2e8f0e-6f4c-4a68-8f5b-3d1d6b9a0c11",
            created_at="2026-01-02T03:04:05Z",
            class_names=tuple(f"class {c}" for c in range(num_classes)),
            scalar_columns=COLUMNS,
            recipe={"epochs": num_records},
        ),
    )
    add_records(path, num_classes, range(num_records))


def add_records(path: Path, num_classes: int, numbers: range) -> None:
    """Add records as the writer lays them out, and publish them by the head."""
    records = path / "records"
    templates = [matrix(num_classes, seed) for seed in range(8)]
    for number in numbers:
        put(
            records / "confusion" / f"c.{number}.0.0.0",
            templates[number % len(templates)],
            durable=False,
        )
    first = numbers.start - numbers.start % SCALAR_CHUNK_ROWS
    for start in range(first, numbers.stop, SCALAR_CHUNK_ROWS):
        rows = np.full((SCALAR_CHUNK_ROWS, len(COLUMNS)), np.nan)
        inside = min(numbers.stop, start + SCALAR_CHUNK_ROWS) - start
        epochs = np.arange(start + 1, start + inside + 1)
        rows[:inside] = 1 / epochs[:, None]
        rows[:inside, :4] = [[epoch, 1, 1.75e9 + epoch, 1.0] for epoch in epochs]
        chunk = records / "scalars" / f"c.{start // SCALAR_CHUNK_ROWS}.0"
        write_block(chunk, rows, durable=False)
    head = read_run_head(records)
    changes = {"num_records": numbers.stop, "state": RunState.FINISHED, "attempt": 1}
    write_head(records, head.next(**changes), durable=False)


def matrix(num_classes: int, seed: int) -> bytes:
    """The chunk of one record."""
    generator = np.random.default_rng(seed)
    counts = generator.poisson(0.05, (1, 2, num_classes, num_classes)).astype("<i4")
    diagonal = np.arange(num_classes)
    counts[..., diagonal, diagonal] += 50
    packed = numcodecs.blosc.compress(counts, b"zstd", 3, _BITSHUFFLE)
    return packed + google_crc32c.value(packed).to_bytes(4, "little")


def measure(path: Path, num_classes: int) -> dict[str, float]:
    """Open a run as the app does; seconds, and MiB."""
    at_rest = peak_mebibytes()
    advanced: list[RunAdvanced] = []
    is_told: list[float] = []

    def post(message: object) -> None:
        if isinstance(message, RunAdvanced):
            advanced.append(message)
        elif isinstance(message, RunStirred):
            is_told.append(time.perf_counter())

    started = time.perf_counter()
    tail = Tail(path.parent / "nothing", post)
    tail.focus(path, None)
    has_more = tail.step()
    first = is_told[0] - started
    while has_more:
        time.sleep(PAUSE_SECONDS)
        has_more = tail.step()
    complete = time.perf_counter() - started
    view = advanced[-1].view
    started = time.perf_counter()
    waited = 0
    while not view.row_by_epoch("test", 2).is_complete:
        tail.step()
        waited += 1
    row = time.perf_counter() - started
    idle = [timed(tail.step) for _ in range(NUM_IDLE)]
    new: list[float] = []
    for number in range(len(view), len(view) + NUM_NEW):
        add_records(path, num_classes, range(number, number + 1))
        new.append(timed(tail.step))
    if len(advanced[-1].view.class_epochs) < len(view.class_epochs) + NUM_NEW:
        raise AssertionError("a new record was missed")
    return {
        "first": first,
        "complete": complete,
        "row": row,
        "idle": statistics.median(idle),
        "new": statistics.median(new),
        "at_rest": at_rest,
        "peak": peak_mebibytes(),
        "kept": len(view.class_epochs),
    }


def timed(deed: object) -> float:
    """Seconds something takes."""
    assert callable(deed)
    started = time.perf_counter()
    deed()
    return time.perf_counter() - started


def peak_mebibytes() -> float:
    """The most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure every case in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to make the runs (else a new one)")
    parser.add_argument("--child", nargs=2, metavar=("RUN", "CLASSES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run, num_classes = Path(options.child[0]), int(options.child[1])
        sys.stdout.write(json.dumps(measure(run, num_classes)))
        return
    folder = Path(tempfile.mkdtemp(prefix="long-runs-", dir=options.folder))
    write = sys.stdout.write
    write(
        f"{'classes':>8} {'records':>8} {'first view':>11} {'complete':>9} {'one row':>8} "
        f"{'idle look':>10} {'new record':>11} {'memory at rest, peak':>21} {'kept':>7}\n"
    )
    try:
        for num_classes, num_records in CASES:
            run = folder / f"{num_classes}-{num_records}.zarr"
            make_run(run, num_classes, num_records)
            command = [sys.executable, __file__, "--child", str(run), str(num_classes)]
            answer = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            found = json.loads(answer.stdout)
            memory = f"{found['at_rest']:.0f}, {found['peak']:.0f} MiB"
            write(
                f"{num_classes:8,} {num_records:8,} {found['first']:9.2f} s "
                f"{found['complete']:7.1f} s {found['row']:6.2f} s "
                f"{1e3 * found['idle']:7.2f} ms {1e3 * found['new']:8.2f} ms {memory:>21} "
                f"{found['kept']:7,}\n"
            )
            shutil.rmtree(run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
