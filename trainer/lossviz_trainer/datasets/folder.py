"""An image folder tree `train/CLASS/*`, `test/CLASS/*`, decoded once and kept as arrays.

Three steps: list the tree, look for its arrays in the cache, otherwise decode. Names beginning
with a dot are ignored everywhere, as are files that lie beside the class folders.
"""

import hashlib
import itertools
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.datasets.array_cache import keep_splits, read_splits
from lossviz_trainer.datasets.images import (
    IMAGE_SHAPE,
    IMAGE_SIZE,
    Dataset,
    Images,
    Pixels,
    checked_dataset,
)

# Part of every cache key: raise it when decoding changes, and older caches are not read.
_DECODER_VERSION = 1

# Decoding and resizing release the interpreter lock, the bookkeeping around them does not. On 2
# cores threads halve the time of photographs (500 x 375); with 60,000 images of 32 x 32 they
# gain nothing, 4 s either way. Two processes take 2 s for those, but more for a small folder,
# import the caller's main module again and can be left behind. Beyond 8 threads the queue for
# the lock grows.
_MAX_THREADS = 8
_CHUNK = 64

# What Pillow's many decoders raise for a damaged file.
_UNREADABLE_IMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True, kw_only=True)
class _ImageFile:
    """One file of the tree."""

    path: Path
    """Where it lies."""

    label: int
    """The position of its folder among the class names."""

    size: int
    """Its length in bytes."""

    modified_ns: int
    """When it was last written."""


@dataclass(frozen=True, kw_only=True)
class _Tree:
    """The files of both splits, in order of class and then of name."""

    class_names: tuple[str, ...]
    """The names of the class folders, sorted."""

    train: tuple[_ImageFile, ...]
    """The files below `train`."""

    test: tuple[_ImageFile, ...]
    """The files below `test`."""


def load_folder(
    folder: Path, *, cache_folder: Path, on_progress: Callable[[int, int], None] | None = None
) -> Dataset:
    """The images of a folder tree as 32 x 32 arrays.

    Classes are the folders, sorted by name. Images of another size are resized to 32 x 32 with
    Pillow's antialiased bilinear filter, which does not keep their proportions; transparency is
    dropped. Whether images may be mirrored the tree cannot say; it is taken to be so, as for
    photographs.

    The decoded arrays are kept in `cache_folder` under a digest of the folder's path and of
    every file's name, size and time of writing, so they are decoded again when anything in the
    tree changes. A damaged cache is decoded again too, and one that cannot be written costs
    time only.

    Args:
        folder: The folder that holds `train` and `test`.
        cache_folder: Where to keep the arrays, 3,072 bytes an image; created if it is missing.
        on_progress: Called in this thread with the numbers of images decoded and to decode; not
            called when the cache serves.

    Returns:
        The dataset, named like the folder.
    """
    folder = folder.resolve()
    tree = _listed(folder)
    owner = hashlib.blake2b(os.fsencode(folder), digest_size=8).hexdigest()
    cache = cache_folder / f"{owner}-{_content_digest(folder, tree)}.npz"
    arrays = read_splits(cache, num_train=len(tree.train), num_test=len(tree.test))
    if arrays is None:
        pixels = _decoded((*tree.train, *tree.test), on_progress)
        arrays = pixels[: len(tree.train)], pixels[len(tree.train) :]
        keep_splits(cache, *arrays, outdated=f"{owner}-*.npz")
    return checked_dataset(
        name=folder.name,
        class_names=tree.class_names,
        train=_labelled(arrays[0], tree.train),
        test=_labelled(arrays[1], tree.test),
        source=str(folder),
        flip_is_label_preserving=True,
    )


def _labelled(pixels: Pixels, files: Sequence[_ImageFile]) -> Images:
    return Images(
        images=pixels, labels=np.array([file.label for file in files], dtype=np.int64)
    )


def _listed(folder: Path) -> _Tree:
    for split in ("train", "test"):
        if not (folder / split).is_dir():
            raise LossvizError(
                f"an image folder holds train/CLASS/* and test/CLASS/*; "
                f"{folder} has no folder named {split!r}"
            )
    try:
        train_classes, test_classes = (
            sorted(entry.name for entry in _visible(folder / split) if entry.is_dir())
            for split in ("train", "test")
        )
        for name in sorted(set(train_classes) ^ set(test_classes)):
            here, there = ("train", "test") if name in train_classes else ("test", "train")
            raise LossvizError(
                f"train and test must have the same class folders; {folder / here / name} "
                f"has no counterpart in {folder / there}"
            )
        train, test = (
            tuple(
                itertools.chain.from_iterable(
                    _class_files(folder / split / name, label)
                    for label, name in enumerate(train_classes)
                )
            )
            for split in ("train", "test")
        )
    except OSError as error:
        raise LossvizError(
            f"cannot list {error.filename or folder}: {error.strerror or error}"
        ) from error
    return _Tree(class_names=tuple(train_classes), train=train, test=test)


def _visible(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))


def _class_files(folder: Path, label: int) -> Iterator[_ImageFile]:
    for entry in sorted(_visible(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            raise LossvizError(
                f"a class folder holds images only; {entry.path} is a folder: "
                "move its images up"
            )
        status = entry.stat()
        yield _ImageFile(
            path=Path(entry.path),
            label=label,
            size=status.st_size,
            modified_ns=status.st_mtime_ns,
        )


def _content_digest(folder: Path, tree: _Tree) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{_DECODER_VERSION} {IMAGE_SIZE}\0".encode())
    for file in (*tree.train, *tree.test):
        digest.update(os.fsencode(file.path.relative_to(folder)))
        digest.update(f"\0{file.size} {file.modified_ns}\0".encode())
    return digest.hexdigest()


def _decoded(
    files: Sequence[_ImageFile], on_progress: Callable[[int, int], None] | None
) -> Pixels:
    pixels = np.empty((len(files), *IMAGE_SHAPE), dtype=np.uint8)

    def decode_chunk(start: int) -> int:
        stop = min(start + _CHUNK, len(files))
        for k in range(start, stop):
            pixels[k] = _decoded_file(files[k].path)
        return stop

    num_threads = min(_MAX_THREADS, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(num_threads, thread_name_prefix="decode") as threads:
        # Results come in the order of the files, so of several unreadable images the first is
        # named, every time; leaving early cancels the chunks that have not begun.
        for num_done in threads.map(decode_chunk, range(0, len(files), _CHUNK)):
            if on_progress is not None:
                on_progress(num_done, len(files))
    return pixels


def _decoded_file(path: Path) -> Pixels:
    try:
        with Image.open(path) as opened:
            # Pillow would clip the 16 and 32 bit greys to white without a word.
            if opened.mode[0] in "IF":
                raise LossvizError(
                    f"images must have 8 bits a channel; {path} has mode {opened.mode!r}: "
                    "convert it"
                )
            image = opened.convert("RGB")
    except _UNREADABLE_IMAGE as error:
        reason = " ".join(str(error).replace(str(path), "it").split()) or type(error).__name__
        raise LossvizError(
            f"cannot read {path} as an image ({reason}); repair or remove it"
        ) from error
    if image.size != (IMAGE_SIZE, IMAGE_SIZE):
        image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)
