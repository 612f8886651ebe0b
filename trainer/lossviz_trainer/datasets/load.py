"""The one door to data: from the word after `--data` to a dataset."""

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.datasets.folder import load_folder
from lossviz_trainer.datasets.images import Dataset, Images
from lossviz_trainer.datasets.npz import load_npz
from lossviz_trainer.datasets.subset import class_balanced_subset

DATA_WORDS = ("digits", "cifar10", "cifar100")
"""Sources that are words, not paths; they win over a folder of that name."""


def load_dataset(
    source: str,
    *,
    cache_folder: Path,
    data_root: Path,
    train_examples: int | None,
    seed: int,
    on_progress: Callable[[int, int], None] | None,
    download: bool,
) -> Dataset:
    """Read a dataset and, if asked, take a class-balanced subset of its training split.

    Args:
        source: "digits", "cifar10", "cifar100", an image folder, or a file ending in `.npz`.
            The three words win over a folder of that name; write `./digits` for the folder.
        cache_folder: Where decoded image folders are kept.
        data_root: Where CIFAR lies, or is fetched to.
        train_examples: Size of the training split, or None for all of it. The test split stays
            whole.
        seed: Decides which training examples; nothing else here is random.
        on_progress: Called with the numbers of images decoded and to decode, while a folder is
            read.
        download: Whether missing CIFAR files may be fetched.

    Returns:
        The dataset; its channel statistics are those of the full training split.
    """
    dataset = _whole_dataset(source, cache_folder, data_root, on_progress, download=download)
    if train_examples is None:
        return dataset
    chosen = class_balanced_subset(
        dataset.train.labels, train_examples, seed, class_names=dataset.class_names
    )
    train = Images(images=dataset.train.images[chosen], labels=dataset.train.labels[chosen])
    return dataclasses.replace(dataset, train=train)


def _late(name: str) -> Any:  # noqa: ANN401  # a module
    # scikit-learn and torchvision take seconds to import, and no run needs both.
    return importlib.import_module(f"lossviz_trainer.datasets.{name}")


def _whole_dataset(
    source: str,
    cache_folder: Path,
    data_root: Path,
    on_progress: Callable[[int, int], None] | None,
    *,
    download: bool,
) -> Dataset:
    match source:
        case "digits":
            return _late("digits").load_digits()
        case "cifar10" | "cifar100":
            return _late("cifar").load_cifar(source, data_root=data_root, download=download)
        case _:
            path = Path(source).expanduser()
    if path.is_dir():
        return load_folder(path, cache_folder=cache_folder, on_progress=on_progress)
    if path.is_file() and path.suffix == ".npz":
        return load_npz(path)
    found = "a file of another kind" if path.exists() else "nothing"
    raise LossvizError(
        "data is digits, cifar10, cifar100, a folder with train/CLASS/* and test/CLASS/*, or "
        f"an .npz file; got {source!r}, where there is {found}"
    )
