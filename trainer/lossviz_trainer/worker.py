"""The scan worker: takes scans from a run's queue and computes them, one after the other.

It keeps the model and the data on the device between scans and leaves after idling. Killed at
any instant it loses at most what it had not flushed; the next worker goes on from there.
"""

import logging
import math
import os
import sys
import time
from pathlib import Path

from lossviz_analysis.errors import LossvizError, describe
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.lock import LockHeldError, WriterLock
from lossviz_analysis.store.requests import ScanRequest
from lossviz_analysis.store.scan_queue import waiting
from lossviz_analysis.store.scan_writer import FULL_DISK_SECONDS, ScanWriter
from lossviz_analysis.store.scans import ScanReader
from lossviz_analysis.store.schema import ScanState
from lossviz_analysis.store.space import is_disk_full
from lossviz_trainer.daemon import StopFlag
from lossviz_trainer.device import choose_devices
from lossviz_trainer.duty import DutyCycle, duty_for
from lossviz_trainer.scanning import compute
from lossviz_trainer.workbench import Workbench

IDLE_SECONDS = 300.0
POLL_SECONDS = 0.02
COOL_SECONDS = 30.0
"""Idle for so long, a worker gives the memory of its GPU back."""
LOOK_SECONDS = 1.0
"""How often the queue is looked through though nothing was put into it."""

log = logging.getLogger(__name__)


def work(run: Path, *, idle_seconds: float = IDLE_SECONDS, trust: bool = False) -> int:
    """Compute the scans of a run until there has been none for a while.

    Args:
        run: The run's folder.
        idle_seconds: How long to stay without work.
        trust: Whether to call the factory of a run that its user did not record themselves.

    Returns:
        Exit code: 0, also when another worker is at it already.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    os.nice(5)  # a picture may wait for the training it is about
    stop = StopFlag()
    stop.listen()
    bench = Workbench(run, trust=trust)
    lock = WriterLock(run / "scans")
    while True:
        try:
            lock.acquire()
        except LockHeldError:
            log.info("another worker computes the scans of %s", run)
            return 0
        except StoreError as error:
            log.warning("%s", error)
            return 1
        _serve(run, bench, stop, idle_seconds)
        lock.release()
        # Whoever asked while the lock was still held started no worker of their own.
        if stop() or bench.lacks_trust or not waiting(run):
            return 0


class _Queue:
    """The scans that wait, without reading every one of them fifty times a second."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._seen = -1
        self._looked = -math.inf

    def has_changed(self) -> bool:
        """Whether something may have been asked for since nothing was found."""
        return self._modified() != self._seen

    def _modified(self) -> int:
        # Asking for a scan renames a folder into this one.
        try:
            return (self._run / "scans").stat().st_mtime_ns
        except OSError:
            return 0

    def waiting(self) -> list[ScanReader]:
        """What is to be done, the next one first; nothing where nothing has changed."""
        changed = self._modified()
        now = time.monotonic()
        if changed == self._seen and now - self._looked < LOOK_SECONDS:
            return []
        self._looked = now
        found = waiting(self._run)
        if not found:
            self._seen = changed
        return found


def _serve(run: Path, bench: Workbench, stop: StopFlag, idle_seconds: float) -> None:
    idle_since = time.monotonic()
    queue, training, is_warm = _Queue(run), DutyCycle(run), False
    while not stop() and (idle := time.monotonic() - idle_since) < idle_seconds:
        scans = queue.waiting()
        if not scans:
            if is_warm and idle >= COOL_SECONDS:
                bench.cool_down()
                is_warm = False
            if not _work_ahead(bench, queue, stop, training):
                time.sleep(POLL_SECONDS)
            continue
        is_warm = True
        try:
            _take(scans[0], bench, stop)
        except OSError as error:
            # Whatever the disk has against it: the scan is still there to be gone on with.
            log.warning("scan %s cannot be written: %s", scans[0].scan_id, error)
            time.sleep(FULL_DISK_SECONDS)
        except LockHeldError:
            time.sleep(POLL_SECONDS)
        if bench.lacks_trust:
            return  # so that a worker that is trusted can take this one's place
        idle_since = time.monotonic()


class _WantedError(Exception):
    """There is something better to do."""


def _work_ahead(bench: Workbench, queue: _Queue, stop: StopFlag, training: DutyCycle) -> bool:
    """Do a piece of what the next scan may need, unless the run is being trained.

    Returns:
        Whether something was done, or is to be done now.
    """
    if bench.ahead is None or training.is_trained():
        return False

    def look() -> None:
        if stop() or queue.has_changed():
            raise _WantedError

    bench.on_idle = look
    try:
        if bench.ahead():
            return True
    except _WantedError:
        return True
    except Exception:
        log.exception("nothing could be made ahead")
    bench.ahead = None
    return False


def _take(scan: ScanReader, bench: Workbench, stop: StopFlag) -> None:
    """Compute one scan; whatever goes wrong becomes the state of that scan, with a sentence.

    Raises:
        OSError: The scan cannot be written; it stays as it is.
        LockHeldError: Another worker has it.
    """
    writer = ScanWriter(scan.folder)
    try:
        request = writer.claim()
    except LockHeldError:
        raise
    except StoreError as error:
        log.warning("scan %s cannot be read: %s", scan.scan_id, error)
        writer.reject(str(error))
        return
    log.info("scan %s: %s", scan.scan_id, request)
    try:
        state, sentence = _compute(bench, writer, request, stop)
        if state is None:
            writer.pause()
            log.info("scan %s interrupted; the next worker goes on", scan.scan_id)
            return
        _finish(writer, state, sentence, stop)
        log.info("scan %s: %s %s", scan.scan_id, state.name.lower(), sentence)
    finally:
        writer.release()


def _compute(
    bench: Workbench, writer: ScanWriter, request: ScanRequest, stop: StopFlag
) -> tuple[ScanState | None, str]:
    """How a scan ended, None if it is to be gone on with, and the sentence for people.

    Raises:
        OSError: The scan cannot be written.
    """
    try:
        if writer.is_cancelled():
            return ScanState.CANCELLED, ""
        device = choose_devices(request.device)[0]
        return compute(bench, writer, request, stop, duty_for(bench.reader.path, device)), ""
    except LossvizError as error:
        return ScanState.FAILED, str(error)
    except OSError as error:
        if is_disk_full(error):
            raise
        log.exception("scan failed")
        return ScanState.FAILED, f"{describe(error)} (the worker's log has the rest)"
    except Exception as error:
        log.exception("scan failed")
        return ScanState.FAILED, f"{describe(error)} (the worker's log has the rest)"


def _finish(writer: ScanWriter, state: ScanState, sentence: str, stop: StopFlag) -> None:
    """Say how a scan ended, also if the disk is full just then: what is computed is kept.

    Raises:
        OSError: It cannot be written, for another reason or because the worker has to go.
    """
    while True:
        try:
            writer.finish(state, sentence)
        except OSError as error:
            if not is_disk_full(error) or stop():
                raise
            log.warning("the disk is full; the finished scan waits in memory")
            time.sleep(FULL_DISK_SECONDS)
        else:
            return
