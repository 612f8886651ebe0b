import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import load_digits as read_sklearn_digits

from lossviz_trainer.datasets.digits import load_digits, magnified


def test_the_digits_are_split_four_to_one_and_stratified():
    digits = load_digits()
    assert digits.class_names == tuple("0123456789")
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    train = np.bincount(digits.train.labels)
    test = np.bincount(digits.test.labels)
    assert np.abs(test - 0.2 * (train + test)).max() <= 1


def test_the_two_splits_together_are_the_digits_of_scikit_learn():
    digits = load_digits()
    counts, labels = read_sklearn_digits(return_X_y=True)
    expected = sorted(
        zip(
            magnified(counts.reshape(-1, 8, 8))[:, 0, ::4, ::4].reshape(-1, 64).tolist(),
            labels.tolist(),
            strict=True,
        )
    )
    got = [
        (image.reshape(64).tolist(), int(label))
        for part in (digits.train, digits.test)
        for image, label in zip(part.images[:, 0, ::4, ::4], part.labels, strict=True)
    ]
    assert sorted(got) == expected


def test_the_split_is_always_the_same():
    assert load_digits().fingerprint == load_digits().fingerprint


def test_a_mirrored_digit_is_not_taken_for_a_digit():
    assert not load_digits().flip_is_label_preserving


@given(hnp.arrays(np.int64, (2, 8, 8), elements=st.integers(0, 16)))
def test_every_pixel_becomes_a_square_of_sixteen_grey_ones(counts):
    pixels = magnified(counts)
    assert pixels.shape == (2, 3, 32, 32)
    assert pixels.dtype == np.uint8
    for n, c, row, column in np.ndindex(2, 3, 32, 32):
        count = counts[n, row // 4, column // 4]
        assert abs(float(pixels[n, c, row, column]) - count * 255 / 16) <= 0.5


def test_the_darkest_and_brightest_counts_become_black_and_white():
    pixels = magnified(np.array([0, 16]).repeat(64).reshape(2, 8, 8))
    assert pixels[0].max() == 0
    assert pixels[1].min() == 255
