"""Launches of the kernels in `cuda/`: compiled once for each dtype, arguments checked."""

import functools
from typing import Any

import cupy

from ..base import NativeArray as Array
from .cuda_source import check_arguments, source
from .graph import keep

THREADS = 256  # in a block
WARPS = THREADS // 32
AT_ONCE = 2  # packs of 16 bytes for a thread, as in common.cuh
MOST_BLOCKS = 2**16 - 1  # along the second and the third axis of a grid
MAX_BLOCKS = 2**20  # more rows or elements are taken in strides of the whole grid

launches = 0  # how many there were, for whoever counts them


@functools.cache
def _module(real: str, head: int | None) -> Any:
    """All kernels for one dtype, or those of attention; CuPy keeps the compiled code on disk."""
    return cupy.RawModule(code=source(real, head), options=("--std=c++17",))


@functools.cache
def _function(name: str, real: Any, head: int | None) -> Any:
    return _module(str(real), head).get_function(name)


def launch(
    name: str,
    real: Any,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    *arguments: Any,
    head: int | None = None,
) -> None:
    """Run kernel `name` for dtype `real`, see `cuda_source.source`; the host does not wait."""
    global launches
    launches += 1
    keep(arguments)
    checked = check_arguments(name, real, arguments)
    _function(name, real, head)(grid, block, tuple(checked))


def launch_elementwise(name: str, like: Array, *arguments: Any, count: int | None = None) -> None:
    """A kernel with a thread for each of `count` elements, by default those of `like`."""
    count = like.size if count is None else count
    if count:
        blocks = min(MAX_BLOCKS, -(-count // THREADS))
        launch(name, like.dtype, (blocks,), (THREADS,), *arguments)


def launch_vectorized(name: str, like: Array, *arguments: Any) -> None:
    """A kernel that uses `map_elements` of common.cuh, on the elements of `like`."""
    if like.size:
        elements = AT_ONCE * THREADS * (16 // like.itemsize)  # in a block
        blocks = min(MAX_BLOCKS, -(-like.size // elements))
        launch(name, like.dtype, (blocks,), (THREADS,), *arguments)


def launch_rows(name: str, like: Array, rows: int, *arguments: Any) -> None:
    """A kernel with a warp for each of `rows` rows, in the dtype of `like`."""
    if rows:
        blocks = min(MAX_BLOCKS, -(-rows // WARPS))
        launch(name, like.dtype, (blocks,), (32, WARPS), *arguments)
