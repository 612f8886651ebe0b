"""Everything that makes an evaluator fast, against the plain model in float64."""

import copy
import itertools
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.weightspace.batchnorm import (
    Frozen,
    Interpolate,
    Recompute,
    recompute_statistics,
)
from lossviz_analysis.weightspace.evaluation import chunk_sums
from lossviz_analysis.weightspace.evaluator import (
    PointEvaluator,
    best_micro_batch,
    forward_bytes,
)
from lossviz_analysis.weightspace.lockstep import Lockstep
from lossviz_analysis.weightspace.vector import MovableModel
from lossviz_trainer.models.mlp import MLP
from lossviz_trainer.models.resnet import ResNet, Shortcut

NUM_EXAMPLES = 230
POINTS = ((0.0, 0.0), (0.4, -0.3), (1.0, 1.0), (0.4, -0.3))


def residual(shortcut: Shortcut = "projection"):
    return ResNet(10, widths=(4, 8), blocks_per_stage=1, shortcut=shortcut)


def preactivated():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


class Branching(nn.Module):
    """Cannot be traced."""

    def __init__(self):
        super().__init__()
        self.body = preactivated()

    def forward(self, x):
        return self.body(x) if x.sum() > -1e9 else self.body(-x)


def settled(model, data):
    """Seeded, with the statistics of the data."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter, generator=generator)
        elif name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1, generator=generator)
    recompute_statistics(model.eval(), data, dtype=torch.float32)
    return model


BUILDS = {
    "projection": residual,
    "padded": lambda: residual("padded"),
    "preactivated": preactivated,
    "branching": Branching,
    "mlp": lambda: MLP(10),
}


@pytest.fixture
def data(resident):
    return resident("train", NUM_EXAMPLES)


@pytest.fixture
def build(data):
    """An evaluator, its model and directions."""

    def make(name="projection", dtype=torch.float32, **options):
        model = settled(BUILDS[name](), data).to(dtype)
        movable = MovableModel(model)
        generator = torch.Generator().manual_seed(1)
        directions = tuple(
            0.3 * movable.base.abs() * torch.randn(len(movable.base), generator=generator)
            for _ in range(2)
        )
        settings: dict[str, Any] = {
            "dtype": dtype,
            "arithmetic": "exact",
            "micro_batch": 64,
            "with_confusion": True,
            "sample": data.inputs(0, 1, dtype),
        } | options
        return PointEvaluator(movable, directions, **settings), movable, directions

    return make


def everything(evaluator, examples):
    return evaluator.chunk_many(examples, range(examples.num_chunks))


def reference(movable, directions, point, examples, before=None):
    """The plain model in float64, moved by hand."""
    model = copy.deepcopy(movable.model).double()
    flat = movable.base.double()
    for direction, coordinate in zip(directions, point, strict=True):
        flat = flat + coordinate * direction.double()
    with torch.no_grad():
        for parameter, values in zip(
            model.parameters(), flat.split([p.numel() for p in model.parameters()]), strict=True
        ):
            parameter.copy_(values.view(parameter.shape))
    if before is not None:
        before(model)
    return torch.stack(
        [
            chunk_sums(
                model,
                examples,
                examples.chunk(number),
                dtype=torch.float64,
                micro_batch=len(examples),
                with_confusion=True,
            )
            for number in range(examples.num_chunks)
        ]
    )


@pytest.mark.oracle
@pytest.mark.parametrize("first_layer_bytes", [0, 10**8])
@pytest.mark.parametrize("name", BUILDS)
def test_sums_are_those_of_the_plain_model_in_float64(build, data, name, first_layer_bytes):
    evaluator, movable, directions = build(name, first_layer_bytes=first_layer_bytes)
    origin = copy.deepcopy(movable.model)
    for point in POINTS:
        assert evaluator.move_to(point)
        found = everything(evaluator, data)
        movable.move_to((), ())
        movable.model.load_state_dict(origin.state_dict())
        expected = reference(movable, directions, point, data)
        torch.testing.assert_close(found[:, :31], expected[:, :31], rtol=1e-5, atol=1e-6)
        assert (found[:, 31:] - expected[:, 31:]).abs().sum() <= 2  # near ties


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("projection", "6 batch norms folded, channels_last"),
        ("preactivated", "1 of 2 batch norms folded, channels_last"),
        ("branching", "not folded: TraceError"),
        ("mlp", "no batch norm to fold"),
    ],
)
def test_the_description_says_how(build, name, words):
    evaluator, *_ = build(name)
    assert evaluator.description.startswith(words)
    assert evaluator.compute_dtype == torch.float32


def test_float64_is_the_plain_model(build, data):
    evaluator, movable, directions = build(dtype=torch.float64, arithmetic="float64")
    assert evaluator.description == "plain float64"
    evaluator.move_to((0.4, -0.3))
    found = everything(evaluator, data)
    torch.testing.assert_close(
        found, reference(movable, directions, (0.4, -0.3), data), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", ["projection", "padded", "preactivated", "mlp"])
def test_neither_batches_nor_groups_nor_threads_change_a_bit(build, data, name):
    found: set[bytes] = set()
    evaluator, *_ = build(name, first_layer_bytes=10**5)
    evaluator.move_to((0.4, -0.3))
    for num_threads, micro_batch in ((1, 1), (1, 7), (1, 50), (1, 64), (1, 1_000), (2, 50)):
        torch.set_num_threads(num_threads)
        evaluator.micro_batch = micro_batch
        found.add(everything(evaluator, data).numpy().tobytes())
        one_by_one = [evaluator.chunk(data, number) for number in range(data.num_chunks)]
        found.add(torch.stack(one_by_one).numpy().tobytes())
    assert len(found) == 1


@pytest.mark.parametrize(
    ("name", "dtype"), [("branching", torch.float32), ("projection", torch.float64)]
)
def test_which_chunks_are_asked_together_changes_no_bit_of_a_plain_model(
    build, data, name, dtype
):
    arithmetic = "exact" if dtype == torch.float32 else "float64"
    evaluator, *_ = build(name, dtype, arithmetic=arithmetic, micro_batch=48)
    evaluator.move_to((0.4, -0.3))
    alone = torch.stack([evaluator.chunk(data, n) for n in range(data.num_chunks)])
    assert torch.equal(alone, everything(evaluator, data))


def test_where_it_has_been_leaves_no_trace(build, data):
    evaluator, *_ = build("mlp", first_layer_bytes=10**5)
    first: dict[tuple[float, ...], Tensor] = {}
    for point in (*POINTS, *reversed(POINTS)):
        evaluator.move_to(point)
        sums = everything(evaluator, data)
        assert torch.equal(first.setdefault(point, sums), sums)


def test_the_origin_is_the_models_own_also_beside_what_is_not_finite(build, data):
    """Nothing of a direction reaches the origin, not even through products kept before."""
    evaluator, movable, (first, second) = build("mlp", first_layer_bytes=10**8)
    broken = PointEvaluator(
        movable,
        (first, torch.full_like(second, torch.nan)),
        dtype=torch.float32,
        arithmetic="exact",
        micro_batch=50,
        with_confusion=True,
        sample=data.inputs(0, 1, torch.float32),
        first_layer_bytes=10**8,
    )
    broken.move_to((0.0, 1.0))
    assert everything(broken, data)[:, 41:51].sum() == NUM_EXAMPLES
    broken.move_to((0.0, 0.0))
    evaluator.move_to((0.0, 0.0))
    assert torch.equal(everything(broken, data), everything(evaluator, data))
    broken.move_to((0.4, 0.0))
    assert everything(broken, data)[:, 41:51].sum() == 0


@pytest.mark.parametrize("statistics", ["frozen", "recompute", "interpolate"])
@pytest.mark.parametrize("name", ["projection", "branching"])
def test_closing_puts_everything_back_to_the_bit(build, data, name, statistics):
    chosen = {
        "frozen": lambda: Frozen(),
        "recompute": lambda: Recompute(data),
        "interpolate": lambda: Interpolate(
            {n: b + 0.5 for n, b in settled(BUILDS[name](), data).named_buffers()}
        ),
    }[statistics]()
    evaluator, movable, _ = build(name, statistics=chosen)
    evaluator.close()
    before = {n: t.clone() for n, t in movable.model.state_dict().items()}
    assert evaluator.move_to((0.4, -0.3))
    everything(evaluator, data)
    changed = [
        n for n, t in movable.model.state_dict().items() if not torch.equal(t, before[n])
    ]
    assert changed
    evaluator.close()
    assert all(torch.equal(before[n], t) for n, t in movable.model.state_dict().items())
    assert not any(module.training for module in movable.model.modules())


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["projection", "preactivated", "branching"])
def test_recomputed_statistics_are_folded_too(build, data, name):
    evaluator, movable, directions = build(name, statistics=Recompute(data))
    for point in ((0.4, -0.3), (0.0, 0.0)):
        evaluator.move_to(point)
        found = everything(evaluator, data)
        expected = reference(
            movable,
            directions,
            point,
            data,
            lambda model: recompute_statistics(model, data, dtype=torch.float64),
        )
        torch.testing.assert_close(found[:, :31], expected[:, :31], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["projection", "branching"])
def test_recomputing_statistics_can_be_abandoned(build, data, name):
    evaluator, movable, _ = build(name, statistics=Recompute(data))
    before = [b.clone() for b in movable.model.buffers()]
    evaluator.before_batch = mock.Mock(side_effect=KeyError)
    with pytest.raises(KeyError):
        evaluator.move_to((0.4, -0.3))
    assert all(torch.equal(a, b) for a, b in zip(movable.model.buffers(), before, strict=True))
    evaluator.before_batch = None
    assert evaluator.move_to((0.4, -0.3))


@pytest.mark.oracle
def test_interpolated_statistics_are_folded_too(build, data):
    evaluator, movable, directions = build()
    here = {n: b.clone() for n, b in movable.model.named_buffers()}
    there = {n: b + 0.25 if b.is_floating_point() else b for n, b in here.items()}
    evaluator, movable, directions = build(statistics=Interpolate(there))

    def halfway(model):
        for name, buffer in model.named_buffers():
            buffer.copy_(here[name] + (0.125 if buffer.is_floating_point() else 0))

    assert evaluator.move_to((0.5, 0.1))
    found = everything(evaluator, data)
    expected = reference(movable, directions, (0.5, 0.1), data, halfway)
    torch.testing.assert_close(found[:, :31], expected[:, :31], rtol=1e-5, atol=1e-6)


def test_a_point_with_a_negative_variance_cannot_be_evaluated(build):
    _, movable, _ = build()
    there = {
        n: b * 0.5 if n.endswith("running_var") else b for n, b in movable.model.named_buffers()
    }
    evaluator, *_ = build(statistics=Interpolate(there))
    assert [evaluator.move_to((t, 0.0)) for t in (1.9, 2.1, -0.5)] == [True, False, True]


def test_what_overflows_is_counted(build, data):
    evaluator, *_ = build("padded")
    evaluator.move_to((1e30, 1e30))
    sums = everything(evaluator, data)
    assert sums[:, 41:51].sum() == NUM_EXAMPLES
    assert sums.isfinite().all()


def test_fewer_bits_are_close_and_what_they_cannot_hold_is_counted(build, data):
    exact, *_ = build()
    fast, *_ = build(arithmetic="fast", fast_dtype=torch.bfloat16)
    assert fast.compute_dtype == torch.bfloat16
    for evaluator in (exact, fast):
        evaluator.move_to((0.4, -0.3))
    found, expected = everything(fast, data), everything(exact, data)
    torch.testing.assert_close(
        found[:, 11:21].sum(), expected[:, 11:21].sum(), rtol=0.05, atol=0
    )
    assert not torch.equal(found, expected)
    half, *_ = build("mlp", arithmetic="fast", fast_dtype=torch.float16)
    if half.compute_dtype == torch.float16:
        half.move_to((1e6, 1e6))
        assert everything(half, data)[:, 41:51].sum() == NUM_EXAMPLES


def running_out_above(evaluator, limit):
    """The evaluator's device has memory for so many examples at a time."""
    forward, sizes = evaluator._forward, []

    def pass_(inputs):
        sizes.append(len(inputs))
        if len(inputs) > limit:
            raise torch.OutOfMemoryError("not that much")
        return forward(inputs)

    evaluator._forward = pass_
    return sizes


def test_without_enough_memory_the_micro_batch_is_halved(build, data):
    evaluator, *_ = build(micro_batch=100)
    evaluator.move_to((0.4, -0.3))
    expected = everything(evaluator, data)
    running_out_above(evaluator, 30)
    assert torch.equal(everything(evaluator, data), expected)
    assert (evaluator.micro_batch, evaluator.num_halvings) == (25, 2)
    assert torch.equal(everything(evaluator, data), expected)
    assert evaluator.num_halvings == 2


def test_without_memory_for_products_the_first_layer_is_computed_everywhere(build, data):
    evaluator, *_ = build("mlp", first_layer_bytes=10**8)
    evaluator.move_to((0.4, -0.3))
    expected = everything(evaluator, data)
    with mock.patch.object(evaluator._first, "outputs", side_effect=torch.OutOfMemoryError):
        found = everything(evaluator, data)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert evaluator.num_halvings == 0


def test_without_memory_for_one_example_it_says_so(build, data):
    evaluator, *_ = build(micro_batch=8)
    evaluator.move_to((0.4, -0.3))
    running_out_above(evaluator, 0)
    with pytest.raises(LossvizError, match="not enough memory for one example"):
        everything(evaluator, data)


@pytest.mark.parametrize("name", ["projection", "branching"])
def test_without_memory_for_new_statistics_it_says_so(build, data, name):
    evaluator, movable, _ = build(name, statistics=Recompute(data))
    assert evaluator.computes_in_lockstep == (name == "projection")
    with (
        mock.patch.object(Lockstep, "recompute", side_effect=torch.OutOfMemoryError),
        mock.patch.object(movable.model, "forward", side_effect=torch.OutOfMemoryError),
        pytest.raises(LossvizError, match="1,000 examples at a time"),
    ):
        evaluator.move_to((0.4, -0.3))


WAITING = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__")


@pytest.mark.parametrize("name", ["projection", "preactivated", "mlp"])
@pytest.mark.parametrize("statistics", ["frozen", "recompute", "interpolate"])
def test_nothing_waits_for_the_device(build, data, name, statistics):
    buffers = dict(settled(BUILDS[name](), data).named_buffers())
    chosen = {
        "frozen": Frozen(),
        "recompute": Recompute(data),
        "interpolate": Interpolate(buffers),
    }[statistics]
    evaluator, *_ = build(name, statistics=chosen, first_layer_bytes=10**8)

    def wait(*_):
        raise AssertionError("the host waits for the device")

    with mock.patch.multiple(Tensor, **dict.fromkeys(WAITING, wait)):
        with pytest.raises(AssertionError, match="waits"):
            bool(torch.ones(1))
        evaluator.move_to((0.4, -0.3))
        for _ in range(2):
            everything(evaluator, data)
            evaluator.chunk(data, 0)


class Centred(nn.Module):
    """Looks at the whole batch, which no good classifier does."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 32 * 32, 10)

    def forward(self, x):
        x = x.flatten(1)
        return self.linear(x - x.mean(0))


def test_chunks_do_not_share_batches_where_examples_are_not_independent(build, data):
    with mock.patch.dict(BUILDS, centred=Centred):
        evaluator, *_ = build("centred")
    assert "its logits depend on the batch" in evaluator.description
    evaluator.move_to((0.4, -0.3))
    alone = torch.stack([evaluator.chunk(data, n) for n in range(data.num_chunks)])
    assert torch.equal(alone, everything(evaluator, data))


@pytest.mark.slow
def test_compiled_code_follows_the_model(build, data):
    evaluator, *_ = build()
    evaluator.move_to((0.4, -0.3))
    before = everything(evaluator, data)
    assert evaluator.compile("eager")
    assert evaluator.description.endswith(", compiled")
    torch.testing.assert_close(everything(evaluator, data), before, rtol=1e-5, atol=1e-6)
    plain, *_ = build()
    sums: list[Tensor] = []
    for point in POINTS[:3]:
        for each in (evaluator, plain):
            each.move_to(point)
        sums.append(everything(evaluator, data))
        torch.testing.assert_close(sums[-1], everything(plain, data), rtol=1e-5, atol=1e-6)
    assert not torch.equal(sums[0], sums[1])


def test_code_that_keeps_old_weights_is_not_used(build, data):
    """As inductor does when it is told to freeze."""

    def frozen(module, **_):
        twin = copy.deepcopy(module)
        return lambda inputs: twin.forward(inputs)

    with mock.patch("torch.compile", frozen):
        evaluator, *_ = build(should_compile=True)
    assert "not compiled" in evaluator.description
    evaluator.move_to((0.4, -0.3))
    first = everything(evaluator, data)
    evaluator.move_to((1.0, 1.0))
    assert not torch.equal(first, everything(evaluator, data))


def test_compiled_code_sees_whole_micro_batches_only(build, data):
    sizes: list[int] = []

    def counting(module, **_):
        def forward(inputs):
            sizes.append(len(inputs))
            return module.forward(inputs)

        return forward

    with mock.patch("torch.compile", counting):
        evaluator, *_ = build(should_compile=True, micro_batch=60)
    plain, *_ = build(micro_batch=60)
    for each in (evaluator, plain):
        each.move_to((0.4, -0.3))
    assert torch.equal(everything(evaluator, data), everything(plain, data))
    assert set(sizes) == {60}  # 230 = 3 * 60 + 50, filled up
    sizes.clear()
    small = replace(data, images=data.images[:20], labels=data.labels[:20])
    assert torch.equal(everything(evaluator, small), everything(plain, small))
    assert sizes == []  # less than half of one is not worth it


def test_what_has_no_graph_is_not_compiled(build):
    evaluator, *_ = build("branching", should_compile=True)
    assert "not compiled: it has no graph" in evaluator.description


def test_the_fastest_micro_batch_is_found_and_slow_ones_are_not_tried(build, data):
    evaluator, *_ = build()
    sizes = running_out_above(evaluator, 10**9)
    seconds = {10: 1.0, 20: 1.0, 50: 5.0, 100: 50.0}
    now = [0.0, 0]

    def clock():
        if len(sizes) > now[1]:
            now[:] = now[0] + seconds[sizes[-1]], len(sizes)
        return now[0]

    found = best_micro_batch(evaluator, data, clock, sizes=(10, 20, 50, 100))
    assert found == (20, pytest.approx(20.0))
    assert set(sizes) == {10, 20, 50}
    assert evaluator.micro_batch == 64


def test_micro_batches_that_do_not_fit_are_not_chosen(build, data):
    evaluator, *_ = build()
    running_out_above(evaluator, 30)
    ticks = itertools.count()
    size, rate = best_micro_batch(evaluator, data, lambda: next(ticks), sizes=(10, 20, 50))
    assert (size, rate) == (20, 20.0)
    assert best_micro_batch(evaluator, data, lambda: next(ticks), sizes=(25, 500))[0] == 25


def test_memory_grows_with_the_micro_batch_and_the_weights(build, data):
    evaluator, movable, _ = build(micro_batch=10)
    small = forward_bytes(evaluator, data)
    evaluator.micro_batch = 110
    # The largest activation has 4 channels of 32 x 32, float32; several are alive.
    assert forward_bytes(evaluator, data) - small >= 100 * 2 * 4 * 32 * 32 * 4
    assert small >= 4 * 4 * len(movable.base)
    assert all(len(m._forward_hooks) == 0 for m in movable.model.modules())
