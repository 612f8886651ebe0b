"""From names, epochs and paths as people say them to classes, checkpoints, runs and files."""

from collections.abc import Sequence
from pathlib import Path

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.checkpoints import CheckpointInfo
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.requests import MAX_TRAJECTORY
from lossviz_analysis.store.scans import ScanReader, find_scans

HDF5_SUFFIXES = (".h5", ".hdf5")


def choose_checkpoint(reader: RunReader, wanted: str) -> CheckpointInfo:
    """The checkpoint `last`, `best`, or of an epoch."""
    head = reader.head()
    infos = reader.checkpoints(head)
    ends = [info for info in infos if info.step == 0]
    if not infos:
        raise LossvizError(f"{reader.path} has no checkpoint yet; wait for the first")
    if wanted == "last":
        return infos[-1]
    if wanted == "best":
        best = [info for info in infos if info.number == head.best_checkpoint]
        if not best:
            raise LossvizError(f"{reader.path} has no best checkpoint yet")
        return best[0]
    if not is_number(wanted):
        raise LossvizError(f"a checkpoint is last, best, or an epoch; got {wanted!r}")
    matching = [info for info in ends if info.epoch == int(wanted)]
    if not matching:
        kept = ", ".join(str(info.epoch) for info in ends[-12:])
        raise LossvizError(f"there is no checkpoint of epoch {wanted}; kept are (last) {kept}")
    return matching[-1]


def way(reader: RunReader) -> tuple[CheckpointInfo, ...]:
    """The checkpoints between epochs that led to the newest one, by epoch.

    What an earlier attempt did after the epoch it was resumed from is not on the way.
    """
    found: list[CheckpointInfo] = []
    for info in reversed(reader.checkpoints()):
        if info.step == 0 and (not found or info.epoch < found[-1].epoch):
            found.append(info)
    return tuple(reversed(found))


def trajectory(reader: RunReader) -> tuple[int, ...]:
    """Numbers of the checkpoints on the way, evenly thinned where they are too many."""
    numbers = [info.number for info in way(reader)]
    if len(numbers) < 2:
        raise LossvizError(
            f"a trajectory needs two kept checkpoints or more; {reader.path} has {len(numbers)}"
        )
    if len(numbers) > MAX_TRAJECTORY:
        last = len(numbers) - 1
        places = (round(k * last / (MAX_TRAJECTORY - 1)) for k in range(MAX_TRAJECTORY))
        numbers = [numbers[place] for place in places]
    return tuple(numbers)


def is_number(word: str) -> bool:
    """Whether a word is digits that `int` reads; "²" is not."""
    return word.isascii() and word.isdecimal()


def class_number(word: str, names: Sequence[str]) -> int:
    """The class a person means: by its name, or by its number where no class has that name."""
    if word in names:
        return list(names).index(word)
    lowered = [name.lower() for name in names]
    if word.lower() in lowered:
        return lowered.index(word.lower())
    if word.isdecimal() and int(word) < len(names):
        return int(word)
    some = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    raise LossvizError(f"there is no class {word!r}; the classes are {some}")


def other_run(text: str, reader: RunReader) -> tuple[RunReader, CheckpointInfo]:
    """The run of RUN or RUN:EPOCH and its checkpoint."""
    path, epoch = text, "last"
    if not Path(path).exists() and ":" in path:
        path, _, epoch = path.rpartition(":")
    if not Path(path).exists() and Path(path + ".zarr").exists():
        path += ".zarr"
    other = RunReader(Path(path).absolute())
    if other.description.num_classes != reader.description.num_classes:
        raise LossvizError(f"{path} has another number of classes than {reader.path}")
    return other, choose_checkpoint(other, epoch)


def direction_file(text: str) -> tuple[str, int]:
    """Path and number of the direction that FOLDER, RUN#SCAN or FILE.h5, each [:N], means."""
    path, number = text, 1
    head, colon, tail = text.rpartition(":")
    if colon and is_number(tail):
        path, number = head, int(tail)
    run, hash_sign, scan_id = path.rpartition("#")
    if hash_sign:
        run_path = Path(run) if Path(run).exists() else Path(run + ".zarr")
        return _directions_of(run_path, scan_id, number), number
    found = Path(path)
    if found.suffix in HDF5_SUFFIXES:
        if not found.is_file():
            raise LossvizError(f"there is no file {path}")
        return str(found.absolute()), number
    if found.absolute().parent.name == "scans":
        run_path = found.absolute().parent.parent
        return _directions_of(run_path, found.name, number), number
    raise LossvizError(
        f"a file of directions is a scan's folder, RUN#SCAN or .h5; got {text!r}"
    )


def _directions_of(run: Path, scan_id: str, number: int) -> str:
    if scan_id not in {scan.scan_id for scan in find_scans(run)}:
        raise LossvizError(f"{run} has no scan {scan_id!r}")
    scan = ScanReader(run.absolute(), scan_id)
    geometry = scan.geometry()
    if geometry is None:
        raise LossvizError(f"scan {scan_id} has no directions yet")
    count = len(geometry.direction_norms)
    if not 1 <= number <= count:
        raise LossvizError(
            f"scan {scan_id} has {count} direction{'s' * (count > 1)}; got {number}"
        )
    return str(scan.folder)
