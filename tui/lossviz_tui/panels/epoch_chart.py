"""A line chart over the epochs: the held one stands in it, and a click holds another."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from lossviz_tui.navigation import epoch_chosen
from lossviz_tui.paint.cells import Size
from lossviz_tui.paint.charts import ChartOptions, Series, chart_frame, line_chart
from lossviz_tui.paint.targets import Lines, whole
from lossviz_tui.scene import Scene


def held_epoch(scene: Scene) -> int | None:
    """The epoch that is held; None while the newest is followed."""
    return None if scene.selection.epoch is None else scene.epoch


def epoch_chart(
    scene: Scene, series: Sequence[Series], size: Size, options: ChartOptions
) -> Lines:
    """The chart with its cursor on the held epoch."""
    options = replace(options, cursor_x=held_epoch(scene))

    def epoch_at(column: int) -> float | None:
        frame = chart_frame(series, size, look=scene.look, options=options)
        return frame.x_at(column)

    lines = line_chart(series, size, look=scene.look, options=options)
    return Lines(lines, [whole(size, partial(epoch_chosen, epoch_at))])
