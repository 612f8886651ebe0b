"""What is kept back of a disk that others fill."""

import errno
import os
from types import SimpleNamespace

import pytest

from lossviz_analysis.store import space
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.schema import BALLAST_NAME, LAST_BALLAST_NAME
from lossviz_analysis.store.space import (
    BALLAST_BYTES,
    LAST_BYTES,
    RESERVE_BYTES,
    Ballast,
    has_room,
    is_disk_full,
)
from lossviz_analysis.store.writer import RunWriter

GIB = 2**30


@pytest.fixture
def disk(monkeypatch):
    """A disk of a size, with so much free."""

    def go(free, total=1_000 * GIB):
        found = SimpleNamespace(f_bavail=free // 4_096, f_frsize=4_096, f_blocks=total // 4_096)
        monkeypatch.setattr(space.os, "statvfs", lambda _: found)

    return go


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_and_a_used_up_quota_are_full(code):
    assert is_disk_full(OSError(code, "full"))


@pytest.mark.parametrize(
    "error", [None, OSError(errno.EIO, "broken"), ValueError("x"), OSError("without a number")]
)
def test_other_errors_are_not(error):
    assert not is_disk_full(error)


@pytest.mark.parametrize("how", ["__cause__", "__context__"])
def test_what_an_error_came_from_counts_too(how):
    error = StoreError("said otherwise")
    setattr(error, how, OSError(errno.ENOSPC, "full"))
    outer = RuntimeError("and again")
    setattr(outer, how, error)
    assert is_disk_full(error)
    assert is_disk_full(outer)


def test_a_checkpoint_fits_with_a_tenth_more_and_the_reserve(tmp_path, disk):
    size = 2**30
    needed = int(1.1 * size) + RESERVE_BYTES
    disk(needed + 8_192)
    assert has_room(tmp_path, size)
    disk(needed - 8_192)
    assert not has_room(tmp_path, size)


def test_of_a_small_disk_a_twentieth_is_kept_back(tmp_path, disk):
    total = 100 * 2**20
    disk(10 * 2**20, total)
    assert has_room(tmp_path, 2**20)
    disk(5 * 2**20, total)
    assert not has_room(tmp_path, 2**20)


def test_a_file_system_that_does_not_say_is_trusted(tmp_path, monkeypatch):
    def fails(_):
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr(space.os, "statvfs", fails)
    assert has_room(tmp_path, 2**60)


def test_the_ballast_takes_real_room_and_gives_it_back(tmp_path):
    ballast, path = Ballast(tmp_path), tmp_path / BALLAST_NAME
    assert not ballast.drop()
    for _ in range(2):
        ballast.load()
        assert path.stat().st_size == BALLAST_BYTES
        assert 512 * path.stat().st_blocks >= BALLAST_BYTES
    assert ballast.drop()
    assert not path.exists()
    assert not ballast.drop()
    # What is kept for the end goes last.
    last = tmp_path / LAST_BALLAST_NAME
    assert 512 * last.stat().st_blocks >= LAST_BYTES
    assert ballast.drop(to_the_last=True)
    assert list(tmp_path.iterdir()) == []
    assert not ballast.drop(to_the_last=True)


def test_no_ballast_is_loaded_where_there_is_no_room_to_spare(tmp_path, disk):
    disk(RESERVE_BYTES + 2 * BALLAST_BYTES)
    Ballast(tmp_path).load()
    assert list(tmp_path.iterdir()) == []


def test_a_ballast_that_cannot_be_loaded_is_gone_without(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    Ballast(tmp_path).load()
    Ballast(tmp_path / "nowhere").load()
    assert not (tmp_path / "nowhere").exists()


def test_a_link_in_the_place_of_the_ballast_is_not_followed(tmp_path):
    target = tmp_path / "precious"
    target.write_text("mine")
    (tmp_path / BALLAST_NAME).symlink_to(target)
    Ballast(tmp_path).load()
    assert target.read_text() == "mine"
    assert target.stat().st_size == 4


def test_a_writer_holds_ballast_for_as_long_as_it_writes(run):
    with RunWriter(run):
        assert (run / BALLAST_NAME).stat().st_size == BALLAST_BYTES
    assert not list(run.glob(".ballast*"))


def test_what_a_killed_writer_left_of_it_is_taken_over(run):
    (run / BALLAST_NAME).write_bytes(b"x")
    with RunWriter(run):
        assert (run / BALLAST_NAME).stat().st_size == BALLAST_BYTES
    assert not list(run.glob(".ballast*"))
