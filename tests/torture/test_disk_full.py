"""A disk that is full again and again loses nothing, and changes nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("disk_full.py")
ROUNDS = int(os.environ.get("LOSSVIZ_TORTURE_ROUNDS", "1"))
CANNOT = 77


@pytest.fixture
def fill(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs the program; its report. Skips where that takes rights nobody has."""

    def call(*words: object) -> dict[str, Any]:
        report = tmp_path / "report.json"
        finished = subprocess.run(
            [sys.executable, str(PROGRAM), "--report", str(report), *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode == CANNOT:
            pytest.skip(finished.stderr.strip())
        assert report.exists(), finished.stderr
        found: dict[str, Any] = json.loads(report.read_text())
        return found

    return call


@pytest.mark.slow
def test_a_full_disk_loses_nothing_and_the_training_ends_the_same(fill):
    found = fill("--rounds", ROUNDS)
    assert found["complaints"] == []
    assert found["seen"]["times the disk was full"] == 4 * ROUNDS
    assert found["seen"]["epochs trained while the disk was full"] > 0
    assert found["seen"]["times training went on by itself"] == ROUNDS
    assert found["seen"]["times training ended on a full disk and was written"] == ROUNDS
    assert found["seen"]["scans done"] > 0
    assert found["seen"]["times the worker met the full disk"] > 0


@pytest.mark.slow
@pytest.mark.skipif(ROUNDS == 1, reason="a check of the test itself, in the long form")
def test_an_epoch_given_up_is_found(fill):
    kinds = {kind for kind, _ in fill("--plant", "dropped-epoch")["complaints"]}
    assert "lost record" in kinds
