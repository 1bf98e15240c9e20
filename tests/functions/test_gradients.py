"""autograd.grad, hooks, retain_grad, Function, gradcheck and the modes, as in PyTorch."""

from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch
from tinytorch import Tensor, autograd, enable_grad, is_grad_enabled, no_grad, tensor


def leaf(*values: float, **options: Any) -> Tensor:
    return tensor([*values], requires_grad=True, **options)


def test_grad_returns_gradients_and_leaves_grad_alone(backend: str) -> None:
    x, w = leaf(1.0, 2.0, backend=backend), leaf(3.0, 4.0, backend=backend)
    hidden = x * w
    loss = (hidden * hidden).sum()
    by_x, by_hidden, by_loss = autograd.grad(loss, [x, hidden, loss], retain_graph=True)
    assert by_x.tolist() == [18.0, 64.0]
    assert by_hidden.tolist() == [6.0, 16.0]
    assert by_loss.item() == 1
    assert x.grad is w.grad is hidden.grad is None
    (first,) = autograd.grad(loss, w)
    assert first.tolist() == [6.0, 32.0]
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_grad_of_several_outputs_is_their_sum(backend: str) -> None:
    x = leaf(1.0, 2.0, backend=backend)
    (g,) = autograd.grad([x * 2, (x**2).sum()], x, [tensor([1.0, 10.0], backend=backend), None])
    assert g.tolist() == [4.0, 24.0]
    (g,) = autograd.grad(x, x, tensor([5.0, 6.0], backend=backend))
    assert g.tolist() == [5.0, 6.0]
    (g,) = autograd.grad(x + x * 3, x, tensor([1.0, 2.0], backend=backend))
    assert g.tolist() == [4.0, 8.0]


GRAD_ERRORS: dict[str, Any] = {
    "unused": (lambda x: autograd.grad(x.sum(), leaf(1.0)), RuntimeError, "allow_unused"),
    "no gradient": (lambda x: autograd.grad(x.sum(), tensor([1.0])), RuntimeError, "input 0"),
    "output": (lambda x: autograd.grad(tensor([1.0]), x), RuntimeError, "output 0"),
    "vector": (lambda x: autograd.grad(x * 2, x), RuntimeError, "needs its gradient"),
    "shape": (lambda x: autograd.grad(x * 2, x, tensor([1.0])), RuntimeError, "has shape"),
    "twice": (
        lambda x: autograd.grad((x * x).sum(), x, create_graph=True), NotImplementedError, "of grad"
    ),
    "hook": (lambda x: tensor([1.0]).register_hook(print), RuntimeError, "register_hook"),
    "retain": (lambda x: tensor([1.0]).retain_grad(), RuntimeError, "retain_grad"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "match"), GRAD_ERRORS.values(), ids=GRAD_ERRORS)
def test_wrong_arguments_raise(call: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        call(leaf(1.0, 2.0))


def test_an_unused_input_gives_none_or_zeros() -> None:
    x, other = leaf(1.0), leaf(1.0, 2.0)
    assert autograd.grad(x.sum(), [x, other], allow_unused=True)[1] is None
    _, zeros = autograd.grad(x.sum(), [x, other], materialize_grads=True)
    assert zeros.tolist() == [0, 0]


def test_backward_of_several_tensors_adds_the_gradients_of_their_sum() -> None:
    x = leaf(1.0, 2.0)
    autograd.backward([x.sum(), x * x], [None, tensor([1.0, 10.0])])
    assert x.grad.tolist() == [3.0, 41.0]
    autograd.backward(x.sum())
    assert x.grad.tolist() == [4.0, 42.0]
    with pytest.raises(RuntimeError, match="needs its gradient"):
        autograd.backward(x * 2)


def test_retain_grad_stores_the_gradient_of_a_computed_tensor(backend: str) -> None:
    x = leaf(1.0, 2.0, backend=backend)
    y = x * 3
    loss = (y * y).sum()
    y.retain_grad()  # after its use
    y.retain_grad()
    assert y.retains_grad
    assert not x.retains_grad
    loss.backward(retain_graph=True)
    assert y.grad.tolist() == [6.0, 12.0]
    loss.backward()
    assert y.grad.tolist() == [12.0, 24.0]
    assert x.grad.tolist() == [36.0, 72.0]


def test_hooks_see_the_sum_of_a_tensor_and_replace_it(backend: str) -> None:
    seen = []
    x = leaf(1.0, 2.0, backend=backend)
    y = x * 2
    handle = y.register_hook(lambda g: seen.append(("y", g.tolist())))
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: seen.append(("x", g.tolist())))
    y.retain_grad()
    loss = (y + y * 2).sum() + x.sum()
    loss.backward(retain_graph=True)
    assert seen == [("y", [3.0, 3.0]), ("x", [61.0, 61.0])]
    assert y.grad.tolist() == [30.0, 30.0]
    assert x.grad.tolist() == [61.0, 61.0]
    handle.remove()
    handle.remove()
    loss.backward()
    assert len(seen) == 3
    assert x.grad.tolist() == [122.0, 122.0]


def test_hooks_agree_with_pytorch() -> None:
    torch = require("torch")
    results = []
    for lib in (torch, tinytorch):
        x = lib.tensor([1.0, -2.0, 3.0], requires_grad=True)
        h = x.exp()
        x.register_hook(lambda g: g.clip(-1, 1))
        h.register_hook(lambda g: g * 0.5)
        h.retain_grad()
        (h * h + x).sum().backward()
        results += [x.grad.tolist(), h.grad.tolist()]
    np.testing.assert_allclose(results[0], results[2], rtol=1e-6)
    np.testing.assert_allclose(results[1], results[3], rtol=1e-6)


def test_a_hook_that_returns_another_shape_raises() -> None:
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match="must return None or a gradient of shape"):
        x.sum().backward()


class Exp(autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, scale: float) -> Any:
        y = x.exp() * scale
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (y,) = ctx.saved_tensors
        return g * y, None


def test_a_function_with_a_gradient_of_its_own(backend: str) -> None:
    x = leaf(0.0, 1.0, backend=backend)
    y = Exp.apply(x * 1.0, 2.0)
    assert y.grad_fn.name == "Exp"
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp([0.0, 1.0]), rtol=1e-6)
    with no_grad():
        assert not Exp.apply(x, 2.0).requires_grad
    assert not Exp.apply(x.detach(), 2.0).requires_grad
    y = Exp.apply(x, 1.0)
    y.data.zero_()
    with pytest.raises(RuntimeError, match="modified in place"):
        y.sum().backward()


class Both(autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        return x + y, x - y

    @staticmethod
    def backward(ctx: Any, total: Any, difference: Any) -> Any:
        return total + difference, total - difference


def test_a_function_with_two_results() -> None:
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    total, _ = Both.apply(x, y)
    (total * tensor([1.0, 10.0])).sum().backward()
    assert x.grad.tolist() == y.grad.tolist() == [1.0, 10.0]


def test_gradcheck_finds_a_wrong_gradient() -> None:
    x, y = leaf(0.5, 1.5, dtype="float64"), leaf(2.0, dtype="float64")
    assert autograd.gradcheck(lambda x, y: (x * y, x.exp()), (x, y))

    class Wrong(Exp):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g, None

    with pytest.raises(RuntimeError, match="differ by up to"):
        autograd.gradcheck(lambda x: Wrong.apply(x, 1.0), x)
    assert not autograd.gradcheck(lambda x: Wrong.apply(x, 1.0), (x,), raise_exception=False)
    assert x.tolist() == [0.5, 1.5]
    with pytest.raises(ValueError, match="float64"):
        autograd.gradcheck(lambda x: x, leaf(1.0))


def test_modes() -> None:
    with tinytorch.set_grad_enabled(False):
        assert not is_grad_enabled()
        with enable_grad():
            assert is_grad_enabled()
        with tinytorch.inference_mode(False):
            assert is_grad_enabled()
    assert is_grad_enabled()
    tinytorch.set_grad_enabled(False)
    assert not is_grad_enabled()
    tinytorch.set_grad_enabled(True)
    assert is_grad_enabled()

    @tinytorch.set_grad_enabled(False)
    def enabled(depth: int = 1) -> list[bool]:
        return [is_grad_enabled(), *(enabled(depth - 1) if depth else [])]

    assert is_grad_enabled()
    assert enabled() == [False, False]
    assert is_grad_enabled()

    @tinytorch.inference_mode()
    def inferring() -> bool:
        return is_grad_enabled()

    @tinytorch.inference_mode
    def bare() -> bool:
        return is_grad_enabled()

    assert not inferring()
    assert not bare()
    with tinytorch.inference_mode():
        assert not is_grad_enabled()
    assert is_grad_enabled()
