"""The app, driven by keys: what a press causes, and what is on the screen afterwards."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from tests.tui.pilots import app_for, app_of, rows_of, screen_text, shows, tells, until
from textual.events import Paste, Resize
from textual.geometry import Size
from textual.pilot import Pilot

from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.scans import ScanReader, find_scans, scan_folder, submit
from lossviz_analysis.store.schema import ScanState
from lossviz_tui.app import LossvizApp, Painted
from lossviz_tui.keys import KEYS
from lossviz_tui.overlay import Overlay
from lossviz_tui.paint.cells import blank_lines
from lossviz_tui.screens.class_picker import ClassPicker
from lossviz_tui.screens.confirm import ConfirmScreen
from lossviz_tui.screens.help import HelpScreen
from lossviz_tui.screens.scan_form import ScanForm

SIZE = (80, 24)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The tail looks ten times a second."""
    monkeypatch.setattr("lossviz_tui.app.POLL_SECONDS", 0.1)
    monkeypatch.setattr("lossviz_tui.tail.LIST_SECONDS", 0.2)


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path / "pets.zarr")


@pytest.fixture
def asked(monkeypatch) -> list[ScanRequest]:
    """Scans asked for by the form; they are queued, and no worker starts."""
    requests: list[ScanRequest] = []

    def request_scan(run, request):
        requests.append(request)
        return submit(run, request)

    monkeypatch.setattr("lossviz_tui.screens.scan_form.request_scan", request_scan)
    monkeypatch.setattr("lossviz_tui.stage.ensure_worker", lambda _: None)
    return requests


async def test_a_run_opens_with_its_overview(run):
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "✓ finished  epoch 8/12 pets", "[2 Overview]", "accuracy  %")


async def test_numbers_change_the_view(run):
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "[2 Overview]")
        for key, words in {
            "1": "[1 Runs]",
            "3": "cat ⇄ dog",
            "4": "dancing notes, test",
            "5": "CCTM, test, epoch 8",
            "6": "press s to ask for one",
            "2": "accuracy  %",
        }.items():
            await pilot.press(key)
            await shows(pilot, words)


@pytest.mark.parametrize("again", ["end", "escape", "space"])
async def test_going_back_holds_an_epoch_until_it_is_let_go(run, again):
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("5", "comma", "comma")
        await shows(pilot, "HELD at 6, 2 newer", "CCTM, test, epoch 6")
        await pilot.press(again)
        await shows(pilot, "CCTM, test, epoch 8")
        assert "HELD" not in screen_text(app_of(pilot))


async def test_one_cursor_drives_all_views(run):
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("3", "h", "left", "l")
        await shows(pilot, "HELD at 7, 1 newer")
        await pilot.press("5")
        await shows(pilot, "CCTM, test, epoch 7", "HELD at 7, 1 newer")
        await pilot.press("home")
        await shows(pilot, "CCTM, test, epoch 1", "HELD at 1, 7 newer")
        await pilot.press("full_stop")
        await shows(pilot, "CCTM, test, epoch 2")


async def test_space_holds_the_newest_while_the_run_goes_on(make_run, live_writer, tmp_path):
    run = make_run(tmp_path / "a.zarr", epochs=3)
    writer = live_writer(run)
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 3/12")
        await pilot.press("5", "space")
        await shows(pilot, "HELD at 3")
        writer.commit_record(np.ones((2, 5, 5), np.int32), {"epoch": 4.0})
        await shows(pilot, "epoch 4/12", "HELD at 3, 1 newer", "CCTM, test, epoch 3")


async def test_t_shows_the_other_split(run):
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("5")
        await shows(pilot, "CCTM, test")
        await pilot.press("t")
        await shows(pilot, "CCTM, train")


async def test_classes_are_chosen_by_name(run):
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("3", "c")
        await shows(pilot, "cat, dog", "the first two are the pair")
        await pilot.press(*["backspace"] * 8, *"shi")
        await shows(pilot, "ship")
        await pilot.press("p", "enter")
        await shows(pilot, "a pair needs two different classes")
        await pilot.press(*",cow", "enter")
        await shows(pilot, "there is no class 'cow'")
        await pilot.press(*["backspace"] * 3, *"car, 0", "enter")
        await shows(pilot, "ship ⇄ car")
        await pilot.press("4")
        await shows(pilot, "● ship  ▲ car  ■ plane")


async def test_a_picker_left_changes_nothing(run):
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("3", "c")
        await until(pilot, lambda: isinstance(app.screen, ClassPicker))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, ClassPicker))
        await shows(pilot, "cat ⇄ dog")


async def test_a_store_that_appears_later_is_picked_up(make_run, tmp_path):
    path = tmp_path / "later.zarr"
    async with app_for(path).run_test(size=SIZE) as pilot:
        await shows(pilot, "opening the run", "later.zarr")
        make_run(path, epochs=0)
        await shows(pilot, "no epoch is recorded yet")
        shutil.rmtree(path)
        await shows(pilot, "store unreadable")
        make_run(path, epochs=2)
        await shows(pilot, "epoch 2/12", "accuracy  %")
        await shows(pilot, no=("store unreadable",))


async def test_an_empty_folder_waits_for_its_first_run(make_run, tmp_path):
    async with app_for(tmp_path / "runs").run_test(size=SIZE) as pilot:
        await shows(pilot, "no runs below")
        make_run(tmp_path / "runs" / "a.zarr", epochs=2)
        await shows(pilot, "epoch 2/12", "[2 Overview]")


async def test_of_several_runs_enter_opens_the_one_in_focus(make_run, tmp_path):
    for number, name in enumerate(("one", "two", "three"), start=1):
        path = make_run(tmp_path / f"{name}.zarr", epochs=number)
        os.utime(path / "records" / "head" / "c.0", (100.0 - number, 100.0 - number))
    async with app_for(tmp_path).run_test(size=SIZE) as pilot:
        await shows(pilot, "[1 Runs]", "> ✓ finished   1/12", "three")
        await pilot.press("down", "j")
        await shows(pilot, "> ✓ finished   3/12")
        await pilot.press("k", "enter")
        await shows(pilot, "epoch 2/12 two", "[2 Overview]")
        await pilot.press("escape")
        await shows(pilot, "[1 Runs]")
        await pilot.press("down", "enter")
        await shows(pilot, "epoch 3/12 three")


async def test_a_run_cannot_be_viewed_before_one_is_open(make_run, tmp_path):
    for name in ("one", "two"):
        make_run(tmp_path / f"{name}.zarr", epochs=1)
    async with app_for(tmp_path).run_test(size=SIZE) as pilot:
        await shows(pilot, "[1 Runs]", "two")
        await pilot.press("3", "s")
        await shows(pilot, "[1 Runs]")
        assert app_of(pilot).screen_stack == [app_of(pilot).screen]


async def test_a_growing_run_is_painted_as_it_grows(make_run, live_writer, tmp_path):
    run = make_run(tmp_path / "a.zarr", epochs=2)
    writer = live_writer(run)
    async with app_for(run).run_test(size=SIZE) as pilot:
        await pilot.press("5")
        for epoch in (3, 4, 5):
            counts = np.full((2, 5, 5), epoch, np.int32)
            writer.commit_record(counts, {"epoch": float(epoch)})
            await pilot.press("5")
            await shows(pilot, f"CCTM, test, epoch {epoch}", f"{epoch} of {5 * epoch}")


async def test_the_form_starts_with_the_pair_that_interferes_most(run, asked):
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("s")
        await shows(pilot, "Scan the loss landscape", "> kind", "< ego >")
        lines = [" ".join(line.split()) for line in screen_text(app).splitlines()]
        assert any("first class cat" in line for line in lines)
        assert any("second class dog" in line for line in lines)
        assert any("span +/- auto" in line for line in lines)
        assert any("points a side 19" in line for line in lines)
        await pilot.press("enter")
        await shows(
            pilot, "[6 Landscape]", ">ego cat/dog auto e8 19x19", "waiting for the worker"
        )
    (request,) = asked
    assert request.classes == (2, 3)
    assert request.auto_span
    assert [scan.request for scan in find_scans(run)] == [request]


async def test_keys_change_the_form(run, asked):
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("3", "s")
        await shows(pilot, "< ego >")
        await pilot.press("down", "right")
        await shows(pilot, "> first class    < dog >")
        await pilot.press("c")
        await shows(pilot, "< car >")
        await pilot.press("down", "down", "left", "plus")
        await shows(pilot, "> second class   < cat >", "span +/-         1")
        await pilot.press("minus", "minus")
        await shows(pilot, "span +/-         0.01")
        await pilot.press("down", "left")
        await shows(pilot, "< 15 >", "225 points x 1,000 images")
        await pilot.press("tab", "down", "right")
        await shows(pilot, "> points across  < 5 >", "75 points x 1,000 images")
        await pilot.press("enter")
        await until(pilot, lambda: bool(asked))
    assert asked[0].classes == (1, 2)
    assert asked[0].points == (15, 5)
    assert asked[0].ranges == ((-0.01, 0.01), (-0.01, 0.01))


async def test_a_refused_form_stays_and_says_why(run, asked):
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("s", "down", "right", "enter")
        await shows(pilot, "needs two different classes")
        await pilot.press("escape")
        await shows(pilot, no=("Scan the loss landscape",))
    assert asked == []


async def test_every_kind_of_scan_can_be_asked_for(run, asked, make_scan):
    make_scan(run)  # whose directions are a file
    kinds = ("ego", "gaussian", "gradient", "toward", "pca", "file", "v-basin (preset)")
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        for steps, kind in enumerate(kinds):
            await pilot.press("s", "backspace", *["right"] * steps)
            await shows(pilot, f"< {kind} >")
            await pilot.press("enter")
            await shows(pilot, no=("Scan the loss landscape",))
            assert len(asked) > steps
    assert [request.kind for request in asked] == [*kinds[:6], *["gaussian"] * 5]
    assert asked[3].directions[0].toward_checkpoint == 1
    assert asked[4].trajectory == (1, 2, 3)
    assert len({request.series for request in asked[6:]}) == 1


async def test_a_film_is_stepped_and_played(run, make_scan, ask_scan, monkeypatch):
    monkeypatch.setattr("lossviz_tui.app.FRAME_SECONDS", 0.02)
    for epoch in (2, 4, 8):
        make_scan(run, ask_scan(points=5, series="film", epoch=epoch))
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("6")
        await shows(pilot, "frame 3 of 3, epoch 8", "3× ego cat/dog")
        await pilot.press("left")
        await shows(pilot, "frame 2 of 3, epoch 4")
        await pilot.press("space")
        for frame in ("1 of 3", "3 of 3", "2 of 3"):
            await shows(pilot, f"frame {frame}", "(playing)")
        await pilot.press("space")
        await shows(pilot, "space plays")


async def test_the_held_epoch_is_where_the_scan_begins(run, asked):
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("3", "home", "right")
        await shows(pilot, "HELD at 2")
        await pilot.press("s")
        await shows(pilot, "checkpoint       2")
        await pilot.press("enter")
        await until(pilot, lambda: bool(asked))
    assert (asked[0].checkpoint, asked[0].epoch) == (2, 2)


async def test_a_failed_scan_shows_its_sentence_where_it_would_be(run, make_scan):
    scan_id = make_scan(run, state=ScanState.QUEUED)
    async with app_for(run).run_test(size=SIZE) as pilot:
        await pilot.press("6")
        await until(pilot, lambda: app_of(pilot)._stage is not None)
        await pilot.press("6")
        await shows(pilot, "waiting for the worker")
        writer = ScanWriter(scan_folder(run, scan_id))
        writer.claim()
        writer.finish(ScanState.FAILED, "the checkpoint of epoch 2 is damaged")
        await shows(pilot, "the scan failed", "the checkpoint of epoch 2 is damaged")


async def test_a_plane_fills_in_while_it_is_computed(run, begin, fill_scan, ask_scan):
    request, names = ask_scan(), ("plane", "car", "cat", "dog", "ship")
    writer = begin(run, request)
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("6")
        await shows(pilot, "● running 0%", "no point yet")
        for share in (0.2, 0.6):
            fill_scan(writer, request, names, share)
            writer.flush(force=True)
            await shows(pilot, f"coarse picture: {writer.head.done // 2} of 81 points")
        fill_scan(writer, request, names, 1.0)
        writer.finish(ScanState.DONE)
        await shows(pilot, "✓ done", "centre train")
        await pilot.press("m")
        await shows(pilot, "recall loss of each class")
        await pilot.press("m", "right_square_bracket")
        await shows(pilot, "cut at 150 degrees")
        await pilot.press("m")
        await shows(pilot, "loss-shape similarity")


async def test_x_asks_and_y_cancels(run, make_scan, asked):
    scan_id = make_scan(run, state=ScanState.QUEUED)
    mark = scan_folder(run, scan_id) / "cancel"
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("6", "x")
        await shows(pilot, "Cancel the scan ego cat/dog ±0.1 e2 9x9? What is done is kept.")
        await pilot.press("n")
        await until(pilot, lambda: not isinstance(app.screen, ConfirmScreen))
        assert not mark.exists()
        await pilot.press("x", "y")
        await until(pilot, mark.exists)
        await tells(pilot, "asked the scan to stop")
        await shows(pilot, "■ cancelled")
    assert asked == []
    assert ScanReader(run, scan_id).state_word(ScanReader(run, scan_id).head()) == "cancelled"


async def test_y_cancels_the_scan_that_the_question_was_about(run, make_scan, ask_scan):
    asked_about = make_scan(run, state=ScanState.QUEUED)
    async with app_for(run).run_test(size=(60, 18)) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("6", "x")
        await shows(pilot, "Cancel the scan ego cat/dog ±0.1 e2 9x9?", " kept.")
        newer = make_scan(run, ask_scan(), state=ScanState.QUEUED)

        def is_in_focus() -> bool:
            stage = app_of(pilot)._stage
            scan = None if stage is None else stage.scene.scan
            return scan is not None and scan.scan_id == newer

        await until(pilot, is_in_focus)
        await pilot.press("y")
        await until(pilot, (scan_folder(run, asked_about) / "cancel").exists)
        await tells(pilot, "asked the scan to stop")
    assert not (scan_folder(run, newer) / "cancel").exists()


async def test_r_goes_on_with_an_interrupted_scan(run, begin, ask_scan, monkeypatch):
    started: list[object] = []
    monkeypatch.setattr("lossviz_tui.stage.ensure_worker", started.append)
    begin(run, ask_scan()).pause()
    for readonly in (True, False):
        async with app_for(run, readonly=readonly).run_test(size=SIZE) as pilot:
            await shows(pilot, "epoch 8/12")
            await pilot.press("6")
            await shows(pilot, "◐ interrupted")
            await pilot.press("r")
            if not readonly:
                await tells(pilot, "goes on with what waits")
        assert started == ([] if readonly else [run])


async def test_readonly_offers_no_work(run, make_scan):
    scan_id = make_scan(run, state=ScanState.QUEUED)
    app = app_for(run, readonly=True)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("6")
        await shows(pilot, "waiting for the worker")
        footer = screen_text(app).splitlines()[-1]
        assert "Scan" not in footer
        assert "Mode" in footer
        await pilot.press("s", "x")
        assert not isinstance(app.screen, ScanForm | ConfirmScreen)
        names = [command.title for command in app.get_system_commands(app.screen)]
        assert not any(name.startswith(("Scan", "Cancel")) for name in names)
    assert not (scan_folder(run, scan_id) / "cancel").exists()


async def test_the_footer_offers_what_means_something_here(run):
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        for key, label, present in (
            ("3", "Classes", True),
            ("5", "Classes", False),
            ("6", "Mode", True),
            ("1", "Mode", False),
        ):
            await pilot.press(key)
            await until(
                pilot,
                lambda label=label, present=present: (
                    (label in screen_text(app).splitlines()[-1]) is present
                ),
            )


async def test_help_is_one_page_of_the_keys_of_the_view(run):
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("3", "question_mark")
        await shows(pilot, "Diao et al. 2022")
        text = screen_text(app)
        for key in KEYS:
            if "dance" in key.views and not key.action.startswith("view("):
                assert key.help in text, key
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, HelpScreen))


async def test_the_palette_has_every_command_of_the_view(run):
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("3")
        await shows(pilot, "cat ⇄ dog")
        titles = {command.title for command in app.get_system_commands(app.screen)}
        wanted = {f"{key.label} ({key.shown})" for key in KEYS if "dance" in key.views}
        assert wanted <= titles
        await pilot.press("ctrl+p")
        await pilot.pause()
        await pilot.press(*"notes")
        await shows(pilot, "the view Notes")
        await pilot.press("enter")
        await shows(pilot, "dancing notes, test")


async def test_what_cannot_be_done_is_said(run, make_scan):
    make_scan(run)
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("6")
        await shows(pilot, "✓ done")
        await pilot.press("x")
        await tells(pilot, "the scan is done already")


async def test_export_writes_a_file_and_says_where(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("3", "e", "c")
        await tells(pilot, "pets-dance-epoch8.csv")
        await pilot.press("e", "enter")  # the same format again, and nothing is written over
        await tells(pilot, "pets-dance-epoch8-2.csv")
        await pilot.press("e", "escape", "5", "e", "s")
        await tells(pilot, "pets-cctm-epoch8.svg")
    assert (tmp_path / "pets-dance-epoch8.csv").is_file()
    assert (tmp_path / "pets-dance-epoch8-2.csv").is_file()
    assert "CCTM, test, epoch 8" in (tmp_path / "pets-cctm-epoch8.svg").read_text()


async def test_enter_in_the_cctm_opens_the_dance_of_that_entry(run):
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("5")
        await shows(pilot, "cat called dog")  # the worst one
        await pilot.press("left")
        await shows(pilot, "cat rightly called cat")
        await pilot.press("right", "right", "enter")
        await shows(pilot, "cat ⇄ ship")


async def test_a_resize_that_textual_loses_is_followed_all_the_same(run):
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        app._resize_timer = app.set_timer(1e6, lambda: None)  # one that is never called
        for width in (60, 100):
            app.post_message(Resize(Size(width, 30), Size(width, 30)))
            await until(pilot, lambda wanted=width: len(rows_of(app)[0]) == wanted)
            await shows(pilot, "epoch 8/12", "accuracy  %")


async def test_a_small_terminal_and_back(run, make_scan):
    make_scan(run)
    async with app_for(run).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        for key, words in (("3", "cat ⇄ dog"), ("5", "CCTM, test"), ("6", "ego cat/dog")):
            await pilot.press(key)
            for size in ((60, 18), (20, 6), (160, 50), SIZE):
                await pilot.resize_terminal(*size)
                if size[0] >= 60:
                    await shows(pilot, words)
                await until(
                    pilot,
                    lambda size=size: len(screen_text(app_of(pilot)).splitlines()) == size[1],
                )


@pytest.mark.parametrize(
    "options",
    [
        {"charset": "ascii"},
        {"light": True},
        {"color": "16"},
        {"charset": "blocks", "slow": True},
    ],
)
async def test_every_view_on_every_terminal(run, make_scan, options):
    make_scan(run)
    async with app_for(run, **options).run_test(size=SIZE) as pilot:
        await every_view(pilot)
        view = screen_text(app_of(pilot)).splitlines()[:-1]
        if options.get("charset") == "ascii":
            assert "\n".join(view).isascii()


async def test_every_view_without_colour(run, make_scan, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    make_scan(run)
    async with app_for(run).run_test(size=SIZE) as pilot:
        assert pilot.app.no_color
        await every_view(pilot)


async def every_view(pilot: Pilot[None]) -> None:
    for key, words in (
        ("2", "accuracy"),
        ("3", "recall"),
        ("4", "dancing notes"),
        ("5", "CCTM, test"),
        ("6", "ego cat/dog"),
        ("1", "resnet20" if pilot.app.size.width >= 110 else "85.40 %"),
    ):
        await shows(pilot, "epoch 8/12")
        await pilot.press(key)
        await shows(pilot, words)
    await pilot.press("6")
    await shows(pilot, "ego cat/dog")
    for _ in range(3):
        await pilot.press("m", "v", "g")
        await pilot.pause()
    await pilot.press("s")
    await shows(pilot, "Scan the loss landscape")
    await pilot.press("escape", "question_mark")
    await shows(pilot, "every command")
    await pilot.press("escape")


async def test_an_older_painting_that_comes_late_is_not_shown(run):
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("5")
        await shows(pilot, "CCTM, test")
        await until(pilot, lambda: app._shown_number == app._paint_number > 1)
        status, view = (
            blank_lines(app.query_one(f"#{name}").content_size) for name in ("status", "view")
        )
        app.on_painted(Painted(app._shown_number - 1, status, view, urgent=True))
        assert "CCTM, test" in screen_text(app)


async def test_an_overtaken_answer_to_a_key_stays_urgent(run):
    """Without budget only what is urgent goes, and here nothing else would for minutes."""
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await until(pilot, lambda: app._shown_number == app._paint_number)
        app._budget.spend(10_000_000)
        assert app._stage is not None
        app._select(replace(app._stage.selection, view="cctm"))
        app._repaint()
        await shows(pilot, "CCTM, test")


@pytest.fixture
def three_runs(make_run, tmp_path):
    """Runs one, two and three, in this order in the list."""
    for number, name in enumerate(("one", "two", "three"), start=1):
        path = make_run(tmp_path / f"{name}.zarr", epochs=number + 1)
        os.utime(path / "records" / "head" / "c.0", (100.0 - number, 100.0 - number))
    return tmp_path


async def test_the_list_narrows_while_one_types(three_runs):
    app = app_for(three_runs)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "[1 Runs]", "three")
        await pilot.press("slash", *"thq")
        await shows(pilot, "thq", 'no run matches "thq"')
        await pilot.press("backspace")
        await shows(pilot, '1 of 3 match "th"')
        await shows(pilot, no=("one ",))
        await pilot.press("enter")
        await until(pilot, lambda: not app.query("#filter"))
        await shows(pilot, '1 of 3 match "th"')
        await pilot.press("slash", "escape")
        await shows(pilot, "one", "two", "three")
        await until(pilot, lambda: not app.query("#filter"))
        await pilot.press("slash", *"tw", "enter", "escape")
        await shows(pilot, "one", "two", "three")
        await pilot.press("slash", *"two", "enter", "enter")
        await shows(pilot, "epoch 3/12 two", "[2 Overview]")


async def test_what_is_pasted_into_the_filter_is_harmless(three_runs):
    app = app_for(three_runs)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "[1 Runs]", "three")
        await pilot.press("slash")
        await until(pilot, lambda: app.focused is not None)
        asked = app.focused
        assert asked is not None
        asked.post_message(Paste("\x1b[2J\u202eevil\x07" + "x" * 10_000 + "\nmore"))
        await shows(pilot, "no run matches")
        text = screen_text(app)
        assert not set(text) & {"\x1b", "\u202e", "\x07"}
        assert app._stage is not None
        assert len(app._stage.selection.run_filter) == 80


async def test_another_view_takes_the_filter_line_away(three_runs):
    app = app_for(three_runs)
    async with app.run_test(size=SIZE) as pilot:
        await shows(pilot, "[1 Runs]", "three")
        await pilot.press("enter", "1", "slash")
        await until(pilot, lambda: bool(app.query("#filter")))
        await app.run_action("view('dance')")
        await shows(pilot, "[3 Dance]")
        await until(pilot, lambda: not app.query("#filter"))


def overlays_of(app: LossvizApp) -> tuple[Overlay, ...]:
    return () if app._stage is None else app._stage.scene.overlays


async def test_marked_runs_are_drawn_together_and_live(three_runs, live_writer):
    writer = live_writer(three_runs / "three.zarr")
    async with app_for(three_runs).run_test(size=SIZE) as pilot:
        await shows(pilot, "[1 Runs]", "> ● live", "three")
        await pilot.press("space")
        await shows(pilot, "● three", "1 marked")
        await pilot.press("down", "space", "enter")
        await shows(pilot, "[2 Overview]", "▲ one 81.80 % at 2  ● three", "accuracy, test")
        await pilot.press("3")
        await shows(pilot, "recall of cat", "● three")
        app = app_of(pilot)
        writer.commit_record(np.full((2, 5, 5), 9, np.int32), {"epoch": 9.0})
        await until(
            pilot,
            lambda: [len(one.view or ()) for one in overlays_of(app)] == [5],
        )
        await pilot.press("1", "space", "2")
        await shows(pilot, no=("▲ one",))


async def test_a_smoothed_overview_and_pairs_by_score(run):
    async with app_for(run).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("m")
        await shows(pilot, "cross-entropy, mean of 3 epochs")
        await pilot.press("m")  # of eight epochs a tenth is three as well
        await shows(pilot, no=("mean of",))
        await pilot.press("3")
        await shows(pilot, "by mean rate")
        await pilot.press("o")
        await shows(pilot, "by dance score")


async def test_a_set_of_classes_is_chosen_and_one_of_its_pairs(run):
    async with app_for(run).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("3", "c")
        await shows(pilot, "2 to 8 names")
        await pilot.press("end", *", ship", "enter")
        await shows(pilot, "cat ⇄ dog", "■ ship", "pair 1/3 by rate")
        await pilot.press("down")
        await shows(pilot, "pair 2/3 by rate", "■ ship")


async def test_with_readonly_no_key_that_starts_work_is_named(run):
    async with app_for(run, readonly=True).run_test(size=SIZE) as pilot:
        await shows(pilot, "epoch 8/12")
        await pilot.press("6")
        await shows(pilot, "no scans yet")
        assert "press s" not in screen_text(app_of(pilot))
