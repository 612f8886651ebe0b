import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossviz_tui.paint.axes import (
    Scale,
    log_ticks,
    nice_step,
    nice_ticks,
    short_number,
    tick_labels,
)


def test_steps_are_one_two_or_five():
    assert [nice_step(span, 5) for span in (1, 2, 4.9, 7, 200)] == [0.2, 0.5, 1, 2, 50]
    assert nice_step(2, 5, integer=True) == 1
    assert nice_ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1]


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(1, 20))
def test_ticks_lie_inside_and_are_few(low: float, span: float, count: int):
    ticks = nice_ticks(low, low + span, count)
    assert len(ticks) <= count + 1
    slack = 1e-6 * max(span, abs(low) * 1e-3)
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)
    assert len(tick_labels(ticks)) == len(ticks)


def test_log_ticks_are_decades_or_round_numbers_within_one():
    assert log_ticks(-3, 0, 5) == pytest.approx([0.001, 0.01, 0.1, 1])
    assert log_ticks(math.log10(1.5), math.log10(8), 6) == pytest.approx([2, 3, 5, 7])
    assert log_ticks(math.log10(2.1), math.log10(2.4), 3) == pytest.approx([2.1, 2.2, 2.3, 2.4])


def test_labels_share_their_decimals():
    assert tick_labels([0, 0.5, 1]) == ["0.0", "0.5", "1.0"]
    assert tick_labels([0, 50, 100]) == ["0", "50", "100"]
    assert tick_labels([0.001, 0.01, 0.1]) == ["0.001", "0.01", "0.1"]
    assert tick_labels([0, 100000, 200000]) == ["0", "1e5", "2e5"]
    assert tick_labels([100200, 100400]) == ["100200", "100400"]
    assert tick_labels([0.001, 0.1]) == ["0.001", "0.1"]
    assert tick_labels([0.25]) == ["0.25"]


def test_a_read_out_has_three_digits():
    values = (0.0, 1234.5, 0.12345, 1e-7, 2e12, math.nan, -math.inf)
    texts = ["0", "1234", "0.123", "1e-7", "2e12", "nan", "-inf"]
    assert [short_number(value) for value in values] == texts


@given(
    st.floats(-100, 100), st.floats(0.1, 100), st.integers(2, 200), st.sampled_from([1, 2, 4])
)
def test_a_cell_and_its_value_agree(low: float, span: float, cells: int, dots: int):
    scale = Scale(low=low, high=low + span, cells=cells, dots=dots)
    assert scale.cell(low) == 0
    assert scale.cell(low + span) == cells - 1
    assert all(scale.cell(scale.value(k)) == k for k in range(cells))
    assert scale.cell(math.nan) is None
    assert scale.cell(low + 2 * span) is None
