"""The one rule by which pairs of classes are ranked."""

import numpy as np
from jaxtyping import Float, Int


def ranked_indices(
    values: Float[np.ndarray, " values"], limit: int | None
) -> Int[np.ndarray, " ranked"]:
    """Return indices by descending value; equal values by ascending index; NaN left out.

    Args:
        values: What to rank.
        limit: How many of the first to keep; all when None.

    Returns:
        Indices into `values`.

    Raises:
        ValueError: The limit is negative.
    """
    if limit is not None and limit < 0:
        raise ValueError(
            f"limit is a number of pairs, 0 or more, or None for all; got {limit!r}"
        )
    candidates = np.flatnonzero(~np.isnan(values))
    if limit is not None and 0 < limit < len(candidates):
        # Selecting is linear where sorting is not. Everything equal to the last value that gets
        # in stays a candidate, so that the stable sort below decides ties, not the partition.
        last = len(candidates) - limit
        cutoff = np.partition(values[candidates], last)[last]
        candidates = candidates[values[candidates] >= cutoff]
    order = np.argsort(-values[candidates], kind="stable")
    return candidates[order][:limit]
