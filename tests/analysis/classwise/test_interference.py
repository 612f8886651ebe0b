"""Ranked pairs against sorted double loops, and the symmetry against a textbook Pearson."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lossviz_analysis.classwise.confusion import cctm
from lossviz_analysis.classwise.interference import (
    DirectedPair,
    UndirectedPair,
    directed_pairs,
    symmetry,
    undirected_pairs,
)

# Small counts, so that ties and classes without examples are common.
matrices = st.integers(2, 6).flatmap(
    lambda c: hnp.arrays(np.int64, (c, c), elements=st.integers(0, 3)).map(cctm)
)
limits = st.none() | st.integers(0, 40)
few = settings(max_examples=80, deadline=None)


@pytest.mark.oracle
@few
@given(matrices, limits)
def test_directed_pairs_are_all_off_diagonal_rates_in_order(rates, limit):
    pairs = [
        DirectedPair(i, j, float(rates[i, j]))
        for i in range(len(rates))
        for j in range(len(rates))
        if i != j and not math.isnan(rates[i, j])
    ]
    pairs.sort(key=lambda p: (-p.rate, p.true_class, p.predicted_class))
    assert directed_pairs(rates, limit=limit) == tuple(pairs[:limit])


@pytest.mark.oracle
@few
@given(matrices, limits)
def test_undirected_pairs_are_all_mean_rates_in_order(rates, limit):
    pairs: list[UndirectedPair] = []
    for i in range(len(rates)):
        for j in range(i + 1, len(rates)):
            mean = float((rates[i, j] + rates[j, i]) / 2)
            if not math.isnan(mean):
                pairs.append(UndirectedPair(i, j, mean))
    pairs.sort(key=lambda p: (-p.rate, p.first, p.second))
    assert undirected_pairs(rates, limit=limit) == tuple(pairs[:limit])


@pytest.mark.oracle
@few
@given(matrices)
def test_symmetry_is_the_pearson_correlation_of_mirrored_entries(rates):
    mirrored = [
        (float(rates[i, j]), float(rates[j, i]))
        for i in range(len(rates))
        for j in range(i + 1, len(rates))
        if not math.isnan(rates[i, j] + rates[j, i])
    ]
    upper, lower = [u for u, _ in mirrored], [low for _, low in mirrored]
    if len(set(upper)) < 2 or len(set(lower)) < 2:
        assert math.isnan(symmetry(rates))
    else:
        assert symmetry(rates) == pytest.approx(statistics.correlation(upper, lower))


@few
@given(matrices)
def test_symmetry_does_not_mind_which_way_round_the_matrix_lies(rates):
    present = ~np.isnan(rates[:, 0])
    rates = rates[np.ix_(present, present)]
    np.testing.assert_allclose(symmetry(rates), symmetry(rates.T), rtol=1e-12)


def test_a_symmetric_matrix_has_symmetry_one():
    rates = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6]])
    assert symmetry(rates) == pytest.approx(1)


def test_two_classes_are_one_pair_without_a_correlation():
    rates = np.array([[0.9, 0.1], [0.3, 0.7]])
    assert directed_pairs(rates) == (DirectedPair(1, 0, 0.3), DirectedPair(0, 1, 0.1))
    assert undirected_pairs(rates) == (UndirectedPair(0, 1, 0.2),)
    assert math.isnan(symmetry(rates))


def test_equal_entries_leave_the_symmetry_undefined():
    assert math.isnan(symmetry(np.full((4, 4), 0.1)))


def test_a_class_without_examples_is_in_no_pair_of_its_own():
    rates = cctm(np.array([[1, 1, 0], [0, 0, 0], [1, 0, 3]]))
    assert {p.true_class for p in directed_pairs(rates)} == {0, 2}
    assert [(p.first, p.second) for p in undirected_pairs(rates)] == [(0, 2)]


def test_a_negative_limit_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        directed_pairs(np.eye(3), limit=-1)


def test_of_a_thousand_classes_the_limit_keeps_the_first_of_equals():
    rates = np.zeros((1000, 1000))
    rates[999, 0] = 0.5
    rates[3:5, 7] = rates[2, 900] = 0.25
    assert directed_pairs(rates, limit=6) == (
        DirectedPair(999, 0, 0.5),
        DirectedPair(2, 900, 0.25),
        DirectedPair(3, 7, 0.25),
        DirectedPair(4, 7, 0.25),
        DirectedPair(0, 1, 0.0),
        DirectedPair(0, 2, 0.0),
    )
    assert undirected_pairs(rates, limit=2)[0] == UndirectedPair(0, 999, 0.25)
