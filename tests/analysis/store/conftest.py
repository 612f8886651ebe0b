"""Runs small enough to be written a hundred times, and child processes that always end."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.requests import DirectionSpec, ScanRequest
from lossviz_analysis.store.schema import FIXED_COLUMNS


@pytest.fixture(scope="session")
def describe():
    """Describes a run of so many classes, with the scalar columns `loss` and `twice`."""

    def build(num_classes=3, **changes):
        usual = RunDescription(
            run_id="9b2e8f0e-6f4c-4a68-8f5b-3d1d6b9a0c11",
            created_at="2025-01-02T03:04:05Z",
            class_names=tuple(f"class {k}" for k in range(num_classes)),
            scalar_columns=(*FIXED_COLUMNS, "loss", "twice"),
            model={"name": "mlp"},
            recipe={"epochs": 7},
        )
        return replace(usual, **changes)

    return build


@pytest.fixture
def run(tmp_path, describe):
    """The folder of an empty run of three classes."""
    path = tmp_path / "some.zarr"
    create_run(path, describe())
    return path


@pytest.fixture(scope="session")
def counts_of():
    """The counts of record n: no value occurs in two records, so a tear shows."""

    def build(number, num_classes=3):
        size = 2 * num_classes**2
        flat = np.arange(number * size, (number + 1) * size, dtype=np.int64)
        return flat.reshape(2, num_classes, num_classes)

    return build


@pytest.fixture(scope="session")
def scalars_of():
    """The scalars of record n."""

    def build(number):
        return {"epoch": number + 1.0, "loss": number / 7, "twice": 2.0 * number}

    return build


@pytest.fixture(scope="session")
def ask():
    """An ego plane of 5 x 4 points over both splits."""

    def build(**changes):
        usual = ScanRequest(
            directions=tuple(
                DirectionSpec(kind="ego", normalise="none", class_index=k) for k in (2, 0)
            ),
            points=(5, 4),
            ranges=((-0.1, 0.1), (-0.2, 0.3)),
            checkpoint=3,
            epoch=2,
            split="both",
        )
        return replace(usual, **changes)

    return build


@pytest.fixture
def start_child():
    """Starts Python processes that talk by pipe; whatever happens they are gone afterwards."""
    started: list[subprocess.Popen[str]] = []

    def start(code, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
