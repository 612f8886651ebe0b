"""How every view looks, at a time that stands still."""

import os
from dataclasses import dataclass

import pytest
from tests.tui.pilots import app_for, until
from textual.pilot import Pilot

from lossviz_analysis.store.requests import DirectionSpec
from lossviz_analysis.store.schema import ScanState
from lossviz_tui.app import LossvizApp
from lossviz_tui.widgets.rowdiff import RowDiffView

SMALL, LARGE = (80, 24), (160, 50)
NAMES = ("plane", "car", "cat", "dog", "ship")
SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])


@dataclass(frozen=True)
class Standstill:
    """Sixty-five seconds after the last record of the run."""

    def monotonic(self) -> float:
        return 1_000.0

    def time(self) -> float:
        return 1_750_000_145.0


@pytest.fixture(autouse=True)
def frozen(monkeypatch):
    for module in ("stage", "tail", "panels.runs"):
        monkeypatch.setattr(f"lossviz_tui.{module}.time", Standstill())
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture(scope="module")
def run(make_run, make_scan, ask_scan, tmp_path_factory):
    """A finished run with a plane and a line under way; the plane is the newest."""
    path = make_run(tmp_path_factory.mktemp("snapshots") / "pets.zarr")
    make_scan(path, ask_scan(1, split="both"))
    make_scan(path, ask_scan(2, points=11), state=ScanState.CANCELLED, share=0.4)
    make_scan(path, ask_scan(2, points=11))
    return path


@pytest.fixture(scope="module")
def directions_run(make_run, make_scan, ask_scan, tmp_path_factory):
    """A run with lines of three seeds, a film, a trajectory plane, and a coarse picture."""
    path = make_run(tmp_path_factory.mktemp("directions") / "pets.zarr")
    for seed in range(3):
        line = DirectionSpec(kind="gaussian", normalise="model", seed=seed)
        make_scan(path, ask_scan(1, points=41, directions=(line,), series="seeds"))
    for epoch, span in ((2, 0.1), (4, 0.15), (8, 0.2)):
        ranges = ((-span, span),) * 2
        make_scan(path, ask_scan(2, points=11, series="film", epoch=epoch, ranges=ranges))
    axes = tuple(DirectionSpec(kind="pca", normalise="none", component=k) for k in (1, 2))
    request = ask_scan(
        points=15, directions=axes, ranges=((-0.05, 0.1), (-0.1, 0.1)), trajectory=(1, 2, 3)
    )
    way = (
        (0.0, 0.12, -0.09, 0.4),
        (2.0, 0.06, -0.06, 0.2),
        (5.0, 0.01, 0.05, 0.1),
        (8.0, 0.0, 0.0, 0.0),
    )
    make_scan(path, request, trajectory=way, explained=(0.8, 0.125))
    clipped = ask_scan(2, points=19, clip=0.9)
    make_scan(
        path,
        clipped,
        state=ScanState.CANCELLED,  # how long a running one still takes is never the same
        stride=3,
        chunks=lambda index: 1 if index in ((0, 0), (0, 18), (18, 0), (18, 18)) else 2,
    )
    return path


@pytest.fixture
def shot(snap_compare, run):
    """Whether the app looks as it did after some keys."""

    def compare(*keys: str, size=SMALL, path=run, **options) -> bool:
        app = app_for(path, **options)

        async def settled(pilot: Pilot[None]) -> None:
            await until(pilot, lambda: has_data(app))
            for key in keys:
                await pilot.press(key)
            await until(pilot, lambda: is_settled(app))

        return snap_compare(app, terminal_size=size, run_before=settled)

    return compare


def has_data(app: LossvizApp) -> bool:
    """Whether everything the tail has to tell of a quiet run was told."""
    if app._stage is None:
        return False
    scene = app._stage.scene
    if not app._stage.has_run:
        return len(scene.runs) > 1
    has_picture = not scene.scans or scene.scan is None or scene.picture is not None
    return scene.standing is not None and bool(scene.runs) and has_picture


def is_settled(app: LossvizApp) -> bool:
    """Whether the newest painting is on the screen, with the scan in focus."""
    assert app._stage is not None
    scene = app._stage.scene
    fits = scene.scan is None or (
        scene.picture is not None and scene.picture.scan_id == scene.scan.scan_id
    )
    marked = {mark.path for mark in scene.selection.marks if scene.view is not None}
    drawn = {one.path for one in scene.overlays if one.view is not None}
    fits = fits and marked - {scene.view.path if scene.view else None} <= drawn
    is_waiting = app.query_one("#view", RowDiffView).is_waiting
    return fits and not is_waiting and app._shown_number == app._paint_number


@SIZES
@pytest.mark.parametrize("look", ["dark", "light", "no-color", "ascii"])
@pytest.mark.parametrize(
    "key",
    ["1", "2", "3", "4", "5", "6"],
    ids=["runs", "overview", "dance", "notes", "cctm", "landscape"],
)
def test_a_view(shot, monkeypatch, key: str, look: str, size: tuple[int, int]):
    if look == "no-color":
        monkeypatch.setenv("NO_COLOR", "1")
    charset = "ascii" if look == "ascii" else "braille"
    assert shot(key, size=size, light=look == "light", charset=charset)


@SIZES
@pytest.mark.parametrize("modes", [1, 2, 3], ids=["classes", "cut", "similarity"])
def test_a_plane_in_another_way(shot, modes: int, size: tuple[int, int]):
    assert shot("6", *["m"] * modes, size=size)


@SIZES
@pytest.mark.parametrize("steps", [1, 2], ids=["half-a-plane", "line"])
def test_another_scan(shot, steps: int, size: tuple[int, int]):
    assert shot("6", *["down"] * steps, size=size)


@SIZES
@pytest.mark.parametrize(
    "steps", [0, 1, 2, 3], ids=["coarse", "trajectory", "film", "curves-of-seeds"]
)
def test_a_scan_of_another_kind(shot, directions_run, steps: int, size: tuple[int, int]):
    assert shot("6", *["down"] * steps, size=size, path=directions_run)


@SIZES
@pytest.mark.parametrize(
    "keys",
    [("m",), ("b", "comma", "comma", "o"), ("o", "o", "f")],
    ids=["train-minus-test", "epochs-clustered", "by-recall"],
)
def test_the_cctm_in_another_way(shot, keys: tuple[str, ...], size: tuple[int, int]):
    assert shot("5", *keys, size=size)


@SIZES
@pytest.mark.parametrize(
    "keys",
    [("i", "up", "right"), ("right_square_bracket",), ("i", "m", "up", "right"), ("b", "down")],
    ids=["cursor", "cut", "cursor-on-surfaces", "two"],
)
def test_a_plane_looked_into(shot, keys: tuple[str, ...], size: tuple[int, int]):
    assert shot("6", *keys, size=size)


def test_a_difference_in_ascii(shot):
    assert shot("5", "m", charset="ascii")


def test_a_difference_without_colour(shot, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert shot("5", "m")


def test_losses_that_are_at_least_a_clip(shot, directions_run):
    assert shot("6", "v", path=directions_run)


def test_an_earlier_frame_of_a_film(shot, directions_run):
    assert shot("6", "down", "down", "left", path=directions_run)


@pytest.mark.parametrize("steps", [0, 1], ids=["coarse", "trajectory"])
def test_a_scan_of_another_kind_in_ascii(shot, directions_run, steps: int):
    assert shot("6", *["down"] * steps, path=directions_run, charset="ascii")


@pytest.mark.parametrize("steps", [0, 1], ids=["coarse", "trajectory"])
def test_a_scan_of_another_kind_without_colour(shot, directions_run, steps, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert shot("6", *["down"] * steps, path=directions_run)


@pytest.mark.parametrize("key", ["2", "3", "6"], ids=["overview", "dance", "landscape"])
def test_a_view_at_sixty_by_eighteen(shot, key: str):
    assert shot(key, size=(60, 18))


def test_a_held_epoch(shot):
    assert shot("3", "left", "left", "left")


def test_the_notes_of_every_class(shot):
    assert shot("4", "a")


@pytest.fixture(scope="module")
def three_runs(make_run, tmp_path_factory):
    """Runs of different lengths; the first in the list has other classes."""
    folder = tmp_path_factory.mktemp("several")
    lengths = {"cifar-big-lr": 12, "cifar-small-lr": 9, "cifar-others": 7}
    for place, (name, epochs) in enumerate(lengths.items()):
        names = ("yes", "no", "perhaps") if name == "cifar-others" else NAMES
        path = make_run(folder / f"{name}.zarr", names=names, epochs=epochs)
        os.utime(path / "records" / "head" / "c.0", (100.0 + place, 100.0 + place))
    return folder


@SIZES
@pytest.mark.parametrize("key", ["2", "3"], ids=["overview", "dance"])
def test_runs_drawn_together(shot, three_runs, key: str, size: tuple[int, int]):
    marks = ("space", "down", "space", "down", "enter")
    assert shot(*marks, key, size=size, path=three_runs)


def test_the_runs_that_match(shot, three_runs):
    assert shot(
        "enter", "1", "space", "slash", *"lr", path=three_runs
    )  # the folder has another name


def test_smoothed_curves(shot):
    assert shot("2", "m")


def test_a_set_of_classes(shot):
    assert shot("3", "c", "end", *", ship, car", "enter", size=LARGE)


def test_the_scan_form(shot):
    assert shot("3", "s", "down")


def test_the_second_page_of_the_scan_form(shot):
    assert shot("3", "s", "tab", "down")


def test_the_export_form(shot):
    assert shot("3", "e", size=(60, 18))


def test_the_scan_form_at_sixty_by_eighteen(shot):
    assert shot("3", "s", "up", size=(60, 18))


def test_the_scan_form_in_ascii_on_a_light_background(shot):
    assert shot("3", "s", charset="ascii", color="16", light=True)


@pytest.mark.parametrize("size", [(60, 18), SMALL], ids=["tiny", "small"])
def test_the_form_for_a_new_training(shot, size: tuple[int, int], monkeypatch):
    monkeypatch.setattr("lossviz_tui.screens.train_form.end_of", lambda text, _=0: text[-6:])
    assert shot("1", "n", "down", "down", "down", "5", size=size)


@pytest.mark.parametrize("key", ["3", "6"], ids=["dance", "landscape"])
def test_the_help(shot, key: str):
    assert shot(key, "question_mark")


def test_a_run_without_epochs(shot, make_run, tmp_path):
    assert shot("2", path=make_run(tmp_path / "young.zarr", epochs=0))
