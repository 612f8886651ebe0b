"""`bench scan`: how fast a network is evaluated over points of weight space."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from lossviz_analysis.weightspace.batchnorm import has_batch_norm
from lossviz_analysis.weightspace.grid import coarse_to_fine, linspace, points_of
from lossviz_trainer.bench.clock import Times, by_turns, seconds_of
from lossviz_trainer.bench.contenders import (
    BareForward,
    Contender,
    LoaderPass,
    Ours,
    ResidentLoop,
)
from lossviz_trainer.bench.floors import Peaks, layers_of, roofline_seconds
from lossviz_trainer.bench.ground import Ground, Point
from lossviz_trainer.bench.oracle import Statistics, deviation, true_loss
from lossviz_trainer.bench.report import Emit, Row, Summary

GATE_POINTS = 2
BARE, COMPILED = "bare forward", "bare forward, compiled"
PEER, PEER_WORKERS = "loader pass, no workers", "loader pass, 2 workers"
RESIDENT, EXACT, FAST = "resident loop, eager", "ours, exact", "ours, fast"
EXACT_COMPILED, FAST_COMPILED = "ours, exact, compiled", "ours, fast, compiled"
_PICTURE_POINTS = 19
_PICTURE_COARSE = 81


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A contender that is yet to be made."""

    make: Callable[[], Contender]
    kind: Literal["exact", "fast"] = "exact"
    statistics: Statistics = "frozen"
    is_bound: bool = False


def frozen_entries(ground: Ground, *, compiled: bool) -> dict[str, Entry]:
    """Who takes part with batch-norm statistics as they are.

    Args:
        ground: The problem.
        compiled: Whether the bound and ours also go through torch.compile.

    Returns:
        By name, in the order of their turns.
    """
    entries = {BARE: Entry(make=partial(BareForward, ground), is_bound=True)}
    if compiled:
        entries[COMPILED] = Entry(
            make=partial(BareForward, ground, compiled=True), is_bound=True
        )
    entries |= {
        PEER: Entry(make=partial(LoaderPass, ground, workers=0)),
        PEER_WORKERS: Entry(make=partial(LoaderPass, ground, workers=2)),
        RESIDENT: Entry(make=partial(_resident, ground)),
        EXACT: Entry(make=partial(Ours, ground)),
        FAST: Entry(make=partial(Ours, ground, arithmetic="fast"), kind="fast"),
    }
    if compiled:
        fast = partial(Ours, ground, arithmetic="fast", compiled=True)
        entries |= {
            EXACT_COMPILED: Entry(make=partial(Ours, ground, compiled=True)),
            FAST_COMPILED: Entry(make=fast, kind="fast"),
        }
    return entries


def recompute_entries(ground: Ground) -> dict[str, Entry]:
    """Who takes part with batch-norm statistics of each point, by name."""
    again = {"recompute": True}
    return {
        PEER: Entry(make=partial(LoaderPass, ground, workers=0, **again), statistics="average"),
        PEER_WORKERS: Entry(
            make=partial(LoaderPass, ground, workers=2, **again), statistics="average"
        ),
        EXACT: Entry(make=partial(Ours, ground, **again), statistics="recompute"),
        FAST: Entry(
            make=partial(Ours, ground, arithmetic="fast", **again),
            kind="fast",
            statistics="recompute",
        ),
    }


def _resident(ground: Ground) -> ResidentLoop:
    """With the batch that suits the bare forward pass."""
    return ResidentLoop(ground, micro_batch=BareForward(ground).micro_batch)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ready:
    """A contender that has been made, tried and gated."""

    contender: Contender
    entry: Entry
    setup_seconds: float
    deviation: float

    @property
    def is_right(self) -> bool:
        """Whether its losses are those of the reference."""
        return self.deviation <= 1


def gate(
    ground: Ground, entries: Mapping[str, Entry], on_step: Callable[[str], None]
) -> dict[str, Ready]:
    """Make every contender, warm it up, and compare it with the reference.

    Args:
        ground: The problem.
        entries: The contenders.
        on_step: Called with the name of each.

    Returns:
        The contenders by name.
    """
    points = ground.points[:GATE_POINTS]
    truths: dict[Statistics, list[float]] = {}
    ready: dict[str, Ready] = {}
    for name, entry in entries.items():
        on_step(name)
        if entry.statistics not in truths:
            truths[entry.statistics] = [
                true_loss(ground, point, entry.statistics) for point in points
            ]
        made: list[Contender] = []
        setup = seconds_of(lambda e=entry, m=made: m.append(e.make()), ground.device)
        setup += seconds_of(partial(made[0].run, points[:1]), ground.device)
        pairs = zip(made[0].losses(points), truths[entry.statistics], strict=True)
        # Written so that NaN, which compares false, is kept as the worst.
        worst = 0.0
        for found, true in pairs:
            off = deviation(found, true, entry.kind)
            worst = worst if off <= worst else off
        ready[name] = Ready(
            contender=made[0], entry=entry, setup_seconds=setup, deviation=worst
        )
    return ready


def rows(
    table: str,
    ground: Ground,
    ready: Mapping[str, Ready],
    times: Mapping[str, Times],
    *,
    gflop: float,
    peak: float,
    roofline_rate: float,
) -> list[Row]:
    """One row for each contender.

    Args:
        table: Its name.
        ground: The problem.
        ready: All contenders.
        times: Of those that passed the gate.
        gflop: Of one image.
        peak: FLOP/s of a large matrix product in float32.
        roofline_rate: Images/s at the layers' floors.

    Returns:
        The rows, in order.
    """
    bounds = [name for name in times if ready[name].entry.is_bound]
    bound = min(bounds, key=lambda name: times[name].median, default=None)
    done = len(ground.points) * len(ground.examples)
    found: list[Row] = []
    for name, one in ready.items():
        common: dict[str, Any] = {
            "table": table,
            "net": ground.net,
            "name": name,
            "is_right": one.is_right,
            "deviation": one.deviation,
            "setup_seconds": one.setup_seconds,
            "micro_batch": getattr(one.contender, "micro_batch", None),
            "note": getattr(one.contender, "description", ""),
        }
        if name not in times:
            found.append(Row(**common))
            continue
        rate = done / times[name].median
        # Where statistics are recomputed there is no bound to be compared with.
        is_whole = one.entry.statistics == "frozen"
        found.append(
            Row(
                **common,
                images_per_second=rate,
                best_images_per_second=done / times[name].least,
                of_bound=None if bound is None else times[name].ratio_to(times[bound]),
                of_peer=times[name].ratio_to(times[PEER]) if PEER in times else None,
                cpu_of_bound=None if bound is None else times[name].cpu_ratio_to(times[bound]),
                cpu_of_peer=times[name].cpu_ratio_to(times[PEER]) if PEER in times else None,
                matmul_share=1e9 * gflop * rate / peak if is_whole else None,
                roofline_share=rate / roofline_rate if is_whole else None,
            )
        )
    return found


def bench_scan(
    ground: Ground, *, repeats: int, peaks: Peaks, compiled: bool, emit: Emit
) -> None:
    """Measure one network and say so.

    Args:
        ground: The problem.
        repeats: Turns of each contender.
        peaks: Of the device.
        compiled: Whether compiled contenders take part.
        emit: Takes each event.
    """
    layers = layers_of(ground.origin, ground.examples.inputs(0, 1, torch.float32))
    flops, peak = sum(layer.flops for layer in layers), peaks.matmul["float32"]
    floor = roofline_seconds(layers, flops=peak, bandwidth=peaks.copy, element_bytes=4)
    tables = {"scan, frozen": frozen_entries(ground, compiled=compiled)}
    if has_batch_norm(ground.origin):
        tables["scan, recompute"] = recompute_entries(ground)
    times: dict[str, Times] = {}
    first: Mapping[str, Ready] = {}
    for table, entries in tables.items():
        announce = partial(_announce, emit, f"{ground.net}, {table}")
        ready = gate(ground, entries, partial(announce, "checking"))
        deeds = {
            name: partial(one.contender.run, ground.points)
            for name, one in ready.items()
            if one.is_right
        }
        turns = by_turns(
            deeds,
            repeats=repeats,
            device=ground.device,
            on_turn=lambda name, turn, a=announce: a(f"turn {turn + 1} of {repeats}", name),
        )
        for row in rows(
            table,
            ground,
            ready,
            turns,
            gflop=flops / 1e9,
            peak=peak,
            roofline_rate=1 / floor,
        ):
            emit(row.event())
        if not first:
            times, first = turns, ready
    compile_seconds, break_even = _compiling(ground, first, times)
    emit(
        Summary(
            net=ground.net,
            gflop_per_image=flops / 1e9,
            roofline_images_per_second=1 / floor,
            first_picture_seconds=_first_picture(ground, first[EXACT]),
            compile_seconds=compile_seconds,
            break_even_points=break_even,
        ).event()
    )


def _announce(emit: Emit, what: str, phase: str, name: str) -> None:
    emit({"event": "progress", "what": f"{what}: {phase}, {name}"})


def coarse_points() -> Sequence[Point]:
    """The 81 points of a 19 x 19 plane that a scan looks at first."""
    axis = linspace(-1.0, 1.0, _PICTURE_POINTS)
    every = points_of((axis, axis))
    order = coarse_to_fine((_PICTURE_POINTS, _PICTURE_POINTS))[:_PICTURE_COARSE]
    return [(float(a), float(b)) for a, b in np.asarray(every)[order]]


def _first_picture(ground: Ground, ours: Ready) -> float | None:
    engine = ours.contender
    if not isinstance(engine, Ours) or not ours.is_right:
        return None
    points = coarse_points()
    engine.first_picture(points[:1])
    return seconds_of(lambda: engine.first_picture(points), ground.device)


def _compiling(
    ground: Ground, ready: Mapping[str, Ready], times: Mapping[str, Times]
) -> tuple[float | None, float | None]:
    """What compiling costs in seconds, and after how many points that has paid."""
    compiled = ready[COMPILED].contender if COMPILED in ready else None
    if not isinstance(compiled, BareForward):
        return None, None
    if COMPILED not in times or BARE not in times:
        return compiled.compile_seconds, None
    saved = (times[BARE].median - times[COMPILED].median) / len(ground.points)
    return compiled.compile_seconds, compiled.compile_seconds / saved if saved > 0 else None
