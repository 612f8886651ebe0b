"""What a person reads in a figure."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text


def texts(figure: Figure) -> str:
    """Every word of a figure."""
    found: list[Any] = figure.findobj(Text)
    return "\n".join(artist.get_text() for artist in found)


def legend_of(axes: Axes) -> list[str]:
    """What the legend of some axes names."""
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]
