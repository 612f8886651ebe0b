"""Colours that colour-blind readers can tell apart, and what stands in for them without colour.

A terminal with 16 colours collapses a sequential map to four steps, and one without any shows
nothing of it; there heat is drawn with shade glyphs. Sixteen levels are enough for the eye and
make a heat map three times cheaper to send than 256.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.color import Color
from rich.style import Style

from lossviz_tui.paint.colors import nearest_256

Charset: TypeAlias = Literal["braille", "blocks", "ascii"]
ColorDepth: TypeAlias = Literal["truecolor", "256", "16", "none"]

LEVELS = 16
LARGEST = 1e300
"""A diverged loss beyond it is drawn like an infinite one."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the terminal can show, as every painter is told."""

    charset: Charset = "braille"
    """Glyphs for curves: 2 x 4 dots, 2 x 2 blocks, or nothing outside ASCII."""
    color: ColorDepth = "truecolor"
    """Colours that may be used; "none" leaves bold and reverse."""
    dark: bool = True
    """Whether the background is dark."""

    @property
    def is_ascii(self) -> bool:
        """Whether every glyph has to be ASCII."""
        return self.charset == "ascii"

    @property
    def has_palette(self) -> bool:
        """Whether sixteen levels of a palette can be told apart."""
        return self.color in {"truecolor", "256"}


class Ink(NamedTuple):
    """One colour, and the nearest honest choice among the sixteen."""

    rgb: str
    ansi: str


class Palette(NamedTuple):
    """Sixteen colours from low to high, for a dark and for a light background."""

    name: str
    dark: tuple[str, ...]
    light: tuple[str, ...]

    def colors(self, look: Look) -> tuple[str, ...]:
        """The table for the background in use."""
        return self.dark if look.dark else self.light


def _table(text: str) -> tuple[str, ...]:
    return tuple("#" + code for code in text.split())


_VIRIDIS = _table(
    "440154 481a6c 472f7d 414487 39568c 31688e 2a788e 23888e"
    " 1f988b 22a884 35b779 54c568 7ad151 a5db36 d2e21b fde725"
)
_CIVIDIS = _table(
    "00224e 002e6c 1e3a6f 35456c 47516c 575d6d 666970 757575"
    " 848279 948e77 a59c74 b7a96e c8b866 dbc75a eed649 fee838"
)
VIRIDIS = Palette("viridis", _VIRIDIS, _VIRIDIS)
"""Sequential, for landscapes (van der Walt and Smith, 2015)."""
CIVIDIS = Palette("cividis", _CIVIDIS, _CIVIDIS)
"""Sequential, the same to readers with and without red-green blindness (Nuñez et al., 2018)."""
EMBER = Palette(
    "ember",
    _table(
        "0a0722 1e0c45 390963 520e6d 6c186e 85216b 9d2964 b63458"
        " cb4149 df5337 ed6925 f78410 fc9f07 fbbe23 f5db4c f3f68a"
    ),
    _table(
        "ffffd9 f5fbc4 eaf7b1 d6efb3 bde5b5 97d6b9 73c8bd 52bcc2"
        " 37acc3 2498c1 1f80b8 2165ab 234da0 253795 172978 081d58"
    ),
)
"""Sequential, nearly the background at its low end, for tables that are mostly zero."""
BLUE_ORANGE = Palette(
    "blue-orange",
    _table(
        "79c3ff 6dabde 6194bf 557da0 496782 3d5265 313e4a 262a30"
        " 2d2928 473a30 634c37 805e3d 9e7042 be8447 de974a ffab4d"
    ),
    _table(
        "0a4f8f 31659d 4f7aab 6c90b9 8aa6c6 a7bcd4 c6d2e1 e4e9ee"
        " f0e8e5 e8d2c7 dfbbaa d5a48c cb8e6f c07752 b46032 a84800"
    ),
)
"""Diverging, for signed values between -m and m."""

_OKABE_ITO = (
    (Ink("#56b4e9", "bright_cyan"), Ink("#0072b2", "blue")),
    (Ink("#e69f00", "yellow"), Ink("#b87a00", "yellow")),
    (Ink("#00b386", "green"), Ink("#007a5a", "green")),
    (Ink("#cc79a7", "bright_magenta"), Ink("#b04f86", "magenta")),
    (Ink("#f0e442", "bright_yellow"), Ink("#857c00", "bright_yellow")),
    (Ink("#e8702a", "bright_red"), Ink("#d55e00", "red")),
    (Ink("#5a8fd8", "bright_blue"), Ink("#35a0e0", "cyan")),
    (Ink("#e4e4e4", "bright_white"), Ink("#1c1c1c", "black")),
)
"""Okabe and Ito's eight hues, each moved in lightness until it reads on that background."""

MARKERS = "●▲■◆○△□◇"
ASCII_MARKERS = "o^#*+x%@"
SHADES = " ░▒▓█"
ASCII_SHADES = " .:-=+*#%@"
SIGNED_SHADES = "=- +#"
"""Far below the middle, below, near it, above, far above."""

TEXT = (Ink("#d8d8d8", "white"), Ink("#262626", "black"))
MUTED = (Ink("#8c8c8c", "white"), Ink("#6c6c6c", "black"))
FAINT = (Ink("#444444", "bright_black"), Ink("#c6c6c6", "bright_black"))
ACCENT = (Ink("#ffd75f", "bright_yellow"), Ink("#9a5b00", "red"))
MISSING = (Ink("#a3266b", "magenta"), Ink("#a3266b", "magenta"))
"""A value that was computed and is not a number: a hue none of the palettes has."""


@lru_cache(maxsize=8192)
def style_for(
    look: Look,
    color: tuple[Ink, Ink] | Ink | str | None = None,
    background: tuple[Ink, Ink] | Ink | str | None = None,
    *,
    bold: bool = False,
    reverse: bool = False,
) -> Style:
    """A Style within what the terminal can show.

    A pair of inks is for a dark and a light background. Plain "#rrggbb" text is left out where
    there are only sixteen colours, because it has no honest equivalent there.
    """
    return Style(
        color=_color(look, color),
        bgcolor=_color(look, background),
        bold=bold or None,
        reverse=reverse or None,
    )


def _color(look: Look, wanted: tuple[Ink, Ink] | Ink | str | None) -> Color | None:
    if wanted is None or look.color == "none":
        return None
    if isinstance(wanted, str):
        ink = Ink(wanted, "")
    elif isinstance(wanted, Ink):
        ink = wanted
    else:
        ink = wanted[0] if look.dark else wanted[1]
    if look.color == "16":
        return Color.parse(ink.ansi) if ink.ansi else None
    return nearest_256(ink.rgb) if look.color == "256" else Color.parse(ink.rgb)


def category_style(look: Look, index: int, *, bold: bool = False) -> Style:
    """The style of the index-th of eight categories; the muted one below 0, cyclic above 7."""
    return style_for(look, MUTED if index < 0 else category_ink(look, index), bold=bold)


def category_ink(look: Look, index: int) -> Ink:
    """The colour of the index-th category, cyclic."""
    pair = _OKABE_ITO[index % len(_OKABE_ITO)]
    return pair[0] if look.dark else pair[1]


def marker_for(look: Look, index: int) -> str:
    """The glyph of the index-th category, cyclic; a plain dot below 0."""
    markers = ASCII_MARKERS if look.is_ascii else MARKERS
    if index < 0:
        return "." if look.is_ascii else "·"
    return markers[index % len(markers)]


def shades_for(look: Look) -> str:
    """Glyphs from empty to full, for terminals that cannot show a palette."""
    return ASCII_SHADES if look.is_ascii else SHADES


def as_values(values: ArrayLike) -> NDArray[np.float64]:
    """Values as float64, those beyond LARGEST as infinities: no difference overflows."""
    # Noise read as float32 can be a signalling NaN.
    with np.errstate(invalid="ignore"):
        data = np.asarray(values, dtype=np.float64)
    beyond = np.abs(data) > LARGEST
    return np.where(beyond, np.copysign(np.inf, data), data) if beyond.any() else data


def quantise(
    values: ArrayLike, low: float, high: float, levels: int = LEVELS, *, log: bool = False
) -> NDArray[np.int64]:
    """The level of each value, 0 to `levels - 1`; what lies outside takes the end level.

    NaN is -1. On a log axis what is not positive takes level 0. Without a range (low >= high,
    or an end that is not finite) every value takes level 0.
    """
    data = as_values(values)
    low, high = max(low, -LARGEST), min(high, LARGEST)
    missing = np.isnan(data)
    if log:
        low, high = (np.log10(end) if end > 0 else -np.inf for end in (low, high))
        with np.errstate(divide="ignore", invalid="ignore"):
            data = np.where(data > 0, np.log10(data), -np.inf)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        return np.where(missing, -1, 0).astype(np.int64)
    data = np.clip(np.where(missing, low, data), low, high)
    level = np.floor((data - low) / (high - low) * levels).astype(np.int64)
    return np.where(missing, -1, np.minimum(level, levels - 1))


def value_range(values: ArrayLike, *, log: bool = False) -> tuple[float, float]:
    """Smallest and largest finite value (positive on a log axis); 0 and 1 if there is none."""
    data = as_values(values)
    data = data[np.isfinite(data) & ((data > 0) if log else True)]
    return (float(data.min()), float(data.max())) if data.size else (0.0, 1.0)
