"""A writer killed at random instants while a reader looks on: nothing lost, nothing torn."""

import os
import random
import signal
import threading
import time

import numpy as np
import pytest

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader

KILLS = 24

# One interpreter has imported everything and forks a writer for each line it is sent, so that a
# restart costs milliseconds. A writer says "record n" or "checkpoint n" only after the commit.
NURSERY = """
import os, sys
from pathlib import Path
import numpy as np
from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.writer import RunWriter

def say(text):
    os.write(1, f"{text}\\n".encode())

def write(run):
    with RunWriter(run) as writer:
        say(f"attempt {writer.head.attempt}")
        while True:
            n = writer.head.num_records
            counts = np.arange(n * 18, (n + 1) * 18).reshape(2, 3, 3)
            writer.commit_record(counts, {"epoch": n + 1.0, "loss": n / 7, "twice": 2.0 * n})
            say(f"record {n}")
            if n % 2 == 0:
                number = writer.head.latest_checkpoint + 1
                weights = np.arange(20_000, dtype="f4") + number
                writer.commit_checkpoint(Checkpoint(epoch=n + 1, parameters={"w": weights}))
                say(f"checkpoint {number}")

say("ready")
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        write(Path(sys.argv[1]))
    say(f"pid {child}")
    os.waitpid(child, 0)
    say("reaped")
"""


class Watcher(threading.Thread):
    """Polls the run as the screen does and remembers whatever was not as it should be."""

    def __init__(self, run, check_records, check_checkpoint):
        super().__init__()
        self.run_path = run
        self.check_records = check_records
        self.check_checkpoint = check_checkpoint
        self.stop = threading.Event()
        self.polls = self.records = self.checkpoints = 0
        self.wrong = []

    def run(self):
        reader, seen, sequence = RunReader(self.run_path), 0, -1
        while not self.stop.wait(0.002):
            try:
                head = reader.head()
                self.polls += 1
                if head.num_records < seen or head.sequence < sequence:
                    self.wrong.append(f"the head went back: {head} after {seen}, {sequence}")
                sequence = head.sequence
                first = max(0, min(seen, head.num_records) - 1)
                self.check_records(reader, first, head.num_records)
                self.records += head.num_records - first
                seen = head.num_records
                if head.latest_checkpoint > 0 and self.polls % 5 == 0:
                    self.check_checkpoint(reader, head.latest_checkpoint)
                    self.checkpoints += 1
            except (StoreError, AssertionError) as error:
                self.wrong.append(error)


@pytest.fixture
def check_records(counts_of, scalars_of):
    def check(reader, first, stop):
        counts, scalars = reader.counts(first, stop), reader.scalars(first, stop)
        for number in range(first, stop):
            assert np.array_equal(counts[number - first], counts_of(number))
            epoch, _, _, _, loss, twice = scalars[number - first].tolist()
            assert {"epoch": epoch, "loss": loss, "twice": twice} == scalars_of(number)
        return scalars[:, 1]

    return check


def check_checkpoint(reader, number):
    weights = reader.checkpoint(number).parameters["w"]
    assert np.array_equal(weights, np.arange(20_000, dtype="f4") + number)


@pytest.mark.slow
def test_a_writer_killed_many_times_loses_nothing_it_acknowledged_and_tears_nothing(
    run, start_child, check_records
):
    nursery = start_child(NURSERY, run)
    assert nursery.stdout.readline() == "ready\n"
    watcher = Watcher(run, check_records, check_checkpoint)
    watcher.start()
    instants = random.Random(2)
    acknowledged = {"record": -1, "checkpoint": 0, "attempt": 0}
    reader = RunReader(run)
    try:
        for kill in range(KILLS):
            nursery.stdin.write("go\n")
            nursery.stdin.flush()
            pid, since = None, 0
            killed = None
            while True:
                what, _, number = nursery.stdout.readline().strip().partition(" ")
                if what == "reaped":
                    break
                if what == "pid":
                    pid = int(number)
                    continue
                assert int(number) > acknowledged[what]
                acknowledged[what] = int(number)
                since += what == "record"
                if pid is not None and since >= 1 + kill % 4 and killed is None:
                    # Anywhere within about two commits, not only just after one.
                    killed = threading.Timer(
                        instants.uniform(0, 0.03), os.kill, (pid, signal.SIGKILL)
                    )
                    killed.start()
            assert killed is not None
            killed.join()
            head = reader.head()
            assert head.num_records > acknowledged["record"]
            assert head.latest_checkpoint >= acknowledged["checkpoint"]
            assert head.attempt >= acknowledged["attempt"] == kill + 1
        polls = watcher.polls
        deadline = time.monotonic() + 10
        while watcher.polls < polls + 10 and time.monotonic() < deadline:
            watcher.join(0.01)
    finally:
        watcher.stop.set()
        watcher.join()

    assert watcher.wrong == []
    assert watcher.polls > 10 * KILLS
    assert watcher.records > 2 * KILLS
    assert watcher.checkpoints > KILLS
    head = reader.head()
    attempts = check_records(reader, 0, head.num_records)
    assert head.num_records >= KILLS * 2
    assert (np.diff(attempts) >= 0).all()
    assert set(attempts) <= set(range(1, KILLS + 1))
    assert len(set(attempts)) > KILLS // 2
    published = [info.number for info in reader.checkpoints(head)]
    assert published == list(range(1, head.latest_checkpoint + 1))
    for number in published:
        check_checkpoint(reader, number)
