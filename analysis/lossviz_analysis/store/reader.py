"""Reading a run that is being written: trust the head, nothing else."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from lossviz_analysis.store.checkpoints import (
    Checkpoint,
    CheckpointInfo,
    checkpoint_folder,
    numbers_on_disk,
    read_checkpoint,
    read_info,
)
from lossviz_analysis.store.chunks import MissingChunkError, StoredArray, open_array
from lossviz_analysis.store.description import RunDescription, read_description, refuse_links
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.files import read_text
from lossviz_analysis.store.head import RunHead, TornHeadError, read_block, read_run_head
from lossviz_analysis.store.lock import is_held, read_holder
from lossviz_analysis.store.schema import (
    LOG_NAME,
    MESSAGE_NAME,
    PULSE_COLUMNS,
    SCALAR_CHUNK_ROWS,
    SPLITS,
    STEP_COLUMNS,
    STEP_RING_ROWS,
    RunState,
)

_RETRIES = 3
_PAUSE_SECONDS = 0.05
_RESIGNED_SECONDS = 5.0
"""Having waited in vain, a reader does not wait for other chunks so soon: there may be many."""


_Missing = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """The writer's latest sign of life."""

    beat: int
    epoch: int
    step: int
    steps_per_epoch: int
    loss: float
    images_per_second: float
    phase: int
    pid: int


class RunReader:
    """Reads one run; holds no lock and writes nothing, so it can die or hang without harm.

    Not safe for use by several threads at once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._description: RunDescription | None = None
        self._confusion: StoredArray | None = None
        self._scalars: StoredArray | None = None
        self._infos: dict[int, CheckpointInfo] = {}
        self._has_own_folders = False
        self._resigned = -math.inf

    @property
    def description(self) -> RunDescription:
        """What the run is; read once."""
        if self._description is None:
            self._description = read_description(self.path)
        return self._description

    def head(self) -> RunHead:
        """What is committed now.

        Returns:
            The head.

        Raises:
            StoreError: It stayed unreadable.
        """
        if not self._has_own_folders:
            refuse_links(self.path)
            self._has_own_folders = True
        return read_run_head(self.path / "records")

    def scalars(self, start: int, stop: int) -> Float[np.ndarray, "records columns"]:
        """Scalar rows of committed records.

        Args:
            start: First record.
            stop: Record after the last; the caller takes it from a head.

        Returns:
            One row for each record, one column for each of the description's scalar columns.

        Raises:
            StoreError: A chunk is damaged or missing.
        """
        columns = len(self.description.scalar_columns)
        if self._scalars is None:
            self._scalars = open_array(
                self.path / "records",
                "scalars",
                dtypes=("<f8",),
                shape=(None, columns),
                max_chunk_bytes=8 * SCALAR_CHUNK_ROWS * columns,
            )
        return self._committed(self._scalars, start, stop, missing=np.isnan, column=0)

    def counts(self, start: int, stop: int) -> Int[np.ndarray, "records split true predicted"]:
        """Confusion counts of committed records.

        Args:
            start: First record.
            stop: Record after the last; the caller takes it from a head.

        Returns:
            int32 counts; splits in the order of SPLITS.

        Raises:
            StoreError: A chunk is damaged or missing.
        """
        num_classes = self.description.num_classes
        if self._confusion is None:
            self._confusion = open_array(
                self.path / "records",
                "confusion",
                dtypes=("<i4",),
                shape=(None, len(SPLITS), num_classes, num_classes),
                max_chunk_bytes=4 * len(SPLITS) * num_classes**2,
            )
        counts = self._committed(
            self._confusion, start, stop, missing=lambda values: values < 0, column=0
        )
        if counts.min(initial=0) < 0:
            raise StoreError(
                f"a record of {self.path} from {start} to {stop} counts below zero"
            )
        return counts

    def checkpoints(self, head: RunHead | None = None) -> tuple[CheckpointInfo, ...]:
        """The published checkpoints still on disk, by number.

        Args:
            head: A head read before, or None to read one.

        Returns:
            What is known of each; malformed ones are left out.
        """
        latest = (head or self.head()).latest_checkpoint
        numbers = [n for n in numbers_on_disk(self.path) if n <= latest]
        # What is published never changes, and there can be thousands.
        known = self._infos
        self._infos = {}
        for number in numbers:
            with contextlib.suppress(StoreError):
                self._infos[number] = known.get(number) or read_info(self.path, number)
        return tuple(self._infos.values())

    def checkpoint(self, number: int) -> Checkpoint:
        """A whole checkpoint.

        Args:
            number: Its number.

        Returns:
            The state.

        Raises:
            StoreError: It is absent, not published, or damaged.
        """
        if number > self.head().latest_checkpoint or number < 1:
            raise StoreError(f"{self.path} has no checkpoint {number}")
        if not checkpoint_folder(self.path, number).is_dir():
            raise StoreError(f"checkpoint {number} of {self.path} was thinned out")
        return read_checkpoint(self.path, number)

    def newest_sound(self, on_damage: Callable[[StoreError], object]) -> Checkpoint | None:
        """The newest checkpoint that reads well.

        Args:
            on_damage: Called with what is wrong with each that does not.

        Returns:
            The state; None where there is no checkpoint.

        Raises:
            StoreError: There are some, and none reads well.
        """
        damage: StoreError | None = None
        for info in reversed(self.checkpoints()):
            try:
                return self.checkpoint(info.number)
            except StoreError as error:
                damage = error
            on_damage(damage)
        if damage is not None:
            raise damage
        return None

    def pulse(self) -> Pulse | None:
        """The latest sign of life; None before the first and while it is torn."""
        try:
            values = read_block(
                self.path / "live" / "heartbeat" / "c.0", "<f8", len(PULSE_COLUMNS)
            )
        except TornHeadError:
            return None
        named: Mapping[str, float] = dict(zip(PULSE_COLUMNS, values.tolist(), strict=True))
        whole = {
            name: int(named[name]) if np.isfinite(named[name]) else 0
            for name in ("beat", "epoch", "step", "steps_per_epoch", "phase", "pid")
        }
        return Pulse(**whole, loss=named["loss"], images_per_second=named["images_per_second"])

    def steps(self) -> Float[np.ndarray, "rows columns"]:
        """The recent steps in order; columns as STEP_COLUMNS."""
        try:
            flat = read_block(
                self.path / "live" / "steps" / "c.0.0",
                "<f4",
                STEP_RING_ROWS * len(STEP_COLUMNS),
            )
        except TornHeadError:
            return np.empty((0, len(STEP_COLUMNS)), "<f4")
        rows = flat.reshape(STEP_RING_ROWS, len(STEP_COLUMNS))
        rows = rows[np.isfinite(rows[:, 0])]
        return rows[np.argsort(rows[:, 0], kind="stable")]

    def message(self) -> str:
        """The sentence beside the state; empty where there is none."""
        return read_text(self.path / MESSAGE_NAME, limit=4_096).strip()

    def log_tail(self, limit: int = 65_536) -> str:
        """The end of what the daemon printed."""
        return read_text(self.path / LOG_NAME, limit=limit)

    def is_written(self) -> bool:
        """Whether a living process on this machine holds the writer's lock."""
        return is_held(self.path)

    def _committed(
        self, array: StoredArray, start: int, stop: int, *, missing: _Missing, column: int
    ) -> np.ndarray:
        if stop > array.shape[0]:
            raise StoreError(f"{array.path} has no record {stop - 1}")
        if stop <= start:
            return np.empty((0, *array.shape[1:]), array.dtype)
        # On NFS a committed chunk can stay invisible for a moment and read as fill values:
        # never data.
        reason = ""
        has_hope = time.monotonic() - self._resigned > _RESIGNED_SECONDS
        tries = _RETRIES + 1 if has_hope else 1
        for attempt in range(tries):
            try:
                values = array.read(start, stop, is_whole=True)
                if not missing(values.reshape(stop - start, -1)[:, column]).any():
                    return values
                reason = "is not there yet, though the head names it"
            except MissingChunkError:
                reason = "is not there yet, though the head names it"
            except StoreError as error:
                reason = str(error)
            if attempt < tries - 1:
                time.sleep(_PAUSE_SECONDS)
        if has_hope:
            self._resigned = time.monotonic()
        raise StoreError(f"a record of {self.path} from {start} to {stop} {reason}")


@dataclass(frozen=True, kw_only=True)
class RunStanding:
    """What can be said of a run from outside: its last word, held against the lock."""

    state: RunState
    is_alive: bool
    """A process on this machine holds its lock, or one of another machine says it does."""
    message: str
    has_begun: bool = True
    """Whether a writer ever opened it."""

    @property
    def word(self) -> str:
        """Never ran, waiting, live, paused, disk full, finished, stopped, failed or crashed."""
        match self.state:
            case RunState.CREATED if not self.has_begun and not self.is_alive:
                return "never ran"
            case RunState.CREATED:
                return "waiting" if self.is_alive else "crashed"
            case RunState.RUNNING:
                return "live" if self.is_alive else "crashed"
            case RunState.PAUSED:
                return "paused" if self.is_alive else "crashed"
            case RunState.DISK_FULL:
                return "disk full" if self.is_alive else "crashed"
            case RunState.FINISHED:
                return "finished"
            case RunState.FAILED:
                return "failed"
            case RunState.STOPPED:
                return "stopped"


def standing(reader: RunReader, head: RunHead) -> RunStanding:
    """What can be said of a run from outside.

    A lock is visible only on its own machine; for a writer elsewhere its own word stands, and
    the age of its data must tell.

    Args:
        reader: The run.
        head: Its head.

    Returns:
        The standing.
    """
    holder = read_holder(reader.path)
    elsewhere = holder is not None and not holder.is_local
    return RunStanding(
        state=head.state,
        is_alive=reader.is_written() or elsewhere,
        message=reader.message(),
        has_begun=head.attempt > 0,
    )


def find_runs(folder: Path, *, depth: int = 3) -> tuple[Path, ...]:
    """The runs at or below a folder, newest change first.

    Args:
        folder: Where to look.
        depth: How many levels down.

    Returns:
        Folders that hold a run's zarr.json and records.
    """
    found: list[tuple[float, Path]] = []
    level = [folder]
    for _ in range(depth + 1):
        below: list[Path] = []
        for candidate in level:
            head = candidate / "records" / "head" / "c.0"
            try:
                if head.is_file():
                    found.append((head.stat().st_mtime, candidate))
                    continue
                below += [
                    entry
                    for entry in candidate.iterdir()
                    if entry.is_dir() and not entry.is_symlink() and entry.name[:1] != "."
                ]
            except OSError:
                continue
        level = below
    return tuple(path for _, path in sorted(found, key=lambda item: (-item[0], str(item[1]))))
