"""Records what a `transformers.Trainer` trains.

    recorder = RunRecorder.open("runs/mine", class_names=names, model=model)
    callback = LossvizCallback(recorder)
    trainer = Trainer(
        model, args, callbacks=[callback], compute_metrics=callback.wrap_compute_metrics(), ...
    )

An epoch is recorded after each evaluation, so evaluate once an epoch (`eval_strategy="epoch"`).
"""

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from torch import nn

from lossviz_trainer.callbacks.optional import Foreign, load
from lossviz_trainer.counting import Values
from lossviz_trainer.recorder import RunRecorder

_Base: Foreign = load("transformers", "transformers[torch]").TrainerCallback

ComputeMetrics = Callable[[Foreign], dict[str, Any]]
Extract = Callable[[Foreign], tuple[Values, Values]]


_NEARLY = 1e-6
"""The trainer counts epochs as sums of fractions."""


def labels_and_logits(evaluated: Foreign) -> tuple[Values, Values]:
    """The labels, and the first of the outputs: the logits of a classifier."""
    predictions: Any = evaluated.predictions
    labels: Any = evaluated.label_ids
    if isinstance(predictions, tuple):
        predictions = cast("tuple[Any, ...]", predictions)[0]
    if isinstance(labels, tuple):
        labels = cast("tuple[Any, ...]", labels)[0]
    return np.asarray(labels), np.asarray(predictions)


class LossvizCallback(_Base):
    """Records an epoch after each evaluation, and a checkpoint where one is due.

    Counts come through `wrap_compute_metrics`; losses and learning rates from the trainer's own
    log. A request to stop ends the training as `control.should_training_stop` does. The
    recorder is closed when the training ends.
    """

    def __init__(
        self,
        recorder: RunRecorder,
        *,
        checkpoint_every: int = 1,
        to_labels_and_predictions: Extract = labels_and_logits,
        select: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        """Make the callback.

        Args:
            recorder: Of the run; made on every rank.
            checkpoint_every: Epochs between two checkpoints; 0 means none.
            to_labels_and_predictions: Takes what `compute_metrics` is given, and returns
                (labels, predictions) as for `RunRecorder.count`.
            select: Which module the checkpoints hold, and the run's factory makes; by default
                the trainer's model itself.
        """
        self._recorder = recorder
        self._checkpoint_every = checkpoint_every
        self._extract = to_labels_and_predictions
        self._select = select
        self._saved_at = -1

    def wrap_compute_metrics(self, compute: ComputeMetrics | None = None) -> ComputeMetrics:
        """A `compute_metrics` that counts the evaluated examples, besides what it computes.

        Args:
            compute: The user's own, or None.

        Returns:
            What to give to the `Trainer`.
        """

        def counting(evaluated: Foreign) -> dict[str, Any]:
            with self._recorder.guarded("an evaluation was not counted"):
                self._recorder.count("test", *self._extract(evaluated))
            return {} if compute is None else compute(evaluated)

        return counting

    def on_step_end(
        self,
        args: Foreign,
        state: Foreign,
        control: Foreign,
        **more: Foreign,
    ) -> Foreign:
        """Say where the training is, and hear whether it is to stop."""
        del more
        steps = _steps_per_epoch(state)
        self._recorder.progress(
            epoch=max(0, state.global_step - 1) // steps + 1,
            step=max(0, state.global_step - 1) % steps + 1,
            steps_per_epoch=steps,
            loss=_latest(state, "loss"),
        )
        if args.world_size == 1 and self._recorder.should_stop:
            control.should_training_stop = True
        return control

    def on_evaluate(
        self,
        args: Foreign,
        state: Foreign,
        control: Foreign,
        **more: Foreign,
    ) -> Foreign:
        """Record the epoch. The trainer has gathered the examples of all ranks."""
        del args
        metrics = cast("dict[str, Any]", more.get("metrics") or {})
        scalars = {
            "test_loss": float(metrics.get("eval_loss", math.nan)),
            "train_loss": _latest(state, "loss"),
            "learning_rate": _latest(state, "learning_rate"),
        }
        for column in self._recorder.columns:
            value = metrics.get(f"eval_{column}")
            if isinstance(value, int | float):
                scalars[column] = float(value)
        # One in the middle of an epoch is of that epoch, until a later one takes its place.
        self._recorder.log_epoch(
            max(1, math.ceil((state.epoch or 0) - _NEARLY)),
            scalars={name: value for name, value in scalars.items() if not math.isnan(value)},
        )
        return control

    def on_epoch_end(
        self,
        args: Foreign,
        state: Foreign,
        control: Foreign,
        **more: Foreign,
    ) -> Foreign:
        """Save a checkpoint where one is due, and hear on every rank whether to stop."""
        del args
        epoch, _ = _position(state)
        if self._checkpoint_every and epoch % self._checkpoint_every == 0:
            self._save(state, more)
        if self._recorder.should_stop_on_any_rank():
            control.should_training_stop = True
        return control

    def on_train_end(
        self,
        args: Foreign,
        state: Foreign,
        control: Foreign,
        **more: Foreign,
    ) -> Foreign:
        """Save the last state, and close the run."""
        del args
        if self._checkpoint_every and state.global_step != self._saved_at:
            self._save(state, more)
        self._recorder.close()
        return control

    def _save(self, state: Foreign, more: dict[str, Any]) -> None:
        model = more.get("model")
        if not isinstance(model, nn.Module):
            return
        self._saved_at = int(state.global_step)
        epoch, step = _position(state)
        optimizer, scheduler = more.get("optimizer"), more.get("lr_scheduler")
        self._recorder.save_checkpoint(
            model if self._select is None else self._select(model),
            # Accelerate wraps the optimiser; the state is that of the one inside.
            getattr(optimizer, "optimizer", optimizer),
            scheduler=getattr(scheduler, "scheduler", scheduler),
            epoch=epoch,
            step=step,
        )


def _steps_per_epoch(state: Foreign) -> int:
    return max(1, round(state.max_steps / max(1, math.ceil(state.num_train_epochs))))


def _position(state: Foreign) -> tuple[int, int]:
    """Completed epochs, and steps into the next one."""
    epoch = math.floor((state.epoch or 0) + _NEARLY)
    return epoch, max(0, state.global_step - epoch * _steps_per_epoch(state))


def _latest(state: Foreign, name: str) -> float:
    """The latest value of the trainer's own log; NaN before the first."""
    for entry in reversed(cast("list[dict[str, Any]]", state.log_history)):
        if isinstance(entry.get(name), int | float):
            return float(entry[name])
    return math.nan
