"""What a run is: the attributes written once, when it is created."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossviz_analysis.store import fields
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.schema import (
    AXES,
    FIXED_COLUMNS,
    MAX_CLASSES,
    SCHEMA,
    SCHEMA_VERSION,
    SPLITS,
)

OWN_FOLDERS = (
    "records",
    "records/head",
    "records/scalars",
    "records/confusion",
    "live",
    "live/heartbeat",
    "live/steps",
    "checkpoints",
    "scans",
)


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """The root attributes of a run."""

    run_id: str
    """A UUID."""
    created_at: str
    """UTC, ISO 8601; for people, never for ordering."""
    class_names: tuple[str, ...]
    scalar_columns: tuple[str, ...]
    """Names of the scalar columns; the first four are FIXED_COLUMNS."""
    model: dict[str, Any] = field(default_factory=dict[str, Any])
    """`name`, `num_parameters`, and whatever rebuilds it."""
    dataset: dict[str, Any] = field(default_factory=dict[str, Any])
    """`source`, `name`, `fingerprint`, `train_examples`, and whatever loads it again."""
    recipe: dict[str, Any] = field(default_factory=dict[str, Any])
    """The resolved hyperparameters; `epochs` is how many the run will have."""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    """How to run it, apart from what it computes: `checkpoint_every`, `checkpoint_minutes`,
    `keep_bytes`, `device`; a resume goes by them unless told otherwise."""
    versions: dict[str, Any] = field(default_factory=dict[str, Any])
    """Of the programs that made it."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def planned_epochs(self) -> int | None:
        """How many epochs the run means to have, where it says so."""
        found = self.recipe.get("epochs")
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def to_attributes(self) -> dict[str, Any]:
        """The attributes as written."""
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "run_id": self.run_id,
            "created_at": self.created_at,
            "class_names": list(self.class_names),
            "splits": list(SPLITS),
            "axes": list(AXES),
            "scalar_columns": list(self.scalar_columns),
            "model": self.model,
            "dataset": self.dataset,
            "recipe": self.recipe,
            "settings": self.settings,
            "versions": self.versions,
        }

    @classmethod
    def from_attributes(cls, found: dict[str, Any], path: Path) -> "RunDescription":
        """Check the attributes of a run somebody else may have written.

        Args:
            found: The root attributes.
            path: Where they come from, for the message.

        Returns:
            The description.

        Raises:
            StoreError: This is no run, or one of a newer schema, or its attributes are
            malformed.
        """
        if found.get("schema") != SCHEMA:
            raise StoreError(f"{path} is a Zarr group but not a run of this program")
        version = fields.integer(found, "schema_version")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{path} was written by schema {version}, this program knows {SCHEMA_VERSION}; "
                "update it to open this run"
            )
        class_names = fields.texts(found, "class_names", limit=MAX_CLASSES)
        if not class_names:
            raise StoreError(f"{path} names no classes; a run needs at least one")
        columns = fields.texts(found, "scalar_columns", limit=1_000)
        if columns[: len(FIXED_COLUMNS)] != FIXED_COLUMNS:
            raise StoreError(f"{path} has scalar columns of another layout")
        return cls(
            run_id=fields.text(found, "run_id"),
            created_at=fields.text(found, "created_at", ""),
            class_names=class_names,
            scalar_columns=columns,
            model=fields.mapping(found, "model"),
            dataset=fields.mapping(found, "dataset"),
            recipe=fields.mapping(found, "recipe"),
            settings=fields.mapping(found, "settings"),
            versions=fields.mapping(found, "versions"),
        )


def read_description(path: Path) -> RunDescription:
    """The description of the run in a folder.

    Args:
        path: The run's folder.

    Returns:
        Its description.

    Raises:
        StoreError: There is no readable run.
    """
    try:
        has_attributes = (path / "zarr.json").is_file()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None
    if not has_attributes:
        raise StoreError(f"{path} is not a run: it has no zarr.json")
    return RunDescription.from_attributes(fields.attributes_of(path), path)


def refuse_links(run: Path) -> None:
    """See to it that the fixed folders of a run are its own.

    Args:
        run: The run's folder; it may itself be reached through a link.

    Raises:
        StoreError: One of them is a symbolic link, so that reading, or sweeping, would leave
            the run.
    """
    for name in OWN_FOLDERS:
        if (run / name).is_symlink():
            raise StoreError(
                f"{run} holds a symbolic link, {name}; a run is read from its own folder only"
            )
