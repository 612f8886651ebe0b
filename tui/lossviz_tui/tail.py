"""Following a run from a thread: cheap heads first, then only what is new, told as messages."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from textual.message import Message

from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.head import RunHead
from lossviz_analysis.store.reader import Pulse, RunReader, standing
from lossviz_analysis.store.scan_queue import read_order
from lossviz_analysis.store.scans import ScanReader, find_scans
from lossviz_tui.gpus import GpuWatch
from lossviz_tui.history import RunHistory, RunView
from lossviz_tui.launch import has_worker
from lossviz_tui.listing import RunLister, RunRow, ScanRow, scan_groups, scan_row, with_places
from lossviz_tui.liveness import PATIENCE_SECONDS, silence
from lossviz_tui.messages import (
    GpusSampled,
    OverlaysAdvanced,
    RowsRead,
    RunAdvanced,
    RunsListed,
    RunStirred,
    ScanFilled,
    ScansListed,
    TroubleChanged,
)
from lossviz_tui.overlay import OverlayFollower
from lossviz_tui.picture import picture_of
from lossviz_tui.scene import ScanPicture, Standing

LIST_SECONDS = 2.0
FEW_RECORDS = 3
"""Up to here the batches are shown: curves of epochs have not begun to move."""
STALL_FACTOR = 3.0
"""A live run counts as stalled after so many median epoch times without a record."""
STALL_SECONDS = 30.0
"""And never before this."""
READ_SECONDS = 0.15
"""How long one look may read: the first view comes soon, the rest piece by piece."""
TELL_SECONDS = 1.0
"""At most so often it is told that more of what is there already has been read."""


@dataclass
class _Following:
    """What has been seen of the run being followed."""

    reader: RunReader
    history: RunHistory
    nonce: int
    focusing: int
    """Which change of focus it answers."""
    head: RunHead | None = None
    view: RunView | None = None
    data_seen: float = 0.0
    pulse: Pulse | None = None
    pulse_seen: float = 0.0
    attempt_seen: float = -math.inf
    standing: Standing | None = None
    scans: tuple[ScanRow, ...] | None = None
    picture_key: tuple[object, ...] | None = None
    pictures: dict[str, tuple[int, ScanPicture | None]] = field(
        default_factory=dict[str, "tuple[int, ScanPicture | None]"]
    )
    """Of the series in focus, by scan, as of its head's sequence."""
    scan_told: str = ""
    view_told: float = -math.inf
    rows_told: float = -math.inf
    has_rows_to_tell: bool = False


class Tail:
    """Follows one run and the list of runs; every method runs on the thread that polls."""

    def __init__(self, folder: Path, post: Callable[[Message], object]) -> None:
        self.folder = folder
        self._post = post
        self._run: Path | None = None
        self._scan_id: str | None = None
        self._beside: str | None = None
        self._focusings = 0
        self._following: _Following | None = None
        self._lister = RunLister()
        self._overlaid: tuple[Path, ...] = ()
        self._overlays = OverlayFollower()
        self._gpus = GpuWatch()
        self._runs: tuple[RunRow, ...] = ()
        self._listed = -math.inf
        self._trouble = ""

    def focus(self, run: Path | None, scan_id: str | None, beside: str | None = None) -> None:
        """Follow another run or scan from the next step on; safe to call from any thread.

        Beside the scan in focus, or the newest, one more can be followed.
        """
        if run != self._run:
            # Also when the old run comes back before a step: it is to be told anew.
            self._focusings += 1
        self._run, self._scan_id, self._beside = run, scan_id, beside

    def overlay(self, runs: tuple[Path, ...]) -> None:
        """Read other runs along with the one followed; safe to call from any thread."""
        self._overlaid = runs

    def step(self) -> bool:
        """Look once; tell what is new. Whether there is more to read at once."""
        # The run first: the walk through a large folder takes seconds.
        looks = [
            _sound(look) for look in (self._look_at_run, self._look_at_list, self._look_beside)
        ]
        trouble = next((sentence for sentence, _ in looks if sentence), "")
        has_more = any(more for _, more in looks)
        if trouble != self._trouble:
            self._trouble = trouble
            self._post(TroubleChanged(trouble))
        return has_more

    def _look_at_run(self) -> tuple[str, bool]:
        return ("", False) if self._run is None else self._follow(self._run)

    def _look_at_list(self) -> tuple[str, bool]:
        if time.monotonic() - self._listed >= LIST_SECONDS:
            self._list_runs()
        return "", False

    def _list_runs(self) -> None:
        self._listed = time.monotonic()
        rows = self._lister.rows(self.folder)
        if [_key(row) for row in rows] != [_key(row) for row in self._runs]:
            self._runs = rows
            self._post(RunsListed(rows))

    def _look_beside(self) -> tuple[str, bool]:
        """Look at the marked runs and at the GPUs."""
        now = time.monotonic()
        overlays = self._overlays.step(self._overlaid, now, seconds=READ_SECONDS)
        if overlays is not None:
            self._post(OverlaysAdvanced(overlays))
        gpus = self._gpus.step(now)
        if gpus is not None:
            self._post(GpusSampled(gpus))
        return "", self._overlays.has_more

    def _follow(self, path: Path) -> tuple[str, bool]:
        """What cannot be read of a run, and whether there is more to read of it."""
        now, focusing = time.monotonic(), self._focusings
        seen = self._following
        if seen is not None and (seen.reader.path, seen.focusing) != (path, focusing):
            seen = None
        head = (seen.reader if seen else RunReader(path)).head()
        if seen is None or seen.nonce != head.nonce:
            reader = RunReader(path)
            seen = _Following(reader, RunHistory(reader), head.nonce, focusing)
            quiet = silence(path)
            seen.pulse = reader.pulse()
            seen.pulse_seen = now - (quiet if math.isfinite(quiet) else 0.0)
            self._following = seen
        self._advance(seen, head, now)
        if seen.head is not None and seen.head.attempt != head.attempt:
            seen.attempt_seen = seen.pulse_seen = now  # a resumed run starts its patience anew
        seen.head = head
        self._tell_standing(seen, head, now)
        self._tell_scans(seen)
        has_more = self._read_rows(seen, now) or seen.history.num_waiting > 0
        unreadable = seen.view.unreadable if seen.view is not None else ()
        return (unreadable[0] if unreadable else ""), has_more

    def _advance(self, seen: _Following, head: RunHead, now: float) -> None:
        """Read what is new, and some of what is not read yet."""
        before = seen.view
        is_new = seen.head is None or seen.head.num_records != head.num_records
        if not (is_new or seen.history.num_waiting or seen.history.has_unreadable):
            return
        view = seen.history.advance(head, seconds=READ_SECONDS)
        seen.view = view
        if is_new:
            seen.data_seen = now - (_backdated(view) if seen.head is None else 0.0)
        has_grown = before is None or len(view.class_epochs) != len(before.class_epochs)
        is_due = not view.num_waiting or now - seen.view_told >= TELL_SECONDS
        if is_new or (has_grown and is_due):
            seen.view_told = now
            self._post(RunAdvanced(seen.reader.path, view))

    def _read_rows(self, seen: _Following, now: float) -> bool:
        """Read rows a view waits for, once the records are read; whether there may be more."""
        if seen.history.num_waiting:
            return False
        has_read = seen.history.read_on(READ_SECONDS)
        seen.has_rows_to_tell = seen.has_rows_to_tell or has_read
        if seen.has_rows_to_tell and (not has_read or now - seen.rows_told >= TELL_SECONDS):
            seen.has_rows_to_tell, seen.rows_told = False, now
            self._post(RowsRead())
        return has_read

    def _tell_standing(self, seen: _Following, head: RunHead, now: float) -> None:
        pulse = seen.reader.pulse()
        # By its counter: a loss of NaN differs from itself.
        if pulse is not None and _beat(pulse) != _beat(seen.pulse):
            seen.pulse, seen.pulse_seen = pulse, now
        found = standing(seen.reader, head)
        word, message = found.word, found.message
        why = _why_stalled(seen, now) if word == "live" else ""
        if why:
            word, message = "stalled", why
        told = Standing(
            word=word,
            message=message,
            pulse=seen.pulse,
            data_seen=seen.data_seen,
            worker_is_up=has_worker(seen.reader.path),
            steps=seen.reader.steps() if head.num_records < FEW_RECORDS else None,
        )
        if told != seen.standing:
            seen.standing = told
            self._post(RunStirred(seen.reader.path, told))

    def _tell_scans(self, seen: _Following) -> None:
        scans = find_scans(seen.reader.path)
        rows = with_places([scan_row(scan) for scan in scans], read_order(seen.reader.path))
        if rows != seen.scans:
            seen.scans = rows
            self._post(ScansListed(seen.reader.path, rows))
        if not scans:
            return
        chosen = next((s for s in scans if s.scan_id == self._scan_id), scans[-1])
        group = next(g for g in scan_groups(rows) if chosen.scan_id in {r.scan_id for r in g})
        members = {row.scan_id for row in group}
        beside = next((scan for scan in scans if scan.scan_id == self._beside), None)
        series = [scan for scan in scans if scan.scan_id in members]
        self._tell_picture(seen, chosen, series, beside)

    def _tell_picture(
        self,
        seen: _Following,
        chosen: ScanReader,
        series: Sequence[ScanReader],
        beside: ScanReader | None,
    ) -> None:
        """Tell the pictures of a scan, its series and the one beside, where any has changed."""
        view = seen.view
        if view is None:
            return
        found: dict[str, tuple[int, ScanPicture | None]] = {}
        unreadable: dict[str, str] = {}
        members = [scan.scan_id for scan in series]
        is_apart = beside is not None and beside.scan_id not in members
        for scan in (*series, beside) if beside is not None and is_apart else series:
            try:
                sequence = scan.head().sequence
                known = seen.pictures.get(scan.scan_id)
                if known is not None and known[0] == sequence:
                    found[scan.scan_id] = known
                else:
                    found[scan.scan_id] = (sequence, picture_of(scan, view))
            except StoreError as error:
                # Of the cells the list knows nothing; the run itself is fine.
                found[scan.scan_id], unreadable[scan.scan_id] = (-1, None), str(error)
        seen.pictures = found
        key = (*((name, sequence) for name, (sequence, _) in found.items()), unreadable)
        if key == seen.picture_key and seen.scan_told == chosen.scan_id:
            return
        seen.picture_key, seen.scan_told = key, chosen.scan_id
        pictures = {name: one for name, (_, one) in found.items()}
        siblings = tuple(one for name in members if (one := pictures[name]) is not None)
        self._post(
            ScanFilled(
                seen.reader.path,
                pictures[chosen.scan_id],
                siblings if len(series) > 1 else (),
                None if beside is None else pictures[beside.scan_id],
                unreadable,
            )
        )


def _sound(look: Callable[[], tuple[str, bool]]) -> tuple[str, bool]:
    """What a look found: why something cannot be read, and whether there is more to read."""
    try:
        return look()
    except StoreError as error:
        return str(error), False
    except Exception as error:  # noqa: BLE001  # a store may not take the screen down
        return f"{type(error).__name__}: {error}", False


def _beat(pulse: Pulse | None) -> tuple[int, int] | None:
    return None if pulse is None else (pulse.pid, pulse.beat)


def _backdated(view: RunView) -> float:
    """How old the newest record already was when it was first read, by the writer's clock."""
    if not len(view):
        return 0.0
    age = time.time() - float(view.column("wall_time")[-1])
    return max(0.0, age) if math.isfinite(age) else 0.0


def _why_stalled(seen: _Following, now: float) -> str:
    """Why a run counts as stalled, in a few words; none where it does not."""
    if seen.pulse is not None and now - seen.pulse_seen > PATIENCE_SECONDS:
        return "its writer is silent"
    if seen.view is None or not len(seen.view):
        return ""
    durations = seen.view.column("duration_s")[-20:]
    known = durations[np.isfinite(durations)]
    usual = float(np.median(known)) if known.size else 0.0
    since = max(seen.data_seen, seen.attempt_seen)
    is_late = now - since > max(STALL_SECONDS, STALL_FACTOR * usual)
    return "its epoch takes long" if is_late else ""


def _key(row: RunRow) -> tuple[object, ...]:
    return (row.path, row.word, row.epoch, row.best_test_accuracy, row.message, len(row.trend))
