"""Scans that papers draw, by one word."""

from dataclasses import replace
from typing import assert_never

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import Normalisation
from lossviz_tui.choosing import is_number, way
from lossviz_tui.wish import ScanWish

DEFAULT_SEEDS = 5
W_BASIN_POINTS = 61
"""Three intervals of twenty steps: both models lie on the grid, as with 41 points on two."""


def with_preset(wish: ScanWish, reader: RunReader) -> ScanWish:
    """The wish with what its preset leaves to nobody; what is said wins.

    v-basin: Gaussian lines of several seeds, normalised to the norm of the model (Xu 2024, sec.
    2.2). v-side: from an early checkpoint toward the last one (sec. 2.3). w-basin: toward
    another run on [-1, 2], batch norm recomputed (sec. 2.4). interpolate: toward another run on
    [-0.5, 1.5], both splits (Li 2018, sec. 3).
    """
    if wish.preset is None:
        return wish
    if wish.kind is not None:
        raise LossvizError(f"the preset {wish.preset} says what is scanned; drop the kind")
    if wish.film is not None or wish.second is not None or wish.dims not in (None, 1):
        raise LossvizError(f"the preset {wish.preset} draws lines; drop film, second and dims")
    match wish.preset:
        case "v-basin":
            normalise: Normalisation = "model"
            return replace(
                wish,
                preset=None,
                kind="gaussian",
                seeds=DEFAULT_SEEDS if wish.seeds is None else wish.seeds,
                normalise=normalise if wish.normalise is None else wish.normalise,
            )
        case "v-side":
            wish = _with_ranges(wish, (-1.0, 1.0))
            checkpoint = wish.checkpoint or _early(reader)
            toward = wish.toward or "last"
            return replace(
                wish, preset=None, kind="toward", checkpoint=checkpoint, toward=toward
            )
        case "w-basin":
            _refuse_own_run(wish)
            points = W_BASIN_POINTS if wish.points is None else wish.points
            wish = _with_ranges(wish, (-1.0, 2.0))
            return replace(wish, preset=None, kind="toward", points=points)
        case "interpolate":
            _refuse_own_run(wish)
            split = wish.split or "both"
            return replace(wish, preset=None, kind="toward", split=split)
        case _:
            assert_never(wish.preset)


def _with_ranges(wish: ScanWish, limits: tuple[float, float]) -> ScanWish:
    if wish.span is not None or wish.ranges:
        return wish
    return replace(wish, ranges=(limits,))


def _early(reader: RunReader) -> str:
    """The first kept epoch; not the initial weights where there is a choice."""
    epochs = [info.epoch for info in way(reader)]
    if len(epochs) < 2:
        raise LossvizError(
            f"the preset v-side needs an early checkpoint and a last one; {reader.path} keeps "
            f"{len(epochs)}"
        )
    return str(epochs[1] if epochs[0] == 0 and len(epochs) > 2 else epochs[0])


def _refuse_own_run(wish: ScanWish) -> None:
    if wish.toward is None or is_number(wish.toward):
        raise LossvizError(
            f"the preset {wish.preset} goes toward another run; give --toward RUN or RUN:EPOCH"
        )
