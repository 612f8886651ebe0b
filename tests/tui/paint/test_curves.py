"""The dots of a curve are those of plotext, to the cell, and are set a good deal quicker."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_tui.paint import curves
from lossviz_tui.paint.curves import DOTS, Curve, rasterise
from lossviz_tui.paint.palettes import Charset

SIZE = (14, 5)
points = st.lists(st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)), min_size=1, max_size=8)


def by_plotext(
    drawn: Sequence[Curve], size: tuple[int, int], charset: Charset
) -> tuple[np.ndarray, np.ndarray]:
    """What plotext makes of curves, by the way that ASCII takes."""
    width, height = size
    across, down = DOTS[charset]
    extent = (width * across - 1, height * down - 1)
    glyphs = np.full((height, width), " ", dtype="<U1")
    owners = np.full((height, width), -1, dtype=np.int64)
    pieces = [
        (piece, curve) for curve in drawn for piece in curves._visible_pieces(curve, extent)
    ]
    if pieces:
        for row, line in enumerate(curves._build(pieces, size, charset, extent).split("\n")):
            if row < height:
                curves._read_line(line, glyphs[row], owners[row])
    return glyphs, owners


@pytest.mark.parametrize("charset", ["braille", "blocks"])
def test_dots_are_where_plotext_sets_them(charset):
    @settings(max_examples=60, deadline=None)
    @given(st.lists(points, min_size=1, max_size=3))
    def same(shapes):
        across, down = DOTS[charset]
        extent = np.array([SIZE[0] * across - 1, SIZE[1] * down - 1])
        drawn = [
            Curve(*(np.array(shape) * extent).T.copy(), owner=k, glyph="*")
            for k, shape in enumerate(shapes)
        ]
        expected, whose = by_plotext(drawn, SIZE, charset)
        glyphs, owners = rasterise(drawn, SIZE, charset)
        np.testing.assert_array_equal(glyphs, expected)
        np.testing.assert_array_equal(owners, whose)

    same()


@pytest.mark.parametrize("charset", ["braille", "blocks"])
def test_every_dot_of_a_cell_is_plotexts(charset):
    across, down = DOTS[charset]
    for x in range(across):
        for y in range(down):
            drawn = [Curve(np.array([float(x)]), np.array([float(y)]), owner=3, glyph="*")]
            found, expected = (
                rasterise(drawn, (2, 2), charset),
                by_plotext(drawn, (2, 2), charset),
            )
            assert found[0].tolist() == expected[0].tolist()
            assert found[1].tolist() == expected[1].tolist() == [[-1, -1], [3, -1]]


def test_a_course_of_a_hundred_thousand_epochs_is_plotexts():
    generator = np.random.default_rng(0)
    x = np.linspace(0, 2 * SIZE[0] - 1, 100_000)
    y = (4 * SIZE[1] - 1) * (0.5 + 0.4 * np.sin(x / 3) + 0.1 * generator.random(len(x)))
    drawn = [Curve(x, y, owner=0, glyph="*")]
    thinned = [curves._thinned(drawn[0], 2 * (2 * SIZE[0] - 1))]
    found, expected = rasterise(drawn, SIZE, "braille"), by_plotext(thinned, SIZE, "braille")
    assert found[0].tolist() == expected[0].tolist()
