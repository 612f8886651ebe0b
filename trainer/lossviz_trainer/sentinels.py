"""Nine points in exact arithmetic, against which a scan with fewer bits is held."""

import itertools
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from lossviz_analysis.weightspace.evaluator import PointEvaluator
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.scan import totals_of

RELATIVE_TOLERANCE = 2e-2
ABSOLUTE_TOLERANCE = 5e-4
MISTAKE_TOLERANCE = 5e-3
"""A share of the examples; at a point that few examples decide, one of them."""


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """The largest differences between two arithmetics over the sentinel points."""

    loss: float
    """Of mean cross-entropies, absolute."""
    relative: float
    """Of mean cross-entropies, as a share of the exact one."""
    mistakes: float
    """Of mistake rates."""
    is_within: bool
    """Whether every point is within the tolerance of fast scans."""

    @property
    def sentence(self) -> str:
        """For people."""
        measured = (
            f"fast differs from exact by {self.relative:.1e} of the loss "
            f"({self.loss:.1e}) and {100 * self.mistakes:.2f} % of mistakes at nine points"
        )
        return measured if self.is_within else f"{measured}: too much, so this scan is exact"

    def numbers(self) -> dict[str, float]:
        """As stored."""
        return {"loss": self.loss, "relative": self.relative, "mistakes": self.mistakes}


def sentinel_points(grid: tuple[int, ...]) -> tuple[int, ...]:
    """Centre, corners and edge middles of a plane, or nine even points of a line.

    Args:
        grid: Points along each direction.

    Returns:
        Numbers of points, each once.
    """
    count = 9 if len(grid) == 1 else 3
    axes = [sorted({round(k * (n - 1) / (count - 1)) for k in range(count)}) for n in grid]
    return tuple(int(np.ravel_multi_index(at, grid)) for at in itertools.product(*axes))


def sentinel_deviation(
    fast: PointEvaluator,
    exact: PointEvaluator,
    *,
    points: np.ndarray,
    grid: tuple[int, ...],
    examples: Examples,
    chunks: range,
) -> Deviation:
    """How far one evaluator is from another; both are closed.

    A point whose loss is not finite with fewer bits is computed again in a scan, so it does not
    count here.

    Args:
        fast: Fewer bits.
        exact: All of them.
        points: Coordinates of every point of the grid.
        grid: Points along each direction.
        examples: Of one split.
        chunks: Which of its chunks to look at.

    Returns:
        The largest deviations.
    """
    with closing(fast), closing(exact):
        largest = {"loss": 0.0, "relative": 0.0, "mistakes": 0.0}
        is_within = True
        num_classes = examples.num_classes
        for number in sentinel_points(grid):
            rows: list[np.ndarray] = []
            for evaluator in (fast, exact):
                evaluator.move_to(tuple(points[number].tolist()))
                rows.append(evaluator.chunk_many(examples, chunks).sum(dim=0).cpu().numpy())
            (seen, loss, bad), (_, true_loss, true_bad) = (
                totals_of(row, num_classes).tolist() for row in rows
            )
            wrong, truly_wrong = (
                float(row[1 + 3 * num_classes : 1 + 4 * num_classes].sum()) for row in rows
            )
            if bad or true_bad or seen == 0:
                continue
            here = {
                "loss": abs(loss - true_loss) / seen,
                "relative": abs(loss - true_loss) / true_loss if true_loss > 0 else 0.0,
                "mistakes": abs(wrong - truly_wrong) / seen,
            }
            allowed = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * true_loss / seen
            is_within &= here["loss"] <= allowed
            is_within &= here["mistakes"] <= max(MISTAKE_TOLERANCE, 1 / seen)
            largest = {name: max(largest[name], here[name]) for name in largest}
        return Deviation(is_within=is_within, **largest)
