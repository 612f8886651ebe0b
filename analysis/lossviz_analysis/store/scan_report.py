"""What a worker found out about a scan while it computed it: rates, checks, the centre."""

from dataclasses import asdict, dataclass, field
from typing import Any, cast

from lossviz_analysis.store import fields
from lossviz_analysis.store.fields import StoreError

REPORT_NAME = "report.json"
MAX_NOTES = 32
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
    """Over this worker's time on the scan."""
    bare_images_per_second: float = 0.0
    """Of nothing but the same forward pass, measured just before; all devices together."""
    num_bytes: int = 0
    """Memory the scan was estimated to need on the device."""
    estimated_seconds: float = 0.0
    """Time the whole scan was estimated to take before it began."""
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """Where the time went: directions, probe, move, forward, transfer, idle."""
    deviation: dict[str, float] = field(default_factory=dict[str, float])
    """Of the sentinel points from exact arithmetic: loss, relative, mistakes."""
    centre: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """Cross-entropy (`loss`) and `mistake_rate` of the model itself, by split."""
    notes: tuple[str, ...] = ()
    """Sentences for people: what was given up, redone, or chosen."""

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
