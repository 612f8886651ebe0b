"""A view painted once, to standard output or to a picture.

It brings the whole stage with it, so the commands load it only when they are asked for one.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import typer
from rich.console import Console
from rich.segment import Segment, Segments
from textual.strip import Strip

from lossviz_tui.cli.viewing import MIN_SIZE, parse_size
from lossviz_tui.exporting import write_screen
from lossviz_tui.figures.figure import write_figure
from lossviz_tui.formats import Format
from lossviz_tui.paint.cells import Size
from lossviz_tui.paint.palettes import Charset, Look
from lossviz_tui.selection import Selection
from lossviz_tui.stage import look_for
from lossviz_tui.still import Still

DEFAULT_SIZE = "120x30"


def print_view(
    run: Path,
    selection: Selection,
    size: str | None,
    charset: Literal["auto"] | Charset,
    *,
    dark: bool,
) -> None:
    """Print a view: in colour on a terminal, as plain text elsewhere."""
    console = Console(file=sys.stdout)
    color = "auto" if console.is_terminal else "none"
    still = Still(run, look_for(color, charset, dark=dark, console=console))
    still.look_at(selection)
    _print_lines(still.lines(_screen_size(size)), console)


def write_picture(
    run: Path,
    selection: Selection,
    size: str | None,
    charset: Literal["auto"] | Charset,
    how: Format,
    out: Path,
    *,
    dark: bool,
) -> None:
    """Write a view as a figure or as the screen, in colour whatever the terminal can show."""
    cells = parse_size(size or DEFAULT_SIZE)
    look = Look(charset="braille" if charset == "auto" else charset, dark=dark)
    still = Still(run, look)
    scene = still.look_at(selection)
    if how.kind == "figure":
        write_figure(scene, out)
    else:
        write_screen(still.lines(cells), out, dark=dark, title=out.stem)


def _screen_size(text: str | None) -> Size:
    """The size asked for; else the terminal's, less a line for the prompt, or 80 x 23."""
    if text is not None:
        return parse_size(text)
    width, height = shutil.get_terminal_size()
    return max(MIN_SIZE[0], width), max(MIN_SIZE[1], height - 1)


def _print_lines(lines: Sequence[Strip], console: Console) -> None:
    if console.is_terminal:
        for line in lines:
            console.print(Segments([*line, Segment("\n")]), end="")
        return
    for line in lines:
        typer.echo(line.text.rstrip())
