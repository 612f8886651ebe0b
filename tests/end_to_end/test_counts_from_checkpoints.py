"""Every epoch's counts are those of that epoch's stored weights.

Read with plain Zarr and the page in schema.py, counted with plain PyTorch.
"""

from typing import Any

import numpy as np
import pytest
import torch
import zarr
from torch.utils.data import DataLoader, TensorDataset

# From the page, not imported.
NUM_RECORDS, LATEST_CHECKPOINT = 2, 4


def counted(model, images, labels):
    counts = np.zeros((10, 10), int)
    with torch.no_grad():
        for batch, truth in DataLoader(TensorDataset(images, labels), batch_size=100):
            np.add.at(counts, (truth.numpy(), model(batch).argmax(1).numpy()), 1)
    return counts


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.parametrize("which", ["digits_run", "batch_norm_run"])
def test_counts_of_every_epoch_follow_from_its_checkpoint(request, which, images_of, model_of):
    run = request.getfixturevalue(which)
    root: Any = zarr.open_group(run, mode="r")
    head = root["records/head"][:]
    stored = root["records/confusion"][: head[NUM_RECORDS]]
    columns = {name: k for k, name in enumerate(root.attrs["scalar_columns"])}
    scalars = root["records/scalars"][: head[NUM_RECORDS]]
    epochs = scalars[:, columns["epoch"]].astype(int).tolist()
    assert epochs == [1, 2, 3]
    number_of_epoch = {
        root[f"checkpoints/c{number:08d}"].attrs["epoch"]: number
        for number in range(1, head[LATEST_CHECKPOINT] + 1)
    }
    found: dict[tuple[int, str], np.ndarray] = {}
    for epoch in epochs:
        model = model_of(run, number_of_epoch[epoch])
        for k, split in enumerate(("train", "test")):
            images, labels = images_of(run, split, torch.float32)
            counts = counted(model, images, labels)
            assert np.array_equal(counts, stored[epoch - 1, k]), (epoch, split)
            accuracy = scalars[epoch - 1, columns[f"{split}_accuracy"]]
            assert accuracy == np.trace(counts) / len(labels)
            found[epoch, split] = counts
    # Not true of any run: the epochs differ, and the model calls things by many names.
    assert not np.array_equal(found[1, "test"], found[3, "test"])
    assert np.count_nonzero(found[3, "test"].sum(axis=0)) > 3


def test_the_initial_weights_are_the_first_checkpoint_and_no_record(digits_run, model_of):
    root: Any = zarr.open_group(digits_run, mode="r")
    attributes = root["checkpoints/c00000001"].attrs
    assert (attributes["epoch"], attributes["record"]) == (0, -1)
    first, last = (model_of(digits_run, n).hidden.weight for n in (1, 4))
    assert not torch.equal(first, last)
