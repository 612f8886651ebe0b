"""Leaving the device to the training it is shared with."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.head import read_run_head
from lossviz_analysis.store.lock import is_held
from lossviz_analysis.store.scan_report import DUTY
from lossviz_analysis.store.schema import RunState

LOOK_SECONDS = 1.0
MAX_REST_SECONDS = 2.0


class DutyCycle:
    """Rests after each spell of computing, as long as the run is being trained.

    On a CPU the operating system does that: the worker is nicer than the trainer.
    """

    def __init__(
        self,
        run: Path,
        *,
        share: float = DUTY,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._run = run
        self._share = share
        self._clock = clock
        self._sleep = sleep
        self._looked = float("-inf")
        self._is_trained = False

    def __call__(self, seconds: float) -> None:
        """Rest after so many seconds of computing."""
        if not self.is_trained():
            return
        self._sleep(min(MAX_REST_SECONDS, seconds * (1 / self._share - 1)))

    @property
    def share_now(self) -> float:
        """Share of the time it computes as things stand."""
        return self._share if self.is_trained() else 1.0

    def is_trained(self) -> bool:
        """Whether somebody trains the run; looked up once a second."""
        now = self._clock()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._is_trained = self._look()
        return self._is_trained

    def _look(self) -> bool:
        try:
            state = read_run_head(self._run / "records").state
        except StoreError:
            return False
        return state == RunState.RUNNING and is_held(self._run)


def duty_for(run: Path, device: torch.device, *, share: float = DUTY) -> DutyCycle | None:
    """The duty cycle of a scan on a device.

    Args:
        run: The run's folder.
        device: Where it is computed.
        share: Of the time it computes.

    Returns:
        None on a CPU, where processes share by their niceness.
    """
    return DutyCycle(run, share=share) if device.type == "cuda" else None
