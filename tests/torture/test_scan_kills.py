"""Scans killed, cancelled and resumed end with the bits of one left alone.

Four scans by default; `LOSSVIZ_TORTURE_SCANS=50` makes it as many as that. The seed of the
four has every way of disturbing (killed, cancelled, one after the other) on one process or on
two, and no more of them: each death costs the start of a worker.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("scan_kills.py")
FEW = 4
ROUNDS = int(os.environ.get("LOSSVIZ_TORTURE_SCANS", str(FEW)))
SEED = 10_588 if ROUNDS == FEW else 0


@pytest.mark.slow
def test_scans_disturbed_at_random_end_with_the_same_bits(tmp_path):
    report = tmp_path / "report.json"
    words = ("--rounds", ROUNDS, "--seed", SEED, "--report", report)
    finished = subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, words)],
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
