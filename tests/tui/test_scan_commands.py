"""`stop --scan` and `resume --scan`: what was cancelled goes on, what has ended has ended."""

from types import SimpleNamespace

import pytest

from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.scans import ScanReader, cancel, scan_folder, unfinished
from lossviz_analysis.store.schema import ScanState
from lossviz_tui.cli import resume as resume_module
from lossviz_tui.cli.resume import resume
from lossviz_tui.cli.stop import stop
from lossviz_tui.launch import LaunchError


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path / "pets.zarr")


@pytest.fixture(autouse=True)
def started(monkeypatch) -> list[object]:
    """The runs for which a worker was wanted; none is started."""
    found: list[object] = []
    monkeypatch.setattr(resume_module, "ensure_worker", found.append)
    return found


@pytest.fixture
def interrupted(run, begin, ask_scan, fill_scan) -> ScanReader:
    """A scan whose worker died after a third of it."""
    writer = begin(run, ask_scan())
    fill_scan(writer, ask_scan(), ("",) * 5, 0.3)
    writer.pause()
    return ScanReader(run, writer.folder.name)


def test_an_interrupted_scan_that_was_cancelled_goes_on_and_stays_so(run, interrupted, started):
    done = interrupted.head().done
    stop(run, interrupted.scan_id)
    assert interrupted.state_word(interrupted.head()) == "cancelled"
    resume(run, interrupted.scan_id)
    assert started == [run]
    assert interrupted.state_word(interrupted.head()) == "interrupted"
    assert interrupted.head().done == done
    writer = ScanWriter(interrupted.folder)
    writer.claim()
    assert not writer.is_cancelled()
    writer.release()
    resume(run, interrupted.scan_id)  # which was never cancelled again
    assert unfinished([interrupted]) == [interrupted]


@pytest.mark.parametrize("state", [ScanState.DONE, ScanState.FAILED, ScanState.CANCELLED])
def test_a_scan_that_has_ended_is_not_stopped(run, make_scan, state):
    scan_id = make_scan(run, state=state)
    with pytest.raises(LaunchError, match=f"scan {scan_id} is {state.name.lower()} already"):
        stop(run, scan_id)
    assert not (scan_folder(run, scan_id) / "cancel").exists()


def test_a_scan_that_is_just_being_stopped_is_waited_for(
    run, begin, ask_scan, monkeypatch, started
):
    writer = begin(run, ask_scan())
    writer.flush(force=True)
    scan = ScanReader(run, writer.folder.name)
    cancel(scan.folder)
    monkeypatch.setattr(resume_module, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(LaunchError, match="is still being stopped; try again later"):
        resume(run, scan.scan_id)
    steps = [lambda: writer.flush(ScanState.CANCELLED, force=True), writer.release]
    clock = SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: steps.pop(0)())
    monkeypatch.setattr(resume_module, "time", clock)
    resume(run, scan.scan_id)
    assert started == [run]
    assert steps == []
    assert scan.state_word(scan.head()) == "interrupted"
