"""What the store costs, beside the same bytes in plain durable files and beside torch.save.

`uv run python tests/benchmarks/store.py [REPEATS] [FOLDER]`. Everything in a table is measured
by turns in one run, so that a busy machine slows all of it; trust the ratios.
"""

import os
import resource
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.durable import put
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import FIXED_COLUMNS
from lossviz_analysis.store.writer import RunWriter
from lossviz_trainer.models import build_model
from lossviz_trainer.state import capture

COLUMNS = (*FIXED_COLUMNS, *(f"s{k}" for k in range(12)))
EXAMPLES = 50_000


def confusion(num_classes: int, accuracy: float, generator: np.random.Generator) -> np.ndarray:
    """Counts of a classifier that is right with a probability, else anywhere near."""
    true = generator.integers(0, num_classes, (2, EXAMPLES))
    wrong = generator.random((2, EXAMPLES)) > accuracy
    offset = 1 + generator.geometric(0.2, (2, EXAMPLES)) % max(1, num_classes - 1)
    predicted = np.where(wrong, (true + offset) % num_classes, true)
    counts = np.zeros((2, num_classes, num_classes), np.int32)
    for split in range(2):
        np.add.at(counts[split], (true[split], predicted[split]), 1)
    return counts


def new_run(folder: Path, num_classes: int) -> Path:
    path = folder / f"{uuid.uuid4().hex[:8]}.zarr"
    names = tuple(f"class {k}" for k in range(num_classes))
    create_run(
        path,
        RunDescription(
            run_id=path.stem, created_at="", class_names=names, scalar_columns=COLUMNS
        ),
    )
    return path


def milliseconds(deed: Callable[[], object]) -> float:
    started = time.perf_counter()
    deed()
    return 1000 * (time.perf_counter() - started)


def show(title: str, found: dict[str, list[float]], unit: str = "ms") -> None:
    """One table; the ratio is to its first line, of the medians and of the minima."""
    print(f"\n{title:46} {'median ' + unit:>10} {'min':>8} {'ratio':>6} {'min ratio':>9}")
    first = next(iter(found.values()))
    for name, values in found.items():
        median, least = statistics.median(values), min(values)
        ratio = median / statistics.median(first)
        print(f"  {name:44} {median:10.2f} {least:8.2f} {ratio:6.2f} {least / min(first):9.2f}")


def commits(folder: Path, repeats: int) -> None:
    """An epoch's commit against one durable file of the same bytes, and the three it takes."""
    generator = np.random.default_rng(0)
    for num_classes in (10, 100, 1_000):
        run = new_run(folder, num_classes)
        counts = [
            confusion(num_classes, accuracy, generator) for accuracy in (0.1, 0.4, 0.7, 0.9)
        ]
        found: dict[str, list[float]] = {
            "one bare durable file": [],
            "three bare durable files": [],
            "commit_record": [],
        }
        contents: list[bytes] = []
        with RunWriter(run) as writer:
            for turn in range(repeats + 2):
                scalars = {"epoch": float(turn + 1), "s0": 1.0 / (turn + 1)}
                took = milliseconds(
                    lambda c=counts[turn % 4], s=scalars: writer.commit_record(c, s)
                )
                record = run / "records" / "confusion" / f"c.{turn}.0.0.0"
                tail = run / "records" / "scalars" / f"c.{turn // 64}.0"
                contents = [record.read_bytes(), tail.read_bytes(), bytes(132)]
                one = milliseconds(
                    lambda c=contents: put(folder / "one", b"".join(c), durable=True)
                )
                three = milliseconds(
                    lambda c=contents: [
                        put(folder / f"three{k}", part, durable=True)
                        for k, part in enumerate(c)
                    ]
                )
                if turn >= 2:
                    for values, value in zip(found.values(), (one, three, took), strict=True):
                        values.append(value)
        size = sum(map(len, contents))
        show(f"commit of an epoch, C = {num_classes}, {size:,} bytes", found)


def torch_save(state: dict[str, object], path: Path) -> None:
    """torch.save as carefully as ours: fsynced, renamed, the folder fsynced."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def checkpoints(folder: Path, repeats: int) -> None:
    """ResNet18 with its momentum: 22 million floats."""
    model = build_model("resnet18", 10, seed=0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(4, 3, 32, 32)).sum().backward()
    optimiser.step()
    run = new_run(folder, 10)
    names = ("torch.save", "commit_checkpoint", "torch.load", "RunReader.checkpoint")
    found: dict[str, list[float]] = {name: [] for name in names}
    turn = 0
    path = folder / "state.pt"
    with RunWriter(run) as writer:
        reader = RunReader(run)
        for turn in range(repeats + 1):
            state: dict[str, object] = {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
            }
            content = capture(model, optimiser, epoch=turn)
            took = [
                milliseconds(lambda s=state: torch_save(s, path)),
                milliseconds(lambda c=content: writer.commit_checkpoint(c)),
                milliseconds(lambda: torch.load(path)),
                milliseconds(lambda: reader.checkpoint(writer.head.latest_checkpoint)),
            ]
            if turn:
                for values, value in zip(found.values(), took, strict=True):
                    values.append(value)
        sizes = f"{path.stat().st_size / 1e6:.1f} MB"
        ours = sum(
            file.stat().st_size
            for file in (run / "checkpoints" / f"c{turn + 1:08d}").rglob("*")
            if file.is_file()
        )
    show(
        f"write, ResNet18 + momentum ({sizes}; ours {ours / 1e6:.1f} MB)",
        {name: found[name] for name in names[:2]},
    )
    show("read, page cache warm", {name: found[name] for name in names[2:]})


def polling(folder: Path, num_classes: int, repeats: int) -> None:
    """What a reader pays when nothing has changed, and for one new epoch."""
    generator = np.random.default_rng(0)
    run = new_run(folder, num_classes)
    with RunWriter(run) as writer:
        for epoch in range(8):
            counts = confusion(num_classes, 0.1 * epoch, generator)
            writer.commit_record(counts, {"epoch": epoch + 1.0})
    reader = RunReader(run)
    head = run / "records" / "head" / "c.0"
    reader.counts(0, 1)
    reader.scalars(0, 1)

    def new_epoch() -> None:
        last = reader.head().num_records
        reader.counts(last - 1, last)
        reader.scalars(last - 1, last)

    def from_cold() -> None:
        fresh = RunReader(run)
        fresh.counts(fresh.head().num_records - 1, fresh.head().num_records)

    deeds: dict[str, Callable[[], object]] = {
        "open and read a small file": head.read_bytes,
        "idle poll: RunReader.head": reader.head,
        "one new epoch: head, counts, scalars": new_epoch,
        "open a run from cold, newest counts": from_cold,
    }
    found: dict[str, list[float]] = {name: [] for name in deeds}
    for _ in range(20 * repeats):
        for name, deed in deeds.items():
            found[name].append(1000 * milliseconds(deed))
    show(f"reading, C = {num_classes}", found, "µs")


def main() -> int:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    torch.set_num_threads(1)
    parent = sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        commits(folder, 2 * repeats)
        for num_classes in (10, 100):
            polling(folder, num_classes, repeats)
        checkpoints(folder, max(5, repeats // 2))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory of this process {peak:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
