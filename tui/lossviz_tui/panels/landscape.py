"""Scans: their queue, and the one in focus as a curve, a plane, small multiples or a cut."""

import textwrap
from collections.abc import Sequence

import numpy as np
from textual.strip import Strip

from lossviz_analysis.store.results import SplitResult
from lossviz_analysis.surfaces.curves import chance_loss
from lossviz_analysis.surfaces.cut import cut
from lossviz_tui.paint.cells import Canvas, Size, beside, blank_lines, clean_text, text_line
from lossviz_tui.paint.charts import ChartOptions, LevelLine, Series, line_chart
from lossviz_tui.paint.matrix import EntryMark, HeatOptions
from lossviz_tui.paint.palettes import VIRIDIS
from lossviz_tui.paint.plane import Plane, PlaneOptions, plane_picture
from lossviz_tui.panels.class_surfaces import similarity_matrix, small_multiples
from lossviz_tui.panels.texts import (
    accent,
    age_text,
    centred,
    muted,
    stacked,
    state_text,
    strong,
    title_line,
)
from lossviz_tui.scene import ScanPicture, ScanRow, Scene

HELP = (
    "The model at w* + t1 d1 + t2 d2. In an ego plane the directions are minus the gradients "
    "of two classes, so a positive coordinate descends for that class (Diao et al. 2022, sec."
    " 3); ┼ is the model, ◆ the lowest point. Cells still dotted are not computed; the others"
    " sharpen as more examples are seen."
)
_LIST_WIDTH = 36
_FACTS_WIDTH = 40


def paint(scene: Scene, size: Size) -> list[Strip]:
    """The list of scans and the one in focus."""
    if scene.view is None:
        return centred(size, ["opening the run"], scene.look)
    if not scene.scans:
        sentences = ["no scans yet", "press s to ask for one"]
        return centred(size, sentences, scene.look)
    width, height = size
    if width >= 130:
        side = _list(scene, (_LIST_WIDTH, height))
        return beside(side, _focus(scene, (width - _LIST_WIDTH - 2, height)), gap=2)
    rows = min(len(scene.scans) + 1, 4)
    return stacked(
        size, _list(scene, (width, rows)), _focus(scene, (width, max(1, height - rows)))
    )


def _list(scene: Scene, size: Size) -> list[Strip]:
    """The scans, newest first, the one in focus marked."""
    canvas = Canvas(size)
    look, focus = scene.look, scene.scan
    rows = list(reversed(scene.scans))
    place = next((k for k, row in enumerate(rows) if row is focus), 0)
    room = canvas.height - 1
    first = max(0, min(place - room // 2, len(rows) - room))
    canvas.put(0, 0, "scans", strong(look))
    canvas.put_right(canvas.width, 0, f"{place + 1} of {len(rows)}", muted(look))
    for line, row in enumerate(rows[first : first + room], start=1):
        style = accent(look) if row is focus else muted(look)
        if row is focus:
            canvas.put(0, line, ">", style)
        text, state_style = state_text(row.word, look)
        share = f" {100 * row.share:.0f}%" if row.word == "running" else ""
        canvas.put_right(canvas.width, line, text + share, state_style)
        name = clean_text(
            scan_name(scene, row),
            canvas.width - len(text + share) - 3,
            ascii_only=look.is_ascii,
        )
        canvas.put(1, line, name, style)
    return canvas.strips()


def scan_name(scene: Scene, row: ScanRow) -> str:
    """A scan in a few words: kind, classes, span, epoch, points."""
    request = row.request
    if request is None or scene.view is None:
        return row.scan_id
    names = scene.view.description.class_names
    classes = "/".join(clean_text(names[c], 8) for c in request.classes if c < len(names))
    grid = "x".join(str(n) for n in request.points)
    low, high = request.ranges[0]
    plus_minus = "+-" if scene.look.is_ascii else "±"
    span = f"{plus_minus}{high:g}" if low == -high else f"{low:g}..{high:g}"
    words = (request.kind, classes, span, f"e{request.epoch}", grid)
    return " ".join(word for word in words if word)


def _focus(scene: Scene, size: Size) -> list[Strip]:
    """The scan in focus, or why there is nothing to see of it."""
    row, picture = scene.scan, scene.picture
    if row is None:
        return blank_lines(size)
    if picture is None or picture.scan_id != row.scan_id:
        return centred(size, _why_empty(scene, row), scene.look)
    width, height = size
    notes = _progress_notes(row)
    if row.word in ("failed", "damaged"):
        notes.insert(0, row.message)
    lines = [
        title_line(clean_text(text, width, ascii_only=scene.look.is_ascii), width, scene.look)
        for text in notes
    ]
    area = (width, max(1, height - len(lines)))
    if len(picture.result.coordinates) == 1:
        body = _curve(scene, picture, area)
    else:
        match scene.selection.mode:
            case "plane":
                body = _plane(scene, picture, area)
            case "classes":
                body = small_multiples(scene, picture, area)
            case "cut":
                body = _cut(scene, picture, area)
            case "similarity":
                body = similarity_matrix(scene, picture, area)
    return stacked(size, lines, body)


def _why_empty(scene: Scene, row: ScanRow) -> list[str]:
    match row.word:
        case "queued":
            up = scene.standing is not None and scene.standing.worker_is_up
            waits = "another scan comes first" if up else "the scan worker is starting"
            return ["waiting for the worker", waits]
        case "running":
            return ["computing the directions", "the first cells appear in a moment"]
        case "failed" | "damaged":
            return [f"the scan {row.word}", clean_text(row.message, 200)]
        case _:
            return [f"the scan is {row.word}", ""]


def _progress_notes(row: ScanRow) -> list[str]:
    """Progress, rate and time left of a scan under way."""
    if row.word not in ("running", "interrupted"):
        return []
    text = f"{row.word}, {row.done}/{row.total} chunks"
    if row.word == "running" and row.items_per_second > 0:
        left = (row.total - row.done) / row.items_per_second
        text += f", {row.items_per_second:.1f} a second, {age_text(left)} left"
    if row.word == "interrupted":
        text += "; r goes on from here"
    return [text]


def _values(scene: Scene, split: SplitResult) -> tuple[np.ndarray, str]:
    """The chosen quantity over the grid and its name with unit; NaN where unknown."""
    if scene.selection.quantity == "mistakes":
        return np.where(split.is_known, 100 * split.mistake_rate, np.nan), "mistakes %"
    return np.where(split.is_known, split.loss, np.nan), "cross-entropy"


def _axis_label(scene: Scene, picture: ScanPicture, axis: int) -> str:
    spec = picture.request.directions[axis]
    names = picture.result.geometry.class_names
    if spec.class_index is not None and spec.class_index < len(names):
        return clean_text(f"ego {names[spec.class_index]}", 20, ascii_only=scene.look.is_ascii)
    return spec.kind if spec.seed is None else f"{spec.kind} {spec.seed}"


def _plane(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    """The plane of the first split, its facts and the cut beside it where there is room."""
    width, height = size
    facts = _FACTS_WIDTH if width >= 84 else 34 if width >= 76 else 0
    area = (width - facts - (2 if facts else 0), height - (0 if facts else 1))
    name, split = next(iter(picture.result.splits.items()))
    values, label = _values(scene, split)
    t1, t2 = picture.result.coordinates
    marks = [EntryMark(row=int(np.argmin(abs(t1))), column=int(np.argmin(abs(t2))))]
    if np.isfinite(values).any():
        lowest = np.unravel_index(int(np.nanargmin(values)), values.shape)
        marks.append(EntryMark(row=int(lowest[0]), column=int(lowest[1]), kind="minimum"))
    heat = HeatOptions(
        palette=VIRIDIS,
        origin="lower",
        log=scene.selection.log,
        marks=marks,
        contours=_contours(scene, values, 4 if height >= 24 else 2),
    )
    options = PlaneOptions(
        heat=heat,
        title=name,
        value_label=label,
        row_label=_axis_label(scene, picture, 0),
        column_label=_axis_label(scene, picture, 1),
    )
    plane = Plane(
        values=values, row_coordinates=t1, column_coordinates=t2, known=split.is_known
    )
    left = plane_picture(plane, area, look=scene.look, options=options)
    if facts:
        return beside(left, _facts(scene, picture, (facts, height)), gap=2)
    words = clean_text("; ".join(picture.facts), width, ascii_only=scene.look.is_ascii)
    return stacked(size, left, [text_line(words, width, muted(scene.look))])


def _contours(scene: Scene, values: np.ndarray, count: int) -> tuple[float, ...]:
    """So many levels between the smallest and the largest value."""
    finite = values[np.isfinite(values)]
    if not scene.selection.contours or finite.size < 9 or finite.min() == finite.max():
        return ()
    if scene.selection.log and finite.min() > 0:
        return tuple(np.geomspace(finite.min(), finite.max(), count + 2)[1:-1].tolist())
    return tuple(np.linspace(finite.min(), finite.max(), count + 2)[1:-1].tolist())


def _facts(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    """What is known of the scan, then the cut through the centre."""
    width, height = size
    request = picture.request
    head = (
        f"{request.batch_norm} BN, {request.precision}",
        ", ".join(f"{n} {picture.result.geometry.examples[n]} images" for n in request.splits),
    )
    lines = [
        text_line(
            clean_text(part, width, ascii_only=scene.look.is_ascii), width, muted(scene.look)
        )
        for text in (*head, *picture.facts)
        for part in textwrap.wrap(text, width)
    ]
    room = height - len(lines) - 1
    if room < 8:
        return stacked(size, lines)
    return stacked(size, lines, blank_lines((width, 1)), _cut(scene, picture, (width, room)))


def _cut(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    """The profile through the centre at the chosen angle."""
    t1, t2 = picture.result.coordinates
    degrees = scene.selection.cut_degrees
    series: list[Series] = []
    label = ""
    for k, (name, split) in enumerate(picture.result.splits.items()):
        values, label = _values(scene, split)
        profile = cut(values, t1, t2, float(degrees))
        series.append(Series(label=name, x=profile.s, y=profile.value, color_index=k))
    options = ChartOptions(
        title=f"cut at {degrees:.0f} degrees",
        y_label=label,
        x_label="distance",
        integer_x=False,
        log_y=scene.selection.log,
        cursor_x=0.0,
        empty_text="not computed yet",
    )
    return line_chart(series, size, look=scene.look, options=options)


def _curve(scene: Scene, picture: ScanPicture, size: Size) -> list[Strip]:
    """A 1D scan: cross-entropy with the line of chance, mistake rate below it, then facts."""
    width, height = size
    t = picture.result.coordinates[0]
    facts = [
        title_line(clean_text(text, width, ascii_only=scene.look.is_ascii), width, scene.look)
        for text in ("; ".join(picture.facts[:4]), *picture.facts[4:])
    ][: max(0, height - 8)]
    room = height - len(facts)
    # Below six rows a chart has no title, and two without titles say nothing.
    top = room if room < 12 else room - max(6, 2 * room // 5)
    chance = LevelLine(
        y=chance_loss(len(picture.result.geometry.class_names)), label="chance, log C"
    )
    losses, mistakes = (
        [
            Series(label=name, x=t, y=values(split), color_index=k)
            for k, (name, split) in enumerate(picture.result.splits.items())
        ]
        for values in (_known_loss, _known_mistakes)
    )
    axis = _axis_label(scene, picture, 0)
    loss = ChartOptions(
        title="cross-entropy",
        y_limits=_with_chance([one.y for one in losses], chance.y, log=scene.selection.log),
        x_label=axis,
        integer_x=False,
        log_y=scene.selection.log,
        h_lines=(chance,),
        cursor_x=0.0,
        empty_text="not computed yet",
    )
    rate = ChartOptions(
        title="mistakes",
        y_label="%",
        x_label=axis,
        integer_x=False,
        cursor_x=0.0,
        empty_text="",
    )
    return stacked(
        size,
        line_chart(losses, (width, top), look=scene.look, options=loss),
        line_chart(mistakes, (width, room - top), look=scene.look, options=rate),
        facts,
    )


def _with_chance(
    curves: Sequence[np.ndarray], chance: float, *, log: bool
) -> tuple[float, float] | None:
    """Limits that hold the curves and the line of chance, with a little air."""
    values = np.concatenate([chance * np.ones(1), *(curve.ravel() for curve in curves)])
    finite = values[np.isfinite(values) & (values > 0)] if log else values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        return None
    if log:
        return low / 1.2, high * 1.2
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def _known_loss(split: SplitResult) -> np.ndarray:
    return np.where(split.is_known, split.loss, np.nan)


def _known_mistakes(split: SplitResult) -> np.ndarray:
    return np.where(split.is_known, 100 * split.mistake_rate, np.nan)
