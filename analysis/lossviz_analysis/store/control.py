"""What somebody asks of the writer of a run, left as one word in a file of the run.

A file and no signal: it reaches a writer in a container and on another machine, and a training
loop of the user's own is not ended by it.
"""

from enum import StrEnum
from pathlib import Path

from lossviz_analysis.store.durable import put
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.files import read_regular
from lossviz_analysis.store.schema import CONTROL_NAME


class Wish(StrEnum):
    """What a writer is asked to do."""

    NOTHING = ""
    STOP = "stop"
    """Checkpoint and leave."""
    PAUSE = "pause"
    """Checkpoint, free the device, and wait."""


def ask(run: Path, wish: Wish) -> None:
    """Leave a wish for the writer of a run; NOTHING takes an earlier one back.

    Args:
        run: The run's folder.
        wish: What is asked.

    Raises:
        StoreError: The folder cannot be written.
    """
    try:
        if wish == Wish.NOTHING:
            (run / CONTROL_NAME).unlink(missing_ok=True)
        else:
            put(run / CONTROL_NAME, wish.encode(), durable=False)
    except OSError as error:
        raise StoreError(f"{run} cannot be written: {error.strerror}") from None


def read_wish(run: Path) -> Wish:
    """What is asked of the writer of a run; an unknown word asks for nothing.

    Args:
        run: The run's folder.

    Returns:
        The wish.
    """
    try:
        return Wish(read_regular(run / CONTROL_NAME, 64).decode().strip())
    except (OSError, ValueError):
        return Wish.NOTHING
