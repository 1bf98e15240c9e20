"""The NumPy backend: arrays in host memory."""

import ctypes
import sys
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import array_api_compat.numpy
import numpy as np

from ..base import Backend, NativeArray, host_array
from ..base import NumpyArray as Array
from ..groups import Group, MPIGroup
from ..indices import as_index, check_ids, is_basic
from ..random_bits import random_bits
from . import narrow
from .kernels import DECODE_STEP, KERNELS, UPDATES
from .threads import (
    Concurrent,
    Joint,
    limit_blas_threads,
    num_threads,
    parallel_for_each,
    single_threaded,
)

_STANDARD: Any = array_api_compat.numpy
MAX_PROCESSES = 8  # with more, reducing the gradients would take most of the time


def keep_freed_memory() -> None:
    """Make glibc's malloc keep freed memory instead of returning it to the operating system.

    A training step frees and allocates the same large temporaries again and again. Mapping them
    again costs one page fault per 4 KiB, a quarter of the time of a step. Does nothing without
    glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mmap_threshold, trim_threshold, one_gibibyte = -3, -1, 2**30  # from glibc's malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(mmap_threshold, one_gibibyte)
        mallopt(trim_threshold, one_gibibyte)


class NumpyBackend(Backend):
    """NumPy, with the kernels of `kernels.py`."""

    name = "numpy"
    array_type = np.ndarray

    def __init__(self) -> None:
        keep_freed_memory()
        limit_blas_threads()
        self.kernels, self.updates = KERNELS, UPDATES
        self.decode_step = DECODE_STEP
        if sys.platform.startswith("linux"):  # elsewhere fork is missing or unsafe
            self.processes = min(num_threads(), MAX_PROCESSES)
        self.xp = self.namespace(
            _STANDARD,
            random_bits=partial(random_bits, _STANDARD),
            # Methods, because NumPy's functions of these names first look up overrides, which takes
            # longer than the work itself.
            reshape=lambda x, shape: x.reshape(shape),
            permute_dims=lambda x, axes: x.transpose(axes),
            **(narrow.overrides(_STANDARD) if narrow.IS_NARROW else {}),
        )

    def asarray(self, data: Any, dtype: Any = None) -> Array:
        return host_array(data, dtype)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return np.asarray(array)

    def single_threaded(self) -> AbstractContextManager[None]:
        return single_threaded()

    def group(self, host: MPIGroup) -> Group:
        return host

    def before_fork(self) -> None:
        if self.kernels:
            from . import compiled  # a blank package has none

            compiled.load()

    def set_row_offset(self, first: int) -> None:
        self.xp.random_bits = partial(random_bits, _STANDARD, first_row=first)

    def evaluate(self, values: list[Any]) -> list[NativeArray]:
        if sum(callable(value) for value in values) < 2:
            return super().evaluate(values)
        joint = [value for value in values if isinstance(value, Joint)]
        if len(joint) > 1:
            found = iter(joint[0].compute_all(joint))
            values = [next(found) if isinstance(v, Joint) else v for v in values]
        if sum(isinstance(value, Concurrent) for value in values) < 2:
            return super().evaluate(values)
        results = list(values)

        def work(i: int) -> None:
            results[i] = values[i]() if callable(values[i]) else values[i]

        parallel_for_each(work, range(len(values)))
        return results

    @staticmethod
    def index(x: Array, key: Any) -> NativeArray:
        result = x[key]
        if isinstance(result, np.generic):  # one element: return a view of it, as for slices
            result = x[(*key, ...) if isinstance(key, tuple) else (key, ...)]
        return result

    @staticmethod
    def index_add(x: Array, key: Any, values: Array) -> Array:
        if is_basic(key):
            x[key] += values
        else:
            np.add.at(x, key, values)
        return x

    @staticmethod
    def index_set(x: Array, key: Any, values: Any) -> Array:
        x[key] = values
        return x

    @staticmethod
    def take_rows(x: Array, indices: Array) -> Array:
        check_ids(indices, len(x))
        return np.take(x, as_index(indices), axis=0)

    @staticmethod
    def segment_sum(values: Array, ids: Array, rows: int) -> Array:
        # With few rows, a product with the one-hot matrix (rows, n) is far faster than sorting.
        if rows <= 256:
            one_hot = np.equal(np.arange(rows)[:, None], ids).astype(values.dtype)
            return one_hot @ values
        out = np.zeros((rows, values.shape[1]), values.dtype)
        if ids.size:
            order = np.argsort(ids, kind="stable")
            present, starts = np.unique(ids[order], return_index=True)
            out[present] = np.add.reduceat(values[order], starts, axis=0)
        return out

    @staticmethod
    def put_along_axis(x: Array, indices: Array, values: Any, axis: int) -> Array:
        out = x.copy()
        np.put_along_axis(out, indices, values, axis)
        return out

    @staticmethod
    def pad(x: Array, widths: Any, value: float = 0.0) -> Array:
        return np.pad(x, widths, constant_values=value)

    @staticmethod
    def storage(x: Array) -> object:
        while (base := x.base) is not None and isinstance(base, np.ndarray):
            x = base
        return x
