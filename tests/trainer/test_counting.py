"""Counts by batches: those of a loop over examples, whatever the batches are made of."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.counting import ConfusionCounter, checked_counts


def counted(labels, predicted, num_classes):
    """One example after the other; those of no class apart."""
    counts, outside = np.zeros((num_classes, num_classes), np.int64), 0
    for true, called in zip(labels, predicted, strict=True):
        if 0 <= true < num_classes and 0 <= called < num_classes:
            counts[true, called] += 1
        else:
            outside += 1
    return counts, outside


@pytest.mark.oracle
@given(
    num_classes=st.integers(1, 7),
    pairs=st.lists(st.tuples(st.integers(-3, 9), st.integers(-3, 9)), max_size=60),
    batch=st.integers(1, 20),
    dtype=st.sampled_from([torch.int64, torch.int32, torch.int8]),
)
def test_batches_add_up_to_a_loop_over_the_examples(num_classes, pairs, batch, dtype):
    counter = ConfusionCounter(num_classes)
    for start in range(0, len(pairs), batch):
        part = torch.tensor(pairs[start : start + batch], dtype=dtype)
        counter.add(part[:, 0], part[:, 1])
    expected, outside = counted([t for t, _ in pairs], [p for _, p in pairs], num_classes)
    counts, num_outside = counter.take()
    assert np.array_equal(counts, expected)
    assert num_outside == outside
    assert counter.is_empty
    assert counter.take()[0].sum() == 0


@pytest.mark.parametrize("kind", ["numpy", "lists", "half", "other type"])
def test_logits_and_class_numbers_of_any_kind_count_alike(kind):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (50,), generator=generator)
    logits = torch.randn(50, 4, generator=generator)
    expected, _ = counted(labels.tolist(), logits.argmax(1).tolist(), 4)
    counter = ConfusionCounter(4)
    match kind:
        case "numpy":
            counter.add(labels.numpy(), logits.numpy())
        case "lists":
            counter.add(labels.tolist(), logits.argmax(1).tolist())
        case "half":
            counter.add(labels, logits.bfloat16().requires_grad_())
            expected, _ = counted(labels.tolist(), logits.bfloat16().argmax(1).tolist(), 4)
        case _:
            counter.add(labels.to(torch.uint8), logits.numpy())
    assert np.array_equal(counter.take()[0], expected)


def test_the_classes_of_pixels_lie_along_the_second_dimension():
    labels = torch.randint(3, (2, 5, 6), generator=torch.Generator().manual_seed(1))
    logits = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(2))
    counter = ConfusionCounter(3)
    counter.add(labels, logits)
    expected, _ = counted(labels.flatten().tolist(), logits.argmax(1).flatten().tolist(), 3)
    assert np.array_equal(counter.take()[0], expected)


def test_it_counts_in_and_out_of_inference_mode():
    counter = ConfusionCounter(2)
    with torch.inference_mode():
        counter.add(torch.tensor([0, 1]), torch.tensor([1, 1]))
    counter.add([0], [0])
    with torch.no_grad():
        counter.add(torch.tensor([1]), torch.tensor([0]))
    assert counter.take()[0].tolist() == [[1, 1], [1, 1]]


def test_another_default_device_does_not_matter():
    counter = ConfusionCounter(2)
    with torch.device("meta"):
        counter.add([0, 1], np.array([1, 1]))
        assert counter.take()[0].tolist() == [[0, 1], [0, 1]]


def test_an_empty_batch_counts_nothing():
    counter = ConfusionCounter(3)
    counter.add([], [])
    counter.add(torch.empty(0, dtype=torch.int64), torch.empty(0, 3))
    assert counter.take()[0].sum() == 0


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, 1], [0], "one prediction for each label"),
        ([0, 1], [[0.1, 0.2, 0.3]] * 2, "2 columns"),
        ([0.0, 1.0], [0, 1], "labels should be class numbers"),
        ([0, 1], [0.5, 0.5], "predictions should be class numbers"),
        ([0, 1], [[0.1, 0.2]] * 3, "one prediction for each label"),
        (["a"], [0], "array of numbers"),
        ([[0], [1, 2]], [0, 1], "array of numbers"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(labels, predictions, message):
    counter = ConfusionCounter(2)
    with pytest.raises(LossvizError, match=message):
        counter.add(labels, predictions)
    assert counter.take()[0].sum() == 0


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1, 2]], "shape"),
        ([[1, 2], [3, -1]], "whole numbers from 0 on"),
        ([[1, 2], [3, 0.5]], "whole numbers from 0 on"),
        ([[1, 2], [3, float("nan")]], "whole numbers from 0 on"),
    ],
)
def test_what_is_no_confusion_matrix_is_refused(matrix, message):
    with pytest.raises(LossvizError, match=message):
        checked_counts(matrix, 2)


def test_a_confusion_matrix_of_any_kind_is_taken():
    for matrix in (
        [[1, 2], [3, 4]],
        np.array([[1.0, 2.0], [3.0, 4.0]]),
        torch.tensor([[1, 2], [3, 4]]),
    ):
        found = checked_counts(matrix, 2)
        assert found.dtype == np.int64
        assert found.tolist() == [[1, 2], [3, 4]]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_counting_on_a_gpu_never_waits_for_it():
    counter = ConfusionCounter(10)
    labels = torch.randint(10, (1000,), device="cuda")
    logits = torch.randn(1000, 10, device="cuda")
    counter.add(labels, logits)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            counter.add(labels, logits)
        counter.add(labels + 100, logits)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    counts, outside = counter.take()
    expected, _ = counted(labels.tolist(), logits.argmax(1).tolist(), 10)
    assert np.array_equal(counts, 4 * expected)
    assert outside == 1000
