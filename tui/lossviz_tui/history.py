"""A run's records as the views need them: the last one of each epoch, and what follows.

Scalars are small and are read at once. What follows from confusion matrices (recalls, notes) is
derived once for each record, the newest first, a little at each step, so that a run of 65,536
records is on the screen at once and complete a few seconds later. Matrices themselves are kept
only while all of them together are small. The arrays of a `RunView` are never written again, so
a view can be handed to another thread.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lossviz_analysis.classwise.confusion import cctm, recall
from lossviz_analysis.classwise.dance import DancingPair, dance_scores, ranked_dances
from lossviz_analysis.classwise.interference import UndirectedPair, undirected_pairs
from lossviz_analysis.classwise.notes import dancing_notes
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.head import RunHead
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import SPLITS
from lossviz_tui.matrices import Matrices

COUNTS_BYTES = 64 * 2**20
"""Matrices are kept while those of all epochs together are smaller."""
DERIVED_BYTES = 128 * 2**20
"""For recalls and notes; beyond it they are kept for every second epoch, every fourth, ..."""
RETRY_SECONDS = 5.0
"""After which records that could not be read are tried again: on NFS they may appear late."""
MAX_RETRIED = 4
_BATCH_BYTES = 4 * 2**20
_MAX_BATCH = 256
_SCALAR_ROWS = 4_096
_MAX_PAIRS = 50
_MAX_EPOCH = 2.0**53


@dataclass(frozen=True, kw_only=True, eq=False)
class RowByEpoch:
    """One row of the CCTM over epochs, as far as it is read."""

    epochs: np.ndarray
    """The epochs it is read at, ascending."""
    places: np.ndarray
    """Their places among the view's `class_epochs`."""
    rates: np.ndarray
    """[epoch, predicted class]."""
    is_complete: bool
    """Whether it is read at each of the view's `class_epochs`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunView:
    """One moment of a run: the last record of each epoch, by epoch."""

    path: Path
    description: RunDescription
    head: RunHead
    epochs: np.ndarray
    """Completed epochs, ascending."""
    scalars: np.ndarray
    """[epoch, column], columns as in the description."""
    records: np.ndarray
    """The record that counts for each epoch."""
    class_epochs: np.ndarray
    """The epochs that the arrays by class hold: all, unless `is_partial` or `stride` say so."""
    recall: np.ndarray
    """[class epoch, split, class]."""
    notes: np.ndarray
    """[class epoch, split, class]."""
    counts: np.ndarray | None = None
    """[class epoch, split, true class, predicted class]; None where they are not kept."""
    num_waiting: int = 0
    """Records still to be read for the arrays by class."""
    stride: int = 1
    """Of the older epochs the arrays by class hold every so many-th."""
    unreadable: tuple[str, ...] = ()
    """Why some records are missing, one sentence each, at most a few."""
    matrices: Matrices | None = field(default=None, repr=False)
    """Where matrices that are not kept come from."""

    def __len__(self) -> int:
        """Number of epochs."""
        return len(self.epochs)

    @property
    def is_partial(self) -> bool:
        """Whether the arrays by class lack epochs that are recorded."""
        return len(self.class_epochs) < len(self.epochs)

    @property
    def coverage(self) -> str:
        """Which epochs the arrays by class hold, where it is not all of them."""
        if not self.is_partial:
            return ""
        return f"{len(self.class_epochs):,} of {len(self.epochs):,} epochs"

    @property
    def is_contiguous(self) -> bool:
        """Whether the arrays by class hold every epoch from their first to the newest."""
        if not len(self.class_epochs):
            return True
        first = int(np.searchsorted(self.epochs, self.class_epochs[0]))
        return len(self.epochs) - first == len(self.class_epochs)

    def column(self, name: str) -> np.ndarray:
        """One scalar column; NaN where the run has none of that name."""
        if name not in self.description.scalar_columns:
            return np.full(len(self), np.nan)
        return self.scalars[:, self.description.scalar_columns.index(name)]

    def counts_at(self, position: int) -> np.ndarray:
        """The counts at one position of the epoch axis: [split, true class, predicted class].

        Raises StoreError when they have to be read and are damaged.
        """
        epoch = self.epochs[position]
        if self.counts is not None:
            place = int(np.searchsorted(self.class_epochs, epoch))
            if place < len(self.class_epochs) and self.class_epochs[place] == epoch:
                return self.counts[place]
        if self.matrices is None:
            raise StoreError(f"epoch {epoch} of {self.path} has no counts")
        return self.matrices.counts(int(self.records[position]))

    def rates(self, split: str, position: int) -> np.ndarray:
        """The CCTM at one position of the epoch axis."""
        return cctm(self.counts_at(position)[SPLITS.index(split)])

    def pairs(self, split: str, position: int) -> tuple[UndirectedPair, ...]:
        """The pairs of classes that interfere most at one position of the epoch axis."""

        def compute() -> tuple[UndirectedPair, ...]:
            return undirected_pairs(self.rates(split, position), limit=_MAX_PAIRS)

        if self.matrices is None:
            return compute()
        return self.matrices.remember(("pairs", split, int(self.records[position])), compute)

    def dances(self, split: str) -> tuple[DancingPair, ...]:
        """The pairs of classes with the highest dance scores over the class epochs."""
        return self.remember(
            ("dances", split), lambda: ranked_dances(self.recall_of(split), limit=_MAX_PAIRS)
        )

    def scores_of(self, split: str, classes: tuple[int, ...]) -> np.ndarray:
        """The dance scores of every two of some classes over the class epochs."""
        return self.remember(
            ("scores", split, classes),
            lambda: dance_scores(self.recall_of(split)[:, list(classes)]),
        )

    def rates_among(self, split: str, position: int, classes: tuple[int, ...]) -> np.ndarray:
        """The entries of the CCTM of every two of some classes; raises StoreError as above."""
        rows = self.counts_at(position)[SPLITS.index(split), list(classes)]
        total = rows.sum(axis=1, keepdims=True)
        entries = rows[:, list(classes)].astype(np.float64)
        return np.divide(entries, total, out=np.full_like(entries, np.nan), where=total > 0)

    def remember(self, key: tuple[object, ...], compute: Callable[[], Any]) -> Any:  # noqa: ANN401
        """A value that follows from the recalls of this moment, computed once."""
        if self.matrices is None or not len(self.records):
            return compute()
        moment = (len(self.class_epochs), int(self.records[-1]))
        return self.matrices.remember((*key, *moment), compute)

    def row_by_epoch(self, split: str, true_class: int) -> RowByEpoch:
        """One row of the CCTM over the class epochs; of large matrices as far as it is read."""
        places = np.arange(len(self.class_epochs))
        if self.counts is not None:
            counts = self.counts[:, SPLITS.index(split), true_class]
        elif self.matrices is not None:
            records = self.records[np.searchsorted(self.epochs, self.class_epochs)]
            places, counts = self.matrices.rows(records, split, true_class)
        else:
            places, counts = places[:0], np.empty((0, self.description.num_classes))
        counts = counts.astype(np.float64)
        total = counts.sum(axis=1, keepdims=True)
        return RowByEpoch(
            epochs=self.class_epochs[places],
            places=places,
            rates=np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0),
            is_complete=len(places) == len(self.class_epochs),
        )

    def recall_of(self, split: str) -> np.ndarray:
        """Recalls by class epoch and class."""
        return self.recall[:, SPLITS.index(split)]

    def notes_of(self, split: str) -> np.ndarray:
        """Dancing notes by class epoch and class."""
        return self.notes[:, SPLITS.index(split)]


class RunHistory:
    """Grows with a run: reads each committed record once, as time allows.

    The views it hands out read with a reader of their own, from whatever thread. What it keeps
    stays within budgets, COUNTS_BYTES and DERIVED_BYTES unless told otherwise.
    """

    def __init__(
        self,
        reader: RunReader,
        *,
        for_views: RunReader | None = None,
        matrices_bytes: int | None = None,
        derived_bytes: int | None = None,
    ) -> None:
        self._reader = reader
        self._matrices_budget = matrices_bytes
        self._derived_budget = derived_bytes
        self._matrices = Matrices(for_views or RunReader(reader.path))
        num_classes = reader.description.num_classes
        self._counts_bytes = 4 * len(SPLITS) * num_classes**2
        self._derived_bytes = (8 + 2) * len(SPLITS) * num_classes
        self._num_records = 0
        self._scalars = np.empty((0, len(reader.description.scalar_columns)))
        self._epochs = np.empty(0, np.int64)
        self._records = np.empty(0, np.int64)
        self._stride = 1
        self._rows = _Rows(
            {
                "epochs": np.empty(0, np.int64),
                "records": np.empty(0, np.int64),
                "recall": np.empty((0, len(SPLITS), num_classes)),
                "notes": np.empty((0, len(SPLITS), num_classes), np.int16),
                "counts": np.empty((0, len(SPLITS), num_classes, num_classes), np.int32),
            }
        )
        self._waiting = np.empty(0, np.int64)
        """Positions on the epoch axis still to be read, ascending; taken from the end."""
        self._unreadable: dict[int, str] = {}
        """Why, by record."""
        self._retried = -math.inf
        self._singly = 0
        """So many records are read one by one: one among them is damaged."""
        self._suspicion = ""

    @property
    def num_waiting(self) -> int:
        """Records still to be read."""
        return len(self._waiting)

    @property
    def complaint(self) -> str:
        """Why some of the records read so far, or read next, are missing; empty: none is."""
        if self._singly:
            return self._suspicion
        return next(iter(self._unreadable.values()), "")

    @property
    def has_unreadable(self) -> bool:
        """Whether some records could not be read."""
        return bool(self._unreadable)

    def advance(self, head: RunHead, *, seconds: float = math.inf) -> RunView:
        """The view after reading what is new up to a head, the newest first, for so long."""
        if head.num_records > self._num_records:
            self._take_scalars(head.num_records)
            self._drop_superseded()
            self._thin_out()
            self._find_waiting()
        elif self._unreadable and time.monotonic() - self._retried > RETRY_SECONDS:
            self._retried = time.monotonic()
            self._find_waiting(num_retried=MAX_RETRIED)
        self._read(time.monotonic() + seconds)
        return self._view(head)

    def read_on(self, seconds: float) -> bool:
        """Read rows that a painter waits for, for so long; whether there were any."""
        return self._matrices.read_on(seconds)

    def _take_scalars(self, stop: int) -> None:
        start = self._num_records
        # Piece by piece: a head that promises too much fails before it costs memory.
        pieces = [
            self._reader.scalars(first, min(first + _SCALAR_ROWS, stop))
            for first in range(start, stop, _SCALAR_ROWS)
        ]
        self._scalars = _with_room(self._scalars, start, stop)
        self._scalars[start:stop] = np.concatenate(pieces)
        self._num_records = stop
        self._epochs, self._records = last_records(self._scalars[:stop, 0])

    def _drop_superseded(self) -> None:
        """Forget what followed from records that a newer attempt has replaced."""
        is_current = np.isin(self._rows["records"], self._records)
        if not is_current.all():
            self._rows.keep(np.flatnonzero(is_current))
        if self._unreadable:
            current = set(self._records.tolist())
            kept = {r: why for r, why in self._unreadable.items() if r in current}
            self._unreadable = kept

    def _thin_out(self) -> None:
        """Stay within the budgets: no matrices, then fewer epochs."""
        num_epochs = len(self._epochs)
        for_counts = COUNTS_BYTES if self._matrices_budget is None else self._matrices_budget
        for_derived = DERIVED_BYTES if self._derived_budget is None else self._derived_budget
        if self._rows.has("counts") and num_epochs * self._counts_bytes > for_counts:
            self._rows.drop("counts")
        room = max(4, for_derived // self._derived_bytes)
        stride = self._stride
        # Down to three quarters, so that there is room for the next ones, all of them.
        while -(-num_epochs // self._stride) > 3 * room // 4:
            self._stride *= 2
        if self._stride != stride or len(self._rows) > room:
            places = np.searchsorted(self._epochs, self._rows["epochs"])
            self._rows.keep(np.flatnonzero(places % self._stride == 0))

    def _find_waiting(self, *, num_retried: int = 0) -> None:
        last = len(self._epochs) - 1
        wanted = np.arange(0, last + 1, self._stride)
        if last >= 0 and wanted[-1] != last:
            wanted = np.append(wanted, last)
        is_read = np.isin(self._records[wanted], self._rows["records"])
        is_damaged = np.isin(self._records[wanted], list(self._unreadable))
        is_damaged[np.flatnonzero(is_damaged)[::-1][:num_retried]] = False
        self._waiting = wanted[~is_read & ~is_damaged]

    def _read(self, deadline: float) -> None:
        batch = batch_length(self._reader.description.num_classes)
        while len(self._waiting):
            positions = self._waiting[-(1 if self._singly else batch) :]
            try:
                self._insert(positions)
            except StoreError as error:
                if len(positions) > 1:
                    self._singly, self._suspicion = len(positions), str(error)
                    continue
                self._unreadable[int(self._records[positions[0]])] = str(error)
            self._singly = max(0, self._singly - 1)
            self._waiting = self._waiting[: len(self._waiting) - len(positions)]
            if time.monotonic() > deadline:
                return

    def _insert(self, positions: np.ndarray) -> None:
        """Read the records at some positions and put them where they belong."""
        records = self._records[positions]
        counts = counts_of(self._reader, records)
        notes = [dancing_notes(cctm(counts[:, split])) for split in range(len(SPLITS))]
        found = {
            "epochs": self._epochs[positions],
            "records": records,
            "recall": recall(counts),
            "notes": np.stack(notes, axis=1),
            "counts": counts,
        }
        self._rows.insert(found, ahead=len(self._waiting))
        for record in records.tolist():
            self._unreadable.pop(record, None)

    def _view(self, head: RunHead) -> RunView:
        n = self._num_records
        records = self._records
        is_plain = len(records) == n and bool((np.diff(records) == 1).all())
        return RunView(
            path=self._reader.path,
            description=self._reader.description,
            head=head,
            epochs=self._epochs,
            scalars=self._scalars[:n] if is_plain else self._scalars[records],
            records=records,
            class_epochs=self._rows["epochs"],
            recall=self._rows["recall"],
            notes=self._rows["notes"],
            counts=self._rows["counts"] if self._rows.has("counts") else None,
            num_waiting=len(self._waiting),
            stride=self._stride,
            unreadable=tuple(self._unreadable[r] for r in sorted(self._unreadable)[:3]),
            matrices=self._matrices,
        )


class _Rows:
    """Arrays of equal length that grow at both ends, ascending by epoch.

    What was handed out is never written again: rows are added beside it, and a row that goes
    between others, or away, makes new arrays.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._start = self._stop = 0

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name][self._start : self._stop]

    def has(self, name: str) -> bool:
        """Whether there is an array of that name."""
        return name in self._arrays

    def drop(self, name: str) -> None:
        """Do without an array from now on."""
        del self._arrays[name]

    def keep(self, places: np.ndarray) -> None:
        """Keep the rows at some places only."""
        self._arrays = {name: self[name][places] for name in self._arrays}
        self._start, self._stop = 0, len(places)

    def insert(self, rows: dict[str, np.ndarray], *, ahead: int) -> None:
        """Put rows, ascending by epoch, where they belong; none has the epoch of another.

        About so many rows may yet come before them.
        """
        epochs, here = rows["epochs"], self["epochs"]
        if not len(here) or epochs[0] > here[-1]:
            self._reserve(0 if len(here) else ahead, len(epochs))
            at = slice(self._stop, self._stop + len(epochs))
            self._stop = at.stop
        elif epochs[-1] < here[0]:
            self._reserve(ahead, 0)
            at = slice(self._start - len(epochs), self._start)
            self._start = at.start
        else:
            order = np.argsort(np.concatenate([here, epochs]), kind="stable")
            self._arrays = {
                name: np.concatenate([self[name], rows[name]])[order] for name in self._arrays
            }
            self._start, self._stop = 0, len(order)
            return
        for name, values in self._arrays.items():
            values[at] = rows[name]

    def _reserve(self, before: int, after: int) -> None:
        """See to it that there is room at both ends; pages never written cost nothing."""
        length = len(self._arrays["epochs"])
        if self._start >= before and length - self._stop >= after:
            return
        start = max(self._start, before)
        stop = start + len(self)
        behind = max(length - self._stop, after + stop // 4 + 4)
        grown: dict[str, np.ndarray] = {}
        for name, values in self._arrays.items():
            grown[name] = np.empty((stop + behind, *values.shape[1:]), values.dtype)
            grown[name][start:stop] = self[name]
        self._arrays, self._start, self._stop = grown, start, stop


def _with_room(values: np.ndarray, used: int, length: int) -> np.ndarray:
    """An array with room for `length` rows; the old rows are shared or copied."""
    if len(values) >= length:
        return values
    grown = np.empty((max(length, 2 * used), *values.shape[1:]), values.dtype)
    grown[:used] = values[:used]
    return grown


def last_records(epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The epochs recorded, ascending, and the record that counts for each: its last."""
    known = np.flatnonzero(np.abs(epochs) < _MAX_EPOCH)
    # Reversed, the first of each value.
    unique, from_end = np.unique(epochs[known].astype(np.int64)[::-1], return_index=True)
    return unique, known[len(known) - 1 - from_end]


def read_counts(reader: RunReader, records: np.ndarray) -> Iterator[np.ndarray]:
    """The counts of some records in order, a few at a time: [record, split, true, predicted].

    Raises StoreError when one is damaged.
    """
    batch = batch_length(reader.description.num_classes)
    for start in range(0, len(records), batch):
        yield counts_of(reader, records[start : start + batch])


def batch_length(num_classes: int) -> int:
    """How many records are read at once: 4 MiB of counts."""
    return max(1, min(_MAX_BATCH, _BATCH_BYTES // (4 * len(SPLITS) * num_classes**2)))


def counts_of(reader: RunReader, records: np.ndarray) -> np.ndarray:
    """The counts of a few records; raises StoreError when one is damaged."""
    first, stop = int(records[0]), int(records[-1]) + 1
    if stop - first == len(records) and bool((np.diff(records) == 1).all()):
        return reader.counts(first, stop)
    return np.concatenate([reader.counts(int(r), int(r) + 1) for r in records])
