"""Checkpoints come back to the bit, or not at all."""

import hashlib
import json
import math
from typing import Any

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_analysis.store.checkpoints import (
    Checkpoint,
    checkpoint_folder,
    read_checkpoint,
    read_info,
    verify_checkpoint,
    write_checkpoint,
)
from lossviz_analysis.store.chunks import StoredArray
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.schema import MAX_CHUNK_FLOATS, even_chunk


def noise(*shape, dtype="f4"):
    return np.random.default_rng(3).normal(size=shape, scale=50).astype(dtype)


def rewrite(path, change):
    """As a stranger would: with a digest that fits the index."""
    document = json.loads(path.read_bytes())
    change(document)
    attributes = document.get("attributes", {})
    if isinstance(attributes.get("index"), list) and "index_digest" in attributes:
        canonical = json.dumps(attributes["index"], sort_keys=True, separators=(",", ":"))
        digest = hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()
        attributes["index_digest"] = digest
    path.write_text(json.dumps(document))


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.fixture
def stored(tmp_path):
    content = Checkpoint(
        epoch=4,
        step=2,
        parameters={"a": noise(3, 4), "b": noise(5)},
        buffers={"n": np.array(7, "i8")},
        extra={"lr": 0.1},
        framework="torch 2",
    )
    write_checkpoint(tmp_path, 3, content, record=1, attempt=2)
    return tmp_path


TENSORS = {
    "float32": noise(2, 3),
    "float64": noise(2, 3, dtype="f8") * math.pi,
    "float16": noise(2, 3, dtype="f2"),
    "int64": noise(4, dtype="i8") * 2**50,
    "int32": noise(4, dtype="i4"),
    "int8": noise(4, dtype="i1"),
    "uint8": np.arange(250, 256, dtype="u1"),
    "bool": np.array([[True, False], [False, True]]),
    "0-d": np.array(-3.5, "f4"),
    "0-d integer": np.array(41, "i8"),
    "0-d bool": np.array(True),
    "empty": np.empty((0, 3), "f4"),
    "transposed": noise(3, 4).T,
    "strided": noise(8, 6)[::2, ::-3],
    "broadcast": np.broadcast_to(noise(3), (4, 3)),
    "extreme": np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38], "f4"),
}


@pytest.mark.parametrize("role", ["parameters", "buffers", "optimiser"])
def test_all_kinds_of_tensors_come_back_to_the_bit_and_in_order(tmp_path, role):
    tensors = dict(reversed(TENSORS.items()))
    given_: dict[str, Any] = {"parameters": {}, role: tensors}
    write_checkpoint(tmp_path, 1, Checkpoint(epoch=0, **given_), record=-1, attempt=1)
    found = read_checkpoint(tmp_path, 1)
    back = getattr(found, role)
    assert list(back) == list(tensors)
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype, name
        assert back[name].shape == tensor.shape, name
        assert back[name].tobytes() == np.ascontiguousarray(tensor).tobytes(), name
    others = {"parameters", "buffers", "optimiser"} - {role}
    assert all(not getattr(found, other) for other in others)


@pytest.mark.parametrize("name", sorted(TENSORS))
def test_each_kind_of_tensor_comes_back_alone(tmp_path, name):
    content = Checkpoint(epoch=0, parameters={name: TENSORS[name]})
    write_checkpoint(tmp_path, 1, content, record=-1, attempt=1)
    back = read_checkpoint(tmp_path, 1).parameters[name]
    assert back.tobytes() == np.ascontiguousarray(TENSORS[name]).tobytes()


def test_what_is_known_without_the_arrays(stored):
    info = read_info(stored, 3)
    assert (info.number, info.epoch, info.step, info.record, info.attempt) == (3, 4, 2, 1, 2)
    assert info.num_bytes == 4 * 17 + 8 + len(b'{"lr": 0.1}')
    found = read_checkpoint(stored, 3)
    assert (found.epoch, found.step, found.framework) == (4, 2, "torch 2")
    assert found.extra == {"lr": 0.1}


def test_a_checkpoint_of_nothing(tmp_path):
    write_checkpoint(tmp_path, 1, Checkpoint(epoch=0, parameters={}), record=-1, attempt=1)
    assert read_checkpoint(tmp_path, 1).parameters == {}


def test_several_chunks_join_without_a_seam(tmp_path, monkeypatch):
    monkeypatch.setattr("lossviz_analysis.store.schema.MAX_CHUNK_FLOATS", 7)
    values = noise(40)
    write_checkpoint(
        tmp_path, 1, Checkpoint(epoch=0, parameters={"w": values}), record=-1, attempt=1
    )
    assert len(list((checkpoint_folder(tmp_path, 1) / "params_f32").glob("c.*"))) == 6
    assert np.array_equal(read_checkpoint(tmp_path, 1).parameters["w"], values)


def test_the_digest_depends_on_every_value_and_not_on_when(tmp_path):
    def digest(number, value):
        content = Checkpoint(epoch=number, parameters={"w": np.array([1.0, value], "f4")})
        return write_checkpoint(tmp_path, number, content, record=0, attempt=1).digest

    assert digest(1, 2.0) == digest(2, 2.0) != digest(3, 2.0000002)


@pytest.mark.parametrize("name", ["params_f32/c.0", "buffers_i64/c.0", "blob/c.0"])
def test_a_flipped_bit_in_a_chunk_is_a_store_error(stored, name):
    flip(checkpoint_folder(stored, 3) / name)
    with pytest.raises(StoreError, match="damaged"):
        read_checkpoint(stored, 3)


@pytest.mark.parametrize("name", ["params_f32", "buffers_i64", "blob"])
def test_a_missing_chunk_is_a_store_error_not_fill_values(stored, name):
    (checkpoint_folder(stored, 3) / name / "c.0").unlink()
    with pytest.raises(StoreError, match="damaged"):
        read_checkpoint(stored, 3)


def test_chunks_of_another_checkpoint_do_not_pass_for_this_one(stored):
    other = Checkpoint(
        epoch=4,
        parameters={"a": 2 * noise(3, 4), "b": noise(5)},
        buffers={"n": np.array(7, "i8")},
        extra={"lr": 0.1},
    )
    write_checkpoint(stored, 4, other, record=1, attempt=2)
    swapped = checkpoint_folder(stored, 4) / "params_f32" / "c.0"
    swapped.replace(checkpoint_folder(stored, 3) / "params_f32" / "c.0")
    with pytest.raises(StoreError, match="digest"):
        read_checkpoint(stored, 3)


@pytest.mark.parametrize("number", [1, 4])
def test_an_absent_checkpoint_is_a_store_error(stored, number):
    with pytest.raises(StoreError):
        read_checkpoint(stored, number)
    with pytest.raises(StoreError):
        read_info(stored, number)


def entry(**changes):
    def change(document):
        document["attributes"]["index"][0].update(changes)

    return change


def attribute(name, value):
    def change(document):
        document["attributes"][name] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        entry(array="../../other"),
        entry(array="params_../x"),
        entry(array="blob"),
        entry(array="params_f64"),
        entry(dtype="O"),
        entry(dtype="M8[s]"),
        entry(dtype="f16"),
        entry(shape=[2**34, 2]),
        entry(shape=[2**40]),
        entry(shape=[-1, 4]),
        entry(shape=[1.5]),
        entry(shape=[1] * 33),
        entry(shape="34"),
        entry(offset=-1),
        entry(offset=13),
        entry(offset=True),
        entry(name=None),
        attribute("index", {}),
        attribute("index", ["a"]),
        attribute("index", None),
        attribute("digest", "0" * 32),
        attribute("digest", None),
        attribute("num_bytes", 10),
        attribute("num_bytes", -1),
        attribute("epoch", "four"),
        attribute("number", 0),
    ],
)
def test_a_hostile_index_is_a_store_error(stored, change):
    rewrite(checkpoint_folder(stored, 3) / "zarr.json", change)
    with pytest.raises(StoreError):
        read_checkpoint(stored, 3)


@pytest.mark.parametrize(("num_bytes", "reason"), [(99, "another length"), (2**40, "whole")])
def test_an_absurd_tensor_is_refused_before_it_is_read(stored, monkeypatch, num_bytes, reason):
    folder, many = checkpoint_folder(stored, 3), 2**34

    def declare(document):
        document["shape"] = [many]

    rewrite(folder / "zarr.json", entry(shape=[many], offset=0))
    rewrite(folder / "zarr.json", attribute("num_bytes", num_bytes))
    rewrite(folder / "params_f32" / "zarr.json", declare)
    lengths = []

    def read(_array, start, stop):
        lengths.append(stop - start)

    monkeypatch.setattr(StoredArray, "chunk", read)
    with pytest.raises(StoreError, match=reason):
        read_checkpoint(stored, 3)
    assert sum(lengths) < 20


@pytest.mark.parametrize(
    "blob",
    [b"[1, 2]", b"3", b"", b"{", b"[" * 20_000, b"\xed\xb0\x80"],
    ids=lambda content: ascii(content)[:9],
)
def test_a_blob_that_is_no_json_object_is_a_store_error(tmp_path, blob):
    """With digests, lengths and checksums that fit, as a stranger would make them."""
    content = Checkpoint(epoch=0, parameters={"w": noise(3)})
    write_checkpoint(tmp_path, 1, content, record=0, attempt=1)
    folder = checkpoint_folder(tmp_path, 1)
    (folder / "blob" / "c.0").write_bytes(
        blob + google_crc32c.value(blob).to_bytes(4, "little")
    )

    def declare(document):
        document["shape"] = [len(blob)]
        document["chunk_grid"]["configuration"]["chunk_shape"] = [max(1, len(blob))]

    rewrite(folder / "blob" / "zarr.json", declare)
    digest = hashlib.blake2b(noise(3).tobytes() + blob, digest_size=16).hexdigest()
    rewrite(folder / "zarr.json", attribute("digest", digest))
    rewrite(folder / "zarr.json", attribute("num_bytes", 12 + len(blob)))
    for read in (read_checkpoint, verify_checkpoint):
        with pytest.raises(StoreError, match="damaged"):
            read(tmp_path, 1)


def test_a_sound_checkpoint_is_verified_without_being_held_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("lossviz_analysis.store.schema.MAX_CHUNK_FLOATS", 100)
    values = noise(1_000)
    content = Checkpoint(epoch=0, parameters={"w": values}, buffers={"n": np.array(3, "i8")})
    write_checkpoint(tmp_path, 1, content, record=-1, attempt=1)
    read, rows = StoredArray.read, []

    def watched(array, start, stop, **options):
        rows.append(stop - start)
        return read(array, start, stop, **options)

    monkeypatch.setattr(StoredArray, "read", watched)
    verify_checkpoint(tmp_path, 1)
    assert sorted(rows)[-1] == 100
    assert rows.count(100) == 10


@pytest.mark.parametrize("name", ["params_f32/c.0", "buffers_i64/c.0", "blob/c.0"])
@pytest.mark.parametrize("how", ["flipped", "missing", "empty", "link"])
def test_verifying_finds_what_reading_finds(stored, tmp_path, name, how):
    path = checkpoint_folder(stored, 3) / name
    match how:
        case "flipped":
            flip(path)
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case _:
            path.rename(tmp_path / "elsewhere")
            path.symlink_to(tmp_path / "elsewhere")
    for look in (verify_checkpoint, read_checkpoint):
        with pytest.raises(StoreError):
            look(stored, 3)


def test_verifying_finds_swapped_chunks_of_one_array(tmp_path, monkeypatch):
    monkeypatch.setattr("lossviz_analysis.store.schema.MAX_CHUNK_FLOATS", 100)
    content = Checkpoint(epoch=0, parameters={"w": noise(1_000)})
    write_checkpoint(tmp_path, 1, content, record=-1, attempt=1)
    folder = checkpoint_folder(tmp_path, 1) / "params_f32"
    one, other = ((folder / name).read_bytes() for name in ("c.0", "c.1"))
    (folder / "c.0").write_bytes(other)
    (folder / "c.1").write_bytes(one)
    with pytest.raises(StoreError, match="digest"):
        verify_checkpoint(tmp_path, 1)


def test_an_index_moved_by_one_value_is_found_by_its_digest(stored):
    path = checkpoint_folder(stored, 3) / "zarr.json"
    document = json.loads(path.read_bytes())
    document["attributes"]["index"][0]["offset"] += 1
    path.write_text(json.dumps(document))
    with pytest.raises(StoreError, match="index does not match"):
        read_checkpoint(stored, 3)


def bfloat16_bits(values):
    """The upper half of each float32, rounded to nearest, ties to even."""
    bits = np.asarray(values, "<f4").view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def test_types_numpy_has_none_for_come_back_as_the_bits_they_were(tmp_path):
    values = np.array([1.0, -2.5, 3.1415927, np.inf, 1e-40, 65_504.0], "f4")
    bits = bfloat16_bits(values).reshape(2, 3)
    content = Checkpoint(
        epoch=0,
        parameters={"w": bits, "plain": noise(4)},
        buffers={"b": np.arange(256, dtype="u1"), "counter": np.arange(3, dtype="u2")},
        views={"w": "bfloat16", "b": "float8_e4m3fn"},
    )
    write_checkpoint(tmp_path, 1, content, record=-1, attempt=1)
    found = read_checkpoint(tmp_path, 1)
    assert found.views == {"w": "bfloat16", "b": "float8_e4m3fn"}
    assert found.parameters["w"].dtype == np.uint16
    assert found.parameters["w"].tobytes() == bits.tobytes()
    assert found.buffers["b"].tobytes() == bytes(range(256))
    back = (found.parameters["w"].astype("<u4") << 16).view("<f4").ravel()
    assert back[:2].tolist() == [1.0, -2.5]
    assert abs(back[2] - values[2]) < 2**-7
    verify_checkpoint(tmp_path, 1)


@pytest.mark.parametrize("view", [7, None, ["bfloat16"], "x" * 5_000])
def test_a_view_that_is_no_short_text_is_refused(stored, view):
    rewrite(checkpoint_folder(stored, 3) / "zarr.json", entry(view=view))
    with pytest.raises(StoreError, match="view"):
        read_checkpoint(stored, 3)


@pytest.mark.parametrize("depth", [900, 990, 5_000])
def test_a_deep_index_is_a_store_error(stored, depth):
    path = checkpoint_folder(stored, 3) / "zarr.json"
    rewrite(path, entry(more="@"))
    text = path.read_text().replace('"@"', "[" * depth + "]" * depth)
    path.write_text(text)
    with pytest.raises(StoreError):
        read_checkpoint(stored, 3)


def test_half_a_character_becomes_a_question_mark(stored):
    rewrite(checkpoint_folder(stored, 3) / "zarr.json", attribute("framework", "a\ud800b"))
    assert read_checkpoint(stored, 3).framework == "a?b"
    rewrite(checkpoint_folder(stored, 3) / "zarr.json", attribute("framework", "🐈"))
    assert read_checkpoint(stored, 3).framework == "🐈"


@given(st.integers(0, 2**34))
@settings(deadline=None)
def test_even_chunks_are_as_few_as_fit_and_waste_less_than_one_value_each(length):
    chunk = even_chunk(length)
    assert 1 <= chunk <= MAX_CHUNK_FLOATS
    pieces = -(-length // chunk)
    assert pieces == -(-length // MAX_CHUNK_FLOATS)
    assert pieces * chunk - length < max(1, pieces)
