"""Scans: queued by anybody, computed by one, resumed to the same bits, never met half-built."""

import json
import math
import signal
from dataclasses import replace

import numpy as np
import pytest

from lossviz_analysis.store import scans as scans_module
from lossviz_analysis.store.chunks import StoredArray
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.lock import LockHeldError, is_held
from lossviz_analysis.store.pins import Pins
from lossviz_analysis.store.requests import DirectionSpec
from lossviz_analysis.store.scan_geometry import ScanGeometry
from lossviz_analysis.store.scan_report import ScanReport
from lossviz_analysis.store.scan_writer import ScanWriter, revive
from lossviz_analysis.store.scans import (
    CANCEL_NAME,
    FOCUS_NAME,
    ScanReader,
    cancel,
    find_scans,
    look_at,
    scan_folder,
    submit,
    unfinished,
)
from lossviz_analysis.store.schema import LOCK_NAME, CellLayout, ScanState, cell_layout

WORKER = """
import sys
from pathlib import Path
import numpy as np
from lossviz_analysis.store.scan_geometry import ScanGeometry
from lossviz_analysis.store.scan_report import ScanReport
from lossviz_analysis.store.scan_writer import ScanWriter, revive
writer = ScanWriter(Path(sys.argv[1]))
writer.claim()
geometry = ScanGeometry(
    class_names=("a", "b", "c"), splits=("train", "test"), points=(5, 4), has_confusion=True,
    chunks={"train": 3, "test": 1}, examples={"train": 2_500, "test": 300},
    direction_norms=(1.0, 2.0), weight_norm=3.0,
)
writer.begin(geometry, (np.arange(5.0), np.arange(4.0)), np.ones((2, 7), "f4"))
sums = np.full((1, 25), 0.1)
sums[:, 0] = 1
for point in range(8):
    writer.add(point, 0, sums)
writer.flush(force=True)
print("running", flush=True)
sys.stdin.readline()
"""


def geometry_of(num_classes=3, points=(5, 4), **changes):
    usual = ScanGeometry(
        class_names=tuple(f"class {k}" for k in range(num_classes)),
        splits=("train", "test"),
        points=points,
        has_confusion=True,
        chunks={"train": 3, "test": 1},
        examples={"train": 2_500, "test": 300},
        direction_norms=(1.0, 2.0),
        weight_norm=3.0,
        cosine=0.25,
        provenance={"device": "cpu"},
    )
    return replace(usual, **changes)


def sums_of(geometry, seed=0):
    """Sums of every chunk of every cell: whose order of addition shows in the last bits."""
    shape = (geometry.num_points, 2, 3, geometry.layout.width)
    sums = np.random.default_rng(seed).normal(size=shape) * 10.0 ** np.arange(3)[:, None]
    sums[..., 0] = 1.0
    return sums


def coordinates_of(geometry):
    return tuple(np.linspace(-1, 1, n) for n in geometry.points)


@pytest.fixture
def start(run, ask):
    """Submits, claims and begins a scan."""
    writers = []

    def go(geometry=None):
        geometry = geometry or geometry_of()
        scan_id = submit(run, ask())
        writer = ScanWriter(scan_folder(run, scan_id))
        writer.claim()
        writer.begin(
            geometry, coordinates_of(geometry), np.arange(14, dtype="f4").reshape(2, 7)
        )
        writers.append(writer)
        return writer, ScanReader(run, scan_id)

    yield go
    for writer in writers:
        writer.release()


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when told to; seconds since the scans module's start."""
    now = [50.0]
    monkeypatch.setattr("lossviz_analysis.store.scans.time.monotonic", lambda: now[0])
    return now


def test_a_submitted_scan_is_queued_and_says_what_was_asked(run, ask):
    scan_id = submit(run, ask())
    scan = ScanReader(run, scan_id)
    assert scan.request == ask()
    assert scan.head().state == ScanState.QUEUED
    assert scan.state_word(scan.head()) == "queued"
    assert scan.geometry() is None
    assert scan.message() == ""
    for unavailable in (scan.coordinates, scan.cells, scan.directions):
        with pytest.raises(StoreError):
            unavailable()
    assert [found.scan_id for found in unfinished(find_scans(run))] == [scan_id]


def test_ids_sort_by_the_time_of_asking(run, ask, monkeypatch):
    now = [1_700_000_000_000_000_000]
    monkeypatch.setattr("lossviz_analysis.store.scans.time.time_ns", lambda: now[0])
    ids = []
    for pause_ms in (0, 1, 9, 90, 899, 1, 60_000, 10**9):
        now[0] += pause_ms * 1_000_000
        ids.append(submit(run, ask()))
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)
    assert [scan.scan_id for scan in find_scans(run)] == ids
    assert all("-ego-" in scan_id for scan_id in ids)


def test_equal_requests_at_the_same_instant_are_two_scans(run, ask, monkeypatch):
    monkeypatch.setattr("lossviz_analysis.store.scans.time.time_ns", lambda: 10**18)
    assert submit(run, ask()) != submit(run, ask())


def test_nobody_meets_half_a_request(run, ask, monkeypatch):
    met = []
    fsync_tree = scans_module.fsync_tree

    def look(folder):
        assert (folder / "zarr.json").is_file()
        met.append(find_scans(run))
        fsync_tree(folder)

    monkeypatch.setattr(scans_module, "fsync_tree", look)
    submit(run, ask())
    assert met == [()]
    assert len(find_scans(run)) == 1


def test_a_scan_that_cannot_be_queued_leaves_nothing(run, ask, monkeypatch):
    def no_space(_):
        raise OSError(28, "No space left on device")

    before = sorted((run / "scans").iterdir())
    monkeypatch.setattr(scans_module, "fsync_tree", no_space)
    with pytest.raises(StoreError, match="No space left"):
        submit(run, ask())
    assert sorted((run / "scans").iterdir()) == before


def test_folders_that_are_no_scans_are_not_found(run, ask):
    scan_id = submit(run, ask())
    for name in (".20250101-building", "empty"):
        (run / "scans" / name).mkdir()
    (run / "scans" / ".20250101-building" / "zarr.json").write_text("{}")
    assert [scan.scan_id for scan in find_scans(run)] == [scan_id]
    assert find_scans(run / "nowhere") == ()


def test_what_nobody_may_look_at_is_no_scan_and_no_mark(run, ask):
    scan_id = submit(run, ask())
    # To follow it is an error of its own, as it is in a folder of somebody else's.
    for blind in (scan_folder(run, scan_id) / "cancel", run / "scans" / "other" / "zarr.json"):
        blind.parent.mkdir(exist_ok=True)
        blind.symlink_to("x" * 300)
    (scan,) = find_scans(run)
    assert scan.scan_id == scan_id
    assert scan.state_word(scan.head()) == "queued"
    assert unfinished([scan]) == [scan]
    writer = ScanWriter(scan.folder)
    assert not writer.is_cancelled()
    writer.release()


@pytest.mark.parametrize("scan_id", ["", ".", "..", "../other", "a/b", "/etc", ".hidden"])
def test_an_id_never_leads_out_of_the_run(run, scan_id):
    with pytest.raises(StoreError):
        scan_folder(run, scan_id)


def test_a_claimed_scan_is_claimed_once(run, ask):
    folder = scan_folder(run, submit(run, ask()))
    first, second = ScanWriter(folder), ScanWriter(folder)
    assert first.claim() == ask()
    with pytest.raises(LockHeldError):
        second.claim()
    assert is_held(folder)
    first.release()
    assert second.claim() == ask()
    second.release()


def test_a_scan_that_has_begun_shows_its_geometry_and_no_cell(start):
    writer, scan = start()
    writer.flush(force=True)
    head = scan.head()
    assert scan.state_word(head) == "running"
    assert (head.done, head.total) == (0, 20 * 4)
    assert scan.geometry() == geometry_of()
    for found, expected in zip(scan.coordinates(), coordinates_of(geometry_of()), strict=True):
        assert np.array_equal(found, expected)
    assert np.array_equal(scan.directions(), np.arange(14).reshape(2, 7))
    assert scan.cells().shape == (20, 2, 25)
    assert np.isnan(scan.cells()).all()


def test_cells_come_back_to_the_bit_and_what_is_missing_is_nan(start):
    writer, scan = start()
    sums = sums_of(geometry_of())
    for point in (3, 17):
        writer.add(point, 0, sums[point, 0])
    writer.add(3, 1, sums[3, 1, :1])
    writer.flush(force=True)
    cells = scan.cells()
    assert scan.head().done == 7
    for point, split, chunks in ((3, 0, 3), (17, 0, 3), (3, 1, 1)):
        expected = np.zeros(25)
        for chunk in range(chunks):
            expected += sums[point, split, chunk]
        assert cells[point, split].tobytes() == expected.tobytes()
        cells[point, split] = math.nan
    assert np.isnan(cells).all()


def test_a_nan_sum_is_not_taken_for_a_cell_that_was_not_computed(start):
    writer, scan = start()
    rows = sums_of(geometry_of())[0, 0]
    rows[1, 5] = math.nan
    writer.add(0, 0, rows[:2])
    writer.add(0, 0, rows[2:])
    writer.flush(force=True)
    assert scan.cells()[0, 0, 0] == 3
    assert math.isnan(scan.cells()[0, 0, 5])
    assert writer.chunks_done()[0].tolist() == [3, 0]


def test_neither_the_order_of_cells_nor_the_grouping_of_chunks_nor_a_resume_changes_a_bit(
    start,
):
    sums = sums_of(geometry_of())
    writer, scan = start()
    for point in range(20):
        for split, chunks in enumerate((3, 1)):
            writer.add(point, split, sums[point, split, :1])
            writer.add(point, split, sums[point, split, 1:chunks])
    writer.finish(ScanState.DONE)
    at_once = scan.cells().tobytes()
    assert scan.state_word(scan.head()) == "done"
    assert scan.head().done == scan.head().total == 80

    generator = np.random.default_rng(5)
    work = [(p, s, c) for p in range(20) for s, n in enumerate((3, 1)) for c in range(n)]
    # Any order in which each cell's own chunks come one after the other.
    turns = generator.permutation([(p, s) for p, s, _ in work]).tolist()
    writer, scan = start()
    for turn, (point, split) in enumerate(turns):
        if turn in (11, 50):
            writer.pause()
            assert scan.state_word(scan.head()) == "interrupted"
            assert scan.head().done == turn
            writer = ScanWriter(scan.folder)
            writer.claim()
            begun = scan.geometry()
            assert begun is not None
            writer.resume(begun)
        chunk = writer.chunks_done()[point, split]
        writer.add(point, split, sums[point, split, chunk : chunk + 1])
    writer.finish(ScanState.DONE)
    assert scan.cells().tobytes() == at_once
    assert sums[0, 0].sum(axis=0).tobytes() != sums[0, 0][::-1].sum(axis=0).tobytes()


def test_a_flush_writes_only_the_tiles_that_were_touched(start):
    geometry = geometry_of(num_classes=60, points=(5, 7))
    layout = CellLayout(num_classes=60)
    tile = layout.tile(35, 2)
    assert 1 < tile < 18
    assert 8 * layout.width * 2 * tile <= 2**20 < 8 * layout.width * 2 * (tile + 1)
    writer, scan = start(geometry)
    sums = sums_of(geometry)

    def inodes():
        files = (scan.folder / "result" / "cells").glob("c.*")
        return {path.name: path.stat().st_ino for path in files}

    assert inodes() == {}
    writer.add(0, 0, sums[0, 0])
    writer.flush(force=True)
    assert set(inodes()) == {"c.0.0.0"}
    writer.add(tile, 0, sums[tile, 0])
    writer.add(34, 1, sums[34, 1])
    before = inodes()
    writer.flush(force=True)
    last = 34 // tile
    assert set(inodes()) == {"c.0.0.0", "c.1.0.0", f"c.{last}.0.0"}
    assert inodes()["c.0.0.0"] == before["c.0.0.0"]
    writer.flush(force=True)
    assert inodes()["c.1.0.0"] != before.get("c.1.0.0")
    settled = inodes()
    writer.flush(force=True)
    assert inodes() == settled
    assert np.flatnonzero(~np.isnan(scan.cells()[:, :, 0]).all(axis=1)).size == 3


def test_a_young_scan_is_flushed_more_often(start, clock):
    writer, scan = start()
    done = []
    for point in range(6):
        writer.add(point, 1, sums_of(geometry_of())[point, 1, :1])
        writer.flush()
        done.append(scan.head().done)
        clock[0] += 0.06
    assert done == [1, 1, 3, 3, 5, 5]


def test_a_flush_waits_half_a_second_unless_forced(start, clock):
    writer, scan = start()
    clock[0] += 10.0
    sums = sums_of(geometry_of())
    done = []
    for point in range(6):
        writer.add(point, 1, sums[point, 1, :1])
        writer.flush()
        done.append(scan.head().done)
        clock[0] += 0.2
    assert done == [1, 1, 1, 4, 4, 4]
    writer.flush(force=True)
    assert scan.head().done == 6
    assert scan.head().elapsed_ms == 11_200


def test_time_adds_up_over_workers(start, clock):
    writer, scan = start()
    clock[0] += 3.0
    writer.pause()
    assert scan.head().elapsed_ms == 3_000
    clock[0] += 1_000.0
    second = ScanWriter(scan.folder)
    second.claim()
    begun = scan.geometry()
    assert begun is not None
    second.resume(begun)
    clock[0] += 2.0
    second.pause()
    assert scan.head().elapsed_ms == 5_000


def test_a_failed_flush_is_made_up_for(start, monkeypatch):
    writer, scan = start()
    sums = sums_of(geometry_of())
    writer.add(2, 0, sums[2, 0])

    async def no_space(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("zarr.storage.LocalStore.set", no_space)
        with pytest.raises(OSError, match="No space"):
            writer.flush(force=True)
    assert np.isnan(scan.cells()).all()
    writer.flush(force=True)
    assert scan.cells()[2, 0, 0] == 3
    assert scan.head().done == 3


def test_a_worker_killed_in_mid_scan_leaves_it_interrupted_with_what_was_flushed(
    run, ask, start_child
):
    scan = ScanReader(run, submit(run, ask()))
    worker = start_child(WORKER, scan.folder)
    assert worker.stdout.readline() == "running\n"
    assert scan.state_word(scan.head()) == "running"
    assert unfinished(find_scans(run)) == []
    with pytest.raises(LockHeldError, match=f"process {worker.pid}"):
        ScanWriter(scan.folder).claim()
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert scan.state_word(scan.head()) == "interrupted"
    assert [found.scan_id for found in unfinished(find_scans(run))] == [scan.scan_id]
    second = ScanWriter(scan.folder)
    assert second.claim() == ask()
    begun = scan.geometry()
    assert begun is not None
    second.resume(begun)
    assert second.chunks_done()[:, 0].tolist() == [1] * 8 + [0] * 12
    second.release()


def test_a_worker_killed_before_it_renamed_its_result_leaves_no_litter(run, ask):
    scan = ScanReader(run, submit(run, ask()))
    litter = scan.folder / ".result-1234abcd.partial" / "cells"
    litter.mkdir(parents=True)
    (litter / "zarr.json").write_text("{}")
    writer = ScanWriter(scan.folder)
    writer.claim()
    assert scan.geometry() is None
    assert not litter.parent.exists()
    writer.release()


def test_a_cancel_mark_is_seen_by_the_worker_and_keeps_what_is_done(start):
    writer, scan = start()
    writer.add(4, 0, sums_of(geometry_of())[4, 0])
    writer.flush(force=True)
    assert not writer.is_cancelled()
    cancel(scan.folder)
    assert writer.is_cancelled()
    assert scan.state_word(scan.head()) == "running"  # until the worker says otherwise
    writer.finish(ScanState.CANCELLED)
    assert scan.state_word(scan.head()) == "cancelled"
    assert scan.cells()[4, 0, 0] == 3
    assert not is_held(scan.folder)
    assert unfinished([scan]) == []


def test_a_scan_cancelled_in_the_queue_is_cancelled_at_once(run, ask):
    scan = ScanReader(run, submit(run, ask()))
    cancel(scan.folder)
    assert scan.state_word(scan.head()) == "cancelled"
    assert unfinished([scan]) == []
    with pytest.raises(StoreError, match="cannot be written"):
        cancel(run / "scans" / "nowhere")


def test_a_cancel_mark_replaces_a_link_and_leaves_alone_what_it_pointed_to(run, ask, tmp_path):
    scan = ScanReader(run, submit(run, ask()))
    (scan.folder / CANCEL_NAME).symlink_to(tmp_path / "elsewhere")
    cancel(scan.folder)
    assert not (tmp_path / "elsewhere").exists()
    assert scan.state_word(scan.head()) == "cancelled"


def test_an_interrupted_scan_cancelled_before_it_is_resumed_keeps_its_count(start):
    writer, scan = start()
    writer.add(4, 0, sums_of(geometry_of())[4, 0])
    writer.pause()
    second = ScanWriter(scan.folder)
    second.claim()
    second.finish(ScanState.CANCELLED)
    head = scan.head()
    assert (head.state, head.done, head.total) == (ScanState.CANCELLED, 3, 80)


def test_an_interrupted_scan_is_cancelled_at_once_and_gone_on_with_when_asked(start):
    writer, scan = start()
    writer.add(4, 0, sums_of(geometry_of())[4, 0])
    writer.pause()
    cancel(scan.folder)
    assert scan.state_word(scan.head()) == "cancelled"
    assert unfinished([scan]) == []
    revive(scan.folder)
    assert scan.state_word(scan.head()) == "interrupted"
    assert not scan.is_marked()
    assert unfinished([scan]) == [scan]
    assert scan.head().done == 3


def test_a_scan_that_is_being_set_up_does_not_wait(run, ask):
    first, second = (ScanReader(run, submit(run, ask())) for _ in range(2))
    writer = ScanWriter(first.folder)
    writer.claim()
    assert first.head().state == ScanState.QUEUED
    assert [scan.state_word(scan.head()) for scan in (first, second)] == ["running", "queued"]
    assert unfinished([first, second]) == [second]
    cancel(first.folder)
    assert first.state_word(first.head()) == "running"  # until the worker says otherwise
    writer.release()
    assert first.state_word(first.head()) == "cancelled"


def test_a_lock_that_cannot_be_asked_about_leaves_a_scan_in_the_queue(run, ask, tmp_path):
    scan = ScanReader(run, submit(run, ask()))
    (scan.folder / LOCK_NAME).symlink_to(tmp_path / "elsewhere")
    assert scan.state_word(scan.head()) == "queued"
    (scan.folder / LOCK_NAME).unlink()
    (scan.folder / LOCK_NAME).mkdir()
    assert scan.state_word(scan.head()) == "queued"
    (scan.folder / LOCK_NAME).rmdir()
    (scan.folder / LOCK_NAME).write_text('{"host": "another", "pid": 1}')
    assert scan.state_word(scan.head()) == "queued"


def test_a_cancelled_scan_can_be_gone_on_with_from_what_is_done(start):
    writer, scan = start()
    writer.add(4, 0, sums_of(geometry_of())[4, 0])
    cancel(scan.folder)
    with pytest.raises(LockHeldError):
        revive(scan.folder)
    writer.finish(ScanState.CANCELLED)
    revive(scan.folder)
    assert scan.state_word(scan.head()) == "interrupted"
    assert scan.cells()[4, 0, 0] == 3
    second = ScanWriter(scan.folder)
    second.claim()
    assert not second.is_cancelled()
    second.resume(geometry_of())
    assert second.chunks_done()[4, 0] == 3
    second.finish(ScanState.DONE)
    with pytest.raises(StoreError, match="was not cancelled"):
        revive(scan.folder)


def test_a_scan_cancelled_in_the_queue_can_be_asked_for_again(run, ask):
    scan = ScanReader(run, submit(run, ask()))
    cancel(scan.folder)
    revive(scan.folder)
    assert scan.state_word(scan.head()) == "queued"
    assert [s.scan_id for s in unfinished([scan])] == [scan.scan_id]


def test_somebody_may_look_at_a_point_which_is_heard_once(start):
    writer, scan = start()
    assert writer.focus() is None
    look_at(scan.folder, 7)
    assert writer.focus() == 7
    assert writer.focus() is None
    look_at(scan.folder, 3)
    assert writer.focus() == 3
    for nonsense in ("400", "-1", "x" * 100, ""):
        (scan.folder / FOCUS_NAME).write_text(nonsense)
        assert writer.focus() is None


def test_a_report_is_read_as_it_was_written_and_nonsense_as_none(start):
    writer, scan = start()
    assert scan.report() == ScanReport()
    told = ScanReport(
        forward="plain",
        precision="exact",
        micro_batch=50,
        images_per_second=12.5,
        seconds={"setup": 0.5},
        centre={"train": {"loss": 0.25, "mistake_rate": 0.1}},
        notes=("one", "two"),
    )
    writer.report(told)
    assert scan.report() == told
    for nonsense in ("", "[]", '{"notes": 3}', '{"centre": {"a": {"b": "c"}}}', "\x00"):
        (scan.folder / "report.json").write_text(nonsense)
        assert scan.report() == ScanReport()


def test_a_failure_is_a_state_with_a_sentence(start):
    writer, scan = start()
    writer.finish(ScanState.FAILED, "class 7 has no training examples")
    assert scan.state_word(scan.head()) == "failed"
    assert scan.message() == "class 7 has no training examples"
    assert not is_held(scan.folder)


def test_a_scan_that_succeeds_after_a_failure_has_nothing_to_say(start):
    writer, scan = start()
    writer.finish(ScanState.FAILED, "out of memory")
    second = ScanWriter(scan.folder)
    second.claim()
    second.finish(ScanState.DONE)
    assert scan.message() == ""


def test_a_malformed_request_is_rejected_and_the_lock_given_back(run, ask):
    scan = ScanReader(run, submit(run, ask()))
    path = scan.folder / "zarr.json"
    document = json.loads(path.read_bytes())
    document["attributes"]["request"]["points"] = [5, "4"]
    path.write_text(json.dumps(document))
    writer = ScanWriter(scan.folder)
    with pytest.raises(StoreError, match="points") as refused:
        writer.claim()
    assert not is_held(scan.folder)
    writer.reject(str(refused.value))
    assert scan.state_word(scan.head()) == "failed"
    assert "points" in scan.message()
    assert unfinished([scan]) == []


def test_a_second_beginning_replaces_the_first_for_a_reader_that_looks_on(start):
    writer, scan = start()
    writer.add(0, 0, sums_of(geometry_of())[0, 0])
    writer.flush(force=True)
    assert scan.cells().shape == (20, 2, 25)
    other = geometry_of(points=(3, 3), has_confusion=False)
    writer.begin(other, coordinates_of(other), np.ones((2, 7), "f4"))
    writer.flush(force=True)
    assert scan.geometry() == other
    assert scan.cells().shape == (9, 2, 16)
    assert np.isnan(scan.cells()).all()
    assert [p.name for p in scan.folder.iterdir() if p.name[:1] == "."] == [".writer.lock"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_geometry_with_a_norm_that_is_not_finite_survives(start, value):
    _, scan = start(geometry_of(direction_norms=(value, 0.0), cosine=value))
    found = scan.geometry()
    assert found is not None
    assert str((found.direction_norms, found.cosine)) == str(((value, 0.0), value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("class_names", "abc"),
        ("class_names", ["x"] * 10_001),
        ("splits", ["a", "b", "c"]),
        ("splits", "train"),
        ("points", [10**6, 10**6]),
        ("points", [0, 4]),
        ("points", [5, 4, 3]),
        ("points", None),
        ("chunks", {"train": 3}),
        ("chunks", {"train": -1, "test": 1}),
        ("chunks", []),
        ("examples", {"train": "many", "test": 1}),
        ("direction_norms", ["1"]),
        ("direction_norms", None),
        ("weight_norm", None),
        ("cosine", "0"),
        ("provenance", []),
    ],
)
def test_a_hostile_geometry_is_a_store_error(start, run, name, value):
    _, scan = start()
    path = scan.folder / "result" / "zarr.json"
    document = json.loads(path.read_bytes())
    document["attributes"][name] = value
    path.write_text(json.dumps(document))
    with pytest.raises(StoreError):
        ScanReader(run, scan.scan_id).geometry()


def test_absurdly_many_cells_are_refused_before_they_are_allocated(start, run, monkeypatch):
    _, scan = start()
    for name, many in (("", 10_000), ("cells", 10**8)):
        path = scan.folder / "result" / name / "zarr.json"
        document = json.loads(path.read_bytes())
        if name:
            document["shape"][0] = many
        else:
            document["attributes"]["points"] = [many, many]
        path.write_text(json.dumps(document))

    def read(*_):
        pytest.fail("it was read")

    monkeypatch.setattr(StoredArray, "chunk", read)
    with pytest.raises(StoreError, match="more than any scan"):
        ScanReader(run, scan.scan_id).cells()


def test_damaged_cells_are_an_error_not_data(start):
    writer, scan = start()
    writer.add(0, 0, sums_of(geometry_of())[0, 0])
    writer.flush(force=True)
    path = scan.folder / "result" / "cells" / "c.0.0.0"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        scan.cells()


def test_scans_pin_the_checkpoints_they_start_from_and_point_to(run, ask):
    assert Pins(run).numbers() == frozenset()
    submit(run, ask(checkpoint=4))
    submit(
        run,
        ask(
            checkpoint=6,
            directions=(
                DirectionSpec(kind="toward", normalise="none", toward_checkpoint=9),
                DirectionSpec(
                    kind="toward", normalise="none", toward_checkpoint=11, toward_run="/else"
                ),
            ),
        ),
    )
    broken = run / "scans" / "broken"
    broken.mkdir()
    (broken / "zarr.json").write_text("{")
    assert Pins(run).numbers() == {4, 6, 9}


def test_confusion_matrices_are_kept_until_they_would_take_too_much():
    assert cell_layout(361, 2, 10).has_confusion
    assert cell_layout(16, 2, 1_000).has_confusion  # 256 MB
    assert not cell_layout(17, 2, 1_000).has_confusion
    assert cell_layout(361, 2, 1_000).width == 5_001


def test_the_blocks_of_a_cell_cover_every_slot_once():
    for has_confusion in (True, False):
        layout = CellLayout(num_classes=4, has_confusion=has_confusion)
        taken = np.zeros(layout.width, int)
        taken[0] += 1
        for block in (
            layout.seen,
            layout.loss_sum,
            layout.loss_square_sum,
            layout.mistakes,
            layout.nonfinite,
            layout.confusion,
        ):
            taken[block] += 1
        assert (taken == 1).all()


def test_a_tile_torn_by_a_power_cut_is_computed_again_and_the_others_are_kept(start):
    writer, scan = start()
    sums = sums_of(geometry_of())
    for point in range(len(sums)):
        writer.add(point, 0, sums[point, 0])
    writer.pause()
    tiles = sorted((scan.folder / "result" / "cells").glob("c.*"))
    tiles[0].write_bytes(b"")
    second = ScanWriter(scan.folder)
    second.claim()
    begun = scan.geometry()
    assert begun is not None
    second.resume(begun)
    tile = -(-begun.num_points // len(tiles))
    assert not second.chunks_done()[:tile].any()
    assert (second.chunks_done()[tile:, 0] > 0).all()
    second.release()


def test_only_a_durable_flush_waits_for_the_disk(start, monkeypatch, clock):
    writer, _ = start()
    sums = sums_of(geometry_of())
    synced = []
    monkeypatch.setattr("os.fsync", synced.append)
    clock[0] += 100.0
    writer.flush(force=True)
    synced.clear()
    writer.add(2, 0, sums[2, 0])
    clock[0] += 1.0
    writer.flush()
    assert synced == []
    clock[0] += 10.0
    writer.flush()
    assert len(synced) == 4  # the tile, its folder, the head, its folder
