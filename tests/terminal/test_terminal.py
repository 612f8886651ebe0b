"""The program on a real terminal: what it leaves behind."""

import re
import signal

import pytest

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


def test_a_signal_before_the_first_data_restores_too(start, tmp_path):
    terminal = start(tmp_path / "nothing.zarr")
    while ALTERNATE_ON not in terminal.sent:
        assert terminal.process.poll() is None
        terminal.read(0.05)
    terminal.wait_for("Quit")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.leave() == 143
    assert_restored(bytes(terminal.sent))


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
