"""Figures: what is in them, not how each pixel looks, and that no name or number breaks one."""

import contextlib
import re
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.axes import Axes
from tests.tui.figure_words import legend_of, texts

from lossviz_analysis.errors import LossvizError
from lossviz_tui.figures.cctm import cctm_figure
from lossviz_tui.figures.dance import dance_figure
from lossviz_tui.figures.drawing import edges, figure_settings, has_matplotlib
from lossviz_tui.figures.figure import css_variables, inline_svg, write_figure
from lossviz_tui.figures.notes import notes_figure
from lossviz_tui.figures.overview import overview_figure
from lossviz_tui.overlay import Overlay
from lossviz_tui.scene import Scene
from lossviz_tui.selection import RunMark, Selection

EVIL = "<b>$x^ \\frac{\x1b[31m& \u202e" + "w" * 200
ENDINGS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


OVERVIEW, DANCE = Selection(view="overview"), Selection(view="dance")


def dots_of(axes: Axes) -> list[np.ndarray]:
    """Where values stand alone, each curve's by themselves."""
    lines = (line for line in axes.lines if line.get_marker() == "o")
    return [np.asarray(line.get_xdata()) for line in lines]


@pytest.fixture(autouse=True)
def settings():
    with figure_settings(text_as_paths=False):
        yield


def test_an_overview_has_what_is_recorded(make_scene):
    figure = overview_figure(make_scene(selection=Selection(view="overview", log=True)))
    accuracy, loss, rate, norm = figure.axes
    assert legend_of(accuracy) == ["train", "test"]
    assert legend_of(loss) == ["train", "test", "batches in training"]
    assert (loss.get_yscale(), rate.get_yscale(), norm.get_yscale()) == ("log", "log", "linear")
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch"] * 4
    np.testing.assert_array_equal(norm.lines[0].get_ydata(), np.arange(21.0, 29.0))


def test_a_dance_has_both_recalls_its_moments_and_a_row(make_scene):
    figure = dance_figure(make_scene(selection=Selection(view="dance")))
    above, below = figure.axes
    assert legend_of(above)[:2] == ["recall of cat", "recall of dog"]
    assert "dog gains what cat loses" in legend_of(above)
    assert legend_of(below)[0] == "dog"
    assert above.get_ylabel() == "recall, percent"
    for word in ("cat and dog on test", "dance score", "run pets", "epoch 8 of 12"):
        assert word in texts(figure)


def test_a_value_between_gaps_is_a_dot(make_scene):
    scene = make_scene()
    scalars = scene.view.scalars.copy()
    column = scene.view.description.scalar_columns.index("test_accuracy")
    scalars[[0, 1, 3, 5], column] = np.nan  # the third epoch is alone, the seventh is not
    recall = scene.view.recall.copy()
    recall[[1, 3], :, 2] = np.nan
    view = replace(scene.view, scalars=scalars, recall=recall)
    accuracy = overview_figure(replace(scene, view=view, selection=OVERVIEW)).axes[0]
    assert [x.tolist() for x in dots_of(accuracy)] == [[3, 5]]
    above = dance_figure(replace(scene, view=view, selection=DANCE)).axes[0]
    assert [x.tolist() for x in dots_of(above)] == [[1, 3]]


def test_one_epoch_is_a_dot(make_view, make_scene):
    axes = overview_figure(make_scene(view=make_view(epochs=1), selection=OVERVIEW)).axes[0]
    assert len(dots_of(axes)) == 2


def test_on_a_log_axis_a_value_between_zeros_is_a_dot(make_scene):
    scene = make_scene(selection=replace(OVERVIEW, log=True))
    scalars = scene.view.scalars.copy()
    column = scene.view.description.scalar_columns.index("learning_rate")
    scalars[[1, 3], column] = 0.0
    rate = overview_figure(replace(scene, view=replace(scene.view, scalars=scalars))).axes[2]
    assert [x.tolist() for x in dots_of(rate)] == [[1, 3]]


def test_an_epoch_without_the_class_takes_no_name_from_a_row(make_view, make_scene):
    def without_cats(counts: np.ndarray) -> None:
        counts[2, :, 2] = 0

    scene = make_scene(view=make_view(change=without_cats), selection=DANCE)
    figure = dance_figure(replace(scene, selection=replace(DANCE, pair=(2, 3))))
    assert legend_of(figure.axes[1]) == ["dog", "ship", "others"]


def test_a_name_that_begins_with_a_line_is_in_the_legend(make_view, make_scene):
    names = ("_a", "_nolegend_", "_child2")
    scene = make_scene(view=make_view(3, 4, names=names))
    dance = dance_figure(replace(scene, selection=replace(DANCE, pair=(0, 1))))
    assert set(legend_of(dance.axes[1])) == set(names[1:])
    notes = Selection(view="notes", all_classes=True)
    legend = legend_of(notes_figure(replace(scene, selection=notes)).axes[0])
    assert legend
    assert set(legend) <= set(names)


def test_a_smoothed_overview_shows_what_it_was_made_of(make_scene):
    figure = overview_figure(make_scene(selection=replace(OVERVIEW, smoothing=0.1)))
    accuracy, _, rate, norm = figure.axes
    assert accuracy.get_title(loc="left") == "accuracy, mean of 3 epochs"
    assert [line.get_alpha() for line in accuracy.lines] == [0.3, 1.0, 0.3, 1.0]
    raw, smooth = (np.asarray(line.get_ydata()) for line in accuracy.lines[:2])
    np.testing.assert_allclose(smooth[1:-1], (raw[:-2] + raw[1:-1] + raw[2:]) / 3)
    assert (len(rate.lines), len(norm.lines)) == (1, 1)


def test_the_speed_is_in_the_overview_where_it_is_recorded(make_scene):
    scene = make_scene(selection=OVERVIEW)
    about = replace(
        scene.view.description,
        scalar_columns=(*scene.view.description.scalar_columns[:-1], "images_per_second"),
    )
    figure = overview_figure(replace(scene, view=replace(scene.view, description=about)))
    assert figure.axes[3].get_title(loc="left") == "images/s in training"


@pytest.fixture
def marked(make_scene, make_view):
    """The open run with three marked ones: one is being read, one has other classes."""
    paths = [Path(f"runs/{name}.zarr") for name in ("_a", "b", "c")]
    overlays = (
        Overlay(path=paths[0], view=replace(make_view(epochs=5), path=paths[0])),
        Overlay(path=paths[1]),
        Overlay(path=paths[2], view=replace(make_view(3, 4), path=paths[2])),
    )
    marks = tuple(RunMark(path=path, slot=slot) for slot, path in enumerate(paths))

    def build(selection: Selection) -> Scene:
        return make_scene(overlays=overlays, selection=replace(selection, marks=marks))

    return build


def test_marked_runs_are_drawn_together(marked):
    figure = overview_figure(marked(OVERVIEW))
    accuracy, loss = figure.axes[:2]
    assert accuracy.get_title(loc="left") == "accuracy, test"
    assert [len(np.asarray(line.get_xdata())) for line in accuracy.lines] == [8, 5, 4]
    assert legend_of(loss) == ["pets", "_a", "b, reading", "c"]
    assert "4 runs" in texts(figure)
    words = " ".join(texts(figure).split())
    assert "run _a 9b2e8f0e-6f4 to epoch 5 · run c 9b2e8f0e-6f4 to epoch 4" in words


def test_marked_runs_dance_together(marked):
    figure = dance_figure(marked(replace(DANCE, pair=(2, 3))))
    cat, dog, row = figure.axes
    assert cat.get_ylabel() == "recall of cat, percent"
    assert dog.get_ylabel() == "recall of dog, percent"
    assert row.get_ylabel() == "cat called ..., percent"
    assert row.get_title(loc="left") == "of pets alone"
    assert cat.get_title(loc="left").startswith("pets: dance score")
    names = legend_of(cat)
    assert [name.split(",")[0] for name in names[:4]] == ["pets", "_a", "b", "c"]
    assert names[2:4] == ["b, reading", "c, other classes"]
    assert "dog gains what cat loses" in legend_of(dog)


def test_a_chosen_set_dances_together(make_scene):
    selection = replace(DANCE, classes=(0, 2, 3, 4), pair=(2, 3))
    figure = dance_figure(make_scene(selection=selection))
    above, below = figure.axes
    chosen = ["plane", "cat", "dog", "ship"]
    assert legend_of(above)[:4] == [f"recall of {name}" for name in chosen]
    assert legend_of(below) == ["dog", "plane", "ship", "others"]
    assert "plane, cat, dog and ship on test" in texts(figure)
    assert "dance score of cat and dog" in texts(figure)


def test_a_cctm_is_compared_ordered_and_filtered_as_chosen(make_scene):
    cctm = Selection(view="cctm", comparison="epochs", epoch=6, color_diagonal=True)
    scene = make_scene(selection=replace(cctm, order="recall", class_filter="a"))
    figure = cctm_figure(scene)
    axes, bar = figure.axes
    shown = [text.get_text() for text in axes.get_xticklabels()]
    assert sorted(shown) == ["car", "cat", "plane"]
    assert bar.get_ylabel() == "percentage points"
    gain = 100 * (scene.view.rates("test", 5) - scene.view.rates("test", 0))
    numbers = [scene.view.description.class_names.index(name) for name in shown]
    found = {text.get_position(): text.get_text() for text in axes.texts}
    assert found == {
        (k, k2): f"{gain[numbers[k2], numbers[k]]:+.1f}" for k in range(3) for k2 in range(3)
    }
    low, high = axes.collections[0].get_clim()
    assert low == -high < 0
    for words in ("epoch 6 minus epoch 1", "by recall", "3 of 5 classes", "mean recall"):
        assert words in " ".join(texts(figure).split())


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ({"class_filter": "yak"}, "no class has 'yak' in its name"),
        ({"comparison": "runs"}, "mark another run in Runs"),
    ],
)
def test_a_cctm_that_is_not_there_is_refused(make_scene, chosen, why):
    with pytest.raises(LossvizError, match=why):
        cctm_figure(make_scene(selection=Selection(view="cctm", **chosen)))


def test_notes_are_a_staff_or_every_class(make_scene):
    some = notes_figure(make_scene(selection=Selection(view="notes", classes=(2, 3))))
    assert legend_of(some.axes[0]) == ["note of cat", "note of dog"]
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
