"""Trainers and scan workers killed at random instants: nothing lost, torn or unequal.

Twenty kills by default; `LOSSVIZ_TORTURE_KILLS=1000` makes it as many as that. The program
beside this file does it, in processes of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("kills.py")
KILLS = int(os.environ.get("LOSSVIZ_TORTURE_KILLS", "20"))
IS_LONG = KILLS > 20
# What a defect is found by; the others take longer and are looked for in the long form.
PLANTS = {
    "head-first": "torn",
    "no-momentum": "unequal",
}
MORE_PLANTS = {
    "lost-checkpoint": "lost checkpoint",
    "forgotten-record": "lost record",
    "torn-checkpoint": "torn",
    "changed-cells": "scan",
    "litter": "leftover",
}
WANTED = PLANTS | MORE_PLANTS if IS_LONG else PLANTS


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The program's report: on honest runs, then on runs with a defect put in."""
    folder = tmp_path_factory.mktemp("kills")
    report = folder / "report.json"
    words = ["--kills", KILLS, "--seed", 1, "--folder", folder, "--report", report]
    finished = subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, words), "--plant", *WANTED],
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), finished.stderr
    read: dict[str, Any] = json.loads(report.read_text())
    return read


@pytest.mark.slow
def test_killed_trainers_and_workers_lose_nothing_and_tear_nothing(found):
    assert found["complaints"] == []
    assert found["lives"]["trainers killed"] >= KILLS
    # How many more are killed than one a run depends on how fast the machine is.
    assert found["lives"]["workers killed"] >= (KILLS // 10 if IS_LONG else 1)
    assert found["lives"]["scans compared with uninterrupted ones"] > 0
    assert found["seen"]["records"] > KILLS
    assert found["seen"]["checkpoints read"] > KILLS
    assert found["seen"]["thinned out"] > 0
    assert found["seen"]["scan states"] > KILLS


@pytest.mark.slow
@pytest.mark.parametrize("plant", WANTED)
def test_a_defect_is_found(found, plant):
    assert WANTED[plant] in found["plants"][plant]
