"""Wall-clock time of what runs on a device."""

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

TURN_SECONDS = 0.3
"""A turn takes about so long at least, unless it takes MAX_PASSES."""
MAX_PASSES = 100


def wait_for(device: torch.device) -> None:
    """Wait until everything handed to a device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(deed: Callable[[], object], device: torch.device) -> float:
    """How long something takes, the device's part included.

    Args:
        deed: What to do.
        device: Where it is done.

    Returns:
        Seconds.
    """
    wait_for(device)
    started = time.perf_counter()
    deed()
    wait_for(device)
    return time.perf_counter() - started


def _cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    usages = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _repeat(deed: Callable[[], object], times: int) -> None:
    for _ in range(times):
        deed()


@dataclass(frozen=True)
class Times:
    """What every turn of one contender took."""

    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    """Of all threads; on a busy machine it tells more than the clock on the wall."""

    @property
    def median(self) -> float:
        """The middle one of the seconds."""
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        """The fewest seconds."""
        return min(self.seconds)

    def ratio_to(self, other: "Times") -> float:
        """How many times as long another contender took.

        Turns of one round are compared with each other, because a busy machine slows all of a
        round; the middle one of these ratios counts.

        Args:
            other: Measured in the same rounds.

        Returns:
            The ratio; above 1 means that this one is faster.
        """
        pairs = zip(other.seconds, self.seconds, strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    def cpu_ratio_to(self, other: "Times") -> float:
        """How many times the CPU time another contender needed, by the least of each.

        Args:
            other: Measured in the same rounds.

        Returns:
            The ratio; above 1 means that this one needs less.
        """
        return min(other.cpu_seconds) / min(self.cpu_seconds)


def by_turns(
    deeds: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    device: torch.device,
    on_turn: Callable[[str, int], None],
) -> dict[str, Times]:
    """Time contenders in rounds: A B C A B C.

    What is over in no time is done several times in a turn, as often as its first, untimed time
    suggests.

    Args:
        deeds: What each does, by name.
        repeats: Rounds.
        device: Where.
        on_turn: Called before each turn with the name and the number of the round.

    Returns:
        The times of doing it once, by name.
    """
    passes = {
        name: max(1, min(MAX_PASSES, round(TURN_SECONDS / max(1e-9, seconds_of(deed, device)))))
        for name, deed in deeds.items()
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in deeds}
    for turn in range(repeats):
        for name, deed in deeds.items():
            on_turn(name, turn)
            times = passes[name]
            before = _cpu_seconds()
            seconds = seconds_of(partial(_repeat, deed, times), device)
            found[name].append((seconds / times, (_cpu_seconds() - before) / times))
    return {
        name: Times(
            tuple(seconds for seconds, _ in pairs),
            tuple(cpu_seconds for _, cpu_seconds in pairs),
        )
        for name, pairs in found.items()
    }
