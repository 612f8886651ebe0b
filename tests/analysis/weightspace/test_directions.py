"""Directions: repeatable, and equal to autograd over the whole set in float64."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.weightspace.directions import (
    cosine,
    ego_direction,
    ego_directions,
    gaussian_direction,
    gradient_direction,
    toward_direction,
)
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.vector import Layout, flatten

NUM_EXAMPLES = 90


def slow_gradient(model, images, labels):
    """The mean over examples of each example's own gradient, in eval mode."""
    twin = copy.deepcopy(model).double().eval()
    total = torch.zeros(sum(p.numel() for p in twin.parameters()), dtype=torch.float64)
    pairs = list(zip(images, labels.tolist(), strict=True))
    for image, label in pairs:
        twin.zero_grad()
        logits = twin(torch.from_numpy(image).unsqueeze(0))
        (-torch.log_softmax(logits[0], 0)[label]).backward()
        total += torch.cat([p.grad.flatten() for p in twin.parameters()])
    return total / len(pairs)


def close(found, expected, tolerance=1e-12):
    return float((found - expected).norm()) <= tolerance * float(expected.norm())


@pytest.fixture
def layout(network):
    return Layout.of(network())


def test_a_gaussian_direction_is_the_same_for_every_precision(layout):
    single = gaussian_direction(layout, 7, dtype=torch.float32)
    double = gaussian_direction(layout, 7, dtype=torch.float64)
    assert torch.equal(single.double(), double)
    assert torch.equal(single, gaussian_direction(layout, 7, dtype=torch.float32))
    assert single.device.type == "cpu"
    assert single.shape == (layout.length,)


def test_a_gaussian_direction_depends_on_its_seed_alone(layout):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = gaussian_direction(layout, 7, dtype=torch.float32)
        untouched = torch.rand(3)
        torch.manual_seed(1)
        assert torch.equal(untouched, torch.rand(3))
        previous = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            assert torch.equal(first, gaussian_direction(layout, 7, dtype=torch.float32))
        finally:
            torch.set_default_dtype(previous)
    assert not torch.equal(first, gaussian_direction(layout, 8, dtype=torch.float32))


def test_a_gaussian_direction_is_standard_normal():
    layout = Layout.of(nn.Linear(200, 200))
    values = gaussian_direction(layout, 3, dtype=torch.float64)
    n = layout.length
    assert abs(float(values.mean())) < 4 / n**0.5
    assert abs(float(values.square().mean()) - 1) < 4 * (2 / n) ** 0.5


@pytest.mark.oracle
def test_the_gradient_direction_is_minus_the_full_gradient(network, resident, plain):
    model, examples = network(), resident("train", NUM_EXAMPLES)
    found = gradient_direction(model, examples, dtype=torch.float64, micro_batch=32)
    assert close(found, -slow_gradient(model, *plain("train", NUM_EXAMPLES)))


@pytest.mark.oracle
@pytest.mark.parametrize("true_class", [0, 3, 9])
def test_an_ego_direction_is_minus_the_gradient_of_its_class(
    network, resident, plain, true_class
):
    model, examples = network(), resident("train", NUM_EXAMPLES)
    images, labels = plain("train", NUM_EXAMPLES)
    members = labels == true_class
    assert 8 <= members.sum() <= 10
    found = ego_direction(model, examples, true_class, dtype=torch.float64, micro_batch=4)
    assert close(found, -slow_gradient(model, images[members], labels[members]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_many_ego_directions_have_the_bits_of_one_at_a_time(network, resident, dtype):
    model, examples = network(dtype), resident("train", 333)
    found = ego_directions(model, examples, (7, 0, 3, 0), dtype=dtype, micro_batch=16)
    assert list(found) == [7, 0, 3]
    for true_class, direction in found.items():
        alone = ego_direction(model, examples, true_class, dtype=dtype, micro_batch=16)
        assert torch.equal(direction, alone)
        members = examples.of_class(true_class)
        mean = gradient_direction(model, members, dtype=dtype, micro_batch=16)
        assert torch.equal(direction, mean)


def test_all_ego_directions_together_look_at_every_example_once(network, resident):
    model, examples = network(), resident("train", NUM_EXAMPLES)
    seen = []

    def count(_module, inputs):
        seen.append(len(inputs[0]))

    model.register_forward_pre_hook(count)
    calls = []
    ego_directions(
        model,
        examples,
        range(10),
        dtype=torch.float64,
        micro_batch=4,
        on_batch=lambda: calls.append(len(seen)),
    )
    assert sum(seen) == NUM_EXAMPLES
    assert max(seen) <= 4
    # A batch is announced before it is computed, so that a cancelled scan stops soon.
    assert calls == list(range(len(seen)))


def test_a_gradient_pass_ends_with_what_is_raised_before_a_batch(network, resident):
    def leave():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ego_directions(
            network(),
            resident("train", 20),
            [0],
            dtype=torch.float64,
            micro_batch=8,
            on_batch=leave,
        )


def test_a_convolution_sees_its_pixels_side_by_side_in_float32_on_a_cpu(network, resident):
    """channels_last is what makes the pass fast; it changes no more than rounding does."""
    model, examples = network(torch.float32), resident("train", NUM_EXAMPLES)
    formats = []

    def note(_module, inputs):
        formats.append(inputs[0].is_contiguous(memory_format=torch.channels_last))

    model[3].register_forward_pre_hook(note)
    single = gradient_direction(model, examples, dtype=torch.float32, micro_batch=32)
    assert all(formats)
    exact = gradient_direction(network(), examples, dtype=torch.float64, micro_batch=32)
    assert close(single.double(), exact, 1e-5)


def test_ego_directions_weighted_by_their_classes_add_up_to_the_gradient(network, resident):
    model, examples = network(), resident("train", 333)
    weighted = torch.zeros(Layout.of(model).length, dtype=torch.float64)
    for true_class in range(10):
        share = len(examples.of_class(true_class)) / 333
        weighted += share * ego_direction(
            model, examples, true_class, dtype=torch.float64, micro_batch=50
        )
    whole = gradient_direction(model, examples, dtype=torch.float64, micro_batch=50)
    assert close(weighted, whole)


def test_the_micro_batch_does_not_matter(network, resident):
    model, examples = network(), resident("train", NUM_EXAMPLES)

    def at(micro_batch, dtype=torch.float64):
        return gradient_direction(
            model.to(dtype), examples, dtype=dtype, micro_batch=micro_batch
        )

    whole = at(NUM_EXAMPLES)
    for micro_batch in (1, 7, 1_000):
        assert close(at(micro_batch), whole)
    single = at(7, torch.float32)
    assert single.dtype == torch.float32
    assert close(single.double(), whole, 1e-4)


def test_a_small_step_along_a_direction_descends_as_much_as_the_gradient_says(
    network, resident, plain
):
    model, examples = network(), resident("train", NUM_EXAMPLES)
    images, labels = (torch.from_numpy(a) for a in plain("train", NUM_EXAMPLES))
    step = 1e-6
    direction = gradient_direction(model, examples, dtype=torch.float64, micro_batch=32)

    def loss_at(vector):
        twin = copy.deepcopy(model)
        nn.utils.vector_to_parameters(vector, twin.parameters())
        with torch.no_grad():
            return float(functional.cross_entropy(twin(images), labels))

    base = flatten(model)
    slope = (loss_at(base + step * direction) - loss_at(base - step * direction)) / (2 * step)
    assert slope == pytest.approx(-float(direction.square().sum()), rel=1e-6)


def test_making_a_direction_changes_neither_weights_nor_statistics_nor_grads(network, resident):
    model = network().train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    gradient_direction(model, resident("train", 20), dtype=torch.float64, micro_batch=8)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_frozen_parameters_have_no_part_in_a_direction(network, resident):
    model, examples = network(), resident("train", 20)
    whole = gradient_direction(model, examples, dtype=torch.float64, micro_batch=8)
    full = Layout.of(model)
    next(iter(model.parameters())).requires_grad_(requires_grad=False)
    part = gradient_direction(model, examples, dtype=torch.float64, micro_batch=8)
    assert close(part, whole[full.slots[0].stop :])


def test_a_class_without_examples_has_no_ego_direction(network, resident):
    examples = resident("train", 3)
    present = int(examples.labels[0])
    with pytest.raises(LossvizError, match="class 8 has no training examples"):
        ego_direction(network(), examples, 8, dtype=torch.float64, micro_batch=8)
    with pytest.raises(LossvizError, match="class 12 has no training examples"):
        ego_directions(network(), examples, [present, 12], dtype=torch.float64, micro_batch=8)
    nothing = examples.of_class(8)
    assert isinstance(nothing, Examples)
    with pytest.raises(LossvizError, match="at least one example"):
        gradient_direction(network(), nothing, dtype=torch.float64, micro_batch=8)


def test_toward_is_the_difference_and_coordinate_one_is_the_other_model():
    base, other = torch.tensor([1.0, -2.0, 4.0]), torch.tensor([0.5, 1.0, 4.0])
    found = toward_direction(base, other)
    assert found.tolist() == [-0.5, 3.0, 0.0]
    assert torch.equal(base + found, other)
    with pytest.raises(LossvizError, match="2 parameters, this one 3"):
        toward_direction(base, other[:2])


def test_the_cosine_of_two_directions():
    a, b = torch.tensor([3.0, 4.0]), torch.tensor([4.0, 3.0])
    assert cosine(a, b) == pytest.approx(0.96, rel=1e-12)
    assert cosine(a, -a) == pytest.approx(-1.0, rel=1e-12)
    assert cosine(1e-30 * a, 1e-30 * b) == pytest.approx(0.96, rel=1e-6)
    assert np.isnan(cosine(a, torch.zeros(2)))
