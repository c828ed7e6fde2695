"""The digits of scikit-learn: 1797 images of 8x8 pixels in ten classes, shipped with the package, no download."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spcomp.errors import InputError

TEST_FRACTION = 0.25
SPLIT_SEED = 0


@dataclass(frozen=True, eq=False)
class Digits:
    """Images are float32 in [0, 1], shape (count, 64), row by row; labels are int64, shape (count,)."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def load_digits() -> Digits:
    """1347 training and 450 test images, the same split always, every class in the same proportion in both.

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets, model_selection
    except ImportError as error:
        raise InputError(
            "loading the digits data set", f"scikit-learn cannot be imported ({error})", "pip install 'spcomp[demo]'"
        ) from error
    images, labels = datasets.load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = model_selection.train_test_split(
        images, labels, test_size=TEST_FRACTION, random_state=SPLIT_SEED, stratify=labels
    )
    return Digits(_images(train_x), _labels(train_y), _images(test_x), _labels(test_y))


def _images(values: object) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32) / 16.0


def _labels(values: object) -> Tensor:
    return torch.as_tensor(values, dtype=torch.int64)
