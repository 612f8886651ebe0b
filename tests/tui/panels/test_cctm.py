"""CCTM: percentages, the entry in focus in words, symmetry."""

from dataclasses import replace

import numpy as np
import pytest

from lossviz_analysis.classwise.interference import symmetry
from lossviz_tui.paint.palettes import Look
from lossviz_tui.paint.targets import targets_of
from lossviz_tui.panels import cctm
from lossviz_tui.selection import CLASS_ORDERS, COMPARISONS, NUM_ZOOMS, Selection

NARROW = (80, 20)


@pytest.fixture
def read(make_scene, read_lines):
    def paint(size=NARROW, view=None, look=None, **selection) -> str:
        changes = {} if view is None else {"view": view}
        scene = make_scene(look=look, selection=Selection(view="cctm", **selection), **changes)
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
    shown = [number(word) for word in row.split()[1:]]
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


def number(word: str) -> float:
    """A number of the table; the one in focus stands in brackets, a dot is nothing."""
    word = word.strip("[]")
    return 0.0 if word == "·" else float(word)


def table(text: str) -> dict[str, list[float]]:
    """The rows of a table of numbers, by name, in their order."""
    rows = [line.split() for line in text.splitlines()[2:-1] if line.strip()]
    return {row[0]: [number(word) for word in row[1:]] for row in rows}


def test_a_difference_has_signs_and_says_of_what(read, make_scene):
    view = make_scene().view
    text = read(comparison="epochs", epoch=5, cell=(2, 3))
    assert text.startswith("CCTM, test, epoch 5 minus epoch 1, points")
    expected = 100 * (view.rates("test", 4) - view.rates("test", 0))
    assert table(text)["cat"] == [pytest.approx(x, abs=0.051) for x in expected[2]]
    assert "+11.0" in text
    assert "-2.0" in text
    now, before = (100 * view.rates("test", place)[2, 3] for place in (4, 0))
    words = f"cat called dog: {now - before:+.2f} points"
    assert f"{words} (epoch 5 {now:.2f} %, epoch 1 {before:.2f} %)" in text
    wide = read(size=(160, 20), comparison="epochs", epoch=5, cell=(2, 3))
    assert f"{words} (epoch 5: {now:.0f} of 100, {now:.2f} %; epoch 1: " in wide


def test_the_sign_is_read_without_colours(read, make_view):
    for look in (Look(color="none"), Look(color="16"), Look(charset="ascii", color="none")):
        text = read(view=make_view(num_classes=100, epochs=5), comparison="epochs", look=look)
        rows = "\n".join(text.splitlines()[1:-1])
        assert "+" in rows or "#" in rows
        assert "-" in rows or "=" in rows


def test_orders_are_named_and_move_names_with_numbers(read, make_scene):
    rates = make_scene().view.rates("test", 7)
    text = read(order="recall", cell=(2, 3))
    assert ", by recall" in text.splitlines()[0]
    names = make_scene().view.description.class_names
    recalls = dict(zip(names, np.diagonal(rates).tolist(), strict=True))
    rows = table(text)
    assert list(rows) == sorted(rows, key=lambda name: -recalls[name])
    for place, (name, row) in enumerate(rows.items()):
        assert row[place] == pytest.approx(100 * recalls[name], abs=0.051)
    assert "cat called dog" in text
    assert ", clustered" in read(order="similarity")


def test_a_filter_leaves_the_classes_that_fit(read):
    text = read(class_filter="ca", cell=(1, 2))
    assert "2 of 5 classes" in text
    assert "car called cat" in text
    assert "dog" not in text
    assert "no class has 'zebra' in its name" in read(class_filter="zebra")


def test_a_cursor_off_the_filter_is_on_the_first_class_left(read):
    assert "car rightly called car" in read(class_filter="ca", cell=(0, 4))


def test_a_thousand_classes_are_seen_whole_by_points_and_by_numbers(read, make_view):
    view = make_view(num_classes=1_000, epochs=2)
    assert "largest entries; z zooms" in read(view=view)
    points = read(view=view, zoom=1, cell=(500, 500))
    assert "rows 478-513, columns 460-528 of 1,000" in points
    numbers = read(view=view, zoom=2, cell=(500, 501))
    assert "class 500 called class 501" in numbers
    assert "class 500" in "\n".join(numbers.splitlines()[2:-1])
    first, last = numbers.split("rows ")[1].split(",")[0].split("-")
    assert int(first) <= 501 <= int(last)


@pytest.mark.parametrize(
    "look", [Look(), Look(color="16"), Look(charset="ascii", color="none")]
)
def test_zoomed_in_every_entry_in_sight_has_a_cell_of_its_own(make_scene, make_view, look):
    view = make_view(num_classes=100, epochs=3)
    selection = Selection(view="cctm", zoom=1, cell=(50, 50))
    scene = make_scene(look=look, view=view, selection=selection)
    lines = cctm.paint(scene, (80, 22))
    (target,) = targets_of(lines)
    click = target.click
    assert click is not None
    rows = [click(scene, 3, y).cell[0] for y in range(target.height)]
    step = 2 if look.has_palette else 1  # half blocks: the upper of two entries
    assert rows == list(range(rows[0], rows[0] + step * len(rows), step))
    first = rows[0] + 1
    assert f"rows {first}-{first + step * len(rows) - 1}" in lines[0].text


def test_the_window_stays_while_the_cursor_moves_a_little(read, make_view):
    view = make_view(num_classes=1_000, epochs=2)
    heads = [read(view=view, zoom=2, cell=(row, 5)).splitlines()[0] for row in range(40, 60)]
    parts = [head.split("rows ")[1] for head in heads]
    assert len(set(parts)) <= 3


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_every_table_is_as_large_as_it_is_told(make_scene, make_view, check_lines, comparison):
    views = [make_view(num_classes=c, epochs=3) for c in (1, 2, 10, 60)]
    looks = (
        Look(),
        Look(charset="ascii", color="none"),
        Look(color="16"),
        Look(color="256", dark=False),
    )
    for k, view in enumerate(views):
        for size in ((60, 16), (80, 21), (160, 46), (7, 3), (1, 1), (33, 5)):
            for step in range(max(NUM_ZOOMS, len(CLASS_ORDERS))):
                selection = Selection(
                    view="cctm",
                    comparison=comparison,
                    order=CLASS_ORDERS[step % len(CLASS_ORDERS)],
                    zoom=step,
                    class_filter="a" if size[0] == 33 else "",
                    color_diagonal=step == 1,
                    cell=(999, 3),
                )
                look = looks[(k + step) % len(looks)]
                scene = make_scene(look=look, view=view, selection=selection)
                check_lines(cctm.paint(scene, size), size, look)


def test_a_click_puts_the_cursor_on_the_entry(make_scene, make_view):
    for count, zoom, size in ((5, 0, (80, 20)), (60, 0, (80, 20)), (60, 1, (80, 20))):
        view = make_view(num_classes=count, epochs=3)
        selection = Selection(view="cctm", order="recall", zoom=zoom, cell=(0, 0))
        scene = make_scene(view=view, selection=selection)
        lines = cctm.paint(scene, size)
        click = targets_of(lines)[0].click
        assert click is not None
        chosen = click(scene, 20, 7).cell
        again = cctm.paint(make_scene(view=view, selection=click(scene, 20, 7)), size)
        assert chosen != (0, 0)
        assert click(scene, 20, 7) == replace(selection, cell=chosen)
        again_click = targets_of(again)[0].click
        assert again_click is not None
        focus = again_click(make_scene(view=view, selection=selection), 20, 7)
        assert focus.cell == chosen
        assert click(scene, 500, 500) == selection
