"""Damaged runs, thrown at everything that reads runs.

Sound runs are copied and damaged by dice; every command that reads and every panel of the
screen then has to come back with data or with one sentence. A traceback, a wait of more than
five seconds, more than a gigabyte of memory, a control character in what is printed, or a file
changed or made is a failure. A number reproduces each:

    python tests/torture/fuzz.py --stores 10000
    python tests/torture/fuzz.py --first 4711 --stores 1 --verbose
    python tests/torture/fuzz.py --self-test
"""

import argparse
import contextlib
import gc
import io
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from fuzz_damage import damage
from fuzz_runs import make_runs
from textual.message import Message

from lossviz_tui.__main__ import run as command
from lossviz_tui.cli import doctor
from lossviz_tui.paint.cells import Size
from lossviz_tui.paint.palettes import Look
from lossviz_tui.selection import LANDSCAPE_MODES
from lossviz_tui.stage import Stage

MAX_SECONDS = 5.0
MAX_BYTES = 2**30
STORES_PER_CHILD = 100
PATIENCE_SECONDS = 90.0
"""Without a word from a child for so long, it hangs where no alarm reaches it."""
MAX_STEPS = 8

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_DEFECT = re.compile(r"^(?!StoreError)[A-Z][A-Za-z]*(Error|Exception|Warning|Interrupt): ")


class TookTooLongError(BaseException):
    """An operation did not come back; not an Exception, so that nobody takes it for one."""


@dataclass(frozen=True)
class Failure:
    """One thing that went wrong."""

    operation: str
    what: str
    detail: str = ""


@dataclass
class Report:
    """What became of one damaged run."""

    number: int
    damage: list[str]
    outcomes: dict[str, str] = field(default_factory=dict[str, str])
    """By operation: "data", "sentence" or "failure"."""
    failures: list[Failure] = field(default_factory=list[Failure])


Operation = Callable[["Case"], str]
"""Does something with a damaged run; "data" or "sentence", or raises what went wrong."""


class WentWrongError(Exception):
    """An operation came back with something it should not."""


@dataclass(frozen=True)
class Case:
    """A damaged run and its surroundings."""

    run: Path
    outside: Path
    out: Path
    """Where exports go."""
    dice: random.Random


def _called(*words: str) -> tuple[str, str]:
    """Run a command of the program; "data" or "sentence", and what it printed.

    Raises:
        WentWrongError: It broke a promise.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = command(list(words))
    printed = out.getvalue()
    return _judged(code, printed, err.getvalue()), printed


def _judged(code: int, printed: str, complaint: str) -> str:
    """Say "data" or "sentence".

    Raises:
        WentWrongError: A promise of the command line is broken.
    """
    for text in (printed, complaint):
        if found := _CONTROL.search(text):
            raise WentWrongError(f"printed the control character {found.group()!r}")
    if code == 0 and complaint:
        raise WentWrongError(f"done, and yet it said {complaint[:80]!r}")
    if code != 0 and not re.fullmatch(r"[^\n]+\n", complaint):
        raise WentWrongError(f"left with {code} and said {complaint[:80]!r}")
    if _DEFECT.match(complaint.removeprefix("lossviz-tui: ")):
        raise WentWrongError(f"an error of ours as a sentence: {complaint[:80]!r}")
    return "data" if code == 0 else "sentence"


def _show(case: Case) -> str:
    return _called("show", str(case.run))[0]


def _show_json(case: Case) -> str:
    outcome, printed = _called("show", str(case.run), "--json")
    if outcome == "data":
        json.loads(printed, parse_constant=_no_such_number)
    return outcome


def _no_such_number(text: str) -> None:
    raise WentWrongError(f"printed {text}, which is not JSON")


def _doctor(case: Case) -> str:
    return _called("doctor", str(case.run))[0]


def _runs(case: Case) -> str:
    return _called("runs", str(case.run.parent))[0]


def _runs_json(case: Case) -> str:
    return _called("runs", str(case.run.parent), "--json")[0]


def _export(case: Case) -> str:
    what = case.dice.choice(("scalars", "recall", "notes", "cctm", "confusion", "json", "npz"))
    suffix = what if what in ("json", "npz") else "csv"
    words = () if suffix != "csv" else ("--view", what)
    out = str(case.out / f"run.{suffix}")
    return _called("export", str(case.run), "--out", out, *words)[0]


def _export_scan(case: Case) -> str:
    try:
        names = sorted(path.name for path in (case.run / "scans").iterdir())
    except OSError:
        names = []
    scans = [name for name in names if name[:1] != "."] or ["nothing"]
    suffix = case.dice.choice(("csv", "json", "npz"))
    words = ("--directions",) if suffix == "npz" else ()
    out = str(case.out / f"scan.{suffix}")
    name = case.dice.choice(scans)
    return _called("export", str(case.run), f"--scan={name}", "--out", out, *words)[0]


def _screen(case: Case) -> str:
    """The app without its terminal: the tail's steps, and every view painted."""
    told: list[Message] = []
    stage = Stage(case.run, Look(), told.append)
    size: Size = (80, 24)
    troubles: set[str] = set()
    for _ in range(MAX_STEPS):
        has_more = stage.tail.step()
        for message in told:
            stage.take(message)
        told.clear()
        troubles.add(stage.scene.trouble)
        if not has_more:
            break
    for trouble in troubles:
        if _DEFECT.match(trouble):
            raise WentWrongError(f"an error of ours as a sentence: {trouble[:80]!r}")
    selection = stage.selection
    for view in ("runs", "overview", "dance", "notes", "cctm"):
        split = case.dice.choice(("train", "test"))
        stage.select(replace(selection, view=view, split=split))
        _check_painted(view, stage, size)
    for mode in LANDSCAPE_MODES:
        quantity = case.dice.choice(("mistakes", "loss"))
        log = case.dice.random() < 0.3
        stage.select(
            replace(selection, view="landscape", mode=mode, quantity=quantity, log=log)
        )
        _check_painted(mode, stage, size)
    return "sentence" if any(troubles) else "data"


def _check_painted(view: str, stage: Stage, size: Size) -> None:
    for strip in (*stage.paint(size), *stage.paint_status((size[0], 2))):
        for segment in strip:
            if found := _CONTROL.search(segment.text.replace("\n", "\t")):
                raise WentWrongError(f"{view}: painted the control character {found.group()!r}")
        if strip.cell_length > size[0]:
            raise WentWrongError(f"{view}: painted {strip.cell_length} cells in a row")


OPERATIONS: dict[str, Operation] = {
    "show": _show,
    "show --json": _show_json,
    "doctor": _doctor,
    "runs": _runs,
    "runs --json": _runs_json,
    "export": _export,
    "export --scan": _export_scan,
    "screen": _screen,
}


@contextlib.contextmanager
def _time_limit(seconds: float) -> Generator[None]:
    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TookTooLongError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _attempt(
    name: str, operation: Operation, case: Case, seconds: float
) -> tuple[str, Failure | None]:
    """The outcome of an operation, and what went wrong."""
    try:
        with warnings.catch_warnings(record=True) as warned, _time_limit(seconds):
            warnings.simplefilter("always")
            outcome = operation(case)
    except TookTooLongError as error:
        where = _where(error.__traceback__)
        return "failure", Failure(name, f"more than {seconds:.0f} s", where)
    except WentWrongError as error:
        return "failure", Failure(name, str(error))
    except MemoryError as error:
        return "failure", Failure(name, "more than 1 GB", _where(error.__traceback__))
    except BaseException as error:  # noqa: BLE001  # whatever it is, it was not to come out
        why = f"{type(error).__name__} at {_where(error.__traceback__)}"
        return "failure", Failure(name, why, traceback.format_exc())
    shown = [w for w in warned if not issubclass(w.category, DeprecationWarning)]
    if shown:
        first = shown[0]
        place = f"{Path(first.filename).name}:{first.lineno}"
        return "failure", Failure(name, f"a warning at {place}: {str(first.message)[:60]}")
    return outcome, None


def _where(trace: TracebackType | None) -> str:
    """The innermost line of the program's own."""
    frames = [frame for frame in traceback.extract_tb(trace) if "lossviz" in frame.filename]
    frames = frames or traceback.extract_tb(trace)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"


def _inventory(folder: Path) -> set[tuple[Any, ...]]:
    """Everything in a folder, so that whatever changes shows."""
    found: set[tuple[Any, ...]] = set()
    for root, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            path = f"{root}/{name}"
            with contextlib.suppress(OSError):
                stat = os.lstat(path)
                found.add((path, stat.st_ino, stat.st_mode, stat.st_size, stat.st_mtime_ns))
    return found


class Nest:
    """Where cases are made and looked at, one after the other."""

    def __init__(
        self,
        folder: Path,
        sound: list[Path],
        operations: dict[str, Operation],
        *,
        seconds: float = MAX_SECONDS,
        is_sound: bool = False,
    ) -> None:
        self._folder = folder
        self._seconds = seconds
        self._is_sound = is_sound
        self._sound = sound
        self._operations = operations

    def look(self, number: int, *, is_sound: bool = False) -> Report:
        """Make a damaged run by its number and see what becomes of it."""
        is_sound = is_sound or self._is_sound
        case, done = self._make(random.Random(number), is_sound=is_sound)
        report = Report(number, done)
        watched = case.run.parent
        before = _inventory(watched)
        try:
            for name, operation in self._operations.items():
                outcome, failure = self._twice(name, operation, case)
                if is_sound and outcome == "sentence" and name != "export --scan":
                    failure = Failure(name, "nothing is damaged, and yet it is no data")
                report.outcomes[name] = "failure" if failure else outcome
                if failure is not None:
                    report.failures.append(failure)
            if changed := sorted(_inventory(watched) ^ before):
                name = str(Path(changed[0][0]).relative_to(watched))
                report.outcomes["files"] = "failure"
                report.failures.append(Failure("files", "one was changed or made", name))
        finally:
            shutil.rmtree(watched.parent, ignore_errors=True)
        return report

    def leave(self, number: int, where: Path) -> list[str]:
        """Make a damaged run by its number and leave it to be looked at; what was done."""
        case, done = self._make(random.Random(number), is_sound=False)
        shutil.move(case.run.parent, where)
        return done

    def _twice(self, name: str, operation: Operation, case: Case) -> tuple[str, Failure | None]:
        """Once more where it took too long: others use this machine, too."""
        outcome, failure = _attempt(name, operation, case, self._seconds)
        if failure is not None and failure.what.endswith(" s"):
            outcome, failure = _attempt(name, operation, case, self._seconds)
        return outcome, failure

    def _make(self, dice: random.Random, *, is_sound: bool) -> tuple[Case, list[str]]:
        nest = Path(tempfile.mkdtemp(dir=self._folder))
        watched, out = nest / "runs", nest / "out"
        outside = watched / ".outside"
        for folder in (watched, out, outside):
            folder.mkdir()
        (outside / "secret").write_text("secret \x1b[31m")
        source = dice.choice(self._sound)
        case = Case(run=watched / source.name, outside=outside, out=out, dice=dice)
        shutil.copytree(source, case.run)
        return case, [] if is_sound else damage(dice, case.run, outside)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MAX_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _child(nest: Nest, numbers: list[int], pipe: int, *, is_warm: bool) -> None:
    """Look at some runs and tell by pipe, one line each."""
    # What is set up at the first use is not to count.
    if not is_warm:
        nest.look(-1, is_sound=True)
    _limit_memory()
    for number in numbers:
        os.write(pipe, f"{json.dumps({'begun': number})}\n".encode())
        report = nest.look(number)
        os.write(pipe, f"{json.dumps(asdict(report))}\n".encode())
        gc.collect()


@dataclass
class _Child:
    pid: int
    pipe: int
    numbers: list[int]
    heard: float
    begun: int | None = None
    rest: bytes = b""


def look_at_all(
    nest: Nest, numbers: range, *, num_children: int, is_warm: bool = False
) -> Iterator[Report]:
    """Look at damaged runs in children of this process, which may die of it.

    Yields:
        A report for each number, in no order.
    """
    waiting = [
        list(numbers[k : k + STORES_PER_CHILD])
        for k in range(0, len(numbers), STORES_PER_CHILD)
    ]
    children: list[_Child] = []
    while waiting or children:
        while waiting and len(children) < num_children:
            children.append(_start(nest, waiting.pop(0), is_warm=is_warm))
        ready, _, _ = select.select([child.pipe for child in children], [], [], 1.0)
        for child in list(children):
            if child.pipe in ready:
                yield from _hear(child)
            if child.pipe in ready and child.heard < 0:  # it is gone
                children.remove(child)
                status = os.waitpid(child.pid, 0)[1]
                if child.begun is not None:
                    yield _lost(child.begun, f"the process ended with status {status}")
                    left = child.numbers[child.numbers.index(child.begun) + 1 :]
                    if left:
                        waiting.append(left)
            elif time.monotonic() - child.heard > PATIENCE_SECONDS:
                os.kill(child.pid, signal.SIGKILL)


def _start(nest: Nest, numbers: list[int], *, is_warm: bool) -> _Child:
    sys.stdout.flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        code = 1
        try:
            _child(nest, numbers, writing, is_warm=is_warm)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    return _Child(pid, reading, numbers, time.monotonic())


def _hear(child: _Child) -> Iterator[Report]:
    content = os.read(child.pipe, 2**20)
    child.heard = time.monotonic()
    if not content:
        os.close(child.pipe)
        child.heard = -1.0
    *lines, child.rest = (child.rest + content).split(b"\n")
    for line in lines:
        found = json.loads(line)
        if "begun" in found:
            child.begun = found["begun"]
        else:
            child.begun = None
            failures = [Failure(**failure) for failure in found.pop("failures")]
            yield Report(**found, failures=failures)


def _lost(number: int, what: str) -> Report:
    return Report(number, [], {"process": "failure"}, [Failure("process", what)])


def _crash(_case: Case) -> str:
    raise KeyError("planted")


def _hang(_case: Case) -> str:
    while True:
        time.sleep(0.1)


def _hog(_case: Case) -> str:
    return str(len(bytearray(2 * MAX_BYTES)))


def _print_escapes(_case: Case) -> str:
    return _judged(0, "\x1b[31m", "")


def _complain_twice(_case: Case) -> str:
    return _judged(1, "", "one sentence\nand another\n")


def _make_a_file(case: Case) -> str:
    (case.outside / "new").touch()
    return "data"


def _change_a_file(case: Case) -> str:
    with (case.outside / "secret").open("r+") as file:
        file.write("S")
    return "data"


def _die(_case: Case) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return "data"


def _warn(_case: Case) -> str:
    warnings.warn("planted", RuntimeWarning, stacklevel=1)
    return "data"


PLANTED: dict[str, tuple[Operation, str]] = {
    "crash": (_crash, "KeyError at"),
    "hang": (_hang, "more than 2 s"),
    "hog": (_hog, "more than 1 GB"),
    "escapes": (_print_escapes, "control character"),
    "two lines": (_complain_twice, "left with 1 and said"),
    "new file": (_make_a_file, "one was changed or made"),
    "changed file": (_change_a_file, "one was changed or made"),
    "death": (_die, "the process ended"),
    "warning": (_warn, "a warning at"),
}
"""Defects, and what is to be said of each."""


def _find_planted(folder: Path, sound: list[Path]) -> int:
    """Plant each defect, see it found and nothing else; the exit code."""
    missed = 0
    for name, (operation, expected) in PLANTED.items():
        nest = Nest(folder, sound, {"runs": _runs, name: operation}, seconds=2.0)
        # Dying, and being waited for, belongs to a child of its own, and not to its warm-up.
        report = next(look_at_all(nest, range(1), num_children=1, is_warm=True))
        found = [f.what for f in report.failures if f.operation in (name, "process", "files")]
        is_found = len(report.failures) == 1 and any(expected in what for what in found)
        missed += not is_found
        _say(f"{name:14} {'found' if is_found else f'MISSED: {report.failures}'}")
    return min(1, missed)


def _say(*lines: object) -> None:
    """Lines on standard output, those after the first indented."""
    sys.stdout.write("\n  ".join(map(str, lines)) + "\n")
    sys.stdout.flush()


def _table(reports: list[Report], operations: dict[str, Operation]) -> str:
    lines = [f"{'operation':14} {'data':>8} {'sentence':>9} {'failure':>8}"]
    for name in (*operations, "files", "process"):
        seen = Counter(r.outcomes[name] for r in reports if name in r.outcomes)
        lines.append(f"{name:14} {seen['data']:8} {seen['sentence']:9} {seen['failure']:8}")
    groups: dict[tuple[str, str], list[int]] = {}
    for report in reports:
        for failure in report.failures:
            groups.setdefault((failure.operation, failure.what), []).append(report.number)
    if groups:
        lines += ["", f"{'runs':>5}  failure"]
    for (operation, what), numbers in sorted(groups.items(), key=lambda item: -len(item[1])):
        some = " ".join(map(str, sorted(numbers)[:4]))
        lines.append(f"{len(numbers):5}  {operation}: {what}  (for instance {some})")
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """Damage runs and look; 0 when nothing went wrong."""
    parser = argparse.ArgumentParser(
        description="Throw damaged runs at everything that reads runs."
    )
    parser.add_argument("--stores", type=int, default=150, help="how many runs to damage")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--children", type=int, default=4, help="processes at a time")
    parser.add_argument("--only", choices=OPERATIONS, help="one operation instead of all")
    parser.add_argument("--keep", type=Path, help="leave the damaged runs there, look at none")
    parser.add_argument("--sound", action="store_true", help="damage nothing; all is data")
    parser.add_argument("--verbose", action="store_true", help="say what was done to each run")
    parser.add_argument("--self-test", action="store_true", help="find planted defects")
    asked = parser.parse_args(words)
    # A command that asked torch for its devices would take seconds, and reads no run.
    doctor._machine = doctor._terminal = list
    operations = OPERATIONS if asked.only is None else {asked.only: OPERATIONS[asked.only]}
    numbers = range(asked.first, asked.first + asked.stores)
    began = time.monotonic()
    # Thousands of folders come and go: in memory, where there is such a place.
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="lossviz-fuzz-", dir=place) as name:
        folder = Path(name)
        (folder / "sound").mkdir()
        sound = make_runs(folder / "sound")
        if asked.self_test:
            return _find_planted(folder, sound)
        nest = Nest(folder, sound, operations, is_sound=asked.sound)
        if asked.keep is not None:
            for number in numbers:
                _say(number, *nest.leave(number, asked.keep / str(number)))
            return 0
        reports: list[Report] = []
        for report in look_at_all(nest, numbers, num_children=asked.children):
            reports.append(report)
            if asked.verbose:
                _say(report.number, *report.damage, report.outcomes)
                for failure in report.failures:
                    _say(f"  {failure.operation}: {failure.what}\n{failure.detail}")
    _say(_table(reports, operations))
    seconds = time.monotonic() - began
    failed = sum(bool(report.failures) for report in reports)
    _say(f"\n{len(reports)} damaged runs in {seconds:.0f} s, {failed} with failures")
    return min(1, failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
