"""Notes: who dominates whom, and for how long."""

import re
from dataclasses import replace

import numpy as np
import pytest

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


def test_beneath_a_small_staff_the_counts_are_in_words(make_scene, read_lines):
    scene = make_scene()
    found = scene.view.notes_of("test")
    counts, longest = domination_counts(found, 5), longest_spells(found, 5).length
    lines = paint(make_scene, read_lines).splitlines()
    at = lines.index("dominated by: epochs (longest spell)")
    assert lines[at + 1].split() == ["cat:", "dog", str(counts[2, 3]), f"({longest[2, 3]})"]
    assert lines[at + 2].startswith("dog:")
    assert lines[at + 3].startswith("plane:")


@pytest.mark.parametrize("size", [WIDE, (300, 97)])
def test_a_large_screen_has_every_class_and_the_recalls_too(make_scene, read_lines, size):
    text = paint(make_scene, read_lines, size)
    assert "dancing notes, test" in text
    assert "every class" in text
    assert "recall  %" in text
    assert "\n\n\n\n\n" not in text


@pytest.mark.parametrize("classes", [100, 1_000])
def test_many_classes_go_page_by_page_and_none_is_skipped(
    make_scene, make_view, read_lines, classes
):
    view = make_view(num_classes=classes, epochs=2)
    seen: list[int] = []
    focus = 0
    while focus < classes:
        selection = Selection(view="notes", all_classes=True, note_class=focus)
        scene = make_scene(view=view, selection=selection)
        text = read_lines(notes.paint(scene, NARROW))
        title = text.splitlines()[0]
        first, last = re.findall(r"classes ([\d,]+) to ([\d,]+) of", title)[0]
        shown = range(int(first.replace(",", "")) - 1, int(last.replace(",", "")))
        assert focus in shown
        seen += [c for c in shown if c not in seen[-60:]]
        assert text.splitlines()[-1].startswith(f"{view.description.class_names[focus]}:"[:14])
        focus = shown[-1] + 1
    assert seen == list(range(classes))


def test_the_longest_spell_is_that_of_the_slow_way(make_view):
    found = make_view(num_classes=7, epochs=60).notes_of("train")
    longest = longest_spells(found, 7).length
    for c in range(7):
        assert notes._longest_spells(found[:, c], 7).tolist() == longest[c].tolist()


def test_notes_that_do_not_fit_are_counted(make_scene, make_view, read_lines):
    view = make_view(num_classes=60, epochs=12)
    view = replace(view, notes=view.notes.copy())
    view.notes[:, :, 3] = np.arange(12)[:, None] * 5
    scene = make_scene(view=view, selection=Selection(view="notes", classes=(3, 4)))
    head = read_lines(notes.paint(scene, (80, 12))).splitlines()[0]
    assert re.search(r"the 9 most frequent of 1[34] notes", head)
