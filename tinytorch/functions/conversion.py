"""Convert tensors to Python numbers, arrays of other libraries, dtypes and backends."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import ShapeError
from ..autograd import Variable, add_node, is_grad_enabled, no_grad, wrap_array
from ..backends import Backend, device_of, get
from ..ops import elementwise
from ..ops.dtypes import host_dtype, parse_target, resolve_dtype
from ..ops.operators import same_backend
from ..ops.promotion import is_floating
from ..ops.views import leave

if TYPE_CHECKING:
    from ..tensor import Tensor

# NumPy's function for an operator -> the method that computes `array operator tensor`.
_REFLECTED = {
    "add": "__radd__",
    "subtract": "__rsub__",
    "multiply": "__rmul__",
    "divide": "__rtruediv__",
    "floor_divide": "__rfloordiv__",
    "remainder": "__rmod__",
    "power": "__rpow__",
    "matmul": "__rmatmul__",
    "equal": "__eq__",
    "not_equal": "__ne__",
    "less": "__gt__",
    "less_equal": "__ge__",
    "greater": "__lt__",
    "greater_equal": "__le__",
    "bitwise_and": "__rand__",
    "bitwise_or": "__ror__",
}

# Arguments of np.array2string, which prints tensors; `set_printoptions` changes them.
print_options: dict[str, Any] = {"threshold": 1000}


def host(x: Variable) -> np.ndarray[Any, Any]:
    """The values of a tensor in host memory."""
    return x._backend.to_numpy(x._array)


def as_numpy(x: "Tensor", dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
    values = x.numpy()
    if copy or (dtype is not None and values.dtype != dtype):
        if copy is False:
            raise ValueError(f"a {values.dtype} tensor cannot become {dtype} without a copy")
        return values.astype(values.dtype if dtype is None else dtype, copy=True)
    return values


def apply_ufunc(
    x: "Tensor", ufunc: Any, method: str, *inputs: Any, out: Any = None, **keywords: Any
) -> "Tensor":
    """Make ``array + tensor`` the same as ``tensor + array``, with gradients.

    Raises:
        TypeError: another NumPy function was called with a tensor, or ``array += tensor``.
    """
    if out is not None:
        raise TypeError(
            "a NumPy array cannot be updated in place with a tensor: use tensor.numpy()"
        )
    operator = getattr(x, _REFLECTED.get(ufunc.__name__, ""), None)
    if method != "__call__" or keywords or operator is None or inputs[1] is not x:
        raise TypeError(
            f"np.{ufunc.__name__} cannot be applied to a tensor; use a function of tinytorch,"
            " or NumPy on tensor.numpy()"
        )
    result: Tensor = operator(inputs[0])
    return result


def dlpack(x: "Tensor", **keywords: Any) -> Any:
    """Share the memory with another library, whose writes autograd does not detect."""
    return x._array.__dlpack__(**keywords)


def dlpack_device(x: "Tensor") -> Any:
    return x._array.__dlpack_device__()


def item(x: "Tensor") -> Any:
    """The value of a tensor with one element, as a Python number."""
    if x.size != 1:
        raise ShapeError(f"item() needs a tensor with one element, not shape {x.shape}")
    return host(x).item()


def as_float(x: "Tensor") -> float:
    return float(x.item())


def as_int(x: "Tensor") -> int:
    return int(x.item())


def as_bool(x: "Tensor") -> bool:
    if x.size != 1:
        raise ShapeError(
            f"the truth of a tensor of shape {x.shape} is ambiguous; use any() or all()"
        )
    return bool(x.item())


def as_index(x: "Tensor") -> int:
    if x.is_floating_point():
        raise TypeError("only an integer tensor can be used as an index")
    return int(x.item())


def reduce(x: "Tensor") -> Any:
    """Copy and pickle the values, `grad` and the backend's name, but not the graph."""
    if not x.is_leaf:
        raise RuntimeError("a computed tensor cannot be copied or pickled; detach() it first")
    values = type(x), x.numpy(), x._requires_grad, x._grad, x._backend.name
    return _restore, values, getattr(x, "__dict__", None)  # attributes of a subclass


def as_format(x: "Tensor", spec: str) -> str:
    return format(x.item() if spec else str(x), spec)


def to(
    x: "Tensor",
    *target: Any,
    dtype: Any = None,
    device: Any = None,
    backend: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    **others: Any,
) -> "Tensor":
    """Cast this tensor to a dtype, copy it to a device or a backend, or both.

    Gradients flow through a cast to floats and through a copy.

    Args:
        target: a dtype, a device or a backend, or the name of one; or a tensor, whose dtype and
            backend are meant.
        dtype: a dtype or its name.
        device: a device or its name: "cuda" is the backend cupy; "cpu" is the tensor's own backend
            if it is on the host, else numpy.
        backend: a backend or its name.
        non_blocking: without effect; no call waits for a copy to a GPU.
        copy: copy also if nothing changes.
        others: PyTorch's `memory_format`, without effect.

    Returns:
        This tensor itself if it has that dtype and backend already.

    >>> from tinytorch import Tensor
    >>> Tensor([1, 2]).to("float64")
    Tensor([1., 2.], dtype=float64)
    >>> Tensor([1, 2]).to("cpu", dtype="int32")
    Tensor([1, 2], dtype=int32)
    """
    if unknown := others.keys() - {"memory_format"}:
        raise TypeError(f"to() has no argument {unknown.pop()!r}")
    dtype, backend = parse_target(target, dtype, device if backend is None else backend)
    backend = x._backend if backend is None else get(backend, x._backend)
    result = x
    if backend is not x._backend:
        result = _copied(x, backend)
    dtype = resolve_dtype(dtype, backend)
    if dtype is not None and dtype != result.dtype:
        source = result if is_floating(dtype) else result.detach()
        result = elementwise.cast(source, dtype=dtype)
    flags = [flag for flag in target if isinstance(flag, bool)]  # non_blocking, copy
    return result.clone() if result is x and (copy or flags[1:] == [True]) else result


def _copied(x: "Tensor", backend: Backend) -> "Tensor":
    """A copy on another backend, whose gradient is copied back."""
    result = x._result_class(host(x), backend=backend)
    if x._requires_grad and is_grad_enabled():
        own = x._backend

        def gradient(xp: Any, g: Any) -> Any:
            return own.asarray(backend.to_numpy(g))

        add_node("to", gradient, False, backend, [x], [result], ())
    return result


def to_cpu(x: "Tensor", memory_format: Any = None) -> "Tensor":
    """This tensor on the host: itself, or a copy from a device."""
    return to(x, "cpu")


def to_cuda(x: "Tensor", device: Any = None, non_blocking: bool = False) -> "Tensor":
    """This tensor on the GPU, the backend cupy."""
    return to(x, "cuda" if device is None else device)


def _cast_to(name: str) -> "Callable[[Tensor], Tensor]":
    def cast(x: "Tensor", memory_format: Any = None) -> "Tensor":
        return to(x, dtype=name)

    cast.__name__ = cast.__qualname__ = name
    cast.__doc__ = f"This tensor with PyTorch's dtype `{name}`."
    return cast


to_float, to_double, to_half = map(_cast_to, ("float", "double", "half"))
to_int, to_long, to_short = map(_cast_to, ("int", "long", "short"))
to_bool, to_byte, to_char = map(_cast_to, ("bool", "uint8", "int8"))


def to_type(x: "Tensor", dtype: Any = None, non_blocking: bool = False) -> Any:
    """This tensor as another dtype; without one, PyTorch's name of its class and dtype.

    >>> from tinytorch import zeros
    >>> zeros(2).type()
    'torch.FloatTensor'
    """
    if dtype is None:
        module = "torch.cuda" if x._backend.device_type == "cuda" else "torch"
        return f"{module}.{_CLASSES[host_dtype(x.dtype).name]}Tensor"
    if isinstance(dtype, str):  # "torch.FloatTensor"
        name = dtype.rpartition(".")[2].removesuffix("Tensor")
        dtype = next((d for d, c in _CLASSES.items() if c == name), dtype)
    return to(x, dtype=dtype)


_CLASSES = {
    "float32": "Float",
    "float64": "Double",
    "float16": "Half",
    "int64": "Long",
    "int32": "Int",
    "int16": "Short",
    "int8": "Char",
    "uint8": "Byte",
    "bool": "Bool",
    "uint16": "UInt16",
    "uint32": "UInt32",
    "uint64": "UInt64",
}


def type_as(x: "Tensor", other: "Tensor") -> "Tensor":
    """This tensor with the dtype, and on the backend, of another."""
    return to(x, other)


def get_device(x: "Tensor") -> int:
    """The number of the device: 0 on a GPU, -1 on the host."""
    index = device_of(x._backend).index
    return -1 if index is None else index


def is_cuda(x: "Tensor") -> bool:
    """Whether the tensor is on a GPU."""
    return x._backend.device_type == "cuda"


def device(x: "Tensor") -> Any:
    """The device that holds the tensor: ``device("cpu")`` or ``device("cuda", 0)``.

    >>> from tinytorch import zeros
    >>> zeros(2).device
    device(type='cpu')
    """
    return device_of(x._backend)


def data(x: "Tensor") -> "Tensor":
    """The values as a tensor outside the graph that shares the memory, as `detach` returns it.

    Writes to it, as in ``p.data -= lr * p.grad`` or ``p.data.zero_()``, need no `no_grad`; as after
    any in-place write, backward raises an error if a gradient needs the old values. Assigned
    values, ``p.data = values``, are copied into the memory, so they must have the tensor's shape:
    a tensor, an array or a list, or a number for all elements. A tensor of another floating dtype
    or on another backend changes those of this tensor: ``p.data = p.data.half()``.
    """
    return x.detach()


def set_data(x: "Tensor", value: Any) -> None:
    if isinstance(value, Variable) and value._array is x._array:
        return  # of ``x.data -= y``, which has written to the memory
    if isinstance(value, Variable) and _moves(x, value):
        if value._array.shape != x.shape:
            raise ShapeError(f"data of shape {value._array.shape} does not fit shape {x.shape}")
        moved = value._backend.xp.asarray(value._array, copy=True)
        leave(x)
        x._array, x._backend, x._grad = moved, value._backend, None
        return
    if not isinstance(value, int | float):
        value = same_backend(x, value, x.dtype)
        if value.shape and value.shape != x.shape:
            raise ShapeError(
                f"data of shape {value.shape} does not fit a tensor of shape {x.shape};"
                " use tensor[...] = values to broadcast, or create a new tensor"
            )
    with no_grad():
        x[...] = value


def _moves(x: "Tensor", value: Variable) -> bool:
    """Whether x takes the backend or the floating dtype of `value`."""
    if value._backend is not x._backend:
        return True
    dtype = value._array.dtype
    return dtype != x.dtype and is_floating(dtype) and x.is_floating_point()


def _restore(
    cls: type["Tensor"],
    values: np.ndarray[Any, Any],
    requires_grad: bool,
    grad: "Tensor | None",
    backend: str,
) -> "Tensor":
    """Rebuild a tensor from the values that `Tensor.__reduce__` returned."""
    owner = get(backend)
    result = wrap_array(cls, owner.asarray(values), owner)
    result._requires_grad, result._grad = requires_grad, grad
    return result
