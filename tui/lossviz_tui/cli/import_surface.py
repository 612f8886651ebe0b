"""`lossviz-tui import`: a surface of Li et al.'s code as a scan of a run, counted by class.

Their file has no values by class, which a scan is made of, and none of them can be made up. So
the file gives the grid and the directions, and the scan is computed anew.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.reference_files import (
    ReferenceSurface,
    read_directions,
    read_surface,
    shapes_of,
)
from lossviz_analysis.store.requests import DirectionSpec, ScanRequest, SplitChoice
from lossviz_tui.choosing import choose_checkpoint
from lossviz_tui.cli.paths import open_run
from lossviz_tui.launch import request_scan

_TOLERANCE = 1e-6
"""Of the distance between two points: how uneven a grid may be."""


def import_(
    file: Annotated[Path, typer.Argument(help="Surface file (.h5)")],
    into: Annotated[Path, typer.Option(help="The run whose model the directions belong to")],
    directions: Annotated[
        Path | None,
        typer.Option(help="Direction file (.h5); default the one it names, if it lies beside"),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="last, best, or an epoch")] = "last",
) -> None:
    """Scan a run on the grid and along the directions of a surface; prints the scan's id.

    The worker computes it; the app, or `lossviz-tui show`, tells how far it is.
    """
    reader = open_run(into)
    surface = read_surface(file)
    found = _direction_file(file, surface) if directions is None else directions
    typer.echo(request_scan(reader.path, request_of(surface, found, reader, checkpoint)))


def request_of(
    surface: ReferenceSurface, directions: Path, reader: RunReader, checkpoint: str
) -> ScanRequest:
    """The scan with a surface's grid; refuses directions that belong to another model."""
    info = choose_checkpoint(reader, checkpoint)
    content = reader.checkpoint(info.number)
    found = read_directions(
        directions, shapes_of(content.parameters), shapes_of(content.buffers)
    )
    dims = len(surface.coordinates)
    if len(found) < dims:
        raise StoreError(f"{directions} has {len(found)} direction, the surface has {dims}")
    splits = surface.splits
    split: SplitChoice = "both" if len(splits) == 2 else "test" if "test" in splits else "train"
    return ScanRequest(
        directions=tuple(
            DirectionSpec(
                kind="file",
                normalise="none",
                component=number,
                file=str(directions.absolute()),
            )
            for number in range(1, dims + 1)
        ),
        points=tuple(len(t) for t in surface.coordinates),
        ranges=tuple(_range(t) for t in surface.coordinates),
        checkpoint=info.number,
        epoch=info.epoch,
        split=split,
    )


def _range(coordinates: np.ndarray) -> tuple[float, float]:
    """The first and the last of coordinates that are evenly spaced."""
    low, high = float(coordinates[0]), float(coordinates[-1])
    even = np.linspace(low, high, len(coordinates))
    step = (high - low) / max(1, len(coordinates) - 1)
    if not step > 0 or np.abs(coordinates - even).max() > _TOLERANCE * step:
        raise StoreError(
            "the surface's coordinates should ascend in even steps; "
            f"got {len(coordinates)} from {low:g} to {high:g}"
        )
    return low, high


def _direction_file(surface_file: Path, surface: ReferenceSurface) -> Path:
    """The direction file a surface names, looked for beside it and nowhere else."""
    name = Path(surface.dir_file).name
    beside = surface_file.with_name(name) if name else None
    if beside is None or not beside.is_file():
        raise StoreError(
            f"the direction file of {surface_file} is not beside it; name it with --directions"
        )
    return beside
