"""What a training daemon is asked to do, as the command line passes it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from lossviz_analysis.errors import LossvizError

Amp = Literal["none", "bf16"]

SETTINGS: Mapping[str, tuple[type, ...]] = {
    "checkpoint_every": (int,),
    "checkpoint_minutes": (int, float),
    "keep_bytes": (int,),
    "device": (str,),
    "channels_last": (bool,),
    "amp": (str,),
    "compile": (bool,),
}
"""Fields that a run remembers for its resumes, and their types."""


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """One request for training; only `run` matters to a resume."""

    run: Path
    """Folder of the run, ending in .zarr."""
    resume: bool = False
    """Go on with a run that exists."""
    data: str = "digits"
    model: str = "resnet20"
    recipe: str = "anneal-lr"
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Recipe fields given on the command line."""
    train_examples: int | None = None
    seed: int = 0
    device: str = "auto"
    checkpoint_every: int | None = None
    """Epochs between checkpoints; None chooses by the size of the model."""
    checkpoint_minutes: float | None = None
    """Minutes after which a checkpoint is due also within an epoch; None means never."""
    keep_bytes: int | None = None
    """Byte budget of the kept checkpoints; None means the default of the retention rule."""
    data_root: Path | None = None
    """Where cifar10 and cifar100 lie or are downloaded to; None means beside the runs."""
    download: bool = True
    channels_last: bool | None = None
    """Whether the channels lie innermost; None goes by the device."""
    amp: Amp | None = None
    """The precision of convolutions and products; None means "none", float32."""
    compile: bool | None = None
    """Whether the step is compiled; None means no."""

    def __post_init__(self) -> None:
        """Refuse what would otherwise fail, or be taken for another value, after the start.

        Raises:
            LossvizError: A number is out of bounds.
        """
        if not 0 <= self.seed < 2**62:
            raise LossvizError(
                f"--seed must be a whole number from 0 to 2**62; got {self.seed!r}"
            )
        if self.checkpoint_every is not None and self.checkpoint_every < 1:
            raise LossvizError(
                f"--checkpoint-every must be at least 1; got {self.checkpoint_every!r}"
            )
        if self.checkpoint_minutes is not None and not self.checkpoint_minutes > 0:
            raise LossvizError(
                f"--checkpoint-minutes must be more than 0; got {self.checkpoint_minutes!r}"
            )
        if self.amp is not None and self.amp not in get_args(Amp):
            raise LossvizError(f"--amp must be none or bf16; got {self.amp!r}")

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a spec as the command line wrote it.

        Args:
            text: A JSON object of the fields above.

        Returns:
            The spec.

        Raises:
            LossvizError: It is not such an object.
        """
        try:
            found: Any = json.loads(text)
        except ValueError:
            raise LossvizError("the training spec is not JSON") from None
        known = set(cls.__dataclass_fields__)
        if not isinstance(found, dict) or "run" not in found or not set(found) <= known:
            raise LossvizError(f"the training spec needs `run` and knows only {sorted(known)}")
        fields = cast("dict[str, Any]", found)
        for name in ("run", "data_root"):
            if fields.get(name) is not None:
                fields[name] = Path(str(fields[name])).absolute()
        return cls(**fields)

    def to_json(self) -> str:
        """The spec as `from_json` reads it."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        values["overrides"] = dict(self.overrides)
        return json.dumps(values, default=str)

    def settings(self) -> dict[str, Any]:
        """What a run remembers of how to go on, apart from what it computes."""
        return {name: getattr(self, name) for name in SETTINGS}

    def with_settings(self, remembered: Mapping[str, Any]) -> Self:
        """The spec of a resume: what it leaves open is as the run remembers it.

        Args:
            remembered: The run's settings, which a stranger may have written.

        Returns:
            The completed spec.

        Raises:
            LossvizError: A number among them is out of bounds.
        """
        known = {
            name: remembered[name]
            for name, kinds in SETTINGS.items()
            if getattr(self, name) in (None, "auto") and type(remembered.get(name)) in kinds
        }
        return replace(self, **known)

    @property
    def cache_folder(self) -> Path:
        """Where decoded images are kept: beside the runs."""
        return cache_folder_of(self.run)


def cache_folder_of(run: Path) -> Path:
    """Where decoded images of a run's data are kept: beside the runs."""
    return run.parent / ".lossviz-cache"
