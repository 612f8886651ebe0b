"""Heads: 128 bytes and a checksum that either say the truth or are refused."""

from dataclasses import fields as fields_of
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_analysis.store.head import (
    RunHead,
    ScanHead,
    TornHeadError,
    read_block,
    read_run_head,
    read_scan_head,
    write_block,
    write_head,
)
from lossviz_analysis.store.schema import (
    HEAD_MAGIC,
    HEAD_SLOTS,
    RECORD_CAPACITY,
    HeadSlot,
    RunState,
    ScanSlot,
    ScanState,
)
from lossviz_analysis.store.zarr_arrays import create_head

big = st.integers(0, 2**62)
run_heads = st.builds(
    RunHead,
    sequence=big,
    num_records=st.integers(0, RECORD_CAPACITY),
    attempt=big,
    latest_checkpoint=big,
    best_checkpoint=big,
    state=st.sampled_from(RunState),
    nonce=big,
    latest_checkpoint_record=st.integers(-1, 2**62),
)
scan_heads = st.builds(
    ScanHead,
    sequence=big,
    state=st.sampled_from(ScanState),
    done=big,
    total=big,
    elapsed_ms=big,
)


def slow_crc32c(content):
    """Castagnoli's polynomial, bit by bit (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.fixture
def pauses(monkeypatch):
    """Lets retries happen without waiting, and tells how many there were."""
    taken = []
    monkeypatch.setattr("lossviz_analysis.store.head.time.sleep", taken.append)
    return taken


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "head").mkdir()
    write_head(tmp_path, RunHead(sequence=4, num_records=2, nonce=77))
    return tmp_path


@given(run_heads)
@settings(deadline=None)
def test_a_run_head_survives_its_integers(head):
    assert RunHead.from_slots(head.slots()) == head


@given(scan_heads)
@settings(deadline=None)
def test_a_scan_head_survives_its_integers(head):
    assert ScanHead.from_slots(head.slots()) == head


def test_every_field_of_a_head_has_a_slot_of_its_own():
    for head, magic in ((RunHead, HeadSlot.MAGIC), (ScanHead, ScanSlot.MAGIC)):
        names = [field.name for field in fields_of(head)]
        values: dict[str, Any] = {n: 40 + k for k, n in enumerate(names) if n != "state"}
        slots = head(**values).slots()
        assert sorted(set(slots.tolist()) - {0, slots[magic]}) == sorted(values.values())


def test_the_head_file_is_128_bytes_and_their_crc32c(folder):
    content = (folder / "head" / "c.0").read_bytes()
    assert len(content) == 132
    assert int.from_bytes(content[128:], "little") == slow_crc32c(content[:128])
    assert np.frombuffer(content[:128], "<i8")[HeadSlot.MAGIC] == HEAD_MAGIC


def test_plain_zarr_reads_the_same_head_before_and_after_it_is_replaced(tmp_path):
    group = zarr.create_group(tmp_path / "g", zarr_format=3)
    first = RunHead(nonce=5)
    create_head(group, first)
    assert np.array_equal(zarr.open_array(tmp_path / "g" / "head", mode="r")[:], first.slots())
    assert read_run_head(tmp_path / "g") == first
    second = first.next(num_records=1, state=RunState.RUNNING)
    write_head(tmp_path / "g", second)
    assert np.array_equal(zarr.open_array(tmp_path / "g" / "head", mode="r")[:], second.slots())


def test_the_next_head_has_the_next_sequence_and_keeps_the_rest():
    head = RunHead(sequence=9, attempt=2, nonce=3).next(num_records=4)
    assert head == RunHead(sequence=10, attempt=2, nonce=3, num_records=4)


@pytest.mark.parametrize("position", [0, 17, 127, 128, 131])
def test_a_flipped_byte_anywhere_is_torn(folder, pauses, position):
    path = folder / "head" / "c.0"
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(TornHeadError, match="checksum"):
        read_run_head(folder)
    assert len(pauses) == 3


@pytest.mark.parametrize("length", [0, 100, 128, 131, 133, 200])
def test_a_file_of_another_length_is_torn(folder, pauses, length):
    path = folder / "head" / "c.0"
    path.write_bytes((path.read_bytes() * 2)[:length])
    with pytest.raises(TornHeadError):
        read_run_head(folder)
    assert len(pauses) == 3


def test_an_absent_head_is_torn(tmp_path, pauses):
    with pytest.raises(TornHeadError, match="cannot be read"):
        read_run_head(tmp_path)
    assert len(pauses) == 3


@pytest.mark.parametrize("good_from", [1, 2, 3])
def test_a_torn_head_that_heals_is_read(folder, monkeypatch, good_from):
    path = folder / "head" / "c.0"
    good = path.read_bytes()
    path.write_bytes(good[:50])
    pauses = []

    def heal(seconds):
        pauses.append(seconds)
        if len(pauses) == good_from:
            path.write_bytes(good)

    monkeypatch.setattr("lossviz_analysis.store.head.time.sleep", heal)
    assert read_run_head(folder).nonce == 77
    assert len(pauses) == good_from


def change(folder, slot, value):
    slots = np.array(read_block(folder / "head" / "c.0", "<i8", HEAD_SLOTS))
    slots[slot] = value
    write_block(folder / "head" / "c.0", slots, durable=False)


@pytest.mark.parametrize(
    ("slot", "value"),
    [
        (HeadSlot.STATE, 99),
        (HeadSlot.STATE, -1),
        (HeadSlot.MAGIC, 0),
        (HeadSlot.MAGIC, HEAD_MAGIC + 1),
        (HeadSlot.NUM_RECORDS, -1),
        (HeadSlot.NUM_RECORDS, RECORD_CAPACITY + 1),
    ],
)
def test_an_intact_head_that_says_the_impossible_is_refused(folder, slot, value):
    change(folder, slot, value)
    with pytest.raises(TornHeadError):
        read_run_head(folder)


def test_a_full_run_is_not_refused(folder):
    change(folder, HeadSlot.NUM_RECORDS, RECORD_CAPACITY)
    assert read_run_head(folder).num_records == RECORD_CAPACITY


def test_a_run_is_no_scan_and_a_scan_is_no_run(tmp_path):
    for name in ("run", "scan"):
        (tmp_path / name / "head").mkdir(parents=True)
    write_head(tmp_path / "run", RunHead())
    write_head(tmp_path / "scan", ScanHead())
    with pytest.raises(TornHeadError):
        read_scan_head(tmp_path / "run")
    with pytest.raises(TornHeadError):
        read_run_head(tmp_path / "scan")


def test_a_scan_in_an_unknown_state_is_refused(tmp_path):
    (tmp_path / "head").mkdir()
    write_head(tmp_path, ScanHead())
    change(tmp_path, ScanSlot.STATE, 17)
    with pytest.raises(TornHeadError, match="unknown state"):
        read_scan_head(tmp_path)


def test_a_head_whose_folder_is_gone_is_not_written(tmp_path):
    """Or a run that was deleted while it was written would rise again as a head alone."""
    with pytest.raises(FileNotFoundError):
        write_head(tmp_path / "gone", RunHead())
    assert list(tmp_path.iterdir()) == []
