"""A whole benchmark, from its spec to its last line."""

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.arithmetic import why_not_compiled
from lossviz_trainer.bench.floors import measure_peaks
from lossviz_trainer.bench.ground import lay_ground
from lossviz_trainer.bench.report import Emit, environment, say
from lossviz_trainer.bench.scan import bench_scan
from lossviz_trainer.bench.spec import BenchSpec
from lossviz_trainer.bench.train import bench_train
from lossviz_trainer.device import choose_device
from lossviz_trainer.process import report


def main(text: str) -> int:
    """Measure what a spec asks for and print it, one JSON object on each line.

    Args:
        text: The spec as JSON.

    Returns:
        Exit code: 0, or 2 where it is refused.
    """
    try:
        bench(BenchSpec.from_json(text), say)
    except LossvizError as error:
        report("error", message=str(error))
        return 2
    return 0


def bench(spec: BenchSpec, emit: Emit) -> None:
    """Measure what is asked for.

    Args:
        spec: What to measure.
        emit: Takes each event: `progress` while it runs, `environment` once, a `row` for each
            contender, a `summary` for each network that was scanned, `note` for what people
            should know, `done` at the end.

    Raises:
        LossvizError: A network or the device is not there.
    """
    device = choose_device(spec.device)
    grounds = [
        lay_ground(net, images=spec.images, points=spec.points, device=device, seed=spec.seed)
        for net in spec.nets
    ]
    emit({"event": "progress", "what": "measuring the peaks of this machine"})
    peaks = measure_peaks(device)
    emit(environment(device, peaks))
    complaint = why_not_compiled(device) if spec.compile else ""
    if complaint:
        emit({"event": "note", "text": complaint})
    compiled = spec.compile and not complaint
    for ground in grounds:
        if spec.what in ("scan", "all"):
            bench_scan(ground, repeats=spec.repeats, peaks=peaks, compiled=compiled, emit=emit)
        if spec.what in ("train", "all"):
            bench_train(
                ground, steps=spec.points, repeats=spec.repeats, compiled=compiled, emit=emit
            )
    emit({"event": "done"})
