import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from lossviz_tui.paint.cells import (
    PLAIN,
    Canvas,
    beside,
    blank_lines,
    clean_text,
    exact_line,
    text_line,
)
from lossviz_tui.paint.palettes import Look

RED, GREEN = Style(color="red"), Style(bgcolor="green")


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("cat", "cat"),
        ("two\nlines\tand  spaces ", "two lines and spaces"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("a\u202eb\u2066c\u200bd\ufeff", "abcd"),
        ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
        ("bell\x07\x9b", "bell"),
        ("e\u0301te\u0301", "été"),
        ("\ud800\ue000", "��"),
        ("\u2028", ""),
    ],
)
def test_a_name_is_stripped_of_what_a_terminal_obeys(raw: str, cleaned: str):
    assert clean_text(raw, 40) == cleaned


def test_a_long_name_ends_in_an_ellipsis():
    assert clean_text("automobile", 6) == "autom…"
    assert clean_text("automobile", 6, ascii_only=True) == "autom~"
    assert clean_text("日本語日本語", 6) == "日本…"
    assert clean_text("automobile", 1) == "…"
    assert clean_text("automobile", 0) == ""


def test_ascii_names_lose_accents_and_nothing_else():
    assert clean_text("Größe №1 猫", 20, ascii_only=True) == "Gro?e No1 ?"


@given(st.text(), st.integers(0, 20), st.booleans())
def test_a_cleaned_name_fits_and_prints(text: str, limit: int, ascii_only: bool):
    cleaned = clean_text(text, limit, ascii_only=ascii_only)
    assert cell_len(cleaned) <= limit
    assert "\n" not in cleaned
    assert all(c.isprintable() or c == "�" for c in cleaned)
    assert cleaned.isascii() or not ascii_only


@given(
    st.tuples(st.integers(0, 12), st.integers(0, 4)),
    st.lists(st.tuples(st.integers(-4, 14), st.integers(-1, 5), st.text("aB日é ", max_size=6))),
)
def test_whatever_is_written_the_lines_keep_their_width(
    check_lines, size: tuple[int, int], writes: list[tuple[int, int, str]]
):
    canvas = Canvas(size)
    for k, (column, row, text) in enumerate(writes):
        canvas.put(column, row, text, (RED, GREEN)[k % 2])
    check_lines(canvas.strips(), size, Look())


def test_a_wide_character_never_crosses_an_edge():
    canvas = Canvas((3, 1))
    canvas.put(2, 0, "日")
    canvas.put(-1, 0, "日")
    assert canvas.strips()[0].text == "   "


def test_half_of_a_wide_character_drawn_over_leaves_a_blank():
    canvas = Canvas((4, 1))
    canvas.put(0, 0, "日日")
    canvas.put(1, 0, "x")
    assert canvas.strips()[0].text == " x日"


def test_blanks_join_the_run_before_them_unless_a_background_shows():
    canvas = Canvas((6, 1))
    canvas.put(0, 0, "a", RED)
    canvas.put(2, 0, "b", RED)
    canvas.paint((3, 5), (0, 1), " ", GREEN)
    assert [(s.text, s.style) for s in canvas.strips()[0]] == [
        ("a b", RED),
        ("  ", GREEN),
        (" ", PLAIN),
    ]


def test_lines_are_padded_and_cut_with_a_style():
    assert text_line("abc", 5).text == "abc  "
    assert text_line("abc", 2).text == "ab"
    assert exact_line([Segment("日本")], 3).cell_length == 3
    assert all(segment.style is not None for segment in exact_line([Segment("a")], 4))


def test_blocks_side_by_side_are_filled_up_below(check_lines):
    lines = beside([text_line("a", 1)], blank_lines((2, 3)), gap=1)
    check_lines(lines, (4, 3), Look())
