"""The wire to the terminal: of what Textual draws only the cells that differ are sent.

Textual sends the rows of a widget that was refreshed, each run of cells with its colours in
full and a reset behind it. Here the cells on the screen are remembered, so that a digit that
counts up costs a digit, and a colour is named when it changes. What is not a frame (modes,
titles, questions to the terminal) goes through as it is.
"""

import contextlib
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, TypeAlias

from rich.cells import get_character_cell_size
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from textual.app import App

_SYNC_START, _SYNC_END = "\x1b[?2026h", "\x1b[?2026l"
_RESET = "\x1b[m"
_TOKEN = re.compile(r"\x1b\[([0-9;]*)([Hm])|\n|([^\x00-\x1f\x7f-\x9f]+)")
_PLACE = re.compile(r"([0-9]+);([0-9]+)")
_PLAIN = re.compile(r"[ -~\u2500-\u259f\u2800-\u28ff]*")
"""Characters of one cell, found quicker than asked one by one."""
_QUIET = re.compile(
    r"(?:\x1b\[(?!\?1049|\?47)[?<=>][0-9;]*\$?[a-zA-Z]|\x1b\][^\x07\x1b]*\x07|\x07)*"
)
"""What changes no cell: modes but for the alternate screen, titles, the bell."""
_LONGEST_BRIDGE = 4
"""Equal cells between two different ones up to which writing beats moving."""

Cell: TypeAlias = tuple[str, str]
"""A character with what combines with it, and its SGR codes; the right half of a wide one is
empty."""


class _Run(NamedTuple):
    row: int
    column: int
    text: str
    codes: str


class _Frame(NamedTuple):
    runs: list[_Run]
    cursor: tuple[int, int] | None


class Wire:
    """What is on the screen, so that nothing of it is sent again.

    Rows and columns count from 0. Every frame begins and ends with the default colours, so
    whatever else writes to the terminal between two frames finds them as it expects.
    """

    def __init__(self) -> None:
        self._lines: dict[int, list[Cell | None]] = {}
        self._cursor: tuple[int, int] | None = None
        self._held = ""

    def forget(self) -> None:
        """Know nothing of the screen any more: the next frames are sent whole."""
        self._lines.clear()
        self._cursor = None

    def thinned(self, text: str) -> str:
        """What has to be sent instead of a text; a frame without news is nothing."""
        if text == _SYNC_START:
            self._held = text
            return ""
        held, self._held = self._held, ""
        if text == _SYNC_END and held:
            return ""  # there was nothing between the two
        frame = _read(text)
        if frame is None:
            if not _QUIET.fullmatch(text):
                self.forget()
            return held + text
        news = self._news(frame)
        if not news:
            self._held = held
            return ""
        return held + news

    def _news(self, frame: _Frame) -> str:
        """The cells of a frame that differ from those shown, as the terminal is told."""
        changed: dict[int, set[int]] = {}
        for run in frame.runs:
            found = self._take(run)
            if found:
                changed.setdefault(run.row, set()).update(found)
        words = _Words()
        for row in sorted(changed):
            words.say_row(row, self._lines[row], sorted(changed[row]))
        said = words.ended()
        if not said and frame.cursor == self._cursor:
            return ""
        self._cursor = frame.cursor
        return said + ("" if frame.cursor is None else _move_to(*frame.cursor))

    def _take(self, run: _Run) -> list[int]:
        """Remember a run; the columns where it differs from what was there."""
        line = self._lines.setdefault(run.row, [])
        new = _cells(run.text, run.codes)
        stop = run.column + len(new)
        if len(line) < stop:
            line.extend([None] * (stop - len(line)))
        old = line[run.column : stop]
        if old == new:
            return []
        line[run.column : stop] = new
        return [run.column + k for k in range(len(new)) if old[k] != new[k]]


class _Words:
    """Says cells to a terminal in few words: where it has to go, which colours change."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._codes = ""
        self._row, self._column = -1, -1

    def say_row(self, row: int, line: list[Cell | None], columns: list[int]) -> None:
        """Write the cells of one row at some columns, ascending."""
        for column in columns:
            cell = line[column]
            if cell is None or not cell[0]:
                continue  # the right half of a wide character comes with the left one
            self._go(row, column, line)
            self._write(cell)

    def ended(self) -> str:
        """All that was said, with the default colours again; empty if it was nothing."""
        if self._codes:
            self._said.append(_RESET)
        return "".join(self._said)

    def _write(self, cell: Cell) -> None:
        text, codes = cell
        if codes != self._codes:
            self._said.append(_change(self._codes, codes))
            self._codes = codes
        self._said.append(text)
        self._column += _width(text)

    def _go(self, row: int, column: int, line: list[Cell | None]) -> None:
        if row != self._row or column < self._column:
            self._said.append(_move_to(row, column))
        elif column > self._column:
            between = line[self._column : column]
            if len(between) <= _LONGEST_BRIDGE and all(
                cell and cell[1] == self._codes and cell[0].isascii() and cell[0]
                for cell in between
            ):
                self._said += [cell[0] for cell in between if cell]
            else:
                self._said.append(f"\x1b[{len(between)}C")
        self._row, self._column = row, column


def _read(text: str) -> _Frame | None:
    """A text as runs of cells in their places, or None where it is not only that."""
    runs: list[_Run] = []
    row = column = -1
    codes, at = "", 0
    for token in _TOKEN.finditer(text):
        if token.start() != at:
            return None
        at = token.end()
        numbers, kind, written = token.groups()
        if written is not None:
            if row < 0:
                return None
            runs.append(_Run(row, column, written, codes))
            column += _width(written)
        elif kind == "m":
            is_reset = numbers in {"", "0"}
            if codes and not is_reset:
                return None  # adds to codes; nothing we draw does
            codes = "" if is_reset else numbers
        elif kind == "H":
            place = _PLACE.fullmatch(numbers)
            if place is None:
                return None
            row, column = int(place[1]) - 1, int(place[2]) - 1
        else:
            row = -1  # where a new line begins is the terminal's affair
    if at != len(text):
        return None
    return _Frame(runs, None if row < 0 else (row, column))


def _cells(text: str, codes: str) -> list[Cell | None]:
    """A run as cells."""
    if _PLAIN.fullmatch(text):
        return [(character, codes) for character in text]
    cells: list[Cell | None] = []
    for character in text:
        width = get_character_cell_size(character)
        last = cells[-1] if cells else None
        if width == 0 and last is not None:
            head = -1 if last[0] else -2
            before = cells[head]
            if before is not None:
                cells[head] = (before[0] + character, codes)
            continue
        cells.append((character, codes))
        if width == 2:
            cells.append(("", codes))
    return cells


@lru_cache(4_096)
def _width(text: str) -> int:
    if _PLAIN.fullmatch(text):
        return len(text)
    return sum(map(get_character_cell_size, text))


def _move_to(row: int, column: int) -> str:
    return f"\x1b[{row + 1};{column + 1}H"


@lru_cache(4_096)
def _change(old: str, new: str) -> str:
    """The way from some SGR codes to others, each as from the default."""
    before, after = _parts(old), _parts(new)
    if not before.attributes <= after.attributes or (
        (before.color and not after.color) or (before.background and not after.background)
    ):
        return f"\x1b[0;{new}m" if new else _RESET
    news = [*sorted(after.attributes - before.attributes)]
    if after.color != before.color:
        news.append(after.color)
    if after.background != before.background:
        news.append(after.background)
    return f"\x1b[{';'.join(news)}m" if news else ""


class _Parts(NamedTuple):
    attributes: frozenset[str]
    color: str
    background: str


@lru_cache(4_096)
def _parts(codes: str) -> _Parts:
    """SGR codes by what they set."""
    attributes: set[str] = set()
    color = background = ""
    rest = codes.split(";") if codes else []
    while rest:
        length = 1
        if rest[0] in {"38", "48"} and len(rest) > 1:
            length = 3 if rest[1] == "5" else 5
        part, rest = rest[:length], rest[length:]
        number = int(part[0])
        if number in range(30, 40) or number in range(90, 98):
            color = ";".join(part)
        elif number in range(40, 50) or number in range(100, 108):
            background = ";".join(part)
        else:
            attributes.add(part[0])
    return _Parts(frozenset(attributes), color, background)


class Unfailing:
    """A terminal that may be gone: what nobody reads any more is not written, and no error.

    An error would end Textual's thread that writes; the app would then wait for ever to hand
    it one frame more.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write a text if there is still somebody to write it to."""
        with contextlib.suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Send what was written, likewise."""
        with contextlib.suppress(OSError):
            self._file.flush()

    def fileno(self) -> int:
        """Number of the open file."""
        return self._file.fileno()

    def isatty(self) -> bool:
        """Whether it is, or was, a terminal."""
        return self._file.isatty()


class WireDriver(LinuxDriver):
    """Textual's driver for Unix terminals on a wire that sends only differences.

    It also outlives its terminal: with the hang-up comes a SIGCONT, upon which Textual's begins
    to draw on a terminal that is no more.
    """

    def __init__(
        self,
        app: "App[object]",
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._file: Any = Unfailing(self._file)
        self._wire = Wire()

    def write(self, data: str) -> None:
        """Send what is new of a text."""
        thinned = self._wire.thinned(data)
        if thinned:
            super().write(thinned)

    def start_application_mode(self) -> None:
        """Take the terminal over, unless it is gone."""
        if not self.is_cut:
            super().start_application_mode()

    def _get_terminal_size(self) -> tuple[int, int]:
        """As the terminal says; Textual's asks $COLUMNS and $LINES first, which stand still."""
        try:
            size = os.get_terminal_size(self.fileno)
        except OSError:
            return super()._get_terminal_size()
        return (size.columns, size.lines) if all(size) else super()._get_terminal_size()

    @property
    def is_cut(self) -> bool:
        """Whether the terminal it began with is gone."""
        return self.input_tty and not os.isatty(self.fileno)

    def forget(self) -> None:
        """Draw everything anew from here on: nobody knows what the terminal shows."""
        self._wire.forget()


def on_a_wire(driver: type[Driver]) -> type[Driver]:
    """The driver to use instead of Textual's choice: another one for Unix terminals only."""
    return WireDriver if driver is LinuxDriver else driver
