"""Where the app looks when it is started, and what it says where there is nothing."""

import pytest

from lossviz_tui import __main__, opening


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """The places at which the app was opened; here is a folder of its own."""
    places = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "lossviz_tui.app.run_app", lambda path, _: places.append(str(path)) or 0
    )
    monkeypatch.setattr(opening, "_set_colors", lambda _: None)
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    return places


def test_without_a_path_runs_lie_in_runs_or_here(opened, tmp_path):
    assert __main__.run([]) == 0
    (tmp_path / "one.zarr").mkdir()
    assert __main__.run([]) == 0
    (tmp_path / "runs").mkdir()
    assert __main__.run([]) == 0
    assert opened == ["runs", ".", "runs"]


def test_what_is_there_or_may_come_is_opened(opened, tmp_path):
    (tmp_path / "one.zarr").mkdir()
    for path in ("one", "one.zarr", ".", "/", "two.zarr", str(tmp_path)):
        assert __main__.run([path]) == 0
    assert opened == ["one", "one.zarr", ".", "/", "two.zarr", str(tmp_path)]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("seed7", "there is no run or folder seed7; the runs there are one, two"),
        ("watchh", "one, two; did you mean `lossviz-tui watch`?"),
        ("nowhere/new.zarr", "there is no run or folder nowhere/new.zarr"),
        ("file", "file is a file; a run is a folder, .zarr at its end"),
    ],
)
def test_what_is_nowhere_is_said(opened, tmp_path, capsys, path, sentence):
    for name in ("one.zarr", "two.zarr"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert __main__.run([path]) == 1
    assert capsys.readouterr().err.strip().endswith(sentence)
    assert not opened
