"""`lossviz-tui serve`: the same app in a browser, on this machine's loopback address only."""

import importlib
import secrets
import shlex
import socket
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lossviz_analysis.errors import LossvizError
from lossviz_tui.config import read_config

HOST = "127.0.0.1"


def serve(
    path: Annotated[Path, typer.Argument(help="A run, or a folder of runs")] = Path("runs"),
    port: Annotated[int, typer.Option(help="Of this machine; 0 takes a free one")] = 8000,
    work: Annotated[
        bool, typer.Option("--work", help="Let the browser start, stop and export things, too")
    ] = False,
    color: Annotated[
        Literal["truecolor", "256", "16", "none"], typer.Option(help="Colours to use")
    ] = "truecolor",
    light: Annotated[bool, typer.Option("--light", help="For a light background")] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="Keys and defaults, instead of ~/.config/lossviz-tui/config.toml"),
    ] = None,
) -> None:
    """Show the app in a browser; whoever opens the address printed sees it, nobody else.

    It listens on the loopback address only. From elsewhere: ssh -L 8000:localhost:8000 BOX,
    then open the address on your own machine. Without --work the browser can only look:
    it starts nothing, stops nothing, and writes no file here.
    """
    read_config(config)  # so that a mistake in it is told here, and not in a browser
    if not 0 <= port < 2**16:
        raise LossvizError(f"--port is a number from 0 to 65535; got {port}")
    try:
        module: Any = importlib.import_module("lossviz_tui.serving")
    except ImportError:
        raise LossvizError(
            "serving needs textual-serve; pip install 'lossviz-tui[serve]'"
        ) from None
    words = app_command(path, color=color, light=light, work=work, config=config)
    listener = _listen(port)
    port, token = listener.getsockname()[1], secrets.token_urlsafe(16)
    typer.echo(f"http://localhost:{port}/?token={token}")
    typer.echo(
        f"from elsewhere: ssh -L {port}:localhost:{port} {socket.gethostname()}, "
        "then the same address; Ctrl-C ends it",
        err=True,
    )
    module.serve(shlex.join(words), listener, token)


def app_command(
    path: Path, *, color: str, light: bool, work: bool, config: Path | None
) -> list[str]:
    """The command line of the app that each browser gets one of; a browser has all glyphs."""
    words = [sys.executable, "-P", "-m", "lossviz_tui", "watch", str(path.absolute())]
    words += ["--color", color, "--charset", "braille"]
    words += ["--light"] if light else []
    words += [] if work else ["--readonly", "--no-export"]
    return words + ([] if config is None else ["--config", str(config.absolute())])


def _listen(port: int) -> socket.socket:
    """A socket on the loopback address; LossvizError where the port is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise LossvizError(
            f"port {port} cannot be had: {error.strerror}; give another with --port"
        ) from None
    listener.listen(16)
    return listener
