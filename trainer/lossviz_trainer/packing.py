"""Tensors of any type as NumPy arrays, and state dicts of any nesting as JSON and arrays.

No pickle: reading a checkpoint back builds plain values and tensors, and executes nothing.
"""

import base64
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from lossviz_analysis.errors import LossvizError

Json: TypeAlias = Any
"""What `json.dumps` takes without NaN: None, booleans, numbers, texts, lists, dicts by text."""

State: TypeAlias = Any
"""What a state dict may hold."""

_NUMPY_HAS = frozenset(
    {
        torch.float16,
        torch.float32,
        torch.float64,
        torch.uint8,
        torch.uint16,
        torch.uint32,
        torch.uint64,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.bool,
    }
)
_BITS = {1: torch.uint8, 2: torch.uint16, 8: torch.uint64}


def dtype_name(dtype: torch.dtype) -> str:
    """The name of a dtype, such as "bfloat16"."""
    return str(dtype).removeprefix("torch.")


def dtype_named(name: str) -> torch.dtype:
    """The dtype of that name.

    Raises:
        LossvizError: This version of torch has no such dtype.
    """
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise LossvizError(f"this version of torch has no data type {name!r}")
    return found


def to_array(tensor: Tensor, *, wait: bool = True) -> tuple[np.ndarray, str]:
    """A copy of a tensor on the host; what is done to the tensor afterwards does not reach it.

    A tensor that is distributed over ranks is gathered, which all its ranks must take part in.

    Args:
        tensor: A dense tensor of any device, dtype and stride.
        wait: Whether the copy is there on return; if not, a CUDA device makes it in its turn,
            before whatever it is given to do afterwards.

    Returns:
        A C-contiguous array of the same shape, and the name of the tensor's dtype where NumPy
        has none such: the array then holds the raw bits as unsigned integers. "" otherwise.

    Raises:
        LossvizError: It is sparse, quantised, without storage, or of a dtype nobody can store.
    """
    gather = getattr(tensor, "full_tensor", None)
    whole = cast("Tensor", gather()) if gather is not None else tensor
    if whole.is_meta or is_lazy(whole):
        raise LossvizError("a tensor without values (meta or lazy) cannot be stored")
    if whole.layout != torch.strided or whole.is_quantized or whole.is_nested:
        raise LossvizError(
            f"a tensor of layout {whole.layout} and type {dtype_name(whole.dtype)} cannot be "
            "stored; only dense ones can"
        )
    is_known = whole.dtype in _NUMPY_HAS
    bits = whole.dtype if is_known else _BITS.get(whole.dtype.itemsize)
    if bits is None:
        raise LossvizError(f"a tensor of type {dtype_name(whole.dtype)} cannot be stored")
    # The device is named: the user may have set another one as the default.
    # Only into pinned memory does a device copy while the host goes on.
    is_pinned = not wait and whole.is_cuda
    host = torch.empty(whole.shape, dtype=whole.dtype, device="cpu", pin_memory=is_pinned)
    host.copy_(whole.detach(), non_blocking=is_pinned)
    return host.view(bits).numpy(), "" if is_known else dtype_name(whole.dtype)


def to_tensor(array: np.ndarray, view: str = "") -> Tensor:
    """The tensor `to_array` was given, on the CPU, sharing nothing with the array.

    Args:
        array: Values, or raw bits.
        view: The dtype whose bits they are; "" for values.

    Returns:
        The tensor.

    Raises:
        LossvizError: This version of torch has no such dtype, or one of another width.
    """
    found = torch.from_numpy(np.array(array, order="C"))
    if not view:
        return found
    dtype = dtype_named(view)
    if dtype.itemsize != found.dtype.itemsize:
        raise LossvizError(f"{dtype_name(found.dtype)} does not hold the bits of {view}")
    return found.view(dtype)


class Packer:
    """Collects the arrays of one checkpoint under distinct names."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.views: dict[str, str] = {}
        self._names: dict[tuple[Any, ...], str] = {}
        # A tensor that is gone could lend its address to the next one.
        self._seen: list[Tensor] = []

    def pack(self, value: object, path: str) -> Json:
        """Turn a value into JSON; its arrays are kept here, each under its path.

        Args:
            value: None, numbers, texts, bytes, tensors, arrays, dtypes, devices, and lists,
                tuples, sets, deques, dicts and counters of such.
            path: What to call it.

        Returns:
            JSON.

        Raises:
            LossvizError: It holds something else, which only pickle could store.
        """
        try:
            return self._pack(value, path)
        except RecursionError:
            raise LossvizError(f"{path} contains itself, so it cannot be stored") from None

    def _pack(self, value: object, path: str) -> Json:
        match value:
            case None | bool() | str():
                return value
            case Tensor():
                return self._pack_tensor(value, path)
            case np.generic():
                return {"scalar": self._keep(np.asarray(value), path)}
            case np.ndarray():
                return {"array": self._keep(value.copy(), path)}
            case int():
                return int(value)
            case float():
                return float(value) if math.isfinite(value) else {"float": str(value)}
            case complex():
                return {
                    "complex": [self._pack(part, path) for part in (value.real, value.imag)]
                }
            case bytes() | bytearray():
                return {"bytes": base64.b64encode(value).decode()}
            case torch.dtype():
                return {"dtype": dtype_name(value)}
            case torch.device():
                return {"device": str(value)}
            case _:
                return self._pack_container(value, path)

    def _pack_container(self, value: object, path: str) -> Json:
        match value:
            case Mapping():
                kind = "dict"
                if isinstance(value, OrderedDict):
                    kind = "ordered"
                elif isinstance(value, Counter):
                    kind = "counter"
                pairs = cast("Mapping[object, object]", value).items()
                return {
                    kind: [
                        [self._pack(key, path), self._pack(item, f"{path}/{key}")]
                        for key, item in pairs
                    ]
                }
            case list() | tuple() | set() | frozenset() | deque():
                items = [
                    self._pack(item, f"{path}/{k}")
                    for k, item in enumerate(cast("list[object]", value))
                ]
                if isinstance(value, list):
                    return items
                if isinstance(value, deque):
                    return {"deque": [items, value.maxlen]}
                if isinstance(value, torch.Size):
                    return {"size": items}
                return {"tuple" if isinstance(value, tuple) else "set": items}
            case _:
                raise LossvizError(
                    f"{path} is a {type(value).__name__}, which cannot be stored without pickle"
                )

    def _pack_tensor(self, tensor: Tensor, path: str) -> Json:
        # A learning rate kept as a tensor must come back to its device; large state is moved
        # by the optimiser itself.
        where = {"device": str(tensor.device)} if _is_small_and_away(tensor) else {}
        return {"tensor": self._tensor(tensor, path)} | where

    def _tensor(self, tensor: Tensor, path: str) -> str:
        key = storage_key(tensor)
        if key in self._names:
            return self._names[key]
        try:
            array, view = to_array(tensor)
        except LossvizError as error:
            raise LossvizError(f"{path}: {error}") from None
        name = self._keep(array, path)
        if view:
            self.views[name] = view
        self._names[key] = name
        self._seen.append(tensor)
        return name

    def _keep(self, array: np.ndarray, path: str) -> str:
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise LossvizError(f"{path} is an array of {array.dtype}, which cannot be stored")
        name = path
        while name in self.arrays:
            name += "'"
        self.arrays[name] = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return name


def _is_small_and_away(tensor: Tensor) -> bool:
    return tensor.dim() == 0 and tensor.device.type != "cpu"


def storage_key(tensor: Tensor) -> tuple[Any, ...]:
    """What two tensors share that are the same values in the same memory, seen the same way.

    Args:
        tensor: Kept alive by the caller as long as keys are compared.

    Returns:
        Something to compare and to hash.
    """
    if type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.layout != torch.strided:
        return (id(tensor),)
    address = tensor.data_ptr() if tensor.numel() and not tensor.is_meta else 0
    if not address:
        return (id(tensor),)
    return (address, tensor.device, tensor.dtype, tensor.shape, tensor.stride())


def unpack(packed: Json, arrays: Mapping[str, np.ndarray], views: Mapping[str, str]) -> State:
    """What `Packer.pack` was given, tensors on the CPU.

    Args:
        packed: JSON, perhaps a stranger's.
        arrays: By name.
        views: Names of dtypes, by the name of the array.

    Returns:
        The value; nothing in it shares memory with the arrays.

    Raises:
        LossvizError: It is not what `Packer.pack` makes.
    """
    try:
        return _unpack(packed, arrays, views)
    except (LookupError, TypeError, ValueError, OverflowError, RuntimeError):
        raise LossvizError("the checkpoint holds state that is not well-formed") from None


def _unpack(packed: Json, arrays: Mapping[str, np.ndarray], views: Mapping[str, str]) -> State:
    if packed is None or isinstance(packed, bool | int | float | str):
        return packed
    if isinstance(packed, list):
        return [_unpack(item, arrays, views) for item in cast("list[Json]", packed)]
    found: dict[str, Json] = dict(packed)
    device = found.pop("device", None) if "tensor" in found else None
    ((kind, content),) = found.items()

    def items() -> list[Any]:
        return [_unpack(item, arrays, views) for item in content]

    match kind:
        case "tensor":
            tensor = to_tensor(arrays[content], views.get(content, ""))
            return tensor if device is None else _moved(tensor, str(device))
        case "array":
            return np.array(arrays[content])
        case "scalar":
            return arrays[content][()]
        case "float":
            return float(content)
        case "complex":
            return complex(*items())
        case "bytes":
            return base64.b64decode(content, validate=True)
        case "dtype":
            return dtype_named(content)
        case "device":
            return torch.device(content)
        case "tuple":
            return tuple(items())
        case "set":
            return set(items())
        case "size":
            return torch.Size(items())
        case "deque":
            return deque(_unpack(content[0], arrays, views), content[1])
        case "dict" | "ordered" | "counter":
            pairs: list[tuple[Any, Any]] = [(key, item) for key, item in items()]
            made = {"dict": dict, "ordered": OrderedDict, "counter": Counter}[kind]
            return made(dict(pairs))
        case _:
            raise ValueError


def _moved(tensor: Tensor, device: str) -> Tensor:
    try:
        return tensor.to(device)
    except (RuntimeError, AssertionError):
        return tensor  # that device is not here
