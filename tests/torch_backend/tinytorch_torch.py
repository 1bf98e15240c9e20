"""PyTorch's tensors as arrays: ``TT_BACKEND=torch``, on the GPU of ``TT_TORCH_DEVICE``."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import array_api_compat.torch as standard
import numpy as np
import torch

from tinytorch.backends import Backend, BackendError
from tinytorch.backends.base import host_array
from tinytorch.backends.indices import check_ids, check_key, is_basic
from tinytorch.backends.random_bits import random_bits

_CREATION = (
    "arange",
    "asarray",
    "empty",
    "eye",
    "full",
    "linspace",
    "ones",
    "zeros",
    "from_dlpack",
)


_SHAPED = "reshape", "permute_dims", "concat", "stack"


class Size(int):
    """The number of elements, which can be called as PyTorch's method of the same name."""

    shape: torch.Size

    def __call__(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]


class Array(torch.Tensor):
    """A tensor of PyTorch with the attribute `size` of the standard; ops on it return the same."""

    @property
    def size(self) -> Size:  # type: ignore[override]
        size = Size(self.numel())
        size.shape = self.shape
        return size


def _shaped(function: Any) -> Any:
    """A function whose error for shapes that do not fit is a ValueError, as NumPy's."""

    def call(x: Any, *arguments: Any, **settings: Any) -> Any:
        if isinstance(x, tuple | list) and len({a.ndim for a in x}) > 1:
            raise ValueError("arrays of several ndim")  # PyTorch joins (0,) with everything
        try:
            return function(x, *arguments, **settings)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise ValueError(str(error)) from error

    return call


class TorchBackend(Backend):
    """PyTorch's tensors, without its autograd."""

    name = "torch"
    array_type = Array

    def __init__(self) -> None:
        self.device = _device(os.environ.get("TT_TORCH_DEVICE") or "cpu")
        self.device_type, self.device_index = self.device.type, self.device.index
        creation = {n: _created(getattr(standard, n), self.device) for n in _CREATION}
        shaped = {n: _shaped(getattr(standard, n)) for n in _SHAPED}
        self.xp = self.namespace(standard, where=_where, **shaped, **creation)
        self.xp.random_bits = partial(random_bits, self.xp, wide=True)

    def __str__(self) -> str:
        return f"torch {torch.__version__} on {self.device}"

    def asarray(self, data: Any, dtype: Any = None) -> torch.Tensor:
        if isinstance(data, torch.Tensor):
            return data.detach().to(self.device, dtype, copy=True).as_subclass(Array)
        # In the dtype at once: numbers of a list would be rounded to float32 first.
        name = None if dtype in (None, torch.bfloat16) else str(dtype).removeprefix("torch.")
        return torch.from_numpy(host_array(data, name)).to(self.device, dtype).as_subclass(Array)

    def to_numpy(self, array: torch.Tensor) -> np.ndarray[Any, Any]:
        return _host(array)

    @staticmethod
    def index(x: torch.Tensor, key: Any) -> torch.Tensor:
        key = _checked(x, key)
        return x.take(_positions(x, key)) if _is_reversed(key) else x[key]

    @staticmethod
    def index_add(x: torch.Tensor, key: Any, values: Any) -> torch.Tensor:
        key = _checked(x, key)
        if is_basic(key) and not _is_reversed(key):
            x[key] += values
            return x
        positions = _positions(x, key)
        values = torch.as_tensor(values, dtype=x.dtype, device=x.device)
        return x.put_(positions, values.expand(positions.shape), accumulate=True)

    @staticmethod
    def index_set(x: torch.Tensor, key: Any, values: Any) -> torch.Tensor:
        key = _checked(x, key)
        if _is_reversed(key):
            positions = _positions(x, key)
            values = torch.as_tensor(values, dtype=x.dtype, device=x.device)
            return x.put_(positions, values.expand(positions.shape))
        x[key] = values
        return x

    @staticmethod
    def take_rows(x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        check_ids(_host(indices), len(x))
        return x[indices]

    @staticmethod
    def segment_sum(values: torch.Tensor, ids: torch.Tensor, rows: int) -> torch.Tensor:
        return values.new_zeros((rows, values.shape[1])).index_add_(0, ids, values)

    @staticmethod
    def put_along_axis(x: torch.Tensor, indices: Any, values: Any, axis: int) -> torch.Tensor:
        return x.scatter(axis, indices, values)

    @staticmethod
    def pad(x: torch.Tensor, widths: Any, value: float = 0.0) -> torch.Tensor:
        flat = [n for pair in reversed(widths) for n in pair]
        return torch.nn.functional.pad(x, flat, value=value)

    def is_writable(self, array: torch.Tensor) -> bool:
        return not any(n > 1 and not s for n, s in zip(array.shape, array.stride(), strict=True))

    @staticmethod
    def storage(x: torch.Tensor) -> Any:
        return x if x._base is None else x._base


def _created(function: Callable[..., torch.Tensor], device: torch.device) -> Callable[..., Array]:
    """A function of the standard that creates arrays, on a device."""

    def create(*arguments: Any, **options: Any) -> Array:
        return function(*arguments, **{"device": device, **options}).as_subclass(Array)

    return create


def _where(condition: torch.Tensor, x: Any, y: Any) -> torch.Tensor:
    """`torch.where`, which rounds Python numbers to float32, with numbers of the other's dtype."""
    if not isinstance(x, torch.Tensor):
        x = torch.full((), x, dtype=y.dtype, device=y.device)
    if not isinstance(y, torch.Tensor):
        y = torch.full((), y, dtype=x.dtype, device=x.device)
    return standard.where(condition, x, y)


def _host(array: torch.Tensor) -> np.ndarray[Any, Any]:
    return array.cpu().numpy()


def _checked(x: torch.Tensor, key: Any) -> Any:
    """The key for a tensor; an index out of range would end the process on a GPU."""
    check_key(x.shape, key, _host)
    return _key(key)


def _key(key: Any) -> Any:
    """A NumPy key for a tensor, where uint8 arrays would be masks."""
    if isinstance(key, tuple):
        return tuple([_key(part) for part in key])
    if isinstance(key, torch.Tensor):
        return key if key.dtype == torch.bool else key.to(torch.int64)
    return key.item() if isinstance(key, np.generic) else key


def _is_reversed(key: Any) -> bool:
    """Whether the key has a slice with a negative step, which tensors do not support."""
    parts = key if isinstance(key, tuple) else (key,)
    return any(isinstance(p, slice) and p.step is not None and p.step < 0 for p in parts)


def _positions(x: torch.Tensor, key: Any) -> torch.Tensor:
    """The positions of the elements x[key] in row-major order."""
    positions = torch.arange(x.numel(), device=x.device).reshape(x.shape)
    if not _is_reversed(key):
        return positions[key]
    parts = key if isinstance(key, tuple) else (key,)
    host = [part.cpu().numpy() if isinstance(part, torch.Tensor) else part for part in parts]
    return torch.from_numpy(positions.cpu().numpy()[tuple(host)].copy()).to(x.device)


def _device(name: str) -> torch.device:
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BackendError(f"TT_TORCH_DEVICE={name:.60}: {error}") from None
