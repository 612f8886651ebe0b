"""One writer at a time: an advisory lock the kernel takes back when its process dies.

`lockf`, not `flock`: a forked data worker that outlives its trainer would keep a flock held.
"""

import contextlib
import fcntl
import json
import os
import socket
import stat
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.files import open_regular, read_regular
from lossviz_analysis.store.schema import LOCK_NAME

# struct flock on 64-bit Linux: type, whence, (padding) start, length, pid.
_FLOCK = "hhqqi4x"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lock, by the holder's own word."""

    host: str
    pid: int
    program: str = "train"
    """What kind of writer it is: "train" for the daemon, "recorder" for a training loop of the
    user's own."""

    @property
    def is_local(self) -> bool:
        """Whether the holder runs on this machine."""
        return self.host == socket.gethostname()


_mine: dict[tuple[int, int], Holder] = {}
"""The locks this process holds, by device and inode: closing any other descriptor of such a
file, under whatever name, would drop the lock, so none is ever opened."""

# A forked child inherits this table, but none of the locks.
os.register_at_fork(after_in_child=_mine.clear)


def _my_own(path: Path) -> Holder | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return _mine.get((found.st_dev, found.st_ino))


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
    path = folder / LOCK_NAME
    if (own := _my_own(path)) is not None:
        return own
    try:
        found: Any = json.loads(read_regular(path, 1024))
        return Holder(
            host=str(found["host"])[:256],
            pid=int(found["pid"]),
            program=str(found.get("program", "train"))[:32],
        )
    except (
        OSError,
        ValueError,
        AttributeError,
        KeyError,
        TypeError,
        OverflowError,
        RecursionError,
    ):
        return None


def is_held(folder: Path) -> bool:
    """Whether a living process holds the lock of a folder.

    Asks the kernel without taking the lock; the locks of this process are remembered instead.
    """
    path = folder / LOCK_NAME
    if _my_own(path) is not None:
        return True
    try:
        descriptor = open_regular(path)
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

    def __init__(self, folder: Path, *, program: str = "train") -> None:
        self._path = (folder / LOCK_NAME).absolute()
        self._program = program
        self._descriptor: int | None = None
        self._identity = (-1, -1)

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LockHeldError: Another process, or another writer of this one, holds it.
            StoreError: The folder does not allow writing.
        """
        if (own := _my_own(self._path)) is not None:
            raise LockHeldError(self._path, own)
        try:
            descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644
            )
        except OSError as error:
            raise StoreError(
                f"{self._path.parent} cannot be written: {error.strerror}"
            ) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise StoreError(f"{self._path} is no regular file; delete it to write here")
        self._take(descriptor)

    def _take(self, descriptor: int) -> None:
        """Lock an open lock file, which in a program that adopts it is locked already.

        Raises:
            LockHeldError: Another process holds it.
        """
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise LockHeldError(self._path, read_holder(self._path.parent)) from None
        holder = Holder(host=socket.gethostname(), pid=os.getpid(), program=self._program)
        # Who holds it is for people; on a full disk the lock itself must do.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(holder)).encode(), 0)
        found = os.fstat(descriptor)
        self._descriptor, self._identity = descriptor, (found.st_dev, found.st_ino)
        _mine[self._identity] = holder

    def hand_over(self) -> int:
        """Let the lock outlive an `exec`, which keeps the process and so the lock.

        Returns:
            The descriptor that the program to come passes to `adopt`.

        Raises:
            StoreError: The lock is not held.
        """
        if self._descriptor is None:
            raise StoreError(f"the lock of {self._path.parent} is not held")
        os.set_inheritable(self._descriptor, True)
        return self._descriptor

    def adopt(self, descriptor: int) -> None:
        """Take over the lock that the program before left open; see `hand_over`.

        Args:
            descriptor: Of the lock file.

        Raises:
            StoreError: It is not this lock's file.
        """
        try:
            found = os.fstat(descriptor)
            here = self._path.lstat()
        except OSError as error:
            raise StoreError(f"{self._path} cannot be taken over: {error.strerror}") from None
        if (found.st_dev, found.st_ino) != (here.st_dev, here.st_ino):
            raise StoreError(f"{self._path.parent} was moved or deleted while it was paused")
        self._take(descriptor)
        os.set_inheritable(descriptor, False)

    def is_intact(self) -> bool:
        """Whether the lock is held and its file still stands where others look for it."""
        try:
            found = self._path.lstat()
        except OSError:
            return False
        return self._descriptor is not None and (found.st_dev, found.st_ino) == self._identity

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            _mine.pop(self._identity, None)
