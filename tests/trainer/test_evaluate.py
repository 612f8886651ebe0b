"""Counts and losses against a loop a beginner would write."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lossviz_analysis.weightspace.examples import Examples
from lossviz_trainer.evaluate import Evaluation, evaluate


@pytest.fixture
def model(tiny, resident):
    """With statistics that are neither those of the data nor the initial ones."""
    model = tiny(4)
    model.train()
    with torch.no_grad():
        model(resident.train.inputs(0, 100, torch.float32))
    return model


def naive(model, split):
    """One image at a time through a DataLoader."""
    loader = DataLoader(TensorDataset(split.images, split.labels), batch_size=1)
    counts, losses = np.zeros((10, 10), int), []
    model.eval()
    with torch.no_grad():
        for image, label in loader:
            logits = model(split.prepare(image, torch.float32))
            counts[label.item(), logits.argmax().item()] += 1
            losses.append(functional.cross_entropy(logits.double(), label).item())
    return counts, sum(losses) / len(losses)


@pytest.mark.oracle
@pytest.mark.parametrize("split", ["train", "test"])
def test_counts_and_loss_are_those_of_a_naive_loop(model, resident, split):
    examples = resident.split(split)
    counts, loss = naive(model, examples)
    found = evaluate(model, examples, micro_batch=200)
    assert np.array_equal(found.counts, counts)
    assert found.loss == pytest.approx(loss, rel=1e-6)
    assert found.accuracy == np.trace(counts) / len(examples)
    assert np.count_nonzero(counts.sum(axis=0)) > 2  # or it would be true of a constant model


def test_the_split_is_longer_than_a_chunk(resident):
    assert resident.train.num_chunks > 1  # what the test above is about


def test_the_model_is_evaluated_and_left_in_eval_mode(model, resident):
    model.train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    evaluate(model, resident.test, micro_batch=100)
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_counts_do_not_depend_on_the_batch(model, resident):
    found = [evaluate(model, resident.test, micro_batch=n).counts for n in (1, 7, 1_000)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_rows_are_true_classes(resident):
    class AlwaysThree(nn.Module):
        def forward(self, images):
            return functional.one_hot(torch.full((len(images),), 3), 10).float()

    found = evaluate(AlwaysThree(), resident.test, micro_batch=64)
    per_class = np.bincount(resident.test.labels.numpy(), minlength=10)
    assert np.array_equal(found.counts[:, 3], per_class)
    assert found.counts.sum() == per_class.sum()
    assert found.accuracy == per_class[3] / per_class.sum()


def test_a_loss_that_is_not_finite_makes_the_mean_infinite_and_keeps_the_counts(resident):
    class Overflows(nn.Module):
        def forward(self, images):
            logits = torch.zeros(len(images), 10)
            logits[0, 0] = math.inf
            return logits

    found = evaluate(Overflows(), resident.test, micro_batch=64)
    assert found.loss == math.inf
    assert found.counts.sum() == len(resident.test)


def test_a_class_without_examples_has_a_row_of_zeros(model, resident):
    rest = torch.nonzero(resident.test.labels != 5).flatten()
    examples = Examples(
        resident.test.images[rest], resident.test.labels[rest], resident.test.prepare, 10
    )
    found = evaluate(model, examples, micro_batch=100)
    assert not found.counts[5].any()
    assert found.counts.sum() == len(rest)


def test_somebody_can_watch_chunk_by_chunk(model, resident):
    calls = []
    evaluate(model, resident.train, micro_batch=200, on_chunk=lambda: calls.append(1))
    assert len(calls) == resident.train.num_chunks


def test_accuracy_is_a_share():
    counts = np.array([[3, 1], [0, 4]])
    assert Evaluation(counts=counts, loss=0.0).accuracy == 7 / 8
