"""`lossviz-tui show`: what the screen shows, as text for people or JSON for scripts."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lossviz_tui.cli.paths import open_run
from lossviz_tui.history import read_view
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.summary import run_summary

MAX_TABLE_CLASSES = 20


def show(
    run: Annotated[Path, typer.Argument(help="The run")],
    as_json: Annotated[bool, typer.Option("--json", help="For scripts")] = False,
) -> None:
    """Print what a run shows: state, last epoch, CCTM, interfering pairs, scans."""
    reader = open_run(run)
    summary = run_summary(read_view(reader), reader)
    if as_json:
        typer.echo(json.dumps(summary, allow_nan=False))
        return
    for line in _lines(summary):
        typer.echo(line)


def _lines(summary: dict[str, Any]) -> list[str]:
    epochs = summary["epochs"]
    names = [clean_text(name, 16) for name in summary["class_names"]]
    planned = summary["recipe"].get("epochs", "?")
    done = epochs[-1]["epoch"] if epochs else 0
    model, dataset = summary["model"].get("name", "?"), summary["dataset"].get("name", "?")
    lines = [
        clean_text(f"{summary['path']}", 200),
        clean_text(f"{model} on {dataset}, {len(names)} classes", 200),
        f"{summary['state']}, epoch {done} of {planned}",
    ]
    if summary["message"]:
        lines.append(clean_text(summary["message"], 400))
    if not epochs:
        return [*lines, "no epoch is recorded yet"]
    lines += ["", *_scalars(epochs[-1]), ""]
    if len(names) <= MAX_TABLE_CLASSES:
        lines += [*_cctm(summary["cctm"]["test"], names), ""]
    lines += ["most interfering pairs on test (true -> predicted)"]
    for pair in summary["pairs"][:10]:
        true, predicted = clean_text(pair["true"], 16), clean_text(pair["predicted"], 16)
        lines.append(f"  {true:>16} -> {predicted:16} {100 * pair['rate']:6.2f} %")
    found = summary["symmetry"]["test"]
    lines.append("symmetry " + ("–" if found is None else f"{found:.3f}"))
    if summary["scans"]:
        lines += ["", "scans"]
    for scan in summary["scans"]:
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
