"""The screen without an app: a run as it stands, read whole and painted once.

The stage, the tail and the painters are the app's own, so that what a command writes is what
the app would show.
"""

from pathlib import Path

from textual.message import Message
from textual.strip import Strip

from lossviz_analysis.store.fields import StoreError
from lossviz_tui.paint.cells import Size
from lossviz_tui.paint.palettes import Look
from lossviz_tui.scene import Scene
from lossviz_tui.selection import Selection
from lossviz_tui.stage import STATUS_ROWS, Stage


class Still:
    """One run as it stands."""

    def __init__(self, run: Path, look: Look) -> None:
        self._inbox: list[Message] = []
        self._look = look
        self.stage = Stage(run, look, self._inbox.append)

    def look_at(self, selection: Selection) -> Scene:
        """Look at something of the run, with everything read that it shows.

        Raises StoreError when the run cannot be read, or has no such epoch or scan.
        """
        self.stage.select(selection)
        self._settle()
        scene = self.stage.scene
        if scene.view is None:
            raise StoreError(scene.trouble or "the run cannot be read")
        if selection.epoch is not None and selection.epoch not in scene.view.epochs:
            raise StoreError(f"epoch {selection.epoch} of {scene.view.path} is not recorded")
        wanted = selection.scan_id
        if wanted is not None and wanted not in {row.scan_id for row in scene.scans}:
            raise StoreError(f"{scene.view.path} has no scan {wanted!r}")
        return scene

    def lines(self, size: Size) -> list[Strip]:
        """Status and view, `size` cells in all, as the app would show them."""
        width, height = size
        area = (width, max(0, height - STATUS_ROWS))
        self.stage.paint(area)  # which says what else has to be read
        self._settle()
        status = self.stage.paint_status((width, min(height, STATUS_ROWS)))
        return [*status, *self.stage.paint(area)]

    def _settle(self) -> None:
        """Read until there is nothing left to read."""
        has_more = True
        while has_more:
            has_more = self.stage.tail.step()
            for message in self._inbox:
                self.stage.take(message)
            self._inbox.clear()
