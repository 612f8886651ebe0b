"""The lines at the top: state, epoch, age, scans, the view, and whether an epoch is held."""

from dataclasses import replace

import pytest

from lossviz_analysis.store.reader import Pulse
from lossviz_analysis.store.schema import Phase
from lossviz_tui.gpus import Gpu, GpuSample
from lossviz_tui.keys import VIEW_NAMES, VIEW_TITLES
from lossviz_tui.listing import ScanRow
from lossviz_tui.paint.palettes import Look
from lossviz_tui.panels import status
from lossviz_tui.scene import Standing
from lossviz_tui.selection import Selection

PULSE = Pulse(
    beat=4,
    epoch=9,
    step=41,
    steps_per_epoch=100,
    loss=0.4,
    images_per_second=900.0,
    phase=0,
    pid=1,
)


@pytest.fixture
def read(make_scene, read_lines):
    def paint(width=80, look=None, **changes) -> list[str]:
        usual = {
            "standing": Standing(word="live", pulse=PULSE, data_seen=100.0),
            "now": 165.0,
            "selection": Selection(view="dance"),
        }
        scene = make_scene(look=look, **(usual | changes))
        return read_lines(status.paint(scene, (width, 2))).splitlines()

    return paint


def scan_row(word: str, done: int = 0) -> ScanRow:
    return ScanRow(
        scan_id="s",
        word=word,
        request=None,
        done=done,
        total=200,
        items_per_second=1.0,
        message="",
    )


def test_state_epoch_share_name_and_age(read):
    first, second = read()
    assert first.startswith("● live  epoch 8/12 +41% pets")
    assert first.endswith("data 1m old")
    assert second == " 1 Runs  2 Overview [3 Dance] 4 Notes  5 CCTM  6 Landscape"


def test_the_state_is_a_word_and_a_sign_in_ascii_too(read):
    assert read(look=Look(charset="ascii", color="none"))[0].startswith("* live")


def test_a_finished_run_has_no_share_of_an_epoch(read):
    first, _ = read(standing=Standing(word="finished", pulse=PULSE, data_seen=165.0))
    assert first.startswith("✓ finished  epoch 8/12 pets")
    assert first.endswith("ended 0s ago")


def test_a_held_epoch_is_a_badge_that_counts_what_is_newer(read):
    assert read(selection=Selection(view="dance", epoch=5))[1].endswith("HELD at 5, 3 newer")
    assert read(selection=Selection(view="dance", epoch=8))[1].endswith("HELD at 8")
    assert "HELD" not in read()[1]


def test_the_badge_fits_at_eighty_columns_beside_the_views(read):
    text = read(selection=Selection(view="landscape", epoch=5))[1]
    assert "[6 Landscape]" in text
    assert text.endswith(" HELD at 5, 3 newer")


def test_a_scan_under_way_is_on_the_first_line(read):
    assert "scan running 25%" in read(scans=(scan_row("done", 200), scan_row("running", 50)))[0]
    assert "scan queued +1" in read(scans=(scan_row("queued"), scan_row("queued")))[0]
    assert "scan" not in read(scans=(scan_row("done", 200),))[0]


@pytest.mark.parametrize("width", range(20, 100, 7))
def test_the_state_stays_whatever_else_there_is_to_say(read, width):
    first, _ = read(
        width,
        trouble="gone",
        scans=(scan_row("running", 50), scan_row("queued"), scan_row("queued")),
    )
    assert first.startswith("● live ")
    assert "data 1m old" in first


def test_the_scan_that_is_computed_is_named_though_an_older_one_waits(read):
    older, newer = replace(scan_row("queued"), place=1), scan_row("running", 50)
    assert "scan running 25% +1" in read(scans=(older, newer))[0]
    last, first = (
        replace(scan_row(w), place=p) for w, p in (("queued", 2), ("interrupted", 1))
    )
    assert "scan interrupted +1" in read(scans=(last, first))[0]


def test_a_failed_run_says_why_instead_of_its_epoch(read):
    first, _ = read(standing=Standing(word="failed", message="CUDA is out of memory"))
    assert first.startswith("✗ failed  CUDA is out of memory")


def test_trouble_is_named_while_the_old_picture_stays(read):
    assert "store unreadable" in read(trouble="the head is damaged")[0]


def test_without_a_run_the_folder_is_named(read, tmp_path):
    first, _ = read(view=None, standing=None, folder=tmp_path, width=200)
    assert first == f"0 runs below {tmp_path}"


def test_between_the_last_batch_and_the_record_it_says_what_goes_on(read):
    for phase, words in (
        (Phase.TRAINING, "epoch 8/12 +99%"),
        (Phase.EVALUATING, "epoch 8/12, evaluating"),
        (Phase.SAVING, "epoch 8/12, saving"),
    ):
        pulse = replace(PULSE, step=100, phase=phase)
        first = read(standing=Standing(word="live", pulse=pulse, data_seen=100.0))[0]
        assert words in first
        assert "100%" not in first


def test_a_click_on_a_tab_opens_its_view(make_scene):
    scene = make_scene(selection=Selection(view="dance"))
    lines = status.paint(scene, (80, 2))
    opened = {
        lines[1].text[t.left : t.left + t.width].strip(" []"): t.click(scene, 0, 0).view
        for t in lines.targets
        if t.click is not None
    }
    assert opened == {
        f"{number} {title}": name
        for number, (name, title) in enumerate(zip(VIEW_NAMES, VIEW_TITLES, strict=True), 1)
    }


def test_a_wide_line_says_what_the_gpu_does(read):
    gpus = tuple(
        Gpu(
            number=k,
            use=(0.9, 0.2)[k],
            used_bytes=2**30,
            total_bytes=2**34,
            pids=frozenset({k}),
        )
        for k in range(2)
    )
    sample = (GpuSample(seconds=0.0, gpus=gpus),)
    assert (
        "GPU 1 of 2 20 % 1.0/16 GiB" in read(120, gpus=sample)[0]
    )  # that of the run's process
    assert "GPU" not in read(80, gpus=sample)[0]


def test_with_readonly_a_paused_run_names_no_key(read):
    paused = Standing(word="paused", message="asked to", pulse=PULSE, data_seen=100.0)
    assert "p: go on" in read(standing=paused)[0]
    assert "p: go on" not in read(standing=paused, readonly=True)[0]
