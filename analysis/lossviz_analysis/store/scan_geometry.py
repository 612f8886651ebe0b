"""What is known of a scan before its first point: shape, layout, provenance."""

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from lossviz_analysis.store import fields
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.requests import MAX_TRAJECTORY
from lossviz_analysis.store.schema import MAX_CLASSES, SPLITS, CellLayout


@dataclass(frozen=True, kw_only=True)
class ScanGeometry:
    """What a worker knows of a scan before its first point; the attributes of `result`."""

    class_names: tuple[str, ...]
    splits: tuple[str, ...]
    points: tuple[int, ...]
    has_confusion: bool
    chunks: dict[str, int]
    """Chunks of the class-balanced order, by split."""
    examples: dict[str, int]
    """Examples evaluated at each point, by split."""
    direction_norms: tuple[float, ...]
    weight_norm: float
    cosine: float | None = None
    """Between the two directions, before they were made orthonormal where they were."""
    explained: tuple[float, ...] = ()
    """Share of the trajectory's squared length that each pca direction holds; 0 for others."""
    trajectory: tuple[tuple[float, ...], ...] = ()
    """For each checkpoint on the way: epoch, coordinates along the directions, and distance
    out of the line or plane."""
    provenance: dict[str, Any] = field(default_factory=dict[str, Any])
    """Digest of the checkpoint, versions, device, threads: what explains a number."""

    @property
    def layout(self) -> CellLayout:
        """Where sums lie in a cell."""
        return CellLayout(num_classes=len(self.class_names), has_confusion=self.has_confusion)

    @property
    def num_points(self) -> int:
        """Points of the grid."""
        return int(np.prod(self.points))

    @property
    def total_items(self) -> int:
        """Items of the whole scan: points times chunks, over the splits."""
        return self.num_points * sum(self.chunks[split] for split in self.splits)

    @classmethod
    def from_attributes(cls, found: dict[str, Any]) -> "ScanGeometry":
        """Check the attributes of a result somebody else may have written.

        Args:
            found: The attributes.

        Returns:
            The geometry.

        Raises:
            StoreError: They are malformed.
        """
        splits = fields.texts(found, "splits", limit=2)
        if splits not in (SPLITS, SPLITS[:1], SPLITS[1:]):
            raise StoreError(f"a scan covers train, test, or both; got {splits!r}")
        cosine: object = found.get("cosine")
        per_split = {
            name: {
                split: fields.integer(fields.mapping(found, name), split, high=2**40)
                for split in splits
            }
            for name in ("chunks", "examples")
        }
        class_names = fields.texts(found, "class_names", limit=MAX_CLASSES)
        points = tuple(
            fields.integer({"points": n}, "points", low=1, high=10_000)
            for n in fields.sequence(found, "points", limit=2)
        )
        direction_norms = tuple(
            fields.number({"norm": n}, "norm")
            for n in fields.sequence(found, "direction_norms", limit=2)
        )
        if not class_names or not 1 <= len(points) == len(direction_norms):
            raise StoreError("a scan has classes and one or two directions, each with a norm")
        return cls(
            class_names=class_names,
            splits=splits,
            points=points,
            has_confusion=found.get("has_confusion") is True,
            direction_norms=direction_norms,
            weight_norm=fields.number(found, "weight_norm"),
            cosine=None if cosine is None else fields.number(found, "cosine"),
            explained=_numbers(found, "explained", limit=2),
            trajectory=_trajectory(found, len(points)),
            provenance=fields.mapping(found, "provenance"),
            **per_split,
        )


def _numbers(found: dict[str, Any], name: str, *, limit: int) -> tuple[float, ...]:
    if name not in found:
        return ()
    return tuple(
        fields.number({name: n}, name) for n in fields.sequence(found, name, limit=limit)
    )


def _trajectory(found: dict[str, Any], dims: int) -> tuple[tuple[float, ...], ...]:
    if "trajectory" not in found:
        return ()
    rows: list[tuple[float, ...]] = []
    for row in fields.sequence(found, "trajectory", limit=MAX_TRAJECTORY):
        if not isinstance(row, list) or len(cast("list[Any]", row)) != dims + 2:
            raise StoreError(f"a trajectory has {dims + 2} numbers for each checkpoint")
        rows.append(_numbers({"trajectory": row}, "trajectory", limit=dims + 2))
    return tuple(rows)
