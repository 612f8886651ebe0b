"""What a person is looking at: one value for all views, replaced, never changed."""

from dataclasses import dataclass, replace
from typing import Literal, Self

Split = Literal["train", "test"]
LandscapeMode = Literal["plane", "classes", "cut", "similarity"]
Quantity = Literal["mistakes", "loss"]

LANDSCAPE_MODES: tuple[LandscapeMode, ...] = ("plane", "classes", "cut", "similarity")
TURN_DEGREES = 15.0


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The state of the screen that is not data."""

    view: str = "runs"
    epoch: int | None = None
    """The epoch all views show; None follows the newest."""
    split: Split = "test"
    pair: tuple[int, int] | None = None
    """The pair of the dance and of the scan form; None takes the most interfering one."""
    classes: tuple[int, ...] = ()
    """Classes of the notes; none means those of the pair."""
    all_classes: bool = False
    log: bool = False
    color_diagonal: bool = False
    cell: tuple[int, int] = (0, 1)
    """The entry in focus in the CCTM."""
    run_row: int = 0
    """The line in focus in the list of runs."""
    scan_id: str | None = None
    """The scan in focus; None takes the newest."""
    is_playing: bool = False
    """Whether the film in focus goes on by itself."""
    mode: LandscapeMode = "plane"
    quantity: Quantity = "mistakes"
    contours: bool = True
    cut_degrees: float = 135.0
    """Diao et al. discuss the cut along which one class gains what the other loses."""

    def with_next_mode(self) -> Self:
        """The next way to look at a plane."""
        position = LANDSCAPE_MODES.index(self.mode)
        return replace(self, mode=LANDSCAPE_MODES[(position + 1) % len(LANDSCAPE_MODES)])

    def turned(self, steps: int) -> Self:
        """The cut turned by steps of 15 degrees; a line and its half turn are the same line."""
        return replace(self, cut_degrees=(self.cut_degrees + steps * TURN_DEGREES) % 180.0)
