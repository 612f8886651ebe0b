"""Several devices, or several CPU processes, on one scan: one queue, one writer.

Each process builds the scan from the store and evaluates the visits it is sent. There are no
collective operations: whoever is done gets the next group, and what a lost process had goes
back to the queue.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.scans import ScanReader
from lossviz_analysis.weightspace.planner import Planner, Visit
from lossviz_analysis.weightspace.scan import GROUP_VISITS, CellChunks, totals_of
from lossviz_trainer.scan_setup import attach, make_engine
from lossviz_trainer.workbench import Workbench

LOOK_SECONDS = 0.1
"""How often the caller hears of nothing, so that it can look for a cancel."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Worker:
    """One process and what it is about."""

    name: str
    process: SpawnProcess
    connection: Connection
    is_ready: bool = False
    visits: list[Visit] = field(default_factory=list[Visit])


@dataclass(frozen=True)
class _Job:
    """What a process is told at its start."""

    run: str
    scan_id: str
    device: str
    micro_batch: int | None
    """None for the best on its own device."""
    threads: int
    trust: bool


class Pool:
    """Processes that share a scan."""

    def __init__(
        self,
        run: Path,
        scan_id: str,
        devices: tuple[torch.device, ...],
        *,
        micro_batch: int,
        trust: bool,
    ) -> None:
        """Start one process for each device.

        Args:
            run: The run's folder.
            scan_id: The scan, which has begun.
            devices: One may be named several times.
            micro_batch: Of the processes on devices of the first one's kind.
            trust: Whether to call the factory of a run the user did not record.
        """
        self.notes: list[str] = []
        """Sentences about processes that were lost."""
        context = multiprocessing.get_context("spawn")
        shares = sum(device.type == "cpu" for device in devices)
        threads = max(1, torch.get_num_threads() // max(1, shares))
        self._workers: list[_Worker] = []
        for number, device in enumerate(devices):
            here, there = context.Pipe()
            given = micro_batch if device.type == devices[0].type else None
            job = _Job(str(run), scan_id, str(device), given, threads, trust)
            process = context.Process(
                target=_serve, args=(there, os.getpid(), job), daemon=True
            )
            process.start()
            there.close()
            self._workers.append(_Worker(f"{number}:{device}", process, here))

    def share(
        self,
        planner: Planner,
        num_classes: int,
        group_examples: Callable[[], int],
        bounds: tuple[tuple[int, ...], ...],
    ) -> Generator[list[CellChunks], None, None]:
        """Have a planner's work done.

        Args:
            planner: Says what.
            num_classes: Of the data.
            group_examples: About how many examples the next group may have.
            bounds: Where the chunks of each split begin and end.

        Yields:
            Sums of cells as they come; empty at times.

        Raises:
            LossvizError: A process cannot compute it, or all are lost.
        """
        while True:
            for worker in self._workers:
                if worker.is_ready and not worker.visits:
                    self._send(worker, planner, group_examples(), bounds)
            if planner.is_finished:
                return
            if not self._workers:
                raise LossvizError("every process of this scan was lost; its log says more")
            ready = wait([worker.connection for worker in self._workers], LOOK_SECONDS)
            cells: list[CellChunks] = []
            for worker in [w for w in self._workers if w.connection in ready]:
                cells += self._receive(worker, planner, num_classes)
            yield cells

    def close(self) -> None:
        """End every process."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()

    def _send(
        self,
        worker: _Worker,
        planner: Planner,
        room: int,
        bounds: tuple[tuple[int, ...], ...],
    ) -> None:
        while len(worker.visits) < GROUP_VISITS and room > 0:
            visit = planner.next(room, worker.name)
            if visit is None:
                break
            worker.visits.append(visit)
            edges = bounds[visit.split]
            room -= edges[visit.chunks.stop] - edges[visit.chunks.start]
        if worker.visits:
            try:
                worker.connection.send(worker.visits)
            except OSError:
                self._lose(worker, planner)

    def _receive(self, worker: _Worker, planner: Planner, num_classes: int) -> list[CellChunks]:
        """What a process has to say.

        Raises:
            LossvizError: It cannot compute this scan.
        """
        try:
            found: list[CellChunks] | str | None = worker.connection.recv()
        except (EOFError, OSError):
            self._lose(worker, planner)
            return []
        if isinstance(found, str):
            raise LossvizError(found)
        if found is None:
            worker.is_ready = True
            return []
        for cell in found:
            planner.add(cell.visit, totals_of(cell.sums, num_classes).sum(axis=0))
        worker.visits = []
        return found

    def _lose(self, worker: _Worker, planner: Planner) -> None:
        for visit in worker.visits:
            planner.lose(visit)
        planner.release(worker.name)
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join(1.0)
        log.warning("process %s was lost, code %s", worker.name, worker.process.exitcode)
        self.notes.append(
            f"a process on {worker.name.partition(':')[2]} was lost; others did its work"
        )


def _serve(connection: Connection, parent: int, job: _Job) -> None:
    """Evaluate visits until nobody asks any more."""
    # The parent hears the signals meant for the worker, and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(job.threads)
    with contextlib.suppress(EOFError, OSError):
        try:
            evaluate = _engine_for(job)
        except LossvizError as error:
            connection.send(str(error))
            return
        connection.send(None)
        while os.getppid() == parent:
            if connection.poll(1.0):
                connection.send(evaluate(connection.recv()))


def _engine_for(job: _Job) -> Callable[[list[Visit]], list[CellChunks]]:
    run = Path(job.run)
    bench = Workbench(run, trust=job.trust)
    request = ScanReader(run, job.scan_id).request
    setup = attach(bench, job.scan_id, request, torch.device(job.device), job.micro_batch)
    if setup is None:
        raise LossvizError(f"scan {job.scan_id} has not begun")
    return make_engine(setup).engine.evaluate
