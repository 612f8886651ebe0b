"""A training paused from the command line gives everything back and ends as if it had not."""

import os
import signal
from pathlib import Path

import pytest

from lossviz_analysis.store.control import Wish, ask, read_wish
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.lock import is_held, read_holder
from lossviz_analysis.store.reader import RunReader, standing
from lossviz_analysis.store.schema import CONTROL_NAME, FIXED_COLUMNS, RunState
from lossviz_analysis.store.writer import RunWriter

EPOCHS = 30

pytestmark = pytest.mark.slow


@pytest.fixture
def start(tmp_path, source, cli, wait_for, end_processes):
    """Starts a training in the background and waits for its first record."""
    started = []

    def go(name, epochs=EPOCHS):
        run = tmp_path / f"{name}.zarr"
        words = ("--data", source, "--model", "mlp", "--epochs", epochs, "--run", run)
        words += ("--train-examples", 200, "--batch-size", 8, "--lr", 0.02, "--no-flip")
        assert cli("train", *words, "--device", "cpu", "--detach").code == 0
        started.append(run)
        wait_for(lambda: RunReader(run).head().num_records > 0, "the first record")
        return run

    yield go
    for run in started:
        end_processes(run)


def word_of(run):
    reader = RunReader(run)
    return standing(reader, reader.head()).word


def end_of(run):
    """Final tensors, and the last counts of each epoch."""
    reader = RunReader(run)
    head = reader.head()
    content = reader.checkpoint(head.latest_checkpoint)
    assert (content.epoch, content.step) == (EPOCHS, 0)
    tensors = {**content.parameters, **content.optimiser}
    epochs = reader.scalars(0, head.num_records)[:, 0].tolist()
    counts = dict(zip(epochs, reader.counts(0, head.num_records).tolist(), strict=True))
    return {name: values.tobytes() for name, values in tensors.items()}, counts


def is_running_torch(pid):
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


def test_a_paused_training_holds_its_run_without_torch_and_ends_the_same(start, cli, wait_for):
    whole = start("whole")
    run = start("paused")
    holder = read_holder(run)
    assert holder is not None
    assert is_running_torch(holder.pid)
    paused = cli("pause", run)
    assert paused.code == 0, paused.err
    assert "its device is free" in paused.out
    # One process from the beginning to the end, and its lock never free.
    assert read_holder(run) == holder
    assert word_of(run) == "paused"
    wait_for(lambda: not is_running_torch(holder.pid), "the small program")
    before = RunReader(run).head()
    assert RunReader(run).checkpoint(before.latest_checkpoint).epoch < EPOCHS
    assert before.num_records < EPOCHS
    again = cli("pause", run)
    assert again.code != 0
    assert "paused already" in again.err
    taken = cli("train", "--resume", "--run", run, "--detach")
    assert taken.code != 0
    assert str(holder.pid) in taken.err
    resumed = cli("resume", run)
    assert resumed.code == 0, resumed.err
    assert word_of(run) in ("live", "finished")
    wait_for(
        lambda: RunReader(run).head().num_records > before.num_records,
        "it goes on",
    )
    for path in (run, whole):
        wait_for(lambda held=path: not is_held(held), "both runs have finished")
        assert word_of(path) == "finished"
    assert end_of(run) == end_of(whole)
    assert RunReader(run).head().attempt == 2
    # What is said after the pause is in the log as well.
    told = RunReader(run).log_tail()
    assert told.index("paused; the device is free") < told.index(f"epoch {EPOCHS}: train loss")
    assert told.rstrip().endswith("finished")
    late = cli("resume", run)
    assert late.code != 0
    assert "finished" in late.err


@pytest.mark.parametrize("how", ["stop", "SIGKILL"])
def test_a_paused_training_can_be_ended_and_started_again(start, cli, wait_for, how):
    run = start("ended", epochs=2_000)
    assert cli("pause", run).code == 0
    holder = read_holder(run)
    assert holder is not None
    if how == "stop":
        assert cli("stop", run).code == 0
    else:
        os.kill(holder.pid, getattr(signal, how))
    wait_for(lambda: not is_held(run), "the paused program has left")
    assert word_of(run) == ("crashed" if how == "SIGKILL" else "stopped")
    before = RunReader(run).head().num_records
    resumed = cli("resume", run)
    assert resumed.code == 0, resumed.err
    wait_for(lambda: RunReader(run).head().num_records > before, "it goes on")
    assert cli("stop", run).code == 0
    assert word_of(run) == "stopped"
    # No wish is left for the next writer.
    assert not (run / CONTROL_NAME).exists()


def test_a_paused_run_that_is_deleted_does_not_rise_again(start, cli, wait_for, tmp_path):
    run = start("gone", epochs=2_000)
    assert cli("pause", run).code == 0
    holder = read_holder(run)
    assert holder is not None
    run.rename(tmp_path / "elsewhere.zarr")
    wait_for(lambda: not is_held(tmp_path / "elsewhere.zarr"), "it has left")
    assert not run.exists()
    assert cli("resume", tmp_path / "elsewhere.zarr").code == 0
    assert cli("stop", tmp_path / "elsewhere.zarr").code == 0


def test_what_cannot_be_paused_says_so(digits_run, cli):
    for words in (("pause", digits_run), ("stop", digits_run)):
        refused = cli(*words)
        assert refused.code != 0
        assert "nobody writes" in refused.err


def test_an_unknown_wish_asks_for_nothing(digits_run):
    ask(digits_run, Wish.PAUSE)
    assert read_wish(digits_run) == Wish.PAUSE
    for text in (b"dance", b"\xff\xfe", b"", b"stop" * 1_000):
        (digits_run / CONTROL_NAME).write_bytes(text)
        assert read_wish(digits_run) == Wish.NOTHING
    ask(digits_run, Wish.NOTHING)
    assert not (digits_run / CONTROL_NAME).exists()


def test_a_loop_of_the_users_own_is_not_paused(tmp_path, cli):
    run = tmp_path / "own.zarr"
    create_run(
        run,
        RunDescription(
            run_id="own", created_at="", class_names=("a", "b"), scalar_columns=FIXED_COLUMNS
        ),
    )
    with RunWriter(run, program="recorder") as writer:
        writer.set_state(RunState.RUNNING)
        refused = cli("pause", run)
        assert writer.wish() == Wish.NOTHING
        assert cli("resume", run).code != 0
    assert refused.code != 0
    assert "training loop of its own" in refused.err
    assert RunReader(run).head().state == RunState.RUNNING
