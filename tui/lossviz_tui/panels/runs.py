"""The list of runs."""

import math
import time

from textual.strip import Strip

from lossviz_tui.paint.cells import Canvas, Size, clean_text
from lossviz_tui.paint.sparkline import sparkline
from lossviz_tui.panels.texts import accent, age_text, centred, muted, state_text, strong
from lossviz_tui.scene import RunRow, Scene

HELP = (
    "Runs below the folder, newest change first: state, epochs, best test accuracy and its "
    "course. A run counts as crashed when nobody holds its lock though it never said it had "
    "ended."
)
_COLUMNS = ("state", "epochs", "best", "trend", "model on data", "run")


def paint(scene: Scene, size: Size) -> list[Strip]:
    """One line for each run, the one in focus marked."""
    if not scene.runs:
        return centred(
            size,
            [
                f"no runs below {clean_text(str(scene.folder), 60)}",
                "start one with: lossviz-tui train, or lossviz-tui demo",
                "it will appear here by itself",
            ],
            scene.look,
        )
    canvas = Canvas(size)
    for text, column in zip(_COLUMNS, _places(canvas.width), strict=True):
        canvas.put(column, 0, text, muted(scene.look))
    focus = min(scene.selection.run_row, len(scene.runs) - 1)
    room = canvas.height - 2
    first = max(0, min(focus - room // 2, len(scene.runs) - room))
    for line, row in enumerate(scene.runs[first : first + room]):
        _draw(canvas, 1 + line, row, scene, is_focus=first + line == focus)
    message = scene.runs[focus].message
    if message:
        text = clean_text(message, canvas.width, ascii_only=scene.look.is_ascii)
        canvas.put(0, canvas.height - 1, text, accent(scene.look))
    return canvas.strips()


def _places(width: int) -> tuple[int, ...]:
    wide = width >= 110
    return (2, 15, 25, 35, 35 + (22 if wide else 12), 35 + (60 if wide else 34))


def _draw(canvas: Canvas, line: int, row: RunRow, scene: Scene, *, is_focus: bool) -> None:
    look = scene.look
    at = _places(canvas.width)
    if is_focus:
        canvas.put(0, line, ">", accent(look))
    text, style = state_text(row.word, look)
    canvas.put(at[0], line, text, style)
    planned = "" if row.epochs is None else f"/{row.epochs}"
    canvas.put(at[1], line, f"{row.epoch}{planned}", strong(look) if is_focus else muted(look))
    if row.best_test_accuracy is not None:
        canvas.put(at[2], line, f"{100 * row.best_test_accuracy:.2f} %")
    for segment in sparkline(row.trend, at[4] - at[3] - 2, look=look):
        canvas.put(at[3], line, segment.text, muted(look))
    what = clean_text(
        f"{row.model} on {row.dataset}", at[5] - at[4] - 1, ascii_only=look.is_ascii
    )
    canvas.put(at[4], line, what, strong(look) if is_focus else muted(look))
    age = "" if math.isnan(row.changed) else age_text(time.time() - row.changed)
    room = canvas.width - at[5] - 5
    canvas.put(at[5], line, clean_text(row.path.name, room, ascii_only=look.is_ascii))
    canvas.put_right(canvas.width, line, age, muted(look))
