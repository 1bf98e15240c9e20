"""What a backend is: a namespace of array functions, a way to and from the host, and kernels."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np

from .arrays import Array, DType, Namespace, NativeArray, NumpyArray

__all__ = [
    "Array",
    "Backend",
    "BackendError",
    "DType",
    "Kernel",
    "KernelTable",
    "Namespace",
    "NativeArray",
    "NumpyArray",
    "Row",
    "grouped",
    "host_array",
]


Row = tuple[NativeArray, ...]  # a parameter, its gradient and the optimizer's state of it


class BackendError(RuntimeError):
    """A backend is unknown, cannot be used here, or two of them were mixed."""


class Kernel(NamedTuple):
    """A fast way to compute one op: what its forward saves is private to the pair."""

    forward: Callable[..., Any]
    gradient: Callable[..., Any] | None


class KernelTable(dict[str, Kernel]):
    """Kernels by the name of their op, declared as the ops themselves are.

    >>> KERNELS = KernelTable()
    >>> @KERNELS.forward
    ... def gelu(xp, x): ...
    >>> @KERNELS.gradient(gelu)
    ... def gelu_gradient(xp, g, *saved): ...
    """

    def forward(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Declare the kernel for the op of the function's name."""
        self[function.__name__] = Kernel(function, None)
        return function

    def gradient(
        self, forward: Callable[..., Any]
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare the gradient that takes what `forward` saves."""

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            self[forward.__name__] = Kernel(forward, function)
            return function

        return declare


class Backend:
    """One array library: the standard's functions, those that it lacks, and fast kernels.

    Attributes:
        name: as in ``TT_BACKEND``.
        array_type: the class of this backend's arrays, by which an op finds its backend.
        xp: the array API namespace with `EXTRAS` added; the `xp` that every op receives.
        kernels: op name -> `Kernel`, used in place of the op's readable reference.
        updates: name of an optimizer's update op -> its multi-tensor version, a function of rows
            (parameter, gradient, *state) and the op's settings. It may write to parameters and
            state in place, and returns the new (parameter, *state) of each row. The settings `lr`
            and `step` are numbers, or arrays without axes while a step is captured.
        graphed: makes of ``work(*arrays) -> array`` a function ``(key, *arrays) -> array`` that
            captures the work once and replays it as long as the key and the shapes stay the
            same; None where work cannot be captured.
        processes: among how many processes a training step is best divided, by `parallel`.
        decode_step: creates a fused `decode_step.DecodeStep` from `GPTWeights`, or None.
        sample: samples token ids (B,) from logits (B, V), a temperature and uniforms (B,) in
            [0, 1), as `generate.sample` does, and copies them to the host; None where logits are
            copied to the host instead.

    A subclass sets these and implements the extras as static methods. Creation functions of
    `xp` make arrays on the backend's device.
    """

    name: ClassVar[str]
    array_type: type
    xp: Namespace
    kernels: Mapping[str, Kernel] = {}
    updates: Mapping[str, Callable[..., "list[Row]"]] = {}
    graphed: Callable[[Callable[..., NativeArray]], Callable[..., NativeArray]] | None = None
    processes: int = 1
    decode_step: Callable[[Any], Any] | None = None
    sample: Callable[[Array, float, np.ndarray[Any, Any]], np.ndarray[Any, Any]] | None = None

    # Not in the standard, and needed by a deep-learning library.
    EXTRAS: ClassVar[tuple[str, ...]] = (
        "index",
        "index_add",
        "index_set",
        "pad",
        "put_along_axis",
        "random_bits",
        "segment_sum",
        "take_rows",
        "storage",
    )

    def __str__(self) -> str:
        """The name, and what a user should know of the device."""
        return self.name

    def namespace(self, standard: ModuleType, **overrides: Any) -> Namespace:
        """The functions of `standard`, then this backend's extras, then `overrides`."""
        functions = {n: f for n, f in vars(standard).items() if not n.startswith("__")}
        extras = {name: getattr(self, name) for name in self.EXTRAS}
        return cast(Namespace, SimpleNamespace(**{**functions, **extras, **overrides}))

    def asarray(self, data: Any, dtype: Any = None) -> Array:
        """`data` (array, nested list or number) as a new array on this backend's device.

        Python floats become float32 and Python integers int64; a NumPy array keeps its dtype.
        """
        raise NotImplementedError

    def to_numpy(self, array: NativeArray) -> np.ndarray[Any, Any]:
        """`array` in host memory; shares memory where the backend is on the host."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Wait until the device has finished all that was asked of it."""

    def memory(self) -> dict[str, int]:
        """Bytes in use on the device, as far as the backend knows them."""
        return {}

    def single_threaded(self) -> AbstractContextManager[None]:
        """A context in which this thread asks no others for help: it has a processor, and no
        more, as one of several processes that compute side by side."""
        return nullcontext()

    def set_row_offset(self, first: int) -> None:
        """From here on the first row of a batch is row `first` of a larger one: random bits are
        those of its rows, so that masks do not depend on how a batch is divided."""
        raise NotImplementedError

    def evaluate(self, values: list[Any]) -> list[NativeArray]:
        """Each array as it is, and what each function without arguments returns.

        The functions do not depend on each other, so a backend may run them side by side.
        """
        return [value() if callable(value) else value for value in values]

    # The extras. `xp` does not precede their arguments: each backend has its own.

    @staticmethod
    def index(x: NativeArray, key: Any) -> NativeArray:
        """x[key] for every NumPy key: slices, integer arrays, masks, ellipsis, newaxis."""
        raise NotImplementedError

    @staticmethod
    def index_add(x: NativeArray, key: Any, values: NativeArray) -> NativeArray:
        """x[key] += values in place; an element named twice receives both. Returns x."""
        raise NotImplementedError

    @staticmethod
    def index_set(x: NativeArray, key: Any, values: Any) -> NativeArray:
        """x[key] = values in place. Returns x."""
        raise NotImplementedError

    @staticmethod
    def take_rows(x: NativeArray, indices: NativeArray) -> NativeArray:
        """x[indices]: rows of x (N, ...) by integer indices of any shape, 0 <= index < N.

        Raises:
            IndexError: an index is out of range, where a check does not make a device wait.
        """
        raise NotImplementedError

    @staticmethod
    def segment_sum(values: NativeArray, ids: NativeArray, rows: int) -> NativeArray:
        """(rows, C): row i is the sum of the values (N, C) whose id, of ids (N,), is i."""
        raise NotImplementedError

    @staticmethod
    def put_along_axis(x: NativeArray, indices: NativeArray, values: Any, axis: int) -> NativeArray:
        """A copy of x with `values` at `indices` along `axis`."""
        raise NotImplementedError

    @staticmethod
    def pad(x: NativeArray, widths: Any, value: float = 0.0) -> NativeArray:
        """x with (before, after) constant elements added on each axis."""
        raise NotImplementedError

    @staticmethod
    def random_bits(seed: int, shape: tuple[int, ...]) -> NativeArray:
        """uint32 random bits, a pure function of seed and position: `hashing.random_bits`."""
        raise NotImplementedError

    @staticmethod
    def storage(x: NativeArray) -> object:
        """The object that owns x's memory: the same for an array and for its views."""
        raise NotImplementedError


def grouped(rows: Sequence[Row], key: Callable[[Row], Hashable]) -> list[tuple[Any, list[Row]]]:
    """Each key with the rows that have it, in the order of first appearance."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.items())


def host_array(data: Any, dtype: Any = None) -> np.ndarray[Any, Any]:
    """`data` as a new NumPy array: float32 from Python floats, else the dtype that it has."""
    typed = isinstance(data, np.ndarray | np.generic) or hasattr(data, "__dlpack__")
    try:
        array = np.array(data)
    except ValueError as error:  # lists of different lengths
        raise TypeError(f"expected numbers in regular nested lists, got {data!r:.60}") from error
    if array.dtype == object or array.dtype.kind not in "biufc":
        raise TypeError(f"expected numbers in regular nested lists, got {data!r:.60}")
    if dtype is None and not typed and array.dtype == np.float64:
        dtype = np.float32
    return array if dtype is None else array.astype(dtype, copy=False)
