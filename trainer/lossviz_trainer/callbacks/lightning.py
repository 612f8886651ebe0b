"""Records what a Lightning `Trainer` trains.

recorder = RunRecorder.open("runs/mine", class_names=names, model=module)
trainer = Trainer(callbacks=[LossvizCallback(recorder)])
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor, nn

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.callbacks.optional import Foreign, load
from lossviz_trainer.counting import Values
from lossviz_trainer.recorder import RunRecorder, Split

_Base: Foreign = load("lightning.pytorch", "lightning").Callback

LabelsAndPredictions = tuple[Values, Values]
Extract = Callable[[Any, Any], LabelsAndPredictions | None]

_PREDICTION_KEYS = ("logits", "preds", "predictions")
_LABEL_KEYS = ("labels", "targets", "target", "y")
_COLUMNS = {
    "train_loss": ("train_loss", "train/loss", "train_loss_epoch", "loss"),
    "test_loss": ("val_loss", "val/loss", "valid_loss", "test_loss"),
}


def labels_and_predictions(outputs: object, batch: object) -> LabelsAndPredictions | None:
    """What a step shows of its labels and predictions.

    Args:
        outputs: What `validation_step` or `training_step` returned: a mapping with "logits",
            "preds" or "predictions", and perhaps "labels" or "targets".
        batch: Its batch; where the outputs hold no labels they are its second part, or its
            entry "labels" or "targets".

    Returns:
        Both, or None where one of them is not there.
    """
    found = cast("Mapping[str, Any]", outputs) if isinstance(outputs, Mapping) else {}
    predictions = next((found[key] for key in _PREDICTION_KEYS if key in found), None)
    labels = next((found[key] for key in _LABEL_KEYS if key in found), None)
    if labels is None and isinstance(batch, Mapping):
        entries = cast("Mapping[str, Any]", batch)
        labels = next((entries[key] for key in _LABEL_KEYS if key in entries), None)
    elif labels is None and isinstance(batch, tuple | list):
        parts = cast("list[Any]", batch)
        labels = parts[1] if len(parts) > 1 else None
    if predictions is None or labels is None:
        return None
    return labels, predictions


class LossvizCallback(_Base):
    """Records an epoch after each validation, and a checkpoint where one is due.

    Counts come from the validation steps, and from the training steps where these show their
    predictions; losses and the like from `trainer.callback_metrics`. A request to stop ends the
    training as `trainer.should_stop` does. The recorder is closed when the training ends.
    """

    def __init__(
        self,
        recorder: RunRecorder,
        *,
        checkpoint_every: int = 1,
        outputs_to_labels_and_predictions: Extract = labels_and_predictions,
        select: Callable[[Foreign], nn.Module] | None = None,
        metrics: Mapping[str, str] | None = None,
    ) -> None:
        """Make the callback.

        Args:
            recorder: Of the run; made on every rank.
            checkpoint_every: Epochs between two checkpoints; 0 means none.
            outputs_to_labels_and_predictions: Takes what a step returned and its batch, and
                returns (labels, predictions), or None where there are none.
            select: Which module the checkpoints hold, and the run's factory makes; by default
                the LightningModule itself.
            metrics: Names in `trainer.callback_metrics` by column of the run, besides the usual
                names of losses and the columns of the same name.
        """
        super().__init__()
        self._recorder = recorder
        self._checkpoint_every = checkpoint_every
        self._extract = outputs_to_labels_and_predictions
        self._select = select
        self._metrics = dict(metrics or {})

    def on_train_batch_end(
        self,
        trainer: Foreign,
        pl_module: Foreign,
        outputs: Foreign,
        batch: Foreign,
        batch_idx: int,
    ) -> None:
        """Count the batch, say where the training is, and hear whether it is to stop."""
        del pl_module
        self._count("train", outputs, batch)
        loss: Any = outputs
        if isinstance(outputs, Mapping):
            loss = cast("Mapping[str, Any]", outputs).get("loss")
        total = trainer.num_training_batches
        self._recorder.progress(
            epoch=trainer.current_epoch + 1,
            step=batch_idx + 1,
            steps_per_epoch=int(total) if total != float("inf") else 0,
            loss=loss if isinstance(loss, Tensor) and loss.numel() == 1 else float("nan"),
        )
        # One rank must not leave alone; of several the end of an epoch is soon enough.
        if trainer.world_size == 1 and self._recorder.should_stop:
            trainer.should_stop = True

    def on_validation_batch_end(
        self,
        trainer: Foreign,
        pl_module: Foreign,
        outputs: Foreign,
        batch: Foreign,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the batch; of several validation sets the first one counts."""
        del pl_module, batch_idx
        if not trainer.sanity_checking and dataloader_idx == 0:
            self._count("test", outputs, batch)

    def on_train_epoch_end(self, trainer: Foreign, pl_module: Foreign) -> None:
        """Record the epoch: its validation is done by now, and its metrics are averaged."""
        epoch = trainer.current_epoch + 1
        self._record(trainer, epoch)
        is_last = trainer.max_epochs is not None and epoch == trainer.max_epochs
        if self._checkpoint_every and (is_last or epoch % self._checkpoint_every == 0):
            self._recorder.save_checkpoint(
                pl_module if self._select is None else self._select(pl_module),
                list(trainer.optimizers),
                scheduler=[config.scheduler for config in trainer.lr_scheduler_configs],
                epoch=epoch,
            )
        if self._recorder.should_stop_on_any_rank():
            trainer.should_stop = True

    def on_train_end(self, trainer: Foreign, pl_module: Foreign) -> None:
        """Close the run."""
        del trainer, pl_module
        self._recorder.close()

    def on_exception(
        self, trainer: Foreign, pl_module: Foreign, exception: BaseException
    ) -> None:
        """Close the run with what ended it."""
        del trainer, pl_module
        self._recorder.close(exception)

    def _count(self, split: Split, outputs: object, batch: object) -> None:
        """Count a batch, if it shows what is to be counted.

        Raises:
            LossvizError: A validation does not, and the recorder is strict.
        """
        with self._recorder.guarded("a batch was not counted"):
            found = self._extract(outputs, batch)
            if found is not None:
                self._recorder.count(split, *found)
            elif split == "test":
                raise LossvizError(
                    "validation_step should return a mapping with 'logits' or 'preds', or give "
                    "the callback outputs_to_labels_and_predictions"
                )

    def _record(self, trainer: Foreign, epoch: int) -> None:
        found = cast("Mapping[str, Tensor]", trainer.callback_metrics)
        scalars: dict[str, Tensor | float] = {}
        for column in self._recorder.columns:
            wanted = (self._metrics.get(column, column), *_COLUMNS.get(column, ()))
            name = next((name for name in wanted if name in found), None)
            if name is not None:
                scalars[column] = found[name]
        if trainer.optimizers:
            scalars.setdefault("learning_rate", trainer.optimizers[0].param_groups[0]["lr"])
        self._recorder.log_epoch(epoch, scalars=scalars, gather=trainer.world_size > 1)
