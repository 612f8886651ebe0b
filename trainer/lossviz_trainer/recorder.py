"""Records any training loop, so that it can be watched, resumed and scanned.

    recorder = RunRecorder.open("runs/mine", class_names=names, model=model)
    for epoch in range(1, epochs + 1):
        ...                                               # train
        recorder.count("test", labels, logits)            # in the evaluation, batch by batch
        recorder.log_epoch(epoch, test_loss=loss)
        recorder.save_checkpoint(model, optimizer, epoch=epoch)
    recorder.close()

A recorder never ends or holds up the training it records. What goes wrong is logged once as a
warning, by the logger `lossviz_trainer`; what cannot be written waits in memory; and a recorder
that cannot open its run does nothing at all. `strict=True` raises instead. The one exception is
`restore`, which raises what keeps the loop from going on from the run's own weights.
"""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

import numpy as np
from torch import nn

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.retention import Retention
from lossviz_analysis.store.schema import Phase
from lossviz_trainer.counting import Values
from lossviz_trainer.describing import names_of, new_description, run_path, whole
from lossviz_trainer.epoch_record import (
    FILLED_IN,
    STANDARD_COLUMNS,
    EpochRecord,
    Scalar,
    Split,
    SplitCounts,
)
from lossviz_trainer.factory import is_building, refer_to
from lossviz_trainer.opening import RefusedError, begin, go_on
from lossviz_trainer.ranks import current_rank, is_distributed, summed
from lossviz_trainer.session import LossProbe, Progress, Reporter, RunSession, ending
from lossviz_trainer.snapshot import (
    RestoredPosition,
    Stateful,
    Statefuls,
    put_back,
    take_snapshot,
)
from lossviz_trainer.state import has_distributed, trainable_names, unwrapped

Factory: TypeAlias = str | Callable[[], object]


class RunRecorder:
    """The run of one training loop.

    Make one with `create`, `resume` or `open`; leave it with `close`, or use it as a context
    manager, which also tells how the loop ended. For the loop of one thread.

    With several processes every rank makes its recorder and calls it alike; rank 0 writes. A
    process forked from the one that made a recorder, such as a data worker, does nothing with
    it, and a pickled one arrives without its run.
    """

    def __init__(
        self,
        path: Path,
        class_names: Sequence[str],
        *,
        strict: bool = False,
        rank: int = 0,
    ) -> None:
        """Make a recorder without a run; see `create`, `resume` and `open`."""
        self.path = path
        """The run's folder."""
        self.class_names = tuple(class_names)
        self._strict = strict
        self._rank = rank
        self._reporter = Reporter()
        self._session: RunSession | None = None
        self._is_refused = False
        """Whether what is at the path was found not to be the run of this loop."""
        self._record = EpochRecord(len(self.class_names))
        self._probe = LossProbe()
        self._trainable: frozenset[str] = frozenset()

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        class_names: Sequence[str] | int,
        model: nn.Module | None = None,
        model_name: str | None = None,
        dataset_name: str = "",
        hyperparameters: Mapping[str, Any] | None = None,
        epochs: int | None = None,
        scalars: Sequence[str] = (),
        factory: Factory | None = None,
        retention: Retention | None = None,
        strict: bool = False,
        rank: int | None = None,
    ) -> "RunRecorder":
        """Begin a new run.

        Args:
            path: Where; `.zarr` is appended where it is missing. Nothing may be there.
            class_names: One name for each class, in the order of the labels; or how many.
            model: What is trained, for its size, its norm and which parameters are trainable;
                only referred to weakly.
            model_name: What to call it; by default the name of its class.
            dataset_name: What to call the data.
            hyperparameters: JSON values to keep with the run; others are kept as text.
            epochs: How many the run is to have, where that is known.
            scalars: Names of further columns, beside STANDARD_COLUMNS.
            factory: A function without arguments that returns `(model, train, test)`, or its
                name `package.module:function`; without it the run cannot be scanned. `train`
                and `test` are pairs (inputs, labels) of tensors, or map-style datasets of
                (input, label), without random augmentation and as the model wants its inputs;
                the model returns logits. The scan worker calls it in a process of its own.
            retention: Which checkpoints to keep; by default the first, the newest three, the
                best, and of the others as many as fit into 10 GiB.
            strict: Raise what goes wrong instead of going on without it.
            rank: Which of several processes this is; by default as torch.distributed or the
                variable RANK says.

        Returns:
            The recorder; one that does nothing where the run cannot be created.

        Raises:
            LossvizError: It cannot be created, and `strict` is set; or this is the scan worker,
                which is only importing a factory.
        """
        recorder = cls._new(path, class_names, strict=strict, rank=rank)
        with recorder._opening():
            recorder._know(model)
            description = new_description(
                class_names,
                model=None if model is None else unwrapped(model),
                model_name=model_name,
                dataset_name=dataset_name,
                hyperparameters=hyperparameters,
                epochs=epochs,
                columns=(*STANDARD_COLUMNS, *scalars),
            )
            if factory is not None:
                with recorder.guarded("the run cannot be scanned"):
                    refer_to(description, factory)
            if recorder._rank == 0:
                begin(recorder.path, description)
            recorder._attend(retention)
        return recorder

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        *,
        model: nn.Module | None = None,
        retention: Retention | None = None,
        strict: bool = False,
        rank: int | None = None,
    ) -> "RunRecorder":
        """Go on with a run that is there; see `restore` for the weights.

        Args:
            path: Its folder; `.zarr` is appended where it is missing.
            model: What is trained; see `create`.
            retention: Which checkpoints to keep; see `create`.
            strict: Raise what goes wrong instead of going on without it.
            rank: Which of several processes this is; see `create`.

        Returns:
            The recorder; one that does nothing where the run cannot be written.

        Raises:
            LossvizError: It cannot be written, and `strict` is set; or this is the scan worker,
                which is only importing a factory.
        """
        recorder = cls._new(path, (), strict=strict, rank=rank)
        with recorder._opening():
            recorder._know(model)
            recorder._take_classes(go_on(recorder.path))
            recorder._attend(retention)
        return recorder

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        class_names: Sequence[str] | int,
        model: nn.Module | None = None,
        model_name: str | None = None,
        dataset_name: str = "",
        hyperparameters: Mapping[str, Any] | None = None,
        epochs: int | None = None,
        scalars: Sequence[str] = (),
        factory: Factory | None = None,
        retention: Retention | None = None,
        strict: bool = False,
        rank: int | None = None,
    ) -> "RunRecorder":
        """Go on with the run at a path, or begin one where there is none.

        What a run is does not change after it was created: the arguments that describe it
        count for a new run only.

        Args:
            path: Its folder; `.zarr` is appended where it is missing.
            class_names: See `create`; those of a run that is there must be the same.
            model: See `create`.
            model_name: See `create`.
            dataset_name: See `create`.
            hyperparameters: See `create`.
            epochs: See `create`.
            scalars: See `create`.
            factory: See `create`.
            retention: See `create`.
            strict: See `create`.
            rank: See `create`.

        Returns:
            The recorder; one that does nothing where the run cannot be written.

        Raises:
            LossvizError: It cannot be written, or an argument is wrong, and `strict` is set;
                or this is the scan worker, which is only importing a factory.
        """
        if not (run_path(path) / "zarr.json").is_file():
            return cls.create(
                path,
                class_names=class_names,
                model=model,
                model_name=model_name,
                dataset_name=dataset_name,
                hyperparameters=hyperparameters,
                epochs=epochs,
                scalars=scalars,
                factory=factory,
                retention=retention,
                strict=strict,
                rank=rank,
            )
        recorder = cls._new(path, class_names, strict=strict, rank=rank)
        with recorder._opening():
            recorder._know(model)
            recorder._take_classes(names_of(class_names))
            go_on(recorder.path, recorder.class_names)
            recorder._attend(retention)
        return recorder

    @property
    def is_recording(self) -> bool:
        """Whether this process writes the run: False on other ranks, and where it could not."""
        return self._here() is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that `log_epoch` takes values of; none without a run."""
        session = self._here()
        found = () if session is None else session.writer.description.scalar_columns
        return tuple(name for name in found if name not in FILLED_IN)

    @property
    def should_stop(self) -> bool:
        """Whether somebody asked this run to stop (`lossviz-tui stop RUN`).

        Known on rank 0 only; see `should_stop_on_any_rank`.
        """
        session = self._here()
        return session is not None and session.should_stop

    def should_stop_on_any_rank(self) -> bool:
        """What rank 0 knows of `should_stop`, on every rank; all must call this together."""
        return bool(summed(np.array([self.should_stop], np.int64))[0])

    def count(self, split: Split, labels: Values, predictions: Values) -> None:
        """Count the examples of a batch, without waiting for the device.

        The counts of all batches since the last `log_epoch` belong to the next one.

        Args:
            split: "train" or "test".
            labels: Class numbers of any shape.
            predictions: Class numbers of the same shape; or logits with the classes along the
                second dimension, such as (N, C).

        Raises:
            LossvizError: They do not fit, and `strict` is set.
        """
        with self.guarded("a batch was not counted"):
            if self._here() is not None or (self._rank and is_distributed()):
                self._record.count(split, labels, predictions)

    def progress(
        self,
        *,
        epoch: int,
        step: int,
        steps_per_epoch: int = 0,
        loss: Scalar = math.nan,
        images_per_second: float = math.nan,
        phase: Literal["training", "evaluating"] = "training",
    ) -> None:
        """Say where the loop is; cheap enough for every step.

        Args:
            epoch: The epoch under way, counted from 1.
            step: Steps done in it.
            steps_per_epoch: Of how many; 0 where that is not known.
            loss: Of this step. One on a GPU is copied in the stream, at most twice a second,
                and not waited for.
            images_per_second: Recent speed.
            phase: What is going on.

        Raises:
            LossvizError: A value is none, and `strict` is set.
        """
        session = self._here()
        if session is None:
            return
        with self.guarded("progress was not noted"):
            kind = {"training": Phase.TRAINING, "evaluating": Phase.EVALUATING}[phase]
            session.progress = Progress(
                epoch=whole(epoch, "epoch"),
                step=whole(step, "step"),
                steps_per_epoch=whole(steps_per_epoch, "steps_per_epoch"),
                loss=self._probe.read(loss),
                images_per_second=float(images_per_second),
                phase=kind,
            )

    def log_epoch(
        self,
        epoch: int,
        *,
        train: SplitCounts | None = None,
        test: SplitCounts | None = None,
        scalars: Mapping[str, Scalar] | None = None,
        gather: bool = False,
        **more: Scalar,
    ) -> None:
        """Record an epoch. It is written in the background.

        Args:
            epoch: How many epochs are completed, this one included.
            train: Confusion counts of the training split; what was counted with `count` since
                the last epoch is added.
            test: Likewise of the test split. A split without counts has none.
            scalars: Values of columns. Those not given are filled in where they follow from
                something else (accuracies from the counts, the norm of the weights from the
                model, the duration from the clock), and are otherwise NaN.
            gather: Add the counts of all ranks, which must then all call this together;
                without it those of other ranks are dropped.
            **more: Further values of columns, such as `test_loss=0.3`.

        Raises:
            LossvizError: Something does not fit, and `strict` is set.
        """
        session = self._here()
        if session is None and not gather:
            # Counted on another rank for nothing; they are not of the next epoch.
            self._record.drop()
            return
        with self.guarded("an epoch was not recorded"):
            taken = self._record.take({"train": train, "test": test})
            for split, outside in taken.num_outside.items():
                self._reporter.say(
                    "examples were left out",
                    f"{outside} of the {split} split have a label or a prediction that is not "
                    f"from 0 to {len(self.class_names) - 1}",
                )
            counts = summed(taken.counts) if gather else taken.counts
            if taken.errors:
                for error in taken.errors[1:]:
                    self._reporter.say_error("a split was not counted", error)
                raise taken.errors[0]
            if session is None:
                return
            number = whole(epoch, "epoch")
            values, errors = self._record.values(
                session.writer.description.scalar_columns, counts, {**(scalars or {}), **more}
            )
            for error in errors:
                with self.guarded("a value was not recorded"):
                    raise error
            values["epoch"] = float(number)
            session.backlog.record(counts, values)
            session.last_epoch = max(session.last_epoch, number)
            # Until the loop says more: the next epoch is under way.
            session.progress = dataclasses.replace(
                session.progress, epoch=number + 1, step=0, phase=Phase.TRAINING
            )

    def save_checkpoint(
        self,
        model: nn.Module | Mapping[str, Any],
        optimizer: Statefuls | None = None,
        *,
        scheduler: Statefuls | None = None,
        epoch: int,
        step: int = 0,
        is_best: bool = False,
        with_rng: bool = True,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Copy the state of the loop to the host now, and write it in the background.

        While one checkpoint is being written, of those that follow the newest waits, and the
        best.

        Args:
            model: The model, wrapped (compiled, DDP) or not, or its state dict. Parameters
                that need no gradient are kept beside the others and do not move in a scan.
            optimizer: Its optimiser, or several.
            scheduler: Its scheduler, or several; or anything else with a state dict, such as a
                gradient scaler.
            epoch: Completed epochs.
            step: Steps into the next epoch.
            is_best: Whether it is the best so far: it is then kept.
            with_rng: Whether to keep the states of the generators of torch, NumPy and Python.
            extra: What else a resume needs: nested numbers, texts, tensors and the like.

        Raises:
            LossvizError: Something cannot be stored, and `strict` is set.
        """
        session = self._here()
        # Tensors that lie on several ranks are gathered by all of them.
        if session is None and not (is_distributed() and has_distributed(model)):
            return
        with self.guarded("a checkpoint was not saved"):
            content = take_snapshot(
                model,
                optimizer,
                scheduler,
                epoch=whole(epoch, "epoch"),
                step=whole(step, "step"),
                with_rng=with_rng,
                extra=extra,
                trainable=self._trainable,
            )
            if session is not None:
                session.backlog.checkpoint(content, is_best=is_best)

    def restore(
        self,
        model: nn.Module,
        optimizer: Statefuls | None = None,
        *,
        scheduler: Statefuls | None = None,
        with_rng: bool = True,
    ) -> RestoredPosition | None:
        """Bring the loop to where the newest checkpoint was taken, before its first step.

        A damaged checkpoint is reported, and the one before is taken.

        Args:
            model: Of the same architecture, changed in place.
            optimizer: As given to `save_checkpoint`; None leaves it as it is.
            scheduler: As given to `save_checkpoint`; None leaves it as it is.
            with_rng: Whether to set the random generators, on rank 0, whose states they are.

        Returns:
            Where the loop stands; None where the run has no checkpoint, and where what is at
            the path was refused: its weights are none of this loop's.

        Raises:
            LossvizError: No checkpoint can be read, or it belongs to another model, also
                without `strict`: going on from other weights than those of the run would not
                be what was asked for.
        """
        if self._is_refused or not (self.path / "zarr.json").is_file():
            return None
        content = RunReader(self.path).newest_sound(
            lambda damage: self._reporter.say(
                "a checkpoint is damaged, the one before is taken", str(damage)
            )
        )
        if content is None:
            return None
        return put_back(
            content, model, optimizer, scheduler, with_rng=with_rng and self._rank == 0
        )

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything handed over is on disk.

        Args:
            timeout: Seconds to wait at most; None waits as long as it takes.

        Returns:
            Whether it is; True where nothing is recorded.

        Raises:
            LossvizError: Nothing can be written any more, and `strict` is set.
        """
        session, is_done = self._here(), True
        if session is not None:
            is_done = False
            with self.guarded("not everything is written"):
                is_done = session.backlog.flush(None if timeout is None else float(timeout))
        return is_done

    def close(self, error: BaseException | None = None) -> None:
        """Write what waits, say how the run ended, and give it up; harmless when repeated.

        Args:
            error: What ended the loop, if it did not end by itself: the run has then failed,
                or was stopped where this is a KeyboardInterrupt or SystemExit.

        Raises:
            LossvizError: Not everything could be written, and `strict` is set.
        """
        session = self._here()
        if session is None:
            return
        with self.guarded("the run was not closed"):
            session.end(*ending(error, is_complete=session.is_complete))
        self._session = None

    @contextlib.contextmanager
    def guarded(self, what: str) -> Generator[None]:
        """Keep trouble away from the training: report it, or raise it where `strict` is set.

        For callbacks, around what they do on the recorder's behalf.

        Args:
            what: What could not be done if the block fails.
        """
        try:
            yield
        except Exception as error:
            if self._strict:
                raise
            self._reporter.say_error(what, error)

    def __enter__(self) -> "RunRecorder":
        """The recorder."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, with what ended the block."""
        self.close(error)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, in this process or another, is of no run: there is one writer."""
        return (type(self), (self.path, self.class_names))

    @classmethod
    def _new(
        cls,
        path: str | os.PathLike[str],
        class_names: Sequence[str] | int,
        *,
        strict: bool,
        rank: int | None,
    ) -> "RunRecorder":
        if is_building():
            raise LossvizError(
                "importing the factory begins a training; put that part of its file behind "
                "if __name__ == '__main__'"
            )
        names: tuple[str, ...] = ()
        with contextlib.suppress(LossvizError):
            names = names_of(class_names)
        rank = current_rank() if rank is None else rank
        return cls(run_path(path), names, strict=strict, rank=rank)

    @contextlib.contextmanager
    def _opening(self) -> Generator[None]:
        """Guard the opening of the run, and remember whether what is there was refused.

        Raises:
            RefusedError: It was, and `strict` is set.
        """
        with self.guarded("the run is not recorded"):
            try:
                yield
            except RefusedError:
                self._is_refused = True
                raise

    def _attend(self, retention: Retention | None) -> None:
        """Open the run, on the rank that writes it.

        Raises:
            StoreError: It cannot be written.
        """
        if self._rank == 0:
            self._session = RunSession(self.path, retention, self._reporter)
            self._session.tie_to(self)

    def _here(self) -> RunSession | None:
        """The run, where this process writes it."""
        session = self._session
        return session if session is not None and session.is_mine else None

    def _know(self, model: nn.Module | None) -> None:
        if model is not None:
            self._record.measure(unwrapped(model))
            self._trainable = trainable_names(model)

    def _take_classes(self, names: tuple[str, ...]) -> None:
        self.class_names = names
        self._record.expect(len(names))


__all__ = [
    "STANDARD_COLUMNS",
    "RestoredPosition",
    "RunRecorder",
    "Split",
    "SplitCounts",
    "Stateful",
]
