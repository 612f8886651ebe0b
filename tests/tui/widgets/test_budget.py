import pytest
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from lossviz_tui.paint.cells import text_line
from lossviz_tui.widgets.budget import ByteBudget, estimated_bytes


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_free_and_the_next_byte_waits_for_the_flow():
    clock = Clock()
    budget = ByteBudget(1000, clock)
    assert budget.delay(1000) == 0
    budget.spend(1000)
    assert budget.delay(500) == pytest.approx(0.5)
    clock.now = 0.5
    assert budget.delay(500) == 0


def test_a_frame_larger_than_the_burst_goes_when_the_bucket_is_full_and_leaves_a_debt():
    clock = Clock()
    budget = ByteBudget(1000, clock, burst_bytes=2000)
    assert budget.delay(5000) == 0
    budget.spend(5000)
    assert budget.delay(1) == pytest.approx(3.001)


def test_over_a_long_time_no_more_than_the_rate_goes():
    clock = Clock()
    budget = ByteBudget(1000, clock)
    sent = 0
    for _ in range(1000):
        if budget.delay(700) == 0:
            budget.spend(700)
            sent += 700
        clock.now += 0.05
    assert 49_000 <= sent <= 51_700


def test_a_rate_has_to_be_positive():
    with pytest.raises(ValueError, match="positive rate"):
        ByteBudget(0, Clock())


def test_the_estimate_is_near_what_is_sent():
    style = Style(color="#102030", bgcolor="#a0b0c0")
    strip = Strip(
        [Segment("▀" * 5, style), Segment("abc", Style(color="#ffffff")), Segment(" ", style)]
    )
    console = Console(color_system="truecolor", force_terminal=True)
    base = Style(color="#808080", bgcolor="#111111")
    sent = len(strip.apply_style(base).render(console).encode())
    assert sent * 0.8 < estimated_bytes(strip) < sent * 1.3
    assert estimated_bytes(text_line("", 0)) < 20
