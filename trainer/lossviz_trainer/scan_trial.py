"""What evaluates the points of a scan, and what is tried with it before the scan begins."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.schema import cell_layout
from lossviz_analysis.surfaces.span import find_span
from lossviz_analysis.weightspace.evaluator import (
    Frozen,
    Interpolate,
    PointEvaluator,
    Precision,
    Recompute,
)
from lossviz_analysis.weightspace.examples import Examples
from lossviz_trainer.device import micro_batch_for
from lossviz_trainer.packing import to_tensor
from lossviz_trainer.scan_axes import Origin, other_checkpoint
from lossviz_trainer.sentinels import Deviation, sentinel_deviation

SPAN_EXAMPLES = 250
"""Examples of the first split with which a span is probed, at most: a dozen points come before
the first picture."""
SENTINEL_EXAMPLES = 1_000
FIRST_LAYER_BYTES = 2**29
MAX_SPAN_PROBES = 24
BEARABLE_SHARE = 0.005
"""Of |w|, along directions made of gradients: spans found on a ResNet20 and a perceptron were
0.003 and 0.02 of it."""
BEARABLE_RANDOM_SHARE = 1.0
"""Likewise along random directions: as far as Li et al. (2018) look."""


def make_evaluator(
    origin: Origin,
    request: ScanRequest,
    directions: tuple[Tensor, ...],
    arithmetic: Precision,
    fast_dtype: torch.dtype | None = None,
) -> PointEvaluator:
    """Something that can be moved over the plane and asked for sums.

    Args:
        origin: The model at the origin.
        request: What is asked for.
        directions: Of the scan.
        arithmetic: To compute with.
        fast_dtype: What `fast` was found to be when the scan began; None to find out.

    Returns:
        The evaluator, with the micro-batch found best before or the device's usual one.

    Raises:
        LossvizError: There is nothing to evaluate it on.
    """
    examples = origin.bench.prepared(request.splits[0], origin.device, origin.dtype)
    if len(examples) == 0:
        raise LossvizError(f"the {request.splits[0]} split has no examples")
    layout = cell_layout(request.num_points, len(request.splits), examples.num_classes)
    usual = (micro_batch_for(origin.device), 0.0)
    micro_batch, _ = origin.bench.rates.get((origin.device, arithmetic), usual)
    evaluator = PointEvaluator(
        origin.movable,
        directions,
        dtype=origin.dtype,
        arithmetic=arithmetic,
        micro_batch=micro_batch,
        with_confusion=layout.has_confusion,
        sample=examples.inputs(0, 1, origin.dtype),
        statistics=_statistics(origin, request),
        first_layer_bytes=FIRST_LAYER_BYTES,
        clock=time.perf_counter,
        fast_dtype=fast_dtype,
    )
    evaluator.before_batch = origin.on_batch
    return evaluator


def _statistics(origin: Origin, request: ScanRequest) -> Frozen | Recompute | Interpolate:
    match request.batch_norm:
        case "frozen":
            return Frozen()
        case "recompute":
            return Recompute(origin.bench.prepared("train", origin.device, origin.dtype))
        case "interpolate":
            other = other_checkpoint(origin, request.directions[0])
            buffers: Mapping[str, Tensor] = {
                name: to_tensor(values, other.views.get(name, "")).to(origin.device)
                for name, values in other.buffers.items()
            }
            return Interpolate(buffers)


@dataclass(frozen=True, eq=False)
class Trial:
    """A few evaluations before a scan begins."""

    origin: Origin
    request: ScanRequest
    directions: tuple[Tensor, ...]
    examples: Examples

    def _chunks(self, num_examples: int) -> range:
        bounds = self.examples.bounds
        return range(max(1, sum(1 for bound in bounds[1:] if bound <= num_examples)))

    def choose_ranges(
        self, notes: list[str]
    ) -> tuple[tuple[tuple[float, float], ...], dict[str, Any]]:
        """The span that shows most along the steeper axis, and how it was found."""
        evaluator = make_evaluator(
            self.origin,
            self.request,
            self.directions,
            "float64" if self.request.precision == "float64" else "exact",
        )
        num_classes = self.examples.num_classes
        dims = len(self.directions)
        chunks = self._chunks(SPAN_EXAMPLES)

        def mistakes(coordinates: tuple[float, ...]) -> float:
            if not evaluator.move_to(coordinates):
                return float("nan")
            sums = evaluator.chunk_many(self.examples, chunks).sum(dim=0).cpu().numpy()
            seen = sums[1 : 1 + num_classes].sum()
            return float(sums[1 + 3 * num_classes : 1 + 4 * num_classes].sum() / seen)

        def along(axis: int, t: float) -> float:
            return mistakes(tuple(t if k == axis else 0.0 for k in range(dims)))

        try:
            search = find_span(
                along,
                centre=mistakes((0.0,) * dims),
                chance=1 - 1 / num_classes,
                dims=dims,
                start=self._first_guess(),
                max_probes=MAX_SPAN_PROBES,
            )
        finally:
            evaluator.close()
        if search.outcome == "at chance":
            search = replace(search, span=self.request.ranges[0][1])
        notes.append(search.describe())
        record = {
            "chosen": search.span,
            "probes": [[p.axis, p.coordinate, p.mistake_rate] for p in search.probes],
        }
        return ((-search.span, search.span),) * dims, record

    def _first_guess(self) -> float:
        """Where the search begins: at a distance that many models can just about bear."""
        longest = max(float(d.double().norm()) for d in self.directions)
        weights = float(self.origin.movable.base.double().norm())
        is_random = all(spec.kind == "gaussian" for spec in self.request.directions)
        share = BEARABLE_RANDOM_SHARE if is_random else BEARABLE_SHARE
        guess = share * weights / longest if longest > 0 else 0.0
        return guess if 0 < guess < math.inf else self.request.ranges[0][1]

    def check_fast(
        self, points: np.ndarray, grid: tuple[int, ...]
    ) -> tuple[Deviation, torch.dtype]:
        """How far fewer bits are from exact arithmetic at nine points, and which they are."""
        fast, exact = (
            make_evaluator(self.origin, self.request, self.directions, arithmetic)
            for arithmetic in ("fast", "exact")
        )
        found = sentinel_deviation(
            fast,
            exact,
            points=points,
            grid=grid,
            examples=self.examples,
            chunks=self._chunks(SENTINEL_EXAMPLES),
        )
        return found, fast.compute_dtype
