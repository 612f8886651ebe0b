"""Writing what a view shows to a file: its numbers, or the screen; by suffix.

Numbers are .csv, .json, .npz or .h5, the screen is .svg or .txt. Figures with axes are made in
`figures`, which needs matplotlib.
"""

import contextlib
import csv
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal
from uuid import uuid4

import numpy as np
from numpy.lib import format as npy
from textual.strip import Strip

from lossviz_analysis.classwise.confusion import cctm, recall
from lossviz_analysis.classwise.notes import dancing_notes
from lossviz_analysis.store.checkpoints import read_checkpoint
from lossviz_analysis.store.durable import put
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.reference_files import (
    ReferenceSurface,
    directions_path,
    shapes_of,
    write_directions,
    write_surface,
)
from lossviz_analysis.store.results import ScanResult, read_result
from lossviz_analysis.store.scans import ScanReader, scan_folder
from lossviz_analysis.store.schema import SPLITS
from lossviz_tui.history import RunView, read_counts
from lossviz_tui.summary import newest_view, plain, scan_summary, summary_pieces
from lossviz_tui.svg import screen_svg

RunData = Literal["scalars", "recall", "notes", "cctm", "confusion"]
DATA_SUFFIXES = (".csv", ".json", ".npz", ".h5")
DATA_OF_VIEW: dict[str, RunData] = {
    "overview": "scalars",
    "dance": "recall",
    "notes": "notes",
    "cctm": "cctm",
}
"""What a .csv of a view of epochs holds."""
PICTURE_SUFFIXES = (".svg", ".png", ".pdf", ".txt")


def check_suffix(out: Path) -> None:
    """Refuse a file of numbers whose format is not known."""
    if out.suffix not in DATA_SUFFIXES:
        known = ", ".join(DATA_SUFFIXES + PICTURE_SUFFIXES)
        raise StoreError(f"{out} should end in {known}")


def write_anew(folder: Path, stem: str, suffix: str, write: Callable[[Path], object]) -> Path:
    """Write a file, and give it a name that nothing has: STEM.suffix, then STEM-2.suffix, ...

    The name is taken when all is written: of two written at the same time each has its own, and
    one that was never finished has none.
    """
    hidden = folder / f".{stem}.tmp-{uuid4().hex}{suffix}"
    try:
        write(hidden)
        out, number = folder / f"{stem}{suffix}", 2
        while not _is_taken_by_us(out):
            out, number = folder / f"{stem}-{number}{suffix}", number + 1
        hidden.replace(out)
    finally:
        hidden.unlink(missing_ok=True)
    return out


def _is_taken_by_us(out: Path) -> bool:
    """Take a name if it is free."""
    try:
        out.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def write_screen(lines: list[Strip], out: Path, *, dark: bool, title: str) -> None:
    """Write painted lines as an .svg in colour or as plain text."""
    if out.suffix == ".svg":
        text = screen_svg(lines, dark=dark, title=title)
    else:
        text = "".join(f"{line.text.rstrip()}\n" for line in lines)
    put(out, text.encode(), durable=False)


def export_run(
    reader: RunReader, what: RunData, out: Path, *, epoch: int | None = None
) -> None:
    """Write a run; a .csv holds one kind of data, the other formats hold all of it.

    The CCTM of a .csv is that of an epoch, or of the last one. Matrices are read a few at a
    time, so that a long run takes no more memory than a short one.
    """
    check_suffix(out)
    if out.suffix == ".h5":
        raise StoreError(f"{out}: an .h5 holds a surface; name the scan it shall be of")
    with _whole_or_nothing(out) as path:
        match out.suffix:
            case ".json":
                with path.open("w", encoding="utf-8") as file:
                    file.writelines(summary_pieces(reader))
            case ".npz":
                _write_run_arrays(path, reader)
            case _:
                _write_csv(path, _run_rows(reader, what, epoch))


@contextlib.contextmanager
def _whole_or_nothing(out: Path) -> Generator[Path]:
    """A file beside the wanted one, which takes its name when everything is written."""
    beside = out.with_name(f".{out.name}.tmp-{os.getpid()}")
    try:
        yield beside
        beside.replace(out)
    finally:
        beside.unlink(missing_ok=True)


def _write_run_arrays(path: Path, reader: RunReader) -> None:
    view = newest_view(reader)
    names = view.description.class_names
    length, num_classes = len(view), len(names)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in (
            ("epochs", view.epochs),
            ("class_names", np.array(names)),
            ("scalar_columns", np.array(view.description.scalar_columns)),
            ("scalars", view.scalars),
        ):
            _add_array(archive, name, array.shape, array.dtype, [array])
        for number, split in enumerate(SPLITS):
            # What follows from the matrices waits in files while these are written.
            with tempfile.TemporaryFile() as recalls, tempfile.TemporaryFile() as notes:
                shape = (length, num_classes, num_classes)
                pieces = _derived(reader, view.records, number, recalls, notes)
                _add_array(archive, f"{split}_confusion", shape, np.dtype("<i4"), pieces)
                for what, file, code in (("recall", recalls, "<f8"), ("notes", notes, "<i8")):
                    _add_array(
                        archive,
                        f"{split}_{what}",
                        shape[:2],
                        np.dtype(code),
                        _pieces_of(file, np.dtype(code)),
                    )


def _derived(
    reader: RunReader,
    records: np.ndarray,
    number: int,
    recalls: IO[bytes],
    notes: IO[bytes],
) -> Iterator[np.ndarray]:
    """The matrices of one split; their recalls and notes go to files."""
    for counts in read_counts(reader, records):
        of_split = counts[:, number]
        recalls.write(recall(of_split).astype("<f8").tobytes())
        notes.write(dancing_notes(cctm(of_split)).astype("<i8").tobytes())
        yield of_split


def _pieces_of(file: IO[bytes], dtype: np.dtype) -> Iterator[np.ndarray]:
    file.seek(0)
    while piece := file.read(2**20):
        yield np.frombuffer(piece, dtype)


def _add_array(
    archive: zipfile.ZipFile,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    pieces: Iterable[np.ndarray],
) -> None:
    """Add an array to an .npz, written piece by piece."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_2_0(member, header)
        for piece in pieces:
            member.write(np.ascontiguousarray(piece, dtype).tobytes())


def _run_rows(reader: RunReader, what: RunData, epoch: int | None) -> Iterator[list[Any]]:
    """Rows of a .csv: one for each epoch, or for each entry of one epoch's matrices."""
    view = newest_view(reader)
    names = view.description.class_names
    match what:
        case "scalars":
            yield list(view.description.scalar_columns)
            yield from map(np.ndarray.tolist, view.scalars)
        case "recall" | "notes":
            yield ["epoch", "split", *names]
            for number, split in enumerate(SPLITS):
                epochs = iter(view.epochs.tolist())
                for counts in read_counts(reader, view.records):
                    of_split = counts[:, number]
                    values = (
                        recall(of_split) if what == "recall" else dancing_notes(cctm(of_split))
                    )
                    for row in values.tolist():
                        yield [next(epochs), split, *row]
        case "cctm" | "confusion":
            yield ["epoch", "split", "true", "predicted", "value"]
            position = _position(view, epoch)
            for number, split in enumerate(SPLITS if len(view) else ()):
                counts = view.counts_at(position)[number]
                matrix = cctm(counts) if what == "cctm" else counts
                for i, true in enumerate(names):
                    for j, predicted in enumerate(names):
                        yield [
                            int(view.epochs[position]),
                            split,
                            true,
                            predicted,
                            matrix[i, j].item(),
                        ]


def _position(view: RunView, epoch: int | None) -> int:
    """Place of an epoch on the epoch axis, or of the last one."""
    if epoch is None:
        return -1
    found = np.flatnonzero(view.epochs == epoch)
    if not found.size:
        raise StoreError(f"epoch {epoch} of {view.path} is not recorded")
    return int(found[0])


def export_scan(
    reader: RunReader, scan_id: str, out: Path, *, with_directions: bool = False
) -> None:
    """Write a scan as far as it is done; the directions of an .h5 go to a file beside it."""
    check_suffix(out)
    if not scan_folder(reader.path, scan_id).is_dir():
        raise StoreError(f"{reader.path} has no scan {scan_id!r}")
    scan = ScanReader(reader.path, scan_id)
    result = read_result(scan)
    with _whole_or_nothing(out) as path:
        match out.suffix:
            case ".npz":
                arrays = _scan_arrays(scan, result)
                if with_directions:
                    arrays["directions"] = scan.directions()
                with path.open("wb") as file:
                    np.savez_compressed(file, **arrays)
            case ".json":
                arrays = _scan_arrays(scan, result)
                del arrays["request"]
                found = plain({"scan": scan_summary(scan)} | arrays)
                path.write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
            case ".h5":
                beside = directions_path(out) if with_directions else None
                _write_reference_files(path, scan, result, beside)
            case _:
                _write_csv(path, _scan_rows(result))


def _write_reference_files(
    path: Path, scan: ScanReader, result: ScanResult, beside: Path | None
) -> None:
    """The layout of Li et al.'s code, which knows no estimate: it would never be refined.

    The directions go to a file beside it, if to any.
    """
    values: dict[str, np.ndarray] = {}
    for split, found in result.splits.items():
        done = found.is_complete
        values[f"{split}_loss"] = np.where(done, found.loss, np.nan)
        values[f"{split}_acc"] = np.where(done, 100.0 * (1.0 - found.mistake_rate), np.nan)
    surface = ReferenceSurface(
        coordinates=result.coordinates,
        values=values,
        dir_file="" if beside is None else beside.name,
    )
    write_surface(path, surface)
    if beside is not None:
        run = scan.folder.parent.parent
        content = read_checkpoint(run, scan.request.checkpoint)
        with _whole_or_nothing(beside) as directions:
            write_directions(directions, scan.directions(), shapes_of(content.parameters))


def _scan_arrays(scan: ScanReader, result: ScanResult) -> dict[str, Any]:
    """`t1`, `t2`, and for each split S `S_loss`, `S_mistake_rate`, `S_confusion` and more."""
    names = ("t1", "t2")
    arrays: dict[str, Any] = dict(zip(names, result.coordinates, strict=False))
    for split, values in result.splits.items():
        arrays[f"{split}_loss"] = values.loss
        arrays[f"{split}_mistake_rate"] = values.mistake_rate
        arrays[f"{split}_loss_error"] = values.loss_error
        arrays[f"{split}_mistake_rate_error"] = values.mistake_rate_error
        arrays[f"{split}_num_seen"] = values.num_seen
        arrays[f"{split}_class_loss"] = values.class_loss
        arrays[f"{split}_class_mistake_rate"] = values.class_mistake_rate
        arrays[f"{split}_is_complete"] = values.is_complete
        arrays[f"{split}_is_at_least"] = values.is_at_least
        if values.confusion is not None:
            arrays[f"{split}_confusion"] = values.confusion
    arrays["class_names"] = np.array(result.geometry.class_names)
    arrays["request"] = np.array(json.dumps(scan.request.to_json()))
    return arrays


def _scan_rows(result: ScanResult) -> Iterator[list[Any]]:
    """One row for each point: coordinates, then of each split its values and how sure they are.

    What is true is 1, what is not 0.
    """
    names = [f"t{k + 1}" for k in range(len(result.coordinates))]
    columns = ("loss", "mistake_rate", "num_seen", "is_complete", "is_at_least")
    yield [*names, *(f"{split}_{what}" for split in result.splits for what in columns)]
    for index in np.ndindex(*result.geometry.points):
        row = [float(axis[i]) for axis, i in zip(result.coordinates, index, strict=True)]
        for split in result.splits.values():
            row += [float(split.loss[index]), float(split.mistake_rate[index])]
            flags = (split.num_seen, split.is_complete, split.is_at_least)
            row += [int(values[index]) for values in flags]
        yield row


def _write_csv(out: Path, rows: Iterable[list[Any]]) -> None:
    with out.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
