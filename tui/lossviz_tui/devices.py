"""Which devices can be named on this machine, told without torch."""

import os
from pathlib import Path

_MAX_LISTED = 16


def num_gpus() -> int:
    """GPUs a process started from here would see; by their device files, so a guess."""
    try:
        names = [entry.name for entry in Path("/dev").iterdir()]
    except OSError:
        return 0
    present = sum(name.startswith("nvidia") and name[6:].isdecimal() for name in names)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    return min(present, len([word for word in visible.split(",") if word.strip()]))


def device_choices(*, several: bool) -> tuple[str, ...]:
    """Devices to offer: auto, each one, and where several may share the work, all together."""
    count = min(_MAX_LISTED, num_gpus())
    gpus = tuple(f"cuda:{number}" for number in range(count))
    together = (",".join(gpus[:n]) for n in sorted({2, 4, 8, count}) if 2 <= n <= count)
    return ("auto", "cpu", *gpus, *(together if several else ()))
