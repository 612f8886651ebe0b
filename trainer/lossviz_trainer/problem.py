"""The model and the data of a recorded run, built again from its description."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.description import RunDescription
from lossviz_trainer.datasets.images import Dataset
from lossviz_trainer.datasets.load import load_dataset
from lossviz_trainer.models import build_model
from lossviz_trainer.spec import cache_folder_of

Progress = Callable[[int, int], None]


def describe_data(
    dataset: Dataset, source: str, data_root: Path, **asked: int | None
) -> dict[str, Any]:
    """What a run records of its data, enough to load the same again.

    Args:
        dataset: As loaded.
        source: What `--data` named.
        data_root: Where the torchvision sets lie.
        asked: `train_examples` and `seed`.

    Returns:
        JSON values.
    """
    return {
        "source": source,
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "num_train": len(dataset.train.labels),
        "num_test": len(dataset.test.labels),
        "channel_mean": list(dataset.channel_mean),
        "channel_std": list(dataset.channel_std),
        "data_root": str(data_root),
        **asked,
    }


def is_recorded(description: RunDescription) -> bool:
    """Whether a run was recorded from a training loop of the user's, with a factory or not."""
    return "factory" in description.model


def reload_data(
    run: Path, description: RunDescription, on_progress: Progress | None = None
) -> Dataset:
    """The data of a run, as it was trained on.

    Args:
        run: The run's folder.
        description: Its description.
        on_progress: Called with images decoded and images in all.

    Returns:
        The data set.

    Raises:
        LossvizError: It cannot be loaded, or is not what the run was trained on.
    """
    found = description.dataset
    examples, seed = found.get("train_examples"), found.get("seed")
    dataset = load_dataset(
        str(found.get("source", "")),
        cache_folder=cache_folder_of(run),
        data_root=Path(str(found.get("data_root", run.parent))),
        train_examples=examples if isinstance(examples, int) else None,
        seed=seed if isinstance(seed, int) else 0,
        on_progress=on_progress,
        download=False,
    )
    if dataset.fingerprint != found.get("fingerprint"):
        raise LossvizError(
            f"the data at {found.get('source')!r} are not those this run was trained on; "
            "restore them, or train a new run"
        )
    return dataset


def rebuild_model(description: RunDescription, *, seed: int = 0) -> nn.Module:
    """A model of a run's architecture, on the CPU.

    Args:
        description: The run's description.
        seed: Of its initial weights.

    Returns:
        The model.

    Raises:
        LossvizError: The run does not name a model this program can build.
    """
    name = description.model.get("name")
    if not isinstance(name, str):
        raise LossvizError(
            "the run does not say which model it trains, so it cannot be rebuilt"
        )
    return build_model(name, description.num_classes, seed=seed)
