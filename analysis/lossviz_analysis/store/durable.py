"""Writes that survive a power cut, and a Zarr store made of them.

A value goes to a temporary file, is fsynced, renamed over its name, and the folder is fsynced.
Zarr's own LocalStore renames but never fsyncs: after a power cut the new names can stand over
empty files.
"""

import asyncio
import errno
import os
import shutil
import time
from pathlib import Path
from uuid import uuid4

from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

PARTIAL_SUFFIX = ".partial"
TRASH_PREFIX = ".trash-"
_LAST_WRITES, _LAST_WRITE_SECONDS = 3, 0.01


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, *, below: Path | None = None) -> None:
    """Make a folder and its missing ancestors, durably.

    Args:
        folder: The folder.
        below: An ancestor that must be there: a run that was deleted while it was written is
            not to rise again in parts.

    Raises:
        FileNotFoundError: That ancestor is not there.
    """
    missing: list[Path] = []
    while not folder.exists():
        if folder == below:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        fsync_folder(new.parent)


def put(path: Path, content: bytes | bytearray | memoryview, *, durable: bool) -> None:
    """Replace a file by rename, so that a reader sees the old or the new content, never a mix.

    Args:
        path: The file; its folder must be there.
        content: Its new content.
        durable: Fsync the file before the rename and the folder after it. Off only for what can
            be recomputed.
    """
    partial = path.parent / f"{path.name}.{uuid4().hex}{PARTIAL_SUFFIX}"
    try:
        with partial.open("wb", buffering=0) as file:
            rest = memoryview(content).cast("B")
            while rest:
                rest = rest[file.write(rest) :]
            if durable:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if durable:
        fsync_folder(path.parent)


def put_somehow(path: Path, content: bytes) -> None:
    """Replace a small file durably; on a full disk by writing over it where it lies.

    That needs no room as long as the new content fits into the block of the old one. A reader
    may for a moment see both mixed; a power cut leaves one of them where they are not longer
    than a sector of the drive.

    Args:
        path: The file; its folder must be there.
        content: Its new content.

    Raises:
        OSError: Neither was possible.
    """
    try:
        put(path, content, durable=True)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            before = os.fstat(descriptor).st_size
            if os.pwrite(descriptor, content.ljust(before), 0) < len(content):
                raise
            os.ftruncate(descriptor, len(content))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Make a freshly written folder durable, files first."""
    for root, _, files in os.walk(folder, topdown=False):
        for name in files:
            with (Path(root) / name).open("rb") as file:
                os.fsync(file.fileno())
        fsync_folder(Path(root))


def set_aside(folder: Path) -> Path | None:
    """Take a folder out of sight in one step, under a name that a sweep deletes.

    Returns:
        That name, or None if there was no such folder.
    """
    trash = folder.parent / f"{TRASH_PREFIX}{folder.name}-{uuid4().hex[:8]}"
    try:
        folder.rename(trash)
    except FileNotFoundError:
        return None
    return trash


def discard(folder: Path) -> None:
    """Take a folder out of sight in one step, then delete it.

    On NFS the deletion can fail for files still open elsewhere; they stay under the trash name
    for a later sweep.
    """
    trash = set_aside(folder)
    if trash is not None:
        shutil.rmtree(trash, ignore_errors=True)


def give_up(folder: Path) -> None:
    """Delete a folder that could not be made whole.

    When one of the files that Zarr writes at once has failed, the threads with the others go
    on for a moment, and make the folder anew where it is gone.
    """
    for _ in range(_LAST_WRITES):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(_LAST_WRITE_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Delete what a killed writer left below a folder this writer owns."""
    for root, folders, files in os.walk(folder):
        for name in files:
            if name.endswith(PARTIAL_SUFFIX):
                (Path(root) / name).unlink(missing_ok=True)
        for name in [
            name
            for name in folders
            if name.startswith(TRASH_PREFIX) or name.endswith(PARTIAL_SUFFIX)
        ]:
            shutil.rmtree(Path(root) / name, ignore_errors=True)
            folders.remove(name)


class DurableStore(LocalStore):
    """A LocalStore whose every `set` is durable."""

    async def set(self, key: str, value: Buffer) -> None:
        """Write one value durably.

        Args:
            key: The key below the root.
            value: Its new content.
        """
        await asyncio.to_thread(self.set_sync, key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write one value durably unless it is there; only the one writer of a tree calls this.

        Args:
            key: The key below the root.
            value: Its content.
        """
        if not (self.root / key).exists():
            await self.set(key, value)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write one value durably, on the calling thread.

        Args:
            key: The key below the root.
            value: Its new content.
        """
        self._check_writable()
        make_folder((self.root / key).parent, below=self.root.parent)
        put(self.root / key, value.as_buffer_like(), durable=True)
