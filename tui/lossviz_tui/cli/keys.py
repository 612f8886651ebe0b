"""`lossviz-tui keys`: every action by name, its keys, and where it means something."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lossviz_tui.config import read_config
from lossviz_tui.keys import VIEW_NAMES, VIEW_TITLES, Key


def keys(
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of objects")] = False,
    config: Annotated[
        Path | None, typer.Option(help="A configuration file instead of the usual one")
    ] = None,
) -> None:
    """List the actions that can be given other keys in the configuration file."""
    found = read_config(config).keys
    if as_json:
        typer.echo(json.dumps([_object(key) for key in found], indent=2))
        return
    rows = [("action", "keys", "what it does", "views")]
    rows += [(key.name, key.shown or "-", key.help, _views(key)) for key in found]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row[:3], widths, strict=True))
        typer.echo("  ".join((*cells, row[3])))


def _views(key: Key) -> str:
    titles: dict[str, str] = dict(zip(VIEW_NAMES, VIEW_TITLES, strict=True))
    is_everywhere = set(key.views) == set(VIEW_NAMES)
    return "all" if is_everywhere else ", ".join(titles[view] for view in key.views)


def _object(key: Key) -> dict[str, Any]:
    return {
        "action": key.name,
        "keys": [one for one in key.keys.split(",") if one],
        "help": key.help,
        "views": list(key.views),
        "starts_work": key.starts_work,
    }
