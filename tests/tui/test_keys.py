"""The table of keys: each does something, no two fight, and help shows all of them."""

import itertools
import re
import string
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual import actions
from textual.app import App
from textual.containers import VerticalScroll
from textual.keys import _character_to_key
from textual.widgets import Static

from lossviz_tui import navigation
from lossviz_tui.app import LossvizApp
from lossviz_tui.config import remapped
from lossviz_tui.keys import (
    EPOCH_VIEWS,
    KEYS,
    MAX_HELP,
    PUNCTUATION,
    RUN_VIEWS,
    VIEW_NAMES,
    VIEW_TITLES,
    Key,
)
from lossviz_tui.options import AppOptions
from lossviz_tui.panels import cctm, dance, landscape, notes, overview, runs
from lossviz_tui.screens.help import HelpScreen
from lossviz_tui.selection import Selection
from lossviz_tui.words import WORDS

HELPS = {
    "runs": runs.HELP,
    "overview": overview.HELP,
    "dance": dance.HELP,
    "notes": notes.HELP,
    "cctm": cctm.HELP,
    "landscape": landscape.HELP,
}


@pytest.mark.parametrize("key", KEYS, ids=lambda key: f"{key.keys}-{key.action}")
def test_the_action_of_a_key_exists(key: Key):
    _, name, parameters = actions.parse(key.action)
    assert callable(getattr(LossvizApp, f"action_{name}"))
    if name == "set":
        assert callable(getattr(navigation, str(parameters[0])))
    if name == "view":
        assert parameters[0] in VIEW_NAMES


@pytest.mark.parametrize("view", VIEW_NAMES)
def test_no_key_means_two_things_in_one_view(view: str):
    here = [key for key in KEYS if view in key.views]
    for one, other in itertools.combinations(here, 2):
        assert not set(one.keys.split(",")) & set(other.keys.split(",")), (one, other)


@pytest.mark.parametrize("view", VIEW_NAMES)
def test_the_app_takes_each_key_for_what_the_table_says(view: str):
    """Textual runs the first binding of a key whose action the app does not forbid."""
    app = LossvizApp(Path(), AppOptions())
    app._stage = SimpleNamespace(selection=Selection(view=view), has_run=True)  # type: ignore[assignment]
    for name in {name for key in KEYS for name in key.keys.split(",")}:
        bound = [key for key in KEYS if name in key.keys.split(",")]
        meant = [key.action for key in bound if view in key.views]
        offered = [
            key.action for key in bound if app.check_action(*actions.parse(key.action)[1:])
        ]
        assert offered == meant, name


def test_every_key_names_views_that_exist():
    for key in KEYS:
        assert key.views
        assert len(key.help) <= MAX_HELP
        assert set(key.views) <= set(VIEW_NAMES)
    assert set(EPOCH_VIEWS) < set(RUN_VIEWS)
    assert len(VIEW_TITLES) == len(VIEW_NAMES)


def test_the_app_binds_the_table():
    bound = LossvizApp(Path(), AppOptions())._bindings.key_to_bindings
    for key in KEYS:
        for name in key.keys.split(","):
            assert key.action in [binding.action for binding in bound[name]]


def test_names_of_actions_are_those_people_have_in_their_files():
    names = {key.name for key in KEYS}
    assert names >= {
        *("view-runs", "view-dance", "epoch-previous", "epoch-next", "step-previous"),
        *("column-next", "first", "following", "hold", "move-previous", "move-next", "open"),
        *("back", "other-split", "classes", "log-toggled", "all-toggled", "next-mode"),
        *("diagonal-toggled", "other-quantity", "contours-toggled", "frame-next", "scan"),
        *("turn-previous", "turn-next", "resume-scan", "cancel-scan", "queue-previous"),
        *("pause", "stop", "train", "log", "export", "help", "quit"),
    }
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)


def test_keys_that_have_no_letter_are_called_as_textual_calls_them():
    assert {character: name for name, character in PUNCTUATION.items()} == {
        character: _character_to_key(character) for character in string.punctuation
    }


def test_help_with_long_keys_of_the_users_own_stays_within_the_page():
    keys = remapped(
        KEYS, {"hold": "ctrl+shift+pagedown,shift+f12", "scan": "", "view-runs": "0"}
    )
    text = str(HelpScreen("dance", "How.", readonly=False, keys=keys)._text())
    assert "ctrl+shift+pagedown shift+f12 hold this epoch, or follow" in text
    assert "ask for a scan" not in text
    assert "0 2 3 4 5 6" in text
    assert max(map(len, text.splitlines())) <= 76


def test_only_what_concerns_scans_and_training_is_work():
    work = {key.action for key in KEYS if key.starts_work}
    assert work == {
        *("scan", "cancel_scan", "resume_scan", "pause", "stop", "train"),
        *("queue(-1)", "queue(1)"),
    }


@pytest.mark.parametrize("view", VIEW_NAMES)
def test_help_names_every_key_of_a_view_on_one_page(view: str):
    text = str(HelpScreen(view, "How to read it.", readonly=False)._text())
    for key in KEYS:
        if view in key.views and not key.action.startswith("view("):
            assert key.shown in text
            assert key.help in text
    assert max(map(len, text.splitlines()[3:])) <= 76  # 80 columns less frame and padding


@pytest.mark.parametrize("view", VIEW_NAMES)
def test_help_in_ascii_is_ascii_and_as_wide(view: str):
    text = str(HelpScreen(view, "How to read it.", readonly=False, ascii_only=True)._text())
    assert text.isascii()
    assert "up k" in text
    assert max(map(len, text.splitlines()[3:])) <= 76


def test_help_leaves_out_what_readonly_forbids():
    text = str(HelpScreen("landscape", "", readonly=True)._text())
    assert "ask for a scan" not in text
    assert "cancel the scan" not in text
    assert "contour lines" in text


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("view", VIEW_NAMES)
async def test_the_help_of_every_view_fits_a_small_screen(view, readonly):
    screen = HelpScreen(view, HELPS[view], readonly=readonly)
    app: App[None] = App()
    async with app.run_test(size=(80, 24)) as pilot:
        await app.push_screen(screen)
        await pilot.pause()
        scroll = screen.query_one(VerticalScroll)
        assert scroll.max_scroll_y == 0
        assert scroll.virtual_size.height <= 22


@pytest.mark.parametrize("view", VIEW_NAMES)
async def test_the_words_of_every_view_are_a_second_page_that_fits_a_small_screen(view):
    screen = HelpScreen(view, HELPS[view], readonly=False)
    app: App[None] = App()
    async with app.run_test(size=(80, 24)) as pilot:
        await app.push_screen(screen)
        await pilot.press("question_mark")
        scroll = screen.query_one(VerticalScroll)
        assert scroll.max_scroll_y == 0
        lines = str(screen.query_one(Static).render()).splitlines()
        assert len(lines) > len(WORDS[view])
        assert all(len(line) <= 76 for line in lines)
        await pilot.press("question_mark")
        assert "the views" in str(screen.query_one(Static).render())
        await pilot.press("escape")
        assert app.screen is not screen
    assert str(HelpScreen(view, "", readonly=False, ascii_only=True)._words()).isascii()


@pytest.mark.parametrize("view", VIEW_NAMES)
def test_help_is_one_sentence_with_a_formula_and_a_source(view):
    text = HELPS[view]
    assert text.endswith(".")
    without = text.replace("et al.", "").replace("sec.", "").replace("Fig.", "")
    assert ". " not in without[:-1].replace("0.1 %", "")
    assert re.search(r"\((Diao|Li) et al\. 20\d\d|of Diao et al\. 2022", text)
    assert re.search(r"CCTM\(|sum_|sum of|w\* \+|N\(e, i\)", text)


def test_help_in_ascii_has_no_other_glyph():
    screen = HelpScreen("dance", "How to read it.", readonly=False, ascii_only=True)
    assert str(screen._text()).isascii()


async def test_on_a_narrow_screen_the_keys_stand_in_one_column():
    screen = HelpScreen("dance", HELPS["dance"], readonly=False)
    app: App[None] = App()
    async with app.run_test(size=(60, 18)) as pilot:
        await app.push_screen(screen)
        await pilot.pause()
        text = str(screen.query_one(Static).render())
        lines = [line.rstrip() for line in text.splitlines()]
        here = {key.help for key in KEYS if "dance" in key.views and "view(" not in key.action}
        found = [[text for text in here if line.endswith(f" {text}")] for line in lines]
        assert {texts[0] for texts in found if texts} == here
        assert all(len(line) < 50 for line, texts in zip(lines, found, strict=True) if texts)
