"""Checkpoints come back to the bit, or not at all."""

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_analysis.store import checkpoints as checkpoints_module
from lossviz_analysis.store.checkpoints import (
    Checkpoint,
    checkpoint_folder,
    read_checkpoint,
    read_info,
    write_checkpoint,
)
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.schema import MAX_CHUNK_FLOATS, even_chunk


def noise(*shape, dtype="f4"):
    return np.random.default_rng(3).normal(size=shape, scale=50).astype(dtype)


def rewrite(path, change):
    document = json.loads(path.read_bytes())
    change(document)
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

    monkeypatch.setattr(checkpoints_module, "read_slice", read)
    with pytest.raises(StoreError, match=reason):
        read_checkpoint(stored, 3)
    assert sum(lengths) < 20


@pytest.mark.parametrize(
    "blob", ["[1, 2]", "3", "", "{", "[" * 20_000, "\udc00"], ids=lambda text: ascii(text)[:9]
)
def test_a_blob_that_is_no_json_object_is_a_store_error(tmp_path, monkeypatch, blob):
    """With a digest that fits, as a stranger would make it."""

    def encode():
        return blob.encode(errors="surrogatepass")

    def dumps(_content):
        return SimpleNamespace(encode=encode)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints_module, "json", SimpleNamespace(dumps=dumps))
        write_checkpoint(tmp_path, 1, Checkpoint(epoch=0, parameters={}), record=0, attempt=1)
    with pytest.raises(StoreError):
        read_checkpoint(tmp_path, 1)


@given(st.integers(0, 2**34))
@settings(deadline=None)
def test_even_chunks_are_as_few_as_fit_and_waste_less_than_one_value_each(length):
    chunk = even_chunk(length)
    assert 1 <= chunk <= MAX_CHUNK_FLOATS
    pieces = -(-length // chunk)
    assert pieces == -(-length // MAX_CHUNK_FLOATS)
    assert pieces * chunk - length < max(1, pieces)
