"""A run written under one Python and Zarr and read, and gone on with, under another.

Set LOSSVIZ_OTHER_PYTHON to an interpreter of another environment that has the dependencies of
this package, such as a Python 3.12 with the newest Zarr; without it these tests are skipped.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lossviz_analysis

SOURCE = str(Path(lossviz_analysis.__file__).parents[1])
OTHER = os.environ.get("LOSSVIZ_OTHER_PYTHON", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not OTHER, reason="LOSSVIZ_OTHER_PYTHON names no other interpreter"),
]

WRITE = """
import sys
from pathlib import Path
import numpy as np
from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.schema import FIXED_COLUMNS
from lossviz_analysis.store.writer import RunWriter

run = Path(sys.argv[1])
if not run.exists():
    create_run(run, RunDescription(run_id="x", created_at="", class_names=("a", "b", "c"),
                                   scalar_columns=(*FIXED_COLUMNS, "loss")))
with RunWriter(run) as writer:
    for _ in range(70):
        n = writer.head.num_records
        counts = np.random.default_rng(n).integers(0, 500, (2, 3, 3))
        writer.commit_record(counts, {"epoch": n + 1.0, "loss": 1 / (n + 1), "wall_time": n})
    draw = np.random.default_rng(writer.head.latest_checkpoint)
    writer.commit_checkpoint(Checkpoint(
        epoch=n + 1,
        parameters={"w": draw.normal(size=(300, 50)).astype("f4"),
                    "h": draw.normal(size=7).astype("f2"),
                    "b": draw.integers(0, 2**16, 9).astype("u2")},
        buffers={"count": np.array(3, "i8"), "flag": np.array([True, False])},
        optimiser={"m": draw.normal(size=15_000).astype("f8")},
        extra={"seed": 1}, views={"b": "bfloat16"}))
"""

DIGEST = """
import hashlib, json, sys
from pathlib import Path
import numpy as np, zarr
from lossviz_analysis.store.reader import RunReader

run = Path(sys.argv[1])
reader = RunReader(run)
head = reader.head()
n = head.num_records
found = {"records": n, "checkpoints": [info.digest for info in reader.checkpoints()]}
counts, scalars = reader.counts(0, n), reader.scalars(0, n)
root = zarr.open_group(run, mode="r")
assert np.array_equal(counts, root["records/confusion"][:n])
assert np.array_equal(scalars, root["records/scalars"][:n], equal_nan=True)
found["counts"] = hashlib.sha256(counts.tobytes()).hexdigest()
found["scalars"] = hashlib.sha256(scalars.tobytes()).hexdigest()
content = reader.checkpoint(head.latest_checkpoint)
groups = (content.parameters, content.buffers, content.optimiser)
found["tensors"] = [
    [name, str(v.dtype), list(v.shape), hashlib.sha256(v.tobytes()).hexdigest()]
    for group in groups for name, v in group.items()]
found["views"] = dict(content.views)
print(json.dumps(found, sort_keys=True))
"""


def run_in(python: str, script: str, path: Path) -> str:
    """What a script prints in another interpreter, with this package's source."""
    finished = subprocess.run(
        [python, "-P", "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "error", "PYTHONPATH": SOURCE},
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.parametrize("writer", ["this", "other"])
def test_a_run_is_the_same_under_both_and_can_be_gone_on_with(tmp_path, writer):
    pythons = {"this": sys.executable, "other": OTHER}
    reader = "other" if writer == "this" else "this"
    run = tmp_path / "x.zarr"
    run_in(pythons[writer], WRITE, run)
    first = run_in(pythons[writer], DIGEST, run)
    assert run_in(pythons[reader], DIGEST, run) == first
    assert json.loads(first)["records"] == 70
    run_in(pythons[reader], WRITE, run)
    second = run_in(pythons[reader], DIGEST, run)
    assert run_in(pythons[writer], DIGEST, run) == second
    found = json.loads(second)
    assert found["records"] == 140
    assert len(found["checkpoints"]) == 2
    assert found["views"] == {"b": "bfloat16"}
