"""Operators: type promotion, operands that are not tensors, and comparison."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinytorch import Tensor, maximum, where


def dtype_name(t: Tensor) -> str:
    return str(t.dtype).rsplit(".", 1)[-1]


BOOL, INT, F32, F64 = (np.array([1, 2, 3], d) for d in ("bool", "int64", "float32", "float64"))
PROMOTIONS = [
    (INT, 2, "+", "int64"),
    (INT, 0.5, "+", "float32"),
    (INT, 0.5, "*", "float32"),
    (INT, 0.5, "**", "float32"),
    (INT, 2, "**", "int64"),
    (INT, 2, "/", "float32"),
    (INT, INT, "/", "float32"),
    (INT, INT, "-", "int64"),
    (INT, F32, "*", "float32"),
    (INT, F64, "*", "float64"),
    (INT, F64, "/", "float64"),
    (BOOL, F32, "*", "float32"),
    (BOOL, 0.5, "-", "float32"),
    (F32, 2, "/", "float32"),
    (F32, 0.1, "+", "float32"),
    (F32, F64, "+", "float64"),
    (F32, np.float64(0.1), "*", "float32"),
    (F32, np.int64(3), "**", "float32"),
    (INT, np.float32(0.5), "-", "float32"),
    (INT, np.int32(2), "-", "int64"),
]  # fmt: skip
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "**": lambda x, y: x**y,
}


@pytest.mark.parametrize(("x", "y", "sign", "dtype"), PROMOTIONS)
def test_operators_promote_dtypes(x: Any, y: Any, sign: str, dtype: str, backend: str) -> None:
    operator, tensor = OPERATORS[sign], Tensor(x, backend=backend)
    other = Tensor(y, backend=backend) if isinstance(y, np.ndarray) else y
    right, left = operator(tensor, other), operator(other, tensor)
    for t, expected in ((right, operator(x, y)), (left, operator(y, x))):
        assert dtype_name(t) == dtype
        np.testing.assert_allclose(t.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("sign", OPERATORS)
def test_an_operator_with_a_numpy_array_returns_a_tensor(sign: str, backend: str) -> None:
    x, y, operator = F64 + 1, F64 * 3, OPERATORS[sign]
    for t in (operator(x, Tensor(y, backend=backend)), operator(Tensor(x, backend=backend), y)):
        assert isinstance(t, Tensor)
        np.testing.assert_allclose(t.numpy(), operator(x, y))


def test_matmul_takes_numpy_arrays_and_mixed_dtypes(backend: str) -> None:
    x, y = np.arange(6.0).reshape(2, 3), np.arange(3)
    for t in (Tensor(x, backend=backend) @ y, x @ Tensor(y, backend=backend)):
        np.testing.assert_array_equal(t.numpy(), x @ y)
    for wrong in (np.ones(2), 2.0):
        with pytest.raises(ValueError, match="matmul"):
            Tensor(x, backend=backend) @ Tensor(wrong, backend=backend)


@pytest.mark.parametrize("function", [lambda x, y: where(x > 1, x, y), maximum, Tensor.clip])
def test_a_float_operand_of_an_integer_tensor_is_not_truncated(function: Any, backend: str) -> None:
    t = function(Tensor([1, 2], backend=backend), 1.5)
    assert dtype_name(t) == "float32"
    np.testing.assert_array_equal(t.numpy(), [1.5, 2])
    assert dtype_name(function(Tensor([1, 2], backend=backend), 1)) == "int64"


def test_comparison_and_logical_operators(backend: str) -> None:
    a, b = np.array([1, 2, 3]), np.array([3.0, 2.0, 1.0])
    x, y = Tensor(a, backend=backend), Tensor(b, True, backend=backend)
    for ours, expected in [
        (x == y, a == b),
        (x != 2, a != 2),
        (x < y, a < b),
        (x <= b, a <= b),
        (b > x, b > a),
        (x >= 2.5, a >= 2.5),
        (x > 1, a > 1),
        (~(x < y), ~(a < b)),
        ((x < 3) & (y < 3), (a < 3) & (b < 3)),
        ((x < 2) | (b < 2), (a < 2) | (b < 2)),
        ((b < 2) | (x < 2), (a < 2) | (b < 2)),
        (True & (x < 2), a < 2),
    ]:
        assert dtype_name(ours) == "bool"
        assert not ours.requires_grad
        np.testing.assert_array_equal(ours.numpy(), expected)
    assert len({x, x, y}) == 2  # hashed by identity
