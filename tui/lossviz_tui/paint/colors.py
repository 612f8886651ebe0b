"""Arithmetic of colours: how light they are, how far apart, and what reads on them."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.color import Color


@lru_cache(maxsize=1024)
def nearest_256(rgb: str) -> Color:
    """The closest fixed colour of a 256-colour terminal, by distance in OKLab (Ottosson, 2020).

    Rich's own choice turns soft colours grey, which breaks the order of a palette.
    """
    cube = [0, 95, 135, 175, 215, 255]
    fixed = [(r, g, b) for r in cube for g in cube for b in cube]
    fixed += [(8 + 10 * k,) * 3 for k in range(24)]
    distance = np.linalg.norm(_oklab(np.array(fixed)) - _oklab(_channels(rgb)), axis=1)
    return Color.from_ansi(16 + int(distance.argmin()))


def contrast_for(rgb: str) -> str:
    """Black or white, whichever reads better on a colour (WCAG relative luminance)."""
    return "#000000" if luminance(rgb) > 0.18 else "#ffffff"


@lru_cache(maxsize=256)
def dimmed(rgb: str, *, dark: bool) -> str:
    """A colour on its way to the background, for what is not certain."""
    ground = np.array([18, 18, 18] if dark else [244, 244, 244])
    mixed = np.rint(0.6 * _channels(rgb) + 0.4 * ground).astype(np.int64)
    return "#" + "".join(f"{channel:02x}" for channel in mixed.tolist())


def luminance(rgb: str) -> float:
    """Relative luminance of "#rrggbb" in [0, 1] (WCAG 2.1)."""
    return float(_linear(_channels(rgb)) @ np.array([0.2126, 0.7152, 0.0722]))


def _channels(rgb: str) -> NDArray[np.int64]:
    return np.array([int(rgb[i : i + 2], 16) for i in (1, 3, 5)])


def _linear(channels: NDArray[np.int64]) -> NDArray[np.float64]:
    share = channels / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def _oklab(channels: NDArray[np.int64]) -> NDArray[np.float64]:
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(_linear(channels) @ cones.T) @ lab.T
