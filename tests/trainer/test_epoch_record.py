"""What is known of an epoch, without a run: what is wrong is handed back beside the rest."""

import gc

import numpy as np
import pytest
import torch
from torch import nn

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.epoch_record import STANDARD_COLUMNS, EpochRecord

NOTHING = np.zeros((2, 3, 3), np.int64)


def test_what_is_wrong_with_one_split_keeps_nothing_from_the_other():
    record = EpochRecord(3)
    record.count("train", [0, 1, 7], [0, 1, 1])
    taken = record.take({"train": [[1, 0], [0, 1]], "test": ([2], [2])})
    assert taken.counts[0].diagonal().tolist() == [1, 1, 0]
    assert taken.counts[1].diagonal().tolist() == [0, 0, 1]
    assert [type(error) for error in taken.errors] == [LossvizError]
    assert taken.num_outside == {"train": 1}
    again = record.take({"train": None, "test": None})
    assert (again.counts.sum(), again.errors, again.num_outside) == (0, (), {})


def test_values_that_are_none_are_left_out_and_the_others_filled_in():
    record = EpochRecord(3)
    counts = np.stack([np.eye(3, dtype=np.int64), np.ones((3, 3), np.int64)])
    values, errors = record.values(
        STANDARD_COLUMNS,
        counts,
        {"test_loss": torch.tensor(0.5), "epoch": 3.0, "margin": 1.0, "test_accuracy": 0.25},
    )
    assert [type(error) for error in errors] == [LossvizError] * 2
    assert values.pop("duration_s") >= 0
    assert values == {"test_loss": 0.5, "train_accuracy": 1.0, "test_accuracy": 0.25}


def test_a_run_without_the_columns_has_nothing_filled_in():
    record, model = EpochRecord(3), nn.Linear(2, 2)
    record.measure(model)
    values, _ = record.values(("epoch",), np.ones((2, 3, 3), np.int64), {})
    assert values.keys() == {"duration_s"}


def test_the_norm_is_that_of_the_model_as_long_as_there_is_one():
    record, model = EpochRecord(3), nn.Linear(2, 2, bias=False)
    nn.init.ones_(model.weight)
    record.measure(model)
    assert record.values(STANDARD_COLUMNS, NOTHING, {})[0]["weight_norm"] == 2.0
    del model
    gc.collect()
    assert "weight_norm" not in record.values(STANDARD_COLUMNS, NOTHING, {})[0]


def test_counting_begins_anew_with_other_classes_and_after_a_drop():
    record = EpochRecord(2)
    record.count("test", [1], [1])
    record.expect(3)
    record.count("test", [2], [2])
    record.drop()
    assert record.take({"train": None, "test": None}).counts.shape == (2, 3, 3)
    with pytest.raises(LossvizError, match="a split is"):
        record.count("valid", [0], [0])
