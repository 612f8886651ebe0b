"""Runs whose writer was on another machine, or on this one under another name."""

import json
import os
import time
from pathlib import Path

import pytest

from lossviz_analysis.store.control import Wish, read_wish
from lossviz_analysis.store.schema import LOCK_NAME, RunState
from lossviz_tui.launch import LaunchError, pause_run, resume_run, stop_run
from lossviz_tui.listing import RunLister
from lossviz_tui.liveness import CLOCK_SECONDS, PATIENCE_SECONDS

SENTENCE = (
    r"process 7 on old-box, which cannot be seen from here; "
    r"if that is gone: lossviz-tui train --resume --run '.*a b\.zarr'$"
)


@pytest.fixture
def left(make_run, tmp_path):
    """A run that says it is being trained, by a process of a machine nobody knows."""

    def leave(state: RunState = RunState.RUNNING, program: str = "train") -> Path:
        path = make_run(tmp_path / "a b.zarr", epochs=3, state=state)
        holder = {"host": "old-box", "pid": 7, "program": program}
        (path / LOCK_NAME).write_text(json.dumps(holder))
        quieten(path, 0.0)
        return path

    return leave


def quieten(run: Path, seconds: float) -> None:
    """Make the last sign of life of a writer so old."""
    then = time.time() - seconds
    (run / "live" / "heartbeat" / "c.0").touch()
    for path in ("live/heartbeat/c.0", "records/head/c.0"):
        os.utime(run / path, (then, then))


def test_a_run_that_cannot_be_seen_to_live_is_not_said_to(left):
    with pytest.raises(LaunchError, match=SENTENCE):
        resume_run(left())


def test_a_loop_of_its_own_is_not_started_by_this_program(left):
    with pytest.raises(LaunchError, match="start that training loop of its own again"):
        resume_run(left(program="recorder"))


@pytest.mark.parametrize("do", [stop_run, pause_run])
def test_who_has_been_silent_for_long_is_not_waited_for(left, do):
    path = left()
    quieten(path, CLOCK_SECONDS + PATIENCE_SECONDS + 60)
    began = time.monotonic()
    with pytest.raises(LaunchError, match=f"^its writer was {SENTENCE}"):
        do(path)
    assert time.monotonic() - began < 1.0
    assert read_wish(path) == Wish.NOTHING


@pytest.mark.parametrize("do", [stop_run, pause_run])
def test_who_may_be_there_is_asked_and_waited_for(left, do):
    path = left()
    with pytest.raises(LaunchError, match=f"process 7 has not .* within 0 s; .*{SENTENCE}"):
        do(path, patience_seconds=0.0)
    assert read_wish(path) != Wish.NOTHING


def test_a_paused_run_is_asked_to_go_on_before_it_is_called_gone(left):
    path = left(RunState.PAUSED)
    quieten(path, 10 * CLOCK_SECONDS)  # a paused one gives no signs
    with pytest.raises(LaunchError, match=f"has not gone on within 0 s; .*{SENTENCE}"):
        resume_run(path, patience_seconds=0.0)


def test_beyond_what_clocks_may_differ_by_it_is_stalled(left):
    path = left()
    assert RunLister().row(path).word == "live"
    quieten(path, CLOCK_SECONDS)
    assert RunLister().row(path).word == "live"
    quieten(path, CLOCK_SECONDS + PATIENCE_SECONDS + 60)
    assert RunLister().row(path).word == "stalled"


def test_a_writer_that_is_held_here_is_seen_whatever_this_machine_is_called(
    make_run, live_writer, tmp_path, monkeypatch
):
    path = make_run(tmp_path / "a.zarr", epochs=3)
    live_writer(path)
    monkeypatch.setattr("lossviz_analysis.store.lock.socket.gethostname", lambda: "renamed")
    with pytest.raises(LaunchError, match="is being trained; there is nothing to resume"):
        resume_run(path)
