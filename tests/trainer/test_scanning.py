"""The scan worker: what it computes, how it fails, and that it can be interrupted anywhere."""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.lock import WriterLock, is_held
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import DirectionSpec, Normalisation, ScanRequest
from lossviz_analysis.store.results import read_result
from lossviz_analysis.store.scan_queue import set_order
from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.scans import ScanReader, cancel, submit
from lossviz_analysis.store.schema import ScanState
from lossviz_trainer import scanning, worker
from lossviz_trainer.datasets.npz import load_npz
from lossviz_trainer.models import build_model
from lossviz_trainer.resident import move_to_device
from lossviz_trainer.scanning import compute
from lossviz_trainer.workbench import Workbench
from lossviz_trainer.worker import work

GRADIENT = DirectionSpec(kind="gradient", normalise="none")


def ego(label):
    return DirectionSpec(kind="ego", normalise="none", class_index=label)


def gaussian(seed: int, how: Normalisation = "filter"):
    return DirectionSpec(kind="gaussian", normalise=how, seed=seed)


def ask(*directions, **changes):
    dims = len(directions)
    request: dict[str, Any] = {
        "directions": directions,
        "points": (3,) * dims,
        "ranges": ((-0.1, 0.1),) * dims,
        "checkpoint": 2,
        "epoch": 1,
        "device": "cpu",
    }
    return ScanRequest(**request | changes)


@pytest.fixture(autouse=True)
def heard_between_groups(monkeypatch):
    """That a stop is heard within a chunk has a test of its own; here groups are counted."""
    monkeypatch.setattr("lossviz_trainer.scanning.LOOK_SECONDS", math.inf)


def state_of(scan):
    return scan.head().state


def scan_of(run: Path, request: ScanRequest):
    return ScanReader(run, submit(run, request))


def interrupted_after(run, scan, cells):
    """Computes a scan until so many cells are done, then is told to leave."""
    writer = ScanWriter(scan.folder)
    request = writer.claim()
    asked = iter(range(cells))
    assert compute(Workbench(run), writer, request, lambda: next(asked, None) is None) is None
    writer.pause()


@pytest.mark.parametrize(
    "request_",
    [
        ask(ego(3)),
        ask(ego(3), ego(8), split="both"),
        ask(gaussian(0), gaussian(1, "layer"), split="test"),
        ask(gaussian(5, "model"), examples=70),
        ask(GRADIENT, precision="float64"),
        ask(GRADIENT, gaussian(2), points=(3, 2)),
        ask(DirectionSpec(kind="toward", normalise="none", toward_checkpoint=1)),
    ],
    ids=lambda r: f"{r.kind}-{r.dims}",
)
def test_every_kind_is_done(run, serve, request_):
    scan = scan_of(run, request_)
    assert serve(run) == 0
    head = scan.head()
    assert (head.state, scan.message()) == (ScanState.DONE, "")
    assert head.done == head.total > 0
    result = read_result(scan)
    assert result.geometry.points == request_.points
    assert set(result.splits) == set(request_.splits)
    for name, split in result.splits.items():
        expected = {"train": 1_200, "test": 60}[name]
        expected = min(expected, request_.examples or expected)
        assert split.is_complete.all()
        assert split.confusion is not None
        assert (split.confusion.sum(axis=(-2, -1)) == expected).all()
        assert np.isfinite(split.loss).all()
        assert len(np.unique(split.loss)) == request_.num_points  # the model was moved
    wide = request_.precision == "float64"
    assert scan.directions().dtype == (np.float64 if wide else np.float32)
    assert scan.directions().shape == (request_.dims, 394_634)


def test_toward_arrives_at_the_other_checkpoint(run, serve):
    toward = DirectionSpec(kind="toward", normalise="none", toward_checkpoint=1)
    there = scan_of(run, ask(toward, ranges=((0.0, 1.0),), points=(2,), precision="float64"))
    back = scan_of(
        run,
        ask(
            replace(toward, toward_checkpoint=2),
            ranges=((0.0, 1.0),),
            points=(2,),
            checkpoint=1,
            epoch=0,
            precision="float64",
        ),
    )
    serve(run)
    first, second = (read_result(scan).splits["train"] for scan in (there, back))
    np.testing.assert_allclose(first.loss, second.loss[::-1], rtol=1e-6)
    assert first.loss[0] != first.loss[1]


def test_toward_may_point_into_another_run(run, serve, tmp_path):
    other = shutil.copytree(run, tmp_path / "other.zarr")
    specs = [
        DirectionSpec(kind="toward", normalise="none", toward_run=where, toward_checkpoint=1)
        for where in (None, str(other))
    ]
    scans = [scan_of(run, ask(spec)) for spec in specs]
    serve(run)
    assert np.array_equal(scans[0].cells(), scans[1].cells())


def test_the_origin_is_the_checkpoint_itself(run, serve):
    scan = scan_of(run, ask(ego(3), ego(8), precision="float64"))
    serve(run)
    model = build_model("mlp", 10, seed=1).double()
    data = load_npz(run_source(run)).train
    mean_std = load_npz(run_source(run))
    mean, std = (
        torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1)
        for values in (mean_std.channel_mean, mean_std.channel_std)
    )
    inputs = (torch.from_numpy(data.images).double() / 255 - mean) / std
    with torch.no_grad():
        logits = model(inputs)
    labels = torch.from_numpy(data.labels)
    found = read_result(scan).splits["train"]
    assert found.loss[1, 1] == pytest.approx(functional.cross_entropy(logits, labels).item())
    assert found.mistake_rate[1, 1] * 1_200 == pytest.approx(
        int((logits.argmax(1) != labels).sum()), abs=1e-9
    )


def run_source(run):
    return Path(RunReader(run).description.dataset["source"])


def test_scans_are_taken_in_the_order_of_asking(run, serve):
    # Ids sort by the millisecond of asking.
    scans = []
    for k in range(3):
        scans.append(scan_of(run, ask(gaussian(k), points=(2,))))
        asked = time.time_ns() // 10**6
        while time.time_ns() // 10**6 == asked:
            pass
    serve(run)
    ends = [(scan.folder / "head" / "c.0").stat().st_mtime_ns for scan in scans]
    assert ends == sorted(ends)
    assert all(state_of(scan) == ScanState.DONE for scan in scans)


def test_scans_are_taken_in_the_order_somebody_wants_also_while_one_is_computed(
    run, serve, monkeypatch
):
    scans = [scan_of(run, ask(gaussian(k), points=(2,))) for k in range(4)]
    set_order(run, [scans[2].scan_id, scans[0].scan_id])
    taken = []

    def take(scan, bench, stop):
        taken.append(scan.scan_id)
        if len(taken) == 2:
            set_order(run, [scans[3].scan_id, scans[1].scan_id])
        honest(scan, bench, stop)

    honest = worker._take
    monkeypatch.setattr(worker, "_take", take)
    serve(run)
    assert taken == [scans[k].scan_id for k in (2, 0, 3, 1)]
    assert all(state_of(scan) == ScanState.DONE for scan in scans)


def test_both_splits_are_those_of_two_single_scans(run, serve):
    scans = [scan_of(run, ask(ego(1), split=split)) for split in ("both", "train", "test")]
    serve(run)
    both, train, test = (scan.cells() for scan in scans)
    assert np.array_equal(both[:, 0], train[:, 0])
    assert np.array_equal(both[:, 1], test[:, 0])


def test_fewer_examples_are_the_first_of_the_balanced_order(run, serve):
    scan = scan_of(run, ask(ego(1), examples=70, precision="float64"))
    serve(run)
    data = move_to_device(load_npz(run_source(run)), torch.device("cpu")).train
    expected = np.bincount(data.labels[:70].numpy(), minlength=10)
    confusion = read_result(scan).splits["train"].confusion
    assert confusion is not None
    assert np.array_equal(confusion[1].sum(axis=1), expected)


# What goes wrong becomes the state of the scan, with a sentence.


def spoilt_class(_run):
    return ask(ego(10))


def spoilt_checkpoint(run):
    shutil.rmtree(run / "checkpoints" / "c00000002")
    return ask(ego(1))


def spoilt_other_checkpoint(run):
    shutil.rmtree(run / "checkpoints" / "c00000001")
    return ask(DirectionSpec(kind="toward", normalise="none", toward_checkpoint=1))


def spoilt_bits(run):
    chunk = run / "checkpoints" / "c00000002" / "params_f32" / "c.0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    return ask(ego(1))


def spoilt_device(_run):
    return ask(ego(1), device="cuda:63")


def spoilt_other_run(run):
    return ask(
        DirectionSpec(
            kind="toward",
            normalise="none",
            toward_run=str(run / "nowhere.zarr"),
            toward_checkpoint=1,
        )
    )


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoilt_class, "class 10 is not one of the run's 10 classes"),
        (spoilt_checkpoint, "checkpoint 2 is not there any more"),
        (spoilt_other_checkpoint, "thinned out"),
        (spoilt_bits, "damaged"),
        (spoilt_device, "'cuda:63' is not here"),
        (spoilt_other_run, "nowhere.zarr"),
    ],
    ids=lambda value: value.__name__.removeprefix("spoilt_") if callable(value) else "",
)
def test_a_failure_is_a_state_with_a_sentence(run, serve, spoil, words):
    failing = scan_of(run, spoil(run))
    assert serve(run) == 0
    assert failing.head().state == ScanState.FAILED
    assert words in failing.message()
    assert len(failing.message().splitlines()) == 1
    assert "Traceback" not in failing.message()
    assert not is_held(failing.folder)


def test_a_failed_scan_does_not_keep_the_next_from_being_done(run, serve):
    failing = scan_of(run, spoilt_class(run))
    good = scan_of(run, ask(ego(1), points=(2,)))
    serve(run)
    assert [state_of(failing), state_of(good)] == [ScanState.FAILED, ScanState.DONE]
    before = failing.head()
    serve(run)  # a failed scan is not tried again
    assert failing.head() == before


def test_changed_data_are_refused_by_name(make_run, serve):
    run = make_run("mlp", 50, 20)
    source = run_source(run)
    with np.load(source) as archive:
        arrays = dict(archive)
    arrays["x_train"][0, 0, 0, 0] ^= 1
    np.savez(source, **arrays)
    scan = scan_of(run, ask(ego(1)))
    serve(run)
    assert state_of(scan) == ScanState.FAILED
    assert str(source) in scan.message()
    assert "not those this run was trained on" in scan.message()


def test_another_architecture_is_no_end_of_a_line(run, make_run, serve):
    other = make_run("resnet20", 20, 20)
    spec = DirectionSpec(
        kind="toward", normalise="none", toward_run=str(other), toward_checkpoint=1
    )
    scan = scan_of(run, ask(spec))
    serve(run)
    assert state_of(scan) == ScanState.FAILED
    assert "one architecture" in scan.message()


def test_a_request_that_cannot_be_read_is_rejected_and_the_next_one_served(run, serve):
    bad, good = (scan_of(run, ask(ego(1), points=(2,))) for _ in range(2))
    path = bad.folder / "zarr.json"
    path.write_text(path.read_text().replace('"frozen"', '"thawed"'))
    serve(run)
    assert [state_of(bad), state_of(good)] == [ScanState.FAILED, ScanState.DONE]
    assert "'thawed'" in bad.message()


class Rests:
    """Rests three times as long as was computed."""

    share_now = 0.25

    def __call__(self, seconds: float) -> None:
        time.sleep(3 * seconds)


def test_the_pace_of_a_scan_includes_its_rests_and_its_rate_does_not(run):
    scan = scan_of(run, ask(gaussian(0), gaussian(1)))
    writer = ScanWriter(scan.folder)
    request = writer.claim()
    bench = Workbench(run)
    assert compute(bench, writer, request, lambda: False, Rests()) == ScanState.DONE
    writer.finish(ScanState.DONE)
    report = scan.report()
    images = 9 * 1_200
    computing, resting = report.seconds["computing"], report.seconds["resting"]
    assert report.paced_images_per_second == pytest.approx(images / computing, rel=0.05)
    assert report.images_per_second == pytest.approx(images / (computing - resting), rel=0.05)
    assert report.share_computing < 0.5
    assert report.estimated_seconds == pytest.approx(
        images / (0.25 * report.bare_images_per_second)
    )


# Cancelling, leaving, dying.


def test_a_cancelled_scan_is_not_begun(run, serve):
    scan = scan_of(run, ask(ego(1)))
    cancel(scan.folder)
    assert serve(run) == 0
    assert scan.head().done == 0
    assert scan.state_word(scan.head()) == "cancelled"
    assert scan.geometry() is None


def test_a_scan_cancelled_under_way_stops_and_keeps_what_is_done(run, serve, monkeypatch):
    scan = scan_of(run, ask(ego(1), ego(2), points=(9, 9)))
    add, added = ScanWriter.add, []

    def add_and_cancel(writer, point, split, sums):
        add(writer, point, split, sums)
        added.append(len(sums))
        if len(added) == 5:
            cancel(writer.folder)

    monkeypatch.setattr(ScanWriter, "add", add_and_cancel)
    serve(run)
    head = scan.head()
    assert head.state == ScanState.CANCELLED
    # The group of visits that was under way is kept.
    assert len(added) >= 5
    assert head.done == sum(added) < head.total
    assert np.nansum(scan.cells()[:, :, 0]) == head.done
    serve(run)  # and it stays so
    assert scan.head() == head


@pytest.mark.parametrize("leave_after", [1, 2, 4])
def test_an_interrupted_scan_ends_with_the_same_bits(run, serve, leave_after):
    whole, parts = (scan_of(run, ask(ego(1), gaussian(0), split="both")) for _ in range(2))
    interrupted_after(run, parts, leave_after)
    head = parts.head()
    assert parts.state_word(head) == "interrupted"
    assert 0 < head.done < head.total
    serve(run)
    assert [state_of(whole), state_of(parts)] == [ScanState.DONE, ScanState.DONE]
    assert np.array_equal(whole.directions(), parts.directions())
    assert whole.cells().tobytes() == parts.cells().tobytes()
    assert whole.head().total == parts.head().total


def test_who_goes_on_keeps_the_micro_batch(run, serve, monkeypatch):
    # A plain model's bits depend on it, and the clock may choose another one every time.
    name = "lossviz_trainer.scan_setup.best_micro_batch"
    scan = scan_of(run, ask(ego(1), gaussian(0), precision="float64"))
    monkeypatch.setattr(name, lambda *_: (37, 1.0))
    interrupted_after(run, scan, 2)
    assert scan.report().micro_batch == 37
    monkeypatch.setattr(name, lambda *_: (64, 1.0))
    serve(run)
    assert (state_of(scan), scan.report().micro_batch) == (ScanState.DONE, 37)


def test_who_goes_on_keeps_what_was_said_and_says_it_once(run, serve, monkeypatch):
    honest = scanning._later
    monkeypatch.setattr(
        scanning,
        "_later",
        lambda report, *rest: honest(
            replace(report, notes=(*report.notes, "one process was lost")), *rest
        ),
    )
    monkeypatch.setattr(scanning, "REPORT_SECONDS", 0.0)
    scan = scan_of(run, ask(ego(1), ego(2), auto_span=True))
    interrupted_after(run, scan, 2)
    before = scan.report().notes
    assert any(note.startswith("span ") for note in before)
    serve(run)
    assert scan.report().notes == before


def test_a_worker_goes_on_with_directions_larger_than_a_reader_holds(run, serve, monkeypatch):
    monkeypatch.setattr("lossviz_analysis.store.scans.MAX_RESULT_BYTES", 100_000)
    scan = scan_of(run, ask(gaussian(0)))
    interrupted_after(run, scan, 1)
    with pytest.raises(StoreError, match="declares directions of 394634 values"):
        scan.directions()
    serve(run)
    assert state_of(scan) == ScanState.DONE
    again = DirectionSpec(kind="file", normalise="none", file=str(scan.folder), component=1)
    other = scan_of(run, ask(again))
    serve(run)
    assert state_of(other) == ScanState.DONE


def test_a_micro_batch_beyond_belief_is_measured_anew(run, serve):
    scan = scan_of(run, ask(gaussian(0)))
    interrupted_after(run, scan, 1)
    path = scan.folder / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"micro_batch": 10**12}))
    serve(run)
    assert state_of(scan) == ScanState.DONE
    assert scan.report().micro_batch <= 1_000


def test_an_interrupted_scan_of_an_earlier_checkpoint_goes_on_after_another(run, serve):
    # The model in the worker is shared by scans of different checkpoints and precisions.
    whole, parts = (scan_of(run, ask(ego(1), checkpoint=1, epoch=0)) for _ in range(2))
    interrupted_after(run, parts, 1)
    scan_of(run, ask(ego(4), precision="float64"))
    serve(run)
    assert whole.cells().tobytes() == parts.cells().tobytes()


@pytest.mark.slow
def test_a_killed_worker_is_followed_by_another_to_the_same_bits(run, serve, wait_for):
    big: dict[str, Any] = {"points": (31, 31), "examples": 100}
    scan = scan_of(run, ask(ego(1), ego(2), **big))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "lossviz_trainer", "work", str(run)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        wait_for(lambda: scan.head().done > 10, "the worker has begun")
    finally:
        process.kill()
        process.wait()
    head = scan.head()
    assert scan.state_word(head) == "interrupted"
    assert head.done < head.total
    serve(run)
    whole = scan_of(run, ask(ego(1), ego(2), **big))
    serve(run)
    assert state_of(scan) == state_of(whole) == ScanState.DONE
    assert whole.cells().tobytes() == scan.cells().tobytes()


def test_a_second_worker_leaves_at_once(run, serve):
    scan = scan_of(run, ask(ego(1)))
    lock = WriterLock(run / "scans")
    lock.acquire()
    try:
        started = time.monotonic()
        assert work(run, idle_seconds=600) == 0
        assert time.monotonic() - started < 60
    finally:
        lock.release()
    assert state_of(scan) == ScanState.QUEUED
    serve(run)
    assert state_of(scan) == ScanState.DONE


def test_a_worker_without_work_leaves_after_idling(run, serve):
    started = time.monotonic()
    assert serve(run, idle_seconds=0.3) == 0
    assert time.monotonic() - started >= 0.3


# Batch norm.


@pytest.fixture(scope="module")
def convolutional(make_run):
    """A ResNet20 and 30 digits of each split; its statistics are the initial ones."""
    return make_run("resnet20", 30, 30)


def statistics_of_the_training_split(run):
    """By PyTorch's own means: momentum 1 and one batch make the statistics the batch's."""
    model = build_model("resnet20", 10, seed=1)
    data = move_to_device(load_npz(run_source(run)), torch.device("cpu"))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()
    with torch.no_grad():
        model(data.train.inputs(0, 30, torch.float32))
    return model.eval(), data


@pytest.mark.slow
@pytest.mark.oracle
def test_recomputed_statistics_are_those_of_the_training_split(convolutional, serve):
    scans = {
        mode: scan_of(
            convolutional,
            ask(gaussian(0), batch_norm=mode, split="both", ranges=((-0.5, 0.5),)),
        )
        for mode in ("recompute", "frozen")
    }
    serve(convolutional)
    model, data = statistics_of_the_training_split(convolutional)
    for name in ("train", "test"):
        examples = data.split(name)
        with torch.no_grad():
            logits = model(examples.inputs(0, 30, torch.float32))
        found = {mode: read_result(scan).splits[name] for mode, scan in scans.items()}
        expected = functional.cross_entropy(logits, examples.labels).item()
        assert found["recompute"].loss[1] == pytest.approx(expected, rel=1e-4)
        mistakes = int((logits.argmax(1) != examples.labels).sum())
        assert round(30 * found["recompute"].mistake_rate[1]) == mistakes
        assert found["frozen"].loss[1] != pytest.approx(expected, rel=1e-2)


@pytest.mark.slow
def test_recomputing_leaves_nothing_behind_for_the_next_scan(convolutional, serve):
    frozen = ask(ego(1), points=(2,))
    scans = [
        scan_of(convolutional, frozen),
        scan_of(convolutional, replace(frozen, batch_norm="recompute")),
        scan_of(convolutional, frozen),
    ]
    serve(convolutional)
    first, recomputed, last = (scan.cells() for scan in scans)
    assert first.tobytes() == last.tobytes()
    assert first.tobytes() != recomputed.tobytes()


def test_a_folder_without_a_run_is_no_place_to_work(tmp_path, serve):
    assert serve(tmp_path) == 1
