"""Smoothed curves: a mean around each value, whatever the values are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_tui.paint.smooth import local_mean, window_of

LARGE = 1e300


def slowly(values: list[float], window: int) -> list[float]:
    """The mean around each value, one after the other."""
    before = (window - 1) // 2
    found: list[float] = []
    for k in range(len(values)):
        around = values[max(0, k - before) : k - before + window]
        finite = [v for v in around if np.isfinite(v) and abs(v) <= LARGE]
        found.append(float(np.mean(finite)) if finite else np.nan)
    return found


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e3, 1e3) | st.sampled_from([np.nan, np.inf, -np.inf]), max_size=60),
    st.integers(2, 60),
)
def test_it_is_the_mean_of_the_finite_values_around(values, window):
    window = min(window, max(2, len(values)))
    found = local_mean(np.array(values), window)
    np.testing.assert_allclose(found, slowly(values, window), rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 50), st.floats(-5, 5))
def test_a_constant_stays_and_a_line_stays_between_its_ends(count, window, slope):
    np.testing.assert_allclose(local_mean(np.full(count, 3.0), window), 3.0)
    line = slope * np.arange(count)
    odd = 2 * (min(window, count) // 2) + 1
    inner = slice(odd // 2, count - odd // 2)
    np.testing.assert_allclose(local_mean(line, odd)[inner], line[inner], atol=1e-9)


def test_one_diverged_epoch_harms_no_others():
    values = np.ones(1_000)
    values[300] = 1e200
    found = local_mean(values, 11)
    assert (found[295:306] > 1e190).all()
    assert (np.delete(found, np.arange(295, 306)) == 1.0).all()


@pytest.mark.parametrize(
    ("share", "count", "window"),
    [(0.0, 1_000, 0), (0.1, 1_000, 101), (0.025, 1_000, 25), (0.1, 10, 3), (0.1, 2, 2)],
)
def test_a_window_is_a_share_of_the_epochs(share, count, window):
    assert window_of(share, count) == window


def test_nothing_to_smooth_is_left_as_it_is():
    assert local_mean(np.empty(0), 5).size == 0
    values = np.array([1.0, np.nan])
    assert local_mean(values, 0) is values
