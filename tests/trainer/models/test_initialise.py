"""Initial weights: their law, and that nothing is left out."""

import math

import pytest
import torch
from torch import nn

from lossviz_trainer.models import build_model
from lossviz_trainer.models.initialise import initialise_


def standard_errors_off(weight: torch.Tensor, expected_std: float) -> float:
    # The standard deviation of n normal draws has a relative standard error of 1 / sqrt(2 n).
    return abs(weight.std().item() / expected_std - 1) * math.sqrt(2 * weight.numel())


@pytest.mark.parametrize("name", ["mlp", "vgg9", "resnet18", "dla"])
def test_weights_are_he_normal_by_fan_in(name: str):
    for path, module in build_model(name, 10, seed=0).named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            gain = 1.0 if path == "classifier" else math.sqrt(2.0)
            assert standard_errors_off(module.weight, gain / math.sqrt(fan_in)) < 5
            assert module.bias is None or not module.bias.any()


def test_batch_norms_start_as_the_identity():
    model = build_model("densenet121", 10, seed=0)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        x = torch.randn(2, norm.num_features, 1, 1, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(norm.eval()(x), x / math.sqrt(1 + norm.eps))
        assert norm.num_batches_tracked == 0


def test_nothing_of_the_uninitialised_memory_survives():
    model = build_model("googlenet", 10, seed=0)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    for value in model.state_dict().values():
        value.fill_(77)
    initialise_(model, torch.Generator().manual_seed(0))
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_a_layer_without_a_rule_is_refused():
    with pytest.raises(TypeError, match="'1', a LayerNorm"):
        initialise_(nn.Sequential(nn.ReLU(), nn.LayerNorm(3)), torch.Generator())
