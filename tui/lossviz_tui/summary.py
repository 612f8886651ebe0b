"""What the screen shows, as plain values for scripts: the contract of `show --json`."""

import math
from typing import Any

import numpy as np

from lossviz_analysis.classwise.interference import directed_pairs, symmetry
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader, standing
from lossviz_analysis.store.scans import ScanReader, find_scans
from lossviz_analysis.store.schema import SPLITS
from lossviz_tui.history import RunView

NUM_PAIRS = 20


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


def run_summary(view: RunView, reader: RunReader) -> dict[str, Any]:
    """Everything `show --json` prints of a run.

    CCTM, recall and pairs are those of the last epoch; rates are fractions, null where a class
    has no examples.
    """
    head = view.head
    summary: dict[str, Any] = {
        "run_id": view.description.run_id,
        "path": str(view.path),
        "state": standing(reader, head).word,
        "message": reader.message(),
        "class_names": view.description.class_names,
        "model": view.description.model,
        "dataset": view.description.dataset,
        "recipe": view.description.recipe,
        "epochs": _epochs(view),
        "cctm": {},
        "recall": {},
        "pairs": [],
        "symmetry": {},
        "notes": {split: view.notes_of(split) for split in SPLITS},
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
        "scans": [scan_summary(scan) for scan in find_scans(view.path)],
    }
    if len(view):
        for split in SPLITS:
            rates = view.rates(split, -1)
            summary["cctm"][split] = rates
            summary["recall"][split] = np.diagonal(rates)
            summary["symmetry"][split] = symmetry(rates)
        names = view.description.class_names
        summary["pairs"] = [
            {
                "true": names[pair.true_class],
                "predicted": names[pair.predicted_class],
                "rate": pair.rate,
            }
            for pair in directed_pairs(view.rates("test", -1), limit=NUM_PAIRS)
        ]
    return plain(summary)


def _epochs(view: RunView) -> list[dict[str, Any]]:
    whole = {"epoch", "attempt"}
    return [
        {
            name: int(value) if name in whole and math.isfinite(value) else value
            for name, value in zip(view.description.scalar_columns, row.tolist(), strict=True)
        }
        for row in view.scalars
    ]


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
        summary["provenance"] = geometry.provenance
    return plain(summary)
