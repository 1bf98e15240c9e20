"""Settings of the process by PyTorch's names, constants, and what is asked about tensors."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import check_integer, warn
from ..autograd import Variable
from ..backends import device, device_of, get
from ..ops.dtypes import get_default_dtype, host_dtype, set_default_dtype
from ..ops.promotion import is_floating
from .conversion import print_options
from .creation import tensor, zeros

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "BoolTensor",
    "ByteTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
    "Size",
    "are_deterministic_algorithms_enabled",
    "can_cast",
    "clone",
    "compile",
    "contiguous_format",
    "detach",
    "dtype",
    "e",
    "finfo",
    "get_default_device",
    "get_float32_matmul_precision",
    "get_num_threads",
    "iinfo",
    "inf",
    "is_complex",
    "is_floating_point",
    "is_nonzero",
    "is_tensor",
    "nan",
    "newaxis",
    "pi",
    "preserve_format",
    "set_default_device",
    "set_default_tensor_type",
    "set_float32_matmul_precision",
    "set_num_threads",
    "set_printoptions",
    "strided",
    "typename",
    "use_deterministic_algorithms",
]

pi, e, inf, nan, newaxis = math.pi, math.e, math.inf, math.nan, None
Size: type = tuple  # the type of `Tensor.shape`
dtype = np.dtype  # the type of dtypes, on most backends
strided, contiguous_format, preserve_format = "strided", "contiguous_format", "preserve_format"


# Tensors


def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor."""
    return isinstance(obj, Variable)


def is_floating_point(x: "Tensor") -> bool:
    """Whether the tensor has a floating dtype."""
    return is_floating(x._array.dtype)


def is_complex(x: "Tensor") -> bool:
    """False: tensors hold real numbers."""
    return False


def is_nonzero(x: "Tensor") -> bool:
    """Whether the one element of the tensor is not zero."""
    return bool(x)


def is_cpu(x: "Tensor") -> bool:
    """Whether the tensor is on the host."""
    return x._backend.device_type == "cpu"


def clone(x: "Tensor", *, memory_format: Any = None) -> "Tensor":
    """A copy of the tensor; gradients flow through it."""
    return x.clone()


def detach(x: "Tensor") -> "Tensor":
    """The tensor outside the graph, with the same memory."""
    return x.detach()


def itself(x: "Tensor", *_: Any) -> "Tensor":
    """The tensor itself: where its memory is makes no difference here."""
    return x


def bfloat16(x: "Tensor") -> "Tensor":
    """Raises TypeError: no backend has bfloat16."""
    return x.to("bfloat16")


# Dtypes


def finfo(dtype: Any = None) -> Any:
    """NumPy's description of a floating dtype: its `eps`, `min`, `max`, `tiny`.

    >>> from tinytorch import finfo, float32
    >>> float(finfo(float32).max) > 1e38
    True
    """
    return np.finfo(host_dtype(get_default_dtype() if dtype is None else dtype))


def iinfo(dtype: Any) -> Any:
    """NumPy's description of an integer dtype: its `min` and `max`."""
    return np.iinfo(host_dtype(dtype))


def can_cast(from_: Any, to: Any) -> bool:
    """Whether a dtype is cast to another in place: not from floats to integers to booleans."""
    kinds = [host_dtype(value).kind.replace("u", "i") for value in (from_, to)]
    return "bif".index(kinds[0]) <= "bif".index(kinds[1])


def typename(obj: Any) -> str:
    """The name of an object's type; for tensors that of PyTorch, such as torch.FloatTensor."""
    if isinstance(obj, Variable):
        name: str = obj.type()  # type: ignore[attr-defined]
        return name
    return f"{type(obj).__module__}.{type(obj).__qualname__}"


def _constructor(name: str, dtype: str) -> Callable[..., "Tensor"]:
    def create(*data: Any, device: Any = None) -> "Tensor":
        if data and all(isinstance(size, int) for size in data):
            return zeros(*data, dtype=dtype, device=device)
        return tensor(*(data or ([],)), dtype=dtype, device=device)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"A {dtype} tensor of values, ``{name}([1, 2])``, or of zeros, by its sizes."
    return create


FloatTensor = _constructor("FloatTensor", "float32")
DoubleTensor = _constructor("DoubleTensor", "float64")
HalfTensor = _constructor("HalfTensor", "float16")
LongTensor = _constructor("LongTensor", "int64")
IntTensor = _constructor("IntTensor", "int32")
ShortTensor = _constructor("ShortTensor", "int16")
BoolTensor = _constructor("BoolTensor", "bool")
ByteTensor = _constructor("ByteTensor", "uint8")

# The process


def set_default_device(new: Any) -> None:
    """Set the device of new tensors in this thread; None for the default backend's.

    >>> from tinytorch import set_default_device, zeros
    >>> set_default_device("cpu")
    >>> zeros(1).device
    device(type='cpu')
    >>> set_default_device(None)
    """
    if new is not None:
        get(device(new))  # raises an error now if it cannot be used
    device.current.chosen = None if new is None else device(new)


def get_default_device() -> Any:
    """The device of new tensors."""
    return device_of(get(None))


def set_default_tensor_type(t: Any) -> None:
    """Set the default dtype by the name of a class of tensors, such as torch.DoubleTensor."""
    name = t if isinstance(t, str) else t.__name__
    set_default_dtype(name.rpartition(".")[2].removesuffix("Tensor").lower())


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed: by NumPy's rules, with PyTorch's names of the settings.

    Args:
        precision: the number of digits after the point.
        threshold: the number of elements from which on a tensor is abbreviated.
        edgeitems: the number of elements at both ends of an abbreviated axis.
        linewidth: the number of characters on a line.
        profile: "default" to reset all settings, "short" for two digits, "full" to show all.
        sci_mode: without effect if True; False suppresses exponents.
    """
    profiles: dict[Any, dict[str, Any]] = {
        "default": {"threshold": 1000},
        "short": {"threshold": 1000, "precision": 2},
        "full": {"threshold": 2**62},
    }
    if profile is not None:
        if profile not in profiles:
            raise ValueError(f"profile must be 'default', 'short' or 'full', not {profile!r}")
        print_options.clear()
        print_options.update(profiles[profile])
    if sci_mode is not None:
        print_options["suppress_small"] = not sci_mode
    given = {
        "precision": precision, "threshold": threshold, "edgeitems": edgeitems,
        "max_line_width": linewidth,
    }  # fmt: skip
    limits = {name: value for name, value in given.items() if value is not None}
    for name, value in limits.items():
        print_options[name] = int(value) if value != inf else 2**62


def compile(model: Any = None, **options: Any) -> Any:
    """The model or function itself: without effect, since the kernels of ops are compiled already.

    As a decorator, it may have arguments: ``@compile(mode="max-autotune")``.
    """
    if not options.get("disable"):
        warn("compile() has no effect in tinytorch: the model runs as it is written")
    return (lambda function: function) if model is None else model


_precision = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Accepted without effect: the precision of products on a GPU is set by TT_MATMUL."""
    global _precision
    if precision not in ("highest", "high", "medium"):
        raise ValueError(f"precision must be 'highest', 'high' or 'medium', not {precision!r}")
    _precision = precision


def get_float32_matmul_precision() -> str:
    """The last value of `set_float32_matmul_precision`."""
    return _precision


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Without effect: the same seed gives the same numbers on a backend anyway."""


def are_deterministic_algorithms_enabled() -> bool:
    """True: see `use_deterministic_algorithms`."""
    return True


def set_num_threads(number: int) -> None:
    """Accepted with a warning: the number is that of the environment variable OMP_NUM_THREADS."""
    if check_integer("set_num_threads: number", number, least=1) != get_num_threads():
        warn("set_num_threads() has no effect; set the environment variable OMP_NUM_THREADS")


def get_num_threads() -> int:
    """The number of threads of the numpy backend's kernels."""
    from ..backends.numpy.threads import num_threads

    return num_threads()
