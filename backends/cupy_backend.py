"""The CuPy backend: arrays on a CUDA GPU. No other file may import CuPy.

Not yet run on a GPU: the probe and its errors are tested, the rest is not.
"""

from functools import partial
from typing import Any

import numpy as np

from .base import Array, Backend, BackendError, host_array
from .hashing import random_bits
from .numpy_backend import is_basic

_INSTALL = "pip install cupy-cuda12x (or cupy-cuda13x, as the driver needs)"


def _probe() -> Any:
    """CuPy, after a kernel and a product have run; an installed CuPy may lack a driver."""
    try:
        import cupy
    except ImportError as error:
        raise BackendError(
            f"the cupy backend needs CuPy, which cannot be imported ({error}); {_INSTALL},"
            " or set TT_BACKEND=numpy"
        ) from None
    try:
        if not cupy.is_available():
            raise BackendError(
                "the cupy backend needs a CUDA GPU, and CuPy finds none here: check nvidia-smi"
                " and the driver, or set TT_BACKEND=numpy"
            )
        x = cupy.ones((2, 2), dtype=cupy.float32)
        if float(((x + 1) @ x).sum()) != 16.0:
            raise BackendError("the cupy backend computed 2x2 products wrongly on this GPU")
    except BackendError:
        raise
    except Exception as error:  # whatever CUDA, NVRTC or cuBLAS says, one sentence names it
        raise BackendError(
            f"CuPy is installed but cannot use the GPU ({type(error).__name__}: {error});"
            f" check nvidia-smi and the CUDA libraries, {_INSTALL}, or set TT_BACKEND=numpy"
        ) from error
    return cupy


class CupyBackend(Backend):
    """CuPy on the current CUDA device."""

    name = "cupy"

    def __init__(self) -> None:
        self._cupy = _probe()
        import array_api_compat.cupy as standard

        self.array_type = self._cupy.ndarray
        self.xp = self.namespace(standard, random_bits=partial(random_bits, standard))

    def asarray(self, data: Any, dtype: Any = None) -> Array:
        if isinstance(data, self._cupy.ndarray):
            return self._cupy.array(data, dtype=dtype)
        return self._cupy.asarray(host_array(data, dtype))

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        host: np.ndarray[Any, Any] = self._cupy.asnumpy(array)
        return host

    def synchronize(self) -> None:
        self._cupy.cuda.get_current_stream().synchronize()

    def memory(self) -> dict[str, int]:
        pool = self._cupy.get_default_memory_pool()
        return {"used": pool.used_bytes(), "reserved": pool.total_bytes()}

    @staticmethod
    def index(x: Array, key: Any) -> Array:
        return x[key]

    @staticmethod
    def index_add(x: Array, key: Any, values: Array) -> Array:
        import cupy

        if is_basic(key):
            x[key] += values
        else:
            cupy.add.at(x, key, values)
        return x

    @staticmethod
    def index_set(x: Array, key: Any, values: Any) -> Array:
        x[key] = values
        return x

    @staticmethod
    def take_rows(x: Array, indices: Array) -> Array:
        return x.take(indices, axis=0)

    @staticmethod
    def scatter_add(rows: int, indices: Array, values: Array) -> Array:
        import cupy

        out = cupy.zeros((rows, values.shape[1]), values.dtype)
        cupy.add.at(out, indices, values)
        return out

    @staticmethod
    def put_along_axis(x: Array, indices: Array, values: Any, axis: int) -> Array:
        import cupy

        out = x.copy()
        cupy.put_along_axis(out, indices, values, axis)
        return out

    @staticmethod
    def pad(x: Array, widths: Any, value: float = 0.0) -> Array:
        import cupy

        return cupy.pad(x, widths, constant_values=value)

    @staticmethod
    def owner(x: Array) -> object:
        return x if x.base is None else x.base
