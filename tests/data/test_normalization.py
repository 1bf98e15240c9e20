"""Standardized features: statistics, and errors for data that have none."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinytorch import Tensor
from tinytorch.data.normalization import Standardizer

ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "constant": (
        lambda: Standardizer().fit([[1.0, 5.0], [2.0, 5.0]]),
        ValueError,
        r"feature \[1\] is constant in all 2 examples",
    ),
    "constant with rounding": (
        lambda: Standardizer().fit(np.full((3, 1), 0.1, np.float32)),
        ValueError,
        "constant",
    ),
    "one example": (lambda: Standardizer().fit([[1.0, 2.0]]), ValueError, "constant in all 1 exam"),
    "no examples": (
        lambda: Standardizer().fit(np.zeros((0, 3))),
        ValueError,
        "at least one number",
    ),
    "no features": (
        lambda: Standardizer().fit(np.zeros((3, 0))),
        ValueError,
        "at least one number",
    ),
    "NaN": (
        lambda: Standardizer().fit([[1.0, 2.0], [math.nan, 3.0]]),
        ValueError,
        r"nan at x\[1, 0\]",
    ),
    "infinity": (lambda: Standardizer().fit([1.0, math.inf]), ValueError, r"inf at x\[1\]"),
    "a number": (lambda: Standardizer().fit(3.0), ValueError, r"shape \(\), axis=0"),
    "axis 1": (lambda: Standardizer().fit(np.eye(3), axis=1), ValueError, "axis=1"),
    "axis 2": (lambda: Standardizer().fit(np.eye(3), axis=(0, 2)), ValueError, r"axis=\(0, 2\)"),
    "text": (lambda: Standardizer().fit(["a", "b"]), ValueError, "could not convert"),
    "too small": (lambda: Standardizer().fit([0.0, 1e-200]), ValueError, "finite std above 0"),
    "not fitted": (lambda: Standardizer()([1.0]), RuntimeError, "call fit"),
    "inverse, not fitted": (lambda: Standardizer().inverse([1.0]), RuntimeError, "call fit"),
    "another shape": (
        lambda: Standardizer([0.0, 0.0], [1.0, 1.0])([[1.0, 2.0, 3.0]]),
        ValueError,
        r"shape \(2,\), which examples of shape \(1, 3\) do not fit",
    ),
    "too few axes": (lambda: Standardizer([0.0], [1.0])(3.0), ValueError, r"shape \(\) do not fit"),
    "mean only": (lambda: Standardizer([0.0]), ValueError, "both mean and std"),
    "shapes": (lambda: Standardizer([0.0], [1.0, 2.0]), ValueError, "of one shape"),
    "std 0": (lambda: Standardizer([0.0], [0.0]), ValueError, "std above 0"),
}


@pytest.mark.parametrize(("call", "error", "match"), ERRORS.values(), ids=ERRORS)
def test_data_that_cannot_be_standardized_raise(call: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        call()


def test_a_failed_fit_keeps_the_statistics() -> None:
    scale = Standardizer().fit([1.0, 3.0])
    with pytest.raises(ValueError, match="constant"):
        scale.fit([5.0, 5.0])
    assert scale([5.0]).tolist() == [3.0]


def test_statistics_survive_json() -> None:
    scale = Standardizer().fit(np.random.default_rng(0).normal(size=(9, 2)))
    assert scale.mean is not None
    assert scale.std is not None
    saved = json.dumps([scale.mean.tolist(), scale.std.tolist()])
    other = Standardizer(*json.loads(saved))
    np.testing.assert_array_equal(other([[1.0, 2.0]]).numpy(), scale([[1.0, 2.0]]).numpy())


@pytest.mark.parametrize("axis", [(0, 1, 2), (0, -3, -2)])
def test_one_statistic_for_each_channel(axis: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, 4, 4, 3), np.uint8)
    scale = Standardizer().fit(Tensor(images), axis=axis)
    assert scale.mean is not None
    assert scale.mean.shape == (1, 1, 3)
    other = np.zeros((2, 7, 9, 3), np.uint8)  # of another size
    assert scale(Tensor(other)).shape == other.shape
    with pytest.raises(ValueError, match="do not fit"):
        scale(Tensor(np.zeros((2, 7, 9, 4))))


def test_gradients_flow_to_the_data() -> None:
    x = Tensor([[1.0, 2.0]], requires_grad=True)
    Standardizer([0.0, 0.0], [2.0, 4.0])(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.5, 0.25]]


def test_data_that_require_a_gradient_can_be_fitted() -> None:
    scale = Standardizer().fit(Tensor([1.0, 3.0], requires_grad=True))
    assert scale([2.0]).tolist() == [0.0]
    assert repr(scale) == "Standardizer(mean=2.0, std=1.0)"
    assert repr(Standardizer()) == "Standardizer()"
