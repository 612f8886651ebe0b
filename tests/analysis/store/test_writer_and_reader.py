"""What is committed is there, whole, and nothing else is, whatever fails in between."""

import contextlib
import errno
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import zarr

from lossviz_analysis.store import creation as creation_module
from lossviz_analysis.store import writer as writer_module
from lossviz_analysis.store.checkpoints import Checkpoint, checkpoint_folder, write_checkpoint
from lossviz_analysis.store.chunks import StoredArray
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import read_description
from lossviz_analysis.store.durable import DurableStore
from lossviz_analysis.store.fields import MAX_DEPTH, StoreError
from lossviz_analysis.store.head import TornHeadError, write_head
from lossviz_analysis.store.lock import LockHeldError
from lossviz_analysis.store.reader import RunReader, find_runs, standing
from lossviz_analysis.store.schema import (
    FIXED_COLUMNS,
    LOCK_NAME,
    PULSE_COLUMNS,
    Phase,
    RunState,
)
from lossviz_analysis.store.writer import RunWriter

TRY = """
import sys
from pathlib import Path
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.writer import RunWriter
try:
    RunWriter(Path(sys.argv[1])).open()
    print("opened")
except StoreError as error:
    print(error)
"""


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    def hurry(_seconds):
        pass

    monkeypatch.setattr("lossviz_analysis.store.reader.time.sleep", hurry)


@pytest.fixture
def commit(counts_of, scalars_of):
    """Commits the next records, each telling its number in every value."""

    def go(writer, how_many):
        for _ in range(how_many):
            number = writer.head.num_records
            assert writer.commit_record(counts_of(number), scalars_of(number)) == number

    return go


@pytest.fixture
def check(counts_of, scalars_of):
    """Reads every committed record and compares it with what it was."""

    def go(run):
        reader = RunReader(run)
        n = reader.head().num_records
        counts, scalars = reader.counts(0, n), reader.scalars(0, n)
        assert np.array_equal(counts, np.array([counts_of(k) for k in range(n)]))
        columns = reader.description.scalar_columns
        for name in ("epoch", "loss", "twice"):
            expected = [scalars_of(k)[name] for k in range(n)]
            assert scalars[:, columns.index(name)].tolist() == expected
        return scalars[:, columns.index("attempt")].tolist()

    return go


def test_a_new_run_is_empty_and_says_what_it_is(run, describe):
    reader = RunReader(run)
    assert reader.description == describe()
    assert reader.description.planned_epochs == 7
    head = reader.head()
    assert (head.num_records, head.attempt, head.state) == (0, 0, RunState.CREATED)
    assert head.nonce != 0
    assert reader.counts(0, 0).shape == (0, 2, 3, 3)
    assert reader.scalars(0, 0).shape == (0, 6)
    assert reader.checkpoints() == ()
    assert reader.pulse() is None
    assert len(reader.steps()) == 0


def test_two_runs_have_two_nonces(tmp_path, describe):
    for name in ("a", "b"):
        create_run(tmp_path / name, describe())
    nonces = {RunReader(tmp_path / name).head().nonce for name in ("a", "b")}
    assert len(nonces) == 2


def test_records_come_back_across_chunks_of_64_rows_and_across_resumes(run, commit, check):
    attempts = []
    for attempt, how_many in enumerate((60, 4, 1, 66), 1):
        with RunWriter(run) as writer:
            commit(writer, how_many)
        attempts += how_many * [float(attempt)]
    assert check(run) == attempts
    assert len(attempts) == 131
    assert np.array_equal(RunReader(run).scalars(63, 66)[:, 0], [64.0, 65.0, 66.0])
    stored = zarr.open_array(run / "records" / "scalars", mode="r")
    assert np.isnan(np.asarray(stored[131:192])).all()


def test_absent_scalars_are_nan_and_the_writer_fills_in_its_own(run, counts_of):
    with RunWriter(run) as writer:
        writer.commit_record(counts_of(0), {"epoch": 1.0})
    values = RunReader(run).scalars(0, 1)[0].tolist()
    row = dict(zip(RunReader(run).description.scalar_columns, values, strict=True))
    assert (row["epoch"], row["attempt"]) == (1.0, 1.0)
    assert row["wall_time"] > 1.7e9
    assert np.isnan([row["duration_s"], row["loss"], row["twice"]]).all()


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 3), (3, 3, 3), (2, 2, 2)])
def test_counts_of_another_shape_are_refused_with_both_shapes(run, shape):
    with RunWriter(run) as writer:
        with pytest.raises(StoreError, match=r"\(2, 3, 3\).*got \(" + str(shape[0])):
            writer.commit_record(np.zeros(shape, np.int64), {"epoch": 1.0})
        assert writer.head.num_records == 0


def test_unknown_columns_and_a_missing_epoch_are_refused(run, counts_of):
    with RunWriter(run) as writer:
        with pytest.raises(StoreError, match=r"no scalar columns.*'lr'"):
            writer.commit_record(counts_of(0), {"epoch": 1.0, "lr": 0.1})
        with pytest.raises(StoreError, match="needs its epoch"):
            writer.commit_record(counts_of(0), {"loss": 1.0})
        assert writer.head.num_records == 0


def declare_rows(run, many):
    for name in ("scalars", "confusion"):
        path = run / "records" / name / "zarr.json"
        document = json.loads(path.read_bytes())
        document["shape"][0] = many
        path.write_text(json.dumps(document))


def test_a_full_run_takes_no_more(run, counts_of):
    declare_rows(run, 2)
    with RunWriter(run) as writer:
        for number in range(2):
            writer.commit_record(counts_of(number), {"epoch": 1.0})
        with pytest.raises(StoreError, match="full"):
            writer.commit_record(counts_of(2), {"epoch": 1.0})


def test_every_opening_is_another_attempt_of_the_same_run(run):
    nonce = RunReader(run).head().nonce
    for attempt in (1, 2, 3):
        with RunWriter(run) as writer:
            assert writer.head.attempt == attempt
            assert RunReader(run).head() == writer.head
    assert RunReader(run).head().nonce == nonce


def test_what_lies_above_the_head_does_not_exist(run, commit, check):
    with RunWriter(run) as writer:
        commit(writer, 3)
    records = zarr.open_group(DurableStore(run / "records"), mode="r+")
    for name, value in (("confusion", 77), ("scalars", 77.0)):
        array = records[name]
        assert isinstance(array, zarr.Array)
        array[3:5] = value
    check(run)
    with RunWriter(run) as writer:
        commit(writer, 1)
    check(run)
    # The garbage below the commit is gone from the scalar chunk that was rewritten whole.
    with pytest.raises(StoreError, match="not there yet"):
        RunReader(run).scalars(0, 5)


@pytest.mark.parametrize("name", ["confusion/c.1.0.0.0", "scalars/c.0.0"])
def test_a_missing_chunk_of_a_committed_record_is_an_error_not_data(run, commit, name):
    with RunWriter(run) as writer:
        commit(writer, 3)
    (run / "records" / name).unlink()
    with pytest.raises(StoreError, match="not there yet"):
        RunReader(run).counts(0, 3) if "conf" in name else RunReader(run).scalars(0, 3)


@pytest.mark.parametrize("name", ["confusion/c.1.0.0.0", "scalars/c.0.0"])
def test_a_damaged_chunk_is_an_error_not_data(run, commit, name):
    with RunWriter(run) as writer:
        commit(writer, 3)
    path = run / "records" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        RunReader(run).counts(0, 3) if "conf" in name else RunReader(run).scalars(0, 3)


def test_a_chunk_that_comes_late_is_waited_for(run, commit, check, monkeypatch):
    with RunWriter(run) as writer:
        commit(writer, 2)
    path = run / "records" / "confusion" / "c.1.0.0.0"
    late = path.rename(run / "late")

    def arrive(_seconds):
        late.rename(path)

    monkeypatch.setattr("lossviz_analysis.store.reader.time.sleep", arrive)
    check(run)


def test_a_resume_drops_what_was_never_published(run, commit, check):
    state = Checkpoint(epoch=1, parameters={"w": np.ones(3, "f4")})
    with RunWriter(run) as writer:
        commit(writer, 1)
        writer.commit_checkpoint(state)
    write_checkpoint(run, 2, state, record=0, attempt=1)
    litter = [
        run / "records" / "confusion" / "c.1.0.0.0.12ab.partial",
        run / "live" / "heartbeat" / "c.0.12ab.partial",
        run / "checkpoints" / ".trash-c00000000-12ab" / "zarr.json",
    ]
    for path in litter:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    foreign = run / "scans" / "theirs" / "c.0.12ab.partial"
    foreign.parent.mkdir()
    foreign.write_text("a scan worker is writing this")

    assert [info.number for info in RunReader(run).checkpoints()] == [1]
    with pytest.raises(StoreError, match="no checkpoint 2"):
        RunReader(run).checkpoint(2)
    with RunWriter(run):
        assert not any(path.exists() for path in litter)
        assert not checkpoint_folder(run, 2).exists()
        assert foreign.exists()
    check(run)
    assert RunReader(run).checkpoint(1).epoch == 1


def test_checkpoints_are_published_with_the_record_they_belong_to(run, commit):
    with RunWriter(run) as writer:
        first = writer.commit_checkpoint(Checkpoint(epoch=0, parameters={"w": np.zeros(2)}))
        commit(writer, 2)
        second = writer.commit_checkpoint(
            Checkpoint(epoch=2, parameters={"w": np.ones(2)}), is_best=True
        )
        third = writer.commit_checkpoint(Checkpoint(epoch=2, step=5, parameters={}))
    reader = RunReader(run)
    assert reader.checkpoints() == (first, second, third)
    assert [(c.number, c.record, c.epoch, c.step) for c in (first, second, third)] == [
        (1, -1, 0, 0),
        (2, 1, 2, 0),
        (3, 1, 2, 5),
    ]
    head = reader.head()
    assert (head.latest_checkpoint, head.best_checkpoint) == (3, 2)
    assert head.latest_checkpoint_record == 1
    assert reader.checkpoint(2).parameters["w"].tolist() == [1.0, 1.0]


def test_a_checkpoint_folder_with_a_strange_name_is_left_out(run, commit):
    with RunWriter(run) as writer:
        commit(writer, 1)
        writer.commit_checkpoint(Checkpoint(epoch=0, parameters={"w": np.zeros(2)}))
    for name in ("c²", "cx", "c", "d00000001", "c00000000"):
        (run / "checkpoints" / name).mkdir()
    assert [info.number for info in RunReader(run).checkpoints()] == [1]
    with RunWriter(run) as writer:
        writer.commit_checkpoint(Checkpoint(epoch=1, parameters={"w": np.zeros(2)}))


def test_a_second_writer_is_refused_by_name_here_and_in_another_process(run, start_child):
    with RunWriter(run) as writer:
        head = writer.head
        with pytest.raises(LockHeldError, match=f"process {os.getpid()}"):
            RunWriter(run).open()
        assert f"process {os.getpid()}" in start_child(TRY, run).stdout.read()
        assert RunReader(run).head() == head
        assert RunReader(run).is_written()
    assert not RunReader(run).is_written()
    assert start_child(TRY, run).stdout.read() == "opened\n"
    with RunWriter(run) as writer:
        assert writer.head.attempt == 3


def test_a_writer_that_could_not_open_leaves_the_lock(run):
    path = run / "records" / "head" / "c.0"
    good = path.read_bytes()
    path.write_bytes(b"torn")
    with pytest.raises(TornHeadError):
        RunWriter(run).open()
    assert not RunReader(run).is_written()
    path.write_bytes(good)
    with RunWriter(run) as writer:
        assert writer.head.attempt == 1


@pytest.fixture
def fails_at(monkeypatch):
    """Lets one fsync fail, counted from 0; how many there were is in the list it gives."""

    @contextlib.contextmanager
    def go(step, code=errno.ENOSPC):
        calls = []
        fsync = os.fsync

        def fails_once(descriptor):
            calls.append(descriptor)
            if len(calls) == step + 1:
                raise OSError(code, os.strerror(code))
            fsync(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fails_once)
            yield calls

    return go


@pytest.mark.parametrize("step", range(6))
def test_a_record_that_fails_is_committed_whole_or_not_at_all_and_never_twice(
    run, commit, check, fails_at, step
):
    """A record is three durable writes of two fsyncs each: confusion, scalars, head."""
    with RunWriter(run) as writer:
        commit(writer, 2)
        before = writer.head
        with fails_at(step) as calls:
            with pytest.raises(OSError, match="No space"):
                commit(writer, 1)
            assert len(calls) == step + 1
            # Memory follows the disk, so whoever tries again can tell whether to.
            assert writer.head == RunReader(run).head()
            if step < 5:
                assert writer.head == before
                commit(writer, 1)
                assert len(calls) == step + 1 + 6
            else:  # the sync of the folder: the new head has its name, and readers saw it
                assert writer.head.num_records == before.num_records + 1
        commit(writer, 1)
        assert list(run.rglob("*.partial")) == []
    assert check(run) == [1.0] * 4


def test_a_checkpoint_that_fails_anywhere_is_published_whole_or_not_at_all(run, fails_at):
    outcomes, calls = [], []
    with RunWriter(run) as writer:
        for step in itertools.count():
            before = writer.head
            state = Checkpoint(epoch=step, parameters={"w": np.full(5, step, "f4")})
            with fails_at(step) as calls:
                try:
                    writer.commit_checkpoint(state)
                except OSError:
                    outcomes.append(writer.head.latest_checkpoint - before.latest_checkpoint)
                else:
                    break
            head = RunReader(run).head()
            assert writer.head == head
            numbers = [info.number for info in RunReader(run).checkpoints()]
            assert numbers == list(range(1, head.latest_checkpoint + 1))
            folders = sorted(path.name for path in (run / "checkpoints").glob("c*"))
            assert len(folders) == len(numbers)
            if outcomes[-1]:
                found = RunReader(run).checkpoint(head.latest_checkpoint)
                assert found.parameters["w"].tolist() == [step] * 5
    # Only the sync of the folder after the head's rename comes too late to take it back.
    assert len(outcomes) == len(calls) > 8
    assert outcomes == [0] * (len(outcomes) - 1) + [1]


def test_nobody_meets_half_a_run(tmp_path, describe, monkeypatch):
    path = tmp_path / "deep" / "some.zarr"
    met = []
    create_array, fsync_tree = creation_module.create_array, creation_module.fsync_tree

    def look(*args, **kwargs):
        met.append((path.exists(), find_runs(tmp_path)))
        return create_array(*args, **kwargs)

    def look_again(folder):
        met.append((path.exists(), find_runs(tmp_path)))
        fsync_tree(folder)

    monkeypatch.setattr(creation_module, "create_array", look)
    monkeypatch.setattr(creation_module, "fsync_tree", look_again)
    create_run(path, describe())
    assert len(met) == 5
    assert set(met) == {(False, ())}
    assert find_runs(tmp_path) == (path,)


def test_a_run_that_cannot_be_made_leaves_nothing(tmp_path, describe, monkeypatch):
    def no_space(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(creation_module, "fsync_tree", no_space)
    with pytest.raises(StoreError, match="No space left"):
        create_run(tmp_path / "some.zarr", describe())
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_not_replaced(tmp_path, describe, run):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    for name in ("folder", "file", "dangling", run.name):
        with pytest.raises(StoreError, match="exists already"):
            create_run(tmp_path / name, describe())
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"num_classes": 0},
        {"scalar_columns": ("loss",)},
        {"class_names": tuple("x" * 10_001)},
        {"run_id": "x" * 5_000},
    ],
)
def test_a_run_no_reader_would_open_is_not_created(tmp_path, describe, changes):
    with pytest.raises(StoreError):
        create_run(tmp_path / "some.zarr", describe(**changes))
    assert list(tmp_path.iterdir()) == []


def rewrite(path, **changes):
    document = json.loads(path.read_bytes())
    attributes = document["attributes"]
    for name, value in changes.items():
        if value is ...:
            del attributes[name]
        else:
            attributes[name] = value
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema", "other"),
        ("schema", ...),
        ("schema", None),
        ("schema_version", 2),
        ("schema_version", 1.0),
        ("schema_version", "1"),
        ("schema_version", True),
        ("schema_version", -1),
        ("schema_version", ...),
        ("run_id", 7),
        ("run_id", "x" * 5_000),
        ("run_id", ...),
        ("class_names", []),
        ("class_names", "ab"),
        ("class_names", {"0": "a"}),
        ("class_names", ["a", 1]),
        ("class_names", ["a", None]),
        ("class_names", ["x"] * 10_001),
        ("class_names", ...),
        ("scalar_columns", [*FIXED_COLUMNS[::-1]]),
        ("scalar_columns", [*FIXED_COLUMNS[:3]]),
        ("scalar_columns", [*FIXED_COLUMNS, 4]),
        ("scalar_columns", [*FIXED_COLUMNS, *map(str, range(1_000))]),
        ("scalar_columns", None),
        ("model", "resnet"),
        ("dataset", []),
        ("recipe", 3),
        ("versions", [["a", "b"]]),
    ],
)
def test_a_malformed_description_is_a_store_error(run, name, value):
    rewrite(run / "zarr.json", **{name: value})
    with pytest.raises(StoreError):
        read_description(run)


def test_a_newer_schema_is_refused_with_both_versions_and_what_to_do(run):
    rewrite(run / "zarr.json", schema_version=2)
    with pytest.raises(StoreError, match="schema 2, this program knows 1; update"):
        RunReader(run).scalars(0, 1)
    with pytest.raises(StoreError, match="update"):
        RunWriter(run).open()
    assert not (run / LOCK_NAME).exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b"null",
        b"\xff\xfe",
        b'{"attributes": {}}',
        b'{"node_type": "array", "attributes": {"schema": "lossviz-run"}}',
        b'{"node_type": "group", "attributes": []}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"node_type": "group", "attributes": {"schema_version": ' + b"9" * 6_000 + b"}}",
        b'{"raw half of a character": "\xed\xa0\x80"}',
    ],
    ids=lambda content: content[:12].decode(errors="replace"),
)
def test_a_zarr_json_that_is_something_else_is_a_store_error(run, content):
    (run / "zarr.json").write_bytes(content)
    with pytest.raises(StoreError):
        read_description(run)


@pytest.mark.parametrize(("depth", "is_read"), [(MAX_DEPTH - 3, True), (MAX_DEPTH - 2, False)])
@pytest.mark.parametrize("name", ["recipe", "dataset"])
def test_what_is_nested_deeper_than_anybody_walks_is_not_read(run, name, depth, is_read):
    nested: object = 1
    for level in range(depth):
        nested = {"a": nested} if level % 2 else [nested]
    rewrite(run / "zarr.json", **{name: {"deep": nested}})
    if is_read:
        assert getattr(read_description(run), name) == {"deep": nested}
    else:
        with pytest.raises(StoreError, match="nested deeper"):
            read_description(run)


def test_half_a_character_becomes_a_question_mark(run):
    rewrite(run / "zarr.json", class_names=["a", "b\ud800", "c"])
    assert read_description(run).class_names == ("a", "b?", "c")


def test_a_huge_zarr_json_is_not_read(run, monkeypatch):
    with (run / "zarr.json").open("r+b") as file:
        file.truncate(2**40)

    def read(_path):
        pytest.fail("it was read")

    monkeypatch.setattr(Path, "read_bytes", read)
    with pytest.raises(StoreError, match="larger"):
        read_description(run)


@pytest.mark.parametrize("where", ["nowhere", "empty", "file"])
def test_what_is_no_run_is_a_store_error(tmp_path, where):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="not a run"):
        read_description(tmp_path / where)


def test_a_run_nobody_may_look_into_is_a_store_error(tmp_path):
    (tmp_path / "zarr.json").symlink_to("x" * 300)  # an error of its own to follow
    with pytest.raises(StoreError, match="cannot be read: File name too long"):
        read_description(tmp_path)


def test_control_characters_in_names_are_data(tmp_path, describe):
    names = ("\x1b[31mred\x07", "a\nb", "[bold]", "", "\u202egnp.exe", "猫")
    path = tmp_path / "some.zarr"
    create_run(path, describe(class_names=names, run_id="\x1b]0;pwned\x07"))
    found = read_description(path)
    assert found.class_names == names
    assert found.run_id == "\x1b]0;pwned\x07"


HUGE = 2**40


@pytest.mark.parametrize("array", ["scalars", "confusion"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shape", [65_536, HUGE]),
        ("shape", [65_536, 2, HUGE, HUGE]),
        ("shape", [0, 6]),
        ("shape", [0, 2, 3, 3]),
        ("shape", []),
        ("shape", None),
        ("shape", [float("inf")]),
        ("shape", 7),
        ("chunk_shape", [HUGE, 6]),
        ("chunk_shape", [65_536, 6]),
        ("chunk_shape", [65_536, 2, 3, 3]),
        ("chunk_shape", [HUGE, 2, 3, 3]),
        ("chunk_shape", [float("inf"), 2, 3, 3]),
        ("chunk_shape", [0, 6]),
        ("chunk_shape", [-1, 2, 3, 3]),
        ("chunk_shape", "all"),
        ("data_type", "float32"),
        ("data_type", "O"),
        ("data_type", "(2,f4"),
        ("data_type", {"name": "struct"}),
        ("codecs", [{"name": "bytes"}, {"name": "pickle"}]),
        ("codecs", [{"name": "sharding_indexed", "configuration": {}}]),
        ("codecs", [{"name": "numcodecs.pickle"}]),
        ("codecs", ["bytes"]),
        ("codecs", [{}]),
        ("codecs", None),
        ("node_type", "group"),
        ("fill_value", "plenty"),
    ],
)
def test_arrays_that_are_not_of_the_schema_are_never_decoded(
    run, commit, monkeypatch, array, field, value
):
    with RunWriter(run) as writer:
        commit(writer, 1)
    path = run / "records" / array / "zarr.json"
    document = json.loads(path.read_bytes())
    if field == "chunk_shape":
        document["chunk_grid"]["configuration"]["chunk_shape"] = value
    else:
        document[field] = value
    path.write_text(json.dumps(document))
    decoded = []

    def read(*_):
        decoded.append(1)

    monkeypatch.setattr(StoredArray, "chunk", read)
    reader = RunReader(run)
    with pytest.raises(StoreError):
        reader.scalars(0, 1) if array == "scalars" else reader.counts(0, 1)
    assert decoded == []


def test_a_head_beyond_the_capacity_is_refused_before_anything_is_allocated(run):
    with RunWriter(run) as writer:
        head = writer.head
    write_head(run / "records", head.next(num_records=2**50))
    with pytest.raises(StoreError):
        RunReader(run).head()


def test_standing_follows_the_last_word_and_the_lock(run):
    reader = RunReader(run)
    assert standing(reader, reader.head()).word == "never ran"
    words = {}
    with RunWriter(run) as writer:
        for state in RunState:
            writer.set_state(state, f"because {state.name}")
            found = standing(reader, reader.head())
            assert found.message == f"because {state.name}"
            words[state] = [found.word]
    for state in RunState:
        with RunWriter(run) as writer:
            writer.set_state(state)
        words[state].append(standing(reader, reader.head()).word)
    assert words == {
        RunState.CREATED: ["waiting", "crashed"],
        RunState.RUNNING: ["live", "crashed"],
        RunState.PAUSED: ["paused", "crashed"],
        RunState.DISK_FULL: ["disk full", "crashed"],
        RunState.FINISHED: ["finished", "finished"],
        RunState.FAILED: ["failed", "failed"],
        RunState.STOPPED: ["stopped", "stopped"],
    }


def test_a_writer_on_another_machine_is_taken_at_its_word(run):
    with RunWriter(run) as writer:
        writer.set_state(RunState.RUNNING)
    (run / LOCK_NAME).write_text(json.dumps({"host": "far-away", "pid": 1}))
    reader = RunReader(run)
    assert standing(reader, reader.head()).word == "live"


def test_the_pulse_beats_at_most_twice_a_second_and_costs_no_sync(run, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("lossviz_analysis.store.writer.time.monotonic", lambda: now[0])
    with RunWriter(run) as writer:

        def fsync(_descriptor):
            pytest.fail("a pulse was synced")

        monkeypatch.setattr(os, "fsync", fsync)
        beats = []
        for step in range(8):
            writer.pulse(
                epoch=2, step=step, steps_per_epoch=10, phase=Phase.TRAINING, loss=step / 8
            )
            now[0] += 0.2
            found = RunReader(run).pulse()
            assert found is not None
            beats.append((found.beat, found.step))
        assert beats == [(1, 0), (1, 0), (1, 0), (2, 3), (2, 3), (2, 3), (3, 6), (3, 6)]
        found = RunReader(run).pulse()
        assert found is not None
        assert (found.epoch, found.steps_per_epoch, found.pid) == (2, 10, os.getpid())
        assert found.loss == 6 / 8
        steps = RunReader(run).steps()
        assert steps[:, 0].tolist() == [10, 11, 12, 13, 14, 15, 16]
        assert steps[:, 2].tolist() == [k / 8 for k in range(7)]
        monkeypatch.undo()


def test_a_full_disk_does_not_stop_the_training_for_a_pulse(run, monkeypatch):
    def no_space(*_, **__):
        raise OSError(28, "No space left on device")

    with RunWriter(run) as writer, monkeypatch.context() as patch:
        patch.setattr(writer_module, "write_block", no_space)
        writer.pulse(epoch=1, step=1, steps_per_epoch=2, phase=Phase.TRAINING)
    assert RunReader(run).pulse() is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e300])
def test_a_pulse_of_nonsense_is_read_without_a_crash(run, value):
    writer_module.write_block(
        run / "live" / "heartbeat" / "c.0", np.full(len(PULSE_COLUMNS), value), durable=False
    )
    found = RunReader(run).pulse()
    assert found is not None
    assert found.beat in (0, int(-1e300))


def test_runs_are_found_newest_first_and_not_inside_runs(tmp_path, describe):
    paths = [tmp_path / "a", tmp_path / "deep" / "b", tmp_path / "very" / "deep" / "c"]
    for age, path in enumerate(paths):
        create_run(path, describe())
        os.utime(path / "records" / "head" / "c.0", (1e9 - age, 1e9 - age))
    create_run(tmp_path / ".hidden", describe())
    create_run(paths[0] / "scans" / "inner", describe())
    create_run(tmp_path / "1" / "2" / "3" / "4" / "too-deep", describe())
    assert find_runs(tmp_path) == tuple(paths)
    assert find_runs(paths[1]) == (paths[1],)
    assert find_runs(tmp_path / "nowhere") == ()
