"""`lossviz-tui export`: a run's data or a scan's, as .csv, .json, .npz or .h5."""

from pathlib import Path
from typing import Annotated

import typer

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reference_files import directions_path
from lossviz_tui.cli.paths import open_run
from lossviz_tui.exporting import RunData, export_run, export_scan


def export(
    run: Annotated[Path, typer.Argument(help="The run")],
    out: Annotated[Path, typer.Option(help="File to write; its suffix says how")],
    view: Annotated[RunData, typer.Option(help="What of the run, in a .csv")] = "scalars",
    scan: Annotated[str | None, typer.Option(help="A scan's id, instead of the run")] = None,
    directions: Annotated[
        bool,
        typer.Option(
            "--directions",
            help="With --scan: the directions too; those of an .h5 in a file beside it",
        ),
    ] = False,
) -> None:
    """Write a run or one of its scans to a file; says where.

    An .h5 is a surface in the layout of Li et al.'s code, with the first direction as x.
    """
    if directions and (scan is None or out.suffix not in (".npz", ".h5")):
        raise StoreError("--directions needs --scan and an .npz or .h5 to write to")
    reader = open_run(run)
    try:
        if scan is None:
            export_run(reader, view, out)
        else:
            export_scan(reader, scan, out, with_directions=directions)
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror}") from None
    typer.echo(str(out))
    if directions and out.suffix == ".h5":
        typer.echo(str(directions_path(out)))
