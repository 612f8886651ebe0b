"""Exports are complete whatever the batches, and whole or not there."""

import csv
import json
import tracemalloc

import numpy as np
import pytest

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import SPLITS
from lossviz_analysis.store.writer import RunWriter
from lossviz_tui import history
from lossviz_tui.exporting import export_run


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
