"""Options that say which view of a run is meant, the same for every command that shows one."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from lossviz_analysis.store.description import read_description
from lossviz_analysis.store.fields import StoreError
from lossviz_tui.choosing import class_number
from lossviz_tui.keys import VIEW_NAMES
from lossviz_tui.paint.cells import Size
from lossviz_tui.selection import LandscapeMode, Quantity, Selection, Split

EpochOption = Annotated[
    int | None, typer.Option("--epoch", help="The epoch in focus; the last one by default")
]
SplitOption = Annotated[Split, typer.Option("--split", help="Whose counts")]
ClassesOption = Annotated[
    str | None, typer.Option("--classes", help="Classes by name or number, with commas")
]
ModeOption = Annotated[LandscapeMode, typer.Option("--mode", help="How a plane is shown")]
QuantityOption = Annotated[Quantity, typer.Option("--quantity", help="What of a plane")]
LogOption = Annotated[bool, typer.Option("--log", help="Logarithmic scales")]
SizeOption = Annotated[
    str | None, typer.Option("--size", help="Width and height of the screen in cells")
]
LightOption = Annotated[bool, typer.Option("--light", help="For a light ground")]
CharsetOption = Annotated[
    Literal["auto", "braille", "blocks", "ascii"],
    typer.Option("--charset", help="Glyphs to draw with"),
]

MIN_SIZE, MAX_SIZE = (20, 6), (1_000, 1_000)
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})", re.ASCII)


def parse_size(text: str) -> Size:
    """Width and height in cells of WxH."""
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None:
        raise StoreError(f"a size is WIDTHxHEIGHT in cells, as in 120x30; got {text!r}")
    size = (int(found[1]), int(found[2]))
    if not all(low <= n <= high for low, n, high in zip(MIN_SIZE, size, MAX_SIZE, strict=True)):
        low, high = ("x".join(map(str, limit)) for limit in (MIN_SIZE, MAX_SIZE))
        raise StoreError(f"a size is from {low} to {high}; got {text!r}")
    return size


def view_named(text: str, others: Sequence[str] = ()) -> str:
    """A view by its name, or one of some other words; refuses what is neither."""
    if text not in (*VIEW_NAMES, *others):
        known = ", ".join((*VIEW_NAMES, *others))
        raise StoreError(f"there is no view {text!r}; there are {known}")
    return text


def selection_for(
    run: Path,
    view: str,
    *,
    epoch: int | None = None,
    split: Split = "test",
    classes: str | None = None,
    scan: str | None = None,
    mode: LandscapeMode = "plane",
    quantity: Quantity = "mistakes",
    log: bool = False,
) -> Selection:
    """What somebody wants to see of a run, as the app would have it after many keys.

    With `classes` the first two are the pair of the dance, and all are on the staff of the
    notes; `all` puts every class there.
    """
    pair, chosen, all_classes = None, (), False
    if classes == "all":
        all_classes = True
    elif classes is not None:
        names = read_description(run).class_names
        words = [word.strip() for word in classes.split(",") if word.strip()]
        chosen = tuple(dict.fromkeys(class_number(word, names) for word in words))
        if len(chosen) < 2:
            raise StoreError(f"--classes takes two different classes or more; got {classes!r}")
        pair = (chosen[0], chosen[1])
    return Selection(
        view=view,
        epoch=epoch,
        split=split,
        pair=pair,
        classes=chosen,
        all_classes=all_classes,
        cell=pair or (0, 1),
        log=log,
        scan_id=scan,
        mode=mode,
        quantity=quantity,
    )
