"""Lesson 06: gradients are correct on any graph; if one would be wrong, an error is raised."""

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from helpers import require

from tinytorch import Parameter, Tensor, concat, enable_grad, gelu, is_grad_enabled, no_grad
from tinytorch.attention import fused_attention
from tinytorch.ops.op import OPS, Op, op

GRAPHS: dict[str, Callable[..., Any]] = {
    "chain": lambda x, y, cat: ((x * 2).exp() * x.sin()).sum() + y.sum() * 0,
    "branch": lambda x, y, cat: (x * y).sum() * (x / y).mean() + (x - y).exp().sum(),
    "diamond": lambda x, y, cat: ((x * y) * (x * y + x) * (x + y)).sum(),
    "shared gradient": lambda x, y, cat: (lambda a, b: ((a * 3 + (a + b)) * y).sum())(x * 2, y * 2),
    "repeated input": lambda x, y, cat: (x * x + y @ y + x @ y).sum(),
    "views": lambda x, y, cat: (x[1:] * x[:-1] + y.reshape(2, 2)[1, 1]).sum() * y[0],
    "concat": lambda x, y, cat: cat([x * y, y, x]).exp()[2:9].sum(),
    "leaves only": lambda x, y, cat: x.sum() + y.sum(),
    "mean of means": lambda x, y, cat: x.mean() + (x + y).mean() + y.mean(),
}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
@pytest.mark.parametrize("passes", [1, 2])
def test_gradients_equal_pytorch(graph: Any, passes: int, backend: str) -> None:
    torch = require("torch")
    a, b = np.linspace(0.2, 1.0, 4), np.linspace(1.5, 0.7, 4)
    x, y = (Tensor(v, True, backend=backend) for v in (a, b))
    p, q = (torch.tensor(v, requires_grad=True) for v in (a, b))
    for _ in range(passes):  # the second pass accumulates
        loss, reference = graph(x, y, concat), graph(p, q, torch.cat)
        loss.backward()
        reference.backward()
    np.testing.assert_allclose(loss.numpy(), reference.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(x.grad.numpy(), p.grad.numpy(), rtol=1e-12)
    np.testing.assert_allclose(y.grad.numpy(), q.grad.numpy(), rtol=1e-12)


def test_a_second_backward_needs_retain_graph() -> None:
    x = Tensor([1.0, 2.0], True)
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert x.grad.tolist() == [4, 8]
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        loss.backward()


def test_backward_needs_a_gradient_unless_the_tensor_has_one_element() -> None:
    x = Tensor([1.0, 2.0], True)
    x.backward(Tensor([3.0, 4.0]))
    (x * 2).backward(Tensor([1.0, 1.0]))
    x[0].backward()
    assert x.grad.tolist() == [6, 6]
    with pytest.raises(RuntimeError, match=r"shape \(2,\) needs its gradient"):
        (x * 2).backward()
    for wrong, error in [(Tensor([1.0]), ValueError), (1.0, TypeError)]:
        with pytest.raises(error, match="gradient"):
            (x * 2).backward(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="strict"):
        (x * 2).backward(Tensor([1.0, 1.0], backend="strict"))
    with pytest.raises(RuntimeError, match="requires_grad=True"):
        Tensor(1.0).backward()


def test_grad_modes_nest_and_are_restored_after_an_exception() -> None:
    modes = [is_grad_enabled()]
    with no_grad():
        modes.append(is_grad_enabled())
        with enable_grad():
            modes.append(is_grad_enabled())
            with pytest.raises(KeyError), no_grad():
                raise KeyError
            modes.append(is_grad_enabled())
        modes.append(is_grad_enabled())
    assert [*modes, is_grad_enabled()] == [True, False, True, True, False, True]


def test_grad_modes_work_as_decorators() -> None:
    @no_grad()
    def depth(n: int) -> list[bool]:
        return [is_grad_enabled(), *(depth(n - 1) if n else [])]

    @enable_grad()
    def recorded(x: Tensor) -> Tensor:
        return x * 2

    assert depth(3) == [False] * 4
    x = Tensor(1.0, True)
    with no_grad():
        assert recorded(x).requires_grad
        assert not (x * 2).requires_grad
        assert (x * 2).is_leaf
    assert is_grad_enabled()


def test_decorators_need_no_parentheses() -> None:
    class Both:
        @no_grad
        def off(self, x: Tensor) -> Tensor:
            """Doc."""
            return x * 2

        @no_grad
        @enable_grad
        def on(self, x: Tensor) -> Tensor:
            return x * 2

    x = Tensor(1.0, True)
    assert not Both().off(x).requires_grad
    assert Both().on(x).requires_grad
    assert Both.off.__doc__ == "Doc."


def test_grad_modes_do_not_decorate_generators_and_coroutines() -> None:
    def numbers() -> Any:
        yield 1

    async def number() -> int:
        return 1

    for function in (numbers, number):
        for decorate in (no_grad, no_grad(), enable_grad()):
            with pytest.raises(TypeError, match=f"grad cannot decorate {function.__name__}"):
                decorate(function)


def test_grad_modes_are_thread_local_even_in_a_shared_decorator() -> None:
    @no_grad()
    def step(entered: threading.Event, leave: threading.Event) -> bool:
        entered.set()
        assert leave.wait(5)
        return is_grad_enabled()

    inside, left, modes = threading.Event(), threading.Event(), []

    def other() -> None:
        modes.append(is_grad_enabled())
        modes.append(step(inside, both_inside))  # enters first and leaves first
        modes.append(is_grad_enabled())
        left.set()

    both_inside = threading.Event()
    thread = threading.Thread(target=other)
    with no_grad():
        thread.start()
        assert inside.wait(5)
        within = step(both_inside, left)
        after = is_grad_enabled()
        thread.join(5)
    assert modes == [True, False, True]
    assert (within, after, is_grad_enabled()) == (False, False, True)


def test_detach_shares_memory() -> None:
    x = Tensor([1.0, 2.0], True)
    y = (x * 2).detach()
    assert (y.requires_grad, y.is_leaf) == (False, True)
    z = x.detach()
    z[0] = 5
    assert x.tolist() == [5, 2]


# Memory


def test_backward_through_a_deep_graph_does_not_recurse() -> None:
    x = Tensor(1.0, True)
    for use in (Tensor.backward, lambda y: None):  # the second graph is freed without backward
        y = x
        for _ in range(50_000):
            y = y + 0.0
        use(y)
        del y
    assert x.grad.item() == 1


def test_backward_visits_each_node_once_for_any_number_of_paths() -> None:
    visits = []

    @op
    def average(xp: Any, x: Any, y: Any) -> Any:
        return (x + y) * 0.5, ()

    @average.gradient
    def average_gradient(xp: Any, g: Any) -> Any:
        visits.append(g)
        return g * 0.5, g * 0.5

    y = x = Tensor(1.0, True)
    for _ in range(40):
        y = average(y, y)
    y.backward()
    assert len(visits) == 40
    assert x.grad.item() == 1  # the sum over 2**40 paths of weight 2**-40


@pytest.fixture
def without_gc() -> Iterator[None]:
    """Disable the cycle collector, so that a reference cycle is a leak."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_gc")
@pytest.mark.parametrize("run_backward", [True, False])
def test_a_graph_is_freed_by_reference_counting(run_backward: bool) -> None:
    x = Parameter(np.ones((4, 4), "float32"))
    y = (x @ x).exp()
    loss = (y * x).sum() + y.mean()
    refs = [weakref.ref(y), weakref.ref(y._array), weakref.ref(loss)]
    del y
    if run_backward:
        assert refs[1]() is not None
        loss.backward()
        assert refs[1]() is None, "backward frees what was saved"
    del loss
    assert [ref() for ref in refs] == [None] * 3


@pytest.mark.usefixtures("without_gc")
def test_no_grad_keeps_no_intermediate_results() -> None:
    x = Parameter(np.ones(4, "float32"))
    with no_grad():
        y = x.exp()
        ref, z = weakref.ref(y._array), y * 2
        del y
    assert ref() is None
    assert z.is_leaf


# Ops declared outside of the package


def declare(gradient: Any) -> Op:
    """The op x + y with the given gradient function."""

    def plus(xp: Any, x: Any, y: Any) -> Any:
        return x + y, ()

    op = Op(plus)
    op.gradient(gradient)
    return op


def test_a_gradient_with_too_few_values_raises() -> None:
    op = declare(lambda xp, g: g)
    with pytest.raises(RuntimeError, match="gradient of plus returned 1 values for 2 inputs"):
        op(Tensor(1.0, True), Tensor(1.0, True)).backward()


def test_a_second_op_of_the_same_name_raises() -> None:
    def gelu(xp: Any, x: Any) -> Any:
        return x, ()

    gelu.__module__ = "tinytorch.mine"
    with pytest.raises(ValueError, match="an op named 'gelu' already exists"):
        Op(gelu)


def test_an_op_outside_of_the_package_is_not_replaced_by_a_kernel() -> None:
    def gelu(xp: Any, x: Any) -> Any:  # the name of a kernel
        return x + 1, ()

    for _ in range(2):  # as if a notebook cell were run again
        assert Op(gelu)(Tensor([1.0])).tolist() == [2.0]
    assert OPS["gelu"](Tensor([1.0])).item() == pytest.approx(0.8412, abs=1e-4)


def test_a_gradient_may_return_the_same_array_for_two_inputs() -> None:
    def gradient(xp: Any, g: Any) -> Any:
        shared = g * 1
        return shared, shared

    op, x, y = declare(gradient), Tensor([1.0, 2.0], True), Tensor([1.0, 2.0], True)
    # x.grad accumulates after the gradient was computed and before y receives it.
    op(x, op(x, y * 3)).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([2, 2], [3, 3])


def test_an_op_without_a_tensor_argument_raises() -> None:
    with pytest.raises(TypeError, match="plus takes tensors, not float"):
        declare(None)(1.0, 2.0)
    assert not declare(None)(Tensor(1.0, True), 2.0).requires_grad  # an op without a gradient


def test_only_needed_gradients_are_computed() -> None:
    def never() -> Any:
        raise AssertionError("computed a gradient that nobody needs")

    x = Tensor(1.0, True)
    declare(lambda xp, g: (g, never))(x, Tensor(1.0)).backward()
    assert x.grad.item() == 1


def test_ops_are_pickled_by_reference() -> None:
    for function in (gelu, fused_attention):
        assert pickle.loads(pickle.dumps(function)) is function
        assert copy.deepcopy(function) is function


def test_broadcast_gradients_in_float16_are_summed_in_float32() -> None:
    bias = Tensor(np.zeros(2, np.float16), True)
    (Tensor(np.ones((5000, 2), np.float16)) + bias).sum().backward()
    assert bias.grad is not None
    assert bias.grad.tolist() == [5000, 5000]  # a sum in float16 would end at 2048
