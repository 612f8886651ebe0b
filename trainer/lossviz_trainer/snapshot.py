"""All that a training loop needs to go on to the same bits, as one checkpoint, and back.

Model tensors by their names; the state dicts of optimisers and schedulers, the states of the
random generators and what the user adds, as packed trees beside them.
"""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_trainer.packing import Json, Packer, State, unpack
from lossviz_trainer.state import framework, like_distributed, load_model, model_state


class Stateful(Protocol):
    """An optimiser, a scheduler, or anything else with a state dict."""

    def state_dict(self) -> dict[str, Any]:
        """Its state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Take a state over."""
        ...


Statefuls = Stateful | tuple[Stateful, ...] | list[Stateful]


@dataclass(frozen=True, kw_only=True)
class RestoredPosition:
    """Where a restored run stands."""

    epoch: int
    """Completed epochs."""
    step: int
    """Steps into the next epoch."""
    extra: Mapping[str, State] = field(default_factory=dict[str, State])
    """What was given to `save_checkpoint`."""


def take_snapshot(
    source: nn.Module | Mapping[str, Any],
    optimizer: Statefuls | None,
    scheduler: Statefuls | None,
    *,
    epoch: int,
    step: int,
    with_rng: bool,
    extra: Mapping[str, Any] | None,
    trainable: Collection[str],
) -> Checkpoint:
    """Copy the state of a training loop to the host.

    Args:
        source: The model, or its state dict.
        optimizer: Its optimiser, several, or None.
        scheduler: Its scheduler, several, or None.
        epoch: Completed epochs.
        step: Steps into the next epoch.
        with_rng: Whether to keep the states of the random generators.
        extra: What else to keep: nested numbers, texts, tensors and the like.
        trainable: Plain names of the trainable parameters, for a state dict.

    Returns:
        The checkpoint, which shares no memory with what it was taken from.

    Raises:
        LossvizError: Something cannot be stored.
    """
    state = model_state(source, trainable=trainable)
    packer = Packer()
    packed: dict[str, Json] = {
        "aliases": state.aliases,
        "others": packer.pack(state.others, "model"),
        "optimizer": packer.pack(_states(optimizer), "optimizer"),
        "scheduler": packer.pack(_states(scheduler), "scheduler"),
        "random": packer.pack(random_states() if with_rng else None, "random"),
        "extra": packer.pack(dict(extra or {}), "extra"),
    }
    if taken := packer.arrays.keys() & {*state.parameters, *state.buffers}:
        raise LossvizError(f"the model has a tensor of the name {min(taken)!r}; rename it")
    return Checkpoint(
        epoch=epoch,
        step=step,
        parameters=state.parameters,
        buffers=state.buffers,
        optimiser=packer.arrays,
        extra=packed,
        framework=framework(),
        views=state.views | packer.views,
    )


def load_snapshot_model(model: nn.Module, content: Checkpoint) -> None:
    """Put the tensors of a snapshot into a model.

    Args:
        model: Of the same architecture, changed in place.
        content: The snapshot.

    Raises:
        LossvizError: It belongs to another architecture, or is not well-formed.
    """
    others = _unpacked(content, "others")
    load_model(
        model,
        content,
        aliases=aliases_in(content),
        others=cast("dict[str, Any]", others) if isinstance(others, dict) else None,
    )


def aliases_in(content: Checkpoint) -> dict[str, str]:
    """Further names of the tensors of a snapshot."""
    found = content.extra.get("aliases")
    pairs = cast("dict[object, object]", found).items() if isinstance(found, dict) else ()
    return {str(alias): str(name) for alias, name in pairs}


def put_back(
    content: Checkpoint,
    model: nn.Module,
    optimizer: Statefuls | None,
    scheduler: Statefuls | None,
    *,
    with_rng: bool,
) -> RestoredPosition:
    """Bring a training loop to where a snapshot was taken.

    Args:
        content: The snapshot.
        model: Of the same architecture, changed in place.
        optimizer: Of the same kind, over the same parameters; None leaves it out.
        scheduler: Of the same kind; None leaves it out.
        with_rng: Whether to set the random generators, where the snapshot has their states.

    Returns:
        Where the loop stands.

    Raises:
        LossvizError: The snapshot does not fit, or is not well-formed.
    """
    states = {
        name: _unpacked(content, name) for name in ("optimizer", "scheduler", "random", "extra")
    }
    load_snapshot_model(model, content)
    _load_states(optimizer, states["optimizer"], "optimizer")
    _load_states(scheduler, states["scheduler"], "scheduler")
    if with_rng and states["random"] is not None:
        set_random_states(states["random"])
    extra = states["extra"]
    return RestoredPosition(
        epoch=content.epoch,
        step=content.step,
        extra=cast("dict[str, State]", extra) if isinstance(extra, dict) else {},
    )


def _unpacked(content: Checkpoint, name: str) -> State:
    return unpack(content.extra.get(name), content.optimiser, content.views)


def _listed(given: Statefuls | None) -> list[Stateful]:
    if given is None:
        return []
    return list(given) if isinstance(given, tuple | list) else [given]


def _states(given: Statefuls | None) -> list[dict[str, Any]]:
    return [one.state_dict() for one in _listed(given)]


def _load_states(given: Statefuls | None, states: State, what: str) -> None:
    receivers = _listed(given)
    if not receivers:
        return
    found = cast("list[Any]", states) if isinstance(states, list) else []
    if len(found) != len(receivers):
        raise LossvizError(
            f"the checkpoint holds the state of {len(found)} of what is given as {what}, "
            f"not of {len(receivers)}"
        )
    for receiver, state in zip(receivers, found, strict=True):
        if isinstance(receiver, torch.optim.Optimizer):
            _distribute(receiver, state)
        try:
            receiver.load_state_dict(state)
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise LossvizError(
                f"the state of the {what} in the checkpoint does not fit the one given: {error}"
            ) from error


def _distribute(optimizer: torch.optim.Optimizer, state: State) -> None:
    """Lay the state of distributed parameters out as they are, in place."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    by_number = state.get("state", {}) if isinstance(state, dict) else {}
    for number, parameter in enumerate(parameters):
        kept = by_number.get(number, {})
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.dim() > 0:
                kept[name] = like_distributed(value, parameter)


def random_states() -> dict[str, State]:
    """The states of the generators of torch (CPU and CUDA, where in use), NumPy and Python."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002
        "python": random.getstate(),
    }


def set_random_states(states: State) -> None:
    """Set the generators to states taken with `random_states`.

    Args:
        states: As returned there; those of absent CUDA devices are left out.

    Raises:
        LossvizError: They are not well-formed.
    """
    try:
        torch.set_rng_state(states["torch"])
        if states["cuda"] and torch.cuda.is_available():
            for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
                torch.cuda.set_rng_state(state, device)
        np.random.set_state(states["numpy"])  # noqa: NPY002
        random.setstate(states["python"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise LossvizError(
            f"the random states in the checkpoint are damaged: {error}"
        ) from None
