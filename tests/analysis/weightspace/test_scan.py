"""A scan against the slow road: copy the model, add the directions, loop over a loader."""

import contextlib
import copy
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lossviz_analysis.weightspace.batchnorm import recompute_statistics
from lossviz_analysis.weightspace.directions import ego_direction, gaussian_direction
from lossviz_analysis.weightspace.evaluator import Frozen, PointEvaluator, Recompute
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.grid import coarse_to_fine, linspace, points_of
from lossviz_analysis.weightspace.normalise import normalise
from lossviz_analysis.weightspace.planner import Planner, Task, Visit
from lossviz_analysis.weightspace.scan import Engine, ScanProblem, scan, totals_of
from lossviz_analysis.weightspace.vector import MovableModel

NUM_TRAIN, NUM_TEST = 330, 120
PAIR = (3, 8)
SPAN = 0.1
GRID = (linspace(-SPAN, SPAN, 5), linspace(-SPAN, SPAN, 3))
NUM_CELLS = 15
WIDTH = 1 + 5 * 10 + 100


@dataclass(frozen=True, kw_only=True)
class Plane:
    """A plane to scan, with everything an engine is made of."""

    movable: MovableModel
    splits: tuple[Examples, ...]
    directions: tuple[torch.Tensor, ...]
    dtype: torch.dtype
    micro_batch: int
    recompute_on: Examples | None

    @property
    def bounds(self):
        return tuple(split.bounds for split in self.splits)

    def evaluator(self):
        fresh = self.recompute_on
        return PointEvaluator(
            self.movable,
            self.directions,
            dtype=self.dtype,
            arithmetic="float64" if self.dtype == torch.float64 else "exact",
            micro_batch=self.micro_batch,
            with_confusion=True,
            sample=self.splits[0].inputs(0, 1, self.dtype),
            statistics=Frozen() if fresh is None else Recompute(fresh),
        )

    def engine(self):
        return Engine(
            ScanProblem(
                evaluator=self.evaluator(),
                points=points_of(GRID),
                splits=self.splits,
                width=WIDTH,
            )
        )

    def planner(self, done=None, cells=None):
        task = Task(
            points=(5, 3),
            bounds=self.bounds,
            is_arriving_dear=self.recompute_on is not None,
        )
        if done is None:
            done = np.zeros((NUM_CELLS, len(self.splits)), np.int64)
        cells = np.zeros((NUM_CELLS, len(self.splits), WIDTH)) if cells is None else cells
        return Planner(task, done, totals_of(cells, 10))


def steps_of(plane, done=None, cells=None, *, group=150):
    """The visits of a scan with their sums, one by one; the model is put back at the end."""
    with contextlib.closing(plane.engine()) as engine:
        planner = plane.planner(done, cells)
        for found in scan(engine, planner, 10, lambda: group, plane.bounds):
            yield from found


@pytest.fixture
def ego_plane(network, resident):
    """The ego plane of two classes, ready to scan."""

    def build(dtype=torch.float64, micro_batch=64, *, recompute=False):
        model = network(dtype)
        train, test = resident("train", NUM_TRAIN), resident("test", NUM_TEST)
        directions = tuple(
            ego_direction(model, train, c, dtype=dtype, micro_batch=50) for c in PAIR
        )
        return Plane(
            movable=MovableModel(model),
            splits=(train, test),
            directions=directions,
            dtype=dtype,
            micro_batch=micro_batch,
            recompute_on=train if recompute else None,
        )

    return build


def gather(plane, cells=None, *, visits_before_stop=None, group=150):
    """Adds up what a scan yields, chunk by chunk, as the store does."""
    cells = np.zeros((NUM_CELLS, len(plane.splits), WIDTH)) if cells is None else cells
    steps = steps_of(plane, cells[..., 0].astype(np.int64), cells, group=group)
    for number, found in enumerate(steps):
        visit = found.visit
        assert visit.chunks.start == cells[visit.point, visit.split, 0]
        for row in found.sums:
            cells[visit.point, visit.split] += row
        if number + 1 == visits_before_stop:
            break
    steps.close()
    return cells


def slow_plane(model, directions, loaders, before_evaluation=None):
    """Cross-entropy sums, mistakes and confusion at every point, in float64, one by one."""
    losses = np.zeros((NUM_CELLS, len(loaders)))
    confusion = np.zeros((NUM_CELLS, len(loaders), 10, 10), np.int64)
    point = -1
    for a in GRID[0].tolist():
        for b in GRID[1].tolist():
            point += 1
            moved = copy.deepcopy(model)
            with torch.no_grad():
                for parameter, first, second in zip(
                    moved.parameters(), *directions, strict=True
                ):
                    parameter.add_(a * first + b * second)
            if before_evaluation is not None:
                before_evaluation(moved)
            moved.eval()
            for split, loader in enumerate(loaders):
                for images, labels in loader:
                    with torch.no_grad():
                        logits = moved(images)
                    losses[point, split] += float(
                        functional.cross_entropy(logits, labels, reduction="sum")
                    )
                    for label, guess in zip(
                        labels.tolist(), logits.argmax(1).tolist(), strict=True
                    ):
                        confusion[point, split, label, guess] += 1
    return losses, confusion


def slow_ego(model, split, true_class):
    """Minus the mean gradient of the class, tensor by tensor."""
    twin = copy.deepcopy(model).eval()
    images, labels = split
    members = labels == true_class
    functional.cross_entropy(twin(images[members]), labels[members]).backward()
    return [-p.grad for p in twin.parameters()]


@pytest.fixture
def reference(network, plain):
    """The same plane by the slow road, which shares no code with the scan."""

    def build(before_evaluation=None):
        model = network()
        tensors = [
            tuple(torch.from_numpy(a) for a in plain(split, n))
            for split, n in (("train", NUM_TRAIN), ("test", NUM_TEST))
        ]
        directions = [slow_ego(model, tensors[0], c) for c in PAIR]
        loaders = [DataLoader(TensorDataset(*pair), batch_size=37) for pair in tensors]
        return slow_plane(model, directions, loaders, before_evaluation)

    return build


def parts(cells):
    """Loss sums, mistakes and confusion out of cells of ten classes."""
    seen, loss, _, mistakes, nonfinite = (
        cells[..., 1:51].reshape(NUM_CELLS, 2, 5, 10).transpose(2, 0, 1, 3)
    )
    assert (seen.sum(-1) == (NUM_TRAIN, NUM_TEST)).all()
    assert not nonfinite.any()
    return loss.sum(-1), mistakes.sum(-1), cells[..., 51:].reshape(NUM_CELLS, 2, 10, 10)


@pytest.mark.oracle
def test_an_ego_plane_in_float64_is_that_of_the_straight_road(ego_plane, reference):
    cells = gather(ego_plane())
    loss, mistakes, confusion = parts(cells)
    expected_loss, expected_confusion = reference()
    assert np.array_equal(confusion, expected_confusion)
    wrong = expected_confusion.sum((2, 3)) - np.trace(expected_confusion, axis1=2, axis2=3)
    assert np.array_equal(mistakes, wrong)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-10)
    # The plane is not flat, and the network neither perfect nor at chance everywhere.
    assert wrong[:, 0].min() < 0.5 * NUM_TRAIN < wrong[:, 0].max()
    assert len(set(wrong[:, 0].tolist())) > NUM_CELLS // 2
    # By class the sums are those of the confusion's rows.
    by_class = cells[..., 1:51].reshape(NUM_CELLS, 2, 5, 10)
    assert np.array_equal(by_class[:, :, 0], confusion.sum(3))
    diagonal = np.diagonal(confusion, axis1=2, axis2=3)
    assert np.array_equal(by_class[:, :, 3], confusion.sum(3) - diagonal)


@pytest.mark.oracle
def test_a_plane_with_recomputed_statistics_is_that_of_the_straight_road(
    ego_plane, reference, plain
):
    images = torch.from_numpy(plain("train", NUM_TRAIN)[0])

    def fresh_statistics(model):
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
        with torch.no_grad():
            model.train()(images)

    loss, _, confusion = parts(gather(ego_plane(recompute=True)))
    expected_loss, expected_confusion = reference(fresh_statistics)
    assert np.array_equal(confusion, expected_confusion)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-9)
    frozen_loss, _, _ = parts(gather(ego_plane()))
    assert np.abs(frozen_loss / loss - 1).max() > 0.01


def test_float32_agrees_with_float64_within_the_stated_tolerance(ego_plane):
    exact, _, _ = parts(gather(ego_plane()))
    single, _, _ = parts(gather(ego_plane(torch.float32)))
    sizes = np.array([NUM_TRAIN, NUM_TEST])
    np.testing.assert_allclose(single / sizes, exact / sizes, rtol=1e-5, atol=1e-6)
    assert (single != exact).any()


@pytest.mark.parametrize("recompute", [False, True], ids=["frozen", "recompute"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_an_interrupted_scan_ends_with_the_same_bits(ego_plane, dtype, recompute):
    at_once = gather(ego_plane(dtype, recompute=recompute))
    resumed = None
    for visits_before_stop in (1, 7, 13, None):
        resumed = gather(
            ego_plane(dtype, recompute=recompute),
            resumed,
            visits_before_stop=visits_before_stop,
        )
    assert resumed is not None
    assert (resumed[..., 0] == [4, 3]).all()
    assert resumed.tobytes() == at_once.tobytes()


def test_the_order_of_points_and_the_groups_do_not_change_a_bit(ego_plane, monkeypatch):
    at_once = gather(ego_plane(torch.float32))
    assert gather(ego_plane(torch.float32), group=10_000).tobytes() == at_once.tobytes()
    shuffled = np.random.default_rng(1).permutation(NUM_CELLS)
    monkeypatch.setattr(
        "lossviz_analysis.weightspace.planner.coarse_to_fine", lambda _points: shuffled
    )
    steps = steps_of(ego_plane(torch.float32))
    assert next(steps).visit.point == shuffled[0]
    steps.close()
    assert gather(ego_plane(torch.float32)).tobytes() == at_once.tobytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_the_micro_batch_does_not_change_a_bit_on_a_cpu(ego_plane, dtype):
    found = {gather(ego_plane(dtype, micro_batch=size)).tobytes() for size in (50, 64, 200)}
    assert len(found) == 1


def test_the_splits_do_not_disturb_each_other(ego_plane):
    both = gather(ego_plane())
    plane = ego_plane()
    cells = gather(replace(plane, splits=plane.splits[1:]))
    np.testing.assert_allclose(cells[:, 0], both[:, 1], rtol=1e-14)


def snapshot(problem):
    return {name: t.clone() for name, t in problem.movable.model.state_dict().items()}


def unchanged(problem, before):
    after = problem.movable.model.state_dict()
    return all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("recompute", [False, True], ids=["frozen", "recompute"])
@pytest.mark.parametrize("visits_before_stop", [None, 1, 5])
def test_the_model_is_back_at_the_origin_to_the_bit(ego_plane, recompute, visits_before_stop):
    problem = ego_plane(torch.float32, recompute=recompute)
    before = snapshot(problem)
    gather(problem, visits_before_stop=visits_before_stop)
    assert unchanged(problem, before)
    assert not problem.movable.model.training


def fail_unless_home(honest):
    def move_to(self, directions, coordinates, **options):
        if coordinates:
            raise ZeroDivisionError
        honest(self, directions, coordinates, **options)

    return move_to


def test_the_model_is_back_at_the_origin_after_a_failure(ego_plane, monkeypatch):
    problem = ego_plane(torch.float32, recompute=True)
    before = snapshot(problem)
    steps = steps_of(problem)
    next(steps)
    assert not unchanged(problem, before)
    monkeypatch.setattr(MovableModel, "move_to", fail_unless_home(MovableModel.move_to))
    with pytest.raises(ZeroDivisionError):
        for _ in steps:
            pass
    assert unchanged(problem, before)


def test_frozen_statistics_are_not_touched_while_a_scan_runs(ego_plane):
    problem = ego_plane(torch.float32)
    before = {name: b.clone() for name, b in problem.movable.model.named_buffers()}
    for _ in steps_of(problem):
        for name, buffer in problem.movable.model.named_buffers():
            assert torch.equal(buffer, before[name])


def test_recomputed_statistics_are_those_of_the_point(ego_plane, resident):
    plane = ego_plane(recompute=True)
    steps = steps_of(plane, group=1)
    found = next(steps)
    steps.close()
    model = plane.movable.model
    plane.movable.move_to(plane.directions, tuple(points_of(GRID)[found.visit.point].tolist()))
    recompute_statistics(model, resident("train", NUM_TRAIN), dtype=torch.float64)
    with torch.no_grad():
        logits = model(plane.splits[0].inputs(0, 50, torch.float64))
    losses = functional.cross_entropy(logits, plane.splits[0].labels[:50])
    assert found.sums[0, 11:21].sum() / 50 == pytest.approx(float(losses), rel=1e-9)


def test_at_the_centre_every_plane_shows_the_model_itself(ego_plane, network, plain):
    problem = ego_plane()
    model = problem.movable.model
    other = tuple(
        normalise(
            gaussian_direction(problem.movable.layout, seed, dtype=torch.float64),
            problem.movable.base,
            problem.movable.layout,
            "filter",
        )
        for seed in (1, 2)
    )
    centre = NUM_CELLS // 2
    assert points_of(GRID)[centre].tolist() == [0.0, 0.0]
    cells = gather(problem)
    again = gather(replace(problem, directions=other))
    assert cells[centre].tobytes() == again[centre].tobytes()
    assert cells[0].tobytes() != again[0].tobytes()
    images, labels = (torch.from_numpy(a) for a in plain("test", NUM_TEST))
    with torch.no_grad():
        loss = functional.cross_entropy(network()(images), labels, reduction="sum")
    assert cells[centre, 1, 11:21].sum() == pytest.approx(float(loss), rel=1e-12)
    assert not model.training


def test_a_point_that_overflows_is_counted_and_does_not_spoil_its_neighbours(ego_plane):
    problem = ego_plane(torch.float32)
    far = replace(problem, directions=tuple(1e38 * d for d in problem.directions))
    cells = gather(far)
    assert np.isfinite(cells).all()
    nonfinite = cells[..., 41:51].sum(-1)
    assert nonfinite[0, 0] == NUM_TRAIN
    assert nonfinite[NUM_CELLS // 2].tolist() == [0, 0]
    assert cells[NUM_CELLS // 2].tobytes() == gather(problem)[NUM_CELLS // 2].tobytes()


# Where a scan stops, and in which order.


def test_points_vary_slowest_along_the_first_direction():
    found = points_of((np.array([-1.0, 0.0, 1.0]), np.array([5.0, 6.0])))
    assert found.tolist() == [[-1, 5], [-1, 6], [0, 5], [0, 6], [1, 5], [1, 6]]
    assert points_of((np.array([3.0, 4.0]),)).tolist() == [[3], [4]]


@given(st.integers(1, 300).map(lambda n: 2 * n + 1), st.floats(1e-6, 1e6))
@settings(deadline=None)
def test_a_symmetric_range_has_zero_in_its_centre_and_both_its_ends(num_points, span):
    found = linspace(-span, span, num_points)
    assert found[num_points // 2] == 0.0
    assert (found[0], found[-1]) == (-span, span)
    assert (np.diff(found) > 0).all()


def test_an_asymmetric_range_keeps_its_own_points():
    assert linspace(-0.5, 1.5, 5).tolist() == [-0.5, 0.0, 0.5, 1.0, 1.5]
    assert linspace(-1.0, 1.0, 4).tolist() == np.linspace(-1, 1, 4).tolist()


grids = st.lists(st.integers(2, 33), min_size=1, max_size=2).map(tuple)


@given(grids)
@settings(deadline=None)
def test_coarse_to_fine_visits_every_point_once_the_corners_first(points):
    order = coarse_to_fine(points)
    assert sorted(order.tolist()) == list(range(math.prod(points)))
    where = np.stack(np.unravel_index(order, points), axis=1)
    ends = np.array(points) - 1
    corners = ((where == 0) | (where == ends)).all(axis=1)
    num_corners = 2 ** len(points)
    assert corners[:num_corners].all()
    assert not corners[num_corners:].any()


@pytest.mark.parametrize("points", [(17,), (17, 17), (19, 19), (51, 41)])
def test_an_early_picture_has_no_large_hole(points):
    """After a share s of the points no point is farther from one seen than about s^(-1/d)."""
    order = coarse_to_fine(points)
    everywhere = np.stack(np.unravel_index(np.arange(math.prod(points)), points), axis=1)
    for halvings in (1, 2, 3):
        seen = everywhere[order[: (2**halvings + 1) ** len(points)]]
        distance = np.abs(everywhere[:, None] - seen[None]).max(-1).min(1)
        assert distance.max() <= math.ceil(max(points) / 2**halvings)


def test_a_line_of_nine_is_halved_again_and_again():
    assert coarse_to_fine((9,)).tolist() == [0, 8, 4, 2, 6, 3, 5, 1, 7]


class FewerBits(PointEvaluator):
    """An evaluator that overflows at some points and is a little off at the others."""

    def __init__(self, exact, overflowing):
        self._exact = exact
        self._overflowing = overflowing
        self._here = ()

    def move_to(self, coordinates):
        self._here = coordinates
        return self._exact.move_to(coordinates)

    def chunk_many(self, examples, numbers):
        sums = self._exact.chunk_many(examples, numbers).clone()
        sums[:, 11:21] *= 1.001
        if self._here in self._overflowing:
            sums[:, 41:51] = 1
        return sums

    def close(self):
        self._exact.close()


def test_what_overflows_with_fewer_bits_is_redone_exactly_and_nothing_else(ego_plane):
    plane = ego_plane(torch.float32)
    exact = gather(plane)
    points = points_of(GRID)
    overflowing = {tuple(points[k].tolist()) for k in (0, 7)}
    engine = Engine(
        ScanProblem(
            evaluator=FewerBits(plane.evaluator(), overflowing),
            exact=plane.evaluator(),
            points=points,
            splits=plane.splits,
            width=WIDTH,
        )
    )
    visits = [Visit(point, 0, range(4)) for point in (0, 3, 7, 3)]
    first, other, second, again = engine.evaluate(visits)
    engine.close()
    assert engine.num_redone == 8
    for cell in (first, second):
        np.testing.assert_array_equal(cell.sums.sum(0), exact[cell.visit.point, 0])
    assert np.array_equal(other.sums, again.sums)
    np.testing.assert_allclose(
        other.sums[:, 11:21].sum(), 1.001 * exact[3, 0, 11:21].sum(), rtol=1e-6
    )


def test_a_point_that_cannot_be_evaluated_is_done_with_nothing_seen(ego_plane, monkeypatch):
    plane = ego_plane(torch.float32)
    engine = plane.engine()
    monkeypatch.setattr(PointEvaluator, "move_to", lambda *_: False)
    (cell,) = engine.evaluate([Visit(3, 1, range(1, 3))])
    assert engine.num_void == 1
    assert cell.sums[:, 0].tolist() == [1, 1]
    assert not cell.sums[:, 1:].any()
