"""The numbers of a scan as they are drawn: in the chosen quantity, gaps estimated."""

from dataclasses import replace

import numpy as np
import pytest

from lossviz_analysis.store.schema import ScanState
from lossviz_tui.panels.scan_values import axis_label, common_ends, drawn, fact_text


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("values") / "pets.zarr")


@pytest.fixture
def split(run, make_scan, scene_of_scans):
    """The train split of a scan left in some state."""

    def find(request=None, **state):
        scene = scene_of_scans(run, make_scan(run, request, **state))
        return scene.picture.result.splits["train"]

    return find


def test_a_whole_scan_is_drawn_as_it_is(split):
    whole = split()
    mistakes, losses = drawn(whole, "mistakes", None), drawn(whole, "loss", None)
    np.testing.assert_array_equal(mistakes.values, 100 * whole.mistake_rate)
    np.testing.assert_array_equal(losses.values, whole.loss)
    assert mistakes.is_evaluated.all()
    assert not mistakes.is_estimated.any()


@pytest.mark.parametrize("quantity", ["mistakes", "loss"])
def test_gaps_between_evaluated_points_are_estimated_and_known_for_it(split, quantity):
    coarse = split(state=ScanState.RUNNING, stride=2)
    whole = drawn(split(), quantity, None)
    found = drawn(coarse, quantity, None)
    assert found.is_shown.all()
    assert found.is_estimated.sum() == 81 - 25
    assert np.isnan(found.sure).sum() == 81 - 25
    scale = np.abs(whole.values).max()
    assert np.abs(found.values - whole.values).max() < 0.1 * scale
    evaluated = found.is_evaluated
    np.testing.assert_array_equal(found.values[evaluated], whole.values[evaluated])


def test_where_nothing_is_around_nothing_is_drawn(split):
    found = drawn(split(state=ScanState.CANCELLED, share=0.3), "mistakes", None)
    assert found.is_shown.any()
    assert not found.is_shown.all()
    assert not np.isnan(found.values[found.is_shown]).any()


def test_what_was_given_up_is_drawn_at_the_top(split, ask_scan):
    clip = 0.4
    some = split(ask_scan(clip=clip), chunks=lambda index: 1 if set(index) <= {0, 8} else 2)
    assert some.is_at_least.sum() == 4
    found = drawn(some, "loss", clip)
    assert (found.values[found.is_capped] == found.values.max()).all()
    assert found.values.max() == some.loss[~some.is_at_least].max() > clip
    assert not drawn(some, "mistakes", clip).is_capped.any()


def test_a_film_has_one_scale(run, make_scan, ask_scan, scene_of_scans):
    ids = [
        make_scan(run, ask_scan(series="f", ranges=((-end, end),) * 2)) for end in (0.1, 0.3)
    ]
    scene = scene_of_scans(run, *ids)
    rates = [one.result.splits["train"].mistake_rate for one in scene.siblings]
    low, high = common_ends(scene, scene.siblings)
    assert low == pytest.approx(100 * min(rate.min() for rate in rates))
    assert high == pytest.approx(100 * max(rate.max() for rate in rates))
    assert common_ends(scene, ()) == (None, None)
    log = replace(scene, selection=replace(scene.selection, log=True))
    assert common_ends(log, scene.siblings) == (low, high)


def test_an_axis_is_named_by_what_it_is_made_from(run, make_scan, ask_scan, scene_of_scans):
    scene = scene_of_scans(run, make_scan(run), make_scan(run, ask_scan(kind="gaussian")))
    assert [axis_label(scene, scene.picture, k) for k in (0, 1)] == ["gaussian 0", "gaussian 1"]
    ego = scene_of_scans(run, make_scan(run)).picture
    assert axis_label(scene, ego, 1) == "ego dog"


def test_our_own_signs_have_spellings_in_ascii():
    assert fact_text("±0.1 ○ ● ← →", 40, ascii_only=True) == "+-0.1 O @ <- ->"
    assert fact_text("±0.1 ○ ●", 40, ascii_only=False) == "±0.1 ○ ●"
