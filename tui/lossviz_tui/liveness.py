"""When a writer that should be at work counts as silent: one rule for the app and for lists."""

import math
import time
from pathlib import Path

from lossviz_analysis.store.lock import read_holder

PATIENCE_SECONDS = 30.0
"""A writer that shows no sign of life for so long is stalled, whatever its epochs take."""
CLOCK_SECONDS = 3_600.0
"""By how much the clocks of two machines may differ: silence beyond it is silence."""


def silence(run: Path) -> float:
    """Seconds since the writer of a run last showed a sign of life.

    A commit is one too. By the clock of the file system: 0 where that says it was in the future
    (the next one will tell), and NaN where the writer never gave any. Of one on another
    machine, whose clock may be another, only what exceeds CLOCK_SECONDS counts.
    """
    holder = read_holder(run)
    grace = CLOCK_SECONDS if holder is not None and not holder.is_local else 0.0
    try:
        beaten = (run / "live" / "heartbeat" / "c.0").stat().st_mtime
        committed = (run / "records" / "head" / "c.0").stat().st_mtime
    except OSError:
        return math.nan
    return max(0.0, time.time() - max(beaten, committed) - grace)


def stalled_word(word: str, run: Path) -> str:
    """The word for a run in a list: a live one that has been silent for too long is stalled."""
    return "stalled" if word == "live" and silence(run) > PATIENCE_SECONDS else word
