"""The sublayers of a transformer block in mixed precision; the kernels are in mixed_precision.cu.

The residual stream, parameters, their gradients and all sums are float32. What a sublayer computes
between its products is bfloat16, stored as uint16, and stays within it: no tensor is bfloat16.
Weights are rounded in every forward, which takes little time beside the activations.
"""

from typing import Any

import cupy
import numpy as np

from ..base import KernelTable, Namespace
from ..base import NativeArray as Array
from . import gemm
from .attention import are_heads_supported, attend, attention_gradients
from .cuda_source import BFLOAT16
from .gemm import gemm_bf16
from .launch import MAX_BLOCKS, THREADS, WARPS, launch
from .layer_norm import MAX_BLOCKS as MAX_PARTS
from .layer_norm import MIN_ROWS
from .layout import as_rows
from .seeds import seed_arguments

KERNELS = KernelTable()

ACTIVATIONS = ("gelu", "squared_relu")
MAX_EMBED_DIM = 1024  # as in mixed_precision.cu
ONE = 0x3F80  # the bits of 1 in bfloat16


@KERNELS.forward
def residual_mlp(
    xp: Namespace,
    x: Array,
    norm_weight: Array,
    norm_bias: Array | None,
    fc_weight: Array,
    fc_bias: Array | None,
    proj_weight: Array,
    proj_bias: Array | None,
    *,
    eps: float,
    activation: str,
    dropout: tuple[float, Any],
) -> Any:
    """x + dropout(proj(activation(fc(norm(x))))): x (..., C) -> (..., C).

    Returns NotImplemented for arguments that the kernels do not support, and unless products are
    rounded to bfloat16.
    """
    C, H = x.shape[-1], len(fc_weight)
    parameters = norm_weight, norm_bias, fc_weight, fc_bias, proj_weight, proj_bias
    if (
        activation not in ACTIVATIONS
        or not _is_supported(x, dropout, C, H)
        or not _fit((x, *parameters), x.shape, (C,), (C,), (H, C), (H,), (C, H), (C,))
    ):
        return NotImplemented
    rows, norm_weight, norm_bias, fc_weight, fc_bias, proj_weight, proj_bias = map(
        _ready, (as_rows(x), *parameters)
    )
    h, mean, rstd = _norm(rows, norm_weight, norm_bias, eps)
    fc, proj = _rounded(fc_weight), _rounded(proj_weight)
    u = gemm_bf16(h, fc.T)  # (N, hidden), without the bias
    a = cupy.empty_like(u)
    _launch_rows(f"{activation}_bf16", len(u), u, fc_bias, a, *u.shape)
    y = _add_dropout(gemm_bf16(a, proj.T), proj_bias, rows, x.shape, dropout)
    saved = rows, norm_weight, mean, rstd, norm_bias is not None
    return y.reshape(x.shape), (*saved, h, u, fc_bias, a, fc, proj, activation, dropout)


@KERNELS.gradient(residual_mlp)
def residual_mlp_gradient(
    xp: Namespace,
    g: Array,
    rows: Array,
    norm_weight: Array,
    mean: Array,
    rstd: Array,
    has_bias: bool,
    h: Array,
    u: Array,
    fc_bias: Array | None,
    a: Array,
    fc: Array,
    proj: Array,
    activation: str,
    dropout: tuple[float, Any],
) -> Any:
    shape, g = g.shape, _ready(as_rows(g))
    dv = _dropout_gradient(g, shape, dropout)  # (N, C), of the projection's output
    du = gemm_bf16(dv, proj)  # (N, hidden)
    _launch_rows(f"{activation}_gradient_bf16", len(du), du, u, fc_bias, *du.shape)
    dh = gemm_bf16(du, fc)  # (N, C)
    dx, dweight, dbias = _norm_gradient(dh, g, rows, norm_weight, mean, rstd, has_bias)
    return (
        dx.reshape(shape),
        dweight,
        dbias,
        lambda: _weight_gradient(du, h),
        lambda: _bias_gradient(du),
        lambda: _weight_gradient(dv, a),
        lambda: _bias_gradient(dv),
    )


@KERNELS.forward
def residual_attention(
    xp: Namespace,
    x: Array,
    norm_weight: Array,
    norm_bias: Array | None,
    qkv_weight: Array,
    qkv_bias: Array | None,
    proj_weight: Array,
    proj_bias: Array | None,
    mask: Array | None = None,
    cos: Array | None = None,
    sin: Array | None = None,
    *,
    eps: float,
    num_heads: int,
    weights_dropout: tuple[float, Any],
    output_dropout: tuple[float, Any],
) -> Any:
    """x + dropout(proj(attention(qkv(norm(x))))): x (B, T, C) -> (B, T, C).

    Returns NotImplemented as `residual_mlp` does.
    """
    parameters = norm_weight, norm_bias, qkv_weight, qkv_bias, proj_weight, proj_bias, cos, sin
    if x.ndim != 3:
        return NotImplemented
    B, T, C = x.shape
    W, hs = 3 * C, C // num_heads
    shapes = (C,), (C,), (W, C), (W,), (C, C), (C,), (T, hs // 2), (T, hs // 2)
    if (
        not _is_supported(x, output_dropout, C, W)
        or not _fit((x, *parameters), x.shape, *shapes)
        or not are_heads_supported(B, num_heads, T, T, hs, mask)
        or weights_dropout[0] == 1
    ):
        return NotImplemented
    rows, norm_weight, norm_bias, qkv_weight, qkv_bias, proj_weight, proj_bias, cos, sin = map(
        _ready, (as_rows(x), *parameters)
    )
    h, mean, rstd = _norm(rows, norm_weight, norm_bias, eps)
    qkv, proj = _rounded(qkv_weight), _rounded(proj_weight)
    heads = gemm_bf16(h, qkv.T)  # (N, 3 C)
    if qkv_bias is not None:
        _launch_rows("add_bias_to_bf16", len(heads), heads, qkv_bias, *heads.shape)
    _rotate(heads, T, num_heads, cos, sin, 1)
    parts = heads.reshape(B, T, 3, num_heads, hs)
    q, k, v = (parts[:, :, part].transpose(0, 2, 1, 3) for part in range(3))  # (B, nh, T, hs)
    o, kept = attend(q, k, v, mask, *weights_dropout, "bf16")  # (B, T, nh, hs)
    o = o.reshape(-1, C)
    y = _add_dropout(gemm_bf16(o, proj.T), proj_bias, rows, x.shape, output_dropout)
    saved = rows, norm_weight, mean, rstd, norm_bias is not None
    return y.reshape(x.shape), (*saved, h, qkv, o, proj, cos, sin, output_dropout, kept)


@KERNELS.gradient(residual_attention)
def residual_attention_gradient(
    xp: Namespace,
    g: Array,
    rows: Array,
    norm_weight: Array,
    mean: Array,
    rstd: Array,
    has_bias: bool,
    h: Array,
    qkv: Array,
    o: Array,
    proj: Array,
    cos: Array | None,
    sin: Array | None,
    dropout: tuple[float, Any],
    kept: tuple[Any, ...],
) -> Any:
    shape, g = g.shape, _ready(as_rows(g))
    B, nh, T, hs = kept[0].shape
    dv = _dropout_gradient(g, shape, dropout)  # (N, C), of the projection's output
    do = gemm_bf16(dv, proj).reshape(B, T, nh, hs)
    dheads, *_ = attention_gradients(do.transpose(0, 2, 1, 3), *kept)  # (B, T, 3, nh, hs)
    dheads = dheads.reshape(B * T, -1)
    _rotate(dheads, T, nh, cos, sin, -1)
    dh = gemm_bf16(dheads, qkv)  # (N, C)
    dx, dweight, dbias = _norm_gradient(dh, g, rows, norm_weight, mean, rstd, has_bias)
    return (
        dx.reshape(shape),
        dweight,
        dbias,
        lambda: _weight_gradient(dheads, h),
        lambda: _bias_gradient(dheads),
        lambda: _weight_gradient(dv, o),
        lambda: _bias_gradient(dv),
        None,
        None,
        None,
    )


def _is_supported(x: Array, dropout: tuple[float, Any], C: int, hidden: int) -> bool:
    """True if products are rounded to bf16, and the kernels support the sizes of a sublayer."""
    return (
        gemm.precision() == "bf16"
        and x.ndim > 1
        and x.size > 0
        and C % 8 == hidden % 8 == 0
        and hidden > 0
        and C <= MAX_EMBED_DIM
        and dropout[0] < 1
    )


def _fit(arrays: tuple[Array | None, ...], *shapes: tuple[int, ...]) -> bool:
    """True if the arrays that are there are float32 and have these shapes."""
    return all(
        a is None or (getattr(a, "shape", None) == shape and a.dtype == np.float32)
        for a, shape in zip(arrays, shapes, strict=True)
    )


def _ready(x: Array | None) -> Any:
    """x itself if its elements are contiguous and start at a multiple of 16 bytes, else a copy."""
    if x is None or (x.flags.c_contiguous and x.data.ptr % 16 == 0):
        return x
    return cupy.array(x, order="C")


def _launch_rows(name: str, rows: int, *arguments: Any) -> None:
    """Launch a kernel with one warp for each of `rows` rows."""
    launch(name, BFLOAT16, (min(MAX_BLOCKS, -(-rows // WARPS)),), (32, WARPS), *arguments)


def _launch_eights(name: str, count: int, *arguments: Any) -> None:
    """Launch a kernel with one thread for 8 of `count` elements."""
    blocks = min(MAX_BLOCKS, -(-count // (8 * THREADS)))
    launch(name, BFLOAT16, (blocks,), (THREADS,), *arguments)


def _rounded(weight: Array) -> Array:
    """A float32 matrix as bfloat16."""
    y = cupy.empty(weight.shape, gemm.BFLOAT16)
    _launch_eights("to_bf16", y.size, weight, y, y.size)
    return y


def _norm(rows: Array, weight: Array, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """LayerNorm of rows (N, C) as bfloat16; the means and reciprocal deviations (N,)."""
    N, C = rows.shape
    y = cupy.empty(rows.shape, gemm.BFLOAT16)
    mean, rstd = cupy.empty(N, rows.dtype), cupy.empty(N, rows.dtype)
    _launch_rows("norm_to_bf16", N, rows, weight, bias, y, mean, rstd, N, C, eps)
    return y, mean, rstd


def _norm_gradient(
    dh: Array, g: Array, rows: Array, weight: Array, mean: Array, rstd: Array, has_bias: bool
) -> tuple[Array, Array, Array | None]:
    """g plus the gradient of the norm's input, and those of its weight and bias."""
    N, C = rows.shape
    dx = cupy.empty_like(rows)
    parts = max(1, min(MAX_PARTS, N // MIN_ROWS))
    partial = cupy.empty((parts, (1 + has_bias) * C), rows.dtype)
    launch(
        "norm_gradient_from_bf16", BFLOAT16, (parts,), (32, WARPS), dh, g, rows, weight, mean,
        rstd, dx, partial, N, C, int(has_bias),
    )  # fmt: skip
    total = cupy.empty(partial.shape[1], rows.dtype)
    blocks = -(-total.size // 128)  # a lane sums four columns
    launch("column_sums", rows.dtype, (blocks,), (32, 32), partial, total, *partial.shape)
    return (dx, total[:C], total[C:]) if has_bias else (dx, total, None)


def _dropout_arguments(dropout: tuple[float, Any], shape: tuple[int, ...]) -> tuple[Any, ...]:
    p, seed = dropout
    key = seed_arguments(seed, shape) if p else (None, 0, 0)
    return (*key, int(p * 2**32), 1 / (1 - p))


def _add_dropout(
    v: Array,
    bias: Array | None,
    rows: Array,
    shape: tuple[int, ...],
    dropout: tuple[float, Any],
) -> Array:
    """rows + dropout(v + bias), float32, whose rows are those of a batch of this shape."""
    y, (N, C) = cupy.empty_like(rows), rows.shape
    settings = _dropout_arguments(dropout, shape)
    _launch_rows("add_dropout", N, v, bias, rows, y, N, C, *settings)
    return y


def _dropout_gradient(g: Array, shape: tuple[int, ...], dropout: tuple[float, Any]) -> Array:
    """The gradient of v in `_add_dropout`, bfloat16."""
    dv = cupy.empty(g.shape, gemm.BFLOAT16)
    settings = _dropout_arguments(dropout, shape)
    _launch_eights("dropout_to_bf16", g.size, g, dv, g.size, *settings)
    return dv


def _rotate(
    heads: Array, tokens: int, nh: int, cos: Array | None, sin: Array | None, direction: int
) -> None:
    """Rotate queries and keys of heads (N, 3 C) in place, or back if direction is -1."""
    if cos is not None:
        N, half = len(heads), cos.shape[1]
        _launch_rows("rotary_bf16", N, heads, cos, sin, N, tokens, nh, half, direction)


def _weight_gradient(g: Array, x: Array) -> Array:
    """The gradient of W in x @ W.T, where g is that of the result: float32."""
    return gemm_bf16(g.T, x, np.float32)


def _bias_gradient(g: Array) -> Array:
    """The sum over the rows of g (N, C), as a product with a row of ones: (C,) in float32."""
    ones = cupy.full((1, len(g)), ONE, gemm.BFLOAT16)
    return gemm_bf16(ones, g, np.float32)[0]
