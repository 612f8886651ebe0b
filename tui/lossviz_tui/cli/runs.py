"""`lossviz-tui runs`: the runs below a folder, one line each."""

import json
import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from lossviz_analysis.store.fields import StoreError
from lossviz_tui.cli.paths import DEFAULT_FOLDER
from lossviz_tui.listing import RunLister, RunRow
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.summary import plain


def runs(
    folder: Annotated[Path, typer.Argument(help="Where to look")] = DEFAULT_FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts")] = False,
) -> None:
    """List the runs below a folder, newest change first."""
    if not folder.is_dir():
        raise StoreError(f"there is no folder {folder}")
    rows = RunLister().rows(folder)
    if as_json:
        typer.echo(json.dumps([_as_json(row) for row in rows], indent=2))
        return
    if not rows:
        typer.echo(f"no runs below {clean_text(str(folder), 200)}")
    for row in rows:
        planned = "" if row.epochs is None else f"/{row.epochs}"
        best = (
            "–" if row.best_test_accuracy is None else f"{100 * row.best_test_accuracy:.2f} %"
        )
        what = clean_text(f"{row.model} on {row.dataset}", 32)
        path = clean_text(str(row.path), 200)
        epochs = clean_text(f"{row.epoch}{planned}", 15)
        typer.echo(f"{row.word:10} {epochs:>9} {best:>8}  {what:32}  {path}")
        if row.message:
            typer.echo(f"           {clean_text(row.message, 200)}")


def _as_json(row: RunRow) -> dict[str, Any]:
    """A run for scripts; `age_seconds` counts from the last record, by its writer's clock."""
    return plain(
        {
            "path": str(row.path),
            "state": row.word,
            "epoch": row.epoch,
            "epochs": row.epochs,
            "best_test_accuracy": row.best_test_accuracy,
            "age_seconds": math.nan if math.isnan(row.changed) else time.time() - row.changed,
            "model": row.model,
            "dataset": row.dataset,
            "message": row.message,
        }
    )
