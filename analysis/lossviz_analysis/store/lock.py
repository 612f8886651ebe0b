"""One writer at a time: an advisory lock the kernel takes back when its process dies.

`lockf`, not `flock`: a forked data worker that outlives its trainer would keep a flock held.
"""

import fcntl
import json
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossviz_analysis.store.fields import StoreError

LOCK_NAME = ".writer.lock"

# struct flock on 64-bit Linux: type, whence, (padding) start, length, pid.
_FLOCK = "hhqqi4x"

_mine: set[Path] = set()


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lock, by the holder's own word."""

    host: str
    pid: int

    @property
    def is_local(self) -> bool:
        """Whether the holder runs on this machine."""
        return self.host == socket.gethostname()


class LockHeldError(StoreError):
    """Another process writes here."""

    def __init__(self, path: Path, holder: Holder | None) -> None:
        who = f"process {holder.pid} on {holder.host}" if holder else "another process"
        super().__init__(
            f"{path.parent} is being written by {who}; "
            "stop that one first, or choose another run"
        )
        self.holder = holder


def read_holder(folder: Path) -> Holder | None:
    """Who the lock file of a folder names; None where it names nobody."""
    try:
        found: Any = json.loads((folder / LOCK_NAME).read_bytes()[:1024])
        return Holder(host=str(found["host"])[:256], pid=int(found["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_held(folder: Path) -> bool:
    """Whether a living process holds the lock of a folder.

    Asks the kernel without taking the lock. The process that holds it must not close another
    descriptor of the same file, which would drop the lock, so its own locks are remembered
    instead.
    """
    path = (folder / LOCK_NAME).absolute()
    if path in _mine:
        return True
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
        return struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK
    except OSError:
        return False
    finally:
        os.close(descriptor)


class WriterLock:
    """The lock of one folder, held from `acquire` to `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        self._path = (folder / LOCK_NAME).absolute()
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LockHeldError: Another process, or another writer of this one, holds it.
            StoreError: The folder does not allow writing.
        """
        if self._path in _mine:
            raise LockHeldError(self._path, read_holder(self._path.parent))
        try:
            descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644
            )
        except OSError as error:
            raise StoreError(
                f"{self._path.parent} cannot be written: {error.strerror}"
            ) from None
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise LockHeldError(self._path, read_holder(self._path.parent)) from None
        holder = json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder, 0)
        self._descriptor = descriptor
        _mine.add(self._path)

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            _mine.discard(self._path)
