"""Marked runs: read beside the open one, piece by piece, within bounds."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossviz_tui import overlay as overlay_module
from lossviz_tui.overlay import TELL_SECONDS, OverlayFollower


@pytest.fixture
def runs(make_run, tmp_path) -> tuple[Path, Path]:
    return make_run(tmp_path / "a.zarr", epochs=4), make_run(tmp_path / "b.zarr", epochs=6)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A torn head is believed at once."""
    monkeypatch.setattr("lossviz_analysis.store.head._PAUSE_SECONDS", 0.0)


def told(follower: OverlayFollower, *paths: Path, now: float = 0.0) -> Any:
    found = follower.step(paths, now, seconds=10.0)
    assert found is not None
    return found


def test_each_run_is_told_with_its_curves_and_without_its_matrices(runs):
    found = told(OverlayFollower(), *runs)
    assert [one.path for one in found] == list(runs)
    assert [len(one.view) for one in found] == [4, 6]
    for one in found:
        assert one.trouble == ""
        assert np.isfinite(one.view.column("test_accuracy")).all()
        assert one.view.recall_of("test").shape == (len(one.view), 5)
        assert one.view.counts is None


def test_nothing_new_is_not_told(runs):
    follower = OverlayFollower()
    told(follower, *runs)
    assert follower.step(runs, 5.0, seconds=1.0) is None
    assert not follower.has_more


def test_growth_of_one_is_told(runs, grow):
    follower = OverlayFollower()
    before = told(follower, *runs)
    grow(runs[1], [7])
    after = told(follower, *runs, now=5.0)
    assert after[0] is before[0]
    assert after[1].view.epochs.tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_what_is_no_longer_marked_is_forgotten(runs):
    follower = OverlayFollower()
    assert follower.step((), 0.0, seconds=1.0) is None
    told(follower, *runs)
    assert [one.path for one in told(follower, runs[1])] == [runs[1]]
    assert told(follower) == ()
    assert follower._followed == {}


def test_a_run_that_cannot_be_read_says_so_and_harms_no_other(runs, make_run):
    follower = OverlayFollower()
    told(follower, *runs)
    shutil.move(runs[0], runs[0].with_name("elsewhere"))
    first, second = told(follower, *runs, now=5.0)
    assert "cannot be read" in first.trouble
    assert (len(first.view), second.trouble) == (4, "")  # what was read stays on the screen
    assert follower.step(runs, 6.0, seconds=1.0) is None
    make_run(runs[0], epochs=2)
    first, _ = told(follower, *runs, now=9.0)
    assert (first.trouble, len(first.view)) == ("", 2)


def test_long_runs_are_read_piece_by_piece_and_told_now_and_then(runs, monkeypatch):
    monkeypatch.setattr("lossviz_tui.history._MAX_BATCH", 1)
    follower = OverlayFollower()
    numbers: list[int] = []
    for step in range(20):
        found: Any = follower.step(runs, step * TELL_SECONDS / 4, seconds=0.0)
        if found is not None:
            numbers.append(sum(len(one.view.class_epochs) for one in found))
            assert all(len(one.view) in (4, 6) for one in found)  # scalars are whole at once
    assert numbers == sorted(numbers)
    assert numbers[-1] == 10
    assert 2 <= len(numbers) <= 3


def test_memory_is_bounded_by_thinning(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(overlay_module, "OVERLAY_BYTES", 100 * 8)  # of 100 bytes an epoch
    path = make_run(tmp_path / "long.zarr", epochs=30, planned=30)
    (found,) = told(OverlayFollower(), path)
    assert len(found.view) == 30
    assert found.view.is_partial
    assert len(found.view.class_epochs) <= 9


def test_a_run_that_goes_while_it_is_read_is_not_waited_for(runs, monkeypatch):
    monkeypatch.setattr("lossviz_tui.history._MAX_BATCH", 1)
    follower = OverlayFollower()
    follower.step(runs, 0.0, seconds=0.0)
    assert follower.has_more
    for run in runs:
        shutil.rmtree(run)
    follower.step(runs, 1.0, seconds=0.0)
    assert not follower.has_more
