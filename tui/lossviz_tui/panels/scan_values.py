"""The numbers of a scan as they are drawn: in the chosen quantity, gaps estimated."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossviz_analysis.store.requests import DirectionSpec
from lossviz_analysis.store.results import SplitResult
from lossviz_analysis.surfaces.estimate import estimated_losses, estimated_rates
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.scene import ScanPicture, Scene
from lossviz_tui.selection import Quantity

_SPELLINGS = (("±", "+-"), ("○", "O"), ("●", "@"), ("←", "<-"), ("→", "->"))
"""Signs of ours in ASCII."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """One quantity over the grid."""

    label: str
    """Its name with unit."""
    values: np.ndarray
    """NaN where nothing can be said, and where the model cannot be evaluated."""
    is_evaluated: np.ndarray
    """Where the value is the scan's own."""
    is_shown: np.ndarray
    """Where there is something to draw: evaluated or estimated."""
    is_capped: np.ndarray
    """Where the value is at least what is drawn."""

    @property
    def is_estimated(self) -> np.ndarray:
        """Where the value follows from the evaluated ones around."""
        return self.is_shown & ~self.is_evaluated

    @property
    def sure(self) -> np.ndarray:
        """The scan's own values, NaN elsewhere."""
        return np.where(self.is_evaluated, self.values, np.nan)


def drawn(split: SplitResult, quantity: Quantity, clip: float | None) -> Drawn:
    """A split in one quantity; what is given up above a clip is drawn at the highest value."""
    is_capped = np.zeros_like(split.is_at_least)
    if quantity == "mistakes":
        label, values = "mistakes %", 100 * split.mistake_rate
        if not split.is_known.all():
            values = 100 * estimated_rates(split.mistake_rate, split.is_known)
    else:
        label, values = "cross-entropy", split.loss
        if not split.is_known.all():
            values = estimated_losses(split.loss, split.is_known)
        if clip is not None:
            is_capped = split.is_at_least
            others = values[~is_capped & np.isfinite(values)]
            values = np.where(is_capped, max(clip, others.max(initial=0.0)), values)
    return Drawn(
        label=label,
        values=values,
        is_evaluated=split.is_known,
        is_shown=split.is_known | ~np.isnan(values),
        is_capped=is_capped,
    )


def common_ends(
    scene: Scene, pictures: tuple[ScanPicture, ...]
) -> tuple[float | None, float | None]:
    """Smallest and largest value of all frames of a film; None where there is none.

    On a log scale of those above 0.
    """
    found: list[np.ndarray] = []
    for picture in pictures:
        split = next(iter(picture.result.splits.values()))
        one = drawn(split, scene.selection.quantity, picture.request.clip)
        values = one.sure
        found.append(values[np.isfinite(values) & ((values > 0) | (not scene.selection.log))])
    values = np.concatenate(found) if found else np.empty(0)
    return (float(values.min()), float(values.max())) if values.size else (None, None)


def axis_label(scene: Scene, picture: ScanPicture, axis: int) -> str:
    """What a direction is, in a word or two."""
    spec = picture.request.directions[axis]
    text = direction_name(spec, picture.result.geometry.class_names)
    return clean_text(text, 20, ascii_only=scene.look.is_ascii)


def direction_name(spec: DirectionSpec, class_names: Sequence[str]) -> str:
    """What a direction is; the name of a class in it is as the store has it."""
    match spec.kind:
        case "ego" if spec.class_index is not None and spec.class_index < len(class_names):
            return f"ego {class_names[spec.class_index]}"
        case "gaussian":
            return f"gaussian {spec.seed}"
        case "pca" | "file":
            return f"{spec.kind} {spec.component}"
        case _:
            return spec.kind


def fact_text(text: str, width: int, *, ascii_only: bool) -> str:
    """A fact made printable; its own signs have spellings in ASCII."""
    if ascii_only:
        for sign, spelling in _SPELLINGS:
            text = text.replace(sign, spelling)
    return clean_text(text, width, ascii_only=ascii_only)
