"""A view of a run: the last record of each epoch, whatever was read when."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_analysis.classwise.confusion import cctm, recall
from lossviz_analysis.classwise.notes import dancing_notes
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.head import RunHead
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.writer import RunWriter
from lossviz_tui import history, matrices
from lossviz_tui.history import RunHistory, RunView

ARRAYS = ("epochs", "records", "scalars", "class_epochs", "recall", "notes")


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


def history_of(reader: MemoryReader) -> RunHistory:
    return RunHistory(reader, for_views=reader)


def snapshot(view: RunView) -> dict[str, np.ndarray]:
    return {name: getattr(view, name).copy() for name in ARRAYS}


def assert_equal(view: RunView, expected: dict[str, np.ndarray]) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(view, name), expected[name], err_msg=name)


@settings(max_examples=60, deadline=None)
@given(
    epochs=st.lists(st.integers(0, 12), min_size=1, max_size=30),
    steps=st.integers(0, 4),
    is_large=st.booleans(),
    batch=st.integers(1, 5),
    data=st.data(),
)
def test_views_grow_without_changing_those_handed_out(
    description, epochs, steps, is_large, batch, data
):
    """Read in any steps: each view is a part of what a naive reading gives, and stays it."""
    reader = MemoryReader(np.array(epochs, float), description)
    handed_out: list[tuple[RunView, dict[str, np.ndarray]]] = []
    stop = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "_MAX_BATCH", batch)
        patch.setattr(history, "COUNTS_BYTES", 100 if is_large else 2**20)
        grown = history_of(reader)
        while stop < len(epochs):
            stop = data.draw(st.integers(stop + 1, len(epochs)))
            head, expected = RunHead(num_records=stop), naive(reader, stop)
            views = [grown.advance(head, seconds=-1.0) for _ in range(steps)]
            view = grown.advance(head)
            for one in (*views, view):
                assert_consistent(one, expected)
                handed_out.append((one, snapshot(one)))
            assert view.coverage == ""
            np.testing.assert_array_equal(view.class_epochs, view.epochs)
    for view, seen in handed_out:
        assert_equal(view, seen)


def naive(reader: MemoryReader, stop: int) -> dict[str, np.ndarray]:
    """What a view of the first records should hold, complete."""
    last = {int(epoch): record for record, epoch in enumerate(reader.epochs[:stop])}
    records = [last[epoch] for epoch in sorted(last)]
    counts = reader.counts(0, stop)[records]
    return {
        "epochs": np.array(sorted(last)),
        "records": np.array(records),
        "scalars": reader.scalars(0, stop)[records],
        "counts": counts,
        "recall": recall(counts),
        "notes": np.stack([dancing_notes(cctm(counts[:, s])) for s in range(2)], axis=1),
    }


def assert_consistent(view: RunView, expected: dict[str, np.ndarray]) -> None:
    """All scalars are there, and of the arrays by class the right part."""
    for name in ("epochs", "records", "scalars"):
        np.testing.assert_array_equal(getattr(view, name), expected[name], err_msg=name)
    places = np.searchsorted(expected["epochs"], view.class_epochs)
    np.testing.assert_array_equal(expected["epochs"][places], view.class_epochs)
    assert view.class_epochs[-1] == view.epochs[-1]  # the newest come first
    assert view.num_waiting == len(view.epochs) - len(view.class_epochs)
    for name in ("recall", "notes"):
        np.testing.assert_array_equal(getattr(view, name), expected[name][places], name)
    for position in range(len(view)):
        np.testing.assert_array_equal(view.counts_at(position), expected["counts"][position])


def test_the_last_record_of_an_epoch_counts_across_attempts(tmp_path, make_run, read_view):
    path = make_run(tmp_path / "a.zarr", epochs=4)
    changed = np.full((2, 5, 5), 7, np.int32)
    with RunWriter(path) as writer:
        writer.commit_record(changed, {"epoch": 3.0, "test_accuracy": 0.2})
    view = read_view(path)
    assert view.epochs.tolist() == [1, 2, 3, 4]
    assert (view.counts_at(2) == 7).all()
    assert view.counts_at(3)[0, 0, 0] != 7
    assert view.column("attempt").tolist() == [1, 1, 2, 1]
    assert view.column("test_accuracy")[2] == 0.2


def test_reading_in_batches_is_reading_at_once(tmp_path, make_run, read_view, monkeypatch):
    path = make_run(tmp_path / "a.zarr")
    at_once = read_view(path)
    monkeypatch.setattr(history, "_BATCH_BYTES", 1)
    assert_equal(read_view(path), snapshot(at_once))


def test_each_record_is_read_once(description):
    asked: list[tuple[int, int]] = []

    class Counting(MemoryReader):
        def counts(self, start, stop):
            asked.append((start, stop))
            return super().counts(start, stop)

    grown = history_of(Counting(np.arange(9.0), description))
    for stop in (2, 2, 5, 9):
        grown.advance(RunHead(num_records=stop))
    assert asked == [(0, 2), (2, 5), (5, 9)]


def test_the_newest_records_are_read_first(description, monkeypatch):
    monkeypatch.setattr(history, "_MAX_BATCH", 2)
    grown = history_of(MemoryReader(np.arange(7.0), description))
    head = RunHead(num_records=7)
    view = grown.advance(head, seconds=-1.0)
    assert len(view.scalars) == len(view.epochs) == 7
    assert (view.class_epochs.tolist(), view.num_waiting) == ([5, 6], 5)
    assert view.coverage == "2 of 7 epochs"
    assert view.is_contiguous
    read = [grown.advance(head, seconds=-1.0).class_epochs.tolist() for _ in range(3)]
    assert read == [[3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6]]


def test_a_long_run_keeps_every_so_many_th_epoch_within_its_budget(description, monkeypatch):
    monkeypatch.setattr(history, "DERIVED_BYTES", 16 * 20 * 3)  # sixteen epochs of 3 classes
    reader = MemoryReader(np.arange(100.0), description)
    whole = naive(reader, 100)
    late = history_of(reader).advance(RunHead(num_records=100))
    assert late.stride == 16
    assert late.class_epochs.tolist() == [0, 16, 32, 48, 64, 80, 96, 99]
    grown = history_of(reader)
    view = late
    for stop in range(1, 101):
        view = grown.advance(RunHead(num_records=stop))
        assert len(view.class_epochs) <= 17
        assert view.class_epochs[-1] == stop - 1
        assert (np.diff(view.class_epochs) <= view.stride).all()
        assert view.num_waiting == 0
    for found in (late, view):
        assert found.is_partial
        assert not found.is_contiguous
        np.testing.assert_array_equal(found.notes, whole["notes"][found.class_epochs])
        np.testing.assert_array_equal(found.recall, whole["recall"][found.class_epochs])
        assert found.coverage == f"{len(found.class_epochs)} of 100 epochs"


def test_a_damaged_record_is_left_out_and_tried_again(description, monkeypatch):
    damaged = {4}

    class Damaged(MemoryReader):
        def counts(self, start, stop):
            if damaged & set(range(start, stop)):
                raise StoreError("record 4 is damaged")
            return super().counts(start, stop)

    grown = history_of(Damaged(np.arange(8.0), description))
    head = RunHead(num_records=8)
    view = grown.advance(head)
    assert view.class_epochs.tolist() == [0, 1, 2, 3, 5, 6, 7]
    assert view.unreadable == ("record 4 is damaged",)
    assert not view.is_contiguous
    with pytest.raises(StoreError, match="record 4"):
        view.counts_at(4)
    damaged.clear()
    monkeypatch.setattr(history, "RETRY_SECONDS", -1.0)
    view = grown.advance(head)
    assert view.class_epochs.tolist() == list(range(8))
    assert view.unreadable == ()
    assert_consistent(view, naive(Damaged(np.arange(8.0), description), 8))


def test_epochs_that_are_no_numbers_of_epochs_are_left_out(description):
    epochs = np.array([1.0, np.inf, 1.5, 2.0, -np.inf, 1e300, 3.0])
    view = history_of(MemoryReader(epochs, description)).advance(RunHead(num_records=7))
    assert view.epochs.tolist() == [1, 2, 3]
    assert view.records.tolist() == [2, 3, 6]


def test_a_run_without_records_has_a_view_without_epochs(tmp_path, make_run, read_view):
    view = read_view(make_run(tmp_path / "a.zarr", epochs=0))
    assert len(view) == 0
    assert view.recall.shape == (0, 2, 5)
    assert view.coverage == ""
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
            found = view.row_by_epoch(split, true_class)
            np.testing.assert_array_equal(found.rates, expected)
            assert found.is_complete
    assert np.isnan(view.row_by_epoch("test", 3).rates[2]).all()


def test_rows_of_large_matrices_are_read_coarse_steps_first(description, monkeypatch):
    asked: list[int] = []

    class Counting(MemoryReader):
        def counts(self, start, stop):
            asked.extend(range(start, stop))
            return super().counts(start, stop)

    monkeypatch.setattr(history, "COUNTS_BYTES", 100)
    monkeypatch.setattr(matrices, "PATIENCE_SECONDS", -1.0)
    reader = Counting(np.arange(9.0), description)
    grown = history_of(reader)
    view = grown.advance(RunHead(num_records=9))
    assert view.counts is None
    expected = cctm(naive(reader, 9)["counts"][:, 1])[:, 2]
    asked.clear()
    first = view.row_by_epoch("test", 2)
    assert (first.epochs.tolist(), first.is_complete) == ([8], False)
    while grown.read_on(-1.0):
        found = view.row_by_epoch("test", 2)
        np.testing.assert_array_equal(found.rates, expected[found.places])
        np.testing.assert_array_equal(found.epochs, found.places)
    assert asked == [8, 0, 4, 2, 6, 1, 3, 5, 7]
    whole = view.row_by_epoch("test", 2)
    assert whole.is_complete
    np.testing.assert_array_equal(whole.rates, expected)
    assert not grown.read_on(1.0)


def test_rows_nobody_asks_for_any_more_are_not_read_on(description, monkeypatch):
    monkeypatch.setattr(history, "COUNTS_BYTES", 100)
    monkeypatch.setattr(matrices, "PATIENCE_SECONDS", -1.0)
    grown = history_of(MemoryReader(np.arange(9.0), description))
    view = grown.advance(RunHead(num_records=9))
    view.row_by_epoch("test", 2)
    assert grown.read_on(-1.0)
    monkeypatch.setattr(matrices, "WANTED_SECONDS", -1.0)
    assert not grown.read_on(1.0)


def test_the_matrices_looked_at_last_are_kept_and_no_others(description, monkeypatch):
    asked: list[int] = []

    class Counting(MemoryReader):
        def counts(self, start, stop):
            asked.append(start)
            return super().counts(start, stop)

    monkeypatch.setattr(matrices, "KEPT_BYTES", 3 * 2 * 9 * 4)
    found = matrices.Matrices(Counting(np.arange(9.0), description))
    for record in (0, 1, 2, 0, 3, 0, 1):
        assert found.counts(record).shape == (2, 3, 3)
    assert asked == [0, 1, 2, 3, 1]


def test_matrices_serve_several_threads(tmp_path, make_run):
    path = make_run(tmp_path / "a.zarr")
    found = matrices.Matrices(RunReader(path))
    expected = RunReader(path).counts(0, 8)
    records = np.arange(8)

    def look(number: int) -> bool:
        places, rows = found.rows(records, "test", number % 5)
        same = np.array_equal(rows, expected[places, 1, number % 5])
        return same and np.array_equal(found.counts(number % 8), expected[number % 8])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(look, range(200)))
