"""A model moved through weight space comes back to the bit, and only what may move moves."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lossviz_analysis.weightspace.vector import Layout, MovableModel, flatten


def make(dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4)
        ).to(dtype)


def noise(like, seed):
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed)).to(like)


def state(model):
    return {name: t.clone() for name, t in model.state_dict().items()}


def same(model, before):
    after = model.state_dict()
    return all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_the_layout_is_that_of_named_parameters():
    model = make()
    layout, flat = Layout.of(model), flatten(model)
    named = list(model.named_parameters())
    assert [slot.name for slot in layout.slots] == [name for name, _ in named]
    assert layout.length == flat.numel() == sum(p.numel() for _, p in named)
    for (slot, view), (_, parameter) in zip(layout.views(flat), named, strict=True):
        assert torch.equal(view, parameter)
        assert slot.shape == tuple(parameter.shape)
    assert layout.slots[0].offset == 0
    for before, after in zip(layout.slots, layout.slots[1:], strict=False):
        assert after.offset == before.stop


def test_views_write_through_and_a_flat_copy_does_not():
    model = make()
    flat = flatten(model)
    before = state(model)
    for _, view in Layout.of(model).views(flat):
        view.fill_(7.0)
    assert (flat == 7).all()
    assert same(model, before)


def test_a_model_without_trainable_parameters_has_an_empty_layout():
    assert Layout.of(nn.ReLU()).length == 0


def test_making_a_model_movable_changes_nothing_it_computes():
    model = make()
    x = noise(torch.empty(5, 2, 4, 4), 1)
    before, weights = model.eval()(x), state(model)
    movable = MovableModel(model)
    assert torch.equal(model(x), before)
    assert same(model, weights)
    assert torch.equal(movable.base, flatten(model))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_move_is_base_plus_coordinates_times_directions(dtype):
    model = make(dtype)
    movable = MovableModel(model)
    base = movable.base.clone()
    d1, d2 = noise(base, 1), noise(base, 2)
    movable.move_to((d1, d2), (0.25, -3.0))
    torch.testing.assert_close(
        flatten(model).double(), base.double() + 0.25 * d1.double() - 3.0 * d2.double()
    )
    assert torch.equal(movable.base, base)


steps = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=6)


@given(steps)
@settings(deadline=None, max_examples=50)
def test_where_a_model_has_been_leaves_no_trace_and_the_origin_is_the_origin(path):
    model = make()
    movable = MovableModel(model)
    origin = state(model)
    d1, d2 = noise(movable.base, 1), noise(movable.base, 2)
    straight = MovableModel(copy.deepcopy(model))
    for point in path:
        movable.move_to((d1, d2), point)
    straight.move_to((d1, d2), path[-1])
    assert same(model, state(straight.model))
    movable.move_to((d1, d2), (0.0, -0.0))
    assert same(model, origin)
    movable.move_to((d1,), (2.0,))
    movable.move_to((), ())
    assert same(model, origin)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_origin_is_clean_also_along_a_direction_that_is_not_finite(value):
    model = make()
    movable = MovableModel(model)
    origin = state(model)
    bad = torch.full_like(movable.base, value)
    movable.move_to((bad,), (1.0,))
    assert not flatten(model).isfinite().any()
    movable.move_to((bad,), (0.0,))
    assert same(model, origin)


def test_the_number_of_coordinates_must_be_that_of_the_directions():
    movable = MovableModel(make())
    with pytest.raises(ValueError, match="zip"):
        movable.move_to((movable.base,), (1.0, 2.0))


def test_frozen_parameters_and_buffers_do_not_move():
    model = make()
    frozen = ("0.weight", "3.bias")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    before = state(model)
    movable = MovableModel(model)
    names = [slot.name for slot in movable.layout.slots]
    assert names == ["0.bias", "1.weight", "1.bias", "3.weight"]
    movable.move_to((torch.ones_like(movable.base),), (1.0,))
    after = model.state_dict()
    for name, tensor in before.items():
        if name in names:
            assert torch.equal(after[name], tensor + 1)
        else:
            assert torch.equal(after[name], tensor)


def test_tied_weights_are_one_tensor_and_stay_tied():
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    before = first.weight.clone()
    movable = MovableModel(nn.Sequential(first, nn.ReLU(), second))
    assert movable.layout.length == 9
    movable.move_to((torch.ones(9),), (0.5,))
    assert torch.equal(first.weight, before + 0.5)
    assert torch.equal(second.weight, first.weight)


def test_gradients_still_flow_to_a_movable_models_parameters():
    model = make()
    movable = MovableModel(model.eval())
    movable.move_to((noise(movable.base, 1),), (0.1,))
    x = noise(torch.empty(5, 2, 4, 4), 1)
    loss = model(x).square().sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    fresh = copy.deepcopy(model)
    expected = torch.autograd.grad(fresh(x).square().sum(), list(fresh.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))
