"""A run whose disk is full again and again: what is committed stays, and nothing differs.

`python tests/torture/disk_full.py --rounds 5` needs root for a small tmpfs of its own. A
trainer and a scan worker work on it. A file takes all the space that is left, and all that
becomes free, until the run has said that its disk is full; then, by turns:

    the space comes back and the training goes on by itself;
    the trainer is asked to stop, and resumed when there is space;
    the trainer is killed, a resume on the full disk is refused, and one with space is not;
    the training comes to its end with nowhere to put it, and waits.

The finished run has to be the uninterrupted one to the bit, and so have its scans.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ground import CANNOT, CannotError, enter, small_disk
from images import write_images
from lives import Life, Nursery
from reference import Reference, read_reference, tensors_of
from witness import Reader, Report

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.reader import RunReader, standing
from lossviz_analysis.store.requests import DirectionSpec, ScanRequest
from lossviz_analysis.store.scans import ScanReader, find_scans, submit, unfinished
from lossviz_analysis.store.schema import RunState, ScanState

DISK_MIB = 44
EPOCHS = 60
PATIENCE_SECONDS = 60.0
HOLD_SECONDS = 0.2


@dataclass
class Tally:
    """What happened."""

    seen: Counter[str] = field(default_factory=Counter[str])
    report: Report = field(default_factory=Report)
    seconds: float = 0.0

    def table(self) -> str:
        """All of it, to print."""
        rows: list[tuple[str, object]] = [
            *sorted(self.seen.items()),
            *((f"reader: {what}", n) for what, n in sorted(self.report.seen.items())),
            ("COMPLAINTS", len(self.report.complaints)),
            ("seconds", round(self.seconds)),
        ]
        lines = [f"{what:<56}{value!s:>8}" for what, value in rows]
        lines += [f"{kind}: {sentence}" for kind, sentence in self.report.complaints[:40]]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """All of it, for a test."""
        return {"seen": self.seen, "complaints": self.report.complaints}


class Filler:
    """A file that takes what is left of a disk, and whatever becomes free."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "filler"
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._fill)

    def __enter__(self) -> "Filler":
        """Take everything."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Give it back."""
        self._is_over.set()
        self._thread.join()
        self._path.unlink()

    def _fill(self) -> None:
        with self._path.open("wb", buffering=0) as file:
            while not self._is_over.is_set():
                for size in (2**20, 2**16, 2**12):
                    with contextlib.suppress(OSError):
                        while file.write(b"x" * size):
                            pass
                # Slower than a program that gives room up to use it at once.
                self._is_over.wait(0.02)


@dataclass(eq=False)
class Ordeal:
    """One run on one small disk."""

    disk: Path
    run: Path
    spec: dict[str, Any]
    nursery: Nursery
    tally: Tally
    plant: str
    worker: Life | None = None
    full: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """From when to when, in Unix time, nothing could be written."""

    def __post_init__(self) -> None:
        """Read it like anybody else."""
        self.reader = RunReader(self.run)

    def complain(self, kind: str, sentence: str) -> None:
        """Note something that must not be."""
        self.tally.report.complain(kind, sentence)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                head = self.reader.head()
                raise TimeoutError(
                    f"waited for: {what}; the run is {self.word()}, {self.reader.message()!r}, "
                    f"{head.num_records} records, checkpoint {head.latest_checkpoint}"
                )
            time.sleep(0.01)

    def word(self) -> str:
        """What the app would call the run."""
        return standing(self.reader, self.reader.head()).word

    def train(self) -> Life:
        """A trainer, once it has begun."""
        is_new = not self.run.exists()
        spec = self.spec if is_new else {"run": str(self.run), "resume": True}
        return self.nursery.train(spec, self.plant)

    def progress(self, life: Life) -> None:
        """Wait for two more epochs."""
        before = self.reader.head().num_records if self.run.exists() else 0
        self.wait(
            lambda: (self.run.exists() and self.reader.head().num_records >= before + 2)
            or self.nursery.has_ended(life),
            "two epochs",
        )

    @contextlib.contextmanager
    def filled(self, life: Life) -> Generator[None, None, None]:
        """With a full disk that the run knows to be full."""
        # Else the training could be over before the scan has begun.
        os.kill(life.pid, signal.SIGSTOP)
        try:
            self.ask_for_scan()
        finally:
            os.kill(life.pid, signal.SIGCONT)
        with Filler(self.disk):
            self.wait(
                lambda: self.word() == "disk full" or self.nursery.has_ended(life),
                "the run says that its disk is full",
            )
            if self.nursery.has_ended(life):
                raise RuntimeError(f"the trainer left before its disk was full: {self.word()}")
            self.tally.seen["times the disk was full"] += 1
            if "\n" in (message := self.reader.message()) or "full" not in message:
                self.complain("state", f"a full disk is called {message!r}")
            self.refuse_scan()
            began = time.time()
            yield
            self.full.append((began, time.time()))

    def ask_for_scan(self) -> None:
        """Queue a scan, for a worker that lives."""
        if self.worker is not None and self.nursery.has_ended(self.worker):
            self.worker = None
            self.tally.seen["workers that a full disk ended"] += 1
        if self.worker is None:
            self.worker = self.nursery.work(self.run)
        try:
            name = submit(self.run, request(self.reader))
        except LossvizError as error:
            self.complain("scan", f"a scan was refused with room on the disk: {error}")
            return
        self.tally.seen["scans asked for"] += 1
        if self.tally.seen["scans asked for"] % 2:
            # Half of them are under way when the disk is full, the others still to be begun.
            scan = ScanReader(self.run, name)
            self.wait(lambda: scan.head().done > 0, "the scan has begun")

    def refuse_scan(self) -> None:
        """A scan asked for on a full disk is refused in one sentence and leaves nothing."""
        try:
            submit(self.run, request(self.reader))
            # Into a gap: something was just deleted, and the filler was not there yet.
            self.tally.seen["scans asked for on a full disk"] += 1
        except LossvizError as error:
            self.tally.seen["scans refused on a full disk"] += 1
            if "\n" in str(error) or not str(error):
                self.complain("scan", f"refused with {error!r}")
        scans = self.run / "scans"
        if left := [
            str(p.relative_to(scans)) for q in scans.glob(".2*") for p in (q, *q.rglob("*"))
        ]:
            self.complain("leftover", f"{left} of a refused scan")

    def wait_it_out(self, life: Life) -> None:
        """The space comes back by itself."""
        self.progress(life)
        with self.filled(life):
            before = self.reader.head()
            time.sleep(HOLD_SECONDS)
            after = self.reader.head()
            if (before.num_records, before.latest_checkpoint) != (
                after.num_records,
                after.latest_checkpoint,
            ):
                self.tally.seen["times something was committed nevertheless"] += 1
        self.wait(lambda: self.word() in ("live", "finished"), "the run has recovered")
        self.tally.seen["times training went on by itself"] += 1

    def stop_in_it(self, life: Life) -> Life:
        """The trainer is asked to stop."""
        self.progress(life)
        with self.filled(life):
            code = self.nursery.bury(life, signal.SIGTERM)
            if code != 0:
                self.complain("state", f"a stop ended with {code}: {life.words()}")
        word = self.word()
        if word not in ("stopped", "crashed"):
            self.complain("state", f"a run stopped on a full disk is called {word!r}")
        self.tally.seen[f"times a run stopped on a full disk was called {word}"] += 1
        return self.train()

    def kill_in_it(self, life: Life) -> Life:
        """The trainer is killed, and cannot be resumed until there is space."""
        self.progress(life)
        with self.filled(life):
            self.nursery.bury(life, signal.SIGKILL)
            attempt = self.reader.head().attempt
            again = self.train()
            self.wait(
                lambda: self.nursery.has_ended(again) or self.reader.head().attempt > attempt,
                "a resume on a full disk has begun, or was refused",
            )
            if self.reader.head().attempt > attempt:
                # What it swept away made room for a moment, and it was there before the filler.
                self.nursery.bury(again, signal.SIGKILL)
                self.tally.seen["resumes that found room"] += 1
            else:
                code, said = self.nursery.bury(again), again.words().strip().splitlines()
                if code != 2 or len(said) != 1 or json.loads(said[0])["event"] != "error":
                    self.complain("state", f"resumed on a full disk: {code}, {said}")
                self.tally.seen["resumes refused on a full disk"] += 1
        return self.train()

    def end_in_it(self, life: Life) -> None:
        """The training is over with nowhere to put it."""
        self.progress(life)
        with self.filled(life):
            idle = self.cpu_seconds(life)
            self.wait(lambda: self.is_idle(life, idle), "the training is over")
            if self.nursery.has_ended(life):
                self.complain("state", f"the trainer left a full disk: {life.words()}")
        if self.nursery.bury(life) != 0:
            self.complain("state", f"the trainer ended badly: {life.words()}")
        self.tally.seen["times training ended on a full disk and was written"] += 1

    def cpu_seconds(self, life: Life) -> list[float]:
        """CPU time of a life; a list, to be replaced while waiting."""
        if self.nursery.has_ended(life):
            return [0.0]
        fields = Path(f"/proc/{life.pid}/stat").read_text().rpartition(")")[2].split()
        return [(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")]

    def is_idle(self, life: Life, before: list[float]) -> bool:
        """Whether a life has next to nothing to do any more."""
        time.sleep(0.3)
        now = self.cpu_seconds(life)
        used, before[:] = now[0] - before[0], now
        return used < 0.06 or self.nursery.has_ended(life)

    def finish_scans(self) -> None:
        """With room on the disk every scan is done, or has failed in one sentence."""
        if self.worker is not None:
            self.nursery.bury(self.worker, signal.SIGKILL)
            met = self.worker.log.read_text().count("No space left")
            self.tally.seen["times the worker met the full disk"] += met
        self._work_off()
        scans = find_scans(self.run)
        done: list[ScanReader] = []
        for scan in scans:
            state = scan.head().state
            self.tally.seen[f"scans {state.name.lower()}"] += 1
            if state == ScanState.DONE:
                done.append(scan)
            elif state != ScanState.FAILED or not scan.message() or "\n" in scan.message():
                self.complain("scan", f"{scan.scan_id} is {state.name}: {scan.message()!r}")
        chosen = done[:2]  # the first was under way when the disk was full, the second not
        again = [submit(self.run, scan.request) for scan in chosen]
        self._work_off()
        for scan, name in zip(chosen, again, strict=True):
            if scan.cells().tobytes() != ScanReader(self.run, name).cells().tobytes():
                self.complain("unequal", f"scan {scan.scan_id} is not the uninterrupted one")

    def _work_off(self) -> None:
        worker = self.nursery.work(self.run)
        try:
            self.wait(
                lambda: not unfinished(find_scans(self.run))
                and not any(s.state_word(s.head()) == "running" for s in find_scans(self.run)),
                "the scans are done",
            )
        finally:
            self.nursery.bury(worker, signal.SIGKILL)

    def check(self, reference: Reference) -> None:
        """Hold the run against the uninterrupted one."""
        head = self.reader.head()
        if head.state != RunState.FINISHED:
            self.complain("state", f"the run is {head.state.name}: {self.reader.message()}")
        final = self.reader.checkpoint(head.latest_checkpoint)
        if final.epoch != EPOCHS or tensors_of(final) != reference.final:
            self.complain("unequal", f"the final state differs, after {final.epoch} epochs")
        scalars = self.reader.scalars(0, head.num_records)
        if {int(epoch) for epoch in scalars[:, 0]} != set(reference.records):
            self.complain("lost record", "not every epoch is there")
        walls = scalars[:, self.reader.description.scalar_columns.index("wall_time")]
        for began, ended in self.full:
            inside = int(((walls > began) & (walls < ended)).sum())
            self.tally.seen["epochs trained while the disk was full"] += inside
        for path in self.run.rglob("*"):
            if path.name.endswith(".partial") or path.name.startswith(".trash-"):
                self.complain("leftover", str(path.relative_to(self.run)))


def request(reader: RunReader) -> ScanRequest:
    """A plane around the first checkpoint."""
    infos = reader.checkpoints()
    return ScanRequest(
        directions=tuple(
            DirectionSpec(kind="ego", normalise="none", class_index=k) for k in (2, 3)
        ),
        points=(15, 9),
        ranges=((-0.2, 0.3), (-0.1, 0.1)),
        checkpoint=infos[0].number,
        epoch=infos[0].epoch,
        split="both",
        device="cpu",
    )


def one_round(nursery: Nursery, folder: Path, seed: int, tally: Tally, plant: str) -> None:
    """One run from its first epoch to its last."""
    data = write_images(folder / "images.npz", 500, 100)
    whole = folder / f"whole-{seed}" / "whole.zarr"
    spec = {
        "data": str(data),
        "model": "mlp",
        "overrides": {"epochs": EPOCHS, "batch_size": 100, "learning_rate": 0.01},
        "seed": seed,
        "device": "cpu",
        "keep_bytes": 5 * 3_200_000,
    }
    life = nursery.train(spec | {"run": str(whole), "keep_bytes": None})
    if nursery.bury(life) != 0:
        raise RuntimeError(f"the uninterrupted run failed:\n{life.words()}")
    reader = Reader()
    try:
        with small_disk(DISK_MIB) as disk:
            run = disk / "runs" / "full.zarr"
            run.parent.mkdir()
            ordeal = Ordeal(disk, run, spec | {"run": str(run)}, nursery, tally, plant)
            reader.watch(run, whole)
            life = ordeal.train()
            for turn in random.Random(seed).sample(("wait", "stop", "kill"), 3):
                match turn:
                    case "stop":
                        life = ordeal.stop_in_it(life)
                    case "kill":
                        life = ordeal.kill_in_it(life)
                    case _:
                        ordeal.wait_it_out(life)
            ordeal.end_in_it(life)
            ordeal.finish_scans()
            ordeal.check(read_reference(whole))
            tally.report.add(reader.report())
    finally:
        reader.end()
    tally.seen["rounds"] += 1


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plant", default="", help="a defect to find, see nursery.py")
    parser.add_argument("--report", type=Path, help="a JSON file for the result")
    chosen = parser.parse_args(words)
    tally, started = Tally(), time.monotonic()
    try:
        enter(__file__, words, needs=())
        with (
            tempfile.TemporaryDirectory(prefix="lossviz-full-") as name,
            Nursery(Path(name)) as nursery,
        ):
            for number in range(chosen.rounds):
                one_round(nursery, Path(name), chosen.seed + number, tally, chosen.plant)
    except CannotError as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT
    tally.seconds = time.monotonic() - started
    sys.stdout.write(tally.table())
    if chosen.report is not None:
        chosen.report.write_text(json.dumps(tally.to_json()))
    return 1 if tally.report.complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
