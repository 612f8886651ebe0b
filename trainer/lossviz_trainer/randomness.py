"""Randomness as a function of position: a resumed run needs no generator state."""

import numpy as np
import torch


def generator_for(seed: int, *position: int) -> torch.Generator:
    """A CPU generator that depends on the seed and a position (epoch, step) alone.

    Args:
        seed: Of the run.
        position: Where in the run; different positions give independent streams.

    Returns:
        A new generator.
    """
    # As a spawn key, not as further entropy: SeedSequence pads entropy with zeros, and (epoch,)
    # and (epoch, 0) would be the same stream.
    sequence = np.random.SeedSequence(seed, spawn_key=position)
    state = sequence.generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))
