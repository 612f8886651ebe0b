"""Loss, accuracy, learning rate, norms and speed over epochs, for both splits."""

import math
from dataclasses import dataclass, replace

import numpy as np
from textual.strip import Strip

from lossviz_tui.history import RunView
from lossviz_tui.paint.axes import short_number
from lossviz_tui.paint.cells import Size, beside, text_line
from lossviz_tui.paint.charts import ChartOptions, Series, line_chart
from lossviz_tui.paint.smooth import local_mean, window_of
from lossviz_tui.panels.epoch_chart import epoch_chart
from lossviz_tui.panels.marked import DrawnRun, drawn_runs, run_legend
from lossviz_tui.panels.texts import centred, muted, stacked
from lossviz_tui.scene import Scene

HELP = (
    "After each epoch, in eval mode and without augmentation: accuracy, the share of a split "
    "that is classified rightly, and cross-entropy, 1/m sum of -log p(true class) over its m "
    "examples (Li et al. 2018, sec. 3); `batches` is that mean over the augmented batches as "
    "they were trained on, and a smoothed curve the mean of the epochs around each."
)
_MIN_ROWS = 9
"""Of a chart that somebody should read."""
_GPU_SECONDS = 10.0
"""After which the chart of the GPU moves on: all of it does, and a line may be slow."""


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """A column of the records as a curve."""

    column: str
    label: str = ""
    color_index: int = 0


@dataclass(frozen=True, kw_only=True)
class _Chart:
    """What one chart shows: of one run all curves, of several runs one of each."""

    title: str
    y_label: str = ""
    curves: tuple[_Curve, ...]
    has_log: bool = False
    is_noisy: bool = True
    """Whether there is anything to smooth."""

    def compared(self, split: str) -> _Curve:
        """The curve by which runs are compared."""
        return next((one for one in self.curves if one.label == split), self.curves[0])


_CHARTS = (
    _Chart(
        title="accuracy",
        y_label="%",
        curves=(
            _Curve(column="train_accuracy", label="train"),
            _Curve(column="test_accuracy", label="test", color_index=1),
        ),
    ),
    _Chart(
        title="cross-entropy",
        curves=(
            _Curve(column="step_loss", label="batches", color_index=-1),
            _Curve(column="train_loss", label="train"),
            _Curve(column="test_loss", label="test", color_index=1),
        ),
        has_log=True,
    ),
    _Chart(
        title="learning rate",
        curves=(_Curve(column="learning_rate", color_index=2),),
        has_log=True,
        is_noisy=False,
    ),
    _Chart(
        title="|w|, norm of all weights",
        curves=(_Curve(column="weight_norm", color_index=3),),
        is_noisy=False,
    ),
    _Chart(
        title="images/s in training",
        curves=(_Curve(column="images_per_second", color_index=6),),
    ),
)


def paint(scene: Scene, size: Size) -> list[Strip]:
    """Accuracy and loss; on larger screens also learning rate, weight norm, speed and GPU."""
    view = scene.view
    if view is None:
        return waiting(scene, size)
    steps = None if scene.standing is None else scene.standing.steps
    if steps is not None and len(steps) > 1 and len(view) < 2:
        return _batches(scene, steps, size)
    if not len(view):
        return waiting(scene, size)
    runs = drawn_runs(scene)
    head: list[Strip] = []
    if runs:
        runs = tuple(_with_accuracy(scene, run) for run in runs)
        head = run_legend(runs, size[0], scene.look)
    elif size[1] >= 14:
        head = [_facts(scene, view, size[0])]
    return stacked(size, head, _grid(scene, runs, (size[0], max(1, size[1] - len(head)))))


def _grid(scene: Scene, runs: tuple[DrawnRun, ...], size: Size) -> list[Strip]:
    """As many charts as can be read, in rows of equal height."""
    width, height = size
    views = [run.view for run in runs if run.view is not None] or [scene.view]
    wanted = [
        chart
        for place, chart in enumerate(_CHARTS)
        if place < 2 or any(_has(view, curve) for view in views for curve in chart.curves)
    ]
    across = 1 if width < 100 else 2 if width < 200 else 3
    num_charts = len(wanted) + bool(scene.gpus)
    down = max(1, min(height // _MIN_ROWS, -(-num_charts // across)))
    if across == 1:
        down = min(num_charts, max(2, height // (_MIN_ROWS + 3)))
    shown = min(num_charts, across * down)
    across = -(-shown // down)
    blocks: list[list[Strip]] = []
    for row in range(down):
        first, stop = row * across, min(shown, (row + 1) * across)
        if first >= stop:
            break
        rows = height * (row + 1) // down - height * row // down
        widths = _parts(width - 2 * (stop - first - 1), stop - first)
        cells = [
            _chart(scene, runs, wanted[place], (columns, rows))
            if place < len(wanted)
            else _gpu_chart(scene, (columns, rows))
            for place, columns in zip(range(first, stop), widths, strict=True)
        ]
        blocks.append(beside(*cells, gap=2))
    return stacked(size, *blocks)


def _with_accuracy(scene: Scene, run: DrawnRun) -> DrawnRun:
    """A run with its accuracy at the epoch in focus, or the last one before."""
    view, epoch = run.view, scene.epoch
    if view is None or epoch is None:
        return run
    place = int(np.searchsorted(view.epochs, epoch, side="right")) - 1
    if place < 0:
        return run
    accuracy = float(view.column(f"{scene.selection.split}_accuracy")[place])
    if not math.isfinite(accuracy):
        return run
    return replace(run, note=f"{100 * accuracy:.2f} % at {int(view.epochs[place])}")


def _parts(width: int, count: int) -> list[int]:
    return [width * (k + 1) // count - width * k // count for k in range(count)]


def _has(view: RunView | None, curve: _Curve) -> bool:
    return view is not None and bool(np.isfinite(view.column(curve.column)).any())


def _chart(scene: Scene, runs: tuple[DrawnRun, ...], chart: _Chart, size: Size) -> list[Strip]:
    view, split = scene.view, scene.selection.split
    if view is None:
        return []
    share = scene.selection.smoothing if chart.is_noisy else 0.0
    is_percent = chart.y_label == "%"
    series: list[Series] = []
    title = chart.title
    if runs:
        curve = chart.compared(split)
        title += f", {curve.label}" if curve.label else ""
        for run in runs:
            if run.view is not None:
                one = _Curve(column=curve.column, label=run.name, color_index=run.slot)
                drawn = _series(run.view, one, share, is_percent=is_percent, is_marked=True)
                series += [_in_focus(run.is_open, part) for part in drawn]
    else:
        for curve in chart.curves:
            drawn = _series(view, curve, share, is_percent=is_percent)
            series += [_in_focus(curve.label == split, part) for part in drawn]
    log_y = chart.has_log and scene.selection.log
    title += ", log" if log_y else ""
    if share:
        lengths = [len(run.view) for run in runs if run.view is not None] or [len(view)]
        windows = sorted({window_of(share, length) for length in lengths})
        title += f", mean of {' to '.join(map(str, (windows[0], *windows[1:][-1:])))} epochs"
    options = ChartOptions(
        title=title,
        y_label=chart.y_label,
        log_y=log_y,
        legend="none" if runs else "auto",
    )
    return epoch_chart(scene, series, size, options)


def _series(
    view: RunView,
    curve: _Curve,
    share: float,
    *,
    is_percent: bool = False,
    is_marked: bool = False,
) -> list[Series]:
    """A column as a curve; where it is smoothed, the raw one comes first."""
    x, y = view.epochs.astype(float), view.column(curve.column)
    if is_percent:
        y = _percent(y)
    window = window_of(share, len(y))
    smoothed = local_mean(y, window)
    found = [
        Series(
            label=curve.label,
            x=x,
            y=smoothed,
            color_index=curve.color_index,
            marked=is_marked,
        )
    ]
    if window > 1 and curve.color_index >= 0:
        found.insert(0, Series(label="", x=x, y=y, color_index=curve.color_index, dim=True))
    return found


def _in_focus(is_in_focus: bool, one: Series) -> Series:
    """A curve drawn over the others."""
    return replace(one, bold=True) if is_in_focus and not one.dim else one


def _facts(scene: Scene, view: RunView, width: int) -> Strip:
    """The values at the epoch in focus that have no chart on a small screen."""
    place = scene.position or 0
    parts: list[str] = []
    for column, form in (
        ("test_accuracy", "test {} %"),
        ("test_loss", "loss {}"),
        ("learning_rate", "lr {}"),
        ("weight_norm", "|w| {}"),
        ("images_per_second", "{} images/s"),
    ):
        value = float(view.column(column)[place])
        if column == "images_per_second" and not math.isfinite(value):
            pulse = None if scene.standing is None else scene.standing.pulse
            value = math.nan if pulse is None else pulse.images_per_second
        if column == "test_accuracy" and math.isfinite(value):
            parts.append(form.format(f"{100 * value:.2f}"))
        elif math.isfinite(value):
            parts.append(form.format(short_number(value)))
    parts += [gpu_text(scene)] if scene.gpus else []
    text = f"epoch {int(view.epochs[place])}"
    for sign, part in zip((": ", *[", "] * len(parts)), parts, strict=False):
        if len(text + sign + part) <= width:
            text += sign + part
    return text_line(text[:width], width, muted(scene.look))


def gpu_text(scene: Scene) -> str:
    """What the GPU of the run does now, or else the busiest one."""
    if not scene.gpus:
        return ""
    newest = scene.gpus[-1]
    gpu = newest.of_process(_pid(scene))
    text = f"GPU {gpu.number}"
    text += f" of {len(newest.gpus)}" if len(newest.gpus) > 1 else ""
    text += f" {100 * gpu.use:.0f} %" if math.isfinite(gpu.use) else ""
    if gpu.total_bytes:
        text += f" {gpu.used_bytes / 2**30:.1f}/{gpu.total_bytes / 2**30:.0f} GiB"
    return text


def _pid(scene: Scene) -> int | None:
    """The process that trains the run, while it does."""
    standing = scene.standing
    is_up = standing is not None and standing.word in ("live", "stalled", "disk full")
    return standing.pulse.pid if standing is not None and is_up and standing.pulse else None


def _gpu_chart(scene: Scene, size: Size) -> list[Strip]:
    """Use and memory of that GPU in the last minutes."""
    newest = scene.gpus[-1]
    number = newest.of_process(_pid(scene)).number
    end = newest.seconds - newest.seconds % _GPU_SECONDS
    course = [
        (sample.seconds - end, gpu)
        for sample in scene.gpus
        for gpu in sample.gpus
        if gpu.number == number and sample.seconds <= end
    ]
    x = np.array([seconds / 60 for seconds, _ in course])
    series = [
        Series(
            label="use",
            x=x,
            y=np.array([100 * gpu.use for _, gpu in course]),
            color_index=0,
            bold=True,
        ),
        Series(
            label="memory",
            x=x,
            y=np.array([100 * gpu.memory_share for _, gpu in course]),
            color_index=1,
        ),
    ]
    options = ChartOptions(
        title=gpu_text(scene),
        y_label="%",
        x_label="minutes",
        y_limits=(0.0, 100.0),
        integer_x=False,
    )
    return line_chart(series, size, look=scene.look, options=options)


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
            sentences = [
                f"the run {scene.standing.word}",
                why,
                scene.hint("shows what it printed", "log"),
            ]
    return centred(size, [sentence for sentence in sentences if sentence], scene.look)


def nothing_counted(scene: Scene, size: Size) -> list[Strip]:
    """What a split looks like of which a run counts no examples, in words."""
    split = scene.selection.split
    other = scene.hint("shows the other split", "set('other_split')")
    sentences = [f"no example of the {split} split was counted", other]
    return centred(size, sentences, scene.look)


def _percent(shares: np.ndarray) -> np.ndarray:
    """Shares as percent; a stranger's run may hold any number."""
    with np.errstate(over="ignore", invalid="ignore"):
        return 100 * shares
