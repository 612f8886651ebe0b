import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lossviz_tui.paint.colors import contrast_for, dimmed, luminance, nearest_256
from lossviz_tui.paint.palettes import (
    ASCII_MARKERS,
    BLUE_ORANGE,
    CIVIDIS,
    EMBER,
    LEVELS,
    MARKERS,
    VIRIDIS,
    Look,
    category_style,
    marker_for,
    quantise,
    style_for,
    value_range,
)

SEQUENTIAL = [VIRIDIS, CIVIDIS, EMBER]


@pytest.mark.parametrize("palette", SEQUENTIAL, ids=lambda p: p.name)
@pytest.mark.parametrize("dark", [True, False])
def test_a_sequential_palette_is_monotone_in_luminance(palette, dark: bool):
    colors = palette.colors(Look(dark=dark))
    steps = np.diff([luminance(color) for color in colors])
    assert len(colors) == LEVELS
    assert (steps > 0).all() or (steps < 0).all()


@pytest.mark.parametrize("palette", SEQUENTIAL, ids=lambda p: p.name)
@pytest.mark.parametrize("dark", [True, False])
def test_256_colours_keep_the_order_and_most_of_the_levels(palette, dark: bool):
    colors = [nearest_256(color) for color in palette.colors(Look(dark=dark))]
    light = np.array([luminance(color.get_truecolor().hex) for color in colors])
    steps = np.diff(light) * np.sign(light[-1] - light[0])
    assert (steps > -0.02).all()
    assert len(set(colors)) >= 10


def test_the_diverging_palette_is_faintest_in_the_middle():
    for dark, sign in ((True, 1), (False, -1)):
        light = sign * np.array([luminance(c) for c in BLUE_ORANGE.colors(Look(dark=dark))])
        assert (np.diff(light[:8]) < 0).all()
        assert (np.diff(light[8:]) > 0).all()


def test_eight_categories_differ_in_colour_and_in_marker():
    for look in (Look(), Look(dark=False), Look(color="16"), Look(color="256")):
        assert len({category_style(look, k) for k in range(8)}) == 8
    assert len(set(MARKERS)) == len(set(ASCII_MARKERS)) == 8
    assert all(cell_len(marker) == 1 for marker in MARKERS)
    assert marker_for(Look(), 8) == marker_for(Look(), 0)


@given(
    st.lists(st.floats(allow_nan=False), min_size=2, max_size=20),
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
    st.booleans(),
)
def test_levels_are_monotone_and_in_range(values, low: float, high: float, log: bool):
    levels = quantise(np.sort(values), low, high, log=log)
    assert ((levels >= 0) & (levels < LEVELS)).all()
    assert (np.diff(levels) >= 0).all()


def test_nan_infinities_and_ends_have_their_levels():
    values = [np.nan, -np.inf, 0.0, 0.5, 1.0, np.inf]
    assert quantise(values, 0, 1, 4).tolist() == [-1, 0, 0, 2, 3, 3]
    assert quantise([0.0, 0.001, 1.0], 0.001, 1, 3, log=True).tolist() == [0, 0, 2]
    assert quantise([1.0, 1.0, np.nan], 1, 1).tolist() == [0, 0, -1]


def test_the_range_ignores_what_is_not_finite():
    assert value_range([np.nan, 2, np.inf, -1]) == (-1, 2)
    assert value_range([0, 2, -1], log=True) == (2, 2)
    assert value_range([]) == (0, 1)


def test_without_colours_a_style_has_none():
    style = style_for(Look(color="none"), "#ffffff", "#000000", bold=True)
    assert style.color is None
    assert style.bgcolor is None
    assert style.bold


@pytest.mark.parametrize("palette", [*SEQUENTIAL, BLUE_ORANGE], ids=lambda p: p.name)
def test_text_on_every_colour_has_a_contrast_of_four_and_a_half(palette):
    for color in (*palette.dark, *palette.light):
        pair = sorted((luminance(color), luminance(contrast_for(color))))
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5


@pytest.mark.parametrize("dark", [True, False])
def test_dimmed_colours_keep_their_order_nearer_to_the_background(dark: bool):
    colors = VIRIDIS.colors(Look(dark=dark))
    found = [luminance(dimmed(color, dark=dark)) for color in colors]
    assert found == sorted(found)
    assert len(set(found)) == len(colors)
    assert found[-1] - found[0] < luminance(colors[-1]) - luminance(colors[0])
