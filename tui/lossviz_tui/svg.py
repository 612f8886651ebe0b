"""Painted lines as an SVG that looks the same everywhere, fonts or no fonts.

What a font may lack, or draw with gaps between two rows, is drawn as shapes: blocks, shades,
braille dots and the lines of axes. Everything else is text of a fixed advance in whatever
monospaced font there is; nothing is fetched from anywhere.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from textual.strip import Strip

from lossviz_tui.paint.cells import PLAIN

CELL_WIDTH, CELL_HEIGHT = 8.4, 16.8
"""Of one cell in user units: a half block is a square."""
FONT_SIZE = 14
FONTS = "ui-monospace,'DejaVu Sans Mono','Liberation Mono',Menlo,Consolas,monospace"
_BASELINE = 0.76
"""Of a row, from its top, as a share of its height."""
_DOT = 2.3
_LINE = 1.2


class _Ground(NamedTuple):
    """The colours of a terminal."""

    text: str
    back: str
    theme: TerminalTheme


_DARK = _Ground(
    "#e0e0e0",
    "#121212",
    TerminalTheme(
        (18, 18, 18),
        (224, 224, 224),
        [
            (0, 0, 0),
            (205, 49, 49),
            (13, 188, 121),
            (229, 170, 16),
            (59, 120, 255),
            (188, 63, 188),
            (17, 168, 205),
            (210, 210, 210),
        ],
        [
            (110, 110, 110),
            (241, 76, 76),
            (35, 209, 139),
            (245, 245, 67),
            (90, 150, 255),
            (214, 112, 214),
            (41, 184, 219),
            (255, 255, 255),
        ],
    ),
)
_LIGHT = _Ground(
    "#1f1f1f",
    "#ffffff",
    TerminalTheme(
        (255, 255, 255),
        (31, 31, 31),
        [
            (0, 0, 0),
            (205, 49, 49),
            (0, 120, 60),
            (148, 120, 0),
            (4, 81, 165),
            (160, 5, 160),
            (5, 120, 150),
            (85, 85, 85),
        ],
        [
            (150, 150, 150),
            (205, 49, 49),
            (20, 140, 80),
            (130, 110, 0),
            (4, 81, 165),
            (188, 5, 188),
            (5, 152, 188),
            (40, 40, 40),
        ],
    ),
)

_EIGHTHS = {chr(0x2580 + k): (0.0, 1 - k / 8, 1.0, k / 8) for k in range(1, 9)}
_FROM_LEFT = {chr(0x2590 - k): (0.0, 0.0, k / 8, 1.0) for k in range(1, 8)}
_HALVES = {"▀": (0.0, 0.0, 1.0, 0.5), "▐": (0.5, 0.0, 0.5, 1.0)}
_BLOCKS = _EIGHTHS | _FROM_LEFT | _HALVES
"""Left, top, width and height of each block as shares of a cell."""
_QUADRANTS = dict(zip("▘▝▖▗▚▞▛▜▙▟", (1, 2, 4, 8, 9, 6, 7, 11, 13, 14), strict=True))
"""Bits: upper left, upper right, lower left, lower right."""
_SHADES = {"░": 0.25, "▒": 0.5, "▓": 0.75}
_ARMS = {
    "─": "lr", "━": "lr", "╌": "lr", "┈": "lr", "│": "ud", "┃": "ud", "┊": "ud", "╎": "ud",
    "┌": "rd", "┐": "ld", "└": "ru", "┘": "lu", "├": "rud", "┤": "lud", "┬": "lrd",
    "┴": "lru", "┼": "lrud", "╴": "l", "╶": "r", "╵": "u", "╷": "d",
    "╭": "rd", "╮": "ld", "╰": "ru", "╯": "lu",
}  # fmt: skip
"""Sides that a line goes to from the middle of its cell."""
_DIAGONALS = {"╱": (True, False), "╲": (False, True), "╳": (True, True)}
"""Whether it rises to the right, and whether it falls."""
_DASHED = "╌┈┊╎"
_HEAVY = "━┃"
_BRAILLE_BITS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
"""Column and row of each dot of a braille glyph, from the lowest bit."""


class _Pen(NamedTuple):
    """How a path is drawn; paths of one pen are one element."""

    color: str
    kind: str
    """fill, line, heavy, dashed or dots."""
    opacity: float = 1.0


class _Type(NamedTuple):
    """How text is set."""

    color: str
    bold: bool
    italic: bool
    underline: bool


@dataclass
class _Drawing:
    """What has been drawn so far, by how it is drawn."""

    ground: _Ground
    paths: dict[_Pen, list[str]] = field(
        default_factory=lambda: defaultdict[_Pen, list[str]](list)
    )
    texts: dict[_Type, list[str]] = field(
        default_factory=lambda: defaultdict[_Type, list[str]](list)
    )

    def segment(self, column: int, row: int, segment: Segment) -> None:
        """Draw text of one style from a cell on."""
        style = segment.style or PLAIN
        text_color, back = self._colors(style)
        width = cell_len(segment.text)
        if back != self.ground.back and width:
            self._rectangle(_Pen(back, "fill"), column, row, width, 1)
        typeface = _Type(
            text_color, bool(style.bold), bool(style.italic), bool(style.underline)
        )
        for start, glyphs in _pieces(segment.text):
            if _is_drawn(glyphs):
                self._shapes(column + start, row, glyphs, text_color)
            else:
                self._text(column + start, row, glyphs, typeface)

    def _colors(self, style: Style) -> tuple[str, str]:
        """Colours of text and ground of a style, as #rrggbb."""
        text = self._hex(style.color, self.ground.text)
        back = self._hex(style.bgcolor, self.ground.back)
        return (back, text) if style.reverse else (text, back)

    def _hex(self, color: Color | None, default: str) -> str:
        if color is None or color.is_default:
            return default
        return color.get_truecolor(self.ground.theme).hex

    def _text(self, column: int, row: int, text: str, typeface: _Type) -> None:
        x, y = column * CELL_WIDTH, (row + _BASELINE) * CELL_HEIGHT
        cells = cell_len(text)
        length = f' textLength="{_n(cells * CELL_WIDTH)}"' if cells > 1 else ""
        self.texts[typeface].append(
            f'<text x="{_n(x)}" y="{_n(y)}"{length}>{_printable(text)}</text>'
        )

    def _shapes(self, column: int, row: int, glyph: str, color: str) -> None:
        """A run of one glyph that is drawn."""
        one, width = glyph[0], len(glyph)
        if one in _BLOCKS:
            left, top, wide, high = _BLOCKS[one]
            if wide == 1:  # the run is one rectangle
                self._rectangle(_Pen(color, "fill"), column, row + top, width, high)
                return
            for k in range(width):
                self._rectangle(_Pen(color, "fill"), column + k + left, row + top, wide, high)
        elif one in _SHADES:
            self._rectangle(_Pen(color, "fill", _SHADES[one]), column, row, width, 1)
        elif one in _QUADRANTS:
            for k, bit in ((k, bit) for k in range(width) for bit in range(4)):
                if _QUADRANTS[one] >> bit & 1:
                    x, y = column + k + 0.5 * (bit % 2), row + 0.5 * (bit // 2)
                    self._rectangle(_Pen(color, "fill"), x, y, 0.5, 0.5)
        elif one in _ARMS:
            self._arms(column, row, glyph, color)
        elif one in _DIAGONALS:
            for k, rising in ((k, rising) for k in range(width) for rising in (True, False)):
                if _DIAGONALS[one][0 if rising else 1]:
                    ends = (row + 1, row) if rising else (row, row + 1)
                    self._line(
                        _Pen(color, "line"), column + k, ends[0], column + k + 1, ends[1]
                    )
        else:
            for k, character in enumerate(glyph):
                self._dots(column + k, row, ord(character) - 0x2800, color)

    def _arms(self, column: int, row: int, glyph: str, color: str) -> None:
        one, width, y = glyph[0], len(glyph), row + 0.5
        kind = "dashed" if one in _DASHED else "heavy" if one in _HEAVY else "line"
        pen, sides = _Pen(color, kind), _ARMS[one]
        if sides == "lr":
            self._line(pen, column, y, column + width, y)
            return
        for k in range(width):
            x = column + k + 0.5
            left, right = x - 0.5 * ("l" in sides), x + 0.5 * ("r" in sides)
            top, bottom = y - 0.5 * ("u" in sides), y + 0.5 * ("d" in sides)
            if left < right:
                self._line(pen, left, y, right, y)
            if top < bottom:
                self._line(pen, x, top, x, bottom)

    def _dots(self, column: int, row: int, bits: int, color: str) -> None:
        path = self.paths[_Pen(color, "dots")]
        for bit, (across, down) in enumerate(_BRAILLE_BITS):
            if bits >> bit & 1:
                x, y = column + 0.25 + 0.5 * across, row + 0.125 + 0.25 * down
                path.append(f"M{_n(x * CELL_WIDTH)} {_n(y * CELL_HEIGHT)}h.01")

    def _line(self, pen: _Pen, x: float, y: float, to_x: float, to_y: float) -> None:
        start = f"M{_n(x * CELL_WIDTH)} {_n(y * CELL_HEIGHT)}"
        self.paths[pen].append(f"{start}L{_n(to_x * CELL_WIDTH)} {_n(to_y * CELL_HEIGHT)}")

    def _rectangle(self, pen: _Pen, x: float, y: float, width: float, height: float) -> None:
        w, h = width * CELL_WIDTH, height * CELL_HEIGHT
        start = f"M{_n(x * CELL_WIDTH)} {_n(y * CELL_HEIGHT)}"
        self.paths[pen].append(f"{start}h{_n(w)}v{_n(h)}h{_n(-w)}z")

    def elements(self) -> Iterator[str]:
        """Grounds and blocks, then lines and dots, then text."""
        order = ("fill", "line", "heavy", "dashed", "dots")
        for pen, parts in sorted(
            self.paths.items(), key=lambda item: order.index(item[0].kind)
        ):
            yield f'<path {_attributes(pen)} d="{"".join(parts)}"/>'
        for typeface, parts in self.texts.items():
            bold = ' font-weight="bold"' * typeface.bold
            italic = ' font-style="italic"' * typeface.italic
            line = ' text-decoration="underline"' * typeface.underline
            yield f'<g fill="{typeface.color}"{bold}{italic}{line}>{"".join(parts)}</g>'


def screen_svg(lines: Sequence[Strip], *, dark: bool, title: str = "") -> str:
    """Lines of cells as one SVG document, in the colours they would have on a terminal.

    It needs no font to be drawn right and fetches none; names in the lines and in the title are
    escaped.
    """
    ground = _DARK if dark else _LIGHT
    drawing = _Drawing(ground)
    for row, line in enumerate(lines):
        column = 0
        for segment in line:
            drawing.segment(column, row, segment)
            column += segment.cell_length
    width = max((line.cell_length for line in lines), default=0)
    wide, high = (width + 2) * CELL_WIDTH, (len(lines) + 1) * CELL_HEIGHT
    return "".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(wide)} {_n(high)}" '
            f'width="{_n(wide)}" height="{_n(high)}" role="img" font-family="{FONTS}" '
            f'font-size="{FONT_SIZE}">',
            f"<title>{_printable(title)}</title>" if title else "",
            "<style>text{white-space:pre}</style>",
            f'<rect width="100%" height="100%" rx="6" fill="{ground.back}"/>',
            f'<g transform="translate({_n(CELL_WIDTH)} {_n(CELL_HEIGHT / 2)})">',
            *drawing.elements(),
            "</g></svg>\n",
        )
    )


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Words with their first cells, and runs of glyphs that are drawn; blanks are left out."""
    column, start, word = 0, 0, ""
    for character in text:
        joins = bool(word) and (
            word[0] == character
            if _is_drawn(word) or _is_drawn(character)
            else character != " " or not word.endswith(" ")
        )
        if not joins:
            if word.strip():
                yield start, word.rstrip()
            start, word = column, ""
        if word or character != " ":
            word += character
        else:
            start = column + 1
        column += cell_len(character)
    if word.strip():
        yield start, word.rstrip()


def _is_drawn(text: str) -> bool:
    """Whether a glyph is drawn as a shape, not set as text."""
    one = text[:1]
    return (
        "\u2800" <= one <= "\u28ff"
        or one in _BLOCKS
        or one in _SHADES
        or one in _QUADRANTS
        or one in _ARMS
        or one in _DIAGONALS
    )


def _attributes(pen: _Pen) -> str:
    opacity = "" if pen.opacity == 1 else f' fill-opacity="{pen.opacity:g}"'
    if pen.kind == "fill":
        return f'fill="{pen.color}"{opacity} shape-rendering="crispEdges"'
    width = {"dots": _DOT, "heavy": 2 * _LINE}.get(pen.kind, _LINE)
    more = {"dots": ' stroke-linecap="round"', "dashed": ' stroke-dasharray="1.4 2.8"'}
    return f'stroke="{pen.color}" stroke-width="{width:g}" fill="none"{more.get(pen.kind, "")}'


def _n(value: float) -> str:
    """A coordinate, to a hundredth."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _printable(text: str) -> str:
    """Text as XML has it: what XML may not hold at all is left out."""
    return escape("".join(filter(_may_be_in_xml, text)))


def _may_be_in_xml(character: str) -> bool:
    code = ord(character)
    return (
        character in "\t\n\r"
        or 0x20 <= code <= 0xD7FF
        or 0xE000 <= code <= 0xFFFD
        or code >= 0x1_0000
    )
