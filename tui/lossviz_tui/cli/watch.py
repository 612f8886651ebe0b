"""`lossviz-tui [PATH]`: the app."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lossviz_tui.opening import open_app


def watch(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="A run, or a folder of runs; ./runs, or this folder where runs lie in it",
            show_default=False,
        ),
    ] = None,
    color: Annotated[
        Literal["auto", "truecolor", "256", "16", "none"] | None,
        typer.Option(help="Colours to use; default auto"),
    ] = None,
    charset: Annotated[
        Literal["auto", "braille", "blocks", "ascii"] | None,
        typer.Option(help="Glyphs to draw with; default auto"),
    ] = None,
    light: Annotated[
        bool | None, typer.Option("--light/--dark", help="For a light background")
    ] = None,
    mouse: Annotated[
        bool | None, typer.Option("--mouse/--no-mouse", help="Take mouse events")
    ] = None,
    slow: Annotated[
        bool | None,
        typer.Option("--slow/--no-slow", help="Half as many repaints, for slow lines"),
    ] = None,
    readonly: Annotated[
        bool, typer.Option("--readonly", help="Watch only: start and cancel nothing")
    ] = False,
    no_export: Annotated[
        bool, typer.Option("--no-export", help="Take away the key that writes files")
    ] = False,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="Scans may call the model factory of a run somebody else recorded"
        ),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="Keys and defaults, instead of ~/.config/lossviz-tui/config.toml"),
    ] = None,
) -> None:
    """Watch a run live, or pick one under a folder (the default command)."""
    raise typer.Exit(
        open_app(
            path,
            color=color,
            charset=charset,
            light=light,
            mouse=mouse,
            slow=slow,
            readonly=readonly,
            export=not no_export,
            trust=trust,
            config=config,
        )
    )
