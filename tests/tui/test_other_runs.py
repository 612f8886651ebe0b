"""Other runs: their matrices at an epoch, read once."""

import numpy as np
import pytest

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_tui.other_runs import OtherRuns


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path / "other.zarr", epochs=4)


def test_the_matrix_is_that_of_the_epoch_or_the_last_before(run):
    others = OtherRuns()
    counts = RunReader(run).counts(0, 4)
    assert np.array_equal(others.matrix(run, 2).counts, counts[1])
    late = others.matrix(run, 9)
    assert late.epoch == 4
    assert np.array_equal(late.counts, counts[3])
    assert late.class_names == ("plane", "car", "cat", "dog", "ship")


def test_before_the_first_epoch_there_is_none(run):
    with pytest.raises(StoreError, match="no epoch up to 0"):
        OtherRuns().matrix(run, 0)


def test_a_run_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(StoreError):
        OtherRuns().matrix(tmp_path / "gone.zarr", 1)


def test_a_run_that_grows_is_read_on(run, grow):
    others = OtherRuns()
    assert others.matrix(run, 9).epoch == 4
    grow(run, range(5, 7))
    assert others.matrix(run, 9).epoch == 6


def test_a_matrix_that_stays_in_sight_is_read_once(run, monkeypatch):
    others = OtherRuns()
    first = others.matrix(run, 3)
    monkeypatch.setattr(RunReader, "counts", lambda *_: pytest.fail("read again"))
    assert others.matrix(run, 3) is first
