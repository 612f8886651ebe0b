"""What all figures share: matplotlib itself, colours, titles, and how a file is written.

The colours are those of the painters on a light ground, so that a figure and the screen agree.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import textwrap
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from lossviz_analysis.errors import LossvizError
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.paint.palettes import FAINT as FAINT_INKS
from lossviz_tui.paint.palettes import MUTED as MUTED_INKS
from lossviz_tui.paint.palettes import TEXT as TEXT_INKS
from lossviz_tui.paint.palettes import Look, category_ink

if TYPE_CHECKING:
    from collections.abc import Generator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INSTALL = "figures need matplotlib: pip install 'lossviz-tui[figures]'"
LIGHT = Look(dark=False)
TEXT, MUTED, FAINT = (pair[1].rgb for pair in (TEXT_INKS, MUTED_INKS, FAINT_INKS))
DOTS_PER_INCH = 200
_MAX_NAME = 24
_SHORT_RATIO = 20.0
_TITLE_LETTERS, _FINE_LETTERS = 9.5, 19.0
"""That fit in an inch of a title, and of the line below a figure."""

_SETTINGS: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": TEXT,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": TEXT,
    "axes.titlelocation": "left",
    "axes.titlesize": 8,
    "figure.facecolor": "white",
    "figure.titlesize": 10,
    "figure.titleweight": "bold",
    "font.size": 8,
    "grid.color": FAINT,
    "grid.linewidth": 0.4,
    "hatch.linewidth": 0.4,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "pdf.fonttype": 42,  # text stays text, which journals ask for
    "savefig.facecolor": "auto",
    "svg.hashsalt": "lossviz-tui",  # the same figure has the same bytes
    "text.color": TEXT,
    "text.parse_math": False,  # a class may be called "$x"
    "xtick.color": MUTED,
    "xtick.labelcolor": TEXT,
    "xtick.labelsize": 7,
    "ytick.color": MUTED,
    "ytick.labelcolor": TEXT,
    "ytick.labelsize": 7,
}
_OTHER_SCRIPTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "IPAGothic", "Noto Sans",
    "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Unifont",
)  # fmt: skip
"""Fonts for names that DejaVu Sans, which comes with matplotlib, has no glyphs for."""
# Settings of matplotlib are the process's.
_LOCK = threading.RLock()


def has_matplotlib() -> bool:
    """Whether figures can be made."""
    with contextlib.suppress(ValueError, ImportError):
        return importlib.util.find_spec("matplotlib") is not None
    return False


def module(name: str = "matplotlib") -> Any:  # noqa: ANN401  # loaded late, so not typed
    """A module of matplotlib; raises LossvizError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise LossvizError(INSTALL) from None


@contextlib.contextmanager
def figure_settings(*, text_as_paths: bool) -> Generator[None]:
    """Our settings for as long as a figure is made, whatever the user's own ones are."""
    library = module()
    manager = module("matplotlib.font_manager").fontManager
    known = {font.name for font in manager.ttflist}
    families = ["DejaVu Sans", *(name for name in _OTHER_SCRIPTS if name in known)]
    ours = {
        "font.family": families,
        "svg.fonttype": "path" if text_as_paths else "none",
    }
    with _LOCK, library.rc_context(), warnings.catch_warnings():
        # Of glyphs that no font has, and of surfaces of NaN: the figure shows both.
        warnings.simplefilter("ignore")
        library.rcdefaults()
        library.rcParams.update(_SETTINGS | ours)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, which nobody else holds."""
    return module("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def entitle(figure: Figure, title: str, provenance: str) -> None:
    """Put a title over a figure, and where its numbers come from below it."""
    width = figure.get_figwidth()
    figure.suptitle(wrapped(title, int(_TITLE_LETTERS * width)), x=0.01, ha="left")
    origin = wrapped(provenance, int(_FINE_LETTERS * width))
    figure.supxlabel(origin, x=0.01, ha="left", fontsize=5.5, color=MUTED)


def wrapped(text: str, letters: int) -> str:
    """Text in lines of at most so many letters, as far as its words allow."""
    return "\n".join(textwrap.wrap(text, letters, break_long_words=False))


def rendered(figure: Figure, suffix: str, *, transparent: bool = False) -> bytes:
    """A figure as the bytes of an .svg, .png or .pdf; the same figure gives the same bytes."""
    creator = f"lossviz-tui {version()}"
    metadata: dict[str, dict[str, str | None]] = {
        ".svg": {"Creator": creator, "Date": None},
        ".png": {"Software": creator},
        ".pdf": {"Creator": creator, "Producer": creator, "CreationDate": None},
    }
    file = io.BytesIO()
    figure.savefig(
        file,
        format=suffix.removeprefix("."),
        dpi=DOTS_PER_INCH,
        metadata=metadata[suffix],
        transparent=transparent,
    )
    return file.getvalue()


def version() -> str:
    """The version of this program."""
    return importlib.metadata.version("lossviz-tui")


def color(index: int) -> str:
    """The colour of the index-th category, cyclic; the muted one below 0."""
    return MUTED if index < 0 else category_ink(LIGHT, index).rgb


def name_of(text: str) -> str:
    """A name from a store, made safe to print and not too long for a label."""
    return clean_text(text, _MAX_NAME)


def logarithmic(axes: Axes) -> None:
    """A logarithmic y axis, for what is drawn already, whose ticks are plain numbers."""
    axes.set_yscale("log")
    plain_log_ticks(axes, axes.get_ylim())


def plain_log_ticks(axes: Axes, ends: tuple[float, float]) -> None:
    """Plain numbers at the ticks of a logarithmic y axis that shows so much."""
    ticker = module("matplotlib.ticker")
    low, high = ends
    # Within little more than a decade there is hardly a power of ten.
    is_short = low > 0 and high / low < _SHORT_RATIO
    locator = (
        ticker.MaxNLocator(8, steps=[1, 2, 2.5, 5, 10])
        if is_short
        else ticker.LogLocator(subs=(1.0, 2.0, 5.0), numticks=12)
    )
    axes.yaxis.set_major_locator(locator)
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(plain_number))
    axes.yaxis.set_minor_locator(ticker.NullLocator())


def plain_number(value: float, _: object = None) -> str:
    """A number at a tick, in as few characters as say it."""
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.6g}"


def whole_ticks(axes: Axes) -> None:
    """Ticks of the x axis at whole numbers only."""
    ticker = module("matplotlib.ticker")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins="auto", integer=True))


def edges(centres: np.ndarray) -> np.ndarray:
    """Borders of cells around ascending centres, half-way between them: one more than these."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middles = (centres[1:] + centres[:-1]) / 2
    first, last = 2 * centres[0] - middles[0], 2 * centres[-1] - middles[-1]
    return np.concatenate([[first], middles, [last]])
