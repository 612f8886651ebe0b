"""A model and its optimiser to a checkpoint and back: nothing is lost, nothing is shared."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.optim import SGD

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.writer import RunWriter
from lossviz_trainer.loop import SCALAR_COLUMNS
from lossviz_trainer.state import arrival, capture, restore


def sgd(model, momentum=0.9):
    return SGD(model.parameters(), lr=0.05, momentum=momentum, nesterov=momentum > 0)


def take_steps(model, optimiser, data, steps):
    model.train()
    for step in steps:
        part = slice(40 * step, 40 * (step + 1))
        inputs = data.train.inputs(part.start, part.stop, torch.float32)
        optimiser.zero_grad()
        functional.cross_entropy(model(inputs), data.train.labels[part]).backward()
        optimiser.step()


def everything_of(model, optimiser):
    found = {name: t.detach().numpy().copy() for name, t in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        found[f"{name} momentum"] = optimiser.state[parameter]["momentum_buffer"].numpy().copy()
    return found


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for name, values in first.items():
        assert values.dtype == second[name].dtype, name
        assert values.shape == second[name].shape, name
        assert values.tobytes() == second[name].tobytes(), name


@pytest.fixture
def trained(tiny, resident):
    model = tiny(0)
    optimiser = sgd(model)
    take_steps(model, optimiser, resident, range(3))
    return model, optimiser


def test_a_restored_model_and_optimiser_are_the_same_to_the_bit(trained, tiny):
    content = capture(*trained, epoch=3, step=2, extra={"seed": 5})
    assert (content.epoch, content.step, content.extra) == (3, 2, {"seed": 5})
    assert content.framework.startswith("torch ")
    other = tiny(1)
    optimiser = sgd(other)
    restore(other, content, optimiser)
    assert_same_bits(everything_of(*trained), everything_of(other, optimiser))


def test_statistics_and_their_count_of_batches_come_along(trained):
    content = capture(*trained, epoch=0)
    assert set(content.buffers) == {
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    }
    assert content.buffers["1.num_batches_tracked"] == 3
    assert content.buffers["1.num_batches_tracked"].dtype == np.int64


def test_training_goes_on_to_the_same_bits_through_a_store(trained, tiny, resident, tmp_path):
    path = tmp_path / "x.zarr"
    names = tuple("0123456789")
    create_run(
        path,
        RunDescription(
            run_id="x", created_at="", class_names=names, scalar_columns=SCALAR_COLUMNS
        ),
    )
    with RunWriter(path) as writer:
        number = writer.commit_checkpoint(capture(*trained, epoch=0, step=3)).number
    other = tiny(1)
    optimiser = sgd(other)
    restore(other, RunReader(path).checkpoint(number), optimiser)
    take_steps(trained[0], trained[1], resident, range(3, 6))
    take_steps(other, optimiser, resident, range(3, 6))
    assert_same_bits(everything_of(*trained), everything_of(other, optimiser))


def test_without_its_momentum_training_would_go_on_to_other_bits(trained, tiny, resident):
    # What makes the test above mean something.
    other = tiny(1)
    optimiser = sgd(other)
    restore(other, capture(trained[0], None, epoch=0))
    take_steps(trained[0], trained[1], resident, range(3, 6))
    take_steps(other, optimiser, resident, range(3, 6))
    first, second = (m[4].weight.detach() for m in (trained[0], other))
    assert not torch.equal(first, second)


def test_a_checkpoint_does_not_change_when_training_goes_on(trained, resident):
    content = capture(*trained, epoch=0)
    groups = (content.parameters, content.buffers, content.optimiser)
    before = [{name: values.copy() for name, values in group.items()} for group in groups]
    take_steps(trained[0], trained[1], resident, range(3, 5))
    for group, old in zip(groups, before, strict=True):
        assert_same_bits(old, group)


def test_a_checkpoint_that_nobody_waited_for_is_the_same_once_it_has_arrived(trained, resident):
    model, optimiser = trained
    waited = capture(model, optimiser, epoch=3)
    content = capture(model, optimiser, epoch=3, wait=False)
    wait = arrival(next(model.parameters()).device)
    assert wait is None  # on a CPU nothing is ever under way
    take_steps(model, optimiser, resident, range(3, 5))
    for group in ("parameters", "buffers", "optimiser"):
        assert_same_bits(getattr(content, group), getattr(waited, group))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_gpu_copies_a_checkpoint_before_what_it_does_next(tiny, memory_format):
    model = tiny(0, 512).to("cuda", memory_format=memory_format)
    expected = capture(model, None, epoch=0)
    busy = torch.randn(4_096, 4_096, device="cuda")
    torch.cuda.synchronize()
    for _ in range(50):
        busy = busy @ busy / 64
    torch.cuda.set_sync_debug_mode("error")
    try:
        content = capture(model, None, epoch=0, wait=False)
        wait = arrival(busy.device)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert wait is not None
    wait()
    assert_same_bits(content.parameters, expected.parameters)
    assert_same_bits(content.buffers, expected.buffers)


def test_a_restored_model_does_not_write_into_the_checkpoint(trained, tiny, resident):
    content = capture(*trained, epoch=0)
    before = {name: values.copy() for name, values in content.optimiser.items()}
    other = tiny(1)
    optimiser = sgd(other)
    restore(other, content, optimiser)
    take_steps(other, optimiser, resident, range(3))
    assert_same_bits(before, dict(content.optimiser))


def test_before_the_first_step_and_without_momentum_there_are_no_momenta(tiny, resident):
    fresh = tiny(0)
    assert capture(fresh, sgd(fresh), epoch=0).optimiser == {}
    plain = tiny(0)
    optimiser = sgd(plain, momentum=0.0)
    take_steps(plain, optimiser, resident, range(1))
    assert capture(plain, optimiser, epoch=0).optimiser == {}


def test_frozen_parameters_are_not_parameters_of_the_checkpoint(tiny):
    model = tiny(0)
    model[0].weight.requires_grad_(False)
    assert "0.weight" not in capture(model, None, epoch=0).parameters


@pytest.mark.parametrize("width", [5, 7])
def test_another_architecture_is_refused_and_nothing_is_changed(trained, tiny, width):
    other = tiny(1, width)
    before = {name: t.clone() for name, t in other.state_dict().items()}
    with pytest.raises(LossvizError, match="another architecture"):
        restore(other, capture(*trained, epoch=0))
    assert all(torch.equal(before[name], t) for name, t in other.state_dict().items())


def test_a_model_with_other_names_is_refused(trained, tiny):
    with pytest.raises(LossvizError, match="another architecture"):
        restore(torch.nn.Sequential(tiny(0)), capture(*trained, epoch=0))
