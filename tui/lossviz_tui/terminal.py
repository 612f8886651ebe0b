"""What the terminal at hand can show, told from the environment before anything is loaded.

Rich and Textual go by TERM and COLORTERM alone. The places where that is wrong are mended here:
a variable inherited through a multiplexer or `su` promises colours that GNU screen and the
Linux console do not have, and some terminals have none at all.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any, Literal

from lossviz_analysis.errors import LossvizError

_COLORLESS = ("-m", "-mono")
"""Endings of TERM that say so."""
_NO_COLORS_AT_ALL = ("vt52", "vt100", "vt102", "vt220", "vt320", "ansi-mono", "cons25-m")
_LOCALE_C = ("C", "POSIX")
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
"""What Python itself sets LC_CTYPE to when it meets the C locale (PEP 538)."""
DRIVER = "TEXTUAL_DRIVER"


def color_system(environment: Mapping[str, str]) -> str:
    """Colours to use: what `TEXTUAL_COLOR_SYSTEM` takes, "none", or "auto" to let Rich say.

    GNU screen before version 5 takes the numbers of a true colour for attributes, and the Linux
    console has sixteen: both believe neither COLORTERM.
    """
    term = environment.get("TERM", "").lower()
    if term in _NO_COLORS_AT_ALL or term.endswith(_COLORLESS):
        return "none"
    if term == "linux" or term.startswith("linux-"):
        return "standard"
    if "TMUX" not in environment and (term.startswith("screen") or "STY" in environment):
        return "256" if "256color" in term else "standard"
    return "auto"


def glyphs_of(environment: Mapping[str, str], encoding: str) -> Literal["braille", "ascii"]:
    """The charset to draw with: braille, unless locale or terminal lack its glyphs.

    A console font has 256 or 512 glyphs, block elements among them but neither braille nor the
    quadrants that stand in for it; what it lacks all looks the same. So the Linux console, and
    terminals older than Unicode, get ASCII.
    """
    term = environment.get("TERM", "").lower()
    if "utf" not in encoding.lower() or _is_locale_c(environment):
        return "ascii"
    if term == "linux" or term.startswith("linux-") or term in _NO_COLORS_AT_ALL:
        return "ascii"
    return "braille"


def _is_locale_c(environment: Mapping[str, str]) -> bool:
    """Whether somebody asked for the C locale; none at all is common on UTF-8 terminals."""
    if environment.get("LC_ALL"):
        return environment["LC_ALL"] in _LOCALE_C
    is_c = environment.get("LANG") in _LOCALE_C
    return is_c and environment.get("LC_CTYPE", "C") in (*_LOCALE_C, *_COERCED)


def refuse_no_terminal(environment: Mapping[str, str]) -> None:
    """Refuse to draw where nothing can be placed; LossvizError says what to do instead.

    Textual would write its control sequences into a file, a pipe, or an editor's shell.
    """
    if environment.get(DRIVER):  # somebody else, such as a browser, is the terminal
        return
    instead = "lossviz-tui show RUN prints what there is to see as plain text"
    if environment.get("TERM", "").lower() in ("dumb", "unknown"):
        term = environment["TERM"]
        raise LossvizError(f"this terminal (TERM={term}) cannot place text; {instead}")
    if not (_is_terminal(sys.__stdin__) and _is_terminal(sys.__stderr__)):
        raise LossvizError(f"there is no terminal to draw on (ssh needs -t); {instead}")


def _is_terminal(stream: Any) -> bool:  # noqa: ANN401  # a file, or None without one
    try:
        return stream is not None and os.isatty(stream.fileno())
    except (OSError, ValueError):
        return False
