"""`lossviz-tui resume`: let a paused training go on, or start a stopped one again."""

import contextlib
import time
from pathlib import Path
from typing import Annotated

import typer

from lossviz_analysis.store.lock import LockHeldError
from lossviz_analysis.store.scan_writer import revive
from lossviz_analysis.store.scans import ScanReader
from lossviz_tui.cli.paths import existing_run
from lossviz_tui.launch import LaunchError, ensure_worker, resume_run
from lossviz_tui.paint.cells import clean_text

PATIENCE_SECONDS = 10.0


def resume(
    run: Annotated[Path, typer.Argument(help="The run")],
    scan: Annotated[
        str | None, typer.Option(help="Go on with this cancelled or interrupted scan instead")
    ] = None,
) -> None:
    """Go on with a run that is paused, or that was stopped or killed, in the background.

    It goes on from its last checkpoint, to the same numbers as if nothing had happened.
    """
    if scan is not None:
        path = existing_run(run)
        found = ScanReader(path, scan)
        if not found.folder.is_dir():
            raise LaunchError(f"{path} has no scan {scan!r}")
        word = _revived(found)
        if word not in ("queued", "interrupted"):
            raise LaunchError(f"scan {scan} is {word}")
        ensure_worker(path)
        typer.echo(f"scan {scan} goes on from what is done")
        return
    typer.echo(clean_text(resume_run(existing_run(run)), 300))


def _revived(scan: ScanReader) -> str:
    """The state of a scan, after it was made to wait again if it was cancelled.

    A worker that was asked to stop it needs a moment to do so and to let go of it.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        word = scan.state_word(scan.head())
        if word == "cancelled":
            with contextlib.suppress(LockHeldError):
                revive(scan.folder)
                return "interrupted"  # and perhaps taken already
        elif word != "running" or not scan.is_marked():
            return word
        if time.monotonic() > deadline:
            raise LaunchError(f"scan {scan.scan_id} is still being stopped; try again later")
        time.sleep(0.05)
