"""A new training run from the screen, and one ended from it; the trainer has the last word."""

import contextlib
import json
import subprocess
import sys
import threading

import pytest
from tests.tui.pilots import app_for, app_of, screen_text, shows, tells, until
from textual.events import Paste

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.schema import RunState
from lossviz_tui import stage as stage_module
from lossviz_tui.paint.palettes import Look
from lossviz_tui.remembering import remember
from lossviz_tui.screens.train_form import TrainForm
from lossviz_tui.stage import Stage


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr("lossviz_tui.app.POLL_SECONDS", 0.05)
    monkeypatch.setattr("lossviz_tui.tail.LIST_SECONDS", 0.1)
    monkeypatch.setattr("lossviz_tui.devices.num_gpus", lambda: 0)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trainer(monkeypatch):
    """A trainer that reports what it is told to, when it may; and what it was asked."""
    asked = []
    lines = []
    processes = []

    def start_training(spec):
        asked.append(spec)
        program = "import sys\nfor line in sys.argv[1:]: print(line, flush=True); input()"
        words = [json.dumps(line) for line in lines]
        process = subprocess.Popen(
            [sys.executable, "-c", program, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        processes.append(process)
        return process

    def go_on():
        for process in processes:
            with contextlib.suppress(OSError):
                process.stdin.write(b"\n")
                process.stdin.flush()

    monkeypatch.setattr("lossviz_tui.screens.train_form.start_training", start_training)
    yield type("Trainer", (), {"asked": asked, "lines": lines, "go_on": staticmethod(go_on)})
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "runs"
    path.mkdir()
    return path


async def open_form(pilot) -> None:
    await until(pilot, lambda: pilot.app._stage is not None)
    await pilot.press("1", "n")
    await shows(pilot, "Start a training run")


async def test_a_run_is_asked_for_made_and_opened(trainer, folder, make_run):
    trainer.lines[:] = [
        {"event": "progress", "what": "decoding images", "done": 3, "total": 4},
        {"event": "created", "run": str(folder / "digits-resnet18-anneal-lr-1.zarr")},
    ]
    async with app_for(folder).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await shows(pilot, "> data           < digits >", "200 as the recipe says")
        await pilot.press(
            "down", "right", "down", "down", *"30", "down", "down", "down", *"cpu"
        )
        await shows(pilot, "digits-resnet18-anneal-lr-1", "< cpu_ >")
        await pilot.press("enter")
        await shows(pilot, "decoding images 75 %", "it goes on by itself")
        await pilot.press("enter", "right")
        make_run(folder / "digits-resnet18-anneal-lr-1.zarr", epochs=1)
        make_run(folder / "another.zarr", epochs=3)
        trainer.go_on()
        await shows(pilot, "[2 Overview]", "epoch 1/12")
        (spec,) = trainer.asked
        assert spec == {
            "run": str(folder / "digits-resnet18-anneal-lr-1.zarr"),
            "data": "digits",
            "model": "resnet18",
            "recipe": "anneal-lr",
            "overrides": {"epochs": 30},
            "train_examples": None,
            "seed": 0,
            "device": "cpu",
        }
        await pilot.press("1", "n")
        await shows(pilot, "resnet18", "< digits >", "as the last time", "-anneal-lr-2")
        await pilot.press("ctrl+r")
        await shows(pilot, "resnet20", "200 as the recipe says", no=("as the last time",))


@pytest.mark.parametrize("epochs", [-5, 10**12])
async def test_a_damaged_memory_is_not_taken_for_a_choice(folder, epochs):
    remember("training", {"data": ["digits"], "model": 3, "recipe": {}, "epochs": epochs})
    async with app_for(folder).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await shows(pilot, "< digits >", "resnet20", "anneal-lr", "200 as the recipe says")
        await pilot.press("down", "down", "down", "backspace")
        await shows(pilot, "< _ (200 as the recipe says) >")


async def test_what_the_trainer_refuses_stays_in_the_form(trainer, folder):
    sentence = "data is digits, cifar10, ...; got '/nowhere', where there is nothing"
    trainer.lines[:] = [{"event": "error", "message": sentence}]
    async with app_for(folder).run_test(size=(60, 18)) as pilot:
        await open_form(pilot)
        await pilot.press(*"/nowhere", "enter")
        await until(pilot, lambda: bool(trainer.asked))
        trainer.go_on()
        await shows(pilot, "got '/nowhere', where", "there is nothing", "< /nowhere_ >")
        await pilot.press("escape")
        assert not (folder.parent / "state").exists()


async def test_who_leaves_meanwhile_is_told_on_the_other_page(trainer, folder):
    trainer.lines[:] = [
        {"event": "progress", "what": "decoding images", "done": 3, "total": 4},
        {"event": "error", "message": "the images are damaged\x1b[2J"},
    ]
    app = app_for(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await pilot.press("enter")
        await shows(pilot, "decoding images")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, TrainForm))
        trainer.go_on()
        trainer.go_on()
        await tells(pilot, "the images are damaged[2J")


async def test_a_name_that_is_none_starts_nothing(trainer, folder):
    async with app_for(folder).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await pilot.press("up", *"a/b", "enter")
        await shows(pilot, "a run is named by a word")
    assert trainer.asked == []


async def test_a_name_that_is_too_long_is_a_complaint(trainer, folder):
    async with app_for(folder).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        pilot.app.screen.post_message(Paste("x" * 300))
        await pilot.press("enter")
        await shows(pilot, "no run named after its data", "xxx_ >")
    assert trainer.asked == []


async def test_a_folder_that_cannot_be_looked_into_is_told(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "/root")

    monkeypatch.setattr("lossviz_tui.screens.train_form.data_choices", refuse)
    async with app_for(folder).run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app_of(pilot)._stage is not None)
        await pilot.press("1", "n")
        await tells(pilot, "Permission denied")


async def test_readonly_starts_and_stops_nothing(folder, make_run, live_writer):
    path = make_run(folder / "pets.zarr", epochs=3)
    live_writer(path)
    app = app_for(path, readonly=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "epoch 3/12")
        await pilot.press("S", "1", "n")
        await pilot.pause(0.1)
        assert len(app.screen_stack) == 1
        names = [command.title for command in app.get_system_commands(app.screen)]
        assert not any(name.startswith(("New run", "Stop")) for name in names)


async def test_s_ends_a_live_run_after_a_question(folder, make_run, live_writer, monkeypatch):
    done = []

    def stop_run(run):
        assert threading.current_thread() is not threading.main_thread()
        done.append(run)

    monkeypatch.setattr(stage_module, "stop_run", stop_run)
    path = make_run(folder / "pets.zarr", epochs=3)
    live_writer(path)
    async with app_for(path).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "epoch 3/12")
        await pilot.press("S", "n")
        assert done == []
        await pilot.press("S")
        await shows(pilot, "Stop the training of pets? It writes a checkpoint first")
        await pilot.press("y")
        await tells(pilot, "pets has stopped; p goes on from its last checkpoint")
    assert done == [path]


@pytest.mark.parametrize("state", [RunState.FINISHED, RunState.STOPPED, RunState.FAILED])
def test_what_has_ended_cannot_be_ended(make_run, folder, state):
    path = make_run(folder / "a.zarr", epochs=2, state=state)
    with pytest.raises(LossvizError, match="there is nothing to stop"):
        Stage(path, Look(), lambda _: None).stop()


@pytest.mark.parametrize("options", [{}, {"charset": "ascii", "light": True}])
async def test_the_form_fits_sixty_by_eighteen(folder, options):
    async with app_for(folder, **options).run_test(size=(60, 18)) as pilot:
        await open_form(pilot)
        for _ in range(9):
            lines = screen_text(pilot.app).splitlines()
            assert sum(" > " in line for line in lines) == 1
            assert any("esc leave" in line for line in lines)
            if options.get("charset") == "ascii":
                assert "\n".join(lines[:-1]).isascii()
            await pilot.press("down")


async def test_each_field_says_what_it_is_about_and_no_training_has_no_epoch(trainer, folder):
    async with app_for(folder).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await shows(pilot, "digits is small and at hand")
        await pilot.press("down")
        await shows(pilot, "mlp is the quickest")
        await pilot.press("down", "down", "0", "enter")
        await shows(pilot, "a training has one epoch at least")
    assert not trainer.asked
