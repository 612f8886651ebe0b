"""Loss, accuracy, learning rate and norms over epochs, for both splits."""

import numpy as np
from textual.strip import Strip

from lossviz_tui.paint.cells import Size, beside
from lossviz_tui.paint.charts import ChartOptions, Series, line_chart
from lossviz_tui.panels.texts import centred, stacked
from lossviz_tui.scene import Scene

HELP = (
    "Loss and accuracy of whole splits after each epoch, in eval mode and without "
    "augmentation; `batches` is the mean loss of the augmented batches as they were trained "
    "on."
)


def paint(scene: Scene, size: Size) -> list[Strip]:
    """Accuracy and loss; on large screens also learning rate, weight norm and speed."""
    view = scene.view
    if view is None:
        return waiting(scene, size)
    steps = None if scene.standing is None else scene.standing.steps
    if steps is not None and len(steps) > 1 and len(view) < 2:
        return _batches(scene, steps, size)
    if not len(view):
        return waiting(scene, size)
    width, height = size
    if width >= 100:
        left, rows = width // 2 - 1, 2 if height >= 24 else 1
        heights = [height // rows + (k < height % rows) for k in range(rows)]
        blocks = [
            beside(
                _chart(scene, 2 * row, (left, heights[row])),
                _chart(scene, 2 * row + 1, (width - left - 2, heights[row])),
                gap=2,
            )
            for row in range(rows)
        ]
        return stacked(size, *blocks)
    top = height - height // 2
    return stacked(
        size, _chart(scene, 0, (width, top)), _chart(scene, 1, (width, height - top))
    )


def _batches(scene: Scene, steps: np.ndarray, size: Size) -> list[Strip]:
    """The loss of the latest batches, for as long as there are no curves of epochs."""
    series = [Series(label="batches", x=steps[:, 0], y=steps[:, 2], color_index=0)]
    options = ChartOptions(
        title="cross-entropy of the batches in training, twice a second",
        x_label="step",
        log_y=scene.selection.log,
    )
    return line_chart(series, size, look=scene.look, options=options)


def waiting(scene: Scene, size: Size) -> list[Strip]:
    """What a run without epochs looks like, in words."""
    if scene.view is None:
        sentences = ["opening the run", scene.trouble]
    elif len(scene.view):
        sentences = ["reading the newest epochs", *scene.view.unreadable]
    else:
        sentences = ["no epoch is recorded yet", "the first one will appear here by itself"]
        if scene.standing is not None and scene.standing.word == "never ran":
            sentences = ["this run never ran", "it was made, and nobody has written to it yet"]
        if scene.standing is not None and scene.standing.word in ("failed", "crashed"):
            why = scene.standing.message
            sentences = [f"the run {scene.standing.word}", why, "w shows what it printed"]
    return centred(size, [sentence for sentence in sentences if sentence], scene.look)


def nothing_counted(scene: Scene, size: Size) -> list[Strip]:
    """What a split looks like of which a run counts no examples, in words."""
    split = scene.selection.split
    sentences = [f"no example of the {split} split was counted", "t shows the other split"]
    return centred(size, sentences, scene.look)


def _chart(scene: Scene, number: int, size: Size) -> list[Strip]:
    view = scene.view
    if view is None:
        return []
    x = view.epochs.astype(float)
    cursor = float(scene.epoch) if scene.selection.epoch is not None and scene.epoch else None
    log_y = scene.selection.log
    match number:
        case 0:
            series = [
                Series(
                    label="train", x=x, y=_percent(view.column("train_accuracy")), color_index=0
                ),
                Series(
                    label="test",
                    x=x,
                    y=_percent(view.column("test_accuracy")),
                    color_index=1,
                    bold=True,
                ),
            ]
            options = ChartOptions(title="accuracy", y_label="%", cursor_x=cursor)
        case 1:
            series = [
                Series(label="batches", x=x, y=view.column("step_loss"), color_index=-1),
                Series(label="train", x=x, y=view.column("train_loss"), color_index=0),
                Series(label="test", x=x, y=view.column("test_loss"), color_index=1, bold=True),
            ]
            options = ChartOptions(
                title="cross-entropy" + (", log" if log_y else ""), log_y=log_y, cursor_x=cursor
            )
        case 2:
            series = [Series(label="", x=x, y=view.column("learning_rate"), color_index=2)]
            options = ChartOptions(title="learning rate", log_y=log_y, cursor_x=cursor)
        case _:
            series = [Series(label="", x=x, y=view.column("weight_norm"), color_index=3)]
            options = ChartOptions(title="|w|, norm of all weights", cursor_x=cursor)
    return line_chart(series, size, look=scene.look, options=options)


def _percent(shares: np.ndarray) -> np.ndarray:
    """Shares as percent; a stranger's run may hold any number."""
    with np.errstate(over="ignore", invalid="ignore"):
        return 100 * shares
