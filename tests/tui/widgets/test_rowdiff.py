from dataclasses import replace

import numpy as np
import pytest
from rich.style import Style
from textual import events, on
from textual.app import App, ComposeResult
from textual.geometry import Region, Size
from textual.strip import Strip

from lossviz_tui.paint.cells import text_line
from lossviz_tui.paint.charts import Series, line_chart
from lossviz_tui.paint.digits import digits_table
from lossviz_tui.paint.matrix import heatmap
from lossviz_tui.paint.palettes import Look
from lossviz_tui.paint.staff import staff
from lossviz_tui.paint.targets import Lines, Target
from lossviz_tui.widgets.budget import ByteBudget
from lossviz_tui.widgets.rowdiff import RowDiffView, changed_rows

RED = Style(color="red")


def lines_for(size: tuple[int, int], text: str = "x") -> list[Strip]:
    return [text_line(text * size[0], size[0], RED) for _ in range(size[1])]


class Recorded(RowDiffView):
    """Remembers which regions were asked to be painted again."""

    def __init__(self, **options) -> None:
        self.regions: list[Region] = []
        self.rendered: list[int] = []
        super().__init__(**options)

    def refresh(self, *regions, **options):
        self.regions += regions
        return super().refresh(*regions, **options)

    def render_line(self, y: int) -> Strip:
        self.rendered.append(y)
        return super().render_line(y)


class ViewApp(App[None]):
    CSS = "RowDiffView { background: #102030; color: #ffffff; border: solid white; }"

    def __init__(self, budget: ByteBudget | None = None) -> None:
        super().__init__()
        self.view = Recorded(budget=budget)
        self.sizes: list[Size] = []

    def compose(self) -> ComposeResult:
        yield self.view

    @on(RowDiffView.SizeChanged)
    def remember(self, event: RowDiffView.SizeChanged) -> None:
        assert event.control is self.view
        self.sizes.append(event.size)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def row_text(view: RowDiffView, row: int) -> str:
    return view.render_line(row).text


async def test_only_changed_rows_are_refreshed_and_neighbours_together():
    app = ViewApp()
    async with app.run_test(size=(22, 12)):
        size = app.view.content_size
        lines = lines_for(size)
        assert app.view.show(lines)
        app.view.regions.clear()
        for row in (2, 3, 7):
            lines[row] = text_line("y" * size.width, size.width, RED)
        assert app.view.show(lines)
        assert app.view.regions == [Region(0, 2, 20, 2), Region(0, 7, 20, 1)]
        app.view.regions.clear()
        assert app.view.show(lines_for(size)[:2] + lines[2:])
        assert app.view.regions == []


async def test_textual_renders_only_the_row_that_changed():
    app = ViewApp()
    async with app.run_test(size=(82, 42)) as pilot:
        size = app.view.content_size
        lines = lines_for(size)
        app.view.show(lines)
        await pilot.pause()
        app.view.rendered.clear()
        lines[5] = text_line("y" * size.width, size.width, RED)
        app.view.show(lines)
        await pilot.pause()
        assert app.view.rendered == [5]


async def test_lines_built_for_another_size_are_dropped():
    app = ViewApp()
    async with app.run_test(size=(22, 12)):
        assert not app.view.show(lines_for((19, 10)))
        assert not app.view.show(lines_for((20, 9)))
        assert not app.view.show([])
        assert row_text(app.view, 0).strip() == ""
        assert app.view.show(lines_for((20, 10)))
        assert row_text(app.view, 9) == "x" * 20


async def test_a_resize_asks_for_a_new_picture_and_never_fails():
    app = ViewApp()
    async with app.run_test(size=(22, 12)) as pilot:
        app.view.show(lines_for(app.view.content_size))
        for width, height in ((40, 20), (3, 3), (1, 1), (60, 8)):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            assert app.sizes[-1] == app.view.content_size
            for row in range(app.view.content_size.height):
                assert app.view.render_line(row).cell_length == app.view.content_size.width
        assert app.sizes[-1] == Size(58, 6)


async def test_the_background_is_the_widgets_own_and_every_segment_has_a_style():
    app = ViewApp()
    async with app.run_test(size=(22, 12)) as pilot:
        app.view.show(lines_for(app.view.content_size))
        await pilot.pause()
        segment = app.view.render_line(0)._segments[0]
        assert segment.style is not None
        assert segment.style.bgcolor is not None
        assert segment.style.bgcolor.get_truecolor().hex == "#102030"
        assert segment.style.color == RED.color


async def test_over_budget_only_the_newest_picture_is_painted_when_it_may():
    clock = Clock()
    app = ViewApp(ByteBudget(1000, clock, burst_bytes=1))
    async with app.run_test(size=(22, 12)) as pilot:
        size = app.view.content_size
        app.view.show(lines_for(size, "a"))
        app.view.show(lines_for(size, "b"))
        app.view.show(lines_for(size, "c"))
        assert app.view.is_waiting
        assert row_text(app.view, 0) == "a" * 20
        clock.now = 100.0
        app.view._budget_refilled()  # what the timer does
        await pilot.pause()
        assert not app.view.is_waiting
        assert row_text(app.view, 0) == "c" * 20


async def test_the_timer_paints_what_waits():
    clock = Clock()
    app = ViewApp(ByteBudget(1_000_000, clock, burst_bytes=1))
    async with app.run_test(size=(22, 12)) as pilot:
        size = app.view.content_size
        app.view.show(lines_for(size, "a"))
        app.view.show(lines_for(size, "b"))
        assert app.view.is_waiting
        clock.now = 100.0
        for _ in range(100):
            if not app.view.is_waiting:
                break
            await pilot.pause(0.01)
        assert row_text(app.view, 0) == "b" * 20


async def test_an_urgent_picture_does_not_wait():
    app = ViewApp(ByteBudget(1000, Clock(), burst_bytes=1))
    async with app.run_test(size=(22, 12)):
        size = app.view.content_size
        app.view.show(lines_for(size, "a"))
        app.view.show(lines_for(size, "b"), urgent=True)
        assert row_text(app.view, 0) == "b" * 20


async def test_a_waiting_picture_of_the_old_size_is_forgotten():
    app = ViewApp(ByteBudget(1000, Clock(), burst_bytes=1))
    async with app.run_test(size=(22, 12)) as pilot:
        size = app.view.content_size
        app.view.show(lines_for(size, "a"))
        app.view.show(lines_for(size, "b"))
        await pilot.resize_terminal(30, 14)
        await pilot.pause()
        assert not app.view.is_waiting


@pytest.mark.parametrize(
    "look", [Look(), Look(color="none"), Look(charset="ascii", color="16")]
)
async def test_painters_work_without_colours(monkeypatch: pytest.MonkeyPatch, look: Look):
    monkeypatch.setenv("NO_COLOR", "1")
    x = np.arange(9.0)
    app = ViewApp()
    async with app.run_test(size=(62, 22)) as pilot:
        size = app.view.content_size
        series = [Series(label="cat", x=x, y=x), Series(label="dog", x=x, y=-x)]
        for lines in (
            line_chart(series, size, look=look),
            heatmap(np.outer(x, x), size, look=look),
            digits_table(np.eye(3), ["cat"] * 3, ["cat"] * 3, size, look=look),
            staff(np.zeros((9, 3), dtype=np.int64), ["cat"] * 3, [0, 1], size, look=look),
        ):
            assert app.view.show(lines)
            await pilot.pause()
            assert "<svg" in app.export_screenshot()


def test_changed_rows_are_those_that_differ_and_those_beyond():
    old = lines_for((3, 2), "a")
    assert changed_rows(old, old) == []
    assert changed_rows(old, [*old, text_line("b", 3)]) == [2]
    assert changed_rows([], old) == [0, 1]


class MouseApp(ViewApp):
    """Remembers what the mouse was told to mean."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[object, ...]] = []

    def on_row_diff_view_clicked(self, event: RowDiffView.Clicked) -> None:
        self.told.append(("click", event.target.left, event.x, event.y, event.is_double))

    def on_row_diff_view_wheeled(self, event: RowDiffView.Wheeled) -> None:
        target = None if event.target is None else event.target.left
        self.told.append(("wheel", target, event.step))


def answering(left: int, **changes) -> Target:
    def click(scene, x, y):
        return scene, x, y

    return replace(Target(left=left, top=2, width=4, height=3, click=click), **changes)


async def test_a_click_is_told_by_the_uppermost_target_and_the_cell_in_it():
    app = MouseApp()
    async with app.run_test(size=(22, 12)) as pilot:
        targets = [answering(3), answering(5), answering(3, click=None)]
        app.view.show(Lines(lines_for(app.view.content_size), targets))
        for at in ((4, 3), (7, 4), (20, 10)):  # the border is one cell
            await pilot.click(app.view, offset=at)
            await pilot.pause()
        assert app.told == [("click", 3, 0, 0, False), ("click", 5, 1, 1, False)]
        await pilot.click(app.view, offset=(4, 3), times=2)
        await pilot.pause()
        assert app.told[-1] == ("click", 3, 0, 0, True)


async def test_the_wheel_is_told_with_what_it_was_turned_over():
    app = MouseApp()
    async with app.run_test(size=(22, 12)) as pilot:
        lines = lines_for(app.view.content_size)
        app.view.show(Lines(lines, [answering(3, wheel=lambda scene, step: (scene, step))]))
        await pilot._post_mouse_events([events.MouseScrollDown], app.view, (4, 3))
        await pilot._post_mouse_events([events.MouseScrollUp], app.view, (18, 9))
        await pilot.pause()
        assert app.told == [("wheel", 3, 1), ("wheel", None, -1)]


async def test_a_mouse_that_moves_has_nothing_painted():
    app = MouseApp()
    async with app.run_test(size=(22, 12)) as pilot:
        app.view.show(Lines(lines_for(app.view.content_size), [answering(3)]))
        await pilot.pause()
        app.view.regions.clear()
        for at in ((4, 3), (9, 5), (4, 4)):
            await pilot.hover(app.view, offset=at)
        await pilot.mouse_down(app.view, offset=(4, 3))
        await pilot.hover(app.view, offset=(9, 8))
        await pilot.mouse_up(app.view, offset=(9, 8))
        await pilot.pause()
        assert app.view.regions == []
