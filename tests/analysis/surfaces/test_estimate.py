"""Estimates of unevaluated cells: exact where they must be, honest where nothing is known."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_analysis.surfaces.estimate import estimated_losses, estimated_rates
from lossviz_analysis.weightspace.grid import coarse_to_fine


def known_first(shape: tuple[int, ...], share: float) -> np.ndarray:
    """The cells a scan has evaluated after a share of its points."""
    known = np.zeros(np.prod(shape), np.bool_)
    known[coarse_to_fine(shape)[: int(share * known.size)]] = True
    return known.reshape(shape)


def bowl(*axes: np.ndarray) -> np.ndarray:
    """A loss whose logarithm is a quadratic, with the axes mixed."""
    mesh = np.meshgrid(*axes, indexing="ij")
    square = sum((k + 1) * t**2 for k, t in enumerate(mesh))
    mixed = 0.4 * mesh[0] * mesh[-1] + 0.3 * mesh[0]
    return 0.2 * np.exp(np.asarray(square) + mixed)


@pytest.mark.parametrize("shape", [(51, 51), (19, 30), (41,), (5, 64)])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.8])
def test_a_loss_quadratic_in_the_logarithm_is_estimated_exactly(shape, share):
    loss = bowl(*(np.linspace(-1, 1.3, n) for n in shape))
    known = known_first(shape, share)
    found = estimated_losses(np.where(known, loss, np.nan), known)
    np.testing.assert_allclose(found, loss, rtol=1e-10)


def slow_row(values: dict[int, float], length: int) -> list[float]:
    """One axis, level by level, with polynomials fitted one at a time (float64, loops)."""
    level = sorted({0, length - 1})
    now = {place: values.get(place, np.nan) for place in level}
    while len(level) < length:
        middles = sorted({(a + b) // 2 for a, b in itertools.pairwise(level)} - set(level))
        before = dict(now)
        for place in middles:
            left = max(p for p in level if p < place)
            k = level.index(left)
            width = min(4, len(level))
            first = min(max(0, k - (width - 1) // 2), len(level) - width)
            nodes = level[first : first + width]
            ends = [left, level[k + 1]]
            if any(np.isnan(before[p]) for p in nodes):
                nodes = ends
            at = [before[p] for p in nodes]
            fit = np.polyfit(np.array(nodes) - place, at, len(nodes) - 1)
            guess = float(fit[-1]) if not np.isnan(at).any() else np.nan
            now[place] = values.get(place, guess)
        level = sorted(now)
    return [now[place] for place in level]


@pytest.mark.oracle
@settings(max_examples=60, deadline=None)
@given(st.integers(2, 23), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_line_agrees_with_polynomials_fitted_one_at_a_time(length, seed, share):
    generator = np.random.default_rng(seed)
    rates = generator.random(length)
    known = generator.random(length) < share
    expected = slow_row({k: float(rates[k]) for k in np.flatnonzero(known).tolist()}, length)
    with np.errstate(invalid="ignore"):
        expected = np.where(known, rates, np.clip(expected, 0, 1))
    found = estimated_rates(np.where(known, rates, np.nan), known)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 17), st.integers(2, 17), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_known_cells_keep_their_bits_and_rates_stay_fractions(rows, columns, seed, share):
    generator = np.random.default_rng(seed)
    values = generator.random((rows, columns))
    known = generator.random((rows, columns)) < share
    for estimate in (estimated_losses, estimated_rates):
        found = estimate(np.where(known, values, np.nan), known)
        assert (found[known] == values[known]).all()
        assert (found[~np.isnan(found)] >= 0).all()
    rates = estimated_rates(values, known)
    assert np.nanmax(rates, initial=0) <= 1


def test_turning_the_plane_turns_the_estimate():
    generator = np.random.default_rng(0)
    loss, known = generator.random((13, 22)), known_first((13, 22), 0.4)
    found = estimated_losses(loss, known)
    np.testing.assert_allclose(estimated_losses(loss.T, known.T), found.T, rtol=1e-10)


def test_nothing_is_said_beyond_the_known_cells():
    known = np.zeros((9, 9), np.bool_)
    known[:4] = True
    found = estimated_rates(np.full((9, 9), 0.5), known)
    assert not np.isnan(found[:4]).any()
    assert np.isnan(found[4:]).all()
    assert np.isnan(estimated_losses(np.ones(9), np.zeros(9, np.bool_))).all()


def test_a_value_that_is_not_finite_is_kept_and_not_interpolated_from():
    loss, known = np.ones(9), np.ones(9, np.bool_)
    loss[4], known[[3, 5]] = np.inf, False
    loss[8] = np.nan
    found = estimated_losses(loss, known)
    assert found[4] == np.inf
    assert np.isnan(found[8])
    assert np.isnan(found[3])  # both its cubic and its line would need the infinite one
    assert found[1] == 1


def test_a_loss_of_zero_is_no_hole():
    known = np.array([True, False, True])
    assert 0 < estimated_losses(np.array([0.0, np.nan, 1.0]), known)[1] < 1e-3


def test_classes_are_estimated_each_on_its_own():
    shape, generator = (11, 9), np.random.default_rng(1)
    rates, known = generator.random((*shape, 3)), known_first(shape, 0.5)
    found = estimated_rates(rates, known)
    for c in range(3):
        np.testing.assert_array_equal(found[..., c], estimated_rates(rates[..., c], known))


@pytest.mark.parametrize(("size", "seconds"), [(51, 0.02), (251, 0.3)])
def test_an_estimate_is_quick(size, seconds):
    loss = bowl(np.linspace(-1, 1, size), np.linspace(-1, 1, size))
    known = known_first((size, size), 0.1)
    times: list[float] = []
    for _ in range(7):
        start = time.perf_counter()
        estimated_losses(loss, known)
        times.append(time.perf_counter() - start)
    assert min(times) < seconds
