"""The benchmark agrees with its reference, lets nobody wrong have a speed, and says it in JSON.

Of agreement, not of speed: how fast is for people to look at.
"""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.__main__ import main
from lossviz_trainer.arithmetic import Arithmetic
from lossviz_trainer.bench import clock, floors, ground, scan
from lossviz_trainer.bench.clock import Times, by_turns
from lossviz_trainer.bench.contenders import BareForward, Ours
from lossviz_trainer.bench.floors import Layer, Peaks, layers_of, roofline_seconds
from lossviz_trainer.bench.folding import folded
from lossviz_trainer.bench.ground import lay_ground
from lossviz_trainer.bench.oracle import deviation, true_loss
from lossviz_trainer.bench.report import Row, environment
from lossviz_trainer.bench.scan import (
    EXACT,
    FAST,
    PEER,
    PEER_WORKERS,
    RESIDENT,
    Entry,
    bench_scan,
    coarse_points,
    frozen_entries,
)
from lossviz_trainer.bench.spec import BenchSpec
from lossviz_trainer.bench.train import BareStep, bench_train, true_losses
from lossviz_trainer.models import build_model

CPU = torch.device("cpu")
PEAKS = Peaks(matmul={"float32": 1e11, "bfloat16": 4e11}, copy=1e10)


@pytest.fixture(scope="module")
def perceptron():
    return lay_ground("mlp", images=120, points=2, device=CPU)


def small(num_classes):
    """Convolutions and batch norms, small enough for a test."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 49, num_classes),
    )


@pytest.fixture(scope="module")
def normed():
    """The problem of a small network with batch norm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ground, "build_model", lambda _net, classes, **_: small(classes))
        torch.manual_seed(0)
        return lay_ground("small", images=100, points=2, device=CPU)


def rows_of(events, table):
    return {e["name"]: e for e in events if e["event"] == "row" and e["table"] == table}


# scan


def check_speeds(rows):
    assert all(row["is_right"] for row in rows.values()), rows
    for name, row in rows.items():
        assert row["best_images_per_second"] >= row["images_per_second"] > 0, name
        assert math.isfinite(row["of_peer"]), name
    assert rows[PEER]["of_peer"] == rows[PEER]["cpu_of_peer"] == 1


@pytest.mark.slow
def test_every_contender_on_a_perceptron_agrees_with_the_reference(perceptron):
    events = []
    bench_scan(perceptron, repeats=2, peaks=PEAKS, compiled=False, emit=events.append)
    rows = rows_of(events, "scan, frozen")
    assert set(rows) == {"bare forward", PEER, PEER_WORKERS, RESIDENT, EXACT, FAST}
    check_speeds(rows)
    assert rows["bare forward"]["of_bound"] == 1
    flops = 2 * (3_072 * 128 + 128 * 10)
    for row in rows.values():
        assert row["matmul_share"] == pytest.approx(row["images_per_second"] * flops / 1e11)
    summary = events[-1]
    assert summary["event"] == "summary"
    assert summary["gflop_per_image"] == pytest.approx(flops / 1e9)
    assert summary["first_picture_seconds"] > 0
    assert not rows_of(events, "scan, recompute")  # it has no batch norm
    assert "first layer" in rows[EXACT]["note"]


@pytest.mark.slow
def test_every_contender_on_a_network_with_batch_norm_agrees_with_the_reference(normed):
    events = []
    bench_scan(normed, repeats=1, peaks=PEAKS, compiled=False, emit=events.append)
    check_speeds(rows_of(events, "scan, frozen"))
    again = rows_of(events, "scan, recompute")
    assert set(again) == {PEER, PEER_WORKERS, EXACT, FAST}
    check_speeds(again)
    assert all(row["of_bound"] is row["roofline_share"] is None for row in again.values())


@pytest.mark.parametrize("error", [1e-3, math.nan, math.inf])
def test_a_contender_that_is_wrong_gets_no_speed(perceptron, monkeypatch, error):
    class Wrong(BareForward):
        ran = 0

        def run(self, points):
            self.ran += 1
            super().run(points)

        def losses(self, points):
            found = super().losses(points)
            return [*found[:-1], found[-1] * (1 + error)]

    made = []

    def make():
        made.append(Wrong(perceptron))
        return made[-1]

    right = Entry(make=lambda: BareForward(perceptron), is_bound=True)
    entries = {"right": right, "wrong": Entry(make=make, is_bound=True)}
    entries[EXACT] = Entry(make=lambda: Ours(perceptron))
    monkeypatch.setattr(scan, "frozen_entries", lambda _ground, **_options: entries)
    events = []
    bench_scan(perceptron, repeats=2, peaks=PEAKS, compiled=False, emit=events.append)
    rows = rows_of(events, "scan, frozen")
    assert [row["is_right"] for row in rows.values()] == [True, False, True]
    assert rows["wrong"]["images_per_second"] is None
    assert not rows["wrong"]["deviation"] <= 1
    assert rows["right"]["of_bound"] == 1  # the wrong one bounds nothing
    assert made[0].ran == 1  # to warm up, and then no more


def test_compiled_contenders_take_part_where_a_compiler_works(perceptron):
    without, with_them = (frozen_entries(perceptron, compiled=c) for c in (False, True))
    assert with_them.keys() - without.keys() == {
        "bare forward, compiled",
        "ours, exact, compiled",
        "ours, fast, compiled",
    }
    for name, entry in with_them.items():
        assert entry.is_bound == name.startswith("bare")
        assert entry.kind == ("fast" if "fast" in name else "exact")


def test_the_reference_is_what_a_beginner_would_write(perceptron):
    """One image at a time, the weights from the two directions as flat vectors."""
    point = perceptron.points[1]
    model = perceptron.model().double()
    flat = torch.cat([p.detach().flatten() for p in perceptron.origin.parameters()]).double()
    for coordinate, direction in zip(point, perceptron.directions, strict=True):
        flat = flat + coordinate * direction.double()
    nn.utils.vector_to_parameters(flat, model.parameters())
    total = 0.0
    for pixels, label in zip(perceptron.pixels, perceptron.labels, strict=True):
        image = torch.from_numpy(pixels).double().permute(2, 0, 1) / 255
        mean, std = (
            torch.tensor(values).double()[:, None, None]
            for values in (perceptron.normaliser.mean, perceptron.normaliser.std)
        )
        logits = model(((image - mean) / std)[None])
        total += functional.cross_entropy(logits, torch.tensor([label])).item()
    found = true_loss(perceptron, point, "frozen")
    assert found == pytest.approx(total / 120, rel=1e-6)
    assert found != pytest.approx(true_loss(perceptron, (0.0, 0.0), "frozen"), rel=0.1)


def test_statistics_of_one_batch_are_the_same_in_both_ways(normed):
    """With fewer images than a batch both are those of all images at once."""
    point = normed.points[0]
    ways = [true_loss(normed, point, way) for way in ("frozen", "recompute", "average")]
    assert ways[1] == pytest.approx(ways[2], rel=1e-12)
    assert ways[0] != pytest.approx(ways[1], rel=1e-3)


def test_what_is_tolerated():
    assert deviation(2.0 + 2e-5 + 1e-6, 2.0, "exact") == pytest.approx(1)
    assert deviation(2.0 - 4.05e-2, 2.0, "fast") == pytest.approx(1)
    assert math.isnan(deviation(math.nan, 2.0, "fast"))


def test_a_first_picture_has_81_points_of_the_plane():
    points = coarse_points()
    assert len(set(points)) == 81
    axis = sorted({a for a, _ in points})
    assert len(axis) == 9
    assert (axis[0], axis[4], axis[-1]) == (-1.0, 0.0, 1.0)
    assert set(points) == set(itertools.product(axis, axis))


def test_the_compiled_bound_follows_the_weights(perceptron, monkeypatch):
    """Code that has taken its weights in would go on to give the old losses."""
    monkeypatch.setattr(torch, "compile", lambda net, **_: net.forward)
    contender = BareForward(perceptron, compiled=True)
    points = [(0.0, 0.0), *perceptron.points]
    for found, point in zip(contender.losses(points), points, strict=True):
        assert deviation(found, true_loss(perceptron, point, "frozen"), "exact") <= 1


IMAGES = torch.zeros(1, 3, 32, 32)


# train


@pytest.mark.slow
def test_every_step_agrees_with_the_reference(normed):
    events = []
    bench_train(normed, steps=1, repeats=1, compiled=False, emit=events.append)
    rows = rows_of(events, "train")
    assert len(rows) == 6
    for name, row in rows.items():
        assert row["is_right"], row
        if name.startswith("bare"):
            assert row["of_bound"] == 1
    assert rows["bare, plain"]["of_peer"] == 1


def test_a_step_that_is_wrong_gets_no_speed(perceptron, monkeypatch):
    monkeypatch.setattr(
        "lossviz_trainer.bench.train.arithmetics", lambda **_: {"plain": Arithmetic()}
    )
    monkeypatch.setattr(BareStep, "_plain_loss", wrong_loss)
    events = []
    bench_train(perceptron, steps=1, repeats=1, compiled=False, emit=events.append)
    rows = rows_of(events, "train")
    assert not rows["bare, plain"]["is_right"]
    assert rows["bare, plain"]["images_per_second"] is None
    assert rows["ours, plain"]["is_right"]
    assert rows["ours, plain"]["of_bound"] is None


def wrong_loss(self, images, labels):
    return functional.cross_entropy(self._model(images), labels, label_smoothing=0.01)


def test_the_reference_of_a_step_is_that_of_torch(perceptron):
    step = BareStep(perceptron, Arithmetic())
    model = perceptron.model().double().train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    for number, true in enumerate(true_losses(perceptron, step)):
        images, labels = step.batch(number)
        loss = functional.cross_entropy(model(images.double()), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        assert true == pytest.approx(loss.item(), rel=1e-12)


# floors


@pytest.mark.parametrize("net", ["mlp", "resnet18", "googlenet", "densenet121"])
def test_operations_are_those_torch_counts(net):
    model = build_model(net, 10, seed=0).eval()
    with FlopCounterMode(display=False) as counter:
        folded(model)(IMAGES)
    assert sum(layer.flops for layer in layers_of(model, IMAGES)) == counter.get_total_flops()


def test_every_activation_is_read_once_and_written_once():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 16 * 16, 10),
    ).eval()
    plane = 32 * 32
    assert layers_of(model, IMAGES) == (
        Layer("convolution", 2 * 4 * 27 * plane, 3 * plane + 4 * plane),
        Layer("max_pool2d_with_indices", 0, 4 * plane + plane),
        Layer("linear", 2 * plane * 10, plane + 10),
    )


def test_a_residual_addition_costs_reading_the_shortcut():
    layers = layers_of(build_model("resnet20", 10, seed=0).eval(), IMAGES)
    additions = [layer.elements for layer in layers if layer.kind == "addition"]
    assert additions == [16 * 1024] * 3 + [32 * 256] * 3 + [64 * 64] * 3


def test_the_floor_is_the_slower_of_arithmetic_and_memory_layer_by_layer():
    layers = (Layer("a", flops=100, elements=1), Layer("b", flops=1, elements=50))
    found = roofline_seconds(layers, flops=10.0, bandwidth=20.0, element_bytes=4)
    assert found == 100 / 10 + 4 * 50 / 20


def test_peaks_are_rates(monkeypatch):
    monkeypatch.setattr(floors, "_MATRIX_SIDE", {"cpu": 64})
    monkeypatch.setattr(floors, "_COPY_BYTES", {"cpu": 2**16})
    monkeypatch.setattr(floors, "seconds_of", lambda deed, _device: deed() is None or 0.5)
    peaks = floors.measure_peaks(CPU)
    flops = 2 * 64 * 32 * 32 * 8**2 / 0.5  # of the convolution, the larger of the two
    assert flops > 2 * 64**3 / 0.5
    assert peaks == Peaks({"float32": flops, "bfloat16": flops}, 2 * 2**16 / 0.5)


@pytest.mark.parametrize("net", ["resnet20", "vgg9", "dla", "densenet121"])
def test_a_folded_network_computes_the_same_and_leaves_the_original_alone(net):
    model = build_model(net, 10, seed=0)
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model.train()(images)
    before = {name: t.clone() for name, t in model.eval().state_dict().items()}
    with torch.no_grad():
        made = folded(model)
        torch.testing.assert_close(made(images), model(images), rtol=1e-3, atol=1e-4)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in made.modules())
    assert norms == {"densenet121": 62}.get(net, 0)
    assert all(p.requires_grad for p in model.parameters())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


# clock


def test_contenders_take_turns(monkeypatch):
    monkeypatch.setattr(clock, "TURN_SECONDS", 0.0)
    calls = []
    by_turns(
        {name: lambda n=name: calls.append(n) for name in "ABC"},
        repeats=2,
        device=CPU,
        on_turn=lambda name, turn: calls.append(f"{turn}{name}"),
    )
    assert calls[:3] == ["A", "B", "C"]  # untimed
    assert calls[3:] == ["0A", "A", "0B", "B", "0C", "C", "1A", "A", "1B", "B", "1C", "C"]


def test_what_is_over_in_no_time_is_done_several_times_in_a_turn(monkeypatch):
    calls = []
    monkeypatch.setattr(
        clock, "seconds_of", lambda deed, _device: (deed(), calls.append("|"), 0.1)[-1]
    )
    found = by_turns(
        {"A": lambda: calls.append("A")}, repeats=2, device=CPU, on_turn=lambda *_: None
    )
    assert "".join(calls) == "A|AAA|AAA|"
    assert found["A"].seconds == (0.1 / 3, 0.1 / 3)


def test_a_slow_round_does_not_touch_a_ratio():
    mine, theirs = Times((1.0, 10.0, 1.0), (1.0,)), Times((2.0, 20.0, 2.0), (3.0,))
    assert mine.ratio_to(theirs) == 2
    assert mine.cpu_ratio_to(theirs) == 3
    assert (mine.median, mine.least) == (1.0, 1.0)


def test_cpu_time_of_children_counts(monkeypatch):
    used = {"self": 0.0, "children": 0.0}

    def usage(who):
        key = "self" if who == clock.resource.RUSAGE_SELF else "children"
        return type("Usage", (), {"ru_utime": used[key], "ru_stime": 0.0})

    monkeypatch.setattr(clock.resource, "getrusage", usage)
    monkeypatch.setattr(clock, "TURN_SECONDS", 0.0)
    found = by_turns(
        {"a": lambda: used.update(self=used["self"] + 1.0, children=used["children"] + 2.5)},
        repeats=1,
        device=CPU,
        on_turn=lambda *_: None,
    )
    assert found["a"].cpu_seconds == (3.5,)


# spec, ground and the program


def test_a_spec_survives_the_way_through_json():
    spec = BenchSpec(what="scan", nets=("mlp",), images=500, points=2, repeats=1, compile=False)
    assert BenchSpec.from_json(spec.to_json()) == spec
    assert BenchSpec.from_json("{}") == BenchSpec()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "knows only"),
        ('{"netz": []}', "knows only"),
        ('{"what": "hvp"}', "scan, train or all; got 'hvp'"),
        ('{"nets": []}', "--net"),
        ('{"images": 99}', "--images .* 100; got 99"),
        ('{"points": 0}', "--points"),
        ('{"repeats": true}', "--repeats .* got True"),
    ],
)
def test_anything_else_is_refused_with_a_reason(text, reason):
    with pytest.raises(LossvizError, match=reason):
        BenchSpec.from_json(text)


def test_the_ground_depends_on_the_seed_alone():
    first, second, other = (
        lay_ground("mlp", images=100, points=2, device=CPU, seed=seed) for seed in (5, 5, 6)
    )
    assert np.array_equal(first.pixels, second.pixels)
    assert first.points == second.points != other.points
    assert torch.equal(first.directions[0], second.directions[0])
    assert not torch.equal(first.directions[0], first.directions[1])
    assert not np.array_equal(first.pixels, other.pixels)
    assert np.bincount(first.labels).tolist() == [10] * 10


def test_what_cannot_be_measured_is_refused_in_one_sentence(capfd):
    assert main(["bench", '{"nets": ["resnet21"]}']) == 2
    event = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert event["event"] == "error"
    assert "'resnet21'" in event["message"]


def test_the_environment_says_where_and_when():
    found = environment(CPU, PEAKS)
    assert json.loads(json.dumps(found)) == found
    assert found["torch"] == torch.__version__
    assert found["matmul_flops"] == dict(PEAKS.matmul)
    assert found["threads"] >= 1
    assert found["cpu"]


def test_every_field_of_a_row_is_said():
    row = Row(table="train", net="mlp", name="x", is_right=False, deviation=3.0)
    assert set(row.event()) == {"event", *(f.name for f in dataclasses.fields(Row))}
