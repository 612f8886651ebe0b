"""The program on a pty: its bytes counted, its screen kept by pyte, its link as slow as asked.

The tests beside this file and the benchmarks (`python -m tests.benchmarks.NAME`) share it.
"""

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyte

PATIENCE_SECONDS = 30.0
SYNC_START, SYNC_END = b"\x1b[?2026h", b"\x1b[?2026l"
_SYNC_QUESTION, _SYNC_ANSWER = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
_GULP = 65_536
_SIP_SECONDS = 0.02


def command(path: Path, *options: str) -> list[str]:
    """The program as a person would start it."""
    return [sys.executable, "-P", "-m", "lossviz_tui", "watch", str(path), *options]


def environment(**changes: str) -> dict[str, str]:
    """A usual terminal, whatever the tests are run in."""
    kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "TMUX", "COLORTERM"}}
    usual = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "OMP_WAIT_POLICY": "PASSIVE"}
    return kept | usual | changes


class Terminal:
    """A program on a pty of its own, and what it has sent.

    Args:
        arguments: The program.
        columns: Width in cells.
        rows: Height in cells.
        bytes_per_second: How fast the link is; None: as fast as the machine.
        answers: Whether it says, as most terminals do, that it knows synchronised updates; then
            `frames` can tell one frame from the next.
        variables: Environment variables other than the usual ones.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        bytes_per_second: float | None = None,
        answers: bool = False,
        variables: dict[str, str] | None = None,
    ) -> None:
        self.sent = bytearray()
        self.screen = pyte.Screen(columns, rows)
        self.bytes_per_second = bytes_per_second
        self._stream = pyte.ByteStream(self.screen)
        self._answers = answers
        self._primary, secondary = pty.openpty()
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._primary, termios.TIOCSWINSZ, size)
        self.process = subprocess.Popen(
            arguments,
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            start_new_session=True,
            env=environment(**(variables or {})),
        )
        os.close(secondary)

    def read(self, seconds: float, *, until: Callable[[], bool] | None = None) -> bytes:
        """What comes within a time; less if the program leaves or something holds before."""
        deadline, start = time.monotonic() + seconds, len(self.sent)
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self._primary], [], [], left)
            if not ready:
                break
            try:
                found = os.read(self._primary, self._mouthful())
            except OSError:  # nobody holds the other end any more
                break
            if self._answers and _SYNC_QUESTION in found:
                os.write(self._primary, _SYNC_ANSWER)
            self.sent += found
            self._stream.feed(found)
            if self.bytes_per_second is not None:
                time.sleep(len(found) / self.bytes_per_second)  # the link itself, not a wait
            if until is not None and until():
                break
        return bytes(self.sent[start:])

    def _mouthful(self) -> int:
        rate = self.bytes_per_second
        return _GULP if rate is None else max(1, int(rate * _SIP_SECONDS))

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._primary, keys.encode())

    @property
    def text(self) -> str:
        """The screen as a person reads it."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def shows(self, *words: str) -> bool:
        """Whether all words are on the screen."""
        text = self.text
        return all(word in text for word in words)

    def overwrite(self, words: str) -> None:
        """Have somebody else write into the middle of the screen."""
        self._stream.feed(f"\x1b7\x1b[10;20H{words}\x1b8".encode())

    def wait_for(self, *words: str) -> None:
        """Read until all words are on the screen."""
        self.wait_until(lambda: self.shows(*words), str(words))

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Read until something holds; fail with the screen when it never does."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < deadline, f"no {what} in\n{self.text}"
            assert self.process.poll() is None or self.read(0.1), self.text
            self.read(0.05)

    def wait_until_quiet(self, seconds: float = 0.4, *, least: int = 300) -> None:
        """Read until little has come for a while, so that what comes next has a cause.

        The age of the data goes on counting: fewer bytes than `least` are quiet.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.read(seconds)) >= least:
            assert time.monotonic() < deadline, "the program never falls silent"

    def frames(self, start: int = 0) -> list[bytes]:
        """The frames sent since some byte, for a terminal that answers; the last may be cut."""
        parts = bytes(self.sent[start:]).split(SYNC_START)[1:]
        return [part.split(SYNC_END)[0] for part in parts]

    def leave(self) -> int:
        """Read until the program has left; its exit code."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"the program does not leave\n{self.text}"
            self.read(0.05)
        self.read(0.2)
        return self.process.wait()

    def hang_up(self) -> int:
        """Take the terminal away without a word; the program's exit code."""
        primary, self._primary = self._primary, -1
        os.close(primary)
        return self.process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        """End the program, whatever it is doing."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self._primary)
