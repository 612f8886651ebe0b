"""The list of runs."""

import math
import time
from functools import partial

from textual.strip import Strip

from lossviz_analysis.store.schema import RUN_SUFFIX
from lossviz_tui.navigation import moved, run_chosen
from lossviz_tui.paint.cells import PLAIN, Canvas, Size, clean_text
from lossviz_tui.paint.sparkline import sparkline
from lossviz_tui.paint.targets import Lines, Target
from lossviz_tui.panels.texts import (
    EXPLAINED,
    accent,
    age_text,
    centred,
    muted,
    state_text,
    strong,
)
from lossviz_tui.scene import RunRow, Scene

HELP = (
    "Runs below the folder, newest change first: state, epochs, best test accuracy and its "
    "course. A run counts as stalled when its writer has been silent for half a minute, as "
    "crashed when nobody holds its lock though it never said it had ended."
)


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
    for text, column in _places(canvas.width).items():
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
    choose = Target(
        left=0,
        top=1,
        width=canvas.width,
        height=min(room, len(scene.runs) - first),
        click=partial(run_chosen, first),
        opens=True,
        wheel=moved,
    )
    return Lines(canvas.strips(), [choose])


def _places(width: int) -> dict[str, int]:
    """Where each column begins; the name, which says most, goes last and is never left out."""
    places = {"state": 2, "epochs": 15, "best": 25}
    if width >= 76:
        places["trend"] = 35
    if width >= 110:
        places["model on data"] = 57
    return places | {"run": 95 if width >= 110 else 47 if width >= 76 else 35}


def _draw(canvas: Canvas, line: int, row: RunRow, scene: Scene, *, is_focus: bool) -> None:
    look = scene.look
    at = _places(canvas.width)
    if is_focus:
        canvas.put(0, line, ">", accent(look))
    text, style = state_text(row.word, look)
    canvas.put(at["state"], line, text, style)
    planned = "" if row.epochs is None else f"/{row.epochs}"
    epochs = clean_text(f"{row.epoch}{planned}", at["best"] - at["epochs"] - 1)
    canvas.put(at["epochs"], line, epochs, strong(look) if is_focus else muted(look))
    if row.best_test_accuracy is not None:
        canvas.put(at["best"], line, f"{100 * row.best_test_accuracy:.2f} %")
    if "trend" in at:
        width = 20 if "model on data" in at else 10
        for segment in sparkline(row.trend, width, look=look):
            canvas.put(at["trend"], line, segment.text, muted(look))
    if "model on data" in at:
        width = at["run"] - at["model on data"] - 1
        what = f"{row.model} on {row.dataset}"
        if row.message and row.word in EXPLAINED:
            what = row.message
        what = clean_text(what, width, ascii_only=look.is_ascii)
        canvas.put(at["model on data"], line, what, muted(look))
    age = "" if math.isnan(row.changed) else age_text(time.time() - row.changed)
    name = row.path.name.removesuffix(RUN_SUFFIX)
    room = canvas.width - at["run"] - 5
    style = strong(look) if is_focus else PLAIN
    canvas.put(at["run"], line, clean_text(name, room, ascii_only=look.is_ascii), style)
    canvas.put_right(canvas.width, line, age, muted(look))
