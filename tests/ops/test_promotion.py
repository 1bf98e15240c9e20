"""Type promotion equals PyTorch's on every backend: dtypes and values, for all pairs of dtypes."""

import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import OURS, require

import tinytorch as tt
from tinytorch import Tensor

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
INTEGERS = DTYPES[:6]
BINARY: dict[str, Callable[..., Any]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "**": lambda x, y: x**y,
    "==": lambda x, y: x == y,
    "!=": lambda x, y: x != y,
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
    "&": lambda x, y: x & y,
    "|": lambda x, y: x | y,
}
# (function of tinytorch, function of torch) of two tensors
FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "maximum": (tt.maximum, lambda torch, x, y: torch.maximum(x, y)),
    "minimum": (tt.minimum, lambda torch, x, y: torch.minimum(x, y)),
    "where": (
        lambda x, y: tt.where(x == x, x, y),
        lambda torch, x, y: torch.where(x == x, x, y),
    ),
    "concat": (
        lambda x, y: tt.concat([x.reshape(-1), y.reshape(-1)]),
        lambda torch, x, y: torch.cat([x.reshape(-1), y.reshape(-1)]),
    ),
    "stack": (
        lambda x, y: tt.stack([x.reshape(-1)[:1], y.reshape(-1)[:1]]),
        lambda torch, x, y: torch.stack([x.reshape(-1)[:1], y.reshape(-1)[:1]]),
    ),
    # PyTorch multiplies matrices of one dtype only.
    "matmul": (
        lambda x, y: x.reshape(1, -1) @ y.reshape(-1, 1)[:1].expand(x.size, 1),
        lambda torch, x, y: _common_matmul(torch, x, y),
    ),
}
# Where PyTorch raises an error and this package computes: True counts as 1.
MORE_PERMISSIVE = {
    "-": "a boolean operand",
    "**": "two booleans",
    "matmul": "booleans and float16",
}
SHAPES = [((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())]


def _common_matmul(torch: Any, x: Any, y: Any) -> Any:
    dtype = torch.promote_types(x.dtype, y.dtype)
    left, right = x.reshape(1, -1).to(dtype), y.reshape(-1, 1)[:1].expand(x.numel(), 1).to(dtype)
    return left @ right


def name_of(dtype: Any) -> str:
    return str(dtype).rsplit(".", 1)[-1]


def result_of(function: Callable[..., Any], *operands: Any) -> Any:
    """The result, or the exception."""
    try:
        return function(*operands)
    except (TypeError, RuntimeError, ValueError) as error:
        return error


def assert_alike(ours: Any, theirs: Any, what: Any, permissive: bool = False) -> None:
    if isinstance(theirs, Exception):
        assert permissive or isinstance(ours, Exception), (what, ours, theirs)
        return
    assert not isinstance(ours, Exception), (what, ours, theirs)
    assert name_of(ours.dtype) == name_of(theirs.dtype), what
    np.testing.assert_allclose(
        ours.numpy().astype(float), theirs.numpy().astype(float), rtol=2e-3, err_msg=str(what)
    )


def available(backend: str, names: list[str]) -> list[str]:
    return [name for name in names if name != "float16" or backend != "strict"]


@pytest.mark.parametrize("operation", [*BINARY, *FUNCTIONS])
def test_two_tensors(operation: str, backend: str) -> None:
    torch = require("torch")
    if operation in BINARY:
        ours = theirs = BINARY[operation]
    else:
        ours, reference = FUNCTIONS[operation]

        def theirs(x: Any, y: Any) -> Any:
            return reference(torch, x, y)

    shapes = SHAPES if operation != "matmul" else SHAPES[:1]  # its vectors have one rank
    names = available(backend, DTYPES)
    for left, right, (a_shape, b_shape) in itertools.product(names, names, shapes):
        a = np.array([1, 3] if a_shape else 3).astype(left)
        b = np.array([2, 1] if b_shape else 2).astype(right)
        expected = result_of(theirs, torch.tensor(a), torch.tensor(b))
        result = result_of(ours, Tensor(a, backend=backend), Tensor(b, backend=backend))
        assert_alike(result, expected, (operation, a, b), operation in MORE_PERMISSIVE)


@pytest.mark.parametrize("operation", BINARY)
def test_a_tensor_and_a_python_or_numpy_number(operation: str, backend: str) -> None:
    torch, function = require("torch"), BINARY[operation]
    for name, number in itertools.product(available(backend, DTYPES), [True, 2, 1.5]):
        for values in ([1, 3], 3):
            a = np.array(values).astype(name)
            tensor, theirs = Tensor(a, backend=backend), torch.tensor(a)
            for scalar in (number, np.asarray(number)[()]):
                for flipped in (False, True):
                    operands, reference = (tensor, scalar), (theirs, number)
                    if flipped:
                        operands, reference = operands[::-1], reference[::-1]
                    assert_alike(
                        result_of(function, *operands),
                        result_of(function, *reference),
                        (operation, name, scalar, flipped),
                        operation in MORE_PERMISSIVE,
                    )


@pytest.mark.parametrize("operation", [*BINARY, "maximum", "minimum", "matmul"])
def test_a_tensor_and_a_numpy_array_or_a_list(operation: str, backend: str) -> None:
    """An array counts as the tensor of its values, on either side."""
    function = BINARY[operation] if operation in BINARY else FUNCTIONS[operation][0]
    if operation == "matmul":
        function = operator.matmul
    names = available(backend, DTYPES)
    for left, right in itertools.product(names, names):
        a, b = np.array([1, 3]).astype(left), np.array([2, 1]).astype(right)
        x, y = Tensor(a, backend=backend), Tensor(b, backend=backend)
        expected = result_of(function, x, y)
        for operands in ((x, b), (a, y)):
            result = result_of(function, *operands)
            assert isinstance(result, Exception) == isinstance(expected, Exception)
            if not isinstance(expected, Exception):
                assert isinstance(result, Tensor)
                assert_alike(result, expected, (operation, operands))
    x = Tensor(np.float32([1, 3]), backend=backend)
    for values in ([2, 1], [0.5, 1.5], [True, False]):
        expected = result_of(function, x, Tensor(values, backend=backend))
        if not isinstance(expected, Exception):
            assert_alike(function(x, values), expected, (operation, values))


@pytest.mark.parametrize("number", [True, 2, 1.5])
def test_functions_of_a_tensor_and_a_number(number: Any, backend: str) -> None:
    torch = require("torch")
    for name in available(backend, DTYPES):
        a = np.array([1, 3]).astype(name)
        x, t, mask = Tensor(a, backend=backend), torch.tensor(a), np.array([True, False])
        condition, theirs = Tensor(mask, backend=backend), torch.tensor(mask)
        cases = [
            (tt.where(condition, x, number), torch.where(theirs, t, number)),
            (tt.where(condition, number, x), torch.where(theirs, number, t)),
            (x.masked_fill(condition, number), t.masked_fill(theirs, number)),
        ]
        if name != "bool" and number is not True:
            cases.append((x.clip(number), t.clip(number)))
        for ours, expected in cases:
            assert_alike(ours, expected, (name, number))


@pytest.mark.parametrize("name", INTEGERS)
def test_small_integers_and_booleans_are_summed_in_int64(name: str, backend: str) -> None:
    torch = require("torch")
    a = np.full((3, 300), np.iinfo(name).max if name not in ("bool", "int64") else 1).astype(name)
    x, t = Tensor(a, backend=backend), torch.tensor(a)
    for ours, theirs in [
        (x.sum(), t.sum()),
        (x.sum(axis=1, keepdims=True), t.sum(1, True)),
        (x.sum(axis=(0, 1)), t.sum((0, 1))),
        (x.cumsum(1), t.cumsum(1)),
        (x.mean(axis=0), t.double().mean(0).float()),
        (x.max(axis=0), t.amax(0)),
        (x.min(), t.min()),
        (x.argmax(axis=1), t.int().argmax(1)),
        (x.any(axis=0), t.bool().any(0)),
        (x.all(), t.bool().all()),
        (x.clone(), t.clone()),
    ]:
        assert_alike(ours, theirs, name)


FLOATING: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "exp": (lambda x: x.exp(), lambda torch, x: x.exp()),
    "log": (lambda x: x.log(), lambda torch, x: x.log()),
    "sqrt": (lambda x: x.sqrt(), lambda torch, x: x.sqrt()),
    "sin": (lambda x: x.sin(), lambda torch, x: x.sin()),
    "cos": (lambda x: x.cos(), lambda torch, x: x.cos()),
    "mean": (lambda x: x.mean(), lambda torch, x: x.mean()),
    "var": (lambda x: x.var(), lambda torch, x: x.var()),
    "std": (lambda x: x.std(), lambda torch, x: x.std()),
    "logsumexp": (lambda x: x.logsumexp(0), lambda torch, x: x.logsumexp(0)),
    "sigmoid": (tt.Sigmoid(), lambda torch, x: x.sigmoid()),
    "tanh": (tt.Tanh(), lambda torch, x: x.tanh()),
    "softplus": (tt.softplus, lambda torch, x: torch.nn.functional.softplus(x)),
    "squared_relu": (tt.SquaredReLU(), lambda torch, x: x.relu() ** 2),
    "gelu": (tt.gelu, lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh")),
    "softmax": (tt.softmax, lambda torch, x: x.softmax(-1)),
    "log_softmax": (tt.log_softmax, lambda torch, x: x.log_softmax(-1)),
}


@pytest.mark.parametrize("function", FLOATING)
def test_functions_that_need_floats_compute_integers_in_float32(
    function: str, backend: str
) -> None:
    """PyTorch refuses integers in some of them, and is given float32 then."""
    torch = require("torch")
    ours, theirs = FLOATING[function]
    for name in available(backend, DTYPES):
        if name == "float16":
            continue  # kernels for float16 are tested with the edges
        a = np.array([0, 1, 3]).astype(name)
        t = torch.tensor(a) if name == "float64" else torch.tensor(a).float()
        assert_alike(ours(Tensor(a, backend=backend)), theirs(torch, t), (function, name))


@pytest.mark.parametrize("name", [*INTEGERS, "float64"])
def test_layers_and_losses_take_every_dtype(name: str, backend: str) -> None:
    """Integers become float32; float64 with float32 weights is float64 (PyTorch: an error)."""
    expected = "float64" if name == "float64" else "float32"
    for rows in (2, 400):  # kernels have other code for many rows
        a = (np.arange(rows * 16).reshape(rows, 16) % 2).astype(name)
        x = Tensor(a, backend=backend)
        target = Tensor(a == 1, backend=backend)
        for result in (
            tt.Linear(16, 3, backend=backend)(x),
            tt.LayerNorm(16, backend=backend)(x),
            tt.MSELoss()(x, target.to("int64")),
            tt.BinaryCrossEntropyLoss()(x, target),
            tt.CrossEntropyLoss()(x, Tensor([1] * rows, backend=backend)),
        ):
            assert name_of(result.dtype) == expected


@pytest.mark.parametrize("rows", [2, 200])
def test_layer_norm_in_float64_of_float32_is_float64_for_every_size(
    rows: int, backend: str
) -> None:
    x = Tensor(np.ones((rows, 64), np.float32), True, backend=backend)
    y = tt.LayerNorm(64, backend=backend).to("float64")(x)
    y.sum().backward()
    assert name_of(y.dtype) == "float64"
    assert x.grad is not None
    assert name_of(x.grad.dtype) == "float32"


def test_numpy_numbers_as_settings_keep_float32(backend: str) -> None:
    x = Tensor(np.ones((2, 4), np.float32), backend=backend)
    third, one = np.float64(0.3), np.int64(1)
    for result in (
        tt.Dropout(third)(x),
        tt.LayerNorm(4, eps=np.float64(1e-3), backend=backend)(x),
        x.clip(-third, third),
        x.var(correction=third),
        x.mean(axis=one),
        tt.softmax(x, axis=one),
        x.masked_fill(x > third, third),
        tt.maximum(x, third),
    ):
        assert name_of(result.dtype) == "float32"


def test_an_op_never_sees_mixed_dtypes() -> None:
    """Arrays are cast before a kernel or a reference receives them; gradients are cast back."""
    from tinytorch.ops.op import op

    seen = []

    @op(promote="float", keep=("ids",))
    def spy(xp: Any, x: Any, y: Any, ids: Any) -> Any:
        seen.append((x.dtype.name, y.dtype.name, ids.dtype.name))
        return x * y, (x, y)

    @spy.gradient
    def spy_gradient(xp: Any, g: Any, x: Any, y: Any) -> Any:
        return g * y, g * x, None

    x = Tensor(np.ones(2, np.float32), True)
    y = Tensor(np.ones(2, np.float64), True)
    ids = Tensor([1, 2])
    spy(x, y, ids).sum().backward()
    spy(x, ids, ids).sum().backward()
    spy(x, x, ids)
    assert seen == [
        ("float64", "float64", "int64"),
        ("float32", "float32", "int64"),
        ("float32", "float32", "int64"),
    ]
    assert x.grad is not None
    assert y.grad is not None
    assert (name_of(x.grad.dtype), name_of(y.grad.dtype)) == ("float32", "float64")


@pytest.mark.parametrize("function", [lambda m: m - m, lambda m: -m], ids=["subtract", "negative"])
def test_booleans_are_not_subtracted(function: Any, backend: str) -> None:
    error = TypeError if backend in OURS else (TypeError, RuntimeError)  # the latter of PyTorch
    with pytest.raises(error):
        function(Tensor([True, False], backend=backend))


def test_the_accuracy_idioms(backend: str) -> None:
    scores = Tensor([[1.0, 2.0], [3.0, 1.0], [0.0, 1.0]], backend=backend)
    hits = scores.argmax(1) == Tensor([1, 0, 0], backend=backend)
    assert hits.sum().item() == 2
    assert hits.to("float32").mean().item() == pytest.approx(2 / 3)
    assert (hits * 2).tolist() == [2, 2, 0]
    assert (1 - hits).tolist() == [0, 0, 1]
    assert (hits + hits).tolist() == [True, True, False]
    assert (hits * scores[:, 0]).tolist() == [1, 3, 0]


def test_integers_without_a_common_dtype_raise() -> None:
    with pytest.raises(TypeError, match="uint64 and int64 have no common integer dtype"):
        Tensor(np.ones(2, np.uint64)) + Tensor([1, 2])


def test_a_condition_must_be_boolean(backend: str) -> None:
    x = Tensor([1, 0], backend=backend)
    for call in (lambda: tt.where(x, x, x), lambda: x.masked_fill(x, 2)):
        with pytest.raises(TypeError, match="where needs a boolean condition"):
            call()


@pytest.mark.parametrize("tokens", [4, 100])
def test_an_additive_mask_in_float64_does_not_widen_attention(tokens: int, backend: str) -> None:
    hidden = np.where(np.tri(tokens) > 0, 0.0, -np.inf)
    x = Tensor(np.ones((1, 2, tokens, 8), np.float32), True, backend=backend)
    y, weights = tt.scaled_dot_product_attention(x, x, x, Tensor(hidden, backend=backend))
    assert {name_of(y.dtype), name_of(weights.dtype)} == {"float32"}
