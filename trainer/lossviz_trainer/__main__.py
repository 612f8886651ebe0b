"""`python -P -m lossviz_trainer train SPEC | work RUN`, as the command line starts them.

Started with -P, so that a file of the user's that happens to be called like one of ours is not
imported from the folder they stand in.
"""

import sys
from pathlib import Path

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.daemon import report, train
from lossviz_trainer.spec import TrainingSpec
from lossviz_trainer.worker import work


def main(arguments: list[str]) -> int:
    """Do what the arguments say.

    Args:
        arguments: Words after the module's name.

    Returns:
        The exit code.
    """
    match arguments:
        case ["train", spec]:
            try:
                parsed = TrainingSpec.from_json(spec)
            except LossvizError as error:
                report("error", message=str(error))
                return 2
            return train(parsed)
        case ["work", run]:
            return work(Path(run))
        case _:
            report("error", message="usage: python -P -m lossviz_trainer train SPEC | work RUN")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
