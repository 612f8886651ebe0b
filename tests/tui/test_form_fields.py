"""The choices of the scan form: each page fits, and every choice leads to a request."""

import itertools
from dataclasses import replace

import pytest

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.reader import RunReader
from lossviz_tui.asking import complete
from lossviz_tui.screens.form_fields import KINDS, PRESETS, Fields
from lossviz_tui.wish import DirectionWish, ScanWish

NAMES = ("plane", "car", "cat", "dog", "ship")
MAX_LINES = 15
"""At 80 x 24, less frame, title, cost, a complaint of three lines, and the keys."""


@pytest.fixture(scope="module")
def reader(make_run, make_scan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("form")
    run = make_run(folder / "pets.zarr")
    make_run(folder / "other.zarr", epochs=3)
    make_scan(run)
    return RunReader(run)


@pytest.fixture
def fields(reader):
    found = Fields(reader, NAMES)
    found["class"].choose(2)
    found["second_class"].choose(3)
    return found


def test_both_pages_fit_for_every_kind(fields):
    for kind in (*KINDS, *PRESETS):
        fields["kind"].choose(kind)
        fields.take_defaults()
        for second in fields["second"].values:
            fields["second"].choose(second)
            for normalise in ("none", "filter"):
                fields["normalise"].choose(normalise)
                for more in (False, True):
                    assert 0 < len(fields.visible(more=more)) <= MAX_LINES


def test_every_kind_and_second_direction_is_a_request(fields, reader):
    for kind, second in itertools.product(KINDS, fields["second"].values):
        fields["kind"].choose(kind)
        fields.take_defaults()
        fields["second"].choose(second)
        fields.take_grid_defaults()
        if kind == second == "gradient" or kind == second == "toward":
            with pytest.raises(LossvizError, match="two different directions"):
                complete(fields.wish(), reader)
            continue
        (request,) = complete(fields.wish(), reader)
        assert request.kind == kind
        assert request.dims == (1 if second == "none" else 2)
        assert request.num_points == fields.num_points


def test_every_preset_is_a_request(fields, reader):
    found = {}
    for preset in PRESETS:
        fields["kind"].choose(preset)
        fields.take_defaults()
        found[preset] = complete(fields.wish(), reader)
        assert len(found[preset]) == fields.num_scans
        assert found[preset][0].num_points == fields.num_points
    assert len(found["v-basin"]) == 5
    assert str(found["w-basin"][0].directions[0].toward_run).endswith("other.zarr")
    assert found["interpolate"][0].split == "both"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_of_the_form_is_that_of_the_command_line(fields, reader, preset):
    other = fields["other_run"].value if preset in ("w-basin", "interpolate") else None
    fields["kind"].choose(preset)
    fields.take_defaults()
    by_form = complete(fields.wish(), reader)
    by_command = complete(ScanWish(preset=preset, toward=other), reader)
    series = by_form[0].series
    assert by_form == tuple(replace(one, series=series) for one in by_command)


def test_another_kind_takes_nothing_along_from_a_preset(fields):
    usual = fields.wish()
    for preset in PRESETS:
        fields["kind"].choose(preset)
        fields.take_defaults()
        fields["kind"].choose("ego")
        fields.take_defaults()
        assert fields.wish() == usual
    fields["kind"].choose("toward")
    fields.take_defaults()
    assert fields["toward"].value == "0"


def test_the_defaults_of_an_ego_plane(fields):
    wish = fields.wish()
    assert (wish.kind, wish.classes) == ("ego", ("cat",))
    assert wish.second == DirectionWish(kind="ego", argument="dog")
    assert (wish.span, wish.points, wish.checkpoint) == ("auto", 19, "last")
    assert (wish.seeds, wish.film, wish.batch_norm) == (None, None, None)


def test_a_film_counts_its_frames_and_leaves_the_checkpoint_open(fields, reader):
    fields["span"].choose(0.1)
    for step, count in ((1, 3), (5, 2)):
        fields["film"].choose(step)
        frames = complete(fields.wish(), reader)
        assert len(frames) == fields.num_scans == count


def test_a_grid_need_not_be_square(fields, reader):
    fields["points"].choose(11)
    fields["points_across"].choose(5)
    fields["span"].choose(0.1)
    fields["span_across"].choose(0.2)
    (request,) = complete(fields.wish(), reader)
    assert (request.points, fields.num_points) == ((11, 5), 55)
    assert request.ranges == ((-0.1, 0.1), (-0.2, 0.2))
    fields["span"].choose("auto")
    with pytest.raises(LossvizError, match="not auto"):
        fields.wish()


def test_toward_another_run_there_has_to_be_one(make_run, tmp_path):
    fields = Fields(RunReader(make_run(tmp_path / "alone.zarr")), NAMES)
    fields["kind"].choose("w-basin")
    fields.take_defaults()
    with pytest.raises(LossvizError, match="nothing to go toward"):
        fields.wish()


def test_the_advanced_choices_are_handed_on(fields, reader):
    for name, value in (
        ("orthonormalise", True),
        ("trajectory", True),
        ("precision", "fast"),
        ("clip", 5.0),
        ("refine", True),
        ("batch_norm", "recompute"),
        ("examples", 500),
    ):
        fields[name].choose(value)
    (request,) = complete(fields.wish(), reader)
    assert request.orthonormalise
    assert request.trajectory == (1, 2, 3)
    assert (request.precision, request.clip, request.refine) == ("fast", 5.0, True)
    assert (request.batch_norm, request.examples) == ("recompute", 500)
    fields["order"].choose("point by point")
    with pytest.raises(LossvizError, match="drop clip and refine"):
        complete(fields.wish(), reader)
