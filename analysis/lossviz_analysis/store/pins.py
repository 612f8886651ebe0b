"""Checkpoints that scans use and retention must leave alone."""

from pathlib import Path
from typing import Any, cast

from lossviz_analysis.store import fields
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.requests import MAX_TRAJECTORY


class Pins:
    """What the scans of a run pin; each request, which never changes, is read once."""

    def __init__(self, run: Path) -> None:
        self._folder = run / "scans"
        self._known: dict[str, frozenset[int]] = {}

    def numbers(self) -> frozenset[int]:
        """Numbers of the checkpoints that scans of the run start from or point to.

        A scan of another run that points here cannot be seen from here; its worker reads the
        checkpoint first.
        """
        found: dict[str, frozenset[int]] = {}
        for folder in self._folder.glob("*"):
            try:
                found[folder.name] = self._known.get(folder.name) or _pinned_by(folder)
            except StoreError:
                continue
        self._known = found
        return frozenset[int]().union(*found.values())


def _pinned_by(scan: Path) -> frozenset[int]:
    request = fields.mapping(fields.attributes_of(scan), "request")
    found = {fields.integer(request, "checkpoint")}
    for direction in fields.sequence(request, "directions", limit=2):
        spec = cast("dict[str, Any]", direction) if isinstance(direction, dict) else {}
        if spec.get("toward_run") is None and spec.get("toward_checkpoint") is not None:
            found.add(fields.integer(spec, "toward_checkpoint"))
    if "trajectory" in request:
        numbers = fields.sequence(request, "trajectory", limit=MAX_TRAJECTORY)
        found |= {fields.integer({"trajectory": n}, "trajectory") for n in numbers}
    return frozenset(found)
