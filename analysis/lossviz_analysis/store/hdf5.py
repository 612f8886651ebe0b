"""HDF5 files that may come from a stranger: plain arrays of floats are read, and nothing else.

Links are not followed, what lies in another file is not read, no filter is run, and nothing is
read before its size was held against what is expected. Where the numbers are is found out by
the library h5py, an extra, in a process of its own (see `hdf5_index`); they are read from there
without it.
"""

import contextlib
import importlib
import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from lossviz_analysis.store import fields
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.files import open_regular

Group: TypeAlias = Any
"""A group of h5py, which a file is too."""

_INDEX_COMMAND = (sys.executable, "-P", "-m", "lossviz_analysis.store.hdf5_index")
_INDEX_SECONDS = 30.0
_MISSING = "HDF5 files need h5py; install it with: pip install 'lossviz-tui[hdf5]'"
_MAX_RANK = 32
_DTYPES = ("<f2", ">f2", "<f4", ">f4", "<f8", ">f8")


@dataclass(frozen=True, kw_only=True, eq=False)
class Hdf5File:
    """A file open for reading, and what is in it."""

    path: Path
    descriptor: int
    index: dict[str, Any]
    """See `hdf5_index.describe`."""

    def __contains__(self, name: str) -> bool:
        return name in self.index

    def count(self, name: str) -> int:
        """Members of a group.

        Args:
            name: The group.

        Returns:
            How many.

        Raises:
            StoreError: It is absent or something else.
        """
        return fields.integer(self._entry(name, "count", "is not a list of tensors"), "count")

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an array, of whatever it is.

        Args:
            name: The array.

        Returns:
            Its shape.

        Raises:
            StoreError: It is absent or something else.
        """
        found = self._entry(name, "shape", "is not an array")
        lengths = fields.sequence(found, "shape", limit=_MAX_RANK)
        return tuple(fields.integer({"shape": n}, "shape") for n in lengths)

    def floats(self, name: str, *, max_size: int) -> np.ndarray:
        """The values of an array of floats.

        Args:
            name: The array.
            max_size: Values it may have.

        Returns:
            Its values, in float64 where it holds that, else in float32.

        Raises:
            StoreError: It is absent, something else, too large, or not whole.
        """
        shape = self.shape(name)
        found = self._entry(name, "offset", "does not hold floating-point numbers")
        code, size = fields.text(found, "dtype"), math.prod(shape)
        if code not in _DTYPES:
            raise StoreError(f"{self.path}: {name} does not hold floating-point numbers")
        dtype = np.dtype(code)
        if size > max_size:
            raise StoreError(f"{self.path}: {name} has {size} values, more than {max_size}")
        offset, num_bytes = fields.integer(found, "offset"), size * dtype.itemsize
        if offset + num_bytes > os.fstat(self.descriptor).st_size:
            raise StoreError(f"{self.path} is damaged: {name} is not whole")
        with os.fdopen(os.dup(self.descriptor), "rb") as raw:
            raw.seek(offset)
            content = raw.read(num_bytes)
        if len(content) != num_bytes:
            raise StoreError(f"{self.path} is damaged: {name} is not whole")
        values = np.frombuffer(content, dtype).reshape(shape)
        return np.asarray(values, np.float64 if dtype.itemsize == 8 else np.float32)

    def text(self, name: str) -> str:
        """A short text; empty where there is none, or something else."""
        return fields.text(fields.mapping(self.index, name), "text", "")

    def _entry(self, name: str, wanted: str, complaint: str) -> dict[str, Any]:
        """What is known of a member that should have a certain field.

        Raises:
            StoreError: It has not.
        """
        if name not in self.index:
            raise StoreError(f"{self.path} has no {name}")
        found = fields.mapping(self.index, name)
        if wanted not in found:
            raise StoreError(f"{self.path}: {name} {fields.text(found, 'problem', complaint)}")
        return found


@contextlib.contextmanager
def opened(path: Path) -> Generator[Hdf5File]:
    """An HDF5 file, open for reading.

    Args:
        path: The file.

    Yields:
        The file and what is in it.

    Raises:
        StoreError: It cannot be read, or is no HDF5 file.
    """
    if importlib.util.find_spec("h5py") is None:
        raise StoreError(_MISSING)
    try:
        # The user may name a link; what it leads to is still no pipe and no device.
        descriptor = open_regular(path.resolve())
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None
    except RuntimeError:
        raise StoreError(f"{path} cannot be read: it is a link to itself") from None
    try:
        yield Hdf5File(path=path, descriptor=descriptor, index=_index_of(path, descriptor))
    finally:
        os.close(descriptor)


def _index_of(path: Path, descriptor: int) -> dict[str, Any]:
    """What is in a file, found out at arm's length.

    Raises:
        StoreError: The library could not tell.
    """
    try:
        answer = subprocess.run(  # noqa: S603  # our own module, on a descriptor
            _INDEX_COMMAND,
            stdin=descriptor,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_INDEX_SECONDS,
            check=True,
            # One thread: the others would only reserve memory.
            env=dict(os.environ) | {"OPENBLAS_NUM_THREADS": "1"},
        )
        found: object = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise StoreError(f"{path} is not an HDF5 file, or it is damaged")
    return cast("dict[str, Any]", found)


@contextlib.contextmanager
def created(path: Path) -> Generator[Group]:
    """A new HDF5 file; what goes wrong with the disk is an OSError that says so.

    Args:
        path: The file; overwritten.

    Yields:
        Its root group.

    Raises:
        StoreError: The library is not installed.
    """
    try:
        h5: Any = importlib.import_module("h5py")
    except ImportError:
        raise StoreError(_MISSING) from None
    with path.open("w+b") as raw, h5.File(raw, "w") as file:
        yield file
