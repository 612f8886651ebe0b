"""What a power cut would leave: every durable write is fsynced, renamed, and named durably."""

import asyncio
import contextlib
import errno
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.core.buffer import default_buffer_prototype

from lossviz_analysis.store.durable import (
    DurableStore,
    discard,
    fsync_tree,
    give_up,
    make_folder,
    put,
    put_somehow,
    sweep,
)


@pytest.fixture
def events(monkeypatch):
    """What reaches the disk, in order: ("file" | "folder" fsynced, or "rename", its name)."""
    seen = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(descriptor):
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        seen.append((kind, Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def watched_replace(path, target):
        seen.append(("rename", Path(target).name))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    return seen


def kinds(events):
    return [kind for kind, _ in events]


def test_a_durable_put_syncs_the_file_renames_it_and_syncs_the_folder(tmp_path, events):
    put(tmp_path / "x", b"abc", durable=True)
    assert kinds(events) == ["file", "rename", "folder"]
    assert events[0][1].endswith(".partial")
    assert events[1:] == [("rename", "x"), ("folder", tmp_path.name)]
    assert (tmp_path / "x").read_bytes() == b"abc"


def test_a_volatile_put_renames_and_syncs_nothing(tmp_path, events):
    put(tmp_path / "x", b"abc", durable=False)
    assert kinds(events) == ["rename"]


@pytest.mark.parametrize(
    "content", [b"", bytearray(b"abc"), memoryview(bytes(range(6))).cast("B", (2, 3))]
)
def test_any_buffer_is_written_whole(tmp_path, content):
    put(tmp_path / "x", content, durable=False)
    assert (tmp_path / "x").read_bytes() == bytes(content)


def test_a_new_folder_is_made_durable_in_each_of_its_parents(tmp_path, events):
    make_folder(tmp_path / "a" / "b")
    assert events == [("folder", tmp_path.name), ("folder", "a")]
    make_folder(tmp_path / "a" / "b")
    assert len(events) == 2


def test_every_chunk_costs_two_syncs_file_then_folder(tmp_path, events):
    array = zarr.create_array(
        DurableStore(tmp_path / "a"), shape=(6,), chunks=(2,), dtype="<i8", fill_value=-1
    )
    array[0:2] = 1
    events.clear()
    array[0:2] = 2
    assert kinds(events) == ["file", "rename", "folder"]
    events.clear()
    array[:] = 3
    assert sorted(kinds(events)) == 3 * ["file"] + 3 * ["folder"] + 3 * ["rename"]
    assert np.array_equal(zarr.open_array(tmp_path / "a", mode="r")[:], np.full(6, 3))


@pytest.mark.parametrize("fails", ["file", "rename"])
def test_a_full_disk_leaves_the_old_file_and_no_partial(tmp_path, monkeypatch, fails):
    put(tmp_path / "x", b"old", durable=True)

    def no_space(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if fails == "file" else (Path, "replace")), no_space)
    with pytest.raises(OSError, match="No space"):
        put(tmp_path / "x", b"new", durable=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


@pytest.fixture
def no_new_files(monkeypatch):
    """A disk without room for another file."""
    opens = Path.open

    def full(path, *words, **options):
        if path.suffix == ".partial":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opens(path, *words, **options)

    monkeypatch.setattr(Path, "open", full)


@pytest.mark.parametrize("content", [b"newer", b"n", b"new and longer than before"])
@pytest.mark.usefixtures("no_new_files")
def test_without_room_a_small_file_is_written_over(tmp_path, content, events):
    (tmp_path / "x").write_bytes(b"older")
    with pytest.raises(OSError, match="No space"):
        put(tmp_path / "x", content, durable=True)
    put_somehow(tmp_path / "x", content)
    assert (tmp_path / "x").read_bytes() == content
    assert events == [("file", "x")]


def test_with_room_nothing_is_written_over(tmp_path, events):
    (tmp_path / "x").write_bytes(b"older")
    put_somehow(tmp_path / "x", b"new")
    assert kinds(events) == ["file", "rename", "folder"]
    assert (tmp_path / "x").read_bytes() == b"new"


@pytest.mark.usefixtures("no_new_files")
def test_what_does_not_fit_over_the_old_file_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"older")
    monkeypatch.setattr(os, "pwrite", lambda _descriptor, content, _offset: len(content) - 1)
    with pytest.raises(OSError, match="No space"):
        put_somehow(tmp_path / "x", b"newer")


def test_only_a_full_disk_is_a_reason_to_write_over(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"older")

    def broken(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(OSError, match="Input/output"):
        put_somehow(tmp_path / "x", b"newer")
    monkeypatch.undo()
    assert (tmp_path / "x").read_bytes() == b"older"


@pytest.mark.usefixtures("no_new_files")
def test_no_link_is_written_over(tmp_path):
    (tmp_path / "other").write_bytes(b"older")
    (tmp_path / "x").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        put_somehow(tmp_path / "x", b"newer")
    assert (tmp_path / "other").read_bytes() == b"older"


def test_what_is_given_up_is_gone_though_a_thread_still_writes_into_it(tmp_path):
    folder, sweeps = tmp_path / "half", threading.Event()

    def late():
        for _ in range(10):
            with contextlib.suppress(OSError):  # deleted between the two
                folder.mkdir(exist_ok=True)
                (folder / "zarr.json").write_bytes(b"{}")
            if sweeps.wait(0.001):
                return

    late_writer = threading.Thread(target=late)
    late_writer.start()
    give_up(folder)
    sweeps.set()
    late_writer.join()
    assert not folder.exists()


def test_sweep_takes_partials_and_trash_and_nothing_else(tmp_path):
    for name in (
        "kept",
        "a/kept.part",
        "a/partial",
        "c.0.3f.partial",
        "a/zarr.json.3f.partial",
        "a/.trash-c00000001-3f/deep/file",
        ".result-3f.partial/cells/c.0",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    sweep(tmp_path)
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")}
    assert left == {"kept", "a", "a/kept.part", "a/partial"}


def test_a_discarded_folder_is_gone_before_it_is_deleted(tmp_path, monkeypatch):
    (tmp_path / "c1" / "deep").mkdir(parents=True)
    (tmp_path / "c1" / "deep" / "file").write_text("x")
    met = []

    def look(path, **_):
        met.append((path.name.startswith(".trash-c1-"), (tmp_path / "c1").exists()))

    with monkeypatch.context() as patch:
        patch.setattr("lossviz_analysis.store.durable.shutil.rmtree", look)
        discard(tmp_path / "c1")
    assert met == [(True, False)]
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_discarding_what_is_not_there_is_harmless(tmp_path):
    discard(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


def test_fsync_tree_syncs_every_file_and_every_folder_after_what_it_holds(tmp_path, events):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("top", "a/one", "a/b/two"):
        (tmp_path / name).write_text("x")
    fsync_tree(tmp_path)
    assert sorted(events) == sorted(
        [("file", n) for n in ("top", "one", "two")]
        + [("folder", n) for n in ("a", "b", tmp_path.name)]
    )
    names = [name for _, name in events]
    for inner, outer in (("two", "b"), ("b", "a"), ("one", "a"), ("a", tmp_path.name)):
        assert names.index(inner) < names.index(outer)


def test_the_store_sets_once_where_asked_to(tmp_path, events):
    store = DurableStore(tmp_path)
    old, new = (default_buffer_prototype().buffer.from_bytes(b) for b in (b"old", b"new"))
    asyncio.run(store.set_if_not_exists("k", old))
    assert kinds(events) == ["file", "rename", "folder"]
    asyncio.run(store.set_if_not_exists("k", new))
    assert (tmp_path / "k").read_bytes() == b"old"
    asyncio.run(store.set("k", new))
    assert (tmp_path / "k").read_bytes() == b"new"


def test_a_read_only_store_refuses(tmp_path):
    store = DurableStore(tmp_path, read_only=True)
    content = default_buffer_prototype().buffer.from_bytes(b"x")
    with pytest.raises(ValueError, match="read-only"):
        asyncio.run(store.set("k", content))
    assert list(tmp_path.iterdir()) == []
