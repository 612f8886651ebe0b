"""Overview: curves of both splits, or the sentence that says why there are none."""

from dataclasses import replace

import pytest

from lossviz_tui.gpus import Gpu, GpuSample
from lossviz_tui.paint.colors import dimmed
from lossviz_tui.panels import overview
from lossviz_tui.scene import Standing
from lossviz_tui.selection import Selection

NARROW, WIDE = (80, 20), (160, 46)


def test_accuracy_in_percent_and_loss_of_both_splits(make_scene, read_lines):
    text = read_lines(overview.paint(make_scene(), NARROW))
    assert "accuracy  %" in text
    assert "cross-entropy" in text
    assert text.count(" train") == text.count("▲ test") == 2
    assert "batches" in text
    assert "learning rate" not in text


def test_a_large_screen_has_learning_rate_and_norm_too(make_scene, read_lines):
    text = read_lines(overview.paint(make_scene(), WIDE))
    assert "learning rate" in text
    assert "|w|" in text


def test_log_says_so(make_scene, read_lines):
    scene = make_scene(selection=Selection(view="overview", log=True))
    assert "cross-entropy, log" in read_lines(overview.paint(scene, NARROW))


def test_a_held_epoch_is_marked_in_every_chart(make_scene, read_lines):
    scene = make_scene(selection=Selection(view="overview", epoch=4))
    held = read_lines(overview.paint(scene, NARROW))
    following = read_lines(overview.paint(make_scene(), NARROW))
    # The cursor's foot stands on the axis of each chart.
    assert held.count("▲") == following.count("▲") + 2


@pytest.mark.parametrize(
    ("standing", "sentence"),
    [
        (None, "no epoch is recorded yet"),
        (Standing(word="live"), "no epoch is recorded yet"),
        (Standing(word="failed", message="the data is gone"), "the data is gone"),
        (Standing(word="crashed"), "the run crashed"),
    ],
)
def test_a_run_without_epochs_says_why(make_scene, make_view, read_lines, standing, sentence):
    scene = make_scene(view=make_view(epochs=0), standing=standing)
    assert sentence in read_lines(overview.paint(scene, NARROW))


def test_a_run_that_cannot_be_read_says_why(make_scene, read_lines):
    scene = replace(make_scene(view=None), trouble="the head is damaged")
    assert "the head is damaged" in read_lines(overview.paint(scene, NARROW))


def test_a_long_sentence_is_wrapped_not_cut(make_scene, make_view, read_lines):
    message = "the checkpoint cannot be read " * 4 + "because the disk is gone"
    standing = Standing(word="failed", message=message)
    scene = make_scene(view=make_view(epochs=0), standing=standing)
    text = read_lines(overview.paint(scene, (60, 18)))
    assert "because the disk is gone" in " ".join(text.split())


def test_a_line_says_what_has_no_chart(make_scene, read_lines):
    line = read_lines(overview.paint(make_scene(), NARROW)).splitlines()[0]
    assert line == "epoch 8: test 85.40 %, loss 0.356, lr 0.01, |w| 28"
    held = make_scene(selection=Selection(view="overview", epoch=2))
    line = read_lines(overview.paint(held, NARROW)).splitlines()[0]
    assert line.endswith("lr 0.1, |w| 22")


def test_a_smoothed_curve_says_how_and_keeps_the_raw_one(make_scene, make_view):
    view = make_view(epochs=100)
    smooth = Selection(view="overview", smoothing=0.1)
    scene = make_scene(view=view, selection=smooth)
    lines = overview.paint(scene, (120, 46))
    text = "".join(line.text for line in lines)
    assert "cross-entropy, mean of 11 epochs" in text
    assert "mean of" not in "".join(
        line.text for line in overview.paint(make_scene(view=view), (120, 46))
    )
    styles = {segment.style for line in lines for segment in line if segment.style}
    colors = {style.color.name for style in styles if style.color}
    raw, smoothed = dimmed("#e69f00", dark=True), "#e69f00"
    assert {raw, smoothed} <= colors


@pytest.mark.parametrize("size", [(80, 21), (160, 47), (300, 97)])
def test_what_the_gpu_does_is_shown_where_there_is_one(make_scene, read_lines, size):
    gpu = Gpu(number=3, use=0.87, used_bytes=10 * 2**30, total_bytes=80 * 2**30)
    samples = tuple(GpuSample(seconds=2.0 * k, gpus=(gpu,)) for k in range(50))
    text = read_lines(overview.paint(make_scene(gpus=samples), size))
    assert "GPU 3 87 % 10.0/80 GiB" in text.splitlines()[0]
    assert ("memory" in text) == (size[0] > 80)
    assert "GPU" not in read_lines(overview.paint(make_scene(), size))


def test_the_chart_of_the_gpu_moves_every_ten_seconds_only(make_scene):
    gpu = Gpu(number=0, use=0.5, used_bytes=2**30, total_bytes=2**34)

    def charts(count: int) -> list[str]:
        uses = (replace(gpu, use=k % 7 / 7) for k in range(count))
        gpus = tuple(GpuSample(seconds=2.0 * k, gpus=(one,)) for k, one in enumerate(uses))
        lines = [line.text for line in overview.paint(make_scene(gpus=gpus), WIDE)]
        return [line for line in lines if "GPU" not in line]

    assert charts(51) == charts(55)
    assert charts(51) != charts(56)


def test_images_a_second_come_from_the_records(make_scene, make_view, read_lines):
    view = make_view()
    columns = (*view.description.scalar_columns[:-1], "images_per_second")
    view = replace(view, description=replace(view.description, scalar_columns=columns))
    text = read_lines(overview.paint(make_scene(view=view), WIDE))
    assert "28 images/s" in text
    assert "images/s in training" in text
