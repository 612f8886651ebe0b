from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_tui.paint.notes_matrix import matrix_frame, notes_matrix
from lossviz_tui.paint.palettes import Look
from lossviz_tui.paint.sparkline import sparkline
from lossviz_tui.paint.staff import StaffOptions, frequent_notes, num_sung, staff, staff_frame

LOOKS = st.sampled_from(
    [
        Look(),
        Look(color="256", dark=False),
        Look(color="none"),
        Look(charset="ascii", color="16"),
    ]
)
NAMES = ["cat", "dog", "frog"]
ASCII = Look(charset="ascii", color="none")


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 200),
    st.integers(1, 60),
    st.integers(0, 70),
    st.integers(1, 40),
    LOOKS,
    st.integers(-3, 50),
)
def test_notes_are_as_large_as_they_are_told(
    check_lines, width, height, epochs, classes, look, row0
):
    notes = np.random.default_rng(0).integers(-2, classes, (epochs, classes))
    names = [f"class\t{k} 猫" for k in range(classes)]
    options = StaffOptions(title="Notes", cursor_epoch=3, cursor_class=0, row0=row0)
    size = (width, height)
    check_lines(staff(notes, names, [0], size, look=look, options=options), size, look)
    check_lines(notes_matrix(notes, names, size, look=look, options=options), size, look)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 30))
def test_a_column_shows_its_most_frequent_note(epochs, columns):
    notes = np.random.default_rng(epochs).integers(-2, 4, (epochs, 3))
    shown = frequent_notes(notes, columns)
    for column in range(columns):
        start = column * epochs // columns
        part = notes[start : max(start + 1, (column + 1) * epochs // columns)]
        for true_class in range(3):
            counts = Counter(part[:, true_class].tolist())
            best = min(n for n in counts if counts[n] == max(counts.values()))
            assert shown[column, true_class] == best


def test_a_spell_starts_with_a_marker_and_is_held():
    notes = np.array([[-2, 0, 1]] * 3 + [[1, 0, 1]] * 4)
    lines = staff(notes, NAMES, [0], (40, 9), look=ASCII)
    by_name = {line.text.split()[0]: line.text.strip() for line in lines if line.text.strip()}
    assert by_name["none"].removeprefix("none").count("o") == 1
    assert by_name["dog"].count("o") == 2  # one of them in the name
    assert by_name["dog"].count("=") > by_name["none"].count("=") > 3
    assert "=" not in by_name["frog"]


def test_two_voices_on_one_line_take_turns():
    notes = np.full((20, 3), 2)
    lines = staff(notes, NAMES, [0, 1], (40, 9), look=ASCII)
    row = next(line.text for line in lines if line.text.strip().startswith("frog"))
    assert row.count("o") > 3
    assert row.count("^") > 3


def test_lines_nobody_sings_on_go_first_when_room_is_short():
    notes = np.full((5, 50), 7)
    frame = staff_frame(notes, [str(k) for k in range(50)], [0], (60, 12), StaffOptions())
    assert frame.lines == (7, -1)


def test_of_too_many_notes_the_most_frequent_stay_in_sight():
    sung = np.repeat([90, 3, 41, 12, 77, 60, 25, 8, 99, 50], [60, 50, 9, 8, 7, 6, 5, 4, 3, 2])
    notes = np.tile(np.append(sung, [-1, -2])[:, None], (1, 100))
    names = [str(k) for k in range(100)]
    frame = staff_frame(notes, names, [5], (60, 8), StaffOptions())
    assert frame.lines == (3, 12, 41, 90, -1)
    assert num_sung(notes, [5]) == 11


def test_every_epoch_is_found_under_its_column():
    notes = np.zeros((12, 3), dtype=np.int64)
    frame = staff_frame(notes, NAMES, [0], (60, 12), StaffOptions(first_epoch=3))
    for epoch in range(3, 15):
        cell = frame.epochs.cell(epoch)
        assert cell is not None
        assert frame.epoch_at(frame.left + cell) == epoch
    assert frame.class_at(frame.top) == 0
    assert frame.class_at(99) is None


def test_the_matrix_writes_the_letter_of_each_note():
    notes = np.array([[1, -2, 0]] * 4)
    lines = notes_matrix(notes, NAMES, (30, 6), look=ASCII)
    rows = [line.text.split() for line in lines[1:4]]
    assert rows[0][:2] == ["a", "cat"]
    assert set(rows[0][2]) == {"b"}
    assert set(rows[1][2]) == {"."}
    assert set(rows[2][2]) == {"a"}


@given(
    st.lists(st.floats(), max_size=300),
    st.integers(0, 60),
    LOOKS,
)
def test_a_sparkline_is_as_wide_as_it_is_told(check_lines, values, width, look):
    check_lines([sparkline(values, width, look=look)], (width, 1), look)


def test_a_sparkline_rises_with_its_values_and_ends_at_the_right():
    assert sparkline([0, 1, np.nan, 2, 7], 8, look=Look()).text == "   ▁▂ ▃█"
    assert sparkline([], 3, look=Look()).text == "   "
    assert sparkline([5, 5], 2, look=Look()).text == "▁▁"


def test_two_classes_share_a_row_where_they_would_not_fit():
    notes, names = np.zeros((4, 20), dtype=np.int64), [f"c{k}" for k in range(20)]
    frame = matrix_frame(notes, names, (40, 13), Look(), StaffOptions())
    assert frame.lines == tuple(range(20))
    assert [frame.class_at(frame.top + row) for row in (-1, 0, 9, 10)] == [None, 0, 18, None]
    text = [line.text for line in notes_matrix(notes, names, (40, 13), look=Look())]
    assert "c18" in text[10]
    assert "▀" in text[10]
