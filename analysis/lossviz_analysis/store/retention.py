"""Which checkpoints may go: the last, the best, the first, every k-th and the pinned stay."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lossviz_analysis.store.checkpoints import CheckpointInfo

DEFAULT_BUDGET_BYTES = 10 * 2**30
FREE_SPACE_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How many checkpoints a run keeps."""

    keep_last: int = 3
    """The newest ones."""
    budget_bytes: int = DEFAULT_BUDGET_BYTES
    """What all kept ones may take; exceeded only by those that must be kept."""


def expendable(
    checkpoints: Sequence[CheckpointInfo],
    *,
    best: int,
    pinned: Collection[int],
    retention: Retention,
) -> tuple[int, ...]:
    """Numbers of the checkpoints to delete.

    The first checkpoint (initial weights), the best, the last few and the pinned stay. Of the
    others every k-th by epoch stays, with the smallest power of two k that fits the budget:
    doubling k only ever deletes, so what was thinned once is not missed by a later, denser
    choice.

    Args:
        checkpoints: All published ones, by number.
        best: Number of the best one; 0 means none.
        pinned: Numbers that scans use.
        retention: How many to keep.

    Returns:
        Numbers, ascending.
    """
    if not checkpoints:
        return ()
    last = checkpoints[-retention.keep_last :] if retention.keep_last > 0 else []
    must = {c.number for c in last} | {checkpoints[0].number, best} | set(pinned)
    latest_epoch = max(c.epoch for c in checkpoints)
    spacing = 1
    while spacing <= max(1, latest_epoch):
        kept = must | {c.number for c in checkpoints if c.step == 0 and c.epoch % spacing == 0}
        # A checkpoint in the middle of an epoch serves a resume only: kept while it is among
        # the last.
        size = sum(c.num_bytes for c in checkpoints if c.number in kept)
        if size <= retention.budget_bytes:
            return tuple(c.number for c in checkpoints if c.number not in kept)
        spacing *= 2
    return tuple(c.number for c in checkpoints if c.number not in must)
