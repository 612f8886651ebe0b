"""The cross-class test matrix (CCTM) and what is read off a confusion matrix directly."""

import numpy as np
from jaxtyping import Float, Integer

from lossviz_analysis.arrays import ClassValues, Counts, Rates
from lossviz_analysis.errors import LossvizError


class LabelError(LossvizError, ValueError):
    """Labels that cannot be counted: out of range, or not one prediction for each example."""


def cctm(counts: Counts) -> Rates:
    """Normalise a confusion matrix by row.

    Entry (i, j) is the fraction of examples of class i that the model calls j, so the diagonal
    is the recall of each class. Diao, Yao and Jiang (2022, sec. 2.1) print the same matrix in
    percent.

    Args:
        counts: Examples counted by true class (rows) and predicted class (columns).

    Returns:
        Fractions in [0, 1], float64. The row of a class with no examples is NaN.
    """
    examples = counts.sum(axis=-1, keepdims=True, dtype=np.int64)
    return _fraction(counts, examples)


def recall(counts: Counts) -> ClassValues:
    """Return the recall of each class, the diagonal of the CCTM (Diao 2022, table 1).

    Args:
        counts: Examples counted by true class (rows) and predicted class (columns).

    Returns:
        Fractions in [0, 1], float64; NaN for a class with no examples.
    """
    correct = np.diagonal(counts, axis1=-2, axis2=-1)
    return _fraction(correct, counts.sum(axis=-1, dtype=np.int64))


def accuracy(counts: Counts) -> Float[np.ndarray, "*batch"]:
    """Return the share of all examples that are classified correctly.

    Args:
        counts: Examples counted by true class (rows) and predicted class (columns).

    Returns:
        One fraction for each matrix, float64 (of a single matrix an array without dimensions,
        which `float` accepts); NaN where nothing was counted.
    """
    correct = np.trace(counts, axis1=-2, axis2=-1, dtype=np.int64)
    return _fraction(np.asarray(correct), np.asarray(counts.sum(axis=(-2, -1), dtype=np.int64)))


def count_examples(
    true: Integer[np.ndarray, " examples"],
    predicted: Integer[np.ndarray, " predictions"],
    num_classes: int,
) -> Counts:
    """Count examples by true and predicted class.

    Args:
        true: The label of each example.
        predicted: What the model calls it, in the same order.
        num_classes: C; labels are 0 to C - 1.

    Returns:
        A C x C matrix, int64; all zeros when there are no examples.

    Raises:
        LabelError: A label names no class, or the two arrays differ in length.
    """
    if true.shape != predicted.shape:
        raise LabelError(
            f"expected one prediction for each example; got {len(predicted)} predictions "
            f"for {len(true)} examples"
        )
    for name, labels in (("true", true), ("predicted", predicted)):
        outside = (labels < 0) | (labels >= num_classes)
        if outside.any():
            raise LabelError(
                f"{name} labels must lie in 0..{num_classes - 1}; got "
                f"{int(labels[outside][0])} for example {int(outside.argmax())} "
                "(count from 0, or name more classes)"
            )
    # Widened first: 8-bit labels would overflow in the product.
    cells = true.astype(np.int64) * num_classes + predicted.astype(np.int64)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def _fraction(
    part: Integer[np.ndarray, "*shape"], whole: Integer[np.ndarray, "*#shape"]
) -> Float[np.ndarray, "*shape"]:
    """Divide where there is something to divide by; NaN elsewhere, without a warning."""
    fraction = np.full(part.shape, np.nan)
    np.divide(part, whole, out=fraction, where=whole > 0)
    return fraction
