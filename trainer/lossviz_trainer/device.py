"""Which device computes, and with which arithmetic."""

import re

import torch

from lossviz_analysis.errors import LossvizError

MAX_DEVICES = 64


def choose_device(wanted: str) -> torch.device:
    """The device to compute on, with TensorFloat-32 switched off: float32 here means float32.

    Args:
        wanted: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.

    Returns:
        The device.

    Raises:
        LossvizError: There is no such device here.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Not parsed by torch.device alone: its indices wrap around at 128, and cuda:255 is cuda.
    named = re.fullmatch(r"cpu|cuda(?::(?P<index>[0-9]{1,9}))?", wanted)
    if named is None:
        raise LossvizError(f"device is auto, cpu, cuda or cuda:N; got {wanted!r}")
    if wanted != "cpu":
        present = torch.cuda.device_count()
        if int(named["index"] or 0) >= present:
            raise LossvizError(
                f"device {wanted!r} is not here: this machine shows {present} GPUs"
            )
    return torch.device(wanted)


def choose_devices(wanted: str) -> tuple[torch.device, ...]:
    """The devices that share a scan.

    Args:
        wanted: As `choose_device` takes it, or several of them with commas; one may be named
            more than once.

    Returns:
        One device for each process.

    Raises:
        LossvizError: One of them is not here, or there are too many.
    """
    words = [word.strip() for word in wanted.split(",")]
    if len(words) > MAX_DEVICES:
        raise LossvizError(f"at most {MAX_DEVICES} devices share a scan; got {len(words)}")
    return tuple(choose_device(word) for word in words)


def micro_batch_for(device: torch.device) -> int:
    """Examples in one forward pass; on a CPU large batches lose time in the allocator."""
    return 1_000 if device.type == "cuda" else 200
