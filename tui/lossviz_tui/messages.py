"""What happened, as threads tell the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from textual.strip import Strip

    from lossviz_tui.gpus import GpuSample
    from lossviz_tui.history import RunView
    from lossviz_tui.listing import RunRow, ScanRow
    from lossviz_tui.overlay import Overlay
    from lossviz_tui.scene import ScanPicture, Standing


class Replaceable(Message):
    """A message that only says how things stand now: a slow screen sees the newest."""

    def can_replace(self, message: Message) -> bool:
        """Whether this one makes a waiting one superfluous."""
        return type(message) is type(self)


class RunsListed(Replaceable):
    """The list of runs was read again."""

    def __init__(self, runs: tuple[RunRow, ...]) -> None:
        self.runs = runs
        super().__init__()


class OverlaysAdvanced(Replaceable):
    """Of the runs marked to be drawn together more was read, or others are marked."""

    def __init__(self, overlays: tuple[Overlay, ...]) -> None:
        self.overlays = overlays
        super().__init__()


class GpusSampled(Replaceable):
    """The GPUs were asked again what they do."""

    def __init__(self, gpus: tuple[GpuSample, ...]) -> None:
        self.gpus = gpus
        super().__init__()


class RunAdvanced(Replaceable):
    """Records were committed, or a run was opened."""

    def __init__(self, run: Path, view: RunView) -> None:
        self.run = run
        self.view = view
        super().__init__()


class RowsRead(Replaceable):
    """More rows of confusion matrices were read, which a view waits for."""


class RunStirred(Replaceable):
    """The run's standing or its sign of life changed."""

    def __init__(self, run: Path, standing: Standing) -> None:
        self.run = run
        self.standing = standing
        super().__init__()


class ScansListed(Replaceable):
    """A scan was asked for, got on, or ended."""

    def __init__(self, run: Path, scans: tuple[ScanRow, ...]) -> None:
        self.run = run
        self.scans = scans
        super().__init__()


class ScanFilled(Replaceable):
    """Cells of the scan in focus were committed, or another scan came into focus."""

    def __init__(
        self,
        run: Path,
        picture: ScanPicture | None,
        siblings: tuple[ScanPicture, ...] = (),
        beside: ScanPicture | None = None,
        unreadable: Mapping[str, str] | None = None,
    ) -> None:
        self.run = run
        self.picture = picture
        self.siblings = siblings
        self.beside = beside
        self.unreadable = unreadable or {}
        """Of scans that have no picture because their cells are damaged: why, by id."""
        super().__init__()


class TroubleChanged(Replaceable):
    """The store could not be read, with a sentence; or it can again, with none."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__()


class DeedDone(Message):
    """Something that took a while was done, or could not be, with a sentence about it."""

    def __init__(self, sentence: str, *, is_warning: bool) -> None:
        self.sentence = sentence
        self.is_warning = is_warning
        super().__init__()


class Painted(Message):
    """Lines for the status and the view were painted on a thread."""

    def __init__(
        self, number: int, status: list[Strip], view: list[Strip], urgent: bool
    ) -> None:
        self.number = number
        self.status = status
        self.view = view
        self.urgent = urgent
        super().__init__()
