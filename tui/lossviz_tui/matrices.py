"""Confusion matrices read when they are looked at, where all of them would fill the memory.

A thousand epochs of a thousand classes are 8 GB of counts: what is kept is one row of each, and
the few matrices that were looked at last.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import SPLITS

KEPT_BYTES = 32 * 2**20
"""For the matrices that were looked at last."""
MAX_ROW_TABLES = 3
PATIENCE_SECONDS = 0.01
"""How long a painter waits for rows; the thread that polls reads the rest."""
WANTED_SECONDS = 3.0
"""Rows nobody has asked for since are not read on."""
_MAX_REMEMBERED = 16


@dataclass(eq=False)
class _RowTable:
    """One row of the matrices of many records, by record number."""

    rows: np.ndarray
    is_read: np.ndarray
    to_read: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    """Records somebody waits for, the coarse ones first."""


class Matrices:
    """The confusion matrices of one run by record number; safe to use from any thread.

    The reader is its own: nobody else uses it.
    """

    def __init__(self, reader: RunReader) -> None:
        self._reader = reader
        self._num_classes = reader.description.num_classes
        self._lock = threading.RLock()
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._tables: OrderedDict[tuple[str, int], _RowTable] = OrderedDict()
        self._asked: dict[tuple[str, int], float] = {}
        self._remembered: OrderedDict[object, Any] = OrderedDict()

    def counts(self, record: int) -> np.ndarray:
        """Counts of one record: [split, true class, predicted class].

        Raises StoreError when the record is damaged.
        """
        with self._lock:
            found = self._kept.get(record)
            if found is None:
                found = self._reader.counts(record, record + 1)[0]
                self._kept[record] = found
                room = max(2, KEPT_BYTES // found.nbytes)
                while len(self._kept) > room:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(record)
            return found

    def rows(
        self, records: np.ndarray, split: str, true_class: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """One row of the counts of many records, as far as they are read.

        Returns the places in `records` that are read, and their rows [place, predicted class].
        Waits a moment for the others; `read_on` reads what is still missing then, coarse steps
        over the whole course first.
        """
        key = (split, true_class)
        with self._lock:
            table = self._table(key, int(records.max(initial=-1)) + 1)
            missing = np.flatnonzero(~table.is_read[records])
            table.to_read = records[missing[_coarse_first(len(records), missing)]]
            self._asked[key] = time.monotonic()
        self._read(key, PATIENCE_SECONDS)
        with self._lock:
            places = np.flatnonzero(table.is_read[records])
            return places, table.rows[records[places]]

    def read_on(self, seconds: float) -> bool:
        """Read rows that somebody waits for, for so long; whether there were any to read."""
        with self._lock:
            since = time.monotonic() - WANTED_SECONDS
            self._asked = {key: asked for key, asked in self._asked.items() if asked > since}
            wanted = list(self._asked)
        has_read = False
        for key in wanted:
            has_read = self._read(key, seconds / len(wanted)) or has_read
        return has_read

    def remember(self, key: object, compute: Callable[[], Any]) -> Any:  # noqa: ANN401
        """A value that follows from a record, computed once and kept for a while."""
        with self._lock:
            if key in self._remembered:
                self._remembered.move_to_end(key)
                return self._remembered[key]
        found = compute()
        with self._lock:
            self._remembered[key] = found
            while len(self._remembered) > _MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return found

    def _read(self, key: tuple[str, int], seconds: float) -> bool:
        """Read the rows a table waits for; the lock is free between any two records."""
        deadline = time.monotonic() + seconds
        has_read = False
        while True:
            with self._lock:
                table = self._tables.get(key)
                if table is None or not len(table.to_read):
                    return has_read
                record, table.to_read = int(table.to_read[0]), table.to_read[1:]
                if not table.is_read[record]:
                    try:
                        counts = self._reader.counts(record, record + 1)[0]
                    except StoreError:
                        continue  # the history has told of it
                    split, true_class = key
                    table.rows[record] = counts[SPLITS.index(split), true_class]
                    table.is_read[record] = has_read = True
            if time.monotonic() > deadline:
                return has_read

    def _table(self, key: tuple[str, int], length: int) -> _RowTable:
        table = self._tables.get(key)
        if table is None or len(table.is_read) < length:
            room = length + length // 4 + 64
            # Pages of records that are never read cost nothing.
            grown = _RowTable(
                rows=np.empty((room, self._num_classes), np.int32),
                is_read=np.zeros(room, np.bool_),
            )
            if table is not None:
                known = np.flatnonzero(table.is_read)
                grown.rows[known], grown.is_read[known] = table.rows[known], True
            table = self._tables[key] = grown
        self._tables.move_to_end(key)
        while len(self._tables) > MAX_ROW_TABLES:
            self._tables.popitem(last=False)
        return table


def _coarse_first(length: int, places: np.ndarray) -> np.ndarray:
    """An order of places: the last, then every 2^k-th counted from it, k falling."""
    from_end = length - 1 - places
    step = np.where(from_end == 0, np.iinfo(np.int64).max, from_end & -from_end)
    return np.argsort(-step, kind="stable")
