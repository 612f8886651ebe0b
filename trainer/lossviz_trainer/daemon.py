"""The training daemon: from a spec to a run that ends in a state, whatever happens on the way.

Until its run exists it reports to standard output as JSON lines (`progress`, `created`,
`error`), for whoever started it; from then on standard output and error are the run's own log,
and the store is the only channel.
"""

import contextlib
import logging
import math
import os
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType

import torch

from lossviz_analysis.errors import LossvizError, describe
from lossviz_analysis.store.backlog import Backlog
from lossviz_analysis.store.control import Wish
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription, read_description
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.files import open_regular
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.retention import Retention
from lossviz_analysis.store.schema import LOG_NAME, RunState
from lossviz_analysis.store.waiting import PausedRun
from lossviz_analysis.store.writer import RunWriter
from lossviz_trainer.arithmetic import Arithmetic, choose_arithmetic, why_not_compiled
from lossviz_trainer.datasets.images import Dataset
from lossviz_trainer.datasets.load import DATA_WORDS, load_dataset
from lossviz_trainer.describing import versions
from lossviz_trainer.device import choose_device, micro_batch_for
from lossviz_trainer.loop import SCALAR_COLUMNS, LoopSettings, Position, Trainer
from lossviz_trainer.models import build_model
from lossviz_trainer.problem import (
    Progress,
    describe_data,
    is_recorded,
    rebuild_model,
    reload_data,
)
from lossviz_trainer.process import become, listen, report
from lossviz_trainer.recipes import Recipe, resolve_recipe
from lossviz_trainer.resident import move_to_device
from lossviz_trainer.spec import TrainingSpec
from lossviz_trainer.state import restore

WISH_SECONDS = 0.2
SMALL_MODEL_PARAMETERS = 5_000_000
"""Up to here a checkpoint is written after every epoch."""

log = logging.getLogger(__name__)


class StopFlag:
    """Set by SIGTERM and SIGINT; the loop looks at it between two steps."""

    def __init__(self) -> None:
        self._is_set = False

    def __call__(self) -> bool:
        """Whether somebody asked to stop."""
        return self._is_set

    def listen(self) -> None:
        """Stop on SIGTERM and SIGINT; a vanished terminal is no reason to."""
        listen(self._set)

    def _set(self, _number: int, _frame: FrameType | None) -> None:
        self._is_set = True


class Wishes:
    """Whether the loop should leave, by a signal or a word in the run; STOP outdoes PAUSE."""

    def __init__(self, stop: StopFlag, writer: RunWriter) -> None:
        self.wish = Wish.NOTHING
        """What ended the loop."""
        self._stop = stop
        self._writer = writer
        self._looked = -math.inf

    def __call__(self) -> bool:
        """Whether somebody asked to stop or to pause; looked up five times a second."""
        if self._stop():
            self.wish = Wish.STOP
        elif self.wish != Wish.STOP and time.monotonic() - self._looked >= WISH_SECONDS:
            self._looked = time.monotonic()
            self.wish = self._writer.wish() or self.wish
        return bool(self.wish)

    def is_to_stop(self) -> bool:
        """Whether somebody asked to stop, and not only to pause."""
        self()
        return self.wish == Wish.STOP


def open_log(run: Path) -> int:
    """A descriptor of the run's log, for appending.

    Raises:
        StoreError: It cannot be written.
    """
    try:
        return open_regular(run / LOG_NAME, create=True)
    except OSError as error:
        raise StoreError(f"{run / LOG_NAME} cannot be written: {error.strerror}") from None


def log_into(descriptor: int) -> None:
    """Send standard output and error, and every log line, to an open file."""
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", force=True
    )


def train(spec: TrainingSpec, lock: int | None = None) -> int:
    """Create or resume a run and train it.

    Args:
        spec: What to do.
        lock: Descriptor of the run's lock, where this process held it before it was paused.

    Returns:
        Exit code: 0 finished or stopped as asked, 1 failed while training, 2 refused.
    """
    stop = StopFlag()
    dataset: Dataset | None = None
    try:
        if spec.resume:
            spec = _as_remembered(spec)
        device = choose_device(spec.device)
        spec = replace(spec, **asdict(choose_arithmetic(spec, device)))
        if not spec.resume:
            dataset = _load(spec)
        # Until here a signal ends this process at once: there is nothing to lose yet.
        stop.listen()
        if dataset is not None:
            _create(spec, dataset)
        writer = RunWriter(spec.run, retention=_retention(spec))
        log_file = open_log(spec.run)
        writer.open(adopting=lock)
    except LossvizError as error:
        report("error", message=str(error))
        if lock is not None:
            _stay_stopped(spec.run, lock, str(error))
        return 2
    with contextlib.closing(writer):
        if lock is None:
            report("created", run=str(spec.run))
        log_into(log_file)
        wishes = Wishes(stop, writer)
        backlog = Backlog(
            writer, should_give_up=lambda: bool(backlog.trouble) and wishes.is_to_stop()
        )
        with contextlib.closing(backlog):
            end = _train_to_an_end(spec, backlog, device, wishes, dataset)
        if end == RunState.PAUSED:
            # Only the end of a program gives back everything on the device, its context
            # included; the checkpoint just written is as exact as a model kept in memory.
            become("wait", replace(spec, resume=True).to_json(), writer.hand_over())
        return 1 if end == RunState.FAILED else 0


def _as_remembered(spec: TrainingSpec) -> TrainingSpec:
    """The spec of a resume, completed by what its run remembers.

    Raises:
        LossvizError: The run is not the daemon's.
    """
    description = read_description(spec.run)
    if is_recorded(description):
        raise LossvizError(
            f"{spec.run} was recorded by a training loop of its own; start that one again"
        )
    return spec.with_settings(description.settings)


def _stay_stopped(run: Path, lock: int, sentence: str) -> None:
    """Say why a paused run does not go on."""
    with contextlib.suppress(LossvizError, OSError):
        paused = PausedRun(run)
        paused.adopt(lock)
        paused.stop(sentence)


def _train_to_an_end(
    spec: TrainingSpec,
    backlog: Backlog,
    device: torch.device,
    wishes: Wishes,
    dataset: Dataset | None,
) -> RunState:
    """Train, and say in the run how it ended."""
    try:
        backlog.say(RunState.RUNNING)
        is_finished = _train(spec, backlog, device, wishes, dataset)
        is_written = backlog.flush()
    except Exception as error:
        log.exception("training failed")
        is_ours = not isinstance(error, LossvizError)
        sentence = f"{describe(error)} (the log has the rest)" if is_ours else str(error)
        backlog.say(RunState.FAILED, sentence)
        return RunState.FAILED
    sentence = ""
    if not is_written:
        end, told = RunState.STOPPED, f"stopped while {backlog.trouble}"
        sentence = f"{told}; that is trained again"
    elif is_finished:
        end, told = RunState.FINISHED, "finished"
    elif wishes.wish == Wish.PAUSE:
        end, told = RunState.PAUSED, "paused; the device is free"
    else:
        end, told = RunState.STOPPED, "stopped; resume goes on from here"
    backlog.say(end, sentence)
    log.info("%s", told)
    return end


def _retention(spec: TrainingSpec) -> Retention:
    if spec.keep_bytes is None:
        return Retention()
    return Retention(budget_bytes=spec.keep_bytes)


def _source(spec: TrainingSpec) -> str:
    """The source of the data as it will be found again from any folder."""
    is_word = spec.data in DATA_WORDS
    return spec.data if is_word else str(Path(spec.data).expanduser().absolute())


def _data_root(spec: TrainingSpec) -> Path:
    return spec.data_root or spec.cache_folder


def _load(spec: TrainingSpec) -> Dataset:
    """Load the data of a new run, which can take a while.

    Raises:
        StoreError: Something is at the run's path already.
    """
    if spec.run.exists():
        raise StoreError(f"{spec.run} exists already; resume it, or choose another name")
    return load_dataset(
        _source(spec),
        cache_folder=spec.cache_folder,
        data_root=_data_root(spec),
        train_examples=spec.train_examples,
        seed=spec.seed,
        on_progress=_report_progress(),
        download=spec.download,
    )


def _create(spec: TrainingSpec, dataset: Dataset) -> None:
    """Create the run, unless its recipe or model is refused."""
    recipe = _resolved_recipe(spec, dataset)
    model = build_model(spec.model, len(dataset.class_names), seed=spec.seed)
    create_run(
        spec.run,
        RunDescription(
            run_id=str(uuid.uuid4()),
            created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            class_names=dataset.class_names,
            scalar_columns=SCALAR_COLUMNS,
            model={
                "name": spec.model,
                "num_parameters": sum(p.numel() for p in model.parameters()),
                "seed": spec.seed,
            },
            dataset=describe_data(
                dataset,
                _source(spec),
                _data_root(spec),
                train_examples=spec.train_examples,
                seed=spec.seed,
            ),
            recipe=recipe.to_json(),
            settings=spec.settings(),
            versions=versions(),
        ),
    )


def _report_progress() -> Progress:
    last = 0.0

    def on_progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= 0.2 or done == total:
            last = now
            report("progress", what="decoding images", done=done, total=total)

    return on_progress


def _resolved_recipe(spec: TrainingSpec, dataset: Dataset) -> Recipe:
    return resolve_recipe(
        spec.recipe,
        model_name=spec.model,
        overrides=spec.overrides,
        flip_is_label_preserving=dataset.flip_is_label_preserving,
    )


def _train(
    spec: TrainingSpec,
    backlog: Backlog,
    device: torch.device,
    should_stop: Callable[[], bool],
    dataset: Dataset | None,
) -> bool:
    description = backlog.writer.description
    recipe = Recipe.from_json(description.recipe)
    seed = int(description.model.get("seed", 0))
    if dataset is None:
        dataset = reload_data(spec.run, description)
    resume_from = RunReader(spec.run).newest_sound(
        lambda damage: log.warning("%s; trying the one before", damage)
    )
    model = rebuild_model(description, seed=seed).to(device)
    num_parameters = sum(p.numel() for p in model.parameters())
    every = spec.checkpoint_every or (1 if num_parameters <= SMALL_MODEL_PARAMETERS else 5)
    trainer = Trainer(
        model,
        move_to_device(dataset, device),
        backlog,
        LoopSettings(
            recipe=recipe,
            seed=seed,
            checkpoint_every=every,
            checkpoint_seconds=60.0 * spec.checkpoint_minutes
            if spec.checkpoint_minutes
            else math.inf,
            micro_batch=micro_batch_for(device),
            arithmetic=_possible(choose_arithmetic(spec, device), device),
        ),
        should_stop,
    )
    position, losses = Position(), []
    if resume_from is not None:
        restore(model, resume_from, trainer.optimiser)
        position = Position(resume_from.epoch, resume_from.step)
        losses = resume_from.extra.get("step_losses", [])
        best = resume_from.extra.get("best_accuracy")
        if isinstance(best, float):
            trainer.best_accuracy = best
    log.info(
        "%s, %d parameters, on %s, from epoch %d step %d of %d epochs",
        description.model.get("name"),
        num_parameters,
        device,
        position.epoch,
        position.step,
        recipe.epochs,
    )
    return trainer.run(position, losses)


def _possible(wanted: Arithmetic, device: torch.device) -> Arithmetic:
    """The arithmetic of a run, without the compiler where there is none that works."""
    complaint = why_not_compiled(device) if wanted.compile else ""
    if complaint:
        log.warning("%s", complaint)
    return replace(wanted, compile=wanted.compile and not complaint)
