"""Which of several processes this is, and what they agree on."""

import os
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import distributed


def is_distributed() -> bool:
    """Whether this process belongs to a group of several."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def current_rank() -> int:
    """The rank of this process: of its group, or as `torchrun` says before there is one."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank()
    said = os.environ.get("RANK", "0")
    return int(said) if said.isdecimal() else 0


def summed(values: Int64[np.ndarray, "..."]) -> Int64[np.ndarray, "..."]:
    """The sum over all ranks, which must all call this together; on one rank the values."""
    if not is_distributed():
        return values
    # NCCL alone moves tensors of GPUs only; every other one also those of the host.
    needs_gpu = str(distributed.get_backend()) == "nccl"
    device = torch.device("cuda", torch.cuda.current_device()) if needs_gpu else "cpu"
    tensor = torch.from_numpy(values.copy()).to(device)
    reduce: Any = distributed.all_reduce
    reduce(tensor)
    return tensor.cpu().numpy()
