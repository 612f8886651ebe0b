"""Runs and scans for the screen's tests: written by the real store, without torch.

Everything is a function of class, epoch and grid point, so that a test can say what it will see
and a snapshot looks the same everywhere.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len
from textual.strip import Strip

from lossviz_analysis.classwise.confusion import cctm, recall
from lossviz_analysis.classwise.notes import dancing_notes
from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.head import RunHead
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import DirectionSpec, ScanRequest
from lossviz_analysis.store.scan_geometry import ScanGeometry
from lossviz_analysis.store.scan_report import ScanReport
from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.scans import ScanReader, scan_folder, submit
from lossviz_analysis.store.schema import FIXED_COLUMNS, RunState, ScanState, cell_layout
from lossviz_analysis.store.writer import RunWriter
from lossviz_tui.gpus import GpuWatch
from lossviz_tui.history import RunHistory, RunView
from lossviz_tui.listing import scan_row
from lossviz_tui.paint.palettes import Look
from lossviz_tui.picture import picture_of
from lossviz_tui.scene import Scene
from lossviz_tui.selection import Selection

NAMES = ("plane", "car", "cat", "dog", "ship")
"""Cat and dog are the pair that interferes most."""
WALL_TIME = 1_750_000_000.0
COLUMNS = (
    *FIXED_COLUMNS,
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "step_loss",
    "learning_rate",
    "weight_norm",
)
EXAMPLES = (200, 100)
"""Examples of each class in the train and the test split."""


@pytest.fixture(scope="session", autouse=True)
def no_power_cut():
    """Nothing here is about durability, and waiting for the disk took most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True)
def nothing_remembered(tmp_path_factory: pytest.TempPathFactory, monkeypatch):
    """What a test chooses in a form is unknown to the next one."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session", autouse=True)
def no_gpus():
    """What a screen shows does not depend on the machine that the tests run on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lossviz_tui.tail.GpuWatch", lambda: GpuWatch(load=_nothing_installed))
        yield


def _nothing_installed(name: str) -> None:
    raise ModuleNotFoundError(name)


Check = Callable[[Sequence[Strip], tuple[int, int], Look], None]


@pytest.fixture(scope="session")
def check_lines() -> Check:
    """What every painter promises: exact size, a Style everywhere, nothing a terminal obeys."""

    def check(lines: Sequence[Strip], size: tuple[int, int], look: Look) -> None:
        width, height = size
        assert len(lines) == height
        for line in lines:
            assert line.cell_length == width
            assert cell_len(line.text) == width
            for segment in line:
                assert segment.style is not None
                assert segment.control is None
                assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in segment.text)
                if look.charset == "ascii":
                    assert segment.text.isascii()
                if look.color == "none":
                    assert segment.style.color is None
                    assert segment.style.bgcolor is None

    return check


def names_for(num_classes: int) -> tuple[str, ...]:
    """So many class names, the first ones NAMES."""
    return tuple(NAMES[c] if c < len(NAMES) else f"class {c}" for c in range(num_classes))


def counts_at(epoch: int, num_classes: int) -> np.ndarray:
    """Counts of both splits after an epoch: cat and dog gain by turns what the other loses."""
    counts = np.zeros((2, num_classes, num_classes), np.int32)
    classes = np.arange(num_classes)
    for split, total in enumerate(EXAMPLES):
        share = 0.06 + 0.3 / (epoch + 1) + 0.02 * split
        wrong = np.full(num_classes, int(total * share))
        if num_classes > 3:
            swing = (0.3, 0.1) if epoch % 4 < 2 else (0.1, 0.3)
            wrong[2:4] = [int(total * s) for s in swing]
        far = wrong // 4 if num_classes > 2 else np.zeros_like(wrong)
        partner = np.where(classes ^ 1 < num_classes, classes ^ 1, 0)
        counts[split, classes, classes] = total - wrong
        counts[split, classes, partner] += wrong - far
        counts[split, classes, (classes + 2) % num_classes] += far
    return counts


def scalars_at(epoch: int, counts: np.ndarray) -> dict[str, float]:
    """The scalars that go with the counts of an epoch."""
    train, test = (float(np.trace(matrix) / max(1, matrix.sum())) for matrix in counts)
    return {
        "epoch": float(epoch),
        "wall_time": WALL_TIME + 10.0 * epoch,
        "duration_s": 10.0,
        "train_loss": 2.3 / (1 + epoch),
        "test_loss": 2.3 / (1 + epoch) + 0.1,
        "train_accuracy": train,
        "test_accuracy": test,
        "step_loss": 2.5 / (1 + epoch),
        "learning_rate": 0.1 if epoch < 4 else 0.01,
        "weight_norm": 20.0 + epoch,
    }


def describe(names: Sequence[str] = NAMES, *, planned: int = 12) -> RunDescription:
    """A description of a run of these classes."""
    return RunDescription(
        run_id="9b2e8f0e-6f4c-4a68-8f5b-3d1d6b9a0c11",
        created_at="2025-01-02T03:04:05Z",
        class_names=tuple(names),
        scalar_columns=COLUMNS,
        model={"name": "resnet20"},
        dataset={"name": "pets", "num_train": 1_000, "num_test": 500},
        recipe={"epochs": planned},
    )


def commit_epochs(writer: RunWriter, epochs: Iterable[int]) -> None:
    """Commit the records of some epochs."""
    for epoch in epochs:
        counts = counts_at(epoch, writer.description.num_classes)
        writer.commit_record(counts, scalars_at(epoch, counts))


def commit_checkpoint(writer: RunWriter, epoch: int, *, is_best: bool = False) -> None:
    """Commit a checkpoint of four numbers."""
    parameters = {"w": np.arange(4, dtype="f4")}
    writer.commit_checkpoint(Checkpoint(epoch=epoch, parameters=parameters), is_best=is_best)


@pytest.fixture(scope="session")
def make_run():
    """Writes a run: its records and checkpoints at epochs 0, 2 and the last, best at 2."""

    def make(
        path: Path,
        *,
        names: Sequence[str] = NAMES,
        epochs: int = 8,
        planned: int = 12,
        state: RunState = RunState.FINISHED,
        message: str = "",
    ) -> Path:
        create_run(path, describe(names, planned=planned))
        with RunWriter(path) as writer:
            commit_checkpoint(writer, 0)
            commit_epochs(writer, range(1, min(3, epochs + 1)))
            if epochs >= 2:
                commit_checkpoint(writer, 2, is_best=True)
            commit_epochs(writer, range(3, epochs + 1))
            if epochs > 2:
                commit_checkpoint(writer, epochs)
            writer.set_state(state, message)
        return path

    return make


@pytest.fixture(scope="session")
def grow():
    """Commits further epochs to a run, as a new attempt."""

    def more(path: Path, epochs: Iterable[int]) -> None:
        with RunWriter(path) as writer:
            commit_epochs(writer, epochs)

    return more


@pytest.fixture(scope="session", name="commit_checkpoint")
def checkpoint_committer():
    """Commits a checkpoint of four numbers."""
    return commit_checkpoint


@pytest.fixture(scope="session")
def live_writer():
    """Opens the writers of live runs, and closes them at the end."""
    writers: list[RunWriter] = []

    def start(path: Path) -> RunWriter:
        writer = RunWriter(path)
        writer.open()
        writer.set_state(RunState.RUNNING)
        writers.append(writer)
        return writer

    yield start
    for writer in writers:
        writer.close()


def ask(
    dims: int = 2, *, points: int = 9, kind: str = "ego", split: str = "train", **changes: Any
) -> ScanRequest:
    """A request for an ego scan of cat and dog, or for a Gaussian one; some of it changed."""
    directions = tuple(
        DirectionSpec(kind="ego", normalise="none", class_index=(2, 3)[k])
        if kind == "ego"
        else DirectionSpec(kind="gaussian", normalise="filter", seed=k)
        for k in range(dims)
    )
    request = ScanRequest(
        directions=directions,
        points=(points,) * dims,
        ranges=((-0.1, 0.1),) * dims,
        checkpoint=2,
        epoch=2,
        split="both" if split == "both" else "train",
    )
    return replace(request, **changes)


def geometry_for(request: ScanRequest, names: Sequence[str]) -> ScanGeometry:
    """What a worker would say of a request before its first point."""
    layout = cell_layout(request.num_points, len(request.splits), len(names))
    return ScanGeometry(
        class_names=tuple(names),
        splits=request.splits,
        points=request.points,
        has_confusion=layout.has_confusion,
        chunks=dict.fromkeys(request.splits, 2),
        examples=dict.fromkeys(request.splits, 100 * len(names)),
        direction_norms=(1.5,) * request.dims,
        weight_norm=20.0,
        cosine=-0.25 if request.dims == 2 else None,
        provenance={"device": "cpu"},
    )


def coordinates_for(request: ScanRequest) -> tuple[np.ndarray, ...]:
    """Coordinates along each direction."""
    return tuple(
        np.linspace(low, high, n)
        for (low, high), n in zip(request.ranges, request.points, strict=True)
    )


def chunk_sums(geometry: ScanGeometry, at: Sequence[float]) -> np.ndarray:
    """Sums of both chunks at one point: a bowl for each class, its bottom somewhere else."""
    layout, num_classes = geometry.layout, len(geometry.class_names)
    angles = 2 * np.pi * np.arange(num_classes) / num_classes
    bottoms = 0.05 * np.stack([np.cos(angles), np.sin(angles)], axis=1)[:, : len(at)]
    loss = 0.1 + 80 * ((np.asarray(at) - bottoms) ** 2).sum(axis=1)
    wrong = np.minimum(50, np.round(50 * loss / (1 + loss)))
    sums = np.zeros((2, layout.width))
    sums[:, 0] = 1
    sums[:, layout.seen] = 50
    sums[:, layout.loss_sum] = 50 * loss
    sums[:, layout.loss_square_sum] = 50 * loss**2
    sums[:, layout.mistakes] = wrong
    if layout.has_confusion:
        confusion = np.diag(50 - wrong)
        confusion[np.arange(num_classes), (np.arange(num_classes) + 1) % num_classes] += wrong
        sums[:, layout.confusion] = confusion.ravel()
    return sums


def begin_scan(
    run: Path, request: ScanRequest, names: Sequence[str] = NAMES, **known: Any
) -> ScanWriter:
    """Queue a scan and claim it, up to its first point; more is known of its geometry."""
    writer = ScanWriter(scan_folder(run, submit(run, request)))
    writer.claim()
    geometry = replace(geometry_for(request, names), **known)
    writer.begin(geometry, coordinates_for(request), np.ones((request.dims, 4), "f4"))
    return writer


def fill(
    writer: ScanWriter,
    request: ScanRequest,
    names: Sequence[str],
    share: float,
    *,
    stride: int = 1,
    chunks: Callable[[tuple[int, ...]], int] = lambda _: 2,
) -> None:
    """Compute the first points of a scan, or every so many-th of each axis."""
    geometry, coordinates = geometry_for(request, names), coordinates_for(request)
    for point, index in enumerate(np.ndindex(*request.points)):
        is_due = point < share * request.num_points and not any(i % stride for i in index)
        if is_due and not writer.chunks_done()[point].any():
            at = [float(axis[i]) for axis, i in zip(coordinates, index, strict=True)]
            for split in range(len(request.splits)):
                writer.add(point, split, chunk_sums(geometry, at)[: chunks(index)])


@pytest.fixture(scope="session")
def make_scan():
    """Writes a scan and leaves it in some state; the id of it.

    Scans that run are still held when it returns, and given back at the end.
    """
    writers: list[ScanWriter] = []

    def make(
        run: Path,
        request: ScanRequest | None = None,
        *,
        state: ScanState = ScanState.DONE,
        share: float = 1.0,
        names: Sequence[str] = NAMES,
        message: str = "",
        stride: int = 1,
        chunks: Callable[[tuple[int, ...]], int] = lambda _: 2,
        report: ScanReport | None = None,
        **known: Any,
    ) -> str:
        request = request or ask()
        if state == ScanState.QUEUED:
            return submit(run, request)
        writer = begin_scan(run, request, names, **known)
        fill(writer, request, names, share, stride=stride, chunks=chunks)
        if report is not None:
            writer.report(report)
        if state == ScanState.RUNNING:
            writer.flush(force=True)
            writers.append(writer)
        else:
            writer.finish(state, message)
        return writer.folder.name

    yield make
    for writer in writers:
        writer.release()


@pytest.fixture(scope="session")
def begin():
    """Queues a scan and claims it, up to its first point."""
    return begin_scan


@pytest.fixture(scope="session")
def fill_scan():
    """Computes the first share of a scan's points."""
    return fill


@pytest.fixture(scope="session")
def ask_scan():
    """A request for a scan."""
    return ask


@pytest.fixture(scope="session")
def make_view():
    """The view of a run that was never on a disk."""

    def make(
        num_classes: int = 5,
        epochs: int = 8,
        *,
        names: Sequence[str] | None = None,
        change: Callable[[np.ndarray], None] | None = None,
    ) -> RunView:
        shape = (0, 2, num_classes, num_classes)
        counts = np.array([counts_at(e, num_classes) for e in range(1, epochs + 1)], np.int32)
        counts = counts.reshape(-1, *shape[1:])
        if change is not None:
            change(counts)
        scalars = [scalars_at(e + 1, counts[e]) for e in range(epochs)]
        return RunView(
            path=Path("runs/pets.zarr"),
            description=describe(names or names_for(num_classes)),
            head=RunHead(num_records=epochs),
            epochs=np.arange(1, epochs + 1),
            records=np.arange(epochs),
            class_epochs=np.arange(1, epochs + 1),
            scalars=np.array(
                [[row.get(name, 1.0) for name in COLUMNS] for row in scalars]
            ).reshape(epochs, len(COLUMNS)),
            counts=counts,
            recall=recall(counts),
            notes=np.stack([dancing_notes(cctm(counts[:, s])) for s in range(2)], axis=1),
        )

    return make


@pytest.fixture(scope="session")
def make_scene(make_view):
    """A scene of a run of five classes and eight epochs, with changes."""
    view = make_view()

    def make(*, look: Look | None = None, **changes) -> Scene:
        return replace(Scene(look=look or Look(), view=view), **changes)

    return make


@pytest.fixture(scope="session")
def scene_of_scans(make_scene, read_view):
    """The landscape of a run with some of its scans; the last one is in focus by itself."""

    def make(run: Path, *scan_ids: str, look: Look | None = None, **selection: Any) -> Scene:
        view, scans = read_view(run), [ScanReader(run, scan_id) for scan_id in scan_ids]
        scene = make_scene(
            look=look,
            view=view,
            scans=tuple(map(scan_row, scans)),
            selection=Selection(view="landscape", **selection),
        )
        pictures = {scan.scan_id: picture_of(scan, view) for scan in scans}
        series = [row.scan_id for row in scene.series]
        found = [pictures[scan_id] for scan_id in series] if len(series) > 1 else []
        return replace(
            scene,
            picture=pictures[scene.scan.scan_id] if scene.scan else None,
            siblings=tuple(picture for picture in found if picture is not None),
        )

    return make


@pytest.fixture(scope="session")
def read_view():
    """A run as it stands, complete."""

    def read(path: Path) -> RunView:
        reader = RunReader(path)
        return RunHistory(reader).advance(reader.head())

    return read


def text_of(lines: Sequence[Strip]) -> str:
    """Lines as a person reads them."""
    return "\n".join(line.text.rstrip() for line in lines)


@pytest.fixture(scope="session")
def read_lines():
    """Lines as a person reads them."""
    return text_of
