"""What the GPUs do: asked now and then, and never an error."""

import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from lossviz_tui.gpus import Gpu, GpuSample, GpuWatch


class DriverError(Exception):
    """What the library raises."""


@dataclass
class Library:
    """NVIDIA's library with two devices, the second of which tells little."""

    is_there: bool = True
    asked: list[str] = field(default_factory=list[str])
    count: int = 2

    def nvmlInit(self) -> None:  # noqa: N802
        self.asked.append("init")
        if not self.is_there:
            raise DriverError

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self.asked.append("count")
        if self.count < 0:
            raise DriverError
        return self.count

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802
        if number == 2:
            raise DriverError
        return number

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        if handle:
            raise DriverError
        return SimpleNamespace(gpu=87)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        return SimpleNamespace(used=10 * 2**30, total=(80 if handle == 0 else 20) * 2**30)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> Any:  # noqa: N802
        if handle == 0:
            raise DriverError
        return [SimpleNamespace(pid=7)]


def watch_of(library: Library) -> GpuWatch:
    return GpuWatch(load=lambda name: {"pynvml": library}[name])


def newest(watch: GpuWatch, now: float) -> GpuSample:
    samples = watch.step(now)
    assert samples is not None
    return samples[-1]


def test_each_device_tells_what_it_can():
    sample = newest(watch_of(Library()), 0.0)
    first, second = sample.gpus
    assert (first.use, first.used_bytes / first.total_bytes, first.pids) == (
        0.87,
        10 / 80,
        frozenset(),
    )
    assert math.isnan(second.use)
    assert second.memory_share == 0.5
    assert second.pids == {7}


def test_it_asks_every_two_seconds_and_keeps_the_course():
    library = Library()
    watch = watch_of(library)
    told = [watch.step(now) for now in (0.0, 0.3, 1.9, 2.0, 2.1, 4.5)]
    assert [None if found is None else len(found) for found in told] == [
        1,
        None,
        None,
        2,
        None,
        3,
    ]
    assert library.asked == ["init", "count", "count", "count"]


@pytest.mark.parametrize("missing", ["library", "driver"])
def test_where_there_is_none_it_asks_once_and_says_nothing(missing):
    library = Library(is_there=False)
    asked: list[str] = []

    def load(name: str) -> Library:
        asked.append(name)
        if missing == "library":
            raise ModuleNotFoundError(name)
        return library

    watch = GpuWatch(load=load)
    assert [watch.step(now) for now in (0.0, 10.0, 1e6)] == [None, None, None]
    assert asked == ["pynvml"]


def test_a_driver_that_goes_away_and_a_device_that_is_lost_are_no_error():
    library = Library(count=3)
    watch = watch_of(library)
    sample = newest(watch, 0.0)
    assert [gpu.number for gpu in sample.gpus] == [0, 1]
    library.count = -1
    assert watch.step(10.0) is None
    library.count = 1
    assert len(watch.step(20.0) or ()) == 2


def test_the_device_of_the_run_comes_before_the_busiest():
    idle = Gpu(number=0, use=0.1, used_bytes=1, total_bytes=10, pids=frozenset({5}))
    busy = Gpu(number=1, use=0.9, used_bytes=2, total_bytes=10, pids=frozenset({6}))
    silent = Gpu(number=2, use=math.nan, used_bytes=9, total_bytes=10)
    sample = GpuSample(seconds=0.0, gpus=(silent, idle, busy))
    assert sample.of_process(5) is idle
    assert sample.of_process(99) is busy
    assert sample.of_process(None) is busy
