"""Layout, precision and compiler of a run: what is chosen, and what becomes of accuracy."""

import copy
import dataclasses
import json
import logging
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from lossviz_trainer import daemon
from lossviz_trainer.arithmetic import Arithmetic, choose_arithmetic
from lossviz_trainer.evaluate import evaluate
from lossviz_trainer.recipes import resolve_recipe
from lossviz_trainer.resident import move_to_device
from lossviz_trainer.spec import TrainingSpec
from lossviz_trainer.state import capture, restore
from lossviz_trainer.step import EvaluatedModel, TrainingStep

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PLAIN = Arithmetic()
CHANNELS_LAST = Arithmetic(channels_last=True)
BF16 = Arithmetic(channels_last=True, amp="bf16")


def spec_of(**changes):
    return dataclasses.replace(TrainingSpec(run=Path("/x.zarr")), **changes)


@pytest.mark.parametrize(
    ("changes", "device", "expected"),
    [
        ({}, CPU, CHANNELS_LAST),
        ({}, CUDA, PLAIN),
        ({"amp": "bf16"}, CUDA, BF16),
        ({"amp": "bf16", "channels_last": False}, CUDA, Arithmetic(amp="bf16")),
        ({"channels_last": False}, CPU, PLAIN),
        ({"compile": True}, CPU, Arithmetic(channels_last=True, compile=True)),
    ],
)
def test_what_is_not_asked_for_goes_by_the_device(changes, device, expected):
    assert choose_arithmetic(spec_of(**changes), device) == expected


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_a_run_that_remembers_no_arithmetic_goes_on_in_the_plain_one(device):
    spec = spec_of(resume=True).with_settings({"device": "cpu"})
    assert choose_arithmetic(spec, device) == PLAIN


@pytest.mark.parametrize("first", [PLAIN, CHANNELS_LAST, BF16])
def test_a_resumed_run_keeps_its_arithmetic_on_any_device(first):
    asked = spec_of(channels_last=first.channels_last, amp=first.amp, compile=first.compile)
    remembered = json.loads(json.dumps(asked.settings()))
    again = spec_of(resume=True).with_settings(remembered)
    assert choose_arithmetic(again, CPU) == first
    assert choose_arithmetic(again, CUDA) == first


def recipe_of(**overrides):
    asked = {"batch_size": 32, "learning_rate": 0.02, "crop_padding": 2, **overrides}
    return resolve_recipe(
        "big-lr", model_name="mlp", overrides=asked, flip_is_label_preserving=False
    )


def trained(model, data, arithmetic, *, epochs, first_step=0):
    """A model after some epochs, and its step."""
    step = TrainingStep(model, data.train, recipe_of(), seed=1, arithmetic=arithmetic)
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(epoch)
        order = torch.randperm(len(data.train), generator=generator)
        model.train()
        for number, chosen in enumerate(order.split(32)):
            if epoch or number >= first_step:
                step(epoch, number, chosen)
    return step


@pytest.mark.slow
@pytest.mark.parametrize("arithmetic", [CHANNELS_LAST, BF16], ids=["channels last", "bf16"])
def test_other_arithmetics_train_to_the_same_accuracy(tiny, resident, arithmetic):
    def accuracy(how, seed):
        model = tiny(seed)
        trained(model, resident, how, epochs=3)
        return evaluate(EvaluatedModel(model, how), resident.test, micro_batch=200).accuracy

    plain = [accuracy(PLAIN, seed) for seed in range(3)]
    other = [accuracy(arithmetic, seed) for seed in range(3)]
    noise = max(plain) - min(plain)
    assert min(plain) > 0.85  # or they would agree on nothing
    assert abs(sum(other) - sum(plain)) / 3 <= max(noise, 0.01)


def test_a_step_is_the_one_of_the_recipe(tiny, resident):
    """Against the update written down by hand, in float64."""
    model = tiny(0)
    twin = copy.deepcopy(model).double().train()
    step = TrainingStep(model.train(), resident.train, recipe_of(), seed=1, arithmetic=PLAIN)
    chosen = torch.arange(40, 72)
    momenta = [torch.zeros_like(p) for p in twin.parameters()]
    for number in range(3):
        images, labels = step.batch(0, number, chosen)
        loss = functional.cross_entropy(twin(images.double()), labels)
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        with torch.no_grad():
            for p, g, m in zip(twin.parameters(), gradients, momenta, strict=True):
                m.mul_(0.9).add_(g + 5e-4 * p)
                p.sub_(0.02 * m)
        assert step(0, number, chosen).item() == pytest.approx(loss.item(), rel=1e-5)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("arithmetic", [PLAIN, CHANNELS_LAST, BF16])
def test_a_restored_step_goes_on_to_the_same_bits(tiny, some_digits, arithmetic):
    data = move_to_device(some_digits(200, 20), CPU)
    whole, part, again = tiny(3, 16), tiny(3, 16), tiny(4, 16)
    trained(whole, data, arithmetic, epochs=2)
    first = trained(part, data, arithmetic, epochs=1)
    content = capture(part, first.optimiser, epoch=1)
    second = TrainingStep(again, data.train, recipe_of(), seed=1, arithmetic=arithmetic)
    restore(again, content, second.optimiser)
    again.train()
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    for number, chosen in enumerate(order.split(32)):
        second(1, number, chosen)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_momenta_come_back_in_the_layout_of_their_parameters(tiny, some_digits):
    data = move_to_device(some_digits(64, 20), CPU)
    model = tiny(0, 16)
    step = trained(model, data, CHANNELS_LAST, epochs=1)
    again = TrainingStep(tiny(1, 16), data.train, recipe_of(), seed=1, arithmetic=CHANNELS_LAST)
    restore(again.model, capture(model, step.optimiser, epoch=1), again.optimiser)
    for old, new in zip(model.parameters(), again.model.parameters(), strict=True):
        before = step.optimiser.state[old]["momentum_buffer"]
        after = again.optimiser.state[new]["momentum_buffer"]
        assert after.stride() == before.stride() == old.stride()
        assert torch.equal(after, before)
    filters = next(again.model.parameters())
    assert filters.stride()[1] == 1  # the channels lie innermost


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler's own
def test_a_compiled_step_computes_the_same(tiny, some_digits, monkeypatch):
    """Captured and differentiated as ever; machine code is left to `bench train` to check."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    data = move_to_device(some_digits(64, 40), CPU)
    plain, compiled = tiny(0), tiny(0)
    trained(plain, data, CHANNELS_LAST, epochs=1)
    how = Arithmetic(channels_last=True, compile=True)
    trained(compiled, data, how, epochs=1)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
    found = [
        evaluate(EvaluatedModel(model, arithmetic), data.test, micro_batch=25)
        for model, arithmetic in ((plain, PLAIN), (compiled, how))
    ]
    assert found[1].loss == pytest.approx(found[0].loss, rel=1e-4)


def test_without_a_compiler_the_step_runs_uncompiled_and_says_so(monkeypatch, caplog):
    def no_compiler(*_arguments, **_options):
        raise RuntimeError("no working C++ compiler\nand a long story")

    monkeypatch.setattr(torch, "compile", no_compiler)
    with caplog.at_level(logging.WARNING):
        found = daemon._possible(Arithmetic(compile=True, amp="bf16"), CPU)
    assert found == Arithmetic(amp="bf16")
    assert "the step runs uncompiled: no working C++ compiler" in caplog.text
    assert "long story" not in caplog.text


def test_nobody_looks_for_a_compiler_who_needs_none(monkeypatch):
    monkeypatch.setattr(torch, "compile", None)
    assert daemon._possible(CHANNELS_LAST, CPU) == CHANNELS_LAST


def test_a_model_is_evaluated_in_the_precision_it_is_trained_in(tiny):
    seen = []

    class Watched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny(0)

        def forward(self, images):
            logits = self.inner(images)
            seen.append((logits.dtype, self.training))
            return logits

    images = torch.randn(2, 3, 32, 32)
    for arithmetic in (PLAIN, BF16):
        wrapped = EvaluatedModel(Watched(), arithmetic).eval()
        wrapped(images)
    assert seen == [(torch.float32, False), (torch.bfloat16, False)]
