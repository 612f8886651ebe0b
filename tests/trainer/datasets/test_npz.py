from typing import Any

import numpy as np
import pytest

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.datasets.npz import load_npz

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 1])


def arrays(**changes) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "x_train": PIXELS,
        "y_train": LABELS,
        "x_test": PIXELS[:3],
        "y_test": LABELS[:3],
    }
    return parts | changes


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fruit.npz"


def refused(path) -> str:
    with pytest.raises(LossvizError) as caught:
        load_npz(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_file_is_read_as_it_is(path):
    np.savez(path, **arrays(class_names=np.array(["apple", "pear", "plum"])))
    fruit = load_npz(path)
    assert (fruit.name, fruit.class_names) == ("fruit", ("apple", "pear", "plum"))
    np.testing.assert_array_equal(fruit.train.images, PIXELS)
    np.testing.assert_array_equal(fruit.train.labels, LABELS)
    np.testing.assert_array_equal(fruit.test.images, PIXELS[:3])


def test_without_class_names_classes_are_called_by_their_numbers(path):
    np.savez(path, **arrays())
    assert load_npz(path).class_names == ("0", "1", "2")


def test_compressed_files_are_read(path):
    np.savez_compressed(path, **arrays())
    np.testing.assert_array_equal(load_npz(path).train.images, PIXELS)


def test_channels_may_come_last(path):
    last = PIXELS.transpose(0, 2, 3, 1)
    np.savez(path, **arrays(x_train=last, x_test=last[:3]))
    fruit = load_npz(path)
    np.testing.assert_array_equal(fruit.train.images, PIXELS)
    assert fruit.train.images.flags.c_contiguous


def test_grey_images_get_three_equal_channels(path):
    np.savez(path, **arrays(x_train=PIXELS[:, 0], x_test=PIXELS[:3, 0]))
    images = load_npz(path).train.images
    for channel in range(3):
        np.testing.assert_array_equal(images[:, channel], PIXELS[:, 0])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_point_images_are_scaled_back_exactly(path, dtype):
    scaled = (PIXELS / 255).astype(dtype)
    np.savez(path, **arrays(x_train=scaled, x_test=scaled[:3]))
    np.testing.assert_array_equal(load_npz(path).train.images, PIXELS)


def test_floating_point_images_are_rounded_to_the_nearest_level(path):
    levels = PIXELS.clip(1, 254)
    np.savez(path, **arrays(x_train=(levels - 0.4) / 255, x_test=(levels[:3] + 0.4) / 255))
    fruit = load_npz(path)
    np.testing.assert_array_equal(fruit.train.images, levels)
    np.testing.assert_array_equal(fruit.test.images, levels[:3])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_labels_may_be_integers_of_any_width(path, dtype):
    np.savez(path, **arrays(y_train=LABELS.astype(dtype)))
    labels = load_npz(path).train.labels
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, LABELS)


def test_a_missing_file_is_refused(path):
    assert "No such file" in refused(path)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 no more"])
def test_a_file_that_is_no_archive_is_refused(path, content):
    path.write_bytes(content)
    assert "cannot read" in refused(path)


def test_a_truncated_archive_is_refused(path):
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes()[:-200])
    assert "cannot read" in refused(path)


def test_an_altered_archive_is_refused(path):
    np.savez(path, **arrays())
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    assert "cannot read x_train" in refused(path)


def test_a_pickle_in_place_of_an_archive_is_refused(path, tmp_path):
    witness = tmp_path / "witness"
    path.write_bytes(f"cposix\nmkdir\n(S'{witness}'\ntR.".encode())
    assert "cannot read" in refused(path)
    assert not witness.exists()


def test_an_array_of_objects_is_refused_unopened(path):
    np.savez(path, **arrays(y_train=np.array([0, 1, "two", None], dtype=object)))
    message = refused(path)
    assert "cannot read y_train" in message
    assert "never opened" in message


def test_a_single_array_is_refused(path):
    with path.open("wb") as file:
        np.save(file, PIXELS)
    assert "single array" in refused(path)


def test_missing_arrays_are_named(path):
    np.savez(path, x_train=PIXELS, labels=LABELS)
    message = refused(path)
    assert "lacks y_train, x_test, y_test" in message
    assert "holds x_train, labels" in message


@pytest.mark.parametrize("shape", [(4, 28, 28), (4, 1, 32, 32), (4, 3072), (32, 32, 3), ()])
def test_images_of_another_shape_are_refused_with_the_accepted_ones(path, shape):
    np.savez(path, **arrays(x_train=np.zeros(shape, dtype=np.uint8)))
    message = refused(path)
    assert f"got {list(shape)}" in message
    assert "[n, 3, 32, 32], [n, 32, 32, 3]" in message
    assert "[n, 32, 32]" in message


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.complex64])
def test_images_of_another_dtype_are_refused(path, dtype):
    np.savez(path, **arrays(x_test=PIXELS[:3].astype(dtype)))
    assert "x_test" in refused(path)


@pytest.mark.parametrize("value", [-0.1, 1.5, 255.0, np.nan, np.inf])
def test_floating_point_images_outside_the_unit_interval_are_refused(path, value):
    scaled = PIXELS / 255
    scaled[1, 2, 3, 4] = value
    np.savez(path, **arrays(x_train=scaled))
    assert "must lie in [0, 1]" in refused(path)


@pytest.mark.parametrize("labels", [LABELS / 1.0, LABELS[:, None], LABELS == 1])
def test_labels_that_are_not_one_integer_an_image_are_refused(path, labels):
    np.savez(path, **arrays(y_train=labels))
    assert "y_train" in refused(path)


@pytest.mark.parametrize("names", [np.arange(3), np.array("apple"), np.array([b"a", b"b"])])
def test_class_names_that_are_not_a_list_of_strings_are_refused(path, names):
    np.savez(path, **arrays(class_names=names))
    assert "class_names" in refused(path)


def test_too_few_class_names_are_refused(path):
    np.savez(path, **arrays(class_names=np.array(["apple", "pear"])))
    assert "labels must lie in 0 to 1" in refused(path)


def test_a_class_that_only_the_test_split_has_is_refused(path):
    np.savez(path, **arrays(y_test=np.array([0, 1, 3])))
    assert "class '3' has no training examples" in refused(path)


def test_empty_splits_are_refused(path):
    empty = np.zeros((0, 32, 32), dtype=np.float32)
    np.savez(path, **arrays(x_test=empty, y_test=np.array([], dtype=np.int64)))
    assert "class '0' has no test examples" in refused(path)
