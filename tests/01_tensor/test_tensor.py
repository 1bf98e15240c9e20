"""Lesson 01: construction and conversion of tensors."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch
from tinytorch import Parameter, Tensor, backends, enable_grad, from_dlpack, maximum, where
from tinytorch.backends import BackendError


def dtype_name(t: Tensor) -> str:
    return str(t.dtype).rsplit(".", 1)[-1]


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"),
        ([1, 2.5], "float32"),
        ([], "float32"),
        (3, "int64"),
        ([[1, 2], [3, 4]], "int64"),
        (True, "bool"),
        ([True, False], "bool"),
        (np.float64(1.5), "float64"),
        (np.zeros(2), "float64"),
        (np.zeros((2, 0), "float32"), "float32"),
        (np.arange(3, dtype="int16"), "int16"),
        (np.ones(2, "uint8"), "uint8"),
    ],
)
def test_dtype_is_inferred_from_the_data(data: Any, dtype: str, backend: str) -> None:
    t = Tensor(data, backend=backend)
    assert dtype_name(t) == dtype
    assert (t.shape, t.ndim, t.size) == (np.shape(data), np.ndim(data), np.size(data))
    np.testing.assert_array_equal(t.numpy(), data)
    assert t.backend.name == backend


@pytest.mark.parametrize(
    "data", [None, "text", ["a"], object(), [1, None], [[1, 2], [3]], {"a": 1}]
)
def test_data_other_than_regular_nested_numbers_raises(data: Any, backend: str) -> None:
    with pytest.raises(TypeError, match="expected numbers in regular nested lists"):
        Tensor(data, backend=backend)


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype("float64"), np.zeros(1).dtype])
def test_dtype_is_a_name_or_a_dtype_object(dtype: Any, backend: str) -> None:
    assert dtype_name(Tensor([1], dtype=dtype, backend=backend)) == "float64"


def test_an_unknown_dtype_raises() -> None:
    for wrong in ("float31", "zeros", object()):
        with pytest.raises(TypeError, match="unknown dtype"):
            Tensor([1.0], dtype=wrong)


def test_construction_copies_the_data(backend: str) -> None:
    source = np.zeros(3, "float32")
    first = Tensor(source, backend=backend)
    second, third = Tensor(first), Tensor(first._array)
    source += 1
    first[...] = 2
    for t, value in ((first, 2), (second, 0), (third, 0)):
        np.testing.assert_array_equal(t.numpy(), [value] * 3)
    assert first.backend.name == second.backend.name == backend
    # The type of an array determines its backend; NumPy arrays belong to the default backend.
    on_host = isinstance(first._array, np.ndarray)
    assert third.backend is (backends.default() if on_host else first.backend)


def test_only_floating_tensors_can_require_a_gradient() -> None:
    for data in ([1, 2], [True]):
        with pytest.raises(TypeError, match="only floating tensors"):
            Tensor(data, requires_grad=True)
    with pytest.raises(RuntimeError, match="detach"):
        (Tensor(1.0, True) * 2).requires_grad = False


def test_copy_and_pickle_keep_values_gradient_and_backend(backend: str) -> None:
    p = Parameter([1.0, 2.0], backend=backend)
    (p * p).sum().backward()
    with pytest.raises(RuntimeError, match="detach"):
        copy.copy(p * p)
    for other in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert type(other) is Parameter
        assert other.requires_grad
        assert other.backend is p.backend
        assert other.grad.tolist() == [2, 4]
        other.data = 0.0
        assert p.tolist() == [1, 2]


def test_conversion_to_python_values(backend: str) -> None:
    t = Tensor([[1.5, 2.0]], backend=backend)
    assert t.tolist() == [[1.5, 2.0]]
    assert len(t) == 1
    assert [row.tolist() for row in t] == [[1.5, 2.0]]
    one = Tensor([[2.5]], backend=backend)
    assert (one.item(), float(one), int(one), bool(one), f"{one:.2f}") == (
        2.5,
        2.5,
        2,
        True,
        "2.50",
    )
    assert [10, 20, 30][Tensor(1, backend=backend)] == 20
    assert f"{t}" == str(t) == repr(t)


def test_conversion_of_several_elements_to_a_scalar_raises() -> None:
    two = Tensor([1.0, 2.0])
    for read, error in [
        (two.item, ValueError),
        (lambda: float(two), ValueError),
        (lambda: bool(two), ValueError),
        (lambda: len(Tensor(1.0)), TypeError),
        (lambda: [0, 1][Tensor(1.0)], TypeError),
    ]:
        with pytest.raises(error):
            read()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Tensor([1.0, 2.5]), "Tensor([1. , 2.5])"),
        (lambda: Tensor([1, 2]), "Tensor([1, 2])"),
        (lambda: Tensor([1], dtype="int16"), "Tensor([1], dtype=int16)"),
        (lambda: Tensor([True]), "Tensor([ True], dtype=bool)"),
        (lambda: Tensor(np.zeros(1)), "Tensor([0.], dtype=float64)"),
        (lambda: Tensor([], backend="strict"), "Tensor([], shape=(0,), backend='strict')"),
        (lambda: Tensor([[1.0], [2.0]]), "Tensor([[1.],\n        [2.]])"),
        (lambda: Tensor(1.0, True), "Tensor(1., requires_grad=True)"),
        (lambda: Tensor(1.0, True).exp() * 0, "Tensor(0., op=multiply)"),
        (lambda: Parameter([1.0]), "Parameter([1.], requires_grad=True)"),
        (lambda: tinytorch.zeros(30, 40), "shape=(30, 40))"),
    ],
)
def test_repr(make: Any, text: str) -> None:
    with Tensor(0, backend="numpy").device:  # also where TT_BACKEND names another backend
        printed = repr(make())
    assert printed.endswith(text)
    assert len(printed) < 400


def test_numpy_returns_a_read_only_view_or_a_copy() -> None:
    t = Tensor([1.0, 2.0])
    for view in (t.numpy(), np.asarray(t), np.asarray(t, copy=False)):
        assert np.shares_memory(view, t._array)
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 9
    for own in (np.array(t), np.asarray(t, dtype="float64"), t.numpy().copy()):
        own[0] = 9
    assert t.tolist() == [1, 2]
    assert np.asarray(t, dtype="int32").dtype == np.int32
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(t, dtype="float64", copy=False)
    assert np.stack([t, t]).shape == (2, 2)


def test_numpy_returns_a_copy_from_a_device(strict: str) -> None:
    t = Tensor([1.0, 2.0], backend=strict)
    t.numpy()[0] = 9
    assert t.tolist() == [1, 2]


def test_dlpack_shares_memory() -> None:
    torch = require("torch")
    t = Tensor([1.0, 2.0])
    np.testing.assert_array_equal(np.from_dlpack(t), [1, 2])
    theirs = torch.from_dlpack(t)
    assert theirs.data_ptr() == t._array.ctypes.data
    for source in (theirs, np.array([1.0, 2.0], "float32"), t):
        shared = from_dlpack(source)
        assert isinstance(shared, Tensor)
        shared[0] = 5
        assert float(source[0]) == 5
        shared[0] = 1


def test_to_casts_and_moves() -> None:
    x = Tensor([1.5, 2.5], True, backend="numpy")
    assert x.to("float32") is x is x.to("numpy") is x.to()
    y = x.to("float64")
    (y * y).sum().backward()
    assert (dtype_name(y), dtype_name(x.grad), x.grad.tolist()) == ("float64", "float32", [3, 5])
    assert x.to(np.int32).tolist() == [1, 2]
    both = x.to(dtype="float64", backend="strict")
    assert (dtype_name(both), both.backend.name) == ("float64", "strict")
    moved = x.to("strict")
    x.zero_grad()
    (moved * moved).sum().backward()  # gradients flow back, as in PyTorch
    assert (x.grad.tolist(), x.grad.backend.name) == ([3, 5], x.backend.name)
    assert moved.to("numpy").tolist() == [1.5, 2.5]
    assert x.to(backends.get("strict")).backend.name == "strict"


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, y: x + y,
        lambda x, y: x @ y,
        lambda x, y: x == y,
        lambda x, y: x[y.to("int64")],
        lambda x, y: x.__setitem__(0, y),
        lambda x, y: where(x > 0, x, y),
        lambda x, y: tinytorch.stack([x, y]),
        lambda x, y: maximum(y, x),
    ],
)
def test_mixed_backends_raise_an_error_with_both_names_and_the_fix(mix: Any, strict: str) -> None:
    with pytest.raises(BackendError, match=r"'(numpy|strict)' and another on '.*\.to\(\"") as error:
        mix(Tensor([1.0], backend="numpy"), Tensor([0.0], backend=strict))
    assert "'numpy'" in str(error.value)
    assert "'strict'" in str(error.value)


def test_zeros_ones_and_fill(backend: str) -> None:
    t = tinytorch.ones(2, 3, dtype="float64", backend=backend, requires_grad=True)
    assert (t.shape, dtype_name(t), t.requires_grad) == ((2, 3), "float64", True)
    with tinytorch.no_grad():
        assert t.fill_(3).numpy().sum() == 18
        assert t.zero_().numpy().sum() == 0
        assert t.copy_([1.0, 2.0, 3.0]).numpy().sum() == 12
        with enable_grad(), pytest.raises(RuntimeError, match="no_grad"):
            t.fill_(1)
    t.data = 7  # assigning data works outside of no_grad()
    assert t.numpy().min() == 7


class Tagged(Parameter):
    """A subclass with attributes of its own."""

    tag: str


def test_copy_and_pickle_keep_attributes_of_a_subclass() -> None:
    p = Tagged([1.0])
    p.tag = "frozen"
    for other in (copy.deepcopy(p), copy.copy(p), pickle.loads(pickle.dumps(p))):
        assert other.tag == "frozen"


def test_numbers_and_lists_are_written_to_float64_without_rounding(backend: str) -> None:
    x = Tensor([2.0, 3.0], dtype="float64", backend=backend)
    filled = x.masked_fill(Tensor([True, False], backend=backend), 0.1)
    assert filled.tolist() == [0.1, 3.0]
    x[0] = [0.1]
    assert x.tolist() == [0.1, 3.0]
    x.data = [0.2, 0.3]
    assert x.tolist() == [0.2, 0.3]


@pytest.mark.parametrize("limits", [(np.nan, 1.0), (0.0, np.nan), (np.nan, None)])
def test_clip_with_a_limit_that_is_nan_gives_nan(limits: Any, backend: str) -> None:
    x = Tensor([-2.0, 0.5, 3.0], True, backend=backend)
    y = x.clip(*limits)
    assert np.isnan(y.numpy()).all()
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 0]


def test_numbers_that_are_too_large_for_a_float_become_infinite_without_a_warning(
    backend: str,
) -> None:
    large = Tensor(np.array([1e300, -1e300]), dtype="float32", backend=backend)
    assert large.tolist() == [np.inf, -np.inf]
    assert Tensor([1.5, -1.5], dtype="int64", backend=backend).tolist() == [1, -1]
    assert (Tensor([1.0, 2.0], backend=backend) >= Tensor(1e300, backend=backend)).tolist() == [
        False,
        False,
    ]


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_a_cast_to_integers_or_booleans_has_no_gradient(dtype: str, backend: str) -> None:
    x = Tensor([0.0, 1.5], True, backend=backend)
    whole = x.to(dtype)
    assert not whole.requires_grad
    (whole * x).sum().backward()  # not also through `whole`
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1]
