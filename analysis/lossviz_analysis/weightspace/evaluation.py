"""What is measured at a point: per class, exact sums over examples."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lossviz_analysis.weightspace.examples import Examples

ClassSums = Float[Tensor, " slots"]
"""float64: 1 (chunks), then by true class seen, loss sum, squared-loss sum, mistakes,
non-finite losses, then the confusion matrix row by row where it is kept."""


def batches(span: range, micro_batch: int) -> Iterator[tuple[int, int]]:
    """Cut a range of examples into batches.

    Args:
        span: Which examples.
        micro_batch: Examples in one batch; the last may have fewer.

    Yields:
        Where each begins and ends.
    """
    for start in range(span.start, span.stop, micro_batch):
        yield start, min(start + micro_batch, span.stop)


@torch.no_grad()
def chunk_sums(
    model: nn.Module,
    examples: Examples,
    span: range,
    *,
    dtype: torch.dtype,
    micro_batch: int,
    with_confusion: bool,
) -> ClassSums:
    """Sums over one chunk of examples, left on the device.

    Cross-entropy is computed from the logits in float64, and all sums over the chunk are taken
    at once in float64, so that they do not depend on how the chunk is cut into batches.

    Args:
        model: In the mode it is to be evaluated in, with parameters of `dtype`.
        examples: The split.
        span: Which examples.
        dtype: Of the computation.
        micro_batch: Examples in one forward pass.
        with_confusion: Whether to keep the confusion matrix.

    Returns:
        The sums, see ClassSums. An example whose loss is not finite counts as such, adds
        nothing to the two loss sums, and still counts in the confusion matrix by its largest
        logit.
    """
    logits = torch.cat(
        [model(examples.inputs(a, b, dtype)) for a, b in batches(span, micro_batch)]
    )
    labels = examples.labels[span.start : span.stop]
    return class_sums(logits, labels, examples.num_classes, with_confusion=with_confusion)


def class_sums(
    logits: Float[Tensor, "examples classes"],
    labels: Int[Tensor, " examples"],
    num_classes: int,
    *,
    with_confusion: bool,
) -> ClassSums:
    """Sums over the examples of one chunk, left on the device, without waiting for it.

    Args:
        logits: Of any floating dtype; everything after them is float64.
        labels: The true classes.
        num_classes: Of the data.
        with_confusion: Whether to keep the confusion matrix.

    Returns:
        The sums, see ClassSums.
    """
    logits = logits.double()
    losses = functional.cross_entropy(logits, labels, reduction="none")
    finite = torch.isfinite(losses)
    losses = torch.where(finite, losses, torch.zeros_like(losses))
    predicted = logits.argmax(dim=1)
    per_example = torch.stack(
        [
            torch.ones_like(losses),
            losses,
            losses * losses,
            (predicted != labels).double(),
            (~finite).double(),
        ]
    )
    # One matrix product of fixed shape: index_add_ has no fixed order of summation on CUDA.
    membership = functional.one_hot(labels, num_classes).double()
    by_class = (per_example @ membership).flatten()
    parts = [torch.ones(1, dtype=torch.float64, device=losses.device), by_class]
    if with_confusion:
        parts.append(confusion_counts(labels, predicted, num_classes).double().flatten())
    return torch.cat(parts)


def confusion_counts(
    labels: Int[Tensor, " examples"], predicted: Int[Tensor, " examples"], num_classes: int
) -> Int[Tensor, "true predicted"]:
    """Examples counted by true class (rows) and predicted class (columns), on the device.

    Integers add up to the same in any order; `bincount` would wait for a GPU.
    """
    pairs = labels * num_classes + predicted
    counts = torch.zeros(num_classes**2, dtype=torch.int64, device=labels.device)
    counts.index_add_(0, pairs, torch.ones_like(pairs, dtype=torch.int64))
    return counts.reshape(num_classes, num_classes)
