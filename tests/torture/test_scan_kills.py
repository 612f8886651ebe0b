"""Scans killed, cancelled and resumed end with the bits of one left alone.

Four scans by default; `LOSSVIZ_TORTURE_SCANS=50` makes it as many as that.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("scan_kills.py")
ROUNDS = int(os.environ.get("LOSSVIZ_TORTURE_SCANS", "4"))


@pytest.mark.slow
def test_scans_disturbed_at_random_end_with_the_same_bits(tmp_path):
    report = tmp_path / "report.json"
    finished = subprocess.run(
        [sys.executable, str(PROGRAM), "--rounds", str(ROUNDS), "--report", str(report)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), finished.stderr
    found = json.loads(report.read_text())
    assert found["complaints"] == []
    assert found["seen"]["scans compared, cpu"] == ROUNDS // 2
    assert found["seen"]["scans compared, cpu,cpu"] == ROUNDS // 2
    assert found["seen"].get("workers killed", 0) > 0
    assert found["seen"].get("scans cancelled and gone on with", 0) > 0
