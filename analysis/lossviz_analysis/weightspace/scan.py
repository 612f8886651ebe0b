"""Driving a scan: which cell is computed when, and by whom the sums are kept.

The unit of work is a chunk of the fixed example order at one point. Every point gets its first
chunk before any gets its second, coarse points first, so that a readable picture stands after a
fraction of a percent of the work; a cell adds its chunks in order, so that its bits depend
neither on the order of points nor on interruptions.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lossviz_analysis.weightspace.batchnorm import has_batch_norm, recompute_statistics
from lossviz_analysis.weightspace.evaluation import chunk_sums
from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.grid import coarse_to_fine, points_of
from lossviz_analysis.weightspace.vector import MovableModel

MAX_VISIT_CHUNKS = 5
"""Chunks computed before the caller hears of them, so that a cancelled scan stops soon."""

STAGE_CHUNKS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000)
"""After each stage every point has been evaluated on so many chunks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanProblem:
    """Everything a scan needs, on the device."""

    movable: MovableModel
    """In eval mode, at the weights of the checkpoint."""
    splits: tuple[Examples, ...]
    """What is evaluated, in stored order."""
    directions: tuple[Tensor, ...]
    coordinates: tuple[Float[np.ndarray, " _points"], ...]
    dtype: torch.dtype
    micro_batch: int
    with_confusion: bool
    recompute_on: Examples | None = None
    """Training examples for new batch-norm statistics at every point; None: frozen."""


@dataclass(frozen=True, eq=False)
class CellChunks:
    """Sums of consecutive chunks of one cell."""

    point: int
    split: int
    first_chunk: int
    sums: Float[np.ndarray, "chunks slots"]


def visits(
    points: tuple[int, ...],
    chunks: tuple[int, ...],
    done: Int[np.ndarray, "points splits"],
    *,
    point_major: bool,
) -> Iterator[tuple[int, int, range]]:
    """What is still to do, in order.

    Args:
        points: Number of points along each direction.
        chunks: Number of chunks of each split.
        done: Chunks done already.
        point_major: Finish each point before the next, for when arriving at one is expensive.

    Yields:
        Point, split, and the chunks to compute there now.
    """
    order = coarse_to_fine(points)
    reached = done.copy()
    most = max(chunks)
    stages = (most,) if point_major else (*(s for s in STAGE_CHUNKS if s < most), most)
    for stage in stages:
        for point in order:
            for split, num_chunks in enumerate(chunks):
                first, stop = int(reached[point, split]), min(stage, num_chunks)
                if first < stop:
                    reached[point, split] = stop
                    for start in range(first, stop, MAX_VISIT_CHUNKS):
                        yield (
                            int(point),
                            split,
                            range(start, min(start + MAX_VISIT_CHUNKS, stop)),
                        )


def scan(
    problem: ScanProblem, done: Int[np.ndarray, "points splits"]
) -> Generator[CellChunks, None, None]:
    """Evaluate the model over a grid, cell by cell.

    The model is left at the origin when the iterator is closed or exhausted.

    Args:
        problem: What to evaluate.
        done: Chunks done already, by point and split.

    Yields:
        Sums of the chunks just computed, one host transfer each.
    """
    movable = problem.movable
    points = points_of(problem.coordinates)
    fresh = problem.recompute_on if has_batch_norm(movable.model) else None
    saved = {name: buffer.clone() for name, buffer in movable.model.named_buffers()}
    here: int | None = None
    try:
        for point, split, span in visits(
            tuple(len(c) for c in problem.coordinates),
            tuple(s.num_chunks for s in problem.splits),
            done,
            point_major=fresh is not None,
        ):
            if point != here:
                movable.move_to(problem.directions, tuple(points[point].tolist()))
                if fresh is not None:
                    recompute_statistics(movable.model, fresh, dtype=problem.dtype)
                here = point
            examples = problem.splits[split]
            sums = [
                chunk_sums(
                    movable.model,
                    examples,
                    examples.chunk(number),
                    dtype=problem.dtype,
                    micro_batch=problem.micro_batch,
                    with_confusion=problem.with_confusion,
                )
                for number in span
            ]
            yield CellChunks(point, split, span.start, torch.stack(sums).cpu().numpy())
    finally:
        movable.move_to((), ())
        for name, buffer in movable.model.named_buffers():
            buffer.copy_(saved[name])
