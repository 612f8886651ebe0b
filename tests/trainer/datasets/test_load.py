from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.datasets.images import Dataset
from lossviz_trainer.datasets.load import load_dataset


@pytest.fixture
def load(tmp_path) -> Callable[..., Dataset]:
    def load_from(source, **changes) -> Dataset:
        options: dict[str, Any] = {
            "cache_folder": tmp_path / "cache",
            "data_root": tmp_path / "data",
            "train_examples": None,
            "seed": 0,
            "on_progress": None,
            "download": False,
        }
        return load_dataset(source, **(options | changes))

    return load_from


def save_npz(path):
    pixels = np.arange(2 * 3072).reshape(2, 3, 32, 32).astype(np.uint8)
    np.savez(path, x_train=pixels, y_train=[0, 1], x_test=pixels, y_test=[0, 1])


def save_tree(root):
    for split in ("train", "test"):
        for k, name in enumerate(("no", "yes")):
            (root / split / name).mkdir(parents=True)
            Image.new("RGB", (32, 32), (k, k, k)).save(root / split / name / "0.png")


def test_digits_come_by_name_even_beside_a_folder_called_digits(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_tree(tmp_path / "digits")
    assert len(load("digits").train) == 1437
    assert load("./digits").class_names == ("no", "yes")


def test_a_folder_is_read_with_progress_and_cached(load, tmp_path):
    save_tree(tmp_path / "answers")
    steps: list[tuple[int, int]] = []

    def note(done, total):
        steps.append((done, total))

    answers = load(str(tmp_path / "answers"), on_progress=note)
    assert (answers.name, steps) == ("answers", [(4, 4)])
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_file_of_arrays_is_read(load, tmp_path):
    save_npz(tmp_path / "arrays.npz")
    assert load(str(tmp_path / "arrays.npz")).name == "arrays"


def test_a_tilde_stands_for_home(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_npz(tmp_path / "arrays.npz")
    assert load("~/arrays.npz").name == "arrays"


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_looked_for_in_the_data_root(load, tmp_path, name):
    with pytest.raises(LossvizError) as caught:
        load(name)
    assert name in str(caught.value)
    assert str(tmp_path / "data") in str(caught.value)


def test_a_subset_is_balanced_and_leaves_test_and_statistics_alone(load):
    whole = load("digits")
    fewer = load("digits", train_examples=500)
    np.testing.assert_array_equal(np.bincount(fewer.train.labels), [50] * 10)
    assert fewer.test.images.shape == whole.test.images.shape
    assert fewer.channel_mean == whole.channel_mean
    assert fewer.channel_std == whole.channel_std
    assert fewer.fingerprint != whole.fingerprint
    assert fewer.flip_is_label_preserving == whole.flip_is_label_preserving


def test_a_subset_keeps_every_image_with_its_label(load):
    whole = load("digits").train
    fewer = load("digits", train_examples=100, seed=5).train
    labels_of: dict[bytes, set[int]] = {}
    for image, label in zip(whole.images, whole.labels, strict=True):
        labels_of.setdefault(image.tobytes(), set()).add(int(label))
    for image, label in zip(fewer.images, fewer.labels, strict=True):
        assert int(label) in labels_of[image.tobytes()]


def test_the_seed_decides_the_subset(load):
    first, again, other = (
        load("digits", train_examples=100, seed=seed).fingerprint for seed in (1, 1, 2)
    )
    assert first == again != other


def test_too_large_a_subset_is_refused_with_the_name_of_the_class(load):
    with pytest.raises(LossvizError, match=r"class '8' has only 139; ask for \d+ at most"):
        load("digits", train_examples=1437)


@pytest.mark.parametrize("source", ["mnist", "photos.zip", "no/such.npz"])
def test_an_unknown_source_is_refused_with_the_known_ones(load, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.zip").write_bytes(b"")
    with pytest.raises(LossvizError) as caught:
        load(source)
    for word in ("digits", "cifar10", "cifar100", "train/CLASS/*", ".npz", repr(source)):
        assert word in str(caught.value)
