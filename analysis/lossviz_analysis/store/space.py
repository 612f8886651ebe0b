"""Room on a disk that others fill: what is kept back, and what a checkpoint needs."""

import contextlib
import errno
import os
from pathlib import Path

from lossviz_analysis.store.schema import BALLAST_NAME, LAST_BALLAST_NAME

BALLAST_BYTES = 8 * 2**20
LAST_BYTES = 2**16
RESERVE_BYTES = 64 * 2**20
RESERVE_SHARE = 0.05
"""What a checkpoint leaves free, for records and for others: the smaller of the two."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one it came from, says that the disk or the quota is used up."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def has_room(folder: Path, num_bytes: int) -> bool:
    """Whether a checkpoint fits on the disk with a reserve left over.

    Args:
        folder: Where it would go.
        num_bytes: Its size before compression.

    Returns:
        Whether it fits; True where the file system does not say.
    """
    try:
        found = os.statvfs(folder)
    except OSError:
        return True
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    return free >= 1.1 * num_bytes + min(RESERVE_BYTES, RESERVE_SHARE * total)


class Ballast:
    """Two files that take up room, given back where a full disk has none.

    The large one goes for the records that wait; and, on a file system on which even a file
    that is there cannot be written over, to say that the disk is full. The small one is kept to
    say, in the end, how the run ended.
    """

    def __init__(self, run: Path) -> None:
        self._files = {run / BALLAST_NAME: BALLAST_BYTES, run / LAST_BALLAST_NAME: LAST_BYTES}
        self._run = run

    def load(self) -> None:
        """Take up the room, unless the disk is too small or too full to spare it."""
        if not has_room(self._run, 2 * BALLAST_BYTES):
            return
        for path, num_bytes in self._files.items():
            # A file system that cannot do it leaves the run without ballast.
            with contextlib.suppress(OSError):
                descriptor = os.open(
                    path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644
                )
                try:
                    os.posix_fallocate(descriptor, 0, num_bytes)
                finally:
                    os.close(descriptor)

    def drop(self, *, to_the_last: bool = False) -> bool:
        """Give room back.

        Args:
            to_the_last: Also what is kept for the end of the run.

        Returns:
            Whether there was any to give.
        """
        dropped = False
        for path in list(self._files)[: 2 if to_the_last else 1]:
            with contextlib.suppress(OSError):
                path.unlink()
                dropped = True
        return dropped
