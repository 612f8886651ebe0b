"""What a fresh interpreter has loaded: the screen comes quickly and never with torch."""

import json
import subprocess
import sys

import pytest

from lossviz_tui.__main__ import COMMANDS

HEAVY = ("torch", "torchvision", "zarr", "numpy", "plotext", "scipy", "sklearn")

FIRST_FRAME = """
import asyncio, json, sys
from pathlib import Path
from lossviz_tui.app import LossvizApp
from lossviz_tui.options import AppOptions

loaded = {"imported": sorted(sys.modules)}

class Watched(LossvizApp):
    def _load(self):
        loaded["first frame"] = sorted(sys.modules)
        return super()._load()

async def main():
    app = Watched(Path(sys.argv[1]), AppOptions(charset="braille", color="truecolor"))
    async with app.run_test(size=(80, 24)) as pilot:
        for _ in range(2000):
            if app._shown_number and app._stage.scene.runs is not None:
                break
            await pilot.pause(0.01)
        for key in "123456":
            await pilot.press(key)
        loaded["stage"] = sorted(sys.modules)

asyncio.run(main())
print(json.dumps(loaded))
"""


def run_python(*arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-P", *arguments], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> dict[str, set[str]]:
    """Modules at three moments of one app's life."""
    folder = tmp_path_factory.mktemp("imports")
    found = json.loads(run_python("-c", FIRST_FRAME, str(folder)).splitlines()[-1])
    return {moment: set(names) for moment, names in found.items()}


@pytest.mark.parametrize("moment", ["imported", "first frame"])
def test_nothing_slow_is_loaded_before_the_first_frame(loaded, moment):
    assert loaded[moment] & set(HEAVY) == set()
    assert "lossviz_tui.app" in loaded[moment]


def test_the_whole_stage_loads_no_torch(loaded):
    assert {"numpy", "zarr", "lossviz_tui.stage"} <= loaded["stage"]
    assert loaded["stage"] & {"torch", "torchvision", "lossviz_trainer"} == set()
    assert not any(name.startswith("lossviz_analysis.weightspace") for name in loaded["stage"])


def test_help_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['torchvision'] = None\n"
        "from lossviz_tui.__main__ import COMMANDS, run\n"
        "codes = [run(['--help']), *(run([name, '-h']) for name in COMMANDS)]\n"
        "assert not any(codes), codes"
    )
    assert run_python("-c", code).count("Usage") == 1 + len(COMMANDS)


def test_the_usual_start_reads_no_more_than_a_path():
    """Typer alone would take a ninth of the time in which the app is there."""
    code = (
        "import sys, types\n"
        "app = types.ModuleType('lossviz_tui.app')\n"
        "app.run_app = lambda path, options: print(path, options.readonly) or 7\n"
        "sys.modules['lossviz_tui.app'] = app\n"
        "from lossviz_tui.__main__ import run\n"
        "assert [run([]), run(['a.zarr']), run(['watch', 'b.zarr'])] == [7, 7, 7]\n"
        "assert 'typer' not in sys.modules\n"
        "assert run(['c.zarr', '--readonly']) == 7\n"
    )
    assert run_python("-c", code).split("\n")[:4] == [
        "runs False",
        "a.zarr False",
        "b.zarr False",
        "c.zarr True",
    ]


def test_the_app_is_the_only_command_that_loads_textual_screens():
    code = (
        "import sys\nfrom lossviz_tui.__main__ import run\nrun(['runs', '-h'])\n"
        "assert 'lossviz_tui.app' not in sys.modules"
    )
    run_python("-c", code)
