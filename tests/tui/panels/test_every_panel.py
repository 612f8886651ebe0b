"""What all panels promise: exact size, whatever the size, the run and its names are."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lossviz_analysis.store.reader import Pulse
from lossviz_analysis.store.requests import DirectionSpec, ScanRequest
from lossviz_analysis.store.scan_report import ScanReport
from lossviz_analysis.store.scans import ScanReader
from lossviz_analysis.store.schema import ScanState
from lossviz_tui.gpus import Gpu, GpuSample
from lossviz_tui.history import RunView
from lossviz_tui.listing import RunRow, scan_row
from lossviz_tui.overlay import Overlay
from lossviz_tui.paint.palettes import Look
from lossviz_tui.panels import cctm, dance, landscape, notes, overview, runs, status
from lossviz_tui.panels.texts import age_text, duration_text
from lossviz_tui.picture import picture_of
from lossviz_tui.scene import Scene, Standing
from lossviz_tui.selection import LANDSCAPE_MODES, RunMark, Selection

PAINTERS = {
    "runs": runs.paint,
    "overview": overview.paint,
    "dance": dance.paint,
    "notes": notes.paint,
    "cctm": cctm.paint,
    "landscape": landscape.paint,
    "status": status.paint,
}
USUAL_SIZES = ((60, 18), (80, 24), (160, 50))
ODD_SIZES = tuple(itertools.product((1, 2, 3, 7, 19, 33), (1, 2, 3, 5, 9)))
LOOKS = (
    Look(),
    Look(charset="ascii", color="none"),
    Look(charset="blocks", color="16", dark=False),
    Look(color="256"),
)
HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07cat",
    "[bold red]dog[/] [@click=app.quit]x[/]",
    "\u202egod\u202c \u2067rtl\u2069",
    "x" * 10_000_000,
    "tab\tline\nreturn\rnul\x00\x9b31m",
    "wide 猫犬魚" * 5,
    "e\u0301\u200d\u200b zero",
)
NOT_ON_SCREEN = ("\u202e", "\u202c", "\u2067", "\u2069", "\u200d", "\u200b", "\x1b", "\x9b")


def row_of(path: Path, **changes) -> RunRow:
    usual = RunRow(
        path=path,
        word="live",
        epoch=3,
        epochs=12,
        best_test_accuracy=0.81,
        model="resnet20",
        dataset="pets",
        trend=np.array([0.2, 0.5, 0.81]),
        message="",
        changed=1_750_000_000.0,
    )
    return replace(usual, **changes)


def standing_of(**changes) -> Standing:
    pulse = Pulse(
        beat=4,
        epoch=9,
        step=40,
        steps_per_epoch=100,
        loss=0.4,
        images_per_second=900.0,
        phase=0,
        pid=1,
    )
    return replace(Standing(word="live", pulse=pulse, data_seen=100.0), **changes)


def nan_rows(counts: np.ndarray) -> None:
    """No examples of two classes, for the whole run and for some epochs."""
    counts[:, :, 1] = 0
    counts[2:4, :, 3] = 0


def only_test(counts: np.ndarray) -> None:
    """A training loop of the user's own that counts nothing of the train split."""
    counts[:, 0] = 0


def not_finite(view: RunView) -> RunView:
    """A run whose scalars are no numbers, each in its way."""
    scalars = view.scalars.copy()
    scalars[:, 1:] = np.resize([np.nan, np.inf, -np.inf, 1e308, -1e308], scalars[:, 1:].shape)
    return replace(view, scalars=scalars)


def newest_only(view: RunView, count: int) -> RunView:
    """A run of which the matrices of the newest epochs are read so far."""
    return replace(
        view,
        class_epochs=view.class_epochs[-count:],
        recall=view.recall[-count:],
        notes=view.notes[-count:].astype(np.int16),
        counts=None if view.counts is None else view.counts[-count:],
        num_waiting=len(view) - count,
    )


def none_read(view: RunView) -> RunView:
    """A run of which no matrix could be read."""
    none = newest_only(view, 1)
    return replace(
        none,
        class_epochs=none.class_epochs[:0],
        recall=none.recall[:0],
        notes=none.notes[:0],
        counts=None,
        unreadable=(f"{HOSTILE[0]} is damaged",),
    )


def thinned(view: RunView) -> RunView:
    """A run of which every fourth epoch is kept, and no matrices."""
    return replace(
        view,
        class_epochs=view.class_epochs[::4],
        recall=view.recall[::4],
        notes=view.notes[::4].astype(np.int16),
        counts=None,
        stride=4,
    )


VIEWS = {
    "no run": lambda _: None,
    "empty": lambda make: make(epochs=0),
    "one epoch": lambda make: make(epochs=1),
    "eight epochs": lambda make: make(),
    "2 classes": lambda make: make(num_classes=2),
    "100 classes": lambda make: make(num_classes=100, epochs=5),
    "1,000 classes": lambda make: make(num_classes=1_000, epochs=2),
    "no examples": lambda make: make(change=nan_rows),
    "no examples at all": lambda make: make(change=lambda counts: counts.fill(0)),
    "one class": lambda make: make(num_classes=1),
    "one class of one epoch": lambda make: make(num_classes=1, epochs=1),
    "only test": lambda make: make(change=only_test),
    "no finite scalar": lambda make: not_finite(make()),
    "one epoch of no finite scalar": lambda make: not_finite(make(epochs=1)),
    "being read": lambda make: newest_only(make(epochs=30), 3),
    "nothing read yet": lambda make: none_read(make(epochs=30)),
    "thinned": lambda make: thinned(make(epochs=30)),
    "hostile": lambda make: make(num_classes=len(HOSTILE), names=HOSTILE),
}


@pytest.fixture(scope="module")
def views(make_view) -> dict[str, RunView | None]:
    return {name: build(make_view) for name, build in VIEWS.items()}


@pytest.fixture(scope="module")
def scanned(make_run, make_scan, ask_scan, read_view, tmp_path_factory):
    """A run with scans in every state, and the picture of each that has one."""
    path = make_run(
        tmp_path_factory.mktemp("scanned") / "pets.zarr",
        names=HOSTILE,
        epochs=4,
    )
    ids = {
        "whole plane": make_scan(path, ask_scan(split="both"), names=HOSTILE),
        "half a plane": make_scan(path, state=ScanState.RUNNING, share=0.5, names=HOSTILE),
        "no cell yet": make_scan(path, state=ScanState.RUNNING, share=0.0, names=HOSTILE),
        "cancelled": make_scan(path, state=ScanState.CANCELLED, share=0.4, names=HOSTILE),
        "line": make_scan(path, ask_scan(1), names=HOSTILE),
        "half a line": make_scan(
            path,
            ask_scan(1, kind="gaussian"),
            state=ScanState.RUNNING,
            share=0.5,
            names=HOSTILE,
        ),
        "failed": make_scan(
            path, state=ScanState.FAILED, share=0.3, names=HOSTILE, message=HOSTILE[0]
        ),
        "queued": make_scan(path, state=ScanState.QUEUED),
        "coarse, with a way out of sight": make_scan(
            path,
            state=ScanState.RUNNING,
            stride=4,
            names=HOSTILE,
            trajectory=((0.0, 1e300, -1e300, 1e300), (4.0, 0.01, 0.02, 0.0)),
            report=ScanReport(forward=HOSTILE[0], notes=HOSTILE[:3], images_per_second=1e300),
        ),
        "given up": make_scan(
            path,
            ask_scan(clip=0.3),
            names=HOSTILE,
            chunks=lambda index: 1 if index[0] % 3 else 2,
        ),
        "a frame": make_scan(path, ask_scan(series=HOSTILE[1]), names=HOSTILE),
        "half a frame": make_scan(
            path,
            ask_scan(series=HOSTILE[1]),
            state=ScanState.RUNNING,
            share=0.3,
            names=HOSTILE,
        ),
        "a curve": make_scan(path, ask_scan(1, series="curves", split="both"), names=HOSTILE),
        "half a curve": make_scan(
            path,
            ask_scan(1, series="curves", split="both"),
            state=ScanState.RUNNING,
            stride=4,
            names=HOSTILE,
        ),
    }
    history = read_view(path)
    rows = tuple(scan_row(ScanReader(path, scan_id)) for scan_id in ids.values())
    pictures = {name: picture_of(ScanReader(path, i), history) for name, i in ids.items()}
    return history, ids, rows, pictures


def scene_of(view: RunView | None, look: Look, **changes) -> Scene:
    folder = Path("/runs/\x1b[31mred")
    rows = (
        row_of(folder / "a.zarr"),
        row_of(folder / "\x1b[2J\u202eb.zarr", word="failed", message=HOSTILE[0]),
        row_of(folder / "c.zarr", best_test_accuracy=None, trend=np.empty(0), epochs=None),
        row_of(
            folder / "d.zarr", model=HOSTILE[1], dataset=HOSTILE[2], trend=np.full(3, np.nan)
        ),
    )
    usual = Scene(
        look=look, view=view, standing=standing_of(), folder=folder, runs=rows, now=165.0
    )
    return replace(usual, **changes)


def assert_harmless(lines) -> None:
    text = "".join(line.text for line in lines)
    assert not any(character in text for character in NOT_ON_SCREEN)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("panel", PAINTERS)
def test_a_panel_is_as_large_as_it_is_told(views, check_lines, panel, name):
    view = views[name]
    sizes = USUAL_SIZES if name == "1,000 classes" else (*USUAL_SIZES, *ODD_SIZES)
    looks = itertools.cycle(LOOKS)
    for size in sizes:
        for selection in (
            Selection(view=panel if panel != "status" else "dance"),
            Selection(
                view=panel if panel != "status" else "runs",
                epoch=2,
                split="train",
                all_classes=True,
                log=True,
                color_diagonal=True,
                cell=(999, 999),
                run_row=99,
                pair=None if view is None else (1, 0),
            ),
        ):
            look = next(looks)
            scene = scene_of(view, look, selection=selection)
            lines = PAINTERS[panel](scene, size)
            check_lines(lines, size, look)
            assert_harmless(lines)


@pytest.mark.parametrize("mode", LANDSCAPE_MODES)
def test_every_scan_in_every_mode_is_as_large_as_it_is_told(scanned, check_lines, mode):
    view, ids, rows, pictures = scanned
    looks = itertools.cycle(LOOKS)
    for name, scan_id in ids.items():
        for size in (*USUAL_SIZES, *ODD_SIZES):
            look = next(looks)
            selection = Selection(
                view="landscape",
                scan_id=scan_id,
                mode=mode,
                quantity="loss" if size[0] % 2 else "mistakes",
                log=size[1] % 2 == 1,
                point=(size[0], 3) if size[0] % 3 else None,
                surface=size[1],
                has_cut=size[1] % 3 == 0,
                beside=ids["half a plane"] if size[1] % 2 else None,
            )
            picture = pictures[name]
            siblings = tuple(
                one
                for one in pictures.values()
                if picture and one and one.request.series == picture.request.series != ""
            )
            scene = scene_of(
                view,
                look,
                scans=rows,
                picture=picture,
                siblings=siblings,
                beside=pictures["half a plane"],
                selection=selection,
            )
            lines = landscape.paint(scene, size)
            check_lines(lines, size, look)
            assert_harmless(lines)
            check_lines(status.paint(scene, (size[0], 2)), (size[0], 2), look)


@pytest.mark.parametrize("panel", ["overview", "dance", "notes", "cctm"])
def test_a_hostile_sentence_of_a_failed_run_is_harmless(views, check_lines, panel):
    scene = scene_of(
        views["empty"], Look(), standing=standing_of(word="failed", message=HOSTILE[0])
    )
    lines = PAINTERS[panel](scene, (60, 18))
    check_lines(lines, (60, 18), Look())
    assert_harmless(lines)
    assert "cat" in "".join(line.text for line in lines)


@pytest.mark.parametrize("panel", ["overview", "dance", "notes", "cctm", "landscape"])
def test_trouble_before_the_run_is_read_is_harmless(check_lines, panel):
    scene = scene_of(None, Look(), trouble="/runs/\x1b[2Ja.zarr cannot be read")
    lines = PAINTERS[panel](scene, (60, 18))
    check_lines(lines, (60, 18), Look())
    assert_harmless(lines)


@pytest.mark.parametrize("size", [(80, 24), (60, 18)])
@pytest.mark.parametrize(
    ("name", "panel", "split", "sentence"),
    [
        ("one class", "dance", "test", "one class has nobody to dance with"),
        ("one class", "notes", "test", "one class is never taken for another"),
        ("one class", "cctm", "test", "rightly called"),
        ("one class", "overview", "test", "accuracy  %"),
        ("only test", "dance", "train", "no example of the train split was counted"),
        ("only test", "notes", "train", "no example of the train split was counted"),
        ("only test", "cctm", "train", "no example of the train split was counted"),
        ("only test", "dance", "test", "cat ⇄ dog"),
        ("no finite scalar", "overview", "test", "cross-entropy"),
        ("being read", "status", "test", "reading 3 of 30"),
        ("being read", "dance", "test", "(3 of 30 epochs)"),
        ("being read", "notes", "test", "dancing notes, test, 3 of 30 epochs"),
        ("thinned", "dance", "test", "8 of 30 epochs"),
        ("thinned", "notes", "test", "8 of 30 epochs"),
        ("thinned", "cctm", "test", "has no counts"),
        ("nothing read yet", "dance", "test", "reading the newest epochs"),
        ("nothing read yet", "notes", "test", "is damaged"),
        ("nothing read yet", "overview", "test", "accuracy  %"),
    ],
)
def test_a_panel_says_what_there_is_to_say(
    views, read_lines, name, panel, split, sentence, size
):
    selection = Selection(view="dance" if panel == "status" else panel, split=split)
    size = (size[0], 2) if panel == "status" else size
    scene = scene_of(views[name], Look(), selection=selection)
    assert sentence in read_lines(PAINTERS[panel](scene, size))


def test_moments_and_old_dominance_are_not_claimed_of_a_part(views, make_view, read_lines):
    selection = Selection(view="dance", pair=(2, 3))
    whole = make_view(epochs=30)
    text = read_lines(dance.paint(scene_of(whole, Look(), selection=selection), (120, 40)))
    assert "▼" in text
    assert "dominates" in text
    for part in (newest_only(whole, 3), views["thinned"]):
        text = read_lines(dance.paint(scene_of(part, Look(), selection=selection), (120, 40)))
        assert "▼" not in text
        assert "dominates" not in text


@pytest.fixture(scope="module")
def one_class(make_run, make_scan, read_view, tmp_path_factory):
    """A run of one class with a plane and a line."""
    path = make_run(tmp_path_factory.mktemp("one") / "one.zarr", names=("cat",), epochs=4)
    asked = [
        ScanRequest(
            directions=(DirectionSpec(kind="gaussian", normalise="filter", seed=0),) * dims,
            points=(5,) * dims,
            ranges=((-1.0, 1.0),) * dims,
            checkpoint=2,
            epoch=2,
            split="train",
        )
        for dims in (1, 2)
    ]
    ids = [make_scan(path, request, names=("cat",)) for request in asked]
    return read_view(path), path, ids


@pytest.mark.parametrize("mode", LANDSCAPE_MODES)
def test_scans_of_one_class_are_drawn(one_class, check_lines, read_lines, mode):
    view, path, ids = one_class
    rows = tuple(scan_row(ScanReader(path, scan_id)) for scan_id in ids)
    for scan_id in ids:
        picture = picture_of(ScanReader(path, scan_id), view)
        for size in USUAL_SIZES:
            selection = Selection(view="landscape", scan_id=scan_id, mode=mode)
            scene = scene_of(view, Look(), scans=rows, picture=picture, selection=selection)
            lines = landscape.paint(scene, size)
            check_lines(lines, size, Look())
            assert "gaussian" in read_lines(lines)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("disk full", "12 epochs wait in memory"),
        ("paused", "asked to; 300 MB of the GPU are free again"),
        ("failed", "the loss is not finite"),
    ],
)
@pytest.mark.parametrize("size", [(80, 24), (60, 18)])
def test_a_state_is_shown_with_its_reason(views, read_lines, word, message, size):
    view = views["eight epochs"]
    scene = scene_of(view, Look(), standing=standing_of(word=word, message=message))
    top = read_lines(status.paint(scene, (80, 2))).splitlines()[0]
    assert word in top
    assert message in top
    assert ("w: the log" in top) == (word == "failed")
    listed = (row_of(Path("a.zarr"), word=word, message=message),)
    text = read_lines(runs.paint(scene_of(None, Look(), runs=listed), size))
    assert word in text
    assert message in text
    others = (row_of(Path("b.zarr")), *listed)
    wide = read_lines(runs.paint(scene_of(None, Look(), runs=others), (140, 24)))
    assert message[:30] in wide.splitlines()[2]
    assert "resnet20 on pets" in wide.splitlines()[1]


def test_what_no_clock_says_is_not_an_age():
    assert [age_text(s) for s in (0.0, -5.0, 59.0, 3_600.0, 2 * 86_400.0)] == [
        "0s",
        "0s",
        "59s",
        "1h",
        "2d",
    ]
    for text in (age_text, duration_text):
        assert [text(s) for s in (np.nan, np.inf, 1e300)] == ["?", "?", "?"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-np.inf, "0s"),
        (0.2, "1s"),
        (59.0, "59s"),
        (59.1, "1m"),
        (119.0, "1m 59s"),
        (599.0, "9m 59s"),
        (599.5, "10m"),
        (661.0, "12m"),
        (3_599.5, "1h"),
        (3_601.0, "1h 1m"),
        (7_140.0, "1h 59m"),
        (86_399.0, "1d"),
        (47 * 3_600.0, "1d 23h"),
        (2 * 86_400.0, "2d"),
    ],
)
def test_how_long_something_takes_is_never_said_too_short(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    "name", ["eight epochs", "no examples", "being read", "thinned", "hostile"]
)
@pytest.mark.parametrize("panel", ["runs", "overview", "dance", "notes"])
def test_marked_runs_chosen_sets_and_smoothed_curves_fit_too(views, check_lines, panel, name):
    view = views[name]
    rows = scene_of(view, Look()).runs
    marks = tuple(RunMark(path=row.path, slot=k) for k, row in enumerate(rows))
    broken = replace(view, recall=np.full_like(view.recall, np.nan))
    overlays = (
        Overlay(path=rows[0].path, view=not_finite(broken)),
        Overlay(path=rows[1].path, view=view, trouble=HOSTILE[0]),
        Overlay(path=rows[2].path, view=views["empty"]),
    )
    gpu = Gpu(number=0, use=np.nan, used_bytes=0, total_bytes=0)
    looks = itertools.cycle(LOOKS)
    for size in ((60, 18), (80, 24), (160, 50), (300, 100), (19, 5), (3, 3), (1, 1)):
        for chosen in ((), (1, 0, 4, 3), (0, 4)):
            look = next(looks)
            selection = Selection(
                view=panel,
                marks=marks if size[0] % 2 == 0 else (),
                run_filter="" if chosen else HOSTILE[0],
                smoothing=0.1,
                ranking="score",
                classes=chosen,
                pair=chosen[:2] or None,
                note_class=99,
                all_classes=not chosen,
                epoch=3,
            )
            scene = scene_of(
                view,
                look,
                selection=selection,
                overlays=overlays,
                gpus=(GpuSample(seconds=1.0, gpus=(gpu,)),) * 2,
            )
            lines = PAINTERS[panel](scene, size)
            check_lines(lines, size, look)
            assert_harmless(lines)
