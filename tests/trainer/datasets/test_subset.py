import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.datasets.subset import class_balanced_subset

class_sizes = st.lists(st.integers(1, 12), min_size=1, max_size=6)
seeds = st.integers(0, 2**32 - 1)


def shuffled_labels(sizes, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).permutation(labels)


def largest_even(sizes) -> int:
    return sum(min(size, min(sizes) + 1) for size in sizes)


@given(sizes=class_sizes, seed=seeds, share=st.floats(0, 1))
def test_every_possible_subset_is_even_sorted_and_without_repeats(sizes, seed, share):
    labels = shuffled_labels(sizes, seed)
    least, most = len(sizes), largest_even(sizes)
    num_examples = least + round(share * (most - least))
    chosen = class_balanced_subset(labels, num_examples, seed)
    assert len(chosen) == num_examples
    assert (np.diff(chosen) > 0).all()
    counts = np.bincount(labels[chosen], minlength=len(sizes))
    assert counts.max() - counts.min() <= 1


@given(sizes=class_sizes, seed=seeds)
def test_subsets_of_one_seed_are_nested(sizes, seed):
    labels = shuffled_labels(sizes, seed)
    smaller: set[int] = set()
    for num_examples in range(len(sizes), largest_even(sizes) + 1):
        larger = set(class_balanced_subset(labels, num_examples, seed).tolist())
        assert smaller < larger
        smaller = larger


@given(sizes=class_sizes, seed=seeds, excess=st.integers(1, 5))
def test_what_no_even_subset_can_hold_is_refused_with_the_largest(sizes, seed, excess):
    labels = shuffled_labels(sizes, seed)
    most = largest_even(sizes)
    with pytest.raises(LossvizError, match=f"ask for {most} at most"):
        class_balanced_subset(labels, most + excess, seed)


def test_the_same_seed_draws_the_same_and_another_draws_others():
    labels = np.arange(1000) % 10
    first = class_balanced_subset(labels, 105, 3)
    np.testing.assert_array_equal(first, class_balanced_subset(labels, 105, 3))
    assert not np.array_equal(first, class_balanced_subset(labels, 105, 4))


def test_every_example_is_drawn_equally_often():
    labels = np.arange(40) % 4
    drawn = np.zeros(40)
    for seed in range(2000):
        drawn[class_balanced_subset(labels, 10, seed)] += 1
    # 500 expected for each; five standard deviations are 97.
    assert np.abs(drawn - 500).max() < 97


def test_the_smallest_class_is_named():
    labels = np.repeat([0, 1, 2], [5, 2, 5])
    with pytest.raises(LossvizError, match="class 'pear' has only 2; ask for 8 at most"):
        class_balanced_subset(labels, 9, 0, class_names=("apple", "pear", "plum"))


@pytest.mark.parametrize("num_examples", [-1, 0, 2])
def test_fewer_examples_than_classes_are_refused(num_examples):
    with pytest.raises(LossvizError, match=f"each of the 3 classes; got {num_examples}"):
        class_balanced_subset(np.arange(9) % 3, num_examples, 0)
