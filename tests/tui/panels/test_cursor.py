"""The cursor of the Landscape: the values under it, in every way to look at a scan."""

from dataclasses import replace

import numpy as np
import pytest

from lossviz_analysis.store.schema import ScanState
from lossviz_tui.paint.targets import Target, targets_of
from lossviz_tui.panels import landscape
from lossviz_tui.scene import Scene

SIZES = ((60, 15), (80, 21), (160, 46))
NAMES = ("plane", "car", "cat", "dog", "ship")


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("cursor") / "pets.zarr")


@pytest.fixture(scope="module")
def plane(run, make_scan, ask_scan):
    return make_scan(run, ask_scan(split="both"))


@pytest.fixture
def scene(run, scene_of_scans):
    def build(scan_id, **selection) -> Scene:
        return scene_of_scans(run, scan_id, **selection)

    return build


@pytest.fixture
def read(read_lines):
    def paint(scene: Scene, size=(80, 21)) -> str:
        return read_lines(landscape.paint(scene, size))

    return paint


def flat(text: str) -> str:
    """The facts beside a picture as one line."""
    return " ".join(line[44:].strip() for line in text.splitlines())


def test_a_plane_says_where_the_cursor_is_and_what_is_there(scene, plane, read):
    here = scene(plane, point=(2, 7))
    split = here.shown_picture.result.splits["test"]
    text = flat(read(here))
    assert "at ego cat -0.05, ego dog +0.075" in text
    loss, error = float(split.loss[2, 7]), float(split.loss_error[2, 7])
    rate, rate_error = (
        100 * float(v[2, 7]) for v in (split.mistake_rate, split.mistake_rate_error)
    )
    assert f"test loss {loss:.4g} ±{error:.2g}, {rate:.2f} ±{rate_error:.2f} % wrong" in text
    assert "train loss" in text
    assert "on all 500 images" in text


@pytest.mark.parametrize("size", SIZES)
def test_the_cursor_is_seen_and_its_values_fit_everywhere(scene, plane, read, size):
    text = read(scene(plane, point=(2, 7)), size)
    assert "▶" in text
    assert "▲" in text
    assert "at ego cat -0.05" in text
    assert "±" in text


def test_an_estimated_point_says_so_and_has_no_error(scene, run, make_scan, read):
    scan_id = make_scan(run, state=ScanState.RUNNING, stride=4, chunks=lambda _: 1)
    assert "estimated from around" in flat(read(scene(scan_id, point=(1, 1))))
    assert "on 250 of 500" in flat(read(scene(scan_id, point=(4, 4))))


def test_a_point_that_was_given_up_says_at_least(scene, run, make_scan, ask_scan, read):
    request = ask_scan(clip=0.4)
    scan_id = make_scan(run, request, chunks=lambda index: 1 if set(index) <= {0, 8} else 2)
    assert "at least 0.4" in flat(read(scene(scan_id, point=(0, 0))))


def test_a_line_has_a_cursor_too(scene, run, make_scan, ask_scan, read):
    here = scene(make_scan(run, ask_scan(1)), point=(6, 6))
    loss = float(here.shown_picture.result.splits["train"].loss[6])
    text = read(here)
    assert f"at +0.05; train loss {loss:.4g}" in text


def test_the_surfaces_tell_the_class_under_the_cursor(scene, plane, read):
    here = scene(plane, mode="classes", point=(4, 2), surface=3)
    text = read(here)
    rate = here.shown_picture.result.splits["train"].class_mistake_rate[4, 2, 3]
    assert ">dog" in text
    assert f"dog: {100 * rate:.2f} ±" in text


def test_the_similarity_under_the_cursor_in_words(scene, plane, read):
    here = scene(plane, mode="similarity", point=(0, 0), cell=(2, 3))
    expected = here.shown_picture.similarity[2, 3]
    assert f"cat and dog: {expected:+.3f}" in read(here)


def clicks(scene: Scene, size=(80, 21)) -> list[Target]:
    lines = landscape.paint(scene, size)
    return [target for target in targets_of(lines) if target.click is not None]


def chosen(scene: Scene, target: Target, x: int, y: int):
    assert target.click is not None
    return target.click(scene, x, y)


def test_a_click_on_the_plane_puts_the_cursor_there(scene, plane, read):
    here = scene(plane)
    target = clicks(here)[-1]
    found = chosen(here, target, 12, 4)
    assert found.point is not None
    lines = read(replace(here, selection=found)).splitlines()
    cursor = lines[target.top + 4][target.left + 7 :]
    assert "[" in lines[target.top + 4] or "╳" in cursor
    assert chosen(here, target, 0, 0) == here.selection


def test_a_click_on_a_line_takes_the_nearest_point(scene, run, make_scan, ask_scan):
    here = scene(make_scan(run, ask_scan(1)))
    target = clicks(here)[-1]
    points = [chosen(here, target, x, 2).point for x in range(8, 78)]
    places = [point[0] for point in points if point is not None]
    assert places == sorted(places)
    assert {0, 8} <= set(places)


def test_a_click_on_a_surface_takes_its_class(scene, plane):
    here = scene(plane, mode="classes")
    found = [chosen(here, target, 3, 1) for target in clicks(here)[1:]]
    assert sorted(one.surface for one in found) == [0, 1, 2, 3, 4]
    assert all(one.point is not None for one in found)


def test_a_click_and_the_wheel_choose_a_scan(scene_of_scans, run, make_scan):
    ids = [make_scan(run, state=ScanState.QUEUED) for _ in range(3)]
    here = scene_of_scans(run, *ids)
    target = clicks(here)[0]
    assert [chosen(here, target, 5, y).scan_id for y in range(3)] == ids[::-1]
    assert chosen(here, target, 5, 30) == here.selection
    assert target.wheel is not None
    assert target.wheel(here, 1).scan_id == ids[1]


def test_a_hundred_surfaces_are_shown_as_far_as_there_is_room(
    make_run, make_scan, tmp_path, scene_of_scans, read
):
    names = tuple(f"c{c}" for c in range(120))
    run = make_run(tmp_path / "many.zarr", names=names, epochs=2)
    here = scene_of_scans(run, make_scan(run, names=names), mode="classes", point=(4, 4))
    order = here.surface_order
    for surface in (order[0], order[60], order[-1]):
        text = read(replace(here, selection=replace(here.selection, surface=surface)))
        assert f">c{surface}" in text
        assert "of 120 classes" in text


def test_the_cut_that_was_turned_is_drawn_and_its_profile_beside_it(scene, plane, read):
    for size in ((80, 21), (160, 46)):
        text = read(scene(plane, has_cut=True, cut_degrees=30.0), size)
        assert "cut at 30 degrees" in text
        assert "╱" in text
    narrow = read(scene(plane, has_cut=True, cut_degrees=30.0), (60, 15))
    assert "cut at 30 degrees, m shows its profile" in narrow
    assert "╱" not in read(scene(plane))


@pytest.fixture(scope="module")
def two(run, make_scan, ask_scan):
    """A plane and a larger one of a later epoch."""
    return [
        make_scan(run, ask_scan(epoch=epoch, ranges=((-end, end),) * 2, points=points))
        for epoch, end, points in ((2, 0.1, 9), (4, 0.2, 11))
    ]


@pytest.fixture
def both(run, scene_of_scans):
    """Two scans, the first one kept beside the second."""

    def build(ids, **selection) -> Scene:
        here = scene_of_scans(run, *ids, beside=ids[0], **selection)
        apart = scene_of_scans(run, ids[0])
        return replace(here, beside=apart.picture)

    return build


@pytest.mark.parametrize("size", SIZES)
def test_two_planes_stand_side_by_side(both, two, read, size):
    text = read(both(two), size)
    body = "\n".join(text.splitlines()[3:]) if size[0] < 130 else text
    assert "e2 9x9" in body
    assert "e4 11x11" in body
    assert "both on one colour scale" in text


def test_below_wide_planes_both_profiles_are_drawn_and_the_list_marks_both(both, two, read):
    text = read(both(two), (160, 46))
    assert "beside train" in text
    assert "=ego cat/dog ±0.1 e2" in text
    assert ">ego cat/dog ±0.2 e4" in text
    assert "beside train" not in read(both(two))


def test_on_a_cut_the_values_at_the_cursor_stand_below_it(scene, plane, read):
    text = read(scene(plane, mode="cut", point=(6, 2), cut_degrees=135.0))
    assert "at ego cat +0.05, ego dog -0.05" in text
    assert "train loss" in text


def test_both_planes_have_one_scale(both, two):
    here = both(two)
    left = landscape.paint(here, (80, 21))
    alone = landscape.paint(replace(here, beside=None), (80, 21))
    assert left != alone
    values = [
        100 * one.result.splits["train"].mistake_rate
        for one in (here.picture, here.beside)
        if one is not None
    ]
    ends = min(v.min() for v in values), max(v.max() for v in values)
    assert ends[0] < ends[1]
    assert np.ptp(values[0]) != np.ptp(values[1])


def test_the_values_of_both_at_the_cursor(both, two, read):
    text = read(both(two, point=(5, 5)))
    assert "left: train loss" in text
    assert "right: train loss" in text
    assert "at ego cat +0, ego dog +0" in text


def test_two_cuts_share_a_chart_and_so_do_two_lines(both, two, run, make_scan, ask_scan, read):
    text = read(both(two, mode="cut"))
    assert "here train" in text
    assert "beside train" in text
    lines = [make_scan(run, ask_scan(1, epoch=epoch)) for epoch in (2, 4)]
    text = read(both(lines))
    assert "e2" in text.split("cross-entropy")[1]
    assert "e4" in text.split("cross-entropy")[1]


def test_what_has_no_scale_in_common_is_said(both, two, run, make_scan, ask_scan, read):
    line = make_scan(run, ask_scan(1))
    assert "no scale in common" in read(both([line, two[0]]))


def test_too_little_room_for_two_is_said(both, two, read):
    assert "two planes need 52 columns" in read(both(two), (40, 15))
