"""Small models with batch norm, and digits on the device."""

import dataclasses
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.lock import is_held
from lossviz_analysis.store.writer import RunWriter
from lossviz_analysis.weightspace.examples import balanced_order
from lossviz_trainer.datasets.digits import load_digits
from lossviz_trainer.datasets.images import Dataset, Images
from lossviz_trainer.datasets.npz import load_npz
from lossviz_trainer.loop import SCALAR_COLUMNS
from lossviz_trainer.models import build_model
from lossviz_trainer.problem import describe_data
from lossviz_trainer.resident import ResidentData, move_to_device
from lossviz_trainer.state import capture
from lossviz_trainer.worker import work


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


@pytest.fixture(scope="module")
def make_run(
    tmp_path_factory: pytest.TempPathFactory, some_digits: Callable[[int, int], Dataset]
) -> Callable[[str, int, int], Path]:
    """Makes a run of so many digits with two checkpoints: seeds 0 and 1, never trained."""

    def make(model_name: str, num_train: int, num_test: int) -> Path:
        folder = tmp_path_factory.mktemp("scanned")
        source = folder / "some.npz"
        chosen = some_digits(num_train, num_test)
        arrays = {
            f"{axis}_{split}": getattr(getattr(chosen, split), values)
            for axis, values in (("x", "images"), ("y", "labels"))
            for split in ("train", "test")
        }
        np.savez(source, **arrays)
        dataset = load_npz(source)
        path = folder / "x.zarr"
        described = describe_data(dataset, str(source), folder, train_examples=None, seed=0)
        create_run(
            path,
            RunDescription(
                run_id="x",
                created_at="",
                class_names=dataset.class_names,
                scalar_columns=SCALAR_COLUMNS,
                model={"name": model_name, "seed": 0},
                dataset=described,
            ),
        )
        with RunWriter(path) as writer:
            for seed in (0, 1):
                model = build_model(model_name, 10, seed=seed)
                writer.commit_checkpoint(capture(model, None, epoch=seed))
        return path

    return make


@pytest.fixture(scope="module")
def original(make_run: Callable[[str, int, int], Path]) -> Path:
    """A perceptron and two chunks of training examples."""
    return make_run("mlp", 1_200, 60)


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """A copy of a perceptron's run, to be treated as one likes."""
    return shutil.copytree(original, tmp_path / "x.zarr")


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Works off a run's queue in this process, without its manners towards other processes."""
    monkeypatch.setattr(os, "nice", int)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}

    def go(run: Path, idle_seconds: float = 0.02) -> int:
        code = work(run, idle_seconds=idle_seconds)
        assert not is_held(run / "scans")
        return code

    yield go
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a run is to be recorded."""
    return tmp_path / "run.zarr"


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the recorder warned of so far."""
    caplog.set_level(logging.WARNING, "lossviz_trainer")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "lossviz_trainer"]
