"""Twins against the models they are copies of, at points where everything has moved."""

import threading
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from lossviz_analysis.weightspace.folding import Twin, UntraceableError
from lossviz_analysis.weightspace.vector import MovableModel


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def shaken(model, seed=0) -> Any:
    """Every parameter and statistic is something that shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.3)
    return model


def twin_of(model, inputs, **options):
    return Twin(model, inputs, dtype=torch.float64, channels_last=True, **options)


def assert_follows(model, inputs, *, num_folded, **options):
    """The twin gives the model's outputs wherever the model goes."""
    model = shaken(model.double().eval())
    twin = twin_of(model, inputs, **options)
    assert twin.num_folded == num_folded
    for seed in (1, 2):
        shaken(model, seed)
        twin.refresh()
        with torch.no_grad():
            torch.testing.assert_close(twin(inputs), model(inputs), rtol=1e-11, atol=1e-11)
    return twin


class Flattened(nn.Sequential):
    def forward(self, input):  # noqa: A002 - as torch calls it
        return super().forward(input).flatten(1)


IMAGES = noise(3, 4, 6, 6)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("layers", "inputs"),
    [
        ((nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)), IMAGES),
        ((nn.Conv2d(4, 5, 3, bias=False), nn.BatchNorm2d(5)), IMAGES),
        ((nn.Conv2d(4, 6, 3, groups=2, stride=2), nn.BatchNorm2d(6, eps=0.1)), IMAGES),
        ((nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5, affine=False)), IMAGES),
        ((nn.Conv2d(4, 5, 3, padding="same"), nn.BatchNorm2d(5)), IMAGES),
        ((nn.Linear(7, 5), nn.BatchNorm1d(5)), noise(3, 7)),
        ((nn.Conv1d(4, 5, 3), nn.BatchNorm1d(5)), noise(3, 4, 9)),
        ((nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3)), noise(2, 2, 4, 4, 4)),
    ],
)
def test_a_batch_norm_disappears_into_the_layer_before_it(layers, inputs):
    twin = assert_follows(Flattened(*layers), inputs, num_folded=1)
    assert twin.num_kept == 0


class Weighted(nn.Conv2d):
    def forward(self, input):  # noqa: A002 - as torch calls it
        return super().forward(input) * 2 + 1


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("layers", "inputs"),
    [
        ((nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3)), IMAGES),
        ((nn.Conv2d(4, 5, 3), nn.ReLU(), nn.BatchNorm2d(5)), IMAGES),
        ((Weighted(4, 5, 3), nn.BatchNorm2d(5)), IMAGES),
        # Batch norm takes dimension 1, the linear layer the last.
        ((nn.Linear(6, 5), nn.BatchNorm1d(4)), noise(3, 4, 6)),
        ((nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5, track_running_stats=False)), IMAGES),
    ],
)
def test_a_batch_norm_that_cannot_be_folded_stays(layers, inputs):
    twin = assert_follows(Flattened(*layers), inputs, num_folded=0)
    assert twin.num_kept == 1


def test_a_batch_norm_in_train_mode_stays():
    model = shaken(Flattened(nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)).double().eval())
    model[1].train()
    assert twin_of(model, IMAGES).num_folded == 0


class Twice(nn.Module):
    """One convolution with two batch norms, another that is heard without its own."""

    def __init__(self):
        super().__init__()
        self.shared, self.heard = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.tied = nn.Conv2d(4, 4, 1)
        self.tied.weight = self.shared.weight
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(4))

    def forward(self, x):
        first = self.norms[0](self.shared(x))
        second = self.norms[1](self.shared(first))
        third = self.norms[2](self.tied(second))
        heard = self.heard(third)
        return (self.norms[3](heard) + heard + first).flatten(1)


@pytest.mark.oracle
def test_layers_used_twice_tied_weights_and_other_listeners():
    twin = assert_follows(Twice(), IMAGES, num_folded=3)
    assert twin.num_kept == 1


class Functional(nn.Module):
    """Parameters and buffers that are not those of a layer."""

    running_mean: torch.Tensor

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.matrix, self.gain = nn.Parameter(torch.ones(5, 4)), nn.Parameter(torch.ones(1))
        self.register_buffer("running_mean", torch.zeros(5))

    def forward(self, x):
        norm = self.norm
        x = functional.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, self.training
        )
        x = x.mean((2, 3))
        return functional.linear(x, self.matrix * self.gain) - self.running_mean


@pytest.mark.oracle
def test_parameters_and_buffers_are_read_when_the_graph_runs():
    assert_follows(Functional(), IMAGES, num_folded=0)


def test_the_tensors_that_a_refresh_writes_stay_where_they_are():
    model = shaken(
        Flattened(nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 2, 1)).eval()
    )
    twin = Twin(model, IMAGES.float(), dtype=torch.float16, channels_last=True)
    twin.refresh()
    tensors = list(twin.module.parameters())
    places = [t.data_ptr() for t in tensors]
    before = [t.clone() for t in tensors]
    shaken(model, 9)
    twin.refresh()
    assert [t.data_ptr() for t in twin.module.parameters()] == places
    assert all(t.dtype == torch.float16 for t in tensors)
    assert not any(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


def test_folding_is_done_before_fewer_bits_are_taken():
    """The weight leaves the range of float16 and comes back by the scale."""
    model: Any = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2)).eval()
    with torch.no_grad():
        model[0].weight.fill_(1e6)
        model[1].running_var.fill_(1e12)
    inputs = torch.ones(2, 2)
    twin = Twin(model, inputs, dtype=torch.float16, channels_last=False)
    twin.refresh()
    torch.testing.assert_close(twin(inputs), torch.full((2, 2), 2.0).half())


def test_the_model_is_left_alone():
    model = shaken(Twice().double().eval())
    movable = MovableModel(model)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    modules = list(model.named_modules())
    twin = twin_of(model, IMAGES)
    twin.refresh()
    assert list(model.named_modules()) == modules
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())
    # One vector holds all weights; a copy of one must not be a copy of all.
    stored = sum(t.untyped_storage().nbytes() for t in twin.module.parameters())
    assert stored < 2 * movable.base.untyped_storage().nbytes()


def test_what_is_left_out_is_not_refreshed_but_its_bias_is():
    model = shaken(Flattened(nn.Linear(6, 5), nn.BatchNorm1d(5)).double().eval())
    inputs = noise(3, 6)
    twin = twin_of(model, inputs)
    twin.refresh()
    weight, bias = twin.module.parameters()
    before = weight.clone(), bias.clone()
    assert twin.source_of(weight) is model[0].weight
    shaken(model, 3)
    twin.refresh(leave=weight)
    assert torch.equal(weight, before[0])
    assert not torch.equal(bias, before[1])
    scale = model[1].weight / (model[1].running_var + model[1].eps).sqrt()
    torch.testing.assert_close(twin.scale_of(weight), scale.detach())


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Locked(nn.Module):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, x):
        return x


def doubled(_module, _inputs, output: torch.Tensor):
    return output * 2


def hooked():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    model[0].register_forward_hook(doubled)
    return model


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Branching(), "TraceError"),
        (Locked(), "cannot be copied"),
        (hooked(), "has hooks"),
        (nn.Linear(5, 2), "RuntimeError"),  # does not take such inputs
    ],
)
def test_what_has_no_graph_says_why(model, reason):
    with pytest.raises(UntraceableError, match=reason):
        twin_of(model, torch.ones(2, 6))


def test_without_a_graph_a_twin_is_a_copy_in_fewer_bits():
    model = hooked()
    inputs = torch.ones(2, 6)
    twin = Twin(model, inputs, dtype=torch.bfloat16, channels_last=True, with_graph=False)
    twin.refresh()
    with torch.no_grad():
        torch.testing.assert_close(twin(inputs).float(), model(inputs), rtol=0.05, atol=0.05)
    assert twin(inputs).dtype == torch.bfloat16
