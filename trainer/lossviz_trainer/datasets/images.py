"""What a dataset is: two splits of labelled images, checked once.

Whoever holds a `Dataset` made by `checked_dataset` need not check it again: shapes, dtypes,
label ranges and class names fit together, and every class has examples in both splits.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from jaxtyping import Int64, UInt8

from lossviz_analysis.errors import LossvizError

NUM_CHANNELS = 3
IMAGE_SIZE = 32
IMAGE_SHAPE = (NUM_CHANNELS, IMAGE_SIZE, IMAGE_SIZE)

Pixels: TypeAlias = UInt8[np.ndarray, "n 3 32 32"]
"""Images as stored: red, green, blue; rows; columns; 0 is black."""

Labels: TypeAlias = Int64[np.ndarray, " n"]
"""The class of each image, as an index into the class names."""

ChannelValues: TypeAlias = tuple[float, float, float]
"""One number for red, green and blue."""

# Small enough that the widened copy of a block stays in cache.
_BLOCK = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Labelled images of one split."""

    images: Pixels
    """The pixels."""

    labels: Labels
    """The class of each image."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A training and a test split over the same classes; made by `checked_dataset`."""

    name: str
    """What to call it on screen and in the record of a run."""

    class_names: tuple[str, ...]
    """One distinct name for each class, in the order of the labels."""

    train: Images
    """What the model learns from; every class has at least one example."""

    test: Images
    """What it never learns from; every class has at least one example."""

    channel_mean: ChannelValues
    """Mean of each channel over the *full* training split, in [0, 1].

    Subsets keep the figures of the full split, so that runs on different subsets see equally
    normalised images.
    """

    channel_std: ChannelValues
    """Population standard deviation of each channel over the full training split; positive.

    A channel that never varies has 1, not 0: such channels are common in microscopy, and
    dividing by 1 leaves a channel of zeros.
    """

    flip_is_label_preserving: bool
    """Whether a mirror image shows the same class: true of photographs, false of digits."""

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that change when any pixel, label or class name here changes.

        It covers the arrays as they are, so a subset has its own. Computed on first use, at
        about 1 GB/s.
        """
        digest = hashlib.blake2b(digest_size=16)
        for class_name in self.class_names:
            digest.update(class_name.encode() + b"\0")
        for split in (self.train, self.test):
            digest.update(f"{len(split)}\0".encode())
            digest.update(np.ascontiguousarray(split.images).data)
            digest.update(np.ascontiguousarray(split.labels, dtype="<i8").data)
        return digest.hexdigest()


def checked_dataset(
    *,
    name: str,
    class_names: Iterable[str],
    train: Images,
    test: Images,
    source: str,
    flip_is_label_preserving: bool,
) -> Dataset:
    """Check that the parts fit together and measure the channels.

    Args:
        name: What to call the dataset.
        class_names: One name for each class, in the order of the labels.
        train: The whole training split, before any subset is taken.
        test: The test split.
        source: The file or folder the parts came from, named in every error.
        flip_is_label_preserving: Whether a mirror image shows the same class.

    Returns:
        The dataset, which needs no further checks.
    """
    names = tuple(class_names)
    _check_class_names(names, source)
    for split, images in (("training", train), ("test", test)):
        _check_arrays(images, split, source)
        _check_labels(images.labels, names, split, source)
    mean, std = channel_statistics(train.images)
    return Dataset(
        name=name,
        class_names=names,
        train=train,
        test=test,
        channel_mean=mean,
        channel_std=std,
        flip_is_label_preserving=flip_is_label_preserving,
    )


def channel_statistics(images: Pixels) -> tuple[ChannelValues, ChannelValues]:
    """Mean and population standard deviation of each channel, in units where white is 1.

    The sums are exact integers, so neither the order nor the number of the images costs
    precision.

    Args:
        images: At least one image.

    Returns:
        The means, in [0, 1], and the standard deviations, with 1 for a channel that never
        varies.
    """
    sums = np.zeros(NUM_CHANNELS, dtype=np.int64)
    squares = np.zeros(NUM_CHANNELS, dtype=np.int64)
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK].astype(np.uint32)
        sums += block.sum(axis=(0, 2, 3), dtype=np.int64)
        squares += np.square(block, out=block).sum(axis=(0, 2, 3), dtype=np.int64)
    count = len(images) * IMAGE_SIZE * IMAGE_SIZE
    red, green, blue = (
        _mean_and_std(int(total), int(square), count)
        for total, square in zip(sums, squares, strict=True)
    )
    return (red[0], green[0], blue[0]), (red[1], green[1], blue[1])


def _mean_and_std(total: int, square: int, count: int) -> tuple[float, float]:
    # Python integers: count * square exceeds 64 bits beyond a few million images.
    scaled_variance = count * square - total * total
    std = math.sqrt(scaled_variance) / (255 * count) if scaled_variance else 1.0
    return total / (255 * count), std


def _check_class_names(names: tuple[str, ...], source: str) -> None:
    if len(names) < 2:
        raise LossvizError(
            f"{source}: a classifier needs at least 2 classes; got {len(names)} {list(names)}"
        )
    for k, name in enumerate(names):
        if not name or not name.isprintable():
            raise LossvizError(
                f"{source}: the name of a class must be printable text; class {k} is {name!r}"
            )
        if name in names[:k]:
            raise LossvizError(
                f"{source}: class names must differ; {name!r} names classes "
                f"{names.index(name)} and {k}"
            )


def _check_arrays(split: Images, split_name: str, source: str) -> None:
    images, labels = split.images, split.labels
    if images.dtype != np.uint8 or images.shape[1:] != IMAGE_SHAPE or images.ndim != 4:
        raise LossvizError(
            f"{source}: {split_name} images must be uint8 of shape [n, 3, 32, 32]; "
            f"got {images.dtype} {list(images.shape)}"
        )
    if labels.dtype != np.int64 or labels.ndim != 1:
        raise LossvizError(
            f"{source}: {split_name} labels must be int64 of shape [n]; "
            f"got {labels.dtype} {list(labels.shape)}"
        )
    if len(images) != len(labels):
        raise LossvizError(
            f"{source}: every {split_name} image needs one label; "
            f"got {len(images)} images and {len(labels)} labels"
        )


def _check_labels(
    labels: Labels, class_names: tuple[str, ...], split_name: str, source: str
) -> None:
    num_classes = len(class_names)
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(outside) > 0:
        raise LossvizError(
            f"{source}: {split_name} labels must lie in 0 to {num_classes - 1}, one for "
            f"each of the {num_classes} class names; label {outside[0]} is {labels[outside[0]]}"
        )
    empty = np.flatnonzero(np.bincount(labels, minlength=num_classes) == 0)
    if len(empty) > 0:
        raise LossvizError(
            f"{source}: class {class_names[empty[0]]!r} has no {split_name} examples; "
            "give it some, or remove the class"
        )
