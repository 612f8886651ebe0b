"""Figures: what is in them, not how each pixel looks, and that no name or number breaks one."""

import contextlib
import re
import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.text import Text

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.schema import ScanState
from lossviz_tui.figures.drawing import edges, figure_settings, has_matplotlib
from lossviz_tui.figures.figure import css_variables, inline_svg, write_figure
from lossviz_tui.figures.run_figures import (
    cctm_figure,
    dance_figure,
    notes_figure,
    overview_figure,
)
from lossviz_tui.figures.scan_figures import landscape_figure
from lossviz_tui.selection import Selection

EVIL = "<b>$x^ \\frac{\x1b[31m& \u202e" + "w" * 200
ENDINGS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.fixture(autouse=True)
def settings():
    with figure_settings(text_as_paths=False):
        yield


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("figures") / "pets.zarr")


@pytest.fixture(scope="module")
def plane(run, make_scan, ask_scan):
    way = ((0.0, -0.08, 0.0, 0.3), (2.0, 0.02, 0.05, 0.1), (8.0, 0.0, 0.0, 0.0))
    return make_scan(run, ask_scan(split="both"), trajectory=way)


def texts(figure) -> str:
    """Every word of a figure."""
    found = figure.findobj(Text)
    return "\n".join(artist.get_text() for artist in found)


def labels(axes) -> list[str]:
    """What the legend of some axes would hold."""
    return axes.get_legend_handles_labels()[1]


def test_an_overview_has_what_is_recorded(make_scene):
    figure = overview_figure(make_scene(selection=Selection(view="overview", log=True)))
    accuracy, loss, rate, norm = figure.axes
    assert labels(accuracy) == ["train", "test"]
    assert labels(loss) == ["train", "test", "batches in training"]
    assert (loss.get_yscale(), rate.get_yscale(), norm.get_yscale()) == ("log", "log", "linear")
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch"] * 4
    np.testing.assert_array_equal(norm.lines[0].get_ydata(), np.arange(21.0, 29.0))


def test_a_dance_has_both_recalls_its_moments_and_a_row(make_scene):
    figure = dance_figure(make_scene(selection=Selection(view="dance")))
    above, below = figure.axes
    assert labels(above)[:2] == ["recall of cat", "recall of dog"]
    assert "dog gains what cat loses" in labels(above)
    assert labels(below)[0] == "dog"
    assert above.get_ylabel() == "recall, percent"
    for word in ("cat and dog on test", "dance score", "run pets", "epoch 8 of 12"):
        assert word in texts(figure)


def test_notes_are_a_staff_or_every_class(make_scene):
    some = notes_figure(make_scene(selection=Selection(view="notes", classes=(2, 3))))
    assert labels(some.axes[0]) == ["note of cat", "note of dog"]
    every = notes_figure(make_scene(selection=Selection(view="notes", all_classes=True)))
    assert len(every.axes[0].get_yticks()) == 5


@pytest.mark.parametrize("color_diagonal", [True, False])
def test_a_cctm_has_its_numbers_and_a_colour_bar(make_scene, color_diagonal):
    selection = Selection(view="cctm", color_diagonal=color_diagonal)
    scene = make_scene(selection=selection)
    figure = cctm_figure(scene)
    rates = scene.view.rates("test", -1)
    shown = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert shown == {(j, i): f"{100 * rates[i, j]:.1f}" for i in range(5) for j in range(5)}
    off = 100 * rates[~np.eye(5, dtype=bool)].max()
    assert figure.axes[0].collections[0].get_clim()[1] == pytest.approx(
        100 * rates.max() if color_diagonal else off
    )
    assert figure.axes[1].get_ylabel() == "percent of the true class"


def test_a_hundred_classes_are_an_image(make_view, make_scene):
    scene = make_scene(view=make_view(100, 3), selection=Selection(view="cctm"))
    axes = cctm_figure(scene).axes[0]
    assert not axes.texts
    assert axes.images[0].get_size() == (100, 100)
    notes_figure(replace(scene, selection=Selection(view="notes", all_classes=True)))


def test_a_plane_has_axes_marks_contours_and_the_way(run, plane, scene_of_scans):
    scene = scene_of_scans(run, plane, quantity="loss", log=True)
    figure = landscape_figure(scene)
    axes, bar = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("t2, ego dog", "t1, ego cat")
    assert bar.get_ylabel() == "cross-entropy, nats, log scale"
    found = labels(axes)
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
    assert labels(cut.axes[0]) == ["train", "test"]
    similar = landscape_figure(scene_of_scans(run, plane, mode="similarity"))
    assert similar.axes[0].collections[0].get_clim() == (-1.0, 1.0)


def test_a_line_has_chance_stationary_points_and_its_type(
    run, make_scan, ask_scan, scene_of_scans
):
    scan_id = make_scan(run, ask_scan(1, points=9, split="both"))
    figure = landscape_figure(scene_of_scans(run, scan_id, log=True))
    loss, mistakes = figure.axes
    assert labels(loss) == ["chance, log C", "train", "stationary points", "test"]
    np.testing.assert_allclose(np.asarray(loss.lines[0].get_ydata()), np.log(5))
    assert "train: v-basin" in loss.get_title(loc="left")
    assert mistakes.get_xlabel() == "coordinate along ego cat; 0 is the model"


def test_a_series_of_lines_is_one_chart(run, make_scan, ask_scan, scene_of_scans):
    ids = [make_scan(run, ask_scan(1, kind="gaussian", series="seeds")) for _ in range(3)]
    figure = landscape_figure(scene_of_scans(run, *ids))
    assert len(labels(figure.axes[0])) == 5
    assert "3 lines" in texts(figure)


def test_a_scan_under_way_says_how_far_it_is(run, make_scan, ask_scan, scene_of_scans):
    scan_id = make_scan(run, ask_scan(), state=ScanState.CANCELLED, share=0.5, stride=2)
    figure = landscape_figure(scene_of_scans(run, scan_id))
    assert "estimated" in labels(figure.axes[0])
    assert "coarse picture" in texts(figure)


@pytest.mark.parametrize("view", ["overview", "dance", "notes", "cctm", "landscape"])
def test_where_there_is_nothing_a_sentence_says_so(make_view, make_scene, view):
    scene = make_scene(view=make_view(epochs=0), selection=Selection(view=view))
    with pytest.raises(LossvizError, match="there is no figure"):
        inline_svg(scene, "a-")


@pytest.mark.parametrize("view", ["dance", "notes", "cctm"])
def test_no_name_breaks_a_figure(make_view, make_scene, view):
    names = tuple(f"{EVIL}{k}" for k in range(3))
    scene = make_scene(view=make_view(3, 3, names=names), selection=Selection(view=view))
    text = inline_svg(scene, "a-")
    ET.fromstring(text)
    assert not re.search(r"<b>|[\x00-\x08\x0b-\x1f\u202e]", text)


def test_numbers_beyond_all_measure_are_drawn_or_refused(make_scene):
    scene = make_scene()
    scalars = scene.view.scalars.copy()
    scalars[:, 3:] = [[np.inf], [-np.inf], [1e308], [-1e308], [np.nan], [0.0], [1e-308], [1.0]]
    evil = replace(scene, view=replace(scene.view, scalars=scalars))
    for log in (False, True):
        with contextlib.suppress(LossvizError):
            inline_svg(replace(evil, selection=Selection(view="overview", log=log)), "a-")


def test_an_inline_figure_takes_its_colours_and_ids_from_the_page(make_scene):
    scene = make_scene(selection=Selection(view="dance"))
    first, second = (inline_svg(scene, prefix) for prefix in ("a-", "b-"))
    ids = [set(re.findall(r' id="([^"]*)"', text)) for text in (first, second)]
    assert not ids[0] & ids[1]
    assert {name[:2] for name in ids[0]} == {"a-"}
    light = css_variables(dark=False)
    assert not any(rgb in first for rgb in light.values())
    assert set(re.findall(r"var\(--(\w+)\)", first)) <= set(light)
    assert set(light) == set(css_variables(dark=True))
    assert not re.findall(r'(?:href|src)="(?!#|data:)', first)


@pytest.mark.parametrize("suffix", sorted(ENDINGS))
def test_a_file_is_what_its_suffix_says(make_view, make_scene, tmp_path, suffix):
    out = tmp_path / f"a{suffix}"
    scene = make_scene(view=make_view(2, 2), selection=Selection(view="cctm"))
    write_figure(scene, out)
    assert out.read_bytes().startswith(ENDINGS[suffix])
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_the_same_figure_has_the_same_bytes(make_view, make_scene):
    scene = make_scene(view=make_view(2, 2), selection=Selection(view="cctm"))
    assert inline_svg(scene, "a-") == inline_svg(scene, "a-")


def test_edges_lie_half_way():
    assert edges(np.array([1.0, 2.0, 4.0])).tolist() == [0.5, 1.5, 3.0, 5.0]
    assert edges(np.array([3.0])).tolist() == [2.5, 3.5]


def test_without_matplotlib_a_sentence_says_what_to_install(make_scene, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not has_matplotlib()
    with pytest.raises(LossvizError, match=r"pip install 'lossviz-tui\[figures\]'"):
        write_figure(make_scene(selection=Selection(view="cctm")), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
