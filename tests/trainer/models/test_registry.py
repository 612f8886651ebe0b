"""Models by name: the arguments alone decide the weights, and nothing else is touched."""

import pytest
import torch

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.models import MODEL_NAMES, build_model


def weights(name: str, seed: int) -> torch.Tensor:
    model = build_model(name, 10, seed=seed)
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


@pytest.mark.parametrize("name", ["mlp", "vgg9", "resnet20", "densenet121"])
def test_the_seed_decides_the_weights(name: str):
    first = weights(name, seed=7)
    torch.manual_seed(123)
    assert torch.equal(first, weights(name, seed=7))
    assert not torch.equal(first, weights(name, seed=8))


def test_the_global_generator_neither_moves_nor_matters():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    build_model("resnet20", 10, seed=0)
    assert torch.equal(before, torch.get_rng_state())


def test_the_default_dtype_and_device_do_not_matter():
    expected = weights("resnet20", seed=0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            actual = weights("resnet20", seed=0)
    finally:
        torch.set_default_dtype(before)
    assert actual.dtype == torch.float32
    assert actual.device.type == "cpu"
    assert torch.equal(expected, actual)


def test_an_unknown_name_is_answered_with_the_nearest_and_all_names():
    with pytest.raises(LossvizError, match="did you mean 'resnet56-noshort'") as raised:
        build_model("resnet56_noshort", 10, seed=0)
    assert all(name in str(raised.value) for name in MODEL_NAMES)


def test_a_name_like_no_other_gets_no_suggestion():
    with pytest.raises(LossvizError, match="choose one of") as raised:
        build_model("!", 10, seed=0)
    assert "did you mean" not in str(raised.value)


@pytest.mark.parametrize("num_classes", [1, 0, -3])
def test_fewer_than_two_classes_are_refused(num_classes: int):
    with pytest.raises(LossvizError, match=f"at least 2 classes; got {num_classes}"):
        build_model("mlp", num_classes, seed=0)


def test_names_are_listed_once():
    assert len(set(MODEL_NAMES)) == len(MODEL_NAMES)
