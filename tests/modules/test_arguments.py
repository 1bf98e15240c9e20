"""Arguments of all functions are checked by the same rules, with the same messages."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tinytorch import (
    GPT,
    BPETokenizer,
    CosineSchedule,
    DataLoader,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Parameter,
    Tensor,
    TokenDataset,
)
from tinytorch.arguments import check_flag, check_integer, check_like, check_number, shown
from tinytorch.optimizers import SGD, AdamW

INTEGERS: dict[str, Callable[[Any], Any]] = {
    "in_features": lambda n: Linear(n, 2),
    "normalized_shape": LayerNorm,
    "vocab_size": lambda n: Embedding(n, 2),
    "num_layers": lambda n: GPT(10, 8, n, 2),
    "batch_size": lambda n: DataLoader([1], n),
    "stride": lambda n: TokenDataset([1, 2, 3], 1, n),
    "total_steps": lambda n: CosineSchedule(total_steps=n),
    "max_new_tokens": lambda n: GPT(10, 8, 1, 2).generate([1], n),
    "top_k": lambda n: GPT(10, 8, 1, 2).generate([1], 1, top_k=n),
}
NUMBERS: dict[str, Callable[[Any], Any]] = {
    "Dropout: p": Dropout,
    "SGD: lr": lambda x: SGD([Parameter([1.0])], lr=x),
    "AdamW: eps": lambda x: AdamW([Parameter([1.0])], eps=x),
    "max_lr": CosineSchedule,
    "temperature": lambda x: GPT(10, 8, 1, 2).generate([1], 1, temperature=x),
    "top_p": lambda x: GPT(10, 8, 1, 2).generate([1], 1, top_p=x),
}
FLAGS: dict[str, Callable[[Any], Any]] = {
    "bias": lambda f: Linear(2, 2, f),
    "tie_weights": lambda f: GPT(10, 8, 1, 2, tie_weights=f),
    "drop_last": lambda f: DataLoader([1], drop_last=f),
    "nesterov": lambda f: SGD([Parameter([1.0])], nesterov=f),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_arguments(name: str) -> None:
    for wrong in (True, 2.0, "a", [1, 2], np.zeros(3), Tensor([1, 2])):
        with pytest.raises(TypeError, match=f"{name} must be an integer, not "):
            INTEGERS[name](wrong)
    with pytest.raises(ValueError, match=f"{name} must be (at least|in).*, not -1"):
        INTEGERS[name](-1)
    INTEGERS[name](np.int32(2))


def test_sizes_of_tokenizers() -> None:
    with pytest.raises(TypeError, match="vocab_size must be an integer, not 'a'"):
        BPETokenizer("a")


@pytest.mark.parametrize("name", NUMBERS)
def test_number_arguments(name: str) -> None:
    for wrong in (True, "a", [0.5], 1j, Tensor([1.0, 2.0])):
        with pytest.raises(TypeError, match=f"{name} must be a number, not "):
            NUMBERS[name](wrong)
    for wrong in (-1, math.nan):
        with pytest.raises(ValueError, match=f"{name} must be (at least|in)"):
            NUMBERS[name](wrong)
    for right in (np.float32(0.5), Tensor(0.5), Fraction(1, 2), 1):
        NUMBERS[name](right)


@pytest.mark.parametrize("name", FLAGS)
def test_flag_arguments(name: str) -> None:
    for wrong in (0, None, "float64", [True]):
        with pytest.raises(TypeError, match=f"{name} must be True or False, not "):
            FLAGS[name](wrong)


def test_checks_return_python_values() -> None:
    for value in (
        check_integer("n", np.int8(3)),
        check_number("x", np.float32(0.5)),
        check_number("x", Tensor(0.5)),
        check_flag("f", np.True_),
        *check_like("betas", [np.float64(0.5), 1], (0.9, 0.99)),
    ):
        assert type(value) in (int, float, bool)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10**5000, "a huge int"),
        ("a" * 100, "'" + "a" * 59 + "..."),
        (np.float32(0.5), "0.5"),
        ((3, 4), "(3, 4)"),
        ([Tensor([1.0])], "list of length 1"),
        (np.zeros((2, 3)), "ndarray of shape (2, 3)"),
        (Tensor([1.0]), "Tensor of shape (1,)"),
        (Linear, "the class Linear"),
        (Linear(1, 1), "Linear"),
        (None, "None"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_in_messages(value: Any, text: str) -> None:
    assert shown(value) == text
