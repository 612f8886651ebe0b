"""`lossviz-tui demo`: train on the digits in the background and watch; needs no download."""

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lossviz_tui.cli.paths import DEFAULT_FOLDER, free_path
from lossviz_tui.cli.train import follow_start
from lossviz_tui.cli.watch import watch
from lossviz_tui.launch import start_training
from lossviz_tui.terminal import refuse_no_terminal

DEMO_SPEC = {
    "data": "digits",
    "model": "resnet20",
    "recipe": "big-lr",
}
"""A ResNet20 on 1,797 real digits: an epoch takes seconds, and its classes dance."""


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the run goes")] = DEFAULT_FOLDER,
    epochs: Annotated[int, typer.Option(help="How long to train")] = 60,
) -> None:
    """Train on real handwritten digits in the background and watch them; needs no download.

    The training goes on when you leave the app; `lossviz-tui stop` ends it.
    """
    refuse_no_terminal(os.environ)
    run = free_path(folder.absolute(), "demo")
    overrides = {"epochs": epochs, "learning_rate": 0.02}
    process = start_training(DEMO_SPEC | {"run": str(run), "overrides": overrides})
    created = follow_start(process, Console(stderr=True))
    with contextlib.suppress(typer.Exit):
        watch(created)
    typer.echo(f"the training goes on in {created}")
    typer.echo(f"lossviz-tui {created} watches it again, lossviz-tui stop {created} ends it")
