"""Real digits, a small network with batch norm, and arithmetic on one thread."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from lossviz_analysis.weightspace.examples import Examples, balanced_order
from lossviz_trainer.datasets.digits import load_digits
from lossviz_trainer.resident import Normaliser


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits():
    """The digits, 1,437 to train on and 360 to test."""
    return load_digits()


@pytest.fixture(scope="session")
def resident(digits):
    """The first so many digits of a split as a scan sees them."""

    def take(split, how_many):
        images = digits.train if split == "train" else digits.test
        order = balanced_order(images.labels)[:how_many]
        return Examples(
            torch.from_numpy(images.images[order]),
            torch.from_numpy(images.labels[order]),
            Normaliser(digits.channel_mean, digits.channel_std),
            10,
        )

    return take


@pytest.fixture(scope="session")
def plain(digits):
    """The same digits prepared by NumPy: normalised float64 images and labels."""

    def take(split, how_many):
        images = digits.train if split == "train" else digits.test
        order = balanced_order(images.labels)[:how_many]
        mean = np.array(digits.channel_mean).reshape(1, 3, 1, 1)
        std = np.array(digits.channel_std).reshape(1, 3, 1, 1)
        return (images.images[order] / 255.0 - mean) / std, images.labels[order]

    return take


def _network():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


@pytest.fixture(scope="session")
def trained(plain):
    """Twelve steps of SGD: good enough to be right about most digits, not about all."""
    images, labels = plain("train", 600)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = _network().double()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for step in range(12):
        batch = slice(50 * step, 50 * step + 50)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimiser.step()
    optimiser.zero_grad()
    return model.eval()


@pytest.fixture
def network(trained):
    """A copy of a small trained network with batch norm, in eval mode."""

    def build(dtype=torch.float64):
        return copy.deepcopy(trained).to(dtype)

    return build
