"""The page of a run: whole, alone, and of any run there may be."""

import re
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from lossviz_analysis.store.schema import RunState, ScanState
from lossviz_tui import report
from lossviz_tui.report import html_report

EVIL = "</title></svg><script src=//evil>\x1b[31m\u202e\"'onload=x"
VOID = {"meta"}


class Checked(HTMLParser):
    """Reads a page; every element is closed, and nothing is fetched or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self._look_at(attrs)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)
        self._look_at(attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def _look_at(self, attrs):
        for name, value in attrs:
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href"):
                assert value.startswith(("#", "data:image/png;base64,")), value
            if name == "id":
                self.ids.append(value)


def checked(text: str) -> Checked:
    """A page that has been read."""
    found = Checked()
    found.feed(text)
    assert not found.open
    assert not found.seen & {"script", "link", "iframe", "object", "img"}
    assert len(found.ids) == len(set(found.ids))
    for picture in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ET.fromstring(picture)
    assert set(re.findall(r"https?://[\w./]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", text)
    return found


@pytest.fixture
def no_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.fixture(scope="module")
def run(make_run, make_scan, ask_scan, tmp_path_factory):
    """A run whose names are hostile: a plane, a chart of two lines, a film, one that failed."""
    names = [f"{EVIL}{k}" for k in range(4)]
    path = tmp_path_factory.mktemp("report") / "pets.zarr"
    make_run(path, names=names, epochs=3, message=EVIL)
    make_scan(path, ask_scan(points=3), names=names)
    for _ in range(2):
        make_scan(path, ask_scan(1, points=3, kind="gaussian", series="lines"), names=names)
        make_scan(path, ask_scan(points=3, series="film"), names=names)
    failed = {"state": ScanState.FAILED, "share": 0.0, "message": f"the GPU burst{EVIL}"}
    make_scan(path, ask_scan(points=3), names=names, **failed)
    return path


@pytest.mark.slow
def test_a_page_has_every_view_and_every_scan(run, monkeypatch):
    monkeypatch.setattr(report, "NUM_DANCES", 1)
    text = html_report(run)
    assert {"overview", "dance", "notes", "cctm", "landscape", "about"} <= set(
        checked(text).ids
    )
    # Overview, a dance, two of notes, two CCTMs; a plane four ways, a chart, two frames.
    assert text.count("<svg") == 6 + 4 + 1 + 2
    for words in ("resnet20 on pets", "the GPU burst", "CCTM on test", "best test"):
        assert words in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.usefixtures("no_matplotlib")
def test_without_matplotlib_the_pages_pictures_are_screens(run):
    text = html_report(run)
    checked(text)
    assert (
        text.count('<div class="on-dark"><svg') == text.count('<div class="on-light"><svg') > 8
    )
    assert "pip install" in text


@pytest.mark.usefixtures("no_matplotlib")
@pytest.mark.parametrize(("epochs", "state"), [(0, RunState.RUNNING), (1, RunState.STOPPED)])
def test_a_run_that_has_hardly_begun_has_a_page(make_run, tmp_path, epochs, state):
    text = html_report(make_run(tmp_path / "a.zarr", epochs=epochs, state=state))
    checked(text)
    assert ("No epoch is recorded yet." in text) == (epochs == 0)
    assert "No scans." in text


@pytest.mark.usefixtures("no_matplotlib")
def test_a_hundred_classes_have_a_page(make_run, tmp_path):
    names = [f"class {c}" for c in range(100)]
    text = html_report(make_run(tmp_path / "a.zarr", names=names, epochs=3))
    checked(text)
    assert "The table of 100 classes has no room here" in text


def test_the_command_writes_the_page(run, tmp_path, cli, monkeypatch):
    monkeypatch.setattr("lossviz_tui.cli.report.html_report", lambda path: f"<p>{path.name}")
    out = tmp_path / "a.html"
    found = cli("report", run, "--out", out)
    assert (found.code, found.out.strip()) == (0, str(out))
    assert out.read_text() == "<p>pets.zarr"


@pytest.mark.parametrize(
    ("out", "reason"), [("x.pdf", "a report is an .html"), ("no/x.html", "there is no folder")]
)
def test_a_page_that_cannot_be_written_is_refused(run, cli, tmp_path, monkeypatch, out, reason):
    monkeypatch.chdir(tmp_path)
    found = cli("report", run, "--out", out)
    assert (found.code, reason in found.err) == (1, True)
