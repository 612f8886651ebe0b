"""Damaged runs never crash, hang or bloat what reads them; fuzz.py throws more of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz.py")


def fuzz(*words):
    """Run the fuzzer in a process of its own, as its children are limited in memory."""
    return subprocess.run(
        [sys.executable, str(FUZZ), *words],
        check=False,
        capture_output=True,
        text=True,
        env=dict(os.environ) | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )


@pytest.mark.slow
def test_the_fuzzer_finds_what_is_planted():
    found = fuzz("--self-test")
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("found") >= 9


@pytest.mark.slow
def test_sound_runs_are_data_to_everything():
    found = fuzz("--sound", "--stores", "12")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "sentence" in found.stdout


@pytest.mark.slow
def test_whatever_is_damaged_the_answer_is_data_or_one_sentence():
    found = fuzz("--stores", "100")
    assert found.returncode == 0, found.stdout + found.stderr
