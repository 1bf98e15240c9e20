"""A GPT's step for one new token in NumPy, in the fewest calls.

The model's own step makes a hundred tensors. For one row that is four times the work of the
matrix products; here are the same computations on bare arrays, and mostly in place. Texts are
columns: a weight (out, in) times (in, B) takes two thirds of the time of (B, in) times its
transpose. One text is a vector (C,), since NumPy takes twice as long to broadcast a (1, 1) array
as to use a number.
"""

import math
from collections.abc import Sequence

import numpy as np

from ..base import NumpyArray as Array
from ..decode_step import GPTWeights, LinearWeights, NormWeights
from .activations import GELU_A, GELU_C
from .rows import constant_column


class NumpyStep:
    """`decoding.Step` for one model; it sees writes to the weights, but not other arrays."""

    def __init__(self, weights: GPTWeights) -> None:
        self.weights = weights
        self.activation = {"gelu": _gelu, "squared_relu": _squared_relu}[weights.activation]
        if weights.rotary is not None:
            cos, sin = weights.rotary
            # Rows that turn a pair of halves at once: x * cos + swapped(x) * sin. (T, 2, hs/2, 1)
            self.cos, self.sin = (
                np.stack([cos, cos], axis=1)[..., None],
                np.stack([-sin, sin], axis=1)[..., None],
            )

    def __call__(self, ids: Array, caches: Sequence[tuple[Array, Array]], position: int) -> Array:
        w = self.weights
        x = w.tokens[ids].T.copy() if len(ids) > 1 else w.tokens[ids[0]].copy()  # (C, B) or (C,)
        if w.scale != 1.0:
            x *= w.scale
        if w.positions is not None:
            _add(x, w.positions[position])
        for block, (keys, values) in zip(w.blocks, caches, strict=True):
            qkv = _linear(_norm(x, block.norm1), block.qkv)
            y = self._attention(qkv.reshape(3, w.num_heads, -1, len(ids)), keys, values, position)
            x += _linear(y.reshape(x.shape), block.proj)
            hidden = _linear(_norm(x, block.norm2), block.fc)
            x += _linear(self.activation(hidden), block.out)
        return _linear(_norm(x, w.norm), w.head).reshape(-1, len(ids)).T

    def _attention(self, qkv: Array, keys: Array, values: Array, position: int) -> Array:
        """What each head finds, (nh, hs, B), from queries, keys and values (3, nh, hs, B)."""
        _, nh, hs, B = qkv.shape
        turned = qkv[:2]  # (2, nh, hs, B)
        if self.weights.rotary is not None:
            pairs = turned.reshape(2, nh, 2, hs // 2, B)
            turned = pairs * self.cos[position]
            turned += pairs[:, :, ::-1] * self.sin[position]
            turned = turned.reshape(2, nh, hs, B)
        query, key, value = turned[0] * (1 / math.sqrt(hs)), turned[1], qkv[2]
        keys[:, :, position], values[:, :, position] = (a.transpose(2, 0, 1) for a in (key, value))
        query = np.ascontiguousarray(query.transpose(2, 0, 1))[..., None]  # (B, nh, hs, 1)
        seen = position + 1  # S
        weights = np.matmul(keys[:, :, :seen], query).reshape(B, nh, 1, seen)
        weights -= np.maximum.reduce(weights, axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        y: Array = np.matmul(weights, values[:, :, :seen])  # (B, nh, 1, hs)
        y /= np.add.reduce(weights, axis=-1, keepdims=True)
        return y.reshape(B, nh, hs).transpose(1, 2, 0)  # (nh, hs, B)


def _add(x: Array, row: Array) -> None:
    """Add a vector (C,) to each text of x (C, B) or (C,)."""
    x += row if x.ndim == 1 else row[:, None]


def _linear(x: Array, layer: LinearWeights) -> Array:
    """(in, B) -> (out, B)."""
    y: Array = layer.weight.dot(x)
    if layer.bias is not None:
        _add(y, layer.bias)
    return y


def _norm(x: Array, norm: NormWeights) -> Array:
    size = x.shape[0]
    average = constant_column(size, 1 / size, x.dtype)[:, 0]
    y: Array = x - average.dot(x)
    if x.ndim == 1:
        y *= x.dtype.type(1 / math.sqrt(y.dot(y) / size + norm.eps))
        y *= norm.weight
    else:
        variance = average.dot(y * y)  # (B,)
        variance += norm.eps
        y /= np.sqrt(variance, out=variance)
        y *= norm.weight[:, None]
    if norm.bias is not None:
        _add(y, norm.bias)
    return y


def _gelu(x: Array) -> Array:
    """In place, as the kernel of this name."""
    t = x * x
    t *= GELU_A * GELU_C
    t += GELU_C
    t *= x
    np.tanh(t, out=t)
    t += 1
    x *= t
    x *= 0.5
    return x


def _squared_relu(x: Array) -> Array:
    np.maximum(x, 0, out=x)
    x *= x
    return x
