"""The recorder: what is recorded, and no harm done."""

import copy
import math
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.trainer.recordings import NAMES, counts_of, model_of, rows_of, state_of
from torch import nn

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.backlog import Backlog
from lossviz_analysis.store.control import Wish, ask
from lossviz_analysis.store.lock import is_held, read_holder
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import BALLAST_NAME, FIXED_COLUMNS, RunState
from lossviz_analysis.store.writer import RunWriter
from lossviz_trainer import RunRecorder, recorder, session
from lossviz_trainer.loop import SCALAR_COLUMNS
from lossviz_trainer.recorder import STANDARD_COLUMNS

# What is recorded


def test_the_columns_are_those_of_the_daemon_that_make_sense():
    assert STANDARD_COLUMNS[: len(FIXED_COLUMNS)] == FIXED_COLUMNS
    assert set(STANDARD_COLUMNS) < set(SCALAR_COLUMNS)


def test_counts_scalars_and_what_follows_from_them(path):
    model = model_of()
    matrix = np.array([[3, 1, 0], [0, 4, 0], [1, 1, 2]])
    with RunRecorder.create(path, class_names=NAMES, model=model, scalars=("margin",)) as run:
        run.log_epoch(
            1,
            train=matrix,
            test=([0, 1, 2, 2], torch.eye(3)[[0, 1, 1, 2]]),
            scalars={"margin": torch.tensor(0.5, requires_grad=True)},
            test_loss=0.25,
        )
        run.log_epoch(2, train_accuracy=0.125, train=matrix)
    first, second = rows_of(path)
    assert counts_of(path)[0, 0].tolist() == matrix.tolist()
    assert counts_of(path)[0, 1].tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert counts_of(path)[1, 1].sum() == 0
    assert first["train_accuracy"] == 9 / 12
    assert first["test_accuracy"] == 3 / 4
    assert (first["margin"], first["test_loss"]) == (0.5, 0.25)
    assert math.isnan(first["learning_rate"])
    assert second["train_accuracy"] == 0.125
    assert math.isnan(second["test_accuracy"])
    norm = math.sqrt(sum(p.detach().double().square().sum().item() for p in model.parameters()))
    assert first["weight_norm"] == pytest.approx(norm, rel=1e-12)
    assert [row["epoch"] for row in (first, second)] == [1, 2]
    assert all(row["duration_s"] >= 0 for row in (first, second))
    assert state_of(path) == RunState.FINISHED
    assert not is_held(path)


def test_batches_are_consumed_by_the_next_epoch_and_added_to_what_is_given(path):
    with RunRecorder.create(path, class_names=NAMES, strict=True) as run:
        run.count("test", [0, 1], [0, 2])
        run.count("test", torch.tensor([2]), torch.tensor([[0.0, 0.0, 1.0]]))
        run.count("train", [1], [1])
        run.log_epoch(1, train=np.eye(3, dtype=int))
        run.log_epoch(2)
    counts = counts_of(path)
    assert counts[0, 1].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]
    assert counts[0, 0].tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 1]]
    assert counts[1].sum() == 0


def test_two_classes_in_a_list_are_a_matrix_and_in_a_tuple_labels_and_predictions(path):
    with RunRecorder.create(path, class_names=2, strict=True) as run:
        run.log_epoch(1, train=[[1, 0], [1, 1]], test=([1, 0], [1, 1]))
    assert counts_of(path)[0].tolist() == [[[1, 0], [1, 1]], [[0, 1], [0, 1]]]


def test_what_a_run_says_of_itself(path):
    hyperparameters = {
        "lr": np.float32(0.5),
        "folder": Path("x"),
        "limit": math.inf,
        "nested": {"a": [1, None]},
    }
    RunRecorder.create(
        path.with_suffix(""),
        class_names=NAMES,
        model=nn.DataParallel(model_of()),
        dataset_name="animals",
        hyperparameters=hyperparameters,
        epochs=7,
    ).close()
    found = RunReader(path).description
    assert found.class_names == NAMES
    assert found.planned_epochs == 7
    assert found.recipe == {
        "lr": 0.5,
        "folder": "x",
        "limit": "inf",
        "nested": {"a": [1, None]},
        "epochs": 7,
    }
    assert found.model == {"name": "Sequential", "num_parameters": 83, "factory": ""}
    assert found.dataset == {"name": "animals"}


# Never hurting


def use_everything(run, model):
    run.count("test", [0], [1])
    run.progress(epoch=1, step=1, loss=0.5)
    run.log_epoch(1, train=np.eye(3, dtype=int))
    run.save_checkpoint(model, epoch=1)
    assert run.flush(30)
    assert not run.should_stop
    assert not run.should_stop_on_any_rank()


@pytest.mark.parametrize("obstacle", ["a file", "a run", "held", "no folder", "classes"])
def test_a_run_that_cannot_be_created_is_said_once_and_nothing_more_happens(
    tmp_path, obstacle, warned
):
    path, names, writer = tmp_path / "x.zarr", NAMES, None
    make = RunRecorder.create
    match obstacle:
        case "a file":
            (tmp_path / "folder").write_text("")
            path = tmp_path / "folder" / "x.zarr"
        case "a run":
            RunRecorder.create(path, class_names=NAMES).close()
        case "held":
            RunRecorder.create(path, class_names=NAMES).close()
            writer = RunWriter(path)
            writer.open()
            make = RunRecorder.open
        case "no folder":
            make = lambda path, **more: RunRecorder.resume(  # noqa: E731
                path, strict=more.get("strict", False)
            )
        case _:
            names = ("a", "a")
    with make(path, class_names=names) as run:
        assert not run.is_recording
        use_everything(run, model_of())
    assert len(warned()) == 1, warned()
    with pytest.raises(LossvizError):
        make(path, class_names=names, strict=True)
    if writer is not None:
        writer.close()


MISTAKES = {
    "no matrix": lambda run: run.log_epoch(1, train=np.zeros((2, 2), int)),
    "negative": lambda run: run.log_epoch(1, train=-np.eye(3, dtype=int)),
    "shapes": lambda run: run.count("test", [0, 1], [0]),
    "split": lambda run: run.count("validation", [0], [0]),
    "column": lambda run: run.log_epoch(1, nonsense=3.0),
    "value": lambda run: run.log_epoch(1, test_loss="much"),
    "epoch": lambda run: run.log_epoch(0.5),
    "huge": lambda run: run.log_epoch(1, test=[[2**40, 0, 0], [0, 0, 0], [0, 0, 0]]),
    "step": lambda run: run.progress(epoch=1, step=-1),
    "loss": lambda run: run.progress(epoch=1, step=1, loss=torch.ones(2)),
    "optimiser": lambda run: run.save_checkpoint(model_of(), epoch=1, extra={"a": print}),
    "sparse": lambda run: run.save_checkpoint({"a": torch.eye(2).to_sparse()}, epoch=1),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_of_the_caller_is_said_once_and_raised_only_where_asked(
    tmp_path, mistake, warned
):
    with RunRecorder.create(tmp_path / "a", class_names=NAMES) as run:
        for _ in range(3):
            mistake(run)
        run.log_epoch(9)
    assert len(warned()) == 1, warned()
    assert rows_of(tmp_path / "a.zarr")[-1]["epoch"] == 9
    strict = RunRecorder.create(tmp_path / "b", class_names=NAMES, strict=True)
    with strict, pytest.raises((LossvizError, ValueError)):
        mistake(strict)


def test_a_wrong_value_does_not_cost_the_epoch(path, warned):
    with RunRecorder.create(path, class_names=NAMES) as run:
        run.log_epoch(1, test_loss=0.5, nonsense=1.0, test=np.eye(3, dtype=int))
    assert rows_of(path)[0]["test_loss"] == 0.5
    assert "nonsense" in warned()[0]


def test_examples_of_no_class_are_left_out_and_said_once(path, warned):
    with RunRecorder.create(path, class_names=NAMES, strict=True) as run:
        for epoch in (1, 2):
            run.count("test", [0, 1, -100, 7], [0, 1, 1, epoch])
            run.log_epoch(epoch)
    assert counts_of(path)[:, 1].sum((1, 2)).tolist() == [2, 2]
    assert len(warned()) == 1
    assert warned()[0].startswith("lossviz: examples were left out: 2 of the test split")


class FullDisk:
    """Fails every commit while it is full."""

    def __init__(self, monkeypatch, error=28):
        self.is_full = True
        for name in ("commit_record", "commit_checkpoint"):
            real = getattr(RunWriter, name)

            def commit(writer, *args, real=real, **more):
                if self.is_full:
                    raise OSError(error, os.strerror(error))
                return real(writer, *args, **more)

            monkeypatch.setattr(RunWriter, name, commit)


def test_a_full_disk_costs_nothing_but_a_warning(path, monkeypatch, warned, wait_for):
    monkeypatch.setattr(session, "Backlog", partial(Backlog, retry_seconds=0.05))
    disk = FullDisk(monkeypatch)
    run = RunRecorder.create(path, class_names=NAMES)
    for epoch in range(1, 4):
        run.log_epoch(epoch)
        run.save_checkpoint(model_of(), epoch=epoch)
    wait_for(lambda: state_of(path) == RunState.DISK_FULL, "the run says so")
    assert not run.flush(0.2)
    disk.is_full = False
    assert run.flush(30)
    run.close()
    assert [row["epoch"] for row in rows_of(path)] == [1, 2, 3]
    assert state_of(path) == RunState.FINISHED
    assert len(warned()) == 1
    assert "disk is full" in warned()[0]


def test_the_room_kept_back_is_given_for_the_end(path, monkeypatch, wait_for):
    monkeypatch.setattr(session, "Backlog", partial(Backlog, retry_seconds=0.05))
    real = RunWriter.commit_checkpoint

    def commit(writer, *args, **more):
        if (path / BALLAST_NAME).exists():
            raise OSError(28, os.strerror(28))
        return real(writer, *args, **more)

    monkeypatch.setattr(RunWriter, "commit_checkpoint", commit)
    run = RunRecorder.create(path, class_names=NAMES, strict=True)
    run.save_checkpoint(model_of(), epoch=0)
    wait_for(lambda: state_of(path) == RunState.DISK_FULL, "the run says so")
    run.close()
    assert [c.epoch for c in RunReader(path).checkpoints()] == [0]


def test_the_end_does_not_wait_forever_for_a_full_disk(path, monkeypatch, warned):
    FullDisk(monkeypatch)
    monkeypatch.setattr(session, "TROUBLED_SECONDS", 0.5)
    run = RunRecorder.create(path, class_names=NAMES)
    run.log_epoch(1)
    started = time.monotonic()
    run.close()
    assert time.monotonic() - started < 10
    assert "1 records and checkpoints were not written" in warned()[-1]
    assert not is_held(path)


def test_the_loop_goes_on_while_a_checkpoint_is_written(path, monkeypatch):
    begun, may_end = threading.Event(), threading.Event()
    real = RunWriter.commit_checkpoint

    def slow(writer, *args, **more):
        begun.set()
        assert may_end.wait(30)
        return real(writer, *args, **more)

    monkeypatch.setattr(RunWriter, "commit_checkpoint", slow)
    with RunRecorder.create(path, class_names=NAMES, strict=True) as run:
        run.save_checkpoint(model_of(), epoch=1)
        assert begun.wait(30)
        for epoch in range(2, 6):
            run.log_epoch(epoch)
            run.save_checkpoint(model_of(), epoch=epoch)
        may_end.set()
    # Of those that came meanwhile the newest waited.
    assert [c.epoch for c in RunReader(path).checkpoints()] == [1, 5]


# Signs of life, and the end


def test_it_lives_and_shows_where_the_loop_is(path, wait_for, monkeypatch):
    monkeypatch.setattr(session, "BEAT_SECONDS", 0.05)
    run = RunRecorder.create(path, class_names=NAMES, strict=True)
    reader = RunReader(path)
    assert state_of(path) == RunState.RUNNING
    holder = read_holder(path)
    assert holder is not None
    assert holder.program == "recorder"
    run.progress(
        epoch=3, step=7, steps_per_epoch=10, loss=torch.tensor(1.5, requires_grad=True)
    )
    pulse = wait_for(lambda: (p := reader.pulse()) and p.step == 7 and p, "a pulse")
    assert (pulse.epoch, pulse.steps_per_epoch, pulse.loss) == (3, 10, 1.5)
    # The loop hangs in a long evaluation; the run still lives.
    wait_for(lambda: (p := reader.pulse()) and p.beat > pulse.beat, "another pulse")
    run.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("lossviz-")]


def test_somebody_can_ask_it_to_stop(path, wait_for):
    with RunRecorder.create(path, class_names=NAMES, epochs=5) as run:
        assert not run.should_stop
        ask(path, Wish.STOP)
        wait_for(lambda: run.should_stop, "the wish is heard")
        assert run.should_stop_on_any_rank()
    assert state_of(path) == RunState.STOPPED
    with RunRecorder.resume(path) as run:
        time.sleep(2 * session.LOOK_SECONDS)
        assert not run.should_stop  # the wish was meant for the loop before


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (None, RunState.FINISHED, ""),
        (ValueError("bad\nthing"), RunState.FAILED, "ValueError: bad"),
        (ValueError(), RunState.FAILED, "ValueError"),
        (KeyboardInterrupt(), RunState.STOPPED, ""),
        (GeneratorExit(), RunState.STOPPED, ""),
        (SystemExit(143), RunState.STOPPED, ""),
    ],
    ids=repr,
)
def test_how_the_loop_ended_is_the_state_of_the_run(path, error, state, message):
    def go():
        with RunRecorder.create(path, class_names=NAMES, epochs=9) as run:
            run.log_epoch(1)
            if error is not None:
                raise error

    if error is None:
        go()
    else:
        with pytest.raises(type(error)):
            go()
    assert (state_of(path), RunReader(path).message()) == (state, message)
    assert len(rows_of(path)) == 1


def test_a_closed_recorder_does_nothing(path, warned):
    run = RunRecorder.create(path, class_names=NAMES)
    run.close()
    run.close(ValueError())
    use_everything(run, model_of())
    assert state_of(path) == RunState.FINISHED
    assert rows_of(path) == []
    assert warned() == []


def test_a_forgotten_recorder_gives_its_run_up_with_everything_written(path):
    run = RunRecorder.create(path, class_names=NAMES)
    run.log_epoch(1)
    del run
    assert not is_held(path)
    assert len(rows_of(path)) == 1


SCRIPT = """
import os, sys, torch
from lossviz_trainer import RunRecorder
run = RunRecorder.create(sys.argv[1], class_names=3, epochs=2)
for epoch in (1, 2):
    run.log_epoch(epoch, test=([0, 1, 2], [0, 1, 1]))
    run.save_checkpoint(torch.nn.Linear(3, 3), epoch=epoch)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "state", "message"),
    [
        ("", RunState.FINISHED, ""),
        ("raise ValueError('x')", RunState.FAILED, "ValueError: x"),
        ("raise KeyboardInterrupt", RunState.STOPPED, ""),
        ("if os.fork() == 0: sys.exit()\nelse: os.wait()", RunState.FINISHED, ""),
    ],
)
def test_a_script_that_never_closes_loses_nothing(path, end, state, message):
    code = SCRIPT + textwrap.dedent(end)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(path)],
        check=False,
        capture_output=True,
        timeout=100,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert (state_of(path), RunReader(path).message()) == (state, message)
    assert [row["epoch"] for row in rows_of(path)] == [1, 2]
    assert RunReader(path).checkpoints()[-1].epoch == 2


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_neither_writes_nor_closes_the_run(path):
    run = RunRecorder.create(path, class_names=NAMES, strict=True)

    def child():
        assert not run.is_recording
        run.count("test", [0], [0])
        run.log_epoch(5)
        run.save_checkpoint(model_of(), epoch=5)
        run.progress(epoch=5, step=1)
        run.close()
        run.__exit__(None, None, None)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert is_held(path)
    run.log_epoch(1)
    run.close()
    assert [row["epoch"] for row in rows_of(path)] == [1]


def test_a_copy_of_a_recorder_has_no_run(path):
    with RunRecorder.create(path, class_names=NAMES) as run:
        for other in (copy.deepcopy(run), pickle.loads(pickle.dumps(run))):
            assert not other.is_recording
            use_everything(other, model_of())
            other.close()
        assert run.is_recording
    assert rows_of(path) == []


def test_other_ranks_write_nothing(path, warned):
    with RunRecorder.open(path, class_names=NAMES, rank=1) as run:
        use_everything(run, model_of())
    assert not path.exists()
    assert warned() == []


def test_an_epoch_that_is_not_gathered_leaves_no_counts_to_the_next(path, monkeypatch):
    gathered = []
    monkeypatch.setattr(recorder, "is_distributed", lambda: True)
    monkeypatch.setattr(recorder, "summed", lambda counts: gathered.append(counts) or counts)
    with RunRecorder.open(path, class_names=NAMES, rank=1, strict=True) as run:
        run.count("test", [0, 1], [0, 1])
        run.log_epoch(1)
        run.count("test", [2], [2])
        run.log_epoch(2, gather=True)
    assert [counts[1].tolist() for counts in gathered] == [[[0, 0, 0], [0, 0, 0], [0, 0, 1]]]


RANKS = """
import sys, torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from lossviz_trainer import RunRecorder
rank, path = int(sys.argv[1]), sys.argv[2]
where = f"file://{path}.sync"
distributed.init_process_group("gloo", init_method=where, rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
whole = {name: p.detach().clone() for name, p in model.named_parameters()}
fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
optimizer = torch.optim.Adam(model.parameters())
model(torch.ones(2, 4)).sum().backward()
optimizer.step()
run = RunRecorder.open(path, class_names=3, model=model, strict=True)
assert run.is_recording == (rank == 0)
run.count("test", [0, 1, 2], [0, 1, rank])
run.log_epoch(1, train=[[rank, 0, 0], [0, 1, 0], [0, 0, 0]], gather=True)
run.save_checkpoint(model, optimizer, epoch=1)
run.flush()
assert not run.should_stop_on_any_rank()
saved = {name: p.detach().full_tensor() for name, p in model.named_parameters()}
moments = [optimizer.state[p]["exp_avg"].full_tensor() for p in model.parameters()]
with torch.no_grad():
    for p in model.parameters():
        p.zero_()
        optimizer.state[p]["exp_avg"].zero_()
distributed.barrier()
assert run.restore(model, optimizer).epoch == 1
for (name, p), moment in zip(model.named_parameters(), moments, strict=True):
    assert torch.equal(p.full_tensor(), saved[name])
    assert not torch.equal(saved[name], whole[name])
    assert torch.equal(optimizer.state[p]["exp_avg"].full_tensor(), moment)
run.close()
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_ranks_add_their_counts_and_gather_what_lies_on_both(path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", RANKS, str(rank), str(path)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank in (0, 1)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    assert counts_of(path)[0].tolist() == [
        [[1, 0, 0], [0, 2, 0], [0, 0, 0]],
        [[2, 0, 0], [0, 2, 0], [1, 1, 0]],
    ]
    content = RunReader(path).checkpoint(1)
    assert {name: v.shape for name, v in content.parameters.items()}["0.weight"] == (6, 4)


def test_importing_the_package_stays_cheap():
    code = "import lossviz_trainer, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
