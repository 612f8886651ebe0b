"""A data set on the device, and what a model sees of it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lossviz_analysis.weightspace.examples import Examples, balanced_order
from lossviz_trainer.augment import normalise
from lossviz_trainer.datasets.images import Dataset, Images


@dataclass(frozen=True)
class Normaliser:
    """Turns uint8 images into the model's input: (x / 255 - mean) / std by channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """Normalise a batch in the given dtype."""
        return normalise(images, self.mean, self.std, dtype=dtype)


@dataclass(frozen=True, eq=False)
class ResidentData:
    """Both splits on the device, each in its fixed class-balanced order."""

    train: Examples
    test: Examples

    def split(self, name: str) -> Examples:
        """The split of that name."""
        return {"train": self.train, "test": self.test}[name]


def move_to_device(dataset: Dataset, device: torch.device) -> ResidentData:
    """Put a data set on a device as uint8, in class-balanced order.

    Args:
        dataset: The data set.
        device: Where.

    Returns:
        Both splits.
    """
    prepare = Normaliser(dataset.channel_mean, dataset.channel_std)

    def resident(split: Images) -> Examples:
        order = balanced_order(split.labels)
        return Examples(
            torch.from_numpy(split.images[order]).to(device),
            torch.from_numpy(split.labels[order]).to(device),
            prepare,
            len(dataset.class_names),
        )

    return ResidentData(train=resident(dataset.train), test=resident(dataset.test))
