"""What figures of scans say in words: directions, titles, what a scan still lacks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from lossviz_tui.figures.drawing import MUTED, name_of, wrapped
from lossviz_tui.panels.scan_values import axis_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from lossviz_tui.scene import ScanPicture, Scene
    from lossviz_tui.selection import Quantity

UNITS: dict[Quantity, str] = {
    "mistakes": "mistakes, percent",
    "loss": "cross-entropy, nats",
}
AT_LEAST, NO_VALUE = "at least", "no value"
_MAX_LACKING = 3
_LETTERS = 15.0
"""That fit in an inch of the line below a title."""


def title_of(scene: Scene, picture: ScanPicture) -> str:
    """The directions of a scan, and the epoch of the model it is around."""
    axes = " and ".join(
        direction(scene, picture, k) for k in range(len(picture.result.coordinates))
    )
    return f"{axes} around epoch {picture.request.epoch}"


def direction(scene: Scene, picture: ScanPicture, axis: int) -> str:
    """What a direction is; of one toward another model, which."""
    spec = picture.request.directions[axis]
    if spec.kind != "toward":
        return axis_label(scene, picture, axis)
    other = "" if spec.toward_run is None else f"{name_of(Path(spec.toward_run).stem)}, "
    return f"toward {other}checkpoint {spec.toward_checkpoint}"


def member_names(scene: Scene, pictures: Sequence[ScanPicture]) -> list[str]:
    """What tells some scans from one another: epochs, seeds, directions; at last their ids."""
    words: list[list[str]] = [[] for _ in pictures]
    aspects = (
        [f"epoch {one.request.epoch}" for one in pictures],
        [_directions(scene, one) for one in pictures],
        [f"{one.request.batch_norm} BN" for one in pictures],
    )
    for aspect in aspects:
        if len(set(aspect)) > 1:
            for part, word in zip(words, aspect, strict=True):
                part.append(word)
    names = [", ".join(part) for part in words]
    count = Counter(names)
    return [
        name if count[name] == 1 else ", ".join(filter(None, (name, name_of(one.scan_id[-6:]))))
        for name, one in zip(names, pictures, strict=True)
    ]


def _directions(scene: Scene, picture: ScanPicture) -> str:
    specs = picture.request.directions
    if all(spec.kind == "gaussian" for spec in specs):
        return " and ".join(f"seed {spec.seed}" for spec in specs)
    return " and ".join(direction(scene, picture, k) for k in range(len(specs)))


def lacking(pictures: Sequence[ScanPicture], names: Sequence[str]) -> list[str]:
    """How far each scan is that is not done, or that left points out."""
    if len(pictures) == 1:
        return [one.stage for one in pictures if not one.is_whole]
    found = [
        f"{name}: {one.stage}"
        for one, name in zip(pictures, names, strict=True)
        if not one.is_whole
    ]
    more = len(found) - _MAX_LACKING
    return found[:_MAX_LACKING] + ([f"{more} more are not whole"] if more > 0 else [])


def subtitle(axes: Axes, lines: Sequence[str], *, columns: int = 1) -> None:
    """Facts above one of so many axes of a figure, wrapped to its share of the width."""
    figure = axes.get_figure(root=True)
    width = 6.4 if figure is None else figure.get_figwidth()
    letters = max(20, int(_LETTERS * (width - 1) / columns))
    text = "\n".join(wrapped(line, letters) for line in lines if line)
    if text:
        axes.set_title(text, color=MUTED)
