"""One line for each run and each scan: what lists say of them, on the screen and in scripts."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.head import ScanHead
from lossviz_analysis.store.reader import RunReader, standing
from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.scans import ScanReader


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

    @property
    def share(self) -> float:
        """Share of the work that is done."""
        return self.done / self.total if self.total else 0.0


def run_row(path: Path) -> RunRow:
    """What a list says of a run; a damaged one says why."""
    reader = RunReader(path)
    try:
        head, description = reader.head(), reader.description
        rows = reader.scalars(0, head.num_records) if head.num_records else np.empty((0, 0))
        found = standing(reader, head)
    except StoreError as error:
        return _damaged(path, str(error))
    columns = description.scalar_columns
    trend = (
        rows[:, columns.index("test_accuracy")]
        if len(rows) and "test_accuracy" in columns
        else np.empty(0)
    )
    finite = trend[np.isfinite(trend)]
    return RunRow(
        path=path,
        word=found.word,
        epoch=int(np.nan_to_num(rows[-1, 0])) if len(rows) else 0,
        epochs=description.planned_epochs,
        best_test_accuracy=float(finite.max()) if finite.size else None,
        model=str(description.model.get("name", "")),
        dataset=str(description.dataset.get("name", "")),
        trend=trend,
        message=found.message,
        changed=float(rows[-1, 2]) if len(rows) else math.nan,
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


def _rate(head: ScanHead) -> float:
    return 1000.0 * head.done / head.elapsed_ms if head.elapsed_ms else 0.0
