"""Views on the command line: the app's own screen, painted once, to a pipe or a file."""

import sys
from pathlib import Path

import pytest

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.fields import StoreError
from lossviz_tui.cli.viewing import parse_size, selection_for, view_named
from lossviz_tui.exporting import write_anew
from lossviz_tui.formats import FORMATS, format_of
from lossviz_tui.paint.palettes import Look
from lossviz_tui.selection import Selection
from lossviz_tui.still import Still


@pytest.fixture(scope="module")
def run(make_run, make_scan, ask_scan, tmp_path_factory):
    path = make_run(tmp_path_factory.mktemp("viewing") / "pets.zarr")
    make_scan(path)
    for _ in range(3):
        make_scan(path, ask_scan(1, kind="gaussian", series="lines"))
    return path


@pytest.mark.parametrize("view", ["runs", "overview", "dance", "notes", "cctm", "landscape"])
def test_once_prints_a_view_as_plain_text(run, cli, view, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "")
    found = cli("show", run, "--once", "--view", view, "--size", "80x24")
    assert found.code == 0, found.err
    lines = found.out.split("\n")
    assert len(lines) == 25
    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() and line.isprintable() for line in lines)
    title = {"cctm": "CCTM"}.get(view, view.title())
    assert f"{title}]" in lines[1]


def test_once_says_what_of_a_view(run, cli):
    words = ("show", run, "--once", "--size", "80x24", "--charset", "ascii")
    found = cli(*words, "--view", "cctm", "--epoch", 3, "--split", "train")
    assert "CCTM, train, epoch 3, percent" in found.out
    assert found.out.isascii()
    found = cli(*words, "--view", "dance", "--classes", "ship,cat")
    assert "ship <-> cat" in found.out


def test_once_takes_a_scan_to_the_landscape(run, cli):
    scan_id = min(path.name for path in (run / "scans").glob("2*"))
    found = cli("show", run, "--once", "--scan", scan_id, "--size", "160x40")
    assert "[6 Landscape]" in found.out
    assert "ego cat" in found.out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--once --view nothing", "there is no view 'nothing'"),
        ("--once --size 80", "WIDTHxHEIGHT"),
        ("--once --epoch 77", "epoch 77"),
        ("--once --scan nobody", "no scan 'nobody'"),
        ("--once --classes cat", "two different classes"),
        ("--view dance", "which view --once shows"),
    ],
)
def test_what_once_cannot_show_is_refused(run, cli, words, reason):
    found = cli("show", run, *words.split())
    assert found.code == 1
    assert reason in found.err
    assert len(found.err.splitlines()) == 1


def test_a_series_is_one_line_of_the_scans(run, cli):
    lines = cli("show", run).out.splitlines()
    scans = lines[lines.index("scans") + 1 :]
    assert len(scans) == 2
    assert scans[1].endswith("and 2 more of a series  done         54/54")


@pytest.mark.parametrize("words", [(), ("--light",)])
def test_an_svg_is_the_screen(run, cli, tmp_path, words):
    out = tmp_path / "a.svg"
    found = cli("export", run, "--view", "dance", "--size", "90x20", "--out", out, *words)
    assert (found.code, found.out.strip()) == (0, str(out))
    text = out.read_text()
    assert ("#121212" in text) == (not words)
    assert "dance score" in text
    cli("export", run, "--view", "dance", "--size", "90x20", "--out", tmp_path / "a.txt")
    still = Still(run, Look())
    still.look_at(Selection(view="dance"))
    shown = [line.text.rstrip() for line in still.lines((90, 20))]
    assert (tmp_path / "a.txt").read_text().splitlines()[1:] == shown[
        1:
    ]  # ages stand in the first


def test_a_figure_is_asked_for_by_suffix_or_by_word(run, cli, tmp_path):
    for name, words in (("a.png", ()), ("b.svg", ("--figure",))):
        found = cli("export", run, "--view", "overview", "--out", tmp_path / name, *words)
        assert found.code == 0, found.err
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "matplotlib" not in (tmp_path / "b.svg").read_text()[:200]
    assert "textLength" not in (tmp_path / "b.svg").read_text()


def test_without_matplotlib_the_screen_is_exported_all_the_same(
    run, cli, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = cli("export", run, "--view", "cctm", "--out", tmp_path / "a.png")
    assert found.code == 1
    assert "pip install 'lossviz-tui[figures]'" in found.err
    assert cli("export", run, "--view", "cctm", "--out", tmp_path / "a.svg").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]


def test_the_newest_scan_is_the_landscape_in_numbers(run, cli, tmp_path):
    out = tmp_path / "a.csv"
    assert cli("export", run, "--view", "landscape", "--out", out).code == 0
    assert out.read_text().startswith("t1,train_loss")


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    (tmp_path / "a-dance-epoch3-2.csv").symlink_to("nowhere")
    outs = [write_anew(tmp_path, "a-dance-epoch3", ".csv", Path.touch) for _ in range(3)]
    assert [out.name for out in outs] == [
        "a-dance-epoch3.csv",
        "a-dance-epoch3-3.csv",
        "a-dance-epoch3-4.csv",
    ]
    assert len(list(tmp_path.iterdir())) == 4


def test_what_cannot_be_written_takes_no_name(tmp_path):
    def burst(path: Path) -> None:
        path.write_text("half of it")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_anew(tmp_path, "a", ".csv", burst)
    assert not list(tmp_path.iterdir())


def test_a_suffix_says_what_is_written():
    assert [format_of(how.suffix) == how for how in FORMATS].count(False) == 1  # .svg, twice
    assert (format_of(".svg", as_figure=True) or FORMATS[0]).kind == "figure"
    assert (format_of(".svg") or FORMATS[-1]).kind == "screen"
    assert format_of(".csv", as_figure=True) is None
    assert format_of(".gif") is None
    assert len({how.key for how in FORMATS}) == len(FORMATS)


def test_words_of_the_command_line_make_a_selection(run):
    found = selection_for(run, "notes", classes="dog, cat,ship", epoch=2)
    assert (found.pair, found.classes, found.cell) == ((3, 2), (3, 2, 4), (3, 2))
    assert selection_for(run, "notes", classes="all").all_classes
    assert parse_size("120X30") == (120, 30)
    assert view_named("scalars", ("scalars",)) == "scalars"
    for call in (
        lambda: parse_size("1x1"),
        lambda: view_named("x"),
        lambda: selection_for(run, "notes", classes="dog,dog"),
    ):
        with pytest.raises(StoreError):
            call()
    with pytest.raises(LossvizError):
        selection_for(run, "notes", classes="dog,nobody")


def test_a_still_of_what_is_no_run_says_so(tmp_path):
    with pytest.raises(StoreError):
        Still(tmp_path / "a.zarr", Look()).look_at(Selection(view="overview"))
