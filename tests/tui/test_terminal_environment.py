"""Colours and glyphs follow from what the terminal is, not from what it inherited."""

import pytest

from lossviz_analysis.errors import LossvizError
from lossviz_tui import terminal
from lossviz_tui.terminal import color_system, glyphs_of, refuse_no_terminal

TRUE = {"COLORTERM": "truecolor"}


@pytest.mark.parametrize(
    ("environment", "system"),
    [
        ({"TERM": "xterm-256color"} | TRUE, "auto"),
        ({"TERM": "xterm-kitty"}, "auto"),
        ({}, "auto"),
        ({"TERM": "linux"}, "standard"),
        ({"TERM": "linux"} | TRUE, "standard"),
        ({"TERM": "linux-16color"} | TRUE, "standard"),
        ({"TERM": "screen"} | TRUE, "standard"),
        ({"TERM": "screen.xterm-256color", "STY": "1.a"} | TRUE, "256"),
        ({"TERM": "screen-256color"} | TRUE, "256"),
        ({"TERM": "xterm-256color", "STY": "1.a"} | TRUE, "256"),
        ({"TERM": "screen", "TMUX": "/tmp/x"} | TRUE, "auto"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x"} | TRUE, "auto"),
        ({"TERM": "vt100"} | TRUE, "none"),
        ({"TERM": "VT220"}, "none"),
        ({"TERM": "xterm-mono"}, "none"),
        ({"TERM": "rxvt-m"}, "none"),
    ],
)
def test_colours(environment, system):
    assert color_system(environment) == system


@pytest.mark.parametrize(
    ("term", "encoding", "charset"),
    [
        ("xterm-256color", "UTF-8", "braille"),
        ("screen", "utf8", "braille"),
        ("linux", "UTF-8", "ascii"),
        ("vt100", "UTF-8", "ascii"),
        ("xterm-256color", "ANSI_X3.4-1968", "ascii"),
        ("xterm-256color", "ISO-8859-15", "ascii"),
    ],
)
def test_glyphs(term, encoding, charset):
    assert glyphs_of({"TERM": term}, encoding) == charset


@pytest.mark.parametrize(
    ("environment", "charset"),
    [
        ({"LC_ALL": "C"}, "ascii"),
        ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, "ascii"),
        ({"LANG": "C"}, "ascii"),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, "ascii"),
        ({"LANG": "C", "LC_CTYPE": "de_DE.UTF-8"}, "braille"),
        ({"LANG": "C", "LC_ALL": "C.UTF-8"}, "braille"),
        ({"LANG": ""}, "braille"),
        ({"LC_CTYPE": "C.UTF-8"}, "braille"),
    ],
)
def test_who_asks_for_the_c_locale_gets_ascii_whatever_python_makes_of_it(environment, charset):
    assert glyphs_of({"TERM": "xterm"} | environment, "UTF-8") == charset


def test_where_nothing_can_be_placed_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setattr(terminal, "_is_terminal", lambda _: True)
    refuse_no_terminal({"TERM": "xterm"})
    refuse_no_terminal({})
    for term in ("dumb", "unknown"):
        with pytest.raises(LossvizError, match=rf"TERM={term}\) .*lossviz-tui show RUN"):
            refuse_no_terminal({"TERM": term})
        refuse_no_terminal({"TERM": term, "TEXTUAL_DRIVER": "a.browser:Driver"})


def test_a_pipe_is_no_terminal(monkeypatch):
    monkeypatch.setattr(terminal.sys, "__stdin__", None)
    with pytest.raises(LossvizError, match="there is no terminal to draw on"):
        refuse_no_terminal({"TERM": "xterm"})


@pytest.mark.parametrize("words", [("--version-of-nothing",), (".",)])
def test_the_command_refuses_in_one_sentence(cli, words):
    found = cli(*words)
    assert found.code != 0
    assert len(found.err.strip().splitlines()) == 1


def test_a_wrong_configuration_is_told_before_anything_is_drawn(cli, tmp_path):
    (tmp_path / "my.toml").write_text('[keys]\nfly = "f"')
    for command in ("watch", "keys", "serve"):
        words = (command, "--config", tmp_path / "my.toml")
        found = cli(*words)
        assert found.code == 1
        assert "there is no action named 'fly'" in found.err
        assert len(found.err.strip().splitlines()) == 1
