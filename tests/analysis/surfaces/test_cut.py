"""Cuts against bilinear interpolation of one point at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from lossviz_analysis.surfaces.cut import cut

angles = st.floats(-720, 720) | st.sampled_from([0.0, 45.0, 90.0, 135.0, 180.0, 225.0, 270.0])
axes = st.lists(st.floats(0.1, 2), min_size=2, max_size=6).flatmap(
    lambda steps: st.integers(0, len(steps)).map(
        lambda zero: np.cumsum([0.0, *steps]) - np.cumsum([0.0, *steps])[zero]
    )
)
few = settings(max_examples=100, deadline=None)


def slow_bilinear(surface, t1, t2, x, y):
    i = max(k for k in range(len(t1) - 1) if t1[k] <= x + 1e-12)
    j = max(k for k in range(len(t2) - 1) if t2[k] <= y + 1e-12)
    u = (x - t1[i]) / (t1[i + 1] - t1[i])
    v = (y - t2[j]) / (t2[j + 1] - t2[j])
    lower = (1 - v) * surface[i, j] + v * surface[i, j + 1]
    upper = (1 - v) * surface[i + 1, j] + v * surface[i + 1, j + 1]
    return (1 - u) * lower + u * upper


@pytest.mark.oracle
@few
@given(axes, axes, angles, st.integers(2, 9), st.integers(0, 99))
def test_values_are_interpolated_bilinearly(t1, t2, angle, num_points, seed):
    surface = np.random.default_rng(seed).random((len(t1), len(t2)))
    found = cut(surface, t1, t2, angle, num_points=num_points)
    expected = [
        slow_bilinear(surface, t1, t2, x, y) for x, y in zip(found.t1, found.t2, strict=True)
    ]
    np.testing.assert_allclose(found.value, expected, atol=1e-7)
    scipys = RegularGridInterpolator((t1, t2), surface)(np.stack([found.t1, found.t2], axis=1))
    np.testing.assert_allclose(found.value, scipys, atol=1e-7)


@few
@given(axes, axes, angles)
def test_a_cut_runs_straight_through_the_origin_from_border_to_border(t1, t2, angle):
    found = cut(np.zeros((len(t1), len(t2))), t1, t2, angle)
    radians = math.radians(angle)
    np.testing.assert_allclose(found.t1, found.s * math.cos(radians), atol=1e-9)
    np.testing.assert_allclose(found.t2, found.s * math.sin(radians), atol=1e-9)
    assert found.s[0] <= 0 <= found.s[-1]
    for end in (0, -1):
        margins = [abs(found.t1[end] - t1[k]) for k in (0, -1)]
        margins += [abs(found.t2[end] - t2[k]) for k in (0, -1)]
        assert min(margins) < 1e-9


@few
@given(axes, axes, angles)
def test_half_a_turn_reads_the_same_line_backwards(t1, t2, angle):
    surface = np.add.outer(t1, 3 * t2)
    there, back = (cut(surface, t1, t2, a) for a in (angle, angle + 180))
    np.testing.assert_allclose(back.s, -there.s[::-1], atol=1e-9)
    np.testing.assert_allclose(back.value, there.value[::-1], atol=1e-6)


@few
@given(axes, axes, angles)
def test_a_plane_stays_a_plane(t1, t2, angle):
    found = cut(np.add.outer(2 * t1, 3 * t2), t1, t2, angle)
    np.testing.assert_allclose(found.value, 2 * found.t1 + 3 * found.t2, atol=1e-6)


def test_zero_degrees_run_along_the_rows_and_ninety_along_the_columns():
    surface = np.random.default_rng(0).random((5, 7))
    t1, t2 = np.linspace(-1, 1, 5), np.linspace(-3, 3, 7)
    np.testing.assert_array_equal(cut(surface, t1, t2, 0.0).value, surface[:, 3])
    np.testing.assert_array_equal(cut(surface, t1, t2, 0.0).t1, t1)
    np.testing.assert_array_equal(cut(surface, t1, t2, 90.0).value, surface[2])
    np.testing.assert_array_equal(cut(surface, t1, t2, 90.0).t2, t2)


def test_the_diagonals_of_a_square_are_its_own_cells():
    surface = np.random.default_rng(0).random((19, 19))
    t = np.linspace(-0.1, 0.1, 19)
    np.testing.assert_array_equal(cut(surface, t, t, 45.0).value, np.diagonal(surface))
    found = cut(surface, t, t, 135.0)
    np.testing.assert_array_equal(found.value, np.diagonal(surface[::-1]))
    assert found.s[-1] == pytest.approx(0.1 * math.sqrt(2))


def test_a_missing_neighbour_counts_only_where_it_has_weight():
    surface = np.arange(9.0).reshape(3, 3)
    surface[2, 2] = surface[0, 0] = np.nan
    t = np.linspace(-1, 1, 3)
    assert not np.isnan(cut(surface, t, t, 0.0).value).any()
    assert not np.isnan(cut(surface, t, t, 90.0).value).any()
    found = cut(surface, t, t, 45.0, num_points=5)
    assert np.isnan(found.value).tolist() == [True, True, False, True, True]


def test_an_axis_of_one_point_can_be_cut_along_the_other():
    surface = np.array([[3.0, 1.0, 2.0]])
    found = cut(surface, np.zeros(1), np.linspace(-1, 1, 3), 90.0)
    assert found.value.tolist() == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("angle", [math.nan, math.inf])
def test_an_angle_that_is_no_number_is_refused(angle):
    with pytest.raises(ValueError, match="finite number of degrees"):
        cut(np.zeros((1, 1)), np.zeros(1), np.zeros(1), angle)


def test_a_cut_of_one_point_is_refused():
    with pytest.raises(ValueError, match="at least 2 points"):
        cut(np.zeros((1, 1)), np.zeros(1), np.zeros(1), 0.0, num_points=1)


def test_a_grid_without_the_origin_cannot_be_cut_there():
    with pytest.raises(ValueError, match="t2 must contain 0"):
        cut(np.zeros((1, 2)), np.zeros(1), np.array([1.0, 2.0]), 0.0)
    with pytest.raises(ValueError, match="strictly increasing"):
        cut(np.zeros((1, 2)), np.zeros(1), np.array([1.0, 0.0]), 0.0)
