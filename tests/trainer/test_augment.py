import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import functional as one_image

from lossviz_trainer.augment import normalise, random_crop, random_flip

MEAN = [0.4914, 0.4822, 0.4465]
STD = [0.2470, 0.2435, 0.2616]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pixels(num_images, height=32, width=32, seed=0):
    shape = (num_images, 3, height, width)
    return torch.randint(0, 256, shape, generator=generator(seed), dtype=torch.uint8)


def all_windows(image, padding):
    """The (2 padding + 1)^2 crops of one image, cut out of a zero border by a double loop."""
    channels, height, width = image.shape
    canvas = torch.zeros(channels, height + 2 * padding, width + 2 * padding, dtype=image.dtype)
    canvas[:, padding : padding + height, padding : padding + width] = image
    return [
        canvas[:, row : row + height, column : column + width]
        for row in range(2 * padding + 1)
        for column in range(2 * padding + 1)
    ]


@pytest.mark.oracle
def test_normalise_is_to_tensor_and_normalize_of_torchvision_to_the_bit():
    batch = pixels(8)
    expected = [
        one_image.normalize(
            one_image.to_tensor(Image.fromarray(np.asarray(image.permute(1, 2, 0)))), MEAN, STD
        )
        for image in batch
    ]
    assert torch.equal(normalise(batch, tuple(MEAN), tuple(STD)), torch.stack(expected))


def test_normalise_with_the_statistics_of_a_batch_gives_mean_zero_and_variance_one():
    batch = pixels(16)
    scaled = batch.double() / 255
    mean = tuple(scaled.mean(dim=(0, 2, 3)).tolist())
    std = tuple(scaled.std(dim=(0, 2, 3), correction=0).tolist())
    normal = normalise(batch, mean, std).double()
    torch.testing.assert_close(
        normal.mean(dim=(0, 2, 3)), torch.zeros(3).double(), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        normal.var(dim=(0, 2, 3)), torch.ones(3).double(), atol=1e-4, rtol=0
    )


def test_normalise_leaves_the_pixels_alone_and_keeps_the_memory_format():
    batch = pixels(4).contiguous(memory_format=torch.channels_last)
    before = batch.clone()
    normal = normalise(batch, tuple(MEAN), tuple(STD))
    assert torch.equal(batch, before)
    assert normal.dtype == torch.float32
    assert normal.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.oracle
@given(
    num_images=st.integers(0, 6),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_crop_is_the_window_at_its_own_offset(num_images, height, width, padding, seed):
    batch = pixels(num_images, height, width, seed)
    cropped = random_crop(batch, padding=padding, generator=generator(seed))
    rows, columns = torch.randint(
        0, 2 * padding + 1, (2, num_images), generator=generator(seed)
    )
    assert cropped.shape == batch.shape
    assert cropped.dtype == batch.dtype
    for n in range(num_images):
        windows = all_windows(batch[n], padding)
        assert torch.equal(cropped[n], windows[rows[n] * (2 * padding + 1) + columns[n]])


def test_all_windows_are_equally_likely():
    num_images, padding = 81 * 200, 4
    batch = pixels(1, 9, 9).expand(num_images, 3, 9, 9)
    cropped = random_crop(batch, padding=padding, generator=generator())
    windows = torch.stack(all_windows(batch[0], padding))
    found = [(cropped == window).all(dim=(1, 2, 3)).sum().item() for window in windows]
    assert sum(found) == num_images
    # 200 expected for each of 81; a chi-square with 80 degrees of freedom passes 140 once in
    # 25,000 draws.
    assert sum((count - 200) ** 2 / 200 for count in found) < 140


def test_no_padding_is_no_crop_and_draws_nothing():
    batch, source = pixels(3), generator()
    before = source.get_state()
    assert torch.equal(random_crop(batch, padding=0, generator=source), batch)
    assert torch.equal(source.get_state(), before)


@pytest.mark.oracle
def test_every_flip_is_the_image_or_its_mirror_and_half_are_mirrored():
    batch = pixels(1000, 4, 6)
    flipped = random_flip(batch, generator=generator())
    num_mirrored = 0
    for before, after in zip(batch, flipped, strict=True):
        mirrored = torch.empty_like(before)
        for column in range(6):
            mirrored[:, :, column] = before[:, :, 5 - column]
        assert torch.equal(after, before) or torch.equal(after, mirrored)
        num_mirrored += torch.equal(after, mirrored)
    # Standard deviation 16.
    assert abs(num_mirrored - 500) < 80


def test_flips_of_neighbouring_images_are_independent():
    batch = torch.arange(2, dtype=torch.uint8).expand(4000, 1, 1, 2)
    mirrored = random_flip(batch, generator=generator())[:, 0, 0, 0].bool()
    num_equal_neighbours = (mirrored[1:] == mirrored[:-1]).sum().item()
    # Standard deviation 32.
    assert abs(num_equal_neighbours - 2000) < 160


@pytest.mark.parametrize("augment", [random_crop, random_flip])
def test_the_generator_alone_decides_and_the_global_one_is_left_alone(augment):
    batch = pixels(64)
    state = torch.random.get_rng_state()
    first = augment(batch, generator=generator(1))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(1)
    assert torch.equal(first, augment(batch, generator=generator(1)))
    assert not torch.equal(first, augment(batch, generator=generator(2)))


@pytest.mark.parametrize("augment", [random_crop, random_flip])
def test_every_batch_draws_anew(augment):
    batch, source = pixels(64), generator()
    assert not torch.equal(augment(batch, generator=source), augment(batch, generator=source))


@pytest.mark.parametrize("augment", [random_crop, random_flip])
def test_the_pixels_given_are_left_alone(augment):
    batch = pixels(64)
    before = batch.clone()
    augment(batch, generator=generator())
    assert torch.equal(batch, before)


@pytest.mark.parametrize("augment", [random_crop, random_flip])
def test_memory_formats_make_no_difference(augment):
    batch = pixels(16)
    last = batch.contiguous(memory_format=torch.channels_last)
    assert torch.equal(
        augment(batch, generator=generator()), augment(last, generator=generator())
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
@pytest.mark.parametrize("augment", [random_crop, random_flip])
def test_an_accelerator_makes_the_same_batch(augment):
    batch = pixels(64)
    there = augment(batch.cuda(), generator=generator())
    assert there.is_cuda
    assert torch.equal(there.cpu(), augment(batch, generator=generator()))
