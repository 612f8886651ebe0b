"""The ways a view leaves the screen: one key and one suffix each."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["screen", "figure", "data"]


@dataclass(frozen=True)
class Format:
    """One way to write a view to a file."""

    key: str
    """The key that chooses it in the app."""
    suffix: str
    kind: Kind
    """The screen as it is painted, a figure with axes, or the numbers."""
    label: str


FORMATS: tuple[Format, ...] = (
    Format("s", ".svg", "screen", "the screen as SVG, in colour"),
    Format("t", ".txt", "screen", "the screen as plain text"),
    Format("p", ".png", "figure", "a figure with axes, PNG"),
    Format("f", ".svg", "figure", "the same, SVG"),
    Format("d", ".pdf", "figure", "the same, PDF"),
    Format("c", ".csv", "data", "its numbers as CSV"),
    Format("j", ".json", "data", "everything of the run or scan, JSON"),
    Format("n", ".npz", "data", "the same as NumPy arrays, NPZ"),
)


def format_of(suffix: str, *, as_figure: bool = False) -> Format | None:
    """What a suffix stands for; an .svg is the screen unless a figure is asked for."""
    found = [
        one
        for one in FORMATS
        if one.suffix == suffix and (one.kind == "figure" or not as_figure)
    ]
    return (found[-1] if as_figure else found[0]) if found else None
