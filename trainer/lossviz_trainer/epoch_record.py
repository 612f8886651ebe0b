"""What is recorded of an epoch: the counts of both splits, and the values of the columns.

Nothing here is reported or raised that is wrong with one part: it is handed back beside the
rest, for the recorder to report or to raise.
"""

import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.schema import FIXED_COLUMNS, SPLITS
from lossviz_trainer.counting import ConfusionCounter, Values, checked_counts
from lossviz_trainer.state import has_distributed

STANDARD_COLUMNS = (
    *FIXED_COLUMNS,
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "step_loss",
    "learning_rate",
    "weight_norm",
    "images_per_second",
)
"""What every recorded run has columns for; see lossviz_trainer.loop.SCALAR_COLUMNS."""

FILLED_IN = ("epoch", "attempt", "wall_time")
"""Columns whose values the loop does not give."""

Split: TypeAlias = Literal["train", "test"]
SplitCounts: TypeAlias = Values | tuple[Values, Values]
"""A confusion matrix of shape (C, C), true class by predicted class; or a *tuple* (labels,
predictions) as for `RunRecorder.count`."""

Scalar: TypeAlias = float | Tensor
"""A number, or a tensor that holds one."""

BothCounts: TypeAlias = Int64[np.ndarray, "split true predicted"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TakenCounts:
    """The counts of an epoch, and what was wrong with them."""

    counts: BothCounts
    errors: tuple[Exception, ...]
    """One for each split whose counts were not as they should be; those are left out."""
    num_outside: dict[str, int]
    """Examples left out by split, where there are any: of a label or a prediction that is no
    class."""


class EpochRecord:
    """What is known of the epoch under way, on one rank."""

    def __init__(self, num_classes: int) -> None:
        """Begin the first epoch now.

        Args:
            num_classes: Of the run.
        """
        self._model: weakref.ref[nn.Module] | None = None
        self._began = time.monotonic()
        self.expect(num_classes)

    def expect(self, num_classes: int) -> None:
        """Count other classes than so far; what was counted is forgotten.

        Args:
            num_classes: Of the run.
        """
        self._num_classes = num_classes
        self._counters = {split: ConfusionCounter(num_classes) for split in SPLITS}

    def measure(self, model: nn.Module) -> None:
        """Fill the norm of a model's weights in.

        Args:
            model: Unwrapped; only referred to weakly.
        """
        self._model = weakref.ref(model)

    def count(self, split: str, labels: Values, predictions: Values) -> None:
        """Count a batch; see `RunRecorder.count`.

        Args:
            split: "train" or "test".
            labels: Class numbers.
            predictions: Class numbers or logits.

        Raises:
            LossvizError: They do not fit, or there is no such split.
        """
        if split not in self._counters:
            raise LossvizError(f"a split is 'train' or 'test'; got {split!r}")
        self._counters[split].add(labels, predictions)

    def drop(self) -> None:
        """Forget what was counted, without waiting for the device."""
        for counter in self._counters.values():
            counter.drop()

    def take(self, given: Mapping[str, SplitCounts | None]) -> TakenCounts:
        """What was counted since the last time, and what is given besides.

        Whatever is wrong with it does not keep a rank from the sum over all of them, for which
        the others wait.

        Args:
            given: Counts by split, or None.

        Returns:
            The counts.
        """
        found: list[np.ndarray] = []
        errors: list[Exception] = []
        num_outside: dict[str, int] = {}
        for split in SPLITS:
            counter, value = self._counters[split], given[split]
            matrix = np.zeros((self._num_classes, self._num_classes), np.int64)
            try:
                if isinstance(value, tuple):
                    labels, predictions = cast("tuple[Values, Values]", value)
                    counter.add(labels, predictions)
                elif value is not None:
                    matrix = checked_counts(value, self._num_classes)
            except Exception as error:  # noqa: BLE001
                errors.append(error)
            counted, outside = counter.take()
            if outside:
                num_outside[split] = outside
            found.append(matrix + counted)
        return TakenCounts(
            counts=np.stack(found), errors=tuple(errors), num_outside=num_outside
        )

    def values(
        self, columns: Sequence[str], counts: BothCounts, given: Mapping[str, Scalar]
    ) -> tuple[dict[str, float], list[Exception]]:
        """The values of an epoch's columns, those that follow from something else filled in.

        Args:
            columns: Of the run.
            counts: Of the epoch, all ranks included.
            given: Values by column.

        Returns:
            Values by column, and why others were left out. The next epoch begins now.
        """
        found: dict[str, float] = {}
        errors: list[Exception] = []
        for name, value in given.items():
            try:
                found[name] = _number(name, value, columns)
            except Exception as error:  # noqa: BLE001
                errors.append(error)
        if "weight_norm" in columns and "weight_norm" not in found:
            norm = self._weight_norm()
            if norm is not None:
                found["weight_norm"] = norm
        for name, matrix in zip(("train_accuracy", "test_accuracy"), counts, strict=True):
            if matrix.sum() and name in columns:
                found.setdefault(name, float(np.trace(matrix) / matrix.sum()))
        now = time.monotonic()
        found.setdefault("duration_s", now - self._began)
        self._began = now
        return found, errors

    def _weight_norm(self) -> float | None:
        """The norm of all parameters; None where the model is gone or lies on several ranks."""
        model = self._model() if self._model is not None else None
        if model is None or has_distributed(model):
            return None
        norms = [
            torch.linalg.vector_norm(p.detach(), dtype=torch.float64)
            for p in model.parameters()
            if p.is_floating_point() and not p.is_meta and p.numel()
        ]
        if not norms:
            return None
        squares = torch.stack([norm.to(norms[0].device).square() for norm in norms])
        return float(squares.sum().sqrt())


def _number(name: str, value: Scalar, columns: Sequence[str]) -> float:
    """The value of a column.

    Raises:
        LossvizError: The run has no such column to fill.
    """
    if name not in columns or name in FILLED_IN:
        raise LossvizError(
            f"the run has no column {name!r} to fill; name it in scalars=(...) when you create "
            "the run"
        )
    return float(value.detach() if isinstance(value, Tensor) else value)
