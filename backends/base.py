"""The interface of a backend: a namespace of array functions, host copies, and kernels."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, NamedTuple, Protocol, cast

import numpy as np

from .arrays import Array, DType, Namespace, NativeArray, NumpyArray
from .float_errors import ignore, restore
from .groups import Group, MPIGroup

__all__ = [
    "Array",
    "Backend",
    "BackendError",
    "DType",
    "InterruptedUpdateError",
    "Kernel",
    "KernelTable",
    "LossScaler",
    "Namespace",
    "NativeArray",
    "NumpyArray",
    "Row",
    "grouped",
    "host_array",
]


_CREATION = ("arange", "asarray", "empty", "eye", "full", "linspace", "ones", "zeros")

Row = tuple[NativeArray, ...]  # a parameter, its gradient and its optimizer state


class BackendError(RuntimeError):
    """A backend is unknown or cannot be used on this machine, or two backends were mixed."""


class InterruptedUpdateError(MemoryError):
    """Memory ran out while work changed arrays, so it must not be run again."""


class Kernel(NamedTuple):
    """A fast version of one op; the values that its forward saves are private to the pair.

    Attributes:
        forward: computes the result and the values for the gradient.
        gradient: computes the gradients, or None.
        own: whether both are defined in this package, whose gradients keep no array that they
            return. Those of other kernels are copied before they are written to.
    """

    forward: Callable[..., Any]
    gradient: Callable[..., Any] | None
    own: bool = False


def is_own(function: Callable[..., Any]) -> bool:
    """Whether a function is defined in this package."""
    return str(function.__module__).partition(".")[0] == __name__.partition(".")[0]


class KernelTable(dict[str, Kernel]):
    """Op name -> `Kernel`, declared in the same way as the ops themselves.

    >>> KERNELS = KernelTable()
    >>> @KERNELS.forward
    ... def gelu(xp, x): ...
    >>> @KERNELS.gradient(gelu)
    ... def gelu_gradient(xp, g, *saved): ...
    """

    def forward(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Declare the kernel of the op that has the function's name."""
        self[function.__name__] = Kernel(function, None, is_own(function))
        return function

    def gradient(
        self, forward: Callable[..., Any]
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare the gradient, which takes the values that `forward` saves."""

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            self[forward.__name__] = Kernel(forward, function, is_own(function))
            return function

        return declare


class LossScaler(Protocol):
    """Scales the loss of a training step, so that gradients are in the range of float16.

    Attributes:
        scale: the factor of the loss, 0-d.
        skipped: the number of steps that were skipped, 0-d.
    """

    scale: NativeArray
    skipped: NativeArray

    def unscale(self, gradients: Sequence[NativeArray]) -> list[NativeArray]:
        """Divide all gradients of a step by the scale, in place where possible. If one is not
        finite, optimizers change nothing until `update`."""
        ...

    def is_skipping(self) -> bool:
        """Whether the gradients of this step are not finite; waits for the device."""
        ...

    def update(self) -> None:
        """Choose the scale of the next step."""
        ...

    def take_skipped(self) -> int:
        """Set `skipped` to 0 and return what it was; waits for the device."""
        ...

    def state_dict(self) -> dict[str, float]:
        """The scale and `_growth_tracker`, the steps since it changed; waits for the device."""
        ...

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue with the scale of a `state_dict`, or with the first one if it is empty."""
        ...


class Backend:
    """One array library: the standard's functions, the extras that it lacks, and fast kernels.

    Attributes:
        name: the value of ``TT_BACKEND`` that selects it.
        device_type: PyTorch's name of the kind of device that holds the arrays, such as "cuda".
        device_index: the number of the device, None on the host.
        array_type: the class of this backend's arrays; `registry.of` finds the backend by it.
        mutable: False if arrays cannot be written to, as in JAX: `index_set` returns a new array.
        xp: the array API namespace with `EXTRAS` added; the `xp` that every op receives.
        kernels: op name -> `Kernel`, used in place of the op's readable reference.
        updates: name of an optimizer's update op -> its multi-tensor version, a function of rows
            (parameter, gradient, *state) and the op's settings. It may write to parameters and
            state in place, and returns the new (parameter, *state) of each row. The settings `lr`
            and `step` are numbers, or 0-d arrays while a step is captured. If the backend has
            `clip_factor`, they also take its result as `scale`, and multiply gradients by it.
        clip_factor: computes the factor by which `clip_gradients` would scale gradients, a 0-d
            array, from these and the maximum norm; None if it does not support their dtypes.
        graphed: converts ``work(*arrays) -> array`` to a function ``(key, *arrays) -> array`` that
            captures the work once and replays it as long as the key and the shapes stay the
            same; None if work cannot be captured. Work that raises a MemoryError may be run again,
            except after an `InterruptedUpdateError`. With ``eager=False`` that function never runs
            the work as written: it returns None if memory does not suffice for a graph. For several
            ranks, a second argument takes whether a capture has succeeded, and returns whether it
            has in all of them; else none uses its graph.
        processes: the default number of processes for a data-parallel training step.
        loss_scaler: creates a `LossScaler` for training steps, or None if gradients need none.
        decode_step: creates a fused `decode_step.DecodeStep` from `GPTWeights`, or None.
        decoder: creates a `decode_step.Decoder` from a step, its caches and a `Choice`, or None if
            tokens are to be decoded one by one.
        sample: samples token ids (B,) from logits (B, V), a temperature, uniforms (B,) in [0, 1),
            top_k and top_p, as `generate.sample` does, and copies them to the host; -1 for a row
            that holds NaN or only -inf. The uniforms are None for the most likely token. None if
            logits are to be copied to the host instead.

    A subclass sets these and implements the extras as static methods. Creation functions of
    `xp` create arrays on the backend's device.
    """

    name: ClassVar[str]
    device_type: ClassVar[str] = "cpu"
    device_index: int | None = None
    array_type: type
    mutable: bool = True
    xp: Namespace
    kernels: Mapping[str, Kernel] = {}
    updates: Mapping[str, Callable[..., "list[Row]"]] = {}
    clip_factor: Callable[[Sequence[NativeArray], float], NativeArray | None] | None = None
    graphed: Callable[..., Callable[..., NativeArray]] | None = None
    processes: int = 1
    loss_scaler: "Callable[[], LossScaler] | None" = None
    decode_step: Callable[[Any], Any] | None = None
    decoder: Callable[[Any, Any, Any], Any] | None = None
    sample: Callable[..., np.ndarray[Any, Any]] | None = None

    # Functions that the standard lacks and the ops need.
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
        """The name, with a description of the device if there is one."""
        return self.name

    def namespace(self, standard: ModuleType, device: Any = None, **overrides: Any) -> Namespace:
        """The functions of `standard` with this backend's extras; `overrides` replace both.

        Creation functions are bound to `device`, if it is given.
        """
        functions = {n: f for n, f in vars(standard).items() if not n.startswith("__")}
        if device is not None:
            functions |= {n: partial(functions[n], device=device) for n in _CREATION}
        extras = {name: getattr(self, name) for name in self.EXTRAS}
        return cast(Namespace, SimpleNamespace(**{**functions, **extras, **overrides}))

    def asarray(self, data: Any, dtype: Any = None) -> Array:
        """`data` (array, nested list or number) as a new array on this backend's device.

        By default Python floats become float32, Python integers int64, and arrays keep their dtype.
        """
        raise NotImplementedError

    def to_numpy(self, array: NativeArray) -> np.ndarray[Any, Any]:
        """`array` in host memory; it may share memory if the backend is on the host."""
        raise NotImplementedError

    def write_update(self, array: NativeArray, update: NativeArray) -> NativeArray:
        """Write the result of an optimizer's rule to the memory of a parameter or its state.

        Returns:
            `array`, or where arrays cannot be written to, a new array.
        """
        return self.xp.index_set(array, ..., update)

    def is_writable(self, array: NativeArray) -> bool:
        """Whether `array` can be modified in place, unlike a read-only view of NumPy."""
        return bool(getattr(getattr(array, "flags", None), "writeable", True))

    def device_count(self) -> int:
        """The number of devices of this kind."""
        return 1

    def on_device(self, index: int) -> "Backend":
        """The backend of arrays on the device with this number.

        Raises:
            BackendError: there is none, or the backend does not use it.
        """
        if index:
            raise BackendError(
                f"{self.device_type}:{index}: backend {self.name!r} uses {self.device_type}:0 only"
            )
        return self

    def synchronize(self) -> None:
        """Wait until the device has finished all queued work."""

    def memory(self) -> dict[str, int]:
        """Bytes "used" and "reserved" on the device; empty if the backend does not track them."""
        return {}

    def single_threaded(self) -> AbstractContextManager[None]:
        """A context in which the backend runs single-threaded, for one of several processes."""
        return nullcontext()

    def full_precision(self) -> AbstractContextManager[None]:
        """A context in which float32 products are not rounded to fewer bits of mantissa."""
        return nullcontext()

    def group(self, host: MPIGroup) -> Group:
        """The group that adds up this backend's arrays among the ranks of `host`.

        Raises:
            BackendError: this backend's arrays cannot be added up, or a rank has no device.
        """
        raise BackendError(
            f"backend {self.name!r} cannot be used by several ranks: run one process, or use numpy"
        )

    def before_fork(self) -> None:
        """Load what each of the processes forked next would otherwise compile for itself."""

    def set_row_offset(self, first: int) -> None:
        """Offset `random_bits` so that row 0 is row `first` of the full batch.

        Dropout masks then do not depend on how a batch is divided among processes. A captured step
        keeps the offset with which it was captured.
        """
        raise NotImplementedError

    def evaluate(self, values: list[Any]) -> list[NativeArray]:
        """Replace each function without arguments in `values` by its result; arrays stay as is.

        The functions do not depend on each other, so a backend may run them in parallel.
        """
        return [value() if callable(value) else value for value in values]

    # The extras. Unlike ops, they take no `xp`: each backend has its own version.

    @staticmethod
    def index(x: NativeArray, key: Any) -> NativeArray:
        """x[key] for every NumPy key: slices, integer arrays, masks, ellipsis, newaxis.

        Raises:
            IndexError: an index is out of range; see `take_rows` and `indices.check_key`.
        """
        raise NotImplementedError

    @staticmethod
    def index_add(x: NativeArray, key: Any, values: NativeArray) -> NativeArray:
        """x[key] += values in place; duplicate indices accumulate.

        Returns x; a library whose arrays are immutable returns a new array.
        """
        raise NotImplementedError

    @staticmethod
    def index_set(x: NativeArray, key: Any, values: Any) -> NativeArray:
        """x[key] = values in place.

        Returns x; a library whose arrays are immutable returns a new array.
        """
        raise NotImplementedError

    @staticmethod
    def take_rows(x: NativeArray, indices: NativeArray) -> NativeArray:
        """x[indices]: rows of x (N, ...) by integer indices of any shape, 0 <= index < N.

        Raises:
            IndexError: an index is out of range. A device may report it at the next copy to the
                host, because the check would make the host wait.
        """
        raise NotImplementedError

    @staticmethod
    def segment_sum(values: NativeArray, ids: NativeArray, rows: int) -> NativeArray:
        """(rows, C): row i is the sum of the rows of values (N, C) whose id in ids (N,) is i."""
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
        """uint32 random bits, a pure function of seed and position; see `random_bits.py`."""
        raise NotImplementedError

    @staticmethod
    def storage(x: NativeArray) -> object:
        """The object that owns x's memory, the same for an array and its views."""
        raise NotImplementedError


def grouped(rows: Sequence[Row], key: Callable[[Row], Hashable]) -> list[tuple[Any, list[Row]]]:
    """Group rows by key: (key, rows) pairs, in order of first appearance."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.items())


class DefaultFloat:
    """The dtype of new tensors of Python floats; an attribute, so that it can be set."""

    dtype = np.dtype(np.float32)


def host_array(data: Any, dtype: Any = None) -> np.ndarray[Any, Any]:
    """`data` as a new NumPy array: by default `DefaultFloat` for Python floats, else its own dtype.

    Raises:
        TypeError: the data are not real numbers, or an array of a dtype that tensors do not have.
        ValueError: a number in a list does not fit the integer dtype that was asked for.
    """
    typed = isinstance(data, np.ndarray | np.generic) or hasattr(data, "__dlpack__")
    if type(data) is np.ndarray and data.size > 1 and not any(data.strides) and not data.flat[0]:
        return np.zeros(data.shape, dtype or data.dtype)  # no page is touched before it is written
    try:
        array = np.array(data)
    except ValueError as error:  # lists of different lengths
        raise TypeError(f"expected numbers in regular nested lists, got {data!r:.60}") from error
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(f"expected numbers in regular nested lists, got {data!r:.60}")
    if dtype is None and not typed and array.dtype == np.float64:
        dtype = DefaultFloat.dtype
    if dtype is None and not typed and array.dtype == np.int_:
        dtype = np.int64  # on a 32-bit platform NumPy's own has 32 bits
    if dtype is None or array.dtype == dtype:
        return array
    if not typed and np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        if not ((array >= limits.min) & (array <= limits.max)).all():  # NaN too
            raise ValueError(f"{np.dtype(dtype)} cannot hold all numbers of {data!r:.60}")
    warnings = ignore()
    try:
        return array.astype(dtype)
    finally:
        restore(warnings)
