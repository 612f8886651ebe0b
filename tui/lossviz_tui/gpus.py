"""What the GPUs of this machine do, by NVIDIA's own library where it is installed.

The package (nvidia-ml-py, the extra `gpu`) and its driver are looked for once, on the thread
that polls; where either is missing nothing is shown and nothing is said.
"""

import importlib
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

POLL_SECONDS = 2.0
NUM_KEPT = 600
"""Samples kept for the chart: twenty minutes."""
_MAX_GPUS = 16


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One device at one moment."""

    number: int
    use: float
    """Share of the last moments in which a kernel ran, in [0, 1]; NaN where it does not say."""
    used_bytes: int
    total_bytes: int
    """0 where it does not say."""
    pids: frozenset[int] = frozenset()
    """Processes that compute on it."""

    @property
    def memory_share(self) -> float:
        """Share of its memory in use; NaN where it does not say."""
        return self.used_bytes / self.total_bytes if self.total_bytes else math.nan


@dataclass(frozen=True, kw_only=True)
class GpuSample:
    """All devices at one moment."""

    seconds: float
    """Reader's monotonic time."""
    gpus: tuple[Gpu, ...]

    def of_process(self, pid: int | None) -> Gpu:
        """The device that a process computes on; otherwise the busiest, by use, then memory."""
        mine = [gpu for gpu in self.gpus if pid is not None and pid in gpu.pids]
        return max(mine or self.gpus, key=lambda gpu: (gpu.use > 0, gpu.use, gpu.memory_share))


@dataclass(eq=False)
class GpuWatch:
    """Asks the devices now and then; every method runs on the thread that polls."""

    load: Callable[[str], Any] = importlib.import_module
    """Where the library comes from."""
    _library: Any = field(default=None, init=False)
    _is_absent: bool = field(default=False, init=False)
    _polled: float = field(default=-math.inf, init=False)
    _samples: deque[GpuSample] = field(
        default_factory=lambda: deque[GpuSample](maxlen=NUM_KEPT), init=False
    )

    def step(self, now: float) -> tuple[GpuSample, ...] | None:
        """Ask if it is time; what the devices did lately, the newest last, if it was."""
        if self._is_absent or now - self._polled < POLL_SECONDS:
            return None
        self._polled = now
        if self._library is None and not self._find():
            return None
        gpus = self._ask()
        if not gpus:
            return None
        self._samples.append(GpuSample(seconds=now, gpus=gpus))
        return tuple(self._samples)

    def _find(self) -> bool:
        """Load the library and have it find the driver; without one there is no second try."""
        try:
            library = self.load("pynvml")
            library.nvmlInit()
        except Exception:  # noqa: BLE001  # whatever a broken installation raises
            self._is_absent = True
            return False
        self._library = library
        return True

    def _ask(self) -> tuple[Gpu, ...]:
        nvml = self._library
        try:
            count = min(_MAX_GPUS, nvml.nvmlDeviceGetCount())
        except Exception:  # noqa: BLE001  # the driver was unloaded, or is being updated
            return ()
        found = (self._ask_one(number) for number in range(count))
        return tuple(gpu for gpu in found if gpu is not None)

    def _ask_one(self, number: int) -> Gpu | None:
        """One device; what it does not tell (use on a MIG part, processes) is left out."""
        nvml = self._library
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
        except Exception:  # noqa: BLE001  # fell off the bus
            return None

        def answer(ask: Callable[[], Any], otherwise: Any) -> Any:  # noqa: ANN401
            try:
                return ask()
            except Exception:  # noqa: BLE001  # not supported, or not permitted
                return otherwise

        use = answer(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100, math.nan)
        memory = answer(lambda: nvml.nvmlDeviceGetMemoryInfo(handle), None)
        processes = answer(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle), ())
        return Gpu(
            number=number,
            use=use,
            used_bytes=0 if memory is None else int(memory.used),
            total_bytes=0 if memory is None else int(memory.total),
            pids=frozenset(int(process.pid) for process in processes),
        )
