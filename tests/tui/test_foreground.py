"""A training in the foreground: what becomes of its daemon when the terminal goes."""

import signal
import subprocess
from typing import Any, cast

from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.schema import RunState
from lossviz_tui.cli import train as train_module


class Daemon:
    """Trains until it is asked to leave."""

    def __init__(self, leave) -> None:
        self._leave = leave
        self.asked: list[str] = []

    def poll(self):
        return 0 if self.asked else None

    def terminate(self) -> None:
        self.asked.append("terminate")
        self._leave()

    def wait(self, timeout: float) -> int:
        assert timeout > 0
        return 0


def test_when_the_terminal_goes_the_daemon_is_asked_to_leave_and_waited_for(
    make_run, live_writer, tmp_path, monkeypatch
):
    path = make_run(tmp_path / "pets.zarr", epochs=3)
    writer = live_writer(path)

    def leave() -> None:
        writer.set_state(RunState.STOPPED)
        writer.close()

    def hang_up(*_: Any) -> None:
        if not daemon.asked:
            signal.raise_signal(signal.SIGHUP)

    daemon = Daemon(leave)
    monkeypatch.setattr(train_module, "_update", hang_up)
    before = signal.getsignal(signal.SIGHUP)
    code = train_module._follow(RunReader(path), cast("subprocess.Popen[bytes]", daemon))
    assert (code, daemon.asked) == (0, ["terminate"])
    assert signal.getsignal(signal.SIGHUP) == before
