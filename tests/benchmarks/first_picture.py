"""From the request of an ego plane to its first whole picture, and how wrong each stage is.

`python tests/benchmarks/first_picture.py RUN` asks a warm worker for a 19 x 19 ego plane of the
run's last checkpoint, looks at it as the app does, and holds every stage against the final one.
The worker is started anew and warmed by a line of another direction.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lossviz_analysis.store.requests import DirectionSpec, ScanRequest
from lossviz_analysis.store.results import SplitResult, result_of
from lossviz_analysis.store.scans import ScanReader
from lossviz_analysis.surfaces.estimate import estimated_losses, estimated_rates
from lossviz_tui.asking import complete_one
from lossviz_tui.choosing import choose_checkpoint
from lossviz_tui.cli.paths import open_run
from lossviz_tui.launch import request_scan
from lossviz_tui.wish import ScanWish

POLL_SECONDS = 0.01
STAGES = (25, 81, 361)
"""Points known on the first examples, then all points on more of them."""


@dataclass
class Look:
    """What was to be seen at a time."""

    seconds: float
    result: SplitResult
    num_known: int
    least: int
    """Examples seen at the point that has seen the fewest of those known."""


def follow(scan: ScanReader, asked: float) -> list[Look]:
    """Look at a scan until it is done, once for each head."""
    looks: list[Look] = []
    sequence = -1
    while True:
        head = scan.head()
        word = scan.state_word(head)
        if word == "failed":
            raise SystemExit(scan.message())
        geometry = scan.geometry()
        if geometry is not None and head.sequence != sequence:
            sequence = head.sequence
            found = result_of(geometry, scan.coordinates(), scan.cells())
            split = next(iter(found.splits.values()))
            known = split.is_known
            if known.any():
                least = int(split.num_seen[known].min())
                looks.append(Look(time.monotonic() - asked, split, int(known.sum()), least))
        if word == "done":
            return looks
        time.sleep(POLL_SECONDS)


def errors(look: Look, final: SplitResult) -> tuple[float, float, float, float]:
    """RMS and worst error in log10 loss, then in percentage points of mistakes."""
    losses = estimated_losses(look.result.loss, look.result.is_known)
    rates = estimated_rates(look.result.mistake_rate, look.result.is_known)
    off = np.log10(losses) - np.log10(final.loss)
    points = 100 * (rates - final.mistake_rate)
    off, points = off[np.isfinite(off)], points[np.isfinite(points)]
    return (
        float(np.sqrt(np.mean(off**2))),
        float(np.abs(off).max()),
        float(np.sqrt(np.mean(points**2))),
        float(np.abs(points).max()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--classes", default="3,5", help="numbers of two classes")
    parser.add_argument("--points", type=int, default=19)
    parser.add_argument("--examples", type=int, default=None)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--idle",
        type=float,
        default=0.0,
        help="seconds between the warming scan and the request, in which the worker makes "
        "directions ahead",
    )
    chosen = parser.parse_args()
    reader = open_run(chosen.run)
    last = choose_checkpoint(reader, "last")
    warm = ScanRequest(
        directions=(DirectionSpec(kind="gaussian", normalise="filter", seed=0),),
        points=(3,),
        ranges=((-0.1, 0.1),),
        checkpoint=last.number,
        epoch=last.epoch,
        examples=200,
        device=chosen.device,
    )
    follow(ScanReader(reader.path, request_scan(reader.path, warm)), time.monotonic())
    time.sleep(chosen.idle)
    wish = ScanWish(
        kind="ego",
        classes=tuple(chosen.classes.split(",")),
        points=(chosen.points,) * 2,
        examples=chosen.examples,
        device=chosen.device,
    )
    request = complete_one(wish, reader)
    asked = time.monotonic()
    scan = ScanReader(reader.path, request_scan(reader.path, request))
    looks = follow(scan, asked)
    final = looks[-1].result
    print(f"{reader.description.model.get('name')}, {scan.report().forward}")
    print(f"{'':34}{'seconds':>9}{'log10 loss':>16}{'mistakes, points':>20}")
    print(f"{'':34}{'':>9}{'rms':>8}{'worst':>8}{'rms':>10}{'worst':>10}")
    told: set[tuple[int, int]] = set()
    for look in looks:
        reached = max((n for n in STAGES if n <= look.num_known), default=0)
        stage = (reached, look.least if reached == STAGES[-1] else 0)
        if reached == 0 or stage in told:
            continue
        told.add(stage)
        rms, worst, rate_rms, rate_worst = errors(look, final)
        name = f"{look.num_known} points, {look.least} examples or more"
        print(
            f"{name:34}{look.seconds:9.2f}{rms:8.3f}{worst:8.3f}"
            f"{rate_rms:10.2f}{rate_worst:10.2f}"
        )
    for name, seconds in scan.report().seconds.items():
        print(f"{name}: {seconds:.2f} s")
    for note in scan.report().notes:
        print(note)


if __name__ == "__main__":
    main()
