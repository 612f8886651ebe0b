"""The whole app under a pilot: started as the tests want it, read, and waited for."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from textual.app import App
from textual.pilot import Pilot

from lossviz_tui.app import LossvizApp
from lossviz_tui.options import AppOptions

PATIENCE_SECONDS = 30.0


def app_for(path: Path, **options: Any) -> LossvizApp:
    """The app as on a usual terminal, unless told otherwise."""
    usual = AppOptions(color="truecolor", charset="braille")
    return LossvizApp(path, replace(usual, **options))


def app_of(pilot: Pilot[None]) -> LossvizApp:
    """The app under a pilot."""
    assert isinstance(pilot.app, LossvizApp)
    return pilot.app


def rows_of(app: App[None]) -> list[str]:
    """The rows of the screen."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


def screen_text(app: App[None]) -> str:
    """The whole screen as a person reads it."""
    return "\n".join(rows_of(app))


async def until(pilot: Pilot[None], holds: Callable[[], object]) -> None:
    """Wait until something holds; fail with the screen when it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, screen_text(pilot.app)
        await pilot.pause(0.01)


async def shows(pilot: Pilot[None], *words: str, no: tuple[str, ...] = ()) -> None:
    """Wait until all these words are on the screen, and none of those."""

    def holds() -> bool:
        text = screen_text(pilot.app)
        return all(word in text for word in words) and not any(word in text for word in no)

    await until(pilot, holds)


async def tells(pilot: Pilot[None], sentence: str) -> None:
    """Wait until the app has told a sentence."""
    app = app_of(pilot)
    await until(pilot, lambda: any(sentence in note.message for note in app._notifications))
