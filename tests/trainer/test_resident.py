"""Data on the device: the order of scans, and what a model sees."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from lossviz_analysis.weightspace.examples import balanced_order
from lossviz_trainer.resident import Normaliser, move_to_device

MEAN, STD = (0.1, 0.5, 0.9), (0.2, 0.25, 1.0)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    shape = (5, 3, 32, 32)
    found = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    found[0, :, 0, 0], found[0, :, 0, 1] = 0, 255
    return found


@pytest.mark.oracle
def test_a_model_sees_what_torchvision_would_show_it(images):
    expected = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    found = Normaliser(MEAN, STD)(images, torch.float32)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected(images), rtol=1e-6, atol=1e-6)


@pytest.mark.oracle
def test_in_float64_it_is_the_formula_to_the_last_digits(images):
    # Means rounded to float32 on the way would be wrong in the eighth digit.
    mean, std = (np.array(values)[:, None, None] for values in (MEAN, STD))
    expected = (images.numpy().astype(np.float64) / 255 - mean) / std
    found = Normaliser(MEAN, STD)(images, torch.float64)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14, atol=1e-15)


def test_the_images_are_left_as_they_were(images):
    before = images.clone()
    Normaliser(MEAN, STD)(images, torch.float32)
    assert images.dtype == torch.uint8
    assert torch.equal(images, before)


@pytest.mark.parametrize("split", ["train", "test"])
def test_each_split_lies_in_its_class_balanced_order(digits, resident, split):
    whole = getattr(digits, split)
    order = balanced_order(whole.labels)
    assert not np.array_equal(order, np.arange(len(order)))
    found = resident.split(split)
    assert np.array_equal(found.labels.numpy(), whole.labels[order])
    assert np.array_equal(found.images.numpy(), whole.images[order])
    assert found.images.dtype == torch.uint8
    assert found.num_classes == 10


def test_every_beginning_holds_the_classes_in_proportion(digits, resident):
    shares = np.bincount(digits.train.labels, minlength=10) / len(digits.train)
    for length in (50, 200, 1_000):
        counts = np.bincount(resident.train.labels[:length].numpy(), minlength=10)
        assert np.abs(counts - shares * length).max() <= 1.0


def test_a_model_sees_the_channel_statistics_of_the_data_set(some_digits):
    dataset = some_digits(100, 50)
    data = move_to_device(dataset, torch.device("cpu"))
    expected = Normaliser(dataset.channel_mean, dataset.channel_std)
    for split in (data.train, data.test):
        found = split.inputs(3, 9, torch.float64)
        assert torch.equal(found, expected(split.images[3:9], torch.float64))


def test_there_are_two_splits(resident):
    with pytest.raises(KeyError):
        resident.split("validation")
