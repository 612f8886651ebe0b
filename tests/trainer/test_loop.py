"""The training loop on real digits, in this process: what it records, and where it can stop."""

import contextlib
import math

import numpy as np
import pytest
import torch

from lossviz_analysis.store.backlog import Backlog
from lossviz_analysis.store.checkpoints import Checkpoint
from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.writer import RunWriter
from lossviz_trainer.evaluate import evaluate
from lossviz_trainer.loop import SCALAR_COLUMNS, LoopSettings, Position, Trainer
from lossviz_trainer.models import build_model
from lossviz_trainer.recipes import learning_rate_at, resolve_recipe
from lossviz_trainer.resident import move_to_device
from lossviz_trainer.state import capture, restore

CPU = torch.device("cpu")


def recipe_of(name="anneal-lr", **overrides):
    asked = {"epochs": 3, "learning_rate": 0.02, "batch_size": 32} | overrides
    return resolve_recipe(
        name, model_name="mlp", overrides=asked, flip_is_label_preserving=False
    )


class StopAfter:
    """Asks to stop once it has been asked so often itself; once for each step."""

    def __init__(self, questions=None):
        self.left = questions

    def __call__(self):
        if self.left is None:
            return False
        self.left -= 1
        return self.left < 0


@pytest.fixture
def new_run(tmp_path):
    """Makes an empty run."""

    def make(name="x"):
        path = tmp_path / f"{name}.zarr"
        create_run(
            path,
            RunDescription(
                run_id=name,
                created_at="",
                class_names=tuple("0123456789"),
                scalar_columns=SCALAR_COLUMNS,
            ),
        )
        return path

    return make


@pytest.fixture
def train(some_digits):
    """Trains a run from its newest checkpoint on, as the daemon does; says whether it ended."""

    def go(
        path, model, *, stop_after=None, num_train=200, recipe=None, every=1, seconds=math.inf
    ):
        with RunWriter(path) as writer, contextlib.closing(Backlog(writer)) as backlog:
            trainer = Trainer(
                model,
                move_to_device(some_digits(num_train, 60), CPU),
                backlog,
                LoopSettings(
                    recipe=recipe or recipe_of(),
                    seed=3,
                    checkpoint_every=every,
                    checkpoint_seconds=seconds,
                    micro_batch=50,
                ),
                StopAfter(stop_after),
            )
            position, losses = Position(), []
            if writer.head.latest_checkpoint:
                content = RunReader(path).checkpoint(writer.head.latest_checkpoint)
                restore(model, content, trainer.optimiser)
                trainer.best_accuracy = content.extra["best_accuracy"] or -math.inf
                position = Position(content.epoch, content.step)
                losses = content.extra["step_losses"]
            return trainer.run(position, losses), trainer

    return go


def records(path):
    reader = RunReader(path)
    head = reader.head()
    scalars = reader.scalars(0, head.num_records)
    columns = {name: scalars[:, k] for k, name in enumerate(SCALAR_COLUMNS)}
    return columns, reader.counts(0, head.num_records)


def bits_of(content: Checkpoint):
    groups = {"p": content.parameters, "b": content.buffers, "o": content.optimiser}
    return {
        f"{group} {name}": values.tobytes()
        for group, tensors in groups.items()
        for name, values in tensors.items()
    }


def mlp(seed=0):
    return build_model("mlp", 10, seed=seed)


@pytest.fixture(params=["mlp", "batch norm"])
def fresh_model(request, tiny):
    """Builds one architecture, always the same."""

    def build() -> torch.nn.Module:
        return mlp() if request.param == "mlp" else tiny(0)

    return build


@pytest.mark.slow
def test_every_scalar_of_every_epoch_is_there(new_run, train, resident):
    path, model = new_run(), mlp()
    finished, _ = train(path, model, num_train=1_437)
    assert finished
    columns, counts = records(path)
    assert columns["epoch"].tolist() == [1.0, 2.0, 3.0]
    assert columns["attempt"].tolist() == [1.0, 1.0, 1.0]
    for name, values in columns.items():
        assert np.isfinite(values).all(), name
    for name in ("duration_s", "images_per_second", "evaluation_s", "weight_norm", "step_loss"):
        assert (columns[name] > 0).all(), name
    assert (columns["duration_s"] > columns["evaluation_s"]).all()
    assert (np.diff(columns["wall_time"]) > 0).all()
    assert counts.sum(axis=(2, 3)).tolist() == [[1_437, 60]] * 3
    for k, split in enumerate(("train", "test")):
        trace = np.trace(counts[:, k], axis1=1, axis2=2)
        shares = trace / counts[:, k].sum(axis=(1, 2))
        assert columns[f"{split}_accuracy"].tolist() == shares.tolist()
    assert columns["train_accuracy"][-1] > 0.5  # it has learnt something
    # The last record is that of the weights the loop leaves, in eval mode, not augmented.
    after = evaluate(model, resident.train, micro_batch=50)
    assert np.array_equal(counts[-1, 0], after.counts)
    assert columns["train_loss"][-1] == pytest.approx(after.loss, rel=1e-12)
    squares = sum(float(p.detach().double().square().sum()) for p in model.parameters())
    assert columns["weight_norm"][-1] == pytest.approx(math.sqrt(squares), rel=1e-12)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (recipe_of(learning_rate=0.04), [0.04, 0.03, 0.01]),
        (recipe_of("big-lr", learning_rate=0.03), [0.03, 0.03, 0.03]),
        (recipe_of(schedule="steps", milestones=[1, 2]), [0.02, 0.002, 0.0002]),
    ],
)
def test_the_learning_rate_of_each_epoch_is_recorded_and_used(new_run, train, recipe, expected):
    path = new_run()
    _, trainer = train(path, mlp(), num_train=40, recipe=recipe)
    columns, _ = records(path)
    np.testing.assert_allclose(columns["learning_rate"], expected, rtol=1e-12)
    rates = [learning_rate_at(recipe, k) for k in range(3)]
    assert columns["learning_rate"].tolist() == rates
    assert trainer.optimiser.param_groups[0]["lr"] == rates[-1]


@pytest.mark.parametrize(
    ("num_train", "batch_size", "steps"),
    [(40, 8, 5), (41, 8, 5), (42, 8, 6), (40, 64, 1), (15, 1, 15), (3, 2, 1)],
)
def test_a_last_batch_of_one_example_is_left_out(
    new_run, train, tiny, num_train, batch_size, steps
):
    path = new_run()
    recipe = recipe_of(batch_size=batch_size, epochs=1, learning_rate=1e-4)
    # Batch norm over a map of 8 x 8 takes single examples, so that batches of 1 are tried, too.
    _, trainer = train(path, tiny(0), num_train=num_train, recipe=recipe)
    assert trainer.steps_per_epoch == steps
    batches = RunReader(path).checkpoint(2).buffers["1.num_batches_tracked"]
    assert batches == steps


def test_checkpoints_are_those_asked_for_and_the_first_and_the_last(new_run, train):
    path = new_run()
    # The rate is too small to move a prediction, so only the first epoch is a best one.
    recipe = recipe_of("big-lr", epochs=7, learning_rate=1e-9)
    train(path, mlp(), num_train=40, recipe=recipe, every=3)
    infos = RunReader(path).checkpoints()
    assert [info.epoch for info in infos] == [0, 1, 3, 6, 7]
    assert [info.record for info in infos] == [-1, 0, 2, 5, 6]
    assert all(info.step == 0 for info in infos)
    initial = RunReader(path).checkpoint(1)
    assert bits_of(initial) == bits_of(capture(mlp(), None, epoch=0))


def test_the_best_checkpoint_is_that_of_the_highest_test_accuracy(new_run, train):
    path = new_run()
    recipe = recipe_of("big-lr", epochs=6, learning_rate=0.03)
    train(path, mlp(), num_train=120, recipe=recipe, every=100)
    accuracies = records(path)[0]["test_accuracy"]
    reader = RunReader(path)
    best = next(
        info for info in reader.checkpoints() if info.number == reader.head().best_checkpoint
    )
    assert best.epoch == 1 + int(np.argmax(accuracies))
    # Kept for being the best, at the time, and for nothing else.
    records_so_far = [0] + [
        k + 1 for k, value in enumerate(accuracies) if value > max(accuracies[:k], default=-1)
    ]
    assert {info.epoch for info in reader.checkpoints()} == {*records_so_far, 6}


def test_a_run_stopped_within_an_epoch_is_checkpointed_there(new_run, train):
    path = new_run()
    finished, _ = train(path, mlp(), stop_after=9)  # 7 steps in an epoch
    assert not finished
    reader = RunReader(path)
    last = reader.checkpoints()[-1]
    assert (last.epoch, last.step) == (1, 2)
    assert reader.head().num_records == 1


@pytest.mark.slow
@pytest.mark.parametrize("stops", [(9,), (0, 3, 1, 8), (7,), (20,)])
def test_a_resumed_run_ends_with_the_same_bits(new_run, train, fresh_model, stops):
    whole, parts = new_run("whole"), new_run("parts")
    assert train(whole, fresh_model())[0]
    for questions in stops:
        assert not train(parts, fresh_model(), stop_after=questions)[0]
    assert train(parts, fresh_model())[0]

    first, second = RunReader(whole), RunReader(parts)
    ends = [r.checkpoint(r.head().latest_checkpoint) for r in (first, second)]
    assert [(end.epoch, end.step) for end in ends] == [(3, 0), (3, 0)]
    assert bits_of(ends[0]) == bits_of(ends[1])
    assert ends[0].optimiser  # momenta are compared, too
    (columns, counts), (again, counts_again) = records(whole), records(parts)
    assert again["epoch"].tolist() == columns["epoch"].tolist()
    assert np.array_equal(counts, counts_again)
    for name in ("train_loss", "test_loss", "step_loss", "weight_norm", "learning_rate"):
        assert again[name].tolist() == columns[name].tolist(), name
    best = [
        next(i.epoch for i in r.checkpoints() if i.number == r.head().best_checkpoint)
        for r in (first, second)
    ]
    assert best[0] == best[1]


def test_checkpoints_within_an_epoch_are_exact_too(new_run, train):
    whole, timed = new_run("whole"), new_run("timed")
    assert train(whole, mlp())[0]
    assert not train(timed, mlp(), stop_after=10, seconds=0.0)[0]  # one before every step
    steps = [(info.epoch, info.step) for info in RunReader(timed).checkpoints()]
    assert steps[-3:] == [(1, 1), (1, 2), (1, 3)]
    # The last ones are lost with the machine: an older one leads to the same end.
    with RunWriter(timed) as writer:
        latest = writer.head.latest_checkpoint
        writer._publish(latest_checkpoint=latest - 1)
    assert train(timed, mlp(), seconds=0.05)[0]
    ends = [r.checkpoint(r.head().latest_checkpoint) for r in map(RunReader, (whole, timed))]
    assert bits_of(ends[0]) == bits_of(ends[1])
    (columns, counts), (again, counts_again) = records(whole), records(timed)
    assert np.array_equal(counts, counts_again)
    assert again["step_loss"].tolist() == columns["step_loss"].tolist()


def test_another_seed_ends_with_other_bits(new_run, train):
    # What makes equality above mean something: the order of the examples decides the bits.
    paths = [new_run(name) for name in ("a", "b")]
    train(paths[0], mlp(0))
    train(paths[1], mlp(0), recipe=recipe_of(crop_padding=0))
    ends = [RunReader(p).checkpoint(RunReader(p).head().latest_checkpoint) for p in paths]
    assert bits_of(ends[0]) != bits_of(ends[1])


def test_a_stop_before_the_first_step_leaves_one_checkpoint_of_the_start(new_run, train):
    path = new_run()
    for _ in range(3):
        assert not train(path, mlp(), stop_after=0)[0]
    infos = RunReader(path).checkpoints()
    assert [(info.epoch, info.step) for info in infos] == [(0, 0)]


def test_a_finished_run_has_nothing_left_to_do(new_run, train):
    path = new_run()
    train(path, mlp(), num_train=40)
    before = RunReader(path).head()
    assert train(path, mlp(), num_train=40)[0]
    after = RunReader(path).head()
    assert (after.num_records, after.latest_checkpoint) == (
        before.num_records,
        before.latest_checkpoint,
    )


def test_images_are_cropped_in_training_and_not_in_evaluation(new_run, train):
    plain, cropped = new_run("plain"), new_run("cropped")
    for path, padding in ((plain, 0), (cropped, 4)):
        recipe = recipe_of("big-lr", epochs=1, learning_rate=1e-9, crop_padding=padding)
        train(path, mlp(), num_train=64, recipe=recipe)
    without, _ = records(plain)
    crops, _ = records(cropped)
    # At this rate the weights stand still, so only the images differ.
    assert without["step_loss"] == pytest.approx(without["train_loss"], rel=1e-5)
    assert abs(crops["step_loss"] - crops["train_loss"]) > 0.01
    assert crops["train_loss"] == pytest.approx(without["train_loss"], rel=1e-6)


def test_a_pulse_says_where_the_loop_is(new_run, train):
    path = new_run()
    train(path, mlp())
    pulse = RunReader(path).pulse()
    assert pulse is not None
    assert (pulse.epoch, pulse.step, pulse.steps_per_epoch) == (3, 7, 7)
