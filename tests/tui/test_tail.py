"""Following a run: which messages follow from what happens on the disk."""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from textual.message import Message

from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.scans import cancel, scan_folder
from lossviz_analysis.store.schema import Phase, RunState, ScanState
from lossviz_analysis.store.writer import RunWriter
from lossviz_tui import tail as tail_module
from lossviz_tui.gpus import Gpu, GpuSample
from lossviz_tui.listing import RunLister
from lossviz_tui.messages import (
    RowsRead,
    RunAdvanced,
    RunsListed,
    RunStirred,
    ScanFilled,
    ScansListed,
    TroubleChanged,
)
from lossviz_tui.tail import Tail


@dataclass
class Clock:
    """Time that passes only when told to."""

    now: float = 1_000.0
    wall: float = 1_750_000_200.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.wall

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(tail_module, "time", found)
    return found


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A torn head is believed at once."""
    monkeypatch.setattr("lossviz_analysis.store.head._PAUSE_SECONDS", 0.0)


class Listener:
    """A tail and what it has told since it was last asked."""

    def __init__(self, folder: Path) -> None:
        self.heard: list[Message] = []
        self.tail = Tail(folder, self.heard.append)

    def step(self) -> list[Any]:
        """What one look tells, without the list of runs."""
        self.heard.clear()
        self.tail.step()
        return [message for message in self.heard if not isinstance(message, RunsListed)]

    def runs(self) -> RunsListed:
        """The list of runs, which was just told."""
        return next(message for message in self.heard if isinstance(message, RunsListed))


@pytest.fixture
def listener(tmp_path):
    return Listener(tmp_path)


def kinds(messages) -> list[type]:
    return [type(message) for message in messages]


def test_a_quiet_run_is_told_once(listener, make_run, tmp_path):
    path = make_run(tmp_path / "a.zarr")
    listener.tail.focus(path, None)
    first = listener.step()
    assert kinds(first) == [RunAdvanced, RunStirred, ScansListed]
    advanced, stirred, scans = first
    assert advanced.run == path
    assert advanced.view.epochs.tolist() == list(range(1, 9))
    assert (stirred.standing.word, stirred.standing.message) == ("finished", "")
    assert scans.scans == ()
    assert listener.step() == []


def test_growth_is_told_as_growth_and_nothing_else(listener, make_run, live_writer, tmp_path):
    path = make_run(tmp_path / "a.zarr", epochs=2)
    writer = live_writer(path)
    listener.tail.focus(path, None)
    before = listener.step()
    writer.commit_record(np.ones((2, 5, 5), np.int32), {"epoch": 3.0})
    grown = listener.step()
    assert kinds(grown)[0] is RunAdvanced
    assert grown[0].view.epochs.tolist() == [1, 2, 3]
    assert before[0].view.epochs.tolist() == [1, 2]
    assert ScansListed not in kinds(grown)


def test_a_run_that_appears_later_is_found(listener, make_run, tmp_path):
    path = tmp_path / "later.zarr"
    listener.tail.focus(path, None)
    told = listener.step()
    assert kinds(told) == [TroubleChanged]
    assert "later.zarr" in told[0].sentence
    assert listener.step() == []
    make_run(path, epochs=2)
    told = listener.step()
    assert kinds(told) == [RunAdvanced, RunStirred, ScansListed, TroubleChanged]
    assert told[-1].sentence == ""


def test_another_run_at_the_same_path_is_read_from_its_start(listener, make_run, tmp_path):
    path = make_run(tmp_path / "a.zarr", epochs=3)
    listener.tail.focus(path, None)
    listener.step()
    shutil.rmtree(path)
    make_run(path, names=("yes", "no"), epochs=3)
    told = listener.step()
    assert kinds(told) == [RunAdvanced, RunStirred, ScansListed]
    assert told[0].view.description.class_names == ("yes", "no")
    assert told[0].view.counts.shape == (3, 2, 2, 2)


def test_scans_of_the_run_before_are_forgotten(listener, make_run, make_scan, tmp_path):
    path = make_run(tmp_path / "a.zarr")
    make_scan(path)
    listener.tail.focus(path, None)
    listener.step()
    shutil.rmtree(path)
    make_run(path)
    lists = [m for m in listener.step() if isinstance(m, ScansListed)]
    assert [m.scans for m in lists] == [()]


def test_a_run_that_vanishes_is_trouble_until_it_is_back(listener, make_run, tmp_path):
    path = make_run(tmp_path / "a.zarr")
    listener.tail.focus(path, None)
    listener.step()
    path.rename(tmp_path / "elsewhere")
    told = listener.step()
    assert kinds(told) == [TroubleChanged]
    assert "cannot be read" in told[0].sentence
    assert listener.step() == []
    (tmp_path / "elsewhere").rename(path)
    told = listener.step()
    assert kinds(told) == [TroubleChanged]
    assert told[0].sentence == ""


def test_a_torn_head_is_trouble_and_heals(listener, make_run, tmp_path):
    path = make_run(tmp_path / "a.zarr")
    listener.tail.focus(path, None)
    listener.step()
    head = path / "records" / "head" / "c.0"
    whole = head.read_bytes()
    head.write_bytes(whole[:70])
    told = listener.step()
    assert kinds(told) == [TroubleChanged]
    assert "checksum" in told[0].sentence
    head.write_bytes(whole)
    assert [m.sentence for m in listener.step()] == [""]


def test_what_nobody_thought_of_is_trouble_too_and_goes_away(
    listener, make_run, tmp_path, monkeypatch
):
    listener.tail.focus(make_run(tmp_path / "a.zarr"), None)
    listener.step()
    with monkeypatch.context() as patch:
        patch.setattr("lossviz_tui.tail.find_scans", lambda _: 1 / 0)
        assert [m.sentence for m in listener.step()] == ["ZeroDivisionError: division by zero"]
        assert listener.step() == []
    assert [m.sentence for m in listener.step()] == [""]


def test_a_damaged_record_is_trouble_and_hides_no_other(listener, make_run, tmp_path):
    path = make_run(tmp_path / "a.zarr", epochs=2)
    listener.tail.focus(path, None)
    listener.step()
    with RunWriter(path) as writer:
        writer.commit_record(np.ones((2, 5, 5), np.int32), {"epoch": 3.0})
    chunk = path / "records" / "confusion" / "c.2.0.0.0"
    whole = chunk.read_bytes()
    chunk.write_bytes(b"\0" * len(whole))
    told = listener.step()
    assert kinds(told) == [RunAdvanced, RunStirred, TroubleChanged]
    assert told[0].view.epochs.tolist() == [1, 2, 3]
    assert told[0].view.class_epochs.tolist() == [1, 2]
    assert "damaged" in told[2].sentence
    assert listener.step() == []
    chunk.write_bytes(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lossviz_tui.history.RETRY_SECONDS", -1.0)
        told = listener.step()
    assert kinds(told) == [RunAdvanced, TroubleChanged]
    assert told[0].view.class_epochs.tolist() == [1, 2, 3]
    assert told[1].sentence == ""


def test_a_long_run_is_told_at_once_and_then_piece_by_piece(
    listener, make_run, tmp_path, clock, monkeypatch
):
    monkeypatch.setattr("lossviz_tui.tail.READ_SECONDS", -1.0)
    monkeypatch.setattr("lossviz_tui.history._MAX_BATCH", 2)
    listener.tail.focus(make_run(tmp_path / "a.zarr"), None)
    told = listener.step()
    assert kinds(told) == [RunAdvanced, RunStirred, ScansListed]
    assert len(told[0].view) == 8
    assert (told[0].view.class_epochs.tolist(), told[0].view.num_waiting) == ([7, 8], 6)
    listener.heard.clear()
    assert listener.tail.step()  # there is more, though it is not worth telling yet
    assert listener.heard == []
    clock.passes(1.0)
    (told,) = listener.step()
    assert told.view.class_epochs.tolist() == [3, 4, 5, 6, 7, 8]
    (told,) = listener.step()
    assert (told.view.class_epochs.tolist(), told.view.num_waiting) == (list(range(1, 9)), 0)
    assert listener.step() == []
    assert not listener.tail.step()


def test_rows_a_view_waits_for_are_read_and_told(listener, make_run, tmp_path, monkeypatch):
    monkeypatch.setattr("lossviz_tui.history.COUNTS_BYTES", 10)
    monkeypatch.setattr("lossviz_tui.matrices.PATIENCE_SECONDS", -1.0)
    listener.tail.focus(make_run(tmp_path / "a.zarr"), None)
    view = listener.step()[0].view
    assert listener.step() == []
    assert not view.row_by_epoch("test", 2).is_complete
    told = listener.step()
    assert kinds(told) == [RowsRead]
    assert view.row_by_epoch("test", 2).is_complete


def test_the_run_in_focus_can_be_left_though_it_is_gone(listener, make_run, tmp_path):
    gone, other = make_run(tmp_path / "a.zarr"), make_run(tmp_path / "b.zarr", epochs=2)
    listener.tail.focus(gone, None)
    listener.step()
    shutil.rmtree(gone)
    listener.step()
    listener.tail.focus(other, None)
    told = listener.step()
    assert kinds(told) == [RunAdvanced, RunStirred, ScansListed, TroubleChanged]
    assert told[0].run == other


def test_a_run_left_and_opened_again_between_two_looks_is_told_anew(
    listener, make_run, tmp_path
):
    one, other = make_run(tmp_path / "a.zarr"), make_run(tmp_path / "b.zarr")
    listener.tail.focus(one, None)
    listener.step()
    listener.tail.focus(other, None)
    listener.tail.focus(one, None)
    told = listener.step()
    assert kinds(told) == [RunAdvanced, RunStirred, ScansListed]
    assert told[0].run == one


def test_a_scan_is_queued_begins_fills_and_ends(
    listener, make_run, ask_scan, begin, fill_scan, tmp_path
):
    path = make_run(tmp_path / "a.zarr")
    listener.tail.focus(path, None)
    listener.step()
    request = ask_scan(points=5)
    writer = begin(path, request)
    told = listener.step()
    assert kinds(told) == [ScansListed, ScanFilled]
    assert [(row.word, row.done) for row in told[0].scans] == [("running", 0)]
    names = ("plane", "car", "cat", "dog", "ship")
    fill_scan(writer, request, names, 0.5)
    writer.flush(force=True)
    told = listener.step()
    assert kinds(told) == [ScansListed, ScanFilled]
    row = told[0].scans[0]
    assert (row.word, row.done, row.total) == ("running", 26, 50)
    assert told[1].picture.result.share_known == 13 / 25
    assert listener.step() == []
    fill_scan(writer, request, names, 1.0)
    writer.finish(ScanState.DONE)
    told = listener.step()
    assert told[0].scans[0].word == "done"
    assert told[1].picture.result.share_known == 1.0
    assert told[1].picture.request == request


def test_another_scan_in_focus_is_another_picture(listener, make_run, make_scan, tmp_path):
    path = make_run(tmp_path / "a.zarr")
    first, second = make_scan(path), make_scan(path)
    listener.tail.focus(path, None)
    assert listener.step()[-1].picture.scan_id == second
    listener.tail.focus(path, first)
    told = listener.step()
    assert kinds(told) == [ScanFilled]
    assert told[0].picture.scan_id == first


def test_a_scan_beside_is_told_with_the_one_in_focus(listener, make_run, make_scan, tmp_path):
    path = make_run(tmp_path / "a.zarr")
    first, second = make_scan(path), make_scan(path)
    listener.tail.focus(path, None, first)
    told = listener.step()[-1]
    assert (told.picture.scan_id, told.beside.scan_id) == (second, first)
    assert told.siblings == ()
    listener.tail.focus(path, first, first)
    told = listener.step()[-1]
    assert (told.picture.scan_id, told.beside.scan_id) == (first, first)
    listener.tail.focus(path, first)
    assert [one.beside for one in listener.step()] in ([], [None])


def test_a_series_is_told_whole_and_read_once(
    listener, make_run, make_scan, ask_scan, tmp_path, monkeypatch
):
    path = make_run(tmp_path / "a.zarr")
    frames = [make_scan(path, ask_scan(points=3, series="film", epoch=e)) for e in (2, 8)]
    make_scan(path, ask_scan(points=3, series="film"), state=ScanState.QUEUED)
    make_scan(path)
    read: list[str] = []
    usual = tail_module.picture_of

    def picture_of(scan, view):
        read.append(scan.scan_id)
        return usual(scan, view)

    monkeypatch.setattr(tail_module, "picture_of", picture_of)
    listener.tail.focus(path, frames[0])
    told = listener.step()[-1]
    assert told.picture.scan_id == frames[0]
    assert [one.scan_id for one in told.siblings] == frames
    assert len(read) == 3
    listener.tail.focus(path, frames[1])
    told = listener.step()
    assert kinds(told) == [ScanFilled]
    assert told[0].picture.scan_id == frames[1]
    assert len(read) == 3
    assert listener.step() == []


def test_a_damaged_frame_takes_no_other_with_it(
    listener, make_run, make_scan, ask_scan, tmp_path
):
    path = make_run(tmp_path / "a.zarr")
    frames = [make_scan(path, ask_scan(points=3, series="film")) for _ in range(2)]
    (scan_folder(path, frames[0]) / "result" / "zarr.json").write_text("{")
    listener.tail.focus(path, frames[1])
    told = listener.step()[-1]
    assert [one.scan_id for one in told.siblings] == frames[1:]


def test_a_cancelled_request_that_never_began(listener, make_run, make_scan, tmp_path):
    path = make_run(tmp_path / "a.zarr")
    scan_id = make_scan(path, state=ScanState.QUEUED)
    listener.tail.focus(path, None)
    listener.step()
    cancel(scan_folder(path, scan_id))
    told = listener.step()
    assert [row.word for row in told[0].scans] == ["cancelled"]


def test_a_damaged_scan_is_listed_once_and_hides_no_run(
    listener, make_run, make_scan, tmp_path
):
    path = make_run(tmp_path / "a.zarr")
    scan_id = make_scan(path)
    (scan_folder(path, scan_id) / "head" / "c.0").write_bytes(b"short")
    listener.tail.focus(path, None)
    told = listener.step()
    assert kinds(told) == [RunAdvanced, RunStirred, ScansListed, ScanFilled]
    assert told[2].scans[0].word == "damaged"
    assert told[3].picture is None
    assert listener.step() == []


def test_why_cells_cannot_be_shown_is_told_once_and_until_they_can(
    listener, make_run, make_scan, tmp_path
):
    path = make_run(tmp_path / "a.zarr")
    scan_id = make_scan(path)
    (chunk,) = (scan_folder(path, scan_id) / "result" / "cells").glob("c.*")
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[::-1])
    listener.tail.focus(path, None)
    told = listener.step()
    assert told[2].scans[0].word == "done"
    assert told[3].picture is None
    assert told[3].unreadable == {scan_id: f"{chunk} is damaged: its checksum does not match"}
    assert listener.step() == []
    chunk.unlink()
    chunk.mkdir()
    (told,) = listener.step()
    assert told.unreadable[scan_id].endswith("cannot be read: it is no regular file")
    chunk.rmdir()
    chunk.write_bytes(whole)
    (told,) = listener.step()
    assert (told.picture.scan_id, told.unreadable) == (scan_id, {})


def test_a_result_that_does_not_fit_its_request_is_no_picture(
    listener, make_run, make_scan, ask_scan, tmp_path
):
    path = make_run(tmp_path / "a.zarr")
    plane = make_scan(path, ask_scan(2, points=5))
    line = make_scan(path, ask_scan(1, points=5))
    (scan_folder(path, line) / "result").rename(tmp_path / "b")
    (scan_folder(path, plane) / "result").rename(tmp_path / "a")
    (tmp_path / "a").rename(scan_folder(path, line) / "result")
    listener.tail.focus(path, line)
    told = listener.step()
    assert kinds(told) == [RunAdvanced, RunStirred, ScansListed, ScanFilled]
    assert told[3].picture is None


def beat(writer: RunWriter, number: int) -> None:
    writer._last_pulse = -np.inf
    writer.pulse(epoch=9, step=number, steps_per_epoch=100, phase=Phase.TRAINING)


@pytest.fixture
def live(listener, make_run, live_writer, tmp_path):
    """A run that is written, seen once."""
    path = make_run(tmp_path / "a.zarr", state=RunState.STOPPED)
    writer = live_writer(path)
    listener.tail.focus(path, None)
    return writer


def word(listener: Listener) -> str | None:
    """The standing told by one look, if one was."""
    words = [m.standing.word for m in listener.step() if isinstance(m, RunStirred)]
    return words[-1] if words else None


def test_a_beating_run_is_live_for_three_median_epochs(listener, live, clock):
    clock.wall = 1_750_000_080.0  # the moment of its last record
    beat(live, 1)
    assert word(listener) == "live"
    for step in range(2, 32):
        clock.passes(1.0)
        beat(live, step)
        assert word(listener) == "live", step
    clock.passes(1.0)
    beat(live, 40)
    assert word(listener) == "stalled"
    live.commit_record(
        np.ones((2, 5, 5), np.int32),
        {"epoch": 9.0, "duration_s": 10.0, "wall_time": clock.wall},
    )
    assert word(listener) == "live"


def test_a_run_without_a_sign_of_life_for_long_is_stalled(listener, live, clock):
    clock.wall = 1_750_000_080.0
    beat(live, 1)
    assert word(listener) == "live"
    clock.passes(29.0)
    live.commit_record(np.ones((2, 5, 5), np.int32), {"epoch": 9.0, "duration_s": 500.0})
    assert word(listener) == "live"
    clock.passes(2.0)
    assert word(listener) == "stalled"
    beat(live, 2)
    assert word(listener) == "live"


def test_a_resumed_run_is_not_stalled_because_its_last_life_was_long_ago(
    listener, live, live_writer, clock
):
    clock.wall = 1_750_000_080.0
    beat(live, 1)
    assert word(listener) == "live"
    live.close()
    assert word(listener) == "crashed"
    clock.passes(600.0)
    resumed = live_writer(live.path)
    resumed.set_state(RunState.RUNNING)
    assert word(listener) == "live"
    clock.passes(31.0)
    assert word(listener) == "stalled"


def test_a_run_that_was_just_created_is_not_stalled(listener, make_run, live_writer, tmp_path):
    path = make_run(tmp_path / "a.zarr", epochs=0)
    live_writer(path)
    listener.tail.focus(path, None)
    assert word(listener) == "live"


def test_a_run_silent_since_long_before_it_was_opened_is_stalled_at_once(listener, live, clock):
    clock.wall = 1_750_000_080.0
    beat(live, 1)
    quieten(live.path, 40)
    assert word(listener) == "stalled"
    beat(live, 2)
    assert word(listener) == "live"


def quieten(run: Path, seconds: float) -> None:
    """Make the signs of life of a writer so old."""
    for path in ("live/heartbeat/c.0", "records/head/c.0"):
        then = time.time() - seconds
        os.utime(run / path, (then, then))


@pytest.mark.parametrize(
    ("seconds", "expected"), [(29, "live"), (31, "stalled"), (-3_600, "live")]
)
def test_a_list_says_stalled_by_the_same_rule(live, seconds, expected):
    beat(live, 1)
    quieten(live.path, seconds)
    assert RunLister().row(live.path).word == expected
    beat(live, 2)
    assert RunLister().row(live.path).word == "live"


def test_a_run_that_ended_is_not_stalled(make_run, tmp_path):
    path = make_run(tmp_path / "a.zarr")
    with RunWriter(path) as writer:
        beat(writer, 1)
    quieten(path, 3_600)
    assert RunLister().row(path).word == "finished"


def test_a_writer_that_never_gives_signs_of_life_is_not_called_silent(live):
    (live.path / "live" / "heartbeat" / "c.0").unlink(missing_ok=True)
    head = live.path / "records" / "head" / "c.0"
    os.utime(head, (1.0, 1.0))
    assert RunLister().row(live.path).word == "live"


def test_of_a_run_written_elsewhere_its_own_word_stands(live, monkeypatch):
    beat(live, 1)
    quieten(live.path, 3_600)
    assert RunLister().row(live.path).word == "stalled"
    monkeypatch.setattr(
        "lossviz_tui.liveness.read_holder", lambda _: SimpleNamespace(is_local=False)
    )
    assert RunLister().row(live.path).word == "live"


def test_a_run_that_rests_costs_a_list_its_head_only(make_run, grow, tmp_path, monkeypatch):
    path = make_run(tmp_path / "a.zarr", epochs=3)
    lister = RunLister()
    (before,) = lister.rows(tmp_path)
    asked: list[tuple[int, int]] = []
    usual = RunReader.scalars

    def scalars(reader, start, stop):
        asked.append((start, stop))
        return usual(reader, start, stop)

    monkeypatch.setattr(RunReader, "scalars", scalars)
    assert lister.rows(tmp_path)[0].trend is before.trend
    assert asked == []
    grow(path, [4, 5])
    (after,) = lister.rows(tmp_path)
    assert asked == [(3, 5)]
    assert (after.epoch, len(after.trend)) == (5, 5)
    np.testing.assert_array_equal(after.trend, RunLister().row(path).trend)
    shutil.rmtree(path)
    make_run(path, epochs=1)  # another run at the same path
    assert len(lister.rows(tmp_path)[0].trend) == 1


def test_epochs_of_unknown_length_do_not_stall_a_run(
    listener, make_run, live_writer, tmp_path, clock
):
    path = make_run(tmp_path / "a.zarr", epochs=0)
    writer = live_writer(path)
    writer.commit_record(np.ones((2, 5, 5), np.int32), {"epoch": 1.0, "wall_time": clock.wall})
    listener.tail.focus(path, None)
    assert word(listener) == "live"


@pytest.mark.usefixtures("live")
def test_the_age_of_the_data_counts_from_the_writers_clock(listener, clock):
    told = listener.step()
    standing = next(m.standing for m in told if isinstance(m, RunStirred))
    assert clock.now - standing.data_seen == 1_750_000_200 - 1_750_000_080


def test_a_crash_is_told(listener, live):
    beat(live, 1)
    listener.step()
    live.close()
    assert word(listener) == "crashed"


def test_the_list_of_runs_is_told_when_it_changes(listener, make_run, tmp_path, clock):
    listener.step()
    assert listener.heard == []
    make_run(tmp_path / "a.zarr", epochs=3)
    clock.passes(3.0)
    listener.step()
    (row,) = listener.runs().runs
    assert (row.word, row.epoch, row.epochs, row.model, row.dataset) == (
        "finished",
        3,
        12,
        "resnet20",
        "pets",
    )
    assert row.best_test_accuracy == row.trend.max()
    clock.passes(3.0)
    assert listener.step() == []
    assert listener.heard == []
    (tmp_path / "broken.zarr" / "records" / "head").mkdir(parents=True)
    (tmp_path / "broken.zarr" / "records" / "head" / "c.0").write_bytes(b"")
    clock.passes(3.0)
    listener.step()
    assert {r.word for r in listener.runs().runs} == {"finished", "damaged"}


def test_a_newer_message_replaces_a_waiting_one_of_its_kind():
    one, two = TroubleChanged("a"), TroubleChanged("")
    assert two.can_replace(one)
    assert not two.can_replace(RunsListed(()))


def test_marked_runs_are_told_and_forgotten(listener, make_run, tmp_path):
    open_run, marked = (make_run(tmp_path / f"{name}.zarr") for name in "ab")
    listener.tail.focus(open_run, None)
    listener.step()
    listener.tail.overlay((marked,))
    (told,) = listener.step()
    assert [(one.path, len(one.view)) for one in told.overlays] == [(marked, 8)]
    assert listener.step() == []
    listener.tail.overlay(())
    assert [message.overlays for message in listener.step()] == [()]


def test_what_the_gpus_do_is_told_when_they_were_asked(listener, clock):
    gpu = Gpu(number=0, use=0.5, used_bytes=1, total_bytes=2)
    asked: list[float] = []

    def step(now: float) -> tuple[GpuSample, ...] | None:
        asked.append(now)
        return (GpuSample(seconds=now, gpus=(gpu,)),) if len(asked) == 1 else None

    listener.tail._gpus.step = step
    assert [message.gpus[-1].gpus for message in listener.step()] == [(gpu,)]
    clock.passes(0.25)
    assert listener.step() == []
    assert asked == [1_000.0, 1_000.25]
