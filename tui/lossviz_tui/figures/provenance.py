"""Where the numbers of a figure come from, in one line: run, epoch, checkpoint, version."""

from collections.abc import Iterable, Sequence

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import RUN_SUFFIX
from lossviz_tui.figures.drawing import version
from lossviz_tui.history import RunView
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.scene import ScanPicture, Scene

_DIGEST_LETTERS = 12


def of_epoch(scene: Scene, others: Iterable[RunView] = ()) -> str:
    """Of figures of the course of training: the epoch in focus and its checkpoint, if kept.

    Other runs that are drawn too are named with their last epoch.
    """
    view = scene.view
    if view is None or scene.epoch is None:
        return _joined(scene, ())
    planned = view.description.planned_epochs
    epoch = f"epoch {scene.epoch}" + (f" of {planned}" if planned is not None else "")
    beside = [
        f"run {clean_text(run_name(other), 48)} {other.description.run_id[:_DIGEST_LETTERS]} "
        f"to epoch {other.epochs[-1]}"
        for other in others
        if len(other)
    ]
    return _joined(scene, (epoch, _checkpoint_at(scene, scene.epoch), *beside))


def run_name(view: RunView) -> str:
    """The name of a run's folder without its ending."""
    return view.path.name.removesuffix(RUN_SUFFIX)


def of_scans(scene: Scene, pictures: Sequence[ScanPicture]) -> str:
    """Of figures of scans: the series, their ids, the checkpoints that they moved."""
    requests = [one.request for one in pictures]
    found = [one.result.geometry.provenance for one in pictures]
    series = {request.series for request in requests}
    name = f"series {series.pop()}" if len(series) == 1 and "" not in series else ""
    ids = [one.scan_id for one in pictures]
    if len(ids) > 2:
        scans = (f"{len(ids)} scans", f"the first {ids[0]}", f"the last {ids[-1]}")
    else:
        scans = tuple(f"scan {scan_id}" for scan_id in ids)
    digests = {str(one.get("checkpoint_digest", ""))[:_DIGEST_LETTERS] for one in found}
    checkpoint = _range("checkpoint", (request.checkpoint for request in requests))
    if len(digests) == 1:
        checkpoint = f"{checkpoint} {digests.pop()}".rstrip()
    devices = dict.fromkeys(str(one["device"]) for one in found if "device" in one)
    where = f"on {', '.join(devices)}" if devices else ""
    epoch = _range("epoch", (request.epoch for request in requests))
    return _joined(scene, (name, *scans, epoch, checkpoint, where))


def _range(what: str, numbers: Iterable[int]) -> str:
    """One number, or the first and the last one of several."""
    known = sorted(set(numbers))
    if len(known) == 1:
        return f"{what} {known[0]}"
    return f"{what}s {known[0]} {'and' if len(known) == 2 else 'to'} {known[-1]}"


def _checkpoint_at(scene: Scene, epoch: int) -> str:
    if scene.view is None:
        return ""
    try:
        infos = RunReader(scene.view.path).checkpoints(scene.view.head)
    except (StoreError, OSError):
        return ""
    kept = [info for info in infos if info.epoch == epoch and info.step == 0]
    return f"checkpoint {kept[-1].number} {kept[-1].digest[:_DIGEST_LETTERS]}" if kept else ""


def _joined(scene: Scene, facts: Iterable[str]) -> str:
    run: tuple[str, ...] = ()
    if scene.view is not None:
        about = scene.view.description
        run = (f"run {run_name(scene.view)}", f"id {about.run_id[:_DIGEST_LETTERS]}")
    words = (*run, *facts, f"lossviz-tui {version()}")
    return " · ".join(clean_text(word, 80) for word in words if word)
