"""Gradients of chosen tensors, hooks, checks with finite differences, and modes of autograd."""

import weakref
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import autograd
from ..arguments import ShapeError, shown
from ..autograd import Variable, _mode, enable_grad, is_grad_enabled, no_grad, wrap_array
from ..backends.base import Array
from ..ops.operators import same_backend
from ..ops.views import share

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["enable_grad", "inference_mode", "is_grad_enabled", "no_grad", "set_grad_enabled"]

NO_SECOND = (
    "create_graph=True needs gradients of gradients, which tinytorch does not compute; see"
    " docs/pytorch.md"
)


class set_grad_enabled(ContextDecorator):  # noqa: N801  PyTorch's name
    """Enable or disable gradients: from this call on, or within a ``with`` statement.

    >>> from tinytorch import set_grad_enabled, tensor
    >>> x = tensor([1.0], requires_grad=True)
    >>> with set_grad_enabled(False):
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __init__(self, mode: bool) -> None:
        self.mode, self._outer = bool(mode), _mode.grad_enabled
        _mode.grad_enabled = self.mode

    def _recreate_cm(self) -> "set_grad_enabled":  # for each call of a decorated function
        return set_grad_enabled(self.mode)

    def __call__(self, function: Any) -> Any:
        _mode.grad_enabled = self._outer
        return super().__call__(function)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        _mode.grad_enabled = self._outer


class inference_mode(no_grad):  # noqa: N801  PyTorch's name
    """The same as `no_grad`; ``inference_mode(False)`` is `enable_grad`, as in PyTorch."""

    if not TYPE_CHECKING:

        def __new__(cls, mode: Any = True) -> Any:
            if mode is False:
                return enable_grad()
            return super().__new__(cls, None if mode is True else mode)

    def __init__(self, mode: Any = True) -> None:
        pass


# Gradients of chosen tensors: torch.autograd


def grad(
    outputs: "Tensor | Sequence[Tensor]",
    inputs: "Tensor | Sequence[Tensor]",
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> "tuple[Tensor | None, ...]":
    """The gradients of the sum of `outputs` with respect to `inputs`; no `grad` changes.

    Args:
        outputs: one tensor or several.
        inputs: one tensor or several, leaves or computed ones.
        grad_outputs: the gradient of the loss with respect to each output, with its shape; None
            for 1, for an output with one element.
        retain_graph: keep the saved values, so that backward can be called again.
        create_graph: not supported.
        allow_unused: return None for an input that the outputs do not depend on.
        materialize_grads: return zeros for such an input.

    Raises:
        RuntimeError: an input does not require a gradient, or the outputs do not depend on it.

    >>> from tinytorch import autograd, tensor
    >>> x = tensor([1.0, 2.0], requires_grad=True)
    >>> autograd.grad((x * x).sum(), x)
    (Tensor([2., 4.]),)
    """
    if create_graph:
        raise NotImplementedError(NO_SECOND)
    wanted = [inputs] if isinstance(inputs, Variable) else list(inputs)
    for i, value in enumerate(wanted):
        if not isinstance(value, Variable) or not value._requires_grad:
            raise RuntimeError(f"grad: input {i} must be a tensor that requires a gradient")
    root, gradient = _one_root("grad", outputs, grad_outputs)
    arrays = autograd.run_backward(root, gradient, bool(retain_graph), wanted)
    results: list[Tensor | None] = []
    for i, (value, array) in enumerate(zip(wanted, arrays, strict=True)):
        if array is None and materialize_grads:
            array = value._backend.xp.zeros_like(value._array)
        if array is None and not allow_unused:
            raise RuntimeError(
                f"grad: the outputs do not depend on input {i}; pass allow_unused=True to get None"
            )
        results.append(None if array is None else _wrap_copy(value, array))
    return tuple(results)


def backward(
    tensors: "Tensor | Sequence[Tensor]",
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradients of the sum of `tensors` to `grad` of all leaves; see `Tensor.backward`."""
    if create_graph:
        raise NotImplementedError(NO_SECOND)
    root, gradient = _one_root("backward", tensors, grad_tensors)
    autograd.run_backward(root, gradient, bool(retain_graph))


def _one_root(name: str, outputs: Any, gradients: Any) -> "tuple[Tensor, Array]":
    """A tensor and its gradient, whose gradients are the sum of those of all outputs."""
    roots = [outputs] if isinstance(outputs, Variable) else list(outputs)
    given = [gradients] if isinstance(gradients, Variable) or gradients is None else [*gradients]
    given = given * len(roots) if gradients is None else given
    if len(given) != len(roots) or not roots:
        raise ValueError(f"{name}: {len(roots)} outputs, but {len(given)} gradients of them")
    total: Any = None
    root: Any
    gradient: Any
    for i, (root, gradient) in enumerate(zip(roots, given, strict=True)):
        if not isinstance(root, Variable) or not root._requires_grad:
            raise RuntimeError(f"{name}: output {i} must be a tensor that requires a gradient")
        if gradient is None:
            if root.size != 1:  # type: ignore[attr-defined]
                raise RuntimeError(
                    f"{name}: an output of shape {root._array.shape} needs its gradient as an"
                    " argument; it is 1 only for a tensor with one element"
                )
            gradient = 1.0
        elif gradient._array.shape != root._array.shape:
            raise ShapeError(
                f"{name}: the gradient has shape {gradient._array.shape}, its output"
                f" {root._array.shape}"
            )
        if len(roots) == 1:
            array = same_backend(root, gradient, root._array.dtype)._array  # type: ignore[arg-type]
            return root, root._backend.xp.broadcast_to(array, root._array.shape)  # type: ignore[return-value]
        with enable_grad():
            term = (root * gradient).sum()
            total = term if total is None else total + term
    return total, total._backend.xp.ones_like(total._array)


def _wrap_copy(like: Any, array: Array) -> "Tensor":
    copy = like._backend.xp.asarray(array, copy=True)
    return wrap_array(Variable._result_class, copy, like._backend)


# Hooks


class RemovableHandle:
    """Removes a hook by ``remove()``, or at the end of a ``with`` block.

    Args:
        remove: the function that does it, without effect if the hook is removed already.
    """

    def __init__(self, remove: Callable[[], None]) -> None:
        self.remove = remove

    def __enter__(self) -> "RemovableHandle":
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def register_hook(x: "Tensor", hook: "Callable[[Tensor], Tensor | None]") -> RemovableHandle:
    """Call a function with the gradient of this tensor whenever backward computes it.

    If the function returns a tensor, it replaces the gradient.

    >>> from tinytorch import tensor
    >>> x = tensor([1.0, 2.0], requires_grad=True)
    >>> handle = x.register_hook(lambda g: g * 10)
    >>> x.sum().backward()
    >>> x.grad
    Tensor([10., 10.])
    """
    _check_requires_grad(x, "register_hook")
    backend, result_class = x._backend, x._result_class

    def call(array: Array) -> Array:
        gradient = wrap_array(result_class, array, backend)
        with no_grad():
            changed = hook(gradient)
        if changed is None:
            return gradient._array
        if not isinstance(changed, Variable) or changed._array.shape != array.shape:
            raise ShapeError(
                f"a hook must return None or a gradient of shape {array.shape}, not"
                f" {shown(changed)}"
            )
        return changed._array

    return _add_hook(x, call)


def retain_grad(x: "Tensor") -> None:
    """Make backward store the gradient of this computed tensor in `grad`, as that of a leaf."""
    _check_requires_grad(x, "retain_grad")
    if x._node is None or x.retains_grad:
        return
    reference, backend, result_class = weakref.ref(x), x._backend, x._result_class

    def keep(array: Array) -> Array:
        tensor = reference()
        if tensor is not None:
            copy = backend.xp.asarray(array, copy=True)
            if tensor._grad is None:
                tensor._grad = wrap_array(result_class, copy, backend)
            else:
                total = tensor._grad._array
                total += copy
                tensor._grad._set_array(total)
        return array

    keep.retains = reference  # type: ignore[attr-defined]
    _add_hook(x, keep)


def retains_grad(x: "Tensor") -> bool:
    """Whether `retain_grad` was called for this computed tensor."""
    hooks = (x._node and x._node.hooks) or {}
    references = [getattr(hook, "retains", None) for hook in hooks.get(x._output_nr, ())]
    return any(reference is not None and reference() is x for reference in references)


def grad_fn(x: "Tensor") -> Any:
    """The node of the graph that computed this tensor; None for a leaf."""
    return x._node


def _check_requires_grad(x: "Tensor", name: str) -> None:
    if not x._requires_grad:
        raise RuntimeError(f"{name}: this tensor does not require a gradient")


def _add_hook(x: "Tensor", hook: Any) -> RemovableHandle:
    if x._node is None:
        x._hooks = x._hooks or []
        hooks = x._hooks
    else:
        x._node.hooks = x._node.hooks or {}
        hooks = x._node.hooks.setdefault(x._output_nr, [])
    # Stored gradients are those that all hooks have changed.
    where = sum(not hasattr(other, "retains") for other in hooks)
    hooks.insert(len(hooks) if hasattr(hook, "retains") else where, hook)

    def remove() -> None:
        hooks[:] = [other for other in hooks if other is not hook]

    return RemovableHandle(remove)


# Functions with a gradient of their own


class Context:
    """What the forward of a `Function` keeps for its backward; any attribute can be set.

    Attributes:
        needs_input_grad: whether each argument of ``apply`` requires a gradient.
        saved_tensors: the tensors given to `save_for_backward`.
    """

    needs_input_grad: tuple[bool, ...]
    saved_tensors: tuple[Any, ...] = ()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"forward has not set ctx.{name}")

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors; backward raises an error if they have been changed in place since."""
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Declare that results have no gradient; integer results never have one."""

    def set_materialize_grads(self, value: bool) -> None:
        """Without effect: gradients of results that are not used arrive as zeros."""


class Function:
    """A function of tensors with its gradient: a subclass defines two static methods.

    ``forward(ctx, *arguments)`` computes the result, a tensor or a tuple of tensors, and
    ``backward(ctx, *gradients)`` returns the gradient of each argument, None where there is none.
    Neither is differentiated itself. Call it as ``Square.apply(x)``.

    >>> from tinytorch import autograd, tensor
    >>> class Square(autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return 2 * x * g
    >>> x = tensor([3.0], requires_grad=True)
    >>> Square.apply(x).backward()
    >>> x.grad
    Tensor([6.])
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Any:
        raise NotImplementedError("a Function needs a static method forward(ctx, ...)")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError("a Function needs a static method backward(ctx, ...)")

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        """Call the function, and add it to the graph."""
        ctx = Context()
        tensors = [value for value in inputs if isinstance(value, Variable)]
        ctx.needs_input_grad = tuple(
            [isinstance(value, Variable) and value._requires_grad for value in inputs]
        )
        with no_grad():
            result = cls.forward(ctx, *inputs)
        if not (is_grad_enabled() and any(ctx.needs_input_grad)):
            return result
        results = result if isinstance(result, tuple) else (result,)
        if not all(isinstance(value, Variable) for value in results):
            raise TypeError(f"{cls.__name__}.forward must return tensors, not {shown(result)}")
        backend, result_class = tensors[0]._backend, Variable._result_class
        outputs = [wrap_array(result_class, value._array, backend) for value in results]
        for output, value in zip(outputs, results, strict=True):
            share(output, value)

        def gradient(xp: Any, g: Any, *saved: Array) -> Any:
            arrays: Any = g if isinstance(g, tuple) else (g,)
            arrays = [
                xp.zeros_like(output) if array is None else array
                for array, output in zip(arrays, saved[: len(arrays)], strict=True)
            ]
            with no_grad():
                given = cls.backward(ctx, *[wrap_array(result_class, a, backend) for a in arrays])
            entries = given if isinstance(given, tuple) else (given,)
            if len(entries) > len(inputs) and not any(
                entry is not None for entry in entries[len(inputs) :]
            ):
                entries = entries[: len(inputs)]  # of arguments that were left out
            if len(entries) != len(inputs):
                raise RuntimeError(
                    f"{cls.__name__}.backward returned {len(entries)} gradients for"
                    f" {len(inputs)} arguments"
                )
            return tuple([entry._array if entry is not None else None for entry in entries])

        kept = [value._array for value in ctx.saved_tensors if isinstance(value, Variable)]
        saved = (*[output._array for output in outputs], *kept)
        autograd.add_node(cls.__name__, gradient, False, backend, inputs, outputs, saved)
        return tuple(outputs) if isinstance(result, tuple) else outputs[0]


def variable(self: Any, data: "Tensor", requires_grad: bool = False) -> None:
    """``torch.autograd.Variable(data)``: a tensor that shares the memory of `data`, as `detach`."""
    if not isinstance(data, Variable):
        raise TypeError(f"Variable takes a tensor, not {shown(data)}")
    self.__class__ = Variable._result_class
    self._array, self._backend = data._array, data._backend
    share(self, data)
    self._grad = self._hooks = self._node = None
    self._output_nr, self._requires_grad = 0, False
    self.requires_grad_(requires_grad)


# Checks


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether the gradients of a function agree with finite differences.

    Args:
        func: a function of the inputs that returns a tensor, or a tuple of tensors.
        inputs: a tensor or a tuple; those that require a gradient must be float64.
        eps: the step of the differences.
        atol: the absolute difference that is allowed.
        rtol: the relative difference that is allowed.
        raise_exception: whether a difference raises an error.

    Raises:
        RuntimeError: the gradients differ.
        ValueError: no input requires a gradient, or one is not float64.

    >>> from tinytorch import autograd, tensor
    >>> x = tensor([0.5, 2.0], dtype="float64", requires_grad=True)
    >>> autograd.gradcheck(lambda x: x**3, x)
    True
    """
    inputs = inputs if isinstance(inputs, tuple | list) else (inputs,)
    checked = [x for x in inputs if isinstance(x, Variable) and x._requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient")
    if any(x._array.dtype != x._backend.xp.float64 for x in checked):
        raise ValueError("gradcheck: inputs must be float64; differences in float32 are too coarse")

    def outputs() -> list[Any]:
        results = func(*inputs)
        return [results] if isinstance(results, Variable) else list(results)

    for number in range(len(outputs())):
        for x in checked:
            expected = _differences(lambda: outputs()[number], x, eps)  # noqa: B023
            output, rows = outputs()[number], []
            for seed in np.eye(output.size).reshape(-1, *output.shape):
                (row,) = grad(output, x, output.new_tensor(seed), True, allow_unused=True)  # type: ignore[arg-type]
                rows.append(np.zeros(x._array.shape) if row is None else row.numpy())
            actual = np.reshape(rows, expected.shape)
            if not np.allclose(actual, expected, rtol, atol):
                if not raise_exception:
                    return False
                worst = float(np.abs(actual - expected).max())
                raise RuntimeError(
                    f"gradcheck: output {number} has gradients that differ by up to {worst:.3g}"
                    " from finite differences"
                )
    return True


def _differences(output: Callable[[], Any], x: Any, eps: float) -> np.ndarray[Any, Any]:
    """The Jacobian (elements of the output, elements of x) by central differences."""
    values, columns = x.numpy().copy(), []
    with no_grad():
        for i in range(values.size):
            ends = []
            for step in (eps, -eps):
                moved = values.copy()
                moved.flat[i] += step
                x.data = moved
                ends.append(output().numpy().copy().reshape(-1))
            columns.append((ends[0] - ends[1]) / (2 * eps))
        x.data = values
    return np.stack(columns, axis=1) if columns else np.zeros((0, 0))
