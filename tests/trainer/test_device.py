"""Devices by name; float32 means float32 on all of them."""

from typing import Any

import pytest
import torch

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.device import choose_device, micro_batch_for


@pytest.fixture(autouse=True)
def flags_as_they_were():
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
    yield
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before


def test_auto_is_cuda_where_there_is_one(monkeypatch):
    for present, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda answer=present: answer)
        assert choose_device("auto").type == kind


def test_cpu_is_always_there():
    assert choose_device("cpu") == torch.device("cpu")


def test_a_gpu_by_number_is_taken_where_there_are_enough(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert choose_device("cuda") == torch.device("cuda")
    assert choose_device("cuda:2") == torch.device("cuda:2")
    with pytest.raises(LossvizError, match=r"'cuda:3' is not here: .* shows 3 GPUs"):
        choose_device("cuda:3")


# torch.device wraps indices around at 128 and takes cuda:255 for cuda.
@pytest.mark.parametrize("wanted", ["cuda:63", "cuda:128", "cuda:200", "cuda:255", "cuda:256"])
def test_a_gpu_that_is_not_there_is_refused(monkeypatch, wanted):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(LossvizError, match="is not here"):
        choose_device(wanted)


@pytest.mark.parametrize("wanted", ["", "gpu", "mps", "meta", "cuda:", "cuda:-1", "cuda:x"])
def test_other_words_are_refused_by_name(wanted):
    with pytest.raises(LossvizError, match="auto, cpu, cuda or cuda:N") as caught:
        choose_device(wanted)
    assert repr(wanted) in str(caught.value)


def test_tensor_float_32_is_off_afterwards():
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    choose_device("cpu")
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def test_a_cpu_gets_smaller_batches():
    cpu, cuda = (micro_batch_for(torch.device(kind)) for kind in ("cpu", "cuda"))
    assert 1 <= cpu < cuda
