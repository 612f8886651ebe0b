"""`bench train`: the trainer's step beside the bare one."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import SGD

from lossviz_trainer.arithmetic import Arithmetic
from lossviz_trainer.bench.clock import Times, by_turns, seconds_of
from lossviz_trainer.bench.ground import Ground
from lossviz_trainer.bench.oracle import deviation
from lossviz_trainer.bench.report import Emit, Row
from lossviz_trainer.recipes import RECIPES, Recipe
from lossviz_trainer.step import TrainingStep

GATE_STEPS = 2
PLAIN = "plain"


def arithmetics(*, compiled: bool) -> dict[str, Arithmetic]:
    """What is measured, by name.

    Args:
        compiled: Whether steps are compiled as well.

    Returns:
        The arithmetics, the plain one first.
    """
    last = Arithmetic(channels_last=True)
    found = {
        PLAIN: Arithmetic(),
        "channels last": last,
        "channels last, bf16": Arithmetic(channels_last=True, amp="bf16"),
    }
    if compiled:
        found["channels last, compiled"] = Arithmetic(channels_last=True, compile=True)
    return found


def _recipe() -> Recipe:
    return RECIPES["big-lr"]


class BareStep:
    """The bound: slices of a resident tensor, forward, backward and update, nothing else."""

    def __init__(self, ground: Ground, arithmetic: Arithmetic) -> None:
        """Normalise and lay out all images beforehand.

        Args:
            ground: The problem.
            arithmetic: How it is computed.
        """
        recipe = _recipe()
        self._model = arithmetic.lay_out_(ground.model().train())
        self._optimiser = SGD(
            self._model.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        inputs = ground.examples.inputs(0, len(ground.examples), torch.float32)
        if arithmetic.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        self._inputs, self._labels = inputs, ground.examples.labels
        self._size = recipe.batch_size
        self._number = 0
        self._arithmetic = arithmetic
        self._loss: Callable[[Tensor, Tensor], Tensor] = self._plain_loss
        if arithmetic.compile:
            self._loss = torch.compile(self._plain_loss, dynamic=False)

    def _plain_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        with self._arithmetic.autocast(images.device):
            return functional.cross_entropy(self._model(images), labels)

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """The images and labels of a step."""
        start = number * self._size % max(1, len(self._labels) - self._size + 1)
        chosen = slice(start, start + self._size)
        return self._inputs[chosen], self._labels[chosen]

    def __call__(self) -> Tensor:
        """Take the next step; its loss."""
        images, labels = self.batch(self._number)
        self._number += 1
        loss = self._loss(images, labels)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        return loss.detach()


class OurStep:
    """A step of the trainer, with everything that belongs to it."""

    def __init__(self, ground: Ground, arithmetic: Arithmetic) -> None:
        """Make the trainer's step.

        Args:
            ground: The problem.
            arithmetic: How it is computed.
        """
        recipe = _recipe()
        self._size = recipe.batch_size
        self._step = TrainingStep(
            ground.model().train(), ground.examples, recipe, seed=0, arithmetic=arithmetic
        )
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(ground.examples), generator=generator)
        self._order = order.to(ground.device)
        self._number = 0

    def _chosen(self, number: int) -> Tensor:
        start = number * self._size % max(1, len(self._order) - self._size + 1)
        return self._order[start : start + self._size]

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """The images, cropped, flipped and normalised, and the labels of a step."""
        return self._step.batch(0, number, self._chosen(number))

    def __call__(self) -> Tensor:
        """Take the next step; its loss."""
        number, self._number = self._number, self._number + 1
        return self._step(0, number, self._chosen(number))


Step = BareStep | OurStep


def true_losses(ground: Ground, step: Step) -> list[float]:
    """The losses of the first steps in float64, on the batches that a contender takes.

    Args:
        ground: The problem.
        step: The contender, before its first step.

    Returns:
        One loss for each step of the gate: later ones tell of the updates before.
    """
    recipe = _recipe()
    model = ground.model().double().train()
    momenta = [torch.zeros_like(p) for p in model.parameters()]
    found: list[float] = []
    for number in range(GATE_STEPS):
        images, labels = step.batch(number)
        loss = functional.cross_entropy(model(images.double()), labels)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient, momentum in zip(
                model.parameters(), gradients, momenta, strict=True
            ):
                momentum.mul_(recipe.momentum).add_(gradient)
                momentum.add_(parameter, alpha=recipe.weight_decay)
                parameter.sub_(momentum, alpha=recipe.learning_rate)
        found.append(loss.item())
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ready:
    step: Step
    setup_seconds: float
    deviation: float


def _gated(ground: Ground, make: Callable[[], Step], arithmetic: Arithmetic) -> _Ready:
    """A step that has been made, tried and compared with the reference."""
    made: list[Step] = []
    setup = seconds_of(lambda: made.append(make()), ground.device)
    truths = true_losses(ground, made[0])
    losses: list[Tensor] = []
    setup += seconds_of(lambda: losses.append(made[0]()), ground.device)
    losses += [made[0]() for _ in truths[1:]]
    kind = "exact" if arithmetic.amp == "none" else "fast"
    pairs = zip(torch.stack(losses).tolist(), truths, strict=True)
    deviations = torch.tensor([deviation(found, true, kind) for found, true in pairs])
    return _Ready(step=made[0], setup_seconds=setup, deviation=float(deviations.max()))


def bench_train(
    ground: Ground, *, steps: int, repeats: int, compiled: bool, emit: Emit
) -> None:
    """Measure the steps of one network and say so.

    Args:
        ground: The problem.
        steps: In one turn.
        repeats: Turns of each contender.
        compiled: Whether compiled steps take part.
        emit: Takes each event.
    """
    ready: dict[str, _Ready] = {}
    for (how, arithmetic), (who, make) in itertools.product(
        arithmetics(compiled=compiled).items(), (("bare", BareStep), ("ours", OurStep))
    ):
        name = f"{who}, {how}"
        emit({"event": "progress", "what": f"{ground.net}, train: checking, {name}"})
        ready[name] = _gated(ground, partial(make, ground, arithmetic), arithmetic)
    times = by_turns(
        {
            name: partial(_take, one.step, steps)
            for name, one in ready.items()
            if one.deviation <= 1
        },
        repeats=repeats,
        device=ground.device,
        on_turn=lambda name, turn: emit(
            {
                "event": "progress",
                "what": f"{ground.net}, train: turn {turn + 1} of {repeats}, {name}",
            }
        ),
    )
    done = steps * min(_recipe().batch_size, len(ground.examples))
    for name, one in ready.items():
        emit(_row(ground.net, name, one, times, done).event())


def _take(step: Step, number: int) -> None:
    for _ in range(number):
        step()


def _row(net: str, name: str, one: _Ready, times: Mapping[str, Times], done: int) -> Row:
    time = times.get(name)
    bare = times.get(f"bare, {name.partition(', ')[2]}")
    plain = times.get(f"bare, {PLAIN}")
    return Row(
        table="train",
        net=net,
        name=name,
        is_right=time is not None,
        deviation=one.deviation,
        images_per_second=None if time is None else done / time.median,
        best_images_per_second=None if time is None else done / time.least,
        of_bound=None if time is None or bare is None else time.ratio_to(bare),
        of_peer=None if time is None or plain is None else time.ratio_to(plain),
        cpu_of_bound=None if time is None or bare is None else time.cpu_ratio_to(bare),
        cpu_of_peer=None if time is None or plain is None else time.cpu_ratio_to(plain),
        setup_seconds=one.setup_seconds,
    )
