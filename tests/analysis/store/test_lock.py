"""One writer at a time, across processes; the kernel takes a dead one's lock back."""

import json
import os
import signal
import socket

import pytest

from lossviz_analysis.store.lock import (
    LOCK_NAME,
    Holder,
    LockHeldError,
    WriterLock,
    is_held,
    read_holder,
)

HOLD = """
import sys
from pathlib import Path
from lossviz_analysis.store.lock import WriterLock
lock = WriterLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""

TRY = """
import sys
from pathlib import Path
from lossviz_analysis.store.lock import LockHeldError, WriterLock, is_held
folder = Path(sys.argv[1])
print(is_held(folder))
try:
    WriterLock(folder).acquire()
    print("acquired")
except LockHeldError as error:
    print(f"{error.holder.pid} {error}")
"""

FORK = """
import os, sys
from pathlib import Path
from lossviz_analysis.store.lock import WriterLock, is_held
folder = Path(sys.argv[1])
lock = WriterLock(folder)
lock.acquire()
child = os.fork()
if child == 0:
    held = is_held(folder)
    if sys.argv[2] == "release":         # closes its copy; the parent's lock must survive
        lock.release()
    os.write(1, b"child sees it held" if held else b"child sees it free")
    sys.stdin.readline()                 # until the parent is dead
    orphan = WriterLock(folder)
    os.write(1, b"held" if is_held(folder) else b"free")
    orphan.acquire()
    os.write(1, b" and taken")
    os._exit(0)
os.waitpid(child, 0)
"""


def another_tries(start_child, folder):
    process = start_child(TRY, folder)
    held, outcome = process.stdout.read().splitlines()
    return held == "True", outcome


def test_a_second_process_is_refused_and_told_who_writes(tmp_path, start_child):
    holder = start_child(HOLD, tmp_path)
    assert holder.stdout.readline() == "held\n"
    assert is_held(tmp_path)
    assert read_holder(tmp_path) == Holder(host=socket.gethostname(), pid=holder.pid)
    with pytest.raises(LockHeldError, match=f"process {holder.pid} on ") as refused:
        WriterLock(tmp_path).acquire()
    assert refused.value.holder == read_holder(tmp_path)

    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "released\n"
    assert not is_held(tmp_path)
    lock = WriterLock(tmp_path)
    lock.acquire()
    assert is_held(tmp_path)
    lock.release()
    assert not is_held(tmp_path)


def test_a_killed_process_holds_nothing(tmp_path, start_child):
    holder = start_child(HOLD, tmp_path)
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not is_held(tmp_path)
    lock = WriterLock(tmp_path)
    lock.acquire()
    lock.release()


@pytest.mark.parametrize("child_does", ["release", "nothing"])
def test_a_forked_child_neither_keeps_nor_drops_the_lock_of_its_parent(
    tmp_path, start_child, child_does
):
    parent = start_child(FORK, tmp_path, child_does)
    assert parent.stdout.read(18) == "child sees it held"
    assert is_held(tmp_path)  # also where the child closed its copy of the descriptor
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert not is_held(tmp_path)  # though the child lives on
    parent.stdin.write("\n")
    parent.stdin.flush()
    assert parent.stdout.read() == "free and taken"


def test_looking_at_the_lock_of_this_process_does_not_drop_it(tmp_path, start_child):
    lock = WriterLock(tmp_path)
    lock.acquire()
    try:
        assert is_held(tmp_path)
        assert read_holder(tmp_path) == Holder(host=socket.gethostname(), pid=os.getpid())
        with pytest.raises(LockHeldError, match=f"process {os.getpid()} on "):
            WriterLock(tmp_path).acquire()
        held, outcome = another_tries(start_child, tmp_path)
        assert held
        assert outcome.startswith(f"{os.getpid()} ")
    finally:
        lock.release()


def test_another_name_of_the_folder_leads_to_the_same_lock(tmp_path, start_child):
    folder, alias = tmp_path / "run", tmp_path / "alias"
    folder.mkdir()
    alias.symlink_to(folder)
    lock = WriterLock(folder)
    lock.acquire()
    try:
        for name in (alias, tmp_path / "alias" / ".." / "run"):
            assert is_held(name)
            with pytest.raises(LockHeldError):
                WriterLock(name).acquire()
        assert another_tries(start_child, folder)[0]
    finally:
        lock.release()
    held, outcome = another_tries(start_child, alias)
    assert not held
    assert outcome == "acquired"


def test_releasing_what_is_not_held_is_harmless(tmp_path):
    lock = WriterLock(tmp_path)
    lock.release()
    lock.acquire()
    lock.release()
    lock.release()
    assert not is_held(tmp_path)


def test_a_folder_without_a_lock_file_is_not_held_and_not_touched(tmp_path):
    assert not is_held(tmp_path)
    assert read_holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"host": "h"}',
        b'{"host": "h", "pid": "x"}',
        b'{"host": "h", "pid": Infinity}',
        b"[" * 5_000,
    ],
    ids=lambda content: content[:12].decode(errors="replace"),
)
def test_a_lock_file_that_names_nobody(tmp_path, content):
    (tmp_path / LOCK_NAME).write_bytes(content)
    assert read_holder(tmp_path) is None
    assert not is_held(tmp_path)


def test_a_holder_elsewhere_is_not_local(tmp_path):
    (tmp_path / LOCK_NAME).write_text(json.dumps({"host": "far-away", "pid": 4}))
    holder = read_holder(tmp_path)
    assert holder == Holder(host="far-away", pid=4)
    assert holder is not None
    assert not holder.is_local
    assert Holder(host=socket.gethostname(), pid=1).is_local


def test_a_lock_file_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "precious").write_text("x")
    (tmp_path / LOCK_NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(Exception, match="cannot be written"):
        WriterLock(tmp_path).acquire()
    assert (tmp_path / "precious").read_text() == "x"
