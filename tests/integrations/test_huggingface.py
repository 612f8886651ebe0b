"""The callback for the Trainer of transformers: the real package, nothing downloaded."""

import numpy as np
import pytest
import torch

from lossviz_analysis.store.control import Wish, ask
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import RunState
from lossviz_trainer import RunRecorder

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
callbacks = pytest.importorskip("lossviz_trainer.callbacks.huggingface")

pytestmark = pytest.mark.filterwarnings("ignore")


class Words(torch.utils.data.Dataset):
    def __init__(self, number):
        generator = torch.Generator().manual_seed(number)
        self.tokens = torch.randint(0, 30, (number, 6), generator=generator)

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        return {"input_ids": self.tokens[index], "labels": int(self.tokens[index][0]) % 3}


class Pictures(Words):
    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        pixels = torch.randn(3, 8, 8, generator=generator)
        return {"pixel_values": pixels, "labels": index % 3}


def bert():
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=30,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            max_position_embeddings=8,
            num_labels=3,
        )
    )


def vit():
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            image_size=8,
            patch_size=4,
            num_labels=3,
        )
    )


def fit(tmp_path, model, examples, recorder, *more, epochs=3, compute=None):
    callback = callbacks.LossvizCallback(recorder)
    trainer = transformers.Trainer(
        model,
        transformers.TrainingArguments(
            output_dir=str(tmp_path / "out"),
            num_train_epochs=epochs,
            per_device_train_batch_size=8,
            eval_strategy="epoch",
            logging_strategy="epoch",
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            seed=0,
        ),
        train_dataset=examples(24),
        eval_dataset=examples(15),
        compute_metrics=callback.wrap_compute_metrics(compute),
        callbacks=[*more, callback],
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize(("make", "examples"), [(bert, Words), (vit, Pictures)])
def test_every_epoch_is_recorded_with_the_counts_of_its_evaluation(tmp_path, make, examples):
    model, seen = make(), []

    def compute(evaluated):
        expected = np.zeros((3, 3), int)
        np.add.at(expected, (evaluated.label_ids, evaluated.predictions.argmax(1)), 1)
        seen.append(expected)
        return {"margin": len(seen) / 8}

    recorder = RunRecorder.create(
        tmp_path / "x", class_names=3, model=model, scalars=("margin",), strict=True
    )
    trainer = fit(tmp_path, model, examples, recorder, compute=compute)
    reader = RunReader(recorder.path)
    assert reader.head().state == RunState.FINISHED
    assert np.array_equal(reader.counts(0, 3)[:, 1], seen)
    columns = reader.description.scalar_columns
    rows = [dict(zip(columns, row, strict=True)) for row in reader.scalars(0, 3)]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["margin"] for row in rows] == [1 / 8, 2 / 8, 3 / 8]
    log = trainer.state.log_history
    assert [row["test_loss"] for row in rows] == [
        e["eval_loss"] for e in log if "eval_loss" in e
    ]
    assert [row["train_loss"] for row in rows] == [e["loss"] for e in log if "loss" in e]
    assert [c.epoch for c in reader.checkpoints()][-1] == 3
    fresh = make()
    again = RunRecorder.resume(recorder.path, strict=True)
    restored = again.restore(fresh)
    assert restored is not None
    assert restored.epoch == 3
    again.close()
    for (name, one), (_, other) in zip(
        fresh.named_parameters(), model.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name


def test_a_request_to_stop_ends_the_training(tmp_path, wait_for):
    recorder = RunRecorder.create(tmp_path / "x", class_names=3, epochs=500, strict=True)

    class Asks(transformers.TrainerCallback):
        def on_epoch_begin(self, _args, state, _control, **_more):
            if round(state.epoch) == 1:
                ask(recorder.path, Wish.STOP)
                wait_for(lambda: recorder.should_stop, "the wish is heard")

    fit(tmp_path, bert(), Words, recorder, Asks(), epochs=500)
    reader = RunReader(recorder.path)
    assert reader.head().state == RunState.STOPPED
    latest = reader.checkpoints()[-1]
    assert (latest.epoch, latest.step) == (1, 1)
    assert reader.scalars(0, 2)[:, 0].tolist() == [1, 2]


def test_an_evaluation_that_cannot_be_counted_hurts_nobody(tmp_path, caplog):
    recorder = RunRecorder.create(tmp_path / "x", class_names=5)
    fit(tmp_path, bert(), Words, recorder)
    assert caplog.text.count("logits should have 5 columns") == 1
    assert RunReader(recorder.path).head().num_records == 3
