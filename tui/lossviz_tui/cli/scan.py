"""`lossviz-tui scan`: the same job as the key press, with a progress bar."""

import json
import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.scans import ScanReader
from lossviz_tui.asking import ScanWish, complete
from lossviz_tui.cli.paths import open_run
from lossviz_tui.launch import (
    WORKER_LOG,
    LaunchError,
    ensure_worker,
    has_worker,
    request_scan,
    trust_factories,
)
from lossviz_tui.summary import scan_summary

POLL_SECONDS = 0.1
WORKER_PATIENCE_SECONDS = 30.0
MAX_RESTARTS = 2


def scan(
    run: Annotated[Path, typer.Argument(help="The run")],
    kind: Annotated[
        Literal["ego", "gaussian", "gradient", "toward"], typer.Option(help="Which directions")
    ],
    classes: Annotated[
        str, typer.Option(help="Names or numbers of the classes of an ego scan: A,B")
    ] = "",
    dims: Annotated[
        int | None, typer.Option(help="1 or 2; default 2 for ego and gaussian")
    ] = None,
    points: Annotated[
        int | None, typer.Option(help="Along each direction; default 41 in 1D, 19 ego, 51 else")
    ] = None,
    span: Annotated[
        float | None,
        typer.Option(help="Coordinates from -SPAN to SPAN; default 0.1 ego, 1 else"),
    ] = None,
    normalise: Annotated[
        Literal["none", "model", "layer", "filter"] | None,
        typer.Option(help="Default filter for gaussian, none for the others"),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of Gaussian directions; a second one gets SEED+1")
    ] = 0,
    toward: Annotated[
        str | None, typer.Option(help="EPOCH of this run, another RUN, or RUN:EPOCH")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="last, best, or an epoch")] = "last",
    bn: Annotated[
        Literal["frozen", "recompute"], typer.Option(help="Batch-norm statistics at each point")
    ] = "frozen",
    split: Annotated[Literal["train", "test", "both"], typer.Option()] = "train",
    examples: Annotated[
        int | None, typer.Option(help="Only the first N of the class-balanced order")
    ] = None,
    precision: Annotated[Literal["exact", "float64"], typer.Option()] = "exact",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="Call the run's model factory, though you did not record it"
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the finished scan as JSON")
    ] = False,
) -> None:
    """Scan the loss landscape around a checkpoint and wait; prints the scan's id last.

    Ctrl-C leaves it to the worker; `lossviz-tui stop RUN --scan ID` cancels it.
    """
    reader = open_run(run)
    if trust:
        trust_factories()
    wish = ScanWish(
        kind=kind,
        classes=tuple(word.strip() for word in classes.split(",") if word.strip()),
        dims=dims,
        points=points,
        span=span,
        normalise=normalise,
        seed=seed,
        toward=toward,
        checkpoint=checkpoint,
        batch_norm=bn,
        split=split,
        examples=examples,
        precision=precision,
        device=device,
    )
    scan_id = request_scan(reader.path, complete(wish, reader))
    found = ScanReader(reader.path, scan_id)
    try:
        code = _follow(reader, found, Console(stderr=True))
    finally:
        if as_json:
            typer.echo(json.dumps(scan_summary(found), indent=2))
        typer.echo(scan_id)
    raise typer.Exit(code)


def _follow(reader: RunReader, scan: ScanReader, console: Console) -> int:
    """Show a scan's progress until it has ended; 0 only when it is done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
    )
    last_seen, restarts = time.monotonic(), 0
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as progress:
        task = progress.add_task("waiting for the worker", total=None)
        while True:
            try:
                head = scan.head()
                match scan.state_word(head):
                    case "done":
                        return 0
                    case "failed":
                        raise LaunchError(scan.message() or "the scan failed")
                    case "cancelled":
                        raise LaunchError(f"scan {scan.scan_id} was cancelled")
                    case "queued":
                        pass
                    case _:
                        progress.update(
                            task,
                            description="scanning",
                            completed=head.done,
                            total=max(1, head.total),
                        )
                if has_worker(reader.path):
                    last_seen = time.monotonic()
                elif time.monotonic() - last_seen > WORKER_PATIENCE_SECONDS:
                    if restarts == MAX_RESTARTS:
                        log = reader.path / "scans" / WORKER_LOG
                        raise LaunchError(f"the scan worker does not stay up; {log} says why")
                    ensure_worker(reader.path)
                    last_seen, restarts = time.monotonic(), restarts + 1
                time.sleep(POLL_SECONDS)
            except KeyboardInterrupt:
                console.print(f"the worker goes on with scan {scan.scan_id}")
                return 130
