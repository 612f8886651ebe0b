"""Everything a change has to pass: format, lint, types, import contracts, tests.

`uv run python -m tests` runs all of it and stops at the first failure; words after it go to
pytest. With `--everywhere` the tests of the screen are run once more in poorer environments:
without colours, and in the C locale.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

EVERYWHERE = "--everywhere"
# Much of a test's time is waiting; a file stays with one process, whose runs it shares.
PYTEST = ["pytest", "-q", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
CHECKS = {
    "format": ["ruff", "format", "--check", "--quiet", "."],
    "lint": ["ruff", "check", "--quiet", "."],
    "types": ["pyright", "--warnings", "--pythonpath", sys.executable],
    "contracts": ["lint-imports"],
    "tests": PYTEST,
}
SCREEN = [*PYTEST, "tests/tui"]
ENVIRONMENTS = {
    "without colours": {"NO_COLOR": "1"},
    "in the C locale": {"LC_ALL": "C", "LANG": "C"},
}


def main() -> int:
    words = [word for word in sys.argv[1:] if word != EVERYWHERE]
    for name, command in CHECKS.items():
        code = run(name, [*command, *(words if name == "tests" else ())], {})
        if code:
            return code
    if EVERYWHERE in sys.argv:
        for name, variables in ENVIRONMENTS.items():
            code = run(f"the screen {name}", [*SCREEN, *words], variables)
            if code:
                return code
    return 0


def run(name: str, command: list[str], variables: dict[str, str]) -> int:
    """Run one check with some environment variables; its exit code."""
    root = Path(__file__).resolve().parent.parent
    print(f"== {name}: {' '.join(command)}", flush=True)
    started = time.monotonic()
    program, *arguments = command
    finished = subprocess.run(
        [str(Path(sys.executable).parent / program), *arguments],
        cwd=root,
        env={"OMP_WAIT_POLICY": "PASSIVE"} | os.environ | variables,
        check=False,
    )
    print(f"== {name}: {time.monotonic() - started:.0f} s", flush=True)
    if finished.returncode != 0:
        print(f"== {name} failed", file=sys.stderr)
    return finished.returncode


if __name__ == "__main__":
    sys.exit(main())
