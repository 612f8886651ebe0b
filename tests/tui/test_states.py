"""Every state of a run looks different, in words, and follows what happens on the disk."""

import shutil
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from tests.tui.conftest import describe
from tests.tui.pilots import app_for, screen_text, shows

from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.schema import Phase, RunState
from lossviz_analysis.store.writer import RunWriter
from lossviz_tui.paint.palettes import Look
from lossviz_tui.panels import status
from lossviz_tui.panels.texts import state_text
from lossviz_tui.scene import Standing, Word

WORDS: tuple[str, ...] = get_args(Word)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("lossviz_tui.app.POLL_SECONDS", 0.05)
    monkeypatch.setattr("lossviz_tui.tail.LIST_SECONDS", 0.2)


@pytest.mark.parametrize("look", [Look(), Look(charset="ascii", color="none")])
def test_no_two_states_look_alike(look):
    texts = [state_text(word, look)[0] for word in WORDS]
    assert len(set(texts)) == len(WORDS)
    assert all(word in text for word, text in zip(WORDS, texts, strict=True))
    signs = [text.split()[0] for text in texts]
    assert "?" not in {
        sign for sign, word in zip(signs, WORDS, strict=True) if word != "damaged"
    }
    if look.is_ascii:
        assert all(text.isascii() for text in texts)
    else:  # failed and crashed are both an end that nobody wanted
        assert len(set(signs)) == len(WORDS) - 1


@pytest.mark.parametrize("width", [60, 80, 160])
@pytest.mark.parametrize("word", WORDS)
def test_the_status_line_begins_with_the_word_and_ends_with_the_age(
    make_scene, read_lines, word, width
):
    standing = Standing(word=word, message="its writer is silent", data_seen=100.0)
    lines = status.paint(make_scene(standing=standing, now=130.0), (width, 2))
    first = read_lines(lines).splitlines()[0]
    assert first.startswith(state_text(word, Look())[0])
    has_ended = word in ("finished", "stopped", "failed")
    assert first.endswith("  ended 30s ago" if has_ended else "  data 30s old")
    has_room = word == "stalled" and width >= 80
    assert ("silent" in first) == (
        has_room or word in ("failed", "crashed", "disk full", "paused")
    )


async def test_the_life_of_a_run_in_words(tmp_path):
    path = tmp_path / "pets.zarr"
    async with app_for(path).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "opening the run")
        create_run(path, describe())
        await shows(pilot, "· never ran  epoch 0/12", "this run never ran")
        writer = RunWriter(path)
        writer.open()
        await shows(pilot, "○ waiting  epoch 0/12", "no epoch is recorded yet")
        writer.set_state(RunState.RUNNING)
        await shows(pilot, "● live  epoch 0/12")
        writer.commit_record(np.ones((2, 5, 5), np.int32), {"epoch": 1.0})
        await shows(pilot, "● live  epoch 1/12", "accuracy  %")
        writer.set_state(RunState.DISK_FULL, "3 epochs wait in memory for room on the disk")
        await shows(pilot, "▲ disk full  3 epochs wait in memory", "accuracy  %")
        writer.set_state(RunState.PAUSED, "since epoch 1")
        await shows(pilot, "‖ paused  since epoch 1", "p: go on")
        writer.close()
        await shows(pilot, "✗ crashed", "w: the log")
        for state, text in (
            (RunState.STOPPED, "■ stopped  epoch 1/12"),
            (RunState.FAILED, "✗ failed  the loss is no number  w: the log"),
            (RunState.FINISHED, "✓ finished  epoch 1/12"),
        ):
            with RunWriter(path) as writer:
                why = "the loss is no number" if state == RunState.FAILED else ""
                writer.set_state(state, why)
            await shows(pilot, text)


async def test_a_silent_writer_is_stalled_and_the_line_says_why(
    make_run, live_writer, tmp_path, monkeypatch
):
    path = make_run(tmp_path / "pets.zarr", epochs=3)
    writer = live_writer(path)
    writer.pulse(epoch=4, step=1, steps_per_epoch=100, phase=Phase.TRAINING)
    async with app_for(path).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "epoch 3/12")
        monkeypatch.setattr("lossviz_tui.tail.PATIENCE_SECONDS", 0.1)
        await shows(pilot, "◐ stalled  epoch 3/12 pets  its writer is silent")


async def test_another_run_in_the_place_of_this_one_is_told_and_begins_afresh(
    make_run, make_scan, tmp_path
):
    path = make_run(tmp_path / "pets.zarr")
    make_scan(path)
    app = app_for(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("3", "home")
        await shows(pilot, "HELD at 1", "⇄")
        assert app._stage is not None
        app._stage.select(
            replace(app._stage.selection, pair=(3, 4), classes=(3, 4), cell=(4, 3))
        )
        shutil.rmtree(path)
        await shows(pilot, "store unreadable")
        make_run(path, names=("left", "right"), epochs=5)
        await shows(pilot, "epoch 5/12", "another run is here", "left ⇄ right")
        assert "HELD" not in screen_text(app)
        for view in "456":
            await pilot.press(view)
            await shows(pilot, f"[{view} ")
            assert "cannot be drawn" not in screen_text(app)
        await shows(pilot, "press s to ask for one")
        assert "another run" not in screen_text(app)
