"""Which chunk of which cell comes next: coarse to fine, few examples before many.

The unit of work is a chunk of the fixed example order at one point. Every point gets its first
chunks before any gets more, coarse points first, so that a readable picture stands after a
fraction of a percent of the work. A cell's chunks are handed out in order and never two at a
time, so that its bits depend neither on the order of points nor on interruptions nor on how
many processes share the work.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lossviz_analysis.weightspace.grid import (
    coarse_to_fine,
    point_levels,
    predicted_from,
    prediction_weights,
)

STAGE_EXAMPLES = (
    *(50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000),
    *(100_000, 250_000, 500_000, 1_000_000),
)
"""After each stage every point has been evaluated on so many examples, as far as there are."""

CLIP_FACTOR = 2.0
"""A point is given up once its running mean is above so many times the clip (no wrong decision
in 835 points at a clip of 2 or 5 and 50 examples)."""

REFINE_TOLERANCE = 0.02
"""In log10 of the loss: a point is left out where what its neighbours predict is expected to
miss by no more, going by how much they were missed themselves."""

COARSE_POINTS = 9
"""A refined axis begins with about so many points."""

SEEN, LOSS_SUM, NONFINITE = 0, 1, 2
"""Positions in `Planner.totals`."""


@dataclass(frozen=True)
class Visit:
    """Chunks to compute at a point, in order."""

    point: int
    split: int
    chunks: range


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A whole scan, as far as its order goes."""

    points: tuple[int, ...]
    """Number of points along each direction."""
    bounds: tuple[tuple[int, ...], ...]
    """Where the chunks of each split begin and end."""
    is_final: bool = False
    """Finish each point before the next."""
    is_arriving_dear: bool = False
    """As `is_final`, and a point is best left to whoever has begun it."""
    clip: float | None = None
    refine: bool = False


class Planner:
    """Hands out work and hears of what is done."""

    def __init__(
        self,
        task: Task,
        done: Int[np.ndarray, "points splits"],
        totals: Float[np.ndarray, "points splits 3"],
    ) -> None:
        """Begin, or go on from what is done.

        Args:
            task: The scan.
            done: Chunks done already, by point and split.
            totals: Their examples, their loss sum and their non-finite examples; kept and
                changed from here on.
        """
        self.done = done.copy()
        self.totals = totals.copy()
        self._task = task
        self._chunks = np.array([len(bounds) - 1 for bounds in task.bounds])
        self._order = coarse_to_fine(task.points)
        self._flying: dict[int, str] = {}
        self._owner: dict[int, str] = {}
        self._rounds = self._refined() if task.refine else iter([self._order])
        self._stages: Iterator[int] = iter(())
        self._queue: deque[tuple[int, int]] = deque()
        self._stops = self._chunks
        self._cells: Int[np.ndarray, " points"] = self._order[:0]
        self._is_over = False

    @property
    def num_left(self) -> int:
        """Chunks still to do, unless points are left out."""
        return int((self._chunks - self.done).sum())

    def next(self, max_examples: int, worker: str = "") -> Visit | None:
        """What to do now; it counts as taken until `add` or `lose`.

        Args:
            max_examples: About how many examples at most; at least one chunk is given.
            worker: Who asks.

        Returns:
            A visit; None when there is nothing for now. `is_finished` tells whether there will
            be something again.
        """
        while True:
            for _ in range(len(self._queue)):
                point, split = self._queue.popleft()
                if not self._is_left(point, split):
                    continue
                if point in self._flying or self._owner.get(point, worker) != worker:
                    self._queue.append((point, split))
                    continue
                first = int(self.done[point, split])
                stop = self._piece(split, first, int(self._stops[split]), max_examples)
                self._queue.appendleft((point, split))
                self._flying[point] = worker
                if self._task.is_arriving_dear:
                    self._owner[point] = worker
                return Visit(point, split, range(first, stop))
            # What is under way does not keep the next stage from being begun.
            is_waiting = any(point not in self._flying for point, _ in self._queue)
            if is_waiting or self._is_over or not self._advance():
                return None

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to hand out and nothing is under way."""
        return (
            self._is_over
            and not self._flying
            and not any(self._is_left(point, split) for point, split in self._queue)
        )

    def add(self, visit: Visit, totals: Float[np.ndarray, "3"]) -> None:
        """Take note of a visit that is done.

        Args:
            visit: The visit.
            totals: Examples, loss sum and non-finite examples of its chunks.
        """
        self.done[visit.point, visit.split] += len(visit.chunks)
        self.totals[visit.point, visit.split] += totals
        self._flying.pop(visit.point, None)
        if (self.done[visit.point] >= self._stops).all():
            self._owner.pop(visit.point, None)

    def lose(self, visit: Visit) -> None:
        """Put back a visit that will not be done by whoever took it.

        Args:
            visit: The visit.
        """
        self._flying.pop(visit.point, None)
        self._owner.pop(visit.point, None)

    def release(self, worker: str) -> None:
        """Let others go on with the points a lost worker had begun.

        Args:
            worker: As it called itself.
        """
        self._owner = {p: owner for p, owner in self._owner.items() if owner != worker}

    def focus(self, point: int) -> None:
        """From now on do first what lies near a point, within the stage under way.

        Args:
            point: The point somebody looks at.
        """
        place = np.array(np.unravel_index(point, self._task.points), float)
        every = np.stack(np.unravel_index(self._order, self._task.points), axis=1)
        scale = np.maximum(1, np.array(self._task.points) - 1)
        distance = np.square((every - place) / scale).sum(axis=1)
        levels = point_levels(self._task.points)[self._order]
        self._order = self._order[np.lexsort((distance, levels))]
        rank = np.argsort(self._order)
        self._queue = deque(sorted(self._queue, key=lambda item: (rank[item[0]], item[1])))

    def _piece(self, split: int, first: int, stop: int, max_examples: int) -> int:
        bounds = self._task.bounds[split]
        decisions = self._decisions(split) if self._task.clip is not None else frozenset[int]()
        cut = first + 1
        while (
            cut < stop
            and bounds[cut + 1] - bounds[first] <= max_examples
            and bounds[cut] not in decisions
        ):
            cut += 1
        return cut

    def _advance(self) -> bool:
        """Begin the next stage, or the next round of points; False if there is none now."""
        stage = next(self._stages, None)
        if stage is None:
            # Where the next points depend on the last ones, those have to be there.
            if self._task.refine and self._flying:
                return False
            cells = next(self._rounds, None)
            if cells is None:
                self._is_over = True
                return False
            self._cells = cells
            self._stages = iter(self._stage_list())
            return True
        self._stops = np.array(
            [
                int(np.searchsorted(bounds, stage, side="right")) - 1
                for bounds in self._task.bounds
            ]
        )
        self._queue = deque(
            (int(point), split)
            for point in (self._order if len(self._cells) == len(self._order) else self._cells)
            for split in range(len(self._chunks))
            if self.done[point, split] < self._stops[split]
        )
        return True

    def _stage_list(self) -> tuple[int, ...]:
        most = max(bounds[-1] for bounds in self._task.bounds)
        if self._task.is_final or self._task.is_arriving_dear:
            return (most,)
        # The first chunk is longer where there are many classes.
        first = max(bounds[min(1, len(bounds) - 1)] for bounds in self._task.bounds)
        return (*(n for n in STAGE_EXAMPLES if first <= n < most), most)

    def _is_left(self, point: int, split: int) -> bool:
        """Whether there is something to do at a cell in this stage."""
        is_short = self.done[point, split] < self._stops[split]
        return bool(is_short) and not self._is_given_up(point, split)

    def _is_given_up(self, point: int, split: int) -> bool:
        """Whether a cell is far above the clip; decided at the ends of stages only."""
        if self._task.clip is None:
            return False
        bounds = self._task.bounds[split]
        reached = bounds[int(self.done[point, split])]
        if reached == 0 or reached not in self._decisions(split):
            return False
        seen, loss, nonfinite = self.totals[point, split]
        return bool(nonfinite > 0 or loss > CLIP_FACTOR * self._task.clip * seen)

    def _decisions(self, split: int) -> frozenset[int]:
        """Numbers of examples at which a cell may be given up, whoever computes it."""
        bounds = self._task.bounds[split]
        return frozenset(
            bounds[int(np.searchsorted(bounds, stage, side="right")) - 1]
            for stage in self._stage_list()
        )

    def _refined(self) -> Iterator[Int[np.ndarray, " points"]]:
        """Rounds of points: a coarse grid, then only where a point was not as predicted.

        Yields:
            The points of each round; before the next one is asked for they are complete.
        """
        levels = point_levels(self._task.points)
        parents = predicted_from(self._task.points)
        weights = prediction_weights(self._task.points)
        coarse = _coarse_level(self._task.points)
        yield self._order[levels[self._order] <= coarse]
        everywhere = np.arange(len(levels))
        value = np.full(len(levels), np.nan)
        missed = np.zeros(len(levels))
        is_computed = levels <= coarse
        value[is_computed] = self._log_loss(everywhere[is_computed])
        for level in range(1, int(levels.max(initial=0)) + 1):
            here = self._order[levels[self._order] == level]
            with np.errstate(invalid="ignore"):
                predicted = (value[parents[here]] * weights[here]).sum(axis=1)
            if level > coarse:
                # Linear interpolation misses a quarter as much with every halving.
                halvings = level - levels[parents[here]]
                expected = (missed[parents[here]] / 4.0**halvings).max(axis=1)
                wanted = here[expected > REFINE_TOLERANCE]
                yield wanted
                value[here] = predicted
                value[wanted] = self._log_loss(wanted)
            with np.errstate(invalid="ignore"):
                found = np.abs(value[here] - predicted)
            # Beside a point that is not finite there is no prediction to trust.
            missed[here] = np.where(np.isfinite(found), found, np.inf)

    def _log_loss(self, points: Int[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        """log10 of the mean loss of the first split."""
        seen, loss, nonfinite = self.totals[points, 0].T
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(nonfinite > 0, np.inf, loss / seen)
            return np.log10(np.maximum(mean, np.finfo(np.float64).tiny))


def _coarse_level(points: tuple[int, ...]) -> int:
    """The level up to which a refined scan evaluates every point."""
    longest = max(points)
    level = 0
    while 2**level + 1 < min(COARSE_POINTS, longest):
        level += 1
    return level
