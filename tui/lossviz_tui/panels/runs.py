"""The list of runs."""

import math
import time
from functools import partial
from pathlib import Path

import numpy as np
from rich.cells import cell_len
from textual.strip import Strip

from lossviz_analysis.store.schema import RUN_SUFFIX
from lossviz_tui.navigation import moved, run_chosen
from lossviz_tui.paint.cells import PLAIN, Canvas, Size, clean_text
from lossviz_tui.paint.charts import ChartOptions, Series, line_chart
from lossviz_tui.paint.palettes import category_style, marker_for
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
from lossviz_tui.selection import OPEN_SLOT

HELP = (
    "Each line is a run below the folder, newest change first, with its state, epochs, the "
    "best of its test accuracies (sum_i K(i, i) / sum_ij K(i, j), K the counts behind the CCTM "
    "of Diao et al. 2022, sec. 2.1) and their course; it is stalled when its writer has been "
    "silent for half a minute, crashed when nobody holds its lock though it never said it had "
    "ended."
)

_MIN_PREVIEW = 9
"""Rows of a chart of the run in focus; where there are fewer below the list there is none."""


def paint(scene: Scene, size: Size) -> list[Strip]:
    """One line for each run, the one in focus marked."""
    if not scene.runs:
        starts = scene.hint("starts a training", "train")
        sentences = [
            f"no runs below {clean_text(str(scene.folder), 60)}",
            f"{starts}; so do lossviz-tui train and lossviz-tui demo"
            if starts
            else "start one with: lossviz-tui train, or lossviz-tui demo",
            "it will appear here by itself",
        ]
        return centred(size, sentences, scene.look)
    rows = scene.shown_runs
    if not rows:
        sentences = [
            f"no run matches {_quoted(scene)}",
            scene.hint("shows all of them", "set('back')"),
        ]
        return centred(size, sentences, scene.look)
    canvas = Canvas(size)
    for text, column in _places(canvas.width).items():
        canvas.put(column, 0, text, muted(scene.look))
    focus = min(scene.selection.run_row, len(rows) - 1)
    room = canvas.height - 2
    first = max(0, min(focus - room // 2, len(rows) - room))
    slots = {mark.path: mark.slot for mark in scene.selection.marks}
    for line, row in enumerate(rows[first : first + room]):
        _draw(canvas, 1 + line, row, scene, slots, is_focus=first + line == focus)
    _draw_foot(canvas, scene, rows[focus].message)
    lines = canvas.strips()
    used = 1 + len(rows[first : first + room])
    if canvas.height - 1 - used >= _MIN_PREVIEW:
        chart = _preview(scene, rows, focus, (canvas.width, canvas.height - 2 - used))
        stop = canvas.height - 1
        lines = [*lines[: stop - len(chart)], *chart, *lines[stop:]]
    choose = Target(
        left=0,
        top=1,
        width=canvas.width,
        height=len(rows[first : first + room]),
        click=partial(run_chosen, [row.path for row in rows[first : first + room]]),
        opens=True,
        wheel=moved,
    )
    return Lines(lines, [choose])


def _preview(scene: Scene, rows: tuple[RunRow, ...], focus: int, size: Size) -> list[Strip]:
    """The course of the run in focus, and of those that are marked."""
    slots = {mark.path: mark.slot for mark in scene.selection.marks}
    drawn = [row for row in rows if row.path in slots and row is not rows[focus]]
    series = [
        Series(
            label=row.path.name.removesuffix(RUN_SUFFIX),
            x=np.arange(1.0, len(row.trend) + 1),
            y=100 * row.trend,
            color_index=slots.get(row.path, OPEN_SLOT),
            bold=row is rows[focus],
            marked=bool(slots),
        )
        for row in (rows[focus], *drawn)
    ]
    options = ChartOptions(
        title="test accuracy",
        y_label="%",
        x_label="record",
        legend="header",
        empty_text="no epoch is recorded yet",
    )
    return line_chart(series, size, look=scene.look, options=options)


def _quoted(scene: Scene) -> str:
    text = clean_text(scene.selection.run_filter, 40, ascii_only=scene.look.is_ascii)
    return f'"{text}"'


def _draw_foot(canvas: Canvas, scene: Scene, message: str) -> None:
    """What the run in focus has to say; how many are listed and marked."""
    look, selection = scene.look, scene.selection
    parts: list[str] = []
    if selection.run_filter:
        parts.append(f"{len(scene.shown_runs)} of {len(scene.runs)} match {_quoted(scene)}")
    if selection.marks:
        parts.append(f"{len(selection.marks)} marked, drawn together in Overview and Dance")
    right = clean_text(", ".join(parts), canvas.width, ascii_only=look.is_ascii)
    canvas.put_right(canvas.width, canvas.height - 1, right, muted(look))
    room = canvas.width - cell_len(right) - (2 if right else 0)
    text = clean_text(message, room, ascii_only=look.is_ascii)
    canvas.put(0, canvas.height - 1, text, accent(look))


def _places(width: int) -> dict[str, int]:
    """Where each column begins; the name, which says most, goes last and is never left out."""
    places = {"state": 2, "epochs": 15, "best": 25}
    if width >= 76:
        places["trend"] = 35
    if width >= 110:
        places["model on data"] = 57
    return places | {"run": 95 if width >= 110 else 47 if width >= 76 else 35}


def _draw(
    canvas: Canvas,
    line: int,
    row: RunRow,
    scene: Scene,
    slots: dict[Path, int],
    *,
    is_focus: bool,
) -> None:
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
    start = at["run"]
    if slots:  # room for the glyphs, in every line, so that the names stay below one another
        if row.path in slots:
            slot = slots[row.path]
            canvas.put(start, line, marker_for(look, slot), category_style(look, slot))
        start += 2
    style = strong(look) if is_focus else PLAIN
    room = canvas.width - start - 5
    canvas.put(start, line, clean_text(name, room, ascii_only=look.is_ascii), style)
    canvas.put_right(canvas.width, line, age, muted(look))
