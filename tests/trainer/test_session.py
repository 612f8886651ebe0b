"""What works beside the loop: the loss that is not waited for, and trouble said once."""

import logging
import math

import pytest
import torch

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.session import LossProbe, Reporter


@pytest.mark.parametrize(
    "loss",
    [1.5, torch.tensor(1.5), torch.tensor([[1.5]]), torch.tensor(1.5, requires_grad=True) * 1],
)
def test_a_loss_on_the_host_is_read_at_once(loss):
    assert LossProbe().read(loss) == 1.5


def test_a_loss_is_one_number():
    with pytest.raises(LossvizError, match="one number"):
        LossProbe().read(torch.ones(2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_loss_on_a_gpu_arrives_without_being_waited_for(wait_for):
    probe, loss = LossProbe(), torch.tensor(2.5, device="cuda")
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert math.isnan(probe.read(loss))
        wait_for(lambda: probe.read(loss) == 2.5, "the loss arrives")
        loss += 1  # what was copied is what it was then
        wait_for(lambda: probe.read(loss) == 3.5, "the next one arrives")
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_loss_is_let_be_while_a_graph_is_captured():
    probe, values = LossProbe(), torch.ones(4, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = values.sum()
        probe.read(loss)
    graph.replay()
    assert loss.item() == 4


def test_trouble_that_differs_in_numbers_is_the_same_trouble(caplog):
    reporter = Reporter()
    with caplog.at_level(logging.WARNING, "lossviz_trainer"):
        for number in range(5):
            reporter.say("x", f"{number} records wait")
            reporter.say_error("x", ValueError(f"bad {number}\nsecond line"))
        reporter.say("y", "3 records wait")
    assert [r.getMessage() for r in caplog.records] == [
        "lossviz: x: 0 records wait",
        "lossviz: x: ValueError: bad 0",
        "lossviz: y: 3 records wait",
    ]
    # What is not the user's doing comes with its traceback.
    assert [r.exc_info is not None for r in caplog.records] == [False, True, False]
