"""Paths over heat maps: joined, marked, cut off at the edge, whatever the numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossviz_tui.paint.cells import Canvas
from lossviz_tui.paint.matrix import HeatOptions, heatmap
from lossviz_tui.paint.palettes import Look
from lossviz_tui.paint.path import draw_path, visible_part
from lossviz_tui.paint.sampling import Origin, placed

SIZE = (21, 11)
SHADES = Look(color="none")


def drawn(path, look=SHADES, *, origin: Origin = "upper") -> list[str]:
    """A path over a matrix of one entry in each cell."""
    canvas = Canvas(SIZE)
    area = (0, 0, *SIZE)
    place = placed((SIZE[1], SIZE[0]), area, halves=1, fit="stretch", origin=origin)
    assert place is not None
    draw_path(canvas, place, path, look)
    return ["".join(row) for row in canvas.glyphs.tolist()]


def test_stops_are_joined_and_both_ends_marked():
    lines = drawn([(2, 1), (2, 8), (9, 8)])
    assert lines[2] == " ○──────•            "
    assert [line[8] for line in lines] == list("  •││││││● ")
    assert sum(line.count("•") for line in lines) == 1


def test_slanted_lines_rise_and_fall_as_they_are_seen():
    assert "╲" in "".join(drawn([(0, 0), (10, 20)]))
    assert "╱" in "".join(drawn([(10, 0), (0, 20)]))
    assert "╱" in "".join(drawn([(0, 0), (10, 20)], origin="lower"))


def test_in_ascii_nothing_else_is_drawn():
    lines = drawn([(2, 1), (2, 8), (9, 8), (1, 15)], Look(charset="ascii", color="none"))
    assert "".join(lines).isascii()
    assert {"O", "o", "@", "-", "|"} <= set("".join(lines))


def test_a_stop_out_of_sight_leaves_its_line():
    lines = drawn([(5, 10), (5, 1e12)])
    assert lines[5] == " " * 10 + "○" + "─" * 10
    assert "●" not in "".join(lines)


@pytest.mark.parametrize("size", [(21, 11), (22, 12), (40, 18), (63, 33)])
def test_a_stop_on_an_entry_stands_where_its_sign_would(size):
    canvas, look = Canvas(size), Look()
    place = placed((11, 21), (0, 0, *size), halves=2, fit="stretch", origin="lower")
    assert place is not None
    for row, column in ((0, 0), (5, 10), (10, 20), (3, 17)):
        draw_path(canvas, place, [(row, column)], look)
        at = place.centre_of(row, column)
        assert at is not None
        assert canvas.glyphs[at[1], at[0]] == "○"


def test_a_single_stop_and_none():
    assert "".join(drawn([(3, 3)])).strip() == "○"
    assert "".join(drawn([])).strip() == ""


@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=False),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        max_size=5,
    )
)
def test_any_numbers_are_drawn(path):
    assert {len(line) for line in drawn(path)} == {SIZE[0]}


coordinate = st.floats(-30, 30)


@given(st.tuples(coordinate, coordinate), st.tuples(coordinate, coordinate))
def test_the_visible_part_is_inside_and_nothing_inside_is_lost(start, end):
    box = (0.0, 0.0, 10.0, 5.0)
    shares = np.linspace(0, 1, 201)
    points = [
        (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]))
        for share in shares
    ]
    inside = [p for p in points if 1e-6 < p[0] < 10 - 1e-6 and 1e-6 < p[1] < 5 - 1e-6]
    found = visible_part(start, end, box)
    if found is None:
        assert not inside
        return
    for x, y in found:
        assert -1e-6 <= x <= 10 + 1e-6
        assert -1e-6 <= y <= 5 + 1e-6
    for x, y in inside:
        length = math.dist(*found)
        detour = math.dist(found[0], (x, y)) + math.dist((x, y), found[1])
        assert detour == pytest.approx(length, abs=1e-6)


def test_a_path_stands_on_the_colours_below():
    options = HeatOptions(fit="stretch", path=[(0, 0), (3, 3)])
    lines = heatmap(np.arange(16.0).reshape(4, 4), (8, 4), look=Look(), options=options)
    bare = heatmap(
        np.arange(16.0).reshape(4, 4), (8, 4), look=Look(), options=HeatOptions(fit="stretch")
    )
    assert "○" in lines[0].text
    below = next(iter(bare[0])).style
    above = next(segment.style for segment in lines[0] if "○" in segment.text)
    assert below is not None
    assert above is not None
    assert above.bgcolor == below.bgcolor


def test_a_line_without_marks_has_none():
    canvas = Canvas(SIZE)
    area = (0, 0, *SIZE)
    place = placed((SIZE[1], SIZE[0]), area, halves=1, fit="stretch", origin="upper")
    assert place is not None
    draw_path(canvas, place, [(2, 1), (2, 8)], SHADES, has_marks=False)
    assert "".join(canvas.glyphs[2].tolist()).strip() == "────────"
