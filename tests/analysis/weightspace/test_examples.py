"""The fixed order: every beginning is a fair sample of the whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_analysis.weightspace.examples import (
    CHUNK_EXAMPLES,
    Examples,
    balanced_order,
    chunk_bounds,
)

label_sets = st.lists(st.integers(0, 6), max_size=120).map(lambda v: np.array(v, np.int64))
laws = settings(max_examples=200, deadline=None)


@given(label_sets, st.integers(0, 5))
@laws
def test_the_order_names_every_example_once(labels, seed):
    assert sorted(balanced_order(labels, seed=seed)) == list(range(len(labels)))


@given(label_sets, st.integers(0, 5))
@laws
def test_every_beginning_holds_the_classes_in_the_proportions_of_the_whole(labels, seed):
    """At the place p of the last example taken each class is within 1/2 of its n p, so the
    prefix is within C/2 of N p: together |k - n m / N| <= 1/2 + (n / N) C/2."""
    order = balanced_order(labels, seed=seed)
    sizes = np.bincount(labels, minlength=7)
    num_classes = np.count_nonzero(sizes)
    taken = np.cumsum(np.eye(7, dtype=int)[labels[order]], axis=0)
    for m, counts in enumerate(taken, 1):
        share = sizes / len(labels)
        allowed = 0.5 + share * num_classes / 2
        assert (np.abs(counts - share * m) <= allowed + 1e-9).all()


@given(st.integers(1, 12), st.integers(2, 7), st.randoms(use_true_random=False))
@laws
def test_equal_classes_take_turns(per_class, num_classes, random):
    labels = [label for label in range(num_classes) for _ in range(per_class)]
    random.shuffle(labels)
    labels = np.array(labels)
    turns = labels[balanced_order(labels)].reshape(per_class, num_classes)
    assert (turns == np.arange(num_classes)).all()


@given(label_sets, st.integers(0, 5))
@laws
def test_the_order_depends_on_the_labels_and_the_seed_alone(labels, seed):
    np.random.seed(seed)  # noqa: NPY002 - the global generator must not matter
    first = balanced_order(labels, seed=seed)
    np.random.seed(seed + 1)  # noqa: NPY002
    assert np.array_equal(first, balanced_order(labels.copy(), seed=seed))


def test_another_seed_takes_other_examples_in_the_same_turns():
    labels = np.repeat(np.arange(4), 25)
    first, second = balanced_order(labels, seed=0), balanced_order(labels, seed=1)
    assert not np.array_equal(first, second)
    assert np.array_equal(labels[first], labels[second])


def test_within_a_class_the_order_is_shuffled():
    labels = np.zeros(50, np.int64)
    order = balanced_order(labels)
    assert not np.array_equal(order, np.arange(50))


def test_no_examples_have_an_empty_order():
    assert len(balanced_order(np.empty(0, np.int64))) == 0


def examples_of(num_examples, num_classes=3):
    labels = torch.arange(num_examples) % num_classes
    images = torch.arange(num_examples).to(torch.uint8).reshape(-1, 1, 1, 1)
    return Examples(images, labels, lambda batch, dtype: batch.to(dtype) / 2, num_classes)


@pytest.mark.parametrize("length", [1, 49, 50, 51, 999, 1_000, 1_001, 2_500])
def test_chunks_follow_one_another_and_cover_everything_once(length):
    examples = examples_of(length)
    chunks = [examples.chunk(k) for k in range(examples.num_chunks)]
    assert [k for chunk in chunks for k in chunk] == list(range(length))
    assert all(1 <= len(chunk) <= CHUNK_EXAMPLES for chunk in chunks)


def test_no_example_makes_no_chunk():
    assert examples_of(0).num_chunks == 0


@pytest.mark.parametrize(
    ("length", "num_classes", "bounds"),
    [
        (50_000, 10, (50, 100, 250, 500, 1_000, 2_000, 3_000)),
        (1_437, 10, (50, 100, 250, 500, 1_000, 1_437)),
        (50_000, 100, (100, 200, 500, 1_000, 2_000)),
        (5_000, 400, (400, 800, 1_000, 2_000)),
        (5_000, 3_000, (1_000, 2_000, 3_000)),
    ],
)
def test_the_first_chunks_are_short_and_hold_every_class(length, num_classes, bounds):
    found = chunk_bounds(length, num_classes)
    assert found[1 : 1 + len(bounds)] == bounds
    assert (found[0], found[-1]) == (0, length)
    assert list(found) == sorted(set(found))


def test_inputs_are_prepared_in_the_dtype_asked_for():
    found = examples_of(10).inputs(3, 6, torch.float64)
    assert found.dtype == torch.float64
    assert found.flatten().tolist() == [1.5, 2.0, 2.5]


def test_the_examples_of_a_class_are_in_the_same_order():
    members = examples_of(10).of_class(1)
    assert members.labels.tolist() == [1, 1, 1]
    assert members.images.flatten().tolist() == [1, 4, 7]
    assert members.num_classes == 3
    assert len(examples_of(10).of_class(2)) == 3
    assert len(examples_of(2).of_class(2)) == 0
