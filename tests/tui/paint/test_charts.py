import re
import time
from typing import Any

import numpy as np
import plotext
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_tui.paint.charts import (
    ChartOptions,
    LevelLine,
    Marks,
    Series,
    chart_frame,
    line_chart,
)
from lossviz_tui.paint.colors import dimmed
from lossviz_tui.paint.curves import DOTS, Curve, rasterise
from lossviz_tui.paint.palettes import Look, category_style

LOOKS = [
    Look(),
    Look(charset="blocks", color="256", dark=False),
    Look(color="none"),
    Look(charset="ascii", color="16"),
]
EPOCHS = np.arange(50.0)
FULL = ChartOptions(
    title="Label dance",
    y_label="recall, %",
    cursor_x=20,
    marks=[Marks(x=np.array([10.0]), y=np.array([0.5]))],
    h_lines=[LevelLine(y=0.1, label="chance")],
)


def curve(label: str = "cat", index: int = 0, **more) -> Series:
    return Series(
        label=label, x=EPOCHS, y=1 - np.exp(-EPOCHS / (9 + index)), color_index=index, **more
    )


def text_of(lines) -> str:
    return "\n".join(line.text for line in lines)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200), st.integers(1, 60), st.sampled_from(LOOKS))
def test_a_chart_is_as_large_as_it_is_told(check_lines, width: int, height: int, look: Look):
    series = [curve("cat\x1b[2J", 0), curve("犬", 1, bold=True), curve("grey", -1)]
    check_lines(
        line_chart(series, (width, height), look=look, options=FULL), (width, height), look
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats() | st.sampled_from([0.0, 1e308, -1e308, np.nan, np.inf]), max_size=12),
    st.booleans(),
    st.sampled_from(["line", "points", "both"]),
)
def test_no_values_break_a_chart(check_lines, values, log_y: bool, style):
    y = np.array(values, dtype=np.float64)
    series = [Series(label="a", x=np.arange(float(len(y))), y=y, style=style)]
    lines = line_chart(series, (50, 12), look=Look(), options=ChartOptions(log_y=log_y))
    check_lines(lines, (50, 12), Look())


def test_no_data_says_so():
    assert "no data yet" in text_of(line_chart([], (40, 10), look=Look()))


def test_one_epoch_is_a_marker():
    one = Series(label="cat", x=np.array([1.0]), y=np.array([0.5]))
    assert "●" in text_of(line_chart([one], (40, 12), look=Look()))


def test_equal_values_are_a_level_line():
    flat = Series(label="", x=EPOCHS, y=np.full(50, 3.0))
    lines = line_chart([flat], (40, 12), look=Look(charset="ascii"))
    assert any(line.text.count("o") > 25 for line in lines)


def test_a_gap_stays_open():
    y = np.where((EPOCHS > 15) & (EPOCHS < 35), np.nan, 1.0)
    lines = line_chart([Series(label="", x=EPOCHS, y=y)], (60, 9), look=Look(charset="ascii"))
    row = next(line.text for line in lines if "ooo" in line.text)
    assert "o " in row.strip("|+ 0123456789.")


def test_a_curve_that_leaves_the_limits_is_cut_at_the_edge():
    y = np.where(EPOCHS == 25, 1e12, 0.5)
    options = ChartOptions(y_limits=(0, 1))
    started = time.process_time()
    lines = line_chart(
        [Series(label="", x=EPOCHS, y=y)], (60, 12), look=Look(), options=options
    )
    assert time.process_time() - started < 1
    assert lines[0].text.strip("│┤ ┈1.0")  # the spike reaches the top row


def test_the_epoch_ticks_are_whole_numbers():
    short = Series(label="", x=np.arange(3.0), y=np.arange(3.0))
    last = line_chart([short], (80, 12), look=Look())[-1].text
    assert last.split() == ["epoch", "0", "1", "2"]


def test_cursor_mark_and_level_are_where_the_frame_says():
    size = (80, 24)
    lines = line_chart([curve()], size, look=Look(), options=FULL)
    frame = chart_frame([curve()], size, look=Look(), options=FULL)
    column = frame.column(20)
    assert column is not None
    assert frame.x_at(column) == pytest.approx(20, abs=0.5)
    bottom = frame.top + frame.y.cells
    assert lines[bottom].text[column] == "▲"
    assert sum(line.text[column] == "│" for line in lines[frame.top : bottom]) > 15
    assert "20" in lines[bottom + 1].text[column - 2 : column + 3]
    row, mark = frame.row(0.5), frame.column(10)
    assert row is not None
    assert mark is not None
    assert lines[row].text[mark] == "▼"
    assert "chance" in text_of(lines)


def test_direct_labels_stand_in_the_order_of_the_curves():
    series = [curve(f"class {k}", k) for k in range(4)]
    lines = line_chart(series, (90, 20), look=Look())
    found = [line.text[-9:].strip() for line in lines if "class" in line.text]
    assert found == ["● class 0", "▲ class 1", "■ class 2", "◆ class 3"]


def test_a_legend_that_does_not_fit_counts_the_rest():
    series = [curve(f"class {k}", k) for k in range(8)]
    header = line_chart(series, (40, 10), look=Look())[0].text
    assert header.rstrip().endswith(f"+{8 - header.count('class')}")


def test_the_bold_curve_is_drawn_on_top():
    below = curve("b", 1)
    above = Series(label="a", x=below.x, y=below.y, color_index=0, bold=True)
    lines = line_chart(
        [above, below], (50, 8), look=Look(), options=ChartOptions(legend="none")
    )
    styles = {segment.style for line in lines for segment in line}
    assert category_style(Look(), 0, bold=True) in styles
    assert category_style(Look(), 1) not in styles


def test_a_log_axis_leaves_out_what_is_not_positive():
    y = np.array([0.0, -1.0, 1e-3, 1.0])
    series = [Series(label="", x=np.arange(4.0), y=y)]
    text = text_of(line_chart(series, (50, 16), look=Look(), options=ChartOptions(log_y=True)))
    assert "0.001" in text
    assert "0.1" in text


@pytest.mark.parametrize("look", [look for look in LOOKS if look.color != "none"])
def test_a_dim_curve_lies_under_the_others(look):
    raw = Series(label="", x=EPOCHS, y=EPOCHS, color_index=1, dim=True)
    front = Series(label="", x=EPOCHS, y=EPOCHS[::-1], color_index=1, bold=True)
    options = ChartOptions(y_limits=(0, 49))
    alone = line_chart([front], (50, 12), look=look, options=options)
    both = line_chart([front, raw], (50, 12), look=look, options=options)
    style = category_style(look, 1, bold=True)
    assert glyphs_in(style, both) == glyphs_in(style, alone) != set()
    assert text_of(both) != text_of(alone)


def test_a_dim_curve_is_weaker_in_its_own_way_on_each_terminal():
    raw = Series(label="", x=EPOCHS, y=EPOCHS, color_index=1, dim=True)
    colors = {s.style.color.name for s in segments_of(raw, Look()) if s.style.color}
    assert dimmed("#e69f00", dark=True) in colors
    assert any(s.style.dim for s in segments_of(raw, Look(color="none")))


def segments_of(one: Series, look: Look) -> list[Any]:
    return [segment for line in line_chart([one], (50, 12), look=look) for segment in line]


def glyphs_in(style, lines) -> set[tuple[int, int, str]]:
    """Column, row and glyph of what is drawn in a style."""
    found: set[tuple[int, int, str]] = set()
    for row, line in enumerate(lines):
        column = 0
        for segment in line:
            for glyph in segment.text:
                if segment.style == style and glyph.strip():
                    found.add((column, row, glyph))
                column += 1
    return found


def test_a_marked_curve_bears_its_glyph():
    plain, marked = (
        text_of(line_chart([curve("a", 3, marked=is_marked)], (60, 12), look=Look()))
        for is_marked in (False, True)
    )
    assert marked.count("◆") > plain.count("◆") + 2


def test_nothing_is_printed(capsys):
    line_chart([curve(), curve("b", 1)], (80, 24), look=Look(), options=FULL)
    assert capsys.readouterr() == ("", "")


def test_a_long_curve_is_thinned_but_keeps_its_extremes():
    y = np.zeros(20_000)
    y[12_345] = 1.0
    x = np.linspace(0, 99, y.size)
    glyphs, owners = rasterise([Curve(x, y * 39, 7, "*")], (50, 10), "braille")
    assert (owners[0] == 7).any()
    assert (glyphs[0] != " ").any()


def by_plotext(x, y, size, charset) -> list[str]:
    """One polyline as plotext draws it."""
    across, down = DOTS[charset]
    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.plotsize(*size)
    plotext.frame(False)
    plotext.xaxes(False, False)
    plotext.yaxes(False, False)
    plotext.xticks([])
    plotext.yticks([])
    plotext.canvas_color("default")
    plotext.axes_color("default")
    plotext.xlim(0, size[0] * across - 1)
    plotext.ylim(0, size[1] * down - 1)
    marker = {"braille": "braille", "blocks": "hd", "ascii": "o"}[charset]
    plotext.plot(x.tolist(), y.tolist(), marker=marker)
    built = re.sub(r"\x1b\[[0-9;]*m", "", plotext.build())
    plotext.clear_figure()
    return [line.ljust(size[0]) for line in built.split("\n")[: size[1]]]


@pytest.mark.oracle
@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 40),
    st.integers(2, 12),
    st.sampled_from(["braille", "blocks", "ascii"]),
    st.integers(1, 60),
    st.integers(0, 2**16),
)
def test_a_polyline_is_that_of_plotext(width, height, charset, count, seed):
    across, down = DOTS[charset]
    rng = np.random.default_rng(seed)
    x: np.ndarray = np.sort(rng.uniform(0, width * across - 1, count))
    y = rng.uniform(0, height * down - 1, count)
    if seed % 3 == 0:
        x, y = np.round(x), np.round(y)
    glyphs, owners = rasterise([Curve(x, y, 3, "o")], (width, height), charset)
    assert ["".join(row) for row in glyphs] == by_plotext(x, y, (width, height), charset)
    np.testing.assert_array_equal(owners == 3, glyphs != " ")


def test_a_later_curve_covers_the_cells_of_an_earlier_one():
    level, rising = np.array([0.0, 19.0]), np.array([0.0, 9.0])
    curves = [Curve(level, np.full(2, 5.0), 0, "a"), Curve(level, rising, 1, "b")]
    alone, _ = rasterise(curves[1:], (10, 5), "blocks")
    both, owners = rasterise(curves, (10, 5), "blocks")
    np.testing.assert_array_equal(both[owners == 1], alone[alone != " "])
    assert set(owners.ravel().tolist()) == {-1, 0, 1}


def test_twelve_noisy_curves_of_100_000_epochs_on_a_large_screen_are_quick():
    x, rng = np.arange(100_000.0), np.random.default_rng(0)
    series = [Series(label="", x=x, y=rng.random(x.size), color_index=k) for k in range(12)]
    spent = []
    for _ in range(3):
        started = time.process_time()
        line_chart(series, (240, 90), look=Look())
        spent.append(time.process_time() - started)
    assert min(spent) < 1.0  # 0.2 s here; plotext took 20


@pytest.mark.parametrize("charset", ["braille", "blocks"])
def test_ten_curves_of_200_epochs_take_less_than_a_budget(charset):
    x = np.arange(200.0)
    rng = np.random.default_rng(0)
    series = [
        Series(label=f"c{k}", x=x, y=rng.normal(0.5, 0.1, 200).cumsum(), color_index=k)
        for k in range(10)
    ]
    spent = []
    for _ in range(4):
        started = time.process_time()
        line_chart(series, (120, 30), look=Look(charset=charset), options=FULL)
        spent.append(time.process_time() - started)
    assert min(spent) < 0.12  # 0.03 s here; room for a slow machine
