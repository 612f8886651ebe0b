"""How a model is trained: the papers' recipes, what may be changed, and the learning rate.

All recipes are stochastic gradient descent with cross-entropy on cropped, flipped and
normalised images. The first three are those of Diao, Yao and Jiang (2022, sec. 3); `li` is that
of Li et al. (2018, sec. 6).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Literal, assert_never, cast, get_args

from lossviz_analysis.errors import LossvizError

Schedule = Literal["constant", "cosine", "steps"]

_STEP_DIVISOR = 10
_MAX_CROP_PADDING = 31


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything about training that is not the model or the data."""

    name: str
    """The name it started from; the other fields say what was changed."""

    learning_rate: float
    """The rate of the first epoch."""

    schedule: Schedule
    """How the rate moves from one epoch to the next; see `learning_rate_at`."""

    milestones: tuple[int, ...] = ()
    """Under "steps", the numbers of completed epochs after which the rate is divided by 10."""

    momentum: float = 0.9
    """Share of the last step carried into the next, in [0, 1)."""

    nesterov: bool = False
    """Whether to use Nesterov's momentum, in the form of torch.optim.SGD."""

    weight_decay: float = 5e-4
    """Multiple of every parameter that is added to its gradient, biases and BN included."""

    batch_size: int = 128
    """Images in a step."""

    epochs: int = 200
    """Passes through the training split."""

    crop_padding: int = 4
    """Width of the black border within which images are cropped at random; 0 for no crop."""

    flip: bool = True
    """Whether half of the images, chosen anew in every epoch, are mirrored left to right."""

    def to_json(self) -> dict[str, object]:
        """The fields as JSON values.

        Returns:
            What `from_json` takes.
        """
        return {**asdict(self), "milestones": list(self.milestones)}

    @classmethod
    def from_json(cls, stored: Mapping[str, object]) -> "Recipe":
        """Read back what `to_json` wrote.

        Args:
            stored: The fields by name.

        Returns:
            An equal recipe.

        Raises:
            LossvizError: If a field is missing, unknown, or has a value that no recipe may
                have.
        """
        expected = set(FIELD_NAMES)
        if set(stored) != expected:
            differing = ", ".join(sorted(set(stored) ^ expected))
            raise LossvizError(
                f"a stored recipe has the fields {', '.join(FIELD_NAMES)}; "
                f"this one differs in {differing}"
            )
        return _checked(stored)


FIELD_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Recipe))
"""The fields of a recipe, in order; every one but `name` can be overridden."""

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            Recipe(name="big-lr", learning_rate=0.01, schedule="constant"),
            Recipe(name="small-lr", learning_rate=0.0001, schedule="constant"),
            Recipe(name="anneal-lr", learning_rate=0.1, schedule="cosine"),
            Recipe(
                name="li",
                learning_rate=0.1,
                schedule="steps",
                milestones=(150, 225, 275),
                nesterov=True,
                epochs=300,
            ),
        )
    }
)
"""The recipes as published, by name."""

# Li et al. (2018, sec. 6): "Deeper experimental VGG-like networks (e.g., ResNet-56-noshort)
# required a smaller initial learning rate of 0.01." Their noshort networks have 20, 56 and 110
# layers, and of these ResNet-20-noshort behaves like its twin with shortcuts, so "deeper" is
# read as 56 and more.
_DEEP = 56
_DEEP_NOSHORT_LEARNING_RATE = 0.01
_NOSHORT_NAME = re.compile(r"(?:resnet|wrn)(?P<depth>\d+).*-noshort")


def resolve_recipe(
    name: str,
    *,
    model_name: str,
    overrides: Mapping[str, object],
    flip_is_label_preserving: bool = True,
) -> Recipe:
    """The recipe to train one model with: as published, adapted to it, then overridden.

    Adapted means three things, each only where the value is not overridden. Under `li`, noshort
    networks of 56 layers or more start at 0.01. Milestones move with the number of epochs, to
    the nearest whole epoch (150, 225, 275 of 300 become 15, 23, 28 of 30). Images are not
    flipped where that would change what they show.

    Args:
        name: A key of `RECIPES`.
        model_name: The name of the model, as the registry of models spells it.
        overrides: Values by field name; None stands for "not given".
        flip_is_label_preserving: What the dataset says about mirror images.

    Returns:
        The recipe with every value resolved and checked.

    Raises:
        LossvizError: If the name or an option is unknown, a value is out of range, or two
            exclude each other.
    """
    published = RECIPES.get(name)
    if published is None:
        raise LossvizError(f"--recipe must be one of {', '.join(RECIPES)}; got {name!r}")
    given = {option: value for option, value in overrides.items() if value is not None}
    unknown = sorted(given.keys() - (set(FIELD_NAMES) - {"name"}))
    if unknown:
        raise LossvizError(
            f"a recipe has no option {_spelled(unknown[0])}; it has "
            f"{', '.join(_spelled(field) for field in FIELD_NAMES if field != 'name')}"
        )
    adapted: dict[str, object] = {
        "learning_rate": _first_learning_rate(published, model_name),
        "flip": published.flip and flip_is_label_preserving,
    }
    # Checked in two steps, because the milestones follow the schedule and the number of epochs.
    chosen = published.to_json() | adapted | given
    if "milestones" not in given:
        keeps_steps = chosen["schedule"] == published.schedule == "steps"
        epochs = _whole(chosen, "epochs", at_least=1)
        chosen["milestones"] = _scaled_milestones(published, epochs) if keeps_steps else ()
    return _checked(chosen)


def learning_rate_at(recipe: Recipe, epoch: int) -> float:
    """The learning rate of one epoch, the same for all of its steps.

    "cosine" is lr (1 + cos(pi epoch / epochs)) / 2, annealing without restarts (Loshchilov and
    Hutter 2017) with one change an epoch, as the papers' code does it by stepping
    CosineAnnealingLR after every epoch. So the rate of the last epoch is small but not zero,
    and an epoch's rate in the store is the rate of every step in it. "steps" divides by 10 at
    each milestone.

    Args:
        recipe: The recipe.
        epoch: Number of epochs completed before this one; 0 for the first. Beyond the end of
            the recipe the rate stays where the schedule ends, which for "cosine" is 0.

    Returns:
        The rate.
    """
    match recipe.schedule:
        case "constant":
            return recipe.learning_rate
        case "cosine":
            progress = min(epoch / recipe.epochs, 1.0)
            return recipe.learning_rate * (1 + math.cos(math.pi * progress)) / 2
        case "steps":
            num_passed = sum(epoch >= milestone for milestone in recipe.milestones)
            return recipe.learning_rate / _STEP_DIVISOR**num_passed
        case _:
            assert_never(recipe.schedule)


def _first_learning_rate(published: Recipe, model_name: str) -> float:
    noshort = _NOSHORT_NAME.fullmatch(model_name)
    if published.name == "li" and noshort and int(noshort["depth"]) >= _DEEP:
        return _DEEP_NOSHORT_LEARNING_RATE
    return published.learning_rate


def _scaled_milestones(published: Recipe, epochs: int) -> tuple[int, ...]:
    # Halves go up, in integers: round() would send 1.5 and 2.5 both to 2.
    return tuple(
        (2 * milestone * epochs + published.epochs) // (2 * published.epochs)
        for milestone in published.milestones
    )


def _checked(values: Mapping[str, object]) -> Recipe:
    recipe = Recipe(
        name=_one_of(values, "name", tuple(RECIPES)),
        learning_rate=_number(values, "learning_rate", above=0),
        schedule=cast("Schedule", _one_of(values, "schedule", get_args(Schedule))),
        milestones=_milestones(values),
        momentum=_number(values, "momentum", at_least=0, below=1),
        nesterov=_switch(values, "nesterov"),
        weight_decay=_number(values, "weight_decay", at_least=0),
        batch_size=_whole(values, "batch_size", at_least=1),
        epochs=_whole(values, "epochs", at_least=1),
        crop_padding=_whole(values, "crop_padding", at_least=0, at_most=_MAX_CROP_PADDING),
        flip=_switch(values, "flip"),
    )
    if recipe.nesterov and recipe.momentum == 0:
        raise LossvizError("--nesterov needs a --momentum above 0; got 0")
    if recipe.milestones and recipe.schedule != "steps":
        raise LossvizError(
            f"--milestones belong to --schedule steps; got --schedule {recipe.schedule}"
        )
    if recipe.schedule == "steps" and not recipe.milestones:
        raise LossvizError("--schedule steps needs --milestones, for instance 15,23,28")
    return recipe


def _spelled(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _one_of(values: Mapping[str, object], field: str, allowed: Sequence[str]) -> str:
    value = values[field]
    if not isinstance(value, str) or value not in allowed:
        raise LossvizError(
            f"{_spelled(field)} must be one of {', '.join(allowed)}; got {value!r}"
        )
    return value


def _switch(values: Mapping[str, object], field: str) -> bool:
    value = values[field]
    if not isinstance(value, bool):
        raise LossvizError(f"{_spelled(field)} must be true or false; got {value!r}")
    return value


def _number(
    values: Mapping[str, object],
    field: str,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
) -> float:
    value = values[field]
    # Written so that NaN, which compares false, is refused.
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (above < value < below and value >= at_least)
    ):
        bounds = [
            f"{words} {bound:g}"
            for words, bound in (("above", above), ("at least", at_least), ("below", below))
            if math.isfinite(bound)
        ]
        raise LossvizError(
            f"{_spelled(field)} must be a finite number {' and '.join(bounds)}; got {value!r}"
        )
    return float(value)


def _whole(
    values: Mapping[str, object], field: str, *, at_least: int, at_most: int | None = None
) -> int:
    value = values[field]
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or value < at_least
        or (at_most is not None and value > at_most)
    ):
        bounds = f"at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"
        raise LossvizError(f"{_spelled(field)} must be a whole number {bounds}; got {value!r}")
    return value


def _milestones(values: Mapping[str, object]) -> tuple[int, ...]:
    value = values["milestones"]
    items = cast("Sequence[object]", value) if isinstance(value, list | tuple) else None
    if items is not None:
        epochs = [
            item for item in items if isinstance(item, int) and not isinstance(item, bool)
        ]
        if (
            len(epochs) == len(items)
            and epochs == sorted(epochs)
            and min(epochs, default=1) >= 1
        ):
            return tuple(epochs)
    raise LossvizError(
        f"--milestones must be whole numbers of epochs from 1 on, none less than the one "
        f"before; got {value!r}"
    )
