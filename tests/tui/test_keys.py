"""The table of keys: each does something, no two fight, and help shows all of them."""

import itertools

import pytest
from textual import actions
from textual.binding import Binding

from lossviz_tui import navigation
from lossviz_tui.app import LossvizApp
from lossviz_tui.keys import EPOCH_VIEWS, KEYS, RUN_VIEWS, VIEW_NAMES, VIEW_TITLES, Key
from lossviz_tui.screens.help import HelpScreen


@pytest.mark.parametrize("key", KEYS, ids=lambda key: f"{key.keys}-{key.action}")
def test_the_action_of_a_key_exists(key: Key):
    _, name, parameters = actions.parse(key.action)
    assert callable(getattr(LossvizApp, f"action_{name}"))
    if name == "set":
        assert callable(getattr(navigation, parameters[0]))
    if name == "view":
        assert parameters[0] in VIEW_NAMES


@pytest.mark.parametrize("view", VIEW_NAMES)
def test_no_key_means_two_things_in_one_view(view: str):
    here = [key for key in KEYS if view in key.views]
    for one, other in itertools.combinations(here, 2):
        assert not set(one.keys.split(",")) & set(other.keys.split(",")), (one, other)


def test_every_key_names_views_that_exist():
    for key in KEYS:
        assert key.views
        assert set(key.views) <= set(VIEW_NAMES)
    assert set(EPOCH_VIEWS) < set(RUN_VIEWS)
    assert len(VIEW_TITLES) == len(VIEW_NAMES)


def test_the_app_binds_the_table():
    bound = [b for b in LossvizApp.BINDINGS if isinstance(b, Binding)]
    assert [(b.key, b.action) for b in bound] == [(key.keys, key.action) for key in KEYS]


def test_only_scanning_and_cancelling_are_work():
    assert {key.action for key in KEYS if key.starts_work} == {"scan", "cancel_scan"}


@pytest.mark.parametrize("view", VIEW_NAMES)
def test_help_names_every_key_of_a_view_on_one_page(view: str):
    text = str(HelpScreen(view, "How to read it. " * 16, readonly=False)._text())
    for key in KEYS:
        if view in key.views and not key.action.startswith("view("):
            assert key.shown in text
            assert key.help[:34] in text
    assert len(text.splitlines()) <= 20  # with its frame and five lines of reading: 80 x 24


def test_help_leaves_out_what_readonly_forbids():
    text = str(HelpScreen("landscape", "", readonly=True)._text())
    assert "ask for a scan" not in text
    assert "cancel the scan" not in text
    assert "contour lines" in text
