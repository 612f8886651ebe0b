"""The app by mouse, and its cursor: what a click, the wheel and a double click cause."""

import re

import pytest
from tests.tui.pilots import app_for, app_of, rows_of, screen_text, shows, until
from textual import events
from textual.pilot import Pilot

from lossviz_analysis.store.scans import scan_folder
from lossviz_analysis.store.schema import ScanState
from lossviz_tui.app import LossvizApp
from lossviz_tui.screens.class_filter import ClassFilter
from lossviz_tui.selection import Selection

SIZE = (80, 24)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("lossviz_tui.app.POLL_SECONDS", 0.1)


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path / "pets.zarr")


def place_of(pilot: Pilot[None], words: str) -> tuple[int, int]:
    """The cell where some words begin on the screen."""
    return next(
        (row.index(words), y) for y, row in enumerate(rows_of(pilot.app)) if words in row
    )


def place_on_axis(pilot: Pilot[None], epoch: int) -> tuple[int, int]:
    """A cell of the first chart, above the number of an epoch."""
    rows = rows_of(pilot.app)
    y = next(y for y, row in enumerate(rows) if re.match(r" *(epoch)?( +\d+){2}", row))
    return rows[y].index(str(epoch)), y - 2


async def click(pilot: Pilot[None], words: str, right: int = 0, **how) -> None:
    x, y = place_of(pilot, words)
    await pilot.click(offset=(x + right, y), **how)


async def test_a_click_on_a_tab_opens_the_view(run):
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12", "[2 Overview]")
        await click(pilot, "5 CCTM", 2)
        await shows(pilot, "[5 CCTM]", "CCTM, test, epoch 8")
        await click(pilot, "3 Dance")
        await shows(pilot, "[3 Dance]")


async def test_a_second_click_on_a_tab_opens_nothing_in_its_view(run):
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12", "[2 Overview]")
        x, y = place_of(pilot, "5 CCTM")
        await pilot.click(offset=(x + 2, y), times=2)
        await shows(pilot, "[5 CCTM]", "CCTM, test, epoch 8")


async def test_a_click_on_an_entry_and_a_double_click_open_its_dance(run):
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("5")
        await shows(pilot, "CCTM, test, epoch 8")
        x = rows_of(pilot.app)[3].index("dog")
        y = next(
            y for y, row in enumerate(rows_of(pilot.app)) if row.strip().startswith("car ")
        )
        await pilot.click(offset=(x, y))
        await shows(pilot, "car called dog")
        await pilot.click(offset=(x, y), times=2)
        await shows(pilot, "[3 Dance]", "car ⇄ dog")


async def test_the_wheel_turns_epochs(run):
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("5")
        await shows(pilot, "CCTM, test, epoch 8")
        await pilot._post_mouse_events([events.MouseScrollUp], "#view", (30, 5))
        await shows(pilot, "CCTM, test, epoch 7", "HELD at 7")
        await pilot._post_mouse_events([events.MouseScrollDown], "#view", (30, 5))
        await shows(pilot, "CCTM, test, epoch 8")


@pytest.mark.parametrize("view", ["2", "3", "4"], ids=["overview", "dance", "notes"])
@pytest.mark.parametrize("size", [(60, 18), SIZE, (160, 50)], ids=["tiny", "small", "large"])
async def test_a_click_in_a_chart_holds_the_epoch_under_it(run, view, size):
    async with app_for(run).run_test(size=size) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press(view)
        await shows(pilot, f"[{view} ")
        await pilot.click(offset=place_on_axis(pilot, 4))
        await until(pilot, lambda: selection_of(pilot).epoch == 4)
        await shows(pilot, "HELD")
        await pilot.click(offset=place_on_axis(pilot, 4))
        assert f"[{view} " in screen_text(pilot.app)


async def test_a_click_among_the_notes_of_all_classes_holds_epoch_and_class(run):
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("4", "a")
        await shows(pilot, "dancing notes, test", "a  plane")
        x, y = place_of(pilot, "d    dog")
        await pilot.click(offset=(x, y))
        await until(pilot, lambda: selection_of(pilot).note_class == 3)
        assert selection_of(pilot).epoch is None
        at, _ = place_on_axis(pilot, 4)
        await pilot.click(offset=(at, y - 1))
        await shows(pilot, "HELD at 4")
        assert selection_of(pilot).note_class == 2


def selection_of(pilot: Pilot[None]) -> Selection:
    stage = app_of(pilot)._stage
    assert stage is not None
    return stage.selection


async def test_a_click_on_a_scan_chooses_it(run, make_scan, ask_scan):
    make_scan(run, ask_scan(points=5))
    make_scan(run)
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("6")
        await shows(pilot, ">ego cat/dog ±0.1 e2 9x9")
        await click(pilot, "e2 5x5")
        await shows(pilot, ">ego cat/dog ±0.1 e2 5x5", "2 of 2")


async def test_a_click_on_a_run_chooses_it_and_a_second_one_opens_it(make_run, tmp_path):
    for name in ("one", "two", "three"):
        make_run(tmp_path / f"{name}.zarr", epochs=4)
    async with app_for(tmp_path).run_test(size=SIZE) as pilot:
        await shows(pilot, "one", "two", "three")
        app = pilot.app
        assert isinstance(app, LossvizApp)
        await click(pilot, "two")
        _, y = place_of(pilot, "two")
        await until(pilot, lambda: rows_of(pilot.app)[y].startswith(">"))
        await pilot.pause(0.6)  # a click in time would be the third one
        await click(pilot, "two", times=2)
        await shows(pilot, "epoch 4/12 two", "[2 Overview]")


async def test_a_click_and_the_wheel_choose_a_pair(run):
    async with app_for(run).run_test(size=(120, 30)) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("3")
        await shows(pilot, "cat ⇄ dog", "pairs by mean rate")
        await click(pilot, " plane ⇄ car")
        await shows(pilot, ">plane ⇄ car")
        x, y = place_of(pilot, ">plane ⇄ car")
        await pilot._post_mouse_events([events.MouseScrollUp], None, (x + 2, y))
        await shows(pilot, ">cat ⇄ dog")


@pytest.mark.parametrize("readonly", [False, True])
async def test_the_cursor_asks_the_worker_to_go_on_there(run, make_scan, readonly):
    scan_id = make_scan(run, state=ScanState.RUNNING, share=0.5)
    focus = scan_folder(run, scan_id) / "focus"
    async with app_for(run, readonly=readonly).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("6")
        await shows(pilot, "coarse picture")
        await pilot.press("i", "up", "up", "right")
        await shows(pilot, "at ego cat +0.05, ego dog +0.025", "not computed yet")
        if readonly:
            assert not focus.exists()
        else:
            await until(pilot, lambda: focus.exists() and focus.read_text() == str(6 * 9 + 5))
        await pilot.press("escape")
        await shows(pilot, no=("at ego cat +",))
        await shows(pilot, "[6 Landscape]")


async def test_classes_are_filtered_by_typing(run):
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("5", "slash")
        await until(pilot, lambda: isinstance(app.screen, ClassFilter))
        await pilot.press(*"ca")
        await shows(pilot, "2 of 5 classes: car  cat")
        await pilot.press("enter")
        await shows(pilot, "CCTM, test, epoch 8, percent, 2 of 5 classes")
        await pilot.press("escape")
        await until(pilot, lambda: "2 of 5" not in screen_text(pilot.app))
        await pilot.press("slash")
        await until(pilot, lambda: isinstance(app.screen, ClassFilter))
        await pilot.press("escape")
        await shows(pilot, "CCTM, test, epoch 8, percent")


async def test_two_planes_beside_one_another_by_keys(run, make_scan, ask_scan):
    make_scan(run, ask_scan(points=5))
    make_scan(run)
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("6")
        await shows(pilot, ">ego cat/dog ±0.1 e2 9x9")
        await pilot.press("b", "down")
        await shows(pilot, "both on one colour scale")
        await pilot.press("escape")
        await until(pilot, lambda: "both on one" not in screen_text(pilot.app))
