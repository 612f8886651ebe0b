"""Confusion counts, added up batch by batch where the batches are."""

from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import ArrayLike
from torch import Tensor

from lossviz_analysis.errors import LossvizError

Counts: TypeAlias = Int64[np.ndarray, "true predicted"]

Values: TypeAlias = Tensor | ArrayLike
"""A tensor of any device, an array, or nested lists of numbers."""


class ConfusionCounter:
    """Counts examples by true class and predicted class without waiting for the device."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        # Row by row, then one bin for the examples that belong nowhere; by device.
        self._bins: dict[torch.device, Tensor] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added since the last `take`."""
        return not self._bins

    def add(self, labels: Values, predictions: Values) -> None:
        """Count a batch, on the device of its tensors.

        An example whose label or prediction is no class goes to a bin of its own: on a GPU that
        is known only when the counts are taken.

        Args:
            labels: Class numbers of any shape.
            predictions: Class numbers of the same shape, or logits with the classes along one
                more dimension, the second: (N, C) for labels (N,).

        Raises:
            LossvizError: The shapes do not fit, or the labels are no class numbers.
        """
        num_classes = self._num_classes
        true, predicted = _on_one_device(as_tensor(labels), as_tensor(predictions))
        if true.is_floating_point() or true.is_complex():
            raise LossvizError(f"labels should be class numbers; got {true.dtype}")
        if predicted.dim() == true.dim() + 1:
            at = min(1, true.dim())
            if predicted.shape[at] != num_classes:
                raise LossvizError(
                    f"logits should have {num_classes} columns, one for each class; got shape "
                    f"{tuple(predicted.shape)}"
                )
            predicted = predicted.argmax(dim=at)
        elif predicted.is_floating_point() or predicted.is_complex():
            raise LossvizError(
                f"predictions should be class numbers, or logits of shape (N, {num_classes}); "
                f"got {predicted.dtype} of shape {tuple(predicted.shape)}"
            )
        if predicted.shape != true.shape:
            raise LossvizError(
                f"there should be one prediction for each label; got predictions of shape "
                f"{tuple(predicted.shape)} for labels of shape {tuple(true.shape)}"
            )
        true, predicted = true.reshape(-1).long(), predicted.reshape(-1).long()
        is_class = (true >= 0) & (true < num_classes)
        is_class &= (predicted >= 0) & (predicted < num_classes)
        index = torch.where(is_class, true * num_classes + predicted, num_classes**2)
        # Not torch.bincount: it waits for the device to learn the largest value.
        self._bins_on(index.device).scatter_add_(0, index, torch.ones_like(index))

    def take(self) -> tuple[Counts, int]:
        """The counts so far, after which counting begins anew.

        Returns:
            The counts, and how many examples had a label or a prediction that is no class.
        """
        total = np.zeros(self._num_classes**2 + 1, np.int64)
        for bins in self._bins.values():
            total += bins.cpu().numpy()
        self._bins = {}
        return total[:-1].reshape(self._num_classes, self._num_classes), int(total[-1])

    def drop(self) -> None:
        """Forget the counts so far, without waiting for the device."""
        self._bins = {}

    def _bins_on(self, device: torch.device) -> Tensor:
        if device not in self._bins:
            # A tensor made in inference mode could not be added to outside of it.
            with torch.inference_mode(mode=False):
                self._bins[device] = torch.zeros(
                    self._num_classes**2 + 1, dtype=torch.int64, device=device
                )
        return self._bins[device]


def as_tensor(values: Values) -> Tensor:
    """Values as a tensor that takes no part in differentiation, on their own device.

    Raises:
        LossvizError: They are no rectangular arrangement of numbers.
    """
    if isinstance(values, Tensor):
        return values.detach()
    try:
        # Through NumPy: torch would put lists on the user's default device.
        found = np.array(values, order="C")
        return torch.from_numpy(found if found.size else found.astype(np.int64))
    except (TypeError, ValueError) as error:
        raise LossvizError(f"expected an array of numbers: {error}") from None


def _on_one_device(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both tensors on the device of one of them: towards the accelerator, nobody waits."""
    if first.device == second.device:
        return first, second
    device = second.device if first.device.type == "cpu" else first.device
    return first.to(device, non_blocking=True), second.to(device, non_blocking=True)


def checked_counts(values: Values, num_classes: int) -> Counts:
    """A confusion matrix as it is stored.

    Args:
        values: Examples by true class (rows) and predicted class (columns).
        num_classes: How many rows and columns there should be.

    Returns:
        The counts.

    Raises:
        LossvizError: It has another shape, or entries that are no counts.
    """
    found = as_tensor(values).cpu().numpy()
    if found.shape != (num_classes, num_classes):
        raise LossvizError(
            f"a confusion matrix should have shape ({num_classes}, {num_classes}); "
            f"got {found.shape}"
        )
    with np.errstate(invalid="ignore"):
        counts = found.astype(np.int64)
    if not np.array_equal(counts, found) or counts.min() < 0:
        raise LossvizError("a confusion matrix should hold counts: whole numbers from 0 on")
    return counts
