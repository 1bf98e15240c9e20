"""The CuPy backend: arrays on a CUDA GPU.

Work is queued on the device asynchronously: nothing in a training step waits for a result. Batches
are copied through pinned memory, so the next one is copied while this one trains; only `to_numpy`
and `synchronize` wait.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ..base import Backend, BackendError, LossScaler, Namespace, Row, host_array
from ..base import NativeArray as Array
from ..groups import Group, MPIGroup
from ..indices import is_basic

_INSTALL = 'pip install "cupy-cuda12x[ctk]", or cupy-cuda13x[ctk] if nvidia-smi shows CUDA 13'


def _probe(index: int | None) -> Any:
    """Import CuPy, and check it by running a kernel and a product: the driver may be missing.

    Args:
        index: number of the GPU to run them on, by default CuPy's current device.
    """
    try:
        import cupy
    except ImportError as error:
        raise BackendError(
            f"the cupy backend needs CuPy, which cannot be imported ({error}): {_INSTALL};"
            " or set TT_BACKEND=numpy"
        ) from None
    try:
        if not cupy.is_available():
            raise BackendError(
                "the cupy backend needs a CUDA GPU, and CuPy finds none here: check nvidia-smi"
                " and the driver, or set TT_BACKEND=numpy"
            )
        if index is not None:
            from .devices import choose

            choose(index)
        x = cupy.ones((2, 2), dtype=cupy.float32)
        if float(((x + 1) @ x).sum()) != 16.0:
            raise BackendError("the cupy backend computed 2x2 products wrongly on this GPU")
        if cupy.cuda.runtime.is_hip:
            raise BackendError(
                "the cupy backend needs an NVIDIA GPU: this CuPy is built for AMD's ROCm, where a"
                " warp may have 64 lanes, and the kernels assume 32; set TT_BACKEND=numpy"
            )
    except BackendError:
        raise
    except Exception as error:  # errors of CUDA, NVRTC and cuBLAS have no common base class
        raise BackendError(
            f"the cupy backend: CuPy is installed but cannot use the GPU ({type(error).__name__}:"
            f" {error}): check that nvidia-smi runs, that pip list shows only one CuPy, and that it"
            f" matches the driver ({_INSTALL}); or set TT_BACKEND=numpy"
        ) from error
    return cupy


class CupyBackend(Backend):
    """CuPy on one CUDA device, see `devices`, with the kernels of `cuda/`.

    Args:
        index: number of the device, by default CuPy's current one.

    Attributes:
        matmul: precision of float32 matrix products on the current device, see
            `gemm.matmul_mode`.
    """

    name = "cupy"
    device_type = "cuda"

    def __init__(self, index: int | None = None) -> None:
        self._cupy = _probe(index)
        import array_api_compat.cupy as standard

        from . import (
            decode_step,
            decoder,
            devices,
            elementwise,
            embedding,
            errors,
            gemm,
            graph,
            kernels,
            loss_scaler,
            optim,
            random_bits,
            sampling,
            seeds,
        )

        self._devices, self._errors, self._graph = devices, errors, graph
        self.graphed = graph.GraphedCallable
        self.kernels, self._updates = kernels.KERNELS, optim.UPDATES
        self._write_update, self.clip_factor = optim.write_update, optim.clip_factor
        self._loss_scaler = loss_scaler.CupyLossScaler
        self._warn_if_unscaled = loss_scaler.warn_if_unused
        self.decode_step, self.decoder = decode_step.CupyDecodeStep, decoder.CupyDecoder
        self._draw, self.sample = sampling.sample, self._sample
        self._gemm, self._seeds = gemm, seeds
        gemm.matmul_mode()  # raises if TT_MATMUL is wrong
        self.array_type = self._cupy.ndarray
        self._xp = self.namespace(
            standard,
            random_bits=random_bits.random_bits,
            segment_sum=embedding.segment_sum,
            add=elementwise.add_arrays,
            # Methods, because the wrappers in array_api_compat take longer than the work itself.
            reshape=lambda x, shape: x.reshape(shape),
            permute_dims=lambda x, axes: x.transpose(axes),
        )

    @property
    def xp(self) -> Namespace:  # type: ignore[override]
        """Used by every op, so that each thread computes on the GPU of the process."""
        self._devices.prepare_thread()
        return self._xp

    @property
    def updates(self) -> Mapping[str, Callable[..., list[Row]]]:  # type: ignore[override]
        self._devices.prepare_thread()
        if self.matmul == "fp16":
            self._warn_if_unscaled()
        return self._updates

    @property
    def device_index(self) -> int:  # type: ignore[override]
        self._devices.prepare_thread()
        return int(self._cupy.cuda.runtime.getDevice())

    def device_count(self) -> int:
        return self._devices.count()

    def on_device(self, index: int) -> "CupyBackend":
        self._devices.choose(index)
        return self

    @property
    def matmul(self) -> str:
        return self._gemm.matmul_mode()

    @property
    def loss_scaler(self) -> Callable[[], LossScaler] | None:  # type: ignore[override]
        return self._loss_scaler if self.matmul == "fp16" else None

    def __str__(self) -> str:
        properties = self._cupy.cuda.runtime.getDeviceProperties(self.device_index)
        return f"cupy on {properties['name'].decode()}, products in {self.matmul}"

    def asarray(self, data: Any, dtype: Any = None) -> Array:
        self._devices.prepare_thread()
        if isinstance(data, self._cupy.ndarray):
            return self._cupy.array(data, dtype=dtype)
        if self._graph.is_capturing():
            raise BackendError("a captured step cannot copy data from the host")
        return self._cupy.asarray(host_array(data, dtype))

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        self._devices.prepare_thread()
        host: np.ndarray[Any, Any] = self._cupy.asnumpy(array)
        self._errors.raise_pending_error()
        return host

    def synchronize(self) -> None:
        self._devices.prepare_thread()
        self._cupy.cuda.get_current_stream().synchronize()
        self._errors.raise_pending_error()

    def memory(self) -> dict[str, int]:
        pool = self._cupy.get_default_memory_pool()
        captured = self._graph.reserved()
        return {
            "used": pool.used_bytes() + captured, "reserved": pool.total_bytes() + captured
        }  # fmt: skip

    def set_row_offset(self, first: int) -> None:
        self._seeds.set_row_offset(first)

    def group(self, host: MPIGroup) -> Group:
        from .nccl import NCCLGroup

        return NCCLGroup(host)

    def full_precision(self) -> AbstractContextManager[None]:
        return self._gemm.full_precision()

    def _sample(
        self, logits: Array, temperature: float, uniforms: Any, *limits: Any
    ) -> np.ndarray[Any, Any]:
        self._devices.prepare_thread()
        given = None if uniforms is None else self._cupy.asarray(uniforms)
        return self.to_numpy(self._draw(logits, temperature, given, *limits))

    def write_update(self, array: Array, update: Array) -> Array:
        return self._write_update(array, update)

    @staticmethod
    def index(x: Array, key: Any) -> Array:
        _check(x, key)
        return x[key]

    @staticmethod
    def index_add(x: Array, key: Any, values: Array) -> Array:
        import cupy

        from . import indexing

        _check(x, key)
        if is_basic(key):
            x[key] += values
        elif indexing.is_supported(x):
            indexing.add_at(x, key, values)
        else:  # integers: their sums do not depend on the order
            cupy.add.at(x, key, values)
        return x

    @staticmethod
    def index_set(x: Array, key: Any, values: Any) -> Array:
        _check(x, key)
        x[key] = values
        return x

    @staticmethod
    def take_rows(x: Array, indices: Array) -> Array:
        from . import indexing

        indexing.check_ids(indices, 0, len(x))
        return x.take(indices, axis=0)

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
    def storage(x: Array) -> object:
        while x.base is not None:
            x = x.base
        return x


def _check(x: Array, key: Any) -> None:
    if not is_basic(key):
        from . import indexing

        indexing.check_key(x, key)
