"""What the screen shows, as plain values for scripts: the contract of `show --json`."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from lossviz_analysis.classwise.confusion import cctm
from lossviz_analysis.classwise.interference import directed_pairs, symmetry
from lossviz_analysis.classwise.notes import dancing_notes
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader, standing
from lossviz_analysis.store.results import ScanResult, SplitResult, read_result
from lossviz_analysis.store.scans import ScanReader, find_scans
from lossviz_analysis.store.schema import SPLITS
from lossviz_tui.history import RunHistory, RunView, read_counts
from lossviz_tui.liveness import stalled_word

NUM_PAIRS = 20
MAX_DETAILED_BYTES = 16 * 2**20
"""Of a scan's cells; larger ones are not read to be summed up."""


def plain(value: Any) -> Any:  # noqa: ANN401  # any JSON value in, any JSON value out
    """A value as strict JSON has it: arrays as lists, NaN and infinities as null."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def run_facts(view: RunView, reader: RunReader) -> dict[str, Any]:
    """What `show` prints of a run, save for what it prints of every epoch.

    CCTM, recall and pairs are those of the last epoch; rates are fractions, null where a class
    has no examples.
    """
    head = view.head
    found = standing(reader, head)
    facts: dict[str, Any] = {
        "run_id": view.description.run_id,
        "path": str(view.path),
        "state": stalled_word(found.word, view.path),
        "message": found.message,
        "class_names": view.description.class_names,
        "model": view.description.model,
        "dataset": view.description.dataset,
        "recipe": view.description.recipe,
        "cctm": {},
        "recall": {},
        "pairs": [],
        "symmetry": {},
        "checkpoints": [
            {
                "number": info.number,
                "epoch": info.epoch,
                "step": info.step,
                "attempt": info.attempt,
                "is_best": info.number == head.best_checkpoint,
                "bytes": info.num_bytes,
            }
            for info in reader.checkpoints(head)
        ],
        "scans": [scan_details(scan) for scan in find_scans(view.path)],
    }
    if len(view):
        for split in SPLITS:
            rates = view.rates(split, -1)
            facts["cctm"][split] = rates
            facts["recall"][split] = np.diagonal(rates)
            facts["symmetry"][split] = symmetry(rates)
        names = view.description.class_names
        facts["pairs"] = [
            {
                "true": names[pair.true_class],
                "predicted": names[pair.predicted_class],
                "rate": pair.rate,
            }
            for pair in directed_pairs(view.rates("test", -1), limit=NUM_PAIRS)
        ]
    return plain(facts)


def newest_view(reader: RunReader) -> RunView:
    """A run with all its scalars, but with classes of its newest epochs only.

    Raises StoreError when one of those is damaged.
    """
    history = RunHistory(reader)
    view = history.advance(reader.head(), seconds=0.0)
    if history.complaint:
        raise StoreError(history.complaint)
    return view


def summary_pieces(reader: RunReader) -> Iterator[str]:
    """Everything `show --json` prints of a run, as pieces of one JSON object.

    Beside the facts there are `epochs`, the scalars of each, and `notes`, by split and epoch.
    """
    view = newest_view(reader)
    facts = json.dumps(run_facts(view, reader), allow_nan=False)
    yield facts[:-1]
    yield ', "epochs": '
    yield from _list_pieces(_epochs(view))
    yield ', "notes": {'
    for split in SPLITS:
        yield f'{", " if split != SPLITS[0] else ""}"{split}": '
        yield from _list_pieces(_notes(reader, view, split))
    yield "}}"


def _list_pieces(items: Iterable[Any]) -> Iterator[str]:
    before = "["
    for item in items:
        yield before + json.dumps(plain(item), allow_nan=False)
        before = ", "
    yield "]" if before == ", " else "[]"


def _notes(reader: RunReader, view: RunView, split: str) -> Iterator[list[int]]:
    for counts in read_counts(reader, view.records):
        yield from dancing_notes(cctm(counts[:, SPLITS.index(split)])).tolist()


def _epochs(view: RunView) -> Iterator[dict[str, Any]]:
    for row in view.scalars:
        yield scalars_of(view, row)


def scalars_of(view: RunView, row: np.ndarray) -> dict[str, Any]:
    """The scalars of one epoch by name."""
    whole = {"epoch", "attempt"}
    return {
        name: int(value) if name in whole and math.isfinite(value) else value
        for name, value in zip(view.description.scalar_columns, row.tolist(), strict=True)
    }


def scan_summary(scan: ScanReader) -> dict[str, Any]:
    """What there is to say of one scan; a damaged one says so."""
    try:
        head = scan.head()
        request = scan.request
        state = scan.state_word(head)
        geometry = scan.geometry()
    except StoreError as error:
        return {
            "id": scan.scan_id,
            "kind": None,
            "state": "damaged",
            "done": 0,
            "total": 0,
            "request": None,
            "message": str(error),
        }
    summary: dict[str, Any] = {
        "id": scan.scan_id,
        "kind": request.kind,
        "state": state,
        "done": head.done,
        "total": head.total,
        "seconds": head.elapsed_ms / 1000,
        "request": request.to_json(),
        "message": scan.message(),
    }
    if geometry is not None:
        summary["direction_norms"] = geometry.direction_norms
        summary["weight_norm"] = geometry.weight_norm
        summary["cosine"] = geometry.cosine
        summary["explained"] = geometry.explained
        summary["trajectory"] = geometry.trajectory
        summary["report"] = scan.report().to_json()
        summary["provenance"] = geometry.provenance
    return plain(summary)


def scan_details(scan: ScanReader) -> dict[str, Any]:
    """The summary of one scan, and what its cells say at the centre and of the whole grid.

    A scan too large to be read for a summary has no `splits`.
    """
    summary = scan_summary(scan)
    geometry = None if summary["state"] == "damaged" else scan.geometry()
    if geometry is None:
        return summary
    num_values = geometry.num_points * len(geometry.splits) * geometry.layout.width
    if 8 * num_values > MAX_DETAILED_BYTES:
        return summary
    try:
        result = read_result(scan)
    except StoreError as error:
        return summary | {"state": "damaged", "message": str(error)}
    span = [[float(t[0]), float(t[-1])] for t in result.coordinates]
    splits = {name: _split_details(result, split) for name, split in result.splits.items()}
    return summary | plain({"ranges": span, "splits": splits})


def _split_details(result: ScanResult, split: SplitResult) -> dict[str, Any]:
    details: dict[str, Any] = {
        "num_points": split.is_known.size,
        "num_known": int(split.is_known.sum()),
        "num_complete": int(split.is_complete.sum()),
        "num_at_least": int(split.is_at_least.sum()),
        "num_void": int(split.is_void.sum()),
        "centre": None,
    }
    index = result.centre
    if index is not None and split.is_known[index]:
        details["centre"] = {
            "num_seen": split.num_seen[index],
            "loss": split.loss[index],
            "loss_standard_error": split.loss_error[index],
            "mistake_rate": split.mistake_rate[index],
            "mistake_rate_standard_error": split.mistake_rate_error[index],
        }
    return details
