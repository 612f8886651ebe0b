"""`lossviz-tui doctor`: what this terminal, this machine and this run are fit for."""

import importlib.metadata
import locale
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lossviz_analysis.store.checkpoints import numbers_on_disk, read_info, verify_checkpoint
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.head import RunHead
from lossviz_analysis.store.reader import RunReader, standing
from lossviz_analysis.store.results import read_result
from lossviz_analysis.store.scans import find_scans
from lossviz_tui.cli.paths import open_run
from lossviz_tui.launch import gpus_by_torch
from lossviz_tui.liveness import stalled_word
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.terminal import color_system, glyphs_of

MAX_DAMAGED = 100
"""A run with more damaged records is not worth reading on: each is tried for a moment."""
MAX_COMPLAINTS = 10
PACKAGES = (
    "lossviz-tui",
    "torch",
    "torchvision",
    "textual",
    "rich",
    "numpy",
    "zarr",
)


def doctor(
    run: Annotated[Path | None, typer.Argument(help="A run to look through, too")] = None,
) -> None:
    """Say what terminal, machine and run are fit for; exit code 1 if the run is damaged."""
    for name, value in (*_machine(), *_terminal()):
        typer.echo(f"{name:14} {value}")
    if run is None:
        return
    reader = open_run(run)
    typer.echo("")
    complaints = _health(reader)
    if complaints:
        more = len(complaints) - MAX_COMPLAINTS
        told = [*complaints[:MAX_COMPLAINTS], *([f"and {more} more"] if more > 0 else [])]
        raise StoreError("; ".join(told))


def _machine() -> list[tuple[str, str]]:
    found = [("python", f"{platform.python_version()} at {sys.executable}")]
    found += [(name, importlib.metadata.version(name)) for name in PACKAGES]
    return [*found, ("GPU", clean_text(gpus_by_torch(), 120))]


def _terminal() -> list[tuple[str, str]]:
    console = Console()
    size, encoding = shutil.get_terminal_size(), locale.getpreferredencoding()
    chosen = color_system(os.environ)
    colors = {"auto": f"{console.color_system or 'no'} colours", "none": "no colours"}.get(
        chosen, f"{16 if chosen == 'standard' else chosen} colours"
    )
    environment = [f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ]
    return [
        (
            "terminal",
            f"{size.columns} x {size.lines}" + ("" if size.columns >= 80 else ", narrow"),
        ),
        ("colours", str(console.color_system or "none")),
        ("encoding", encoding),
        ("drawn with", f"{colors}, {glyphs_of(os.environ, encoding)}"),
        (
            "environment",
            clean_text(" ".join(environment), 200) or "nothing that matters is set",
        ),
    ]


_VARIABLES = ("TERM", "COLORTERM", "NO_COLOR", "LANG", "LC_ALL", "TMUX", "SSH_CONNECTION")


def _health(reader: RunReader) -> list[str]:
    """Read everything a run holds; what is wrong with it, one sentence each."""
    complaints: list[str] = []
    head = reader.head()
    found = standing(reader, head)
    typer.echo(f"{'run':14} {clean_text(str(reader.path), 200)}")
    word = stalled_word(found.word, reader.path)
    typer.echo(f"{'state':14} {word} {clean_text(found.message, 200)}")
    damaged_records = 0
    for record in range(head.num_records):
        try:
            reader.counts(record, record + 1)
            reader.scalars(record, record + 1)
        except StoreError as error:
            damaged_records += 1
            complaints.append(str(error))
            if damaged_records == MAX_DAMAGED:
                complaints.append(f"records from {record + 1} on were not looked at")
                break
    typer.echo(f"{'records':14} {head.num_records}, {damaged_records} damaged")
    infos = reader.checkpoints(head)
    unreadable = _unreadable_checkpoints(reader, {info.number for info in infos}, head)
    complaints += unreadable
    damaged = len(unreadable)
    for info in infos:
        try:
            verify_checkpoint(reader.path, info.number)
        except StoreError as error:
            damaged += 1
            complaints.append(str(error))
    typer.echo(f"{'checkpoints':14} {len(infos) + len(unreadable)}, {damaged} damaged")
    for scan in find_scans(reader.path):
        try:
            word = scan.state_word(scan.head())
            _ = scan.request
            if scan.geometry() is not None:
                read_result(scan)
            typer.echo(f"{'scan':14} {clean_text(scan.scan_id, 60)} {word}")
        except StoreError as error:
            complaints.append(str(error))
    return complaints


def _unreadable_checkpoints(reader: RunReader, readable: set[int], head: RunHead) -> list[str]:
    """What is wrong with the published checkpoints a reader leaves out."""
    complaints: list[str] = []
    for number in numbers_on_disk(reader.path):
        if number not in readable and number <= head.latest_checkpoint:
            try:
                read_info(reader.path, number)
            except StoreError as error:
                complaints.append(str(error))
    return complaints
