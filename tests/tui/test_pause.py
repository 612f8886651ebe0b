"""Pausing a training from the app: asked first, done beside the screen, and told."""

import threading
from functools import partial

import pytest
from tests.tui.pilots import app_for, screen_text, until

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.schema import RunState
from lossviz_tui import stage as stage_module
from lossviz_tui.launch import LaunchError
from lossviz_tui.paint.palettes import Look
from lossviz_tui.screens.confirm import ConfirmScreen
from lossviz_tui.stage import Stage


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("lossviz_tui.app.POLL_SECONDS", 0.05)


@pytest.fixture
def deeds(monkeypatch) -> list[tuple[str, str]]:
    """What was done to which run; nothing really is."""
    done: list[tuple[str, str]] = []

    def do(what, run):
        assert threading.current_thread() is not threading.main_thread()
        done.append((what, run.name))
        return f"{what} of {run.name}\x1b[2J was done"

    for what in ("pause_run", "resume_run"):
        monkeypatch.setattr(stage_module, what, partial(do, what))
    return done


async def test_p_pauses_a_live_run_after_a_question(deeds, make_run, live_writer, tmp_path):
    path = make_run(tmp_path / "pets.zarr", epochs=3)
    live_writer(path)
    app = app_for(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "epoch 3/12" in screen_text(app))
        await pilot.press("p", "n")
        await until(pilot, lambda: not isinstance(app.screen, ConfirmScreen))
        assert deeds == []
        await pilot.press("p")
        await until(pilot, lambda: "Pause the training of pets?" in screen_text(app))
        await pilot.press("y")
        await until(pilot, lambda: deeds == [("pause_run", "pets.zarr")])
        await until(
            pilot, lambda: any("was done" in note.message for note in app._notifications)
        )
        assert not any("\x1b" in note.message for note in app._notifications)


async def test_what_goes_wrong_is_told(make_run, live_writer, tmp_path, monkeypatch):
    def refuse(run):
        raise LaunchError(f"{run.name} cannot be paused\x07")

    monkeypatch.setattr(stage_module, "pause_run", refuse)
    path = make_run(tmp_path / "pets.zarr", epochs=3)
    live_writer(path)
    app = app_for(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "epoch 3/12" in screen_text(app))
        await pilot.press("p", "y")
        await until(
            pilot,
            lambda: any(
                (note.message, note.severity) == ("pets.zarr cannot be paused", "warning")
                for note in app._notifications
            ),
        )


async def test_a_finished_run_is_not_asked_about(deeds, make_run, tmp_path):
    app = app_for(make_run(tmp_path / "pets.zarr"))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "✓ finished" in screen_text(app))
        await pilot.press("p")
        await until(
            pilot,
            lambda: any("pets is finished" in note.message for note in app._notifications),
        )
        assert deeds == []


async def test_a_reader_only_cannot_pause(deeds, make_run, live_writer, tmp_path):
    path = make_run(tmp_path / "pets.zarr", epochs=3)
    live_writer(path)
    app = app_for(path, readonly=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "epoch 3/12" in screen_text(app))
        await pilot.press("p", "y")
        await pilot.pause(0.1)
        assert not isinstance(app.screen, ConfirmScreen)
        assert deeds == []


@pytest.mark.parametrize(
    ("state", "is_live", "question", "deed"),
    [
        (RunState.RUNNING, True, "Pause the training of", "pause_run"),
        (RunState.DISK_FULL, True, "Pause the training of", "pause_run"),
        (RunState.PAUSED, True, "go on?", "resume_run"),
        (RunState.STOPPED, False, "again, from its last checkpoint?", "resume_run"),
        (RunState.FAILED, False, "again, from its last checkpoint?", "resume_run"),
        (RunState.RUNNING, False, "again, from its last checkpoint?", "resume_run"),
        (RunState.FINISHED, False, None, None),
    ],
)
def test_what_can_be_asked_follows_from_the_state(
    deeds, make_run, live_writer, tmp_path, state, is_live, question, deed
):
    path = make_run(tmp_path / "a\x1b[2J.zarr", epochs=2, state=state)
    if is_live:
        live_writer(path).set_state(state)
    stage = Stage(path, Look(), lambda _: None)
    if question is None:
        with pytest.raises(LossvizError, match="is finished; there is nothing to pause"):
            stage.pause_or_resume()
        return
    asked, do = stage.pause_or_resume()
    assert question in asked
    assert asked.isprintable()
    worker = threading.Thread(target=do)
    worker.start()
    worker.join()
    assert deeds == [(deed, path.name)]


async def test_who_leaves_meanwhile_leaves_at_once(
    make_run, live_writer, tmp_path, monkeypatch
):
    begun, may_end = threading.Event(), threading.Event()

    def slow(run):
        begun.set()
        may_end.wait(60)
        return f"{run.name} is paused"

    monkeypatch.setattr(stage_module, "pause_run", slow)
    path = make_run(tmp_path / "pets.zarr", epochs=3)
    live_writer(path)
    app = app_for(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "epoch 3/12" in screen_text(app))
        await pilot.press("p", "y")
        await until(pilot, begun.is_set)
        await pilot.press("q")
    assert not may_end.is_set()
    may_end.set()
