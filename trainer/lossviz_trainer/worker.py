"""The scan worker: takes scans from a run's queue and computes them, one after the other.

It keeps the model and the data on the device between scans and leaves after idling. Killed at
any instant it loses at most what it had not flushed; the next worker goes on from there.
"""

import logging
import os
import sys
import time
from pathlib import Path

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.lock import LockHeldError, WriterLock
from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.scans import ScanReader, find_scans, unfinished
from lossviz_analysis.store.schema import ScanState
from lossviz_trainer.daemon import StopFlag
from lossviz_trainer.scanning import Workbench, compute

IDLE_SECONDS = 300.0
POLL_SECONDS = 0.1

log = logging.getLogger(__name__)


def work(run: Path, *, idle_seconds: float = IDLE_SECONDS) -> int:
    """Compute the scans of a run until there has been none for a while.

    Args:
        run: The run's folder.
        idle_seconds: How long to stay without work.

    Returns:
        Exit code: 0, also when another worker is at it already.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    os.nice(5)  # a picture may wait for the training it is about
    stop = StopFlag()
    stop.listen()
    bench = Workbench(run)
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
        if stop() or not unfinished(find_scans(run)):
            return 0


def _serve(run: Path, bench: Workbench, stop: StopFlag, idle_seconds: float) -> None:
    idle_since = time.monotonic()
    while not stop() and time.monotonic() - idle_since < idle_seconds:
        waiting = unfinished(find_scans(run))
        if not waiting:
            time.sleep(POLL_SECONDS)
            continue
        _take(waiting[0], bench, stop)
        idle_since = time.monotonic()


def _take(scan: ScanReader, bench: Workbench, stop: StopFlag) -> None:
    """Compute one scan; whatever goes wrong becomes the state of that scan, with a sentence."""
    writer = ScanWriter(scan.folder)
    try:
        request = writer.claim()
    except LockHeldError:
        return
    except StoreError as error:
        log.warning("scan %s cannot be read: %s", scan.scan_id, error)
        writer.reject(str(error))
        return
    log.info("scan %s: %s", scan.scan_id, request)
    try:
        if writer.is_cancelled():
            writer.finish(ScanState.CANCELLED)
            return
        state = compute(bench, writer, request, stop)
    except LossvizError as error:
        log.warning("scan %s failed: %s", scan.scan_id, error)
        writer.finish(ScanState.FAILED, str(error))
        return
    except Exception as error:
        log.exception("scan %s failed", scan.scan_id)
        first_line = (str(error).strip().splitlines() or [""])[0]
        sentence = f"{type(error).__name__}: {first_line} (the worker's log has the rest)"
        writer.finish(ScanState.FAILED, sentence)
        return
    if state is None:
        writer.pause()
        log.info("scan %s interrupted; the next worker goes on", scan.scan_id)
    else:
        writer.finish(state)
        log.info("scan %s: %s", scan.scan_id, state.name.lower())
