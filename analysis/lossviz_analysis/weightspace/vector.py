"""All trainable parameters as one vector, and a model that can be moved through it."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

Vector = Float[Tensor, " parameters"]


@dataclass(frozen=True)
class Slot:
    """Where one parameter tensor lies in the vector."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def stop(self) -> int:
        """Position after its last value."""
        return self.offset + prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The order of the parameter tensors in the vector: that of `named_parameters`."""

    slots: tuple[Slot, ...]

    @classmethod
    def of(cls, model: nn.Module) -> "Layout":
        """The layout of a model's trainable parameters; only they move in a scan."""
        slots: list[Slot] = []
        offset = 0
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                slots.append(Slot(name, tuple(parameter.shape), offset))
                offset = slots[-1].stop
        return cls(tuple(slots))

    @property
    def length(self) -> int:
        """Number of values in the vector."""
        return self.slots[-1].stop if self.slots else 0

    def views(self, vector: Tensor) -> Iterable[tuple[Slot, Tensor]]:
        """Each tensor as a view into the vector, in order.

        Args:
            vector: A vector of this layout.

        Yields:
            The slot and the view, in the parameter's own shape.
        """
        for slot in self.slots:
            yield slot, vector[slot.offset : slot.stop].view(slot.shape)


def flatten(model: nn.Module) -> Vector:
    """The trainable parameters of a model as one new vector."""
    parts = [p.detach().reshape(-1) for p in model.parameters() if p.requires_grad]
    return torch.cat(parts)


class MovableModel:
    """A model whose trainable parameters are views into one vector, moved in place.

    A point is always computed from the base, never from the point before, so that the same
    coordinates give the same bits whatever was visited in between.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.layout = Layout.of(model)
        self.base: Vector = flatten(model).clone()
        self._weights = self.base.clone()
        views = {slot.name: view for slot, view in self.layout.views(self._weights)}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.data = views[name]

    def move_to(
        self,
        directions: tuple[Tensor, ...],
        coordinates: tuple[float, ...],
        *,
        leave: Slot | None = None,
    ) -> None:
        """Set the weights to base + sum of coordinate times direction.

        Args:
            directions: Vectors of this model's layout.
            coordinates: One number for each direction.
            leave: A tensor that is not needed at this point and stays where it is.
        """
        spans = (slice(None),)
        if leave is not None:
            spans = slice(0, leave.offset), slice(leave.stop, None)
        for span in spans:
            weights = self._weights[span].copy_(self.base[span])
            for direction, coordinate in zip(directions, coordinates, strict=True):
                # At the origin the base comes back to the bit, also along a direction that is
                # not finite.
                if coordinate != 0.0:
                    weights.add_(direction[span], alpha=coordinate)
