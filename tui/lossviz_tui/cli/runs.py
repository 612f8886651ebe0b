"""`lossviz-tui runs`: the runs below a folder, one line each."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader, find_runs, standing
from lossviz_tui.cli.paths import DEFAULT_FOLDER
from lossviz_tui.paint.cells import clean_text


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """What a list of runs says of one."""

    path: str
    state: str
    epoch: int
    epochs: int | None
    best_test_accuracy: float | None
    age_seconds: float | None
    """Since the last committed record, by the wall clock of whoever wrote it."""
    model: str
    dataset: str
    message: str


def run_line(path: Path) -> RunLine:
    """What a list says of a run; a damaged one says why."""
    reader = RunReader(path)
    try:
        head, description = reader.head(), reader.description
        rows = reader.scalars(0, head.num_records) if head.num_records else None
        found = standing(reader, head)
    except StoreError as error:
        return RunLine(
            path=str(path),
            state="damaged",
            epoch=0,
            epochs=None,
            best_test_accuracy=None,
            age_seconds=None,
            model="",
            dataset="",
            message=str(error),
        )
    best = None
    columns = description.scalar_columns
    if rows is not None and "test_accuracy" in columns:
        accuracies = rows[:, columns.index("test_accuracy")]
        best = float(np.nanmax(accuracies)) if np.isfinite(accuracies).any() else None
    return RunLine(
        path=str(path),
        state=found.word,
        epoch=0 if rows is None else int(rows[-1, columns.index("epoch")]),
        epochs=description.planned_epochs,
        best_test_accuracy=best,
        age_seconds=None
        if rows is None
        else time.time() - rows[-1, columns.index("wall_time")],
        model=str(description.model.get("name", "")),
        dataset=str(description.dataset.get("name", "")),
        message=found.message,
    )


def runs(
    folder: Annotated[Path, typer.Argument(help="Where to look")] = DEFAULT_FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts")] = False,
) -> None:
    """List the runs below a folder, newest change first."""
    if not folder.is_dir():
        raise StoreError(f"there is no folder {folder}")
    lines = [run_line(path) for path in find_runs(folder)]
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in lines], indent=2))
        return
    if not lines:
        typer.echo(f"no runs below {folder}")
    for line in lines:
        planned = "" if line.epochs is None else f"/{line.epochs}"
        best = (
            "–" if line.best_test_accuracy is None else f"{100 * line.best_test_accuracy:.2f} %"
        )
        what = clean_text(f"{line.model} on {line.dataset}", 32)
        path = clean_text(line.path, 200)
        typer.echo(
            f"{line.state:10} {f'{line.epoch}{planned}':>9} {best:>8}  {what:32}  {path}"
        )
        if line.message:
            typer.echo(f"           {clean_text(line.message, 200)}")
