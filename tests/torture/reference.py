"""What an uninterrupted run came to, as far as no clock has a say in it."""

from dataclasses import dataclass
from pathlib import Path

from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.reader import RunReader

TIMELESS = (
    "epoch",
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "step_loss",
    "learning_rate",
    "weight_norm",
)
"""Scalars that have the same bits whenever and however often an epoch is trained."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One run from its first step to its last in one go."""

    records: dict[int, tuple[bytes, bytes]]
    """Counts and timeless scalars by epoch."""
    digests: dict[int, str]
    """Of the checkpoints at the end of each epoch."""
    final: dict[str, bytes]
    """Weights, buffers and momenta at the end."""


def read_reference(run: Path) -> Reference:
    """Read a finished run that kept all its checkpoints."""
    reader = RunReader(run)
    head = reader.head()
    rows = read_records(reader, 0, head.num_records)
    return Reference(
        records=dict(rows),
        digests={c.epoch: c.digest for c in reader.checkpoints(head) if c.step == 0},
        final=tensors_of(reader.checkpoint(head.latest_checkpoint)),
    )


def read_records(
    reader: RunReader, start: int, stop: int
) -> list[tuple[int, tuple[bytes, bytes]]]:
    """Epoch, counts and timeless scalars of committed records."""
    columns = [reader.description.scalar_columns.index(name) for name in TIMELESS]
    counts, scalars = reader.counts(start, stop), reader.scalars(start, stop)
    return [
        (int(row[0]), (counts[k].tobytes(), row[columns].tobytes()))
        for k, row in enumerate(scalars)
    ]


def tensors_of(content: Checkpoint) -> dict[str, bytes]:
    """The tensors of a checkpoint by role and name, as bytes."""
    groups = {
        "parameter": content.parameters,
        "buffer": content.buffers,
        "optimiser": content.optimiser,
    }
    return {
        f"{role} {name}": values.tobytes()
        for role, tensors in groups.items()
        for name, values in tensors.items()
    }
