"""Wishes: one word in a file, believed only when it is one of ours."""

import os

import pytest

from lossviz_analysis.store.control import Wish, ask, read_wish
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import CONTROL_NAME
from lossviz_analysis.store.writer import RunWriter


def test_a_wish_is_read_until_it_is_taken_back(tmp_path):
    assert read_wish(tmp_path) == Wish.NOTHING
    for wish in (Wish.STOP, Wish.PAUSE, Wish.STOP):
        ask(tmp_path, wish)
        assert read_wish(tmp_path) == wish
    for _ in range(2):
        ask(tmp_path, Wish.NOTHING)
        assert read_wish(tmp_path) == Wish.NOTHING
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"stop\n", b"  stop", b"stop\x20\t\r\n"])
def test_a_person_may_write_it_by_hand(tmp_path, content):
    (tmp_path / CONTROL_NAME).write_bytes(content)
    assert read_wish(tmp_path) == Wish.STOP


@pytest.mark.parametrize(
    "content",
    [b"", b"STOP", b"stopp", b"stop now", b"\xff\xfe", b"stop\x00", b"stop" + b" " * 60 + b"x"],
)
def test_another_word_asks_for_nothing(tmp_path, content):
    (tmp_path / CONTROL_NAME).write_bytes(content)
    found = read_wish(tmp_path)
    # Beyond 64 bytes nothing is looked at.
    assert found == (Wish.STOP if len(content) > 64 else Wish.NOTHING)


@pytest.mark.parametrize("what", ["link", "pipe", "folder"])
def test_what_is_no_regular_file_asks_for_nothing(tmp_path, what):
    path = tmp_path / CONTROL_NAME
    match what:
        case "link":
            (tmp_path / "word").write_text("stop")
            path.symlink_to(tmp_path / "word")
        case "pipe":
            os.mkfifo(path)
        case _:
            path.mkdir()
    assert read_wish(tmp_path) == Wish.NOTHING


def test_a_wish_replaces_a_link_and_leaves_alone_what_it_pointed_to(tmp_path):
    (tmp_path / "word").write_text("mine")
    (tmp_path / CONTROL_NAME).symlink_to(tmp_path / "word")
    ask(tmp_path, Wish.STOP)
    assert read_wish(tmp_path) == Wish.STOP
    assert (tmp_path / "word").read_text() == "mine"


def test_a_wish_that_cannot_be_left_is_a_store_error(tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        ask(tmp_path / "nowhere", Wish.STOP)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_hears_wishes_and_not_those_meant_for_the_one_before(run):
    ask(run, Wish.STOP)
    with RunWriter(run) as writer:
        assert writer.wish() == Wish.NOTHING
        head = writer.head
        ask(run, Wish.PAUSE)
        assert writer.wish() == Wish.PAUSE
        ask(run, Wish.STOP)
        assert writer.wish() == Wish.STOP
        # A wish is nothing the writer has to commit, and nothing it loses the run over.
        assert RunReader(run).head() == head
        writer.set_state(writer.head.state)
