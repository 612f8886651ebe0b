"""What a benchmark is asked to measure, as the command line passes it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, cast, get_args

from lossviz_analysis.errors import LossvizError

What = Literal["scan", "train", "all"]


@dataclass(frozen=True, kw_only=True)
class BenchSpec:
    """One request for a benchmark."""

    what: What = "all"
    nets: tuple[str, ...] = ("resnet20", "mlp")
    images: int = 2_000
    """Evaluated at every point, and trained on."""
    points: int = 3
    """Points of weight space, or training steps, that a contender does in one turn."""
    repeats: int = 3
    """Turns of each contender."""
    device: str = "auto"
    compile: bool = True
    """Whether compiled contenders take part."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers with which there is nothing to measure.

        Raises:
            LossvizError: One of them is out of bounds.
        """
        if self.what not in get_args(What):
            raise LossvizError(f"a benchmark is scan, train or all; got {self.what!r}")
        if not self.nets:
            raise LossvizError("--net must name at least one network")
        for name, least, value in (
            ("images", 100, self.images),
            ("points", 1, self.points),
            ("repeats", 1, self.repeats),
        ):
            if type(value) is not int or value < least:
                raise LossvizError(
                    f"--{name} must be a whole number of at least {least}; got {value!r}"
                )

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
            found: object = json.loads(text)
        except ValueError:
            raise LossvizError("the benchmark spec is not JSON") from None
        known = set(cls.__dataclass_fields__)
        if not isinstance(found, Mapping) or not set(cast("dict[str, Any]", found)) <= known:
            raise LossvizError(f"the benchmark spec knows only {sorted(known)}")
        fields = dict(cast("Mapping[str, Any]", found))
        if isinstance(fields.get("nets"), Sequence):
            fields["nets"] = tuple(fields["nets"])
        return cls(**fields)

    def to_json(self) -> str:
        """The spec as `from_json` reads it."""
        return json.dumps(asdict(self))
