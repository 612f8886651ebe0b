"""Checkpoints that scans use and retention must leave alone."""

import contextlib
from pathlib import Path
from typing import Any, cast

from lossviz_analysis.store import fields
from lossviz_analysis.store.fields import StoreError


def pinned_checkpoints(run: Path) -> frozenset[int]:
    """Numbers of the checkpoints that scans of the run start from or point to.

    A scan of another run that points here cannot be seen from here; its worker reads the
    checkpoint first.
    """
    found: set[int] = set()
    for folder in (run / "scans").glob("*"):
        with contextlib.suppress(StoreError):
            request = fields.mapping(fields.attributes_of(folder), "request")
            found.add(fields.integer(request, "checkpoint"))
            for direction in fields.sequence(request, "directions", limit=2):
                spec = cast("dict[str, Any]", direction) if isinstance(direction, dict) else {}
                if spec.get("toward_run") is None and spec.get("toward_checkpoint") is not None:
                    found.add(fields.integer(spec, "toward_checkpoint"))
    return frozenset(found)
