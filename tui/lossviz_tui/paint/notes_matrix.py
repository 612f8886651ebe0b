"""The dancing notes of every class at once, for data sets with many classes."""

from collections.abc import Sequence

from rich.style import Style
from textual.strip import Strip

from lossviz_tui.paint.cells import Canvas, Size, clean_text
from lossviz_tui.paint.colors import contrast_for
from lossviz_tui.paint.palettes import (
    ACCENT,
    FAINT,
    TEXT,
    Look,
    category_ink,
    style_for,
)
from lossviz_tui.paint.staff import (
    Notes,
    StaffFrame,
    StaffOptions,
    class_label,
    draw_epoch_axis,
    epoch_scale,
    frequent_notes,
    gutter_width,
)

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def notes_matrix(
    notes: Notes,
    class_names: Sequence[str],
    size: Size,
    *,
    look: Look,
    options: StaffOptions | None = None,
) -> list[Strip]:
    """Epochs across, classes down, the note as colour, `size` cells in all.

    Colours repeat after eight classes, so each class also has the letter that stands before its
    name; a spell starts with the letter of its note. Two classes share a row where they would
    not fit otherwise, and then there is no room for letters.
    """
    options = options or StaffOptions()
    canvas = Canvas(size)
    frame = matrix_frame(notes, class_names, size, look, options)
    # Of the classes in view only: with a thousand of them the others would take a second.
    first, last = (frame.lines[0], frame.lines[-1] + 1) if frame.lines else (0, 0)
    columns = frequent_notes(notes[:, first:last], frame.epochs.cells, options.epochs)
    for line in range(0, len(frame.lines), _classes_per_row(frame)):
        row = frame.top + line // _classes_per_row(frame)
        _draw_name(canvas, frame, (row, frame.lines[line]), class_names, look, options)
        if _classes_per_row(frame) == 2:
            pair = frame.lines[line : line + 2]
            notes_of_two = [columns[:, c - first].tolist() for c in pair]
            _draw_pair(canvas, frame, row, notes_of_two, look)
        else:
            notes_of_one = columns[:, frame.lines[line] - first].tolist()
            _draw_spells(canvas, frame, row, notes_of_one, look)
    draw_epoch_axis(canvas, frame, look, options)
    if frame.top:
        title = clean_text(options.title, canvas.width, ascii_only=look.is_ascii)
        canvas.put(0, 0, title, style_for(look, TEXT, bold=True))
    return canvas.strips()


def matrix_frame(
    notes: Notes,
    class_names: Sequence[str],
    size: Size,
    look: Look,
    options: StaffOptions,
) -> StaffFrame:
    """The layout `notes_matrix` uses; a pitch of 0 says that two classes share a row."""
    num_epochs, num_classes = notes.shape
    width, height = size
    top = 1 if height >= 6 else 0
    room = max(0, height - top - (2 if top else 0))
    shared = num_classes > room and look.has_palette and not look.is_ascii
    visible = room * (2 if shared else 1)
    row0 = max(0, min(options.row0, num_classes - visible))
    left = gutter_width(class_names, width)
    left += 2 if left else 0
    return StaffFrame(
        left=left,
        top=top,
        epochs=epoch_scale(num_epochs, width - left - 1, options),
        lines=tuple(range(row0, min(num_classes, row0 + visible))),
        pitch=0 if shared else 1,
    )


def _classes_per_row(frame: StaffFrame) -> int:
    return 1 if frame.pitch else 2


def _letter(index: int) -> str:
    return _LETTERS[index] if 0 <= index < len(_LETTERS) else "#"


def _draw_name(
    canvas: Canvas,
    frame: StaffFrame,
    at: tuple[int, int],
    class_names: Sequence[str],
    look: Look,
    options: StaffOptions,
) -> None:
    if not frame.left:
        return
    row, true_class = at
    in_focus = true_class == options.cursor_class
    style = style_for(look, ACCENT, bold=True) if in_focus else style_for(look, TEXT)
    name = class_label(class_names, true_class, look, frame.left - 4)
    canvas.put_right(frame.left - 1, row, name, style)
    if frame.pitch:
        canvas.put(0, row, _letter(true_class), _note_style(look, true_class))


def _note_style(look: Look, note: int) -> Style:
    if note < 0:
        return style_for(look, FAINT)
    ink = category_ink(look, note)
    if look.has_palette:
        return style_for(look, contrast_for(ink.rgb), ink)
    return style_for(look, ink)


def _draw_spells(
    canvas: Canvas, frame: StaffFrame, row: int, notes: Sequence[int], look: Look
) -> None:
    nothing = "." if look.is_ascii else "·"
    before: int | None = None
    for column, note in enumerate(notes):
        held = " " if look.has_palette else _letter(note)
        glyph = nothing if note < 0 else (held if note == before else _letter(note))
        canvas.put(frame.left + column, row, glyph, _note_style(look, note))
        before = note


def _draw_pair(
    canvas: Canvas, frame: StaffFrame, row: int, pair: Sequence[Sequence[int]], look: Look
) -> None:
    """Two classes in one row of half blocks."""
    upper, lower = pair[0], pair[1] if len(pair) > 1 else [-1] * len(pair[0])
    for column, (above, below) in enumerate(zip(upper, lower, strict=True)):
        top = category_ink(look, above) if above >= 0 else None
        bottom = category_ink(look, below) if below >= 0 else None
        if top is None and bottom is None:
            glyph, style = "·", style_for(look, FAINT)
        elif top is None:
            glyph, style = "▄", style_for(look, bottom)
        else:
            glyph, style = "▀", style_for(look, top, bottom)
        canvas.put(frame.left + column, row, glyph, style)
