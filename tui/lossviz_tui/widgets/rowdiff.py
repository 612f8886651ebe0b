"""A widget that shows painted lines and sends only the rows that differ from the last ones.

Textual resends a refreshed widget whole. Comparing rows first cut what goes over the link 20 to
45 times while a scan fills in.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby

from rich.segment import Segment
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from lossviz_tui.paint.targets import Target, targets_of
from lossviz_tui.widgets.budget import ByteBudget, estimated_bytes


class RowDiffView(Widget):
    """Lines of cells, repainted row by row within a budget of bytes."""

    ALLOW_SELECT = False
    """Of cells that are drawn nothing can be selected; dragging over them costs no bytes."""

    class SizeChanged(Message):
        """The view has a new size; its lines have to be painted again for it."""

        def __init__(self, view: "RowDiffView", size: Size) -> None:
            self.view = view
            self.size = size
            super().__init__()

        @property
        def control(self) -> "RowDiffView":
            """The view, so that `@on` can select by it."""
            return self.view

    class Clicked(Message):
        """A target was clicked, at a cell counted from its upper left corner."""

        def __init__(self, target: Target, x: int, y: int, *, is_double: bool) -> None:
            self.target = target
            self.x = x
            self.y = y
            self.is_double = is_double
            super().__init__()

    class Wheeled(Message):
        """The wheel was turned, over a target or beside all of them; 1 is down, -1 up."""

        def __init__(self, target: Target | None, step: int) -> None:
            self.target = target
            self.step = step
            super().__init__()

    def __init__(
        self,
        *,
        budget: ByteBudget | None = None,
        placeholder: str = "",
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._budget = budget
        self.placeholder = placeholder
        """What stands there before the first picture."""
        self._shown: list[Strip] = []
        self._pending: list[Strip] | None = None
        self._pending_targets: tuple[Target, ...] = ()
        self._targets: tuple[Target, ...] = ()
        self._timer: asyncio.TimerHandle | None = None

    def show(self, lines: Sequence[Strip], *, urgent: bool = False) -> bool:
        """Replace the picture; False if the lines were built for another size and are dropped.

        Over budget the newest lines wait for their turn, and older ones waiting are forgotten.
        An urgent picture, the answer to a key press, goes at once.
        """
        if not self._fits(lines):
            return False
        self._pending, self._pending_targets = list(lines), targets_of(lines)
        self._paint_pending(urgent=urgent)
        return True

    @property
    def is_waiting(self) -> bool:
        """Whether a picture waits for the budget."""
        return self._pending is not None

    def painted_size_changed(self, size: Size) -> None:
        """Called when lines of another size are needed; posts SizeChanged unless overridden."""
        self.post_message(self.SizeChanged(self, size))

    def render_line(self, y: int) -> Strip:
        """One row in the widget's own colours where the painter left them open."""
        style = self.visual_style.rich_style
        width = self.content_size.width
        if not self._shown and y == 0:
            return Strip([Segment(self.placeholder, style)]).adjust_cell_length(width, style)
        if y >= len(self._shown):
            return Strip.blank(width, style)
        return self._shown[y].adjust_cell_length(width, style).apply_style(style)

    def on_click(self, event: events.Click) -> None:
        """Tell which target was clicked, by the picture on the screen."""
        found = self._target(event, lambda one: one.click is not None)
        if found is not None and event.button == 1:
            self.post_message(self.Clicked(*found, is_double=event.chain == 2))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Tell what the wheel was turned over."""
        self._wheeled(event, 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Tell what the wheel was turned over."""
        self._wheeled(event, -1)

    def _wheeled(self, event: events.MouseEvent, step: int) -> None:
        event.stop()
        found = self._target(event, lambda one: one.wheel is not None)
        self.post_message(self.Wheeled(found[0] if found else None, step))

    def _target(
        self, event: events.MouseEvent, answers: Callable[[Target], bool]
    ) -> tuple[Target, int, int] | None:
        """The uppermost target that answers under the mouse, and the cell within it."""
        at = event.get_content_offset(self)
        if at is None:
            return None
        for one in reversed(self._targets):
            if answers(one) and one.holds(*at):
                return one, at.x - one.left, at.y - one.top
        return None

    def on_resize(self) -> None:
        """Forget a waiting picture of the old size and ask for one of the new."""
        if self._pending is not None and not self._fits(self._pending):
            self._pending = None
        self.painted_size_changed(self.content_size)

    def _fits(self, lines: Sequence[Strip]) -> bool:
        width, height = self.content_size
        return len(lines) == height and all(line.cell_length == width for line in lines)

    def _paint_pending(self, *, urgent: bool = False) -> None:
        if self._pending is None:
            return
        changed = changed_rows(self._shown, self._pending)
        if not changed:
            self._take_pending(self._pending)
            return
        cost = sum(estimated_bytes(self._pending[row]) for row in changed)
        if self._budget is not None:
            delay = self._budget.delay(cost)
            if delay > 0 and not urgent:
                self._wait(delay)
                return
            self._budget.spend(cost)
        self._take_pending(self._pending)
        self._refresh_rows(changed)

    def _take_pending(self, lines: list[Strip]) -> None:
        self._shown, self._pending, self._targets = lines, None, self._pending_targets

    def _wait(self, delay: float) -> None:
        if self._timer is None:
            # Not `set_timer`: a busy machine loses its short ones.
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay, self.call_next, self._budget_refilled)

    def _budget_refilled(self) -> None:
        self._timer = None
        self._paint_pending()

    def _refresh_rows(self, rows: Sequence[int]) -> None:
        width = self.content_size.width
        runs = groupby(enumerate(rows), key=lambda pair: pair[1] - pair[0])
        regions: list[Region] = []
        for _, run in runs:
            members = [row for _, row in run]
            regions.append(Region(0, members[0], width, len(members)))
        if regions:
            self.refresh(*regions)


def changed_rows(old: Sequence[Strip], new: Sequence[Strip]) -> list[int]:
    """Indices of the new lines that differ from the old ones; every one beyond the old."""
    return [row for row, line in enumerate(new) if row >= len(old) or line != old[row]]
