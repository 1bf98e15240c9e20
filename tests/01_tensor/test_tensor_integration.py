"""Lesson 01: its ops together, through Tensor's operators and methods, on every backend."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinytorch.arguments import ShapeError
from tinytorch.functions.creation import arange
from tinytorch.functions.joining import concat, stack
from tinytorch.functions.repeating import broadcast_shapes
from tinytorch.ops import elementwise, linalg, movement, reductions
from tinytorch.tensor import Tensor

TEXT = "the quick brown fox jumps over the lazy dog and the dog sleeps"
RNG = np.random.default_rng(1)
A, B = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((3, 1))


def tensor(values: Any, backend: str) -> Tensor:
    return Tensor(values, backend=backend)


@pytest.mark.parametrize(
    "work",
    [
        lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b,
        lambda a, b: -a, lambda a, b: 2 - a, lambda a, b: 2 / a, lambda a, b: 3 + a,
        lambda a, b: 3 * a - 1,
        lambda a, b: [1.0, 2.0, 3.0, 4.0] - a, lambda a, b: a * [[1.0], [2.0], [3.0]],
    ],
)  # fmt: skip
def test_operators_are_those_of_numpy(backend: str, work: Callable[[Any, Any], Any]) -> None:
    got = work(tensor(A, backend), tensor(B, backend))
    np.testing.assert_allclose(got.numpy(), work(A, B), rtol=1e-12)
    assert got.backend.name == backend


def test_functions_of_each_element(backend: str) -> None:
    positive = np.abs(A) + 0.1
    x = tensor(positive, backend)
    np.testing.assert_allclose(x.exp().numpy(), np.exp(positive), rtol=1e-12)
    np.testing.assert_allclose(x.log().numpy(), np.log(positive), rtol=1e-12)
    np.testing.assert_allclose(x.sqrt().numpy(), np.sqrt(positive), rtol=1e-12)
    np.testing.assert_array_equal(x.clip(0.5, 1.0).numpy(), np.clip(positive, 0.5, 1.0))
    np.testing.assert_array_equal(x.clip(max=0.5).numpy(), np.minimum(positive, 0.5))
    for low, high in ((0.0, math.nan), (math.nan, None)):
        assert np.isnan(tensor([1.0], backend).clip(low, high).numpy()).all()


def test_standardised_columns_have_mean_0_and_variance_1(backend: str) -> None:
    """Counts of letters in words: (words, letters)."""
    words = TEXT.split()
    counts = np.array([[w.count(c) for c in "aeou"] for w in words], np.float64)
    x = tensor(counts, backend)
    scaled = (x - x.mean(axis=0)) / x.var(axis=0).sqrt()
    np.testing.assert_allclose(scaled.mean(axis=0).numpy(), np.zeros(4), atol=1e-12)
    np.testing.assert_allclose(scaled.var(axis=0).numpy(), np.ones(4), rtol=1e-12)
    correlation = scaled.permute(1, 0) @ scaled / (len(words) - 1)
    np.testing.assert_allclose(correlation.numpy(), np.corrcoef(counts.T), atol=1e-12)


def test_the_worked_example(backend: str) -> None:
    """The table at the beginning of the lesson, row by row."""
    marks = tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]], backend)
    average = marks.mean(axis=0)
    assert average.tolist() == [2.5, 3.5, 6.0]
    centred = marks - average
    assert centred.tolist() == [[-1.5, -1.5, -3.0], [1.5, 1.5, 3.0]]
    assert (centred @ tensor([1.0, 0.0, 2.0], backend)).tolist() == [-7.5, 7.5]


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (1, -1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_mean_and_variance(backend: str, axis: Any, keepdims: bool) -> None:
    x = tensor(A, backend)
    how = {"axis": axis, "keepdims": keepdims}
    np.testing.assert_allclose(x.mean(**how).numpy(), A.mean(**how), rtol=1e-12)
    np.testing.assert_allclose(reductions.var(x, correction=0, **how).numpy(), A.var(**how))
    np.testing.assert_allclose(reductions.var(x, **how).numpy(), A.var(ddof=1, **how))


def test_reductions_of_integers_and_of_nothing(backend: str) -> None:
    assert tensor([1, 2, 4], backend).mean().item() == pytest.approx(7 / 3)
    assert np.isnan(tensor(np.zeros((0, 2)), backend).mean(axis=0).numpy()).all()
    assert np.isnan(tensor([3.0], backend).var().item())


@pytest.mark.parametrize(
    ("left", "right"),
    [((2, 3, 4), (4, 5)), ((4,), (4,)), ((3, 4), (4,)), ((4,), (2, 4, 3)), ((2, 0, 4), (4, 3)),
     ((5, 2, 3, 4), (4, 5)), ((5, 1, 3, 4), (2, 4, 2)), ((3, 4), (2, 4, 5)), ((2, 3, 4), (4,))],
)  # fmt: skip
def test_matrix_products(backend: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = RNG.standard_normal(left), RNG.standard_normal(right)
    got = tensor(a, backend) @ tensor(b, backend)
    np.testing.assert_allclose(got.numpy(), a @ b, rtol=1e-10)
    assert got.shape == (a @ b).shape


def test_a_matrix_product_is_the_sum_of_a_broadcast_product(backend: str) -> None:
    a, b = tensor(A[0], backend), tensor(A[1].T, backend)
    by_hand = (a.reshape(3, 4, 1) * b.reshape(1, 4, 3)).mean(axis=1) * 4
    np.testing.assert_allclose((a @ b).numpy(), by_hand.numpy(), rtol=1e-12)


def test_movement_there_and_back(backend: str) -> None:
    x = tensor(A, backend)
    heads = x.reshape(2, 3, 2, 2).permute(0, 2, 1, 3)  # (B, T, nh, hs) -> (B, nh, T, hs)
    np.testing.assert_array_equal(heads.numpy(), A.reshape(2, 3, 2, 2).transpose(0, 2, 1, 3))
    np.testing.assert_array_equal(heads.permute(0, 2, 1, 3).reshape(2, 3, 4).numpy(), A)
    pieces = movement.split(x, sizes=(1, 0, 3), axis=-1)
    assert [p.shape for p in pieces] == [(2, 3, 1), (2, 3, 0), (2, 3, 3)]
    np.testing.assert_array_equal(concat(list(pieces), axis=-1).numpy(), A)
    np.testing.assert_array_equal(stack([x, x + 1], axis=2).numpy(), np.stack([A, A + 1], axis=2))


def test_shapes_that_do_not_fit_are_errors(backend: str) -> None:
    x = tensor(A, backend)
    for wrong in (
        lambda: x.reshape(5, 5), lambda: x.reshape(-1, 7),
        lambda: movement.reshape(x, shape=(-2, 12)),
        lambda: movement.permute(x, axes=(0, 0, 1)), lambda: x + tensor([1.0, 2.0], backend),
        lambda: movement.concat(x, tensor(B, backend)),
        lambda: movement.stack(x, tensor(B, backend)),
        lambda: movement.split(x, sizes=(2, 3), axis=2),
        lambda: movement.split(x, sizes=(5, -1), axis=2),
        lambda: broadcast_shapes((2, 3), (2,)),
    ):  # fmt: skip
        with pytest.raises(ShapeError):
            wrong()


def test_common_shapes_are_those_of_numpy() -> None:
    for _ in range(200):
        whole = RNG.integers(0, 4, RNG.integers(0, 4))
        shapes = []
        for _ in range(RNG.integers(1, 4)):
            own = whole[RNG.integers(0, len(whole) + 1) :]
            shapes.append(tuple(int(n) for n in np.where(RNG.random(len(own)) < 0.4, 1, own)))
        assert broadcast_shapes(*shapes) == np.broadcast_shapes(*shapes)


def test_numbers_in_rows(backend: str) -> None:
    assert arange(2, 11, 3, backend=backend).tolist() == [2, 5, 8]
    assert arange(3, 0, -1, backend=backend).tolist() == [3, 2, 1]
    assert arange(0, 100, 0.1, dtype="float64", backend=backend).numpy()[777] == 777 * 0.1
    assert arange(1, 2, 0.5, backend=backend).tolist() == [1.0, 1.5]
    assert str(arange(1, 2, 0.5, backend=backend).dtype).endswith("float32")


@pytest.mark.parametrize(
    "key",
    [
        1, -1, (0, 2), slice(None, None, 2), (..., 1), (slice(None), None, slice(1, 3)), [1, 0, 1],
        ([0, 1], [2, 0]), (slice(None), [1, 1]), (1, slice(1, None), [3, 0]),
        np.array([True, False]), A > 0, A > 9,
    ],
)  # fmt: skip
def test_keys_select_what_they_select_in_numpy(backend: str, key: Any) -> None:
    got = tensor(A, backend)[key]
    first = A[1][1:, [3, 0]] if isinstance(key, tuple) and len(key) == 3 and key[0] == 1 else A[key]
    np.testing.assert_array_equal(got.numpy(), first)
    assert got.shape == np.shape(first)


def test_slices_are_views_and_arrays_select_copies() -> None:
    x = tensor(np.zeros((3, 4)), "numpy")
    x[1][...] = 1
    x[:, 2:].reshape(6)  # a copy: its rows are not next to each other
    x[[0, 2]][...] = 5
    assert x.tolist() == [[0.0] * 4, [1.0] * 4, [0.0] * 4]


def test_keys_that_do_not_fit_are_errors_with_the_shape(backend: str) -> None:
    for wrong in (2, (0, 3), (0, 0, 0, 0)):
        with pytest.raises(IndexError, match=r"\(2, 3, 4\)"):
            movement.getitem(tensor(A, backend), key=wrong)


@pytest.mark.parametrize(
    ("values", "before", "after", "wanted"),
    [
        ([2.7, -2.7], "float64", "int32", [2, -2]),
        ([300, -129], "int64", "int8", [44, 127]),
        ([0.0, 0.5], "float32", "bool", [False, True]),
        ([2**24 + 1], "int64", "float32", [2.0**24]),
        ([0.1], "float64", "float32", [13421773 / 2**27]),
    ],
)
def test_casting(backend: str, values: Any, before: str, after: str, wanted: Any) -> None:
    x = Tensor(values, dtype=before, backend=backend)
    assert x.to(after).tolist() == elementwise.cast(x, dtype=after).tolist() == wanted
    assert str(x.to(after).dtype).endswith(after)


@pytest.mark.parametrize(
    ("left", "right", "wanted"),
    [
        ("int8", "int64", "int64"), ("int64", "float32", "float32"), ("uint8", "int8", "int16"),
        ("float32", "float64", "float64"), ("bool", "int8", "int8"), ("int16", "int32", "int32"),
        ("int32", 2, "int32"), ("int32", 0.5, "float32"), ("float64", 2, "float64"),
    ],
)  # fmt: skip
def test_dtypes_of_mixed_operands(backend: str, left: str, right: Any, wanted: str) -> None:
    x = Tensor([1], dtype=left, backend=backend)
    y = Tensor([2], dtype=right, backend=backend) if isinstance(right, str) else right
    assert str((x + y).dtype).endswith(wanted)
    assert str((x * y).dtype).endswith(wanted)


def test_what_dtypes_cannot_hold(backend: str) -> None:
    """The surprises of the lesson."""
    assert 0.1 + 0.2 != 0.3
    assert (Tensor([2.0**24], dtype="float32", backend=backend) + 1).item() == 2**24
    ten = Tensor([10], dtype="int8", backend=backend)
    assert (Tensor([120], dtype="int8", backend=backend) + ten).item() == -126
    assert (Tensor([89.0], backend=backend).exp()).item() == math.inf
    assert 1.6e38 < Tensor([88.0], backend=backend).exp().item() < 1.7e38


def test_ops_do_not_write_into_their_inputs(backend: str) -> None:
    a, b = np.abs(A) + 0.5, np.abs(A) + 1.0
    x, y = tensor(a, backend), tensor(b, backend)
    for work in (
        elementwise.add, elementwise.subtract, elementwise.multiply, elementwise.divide,
    ):  # fmt: skip
        work(x, y)
    for single in (
        elementwise.negative, elementwise.exp, elementwise.log, elementwise.sqrt, reductions.var,
        reductions.mean,
    ):  # fmt: skip
        single(x)
    elementwise.clip(x, min=1.0, max=1.5)
    linalg.matmul(x, tensor(A[0].T, backend))
    np.testing.assert_array_equal(x.numpy(), a)
    np.testing.assert_array_equal(y.numpy(), b)
