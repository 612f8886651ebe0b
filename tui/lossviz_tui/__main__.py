"""`lossviz-tui`: runs a command and turns what a user can cause into one sentence."""

import importlib
import io
import os
import sys
from pathlib import Path
from typing import Any

from lossviz_analysis.errors import LossvizError
from lossviz_tui.opening import open_app

COMMANDS: dict[str, str] = {
    "watch": "lossviz_tui.cli.watch",
    "demo": "lossviz_tui.cli.demo",
    "train": "lossviz_tui.cli.train",
    "scan": "lossviz_tui.cli.scan",
    "show": "lossviz_tui.cli.show",
    "export": "lossviz_tui.cli.export",
    "report": "lossviz_tui.cli.report",
    "import": "lossviz_tui.cli.import_surface",
    "runs": "lossviz_tui.cli.runs",
    "stop": "lossviz_tui.cli.stop",
    "pause": "lossviz_tui.cli.pause",
    "resume": "lossviz_tui.cli.resume",
    "bench": "lossviz_tui.cli.bench",
    "serve": "lossviz_tui.cli.serve",
    "keys": "lossviz_tui.cli.keys",
    "doctor": "lossviz_tui.cli.doctor",
}
"""Module of each command; the function in it bears the command's name, and an underscore after
a name that Python keeps for itself."""

EXIT_REFUSED = 1
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line; its exit code."""
    hint = ""
    for stream in (sys.stdout, sys.stderr):
        # What an output of few letters lacks is a question mark there, and no error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if not arguments or (arguments[0] not in COMMANDS and arguments[0] not in ("--help", "-h")):
        hint = _command_meant(arguments)
        arguments = ["watch", *arguments]
    try:
        if _is_plain_watch(arguments):
            return open_app(*map(Path, arguments[1:]))
        # Typer alone would take a ninth of the time in which the app is there.
        program: Any = importlib.import_module("lossviz_tui.cli.program")
        code: int = program.run_command(arguments, COMMANDS, print_error)
    except LossvizError as error:
        print_error(f"{error}{hint}")
        return EXIT_REFUSED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain again while it shuts
        # down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_REFUSED
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else EXIT_REFUSED
    except OSError as error:
        # A folder that may not be read, a name that is too long, a disk that is full.
        name = "" if error.filename is None else f"{error.filename}: "
        print_error(f"{name}{error.strerror or error}")
        return EXIT_REFUSED
    return code


def _is_plain_watch(arguments: list[str]) -> bool:
    """Whether it is the app on a path or none, without options."""
    return (
        arguments[0] == "watch"
        and len(arguments) <= 2
        and not any(word.startswith("-") for word in arguments[1:])
    )


def _command_meant(arguments: list[str]) -> str:
    """What to add to a refusal of a path that may have been meant as a command."""
    if not arguments or os.path.lexists(arguments[0]):
        return ""
    difflib: Any = importlib.import_module("difflib")
    near = difflib.get_close_matches(arguments[0], COMMANDS, n=1, cutoff=0.75)
    return f"; did you mean `lossviz-tui {near[0]}`?" if near else ""


def print_error(sentence: str) -> None:
    """One sentence on standard error, made printable: names in it may come from a store."""
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in sentence)
    sys.stderr.write(f"lossviz-tui: {printable}\n")


if __name__ == "__main__":
    main()
