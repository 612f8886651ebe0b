"""`lossviz-tui show`: what the screen shows, as text for people or JSON for scripts."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from lossviz_analysis.store.reader import RunReader
from lossviz_tui.cli.paths import open_run
from lossviz_tui.history import RunView
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.summary import newest_view, plain, run_facts, scalars_of, summary_pieces

MAX_TABLE_CLASSES = 20
_SPOOLED_BYTES = 32 * 2**20


def show(
    run: Annotated[Path, typer.Argument(help="The run")],
    as_json: Annotated[bool, typer.Option("--json", help="For scripts")] = False,
) -> None:
    """Print what a run shows: state, last epoch, CCTM, interfering pairs, scans."""
    reader = open_run(run)
    if as_json:
        _print_json(reader)
        return
    view = newest_view(reader)
    for line in _lines(view, run_facts(view, reader)):
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
    for scan in facts["scans"]:
        share = f"{scan['done']}/{scan['total']}"
        lines.append(f"  {clean_text(scan['id'], 40)}  {scan['state']:11}  {share}")
        if scan["message"]:
            lines.append(f"    {clean_text(scan['message'], 200)}")
    return lines


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
