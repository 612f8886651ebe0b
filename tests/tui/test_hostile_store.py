"""What a stranger's store says reaches a terminal as plain text, whichever command shows it."""

import io
import json

import numpy as np
import pytest
from tests.tui.pilots import screen_text, tells, until
from textual.pilot import Pilot

from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.schema import FIXED_COLUMNS, RunState, ScanState
from lossviz_analysis.store.writer import RunWriter
from lossviz_tui.__main__ import run as run_command
from lossviz_tui.app import LossvizApp
from lossviz_tui.options import AppOptions

EVIL = "\x1b[2J\x1b]0;owned\x07 \u202egod\u202c \u200b\t\nline\r[red]x[/] \x9b31m\x00"
LONG = "x" * 3_000_000
SAFE_CONTROLS = {"\n"}


@pytest.fixture(scope="module")
def hostile(make_scan, tmp_path_factory):
    """A run whose every text is hostile; also the folder it lies in."""
    folder = tmp_path_factory.mktemp("hostile") / "\x1b[31mruns\u202e"
    path = folder / "\x1b[2J\u202eevil.zarr"
    names = tuple(f"{EVIL}{k}" for k in range(5))
    create_run(
        path,
        RunDescription(
            run_id=EVIL,
            created_at=EVIL,
            class_names=names,
            scalar_columns=(*FIXED_COLUMNS, EVIL, "test_accuracy"),
            model={"name": EVIL + LONG, EVIL: EVIL},
            dataset={"name": {EVIL: [LONG]}, "num_train": 1e400, "num_test": EVIL},
            recipe={"epochs": EVIL, EVIL: EVIL},
            versions={EVIL: EVIL},
        ),
    )
    with RunWriter(path) as writer:
        counts = np.ones((2, 5, 5), np.int32)
        writer.commit_record(counts, {"epoch": 1.0, EVIL: np.inf, "wall_time": np.inf})
        writer.commit_record(counts, {"epoch": 2.0, EVIL: 1e300, "wall_time": -1e300})
        writer.set_state(RunState.FAILED, EVIL * 3 + LONG[:10_000])
    make_scan(path, state=ScanState.QUEUED)
    make_scan(path, state=ScanState.FAILED, share=0.1, names=names, message=EVIL)
    (path / "scans" / "\x1b[2J\u202e").mkdir()
    return path


def assert_plain(text: str) -> None:
    """Nothing a terminal obeys, nothing that reorders or hides."""
    for character in text:
        assert character.isprintable() or character in SAFE_CONTROLS, repr(character)
    assert all(len(line) < 2_000 for line in text.splitlines())


@pytest.mark.parametrize(
    ("words", "code"), [(["show"], 0), (["runs"], 0), (["doctor"], 0), (["export"], 0)]
)
def test_a_command_prints_plain_text(hostile, tmp_path, capsys, words, code, monkeypatch):
    monkeypatch.setattr("lossviz_tui.cli.doctor.gpus_by_torch", lambda: EVIL)
    target = str(hostile.parent if words == ["runs"] else hostile)
    options = ["--out", str(tmp_path / "a.csv")] if words == ["export"] else []
    assert run_command([*words, target, *options]) == code
    said = capsys.readouterr()
    assert said.out
    assert_plain(said.out + said.err)


@pytest.mark.parametrize("words", [["show"], ["show", "--once", "--view", "overview"]])
def test_an_output_of_few_letters_gets_question_marks(make_run, tmp_path, monkeypatch, words):
    path = make_run(tmp_path / "猫.zarr", names=("猫", "dog"))
    output = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr("sys.stdout", output)
    assert run_command([*words, str(path)]) == 0
    output.flush()
    assert b"?" in output.buffer.getvalue()


@pytest.mark.parametrize("words", [["show"], ["export", "--out", "a.json"]])
@pytest.mark.parametrize("depth", [90, 700])
def test_a_recipe_without_bottom_is_a_sentence(
    make_run, tmp_path, monkeypatch, capsys, words, depth
):
    monkeypatch.chdir(tmp_path)
    path = make_run(tmp_path / "deep.zarr", epochs=1)
    document = json.loads((path / "zarr.json").read_text())
    document["attributes"]["recipe"] = json.loads('{"a":' * depth + "1" + "}" * depth)
    (path / "zarr.json").write_text(json.dumps(document))
    assert run_command([words[0], str(path), *words[1:]]) == (0 if depth < 100 else 1)
    assert ("nested deeper" in capsys.readouterr().err) == (depth > 100)


@pytest.mark.parametrize("words", [["show", "--json"], ["runs", "--json"]])
def test_json_is_strict_and_escaped(hostile, capsys, words):
    target = str(hostile.parent if words[0] == "runs" else hostile)
    assert run_command([words[0], target, *words[1:]]) == 0
    text = capsys.readouterr().out
    assert text.isascii()
    assert not set(text) & {"\x1b", "\x07", "\x00", "\r"}
    found = json.loads(text, parse_constant=lambda word: pytest.fail(word))
    row = found[0] if isinstance(found, list) else found
    assert json.dumps(EVIL)[1:-1] in json.dumps(row["model"])


def test_a_damaged_run_is_complained_of_in_plain_text(make_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lossviz_tui.cli.doctor.gpus_by_torch", lambda: "not asked")
    path = make_run(tmp_path / "\x1b[2Jbad\u202e.zarr", epochs=3)
    (path / "records" / "confusion" / "c.2.0.0.0").write_bytes(b"short")
    for command in ("show", "doctor"):
        assert run_command([command, str(path)]) == 1
        said = capsys.readouterr()
        assert "damaged" in said.err
        assert_plain(said.out + said.err)


PATIENCE_SECONDS = 15.0


@pytest.mark.parametrize("size", [(80, 24), (60, 18)])
async def test_the_app_shows_plain_text_in_every_view_and_page(
    hostile, size, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lossviz_tui.app.POLL_SECONDS", 0.05)
    (hostile / "train.log").write_text(EVIL * 3)
    app = LossvizApp(hostile, AppOptions(color="truecolor", charset="braille"))
    async with app.run_test(size=size) as pilot:
        await seen(pilot, "failed")
        for keys, word in (
            ("3", "dance score"),
            ("4", "dancing notes"),
            ("4a", "dancing notes"),
            ("5", "CCTM, test"),
            ("6", "scans"),
            ("3c", "Classes, the first two"),
            ("4s", "Scan the loss landscape"),
            ("5w", "train.log"),
            ("2?", "Overview"),
            ("2p", "Start the training of"),
            ("1", "Runs"),
        ):
            await pilot.press(*("question_mark" if key == "?" else key for key in keys))
            await seen(pilot, word)
            if len(keys) == 2:
                await pilot.press("escape")
        await pilot.press("2", "e", "c")
        await tells(pilot, "wrote")
        assert_plain("".join(note.message for note in app._notifications))
    (written,) = tmp_path.iterdir()
    assert_plain(written.name)


async def seen(pilot: Pilot[None], word: str) -> None:
    """Wait for a word; the screen is plain all the time."""

    def is_seen() -> bool:
        text = screen_text(pilot.app)
        assert_plain(text)
        return word in text

    await until(pilot, is_seen)


@pytest.mark.parametrize("size", [(80, 24), (60, 18)])
async def test_a_run_of_one_class_can_be_walked_through(make_run, tmp_path, size, monkeypatch):
    monkeypatch.setattr("lossviz_tui.app.POLL_SECONDS", 0.05)
    path = make_run(tmp_path / "one.zarr", names=("cat",), epochs=3)
    app = LossvizApp(path, AppOptions(color="truecolor", charset="braille"))
    async with app.run_test(size=size) as pilot:
        await seen(pilot, "finished")
        for keys, word in (
            (["3"], "nobody to dance with"),
            (["up", "down", "t", "c"], "Classes, the first two"),
            (["enter"], "a pair needs two different classes"),
            (["escape", "4"], "never taken for another"),
            (["a", "down", "5"], "rightly called cat"),
            (["right", "down", "enter", "d", "t"], "CCTM, test"),
            (["s"], "Scan the loss landscape"),
            (["down", "right", "escape", "6"], "no scans yet"),
            (["2", "enter"], "nobody to dance with"),
        ):
            await pilot.press(*keys)
            await seen(pilot, word)
