"""The screen as SVG: what is drawn where, and that nothing of a name gets out of its text."""

import re
from xml.etree import ElementTree as ET

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from lossviz_tui.paint.cells import Canvas, text_line
from lossviz_tui.paint.palettes import Look
from lossviz_tui.panels import cctm, dance, landscape, notes, overview
from lossviz_tui.selection import Selection
from lossviz_tui.svg import CELL_HEIGHT, CELL_WIDTH, screen_svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*segments: Segment, dark: bool = True) -> ET.Element:
    """A line of segments as a parsed document."""
    return ET.fromstring(screen_svg([Strip(segments)], dark=dark))


def paths(root: ET.Element) -> list[tuple[str | None, str | None]]:
    """Colour and outline of each path, from the top."""
    found = root.iter(f"{SVG}path")
    return [
        (p.get("fill") if p.get("stroke") is None else p.get("stroke"), p.get("d"))
        for p in found
    ]


def words(root: ET.Element) -> list[tuple[float, str | None]]:
    """Each piece of text with the cell it begins in."""
    return [(float(t.get("x") or 0) / CELL_WIDTH, t.text) for t in root.iter(f"{SVG}text")]


def test_words_stand_in_their_cells_whatever_the_font():
    root = drawn(Segment("a  two words   猫 x", Style(color="#ff0000", bold=True)))
    found = words(root)
    assert [text for _, text in found] == ["a", "two words", "猫 x"]
    assert [round(cell, 2) for cell, _ in found] == [0, 3, 15]
    lengths = [t.get("textLength") for t in root.iter(f"{SVG}text")]
    assert lengths == [None, f"{9 * CELL_WIDTH:.1f}", f"{4 * CELL_WIDTH:.1f}"]
    group = next(g for g in root.iter(f"{SVG}g") if g.get("fill"))
    assert (group.get("fill"), group.get("font-weight")) == ("#ff0000", "bold")


def test_blocks_are_rectangles_that_touch():
    root = drawn(Segment("▀▀▄█", Style(color="#00ff00", bgcolor="#0000ff")))
    half = CELL_HEIGHT / 2
    assert paths(root) == [
        ("#0000ff", "M0 0h33.6v16.8h-33.6z"),
        (
            "#00ff00",
            f"M0 0h16.8v{half}h-16.8zM16.8 {half}h8.4v{half}h-8.4zM25.2 0h8.4v16.8h-8.4z",
        ),
    ]
    assert not words(root)


def test_reverse_changes_text_and_ground():
    root = drawn(Segment("x", Style(color="#00ff00", bgcolor="#0000ff", reverse=True)))
    assert paths(root)[0][0] == "#00ff00"
    assert next(g.get("fill") for g in root.iter(f"{SVG}g") if g.get("fill")) == "#0000ff"


@pytest.mark.parametrize(("glyph", "dots"), [("⠀", 0), ("⠁", 1), ("⣿", 8), ("⡇", 4)])
def test_a_braille_glyph_has_its_dots(glyph, dots):
    outlines = "".join(d or "" for _, d in paths(drawn(Segment(glyph, Style(color="#00ff00")))))
    assert outlines.count("M") == dots


@pytest.mark.parametrize(("glyph", "lines"), [("─", 1), ("┼", 2), ("└", 2), ("╳", 2), ("┈", 1)])
def test_lines_of_axes_are_lines(glyph, lines):
    root = drawn(Segment(glyph, Style(color="#00ff00")))
    assert "".join(d or "" for _, d in paths(root)).count("L") == lines
    assert not words(root)


def test_quadrants_and_shades():
    assert (paths(drawn(Segment("▚", Style(color="#00ff00"))))[0][1] or "").count("z") == 2
    root = drawn(Segment("▒▒", Style(color="#00ff00")))
    assert [p.get("fill-opacity") for p in root.iter(f"{SVG}path")] == ["0.5"]


def test_a_name_stays_text():
    evil = "</text><script>alert(1)</script>&\x00\x1b\ud800"
    text = screen_svg([Strip([Segment(evil)])], dark=True, title=evil)
    root = ET.fromstring(text)
    assert not list(root.iter(f"{SVG}script"))
    assert "<script" not in text
    assert words(root)[0][1] == "</text><script>alert(1)</script>&"


@pytest.mark.parametrize("dark", [True, False])
def test_sixteen_colours_and_none_are_drawn_on_their_ground(dark):
    styles = (Style(color="bright_black"), Style(color="yellow"), Style(), Style(bold=True))
    root = drawn(*(Segment("x", style) for style in styles), dark=dark)
    grounds = {r.get("fill") for r in root.iter(f"{SVG}rect")}
    inks = {g.get("fill") for g in root.iter(f"{SVG}g") if g.get("fill")}
    assert len(inks) == 3
    assert not inks & grounds


def test_no_lines_are_an_empty_picture():
    assert not list(ET.fromstring(screen_svg([], dark=True)).iter(f"{SVG}text"))


@pytest.mark.parametrize(
    ("charset", "color"), [("braille", "truecolor"), ("blocks", "16"), ("ascii", "none")]
)
def test_every_view_is_a_document_that_fetches_nothing(
    make_scene, scene_of_scans, make_run, make_scan, tmp_path, charset, color
):
    look = Look(charset=charset, color=color)
    run = make_run(tmp_path / "a.zarr")
    scan = scene_of_scans(run, make_scan(run), look=look)
    pictures = [landscape.paint(scan, (90, 24))]
    for name, view in (
        ("overview", overview),
        ("dance", dance),
        ("notes", notes),
        ("cctm", cctm),
    ):
        scene = make_scene(look=look, selection=Selection(view=name))
        pictures.append(view.paint(scene, (90, 24)))
    for lines in pictures:
        text = screen_svg(lines, dark=True, title="a view")
        root = ET.fromstring(text)
        assert re.findall(r"https?:[^\"']*", text) == ["http://www.w3.org/2000/svg"]
        assert float(root.get("width") or 0) == pytest.approx(92 * CELL_WIDTH)
        assert words(root)


def test_the_same_lines_are_the_same_bytes():
    canvas = Canvas((10, 1))
    canvas.put(0, 0, "abc", Style(color="#123456"))
    pictures = {
        screen_svg([*canvas.strips(), text_line("x", 10)], dark=False) for _ in range(2)
    }
    assert len(pictures) == 1
