"""The other end of the nursery: starting, killing and burying lives."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NURSERY = Path(__file__).with_name("nursery.py")
LIFETIME_SECONDS = 300.0
"""No life that is waited for takes longer, unless it hangs."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(eq=False)
class Life:
    """A forked process."""

    pid: int
    log: Path
    mark: Path
    code: int | None = None
    """How it ended, once it was buried."""

    def marks(self) -> tuple[int, int]:
        """What its training thread and its committing thread were about; see nursery.MARKS."""
        try:
            first, second = self.mark.read_bytes()
        except (OSError, ValueError):
            return 0, 0
        return first, second

    def words(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-2_000:] if self.log.exists() else ""


class Nursery:
    """Forks trainers and scan workers; none outlives it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(NURSERY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ) | ONE_THREAD,
        )
        self.has_begun = False

    def __enter__(self) -> Self:
        """Nothing yet: the first life waits for the imports."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill every life, then the nursery."""
        process = self._process
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def train(self, spec: dict[str, Any], plant: str = "") -> Life:
        """Start a trainer."""
        return self._start({"job": "train", "spec": spec}, plant)

    def work(self, run: Path, plant: str = "") -> Life:
        """Start a scan worker."""
        return self._start({"job": "work", "run": str(run)}, plant)

    def has_ended(self, life: Life) -> bool:
        """Whether a life is over, without waiting for it."""
        if life.code is None:
            life.code = self._ask(job="poll", pid=life.pid)["code"]
        return life.code is not None

    def bury(self, life: Life, number: signal.Signals | None = None) -> int:
        """Wait for the end of a life, after a signal if one is given; its exit code.

        Raises:
            TimeoutError: It does not end.
        """
        if life.code is None and number is not None:
            os.kill(life.pid, number)
        deadline = time.monotonic() + LIFETIME_SECONDS
        while not self.has_ended(life):
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {life.pid} does not end: {life.words()}")
            time.sleep(0.002)
        assert life.code is not None
        return life.code

    def _start(self, asked: dict[str, Any], plant: str) -> Life:
        if not self.has_begun:
            self._read()
            self.has_begun = True
        self._number += 1
        stem = self._folder / f"{asked['job']}-{self._number:05d}"
        log, mark = stem.with_suffix(".log"), stem.with_suffix(".mark")
        found = self._ask(**asked, log=str(log), mark=str(mark), plant=plant)
        return Life(pid=found["pid"], log=log, mark=mark)

    def _ask(self, **asked: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the nursery ended with code {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found
