"""Work is handed out once, in order, coarse to fine, whoever asks and however it ends."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_analysis.weightspace.examples import chunk_bounds
from lossviz_analysis.weightspace.grid import coarse_to_fine, linspace, point_levels, points_of
from lossviz_analysis.weightspace.planner import Planner, Task

ANY = 10**9


def plan(points=(5, 3), sizes=(2_500, 300), done=None, totals=None, **options):
    task = Task(points=points, bounds=tuple(chunk_bounds(n, 10) for n in sizes), **options)
    shape = (int(np.prod(points)), len(sizes))
    done = np.zeros(shape, np.int64) if done is None else done
    return Planner(task, done, np.zeros((*shape, 3)) if totals is None else totals), task


def examples_of(visit, task):
    bounds = task.bounds[visit.split]
    return bounds[visit.chunks.stop] - bounds[visit.chunks.start]


def finish(planner, task, loss=lambda _point: 1.0, room=ANY):
    """One worker from beginning to end; the visits in order."""
    visits = []
    while (visit := planner.next(room)) is not None:
        visits.append(visit)
        seen = examples_of(visit, task)
        mean = loss(visit.point)
        nonfinite = 0 if np.isfinite(mean) else seen
        planner.add(visit, np.array([seen, 0 if nonfinite else mean * seen, nonfinite], float))
    assert planner.is_finished
    return visits


def covered(visits, task):
    """Chunks by cell, each once and in order."""
    reached = np.zeros((int(np.prod(task.points)), len(task.bounds)), np.int64)
    for visit in visits:
        assert visit.chunks.start == reached[visit.point, visit.split]
        assert len(visit.chunks) > 0
        reached[visit.point, visit.split] = visit.chunks.stop
    return reached


@pytest.mark.parametrize("options", [{}, {"is_final": True}, {"is_arriving_dear": True}])
@pytest.mark.parametrize("room", [1, 700, ANY])
def test_every_chunk_is_handed_out_once_and_in_order(options, room):
    planner, task = plan(**options)
    visits = finish(planner, task, room=room)
    assert (covered(visits, task) == [len(bounds) - 1 for bounds in task.bounds]).all()
    assert planner.num_left == 0
    if room == 1:
        assert all(len(visit.chunks) == 1 for visit in visits)


def test_every_point_gets_its_first_chunk_before_any_gets_its_second_coarse_first():
    planner, task = plan()
    visits = finish(planner, task)
    first = [visit for visit in visits if visit.chunks.start == 0]
    assert visits[: len(first)] == first
    assert [v.point for v in first if v.split == 0] == coarse_to_fine((5, 3)).tolist()
    assert all(examples_of(visit, task) == 50 for visit in first)


def test_a_final_scan_finishes_a_point_before_the_next():
    planner, task = plan(is_final=True)
    visits = finish(planner, task, room=200)
    order = list(dict.fromkeys(visit.point for visit in visits))
    assert [visit.point for visit in visits] == sorted(
        (visit.point for visit in visits), key=order.index
    )


def drive(planner, task, dice, loss=lambda _point: 1.0):
    """Three workers, of which two may be lost; the visits in the order in which they end."""
    held = {name: [] for name in "abc"}
    visits = []
    for _ in range(20_000):
        if planner.is_finished:
            break
        name = dice.choice(sorted(held))
        if len(held) > 1 and dice.random() < 0.01:
            for visit in held.pop(name):
                planner.lose(visit)
            planner.release(name)
        elif dice.random() < 0.5 and (visit := planner.next(600, name)) is not None:
            assert visit.point not in {v.point for others in held.values() for v in others}
            held[name].append(visit)
        elif held[name]:
            visit = held[name].pop(dice.randrange(len(held[name])))
            visits.append(visit)
            seen = examples_of(visit, task)
            planner.add(visit, np.array([seen, loss(visit.point) * seen, 0.0]))
    assert planner.is_finished
    assert not any(held.values())
    return visits


@pytest.mark.parametrize("is_dear", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_several_workers_with_losses_cover_the_same_and_never_share_a_cell(seed, is_dear):
    planner, task = plan((4, 3), is_arriving_dear=is_dear)
    visits = drive(planner, task, random.Random(seed))
    assert (covered(visits, task) == [len(bounds) - 1 for bounds in task.bounds]).all()


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_several_workers_leave_out_the_same_as_one(seed, refine):
    def loss(point):
        return 0.1 * (point % 13)

    alone, task = plan((17, 11), clip=0.4, refine=refine)
    finish(alone, task, loss)
    shared, _ = plan((17, 11), clip=0.4, refine=refine)
    drive(shared, task, random.Random(seed), loss)
    assert np.array_equal(shared.done, alone.done)
    assert alone.num_left > 0


@settings(max_examples=30, deadline=None)
@given(stop=st.integers(0, 200), clip=st.sampled_from([None, 0.4]))
def test_a_resumed_scan_does_what_is_left_and_gives_up_the_same(stop, clip):
    def loss(point):
        return 0.1 * (point % 13)

    whole, task = plan(clip=clip)
    everything = finish(whole, task, loss)
    first, _ = plan(clip=clip)
    for _ in range(min(stop, len(everything))):
        visit = first.next(ANY)
        assert visit is not None
        seen = examples_of(visit, task)
        first.add(visit, np.array([seen, loss(visit.point) * seen, 0.0]))
    second, _ = plan(clip=clip, done=first.done, totals=first.totals)
    finish(second, task, loss)
    assert (second.done == whole.done).all()
    assert np.allclose(second.totals, whole.totals)


def test_points_far_above_the_clip_are_given_up_after_a_stage():
    planner, task = plan(clip=1.0)
    losses = {0: 2.1, 1: 1.9, 2: np.inf}
    finish(planner, task, lambda point: losses.get(point, 0.5))
    chunks = [len(bounds) - 1 for bounds in task.bounds]
    assert planner.done[0].tolist() == [1, 1]
    assert planner.done[2].tolist() == [1, 1]
    assert (planner.done[[1, *range(3, 15)]] == chunks).all()


def test_the_clip_is_looked_at_where_a_stage_ends_however_the_work_was_cut():
    # Above the clip on the examples from 250 to 500 only.
    done = []
    for room in (1, 300, ANY):
        planner, task = plan((3,), sizes=(2_500,), clip=1.0)
        while (visit := planner.next(room)) is not None:
            edges = task.bounds[0]
            means = [5.0 if edges[k + 1] == 500 else 0.1 for k in visit.chunks]
            sizes = [edges[k + 1] - edges[k] for k in visit.chunks]
            planner.add(visit, np.array([sum(sizes), float(np.dot(means, sizes)), 0.0]))
        done.append(planner.done.tolist())
    assert done[0] == done[1] == done[2]


def test_looking_at_a_point_brings_its_neighbours_forward_within_the_stage():
    planner, task = plan((9, 9))
    planner.focus(int(np.ravel_multi_index((8, 8), (9, 9))))
    points = [v.point for v in finish(planner, task) if v.chunks.start == 0 and v.split == 0]
    levels = point_levels((9, 9))
    assert levels[points].tolist() == sorted(levels.tolist())
    finest = [p for p in points if levels[p] == levels.max()]
    row, column = np.unravel_index(finest, (9, 9))
    distance = (row - 8) ** 2 + (column - 8) ** 2
    assert distance.tolist() == sorted(distance.tolist())


def refined(loss, points=(33, 33)):
    planner, task = plan(points, sizes=(100,), refine=True)
    finish(planner, task, loss)
    return planner.done[:, 0] == len(task.bounds[0]) - 1


def test_a_smooth_surface_is_left_coarse_and_a_wall_is_refined():
    points = points_of((linspace(-1.0, 1.0, 33), linspace(-1.0, 1.0, 33)))
    smooth = refined(lambda p: float(10 ** (0.5 * points[p].sum())))
    assert smooth.sum() < 0.3 * len(points)
    wall = refined(lambda p: 1.0 if points[p][0] < 0.1 else 100.0)
    near = np.abs(points[:, 0] - 0.1) < 0.1
    assert wall[near].mean() > 0.9
    assert wall.sum() < 0.6 * len(points)
    coarse = refined(lambda p: float(10 ** points[p].sum()), (9, 9))
    assert coarse.all()


def test_beside_a_point_that_is_not_finite_everything_is_looked_at():
    centre = 16 * 33 + 16
    found = refined(lambda p: np.inf if p == centre else 1.0)
    row, column = np.unravel_index(np.flatnonzero(found), (33, 33))
    assert {(16, 15), (15, 16)} <= set(zip(row.tolist(), column.tolist(), strict=True))


@pytest.mark.parametrize("points", [(2,), (3,), (41,), (2, 2), (19, 2), (7, 4)])
def test_refining_ends_on_any_grid(points):
    found = refined(lambda p: float(1 + p % 5), points)
    assert found.any()
