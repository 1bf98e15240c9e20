"""`split_heads` and `merge_heads` on CUDA: views where possible, else copies by heads.cu."""

from typing import Any

import cupy

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from .launch import MAX_GRID_YZ, WARPS, launch, launch_rows
from .layout import contiguous, is_supported, with_strides

KERNELS = KernelTable()


@KERNELS.forward
def split_heads(xp: Namespace, qkv: Array, *, num_heads: int) -> Any:
    """qkv (B, T, 3 * nh * hs) -> q, k, v (B, nh, T, hs), views of it."""
    if not is_supported(qkv):
        return NotImplemented
    B, T, width = qkv.shape
    heads = qkv.reshape(B, T, 3, num_heads, width // (3 * num_heads))  # (B, T, 3, nh, hs)
    return tuple(heads[:, :, part].transpose(0, 2, 1, 3) for part in range(3)), (qkv.shape,)


@KERNELS.gradient(split_heads)
def split_heads_gradient(xp: Namespace, gs: Any, shape: tuple[int, int, int]) -> Any:
    some = next(g for g in gs if g is not None)
    B, nh, T, hs = some.shape
    if _are_parts_of_base(gs, (B, T, 3, nh, hs)):
        return some.base.reshape(shape)
    qkv = cupy.empty(shape, some.dtype)
    given = [argument for g in gs for argument in with_strides(g)]
    if qkv.size:
        grid = (-(-T // WARPS), 3 * nh, min(B, MAX_GRID_YZ))
        launch("split_heads_gradient", some.dtype, grid, (32, WARPS), *given, qkv, B, T, nh, hs)
    return qkv


def _are_parts_of_base(gs: Any, shape: tuple[int, ...]) -> bool:
    """True if the gradients are views of the three parts of one array (B, T, 3, nh, hs), as
    `split_heads` returns them, so that this array is already the result."""
    base = None if gs[0] is None else gs[0].base
    if base is None or base.shape != shape or not base.flags.c_contiguous:
        return False
    parts = (base[:, :, part].transpose(0, 2, 1, 3) for part in range(3))
    return all(
        g is not None and g.data.ptr == part.data.ptr and g.strides == part.strides
        for g, part in zip(gs, parts, strict=True)
    )


@KERNELS.forward
def merge_heads(xp: Namespace, y: Array) -> Any:
    """y (B, nh, T, hs) -> (B, T, nh * hs); a view if y has the layout of `attention`'s output."""
    if not is_supported(y):
        return NotImplemented
    B, nh, T, hs = y.shape
    merged = y.transpose(0, 2, 1, 3)  # (B, T, nh, hs)
    if not merged.flags.c_contiguous:
        merged = cupy.empty((B, T, nh, hs), y.dtype)
        launch_rows("merge_heads", y, B * nh * T, contiguous(y), merged, B, nh, T, hs)
    return merged.reshape(B, T, nh * hs), (y.shape,)


@KERNELS.gradient(merge_heads)
def merge_heads_gradient(xp: Namespace, g: Array, shape: tuple[int, int, int, int]) -> Any:
    B, nh, T, hs = shape
    return g.reshape(B, T, nh, hs).transpose(0, 2, 1, 3)  # a view: (B, nh, T, hs)
