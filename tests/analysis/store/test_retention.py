"""Laws of thinning: what must stay stays, and what was kept once is not missed later."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lossviz_analysis.store.checkpoints import Checkpoint, CheckpointInfo
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.store.retention import Retention, expendable
from lossviz_analysis.store.scans import submit
from lossviz_analysis.store.writer import RunWriter


def info(number, epoch, *, step=0, num_bytes=10):
    return CheckpointInfo(
        number=number,
        epoch=epoch,
        step=step,
        record=epoch - 1,
        attempt=1,
        digest="",
        num_bytes=num_bytes,
    )


@st.composite
def histories(draw):
    """Checkpoints by number, as runs make them: epochs rise, and fall back at a resume."""
    epoch, infos = 0, []
    for number in range(1, draw(st.integers(1, 40)) + 1):
        step = draw(st.sampled_from([0, 0, 0, 7]))
        size = draw(st.integers(1, 30))
        infos.append(info(number, epoch, step=step, num_bytes=size))
        epoch = max(0, epoch + draw(st.sampled_from([1, 1, 1, 1, 2, 0, -3])))
    return infos


@st.composite
def cases(draw):
    infos = draw(histories())
    numbers = [c.number for c in infos]
    return {
        "checkpoints": infos,
        "best": draw(st.sampled_from([0, *numbers])),
        "pinned": draw(st.frozensets(st.sampled_from(numbers), max_size=3)),
        "retention": Retention(
            keep_last=draw(st.integers(0, 4)), budget_bytes=draw(st.integers(0, 700))
        ),
    }


def thin(case, **changes):
    arguments: dict[str, Any] = {**case, **changes}
    return expendable(**arguments)


def must_stay(case):
    numbers = [c.number for c in case["checkpoints"]]
    last = numbers[len(numbers) - min(len(numbers), case["retention"].keep_last) :]
    best = {case["best"]} & set(numbers)
    return {numbers[0], *last, *best, *case["pinned"]}


laws = settings(max_examples=150, deadline=None)


@given(cases())
@laws
def test_the_first_the_best_the_last_and_the_pinned_stay(case):
    gone = thin(case)
    assert must_stay(case).isdisjoint(gone)
    assert list(gone) == sorted(set(gone))
    assert set(gone) <= {c.number for c in case["checkpoints"]}


@given(cases())
@laws
def test_the_budget_is_kept_unless_what_must_stay_exceeds_it(case):
    gone = thin(case)
    kept = [c for c in case["checkpoints"] if c.number not in gone]
    if sum(c.num_bytes for c in kept) > case["retention"].budget_bytes:
        assert {c.number for c in kept} == must_stay(case)


@given(cases())
@laws
def test_thinning_twice_takes_nothing_more(case):
    gone = thin(case)
    left = [c for c in case["checkpoints"] if c.number not in gone]
    assert thin(case, checkpoints=left) == ()


@given(cases(), st.integers(0, 300))
@laws
def test_a_smaller_budget_takes_at_least_what_a_larger_one_takes(case, less):
    large = case["retention"]
    small = Retention(keep_last=large.keep_last, budget_bytes=max(0, large.budget_bytes - less))
    assert set(thin(case)) <= set(thin(case, retention=small))


@given(cases())
@laws
def test_whole_epochs_all_stay_where_there_is_room_and_half_ones_only_while_last(case):
    roomy = Retention(keep_last=case["retention"].keep_last, budget_bytes=10**9)
    gone = set(thin(case, retention=roomy))
    half = {c.number for c in case["checkpoints"] if c.step != 0}
    assert gone == half - must_stay(case)


def test_every_second_then_every_fourth_epoch_stays():
    infos = [info(n, n - 1) for n in range(1, 18)]

    def kept_epochs(budget):
        gone = expendable(
            infos, best=0, pinned=(), retention=Retention(keep_last=1, budget_bytes=budget)
        )
        return [c.epoch for c in infos if c.number not in gone]

    assert kept_epochs(170) == list(range(17))
    assert kept_epochs(169) == list(range(0, 17, 2))
    assert kept_epochs(89) == [0, 4, 8, 12, 16]
    assert kept_epochs(0) == [0, 16]


def test_two_checkpoints_of_epoch_zero_do_not_keep_it_searching():
    infos = [info(1, 0), info(2, 0), info(3, 1), info(4, 2)]
    small = Retention(keep_last=1, budget_bytes=0)
    assert expendable(infos, best=0, pinned=(), retention=small) == (2, 3)
    assert expendable(infos[:2], best=0, pinned=(), retention=Retention()) == ()


def test_nothing_to_thin():
    assert expendable([], best=3, pinned={4}, retention=Retention(budget_bytes=0)) == ()


def test_the_writer_thins_what_a_reader_then_no_longer_lists(run, ask):
    def state(epoch, step=0):
        return Checkpoint(epoch=epoch, step=step, parameters={"w": np.full(1_000, epoch, "f4")})

    with RunWriter(run, retention=Retention(keep_last=2, budget_bytes=0)) as writer:
        for epoch in range(3):
            writer.commit_checkpoint(state(epoch), is_best=epoch == 1)
        submit(run, ask(checkpoint=3))
        for epoch in range(3, 7):
            writer.commit_checkpoint(state(epoch))
        writer.commit_checkpoint(state(7, step=3))
    reader = RunReader(run)
    # The first, the best, the pinned, and the last two, of which one is in mid-epoch.
    assert [c.number for c in reader.checkpoints()] == [1, 2, 3, 7, 8]
    for number in (1, 2, 3, 7, 8):
        assert (reader.checkpoint(number).parameters["w"] == number - 1).all()
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == [
        *(f"c{n:08d}" for n in (1, 2, 3, 7, 8)),
        "zarr.json",
    ]
