"""Chunks decoded directly: what Zarr reads, or one sentence; never what a stranger declares."""

import contextlib
import json
import math
import os
import signal
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, Crc32cCodec

from lossviz_analysis.store import chunks as chunks_module
from lossviz_analysis.store.chunks import MissingChunkError, open_array
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.zarr_arrays import CHUNK_KEYS, create_array, new_group

FLOATS = ("<f2", "<f4", "<f8")
SIGNED = ("|i1", "<i2", "<i4", "<i8")
UNSIGNED = ("|u1", "<u2", "<u4", "<u8")
DTYPES = (*FLOATS, *SIGNED, *UNSIGNED)
SHAPES = [
    ((1,), (1,)),
    ((6,), (3,)),
    ((7,), (3,)),
    ((3,), (10,)),
    ((0,), (1,)),
    ((0, 3), (2, 3)),
    ((7, 4), (3, 4)),
    ((7, 5), (3, 2)),
    ((1, 9), (1, 4)),
    ((5, 2, 3, 3), (1, 2, 3, 3)),
    ((5, 3, 7), (2, 2, 3)),
]


def fill_of(dtype):
    return math.nan if dtype in FLOATS else 0 if dtype in UNSIGNED else -1


def values_of(shape, dtype):
    generator = np.random.default_rng(3)
    if dtype in FLOATS:
        return generator.normal(size=shape).astype(dtype)
    info = np.iinfo(np.dtype(dtype))
    return generator.integers(info.min, info.max, size=shape, dtype=dtype, endpoint=True)


@contextlib.contextmanager
def soon():
    """What waits for the other end of a pipe waits for ever."""

    def ring(*_):
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(5)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def make(tmp_path):
    """Writes an array with Zarr; gives its opening for reading."""
    group = new_group(tmp_path / "group", {}, durable=False)

    def go(shape, chunks, dtype="<f8", packed=None, values=None):
        array = create_array(
            group,
            "array",
            shape=shape,
            chunks=chunks,
            dtype=dtype,
            fill_value=fill_of(dtype),
            packed=packed,
        )
        if values is not None:
            array[...] = values
        return open_array(
            tmp_path / "group", "array", dtypes=(dtype,), shape=(None,) * len(shape)
        )

    return go


@pytest.fixture
def plain(tmp_path):
    """Reads the array with Zarr."""

    def go():
        array = zarr.open_array(tmp_path / "group" / "array", mode="r")
        return np.asarray(array[...])

    return go


@pytest.mark.parametrize("packed", [None, "counts", "weights"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_codec_reads_as_zarr_reads_it(make, plain, dtype, packed):
    values = values_of((7, 5), dtype)
    stored = make((7, 5), (3, 2), dtype, packed, values)
    found = stored.read(0, 7)
    assert found.dtype == plain().dtype == np.dtype(dtype)
    assert found.tobytes() == plain().tobytes() == values.tobytes()
    assert stored.is_packed == (packed is not None)


@pytest.mark.parametrize("packed", [None, "weights"])
@pytest.mark.parametrize(("shape", "chunks"), SHAPES)
def test_every_window_of_rows_reads_as_zarr_reads_it(make, plain, shape, chunks, packed):
    stored = make(shape, chunks, "<f4", packed, values_of(shape, "<f4"))
    expected = plain()
    assert stored.num_bytes == expected.nbytes
    assert stored.num_chunks == len(list(stored.path.glob("c.*")))
    for start in range(shape[0] + 1):
        for stop in range(start, shape[0] + 1):
            found = stored.read(start, stop)
            assert found.shape == (stop - start, *shape[1:])
            assert found.tobytes() == expected[start:stop].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_absent_chunks_read_as_zarr_reads_them_unless_all_have_to_be_there(make, plain, dtype):
    values = np.ones((7, 5), dtype)
    stored = make((7, 5), (3, 2), dtype, None, values)
    for name in ("c.0.1", "c.2.2", "c.1.0"):
        (stored.path / name).unlink()
    assert stored.read(0, 7).tobytes() == plain().tobytes()
    assert stored.chunk((0, 1)) is None
    with pytest.raises(MissingChunkError, match=r"\(0, 1\)"):
        stored.read(0, 7, is_whole=True)
    for name in ("c.0.1", "c.1.0"):
        (stored.path / name).write_bytes((stored.path / "c.0.0").read_bytes())
    assert stored.read(0, 6, is_whole=True).shape == (6, 5)


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_any_array_comes_back_to_the_bit(tmp_path_factory, data):
    rank = data.draw(st.integers(1, 3))
    shape = tuple(data.draw(st.integers(0 if k == 0 else 1, 9)) for k in range(rank))
    chunks = tuple(data.draw(st.integers(1, 6)) for _ in range(rank))
    dtype = data.draw(st.sampled_from(DTYPES))
    count = math.prod(shape) * np.dtype(dtype).itemsize
    values = np.frombuffer(data.draw(st.binary(min_size=count, max_size=count)), dtype)
    values = values.reshape(shape)
    folder = tmp_path_factory.mktemp("any")
    packers: list[Any] = [
        {"cname": name, "clevel": level, "shuffle": shuffle}
        for name in ("zstd", "lz4", "lz4hc", "zlib", "blosclz")
        for level, shuffle in ((0, "noshuffle"), (5, "shuffle"), (9, "bitshuffle"))
    ]
    packer: Any = data.draw(st.sampled_from([None, *packers]))
    codecs = [] if packer is None else [BloscCodec(**packer)]
    array = new_group(folder / "group", {}, durable=False).create_array(
        "array",
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        compressors=[*codecs, Crc32cCodec()],
        fill_value=fill_of(dtype),
        chunk_key_encoding=CHUNK_KEYS,
    )
    array[...] = values
    stored = open_array(folder / "group", "array", dtypes=(dtype,), shape=shape)
    start = data.draw(st.integers(0, shape[0]))
    stop = data.draw(st.integers(start, shape[0]))
    found = stored.read(start, stop, is_whole=True)
    assert found.tobytes() == values[start:stop].tobytes()


def seal(body):
    return bytes(body) + google_crc32c.value(bytes(body)).to_bytes(4, "little")


@pytest.fixture
def packed(make):
    """A packed array of one chunk of 8,000 bytes."""
    return make((1_000,), (1_000,), "<f8", "weights", np.arange(1_000.0))


def change(stored, at, value):
    path = stored.path / "c.0"
    body = bytearray(path.read_bytes()[:-4])
    body[at : at + 4] = value.to_bytes(4, "little")
    path.write_bytes(seal(body))


@pytest.mark.parametrize("at", [4, 12])
@pytest.mark.parametrize("value", [0, 1, 7_999, 8_001, 2**20, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_header_that_promises_another_size_is_never_unpacked(packed, monkeypatch, at, value):
    change(packed, at, value)

    def unpack(_):
        pytest.fail("it was unpacked")

    monkeypatch.setattr(numcodecs.blosc, "decompress", unpack)
    with pytest.raises(StoreError, match="does not hold 8000 bytes"):
        packed.read(0, 1_000)


def test_a_bomb_with_an_honest_header_is_never_unpacked(packed, monkeypatch):
    bomb = numcodecs.blosc.compress(bytes(2**27), b"zstd", 9, 1)
    assert len(bomb) < 2**17
    (packed.path / "c.0").write_bytes(seal(bomb))
    sizes = []
    decompress = chunks_module.numcodecs.blosc.decompress

    def unpack(body):
        sizes.append(len(body))
        return decompress(body)

    monkeypatch.setattr(numcodecs.blosc, "decompress", unpack)
    with pytest.raises(StoreError, match="damaged"):
        packed.read(0, 1_000)
    assert sizes == []


@pytest.mark.parametrize("length", [0, 1, 4, 15, 16, 17, 100])
def test_a_packed_chunk_cut_short_and_sealed_again_is_refused(packed, length):
    path = packed.path / "c.0"
    path.write_bytes(seal(path.read_bytes()[:-4][:length]))
    with pytest.raises(StoreError, match="damaged"):
        packed.read(0, 1_000)


@pytest.mark.parametrize("start", [16, 20, 40, 200])
def test_packed_noise_behind_a_good_header_is_refused_or_other_numbers(packed, start):
    path = packed.path / "c.0"
    body = bytearray(path.read_bytes()[:-4])
    body[start:] = np.random.default_rng(start).bytes(len(body) - start)
    path.write_bytes(seal(body))
    with contextlib.suppress(StoreError):
        assert packed.read(0, 1_000).shape == (1_000,)


@pytest.mark.parametrize("length", [0, 3, 4, 7_999, 8_000, 8_001, 16_000])
def test_a_plain_chunk_of_another_length_is_refused(make, length):
    stored = make((1_000,), (1_000,), "<f8", None, np.arange(1_000.0))
    path = stored.path / "c.0"
    path.write_bytes((2 * path.read_bytes())[:length])
    with pytest.raises(StoreError, match="damaged"):
        stored.read(0, 1_000)
    path.write_bytes(seal(bytes(length)) if length != 8_000 else b"")
    with pytest.raises(StoreError, match="damaged"):
        stored.read(0, 1_000)


@pytest.mark.parametrize("position", [0, 100, 7_999, 8_000, 8_003])
def test_a_flipped_bit_anywhere_is_damage(make, position):
    stored = make((1_000,), (1_000,), "<f8", None, np.arange(1_000.0))
    path = stored.path / "c.0"
    content = bytearray(path.read_bytes())
    content[position] ^= 64
    path.write_bytes(content)
    with pytest.raises(StoreError, match="checksum"):
        stored.read(0, 1_000)


@pytest.mark.parametrize("what", ["link", "loop", "dangling", "pipe", "folder", "device"])
def test_a_chunk_that_is_no_regular_file_is_refused_at_once(packed, tmp_path, what):
    path = packed.path / "c.0"
    elsewhere = path.rename(tmp_path / "elsewhere")
    match what:
        case "link":
            path.symlink_to(elsewhere)
        case "loop":
            path.symlink_to(path)
        case "dangling":
            path.symlink_to(tmp_path / "nowhere")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to("/dev/zero")
    with soon(), pytest.raises(StoreError, match="cannot be read"):
        packed.read(0, 1_000)


def test_of_a_huge_file_little_more_than_a_chunk_is_read(packed, monkeypatch):
    with (packed.path / "c.0").open("r+b") as file:
        file.truncate(2**40)
    lengths = []
    read = os.read

    def watched(descriptor, length):
        content = read(descriptor, length)
        lengths.append(len(content))
        return content

    monkeypatch.setattr(os, "read", watched)
    with pytest.raises(StoreError, match="damaged"):
        packed.read(0, 1_000)
    assert 8_000 < sum(lengths) < 8_000 + 5_000


def redeclare(stored, **changes):
    path = stored.path / "zarr.json"
    document = json.loads(path.read_bytes())
    for name, value in changes.items():
        if name == "chunk_shape":
            document["chunk_grid"]["configuration"]["chunk_shape"] = value
        else:
            document[name] = value
    path.write_text(json.dumps(document))


BYTES, BLOSC, CRC = {"name": "bytes"}, {"name": "blosc"}, {"name": "crc32c"}


@pytest.mark.parametrize(
    "changes",
    [
        {"codecs": []},
        {"codecs": [BYTES]},
        {"codecs": [CRC, BYTES]},
        {"codecs": [BYTES, CRC, CRC]},
        {"codecs": [BYTES, BLOSC]},
        {"codecs": [BYTES, BLOSC, BLOSC, CRC]},
        {"codecs": [BYTES, {"name": "gzip"}, CRC]},
        {"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}, CRC]},
        {"codecs": [{"name": "bytes", "configuration": None}, CRC]},
        {"codecs": [{"name": "bytes", "configuration": []}, CRC]},
        {"codecs": {"name": "bytes"}},
        {"codecs": "bytes"},
        {"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}}},
        {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}},
        {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "/../"}}},
        {"chunk_key_encoding": {"name": "default"}},
        {"chunk_key_encoding": None},
        {"zarr_format": 2},
        {"fill_value": 7},
        {"data_type": "float16"},
        {"data_type": "complex64"},
        {"data_type": ["float64"]},
        {"chunk_shape": [0]},
        {"chunk_shape": [-1]},
        {"chunk_shape": [1, 1]},
        {"chunk_shape": [2**30]},
        {"chunk_shape": None},
        {"shape": [-1]},
        {"shape": [1, 1]},
        {"shape": [math.inf]},
        {"shape": [math.nan]},
        {"shape": ["many"]},
        {"shape": None},
    ],
    ids=lambda changes: json.dumps(changes)[:60],
)
def test_metadata_beside_the_schema_are_refused_before_any_chunk_is_read(packed, changes):
    redeclare(packed, **changes)
    with pytest.raises(StoreError):
        open_array(packed.path.parent, "array", dtypes=("<f8",), shape=(None,))


def test_an_array_behind_a_link_is_refused(packed, tmp_path):
    (tmp_path / "link").symlink_to(packed.path.parent)
    with pytest.raises(StoreError, match="symbolic link"):
        open_array(tmp_path / "link", "array", dtypes=("<f8",), shape=(None,))
    (packed.path.parent / "other").symlink_to(packed.path)
    with pytest.raises(StoreError, match="symbolic link"):
        open_array(packed.path.parent, "other", dtypes=("<f8",), shape=(None,))


def test_an_array_in_more_pieces_than_asked_for_is_refused(make, tmp_path):
    make((100,), (7,))
    for most, is_fine in ((15, True), (14, False)):
        with contextlib.nullcontext() if is_fine else pytest.raises(StoreError, match="15"):
            open_array(
                tmp_path / "group", "array", dtypes=("<f8",), shape=(100,), max_chunks=most
            )


@pytest.mark.parametrize("many", [2**40, 2**62])
def test_rows_beyond_all_memory_are_a_store_error(packed, many):
    redeclare(packed, shape=[many])
    stored = open_array(packed.path.parent, "array", dtypes=("<f8",), shape=(None,))
    with pytest.raises(StoreError, match="too large"):
        stored.read(0, many)


def test_declared_rows_cost_nothing_where_all_have_to_be_there(packed):
    redeclare(packed, shape=[2**33])  # 64 GiB
    stored = open_array(packed.path.parent, "array", dtypes=("<f8",), shape=(None,))
    with pytest.raises((MissingChunkError, StoreError)):
        stored.read(0, 2**33, is_whole=True)
    assert np.array_equal(stored.read(0, 1_000, is_whole=True), np.arange(1_000.0))
