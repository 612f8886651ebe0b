"""`lossviz-tui show`: what the screen shows, as text for people or JSON for scripts.

With `--once` it is the screen itself, painted once: plain text where it goes into a pipe.
"""

import importlib
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_tui.cli.paths import open_run
from lossviz_tui.cli.viewing import (
    CharsetOption,
    ClassesOption,
    EpochOption,
    LightOption,
    LogOption,
    ModeOption,
    QuantityOption,
    SizeOption,
    SplitOption,
    selection_for,
    view_named,
)
from lossviz_tui.history import RunView
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.summary import newest_view, plain, run_facts, scalars_of, summary_pieces

MAX_TABLE_CLASSES = 20
_SPOOLED_BYTES = 32 * 2**20


def show(
    run: Annotated[Path, typer.Argument(help="The run")],
    as_json: Annotated[bool, typer.Option("--json", help="For scripts")] = False,
    once: Annotated[
        bool, typer.Option("--once", help="A view as the screen has it, painted once")
    ] = False,
    view: Annotated[
        str | None, typer.Option(help="With --once: the view; overview by default")
    ] = None,
    size: SizeOption = None,
    epoch: EpochOption = None,
    split: SplitOption = "test",
    classes: ClassesOption = None,
    scan: Annotated[str | None, typer.Option(help="The scan of the landscape")] = None,
    mode: ModeOption = "plane",
    quantity: QuantityOption = "mistakes",
    log: LogOption = False,
    light: LightOption = False,
    charset: CharsetOption = "auto",
) -> None:
    """Print what a run shows: state, last epoch, CCTM, interfering pairs, scans.

    With --once it is one view as the screen has it, without colours and control characters
    unless it goes to a terminal; what follows --view says what of it. For screen readers
    --charset ascii draws with letters.
    """
    reader = open_run(run)
    if once:
        word = view_named(view or ("overview" if scan is None else "landscape"))
        selection = selection_for(
            reader.path,
            word,
            epoch=epoch,
            split=split,
            classes=classes,
            scan=scan,
            mode=mode,
            quantity=quantity,
            log=log,
        )
        views: Any = importlib.import_module("lossviz_tui.cli.still_views")
        views.print_view(reader.path, selection, size, charset, dark=not light)
        return
    if view is not None:
        raise StoreError("--view says which view --once shows; without it show prints them all")
    if as_json:
        _print_json(reader)
        return
    newest = newest_view(reader)
    for line in _lines(newest, run_facts(newest, reader)):
        typer.echo(line)


def _print_json(reader: RunReader) -> None:
    """All of it or, where a record is damaged, nothing."""
    with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES, "w+", encoding="utf-8") as text:
        text.writelines(summary_pieces(reader))
        text.seek(0)
        while piece := text.read(2**20):
            typer.echo(piece, nl=False)
        typer.echo()


def _lines(view: RunView, facts: dict[str, Any]) -> list[str]:
    names = [clean_text(name, 16) for name in facts["class_names"]]
    planned = view.description.planned_epochs
    done = view.epochs[-1] if len(view) else 0
    model, dataset = facts["model"].get("name", "?"), facts["dataset"].get("name", "?")
    lines = [
        clean_text(f"{facts['path']}", 200),
        clean_text(f"{model} on {dataset}, {len(names)} classes", 200),
        clean_text(f"{facts['state']}, epoch {done} of {planned or '?'}", 80),
    ]
    if facts["message"]:
        lines.append(clean_text(facts["message"], 400))
    if not len(view):
        return [*lines, "no epoch is recorded yet"]
    lines += ["", *_scalars(plain(scalars_of(view, view.scalars[-1]))), ""]
    if len(names) <= MAX_TABLE_CLASSES:
        lines += [*_cctm(facts["cctm"]["test"], names), ""]
    lines += ["most interfering pairs on test (true -> predicted)"]
    for pair in facts["pairs"][:10]:
        true, predicted = clean_text(pair["true"], 16), clean_text(pair["predicted"], 16)
        lines.append(f"  {true:>16} -> {predicted:16} {100 * pair['rate']:6.2f} %")
    found = facts["symmetry"]["test"]
    lines.append("symmetry " + ("–" if found is None else f"{found:.3f}"))
    if facts["scans"]:
        lines += ["", "scans"]
    lines += _scans(facts["scans"])
    return lines


def _scans(scans: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each scan or series of scans, and why those that failed did."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for scan in scans:
        series = (scan["request"] or {}).get("series", "")
        groups.setdefault(f"series {series}" if series else scan["id"], []).append(scan)
    lines: list[str] = []
    for group in groups.values():
        done, total = (sum(scan[name] for scan in group) for name in ("done", "total"))
        words = [f"{word} {n}" if n < len(group) else word for word, n in _states(group)]
        name = clean_text(group[0]["id"], 40)
        if len(group) > 1:
            name += f" and {len(group) - 1} more of a series"
        lines.append(f"  {name}  {', '.join(words):11}  {done}/{total}")
        messages = dict.fromkeys(scan["message"] for scan in group if scan["message"])
        lines += [f"    {clean_text(message, 200)}" for message in messages]
    return lines


def _states(scans: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    """How many scans are in which state, in the order in which the states come up."""
    return list(Counter(scan["state"] for scan in scans).items())


def _scalars(last: dict[str, Any]) -> list[str]:
    return [
        f"  {clean_text(name, 24):24} {'–' if value is None else f'{value:.6g}'}"
        for name, value in last.items()
        if name != "wall_time"
    ]


def _cctm(rates: list[list[float | None]], names: list[str]) -> list[str]:
    """The CCTM in percent, true class down, predicted class across."""
    short = [clean_text(name, 6) for name in names]
    lines = [
        "CCTM on test, percent (true class down, predicted class across)",
        " " * 17 + " ".join(f"{name:>6}" for name in short),
    ]
    for name, row in zip(names, rates, strict=True):
        cells = " ".join(f"{'–' if r is None else f'{100 * r:.2f}':>6}" for r in row)
        lines.append(f"{name:>16} {cells}")
    return lines
