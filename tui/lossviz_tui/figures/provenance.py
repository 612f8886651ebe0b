"""Where the numbers of a figure come from, in one line: run, epoch, checkpoint, version."""

from collections.abc import Iterable

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_tui.figures.drawing import version
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.scene import ScanPicture, Scene

_DIGEST_LETTERS = 12


def of_epoch(scene: Scene) -> str:
    """Of figures of the course of training: the epoch in focus and its checkpoint, if kept."""
    view = scene.view
    if view is None or scene.epoch is None:
        return _joined(scene, ())
    planned = view.description.planned_epochs
    epoch = f"epoch {scene.epoch}" + (f" of {planned}" if planned is not None else "")
    return _joined(scene, (epoch, _checkpoint_at(scene, scene.epoch)))


def of_scan(scene: Scene, picture: ScanPicture) -> str:
    """Of figures of a scan: its id and the checkpoint that it moved."""
    request, found = picture.request, picture.result.geometry.provenance
    digest = str(found.get("checkpoint_digest", ""))[:_DIGEST_LETTERS]
    checkpoint = f"checkpoint {request.checkpoint}" + (f" {digest}" if digest else "")
    where = f"on {found['device']}" if "device" in found else ""
    return _joined(
        scene, (f"scan {picture.scan_id}", f"epoch {request.epoch}", checkpoint, where)
    )


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
        name = scene.view.path.name.removesuffix(".zarr")
        run = (f"run {name}", f"id {about.run_id[:_DIGEST_LETTERS]}")
    words = (*run, *facts, f"lossviz-tui {version()}")
    return " · ".join(clean_text(word, 80) for word in words if word)
