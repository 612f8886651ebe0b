"""Recomputed running statistics against the moments of all examples at once."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.weightspace.batchnorm import (
    Interpolation,
    has_batch_norm,
    recompute_statistics,
)
from lossviz_analysis.weightspace.examples import Examples


def norms(model) -> list[Any]:
    """Any, because running statistics can be None and here never are."""
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


def perturbed(model, seed=0):
    """Statistics that tell nothing, so that whatever is not recomputed shows."""
    generator = torch.Generator().manual_seed(seed)
    for layer in norms(model):
        layer.running_mean.copy_(torch.randn(layer.num_features, generator=generator))
        layer.running_var.copy_(5 + torch.rand(layer.num_features, generator=generator))
    return model


@pytest.mark.oracle
def test_one_batch_gives_torchs_own_cumulative_statistics(network, resident, plain):
    model = perturbed(network())
    recompute_statistics(model, resident("train", 500), dtype=torch.float64)

    twin = network().train()
    for layer in norms(twin):
        layer.reset_running_stats()
        layer.momentum = None
    with torch.no_grad():
        twin(torch.from_numpy(plain("train", 500)[0]))
    assert len(norms(model)) == 2
    for found, expected in zip(norms(model), norms(twin), strict=True):
        torch.testing.assert_close(
            found.running_mean, expected.running_mean, rtol=1e-10, atol=1e-13
        )
        torch.testing.assert_close(found.running_var, expected.running_var, rtol=1e-10, atol=0)


@pytest.mark.oracle
@pytest.mark.parametrize("num_examples", [200, 250, 299])
def test_several_batches_are_pooled_as_if_they_were_one_sample(
    network, resident, plain, monkeypatch, num_examples
):
    monkeypatch.setattr("lossviz_analysis.weightspace.batchnorm.MIN_BATCH", 100)
    model = perturbed(network())
    recompute_statistics(model, resident("train", num_examples), dtype=torch.float64)

    images = torch.from_numpy(plain("train", num_examples)[0])
    halves = images[: num_examples // 2], images[num_examples // 2 :]
    twin = network().train()
    with torch.no_grad():
        inner = torch.cat([twin[0](half) for half in halves])
        deeper = torch.cat([twin[:4](half) for half in halves])
    for layer, values in zip(norms(model), (inner, deeper), strict=True):
        flat = values.transpose(0, 1).flatten(1)
        torch.testing.assert_close(layer.running_mean, flat.mean(1), rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(
            layer.running_var, flat.var(1, unbiased=True), rtol=1e-10, atol=0
        )
    # Averaging the two batches' variances instead would be visibly off.
    averaged = torch.stack([twin[0](half).var((0, 2, 3)) for half in halves]).mean(0)
    assert (averaged / norms(model)[0].running_var - 1).abs().max() > 1e-6


def test_batches_are_equal_and_at_least_the_minimum(network, resident, monkeypatch):
    monkeypatch.setattr("lossviz_analysis.weightspace.batchnorm.MIN_BATCH", 100)
    sizes = []
    model = network()

    def measure(_module, inputs):
        sizes.append(len(inputs[0]))

    model[0].register_forward_pre_hook(measure)
    for num_examples in (50, 199, 200, 399):
        sizes.clear()
        recompute_statistics(model, resident("train", num_examples), dtype=torch.float64)
        assert sum(sizes) == num_examples
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= min(100, num_examples)


def test_modes_momenta_hooks_and_weights_are_as_before(network, resident):
    model = network()
    norms(model)[0].momentum = None
    norms(model)[1].momentum = 0.3
    weights = [p.clone() for p in model.parameters()]
    recompute_statistics(model, resident("train", 60), dtype=torch.float64)
    assert [layer.momentum for layer in norms(model)] == [None, 0.3]
    assert not any(module.training for module in model.modules())
    assert all(len(layer._forward_pre_hooks) == 0 for layer in norms(model))
    pairs = zip(model.parameters(), weights, strict=True)
    assert all(torch.equal(p, before) for p, before in pairs)


def test_a_failing_forward_pass_leaves_modes_and_hooks_in_order(network, resident):
    model = network()

    def fail(*_):
        raise ZeroDivisionError

    handle = model[-1].register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError):
        recompute_statistics(model, resident("train", 60), dtype=torch.float64)
    handle.remove()
    assert [layer.momentum for layer in norms(model)] == [0.1, 0.1]
    assert not any(module.training for module in model.modules())
    assert all(len(layer._forward_pre_hooks) == 0 for layer in norms(model))


def test_dropout_stays_off_while_statistics_are_taken(network, resident):
    model = network()
    dropped = nn.Sequential(nn.Dropout(0.5), *copy.deepcopy(model))
    for each in (model, dropped):
        recompute_statistics(each, resident("train", 60), dtype=torch.float64)
    for plain_layer, layer in zip(norms(model), norms(dropped), strict=True):
        assert torch.equal(plain_layer.running_mean, layer.running_mean)


def test_float32_statistics_are_close_to_float64(network, resident):
    double, single = network(), network(torch.float32)
    recompute_statistics(double, resident("train", 200), dtype=torch.float64)
    recompute_statistics(single, resident("train", 200), dtype=torch.float32)
    for exact, layer in zip(norms(double), norms(single), strict=True):
        torch.testing.assert_close(
            layer.running_var.double(), exact.running_var, rtol=1e-5, atol=0
        )


def test_which_models_keep_statistics(network):
    assert has_batch_norm(network())
    assert not has_batch_norm(nn.Linear(2, 2))
    assert not has_batch_norm(nn.BatchNorm2d(3, track_running_stats=False))
    assert has_batch_norm(nn.Sequential(nn.BatchNorm1d(3)))


def test_a_model_without_batch_norm_is_left_alone(resident):
    linear = nn.Linear(3 * 32 * 32, 10)
    model = nn.Sequential(nn.Flatten(), linear).double()
    before = linear.weight.clone()
    recompute_statistics(model, resident("train", 30), dtype=torch.float64)
    assert torch.equal(linear.weight, before)


def test_what_diverged_before_leaves_no_trace(network, resident):
    """Statistics that are NaN, and a batch that is NaN, do not spread."""
    fresh, broken = network(), network()
    for layer in norms(broken):
        layer.running_mean.fill_(torch.nan)
        layer.running_var.fill_(torch.nan)
    for model in (fresh, broken):
        recompute_statistics(model, resident("train", 60), dtype=torch.float64)
    for expected, found in zip(norms(fresh), norms(broken), strict=True):
        assert torch.equal(found.running_mean, expected.running_mean)
        assert torch.equal(found.running_var, expected.running_var)


def test_a_failing_pass_leaves_the_statistics_that_were_there(network, resident):
    model = perturbed(network())
    before = [b.clone() for b in model.buffers()]
    model[-1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        recompute_statistics(model, resident("train", 60), dtype=torch.float64)
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), before, strict=True))


class Shared(nn.Module):
    """One batch norm heard twice, another never."""

    def __init__(self):
        super().__init__()
        self.norm, self.idle = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(x) + self.norm(2 * x + 1)


@pytest.mark.oracle
def test_a_layer_used_twice_pools_both_and_an_idle_one_keeps_its_own(
    resident, plain, monkeypatch
):
    monkeypatch.setattr("lossviz_analysis.weightspace.batchnorm.MIN_BATCH", 100)
    model = perturbed(Shared().double().eval())
    idle = [b.clone() for b in model.idle.buffers()]
    recompute_statistics(model, resident("train", 250), dtype=torch.float64)
    images = torch.from_numpy(plain("train", 250)[0])
    flat = torch.cat([images, 2 * images + 1]).transpose(0, 1).flatten(1)
    torch.testing.assert_close(model.norm.running_mean, flat.mean(1), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(model.norm.running_var, flat.var(1), rtol=1e-10, atol=0)
    assert all(torch.equal(a, b) for a, b in zip(model.idle.buffers(), idle, strict=True))


def test_a_mean_far_from_zero_costs_no_digits(plain):
    """Sums of squares would lose all of float32's here; deviations from the mean do not."""
    images = torch.from_numpy(plain("train", 200)[0]).float() + 1e4
    model = nn.BatchNorm2d(3).eval()
    examples = Examples(
        images,
        torch.zeros(len(images), dtype=torch.int64),
        lambda batch, dtype: batch.to(dtype),
        1,
    )
    recompute_statistics(model, examples, dtype=torch.float32)
    expected = images.double().transpose(0, 1).flatten(1).var(1)
    assert model.running_var is not None
    torch.testing.assert_close(model.running_var.double(), expected, rtol=1e-5, atol=0)


def ends(num_features=4):
    """A batch norm, and the statistics at the other end of a line."""
    layer = nn.BatchNorm1d(num_features).double()
    generator = torch.Generator().manual_seed(0)
    random = [
        torch.rand(num_features, generator=generator, dtype=torch.float64) for _ in range(4)
    ]
    layer.running_mean, layer.running_var = random[0], random[1] + 0.1
    model = nn.Sequential(layer)
    return model, {"0.running_mean": random[2], "0.running_var": random[3] + 0.1}


@given(st.floats(-3, 4))
@settings(deadline=None, max_examples=100)
def test_interpolated_statistics_are_on_the_line_or_refused(coordinate):
    model, other = ends()
    start = {name: b.clone() for name, b in model.named_buffers()}
    line = Interpolation(model, other)
    expected = {
        name: (1 - coordinate) * start[name] + coordinate * other[name] for name in other
    }
    moved = line.move_to(coordinate)
    lowest = float(expected["0.running_var"].min())
    if abs(lowest) > 1e-12:
        assert moved == (lowest >= 0)
    now = dict(model.named_buffers())
    for name in other:
        torch.testing.assert_close(now[name], expected[name] if moved else start[name])
    assert torch.equal(now["0.num_batches_tracked"], start["0.num_batches_tracked"])


@pytest.mark.parametrize("magnitude", [1.0, 1e30])
def test_both_ends_of_the_line_come_back_to_the_bit(magnitude):
    model, other = ends()
    other = {name: values * magnitude for name, values in other.items()}
    start = {name: b.clone() for name, b in model.named_buffers()}
    line = Interpolation(model, other)
    for coordinate, expected in ((1.0, other), (0.3, None), (0.0, start)):
        assert line.move_to(coordinate)
        now = dict(model.named_buffers())
        assert expected is None or all(torch.equal(now[n], expected[n]) for n in other)


@pytest.mark.parametrize(
    "other", [{}, {"0.running_mean": torch.zeros(5), "0.running_var": torch.ones(5)}]
)
def test_a_line_needs_two_models_of_one_architecture(other):
    with pytest.raises(LossvizError, match="two models of one architecture"):
        Interpolation(ends()[0], other)
