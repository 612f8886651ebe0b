"""What goes over the wire shows the same as all that Textual would have sent."""

import errno
import io
import os
from typing import IO, cast

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.drivers._writer_thread import WriterThread
from textual.drivers.headless_driver import HeadlessDriver
from textual.drivers.linux_driver import LinuxDriver
from textual.strip import Strip

from lossviz_tui.wire import Unfailing, Wire, WireDriver, on_a_wire

WIDTH, HEIGHT = 24, 5
SYNC = ("\x1b[?2026h", "\x1b[?2026l")
CONSOLE = Console(color_system="truecolor", force_terminal=True)
STYLES = (
    Style(color="#102030", bgcolor="#405060"),
    Style(color="#102030", bgcolor="#ffffff", bold=True),
    Style(color="red", bgcolor="#405060"),
    Style(color="color(200)", bgcolor="color(17)", reverse=True, italic=True),
    Style(color="bright_white", bgcolor="default", underline=True),
    Style(bold=True),
    Style(),
)


def row(number: int, column: int, *segments: tuple[str, Style]) -> str:
    """A strip in its place, as Textual writes it."""
    strip = Strip([Segment(text, style) for text, style in segments])
    return f"\x1b[{number + 1};{column + 1}H{strip.render(CONSOLE)}"


def frame(*rows: str, cursor: str = "\x1b[1;1H") -> str:
    """Rows as Textual joins them."""
    return "\n".join(rows) + cursor


class Shown:
    """A terminal that remembers characters and colours."""

    def __init__(self, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.screen = pyte.Screen(width, height)
        self._stream = pyte.Stream(self.screen)

    def feed(self, text: str) -> None:
        self._stream.feed(text)

    @property
    def cells(self) -> list[list[object]]:
        columns = range(self.screen.columns)
        return [[self.screen.buffer[y][x] for x in columns] for y in range(self.screen.lines)]

    @property
    def place(self) -> tuple[int, int]:
        return self.screen.cursor.y, self.screen.cursor.x


texts = st.text(st.sampled_from("ab  01●⣿▀─漢字é"), min_size=1, max_size=8)
runs = st.lists(st.tuples(texts, st.sampled_from(STYLES)), min_size=1, max_size=6)
rows = st.tuples(st.integers(0, HEIGHT - 1), st.integers(0, 8), runs)
frames = st.lists(
    st.lists(rows, min_size=1, max_size=HEIGHT, unique_by=lambda drawn: drawn[0]),
    min_size=1,
    max_size=6,
)


def whole_rows(drawn: list[tuple[int, int, list[tuple[str, Style]]]]) -> list[str]:
    """Rows cut to the width; a wide character never has only one of its halves replaced."""
    made: list[str] = []
    for number, column, segments in sorted(drawn, key=lambda one: one[0]):
        strip = Strip([Segment(text, style) for text, style in segments])
        line = strip.adjust_cell_length(WIDTH - column, STYLES[0]).simplify()
        blank = ("." * column, STYLES[0])
        made.append(row(number, 0, *([blank] if column else []), *_segments(line)))
    return made


def _segments(line: Strip) -> list[tuple[str, Style]]:
    return [(text, style or Style()) for text, style, _ in line]


@settings(max_examples=60, deadline=None)
@given(frames)
def test_the_screen_is_the_same_and_the_bytes_are_no_more(drawn):
    wire, thin, full = Wire(), Shown(), Shown()
    for rows_drawn in drawn:
        text = frame(*whole_rows(rows_drawn))
        thinned = wire.thinned(text)
        thin.feed(thinned)
        full.feed(text)
        assert thin.cells == full.cells
        assert thin.place == full.place
        assert len(thinned) <= len(text)
        assert wire.thinned(text) == ""


def test_a_digit_costs_a_digit():
    wire = Wire()
    wire.thinned(frame(row(0, 0, ("data 1s old", STYLES[0]))))
    news = wire.thinned(frame(row(0, 0, ("data 2s old", STYLES[0]))))
    assert news == "\x1b[1;6H\x1b[38;2;16;32;48;48;2;64;80;96m2\x1b[m\x1b[1;1H"


def test_a_few_equal_cells_are_written_rather_than_stepped_over_and_many_are_not():
    wire = Wire()
    wire.thinned(frame(row(0, 0, ("a" * 20, STYLES[6]))))
    near = wire.thinned(frame(row(0, 0, ("b" + "a" * 3 + "b" + "a" * 15, STYLES[6]))))
    assert near == "\x1b[1;1Hbaaab\x1b[1;1H"
    far = wire.thinned(frame(row(0, 0, ("c" + "a" * 3 + "b" + "a" * 14 + "c", STYLES[6]))))
    assert far == "\x1b[1;1Hc\x1b[18Cc\x1b[1;1H"


def test_only_what_changes_of_the_colours_is_named():
    wire = Wire()
    news = wire.thinned(frame(row(0, 0, ("a", STYLES[0]), ("b", STYLES[2]), ("c", STYLES[6]))))
    assert news.count("48;2;64;80;96") == 1
    assert "\x1b[31mb\x1b[mc" in news


def test_nothing_between_two_marks_of_a_frame_sends_no_marks():
    wire, text = Wire(), frame(row(0, 0, ("abc", STYLES[0])))
    start, end = SYNC
    assert [wire.thinned(part) for part in (start, text, end)][0::2] == ["", end]
    assert [wire.thinned(part) for part in (start, text, end)] == ["", "", ""]
    other = text.replace("abc", "abd")
    assert wire.thinned(start) == ""
    assert wire.thinned(other).startswith(start)
    assert wire.thinned(end) == end


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[?1000h",
        "\x1b[?25l",
        "\x1b[>25u",
        "\x1b[<u",
        "\x1b[?2026$p",
        "\x1b]52;c;aGk=\x07",
        "\x07",
        "\x1b[?1004l\x1b[?25h",
    ],
)
def test_what_changes_no_cell_goes_through_and_is_no_news(text):
    wire, shown = Wire(), frame(row(0, 0, ("abc", STYLES[0])))
    wire.thinned(shown)
    assert wire.thinned(text) == text
    assert wire.thinned(shown) == ""


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[?1049h",
        "\x1b[2J",
        "\x1bc",
        "words",
        "\x1b[1;1Hone\r\ntwo",
        "\x1b[1;1H\x1b]8;;x\x07",
    ],
)
def test_after_what_nobody_can_follow_everything_is_sent_again(text):
    wire, shown = Wire(), frame(row(0, 0, ("abc", STYLES[0])))
    whole = wire.thinned(shown)
    assert wire.thinned(text) == text
    assert wire.thinned(shown) == whole


def test_what_is_forgotten_is_sent_again():
    wire, shown = Wire(), frame(row(0, 0, ("abc", STYLES[0])))
    whole = wire.thinned(shown)
    wire.forget()
    assert wire.thinned(shown) == whole


def test_the_cursor_goes_where_it_should_even_if_nothing_else_does():
    wire = Wire()
    line = row(0, 0, ("abc", STYLES[0]))
    wire.thinned(frame(line))
    assert wire.thinned(frame(line, cursor="\x1b[1;3H")) == "\x1b[1;3H"


def test_a_wide_character_is_sent_whole():
    wire, shown = Wire(), Shown()
    for text in ("漢字ab", "x字 ab", "xy漢ab", "漢字ab", "é字 ab"):
        shown.feed(wire.thinned(frame(row(0, 0, (text, STYLES[0])))))
        assert cell_len(text) == 6
        assert shown.screen.display[0].rstrip() == text


def test_only_the_driver_of_unix_terminals_is_put_on_a_wire():
    assert on_a_wire(LinuxDriver) is WireDriver
    assert on_a_wire(HeadlessDriver) is HeadlessDriver


class Gone(io.StringIO):
    """A terminal that was hung up."""

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, f"{len(text)} characters for nobody")

    def flush(self) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_the_thread_that_writes_outlives_the_terminal():
    writer = WriterThread(cast("IO[str]", Unfailing(Gone())))
    writer.start()
    for _ in range(100):  # more than its queue holds
        writer.write("a frame")
    writer.stop()
    assert not writer.is_alive()


def test_what_is_written_to_a_terminal_arrives():
    file = io.StringIO()
    kept = Unfailing(file)
    assert kept.write("abc") == 3
    kept.flush()
    assert file.getvalue() == "abc"
    assert not kept.isatty()
