"""One line for each run and each scan: what lists say of them, on the screen and in scripts."""

import calendar
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.head import RunHead, ScanHead
from lossviz_analysis.store.reader import RunReader, RunStanding, find_runs, standing
from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.scans import ScanReader
from lossviz_analysis.store.schema import RUN_SUFFIX, RunState
from lossviz_tui.liveness import stalled_word
from lossviz_tui.paint.cells import clean_text

_MAX_EPOCH = 2.0**53
_MAX_NAME = 200
WAITING = ("queued", "interrupted")
"""States of a scan that waits for a worker."""
_STAMP_LENGTH = len("20250102-030405")
_ENDED = (RunState.FINISHED, RunState.FAILED, RunState.STOPPED)


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRow:
    """One line of the list of runs."""

    path: Path
    word: str
    epoch: int
    epochs: int | None
    best_test_accuracy: float | None
    model: str
    dataset: str
    trend: np.ndarray
    """Test accuracy by record."""
    message: str
    changed: float
    """Unix time of the last record; NaN where there is none."""

    @cached_property
    def words(self) -> str:
        """What a filter looks at, as a person reads it: name, state, model, data."""
        said = (self.path.name.removesuffix(RUN_SUFFIX), self.word, self.model, self.dataset)
        return " ".join(clean_text(text, _MAX_NAME) for text in said).lower()

    def matches(self, text: str) -> bool:
        """Whether every word of a text occurs in the row; of no word it does."""
        return all(word in self.words for word in text.lower().split())


@dataclass(frozen=True, kw_only=True)
class ScanRow:
    """One line of the list of scans."""

    scan_id: str
    word: str
    request: ScanRequest | None
    done: int
    total: int
    items_per_second: float
    message: str
    place: int = 0
    """In the queue, from 1, which comes next; 0 where it does not wait."""
    images_per_second: float = 0.0
    """Of one that is running, by its worker's word, rests included; 0 where it says none."""

    @property
    def share(self) -> float:
        """Share of the work that is done."""
        return self.done / self.total if self.total else 0.0


@dataclass(eq=False)
class _Known:
    """What was read of a run before."""

    reader: RunReader
    nonce: int
    sequence: int = -1
    num_records: int = 0
    trend: np.ndarray = field(default_factory=lambda: np.empty(0))
    last: np.ndarray = field(default_factory=lambda: np.empty(0))
    """Scalars of the last record."""
    at_rest: RunRow | None = None
    """What the list says of a run that has ended, for as long as its head stays."""


class RunLister:
    """Lists runs again and again; of one that has ended it reads the head only."""

    def __init__(self) -> None:
        self._known: dict[Path, _Known] = {}

    def rows(self, folder: Path) -> tuple[RunRow, ...]:
        """The runs at or below a folder, newest change first."""
        paths = find_runs(folder)
        self._known = {path: self._known[path] for path in paths if path in self._known}
        return tuple(self.row(path) for path in paths)

    def row(self, path: Path) -> RunRow:
        """What a list says of a run; a damaged one says why."""
        try:
            known = self._known.get(path)
            head = (known.reader if known else RunReader(path)).head()
            if known is None or known.nonce != head.nonce:
                known = self._known[path] = _Known(RunReader(path), head.nonce)
            if known.sequence != head.sequence:
                _read_on(known, head)
            elif known.at_rest is not None:
                return known.at_rest
            row = _row(known, standing(known.reader, head))
        except StoreError as error:
            return _damaged(path, str(error))
        known.at_rest = row if head.state in _ENDED else None
        return row


def _read_on(known: _Known, head: RunHead) -> None:
    """Read the scalars committed since; there is no need for those before."""
    start = known.num_records
    if head.num_records > start:
        rows = known.reader.scalars(start, head.num_records)
        columns = known.reader.description.scalar_columns
        if "test_accuracy" in columns:
            accuracy = rows[:, columns.index("test_accuracy")]
            known.trend = np.concatenate([known.trend, accuracy])
        known.last = rows[-1].copy()
        known.num_records = head.num_records
    known.sequence = head.sequence


def _row(known: _Known, found: RunStanding) -> RunRow:
    description = known.reader.description
    finite = known.trend[np.isfinite(known.trend)]
    epoch, changed = (float(known.last[k]) if len(known.last) else math.nan for k in (0, 2))
    return RunRow(
        path=known.reader.path,
        word=stalled_word(found.word, known.reader.path),
        epoch=int(epoch) if abs(epoch) < _MAX_EPOCH else 0,
        epochs=description.planned_epochs,
        best_test_accuracy=float(finite.max()) if finite.size else None,
        model=str(description.model.get("name", ""))[:_MAX_NAME],
        dataset=str(description.dataset.get("name", ""))[:_MAX_NAME],
        trend=known.trend,
        message=found.message,
        changed=changed if math.isfinite(changed) else math.nan,
    )


def _damaged(path: Path, sentence: str) -> RunRow:
    return RunRow(
        path=path,
        word="damaged",
        epoch=0,
        epochs=None,
        best_test_accuracy=None,
        model="",
        dataset="",
        trend=np.empty(0),
        message=sentence,
        changed=math.nan,
    )


def scan_groups(rows: Sequence[ScanRow]) -> tuple[tuple[ScanRow, ...], ...]:
    """Scans by series, in the order of each series' first; a scan of none is on its own."""
    groups: dict[str, list[ScanRow]] = {}
    for row in rows:
        series = row.request.series if row.request is not None else ""
        groups.setdefault(f"series {series}" if series else row.scan_id, []).append(row)
    return tuple(map(tuple, groups.values()))


def with_places(rows: Sequence[ScanRow], order: Sequence[str]) -> tuple[ScanRow, ...]:
    """The rows, each that waits with its place in the queue.

    `order` names the scans somebody wants first; see `scan_queue`.
    """
    wanted = {scan_id: place for place, scan_id in reversed(list(enumerate(order)))}
    queue = sorted(
        (row.scan_id for row in rows if row.word in WAITING),
        key=lambda scan_id: (wanted.get(scan_id, len(wanted)), scan_id),
    )
    places = {scan_id: place for place, scan_id in enumerate(queue, start=1)}
    return tuple(replace(row, place=places.get(row.scan_id, 0)) for row in rows)


def moved_in_queue(rows: Sequence[ScanRow], scan_id: str, step: int) -> tuple[str, ...]:
    """The queue after what belongs to a scan has been moved by a step, a series as a whole.

    Raises StoreError, which says why, where it does not wait or cannot be moved further.
    """
    waiting = sorted((row for row in rows if row.place), key=lambda row: row.place)
    groups = list(scan_groups(waiting))
    mates = next((g for g in scan_groups(rows) if scan_id in {r.scan_id for r in g}), ())
    here = [k for k, group in enumerate(groups) if set(group) & set(mates)]
    if not here:
        raise StoreError("only a scan that waits can be moved in the queue")
    there = here[0] + step
    if not 0 <= there < len(groups):
        raise StoreError(f"it is the {'last' if step > 0 else 'next'} one already")
    groups.insert(there, groups.pop(here[0]))
    return tuple(row.scan_id for group in groups for row in group)


def scan_row(scan: ScanReader) -> ScanRow:
    """What a list says of a scan; a damaged one says why."""
    try:
        head = scan.head()
        row = ScanRow(
            scan_id=scan.scan_id,
            word=scan.state_word(head),
            request=scan.request,
            done=head.done,
            total=head.total,
            items_per_second=_rate(head),
            message="",
        )
        if row.word == "running":
            return replace(
                row, images_per_second=max(0.0, scan.report().paced_images_per_second)
            )
        return replace(row, message=scan.message()) if row.word == "failed" else row
    except StoreError as error:
        return ScanRow(
            scan_id=scan.scan_id,
            word="damaged",
            request=None,
            done=0,
            total=0,
            items_per_second=0.0,
            message=str(error),
        )


def asked_at(scan_id: str) -> float:
    """Unix time when a scan was asked for, in whole seconds; NaN where its id does not say."""
    try:
        return float(calendar.timegm(time.strptime(scan_id[:_STAMP_LENGTH], "%Y%m%d-%H%M%S")))
    except ValueError:
        return math.nan


def _rate(head: ScanHead) -> float:
    return 1000.0 * head.done / head.elapsed_ms if head.elapsed_ms else 0.0
