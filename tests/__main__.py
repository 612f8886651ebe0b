"""Everything a change has to pass: format, lint, types, import contracts, tests.

`uv run python -m tests` runs all of it and stops at the first failure; words after it go to
pytest.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

CHECKS = {
    "format": ["ruff", "format", "--check", "--quiet", "."],
    "lint": ["ruff", "check", "--quiet", "."],
    "types": ["pyright", "--warnings", "--pythonpath", sys.executable],
    "contracts": ["lint-imports"],
    "tests": ["pytest", "-q"],
}


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    scripts = Path(sys.executable).parent
    for name, words in CHECKS.items():
        command = [*words, *(sys.argv[1:] if name == "tests" else ())]
        print(f"== {name}: {' '.join(command)}", flush=True)
        started = time.monotonic()
        program, *arguments = command
        finished = subprocess.run(
            [str(scripts / program), *arguments],
            cwd=root,
            env={"OMP_WAIT_POLICY": "PASSIVE"} | os.environ,
            check=False,
        )
        print(f"== {name}: {time.monotonic() - started:.0f} s", flush=True)
        if finished.returncode != 0:
            print(f"== {name} failed", file=sys.stderr)
            return finished.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
