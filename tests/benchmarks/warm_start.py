"""How soon a warm worker begins with a scan that is asked of it.

`python tests/benchmarks/warm_start.py RUN` asks for the same line several times; the
first time the worker may have to be started. Times are in milliseconds from the request.
"""

import argparse
import time
from pathlib import Path

from lossviz_analysis.store.requests import DirectionSpec, ScanRequest
from lossviz_analysis.store.scans import ScanReader
from lossviz_analysis.store.schema import ScanState
from lossviz_tui.choosing import choose_checkpoint
from lossviz_tui.cli.paths import open_run
from lossviz_tui.launch import request_scan

POLL_SECONDS = 0.001
MOMENTS = ("set up", "under way", "first cells")


def moments(scan: ScanReader, asked: float) -> dict[str, float]:
    """When a scan was set up, said that it is under way, and had its first cells; seconds."""
    found: dict[str, float] = {}
    while True:
        head = scan.head()
        word, now = scan.state_word(head), time.monotonic() - asked
        if head.state != ScanState.QUEUED:
            found.setdefault("under way", now)
        if scan.geometry() is not None:
            found.setdefault("set up", now)
        if head.done:
            found.setdefault("first cells", now)
        if word in ("done", "failed"):
            return found
        time.sleep(POLL_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args()
    reader = open_run(chosen.run)
    last = choose_checkpoint(reader, "last")
    request = ScanRequest(
        directions=(DirectionSpec(kind="gaussian", normalise="filter", seed=0),),
        points=(41,),
        ranges=((-1.0, 1.0),),
        checkpoint=last.number,
        epoch=last.epoch,
        examples=chosen.examples,
        device=chosen.device,
    )
    print(f"{'':10}" + "".join(f"{name:>14}" for name in MOMENTS))
    for number in range(chosen.rounds + 1):
        asked = time.monotonic()
        scan = ScanReader(reader.path, request_scan(reader.path, request))
        found = moments(scan, asked)
        words = "".join(f"{1000 * found[name]:14.0f}" for name in MOMENTS)
        print(f"{'first' if number == 0 else 'again':10}{words}")


if __name__ == "__main__":
    main()
