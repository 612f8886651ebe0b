"""What a new training can be asked to be: the lists of the form are those of the trainer."""

import json

import pytest

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.datasets.load import DATA_WORDS
from lossviz_trainer.models.registry import MODEL_NAMES
from lossviz_trainer.recipes import RECIPES as KNOWN
from lossviz_trainer.spec import TrainingSpec
from lossviz_tui.training import (
    DATA,
    MODELS,
    RECIPES,
    TrainingWish,
    data_choices,
    run_path,
    training_spec,
)

WISH = TrainingWish(data="digits", model="mlp", recipe="li")


def test_the_lists_are_those_of_the_trainer():
    assert DATA == DATA_WORDS
    assert sorted(MODELS) == sorted(MODEL_NAMES)
    assert set(RECIPES) == set(KNOWN)
    for name, sketch in RECIPES.items():
        rate, schedule = sketch.learning_rate.split(", ")
        recipe = KNOWN[name]
        assert (float(rate), schedule) == (recipe.learning_rate, recipe.schedule)
        assert sketch.epochs == recipe.epochs


def test_the_trainer_takes_the_request(tmp_path):
    wish = TrainingWish(
        data="/a/b.npz",
        model="mlp",
        recipe="li",
        epochs=3,
        train_examples=100,
        seed=4,
        device="cpu",
        name="mine",
    )
    spec = TrainingSpec.from_json(json.dumps(training_spec(tmp_path, wish)))
    assert spec.run == tmp_path / "mine.zarr"
    assert (spec.data, spec.model, spec.recipe) == ("/a/b.npz", "mlp", "li")
    assert (dict(spec.overrides), spec.train_examples) == ({"epochs": 3}, 100)
    assert (spec.seed, spec.device, spec.resume) == (4, "cpu", False)
    assert TrainingSpec.from_json(json.dumps(training_spec(tmp_path, WISH))).overrides == {}


def test_a_run_nobody_named_gets_the_first_free_name(tmp_path):
    assert run_path(tmp_path, WISH).name == "digits-mlp-li-1.zarr"
    (tmp_path / "digits-mlp-li-1.zarr").mkdir()
    assert run_path(tmp_path, WISH).name == "digits-mlp-li-2.zarr"


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", ".zarr", "a\x1b[2J"])
def test_what_cannot_be_a_folder_is_no_name(tmp_path, name):
    with pytest.raises(LossvizError, match="a run is named by a word"):
        run_path(tmp_path, TrainingWish(data="digits", model="mlp", recipe="li", name=name))


@pytest.mark.parametrize(("data", "name"), [("x" * 300, ""), ("digits", "x" * 201)])
def test_a_name_longer_than_a_file_system_takes_is_refused(tmp_path, data, name):
    with pytest.raises(LossvizError, match=r"too long|at most 200 bytes"):
        run_path(tmp_path, TrainingWish(data=data, model="mlp", recipe="li", name=name))


def test_a_folder_nobody_may_look_into_is_no_data(tmp_path):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "lost+found" / "train").symlink_to("x" * 300)  # an error to follow
    assert data_choices(tmp_path) == DATA


def test_data_that_lies_beside_is_offered(tmp_path):
    (tmp_path / "pets.npz").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "birds" / "train").mkdir(parents=True)
    (tmp_path / "birds" / "test").mkdir()
    found = data_choices(tmp_path, tmp_path, tmp_path / "nowhere")
    assert found == (*DATA, str(tmp_path / "birds"), str(tmp_path / "pets.npz"))
