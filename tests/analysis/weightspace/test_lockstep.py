"""Statistics computed part by part against those of whole batches."""

import copy
from unittest import mock

import pytest
import torch
from torch import nn

from lossviz_analysis.weightspace.batchnorm import (
    batch_norms,
    recompute_statistics,
    statistics_from,
)
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.folding import UntraceableError
from lossviz_analysis.weightspace.lockstep import Lockstep, _part_of
from lossviz_trainer.models import build_model


class Twice(nn.Module):
    """One batch norm heard twice, one never, one that keeps nothing."""

    def __init__(self):
        super().__init__()
        self.norm, self.idle = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.passing = nn.BatchNorm2d(3, track_running_stats=False)
        self.conv = nn.Conv2d(3, 3, 3)
        self.head = nn.Linear(3, 10)

    def forward(self, x):
        first = torch.relu(self.norm(x))
        second = self.passing(self.norm(self.conv(2 * x + 1)))
        return self.head(first.mean((2, 3)) + second.mean((2, 3)))


def flat():
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(3 * 32 * 32, 20),
        nn.BatchNorm1d(20),
        nn.ReLU(),
        nn.Linear(20, 10),
    )


BUILDS = {
    "residual": lambda: build_model("resnet20", num_classes=10, seed=0),
    "dense": lambda: build_model("densenet121", num_classes=10, seed=0),
    "twice": Twice,
    "flat": flat,
}


def statistics(model):
    """All running statistics of a model, copied."""
    layers = batch_norms(model).values()
    buffers = [b for m in layers for b in (m.running_mean, m.running_var)]
    return [b.clone() for b in buffers if b is not None]


def lockstep(model, examples, dtype=torch.float32) -> Lockstep:
    found = Lockstep.of(model, examples, dtype)
    assert found is not None
    return found


@pytest.mark.parametrize("shape", [(12, 64), (12, 3, 32, 32), (2, 1)])
def test_a_device_gets_whole_batches_and_a_cpu_parts(shape):
    assert _part_of(torch.empty(shape, device="meta")) >= 2_000
    assert 50 <= _part_of(torch.empty(shape)) <= 50 * 3 * 32 * 32


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["residual", "twice", "flat"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_parts_give_the_statistics_of_whole_batches(resident, monkeypatch, name, dtype):
    monkeypatch.setattr("lossviz_analysis.weightspace.batchnorm.MIN_BATCH", 60)
    examples = resident("train", 157)
    mine = BUILDS[name]().to(dtype).eval()
    theirs = copy.deepcopy(mine).double()
    lockstep(mine, examples, dtype).recompute(examples, dtype=dtype)
    recompute_statistics(theirs, examples, dtype=torch.float64)
    tolerance = 1e-11 if dtype == torch.float64 else 1e-4
    for found, expected in zip(statistics(mine), statistics(theirs), strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(
            found.double(), expected, rtol=tolerance, atol=tolerance * scale
        )


def test_it_follows_the_weights(resident):
    examples = resident("train", 60)
    model = BUILDS["residual"]().double().eval()
    steps = lockstep(model, examples, torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.3).add_(0.01)
    other = copy.deepcopy(model)
    steps.recompute(examples, dtype=torch.float64)
    recompute_statistics(other, examples, dtype=torch.float64)
    for found, expected in zip(statistics(model), statistics(other), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["residual", "dense", "flat"])
def test_the_bits_do_not_depend_on_the_threads(resident, name):
    examples = resident("train", 60)
    model = BUILDS[name]().eval()
    steps = lockstep(model, examples)
    found: set[bytes] = set()
    for num_threads in (1, 2, 3):
        torch.set_num_threads(num_threads)
        steps.recompute(examples, dtype=torch.float32)
        found.add(b"".join(b.numpy().tobytes() for b in statistics(model)))
    assert len(found) == 1


def test_the_model_is_left_as_it_was(resident):
    model = BUILDS["residual"]().eval()
    before = copy.deepcopy(model.state_dict())
    lockstep(model, resident("train", 60))
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(m.training or m._forward_hooks for m in model.modules())


def test_where_it_cannot_or_would_be_wrong_there_is_none(resident):
    examples = resident("train", 60)

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = flat()

        def forward(self, x):
            return self.body(x) if x.sum() > -1e9 else self.body(-x)

    assert Lockstep.of(Branching().eval(), examples, torch.float32) is None
    assert Lockstep.of(flat().eval(), resident("train", 1), torch.float32) is None
    with pytest.raises(UntraceableError):
        Lockstep(Branching().eval(), examples.inputs(0, 4, torch.float32))

    class Centred(nn.Module):
        """Looks at the whole batch before its batch norm does."""

        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x):
            return self.norm(x * (x - x.mean(0))).mean((2, 3))

    assert Lockstep.of(Centred().eval(), examples, torch.float32) is None


def test_a_model_that_fails_is_put_in_order(resident):
    model = flat().eval()
    before = statistics(model)
    with mock.patch(
        "lossviz_analysis.weightspace.lockstep.statistics_from", side_effect=RuntimeError
    ):
        assert Lockstep.of(model, resident("train", 60), torch.float32) is None
    assert all(torch.equal(a, b) for a, b in zip(statistics(model), before, strict=True))


def test_what_diverged_shows_and_leaves_no_trace(resident):
    examples = resident("train", 60)
    model = flat().eval()
    steps = lockstep(model, examples)
    steps.recompute(examples, dtype=torch.float32)
    sound = statistics(model)
    linear = model[1]
    assert isinstance(linear, nn.Linear)
    weight = linear.weight.detach().clone()
    with torch.no_grad():
        linear.weight[0] = torch.nan
    steps.recompute(examples, dtype=torch.float32)
    mean, variance = statistics(model)
    assert bool(mean[0].isnan() and variance[0].isnan() and mean[1:].isfinite().all())
    with torch.no_grad():
        linear.weight.copy_(weight)
    steps.recompute(examples, dtype=torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(statistics(model), sound, strict=True))


def test_a_mean_far_from_zero_costs_no_digits(plain):
    images = torch.from_numpy(plain("train", 200)[0]).float() + 1e4
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).eval()
    labels = torch.zeros(len(images), dtype=torch.int64)
    examples = Examples(images, labels, lambda batch, dtype: batch.to(dtype), 1)
    lockstep(model, examples).recompute(examples, dtype=torch.float32)
    expected = images.double().transpose(0, 1).flatten(1).var(1)
    torch.testing.assert_close(statistics(model)[1].double(), expected, rtol=1e-5, atol=0)


def test_batches_without_a_graph_are_normalised_by_their_own(resident):
    """What lockstep is checked against: two batches are two samples, pooled."""
    model = flat().double().eval()
    inputs = resident("train", 90).inputs(0, 90, torch.float64)
    statistics_from(model, [inputs[:40], inputs[40:]])
    with torch.no_grad():
        hidden = model[1](inputs.flatten(1))
    torch.testing.assert_close(statistics(model)[0], hidden.mean(0), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(statistics(model)[1], hidden.var(0), rtol=1e-10, atol=0)
