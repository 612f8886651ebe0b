"""Everything that runs as a GPU process: models, data, training daemon, scan worker, recorder.

`RunRecorder` records a training loop of the user's own; it is loaded, and torch with it, when
it is asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossviz_trainer.recorder import RunRecorder

__all__ = ["RunRecorder"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "RunRecorder":
        return importlib.import_module("lossviz_trainer.recorder").RunRecorder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
