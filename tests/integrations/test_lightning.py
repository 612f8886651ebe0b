"""The callback for Lightning, with the real package."""

import os

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lossviz_analysis.store.control import Wish, ask
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import RunState
from lossviz_trainer import RunRecorder

lightning = pytest.importorskip("lightning.pytorch")
callbacks = pytest.importorskip("lossviz_trainer.callbacks.lightning")

pytestmark = pytest.mark.filterwarnings("ignore")

NUM_VAL = 20


class Module(lightning.LightningModule):
    def __init__(self, shown="logits"):
        super().__init__()
        self.shown = shown
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        self.fails_in = -1
        self.seen = []

    def training_step(self, batch, _index):
        if self.current_epoch == self.fails_in:
            raise ValueError("diverged")
        logits = self.net(batch[0])
        loss = functional.cross_entropy(logits, batch[1])
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return {"loss": loss, "logits": logits.detach()}

    def validation_step(self, batch, _index):
        logits = self.net(batch[0])
        self.log("val_loss", functional.cross_entropy(logits, batch[1]))
        if not self.trainer.sanity_checking:
            self.seen += list(zip(batch[1].tolist(), logits.argmax(1).tolist(), strict=True))
        match self.shown:
            case "logits":
                return {"logits": logits}
            case "preds":
                return {"preds": logits.argmax(1), "labels": batch[1]}
            case "own":
                return logits
            case _:
                return None

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]


def data(number):
    inputs = torch.randn(number, 4, generator=torch.Generator().manual_seed(number))
    return DataLoader(TensorDataset(inputs, torch.arange(number) % 3), batch_size=8)


def fit(tmp_path, module, callback, epochs=3):
    torch.manual_seed(0)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[callback],
    )
    trainer.fit(module, data(40), data(NUM_VAL))
    return trainer


@pytest.mark.parametrize("shown", ["logits", "preds", "own"])
def test_every_epoch_is_recorded_with_the_counts_of_its_validation(tmp_path, shown):
    module = Module(shown)
    recorder = RunRecorder.create(tmp_path / "x", class_names=3, model=module, strict=True)
    more = {}
    if shown == "own":
        more = {
            "outputs_to_labels_and_predictions": lambda outputs, batch: (
                (batch[1], outputs) if isinstance(outputs, torch.Tensor) else None
            ),
            "select": lambda module: module.net,
            "checkpoint_every": 2,
        }
    trainer = fit(tmp_path, module, callbacks.LossvizCallback(recorder, **more))
    reader = RunReader(recorder.path)
    assert reader.head().state == RunState.FINISHED
    counts = reader.counts(0, 3)
    for epoch in range(3):
        expected = np.zeros((3, 3), int)
        for true, called in module.seen[epoch * NUM_VAL : (epoch + 1) * NUM_VAL]:
            expected[true, called] += 1
        assert np.array_equal(counts[epoch, 1], expected)
        assert counts[epoch, 0].sum() == (0 if shown == "own" else 40)
    columns = reader.description.scalar_columns
    rows = [dict(zip(columns, row, strict=True)) for row in reader.scalars(0, 3)]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["test_loss"] == pytest.approx(float(trainer.callback_metrics["val_loss"]))
    assert rows[-1]["train_loss"] == pytest.approx(
        float(trainer.callback_metrics["train_loss"])
    )
    assert all(0 < row["learning_rate"] <= 0.01 for row in rows)
    latest = reader.checkpoints()[-1]
    assert latest.epoch == 3
    content = reader.checkpoint(latest.number)
    prefix = "" if shown == "own" else "net."
    weight = module.state_dict()["net.0.weight"].numpy()
    assert np.array_equal(content.parameters[f"{prefix}0.weight"], weight)
    if shown != "own":
        fresh = Module()
        (optimizer,), (scheduler,) = fresh.configure_optimizers()
        again = RunRecorder.resume(recorder.path, strict=True)
        restored = again.restore(fresh, [optimizer], scheduler=[scheduler])
        assert restored is not None
        assert restored.epoch == 3
        assert optimizer.state_dict()["state"].keys() == {0, 1, 2, 3, 4, 5}
        again.close()


def test_a_validation_that_shows_nothing_is_said_once_and_hurts_nobody(tmp_path, caplog):
    recorder = RunRecorder.create(tmp_path / "x", class_names=3)
    fit(tmp_path, Module("nothing"), callbacks.LossvizCallback(recorder))
    assert caplog.text.count("validation_step should return") == 1
    assert RunReader(recorder.path).head().num_records == 3


def test_a_request_to_stop_ends_the_training(tmp_path, wait_for):
    module = Module()
    recorder = RunRecorder.create(tmp_path / "x", class_names=3, epochs=500, strict=True)

    class Asks(lightning.Callback):
        def on_train_epoch_start(self, trainer, _module):
            if trainer.current_epoch == 1:
                ask(recorder.path, Wish.STOP)
                wait_for(lambda: recorder.should_stop, "the wish is heard")

    callback = callbacks.LossvizCallback(recorder)
    trainer = lightning.Trainer(
        max_epochs=500,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[Asks(), callback],
    )
    trainer.fit(module, data(40), data(NUM_VAL))
    reader = RunReader(recorder.path)
    assert reader.head().num_records == 2
    assert reader.head().state == RunState.STOPPED
    assert reader.checkpoints()[-1].epoch == 2


def test_an_exception_of_the_training_is_the_state_of_the_run(tmp_path):
    module = Module()
    module.fails_in = 1
    recorder = RunRecorder.create(tmp_path / "x", class_names=3, strict=True)
    with pytest.raises(ValueError, match="diverged"):
        fit(tmp_path, module, callbacks.LossvizCallback(recorder))
    reader = RunReader(recorder.path)
    assert (reader.head().state, reader.message()) == (RunState.FAILED, "ValueError: diverged")
    assert os.listdir(recorder.path / "checkpoints")  # noqa: PTH208
