"""Small pieces of text all views share: ages, percents, states with a sign and a colour."""

import math
import textwrap

from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from lossviz_tui.paint.cells import (
    PLAIN,
    Canvas,
    Size,
    blank_lines,
    clean_text,
    text_line,
)
from lossviz_tui.paint.palettes import ACCENT, MUTED, TEXT, Look, category_style, style_for
from lossviz_tui.paint.targets import Lines, Target, targets_of

EXPLAINED = ("failed", "crashed", "disk full", "paused")
"""States of a run whose reason matters more than what else there is to say of it."""
_MAX_SENTENCE = 400
_LONGEST = 1_000 * 86_400.0
# Two units, seconds in the smaller one, how many of it are the larger one, seconds from which
# on it is the next line's.
_DURATIONS = (
    ("ms", 1, 60, 600.0),
    ("hm", 60, 60, 86_400.0),
    ("dh", 3_600, 24, math.inf),
)

# Sign, ASCII sign, category of the colour (None: muted). Words, signs and colours all differ.
_STATES: dict[str, tuple[str, str, int | None]] = {
    "never ran": ("·", ".", None),
    "waiting": ("○", "o", 1),
    "live": ("●", "*", 2),
    "stalled": ("◐", "!", 0),
    "paused": ("‖", "=", 1),
    "disk full": ("▲", "!", 5),
    "finished": ("✓", "+", 4),
    "stopped": ("■", "#", 1),
    "failed": ("✗", "x", 5),
    "crashed": ("✗", "X", 5),
    "damaged": ("?", "?", 5),
    "queued": ("○", "o", None),
    "running": ("●", "*", 2),
    "interrupted": ("◐", "!", 0),
    "done": ("✓", "+", 4),
    "cancelled": ("■", "#", None),
}


def state_text(word: str, look: Look) -> tuple[str, Style]:
    """A state as sign and word, and the style to show it in."""
    sign, ascii_sign, category = _STATES.get(word, ("?", "?", None))
    text = f"{ascii_sign if look.is_ascii else sign} {word}"
    style = muted(look) if category is None else category_style(look, category, bold=True)
    return text, style


def age_text(seconds: float) -> str:
    """How long ago, in at most four cells: 0s, 59s, 12m, 3h, 5d; "?" where nobody knows."""
    if not seconds < _LONGEST:  # NaN too
        return "?"
    for unit, length in (("d", 86_400.0), ("h", 3_600.0), ("m", 60.0)):
        if seconds >= length:
            return f"{int(seconds / length)}{unit}"
    return f"{max(0, int(seconds))}s"


def duration_text(seconds: float) -> str:
    """How long something takes, rounded up: 59s, 1m 59s, 12m, 1h 59m, 1d 23h, 2d; "?"."""
    if not seconds < _LONGEST:  # NaN too
        return "?"
    whole = math.ceil(max(0.0, seconds))
    if whole < 60:
        return f"{whole}s"
    for units, step, ratio, limit in _DURATIONS:
        count = -(-whole // step)
        if count * step < limit:
            large, small = divmod(count, ratio)
            words = (f"{large}{units[0]}" * (large > 0), f"{small}{units[1]}" * (small > 0))
            return " ".join(filter(None, words))
    return "?"


def muted(look: Look) -> Style:
    """The style of what may be overlooked."""
    return style_for(look, MUTED)


def strong(look: Look) -> Style:
    """The style of what is in focus."""
    return style_for(look, TEXT, bold=True)


def accent(look: Look) -> Style:
    """The style of what the eye should find first."""
    return style_for(look, ACCENT, bold=True)


def centred(size: Size, sentences: list[str], look: Look) -> list[Strip]:
    """A few sentences in the middle of an otherwise empty view, the first one in focus."""
    canvas = Canvas(size)
    styles = [strong(look), *[muted(look)] * len(sentences)]
    rows = [
        (line, style)
        for sentence, style in zip(sentences, styles, strict=False)
        for line in textwrap.wrap(
            clean_text(sentence, _MAX_SENTENCE, ascii_only=look.is_ascii), max(1, canvas.width)
        )
    ]
    top = max(0, (canvas.height - len(rows)) // 2)
    for row, (text, style) in enumerate(rows, start=top):
        canvas.put(max(0, (canvas.width - cell_len(text)) // 2), row, text, style)
    return canvas.strips()


def stacked(size: Size, *blocks: list[Strip]) -> Lines:
    """Blocks of full width one below the other, cut or filled up to the size."""
    targets: list[Target] = []
    lines: list[Strip] = []
    for block in blocks:
        targets += targets_of(block, down=len(lines))
        lines += block
    lines = lines[: size[1]]
    lines += blank_lines((size[0], size[1] - len(lines)))
    return Lines(
        (
            line.adjust_cell_length(size[0], PLAIN) if line.cell_length != size[0] else line
            for line in lines
        ),
        targets,
    )


def title_line(text: str, width: int, look: Look) -> Strip:
    """A heading over part of a view."""
    return text_line(text[:width], width, strong(look))
