"""Figures of scans: what is known is drawn, and nothing seems to be more than it is."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.lines import Line2D
from tests.tui.figure_words import legend_of, texts

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.requests import DirectionSpec
from lossviz_analysis.store.results import SplitResult
from lossviz_analysis.store.schema import ScanState
from lossviz_tui.figures.drawing import figure_settings
from lossviz_tui.figures.landscape import landscape_figure
from lossviz_tui.scene import ScanPicture, Scene


@pytest.fixture(autouse=True)
def settings():
    with figure_settings(text_as_paths=False):
        yield


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("scans") / "pets.zarr")


@pytest.fixture(scope="module")
def plane(run, make_scan, ask_scan):
    way = ((0.0, -0.08, 0.0, 0.3), (2.0, 0.02, 0.05, 0.1), (8.0, 0.0, 0.0, 0.0))
    return make_scan(run, ask_scan(split="both"), trajectory=way)


def mesh_of(axes) -> np.ndarray:
    """The surface that is drawn in some axes; what is masked is NaN."""
    mesh = next(c for c in axes.collections if type(c).__name__ == "QuadMesh")
    return np.ma.filled(mesh.get_array(), np.nan)


def points_of(line: Line2D) -> tuple[list[float], list[float]]:
    """Where a line or its signs are."""
    x, y = (np.asarray(values).tolist() for values in (line.get_xdata(), line.get_ydata()))
    return x, y


def with_split(scene: Scene, change: Callable[[SplitResult], SplitResult]) -> Scene:
    """A scene whose scan found something else on its first split."""
    picture = scene.picture
    assert picture is not None
    name, split = next(iter(picture.result.splits.items()))
    splits = picture.result.splits | {name: change(split)}
    result = replace(picture.result, splits=splits)
    return replace(scene, picture=replace(picture, result=result))


def put(values: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    """The values with another one at a place."""
    changed = values.copy()
    changed[place] = value
    return changed


def test_a_plane_has_axes_marks_contours_and_the_way(run, plane, scene_of_scans):
    scene = scene_of_scans(run, plane, quantity="loss", log=True)
    figure = landscape_figure(scene)
    axes, bar = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("t2, ego dog", "t1, ego cat")
    assert bar.get_ylabel() == "cross-entropy, nats, log scale"
    found = legend_of(axes)
    assert found[0] == "the model"
    assert found[1].startswith("lowest, ")
    assert found[2] == "checkpoints, epoch 0 to 8"
    way = next(line for line in axes.lines if line.get_label() == found[2])
    np.testing.assert_array_equal(way.get_xdata(), [0.0, 0.05, 0.0])  # t2 across
    assert f"scan {plane}" in texts(figure)
    values = next(c for c in axes.collections if type(c).__name__ == "QuadMesh").get_array()
    np.testing.assert_array_equal(
        np.asarray(values), scene.shown_picture.result.splits["train"].loss
    )


def test_every_class_is_on_one_scale(run, plane, scene_of_scans):
    figure = landscape_figure(scene_of_scans(run, plane, mode="classes"))
    images = figure.axes[0].images
    assert len(images) == 5
    assert len({image.get_clim() for image in images}) == 1


def test_a_cut_and_a_similarity(run, plane, scene_of_scans):
    cut = landscape_figure(scene_of_scans(run, plane, mode="cut", cut_degrees=90.0))
    assert legend_of(cut.axes[0]) == ["train", "test"]
    similar = landscape_figure(scene_of_scans(run, plane, mode="similarity"))
    assert similar.axes[0].collections[0].get_clim() == (-1.0, 1.0)


def test_a_line_has_chance_stationary_points_and_its_type(
    run, make_scan, ask_scan, scene_of_scans
):
    scan_id = make_scan(run, ask_scan(1, points=9, split="both"))
    figure = landscape_figure(scene_of_scans(run, scan_id, log=True))
    loss, mistakes = figure.axes
    assert legend_of(loss) == ["chance, log C", "train", "test", "stationary points"]
    np.testing.assert_allclose(np.asarray(loss.lines[0].get_ydata()), np.log(5))
    assert "train: v-basin" in loss.get_title(loc="left")
    assert mistakes.get_xlabel() == "coordinate along ego cat; 0 is the model"


def test_a_series_of_lines_is_one_chart(run, make_scan, ask_scan, scene_of_scans):
    ids = [make_scan(run, ask_scan(1, kind="gaussian", series="seeds")) for _ in range(3)]
    figure = landscape_figure(scene_of_scans(run, *ids))
    assert len(legend_of(figure.axes[0])) == 5
    assert "3 lines" in texts(figure)


def test_a_scan_under_way_says_how_far_it_is(run, make_scan, ask_scan, scene_of_scans):
    scan_id = make_scan(run, ask_scan(), state=ScanState.CANCELLED, share=0.5, stride=2)
    figure = landscape_figure(scene_of_scans(run, scan_id))
    assert "estimated" in legend_of(figure.axes[0])
    assert "coarse picture" in texts(figure)


# What is asked for, and nothing else


def test_a_frame_of_a_film_without_a_picture_is_not_another_frame(
    run, make_scan, ask_scan, scene_of_scans
):
    asked = ask_scan(points=3, series="film")
    ids = [make_scan(run, asked), make_scan(run, asked, state=ScanState.QUEUED)]
    scene = scene_of_scans(run, *ids)
    assert scene.siblings
    with pytest.raises(LossvizError, match="no point of the scan is computed"):
        landscape_figure(scene)
    ids.append(make_scan(run, asked, state=ScanState.FAILED, share=0.0))
    with pytest.raises(LossvizError, match="the scan failed"):
        landscape_figure(scene_of_scans(run, *ids))


def test_a_curve_that_is_queued_shows_those_of_its_chart(
    run, make_scan, ask_scan, scene_of_scans
):
    asked = ask_scan(1, points=5, kind="gaussian", series="queued")
    ids = [make_scan(run, asked), make_scan(run, asked, state=ScanState.QUEUED)]
    figure = landscape_figure(scene_of_scans(run, *ids))
    assert "1 of 2 lines, gaussian" in texts(figure)


# Known values are drawn


@pytest.mark.parametrize("log", [False, True])
def test_an_infinite_loss_has_the_last_colour_and_a_sign(run, plane, scene_of_scans, log):
    scene = scene_of_scans(run, plane, quantity="loss", log=log)
    diverged = with_split(
        scene, lambda split: replace(split, loss=put(split.loss, (0, 0), np.inf))
    )
    axes = landscape_figure(diverged).axes[0]
    assert mesh_of(axes)[0, 0] == axes.collections[0].get_clim()[1]
    assert "at least" in legend_of(axes)
    assert "at least" not in legend_of(landscape_figure(scene).axes[0])


def test_no_mistakes_have_the_first_colour_of_a_log_scale(run, plane, scene_of_scans):
    scene = scene_of_scans(run, plane, log=True)
    figure = landscape_figure(
        with_split(
            scene,
            lambda split: replace(split, mistake_rate=put(split.mistake_rate, (3, 4), 0.0)),
        )
    )
    axes, bar = figure.axes
    assert mesh_of(axes)[3, 4] == axes.collections[0].get_clim()[0] > 0
    assert bar.get_ylabel() == "mistakes, percent, log scale; 0 has the first colour"
    assert "lowest, 0" in legend_of(axes)


def test_a_surface_of_nothing_but_infinities_is_drawn(run, plane, scene_of_scans):
    scene = with_split(
        scene_of_scans(run, plane, quantity="loss", log=True),
        lambda split: replace(split, loss=np.full_like(split.loss, np.inf)),
    )
    assert np.isfinite(mesh_of(landscape_figure(scene).axes[0])).all()


def test_the_surfaces_of_classes_have_their_infinities_and_zeros(run, plane, scene_of_scans):
    scene = scene_of_scans(run, plane, mode="classes", quantity="loss", log=True)

    def change(split: SplitResult) -> SplitResult:
        losses = put(split.class_loss, (0, 0, 2), np.inf)
        return replace(split, class_loss=put(losses, (1, 1, 2), 0.0))

    figure = landscape_figure(with_split(scene, change))
    axes, bar = figure.axes
    order = scene.picture.class_order.tolist()
    image = axes.images[order.index(2)]
    low, high = image.get_clim()
    assert not np.ma.getmaskarray(image.get_array()).any()
    assert (image.get_array()[0, 0], image.get_array()[1, 1]) == (high, low)
    signs = [line for line in axes.lines if line.get_marker() == "^" and points_of(line)[0]]
    assert len(signs) == 1
    for words in ("at least", "log scale", "0 has the first colour"):
        assert words in bar.get_ylabel()


@pytest.mark.parametrize("mode", ["plane", "cut"])
def test_a_curve_says_what_is_beyond_its_axes(
    run, plane, make_scan, ask_scan, scene_of_scans, mode
):
    """In a cut along the middle row as in a line."""
    is_line = mode == "plane"
    scan_id = make_scan(run, ask_scan(1, points=9)) if is_line else plane
    scene = scene_of_scans(run, scan_id, mode=mode, quantity="loss", log=True, cut_degrees=90.0)
    places = [(k,) if is_line else (4, k) for k in (1, 4, 6)]

    def change(split: SplitResult) -> SplitResult:
        loss = split.loss
        for place, value in zip(places, (np.inf, 0.0, np.nan), strict=True):
            loss = put(loss, place, value)
        return replace(split, loss=loss)

    axes = landscape_figure(with_split(scene, change)).axes[0]
    assert set(legend_of(axes)) >= {"at least", "0", "no value"}
    assert "stationary points" not in legend_of(axes)  # the only one is at 0
    t = scene.picture.result.coordinates[-1]
    at_edge = {
        line.get_marker(): points_of(line)
        for line in axes.lines
        if line.get_marker() in ("^", "v", "x")
    }
    assert at_edge == {
        "^": ([t[1]], [1.0]),
        "v": ([t[4]], [0.0]),
        "x": ([t[6]], [0.0]),
    }


# What is half done says so


@pytest.mark.parametrize("mode", ["plane", "classes", "cut", "similarity"])
def test_a_plane_that_is_half_done_says_so_in_every_mode(
    run, make_scan, ask_scan, scene_of_scans, mode
):
    scan_id = make_scan(run, ask_scan(), state=ScanState.CANCELLED, share=0.5)
    figure = landscape_figure(scene_of_scans(run, scan_id, mode=mode))
    words = " ".join(texts(figure).split())
    assert "coarse picture: 41 of 81 points on all 500 images" in words


def test_lines_that_are_half_done_say_so(run, make_scan, ask_scan, scene_of_scans):
    def asked(seed: int):
        request = ask_scan(1, points=9, kind="gaussian", series="half")
        return replace(request, directions=(replace(request.directions[0], seed=seed),))

    half = {"state": ScanState.CANCELLED, "share": 0.6}
    ids = [make_scan(run, asked(seed), **half) for seed in range(5)]
    one = texts(landscape_figure(scene_of_scans(run, ids[0])))
    assert "coarse picture: 6 of 9 points" in one
    words = texts(landscape_figure(scene_of_scans(run, *ids)))
    assert "seed 2: coarse picture: 6 of 9 points" in words
    assert "2 more are not whole" in words


def test_points_that_were_given_up_have_a_sign_on_a_line(
    run, make_scan, ask_scan, scene_of_scans
):
    request = ask_scan(1, points=9, clip=0.3)
    scan_id = make_scan(run, request, chunks=lambda index: 1 if index[0] in (0, 8) else 2)
    figure = landscape_figure(scene_of_scans(run, scan_id))
    loss, mistakes = figure.axes
    assert "at least" in legend_of(loss)
    signs = next(line for line in loss.lines if line.get_marker() == "^")
    np.testing.assert_allclose(np.asarray(signs.get_xdata()), [-0.1, 0.1])
    assert not any(line.get_marker() == "^" for line in mistakes.lines)
    assert "complete; 2 cells at least 0.3" in texts(figure)


# Several scans


def test_scans_of_one_seed_have_names_of_their_own(run, make_scan, ask_scan, scene_of_scans):
    asked = ask_scan(1, points=5, kind="gaussian", series="twins")
    ids = [make_scan(run, asked), make_scan(run, asked)]
    names = legend_of(landscape_figure(scene_of_scans(run, *ids)).axes[0])[1:3]
    assert names == [scan_id[-6:] for scan_id in ids]
    other = replace(asked, epoch=8, checkpoint=3)
    ids += [make_scan(run, other), make_scan(run, replace(other, batch_norm="recompute"))]
    names = legend_of(landscape_figure(scene_of_scans(run, *ids)).axes[0])[1:5]
    assert names[0] == f"epoch 2, frozen BN, {ids[0][-6:]}"
    assert names[2:] == ["epoch 8, frozen BN", "epoch 8, recompute BN"]


def test_a_chart_of_several_scans_says_where_each_comes_from(
    run, make_scan, ask_scan, scene_of_scans
):
    asked = ask_scan(1, points=5, series="course")
    ids = [
        make_scan(run, replace(asked, epoch=epoch, checkpoint=number))
        for number, epoch in enumerate((0, 2, 8), start=1)
    ]
    words = " ".join(texts(landscape_figure(scene_of_scans(run, *ids))).split())
    for part in (
        "series course · 3 scans",
        f"the first {ids[0]}",
        f"the last {ids[2]}",
        "epochs 0 to 8",
        "checkpoints 1 to 3",
        "on cpu",
    ):
        assert part in words


def test_a_line_toward_another_model_says_which(run, make_scan, ask_scan, scene_of_scans):
    spec = DirectionSpec(
        kind="toward",
        normalise="none",
        toward_run="runs/a-name-of-some-length.zarr",
        toward_checkpoint=15,
    )
    request = replace(ask_scan(1, points=5), directions=(spec,))
    loss, mistakes = landscape_figure(scene_of_scans(run, make_scan(run, request))).axes
    where = "toward a-name-of-some-length, checkpoint 15"
    assert mistakes.get_xlabel() == f"coordinate along {where}; 0 is the model, 1 the other one"
    upright = [points_of(line)[0] for line in loss.lines if line.get_linestyle() == ":"]
    assert upright == [[0.0, 0.0], [1.0, 1.0]]


# Two scans beside one another


@pytest.fixture(scope="module")
def pair(run, plane, make_scan, scene_of_scans):
    """The landscape with the plane in focus, and another scan beside it."""

    def make(request, **selection) -> Scene:
        other = make_scan(run, request)
        scene = scene_of_scans(run, other, plane, beside=other, **selection)
        kept: ScanPicture | None = scene_of_scans(run, other).picture
        return replace(scene, beside=kept)

    return make


def test_two_planes_are_on_one_scale(pair, ask_scan):
    scene = pair(ask_scan(points=5, ranges=((-0.2, 0.2),) * 2), quantity="loss")
    figure = landscape_figure(scene)
    left, right, bar = figure.axes
    assert left.collections[0].get_clim() == right.collections[0].get_clim()
    assert bar.get_ylabel() == "cross-entropy, nats"
    assert (mesh_of(left).shape, mesh_of(right).shape) == ((5, 5), (9, 9))
    for scan_id in (scene.selection.beside, scene.picture.scan_id):
        assert f"scan {scan_id}" in " ".join(texts(figure).split())


def test_the_cuts_of_two_planes_are_in_one_chart(pair, ask_scan):
    axes = landscape_figure(pair(ask_scan(points=5, epoch=8), mode="cut")).axes[0]
    assert legend_of(axes) == ["epoch 8 train", "epoch 2 train", "epoch 2 test"]


def test_a_line_beside_a_plane_is_refused(pair, ask_scan):
    with pytest.raises(LossvizError, match="no scale in common"):
        landscape_figure(pair(ask_scan(1, points=5)))


def test_a_cut_that_is_turned_is_drawn_over_the_plane(run, plane, scene_of_scans):
    scene = scene_of_scans(run, plane, has_cut=True, cut_degrees=0.0)
    axes = landscape_figure(scene).axes[0]
    assert "cut at 0 degrees" in legend_of(axes)
    line = next(line for line in axes.lines if line.get_label() == "cut at 0 degrees")
    np.testing.assert_allclose(np.asarray(line.get_ydata()), [-0.1, 0.1])  # t1 goes up
