"""Scans killed, cancelled and resumed at random moments, by one process and by two.

`python tests/torture/scan_kills.py --rounds 50` prints a table; its exit code is 1 if the cells
of any scan are not those of an undisturbed one, to the bit.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from images import write_images
from lives import Life, Nursery

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import BatchNormMode, DirectionSpec, ScanRequest
from lossviz_analysis.store.scan_writer import revive
from lossviz_analysis.store.scans import ScanReader, cancel, submit

PATIENCE_SECONDS = 120.0
MAX_DISTURBANCES = 6
"""Of one scan; then it is left alone to come to its end."""


@dataclass
class Tally:
    """What happened."""

    seen: Counter[str] = field(default_factory=Counter[str])
    complaints: list[str] = field(default_factory=list[str])

    def table(self) -> str:
        """All of it, to print."""
        rows = [*sorted(self.seen.items()), ("COMPLAINTS", len(self.complaints))]
        lines = [f"{what:<48}{value:>8}" for what, value in rows] + self.complaints[:40]
        return "\n".join(lines) + "\n"


class Ordeal:
    """One run whose scans are disturbed."""

    def __init__(
        self, folder: Path, nursery: Nursery, tally: Tally, dice: random.Random
    ) -> None:
        self._nursery = nursery
        self._tally = tally
        self._dice = dice
        self._whole: dict[str, bytes] = {}
        self._seconds: dict[str, float] = {}
        self._worker: Life | None = None
        self.run = folder / "runs" / "a.zarr"

    def train(self, folder: Path) -> None:
        """A run with batch norm, trained for an epoch."""
        spec = {
            "run": str(self.run),
            "data": str(write_images(folder / "images.npz", 600, 100)),
            "model": "resnet20",
            "overrides": {"epochs": 1, "batch_size": 100, "learning_rate": 0.05},
            "seed": 0,
            "device": "cpu",
        }
        life = self._nursery.train(spec)
        if self._nursery.bury(life) != 0:
            raise RuntimeError(f"the training failed:\n{life.words()}")

    def request(self, batch_norm: BatchNormMode, *, refine: bool = False) -> ScanRequest:
        """A plane of a second or two."""
        info = RunReader(self.run).checkpoints()[-1]
        return ScanRequest(
            directions=tuple(
                DirectionSpec(kind="gaussian", normalise="filter", seed=k) for k in (1, 2)
            ),
            points=(7, 5),
            ranges=((-0.5, 0.5), (-0.3, 0.3)),
            checkpoint=info.number,
            epoch=info.epoch,
            batch_norm=batch_norm,
            split="both",
            examples=None if batch_norm == "frozen" else 100,
            clip=4.0 if refine else None,
            refine=refine,
            device="cpu",
        )

    def reference(self, request: ScanRequest) -> bytes:
        """The cells of the same scan left alone in one process."""
        key = repr(replace(request, device="cpu"))
        if key not in self._whole:
            scan = ScanReader(self.run, submit(self.run, replace(request, device="cpu")))
            began = time.monotonic()
            self._finish(scan)
            self._seconds[key] = time.monotonic() - began
            self._whole[key] = scan.cells().tobytes()
        return self._whole[key]

    def disturb(self, request: ScanRequest) -> None:
        """One scan, killed and cancelled, until it is left alone and done."""
        whole = self.reference(request)
        seconds = self._seconds[repr(replace(request, device="cpu"))]
        scan = ScanReader(self.run, submit(self.run, request))
        for _ in range(self._dice.randrange(1, MAX_DISTURBANCES)):
            self._wake()
            time.sleep(self._dice.random() * seconds * 0.7)
            if scan.state_word(scan.head()) == "done":
                break
            if self._dice.random() < 0.5:
                self._kill()
            else:
                self._cancel(scan)
        self._finish(scan)
        self._tally.seen[f"scans compared, {request.device}"] += 1
        if scan.cells().tobytes() != whole:
            self._tally.complaints.append(f"scan {scan.scan_id} on {request.device} differs")

    def _wake(self) -> None:
        if self._worker is None or self._nursery.has_ended(self._worker):
            self._worker = self._nursery.work(self.run)

    def _kill(self) -> None:
        if self._worker is not None:
            self._nursery.bury(self._worker, signal.SIGKILL)
            self._worker = None
            self._tally.seen["workers killed"] += 1

    def _cancel(self, scan: ScanReader) -> None:
        cancel(scan.folder)
        began = time.monotonic()
        self._wait(lambda: scan.state_word(scan.head()) in ("cancelled", "done"), scan)
        waited = round(1000 * (time.monotonic() - began))
        self._tally.seen["longest wait for a cancel, ms"] = max(
            waited, self._tally.seen["longest wait for a cancel, ms"]
        )
        if scan.state_word(scan.head()) == "cancelled":
            self._wait(lambda: self._revived(scan), scan)
            self._tally.seen["scans cancelled and gone on with"] += 1

    def _revived(self, scan: ScanReader) -> bool:
        try:
            revive(scan.folder)
        except LossvizError:
            return False  # its worker has not let go of it yet
        return True

    def _finish(self, scan: ScanReader) -> None:
        def is_done() -> bool:
            self._wake()
            return scan.state_word(scan.head()) == "done"

        self._wait(is_done, scan)

    def _wait(self, condition: Any, scan: ScanReader) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline or scan.state_word(scan.head()) == "failed":
                words = self._worker.words() if self._worker else ""
                raise TimeoutError(f"{scan.scan_id}: {scan.message()}\n{words}")
            time.sleep(0.01)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, help="a JSON file for the result")
    chosen = parser.parse_args(words)
    tally, dice = Tally(), random.Random(chosen.seed)
    os.environ["OMP_NUM_THREADS"] = "1"
    with (
        tempfile.TemporaryDirectory(prefix="lossviz-scans-") as name,
        Nursery(Path(name)) as nursery,
    ):
        ordeal = Ordeal(Path(name), nursery, tally, dice)
        ordeal.train(Path(name))
        for number in range(chosen.rounds):
            request = ordeal.request("frozen", refine=number % 4 >= 2)
            if number % 8 == 5:
                request = ordeal.request("recompute")
            ordeal.disturb(replace(request, device=("cpu", "cpu,cpu")[number % 2]))
    sys.stdout.write(tally.table())
    if chosen.report is not None:
        report = {"seen": tally.seen, "complaints": tally.complaints}
        chosen.report.write_text(json.dumps(report))
    return 1 if tally.complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
