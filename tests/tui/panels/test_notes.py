"""Notes: who dominates whom, and for how long."""

import numpy as np

from lossviz_analysis.classwise.notes import domination_counts, longest_spells
from lossviz_tui.panels import notes
from lossviz_tui.selection import Selection

NARROW, WIDE = (80, 20), (160, 46)


def paint(make_scene, read_lines, size=NARROW, **selection) -> str:
    scene = make_scene(selection=Selection(view="notes", **selection))
    return read_lines(notes.paint(scene, size))


def test_the_staff_names_every_class_and_the_chosen_pair(make_scene, read_lines):
    text = paint(make_scene, read_lines)
    assert text.startswith("dancing notes, test")
    assert text.splitlines()[0].endswith("● cat  ▲ dog")
    for name in ("plane", "car", "cat", "dog", "ship", "none"):
        assert f"{name} " in text


def test_chosen_classes_take_the_place_of_the_pair(make_scene, read_lines):
    head = paint(make_scene, read_lines, classes=(0, 1, 4)).splitlines()[0]
    assert head.endswith("● plane  ▲ car  ■ ship")


def test_every_class_at_once(make_scene, read_lines):
    few = paint(make_scene, read_lines)
    every = paint(make_scene, read_lines, all_classes=True, split="train")
    assert every != few
    assert every.startswith("dancing notes, train")


def test_counts_and_longest_spells_beside_a_wide_staff(make_scene, read_lines):
    scene = make_scene()
    found = scene.view.notes_of("test")
    counts, longest = domination_counts(found, 5), longest_spells(found, 5).length
    assert np.argmax(counts[2]) == 3
    text = paint(make_scene, read_lines, WIDE)
    assert "dominated by" in text
    rows = [line.split()[-3:] for line in text.splitlines()]
    assert ["dog", str(counts[2, 3]), str(longest[2, 3])] in rows
    assert ["cat", str(counts[3, 2]), str(longest[3, 2])] in rows
    assert "dominated by" not in paint(make_scene, read_lines)
