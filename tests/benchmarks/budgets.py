"""The byte budgets of the screen, measured on a pty and printed as a table.

`uv run python -m tests.benchmarks.budgets` from the root of the repository. What is counted is
described in `tests/terminal/traffic.py`; the tests beside it assert the same numbers. Exit code
1 if a budget is missed.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.terminal import traffic
from tests.terminal.traffic import KB, Size

TICK, EPOCH, ROW, FRAME, ECHO = 200, 10 * KB, 4 * KB, 40 * KB, 0.3
TICK_SIZES = (Size(80, 24), Size(120, 30), Size(160, 50), Size(80, 24, "256"))
EPOCH_SIZES = (Size(80, 24), Size(120, 30), Size(160, 50), Size(120, 30, "256"))
PLANE_SIZES = (Size(120, 40), Size(120, 40, "256"))
ECHO_SIZES = (Size(120, 30),)

Row = tuple[str, Size, float, float, str]


def rows(folder: Callable[[], Path]) -> Iterator[Row]:
    """Every measurement: what, where, how much, its limit, the unit."""
    for size in TICK_SIZES:
        idle, shares = traffic.tick_frames(folder(), size)
        yield "age of the data counts up", size, traffic.largest(idle), TICK, "B"
        sent = sum(map(traffic.frame_bytes, idle))
        yield "five idle seconds: the age and no more", size, sent, 6 * TICK, "B"
        yield "share of the epoch under way", size, traffic.largest(shares), TICK, "B"
    for size in EPOCH_SIZES:
        for view, name in (("2", "Overview"), ("3", "Dance"), ("4", "Notes"), ("5", "CCTM")):
            most = traffic.epoch_bytes(folder(), size, view=view)
            is_bound = name == "Dance" and size.columns <= 120
            limit = EPOCH if is_bound else float("nan")
            yield f"new epoch on {name}", size, most, limit, "B"
    for size in PLANE_SIZES:
        row, whole = traffic.plane_bytes(folder(), size)
        yield "new row of a 51 x 51 scan", size, row, ROW, "B"
        yield "whole 51 x 51 plane", size, whole, FRAME, "B"
    for size in ECHO_SIZES:
        for view, seconds in traffic.echoes(folder(), size, num_keys=12).items():
            what = f"key echo on {view}, 50 kB/s, median"
            yield what, size, statistics.median(seconds), ECHO, "s"
            yield f"key echo on {view}, 50 kB/s, worst", size, max(seconds), ECHO, "s"


def main() -> int:
    is_met = True
    print(f"{'':42} {'terminal':>21} {'measured':>10} {'budget':>10}")
    with tempfile.TemporaryDirectory(prefix="budgets-") as place:
        count = iter(range(10_000))

        def folder() -> Path:
            path = Path(place) / str(next(count))
            path.mkdir()
            return path

        for what, size, found, limit, unit in rows(folder):
            is_bound = limit == limit
            met = not is_bound or found <= limit
            is_met &= met
            digits = 2 if unit == "s" else 0
            budget = f"{limit:,.{1 if digits else 0}f} {unit}" if is_bound else "none"
            measured = f"{found:,.{digits}f} {unit}"
            verdict = "" if not is_bound else "met" if met else "MISSED"
            print(f"{what:42} {size!s:>21} {measured:>10} {budget:>10}  {verdict}", flush=True)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
