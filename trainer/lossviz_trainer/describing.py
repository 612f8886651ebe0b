"""What a recorded run says of itself, from what its user says of it."""

import importlib.metadata
import json
import math
import operator
import os
import platform
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.schema import RUN_SUFFIX


def run_path(path: str | os.PathLike[str]) -> Path:
    """The absolute path of a run, with `.zarr` appended where it is missing."""
    found = Path(path).expanduser().absolute()
    return found if found.suffix == RUN_SUFFIX else found.with_name(found.name + RUN_SUFFIX)


def names_of(class_names: Sequence[str] | int) -> tuple[str, ...]:
    """The names of the classes.

    Args:
        class_names: The names, or how many classes there are: they are then called 0, 1, ...

    Returns:
        The names.

    Raises:
        LossvizError: They are none, or not distinct.
    """
    if isinstance(class_names, int):
        class_names = [str(k) for k in range(class_names)]
    if isinstance(class_names, str):
        raise LossvizError(f"class_names should be a list of names; got {class_names!r}")
    names = tuple(str(name) for name in class_names)
    if not names or not all(names) or len(set(names)) < len(names):
        raise LossvizError("class_names should name at least one class, and each differently")
    return names


def whole(value: object, what: str) -> int:
    """A whole number from 0 on.

    Args:
        value: An integer of any kind.
        what: What to call it in a message.

    Returns:
        The number.

    Raises:
        LossvizError: It is none.
    """
    try:
        found = operator.index(cast("int", value))
    except TypeError:
        found = -1
    if found < 0:
        raise LossvizError(f"{what} should be a whole number from 0 on; got {value!r}")
    return found


def new_description(
    class_names: Sequence[str] | int,
    *,
    model: nn.Module | None,
    model_name: str | None,
    dataset_name: str,
    hyperparameters: Mapping[str, Any] | None,
    epochs: int | None,
    columns: Sequence[str],
) -> RunDescription:
    """What a new run without a factory is.

    Args:
        class_names: See `names_of`.
        model: What is trained, unwrapped.
        model_name: What to call it; by default the name of its class.
        dataset_name: What to call the data.
        hyperparameters: See `as_json`.
        epochs: How many the run is to have.
        columns: Names of the scalar columns; a repeated one counts once.

    Returns:
        The description.

    Raises:
        LossvizError: The names of the classes are none, or the number of epochs is none.
    """
    described: dict[str, Any] = {"name": model_name or "", "factory": ""}
    if model is not None:
        described["name"] = model_name or type(model).__name__
        described["num_parameters"] = sum(p.numel() for p in model.parameters())
    planned = {} if epochs is None else {"epochs": whole(epochs, "epochs")}
    return RunDescription(
        run_id=str(uuid.uuid4()),
        created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        class_names=names_of(class_names),
        scalar_columns=tuple(dict.fromkeys(columns)),
        model=described,
        dataset={"name": dataset_name},
        recipe=as_json(hyperparameters or {}) | planned,
        versions=versions(),
    )


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON; what it has no word for, such as a path or an infinity, becomes text."""
    try:
        found: Any = json.loads(json.dumps(dict(values), default=_in_json, skipkeys=True))
    except (TypeError, ValueError, RecursionError):
        found = {str(name): str(value) for name, value in values.items()}
    return cast("dict[str, Any]", _finite(found))


def _in_json(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray) and value.size == 1:
        return value.item()
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    return str(value)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_finite(item) for item in cast("list[object]", value)]
    return value


def versions() -> dict[str, Any]:
    """What a new run says of the software and the machine it is made with."""
    names = ("lossviz-tui", "torch", "numpy", "zarr")
    found: dict[str, Any] = {name: importlib.metadata.version(name) for name in names}
    return found | {"python": platform.python_version(), "host": socket.gethostname()}
