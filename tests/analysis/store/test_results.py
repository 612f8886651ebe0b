"""What the sums of a scan mean, against the examples they were summed from."""

from dataclasses import replace

import numpy as np
import pytest

from lossviz_analysis.store.results import SplitResult, result_of
from lossviz_analysis.store.scan_geometry import ScanGeometry

NUM_CLASSES, CHUNKS = 3, 2


@pytest.fixture
def geometry() -> ScanGeometry:
    return ScanGeometry(
        class_names=("a", "b", "c"),
        splits=("train",),
        points=(4,),
        has_confusion=False,
        chunks={"train": CHUNKS},
        examples={"train": 60},
        direction_norms=(1.0,),
        weight_norm=1.0,
    )


def cell(geometry: ScanGeometry, losses, wrong, labels, *, chunks: int) -> np.ndarray:
    """The sums over some examples, one by one."""
    layout = geometry.layout
    sums = np.zeros(layout.width)
    sums[0] = chunks
    for loss, is_wrong, label in zip(losses, wrong, labels, strict=True):
        sums[layout.seen][label] += 1
        sums[layout.mistakes][label] += is_wrong
        if np.isfinite(loss):
            sums[layout.loss_sum][label] += loss
            sums[layout.loss_square_sum][label] += loss**2
        else:
            sums[layout.nonfinite][label] += 1
    return sums


def split_of(geometry: ScanGeometry, *cells: np.ndarray, clip=None) -> SplitResult:
    missing = np.full(geometry.layout.width, np.nan)
    rows = np.stack([*cells, *[missing] * (4 - len(cells))])[:, None]
    found = result_of(geometry, (np.linspace(-1, 1, 4),), rows, clip=clip)
    return found.splits["train"]


def test_standard_errors_are_those_of_the_mean_of_the_examples(geometry):
    generator = np.random.default_rng(0)
    losses, wrong = generator.exponential(2.0, 37), generator.random(37) < 0.3
    labels = generator.integers(0, NUM_CLASSES, 37)
    found = split_of(geometry, cell(geometry, losses, wrong, labels, chunks=1))
    assert found.num_seen.tolist() == [37, 0, 0, 0]
    assert found.loss[0] == pytest.approx(losses.mean())
    assert found.loss_error[0] == pytest.approx(losses.std(ddof=1) / np.sqrt(37))
    assert found.mistake_rate_error[0] == pytest.approx(wrong.std(ddof=1) / np.sqrt(37))
    assert np.isnan(found.loss_error[1:]).all()
    assert np.isnan(found.mistake_rate_error[1:]).all()


def test_a_complete_cell_keeps_its_standard_error(geometry):
    """No finite population correction: a split is a sample of what there could be."""
    one = cell(geometry, [1.0, 3.0], [False, True], [0, 1], chunks=CHUNKS)
    found = split_of(geometry, one)
    assert found.is_complete[0]
    assert found.loss_error[0] == pytest.approx(1.0)
    assert found.mistake_rate_error[0] == pytest.approx(0.5)


def test_one_example_and_an_infinite_loss_have_no_standard_error(geometry):
    alone = cell(geometry, [1.0], [False], [0], chunks=1)
    infinite = cell(geometry, [1.0, np.inf, 2.0], [False, True, False], [0, 1, 2], chunks=1)
    found = split_of(geometry, alone, infinite)
    assert np.isnan(found.loss_error[:2]).all()
    assert found.loss[1] == np.inf
    assert np.isfinite(found.mistake_rate_error[1])


def test_equal_losses_have_an_error_of_nothing_however_they_round(geometry):
    found = split_of(geometry, cell(geometry, [0.1] * 7, [False] * 7, [0] * 7, chunks=1))
    assert found.loss_error[0] == pytest.approx(0.0, abs=1e-8)


def test_a_cell_without_an_example_is_void(geometry):
    void = cell(geometry, [], [], [], chunks=CHUNKS)
    found = split_of(geometry, void, cell(geometry, [1.0], [False], [0], chunks=1))
    assert found.is_void.tolist() == [True, False, False, False]
    assert found.is_known.tolist() == [True, True, False, False]
    assert np.isnan(found.loss[0])


@pytest.mark.parametrize(("clip", "expected"), [(None, False), (2.0, True), (3.0, False)])
def test_a_cell_is_at_least_a_clip_when_it_was_given_up_above_twice_that(
    geometry, clip, expected
):
    high = cell(geometry, [5.0, 6.0], [True, True], [0, 1], chunks=1)
    whole = cell(geometry, [5.0, 6.0], [True, True], [0, 1], chunks=CHUNKS)
    found = split_of(geometry, high, whole, clip=clip)
    assert found.is_at_least.tolist() == [expected, False, False, False]


def test_the_centre_is_the_model_s_point_where_it_is_on_the_grid(geometry):
    cells = np.full((4, 1, geometry.layout.width), np.nan)
    assert result_of(geometry, (np.array([-1.0, 0.0, 1.0, 2.0]),), cells).centre == (1,)
    assert result_of(geometry, (np.linspace(-1, 1, 4),), cells).centre is None
    plane = replace(geometry, points=(2, 2), direction_norms=(1.0, 1.0))
    axes = (np.array([0.0, 1.0]), np.array([-1.0, 0.0]))
    assert result_of(plane, axes, cells).centre == (0, 1)
