"""`lossviz-tui bench`: how fast scans and training are here, beside what bounds them."""

import json
import math
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import IO, Annotated, Any, cast

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lossviz_tui.launch import LaunchError, start_bench
from lossviz_tui.paint.cells import clean_text

Event = Mapping[str, Any]

TITLES = {
    "scan, frozen": "scan",
    "scan, recompute": "scan, batch-norm statistics recomputed at every point",
    "train": "training step",
}


class What(StrEnum):
    """What to measure."""

    SCAN = "scan"
    TRAIN = "train"
    ALL = "all"


def bench(
    what: Annotated[What, typer.Argument(help="scan, train or all")] = What.ALL,
    net: Annotated[
        list[str] | None, typer.Option(help="A network, repeatable; default resnet20 and mlp")
    ] = None,
    images: Annotated[int, typer.Option(help="Images evaluated at every point")] = 2_000,
    points: Annotated[int, typer.Option(help="Points, or steps, in one turn")] = 3,
    repeats: Annotated[int, typer.Option(help="Turns of each contender")] = 3,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Whether compiled contenders run")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not tables")] = False,
) -> None:
    """Measure scans and training steps on this machine, each beside what bounds it.

    All contenders run by turns in one process, after a gate: one whose losses are not those of
    a float64 reference gets FAIL instead of a speed. Takes some minutes.
    """
    spec = {
        "what": what.value,
        "nets": net or ["resnet20", "mlp"],
        "images": images,
        "points": points,
        "repeats": repeats,
        "device": device,
        "compile": compiled,
    }
    found = collect(spec, Console(stderr=True))
    if as_json:
        typer.echo(json.dumps(document(spec, found), indent=1, allow_nan=False))
        return
    draw(found, spec, Console())


def collect(spec: Event, console: Console) -> list[Event]:
    """Run a benchmark and show how it gets on; its events but for progress.

    Raises LaunchError with the sentence it refused with, or its last words if it died.
    """
    found: list[Event] = []
    with tempfile.TemporaryFile() as said, console.status("starting the benchmark") as status:
        with start_bench(spec, errors=said) as process:
            try:
                for event in _events(process):
                    match event.get("event"):
                        case "progress":
                            status.update(clean_text(str(event.get("what")), 100))
                        case "error":
                            raise LaunchError(str(event.get("message")))
                        case _:
                            found.append(event)
            finally:
                process.terminate()
        if not found or found[-1].get("event") != "done":
            raise LaunchError(f"the benchmark ended early: {_last_line(said)}")
    return found[:-1]


def _events(process: subprocess.Popen[bytes]) -> Iterator[Event]:
    for line in process.stdout or ():
        try:
            event: object = json.loads(line)
        except ValueError:
            continue  # a library's own chatter
        if isinstance(event, dict):
            yield cast("Event", event)


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def document(spec: Event, found: Sequence[Event]) -> dict[str, Any]:
    """Everything measured as one JSON value."""

    def of(kind: str) -> list[dict[str, Any]]:
        return [
            {
                name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in event.items()
                if name != "event"
            }
            for event in found
            if event.get("event") == kind
        ]

    return {
        "asked": dict(spec),
        "environment": next(iter(of("environment")), {}),
        "rows": of("row"),
        "summaries": of("summary"),
        "notes": [event["text"] for event in of("note")],
    }


def draw(found: Sequence[Event], spec: Event, console: Console) -> None:
    """Print the tables, one for each network and kind of work."""
    rows = [event for event in found if event.get("event") == "row"]
    for event in found:
        if event.get("event") == "environment":
            console.print(_machine(event), style="dim", highlight=False)
        elif event.get("event") == "note":
            console.print(Text(clean_text(str(event.get("text")), 300)))
    for net, kind in dict.fromkeys((str(row["net"]), str(row["table"])) for row in rows):
        chosen = [row for row in rows if (row["net"], row["table"]) == (net, kind)]
        title = f"{clean_text(net, 40)}: {TITLES.get(kind, kind)}, {spec['images']:,} images"
        console.print()
        console.print(Text(title, style="bold"))
        console.print(_train_table(chosen) if kind == "train" else _scan_table(chosen))
        if kind == "scan, frozen":
            for line in _remarks(found, chosen, net):
                console.print(Text(line))


def _machine(event: Event) -> str:
    matmul: dict[str, float] = event["matmul_flops"]
    peaks = ", ".join(f"{name} {_rate(flops)}FLOP/s" for name, flops in matmul.items())
    where = event["cpu"] if event["device"] == "cpu" else event["device"]
    return (
        f"{clean_text(str(where), 60)}, {event['threads']} threads, torch {event['torch']}, "
        f"{event['date'][:10]}\npeaks: {peaks}, copy {_rate(event['copy_bytes_per_second'])}B/s"
    )


def _rate(value: float) -> str:
    for prefix, unit in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= unit:
            return f"{value / unit:.3g} {prefix}"
    return f"{value:.3g} "


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    table.add_column(columns[0], no_wrap=True, min_width=25)
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _scan_table(rows: Sequence[Event]) -> Table:
    table = _table("", "images/s", "best", "of bound", "× loader", "matmul", "roofline")
    for row in rows:
        table.add_row(*_speeds(row), *_shares(row, "matmul_share", "roofline_share"))
    return table


def _train_table(rows: Sequence[Event]) -> Table:
    table = _table("", "images/s", "best", "of bare", "× plain", "set-up")
    for row in rows:
        table.add_row(*_speeds(row), f"{row['setup_seconds']:.1f} s")
    return table


def _speeds(row: Event) -> list[Text | str]:
    name = clean_text(str(row["name"]), 40)
    if not row["is_right"]:
        return [name, Text("FAIL", style="bold red"), f"{row['deviation']:.1f} tol", "", ""]
    return [
        name,
        f"{row['images_per_second']:,.0f}",
        f"{row['best_images_per_second']:,.0f}",
        _number(row["of_bound"]),
        _number(row["of_peer"]),
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _shares(row: Event, *names: str) -> list[str]:
    return ["–" if row[name] is None else f"{100 * row[name]:.0f} %" for name in names]


def _remarks(found: Sequence[Event], rows: Sequence[Event], net: str) -> Iterator[str]:
    for row in rows:
        if row["note"] and row["is_right"]:
            batch = "" if row["micro_batch"] is None else f", batches of {row['micro_batch']}"
            yield f"{row['name']}: {clean_text(row['note'], 160)}{batch}"
    for event in found:
        if event.get("event") != "summary" or event["net"] != net:
            continue
        if event["first_picture_seconds"] is not None:
            yield (
                "first picture (81 points of 19 x 19, 50 images): "
                f"{event['first_picture_seconds']:.2f} s"
            )
        if event["compile_seconds"] is not None:
            paid = event["break_even_points"]
            after = "never pays" if paid is None else f"has paid after {paid:,.0f} points"
            yield f"compiling the bare pass: {event['compile_seconds']:.1f} s, {after}"
