"""Shape methods of tensors, compared with NumPy."""

from typing import Any

import numpy as np
import pytest

import tinytorch
from tinytorch import Tensor


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (lambda t: t.reshape(4, -1), lambda a: a.reshape(4, 6)),
        (lambda t: t.reshape([24]), lambda a: a.reshape(24)),
        (lambda t: t.view((6, 4)), lambda a: a.reshape(6, 4)),
        (lambda t: t.flatten(), lambda a: a.reshape(24)),
        (lambda t: t.flatten(1), lambda a: a.reshape(2, 12)),
        (lambda t: t.flatten(0, -2), lambda a: a.reshape(6, 4)),
        (lambda t: t.permute(2, 0, 1), lambda a: a.transpose(2, 0, 1)),
        (lambda t: t.permute((-1, 0, 1)), lambda a: a.transpose(2, 0, 1)),
        (lambda t: t.transpose(), lambda a: a.transpose(1, 0, 2)),
        (lambda t: t.transpose(-1, 0), lambda a: a.transpose(2, 1, 0)),
        (lambda t: t.T, lambda a: a.T),
        (lambda t: t.mT, lambda a: a.mT),
        (lambda t: t.unsqueeze(0), lambda a: a[None]),
        (lambda t: t.unsqueeze(-1), lambda a: a[..., None]),
        (lambda t: t[:1].squeeze(), lambda a: a[0]),
        (lambda t: t[:1].squeeze(-3), lambda a: a[0]),
        (lambda t: t.squeeze(-1), lambda a: a),  # as in PyTorch, no error if the size is not 1
        (lambda t: t.expand(5, -1, 3, -1), lambda a: np.stack([a] * 5)),
        (lambda t: t[:, :1].expand(2, 3, -1), lambda a: a[:, [0, 0, 0]]),
        (lambda t: t.split(2, axis=-1)[1], lambda a: a[..., 2:]),
        (lambda t: t.split([1, 3], axis=2)[1], lambda a: a[..., 1:]),
        (lambda t: t.split(2, axis=1)[1], lambda a: a[:, 2:]),
        (lambda t: t.split(9)[0], lambda a: a),
        (lambda t: t[0, 0, 0].flatten(), lambda a: a[0, 0, :1]),
        (lambda t: t[0, 0, 0].squeeze(), lambda a: a[0, 0, 0]),
    ],
)
def test_shape_methods_equal_numpy(method: Any, expected: Any, backend: str) -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    t = method(Tensor(array, backend=backend))
    assert t.shape == expected(array).shape
    np.testing.assert_array_equal(t.numpy(), expected(array))


@pytest.mark.parametrize(
    ("method", "error"),
    [
        (lambda t: t.reshape(5, -1), ValueError),
        (lambda t: t.reshape(7), ValueError),
        (lambda t: t.reshape(-1, -1), ValueError),
        (lambda t: t.permute(0), ValueError),
        (lambda t: t.permute(0, 0), ValueError),
        (lambda t: t.transpose(0, 2), IndexError),
        (lambda t: t.unsqueeze(3), IndexError),
        (lambda t: t.squeeze(2), IndexError),
        (lambda t: t.flatten(2), IndexError),
        (lambda t: t.expand(-1, 2, 3), ValueError),
        (lambda t: t.expand(3), ValueError),
        (lambda t: t.split([1, 2]), ValueError),
        (lambda t: t.sum(axis=2), IndexError),
        (lambda t: t.sum(axis=(0, -2)), ValueError),
        (lambda t: t.cumsum(2), IndexError),
        (lambda t: t.cumsum(-3), IndexError),
        (lambda t: t[2], IndexError),
        (lambda t: t[Tensor([0.5])], IndexError),
    ],
)
def test_invalid_shapes_and_axes_raise(method: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        method(tinytorch.ones(2, 3))
