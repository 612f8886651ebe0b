"""A view of a run: the last record of each epoch, whatever was read when."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_analysis.classwise.confusion import cctm, recall
from lossviz_analysis.classwise.notes import dancing_notes
from lossviz_analysis.store.head import RunHead
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.writer import RunWriter
from lossviz_tui import history
from lossviz_tui.history import RunHistory, RunView, read_view

ARRAYS = ("epochs", "scalars", "counts", "recall", "notes")


class MemoryReader(RunReader):
    """A reader of records that lie in memory."""

    def __init__(self, epochs, description) -> None:
        super().__init__(Path("nowhere.zarr"))
        self._description = description
        self.epochs = epochs

    def scalars(self, start, stop):
        numbers = np.arange(start, stop)
        columns = len(self.description.scalar_columns)
        rows = np.repeat(numbers[:, None].astype(float), columns, axis=1)
        rows[:, 0] = self.epochs[start:stop]
        return rows

    def counts(self, start, stop):
        draws = [np.random.default_rng(n).integers(0, 9, (2, 3, 3)) for n in range(start, stop)]
        return np.array(draws, np.int32).reshape(-1, 2, 3, 3)


@pytest.fixture(scope="session")
def description(make_view):
    return make_view(num_classes=3, epochs=1).description


def snapshot(view: RunView) -> dict[str, np.ndarray]:
    return {name: getattr(view, name).copy() for name in ARRAYS}


def assert_equal(view: RunView, expected: dict[str, np.ndarray]) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(view, name), expected[name], err_msg=name)


@settings(max_examples=60, deadline=None)
@given(epochs=st.lists(st.integers(0, 12), min_size=1, max_size=30), data=st.data())
def test_views_grow_without_changing_those_handed_out(description, epochs, data):
    """Read in any steps: each view is what a naive reading gives, and stays it."""
    reader = MemoryReader(np.array(epochs, float), description)
    grown = RunHistory(reader)
    handed_out: list[tuple[RunView, dict[str, np.ndarray]]] = []
    stop = 0
    while stop < len(epochs):
        stop = data.draw(st.integers(stop + 1, len(epochs)))
        view = grown.advance(RunHead(num_records=stop))
        last = {epoch: record for record, epoch in enumerate(epochs[:stop])}
        records = [last[epoch] for epoch in sorted(last)]
        counts = reader.counts(0, stop)[records]
        expected = {
            "epochs": np.array(sorted(last)),
            "scalars": reader.scalars(0, stop)[records],
            "counts": counts,
            "recall": recall(counts),
            "notes": np.stack([dancing_notes(cctm(counts[:, s])) for s in range(2)], axis=1),
        }
        assert_equal(view, expected)
        handed_out.append((view, snapshot(view)))
    for view, seen in handed_out:
        assert_equal(view, seen)


def test_the_last_record_of_an_epoch_counts_across_attempts(tmp_path, make_run):
    path = make_run(tmp_path / "a.zarr", epochs=4)
    changed = np.full((2, 5, 5), 7, np.int32)
    with RunWriter(path) as writer:
        writer.commit_record(changed, {"epoch": 3.0, "test_accuracy": 0.2})
    view = read_view(RunReader(path))
    assert view.epochs.tolist() == [1, 2, 3, 4]
    assert (view.counts[2] == 7).all()
    assert view.counts[3, 0, 0, 0] != 7
    assert view.column("attempt").tolist() == [1, 1, 2, 1]
    assert view.column("test_accuracy")[2] == 0.2


def test_reading_in_batches_is_reading_at_once(tmp_path, make_run, monkeypatch):
    path = make_run(tmp_path / "a.zarr")
    at_once = read_view(RunReader(path))
    monkeypatch.setattr(history, "_BATCH_BYTES", 1)
    assert_equal(read_view(RunReader(path)), snapshot(at_once))


def test_each_record_is_read_once(description):
    asked: list[tuple[int, int]] = []

    class Counting(MemoryReader):
        def counts(self, start, stop):
            asked.append((start, stop))
            return super().counts(start, stop)

    grown = RunHistory(Counting(np.arange(9.0), description))
    for stop in (2, 2, 5, 9):
        grown.advance(RunHead(num_records=stop))
    assert asked == [(0, 2), (2, 5), (5, 9)]


def test_a_run_without_records_has_a_view_without_epochs(tmp_path, make_run):
    view = read_view(RunReader(make_run(tmp_path / "a.zarr", epochs=0)))
    assert len(view) == 0
    assert view.counts.shape == (0, 2, 5, 5)
    assert view.column("test_loss").shape == (0,)


def test_a_column_the_run_has_not_is_nan(make_view):
    assert np.isnan(make_view(epochs=3).column("sharpness")).tolist() == [True] * 3


def test_one_row_by_epoch_is_that_row_of_every_cctm(make_view):
    def drop_class(counts):
        counts[2, 1, 3] = 0

    view = make_view(epochs=5, change=drop_class)
    for split in ("train", "test"):
        for true_class in range(5):
            expected = [view.rates(split, e)[true_class] for e in range(5)]
            np.testing.assert_array_equal(view.row_by_epoch(split, true_class), expected)
    assert np.isnan(view.row_by_epoch("test", 3)[2]).all()
