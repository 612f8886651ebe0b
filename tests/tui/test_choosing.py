"""From names, epochs and paths as people say them to what they mean."""

import pytest

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import ScanState
from lossviz_analysis.store.writer import RunWriter
from lossviz_tui import choosing
from lossviz_tui.choosing import (
    choose_checkpoint,
    class_number,
    direction_file,
    other_run,
    trajectory,
    way,
)


@pytest.fixture(scope="module")
def reader(make_run, tmp_path_factory):
    """A run with checkpoints 1, 2, 3 of epochs 0, 2, 8; the best is of epoch 2."""
    return RunReader(make_run(tmp_path_factory.mktemp("choosing") / "pets.zarr"))


@pytest.mark.parametrize(
    ("wanted", "number", "epoch"), [("last", 3, 8), ("best", 2, 2), ("0", 1, 0), ("2", 2, 2)]
)
def test_a_checkpoint_by_word_or_epoch(reader, wanted, number, epoch):
    found = choose_checkpoint(reader, wanted)
    assert (found.number, found.epoch) == (number, epoch)


def test_a_run_without_checkpoints_says_so(reader, tmp_path):
    path = tmp_path / "young.zarr"
    create_run(path, reader.description)
    with pytest.raises(LossvizError, match="no checkpoint yet"):
        choose_checkpoint(RunReader(path), "last")


def test_a_class_called_like_a_number_is_that_class():
    names = ("3", "two", "0")
    assert class_number("3", names) == 0
    assert class_number("0", names) == 2
    assert class_number("1", names) == 1
    assert class_number("TWO", names) == 1


def test_the_exact_spelling_wins_where_only_case_differs():
    assert class_number("a", ("A", "a")) == 1
    assert class_number("A", ("a", "A")) == 1


def test_the_way_is_that_of_the_newest_attempt(make_run, commit_checkpoint, tmp_path):
    """Resumed from epoch 2, the run left what it had done up to epoch 8 behind."""
    path = make_run(tmp_path / "pets.zarr")
    reader = RunReader(path)
    assert [info.epoch for info in way(reader)] == [0, 2, 8]
    with RunWriter(path) as writer:
        commit_checkpoint(writer, 3)
        commit_checkpoint(writer, 4)
    assert [info.epoch for info in way(RunReader(path))] == [0, 2, 3, 4]
    assert trajectory(RunReader(path)) == (1, 2, 4, 5)


def test_a_long_way_is_thinned_evenly_with_both_ends(reader, monkeypatch):
    monkeypatch.setattr(choosing, "MAX_TRAJECTORY", 2)
    assert trajectory(reader) == (1, 3)


def test_another_run_is_named_with_or_without_its_ending(reader):
    path = str(reader.path)
    for text in (path, path.removesuffix(".zarr")):
        assert other_run(text, reader)[1].number == 3
        assert other_run(f"{text}:2", reader)[1].number == 2


def test_directions_are_those_of_a_folder_a_run_or_a_file(reader, make_scan, tmp_path):
    scan_id = make_scan(reader.path)
    folder = reader.path / "scans" / scan_id
    for text in (str(folder), f"{reader.path}#{scan_id}"):
        assert direction_file(text) == (str(folder), 1)
        assert direction_file(f"{text}:2") == (str(folder), 2)
    file = tmp_path / "x.h5"
    file.touch()
    assert direction_file(f"{file}:2") == (str(file), 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{run}#{scan}:3", "has 2 directions; got 3"),
        ("{run}#{scan}:0", "has 2 directions; got 0"),
        ("{run}#nobody", "no scan 'nobody'"),
        ("{run}#../records", "no scan '../records'"),
        ("{run}#{queued}", "has no directions yet"),
        ("{run}", "is a scan's folder, RUN#SCAN or .h5"),
        ("{run}/nothing.h5", "there is no file"),
    ],
)
def test_what_holds_no_direction_is_refused(reader, make_scan, text, sentence):
    queued = make_scan(reader.path, state=ScanState.QUEUED)
    text = text.format(run=reader.path, scan=make_scan(reader.path), queued=queued)
    with pytest.raises(LossvizError, match=sentence):
        direction_file(text)
