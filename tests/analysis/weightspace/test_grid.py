"""Levels of a grid's points, and what a point is predicted from."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_analysis.weightspace.grid import (
    coarse_to_fine,
    linspace,
    point_levels,
    points_of,
    predicted_from,
    prediction_weights,
)

few = settings(deadline=None)
grids = st.lists(st.integers(2, 24), min_size=1, max_size=2).map(tuple)


def slow_levels(num_points):
    """Level by level: the midpoint of every gap between the points already there."""
    level = {0: 0, num_points - 1: 0}
    depth = 0
    while len(level) < num_points:
        depth += 1
        there = sorted(level)
        for a, b in pairwise(there):
            if b - a > 1:
                level[(a + b) // 2] = depth
    return [level[k] for k in range(num_points)]


@pytest.mark.parametrize("num_points", [2, 3, 4, 9, 10, 19, 41, 51, 100, 1_000, 2_001])
def test_levels_of_a_line_are_those_of_filling_every_gap(num_points):
    found = point_levels((num_points,))
    assert found.tolist() == slow_levels(num_points)
    assert found.max() == math.ceil(math.log2(num_points - 1))


@few
@given(grids)
def test_a_point_of_a_plane_has_the_deeper_level_of_its_axes(points):
    found = point_levels(points).reshape(points)
    slow = [slow_levels(n) for n in points]
    for index in np.ndindex(*points):
        assert found[index] == max(levels[i] for levels, i in zip(slow, index, strict=True))


@pytest.mark.parametrize(
    "points", [(2,), (2, 2), (2, 3), (7, 2), (2_000,), (2_001,), (2_001, 3), (50, 40)]
)
def test_every_size_is_ordered_by_level(points):
    order = coarse_to_fine(points)
    assert np.array_equal(np.sort(order), np.arange(math.prod(points)))
    assert (np.diff(point_levels(points)[order]) >= 0).all()


@few
@given(st.integers(2, 33).map(lambda n: 2 * n), st.floats(1e-3, 1e3))
def test_an_even_number_of_points_is_symmetric_and_leaves_out_the_centre(num_points, span):
    found = linspace(-span, span, num_points)
    np.testing.assert_allclose(found, -found[::-1], rtol=1e-12, atol=0)
    assert (found != 0).all()
    levels = point_levels((num_points,))
    assert levels[0] == levels[-1] == 0


@few
@given(grids)
def test_a_point_is_predicted_from_lower_levels_alone(points):
    levels, parents = point_levels(points), predicted_from(points)
    assert parents.shape == (math.prod(points), 2 ** len(points))
    below = levels > 0
    assert (levels[parents[below]] < levels[below, None]).all()
    assert (parents[~below] == np.flatnonzero(~below)[:, None]).all()


@few
@given(grids)
def test_parents_lie_around_their_point_along_the_axes_of_which_it_is_a_midpoint(points):
    parents, levels = predicted_from(points), point_levels(points)
    slow = [slow_levels(n) for n in points]
    for number, index in enumerate(np.ndindex(*points)):
        around = [np.unravel_index(p, points) for p in parents[number]]
        is_midpoint = [s[i] == levels[number] > 0 for s, i in zip(slow, index, strict=True)]
        assert len(set(around)) == 2 ** sum(is_midpoint)
        for axis, inside in enumerate(is_midpoint):
            places = {int(p[axis]) for p in around}
            assert len(places) == 1 + inside
            assert not inside or min(places) < index[axis] < max(places)
            assert inside or places == {index[axis]}


@few
@given(grids, st.tuples(*[st.floats(-3, 3)] * 4))
def test_what_is_linear_along_each_axis_is_predicted_exactly(points, factors):
    """Also where an interval of odd length has no point in its middle."""
    parents, weights = predicted_from(points), prediction_weights(points)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-15)
    assert (weights > 0).all()
    x, *rest = points_of(tuple(np.arange(float(n)) for n in points)).T
    y = rest[0] if rest else np.zeros_like(x)
    a, b, c, d = factors
    values = a + b * x + c * y + d * x * y
    np.testing.assert_allclose((values[parents] * weights).sum(axis=1), values, atol=1e-10)


def test_the_parents_of_a_plane_of_three_by_three():
    parents = predicted_from((3, 3))
    assert set(parents[4].tolist()) == {0, 2, 6, 8}
    assert set(parents[1].tolist()) == {0, 2}
    assert set(parents[3].tolist()) == {0, 6}
    assert (prediction_weights((3, 3)) == 0.25).all()


def test_the_centre_of_an_uneven_interval_lies_nearer_to_its_beginning():
    assert predicted_from((4,))[1].tolist() == [0, 3]
    np.testing.assert_allclose(prediction_weights((4,))[1], [2 / 3, 1 / 3])
