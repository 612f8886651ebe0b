"""`python -P -m lossviz_trainer train SPEC | wait SPEC LOCK | work RUN [--trust] | bench SPEC`.

Started with -P, so that a file of the user's that happens to be called like one of ours is not
imported from the folder they stand in. What needs torch is imported late: a paused training is
to do without it.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.process import become, report
from lossviz_trainer.spec import TrainingSpec
from lossviz_trainer.waiting import wait

USAGE = (
    "usage: python -P -m lossviz_trainer train SPEC | wait SPEC LOCK | work RUN [--trust] "
    "| bench SPEC"
)


def main(arguments: list[str]) -> int:
    """Do what the arguments say.

    Args:
        arguments: Words after the module's name.

    Returns:
        The exit code.
    """
    match arguments:
        case ["train", spec, *lock]:
            try:
                parsed = TrainingSpec.from_json(spec)
            except LossvizError as error:
                report("error", message=str(error))
                return 2
            daemon: Any = importlib.import_module("lossviz_trainer.daemon")
            return daemon.train(parsed, int(lock[0]) if lock else None)
        case ["wait", spec, lock]:
            if wait(spec, int(lock)):
                become("train", spec, int(lock))
            return 0
        case ["work", run, *trust] if trust in ([], ["--trust"]):
            worker: Any = importlib.import_module("lossviz_trainer.worker")
            return worker.work(Path(run), trust=bool(trust))
        case ["bench", spec]:
            runner: Any = importlib.import_module("lossviz_trainer.bench.run")
            return runner.main(spec)
        case _:
            report("error", message=USAGE)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
