"""Confusion matrices of runs that are not open, for comparing the open one with them."""

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_tui.history import last_records

_SCALAR_ROWS = 4_096


@dataclass(frozen=True, kw_only=True, eq=False)
class OtherMatrix:
    """The counts of another run at one of its epochs."""

    epoch: int
    counts: np.ndarray
    """[split, true class, predicted class]."""
    class_names: tuple[str, ...]


@dataclass(eq=False)
class _Known:
    """What was read of a run: the last record of each of its epochs."""

    reader: RunReader
    nonce: int
    num_records: int
    epochs: np.ndarray
    records: np.ndarray
    shown: OtherMatrix | None = None


class OtherRuns:
    """Reads other runs when they are compared with; safe to use from any thread."""

    def __init__(self) -> None:
        self._known: dict[Path, _Known] = {}
        self._lock = threading.Lock()

    def matrix(self, path: Path, epoch: int) -> OtherMatrix:
        """The counts of a run at an epoch, or at the last one it recorded before.

        Raises StoreError when it has none so early, or cannot be read.
        """
        with self._lock:
            known = self._read_on(path)
            place = int(np.searchsorted(known.epochs, epoch, side="right")) - 1
            if place < 0:
                raise StoreError(f"{path.name} has no epoch up to {epoch}")
            found, record = int(known.epochs[place]), int(known.records[place])
            if known.shown is None or known.shown.epoch != found:
                known.shown = OtherMatrix(
                    epoch=found,
                    counts=known.reader.counts(record, record + 1)[0],
                    class_names=tuple(known.reader.description.class_names),
                )
            return known.shown

    def _read_on(self, path: Path) -> _Known:
        """The records of a run as they stand."""
        known = self._known.get(path)
        reader = known.reader if known is not None else RunReader(path)
        head = reader.head()
        if known is not None and (known.nonce, known.num_records) == (
            head.nonce,
            head.num_records,
        ):
            return known
        if known is not None and known.nonce != head.nonce:
            reader = RunReader(path)
        column = [
            reader.scalars(first, min(first + _SCALAR_ROWS, head.num_records))[:, 0]
            for first in range(0, head.num_records, _SCALAR_ROWS)
        ]
        epochs, records = last_records(np.concatenate([np.empty(0), *column]))
        self._known[path] = _Known(reader, head.nonce, head.num_records, epochs, records)
        return self._known[path]
