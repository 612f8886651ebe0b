"""Exports are complete whatever the batches, and whole or not there."""

import csv
import errno
import json
import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import pytest

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.results import read_result
from lossviz_analysis.store.scans import ScanReader, submit
from lossviz_analysis.store.schema import SPLITS, ScanState
from lossviz_analysis.store.writer import RunWriter
from lossviz_tui import exporting, history
from lossviz_tui.cli import import_surface
from lossviz_tui.exporting import export_run, export_scan


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    """Eight epochs, the third of them recorded again by a second attempt."""
    path = make_run(tmp_path_factory.mktemp("exports") / "pets.zarr")
    with RunWriter(path) as writer:
        writer.commit_record(np.full((2, 5, 5), 7, np.int32), {"epoch": 3.0})
    return path


@pytest.fixture(params=[1, 3, 256])
def batches(request, monkeypatch):
    monkeypatch.setattr(history, "_MAX_BATCH", request.param)


@pytest.mark.usefixtures("batches")
def test_an_npz_holds_every_epoch(run, read_view, tmp_path):
    view = read_view(run)
    counts = np.array([view.counts_at(e) for e in range(len(view))])
    export_run(RunReader(run), "scalars", tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as found:
        np.testing.assert_array_equal(found["epochs"], np.arange(1, 9))
        np.testing.assert_array_equal(found["scalars"], view.scalars)
        assert found["class_names"].tolist() == list(view.description.class_names)
        assert found["scalar_columns"].tolist() == list(view.description.scalar_columns)
        for number, split in enumerate(SPLITS):
            np.testing.assert_array_equal(found[f"{split}_confusion"], counts[:, number])
            np.testing.assert_array_equal(found[f"{split}_recall"], view.recall_of(split))
            np.testing.assert_array_equal(found[f"{split}_notes"], view.notes_of(split))
        assert (found["test_confusion"][2] == 7).all()


@pytest.mark.usefixtures("batches")
def test_a_csv_and_a_json_hold_every_epoch(run, read_view, tmp_path):
    view = read_view(run)
    for what in ("recall", "notes"):
        export_run(RunReader(run), what, tmp_path / "a.csv")
        with (tmp_path / "a.csv").open(newline="") as file:
            head, *rows = csv.reader(file)
        assert head == ["epoch", "split", *view.description.class_names]
        assert [row[:2] for row in rows] == [
            [str(epoch), split] for split in SPLITS for epoch in range(1, 9)
        ]
        values = np.array([[float(v) for v in row[2:]] for row in rows])
        expected = view.recall if what == "recall" else view.notes
        np.testing.assert_array_equal(values.reshape(2, 8, 5), np.swapaxes(expected, 0, 1))
    export_run(RunReader(run), "scalars", tmp_path / "a.json")
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["notes"] == {split: view.notes_of(split).tolist() for split in SPLITS}
    assert [row["epoch"] for row in found["epochs"]] == list(range(1, 9))


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".json"])
def test_a_damaged_record_leaves_no_half_file_and_the_old_one(
    make_run, tmp_path, suffix, monkeypatch
):
    path = make_run(tmp_path / "a.zarr")
    (path / "records" / "confusion" / "c.1.0.0.0").write_bytes(b"short")
    monkeypatch.setattr(history, "_MAX_BATCH", 2)
    out = tmp_path / f"out{suffix}"
    out.write_text("the one before")
    with pytest.raises(StoreError, match="damaged"):
        export_run(RunReader(path), "notes", out)
    assert out.read_text() == "the one before"
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.zarr", out.name}


@pytest.mark.slow
def test_a_wide_run_is_exported_in_less_memory_than_its_matrices(
    make_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(history, "COUNTS_BYTES", 1)
    path = make_run(tmp_path / "a.zarr", names=[f"class {c}" for c in range(400)], epochs=32)
    matrices = 32 * 2 * 400 * 400 * 4
    export_run(RunReader(path), "scalars", tmp_path / "warm.csv")
    tracemalloc.start()
    try:
        export_run(RunReader(path), "scalars", tmp_path / "a.npz")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < matrices
    with np.load(tmp_path / "a.npz") as found:
        np.testing.assert_array_equal(
            found["train_confusion"], RunReader(path).counts(0, 32)[:, 0]
        )


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".h5"])
def test_a_scan_is_written_whole_or_not_at_all(
    make_run, make_scan, tmp_path, monkeypatch, suffix
):
    path = make_run(tmp_path / "a.zarr")
    scan_id = make_scan(path)

    def burst(*_: object, **__: object) -> Iterator[list[float]]:
        yield [1.0]
        raise OSError(errno.ENOSPC, "No space left on device")

    def write_half(file: Path | IO[bytes], *_: object, **__: object) -> None:
        path = file if isinstance(file, Path) else Path(file.name)
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporting, "_scan_rows", burst)
    monkeypatch.setattr(exporting, "write_surface", write_half)
    monkeypatch.setattr(exporting.np, "savez_compressed", write_half)
    out = tmp_path / f"out{suffix}"
    out.write_text("the one before")
    with pytest.raises(OSError, match="No space left"):
        export_scan(RunReader(path), scan_id, out)
    assert out.read_text() == "the one before"
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.zarr", out.name}


def test_every_format_says_how_sure_the_values_of_a_scan_are(
    make_run, make_scan, ask_scan, tmp_path
):
    """Of five points one was given up, one is half done, and one was not begun."""
    path = make_run(tmp_path / "a.zarr")
    request = ask_scan(1, points=5, clip=0.3)
    scan_id = make_scan(
        path,
        request,
        share=0.8,
        state=ScanState.CANCELLED,
        chunks=lambda index: 1 if index[0] in (0, 1) else 2,
    )
    result = read_result(ScanReader(path, scan_id)).splits["train"]
    assert result.is_at_least.tolist() == [True, False, False, False, False]
    for suffix in (".csv", ".npz", ".json"):
        export_scan(RunReader(path), scan_id, tmp_path / f"a{suffix}")
    with (tmp_path / "a.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    columns = ("loss", "mistake_rate", "num_seen", "is_complete", "is_at_least")
    assert head == ["t1", *(f"train_{name}" for name in columns)]
    assert [row[3:] for row in rows] == [
        ["250", "0", "1"],
        ["250", "0", "0"],
        ["500", "1", "0"],
        ["500", "1", "0"],
        ["0", "0", "0"],
    ]
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["train_is_at_least"] == result.is_at_least.tolist()
    with np.load(tmp_path / "a.npz") as arrays:
        np.testing.assert_array_equal(arrays["train_is_at_least"], result.is_at_least)


# The layout of Li et al.'s code


@pytest.fixture
def export_surface(make_run, make_scan, ask_scan, tmp_path):
    """Exports a scan of so many points as an .h5; the scan's result and the open file."""
    path = make_run(tmp_path / "a.zarr")
    opened = []

    def export(points, *, share=1.0, with_directions=False) -> Any:
        request = replace(
            ask_scan(len(points), split="both"),
            points=points,
            ranges=((-0.1, 0.2), (-0.3, 0.1))[: len(points)],
        )
        state = ScanState.DONE if share == 1 else ScanState.CANCELLED
        scan_id = make_scan(path, request, share=share, state=state)
        out = tmp_path / "surface.h5"
        export_scan(RunReader(path), scan_id, out, with_directions=with_directions)
        opened.append(h5py.File(out))
        return read_result(ScanReader(path, scan_id)), opened[-1]

    yield export
    for file in opened:
        file.close()


@pytest.mark.parametrize("points", [(5, 5), (4, 7), (7, 4), (6,)])
def test_every_point_of_an_h5_is_where_the_layout_has_it(export_surface, points, tmp_path):
    result, file = export_surface(points)
    for name, t in zip(("xcoordinates", "ycoordinates"), result.coordinates, strict=False):
        np.testing.assert_array_equal(file[name][:], t)
    assert ("ycoordinates" in file) == (len(points) == 2)
    assert file["dir_file"].asstr()[()] == ""
    width = points[0]
    for split, values in result.splits.items():
        assert len(np.unique(values.loss)) > 1
        for what in ("loss", "acc"):
            assert file[f"{split}_{what}"].shape == points
        losses, accuracies = (file[f"{split}_{w}"][:].ravel() for w in ("loss", "acc"))
        for index in np.ndindex(*points):
            place = index[-1] * width + index[0] if len(points) == 2 else index[0]
            assert losses[place] == values.loss[index]
            rate = 100 - 100 * values.mistake_rate[index]
            assert accuracies[place] == pytest.approx(rate)
    assert not (tmp_path / "surface.directions.h5").exists()


def test_in_an_h5_a_point_that_is_not_done_is_minus_one(export_surface):
    result, file = export_surface((4, 3), share=0.5)
    known = result.splits["train"].is_complete
    assert 0 < known.sum() < known.size
    for name in ("train_loss", "train_acc", "test_loss", "test_acc"):
        in_order = file[name][:].ravel().reshape(3, 4).T
        np.testing.assert_array_equal(in_order == -1, ~known)


def test_in_an_h5_an_estimate_is_not_computed(make_run, begin, ask_scan, fill_scan, tmp_path):
    path = make_run(tmp_path / "a.zarr")
    request = ask_scan(1)
    writer = begin(path, request)
    fill_scan(writer, request, ("plane", "car", "cat", "dog", "ship"), 1.0)
    writer.cells[4, 0, 0] = 1.0  # of two chunks
    writer.finish(ScanState.CANCELLED)
    export_scan(RunReader(path), writer.folder.name, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as opened:
        file: Any = opened
        assert np.flatnonzero(file["train_loss"][:] == -1).tolist() == [4]


def test_directions_go_beside_an_h5_which_names_them(export_surface, tmp_path):
    _, file = export_surface((3, 4), with_directions=True)
    assert file["dir_file"].asstr()[()] == "surface.directions.h5"
    with h5py.File(tmp_path / "surface.directions.h5") as opened:
        directions: Any = opened
        for name in ("xdirection", "ydirection"):
            assert list(directions[name]) == ["0"]
            np.testing.assert_array_equal(directions[name]["0"][:], np.ones(4, "f4"))


def test_the_command_names_both_files(make_run, make_scan, cli, tmp_path):
    path = make_run(tmp_path / "a.zarr")
    out, beside = tmp_path / "b.h5", tmp_path / "b.directions.h5"
    words = ("export", path, "--scan", make_scan(path), "--out", out)
    assert cli(*words).out.splitlines() == [str(out)]
    assert not beside.exists()
    assert cli(*words, "--directions").out.splitlines() == [str(out), str(beside)]
    assert beside.exists()


def test_what_is_exported_can_be_imported(
    make_run, make_scan, ask_scan, cli, tmp_path, monkeypatch
):
    monkeypatch.setattr(import_surface, "request_scan", submit)
    path, out = make_run(tmp_path / "a.zarr"), tmp_path / "b.h5"
    asked = replace(ask_scan(split="both"), points=(4, 7), ranges=((-0.1, 0.2), (-0.3, 0.7)))
    cli("export", path, "--scan", make_scan(path, asked), "--out", out, "--directions")
    found = cli("import", out, "--into", path, "--checkpoint", 2)
    assert found.code == 0, found.err
    request = ScanReader(path, found.out.strip()).request
    for name in ("points", "ranges", "split", "checkpoint", "epoch"):
        assert getattr(request, name) == getattr(asked, name)


def test_without_its_checkpoint_a_scan_has_no_names_for_its_directions(
    make_run, make_scan, cli, tmp_path
):
    path = make_run(tmp_path / "a.zarr")
    words = ("export", path, "--scan", make_scan(path), "--out", tmp_path / "b.h5")
    shutil.rmtree(path / "checkpoints" / "c00000002")
    found = cli(*words, "--directions")
    assert (found.code, len(found.err.splitlines())) == (1, 1)
    assert "c00000002" in found.err
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.zarr"}
    assert cli(*words).code == 0


def test_an_h5_that_cannot_be_written_is_refused(make_run, make_scan, cli, tmp_path):
    path = make_run(tmp_path / "a.zarr")
    words = ("export", path, "--scan", make_scan(path), "--out", "/dev/null/b.h5")
    for more in ((), ("--directions",)):
        found = cli(*words, *more)
        assert "/dev/null/b.h5 cannot be written: Not a directory" in found.err


def test_an_h5_of_a_run_is_refused(run, tmp_path):
    with pytest.raises(StoreError, match="name the scan"):
        export_run(RunReader(run), "scalars", tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())
