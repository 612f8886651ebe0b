"""The four normalisations against their definitions, slice by slice."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lossviz_analysis.weightspace.normalise import normalise
from lossviz_analysis.weightspace.vector import Layout, flatten


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def model(dtype):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(20, 4)
        ).to(dtype)


@pytest.fixture
def direction(model):
    generator = torch.Generator().manual_seed(2)
    weights = flatten(model)
    return 30 * torch.randn(weights.shape, generator=generator).to(weights.dtype)


def norm(values):
    """Summed one by one in exact arithmetic as far as Python goes."""
    return math.sqrt(math.fsum(float(v) ** 2 for v in values.flatten().tolist()))


def slow_filter(direction, weights, layout, *, keep):
    """Li et al. 2018, section 4: d_ij <- d_ij / |d_ij| * |w_ij| over layers i and filters j."""
    out = np.zeros(layout.length)
    for slot in layout.slots:
        d = direction[slot.offset : slot.stop].double().numpy().reshape(slot.shape)
        w = weights[slot.offset : slot.stop].double().numpy().reshape(slot.shape)
        result = np.zeros(slot.shape)
        if len(slot.shape) >= 2:
            for j in range(slot.shape[0]):
                if norm(d[j]) > 0:
                    result[j] = d[j] / norm(d[j]) * norm(w[j])
        elif keep and norm(d) > 0:
            result = d / norm(d) * norm(w)
        out[slot.offset : slot.stop] = result.ravel()
    return out


def slices(vector, layout):
    """Every filter of every tensor of dimension two or more."""
    for slot, view in layout.views(vector):
        if len(slot.shape) >= 2:
            yield from view


@pytest.mark.oracle
@pytest.mark.parametrize("keep", [False, True])
def test_filter_normalisation_is_its_definition(model, direction, dtype, keep):
    layout, weights = Layout.of(model), flatten(model)
    found = normalise(direction, weights, layout, "filter", keep_bias_and_bn=keep)
    expected = slow_filter(direction, weights, layout, keep=keep)
    assert found.dtype == dtype
    tolerance = 1e-7 if dtype == torch.float32 else 1e-14
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=tolerance, atol=0)
    pairs = list(zip(slices(found, layout), slices(weights, layout), strict=True))
    assert len(pairs) == 5 + 4
    for d, w in pairs:
        assert norm(d) == pytest.approx(norm(w), rel=tolerance)


@pytest.mark.parametrize("how", ["filter", "layer"])
def test_biases_and_batch_norm_are_zero_unless_asked_for(model, direction, how):
    layout, weights = Layout.of(model), flatten(model)
    plain = dict(zip_names(layout, normalise(direction, weights, layout, how)))
    kept = dict(
        zip_names(layout, normalise(direction, weights, layout, how, keep_bias_and_bn=True))
    )
    flat = {name for name, view in plain.items() if view.dim() <= 1}
    assert flat == {"0.bias", "1.weight", "1.bias", "3.bias"}
    own = dict(zip_names(layout, weights))
    for name, view in plain.items():
        assert bool((view == 0).all()) == (name in flat)
        if name not in flat:
            assert torch.equal(view, kept[name])
        else:
            assert norm(kept[name]) == pytest.approx(norm(own[name]), rel=1e-6)
    # The bias of a batch norm starts at zero: scaled to its own norm it is zero as well.
    assert {name for name in flat if (kept[name] == 0).all()} == {"1.bias"}


def zip_names(layout, vector):
    return ((slot.name, view) for slot, view in layout.views(vector))


def test_layer_normalisation_gives_each_tensor_its_norm_and_keeps_its_shape(model, direction):
    layout, weights = Layout.of(model), flatten(model)
    found = normalise(direction, weights, layout, "layer")
    own = dict(zip_names(layout, weights))
    was = dict(zip_names(layout, direction))
    for name, view in zip_names(layout, found):
        if view.dim() >= 2:
            expected = was[name].double() * (norm(own[name]) / norm(was[name]))
            torch.testing.assert_close(view.double(), expected, rtol=1e-7, atol=0)


def test_model_normalisation_gives_the_whole_vector_the_norm_of_the_weights(model, direction):
    layout, weights = Layout.of(model), flatten(model)
    found = normalise(direction, weights, layout, "model")
    expected = direction.double() * (norm(weights) / norm(direction))
    torch.testing.assert_close(found.double(), expected, rtol=1e-7, atol=0)


def test_none_is_the_direction_itself_in_memory_of_its_own(model, direction):
    layout, weights = Layout.of(model), flatten(model)
    found = normalise(direction, weights, layout, "none")
    assert torch.equal(found, direction)
    found += 1
    assert not torch.equal(found, direction)


@pytest.mark.parametrize("how", ["none", "model", "layer", "filter"])
def test_neither_the_direction_nor_the_weights_are_changed(model, direction, how):
    weights = flatten(model)
    before = direction.clone(), weights.clone()
    normalise(direction, weights, Layout.of(model), how, keep_bias_and_bn=True)
    assert torch.equal(direction, before[0])
    assert torch.equal(weights, before[1])


@pytest.mark.parametrize("how", ["model", "layer", "filter"])
def test_a_zero_direction_stays_zero(model, how):
    weights = flatten(model)
    found = normalise(torch.zeros_like(weights), weights, Layout.of(model), how)
    assert torch.equal(found, torch.zeros_like(weights))


def test_a_zero_filter_stays_zero_and_disturbs_no_other(model, direction):
    layout, weights = Layout.of(model), flatten(model)
    whole = normalise(direction, weights, layout, "filter")
    dict(zip_names(layout, direction))["0.weight"][2] = 0.0
    found = normalise(direction, weights, layout, "filter")
    convolution, before = (dict(zip_names(layout, v))["0.weight"] for v in (found, whole))
    assert torch.equal(convolution[2], torch.zeros_like(convolution[2]))
    others = [0, 1, 3, 4]
    assert torch.equal(convolution[others], before[others])


def test_a_filter_whose_weights_are_zero_does_not_move(model, direction):
    layout, weights = Layout.of(model), flatten(model)
    dict(zip_names(layout, weights))["3.weight"][1] = 0.0
    found = dict(zip_names(layout, normalise(direction, weights, layout, "filter")))
    assert (found["3.weight"][1] == 0).all()
    assert (found["3.weight"][0] != 0).all()


@pytest.mark.parametrize("how", ["filter", "layer", "model"])
@pytest.mark.parametrize("size", [1e-30, 1e-20, 1e-3, 1e15, 1e30])
def test_no_epsilon_the_size_of_a_direction_does_not_matter(model, direction, how, size):
    """Squares of the small ones vanish in float32, those of the large ones overflow."""
    layout, weights = Layout.of(model), flatten(model)
    found = normalise(direction / 30 * size, weights, layout, how)
    expected = normalise(direction, weights, layout, how)
    torch.testing.assert_close(found, expected, rtol=3e-7, atol=0)
