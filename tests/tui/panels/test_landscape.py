"""Landscape: the list of scans, and the one in focus however far it is."""

import pytest

from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.scans import ScanReader, scan_folder
from lossviz_analysis.store.schema import ScanState
from lossviz_tui.listing import scan_row
from lossviz_tui.panels import landscape
from lossviz_tui.picture import picture_of
from lossviz_tui.scene import Standing
from lossviz_tui.selection import Selection

NARROW, WIDE = (80, 20), (160, 46)
NAMES = ("plane", "car", "cat", "dog", "ship")


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("landscape") / "pets.zarr")


@pytest.fixture
def read(run, make_scene, read_lines, read_view):
    """What the view says of scans, the last one in focus."""
    view = read_view(run)

    def paint(*scan_ids: str, size=NARROW, standing=None, **selection) -> str:
        scans = [ScanReader(run, scan_id) for scan_id in scan_ids]
        scene = make_scene(
            view=view,
            scans=tuple(map(scan_row, scans)),
            picture=picture_of(scans[-1], view) if scans else None,
            standing=standing,
            selection=Selection(view="landscape", **selection),
        )
        return read_lines(landscape.paint(scene, size))

    return paint


@pytest.fixture(scope="module")
def plane(run, make_scan):
    return make_scan(run)


def test_without_scans_the_key_is_named(read):
    assert "press s to ask for one" in read()


def test_the_list_names_kind_classes_epoch_grid_and_state(read, plane):
    text = read(plane)
    assert ">ego cat/dog ±0.1 e2 9x9" in text
    assert "✓ done" in text
    assert "1 of 1" in text


def test_a_plane_names_split_quantity_and_directions(read, plane):
    text = read(plane)
    for words in ("train  mistakes %", "ego cat", "ego dog", "|d| 1.5, 1.5", "centre train"):
        assert words in text
    assert "train  cross-entropy" in read(plane, quantity="loss")


def test_facts_stand_beside_the_plane_and_the_cut_below_them(read, plane):
    for size in (NARROW, WIDE):
        text = read(plane, size=size)
        assert "frozen BN, exact" in text
        assert "train 500 images" in text
        assert "lowland (centre + 5 %)" in text
    assert "cut at 135 degrees" in read(plane, size=WIDE)


def test_the_modes_of_a_plane(read, plane):
    classes = read(plane, mode="classes")
    assert "recall loss of each class" in classes
    for name in ("plane", "car", "cat", "dog", "ship"):
        assert name in classes
    assert "cut at 30 degrees" in read(plane, mode="cut", cut_degrees=30.0)
    assert "loss-shape similarity" in read(plane, mode="similarity")


def test_a_line_has_chance_and_its_type(read, run, make_scan, ask_scan):
    text = read(make_scan(run, ask_scan(1)))
    assert "chance" in text
    assert "mistakes" in text
    assert "train: " in text


def test_a_running_scan_says_how_far_it_is(read, run, make_scan):
    scan_id = make_scan(run, state=ScanState.RUNNING, share=0.5)
    text = read(scan_id)
    assert "● running 51%" in text
    assert "running, 82/162 chunks" in text


def test_a_queued_scan_says_what_it_waits_for(read, run, make_scan):
    scan_id = make_scan(run, state=ScanState.QUEUED)
    assert "the scan worker is starting" in read(scan_id)
    busy = Standing(word="live", worker_is_up=True)
    assert "another scan comes first" in read(scan_id, standing=busy)


def test_a_failed_scan_says_why(read, run, begin, ask_scan):
    writer = begin(run, ask_scan())
    writer.finish(ScanState.FAILED, "the checkpoint of epoch 2 is damaged")
    text = read(writer.folder.name)
    assert "✗ failed" in text
    assert "the checkpoint of epoch 2 is damaged" in text


def test_a_failed_scan_without_a_result_says_why_in_the_middle(read, run, make_scan):
    scan_id = make_scan(run, state=ScanState.QUEUED)
    writer = ScanWriter(scan_folder(run, scan_id))
    writer.claim()
    writer.finish(ScanState.FAILED, "the data has moved")
    text = read(scan_id)
    assert "the scan failed" in text
    assert "the data has moved" in text


def test_an_interrupted_scan_says_which_key_goes_on(read, run, begin, fill_scan, ask_scan):
    request = ask_scan()
    writer = begin(run, request)
    fill_scan(writer, request, NAMES, 0.5)
    writer.pause()
    text = read(writer.folder.name)
    assert "◐ interrupted" in text
    assert "interrupted, 82/162 chunks; r goes on from here" in text


def test_many_scans_scroll_with_the_focus(read, run, make_scan):
    ids = [make_scan(run, state=ScanState.QUEUED) for _ in range(6)]
    assert "1 of 6" in read(*ids)
    text = read(*ids, scan_id=ids[0])
    assert "6 of 6" in text
    assert text.count(">ego") == 1
