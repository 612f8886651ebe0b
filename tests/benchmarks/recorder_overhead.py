"""What the recorder costs the training loop it records.

The same loop over the digits, with and without a recorder by turns in one process: seconds of
an epoch, the share of an epoch spent inside calls of the recorder on the training's own thread,
and the steps that were done while a checkpoint was being written.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from lossviz_analysis.store.writer import RunWriter
from lossviz_analysis.weightspace.examples import Examples
from lossviz_trainer import RunRecorder
from lossviz_trainer.datasets.digits import load_digits
from lossviz_trainer.models import build_model
from lossviz_trainer.resident import ResidentData, move_to_device

BATCH = 64


@dataclass
class Spent:
    """Seconds of the training thread inside the recorder, by what was called."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def on(self, what: str):
        started = time.perf_counter()
        yield
        self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - started


class Writes:
    """When checkpoints were being written."""

    def __init__(self) -> None:
        self.is_writing = threading.Event()
        self.seconds: list[float] = []
        real = RunWriter.commit_checkpoint

        def timed(*args: Any, **more: Any) -> Any:
            self.is_writing.set()
            started = time.perf_counter()
            try:
                return real(*args, **more)
            finally:
                self.seconds.append(time.perf_counter() - started)
                self.is_writing.clear()

        RunWriter.commit_checkpoint = timed  # type: ignore[method-assign]


def small_cnn() -> nn.Module:
    """Three convolutions: the less a step takes, the more a recorder would show."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 9, 10),
    )


class Loop:
    """One model in training."""

    def __init__(self, name: str, data: ResidentData) -> None:
        model = small_cnn() if name == "cnn" else build_model(name, 10, seed=0)
        self.model: nn.Module = model.to(data.train.labels.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self.data = data
        self.steps_while_writing = 0
        self.epoch = 0

    def train_epoch(self, recorder: RunRecorder | None, spent: Spent, writes: Writes) -> float:
        """One epoch and its evaluation; returns its seconds."""
        started = time.perf_counter()
        self.epoch += 1
        train = self.data.train
        order = torch.randperm(len(train), device=train.labels.device)
        num_steps = len(order) // BATCH
        self.model.train()
        for step in range(num_steps):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            logits = self.model(train.prepare(train.images[chosen], torch.float32))
            loss = functional.cross_entropy(logits, train.labels[chosen])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.steps_while_writing += writes.is_writing.is_set()
            if recorder is not None:
                with spent.on("progress"):
                    recorder.progress(
                        epoch=self.epoch, step=step + 1, steps_per_epoch=num_steps, loss=loss
                    )
        self._evaluate(recorder, spent)
        if recorder is not None:
            with spent.on("log_epoch"):
                recorder.log_epoch(self.epoch)
            with spent.on("save_checkpoint"):
                recorder.save_checkpoint(self.model, self.optimizer, epoch=self.epoch)
        return time.perf_counter() - started

    @torch.no_grad()
    def _evaluate(self, recorder: RunRecorder | None, spent: Spent) -> None:
        self.model.eval()
        test: Examples = self.data.test
        for start in range(0, len(test), BATCH):
            logits = self.model(test.inputs(start, start + BATCH, torch.float32))
            if recorder is not None:
                with spent.on("count"):
                    recorder.count("test", test.labels[start : start + BATCH], logits)


def measure(name: str, epochs: int, device: torch.device) -> None:
    data = move_to_device(load_digits(), device)
    writes, spent = Writes(), Spent()
    seconds: dict[bool, list[float]] = {False: [], True: []}
    cpu_seconds: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        loops: dict[bool, Loop] = {which: Loop(name, data) for which in (False, True)}
        recorder = RunRecorder.create(
            Path(folder) / "run", class_names=10, model=loops[True].model, strict=True
        )
        for turn in range(epochs + 1):
            if turn == 1:  # the first turn only warms up
                spent.seconds.clear()
            for which in (False, True) if turn % 2 else (True, False):
                cpu_started = time.process_time()
                found = loops[which].train_epoch(recorder if which else None, spent, writes)
                if turn:
                    seconds[which].append(found)
                    cpu_seconds[which].append(time.process_time() - cpu_started)
                # So that no write of one loop falls into an epoch of the other.
                if which and turn % 2 == 0:
                    recorder.flush()
        # Without a flush: an epoch begins while the checkpoint of the one before is written.
        for _ in range(2):
            loops[True].train_epoch(recorder, Spent(), writes)
        recorder.close()
    plain, recorded = (statistics.median(seconds[which]) for which in (False, True))
    cpu_plain, cpu_recorded = (statistics.median(cpu_seconds[w]) for w in (False, True))
    inside = sum(spent.seconds.values())
    print(f"{name} on {device}, {epochs} epochs each, {torch.get_num_threads()} threads")
    print(f"{'epoch without recorder':34} {plain:10.4f} s (median)")
    print(f"{'epoch with recorder':34} {recorded:10.4f} s (median)")
    print(f"{'difference':34} {100 * (recorded / plain - 1):10.2f} %")
    # Of every thread, the background included; neighbours on the machine do not show in it.
    print(f"{'CPU time without recorder':34} {cpu_plain:10.4f} s (median)")
    print(f"{'CPU time with recorder':34} {cpu_recorded:10.4f} s (median)")
    row: Callable[[str, float], str] = lambda what, s: (  # noqa: E731
        f"{'  in ' + what:34} {1000 * s / epochs:10.3f} ms an epoch "
        f"{100 * s / sum(seconds[True]):8.3f} %"
    )
    for what, total in spent.seconds.items():
        print(row(what, total))
    print(row("all calls, training thread", inside))
    writing = sum(writes.seconds) / len(writes.seconds)
    print(f"{'a checkpoint is written in':34} {1000 * writing:10.1f} ms, in the background")
    print(f"{'steps ended while one was written':34} {loops[True].steps_while_writing:10d}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    chosen = parser.parse_args()
    measure(chosen.model, chosen.epochs, torch.device(chosen.device))


if __name__ == "__main__":
    main()
