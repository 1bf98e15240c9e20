"""The GPU: its name, and the two rates from which floors are computed."""

import functools
import platform
import shutil
import subprocess
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np

from . import torch_side
from .modes import Mode, set_mode
from .settings import Row, Settings
from .timing import Step, array, device_seconds, timed


def head() -> dict[str, Any]:
    """Date, GPU and versions."""
    import cupy
    from cupy.cuda import device, runtime

    torch = torch_side.module()
    return {
        "device": runtime.getDeviceProperties(runtime.getDevice())["name"].decode(),
        "date": date.today().isoformat(),
        "compute capability": device.get_compute_capability(),
        "driver": _driver(),
        "CUDA of the driver": getattr(runtime, "driverGetVersion", lambda: None)(),
        "CUDA": runtime.runtimeGetVersion(),
        "CuPy": cupy.__version__,
        "PyTorch": torch.__version__ if torch else "not installed: its columns are left out",
        "NumPy": np.__version__,
        "Python": platform.python_version(),
    }


def _driver() -> str | None:
    """Version of the driver and the limit of the GPU's power, from nvidia-smi if it is there."""
    if (program := shutil.which("nvidia-smi")) is None:
        return None
    query = "--query-gpu=driver_version,power.limit"
    command = [program, query, "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return (done.stdout.strip().splitlines() or [None])[0]


@functools.cache
def copy_of(settings: Settings) -> tuple[Step, int]:
    """A copy that is too large for the cache, and the bytes that it reads and writes."""
    import cupy

    source = cupy.zeros(settings.copied, cupy.float32)
    target = cupy.empty_like(source)

    def copy() -> None:
        target[...] = source

    return copy, 2 * source.nbytes


def seconds_of(call: Step, settings: Settings) -> float:
    """Mean seconds of a call on the device; the call runs before, to compile its kernels."""
    timed(call, 2)
    return device_seconds(call, settings.calls, copy_of(settings)[0], settings.queued)


@functools.cache
def bandwidth(settings: Settings) -> float:
    """Bytes per second that a large copy reads and writes."""
    copy, size = copy_of(settings)
    return size / seconds_of(copy, settings)


@functools.cache
def product_rate(settings: Settings, mode: Mode) -> float:
    """FLOPs per second of one large product: TinyTorch's or, if that is faster, PyTorch's."""
    n = settings.product
    set_mode(mode)
    x, y = our_matrices(mode, (n, n), (n, n))
    calls: list[Step] = [lambda: our_product(x, y)]
    if torch := torch_side.module():
        left, right = torch_matrices(mode, (n, n), (n, n))
        calls.append(lambda: torch.matmul(left, right))
    return 2 * n**3 / min(seconds_of(call, settings) for call in calls)


def our_matrices(mode: Mode, *shapes: tuple[int, int]) -> Iterator[Any]:
    """Matrices in TinyTorch, in the dtype that the blocks' products have in the mode."""
    import cupy

    for shape in shapes:
        x = array(*shape)
        # The upper halves of their bits are bfloat16 numbers.
        yield (x.view(cupy.uint32) >> 16).astype(cupy.uint16) if mode.name == "bf16" else x


def our_product(x: Any, y: Any) -> Any:
    """x @ y as TinyTorch computes it for matrices of that dtype."""
    from tinytorch.backends.cupy import gemm

    return (gemm.gemm_bf16 if x.dtype == gemm.BFLOAT16 else gemm.gemm)(x, y)


def torch_matrices(mode: Mode, *shapes: tuple[int, int]) -> Iterator[Any]:
    """Matrices in PyTorch, in the dtype that its products have in the mode."""
    torch = torch_side.module()
    dtype = getattr(torch, mode.autocast or "float32")
    for shape in shapes:
        yield torch.randn(shape, device=torch_side.DEVICE, dtype=dtype)


def floor(settings: Settings, mode: Mode, size: float, flops: float = 0) -> float:
    """Seconds that so many bytes and FLOPs take at least, at the measured rates."""
    by_products = flops / product_rate(settings, mode) if flops else 0.0
    return max(size / bandwidth(settings), by_products)


def rates(settings: Settings) -> Iterator[Row]:
    """Rows of the two rates."""
    value = bandwidth(settings)
    yield Row("copy", value, [f"{value / 1e9:,.0f} GB/s"])
    for mode in settings.modes:
        value = product_rate(settings, mode)
        n = settings.product
        yield Row(f"product of {n} x {n}, {mode.name}", value, [f"{value / 1e12:,.1f} TFLOP/s"])
