"""What holds for every network: symmetries, ends, and slopes of its loss landscape."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from lossviz_analysis.weightspace.batchnorm import (
    Frozen,
    Interpolate,
    Recompute,
    recompute_statistics,
)
from lossviz_analysis.weightspace.directions import (
    ego_directions,
    gaussian_direction,
    toward_direction,
)
from lossviz_analysis.weightspace.evaluator import PointEvaluator
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.normalise import normalise
from lossviz_analysis.weightspace.trajectory import principal_components
from lossviz_analysis.weightspace.vector import Layout, MovableModel, flatten

NUM_CLASSES, NUM_EXAMPLES, WIDTH, SIDE = 3, 30, 4, 6
EPSILON = 1e-5
"""Of the batch norms, torch's default."""
POINTS = (-0.8, -0.1, 0.0, 0.3, 1.0)
laws = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 10**6)
factors = st.lists(st.floats(-4, 4).map(lambda e: 2.0**e), min_size=WIDTH, max_size=WIDTH).map(
    lambda found: torch.tensor(found, dtype=torch.float64)
)


def examples_of(seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(NUM_EXAMPLES, 2, SIDE, SIDE, generator=generator, dtype=torch.float64)
    labels = torch.arange(NUM_EXAMPLES) % NUM_CLASSES
    return Examples(images, labels, lambda batch, dtype: batch.to(dtype), NUM_CLASSES)


def network(seed, *, norm=True, groups=1):
    """Two convolutions and a linear layer, norms with statistics of their own or none."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(2, WIDTH, 3, padding=1),
            nn.BatchNorm2d(WIDTH) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(WIDTH, 8, 3, stride=2, padding=1, groups=groups),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(72, NUM_CLASSES),
        ).double()
        for layer in model:
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.bias)
                nn.init.normal_(tensor(layer.running_mean))
                nn.init.uniform_(tensor(layer.running_var), 0.5, 2.0)
    return model.eval()


def tensor(found):
    assert isinstance(found, torch.Tensor)
    return found


def scaled_direction(model, how, seed):
    """A normalised direction that is drawn for the network as it was before it was changed."""
    layout = Layout.of(model)
    raw = gaussian_direction(layout, seed, dtype=torch.float64)
    return normalise(raw, flatten(model), layout, how)


def curve(model, directions, examples, points=POINTS, *, statistics=None, precision="float64"):
    """Class sums at points along the first direction, as a scan stores them."""
    dtype = torch.float64 if precision == "float64" else torch.float32
    evaluator = PointEvaluator(
        MovableModel(copy.deepcopy(model).to(dtype)),
        tuple(d.to(dtype) for d in directions),
        dtype=dtype,
        arithmetic="float64" if precision == "float64" else "exact",
        micro_batch=NUM_EXAMPLES,
        with_confusion=True,
        sample=examples.inputs(0, 1, dtype),
        statistics=Frozen() if statistics is None else statistics,
    )
    found: list[torch.Tensor] = []
    for point in points:
        assert evaluator.move_to((point,) * len(directions))
        found.append(evaluator.chunk(examples, 0).clone())
    evaluator.close()
    return torch.stack(found)


def mean_losses(sums):
    return sums[:, 1 + NUM_CLASSES : 1 + 2 * NUM_CLASSES].sum(1) / NUM_EXAMPLES


def num_mistakes(sums):
    return sums[:, 1 + 3 * NUM_CLASSES : 1 + 4 * NUM_CLASSES].sum(1)


def same_curve(first, second):
    torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9)


# Scaling filters.


def scale_(layer, by, along=0):
    """Multiplies slices of a weight, and the bias with the filters."""
    shape = [1] * layer.weight.dim()
    shape[along] = -1
    layer.weight.data *= by.reshape(shape)
    if along == 0 and layer.bias is not None:
        layer.bias.data *= by


def changes_a_curve_normalised_by(how, model, twin, examples, seed):
    """Whether two networks of the same function have different curves along one draw."""
    curves = [
        mean_losses(curve(each, [scaled_direction(each, how, seed)], examples))
        for each in (model, twin)
    ]
    same_curve(curves[0][2], curves[1][2])
    return not torch.allclose(*curves, rtol=1e-4)


@laws
@given(seeds, factors)
def test_scaling_filters_before_a_batch_norm_leaves_a_filter_normalised_curve(seed, by):
    """The norm's statistics compensate each filter's own factor."""
    model, examples = network(seed), examples_of(seed + 1)
    twin = copy.deepcopy(model)
    scale_(twin[0], by)
    tensor(twin[1].running_mean).mul_(by)
    variance = tensor(twin[1].running_var)
    variance.copy_(by**2 * (variance + EPSILON) - EPSILON)
    ours, theirs = (
        curve(each, [scaled_direction(each, "filter", seed)], examples)
        for each in (model, twin)
    )
    same_curve(ours, theirs)
    # Recomputed statistics find the factor by themselves, but for the norm's epsilon.
    ours, theirs = (
        mean_losses(
            curve(
                each,
                [scaled_direction(each, "filter", seed)],
                examples,
                statistics=Recompute(examples),
            )
        )
        for each in (model, twin)
    )
    torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0)


@laws
@given(seeds, st.floats(-4, 4).map(lambda e: 2.0**e))
def test_scaling_a_layer_under_relu_leaves_a_filter_normalised_curve(seed, by):
    """The next layer is divided by the factor; biases do not move."""
    model, examples = network(seed, norm=False), examples_of(seed + 1)
    twin = copy.deepcopy(model)
    scale_(twin[0], torch.full((WIDTH,), by, dtype=torch.float64))
    twin[3].weight.data /= by
    ours, theirs = (
        curve(each, [scaled_direction(each, "filter", seed)], examples)
        for each in (model, twin)
    )
    same_curve(ours, theirs)


@laws
@given(seeds, factors)
def test_scaling_a_filter_under_relu_leaves_a_filter_normalised_curve(seed, by):
    """Each filter by its own factor, where the filters of the next layer see one channel each.

    A filter that sees several channels has one norm for all of them, which changes when one
    of them is divided by a factor; there a layer can only be scaled as a whole.
    """
    model, examples = network(seed, norm=False, groups=WIDTH), examples_of(seed + 1)
    twin = copy.deepcopy(model)
    scale_(twin[0], by)
    tensor(twin[3].weight).data /= by.repeat_interleave(2).reshape(-1, 1, 1, 1)
    ours, theirs = (
        curve(each, [scaled_direction(each, "filter", seed)], examples)
        for each in (model, twin)
    )
    same_curve(ours, theirs)


@pytest.mark.parametrize("how", ["none", "model", "layer"])
def test_other_normalisations_do_see_the_scale_of_filters(how):
    model, examples = network(1, norm=False, groups=WIDTH), examples_of(2)
    by = torch.tensor([0.1, 1.0, 3.0, 10.0], dtype=torch.float64)
    twin = copy.deepcopy(model)
    scale_(twin[0], by)
    tensor(twin[3].weight).data /= by.repeat_interleave(2).reshape(-1, 1, 1, 1)
    assert changes_a_curve_normalised_by(how, model, twin, examples, 3)
    assert not changes_a_curve_normalised_by("filter", model, twin, examples, 3)


# Permuting channels.


def permute_(model, order):
    """The same function with the channels of the first convolution in another order."""
    for layer in (model[0], model[1]):
        for values in (*layer.parameters(), *layer.buffers()):
            if values.dim() > 0:
                values.data = values.data[order].clone()
    model[3].weight.data = model[3].weight.data[:, order].clone()


@laws
@given(
    seeds, st.permutations(range(WIDTH)), st.sampled_from(["none", "model", "layer", "filter"])
)
def test_permuting_channels_leaves_every_norm_and_every_loss(seed, order, how):
    model, examples = network(seed), examples_of(seed + 1)
    layout, raw = (
        Layout.of(model),
        gaussian_direction(Layout.of(model), seed, dtype=torch.float64),
    )
    # The direction is a network of the same shape, so it is permuted as one.
    carrier = copy.deepcopy(model)
    nn.utils.vector_to_parameters(raw, carrier.parameters())
    twin = copy.deepcopy(model)
    permute_(twin, order)
    permute_(carrier, order)
    ours = normalise(raw, flatten(model), layout, how)
    theirs = normalise(flatten(carrier), flatten(twin), layout, how)
    assert float(ours.norm()) == pytest.approx(float(theirs.norm()), rel=1e-13)
    for (_, a), (_, b) in zip(layout.views(ours), layout.views(theirs), strict=True):
        assert float(a.norm()) == pytest.approx(float(b.norm()), rel=1e-13)
    for statistics in (Frozen(), Recompute(examples)):
        same_curve(
            curve(model, [ours], examples, statistics=statistics),
            curve(twin, [theirs], examples, statistics=statistics),
        )


# The centre and the ends.


@laws
@given(seeds, st.sampled_from(["float32", "float64"]))
def test_the_value_at_the_centre_is_the_model_s(seed, precision):
    """In float32 to a millionth, and every mistake; whatever the direction."""
    model, examples = network(seed), examples_of(seed + 1)
    direction = scaled_direction(model, "filter", seed)
    direction[0] = math.nan
    sums = curve(model, [direction], examples, (0.0,), precision=precision)
    with torch.no_grad():
        logits = model(examples.images)
    expected = float(functional.cross_entropy(logits, examples.labels))
    assert float(mean_losses(sums)[0]) == pytest.approx(expected, rel=1e-6)
    assert int(num_mistakes(sums)[0]) == int((logits.argmax(1) != examples.labels).sum())


@laws
@given(seeds, st.sampled_from(["frozen", "recompute", "interpolate"]))
def test_the_ends_of_an_interpolation_are_the_two_models(seed, mode):
    first, second, examples = network(seed), network(seed + 1), examples_of(seed)
    direction = toward_direction(flatten(first), flatten(second))
    own, other = copy.deepcopy(first), copy.deepcopy(second)
    match mode:
        case "frozen":
            statistics = Frozen()
            other.load_state_dict(dict(first.named_buffers()), strict=False)
        case "recompute":
            statistics = Recompute(examples)
            for each in (own, other):
                recompute_statistics(each, examples, dtype=torch.float64)
        case _:
            statistics = Interpolate(dict(second.named_buffers()))
    found = curve(first, [direction], examples, (0.0, 1.0), statistics=statistics)
    for sums, model in zip(found, (own, other), strict=True):
        [alone] = curve(model, [direction], examples, (0.0,))
        torch.testing.assert_close(sums, alone, rtol=1e-10, atol=1e-10)


# Slopes.


@laws
@given(seeds, st.integers(0, NUM_CLASSES - 1))
def test_a_class_descends_along_its_own_ego_direction_by_the_square_of_its_gradient(
    seed, true_class
):
    """The derivative at the centre is -|g_c|^2, and -g_c g_k for another class k."""
    model, examples = network(seed), examples_of(seed + 1)
    egos = ego_directions(
        copy.deepcopy(model), examples, range(NUM_CLASSES), dtype=torch.float64, micro_batch=8
    )
    direction = egos[true_class]
    # Small against the distance to the next kink of a ReLU.
    step = 1e-7 / float(direction.norm())
    sums = curve(model, [direction], examples, (-step, step))
    losses = sums[:, 1 + NUM_CLASSES : 1 + 2 * NUM_CLASSES] / sums[:, 1 : 1 + NUM_CLASSES]
    slopes = (losses[1] - losses[0]) / (2 * step)
    size = float(direction.norm())
    for k, ego in egos.items():
        expected = -float(torch.dot(direction, ego))
        assert float(slopes[k]) == pytest.approx(
            expected, rel=1e-5, abs=1e-5 * size * float(ego.norm())
        )
    assert float(slopes[true_class]) < 0


@laws
@given(seeds, st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8))
def test_the_components_of_a_straight_run_explain_everything(seed, steps):
    model, other = network(seed), network(seed + 1)
    base, way = flatten(model), flatten(other) - flatten(model)
    times = torch.cumsum(torch.tensor([0.0, *steps], dtype=torch.float64), 0)
    path = [base + float(t) * way for t in times]
    found = principal_components(path.__getitem__, len(path), components=(1,))
    assert found.explained == pytest.approx((1.0,), abs=1e-12)
    assert abs(float(torch.dot(found.directions[0], way) / way.norm())) == pytest.approx(1)
