"""The command line as Typer reads it: only the command that is named is imported."""

import importlib
import keyword
from collections.abc import Callable, Mapping
from typing import Any, cast

import typer

EXIT_MISUSED = 2
EXIT_INTERRUPTED = 130

_HELP = (
    "Watch classes dance and scan loss landscapes from the terminal, live. lossviz-tui [PATH] "
    "opens the app on a run or a folder of runs, by itself on ./runs, or on this folder where "
    "runs lie in it."
)

# ClickException, which some versions of Typer keep to themselves.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0].__bases__[0])


def run_command(
    arguments: list[str], commands: Mapping[str, str], print_error: Callable[[str], None]
) -> int:
    """Run a command with its options; its exit code.

    Args:
        arguments: The command's name first.
        commands: Module of each command.
        print_error: Says what is wrong with the options.
    """
    wanted = [arguments[0]] if arguments[0] in commands else list(commands)
    program = _program({name: commands[name] for name in wanted})
    try:
        code: object = program(args=arguments, prog_name="lossviz-tui", standalone_mode=False)
    except _UsageError as error:
        print_error(" ".join(error.format_message().split()))
        return EXIT_MISUSED
    except typer.Abort:
        return EXIT_INTERRUPTED
    return code if isinstance(code, int) else 0


def _program(commands: Mapping[str, str]) -> typer.Typer:
    """A program that knows the commands given."""
    program = typer.Typer(
        add_completion=False,
        no_args_is_help=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help=_HELP,
    )
    program.callback()(_nothing)
    for name, module_name in commands.items():
        module: Any = importlib.import_module(module_name)
        function = f"{name}_" if keyword.iskeyword(name) else name
        command: Callable[..., None] = getattr(module, function)
        program.command(name)(command)
    return program


def _nothing() -> None:
    """What comes before the name of a command: nothing."""
