"""Property-based tests: indexing, in-place writes, broadcasting and reductions equal NumPy's."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinytorch import Tensor, no_grad

PROPERTY = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,  # the same cases on every machine
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "strict"])
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def numbers(shape: tuple[int, ...]) -> np.ndarray:
    """Distinct numbers, away from zero."""
    return np.arange(1.0, np.prod(shape, dtype=int) + 1).reshape(shape)


def axis_keys(size: int) -> st.SearchStrategy[Any]:
    """Keys for one axis of length `size`."""
    keys: list[st.SearchStrategy[Any]] = [
        st.slices(size),
        st.lists(st.booleans(), min_size=size, max_size=size).map(lambda m: np.array(m, bool)),
    ]
    if size:
        position = st.integers(-size, size - 1)
        keys += [
            position,
            st.lists(position, min_size=3, max_size=3).map(np.array),
            st.lists(position, min_size=3, max_size=3),
            st.lists(position, min_size=2, max_size=2).map(lambda p: np.array(p)[:, None]),
            st.just(np.zeros(0, int)),
        ]
    return st.one_of(keys)


@st.composite
def shape_and_key(draw: Any) -> tuple[tuple[int, ...], Any]:
    """A shape and a key of any kind that NumPy accepts for it."""
    shape = draw(shapes)
    kind = draw(st.sampled_from(["basic", "arrays", "mask", "mixed"]))
    if kind == "basic":
        key = draw(hnp.basic_indices(shape, allow_newaxis=True))
    elif kind == "arrays" and shape and 0 not in shape:
        key = draw(hnp.integer_array_indices(shape))
    elif kind == "mask":
        key = draw(hnp.arrays(bool, shape))
    else:
        parts = [draw(axis_keys(n)) for n in shape[: draw(st.integers(0, len(shape)))]]
        for extra in draw(st.lists(st.just(None), max_size=2)):
            parts.insert(draw(st.integers(0, len(parts))), extra)
        if draw(st.booleans()):
            parts.insert(draw(st.integers(0, len(parts))), ...)
            shape = shape[: sum(p is not None and p is not ... for p in parts)]
        key = tuple(parts)
    try:
        np.empty(shape)[key]
    except IndexError:  # arrays that do not broadcast, too many axes
        assume(False)
    assume(not is_combined(key))
    return shape, key


def is_combined(key: Any) -> bool:
    """Whether NumPy combines an integer with arrays across a slice, where PyTorch selects first."""
    if not isinstance(key, tuple):
        return False
    used = [i for i, k in enumerate(key) if isinstance(k, int | np.integer | np.ndarray | list)]
    integers = any(isinstance(key[i], int | np.integer) for i in used)
    return integers and used[-1] - used[0] >= len(used)


def with_tensors(key: Any, backend: str) -> Any:
    """The key with its arrays replaced by tensors."""
    if isinstance(key, tuple):
        return tuple(with_tensors(k, backend) for k in key)
    return Tensor(key, backend=backend) if isinstance(key, np.ndarray) else key


@BACKENDS
@PROPERTY
@given(case=shape_and_key())
def test_getitem_and_its_gradient_equal_numpy(case: Any, backend: str) -> None:
    shape, key = case
    array = numbers(shape)
    x = Tensor(array, True, backend=backend)
    y = x[with_tensors(key, backend)]
    np.testing.assert_array_equal(y.numpy(), array[key])
    np.testing.assert_array_equal(x.detach()[key].numpy(), array[key])  # NumPy arrays as keys
    weights = np.cos(numbers(y.shape))
    y.backward(Tensor(weights, backend=backend))
    expected = np.zeros(shape)
    np.add.at(expected, key, weights)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12)


@BACKENDS
@PROPERTY
@given(case=shape_and_key(), scalar=st.booleans())
def test_setitem_equals_numpy(case: Any, scalar: bool, backend: str) -> None:
    shape, key = case
    array = numbers(shape)
    x = Tensor(array, True, backend=backend)
    values: Any = 2.5 if scalar else -numbers(array[key].shape)
    with no_grad():
        x[with_tensors(key, backend)] = values
    array[key] = values
    np.testing.assert_array_equal(x.numpy(), array)


BINARY = {
    "add": (lambda x, y: x + y, lambda x, y: (np.ones_like(x), np.ones_like(y))),
    "subtract": (lambda x, y: x - y, lambda x, y: (np.ones_like(x), -np.ones_like(y))),
    "multiply": (lambda x, y: x * y, lambda x, y: (y, x)),
    "divide": (lambda x, y: x / y, lambda x, y: (1 / y, -x / y**2)),
}


def summed_to(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`gradient` summed over the broadcast axes, one at a time."""
    while gradient.ndim > len(shape):
        gradient = gradient.sum(axis=0)
    for axis, size in enumerate(shape):
        if size == 1:
            gradient = gradient.sum(axis=axis, keepdims=True)
    return gradient


@BACKENDS
@PROPERTY
@given(
    both=hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3, max_dims=4),
    name=st.sampled_from(sorted(BINARY)),
)
def test_broadcasting_and_its_gradients_equal_numpy(both: Any, name: str, backend: str) -> None:
    operator, slopes = BINARY[name]
    a, b = (numbers(shape) for shape in both.input_shapes)
    x, y = Tensor(a, True, backend=backend), Tensor(b, True, backend=backend)
    z = operator(x, y)
    assert z.shape == both.result_shape
    np.testing.assert_allclose(z.numpy(), operator(a, b), rtol=1e-12)
    g = np.cos(numbers(z.shape))
    z.backward(Tensor(g, backend=backend))
    for t, slope in zip((x, y), slopes(a, b), strict=True):
        expected = summed_to(g * slope, t.shape)
        np.testing.assert_allclose(t.grad.numpy(), expected, rtol=1e-9, atol=1e-12)


@st.composite
def shape_and_axes(draw: Any) -> tuple[tuple[int, ...], Any]:
    """A shape and one axis, several axes, or None."""
    shape = draw(shapes)
    if not shape:
        return shape, draw(st.sampled_from([None, ()]))
    one = st.integers(-len(shape), len(shape) - 1)
    several = st.sets(st.integers(0, len(shape) - 1)).flatmap(
        lambda axes: st.permutations([a - draw(st.sampled_from([0, len(shape)])) for a in axes])
    )
    return shape, draw(st.one_of(st.none(), one, several.map(tuple)))


REDUCTIONS = {
    "sum": lambda a, **k: a.sum(**k),
    "mean": lambda a, **k: a.mean(**k),
    "max": lambda a, **k: a.max(**k),
    "min": lambda a, **k: a.min(**k),
    "var": lambda a, **k: a.var(ddof=0, **k),
    "logsumexp": lambda a, **k: np.log(np.exp(a).sum(**k)),
    "any": lambda a, **k: (a > 3).any(**k),
    "all": lambda a, **k: (a > 3).all(**k),
}


@BACKENDS
@PROPERTY
@given(case=shape_and_axes(), keepdims=st.booleans(), name=st.sampled_from(sorted(REDUCTIONS)))
def test_reductions_equal_numpy(case: Any, keepdims: bool, name: str, backend: str) -> None:
    shape, axis = case
    assume(0 not in shape or name in ("sum", "any", "all"))
    array = numbers(shape) / 10
    x = Tensor(array, backend=backend)
    x = x > 3 if name in ("any", "all") else x
    more = {"correction": 0} if name == "var" else {}
    ours = getattr(x, name)(axis=axis, keepdims=keepdims, **more)
    expected = REDUCTIONS[name](array, axis=axis, keepdims=keepdims)
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-9, atol=1e-12)


@BACKENDS
@PROPERTY
@given(shape=shapes, keepdims=st.booleans(), name=st.sampled_from(["argmax", "argmin"]))
def test_argmax_and_argmin_equal_numpy(shape: Any, keepdims: bool, name: str, backend: str) -> None:
    assume(0 not in shape)
    array = np.cos(3 * numbers(shape)).round(1)  # with ties
    for axis in (None, *range(-len(shape), len(shape))):
        ours = getattr(Tensor(array, backend=backend), name)(axis=axis, keepdims=keepdims)
        expected = getattr(array, name)(axis=axis, keepdims=keepdims)
        np.testing.assert_array_equal(ours.numpy(), expected)
