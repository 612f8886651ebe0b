"""`lossviz-tui [PATH]`: the app."""

import importlib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lossviz_tui.config import read_config
from lossviz_tui.options import AppOptions
from lossviz_tui.terminal import color_system


def watch(
    path: Annotated[Path, typer.Argument(help="A run, or a folder of runs")] = Path("runs"),
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
    settings = read_config(config)
    color = color or settings.color or "auto"
    _set_colors(color)
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    module: Any = importlib.import_module("lossviz_tui.app")
    options = AppOptions(
        color=color,
        charset=charset or settings.charset or "auto",
        light=_first(light, settings.light, False),
        mouse=_first(mouse, settings.mouse, True),
        slow=_first(slow, settings.slow, False),
        readonly=readonly,
        trust=trust,
        keys=settings.keys,
    )
    raise typer.Exit(module.run_app(path, options))


def _set_colors(color: str) -> None:
    """Have Textual use the same colours; it looks when it is imported, which is yet to come."""
    wanted = color_system(os.environ) if color == "auto" else color
    if wanted == "none":
        os.environ["NO_COLOR"] = "1"
    elif color != "auto":
        os.environ["TEXTUAL_COLOR_SYSTEM"] = "standard" if wanted == "16" else wanted
    elif wanted != "auto":
        os.environ.setdefault("TEXTUAL_COLOR_SYSTEM", wanted)


def _first(*found: bool | None) -> bool:
    """The first answer anybody gave: the command line, the file, the default."""
    return next((value for value in found if value is not None), False)
