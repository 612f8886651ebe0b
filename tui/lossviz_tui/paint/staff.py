"""Dancing notes (Diao, Yao and Jiang 2022, sec. 4.2): which class dominates which, and when.

A note N[epoch, class] is the class that the class is most often taken for; below 0 is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from lossviz_tui.paint.axes import BottomAxis, Scale
from lossviz_tui.paint.cells import Canvas, Size, clean_text
from lossviz_tui.paint.legend import draw_legend
from lossviz_tui.paint.palettes import (
    ACCENT,
    FAINT,
    TEXT,
    Look,
    category_style,
    marker_for,
    style_for,
)

Notes = NDArray[np.integer]
"""Epochs by classes; entries below 0 are none."""

MAX_NAME = 14
MAX_PITCH = 4
NONE_NAME = "none"


@dataclass(frozen=True, kw_only=True)
class StaffOptions:
    """What part of the notes is shown, and what surrounds them."""

    first_epoch: int = 0
    """Number of the epoch in row 0 of the notes."""
    epochs: NDArray[np.integer] | None = None
    """The epoch of each row, ascending; None where they follow one another."""
    cursor_epoch: int | None = None
    cursor_class: int | None = None
    """The class in focus; its name is highlighted."""
    row0: int = 0
    """First class of the matrix in view, when not all of them fit."""
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class StaffFrame:
    """Where epochs and lines lie."""

    left: int
    top: int
    epochs: Scale
    lines: tuple[int, ...]
    """Class on each line from the top; -1 is the line of no note."""
    pitch: int
    """Rows from one line to the next; 0 says that two classes share a row."""

    def epoch_at(self, x: int) -> int | None:
        """The epoch under a column; None beside the staff."""
        cell = x - self.left
        return round(self.epochs.value(cell)) if 0 <= cell < self.epochs.cells else None

    def class_at(self, y: int) -> int | None:
        """The class of the (upper) line at a row, -1 for none; None beside the staff."""
        row = y - self.top
        line = row // self.pitch if self.pitch else 2 * row
        return self.lines[line] if 0 <= line < len(self.lines) else None


def staff(
    notes: Notes,
    class_names: Sequence[str],
    chosen: Sequence[int],
    size: Size,
    *,
    look: Look,
    options: StaffOptions | None = None,
) -> list[Strip]:
    """The notes of a few chosen classes on one line per class, `size` cells in all.

    A marker starts a spell and a line holds it. A column that stands for several epochs shows
    the most frequent note among them. When two classes are on one line they take turns.
    """
    options = options or StaffOptions()
    canvas = Canvas(size)
    frame = staff_frame(notes, class_names, chosen, size, options)
    _draw_lines(canvas, frame, class_names, look, options)
    _draw_spells(canvas, frame, notes, chosen, look, options)
    draw_epoch_axis(canvas, frame, look, options)
    entries = [
        (f"{marker_for(look, k)} {class_label(class_names, c, look)}", category_style(look, k))
        for k, c in enumerate(chosen)
    ]
    _draw_header(canvas, frame, entries, look, options.title)
    return canvas.strips()


def staff_frame(
    notes: Notes,
    class_names: Sequence[str],
    chosen: Sequence[int],
    size: Size,
    options: StaffOptions,
) -> StaffFrame:
    """The layout `staff` uses for the same arguments."""
    num_epochs, num_classes = notes.shape
    width, height = size
    top = 1 if height >= 6 else 0
    room = max(0, height - top - (2 if height >= 6 else 0))
    lines = (*range(num_classes), -1)
    if len(lines) > room:
        lines = _most_sung(notes[:, list(chosen)], num_classes, room)
    left = gutter_width(class_names, width)
    return StaffFrame(
        left=left,
        top=top,
        epochs=epoch_scale(num_epochs, width - left - 1, options),
        lines=lines,
        pitch=min(MAX_PITCH, max(1, (room - 1) // max(1, len(lines) - 1))),
    )


def _most_sung(notes: Notes, num_classes: int, room: int) -> tuple[int, ...]:
    """The notes of most epochs, as many as there is room for, by class; no note is the last."""
    counts = np.bincount(notes[(notes >= 0) & (notes < num_classes)])
    most = np.argsort(-counts, kind="stable")[: max(0, room - 1)]
    return (*np.sort(most[counts[most] > 0]).tolist(), -1)


def num_sung(notes: Notes, chosen: Sequence[int]) -> int:
    """How many different notes some classes have; no note is always one of them."""
    return len(np.unique(np.append(notes[:, list(chosen)], -1).clip(-1)))


def staff_height(num_lines: int, pitch: int) -> int:
    """Rows that a staff of so many lines takes, with header and axis."""
    return max(6, 1 + (num_lines - 1) * pitch + 1 + 2)


def gutter_width(class_names: Sequence[str], width: int) -> int:
    """Columns for the names at the left."""
    # Of megabytes only the beginning is looked at.
    longest = max([len(NONE_NAME), *(cell_len(name[: 2 * MAX_NAME]) for name in class_names)])
    return min(MAX_NAME, longest, max(3, width // 5)) + 2 if width >= 16 else 0


def epoch_scale(num_epochs: int, cells: int, options: StaffOptions) -> Scale:
    """Epochs over columns."""
    if options.epochs is not None and len(options.epochs):
        num_epochs = int(options.epochs[-1]) - options.first_epoch + 1
    # Each column is an equal share of the epochs; the ends are the middles of the outer ones.
    cells, num_epochs = max(1, cells), max(1, num_epochs)
    half = num_epochs / cells / 2
    low = options.first_epoch - 0.5
    return Scale(low=low + half, high=low + num_epochs - half, cells=cells)


def frequent_notes(
    notes: Notes, columns: int, epochs: NDArray[np.integer] | None = None
) -> Notes:
    """The notes in so many columns: the most frequent of their epochs, the smaller on a tie.

    A column without an epoch of its own holds the notes of the last one before it.
    """
    num_rows, num_classes = notes.shape
    if num_rows == 0:
        return np.full((columns, num_classes), -2, dtype=np.int64)
    epochs = np.arange(num_rows) if epochs is None else epochs
    first = int(epochs[0])
    num_epochs = int(epochs[-1]) - first + 1
    edges = first + np.array([k * num_epochs // columns for k in range(columns + 1)])
    starts = np.searchsorted(epochs, edges)
    held = np.searchsorted(epochs, edges, side="right") - 1
    shown = np.empty((columns, num_classes), dtype=np.int64)
    for column in range(columns):
        part = notes[starts[column] : starts[column + 1]]
        shown[column] = _most_frequent(part) if len(part) else notes[held[column]]
    return shown


def _most_frequent(notes: Notes) -> Notes:
    """The most frequent note of each class, the smaller one on a tie."""
    if len(notes) == 1:
        return notes[0]
    num_classes = notes.shape[1]
    low = int(notes.min())
    base = int(notes.max()) - low + 1
    codes = (np.arange(num_classes) * base + (notes.astype(np.int64) - low)).ravel()
    if num_classes * base <= 4 * codes.size:  # counting is quicker than sorting
        table = np.bincount(codes, minlength=num_classes * base)
        return table.reshape(num_classes, base).argmax(axis=1) + low
    found, counts = np.unique(codes, return_counts=True)
    true_class, note = np.divmod(found, base)
    order = np.lexsort((note, -counts, true_class))
    _, firsts = np.unique(true_class[order], return_index=True)
    return note[order[firsts]] + low


def _draw_lines(
    canvas: Canvas,
    frame: StaffFrame,
    class_names: Sequence[str],
    look: Look,
    options: StaffOptions,
) -> None:
    faint = style_for(look, FAINT)
    for k, true_class in enumerate(frame.lines):
        row = frame.top + k * frame.pitch
        glyph = "-" if look.is_ascii else "─"
        if true_class < 0:
            glyph = "." if look.is_ascii else "┈"
        columns = (frame.left, frame.left + frame.epochs.cells)
        canvas.paint(columns, (row, row + 1), glyph, faint)
        if frame.left:
            in_focus = true_class >= 0 and true_class == options.cursor_class
            style = style_for(look, ACCENT, bold=True) if in_focus else style_for(look, TEXT)
            name = class_label(class_names, true_class, look, frame.left - 2)
            canvas.put_right(frame.left - 1, row, name, style)


def class_label(
    class_names: Sequence[str], index: int, look: Look, limit: int = MAX_NAME
) -> str:
    """The printable name of a class; "none" below 0."""
    name = NONE_NAME if index < 0 else str(index)
    if 0 <= index < len(class_names):
        name = class_names[index]
    return clean_text(name, limit, ascii_only=look.is_ascii)


def _draw_spells(
    canvas: Canvas,
    frame: StaffFrame,
    notes: Notes,
    chosen: Sequence[int],
    look: Look,
    options: StaffOptions,
) -> None:
    if not len(notes):
        return
    held = "=" if look.is_ascii else "━"
    columns = frequent_notes(notes[:, list(chosen)], frame.epochs.cells, options.epochs)
    columns = np.maximum(columns, -1)
    line_of = {true_class: k for k, true_class in enumerate(frame.lines)}
    for column, row_of_notes in enumerate(columns.tolist()):
        before = columns[column - 1].tolist() if column else [None] * len(chosen)
        singers: dict[int, list[int]] = {}
        for k, note in enumerate(row_of_notes):
            if note in line_of:
                singers.setdefault(note, []).append(k)
        for note, voices in singers.items():
            starting = [k for k in voices if before[k] != note]
            k = starting[0] if starting else voices[column // 2 % len(voices)]
            taking_turns = len(voices) > 1 and column % 2 == 0
            glyph = marker_for(look, k) if starting or taking_turns else held
            at = (frame.left + column, frame.top + line_of[note] * frame.pitch)
            canvas.put(*at, glyph, category_style(look, k))


def draw_epoch_axis(
    canvas: Canvas, frame: StaffFrame, look: Look, options: StaffOptions
) -> None:
    """Draw the axis below, and the cursor through what is still empty."""
    if not frame.top:
        return
    bottom = canvas.height - 2
    cursor = options.cursor_epoch
    axis = BottomAxis(
        left=frame.left,
        row=bottom,
        label="epoch",
        integer=True,
        cursor=cursor,
    )
    axis.draw(canvas, frame.epochs, look)
    cell = None if cursor is None else frame.epochs.cell(cursor)
    if cell is None:
        return
    glyph, accent = "|" if look.is_ascii else "│", style_for(look, ACCENT)
    staves = {"─", "┈", "-", ".", " "}
    for row in range(frame.top, bottom):
        if str(canvas.glyphs[row, frame.left + cell]) in staves:
            canvas.put(frame.left + cell, row, glyph, accent)


def _draw_header(
    canvas: Canvas,
    frame: StaffFrame,
    entries: Sequence[tuple[str, Style]],
    look: Look,
    title: str,
) -> None:
    if frame.top:
        text = clean_text(title, canvas.width, ascii_only=look.is_ascii)
        canvas.put(0, 0, text, style_for(look, TEXT, bold=True))
        draw_legend(canvas, (cell_len(text) + 2 if text else 0, 0), entries, look)
