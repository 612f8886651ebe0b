"""Sums over a chunk against a loop over its examples."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lossviz_analysis.weightspace.evaluation import chunk_sums, class_sums, confusion_counts
from lossviz_analysis.weightspace.examples import Examples


class Table(nn.Module):
    """Looks the logits of example k up in row k; the image is k."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits, dtype=torch.float64))

    def forward(self, images):
        return self.logits[images.flatten().long()]


def examples_of(labels, num_classes):
    images = torch.arange(len(labels), dtype=torch.uint8).reshape(-1, 1, 1, 1)
    return Examples(
        images, torch.tensor(labels), lambda batch, dtype: batch.to(dtype), num_classes
    )


def slow_sums(logits, labels, num_classes, *, with_confusion=True):
    blocks = np.zeros((5, num_classes))
    confusion = np.zeros((num_classes, num_classes))
    for row, label in zip(logits, labels, strict=True):
        peak = max(row)
        loss = math.log(sum(math.exp(v - peak) for v in row)) - (row[label] - peak)
        predicted = row.index(peak)
        blocks[0, label] += 1
        blocks[1, label] += loss
        blocks[2, label] += loss**2
        blocks[3, label] += predicted != label
        confusion[label, predicted] += 1
    parts = [[1.0], blocks.ravel(), *([confusion.ravel()] if with_confusion else [])]
    return np.concatenate(parts)


def sums_of(logits, labels, num_classes, *, span=None, micro_batch=2, with_confusion=True):
    return chunk_sums(
        Table(logits),
        examples_of(labels, num_classes),
        range(len(labels)) if span is None else span,
        dtype=torch.float64,
        micro_batch=micro_batch,
        with_confusion=with_confusion,
    ).numpy()


@st.composite
def chunks(draw):
    num_classes = draw(st.integers(2, 5))
    n = draw(st.integers(1, 12))
    row = st.lists(st.floats(-30, 30), min_size=num_classes, max_size=num_classes)
    logits = draw(st.lists(row, min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, num_classes - 1), min_size=n, max_size=n))
    return logits, labels, num_classes


@pytest.mark.oracle
@given(chunks(), st.integers(1, 5), st.booleans())
@settings(deadline=None, max_examples=150)
def test_sums_are_those_of_a_loop(chunk, micro_batch, with_confusion):
    found = sums_of(*chunk, micro_batch=micro_batch, with_confusion=with_confusion)
    expected = slow_sums(*chunk, with_confusion=with_confusion)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_only_the_span_is_counted():
    logits = [[float(k == j) for k in range(3)] for j in (0, 1, 2, 0, 1, 2)]
    labels = [0, 0, 1, 1, 2, 2]
    found = sums_of(logits, labels, 3, span=range(2, 5))
    np.testing.assert_allclose(found, slow_sums(logits[2:5], labels[2:5], 3), rtol=1e-13)


def test_a_tie_goes_to_the_smaller_class():
    found = sums_of([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]], [1, 2], 3)
    assert found[16:].reshape(3, 3).tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]


def test_losses_that_are_not_finite_are_counted_and_not_summed():
    inf, nan = math.inf, math.nan
    logits = [
        [0.0, 1.0, 2.0],  # class 0, finite
        [-inf, 0.0, 0.0],  # class 0, its own logit is minus infinity: infinite loss
        [inf, 0.0, 0.0],  # class 0, right, but inf - inf is NaN
        [0.0, nan, 3.0],  # class 1, NaN
        [3.0, -inf, 0.0],  # class 2, finite: only another class is impossible
    ]
    labels = [0, 0, 0, 1, 2]
    found = sums_of(logits, labels, 3)
    seen, loss, square, mistakes, nonfinite = found[1:16].reshape(5, 3)
    assert seen.tolist() == [3, 1, 1]
    assert nonfinite.tolist() == [2, 1, 0]
    first = math.log(1 + math.e + math.e**2)
    last = math.log(math.e**3 + 1)
    np.testing.assert_allclose(loss, [first, 0, last], rtol=1e-12)
    np.testing.assert_allclose(square, [first**2, 0, last**2], rtol=1e-12)
    assert mistakes.tolist()[0] == 2
    assert mistakes.tolist()[2] == 1
    # Every example is in the confusion matrix, whatever its loss.
    confusion = found[16:].reshape(3, 3)
    assert confusion.sum(axis=1).tolist() == [3, 1, 1]
    assert confusion[0].tolist() == [1, 1, 1]


def test_every_loss_infinite_leaves_finite_sums():
    found = sums_of([[math.nan] * 2] * 4, [0, 1, 0, 1], 2)
    assert np.isfinite(found).all()
    assert found[9:11].tolist() == [2, 2]


def test_a_large_float32_logit_does_not_round_the_loss_away():
    """log(1 + e^-20) is 0 in float32; the loss is taken in float64."""
    model = Table([[20.0, 0.0]]).float()
    found = chunk_sums(
        model,
        examples_of([0], 2),
        range(1),
        dtype=torch.float32,
        micro_batch=1,
        with_confusion=False,
    )
    assert float(found[3]) == pytest.approx(math.log1p(math.exp(-20)), rel=1e-6)


def test_the_cut_into_batches_does_not_change_a_bit(network, resident):
    for dtype in (torch.float32, torch.float64):
        model, examples = network(dtype), resident("train", 300)
        found = {
            chunk_sums(
                model,
                examples,
                range(10, 290),
                dtype=dtype,
                micro_batch=micro_batch,
                with_confusion=True,
            )
            .numpy()
            .tobytes()
            for micro_batch in (32, 50, 200, 1_000)
        }
        assert len(found) == 1


def test_nothing_requires_a_gradient_afterwards(network, resident):
    found = chunk_sums(
        network(),
        resident("train", 20),
        range(20),
        dtype=torch.float64,
        micro_batch=8,
        with_confusion=True,
    )
    assert not found.requires_grad


def test_confusion_has_true_rows_and_predicted_columns():
    labels = torch.tensor([0, 0, 2, 1])
    predicted = torch.tensor([1, 1, 0, 1])
    counts = confusion_counts(labels, predicted, 4)
    assert counts.tolist() == [[0, 2, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_logits_of_few_bits_are_summed_in_many():
    logits = torch.tensor([[20.0, 0.0], [3.0, 5.0]], dtype=torch.float16)
    found = class_sums(logits, torch.tensor([0, 0]), 2, with_confusion=True)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, slow_sums(logits.tolist(), [0, 0], 2), rtol=1e-12)


def test_the_number_of_threads_does_not_change_a_bit():
    logits = torch.randn(1_000, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(1_000) % 10
    found: set[bytes] = set()
    for num_threads in (1, 2):
        torch.set_num_threads(num_threads)
        found.add(class_sums(logits, labels, 10, with_confusion=True).numpy().tobytes())
    assert len(found) == 1
