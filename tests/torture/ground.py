"""File systems of one's own to break things on, gone however their maker ends.

They are mounted in a mount namespace of the program's own. When the last process in it is gone
the kernel takes the mounts away, and with them the loop devices.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

CANNOT = 77
"""Exit code where this machine does not allow it."""
_INSIDE = "LOSSVIZ_TORTURE_INSIDE"


class CannotError(Exception):
    """This machine does not allow it."""


def call(*words: object) -> None:
    """Run a system program, or say that this machine has none for us."""
    try:
        subprocess.run([str(word) for word in words], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        printed: bytes = getattr(error, "stderr", None) or b""
        raise CannotError(f"{words[0]}: {printed.decode().strip() or error}") from None


def enter(program: str, words: Sequence[str], *, needs: Sequence[str]) -> None:
    """Go on in a mount namespace of this program's own, from the start.

    Args:
        program: Path of the program.
        words: Its arguments.
        needs: System programs it will call.

    Raises:
        CannotError: This machine does not allow it.
    """
    if os.geteuid() != 0:
        raise CannotError("only root may mount anything")
    for name in ("unshare", "mount", "umount", *needs):
        if shutil.which(name) is None:
            raise CannotError(f"there is no {name}")
    if _INSIDE in os.environ:
        return
    call("unshare", "--mount", "true")
    os.environ[_INSIDE] = "1"
    inside = ["unshare", "--mount", "--propagation", "private"]
    os.execvp(inside[0], [*inside, sys.executable, program, *words])


@contextlib.contextmanager
def small_disk(mebibytes: int) -> Generator[Path, None, None]:
    """A tmpfs of so many MiB."""
    folder = Path(tempfile.mkdtemp(prefix="lossviz-ground-"))
    try:
        call("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder)
        try:
            yield folder
        finally:
            call("umount", "--lazy", folder)
    finally:
        folder.rmdir()
