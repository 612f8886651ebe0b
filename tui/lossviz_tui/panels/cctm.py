"""The CCTM of one epoch, or what it gained on another: who is called what."""

from functools import partial

import numpy as np
from rich.cells import cell_len
from textual.strip import Strip

from lossviz_analysis.classwise.interference import symmetry
from lossviz_analysis.store.fields import StoreError
from lossviz_tui.cctm_tables import Side, Tables, shown_tables
from lossviz_tui.class_order import place_of, shown_classes
from lossviz_tui.navigation import cell_chosen, cell_of_pair_chosen
from lossviz_tui.paint.cells import Canvas, Size, beside, clean_text
from lossviz_tui.paint.colorbar import draw_color_bar
from lossviz_tui.paint.digits import DigitsOptions, digits_fit, digits_table, table_frame
from lossviz_tui.paint.matrix import HeatOptions, color_range, draw_heatmap, placement
from lossviz_tui.paint.palettes import BLUE_ORANGE, EMBER
from lossviz_tui.paint.sampling import Fit
from lossviz_tui.paint.targets import Lines, whole
from lossviz_tui.panels.overview import nothing_counted, waiting
from lossviz_tui.panels.pairs import pair_list
from lossviz_tui.panels.texts import centred, muted, stacked, strong
from lossviz_tui.scene import Scene

HELP = (
    "CCTM(i, j) = K(i, j) / sum_j K(i, j) is the share of the examples of class i (down) that "
    "the model calls j (across), in percent, so the diagonal is the recall, and symmetry is "
    "the Pearson correlation of the entries (i, j) and (j, i), i < j (Diao et al. 2022, sec. "
    "2.1); differences are in percentage points, and clustered classes stand by average "
    "linkage on 1 - (CCTM(i, j) + CCTM(j, i)) / 2."
)
_ORDER_WORDS = {"index": "", "similarity": ", clustered", "recall": ", by recall"}
_BAR_WIDTH = 11
_LIST_WIDTH, _LIST_GAP = 42, 2
_LIST_FROM = 150
"""Cells; beside a narrower table there is no list of pairs."""
_LIST_CLASSES = 200
"""Of more the pairs are not ranked at every step through the epochs; a key finds them too."""
_BAR_FROM = 44
"""Cells; a narrower heat map has no colour bar."""


def paint(scene: Scene, size: Size) -> list[Strip]:
    """A table in percent where it fits, half blocks where not; the entry in focus in words."""
    view, position = scene.view, scene.position
    if view is None or position is None:
        return waiting(scene, size)
    width, height = size
    try:
        tables = shown_tables(scene, view, position)
    except StoreError as error:
        return centred(size, _why_not(scene, str(error)), scene.look)
    if not tables.focus.counts.any():
        return nothing_counted(scene, size)
    classes = shown_classes(scene)
    if not classes.size:
        sentence = f"no class has {scene.selection.class_filter!r} in its name"
        ways = (
            scene.hint("asks for another part", "filter_classes"),
            scene.hint("shows all", "set('back')"),
        )
        return centred(size, [sentence, ", ".join(filter(None, ways))], scene.look)
    values = tables.values()
    is_signed = tables.other is not None
    has_list = width >= _LIST_FROM and 1 < len(classes) <= _LIST_CLASSES and not is_signed
    room = (width - has_list * (_LIST_WIDTH + _LIST_GAP), max(1, height - 2))
    table, part = _table(scene, values, classes, room, is_signed=is_signed)
    if has_list:
        area = (_LIST_WIDTH, room[1])
        pairs = pair_list(scene, scene.cell, area, cell_of_pair_chosen)
        table = beside(stacked(room, table), pairs, gap=_LIST_GAP)
    head = _head(scene, tables, values, classes, part, width)
    return stacked(size, head, table, _read_out(scene, tables, classes, width))


def _why_not(scene: Scene, why: str) -> list[str]:
    if scene.selection.comparison == "rates":
        return [f"epoch {scene.epoch} cannot be read", why]
    return [
        "there is nothing to compare with",
        why,
        scene.hint("shows the CCTM itself", "set('next_comparison')"),
    ]


def _table(
    scene: Scene, values: np.ndarray, classes: np.ndarray, size: Size, *, is_signed: bool
) -> tuple[Lines, str]:
    """The entries, and in words which part of them is in sight; empty: all of them."""
    zoom, count = scene.selection.zoom, len(classes)
    if digits_fit(count, size) or zoom == 2:
        return _digits(scene, values, classes, size, is_signed=is_signed)
    across, down = size[0] - (_BAR_WIDTH if size[0] >= _BAR_FROM else 0), size[1]
    if not scene.look.is_ascii and scene.look.has_palette:
        down *= 2
    with_diagonal = scene.selection.color_diagonal
    ends = _ends(
        values[np.ix_(classes, classes)], is_signed=is_signed, with_diagonal=with_diagonal
    )
    if zoom == 0 or count <= min(across, down):
        picture = _heat(scene, values, (classes, classes), ends, size, is_signed=is_signed)
        kind = "largest changes" if is_signed else "largest entries"
        if count <= min(across, down):
            return picture, ""
        zooms = scene.hint("zooms", "set('next_zoom')")
        return picture, "; ".join(filter(None, (kind, zooms)))
    rows, columns = (
        _window(place_of(classes, wanted), count, room)
        for wanted, room in zip(scene.cell, (down, across), strict=True)
    )
    part = (classes[rows], classes[columns])
    picture = _heat(scene, values, part, ends, size, is_signed=is_signed, fit="stretch")
    return picture, _part(rows, columns, count)


def _digits(
    scene: Scene, values: np.ndarray, classes: np.ndarray, size: Size, *, is_signed: bool
) -> tuple[Lines, str]:
    look, view = scene.look, scene.view
    all_names: tuple[str, ...] = () if view is None else view.description.class_names
    numbers: list[int] = classes.tolist()
    names = [all_names[c] for c in numbers]
    count = len(names)
    places = tuple(place_of(classes, wanted) for wanted in scene.cell)
    ordered = values[np.ix_(classes, classes)]
    with_diagonal = is_signed and scene.selection.color_diagonal
    low, high = _ends(ordered, is_signed=is_signed, with_diagonal=with_diagonal)
    options = DigitsOptions(
        palette=BLUE_ORANGE if is_signed else EMBER,
        low=low,
        high=high,
        signed=is_signed,
        color_diagonal=scene.selection.color_diagonal,
        cursor=(places[0], places[1]),
    )
    frame = table_frame((count, count), names, size, options)
    rows, columns = (
        _window(place, count, len(shown))
        for place, shown in zip(places, (frame.rows, frame.columns), strict=True)
    )
    options = options.scrolled(rows.start, columns.start)
    lines = digits_table(ordered, names, names, size, look=look, options=options)
    frame = table_frame((count, count), names, size, options)
    choose = partial(cell_chosen, frame.entry_at, numbers, numbers)
    part = _part(rows, columns, count) if len(frame.rows) < count else ""
    return Lines(lines, [whole(size, choose, opens=True)]), part


def _heat(
    scene: Scene,
    values: np.ndarray,
    part: tuple[np.ndarray, np.ndarray],
    ends: tuple[float, float],
    size: Size,
    *,
    is_signed: bool,
    fit: Fit = "square",
) -> Lines:
    """Half blocks, or shades, of some rows and columns, and a colour bar of percents."""
    look, canvas, (rows, columns) = scene.look, Canvas(size), part
    shown = 100 * values[np.ix_(rows, columns)]
    is_known = np.ones(shown.shape, np.bool_)
    if not scene.selection.color_diagonal:
        is_known = rows[:, None] != columns[None, :]
    cell = scene.cell
    options = HeatOptions(
        palette=BLUE_ORANGE if is_signed else EMBER,
        low=100 * ends[0],
        high=100 * ends[1],
        signed=is_signed,
        reduction="extreme" if is_signed else "max",
        cursor=(place_of(rows, cell[0]), place_of(columns, cell[1])),
        fit=fit,
    )
    width = size[0] - (_BAR_WIDTH if size[0] >= _BAR_FROM else 0)
    area = (0, 0, width, size[1])
    draw_heatmap(canvas, area, shown, look=look, options=options, known=is_known)
    place = placement(shown.shape, area, look=look, options=options)
    if place is None:
        return Lines(canvas.strips())
    if width < size[0]:
        bar = (place.width + 2, 0, _BAR_WIDTH - 2, place.height)
        limits = color_range(shown, options, is_known)
        draw_color_bar(
            canvas, bar, limits, look=look, palette=options.palette, signed=is_signed
        )
    choose = partial(cell_chosen, place.entry_at, rows.tolist(), columns.tolist())
    target = whole(size, choose, opens=True)
    return Lines(canvas.strips(), [target])


def _ends(values: np.ndarray, *, is_signed: bool, with_diagonal: bool) -> tuple[float, float]:
    """Values of the first and the last colour: from 0 on, or as far below 0 as above."""
    counted = np.isfinite(values)
    if not with_diagonal:
        counted &= ~np.eye(len(values), dtype=np.bool_)
    largest = float(np.abs(values[counted]).max(initial=0.0)) or 1.0
    return (-largest if is_signed else 0.0), largest


def _window(place: int, count: int, room: int) -> slice:
    """The part of a row or column in sight; it moves by half of itself, not by every step."""
    step = max(1, room // 2)
    start = place // step * step - step // 2
    start = min(max(0, start), max(0, count - room))
    return slice(start, min(count, start + max(1, room)))


def _part(rows: slice, columns: slice, count: int) -> str:
    down, across = (f"{part.start + 1:,}-{part.stop:,}" for part in (rows, columns))
    return f"rows {down}, columns {across} of {count:,}"


def _head(
    scene: Scene,
    tables: Tables,
    values: np.ndarray,
    classes: np.ndarray,
    part: str,
    width: int,
) -> list[Strip]:
    """What is shown; then which part of it, or one number about all of it."""
    canvas = Canvas((width, 1))
    text = f"{tables.title}, {tables.unit}{_ORDER_WORDS[scene.selection.order]}"
    if len(classes) < len(values):
        text += f", {len(classes):,} of {len(values):,} classes"
    text = clean_text(text, width, ascii_only=scene.look.is_ascii)
    canvas.put(0, 0, text, strong(scene.look))
    words = part or _summary(tables, values)
    for said in (f"true class down, called across; {words}", words):
        if len(text) + len(said) + 2 <= width:
            canvas.put_right(width, 0, said, muted(scene.look))
            break
    return canvas.strips()


def _summary(tables: Tables, values: np.ndarray) -> str:
    """One number about the whole table."""
    if tables.other is None:
        found = symmetry(values)
        return "symmetry n/a" if not np.isfinite(found) else f"symmetry {found:.3f}"
    gains = np.diagonal(values)
    gains = gains[np.isfinite(gains)]
    return f"mean recall {100 * gains.mean():+.2f}" if gains.size else "mean recall n/a"


def _read_out(scene: Scene, tables: Tables, classes: np.ndarray, width: int) -> list[Strip]:
    """The entry in focus: names, count, percent."""
    canvas = Canvas((width, 1))
    if scene.view is None:
        return canvas.strips()
    i, j = (int(classes[place_of(classes, wanted)]) for wanted in scene.cell)
    names = scene.view.description.class_names
    true, predicted = (clean_text(names[c], 20, ascii_only=scene.look.is_ascii) for c in (i, j))
    verb = "called" if i != j else "rightly called"
    words = f"{true} {verb} {predicted}: "
    focus, other = tables.focus, tables.other
    if other is None:
        words += f"{_count(focus, i, j)}, {_percent(focus, i, j, 'no examples')}"
    else:
        gain = 100 * (_share(focus, i, j) - _share(other, i, j))
        words += "no examples" if np.isnan(gain) else f"{gain:+.2f} points"
        sides = (focus, other)
        short = ", ".join(f"{side.name} {_percent(side, i, j, '-')}" for side in sides)
        long = "; ".join(
            f"{side.name}: {_count(side, i, j)}, {_percent(side, i, j, '-')}" for side in sides
        )
        words += f" ({long if cell_len(words + long) + 3 <= width else short})"
    canvas.put(0, 0, clean_text(words, width, ascii_only=scene.look.is_ascii))
    return canvas.strips()


def _share(side: Side, true: int, predicted: int) -> float:
    total = int(side.counts[true].sum())
    return int(side.counts[true, predicted]) / total if total else float("nan")


def _count(side: Side, true: int, predicted: int) -> str:
    return f"{int(side.counts[true, predicted])} of {int(side.counts[true].sum())}"


def _percent(side: Side, true: int, predicted: int, missing: str) -> str:
    share = _share(side, true, predicted)
    return missing if np.isnan(share) else f"{100 * share:.2f} %"
