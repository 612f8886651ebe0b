import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_tui.paint.digits import DigitsOptions, digits_fit, digits_table, table_frame
from lossviz_tui.paint.palettes import BLUE_ORANGE, EMBER, Look

NAMES = ["cat", "dog", "automobile"]
TABLE = np.array([[0.9, 0.1, 0.0], [0.25, 0.7499, 0.0001], [np.nan] * 3])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 200),
    st.integers(1, 60),
    st.integers(0, 120),
    st.tuples(st.integers(-2, 130), st.integers(-2, 130)),
    st.sampled_from(
        [
            Look(),
            Look(color="256", dark=False),
            Look(color="16"),
            Look(charset="ascii", color="none"),
        ]
    ),
)
def test_a_table_is_as_large_as_it_is_told(check_lines, width, height, classes, at, look):
    values = np.random.default_rng(0).random((classes, classes))
    names = [f"class\n{k} 猫" for k in range(classes)]
    options = DigitsOptions(row0=at[0], column0=at[1], cursor=at)
    lines = digits_table(values, names, names, (width, height), look=look, options=options)
    check_lines(lines, (width, height), look)


def test_entries_are_percentages_under_their_names():
    lines = digits_table(TABLE, NAMES, NAMES, (50, 4), look=Look())
    assert lines[0].text.split() == ["cat", "dog", "automobi…"]
    assert lines[1].text.split() == ["cat", "90.0", "10.0", "·"]
    assert lines[2].text.split() == ["dog", "25.0", "75.0", "·"]
    assert lines[3].text.split() == ["automob…", "–", "–", "–"]


def test_the_table_scrolls():
    values = np.arange(400.0).reshape(20, 20) / 400
    options = DigitsOptions(row0=5, column0=7)
    names = [f"c{k}" for k in range(20)]
    frame = table_frame((20, 20), names, (30, 6), options)
    assert (frame.rows.start, frame.columns.start) == (5, 7)
    assert frame.entry_at(frame.left + frame.cell, 2) == (6, 8)
    assert frame.entry_at(0, 0) is None
    lines = digits_table(values, names, names, (30, 6), look=Look(), options=options)
    assert lines[1].text.split()[:2] == ["c5", "27"]


def test_the_strongest_confusion_has_the_last_colour_and_recalls_have_none():
    lines = digits_table(TABLE, NAMES, NAMES, (50, 4), look=Look())
    found = [s.style.bgcolor for s in lines[2] if s.style and s.style.bgcolor]
    colors = [color.get_truecolor().hex for color in found]
    assert colors == [EMBER.dark[-1]]


def test_the_entry_in_focus_is_reversed():
    lines = digits_table(
        TABLE,
        NAMES,
        NAMES,
        (50, 4),
        look=Look(color="none"),
        options=DigitsOptions(cursor=(0, 1)),
    )
    reversed_text = [s.text for line in lines for s in line if s.style and s.style.reverse]
    assert [text.strip() for text in reversed_text] == ["10.0"]


@pytest.mark.parametrize(
    ("classes", "size", "fits"),
    [(10, (80, 24), True), (100, (80, 24), False), (20, (80, 24), False), (0, (80, 24), False)],
)
def test_whether_digits_fit(classes, size, fits):
    assert digits_fit(classes, size) is fits


def test_differences_have_signs_and_lose_their_colour_in_the_middle():
    change = np.array([[0.5, -0.25, 0.001], [0.25, -0.5, 0.0], [0.02, np.nan, 0.1]])
    options = DigitsOptions(palette=BLUE_ORANGE, low=-0.25, high=0.25, signed=True)
    lines = digits_table(change, NAMES, NAMES, (50, 4), look=Look(), options=options)
    assert lines[1].text.split() == ["cat", "+50.0", "-25.0", "+0.1"]
    assert lines[3].text.split() == ["automob…", "+2.0", "–", "+10.0"]
    grounds = {
        s.text.strip(): s.style.bgcolor.get_truecolor().hex
        for line in lines[1:]
        for s in line
        if s.style and s.style.bgcolor
    }
    assert grounds["-25.0"] == BLUE_ORANGE.dark[0]
    assert grounds["+25.0"] == BLUE_ORANGE.dark[-1]
    assert "+0.1" not in grounds


def test_without_colours_great_changes_of_either_sign_are_bold():
    change = np.array([[0.0, -0.25, 0.01], [0.25, 0.0, 0.02], [0.0, 0.0, 0.0]])
    options = DigitsOptions(low=-0.25, high=0.25, signed=True)
    look = Look(color="none")
    lines = digits_table(change, NAMES, NAMES, (50, 4), look=look, options=options)
    bold = {
        word
        for line in lines[1:3]
        for s in line
        if s.style and s.style.bold
        for word in s.text.split()
    }
    assert {"-25.0", "+25.0"} <= bold
    assert not {"+1.0", "+2.0"} & bold
