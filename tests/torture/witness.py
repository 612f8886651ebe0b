"""Readers that look at a run all the time, as the app does, and remember what they were shown.

What a reader has seen under a head is acknowledged: it must be there for ever after, to the
bit. A checkpoint may vanish by retention only: never the first, the best, one of the last
three, or one that a scan uses.
"""

import multiprocessing
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from reference import Reference, read_records, read_reference

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.head import RunHead, ScanHead
from lossviz_analysis.store.reader import RunReader, find_runs, standing
from lossviz_analysis.store.scans import ScanReader, find_scans
from lossviz_analysis.store.schema import RunState, ScanState

KEPT_LAST = 3
GRACE_SECONDS = 2.0
"""A victim of retention that a scan asks for in that very moment is put back."""
LOOK_SECONDS = 0.02


@dataclass
class Report:
    """What a reader saw, and what it complains about."""

    seen: Counter[str] = field(default_factory=Counter[str])
    complaints: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Kind and sentence."""

    def complain(self, kind: str, sentence: str) -> None:
        """Note something that must not be, once."""
        if (kind, sentence) not in self.complaints and len(self.complaints) < 200:
            self.complaints.append((kind, sentence))

    def add(self, other: "Report") -> None:
        """Take over what another one noted."""
        self.seen.update(other.seen)
        for kind, sentence in other.complaints:
            self.complain(kind, sentence)


class Witness:
    """One reader of one run."""

    def __init__(self, run: Path, reference: Reference) -> None:
        self.report = Report()
        self._run = run
        self._reference = reference
        self._reader = RunReader(run)
        self._head = RunHead()
        self._records: list[bytes] = []
        self._digests: dict[int, str] = {}
        self._gone: set[int] = set()
        self._in_use: set[int] = set()
        self._scans: dict[str, ScanWitness] = {}
        self._polls = 0

    def look(self) -> None:
        """Poll once; nothing is there to see before the run is."""
        if self._head.nonce == 0 and self._run not in find_runs(self._run.parent, depth=1):
            return
        self._polls += 1
        self.report.seen["polls"] += 1
        if self._polls % 100 == 0:
            self._reader = RunReader(self._run)  # somebody opens the app anew
        try:
            head = self._reader.head()
            self._look_at_head(head)
            self._look_at_records(head)
            if self._polls % 4 == 0:
                self._look_at_checkpoints(head)
            if self._polls % 3 == 0:
                self._look_at_scans()
        except LossvizError as error:
            self.report.complain("torn", str(error))

    def conclude(self) -> Report:
        """Read everything once more that was ever seen; the run has ended."""
        self._polls = 0
        self._reader = RunReader(self._run)
        try:
            head = self._reader.head()
            self._look_at_head(head)
            self._look_at_records(head)
            for number, content in enumerate(self._read(0, len(self._records))):
                if content != self._records[number]:
                    self.report.complain("lost record", f"record {number} is another now")
            self._look_at_checkpoints(head)
            self._look_at_scans()
            for number in self._digests.keys() - self._gone:
                self._reader.checkpoint(number)
            self.report.seen["thinned out"] += len(self._gone)
        except LossvizError as error:
            self.report.complain("lost record", str(error))
        self.report.seen["records"] += len(self._records)
        self.report.seen["checkpoints"] += len(self._digests)
        self.report.seen["scans"] += len(self._scans)
        return self.report

    def _look_at_head(self, head: RunHead) -> None:
        before, self._head = self._head, head
        if before.nonce not in (0, head.nonce):
            self.report.complain("torn", "the run has become another one")
        for name in ("sequence", "num_records", "attempt", "latest_checkpoint"):
            if getattr(head, name) < getattr(before, name):
                self.report.complain("lost record", f"{name} went back: {before} to {head}")
        if head.sequence == before.sequence and before.nonce and head != before:
            self.report.complain("torn", f"two heads have one number: {before} and {head}")
        now = standing(self._reader, head)
        if head.state == RunState.FAILED or now.word == "failed":
            self.report.complain("state", f"the run failed: {now.message}")
        pulse = self._reader.pulse()
        if pulse is not None and not 0 <= pulse.step <= pulse.steps_per_epoch:
            self.report.complain("torn", f"a sign of life makes no sense: {pulse}")
        steps = self._reader.steps()
        if len(steps) and not np.isfinite(steps[:, :3]).all():
            self.report.complain("torn", "the ring of steps has holes")

    def _read(self, start: int, stop: int) -> list[bytes]:
        """Whole records as bytes, clocks included."""
        counts = self._reader.counts(start, stop)
        scalars = self._reader.scalars(start, stop)
        if not np.isfinite(scalars).all():
            self.report.complain("torn", f"a record from {start} to {stop} has holes")
        return [counts[k].tobytes() + scalars[k].tobytes() for k in range(stop - start)]

    def _look_at_records(self, head: RunHead) -> None:
        start, stop = len(self._records), head.num_records
        if self._polls % 50 == 0:
            start = 0
        found = self._read(start, stop)
        for number, content in enumerate(found[: len(self._records) - start], start):
            if content != self._records[number]:
                self.report.complain("lost record", f"record {number} is another now")
        new = len(self._records)
        self._records += found[new - start :]
        for epoch, content in read_records(self._reader, new, stop):
            if content != self._reference.records.get(epoch):
                self.report.complain(
                    "unequal", f"epoch {epoch} is not that of the uninterrupted run"
                )

    def _look_at_checkpoints(self, head: RunHead) -> None:
        in_use: set[int] = set()
        for scan in find_scans(self._run):
            request = self._scan(scan.scan_id).reader.request
            in_use |= {request.checkpoint} | {
                d.toward_checkpoint for d in request.directions if d.toward_checkpoint
            }
        infos = {info.number: info for info in self._reader.checkpoints(head)}
        self._in_use |= in_use & infos.keys()
        for number, info in infos.items():
            if number not in self._digests:
                self._look_at_new_checkpoint(number)
            if self._digests.setdefault(number, info.digest) != info.digest:
                self.report.complain("lost checkpoint", f"checkpoint {number} is another now")
            expected = self._reference.digests.get(info.epoch)
            if info.step == 0 and info.digest != expected:
                self.report.complain(
                    "unequal",
                    f"the checkpoint after epoch {info.epoch} is not the uninterrupted run's",
                )
        for number in self._digests.keys() - infos.keys() - self._gone:
            self._look_for(number)

    def _look_at_new_checkpoint(self, number: int) -> None:
        try:
            self._reader.checkpoint(number)  # whole, its digest checked
            self.report.seen["checkpoints read"] += 1
        except LossvizError as error:
            if not self._may_be_gone(number):
                self.report.complain("torn", f"checkpoint {number}: {error}")

    def _may_be_gone(self, number: int) -> bool:
        """Whether retention may have taken a checkpoint by now."""
        head = self._reader.head()
        return number != 1 and (
            number <= head.latest_checkpoint - KEPT_LAST
            and number != head.best_checkpoint
            and number not in self._in_use
        )

    def _look_for(self, number: int) -> None:
        """See whether a checkpoint that was seen and is not there may be missing."""
        deadline = time.monotonic() + GRACE_SECONDS
        while not self._may_be_gone(number):
            if number in (info.number for info in RunReader(self._run).checkpoints()):
                return
            if time.monotonic() > deadline:
                used = "used by a scan" if number in self._in_use else "the first, best or new"
                self.report.complain(
                    "lost checkpoint", f"checkpoint {number} ({used}) is gone: {self._head}"
                )
                break
            time.sleep(0.01)
        self._gone.add(number)

    def _scan(self, scan_id: str) -> "ScanWitness":
        if scan_id not in self._scans:
            self._scans[scan_id] = ScanWitness(ScanReader(self._run, scan_id), self.report)
        return self._scans[scan_id]

    def _look_at_scans(self) -> None:
        for scan in find_scans(self._run):
            self._scan(scan.scan_id).look()


def _chunk_ends(num_examples: int, num_classes: int) -> np.ndarray:
    """Examples in the first 0, 1, 2, ... chunks, without the code that cuts them."""
    first = max(50, num_classes)
    early = [n for n in (first, 2 * first, 5 * first, 10 * first) if n < 1_000]
    late = list(range(1_000, num_examples, 1_000))
    return np.array([0, *(n for n in early + late if n < num_examples), num_examples])


class ScanWitness:
    """One reader of one scan: done work never changes and never becomes less."""

    def __init__(self, reader: ScanReader, report: Report) -> None:
        self.reader = reader
        self._report = report
        self._head = ScanHead()
        self._cells: np.ndarray | None = None
        self._is_over = False

    def look(self) -> None:
        """Poll once."""
        if self._is_over:
            return
        name, head = self.reader.scan_id, self.reader.head()
        before, self._head = self._head, head
        if head.sequence < before.sequence or head.done < before.done:
            self._report.complain("scan", f"{name} went back: {before} to {head}")
        self.reader.state_word(head)
        self._is_over = head.state in (ScanState.DONE, ScanState.FAILED, ScanState.CANCELLED)
        geometry = self.reader.geometry()
        if geometry is None:
            return
        cells = self.reader.cells()
        self._report.seen["scan states"] += 1
        done = np.nan_to_num(cells[:, :, 0])
        if done.sum() < head.done:
            self._report.complain("scan", f"{name} has fewer chunks than its head says")
        for position, split in enumerate(geometry.splits):
            chunks, examples = geometry.chunks[split], geometry.examples[split]
            covered = np.nan_to_num(cells[:, position, geometry.layout.seen]).sum(axis=1)
            ends = _chunk_ends(examples, len(geometry.class_names))
            expected = ends[np.minimum(done[:, position], chunks).astype(int)]
            if (covered != expected).any() or (done[:, position] > chunks).any():
                self._report.complain("scan", f"{name} has a cell torn from its count")
        if head.state == ScanState.DONE and done.sum() != head.total:
            self._report.complain("scan", f"{name} is done, but not whole")
        if self._cells is not None:
            done_before = np.nan_to_num(self._cells[:, :, 0])
            if (done < done_before).any():
                self._report.complain("scan", f"{name} lost chunks that were done")
            same = done == done_before
            if not np.array_equal(cells[same], self._cells[same], equal_nan=True):
                self._report.complain("scan", f"{name} has a cell that changed without a chunk")
        self._cells = cells


def _watch(pipe: Connection) -> None:
    """Look at the run last named, all the time; answer with a report when asked for one."""
    witness: Witness | None = None
    while True:
        try:
            if pipe.poll(LOOK_SECONDS):
                asked: tuple[Path, Path] | str = pipe.recv()
                if asked == "report" and witness is not None:
                    pipe.send(witness.conclude())
                    witness = None
                elif isinstance(asked, tuple):
                    witness = Witness(asked[0], read_reference(asked[1]))
        except (EOFError, OSError):
            return
        if witness is not None:
            witness.look()


class Reader:
    """A process that watches one run after the other."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_watch, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def watch(self, run: Path, reference: Path) -> None:
        """Look at a run from now on, which may not be there yet."""
        self._pipe.send((run, reference))

    def report(self) -> Report:
        """What it saw, once the run has ended."""
        self._pipe.send("report")
        if not self._pipe.poll(120):
            raise TimeoutError("a reader hangs")
        found: Report = self._pipe.recv()
        return found

    def end(self) -> None:
        """Let it go, or kill it."""
        self._pipe.close()
        self._process.join(5)
        self._process.kill()
        self._process.join()
