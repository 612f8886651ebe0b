"""`lossviz-tui pause`: have a training checkpoint and give its device back."""

from pathlib import Path
from typing import Annotated

import typer

from lossviz_tui.cli.paths import existing_run
from lossviz_tui.launch import pause_run
from lossviz_tui.paint.cells import clean_text


def pause(run: Annotated[Path, typer.Argument(help="The run")]) -> None:
    """Have a training checkpoint, leave the GPU to others, and wait for `resume`.

    What waits is a small process that holds the run; everything on the device is given back.
    """
    path = existing_run(run)
    typer.echo(clean_text(pause_run(path), 300))
    typer.echo(f"lossviz-tui resume {clean_text(str(path), 200)} goes on")
