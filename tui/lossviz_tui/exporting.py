"""Writing what a view shows to a file: .csv, .json or .npz by suffix."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lossviz_analysis.store.durable import put
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.results import ScanResult, read_result
from lossviz_analysis.store.scans import ScanReader, scan_folder
from lossviz_analysis.store.schema import SPLITS
from lossviz_tui.history import RunView, read_view
from lossviz_tui.summary import plain, run_summary, scan_summary

RunData = Literal["scalars", "recall", "notes", "cctm", "confusion"]
SUFFIXES = (".csv", ".json", ".npz")


def check_suffix(out: Path) -> None:
    """Refuse a file whose format is not known."""
    if out.suffix not in SUFFIXES:
        raise StoreError(
            f"{out} should end in {', '.join(SUFFIXES)}; pictures (.svg, .png) are not made yet"
        )


def export_run(reader: RunReader, what: RunData, out: Path) -> None:
    """Write a run; a .csv holds one kind of data, the other formats hold all of it."""
    check_suffix(out)
    view = read_view(reader)
    match out.suffix:
        case ".json":
            _write_json(out, run_summary(view, reader))
        case ".npz":
            with out.open("wb") as file:
                np.savez_compressed(file, **_run_arrays(view))
        case _:
            _write_csv(out, _run_rows(view, what))


def _run_arrays(view: RunView) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "epochs": view.epochs,
        "class_names": np.array(view.description.class_names),
        "scalar_columns": np.array(view.description.scalar_columns),
        "scalars": view.scalars,
    }
    for split in SPLITS:
        arrays[f"{split}_confusion"] = view.counts[:, SPLITS.index(split)]
        arrays[f"{split}_recall"] = view.recall_of(split)
        arrays[f"{split}_notes"] = view.notes_of(split)
    return arrays


def _run_rows(view: RunView, what: RunData) -> Iterator[list[Any]]:
    """Rows of a .csv: one for each epoch, or for each entry of the last epoch's matrices."""
    names = view.description.class_names
    match what:
        case "scalars":
            yield list(view.description.scalar_columns)
            yield from view.scalars.tolist()
        case "recall" | "notes":
            yield ["epoch", "split", *names]
            for split in SPLITS:
                values = view.recall_of(split) if what == "recall" else view.notes_of(split)
                for epoch, row in zip(view.epochs.tolist(), values.tolist(), strict=True):
                    yield [epoch, split, *row]
        case "cctm" | "confusion":
            yield ["epoch", "split", "true", "predicted", "value"]
            for split in SPLITS if len(view) else ():
                counts = view.counts[-1, SPLITS.index(split)]
                matrix = view.rates(split, -1) if what == "cctm" else counts
                for i, true in enumerate(names):
                    for j, predicted in enumerate(names):
                        yield [
                            int(view.epochs[-1]),
                            split,
                            true,
                            predicted,
                            matrix[i, j].item(),
                        ]


def export_scan(
    reader: RunReader, scan_id: str, out: Path, *, with_directions: bool = False
) -> None:
    """Write a scan as far as it is done."""
    check_suffix(out)
    if not scan_folder(reader.path, scan_id).is_dir():
        raise StoreError(f"{reader.path} has no scan {scan_id!r}")
    scan = ScanReader(reader.path, scan_id)
    result = read_result(scan)
    match out.suffix:
        case ".npz":
            arrays = _scan_arrays(scan, result)
            if with_directions:
                arrays["directions"] = scan.directions()
            with out.open("wb") as file:
                np.savez_compressed(file, **arrays)
        case ".json":
            arrays = _scan_arrays(scan, result)
            del arrays["request"]
            _write_json(out, {"scan": scan_summary(scan)} | arrays)
        case _:
            _write_csv(out, _scan_rows(result))


def _scan_arrays(scan: ScanReader, result: ScanResult) -> dict[str, Any]:
    """`t1`, `t2`, and for each split S `S_loss`, `S_mistake_rate`, `S_confusion` and more."""
    names = ("t1", "t2")
    arrays: dict[str, Any] = dict(zip(names, result.coordinates, strict=False))
    for split, values in result.splits.items():
        arrays[f"{split}_loss"] = values.loss
        arrays[f"{split}_mistake_rate"] = values.mistake_rate
        arrays[f"{split}_class_loss"] = values.class_loss
        arrays[f"{split}_class_mistake_rate"] = values.class_mistake_rate
        arrays[f"{split}_is_complete"] = values.is_complete
        if values.confusion is not None:
            arrays[f"{split}_confusion"] = values.confusion
    arrays["class_names"] = np.array(result.geometry.class_names)
    arrays["request"] = np.array(json.dumps(scan.request.to_json()))
    return arrays


def _scan_rows(result: ScanResult) -> Iterator[list[Any]]:
    """One row for each point: coordinates, then loss and mistake rate of each split."""
    names = [f"t{k + 1}" for k in range(len(result.coordinates))]
    columns = [
        f"{split}_{what}" for split in result.splits for what in ("loss", "mistake_rate")
    ]
    yield [*names, *columns]
    for index in np.ndindex(*result.geometry.points):
        row = [float(axis[i]) for axis, i in zip(result.coordinates, index, strict=True)]
        for split in result.splits.values():
            row += [float(split.loss[index]), float(split.mistake_rate[index])]
        yield row


def _write_json(out: Path, value: dict[str, Any]) -> None:
    put(out, json.dumps(plain(value), allow_nan=False).encode(), durable=False)


def _write_csv(out: Path, rows: Iterable[list[Any]]) -> None:
    with out.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
