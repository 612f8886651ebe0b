"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) as torchvision keeps them."""

from pathlib import Path
from typing import Literal

import numpy as np
from torchvision import datasets

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.datasets.images import Dataset, Images, checked_dataset

CifarName = Literal["cifar10", "cifar100"]

_READERS: dict[CifarName, type[datasets.CIFAR10]] = {
    "cifar10": datasets.CIFAR10,
    "cifar100": datasets.CIFAR100,
}


def load_cifar(name: CifarName, *, data_root: Path, download: bool) -> Dataset:
    """The published splits: 50,000 images to train on, 10,000 to test.

    The files are pickles, but torchvision opens only those whose checksum is the published one.

    Args:
        name: Which of the two; CIFAR-100 with its 100 fine labels.
        data_root: Where the unpacked folder lies, or should.
        download: Whether to fetch what is missing.

    Returns:
        The dataset, with the class names in the files.

    Raises:
        LossvizError: If the data is missing or damaged and was not, or could not be, fetched.
    """
    reader = _READERS[name]
    unpacked = data_root / reader.base_folder
    try:
        train = reader(data_root, train=True, download=download)
        test = reader(data_root, train=False)
    # Without download, torchvision raises RuntimeError alone; the network and the disk add
    # OSError.
    except (OSError, RuntimeError) as error:
        attempt = f", and fetching it failed ({error})" if download else ""
        raise LossvizError(
            f"{name} is missing or damaged in {unpacked}{attempt}; unpack {reader.filename} in "
            f"{data_root}, or name the folder that holds {reader.base_folder} as the data root"
        ) from error
    return checked_dataset(
        name=name,
        class_names=train.classes,
        train=_images(train),
        test=_images(test),
        source=str(unpacked),
        flip_is_label_preserving=True,
    )


def _images(split: datasets.CIFAR10) -> Images:
    return Images(
        images=np.ascontiguousarray(split.data.transpose(0, 3, 1, 2)),
        labels=np.asarray(split.targets, dtype=np.int64),
    )
