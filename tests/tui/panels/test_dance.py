"""Label dance: which pair, how it dances, who dominates."""

import numpy as np
import pytest

from lossviz_analysis.classwise.dance import dance_score, dominance_epoch, pair_moments
from lossviz_tui.paint.palettes import MARKERS, Look
from lossviz_tui.panels import dance, notes
from lossviz_tui.selection import Selection

NARROW, WIDE = (80, 20), (160, 46)


def paint(make_scene, read_lines, size=NARROW, *, look=None, **selection) -> str:
    scene = make_scene(look=look, selection=Selection(view="dance", **selection))
    return read_lines(dance.paint(scene, size))


def test_the_pair_that_interferes_most_is_named_with_its_score(make_scene, read_lines):
    head = paint(make_scene, read_lines).splitlines()[0]
    view = make_scene().view
    score = dance_score(view.recall_of("test"), 2, 3)
    assert head.startswith("cat ⇄ dog  test  ")
    assert f"dance score {score:+.2f}" in head


def test_dominance_is_named_with_its_first_epoch(make_scene, read_lines):
    view = make_scene().view
    rates = np.array([view.rates("test", e) for e in range(len(view))])
    since = dominance_epoch(rates, 2, 3)
    head = paint(make_scene, read_lines).splitlines()[0]
    assert f"dog dominates cat since epoch {view.epochs[since]}" in head


def test_the_other_split_and_another_pair(make_scene, read_lines):
    head = paint(make_scene, read_lines, split="train", pair=(0, 4)).splitlines()[0]
    assert head.startswith("plane ⇄ ship  train  ")


def test_one_chart_of_recalls_and_one_of_where_the_first_class_goes(make_scene, read_lines):
    text = paint(make_scene, read_lines)
    assert "recall  %" in text
    assert "cat called  %" in text
    assert "ship" in text  # the third class that takes most of the cats


def test_a_wide_screen_ranks_the_pairs_and_marks_the_one_shown(make_scene, read_lines):
    scene = make_scene()
    text = paint(make_scene, read_lines, WIDE)
    best = scene.listed_pairs[0]
    assert "pairs by mean rate" in text
    row = next(line for line in text.splitlines() if ">cat ⇄ dog" in line)
    assert row.endswith(f"{100 * best.rate:.2f}  {best.score:+.2f}")
    assert "pairs by" not in paint(make_scene, read_lines)
    assert "pairs by dance score" in paint(make_scene, read_lines, WIDE, ranking="score")


def test_ascii_has_an_arrow_too(make_scene, read_lines):
    text = paint(make_scene, read_lines, look=Look(charset="ascii", color="none"))
    assert text.startswith("cat <-> dog")


def test_moments_are_marked(make_scene, read_lines):
    assert "▼" in paint(make_scene, read_lines)


def test_the_second_line_ranks_the_pair_and_counts_its_moments(make_scene, read_lines):
    view = make_scene().view
    rates = np.array([view.rates("test", e) for e in range(len(view))])
    count = int(pair_moments(view.recall_of("test"), rates, 2, 3).sum())
    epoch, line = paint(make_scene, read_lines).splitlines()[1:3]
    assert epoch == ("epoch 8: cat 70.0 % right, 23.0 % as dog; dog 90.0 % right, 8.0 % as cat")
    assert line.startswith("pair 1/10 by rate, 15.50 %; ▼ 1 pair moment (epoch 4); ↓ 0")
    assert count == 1
    assert line.endswith("↓ 0 third-class moments")


def test_both_kinds_of_moments_stand_in_both_charts_by_different_glyphs(
    make_scene, make_view, read_lines
):
    def interfere(counts):
        """At the fifth epoch cat and dog both lose to the ship."""
        for c in (2, 3):
            counts[4, :, c, c] -= 40
            counts[4, :, c, 4] += 40

    scene = make_scene(
        view=make_view(epochs=12, change=interfere), selection=Selection(view="dance")
    )
    text = read_lines(dance.paint(scene, (80, 30)))
    assert "↓ 1 third-class moment (ship)" in text
    recalls, row = text.split("cat called")
    for chart in (recalls.split("\n", 2)[2], row):
        assert "▼" in chart
        assert "↓" in chart


@pytest.mark.parametrize("count", [3, 5, 8])
def test_a_chosen_set_is_drawn_with_a_glyph_for_each(make_view, make_scene, read_lines, count):
    chosen = tuple(range(count))
    selection = Selection(view="dance", classes=chosen, pair=(1, 2))
    scene = make_scene(view=make_view(num_classes=9, epochs=20), selection=selection)
    text = read_lines(dance.paint(scene, WIDE))
    assert text.startswith("car ⇄ cat")
    for c, glyph in zip(chosen, MARKERS, strict=False):
        name = scene.view.description.class_names[c]
        assert f"{glyph} {name}" in text
    pairs = count * (count - 1) // 2
    assert f"/{pairs} by rate" in text


@pytest.mark.parametrize("size", [WIDE, (300, 97)])
def test_a_large_screen_has_the_row_of_the_second_class_too(make_scene, read_lines, size):
    text = paint(make_scene, read_lines, size)
    assert "cat called  %" in text
    assert "dog called  %" in text
    assert "dog called  %" not in paint(make_scene, read_lines)


@pytest.mark.parametrize("painter", [dance.paint, notes.paint])
def test_classes_that_a_run_in_its_place_does_not_have_are_forgotten(
    make_scene, make_view, read_lines, painter
):
    selection = Selection(view="dance", pair=(3, 4), classes=(3, 4, 1, 0))
    scene = make_scene(view=make_view(num_classes=3), selection=selection)
    assert scene.pair != (3, 4)
    text = read_lines(painter(scene, WIDE))
    assert "plane" in text
    assert "car" in text
