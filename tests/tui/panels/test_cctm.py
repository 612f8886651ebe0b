"""CCTM: percentages, the entry in focus in words, symmetry."""

import pytest

from lossviz_analysis.classwise.interference import symmetry
from lossviz_tui.panels import cctm
from lossviz_tui.selection import Selection

NARROW = (80, 20)


@pytest.fixture
def read(make_scene, read_lines):
    def paint(size=NARROW, view=None, **selection) -> str:
        changes = {} if view is None else {"view": view}
        scene = make_scene(selection=Selection(view="cctm", **selection), **changes)
        return read_lines(cctm.paint(scene, size))

    return paint


def test_the_head_says_split_epoch_and_symmetry(read, make_scene):
    expected = symmetry(make_scene().view.rates("test", 7))
    head = read().splitlines()[0]
    assert head.startswith("CCTM, test, epoch 8, percent")
    assert head.endswith(f"symmetry {expected:.3f}")


def test_the_table_shows_percents(read, make_scene):
    rates = make_scene().view.rates("test", 7)
    row = next(line for line in read().splitlines() if line.strip().startswith("cat "))
    shown = [0.0 if word == "·" else float(word) for word in row.split()[1:]]
    assert shown == [pytest.approx(100 * rate, abs=0.05) for rate in rates[2]]


def test_the_epoch_in_focus_is_the_one_shown(read, make_scene):
    rates = make_scene().view.rates("train", 2)
    text = read(epoch=3, split="train", cell=(2, 3))
    assert text.startswith("CCTM, train, epoch 3")
    assert f"cat called dog: {200 * rates[2, 3]:.0f} of 200, {100 * rates[2, 3]:.2f} %" in text


def test_the_diagonal_is_right(read):
    assert "dog rightly called dog: 90 of 100, 90.00 %" in read(cell=(3, 3))


def test_a_class_without_examples_says_so(read, make_view):
    def empty(counts):
        counts[:, :, 2] = 0

    text = read(view=make_view(change=empty), cell=(2, 3))
    assert "cat called dog: 0 of 0, no examples" in text


def test_a_hundred_classes_are_half_blocks_with_a_read_out(read, make_view):
    text = read(view=make_view(num_classes=100, epochs=3), cell=(2, 3))
    assert "▀" in text
    assert "cat called dog: 8 of 100, 8.00 %" in text
