"""What a form remembers: kept for each run, bounded, and never worth a complaint."""

import json

import pytest

from lossviz_tui.remembering import MAX_KEPT, recall, remember, state_folder


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "lossviz-tui"


def test_what_was_chosen_is_recalled_for_that_form_and_run(home):
    assert recall("scan", "a") == {}
    remember("scan", {"kind": "ego", "clip": None}, "a")
    remember("scan", {"kind": "pca"}, "b")
    remember("training", {"epochs": 3})
    assert recall("scan", "a") == {"kind": "ego", "clip": None}
    assert recall("scan", "b") == {"kind": "pca"}
    assert recall("training") == {"epochs": 3}
    assert recall("training", "a") == {}
    assert [path.name for path in home.iterdir()] == ["forms.json"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"scan": []}', b'{"scan": {"a": 3}}', b"[" * 99_999],
)
def test_a_damaged_file_is_as_good_as_none(home, content):
    home.mkdir(parents=True)
    (home / "forms.json").write_bytes(content)
    assert recall("scan", "a") == {}
    remember("scan", {"kind": "ego"}, "a")
    assert recall("scan", "a") == {"kind": "ego"}


def test_runs_not_asked_about_for_long_are_forgotten(home):
    for number in range(MAX_KEPT + 5):
        remember("scan", {"n": number}, f"run {number}")
        if number == MAX_KEPT:
            remember("scan", {"n": 2}, "run 2")
    assert recall("scan", "run 1") == recall("scan", "run 3") == {}
    assert recall("scan", "run 2") == {"n": 2}
    assert len(json.loads((home / "forms.json").read_text())["scan"]) == MAX_KEPT


def test_a_link_is_not_followed_and_a_folder_that_cannot_be_made_is_no_error(
    home, tmp_path, monkeypatch
):
    home.mkdir(parents=True)
    (tmp_path / "secret").write_text('{"scan": {"a": {"kind": "ego"}}}')
    (home / "forms.json").symlink_to(tmp_path / "secret")
    assert recall("scan", "a") == {}
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "secret"))
    remember("scan", {"kind": "ego"}, "a")
    assert recall("scan", "a") == {}


def test_where_it_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local" / "state" / "lossviz-tui"


def test_who_has_no_home_is_asked_anew(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])
    remember("scan", {"kind": "ego"}, "a")
    assert recall("scan", "a") == {}
    assert list(tmp_path.iterdir()) == []


def test_a_name_without_end_is_cut(home):
    remember("scan", {"kind": "ego"}, "x" * 10_000)
    assert recall("scan", "x" * 10_000) == {"kind": "ego"}
    assert (home / "forms.json").stat().st_size < 1_000
