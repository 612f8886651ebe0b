"""A run as one HTML page that stands alone: every view, every scan, and the tables behind them.

Pictures are figures where matplotlib is installed, and else the screens as the app would show
them, one for each ground.
"""

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from lossviz_analysis.classwise.notes import domination_counts, longest_spells
from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import SPLITS
from lossviz_tui import page
from lossviz_tui.figures.drawing import INSTALL, has_matplotlib, version
from lossviz_tui.figures.figure import css_variables, inline_svg
from lossviz_tui.history import RunView
from lossviz_tui.listing import ScanRow, scan_groups
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.paint.palettes import Look
from lossviz_tui.panels.plane_view import head_facts
from lossviz_tui.panels.scan_list import scan_name
from lossviz_tui.scene import ScanPicture, Scene
from lossviz_tui.selection import Selection
from lossviz_tui.stage import STATUS_ROWS
from lossviz_tui.still import Still
from lossviz_tui.summary import run_facts
from lossviz_tui.svg import screen_svg

NUM_DANCES = 3
MAX_TABLE_CLASSES = 20
MAX_TILES = 200
"""Classes that are shown one by one on a plane."""
MAX_FRAMES = 16
"""Of a film; of a longer one they are evenly thinned."""
_SCREEN = (110, 34)
_MAX_LETTERS, _MAX_LINES = 300, 400
_LOG_RATIO = 30.0
"""Beyond it between the largest and the smallest loss a linear scale shows one wall."""


def html_report(run: Path) -> str:
    """The page of a run as it stands; the same however often it is asked for, but for the time.

    Raises StoreError when the run cannot be read.
    """
    return _Report(run).html()


class _Report:
    """What is needed to make the parts of one page."""

    def __init__(self, run: Path) -> None:
        self._still = Still(run, Look(dark=False))
        self._dark = None if has_matplotlib() else Still(run, Look(dark=True))
        self._reader = RunReader(run)
        self._num_pictures = 0
        self._scene = self._still.look_at(Selection(view="overview"))

    @property
    def _view(self) -> RunView:
        if self._scene.view is None:
            raise StoreError("the run cannot be read")
        return self._scene.view

    def html(self) -> str:
        """The whole page."""
        found = run_facts(self._view, self._reader)
        name = clean_text(self._view.path.name.removesuffix(".zarr"), 100)
        return page.html_page(
            f"{name}, lossviz-tui",
            self._parts(name, found),
            light=css_variables(dark=False),
            dark=css_variables(dark=True),
        )

    def _parts(self, name: str, found: dict[str, Any]) -> Iterator[str]:
        yield f"<h1>{page.text(name)}</h1>"
        yield from self._head(found)
        if not len(self._view):
            yield page.paragraph("No epoch is recorded yet.")
        else:
            yield self._overview()
            yield self._dance(found)
            yield self._notes()
            yield self._cctm(found)
        yield self._landscape(found)
        yield self._about(found)

    # Pictures

    def _picture(
        self, selection: Selection, caption: str = "", *, is_small: bool = False
    ) -> str:
        """A view of the run, or in words why there is none."""
        scene = self._still.look_at(selection)
        self._num_pictures += 1
        if self._dark is not None:
            return page.figure(self._screens(selection), caption)
        try:
            picture = inline_svg(scene, f"f{self._num_pictures}-")
        except LossvizError as error:
            return page.paragraph(str(error), is_note=True)
        label = page.text(caption or f"{selection.view}, {selection.split}")
        picture = picture.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
        return page.figure(picture, caption, is_small=is_small)

    def _screens(self, selection: Selection) -> str:
        """The screen on both grounds, of which the page shows one."""
        pictures: list[str] = []
        for still, ground in ((self._still, "light"), (self._dark, "dark")):
            if still is None:
                continue
            still.look_at(selection)
            lines = still.lines(_SCREEN)[STATUS_ROWS:]
            drawn = screen_svg(lines, dark=ground == "dark", title=selection.view)
            pictures.append(f'<div class="on-{ground}">{drawn}</div>')
        return "".join(pictures)

    def _help(self, view: str) -> str:
        """How to read a view, as the app says it."""
        self._still.stage.select(Selection(view=view))
        return self._still.stage.how_to_read()

    # Parts

    def _head(self, found: dict[str, Any]) -> Iterator[str]:
        view = self._view
        model, dataset = (found[what].get("name", "?") for what in ("model", "dataset"))
        planned = view.description.planned_epochs
        epoch = f"epoch {int(view.epochs[-1]) if len(view) else 0} of {planned or '?'}"
        what = f"{model} on {dataset}, {len(found['class_names'])} classes"
        yield page.paragraph(f"{what}; {found['state']}, {epoch}")
        if found["message"]:
            yield page.paragraph(str(found["message"]))
        best = _best(view)
        if best:
            yield page.paragraph(best)
        anchors = ("overview", "dance", "notes", "cctm") if len(view) else ()
        links = "".join(
            f'<a href="#{name}">{name}</a>' for name in (*anchors, "landscape", "about")
        )
        yield f"<nav>{links}</nav>"
        if self._dark is not None:
            yield page.paragraph(f"These are pictures of the screen; {INSTALL}", is_note=True)

    def _overview(self) -> str:
        last = zip(
            self._view.description.scalar_columns, self._view.scalars[-1].tolist(), strict=True
        )
        rows = [
            (clean_text(name, 40), f"{value:.6g}" if np.isfinite(value) else "–")
            for name, value in last
            if name != "wall_time"
        ]
        return page.section(
            "overview",
            "Overview",
            self._picture(Selection(view="overview")),
            page.folded("the last epoch in numbers", page.facts(rows)),
            note=self._help("overview"),
        )

    def _dance(self, found: dict[str, Any]) -> str:
        scene = self._still.look_at(Selection(view="dance"))
        pairs = [(pair.first, pair.second) for pair in scene.ranked_pairs[:NUM_DANCES]]
        pictures = [
            self._picture(Selection(view="dance", pair=pair)) for pair in pairs or [None]
        ]
        rows = [
            (pair["true"], pair["predicted"], f"{100 * pair['rate']:.2f}")
            for pair in found["pairs"]
        ]
        return page.section(
            "dance",
            "Dance",
            *pictures,
            "<h3>Pairs by interference, on test</h3>",
            page.table(("true", "called", "percent"), rows, numeric=(2,)),
            note=self._help("dance"),
        )

    def _notes(self) -> str:
        one = Selection(view="notes")
        return page.section(
            "notes",
            "Notes",
            self._picture(one),
            self._picture(replace(one, all_classes=True)),
            "<h3>Who dominates whom, on test</h3>",
            page.table(
                ("class", "dominated by", "epochs", "longest spell"),
                _dominations(self._view),
                numeric=(2, 3),
            ),
            note=self._help("notes"),
        )

    def _cctm(self, found: dict[str, Any]) -> str:
        names = found["class_names"]
        parts = [
            self._picture(Selection(view="cctm", split=split), is_small=True)
            for split in reversed(SPLITS)
        ]
        if len(names) <= MAX_TABLE_CLASSES:
            rates = found["cctm"].get("test", [])
            parts.append("<h3>CCTM on test, percent</h3>" + _cctm_table(rates, names))
        else:
            words = f"The table of {len(names)} classes has no room here; `export` writes it."
            parts.append(page.paragraph(words, is_note=True))
        return page.section("cctm", "CCTM", *parts, note=self._help("cctm"))

    def _landscape(self, found: dict[str, Any]) -> str:
        scene = self._still.look_at(Selection(view="landscape"))
        if not scene.scans:
            return page.section("landscape", "Landscape", page.paragraph("No scans."))
        names = {row.scan_id: scan_name(scene, row) for row in scene.scans}
        parts = [_scan_table(found["scans"], names)]
        parts += [self._scan_group(scene, group) for group in scan_groups(scene.scans)]
        return page.section("landscape", "Landscape", *parts, note=self._help("landscape"))

    def _scan_group(self, scene: Scene, group: Sequence[ScanRow]) -> str:
        """A scan, the curves of a chart, or the frames of a film."""
        last = group[-1]
        title = scan_name(scene, last)
        if len(group) > 1:
            title = f"{len(group)} scans, the last one {title}"
        parts = [f"<h3>{page.text(title)}</h3>"]
        is_line = last.request is not None and last.request.dims == 1
        base = Selection(view="landscape", scan_id=last.scan_id)
        if is_line:
            parts.append(self._picture(replace(base, log=self._is_steep(base))))
        elif len(group) > 1:
            frames = _thinned(group, MAX_FRAMES)
            parts += [
                self._picture(
                    replace(base, scan_id=row.scan_id), scan_name(scene, row), is_small=True
                )
                for row in frames
            ]
        else:
            parts += self._plane(base)
        parts += [self._scan_facts(row) for row in group]
        return "".join(parts)

    def _plane(self, base: Selection) -> Iterator[str]:
        """Both quantities of a plane, then class by class."""
        yield '<div class="pair">'
        yield self._picture(base, is_small=True)
        steep = replace(base, quantity="loss")
        yield self._picture(replace(steep, log=self._is_steep(steep)), is_small=True)
        yield "</div>"
        if self._view.description.num_classes <= MAX_TILES:
            yield self._picture(replace(base, mode="classes"))
        yield self._picture(replace(base, mode="similarity"), is_small=True)

    def _is_steep(self, selection: Selection) -> bool:
        """Whether the losses of a scan ask for a log scale."""
        picture = self._still.look_at(selection).shown_picture
        if picture is None:
            return False
        losses = np.concatenate(
            [split.loss.ravel() for split in picture.result.splits.values()]
        )
        losses = losses[np.isfinite(losses) & (losses > 0)]
        return losses.size > 0 and bool(losses.max() > _LOG_RATIO * losses.min())

    def _scan_facts(self, row: ScanRow) -> str:
        """What is known of one scan, its request and its provenance."""
        scene = self._still.look_at(Selection(view="landscape", scan_id=row.scan_id))
        picture = scene.shown_picture
        rows: list[tuple[str, object]] = [
            ("scan", row.scan_id),
            ("state", row.word + (f", {100 * row.share:.0f} %" if row.word != "done" else "")),
            ("message", row.message),
        ]
        if picture is not None:
            rows += _picture_facts(picture)
        request = "" if row.request is None else _json_block("request", row.request.to_json())
        return page.folded(f"facts: {scan_name(scene, row)}", page.facts(rows) + request)

    def _about(self, found: dict[str, Any]) -> str:
        about = self._view.description
        checkpoints = self._reader.checkpoints(self._view.head)
        rows: list[tuple[str, object]] = [
            ("run", str(self._view.path)),
            ("id", about.run_id),
            ("created", about.created_at),
            ("checkpoints", ", ".join(str(info.epoch) for info in checkpoints)),
            (
                "newest checkpoint",
                checkpoints[-1].digest if checkpoints else "",
            ),
            ("written by", f"lossviz-tui {version()}"),
            ("at", datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")),
        ]
        blocks = [_json_block(name, found[name]) for name in ("model", "dataset", "recipe")]
        blocks.append(_json_block("versions", about.versions))
        return page.section("about", "About this run", page.facts(rows), *blocks)


def _best(view: RunView) -> str:
    """The best test accuracy, in words; nothing where there is none."""
    accuracy = view.column("test_accuracy")
    if not np.isfinite(accuracy).any():
        return ""
    place = int(np.nanargmax(accuracy))
    return f"best test accuracy {100 * accuracy[place]:.2f} % at epoch {view.epochs[place]}"


def _dominations(view: RunView) -> Iterator[tuple[str, str, int, int]]:
    """For each class the one that was its note most often."""
    names = view.description.class_names
    notes = view.notes_of("test").astype(np.int64)
    if len(names) < 2 or not len(notes):
        return
    counts = domination_counts(notes, len(names))
    longest = longest_spells(notes, len(names)).length
    for i, name in enumerate(names):
        j = int(counts[i].argmax())
        if counts[i, j]:
            yield name, names[j], int(counts[i, j]), int(longest[i, j])


def _cctm_table(rates: Sequence[Sequence[float | None]], names: Sequence[str]) -> str:
    """The matrix as a table; the largest mistake of each row stands out."""
    head = "".join(f"<th class=n>{page.text(name, 10)}</th>" for name in names)
    lines: list[str] = []
    for i, (name, row) in enumerate(zip(names, rates, strict=True)):
        others = [-1.0 if rate is None or i == j else rate for j, rate in enumerate(row)]
        top = others.index(max(others)) if max(others) > 0 else -1
        cells = "".join(
            f"<td class='n{' own' * (i == j)}{' top' * (j == top)}'>"
            f"{'–' if rate is None else f'{100 * rate:.2f}'}</td>"
            for j, rate in enumerate(row)
        )
        lines.append(f"<tr><th>{page.text(name, 24)}</th>{cells}</tr>")
    corner = "<th>true ↓ called →</th>"
    return f"<table><tr>{corner}{head}</tr>{''.join(lines)}</table>"


def _scan_table(scans: Sequence[dict[str, Any]], names: Mapping[str, str]) -> str:
    """Every scan in a line, with the values of the model itself on its first split."""
    rows: list[tuple[object, ...]] = []
    for scan in scans:
        splits = list(scan.get("splits", {}).items())
        centre = splits[0][1]["centre"] if splits else None
        loss, rate = (
            (None, None) if centre is None else (centre["loss"], centre["mistake_rate"])
        )
        rows.append(
            (
                scan["id"],
                names.get(scan["id"], ""),
                scan["state"],
                splits[0][0] if splits else "",
                "–" if loss is None else f"{loss:.4g}",
                "–" if rate is None else f"{100 * rate:.2f}",
            )
        )
    head = ("scan", "what", "state", "split", "loss at the centre", "mistakes, percent")
    return page.table(head, rows, numeric=(4, 5))


def _picture_facts(picture: ScanPicture) -> list[tuple[str, object]]:
    evaluated = "; ".join(head_facts(picture))
    stage = "" if picture.is_whole else picture.stage
    found = picture.result.geometry.provenance
    return [
        ("evaluated", evaluated),
        ("stage", stage),
        *(("", fact) for fact in picture.facts),
        *((str(name), value) for name, value in found.items()),
    ]


def _json_block(title: str, value: object) -> str:
    """A value of the store as it is there, for those who open it."""
    # Plain ASCII: what is not has an escape.
    lines = json.dumps(value, indent=1, default=str).splitlines()
    shown = "\n".join(line[:_MAX_LETTERS] for line in lines[:_MAX_LINES])
    return page.folded(title, f"<pre>{escape(shown)}</pre>")


def _thinned(rows: Sequence[ScanRow], limit: int) -> list[ScanRow]:
    """At most so many, evenly spread, the first and the last among them."""
    if len(rows) <= limit:
        return list(rows)
    places = np.unique(np.linspace(0, len(rows) - 1, limit).round().astype(int))
    return [rows[place] for place in places.tolist()]
