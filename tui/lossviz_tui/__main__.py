"""`lossviz-tui`: runs a command and turns what a user can cause into one sentence."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from lossviz_analysis.errors import LossvizError

COMMANDS: dict[str, str] = {
    "watch": "lossviz_tui.cli.watch",
    "demo": "lossviz_tui.cli.demo",
    "train": "lossviz_tui.cli.train",
    "scan": "lossviz_tui.cli.scan",
    "show": "lossviz_tui.cli.show",
    "export": "lossviz_tui.cli.export",
    "runs": "lossviz_tui.cli.runs",
    "stop": "lossviz_tui.cli.stop",
    "doctor": "lossviz_tui.cli.doctor",
}
"""Module of each command; the function in it bears the command's name."""

EXIT_REFUSED = 1
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line; its exit code."""
    if not arguments or (arguments[0] not in COMMANDS and arguments[0] not in ("--help", "-h")):
        arguments = ["watch", *arguments]
    wanted = [arguments[0]] if arguments[0] in COMMANDS else list(COMMANDS)
    program = _program(wanted)
    try:
        program(args=arguments, prog_name="lossviz-tui", standalone_mode=True)
    except LossvizError as error:
        print_error(str(error))
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
    return 0


def print_error(sentence: str) -> None:
    """One sentence on standard error, made printable: names in it may come from a store."""
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in sentence)
    typer.echo(f"lossviz-tui: {printable}", err=True)


def _program(names: list[str]) -> typer.Typer:
    """A program that knows the named commands; the others are not imported."""
    program = typer.Typer(
        add_completion=False,
        no_args_is_help=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Watch classes dance and scan loss landscapes from the terminal, live.",
    )
    program.callback()(_nothing)
    for name in names:
        module: Any = importlib.import_module(COMMANDS[name])
        command: Callable[..., None] = getattr(module, name)
        program.command(name)(command)
    return program


def _nothing() -> None:
    """Watch classes dance and scan loss landscapes from the terminal, live."""


if __name__ == "__main__":
    main()
