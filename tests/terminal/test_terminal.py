"""The program on a real terminal: what it leaves behind, and how little it sends."""

import re
import shlex
import shutil
import signal
import sys
import time

import pytest

from lossviz_analysis.store.schema import Phase

pytestmark = pytest.mark.slow

ALTERNATE_ON, ALTERNATE_OFF = b"\x1b[?1049h", b"\x1b[?1049l"
CURSOR_OFF, CURSOR_ON = b"\x1b[?25l", b"\x1b[?25h"
MOUSE_OFF = b"\x1b[?1000l"
ESCAPES = rb"\x1b\[[0-9;?<>=]*[a-zA-Z]|\x1b[()=>][A-Z0-9]?"
TICK_BYTES = 250


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


def test_a_quiet_run_sends_little_more_than_its_age(start, live):
    """Five seconds in which nothing happens but the age counting up."""
    live.pulse(epoch=9, step=1, steps_per_epoch=10, phase=Phase.TRAINING)
    terminal = start(live.path)
    terminal.wait_for("● live", "epoch 8/12", "accuracy")
    terminal.wait_for("s old")
    terminal.read(2.0)
    sent = terminal.read(5.0)
    assert 1 <= sent.count(b"old") <= 6, sent
    assert len(sent) <= 6 * TICK_BYTES


def test_a_tick_of_the_status_line_is_small(start, live):
    """The share of the epoch under way moves on; nothing but its line is sent."""
    live.pulse(epoch=9, step=10, steps_per_epoch=100, phase=Phase.TRAINING)
    terminal = start(live.path, "--no-mouse")
    terminal.wait_for("epoch 8/12 +10%", "accuracy")
    assert b"\x1b[?1000h" not in terminal.sent  # the mouse is left alone
    terminal.read(2.0)
    live._last_pulse = 0.0
    live.pulse(epoch=9, step=77, steps_per_epoch=100, phase=Phase.TRAINING)
    before = len(terminal.sent)
    terminal.wait_for("epoch 8/12 +77%")
    frames = [frame for frame in terminal.sent[before:].split(b"\x1b[?2026l") if b"77" in frame]
    assert len(frames) == 1
    assert len(frames[0]) <= TICK_BYTES, frames[0]


def test_a_new_epoch_sends_rows_not_screens(start, live, commit_epoch):
    terminal = start(live.path)
    terminal.wait_for("epoch 8/12", "accuracy")
    terminal.read(1.5)
    commit_epoch(live, 9)
    before = len(terminal.sent)
    terminal.wait_for("epoch 9/12")
    terminal.read(1.5)
    assert len(terminal.sent) - before <= 20_000


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_in_tmux_it_draws_resizes_and_leaves(tmux, run):
    program = shlex.join([sys.executable, "-P", "-m", "lossviz_tui", "watch", str(run)])
    tmux("new-session", "-d", "-x", "80", "-y", "24", f"{program}; echo code $?; read -r _")

    def wait_for(*words: str) -> str:
        deadline = time.monotonic() + 30
        while True:
            text = tmux("capture-pane", "-p")
            if all(word in text for word in words):
                return text
            assert time.monotonic() < deadline, text
            time.sleep(0.1)

    curves = wait_for("epoch 8/12", "accuracy", "cross-entropy")
    assert any("\u2800" < character <= "\u28ff" for character in curves)
    tmux("send-keys", "3")
    wait_for("cat ⇄ dog", "recall")
    tmux("send-keys", "Left", "Left")
    wait_for("HELD at 6, 2 newer")
    tmux("resize-window", "-x", "60", "-y", "18")
    small = wait_for("cat ⇄ dog", "HELD 6")
    assert max(map(len, small.splitlines())) <= 60
    tmux("resize-window", "-x", "80", "-y", "24")
    tmux("send-keys", "5")
    wait_for("CCTM, test, epoch 6", "symmetry")
    tmux("send-keys", "q")
    wait_for("code 0")
