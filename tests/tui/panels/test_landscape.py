"""Landscape: the list of scans, and the one in focus however far it is."""

from dataclasses import replace

import pytest

from lossviz_analysis.store.requests import DirectionSpec
from lossviz_analysis.store.scan_report import ScanReport
from lossviz_analysis.store.scan_writer import ScanWriter
from lossviz_analysis.store.scans import scan_folder
from lossviz_analysis.store.schema import ScanState
from lossviz_tui.panels import landscape
from lossviz_tui.scene import Standing

NARROW, WIDE = (80, 20), (160, 46)
NAMES = ("plane", "car", "cat", "dog", "ship")


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("landscape") / "pets.zarr")


@pytest.fixture
def read(run, scene_of_scans, read_lines):
    """What the view says of scans, the last one in focus."""

    def paint(*scan_ids: str, size=NARROW, standing=None, **selection) -> str:
        scene = replace(scene_of_scans(run, *scan_ids, **selection), standing=standing)
        return read_lines(landscape.paint(scene, size))

    return paint


@pytest.fixture(scope="module")
def plane(run, make_scan):
    return make_scan(run)


def test_without_scans_the_key_is_named(read):
    assert "press s to ask for one" in read()


def test_the_list_names_kind_classes_epoch_grid_and_state(read, plane):
    text = read(plane)
    assert ">ego cat/dog ±0.1 e2 9x9" in text
    assert "✓ done" in text
    assert "1 of 1" in text


def test_a_plane_names_split_quantity_and_directions(read, plane):
    text = read(plane)
    for words in ("train  mistakes %", "ego cat", "ego dog", "|d| 1.5, 1.5", "centre train"):
        assert words in text
    assert "train  cross-entropy" in read(plane, quantity="loss")


def test_facts_stand_beside_the_plane_and_the_cut_below_them(read, plane):
    for size in (NARROW, WIDE):
        text = read(plane, size=size)
        assert "frozen BN, exact, complete" in text
        assert "train 500 images" in text
        assert "lowland (centre + 5 %)" in text
    assert "cut at 135 degrees" in read(plane, size=WIDE)


def test_the_modes_of_a_plane(read, plane):
    classes = read(plane, mode="classes")
    assert "recall loss of each class" in classes
    for name in ("plane", "car", "cat", "dog", "ship"):
        assert name in classes
    assert "cut at 30 degrees" in read(plane, mode="cut", cut_degrees=30.0)
    assert "loss-shape similarity" in read(plane, mode="similarity")


def test_a_line_has_chance_and_its_type(read, run, make_scan, ask_scan):
    text = read(make_scan(run, ask_scan(1)))
    assert "chance" in text
    assert "mistakes" in text
    assert "train: " in text


def test_a_running_scan_says_how_far_it_is(read, run, make_scan):
    scan_id = make_scan(run, state=ScanState.RUNNING, share=0.5)
    text = read(scan_id)
    assert "● running 51%" in text
    assert "coarse picture: 41 of 81 points on all 500 images" in text


def test_a_queued_scan_says_what_it_waits_for(read, run, make_scan):
    scan_id = make_scan(run, state=ScanState.QUEUED)
    assert "the scan worker is starting" in read(scan_id)
    up = Standing(word="live", worker_is_up=True)
    alone = read(scan_id, standing=up)
    assert "it is about to begin" in alone
    assert "another scan" not in alone
    other = make_scan(run, state=ScanState.RUNNING, share=0.5)
    assert "another scan comes first" in read(other, scan_id, standing=up)


def test_a_scan_that_nobody_computes_says_so(run, make_scan, scene_of_scans, read_lines):
    old = "20250102-030405000-ego-abc123"
    scan_id = make_scan(run, state=ScanState.QUEUED)
    scan_folder(run, scan_id).rename(scan_folder(run, old))
    scene = replace(scene_of_scans(run, old), now=1_000.0)
    assert "no worker is running" in read_lines(landscape.paint(scene, NARROW))
    for standing, asked in ((Standing(word="live", worker_is_up=True), 0.0), (None, 995.0)):
        again = replace(scene, standing=standing, worker_asked=asked)
        assert "no worker" not in read_lines(landscape.paint(again, NARROW))


def test_a_running_scan_says_how_fast_and_how_long_still(
    run, make_scan, scene_of_scans, read_lines
):
    report = ScanReport(images_per_second=100.0)
    scan_id = make_scan(run, state=ScanState.RUNNING, share=0.5, report=report)
    scene = scene_of_scans(run, scan_id)
    for size in (NARROW, WIDE):
        text = read_lines(landscape.paint(scene, size))
        assert "100 images/s, 3m 20s left" in text  # 40 points of 500 images
        assert "images, 3m 20s left" in text


def test_the_time_left_counts_the_rests_and_outlives_the_rate_where_it_is_tight(
    run, make_scan, scene_of_scans, read_lines
):
    seconds = {"setup": 1.0, "computing": 8.0, "resting": 4.0}
    report = ScanReport(images_per_second=10.0, seconds=seconds)
    scan_id = make_scan(run, state=ScanState.RUNNING, share=0.5, report=report)
    scene = scene_of_scans(run, scan_id)
    wide = read_lines(landscape.paint(scene, NARROW))
    assert "● running 51%, 5 images/s, 1h 7m left" in wide
    small = read_lines(landscape.paint(scene, (60, 16)))
    assert ">ego cat/dog ±0.1 e2 9x9" in small
    assert "● running 51%, 1h 7m left" in small
    assert scene.picture is not None
    assert "at rest 50 % of the time, for the training" in scene.picture.facts


def test_a_failed_scan_says_why(read, run, begin, ask_scan):
    writer = begin(run, ask_scan())
    writer.finish(ScanState.FAILED, "the checkpoint of epoch 2 is damaged")
    text = read(writer.folder.name)
    assert "✗ failed" in text
    assert "the checkpoint of epoch 2 is damaged" in text


def test_a_failed_scan_without_a_result_says_why_in_the_middle(read, run, make_scan):
    scan_id = make_scan(run, state=ScanState.QUEUED)
    writer = ScanWriter(scan_folder(run, scan_id))
    writer.claim()
    writer.finish(ScanState.FAILED, "the data has moved")
    text = read(scan_id)
    assert "the scan failed" in text
    assert "the data has moved" in text


def test_an_interrupted_scan_says_which_key_goes_on(read, run, begin, fill_scan, ask_scan):
    request = ask_scan()
    writer = begin(run, request)
    fill_scan(writer, request, NAMES, 0.5)
    writer.pause()
    text = read(writer.folder.name)
    assert "◐ interrupted" in text
    stage = "coarse picture: 41 of 81 points on all 500 images"
    assert f"interrupted, r goes on; {stage}" in text


def test_the_stages_of_a_scan_in_words(read, run, make_scan, ask_scan):
    running = {"state": ScanState.RUNNING}
    coarse = make_scan(run, **running, stride=4, chunks=lambda _: 1)
    assert "coarse picture: 9 of 81 points on 250 of 500 images" in read(coarse)
    whole = make_scan(run, **running, chunks=lambda index: 1 + (index[0] > 3))
    assert "all points on 250 of 500 images" in read(whole)
    final = make_scan(run, ask_scan(is_final=True), **running, share=0.1)
    assert "\n9 of 81 points on all 500 images" in read(final)
    assert "complete" in read(make_scan(run))


def test_what_a_scan_leaves_out_is_said_and_marked(read, run, make_scan, ask_scan):
    refined = make_scan(run, ask_scan(refine=True), stride=2)
    assert "refined: 25 of 81 points evaluated" in read(refined)
    request = ask_scan(clip=0.4)
    clipped = make_scan(run, request, chunks=lambda index: 1 if set(index) <= {0, 8} else 2)
    assert "complete; 4 cells at least 0.4" in read(clipped, quantity="loss")


def test_the_trajectory_is_drawn_and_told(read, run, make_scan):
    way = ((0.0, -0.09, -0.09, 0.5), (4.0, 0.05, -0.09, 0.25), (8.0, 0.05, 0.08, 0.0))
    text = read(make_scan(run, trajectory=way), size=WIDE)
    for words in ("○", "●", "•", "│", "─", "way ○ epoch 0 to ● epoch 8, 3 stops"):
        assert words in text
    assert "out of the plane by at most 0.5" in text
    assert "•" in read(make_scan(run, trajectory=way))


def test_how_it_was_computed_stands_among_the_facts(read, run, make_scan):
    report = ScanReport(
        forward="compiled",
        precision="exact",
        images_per_second=1234.0,
        bare_images_per_second=1300.0,
        notes=("fast was out of tolerance",),
    )
    text = read(make_scan(run, report=report), size=WIDE)
    for words in ("1,234 images/s, 95 % of the bare rate", "compiled", "out of tolerance"):
        assert words in text


def test_lines_of_a_series_share_a_chart_and_a_line_of_the_list(read, run, make_scan, ask_scan):
    ids = [
        make_scan(
            run,
            ask_scan(
                1,
                series="five",
                directions=(DirectionSpec(kind="gaussian", normalise="model", seed=seed),),
            ),
        )
        for seed in (4, 7)
    ]
    text = read(*ids, size=WIDE)
    for words in (">2× gaussian ±0.1 e2 9", "seed 4", "seed 7", "curve 2 of 2", "train: 2 "):
        assert words in text
    assert "1 of 1" in text
    queued = make_scan(run, ask_scan(1, series="five"), state=ScanState.QUEUED)
    assert "seed 4" in read(*ids, queued)  # the chart has other curves


def test_a_film_has_one_line_of_the_list_and_one_scale(read, run, make_scan, ask_scan):
    ids = [
        make_scan(run, ask_scan(series="film", epoch=epoch, ranges=((-end, end),) * 2))
        for epoch, end in ((2, 0.1), (4, 0.2))
    ]
    text = read(*ids, scan_id=ids[0])
    assert ">2× ego cat/dog ±0.1 e2..4 9x9" in text
    assert "frame 1 of 2, epoch 2 (← → step, space plays)" in text
    alone = read(ids[0])
    assert text.splitlines()[8] != alone.splitlines()[7]
    assert "(playing)" in read(*ids, is_playing=True)


def test_a_plane_out_of_sight_of_the_model_has_no_cut(read, run, make_scan, ask_scan):
    scan_id = make_scan(run, ask_scan(ranges=((0.05, 0.1), (-0.1, 0.1))))
    assert "the model is out of sight" in read(scan_id, mode="cut")
    assert "┼" not in read(scan_id)


def test_many_scans_scroll_with_the_focus(read, run, make_scan):
    ids = [make_scan(run, state=ScanState.QUEUED) for _ in range(6)]
    assert "1 of 6" in read(*ids)
    text = read(*ids, scan_id=ids[0])
    assert "6 of 6" in text
    assert text.count(">ego") == 1


def test_a_scan_that_was_taken_and_has_no_point_yet_is_being_set_up(read, run, make_scan):
    first, second = (make_scan(run, state=ScanState.QUEUED) for _ in range(2))
    writer = ScanWriter(scan_folder(run, second))
    writer.claim()
    text = read(first, second)
    writer.release()
    assert "computing the directions" in text
    assert "● running 0%" in text
