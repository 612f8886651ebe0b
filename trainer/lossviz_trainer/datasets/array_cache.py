"""Decoded images on disk: written beside and renamed over, checked when read, never trusted."""

import contextlib
import logging
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from lossviz_trainer.datasets.images import IMAGE_SHAPE, Pixels

_logger = logging.getLogger(__name__)

# What numpy and zipfile raise for an archive that is truncated or altered.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_splits(cache: Path, *, num_train: int, num_test: int) -> tuple[Pixels, Pixels] | None:
    """The images that `keep_splits` wrote.

    The archive carries a checksum of every array, which zipfile verifies as it reads.

    Args:
        cache: The file.
        num_train: How many training images it should hold.
        num_test: How many test images it should hold.

    Returns:
        The training and the test images, or None if there is no such file or it is damaged.
    """
    try:
        # Opened here, because numpy leaves a damaged archive open.
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            splits = archive["train"], archive["test"]
    except FileNotFoundError:
        return None
    except _UNREADABLE as error:
        _logger.warning("decoding again, as the cache %s is damaged (%s)", cache, error)
        return None
    for pixels, num_images in zip(splits, (num_train, num_test), strict=True):
        if pixels.dtype != np.uint8 or pixels.shape != (num_images, *IMAGE_SHAPE):
            _logger.warning("decoding again, as the cache %s holds other arrays", cache)
            return None
    return splits


def keep_splits(cache: Path, train: Pixels, test: Pixels, *, outdated: str) -> None:
    """Write a cache, uncompressed, or log why it could not be written.

    A reader sees the whole file or none, and one that still reads an outdated file can finish.

    Args:
        cache: The file; its folder is created if it is missing.
        train: The training images.
        test: The test images.
        outdated: Pattern of file names in the same folder that this cache replaces.
    """
    temporary = cache.with_name(f".{cache.name}.{os.getpid()}.tmp")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez(file, train=train, test=test)
        temporary.replace(cache)
    except OSError as error:
        _logger.warning("the decoded images are not kept in %s (%s)", cache, error)
        with contextlib.suppress(OSError):
            temporary.unlink()
        return
    for other in cache.parent.glob(outdated):
        if other != cache:
            with contextlib.suppress(OSError):
                other.unlink()
