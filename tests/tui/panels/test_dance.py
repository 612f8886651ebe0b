"""Label dance: which pair, how it dances, who dominates."""

import numpy as np

from lossviz_analysis.classwise.dance import dance_score, dominance_epoch
from lossviz_tui.paint.palettes import Look
from lossviz_tui.panels import dance
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
    best = scene.ranked_pairs[0]
    assert "interference" in text
    assert ">cat ⇄ dog" in text
    assert f"{100 * best.rate:.2f}" in text
    assert "interference" not in paint(make_scene, read_lines)


def test_ascii_has_an_arrow_too(make_scene, read_lines):
    text = paint(make_scene, read_lines, look=Look(charset="ascii", color="none"))
    assert text.startswith("cat <-> dog")


def test_moments_are_marked(make_scene, read_lines):
    assert "▼" in paint(make_scene, read_lines)
