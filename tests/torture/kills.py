"""Trainers and scan workers killed at random instants while three readers look on.

`python tests/torture/kills.py --kills 1000` prints a table at the end; its exit code is 1 if
anything was lost, torn or unequal. Each run is trained by one life after the other, each of
which ends by SIGKILL, now and then by SIGTERM, until one is left alone and finishes it. Every
record and every checkpoint at the end of an epoch has to be that of an uninterrupted run, to
the bit, and so has every finished scan.

The trainers and the worker run the daemon's and the worker's own code in processes of their
own (see nursery.py); only the intervals of signs of life and of flushed scans are shortened, so
that more kills fall into a write.
"""

import argparse
import contextlib
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from images import write_images
from lives import Life, Nursery
from reference import Reference, read_reference, tensors_of
from witness import Reader, Report

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.checkpoints import CheckpointInfo, numbers_on_disk
from lossviz_analysis.store.control import Wish, ask
from lossviz_analysis.store.reader import RunReader, standing
from lossviz_analysis.store.requests import (
    BatchNormMode,
    DirectionSpec,
    ScanRequest,
    SplitChoice,
)
from lossviz_analysis.store.scans import ScanReader, cancel, find_scans, submit, unfinished
from lossviz_analysis.store.schema import RunState, ScanState

NUM_READERS = 3
PATIENCE_SECONDS = 120.0
TICK_SECONDS = 0.001
FEW_KILLS = 50
"""Up to here runs are half as long, so that one of each kind comes to its end."""
MANY_CHECKPOINTS = 0.1 / 60
"""Minutes between checkpoints within an epoch, in half of the runs."""
MAX_FAILED = 3
"""Trainers that may end with an error of their own; more will not get any further."""
MARKS = (
    "starting",
    "opening, sweeping",
    "restoring",
    "a step",
    "evaluating",
    "between",
    "a record",
    "a checkpoint",
    "thinning out",
)  # as in nursery.py, which imports torch
KINDS = ("lost record", "lost checkpoint", "torn", "unequal", "scan", "leftover", "state")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is trained."""

    model: str
    num_train: int
    num_test: int
    epochs: int
    batch_size: int
    keep_bytes: int
    points: tuple[int, ...]
    """Of a scan's axes."""
    checkpoint_minutes: float | None = None
    """A checkpoint is due also within an epoch after so long."""


PERCEPTRON = Kind(
    model="mlp",
    num_train=1_200,
    num_test=100,
    epochs=24,
    batch_size=200,
    keep_bytes=5 * 3_200_000,
    points=(7, 5),
)
BATCH_NORM = Kind(
    model="resnet20",
    num_train=40,
    num_test=30,
    epochs=12,
    batch_size=8,
    keep_bytes=5 * 2_200_000,
    points=(4, 3),
)


@dataclass
class Tally:
    """What happened."""

    lives: Counter[str] = field(default_factory=Counter[str])
    instants: Counter[str] = field(default_factory=Counter[str])
    report: Report = field(default_factory=Report)
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        """Trainers killed."""
        return self.lives["trainers killed"]

    def table(self) -> str:
        """All of it, to print."""
        seen = self.report.seen
        found = Counter(kind for kind, _ in self.report.complaints)
        rows: list[tuple[str, object]] = [
            *sorted(self.lives.items()),
            *((f"  killed in: {mark}", n) for mark, n in self.instants.most_common()),
            *((f"readers: {what}", n) for what, n in sorted(seen.items())),
            *((f"COMPLAINTS: {kind}", found[kind]) for kind in KINDS),
            ("seconds", round(self.seconds)),
        ]
        lines = [f"{what:<44}{value!s:>12}" for what, value in rows]
        lines += [f"{kind}: {sentence}" for kind, sentence in self.report.complaints[:40]]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """All of it, for a test."""
        return {
            "lives": self.lives,
            "instants": self.instants,
            "seen": self.report.seen,
            "complaints": self.report.complaints,
        }


@dataclass(eq=False)
class Torture:
    """Everything that goes on at once, on one run after the other."""

    folder: Path
    nursery: Nursery
    chance: random.Random
    readers: list[Reader]
    plant: str = ""
    """A defect to put into every life; then none is killed before its first epoch."""
    tally: Tally = field(default_factory=Tally)

    def spec(self, kind: Kind, run: Path, seed: int, keep_bytes: int | None) -> dict[str, Any]:
        """What a trainer is asked for."""
        return {
            "run": str(run),
            "data": str(self._images(kind)),
            "model": kind.model,
            "overrides": {
                "epochs": kind.epochs,
                "batch_size": kind.batch_size,
                "learning_rate": 0.01,
            },
            "seed": seed,
            "device": "cpu",
            "keep_bytes": keep_bytes,
            "checkpoint_minutes": kind.checkpoint_minutes if keep_bytes else None,
        }

    def _images(self, kind: Kind) -> Path:
        path = self.folder / f"{kind.model}.npz"
        return write_images(path, kind.num_train, kind.num_test)

    def play(self, kind: Kind, number: int, max_kills: int) -> None:
        """Train one run to its end, killing at most so many trainers on the way."""
        base = self.folder / f"{number:03d}"
        base.mkdir()
        whole, run = base / "whole" / "whole.zarr", base / "live" / "killed.zarr"
        for path in (whole, run):
            path.parent.mkdir()
        started = time.monotonic()
        life = self.nursery.train(self.spec(kind, whole, number, None))
        if self.nursery.bury(life) != 0:
            raise RuntimeError(f"the uninterrupted run failed:\n{life.words()}")
        epoch_seconds = (time.monotonic() - started) / kind.epochs
        reference = read_reference(whole)
        for reader in self.readers:
            reader.watch(run, whole)
        one = OneRun(self, kind, run, self.spec(kind, run, number, kind.keep_bytes))
        is_finished = one.train(max_kills, epoch_seconds)
        one.finish_scans()
        for report in [reader.report() for reader in self.readers]:
            self.tally.report.add(report)
        if is_finished:
            one.check(reference)
            self.tally.lives[f"runs of {kind.model}, all to their end"] += 1
        if not self.tally.report.complaints:
            shutil.rmtree(base)

    def complain(self, kind: str, sentence: str) -> None:
        """Note something that must not be."""
        self.tally.report.complain(kind, sentence)


class OneRun:
    """One run under torture."""

    def __init__(self, torture: Torture, kind: Kind, run: Path, spec: dict[str, Any]) -> None:
        self._torture = torture
        self._nursery = torture.nursery
        self._chance = torture.chance
        self._lives = torture.tally.lives
        self._kind = kind
        self._run = run
        self._spec = spec
        self._reader = RunReader(run)
        self._worker: Life | None = None
        self._worker_dies_at = 0.0
        self._next_scan_at = 0.0
        self._is_paused = False
        self._sound: set[str] = set()
        """Scans whose checkpoint was there after they were asked for."""

    def train(self, max_kills: int, epoch_seconds: float) -> bool:
        """Trainers, one after the other, until the run is finished; False if they give up."""
        killed = failed = 0
        while not self._is_finished():
            if failed == MAX_FAILED:
                return False
            before = self._num_records()
            is_new = not self._run.exists()
            spec = self._spec if is_new else {"run": str(self._run), "resume": True}
            spec |= {"device": "cpu"}
            life = self._nursery.train(spec, self._torture.plant)
            self._lives["trainers"] += 1
            self._is_paused = False
            end = self._choose_end(life, before, epoch_seconds) if killed < max_kills else None
            if end is None:
                self._wait(lambda life=life: self._nursery.has_ended(life))
            code = self._nursery.bury(life, end)
            self._note_end(life, code, end)
            killed += code == -signal.SIGKILL
            failed += code > 0
            if self._run.exists():
                self._check_dead(before, life)
        return True

    def _choose_end(
        self, life: Life, before: int, epoch_seconds: float
    ) -> signal.Signals | None:
        """Let a life go on for a while; the signal that is to end it, if it has not ended."""
        draw = 1.0 if self._torture.plant else self._chance.random()
        delay = 0.0
        if draw < 0.15:
            delay = self._chance.uniform(0.0, 0.005)
        elif draw < 0.4:
            delay = self._chance.uniform(0.0, 0.1 + epoch_seconds)
        else:
            self._wait(lambda: self._num_records() > before or self._nursery.has_ended(life))
            delay = self._chance.uniform(0.0, 1.5 * epoch_seconds)
        self._wait_a_moment(delay)
        if draw >= 0.4 and self._chance.random() < 0.08:
            self._pause(life)
        if self._nursery.has_ended(life):
            return None
        return signal.SIGTERM if self._chance.random() < 0.1 else signal.SIGKILL

    def _pause(self, life: Life) -> None:
        """Have a life become the process that holds a paused run, unless it ends before."""
        ask(self._run, Wish.PAUSE)
        self._wait(
            lambda: self._reader.head().state == RunState.PAUSED
            or self._nursery.has_ended(life)
        )
        self._is_paused = not self._nursery.has_ended(life)
        if self._is_paused:
            self._lives["trainers paused, then killed or stopped"] += 1
            word = standing(self._reader, self._reader.head()).word
            if word != "paused":
                self._torture.complain("state", f"a paused run is called {word!r}")
            self._wait_a_moment(self._chance.uniform(0.0, 0.5))

    def _wait_a_moment(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self._wait(lambda: time.monotonic() >= until, tick=min(TICK_SECONDS, seconds))

    def _note_end(self, life: Life, code: int, end: signal.Signals | None) -> None:
        if code == -signal.SIGKILL:
            self._lives["trainers killed"] += 1
            training, committing = (MARKS[k] for k in life.marks())
            if self._is_paused:
                training = "paused"
            self._torture.tally.instants[training] += 1
            if committing != "between":
                self._torture.tally.instants[f"{committing} (committing thread)"] += 1
        elif code == 0 and end in (None, signal.SIGKILL):
            self._lives["trainers that came to the end"] += 1
        elif code in (0, -signal.SIGTERM) and end == signal.SIGTERM:
            self._lives["trainers stopped by SIGTERM"] += 1
            if code == 0 and self._reader.head().state not in (
                RunState.STOPPED,
                RunState.FINISHED,
            ):
                self._torture.complain("state", "a stopped run does not say so")
        elif code != 0:
            self._torture.complain("state", f"a trainer ended with {code}: {life.words()}")

    def _check_dead(self, before: int, life: Life) -> None:
        """What a run has to look like when its trainer is gone."""
        head = self._reader.head()
        now = standing(self._reader, head)
        if now.is_alive or now.word not in ("crashed", "stopped", "finished"):
            self._torture.complain("state", f"a dead run is called {now.word!r}")
        if head.num_records < before:
            self._torture.complain("lost record", f"{before} records became {head.num_records}")
        if now.word == "failed":
            self._torture.complain("state", f"{now.message}\n{life.words()}")

    def _num_records(self) -> int:
        return self._reader.head().num_records if self._run.exists() else 0

    def _is_finished(self) -> bool:
        return self._run.exists() and self._reader.head().state == RunState.FINISHED

    def _wait(self, condition: Any, *, tick: float = TICK_SECONDS) -> None:
        """Wait for something and look after the scans meanwhile."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            self._tend_scans()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._run} does not get on")
            time.sleep(tick)

    def _tend_scans(self) -> None:
        """Ask for scans now and then, and see to it that a worker is there, at times killed."""
        now = time.monotonic()
        worker = self._worker
        if worker is None:
            if self._run.exists():
                self._worker = self._nursery.work(self._run, self._torture.plant)
                self._worker_dies_at = now + self._chance.random() * self._chance.choice(
                    (0.2, 2.0, 8.0)
                )
                self._lives["workers"] += 1
        elif now >= self._worker_dies_at:
            if self._nursery.bury(worker, signal.SIGKILL) == -signal.SIGKILL:
                self._lives["workers killed"] += 1
            self._worker = None
        elif self._chance.random() < 0.02 and self._nursery.has_ended(worker):
            self._torture.complain("scan", f"a worker left by itself: {worker.words()}")
            self._worker = None
        if now >= self._next_scan_at and self._run.exists():
            self._next_scan_at = now + self._chance.uniform(0.1, 2.0)
            if len(unfinished(find_scans(self._run))) < 3:
                self._ask_for_scan()

    def _ask_for_scan(self) -> None:
        infos = self._reader.checkpoints()
        if not infos:
            return
        info = self._chance.choice(infos)
        scan_id = submit(self._run, self._request(info))
        # Retention may have taken it a moment before the request was there to stop it.
        if info.number in numbers_on_disk(self._run):
            self._sound.add(scan_id)
        if self._chance.random() < 0.05:
            cancel(self._run / "scans" / scan_id)

    def _request(self, info: CheckpointInfo) -> ScanRequest:
        chance = self._chance
        ego = tuple(
            DirectionSpec(kind="ego", normalise="none", class_index=k)
            for k in chance.sample(range(10), 2)
        )
        line = (
            DirectionSpec(kind="gaussian", normalise="filter", seed=chance.randrange(1_000)),
            DirectionSpec(kind="gradient", normalise="none"),
        )
        directions = chance.choice((ego, (line[0],), (line[1],), line))
        modes: tuple[BatchNormMode, ...] = ("frozen", "recompute")
        splits: tuple[SplitChoice, ...] = ("train", "test", "both")
        return ScanRequest(
            directions=directions,
            points=self._kind.points[: len(directions)],
            ranges=((-0.2, 0.3), (-0.1, 0.1))[: len(directions)],
            checkpoint=info.number,
            epoch=info.epoch,
            batch_norm=chance.choice(modes) if self._kind.model != "mlp" else "frozen",
            split=chance.choice(splits),
            device="cpu",
        )

    def finish_scans(self) -> None:
        """A last worker is killed, the next left alone; then it does some scans again."""
        worker = self._worker or self._nursery.work(self._run, self._torture.plant)
        self._lives["workers"] += self._worker is None
        self._worker = None
        if self._nursery.bury(worker, signal.SIGKILL) == -signal.SIGKILL:
            self._lives["workers killed"] += 1
        done: dict[str, ScanReader] = {}
        for scan in self._finished_by(self._torture.plant):
            state = scan.head().state
            if state == ScanState.DONE:
                done[scan.scan_id] = scan
            elif state == ScanState.FAILED and scan.scan_id in self._sound:
                self._torture.complain("scan", f"{scan.scan_id} failed: {scan.message()}")
            self._lives[f"scans {state.name.lower()}"] += 1
        chosen = self._chance.sample(sorted(done), min(4, len(done)))
        again = {name: submit(self._run, done[name].request) for name in chosen}
        self._finished_by("")
        for first, second in again.items():
            other = ScanReader(self._run, second)
            if other.head().state != ScanState.DONE:
                self._torture.complain("scan", f"{second} failed: {other.message()}")
                continue
            self._compare(done[first], other)
        self._lives["scans compared with uninterrupted ones"] += len(again)

    def _compare(self, first: ScanReader, second: ScanReader) -> None:
        pairs = [
            (first.cells(), second.cells()),
            (first.directions(), second.directions()),
            *zip(first.coordinates(), second.coordinates(), strict=True),
        ]
        if any(a.tobytes() != b.tobytes() for a, b in pairs):
            self._torture.complain(
                "unequal", f"scan {first.scan_id} is not the uninterrupted one"
            )

    def _finished_by(self, plant: str) -> tuple[ScanReader, ...]:
        """All scans, after a worker that nobody killed."""
        worker = self._nursery.work(self._run, plant)
        self._lives["workers"] += 1
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while unfinished(find_scans(self._run)) or any(
                scan.state_word(scan.head()) == "running" for scan in find_scans(self._run)
            ):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the scans of {self._run} do not get on")
                if self._nursery.has_ended(worker):
                    self._torture.complain("scan", f"a worker left: {worker.words()}")
                    break
                time.sleep(0.01)
        finally:
            self._nursery.bury(worker, signal.SIGKILL)
        return find_scans(self._run)

    def check(self, reference: Reference) -> None:
        """Hold the finished run against the uninterrupted one, and look for litter."""
        complain = self._torture.complain
        try:
            head = self._reader.head()
            final = self._reader.checkpoint(head.latest_checkpoint)
        except LossvizError as error:
            complain("lost checkpoint", str(error))
            return
        if (final.epoch, final.step) != (self._kind.epochs, 0):
            complain("unequal", f"the last checkpoint is of epoch {final.epoch}, {final.step}")
        if tensors_of(final) != reference.final:
            complain("unequal", "the final weights, buffers or momenta differ")
        epochs = {int(row[0]) for row in self._reader.scalars(0, head.num_records)}
        if epochs != set(reference.records):
            complain("lost record", f"only epochs {sorted(epochs)} are there")
        if RunReader(self._run).checkpoints()[-1].number != head.latest_checkpoint:
            complain("leftover", "the newest checkpoint on disk is not the latest")
        if unpublished := [n for n in numbers_on_disk(self._run) if n > head.latest_checkpoint]:
            complain("leftover", f"unpublished checkpoints {unpublished}")
        for path in self._run.rglob("*"):
            is_litter = path.name.endswith(".partial") or path.name.startswith(".trash-")
            if is_litter and not self._is_cancelled_scan(path):
                complain("leftover", str(path.relative_to(self._run)))
        abandoned = list(self._run.parent.glob(f".{self._run.name}.tmp-*"))
        self._lives["half-made runs that nobody sweeps"] += len(abandoned)

    def _is_cancelled_scan(self, path: Path) -> bool:
        """Whether a path belongs to a scan that no worker claimed again after a kill."""
        parts = path.relative_to(self._run).parts
        return parts[0] == "scans" and (self._run / "scans" / parts[1] / "cancel").exists()


@dataclass(frozen=True)
class Cast:
    """Processes that serve one run after the other."""

    nursery: Nursery
    readers: list[Reader]


@contextlib.contextmanager
def cast_in(folder: Path) -> Generator[Cast, None, None]:
    """A nursery and three readers, gone afterwards."""
    readers: list[Reader] = []
    with Nursery(folder) as nursery:
        try:
            readers += [Reader() for _ in range(NUM_READERS)]
            yield Cast(nursery, readers)
        finally:
            for reader in readers:
                reader.end()


def torture(kills: int, *, chance: random.Random, folder: Path, cast: Cast) -> Tally:
    """Kill so many trainers, and say what became of their runs."""
    started = time.monotonic()
    one = Torture(folder, cast.nursery, chance, cast.readers)
    number = 0
    while one.tally.kills < kills:
        number += 1
        kind = BATCH_NORM if number % 4 == 2 else PERCEPTRON
        if number % 4 >= 2:
            kind = replace(kind, checkpoint_minutes=MANY_CHECKPOINTS)
        if kills <= FEW_KILLS:
            kind = replace(kind, epochs=kind.epochs // 2)
        one.play(kind, number, kills - one.tally.kills)
        one.tally.seconds = time.monotonic() - started
        sys.stderr.write(f"{one.tally.kills} kills, {number} runs\n")
        for complaint in one.tally.report.complaints:
            sys.stderr.write(f"  {complaint}\n")
    return one.tally


def self_check(
    plants: Sequence[str], *, chance: random.Random, folder: Path, cast: Cast
) -> dict[str, list[str]]:
    """Put defects in, one at a time; the kinds of complaint about each."""
    found: dict[str, list[str]] = {}
    for plant in plants:
        (folder / plant).mkdir()
        one = Torture(folder / plant, cast.nursery, chance, cast.readers, plant)
        points = (25, 11) if plant == "changed-cells" else (3, 3)
        one.play(replace(PERCEPTRON, epochs=6, points=points), 0, 4)
        found[plant] = sorted({kind for kind, _ in one.tally.report.complaints})
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the runs go; kept afterwards")
    parser.add_argument(
        "--plant", nargs="+", default=[], help="defects to look for afterwards, see nursery.py"
    )
    parser.add_argument("--report", type=Path, help="a JSON file for the result")
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="lossviz-kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(chosen.seed)
    try:
        with cast_in(folder) as cast:
            tally = torture(chosen.kills, chance=chance, folder=folder, cast=cast)
            found = self_check(chosen.plant, chance=chance, folder=folder, cast=cast)
    finally:
        if chosen.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(tally.table())
    sys.stdout.writelines(
        f"defect {name}: {', '.join(kinds) or 'NOT FOUND'}\n" for name, kinds in found.items()
    )
    if chosen.report is not None:
        chosen.report.write_text(json.dumps(tally.to_json() | {"plants": found}))
    return 1 if tally.report.complaints or not all(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
