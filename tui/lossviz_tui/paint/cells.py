"""The common currency of painters: a canvas of cells that becomes lines of exact width.

Every Segment that leaves here carries a Style: under NO_COLOR, Textual reads `style.color` of
each Segment and fails on one that has none.
"""

import itertools
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from lossviz_tui.paint.targets import Lines, Target, targets_of

Size: TypeAlias = tuple[int, int]
"""Width and height in cells; a `textual.geometry.Size` is one."""

PLAIN = Style.null()
"""The style of a cell that says nothing: the widget's own colours show through."""

_SECOND_HALF = "\0"


_LOOKED_AT = 16
"""Characters of a text that are looked at for each cell it may fill."""


def clean_text(text: str, limit: int, *, ascii_only: bool = False) -> str:
    """A name from a store, made safe to print and at most `limit` cells wide.

    Control characters, escape sequences, bidirectional controls and zero-width marks are
    removed and every kind of white space becomes one space, so that a name can neither move the
    cursor nor reorder its neighbours. Markup is not interpreted. A name that is too long ends
    in an ellipsis; with `ascii_only` accents are folded and the rest becomes "?".
    """
    # Of megabytes only the beginning is looked at.
    room = _LOOKED_AT * (max(0, limit) + 1)
    if len(text) > room:
        return _shortened(
            clean_text(text[:room], room, ascii_only=ascii_only) + " " * limit,
            limit,
            "~" if ascii_only else "…",
        )
    form = "NFKD" if ascii_only else "NFC"
    words = "".join(map(_safe_character, unicodedata.normalize(form, text))).split()
    cleaned = " ".join(words)
    if ascii_only:
        cleaned = "".join(c if c.isascii() else "?" for c in cleaned)
    if cell_len(cleaned) <= limit:
        return cleaned
    return _shortened(cleaned, limit, "~" if ascii_only else "…")


def _safe_character(character: str) -> str:
    if character.isascii() and character.isprintable():
        return character
    category = unicodedata.category(character)
    if category[0] == "Z" or character in "\t\n\r\v\f\x85":
        return " "
    if category in {"Cc", "Cf", "Mn", "Me"} or cell_len(character) == 0:
        return ""
    return "\N{REPLACEMENT CHARACTER}" if category[0] == "C" else character


def _shortened(text: str, limit: int, ellipsis: str) -> str:
    if limit <= 1:
        return ellipsis[: max(0, limit)]
    kept: list[str] = []
    room = limit - 1
    for character in text:
        room -= cell_len(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept).rstrip() + ellipsis


class Canvas:
    """A rectangle of cells to draw on; everything outside it is clipped, never an error."""

    def __init__(self, size: Size) -> None:
        self.width, self.height = max(0, size[0]), max(0, size[1])
        self.glyphs: NDArray[np.str_] = np.full((self.height, self.width), " ", dtype="<U1")
        self.inks: NDArray[np.int32] = np.zeros((self.height, self.width), dtype=np.int32)
        """Index of each cell's style; see `ink_of`."""
        self._styles: list[Style] = [PLAIN]
        self._ids: dict[Style, int] = {PLAIN: 0}
        self._has_wide = False

    def ink_of(self, style: Style) -> int:
        """The number that stands for a style in `inks`."""
        ink = self._ids.setdefault(style, len(self._styles))
        if ink == len(self._styles):
            self._styles.append(style)
        return ink

    def style_at(self, column: int, row: int) -> Style:
        """The style of one cell; PLAIN outside the canvas."""
        if 0 <= column < self.width and 0 <= row < self.height:
            return self._styles[int(self.inks[row, column])]
        return PLAIN

    def put(self, column: int, row: int, text: str, style: Style = PLAIN) -> None:
        """Write text from a cell on; a character that would cross an edge is left out."""
        if not 0 <= row < self.height or not text:
            return
        if len(text) == 1 or text.isascii():
            widths: Sequence[int] = [1] * len(text) if text.isascii() else [cell_len(text)]
        else:
            widths = [cell_len(character) for character in text]
        ink = self.ink_of(style)
        for character, width in zip(text, widths, strict=True):
            if column >= 0 and column + width <= self.width and width:
                self.glyphs[row, column] = character
                self.inks[row, column] = ink
                if width == 2:
                    self._has_wide = True
                    self.glyphs[row, column + 1] = _SECOND_HALF
                    self.inks[row, column + 1] = ink
            column += width

    def put_right(self, column: int, row: int, text: str, style: Style = PLAIN) -> None:
        """Write text so that it ends just before a column."""
        self.put(column - cell_len(text), row, text, style)

    def paint(
        self, columns: tuple[int, int], rows: tuple[int, int], glyph: str, style: Style
    ) -> None:
        """Fill the cells of two half-open ranges with one glyph."""
        block = (slice(*_clip(rows, self.height)), slice(*_clip(columns, self.width)))
        self.glyphs[block] = glyph
        self.inks[block] = self.ink_of(style)

    def is_empty(self, column: int, row: int) -> bool:
        """Whether a cell is on the canvas and still blank."""
        inside = 0 <= column < self.width and 0 <= row < self.height
        return inside and str(self.glyphs[row, column]) == " "

    def strips(self) -> list[Strip]:
        """The canvas as lines, each exactly `width` cells wide."""
        if self._has_wide:
            self._mend_wide_characters()
        inks = self._merged_inks()
        return [self._strip(glyphs, row) for glyphs, row in zip(self.glyphs, inks, strict=True)]

    def _strip(self, glyphs: NDArray[np.str_], inks: NDArray[np.int32]) -> Strip:
        if not self.width:
            return Strip([], 0)
        text = glyphs.tobytes().decode("utf-32-le")
        starts = [0, *(np.flatnonzero(inks[1:] != inks[:-1]) + 1).tolist(), self.width]
        segments = [
            Segment(text[start:stop].replace(_SECOND_HALF, ""), self._styles[int(inks[start])])
            for start, stop in itertools.pairwise(starts)
        ]
        return Strip(segments, self.width)

    def _merged_inks(self) -> NDArray[np.int32]:
        """Inks where a blank cell takes its left neighbour's, if nobody can see the difference.

        Fewer runs are fewer bytes on the link.
        """
        if not self.width:
            return self.inks
        clear = np.array([_leaves_blanks_alone(style) for style in self._styles])
        blank = (self.glyphs == " ") & clear[self.inks]
        source = np.where(blank, 0, np.arange(self.width))
        source = np.maximum.accumulate(source, axis=1)
        candidate = np.take_along_axis(self.inks, source, axis=1)
        return np.where(blank & clear[candidate], candidate, self.inks)

    def _mend_wide_characters(self) -> None:
        """Blank what is left of a two-cell character that was half drawn over."""
        for row in range(self.height):
            for column in range(self.width):
                glyph = str(self.glyphs[row, column])
                before = str(self.glyphs[row, column - 1]) if column else ""
                if glyph in {_SECOND_HALF, ""}:
                    if cell_len(before) == 2:
                        self.inks[row, column] = self.inks[row, column - 1]
                    else:
                        self.glyphs[row, column] = " "
                elif cell_len(glyph) == 2:
                    after = str(self.glyphs[row, column + 1 : column + 2].astype(object).sum())
                    if column + 1 == self.width or after not in {_SECOND_HALF, ""}:
                        self.glyphs[row, column] = " "


def _clip(span: tuple[int, int], limit: int) -> tuple[int, int]:
    return max(0, min(span[0], limit)), max(0, min(span[1], limit))


def _leaves_blanks_alone(style: Style) -> bool:
    return (
        style.bgcolor is None and not style.reverse and not style.underline and not style.strike
    )


def exact_line(segments: Iterable[Segment], width: int) -> Strip:
    """Segments as a line of exactly `width` cells, each with a Style."""
    styled = [Segment(text, style or PLAIN) for text, style, control in segments if not control]
    return Strip(styled).adjust_cell_length(max(0, width), PLAIN).simplify()


def text_line(text: str, width: int, style: Style = PLAIN) -> Strip:
    """One line of text, cut or padded to `width` cells; the text is not cleaned."""
    return exact_line([Segment(text, style)], width)


def blank_lines(size: Size) -> list[Strip]:
    """Nothing, of the given size."""
    return Canvas(size).strips()


def beside(*blocks: Sequence[Strip], gap: int = 0) -> Lines:
    """Blocks of lines next to one another, the shorter ones filled up with blanks below."""
    height = max((len(block) for block in blocks), default=0)
    space = Strip([Segment(" " * gap, PLAIN)], gap) if gap else None
    rows: list[Strip] = []
    targets: list[Target] = []
    left = 0
    for block in blocks:
        targets += targets_of(block, left)
        left += max((line.cell_length for line in block), default=0) + gap
    for row in range(height):
        parts: list[Strip] = []
        for block in blocks:
            if parts and space is not None:
                parts.append(space)
            width = max((line.cell_length for line in block), default=0)
            parts.append(block[row] if row < len(block) else text_line("", width))
        rows.append(Strip.join(parts))
    return Lines(rows, targets)
