"""The program in tmux, where people leave it: worked with, resized, left and come back to."""

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.terminal.harness import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

BRAILLE = range(0x2800, 0x2900)


def program(run: Path, *options: str) -> str:
    """The program as a shell command."""
    return shlex.join([sys.executable, "-P", "-m", "lossviz_tui", "watch", str(run), *options])


def lingering(run: Path) -> str:
    """The program as a shell command that stays to say how it ended."""
    return f"{program(run)}; echo code $?; read -r _"


def test_a_scan_is_asked_for_seen_to_fill_cancelled_and_exported(
    tmux, digits_run, tmp_path, end_processes
):
    tmux.open(lingering(digits_run), folder=tmp_path)
    try:
        tmux.wait_for("✓ finished", "epoch 3/3")
        tmux.keys("3")
        tmux.wait_for("[3 Dance]", "recall")
        tmux.keys("s")
        tmux.wait_for("Scan the loss landscape")
        for _ in range(20):
            before = tmux.text
            if re.search("> points", before):
                break
            tmux.keys("Down")
            tmux.wait_until(lambda text, before=before: text != before, "another field")
        choose(tmux, "< 101 >")
        tmux.keys("Enter")
        tmux.wait_for("[6 Landscape]", "101x101")
        tmux.wait_for("scan running", "picture")
        before = tmux.text
        tmux.wait_until(lambda text: text != before, "more of the picture")
        tmux.keys("x")
        tmux.wait_for("Cancel the scan")
        tmux.keys("y")
        tmux.wait_for("cancelled")
        tmux.keys("e")
        tmux.wait_for("Write Landscape to a file")
        tmux.keys("n")
        tmux.wait_for("wrote")
        assert list(tmp_path.glob("digits-*"))
        tmux.keys("q")
        tmux.wait_for("code 0")
    finally:
        end_processes(digits_run)


def test_a_live_run_is_watched_left_and_come_back_to(tmux, live, commit_epoch, tmp_path):
    tmux.open(f"exec {program(live.path)}", folder=tmp_path)
    curves = tmux.wait_for("epoch 8/12", "accuracy", "cross-entropy")
    assert any(ord(character) in BRAILLE for character in curves)
    first = tmux.attach()
    try:
        first.wait_for("epoch 8/12", "accuracy")
        commit_epoch(live, 9)
        first.wait_for("epoch 9/12")
        tmux("detach-client", "-s", "main")
        assert first.leave() == 0
    finally:
        first.close()
    commit_epoch(live, 10)
    tmux.wait_for("epoch 10/12")  # it goes on while nobody looks
    again = tmux.attach()
    try:
        again.wait_for("epoch 10/12", "accuracy")
        tmux("detach-client", "-s", "main")
    finally:
        again.close()
    pid = tmux.pid
    tmux("kill-session", "-t", "main")  # the terminal goes: SIGHUP
    wait_until_gone(Path(f"/proc/{pid}"))
    commit_epoch(live, 11)  # whoever writes the run does not notice


def test_held_epochs_and_views_survive_every_size(tmux, run, tmp_path):
    # A shell that exports its size says what it was when the program began.
    tmux.open(f"export COLUMNS=80 LINES=24; {lingering(run)}", folder=tmp_path)
    tmux.wait_for("epoch 8/12", "accuracy")
    tmux.keys("3")
    tmux.wait_for("cat ⇄ dog", "recall")
    tmux.keys("Left", "Left")
    tmux.wait_for("HELD at 6, 2 newer")
    tmux.resize(60, 18)
    small = tmux.wait_for("cat ⇄ dog", "HELD 6")
    assert max(map(len, small.splitlines())) <= 60
    tmux.resize(80, 24)
    tmux.wait_for("cat ⇄ dog", "HELD at 6, 2 newer")
    tmux.keys("5")
    tmux.wait_for("CCTM, test, epoch 6", "symmetry")
    tmux.keys("q")
    tmux.wait_for("code 0")


@pytest.mark.parametrize("term", ["screen", "linux"])
def test_poorer_terminals_show_every_view(tmux, run, tmp_path, term):
    if subprocess.run(["infocmp", term], capture_output=True, check=False).returncode:
        pytest.skip(f"there is no terminfo of {term}")
    tmux.open(lingering(run), term=term, folder=tmp_path)
    text = tmux.wait_for("epoch 8/12", "accuracy")
    has_braille = any(ord(character) in BRAILLE for character in text)
    assert has_braille == (term != "linux")  # the console has no such glyphs
    for key, words in (
        ("3", "recall"),
        ("4", "dancing notes"),
        ("5", "CCTM, test"),
        ("1", "8/12"),
    ):
        tmux.keys(key)
        tmux.wait_for(f"[{key} ", words)
    tmux.keys("q")
    assert "epoch 8/12" not in tmux.wait_for("code 0")


def choose(tmux: Any, value: str) -> None:
    """Step through the values of a field until one is shown."""
    for _ in range(20):
        before = tmux.text
        if value in before:
            return
        tmux.keys("Right")
        tmux.wait_until(lambda text, before=before: text != before, "another value")
    pytest.fail(f"there is no {value} in\n{tmux.text}")


def wait_until_gone(process: Path) -> None:
    """Wait until a process has ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.exists():
        assert time.monotonic() < deadline, f"{process} does not end"
        time.sleep(0.02)
