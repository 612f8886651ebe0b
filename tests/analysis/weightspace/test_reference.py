"""Every direction, normalisation and batch-norm mode against a straight-line reference.

The reference is written out with loops over lists, in Python's floats: convolution, batch norm
and their derivatives are spelled from their definitions, and it shares no code with what it
checks but the weights, the images and a sequence of random numbers.
"""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lossviz_analysis.weightspace.batchnorm import Frozen, Interpolate, Recompute
from lossviz_analysis.weightspace.directions import (
    ego_directions,
    gaussian_direction,
    gradient_direction,
    toward_direction,
)
from lossviz_analysis.weightspace.evaluator import PointEvaluator
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.normalise import normalise
from lossviz_analysis.weightspace.orthonormal import orthonormalise
from lossviz_analysis.weightspace.trajectory import principal_components
from lossviz_analysis.weightspace.vector import Layout, MovableModel, flatten

pytestmark = pytest.mark.oracle
NUM_CLASSES, NUM_EXAMPLES = 3, 24
SIDE = 4
EPSILON = 1e-5
"""Of the batch norms, torch's default."""
SEED, CLASS = 11, 1


# The network, forwards: convolution, norm, ReLU, strided convolution, norm, ReLU, linear.


def convolution(x, weight, bias, stride):
    """Cross-correlation with a border of one zero."""
    size = (len(x[0]) - 1) // stride + 1
    return [
        [
            [
                bias[o]
                + sum(
                    weight[o][c][u][v] * x[c][i][j]
                    for c in range(len(x))
                    for u, v, i, j in window(a, b, stride, len(x[0]))
                )
                for b in range(size)
            ]
            for a in range(size)
        ]
        for o in range(len(weight))
    ]


def window(a, b, stride, side):
    """Places in a 3 x 3 filter, and the pixels under them, that lie inside the image."""
    for u in range(3):
        for v in range(3):
            i, j = stride * a + u - 1, stride * b + v - 1
            if 0 <= i < side and 0 <= j < side:
                yield u, v, i, j


def mapped(x, function):
    """A function of channel and value, value by value."""
    return [[[function(c, v) for v in row] for row in x[c]] for c in range(len(x))]


def norm_layer(x, weight, bias, mean, var):
    return mapped(
        x, lambda c, v: weight[c] * (v - mean[c]) / math.sqrt(var[c] + EPSILON) + bias[c]
    )


def relu(x):
    return mapped(x, lambda _, v: max(v, 0.0))


def linear(x, weight, bias):
    return [
        b + sum(w * v for w, v in zip(row, x, strict=True))
        for row, b in zip(weight, bias, strict=True)
    ]


def flat(x):
    return [v for channel in x for row in channel for v in row]


def network(w, image):
    """Logits, and every value on the way; statistics are among the weights."""
    steps = {"image": image}
    steps["0"] = convolution(image, w["0.weight"], w["0.bias"], 1)
    steps["1"] = norm_layer(
        steps["0"], w["1.weight"], w["1.bias"], w["1.running_mean"], w["1.running_var"]
    )
    steps["2"] = relu(steps["1"])
    steps["3"] = convolution(steps["2"], w["3.weight"], [0.0] * len(w["3.weight"]), 2)
    steps["4"] = norm_layer(
        steps["3"], w["4.weight"], w["4.bias"], w["4.running_mean"], w["4.running_var"]
    )
    steps["5"] = relu(steps["4"])
    return linear(flat(steps["5"]), w["7.weight"], w["7.bias"]), steps


def cross_entropy(logits, label):
    peak = max(logits)
    return peak + math.log(math.fsum(math.exp(v - peak) for v in logits)) - logits[label]


# The network, backwards, for one example.


def gradient(w, image, label):
    logits, steps = network(w, image)
    peak = max(logits)
    total = math.fsum(math.exp(v - peak) for v in logits)
    above = [math.exp(v - peak) / total - (k == label) for k, v in enumerate(logits)]
    found: dict[str, Any] = {"7.bias": above}
    features = flat(steps["5"])
    found["7.weight"] = [[a * v for v in features] for a in above]
    below = [
        sum(above[k] * w["7.weight"][k][i] for k in range(len(above)))
        for i in range(len(features))
    ]
    side = len(steps["5"][0])
    grid = [
        [[below[(c * side + a) * side + b] for b in range(side)] for a in range(side)]
        for c in range(len(steps["5"]))
    ]
    grid = through_norm(w, "4", steps["3"], steps["4"], grid, found)
    found["3.weight"], grid, _ = through_convolution(steps["2"], w["3.weight"], grid, 2)
    grid = through_norm(w, "1", steps["0"], steps["1"], grid, found)
    found["0.weight"], _, found["0.bias"] = through_convolution(
        steps["image"], w["0.weight"], grid, 1
    )
    return {name: np.array(values) for name, values in found.items()}


def through_norm(w, name, before, after, above, found):
    """Derivatives through ReLU and a norm with fixed statistics."""
    mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    weight = found[f"{name}.weight"] = [0.0] * len(mean)
    bias = found[f"{name}.bias"] = [0.0] * len(mean)
    below = mapped(before, lambda _c, _v: 0.0)
    for c in range(len(mean)):
        scale = 1 / math.sqrt(var[c] + EPSILON)
        for a, row in enumerate(above[c]):
            for b, value in enumerate(row):
                passed = value if after[c][a][b] > 0 else 0.0
                weight[c] += passed * (before[c][a][b] - mean[c]) * scale
                bias[c] += passed
                below[c][a][b] = passed * w[f"{name}.weight"][c] * scale
    return below


def through_convolution(x, weight, above, stride):
    """Derivatives by weight, by input and by bias."""
    by_weight: Any = np.zeros(np.shape(weight)).tolist()
    by_input: Any = np.zeros(np.shape(x)).tolist()
    for o, channel in enumerate(above):
        for a, row in enumerate(channel):
            for b, value in enumerate(row):
                for c in range(len(x)):
                    for u, v, i, j in window(a, b, stride, len(x[0])):
                        by_weight[o][c][u][v] += value * x[c][i][j]
                        by_input[c][i][j] += value * weight[o][c][u][v]
    return by_weight, by_input, [sum(map(sum, channel)) for channel in above]


# Directions, as tensors by name.


def slow_gradient_direction(w, images, labels):
    total = {}
    for image, label in zip(images, labels, strict=True):
        for name, values in gradient(w, image, label).items():
            total[name] = total.get(name, 0.0) + values
    return {name: -total[name] / len(labels) for name in w if name in total}


def by_name(model, vector):
    """Cuts a vector up in the order of the parameters."""
    found, start = {}, 0
    for name, parameter in model.named_parameters():
        size = math.prod(parameter.shape)
        found[name] = np.reshape(vector[start : start + size], parameter.shape)
        start += size
    assert start == len(vector)
    return found


def length(values):
    return math.sqrt(math.fsum(v * v for v in np.ravel(values).tolist()))


def slow_normalise(direction, weights, how, *, keep):
    match how:
        case "none":
            return direction
        case "model":
            factor = length([length(w) for w in weights.values()]) / length(
                [length(d) for d in direction.values()]
            )
            return {name: factor * values for name, values in direction.items()}
        case _:
            pass
    found = {}
    for name, d in direction.items():
        w = weights[name]
        if d.ndim <= 1:
            found[name] = d / length(d) * length(w) if keep and length(d) else 0.0 * d
        elif how == "layer":
            found[name] = d / length(d) * length(w)
        else:
            rows = zip(d, w, strict=True)
            found[name] = np.stack([a / length(a) * length(b) for a, b in rows])
    return found


def slow_orthonormalise(first, second):
    first = np.concatenate([np.ravel(values) for values in first])
    second = np.concatenate([np.ravel(values) for values in second])
    first = first / length(first)
    second = second - math.fsum((first * second).tolist()) * first
    return first, second / length(second)


# Points.


def slow_statistics(w, images):
    """Running statistics of all images in one batch: deeper ones see the batch's own."""
    found = dict(w)
    values = [convolution(x, w["0.weight"], w["0.bias"], 1) for x in images]
    for name, onwards in (("1", "3.weight"), ("4", None)):
        pools = [
            [v for x in values for row in x[c] for v in row] for c in range(len(values[0]))
        ]
        mean = [math.fsum(pool) / len(pool) for pool in pools]
        squares = [
            math.fsum((v - m) ** 2 for v in pool) for pool, m in zip(pools, mean, strict=True)
        ]
        found[f"{name}.running_mean"] = mean
        found[f"{name}.running_var"] = [s / (len(pools[0]) - 1) for s in squares]
        if onwards is not None:
            var = [s / len(pools[0]) for s in squares]
            seen = [
                relu(norm_layer(x, w[f"{name}.weight"], w[f"{name}.bias"], mean, var))
                for x in values
            ]
            values = [convolution(x, w[onwards], [0.0] * len(w[onwards]), 2) for x in seen]
    return found


def moved(weights, buffers, steps):
    """Lists of w + sum of t d, with the statistics beside them."""
    found = {}
    for name, values in weights.items():
        there = values.copy()
        for t, direction in steps:
            there = there + t * direction[name]
        found[name] = there.tolist()
    return found | buffers


def slow_point(w, images, labels):
    """Sums by class in the stored order, examples, loss, its square, mistakes; confusion."""
    sums = np.zeros((4, NUM_CLASSES))
    confusion = np.zeros((NUM_CLASSES, NUM_CLASSES))
    for image, label in zip(images, labels, strict=True):
        logits, _ = network(w, image)
        loss, guess = cross_entropy(logits, label), logits.index(max(logits))
        sums[:, label] += (1, loss, loss**2, guess != label)
        confusion[label, guess] += 1
    return sums, confusion


# What is checked.


def build(seed, steps=6):
    """A small trained network in eval mode, and the data it was trained on."""
    generator = torch.Generator().manual_seed(7)
    labels = torch.arange(NUM_EXAMPLES) % NUM_CLASSES
    shapes = torch.randn(NUM_CLASSES, 2, SIDE, SIDE, generator=generator, dtype=torch.float64)
    noise = torch.randn(NUM_EXAMPLES, 2, SIDE, SIDE, generator=generator, dtype=torch.float64)
    images = shapes[labels] + 2 * noise
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16, NUM_CLASSES),
        ).double()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    path = [flatten(model)]
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimiser.step()
        path.append(flatten(model))
    optimiser.zero_grad()
    return model.eval(), images, labels, path


class Bench:
    """One model in both worlds."""

    def __init__(self):
        self.model, images, labels, self.path = build(1)
        self.other = build(2)[0]
        self.examples = Examples(
            images, labels, lambda batch, dtype: batch.to(dtype), NUM_CLASSES
        )
        self.images, self.labels = images.tolist(), labels.tolist()
        self.weights = {n: p.detach().numpy().copy() for n, p in self.model.named_parameters()}
        self.buffers = {n: b.tolist() for n, b in self.model.named_buffers()}
        self.there = {n: b.tolist() for n, b in self.other.named_buffers()}
        self.here = moved(self.weights, self.buffers, ())

    def direction(self, kind):
        """As the program makes it."""
        model, examples = copy.deepcopy(self.model), self.examples
        match kind:
            case "gaussian":
                return gaussian_direction(Layout.of(model), SEED, dtype=torch.float64)
            case "gradient":
                return gradient_direction(model, examples, dtype=torch.float64, micro_batch=7)
            case "ego":
                return ego_directions(
                    model, examples, [CLASS, 0], dtype=torch.float64, micro_batch=7
                )[CLASS]
            case "toward":
                return toward_direction(flatten(model), flatten(self.other))
            case "pca":
                return principal_components(
                    self.path.__getitem__, len(self.path), components=(2,)
                ).directions[0]
            case _:
                raise AssertionError(kind)

    def slow_direction(self, kind):
        """As science defines it."""
        match kind:
            case "gaussian":
                generator = torch.Generator().manual_seed(SEED)
                num_weights = sum(w.size for w in self.weights.values())
                draws = torch.randn(num_weights, generator=generator, dtype=torch.float32)
                return by_name(self.model, draws.tolist())
            case "gradient":
                return slow_gradient_direction(self.here, self.images, self.labels)
            case "ego":
                pairs = zip(self.images, self.labels, strict=True)
                members = [image for image, label in pairs if label == CLASS]
                return slow_gradient_direction(self.here, members, [CLASS] * len(members))
            case "toward":
                return {
                    name: p.detach().numpy() - self.weights[name]
                    for name, p in self.other.named_parameters()
                }
            case "pca":
                rows = np.array([v.tolist() for v in self.path])
                _, _, vectors = np.linalg.svd(rows - rows[-1], full_matrices=False)
                second = vectors[1]
                return by_name(self.model, second * np.sign(second[np.abs(second).argmax()]))
            case _:
                raise AssertionError(kind)


@pytest.fixture(scope="module")
def bench():
    return Bench()


@pytest.fixture(scope="module")
def evaluate(bench):
    """Sums at points, by the program."""

    def at(directions, points, *, statistics, arithmetic):
        dtype = torch.float64 if arithmetic == "float64" else torch.float32
        model = copy.deepcopy(bench.model).to(dtype)
        evaluator = PointEvaluator(
            MovableModel(model),
            tuple(d.to(dtype) for d in directions),
            dtype=dtype,
            arithmetic=arithmetic,
            micro_batch=10,
            with_confusion=True,
            sample=bench.examples.inputs(0, 1, dtype),
            statistics=statistics,
        )
        for point in points:
            if not evaluator.move_to(point):
                yield None
                continue
            found = evaluator.chunk(bench.examples, 0).numpy()
            yield found[1:].copy()
        evaluator.close()

    return at


def agree(found, expected, *, rtol=1e-10, atol=1e-12):
    sums, confusion = expected
    by_class = found[: 5 * NUM_CLASSES].reshape(5, NUM_CLASSES)
    assert not by_class[4].any()
    assert np.array_equal(by_class[0], sums[0])
    np.testing.assert_allclose(by_class[1], sums[1], rtol=rtol, atol=atol * NUM_EXAMPLES)
    np.testing.assert_allclose(by_class[2], sums[2], rtol=2 * rtol, atol=atol * NUM_EXAMPLES)
    assert np.array_equal(by_class[3], sums[3])
    assert np.array_equal(found[5 * NUM_CLASSES :].reshape(confusion.shape), confusion)


KINDS = ["gaussian", "gradient", "ego", "toward", "pca"]
NORMALISATIONS = ["none", "model", "layer", "filter"]


def both(bench, kind, how, *, keep=False):
    """One direction by the program and by the reference."""
    layout, weights = Layout.of(bench.model), flatten(bench.model)
    fast = normalise(bench.direction(kind), weights, layout, how, keep_bias_and_bn=keep)
    slow = slow_normalise(bench.slow_direction(kind), bench.weights, how, keep=keep)
    return fast, slow


@pytest.mark.parametrize("keep", [False, True], ids=["zero", "keep"])
@pytest.mark.parametrize("how", NORMALISATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_direction_is_what_its_definition_says(bench, kind, how, keep):
    fast, slow = both(bench, kind, how, keep=keep)
    largest = max(np.abs(values).max() for values in slow.values())
    for name, values in by_name(bench.model, fast.tolist()).items():
        np.testing.assert_allclose(values, slow[name], rtol=1e-9, atol=1e-9 * largest)


@pytest.mark.parametrize("how", NORMALISATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_curve_along_a_direction_is_the_reference_s(bench, evaluate, kind, how):
    fast, slow = both(bench, kind, how)
    points = [(-0.7,), (0.0,), (0.4,)]
    for found, (t,) in zip(
        evaluate([fast], points, statistics=Frozen(), arithmetic="float64"), points, strict=True
    ):
        w = moved(bench.weights, bench.buffers, [(t, slow)])
        agree(found, slow_point(w, bench.images, bench.labels), rtol=1e-8)


@pytest.mark.parametrize(
    ("arithmetic", "rtol", "atol"), [("float64", 1e-9, 1e-12), ("exact", 1e-5, 1e-6)]
)
@pytest.mark.parametrize("mode", ["frozen", "recompute"])
def test_a_plane_is_the_reference_s(bench, evaluate, mode, arithmetic, rtol, atol):
    fast, slow = zip(both(bench, "ego", "none"), both(bench, "gaussian", "filter"), strict=True)
    statistics = Frozen() if mode == "frozen" else Recompute(bench.examples)
    points = [(a, b) for a in (-0.5, 0.0, 0.5) for b in (-0.6, 0.0, 0.6)]
    seen = set()
    sums = evaluate(fast, points, statistics=statistics, arithmetic=arithmetic)
    for found, point in zip(sums, points, strict=True):
        w = moved(bench.weights, bench.buffers, list(zip(point, slow, strict=True)))
        if mode == "recompute":
            w = slow_statistics(w, bench.images)
        expected = slow_point(w, bench.images, bench.labels)
        agree(found, expected, rtol=rtol, atol=atol)
        seen.add(float(expected[0][3].sum()))
    # Neither perfect everywhere nor equally bad.
    assert len(seen) > 3, seen


@pytest.mark.parametrize(
    ("arithmetic", "rtol", "atol"), [("float64", 1e-9, 1e-12), ("exact", 1e-5, 1e-6)]
)
@pytest.mark.parametrize("mode", ["frozen", "recompute", "interpolate"])
def test_a_line_between_two_models_is_the_reference_s(
    bench, evaluate, mode, arithmetic, rtol, atol
):
    fast, slow = both(bench, "toward", "none")
    match mode:
        case "frozen":
            statistics = Frozen()
        case "recompute":
            statistics = Recompute(bench.examples)
        case _:
            statistics = Interpolate(dict(bench.other.named_buffers()))
    points = [(-0.5,), (0.0,), (0.3,), (1.0,), (1.2,), (40.0,)]
    sums = evaluate([fast], points, statistics=statistics, arithmetic=arithmetic)
    num_skipped = 0
    for found, (t,) in zip(sums, points, strict=True):
        w = moved(bench.weights, bench.buffers, [(t, slow)])
        if mode == "recompute":
            w = slow_statistics(w, bench.images)
        elif mode == "interpolate":
            for name in ("1.running_mean", "1.running_var", "4.running_mean", "4.running_var"):
                ends = zip(bench.buffers[name], bench.there[name], strict=True)
                w[name] = [(1 - t) * here + t * there for here, there in ends]
            if min(w["1.running_var"] + w["4.running_var"]) < 0:
                assert found is None
                num_skipped += 1
                continue
        agree(found, slow_point(w, bench.images, bench.labels), rtol=rtol, atol=atol)
    assert num_skipped == (mode == "interpolate")


def test_an_orthonormal_plane_is_the_reference_s(bench, evaluate):
    """Coordinates are then distances in weight space."""
    (first, slow_first), (second, slow_second) = (
        both(bench, "gradient", "none"),
        both(bench, "ego", "none"),
    )
    fast = orthonormalise(first, second)
    slow = slow_orthonormalise(slow_first.values(), slow_second.values())
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-8, atol=1e-10)
    point = (0.3, -0.4)
    step = point[0] * fast[0] + point[1] * fast[1]
    assert float(step.norm()) == pytest.approx(0.5, rel=1e-12)
    [found] = evaluate(fast, [point], statistics=Frozen(), arithmetic="float64")
    named = [by_name(bench.model, axis) for axis in slow]
    w = moved(bench.weights, bench.buffers, list(zip(point, named, strict=True)))
    agree(found, slow_point(w, bench.images, bench.labels), rtol=1e-8)


def test_the_reference_s_derivative_is_its_own_finite_difference(bench):
    """Else two wrong derivations could agree."""
    image, label = bench.images[0], bench.labels[0]
    found = gradient(bench.here, image, label)
    rng = np.random.default_rng(0)
    for name, values in found.items():
        index = tuple(int(rng.integers(n)) for n in values.shape)
        ends = []
        for sign in (1, -1):
            nudged = {n: w.copy() for n, w in bench.weights.items()}
            nudged[name][index] += sign * 1e-6
            logits, _ = network(moved(nudged, bench.buffers, ()), image)
            ends.append(cross_entropy(logits, label))
        slope = (ends[0] - ends[1]) / 2e-6
        assert slope == pytest.approx(float(values[index]), rel=1e-5, abs=1e-8)
