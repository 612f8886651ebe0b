"""What every contender is given: the same images, weights, directions and points."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional

from lossviz_analysis.weightspace.directions import gaussian_direction
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.normalise import normalise
from lossviz_analysis.weightspace.vector import MovableModel
from lossviz_trainer.models import build_model
from lossviz_trainer.resident import Normaliser

NUM_CLASSES = 10
_SIDE = 32
_MEAN, _STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
_STEPS, _BATCH = 12, 100
_MISLEADING = 0.2
_REACH = 0.5
"""Points lie within this distance of the origin along each direction."""

Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Ground:
    """A network with its data, and where in weight space it is to be evaluated."""

    net: str
    device: torch.device
    pixels: UInt8[np.ndarray, "images height width channels"]
    """As files on a disk hold them, for who loads them anew."""
    labels: Int64[np.ndarray, " images"]
    examples: Examples
    """The same images in the same order, on the device."""
    directions: tuple[Tensor, Tensor]
    points: tuple[Point, ...]
    origin: nn.Module
    """In eval mode; not to be changed."""

    def model(self) -> nn.Module:
        """A copy of the network at the origin, in eval mode."""
        return copy.deepcopy(self.origin)

    def movable(self) -> MovableModel:
        """A copy that can be moved."""
        return MovableModel(self.model())

    @property
    def normaliser(self) -> Normaliser:
        """What turns pixels into the network's input."""
        return Normaliser(_MEAN, _STD)


def lay_ground(
    net: str, *, images: int, points: int, device: torch.device, seed: int = 0
) -> Ground:
    """Make a problem on which speed can be measured without any download.

    Each class is a smooth pattern under noise, a fifth of the images mislead. The network is
    trained for a dozen steps, so that its losses differ from point to point and a wrong one is
    seen.

    Args:
        net: Name of the network.
        images: How many.
        points: Points of weight space.
        device: Where.
        seed: Of everything that is drawn.

    Returns:
        The problem.

    Raises:
        LossvizError: There is no such network.
    """
    model = build_model(net, NUM_CLASSES, seed=seed)
    pixels, labels = _patterns(images, np.random.default_rng(seed))
    stored = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    examples = Examples(
        stored.to(device),
        torch.from_numpy(labels).to(device),
        Normaliser(_MEAN, _STD),
        NUM_CLASSES,
    )
    _train_a_little(model.to(device), examples)
    movable = MovableModel(model)
    directions: list[Tensor] = []
    for number in range(2):
        raw = gaussian_direction(movable.layout, seed + number, dtype=torch.float32)
        directions.append(normalise(raw.to(device), movable.base, movable.layout, "filter"))
    drawn = np.random.default_rng(seed + 1).uniform(-_REACH, _REACH, (points, 2))
    return Ground(
        net=net,
        device=device,
        pixels=pixels,
        labels=labels,
        examples=examples,
        directions=(directions[0], directions[1]),
        points=tuple((float(a), float(b)) for a, b in drawn),
        origin=model,
    )


def _train_a_little(model: nn.Module, examples: Examples) -> None:
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    model.train()
    for step in range(_STEPS):
        start = step * _BATCH % (len(examples) - _BATCH + 1)
        logits = model(examples.inputs(start, start + _BATCH, torch.float32))
        loss = functional.cross_entropy(logits, examples.labels[start : start + _BATCH])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()


def _patterns(
    num_images: int, generator: np.random.Generator
) -> tuple[UInt8[np.ndarray, "images height width channels"], Int64[np.ndarray, " images"]]:
    labels = np.arange(num_images, dtype=np.int64) % NUM_CLASSES
    coarse = generator.uniform(40, 215, (NUM_CLASSES, 4, 4, 3))
    smooth = coarse.repeat(_SIDE // 4, axis=1).repeat(_SIDE // 4, axis=2)
    noise = generator.normal(0, 30, (num_images, _SIDE, _SIDE, 3))
    # Some images show another class, or losses would soon be too small to be compared.
    anything = generator.integers(0, NUM_CLASSES, num_images)
    shown = np.where(generator.random(num_images) < _MISLEADING, anything, labels)
    return np.clip(smooth[shown] + noise, 0, 255).astype(np.uint8), labels
