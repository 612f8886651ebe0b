import itertools
import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.recipes import (
    FIELD_NAMES,
    RECIPES,
    Recipe,
    learning_rate_at,
    resolve_recipe,
)


def resolve(name="anneal-lr", model_name="resnet20", **overrides) -> Recipe:
    return resolve_recipe(name, model_name=model_name, overrides=overrides)


def refused(name="anneal-lr", **overrides) -> str:
    with pytest.raises(LossvizError) as caught:
        resolve(name, **overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "learning_rate", "schedule"),
    [
        ("big-lr", 0.01, "constant"),
        ("small-lr", 0.0001, "constant"),
        ("anneal-lr", 0.1, "cosine"),
    ],
)
def test_the_recipes_of_diao_yao_and_jiang(name, learning_rate, schedule):
    assert RECIPES[name] == Recipe(
        name=name,
        learning_rate=learning_rate,
        schedule=schedule,
        milestones=(),
        momentum=0.9,
        nesterov=False,
        weight_decay=5e-4,
        batch_size=128,
        epochs=200,
        crop_padding=4,
        flip=True,
    )


def test_the_recipe_of_li_and_others():
    assert RECIPES["li"] == Recipe(
        name="li",
        learning_rate=0.1,
        schedule="steps",
        milestones=(150, 225, 275),
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        batch_size=128,
        epochs=300,
        crop_padding=4,
        flip=True,
    )
    assert set(RECIPES) == {"big-lr", "small-lr", "anneal-lr", "li"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_without_overrides_is_the_published_one(name):
    assert resolve(name) == RECIPES[name]
    nothing_given = dict.fromkeys(set(FIELD_NAMES) - {"name"})
    recipe = resolve_recipe(name, model_name="mlp", overrides=nothing_given)
    assert recipe == RECIPES[name]


@pytest.mark.parametrize(
    ("model_name", "learning_rate"),
    [
        ("resnet20-noshort", 0.1),
        ("resnet32-noshort", 0.1),
        ("resnet56-noshort", 0.01),
        ("resnet110-noshort", 0.01),
        ("wrn56-8-noshort", 0.01),
        ("resnet56", 0.1),
        ("wrn56-8", 0.1),
        ("vgg19", 0.1),
    ],
)
def test_deep_noshort_networks_start_lower_under_li(model_name, learning_rate):
    assert resolve("li", model_name).learning_rate == learning_rate
    assert resolve("li", model_name, learning_rate=0.3).learning_rate == 0.3
    assert resolve("anneal-lr", model_name).learning_rate == 0.1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.05),
        ("momentum", 0.0),
        ("weight_decay", 0.0),
        ("batch_size", 1),
        ("epochs", 1),
        ("crop_padding", 0),
        ("flip", False),
        ("nesterov", True),
        ("schedule", "constant"),
    ],
)
def test_every_value_can_be_overridden(field, value):
    assert resolve(**{field: value}) == replace(RECIPES["anneal-lr"], **{field: value})


def test_whole_numbers_serve_as_rates():
    rate = resolve(learning_rate=1).learning_rate
    assert (rate, type(rate)) == (1.0, float)


@pytest.mark.parametrize(
    ("epochs", "milestones"),
    [
        (300, (150, 225, 275)),
        (600, (300, 450, 550)),
        (30, (15, 23, 28)),
        (3, (2, 2, 3)),
        (1, (1, 1, 1)),
    ],
)
def test_milestones_move_with_the_number_of_epochs(epochs, milestones):
    assert resolve("li", epochs=epochs).milestones == milestones


def test_milestones_that_are_given_do_not_move():
    assert resolve("li", epochs=30, milestones=(10, 20)).milestones == (10, 20)
    assert resolve(schedule="steps", milestones=[5]).milestones == (5,)


def test_milestones_go_with_the_schedule_they_belong_to():
    assert resolve("li", schedule="cosine").milestones == ()


def test_images_are_not_flipped_where_that_changes_what_they_show():
    def flip(**overrides):
        return resolve_recipe(
            "big-lr", model_name="mlp", overrides=overrides, flip_is_label_preserving=False
        ).flip

    assert flip() is False
    assert flip(flip=None) is False
    assert flip(flip=True) is True


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("learning_rate", [0, -0.1, math.nan, math.inf, "0.1", True]),
        ("momentum", [-0.1, 1, 1.5, math.nan, "high"]),
        ("weight_decay", [-1e-9, math.inf, math.nan, [0.1]]),
        ("batch_size", [0, -1, 12.0, "128", True]),
        ("epochs", [0, -1, 1.5, "10", False]),
        ("crop_padding", [-1, 32, 4.0]),
        ("flip", [1, "yes"]),
        ("nesterov", [0, "no"]),
        ("schedule", ["linear", 3, ""]),
        ("milestones", ["15,23", [1.5], [0, 3], [-1], [3, 2], [True], 7]),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_name_of_its_option(field, values):
    for value in values:
        message = refused("li", **{field: value})
        assert message.startswith(f"--{field.replace('_', '-')} must be")
        assert message.endswith(f"got {value!r}")


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    message = refused("adam")
    assert "'adam'" in message
    assert all(name in message for name in RECIPES)


def test_an_unknown_option_is_refused_with_the_known_ones():
    message = refused(learning_rat=0.1)
    assert "--learning-rat;" in message
    assert "--learning-rate" in message
    assert "--name" not in message


def test_a_recipe_cannot_be_renamed():
    with pytest.raises(LossvizError, match="no option --name"):
        resolve_recipe("li", model_name="mlp", overrides={"name": "big-lr"})


def test_options_that_exclude_each_other_are_refused():
    assert "--nesterov needs" in refused("li", momentum=0)
    assert "--schedule steps needs --milestones" in refused(schedule="steps")
    assert "--milestones belong to --schedule steps" in refused(milestones=[5])


def rates(recipe, num_epochs=None) -> list[float]:
    return [learning_rate_at(recipe, epoch) for epoch in range(num_epochs or recipe.epochs)]


def scheduled(recipe, make_scheduler: Callable[[SGD], LRScheduler]) -> list[float]:
    """What a scheduler of torch, stepped after every epoch, gives each epoch."""
    optimiser = SGD([nn.Parameter(torch.zeros(1))], lr=recipe.learning_rate)
    scheduler = make_scheduler(optimiser)
    seen: list[float] = []
    for _ in range(recipe.epochs):
        seen.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return seen


@pytest.mark.oracle
@pytest.mark.parametrize("epochs", [1, 2, 15, 200])
def test_cosine_is_the_annealing_of_torch_stepped_once_an_epoch(epochs):
    recipe = resolve("anneal-lr", epochs=epochs)
    expected = scheduled(recipe, partial(CosineAnnealingLR, T_max=epochs))
    assert rates(recipe) == pytest.approx(expected, rel=1e-9)


@pytest.mark.oracle
@pytest.mark.parametrize("epochs", [1, 3, 30, 300])
def test_steps_are_the_multi_step_schedule_of_torch(epochs):
    recipe = resolve("li", epochs=epochs)
    expected = scheduled(recipe, partial(MultiStepLR, milestones=recipe.milestones))
    assert rates(recipe) == pytest.approx(expected, rel=1e-9)


def test_a_constant_rate_stays():
    assert set(rates(RECIPES["small-lr"], 1000)) == {0.0001}


@given(epochs=st.integers(1, 500), rate=st.floats(1e-6, 10))
def test_cosine_starts_at_the_rate_falls_every_epoch_and_ends_at_zero(epochs, rate):
    recipe = resolve("anneal-lr", epochs=epochs, learning_rate=rate)
    each = rates(recipe, epochs + 1)
    assert each[0] == rate
    assert each[-1] == 0
    assert all(later < earlier for earlier, later in itertools.pairwise(each))


@pytest.mark.parametrize(
    ("name", "rate"), [("anneal-lr", 0.0), ("li", 0.0001), ("big-lr", 0.01)]
)
def test_beyond_its_end_a_recipe_keeps_its_last_rate(name, rate):
    assert learning_rate_at(RECIPES[name], 10_000) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json(name):
    recipe = resolve(name, learning_rate=0.3, flip=False)
    stored = json.loads(json.dumps(recipe.to_json()))
    assert Recipe.from_json(stored) == recipe
    assert list(stored) == [field.name for field in fields(Recipe)]


def test_a_stored_recipe_with_other_fields_is_refused_by_their_names():
    stored = RECIPES["li"].to_json()
    del stored["flip"]
    with pytest.raises(LossvizError, match="differs in colour, flip"):
        Recipe.from_json({**stored, "colour": 1})


def test_a_stored_recipe_with_an_impossible_value_is_refused():
    with pytest.raises(LossvizError, match="--epochs must be"):
        Recipe.from_json({**RECIPES["li"].to_json(), "epochs": 0})
    with pytest.raises(LossvizError, match="--name must be"):
        Recipe.from_json({**RECIPES["li"].to_json(), "name": "adam"})
