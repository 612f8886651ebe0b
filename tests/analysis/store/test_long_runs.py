"""Runs of many records, many checkpoints and many clocks."""

import json
import shutil
import time

import numpy as np
import pytest

from lossviz_analysis.store import fields as fields_module
from lossviz_analysis.store import writer as writer_module
from lossviz_analysis.store.checkpoints import (
    Checkpoint,
    checkpoint_folder,
    numbers_on_disk,
    write_checkpoint,
)
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.head import read_run_head, write_head
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.retention import Retention
from lossviz_analysis.store.scans import submit
from lossviz_analysis.store.schema import RECORD_CAPACITY
from lossviz_analysis.store.writer import RunWriter


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("lossviz_analysis.store.reader._PAUSE_SECONDS", 0.0)


def skip_to(run, num_records):
    """Let a run have so many records already, of which nothing is on disk."""
    write_head(run / "records", read_run_head(run / "records").next(num_records=num_records))


def declare_rows(run, many):
    for name in ("scalars", "confusion"):
        path = run / "records" / name / "zarr.json"
        document = json.loads(path.read_bytes())
        document["shape"][0] = many
        path.write_text(json.dumps(document))


@pytest.mark.parametrize("border", [64, 65_536, 2**20])
def test_records_go_on_across_a_border(run, counts_of, scalars_of, border):
    skip_to(run, border - 2)
    with RunWriter(run) as writer:
        for number in range(4):
            assert writer.commit_record(counts_of(number), scalars_of(number)) == (
                border - 2 + number
            )
    reader = RunReader(run)
    assert reader.head().num_records == border + 2
    found = reader.counts(border - 2, border + 2)
    assert np.array_equal(found, [counts_of(n) for n in range(4)])
    columns = reader.description.scalar_columns
    rows = reader.scalars(border - 2, border + 2)
    assert rows[:, columns.index("twice")].tolist() == [0, 2, 4, 6]
    with pytest.raises(StoreError, match="not there yet"):
        reader.counts(border - 3, border)


@pytest.mark.parametrize("capacity", [65_536, RECORD_CAPACITY])
def test_the_last_record_fits_and_the_one_after_it_is_refused(
    run, counts_of, scalars_of, capacity
):
    declare_rows(run, capacity)
    skip_to(run, capacity - 1)
    with RunWriter(run) as writer:
        assert writer.commit_record(counts_of(0), scalars_of(0)) == capacity - 1
        with pytest.raises(StoreError, match=f"full: it holds {capacity} records"):
            writer.commit_record(counts_of(1), scalars_of(1))
        assert writer.head.num_records == capacity
    assert np.array_equal(RunReader(run).counts(capacity - 1, capacity)[0], counts_of(0))


def test_a_run_of_before_with_fewer_rows_and_plainer_checkpoints_is_read_and_written(
    run, counts_of, scalars_of
):
    declare_rows(run, 65_536)
    state = Checkpoint(epoch=1, parameters={"w": np.arange(5, dtype="f4")})
    with RunWriter(run) as writer:
        writer.commit_record(counts_of(0), scalars_of(0))
        writer.commit_checkpoint(state)
    path = checkpoint_folder(run, 1) / "zarr.json"
    document = json.loads(path.read_bytes())
    del document["attributes"]["index_digest"]
    path.write_text(json.dumps(document))
    with RunWriter(run) as writer:
        writer.commit_record(counts_of(1), scalars_of(1))
        writer.commit_checkpoint(state)
    reader = RunReader(run)
    assert np.array_equal(reader.counts(0, 2), [counts_of(0), counts_of(1)])
    for number in (1, 2):
        assert reader.checkpoint(number).parameters["w"].tolist() == [0, 1, 2, 3, 4]


def test_a_head_that_names_more_than_the_arrays_hold_is_refused(run, counts_of, scalars_of):
    declare_rows(run, 100)
    with RunWriter(run) as writer:
        writer.commit_record(counts_of(0), scalars_of(0))
    skip_to(run, 101)
    for read in (RunReader(run).counts, RunReader(run).scalars):
        with pytest.raises(StoreError, match="has no record 100"):
            read(0, 101)


def test_records_that_are_only_named_cost_no_time(run, counts_of, scalars_of):
    with RunWriter(run) as writer:
        writer.commit_record(counts_of(0), scalars_of(0))
    skip_to(run, RECORD_CAPACITY)
    reader, began = RunReader(run), time.monotonic()
    for read in (reader.counts, reader.scalars):
        with pytest.raises(StoreError, match=r"not there yet|too large"):
            read(0, RECORD_CAPACITY)
    assert time.monotonic() - began < 2


def test_having_waited_in_vain_a_reader_does_not_wait_for_every_other_record(
    run, counts_of, scalars_of, monkeypatch
):
    with RunWriter(run) as writer:
        for number in range(20):
            writer.commit_record(counts_of(number), scalars_of(number))
    for path in (run / "records" / "confusion").glob("c.*"):
        path.unlink()
    pauses = []
    monkeypatch.setattr("lossviz_analysis.store.reader.time.sleep", pauses.append)
    reader = RunReader(run)
    for number in range(20):
        with pytest.raises(StoreError, match="not there yet"):
            reader.counts(number, number + 1)
    assert len(pauses) == 3


def test_clocks_that_jump_change_no_order(run, counts_of, scalars_of, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(writer_module.time, "time", lambda: clock[0])
    wall = [1.8e9, 0.0, 7.26e9, -1.0, 1.8e9, 1.7e9]  # 2027, 1970, 2200, 1969, 2027, 2023
    sequences = []
    for number, seconds in enumerate(wall):
        clock[0] = seconds
        with RunWriter(run) as writer:
            writer.commit_record(counts_of(number), scalars_of(number))
            writer.commit_checkpoint(
                Checkpoint(epoch=number + 1, parameters={"w": np.full(2, number, "f4")})
            )
            sequences.append(RunReader(run).head().sequence)
    assert sequences == sorted(set(sequences))
    reader = RunReader(run)
    rows = reader.scalars(0, len(wall))
    columns = reader.description.scalar_columns
    assert rows[:, columns.index("epoch")].tolist() == [1, 2, 3, 4, 5, 6]
    assert rows[:, columns.index("attempt")].tolist() == [1, 2, 3, 4, 5, 6]
    assert rows[:, columns.index("wall_time")].tolist() == wall
    infos = reader.checkpoints()
    assert [(c.number, c.epoch, c.record) for c in infos] == [
        (k + 1, k + 1, k) for k in range(6)
    ]
    assert reader.head().latest_checkpoint == 6


def make_checkpoints(run, many):
    """So many published checkpoints without arrays: enough for retention."""
    state = Checkpoint(epoch=0, parameters={"w": np.zeros(100, "f4")})
    write_checkpoint(run, 1, state, record=-1, attempt=1)
    document = json.loads((checkpoint_folder(run, 1) / "zarr.json").read_bytes())
    for number in range(2, many + 1):
        attributes = document["attributes"]
        attributes.update(number=number, epoch=number - 1, record=number - 2)
        folder = checkpoint_folder(run, number)
        folder.mkdir()
        (folder / "zarr.json").write_text(json.dumps(document))
    head = read_run_head(run / "records")
    write_head(run / "records", head.next(latest_checkpoint=many))


@pytest.fixture
def opened(monkeypatch):
    """Which metadata files are read."""
    paths = []
    read = fields_module.read_regular

    def watched(path, limit):
        paths.append(path)
        return read(path, limit)

    monkeypatch.setattr(fields_module, "read_regular", watched)
    return paths


@pytest.mark.slow
def test_ten_thousand_checkpoints_cost_the_next_ones_nothing(run, opened):
    many = 10_000
    make_checkpoints(run, many)
    roomy = Retention(keep_last=3, budget_bytes=10**9)
    with RunWriter(run, retention=roomy) as writer:
        costs = []
        for number in range(4):
            opened.clear()
            began = time.monotonic()
            state = Checkpoint(
                epoch=many + number, parameters={"w": np.full(100, number, "f4")}
            )
            writer.commit_checkpoint(state)
            costs.append((len(opened), time.monotonic() - began))
    assert costs[0][0] >= many  # once, as it does not know them
    assert max(count for count, _ in costs[1:]) < 10
    assert min(seconds for _, seconds in costs[1:]) < 0.5
    assert len(numbers_on_disk(run)) == many + 4

    reader = RunReader(run)
    opened.clear()
    assert len(reader.checkpoints()) == many + 4
    assert len(opened) >= many + 4
    opened.clear()
    assert len(reader.checkpoints()) == many + 4
    assert len(opened) == 0

    size = reader.checkpoints()[0].num_bytes
    small = Retention(keep_last=3, budget_bytes=200 * size)
    with RunWriter(run, retention=small) as writer:
        writer.commit_checkpoint(
            Checkpoint(epoch=many + 4, parameters={"w": np.ones(100, "f4")})
        )
    left = RunReader(run).checkpoints()
    assert 100 < len(left) <= 201
    assert [info.number for info in left] == numbers_on_disk(run)
    assert left[0].number == 1
    assert [info.number for info in left[-3:]] == [many + 3, many + 4, many + 5]
    assert list((run / "checkpoints").glob(".trash*")) == []


def state_of(epoch):
    return Checkpoint(epoch=epoch, parameters={"w": np.full(1_000, epoch, "f4")})


def test_a_checkpoint_asked_for_while_it_is_thinned_out_stays(run, ask, monkeypatch):
    asked = []
    set_aside = writer_module.set_aside

    def set_aside_and_ask(folder):
        trash = set_aside(folder)
        if folder.name == "c00000003" and not asked:
            asked.append(submit(run, ask(checkpoint=3)))
        return trash

    with RunWriter(run, retention=Retention(keep_last=2, budget_bytes=10**9)) as writer:
        for epoch in range(5):
            writer.commit_checkpoint(state_of(epoch))
    monkeypatch.setattr(writer_module, "set_aside", set_aside_and_ask)
    with RunWriter(run, retention=Retention(keep_last=2, budget_bytes=0)) as writer:
        writer.commit_checkpoint(state_of(5))
        assert len(asked) == 1
        assert numbers_on_disk(run) == [1, 3, 5, 6]
        # Nor does a later thinning take it.
        writer.commit_checkpoint(state_of(6))
    reader = RunReader(run)
    assert [info.number for info in reader.checkpoints()] == [1, 3, 6, 7]
    assert (reader.checkpoint(3).parameters["w"] == 2).all()
    assert list((run / "checkpoints").glob(".trash*")) == []


def test_a_checkpoint_folder_that_calls_itself_another_is_neither_listed_nor_thinned(run):
    with RunWriter(run, retention=Retention(keep_last=1, budget_bytes=10**9)) as writer:
        for epoch in range(3):
            writer.commit_checkpoint(state_of(epoch))
    shutil.rmtree(checkpoint_folder(run, 2))
    shutil.copytree(checkpoint_folder(run, 3), checkpoint_folder(run, 2))
    assert [info.number for info in RunReader(run).checkpoints()] == [1, 3]
    with pytest.raises(StoreError, match="number"):
        RunReader(run).checkpoint(2)
    with RunWriter(run, retention=Retention(keep_last=1, budget_bytes=0)) as writer:
        writer.commit_checkpoint(state_of(3))
    assert [info.number for info in RunReader(run).checkpoints()] == [1, 4]


def test_a_checkpoint_behind_a_link_is_not_read(run, tmp_path):
    with RunWriter(run) as writer:
        writer.commit_checkpoint(state_of(0))
    checkpoint_folder(run, 1).rename(tmp_path / "elsewhere")
    checkpoint_folder(run, 1).symlink_to(tmp_path / "elsewhere")
    assert RunReader(run).checkpoints() == ()
    with pytest.raises(StoreError, match="symbolic link"):
        RunReader(run).checkpoint(1)


def test_on_a_full_disk_old_checkpoints_make_room_for_the_new_one(run, monkeypatch):
    with RunWriter(run, retention=Retention(keep_last=1)) as writer:
        for epoch in range(4):
            writer.commit_checkpoint(state_of(epoch))
        answers = iter([False, True])
        monkeypatch.setattr(writer_module, "has_room", lambda *_: next(answers))
        writer.commit_checkpoint(state_of(4))
        assert numbers_on_disk(run) == [1, 4, 5]
        monkeypatch.setattr(writer_module, "has_room", lambda *_: False)
        before = writer.head
        with pytest.raises(OSError, match="no room for a checkpoint"):
            writer.commit_checkpoint(state_of(5))
        assert writer.head == before == RunReader(run).head()
    assert (RunReader(run).checkpoint(5).parameters["w"] == 4).all()
