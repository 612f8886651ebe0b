"""From options, or from none, to the running app; without Typer, for the usual start."""

import importlib
import os
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from lossviz_analysis.errors import LossvizError
from lossviz_tui.config import read_config
from lossviz_tui.options import AppOptions
from lossviz_tui.terminal import color_system

RUN_ENDING = ".zarr"
"""As in the store's schema, which comes with numpy: too late for the first frame."""
_MAX_NAMED = 5


def open_app(
    path: Path | None = None,
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
    """Run the app; its exit code. What is None is as the configuration file says, or usual.

    Raises LossvizError where the path that is named is nowhere, and the app cannot run.
    """
    place = usual_folder() if path is None else path
    if path is not None:
        refuse_nowhere(path)
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
    code: int = module.run_app(place, options)
    return code


def usual_folder() -> Path:
    """Where runs are looked for when nobody says: in `runs`, or here where runs lie here."""
    usual = Path("runs")
    return Path() if not usual.is_dir() and _runs_in(Path()) else usual


def refuse_nowhere(path: Path) -> None:
    """Raise LossvizError where a path is neither there nor the name of a run yet to come."""
    if path.is_file():
        raise LossvizError(f"{path} is a file; a run is a folder, {RUN_ENDING} at its end")
    is_run_to_come = path.name.endswith(RUN_ENDING) and path.absolute().parent.is_dir()
    if path.exists() or _with_ending(path).exists() or is_run_to_come:
        return
    beside = _runs_in(path.parent)
    runs = f"; the runs there are {', '.join(beside)}" if beside else ""
    raise LossvizError(f"there is no run or folder {path}{runs}")


def _with_ending(path: Path) -> Path:
    return path.with_name(path.name + RUN_ENDING) if path.name else path


def _runs_in(folder: Path) -> list[str]:
    """A few of the runs in a folder, by their names alone."""
    try:
        with os.scandir(folder) as entries:
            names = (entry.name for entry in entries if entry.name.endswith(RUN_ENDING))
            return sorted(name.removesuffix(RUN_ENDING) for name in islice(names, _MAX_NAMED))
    except OSError:
        return []


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
