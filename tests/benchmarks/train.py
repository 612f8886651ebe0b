"""The trainer's step beside a bare one: `lossviz-tui bench train`, with its options."""

import sys

from lossviz_tui.__main__ import run

if __name__ == "__main__":
    sys.exit(run(["bench", "train", *sys.argv[1:]]))
