"""Runs drawn together: which, with which glyph, under which name."""

from dataclasses import replace
from pathlib import Path

import pytest

from lossviz_tui.overlay import Overlay
from lossviz_tui.paint.palettes import Look
from lossviz_tui.panels import dance, overview
from lossviz_tui.panels.marked import DrawnRun, drawn_runs, run_legend
from lossviz_tui.selection import OPEN_SLOT, RunMark, Selection

NARROW, WIDE = (80, 21), (160, 47)
FIRST, SECOND = Path("runs/cifar-big-lr.zarr"), Path("runs/cifar-small-lr.zarr")


@pytest.fixture
def marked_scene(make_scene, make_view):
    """The open run, and two marked ones, the second of which has other classes."""

    def build(look: Look | None = None, *, open_slot: int | None = None, **selection):
        marks = (RunMark(path=FIRST, slot=0), RunMark(path=SECOND, slot=2))
        if open_slot is not None:
            marks += (RunMark(path=Path("runs/pets.zarr"), slot=open_slot),)
        overlays = (
            Overlay(path=FIRST, view=replace(make_view(epochs=5), path=FIRST)),
            Overlay(path=SECOND, view=make_view(num_classes=3, epochs=12)),
        )
        return make_scene(
            look=look, overlays=overlays, selection=Selection(marks=marks, **selection)
        )

    return build


def test_the_open_run_comes_first_and_keeps_a_glyph_of_its_own(marked_scene, make_scene):
    runs = drawn_runs(marked_scene())
    assert [(run.name, run.slot, run.is_open) for run in runs] == [
        ("pets", OPEN_SLOT, True),
        ("cifar-big-lr", 0, False),
        ("cifar-small-lr", 2, False),
    ]
    assert drawn_runs(marked_scene(open_slot=4))[0].slot == 4
    alone = make_scene(
        selection=Selection(marks=(RunMark(path=Path("runs/pets.zarr"), slot=0),))
    )
    assert drawn_runs(alone) == ()
    assert drawn_runs(make_scene(view=None)) == ()


def test_what_is_not_read_yet_or_cannot_be_says_so(marked_scene):
    scene = marked_scene()
    runs = drawn_runs(replace(scene, overlays=()))
    assert [run.note for run in runs] == ["", "reading", "reading"]
    broken = Overlay(path=FIRST, view=scene.overlays[0].view, trouble="gone")
    assert drawn_runs(replace(scene, overlays=(broken,)))[1].note == "unreadable"


def test_runs_of_the_same_name_are_told_apart_by_their_folders(make_scene):
    other = Path("elsewhere/pets.zarr")
    scene = make_scene(folder=Path(), selection=Selection(marks=(RunMark(path=other, slot=0),)))
    assert [run.name for run in drawn_runs(scene)] == ["runs/pets", "elsewhere/pets"]


def test_a_legend_leaves_out_the_beginning_that_all_names_share(marked_scene, read_lines):
    runs = drawn_runs(marked_scene())
    whole = read_lines(run_legend(runs, 80, Look()))
    assert whole == "◇ pets  ● cifar-big-lr  ■ cifar-small-lr"
    long = tuple(
        replace(run, name=f"cifar10-resnet20-anneal-lr-{k}") for k, run in enumerate(runs)
    )
    assert read_lines(run_legend(long, 40, Look())) == "◇ …0  ● …1  ■ …2"


def test_many_long_names_take_few_lines(check_lines):
    look = Look(charset="ascii", color="none")
    many = tuple(
        DrawnRun(name="x" * 40 + chr(97 + k), slot=k, is_open=k == 0, view=None, note="reading")
        for k in range(8)
    )
    for width, height in ((20, 8), (60, 4), (80, 4), (200, 3)):
        lines = run_legend(many, width, look)
        assert len(lines) <= height
        check_lines(lines, (width, len(lines)), look)


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_the_overview_draws_them_together(marked_scene, read_lines, size):
    text = read_lines(overview.paint(marked_scene(view="overview"), size))
    assert text.startswith(
        "◇ pets 85.40 % at 8  ● cifar-big-lr 84.80 % at 5  ■ cifar-small-lr 89.00 % at 8"
    )
    assert "accuracy, test  %" in text
    assert "cross-entropy, test" in text
    chart = text.split("\n", 1)[1]
    assert all(glyph in chart for glyph in "◇●■")
    train = marked_scene(view="overview", split="train")
    assert "accuracy, train  %" in read_lines(overview.paint(train, size))


def test_the_dance_draws_a_class_of_every_run_that_has_it(marked_scene, read_lines):
    text = read_lines(dance.paint(marked_scene(view="dance", pair=(2, 3)), NARROW))
    legend = text.splitlines()[3]
    assert legend.startswith("◇ pets +")
    assert "● cifar-big-lr +" in legend
    assert "■ cifar-small-lr other classes" in legend
    assert "recall of cat" in text
    assert "recall of dog" in text
    chart = text.split("\n", 4)[4]
    assert "●" in chart
    assert "■" not in chart


def test_a_large_dance_keeps_the_rows(marked_scene, read_lines):
    text = read_lines(dance.paint(marked_scene(view="dance", pair=(2, 3)), WIDE))
    assert "cat called  %" in text
