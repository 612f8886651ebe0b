"""A model and its optimiser as a checkpoint, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.checkpoints import Checkpoint


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", copy=True).contiguous().numpy()


def capture(
    model: nn.Module,
    optimiser: SGD | None,
    *,
    epoch: int,
    step: int = 0,
    extra: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """The state of a model between two steps, copied to the host.

    Args:
        model: The model.
        optimiser: Its optimiser, or None to leave it out.
        epoch: Completed epochs.
        step: Steps into the next epoch.
        extra: JSON values to keep with it.

    Returns:
        The checkpoint.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    momenta: dict[str, np.ndarray] = {}
    if optimiser is not None:
        for name, parameter in named.items():
            buffer = optimiser.state.get(parameter, {}).get("momentum_buffer")
            if buffer is not None:
                momenta[f"{name}.momentum"] = _array(buffer)
    return Checkpoint(
        epoch=epoch,
        step=step,
        parameters={name: _array(p) for name, p in named.items()},
        buffers={name: _array(b) for name, b in model.named_buffers()},
        optimiser=momenta,
        extra=dict(extra or {}),
        framework=f"torch {torch.__version__}",
    )


@torch.no_grad()
def restore(model: nn.Module, content: Checkpoint, optimiser: SGD | None = None) -> None:
    """Put a checkpoint into a model, and its momenta into the optimiser.

    Args:
        model: A model of the same architecture, changed in place.
        content: The checkpoint.
        optimiser: The model's optimiser, or None.

    Raises:
        LossvizError: The checkpoint belongs to another architecture.
    """
    targets: dict[str, Tensor] = {n: p for n, p in model.named_parameters() if p.requires_grad}
    targets |= dict(model.named_buffers())
    sources = {**content.parameters, **content.buffers}
    if targets.keys() != sources.keys() or any(
        tuple(targets[name].shape) != sources[name].shape for name in targets
    ):
        raise LossvizError(
            "the checkpoint belongs to another architecture: its tensors are not the model's"
        )
    for name, target in targets.items():
        target.copy_(torch.from_numpy(sources[name].copy()))
    if optimiser is None:
        return
    for name, parameter in model.named_parameters():
        momentum = content.optimiser.get(f"{name}.momentum")
        if momentum is not None:
            optimiser.state[parameter]["momentum_buffer"] = torch.from_numpy(
                momentum.copy()
            ).to(parameter)
