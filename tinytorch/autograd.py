"""Lesson 06: reverse-mode automatic differentiation on a graph that is built as ops are called.

An op computes arrays from arrays and returns its result with the values that its gradient needs:

    @op
    def multiply(xp, x, y):
        return x * y, (x, y)

    @multiply.gradient
    def multiply_gradient(xp, g, x, y):
        return g * y, g * x

`xp` is the array namespace of the arrays' backend. The gradient function receives `g`, the
gradient of the loss with respect to the result, and the saved values. It returns one entry for
each positional argument of the op: an array, None where there is no gradient, or a function
without arguments that computes the array and is called only if that argument requires a gradient.
Dimensions that the op broadcast are summed here (`_unbroadcast`), once for all ops.

Source: A. Griewank and A. Walther, "Evaluating Derivatives" (2008), chapter 3, reverse mode.
"""

import heapq
import inspect
import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .backends import Backend
from .backends.arrays import Shape
from .backends.base import Array, Namespace
from .backends.float_errors import ignored

if TYPE_CHECKING:
    from .tensor import Tensor


F = TypeVar("F", bound=Callable[..., Any])


class _GradMode(threading.local):
    """Whether this thread builds the graph; threads do not affect each other."""

    grad_enabled = True

    def __init__(self) -> None:  # runs once in each thread
        self.outer: list[bool] = []


_mode = _GradMode()


class no_grad(ContextDecorator):  # noqa: N801  PyTorch's name
    """Context manager that disables gradients: ops save nothing and results require no gradient.

    It also works as a decorator, with or without parentheses, but not of generators and coroutines.
    Do not hold it open across a `yield`.

    >>> from tinytorch import Tensor, no_grad
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> with no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """

    _enabled: ClassVar[bool] = False

    if not TYPE_CHECKING:

        def __new__(cls, function: Any = None) -> Any:
            context = super().__new__(cls)
            if function is None:
                return context
            if not callable(function):
                raise TypeError(f"{cls.__name__}() takes no arguments")
            return context(function)  # of @no_grad

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{type(self).__name__} cannot decorate {function.__name__}, whose body runs after"
                f" the call: write `with {type(self).__name__}():` between its yields or awaits"
            )
        return super().__call__(function)

    def __enter__(self) -> None:
        _mode.outer.append(_mode.grad_enabled)
        _mode.grad_enabled = self._enabled

    def __exit__(self, *exception: object) -> None:
        _mode.grad_enabled = _mode.outer.pop()


class enable_grad(no_grad):  # noqa: N801  PyTorch's name
    """Context manager that enables gradients, also inside `no_grad`."""

    _enabled = True


def is_grad_enabled() -> bool:
    """Whether ops called in this thread now build the graph."""
    return _mode.grad_enabled


class Version:
    """Counts in-place writes to one piece of memory; a tensor and its views share one counter.

    Only tensors hold strong references to it, so it lives as long as one of them can be written to.
    Where arrays are immutable, `memory` writes for all of them (see `ops/views.py`).
    """

    __slots__ = ("__weakref__", "count", "memory")

    def __init__(self) -> None:
        self.count = 0
        self.memory: Any = None


class Variable:
    """An array with its place in the graph: the part of a tensor that autograd uses."""

    __slots__ = (
        "__dict__",  # for attributes that scripts set
        "__weakref__",
        "_array",
        "_backend",
        "_grad",
        "_hooks",
        "_node",
        "_output_nr",
        "_path",
        "_requires_grad",
        "_version",
        "_view_of",
    )
    # The class of all op results; an op on a Parameter returns a plain tensor.
    _result_class: ClassVar[type["Tensor"]]

    _array: Array
    _backend: Backend
    _grad: "Tensor | None"
    _hooks: "list[Hook] | None"  # of a leaf; those of other tensors are in `Node.hooks`
    _node: "Node | None"  # the node that computed it; None for a leaf
    _output_nr: int  # its index among the node's outputs
    _path: tuple[Any, ...]  # in `Version.memory`, if there is one: the views that lead to it
    _requires_grad: bool
    _version: Version
    # Of a view of x: x, and the key of x[key], "reshape" or ("permute", *axes); else unset or None.
    _view_of: tuple["Tensor | None", Any]


Hook = Callable[[Array], Array]  # returns the gradient that is passed on
V = TypeVar("V", bound=Variable)


def wrap_array(cls: type[V], array: Array, backend: Backend) -> V:
    """A new leaf of class `cls` that holds `array` itself, not a copy."""
    result = cls.__new__(cls)
    result._array = array
    result._backend = backend
    result._grad = None
    result._hooks = None
    result._node = None
    result._output_nr = 0
    result._requires_grad = False
    result._version = Version()
    return result


class Node:
    """One call of an op in the graph.

    It references the nodes of its inputs but not its own outputs, so the graph has no reference
    cycles and is freed with the last tensor that was computed with it.

    Attributes:
        sequence_nr: greater than those of all nodes that it depends on.
        name: name of the op, for error messages.
        gradient: the gradient function.
        hooks: for the index of an output, functions that its gradient passes through.
        own: whether it is defined in this package, so that nothing else keeps its results.
        backend: the backend of all its arrays.
        inputs: an edge for each argument of the op, None where no gradient is required.
        saved: the values for the gradient function; None once they are freed.
        num_outputs: number of results that the op returned.
        saved_versions: weak references to the version counters of saved arrays, with their counts
            at the time of the call; backward raises an error if one has changed since.
    """

    __slots__ = (
        "backend",
        "gradient",
        "hooks",
        "inputs",
        "name",
        "num_outputs",
        "own",
        "saved",
        "saved_versions",
        "sequence_nr",
    )
    _sequence_nrs = itertools.count()

    def __init__(
        self,
        name: str,
        gradient: Callable[..., Any],
        own: bool,
        backend: Backend,
        inputs: list["Edge | None"],
        saved: tuple[Any, ...],
    ) -> None:
        self.sequence_nr = next(self._sequence_nrs)
        self.name = name
        self.gradient = gradient
        self.hooks: dict[int, list[Hook]] | None = None
        self.own = own
        self.backend = backend
        self.inputs = inputs
        self.saved: tuple[Any, ...] | None = saved
        self.num_outputs = 1
        self.saved_versions: list[tuple[weakref.ref[Version], int]] = []

    def __repr__(self) -> str:
        return f"<gradient of {self.name}>"

    def free_saved(self) -> None:
        """Free the saved values; a second backward through this node is an error from then on."""
        self.saved = None
        self.inputs = []
        self.saved_versions = []


class Edge:
    """The target of one gradient of a node: an output of another node, or a leaf."""

    __slots__ = ("dtype", "output_nr", "shape", "target")

    def __init__(self, variable: Variable) -> None:
        self.target: Node | Variable = variable if variable._node is None else variable._node
        self.output_nr = variable._output_nr
        self.shape = variable._array.shape
        self.dtype = variable._array.dtype


def add_node(
    name: str,
    gradient: Callable[..., Any],
    own: bool,
    backend: Backend,
    inputs: Sequence[Any],
    outputs: Sequence[Variable],
    saved: tuple[Any, ...],
) -> None:
    """Add one call of an op to the graph: its outputs then require a gradient."""
    edges = [Edge(v) if isinstance(v, Variable) and v._requires_grad else None for v in inputs]
    node, xp = Node(name, gradient, own, backend, edges, saved), backend.xp
    node.num_outputs = len(outputs)
    saved_memory = {id(xp.storage(s)) for s in saved if hasattr(s, "shape")}
    for output_nr, output in enumerate(outputs):
        output._node, output._output_nr = node, output_nr
        output._requires_grad = True
    if not saved_memory:
        return
    for variable in (*inputs, *outputs):
        if isinstance(variable, Variable) and id(xp.storage(variable._array)) in saved_memory:
            version = variable._version
            node.saved_versions.append((weakref.ref(version), version.count))


class _PendingGradients:
    """Gradients of outputs whose nodes have not run yet, summed where several paths meet.

    Leaves are added only if their gradients are needed as a sum, as the output 0 of themselves.

    The first gradient of an output is stored by reference, since the function that returned it may
    share it. The first addition allocates the sum; later ones add to it in place.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[int, int], Array] = {}
        self._allocated: set[tuple[int, int]] = set()

    def add(self, target: "Node | Variable", output_nr: int, gradient: Array) -> None:
        key = (id(target), output_nr)
        if key not in self._sums:
            self._sums[key] = gradient
        elif key in self._allocated:
            self._sums[key] += gradient
        else:
            backend = target.backend if isinstance(target, Node) else target._backend
            self._sums[key] = backend.xp.add(self._sums[key], gradient)
            self._allocated.add(key)

    def pop(self, target: "Node | Variable", num_outputs: int = 1) -> list[Array | None]:
        """Remove and return the gradient of each output, None where there is none."""
        return [self._sums.pop((id(target), i), None) for i in range(num_outputs)]


@ignored()
def run_backward(
    root: Variable,
    gradient: Array,
    retain_graph: bool = False,
    wanted: Sequence[Variable] | None = None,
) -> list[Array | None]:
    """Add the gradients of `root` to `grad` of every leaf that requires one.

    Args:
        root: the variable to differentiate.
        gradient: of the loss with respect to `root`, with its shape.
        retain_graph: keep the saved values, so that backward can run again.
        wanted: variables whose gradients are returned, None where `root` does not depend on one;
            `grad` of leaves stays as it is then.

    Raises:
        RuntimeError: the graph was freed by an earlier backward, or a saved array was modified in
            place.
    """
    collector = _Collector(wanted)
    if root._node is None:
        collector.add(root, gradient, can_steal=False)
    else:
        _propagate(root._node, root._output_nr, gradient, collector, retain_graph)
    return collector.finish()


def _propagate(
    root: Node, output_nr: int, gradient: Array, collector: "_Collector", retain_graph: bool
) -> None:
    """Run the gradient functions of `root` and of all nodes that it depends on, each once.

    Nodes run in decreasing order of `sequence_nr`, so each one has received all gradients of its
    outputs before it runs. Without recursion, only memory limits the depth of a graph.

    Args:
        root: the node to start from.
        output_nr: which of its outputs is differentiated.
        gradient: of the loss with respect to that output.
        collector: receives the gradients of leaves.
        retain_graph: keep the saved values, so that backward can run again.
    """
    pending = _PendingGradients()
    pending.add(root, output_nr, gradient)
    queue, queued = [(-root.sequence_nr, root)], {root.sequence_nr}
    while queue:
        node = heapq.heappop(queue)[1]
        outputs = collector.outputs_of(node, pending.pop(node, node.num_outputs))
        for edge, array, can_steal in _input_gradients(node, outputs):
            target = edge.target
            if isinstance(target, Variable):
                collector.add(target, array, can_steal)
                continue
            pending.add(target, edge.output_nr, array)
            if target.sequence_nr not in queued:
                queued.add(target.sequence_nr)
                heapq.heappush(queue, (-target.sequence_nr, target))
        if not retain_graph:
            node.free_saved()


class _Collector:
    """Receives gradients: runs hooks, adds to `grad` of leaves, or keeps what is wanted.

    Args:
        wanted: see `run_backward`.
    """

    def __init__(self, wanted: Sequence[Variable] | None) -> None:
        self._wanted = wanted
        self._places = [(id(v._node or v), v._output_nr) for v in wanted or ()]
        self._found: dict[tuple[int, int], Array | None] = {}
        # Leaves that have hooks or are wanted: their sums come last.
        self._leaves: dict[int, Variable] = {}
        self._sums = _PendingGradients()

    def outputs_of(self, node: Node, gradients: list[Array | None]) -> list[Array | None]:
        """The gradients of a node's outputs after their hooks; they are kept if wanted."""
        if node.hooks is not None:
            gradients = [_hooked(g, node.hooks.get(i)) for i, g in enumerate(gradients)]
        if self._wanted is not None:
            found = {(id(node), i): g for i, g in enumerate(gradients)}
            self._found |= {place: g for place, g in found.items() if place in self._places}
        return gradients

    def add(self, leaf: Variable, gradient: Array, can_steal: bool) -> None:
        """Add a gradient of a leaf, which may take ownership of the array if `can_steal`."""
        if self._wanted is None and not leaf._hooks:
            _accumulate(leaf, gradient, can_steal)
        else:
            self._leaves[id(leaf)] = leaf
            self._sums.add(leaf, 0, gradient)

    def finish(self) -> list[Array | None]:
        """Run the hooks of leaves, and return the gradients that are wanted."""
        for leaf in self._leaves.values():
            total = _hooked(self._sums.pop(leaf)[0], leaf._hooks)
            if self._wanted is not None:
                self._found[id(leaf), 0] = total
            elif total is not None:
                _accumulate(leaf, total, can_steal=False)
        return [self._found.get(place) for place in self._places]


def _hooked(gradient: Array | None, hooks: list[Hook] | None) -> Array | None:
    """The gradient after it has passed through the hooks."""
    for hook in hooks or ():
        if gradient is not None:
            gradient = hook(gradient)
    return gradient


def _check_saved(node: Node) -> None:
    """Check that the saved values of a node are still there, and as they were.

    Raises:
        RuntimeError: they were freed, or one was modified in place.
    """
    if node.saved is None:
        raise RuntimeError(
            f"backward ran a second time through {node.name}, whose saved values were freed by the"
            " first; pass retain_graph=True to the first backward"
        )
    for reference, count in node.saved_versions:
        version = reference()
        if version is not None and version.count != count:
            raise RuntimeError(
                f"a tensor that the gradient of {node.name} needs was modified in place; modify a"
                " copy, or wait until after backward"
            )


def _input_gradients(node: Node, outputs: list[Array | None]) -> list[tuple[Edge, Array, bool]]:
    """Run the gradient function of `node`, given the gradients of its outputs.

    Returns:
        For each input that requires a gradient: its edge, the gradient, and whether a leaf may
        take ownership of that array, because it is writable and nothing else references its
        memory.
    """
    _check_saved(node)
    assert node.saved is not None
    xp = node.backend.xp
    g = outputs[0] if node.num_outputs == 1 else tuple(outputs)
    results = node.gradient(xp, g, *node.saved)
    if type(results) is not tuple:
        results = (results,)
    if len(results) < len(node.inputs):  # there may be more, for omitted optional arguments
        raise RuntimeError(
            f"the gradient of {node.name} returned {len(results)} values for"
            f" {len(node.inputs)} inputs"
        )
    needed = [
        (edge, result)
        for edge, result in zip(node.inputs, results, strict=False)
        if edge is not None and result is not None
    ]
    arrays = node.backend.evaluate([result for _, result in needed])
    pairs = [(edge, _unbroadcast(xp, a, edge)) for (edge, _), a in zip(needed, arrays, strict=True)]
    alive = [a for a in (*outputs, *node.saved, *(a for _, a in pairs)) if hasattr(a, "shape")]

    def can_steal(edge: Edge, array: Array) -> bool:
        if isinstance(edge.target, Node):  # only leaves keep gradients
            return False
        if not node.own:  # an op defined elsewhere may keep the array that it returned
            return False
        if not node.backend.is_writable(array):
            return False
        memory = xp.storage(array)  # its size differs if the array is a slice or a broadcast view
        whole = getattr(memory, "size", None) == array.size
        return whole and sum(xp.storage(a) is memory for a in alive) == 1

    return [(edge, array, can_steal(edge, array)) for edge, array in pairs]


def _unbroadcast(xp: Namespace, gradient: Array, edge: Edge) -> Array:
    """Sum `gradient` over broadcast dimensions, and cast it to the input's dtype."""
    if gradient.shape != edge.shape:
        half = getattr(xp, "float16", None)  # not in the standard
        # A sum in float16 would be rounded at every step.
        dtype = xp.float32 if half is not None and gradient.dtype == half else None
        gradient = _sum_to_shape(xp, gradient, edge.shape, dtype)
    return gradient if gradient.dtype == edge.dtype else xp.astype(gradient, edge.dtype)


def _sum_to_shape(xp: Namespace, gradient: Array, shape: Shape, dtype: Any = None) -> Array:
    """Sum `gradient` over the axes that were added or repeated when `shape` was broadcast.

    Args:
        xp: the namespace of the array.
        gradient: of the broadcast array.
        shape: of the array before.
        dtype: to sum in; by default that of the gradient.
    """
    extra = len(gradient.shape) - len(shape)
    repeated = [
        axis + extra
        for axis, size in enumerate(shape)
        if size == 1 and gradient.shape[axis + extra] != 1
    ]
    gradient = xp.sum(gradient, axis=(*range(extra), *repeated), keepdims=True, dtype=dtype)
    return xp.reshape(gradient, shape)


def _accumulate(leaf: Variable, gradient: Array, can_steal: bool) -> None:
    """Add `gradient` to `leaf.grad`, which is writable and shares its memory with nothing."""
    if leaf._grad is not None:
        total = leaf._grad._array
        total += gradient
        leaf._grad._set_array(total)
        return
    backend = leaf._backend
    if not can_steal or type(gradient) is not backend.array_type:  # such as a NumPy scalar
        gradient = backend.xp.asarray(gradient, copy=True)
    leaf._grad = wrap_array(leaf._result_class, gradient, backend)
