from collections.abc import Callable, Sequence

import pytest
from rich.cells import cell_len
from textual.strip import Strip

from lossviz_tui.paint.palettes import Look

Check = Callable[[Sequence[Strip], tuple[int, int], Look], None]


@pytest.fixture(scope="session")
def check_lines() -> Check:
    """What every painter promises: exact size, a Style everywhere, nothing a terminal obeys."""

    def check(lines: Sequence[Strip], size: tuple[int, int], look: Look) -> None:
        width, height = size
        assert len(lines) == height
        for line in lines:
            assert line.cell_length == width
            assert cell_len(line.text) == width
            for segment in line:
                assert segment.style is not None
                assert segment.control is None
                assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in segment.text)
                if look.charset == "ascii":
                    assert segment.text.isascii()
                if look.color == "none":
                    assert segment.style.color is None
                    assert segment.style.bgcolor is None

    return check
