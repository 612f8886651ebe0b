"""`lossviz-tui`: runs a command and turns what a user can cause into one sentence."""

import importlib
import keyword
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import typer

from lossviz_analysis.errors import LossvizError

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
EXIT_MISUSED = 2
EXIT_INTERRUPTED = 130

# ClickException, which some versions of Typer keep to themselves.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0].__bases__[0])


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line; its exit code."""
    if not arguments or (arguments[0] not in COMMANDS and arguments[0] not in ("--help", "-h")):
        arguments = ["watch", *arguments]
    try:
        return _watch(arguments[1:]) if _is_plain_watch(arguments) else _command(arguments)
    except LossvizError as error:
        print_error(str(error))
        return EXIT_REFUSED
    except _UsageError as error:
        print_error(" ".join(error.format_message().split()))
        return EXIT_MISUSED
    except (KeyboardInterrupt, typer.Abort):
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


def _is_plain_watch(arguments: list[str]) -> bool:
    """Whether it is the app on a path or none, without options."""
    return (
        arguments[0] == "watch"
        and len(arguments) <= 2
        and not any(word.startswith("-") for word in arguments[1:])
    )


def _watch(paths: list[str]) -> int:
    """The app as it is mostly started; Typer would read even this for a third of a second."""
    module: Any = importlib.import_module(COMMANDS["watch"])
    try:
        module.watch(*map(Path, paths))
    except typer.Exit as left:
        return left.exit_code
    return 0


def _command(arguments: list[str]) -> int:
    """Any command with its options, read by Typer."""
    wanted = [arguments[0]] if arguments[0] in COMMANDS else list(COMMANDS)
    program = _program(wanted)
    code: object = program(args=arguments, prog_name="lossviz-tui", standalone_mode=False)
    return code if isinstance(code, int) else 0


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
        function = f"{name}_" if keyword.iskeyword(name) else name
        command: Callable[..., None] = getattr(module, function)
        program.command(name)(command)
    return program


def _nothing() -> None:
    """Watch classes dance and scan loss landscapes from the terminal, live."""


if __name__ == "__main__":
    main()
