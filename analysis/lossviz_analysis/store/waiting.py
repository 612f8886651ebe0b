"""A paused run: its lock is held and its state said, and nothing else is loaded."""

from pathlib import Path

from lossviz_analysis.store.control import Wish, ask, read_wish
from lossviz_analysis.store.durable import put
from lossviz_analysis.store.head import read_run_head, write_head
from lossviz_analysis.store.lock import WriterLock
from lossviz_analysis.store.schema import MESSAGE_NAME, RunState


class PausedRun:
    """Holds the lock of a run whose writer has left the device to others."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = WriterLock(path)

    def adopt(self, descriptor: int) -> None:
        """Take over the lock of the writer that paused.

        Args:
            descriptor: As `RunWriter.hand_over` gave it.

        Raises:
            StoreError: The run was moved or deleted.
        """
        self._lock.adopt(descriptor)

    def hand_over(self) -> int:
        """Keep the lock through an `exec`.

        Returns:
            The descriptor for the program to come.
        """
        return self._lock.hand_over()

    def is_there(self) -> bool:
        """Whether the run still stands where it was paused."""
        return self._lock.is_intact()

    def wish(self) -> Wish:
        """What is asked: PAUSE as long as it is to stay paused, NOTHING to go on."""
        return read_wish(self.path)

    def stop(self, message: str = "") -> None:
        """Say that the run is stopped, and give the lock back.

        Args:
            message: One sentence for people, or none.
        """
        put(self.path / MESSAGE_NAME, message.encode(), durable=True)
        head = read_run_head(self.path / "records")
        write_head(self.path / "records", head.next(state=RunState.STOPPED))
        ask(self.path, Wish.NOTHING)
        self._lock.release()
