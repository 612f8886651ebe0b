"""Sound runs for the fuzzer to damage: what a trainer and a scan worker would have left."""

import math
from pathlib import Path

import numpy as np

from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.requests import DirectionSpec, ScanRequest
from lossviz_analysis.store.scan_geometry import ScanGeometry
from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.scans import cancel, scan_folder, submit
from lossviz_analysis.store.schema import FIXED_COLUMNS, Phase, RunState, ScanState
from lossviz_analysis.store.writer import RunWriter

COLUMNS = (
    *FIXED_COLUMNS,
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "lr",
    "weight_norm",
)
NAMES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NUM_PARAMETERS = 60


def make_runs(folder: Path) -> list[Path]:
    """A finished run of ten classes, a crashed one of two, and one that has not begun."""
    return [_ten_classes(folder), _two_classes(folder), _young(folder)]


def _describe(name: str, num_classes: int, epochs: int) -> RunDescription:
    return RunDescription(
        run_id=f"00000000-0000-4000-8000-{num_classes:012d}",
        created_at="2026-01-02T03:04:05Z",
        class_names=NAMES[:num_classes],
        scalar_columns=COLUMNS,
        model={"name": "mlp", "num_parameters": NUM_PARAMETERS},
        dataset={"name": name, "source": name, "train_examples": 500, "fingerprint": "ab" * 16},
        recipe={"name": "anneal-lr", "epochs": epochs, "lr": 0.1},
        versions={"lossviz": "0", "torch": "2"},
    )


def _counts(generator: np.random.Generator, num_classes: int, skill: float) -> np.ndarray:
    rates = np.full((num_classes, num_classes), (1 - skill) / num_classes)
    np.fill_diagonal(rates, rates.diagonal() + skill)
    rates /= rates.sum(axis=1, keepdims=True)
    return np.stack([generator.multinomial(n, rates) for n in (50, 10)])


def _commit(writer: RunWriter, generator: np.random.Generator, epochs: range) -> None:
    num_classes = writer.description.num_classes
    for epoch in epochs:
        skill = 1 - math.exp(-epoch / 20)
        counts = _counts(generator, num_classes, skill)
        accuracy = [float(np.trace(c) / c.sum()) for c in counts]
        writer.commit_record(
            counts,
            {
                "epoch": float(epoch),
                "duration_s": 1.5,
                "train_loss": 2 * (1 - skill) + 0.01,
                "test_loss": 2 * (1 - skill) + 0.1,
                "train_accuracy": accuracy[0],
                "test_accuracy": accuracy[1],
                "lr": 0.1,
                "weight_norm": 7.0 + epoch,
            },
        )


def _state(generator: np.random.Generator, epoch: int) -> Checkpoint:
    return Checkpoint(
        epoch=epoch,
        parameters={
            "w": generator.normal(size=(5, 10)).astype("f4"),
            "b": generator.normal(size=10).astype("f4"),
        },
        buffers={"mean": np.zeros(3, "f4"), "steps": np.array(epoch, "i8")},
        optimiser={"w.momentum": np.zeros((5, 10), "f4")},
        extra={"seed": 1, "sampler": [1, 2, 3]},
        framework="torch 2",
    )


def _scan(
    run: Path, request: ScanRequest, names: tuple[str, ...], share: float, state: ScanState
) -> None:
    """A scan of which a share of the points is computed."""
    generator = np.random.default_rng(len(names))
    folder = scan_folder(run, submit(run, request))
    geometry = ScanGeometry(
        class_names=names,
        splits=request.splits,
        points=request.points,
        has_confusion=True,
        chunks={"train": 2, "test": 1},
        examples={"train": 50 * len(names), "test": 10 * len(names)},
        direction_norms=tuple(1.0 for _ in request.directions),
        weight_norm=9.0,
        cosine=0.1 if request.dims == 2 else None,
        provenance={"device": "cpu", "torch": "2"},
    )
    coordinates = tuple(
        np.linspace(low, high, n)
        for (low, high), n in zip(request.ranges, request.points, strict=True)
    )
    writer = ScanWriter(folder)
    writer.claim()
    writer.begin(
        geometry,
        coordinates,
        generator.normal(size=(request.dims, NUM_PARAMETERS)).astype("f4"),
    )
    layout = geometry.layout
    for point in range(int(share * geometry.num_points)):
        for split, name in enumerate(geometry.splits):
            sums = np.zeros((geometry.chunks[name], layout.width))
            sums[:, 0] = 1.0
            sums[:, layout.seen] = 25.0
            sums[:, layout.loss_sum] = 25 * generator.uniform(0.1, 3, len(names))
            sums[:, layout.loss_square_sum] = 100.0
            sums[:, layout.mistakes] = generator.integers(0, 25, len(names))
            sums[:, layout.confusion] = generator.integers(0, 9, len(names) ** 2)
            writer.add(point, split, sums)
    if state == ScanState.RUNNING:
        writer.pause()
    else:
        writer.finish(state, "it ran out of patience" if state == ScanState.FAILED else "")


def _plane(classes: tuple[int, int]) -> ScanRequest:
    return ScanRequest(
        directions=tuple(
            DirectionSpec(kind="ego", normalise="none", class_index=k) for k in classes
        ),
        points=(5, 5),
        ranges=((-0.1, 0.1), (-0.1, 0.1)),
        checkpoint=2,
        epoch=6,
    )


def _line() -> ScanRequest:
    return ScanRequest(
        directions=(DirectionSpec(kind="gaussian", normalise="filter", seed=3),),
        points=(9,),
        ranges=((-1.0, 1.0),),
        checkpoint=1,
        epoch=0,
        split="both",
    )


def _ten_classes(folder: Path) -> Path:
    run, generator = folder / "ten.zarr", np.random.default_rng(10)
    create_run(run, _describe("ten", 10, 12))
    with RunWriter(run) as writer:
        writer.commit_checkpoint(_state(generator, 0))
        _commit(writer, generator, range(1, 7))
        writer.commit_checkpoint(_state(generator, 6), is_best=True)
        _commit(writer, generator, range(7, 13))
        writer.commit_checkpoint(_state(generator, 12))
        writer.pulse(epoch=12, step=9, steps_per_epoch=9, phase=Phase.SAVING, loss=0.5)
        writer.set_state(RunState.FINISHED)
    _scan(run, _plane((3, 5)), NAMES, 1.0, ScanState.DONE)
    _scan(run, _line(), NAMES, 0.5, ScanState.RUNNING)
    submit(run, _plane((0, 1)))
    (run / "train.log").write_text("epoch 1\nepoch 2\n")
    return run


def _two_classes(folder: Path) -> Path:
    run, generator = folder / "two.zarr", np.random.default_rng(2)
    create_run(run, _describe("two", 2, 90))
    with RunWriter(run) as writer:
        writer.commit_checkpoint(_state(generator, 0))
        _commit(writer, generator, range(1, 60))
    with RunWriter(run) as writer:
        _commit(writer, generator, range(50, 67))
        writer.commit_checkpoint(_state(generator, 66), is_best=True)
        writer.pulse(epoch=67, step=3, steps_per_epoch=9, phase=Phase.TRAINING, loss=0.5)
        writer.set_state(RunState.RUNNING, "training on the CPU")
    _scan(run, _plane((0, 1)), NAMES[:2], 0.5, ScanState.RUNNING)
    _scan(run, _line(), NAMES[:2], 0.7, ScanState.FAILED)
    _scan(run, _line(), NAMES[:2], 1.0, ScanState.DONE)
    cancel(scan_folder(run, submit(run, _line())))
    return run


def _young(folder: Path) -> Path:
    run, generator = folder / "young.zarr", np.random.default_rng(3)
    create_run(run, _describe("young", 3, 5))
    with RunWriter(run) as writer:
        writer.commit_checkpoint(_state(generator, 0))
        for step in range(1, 6):
            writer.pulse(
                epoch=1,
                step=step,
                steps_per_epoch=9,
                phase=Phase.TRAINING,
                loss=2.0 / step,
                is_last=True,
            )
        writer.set_state(RunState.RUNNING)
        _commit(writer, generator, range(1, 3))
    return run
