"""The CCTM against counting by hand, and the laws it keeps."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lossviz_analysis.classwise.confusion import (
    LabelError,
    accuracy,
    cctm,
    count_examples,
    recall,
)
from lossviz_analysis.errors import LossvizError

confusions = st.integers(2, 6).flatmap(
    lambda c: hnp.arrays(np.int32, (c, c), elements=st.integers(0, 9))
)
few = settings(max_examples=60, deadline=None)


@pytest.mark.oracle
@few
@given(confusions)
def test_the_cctm_is_each_count_over_its_row(counts):
    rates = cctm(counts)
    for i, row in enumerate(counts.tolist()):
        for j, count in enumerate(row):
            if sum(row) == 0:
                assert math.isnan(rates[i, j])
            else:
                assert rates[i, j] == count / sum(row)
    assert rates.dtype == np.float64


@few
@given(confusions)
def test_rows_of_present_classes_sum_to_one(counts):
    present = counts.any(axis=1)
    np.testing.assert_allclose(cctm(counts)[present].sum(axis=1), 1, rtol=1e-14)


@few
@given(confusions, st.randoms(use_true_random=False))
def test_permuting_classes_permutes_the_cctm(counts, random):
    order = list(range(len(counts)))
    random.shuffle(order)
    np.testing.assert_array_equal(
        cctm(counts[np.ix_(order, order)]), cctm(counts)[np.ix_(order, order)]
    )


@few
@given(confusions)
def test_recall_is_the_diagonal_of_the_cctm(counts):
    np.testing.assert_array_equal(recall(counts), np.diagonal(cctm(counts)))


@few
@given(confusions)
def test_accuracy_is_the_mean_recall_weighted_by_examples(counts):
    examples = counts.sum(axis=1)
    if not examples.sum():
        assert np.isnan(accuracy(counts))
    else:
        weighted = np.nan_to_num(recall(counts)) @ examples / examples.sum()
        assert float(accuracy(counts)) == pytest.approx(weighted)


def test_a_class_with_no_examples_has_a_nan_row():
    counts = np.array([[3, 1], [0, 0]])
    np.testing.assert_array_equal(cctm(counts), [[0.75, 0.25], [np.nan, np.nan]])
    np.testing.assert_array_equal(recall(counts), [0.75, np.nan])
    assert float(accuracy(counts)) == 0.75


def test_leading_dimensions_are_matrices_of_their_own():
    counts = np.random.default_rng(0).integers(0, 5, size=(3, 2, 4, 4))
    for index in np.ndindex(3, 2):
        np.testing.assert_array_equal(cctm(counts)[index], cctm(counts[index]))
        np.testing.assert_array_equal(recall(counts)[index], recall(counts[index]))
        np.testing.assert_array_equal(accuracy(counts)[index], accuracy(counts[index]))


def test_no_epochs_make_no_matrices():
    counts = np.zeros((0, 3, 3), dtype=np.int32)
    assert cctm(counts).shape == (0, 3, 3)
    assert recall(counts).shape == (0, 3)
    assert accuracy(counts).shape == (0,)


def test_row_sums_do_not_overflow_the_type_of_the_counts():
    counts = np.full((2, 2), 2**31 - 1, dtype=np.int32)
    np.testing.assert_array_equal(cctm(counts), 0.5)
    assert float(accuracy(counts)) == 0.5


@pytest.mark.oracle
@few
@given(st.integers(1, 5), st.data())
def test_counting_is_one_mark_for_each_example(num_classes, data):
    label = st.integers(0, num_classes - 1)
    examples = data.draw(st.lists(st.tuples(label, label), max_size=20))
    tally = [[0] * num_classes for _ in range(num_classes)]
    for true, predicted in examples:
        tally[true][predicted] += 1
    pairs = np.array(examples, dtype=np.int64).reshape(-1, 2)
    np.testing.assert_array_equal(count_examples(pairs[:, 0], pairs[:, 1], num_classes), tally)


def test_eight_bit_labels_do_not_overflow():
    true = np.array([200, 255], dtype=np.uint8)
    counts = count_examples(true, true[::-1], 1000)
    assert counts[200, 255] == counts[255, 200] == 1
    assert counts.sum() == 2


@pytest.mark.parametrize("bad", [-1, 3])
def test_a_label_out_of_range_is_named_with_its_place(bad):
    labels, bad_labels = np.array([0, 1, 2]), np.array([0, bad, 2])
    with pytest.raises(
        LabelError, match=rf"true labels must lie in 0..2; got {bad} .*example 1"
    ):
        count_examples(bad_labels, labels, 3)
    with pytest.raises(LabelError, match=rf"predicted labels .*got {bad} .*example 1"):
        count_examples(labels, bad_labels, 3)


def test_unequal_numbers_of_labels_are_a_mistake_the_user_can_mend():
    with pytest.raises(LossvizError, match="2 predictions for 3 examples"):
        count_examples(np.array([0, 1, 2]), np.array([0, 1]), 3)
