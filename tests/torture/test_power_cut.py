"""What was acknowledged survives a power cut; without fsync it does not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("power_cut.py")
CUTS = int(os.environ.get("LOSSVIZ_TORTURE_CUTS", "5"))
CANNOT = 77


@pytest.fixture
def pull_the_plug(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Pulls the plug so many times; skips where that takes rights nobody has."""

    def pull(cuts: int, fsync: str) -> dict[str, Any]:
        report = tmp_path / f"{fsync}.json"
        words = ["--cuts", str(cuts), "--fsync", fsync, "--report", str(report)]
        finished = subprocess.run(
            [sys.executable, str(PROGRAM), *words],
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode == CANNOT:
            pytest.skip(finished.stderr.strip())
        assert report.exists(), finished.stderr
        found: dict[str, Any] = json.loads(report.read_text())
        return found

    return pull


@pytest.mark.slow
def test_a_power_cut_loses_nothing_acknowledged(pull_the_plug):
    found = pull_the_plug(CUTS, "on")
    assert found["complaints"] == []
    assert found["cuts"] == CUTS
    assert found["found"]["acknowledged records, over all cuts"] > 5 * CUTS
    assert found["found"]["acknowledged checkpoints, over all cuts"] > 2 * CUTS


@pytest.mark.slow
def test_without_fsync_a_power_cut_is_seen_to_lose_something(pull_the_plug):
    assert pull_the_plug(3, "off")["hurt"] > 0
