"""`lossviz-tui scan`: the same job as the key press, with a progress bar."""

import json
import time
from collections.abc import Sequence
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
from lossviz_tui.asking import complete
from lossviz_tui.cli.paths import open_run
from lossviz_tui.launch import (
    WORKER_LOG,
    LaunchError,
    ensure_worker,
    has_worker,
    request_scan,
    trust_factories,
)
from lossviz_tui.summary import scan_details
from lossviz_tui.wish import (
    ScanWish,
    direction_wish,
    film_wish,
    normalise_wish,
    points_wish,
    ranges_wish,
    span_wish,
    with_kind,
)

POLL_SECONDS = 0.1
WORKER_PATIENCE_SECONDS = 30.0
MAX_RESTARTS = 2

_FIRST, _GRID, _EVALUATION, _SERIES = (
    "Directions",
    "Where",
    "How",
    "Several scans",
)


def scan(
    run: Annotated[Path, typer.Argument(help="The run")],
    kind: Annotated[
        str | None,
        typer.Option(
            help="First direction, KIND or KIND:ARG: ego:CLASS, gaussian:SEED, gradient, "
            "toward:EPOCH, toward:RUN, toward:RUN:EPOCH, pca:COMPONENT, file:PATH:N where PATH "
            "is a scan's folder, RUN#SCAN or an .h5",
            rich_help_panel=_FIRST,
        ),
    ] = None,
    preset: Annotated[
        Literal["v-basin", "v-side", "w-basin", "interpolate"] | None,
        typer.Option(
            help="Instead of --kind: v-basin (Gaussian lines of 5 seeds, model-normalised), "
            "v-side (an early checkpoint toward the last), w-basin (toward another run on "
            "[-1, 2]), interpolate (toward another run, both splits)",
            rich_help_panel=_FIRST,
        ),
    ] = None,
    second: Annotated[
        str | None,
        typer.Option(
            help="Second direction, KIND:ARG as above: makes a plane of any two",
            rich_help_panel=_FIRST,
        ),
    ] = None,
    classes: Annotated[
        str,
        typer.Option(
            help="Names or numbers of the classes of an ego scan: A,B", rich_help_panel=_FIRST
        ),
    ] = "",
    dims: Annotated[
        int | None,
        typer.Option(
            help="1 or 2; default 2 for ego, gaussian and pca", rich_help_panel=_FIRST
        ),
    ] = None,
    normalise: Annotated[
        str | None,
        typer.Option(
            help="none, model, layer or filter, or two with a comma; default filter for "
            "gaussian, none for the others",
            rich_help_panel=_FIRST,
        ),
    ] = None,
    bias_and_bn: Annotated[
        bool,
        typer.Option(
            "--bias-and-bn",
            help="Scale biases and BN parameters too, instead of leaving them out",
            rich_help_panel=_FIRST,
        ),
    ] = False,
    orthonormalise: Annotated[
        bool,
        typer.Option(
            "--orthonormalise",
            help="Axes of unit length at right angles: coordinates are distances",
            rich_help_panel=_FIRST,
        ),
    ] = False,
    seed: Annotated[
        int,
        typer.Option(
            help="Of Gaussian directions; a second one gets SEED+1", rich_help_panel=_FIRST
        ),
    ] = 0,
    toward: Annotated[
        str | None,
        typer.Option(
            help="EPOCH of this run, another RUN, or RUN:EPOCH", rich_help_panel=_FIRST
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            help="Saved direction: a scan's folder, RUN#SCAN or an .h5, with :N for the N-th",
            rich_help_panel=_FIRST,
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="At the origin: last, best, or an epoch", rich_help_panel=_GRID),
    ] = None,
    points: Annotated[
        str | None,
        typer.Option(
            help="N or NxM; default 41 on a line, 19 on an ego plane, 51 on others",
            rich_help_panel=_GRID,
        ),
    ] = None,
    span: Annotated[
        str | None,
        typer.Option(
            help="S or SxS for -S to S, or auto: where mistakes are half-way to chance, or, "
            "with a trajectory, all of the way and 15 % around; default auto on planes of ego, "
            "pca or orthonormal directions, 0.1 for other ego ones, -0.5..1.5 for toward, "
            "1 else",
            rich_help_panel=_GRID,
        ),
    ] = None,
    range_: Annotated[
        str | None,
        typer.Option(
            "--range",
            help="LOW..HIGH, or two with a comma; default -0.5..1.5 for toward",
            rich_help_panel=_GRID,
        ),
    ] = None,
    trajectory: Annotated[
        bool,
        typer.Option(
            "--trajectory",
            help="Draw the way of the kept checkpoints on the plane; always with pca",
            rich_help_panel=_GRID,
        ),
    ] = False,
    bn: Annotated[
        Literal["frozen", "recompute", "interpolate"] | None,
        typer.Option(
            help="Batch-norm statistics at each point; default recompute toward another run",
            rich_help_panel=_EVALUATION,
        ),
    ] = None,
    split: Annotated[
        Literal["train", "test", "both"] | None,
        typer.Option(help="Default train", rich_help_panel=_EVALUATION),
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(
            help="Only the first N of the class-balanced order", rich_help_panel=_EVALUATION
        ),
    ] = None,
    precision: Annotated[
        Literal["exact", "fast", "float64"],
        typer.Option(
            help="fast is 16-bit, checked against exact at nine points",
            rich_help_panel=_EVALUATION,
        ),
    ] = "exact",
    final: Annotated[
        bool,
        typer.Option(
            "--final",
            help="Every point on all examples at once, no coarse picture first",
            rich_help_panel=_EVALUATION,
        ),
    ] = False,
    clip: Annotated[
        float | None,
        typer.Option(
            help="Give up points whose loss stays above twice this, as at least that",
            rich_help_panel=_EVALUATION,
        ),
    ] = None,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine",
            help="Leave points out where their neighbours predict them",
            rich_help_panel=_EVALUATION,
        ),
    ] = False,
    devices: Annotated[
        str,
        typer.Option(
            "--devices",
            "--device",
            help="auto, cpu, cuda or cuda:N; several with commas share the scan",
            rich_help_panel=_EVALUATION,
        ),
    ] = "auto",
    film: Annotated[
        str | None,
        typer.Option(
            help="One scan for each kept checkpoint of FIRST..LAST[:STEP] (epochs)",
            rich_help_panel=_SERIES,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="So many Gaussian lines in one chart", rich_help_panel=_SERIES),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="Call the run's model factory, though you did not record it"
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the finished scan as JSON (a list of several)")
    ] = False,
) -> None:
    """Scan the loss landscape around a checkpoint and wait; prints the scan's id last.

    A film or several seeds print one id on each line. Ctrl-C leaves it to the worker;
    `lossviz-tui stop RUN --scan ID` cancels it.
    """
    reader = open_run(run)
    if trust:
        trust_factories()
    wish = ScanWish(
        preset=preset,
        classes=tuple(word.strip() for word in classes.split(",") if word.strip()),
        second=None if second is None else direction_wish(second),
        dims=dims,
        points=None if points is None else points_wish(points),
        span=None if span is None else span_wish(span),
        ranges=() if range_ is None else ranges_wish(range_),
        normalise=None if normalise is None else normalise_wish(normalise),
        scale_bias_and_bn=bias_and_bn,
        orthonormalise=orthonormalise,
        seed=seed,
        toward=toward,
        file=file,
        checkpoint=checkpoint,
        batch_norm=bn,
        split=split,
        examples=examples,
        precision=precision,
        device=devices,
        is_final=final,
        clip=clip,
        refine=refine,
        trajectory=trajectory,
        film=None if film is None else film_wish(film),
        seeds=seeds,
    )
    if kind is not None:
        wish = with_kind(wish, kind)
    scans = [
        ScanReader(reader.path, request_scan(reader.path, request))
        for request in complete(wish, reader)
    ]
    try:
        code = _follow(reader, scans, Console(stderr=True))
    finally:
        if as_json:
            found = [scan_details(one) for one in scans]
            typer.echo(json.dumps(found if len(found) > 1 else found[0], indent=2))
        for one in scans:
            typer.echo(one.scan_id)
    raise typer.Exit(code)


def _follow(reader: RunReader, scans: Sequence[ScanReader], console: Console) -> int:
    """Show the progress of scans until they have ended; 0 only when all are done."""
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
                shares = [_share(one) for one in scans]
                if min(shares) >= 1:
                    return 0
                if max(shares) > 0:
                    ended = sum(share >= 1 for share in shares)
                    which = f" {ended + 1} of {len(scans)}" if len(scans) > 1 else ""
                    progress.update(
                        task,
                        description=f"scanning{which}",
                        completed=sum(shares),
                        total=len(scans),
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
                names = ", ".join(one.scan_id for one in scans[:3])
                more = f" and {len(scans) - 3} more" if len(scans) > 3 else ""
                console.print(f"the worker goes on with scan {names}{more}")
                return 130


def _share(scan: ScanReader) -> float:
    """Share of a scan that is done, 1 once it has ended well; refuses one that has not."""
    head = scan.head()
    match scan.state_word(head):
        case "done":
            return 1.0
        case "failed":
            raise LaunchError(scan.message() or "the scan failed")
        case "cancelled":
            raise LaunchError(f"scan {scan.scan_id} was cancelled")
        case "queued":
            return 0.0
        case _:
            return min(head.done / max(1, head.total), 0.999)
