"""Heads: 16 integers and their checksum, replaced as one small file and polled by readers.

The file is the single chunk of a Zarr array `<i8 (16,)` with the crc32c codec, so plain Zarr
reads it too; 132 bytes read directly cost a reader 7 µs instead of 400.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import google_crc32c
import numpy as np

from lossviz_analysis.store.durable import put, put_somehow
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.files import read_regular
from lossviz_analysis.store.schema import (
    HEAD_MAGIC,
    HEAD_SLOTS,
    RECORD_CAPACITY,
    SCAN_MAGIC,
    HeadSlot,
    RunState,
    ScanSlot,
    ScanState,
)

_TRIES = 4
_PAUSE_SECONDS = 0.05


class TornHeadError(StoreError):
    """A head file stayed unreadable: short, with a wrong checksum, or of an unknown layout."""


@dataclass(frozen=True, kw_only=True)
class RunHead:
    """What is committed in a run; see HeadSlot."""

    sequence: int = 0
    num_records: int = 0
    attempt: int = 0
    latest_checkpoint: int = 0
    """0 means none; checkpoints are numbered from 1."""
    best_checkpoint: int = 0
    state: RunState = RunState.CREATED
    nonce: int = 0
    """Random, fixed for the life of a run: another value means another run took this path."""
    latest_checkpoint_record: int = -1

    def slots(self) -> np.ndarray:
        """The 16 integers on disk."""
        found = np.zeros(HEAD_SLOTS, "<i8")
        found[HeadSlot.MAGIC] = HEAD_MAGIC
        found[HeadSlot.SEQUENCE] = self.sequence
        found[HeadSlot.NUM_RECORDS] = self.num_records
        found[HeadSlot.ATTEMPT] = self.attempt
        found[HeadSlot.LATEST_CHECKPOINT] = self.latest_checkpoint
        found[HeadSlot.BEST_CHECKPOINT] = self.best_checkpoint
        found[HeadSlot.STATE] = self.state
        found[HeadSlot.NONCE] = self.nonce
        found[HeadSlot.LATEST_CHECKPOINT_RECORD] = self.latest_checkpoint_record
        return found

    @classmethod
    def from_slots(cls, slots: np.ndarray) -> "RunHead":
        """Read the 16 integers.

        Raises:
            TornHeadError: They are not those of a run this program can read.
        """
        try:
            state = RunState(int(slots[HeadSlot.STATE]))
        except ValueError:
            raise TornHeadError("the head names an unknown state") from None
        num_records = int(slots[HeadSlot.NUM_RECORDS])
        if slots[HeadSlot.MAGIC] != HEAD_MAGIC or not 0 <= num_records <= RECORD_CAPACITY:
            raise TornHeadError("the head is not that of a run of schema version 1")
        return cls(
            sequence=int(slots[HeadSlot.SEQUENCE]),
            num_records=num_records,
            attempt=int(slots[HeadSlot.ATTEMPT]),
            latest_checkpoint=int(slots[HeadSlot.LATEST_CHECKPOINT]),
            best_checkpoint=int(slots[HeadSlot.BEST_CHECKPOINT]),
            state=state,
            nonce=int(slots[HeadSlot.NONCE]),
            latest_checkpoint_record=int(slots[HeadSlot.LATEST_CHECKPOINT_RECORD]),
        )

    def next(self, **changes: int) -> "RunHead":
        """The head after one more commit."""
        return replace(self, sequence=self.sequence + 1, **changes)


@dataclass(frozen=True, kw_only=True)
class ScanHead:
    """How far a scan is; see ScanSlot."""

    sequence: int = 0
    state: ScanState = ScanState.QUEUED
    done: int = 0
    """Items committed: one item is one chunk of the examples of one split at one point."""
    total: int = 0
    elapsed_ms: int = 0
    """Time spent computing, over all workers that had a share in it."""

    def slots(self) -> np.ndarray:
        """The 16 integers on disk."""
        found = np.zeros(HEAD_SLOTS, "<i8")
        found[ScanSlot.MAGIC] = SCAN_MAGIC
        found[ScanSlot.SEQUENCE] = self.sequence
        found[ScanSlot.STATE] = self.state
        found[ScanSlot.DONE] = self.done
        found[ScanSlot.TOTAL] = self.total
        found[ScanSlot.ELAPSED_MS] = self.elapsed_ms
        return found

    @classmethod
    def from_slots(cls, slots: np.ndarray) -> "ScanHead":
        """Read the 16 integers.

        Raises:
            TornHeadError: They are not those of a scan this program can read.
        """
        try:
            state = ScanState(int(slots[ScanSlot.STATE]))
        except ValueError:
            raise TornHeadError("the head names an unknown state") from None
        if slots[ScanSlot.MAGIC] != SCAN_MAGIC:
            raise TornHeadError("the head is not that of a scan of schema version 1")
        return cls(
            sequence=int(slots[ScanSlot.SEQUENCE]),
            state=state,
            done=int(slots[ScanSlot.DONE]),
            total=int(slots[ScanSlot.TOTAL]),
            elapsed_ms=int(slots[ScanSlot.ELAPSED_MS]),
        )


def _block(values: np.ndarray) -> bytes:
    content = np.ascontiguousarray(values).tobytes()
    return content + google_crc32c.value(content).to_bytes(4, "little")


def write_block(path: Path, values: np.ndarray, *, durable: bool) -> None:
    """Replace the only chunk of a small uncompressed array with the crc32c codec."""
    put(path, _block(values), durable=durable)


def read_block(path: Path, dtype: str, length: int) -> np.ndarray:
    """The only chunk of a small uncompressed array with the crc32c codec.

    Raises:
        TornHeadError: It is short, or its checksum is wrong, or it is absent.
    """
    num_bytes = np.dtype(dtype).itemsize * length
    try:
        content = read_regular(path, num_bytes + 5)
    except OSError as error:
        raise TornHeadError(f"{path} cannot be read: {error.strerror}") from None
    body, checksum = content[:num_bytes], content[num_bytes:]
    if len(checksum) != 4 or google_crc32c.value(body) != int.from_bytes(checksum, "little"):
        raise TornHeadError(f"{path} is damaged: its checksum does not match")
    return np.frombuffer(body, dtype)


def write_head(folder: Path, head: RunHead | ScanHead, *, durable: bool = True) -> None:
    """Publish a head: from here on what it names is committed."""
    write_block(folder / "head" / "c.0", head.slots(), durable=durable)


def write_state(folder: Path, head: RunHead) -> None:
    """Publish a head that names nothing new but a state, also on a full disk."""
    put_somehow(folder / "head" / "c.0", _block(head.slots()))


def _read_slots(folder: Path) -> np.ndarray:
    path = folder / "head" / "c.0"
    for attempt in range(_TRIES):
        try:
            return read_block(path, "<i8", HEAD_SLOTS)
        except TornHeadError:
            if attempt == _TRIES - 1:
                raise
            time.sleep(_PAUSE_SECONDS)
    raise AssertionError("unreachable")


def read_run_head(folder: Path) -> RunHead:
    """The head in a `records` folder; a torn read is tried four times over 150 ms."""
    return RunHead.from_slots(_read_slots(folder))


def read_scan_head(folder: Path) -> ScanHead:
    """The head in a scan's folder; a torn read is tried four times over 150 ms."""
    return ScanHead.from_slots(_read_slots(folder))
