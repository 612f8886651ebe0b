"""Curve types against Xu's formula and the shapes he draws."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lossviz_analysis.surfaces.curves import (
    CurveType,
    chance_loss,
    curve_type,
    stationary_points,
)

few = settings(max_examples=150, deadline=None)
heights = st.lists(st.integers(0, 4), max_size=9)
T = np.linspace(-1, 1, 41)


def through(t, y):
    """The curve of straight lines between these points."""
    return np.interp(T, t, y)


@pytest.mark.oracle
@few
@given(heights)
def test_stationary_points_are_those_of_the_formula(y):
    expected = [t for t in range(1, len(y) - 1) if (y[t] - y[t + 1]) * (y[t] - y[t - 1]) > 0]
    assert stationary_points(np.array(y, dtype=float)).tolist() == expected


def test_minima_too_shallow_to_multiply_are_stationary():
    assert stationary_points(np.array([1e-200, 0.0, 1e-200])).tolist() == [1]


def test_infinite_losses_are_high_and_neighbours_of_nan_not_stationary():
    y = np.array([math.inf, math.inf, 0.0, math.inf, 1.0, math.nan, 0.0, 1.0])
    assert stationary_points(y).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("y", "kind", "num_stationary"),
    [
        (T**2, "v-basin", 1),
        (np.abs(T), "v-basin", 1),
        (T, "v-side", 0),
        (-T, "v-side", 0),
        ((T - 0.5) ** 2, "v-side", 1),
        ((T + 0.05) ** 2, "v-side", 1),
        ((T**2 - 0.25) ** 2, "w-peak", 3),
        (-(T**2), "w-peak", 1),
        (((T - 0.3) ** 2 - 0.09) ** 2, "w-basin", 3),
        (((T - 0.4) ** 2 - 0.09) ** 2, "w-basin", 3),
        (through([-1, 0, 0.2, 0.4, 0.6, 0.8, 1], [3, 0, 1, 0.2, 1, 0.1, 2]), "vvv-basin", 5),
        (through([-1, -0.8, -0.4, 0, 0.4, 0.8, 1], [3, 0, 1, 0.2, 1, 0, 2]), "vvv-basin", 5),
        (through([-1, -0.8, -0.4, 0, 0.4, 0.8, 1], [3, 0, 1, 0.2, 1, 0, -1]), "other", 4),
        (through([-1, -0.5, 0, 0.5, 1], [0, 1, 0.5, 1, 0]), "other", 3),
        (through([-1, -0.5, 0, 0.5, 1], [1, 0, 1, 0, 1]), "w-peak", 3),
        (np.cos(3 * np.pi * T), "other", 5),
        (np.cos(2 * np.pi * (T - 0.25)), "other", 4),
        (np.zeros(41), "other", 0),
        (np.sign(T), "v-side", 0),
        (np.maximum(np.abs(T), 0.12), "other", 0),
    ],
)
def test_shapes_have_the_names_xu_gives_them(y, kind, num_stationary):
    assert curve_type(T, y) == CurveType(kind, num_stationary, 41, 0)


def slow_kind(y, model):
    """Read the definitions of science.md one by one; `model` is an index."""
    inner = range(1, len(y) - 1)
    minima = [i for i in inner if y[i] < y[i - 1] and y[i] < y[i + 1]]
    maxima = [i for i in inner if y[i] > y[i - 1] and y[i] > y[i + 1]]
    order = [i in minima for i in sorted(minima + maxima)]
    n = len(order)
    lower = [y[i] < y[model] for i in (model - 1, model + 1) if 0 <= i < len(y)]
    if n == 5 and order == [True, False, True, False, True]:
        return "vvv-basin"
    if n <= 3 and model in maxima:
        return "w-peak"
    if n == 3 and order == [True, False, True]:
        return "w-basin"
    if n == 1 and model in minima:
        return "v-basin"
    if n <= 1 and any(lower):
        return "v-side"
    return "other"


@pytest.mark.oracle
@few
@given(st.lists(st.integers(0, 3), min_size=3, max_size=9), st.data())
def test_a_type_follows_from_the_definitions(y, data):
    model = data.draw(st.integers(0, len(y) - 1))
    t = np.arange(len(y)) - float(model)
    found = curve_type(t, np.array(y, dtype=float))
    assert found.kind == slow_kind(y, model)
    assert found.num_stationary == len(stationary_points(np.array(y, dtype=float)))


@few
@given(st.lists(st.integers(0, 3), min_size=3, max_size=9), st.data())
def test_a_mirrored_curve_has_the_same_type(y, data):
    t = np.arange(len(y)) - data.draw(st.integers(0, 2 * len(y))) / 2
    # Half-way between two stationary points both are the nearest; either may decide.
    assume(not (float(t[0]) % 1 and len(stationary_points(np.array(y, dtype=float))) > 1))
    there = curve_type(t, np.array(y, dtype=float))
    back = curve_type(-t[::-1], np.array(y[::-1], dtype=float))
    assert there == back


def test_a_model_between_grid_points_is_at_a_minimum_next_to_it():
    t = np.linspace(-1, 2, 41)
    assert not np.isclose(t, 0).any()
    assert curve_type(t, t**2).kind == "v-basin"
    assert curve_type(t, (t - 0.4) ** 2).kind == "v-side"
    assert curve_type(t, -(t**2)).kind == "w-peak"
    assert curve_type(t, (t * (t - 1)) ** 2).kind == "w-basin"


def test_of_two_stationary_points_around_the_model_the_nearer_decides():
    y = np.array([1.0, 0.0, 2.0, 1.0])
    steps = np.arange(4.0)
    assert curve_type(steps - 1.25, y).kind == "other"
    assert curve_type(steps - 1.75, y).kind == "w-peak"


def test_a_model_half_way_along_a_level_stretch_is_on_no_slope():
    y = np.array([1.0, 0.0, 0.0, 1.0])
    assert curve_type(np.arange(4) - 1.5, y).kind == "other"
    assert curve_type(np.arange(4) - 0.5, y).kind == "v-side"


def test_a_line_that_does_not_reach_the_model_says_nothing_about_sides():
    t = np.linspace(1, 2, 21)
    assert curve_type(t, t).kind == "other"
    assert curve_type(t, (t - 1.5) ** 2).kind == "other"
    assert curve_type(t, ((t - 1.5) ** 2 - 0.04) ** 2).kind == "w-basin"


def test_points_missing_at_the_ends_shorten_the_curve():
    y = T**2
    y[:2] = y[-1] = np.nan
    found = curve_type(T, y)
    assert found == CurveType("v-basin", 1, 41, 3)
    assert found.describe().endswith("(3 of 41 points missing, at the ends)")


def test_a_curve_with_a_gap_is_unknown():
    y = T**2
    y[10] = np.nan
    assert curve_type(T, y) == CurveType("unknown", 1, 41, 1)
    assert curve_type(T, y).describe() == "unknown: 1 of 41 points missing"


@pytest.mark.parametrize("num_points", [0, 1, 2])
def test_a_curve_too_short_to_have_a_shape_is_unknown(num_points):
    t = np.arange(num_points, dtype=float)
    found = curve_type(t, t)
    assert found == CurveType("unknown", 0, num_points, 0)
    assert found.describe() == "unknown: fewer than 3 points"


def test_a_curve_that_is_all_missing_is_unknown():
    assert curve_type(T, np.full(41, np.nan)) == CurveType("unknown", 0, 41, 41)


def test_walls_of_infinite_loss_do_not_hide_a_basin():
    y = T**2
    y[:5] = y[-5:] = np.inf
    assert curve_type(T, y).kind == "v-basin"


@pytest.mark.parametrize(
    ("kind", "meaning"),
    [
        ("v-basin", "v-basin: the model lies at the only minimum"),
        ("v-side", "v-side: the model lies on a slope, the loss is lower on one side"),
        ("w-basin", "w-basin: two minima with a barrier between them"),
        (
            "w-peak",
            "w-peak: the model lies on a local maximum, the loss is lower on both sides",
        ),
        ("vvv-basin", "vvv-basin: three minima with two barriers between them"),
        ("other", "other (7 stationary): none of the named shapes"),
    ],
)
def test_every_type_says_what_it_means(kind, meaning):
    assert CurveType(kind, 7, 41, 0).describe() == meaning


def test_coordinates_that_do_not_increase_are_refused():
    with pytest.raises(ValueError, match="strictly increasing"):
        curve_type(T[::-1], T)


def test_chance_is_the_loss_of_equal_probabilities():
    assert chance_loss(10) == pytest.approx(-math.log(1 / 10))
    assert chance_loss(1) == 0
    with pytest.raises(ValueError, match="1 or more"):
        chance_loss(0)
