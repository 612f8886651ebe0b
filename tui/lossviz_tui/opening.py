"""From options, or from none, to the running app; without Typer, for the usual start."""

import importlib
import os
from pathlib import Path
from typing import Any, Literal

from lossviz_tui.config import read_config
from lossviz_tui.options import AppOptions
from lossviz_tui.terminal import color_system


def open_app(
    path: Path = Path("runs"),
    *,
    color: Literal["auto", "truecolor", "256", "16", "none"] | None = None,
    charset: Literal["auto", "braille", "blocks", "ascii"] | None = None,
    light: bool | None = None,
    mouse: bool | None = None,
    slow: bool | None = None,
    readonly: bool = False,
    export: bool = True,
    trust: bool = False,
    config: Path | None = None,
) -> int:
    """Run the app; its exit code. What is None is as the configuration file says, or usual."""
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
        keys=tuple(key for key in settings.keys if export or not key.writes_files),
    )
    code: int = module.run_app(path, options)
    return code


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
