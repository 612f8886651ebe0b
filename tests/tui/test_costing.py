"""What a scan will cost: only what was measured under its conditions counts."""

from dataclasses import replace
from typing import Any

import pytest

from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.scan_report import ScanReport
from lossviz_analysis.store.schema import ScanState
from lossviz_tui import costing
from lossviz_tui.costing import (
    Measured,
    bytes_text,
    fitting,
    measured_costs,
    scan_seconds,
    share_beside_training,
)

ONE = Measured(
    images_per_second=1_000.0,
    setup_seconds=3.0,
    num_bytes=18_000_000,
    precision="exact",
    recomputes=False,
    examples=500,
    device="auto",
    hardware="cpu",
)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(costing, "num_gpus", lambda: 0)


def find(costs, **changes):
    wanted: dict[str, Any] = {
        "precision": "exact",
        "recomputes": False,
        "examples": 500,
        "device": "auto",
    }
    return fitting(costs, **(wanted | changes))


def test_time_is_work_by_rate_and_what_each_scan_begins_with():
    assert scan_seconds(ONE, 2, 361, 500) == pytest.approx(2 * (3.0 + 361 * 0.5))


def test_a_scan_on_a_gpu_takes_twice_as_long_while_its_run_is_trained():
    gpu = replace(ONE, hardware="NVIDIA H100")
    assert share_beside_training(gpu, is_trained=False) == 1
    assert share_beside_training(ONE, is_trained=True) == 1  # niceness does it there
    share = share_beside_training(gpu, is_trained=True)
    assert scan_seconds(gpu, 2, 361, 500, share=share) == pytest.approx(2 * (3.0 + 361.0))


def test_another_precision_another_device_or_recomputed_statistics_say_nothing():
    assert find([ONE]) is ONE
    assert find([ONE], examples=9_999) is ONE
    assert find([ONE], precision="fast") is None
    assert find([ONE], recomputes=True) is None
    assert find([ONE], device="cuda:0") is None
    assert find([replace(ONE, device="cuda:0")], device="auto") is None


def test_with_recomputed_statistics_the_examples_have_to_be_as_many():
    one = replace(ONE, recomputes=True)
    assert find([one], recomputes=True) is one
    assert find([one], recomputes=True, examples=501) is None


def test_without_a_gpu_auto_is_the_cpu(monkeypatch):
    assert find([ONE], device="cpu") is ONE
    assert find([replace(ONE, device="cpu")], device="auto") is not None
    monkeypatch.setattr(costing, "num_gpus", lambda: 2)
    assert find([ONE], device="cpu") is None


def test_the_newest_fitting_one_counts():
    newer = replace(ONE, images_per_second=2_000.0)
    assert find([replace(ONE, precision="fast"), newer, ONE]) is newer


def test_costs_come_from_the_reports_of_scans(make_run, make_scan, ask_scan, tmp_path):
    run = make_run(tmp_path / "a.zarr")
    reader = RunReader(run)
    assert measured_costs(reader) == ()
    make_scan(run, state=ScanState.QUEUED)
    make_scan(run)  # without a report
    make_scan(run, report=ScanReport(images_per_second=float("inf")))
    report = ScanReport(images_per_second=1_000.0, num_bytes=18_000_000, seconds={"setup": 3.0})
    make_scan(run, report=report)
    make_scan(
        run,
        ask_scan(batch_norm="recompute"),
        report=ScanReport(bare_images_per_second=50.0, seconds={"setup": float("nan")}),
    )
    newest, one = measured_costs(reader)
    assert one == ONE
    assert (newest.images_per_second, newest.setup_seconds) == (50.0, 0.0)
    assert newest.recomputes


@pytest.mark.parametrize(
    ("count", "text"),
    [(12, "12 B"), (18_000_000, "18 MB"), (2_440_000_000, "2.4 GB"), (1e12, "1.0 TB")],
)
def test_bytes_in_words(count, text):
    assert bytes_text(count) == text
