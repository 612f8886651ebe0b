"""Whether what is at a path is the run of a training loop, or can become it."""

from pathlib import Path

from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription, read_description
from lossviz_analysis.store.fields import StoreError
from lossviz_trainer.problem import is_recorded


class RefusedError(StoreError):
    """What is at the path is not the run of this loop."""


def begin(path: Path, description: RunDescription) -> None:
    """Create a run.

    Args:
        path: Where.
        description: What it is.

    Raises:
        RefusedError: It cannot be created; if something is there, it is another run.
    """
    try:
        create_run(path, description)
    except StoreError as error:
        raise RefusedError(str(error)) from error


def go_on(path: Path, class_names: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """See whether the run at a path can be gone on with.

    Args:
        path: The run's folder.
        class_names: Those of the loop; None takes whatever classes the run has.

    Returns:
        The run's classes.

    Raises:
        StoreError: There is no readable run.
        RefusedError: It is one of other classes, or the training daemon trains it.
    """
    description = read_description(path)
    if not is_recorded(description):
        raise RefusedError(
            f"{path} is a run that `lossviz-tui train` trains, with columns and a model of its "
            "own; choose another name"
        )
    found = description.class_names
    if class_names is not None and found != class_names:
        raise RefusedError(
            f"{path} is a run of other classes ({len(found)}: {', '.join(found[:3])}, ...); "
            "choose another name"
        )
    return found
