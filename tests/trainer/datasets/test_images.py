import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.datasets.images import (
    Dataset,
    Images,
    channel_statistics,
    checked_dataset,
)


def split(labels, *, seed=0):
    generator = np.random.default_rng(seed)
    shape = (len(labels), 3, 32, 32)
    return Images(
        images=generator.integers(0, 256, shape, dtype=np.uint8),
        labels=np.array(labels, dtype=np.int64),
    )


def dataset(**changes) -> Dataset:
    parts: dict[str, Any] = {
        "name": "tiny",
        "class_names": ("cat", "dog"),
        "train": split([0, 1, 1]),
        "test": split([1, 0], seed=1),
        "source": "tiny.npz",
        "flip_is_label_preserving": True,
    }
    return checked_dataset(**(parts | changes))


def test_a_sound_dataset_keeps_its_parts():
    train = split([0, 1, 1])
    tiny = dataset(train=train)
    assert tiny.train is train
    assert (tiny.name, tiny.class_names) == ("tiny", ("cat", "dog"))
    assert (len(tiny.train), len(tiny.test)) == (3, 2)


@pytest.mark.oracle
@given(seed=st.integers(0, 2**32 - 1), num_images=st.integers(1, 200))
def test_channel_statistics_are_those_of_float64(seed, num_images):
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (num_images, 3, 32, 32), dtype=np.uint8)
    mean, std = channel_statistics(pixels)
    scaled = pixels.astype(np.float64) / 255
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std(axis=(0, 2, 3)), rtol=1e-12)


def test_channel_statistics_do_not_depend_on_the_order_of_the_images():
    pixels = split(range(100)).images
    assert channel_statistics(pixels) == channel_statistics(pixels[::-1])


def test_a_channel_that_never_varies_has_a_standard_deviation_of_one():
    pixels = split([0, 1]).images
    pixels[:, 2] = 51
    mean, std = channel_statistics(pixels)
    assert mean[2] == 0.2
    assert std[2] == 1.0
    assert 0 < std[0] < 1


def test_the_fingerprint_changes_with_every_pixel_label_and_class_name():
    def changed_image(position):
        train = split([0, 1, 1])
        train.images[position] ^= 1
        return train

    variants = [
        dataset(),
        dataset(train=changed_image((0, 0, 0, 0))),
        dataset(train=changed_image((2, 2, 31, 31))),
        dataset(train=Images(images=split([0, 1, 1]).images, labels=np.array([0, 0, 1]))),
        dataset(test=split([1, 0], seed=2)),
        dataset(class_names=("dog", "cat")),
        dataset(class_names=("ca", "tdog")),
    ]
    fingerprints = [variant.fingerprint for variant in variants]
    assert len(set(fingerprints)) == len(variants)
    assert all(len(bytes.fromhex(fingerprint)) == 16 for fingerprint in fingerprints)


def test_the_fingerprint_is_the_same_every_time_and_in_every_memory_layout():
    train = split([0, 1, 1])
    transposed = np.ascontiguousarray(train.images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    other = dataset(train=Images(images=transposed, labels=train.labels))
    assert dataset().fingerprint == dataset().fingerprint == other.fingerprint


def test_a_subset_has_a_fingerprint_of_its_own():
    whole = dataset()
    assert whole.fingerprint
    fewer = Images(images=whole.train.images[:2], labels=whole.train.labels[:2])
    assert dataclasses.replace(whole, train=fewer).fingerprint != whole.fingerprint


def refused(**changes) -> str:
    with pytest.raises(LossvizError) as caught:
        dataset(**changes)
    message = str(caught.value)
    assert "tiny.npz" in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (np.zeros((3, 3, 32, 32), dtype=np.float32), "float32"),
        (np.zeros((3, 32, 32, 3), dtype=np.uint8), "[3, 32, 32, 3]"),
        (np.zeros((3, 3, 28, 28), dtype=np.uint8), "[3, 3, 28, 28]"),
        (np.zeros((3072,), dtype=np.uint8), "[3072]"),
    ],
)
def test_images_of_another_shape_or_dtype_are_refused(pixels, found):
    message = refused(train=Images(images=pixels, labels=np.array([0, 1, 1])))
    assert "training images must be uint8" in message
    assert found in message


@pytest.mark.parametrize(
    "labels",
    [np.array([0, 1, 1], dtype=np.int32), np.array([0.0, 1, 1]), np.array([[0], [1], [1]])],
)
def test_labels_of_another_shape_or_dtype_are_refused(labels):
    message = refused(train=Images(images=split([0, 1, 1]).images, labels=labels))
    assert "training labels must be int64 of shape [n]" in message


def test_splits_with_more_images_than_labels_are_refused():
    message = refused(test=Images(images=split([0, 1, 1]).images, labels=np.array([0, 1])))
    assert "3 images and 2 labels" in message


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_without_a_class_name_is_refused(label):
    message = refused(test=split([0, 1, label]))
    assert "test labels must lie in 0 to 1" in message
    assert f"label 2 is {label}" in message


@pytest.mark.parametrize(("which", "words"), [("train", "training"), ("test", "test")])
def test_a_class_without_examples_is_named(which, words):
    assert f"class 'dog' has no {words} examples" in refused(**{which: split([0, 0])})


def test_an_empty_split_is_refused():
    assert "class 'cat' has no test examples" in refused(test=split([]))


@pytest.mark.parametrize("names", [(), ("cat",)])
def test_fewer_than_two_classes_are_refused(names):
    assert f"got {len(names)}" in refused(class_names=names)


def test_two_classes_of_one_name_are_refused():
    assert "'cat' names classes 0 and 2" in refused(class_names=("cat", "dog", "cat"))


@pytest.mark.parametrize("name", ["", "\x1b[2J", "two\nlines", "\udcff"])
def test_class_names_that_are_not_printable_text_are_refused(name):
    assert "class 1 is" in refused(class_names=("cat", name))
