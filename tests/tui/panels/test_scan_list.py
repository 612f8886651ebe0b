"""The list of scans: what is said of one and of a series, in few words."""

from dataclasses import replace

import pytest

from lossviz_analysis.store.requests import DirectionSpec
from lossviz_tui.listing import ScanRow
from lossviz_tui.panels.scan_list import scan_list, scan_name


@pytest.fixture
def row(ask_scan):
    def make(scan_id: str = "0", word: str = "done", **request) -> ScanRow:
        return ScanRow(
            scan_id=scan_id,
            word=word,
            request=ask_scan(**request),
            done=1 if word == "running" else 2,
            total=2,
            items_per_second=0.0,
            message="",
        )

    return make


def spec(kind, **of) -> DirectionSpec:
    return DirectionSpec(kind=kind, normalise="none", **of)


def test_a_scan_is_named_by_kinds_classes_span_epoch_and_grid(make_scene, row):
    scene = make_scene()
    assert scan_name(scene, row()) == "ego cat/dog ±0.1 e2 9x9"
    assert scan_name(scene, row(auto_span=True)) == "ego cat/dog auto e2 9x9"
    mixed = (spec("ego", class_index=2), spec("gradient"))
    grid = row(directions=mixed, points=9, ranges=((0.0, 1.0), (-1.0, 1.0)))
    assert scan_name(scene, grid) == "ego/gradient cat 0..1 e2 9x9"
    toward = (spec("toward", toward_run="/runs/other.zarr", toward_checkpoint=3),)
    line = row(dims=1, directions=toward)
    assert scan_name(scene, line) == "toward other ±0.1 e2 9"
    assert scan_name(scene, replace(line, request=None)) == "0"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("done", "done"), "done"),
        (("done", "queued"), "queued"),
        (("done", "running", "queued"), "running 50%"),
        (("done", "interrupted", "cancelled"), "interrupted"),
        (("running", "failed"), "failed"),
    ],
)
def test_a_series_has_the_state_most_in_need_of_a_look(
    make_scene, read_lines, row, words, expected
):
    rows = tuple(row(str(k), word, series="film") for k, word in enumerate(words))
    if "running" in words and "failed" not in words:
        rows = (*rows[:-1], replace(rows[-1], done=0))
    text = read_lines(scan_list(make_scene(scans=rows), (80, 3)))
    assert text.splitlines()[1].endswith(expected)
    assert f">{len(words)}× ego cat/dog" in text


def test_a_film_names_its_epochs_and_a_chart_its_one(make_scene, read_lines, row):
    film = (row("0", series="a", epoch=1), row("1", series="a", epoch=7))
    chart = (row("2", series="b", dims=1), row("3", series="b", dims=1))
    text = read_lines(scan_list(make_scene(scans=(*film, *chart)), (80, 4)))
    assert "2× ego cat/dog ±0.1 e1..7 9x9" in text
    assert "2× ego cat ±0.1 e2 9" in text
    assert "1 of 2" in text
