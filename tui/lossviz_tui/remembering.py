"""What was chosen in the forms the last time: a small file of the user's, never in a run."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lossviz_analysis.store.durable import put
from lossviz_analysis.store.files import read_regular

MAX_KEPT = 200
"""Runs whose choices are kept; the ones not asked about for longest go first."""
_MAX_BYTES = 2**20
_MAX_KEY = 100


def state_folder() -> Path:
    """Where this program keeps what it remembers; see the XDG base directories.

    Raises RuntimeError where nobody knows whose home that would be in.
    """
    named = os.environ.get("XDG_STATE_HOME", "")
    base = Path(named) if named.startswith("/") else Path.home() / ".local" / "state"
    return base / "lossviz-tui"


def recall(form: str, key: str = "") -> dict[str, Any]:
    """What was chosen in a form the last time, of one run if it is named; empty if nothing.

    A file that is damaged, or was written by somebody else, is as good as none: who takes
    values from it has to check each.
    """
    kept = _read().get(form)
    found: object = kept.get(key[:_MAX_KEY]) if isinstance(kept, dict) else None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def remember(form: str, choices: Mapping[str, Any], key: str = "") -> None:
    """Keep what was chosen; where it cannot be written, nothing is lost but convenience."""
    everything = _read()
    before = everything.get(form)
    kept = dict(cast("dict[str, Any]", before)) if isinstance(before, dict) else {}
    kept.pop(key[:_MAX_KEY], None)
    kept[key[:_MAX_KEY]] = dict(choices)
    everything[form] = dict(list(kept.items())[-MAX_KEPT:])
    with contextlib.suppress(OSError, RuntimeError):
        folder = state_folder()
        folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(everything).encode()
        if len(content) <= _MAX_BYTES:
            put(folder / "forms.json", content, durable=False)


def _read() -> dict[str, Any]:
    try:
        found: object = json.loads(read_regular(state_folder() / "forms.json", _MAX_BYTES))
    except (OSError, ValueError, RuntimeError):  # no home, or nested too deep
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
