"""Where a person looks while a scan is computed: there its worker goes on first."""

import numpy as np

from lossviz_analysis.store.scans import look_at, scan_folder
from lossviz_tui.scene import Scene

EVERY_SECONDS = 0.5
"""A cursor that is moved by a held key asks no more often."""


class Attention:
    """Tells workers about the cursor; two threads that do so at once do no harm."""

    def __init__(self) -> None:
        self._asked: tuple[str, int] | None = None
        self._asked_at = -np.inf

    def turn_to(self, scene: Scene, now: float) -> None:
        """Ask for the grid point under the cursor, unless it is done or was asked for."""
        picture, point, row = scene.shown_picture, scene.point, scene.scan
        if picture is None or point is None or row is None or row.word != "running":
            return
        if all(split.is_complete[point] for split in picture.result.splits.values()):
            return
        shape = tuple(len(axis) for axis in picture.result.coordinates)
        wanted = (row.scan_id, int(np.ravel_multi_index(point, shape)))
        if wanted == self._asked or now - self._asked_at < EVERY_SECONDS or scene.view is None:
            return
        look_at(scan_folder(scene.view.path, row.scan_id), wanted[1])
        self._asked, self._asked_at = wanted, now
