"""A run's records as the views need them: the last one of each epoch, and what follows.

Only counts and scalars come from the store; recalls and notes are derived once for each record.
The arrays of a `RunView` are never written again, so a view can be handed to another thread.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lossviz_analysis.classwise.confusion import cctm, recall
from lossviz_analysis.classwise.notes import dancing_notes
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.head import RunHead
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import SPLITS

_BATCH_BYTES = 64 * 2**20


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
    counts: np.ndarray
    """[epoch, split, true class, predicted class]."""
    recall: np.ndarray
    """[epoch, split, class]."""
    notes: np.ndarray
    """[epoch, split, class]."""

    def __len__(self) -> int:
        """Number of epochs."""
        return len(self.epochs)

    def column(self, name: str) -> np.ndarray:
        """One scalar column; NaN where the run has none of that name."""
        if name not in self.description.scalar_columns:
            return np.full(len(self), np.nan)
        return self.scalars[:, self.description.scalar_columns.index(name)]

    def rates(self, split: str, position: int) -> np.ndarray:
        """The CCTM at one position of the epoch axis."""
        return cctm(self.counts[position, SPLITS.index(split)])

    def row_by_epoch(self, split: str, true_class: int) -> np.ndarray:
        """One row of the CCTM of every epoch: [epoch, predicted class]."""
        counts = self.counts[:, SPLITS.index(split), true_class].astype(np.float64)
        total = counts.sum(axis=1, keepdims=True)
        return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)

    def recall_of(self, split: str) -> np.ndarray:
        """Recalls by epoch and class."""
        return self.recall[:, SPLITS.index(split)]

    def notes_of(self, split: str) -> np.ndarray:
        """Dancing notes by epoch and class."""
        return self.notes[:, SPLITS.index(split)]


class RunHistory:
    """Grows with a run: reads each committed record once."""

    def __init__(self, reader: RunReader) -> None:
        self._reader = reader
        self._num_records = 0
        num_classes = reader.description.num_classes
        self._scalars = np.empty((0, len(reader.description.scalar_columns)))
        self._counts = np.empty((0, len(SPLITS), num_classes, num_classes), np.int32)
        self._recall = np.empty((0, len(SPLITS), num_classes))
        self._notes = np.empty((0, len(SPLITS), num_classes), np.int64)

    def advance(self, head: RunHead) -> RunView:
        """The view after reading what is new up to a head."""
        num_classes = self._reader.description.num_classes
        batch = max(1, _BATCH_BYTES // (8 * len(SPLITS) * num_classes**2))
        while self._num_records < head.num_records:
            start = self._num_records
            stop = min(start + batch, head.num_records)
            counts = self._reader.counts(start, stop)
            self._append(self._reader.scalars(start, stop), counts)
        return self._view(head)

    def _append(self, scalars: np.ndarray, counts: np.ndarray) -> None:
        notes = np.stack(
            [dancing_notes(cctm(counts[:, split])) for split in range(len(SPLITS))], axis=1
        )
        start, stop = self._num_records, self._num_records + len(counts)
        self._scalars = _with_room(self._scalars, stop)
        self._counts = _with_room(self._counts, stop)
        self._recall = _with_room(self._recall, stop)
        self._notes = _with_room(self._notes, stop)
        self._scalars[start:stop] = scalars
        self._counts[start:stop] = counts
        self._recall[start:stop] = recall(counts)
        self._notes[start:stop] = notes
        self._num_records = stop

    def _view(self, head: RunHead) -> RunView:
        n = self._num_records
        epochs = self._scalars[:n, 0]
        # The last record of each epoch: reversed, the first of each value.
        unique, from_end = np.unique(epochs[::-1], return_index=True)
        rows = n - 1 - from_end
        is_plain = len(rows) == n and bool((np.diff(rows) > 0).all())
        chosen: slice | np.ndarray = slice(0, n) if is_plain else rows
        return RunView(
            path=self._reader.path,
            description=self._reader.description,
            head=head,
            epochs=unique.astype(np.int64),
            scalars=self._scalars[chosen],
            counts=self._counts[chosen],
            recall=self._recall[chosen],
            notes=self._notes[chosen],
        )


def _with_room(values: np.ndarray, length: int) -> np.ndarray:
    """An array with room for `length` rows; the old rows are shared or copied."""
    if len(values) >= length:
        return values
    grown = np.empty((max(length, 2 * len(values)), *values.shape[1:]), values.dtype)
    grown[: len(values)] = values
    return grown


def read_view(reader: RunReader) -> RunView:
    """A run as it stands."""
    return RunHistory(reader).advance(reader.head())
