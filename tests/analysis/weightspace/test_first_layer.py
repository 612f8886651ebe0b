"""A first layer that is computed once, against one that is computed everywhere."""

import pytest
import torch
from torch import nn

from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.first_layer import FirstLayer
from lossviz_analysis.weightspace.folding import Twin
from lossviz_analysis.weightspace.fusing import fuse, has_fused_kernels
from lossviz_analysis.weightspace.vector import MovableModel

NUM_EXAMPLES = 230
EVERYTHING = 10**9


def examples():
    generator = torch.Generator().manual_seed(5)
    return Examples(
        torch.randn(NUM_EXAMPLES, 3, 4, 4, generator=generator),
        torch.arange(NUM_EXAMPLES) % 5,
        lambda images, dtype: images.to(dtype),
        5,
    )


def perceptron(*after, bias=True):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(48, 16, bias=bias), *after, nn.ReLU(), nn.Linear(16, 5)
        ).eval()


def along(movable):
    generator = torch.Generator().manual_seed(2)
    return tuple(torch.randn(len(movable.base), generator=generator) * 0.1 for _ in range(2))


def split_off(model, limit=EVERYTHING, *, with_kernels=False):
    movable = MovableModel(model)
    twin = Twin(
        model, examples().inputs(0, 2, torch.float32), dtype=torch.float32, channels_last=True
    )
    if with_kernels and twin.graph is not None:
        fuse(twin.graph)
    directions = along(movable)
    return movable, twin, directions, FirstLayer.of(twin, movable, directions, limit)


def with_statistics(norm):
    generator = torch.Generator().manual_seed(3)
    norm.running_mean.copy_(torch.randn(norm.num_features, generator=generator))
    norm.running_var.copy_(torch.rand(norm.num_features, generator=generator) + 0.5)
    return norm


@pytest.mark.oracle
@pytest.mark.parametrize("with_kernels", [False, True])
@pytest.mark.parametrize(
    "build",
    [
        perceptron,
        lambda: perceptron(bias=False),
        lambda: perceptron(with_statistics(nn.BatchNorm1d(16))),
        lambda: perceptron(nn.ReLU(), with_statistics(nn.BatchNorm1d(16))),
    ],
)
def test_logits_are_those_of_the_model_at_every_point(build, with_kernels):
    if with_kernels and not has_fused_kernels(torch.float32):
        pytest.skip("this torch has no such kernels")
    model, data = build(), examples()
    movable, twin, directions, first = split_off(model, with_kernels=with_kernels)
    assert first is not None
    for point in ((0.0, 0.0), (0.7, -0.3), (0.0, 2.0), (0.7, -0.3)):
        # The model's first layer stays wherever it is; everything else moves.
        movable.move_to(directions, point, leave=first.slot)
        twin.refresh(leave=first.weight)
        with torch.inference_mode():
            found = torch.cat(
                [
                    first.tail(first.outputs(data, k, point))
                    for k in reversed(range(data.num_chunks))
                ][::-1]
            )
        movable.move_to(directions, point)
        with torch.no_grad():
            expected = model(data.inputs(0, len(data), torch.float32))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)


def test_a_chunk_is_kept_for_its_place_alone():
    data = examples()
    per_example = 3 * 16 * 4  # the base and two directions, 16 float32 each
    *_, first = split_off(perceptron(), limit=100 * per_example)
    assert first is not None
    kept = [first.holds(data, k) for k in range(data.num_chunks)]
    assert kept == [stop <= 100 for stop in data.bounds[1:]]
    assert 0 < sum(kept) < data.num_chunks
    first.outputs(data, data.num_chunks - 1, (0.1, 0.1))
    assert [first.holds(data, k) for k in range(data.num_chunks)] == kept


def test_products_are_computed_once():
    data, calls = examples(), []
    seen = Examples(
        data.images,
        data.labels,
        lambda images, dtype: calls.append(len(images)) or images.to(dtype),
        5,
    )
    *_, first = split_off(perceptron())
    assert first is not None
    for step in range(4):
        first.outputs(seen, 0, (0.1 * step, 1.0))
    assert calls == [50]


class Skipping(nn.Module):
    """The images are heard a second time."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(48, 48), nn.Linear(48, 5)

    def forward(self, x):
        x = x.flatten(1)
        return self.last(self.first(x).relu() + x)


def frozen_first():
    model = perceptron()
    model[1].requires_grad_(requires_grad=False)
    return model


@pytest.mark.parametrize(
    "model",
    [
        Skipping(),
        frozen_first(),
        nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(32, 5)),
        nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 5)).eval(),
        nn.Sequential(nn.Linear(4, 4), nn.Flatten(), nn.Linear(48, 5)),  # not of a matrix
    ],
)
def test_other_models_have_no_such_layer(model):
    *_, first = split_off(model)
    assert first is None
