"""What a benchmark says, one JSON object on each line."""

import datetime
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lossviz_trainer.bench.floors import Peaks

Emit = Callable[[dict[str, Any]], None]

_ALLOCATOR = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table."""

    table: str
    """Which one: "scan, frozen", "scan, recompute" or "train"."""
    net: str
    name: str
    is_right: bool
    """Whether it passed the gate; a contender that did not has no speed."""
    deviation: float
    """Largest deviation from the reference, in units of what is tolerated."""
    images_per_second: float | None = None
    """The median over the turns."""
    best_images_per_second: float | None = None
    of_bound: float | None = None
    """Its rate in units of the bound's, turn by turn, the median."""
    of_peer: float | None = None
    """In units of the peer's without loader workers; in "train", of the plain bare step's."""
    cpu_of_bound: float | None = None
    """As `of_bound`, by CPU time: what to trust on a busy machine."""
    cpu_of_peer: float | None = None
    matmul_share: float | None = None
    """Of the measured peak of a large matrix product in float32."""
    roofline_share: float | None = None
    """Of the rate at which the layers reach the measured peaks."""
    setup_seconds: float = 0.0
    """Warm-up, choice of batch and compilation, before any turn."""
    micro_batch: int | None = None
    note: str = ""

    def event(self) -> dict[str, Any]:
        """The row as it is said."""
        return {"event": "row", **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is said of a network apart from its rows."""

    net: str
    gflop_per_image: float
    roofline_images_per_second: float
    first_picture_seconds: float | None = None
    """81 points of a 19 x 19 plane on 50 images each, the engine being warm."""
    compile_seconds: float | None = None
    break_even_points: float | None = None
    """Points after which compiling the bare forward pass has paid; None if it never does."""

    def event(self) -> dict[str, Any]:
        """The summary as it is said."""
        return {"event": "summary", **asdict(self)}


def say(event: dict[str, Any]) -> None:
    """Print one event for whoever started this process."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def environment(device: torch.device, peaks: Peaks) -> dict[str, Any]:
    """Where and when figures were measured.

    Args:
        device: Where it is computed.
        peaks: What was measured of it.

    Returns:
        JSON values.
    """
    is_cuda = device.type == "cuda"
    return {
        "event": "environment",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name(device) if is_cuda else "cpu",
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "variables": {name: os.environ[name] for name in _ALLOCATOR if name in os.environ},
        "load": list(os.getloadavg()),
        "matmul_flops": dict(peaks.matmul),
        "copy_bytes_per_second": peaks.copy,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
