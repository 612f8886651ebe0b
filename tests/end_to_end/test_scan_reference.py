"""Scans from the command line against a straight-line reference in float64.

The reference copies the model, adds the directions, and loops over a DataLoader. It shares with
the program the architectures and the data sets, and nothing else.
"""

import copy
import json

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

pytestmark = [pytest.mark.oracle, pytest.mark.slow]


@pytest.fixture
def scanned(cli, tmp_path):
    """Runs `lossviz-tui scan`, whose worker is a process of its own, and `export`."""

    def go(run, *words):
        words = ("--precision", "float64", "--device", "cpu", *words)
        scan = cli("scan", run, *words)
        assert scan.code == 0, scan.err
        scan_id = scan.out.splitlines()[-1]
        out = tmp_path / "scan.npz"
        exported = cli("export", run, "--scan", scan_id, "--out", out, "--directions")
        assert exported.code == 0, exported.err
        with np.load(out) as archive:
            return dict(archive)

    return go


@pytest.fixture(scope="module")
def origin(model_of, images_of):
    """The last model of a run in float64, and its splits."""

    def load(run):
        model = model_of(run, 4).double()
        return model, {s: images_of(run, s, torch.float64) for s in ("train", "test")}

    return load


def loader_of(split):
    return DataLoader(TensorDataset(*split), batch_size=60)


def gradient(model, split, true_class=None):
    """The mean gradient of the cross-entropy, by tensor, over a class or over all."""
    images, labels = split
    if true_class is not None:
        images, labels = images[labels == true_class], labels[labels == true_class]
    model = copy.deepcopy(model)
    for batch, truth in loader_of((images, labels)):
        functional.cross_entropy(model(batch), truth, reduction="sum").backward()
    return [p.grad / len(labels) for p in model.parameters()]


def moved(model, *terms):
    """A copy of a model with coordinates times directions added to its parameters."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for coordinate, direction in terms:
            for parameter, part in zip(model.parameters(), direction, strict=True):
                parameter.add_(coordinate * part)
    return model


def measured(model, split):
    """Confusion counts, mean cross-entropy, and mean cross-entropy by class."""
    counts = np.zeros((10, 10), int)
    losses: list[list[float]] = [[] for _ in range(10)]
    with torch.no_grad():
        for images, labels in loader_of(split):
            logits = model(images)
            each = functional.cross_entropy(logits, labels, reduction="none")
            for truth, called, loss in zip(
                labels.tolist(), logits.argmax(1).tolist(), each.tolist(), strict=True
            ):
                counts[truth, called] += 1
                losses[truth].append(loss)
    every = [loss for of_class in losses for loss in of_class]
    return counts, float(np.mean(every)), [float(np.mean(of_class)) for of_class in losses]


def assert_equal(arrays, model, splits, directions):
    """Every point of an exported scan against the reference."""
    axes = [arrays[name] for name in ("t1", "t2") if name in arrays]
    assert len(axes) == len(directions)
    names = [name for name in splits if f"{name}_loss" in arrays]
    assert names
    for index in np.ndindex(*(len(axis) for axis in axes)):
        coordinates = [axis[i] for axis, i in zip(axes, index, strict=True)]
        there = moved(model, *zip(coordinates, directions, strict=True))
        for name in names:
            counts, loss, class_losses = measured(there, splits[name])
            assert np.array_equal(arrays[f"{name}_confusion"][index], counts), (name, index)
            mistakes = counts.sum() - np.trace(counts)
            rate = arrays[f"{name}_mistake_rate"][index]
            assert round(rate * counts.sum()) == mistakes
            assert rate == mistakes / counts.sum()
            assert arrays[f"{name}_loss"][index] == pytest.approx(loss, rel=1e-6, abs=0)
            found = arrays[f"{name}_class_loss"][index]
            np.testing.assert_allclose(found, class_losses, rtol=1e-6, atol=0)
    shape = tuple(len(axis) for axis in axes)
    for name in names:
        assert arrays[f"{name}_loss"].shape == shape
        assert arrays[f"{name}_confusion"].shape == (*shape, 10, 10)
        # A surface, not a plateau: the points are told apart.
        assert len(np.unique(arrays[f"{name}_loss"])) == np.prod(shape)


def flat(direction):
    return torch.cat([part.reshape(-1) for part in direction]).numpy()


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("digits_run", ("--points", 5, "--span", 0.1, "--split", "test")),
        ("batch_norm_run", ("--points", 3, "--span", 0.02)),
    ],
)
def test_an_ego_plane(request, scanned, origin, which, words):
    run = request.getfixturevalue(which)
    model, splits = origin(run)
    arrays = scanned(run, "--kind", "ego", "--classes", "8,3", *words)
    asked = json.loads(str(arrays["request"]))
    assert [d["class_index"] for d in asked["directions"]] == [8, 3]
    # A positive coordinate descends for its class.
    directions = [[-g for g in gradient(model, splits["train"], k)] for k in (8, 3)]
    for stored, direction in zip(arrays["directions"], directions, strict=True):
        np.testing.assert_allclose(stored, flat(direction), rtol=1e-9, atol=1e-12)
    span = asked["ranges"][0][1]
    np.testing.assert_allclose(arrays["t1"], np.linspace(-span, span, words[1]), atol=1e-17)
    assert_equal(arrays, model, splits, directions)


def filter_normalised(raw, model):
    """By its definition (Li et al. 2018, section 4), one filter after the other."""
    result, start = [], 0
    for parameter in model.parameters():
        part = raw[start : start + parameter.numel()].reshape(parameter.shape).double()
        start += parameter.numel()
        scaled = torch.zeros_like(part)
        if parameter.dim() > 1:  # biases and batch norm stay zero
            for k, (d, w) in enumerate(zip(part, parameter.detach(), strict=True)):
                if d.norm() > 0:
                    scaled[k] = d / d.norm() * w.norm()
        result.append(scaled)
    assert start == len(raw)
    return result


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("digits_run", ("--points", 3, "--split", "test")),
        ("batch_norm_run", ("--points", 3, "--span", 0.3, "--dims", 1)),
    ],
)
def test_a_filter_normalised_gaussian_plane(request, scanned, origin, which, words):
    run = request.getfixturevalue(which)
    model, splits = origin(run)
    arrays = scanned(run, "--kind", "gaussian", "--seed", 11, *words)
    num_parameters = sum(p.numel() for p in model.parameters())
    directions = []
    for spec in json.loads(str(arrays["request"]))["directions"]:
        assert spec["normalise"] == "filter"
        generator = torch.Generator().manual_seed(spec["seed"])
        raw = torch.randn(num_parameters, generator=generator)
        directions.append(filter_normalised(raw, model))
    for stored, direction in zip(arrays["directions"], directions, strict=True):
        np.testing.assert_allclose(stored, flat(direction), rtol=1e-12, atol=0)
    assert len(directions) == len(np.unique(arrays["directions"], axis=0))
    assert_equal(arrays, model, splits, directions)


def test_a_line_along_the_gradient(digits_run, scanned, origin):
    model, splits = origin(digits_run)
    arrays = scanned(digits_run, "--kind", "gradient", "--points", 5, "--split", "both")
    descent = [-g for g in gradient(model, splits["train"])]
    np.testing.assert_allclose(arrays["directions"][0], flat(descent), rtol=1e-9, atol=1e-12)
    assert_equal(arrays, model, splits, [descent])


def test_a_line_to_the_initial_weights(batch_norm_run, scanned, origin, model_of):
    model, splits = origin(batch_norm_run)
    other = model_of(batch_norm_run, 1).double()
    arrays = scanned(batch_norm_run, "--kind", "toward", "--toward", 0, "--points", 3)
    np.testing.assert_allclose(arrays["t1"], [-0.5, 0.5, 1.5])
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    line = [(there - here).detach() for here, there in pairs]
    assert_equal(arrays, model, splits, [line])
