"""Splitting and merging of attention heads on CUDA, see heads.cu."""

from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .launch import MAX_GRID_YZ, WARPS, launch, launch_rows
from .layout import contiguous, with_strides

KERNELS = KernelTable()


@KERNELS.forward
def split_heads(xp: Namespace, qkv: Array, *, num_heads: int) -> Any:
    B, T, _ = qkv.shape
    heads = qkv.reshape(B, T, 3, num_heads, -1)  # views of it: (B, nh, T, hs)
    return tuple(heads[:, :, part].transpose(0, 2, 1, 3) for part in range(3)), (qkv.shape,)


@KERNELS.gradient(split_heads)
def split_heads_gradient(xp: Namespace, gs: Any, shape: tuple[int, int, int]) -> Any:
    some = next(g for g in gs if g is not None)
    B, nh, T, hs = some.shape
    if _side_by_side(gs, (B, T, 3, nh, hs)):
        return some.base.reshape(shape)
    qkv = cupy.empty(shape, some.dtype)
    given = [part for g in gs for part in with_strides(g)]
    if qkv.size:
        grid = (-(-T // WARPS), 3 * nh, min(B, MAX_GRID_YZ))
        launch("split_heads_gradient", some.dtype, grid, (32, WARPS), *given, qkv, B, T, nh, hs)
    return qkv


def _side_by_side(gs: Any, shape: tuple[int, ...]) -> bool:
    """Whether the gradients are the parts of one array (B, T, 3, nh, hs)."""
    owner = None if gs[0] is None else gs[0].base
    if owner is None or owner.shape != shape or not owner.flags.c_contiguous:
        return False
    parts = (owner[:, :, part].transpose(0, 2, 1, 3) for part in range(3))
    return all(
        g is not None and g.data.ptr == part.data.ptr and g.strides == part.strides
        for g, part in zip(gs, parts, strict=True)
    )


@KERNELS.forward
def merge_heads(xp: Namespace, y: Array) -> Any:
    B, nh, T, hs = y.shape
    merged = y.transpose(0, 2, 1, 3)
    if not merged.flags.c_contiguous:
        merged = _swap_middle(y, B, nh, T, hs)
    return merged.reshape(B, T, nh * hs), (y.shape,)


@KERNELS.gradient(merge_heads)
def merge_heads_gradient(xp: Namespace, g: Array, shape: tuple[int, int, int, int]) -> Any:
    B, nh, T, hs = shape
    return g.reshape(B, T, nh, hs).transpose(0, 2, 1, 3)  # a view: (B, nh, T, hs)


def _swap_middle(x: Array, A: int, N: int, M: int, size: int) -> Array:
    """x (A, N, M, size) -> (A, M, N, size)."""
    y = cupy.empty((A, M, N, size), x.dtype)
    launch_rows("merge_heads", x, A * N * M, contiguous(x), y, A, N, M, size)
    return y
