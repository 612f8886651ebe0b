"""Time from the start of the process to the first painted frame, beside an empty Textual app.

`uv run python tests/benchmarks/first_paint.py [REPEATS]`. Both programs run on a pty, by turns,
so that a busy machine slows both. The first frame is complete when its end is on the terminal:
for ours the keys in the footer, for the empty app the one word in it.
"""

import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

EMPTY = """
from textual.app import App
from textual.widgets import Static

class Empty(App):
    def compose(self):
        yield Static("READY")

Empty().run()
"""
PATIENCE_SECONDS = 60.0
LIMIT = 1.3


def seconds_to_first_paint(arguments: list[str], mark: bytes) -> float:
    """How long until a program has drawn a mark on a terminal of 80 x 24."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(primary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment = kept | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-P", *arguments],
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        start_new_session=True,
        env=environment,
    )
    os.close(secondary)
    sent = bytearray()
    try:
        while mark not in sent:
            ready, _, _ = select.select([primary], [], [], PATIENCE_SECONDS)
            if not ready:
                raise TimeoutError(f"no {mark!r} in {bytes(sent)!r}")
            sent += os.read(primary, 65_536)
        return time.perf_counter() - started
    finally:
        process.kill()
        process.wait()
        os.close(primary)


def measure(repeats: int) -> dict[str, list[float]]:
    """Seconds of both programs, by turns; a first turn of each only warms the disk."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY)
        programs = {
            "empty Textual app": ([str(empty)], b"READY"),
            "lossviz-tui": (["-m", "lossviz_tui", "watch", folder], b"Quit"),
        }
        found: dict[str, list[float]] = {name: [] for name in programs}
        for turn in range(repeats + 1):
            for name, (arguments, mark) in programs.items():
                seconds = seconds_to_first_paint(arguments, mark)
                if turn:
                    found[name].append(seconds)
        return found


def main() -> int:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    found = measure(repeats)
    print(f"{'first painted frame':20} {'median s':>9} {'min s':>7} {'max s':>7}")
    for name, values in found.items():
        median = statistics.median(values)
        print(f"{name:20} {median:9.3f} {min(values):7.3f} {max(values):7.3f}")
    empty, ours = found.values()
    ratio = statistics.median(ours) / statistics.median(empty)
    print(f"{'ratio':20} {ratio:9.2f} {min(ours) / min(empty):7.2f}   (limit {LIMIT})")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
