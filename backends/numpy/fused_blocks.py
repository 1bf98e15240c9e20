"""The halves of a transformer block in NumPy: each is one node of the graph instead of several.

They call the kernels of their layers, so outputs and gradients of weights are the same bit for bit.
What they save is the time of Python between the layers, a fifth of a small model's training step,
and passes over memory: residual connections are added in place, forward and backward.
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

KERNELS = KernelTable()

ACTIVATIONS = {
    "gelu": activations.KERNELS["gelu"],
    "gelu_erf": smooth_activations.KERNELS["gelu_erf"],
    "squared_relu": activations.KERNELS["squared_relu"],
}
Draw = tuple[float, Any]  # probability and seed of a dropout
# Takes dq, dk, dv, which it writes to, and the gradient of the output.
WriteGradients = Callable[[Sequence[Array], Array], None]


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
    dropout: Draw,
) -> Any:
    """x + proj(activation(fc(norm(x)))): x (..., C) -> (..., C).

    Returns NotImplemented with dropout, for float16 and for sizes that do not fit, which then run
    op by op.
    """
    C, H = x.shape[-1], fc_weight.shape[0]
    given = norm_weight, norm_bias, fc_weight, fc_bias, proj_weight, proj_bias
    if dropout[0] or not _fit(x, given, ((C,), (C,), (H, C), (H,), (C, H), (C,))):
        return NotImplemented
    h, norm = layer_norm.layer_norm(xp, x, norm_weight, norm_bias, eps=eps)
    u, fc = linear.linear(xp, h, fc_weight, fc_bias)  # (..., H)
    act = ACTIVATIONS[activation].forward(xp, u)
    if act is NotImplemented:
        return NotImplemented
    y, proj = linear.linear(xp, act[0], proj_weight, proj_bias)
    y += x
    return y, (norm, fc, activation, act[1], proj, norm_weight, fc_weight, proj_weight)


@KERNELS.gradient(residual_mlp)
def residual_mlp_gradient(
    xp: Namespace,
    g: Array,
    norm: Any,
    fc: Any,
    activation: str,
    act: Any,
    proj: Any,
    *weights: Array,
) -> Any:
    """Autograd checks that `weights` have not changed since."""
    da, dproj, dproj_bias = linear.linear_gradient(xp, g, *proj)  # da (..., H)
    gradient: Any = ACTIVATIONS[activation].gradient
    du = gradient(xp, da(), *act)
    dh, dfc, dfc_bias = linear.linear_gradient(xp, du, *fc)  # dh (..., C)
    return *_norm_gradient(xp, g, dh(), norm), dfc, dfc_bias, dproj, dproj_bias


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
    weights_dropout: Draw,
    output_dropout: Draw,
) -> Any:
    """x + proj(attention(qkv(norm(x)))): x (B, T, C) -> (B, T, C).

    Returns NotImplemented as `residual_mlp` does, and for a mask that is not (T, T) booleans.
    """
    T, C = x.shape[-2:]
    hs = C // num_heads
    given = norm_weight, norm_bias, qkv_weight, qkv_bias, proj_weight, proj_bias, cos, sin
    shapes = (C,), (C,), (3 * C, C), (3 * C,), (C, C), (C,), (T, hs // 2), (T, hs // 2)
    if (
        weights_dropout[0]
        or output_dropout[0]
        or x.ndim != 3
        or (mask is not None and (mask.shape != (T, T) or mask.dtype != np.bool_))
        or not _fit(x, given, shapes)
    ):
        return NotImplemented
    h, norm = layer_norm.layer_norm(xp, x, norm_weight, norm_bias, eps=eps)
    projected, qkv = linear.linear(xp, h, qkv_weight, qkv_bias)  # (B, T, 3 C)
    (q, k, v), _ = heads.split_heads(xp, projected, num_heads=num_heads)  # (B, nh, T, hs)
    if cos is not None:
        (q, _), (k, _) = rotary.rotary(xp, q, cos, sin), rotary.rotary(xp, k, cos, sin)
    attended, write_gradients = _attend(xp, q, k, v, mask)
    merged = attended.transpose(0, 2, 1, 3).reshape(x.shape)  # (B, nh, T, hs) -> (B, T, C)
    y, proj = linear.linear(xp, merged, proj_weight, proj_bias)
    y += x
    weights = norm_weight, qkv_weight, proj_weight
    return y, (norm, qkv, num_heads, cos, sin, write_gradients, proj, *weights)


@KERNELS.gradient(residual_attention)
def residual_attention_gradient(
    xp: Namespace,
    g: Array,
    norm: Any,
    qkv: Any,
    num_heads: int,
    cos: Any,
    sin: Any,
    write_gradients: WriteGradients,
    proj: Any,
    *weights: Array,
) -> Any:
    """Autograd checks that `weights` have not changed since."""
    dmerged, dproj, dproj_bias = linear.linear_gradient(xp, g, *proj)  # dmerged (B, T, C)
    B, T, C = g.shape
    dy = dmerged().reshape(B, T, num_heads, C // num_heads).transpose(0, 2, 1, 3)  # (B, nh, T, hs)
    dprojected = np.empty((B, T, 3 * C), g.dtype)
    (dq, dk, dv), _ = heads.split_heads(xp, dprojected, num_heads=num_heads)
    write_gradients((dq, dk, dv), dy)
    if cos is not None:
        for d in (dq, dk):
            d[...] = rotary.rotary_gradient(xp, d, cos, sin)[0]
    dh, dqkv, dqkv_bias = linear.linear_gradient(xp, dprojected, *qkv)  # dh (B, T, C)
    gradients = *_norm_gradient(xp, g, dh(), norm), dqkv, dqkv_bias, dproj, dproj_bias
    return *gradients, None, None, None  # of mask, cos and sin


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

    def write(outputs: Sequence[Array], g: Array) -> None:
        products = Product(g, v.swapaxes(-1, -2)), Product(weights.swapaxes(-1, -2), g)
        dweights, dv = Product.compute_all(products)
        dq, dk, _ = attention_weights.attention_weights_gradient(xp, dweights, *saved)
        for output, gradient in zip(outputs, (dq, dk, dv), strict=True):
            output[...] = gradient

    return batched_gemm(weights, v), write


def _fit(x: Array, given: tuple[Any, ...], shapes: tuple[Any, ...]) -> bool:
    """Whether all arrays are float32, or all float64, and have these shapes.

    Args:
        given: weight and bias of each of three layers, then others. Only the weights must be there.
    """
    return x.dtype.char in "fd" and all(
        (p is None and i not in (0, 2, 4))
        or (getattr(p, "shape", None) == shape and p.dtype == x.dtype)
        for i, (p, shape) in enumerate(zip(given, shapes, strict=True))
    )


def _norm_gradient(xp: Namespace, g: Array, dh: Array, norm: Any) -> Any:
    """Of x + f(norm(x)), g its gradient and dh that of norm(x): of x, weight and bias of norm."""
    dx, dweight, dbias = layer_norm.layer_norm_gradient(xp, dh, *norm)
    dx += g
    return dx, dweight, dbias
