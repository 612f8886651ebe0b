"""Scans that papers draw, by one word."""

import pytest

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.reader import RunReader
from lossviz_tui.asking import complete, complete_one
from lossviz_tui.wish import FilmWish, ScanWish


@pytest.fixture(scope="module")
def reader(make_run, tmp_path_factory):
    """A run with checkpoints 1, 2, 3 of epochs 0, 2, 8."""
    return RunReader(make_run(tmp_path_factory.mktemp("presets") / "pets.zarr"))


@pytest.fixture(scope="module")
def other(make_run, tmp_path_factory):
    return str(make_run(tmp_path_factory.mktemp("other") / "other.zarr", epochs=3))


def test_a_v_basin_is_five_gaussian_lines_of_the_norm_of_the_model(reader):
    lines = complete(ScanWish(preset="v-basin"), reader)
    assert [line.directions[0].seed for line in lines] == [0, 1, 2, 3, 4]
    assert {line.directions[0].normalise for line in lines} == {"model"}
    assert {(line.points, line.ranges) for line in lines} == {((41,), ((-1.0, 1.0),))}
    assert len({line.series for line in lines}) == 1


def test_a_v_side_goes_from_an_early_checkpoint_to_the_last(reader):
    request = complete_one(ScanWish(preset="v-side"), reader)
    assert (request.checkpoint, request.epoch) == (2, 2)
    assert request.directions[0].toward_checkpoint == 3
    assert request.ranges == ((-1.0, 1.0),)
    assert request.batch_norm == "frozen"
    first = complete_one(ScanWish(preset="v-side", checkpoint="0", toward="2"), reader)
    assert (first.checkpoint, first.directions[0].toward_checkpoint) == (1, 2)


def test_a_w_basin_has_both_models_on_its_grid(reader, other):
    request = complete_one(ScanWish(preset="w-basin", toward=other), reader)
    assert (request.ranges, request.points) == (((-1.0, 2.0),), (61,))
    assert request.batch_norm == "recompute"
    assert request.directions[0].toward_run == other


def test_an_interpolation_is_on_both_splits(reader, other):
    request = complete_one(ScanWish(preset="interpolate", toward=other), reader)
    assert (request.ranges, request.points) == (((-0.5, 1.5),), (41,))
    assert (request.split, request.batch_norm) == ("both", "recompute")


def test_what_is_said_wins_over_a_preset(reader, other):
    lines = complete(
        ScanWish(preset="v-basin", seeds=2, seed=7, points=11, span=0.5, normalise="layer"),
        reader,
    )
    assert [line.directions[0].seed for line in lines] == [7, 8]
    assert {(line.points, line.ranges) for line in lines} == {((11,), ((-0.5, 0.5),))}
    assert {line.directions[0].normalise for line in lines} == {"layer"}
    wish = ScanWish(preset="interpolate", toward=other, split="train", batch_norm="interpolate")
    request = complete_one(wish, reader)
    assert (request.split, request.batch_norm) == ("train", "interpolate")
    wish = ScanWish(preset="w-basin", toward=other, ranges=((0.0, 1.0),), points=5)
    assert complete_one(wish, reader).ranges == ((0.0, 1.0),)


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        (ScanWish(preset="v-basin", kind="ego"), "drop the kind"),
        (ScanWish(preset="v-basin", dims=2), "draws lines; drop film, second and dims"),
        (ScanWish(preset="v-side", film=FilmWish()), "draws lines"),
        (ScanWish(preset="w-basin"), "toward another run; give --toward RUN"),
        (ScanWish(preset="w-basin", toward="2"), "toward another run"),
        (ScanWish(preset="interpolate", toward="0"), "toward another run"),
        (ScanWish(preset="v-basin", toward="0"), "toward belongs to"),
    ],
)
def test_a_preset_says_what_it_cannot_take(reader, wish, sentence):
    with pytest.raises(LossvizError, match=sentence):
        complete(wish, reader)


def test_a_v_side_needs_two_checkpoints(make_run, tmp_path):
    young = RunReader(make_run(tmp_path / "young.zarr", epochs=1))
    with pytest.raises(LossvizError, match="keeps 1"):
        complete(ScanWish(preset="v-side"), young)
