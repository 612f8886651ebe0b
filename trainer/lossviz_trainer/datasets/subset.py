"""Fewer examples, with the classes as even as numbers allow."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.datasets.images import Labels


def class_balanced_subset(
    labels: Labels, num_examples: int, seed: int, *, class_names: Sequence[str] | None = None
) -> Int64[np.ndarray, " num_examples"]:
    """Draw examples without replacement, the same number of each class to within one.

    For one seed the subsets are nested: asking for more examples only adds to those drawn
    before.

    Args:
        labels: The class of every example to draw from.
        num_examples: How many to draw: at least one for each class that occurs.
        seed: Decides which examples, and which classes get one more when the number does not
            divide.
        class_names: What to call the classes in an error; otherwise their numbers are used.

    Returns:
        Positions in `labels`, in increasing order.

    Raises:
        LossvizError: If a class has too few examples, or there are fewer examples than classes.
    """
    classes, counts = np.unique(labels, return_counts=True)
    num_classes = len(classes)
    if num_examples < num_classes:
        raise LossvizError(
            f"a class-balanced subset needs an example of each of the {num_classes} classes; "
            f"got {num_examples} examples"
        )
    generator = np.random.default_rng(seed)
    share, remainder = divmod(num_examples, num_classes)
    by_lot = generator.permutation(num_classes)
    with_one_more = by_lot[counts[by_lot] > share][:remainder]
    smallest = int(counts.argmin())
    if counts[smallest] < share or len(with_one_more) < remainder:
        name = classes[smallest] if class_names is None else class_names[classes[smallest]]
        largest = counts[smallest] * num_classes + np.sum(counts > counts[smallest])
        raise LossvizError(
            f"cannot draw {num_examples} examples evenly from {num_classes} classes: class "
            f"{str(name)!r} has only {counts[smallest]}; ask for {largest} at most"
        )
    sizes = np.full(num_classes, share)
    sizes[with_one_more] += 1
    chosen = [
        generator.permutation(np.flatnonzero(labels == k))[:size]
        for k, size in zip(classes, sizes, strict=True)
    ]
    return np.sort(np.concatenate(chosen))
