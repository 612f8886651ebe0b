"""A writer that commits as fast as it can and says so, for somebody to pull the plug.

`python power_writer.py RUN FSYNC`: every line on standard output is an acknowledgement, printed
after the commit: `record N`, `checkpoint N`, `scan ID`. FSYNC is `on`; `off` patches fsync
away, and `files` leaves out that of the folders, to see what the test makes of it.
"""

import ctypes
import itertools
import os
import signal
import sys
from pathlib import Path

import numpy as np

from lossviz_analysis.store import durable
from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.requests import DirectionSpec, ScanRequest
from lossviz_analysis.store.retention import Retention
from lossviz_analysis.store.scans import submit
from lossviz_analysis.store.schema import FIXED_COLUMNS
from lossviz_analysis.store.writer import RunWriter

NUM_CLASSES = 4
NUM_WEIGHTS = 60_000
KEPT_BYTES = 20 * 4 * NUM_WEIGHTS
_PR_SET_PDEATHSIG = 1


def counts_of(number: int) -> np.ndarray:
    """The counts of record `number`; no value occurs in two records."""
    size = 2 * NUM_CLASSES**2
    return np.arange(number * size, (number + 1) * size).reshape(2, NUM_CLASSES, NUM_CLASSES)


def scalars_of(number: int) -> dict[str, float]:
    """The scalars of record `number`."""
    return {"epoch": number + 1.0, "loss": number / 7}


def weights_of(number: int) -> np.ndarray:
    """The weights of checkpoint `number`, which do not compress."""
    return np.random.default_rng(number).standard_normal(NUM_WEIGHTS, np.float32)


def request() -> ScanRequest:
    """A scan of the first checkpoint, which retention keeps anyway."""
    return ScanRequest(
        directions=(DirectionSpec(kind="gaussian", normalise="filter", seed=1),),
        points=(5,),
        ranges=((-1.0, 1.0),),
        checkpoint=1,
        epoch=1,
    )


def make_run(path: Path) -> None:
    """An empty run."""
    create_run(
        path,
        RunDescription(
            run_id="5a1c76a4-52a3-4c83-9c3c-6f6c0e8d3b77",
            created_at="2025-01-02T03:04:05Z",
            class_names=tuple(f"class {k}" for k in range(NUM_CLASSES)),
            scalar_columns=(*FIXED_COLUMNS, "loss"),
            model={"name": "mlp"},
        ),
    )


def commit(writer: RunWriter) -> str:
    """Commit one record; what to acknowledge."""
    number = writer.head.num_records
    writer.commit_record(counts_of(number), scalars_of(number))
    return f"record {number}"


def commit_checkpoint(writer: RunWriter) -> str:
    """Commit one checkpoint; what to acknowledge."""
    number = writer.head.latest_checkpoint + 1
    content = Checkpoint(epoch=writer.head.num_records, parameters={"w": weights_of(number)})
    writer.commit_checkpoint(content, is_best=number % 5 == 0)
    return f"checkpoint {number}"


def main(run: Path, fsync: str) -> None:
    # Whoever measures may be killed, and a stopped process would stay for ever.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if fsync == "off":
        durable.os.fsync = lambda _descriptor: None
    if fsync == "files":
        durable.fsync_folder = lambda _folder: None
    make_run(run)
    with RunWriter(run, retention=Retention(budget_bytes=KEPT_BYTES)) as writer:
        for turn in itertools.count():
            _say(commit(writer))
            if turn % 2 == 0:
                _say(commit_checkpoint(writer))
            if turn % 10 == 5:
                _say(f"scan {submit(run, request())}")


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
