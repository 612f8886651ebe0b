"""Scans beside what bounds them: `lossviz-tui bench scan`, with its options."""

import sys

from lossviz_tui.__main__ import run

if __name__ == "__main__":
    sys.exit(run(["bench", "scan", *sys.argv[1:]]))
