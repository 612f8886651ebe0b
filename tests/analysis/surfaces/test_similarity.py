"""Loss-shape similarity against one pair at a time, and what follows from it."""

import math
import statistics
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from lossviz_analysis.classwise.confusion import cctm
from lossviz_analysis.surfaces.similarity import (
    cluster_order,
    interference_agreement,
    loss_shape_similarity,
)

losses = st.sampled_from([0.0, 1.0, 2.0, 3.5, math.nan, math.inf])
surfaces = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5)).flatmap(
    lambda size: hnp.arrays(np.float64, size, elements=losses, fill=st.nothing())
)
few = settings(max_examples=150, deadline=None)


def slow_similarity(first, second):
    both = [
        (float(x), float(y))
        for x, y in zip(first.ravel(), second.ravel(), strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    xs, ys = [x for x, _ in both], [y for _, y in both]
    if len(set(xs)) < 2 or len(set(ys)) < 2:
        return math.nan
    return statistics.correlation(xs, ys)


@pytest.mark.oracle
@few
@given(surfaces)
def test_similarity_is_the_correlation_over_cells_where_both_are_finite(class_surfaces):
    similarity = loss_shape_similarity(class_surfaces)
    for i, j in np.ndindex(*similarity.shape):
        expected = slow_similarity(class_surfaces[..., i], class_surfaces[..., j])
        np.testing.assert_allclose(similarity[i, j], expected, atol=1e-12)
    np.testing.assert_array_equal(similarity, similarity.T)


@few
@given(surfaces, st.floats(0.1, 10), st.integers(-5, 5))
def test_a_shape_has_neither_scale_nor_level(class_surfaces, scale, level):
    np.testing.assert_allclose(
        loss_shape_similarity(scale * class_surfaces + level),
        loss_shape_similarity(class_surfaces),
        atol=1e-9,
    )


def test_a_shape_is_itself_and_the_opposite_of_its_negative():
    surface = np.random.default_rng(0).random((5, 5))
    similarity = loss_shape_similarity(np.stack([surface, -surface, surface], axis=2))
    assert np.diagonal(similarity).tolist() == [1, 1, 1]
    assert similarity[0, 1] == pytest.approx(-1)
    assert similarity[0, 2] == pytest.approx(1)


def test_losses_that_exploded_do_not_overflow():
    surface = np.random.default_rng(0).random((5, 5))
    similarity = loss_shape_similarity(np.stack([surface, 1e200 * surface], axis=2))
    assert similarity[0, 1] == pytest.approx(1)


def test_a_constant_surface_is_like_none_though_its_sums_were_rounded():
    surface = np.random.default_rng(0).random((5, 5))
    constant = np.full((5, 5), 0.1)
    constant[0] = 0.3 - 0.2
    assert np.ptp(constant) > 0
    similarity = loss_shape_similarity(np.stack([surface, constant], axis=2))
    np.testing.assert_array_equal(similarity, [[1, np.nan], [np.nan, np.nan]])


def test_a_thousand_classes_are_compared_in_seconds():
    rng = np.random.default_rng(0)
    class_surfaces = rng.random((19, 19, 1000), dtype=np.float32)
    class_surfaces[0, 0] = np.nan
    class_surfaces[0, 1, 7] = np.inf
    started = time.monotonic()
    similarity = loss_shape_similarity(class_surfaces)
    order = cluster_order(similarity)
    assert time.monotonic() - started < 10
    assert sorted(order.tolist()) == list(range(1000))
    expected = slow_similarity(class_surfaces[..., 7], class_surfaces[..., 8])
    assert similarity[7, 8] == pytest.approx(expected)


@few
@given(surfaces)
def test_an_order_is_a_permutation_whatever_is_missing(class_surfaces):
    order = cluster_order(loss_shape_similarity(class_surfaces))
    assert sorted(order.tolist()) == list(range(class_surfaces.shape[2]))


def test_alike_classes_stand_together():
    rng = np.random.default_rng(0)
    shapes = rng.random((3, 8, 8))
    kinds = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
    class_surfaces = np.moveaxis(shapes[kinds] + 0.01 * rng.random((9, 8, 8)), 0, 2)
    ordered = kinds[cluster_order(loss_shape_similarity(class_surfaces))]
    assert np.count_nonzero(np.diff(ordered)) == 2


def slow_average_linkage(distance):
    """Join the two clusters nearest by mean distance of their members; return every join."""
    clusters = [{i} for i in range(len(distance))]
    joins: list[set[int]] = []
    while len(clusters) > 1:
        apart = {
            (a, b): np.mean([distance[i, j] for i in clusters[a] for j in clusters[b]])
            for a in range(len(clusters))
            for b in range(a)
        }
        a, b = min(apart, key=apart.__getitem__)
        joins.append(clusters[a] | clusters[b])
        clusters = [c for k, c in enumerate(clusters) if k not in {a, b}] + joins[-1:]
    return joins


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(5))
def test_clusters_of_average_linkage_are_drawn_in_one_piece(seed):
    similarity = np.random.default_rng(seed).uniform(-1, 1, (9, 9))
    similarity = np.triu(similarity, 1) + np.triu(similarity, 1).T
    order = cluster_order(similarity).tolist()
    for members in slow_average_linkage(1 - similarity):
        places = sorted(order.index(i) for i in members)
        assert places[-1] - places[0] == len(members) - 1


def test_classes_on_a_line_come_in_the_order_of_the_line():
    place = np.array([4, 5, 2, 6, 3, 8, 7, 0, 1])
    similarity = 1 - np.abs(np.subtract.outer(place, place)) / 8
    ordered = place[cluster_order(similarity)].tolist()
    assert ordered in (list(range(9)), list(range(9))[::-1])


def test_a_class_without_a_shape_stands_apart_from_alike_ones():
    similarity = np.array([[1, np.nan, 0.9], [np.nan, np.nan, np.nan], [0.9, np.nan, 1]])
    assert cluster_order(similarity).tolist().index(1) in {0, 2}


@pytest.mark.oracle
@few
@given(st.integers(1, 6), st.data())
def test_agreement_is_spearmans_over_pairs_where_both_are_known(num_classes, data):
    size = (num_classes, num_classes)
    counts = data.draw(hnp.arrays(np.int64, size, elements=st.integers(0, 3)))
    values = st.sampled_from([-1.0, 0.0, 0.5, math.nan])
    similarity = data.draw(hnp.arrays(np.float64, size, elements=values, fill=st.nothing()))
    rates = cctm(counts)
    known = [
        (similarity[i, j], (rates[i, j] + rates[j, i]) / 2)
        for i in range(num_classes)
        for j in range(i + 1, num_classes)
        if not math.isnan(similarity[i, j] + rates[i, j] + rates[j, i])
    ]
    xs, ys = [x for x, _ in known], [y for _, y in known]
    agreement = interference_agreement(similarity, rates)
    if len(set(xs)) < 2 or len(set(ys)) < 2:
        assert math.isnan(agreement)
    else:
        assert agreement == pytest.approx(stats.spearmanr(xs, ys)[0], abs=1e-12)


def test_interference_that_grows_with_similarity_agrees_completely():
    similarity = np.array([[1, 0.1, 0.2], [0.1, 1, 0.9], [0.2, 0.9, 1]])
    rates = np.array([[0.9, 0.0, 0.1], [0.0, 0.5, 0.5], [0.1, 0.3, 0.6]])
    assert interference_agreement(similarity, rates) == pytest.approx(1)
