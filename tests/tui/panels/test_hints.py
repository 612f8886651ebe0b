"""The keys that views name: those the user has, and none that was taken away."""

from dataclasses import replace

import pytest
from tests.tui.pilots import app_for, shows

from lossviz_analysis.store.schema import ScanState
from lossviz_tui.config import remapped
from lossviz_tui.keys import KEYS
from lossviz_tui.listing import RunRow
from lossviz_tui.paint.palettes import Look
from lossviz_tui.panels import cctm, landscape, overview, runs, status
from lossviz_tui.scene import Scene, Standing
from lossviz_tui.selection import Selection

OTHER = tuple(replace(key, keys=f"f{number}") for number, key in enumerate(KEYS))
"""Every action by a key of its own."""
NONE = tuple(replace(key, keys="") for key in KEYS)
PAINTERS = {
    "runs": runs.paint,
    "overview": overview.paint,
    "cctm": cctm.paint,
    "landscape": landscape.paint,
    "status": status.paint,
}


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("hints") / "pets.zarr")


@pytest.fixture(scope="module")
def half_done(run, begin, ask_scan, fill_scan):
    writer = begin(run, ask_scan())
    fill_scan(writer, ask_scan(), ("",) * 5, 0.5)
    writer.pause()
    return writer.folder.name


@pytest.fixture(scope="module")
def scenes(run, make_scene, make_view, make_scan, ask_scan, scene_of_scans, half_done):
    """Moments at which a view names keys, by name: the painter, and the moment."""
    planes = [
        make_scan(run, ask_scan(series="film", epoch=epoch), state=ScanState.DONE)
        for epoch in (2, 4)
    ]
    small, large = (make_scan(run, ask_scan(epoch=e, points=n)) for e, n in ((2, 9), (4, 11)))
    old = make_scan(run, state=ScanState.QUEUED)
    line = make_scan(run, ask_scan(1))
    waits = scene_of_scans(run, old)
    renamed = replace(waits.scans[0], scan_id=f"20250101{old[8:]}")
    beside = scene_of_scans(run, small, large, beside=small)
    film = scene_of_scans(run, *planes)
    uneven = scene_of_scans(run, small, line, beside=small)
    kept = scene_of_scans(run, small).picture

    def of(view, **selection):
        return make_scene(selection=Selection(view=view, **selection))

    def status_of(word):
        standing = Standing(word=word, message="why not")
        return make_scene(standing=standing, selection=Selection(view="overview"))

    empty = make_view(epochs=0)
    unseen = make_view(change=lambda counts: counts.fill(0))
    row = RunRow(
        path=run,
        word="live",
        epoch=1,
        epochs=2,
        best_test_accuracy=None,
        model="",
        dataset="",
        trend=unseen.recall[:0, 0, 0],
        message="",
        changed=0.0,
    )
    return {
        "no runs": ("runs", of("runs")),
        "no such run": ("runs", replace(of("runs", run_filter="zebra"), runs=(row,))),
        "failed": ("status", status_of("failed")),
        "paused": ("status", status_of("paused")),
        "nothing yet": (
            "overview",
            replace(of("overview"), view=empty, standing=Standing(word="crashed")),
        ),
        "not counted": ("cctm", replace(of("cctm"), view=unseen)),
        "no class": ("cctm", of("cctm", class_filter="zebra")),
        "no comparison": ("cctm", of("cctm", comparison="runs")),
        "many classes": (
            "cctm",
            replace(of("cctm"), view=make_view(num_classes=300, epochs=1)),
        ),
        "no scans": ("landscape", of("landscape")),
        "no worker": ("landscape", replace(waits, scans=(renamed,), now=1e9)),
        "interrupted": ("landscape", scene_of_scans(run, half_done)),
        "film": ("landscape", film),
        "film with a cursor": (
            "landscape",
            replace(film, selection=replace(film.selection, point=(1, 1))),
        ),
        "cut": ("landscape", scene_of_scans(run, small, has_cut=True)),
        "beside": ("landscape", replace(beside, beside=kept)),
        "uneven": ("landscape", replace(uneven, beside=kept)),
    }


HINTS = {
    "no runs": "{train} starts a training; so do lossviz-tui train and lossviz-tui demo",
    "no such run": "{set('back')} shows all of them",
    "failed": "{log}: the log",
    "paused": "{pause}: go on",
    "nothing yet": "{log} shows what it printed",
    "not counted": "{set('other_split')} shows the other split",
    "no class": "{filter_classes} asks for another part, {set('back')} shows all",
    "no comparison": "{set('next_comparison')} shows the CCTM itself",
    "many classes": "largest entries; {set('next_zoom')} zooms",
    "no scans": "press {scan} to ask for one",
    "no worker": "{scan} or {resume_scan} starts one",
    "interrupted": "interrupted, {resume_scan} goes on; ",
    "film": "({aside(-1)} {aside(1)} step, {set('playing_toggled')} plays)",
    "film with a cursor": "({frame(-1)} {frame(1)} step, {set('playing_toggled')} plays)",
    "cut": "cut at 135 degrees, {set('next_mode')} shows its profile",
    "beside": "{set('inspection_toggled')} shows values, {set('beside_toggled')} or "
    "{set('back')} this one alone",
    "uneven": "{set('back')} shows this one alone",
}
WORK = {
    "no runs": "start one with: lossviz-tui train, or lossviz-tui demo",
    "paused": "paused  why not",
    "no scans": "no scans yet",
    "no worker": "no worker is running",
    "interrupted": "interrupted; ",
}
"""What is said where no key starts work."""


@pytest.fixture
def read(scenes, read_lines):
    def paint(name: str, **changes) -> str:
        painter, scene = scenes[name]
        size = (80, 2) if painter == "status" else (70, 16)
        return read_lines(PAINTERS[painter](replace(scene, **changes), size))

    return paint


def worded(hint: str, scene: Scene, keys) -> str:
    """A hint with the labels of keys in place of actions."""
    for key in keys:
        if scene.selection.view in key.views:
            label = key.shown.split(" ")[0].replace("escape", "esc")
            hint = hint.replace("{" + key.action + "}", label)
    return hint


@pytest.mark.parametrize("keys", [KEYS, OTHER], ids=["usual", "remapped"])
@pytest.mark.parametrize("name", HINTS)
def test_a_view_names_the_keys_the_user_has(read, scenes, name, keys):
    wanted = worded(HINTS[name], scenes[name][1], keys)
    assert "{" not in wanted
    assert wanted in read(name, keys=keys)


@pytest.mark.parametrize("name", HINTS)
def test_a_key_that_was_taken_away_is_not_named(read, name):
    text = read(name, keys=NONE)
    for words in ("starts a", "shows", "plays", "press", "goes on", "zooms", "this one alone"):
        assert words not in text
    assert ": the log" not in text
    assert ": go on" not in text


@pytest.mark.parametrize("name", WORK)
def test_with_readonly_no_key_that_starts_work_is_named(read, scenes, name):
    text = read(name, readonly=True)
    assert WORK[name] in text
    assert worded(HINTS[name], scenes[name][1], KEYS) not in text
    assert "starts one" not in text


def test_arrows_are_spelled_out_in_ascii(make_scene):
    scene = make_scene(look=Look(charset="ascii"), selection=Selection(view="landscape"))
    assert scene.key("aside(-1)") == "<-"
    assert scene.hint("step", "aside(-1)", "aside(1)") == "<- or -> step"
    assert scene.hint("step", "nobody") == ""


async def test_the_views_are_told_of_the_users_keys_also_after_another_run_was_opened(
    make_run, tmp_path
):
    for name in ("cats", "dogs"):
        make_run(tmp_path / f"{name}.zarr")
    keys = remapped(KEYS, {"scan": "f2"})
    async with app_for(tmp_path, keys=keys).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "cats", "dogs")
        await pilot.press("enter", "6")
        await shows(pilot, "press f2 to ask for one")
