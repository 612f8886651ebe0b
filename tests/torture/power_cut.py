"""The plug pulled at random instants: what was acknowledged has to be on the disk.

`python tests/torture/power_cut.py --cuts 50` needs root, loop devices and mkfs.ext4. A writer
commits to an ext4 in a loop device. At a random instant it is stopped, and the image is copied
as it stands: what the file system has submitted as block writes is in the image, what is only
in its page cache is not, and nothing is synced. The copy is mounted, which replays its journal,
and every acknowledged record, checkpoint and scan has to be there; then a writer goes on in it.
The stopped writer goes on as well, towards the next cut.

Everything is mounted in a mount namespace of this program's own, on a tmpfs: however it ends,
the mounts and the loop devices go with it.
"""

import argparse
import contextlib
import filecmp
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ground import CANNOT, CannotError, call, enter, small_disk
from power_writer import (
    commit,
    commit_checkpoint,
    counts_of,
    make_run,
    request,
    scalars_of,
    weights_of,
)

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.scans import ScanReader, find_scans
from lossviz_analysis.store.writer import RunWriter

WRITER = Path(__file__).with_name("power_writer.py")
IMAGE_MIB = 64
CUTS_PER_DISK = 8
SECONDS_BETWEEN = 0.6
PATIENCE_SECONDS = 30.0
MANY = 5
"""Damaged records after which no more are looked for: each is read four times."""


@dataclass
class Acknowledged:
    """What the writer has said."""

    records: int = 0
    checkpoint: int = 0
    scans: list[str] = field(default_factory=list[str])

    def hear(self, line: str) -> None:
        """Take one line of the writer's."""
        what, _, value = line.partition(" ")
        match what:
            case "record":
                self.records = int(value) + 1
            case "checkpoint":
                self.checkpoint = int(value)
            case "scan":
                self.scans.append(value)
            case _:
                raise ValueError(f"the writer said {line!r}")


@dataclass
class Tally:
    """What became of all cuts of one kind."""

    fsync: str
    cuts: int = 0
    found: Counter[str] = field(default_factory=Counter[str])
    hurt: int = 0
    """Cuts with at least one complaint."""
    complaints: list[str] = field(default_factory=list[str])
    seconds: float = 0.0

    def table(self) -> str:
        """All of it, to print."""
        rows: list[tuple[str, object]] = [
            ("fsync", self.fsync),
            ("cuts", self.cuts),
            *sorted(self.found.items()),
            ("cuts that lost something acknowledged", self.hurt),
            ("seconds", round(self.seconds)),
        ]
        return "".join(f"{what:<48}{value!s:>10}\n" for what, value in rows) + "".join(
            f"  {sentence}\n" for sentence in self.complaints[:20]
        )

    def to_json(self) -> dict[str, Any]:
        """All of it, for a test."""
        return {
            "fsync": self.fsync,
            "cuts": self.cuts,
            "found": self.found,
            "hurt": self.hurt,
            "complaints": self.complaints,
        }


@contextlib.contextmanager
def mounted(image: Path, folder: Path) -> Generator[Path, None, None]:
    """An image mounted by a loop device that goes when the mount does."""
    folder.mkdir(exist_ok=True)
    # A journal commit every second, not every five: more that is written, and more to go wrong.
    call("mount", "-o", "loop,commit=1", image, folder)
    try:
        yield folder
    finally:
        call("umount", folder)


class Writer:
    """The process that commits."""

    def __init__(self, run: Path, fsync: str) -> None:
        self.acknowledged = Acknowledged()
        self._rest = b""
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(WRITER), str(run), fsync], stdout=subprocess.PIPE
        )

    def listen(self, seconds: float) -> None:
        """Take what it acknowledges, for so long."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            said = os.read(descriptor, 65_536)
            if not said:
                raise RuntimeError(f"the writer ended with code {self._process.wait()}")
            *lines, self._rest = (self._rest + said).split(b"\n")
            for line in lines:
                self.acknowledged.hear(line.decode())

    def stop(self) -> None:
        """Stop it where it stands."""
        os.kill(self._process.pid, signal.SIGSTOP)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (code := self._states()) - {"T", "Z"}:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the writer does not stop: {code}")
            time.sleep(0.001)
        self.listen(0.0)

    def go_on(self) -> None:
        """Let it go on."""
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _states(self) -> set[str]:
        """What its threads are doing; one within an fsync stops only after it."""
        tasks = Path(f"/proc/{self._process.pid}/task")
        found: set[str] = set()
        for task in tasks.iterdir():
            with contextlib.suppress(OSError):
                found.add((task / "stat").read_text().rpartition(")")[2].split()[0])
        return found


def copy_as_it_stands(image: Path, copy: Path) -> None:
    """Copy an image; again, if the kernel was still writing into it."""
    for _ in range(50):
        shutil.copyfile(image, copy)
        if filecmp.cmp(image, copy, shallow=False):
            return
    raise TimeoutError("the image does not come to rest")


def complaints_about(run: Path, acknowledged: Acknowledged) -> Iterator[tuple[str, str]]:
    """What is not as it should be after a cut, by kind."""
    reader = RunReader(run)
    try:
        head = reader.head()
    except LossvizError as error:
        if acknowledged.records or acknowledged.checkpoint:
            yield "no head", str(error)
        return
    lost = acknowledged.records - head.num_records
    if lost > 0:
        yield "lost records", f"{lost} of {acknowledged.records} acknowledged records"
    damaged = 0
    for number in range(head.num_records):
        if damaged == MANY:
            break
        try:
            counts = reader.counts(number, number + 1)[0]
            row = reader.scalars(number, number + 1)[0]
        except LossvizError:
            damaged += 1
            continue
        expected = scalars_of(number)
        damaged += not np.array_equal(counts, counts_of(number)) or (
            (row[0], row[4]) != (expected["epoch"], expected["loss"])
        )
    if damaged:
        more = "or more " if damaged == MANY else ""
        yield "damaged records", f"{damaged} {more}of {head.num_records} published records"
    if head.latest_checkpoint < acknowledged.checkpoint:
        yield (
            "lost checkpoints",
            f"{acknowledged.checkpoint} were acknowledged, {head.latest_checkpoint} are there",
        )
    on_disk = {info.number for info in reader.checkpoints(head)}
    last = range(max(1, head.latest_checkpoint - 2), head.latest_checkpoint + 1)
    wanted = {*last, head.best_checkpoint, *([1] if last else [])} - {0}
    if missing := wanted - on_disk:
        yield "lost checkpoints", f"{sorted(missing)} are missing"
    for number in sorted(on_disk):
        try:
            weights = reader.checkpoint(number).parameters["w"]
        except LossvizError as error:
            yield "damaged checkpoints", str(error)
            continue
        if not np.array_equal(weights, weights_of(number)):
            yield "damaged checkpoints", f"checkpoint {number} has other weights"
    scans = {scan.scan_id: scan for scan in find_scans(run)}
    lost_scans = [name for name in acknowledged.scans if not _is_whole(scans.get(name))]
    if lost_scans:
        yield "lost scans", f"{len(lost_scans)} of {len(acknowledged.scans)}"


def _is_whole(scan: ScanReader | None) -> bool:
    try:
        return scan is not None and scan.head().done == 0 and scan.request == request()
    except LossvizError:
        return False


def go_on_in(run: Path) -> Iterator[tuple[str, str]]:
    """Whether a writer can go on after a cut."""
    try:
        if not run.exists():
            make_run(run)
        with RunWriter(run) as writer:
            before = writer.head
            commit(writer)
            commit_checkpoint(writer)
        reader = RunReader(run)
        head = reader.head()
        reader.checkpoint(head.latest_checkpoint)
        if head.num_records != before.num_records + 1:
            yield "writer stuck", f"{before} became {head}"
        if litter := [p.name for p in (run / "records").rglob("*.partial")]:
            yield "writer stuck", f"{litter} were not swept"
    except LossvizError as error:
        yield "writer stuck", str(error)


def cut(image: Path, folder: Path, acknowledged: Acknowledged, tally: Tally) -> None:
    """Copy the image as it stands, and see what is in it."""
    copy = folder / "after.img"
    copy_as_it_stands(image, copy)
    tally.cuts += 1
    found: list[tuple[str, str]] = []
    try:
        with mounted(copy, folder / "after") as disk:
            run = disk / "some.zarr"
            found += complaints_about(run, acknowledged)
            found += go_on_in(run)
    except CannotError as error:
        # The same call did well a moment ago, for the image this one is a copy of.
        raise RuntimeError(f"the copy of the image: {error}") from None
    tally.found["acknowledged records, over all cuts"] += acknowledged.records
    tally.found["acknowledged checkpoints, over all cuts"] += acknowledged.checkpoint
    tally.found["acknowledged scans, over all cuts"] += len(acknowledged.scans)
    tally.hurt += bool(found)
    tally.found.update(f"cuts with: {kind}" for kind in {kind for kind, _ in found})
    for kind, sentence in found:
        tally.complaints.append(f"cut {tally.cuts}: {kind}: {sentence}")


def cuts(number: int, *, fsync: str, seed: int, folder: Path) -> Tally:
    """Pull the plug so many times."""
    tally, chance, started = Tally(fsync), random.Random(seed), time.monotonic()
    blank = folder / "blank.img"
    with blank.open("wb") as file:
        file.truncate(IMAGE_MIB * 2**20)
    call("mkfs.ext4", "-q", "-F", blank)
    while tally.cuts < number:
        image = folder / "before.img"
        shutil.copyfile(blank, image)
        with mounted(image, folder / "before") as disk:
            writer = Writer(disk / "some.zarr", fsync)
            try:
                while not writer.acknowledged.records:
                    writer.listen(0.05)
                if fsync == "off":
                    # Otherwise there would be no run yet, and nothing to see of its records.
                    call("sync", "--file-system", disk)
                for _ in range(min(CUTS_PER_DISK, number - tally.cuts)):
                    writer.listen(chance.uniform(0.0, SECONDS_BETWEEN))
                    writer.stop()
                    cut(image, folder, writer.acknowledged, tally)
                    writer.go_on()
            finally:
                writer.kill()
    tally.seconds = time.monotonic() - started
    return tally


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fsync", choices=("on", "off", "files"), default="on")
    parser.add_argument("--report", type=Path, help="a JSON file for the result")
    chosen = parser.parse_args(words)
    try:
        enter(__file__, words, needs=("mkfs.ext4", "losetup"))
        with small_disk(512) as folder:
            tally = cuts(chosen.cuts, fsync=chosen.fsync, seed=chosen.seed, folder=folder)
    except CannotError as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT
    sys.stdout.write(tally.table())
    if chosen.report is not None:
        chosen.report.write_text(json.dumps(tally.to_json()))
    return 1 if tally.hurt else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
