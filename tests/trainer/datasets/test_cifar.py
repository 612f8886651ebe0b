import hashlib
import pickle
import urllib.error

import numpy as np
import pytest
from torchvision import datasets

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.datasets.cifar import load_cifar

READERS = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}
NAMES = ["apple", "pear", "plum"]


def write(path, value) -> list[str]:
    content = pickle.dumps(value)
    path.write_bytes(content)
    return [path.name, hashlib.md5(content).hexdigest()]


@pytest.fixture(params=["cifar10", "cifar100"])
def tiny(request, tmp_path, monkeypatch):
    """Three classes in the files of CIFAR, with the checksums torchvision will expect."""
    reader = READERS[request.param]
    folder = tmp_path / reader.base_folder
    folder.mkdir()
    key = "labels" if request.param == "cifar10" else "fine_labels"
    generator = np.random.default_rng(0)
    batches = {
        name: {
            "data": generator.integers(0, 256, (len(labels), 3072), dtype=np.uint8),
            key: labels,
        }
        for name, labels in (("one", [0, 1]), ("two", [2, 0]), ("test", [2, 1, 0]))
    }
    listed = {name: write(folder / name, batch) for name, batch in batches.items()}
    meta = write(folder / "names", {reader.meta["key"]: NAMES})
    monkeypatch.setattr(reader, "train_list", [listed["one"], listed["two"]])
    monkeypatch.setattr(reader, "test_list", [listed["test"]])
    monkeypatch.setattr(reader, "meta", {**reader.meta, "filename": meta[0], "md5": meta[1]})
    return request.param, tmp_path, batches


def test_planes_labels_and_names_are_those_of_the_files(tiny):
    name, root, batches = tiny
    cifar = load_cifar(name, data_root=root, download=False)
    assert (cifar.name, cifar.class_names) == (name, tuple(NAMES))
    assert cifar.flip_is_label_preserving
    np.testing.assert_array_equal(cifar.train.labels, [0, 1, 2, 0])
    np.testing.assert_array_equal(cifar.test.labels, [2, 1, 0])
    rows = np.concatenate([batches["one"]["data"], batches["two"]["data"]])
    np.testing.assert_array_equal(cifar.train.images, rows.reshape(-1, 3, 32, 32))
    assert cifar.train.images.flags.c_contiguous


def test_data_that_is_there_is_not_fetched(tiny, monkeypatch):
    name, root, _ = tiny

    def fetch(*_arguments, **_options):
        raise AssertionError("fetched")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fetch)
    assert len(load_cifar(name, data_root=root, download=True).train) == 4


def test_a_damaged_file_is_refused(tiny):
    name, root, _ = tiny
    with (root / READERS[name].base_folder / "two").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(LossvizError, match="missing or damaged"):
        load_cifar(name, data_root=root, download=False)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_missing_data_is_refused_with_where_it_was_looked_for(name, tmp_path):
    with pytest.raises(LossvizError) as caught:
        load_cifar(name, data_root=tmp_path, download=False)
    message = str(caught.value)
    assert str(tmp_path / READERS[name].base_folder) in message
    assert READERS[name].filename in message
    assert "fetching" not in message
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_reason_is_told(tmp_path, monkeypatch):
    def unreachable(*_arguments, **_options):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", unreachable)
    with pytest.raises(LossvizError) as caught:
        load_cifar("cifar10", data_root=tmp_path, download=True)
    assert "fetching it failed" in str(caught.value)
    assert "Name or service not known" in str(caught.value)
    assert "\n" not in str(caught.value)
