"""What a model does on a whole split: eval mode, no augmentation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from lossviz_analysis.weightspace.evaluation import chunk_sums
from lossviz_analysis.weightspace.examples import Examples


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Confusion counts and mean cross-entropy of one split."""

    counts: Int[np.ndarray, "true predicted"]
    loss: float
    """Mean cross-entropy; infinite if any example's is not finite."""

    @property
    def accuracy(self) -> float:
        """Share of examples called what they are."""
        return float(np.trace(self.counts) / self.counts.sum())


def evaluate(
    model: nn.Module,
    examples: Examples,
    *,
    micro_batch: int,
    on_chunk: Callable[[], None] | None = None,
) -> Evaluation:
    """Evaluate a model on every example of a split.

    Args:
        model: Left in eval mode.
        examples: The split.
        micro_batch: Examples in one forward pass.
        on_chunk: Called before each chunk, to show that this process lives.

    Returns:
        Counts and loss.
    """
    model.eval()
    num_classes = examples.num_classes
    sums: list[Tensor] = []
    for number in range(examples.num_chunks):
        if on_chunk is not None:
            on_chunk()
        sums.append(
            chunk_sums(
                model,
                examples,
                examples.chunk(number),
                dtype=torch.float32,
                micro_batch=micro_batch,
                with_confusion=True,
            )
        )
    found = torch.stack(sums).sum(dim=0).cpu().numpy()
    by_class = found[1 : 1 + 5 * num_classes].reshape(5, num_classes)
    nonfinite = by_class[4].sum()
    return Evaluation(
        counts=found[1 + 5 * num_classes :].reshape(num_classes, num_classes).astype(np.int64),
        loss=float(by_class[1].sum() / len(examples)) if nonfinite == 0 else float("inf"),
    )
