"""The list of pairs of classes beside the dance, by rate or by dance score."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from textual.strip import Strip

from lossviz_tui.navigation import moved, pair_chosen
from lossviz_tui.paint.cells import Canvas, Size, clean_text
from lossviz_tui.paint.targets import Lines, Target
from lossviz_tui.panels.texts import accent, muted, strong
from lossviz_tui.scene import Scene
from lossviz_tui.selection import Selection

Choice: TypeAlias = Callable[[Sequence[tuple[int, int]], Scene, int, int], Selection]
"""Answers a click on a line, given the pairs of the lines."""

_NUMBER = 7
"""Columns of a number."""


def pair_list(
    scene: Scene, pair: tuple[int, int], size: Size, choose: Choice = pair_chosen
) -> list[Strip]:
    """Pairs in their order, the shown one marked; where there is room with both numbers."""
    view, look = scene.view, scene.look
    canvas = Canvas(size)
    if view is None:
        return canvas.strips()
    names = view.description.class_names
    by_score = scene.selection.ranking == "score"
    has_both = canvas.width >= 36
    arrow = "<>" if look.is_ascii else "⇄"
    title = "pairs by dance score" if by_score else "pairs by mean rate"
    canvas.put(0, 0, title if has_both else title.removeprefix("pairs "), strong(look))
    heads = ("rate %", "score") if has_both else ("score",) if by_score else ("rate %",)
    for k, text in enumerate(reversed(heads)):
        canvas.put_right(canvas.width - k * _NUMBER, 0, text, muted(look))
    listed = scene.listed_pairs
    places = [k for k, one in enumerate(listed) if {one.first, one.second} == set(pair)]
    room = canvas.height - 1
    first = max(0, min((places[0] if places else 0) - room // 2, len(listed) - room))
    room_for_name = (canvas.width - len(heads) * _NUMBER - 3 - len(arrow)) // 2
    for row, found in enumerate(listed[first : first + room], start=1):
        is_mine = {found.first, found.second} == set(pair)
        one, other = (
            clean_text(names[c], room_for_name, ascii_only=look.is_ascii)
            for c in (found.first, found.second)
        )
        style = accent(look) if is_mine else muted(look)
        canvas.put(0, row, f"{'>' if is_mine else ' '}{one} {arrow} {other}", style)
        rate = "n/a" if math.isnan(found.rate) else f"{100 * found.rate:.2f}"
        score = "n/a" if math.isnan(found.score) else f"{found.score:+.2f}"
        numbers = (rate, score) if has_both else (score,) if by_score else (rate,)
        for k, text in enumerate(reversed(numbers)):
            canvas.put_right(canvas.width - k * _NUMBER, row, text, style)
    shown = [(one.first, one.second) for one in listed[first : first + room]]
    lines = Target(
        left=0,
        top=1,
        width=canvas.width,
        height=len(shown),
        click=partial(choose, shown),
        wheel=moved,
    )
    return Lines(canvas.strips(), [lines])
