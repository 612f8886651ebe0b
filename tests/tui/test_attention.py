"""The cursor over a scan under way: its worker is told, seldom, and only what helps."""

from dataclasses import replace

import pytest

from lossviz_analysis.store.scans import scan_folder
from lossviz_analysis.store.schema import ScanState
from lossviz_tui.attention import EVERY_SECONDS, Attention


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path / "pets.zarr", epochs=3)


@pytest.fixture
def scene(run, make_scan, scene_of_scans):
    """A plane of 9 x 9 of which the first half is done."""
    return scene_of_scans(run, make_scan(run, state=ScanState.RUNNING, share=0.5))


@pytest.fixture
def asked(run, scene):
    """The point the worker is told to look at; None before the first word."""

    def read() -> str | None:
        path = scan_folder(run, scene.scan.scan_id) / "focus"
        return path.read_text() if path.exists() else None

    return read


def at(scene, *point):
    return replace(scene, selection=replace(scene.selection, point=point))


def test_the_point_under_the_cursor_is_asked_for_row_by_row(scene, asked):
    Attention().turn_to(at(scene, 7, 2), 100.0)
    assert asked() == str(7 * 9 + 2)


def test_a_cursor_in_a_hurry_is_told_of_seldom_and_at_last(scene, asked):
    attention = Attention()
    for column, now in ((1, 100.0), (2, 100.1), (3, 100.2)):
        attention.turn_to(at(scene, 7, column), now)
    assert asked() == str(7 * 9 + 1)
    attention.turn_to(at(scene, 7, 3), 100.0 + EVERY_SECONDS)
    assert asked() == str(7 * 9 + 3)


def test_a_point_is_asked_for_once(scene, asked, run):
    attention = Attention()
    attention.turn_to(at(scene, 7, 2), 100.0)
    (scan_folder(run, scene.scan.scan_id) / "focus").unlink()
    attention.turn_to(at(scene, 7, 2), 200.0)
    assert asked() is None


@pytest.mark.parametrize("point", [(0, 0), None], ids=["done", "no cursor"])
def test_where_nothing_is_to_be_done_nothing_is_asked(scene, asked, point):
    selection = replace(scene.selection, point=point)
    Attention().turn_to(replace(scene, selection=selection), 100.0)
    assert asked() is None


def test_of_a_scan_that_has_ended_nothing_is_asked(run, make_scan, scene_of_scans):
    scan_id = make_scan(run, state=ScanState.CANCELLED, share=0.5)
    Attention().turn_to(at(scene_of_scans(run, scan_id), 7, 2), 100.0)
    assert not (scan_folder(run, scan_id) / "focus").exists()
