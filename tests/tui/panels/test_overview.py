"""Overview: curves of both splits, or the sentence that says why there are none."""

from dataclasses import replace

import pytest

from lossviz_tui.panels import overview
from lossviz_tui.scene import Standing
from lossviz_tui.selection import Selection

NARROW, WIDE = (80, 20), (160, 46)


def test_accuracy_in_percent_and_loss_of_both_splits(make_scene, read_lines):
    text = read_lines(overview.paint(make_scene(), NARROW))
    assert "accuracy  %" in text
    assert "cross-entropy" in text
    assert text.count("train") == text.count("test") == 2
    assert "batches" in text
    assert "learning rate" not in text


def test_a_large_screen_has_learning_rate_and_norm_too(make_scene, read_lines):
    text = read_lines(overview.paint(make_scene(), WIDE))
    assert "learning rate" in text
    assert "|w|" in text


def test_log_says_so(make_scene, read_lines):
    scene = make_scene(selection=Selection(view="overview", log=True))
    assert "cross-entropy, log" in read_lines(overview.paint(scene, NARROW))


def test_a_held_epoch_is_marked_in_every_chart(make_scene, read_lines):
    scene = make_scene(selection=Selection(view="overview", epoch=4))
    held = read_lines(overview.paint(scene, NARROW))
    following = read_lines(overview.paint(make_scene(), NARROW))
    # The cursor's foot stands on the axis of each chart.
    assert held.count("▲") == following.count("▲") + 2


@pytest.mark.parametrize(
    ("standing", "sentence"),
    [
        (None, "no epoch is recorded yet"),
        (Standing(word="live"), "no epoch is recorded yet"),
        (Standing(word="failed", message="the data is gone"), "the data is gone"),
        (Standing(word="crashed"), "the run crashed"),
    ],
)
def test_a_run_without_epochs_says_why(make_scene, make_view, read_lines, standing, sentence):
    scene = make_scene(view=make_view(epochs=0), standing=standing)
    assert sentence in read_lines(overview.paint(scene, NARROW))


def test_a_run_that_cannot_be_read_says_why(make_scene, read_lines):
    scene = replace(make_scene(view=None), trouble="the head is damaged")
    assert "the head is damaged" in read_lines(overview.paint(scene, NARROW))


def test_a_long_sentence_is_wrapped_not_cut(make_scene, make_view, read_lines):
    message = "the checkpoint cannot be read " * 4 + "because the disk is gone"
    standing = Standing(word="failed", message=message)
    scene = make_scene(view=make_view(epochs=0), standing=standing)
    text = read_lines(overview.paint(scene, (60, 18)))
    assert "because the disk is gone" in " ".join(text.split())
