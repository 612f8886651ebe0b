"""The training loop: plain SGD epochs, each evaluated, recorded and checkpointed."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from lossviz_analysis.store.backlog import Backlog
from lossviz_analysis.store.schema import Phase
from lossviz_trainer.arithmetic import Arithmetic
from lossviz_trainer.epoch_record import STANDARD_COLUMNS
from lossviz_trainer.evaluate import Evaluation, evaluate
from lossviz_trainer.randomness import generator_for
from lossviz_trainer.recipes import Recipe, learning_rate_at
from lossviz_trainer.resident import ResidentData
from lossviz_trainer.state import arrival, capture
from lossviz_trainer.step import EvaluatedModel, TrainingStep

SCALAR_COLUMNS = (*STANDARD_COLUMNS, "evaluation_s")
"""`step_loss` is the mean loss of the epoch's augmented batches as trained on; the other
losses and accuracies are those of the evaluation after the last step."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Position:
    """Between which two steps a run stands."""

    epoch: int = 0
    """Completed epochs."""
    step: int = 0
    """Steps into the next one."""


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How to train, apart from the recipe."""

    recipe: Recipe
    seed: int
    checkpoint_every: int
    """Epochs between checkpoints; the last epoch always has one."""
    checkpoint_seconds: float = math.inf
    """After so long without a checkpoint one is due also within an epoch."""
    micro_batch: int
    """Examples in one forward pass of an evaluation."""
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    """How steps and evaluations are computed."""


class Trainer:
    """One model, its optimiser, its data and the backlog of its run."""

    def __init__(
        self,
        model: nn.Module,
        data: ResidentData,
        backlog: Backlog,
        settings: LoopSettings,
        should_stop: Callable[[], bool],
    ) -> None:
        self._step = TrainingStep(
            model,
            data.train,
            settings.recipe,
            seed=settings.seed,
            arithmetic=settings.arithmetic,
        )
        self._evaluated = EvaluatedModel(model, settings.arithmetic)
        self.model = model
        self.optimiser = self._step.optimiser
        self.best_accuracy = -math.inf
        self._data = data
        self._backlog = backlog
        self._writer = backlog.writer
        self._settings = settings
        self._should_stop = should_stop
        self._last_rate = math.nan
        self._saved: Position | None = None
        self._saved_at = -math.inf
        self._losses: list[Tensor] = []

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one epoch; a last batch of a single example is left out.

        Batch norm has no variance over one example where the feature map is a single pixel.
        """
        num, size = len(self._data.train), self._settings.recipe.batch_size
        return num // size + (1 if num % size > 1 else 0)

    def run(self, start: Position, step_losses: Sequence[float] = ()) -> bool:
        """Train from a position to the end of the recipe, or until asked to stop.

        Args:
            start: Where the model and the optimiser stand.
            step_losses: Losses of the steps already done in that epoch.

        Returns:
            Whether the recipe's last epoch is done.
        """
        if self._writer.head.latest_checkpoint == 0:
            self._save(start, is_best=False)
        self._saved, self._saved_at = start, time.monotonic()
        device = self._data.train.labels.device
        self._losses = [torch.tensor(loss, device=device) for loss in step_losses]
        step = start.step
        for epoch in range(start.epoch, self._settings.recipe.epochs):
            if not self._epoch(epoch, step):
                return False
            step = 0
        return True

    def _epoch(self, epoch: int, first_step: int) -> bool:
        """Train and record one epoch; False if stopped within it."""
        recipe = self._settings.recipe
        started = time.monotonic()
        rate = learning_rate_at(recipe, epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        order = torch.randperm(
            len(self._data.train), generator=generator_for(self._settings.seed, epoch)
        ).to(self._data.train.labels.device)
        if first_step == 0:
            self._losses = []
        losses = self._losses
        self.model.train()
        for step in range(first_step, self.steps_per_epoch):
            if self._should_stop():
                if self._saved != Position(epoch, step):
                    self._save(Position(epoch, step), is_best=False)
                log.info("stopped in epoch %d after %d steps", epoch + 1, step)
                return False
            if time.monotonic() - self._saved_at >= self._settings.checkpoint_seconds:
                self._save(Position(epoch, step), is_best=False)
            losses.append(self._step(epoch, step, self._batch(step, order)))
            self._pulse(epoch, step + 1, first_step, losses, started)
        trained = time.monotonic()
        self._last_rate = self._images(first_step, self.steps_per_epoch) / (trained - started)
        train, test = self._evaluate(epoch)
        now = time.monotonic()
        self._record(
            epoch + 1,
            train,
            test,
            {
                "duration_s": now - started,
                "step_loss": float(torch.stack(losses).double().mean()),
                "learning_rate": rate,
                "images_per_second": self._last_rate,
                "evaluation_s": now - trained,
            },
        )
        return True

    def _images(self, first_step: int, stop_step: int) -> int:
        """Images in a range of steps of one epoch."""
        size = self._settings.recipe.batch_size
        return min(stop_step * size, len(self._data.train)) - first_step * size

    def _batch(self, step: int, order: Tensor) -> Tensor:
        size = self._settings.recipe.batch_size
        return order[step * size : (step + 1) * size]

    def _pulse(
        self, epoch: int, step: int, first_step: int, losses: list[Tensor], started: float
    ) -> None:
        if not self._writer.pulse_is_due():
            return
        # The only wait for the device inside an epoch, twice a second.
        loss = float(torch.stack(losses[-10:]).mean())
        seconds = time.monotonic() - started
        self._last_rate = self._images(first_step, step) / seconds
        self._writer.pulse(
            epoch=epoch + 1,
            step=step,
            steps_per_epoch=self.steps_per_epoch,
            phase=Phase.TRAINING,
            loss=loss,
            images_per_second=self._last_rate,
        )

    def _evaluate(self, epoch: int) -> tuple[Evaluation, Evaluation]:
        def show_life() -> None:
            self._writer.pulse(
                epoch=epoch + 1,
                step=self.steps_per_epoch,
                steps_per_epoch=self.steps_per_epoch,
                phase=Phase.EVALUATING,
                images_per_second=self._last_rate,
            )

        train, test = (
            evaluate(
                self._evaluated,
                examples,
                micro_batch=self._settings.micro_batch,
                on_chunk=show_life,
            )
            for examples in (self._data.train, self._data.test)
        )
        return train, test

    def _record(
        self, epoch: int, train: Evaluation, test: Evaluation, measured: dict[str, float]
    ) -> None:
        """Commit an epoch and, where one is due, its checkpoint."""
        weights = [p.detach().double().square().sum() for p in self.model.parameters()]
        scalars = measured | {
            "epoch": float(epoch),
            "train_loss": train.loss,
            "test_loss": test.loss,
            "train_accuracy": train.accuracy,
            "test_accuracy": test.accuracy,
            "weight_norm": float(torch.stack(weights).sum().sqrt()),
        }
        self._backlog.record(np.stack([train.counts, test.counts]), scalars)
        log.info(
            "epoch %d: train loss %.4f, test accuracy %.2f %%, %.0f images/s, %.1f s",
            epoch,
            train.loss,
            100 * test.accuracy,
            measured["images_per_second"],
            measured["duration_s"],
        )
        is_last = epoch == self._settings.recipe.epochs
        is_best = test.accuracy > self.best_accuracy
        self.best_accuracy = max(self.best_accuracy, test.accuracy)
        self._writer.pulse(
            epoch=epoch,
            step=self.steps_per_epoch,
            steps_per_epoch=self.steps_per_epoch,
            phase=Phase.SAVING,
            loss=measured["step_loss"],
            images_per_second=measured["images_per_second"],
            is_last=is_last,
        )
        if is_last or is_best or epoch % self._settings.checkpoint_every == 0:
            self._save(Position(epoch), is_best=is_best)

    def _save(self, position: Position, *, is_best: bool) -> None:
        best = self.best_accuracy if math.isfinite(self.best_accuracy) else None
        content = capture(
            self.model,
            self.optimiser,
            epoch=position.epoch,
            step=position.step,
            extra={
                "best_accuracy": best,
                "seed": self._settings.seed,
                "step_losses": torch.stack(self._losses).tolist() if position.step else [],
            },
            wait=False,
        )
        # Training goes on while the device still copies; the backlog's thread waits for it.
        device = self._data.train.labels.device
        self._backlog.checkpoint(content, is_best=is_best, arrive=arrival(device))
        self._saved, self._saved_at = position, time.monotonic()
