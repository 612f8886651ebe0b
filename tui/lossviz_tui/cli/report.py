"""`lossviz-tui report`: a run as one HTML page that stands alone."""

from pathlib import Path
from typing import Annotated

import typer

from lossviz_analysis.store.durable import put
from lossviz_analysis.store.fields import StoreError
from lossviz_tui.cli.paths import open_run
from lossviz_tui.report import html_report


def report(
    run: Annotated[Path, typer.Argument(help="The run")],
    out: Annotated[Path, typer.Option(help="The page to write, an .html")],
) -> None:
    """Write every view and every scan of a run to one HTML page; says where.

    It opens from the disk and loads nothing. Its pictures are figures where matplotlib is
    installed, and else pictures of the screen.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise StoreError(f"a report is an .html; got {out}")
    if not out.absolute().parent.is_dir():
        raise StoreError(f"there is no folder {out.absolute().parent}")
    content = html_report(open_run(run).path)
    try:
        put(out, content.encode(), durable=False)
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror}") from None
    typer.echo(str(out))
