"""A paused training: a process without torch that holds the run until it may go on."""

import contextlib
import json
import logging
import sys
import time
from pathlib import Path
from types import FrameType

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.control import Wish
from lossviz_analysis.store.waiting import PausedRun
from lossviz_trainer.process import listen

LOOK_SECONDS = 0.2

log = logging.getLogger(__name__)


def wait(spec: str, lock: int) -> bool:
    """Hold a paused run until it is to go on, to stop, or is gone.

    Args:
        spec: The training spec as JSON.
        lock: Descriptor of the run's lock, handed over by the daemon.

    Returns:
        Whether it is to go on; the lock is then still held under the same descriptor.
    """
    asked: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    listen(on_signal)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    run = PausedRun(Path(json.loads(spec)["run"]))
    try:
        run.adopt(lock)
        while run.is_there():
            wish = run.wish()
            if asked or wish == Wish.STOP:
                run.stop()
                log.info("stopped while paused; resume goes on from here")
                return False
            if wish == Wish.NOTHING:
                run.hand_over()
                return True
            time.sleep(LOOK_SECONDS)
    except LossvizError as error:
        log.warning("%s", error)
        return False
    log.warning("%s was moved or deleted while it was paused", run.path)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    return False
