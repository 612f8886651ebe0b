"""Small models with batch norm, and digits on the device."""

import dataclasses
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from lossviz_analysis.weightspace.examples import balanced_order
from lossviz_trainer.datasets.digits import load_digits
from lossviz_trainer.datasets.images import Dataset, Images
from lossviz_trainer.resident import ResidentData, move_to_device


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Two cores are shared, and small tensors lose more by threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """All digits."""
    return load_digits()


@pytest.fixture(scope="session")
def some_digits(digits: Dataset) -> Callable[[int, int], Dataset]:
    """So many digits of each split, the classes as even as numbers allow."""

    def take(num_train: int, num_test: int) -> Dataset:
        splits: dict[str, Images] = {}
        for name, split, number in (
            ("train", digits.train, num_train),
            ("test", digits.test, num_test),
        ):
            chosen = balanced_order(split.labels, seed=1)[:number]
            splits[name] = Images(images=split.images[chosen], labels=split.labels[chosen])
        return dataclasses.replace(digits, train=splits["train"], test=splits["test"])

    return take


@pytest.fixture(scope="session")
def resident(digits: Dataset) -> ResidentData:
    """All digits on the CPU."""
    return move_to_device(digits, torch.device("cpu"))


@pytest.fixture
def tiny() -> Callable[[int], nn.Module]:
    """A convolution, batch norm and a linear layer; the seed decides the weights."""

    def build(seed: int, width: int = 6) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, width, 3, stride=4),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(width * 64, 10),
        )

    return build
