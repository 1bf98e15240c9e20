"""In-place writes that would make a gradient wrong raise; gradients own their memory."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from tinytorch import Parameter, Tensor, clip_grad_norm, concat, no_grad, stack, zeros
from tinytorch.backends import Trace
from tinytorch.ops.op import op

# Every way to write, for everything that a gradient needs

WRITES: dict[str, Callable[[Tensor], Any]] = {
    "setitem": lambda t: t.__setitem__(0, 9.0),
    "slice": lambda t: t.__setitem__(slice(1, None), [9.0]),
    "data": lambda t: setattr(t, "data", [9.0, 9.0]),
    "copy_": lambda t: t.copy_(Tensor([9.0, 9.0], backend=t.backend)),
    "fill_": lambda t: t.fill_(9),
    "zero_": lambda t: t.zero_(),
    "detach": lambda t: t.detach().zero_(),
    "the same array": lambda t: t.clip().zero_(),  # without bounds it returns its input
    "view": lambda t: t[:1].zero_(),
    "view of view": lambda t: t.reshape(2, 1).T[0].detach().fill_(0),
    "set_array": lambda t: t._set_array(t._array * 1),
}
# From leaves x and y: the result and a tensor that its gradient needs.
SAVED: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "left factor": lambda x, y: (x * y, x),
    "right factor": lambda x, y: (x / y, y),
    "input": lambda x, y: (x.log(), x),
    "input without gradient": lambda x, y: (lambda c: (x * c, c))(y.detach()),
    "output": lambda x, y: (lambda z: (z * 1, z))(x.exp()),
    "output of several": lambda x, y: (lambda z: (z + 1, z))((x + y).sqrt()),
    "base of a view": lambda x, y: (x[:1] * y, x),
    "base of a transpose": lambda x, y: (x.reshape(2, 1).T @ y, x),
    "computed": lambda x, y: (lambda z: (z * y, z))(x + 1),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("saved", SAVED.values(), ids=SAVED)
def test_writing_to_a_tensor_that_a_gradient_needs_raises(
    saved: Any, write: Any, backend: str
) -> None:
    x, y = (Tensor(v, True, backend=backend) for v in ([1.0, 2.0], [3.0, 4.0]))
    if write is WRITES["the same array"] and not x.backend.mutable:
        pytest.skip("a result is a view only of a movement op")
    result, needed = saved(x, y)
    with no_grad():
        write(needed)
    with pytest.raises(RuntimeError, match="modified in place"):
        result.sum().backward()


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_writing_to_a_tensor_that_no_gradient_needs_is_allowed(write: Any, backend: str) -> None:
    x, y = (Tensor(v, True, backend=backend) for v in ([1.0, 2.0], [3.0, 4.0]))
    z = x + y
    loss = (z - y).sum() + x[1:].sum() + x.mean()
    product = x * y
    product.sum().backward()
    with no_grad():
        for t in (x, y, z, product):
            write(t)
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3 + 1 + 0.5, 4 + 1 + 1 + 0.5])
    np.testing.assert_array_equal(y.grad.numpy(), [1, 2])


def test_an_index_may_change_before_backward(backend: str) -> None:
    x = Tensor([1.0, 2.0, 3.0], True, backend=backend)
    index = Tensor([0, 0], backend=backend)
    loss = x[index].sum()
    index.fill_(2)
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2, 0, 0])


def test_an_update_between_forward_and_backward_raises() -> None:
    w, x = Parameter([[1.0, 2.0]]), Tensor([[1.0], [2.0]], True)
    loss = (w @ x).sum()
    with no_grad():
        w -= 0.1
    with pytest.raises(RuntimeError, match="matmul"):
        loss.backward()
    w = Parameter([[1.0, 2.0]])
    loss = (w @ x).sum()
    w.data = w - 0.1
    with pytest.raises(RuntimeError, match="matmul"):
        loss.backward()
    loss = (w @ x).sum()
    w.data.mul_(2)  # PyTorch does not notice this, and computes a wrong gradient
    with pytest.raises(RuntimeError, match="matmul"):
        loss.backward()


def test_in_place_writes_to_leaves_that_require_a_gradient_raise() -> None:
    x = Tensor([1.0, 2.0], True)
    for write in (lambda: x.fill_(0), lambda: x.copy_(x * 2), lambda: x.__setitem__(0, 1.0)):
        with pytest.raises(RuntimeError, match=r"no_grad\(\)"):
            write()
    assert x.tolist() == [1, 2]


def test_index_assignment_has_a_gradient(backend: str) -> None:
    x = Tensor([1.0, 2.0], True, backend=backend)
    y = zeros(3, 2, backend=backend)
    y[0] = x * 3  # y becomes a tensor in the graph
    y[1:, 0] = x[1]
    square = y * y  # saves y
    y[0, 1] = 5.0
    y[2].detach()
    (square.sum() + y.sum()).backward()
    assert y.tolist() == [[3, 5], [2, 0], [2, 0]]
    # square: 9 x0^2 + 9 x1^2 + 2 x1^2; y: 3 x0 + 2 x1
    assert x.grad is not None
    assert x.grad.tolist() == [18 * 1 + 3, 22 * 2 + 2]


@pytest.mark.parametrize(
    "add",
    [
        lambda y, x: y.__setitem__(0, y[0] + x),
        lambda y, x: y[0].add_(x),
        lambda y, x: y[:1][0].add_(x),
        lambda y, x: exec("y[0] += x"),
        lambda y, x: exec("y[[0]] += x"),
        lambda y, x: exec("y[0][:] += x"),
        lambda y, x: exec("v = y[0]; v += x"),
    ],
)
def test_an_update_of_a_view_with_a_gradient_updates_the_tensor(add: Any, backend: str) -> None:
    x = Tensor([1.0, 2.0], True, backend=backend)
    y = zeros(2, 2, backend=backend) + x  # [[1, 2], [1, 2]]
    add(y, x)
    assert y.tolist() == [[2, 4], [1, 2]]
    (y * y).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2 * 2 * 2 + 2, 2 * 4 * 2 + 4]


def test_a_view_of_a_leaf_that_requires_a_gradient_cannot_be_updated() -> None:
    x = Tensor([1.0, 2.0], True)
    with pytest.raises(RuntimeError, match="leaf"):
        x[0] += 1
    with no_grad():
        x[0] += 1
    assert x.tolist() == [2, 2]


def test_index_assignment_with_a_gradient_to_a_tensor_with_views_raises() -> None:
    x, y = Tensor([1.0, 2.0], True), Tensor([0.0, 0.0])
    view = y[:1]
    with pytest.raises(RuntimeError, match="view"):
        y[0] = x[0]
    y[0] = x.detach()[1]
    assert (view.tolist(), y.tolist()) == ([2], [2, 0])


def test_the_array_of_a_tensor_is_read_only() -> None:
    x = Tensor([1.0, 2.0], True)
    x.sum().backward()
    for array in (x.numpy(), x.grad.numpy(), (x * 2).numpy()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


# Ownership of gradients

SHARING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "stack": lambda x, y: stack([x, y]),
    "concat": lambda x, y: concat([x, y]),
    "mean": lambda x, y: x.mean() + y.mean(),
    "expand": lambda x, y: x.expand(3, 2) + y,
    "reshape": lambda x, y: x.reshape(2, 1).T + y,
    "split": lambda x, y: x.split(1)[0] + y,
}


@pytest.mark.parametrize("graph", SHARING.values(), ids=SHARING)
def test_gradients_own_writable_memory(graph: Any, backend: str) -> None:
    x, y = (Tensor([1.0, 2.0], True, backend=backend) for _ in range(2))
    z = graph(x, y)
    start = Tensor(np.ones(z.shape, "float32"), backend=backend)
    z.backward(start)
    before = y.grad.numpy().copy()
    x.grad.fill_(100)
    np.testing.assert_array_equal(y.grad.numpy(), before)
    np.testing.assert_array_equal(start.numpy(), np.ones(z.shape))
    graph(x, y).backward(start)  # accumulates in place
    np.testing.assert_array_equal(y.grad.numpy(), 2 * before)
    np.testing.assert_array_equal(start.numpy(), np.ones(z.shape))


# Gradient functions of an op's author that return what they do not own.
RETURNED: dict[str, Callable[[Any, Any], Any]] = {
    "the gradient itself, twice": lambda xp, g: (g, g),
    "one new array, twice": lambda xp, g: (lambda new: (new, new))(g * 1),
    "two views of one array": lambda xp, g: (lambda new: (new, xp.reshape(new, (1, 1))))(g * 1),
    "a view of another shape": lambda xp, g: (xp.broadcast_to(xp.sum(g), g.shape), g),
}


@pytest.mark.parametrize("gradient", RETURNED.values(), ids=RETURNED)
def test_gradients_that_an_op_does_not_own_are_copied(gradient: Any, backend: str) -> None:
    @op
    def plus(xp: Any, x: Any, y: Any) -> Any:
        return x + y, ()

    @plus.gradient
    def plus_gradient(xp: Any, g: Any) -> Any:
        return gradient(xp, g)

    x, y = (Tensor([[2.0]], True, backend=backend) for _ in range(2))
    for _ in range(2):
        plus(x, y).mean().backward()
    x.grad.zero_()
    np.testing.assert_array_equal((x.grad.numpy(), y.grad.numpy()), ([[0]], [[2]]))


@pytest.mark.parametrize("context", [nullcontext, Trace], ids=["alone", "traced"])
def test_a_gradient_that_an_op_keeps_is_copied(context: Any, backend: str) -> None:
    kept = Tensor([[1.0]], backend=backend)

    @op
    def same(xp: Any, x: Any) -> Any:
        return x * 1, ()

    @same.gradient
    def same_gradient(xp: Any, g: Any) -> Any:
        return kept._array

    x = Tensor([[2.0]], True, backend=backend)
    for count in (1, 2, 3):
        with context():
            same(x).sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), [[count]])
    np.testing.assert_array_equal(kept.numpy(), [[1]])


MEANS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean of one element": lambda x: x.mean(),
    "over an axis of size 1": lambda x: x.mean(axis=1).sum(),
    "twice": lambda x: x.mean() + x.mean(axis=(0, 1)),
    "sum": lambda x: x.sum(axis=1).sum(),
    "expand": lambda x: x.expand(1, 1, 1).sum(),
}


@pytest.mark.parametrize("graph", MEANS.values(), ids=MEANS)
def test_gradients_of_broadcast_views_are_writable(graph: Any, backend: str) -> None:
    x = Tensor([[2.0]], True, backend=backend)
    graph(x).backward()
    first = x.grad.numpy().copy()
    clip_grad_norm([x], 0.5)
    x.grad.zero_()
    for _ in range(3):
        graph(x).backward()
    np.testing.assert_array_equal(x.grad.numpy(), 3 * first)


def test_gradients_of_scalars_are_writable_and_accumulate(backend: str) -> None:
    x = Tensor(3.0, True, backend=backend)
    (x * x).backward()
    view = x.grad.detach()
    (x * x).backward()
    np.testing.assert_array_equal(view.numpy(), 12)
    x.grad.zero_()
    np.testing.assert_array_equal(x.grad.numpy(), 0)
    x.backward(start := Tensor(2.0, backend=backend))
    np.testing.assert_array_equal((x.grad.numpy(), start.numpy()), (2, 2))


def test_gradients_can_be_assigned_and_cleared() -> None:
    x = Tensor([1.0, 2.0], True)
    x.grad = Tensor([1.0, 1.0])
    x.sum().backward()
    assert x.grad.tolist() == [2, 2]
    x.zero_grad()
    assert x.grad is None
    with pytest.raises(ValueError, match="shape"):
        x.grad = Tensor([1.0])


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32")])
def test_a_gradient_has_the_dtype_of_its_tensor(dtypes: Any, backend: str) -> None:
    x, y = (Tensor([1.0, 2.0], True, dtype=d, backend=backend) for d in dtypes)
    (x * y + y.to("float32") - x.to("float64")).mean().backward()
    assert (x.grad.dtype, y.grad.dtype) == (x.dtype, y.dtype)
