"""Convolution: by its definition, and as a matrix product on the patches of the images.

A convolution is a linear layer on every patch: `unfold` copies the patches to the columns of a
matrix, and one matrix product computes all outputs. Its gradient adds the columns back with `fold`.
"""

import math
from typing import Any

import numpy as np

from ..backends.arrays import Array, Namespace
from .op import op
from .windows import Window, fold, unfold


def convolve_with_loops(
    x: np.ndarray[Any, Any], weight: np.ndarray[Any, Any], stride: int = 1
) -> np.ndarray[Any, Any]:
    """The definition of a convolution, for arrays of NumPy: each number of the output by itself.

    Args:
        x: images (N, C, H, W).
        weight: (O, C, KH, KW).
        stride: the distance between two positions of the kernel.

    Returns:
        (N, O, OH, OW): sums over the channels and elements of a patch, times the weight's.
    """
    (N, _, H, W), (O, _, KH, KW) = x.shape, weight.shape  # noqa: E741
    OH, OW = (H - KH) // stride + 1, (W - KW) // stride + 1
    y = np.zeros((N, O, OH, OW), dtype=x.dtype)
    for n, o, i, j in np.ndindex(N, O, OH, OW):
        top, left = i * stride, j * stride
        y[n, o, i, j] = np.sum(x[n, :, top : top + KH, left : left + KW] * weight[o])
    return y


@op(promote="float")
def convolution(
    xp: Namespace,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    window: Window,
    groups: int = 1,
) -> Any:
    """x (N, C, H, W), weight (O, C / groups, KH, KW), bias (O,) -> (N, O, OH, OW).

    With G groups, the first O / G outputs are computed from the first C / G channels, and so on.
    """
    columns = grouped_columns(xp, x, window, groups)  # (N, G, C / G * KH * KW, OH * OW)
    y = matrices(xp, weight, groups) @ columns  # (N, G, O / G, OH * OW)
    y = xp.reshape(y, (x.shape[0], weight.shape[0], *window.output))
    if bias is not None:
        y = y + xp.reshape(bias, (-1, 1, 1))
    return y, (x, weight, window, groups)


@convolution.gradient
def convolution_gradient(
    xp: Namespace, g: Array, x: Array, weight: Array, window: Window, groups: int
) -> Any:
    (N, C, _, _), K, L = x.shape, math.prod(window.kernel), math.prod(window.output)
    rows = grouped_rows(xp, g, groups)  # (N, G, O / G, OH * OW)

    def x_gradient() -> Array:
        columns = xp.matrix_transpose(matrices(xp, weight, groups)) @ rows
        return fold(xp, xp.reshape(columns, (N, C, K, L)), window)

    def weight_gradient() -> Array:
        columns = grouped_columns(xp, x, window, groups)
        products = rows @ xp.matrix_transpose(columns)  # (N, G, O / G, C / G * K)
        return xp.reshape(xp.sum(products, axis=0), weight.shape)

    return x_gradient, weight_gradient, lambda: xp.sum(g, axis=(0, 2, 3))


def grouped_columns(xp: Namespace, x: Array, window: Window, groups: int) -> Array:
    """`unfold` with the columns of each group together: (N, G, C / G * KH * KW, OH * OW)."""
    columns = unfold(xp, x, window)
    N, C, K, L = columns.shape
    return xp.reshape(columns, (N, groups, C // groups * K, L))


def grouped_rows(xp: Namespace, y: Array, groups: int) -> Array:
    """Images (N, O, OH, OW) with the channels of each group together: (N, G, O / G, OH * OW)."""
    N, O, OH, OW = y.shape  # noqa: E741
    return xp.reshape(y, (N, groups, O // groups, OH * OW))


def matrices(xp: Namespace, weight: Array, groups: int) -> Array:
    """A weight (O, C / G, KH, KW) as one matrix for each group: (G, O / G, C / G * KH * KW)."""
    O, *rest = weight.shape  # noqa: E741
    return xp.reshape(weight, (groups, O // groups, math.prod(rest)))
