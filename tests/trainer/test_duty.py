"""A scan leaves its GPU to the training of its run, half of the time."""

import pytest
import torch

from lossviz_analysis.store.creation import create_run
from lossviz_analysis.store.description import RunDescription
from lossviz_analysis.store.schema import FIXED_COLUMNS, RunState
from lossviz_analysis.store.writer import RunWriter
from lossviz_trainer.duty import LOOK_SECONDS, MAX_REST_SECONDS, DutyCycle, duty_for


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "a.zarr"
    create_run(
        path,
        RunDescription(
            run_id="a", created_at="", class_names=("a", "b"), scalar_columns=FIXED_COLUMNS
        ),
    )
    return path


@pytest.fixture
def duty(run):
    """A duty cycle with a clock of its own, and the rests it took."""
    rests, clock = [], [0.0]

    def make(share=0.5):
        cycle = DutyCycle(run, share=share, clock=lambda: clock[0], sleep=rests.append)
        return cycle, rests, clock

    return make


def test_nobody_rests_for_a_run_that_is_not_trained(duty):
    cycle, rests, _ = duty()
    cycle(0.3)
    assert rests == []


@pytest.mark.parametrize(("share", "rest"), [(0.5, 0.3), (0.25, 0.9), (1.0, 0.0)])
def test_beside_a_training_it_rests_for_the_other_share(run, duty, share, rest):
    cycle, rests, _ = duty(share)
    with RunWriter(run) as writer:
        writer.set_state(RunState.RUNNING)
        cycle(0.3)
    assert rests == [pytest.approx(rest)]


def test_a_rest_is_never_long(run, duty):
    cycle, rests, _ = duty()
    with RunWriter(run) as writer:
        writer.set_state(RunState.RUNNING)
        cycle(1_000.0)
    assert rests == [MAX_REST_SECONDS]


def test_it_looks_once_a_second_whether_the_run_is_trained(run, duty):
    cycle, rests, clock = duty()
    cycle(0.1)
    with RunWriter(run) as writer:
        writer.set_state(RunState.RUNNING)
        cycle(0.1)
        assert rests == []
        clock[0] += LOOK_SECONDS
        cycle(0.1)
        assert len(rests) == 1
        writer.set_state(RunState.PAUSED)
        clock[0] += LOOK_SECONDS
        cycle(0.1)
        assert len(rests) == 1
        writer.set_state(RunState.RUNNING)
    # A trainer that was killed left its word behind, but not its lock.
    clock[0] += LOOK_SECONDS
    cycle(0.1)
    assert len(rests) == 1


def test_it_says_which_share_of_the_time_is_left(run, duty):
    cycle, _, clock = duty(0.25)
    assert cycle.share_now == 1.0
    clock[0] += LOOK_SECONDS
    with RunWriter(run) as writer:
        writer.set_state(RunState.RUNNING)
        assert cycle.share_now == 0.25


def test_on_a_cpu_niceness_does_it(run):
    assert duty_for(run, torch.device("cpu")) is None
    assert duty_for(run, torch.device("cuda")) is not None
