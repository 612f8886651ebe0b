"""Every architecture against its published figures, and what the program asks of it."""

import copy
import re
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.func import functional_call

from lossviz_trainer.models import MODEL_NAMES, build_model
from lossviz_trainer.models.resnet import PaddedSubsample, ResidualBlock

PARAMETERS = {
    # By hand: 3072 * 128 + 128 and 128 * 10 + 10 (layer sizes: Xu, appendix A.1).
    "mlp": 394_634,
    # Widths from tomgoldstein/loss-landscape, cifar10/models/vgg.py, which prints no count;
    # see test_vgg9_is_counted_by_hand.
    "vgg9": 2_789_706,
    # The widely quoted counts of kuangliu/pytorch-cifar with ten classes, down to densenet121.
    "vgg19": 20_040_522,
    "googlenet": 6_166_250,
    "resnet18": 11_173_962,
    "dla": 16_291_386,
    "densenet121": 6_956_298,
    # akamaster/pytorch_resnet_cifar10; He et al. (2016, table 6) print them in millions, see
    # test_he_et_al_print_the_same_count_in_millions.
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    # Option A has no parameters, so removing it (Li et al. 2018) removes none.
    "resnet20-noshort": 269_722,
    "resnet32-noshort": 464_154,
    "resnet56-noshort": 853_018,
    "resnet110-noshort": 1_727_962,
    # No published figure; see test_widened_networks_are_counted_by_hand.
    "wrn56-2": 3_401_770,
    "wrn56-4": 13_586_506,
    "wrn56-8": 54_304_906,
    "wrn56-2-noshort": 3_401_770,
    "wrn56-4-noshort": 13_586_506,
    "wrn56-8-noshort": 54_304_906,
}

# Layers with weights, projections in shortcuts not counted (nor do the papers count them).
DEPTHS = {
    "mlp": 2,
    "vgg9": 9,
    "vgg19": 17,  # one linear layer instead of three
    "dla": 38,  # DLA-34 and the two blocks that bring a tree's input to its root
    "densenet121": 121,
    **{name: int(re.findall(r"\d+", name)[0]) for name in MODEL_NAMES if "resnet" in name},
    **{name: 56 for name in MODEL_NAMES if name.startswith("wrn")},
}

SMALL = ("mlp", "vgg9", "resnet20", "resnet20-noshort")
WIDE = tuple(name for name in MODEL_NAMES if re.match(r"wrn56-[48]", name))
NOT_WIDE = tuple(name for name in MODEL_NAMES if name not in WIDE)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest) -> nn.Module:
    """A model in eval mode, shared by the tests of this module: copy it before changing it."""
    return build_model(request.param, 10, seed=0).eval()


def each_model(*names: str) -> pytest.MarkDecorator:
    heavy = {"googlenet", "wrn56-8", "wrn56-8-noshort"}
    models = [
        pytest.param(name, marks=pytest.mark.slow if name in heavy else ()) for name in names
    ]
    return pytest.mark.parametrize("model", models, indirect=True, scope="module")


def images(batch: int) -> torch.Tensor:
    return torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(batch))


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_parameter_count_is_the_published_one(name: str):
    model = build_model(name, 10, seed=0)
    assert num_parameters(model) == PARAMETERS[name]
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "millions"),
    [("resnet20", "0.27"), ("resnet32", "0.46"), ("resnet56", "0.85"), ("resnet110", "1.7")],
)
def test_he_et_al_print_the_same_count_in_millions(name: str, millions: str):
    decimals = len(millions.split(".")[1])
    assert f"{PARAMETERS[name] / 1e6:.{decimals}f}" == millions


def test_vgg9_is_counted_by_hand():
    pairs = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)]
    convolutions = sum(9 * before * after + 3 * after for before, after in pairs)
    hidden = 256 * 4 * 4 * 256 + 3 * 256
    assert convolutions + hidden + 256 * 10 + 10 == PARAMETERS["vgg9"]


@pytest.mark.parametrize("widening", [1, 2, 4, 8])
def test_widened_networks_are_counted_by_hand(widening: int):
    total, channels = 0, 3
    for width in [16] * 19 + [32] * 18 + [64] * 18:
        total += 9 * channels * width * widening + 2 * width * widening
        channels = width * widening
    total += channels * 10 + 10
    name = "resnet56" if widening == 1 else f"wrn56-{widening}"
    assert total == PARAMETERS[name] == PARAMETERS[f"{name}-noshort"]


@each_model(*DEPTHS)
def test_the_depth_is_the_one_in_the_name(model: nn.Module, request: pytest.FixtureRequest):
    name = request.node.callspec.params["model"]
    layers = [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "shortcut" not in path
    ]
    assert len(layers) == DEPTHS[name]


@each_model(*MODEL_NAMES)
def test_there_is_one_logit_per_class_and_eval_mode_is_a_function(model: nn.Module):
    with torch.no_grad():
        logits = model(images(2))
        assert logits.shape == (2, 10)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()
        # No image sees another in eval mode.
        torch.testing.assert_close(model(images(2)[:1]), logits[:1], rtol=1e-3, atol=1e-3)
        assert torch.equal(model(images(2)), logits)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("num_classes", [2, 100])
def test_the_number_of_classes_is_free(name: str, num_classes: int):
    model = build_model(name, num_classes, seed=0)
    assert model.training
    with torch.no_grad():
        assert model(images(2)).shape == (2, num_classes)


@each_model(*MODEL_NAMES)
def test_every_parameter_receives_a_gradient(model: nn.Module):
    model = copy.deepcopy(model).train()
    # Four images: with two, batch norm over a single pixel leaves signs, whose derivative is 0.
    logits = model(images(4))
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    cancelled = biases_before_a_batch_norm(model)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert name in cancelled or parameter.grad.any(), name


def biases_before_a_batch_norm(model: nn.Module) -> set[str]:
    return {
        f"{path}.bias"
        for path, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    }


@each_model(*NOT_WIDE)
def test_gradients_can_be_differentiated_again(model: nn.Module):
    parameters = [p.detach().requires_grad_() for p in model.parameters()]
    named = dict(zip((name for name, _ in model.named_parameters()), parameters, strict=True))
    logits = functional_call(copy.deepcopy(model).train(), named, (images(4),))
    loss = nn.functional.cross_entropy(logits, torch.arange(4))
    gradient = torch.autograd.grad(loss, parameters, create_graph=True)
    along_itself = sum(((g * g.detach()).sum() for g in gradient), start=torch.zeros(()))
    product = torch.autograd.grad(along_itself, parameters)
    assert all(p.isfinite().all() for p in product)
    assert any(p.any() for p in product)


@each_model(*SMALL)
def test_a_hessian_vector_product_is_the_slope_of_the_gradient(model: nn.Module):
    # In float64, one step so small that no ReLU switches.
    model = copy.deepcopy(model).double()
    weights = {name: value.detach() for name, value in model.named_parameters()}
    generator = torch.Generator().manual_seed(1)
    direction = {
        name: torch.randn(value.shape, dtype=torch.float64, generator=generator) * value.std()
        for name, value in weights.items()
        if value.dim() > 1
    }

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        logits = functional_call(model, {**weights, **parameters}, (images(2).double(),))
        return nn.functional.cross_entropy(logits, torch.arange(2))

    slope = torch.func.grad(loss)
    point = {name: weights[name] for name in direction}
    step = 1e-7

    def along(sign: float) -> dict[str, torch.Tensor]:
        return slope({name: point[name] + sign * step * direction[name] for name in point})

    # The Hessian is symmetric, so reverse mode twice will do.
    product = torch.func.vjp(slope, point)[1](direction)[0]
    forward, backward = along(1.0), along(-1.0)
    for name, value in product.items():
        estimate = (forward[name] - backward[name]) / (2 * step)
        torch.testing.assert_close(value, estimate, rtol=1e-4, atol=1e-5 * value.abs().max())


@each_model(*NOT_WIDE)
def test_channels_last_changes_nothing_but_the_layout(model: nn.Module):
    with torch.no_grad():
        expected = model(images(2))
        last = copy.deepcopy(model).to(memory_format=torch.channels_last)
        actual = last(images(2).contiguous(memory_format=torch.channels_last))
    scale = expected.abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4 * scale)


@each_model(*MODEL_NAMES)
def test_nothing_is_random_in_place_or_tied(model: nn.Module):
    tensors = list(model.parameters())
    assert len({tensor.data_ptr() for tensor in tensors}) == len(tensors)
    for module in model.modules():
        assert not getattr(module, "inplace", False)
        assert "Dropout" not in type(module).__name__


@each_model(*MODEL_NAMES)
def test_the_last_layer_is_called_classifier(model: nn.Module):
    linear = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    assert linear[-1] == "classifier"


@each_model(*MODEL_NAMES)
def test_a_batch_norm_stands_where_its_name_says(model: nn.Module):
    for path, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            parent, _, name = path.rpartition(".")
            siblings = dict(model.get_submodule(parent).named_children())
            if isinstance(model.get_submodule(parent), nn.Sequential):
                partner = siblings[str(int(name) - 1)]
            elif name in {"bn_in", "bn_out"}:
                continue
            else:
                partner = siblings[name.replace("bn", "conv")]
            assert isinstance(partner, nn.Conv2d)
            assert partner.out_channels == module.num_features


@pytest.mark.parametrize("name", ["resnet20", "resnet56", "wrn56-2"])
def test_noshort_has_the_same_weights_and_no_way_around_them(name: str):
    short = build_model(name, 10, seed=3).eval()
    noshort = build_model(f"{name}-noshort", 10, seed=3).eval()
    assert short.state_dict().keys() == noshort.state_dict().keys()
    for key, value in short.state_dict().items():
        assert torch.equal(value, noshort.state_dict()[key])
    with torch.no_grad():
        assert not torch.allclose(short(images(2)), noshort(images(2)))
        # With one block silenced, the image reaches the logits only around it.
        for network in (short, noshort):
            block = network.get_submodule("blocks.4")
            assert isinstance(block, ResidualBlock)
            block.conv2.weight.zero_()
        assert torch.equal(*noshort(images(2)))
        assert not torch.allclose(*short(images(2)))


def test_a_padded_subsample_keeps_every_second_pixel_and_appends_zeros():
    x = images(2)
    y = PaddedSubsample(3, 6, stride=2)(x)
    assert y.shape == (2, 6, 16, 16)
    assert not y[:, 3:].any()
    for row in range(16):
        for column in range(16):
            assert torch.equal(y[:, :3, row, column], x[:, :, 2 * row, 2 * column])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg9", "resnet20", "dla", "googlenet"])
def test_the_whole_model_is_one_graph_for_the_compiler(name: str):
    model = build_model(name, 10, seed=0).eval()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(images(2)), model(images(2)))
    torch.compiler.reset()
