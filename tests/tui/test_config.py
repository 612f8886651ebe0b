"""The user's own settings: what they change, and one clear sentence for every mistake."""

import pytest
from tests.tui.pilots import app_for, screen_text, shows

from lossviz_tui.config import (
    Config,
    ConfigError,
    config_path,
    parse_config,
    parse_keys,
    read_config,
    remapped,
)
from lossviz_tui.keys import KEYS


@pytest.fixture
def write(tmp_path):
    def go(text: str | bytes):
        path = tmp_path / "my.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return go


def keys_of(config: Config, name: str) -> str:
    return next(key.keys for key in config.keys if key.name == name)


def test_nobody_has_to_have_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert read_config() == Config()
    assert config_path() == tmp_path / "lossviz-tui" / "config.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert str(config_path()) == "/home/me/.config/lossviz-tui/config.toml"


def test_somebody_without_a_home_has_no_file(monkeypatch, write):
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])
    assert read_config() == Config()
    assert read_config(write('[app]\ncolor = "16"')).color == "16"


def test_the_file_is_the_one_named_or_of_the_variable_or_the_usual_one(
    monkeypatch, tmp_path, write
):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    usual = config_path()
    usual.parent.mkdir()
    usual.write_text('[app]\ncolor = "16"')
    assert read_config().color == "16"
    other = tmp_path / "other.toml"
    other.write_text('[app]\ncolor = "256"')
    monkeypatch.setenv("LOSSVIZ_TUI_CONFIG", str(other))
    assert read_config().color == "256"
    assert read_config(write('[app]\ncolor = "none"')).color == "none"


def test_everything_that_can_be_set(write):
    config = read_config(
        write(
            '[keys]\nscan = "f2"\nquit = ["q", "ctrl+x"]\nlog = ""\nview-dance = "D"\n'
            '[app]\ncolor = "auto"\ncharset = "ascii"\n'
            "light = true\nslow = false\nmouse = false"
        )
    )
    assert keys_of(config, "scan") == "f2"
    assert keys_of(config, "quit") == "q,ctrl+x"
    assert keys_of(config, "log") == ""
    assert keys_of(config, "view-dance") == "D"
    assert keys_of(config, "hold") == "space"
    assert (config.color, config.charset) == ("auto", "ascii")
    assert (config.light, config.slow, config.mouse) == (True, False, False)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[keys", "is not TOML"),
        (b"\xff", "is not TOML"),
        ("x" * 300_000, "longer than any"),
        ("[colours]", "no section named 'colours'; there are keys, app"),
        ("app = 3", "app is a section, written as \\[app\\]; got 3"),
        ("[app]\nsize = 3", "no setting in \\[app\\] named 'size'"),
        ('[app]\ncolor = "8"', "color is one of auto, truecolor, 256, 16, none; got '8'"),
        ("[app]\ncolor = 256", "color is one of .*; got 256"),
        ('[app]\nlight = "yes"', "light is true or false; got 'yes'"),
        ('[keys]\nfly = "f"', "no action named 'fly'; lossviz-tui keys lists"),
        ('[keys]\nscan = "hyper+x"', "no key 'hyper\\+x'"),
        ('[keys]\nscan = "f99"', "no key 'f99'"),
        ('[keys]\nscan = "a,,b"', "no key ''"),
        ('[keys]\nscan = "shift+a"', "no key 'shift\\+a'"),
        ('[keys]\nscan = "é"', "no key 'é'"),
        ("[keys]\nscan = 3", "keys are a text such as 's' or 'f2,ctrl\\+x'; got 3"),
        ("[keys]\nscan = [3]", "a key is a text such as 's'; got 3"),
        ('[keys]\nscan = "ctrl+c"', "ctrl\\+c interrupts and cannot be given"),
        (
            '[keys]\nscan = "q"',
            "the key q would mean both (scan and quit|quit and scan) in the view Overview",
        ),
        ('[keys]\nexport = "["', "the key \\[ would mean both .* in the view Landscape"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_file(write, text, sentence):
    path = write(text)
    with pytest.raises(ConfigError, match=sentence) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_was_named_has_to_be_there(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no configuration file .*nowhere\.toml"):
        read_config(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_config(tmp_path)


def test_the_same_key_may_mean_other_things_in_other_views():
    keys = remapped(KEYS, {"train": "s", "cancel-scan": "t"})
    assert {key.name: key.keys for key in keys}["train"] == "s"


def test_keys_can_be_exchanged():
    config = parse_config({"keys": {"scan": "e", "export": "s"}})
    assert (keys_of(config, "scan"), keys_of(config, "export")) == ("e", "s")


@pytest.mark.parametrize(
    ("written", "keys"),
    [
        ("s", "s"),
        ("?", "question_mark"),
        (",", "comma"),
        ("+", "plus"),
        (" ", "space"),
        ("ctrl++", "ctrl+plus"),
        ("a, B ,f2", "a,B,f2"),
        ("s,s", "s"),
        ("shift+up", "shift+up"),
        ([",", "["], "comma,left_square_bracket"),
        ("", ""),
        ([], ""),
    ],
)
def test_keys_are_written_as_people_know_them(written, keys):
    assert parse_keys(written) == keys


async def test_footer_help_and_palette_show_the_keys_of_the_file(make_run, tmp_path):
    config = parse_config({"keys": {"scan": "f2", "help": "f1", "view-cctm": "C", "hold": ""}})
    path = make_run(tmp_path / "pets.zarr")
    app = app_for(path, keys=config.keys)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("s", "question_mark", "5")
        assert len(app.screen_stack) == 1
        await pilot.press("C")
        await shows(pilot, "CCTM, test, epoch 8")
        footer = screen_text(app).splitlines()[-1]
        assert "f2 Scan" in footer
        assert "f1 Help" in footer
        assert "Hold" not in footer
        await pilot.press("space")
        assert "HELD" not in screen_text(app)
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert "Scan (f2)" in titles
        await pilot.press("f1")
        await shows(pilot, "f2     ask for a scan", "1 2 3 4 C 6 the views; ctrl+p")
        await pilot.press("escape", "f2")
        await shows(pilot, "Scan the loss landscape")


async def test_a_key_taken_away_stands_in_the_palette_without_one(make_run, tmp_path):
    keys = parse_config({"keys": {"hold": ""}}).keys
    app = app_for(make_run(tmp_path / "pets.zarr"), keys=keys)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "epoch 8/12")
        titles = [command.title for command in app.get_system_commands(app.screen)]
    assert "Hold" in titles
    assert not any("()" in title for title in titles)


@pytest.mark.parametrize("key", ["tab", "shift+tab"])
def test_keys_that_forms_need_cannot_be_given_away(key):
    with pytest.raises(ConfigError, match="fields of a form"):
        parse_config({"keys": {"view-dance": key}})
