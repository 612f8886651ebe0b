"""One step of training, and the same model as it is evaluated: nothing waits for the device."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD

from lossviz_analysis.weightspace.examples import Examples
from lossviz_trainer.arithmetic import Arithmetic
from lossviz_trainer.augment import random_crop, random_flip
from lossviz_trainer.randomness import generator_for
from lossviz_trainer.recipes import Recipe


class TrainingStep:
    """A model, its optimiser and the batches of a split."""

    def __init__(
        self,
        model: nn.Module,
        train: Examples,
        recipe: Recipe,
        *,
        seed: int,
        arithmetic: Arithmetic,
    ) -> None:
        """Lay out the model and make its optimiser.

        Args:
            model: On the device of the examples; its filters are laid out in place.
            train: The training split.
            recipe: What a step does.
            seed: Of the augmentation.
            arithmetic: How it is computed.
        """
        self.model = arithmetic.lay_out_(model)
        self.optimiser = SGD(
            [p for p in model.parameters() if p.requires_grad],
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
        )
        self._train = train
        self._recipe = recipe
        self._seed = seed
        self._loss = _loss_of(model, arithmetic)

    def batch(self, epoch: int, step: int, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The input and the labels of a step: cropped, flipped and normalised.

        Args:
            epoch: Which epoch, from 0 on.
            step: Which step of it.
            chosen: Numbers of the examples, on their device.

        Returns:
            Images and labels.
        """
        recipe, train = self._recipe, self._train
        images = train.images[chosen]
        generator = generator_for(self._seed, epoch, step)
        if recipe.crop_padding > 0:
            images = random_crop(images, padding=recipe.crop_padding, generator=generator)
        if recipe.flip:
            images = random_flip(images, generator=generator)
        return train.prepare(images, torch.float32), train.labels[chosen]

    def __call__(self, epoch: int, step: int, chosen: Tensor) -> Tensor:
        """Take one step of SGD.

        Args:
            epoch: Which epoch, from 0 on.
            step: Which step of it.
            chosen: Numbers of the examples, on their device.

        Returns:
            The loss of the batch, on the device.
        """
        loss = self._loss(*self.batch(epoch, step, chosen))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.detach()


def _loss_of(model: nn.Module, arithmetic: Arithmetic) -> Callable[[Tensor, Tensor], Tensor]:
    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        with arithmetic.autocast(images.device):
            return functional.cross_entropy(model(images), labels)

    # One graph for each size of batch: with symbolic sizes, which graph a batch meets would
    # depend on the batches before it, and so would the bits of a resumed run.
    return torch.compile(loss_of, dynamic=False) if arithmetic.compile else loss_of


class EvaluatedModel(nn.Module):
    """A model as the evaluation after an epoch calls it, in the arithmetic of the run."""

    def __init__(self, model: nn.Module, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.model = model
        self._compute = _logits_of(model, arithmetic)

    def forward(self, images: Tensor) -> Tensor:
        """The logits of a batch."""
        return self._compute(images)


def _logits_of(model: nn.Module, arithmetic: Arithmetic) -> Callable[[Tensor], Tensor]:
    def logits_of(images: Tensor) -> Tensor:
        with arithmetic.autocast(images.device):
            return model(images)

    # One graph for all sizes, of which an evaluation has several.
    return torch.compile(logits_of, dynamic=True) if arithmetic.compile else logits_of
