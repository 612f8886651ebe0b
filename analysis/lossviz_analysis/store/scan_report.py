"""What a worker found out about a scan while it computed it: rates, checks, the centre."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from lossviz_analysis.store import fields
from lossviz_analysis.store.fields import StoreError

REPORT_NAME = "report.json"
MAX_NOTES = 32
DUTY = 0.5
"""Share of the time a scan computes on a GPU while its run is trained."""
_MAX_NUMBERS = 64


@dataclass(frozen=True, kw_only=True)
class ScanReport:
    """How a scan was computed; written anew while it is, empty before.

    Nothing here is needed to understand the cells; it says how far to trust them and how fast
    they came.
    """

    forward: str = ""
    """How the forward pass was made, in words: what was folded, fused and compiled."""
    precision: str = ""
    """The arithmetic used in the end: `fast` falls back to `exact` when out of tolerance."""
    micro_batch: int = 0
    """Examples in one forward pass, after the probe and after running out of memory."""
    images_per_second: float = 0.0
    """While this worker computed points: without what comes before them, and without its rests,
    so that it can be held against the bare rate; see `paced_images_per_second`."""
    bare_images_per_second: float = 0.0
    """Of nothing but the same forward pass, measured just before; all devices together."""
    num_bytes: int = 0
    """Memory the scan was estimated to need on the device."""
    estimated_seconds: float = 0.0
    """Time the whole scan was estimated to take before it began, rests included."""
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """Where this worker's time went: `setup`, then `computing`, of which it was `resting`."""
    deviation: dict[str, float] = field(default_factory=dict[str, float])
    """Of the sentinel points from exact arithmetic: loss, relative, mistakes."""
    centre: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """Cross-entropy (`loss`) and `mistake_rate` of the model itself, by split."""
    notes: tuple[str, ...] = ()
    """Sentences for people: what was given up, redone, or chosen."""

    @property
    def share_computing(self) -> float:
        """Share of the time of the points that was not rest; 1 where nobody rested."""
        total = self.seconds.get("computing", 0.0)
        resting = self.seconds.get("resting", 0.0)
        return 1 - resting / total if 0 < resting < total < math.inf else 1.0

    @property
    def paced_images_per_second(self) -> float:
        """The rate by the clock on the wall, rests included; the time left follows from it."""
        return self.images_per_second * self.share_computing

    def to_json(self) -> dict[str, Any]:
        """As stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "ScanReport":
        """Check what somebody else may have written.

        Args:
            found: The stored object.

        Returns:
            The report.

        Raises:
            StoreError: A field is malformed.
        """
        centre = {
            name: _numbers(cast("dict[str, Any]", values))
            for name, values in fields.mapping(found, "centre").items()
            if isinstance(values, dict)
        }
        return cls(
            forward=fields.text(found, "forward", ""),
            precision=fields.text(found, "precision", ""),
            micro_batch=fields.integer(found, "micro_batch", default=0),
            images_per_second=fields.number(found, "images_per_second", 0.0),
            bare_images_per_second=fields.number(found, "bare_images_per_second", 0.0),
            num_bytes=fields.integer(found, "num_bytes", default=0),
            estimated_seconds=fields.number(found, "estimated_seconds", 0.0),
            seconds=_numbers(fields.mapping(found, "seconds")),
            deviation=_numbers(fields.mapping(found, "deviation")),
            centre=centre,
            notes=fields.texts(found, "notes", limit=MAX_NOTES),
        )


def _numbers(found: dict[str, Any]) -> dict[str, float]:
    if len(found) > _MAX_NUMBERS:
        raise StoreError(f"a report holds at most {_MAX_NUMBERS} numbers; got {len(found)}")
    return {name: fields.number(found, name) for name in found}
