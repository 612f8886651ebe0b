"""Names in a stranger's run can stand for anything; only regular files are read."""

import os
import stat
from pathlib import Path

import pytest

from lossviz_analysis.store.files import open_regular, read_regular, read_text


@pytest.fixture(
    params=["link", "loop", "dangling", "pipe", "folder", "zeros", "terminal", "absent"]
)
def odd(request, tmp_path):
    """A name that stands for something else than a regular file."""
    path = tmp_path / "name"
    match request.param:
        case "link":
            (tmp_path / "real").write_bytes(b"secret")
            path.symlink_to(tmp_path / "real")
        case "loop":
            path.symlink_to(path)
        case "dangling":
            path.symlink_to(tmp_path / "nowhere")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "zeros":
            path.symlink_to("/dev/zero")
        case "terminal":
            path.symlink_to("/dev/tty")
        case _:
            pass
    return path


@pytest.fixture
def descriptors():
    """How many descriptors are open."""

    def count():
        return len(list(Path("/proc/self/fd").iterdir()))

    return count


def test_what_is_no_regular_file_is_refused_and_left_alone(odd, descriptors):
    before = descriptors()
    with pytest.raises(OSError, match=r"regular|levels|No such"):
        read_regular(odd, 100)
    assert read_text(odd, limit=100) == ""
    assert descriptors() == before


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_regular_file(tmp_path, device):
    assert stat.S_ISCHR(Path(device).stat().st_mode)
    with pytest.raises(OSError, match="no regular file"):
        read_regular(tmp_path / device, 100)


@pytest.mark.parametrize("limit", [0, 1, 5, 6, 7, 100])
def test_no_more_than_the_limit_is_read(tmp_path, limit, descriptors):
    path = tmp_path / "name"
    path.write_bytes(b"abcdef")
    before = descriptors()
    assert read_regular(path, limit) == b"abcdef"[:limit]
    assert descriptors() == before


def test_short_reads_are_put_together(tmp_path, monkeypatch):
    path = tmp_path / "name"
    path.write_bytes(bytes(range(250)))
    read = os.read

    def reluctant(descriptor, length):
        return read(descriptor, min(length, 7))

    monkeypatch.setattr(os, "read", reluctant)
    assert read_regular(path, 1_000) == bytes(range(250))
    assert read_regular(path, 100) == bytes(range(100))


def test_a_failing_read_closes_the_file(tmp_path, monkeypatch, descriptors):
    path = tmp_path / "name"
    path.write_bytes(b"abc")
    before = descriptors()

    def fails(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", fails)
        patch.setattr(os, "pread", fails)
        with pytest.raises(OSError, match="Input/output"):
            read_regular(path, 10)
        assert read_text(path, limit=10) == ""
    assert descriptors() == before


def test_the_end_of_a_text_is_read_and_decoded_as_far_as_it_can_be(tmp_path):
    path = tmp_path / "name"
    path.write_bytes(b"first\nlast \xe7\x8c\xab\xff")
    assert read_text(path, limit=1_000) == "first\nlast 猫\ufffd"
    assert read_text(path, limit=4) == "猫\ufffd"
    assert read_text(path, limit=3) == "\ufffd\ufffd\ufffd"
    path.write_bytes(b"")
    assert read_text(path, limit=10) == ""


def test_the_end_of_a_huge_text_is_read_at_once(tmp_path):
    path = tmp_path / "name"
    with path.open("wb") as file:
        file.truncate(2**40)
        file.seek(2**40)
        file.write(b"the end")
    assert read_text(path, limit=7) == "the end"


def test_a_file_is_made_for_appending_where_it_is_absent(tmp_path):
    path = tmp_path / "name"
    for word in (b"one", b"two"):
        descriptor = open_regular(path, create=True)
        os.write(descriptor, word)
        os.close(descriptor)
    assert path.read_bytes() == b"onetwo"


def test_nothing_is_made_behind_a_link(tmp_path):
    (tmp_path / "name").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match="levels"):
        open_regular(tmp_path / "name", create=True)
    assert not (tmp_path / "nowhere").exists()
