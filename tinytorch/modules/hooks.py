"""Hooks: functions that run before and after the forward and the backward of a module.

A module's hooks are a tuple in its attribute `_hooks`, which is replaced when it changes; a module
without hooks has the empty tuple of its class. `Module.__call__` calls `call_with_hooks` only if
there are any.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..autograd import add_node, is_grad_enabled, wrap_array
from ..functions.gradients import RemovableHandle
from ..ops.views import share
from ..tensor import Tensor

if TYPE_CHECKING:
    from .module import Module


# Empty until there is a hook: `Module.__call__` looks here first, which costs next to nothing.
USED: set[str] = set()
# Classes of modules that compute from the whole batch and change their buffers in forward.
STATEFUL: set[type] = set()


class Hook:
    """A function registered under "forward_pre", "forward", "backward_pre" or "backward"."""

    def __init__(self, kind: str, function: Callable[..., Any], with_kwargs: bool = False) -> None:
        self.kind, self.function, self.with_kwargs = kind, function, with_kwargs
        USED.add("hooks")

    def __reduce__(self) -> Any:
        return Hook, (self.kind, self.function, self.with_kwargs)  # runs __init__ too


def register_forward_hook(
    module: "Module",
    hook: Callable[..., Any],
    *,
    prepend: bool = False,
    with_kwargs: bool = False,
) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after each forward; a result other than None replaces it.

    Args:
        module: the module.
        hook: the function.
        prepend: run it before the hooks that are there already.
        with_kwargs: call ``hook(module, args, kwargs, output)``.

    >>> from tinytorch import Linear, zeros
    >>> layer, shapes = Linear(2, 3), []
    >>> handle = layer.register_forward_hook(lambda m, args, output: shapes.append(output.shape))
    >>> _ = layer(zeros(4, 2))
    >>> handle.remove()
    >>> shapes
    [(4, 3)]
    """
    return _register(module, Hook("forward", hook, with_kwargs), prepend)


def register_forward_pre_hook(
    module: "Module",
    hook: Callable[..., Any],
    *,
    prepend: bool = False,
    with_kwargs: bool = False,
) -> RemovableHandle:
    """Call ``hook(module, args)`` before each forward.

    A result other than None replaces the arguments. With `with_kwargs`, the call is
    ``hook(module, args, kwargs)``, and the result a pair ``(args, kwargs)``.
    """
    return _register(module, Hook("forward_pre", hook, with_kwargs), prepend)


def register_full_backward_hook(
    module: "Module", hook: Callable[..., Any], prepend: bool = False
) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are computed.

    Both are tuples of tensors, with None for arguments and results without a gradient. A result
    other than None replaces `grad_input`.
    """
    return _register(module, Hook("backward", hook), prepend)


def register_full_backward_pre_hook(
    module: "Module", hook: Callable[..., Any], prepend: bool = False
) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` before the gradients of the module are computed.

    A result other than None replaces `grad_output`.
    """
    return _register(module, Hook("backward_pre", hook), prepend)


def _register(module: "Module", hook: Hook, prepend: bool) -> RemovableHandle:
    if not callable(hook.function):
        raise TypeError(
            f"a hook must be a function, not {type(hook.function).__name__}; it is called as"
            " hook(module, args, output)"
        )
    _set_hooks(module, (hook, *module._hooks) if prepend else (*module._hooks, hook))

    def remove() -> None:
        _set_hooks(module, tuple(other for other in module._hooks if other is not hook))

    return RemovableHandle(remove)


def _set_hooks(module: "Module", hooks: tuple[Hook, ...]) -> None:
    module.__dict__["_hooks"] = hooks
    module.mark_changed()


def call_with_hooks(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the module's forward with its hooks."""
    hooks = module._hooks
    for hook in hooks:
        if hook.kind == "forward_pre":
            args, kwargs = _before(module, hook, args, kwargs)
    backward = None
    if is_grad_enabled() and any("backward" in hook.kind for hook in hooks):
        backward = _Backward(module)
        args = backward.watch_inputs(args)
    output: Any = module.forward(*args, **kwargs)
    for hook in hooks:
        if hook.kind == "forward":
            given = (args, kwargs) if hook.with_kwargs else (args,)
            result = hook.function(module, *given, output)
            output = output if result is None else result
    return output if backward is None else backward.watch_outputs(output)


def _before(module: "Module", hook: Hook, args: Any, kwargs: Any) -> Any:
    """The arguments of forward after a hook of the kind "forward_pre"."""
    if hook.with_kwargs:
        result = hook.function(module, args, kwargs)
        if result is None:
            return args, kwargs
        if isinstance(result, tuple) and len(result) == 2:
            return result
        raise RuntimeError(
            "a forward pre-hook with_kwargs must return None or a tuple (args, kwargs), not"
            f" {type(result).__name__}"
        )
    result = hook.function(module, args)
    if result is None:
        return args, kwargs
    return result if isinstance(result, tuple) else (result,), kwargs


class _Backward:
    """Calls the backward hooks of a module for one forward.

    The inputs and the outputs pass through nodes of the graph that compute nothing: when backward
    reaches that of the outputs, their gradients are kept; when it reaches that of the inputs, the
    hooks are called.
    """

    def __init__(self, module: "Module") -> None:
        self._module = module
        self._inputs: list[int] = []  # positions of the arguments that require a gradient
        self._num_inputs = 0
        self._grad_output: tuple[Any, ...] = ()

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self._num_inputs = len(args)
        self._inputs = _requiring_grad(args)
        return _watched("BackwardHookInput", args, self._inputs, self._call_hooks)

    def watch_outputs(self, output: Any) -> Any:
        outputs = output if isinstance(output, tuple) else (output,)
        positions = _requiring_grad(outputs)

        def keep(gradients: list[Any]) -> list[Any]:
            grad_output = _spread(gradients, positions, len(outputs))
            for hook in self._module._hooks:
                if hook.kind == "backward_pre":
                    result = hook.function(self._module, grad_output)
                    grad_output = _replaced(result, grad_output)
            self._grad_output = grad_output
            if not self._inputs:
                self._call_hooks([])
            return [grad_output[i] for i in positions]

        watched = _watched("BackwardHookOutput", outputs, positions, keep)
        return watched if isinstance(output, tuple) else watched[0]

    def _call_hooks(self, gradients: list[Any]) -> list[Any]:
        grad_input = _spread(gradients, self._inputs, self._num_inputs)
        for hook in self._module._hooks:
            if hook.kind == "backward":
                result = hook.function(self._module, grad_input, self._grad_output)
                grad_input = _replaced(result, grad_input)
        return [grad_input[i] for i in self._inputs]


def _requiring_grad(values: tuple[Any, ...]) -> list[int]:
    return [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]


def _spread(gradients: list[Any], positions: list[int], length: int) -> tuple[Any, ...]:
    """The gradients at their positions in a tuple, with None elsewhere."""
    found = dict(zip(positions, gradients, strict=True))
    return tuple(found.get(i) for i in range(length))


def _replaced(result: Any, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
    """The gradients after a hook that returned `result`."""
    if result is None:
        return gradients
    result = result if isinstance(result, tuple) else (result,)
    if len(result) != len(gradients):
        raise RuntimeError(
            f"a backward hook returned {len(result)} gradients for {len(gradients)} tensors"
        )
    replaced: tuple[Any, ...] = result
    return replaced


def _watched(
    name: str,
    values: tuple[Any, ...],
    positions: list[int],
    function: Callable[[list[Any]], list[Any]],
) -> tuple[Any, ...]:
    """The values, with a node that calls `function` after those at `positions`.

    Args:
        name: of the node.
        values: tensors and other objects.
        positions: of the tensors with a gradient.
        function: maps the gradients of these tensors, or None, to new ones.
    """
    if not positions:
        return values
    tensors = [values[i] for i in positions]
    backend = tensors[0].backend

    def gradient(xp: Any, g: Any) -> tuple[Any, ...]:
        arrays = g if len(tensors) > 1 else (g,)
        results = function([a if a is None else wrap_array(Tensor, a, backend) for a in arrays])
        return tuple(None if result is None else result._array for result in results)

    outputs = [wrap_array(Tensor, tensor._array, backend) for tensor in tensors]
    for output, tensor in zip(outputs, tensors, strict=True):
        share(output, tensor)
    add_node(name, gradient, False, backend, tensors, outputs, ())
    watched = dict(zip(positions, outputs, strict=True))
    return tuple(watched.get(i, value) for i, value in enumerate(values))
