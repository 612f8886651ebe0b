"""Only what gives the model's own logits is used, and what is used is said."""

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.weightspace import twins
from lossviz_analysis.weightspace.twins import Gate, choose_exact, choose_fast
from lossviz_analysis.weightspace.vector import MovableModel


def seeded(build) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().eval()


def small():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.BatchNorm2d(4),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


class Escaping(nn.Module):
    """Gets at its weights in a way that tracing does not see: they become constants."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 12))

    def forward(self, x):
        weight = dict(self.named_parameters())["weight"]
        return x.flatten(1) @ (weight * 1.0).T


class Viewing(nn.Module):
    """Common in old code, and not possible with the channels innermost."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.linear = nn.Linear(64, 5)

    def forward(self, x):
        x = self.norm(self.conv(x))
        return self.linear(x.view(x.size(0), -1))


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(108, 5)

    def forward(self, x):
        return self.linear(x.flatten(1) - x.flatten(1).mean(0))


def images(size=6):
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))


def chosen(model, sample, dtype=torch.float32):
    movable = MovableModel(model)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    choice = choose_exact(movable, Gate(movable, sample), dtype)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    return choice


def test_what_is_folded_and_how_is_said():
    choice = chosen(seeded(small), images())
    assert choice.twin is not None
    assert choice.description.startswith("1 of 2 batch norms folded, channels_last")


def test_weights_that_became_constants_are_noticed():
    choice = chosen(seeded(Escaping), images(2))
    assert choice.twin is None
    assert choice.description == "not folded: its graph gives other logits"


def test_a_model_that_needs_the_usual_layout_gets_it(capfd):
    choice = chosen(seeded(Viewing), images())
    assert choice.twin is not None
    assert choice.description == "1 batch norm folded"
    assert capfd.readouterr().err == ""  # what was tried in between is nobody's business


def test_a_diverged_model_is_evaluated_as_it_is():
    model = seeded(small)
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    movable = MovableModel(model)
    assert choose_exact(movable, Gate(movable, images()), torch.float32).twin is None


def test_whether_logits_depend_on_the_batch():
    for build, expected in ((small, True), (Mixing, False)):
        assert Gate(MovableModel(seeded(build)), images()).is_per_example is expected


@pytest.mark.parametrize(
    ("output", "what"), [(lambda x: (x, x), "tuple"), (lambda x: x[..., None], r"\(2, 12, 1\)")]
)
def test_a_model_without_logits_is_refused(output, what):
    class Other(nn.Flatten):
        def forward(self, input):  # noqa: A002 - as torch calls it
            return output(super().forward(input))

    model = nn.Sequential(nn.Linear(2, 2), Other())
    with pytest.raises(LossvizError, match=f"logits of shape .* it returned {what}"):
        Gate(MovableModel(model), images(2))


def unchanged(_module, _inputs, output: torch.Tensor):
    return output


def raised(_module, _inputs, output: torch.Tensor):
    return output + 1


def test_a_hook_of_the_whole_model_is_left_to_the_comparison():
    harmless, harmful = seeded(small), seeded(small)
    harmless.register_forward_hook(unchanged)
    harmful.register_forward_hook(raised)
    assert chosen(harmless, images()).twin is not None
    assert chosen(harmful, images()).twin is None


def ticking(*seconds):
    """A clock for which the n-th measurement takes as long as it is told."""
    times = itertools.accumulate(itertools.chain(*((0.0, s) for s in seconds)))
    return lambda: next(times)


def fast(clock, dtype=None):
    movable = MovableModel(seeded(small))
    return choose_fast(movable, Gate(movable, images()), clock=clock, dtype=dtype)


@pytest.mark.parametrize(("factor", "expected"), [(0.5, torch.bfloat16), (1.0, torch.float32)])
def test_fewer_bits_are_used_where_they_are_faster(monkeypatch, factor, expected):
    monkeypatch.setattr(twins, "_is_native", lambda dtype: dtype == torch.bfloat16)
    choice = fast(ticking(*[1.0] * 3, *[factor] * 3))
    assert choice.twin is not None
    assert choice.twin.dtype == expected
    assert ("bfloat16" in choice.description) == (expected == torch.bfloat16)
    assert ("fast is float32 here" in choice.description) == (expected == torch.float32)


def test_where_fast_is_exact_it_has_the_bits_of_exact():
    movable = MovableModel(seeded(small))
    assert choose_exact(movable, Gate(movable, images()), torch.float32).has_steady_bits
    assert fast(None).has_steady_bits


def test_without_a_clock_a_cpu_is_not_guessed_at():
    choice = fast(None)
    assert choice.twin is not None
    assert choice.twin.dtype == torch.float32
    assert "not timed" in choice.description


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_what_was_found_before_is_not_looked_for_again(dtype):
    choice = fast(ticking(), dtype)
    assert choice.twin is not None
    assert choice.twin.dtype == dtype


def test_fewer_bits_that_are_far_off_are_not_used(monkeypatch):
    monkeypatch.setattr(twins, "_is_native", lambda _dtype: True)
    monkeypatch.setitem(twins._TOLERANCES, torch.bfloat16, 1e-9)
    monkeypatch.setitem(twins._TOLERANCES, torch.float16, 1e-9)
    choice = fast(ticking(1.0, 1.0, 1.0))
    assert choice.twin is not None
    assert choice.twin.dtype == torch.float32
    assert "not close enough" in choice.description
