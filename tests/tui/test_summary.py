"""`show --json`: strict JSON, null for what is not a number."""

import json
import math
from typing import Any

import numpy as np
import pytest

from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.scan_report import ScanReport
from lossviz_analysis.store.scans import ScanReader, scan_folder
from lossviz_analysis.store.schema import ScanState
from lossviz_analysis.store.writer import RunWriter
from lossviz_tui import summary
from lossviz_tui.summary import plain, scan_details, scan_summary, summary_pieces


def strict(value) -> object:
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(json.dumps(value, allow_nan=False), parse_constant=refuse)


def run_summary(reader: RunReader) -> dict:
    """What `show --json` prints, read as strictly as JSON can be."""
    text = "".join(summary_pieces(reader))
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_nan_and_infinities_are_null_at_any_depth():
    value = {"a": [math.nan, 1.0, {"b": (math.inf, -math.inf, np.float64("nan"))}]}
    assert plain(value) == {"a": [None, 1.0, {"b": [None, None, None]}]}
    assert plain(np.array([[1.0, math.nan]])) == [[1.0, None]]


def test_numpy_values_become_plain_ones():
    found = plain({"n": np.int64(3), "x": np.float32(0.5), "b": np.bool_(1), 4: None})
    assert strict(found) == {"n": 3, "x": 0.5, "b": True, "4": None}


@pytest.fixture(scope="module")
def run(make_run, make_scan, tmp_path_factory):
    path = make_run(tmp_path_factory.mktemp("summary") / "pets.zarr")
    make_scan(path)
    make_scan(path, state=ScanState.FAILED, message="the checkpoint is damaged")
    return path


def test_a_summary_says_what_scripts_rely_on(run, read_view):
    reader = RunReader(run)
    view = read_view(run)
    found = run_summary(reader)
    assert found["state"] == "finished"
    assert found["class_names"] == ["plane", "car", "cat", "dog", "ship"]
    assert [row["epoch"] for row in found["epochs"]] == list(range(1, 9))
    assert all(isinstance(row["epoch"], int) for row in found["epochs"])
    assert found["epochs"][-1]["test_accuracy"] == view.column("test_accuracy")[-1]
    assert found["cctm"]["test"] == view.rates("test", -1).tolist()
    assert found["recall"]["train"] == np.diagonal(view.rates("train", -1)).tolist()
    assert found["notes"]["test"] == view.notes_of("test").tolist()
    top = found["pairs"][0]
    rates = view.rates("test", -1)
    np.fill_diagonal(rates, 0)
    i, j = np.unravel_index(rates.argmax(), rates.shape)
    names = found["class_names"]
    assert (top["true"], top["predicted"], top["rate"]) == (names[i], names[j], rates.max())
    assert [(c["number"], c["epoch"], c["is_best"]) for c in found["checkpoints"]] == [
        (1, 0, False),
        (2, 2, True),
        (3, 8, False),
    ]
    words = [(s["kind"], s["state"], s["done"], s["total"]) for s in found["scans"]]
    assert words == [("ego", "done", 162, 162), ("ego", "failed", 162, 162)]
    assert found["scans"][1]["message"] == "the checkpoint is damaged"
    assert found["scans"][0]["request"]["classes"] == [2, 3]


def test_a_class_without_examples_is_null(make_run, tmp_path):
    path = make_run(tmp_path / "a.zarr", epochs=1)
    counts = np.ones((2, 5, 5), np.int32)
    counts[:, 3] = 0
    with RunWriter(path) as writer:
        writer.commit_record(counts, {"epoch": 2.0})
    reader = RunReader(path)
    found = run_summary(reader)
    assert found["recall"]["test"] == [0.2, 0.2, 0.2, None, 0.2]
    assert found["cctm"]["test"][3] == [None] * 5
    assert found["epochs"][1]["train_loss"] is None


def test_an_empty_run_has_an_empty_summary(make_run, tmp_path):
    reader = RunReader(make_run(tmp_path / "a.zarr", epochs=0))
    found = run_summary(reader)
    assert (found["epochs"], found["cctm"], found["pairs"]) == ([], {}, [])


def test_a_damaged_scan_says_so_and_hides_no_other(make_run, make_scan, tmp_path):
    path = make_run(tmp_path / "a.zarr", epochs=2)
    broken, whole = make_scan(path), make_scan(path)
    (scan_folder(path, broken) / "head" / "c.0").write_bytes(b"short")
    reader = RunReader(path)
    scans = run_summary(reader)["scans"]
    assert [(s["id"], s["state"]) for s in scans] == [(broken, "damaged"), (whole, "done")]
    assert scan_summary(ScanReader(path, broken))["request"] is None


def test_a_scan_in_detail_counts_its_points_and_names_its_centre(
    run, make_scan, ask_scan, monkeypatch
):
    report = ScanReport(centre={"train": {"loss": 0.5, "mistake_rate": 0.25}})
    request = ask_scan(clip=0.3)
    scan_id = make_scan(
        run, request, chunks=lambda index: 1 if set(index) <= {0, 8} else 2, report=report
    )
    scan = ScanReader(run, scan_id)
    found: dict[str, Any] = scan_details(scan)
    assert strict(found) == found
    assert found["ranges"] == [[-0.1, 0.1], [-0.1, 0.1]]
    assert found["report"]["centre"] == {"train": {"loss": 0.5, "mistake_rate": 0.25}}
    train = found["splits"]["train"]
    assert (train["num_points"], train["num_known"]) == (81, 81)
    assert (train["num_complete"], train["num_at_least"], train["num_void"]) == (77, 4, 0)
    centre = train["centre"]
    rate = centre["mistake_rate"]
    assert centre["num_seen"] == 500
    assert centre["mistake_rate_standard_error"] == pytest.approx(
        math.sqrt(rate * (1 - rate) / 499)
    )
    monkeypatch.setattr(summary, "MAX_DETAILED_BYTES", 0)
    assert "splits" not in scan_details(scan)


def test_a_centre_off_the_grid_is_null(run, make_scan, ask_scan):
    found: dict[str, Any] = scan_details(ScanReader(run, make_scan(run, ask_scan(points=4))))
    assert found["splits"]["train"]["centre"] is None


def test_a_damaged_scan_in_detail_says_so(run, make_scan):
    scan_id = make_scan(run)
    (scan_folder(run, scan_id) / "result" / "cells" / "c.0.0.0").write_bytes(b"short")
    found: dict[str, Any] = scan_details(ScanReader(run, scan_id))
    assert found["state"] == "damaged"
    assert found["message"]
