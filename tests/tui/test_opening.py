"""From the command line to the app: what it is told, and which keys it has."""

import os

from tests.tui.pilots import app_for, screen_text, shows, until

from lossviz_tui import opening
from lossviz_tui.__main__ import run as run_command
from lossviz_tui.keys import KEYS
from lossviz_tui.options import AppOptions
from lossviz_tui.screens.help import HelpScreen


def opened(monkeypatch, *words: object) -> AppOptions:
    """What the app would be asked by a command line."""
    found: list[AppOptions] = []

    def take(_path, options):
        found.append(options)
        return 0

    monkeypatch.setattr("lossviz_tui.app.run_app", take)
    monkeypatch.setattr(opening.os, "environ", dict(os.environ))
    assert run_command(["watch", *map(str, words)]) == 0
    return found[0]


def test_a_page_that_only_looks_has_no_key_that_writes_files(monkeypatch, tmp_path):
    assert [key.action for key in KEYS if key.writes_files] == ["export"]
    assert opened(monkeypatch, tmp_path).keys == KEYS
    assert opened(monkeypatch, tmp_path, "--readonly").keys == KEYS
    found = opened(monkeypatch, tmp_path, "--readonly", "--no-export")
    assert found.readonly
    assert found.keys == tuple(key for key in KEYS if key.action != "export")


async def test_without_it_e_does_nothing_and_is_not_named(make_run, tmp_path, monkeypatch):
    path = make_run(tmp_path / "runs" / "pets.zarr")
    monkeypatch.chdir(tmp_path)
    keys = opened(monkeypatch, path, "--no-export").keys
    app = app_for(path, keys=keys)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("e", "enter", "question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        assert "write this view" not in screen_text(app)
        names = {command.title for command in app.get_system_commands(app.screen)}
        assert not any(name.startswith("Export") for name in names)
    assert [entry.name for entry in tmp_path.iterdir()] == ["runs"]
