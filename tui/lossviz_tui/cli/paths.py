"""From what a person types to the folder of a run."""

from pathlib import Path

from lossviz_analysis.store.description import read_description
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader, find_runs
from lossviz_analysis.store.schema import RUN_SUFFIX
from lossviz_tui.training import free_name

DEFAULT_FOLDER = Path("runs")


def open_run(text: Path) -> RunReader:
    """The run a person means: its folder, with or without ending, or the only one below."""
    path = existing_run(text)
    read_description(path)
    return RunReader(path)


def existing_run(text: Path) -> Path:
    """Folder of the run a person means; refuses what is no run, naming what there is."""
    for candidate in (text, with_suffix(text)):
        if (candidate / "zarr.json").is_file():
            return candidate.absolute()
    below = find_runs(text) if text.is_dir() else ()
    if len(below) == 1:
        return below[0].absolute()
    if below:
        names = ", ".join(str(path) for path in below[:5])
        raise StoreError(f"{text} holds {len(below)} runs, name one: {names}")
    raise StoreError(f"there is no run at {text}")


def with_suffix(path: Path) -> Path:
    """A run's path with its ending; `.` and `/` have no name to put it to."""
    if not path.name:
        return path
    return path if path.name.endswith(RUN_SUFFIX) else path.with_name(path.name + RUN_SUFFIX)


def free_path(folder: Path, name: str) -> Path:
    """A path for a new run that nothing has yet."""
    return folder / f"{free_name(folder, name)}{RUN_SUFFIX}"
