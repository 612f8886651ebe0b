"""What a new training run can be asked to be, and the request for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.schema import RUN_SUFFIX

DATA = ("digits", "cifar10", "cifar100")
"""Data that needs no path. The trainer cannot be asked for these lists: importing it takes
seconds, and torch; a test holds them against it."""
MODELS = (
    "resnet20",
    "resnet18",
    "mlp",
    "vgg9",
    "vgg19",
    "googlenet",
    "dla",
    "densenet121",
    "resnet32",
    "resnet56",
    "resnet110",
    "resnet20-noshort",
    "resnet32-noshort",
    "resnet56-noshort",
    "resnet110-noshort",
    "wrn56-2",
    "wrn56-4",
    "wrn56-8",
    "wrn56-2-noshort",
    "wrn56-4-noshort",
    "wrn56-8-noshort",
)
_MAX_FOUND = 20
_MAX_LOOKED_AT = 2_000
_MAX_NAME_BYTES = 200
"""File systems end at 255, and what is being made has a longer name for a while."""


class RecipeSketch(NamedTuple):
    """What a recipe is, in few words."""

    learning_rate: str
    epochs: int


RECIPES: Mapping[str, RecipeSketch] = {
    "anneal-lr": RecipeSketch("0.1, cosine", 200),
    "big-lr": RecipeSketch("0.01, constant", 200),
    "small-lr": RecipeSketch("0.0001, constant", 200),
    "li": RecipeSketch("0.1, steps", 300),
}


@dataclass(frozen=True, kw_only=True)
class TrainingWish:
    """A training run as a person asks for it; None is what the recipe or the data says."""

    data: str
    model: str
    recipe: str
    epochs: int | None = None
    train_examples: int | None = None
    seed: int = 0
    device: str = "auto"
    name: str = ""
    """Of the run's folder; empty: the first free one of DATA-MODEL-RECIPE-N."""


def run_stem(data: str, model: str, recipe: str) -> str:
    """What a run is called that nobody has named, without its number."""
    return f"{Path(data).stem}-{model}-{recipe}"


def free_name(folder: Path, stem: str) -> str:
    """A name for a new run that nothing in a folder has yet, without its ending."""
    number = 1
    while (folder / f"{stem}-{number}{RUN_SUFFIX}").exists():
        number += 1
    return f"{stem}-{number}"


def run_path(folder: Path, wish: TrainingWish) -> Path:
    """Where the run of a wish will be; LossvizError where its name is none."""
    name = wish.name.strip().removesuffix(RUN_SUFFIX)
    if not wish.name.strip():
        stem = run_stem(wish.data, wish.model, wish.recipe)
        try:
            name = free_name(folder, stem)
        except OSError as error:
            raise LossvizError(
                f"no run named after its data can be made in {folder}: {error.strerror}"
            ) from None
    if not name or "/" in name or name.startswith(".") or not name.isprintable():
        raise LossvizError(f"a run is named by a word that can be a folder; got {wish.name!r}")
    if len(name.encode()) > _MAX_NAME_BYTES:
        raise LossvizError(f"a run's name has at most {_MAX_NAME_BYTES} bytes; got {name!r}")
    return (folder / f"{name}{RUN_SUFFIX}").absolute()


def training_spec(folder: Path, wish: TrainingWish) -> dict[str, Any]:
    """The request as the trainer takes it, which alone refuses what it cannot do."""
    return {
        "run": str(run_path(folder, wish)),
        "data": wish.data,
        "model": wish.model,
        "recipe": wish.recipe,
        "overrides": {} if wish.epochs is None else {"epochs": wish.epochs},
        "train_examples": wish.train_examples,
        "seed": wish.seed,
        "device": wish.device,
    }


def data_choices(*folders: Path) -> tuple[str, ...]:
    """Data to offer: what needs no path, and what lies in some folders and looks like data."""
    found: dict[str, None] = {}
    for folder in folders:
        try:
            entries = [entry for entry, _ in zip(folder.iterdir(), range(_MAX_LOOKED_AT))]  # noqa: B905
        except OSError:
            continue
        for entry in sorted(entries):
            if entry.suffix == ".npz" or _is_image_folder(entry):
                found[str(entry)] = None
    return (*DATA, *list(found)[:_MAX_FOUND])


def _is_image_folder(path: Path) -> bool:
    try:
        return (path / "train").is_dir() and (path / "test").is_dir()
    except OSError:  # somebody else's folder, lost+found
        return False
