"""The examples a scan looks at: on the device, in one class-balanced order, in chunks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

CHUNK_EXAMPLES = 1_000

Prepare = Callable[[Tensor, torch.dtype], Tensor]
"""Turns a batch of stored images into the model's input in a given dtype."""


def balanced_order(
    labels: Int[np.ndarray, " examples"], *, seed: int = 0
) -> Int[np.ndarray, " examples"]:
    """An order in which every beginning holds the classes in the proportions of the whole.

    Within a class the order is a seeded permutation; the k-th of n examples of a class is
    placed at (k + 1/2) / n, and equal places go to the smaller class. The picture from the
    first chunk is then a class-balanced estimate, and the same examples are used at every point
    (independent subsets would make a surface look rugged).

    Args:
        labels: The classes.
        seed: Of the permutations.

    Returns:
        Indices into the examples, each once.
    """
    generator = np.random.default_rng(seed)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks = generator.permutation(len(members))
        place[members] = (ranks + 0.5) / len(members)
    return np.lexsort((labels, place))


@dataclass(frozen=True, eq=False)
class Examples:
    """Images and labels of one split, resident on the device, in the order they are used."""

    images: Shaped[Tensor, "examples ..."]
    labels: Int[Tensor, " examples"]
    prepare: Prepare
    num_classes: int

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.labels)

    def inputs(self, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """The model's input for a range of examples."""
        return self.prepare(self.images[start:stop], dtype)

    def of_class(self, label: int) -> "Examples":
        """The examples of one class, in the same order."""
        chosen = torch.nonzero(self.labels == label).flatten()
        return Examples(
            self.images[chosen], self.labels[chosen], self.prepare, self.num_classes
        )

    @property
    def num_chunks(self) -> int:
        """Chunks of CHUNK_EXAMPLES examples; the last may be shorter."""
        return -(-len(self) // CHUNK_EXAMPLES)

    def chunk(self, number: int) -> range:
        """The examples of one chunk."""
        start = number * CHUNK_EXAMPLES
        return range(start, min(start + CHUNK_EXAMPLES, len(self)))
