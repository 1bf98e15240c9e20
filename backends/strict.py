"""array-api-strict on a fake device: code that runs here uses only the array API standard.

Arrays are on "device1", which NumPy cannot read. A creation function without a device, a function
outside the standard and any mix of host and device arrays raise an error. It is slow and meant for
tests: it detects on any machine what would fail with CuPy on a GPU.
"""

from functools import partial
from typing import Any

import numpy as np

from .base import Backend, BackendError, NativeArray, host_array
from .numpy.backend import NumpyBackend
from .random_bits import random_bits


class StrictBackend(Backend):
    """array-api-strict, with the extras that the standard lacks computed by NumPy."""

    name = "strict"

    def __init__(self) -> None:
        strict = self._standard()
        self.array_type: Any = type(strict.zeros(1))
        self.device = strict.Device("device1")
        self._strict = strict
        extras = {name: self._extra(name) for name in self.EXTRAS}
        extras["random_bits"] = partial(random_bits, strict, device=self.device)
        self.xp = self.namespace(strict, self.device, linalg=strict.linalg, **extras)

    def _standard(self) -> Any:
        try:
            import array_api_strict
        except ImportError:
            raise BackendError(
                "the strict backend needs array-api-strict: pip install array-api-strict"
            ) from None
        return array_api_strict

    def _extra(self, name: str) -> Any:
        """Wrap NumPy's implementation of an extra for arrays on the device."""
        function = getattr(NumpyBackend, name)

        def extra(*arguments: Any, **keywords: Any) -> Any:
            result = function(*(self._unwrap(a) for a in arguments), **keywords)
            if name in ("index_add", "index_set"):
                return arguments[0]
            return result if name == "storage" else self._wrap(result)

        return extra

    def _unwrap(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(self._unwrap(v) for v in value)
        if isinstance(value, np.ndarray):
            raise BackendError(
                "expected an array on the strict backend's device, got a NumPy array; "
                "move it with backend.asarray"
            )
        is_ours = isinstance(value, self.array_type)
        return value._array if is_ours else value

    def _wrap(self, array: Any) -> NativeArray:
        # array_api_strict has no public function that wraps memory without a copy.
        return self.array_type._new(np.asarray(array), device=self.device)

    def asarray(self, data: Any, dtype: Any = None) -> NativeArray:
        if isinstance(data, self.array_type):
            return self._strict.asarray(data, dtype=dtype, device=self.device, copy=True)
        return self._wrap(host_array(data, None if dtype is None else dtype._np_dtype))

    def is_writable(self, array: NativeArray) -> bool:
        return bool(self._unwrap(array).flags.writeable)

    def to_numpy(self, array: NativeArray) -> np.ndarray[Any, Any]:
        return np.array(self._unwrap(array))  # a copy, as from any device
