"""The facts beside a scan follow from its numbers."""

import numpy as np
import pytest

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.scans import ScanReader
from lossviz_analysis.store.schema import ScanState
from lossviz_tui.picture import picture_of


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("picture") / "pets.zarr")


@pytest.fixture
def picture(run, read_view):
    view = read_view(run)
    return lambda scan_id: picture_of(ScanReader(run, scan_id), view)


def test_a_scan_that_has_not_begun_has_no_picture(run, make_scan, picture):
    assert picture(make_scan(run, state=ScanState.QUEUED)) is None


def test_a_plane_names_norms_centre_lowest_point_and_lowland(run, make_scan, picture):
    found = picture(make_scan(run))
    assert found.facts[:3] == ("|d| 1.5, 1.5", "|w| 20", "cos -0.250")
    train = found.result.splits["train"]
    rate = train.mistake_rate
    centre = f"centre train {100 * rate[4, 4]:.2f} % wrong, loss {train.loss[4, 4]:.4g}"
    assert found.facts[3] == centre
    i, j = np.unravel_index(rate.argmin(), rate.shape)
    t = np.linspace(-0.1, 0.1, 9)
    assert found.facts[4] == f"lowest {100 * rate.min():.2f} % at ({t[i]:.3g}, {t[j]:.3g})"
    assert found.facts[5].startswith("lowland (centre + 5 %) ")
    assert found.similarity.shape == (5, 5)
    assert sorted(found.class_order.tolist()) == [0, 1, 2, 3, 4]
    assert -1 <= found.agreement <= 1


def test_unknown_cells_are_in_no_fact(run, make_scan, picture):
    found = picture(make_scan(run, state=ScanState.CANCELLED, share=0.3))
    assert not any(fact.startswith("centre") for fact in found.facts)
    known = found.result.splits["train"].is_known
    rate = found.result.splits["train"].mistake_rate[known]
    assert f"lowest {100 * rate.min():.2f} %" in " ".join(found.facts)


def test_a_scan_of_which_nothing_is_done_has_norms_only(run, begin, ask_scan, picture):
    writer = begin(run, ask_scan())
    writer.pause()
    found = picture(writer.folder.name)
    assert len(found.facts) == 3
    assert found.similarity is None


def test_a_line_says_its_type_once_it_is_whole(run, make_scan, ask_scan, picture):
    part = picture(make_scan(run, ask_scan(1), state=ScanState.CANCELLED, share=0.6))
    assert not any(fact.startswith("train:") for fact in part.facts)
    whole = picture(make_scan(run, ask_scan(1, split="both")))
    assert [fact.split(":")[0] for fact in whole.facts[-2:]] == ["train", "test"]
    assert whole.similarity is None


def test_an_epoch_without_a_record_gives_no_agreement(run, make_scan, make_view):
    scan = ScanReader(run, make_scan(run))
    found = picture_of(scan, make_view(epochs=1))
    assert found is not None
    assert np.isnan(found.agreement)


def test_a_result_with_other_axes_than_its_request_is_refused(
    run, make_scan, ask_scan, picture, tmp_path
):
    other = ScanReader(run, make_scan(run, ask_scan(1)))
    scan = ScanReader(run, make_scan(run))
    (scan.folder / "result").rename(tmp_path / "result")
    (other.folder / "result").rename(scan.folder / "result")
    with pytest.raises(StoreError, match="does not fit"):
        picture(scan.scan_id)
