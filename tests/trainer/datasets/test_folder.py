import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.datasets import folder as folder_module
from lossviz_trainer.datasets.folder import load_folder

GENERATOR = np.random.default_rng(0)


def save_image(path: Path, pixels: np.ndarray | None = None) -> np.ndarray:
    if pixels is None:
        pixels = GENERATOR.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "pets"
    for split, count in (("train", 3), ("test", 2)):
        for name in ("dog", "cat"):
            for k in range(count):
                save_image(root / split / name / f"{k}.png")
    return root


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def decoded_paths(monkeypatch) -> list[Path]:
    """The files that are decoded from now on, noted as it happens."""
    paths: list[Path] = []
    decode = folder_module._decoded_file

    def noted(path):
        paths.append(path)
        return decode(path)

    monkeypatch.setattr(folder_module, "_decoded_file", noted)
    return paths


def refused(root, cache) -> str:
    with pytest.raises(LossvizError) as caught:
        load_folder(root, cache_folder=cache)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_classes_are_the_folders_sorted_and_images_follow_by_name(tree, cache):
    pets = load_folder(tree, cache_folder=cache)
    assert (pets.name, pets.class_names) == ("pets", ("cat", "dog"))
    np.testing.assert_array_equal(pets.train.labels, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(pets.test.labels, [0, 0, 1, 1])
    expected = [
        np.asarray(Image.open(tree / "test" / name / f"{k}.png")).transpose(2, 0, 1)
        for name in ("cat", "dog")
        for k in range(2)
    ]
    np.testing.assert_array_equal(pets.test.images, expected)


def test_jpegs_are_decoded_as_pillow_does(tree, cache):
    path = tree / "train" / "cat" / "a.jpg"
    save_image(path)
    pets = load_folder(tree, cache_folder=cache)
    with Image.open(path) as image:
        np.testing.assert_array_equal(
            pets.train.images[3], np.asarray(image).transpose(2, 0, 1)
        )


def test_grey_palette_and_transparent_images_become_rgb(tree, cache):
    grey = GENERATOR.integers(0, 256, (32, 32), dtype=np.uint8)
    save_image(tree / "train" / "cat" / "3.png", grey)
    with Image.open(tree / "train" / "cat" / "0.png") as image:
        image.quantize(16).save(tree / "train" / "cat" / "4.png")
        image.convert("RGBA").save(tree / "train" / "cat" / "5.png")
    images = load_folder(tree, cache_folder=cache).train.images
    np.testing.assert_array_equal(images[3], np.stack([grey] * 3))
    np.testing.assert_array_equal(images[5], images[0])


def test_a_larger_image_is_averaged_not_sampled(tree, cache):
    checkers = np.indices((64, 64)).sum(axis=0) % 2 * 255
    save_image(tree / "train" / "cat" / "3.png", np.stack([checkers] * 3, -1).astype(np.uint8))
    resized = load_folder(tree, cache_folder=cache).train.images[3]
    assert resized.shape == (3, 32, 32)
    assert np.abs(resized.astype(int) - 127.5).max() < 10


def test_a_smaller_and_oblong_image_fills_the_square(tree, cache):
    save_image(tree / "train" / "cat" / "3.png", np.full((8, 20, 3), 77, dtype=np.uint8))
    assert (load_folder(tree, cache_folder=cache).train.images[3] == 77).all()


def test_hidden_files_and_files_beside_class_folders_are_ignored(tree, cache):
    before = load_folder(tree, cache_folder=cache)
    for path in (".DS_Store", "train/.DS_Store", "train/readme.txt", "test/cat/._0.png"):
        (tree / path).write_text("no image")
    (tree / "train" / ".git").mkdir()
    (tree / "test" / "cat" / ".thumbnails").mkdir()
    after = load_folder(tree, cache_folder=cache)
    assert after.fingerprint == before.fingerprint


def test_progress_reaches_the_total_once_in_steps(tree, cache, monkeypatch):
    monkeypatch.setattr(folder_module, "_CHUNK", 4)
    steps: list[tuple[int, int]] = []
    load_folder(
        tree, cache_folder=cache, on_progress=lambda done, total: steps.append((done, total))
    )
    assert steps == [(4, 10), (8, 10), (10, 10)]


def test_a_second_reading_decodes_nothing(tree, cache, monkeypatch):
    first = load_folder(tree, cache_folder=cache)
    paths = decoded_paths(monkeypatch)
    steps: list[tuple[int, int]] = []
    second = load_folder(
        tree, cache_folder=cache, on_progress=lambda done, total: steps.append((done, total))
    )
    assert second.fingerprint == first.fingerprint
    assert paths == []
    assert steps == []


def test_the_cache_is_one_whole_file(tree, cache):
    load_folder(tree, cache_folder=cache)
    (only,) = cache.iterdir()
    assert only.suffix == ".npz"


def rewrite(tree):
    save_image(tree / "train" / "cat" / "0.png")


def touch(tree):
    os.utime(tree / "train" / "cat" / "0.png", ns=(1, 1))


def add(tree):
    save_image(tree / "test" / "dog" / "9.png")


def remove(tree):
    (tree / "test" / "dog" / "1.png").unlink()


def rename(tree):
    (tree / "test" / "dog" / "1.png").rename(tree / "test" / "dog" / "0a.png")


def rename_class(tree):
    for split in ("train", "test"):
        (tree / split / "dog").rename(tree / split / "fox")


@pytest.mark.parametrize("change", [rewrite, touch, add, remove, rename, rename_class])
def test_a_changed_tree_is_decoded_again_and_the_old_cache_goes(
    tree, cache, monkeypatch, change
):
    load_folder(tree, cache_folder=cache)
    (old,) = cache.iterdir()
    change(tree)
    paths = decoded_paths(monkeypatch)
    load_folder(tree, cache_folder=cache)
    (new,) = cache.iterdir()
    assert len(paths) == sum(path.is_file() for path in tree.rglob("*"))
    assert new != old


def test_two_trees_share_a_cache_folder(tree, cache, tmp_path, monkeypatch):
    other = tmp_path / "copy"
    shutil.copytree(tree, other)
    load_folder(tree, cache_folder=cache)
    load_folder(other, cache_folder=cache)
    paths = decoded_paths(monkeypatch)
    load_folder(tree, cache_folder=cache)
    load_folder(other, cache_folder=cache)
    assert paths == []


def truncate(cache):
    cache.write_bytes(cache.read_bytes()[:1000])


def flip_a_bit(cache):
    content = bytearray(cache.read_bytes())
    content[len(content) // 2] ^= 1
    cache.write_bytes(content)


def empty(cache):
    cache.write_bytes(b"")


def drop_an_image(cache):
    with np.load(cache) as archive:
        train, test = archive["train"], archive["test"]
    np.savez(cache, train=train[1:], test=test)


def drop_a_split(cache):
    np.savez(cache, train=np.zeros(3))


def put_objects_in(cache):
    np.savez(cache, train=np.array([None]), test=np.array([None]))


@pytest.mark.parametrize(
    "damage", [truncate, flip_a_bit, empty, drop_an_image, drop_a_split, put_objects_in]
)
def test_a_damaged_cache_is_rebuilt(tree, cache, caplog, monkeypatch, damage):
    first = load_folder(tree, cache_folder=cache)
    (file,) = cache.iterdir()
    sound = file.read_bytes()
    damage(file)
    paths = decoded_paths(monkeypatch)
    assert load_folder(tree, cache_folder=cache).fingerprint == first.fingerprint
    assert len(paths) == 10
    assert str(file) in caplog.text
    with np.load(file) as rebuilt:
        np.testing.assert_array_equal(rebuilt["train"], first.train.images)
    assert file.stat().st_size == len(sound)


def test_a_cache_that_cannot_be_written_costs_time_only(tree, tmp_path, caplog):
    (tmp_path / "occupied").write_text("")
    pets = load_folder(tree, cache_folder=tmp_path / "occupied")
    assert len(pets.train) == 6
    assert "not kept" in caplog.text


def test_a_disk_that_fills_up_leaves_no_half_written_file(tree, cache, monkeypatch, caplog):
    def fill_up(file, **_arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fill_up)
    assert len(load_folder(tree, cache_folder=cache).train) == 6
    assert list(cache.iterdir()) == []
    assert "No space left" in caplog.text


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_split_is_named(tree, cache, split):
    shutil.rmtree(tree / split)
    message = refused(tree, cache)
    assert f"{tree} has no folder named '{split}'" in message


@pytest.mark.parametrize(("here", "there"), [("train", "test"), ("test", "train")])
def test_a_class_that_only_one_split_has_is_named(tree, cache, here, there):
    save_image(tree / here / "fox" / "0.png")
    message = refused(tree, cache)
    assert f"{tree / here / 'fox'} has no counterpart in {tree / there}" in message


def test_a_class_folder_without_images_is_named(tree, cache):
    for path in (tree / "test" / "cat").iterdir():
        path.unlink()
    message = refused(tree, cache)
    assert "class 'cat' has no test examples" in message
    assert str(tree) in message


def test_a_tree_of_one_class_is_refused(tree, cache):
    for split in ("train", "test"):
        shutil.rmtree(tree / split / "cat")
    assert "at least 2 classes" in refused(tree, cache)


def test_a_folder_among_the_images_is_named(tree, cache):
    (tree / "train" / "cat" / "images").mkdir()
    assert f"{tree / 'train' / 'cat' / 'images'} is a folder" in refused(tree, cache)


def test_a_link_to_nowhere_is_named(tree, cache):
    (tree / "train" / "cat" / "9.png").symlink_to(tree / "nowhere.png")
    assert f"cannot list {tree / 'train' / 'cat' / '9.png'}" in refused(tree, cache)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n garbage"])
def test_an_unreadable_image_is_named(tree, cache, content):
    path = tree / "train" / "dog" / "1.png"
    path.write_bytes(content)
    assert f"cannot read {path} as an image" in refused(tree, cache)
    assert not cache.exists()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".tiff"])
def test_a_truncated_image_is_named(tree, cache, suffix):
    path = tree / "test" / "dog" / f"9{suffix}"
    save_image(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert f"cannot read {path} as an image" in refused(tree, cache)


def test_of_several_unreadable_images_the_first_is_named(tree, cache, monkeypatch):
    monkeypatch.setattr(folder_module, "_CHUNK", 1)
    for name in ("cat", "dog"):
        (tree / "train" / name / "2.png").write_bytes(b"")
    for _ in range(5):
        assert str(tree / "train" / "cat" / "2.png") in refused(tree, cache)


def test_an_image_of_sixteen_bits_is_refused_not_clipped(tree, cache):
    path = tree / "train" / "cat" / "9.png"
    save_image(path, np.full((32, 32), 40_000, dtype=np.uint16))
    message = refused(tree, cache)
    assert "8 bits a channel" in message
    assert str(path) in message
