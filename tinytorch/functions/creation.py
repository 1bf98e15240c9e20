"""Create tensors."""

from typing import TYPE_CHECKING, Any

from ..arguments import check_shape
from ..autograd import Variable, wrap_array
from ..backends import Backend, get
from ..ops.dtypes import resolve_dtype

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["from_dlpack", "ones", "zeros"]


def zeros(*shape: Any, dtype: Any = "float32", backend: Any = None, **keywords: Any) -> "Tensor":
    """A tensor of zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``."""
    return _filled("zeros", shape, dtype, backend, **keywords)


def ones(*shape: Any, dtype: Any = "float32", backend: Any = None, **keywords: Any) -> "Tensor":
    """A tensor of ones: ``ones(2, 3)`` or ``ones((2, 3))``."""
    return _filled("ones", shape, dtype, backend, **keywords)


def _filled(
    name: str, shape: tuple[Any, ...], dtype: Any, backend: Any, requires_grad: bool = False
) -> "Tensor":
    backend, sizes = get(backend), check_shape(shape)
    if min(sizes, default=0) < 0:
        raise ValueError(f"{name}{sizes}: a size cannot be negative")
    array = getattr(backend.xp, name)(sizes, dtype=resolve_dtype(dtype, backend))
    result = wrap_array(Variable._result_class, array, backend)
    result.requires_grad = requires_grad
    return result


def from_dlpack(source: Any, backend: str | Backend | None = None) -> "Tensor":
    """A tensor that shares the memory of another library's array, through DLPack.

    Args:
        source: an object with ``__dlpack__`` on the device of `backend`.
        backend: the backend of the tensor; the default backend if None.
    """
    backend = get(backend)
    return wrap_array(Variable._result_class, backend.xp.from_dlpack(source), backend)
