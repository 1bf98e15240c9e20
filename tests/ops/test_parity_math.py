"""Elementwise functions, comparisons, reductions and sorting, called as scripts for PyTorch do."""

from typing import Any

import pytest
from parity import BINARY, POSITIVE, UNARY, Row, check, each, floats

ELEMENTWISE = [
    Row(
        "abs",
        lambda torch, x: x.abs(),
        UNARY,
        differs={"special": "the gradient at NaN is NaN"},
        more={"boolean": "a boolean is its own absolute value"},
    ),
    Row("exp", lambda torch, x: torch.exp(x), UNARY),
    Row("log", lambda torch, x: torch.log(x), POSITIVE),
    Row("sqrt", lambda torch, x: x.sqrt(), POSITIVE),
    Row("sin", lambda torch, x: torch.sin(x), UNARY),
    Row("cos", lambda torch, x: torch.cos(x), UNARY),
    Row("plus", lambda torch, x, y: x + y, BINARY),
    Row("times", lambda torch, x, y: x * y, BINARY),
]


@each(ELEMENTWISE)
def test_elementwise(row: Row, backend: str) -> None:
    check(row, backend)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda torch, x: x if torch.__name__ == "torch" else x + 1e-3, "result is "),
        (lambda torch, x: x[:, :2] if torch.__name__ == "torch" else x, "PyTorch: float32"),
        (lambda torch, x: x.detach() if torch.__name__ == "torch" else x, "requires_grad"),
        (lambda torch, x: (x, x) if torch.__name__ == "torch" else x, "PyTorch: tuple"),
        (lambda torch, x: 1 if torch.__name__ == "torch" else 2, "PyTorch: int 1"),
        (lambda torch, x: 1 / 0 if torch.__name__ == "torch" else x, "no error"),
        (lambda torch, x: x if torch.__name__ == "torch" else x[9], "IndexError"),
        (lambda torch, x: x.nothing, "AttributeError"),
        (
            lambda torch, x: (
                x * (2 if torch.__name__ == "torch" else x.detach() * 0 + 2) * x
                if torch.__name__ == "torch"
                else x.detach() * 2 * x
            ),
            "gradient 0",
        ),
    ],
)
def test_the_comparison_detects_differences(call: Any, message: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=message):
        check(Row("wrong", call, {"plain": (floats(3, 4),)}), "numpy")
