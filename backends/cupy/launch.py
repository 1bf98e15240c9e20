"""Launch the kernels in `cuda/`, which are compiled once for each dtype, with checked arguments."""

import functools
from typing import Any

import cupy
from cupy.cuda import runtime

from ..base import NativeArray as Array
from .cuda_source import check_arguments, source
from .graph import keep_alive

THREADS = 256  # in a block
WARPS = THREADS // 32
ITEMS_PER_THREAD = 2  # packs of 16 bytes, as in common.cuh
MAX_GRID_YZ = 2**16 - 1  # CUDA's limit on the second and third dimension of a grid
MAX_BLOCKS = 2**20  # larger arrays are processed by grid-stride loops

launches = 0  # kernels launched so far, for tests


@functools.cache
def _module(dtype: str, head_dim: int | None, precision: str, device: int) -> Any:
    """The compiled translation unit, see `cuda_source.source`; CuPy caches the code on disk."""
    return cupy.RawModule(code=source(dtype, head_dim, precision), options=("--std=c++17",))


@functools.cache
def _function(name: str, dtype: Any, head_dim: int | None, precision: str, device: int) -> Any:
    return _module(str(dtype), head_dim, precision, device).get_function(name)


def launch(
    name: str,
    dtype: Any,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    *arguments: Any,
    head_dim: int | None = None,
    precision: str = "tf32",
) -> None:
    """Launch kernel `name` asynchronously.

    Args:
        dtype: of the kernel's T.
        grid: number of blocks in each dimension; if one is 0, which CUDA refuses, nothing is done.
        block: number of threads in each dimension.
        arguments: arrays, numbers, or None for a null pointer, see `cuda_source.check_arguments`.
        head_dim: for the kernels of attention.cu, which are compiled for each head size.
        precision: of the factors of their products, see `cuda_source.source`.
    """
    global launches
    if 0 in grid:
        return
    launches += 1
    keep_alive(arguments)
    checked = check_arguments(name, dtype, arguments)
    _function(name, dtype, head_dim, precision, runtime.getDevice())(grid, block, tuple(checked))


def launch_elementwise(name: str, like: Array, *arguments: Any, count: int | None = None) -> None:
    """Launch a kernel with one thread for each of `count` elements, by default those of `like`."""
    count = like.size if count is None else count
    if count:
        blocks = min(MAX_BLOCKS, -(-count // THREADS))
        launch(name, like.dtype, (blocks,), (THREADS,), *arguments)


def launch_vectorized(name: str, like: Array, *arguments: Any) -> None:
    """Launch a kernel that calls `map_elements` of common.cuh on the elements of `like`."""
    if like.size:
        elements = ITEMS_PER_THREAD * THREADS * (16 // like.itemsize)  # in a block
        blocks = min(MAX_BLOCKS, -(-like.size // elements))
        launch(name, like.dtype, (blocks,), (THREADS,), *arguments)


def launch_rows(name: str, like: Array, rows: int, *arguments: Any) -> None:
    """Launch a kernel with one warp for each of `rows` rows, in the dtype of `like`."""
    if rows:
        blocks = min(MAX_BLOCKS, -(-rows // WARPS))
        launch(name, like.dtype, (blocks,), (32, WARPS), *arguments)
