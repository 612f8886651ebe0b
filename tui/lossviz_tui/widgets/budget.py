"""How many bytes a second the link may be given, so that key presses stay prompt.

Textual hands frames to a writer that never drops a stale one: four full heat maps a second on
a 100 kB/s link delayed a key press by 16 seconds.
"""

from collections.abc import Callable

from rich.color import Color, ColorType
from textual.strip import Strip

_ROW_OVERHEAD = 12
_COLOR_BYTES = {
    ColorType.DEFAULT: 3,
    ColorType.STANDARD: 3,
    ColorType.WINDOWS: 3,
    ColorType.EIGHT_BIT: 9,
    ColorType.TRUECOLOR: 17,
}


class ByteBudget:
    """A token bucket: `bytes_per_second` flow in, and no more than one burst is saved up.

    A frame larger than the bucket may go when the bucket is full; the debt it leaves delays the
    next one. Several views share one budget, because they share one link.
    """

    def __init__(
        self,
        bytes_per_second: float,
        clock: Callable[[], float],
        *,
        burst_bytes: float | None = None,
    ) -> None:
        if not bytes_per_second > 0:
            raise ValueError(f"bytes_per_second is a positive rate; got {bytes_per_second!r}")
        self._rate = bytes_per_second
        self._clock = clock
        self._burst = bytes_per_second if burst_bytes is None else burst_bytes
        self._saved = self._burst
        self._updated = clock()

    def delay(self, count: int) -> float:
        """Seconds until `count` bytes may go; 0.0 means now."""
        self._refill()
        return max(0.0, (min(count, self._burst) - self._saved) / self._rate)

    def spend(self, count: int) -> None:
        """Take `count` bytes, whether or not they are there."""
        self._refill()
        self._saved -= count

    def _refill(self) -> None:
        now = self._clock()
        elapsed = max(0.0, now - self._updated)
        self._saved = min(self._burst, self._saved + elapsed * self._rate)
        self._updated = now


def estimated_bytes(strip: Strip) -> int:
    """About how many bytes a line costs on the wire: text, colours, and the way to its row."""
    total = _ROW_OVERHEAD
    for text, style, _ in strip:
        total += len(text.encode())
        if style:
            # Both colours are counted always: the widget's own stand in for a missing one.
            total += 8 + _color_bytes(style.color) + _color_bytes(style.bgcolor)
    return total


def _color_bytes(color: Color | None) -> int:
    return _COLOR_BYTES[ColorType.TRUECOLOR if color is None else color.type]
