"""Real runs, trained once for all tests, and processes that are gone when the tests are."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from lossviz_analysis.store.lock import is_held, read_holder
from lossviz_tui import launch
from lossviz_tui.__main__ import run
from lossviz_tui.cli import train

Wait = Callable[..., Any]
Program = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]

# One thread: two cores are shared, and sums of floats depend on how they are split.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture(scope="session", autouse=True)
def nobody_at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither the settings of whoever runs the tests nor what they last chose come in."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            patch.setenv(name, str(home / name.lower()))
        patch.delenv("LOSSVIZ_TUI_CONFIG", raising=False)
        yield


@pytest.fixture(scope="session")
def wait_for() -> Wait:
    """Waits until a condition is true and returns its value; fails with what it waited for."""

    def wait(condition: Callable[[], Any], what: str, *, seconds: float = 60.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                pytest.fail(f"waited {seconds:.0f} s in vain: {what}")
            time.sleep(0.005)
        return found

    return wait


@pytest.fixture(scope="session")
def start_program() -> Iterator[Start]:
    """Starts `lossviz-tui` as a process of its own; it is gone when the tests are."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: object, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lossviz_tui", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ) | ONE_THREAD | {"COLUMNS": "120"},
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def program(start_program: Start) -> Program:
    """Runs `lossviz-tui` in a process of its own and waits for it."""

    def call(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        process = start_program(*words, **options)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return call


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Outcome]]:
    """Runs `lossviz-tui` in this process, which is quicker by the time of a start.

    The processes it starts are as real as ever.
    """
    for name, value in (ONE_THREAD | {"COLUMNS": "120"}).items():
        monkeypatch.setenv(name, value)
    daemons: list[subprocess.Popen[bytes]] = []

    def start_and_keep(spec: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        # A command that ends forgets the daemon it left; here nothing ends.
        daemons.append(launch.start_training(spec))
        return daemons[-1]

    monkeypatch.setattr(train, "start_training", start_and_keep)

    def call(*words: object) -> Outcome:
        capsys.readouterr()
        code = run([str(word) for word in words])
        printed = capsys.readouterr()
        for daemon in daemons:
            daemon.poll()
        return Outcome(code, printed.out, printed.err)

    yield call
    for daemon in daemons:
        daemon.kill()
        daemon.wait()
        if daemon.stdout is not None:
            daemon.stdout.close()


@pytest.fixture(scope="session")
def end_processes(wait_for: Wait) -> Callable[[Path], None]:
    """Kills the daemon and the scan worker of a run, where there are any."""

    def end(run: Path) -> None:
        for folder in (run, run / "scans"):
            holder = read_holder(folder)
            if holder is not None and holder.is_local and is_held(folder):
                os.kill(holder.pid, signal.SIGKILL)
                wait_for(lambda held=folder: not is_held(held), f"{folder} let go")
        for worker in launch._children:
            if worker.poll() is None and not is_held(run / "scans"):
                worker.kill()
            worker.wait()
        launch._children.clear()

    return end


@pytest.fixture(scope="session")
def digits_run(
    tmp_path_factory: pytest.TempPathFactory,
    program: Program,
    end_processes: Callable[[Path], None],
) -> Iterator[Path]:
    """A perceptron after three epochs on all digits; tests may add scans, nothing else."""
    path = tmp_path_factory.mktemp("digits") / "digits.zarr"
    words = ("--data", "digits", "--model", "mlp", "--epochs", 3, "--device", "cpu")
    trained = program("train", *words, "--run", path)
    assert trained.returncode == 0, trained.stderr
    yield path
    end_processes(path)


@pytest.fixture(scope="session")
def batch_norm_run(
    tmp_path_factory: pytest.TempPathFactory,
    program: Program,
    end_processes: Callable[[Path], None],
) -> Iterator[Path]:
    """A ResNet20 after three epochs on 40 digits; tests may add scans, nothing else."""
    path = tmp_path_factory.mktemp("resnet") / "resnet.zarr"
    words = ("--data", "digits", "--model", "resnet20", "--epochs", 3, "--device", "cpu")
    words += ("--train-examples", 40, "--batch-size", 8, "--lr", 0.01)
    trained = program("train", *words, "--run", path)
    assert trained.returncode == 0, trained.stderr
    yield path
    end_processes(path)


@pytest.fixture(scope="session")
def tensors_of() -> Callable[..., dict[str, np.ndarray]]:
    """A checkpoint's tensors by name, read with plain Zarr and the page in schema.py."""

    def read(run: Path, number: int, *roles: str) -> dict[str, np.ndarray]:
        group = zarr.open_group(run / "checkpoints" / f"c{number:08d}", mode="r")
        index: Any = group.attrs["index"]
        found: dict[str, np.ndarray] = {}
        for entry in index:
            if entry["role"] in roles:
                stop = entry["offset"] + int(np.prod(entry["shape"], dtype=np.int64))
                flat: Any = group[entry["array"]]
                found[entry["name"]] = np.asarray(flat[entry["offset"] : stop]).reshape(
                    entry["shape"]
                )
        return found

    return read
