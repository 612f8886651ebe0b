"""Fused kernels against the operations one by one."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from lossviz_analysis.weightspace import fusing
from lossviz_analysis.weightspace.folding import Twin
from lossviz_analysis.weightspace.fusing import (
    FusedConv2d,
    FusedConvAdd2d,
    fuse,
    has_fused_kernels,
    multiply_rows,
)

pytestmark = pytest.mark.skipif(
    not has_fused_kernels(torch.float32), reason="this torch has no such kernels"
)


def images(num=5, seed=0):
    return torch.randn(num, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def fused_twin(model, inputs=None):
    model.eval()
    twin = Twin(
        model, images() if inputs is None else inputs, dtype=torch.float32, channels_last=True
    )
    assert twin.graph is not None
    num_fused = fuse(twin.graph)
    twin.refresh()
    return twin, num_fused


class Block(nn.Module):
    """Two convolutions, and an end that differs from test to test."""

    def __init__(self, end):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.one, self.two = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.relu, self.relu_ = nn.ReLU(), nn.ReLU(inplace=True)
        self.end = end

    def forward(self, x):
        return self.end(self, x).flatten(1)


def add_in_place(block, x):
    out = block.one(x)
    out += x
    return block.relu_(out)


def add_into_something_heard(block, x):
    """What is written to is read afterwards, so that nothing may be fused away."""
    other = x * 2
    other.add_(block.one(x))
    return other * other.sum((2, 3), keepdim=True)


def heard_before_the_relu(block, x):
    out = block.one(x)
    return out.relu() + 2 * out


def relu_of_something_heard(block, x):
    total = block.one(x) + x
    return total.relu() * total


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("end", "num_fused"),
    [
        (lambda b, x: b.relu(b.one(x)), 1),
        (lambda b, x: b.relu_(b.one(x)), 1),
        (lambda b, x: functional.relu(b.one(x)), 1),
        (lambda b, x: functional.relu(b.one(x), inplace=True), 1),
        (lambda b, x: b.one(x).relu(), 1),
        (lambda b, x: (b.one(x) + x).relu(), 1),
        (lambda b, x: (x + b.one(x)).relu(), 1),
        (lambda b, x: torch.add(x, b.one(x)), 1),
        (lambda b, x: x.add(b.one(x)), 1),
        (lambda b, x: b.one(x).add_(x).relu_(), 1),
        (lambda b, x: b.one(x) + b.two(x), 1),
        (lambda b, x: b.one(x).relu() + b.two(x).relu(), 2),
        (lambda b, x: torch.add(x, b.one(x), alpha=3), 0),
        (lambda b, x: b.one(x) + b.one(x).mean((2, 3), keepdim=True), 0),
        (lambda b, x: b.one(x) + 1, 0),
        (lambda b, x: functional.relu6(b.one(x)), 0),
        (add_in_place, 1),
        (add_into_something_heard, 0),
        (heard_before_the_relu, 1),
        (relu_of_something_heard, 1),
    ],
)
def test_what_is_fused_computes_what_it_did(end, num_fused):
    model = Block(end).eval()
    twin, found = fused_twin(model)
    inputs = images(seed=1)
    before = inputs.clone()
    with torch.no_grad():
        torch.testing.assert_close(twin(inputs), model(inputs), rtol=1e-5, atol=1e-5)
    if end is not heard_before_the_relu:  # there it is the addition that can be
        assert found == num_fused
    assert torch.equal(inputs, before)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=(1, 2), dilation=2, bias=False),
        nn.Conv2d(4, 8, 3, groups=4),
        nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 6, 3, padding="same"),
    ],
)
def test_every_kind_of_convolution(conv):
    model = nn.Sequential(conv, nn.ReLU(), nn.Flatten()).eval()
    twin, _ = fused_twin(model)
    with torch.no_grad():
        torch.testing.assert_close(twin(images()), model(images()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("end", [lambda b, x: b.one(x).relu(), add_in_place])
def test_a_diverged_activation_stays_diverged(end, value):
    """A fused ReLU by itself turns NaN into 0, and a diverged point would look fine."""
    model = Block(end).eval()
    twin, _ = fused_twin(model)
    inputs = images()
    inputs[0] = value
    with torch.no_grad():
        found, expected = twin(inputs), model(inputs)
    assert expected[0].isnan().any()
    assert torch.equal(found.isnan(), expected.isnan())
    assert found[1:].isfinite().all()


def test_the_bits_of_an_example_do_not_depend_on_its_batch():
    model = nn.Sequential(Block(add_in_place), nn.Linear(256, 40), nn.ReLU(), nn.Linear(40, 10))
    twin, _ = fused_twin(model)
    inputs = images(61)
    with torch.no_grad():
        whole = twin(inputs)
        for size in (2, 3, 5, 7, 16, 30, 59):
            parts = torch.cat([twin(part) for part in inputs[:60].split(size) if len(part) > 1])
            assert torch.equal(parts, whole[: len(parts)])


def test_rows_are_multiplied_alone_as_together():
    rows = torch.randn(9, 33, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(7, 33, generator=torch.Generator().manual_seed(1))
    found = multiply_rows(rows, weight)
    torch.testing.assert_close(found, rows @ weight.T, rtol=1e-5, atol=1e-5)
    assert torch.equal(torch.cat([multiply_rows(r, weight) for r in rows.split(1)]), found)


@pytest.mark.parametrize(
    "broken",
    [
        lambda _self, x, *_: x,
        lambda self, x: torch.conv2d(x, self.weight, self.bias, padding=1).nan_to_num(),
    ],
)
def test_kernels_that_are_wrong_are_not_used(monkeypatch, broken):
    monkeypatch.setattr(FusedConv2d, "forward", broken)
    has_fused_kernels.cache_clear()
    assert not has_fused_kernels(torch.float32)
    has_fused_kernels.cache_clear()


def test_kernels_that_are_missing_are_not_used(monkeypatch):
    def missing(*_):
        raise AttributeError("no such operator")

    monkeypatch.setattr(FusedConvAdd2d, "forward", missing)
    fusing.has_fused_kernels.cache_clear()
    assert not has_fused_kernels(torch.float32)
    fusing.has_fused_kernels.cache_clear()
