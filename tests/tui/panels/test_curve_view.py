"""Lines of scans as charts: types, splits, and what is only estimated."""

import pytest

from lossviz_analysis.store.schema import ScanState
from lossviz_tui.panels.curve_view import curve_view

SIZE = (100, 40)


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("curves") / "pets.zarr")


@pytest.fixture
def read(run, scene_of_scans, read_lines):
    """The charts of scans of one series, the last one in focus."""

    def paint(*scan_ids: str, size=SIZE) -> str:
        scene = scene_of_scans(run, *scan_ids)
        return read_lines(curve_view(scene, scene.picture, scene.siblings, size))

    return paint


def test_points_of_a_line_under_way_stand_out_on_the_estimate(run, make_scan, ask_scan, read):
    half = read(make_scan(run, ask_scan(1), state=ScanState.RUNNING, stride=4))
    whole = read(make_scan(run, ask_scan(1)))
    # Three points in each of two charts, beside the name of the curve.
    assert half.count("●") == whole.count("●") + 6


def test_a_film_of_lines_names_epochs_and_splits(run, make_scan, ask_scan, read):
    ids = [make_scan(run, ask_scan(1, series="f", epoch=e, split="both")) for e in (2, 4)]
    text = read(*ids)
    for name in ("e2 train", "e2 test", "e4 train", "e4 test"):
        assert name in text
    assert "train: 2 " in text
    assert "test: 2 " in text


def test_facts_never_crowd_out_the_charts(run, make_scan, ask_scan, read):
    scan_id = make_scan(run, ask_scan(1, split="both"))
    for size in ((80, 10), (80, 16), (100, 40)):
        text = read(scan_id, size=size)
        assert "cross-entropy" in text
    assert "centre" not in read(scan_id, size=(80, 9))
