"""What a person is looking at: one value for all views, replaced, never changed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

Split = Literal["train", "test"]
LandscapeMode = Literal["plane", "classes", "cut", "similarity"]
Quantity = Literal["mistakes", "loss"]
Comparison = Literal["rates", "splits", "epochs", "runs"]
ClassOrder = Literal["index", "similarity", "recall"]
Ranking = Literal["rate", "score"]

LANDSCAPE_MODES: tuple[LandscapeMode, ...] = ("plane", "classes", "cut", "similarity")
COMPARISONS: tuple[Comparison, ...] = ("rates", "splits", "epochs", "runs")
"""What the CCTM shows: itself, train minus test, less another epoch's, less another run's."""
CLASS_ORDERS: tuple[ClassOrder, ...] = ("index", "similarity", "recall")
NUM_ZOOMS = 3
"""The whole CCTM, an entry a point, an entry a number."""
TURN_DEGREES = 15.0
MAX_CLASSES = 8
"""Classes drawn together: there are so many colours and glyphs that can be told apart."""
OPEN_SLOT = MAX_CLASSES - 1
"""Colour and glyph of the open run among marked ones, unless it is marked itself."""
MAX_MARKS = OPEN_SLOT
SMOOTHINGS = (0.0, 0.025, 0.1)
"""Shares of the epochs that a smoothed curve averages; 0 leaves the curves as they are."""


@dataclass(frozen=True, kw_only=True)
class RunMark:
    """A run to be drawn together with the open one."""

    path: Path
    slot: int
    """Its colour and glyph, for as long as it is marked."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The state of the screen that is not data."""

    view: str = "runs"
    epoch: int | None = None
    """The epoch all views show; None follows the newest."""
    split: Split = "test"
    pair: tuple[int, int] | None = None
    """The pair of the dance and of the scan form; None takes the most interfering one."""
    held_pair: tuple[int, int] | None = None
    """What was the most interfering pair when the epoch in focus began to be held."""
    classes: tuple[int, ...] = ()
    """Classes of dance and notes, at most MAX_CLASSES; none means those of the pair."""
    all_classes: bool = False
    log: bool = False
    color_diagonal: bool = False
    cell: tuple[int, int] | None = None
    """The entry in focus in the CCTM; None takes the larger one of the pair in focus."""
    comparison: Comparison = "rates"
    order: ClassOrder = "index"
    """Of the rows and columns of the CCTM."""
    zoom: int = 0
    """Of a CCTM that does not fit: all of it, an entry for each point, or a number for each."""
    class_filter: str = ""
    """Parts of class names, separated by commas; the CCTM shows the classes that have one."""
    marked_epoch: int | None = None
    """What the CCTM compares an epoch with; None is the first one."""
    run_row: int = 0
    """The line in focus in the list of runs, as far as the filter shows them."""
    run_filter: str = ""
    """Words that the runs in the list have in common; empty shows all."""
    marks: tuple[RunMark, ...] = ()
    """Runs drawn together, in the order of marking."""
    smoothing: float = 0.0
    """One of SMOOTHINGS."""
    ranking: Ranking = "rate"
    """By what the pairs of the dance are ranked."""
    note_class: int = 0
    """The class in focus among the notes of all classes."""
    scan_id: str | None = None
    """The scan in focus; None takes the newest."""
    is_playing: bool = False
    """Whether the film in focus goes on by itself."""
    beside: str | None = None
    """A scan that is shown beside the one in focus."""
    point: tuple[int, int] | None = None
    """The grid point under the cursor, along the first and the second direction, if any."""
    surface: int = 0
    """The class whose surface the cursor is on."""
    mode: LandscapeMode = "plane"
    quantity: Quantity = "mistakes"
    contours: bool = True
    cut_degrees: float = 135.0
    """Diao et al. discuss the cut along which one class gains what the other loses."""
    has_cut: bool = False
    """Whether the cut is drawn over the plane, and its profile beside it."""

    def of_another_run(self, view: str) -> Self:
        """What stays when another run is looked at: the list, and how curves are drawn."""
        return type(self)(
            view=view,
            run_row=self.run_row,
            run_filter=self.run_filter,
            marks=self.marks,
            smoothing=self.smoothing,
            ranking=self.ranking,
            split=self.split,
            log=self.log,
        )

    def with_next_mode(self) -> Self:
        """The next way to look at a plane."""
        position = LANDSCAPE_MODES.index(self.mode)
        return replace(self, mode=LANDSCAPE_MODES[(position + 1) % len(LANDSCAPE_MODES)])

    def turned(self, steps: int) -> Self:
        """The cut turned by steps of 15 degrees; a line and its half turn are the same line."""
        degrees = (self.cut_degrees + steps * TURN_DEGREES) % 180.0
        return replace(self, cut_degrees=degrees, has_cut=True)
