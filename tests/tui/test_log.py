"""The log on the screen: its end, followed, and nothing in it that a terminal would obey."""

import pytest
from tests.tui.pilots import app_for, app_of, screen_text, shows, until

from lossviz_analysis.store.schema import RunState
from lossviz_tui.screens.log import MAX_LINES, LogScreen, log_lines

SIZES = pytest.mark.parametrize("size", [(80, 24), (60, 18)])


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("lossviz_tui.app.POLL_SECONDS", 0.05)
    monkeypatch.setattr("lossviz_tui.screens.log.FOLLOW_SECONDS", 0.05)


@pytest.fixture
def run(make_run, tmp_path):
    """A run that failed, and has something to say about it in two logs."""
    path = make_run(tmp_path / "a.zarr", state=RunState.FAILED, message="the GPU fell off")
    lines = [f"line {k}" for k in range(100)]
    (path / "train.log").write_text("\n".join([*lines, "the last word"]) + "\n")
    (path / "scans" / "worker.log").write_text("the worker's word\n")
    return path


@SIZES
async def test_w_shows_the_end_of_the_log_and_follows_it(run, size):
    async with app_for(run).run_test(size=size) as pilot:
        await shows(pilot, "✗ failed", "w: the log")
        await pilot.press("w")
        await shows(pilot, "[train.log]", "the last word", "line 99", no=("line 5 ",))
        with (run / "train.log").open("a") as log:
            log.write("one more thing\n")
        await shows(pilot, "one more thing")
        await pilot.press("escape")
        await shows(pilot, "accuracy  %", no=("one more thing",))


async def test_who_scrolls_up_is_left_there(run):
    async with app_for(run).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "✗ failed")
        await pilot.press("w")
        await shows(pilot, "the last word")
        await pilot.press("home")
        await shows(pilot, "line 0 ", "line 10", no=("the last word",))
        with (run / "train.log").open("a") as log:
            log.write("one more thing\n")
        screen = pilot.app.screen
        assert isinstance(screen, LogScreen)
        await until(pilot, lambda: "one more" in (screen._texts or [""])[0])
        await shows(pilot, "line 0 ", no=("one more thing",))
        await pilot.press("pagedown", "down")
        await shows(pilot, "line 20", no=("line 0 ",))
        await pilot.press("end")
        await shows(pilot, "one more thing")


async def test_tab_shows_the_other_log(run):
    async with app_for(run).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "✗ failed")
        await pilot.press("w", "tab")
        await shows(pilot, "[scans/worker.log]", "the worker's word", no=("the last word",))
        await pilot.press("tab")
        await shows(pilot, "[train.log]", "the last word")


@SIZES
async def test_a_log_that_is_not_there_or_empty_says_so(make_run, tmp_path, size):
    path = make_run(tmp_path / "a.zarr")
    (path / "scans" / "worker.log").write_bytes(b"\n \n")
    async with app_for(path, readonly=True).run_test(size=size) as pilot:
        await shows(pilot, "✓ finished")
        await pilot.press("w")
        await shows(pilot, "nothing was printed to train.log")
        await pilot.press("tab")
        await shows(pilot, "nothing was printed to scans/worker.log")
        (path / "scans" / "worker.log").write_text("hello\n")
        await shows(pilot, "hello", no=("nothing was printed",))


async def test_in_the_list_of_runs_it_is_the_log_of_the_line_in_focus(run, make_run, tmp_path):
    make_run(tmp_path / "b.zarr", epochs=2)
    async with app_for(tmp_path).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "✗ failed", "✓ finished")
        stage = app_of(pilot)._stage
        assert stage is not None
        rows = [row.path for row in stage.scene.runs]
        await pilot.press(*["down"] * rows.index(run), "w")
        await shows(pilot, "the last word")


async def test_a_hostile_log_is_harmless_and_keeps_its_indents(run):
    evil = "\x1b[2J\x1b]0;owned\x07[red]dog[/red] \u202egod\u202c\x9b31m"
    log = (
        f"Traceback:\n    {evil}\n\ttabbed\n 10%\r 50%\r100% done\n" + "y" * 60_000 + "\nend\n"
    )
    (run / "train.log").write_text(log)
    async with app_for(run).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "✗ failed")
        await pilot.press("w")
        await shows(pilot, "end", "yyy")
        await pilot.press("home")
        await shows(pilot, "    [2J]0;owned[red]dog[/red] god31m", "    tabbed", "100% done")
        text = screen_text(app_of(pilot))
        assert not set(text) & {"\x1b", "\x07", "\x9b", "\u202e", "\u202c", "\r", "\t"}
        assert "10%" not in text


def test_only_the_last_lines_are_shown():
    lines = log_lines("\n".join(str(k) for k in range(3 * MAX_LINES)))
    assert len(lines) == MAX_LINES
    assert lines[-1] == str(3 * MAX_LINES - 1)
    assert log_lines("") == log_lines("\n \r\n\t\n") == []
