"""Marked runs, read beside the open one so that their curves can be drawn together."""

from dataclasses import dataclass
from pathlib import Path

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_tui.history import RunHistory, RunView

OVERLAY_BYTES = 8 * 2**20
"""For recalls and notes of one marked run; beyond it they are kept for every second epoch,
every fourth, ... Its scalars, some hundred bytes an epoch, are kept whole, its matrices never.
"""
TELL_SECONDS = 1.0
"""At most so often it is told that more of what is there already has been read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlay:
    """A marked run as far as it is read."""

    path: Path
    view: RunView | None = None
    """None before it could be read."""
    trouble: str = ""
    """Why it cannot be read now."""


@dataclass(eq=False)
class _Followed:
    """What has been read of one marked run."""

    overlay: Overlay
    history: RunHistory | None = None
    reader: RunReader | None = None
    nonce: int = -1
    sequence: int = -1
    is_reading: bool = False
    """Whether there is more to read at once."""

    def look(self, seconds: float) -> bool:
        """Read on for so long; whether there is anything to tell."""
        before = self.overlay
        try:
            self._read(seconds)
            self.is_reading = self.history is not None and self.history.num_waiting > 0
        except StoreError as error:
            self.is_reading = False
            if before.trouble != str(error):
                self.overlay = Overlay(path=before.path, view=before.view, trouble=str(error))
        return self.overlay is not before

    def _read(self, seconds: float) -> None:
        path = self.overlay.path
        head = (self.reader or RunReader(path)).head()
        if self.history is None or self.nonce != head.nonce:
            self.reader, self.nonce, self.sequence = RunReader(path), head.nonce, -1
            self.history = RunHistory(
                self.reader, matrices_bytes=0, derived_bytes=OVERLAY_BYTES
            )
        is_new = self.sequence != head.sequence
        if is_new or self.history.num_waiting or self.history.has_unreadable:
            view = self.history.advance(head, seconds=seconds)
            self.sequence = head.sequence
            known = self.overlay.view
            if known is None or is_new or len(view.class_epochs) != len(known.class_epochs):
                self.overlay = Overlay(path=path, view=view)
        if self.overlay.trouble:
            self.overlay = Overlay(path=path, view=self.overlay.view)


class OverlayFollower:
    """Follows the marked runs; every method runs on the thread that polls."""

    def __init__(self) -> None:
        self._followed: dict[Path, _Followed] = {}
        self._has_news = False
        self._told = -float("inf")

    @property
    def has_more(self) -> bool:
        """Whether there is more to read at once."""
        return any(one.is_reading for one in self._followed.values())

    def step(
        self, paths: tuple[Path, ...], now: float, *, seconds: float
    ) -> tuple[Overlay, ...] | None:
        """Look at each of some runs, for so long in all; what to tell, if there is anything.

        Those followed before and not named any longer are forgotten, and with them what was
        read of them.
        """
        if tuple(self._followed) != paths:
            old = self._followed
            self._followed = {
                path: old.get(path) or _Followed(Overlay(path=path)) for path in paths
            }
            self._has_news, self._told = True, -float("inf")
        for one in self._followed.values():
            self._has_news = one.look(seconds / len(paths)) or self._has_news
        is_due = not self.has_more or now - self._told >= TELL_SECONDS
        if not (self._has_news and is_due):
            return None
        self._has_news, self._told = False, now
        return tuple(one.overlay for one in self._followed.values())
