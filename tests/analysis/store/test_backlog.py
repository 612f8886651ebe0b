"""Commits in the background: in order, once, whatever the disk does, and nobody waits."""

import errno
import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossviz_analysis.store import durable
from lossviz_analysis.store.backlog import Backlog
from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader, standing
from lossviz_analysis.store.schema import BALLAST_NAME, RunState
from lossviz_analysis.store.writer import RunWriter

RETRY = 0.01
LONG = 20.0


class Disk:
    """Lets fsyncs fail: all of them, those of some names, or one by its number."""

    def __init__(self, run):
        self.code = 0
        self.spares_the_small = False
        """With room for the ballast's sake: only what is not the head or the message fails."""
        self.number = -1
        self.names = []
        self._run = run
        self._fsync = os.fsync

    def fsync(self, descriptor):
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        self.names.append(path)
        is_small = "records/head" in path or "message" in path or path == str(self._run)
        is_spared = (
            self.spares_the_small and is_small and not (self._run / BALLAST_NAME).exists()
        )
        if self.code and not is_spared and self.number in (-1, len(self.names) - 1):
            raise OSError(self.code, os.strerror(self.code))
        self._fsync(descriptor)


@pytest.fixture
def disk(run, monkeypatch):
    found = Disk(run)
    monkeypatch.setattr(os, "fsync", found.fsync)
    return found


@pytest.fixture
def writer(run, disk):  # noqa: ARG001  # the disk comes first and goes last
    with RunWriter(run) as opened:
        yield opened


@pytest.fixture
def start(writer, disk):
    """Starts a backlog; it is gone when the test is."""
    started = []

    def go(**options: Any):
        options.setdefault("retry_seconds", RETRY)
        backlog = Backlog(writer, **options)
        started.append(backlog)
        return backlog

    yield go
    disk.code = 0
    for backlog in started:
        if backlog._thread.is_alive():
            backlog.close(LONG)


@pytest.fixture
def until():
    """Waits until a condition holds."""

    def wait(condition):
        deadline = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.002)

    return wait


@pytest.fixture
def hand_over(counts_of, scalars_of):
    """Hands over the record of an epoch counted from 1."""

    def go(backlog, epoch):
        backlog.record(counts_of(epoch - 1), scalars_of(epoch - 1))

    return go


@pytest.fixture
def check(run, counts_of, scalars_of):
    """Reads everything and holds it against what was handed over: each epoch once."""

    def go(num_epochs):
        reader = RunReader(run)
        head = reader.head()
        assert head.num_records == num_epochs
        assert np.array_equal(
            reader.counts(0, num_epochs), [counts_of(n) for n in range(num_epochs)]
        )
        columns = reader.description.scalar_columns
        rows = reader.scalars(0, num_epochs)
        for name in ("epoch", "loss", "twice"):
            expected = [scalars_of(n)[name] for n in range(num_epochs)]
            assert rows[:, columns.index(name)].tolist() == expected
        infos = reader.checkpoints(head)
        assert [info.number for info in infos] == list(range(1, head.latest_checkpoint + 1))
        for info in infos:
            assert info.record == info.epoch - 1
            weights = reader.checkpoint(info.number).parameters["w"]
            assert weights.tolist() == [info.epoch] * 50
        return [info.epoch for info in infos]

    return go


def state(epoch):
    return Checkpoint(epoch=epoch, parameters={"w": np.full(50, epoch, "f4")})


def test_what_is_handed_over_is_committed_in_order(start, hand_over, check):
    backlog = start()
    backlog.checkpoint(state(0))
    for epoch in range(1, 9):
        hand_over(backlog, epoch)
        if epoch % 2 == 0:
            backlog.checkpoint(state(epoch), is_best=epoch == 4)
    assert backlog.close(LONG)
    assert backlog.waiting == 0
    epochs = check(8)
    assert epochs[-1] == 8
    assert epochs == sorted(set(epochs))


def test_a_checkpoint_is_never_seen_before_the_records_it_contains(
    run, start, hand_over, until
):
    """A reader polls all the while."""
    wrong, done = [], threading.Event()

    def watch():
        reader = RunReader(run)
        while not done.is_set():
            head = reader.head()
            early = [c for c in reader.checkpoints(head) if c.epoch > head.num_records]
            wrong.extend((info, head) for info in early)

    watcher = threading.Thread(target=watch)
    watcher.start()
    backlog = start()
    try:
        for epoch in range(1, 11):
            hand_over(backlog, epoch)
            backlog.checkpoint(state(epoch))
        until(lambda: backlog.waiting == 0)
    finally:
        done.set()
        watcher.join()
    assert wrong == []


def test_the_time_of_a_record_is_when_it_was_handed_over(
    run, start, disk, hand_over, until, monkeypatch
):
    clock = [1_000.0]
    monkeypatch.setattr("lossviz_analysis.store.backlog.time.time", lambda: clock[0])
    backlog = start()
    disk.code = errno.ENOSPC
    hand_over(backlog, 1)
    until(lambda: backlog.trouble)
    clock[0] = 9_000.0
    disk.code = 0
    assert backlog.flush(LONG)
    column = RunReader(run).description.scalar_columns.index("wall_time")
    assert RunReader(run).scalars(0, 1)[0, column] == 1_000.0


@pytest.mark.slow
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_wherever_a_write_fails_everything_is_committed_once(
    run, writer, start, disk, hand_over, check, code
):
    """One fsync after the other fails once, through a record, a checkpoint and a record."""
    total = number = 0
    for number in itertools.count():
        backlog = start()
        first = len(disk.names)
        disk.code, disk.number = code, first + number
        for epoch in (total + 1, total + 2):
            hand_over(backlog, epoch)
            if epoch == total + 1:
                backlog.checkpoint(state(epoch))
        assert backlog.flush(LONG)
        was_hit = len(disk.names) > first + number
        disk.code, disk.number = 0, -1
        assert backlog.close(LONG)
        assert backlog.failure is None
        total += 2
        check(total)
        head = RunReader(run).head()
        assert head == writer.head
        assert head.state == RunState.CREATED
        if not was_hit:
            break
    assert number > 18


def test_puts_that_fail_are_tried_again(start, hand_over, check, until, monkeypatch):
    """The temporary file itself cannot be written: what a quota does."""
    full = [True]
    put = durable.put

    def fails(path, content, **options):
        if full[0]:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        put(path, content, **options)

    monkeypatch.setattr(durable, "put", fails)
    backlog = start()
    hand_over(backlog, 1)
    backlog.checkpoint(state(1))
    until(lambda: backlog.trouble)
    assert backlog.waiting == 2
    full[0] = False
    assert backlog.flush(LONG)
    assert check(1) == [1]


def test_a_disk_without_room_for_any_new_file_is_told_all_the_same(
    run, writer, start, hand_over, check, until, monkeypatch
):
    """Whoever fills it takes what the ballast gives up, too."""
    writer.set_state(RunState.RUNNING, "all is well")
    opens, full = Path.open, [True]

    def no_room(path, *words, **options):
        if full[0] and path.suffix == ".partial":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opens(path, *words, **options)

    monkeypatch.setattr(Path, "open", no_room)
    reader = RunReader(run)
    backlog = start()
    hand_over(backlog, 1)
    until(lambda: standing(reader, reader.head()).word == "disk full")
    until(lambda: reader.message().startswith("the disk is full: 1 epoch waits"))
    full[0] = False
    assert backlog.flush(LONG)
    assert (reader.head().state, reader.message()) == (RunState.RUNNING, "")
    check(1)


def test_records_get_the_room_of_the_ballast_though_the_state_can_be_told_without_it(
    run, writer, start, hand_over, check, monkeypatch
):
    """What is written over in place needs no room; new files do."""
    writer.set_state(RunState.RUNNING)
    opens = Path.open

    def no_room(path, *words, **options):
        if path.suffix == ".partial" and (run / BALLAST_NAME).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opens(path, *words, **options)

    monkeypatch.setattr(Path, "open", no_room)
    monkeypatch.setattr(writer.ballast, "load", lambda: None)
    assert (run / BALLAST_NAME).exists()
    backlog = start(retry_seconds=60.0)  # it has to come at once, before others take the room
    for epoch in (1, 2, 3):
        hand_over(backlog, epoch)
    assert backlog.flush(LONG)
    check(3)
    assert RunReader(run).head().state == RunState.RUNNING


def test_the_ballast_is_kept_where_only_a_checkpoint_does_not_fit(
    run, start, until, monkeypatch
):
    backlog = start()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(backlog.writer, "commit_checkpoint", full)
    backlog.checkpoint(state(0))
    until(lambda: RunReader(run).head().state == RunState.DISK_FULL)
    backlog.close(0.05)
    assert (run / BALLAST_NAME).exists()


def test_a_full_disk_is_told_with_counts_and_taken_back(
    run, writer, start, disk, hand_over, check, until
):
    told = []
    writer.set_state(RunState.RUNNING, "all is well")
    backlog = start(on_trouble=told.append)
    reader = RunReader(run)
    disk.code, disk.spares_the_small = errno.ENOSPC, True
    hand_over(backlog, 1)
    until(lambda: reader.head().state == RunState.DISK_FULL)
    assert standing(reader, reader.head()).word == "disk full"
    assert (
        reader.message() == "the disk is full: 1 epoch waits in memory until it can be written"
    )
    assert not (run / BALLAST_NAME).exists()
    for epoch in (2, 3):
        hand_over(backlog, epoch)
    backlog.checkpoint(state(3))
    until(lambda: "3 epochs and 1 checkpoint wait " in reader.message())
    assert len(told) == 1
    assert reader.head().num_records == 0
    disk.code = 0
    assert backlog.flush(LONG)
    until(lambda: not backlog.trouble and reader.head().state == RunState.RUNNING)
    until(lambda: reader.message() == "")
    assert (run / BALLAST_NAME).exists()
    assert check(3) == [3]
    assert len(told) == 1


def test_a_second_full_disk_is_told_again(run, start, disk, hand_over, until):
    told = []
    backlog = start(on_trouble=told.append)
    for epoch in (1, 2):
        disk.code, disk.spares_the_small = errno.ENOSPC, True
        hand_over(backlog, epoch)
        until(lambda: backlog.trouble)
        disk.code = 0
        until(lambda: not backlog.trouble)
        until((run / BALLAST_NAME).exists)
    assert len(told) == 2


def test_a_state_said_meanwhile_is_not_taken_back(run, writer, start, disk, hand_over, until):
    writer.set_state(RunState.RUNNING)
    backlog = start()
    disk.code, disk.spares_the_small = errno.ENOSPC, True
    hand_over(backlog, 1)
    until(lambda: writer.head.state == RunState.DISK_FULL)
    disk.code = 0
    # Between two tries the trainer pauses; the thread says disk full at most once more.
    writer.set_state(RunState.PAUSED, "by hand")
    assert backlog.flush(LONG)
    until(lambda: not backlog.trouble)
    assert backlog.close(LONG)
    assert RunReader(run).head().state in (RunState.PAUSED, RunState.RUNNING)


def test_an_end_said_after_a_flush_stays_the_last_word(
    run, writer, start, disk, hand_over, until, monkeypatch
):
    writer.set_state(RunState.RUNNING)
    backlog = start()
    load, may_load = writer.ballast.load, threading.Event()

    def slow_load():
        assert may_load.wait(LONG)
        load()

    monkeypatch.setattr(writer.ballast, "load", slow_load)
    disk.code, disk.spares_the_small = errno.ENOSPC, True
    hand_over(backlog, 1)
    until(lambda: writer.head.state == RunState.DISK_FULL)
    disk.code = 0
    until(lambda: not backlog.waiting)
    # All is committed, but the thread has still to say so; a flush waits for that as well.
    began = time.monotonic()
    assert backlog.flush(0.3)
    assert time.monotonic() - began >= 0.3
    backlog.say(RunState.FINISHED)
    may_load.set()
    assert backlog.flush(LONG)
    assert backlog.close(LONG)
    assert RunReader(run).head().state == RunState.FINISHED


@pytest.mark.parametrize("end", [RunState.STOPPED, RunState.FAILED, RunState.PAUSED])
def test_an_end_on_a_full_disk_is_not_overwritten_by_the_next_try(
    run, writer, start, disk, hand_over, until, end
):
    backlog = start()
    disk.code, disk.spares_the_small = errno.ENOSPC, True
    hand_over(backlog, 1)
    until(lambda: writer.head.state == RunState.DISK_FULL)
    backlog.say(end, "enough")
    tries = len(disk.names)
    until(lambda: len(disk.names) > tries + 10)
    reader = RunReader(run)
    assert reader.head().state == end
    assert reader.message() == "enough"


def test_a_disk_that_fails_for_too_long_ends_it_with_a_sentence(
    run, start, disk, hand_over, until
):
    told = []
    backlog = start(on_trouble=told.append, patience_seconds=0.05)
    hand_over(backlog, 1)
    assert backlog.flush(LONG)
    disk.code = errno.EIO
    hand_over(backlog, 2)
    until(lambda: backlog.failure is not None)
    for act in (
        lambda: hand_over(backlog, 3),
        lambda: backlog.checkpoint(state(2)),
        lambda: backlog.flush(LONG),
    ):
        with pytest.raises(StoreError, match="could not be written for 0 s: Input/output"):
            act()
    assert not backlog.close(LONG)
    assert "Input/output" in told[-1]
    assert RunReader(run).head().num_records == 1


def test_a_full_disk_outlasts_any_patience(start, disk, hand_over, check, until):
    backlog = start(patience_seconds=0.0)
    disk.code = errno.ENOSPC
    hand_over(backlog, 1)
    tries = len(disk.names)
    until(lambda: len(disk.names) > tries + 10)
    assert backlog.failure is None
    disk.code = 0
    assert backlog.flush(LONG)
    check(1)


@pytest.mark.parametrize("limit", ["records", "bytes"])
def test_with_no_room_left_a_caller_waits(start, disk, hand_over, check, counts_of, limit):
    room = (
        {"max_records": 3}
        if limit == "records"
        else {"max_record_bytes": 3 * counts_of(0).nbytes}
    )
    backlog = start(**room)
    disk.code = errno.ENOSPC
    for epoch in (1, 2, 3):
        hand_over(backlog, epoch)
    fourth = threading.Thread(target=hand_over, args=(backlog, 4), daemon=True)
    fourth.start()
    fourth.join(0.3)
    assert fourth.is_alive()
    assert backlog.waiting == 3
    disk.code = 0
    fourth.join(LONG)
    assert not fourth.is_alive()
    assert backlog.flush(LONG)
    assert backlog.dropped == 0
    check(4)


def test_a_caller_that_waits_hears_of_the_end(start, disk, hand_over):
    backlog = start(max_records=1, patience_seconds=0.05)
    disk.code = errno.EIO
    hand_over(backlog, 1)
    with pytest.raises(StoreError, match="Input/output"):
        hand_over(backlog, 2)


def test_a_caller_may_give_up_waiting(start, disk, hand_over):
    backlog = start(max_records=2, should_give_up=lambda: True)
    disk.code = errno.ENOSPC
    began = time.monotonic()
    for epoch in range(1, 6):
        hand_over(backlog, epoch)
    assert time.monotonic() - began < 5
    assert backlog.waiting <= 3
    assert backlog.dropped == 3


def test_a_recorder_gives_up_the_oldest_and_counts_them(run, start, disk, hand_over, until):
    backlog = start(max_records=3, when_full="drop")
    backlog.writer.ballast.drop()  # so that nothing is tried again at once
    disk.code = errno.ENOSPC
    hand_over(backlog, 1)
    until(lambda: backlog.trouble)
    for epoch in range(2, 9):
        hand_over(backlog, epoch)
    assert backlog.dropped == 5
    disk.code = 0
    assert backlog.flush(LONG)
    assert RunReader(run).scalars(0, 3)[:, 0].tolist() == [6, 7, 8]


def test_of_checkpoints_that_wait_the_newest_and_the_best_are_kept(
    run, start, disk, hand_over, check, until
):
    backlog = start()
    disk.code = errno.ENOSPC
    hand_over(backlog, 1)
    until(lambda: backlog.trouble)
    for epoch in range(1, 7):
        if epoch > 1:
            hand_over(backlog, epoch)
        backlog.checkpoint(state(epoch), is_best=epoch in (2, 4))
    assert backlog.waiting == 6 + 2
    disk.code = 0
    assert backlog.flush(LONG)
    assert check(6) == [4, 6]
    assert RunReader(run).head().best_checkpoint == 1


def test_a_checkpoint_that_failed_yields_to_a_newer_one_but_for_the_best(
    run, start, check, hand_over, monkeypatch
):
    """The one being written fails while newer ones come in."""
    backlog = start()
    hand_over(backlog, 1)
    assert backlog.flush(LONG)
    began, go_on = threading.Event(), threading.Event()
    commit = backlog.writer.commit_checkpoint

    def fails(content, **options):
        if not go_on.is_set():
            began.set()
            assert go_on.wait(LONG)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return commit(content, **options)

    monkeypatch.setattr(backlog.writer, "commit_checkpoint", fails)
    backlog.checkpoint(state(1), is_best=True)
    assert began.wait(LONG)
    backlog.checkpoint(Checkpoint(epoch=1, step=3, parameters={"w": np.full(50, 1, "f4")}))
    go_on.set()
    assert backlog.flush(LONG)
    infos = RunReader(run).checkpoints()
    assert [(info.epoch, info.step) for info in infos] == [(1, 0), (1, 3)]
    assert RunReader(run).head().best_checkpoint == 1
    check(1)


def test_closing_waits_no_longer_than_it_is_told(run, start, disk, hand_over):
    backlog = start(retry_seconds=60.0)
    disk.code = errno.ENOSPC
    hand_over(backlog, 1)
    began = time.monotonic()
    assert not backlog.flush(0.05)
    assert not backlog.close(0.2)
    assert time.monotonic() - began < 5
    assert not backlog._thread.is_alive()
    assert RunReader(run).head().num_records == 0


def test_closing_an_idle_backlog_is_quick_and_may_be_done_twice(start):
    backlog = start()
    began = time.monotonic()
    assert backlog.close()
    assert backlog.close()
    assert time.monotonic() - began < 1


def test_two_threads_hand_over_without_losing_or_doubling(run, start, counts_of, scalars_of):
    backlog = start(max_records=4)

    def hand_over_some(first):
        for number in range(first, 30, 2):
            backlog.record(counts_of(number), scalars_of(number))
            if number % 5 == 0:
                backlog.checkpoint(state(number))

    threads = [threading.Thread(target=hand_over_some, args=(k,)) for k in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert backlog.close(LONG)
    reader = RunReader(run)
    assert reader.head().num_records == 30
    columns = reader.description.scalar_columns
    numbers = (reader.scalars(0, 30)[:, columns.index("twice")] / 2).astype(int)
    assert sorted(numbers) == list(range(30))
    for parity in (0, 1):
        of_one = [n for n in numbers if n % 2 == parity]
        assert of_one == sorted(of_one)
    assert np.array_equal(reader.counts(0, 30), [counts_of(n) for n in numbers])


def test_nobody_waits_for_a_slow_checkpoint(start, hand_over, check, monkeypatch):
    backlog = start()
    began, go_on = threading.Event(), threading.Event()
    commit = backlog.writer.commit_checkpoint

    def slow(content, **options):
        began.set()
        assert go_on.wait(LONG)
        return commit(content, **options)

    monkeypatch.setattr(backlog.writer, "commit_checkpoint", slow)
    hand_over(backlog, 1)
    backlog.checkpoint(state(1))
    assert began.wait(LONG)
    before = time.monotonic()
    for epoch in (2, 3, 4):
        hand_over(backlog, epoch)
    backlog.checkpoint(state(4))
    assert time.monotonic() - before < 2
    assert not go_on.is_set()
    go_on.set()
    assert backlog.close(LONG)
    assert check(4) == [1, 4]


def test_copies_under_way_are_waited_for_by_the_thread_alone(start, disk, hand_over, check):
    """The host's twin of a device that is still copying into a checkpoint's arrays."""
    backlog = start()
    asked, arrived = threading.Event(), threading.Event()
    content = state(0)

    def arrive():
        asked.set()
        assert arrived.wait(LONG)
        content.parameters["w"][:] = 1

    hand_over(backlog, 1)
    backlog.checkpoint(
        Checkpoint(epoch=1, parameters=content.parameters), is_best=True, arrive=arrive
    )
    assert asked.wait(LONG)
    assert not any("checkpoints" in name for name in disk.names)  # nothing is written yet
    arrived.set()
    assert backlog.close(LONG)
    assert check(1) == [1]


def test_a_copy_that_fails_ends_it_with_its_reason(start, hand_over, until):
    def fail():
        raise StoreError("the device is lost")

    backlog = start()
    hand_over(backlog, 1)
    backlog.checkpoint(state(1), arrive=fail)
    until(lambda: backlog.failure is not None)
    assert str(backlog.failure) == "the device is lost"


def test_records_overtake_a_checkpoint_that_does_not_fit(
    run, start, hand_over, check, until, monkeypatch
):
    """And it keeps the record of its own epoch."""
    backlog = start()
    fits = [False]
    commit = backlog.writer.commit_checkpoint

    def full(content, **options):
        if not fits[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return commit(content, **options)

    monkeypatch.setattr(backlog.writer, "commit_checkpoint", full)
    hand_over(backlog, 1)
    backlog.checkpoint(state(1))
    until(lambda: backlog.trouble)
    for epoch in (2, 3):
        hand_over(backlog, epoch)
    until(lambda: RunReader(run).head().num_records == 3)
    assert RunReader(run).checkpoints() == ()
    fits[0] = True
    assert backlog.flush(LONG)
    assert check(3) == [1]


def test_what_is_no_record_is_refused_at_once(start, counts_of):
    backlog = start()
    with pytest.raises(StoreError, match="needs its epoch"):
        backlog.record(counts_of(0), {"loss": 1.0})
    with pytest.raises(StoreError, match="from 0 to"):
        backlog.record(counts_of(0) - 1, {"epoch": 1.0})
    assert backlog.waiting == 0


def test_a_defect_in_the_thread_is_not_swallowed(start, hand_over, until, monkeypatch):
    backlog = start()

    def broken(*_, **__):
        raise RuntimeError("a defect")

    monkeypatch.setattr(backlog.writer, "commit_record", broken)
    hand_over(backlog, 1)
    until(lambda: backlog.failure is not None)
    with pytest.raises(StoreError, match="a defect"):
        backlog.flush(LONG)
