"""`lossviz-tui export`: a view of a run or scan as a picture, or its numbers, by suffix."""

import importlib
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.reference_files import directions_path
from lossviz_analysis.store.scans import find_scans
from lossviz_tui.cli.paths import open_run
from lossviz_tui.cli.viewing import (
    CharsetOption,
    ClassesOption,
    EpochOption,
    LightOption,
    LogOption,
    ModeOption,
    QuantityOption,
    SizeOption,
    SplitOption,
    selection_for,
    view_named,
)
from lossviz_tui.exporting import (
    DATA_OF_VIEW,
    RunData,
    check_suffix,
    export_run,
    export_scan,
)
from lossviz_tui.formats import format_of

_SHOWN = {"scalars": "overview", "recall": "dance", "confusion": "cctm"}
"""The view that shows what a .csv can hold, where its name is another."""


def export(
    run: Annotated[Path, typer.Argument(help="The run")],
    out: Annotated[Path, typer.Option(help="File to write; its suffix says how")],
    view: Annotated[
        str | None,
        typer.Option(
            help="overview, dance, notes, cctm, landscape; in a .csv also scalars, recall, "
            "confusion"
        ),
    ] = None,
    scan: Annotated[str | None, typer.Option(help="A scan's id, instead of the run")] = None,
    figure: Annotated[
        bool, typer.Option("--figure", help="An .svg with axes, not of the screen")
    ] = False,
    size: SizeOption = None,
    epoch: EpochOption = None,
    split: SplitOption = "test",
    classes: ClassesOption = None,
    mode: ModeOption = "plane",
    quantity: QuantityOption = "mistakes",
    log: LogOption = False,
    light: LightOption = False,
    charset: CharsetOption = "auto",
    directions: Annotated[
        bool,
        typer.Option(
            "--directions",
            help="With --scan: the directions too; those of an .h5 in a file beside it",
        ),
    ] = False,
) -> None:
    """Write a view of a run, or one of its scans, to a file; says where.

    An .svg or .txt is the screen, .png, .pdf and with --figure .svg a figure with axes (needs
    matplotlib); .csv, .json and .npz are the numbers. An .h5 is a surface in the layout of Li
    et al.'s code, with the first direction as x.
    """
    if directions and (scan is None or out.suffix not in (".npz", ".h5")):
        raise StoreError("--directions needs --scan and an .npz or .h5 to write to")
    how = format_of(out.suffix, as_figure=figure)
    if how is None and figure:
        raise StoreError(f"--figure writes .svg, .png or .pdf; got {out}")
    word = view_named(
        view or ("scalars" if scan is None else "landscape"), ("scalars", "recall", "confusion")
    )
    reader = open_run(run)
    try:
        if how is None or how.kind == "data":
            _write_numbers(reader, word, scan, out, epoch=epoch, with_directions=directions)
        else:
            selection = selection_for(
                reader.path,
                _SHOWN.get(word, word),
                epoch=epoch,
                split=split,
                classes=classes,
                scan=scan,
                mode=mode,
                quantity=quantity,
                log=log,
            )
            views: Any = importlib.import_module("lossviz_tui.cli.still_views")
            views.write_picture(reader.path, selection, size, charset, how, out, dark=not light)
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror}") from None
    typer.echo(str(out))
    if directions and out.suffix == ".h5":
        typer.echo(str(directions_path(out)))


def _write_numbers(
    reader: RunReader,
    word: str,
    scan: str | None,
    out: Path,
    *,
    epoch: int | None,
    with_directions: bool,
) -> None:
    """What a view shows as numbers; of the landscape the newest scan, or the one named."""
    check_suffix(out)
    if scan is None and word == "landscape":
        scans = find_scans(reader.path)
        if not scans:
            raise StoreError(f"{reader.path} has no scan to export")
        scan = scans[-1].scan_id
    if scan is not None:
        export_scan(reader, scan, out, with_directions=with_directions)
    elif word in get_args(RunData):
        export_run(reader, cast("RunData", word), out, epoch=epoch)
    elif word in DATA_OF_VIEW:
        export_run(reader, DATA_OF_VIEW[word], out, epoch=epoch)
    else:
        raise StoreError(f"the view {word} has no numbers of its own to write to {out}")
