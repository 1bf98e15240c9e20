"""In-place operators write to memory, or raise; values and gradients are those of PyTorch."""

import operator
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from helpers import require

from tinytorch import Linear, Parameter, Tensor, no_grad, zeros

OPERATORS = {
    "+=": operator.iadd,
    "-=": operator.isub,
    "*=": operator.imul,
    "/=": operator.itruediv,
    "**=": operator.ipow,
}


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("operand", [3, 0.5, [4.0, 5.0], "tensor"], ids=str)
def test_the_operator_writes_to_the_tensor_and_its_views(
    symbol: str, operand: Any, backend: str
) -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], backend=backend)
    view, alias, detached = x[1], x, x.detach()
    if operand == "tensor":
        operand = Tensor([2.0, 3.0], backend=backend)
    expected = OPERATORS[symbol](x.numpy().copy(), np.asarray(operand, "float32"))
    result = OPERATORS[symbol](x, operand)
    assert result is x
    for tensor, values in ((alias, expected), (view, expected[1]), (detached, expected)):
        np.testing.assert_allclose(tensor.numpy(), values, rtol=1e-6)


def test_an_element_can_be_updated(backend: str) -> None:
    x = zeros(3, backend=backend)
    x[1] += 1
    x[[0, 2]] -= 2
    for i, element in enumerate(x):
        element *= i + 1
    assert x.tolist() == [-2, 2, -6]


def test_named_methods_write_in_place() -> None:
    x = Tensor([1.0, 2.0])
    assert x.add_(1).mul_(2).sub_(1).div_(2).pow_(2).clamp_(3, 5) is x
    assert x.tolist() == [3, 5]


def test_booleans_are_updated_in_place() -> None:
    x = Tensor([True, False])
    alias = x
    x |= Tensor([False, True])
    x &= Tensor([True, False])
    assert alias.tolist() == [True, False]


TRAINING: dict[str, Callable[[Any], Any]] = {
    "p -= lr * p.grad": lambda p: operator.isub(p, 0.1 * p.grad),
    "p.sub_": lambda p: p.sub_(p.grad * 0.1),
    "p[...] =": lambda p: p.__setitem__(..., p - 0.1 * p.grad),
    "p.copy_": lambda p: p.copy_(p - 0.1 * p.grad),
    "p.data =": lambda p: setattr(p, "data", p - 0.1 * p.grad),
    "p.data -=": lambda p: setattr(p, "data", operator.isub(p.data, 0.1 * p.grad.data)),
    "p.data.sub_": lambda p: p.data.sub_(0.1 * p.grad),
}


@pytest.mark.parametrize("update", TRAINING.values(), ids=TRAINING)
def test_training_by_hand_changes_the_parameters_as_in_pytorch(update: Any, backend: str) -> None:
    model = Linear(2, 1, backend=backend)
    before = {p: (p.numpy().copy(), p._array) for p in model.parameters()}
    model(Tensor([[1.0, 2.0]], backend=backend)).sum().backward()
    with no_grad():
        for p in model.parameters():
            update(p)
    for p, (values, array) in before.items():
        np.testing.assert_allclose(p.numpy(), values - 0.1 * p.grad.numpy(), rtol=1e-5)
        assert p.requires_grad
        assert p.is_leaf
        assert p._array is array or not p.backend.mutable
        p.grad.zero_()
        p.grad *= 0.5
        assert not p.grad.numpy().any()


def test_a_computed_tensor_takes_over_the_graph_of_the_result(backend: str) -> None:
    x, w = (Tensor(v, True, backend=backend) for v in ([1.0, 2.0], [3.0, 4.0]))
    h = x * w
    product = h * w  # needs the first h
    h += w
    h *= h
    (h.sum() + product.sum()).backward()
    a, b = x.numpy(), w.numpy()
    np.testing.assert_allclose(x.grad.numpy(), 2 * (a * b + b) * b + b * b)
    np.testing.assert_allclose(w.grad.numpy(), 2 * (a * b + b) * (a + 1) + 2 * a * b)


def test_a_sum_that_starts_as_a_constant_joins_the_graph(backend: str) -> None:
    x, total = Tensor([1.0, 2.0], True, backend=backend), zeros((), backend=backend)
    for _ in range(3):
        total += (x * x).sum()
    total.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [6, 12])


def test_a_reshaped_tensor_can_be_updated_once_its_base_is_gone(backend: str) -> None:
    x = Tensor([1.0, 2.0], True, backend=backend)
    h = (x * x).reshape(2, 1)
    h += 1
    h.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2, 4])


def leaf() -> Tensor:
    return Parameter([1.0, 2.0])


def computed_with(alias: Callable[[Tensor], Any]) -> Callable[[], None]:
    def update() -> None:
        h = leaf() * 2
        kept = alias(h)  # noqa: F841
        h += 1

    return update


def view_of(tensor: Tensor) -> Callable[[], Any]:
    return lambda: operator.iadd(tensor.reshape(1, -1), leaf()[:1])


def two_views_of(tensor: Tensor) -> Callable[[], Any]:
    return lambda: (tensor[:1], operator.iadd(tensor.reshape(1, -1), leaf()[:1]))


def ints() -> Tensor:
    return Tensor([1, 2])


IN_PLACE_ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "leaf": (lambda: operator.iadd(leaf(), 1), RuntimeError, "no_grad"),
    "leaf, method": (lambda: leaf().mul_(2), RuntimeError, "no_grad"),
    "view of a leaf": (view_of(leaf()), RuntimeError, "x = x"),
    "constant with two views": (two_views_of(zeros(2)), RuntimeError, "x = x"),
    "with a view": (computed_with(lambda h: h[0]), RuntimeError, "x = x"),
    "with a reshaped view": (computed_with(lambda h: h.reshape(1, 2)), RuntimeError, "x = x"),
    "with detach": (computed_with(lambda h: h.detach()), RuntimeError, "x = x"),
    "element of a computed": (
        lambda: operator.iadd((leaf() * 2)[0:1], zeros(2)),
        ValueError,
        "shape",
    ),
    "float into integers": (lambda: operator.iadd(ints(), 1.5), TypeError, "float32.*int64"),
    "division of integers": (lambda: operator.itruediv(ints(), 2), TypeError, "float32.*int64"),
    "integer into booleans": (lambda: operator.iadd(Tensor([True]), 1), TypeError, "bool"),
    "broadcast": (lambda: operator.iadd(zeros(2), zeros(3, 2)), ValueError, r"\(2,\) to \(3, 2\)"),
    "broadcast size": (lambda: operator.imul(zeros(1), [1.0, 2.0]), ValueError, "shape"),
    "expanded": (lambda: zeros(1).expand(3).add_(1), ValueError, "clone"),
    "None": (lambda: operator.iadd(zeros(1), None), TypeError, "None"),
    "array": (lambda: operator.isub(leaf().numpy().copy(), leaf()), TypeError, r"tensor.numpy\(\)"),
    "data of another shape": (lambda: setattr(zeros(3, 2), "data", zeros(2)), ValueError, "shape"),
}


@pytest.mark.parametrize(("write", "error", "match"), IN_PLACE_ERRORS.values(), ids=IN_PLACE_ERRORS)
def test_writes_that_would_be_wrong_are_errors(write: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        write()


def test_a_narrower_result_is_cast_to_the_dtype_of_the_tensor() -> None:
    for dtype, operand in (("float32", Tensor([1.0], dtype="float64")), ("int32", Tensor([1]))):
        x = Tensor([1], dtype=dtype)
        x += operand
        assert (str(x.dtype), x.tolist()) == (dtype, [2])
    x = Tensor([2.0], True)
    h = x * 1
    h *= Tensor([3.0], dtype="float64")
    h.backward()
    assert (h.dtype, x.grad.tolist()) == (x.dtype, [3])


DTYPES = ["bool", "uint8", "int8", "int32", "int64", "float32", "float64"]
SHAPES = [((2, 2), (2,)), ((2, 2), ()), ((), ()), ((2,), (2, 2)), ((0, 2), (2,))]


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("backend", ["numpy", "strict"])
def test_dtypes_shapes_and_errors_equal_pytorch(symbol: str, backend: str) -> None:
    torch, update = require("torch"), OPERATORS[symbol]
    for dtype, other, (shape, other_shape) in product(DTYPES, [*DTYPES, 2, 1.5, True], SHAPES):
        if (symbol == "-=" and (other is True or "bool" in (dtype, other))) or (
            symbol == "**=" and dtype == "bool"
        ):
            continue  # PyTorch does not subtract booleans or raise them to a power
        a, b = np.full(shape, 3).astype(dtype), other
        if isinstance(other, str):
            b = np.full(other_shape, 2).astype(other)
        x, t = Tensor(a, backend=backend), torch.tensor(a)
        y, u = (Tensor(b, backend=backend), torch.tensor(b)) if isinstance(other, str) else (b, b)
        try:
            update(t, u)
        except RuntimeError:
            with pytest.raises((TypeError, ValueError), match="an in-place operator cannot"):
                update(x, y)
            continue
        update(x, y)
        assert str(t.dtype)[6:] == str(x.numpy().dtype)
        np.testing.assert_allclose(x.numpy(), t.numpy(), rtol=1e-6)


# Random programs, run here and in PyTorch


class Program:
    """One random program of ops, views, aliases and in-place writes, for either library."""

    def __init__(self, seed: int, make: Callable[..., Any], off: Callable[[], Any]) -> None:
        self.rng = np.random.default_rng(seed)
        self.off = off
        draw = [self.rng.normal(size=(2, 2)) for _ in range(3)]
        self.leaves = [make(values) for values in draw]
        for tensor in self.leaves[:2]:
            tensor.requires_grad = True
        self.tensors = list(self.leaves)

    def step(self) -> None:
        rng, off = self.rng, self.off
        kind = int(rng.integers(9))
        x, y = (self.tensors[int(i)] for i in rng.integers(len(self.tensors), size=2))
        factor, column = float(rng.normal()), int(rng.integers(2))
        update = (operator.iadd, operator.isub, operator.imul)[int(rng.integers(3))]
        if kind == 0:
            self.tensors.append(x * y)
        elif kind == 1:
            self.tensors.append(x + y * factor)
        elif kind == 2:
            self.tensors.append((x.T, x.reshape(2, 2), x.detach())[int(rng.integers(3))])
        elif kind == 3:
            self.tensors.append(x.exp().sqrt() * 0.1)
        elif kind == 4:
            update(x, factor)
        elif kind == 5:
            update(x, y)
        elif kind == 6:
            with off():
                update(x, factor)
        elif kind == 7:
            with off():
                x[:, column] = y[column]
        else:
            with off():
                update(x[column], y[:, column].detach())

    def backward(self) -> None:
        for tensor in self.tensors[-3:]:
            if tensor.requires_grad:
                tensor.sum().backward(retain_graph=True)


def make_tensor(values: np.ndarray) -> Tensor:
    return Tensor(values)


def test_random_programs_equal_pytorch() -> None:
    torch = require("torch")
    completed = gradients = 0
    for seed in range(400):
        ours = Program(seed, make_tensor, no_grad)
        theirs = Program(seed, lambda values: torch.tensor(values), torch.no_grad)
        try:
            for _ in range(int(ours.rng.integers(3, 9))):
                ours.step()
            ours.backward()
            ours.backward()
        except RuntimeError:  # refused, never computed wrongly
            continue
        try:
            for _ in range(int(theirs.rng.integers(3, 9))):
                theirs.step()
            theirs.backward()
            theirs.backward()
        except RuntimeError:  # PyTorch also refuses where a saved value was replaced, not changed
            continue
        completed += 1
        for a, b in zip(ours.tensors, theirs.tensors, strict=True):
            assert a.requires_grad == b.requires_grad
            np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-12)
        for a, b in zip(ours.leaves[:2], theirs.leaves[:2], strict=True):
            assert (a.grad is None) == (b.grad is None)
            if b.grad is not None:
                gradients += 1
                np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-12)
    assert completed > 100
    assert gradients > 100


def test_a_view_whose_axes_have_changed_is_not_written_to_the_old_elements() -> None:
    w = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = zeros(4, 2)
    view = y[0:2]
    view.t_()
    with pytest.raises(RuntimeError, match="shares its memory"):
        view += w
    assert not y.any()


def test_a_view_that_requires_a_gradient_itself_cannot_be_updated() -> None:
    view = zeros(3, 2)[0].requires_grad_()
    with pytest.raises(RuntimeError, match="a leaf that requires a gradient"):
        view += 1


def test_assigned_data_of_another_floating_dtype_change_the_dtype() -> None:
    x = Tensor([1.5, 2.0], requires_grad=True)
    x.data = x.data.double()
    assert x.dtype == "float64"
    (x * x).sum().backward()
    assert x.grad.tolist() == [3.0, 4.0]
    assert x.grad.dtype == "float64"
    x.data = Tensor([1, 2])  # integers have no gradient, so they are cast
    assert x.dtype == "float64"
