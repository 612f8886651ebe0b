"""`lossviz-tui [PATH]`: the app."""

import importlib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lossviz_tui.options import AppOptions


def watch(
    path: Annotated[Path, typer.Argument(help="A run, or a folder of runs")] = Path("runs"),
    color: Annotated[
        Literal["auto", "truecolor", "256", "16", "none"], typer.Option(help="Colours to use")
    ] = "auto",
    charset: Annotated[
        Literal["auto", "braille", "blocks", "ascii"], typer.Option(help="Glyphs to draw with")
    ] = "auto",
    light: Annotated[bool, typer.Option("--light", help="For a light background")] = False,
    mouse: Annotated[bool, typer.Option("--mouse/--no-mouse", help="Take mouse events")] = True,
    slow: Annotated[
        bool, typer.Option("--slow", help="Half as many repaints, for slow lines")
    ] = (False),
    readonly: Annotated[
        bool, typer.Option("--readonly", help="Watch only: start and cancel nothing")
    ] = False,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="Scans may call the model factory of a run somebody else recorded"
        ),
    ] = False,
) -> None:
    """Watch a run live, or pick one under a folder (the default command)."""
    # Textual reads these when it is imported, which is why the app is not imported above.
    if color == "none":
        os.environ["NO_COLOR"] = "1"
    elif color != "auto":
        os.environ["TEXTUAL_COLOR_SYSTEM"] = "standard" if color == "16" else color
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    module: Any = importlib.import_module("lossviz_tui.app")
    options = AppOptions(
        color=color,
        charset=charset,
        light=light,
        mouse=mouse,
        slow=slow,
        readonly=readonly,
        trust=trust,
    )
    raise typer.Exit(module.run_app(path, options))
