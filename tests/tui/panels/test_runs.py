"""The list of runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lossviz_tui.listing import RunRow
from lossviz_tui.panels import runs
from lossviz_tui.selection import RunMark, Selection

NAME = "cifar10-resnet20-anneal-lr-1"
ROW = RunRow(
    path=Path(f"/runs/{NAME}.zarr"),
    word="live",
    epoch=3,
    epochs=12,
    best_test_accuracy=0.8149,
    model="resnet20",
    dataset="cifar10",
    trend=np.array([0.2, 0.5, 0.8149]),
    message="",
    changed=1_000.0,
)


@pytest.fixture
def read(make_scene, read_lines, monkeypatch):
    monkeypatch.setattr("lossviz_tui.panels.runs.time.time", lambda: 1_065.0)

    def paint(*rows: RunRow, size=(80, 20), focus=0) -> list[str]:
        scene = make_scene(runs=rows, selection=Selection(view="runs", run_row=focus))
        return read_lines(runs.paint(replace(scene, folder=Path("/runs")), size)).splitlines()

    return paint


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_line_says_state_epochs_best_age_and_name(read, width):
    line = read(ROW, size=(width, 18))[1]
    assert line.startswith("> ● live")
    assert "3/12" in line
    assert "81.49 %" in line
    assert line.endswith(" 1m")
    assert (NAME if width >= 80 else "cifar10-resnet20") in line


def test_a_wide_list_has_the_model_and_its_data(read):
    lines = read(ROW, size=(160, 18))
    assert "model on data" in lines[0]
    assert "resnet20 on cifar10" in lines[1]


def test_the_run_in_focus_is_marked_and_its_message_shown(read):
    failed = replace(ROW, word="failed", message="the data is gone")
    lines = read(ROW, failed, focus=1)
    assert lines[1].startswith("  ● live")
    assert lines[2].startswith("> ✗ failed")
    assert lines[-1] == "the data is gone"
    assert "the data is gone" not in "".join(read(ROW, failed, focus=0))


def test_a_run_without_epochs_has_no_accuracy_and_no_age(read):
    young = replace(
        ROW, word="waiting", epoch=0, epochs=None, best_test_accuracy=None, changed=float("nan")
    )
    line = read(replace(young, trend=np.empty(0)))[1]
    assert "%" not in line
    assert line.endswith(NAME)


def test_a_long_list_scrolls_with_the_focus(read):
    rows = [replace(ROW, path=Path(f"/runs/run-{k:02}.zarr")) for k in range(40)]
    for focus in (0, 1, 20, 38, 39):
        lines = read(*rows, size=(80, 12), focus=focus)
        marked = [line for line in lines if line.startswith(">")]
        assert len(marked) == 1
        assert f"run-{focus:02}" in marked[0]


def test_an_empty_folder_says_what_to_do(read):
    text = " ".join(" ".join(read()).split())
    assert "no runs below /runs" in text
    assert "lossviz-tui demo" in text


def test_a_filter_says_how_many_match(make_scene, read_lines):
    rows = tuple(replace(ROW, path=Path(f"/runs/run-{k:03}.zarr")) for k in range(400))
    scene = make_scene(runs=rows, selection=Selection(view="runs", run_filter="run-03"))
    lines = read_lines(runs.paint(scene, (80, 20))).splitlines()
    assert "run-030" in lines[1]
    assert lines[-1].endswith('10 of 400 match "run-03"')
    nothing = replace(scene, selection=Selection(view="runs", run_filter="\x1b[31m"))
    text = read_lines(runs.paint(nothing, (80, 20)))
    assert 'no run matches "[31m"' in text
    assert "esc shows all" in text


def test_marked_runs_bear_their_glyph(make_scene, read_lines):
    rows = tuple(replace(ROW, path=Path(f"/runs/run-{k}.zarr")) for k in range(3))
    marks = (RunMark(path=rows[2].path, slot=1),)
    scene = make_scene(runs=rows, selection=Selection(view="runs", marks=marks))
    lines = read_lines(runs.paint(scene, (80, 8))).splitlines()
    assert "▲ run-2" in lines[3]
    assert "  run-0" in lines[1]
    assert "1 marked, drawn together" in lines[-1]


@pytest.mark.parametrize("size", [(80, 24), (300, 100)])
def test_below_a_short_list_is_the_course_of_the_run_in_focus(read, size):
    lines = read(ROW, replace(ROW, path=Path("/runs/other.zarr")), size=size)
    head = next(line for line in lines if line.startswith("test accuracy"))
    assert NAME[:12] in head
    assert not any(line.startswith("test accuracy") for line in read(ROW, size=(80, 10)))
