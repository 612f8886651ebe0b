"""The program on a real terminal: what it leaves behind."""

import re
import signal
import time

import pytest
from tests.terminal.harness import PATIENCE_SECONDS, Terminal

pytestmark = pytest.mark.slow

ALTERNATE_ON, ALTERNATE_OFF = b"\x1b[?1049h", b"\x1b[?1049l"
CURSOR_OFF, CURSOR_ON = b"\x1b[?25l", b"\x1b[?25h"
MOUSE_OFF = b"\x1b[?1000l"
ESCAPES = rb"\x1b\[[0-9;?<>=]*[a-zA-Z]|\x1b[()=>][A-Z0-9]?"


def assert_restored(sent: bytes) -> None:
    """The last word on the alternate screen, the cursor and the mouse gives them back."""
    assert sent.rindex(ALTERNATE_OFF) > sent.rindex(ALTERNATE_ON)
    assert sent.rindex(CURSOR_ON) > sent.rindex(CURSOR_OFF)
    assert sent.rindex(MOUSE_OFF) > sent.rindex(b"\x1b[?1000h")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_the_terminal_as_it_was(start, run, number, code):
    terminal = start(run)
    terminal.wait_for("epoch 8/12", "accuracy")
    assert ALTERNATE_ON in terminal.sent
    terminal.process.send_signal(number)
    assert terminal.leave() == code
    assert_restored(bytes(terminal.sent))


def test_a_program_whose_terminal_vanishes_without_a_signal_leaves(start, live):
    terminal = start(live.path)
    terminal.wait_for("epoch 8/12", "accuracy")
    assert terminal.hang_up() == 128 + signal.SIGHUP


def test_a_signal_before_the_first_data_restores_too(start, tmp_path):
    terminal = start(tmp_path / "nothing.zarr")
    while ALTERNATE_ON not in terminal.sent:
        assert terminal.process.poll() is None
        terminal.read(0.05)
    terminal.wait_for("Quit")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.leave() == 143
    assert_restored(bytes(terminal.sent))


PLAIN_DRIVER = {"TEXTUAL_DRIVER": "textual.drivers.linux_driver:LinuxDriver"}


def test_the_screen_is_the_one_that_textual_alone_would_send(start, run):
    """Cell by cell with its colours, over views, pages and toasts, in half of the bytes."""
    thin, full = (start(run, variables=variables) for variables in ({}, PLAIN_DRIVER))
    both = (thin, full)
    for terminal in both:
        terminal.wait_for("epoch 8/12", "accuracy")
    for key, words in (
        ("3", "cat ⇄ dog"),
        (",", "HELD at 7"),
        ("4", "dancing notes"),
        ("a", "dancing notes"),
        ("5", "CCTM, test"),
        ("?", "every command"),
        ("\x1b", "CCTM, test"),
        ("6", "no scans yet"),
        ("x", "there is no scan"),
        ("2", "accuracy"),
    ):
        for terminal in both:
            terminal.type(key)
        for terminal in both:
            terminal.wait_for(words)
            if key == "\x1b":  # with the next key at once it would be another one
                terminal.wait_until_quiet()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while cells(thin) != cells(full):
            assert time.monotonic() < deadline, (key, thin.text, full.text)
            for terminal in both:
                terminal.read(0.05)
    assert len(thin.sent) < len(full.sent) / 2


def cells(terminal: Terminal) -> list[list[object]]:
    """Characters with their colours, without the line that has the age."""
    screen = terminal.screen
    return [
        [screen.buffer[row][column] for column in range(screen.columns)]
        for row in range(1, screen.lines)
    ]


def test_what_was_written_over_comes_back_when_asked_for(start, run):
    terminal = start(run)
    terminal.wait_for("epoch 8/12", "accuracy")
    terminal.overwrite("a message of the kernel")
    assert terminal.shows("a message of the kernel")
    terminal.type("\x0c")
    terminal.wait_until(
        lambda: not terminal.shows("a message of the kernel"), "all of it again"
    )
    assert terminal.shows("accuracy")


def test_a_held_key_is_answered_and_leaving_says_nothing(start, run):
    terminal = start(run)
    terminal.wait_for("epoch 8/12", "accuracy")
    terminal.type("5")
    terminal.wait_for("CCTM, test, epoch 8")
    terminal.type("," * 40)
    terminal.wait_for("CCTM, test, epoch 1", "HELD at 1, 7 newer")
    before = terminal.sent[: terminal.sent.index(ALTERNATE_ON)]
    terminal.type("q")
    assert terminal.leave() == 0
    sent = bytes(terminal.sent)
    assert_restored(sent)
    after = sent[sent.rindex(ALTERNATE_OFF) :]
    for stray in (before, after):
        assert (
            re.sub(rb"\x1b\[[0-9;?<>=]*[a-zA-Z]|\x1b[()=>][A-Z0-9]?|[\r\n]", b"", stray) == b""
        )
