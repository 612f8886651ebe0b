"""The scan form on the screen: device, cost, memory of the last choice, little room."""

import json
from dataclasses import replace

import pytest
from tests.tui.pilots import app_for, screen_text, shows

from lossviz_analysis.store.scan_report import ScanReport
from lossviz_analysis.store.scans import submit
from lossviz_tui.remembering import state_folder

REPORT = ScanReport(images_per_second=1_000.0, num_bytes=18_000_000, seconds={"setup": 3.0})


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr("lossviz_tui.app.POLL_SECONDS", 0.05)
    monkeypatch.setattr("lossviz_tui.devices.num_gpus", lambda: 2)
    monkeypatch.setattr("lossviz_tui.costing.num_gpus", lambda: 0)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def asked(monkeypatch):
    """Scans asked for; no worker starts."""
    requests = []

    def request_scan(run, request):
        requests.append(request)
        return submit(run, request)

    monkeypatch.setattr("lossviz_tui.screens.scan_form.request_scan", request_scan)
    return requests


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path / "pets.zarr")


async def open_form(pilot) -> None:
    await shows(pilot, "epoch 8/12")
    await pilot.press("s")
    await shows(pilot, "Scan the loss landscape")


async def test_the_device_is_chosen_or_typed(run, asked):
    async with app_for(run).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await pilot.press("up")
        await shows(pilot, "> device         < auto >")
        await pilot.press("left")
        await shows(pilot, "< cuda:0,cuda:1 >")
        await pilot.press(*"cpu, cpu", "enter")
        await shows(pilot, "[6 Landscape]")
        await pilot.press("s", "up", "x", "enter")
        await shows(pilot, "[6 Landscape]")
    assert [request.device for request in asked] == ["cpu,cpu", "x"]


async def test_what_is_not_measured_is_not_said(run, make_scan):
    async with app_for(run).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await shows(pilot, "361 points x 1,000 images", "time and memory: not measured yet")
        await pilot.press("escape")
        make_scan(run, report=REPORT)
        await pilot.press("s")
        await shows(pilot, "about 6m 4s, 18 MB beside the data", "1,000 images/s on cpu")
        await pilot.press("up", *"cuda:1")
        await shows(pilot, "not measured yet in exact on cuda:1")


@pytest.mark.parametrize("size", [10**400, True], ids=["huge", "no number"])
async def test_a_stranger_s_number_of_examples_is_not_believed(run, make_scan, size):
    make_scan(run, report=REPORT)
    path = run / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["dataset"]["num_train"] = size
    path.write_text(json.dumps(document))
    async with app_for(run).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await shows(pilot, "361 points x every example", "not measured yet")


async def test_the_last_choice_is_remembered_for_that_run(run, asked):
    async with app_for(run).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await pilot.press("right", "down", "down", "down", "down", "left", "enter")
        await shows(pilot, "[6 Landscape]")
    assert asked[0].kind == "gaussian"
    assert not list(run.rglob("*forms*"))
    async with app_for(run).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await shows(pilot, "< gaussian >", "as the last time; ctrl+r")
        await pilot.press("enter")
        await shows(pilot, "[6 Landscape]")
        assert asked[1].points == asked[0].points
        await pilot.press("s", "backspace")
        await shows(pilot, "< ego >", "first class    ")
        assert "as the last time" not in screen_text(pilot.app)


@pytest.mark.parametrize(
    "damage",
    [
        "{",
        '{"scan": {"9b2e8f0e-6f4c-4a68-8f5b-3d1d6b9a0c11": {"kind": "no such"}}}',
        '{"scan": {"9b2e8f0e-6f4c-4a68-8f5b-3d1d6b9a0c11": '
        '{"kind": "ego", "points": -3, "span": {}, "device": "\\u001b[2J", "range": [1]}}}',
    ],
)
async def test_a_damaged_memory_is_ignored(run, asked, damage):
    state_folder().mkdir(parents=True)
    (state_folder() / "forms.json").write_text(damage)
    async with app_for(run).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await pilot.press("enter")
        await shows(pilot, "[6 Landscape]")
    assert (asked[0].kind, asked[0].points, asked[0].device) == ("ego", (19, 19), "auto")


@pytest.mark.parametrize("options", [{}, {"charset": "ascii", "color": "16"}])
async def test_the_form_fits_sixty_by_eighteen(run, make_scan, options):
    make_scan(run, report=REPORT)
    async with app_for(run, **options).run_test(size=(60, 18)) as pilot:
        await open_form(pilot)
        for page in ("more", "back"):
            await shows(pilot, f"tab {page}", "esc leave", "about 6m")
            for _ in range(12):
                await pilot.press("down")
                lines = screen_text(pilot.app).splitlines()
                assert sum(" > " in line for line in lines) == 1
                if options.get("charset") == "ascii":
                    assert "\n".join(lines[:-1]).isascii()
            await pilot.press("tab")


async def test_a_side_of_a_valley_goes_from_an_early_model_to_the_last(run, asked):
    async with app_for(run).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await pilot.press("left", "left", "left")
        await shows(pilot, "< v-side (preset) >", "an early one", "toward           epoch 8")
        await pilot.press("enter")
        await shows(pilot, "[6 Landscape]")
    assert (asked[0].epoch, asked[0].directions[0].toward_checkpoint) == (2, 3)


async def test_points_span_and_examples_are_typed_or_chosen(run, asked):
    async with app_for(run).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        for label, keys in (
            ("points a side", "21"),
            ("span +/-", "0.35"),
            ("examples", "120"),
        ):
            while f"> {label}" not in screen_text(pilot.app):
                await pilot.press("down")
            await shows(pilot, "or type")
            await pilot.press(*keys)
            await shows(pilot, f"< {keys}_ >")
        await shows(pilot, "441 points x 120 images")
        await pilot.press("enter")
        await shows(pilot, "[6 Landscape]")
    (request,) = asked
    assert (request.points, request.examples) == ((21, 21), 120)
    assert request.ranges == ((-0.35, 0.35),) * 2


async def test_each_kind_says_what_it_shows(run):
    async with app_for(run).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await shows(pilot, "along minus the gradients of two classes")
        await pilot.press("right")
        await shows(pilot, "along random directions")
        await pilot.press("down")
        await shows(pilot, "> seed ", no=("along random directions",))


async def test_a_long_scan_is_asked_about_once_more(run, make_scan, asked):
    make_scan(run, report=replace(REPORT, images_per_second=100.0))
    async with app_for(run).run_test(size=(80, 24)) as pilot:
        await open_form(pilot)
        await pilot.press("enter")
        await shows(pilot, "this takes about 1h", "enter again starts it")
        assert not asked
        await pilot.press(*["down"] * 4, "right", "enter")  # another scan, another question
        await shows(pilot, "enter again starts it")
        assert not asked
        await pilot.press("enter")
        await shows(pilot, "[6 Landscape]")
    assert len(asked) == 1
