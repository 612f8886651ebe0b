"""A recorded run goes on: to the same bits, from its own checkpoints, and from no other's."""

import copy
import json
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from tests.trainer.recordings import NAMES, counts_of, model_of, rows_of, state_of
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import RunState
from lossviz_trainer import RunRecorder
from lossviz_trainer.loop import SCALAR_COLUMNS
from lossviz_trainer.packing import Packer, unpack
from lossviz_trainer.snapshot import random_states, set_random_states


def same_bits(first, second):
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(
            same_bits(first[k], second[k]) for k in first
        )
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same_bits, first, second))
    return first == second


def restored(run, *given):
    found = run.restore(*given)
    assert found is not None
    return found


def loop(path, epochs, *, stop_after=None):
    """Adam, a scheduler, dropout, batch norm, shuffling, and noise from NumPy.

    None from Python: in tests beartype draws from its generator whenever it checks a list.
    """
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    model = model_of()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, amsgrad=True)
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=2),
            torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 3], gamma=0.5),
        ],
        milestones=[2],
    )
    inputs = torch.randn(40, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(40) % 3
    shuffled = DataLoader(TensorDataset(inputs, labels), batch_size=8, shuffle=True)
    with RunRecorder.open(path, class_names=NAMES, model=model, strict=True) as run:
        start = run.restore(model, optimizer, scheduler=scheduler)
        best = start.extra["best"] if start else torch.tensor(math.inf)
        for epoch in range(start.epoch if start else 0, epochs):
            total = torch.zeros(())
            for batch, target in shuffled:
                noise = np.random.rand()  # noqa: NPY002
                loss = functional.cross_entropy(model(batch), target) * noise
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach()
                run.count("train", target, model(batch))
            scheduler.step()
            best = torch.minimum(best, total)
            run.log_epoch(epoch + 1, train_loss=total)
            run.save_checkpoint(
                model, optimizer, scheduler=scheduler, epoch=epoch + 1, extra={"best": best}
            )
            assert run.flush(30)
            if epoch + 1 == stop_after:
                break
    return model, optimizer, scheduler, best


@pytest.mark.parametrize("stop_after", [1, 3])
def test_an_interrupted_loop_goes_on_to_the_bits_of_an_uninterrupted_one(tmp_path, stop_after):
    straight = loop(tmp_path / "straight", 5)
    loop(tmp_path / "twice", 5, stop_after=stop_after)
    resumed = loop(tmp_path / "twice", 5)
    for one, other in zip(straight[:3], resumed[:3], strict=True):
        assert same_bits(one.state_dict(), other.state_dict())
    assert torch.equal(straight[3], resumed[3])
    first, second = (rows_of(tmp_path / f"{name}.zarr") for name in ("straight", "twice"))
    assert [r["train_loss"] for r in first] == [r["train_loss"] for r in second]
    assert [r["attempt"] for r in second] == [1] * stop_after + [2] * (5 - stop_after)
    one, other = (counts_of(tmp_path / f"{name}.zarr") for name in ("straight", "twice"))
    assert np.array_equal(one, other)


def test_without_the_random_states_it_would_go_on_to_other_bits(tmp_path, monkeypatch):
    # What makes the test above mean something.
    straight = loop(tmp_path / "straight", 3)
    loop(tmp_path / "twice", 3, stop_after=1)
    restore = RunRecorder.restore
    monkeypatch.setattr(
        RunRecorder, "restore", lambda *a, **k: restore(*a, **k, with_rng=False)
    )
    resumed = loop(tmp_path / "twice", 3)
    assert not same_bits(straight[0].state_dict(), resumed[0].state_dict())


def test_every_generator_goes_on_where_it_was():
    def draw():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()  # noqa: NPY002

    packer = Packer()
    packed = json.loads(json.dumps(packer.pack(random_states(), "random")))
    first = draw()
    assert draw() != first
    set_random_states(unpack(packed, packer.arrays, packer.views))
    assert draw() == first


def compiled(module) -> Any:
    return torch.compile(module)


# What torch.compile imports of torch 2.11 warns of itself.
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_wrappers_of_a_model_leave_no_trace(path):
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Linear(2, 2)
            self.head = nn.Linear(2, 3)

    model = Plain()
    wrapped = Plain()
    wrapped.encoder = compiled(wrapped.encoder)
    parallel = nn.DataParallel(compiled(wrapped))
    with RunRecorder.create(path, class_names=NAMES, strict=True) as run:
        run.save_checkpoint(parallel, epoch=1)
        run.flush()
        run.save_checkpoint(parallel.state_dict(), epoch=2)
        run.flush()
        assert restored(run, model).epoch == 2
    for number in (1, 2):
        content = RunReader(path).checkpoint(number)
        assert list(content.parameters) == [n for n, _ in model.named_parameters()]
    for (_, one), (_, other) in zip(
        model.named_parameters(), parallel.named_parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_tied_frozen_and_strided_tensors_of_every_type(path):
    class Odd(nn.Module):
        def __init__(self, seed):
            super().__init__()
            torch.manual_seed(seed)
            self.embed = nn.Embedding(5, 4)
            self.out = nn.Linear(4, 5, bias=False)
            self.out.weight = self.embed.weight
            self.sixteenth = nn.Parameter(torch.randn(3).bfloat16())
            self.frozen = nn.Parameter(torch.randn(2), requires_grad=False)
            self.strided = nn.Parameter(torch.randn(3, 4).T)
            self.register_buffer("eighth", torch.randn(3).to(torch.float8_e4m3fn))
            self.register_buffer("mask", torch.randn(3) > 0)
            self.register_buffer("wide", torch.randn(3).double())
            self.register_buffer("gone", torch.zeros(1), persistent=False)
            self.seen = seed

        def get_extra_state(self):
            return {"seen": self.seen}

        def set_extra_state(self, state):
            self.seen = state["seen"]

    model, other = Odd(0), Odd(1)
    with RunRecorder.create(path, class_names=NAMES, strict=True) as run:
        run.save_checkpoint(model, epoch=1)
        run.flush()
        run.restore(other)
    content = RunReader(path).checkpoint(1)
    assert list(content.parameters) == ["sixteenth", "strided", "embed.weight"]
    assert set(content.buffers) == {"frozen", "eighth", "mask", "wide"}
    assert content.views == {"sixteenth": "bfloat16", "eighth": "float8_e4m3fn"}
    assert content.extra["aliases"] == {"out.weight": "embed.weight"}
    assert other.out.weight is other.embed.weight
    assert other.seen == 0
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(tensor.float(), other.state_dict()[name].float()), name
            assert tensor.dtype == other.state_dict()[name].dtype


def test_a_checkpoint_is_of_the_moment_it_was_asked_for(path):
    model = model_of()
    before = copy.deepcopy(model.state_dict())
    with RunRecorder.create(path, class_names=NAMES, strict=True) as run:
        run.save_checkpoint(model, epoch=1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        run.flush()
        run.restore(model)
    assert same_bits(dict(before), dict(model.state_dict()))


def damage(path, number):
    folder = path / "checkpoints" / f"c{number:08d}"
    chunk = next(folder.glob("params_*/c.0"))
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(path, warned):
    model = model_of()
    with RunRecorder.create(path, class_names=NAMES) as run:
        for epoch in (1, 2):
            run.save_checkpoint(model, epoch=epoch)
            run.flush()
        damage(path, 2)
        assert restored(run, model).epoch == 1
        assert len(warned()) == 1
        damage(path, 1)
        with pytest.raises(LossvizError, match="damaged"):
            run.restore(model)


def test_another_architecture_is_refused_whatever_strict_says(path):
    with RunRecorder.create(path, class_names=NAMES) as run:
        run.save_checkpoint(model_of(), epoch=1)
        run.flush()
        with pytest.raises(LossvizError, match="another architecture"):
            run.restore(nn.Linear(4, 3))


def test_a_run_without_checkpoints_restores_nothing(path):
    with RunRecorder.create(path, class_names=NAMES, strict=True) as run:
        assert run.restore(model_of()) is None


def test_open_refuses_a_run_of_other_classes(path, warned):
    RunRecorder.create(path, class_names=NAMES).close()
    assert not RunRecorder.open(path, class_names=("a", "b")).is_recording
    assert "other classes" in warned()[0]


@pytest.mark.parametrize("make", ["create", "open"])
@pytest.mark.parametrize("classes", [3, 5])
def test_no_weights_are_taken_from_a_run_that_was_refused(path, make, classes):
    with RunRecorder.create(path, class_names=NAMES) as run:
        run.save_checkpoint(model_of(), epoch=1)
    model = nn.Linear(4, classes) if classes == 5 else model_of(1)
    before = copy.deepcopy(model.state_dict())
    with getattr(RunRecorder, make)(path, class_names=classes, model=model) as run:
        assert run.restore(model) is None
    assert same_bits(before, model.state_dict())


def test_weights_are_taken_from_a_run_that_is_only_held(path):
    with RunRecorder.create(path, class_names=NAMES) as run:
        run.save_checkpoint(model_of(), epoch=1)
        run.flush()
        other = RunRecorder.open(path, class_names=NAMES)
        assert not other.is_recording
        assert restored(other, model_of(1)).epoch == 1


def test_a_run_of_the_training_daemon_is_left_alone(path, warned):
    create_run(
        path,
        RunDescription(
            run_id="x",
            created_at="",
            class_names=NAMES,
            scalar_columns=SCALAR_COLUMNS,
            model={"name": "mlp"},
        ),
    )
    for make in (RunRecorder.resume, lambda p: RunRecorder.open(p, class_names=NAMES)):
        assert not make(path).is_recording
        assert "lossviz-tui train" in warned()[-1]
    assert RunReader(path).head().attempt == 0


def test_a_run_whose_epochs_are_done_stays_finished_when_it_is_opened_and_forgotten(path):
    with RunRecorder.create(path, class_names=NAMES, epochs=2) as run:
        run.log_epoch(2)
    run = RunRecorder.open(path, class_names=NAMES)
    del run
    assert state_of(path) == RunState.FINISHED
