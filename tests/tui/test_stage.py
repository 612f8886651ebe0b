"""The scene follows from messages and key presses."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.scans import scan_folder
from lossviz_analysis.store.schema import ScanState
from lossviz_tui import stage as stage_module
from lossviz_tui.exporting import write_screen
from lossviz_tui.formats import FORMATS
from lossviz_tui.launch import WORKER_LOG, LaunchError, ensure_worker
from lossviz_tui.messages import RowsRead, RunAdvanced, RunsListed, RunStirred, TroubleChanged
from lossviz_tui.paint.palettes import Look
from lossviz_tui.scene import Standing
from lossviz_tui.selection import RunMark, Selection
from lossviz_tui.stage import Stage, look_for


@pytest.fixture
def stage_at():
    """A stage whose tail tells it at once what it sees."""

    def build(path: Path) -> Stage:
        told = []
        stage = Stage(path, Look(), told.append)

        def look() -> None:
            stage.tail._listed = -np.inf
            stage.tail.step()
            while told:
                stage.take(told.pop(0))

        stage.look = look  # type: ignore[attr-defined]
        look()
        look()
        return stage

    return build


def test_a_run_is_opened_at_once(stage_at, make_run, tmp_path):
    stage = stage_at(make_run(tmp_path / "a.zarr"))
    assert stage.has_run
    assert stage.selection.view == "overview"
    assert stage.scene.epoch == 8


def test_a_run_is_found_without_its_ending(stage_at, make_run, tmp_path):
    make_run(tmp_path / "a.zarr")
    assert stage_at(tmp_path / "a").scene.epoch == 8


def test_the_only_run_of_a_folder_is_opened(stage_at, make_run, tmp_path):
    make_run(tmp_path / "runs" / "a.zarr")
    assert stage_at(tmp_path / "runs").scene.epoch == 8


def test_of_several_runs_one_is_chosen(stage_at, make_run, tmp_path):
    make_run(tmp_path / "a.zarr", epochs=2)
    make_run(tmp_path / "b.zarr", epochs=3)
    stage = stage_at(tmp_path)
    assert not stage.has_run
    assert stage.selection.view == "runs"
    assert len(stage.scene.runs) == 2
    stage.select(Selection(view="runs", run_row=1))
    stage.opened()
    stage.look()
    assert stage.selection.view == "overview"
    assert stage.scene.view.path == stage.scene.runs[1].path


def test_another_run_forgets_what_was_chosen_in_the_last(stage_at, make_run, tmp_path):
    make_run(tmp_path / "a.zarr", epochs=2)
    make_run(tmp_path / "b.zarr", names=("x", "y"))
    stage = stage_at(tmp_path)
    rows = [row.path.name for row in stage.scene.runs]
    stage.select(Selection(view="runs", run_row=rows.index("a.zarr")))
    stage.opened()
    stage.look()
    stage.select(
        Selection(view="runs", run_row=rows.index("b.zarr"), pair=(3, 4), epoch=1, cell=(4, 4))
    )
    stage.opened()
    assert stage.scene.view is None
    assert (stage.selection.pair, stage.selection.epoch) == (None, None)
    stage.look()
    found = stage.scene
    assert found.view.description.class_names == ("x", "y")


def test_marks_and_filter_outlive_a_replaced_run_and_marks_no_deleted_one(
    stage_at, make_run, tmp_path
):
    paths = [make_run(tmp_path / f"{name}.zarr", epochs=2) for name in ("a1", "a2", "b")]
    stage = stage_at(tmp_path)
    marks = tuple(RunMark(path=path, slot=k) for k, path in enumerate(paths[1:]))
    stage.select(Selection(view="runs", run_filter="a", marks=marks, smoothing=0.1))
    stage.opened()
    stage.look()
    opened = stage.scene.view.path
    shutil.rmtree(opened)
    make_run(opened, epochs=3)
    stage.look()
    assert stage.scene.news == "another run is here"
    assert (stage.selection.run_filter, stage.selection.smoothing) == ("a", 0.1)
    assert stage.selection.marks == marks
    shutil.rmtree(paths[2])
    stage.look()
    assert stage.selection.marks == marks[:1]


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".zarr"])
def test_a_name_that_cannot_be_is_told_in_a_sentence(stage_at, tmp_path, name):
    stage = stage_at(tmp_path / name)
    assert stage.scene.view is None
    assert stage.paint((80, 20))


def test_a_folder_that_is_not_there_yet_is_waited_for(stage_at, make_run, tmp_path):
    stage = stage_at(tmp_path / "runs")
    assert not stage.has_run
    make_run(tmp_path / "runs" / "a.zarr")
    stage.look()
    stage.look()
    assert stage.scene.epoch == 8


def test_a_run_that_is_not_there_yet_is_waited_for(stage_at, make_run, tmp_path):
    stage = stage_at(tmp_path / "a.zarr")
    assert stage.has_run
    assert "a.zarr" in stage.scene.trouble
    make_run(tmp_path / "a.zarr")
    stage.look()
    assert stage.scene.epoch == 8
    assert stage.scene.trouble == ""


def test_a_late_word_of_another_run_is_not_taken(stage_at, make_run, make_view, tmp_path):
    stage = stage_at(make_run(tmp_path / "a.zarr"))
    stage.take(RunAdvanced(tmp_path / "b.zarr", make_view(epochs=3)))
    assert stage.scene.epoch == 8


def test_trouble_and_runs_are_taken_whatever_is_open(stage_at, make_run, tmp_path):
    stage = stage_at(make_run(tmp_path / "a.zarr"))
    stage.take(TroubleChanged("the disk is gone"))
    stage.take(RunsListed(()))
    assert stage.scene.trouble == "the disk is gone"
    assert stage.scene.runs == ()


def test_every_view_is_painted_explained_and_exported(
    stage_at, make_run, make_scan, tmp_path, monkeypatch, check_lines
):
    run = make_run(tmp_path / "a.zarr")
    scan_id = make_scan(run)
    stage = stage_at(run)
    monkeypatch.chdir(tmp_path)
    for view in ("runs", "overview", "dance", "notes", "cctm", "landscape"):
        stage.select(Selection(view=view))
        check_lines(stage.paint((80, 20)), (80, 20), Look())
        check_lines(stage.paint_status((80, 2)), (80, 2), Look())
        assert len(stage.how_to_read()) > 40
        if view != "runs":
            for how in FORMATS:
                if how.kind != "figure" or (view, how.suffix) == ("overview", ".svg"):
                    assert stage.export(how, (80, 20)).stat().st_size > 100
    written = {path.name for path in tmp_path.iterdir()}
    for suffix in (".svg", ".txt", ".csv", ".json", ".npz"):
        assert f"a-landscape-{scan_id}{suffix}" in written
        assert f"a-dance-epoch8{suffix}" in written
    assert "a-overview-epoch8-2.svg" in written


def test_of_the_list_of_runs_the_screen_is_written(stage_at, make_run, tmp_path, monkeypatch):
    make_run(tmp_path / "runs" / "a.zarr")
    make_run(tmp_path / "runs" / "b.zarr")
    stage = stage_at(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    for how in FORMATS:
        if how.kind == "screen":
            assert stage.export(how, (80, 20)).name == f"runs-runs{how.suffix}"
        else:
            with pytest.raises(LossvizError, match=r"runs"):
                stage.export(how, (80, 20))


def test_what_cannot_be_painted_is_a_sentence_and_no_file(
    stage_at, make_run, tmp_path, monkeypatch
):
    stage = stage_at(make_run(tmp_path / "a.zarr"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def burst(*_):
        raise RuntimeError("no such colour")

    monkeypatch.setitem(stage_module._PAINTERS, "overview", burst)
    with pytest.raises(LossvizError, match="no such colour"):
        stage.export(FORMATS[0], (80, 20))
    assert not list(Path.cwd().iterdir())


def test_of_two_exports_under_way_at_once_both_are_kept(
    stage_at, make_run, tmp_path, monkeypatch
):
    stage = stage_at(make_run(tmp_path / "a.zarr"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    begun: list[Path] = []

    def slow(lines, out: Path, **options) -> None:
        begun.append(out)
        if len(begun) == 1:
            stage.export(FORMATS[0], (80, 20))
        write_screen(lines, out, **options)

    monkeypatch.setattr(stage_module, "write_screen", slow)
    assert stage.export(FORMATS[0], (80, 20)).name == "a-overview-epoch8-2.svg"
    names = {path.name for path in Path.cwd().iterdir()}
    assert names == {"a-overview-epoch8.svg", "a-overview-epoch8-2.svg"}


def test_an_id_of_a_scan_cannot_spoil_the_name_of_a_file(
    stage_at, make_run, make_scan, tmp_path, monkeypatch
):
    run = make_run(tmp_path / "a.zarr")
    folder = scan_folder(run, make_scan(run))
    folder.rename(folder.with_name("x\x1b[31m\u202e" + "y" * 200))
    stage = stage_at(run)
    stage.select(Selection(view="landscape"))
    stage.look()
    monkeypatch.chdir(tmp_path)
    name = stage.export(FORMATS[0], (80, 20)).name
    assert name.isprintable()
    assert len(name) < 120


def test_an_export_is_of_the_epoch_that_is_held(stage_at, make_run, tmp_path, monkeypatch):
    stage = stage_at(make_run(tmp_path / "a.zarr"))
    monkeypatch.chdir(tmp_path)
    stage.select(Selection(view="cctm", epoch=3))
    csv = next(how for how in FORMATS if how.suffix == ".csv")
    out = stage.export(csv, (80, 20))
    assert out.name == "a-cctm-epoch3.csv"
    assert out.read_text().splitlines()[1].startswith("3,train,plane,plane,")


def test_a_view_is_painted_anew_only_when_it_may_have_changed(stage_at, make_run, tmp_path):
    stage = stage_at(make_run(tmp_path / "a.zarr"))
    stirred = RunStirred(stage.scene.view.path, Standing(word="stalled"))
    for view in ("overview", "dance", "notes", "cctm"):
        stage.select(Selection(view=view))
        lines = stage.paint((80, 20))
        assert stage.paint((80, 20)) is lines
        stage.take(stirred)
        stage.take(RunAdvanced(stage.scene.view.path, stage.scene.view))
        assert stage.paint((80, 20)) is lines
        assert stage.paint((60, 18)) is not lines
        lines = stage.paint((80, 20))
        stage.take(RowsRead())
        assert stage.paint((80, 20)) is not lines
        lines = stage.paint((80, 20))
        newer = replace(stage.scene.view)
        stage.take(RunAdvanced(newer.path, newer))
        assert stage.paint((80, 20)) is not lines
        lines = stage.paint((80, 20))
        stage.select(replace(stage.selection, split="train"))
        assert stage.paint((80, 20)) is not lines
    for view, is_kept in (("runs", False), ("landscape", True)):
        stage.select(Selection(view=view))
        lines = stage.paint((80, 20))
        assert (stage.paint((80, 20)) is lines) == is_kept
        stage.take(RunStirred(stage.scene.view.path, Standing(word="live")))
        assert stage.paint((80, 20)) is not lines


def test_what_needs_a_run_says_so(stage_at, tmp_path):
    stage = stage_at(tmp_path)
    stage.select(Selection(view="overview"))
    for deed in (stage.scan_form, stage.class_picker, stage.export_form, stage.log_screen):
        with pytest.raises(LossvizError, match="open a run first"):
            deed()


def test_cancelling_marks_the_scan_in_focus(
    stage_at, make_run, make_scan, tmp_path, monkeypatch
):
    run = make_run(tmp_path / "a.zarr")
    with pytest.raises(LossvizError, match="no scan to cancel"):
        stage_at(run).cancel_scan()
    done = make_scan(run)
    queued = make_scan(run, state=ScanState.QUEUED)
    started = []
    monkeypatch.setattr(stage_module, "ensure_worker", started.append)
    stage = stage_at(run)
    question, deed = stage.cancel_scan()
    assert question == "Cancel the scan ego cat/dog ±0.1 e2 9x9? What is done is kept."
    assert not (scan_folder(run, queued) / "cancel").exists()
    assert "asked the scan to stop" in deed()
    assert (scan_folder(run, queued) / "cancel").exists()
    assert started == []
    stage.select(Selection(view="landscape", scan_id=done))
    with pytest.raises(LossvizError, match="the scan is done already"):
        stage.cancel_scan()
    with pytest.raises(LossvizError, match="the scan is cancelled already"):
        deed()  # it ended while the question stood there
    assert not (scan_folder(run, done) / "cancel").exists()


@pytest.mark.parametrize(
    ("color", "system", "depth"),
    [
        ("auto", "truecolor", "truecolor"),
        ("auto", "256", "256"),
        ("auto", "standard", "16"),
        ("auto", None, "none"),
        ("256", "truecolor", "256"),
        ("none", "truecolor", "none"),
    ],
)
def test_colours_are_those_asked_for_or_the_terminals(monkeypatch, color, system, depth):
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = Console(color_system=system, force_terminal=True)
    assert look_for(color, "braille", dark=True, console=console).color == depth


def test_no_color_wins(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(color_system="truecolor", force_terminal=True)
    assert look_for("truecolor", "braille", dark=False, console=console) == Look(
        charset="braille", color="none", dark=False
    )


def test_glyphs_are_those_the_output_can_say(monkeypatch):
    monkeypatch.setattr(stage_module.sys, "__stderr__", SimpleNamespace(encoding="latin-1"))
    assert look_for("256", "auto", dark=True, console=Console()).charset == "ascii"


@pytest.mark.parametrize(
    ("encoding", "term", "charset"),
    [("UTF-8", "xterm", "braille"), ("UTF-8", "linux", "ascii"), ("ascii", "xterm", "ascii")],
)
def test_glyphs_are_those_the_locale_has(monkeypatch, encoding, term, charset):
    monkeypatch.setattr(stage_module.locale, "getpreferredencoding", lambda **_: encoding)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert look_for("256", "auto", dark=True, console=Console()).charset == charset


def test_a_worker_log_that_is_a_link_is_not_followed(make_run, tmp_path):
    run = make_run(tmp_path / "a.zarr")
    (run / "scans" / WORKER_LOG).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LaunchError, match="no scan worker could be started"):
        ensure_worker(run)
    assert not (tmp_path / "elsewhere").exists()


def test_a_scan_that_waits_in_vain_says_so_though_nothing_happens(
    stage_at, make_run, make_scan, tmp_path, monkeypatch, read_lines
):
    run = make_run(tmp_path / "a.zarr")
    make_scan(run, state=ScanState.QUEUED)
    stage = stage_at(run)
    stage.select(replace(stage.selection, view="landscape"))
    stage.look()
    assert "the scan worker is starting" in read_lines(stage.paint((80, 20)))
    monkeypatch.setattr("lossviz_tui.panels.landscape.STARTING_SECONDS", -1.0)
    assert "no worker is running" in read_lines(stage.paint((80, 20)))


def test_a_scan_whose_cells_are_damaged_says_why_nothing_is_seen(
    stage_at, make_run, make_scan, ask_scan, tmp_path, read_lines
):
    run = make_run(tmp_path / "a.zarr")
    sound = make_scan(run)
    lines = [make_scan(run, ask_scan(1, series="seeds")) for _ in range(2)]
    plane = make_scan(run)
    for scan_id in (lines[0], plane):
        (chunk,) = (scan_folder(run, scan_id) / "result" / "cells").glob("c.*")
        chunk.write_bytes(b"\0" * chunk.stat().st_size)
    stage = stage_at(run)
    stage.look()
    for selection, words in (
        (Selection(), ("the scan is done, but cannot be shown", f"scans/{plane}/result/cells")),
        (Selection(scan_id=lines[0]), (f"scans/{lines[0]}/result/cells/",)),
        (Selection(scan_id=sound, beside=plane), ("the one beside: scans/",)),
    ):
        stage.select(replace(selection, view="landscape"))
        stage.look()
        text = read_lines(stage.paint((160, 46)))
        for word in (*words, "its checksum does not match"):
            assert word in text
    stage.select(Selection(view="landscape", scan_id=sound))
    stage.look()
    assert "checksum" not in read_lines(stage.paint((160, 46)))


def test_enter_puts_the_cursor_and_never_takes_it_away(stage_at, make_run, make_scan, tmp_path):
    run = make_run(tmp_path / "a.zarr")
    make_scan(run)
    stage = stage_at(run)
    stage.select(replace(stage.selection, view="landscape"))
    for _ in range(2):
        stage.opened()
        assert stage.selection.point == (4, 4)


def test_the_scan_beside_is_followed_too(stage_at, make_run, make_scan, tmp_path):
    run = make_run(tmp_path / "a.zarr")
    first, second = make_scan(run), make_scan(run)
    stage = stage_at(run)
    stage.select(replace(stage.selection, view="landscape", beside=first))
    stage.look()
    assert stage.scene.picture_beside.scan_id == first
    assert stage.scene.shown_picture.scan_id == second
