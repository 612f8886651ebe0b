"""Moments, scores and dominance against loops transcribed from science.md, section 1."""

import math
import statistics
import time
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lossviz_analysis.classwise.confusion import cctm, recall
from lossviz_analysis.classwise.dance import (
    NO_CLASS,
    DancingPair,
    dance_score,
    dance_scores,
    dominance_epoch,
    local_maxima,
    pair_moments,
    ranked_dances,
    third_class_moments,
)

# Few values, so that plateaus, ties and absent classes are common.
histories = st.tuples(st.integers(0, 12), st.integers(2, 4)).flatmap(
    lambda size: hnp.arrays(
        np.int64,
        (size[0], size[1], size[1]),
        elements=st.integers(0, 4),
        fill=st.nothing(),
    )
)
recall_counts = st.tuples(st.integers(0, 7), st.integers(2, 4)).flatmap(
    lambda size: hnp.arrays(np.int64, size, elements=st.integers(0, 10), fill=st.nothing())
)
levels = st.lists(st.sampled_from([0.0, 1.0, 2.0, math.nan]), max_size=12)
few = settings(max_examples=150, deadline=None)


def slow_local_maxima(curve):
    peaks = [False] * len(curve)
    for e in range(1, len(curve) - 1):
        end = e
        while end < len(curve) and curve[end] == curve[e]:
            end += 1
        if end < len(curve):
            peaks[e] = bool(curve[e] > curve[e - 1] and curve[e] > curve[end])
    return peaks


def slow_leader(row, a):
    """The largest entry off the diagonal, the first of equals; None without mistakes."""
    leader = None
    for j in range(len(row)):
        if j != a and row[j] > (0 if leader is None else row[leader]):
            leader = j
    return leader


def pairs(num_classes):
    return [(a, b) for a in range(num_classes) for b in range(num_classes) if a != b]


@pytest.mark.oracle
@few
@given(levels)
def test_local_maxima_are_greater_than_both_neighbours(curve):
    assert local_maxima(np.array(curve, dtype=float)).tolist() == slow_local_maxima(curve)


@few
@given(st.lists(levels, min_size=1, max_size=4))
def test_local_maxima_of_many_curves_are_those_of_each(curves):
    num_epochs = min(map(len, curves))
    table = np.array([curve[:num_epochs] for curve in curves], dtype=float).T
    table = table.reshape(num_epochs, len(curves), 1)
    for k in range(len(curves)):
        np.testing.assert_array_equal(
            local_maxima(table)[:, k, 0], local_maxima(table[:, k, 0])
        )


@pytest.mark.parametrize(
    ("curve", "peaks"),
    [
        ([0, 2, 2, 2, 1], [1]),
        ([0, 1, 1, 2, 1], [3]),
        ([0, 1, 0, 1, 0], [1, 3]),
        ([2, 2, 1, 1, 2], []),
        ([0, 1, 1], []),
        ([1, 0], []),
        ([1], []),
        ([], []),
        ([0, math.nan, 0], []),
        ([0, 1, math.nan], []),
        ([0, 1, 1, math.nan, 0], []),
        ([math.nan, 1, 0, 3, 0], [3]),
    ],
)
def test_a_plateau_counts_once_and_the_ends_and_gaps_never(curve, peaks):
    assert np.flatnonzero(local_maxima(np.array(curve, dtype=float))).tolist() == peaks


@pytest.mark.oracle
@few
@given(histories)
def test_pair_moments_are_those_of_the_definition(counts):
    rates, recalls = cctm(counts), recall(counts)
    for a, b in pairs(counts.shape[1]):
        b_peaks = slow_local_maxima(recalls[:, b])
        interference_peaks = slow_local_maxima(rates[:, a, b])
        expected = [
            e > 0 and recalls[e, a] < recalls[e - 1, a] and b_peaks[e] and interference_peaks[e]
            for e in range(len(counts))
        ]
        assert pair_moments(recalls, rates, a, b).tolist() == expected


@pytest.mark.oracle
@few
@given(histories)
def test_third_class_moments_are_those_of_the_definition(counts):
    rates, recalls = cctm(counts), recall(counts)
    for a, b in pairs(counts.shape[1]):
        expected = [NO_CLASS] * len(counts)
        for e in range(1, len(counts)):
            c = slow_leader(rates[e, a], a)
            fell = [recalls[e, x] < recalls[e - 1, x] for x in (a, b)]
            if c is not None and c != b and all(fell) and slow_local_maxima(rates[:, a, c])[e]:
                expected[e] = c
        assert third_class_moments(recalls, rates, a, b).tolist() == expected


def cat_dog_bird():
    """Recalls and CCTM of cat (0), dog (1) and bird (2): a pair moment at 1, a bird at 3."""
    rates = np.zeros((5, 3, 3))
    rates[:, 0] = [
        [0.7, 0.2, 0.1],
        [0.5, 0.4, 0.1],
        [0.7, 0.2, 0.1],
        [0.4, 0.2, 0.4],
        [0.7, 0.2, 0.1],
    ]
    rates[:, 1, 1] = [0.7, 0.9, 0.8, 0.6, 0.9]
    rates[:, 2, 2] = 1
    return np.diagonal(rates, axis1=1, axis2=2), rates


def test_the_dog_interferes_the_cat_when_it_rises_at_its_expense():
    recalls, rates = cat_dog_bird()
    assert pair_moments(recalls, rates, 0, 1).tolist() == [False, True, False, False, False]


def test_the_bird_interferes_the_cat_when_cat_and_dog_both_fall():
    recalls, rates = cat_dog_bird()
    third = third_class_moments(recalls, rates, 0, 1)
    assert third.tolist() == [NO_CLASS, NO_CLASS, NO_CLASS, 2, NO_CLASS]


@pytest.mark.parametrize("num_epochs", [0, 1, 2])
def test_a_short_history_has_no_moments_and_no_score(num_epochs):
    recalls, rates = (table[:num_epochs] for table in cat_dog_bird())
    assert pair_moments(recalls, rates, 0, 1).tolist() == [False] * num_epochs
    assert third_class_moments(recalls, rates, 0, 1).tolist() == [NO_CLASS] * num_epochs
    assert math.isnan(dance_score(recalls, 0, 1))
    assert ranked_dances(recalls) == ()


@pytest.mark.parametrize(("a", "b"), [(0, 0), (-1, 0), (0, 3)])
def test_a_pair_is_two_different_classes_that_exist(a, b):
    recalls, rates = cat_dog_bird()
    for moments in (pair_moments, third_class_moments):
        with pytest.raises(ValueError, match=r"two different classes in 0\.\.2"):
            moments(recalls, rates, a, b)
    with pytest.raises(ValueError, match=r"two different classes in 0\.\.2"):
        dance_score(recalls, a, b)
    with pytest.raises(ValueError, match=r"two different classes in 0\.\.2"):
        dominance_epoch(rates, a, b)


@pytest.mark.oracle
@few
@given(recall_counts)
def test_the_dance_score_is_minus_the_correlation_of_changes(correct):
    # Tenths as exact fractions: the oracle knows which changes are equal.
    exact = [[Fraction(k, 10) for k in row] for row in correct.tolist()]
    recalls = correct / 10
    for a, b in pairs(correct.shape[1]):
        changes = [[after[x] - before[x] for before, after in pairwise(exact)] for x in (a, b)]
        if any(len(set(change)) < 2 for change in changes):
            assert math.isnan(dance_score(recalls, a, b))
        else:
            first, second = ([float(c) for c in change] for change in changes)
            expected = -statistics.correlation(first, second)
            assert dance_score(recalls, a, b) == pytest.approx(expected, abs=1e-9)


@few
@given(recall_counts)
def test_the_matrix_of_dance_scores_is_symmetric_and_holds_every_pair(correct):
    recalls = correct / 10
    scores = dance_scores(recalls)
    np.testing.assert_array_equal(scores, scores.T)
    assert np.isnan(np.diagonal(scores)).all()
    for a, b in pairs(correct.shape[1]):
        np.testing.assert_allclose(scores[a, b], dance_score(recalls, a, b), atol=1e-12)


@few
@given(recall_counts, st.none() | st.integers(0, 5))
def test_dances_are_ranked_by_their_score(correct, limit):
    scores = dance_scores(correct / 10)
    expected = [
        DancingPair(a, b, float(scores[a, b]))
        for a, b in pairs(len(scores))
        if a < b and not math.isnan(scores[a, b])
    ]
    expected.sort(key=lambda p: (-p.score, p.first, p.second))
    assert ranked_dances(correct / 10, limit=limit) == tuple(expected[:limit])


def test_opposite_recalls_dance_perfectly_and_equal_ones_not_at_all():
    a = np.array([0.1, 0.5, 0.2, 0.9])
    recalls = np.stack([a, 1 - a, a], axis=1)
    assert dance_score(recalls, 0, 1) == pytest.approx(1)
    assert dance_score(recalls, 0, 2) == pytest.approx(-1)


def test_a_steady_rise_has_no_score_though_its_steps_differ_by_rounding():
    steady = np.array([0.1, 0.2, 0.3, 0.4])
    assert np.ptp(np.diff(steady)) > 0
    recalls = np.stack([steady, np.array([0.1, 0.5, 0.2, 0.9])], axis=1)
    assert math.isnan(dance_score(recalls, 0, 1))


def test_a_window_is_the_history_cut_to_it():
    recalls = np.random.default_rng(0).random((9, 3))
    scores = dance_scores(recalls, window=(2, 7))
    np.testing.assert_array_equal(scores, dance_scores(recalls[2:7]))
    assert not np.array_equal(scores, dance_scores(recalls), equal_nan=True)
    assert dance_score(recalls, 0, 1, window=(2, 7)) == pytest.approx(scores[0, 1])
    assert ranked_dances(recalls, window=(2, 7)) == ranked_dances(recalls[2:7])


@pytest.mark.parametrize("window", [(-1, 3), (3, 2), (0, 10)])
def test_a_window_outside_the_history_is_refused(window):
    with pytest.raises(ValueError, match="0 <= start <= stop <= 9"):
        dance_scores(np.zeros((9, 3)), window=window)


def test_a_recall_that_is_missing_spoils_only_its_own_scores_in_its_own_window():
    recalls = np.random.default_rng(0).random((9, 3))
    recalls[0, 2] = np.nan
    scores = dance_scores(recalls)
    assert np.isnan(scores[2]).all()
    assert not np.isnan(scores[0, 1])
    assert not np.isnan(dance_score(recalls, 0, 2, window=(1, 9)))


@pytest.mark.oracle
@few
@given(histories)
def test_dominance_begins_where_b_leads_from_then_on(counts):
    rates = cctm(counts)
    for a, b in pairs(counts.shape[1]):
        leads = [slow_leader(row, a) == b for row in rates[:, a]]
        expected = next((e for e in range(len(leads)) if all(leads[e:])), None)
        assert dominance_epoch(rates, a, b) == expected


def row_history(*rows):
    """A history in which only row 0 has mistakes."""
    rates = np.zeros((len(rows), 3, 3))
    rates[:, 0] = rows
    return rates


def test_dominance_ends_with_a_row_without_mistakes_or_examples():
    dominated, perfect, absent = [0.8, 0.1, 0.0], [1.0, 0.0, 0.0], [np.nan] * 3
    assert dominance_epoch(row_history(dominated, dominated), 0, 1) == 0
    assert dominance_epoch(row_history(dominated, perfect, dominated), 0, 1) == 2
    assert dominance_epoch(row_history(dominated, perfect), 0, 1) is None
    assert dominance_epoch(row_history(dominated, absent), 0, 1) is None


def test_of_equal_interferers_the_smaller_class_dominates():
    tied = row_history([0.8, 0.1, 0.1])
    assert dominance_epoch(tied, 0, 1) == 0
    assert dominance_epoch(tied, 0, 2) is None


def test_dominance_in_no_epochs_is_none():
    assert dominance_epoch(np.zeros((0, 3, 3)), 0, 1) is None


def test_a_thousand_classes_over_three_hundred_epochs_score_in_seconds():
    recalls = np.random.default_rng(0).random((300, 1000))
    started = time.monotonic()
    best = ranked_dances(recalls, limit=10)
    assert time.monotonic() - started < 5
    assert best[0].score == np.nanmax(dance_scores(recalls))
    assert len(best) == 10
