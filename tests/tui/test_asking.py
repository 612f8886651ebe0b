"""From what a person says of a scan to a request, or to a sentence that says what is wrong."""

from typing import get_type_hints

import pytest

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import DirectionKind, DirectionSpec
from lossviz_tui.asking import complete, complete_one
from lossviz_tui.cli.scan import scan
from lossviz_tui.wish import DirectionWish, FilmWish, ScanWish, direction_wish, with_kind

GAUSSIAN = DirectionWish(kind="gaussian", argument="3")


def of(kind: DirectionKind, argument: str = "") -> DirectionWish:
    return DirectionWish(kind=kind, argument=argument)


@pytest.fixture(scope="module")
def reader(make_run, tmp_path_factory):
    """A run with checkpoints 1, 2, 3 of epochs 0, 2, 8; the best is of epoch 2."""
    return RunReader(make_run(tmp_path_factory.mktemp("asking") / "pets.zarr"))


def test_an_ego_plane_by_default(reader):
    request = complete_one(ScanWish(kind="ego", classes=("cat", "dog")), reader)
    assert request.directions == (
        DirectionSpec(kind="ego", normalise="none", class_index=2),
        DirectionSpec(kind="ego", normalise="none", class_index=3),
    )
    assert request.points == (19, 19)
    assert request.ranges == ((-0.1, 0.1), (-0.1, 0.1))
    assert request.auto_span
    assert (request.checkpoint, request.epoch) == (3, 8)
    assert (request.split, request.batch_norm, request.precision) == (
        "train",
        "frozen",
        "exact",
    )


def test_one_class_is_an_ego_line(reader):
    request = complete_one(ScanWish(kind="ego", classes=("3",)), reader)
    assert request.dims == 1
    assert request.points == (41,)
    assert not request.auto_span
    assert request.classes == (3,)


@pytest.mark.parametrize(
    ("words", "ranges", "is_auto"),
    [
        (("ego:cat", "ego:dog"), ((-0.1, 0.1),) * 2, True),
        (("ego:cat",), ((-0.1, 0.1),), False),
        (("ego:cat", "gaussian:3"), ((-0.1, 0.1), (-1.0, 1.0)), False),
        (("pca:1", "pca:2"), ((-1.0, 1.0),) * 2, True),
        (("pca:1", "gaussian:3"), ((-1.0, 1.0),) * 2, True),
        (("pca:1", "toward:2"), ((-1.0, 1.0), (-0.5, 1.5)), False),
        (("pca:1",), ((-1.0, 1.0),), False),
        (("toward:2",), ((-0.5, 1.5),), False),
    ],
)
def test_the_help_of_the_span_says_which_one_is_taken_by_default(
    reader, words, ranges, is_auto
):
    first, *others = words
    second = direction_wish(others[0]) if others else None
    wish = with_kind(ScanWish(dims=len(words), second=second), first)
    request = complete_one(wish, reader)
    assert (request.ranges, request.auto_span) == (ranges, is_auto)
    found: str = get_type_hints(scan, include_extras=True)["span"].__metadata__[0].help
    assert "default auto on planes of ego, pca or orthonormal directions" in found
    assert "0.1 for other ego ones, -0.5..1.5 for toward, 1 else" in found
    assert "with a trajectory, all of the way and 15 % around" in found


def test_a_gaussian_plane_has_two_seeds_and_filters(reader):
    request = complete_one(ScanWish(kind="gaussian", seed=5), reader)
    assert [d.seed for d in request.directions] == [5, 6]
    assert {d.normalise for d in request.directions} == {"filter"}
    assert request.points == (51, 51)
    assert request.ranges == ((-1.0, 1.0), (-1.0, 1.0))


def test_a_gradient_is_a_line_whose_second_direction_is_gaussian(reader):
    line = complete_one(ScanWish(kind="gradient"), reader)
    assert (line.dims, line.points, line.ranges) == (1, (41,), ((-1.0, 1.0),))
    plane = complete_one(ScanWish(kind="gradient", dims=2, seed=4), reader)
    assert plane.directions[1] == DirectionSpec(kind="gaussian", normalise="filter", seed=4)
    assert plane.points == (51, 51)


def test_toward_an_epoch_of_the_same_run(reader):
    request = complete_one(ScanWish(kind="toward", toward="2"), reader)
    assert request.directions[0].toward_checkpoint == 2
    assert request.directions[0].toward_run is None
    assert request.ranges == ((-0.5, 1.5),)


def test_toward_another_run_and_its_epoch(reader, make_run, tmp_path):
    other = make_run(tmp_path / "other.zarr", epochs=3)
    last = complete_one(ScanWish(kind="toward", toward=str(other)), reader).directions[0]
    assert (last.toward_run, last.toward_checkpoint) == (str(other), 3)
    second = complete_one(ScanWish(kind="toward", toward=f"{other}:2"), reader).directions[0]
    assert (second.toward_run, second.toward_checkpoint) == (str(other), 2)


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
    request = complete_one(wish, reader)
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
        (ScanWish(), "needs --kind or --preset"),
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
        (ScanWish(kind="ego", classes=("cat", "dog"), second=GAUSSIAN), "needs 1 class besi"),
        (ScanWish(kind="gaussian", second=GAUSSIAN, seed=3), "a plane needs two different di"),
        (ScanWish(kind="gradient", second=GAUSSIAN, dims=1), "drop --dims 1"),
        (ScanWish(kind="gradient", second=of("gradient", "1")), "takes no argument; got '1'"),
        (ScanWish(kind="gradient", second=of("pca", "x")), "takes a component, a whole number"),
        (ScanWish(kind="gradient", second=of("pca", "0")), "component is a number from 1"),
        (ScanWish(kind="gradient", second=of("toward")), "needs --toward"),
        (ScanWish(kind="gradient", second=of("ego", "cow")), "no class 'cow'"),
        (ScanWish(kind="gradient", file="x.h5"), "file belongs to a scan of kind file"),
        (ScanWish(kind="file"), "needs FOLDER, RUN#SCAN or FILE.h5"),
        (ScanWish(kind="file", file="/nowhere/x.h5"), "no file /nowhere/x.h5"),
        (ScanWish(kind="gaussian", points=(5, 5, 5)), "has one points for each; got 3"),
        (ScanWish(kind="gradient", points=(5, 5)), "1 dimension has one points for each"),
        (ScanWish(kind="gradient", span=(0.1, 0.2)), "1 dimension has one span for each"),
        (ScanWish(kind="gaussian", ranges=((1.0, 0.0),)), "low < high"),
        (ScanWish(kind="gaussian", ranges=((0.0, 1.0),), span=1.0), "give one of them"),
        (ScanWish(kind="toward", toward="0", span="auto"), "not auto"),
        (ScanWish(kind="gradient", orthonormalise=True), "a line has only one"),
        (ScanWish(kind="gradient", trajectory=True), "drawn on a plane"),
        (
            ScanWish(kind="toward", toward="0", second=GAUSSIAN, orthonormalise=True),
            "orthonormal axes measure distances",
        ),
        (
            ScanWish(kind="gradient", normalise=("none", "layer")),
            "a line has one normalisation",
        ),
        (ScanWish(kind="gradient", batch_norm="interpolate"), "only on a line toward"),
        (ScanWish(kind="gradient", is_final=True, refine=True), "drop clip and refine"),
        (ScanWish(kind="gradient", clip=0.0), "clip is a positive loss"),
        (ScanWish(kind="gradient", device="cpu,"), "devices are auto, or names"),
        (ScanWish(kind="gradient", device="auto,cpu"), "devices are auto, or names"),
        (ScanWish(kind="gradient", seeds=3), "Gaussian lines in one chart"),
        (ScanWish(kind="gaussian", dims=2, seeds=3), "Gaussian lines in one chart"),
        (ScanWish(kind="gaussian", seeds=0), "seeds is a number from 1"),
        (ScanWish(kind="gaussian", film=FilmWish(), checkpoint="2"), "drop --checkpoint"),
        (ScanWish(kind="gaussian", film=FilmWish(), seeds=2), "drop --seeds"),
        (ScanWish(kind="gaussian", film=FilmWish(), span="auto"), "share one span"),
        (ScanWish(kind="pca", film=FilmWish()), "share one span"),
        (
            ScanWish(kind="gaussian", film=FilmWish(first=3)),
            r"two checkpoints or more.* 0, 2, 8",
        ),
    ],
)
def test_a_refusal_says_what_was_expected(reader, wish, sentence):
    with pytest.raises(LossvizError, match=sentence):
        complete(wish, reader)


def test_zero_points_and_zero_dims_are_refused_not_defaulted(reader):
    with pytest.raises(LossvizError, match="points"):
        complete_one(ScanWish(kind="gaussian", points=0), reader)
    with pytest.raises(LossvizError, match="dims"):
        complete_one(ScanWish(kind="gaussian", dims=0), reader)


def test_another_run_needs_the_same_classes(reader, make_run, tmp_path):
    other = make_run(tmp_path / "two.zarr", names=("a", "b"), epochs=1)
    with pytest.raises(LossvizError, match="another number of classes"):
        complete_one(ScanWish(kind="toward", toward=str(other)), reader)


@pytest.mark.parametrize("first", ["ego:cat", "gaussian:9", "gradient", "toward:0", "pca"])
@pytest.mark.parametrize(
    "second", ["ego:dog", "gaussian:4", "gradient", "toward:2", "pca:2", "file:{file}:2"]
)
def test_any_two_kinds_make_a_plane(reader, make_scan, first, second):
    folder = reader.path / "scans" / make_scan(reader.path)
    other = direction_wish(second.format(file=folder))
    wish = with_kind(ScanWish(second=other, span=0.5), first)
    if first == second == "gradient":
        with pytest.raises(LossvizError, match="a plane needs two different directions"):
            complete(wish, reader)
        return
    request = complete_one(wish, reader)
    assert [d.kind for d in request.directions] == [first.partition(":")[0], other.kind]
    assert request.ranges == ((-0.5, 0.5), (-0.5, 0.5))
    assert [d.normalise for d in request.directions] == [
        "filter" if d.kind == "gaussian" else "none" for d in request.directions
    ]
    has_pca = "pca" in {d.kind for d in request.directions}
    assert request.trajectory == ((1, 2, 3) if has_pca else ())
    if other.kind == "file":
        assert (request.directions[1].file, request.directions[1].component) == (str(folder), 2)


def test_a_pca_plane_finds_its_span_along_the_kept_checkpoints(reader):
    request = complete_one(ScanWish(kind="pca"), reader)
    assert [d.component for d in request.directions] == [1, 2]
    assert request.points == (51, 51)
    assert request.auto_span
    assert request.trajectory == (1, 2, 3)


def test_a_trajectory_is_drawn_on_any_plane(reader):
    wish = ScanWish(kind="ego", classes=("cat", "dog"), trajectory=True)
    assert complete_one(wish, reader).trajectory == (1, 2, 3)
    assert complete_one(ScanWish(kind="ego", classes=("cat", "dog")), reader).trajectory == ()


def test_a_trajectory_needs_two_checkpoints(make_run, tmp_path):
    young = RunReader(make_run(tmp_path / "young.zarr", epochs=1))
    with pytest.raises(LossvizError, match=r"two kept checkpoints or more; .* has 1"):
        complete(ScanWish(kind="pca"), young)


def test_grids_need_not_be_square(reader):
    wish = ScanWish(kind="gaussian", points=(51, 21), span=(1.0, 0.5))
    request = complete_one(wish, reader)
    assert request.points == (51, 21)
    assert request.ranges == ((-1.0, 1.0), (-0.5, 0.5))
    wish = ScanWish(kind="gaussian", ranges=((-0.5, 1.5), (0.0, 1.0)))
    assert complete_one(wish, reader).ranges == ((-0.5, 1.5), (0.0, 1.0))


def test_batch_norm_is_recomputed_only_toward_another_run(reader, make_run, tmp_path):
    other = make_run(tmp_path / "other.zarr", epochs=3)
    own = complete_one(ScanWish(kind="toward", toward="0"), reader)
    assert own.batch_norm == "frozen"
    between = complete_one(ScanWish(kind="toward", toward=str(other)), reader)
    assert between.batch_norm == "recompute"
    second = ScanWish(kind="gradient", second=of("toward", str(other)))
    assert complete_one(second, reader).batch_norm == "recompute"
    wish = ScanWish(kind="toward", toward=str(other), batch_norm="interpolate")
    assert complete_one(wish, reader).batch_norm == "interpolate"


def test_orthonormal_axes_find_their_span_or_are_given_it(reader):
    wish = ScanWish(kind="gaussian", orthonormalise=True)
    found = complete_one(wish, reader)
    assert (found.orthonormalise, found.auto_span) == (True, True)
    toward = ScanWish(
        kind="toward", toward="0", second=GAUSSIAN, orthonormalise=True, span="auto"
    )
    assert complete_one(toward, reader).auto_span


def test_two_normalisations_are_for_the_two_directions(reader):
    wish = ScanWish(
        kind="gaussian", normalise=("layer", "model"), scale_bias_and_bn=True, second=GAUSSIAN
    )
    request = complete_one(wish, reader)
    assert [d.normalise for d in request.directions] == ["layer", "model"]
    assert [d.scale_bias_and_bn for d in request.directions] == [True, False]


def test_how_to_evaluate_is_handed_on(reader):
    wish = ScanWish(
        kind="gradient", precision="fast", device="cpu, cpu", clip=5.0, refine=True, examples=9
    )
    request = complete_one(wish, reader)
    assert (request.precision, request.device) == ("fast", "cpu,cpu")
    assert (request.clip, request.refine, request.examples) == (5.0, True, 9)
    assert complete_one(ScanWish(kind="gradient", is_final=True), reader).is_final


def test_seeds_are_lines_of_one_series(reader):
    lines = complete(ScanWish(kind="gaussian", seeds=3, seed=7, normalise="model"), reader)
    assert [line.directions[0].seed for line in lines] == [7, 8, 9]
    assert {line.dims for line in lines} == {1}
    assert len({line.series for line in lines}) == 1
    assert lines[0].series
    again = complete(ScanWish(kind="gaussian", seeds=3), reader)
    assert again[0].series != lines[0].series
    (alone,) = complete(ScanWish(kind="gaussian", seeds=1), reader)
    assert (alone.series, alone.dims) == ("", 1)
    with pytest.raises(LossvizError, match="a series of 3"):
        complete_one(ScanWish(kind="gaussian", seeds=3), reader)


@pytest.mark.parametrize(
    ("film", "epochs"),
    [
        (FilmWish(), [0, 2, 8]),
        (FilmWish(first=1), [2, 8]),
        (FilmWish(last=7), [0, 2]),
        (FilmWish(step=3), [0, 8]),
        (FilmWish(step=2), [0, 2, 8]),
    ],
)
def test_a_film_has_a_frame_for_each_kept_checkpoint_in_its_range(reader, film, epochs):
    frames = complete(ScanWish(kind="ego", classes=("cat", "dog"), film=film), reader)
    assert [frame.epoch for frame in frames] == epochs
    assert len({frame.series for frame in frames}) == 1
    assert frames[0].series
    # One span for all, so no frame looks for its own.
    assert {(frame.ranges, frame.auto_span) for frame in frames} == {
        (((-0.1, 0.1), (-0.1, 0.1)), False)
    }
    assert len({(frame.directions, frame.points) for frame in frames}) == 1
