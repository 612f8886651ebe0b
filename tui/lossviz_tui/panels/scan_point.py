"""What is known of one grid point of a scan, in words."""

import numpy as np

from lossviz_analysis.store.results import SplitResult
from lossviz_tui.panels.scan_values import axis_label, drawn
from lossviz_tui.scene import ScanPicture, Scene


def point_facts(scene: Scene, picture: ScanPicture, point: tuple[int, ...]) -> list[str]:
    """Where a point lies, then for each split its values with standard errors."""
    axes = picture.result.coordinates
    names = [axis_label(scene, picture, axis) + " " for axis in range(len(axes))]
    if len(axes) == 1:
        names = [""]  # which stands below the curve
    places = zip(names, axes, point, strict=True)
    facts = ["at " + ", ".join(f"{name}{t[at]:+.4g}" for name, t, at in places)]
    for name, split in picture.result.splits.items():
        facts += _split_facts(picture, name, split, point)
    return facts


def _split_facts(
    picture: ScanPicture, name: str, split: SplitResult, point: tuple[int, ...]
) -> list[str]:
    if split.is_void[point]:
        return [f"{name}: no value (negative BN variance)"]
    if not split.is_known[point]:
        found = [
            drawn(split, quantity, picture.request.clip) for quantity in ("loss", "mistakes")
        ]
        loss, rate = (float(one.values[point]) for one in found)
        if np.isnan(loss) and np.isnan(rate):
            return [f"{name}: not computed yet"]
        return [f"{name} about {_number(loss)}, {rate:.1f} % wrong: estimated from around"]
    loss = f"{_number(float(split.loss[point]))}{_error(float(split.loss_error[point]), '.2g')}"
    rate = 100 * float(split.mistake_rate[point])
    wrong = f"{rate:.2f}{_error(100 * float(split.mistake_rate_error[point]), '.2f')} % wrong"
    total, seen = picture.result.geometry.examples[name], int(split.num_seen[point])
    images = f"all {seen:,} images" if split.is_complete[point] else f"{seen:,} of {total:,}"
    least = f", at least {picture.request.clip:g}" if split.is_at_least[point] else ""
    return [f"{name} loss {loss}, {wrong}", f"on {images}{least}"]


def class_fact(scene: Scene, picture: ScanPicture, point: tuple[int, ...]) -> str:
    """The value of the class under the cursor at a point of the first split."""
    split = next(iter(picture.result.splits.values()))
    chosen = scene.surface
    name = picture.result.geometry.class_names[chosen]
    if not split.is_known[point] or split.is_void[point]:
        return f"{name}: not computed yet"
    rate = float(split.class_mistake_rate[(*point, chosen)])
    loss = float(split.class_loss[(*point, chosen)])
    error, count = "", int(split.class_seen[(*point, chosen)])
    if count > 1 and 0 <= rate <= 1:
        error = _error(100 * float(np.sqrt(rate * (1 - rate) / (count - 1))), ".2f")
    return f"{name}: {100 * rate:.2f}{error} % wrong, loss {_number(loss)}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _error(value: float, form: str) -> str:
    """A standard error; nothing where there is none."""
    return f" ±{value:{form}}" if np.isfinite(value) else ""
