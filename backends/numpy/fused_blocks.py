"""The halves of a transformer block in NumPy: each is one node of the graph instead of six.

They call the kernels of their layers and compute the same numbers bit for bit. What they save is
the time of Python between the layers, a quarter of a small model's training step, and passes over
memory: residual connections are added in place, forward and backward.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..base import KernelTable, Namespace
from ..base import NumpyArray as Array
from . import (
    activations,
    attention,
    attention_weights,
    heads,
    layer_norm,
    linear,
    rotary,
    smooth_activations,
)
from .gemm import Product, batched_gemm
from .rows import as_matrix, column_sums

KERNELS = KernelTable()

ACTIVATIONS = {
    "gelu": activations.KERNELS["gelu"],
    "gelu_erf": smooth_activations.KERNELS["gelu_erf"],
    "squared_relu": activations.KERNELS["squared_relu"],
}
Dropout = tuple[float, Any]  # probability and seed


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
    dropout: Dropout,
) -> Any:
    """x + proj(activation(fc(norm(x)))): x (..., C) -> (..., C).

    Returns NotImplemented with dropout, for float16 and for sizes that do not fit, which then run
    op by op.
    """
    C, H = x.shape[-1], len(fc_weight)
    parameters = norm_weight, norm_bias, fc_weight, fc_bias, proj_weight, proj_bias
    if dropout[0] or not _fit(x, parameters, ((C,), (C,), (H, C), (H,), (C, H), (C,))):
        return NotImplemented
    h, norm = layer_norm.layer_norm(xp, x, norm_weight, norm_bias, eps=eps)
    u, fc = linear.linear(xp, h, fc_weight, fc_bias)  # (..., H)
    act = ACTIVATIONS[activation].forward(xp, u)
    if act is NotImplemented:
        return NotImplemented
    y, proj = linear.linear(xp, act[0], proj_weight, proj_bias)
    y += x
    return y, (norm, fc, activation, act[1], proj, *parameters)


@KERNELS.gradient(residual_mlp)
def residual_mlp_gradient(
    xp: Namespace,
    g: Array,
    norm: Any,
    fc: Any,
    activation: str,
    act: Any,
    proj: Any,
    *parameters: Array | None,
) -> Any:
    """Autograd checks that `parameters` have not changed since."""
    da, dproj, dproj_bias = _linear_gradient(g, *proj)  # (..., H)
    gradient: Any = ACTIVATIONS[activation].gradient
    dh, dfc, dfc_bias = _linear_gradient(gradient(xp, da, *act), *fc)  # (..., C)
    return *_norm_gradient(xp, g, dh, norm), dfc, dfc_bias, dproj, dproj_bias


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
    weights_dropout: Dropout,
    output_dropout: Dropout,
) -> Any:
    """x + proj(attention(qkv(norm(x)))): x (B, T, C) -> (B, T, C).

    Returns NotImplemented as `residual_mlp` does, and for a mask that is not (T, T) booleans.
    """
    T, C = x.shape[-2:]
    parameters = norm_weight, norm_bias, qkv_weight, qkv_bias, proj_weight, proj_bias
    if (
        weights_dropout[0]
        or output_dropout[0]
        or x.ndim != 3
        or (mask is not None and (mask.shape != (T, T) or mask.dtype != np.bool_))
        or not _fit(x, parameters, ((C,), (C,), (3 * C, C), (3 * C,), (C, C), (C,)))
    ):
        return NotImplemented
    h, norm = layer_norm.layer_norm(xp, x, norm_weight, norm_bias, eps=eps)
    projected, qkv = linear.linear(xp, h, qkv_weight, qkv_bias)  # (B, T, 3 C)
    (q, k, v), _ = heads.split_heads(xp, projected, num_heads=num_heads)  # (B, nh, T, hs)
    turns = () if cos is None else (cos, sin)
    if turns:
        (q, _), (k, _) = rotary.rotary(xp, q, *turns), rotary.rotary(xp, k, *turns)
    attended, write_gradients = _attend(xp, q, k, v, mask)
    merged = attended.transpose(0, 2, 1, 3).reshape(x.shape)  # (B, nh, T, hs) -> (B, T, C)
    y, proj = linear.linear(xp, merged, proj_weight, proj_bias)
    y += x
    return y, (norm, qkv, num_heads, turns, write_gradients, proj, *parameters)


@KERNELS.gradient(residual_attention)
def residual_attention_gradient(
    xp: Namespace,
    g: Array,
    norm: Any,
    qkv: Any,
    num_heads: int,
    turns: Any,
    write_gradients: "WriteGradients",
    proj: Any,
    *parameters: Array | None,
) -> Any:
    """Autograd checks that `parameters` have not changed since."""
    dmerged, dproj, dproj_bias = _linear_gradient(g, *proj)  # (B, T, C)
    B, T, C = g.shape
    dy = dmerged.reshape(B, T, num_heads, C // num_heads).transpose(0, 2, 1, 3)  # (B, nh, T, hs)
    dprojected = np.empty((B, T, 3 * C), g.dtype)
    (dq, dk, dv), _ = heads.split_heads(xp, dprojected, num_heads=num_heads)
    write_gradients((dq, dk, dv), dy)
    if turns:
        for d in (dq, dk):
            d[...] = rotary.rotary_gradient(xp, d, *turns)[0]
    dh, dqkv, dqkv_bias = _linear_gradient(dprojected, *qkv)
    gradients = *_norm_gradient(xp, g, dh, norm), dqkv, dqkv_bias, dproj, dproj_bias
    return *gradients, None, None, None  # of mask, cos and sin


WriteGradients = Callable[[Sequence[Array], Array], None]


def _attend(
    xp: Namespace, q: Array, k: Array, v: Array, mask: Array | None
) -> tuple[Array, WriteGradients]:
    """The output of attention (B, nh, T, hs), and a function that writes q's, k's, v's gradients.

    The function takes the arrays to write to, and the gradient of the output.
    """
    fused = attention.fused_attention(xp, q, k, v, mask)
    if fused is not NotImplemented:
        return fused[0], lambda outputs, g: attention.write_gradients(outputs, g, *fused[1])
    scale = 1 / math.sqrt(max(1, q.shape[-1]))
    weights, saved = attention_weights.attention_weights(xp, q, k, mask, scale=scale)

    def write_gradients(outputs: Sequence[Array], g: Array) -> None:
        products = Product(g, v.swapaxes(-1, -2)), Product(weights.swapaxes(-1, -2), g)
        dweights, dv = Product.compute_all(products)
        dq, dk, _ = attention_weights.attention_weights_gradient(xp, dweights, *saved)
        for output, gradient in zip(outputs, (dq, dk, dv), strict=True):
            output[...] = gradient

    return batched_gemm(weights, v), write_gradients


def _fit(x: Array, parameters: tuple[Any, ...], shapes: tuple[Any, ...]) -> bool:
    """Whether all arrays are float32, or all float64, and all that are there have these shapes."""
    return x.dtype.char in "fd" and all(
        p is None or (getattr(p, "shape", None) == shape and p.dtype == x.dtype)
        for p, shape in zip(parameters, shapes, strict=True)
    )


def _linear_gradient(g: Array, rows: Array, weight: Array, shape: tuple[int, ...]) -> Any:
    """`linear.linear_gradient`, with both products computed: of x (*shape), weight and bias."""
    g = as_matrix(g)  # (N, out)
    dx, dweight = Product.compute_all([Product(g, weight, shape), Product(g.T, rows)])
    return dx, dweight, lambda: column_sums(g)


def _norm_gradient(xp: Namespace, g: Array, dh: Array, norm: Any) -> Any:
    """Of x + f(norm(x)), g its gradient and dh that of norm(x): of x, weight and bias of norm."""
    dx, dweight, dbias = layer_norm.layer_norm_gradient(xp, dh, *norm)
    dx += g
    return dx, dweight, dbias
