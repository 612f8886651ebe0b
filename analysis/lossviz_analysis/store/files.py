"""Reading files of a run that a stranger may have made.

A name in a run can stand for anything: a link to somebody's secrets, a pipe that never ends, a
file of a terabyte. Only regular files are read, none through a link, and none beyond what the
schema allows.
"""

import errno
import os
import stat
from pathlib import Path


def open_regular(path: Path, *, create: bool = False) -> int:
    """A descriptor of a regular file.

    Args:
        path: The file; opened, never only looked up: on NFS only an open asks the server again.
        create: Open it for appending instead of reading, and make it where it is absent.

    Returns:
        The descriptor; the caller closes it.

    Raises:
        OSError: It is absent or may not be read; a link, a folder, a pipe or a device counts as
            invalid.
    """
    how = os.O_WRONLY | os.O_APPEND | os.O_CREAT if create else os.O_RDONLY
    # Without O_NONBLOCK the opening of a pipe would wait for its other end.
    descriptor = os.open(path, how | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return descriptor


def read_regular(path: Path, limit: int) -> bytes:
    """The content of a regular file.

    Args:
        path: The file.
        limit: Bytes to read at most; a longer file is cut there.

    Returns:
        Its first bytes.

    Raises:
        OSError: It is absent, may not be read, or is no regular file.
    """
    descriptor = open_regular(path)
    try:
        # Room is made for what is asked for, however short the file.
        limit = min(limit, os.fstat(descriptor).st_size)
        content = os.read(descriptor, limit)
        # One read is enough on a local disk, save for chunks of many megabytes.
        while len(content) < limit and (more := os.read(descriptor, limit - len(content))):
            content += more
    finally:
        os.close(descriptor)
    return content


def read_text(path: Path, *, limit: int) -> str:
    """The end of a text file that may be absent or anything.

    Args:
        path: The file.
        limit: Bytes to read at most.

    Returns:
        Its end, decoded as far as it can be; empty where there is nothing to read.
    """
    try:
        descriptor = open_regular(path)
    except OSError:
        return ""
    try:
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, limit, max(0, size - limit)).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
