"""Create tensors from values, or filled by a rule; random ones are created in `random.py`."""

import math
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np

from ..arguments import check_integer, check_shape, python_number, shown
from ..autograd import Variable, wrap_array
from ..backends import Backend, get
from ..backends.base import Array, Namespace
from ..ops.dtypes import get_default_dtype, resolve_dtype

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "arange",
    "as_tensor",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "logspace",
    "ones",
    "ones_like",
    "scalar_tensor",
    "tensor",
    "tril_indices",
    "triu_indices",
    "zeros",
    "zeros_like",
]


class Options(TypedDict, total=False):
    """Keyword arguments of all functions that create tensors.

    Attributes:
        dtype: a dtype or its name; by default that of the values, `get_default_dtype` for floats.
        device: "cpu" or "cuda", PyTorch's names, in place of `backend`.
        backend: a backend or its name; by default `backends.default`.
        requires_grad: whether `backward` computes a gradient for the tensor.
        layout, memory_format, pin_memory: of PyTorch, without effect.
    """

    dtype: Any
    device: Any
    backend: Any
    requires_grad: bool
    layout: Any
    memory_format: Any
    pin_memory: bool


def backend_of(options: Options, own: Backend | None = None) -> Backend:
    """The backend that the options of a function name; by default `own`, or the default one."""
    chosen = options.get("backend")
    chosen = options.get("device") if chosen is None else chosen
    return own if chosen is None and own is not None else get(chosen, own)


def dtype_of(name: str, options: Options, backend: Backend, default: Any = None) -> Any:
    """The dtype that the options of the function `name` give, as the backend's.

    Raises:
        TypeError: there is an option that no function has.
    """
    for option in options:
        if option not in Options.__annotations__:
            hint = "; assign the result instead" if option == "out" else ""
            raise TypeError(f"{name}() has no argument {option!r}{hint}")
    dtype = options.get("dtype")
    return resolve_dtype(default if dtype is None else dtype, backend)


def finished(array: Array, backend: Backend, options: Options) -> "Tensor":
    """The tensor that a function returns, given its new array."""
    result = wrap_array(Variable._result_class, array, backend)
    if options.get("requires_grad", False) is not False:
        result.requires_grad = options["requires_grad"]
    return result


def check_sizes(name: str, sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """The sizes of ``name(2, 3)`` or ``name((2, 3))``; raises ValueError for a negative one."""
    sizes = check_shape(sizes)
    if min(sizes, default=0) < 0:
        raise ValueError(f"{name}{sizes}: a size cannot be negative")
    return sizes


def named_size(size: tuple[Any, ...], options: Any) -> tuple[Any, ...]:
    """The sizes, which may also be given as the keyword argument `size`: removed from options."""
    return (options.pop("size"),) if "size" in options and not size else size


# From values


def tensor(data: Any, **options: Unpack[Options]) -> "Tensor":
    """A new tensor with a copy of `data`: a number, nested lists, an array, or another tensor.

    >>> import tinytorch
    >>> tinytorch.tensor([1, 2.5]), tinytorch.tensor([1, 2]).dtype
    (Tensor([1. , 2.5]), dtype('int64'))
    """
    if isinstance(data, list | tuple):
        data = _plain(data)
    own = data._backend if isinstance(data, Variable) else None
    backend = options.get("device") if options.get("backend") is None else options["backend"]
    backend = get(backend, own) if backend is not None else own
    dtype = dtype_of("tensor", options, get(backend))
    cls = Variable._result_class
    return cls(data, options.get("requires_grad", False), dtype=dtype, backend=backend)


def _plain(data: Any) -> Any:
    """Nested lists with the tensors among the items as numbers, lists or arrays."""
    if isinstance(data, list | tuple):
        return [_plain(item) for item in data] if _holds_tensors(data) else data
    return data.tolist() if isinstance(data, Variable) else data  # type: ignore[attr-defined]


def _holds_tensors(data: Any) -> bool:
    return any(
        isinstance(item, Variable) or (isinstance(item, list | tuple) and _holds_tensors(item))
        for item in data
    )


def as_tensor(data: Any, dtype: Any = None, device: Any = None, backend: Any = None) -> "Tensor":
    """`data` as a tensor: itself if it is one already, a view of a NumPy array, else a copy."""
    if isinstance(data, np.ndarray):
        data = from_numpy(data)
    if isinstance(data, Variable):
        result: Tensor = data.to(dtype=dtype, device=device, backend=backend)  # type: ignore[attr-defined]
        return result
    return tensor(data, dtype=dtype, device=device, backend=backend)


def asarray(
    data: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    backend: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> "Tensor":
    """`data` as a tensor; `copy` tells whether it is copied: always, never, or if necessary."""
    if copy is False and not isinstance(data, Variable | np.ndarray):
        raise ValueError(f"asarray cannot share the memory of {shown(data)}; leave copy out")
    create = tensor if copy else as_tensor
    result = create(data, dtype=dtype, device=device, backend=backend)
    return result.detach().requires_grad_() if requires_grad else result


def scalar_tensor(value: Any, **options: Unpack[Options]) -> "Tensor":
    """A tensor without axes."""
    backend = backend_of(options)
    dtype = dtype_of("scalar_tensor", options, backend, get_default_dtype())
    return full((), value, **{**options, "dtype": dtype})


def from_numpy(array: np.ndarray[Any, Any]) -> "Tensor":
    """A tensor that shares the memory of a NumPy array; on a GPU, a copy of it.

    Raises:
        TypeError: it is not a NumPy array, or its dtype is none that tensors have.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy needs a NumPy array, not {shown(array)}; use tensor(...)")
    backend = get(None)
    if backend.array_type is not np.ndarray or not array.dtype.isnative:
        return Variable._result_class(array, backend=backend)
    resolve_dtype(array.dtype, backend)
    return wrap_array(Variable._result_class, np.asarray(array), backend)


def from_dlpack(source: Any, backend: str | Backend | None = None) -> "Tensor":
    """A tensor that shares the memory of another library's array, through DLPack.

    Args:
        source: an object with ``__dlpack__`` on the device of `backend`.
        backend: the backend of the tensor; the default backend if None.
    """
    backend = get(backend)
    return wrap_array(Variable._result_class, backend.xp.from_dlpack(source), backend)


# Filled


def zeros(*size: Any, **options: Unpack[Options]) -> "Tensor":
    """A tensor of zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``."""
    return _filled("zeros", size, 0, get_default_dtype(), options)


def ones(*size: Any, **options: Unpack[Options]) -> "Tensor":
    """A tensor of ones: ``ones(2, 3)`` or ``ones((2, 3))``."""
    return _filled("ones", size, 1, get_default_dtype(), options)


def empty(*size: Any, **options: Unpack[Options]) -> "Tensor":
    """A tensor whose values are to be written: zeros, while PyTorch leaves what was in memory."""
    return _filled("empty", size, 0, get_default_dtype(), options)


def full(size: Any, fill_value: Any, **options: Unpack[Options]) -> "Tensor":
    """A tensor whose elements are all `fill_value`, which also gives the dtype.

    >>> from tinytorch import full
    >>> full((2,), 7), full((2,), 0.5)
    (Tensor([7, 7]), Tensor([0.5, 0.5]))
    """
    return _filled("full", (size,), fill_value, None, options)


def zeros_like(x: "Tensor", **options: Unpack[Options]) -> "Tensor":
    """A tensor of zeros with the shape, dtype and backend of `x`."""
    return _filled("zeros_like", x.shape, 0, x.dtype, options, x._backend)


def ones_like(x: "Tensor", **options: Unpack[Options]) -> "Tensor":
    """A tensor of ones with the shape, dtype and backend of `x`."""
    return _filled("ones_like", x.shape, 1, x.dtype, options, x._backend)


def empty_like(x: "Tensor", **options: Unpack[Options]) -> "Tensor":
    """A tensor with the shape, dtype and backend of `x`, whose values are to be written: zeros."""
    return _filled("empty_like", x.shape, 0, x.dtype, options, x._backend)


def full_like(x: "Tensor", fill_value: Any, **options: Unpack[Options]) -> "Tensor":
    """A tensor of `fill_value` with the shape, dtype and backend of `x`."""
    return _filled("full_like", x.shape, fill_value, x.dtype, options, x._backend)


def new_zeros(x: "Tensor", *size: Any, **options: Unpack[Options]) -> "Tensor":
    """A tensor of zeros of another size, with the dtype and backend of this one."""
    return _filled("new_zeros", size, 0, x.dtype, options, x._backend)


def new_ones(x: "Tensor", *size: Any, **options: Unpack[Options]) -> "Tensor":
    """A tensor of ones of another size, with the dtype and backend of this one."""
    return _filled("new_ones", size, 1, x.dtype, options, x._backend)


def new_full(x: "Tensor", size: Any, fill_value: Any, **options: Unpack[Options]) -> "Tensor":
    """A tensor of `fill_value` of another size, with the dtype and backend of this one."""
    return _filled("new_full", (size,), fill_value, x.dtype, options, x._backend)


def new_tensor(x: "Tensor", data: Any, **options: Unpack[Options]) -> "Tensor":
    """A new tensor with a copy of `data`, with the dtype and backend of this one."""
    backend = backend_of(options, x._backend)
    dtype = dtype_of("new_tensor", options, backend, x.dtype)
    return tensor(data, **{**options, "dtype": dtype, "backend": backend})


def _filled(
    name: str,
    size: tuple[Any, ...],
    value: Any,
    dtype: Any,
    options: Options,
    own: Backend | None = None,
) -> "Tensor":
    size = named_size(size, options)
    backend, sizes = backend_of(options, own), check_sizes(name, size)
    if type(value) is not int:
        value = python_number(value)
        if not isinstance(value, bool | int | float):
            raise TypeError(f"{name}: the value must be a number, not {shown(value)}")
    if dtype is None:
        kinds = ((bool, "bool"), (int, "int64"), (float, get_default_dtype()))
        dtype = next(dtype for kind, dtype in kinds if isinstance(value, kind))
    dtype = dtype_of(name, options, backend, dtype)
    xp = backend.xp
    if value == 0:
        array = xp.zeros(sizes, dtype=dtype)
    elif value == 1:
        array = xp.ones(sizes, dtype=dtype)
    else:
        array = xp.full(sizes, _fitting(xp, value, dtype), dtype=dtype)
    return finished(array, backend, options)


def _fitting(xp: Any, value: Any, dtype: Any) -> Any:
    """`value` as a Python number of the kind of `dtype`."""
    if dtype == xp.bool:
        return bool(value)
    return float(value) if xp.isdtype(dtype, "real floating") else int(value)


# By a rule


def arange(start: Any, end: Any = None, step: Any = 1, **options: Unpack[Options]) -> "Tensor":
    """The numbers from `start`, by default 0, up to but without `end`: ``arange(end)``.

    Integers give int64.

    >>> from tinytorch import arange
    >>> arange(3), arange(1, 2, 0.5)
    (Tensor([0, 1, 2]), Tensor([1. , 1.5]))
    """
    if end is None:
        start, end = 0, start
    start, end, step = python_number(start), python_number(end), python_number(step)
    for value in (start, end, step):
        if not isinstance(value, int | float):
            raise TypeError(f"arange needs numbers, not {shown(value)}")
    if step == 0 or (end - start) * step < 0:
        raise ValueError(f"arange({start}, {end}, {step}): the step does not lead to the end")
    whole = all(isinstance(value, int) for value in (start, end, step))
    backend = backend_of(options)
    dtype = dtype_of("arange", options, backend, "int64" if whole else get_default_dtype())
    array = _steps(backend.xp, start, end, step, whole)
    return finished(backend.xp.astype(array, dtype), backend, options)


def _steps(xp: Namespace, start: float, end: float, step: float, whole: bool) -> Array:
    """The numbers start, start + step, ... without end: in int64 if they are whole, else float64.

    Each is computed by itself, without the rounding errors of sums.
    """
    if whole:
        return xp.arange(start, end, step, dtype=xp.int64)
    count = math.ceil((end - start) / step)
    return xp.arange(0, count, 1, dtype=xp.float64) * step + start


def linspace(start: Any, end: Any, steps: int, **options: Unpack[Options]) -> "Tensor":
    """`steps` numbers at equal distances from `start` to `end`, both included.

    >>> from tinytorch import linspace
    >>> linspace(0, 1, 5)
    Tensor([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    return _between("linspace", start, end, steps, options, None)


def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, **options: Unpack[Options]
) -> "Tensor":
    """`base` to the powers of ``linspace(start, end, steps)``."""
    return _between("logspace", start, end, steps, options, float(base))


def _between(
    name: str, start: Any, end: Any, steps: Any, options: Options, base: float | None
) -> "Tensor":
    start, end = float(python_number(start)), float(python_number(end))
    steps = check_integer(f"{name}: steps", steps)
    backend = backend_of(options)
    dtype = dtype_of(name, options, backend, get_default_dtype())
    xp, step = backend.xp, (end - start) / max(steps - 1, 1)
    # From both ends, as in PyTorch, so that the last number is exactly `end`.
    indices = xp.arange(0, steps, 1, dtype=xp.float64)
    up, down = start + indices * step, end - (steps - 1 - indices) * step
    array = xp.where(indices * 2 < steps, up, down)
    if base is not None:
        array = base**array
    return finished(backend.xp.astype(array, dtype), backend, options)


def eye(n: int, m: int | None = None, **options: Unpack[Options]) -> "Tensor":
    """The (n, m) matrix with ones on the diagonal; by default m is n."""
    rows = check_integer("eye: n", n)
    columns = rows if m is None else check_integer("eye: m", m)
    backend = backend_of(options)
    dtype = dtype_of("eye", options, backend, get_default_dtype())
    return finished(backend.xp.eye(rows, columns, dtype=dtype), backend, options)


def tril_indices(row: int, col: int, offset: int = 0, **options: Unpack[Options]) -> "Tensor":
    """Rows and columns (2, N) of the lower triangle of a (row, col) matrix."""
    return _indices("tril_indices", np.tril_indices(row, offset, col), options)


def triu_indices(row: int, col: int, offset: int = 0, **options: Unpack[Options]) -> "Tensor":
    """Rows and columns (2, N) of the upper triangle of a (row, col) matrix."""
    return _indices("triu_indices", np.triu_indices(row, offset, col), options)


def _indices(name: str, indices: Any, options: Options) -> "Tensor":
    backend = backend_of(options)
    dtype = dtype_of(name, options, backend, "int64")
    return finished(backend.asarray(np.stack(indices), dtype), backend, options)
