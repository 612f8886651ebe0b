"""What following a run costs the machine: processor, memory, and the answer to a key press.

`uv run python -m tests.benchmarks.following [cpu] [memory] [keys]` from the root of the
repository; all three by default, about five minutes. The program runs on a pty as for a person.
Processor time is that of the whole process by the kernel's own clock, so a busy machine changes
it little. Records are laid out without fsync by `long_runs`: durable commits would be what is
measured. Exit code 1 if a goal is missed.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.long_runs import add_records, make_run
from tests.terminal.harness import PATIENCE_SECONDS, Terminal
from tests.terminal.traffic import NUM_EPOCHS, Size, beat, commit_lively, lively_run, on_screen

SMALL, LARGE = Size(80, 24), Size(160, 50)
VIEWS = {"2": "Overview", "3": "Dance", "4": "Notes", "5": "CCTM"}
CPU_GOAL, KEY_GOAL, MEMORY_GOAL = 0.03, 0.1, 20.0
"""Share of a core; seconds of a core; MiB more than after the first thousand epochs."""
CASES = ((10, 100_000), (1_000, 200))
TICK_BYTES = 200
IDLE_SECONDS = 0.03
"""Processor time in half a second below which nothing is going on."""
KEYS = {
    "2": (",", ".", "g"),
    "3": (",", ".", "t", "j"),
    "4": (",", ".", "t", "a"),
    "5": (",", ".", "t", "j", "l"),
    "1": ("j", "k"),
}
IDLE_APP = """
from textual.app import App
from textual.widgets import Footer, Static

class Idle(App):
    BINDINGS = [("q", "quit", "Quit")]

    def compose(self):
        yield Static("epoch  old")
        yield Footer()

Idle().run()
"""


def cpu_seconds(pid: int) -> float:
    """Processor time a process has had, all its threads together, those that ended too."""
    return time.clock_gettime((~pid << 3) | 2)  # as clock_getcpuclockid says it


def resident_mebibytes(pid: int) -> float:
    """Memory a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def share_of_a_core(terminal: Terminal, seconds: float, tick: Callable[[], object]) -> float:
    """Processor time by wall time while something happens every second."""
    pid = terminal.process.pid
    started, before = time.monotonic(), cpu_seconds(pid)
    next_tick = started
    while (now := time.monotonic()) < started + seconds:
        if now >= next_tick:
            tick()
            next_tick += 1.0
        terminal.read(0.1)
    return (cpu_seconds(pid) - before) / (time.monotonic() - started)


def idle_share(folder: Path, seconds: float) -> float:
    """What a Textual app costs in which nothing happens."""
    path = folder / "idle.py"
    path.write_text(IDLE_APP)
    terminal = Terminal([sys.executable, "-P", str(path)], columns=80, rows=24, answers=True)
    try:
        terminal.wait_for("epoch")
        terminal.wait_until_quiet()
        return share_of_a_core(terminal, seconds, lambda: None)
    finally:
        terminal.close()


def following_share(folder: Path, size: Size, view: str, seconds: float) -> float:
    """What the program costs that shows one epoch a second, in one view."""
    with lively_run(folder) as writer, on_screen(writer.path, size) as terminal:
        terminal.type(view)
        terminal.wait_for(f"[{view} ")
        terminal.wait_until_quiet()
        epochs = iter(range(NUM_EPOCHS + 1, 1_000_000))

        def tick() -> None:
            epoch = next(epochs)
            commit_lively(writer, epoch)
            beat(writer, epoch + 1, 0.5)

        return share_of_a_core(terminal, seconds, tick)


def cpu_table(folder: Callable[[], Path], seconds: float) -> bool:
    """Print what following costs; whether the goal is met."""
    idle = idle_share(folder(), seconds)
    print(f"{'one epoch a second':32} {'of a core':>10} {'times the idle app':>19}")
    print(f"{'idle Textual app':32} {100 * idle:8.2f} % {1.0:19.1f}")
    is_met = True
    for size in (SMALL, LARGE):
        for view, name in VIEWS.items():
            share = following_share(folder(), size, view, seconds)
            is_met &= share < CPU_GOAL
            verdict = "" if share < CPU_GOAL else "  MISSED"
            what = f"{name}, {size.columns} x {size.rows}"
            print(f"{what:32} {100 * share:8.2f} % {share / idle:19.1f}{verdict}", flush=True)
    return is_met


def memory_table(folder: Callable[[], Path], num_epochs: int = 5_000) -> bool:
    """Print the memory over so many live epochs; whether it is flat."""
    path = folder() / "long.zarr"
    make_run(path, 10, 10)
    print(f"\n{'live epochs':>12} {'memory':>12}")
    levels: list[float] = []
    with on_screen(path, SMALL) as terminal:
        terminal.type("3")
        terminal.wait_for("[3 Dance]")
        for epoch in range(10, num_epochs):
            add_records(path, 10, range(epoch, epoch + 1))
            terminal.read(0.01)
            if (epoch + 1) % (num_epochs // 10) == 0:
                terminal.wait_for(f"epoch {epoch + 1}/")
                levels.append(resident_mebibytes(terminal.process.pid))
                print(f"{epoch + 1:12,} {levels[-1]:8.1f} MiB", flush=True)
    growth = levels[-1] - levels[1]
    is_met = growth < MEMORY_GOAL
    print(f"{'growth':>12} {growth:8.1f} MiB  {'' if is_met else 'MISSED'}")
    return is_met


def key_seconds(terminal: Terminal, key: str, *, repeats: int = 5) -> float:
    """Processor time from a key press to its answer on the screen, the median of a few.

    The answer is a frame larger than a tick; what is read from the disk later, behind it, is
    not waited for.
    """
    pid = terminal.process.pid
    found: list[float] = []
    for _ in range(repeats):
        wait_until_idle(terminal)
        start, before = len(terminal.sent), cpu_seconds(pid)
        terminal.type(key)
        while not any(len(frame) > TICK_BYTES for frame in terminal.frames(start)):
            if not terminal.read(0.3, until=lambda: True):
                break  # a key that changes nothing here
        found.append(cpu_seconds(pid) - before)
    return sorted(found)[len(found) // 2]


def wait_until_idle(terminal: Terminal) -> None:
    """Wait until the program does next to nothing, also behind the screen."""
    pid = terminal.process.pid
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        before = cpu_seconds(pid)
        terminal.read(0.5)
        if cpu_seconds(pid) - before < IDLE_SECONDS or time.monotonic() > deadline:
            return


def answers(path: Path) -> Iterator[tuple[str, str, float]]:
    """View, key and processor time of every kind of key press in a run."""
    with on_screen(path, LARGE) as terminal:
        terminal.wait_until(lambda: "reading" not in terminal.text, "end of reading")
        for view, keys in KEYS.items():
            yield view, view, key_seconds(terminal, view, repeats=1)
            terminal.wait_for(f"[{view} ")
            terminal.wait_until_quiet()
            for key in keys:
                yield view, key, key_seconds(terminal, key)
            terminal.type("\x1b[F")  # end: follow again


def keys_table(folder: Callable[[], Path]) -> bool:
    """Print what keys cost in long and wide runs; whether each is answered in time."""
    is_met = True
    for num_classes, num_epochs in CASES:
        path = folder() / "long.zarr"
        make_run(path, num_classes, num_epochs)
        print(f"\n{num_classes:,} classes, {num_epochs:,} epochs, {LARGE}")
        print(f"{'view':>10} {'key':>4} {'processor time':>15}")
        for view, key, seconds in answers(path):
            in_time = seconds <= KEY_GOAL
            is_met &= in_time
            name = {"1": "Runs"} | VIEWS
            verdict = "" if in_time else "  MISSED"
            print(f"{name[view]:>10} {key:>4} {1e3 * seconds:12.1f} ms{verdict}", flush=True)
    return is_met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", help="cpu, memory, keys")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each share of a core")
    options = parser.parse_args()
    wanted = options.what or ["cpu", "memory", "keys"]
    with tempfile.TemporaryDirectory(prefix="following-") as place:
        count = iter(range(10_000))

        def folder() -> Path:
            path = Path(place) / str(next(count))
            path.mkdir()
            return path

        is_met = True
        if "cpu" in wanted:
            is_met &= cpu_table(folder, options.seconds)
        if "memory" in wanted:
            is_met &= memory_table(folder)
        if "keys" in wanted:
            is_met &= keys_table(folder)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
