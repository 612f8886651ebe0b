"""Scans in all their variants, computed by the worker and read back from the store."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import DirectionSpec, ScanRequest
from lossviz_analysis.store.results import read_result
from lossviz_analysis.store.scan_writer import ScanWriter, revive
from lossviz_analysis.store.scans import ScanReader, cancel, submit
from lossviz_analysis.store.schema import ScanState
from lossviz_analysis.store.writer import RunWriter
from lossviz_analysis.weightspace.evaluator import PointEvaluator
from lossviz_trainer import pool as pool_module
from lossviz_trainer import scan_axes, scan_setup, scan_trial, scanning
from lossviz_trainer.datasets.npz import load_npz
from lossviz_trainer.device import choose_devices
from lossviz_trainer.models import build_model
from lossviz_trainer.resident import move_to_device
from lossviz_trainer.sentinels import sentinel_points
from lossviz_trainer.state import capture
from lossviz_trainer.workbench import Workbench


def ego(label):
    return DirectionSpec(kind="ego", normalise="none", class_index=label)


def gaussian(seed):
    return DirectionSpec(kind="gaussian", normalise="filter", seed=seed)


def toward(number, run=None):
    return DirectionSpec(
        kind="toward", normalise="none", toward_checkpoint=number, toward_run=run
    )


def pca(component):
    return DirectionSpec(kind="pca", normalise="none", component=component)


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


@pytest.fixture
def scanned(serve):
    """A scan as it came out of the worker, done."""

    def go(run, request) -> ScanReader:
        scan = ScanReader(run, submit(run, request))
        serve(run)
        assert scan.head().state == ScanState.DONE, scan.message()
        return scan

    return go


@pytest.fixture(scope="module")
def taught(make_run):
    """A perceptron trained by a few steps, with a checkpoint after each of four epochs."""
    path = make_run("mlp", 700, 60)
    data = move_to_device(load_npz(path.parent / "some.npz"), torch.device("cpu"))
    model = build_model("mlp", 10, seed=3)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with RunWriter(path) as writer:
        for epoch in range(2, 6):
            for start in range(0, 700, 50):
                images = data.train.inputs(start, start + 50, torch.float32)
                loss = functional.cross_entropy(
                    model(images), data.train.labels[start : start + 50]
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            writer.commit_checkpoint(capture(model, None, epoch=epoch))
    return path


@pytest.fixture
def run(taught, tmp_path) -> Path:
    return shutil.copytree(taught, tmp_path / "x.zarr")


def weights(run, number):
    content = RunReader(run).checkpoint(number)
    return np.concatenate([w.ravel() for w in content.parameters.values()]).astype(float)


LAST: dict[str, Any] = {"checkpoint": 6, "epoch": 5}
WAY = (3, 4, 5, 6)


def test_a_pca_plane_holds_its_last_checkpoint_and_says_how_far_the_others_are(run, scanned):
    scan = scanned(run, ask(pca(1), pca(2), trajectory=WAY, **LAST))
    geometry = scan.geometry()
    assert geometry is not None
    rows = np.stack([weights(run, n) - weights(run, 6) for n in WAY[:-1]])
    values = np.linalg.svd(rows, compute_uv=False) ** 2
    np.testing.assert_allclose(geometry.explained, values[:2] / values.sum(), rtol=1e-5)
    np.testing.assert_allclose(geometry.direction_norms, 1.0, rtol=1e-6)
    assert geometry.cosine == pytest.approx(0, abs=1e-5)
    axes = scan.directions().astype(float)
    for (epoch, t1, t2, distance), number in zip(geometry.trajectory, WAY, strict=True):
        assert epoch == number - 1
        offset = weights(run, number) - weights(run, 6)
        np.testing.assert_allclose((t1, t2), axes @ offset, atol=1e-4)
        beside = np.linalg.norm(offset - (t1 * axes[0] + t2 * axes[1]))
        assert distance == pytest.approx(beside, abs=1e-3)
    assert geometry.trajectory[-1][1:] == (0.0, 0.0, 0.0)


def test_a_pca_plane_without_a_span_holds_the_whole_way(run, scanned):
    scan = scanned(run, ask(pca(1), pca(2), trajectory=WAY, auto_span=True, **LAST))
    geometry = scan.geometry()
    assert geometry is not None
    for axis, coordinates in enumerate(scan.coordinates(), start=1):
        places = [row[axis] for row in geometry.trajectory] + [0.0]
        extent = max(places) - min(places)
        assert coordinates[0] == pytest.approx(min(places) - 0.15 * extent)
        assert coordinates[-1] == pytest.approx(max(places) + 0.15 * extent)


@pytest.mark.parametrize(("seconds", "is_worth_it"), [(1e9, False), (0.0, True)])
def test_compiling_is_tried_once_where_what_is_left_is_long(
    run, scanned, monkeypatch, seconds, is_worth_it
):
    compiled = []
    monkeypatch.setattr("lossviz_trainer.scanning.COMPILED_DEVICES", ("cpu",))
    monkeypatch.setattr("lossviz_trainer.scanning.COMPILE_SECONDS", seconds)
    monkeypatch.setattr(PointEvaluator, "compile", lambda *_: compiled.append(1))
    scanned(run, ask(ego(1), ego(2), points=(9, 9), **LAST))
    assert compiled == ([1] if is_worth_it else [])


def test_the_way_of_a_run_is_drawn_on_any_plane(run, scanned):
    geometry = scanned(run, ask(toward(3), gaussian(1), trajectory=WAY, **LAST)).geometry()
    assert geometry is not None
    assert geometry.explained == ()
    np.testing.assert_allclose(geometry.trajectory[0][1:], (1, 0, 0), atol=1e-3)
    assert len(geometry.trajectory) == 4


def test_the_axes_of_a_plane_can_be_made_orthonormal(run, scanned):
    plain, true = (
        scanned(run, ask(ego(1), ego(2), orthonormalise=wanted, **LAST))
        for wanted in (False, True)
    )
    axes = true.directions().astype(float)
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-6)
    raw = plain.directions().astype(float)
    np.testing.assert_allclose(axes[0], raw[0] / np.linalg.norm(raw[0]), atol=1e-6)
    first, second = plain.geometry(), true.geometry()
    assert first is not None
    assert second is not None
    # What is told of the directions is told of them as they were made.
    assert first.direction_norms == second.direction_norms
    assert first.cosine == second.cosine


def test_a_direction_of_an_earlier_scan_can_be_used_again(run, scanned):
    first = scanned(run, ask(gaussian(4), gaussian(5), **LAST))
    again = DirectionSpec(kind="file", normalise="none", file=str(first.folder), component=2)
    second = scanned(run, ask(again, **LAST))
    assert np.array_equal(second.directions()[0], first.directions()[1])


def test_a_line_of_uneven_points_and_a_rectangular_grid(run, scanned):
    request = ask(
        toward(3), gaussian(0), points=(4, 7), ranges=((-0.5, 1.5), (-1.0, 0.25)), **LAST
    )
    scan = scanned(run, request)
    assert [len(axis) for axis in scan.coordinates()] == [4, 7]
    assert read_result(scan).splits["train"].loss.shape == (4, 7)


def test_interpolating_ends_at_the_two_models(make_run, scanned):
    run = make_run("resnet20", 40, 20)
    with RunWriter(run) as writer:
        model = build_model("resnet20", 10, seed=7)
        data = move_to_device(load_npz(run.parent / "some.npz"), torch.device("cpu"))
        model.train()
        with torch.no_grad():
            for _ in range(3):
                model(data.train.inputs(0, 40, torch.float32))
        writer.commit_checkpoint(capture(model, None, epoch=2))
    line = ask(
        toward(3), points=(5,), ranges=((-0.5, 1.5),), batch_norm="interpolate", split="both"
    )
    result = read_result(scanned(run, line)).splits["train"]
    for number, place in ((2, 1), (3, 3)):
        alone = ask(gaussian(0), checkpoint=number, epoch=number - 1)
        expected = read_result(scanned(run, alone)).splits["train"]
        assert result.loss[place] == pytest.approx(expected.loss[1], rel=1e-5)
        assert result.mistake_rate[place] == expected.mistake_rate[1]


def test_a_point_of_negative_variance_is_void_and_said(make_run, scanned):
    run = make_run("resnet20", 40, 20)
    with RunWriter(run) as writer:
        model = build_model("resnet20", 10, seed=1)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.running_var is not None
                module.running_var.fill_(0.2)
        writer.commit_checkpoint(capture(model, None, epoch=2))
    line = ask(
        toward(3), points=(5,), ranges=((-0.5, 1.5),), batch_norm="interpolate", split="test"
    )
    scan = scanned(run, line)
    # 1 + t (0.2 - 1) is negative beyond 1.25.
    seen = scan.cells()[:, 0, 1:11].sum(axis=1)
    assert seen.tolist() == [20, 20, 20, 20, 0]
    assert any("negative running variance" in note for note in scan.report().notes)


def test_the_span_is_found_recorded_and_said(run, scanned):
    scan = scanned(run, ask(ego(3), ego(8), auto_span=True, points=(5, 5), **LAST))
    geometry, coordinates = scan.geometry(), scan.coordinates()
    assert geometry is not None
    span = geometry.provenance["span"]["chosen"]
    assert [axis[[0, -1]].tolist() for axis in coordinates] == [[-span, span]] * 2
    assert len(geometry.provenance["span"]["probes"]) > 1
    assert any("half-way to chance" in note for note in scan.report().notes)
    rates = read_result(scan).splits["train"].mistake_rate
    centre, chance = rates[2, 2], 0.9
    edges = max(rates[0, 2], rates[4, 2], rates[2, 0], rates[2, 4])
    assert (centre + chance) / 2 - 0.25 < edges < (centre + chance) / 2 + 0.25
    # Another worker goes on with the span that was found, not with another one.
    again = ScanReader(run, scan.scan_id).coordinates()
    assert all(np.array_equal(a, b) for a, b in zip(coordinates, again, strict=True))


@pytest.mark.parametrize("orthonormalise", [False, True])
def test_the_search_along_random_directions_begins_at_the_distance_they_bear(
    run, scanned, orthonormalise
):
    plane = ask(gaussian(0), gaussian(1), auto_span=True, examples=50, **LAST)
    geometry = scanned(run, replace(plane, orthonormalise=orthonormalise)).geometry()
    assert geometry is not None
    span = geometry.provenance["span"]
    first = abs(span["probes"][0][1])
    assert 0.1 < span["chosen"] / first < 10
    assert len(span["probes"]) < 16


def test_at_chance_the_range_is_the_one_that_was_asked_for(run, scanned, monkeypatch):
    monkeypatch.setattr("lossviz_analysis.surfaces.span._LEAST_RISE", 2.0)
    scan = scanned(run, ask(ego(3), auto_span=True, **LAST))
    assert scan.coordinates()[0].tolist() == [-0.1, 0.0, 0.1]
    assert any("span 0.1 as given" in note for note in scan.report().notes)


def test_the_centre_is_stored_on_the_grid_and_off_it(taught, run, scanned):
    on = scanned(run, ask(gaussian(0), split="both", **LAST)).report().centre
    off = scanned(run, ask(gaussian(0), points=(4,), split="both", **LAST)).report().centre
    assert on.keys() == {"train", "test"}
    for name in on:
        assert on[name] == pytest.approx(off[name], rel=1e-12)
    model = build_model("mlp", 10, seed=0)
    content = RunReader(run).checkpoint(6)
    for parameter, values in zip(model.parameters(), content.parameters.values(), strict=True):
        parameter.data = torch.from_numpy(values.copy())
    data = move_to_device(load_npz(taught.parent / "some.npz"), torch.device("cpu")).test
    with torch.no_grad():
        logits = model(data.inputs(0, 60, torch.float32))
    loss = functional.cross_entropy(logits, data.labels).item()
    assert on["test"]["loss"] == pytest.approx(loss, rel=1e-5)
    assert on["test"]["mistake_rate"] == float(
        (logits.argmax(1) != data.labels).double().mean()
    )


def test_a_fast_scan_tells_how_far_it_is_from_exact(run, scanned):
    exact, fast = (
        scanned(run, ask(gaussian(0), gaussian(1), precision=word, **LAST))
        for word in ("exact", "fast")
    )
    geometry, report = fast.geometry(), fast.report()
    assert geometry is not None
    assert geometry.provenance["arithmetic"] == report.precision == "fast"
    assert report.deviation.keys() == {"loss", "relative", "mistakes"}
    assert any("fast differs from exact by" in note for note in report.notes)
    losses = [read_result(scan).splits["train"].loss for scan in (exact, fast)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-2, atol=5e-4)


def test_out_of_tolerance_a_fast_scan_becomes_an_exact_one_and_says_so(
    run, scanned, monkeypatch
):
    monkeypatch.setattr("lossviz_trainer.sentinels.RELATIVE_TOLERANCE", -1.0)
    honest = scan_trial.Trial.check_fast
    # As where 16 bits are fast, whatever this machine is.
    monkeypatch.setattr(
        scan_trial.Trial, "check_fast", lambda *given: (honest(*given)[0], torch.bfloat16)
    )
    exact = scanned(run, ask(gaussian(0), **LAST))
    fast = scanned(run, ask(gaussian(0), precision="fast", **LAST))
    assert fast.report().precision == "exact"
    for scan in (exact, fast):
        geometry = scan.geometry()
        assert geometry is not None
        assert geometry.provenance["compute_dtype"] == "float32"
    assert any("too much, so this scan is exact" in note for note in fast.report().notes)
    assert fast.cells().tobytes() == exact.cells().tobytes()


@pytest.mark.parametrize("grid", [(19, 19), (3, 3), (2, 5), (41,), (4,)])
def test_sentinels_are_the_centre_the_corners_and_what_is_between(grid):
    found = sentinel_points(grid)
    assert len(set(found)) == len(found) <= 9
    assert {0, math.prod(grid) - 1} <= set(found)
    if all(n % 2 for n in grid):
        assert math.prod(grid) // 2 in found
    if grid == (19, 19):
        places = np.stack(np.unravel_index(found, grid), axis=1).tolist()
        assert places == [[a, b] for a in (0, 9, 18) for b in (0, 9, 18)]


def test_clipped_points_are_left_early_and_the_others_are_not_touched(run, scanned):
    wide: dict[str, Any] = {"points": (7, 7), "ranges": ((-6.0, 6.0),) * 2} | LAST
    whole = scanned(run, ask(gaussian(0), gaussian(1), **wide))
    clipped = scanned(run, ask(gaussian(0), gaussian(1), clip=2.0, **wide))
    full, found = whole.cells(), clipped.cells()
    is_short = found[:, 0, 0] < full[:, 0, 0]
    losses = read_result(whole).splits["train"].loss.ravel()
    assert is_short.any()
    assert (losses[is_short] > 2.0).all()
    assert np.array_equal(found[~is_short], full[~is_short])
    assert clipped.head().done < whole.head().done


@pytest.mark.parametrize("what", ["directions", "cells"])
def test_a_cancel_is_heard_within_a_chunk(run, serve, monkeypatch, what):
    monkeypatch.setattr("lossviz_trainer.scanning.LOOK_SECONDS", 0.0)
    heard = []
    honest = ScanWriter.is_cancelled

    def is_cancelled(writer):
        heard.append(1)
        has_begun = bool(scan.report().forward)
        if len(heard) > 1 and has_begun == (what == "cells"):
            cancel(writer.folder)
        return honest(writer)

    monkeypatch.setattr(ScanWriter, "is_cancelled", is_cancelled)
    request = ask(ego(1), ego(2), is_final=True, points=(9, 9), **LAST)
    scan = ScanReader(run, submit(run, request))
    serve(run)
    head = scan.head()
    assert head.state == ScanState.CANCELLED
    assert (scan.geometry() is None) == (what == "directions")
    assert head.done < 81 * 4
    revive(scan.folder)
    monkeypatch.setattr(ScanWriter, "is_cancelled", honest)
    serve(run)
    assert scan.head().state == ScanState.DONE


@pytest.mark.parametrize(
    ("place", "name", "changes"),
    [
        (scan_trial, "find_span", {"auto_span": True}),
        (scan_trial, "sentinel_deviation", {"precision": "fast"}),
        (scan_axes, "principal_components", {"trajectory": WAY}),
        (scan_axes, "project", {"trajectory": WAY}),
        (scan_setup, "best_micro_batch", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_cancel_is_heard_while_a_scan_is_set_up(
    run, serve, monkeypatch, place, name, changes
):
    monkeypatch.setattr("lossviz_trainer.scanning.LOOK_SECONDS", 0.0)
    honest, ends = getattr(place, name), []

    def cancelled(*given, **options):
        cancel(scan.folder)
        found = honest(*given, **options)
        ends.append(name)
        return found

    monkeypatch.setattr(place, name, cancelled)
    axis = pca(1) if name == "principal_components" else ego(1)
    scan = ScanReader(run, submit(run, ask(axis, **changes, **LAST)))
    serve(run)
    assert scan.head().state == ScanState.CANCELLED
    assert ends == []


def test_a_final_scan_is_the_same_to_the_bit(run, scanned):
    usual, final = (
        scanned(run, ask(ego(1), ego(2), is_final=wanted, **LAST)) for wanted in (False, True)
    )
    assert usual.cells().tobytes() == final.cells().tobytes()


def test_a_refined_scan_leaves_points_out_and_has_the_others_to_the_bit(run, scanned):
    big: dict[str, Any] = {"points": (33, 17), "examples": 50} | LAST
    whole = scanned(run, ask(gaussian(0), gaussian(1), **big))
    refined = scanned(run, ask(gaussian(0), gaussian(1), refine=True, **big))
    known = ~np.isnan(refined.cells()[:, 0, 0])
    assert 9 * 9 <= known.sum() < known.size
    assert np.array_equal(refined.cells()[known], whole.cells()[known])


@pytest.mark.slow
def test_two_processes_share_a_scan_to_the_same_bits(run, scanned):
    one, two = (
        scanned(run, ask(ego(1), gaussian(2), points=(9, 9), device=device, **LAST))
        for device in ("cpu", "cpu,cpu")
    )
    assert one.cells().tobytes() == two.cells().tobytes()
    assert two.report().notes == ()


@pytest.mark.slow
def test_a_lost_process_is_survived_and_said(run, scanned, monkeypatch):
    honest = pool_module.Pool._receive
    lost = []

    def receive(self, worker, planner, num_classes):
        if worker.is_ready and not lost:
            lost.append(worker.process.pid)
            worker.process.kill()
            worker.process.join()
        return honest(self, worker, planner, num_classes)

    monkeypatch.setattr(pool_module.Pool, "_receive", receive)
    request = ask(ego(1), gaussian(2), points=(9, 9), device="cpu,cpu", **LAST)
    two = scanned(run, request)
    assert lost
    assert any("was lost" in note for note in two.report().notes)
    one = scanned(run, replace(request, device="cpu"))
    assert one.cells().tobytes() == two.cells().tobytes()


def test_what_a_scan_costs_is_told_before_and_after(run, scanned):
    report = scanned(run, ask(ego(1), ego(2), **LAST)).report()
    assert report.estimated_seconds > 0
    assert report.num_bytes > 0
    assert report.images_per_second > 0
    assert report.bare_images_per_second > 0
    assert report.micro_batch > 0
    assert report.forward
    assert report.seconds["setup"] > 0


@pytest.mark.parametrize(
    ("names", "shares"), [("cpu", 1), ("cpu,cpu,cpu", 1), ("cuda:0,cuda:1", 2), ("cuda,cpu", 1)]
)
def test_the_estimate_counts_processes_on_one_cpu_as_one(run, monkeypatch, names, shares):
    monkeypatch.setattr(scan_setup, "best_micro_batch", lambda *_: (50, 1_000.0))
    found = tuple(torch.device(name) for name in names.split(","))
    bench, device = Workbench(run), torch.device("cpu")
    scan = ScanReader(run, submit(run, ask(gaussian(0), examples=50, **LAST)))
    writer = ScanWriter(scan.folder)
    setup, _ = scan_setup.set_up(bench, writer, writer.claim(), device)
    running = scan_setup.make_engine(setup)
    force = scanning._Force(running, None, found)
    report = scanning._first_report(setup, force, [], seconds=0.0, share=1.0)
    writer.release()
    running.engine.close()
    assert report.bare_images_per_second == 1_000.0 * shares
    assert report.estimated_seconds == 3 * 50 / (1_000.0 * shares)


def test_a_class_has_its_gradient_taken_once_for_all_scans_of_a_checkpoint(
    run, serve, monkeypatch
):
    asked = []
    honest = scan_axes.ego_directions

    def count(model, examples, classes, **options):
        asked.append(classes)
        return honest(model, examples, classes, **options)

    monkeypatch.setattr(scan_axes, "ego_directions", count)
    scans = [
        ScanReader(run, submit(run, ask(*map(ego, pair), **LAST))) for pair in ((1, 2), (2, 5))
    ]
    serve(run)
    # What follows is made ahead, while there is nothing else to do.
    assert asked[:2] == [(1, 2), (5,)]
    assert all(asked.count(classes) == 1 for classes in asked)
    first, second = (scan.directions() for scan in scans)
    assert np.array_equal(first[1], second[0])


def test_an_idle_worker_makes_the_directions_of_the_other_classes_ahead(
    run, serve, monkeypatch
):
    asked = []
    honest = scan_axes.ego_directions

    def count(model, examples, classes, **options):
        asked.append(classes)
        return honest(model, examples, classes, **options)

    monkeypatch.setattr(scan_axes, "ego_directions", count)
    scan = ScanReader(run, submit(run, ask(ego(1), ego(2), **LAST)))
    serve(run, idle_seconds=2.0)
    assert scan.head().state == ScanState.DONE
    assert asked == [(1, 2), *((k,) for k in (0, 3, 4, 5, 6, 7, 8, 9))]


def test_nothing_is_made_ahead_while_the_run_is_trained(run, serve, monkeypatch):
    monkeypatch.setattr("lossviz_trainer.duty.DutyCycle.is_trained", lambda _: True)
    made = []
    monkeypatch.setattr(scan_axes, "make_ahead", lambda _: made.append(1))
    monkeypatch.setattr("lossviz_trainer.scanning.make_ahead", lambda _: made.append(1))
    scan = ScanReader(run, submit(run, ask(ego(1), **LAST)))
    serve(run, idle_seconds=0.5)
    assert scan.head().state == ScanState.DONE
    assert made == []


def test_a_worker_that_waits_looks_seldom_whether_the_run_is_trained(run, serve, monkeypatch):
    looked = []
    monkeypatch.setattr(
        "lossviz_trainer.duty.DutyCycle._look", lambda _: looked.append(1) or True
    )
    submit(run, ask(ego(1), points=(2,), **LAST))
    serve(run, idle_seconds=0.5)
    assert len(looked) <= 2


def test_a_scan_asked_for_meanwhile_comes_before_what_is_made_ahead(run, serve, monkeypatch):
    honest = scan_axes.ego_directions
    later = []

    def ask_meanwhile(model, examples, classes, **options):
        if len(classes) == 1 and not later:
            later.append(ScanReader(run, submit(run, ask(gaussian(3), **LAST))))
        return honest(model, examples, classes, **options)

    monkeypatch.setattr(scan_axes, "ego_directions", ask_meanwhile)
    submit(run, ask(ego(1), ego(2), **LAST))
    serve(run, idle_seconds=1.0)
    assert later[0].head().state == ScanState.DONE


def test_a_chunk_layout_of_another_version_is_begun_anew(run, scanned, monkeypatch):
    request = ask(gaussian(0), **LAST)
    expected = scanned(run, request)
    monkeypatch.setattr(
        "lossviz_analysis.weightspace.examples.chunk_bounds", lambda n, _: (0, 20, n)
    )
    other = scanned(run, request)
    assert other.cells()[0, 0, 0] == 2
    monkeypatch.undo()
    assert expected.cells()[0, 0, 0] == 5


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (ask(pca(3), trajectory=(5, 6), **LAST), ["principal component"]),
        (ask(toward(6), gaussian(0), **LAST), ["zero", "parallel", "length", "equal"]),
        (ask(gaussian(0), device="cpu,tpu", **LAST), ["tpu"]),
    ],
)
def test_what_cannot_be_scanned_fails_with_a_sentence(run, serve, request_, words):
    scan = ScanReader(run, submit(run, replace(request_, orthonormalise=request_.dims == 2)))
    serve(run)
    assert scan.head().state == ScanState.FAILED
    assert any(word in scan.message() for word in words), scan.message()
    assert "Error" not in scan.message()


def test_devices_are_checked_one_by_one():
    assert [d.type for d in choose_devices("cpu, cpu")] == ["cpu", "cpu"]
    with pytest.raises(LossvizError, match="at most"):
        choose_devices(",".join(["cpu"] * 65))
