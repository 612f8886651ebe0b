"""`lossviz-tui resume`: let a paused training go on, or start a stopped one again."""

from pathlib import Path
from typing import Annotated

import typer

from lossviz_tui.cli.paths import existing_run
from lossviz_tui.launch import resume_run
from lossviz_tui.paint.cells import clean_text


def resume(run: Annotated[Path, typer.Argument(help="The run")]) -> None:
    """Go on with a run that is paused, or that was stopped or killed, in the background.

    It goes on from its last checkpoint, to the same numbers as if nothing had happened.
    """
    typer.echo(clean_text(resume_run(existing_run(run)), 300))
