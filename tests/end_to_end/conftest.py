"""What a run was trained on, for references that know nothing of this program's readers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from torch import Tensor, nn

from lossviz_trainer.datasets.digits import load_digits
from lossviz_trainer.datasets.load import load_dataset
from lossviz_trainer.models import build_model

Split = tuple[Tensor, Tensor]


@pytest.fixture(scope="session")
def images_of() -> Callable[..., Split]:
    """The normalised images and the labels of one split of a run, in the data's own order."""

    def load(run: Path, split: str, dtype: torch.dtype) -> Split:
        described: Any = zarr.open_group(run, mode="r").attrs["dataset"]
        dataset = load_dataset(
            described["source"],
            cache_folder=run.parent,
            data_root=run.parent,
            train_examples=described["train_examples"],
            seed=described["seed"],
            on_progress=None,
            download=False,
        )
        chosen = getattr(dataset, split)
        images = torch.from_numpy(np.array(chosen.images)).to(dtype) / 255
        mean, std = (
            torch.tensor(values, dtype=dtype)[None, :, None, None]
            for values in (dataset.channel_mean, dataset.channel_std)
        )
        return (images - mean) / std, torch.from_numpy(np.array(chosen.labels))

    return load


@pytest.fixture(scope="session")
def model_of(tensors_of: Callable[..., dict[str, np.ndarray]]) -> Callable[..., nn.Module]:
    """The model at a checkpoint, in eval mode: plain Zarr and `load_state_dict`."""

    def load(run: Path, number: int) -> nn.Module:
        described: Any = zarr.open_group(run, mode="r").attrs["model"]
        model = build_model(described["name"], 10, seed=99)
        state = {
            name: torch.from_numpy(values.copy())
            for name, values in tensors_of(run, number, "parameter", "buffer").items()
        }
        model.load_state_dict(state)  # strict: every tensor, and no other
        return model.eval()

    return load


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """The digits as a file, because importing scikit-learn takes longer than training."""
    digits = load_digits()
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(
        path,
        x_train=digits.train.images,
        y_train=digits.train.labels,
        x_test=digits.test.images,
        y_test=digits.test.labels,
    )
    return path
