"""A model and its optimiser as a checkpoint, and back."""

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim import SGD

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_trainer.packing import storage_key, to_array, to_tensor

_COMPILED = "_orig_mod"
_PARALLEL = (DataParallel, DistributedDataParallel)
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_NO_NAMES: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelState:
    """The tensors of a model, copied to the host."""

    parameters: dict[str, np.ndarray]
    """Trainable parameters in the model's order, each tensor once."""
    buffers: dict[str, np.ndarray]
    """Frozen parameters and persistent buffers."""
    views: dict[str, str]
    """See Checkpoint.views."""
    aliases: dict[str, str]
    """Further names of tensors that are stored under another one: tied weights."""
    others: dict[str, Any]
    """Entries of the state dict that are no tensors, such as a module's extra state."""


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside `torch.compile`, DistributedDataParallel and DataParallel."""
    while True:
        inner = getattr(model, _COMPILED, None)
        if isinstance(inner, nn.Module):
            model = inner
        elif isinstance(model, _PARALLEL):
            model = cast("nn.Module", model.module)
        else:
            return model


def plain_names(source: nn.Module | Collection[str]) -> dict[str, str]:
    """The names of a state dict without what wrappers add to them.

    Args:
        source: A model, already unwrapped on the outside, or the names of a state dict.

    Returns:
        The plain name of each name.
    """
    if isinstance(source, nn.Module):
        names: Collection[str] = source.state_dict(keep_vars=True)
        parallel = {
            f"{path}.module."
            for path, module in source.named_modules(remove_duplicate=False)
            if isinstance(module, _PARALLEL)
        }
        cut = {name: _without_parallel(name, parallel) for name in names}
    else:
        is_parallel = all(
            name.removeprefix(f"{_COMPILED}.")[:7] == "module." for name in source
        )
        cut = {
            name: name.removeprefix(f"{_COMPILED}.").removeprefix("module.")
            if is_parallel
            else name
            for name in source
        }
    return {
        name: ".".join(part for part in short.split(".") if part != _COMPILED)
        for name, short in cut.items()
    }


def _without_parallel(name: str, prefixes: Collection[str]) -> str:
    # Longest first, so that a cut does not hide the next one.
    for prefix in sorted(prefixes, key=len, reverse=True):
        if name.startswith(prefix):
            name = prefix.removesuffix("module.") + name[len(prefix) :]
    return name


def trainable_names(model: nn.Module) -> frozenset[str]:
    """Plain names of a model's trainable parameters, every name of a tied one."""
    inner = unwrapped(model)
    plain = plain_names(inner)
    return frozenset(
        plain[name]
        for name, parameter in inner.named_parameters(remove_duplicate=False)
        if parameter.requires_grad and name in plain
    )


def model_state(
    source: nn.Module | Mapping[str, Any],
    *,
    trainable: Collection[str] = _NO_NAMES,
    wait: bool = True,
) -> ModelState:
    """Copy the tensors of a model to the host.

    All ranks must call this together where tensors are distributed over them.

    Args:
        source: A model, or its state dict.
        trainable: For a state dict, the plain names of the trainable parameters; where none is
            given, those are the floating-point tensors that are no batch-norm statistics.
        wait: Whether the copies are there on return; see `to_array`.

    Returns:
        The tensors by plain name.

    Raises:
        LossvizError: A tensor cannot be stored.
    """
    if isinstance(source, nn.Module):
        inner = unwrapped(source)
        entries: Mapping[str, Any] = inner.state_dict(keep_vars=True)
        plain = plain_names(inner)
        trainable = trainable_names(inner)
    else:
        entries, plain = source, plain_names(source)
        trainable = trainable or {
            plain[name]
            for name, value in entries.items()
            if isinstance(value, Tensor)
            and value.is_floating_point()
            and name.rpartition(".")[2] not in _STATISTICS
        }
    state = ModelState(parameters={}, buffers={}, views={}, aliases={}, others={})
    first_names: dict[tuple[Any, ...], str] = {}
    for name, value in entries.items():
        short = plain[name]
        if not isinstance(value, Tensor):
            state.others[short] = value
            continue
        key = storage_key(value)
        if key in first_names:
            state.aliases[short] = first_names[key]
            continue
        first_names[key] = short
        try:
            array, view = to_array(value, wait=wait)
        except LossvizError as error:
            raise LossvizError(f"tensor {short}: {error}") from None
        (state.parameters if short in trainable else state.buffers)[short] = array
        if view:
            state.views[short] = view
    return state


def load_model(
    model: nn.Module,
    content: Checkpoint,
    *,
    aliases: Mapping[str, str] | None = None,
    others: Mapping[str, Any] | None = None,
) -> None:
    """Put a checkpoint's tensors into a model, each cast to the type it has there.

    Args:
        model: A model of the same architecture, wrapped or not, changed in place.
        content: The checkpoint.
        aliases: Further names of stored tensors.
        others: Entries of the state dict that are no tensors.

    Raises:
        LossvizError: The checkpoint belongs to another architecture; nothing is changed.
    """
    inner = unwrapped(model)
    plain = plain_names(inner)
    entries: Mapping[str, Any] = inner.state_dict(keep_vars=True)
    stored = {**content.parameters, **content.buffers}
    names = {name: name for name in stored} | {
        alias: name for alias, name in (aliases or {}).items() if name in stored
    }
    wanted = {
        plain[name]: tuple(value.shape)
        for name, value in entries.items()
        if isinstance(value, Tensor)
    }
    missing = sorted(name for name in wanted if name not in names)
    unknown = sorted(stored.keys() - {names[name] for name in wanted if name in names})
    unequal = sorted(
        name
        for name in wanted.keys() & names.keys()
        if wanted[name] != stored[names[name]].shape
    )
    if missing or unknown or unequal:
        example = (missing or unknown or unequal)[0]
        raise LossvizError(
            "the checkpoint belongs to another architecture: its tensors are not the model's, "
            f"for example {example!r}"
        )
    loadable: dict[str, Any] = {}
    for name, value in entries.items():
        short = plain[name]
        if isinstance(value, Tensor):
            source = names[short]
            tensor = to_tensor(stored[source], content.views.get(source, ""))
            loadable[name] = like_distributed(tensor, value)
        else:
            loadable[name] = (others or {}).get(short, value)
    inner.load_state_dict(loadable)


def like_distributed(tensor: Tensor, target: Tensor) -> Tensor:
    """A whole tensor laid out over ranks as a target of the same shape is, if it is at all."""
    mesh = getattr(target, "device_mesh", None)
    if mesh is None or tensor.shape != target.shape:
        return tensor
    distributed: Any = importlib.import_module("torch.distributed.tensor")
    placements: Any = getattr(target, "placements", None)
    return distributed.distribute_tensor(tensor.to(mesh.device_type), mesh, placements)


def has_distributed(model: nn.Module | Mapping[str, Any]) -> bool:
    """Whether tensors of a model, or of a state dict, lie on several ranks."""
    found = model.parameters() if isinstance(model, nn.Module) else model.values()
    return any(hasattr(value, "full_tensor") for value in found)


def framework() -> str:
    """Name and version of what makes the tensors."""
    return f"torch {torch.__version__}"


def capture(
    model: nn.Module,
    optimiser: SGD | None,
    *,
    epoch: int,
    step: int = 0,
    extra: Mapping[str, Any] | None = None,
    wait: bool = True,
) -> Checkpoint:
    """The state of a model between two steps, copied to the host.

    Args:
        model: The model.
        optimiser: Its optimiser, or None to leave it out.
        epoch: Completed epochs.
        step: Steps into the next epoch.
        extra: JSON values to keep with it.
        wait: Whether its arrays are filled on return; if not, they are after `arrival`.

    Returns:
        The checkpoint.
    """
    state = model_state(model, wait=wait)
    momenta: dict[str, np.ndarray] = {}
    if optimiser is not None:
        for name, parameter in model.named_parameters():
            buffer = optimiser.state.get(parameter, {}).get("momentum_buffer")
            if buffer is not None:
                momenta[f"{name}.momentum"] = to_array(buffer, wait=wait)[0]
    return Checkpoint(
        epoch=epoch,
        step=step,
        parameters=state.parameters,
        buffers=state.buffers,
        optimiser=momenta,
        extra=dict(extra or {}),
        framework=framework(),
        views=state.views,
    )


def arrival(device: torch.device) -> Callable[[], object] | None:
    """What waits, on any thread, for all that a device has been given to do so far.

    Args:
        device: Where the state that is being copied lies.

    Returns:
        A function that returns once it is done; None where nothing is ever under way.
    """
    if device.type != "cuda":
        return None
    # A blocking event lets the waiting thread sleep; by default it would keep a core busy.
    event = torch.cuda.Event(blocking=True)
    event.record(torch.cuda.current_stream(device))
    return event.synchronize


def restore(model: nn.Module, content: Checkpoint, optimiser: SGD | None = None) -> None:
    """Put a checkpoint into a model, and its momenta into the optimiser.

    Args:
        model: A model of the same architecture, changed in place.
        content: The checkpoint.
        optimiser: The model's optimiser, or None.

    Raises:
        LossvizError: The checkpoint belongs to another architecture.
    """
    load_model(model, content)
    if optimiser is None:
        return
    for name, parameter in model.named_parameters():
        momentum = content.optimiser.get(f"{name}.momentum")
        if momentum is not None:
            # In the layout of the parameter: elsewhere the same update may round differently.
            buffer = torch.empty_like(parameter, requires_grad=False)
            optimiser.state[parameter]["momentum_buffer"] = buffer.copy_(to_tensor(momentum))
