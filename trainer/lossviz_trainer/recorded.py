"""The model and the data of a recorded run, as its factory makes them, ready to be scanned."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from lossviz_analysis.errors import LossvizError, describe
from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.weightspace.examples import Examples, balanced_order
from lossviz_trainer.factory import build, check_trust, reference_in
from lossviz_trainer.resident import ResidentData
from lossviz_trainer.snapshot import aliases_in, load_snapshot_model
from lossviz_trainer.state import plain_names, unwrapped

_PROBE = 2
"""Examples in the forward pass that shows what a model returns."""


@runtime_checkable
class _MapStyle(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...  # noqa: ANN401


@dataclass(frozen=True)
class CastFloats:
    """Gives a model its inputs in the dtype of the scan; integers, such as tokens, stay."""

    def __call__(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """Cast a batch."""
        return inputs.to(dtype) if inputs.is_floating_point() else inputs


@dataclass(frozen=True, eq=False)
class LabelledInputs:
    """One split on the host."""

    inputs: Tensor
    """As the model wants them, the examples along the first dimension."""
    labels: Tensor
    """int64, one class for each example."""


def _logits_alone(_model: nn.Module, _inputs: object, output: object) -> object:
    """A forward hook: the output's `logits` where it has any, else the output itself."""
    return getattr(output, "logits", output)


class RecordedProblem:
    """The model and the data of one recorded run."""

    def __init__(
        self, model: nn.Module, train: LabelledInputs, test: LabelledInputs, num_classes: int
    ) -> None:
        self._model = unwrapped(model)
        # Models of transformers return their logits in an object beside other things.
        self._model.register_forward_hook(_logits_alone)
        self._splits = {"train": train, "test": test}
        self._num_classes = num_classes
        self._is_probed = False

    def data(self, device: torch.device) -> ResidentData:
        """Both splits on a device, each in its fixed class-balanced order."""

        def resident(split: LabelledInputs) -> Examples:
            order = torch.from_numpy(balanced_order(split.labels.numpy()))
            return Examples(
                split.inputs[order].to(device),
                split.labels[order].to(device),
                CastFloats(),
                self._num_classes,
            )

        return ResidentData(
            train=resident(self._splits["train"]), test=resident(self._splits["test"])
        )

    def model(self, content: Checkpoint, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """The model at a checkpoint, in eval mode.

        Args:
            content: The checkpoint. Exactly the parameters that were trained are trainable.
            device: Where.
            dtype: Of its floating-point parameters and buffers.

        Returns:
            The model; the same object every time.

        Raises:
            LossvizError: The checkpoint belongs to another architecture, or the model does not
                turn the data into logits of the run's classes.
        """
        model = self._model.to(device, dtype).eval()
        load_snapshot_model(model, content)
        plain, aliases = plain_names(model), aliases_in(content)
        trainable: list[str] = []
        for name, parameter in model.named_parameters():
            short = plain.get(name, name)
            stored = aliases.get(short, short)
            parameter.requires_grad_(stored in content.parameters)
            if parameter.requires_grad:
                trainable.append(stored)
        if trainable != list(content.parameters):
            raise LossvizError(
                "the factory's model has its parameters in another order than the one that was "
                "trained, so they do not make the same vector"
            )
        self._probe(model, device, dtype)
        return model

    @torch.no_grad()
    def _probe(self, model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        if self._is_probed:
            return
        inputs = self._splits["train"].inputs[:_PROBE].to(device)
        try:
            found: object = model(CastFloats()(inputs, dtype))
        except Exception as error:
            raise LossvizError(
                "the factory's model does not take the factory's inputs of shape "
                f"{tuple(inputs.shape)}: {describe(error)}"
            ) from error
        wanted = (len(inputs), self._num_classes)
        if not isinstance(found, Tensor) or tuple(found.shape) != wanted:
            what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise LossvizError(
                f"the factory's model should return logits of shape {wanted}, one column for "
                f"each class of the run; it returned {what}"
            )
        self._is_probed = True


def build_recorded(run: Path, description: RunDescription, *, trust: bool) -> RecordedProblem:
    """Import and call the factory of a run, and check what it returns.

    Args:
        run: The run's folder.
        description: Its description.
        trust: Whether the user vouches for a run that carries no seal of theirs.

    Returns:
        The model and the data.

    Raises:
        LossvizError: The run names no factory, nobody vouches for it, it fails, or it returns
            something that cannot be scanned.
    """
    factory = reference_in(description)
    if not trust:
        check_trust(run, description)
    model, train, test = build(factory)
    if not isinstance(model, nn.Module):
        raise LossvizError(
            f"the factory {factory.name!r} should return a torch.nn.Module first; "
            f"it returned a {type(model).__name__}"
        )
    num_classes = description.num_classes
    return RecordedProblem(
        model,
        labelled_inputs(train, "training", num_classes),
        labelled_inputs(test, "test", num_classes),
        num_classes,
    )


def labelled_inputs(given: object, split: str, num_classes: int) -> LabelledInputs:
    """One split as two tensors.

    Args:
        given: A pair (inputs, labels) of tensors or arrays, or a map-style dataset of such
            pairs, one for each example.
        split: What to call it in a message.
        num_classes: Of the run.

    Returns:
        The tensors, on the CPU.

    Raises:
        LossvizError: It is neither, the inputs differ in shape, or the labels are no classes of
            the run.
    """
    found: Any = given.tensors if isinstance(given, TensorDataset) else given
    try:
        if not _is_pair(found):
            found = _collected(found, split)
        inputs, labels = (torch.as_tensor(part).detach().cpu() for part in found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise LossvizError(
            f"the factory's {split} data should be a pair of tensors or a dataset of "
            f"(input, label) with inputs of one shape: {error}"
        ) from None
    if labels.dim() != 1 or labels.is_floating_point() or labels.is_complex():
        raise LossvizError(
            f"the factory's {split} labels should be class numbers, one for each example; "
            f"got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    if len(labels) == 0 or inputs.dim() == 0 or len(inputs) != len(labels):
        raise LossvizError(
            f"the factory's {split} data should have one label for each input; got "
            f"{len(inputs) if inputs.dim() else 'no'} inputs and {len(labels)} labels"
        )
    labels = labels.long()
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise LossvizError(
            f"the factory's {split} labels should be from 0 to {num_classes - 1}; they are "
            f"from {int(labels.min())} to {int(labels.max())}"
        )
    return LabelledInputs(inputs, labels)


def _is_pair(found: object) -> bool:
    if not isinstance(found, tuple | list):
        return False
    parts = cast("Sequence[object]", found)
    return len(parts) == 2 and all(isinstance(part, Tensor | np.ndarray) for part in parts)


def _collected(found: object, split: str) -> tuple[Tensor, Tensor]:
    """Every example of a dataset.

    Raises:
        LossvizError: It has no length, or its examples are not pairs.
    """
    if not isinstance(found, _MapStyle):
        raise LossvizError(
            f"the factory's {split} data should be a pair of tensors or a dataset with a "
            f"length; got a {type(found).__name__}"
        )
    inputs: list[Tensor] = []
    labels: list[int] = []
    for k in range(len(found)):
        example: Any = found[k]
        if not isinstance(example, tuple | list) or len(cast("Sequence[Any]", example)) != 2:
            raise LossvizError(
                f"the factory's {split} data should hold pairs (input, label); example {k} is "
                f"a {type(example).__name__}"
            )
        inputs.append(torch.as_tensor(example[0]))
        labels.append(int(example[1]))
    if not inputs:
        raise LossvizError(f"the factory's {split} data should hold examples; it is empty")
    return torch.stack(inputs), torch.tensor(labels, device="cpu")
