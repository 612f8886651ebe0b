"""`lossviz-tui stop`: ask a run's daemon to checkpoint and leave, or a scan to stop."""

from pathlib import Path
from typing import Annotated

import typer

from lossviz_analysis.store.scans import ScanReader, cancel
from lossviz_tui.cli.paths import existing_run
from lossviz_tui.launch import LaunchError, stop_run
from lossviz_tui.paint.cells import clean_text


def stop(
    run: Annotated[Path, typer.Argument(help="The run")],
    scan: Annotated[
        str | None, typer.Option(help="Cancel this scan instead; what is done is kept")
    ] = None,
) -> None:
    """Ask the daemon of a run to checkpoint and leave, and wait until it has."""
    path = existing_run(run)
    if scan is not None:
        found = ScanReader(path, scan)
        if not found.folder.is_dir():
            raise LaunchError(f"{path} has no scan {scan!r}")
        word = found.state_word(found.head())
        if word not in ("queued", "running", "interrupted"):
            raise LaunchError(f"scan {scan} is {word} already")
        cancel(found.folder)
        typer.echo(f"asked scan {scan} to stop")
        return
    stop_run(path)
    name = clean_text(str(path), 200)
    typer.echo(f"stopped {name}; lossviz-tui resume {name} goes on")
