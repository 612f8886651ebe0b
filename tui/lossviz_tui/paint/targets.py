"""What a click or the wheel means where: painters say it, composition carries it along.

Nothing here knows what is meant: a target holds the functions that answer, and the one who
shows the lines calls them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from textual.strip import Strip

Click: TypeAlias = Callable[[Any, int, int], Any]
"""Answers a click, given the moment on the screen and the cell, counted from the target's
upper left corner."""
Wheel: TypeAlias = Callable[[Any, int], Any]
"""Answers the wheel, given the moment on the screen and 1 for down or -1 for up."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A rectangle of cells that answers the mouse."""

    left: int
    top: int
    width: int
    height: int
    click: Click | None = None
    wheel: Wheel | None = None
    opens: bool = False
    """Whether a second click opens what the first one chose."""

    def holds(self, x: int, y: int) -> bool:
        """Whether a cell lies in it."""
        return (
            self.left <= x < self.left + self.width and self.top <= y < self.top + self.height
        )

    def moved(self, right: int, down: int) -> "Target":
        """The same rectangle elsewhere."""
        return replace(self, left=self.left + right, top=self.top + down)


class Lines(list[Strip]):
    """Lines of cells, with what lies where on them; of targets that overlap the last counts."""

    def __init__(self, lines: Iterable[Strip] = (), targets: Iterable[Target] = ()) -> None:
        super().__init__(lines)
        self.targets = tuple(targets)


def whole(size: tuple[int, int], click: Click, *, opens: bool = False) -> Target:
    """A target of a size in the upper left corner: all of what is painted there."""
    return Target(left=0, top=0, width=size[0], height=size[1], click=click, opens=opens)


def targets_of(lines: Iterable[Strip], right: int = 0, down: int = 0) -> tuple[Target, ...]:
    """The targets of lines that are put elsewhere; none for lines that have none."""
    if not isinstance(lines, Lines):
        return ()
    return tuple(target.moved(right, down) for target in lines.targets)
