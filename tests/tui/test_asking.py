"""From what a person says of a scan to a request, or to a sentence that says what is wrong."""

import pytest

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import DirectionSpec
from lossviz_tui.asking import ScanWish, choose_checkpoint, class_number, complete


@pytest.fixture(scope="module")
def reader(make_run, tmp_path_factory):
    """A run with checkpoints 1, 2, 3 of epochs 0, 2, 8; the best is of epoch 2."""
    return RunReader(make_run(tmp_path_factory.mktemp("asking") / "pets.zarr"))


def test_an_ego_plane_by_default(reader):
    request = complete(ScanWish(kind="ego", classes=("cat", "dog")), reader)
    assert request.directions == (
        DirectionSpec(kind="ego", normalise="none", class_index=2),
        DirectionSpec(kind="ego", normalise="none", class_index=3),
    )
    assert request.points == (19, 19)
    assert request.ranges == ((-0.1, 0.1), (-0.1, 0.1))
    assert (request.checkpoint, request.epoch) == (3, 8)
    assert (request.split, request.batch_norm, request.precision) == (
        "train",
        "frozen",
        "exact",
    )


def test_one_class_is_an_ego_line(reader):
    request = complete(ScanWish(kind="ego", classes=("3",)), reader)
    assert request.dims == 1
    assert request.points == (41,)
    assert request.classes == (3,)


def test_a_gaussian_plane_has_two_seeds_and_filters(reader):
    request = complete(ScanWish(kind="gaussian", seed=5), reader)
    assert [d.seed for d in request.directions] == [5, 6]
    assert {d.normalise for d in request.directions} == {"filter"}
    assert request.points == (51, 51)
    assert request.ranges == ((-1.0, 1.0), (-1.0, 1.0))


def test_a_gradient_is_a_line_whose_second_direction_is_gaussian(reader):
    line = complete(ScanWish(kind="gradient"), reader)
    assert (line.dims, line.points, line.ranges) == (1, (41,), ((-1.0, 1.0),))
    plane = complete(ScanWish(kind="gradient", dims=2, seed=4), reader)
    assert plane.directions[1] == DirectionSpec(kind="gaussian", normalise="filter", seed=4)
    assert plane.points == (51, 51)


def test_toward_an_epoch_of_the_same_run(reader):
    request = complete(ScanWish(kind="toward", toward="2"), reader)
    assert request.directions[0].toward_checkpoint == 2
    assert request.directions[0].toward_run is None
    assert request.ranges == ((-0.5, 1.5),)


def test_toward_another_run_and_its_epoch(reader, make_run, tmp_path):
    other = make_run(tmp_path / "other.zarr", epochs=3)
    last = complete(ScanWish(kind="toward", toward=str(other)), reader).directions[0]
    assert (last.toward_run, last.toward_checkpoint) == (str(other), 3)
    second = complete(ScanWish(kind="toward", toward=f"{other}:2"), reader).directions[0]
    assert (second.toward_run, second.toward_checkpoint) == (str(other), 2)


@pytest.mark.parametrize(
    ("wanted", "number", "epoch"), [("last", 3, 8), ("best", 2, 2), ("0", 1, 0), ("2", 2, 2)]
)
def test_a_checkpoint_by_word_or_epoch(reader, wanted, number, epoch):
    found = choose_checkpoint(reader, wanted)
    assert (found.number, found.epoch) == (number, epoch)


def test_what_is_said_wins_over_every_default(reader):
    wish = ScanWish(
        kind="ego",
        classes=("DOG", "0"),
        points=7,
        span=0.5,
        normalise="layer",
        checkpoint="best",
        batch_norm="recompute",
        split="both",
        examples=100,
        precision="float64",
        device="cpu",
    )
    request = complete(wish, reader)
    assert request.classes == (3, 0)
    assert request.points == (7, 7)
    assert request.ranges == ((-0.5, 0.5), (-0.5, 0.5))
    assert {d.normalise for d in request.directions} == {"layer"}
    assert (request.checkpoint, request.epoch) == (2, 2)
    assert (request.batch_norm, request.split, request.examples) == ("recompute", "both", 100)
    assert (request.precision, request.device) == ("float64", "cpu")


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        (ScanWish(kind="ego"), "needs 2 classes; got 0"),
        (ScanWish(kind="ego", classes=("cat", "dog"), dims=1), "needs 1 class; got 2"),
        (ScanWish(kind="ego", classes=("cat", "cat")), "two different classes"),
        (ScanWish(kind="ego", classes=("cat", "cow")), "no class 'cow'; the classes are plane"),
        (ScanWish(kind="ego", classes=("cat", "5")), "no class '5'"),
        (ScanWish(kind="gaussian", dims=3), "dims is 1 or 2; got 3"),
        (ScanWish(kind="gaussian", span=0.0), "span is a positive number; got 0"),
        (ScanWish(kind="gaussian", span=float("nan")), "span is a positive number"),
        (ScanWish(kind="gaussian", points=1), "points is a number from 2"),
        (ScanWish(kind="gaussian", examples=0), "examples is a positive number"),
        (ScanWish(kind="gaussian", checkpoint="first"), "last, best, or an epoch; got 'first'"),
        (ScanWish(kind="gaussian", checkpoint="5"), r"epoch 5; kept are \(last\) 0, 2, 8"),
        (ScanWish(kind="toward"), "needs --toward"),
        (ScanWish(kind="toward", toward="8"), "another checkpoint than the one at the origin"),
        (ScanWish(kind="toward", toward="nowhere.zarr"), "nowhere.zarr"),
    ],
)
def test_a_refusal_says_what_was_expected(reader, wish, sentence):
    with pytest.raises(LossvizError, match=sentence):
        complete(wish, reader)


def test_zero_points_and_zero_dims_are_refused_not_defaulted(reader):
    with pytest.raises(LossvizError, match="points"):
        complete(ScanWish(kind="gaussian", points=0), reader)
    with pytest.raises(LossvizError, match="dims"):
        complete(ScanWish(kind="gaussian", dims=0), reader)


def test_another_run_needs_the_same_classes(reader, make_run, tmp_path):
    other = make_run(tmp_path / "two.zarr", names=("a", "b"), epochs=1)
    with pytest.raises(LossvizError, match="another number of classes"):
        complete(ScanWish(kind="toward", toward=str(other)), reader)


def test_a_run_without_checkpoints_says_so(reader, tmp_path):
    path = tmp_path / "young.zarr"
    create_run(path, reader.description)
    with pytest.raises(LossvizError, match="no checkpoint yet"):
        choose_checkpoint(RunReader(path), "last")


def test_a_class_called_like_a_number_is_that_class():
    names = ("3", "two", "0")
    assert class_number("3", names) == 0
    assert class_number("0", names) == 2
    assert class_number("1", names) == 1
    assert class_number("TWO", names) == 1


def test_the_exact_spelling_wins_where_only_case_differs():
    assert class_number("a", ("A", "a")) == 1
    assert class_number("A", ("a", "A")) == 1
