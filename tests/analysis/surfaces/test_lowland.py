"""The lowland against a flood fill, cell by cell."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lossviz_analysis.surfaces.lowland import lowest_entry, lowland

sizes = st.tuples(st.integers(1, 7), st.integers(1, 7))
percents = sizes.flatmap(
    lambda size: hnp.arrays(np.int64, size, elements=st.integers(0, 12), fill=st.nothing())
)
few = settings(max_examples=150, deadline=None)


def grid(num_points, offset=-1.0):
    """An uneven grid whose point nearest to 0 is known: the second, or the only one."""
    t = np.cumsum([offset, *(1.0 + 0.5 * np.arange(num_points - 1))])
    return t, int(np.abs(t).argmin())


def slow_flood(low, centre):
    reached, waiting = set(), [centre]
    while waiting:
        row, column = waiting.pop()
        inside = 0 <= row < low.shape[0] and 0 <= column < low.shape[1]
        if inside and low[row, column] and (row, column) not in reached:
            reached.add((row, column))
            waiting += [(row + 1, column), (row - 1, column)]
            waiting += [(row, column + 1), (row, column - 1)]
    return reached


def slow_width(t, k):
    left = t[k] if k == 0 else (t[k - 1] + t[k]) / 2
    right = t[k] if k == len(t) - 1 else (t[k] + t[k + 1]) / 2
    return right - left


@pytest.mark.oracle
@few
@given(percents, st.data())
def test_the_lowland_is_what_a_flood_from_the_centre_reaches(percent, data):
    rate = percent / 100
    rate[data.draw(hnp.arrays(bool, rate.shape, elements=st.booleans()))] = np.nan
    (t1, row), (t2, column) = grid(rate.shape[0]), grid(rate.shape[1])
    rate[row, column] = percent[row, column] / 100
    # Exact fractions: whether a cell is just delta above the centre is not left to rounding.
    highest = Fraction(int(percent[row, column]) + 5, 100)
    low = np.zeros(rate.shape, dtype=bool)
    for cell in np.ndindex(*rate.shape):
        low[cell] = not math.isnan(rate[cell]) and Fraction(int(percent[cell]), 100) <= highest
    reached = slow_flood(low, (row, column))
    found = lowland(rate, t1, t2)
    assert set(zip(*np.nonzero(found.mask), strict=True)) == reached
    area = sum(slow_width(t1, r) * slow_width(t2, c) for r, c in reached)
    assert found.area == pytest.approx(area)
    assert found.share == pytest.approx(len(reached) / rate.size)
    assert found.threshold == pytest.approx(float(highest))


@few
@given(percents)
def test_a_greater_delta_never_loses_a_cell(percent):
    (t1, _), (t2, _) = grid(percent.shape[0]), grid(percent.shape[1])
    smaller, greater = (lowland(percent / 100, t1, t2, delta=d).mask for d in (0.03, 0.06))
    assert not (smaller & ~greater).any()


def test_a_plateau_covers_the_whole_extent():
    t1, t2 = np.linspace(-1, 1, 5), np.array([-3.0, 0.0, 1.0])
    found = lowland(np.full((5, 3), 0.2), t1, t2)
    assert found.mask.all()
    assert found.area == pytest.approx(2 * 4)
    assert found.share == 1


def test_cells_at_the_border_are_half_as_wide():
    t = np.linspace(-1, 1, 3)
    rate = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 1.0]])
    found = lowland(rate, t, t)
    assert found.area == pytest.approx(1 * 1 + 1 * 0.5)
    assert found.share == pytest.approx(2 / 9)


def test_corners_do_not_connect():
    t = np.linspace(-1, 1, 3)
    found = lowland(1 - np.eye(3), t, t)
    assert found.mask.sum() == 1


def test_a_cell_exactly_delta_above_the_centre_belongs():
    t = np.linspace(-1, 1, 3)
    assert 0.29 + 0.05 < 0.34, "in binary the sum is a little short"
    rate = np.array([[0.34, 0.29, 0.35]])
    assert lowland(rate, np.array([0.0]), t).mask.tolist() == [[True, True, False]]


def test_of_two_cells_equally_near_the_first_is_the_centre():
    rate = np.array([[0.1, 0.1, 0.5, 0.5]])
    found = lowland(rate, np.array([0.0]), np.linspace(-1, 1, 4), delta=0.0)
    assert found.mask.tolist() == [[True, True, False, False]]


def test_a_missing_centre_has_no_lowland():
    t = np.linspace(-1, 1, 3)
    rate = np.zeros((3, 3))
    rate[1, 1] = np.nan
    found = lowland(rate, t, t)
    assert not found.mask.any()
    assert math.isnan(found.area)
    assert math.isnan(found.share)
    assert math.isnan(found.threshold)


@pytest.mark.parametrize("delta", [5.0, -0.01, math.nan])
def test_a_delta_in_points_is_refused(delta):
    with pytest.raises(ValueError, match="delta is a fraction"):
        lowland(np.zeros((1, 1)), np.zeros(1), np.zeros(1), delta=delta)


@pytest.mark.parametrize("t", [[1.0, 0.0], [0.0, 0.0], [0.0, math.nan]])
def test_coordinates_that_do_not_increase_are_refused(t):
    with pytest.raises(ValueError, match="t2 must be finite and strictly increasing"):
        lowland(np.zeros((1, 2)), np.zeros(1), np.array(t))


def test_of_equal_places_the_lowest_is_the_one_nearest_to_the_model():
    t1, t2 = np.linspace(-0.1, 0.1, 5), np.linspace(-10.0, 10.0, 5)
    flat = np.zeros((5, 5))
    assert lowest_entry(flat, t1, t2) == (2, 2)
    flat[2, 2] = 1e-12
    assert lowest_entry(flat, t1, t2) in {(1, 2), (2, 1), (2, 3), (3, 2)}
    flat[4, 0] = -1.0
    assert lowest_entry(flat, t1, t2) == (4, 0)


def test_what_is_not_finite_is_never_the_lowest():
    t = np.linspace(-1.0, 1.0, 3)
    values = np.full((3, 3), np.nan)
    assert lowest_entry(values, t, t) is None
    values[0, 0], values[2, 1] = -np.inf, 5.0
    assert lowest_entry(values, t, t) == (2, 1)
    assert lowest_entry(values[:, 1:2], t, np.zeros(1)) == (2, 0)
