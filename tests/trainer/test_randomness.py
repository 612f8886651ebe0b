"""Random numbers by position: the same place gives the same numbers, another place others."""

import itertools

import pytest
import torch

from lossviz_trainer.randomness import generator_for


def draws(seed, *position):
    return torch.randint(0, 2**31, (64,), generator=generator_for(seed, *position))


def test_the_same_position_gives_the_same_numbers():
    assert torch.equal(draws(3, 7, 11), draws(3, 7, 11))


def test_any_other_position_or_seed_gives_others():
    places = [(3, 7, 11), (3, 11, 7), (3, 7, 12), (3, 8, 11), (4, 7, 11), (7, 3, 11), (3, 7)]
    for first, second in itertools.combinations(places, 2):
        assert not torch.equal(draws(*first), draws(*second)), (first, second)


def test_an_epoch_and_its_step_0_do_not_share_a_stream():
    # The first orders the examples of the epoch, the second augments its first batch.
    for epoch in range(5):
        assert not torch.equal(draws(0, epoch), draws(0, epoch, 0))
    assert not torch.equal(draws(0), draws(0, 0))


@pytest.mark.parametrize("seed", [0, 2**40, 2**62 - 1])
def test_seeds_of_any_size_are_taken(seed):
    assert torch.equal(draws(seed, 1), draws(seed, 1))
    assert not torch.equal(draws(seed, 1), draws(seed ^ 1, 1))


def test_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    draws(1, 2, 3)
    assert torch.equal(torch.rand(4), expected)
