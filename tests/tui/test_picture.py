"""The facts beside a scan follow from its numbers."""

from dataclasses import replace

import numpy as np
import pytest

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.requests import DirectionSpec
from lossviz_analysis.store.scan_report import ScanReport
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
    assert found.details[0] == "|d| 1.5, 1.5, |w| 20, cos -0.250"
    train = found.result.splits["train"]
    rate = train.mistake_rate
    errors = (100 * train.mistake_rate_error[4, 4], train.loss_error[4, 4])
    wrong = f"{100 * rate[4, 4]:.2f}±{errors[0]:.2f} % wrong"
    assert found.findings[0] == (
        f"centre train {wrong}, loss {train.loss[4, 4]:.4g}±{errors[1]:.2g}"
    )
    i, j = np.unravel_index(rate.argmin(), rate.shape)
    t = np.linspace(-0.1, 0.1, 9)
    assert found.findings[1] == (
        f"lowest {100 * rate.min():.2f} % at ego cat {t[i]:.3g}, ego dog {t[j]:.3g}"
    )
    assert found.findings[2].startswith("lowland (centre + 5 %) ")
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
    assert len(found.facts) == 1
    assert found.stage == "no point yet"
    assert found.similarity is None


def test_a_line_says_its_type_once_it_is_whole(run, make_scan, ask_scan, picture):
    part = picture(make_scan(run, ask_scan(1), state=ScanState.CANCELLED, share=0.6))
    assert not any(fact.startswith("train:") for fact in part.facts)
    whole = picture(make_scan(run, ask_scan(1, split="both")))
    assert [fact.split(":")[0] for fact in whole.findings[-2:]] == ["train", "test"]
    assert whole.similarity is None


def test_an_epoch_without_a_record_gives_no_agreement(run, make_scan, make_view):
    scan = ScanReader(run, make_scan(run))
    found = picture_of(scan, make_view(epochs=1))
    assert found is not None
    assert np.isnan(found.agreement)


def test_a_damaged_record_or_other_classes_give_no_agreement(
    make_run, make_scan, read_view, make_view, tmp_path
):
    run = make_run(tmp_path / "pets.zarr")
    scan = ScanReader(run, make_scan(run))
    whole = picture_of(scan, read_view(run))
    assert whole is not None
    assert np.isfinite(whole.agreement)
    epoch = scan.request.epoch
    others = picture_of(scan, make_view(num_classes=3, epochs=8))
    assert others is not None
    assert np.isnan(others.agreement)
    view = replace(read_view(run), counts=None)
    (run / "records" / "confusion" / f"c.{epoch - 1}.0.0.0").write_bytes(b"damaged")
    damaged = picture_of(scan, view)
    assert damaged is not None
    assert np.isnan(damaged.agreement)
    assert damaged.facts == whole.facts


def test_a_picture_holds_no_confusion_matrices(run, make_scan, picture):
    """Those of a film of a hundred classes would fill the memory."""
    (split,) = picture(make_scan(run)).result.splits.values()
    assert split.confusion is None
    assert split.class_seen.sum() == split.num_seen.sum() > 0


def test_a_result_with_other_axes_than_its_request_is_refused(
    run, make_scan, ask_scan, picture, tmp_path
):
    other = ScanReader(run, make_scan(run, ask_scan(1)))
    scan = ScanReader(run, make_scan(run))
    (scan.folder / "result").rename(tmp_path / "result")
    (other.folder / "result").rename(scan.folder / "result")
    with pytest.raises(StoreError, match="does not fit"):
        picture(scan.scan_id)


def test_what_the_worker_found_out_is_told(run, make_scan, ask_scan, picture):
    report = ScanReport(
        precision="fast",
        centre={"train": {"loss": 0.125, "mistake_rate": 0.25}},
        images_per_second=2_000.0,
        estimated_seconds=180.0,
        num_bytes=2**30,
        notes=("one point was done again",),
    )
    # The model is not on this grid, but its own values are known.
    request = ask_scan(points=8, orthonormalise=True, auto_span=True)
    facts = picture(make_scan(run, request, report=report)).facts
    assert "axes orthonormal: coordinates are distances" in facts
    assert "centre train 25.00 % wrong, loss 0.125" in facts
    assert "2,000 images/s" in facts
    assert any(fact.endswith("estimated 3m and 1 GiB") for fact in facts)
    assert "one point was done again" in facts


def test_components_say_how_much_they_explain(run, make_scan, ask_scan, picture):
    axes = tuple(
        DirectionSpec(kind="pca", normalise="none", component=number) for number in (1, 2)
    )
    request = ask_scan(directions=axes, trajectory=(1, 2))
    way = ((0.0, 1.0, 2.0, 0.5), (8.0, 0.0, 0.0, 0.0))
    scan_id = make_scan(run, request, explained=(0.75, 0.125), trajectory=way)
    facts = picture(scan_id).facts
    assert "components explain 75.0 % and 12.5 % of the way" in facts
    assert "way ○ epoch 0 to ● epoch 8, 2 stops" in facts
    assert "out of the plane by at most 0.5, mean 0.25" in facts


def test_the_stage_is_that_of_the_split_further_behind(run, begin, ask_scan, picture):
    writer = begin(run, ask_scan(1, points=3, split="both"))
    writer.add(0, 0, np.ones((1, writer.cells.shape[2])))
    writer.pause()
    found = picture(writer.folder.name)
    assert (found.stage, found.is_whole) == ("no point yet", False)


def test_points_that_cannot_be_evaluated_are_counted(run, begin, ask_scan, picture):
    writer = begin(run, ask_scan(1, points=3))
    void = np.zeros((2, writer.cells.shape[2]))
    void[:, 0] = 1
    for point in range(3):
        writer.add(point, 0, void)
    writer.finish(ScanState.DONE)
    found = picture(writer.folder.name)
    assert found.stage == "complete; 3 points without a value (negative BN variance)"
    assert not found.is_whole
