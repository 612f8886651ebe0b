"""Which classes the CCTM shows, and in which order."""

import numpy as np
import pytest

from lossviz_tui.class_order import fitting, place_of, shown_classes
from lossviz_tui.selection import Selection

NAMES = ("plane", "car", "Cat", "dog", "ship")


@pytest.fixture
def shown(make_scene):
    def of(view=None, **selection) -> list[int]:
        changes = {} if view is None else {"view": view}
        scene = make_scene(selection=Selection(view="cctm", **selection), **changes)
        return shown_classes(scene).tolist()

    return of


def test_without_a_filter_no_class_is_left_out():
    assert fitting(NAMES, "") is None
    assert fitting(NAMES, " , ") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ca", [1, 2]), ("CAT", [2]), ("dog, ship", [3, 4]), ("p,", [0, 4]), ("zebra", [])],
)
def test_a_class_fits_that_has_one_of_the_words(text, expected):
    assert fitting(NAMES, text) == expected


def test_of_an_endless_name_the_beginning_is_looked_at():
    assert fitting(["x" * 1_000_000 + "cat"], "cat") == []


def test_by_recall_the_best_comes_first_and_the_unknown_last(make_view, shown):
    def empty(counts):
        counts[:, :, 1] = 0

    view = make_view(change=empty)
    order = shown(view=view, order="recall")
    recalls = np.diagonal(view.rates("test", 7))[order]
    assert order[-1] == 1
    assert (np.diff(recalls[:-1]) <= 0).all()


def test_clustered_the_pair_that_interferes_most_stands_together(shown):
    order = shown(order="similarity")
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert abs(order.index(2) - order.index(3)) == 1


def test_a_filter_keeps_the_order(shown):
    order = shown(order="recall")
    kept = shown(order="recall", class_filter="a")
    assert kept == [c for c in order if c in (0, 1, 2)]  # plane, car, cat


def test_without_epochs_there_is_nothing_to_show(make_scene, make_view):
    assert not shown_classes(make_scene(view=make_view(epochs=0))).size
    assert not shown_classes(make_scene(view=None)).size


def test_a_class_that_is_not_shown_has_the_first_place():
    assert place_of(np.array([4, 2]), 2) == 1
    assert place_of(np.array([4, 2]), 3) == 0
