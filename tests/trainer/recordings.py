"""Recorded runs as the tests of the recorder make and read them."""

import torch
from torch import nn

from lossviz_analysis.store.reader import RunReader

NAMES = ("cat", "dog", "bird")


def state_of(path):
    return RunReader(path).head().state


def rows_of(path):
    reader = RunReader(path)
    number = reader.head().num_records
    columns = reader.description.scalar_columns
    return [dict(zip(columns, row, strict=True)) for row in reader.scalars(0, number)]


def counts_of(path):
    reader = RunReader(path)
    return reader.counts(0, reader.head().num_records)


def model_of(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
    )
