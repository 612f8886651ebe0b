"""A daemon killed six times during one run: nothing committed is lost, and nothing differs."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zarr

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.lock import is_held, read_holder
from lossviz_analysis.store.reader import RunReader

EPOCHS = 36
KILLS = 6
EXAMPLES = 200


class Watcher(threading.Thread):
    """Reads a run all the time, as the app would, and keeps what it was told is committed."""

    def __init__(self, run):
        super().__init__(daemon=True)
        self.run_path = run
        self.is_over = threading.Event()
        self.polls = 0
        self.complaints: list[str] = []
        self.seen: list[tuple[bytes, bytes]] = []
        self.checkpoints: dict[int, str] = {}

    def run(self):
        reader = RunReader(self.run_path)
        sequence = 0
        while not self.is_over.is_set():
            self.polls += 1
            try:
                head = reader.head()
                if head.sequence < sequence or head.num_records < len(self.seen):
                    self.complaints.append(f"went back to {head} after {len(self.seen)}")
                sequence = head.sequence
                for number in range(len(self.seen), head.num_records):
                    self.seen.append(record_of(reader, number))
                if head.latest_checkpoint not in self.checkpoints and head.latest_checkpoint:
                    reader.checkpoint(head.latest_checkpoint)  # whole, its digest checked
                    for info in reader.checkpoints(head):
                        self.checkpoints.setdefault(info.number, info.digest)
            except LossvizError as error:
                self.complaints.append(str(error))
            time.sleep(0.005)


def record_of(reader: RunReader, number: int) -> tuple[bytes, bytes]:
    """A committed record; its counts are whole or it is torn."""
    counts = reader.counts(number, number + 1)
    scalars = reader.scalars(number, number + 1)
    if counts.sum(axis=(2, 3)).tolist() != [[EXAMPLES, 360]]:
        raise LossvizError(f"record {number} is torn: {counts.sum(axis=(2, 3))}")
    if not np.isfinite(scalars).all():
        raise LossvizError(f"record {number} has holes: {scalars}")
    return counts.tobytes(), scalars.tobytes()


def final_state(run, tensors_of: Callable[..., dict[str, np.ndarray]]):
    """The last checkpoint's tensors as bytes, momenta included, with plain Zarr."""
    root: Any = zarr.open_group(run, mode="r")
    number = int(root["records/head"][4])
    attributes = root[f"checkpoints/c{number:08d}"].attrs
    assert (attributes["epoch"], attributes["step"]) == (EPOCHS, 0)
    tensors = tensors_of(run, number, "parameter", "buffer", "optimiser")
    return {name: values.tobytes() for name, values in tensors.items()}


def counts_by_epoch(run):
    """The last record of each epoch."""
    reader = RunReader(run)
    num_records = reader.head().num_records
    scalars, counts = reader.scalars(0, num_records), reader.counts(0, num_records)
    return {int(row[0]): counts[k].tobytes() for k, row in enumerate(scalars)}


@pytest.mark.slow
def test_a_run_killed_six_times_loses_nothing_and_ends_the_same(
    tmp_path, source, start_program, cli, wait_for, end_processes, tensors_of
):
    run, whole = tmp_path / "killed.zarr", tmp_path / "whole.zarr"
    words = ("train", "--data", source, "--model", "mlp", "--epochs", EPOCHS)
    words += ("--train-examples", EXAMPLES, "--batch-size", 32, "--lr", 0.02)
    words += ("--device", "cpu", "--detach", "--no-flip")
    chance = random.Random(0)
    # Some kills fall into the start of a resume, the others anywhere in an epoch.
    delays = [chance.uniform(0.0, 0.25) for _ in range(KILLS)]
    in_start = {1, 4}
    reference = start_program(*words, "--run", whole)
    watcher = Watcher(run)
    try:
        assert cli(*words, "--run", run).code == 0
        watcher.start()
        reader = RunReader(run)
        for kill, delay in enumerate(delays):
            before = reader.head()
            holder = read_holder(run)
            assert holder is not None
            if kill not in in_start:
                wait_for(
                    lambda old=before: reader.head().num_records > old.num_records,
                    "the resumed daemon has committed an epoch",
                )
            time.sleep(delay)  # the instant itself, not a wait for anything
            assert is_held(run), "the run ended before it could be killed; give it more epochs"
            os.kill(holder.pid, signal.SIGKILL)
            wait_for(lambda: not is_held(run), "the killed daemon let go of its lock")
            assert reader.head().num_records >= before.num_records
            resumed = cli("train", "--resume", "--run", run, "--device", "cpu", "--detach")
            assert resumed.code == 0, resumed.err
        wait_for(lambda: not is_held(run), "the last daemon has finished")
        assert reference.wait(60) == 0
        wait_for(lambda: not is_held(whole), "the uninterrupted run has finished")
    finally:
        watcher.is_over.set()
        if watcher.ident is not None:
            watcher.join(30)
        end_processes(run)
        end_processes(whole)

    assert watcher.complaints == []
    assert watcher.polls > 100
    head = reader.head()
    assert head.attempt == KILLS + 1
    assert head.state.name == "FINISHED"
    # What was ever committed is there to the bit, and most of it was seen while it happened.
    assert len(watcher.seen) > EPOCHS // 2
    assert [record_of(reader, k) for k in range(len(watcher.seen))] == watcher.seen
    on_disk = {info.number: info.digest for info in reader.checkpoints()}
    assert {n: on_disk.get(n) for n in watcher.checkpoints} == watcher.checkpoints
    assert sorted(counts_by_epoch(run)) == list(range(1, EPOCHS + 1))
    # Not only whole but the same as if nothing had happened.
    assert counts_by_epoch(run) == counts_by_epoch(whole)
    assert final_state(run, tensors_of) == final_state(whole, tensors_of)
    assert RunReader(whole).head().attempt == 1
    assert not list(run.rglob("*.partial"))
