"""The 1,797 handwritten 8 x 8 digits inside scikit-learn: real data that needs no download.

They come from the test half of the UCI set (Alpaydin and Kaynak 1998), each pixel a count from
0 to 16.
"""

import numpy as np
from jaxtyping import Float, Int
from sklearn.datasets import load_digits as read_sklearn_digits
from sklearn.model_selection import train_test_split

from lossviz_trainer.datasets.images import Dataset, Images, Pixels, checked_dataset

_MAX_COUNT = 16
_MAGNIFICATION = 4
_TEST_SHARE = 0.2
_SPLIT_SEED = 0


def load_digits() -> Dataset:
    """The digits as 32 x 32 images: 1,437 to train on, 360 to test, always the same ones.

    The split is stratified: each class has the same share in both, to within one example.

    Returns:
        Classes "0" to "9". A mirrored digit is not a digit, so flips do not preserve the label.
    """
    counts, digits = read_sklearn_digits(return_X_y=True)
    labels = np.asarray(digits, dtype=np.int64)
    train, test = train_test_split(
        np.arange(len(labels)),
        test_size=_TEST_SHARE,
        random_state=_SPLIT_SEED,
        shuffle=True,
        stratify=labels,
    )
    images = magnified(np.asarray(counts).reshape(-1, 8, 8))
    return checked_dataset(
        name="digits",
        class_names=(str(digit) for digit in range(10)),
        train=Images(images=images[train], labels=labels[train]),
        test=Images(images=images[test], labels=labels[test]),
        source="digits",
        flip_is_label_preserving=False,
    )


def magnified(
    counts: Float[np.ndarray, "n 8 8"] | Int[np.ndarray, "n 8 8"],
) -> Pixels:
    """Grey 32 x 32 images in which every 8 x 8 pixel is a square of 4 x 4.

    Nearest, not bilinear, because it invents nothing: the 8 x 8 image can be read back, no
    library's idea of interpolation enters the data, and a crop shifted by 4 moves the digit by
    one true pixel.

    Args:
        counts: Pixel values from 0 to 16.

    Returns:
        Three equal channels; 16 becomes 255.
    """
    grey = np.rint(counts * (255 / _MAX_COUNT)).astype(np.uint8)
    large = grey.repeat(_MAGNIFICATION, axis=1).repeat(_MAGNIFICATION, axis=2)
    return np.repeat(large[:, np.newaxis], 3, axis=1)
