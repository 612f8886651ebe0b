"""The order in which the scans of a run are computed: of asking, unless somebody changed it.

One small file names scans in the order somebody wants; what it does not name comes after, by
the time of asking, and what it names though it does not wait is passed over. A run without the
file, every older one, is as if nobody had changed anything.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lossviz_analysis.store.durable import put
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.files import read_regular
from lossviz_analysis.store.scans import ScanReader, find_scans, unfinished

QUEUE_NAME = "queue"
_MAX_BYTES = 2**18
MAX_NAMED = 2_000
"""More waiting scans than these stay in the order of asking."""


def waiting(run: Path) -> list[ScanReader]:
    """The scans that wait for a worker, the next one first.

    Args:
        run: The run's folder.

    Returns:
        Queued scans, and those left half-done by a dead worker.
    """
    return in_order(unfinished(find_scans(run)), read_order(run))


def in_order(scans: Iterable[ScanReader], order: Sequence[str]) -> list[ScanReader]:
    """Scans as somebody wants them computed.

    Args:
        scans: Oldest first.
        order: Ids, the next one first; it may name others and leave some out.

    Returns:
        Those that are named, as they are named, then the others as they came.
    """
    places = {scan_id: place for place, scan_id in reversed(list(enumerate(order)))}
    return sorted(scans, key=lambda scan: places.get(scan.scan_id, len(places)))


def read_order(run: Path) -> tuple[str, ...]:
    """The order somebody asked for.

    Args:
        run: The run's folder.

    Returns:
        Ids of scans, the next one first; none where nobody asked, or what is there is no list.
    """
    try:
        text = read_regular(run / "scans" / QUEUE_NAME, _MAX_BYTES).decode()
    except (OSError, ValueError):
        return ()
    return tuple(text.split()[:MAX_NAMED])


def set_order(run: Path, order: Sequence[str]) -> None:
    """Ask for scans to be computed in some order; durable, and the whole list at once.

    A scan that is being computed is not disturbed.

    Args:
        run: The run's folder.
        order: Ids, the next one first; those left out come after.

    Raises:
        StoreError: It cannot be written.
    """
    content = "".join(f"{scan_id}\n" for scan_id in order[:MAX_NAMED]).encode()
    try:
        # The rename also tells a worker that looks at the folder's time.
        put(run / "scans" / QUEUE_NAME, content, durable=True)
    except OSError as error:
        raise StoreError(f"{run} cannot be written: {error.strerror}") from None
