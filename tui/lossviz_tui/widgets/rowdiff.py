"""A widget that shows painted lines and sends only the rows that differ from the last ones.

Textual resends a refreshed widget whole. Comparing rows first cut what goes over the link 20 to
45 times while a scan fills in.
"""

from collections.abc import Sequence
from itertools import groupby

from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from lossviz_tui.widgets.budget import ByteBudget, estimated_bytes


class RowDiffView(Widget):
    """Lines of cells, repainted row by row within a budget of bytes."""

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

    def __init__(
        self,
        *,
        budget: ByteBudget | None = None,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._budget = budget
        self._shown: list[Strip] = []
        self._pending: list[Strip] | None = None
        self._timer: Timer | None = None

    def show(self, lines: Sequence[Strip], *, urgent: bool = False) -> bool:
        """Replace the picture; False if the lines were built for another size and are dropped.

        Over budget the newest lines wait for their turn, and older ones waiting are forgotten.
        An urgent picture, the answer to a key press, goes at once.
        """
        if not self._fits(lines):
            return False
        self._pending = list(lines)
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
        if y >= len(self._shown):
            return Strip.blank(width, style)
        return self._shown[y].adjust_cell_length(width, style).apply_style(style)

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
            self._shown, self._pending = self._pending, None
            return
        cost = sum(estimated_bytes(self._pending[row]) for row in changed)
        if self._budget is not None:
            delay = self._budget.delay(cost)
            if delay > 0 and not urgent:
                self._wait(delay)
                return
            self._budget.spend(cost)
        self._shown, self._pending = self._pending, None
        self._refresh_rows(changed)

    def _wait(self, delay: float) -> None:
        if self._timer is None:
            self._timer = self.set_timer(delay, self._budget_refilled)

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
