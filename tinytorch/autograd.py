"""Lesson 06: automatic differentiation in reverse mode, on a tape that each result carries.

An op computes arrays from arrays and hands back what its gradient will need:

    @op
    def multiply(xp, x, y):
        return x * y, (x, y)

    @multiply.gradient
    def multiply_gradient(xp, g, x, y):
        return g * y, g * x

`xp` is the array namespace of the backend to which the arrays belong. The gradient receives the
gradient `g` of the loss with respect to the result and returns one entry for each array that the
op took: an array, None where there is no gradient, or a function without arguments that computes
it only if somebody needs it. Shapes that were broadcast are summed back here, once for all ops.

Source: A. Griewank and A. Walther, "Evaluating Derivatives" (2008), chapter 3, reverse mode.
"""

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .backends import Backend
from .backends.base import Array, Namespace

if TYPE_CHECKING:
    from .tensor import Tensor


class _Mode(threading.local):
    """Whether this thread records: a thread that samples does not stop one that trains."""

    recording = True

    def __init__(self) -> None:  # runs once in each thread
        self.before: list[bool] = []


_mode = _Mode()


class no_grad(ContextDecorator):  # noqa: N801  PyTorch's name
    """Within it nothing is recorded, so results need no memory for a backward pass.

    >>> with no_grad():
    ...     y = model(x)

    It also serves as a decorator. Do not hold it open across a `yield`.
    """

    _enabled: ClassVar[bool] = False

    def __enter__(self) -> None:
        _mode.before.append(_mode.recording)
        _mode.recording = self._enabled

    def __exit__(self, *exception: object) -> None:
        _mode.recording = _mode.before.pop()


class enable_grad(no_grad):  # noqa: N801  PyTorch's name
    """Within it operations are recorded, even inside `no_grad`."""

    _enabled = True


def is_grad_enabled() -> bool:
    """Whether operations are recorded now, in this thread."""
    return _mode.recording


class Version:
    """Counts the in-place writes to one piece of memory; a tensor shares it with its views."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Variable:
    """An array with a place on the tape: what autograd needs of a tensor, and no more."""

    __slots__ = (
        "__weakref__",
        "_array",
        "_backend",
        "_grad",
        "_index",
        "_node",
        "_requires_grad",
        "_version",
    )
    # The class of an op's results; a Parameter's results are plain tensors.
    _result_class: ClassVar[type["Tensor"]]

    _array: Array
    _backend: Backend
    _grad: "Tensor | None"
    _node: "Node | None"  # what computed it; None for a leaf
    _index: int  # which of the node's outputs it is
    _requires_grad: bool
    _version: Version


V = TypeVar("V", bound=Variable)


def wrap_array(cls: type[V], array: Array, backend: Backend) -> V:
    """A new leaf of class `cls` around `array`, which is not copied."""
    result = cls.__new__(cls)
    result._array = array
    result._backend = backend
    result._grad = None
    result._node = None
    result._index = 0
    result._requires_grad = False
    result._version = Version()
    return result


class Node:
    """One recorded call of an op. It holds its inputs' nodes, never its own outputs."""

    __slots__ = (
        "backend",
        "gradient",
        "guards",
        "inputs",
        "name",
        "number",
        "outputs",
        "saved",
    )
    _numbers = itertools.count()

    def __init__(
        self,
        name: str,
        gradient: Callable[..., Any],
        backend: Backend,
        inputs: list["_Input | None"],
        saved: tuple[Any, ...],
    ) -> None:
        # A node's number is greater than those of all that it depends on.
        self.number = next(self._numbers)
        self.name = name
        self.gradient = gradient
        self.backend = backend
        self.inputs = inputs
        self.saved: tuple[Any, ...] | None = saved
        self.outputs = 1
        self.guards: list[tuple[Version, int]] = []  # memory that must not change until backward

    def release(self) -> None:
        """Forget what was saved: its memory is free, and a second backward is an error."""
        self.saved = None
        self.inputs = []
        self.guards = []


class _Input:
    """Where a node sends one gradient: to another node's output, or to a leaf."""

    __slots__ = ("dtype", "index", "shape", "target")

    def __init__(self, variable: Variable) -> None:
        self.target: Node | Variable = variable if variable._node is None else variable._node
        self.index = variable._index
        self.shape = variable._array.shape
        self.dtype = variable._array.dtype


def record(
    name: str,
    gradient: Callable[..., Any],
    backend: Backend,
    inputs: Sequence[Any],
    results: Sequence[Variable],
    saved: tuple[Any, ...],
) -> None:
    """Put one call of an op on the tape."""
    edges = [_Input(v) if isinstance(v, Variable) and v._requires_grad else None for v in inputs]
    node, xp = Node(name, gradient, backend, edges, saved), backend.xp
    node.outputs = len(results)
    kept = {id(xp.storage(s)) for s in saved if hasattr(s, "shape")}
    for index, result in enumerate(results):
        result._node, result._index = node, index
        result._requires_grad = True
    for variable in (*inputs, *results):
        if isinstance(variable, Variable) and id(xp.storage(variable._array)) in kept:
            node.guards.append((variable._version, variable._version.count))


class _Gradients:
    """Gradients on their way down the tape, summed where several paths meet.

    Arrays that came from a gradient function may be shared, so the first one is only kept; the
    sum of two is this object's own, and everything after that is added to it in place.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[int, int], Array] = {}
        self._own: set[tuple[int, int]] = set()

    def add(self, node: Node, index: int, gradient: Array) -> None:
        key = (node.number, index)
        if key not in self._sums:
            self._sums[key] = gradient
        elif key in self._own:
            self._sums[key] += gradient
        else:
            self._sums[key] = node.backend.xp.add(self._sums[key], gradient)
            self._own.add(key)

    def take(self, node: Node) -> list[Array | None]:
        """The gradients of the node's outputs, None where nothing arrived; forgets them."""
        return [self._sums.pop((node.number, index), None) for index in range(node.outputs)]


def backward(root: Variable, gradient: Array, retain_graph: bool = False) -> None:
    """Add the gradients of `root` to `grad` of every leaf that requires one.

    Nodes are visited from the youngest to the oldest, so that each has received all of its
    gradient before it passes it on. No recursion: depth is limited by memory only.

    Args:
        root: where to start.
        gradient: of the loss with respect to `root`, of its shape.
        retain_graph: keep what was saved, so that backward can be called once more.

    Raises:
        RuntimeError: the graph was freed by an earlier backward, or an array that a gradient
            needs was written to.
    """
    if root._node is None:
        _accumulate(root, gradient, fresh=False)
        return
    gradients = _Gradients()
    gradients.add(root._node, root._index, gradient)
    waiting = [(-root._node.number, root._node)]
    seen = {root._node.number}
    while waiting:
        node = heapq.heappop(waiting)[1]
        for edge, array, fresh in _input_gradients(node, gradients.take(node)):
            if isinstance(edge.target, Variable):
                _accumulate(edge.target, array, fresh)
                continue
            gradients.add(edge.target, edge.index, array)
            if edge.target.number not in seen:
                seen.add(edge.target.number)
                heapq.heappush(waiting, (-edge.target.number, edge.target))
        if not retain_graph:
            node.release()


def _input_gradients(node: Node, outputs: list[Array | None]) -> "list[tuple[_Input, Array, bool]]":
    """The gradient for each input of `node` that needs one, and whether a leaf may keep it."""
    if node.saved is None:
        raise RuntimeError(
            f"backward came to {node.name} a second time, after its saved values were freed;"
            " pass retain_graph=True to the first backward"
        )
    for version, count in node.guards:
        if version.count != count:
            raise RuntimeError(
                f"a tensor that the gradient of {node.name} needs was changed in place;"
                " write to a copy, or after backward"
            )
    xp = node.backend.xp
    g = outputs[0] if node.outputs == 1 else tuple(outputs)
    answers = node.gradient(xp, g, *node.saved)
    if type(answers) is not tuple:
        answers = (answers,)
    if len(answers) < len(node.inputs):  # an optional argument that was left out has none
        raise RuntimeError(
            f"the gradient of {node.name} returned {len(answers)} values for"
            f" {len(node.inputs)} inputs"
        )
    needed = [
        (edge, answer)
        for edge, answer in zip(node.inputs, answers, strict=False)
        if edge is not None and answer is not None
    ]
    arrays = node.backend.evaluate([answer for _, answer in needed])
    found = [(edge, _fit(xp, a, edge)) for (edge, _), a in zip(needed, arrays, strict=True)]
    held = [a for a in (*outputs, *node.saved, *(a for _, a in found)) if hasattr(a, "shape")]

    def fresh(edge: _Input, array: Array) -> bool:  # nobody else holds it
        if isinstance(edge.target, Node):  # which keeps nothing
            return False
        owner = xp.storage(array)  # a part of its memory is not enough: it may be a broadcast view
        return bool(owner.size == array.size) and sum(xp.storage(a) is owner for a in held) == 1

    return [(edge, array, fresh(edge, array)) for edge, array in found]


def _fit(xp: Namespace, gradient: Array, edge: _Input) -> Array:
    """`gradient` in the shape and dtype of the input: what was broadcast is summed."""
    if gradient.shape != edge.shape:
        extra = len(gradient.shape) - len(edge.shape)
        grown = [
            axis + extra
            for axis, size in enumerate(edge.shape)
            if size == 1 and gradient.shape[axis + extra] != 1
        ]
        gradient = xp.sum(gradient, axis=(*range(extra), *grown), keepdims=True)
        gradient = xp.reshape(gradient, edge.shape)
    return gradient if gradient.dtype == edge.dtype else xp.astype(gradient, edge.dtype)


def _accumulate(leaf: Variable, gradient: Array, fresh: bool) -> None:
    """Add to `leaf.grad`, which never shares its memory with another array."""
    if leaf._grad is not None:
        leaf._grad._array += gradient
        leaf._grad._version.count += 1
        return
    backend = leaf._backend
    if not fresh or type(gradient) is not backend.array_type:  # or a scalar that NumPy made
        gradient = backend.xp.asarray(gradient, copy=True)
    leaf._grad = wrap_array(leaf._result_class, gradient, backend)
