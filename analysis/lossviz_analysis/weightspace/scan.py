"""Driving a scan in one process: visits in, sums out.

`planner` says what comes next and `evaluator` computes it; here they meet, with one wait for
the device for a whole group of visits.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lossviz_analysis.weightspace.evaluator import PointEvaluator
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.planner import Planner, Visit

GROUP_VISITS = 64
"""Visits whose sums leave the device together, at most."""


@dataclass(frozen=True, eq=False)
class CellChunks:
    """Sums of consecutive chunks of one cell."""

    visit: Visit
    sums: Float[np.ndarray, "chunks slots"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanProblem:
    """Everything that is evaluated, on one device."""

    evaluator: PointEvaluator
    points: Float[np.ndarray, "points directions"]
    """Coordinates of every point."""
    splits: tuple[Examples, ...]
    """What is evaluated, in stored order."""
    width: int
    """Slots of a cell."""
    exact: PointEvaluator | None = None
    """Does again what is not finite in the evaluator's fewer bits."""


def totals_of(
    sums: Float[np.ndarray, "*batch slots"], num_classes: int
) -> Float[np.ndarray, "*batch 3"]:
    """Examples, loss sum and non-finite examples of all classes together.

    Args:
        sums: As `evaluation.ClassSums`; leading axes are kept, NaN counts as nothing.
        num_classes: Of the data.

    Returns:
        In the order of `planner.SEEN`, `LOSS_SUM` and `NONFINITE`.
    """
    blocks = [sums[..., 1 + k * num_classes : 1 + (k + 1) * num_classes] for k in (0, 1, 4)]
    return np.stack([np.nan_to_num(block).sum(axis=-1) for block in blocks], axis=-1)


class Engine:
    """Evaluates visits of one problem, in whatever order they come."""

    def __init__(self, problem: ScanProblem) -> None:
        self.num_redone = 0
        """Chunks computed again because fewer bits were not enough."""
        self.num_void = 0
        """Visits to points that cannot be evaluated."""
        self._problem = problem
        self._here: int | None = None
        self._can_be_evaluated = True

    def evaluate(self, visits: Sequence[Visit]) -> list[CellChunks]:
        """Compute visits; the host waits for the device once.

        Args:
            visits: What to compute.

        Returns:
            Their sums, in order. At a point that cannot be evaluated the chunks count as done,
            with no example seen.
        """
        found = [self._visit(visit) for visit in visits]
        rows = iter(torch.cat(found).cpu().numpy())
        cells = [
            CellChunks(visit, np.stack([next(rows) for _ in visit.chunks])) for visit in visits
        ]
        if self._problem.exact is not None:
            for cell in cells:
                self._do_again(self._problem.exact, cell)
        return cells

    def close(self) -> None:
        """Leave the model at the origin."""
        self._problem.evaluator.close()
        if self._problem.exact is not None:
            self._problem.exact.close()

    def _visit(self, visit: Visit) -> Tensor:
        problem = self._problem
        if visit.point != self._here:
            coordinates = tuple(problem.points[visit.point].tolist())
            self._here = visit.point
            self._can_be_evaluated = problem.evaluator.move_to(coordinates)
        examples = problem.splits[visit.split]
        if self._can_be_evaluated:
            return problem.evaluator.chunk_many(examples, visit.chunks)
        self.num_void += 1
        void = torch.zeros(
            (len(visit.chunks), problem.width),
            dtype=torch.float64,
            device=examples.labels.device,
        )
        void[:, 0] = 1
        return void

    def _do_again(self, exact: PointEvaluator, cell: CellChunks) -> None:
        """Replace the rows with non-finite losses by exact ones."""
        visit, examples = cell.visit, self._problem.splits[cell.visit.split]
        nonfinite = totals_of(cell.sums, examples.num_classes)[:, 2]
        if not nonfinite.any():
            return
        exact.move_to(tuple(self._problem.points[visit.point].tolist()))
        for row in np.flatnonzero(nonfinite):
            cell.sums[row] = exact.chunk(examples, visit.chunks[row]).cpu().numpy()
            self.num_redone += 1
        self._here = None  # both evaluators move the same weights


def scan(
    engine: Engine,
    planner: Planner,
    num_classes: int,
    group_examples: Callable[[], int],
    bounds: tuple[tuple[int, ...], ...],
) -> Generator[list[CellChunks], None, None]:
    """Evaluate a model over a grid, group of cells by group.

    Args:
        engine: Computes.
        planner: Says what.
        num_classes: Of the data.
        group_examples: About how many examples the next group may have.
        bounds: Where the chunks of each split begin and end.

    Yields:
        Sums of the cells just computed.
    """
    while True:
        group: list[Visit] = []
        room = group_examples()
        while len(group) < GROUP_VISITS and room > 0:
            visit = planner.next(room)
            if visit is None:
                break
            group.append(visit)
            edges = bounds[visit.split]
            room -= edges[visit.chunks.stop] - edges[visit.chunks.start]
        if not group:
            return
        cells = engine.evaluate(group)
        for cell in cells:
            planner.add(cell.visit, totals_of(cell.sums, num_classes).sum(axis=0))
        yield cells
