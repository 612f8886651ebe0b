"""Images and labels from a numpy `.npz` file.

Four arrays, named as Keras names them: `x_train`, `y_train`, `x_test`, `y_test`; and, if the
file has it, `class_names`. Pickles are never opened.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy.lib.npyio import NpzFile

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.datasets.images import (
    IMAGE_SHAPE,
    IMAGE_SIZE,
    NUM_CHANNELS,
    Dataset,
    Images,
    Labels,
    Pixels,
    checked_dataset,
)

_REQUIRED = ("x_train", "y_train", "x_test", "y_test")
_OPTIONAL = "class_names"
_ACCEPTED_SHAPES = "[n, 3, 32, 32], [n, 32, 32, 3] or, for grey images, [n, 32, 32]"

# What numpy and zipfile raise for a file that is truncated, altered, or no archive at all.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def load_npz(path: Path) -> Dataset:
    """The dataset in a file of arrays.

    Images are uint8, or floating point in [0, 1], which is rounded to the nearest of 256
    levels; labels are integers of any width. Without `class_names` the classes are called "0",
    "1" and so on. Whether the images may be mirrored the file cannot say; it is taken to be so.

    Args:
        path: The `.npz` file.

    Returns:
        The dataset, named like the file.
    """
    arrays = _read(path)
    train, test = (
        Images(
            images=_pixels(arrays[f"x_{split}"], f"x_{split} in {path}"),
            labels=_labels(arrays[f"y_{split}"], f"y_{split} in {path}"),
        )
        for split in ("train", "test")
    )
    if _OPTIONAL in arrays:
        class_names = _class_names(arrays[_OPTIONAL], path)
    else:
        largest = max(split.labels.max(initial=-1) for split in (train, test))
        class_names = tuple(str(k) for k in range(int(largest) + 1))
    return checked_dataset(
        name=path.stem,
        class_names=class_names,
        train=train,
        test=test,
        source=str(path),
        flip_is_label_preserving=True,
    )


def _read(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    try:
        # Opened here, because numpy leaves a damaged archive open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise LossvizError(
                    f"{path} holds a single array; write it with numpy.savez and the names "
                    f"{', '.join(_REQUIRED)}"
                )
            missing = [name for name in _REQUIRED if name not in archive]
            if missing:
                raise LossvizError(
                    f"{path} needs arrays named {', '.join(_REQUIRED)}; it lacks "
                    f"{', '.join(missing)} and holds {', '.join(archive.files) or 'none'}"
                )
            wanted = [name for name in (*_REQUIRED, _OPTIONAL) if name in archive]
            return {name: _member(archive, name, path) for name in wanted}
    except _UNREADABLE as error:
        raise LossvizError(
            f"cannot read {path} as an .npz file ({_in_one_line(error)}); "
            "write it with numpy.savez"
        ) from error


def _member(archive: NpzFile, name: str, path: Path) -> np.ndarray[Any, Any]:
    try:
        return archive[name]
    except _UNREADABLE as error:
        raise LossvizError(
            f"cannot read {name} in {path} ({_in_one_line(error)}); "
            "arrays of Python objects are never opened, as that could run anything"
        ) from error


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _pixels(array: np.ndarray[Any, Any], where: str) -> Pixels:
    if array.shape[1:] not in {
        IMAGE_SHAPE,
        (IMAGE_SIZE, IMAGE_SIZE, NUM_CHANNELS),
        (IMAGE_SIZE, IMAGE_SIZE),
    }:
        raise LossvizError(
            f"{where} must have shape {_ACCEPTED_SHAPES}; got {list(array.shape)} (images of "
            "another size can be given as an image folder, which is resized)"
        )
    images = array if array.dtype == np.uint8 else _rounded(array, where)
    if images.ndim == 3:
        return np.repeat(images[:, np.newaxis], NUM_CHANNELS, axis=1)
    if images.shape[1:] != IMAGE_SHAPE:
        images = images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images)


def _rounded(array: Float[np.ndarray, "n *image"], where: str) -> UInt8[np.ndarray, "n *image"]:
    if array.dtype.kind != "f":
        raise LossvizError(
            f"{where} must be uint8, or floating point in [0, 1]; got {array.dtype}"
        )
    if array.size == 0:
        return array.astype(np.uint8)
    low, high = array.min(), array.max()
    # Asked this way round so that NaN, which compares false, is refused as well.
    if not (low >= 0 and high <= 1):
        raise LossvizError(
            f"{where} is floating point and must lie in [0, 1]; got {low:g} to {high:g} "
            "(pixels from 0 to 255 belong in uint8)"
        )
    return np.rint(array * array.dtype.type(255)).astype(np.uint8)


def _labels(array: np.ndarray[Any, Any], where: str) -> Labels:
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise LossvizError(
            f"{where} must be one integer for each image, of shape [n]; "
            f"got {array.dtype} {list(array.shape)}"
        )
    return array.astype(np.int64)


def _class_names(array: np.ndarray[Any, Any], path: Path) -> tuple[str, ...]:
    if array.dtype.kind != "U" or array.ndim != 1:
        raise LossvizError(
            f"class_names in {path} must be a list of strings; "
            f"got {array.dtype} {list(array.shape)}"
        )
    return tuple(str(name) for name in array)
