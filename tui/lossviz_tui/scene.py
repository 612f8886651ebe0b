"""Everything a view needs to draw one moment: data, selection, terminal."""

import contextlib
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from lossviz_analysis.classwise.interference import UndirectedPair
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import Pulse
from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.results import ScanResult
from lossviz_analysis.store.scan_report import ScanReport
from lossviz_tui.gpus import GpuSample
from lossviz_tui.history import RunView
from lossviz_tui.keys import ASCII_ARROWS, KEYS, Key, shown_key
from lossviz_tui.listing import RunRow, ScanRow, scan_groups
from lossviz_tui.other_runs import OtherRuns
from lossviz_tui.overlay import Overlay
from lossviz_tui.paint.palettes import Look
from lossviz_tui.selection import Selection

Word = Literal[
    "never ran",
    "waiting",
    "live",
    "stalled",
    "paused",
    "disk full",
    "finished",
    "stopped",
    "failed",
    "crashed",
    "damaged",
]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a run stands, in words and figures for the status line."""

    word: str
    message: str = ""
    pulse: Pulse | None = None
    data_seen: float = 0.0
    """Reader's monotonic time when the newest data came, backdated for what was there."""
    worker_is_up: bool = False
    steps: np.ndarray | None = field(default=None, compare=False)
    """The latest batches: step, epoch, loss, images per second; read while epochs are few."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanPicture:
    """The scan in focus as far as it is done, with what follows from it."""

    scan_id: str
    request: ScanRequest
    result: ScanResult
    findings: tuple[str, ...]
    """What is seen in it, in sentences: centre, lowest point, lowland, curve type."""
    details: tuple[str, ...] = ()
    """How it came about: way, norms, cosine, span, rates, time and memory."""
    stage: str = ""
    """Which stage is shown, in words: how many points on how many images."""
    is_whole: bool = True
    """Whether every point is evaluated on every image, and none is left out."""
    report: ScanReport = field(default_factory=ScanReport)
    similarity: np.ndarray | None = None
    """Loss-shape similarity of every two classes, on the first split."""
    class_order: np.ndarray | None = None
    """Classes by average-linkage clustering of the similarity."""
    agreement: float = float("nan")
    """Rank correlation of similarity and symmetrised CCTM."""

    @property
    def facts(self) -> tuple[str, ...]:
        """All sentences beside it."""
        return (*self.findings, *self.details)


@dataclass(frozen=True, kw_only=True)
class ListedPair:
    """Two classes in the list of pairs."""

    first: int
    second: int
    rate: float
    """(CCTM(first, second) + CCTM(second, first)) / 2 at the epoch in focus; NaN: not known."""
    score: float
    """Dance score over the epochs; NaN where it has none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """One moment, complete."""

    look: Look
    selection: Selection = field(default_factory=Selection)
    view: RunView | None = None
    standing: Standing | None = None
    folder: Path = Path()
    """Where runs are looked for."""
    runs: tuple[RunRow, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    """The marked runs but the open one, as far as they are read."""
    gpus: tuple[GpuSample, ...] = ()
    """What the GPUs of this machine did lately, the newest last; empty where there is none."""
    readonly: bool = False
    """Whether keys that start or stop work are not to be spoken of."""
    keys: tuple[Key, ...] = KEYS
    """The table of keys, with what the user has remapped."""
    scans: tuple[ScanRow, ...] = ()
    picture: ScanPicture | None = None
    siblings: tuple[ScanPicture, ...] = ()
    """Of a series: the pictures of all its scans that have begun, the first one first."""
    beside: ScanPicture | None = None
    """The picture of the scan that is shown beside the one in focus."""
    unreadable: Mapping[str, str] = field(default_factory=dict[str, str])
    """Why scans in sight have no picture though something of them is computed, by id."""
    worker_asked: float = -math.inf
    """Reader's monotonic time when a scan worker was asked for from here."""
    other_runs: OtherRuns = field(default_factory=OtherRuns)
    """Where the matrices of runs that are not open come from."""
    trouble: str = ""
    """Why what is shown may be old."""
    news: str = ""
    """What happened to the run in focus, shown until the next key."""
    now: float = 0.0
    """Reader's monotonic time."""

    def key(self, action: str) -> str:
        """The first key that does something in the view in focus, as people know it.

        Empty where the user has taken it away, or `readonly` does.
        """
        for key in self.keys:
            is_here = key.action == action and self.selection.view in key.views
            if is_here and key.keys and not (key.starts_work and self.readonly):
                label = shown_key(key.keys.split(",")[0])
                label = "esc" if label == "escape" else label
                return label.translate(ASCII_ARROWS) if self.look.is_ascii else label
        return ""

    def hint(self, what: str, *actions: str) -> str:
        """Which keys do something, and what: "s or r starts one"; empty where none does."""
        keys = [key for action in actions if (key := self.key(action))]
        return f"{' or '.join(keys)} {what}" if keys else ""

    @cached_property
    def shown_runs(self) -> tuple[RunRow, ...]:
        """The runs that match the filter."""
        text = self.selection.run_filter
        return tuple(row for row in self.runs if row.matches(text)) if text else self.runs

    @property
    def run_in_focus(self) -> RunRow | None:
        """The run under the cursor in the list."""
        rows = self.shown_runs
        return rows[min(self.selection.run_row, len(rows) - 1)] if rows else None

    @property
    def position(self) -> int | None:
        """Place on the epoch axis of the epoch in focus; None before the first epoch."""
        if self.view is None or not len(self.view):
            return None
        if self.selection.epoch is None:
            return len(self.view) - 1
        place = int(np.searchsorted(self.view.epochs, self.selection.epoch, side="right")) - 1
        return max(0, place)

    @property
    def epoch(self) -> int | None:
        """The epoch in focus."""
        position = self.position
        return (
            None if self.view is None or position is None else int(self.view.epochs[position])
        )

    @cached_property
    def ranked_pairs(self) -> tuple[UndirectedPair, ...]:
        """The pairs of classes that interfere most at the epoch in focus."""
        position = self.position
        if self.view is None or position is None:
            return ()
        try:
            return self.view.pairs(self.selection.split, position)
        except StoreError:  # that record is damaged; the tail has said so
            return ()

    @cached_property
    def chosen_classes(self) -> tuple[int, ...]:
        """The classes of dance and notes: those chosen, else those of the pair."""
        return self._existing(self.selection.classes) or (self.pair or ())

    @cached_property
    def chosen_set(self) -> tuple[int, ...]:
        """The chosen classes where they are more than a pair; else none."""
        classes = self._existing(self.selection.classes)
        return classes if len(classes) > 2 else ()

    def _existing(self, classes: tuple[int, ...]) -> tuple[int, ...]:
        """Those of some classes that this run has: another one may have taken its place."""
        count = 0 if self.view is None else self.view.description.num_classes
        return tuple(c for c in classes if c < count)

    @cached_property
    def listed_pairs(self) -> tuple[ListedPair, ...]:
        """The pairs to choose from, by rate or by score: of the chosen classes, else of all."""
        if self.view is None:
            return ()
        chosen = self.chosen_set
        if chosen:
            pairs = [(a, b) if a < b else (b, a) for a, b in itertools.combinations(chosen, 2)]
        elif self.selection.ranking == "score":
            pairs = [(p.first, p.second) for p in self.view.dances(self.selection.split)]
        else:
            pairs = [(p.first, p.second) for p in self.ranked_pairs]
        found = self._with_numbers(pairs)
        by_score = self.selection.ranking == "score"
        # NaN last, equal values by class.
        return tuple(
            sorted(
                found,
                key=lambda pair: (
                    -np.nan_to_num(pair.score if by_score else pair.rate, nan=-np.inf),
                    pair.first,
                    pair.second,
                ),
            )
        )

    def _with_numbers(self, pairs: list[tuple[int, int]]) -> list[ListedPair]:
        """Rate and score of some pairs."""
        view, position = self.view, self.position
        if view is None or not pairs:
            return []
        classes = sorted({c for pair in pairs for c in pair})
        place = {c: k for k, c in enumerate(classes)}
        scores = view.scores_of(self.selection.split, tuple(classes))
        rates = np.full((len(classes), len(classes)), np.nan)
        with contextlib.suppress(StoreError):  # that record is damaged; the tail has said so
            if position is not None:
                rates = view.rates_among(self.selection.split, position, tuple(classes))
        mean = (rates + rates.T) / 2
        return [
            ListedPair(
                first=a,
                second=b,
                rate=float(mean[place[a], place[b]]),
                score=float(scores[place[a], place[b]]),
            )
            for a, b in pairs
        ]

    @cached_property
    def pair(self) -> tuple[int, int] | None:
        """The chosen pair, or the one that interferes most; None where there is one class."""
        if self.view is None or self.view.description.num_classes < 2:
            return None
        chosen = self.selection
        for classes in (chosen.pair or (), chosen.classes[:2], chosen.held_pair or ()):
            if len(classes) == 2 and self._existing(classes) == classes:
                return classes[0], classes[1]
        ranked = self.ranked_pairs
        if ranked:
            return ranked[0].first, ranked[0].second
        return (0, 1)

    @cached_property
    def cell(self) -> tuple[int, int]:
        """The chosen entry of the CCTM; else the larger one of the pair in focus."""
        if self.selection.cell is not None:
            return self.selection.cell
        pair, position = self.pair, self.position
        if self.view is None or pair is None or position is None:
            return (0, 1)
        a, b = sorted(pair)
        try:
            rates = self.view.rates_among(self.selection.split, position, (a, b))
        except StoreError:  # that record is damaged; the tail has said so
            return a, b
        return (b, a) if rates[1, 0] > rates[0, 1] else (a, b)

    @property
    def scan(self) -> ScanRow | None:
        """The scan in focus: the chosen one, or the newest."""
        for row in self.scans:
            if row.scan_id == self.selection.scan_id:
                return row
        return self.scans[-1] if self.scans else None

    @property
    def series(self) -> tuple[ScanRow, ...]:
        """The scans of the series of the one in focus, the first one first; itself alone."""
        row = self.scan
        return next((group for group in scan_groups(self.scans) if row in group), ())

    @property
    def shown_picture(self) -> ScanPicture | None:
        """The picture of the scan in focus, as far as one is there."""
        row = self.scan
        found = (self.picture, *self.siblings)
        return next((one for one in found if row and one and one.scan_id == row.scan_id), None)

    @property
    def point(self) -> tuple[int, ...] | None:
        """The grid point under the cursor, one index for each direction; None: no cursor."""
        picture = self.shown_picture
        if picture is None or self.selection.point is None:
            return None
        axes = zip(self.selection.point, picture.result.coordinates, strict=False)
        return tuple(min(max(0, at), len(axis) - 1) for at, axis in axes)

    @property
    def picture_beside(self) -> ScanPicture | None:
        """The picture to be shown beside that of the scan in focus, as far as one is there."""
        wanted, focus = self.selection.beside, self.scan
        if wanted is None or focus is None or wanted == focus.scan_id:
            return None
        found = (self.beside, *self.siblings)
        return next((one for one in found if one is not None and one.scan_id == wanted), None)

    @property
    def surface(self) -> int:
        """The class whose surface the cursor is on."""
        picture = self.shown_picture
        count = 1 if picture is None else len(picture.result.geometry.class_names)
        return min(max(0, self.selection.surface), count - 1)

    @property
    def similarity_cell(self) -> tuple[int, int]:
        """The two classes under the cursor of the similarity matrix."""
        picture = self.shown_picture
        last = 0 if picture is None else len(picture.result.geometry.class_names) - 1
        first, second = (min(max(0, c), last) for c in self.cell)
        return first, second

    @property
    def surface_order(self) -> list[int]:
        """Classes in the order in which their surfaces are drawn."""
        picture = self.shown_picture
        if picture is None:
            return [0]
        if picture.class_order is None:
            return list(range(len(picture.result.geometry.class_names)))
        return picture.class_order.tolist()
