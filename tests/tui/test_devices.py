"""Devices to choose from: what is there, and several together where they can share."""

import pytest

from lossviz_tui import devices
from lossviz_tui.devices import device_choices, num_gpus


@pytest.fixture
def dev(tmp_path, monkeypatch):
    """Another /dev, with so many GPUs."""

    def make(count):
        for name in (*(f"nvidia{k}" for k in range(count)), "nvidiactl", "nvidia-uvm", "null"):
            (tmp_path / name).touch()
        monkeypatch.setattr(devices, "Path", lambda _: tmp_path)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return make


def test_without_a_gpu_there_is_the_cpu(dev):
    dev(0)
    assert device_choices(several=True) == ("auto", "cpu")


def test_several_gpus_can_share_a_scan_but_not_a_training(dev):
    dev(3)
    assert device_choices(several=False) == ("auto", "cpu", "cuda:0", "cuda:1", "cuda:2")
    assert device_choices(several=True)[-2:] == ("cuda:0,cuda:1", "cuda:0,cuda:1,cuda:2")


@pytest.mark.parametrize(
    ("visible", "count"), [("", 0), ("5", 1), ("0, 1,2", 3), ("0,1,2,3,4", 4)]
)
def test_hidden_devices_are_not_offered(dev, monkeypatch, visible, count):
    dev(4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert num_gpus() == count


def test_where_devices_cannot_be_listed_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "Path", lambda _: tmp_path / "nowhere")
    assert num_gpus() == 0
