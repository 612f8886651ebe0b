"""The training daemon: from a spec to a run that ends in a state, whatever happens on the way.

Until its run exists it reports to standard output as JSON lines (`progress`, `created`,
`error`), for whoever started it; from then on standard output and error are the run's own log,
and the store is the only channel.
"""

import contextlib
import importlib.metadata
import json
import logging
import os
import platform
import signal
import socket
import sys
import time
import uuid
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.retention import Retention
from lossviz_analysis.store.schema import RunState
from lossviz_analysis.store.writer import LOG_NAME, RunWriter, create_run
from lossviz_trainer.datasets.images import Dataset
from lossviz_trainer.datasets.load import DATA_WORDS, load_dataset
from lossviz_trainer.device import choose_device, micro_batch_for
from lossviz_trainer.loop import SCALAR_COLUMNS, LoopSettings, Position, Trainer
from lossviz_trainer.models import build_model
from lossviz_trainer.problem import Progress, describe_data, rebuild_model, reload_data
from lossviz_trainer.recipes import Recipe, resolve_recipe
from lossviz_trainer.resident import move_to_device
from lossviz_trainer.spec import TrainingSpec
from lossviz_trainer.state import restore

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
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._set)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _set(self, _number: int, _frame: FrameType | None) -> None:
        self._is_set = True


def report(event: str, **values: str | int) -> None:
    """Tell whoever started this process; nobody listening is no reason to stop."""
    with contextlib.suppress(OSError):
        os.write(1, (json.dumps({"event": event, **values}) + "\n").encode())


def log_into(run: Path) -> None:
    """Send standard output and error, and every log line, to a file in the run."""
    descriptor = os.open(run / LOG_NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", force=True
    )


def train(spec: TrainingSpec) -> int:
    """Create or resume a run and train it.

    Args:
        spec: What to do.

    Returns:
        Exit code: 0 finished or stopped as asked, 1 failed while training, 2 refused.
    """
    stop = StopFlag()
    dataset: Dataset | None = None
    try:
        device = choose_device(spec.device)
        if not spec.resume:
            dataset = _load(spec)
        # Until here a signal ends this process at once: there is nothing to lose yet.
        stop.listen()
        if dataset is not None:
            _create(spec, dataset)
        writer = RunWriter(spec.run, retention=_retention(spec))
        writer.open()
    except LossvizError as error:
        report("error", message=str(error))
        return 2
    with contextlib.closing(writer):
        report("created", run=str(spec.run))
        log_into(spec.run)
        try:
            writer.set_state(RunState.RUNNING)
            finished = _train(spec, writer, device, stop, dataset)
        except Exception as error:
            log.exception("training failed")
            sentence = str(error) if isinstance(error, LossvizError) else _sentence(error)
            writer.set_state(RunState.FAILED, sentence)
            return 1
        writer.set_state(RunState.FINISHED if finished else RunState.STOPPED)
        log.info("finished" if finished else "stopped; resume goes on from here")
    return 0


def _sentence(error: Exception) -> str:
    first_line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first_line} (the log has the rest)"


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
            versions=_versions(),
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


def _versions() -> dict[str, Any]:
    names = ("lossviz-tui", "torch", "numpy", "zarr")
    found: dict[str, Any] = {name: importlib.metadata.version(name) for name in names}
    return found | {"python": platform.python_version(), "host": socket.gethostname()}


def _train(
    spec: TrainingSpec,
    writer: RunWriter,
    device: torch.device,
    stop: StopFlag,
    dataset: Dataset | None,
) -> bool:
    description = writer.description
    recipe = Recipe.from_json(description.recipe)
    seed = int(description.model.get("seed", 0))
    if dataset is None:
        dataset = reload_data(spec.run, description)
    resume_from = _newest_sound_checkpoint(writer)
    model = rebuild_model(description, seed=seed).to(device)
    num_parameters = sum(p.numel() for p in model.parameters())
    every = spec.checkpoint_every or (1 if num_parameters <= SMALL_MODEL_PARAMETERS else 5)
    trainer = Trainer(
        model,
        move_to_device(dataset, device),
        writer,
        LoopSettings(
            recipe=recipe,
            seed=seed,
            checkpoint_every=every,
            micro_batch=micro_batch_for(device),
        ),
        stop,
    )
    position = Position()
    if resume_from is not None:
        restore(model, resume_from, trainer.optimiser)
        position = Position(resume_from.epoch, resume_from.step)
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
    return trainer.run(position)


def _newest_sound_checkpoint(writer: RunWriter) -> Checkpoint | None:
    """The newest checkpoint that reads well; a damaged one falls back to the one before."""
    reader = RunReader(writer.path)
    damage: StoreError | None = None
    for info in reversed(reader.checkpoints()):
        try:
            return reader.checkpoint(info.number)
        except StoreError as error:
            log.warning("%s; trying the one before", error)
            damage = error
    if damage is not None:
        raise damage
    return None
