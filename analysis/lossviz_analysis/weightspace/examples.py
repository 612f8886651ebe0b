"""The examples a scan looks at: on the device, in one class-balanced order, in chunks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

CHUNK_EXAMPLES = 1_000
"""Examples in every chunk but the first few."""
_FIRST_EXAMPLES = 50
_BEGINNINGS = (1, 2, 5, 10)

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


def chunk_bounds(num_examples: int, num_classes: int) -> tuple[int, ...]:
    """Where the chunks of an order begin and end.

    The first ends after 50 examples (or one of each class, if that is more), which is what a
    first picture needs; the next ones after two, five and ten times as many; from 1,000 on
    every 1,000.

    Args:
        num_examples: Of the order.
        num_classes: Of the data.

    Returns:
        Ascending from 0 to `num_examples`; chunk k lies between bounds k and k + 1.
    """
    first = max(_FIRST_EXAMPLES, num_classes)
    early = (first * times for times in _BEGINNINGS)
    bounds = [0, *(bound for bound in early if bound < min(CHUNK_EXAMPLES, num_examples))]
    bounds += range(CHUNK_EXAMPLES, num_examples, CHUNK_EXAMPLES)
    return (*bounds, num_examples) if num_examples else (0,)


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

    @cached_property
    def bounds(self) -> tuple[int, ...]:
        """Where the chunks begin and end, see `chunk_bounds`."""
        return chunk_bounds(len(self), self.num_classes)

    @property
    def num_chunks(self) -> int:
        """Chunks of the order."""
        return len(self.bounds) - 1

    def chunk(self, number: int) -> range:
        """The examples of one chunk."""
        return range(self.bounds[number], self.bounds[number + 1])
