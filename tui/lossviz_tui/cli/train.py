"""`lossviz-tui train`: start or resume a training daemon, and show how it gets on."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from lossviz_analysis.store.lock import is_held
from lossviz_analysis.store.reader import RunReader, standing
from lossviz_analysis.store.schema import RunState
from lossviz_tui.cli.paths import DEFAULT_FOLDER, existing_run, free_path, with_suffix
from lossviz_tui.launch import Created, LaunchError, Preparing, events, start_training
from lossviz_tui.paint.cells import clean_text
from lossviz_tui.training import run_stem

POLL_SECONDS = 0.25


def train(
    data: Annotated[
        str | None,
        typer.Option(
            help="digits (default), cifar10, cifar100, a folder train/CLASS/* test/CLASS/*, "
            "or .npz"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="mlp, vgg9, vgg19, resnet18, googlenet, dla, densenet121, resnet20/32/56/110, "
            "wrn56-2/4/8; the last seven also with -noshort; "
            "default resnet20"
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="big-lr, small-lr, anneal-lr (default) or li")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Folder of the run; default runs/DATA-MODEL-RECIPE-N.zarr"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run at --run")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return at once; the daemon outlives the terminal")
    ] = False,
    train_examples: Annotated[
        int | None, typer.Option(help="A seeded class-balanced subset of the training split")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, order, augmentation and subset; default 0")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    epochs: Annotated[int | None, typer.Option(help="Overrides the recipe")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", "--lr", help="Overrides the recipe")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Overrides the recipe")] = None,
    momentum: Annotated[float | None, typer.Option(help="Overrides the recipe")] = None,
    nesterov: Annotated[
        bool | None, typer.Option("--nesterov/--no-nesterov", help="Overrides the recipe")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Overrides the recipe")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="constant, cosine or steps; overrides the recipe")
    ] = None,
    milestones: Annotated[
        str | None, typer.Option(help="Epochs of a steps schedule, as 150,225,275")
    ] = None,
    crop_padding: Annotated[int | None, typer.Option(help="Overrides the recipe")] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip/--no-flip", help="Overrides the recipe and the data's hint"),
    ] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Epochs between checkpoints; default 1 for small models")
    ] = None,
    checkpoint_minutes: Annotated[
        float | None,
        typer.Option(help="A checkpoint after so many minutes, also within an epoch"),
    ] = None,
    keep_gb: Annotated[
        float | None,
        typer.Option(help="Budget for kept checkpoints; default 10, or 20 % of free"),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Where cifar10 and cifar100 lie or are downloaded to")
    ] = None,
    download: Annotated[
        bool,
        typer.Option("--download/--no-download", help="May cifar10 and cifar100 be fetched"),
    ] = True,
    channels_last: Annotated[
        bool | None,
        typer.Option(
            "--channels-last/--no-channels-last",
            help="Layout of the feature maps; default: channels last on a CPU and with bf16",
        ),
    ] = None,
    amp: Annotated[
        str | None,
        typer.Option(help="none (default, float32) or bf16: convolutions in bfloat16"),
    ] = None,
    compile_step: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="Compile the step; default no"),
    ] = None,
) -> None:
    """Train a classifier and record its classes epoch by epoch.

    The daemon runs in a session of its own; without --detach this command shows its progress,
    and Ctrl-C, or the end of the terminal, asks it to checkpoint and leave.
    """
    overrides = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "momentum": momentum,
        "nesterov": nesterov,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "milestones": _milestones(milestones),
        "crop_padding": crop_padding,
        "flip": flip,
    }
    arithmetic = {"channels_last": channels_last, "amp": amp, "compile": compile_step}
    given = [data, model, recipe, seed, train_examples, data_root, *overrides.values()]
    if resume and any(value is not None for value in (*given, *arithmetic.values())):
        raise LaunchError(
            "a resumed run keeps its data, model, recipe, seed and arithmetic; "
            "leave those options out"
        )
    data, model, recipe = data or "digits", model or "resnet20", recipe or "anneal-lr"
    spec: dict[str, Any] = {
        "run": str(_run_path(run, data, model, recipe, resume=resume)),
        "resume": resume,
        "device": device,
        "checkpoint_every": checkpoint_every,
        "checkpoint_minutes": checkpoint_minutes,
        "keep_bytes": _bytes(keep_gb),
    }
    if not resume:
        spec |= {
            "data": data,
            "model": model,
            "recipe": recipe,
            "overrides": {
                name: value for name, value in overrides.items() if value is not None
            },
            "train_examples": train_examples,
            "seed": seed or 0,
            "data_root": None if data_root is None else str(data_root.absolute()),
            "download": download,
            **arithmetic,
        }
    process = start_training(spec)
    created = follow_start(process, Console(stderr=True))
    if detach:
        typer.echo(str(created))
        return
    raise typer.Exit(_follow(RunReader(created), process))


def _milestones(text: str | None) -> list[int] | None:
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise LaunchError(f"milestones are epochs separated by commas; got {text!r}")
    return [int(word) for word in words]


def _bytes(gigabytes: float | None) -> int | None:
    if gigabytes is None:
        return None
    if not 0 <= gigabytes < 2**30:
        raise LaunchError(f"--keep-gb is a number of gigabytes; got {gigabytes}")
    return int(gigabytes * 2**30)


def _run_path(run: Path | None, data: str, model: str, recipe: str, *, resume: bool) -> Path:
    if resume:
        if run is None:
            raise LaunchError("--resume needs --run, the run to go on with")
        return existing_run(run)
    if run is not None:
        return with_suffix(run).absolute()
    return free_path(DEFAULT_FOLDER.absolute(), run_stem(data, model, recipe))


def follow_start(process: subprocess.Popen[bytes], console: Console) -> Path:
    """Show a starting daemon's preparations; the path of its run. Ctrl-C takes it along."""
    try:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("starting the trainer", total=None)
            for event in events(process):
                match event:
                    case Preparing():
                        progress.update(
                            task,
                            description=event.what,
                            completed=event.done,
                            total=event.total,
                        )
                    case Created():
                        return event.run
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    raise LaunchError("the training process ended before its run existed")


def _follow(reader: RunReader, process: subprocess.Popen[bytes]) -> int:
    """Show a run's progress until its daemon has left; the exit code to leave with."""
    console = Console(stderr=True)
    console.print(f"run {clean_text(str(reader.path), 200)}", highlight=False, markup=False)
    # Counted, not raised: an exception can be lost where it happens to be raised.
    presses: list[int] = []
    previous = signal.signal(signal.SIGHUP, _terminate(process))
    before = signal.signal(signal.SIGINT, lambda number, _frame: presses.append(number))
    is_asked = False
    try:
        with _bar(console) as progress:
            task = progress.add_task("", total=None, epoch="", figures="")
            while process.poll() is None and is_held(reader.path) and len(presses) < 2:
                if presses and not is_asked:
                    is_asked = True
                    console.print("asking the daemon to checkpoint and leave ...")
                    process.send_signal(signal.SIGTERM)
                _update(progress, task, reader)
                time.sleep(POLL_SECONDS)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            _update(progress, task, reader)
    finally:
        signal.signal(signal.SIGHUP, previous)
        signal.signal(signal.SIGINT, before)
    if presses:
        return 130
    found = standing(reader, reader.head())
    if found.state == RunState.FAILED:
        raise LaunchError(found.message or "training failed; the run's train.log says why")
    if found.word in ("crashed", "never ran"):
        raise LaunchError(f"the daemon vanished; lossviz-tui resume {reader.path} goes on")
    return 0


def _terminate(process: subprocess.Popen[bytes]) -> Callable[[int, FrameType | None], None]:
    """A signal handler that takes the daemon along when the terminal goes."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        process.terminate()

    return handler


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.fields[epoch]}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(compact=True),
        console=console,
        refresh_per_second=4,
    )


def _update(progress: Progress, task: TaskID, reader: RunReader) -> None:
    """Show one moment of the run; the bar counts the steps of all its epochs."""
    pulse, epochs = reader.pulse(), reader.description.planned_epochs
    if pulse is None or epochs is None or pulse.steps_per_epoch < 1:
        return
    head = reader.head()
    figures = f"loss {pulse.loss:.3f}  {pulse.images_per_second:.0f} images/s"
    if head.num_records:
        row = reader.scalars(head.num_records - 1, head.num_records)[0]
        column = reader.description.scalar_columns.index("test_accuracy")
        figures += f"  test {100 * row[column]:.2f} %"
    progress.update(
        task,
        epoch=f"epoch {pulse.epoch}/{epochs}",
        completed=(pulse.epoch - 1) * pulse.steps_per_epoch + pulse.step,
        total=epochs * pulse.steps_per_epoch,
        figures=figures,
    )
