"""What the CCTM view shows: one table, or the difference of two."""

from pathlib import Path

import numpy as np
import pytest

from lossviz_analysis.store.fields import StoreError
from lossviz_tui.cctm_tables import Tables, other_run, shown_tables
from lossviz_tui.selection import RunMark, Selection


def marks(*paths: Path) -> tuple[RunMark, ...]:
    """Runs as they are marked in the list."""
    return tuple(RunMark(path=path, slot=slot) for slot, path in enumerate(paths))


@pytest.fixture
def tables(make_scene):
    def of(**selection) -> Tables:
        scene = make_scene(selection=Selection(view="cctm", **selection))
        assert scene.view is not None
        assert scene.position is not None
        return shown_tables(scene, scene.view, scene.position)

    return of


def test_by_itself_it_is_the_cctm_of_the_split(tables, make_scene):
    found = tables(split="train", epoch=3)
    assert found.other is None
    assert np.array_equal(found.values(), make_scene().view.rates("train", 2))


def test_train_minus_test(tables, make_scene):
    view = make_scene().view
    found = tables(comparison="splits", epoch=3)
    assert found.title == "CCTM, train minus test, epoch 3"
    assert np.array_equal(found.values(), view.rates("train", 2) - view.rates("test", 2))


@pytest.mark.parametrize(("marked", "place"), [(None, 0), (3, 2), (99, 7), (-5, 0)])
def test_an_epoch_minus_the_marked_one_or_the_first(tables, make_scene, marked, place):
    view = make_scene().view
    found = tables(comparison="epochs", marked_epoch=marked, epoch=6)
    assert found.title == f"CCTM, test, epoch 6 minus epoch {place + 1}"
    assert np.array_equal(found.values(), view.rates("test", 5) - view.rates("test", place))


def test_a_run_minus_the_first_other_one_marked(tables, make_run, make_scene, tmp_path):
    other = make_run(tmp_path / "other.zarr", epochs=4)
    here = make_scene().view.path
    found = tables(comparison="runs", marks=marks(here, other), epoch=4, split="train")
    assert found.title == "CCTM, train, epoch 4 minus other"
    assert (found.focus.name, found.other.name if found.other else "") == ("pets", "other")
    assert not np.nan_to_num(found.values()).any()
    later = tables(comparison="runs", marks=marks(other), epoch=8)
    assert later.title.endswith("minus other at epoch 4")


def test_without_another_run_the_sentence_says_how_to_mark_one(tables, make_scene):
    with pytest.raises(StoreError, match="mark another run in Runs"):
        tables(comparison="runs", marks=marks(make_scene().view.path))
    assert other_run(
        make_scene(view=None, selection=Selection(marks=marks(Path("a"))))
    ) == Path("a")


def test_a_run_of_other_classes_cannot_be_compared(tables, make_run, tmp_path):
    other = make_run(tmp_path / "other.zarr", names=("a", "b", "c"), epochs=8)
    with pytest.raises(StoreError, match="other has other classes"):
        tables(comparison="runs", marks=marks(other))
