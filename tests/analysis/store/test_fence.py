"""A writer that lost its run stops; it neither writes into another's nor raises the dead."""

import os
import shutil
import threading

import numpy as np
import pytest

from lossviz_analysis.store import writer as writer_module
from lossviz_analysis.store.backlog import Backlog
from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.head import read_run_head, write_head
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import LOCK_NAME, Phase, RunState
from lossviz_analysis.store.writer import RunWriter


def everything_in(folder):
    """Names, contents and times, so that whatever changes shows."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


def beat(writer):
    writer.pulse(epoch=1, step=1, steps_per_epoch=2, phase=Phase.TRAINING, is_last=True)


STATE = Checkpoint(epoch=1, parameters={"w": np.ones(3, "f4")})


@pytest.fixture
def acts(counts_of, scalars_of):
    """Everything a writer commits, by name."""
    return {
        "record": lambda writer: writer.commit_record(counts_of(0), scalars_of(0)),
        "checkpoint": lambda writer: writer.commit_checkpoint(STATE),
        "state": lambda writer: writer.set_state(RunState.RUNNING, "on we go"),
    }


@pytest.fixture(params=["record", "checkpoint", "state"])
def act(request, acts):
    return acts[request.param]


def test_a_run_whose_lock_file_was_replaced_is_no_longer_written(run, act):
    with RunWriter(run) as writer:
        shutil.copy(run / LOCK_NAME, run / "copy")
        (run / "copy").replace(run / LOCK_NAME)
        before = everything_in(run)
        with pytest.raises(StoreError, match="moved or deleted"):
            act(writer)
        beat(writer)
        assert everything_in(run) == before
    assert (run / LOCK_NAME).exists()


def test_a_run_that_was_moved_is_written_neither_here_nor_there(run, act, tmp_path):
    with RunWriter(run) as writer:
        run.rename(tmp_path / "elsewhere.zarr")
        before = everything_in(tmp_path)
        with pytest.raises(StoreError, match="moved or deleted"):
            act(writer)
        beat(writer)
        assert everything_in(tmp_path) == before


def test_a_run_put_in_its_place_is_left_alone(run, act, tmp_path, describe):
    with RunWriter(run) as writer:
        run.rename(tmp_path / "elsewhere.zarr")
        create_run(run, describe())
        before = everything_in(tmp_path)
        with pytest.raises(StoreError, match="moved or deleted"):
            act(writer)
        beat(writer)
    assert everything_in(tmp_path) == before
    with RunWriter(run) as successor:
        assert successor.head.attempt == 1


def test_a_run_that_was_deleted_stays_deleted(run, act, tmp_path):
    with RunWriter(run) as writer:
        shutil.rmtree(run)
        with pytest.raises(StoreError, match="moved or deleted"):
            act(writer)
        beat(writer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["record", "checkpoint"])
def test_a_run_deleted_between_two_writes_of_a_commit_does_not_rise_again(
    run, acts, name, tmp_path, monkeypatch
):
    steps = 0
    while True:
        with RunWriter(run) as writer, monkeypatch.context() as patch:
            fsync, calls = os.fsync, []

            def deletes(descriptor, step=steps, fsync=fsync, calls=calls):
                calls.append(descriptor)
                fsync(descriptor)
                if len(calls) == step + 1:
                    (tmp_path / "last").mkdir()
                    shutil.rmtree(run)

            patch.setattr(os, "fsync", deletes)
            try:
                acts[name](writer)
                if run.exists():
                    break
            except (OSError, StoreError):
                pass
        assert [path.name for path in tmp_path.iterdir()] == ["last"]
        (tmp_path / "last").rmdir()
        steps += 1
        create_run(run, writer.description)
    assert steps >= 6


@pytest.mark.parametrize("changes", [{"sequence": 77}, {"nonce": 5}, {"num_records": 9}])
def test_a_head_that_somebody_else_wrote_stands(run, act, changes):
    with RunWriter(run) as writer:
        theirs = writer.head.next(**changes) if "sequence" not in changes else None
        theirs = theirs or writer.head.next().next()
        write_head(run / "records", theirs)
        with pytest.raises(StoreError, match="changed by somebody else"):
            act(writer)
        assert read_run_head(run / "records") == theirs


def test_a_head_torn_under_an_intact_lock_is_mended_by_the_next_commit(run, act, monkeypatch):
    monkeypatch.setattr("lossviz_analysis.store.head.time.sleep", lambda _: None)
    with RunWriter(run) as writer:
        (run / "records" / "head" / "c.0").write_bytes(b"torn")
        act(writer)
        assert RunReader(run).head() == writer.head


def test_a_state_from_another_thread_is_not_taken_for_somebody_elses(
    run, counts_of, scalars_of, monkeypatch
):
    """Between the rename of a head and its being remembered there is an fsync's time."""
    renamed, never = threading.Event(), threading.Event()
    write = writer_module.write_state

    def write_and_dawdle(folder, head):
        write(folder, head)
        if threading.current_thread().name == "speaker":
            renamed.set()
            never.wait(0.05)

    monkeypatch.setattr(writer_module, "write_state", write_and_dawdle)
    with RunWriter(run) as writer:
        speaker = threading.Thread(
            target=writer.set_state, args=(RunState.PAUSED, "a moment"), name="speaker"
        )
        speaker.start()
        assert renamed.wait(10)
        try:
            writer.commit_record(counts_of(0), scalars_of(0))
        finally:
            speaker.join()
    head = RunReader(run).head()
    assert (head.num_records, head.state, head.sequence) == (1, RunState.PAUSED, 3)
    assert np.array_equal(RunReader(run).counts(0, 1)[0], counts_of(0))


def test_a_lost_run_ends_the_backlog_with_a_sentence(run, counts_of, scalars_of, tmp_path):
    told = []
    with RunWriter(run) as writer:
        backlog = Backlog(writer, on_trouble=told.append, retry_seconds=0.01)
        backlog.record(counts_of(0), scalars_of(0))
        assert backlog.flush(10.0)
        run.rename(tmp_path / "elsewhere.zarr")
        backlog.record(counts_of(1), scalars_of(1))
        with pytest.raises(StoreError, match="moved or deleted"):
            backlog.flush(10.0)
        for hand_over in (
            lambda: backlog.record(counts_of(2), scalars_of(2)),
            lambda: backlog.checkpoint(STATE),
            backlog.flush,
        ):
            with pytest.raises(StoreError, match="moved or deleted"):
                hand_over()
        assert not backlog.close(10.0)
    assert [("moved or deleted" in sentence) for sentence in told] == [True]
    assert isinstance(backlog.failure, StoreError)
    assert RunReader(tmp_path / "elsewhere.zarr").head().num_records == 1
    assert not run.exists()
