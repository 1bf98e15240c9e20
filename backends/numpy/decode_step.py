"""The fused decode step in NumPy: a GPT's forward for one new token, in as few calls as possible.

The model's own forward creates about a hundred tensors per token; for one row that takes four times
as long as the matrix products. This step computes the same logits on plain arrays, mostly in place.
The batch is the last axis: a weight (out, in) times (in, B) takes two thirds of the time of (B, in)
times its transpose. A batch of one is a vector (C,), since NumPy takes twice as long to broadcast a
(1, 1) array as to use a scalar.
"""

import math
from collections.abc import Sequence

import numpy as np

from ..base import NumpyArray as Array
from ..decode_step import GPTWeights, LinearWeights, NormWeights
from .layer_norm import centred_row
from .rows import constant_column
from .threads import limit_blas_threads, parallel_ranges

MIN_PARALLEL_WEIGHT = 2**21  # bytes; reading a smaller weight takes less time than waking a thread


class NumpyDecodeStep:
    """A `DecodeStep` of one model; in-place writes to the weights take effect."""

    def __init__(self, weights: GPTWeights) -> None:
        self.weights = weights
        C = weights.tokens.shape[1]
        # The product with this vector is the mean over C, much faster than NumPy's reduction.
        self.average = constant_column(C, 1 / C, weights.tokens.dtype)[:, 0]
        if weights.rotary is not None:
            cos, sin = weights.rotary
            # (T, 2, hs/2, 1); they rotate both halves at once: x * cos + swapped(x) * sin.
            self.cos, self.sin = (
                np.stack([cos, cos], axis=1)[..., None],
                np.stack([-sin, sin], axis=1)[..., None],
            )

    def __call__(self, ids: Array, caches: Sequence[tuple[Array, Array]], position: int) -> Array:
        """ids (B,) -> logits (B, V)."""
        w = self.weights
        x = w.tokens[ids].T.copy() if len(ids) > 1 else w.tokens[ids[0]].copy()  # (C, B) or (C,)
        if w.scale != 1.0:
            x *= w.scale
        if w.positions is not None:
            _add(x, w.positions[position])
        for block, (keys, values) in zip(w.blocks, caches, strict=True):
            qkv = _linear(self._norm(x, block.norm1), block.qkv)  # (3 C, B) or (3 C,)
            y = self._attention(qkv.reshape(3, w.num_heads, -1, len(ids)), keys, values, position)
            x += _linear(y.reshape(x.shape), block.proj)
            hidden = _linear(self._norm(x, block.norm2), block.fc)  # (4 C, B) or (4 C,)
            x += _linear(w.activation(hidden), block.out)
        return _linear(self._norm(x, w.norm), w.head).reshape(-1, len(ids)).T

    def _attention(self, qkv: Array, keys: Array, values: Array, position: int) -> Array:
        """Queries, keys and values (3, nh, hs, B) -> the heads' outputs (nh, hs, B)."""
        _, nh, hs, B = qkv.shape
        rotated = qkv[:2]  # queries and keys (2, nh, hs, B)
        if self.weights.rotary is not None:
            pairs = rotated.reshape(2, nh, 2, hs // 2, B)
            rotated = pairs * self.cos[position]
            rotated += pairs[:, :, ::-1] * self.sin[position]
            rotated = rotated.reshape(2, nh, hs, B)
        query, key, value = rotated[0] * (1 / math.sqrt(hs)), rotated[1], qkv[2]
        keys[:, :, position] = key.transpose(2, 0, 1)
        values[:, :, position] = value.transpose(2, 0, 1)
        query = np.ascontiguousarray(query.transpose(2, 0, 1))[..., None]  # (B, nh, hs, 1)
        S = position + 1
        weights = np.matmul(keys[:, :, :S], query).reshape(B, nh, 1, S)
        weights -= np.maximum.reduce(weights, axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        y: Array = np.matmul(weights, values[:, :, :S])  # (B, nh, 1, hs)
        y /= np.add.reduce(weights, axis=-1, keepdims=True)
        return y.reshape(B, nh, hs).transpose(1, 2, 0)  # (nh, hs, B)

    def _norm(self, x: Array, norm: NormWeights) -> Array:
        """Layer norm of every column of x (C, B), or of x (C,)."""
        if x.ndim == 1:
            y, squares = centred_row(x, self.average)
            y *= 1 / math.sqrt(squares / len(x) + norm.eps)
            y *= norm.weight
        else:
            y = x - x[0]  # before the mean, so that a large mean costs no digits
            y -= self.average.dot(y)
            variance = self.average.dot(y * y)  # (B,)
            variance += norm.eps
            y /= np.sqrt(variance, out=variance)
            y *= norm.weight[:, None]
        if norm.bias is not None:
            _add(y, norm.bias)
        return y


def _add(x: Array, row: Array) -> None:
    """Add a vector (C,) to every column of x (C, B), or to x (C,)."""
    x += row if x.ndim == 1 else row[:, None]


def _linear(x: Array, layer: LinearWeights) -> Array:
    """(in, B) -> (out, B), or (in,) -> (out,)."""
    weight = layer.weight
    small = weight.nbytes < MIN_PARALLEL_WEIGHT or not limit_blas_threads()
    y: Array = weight.dot(x) if small else _parallel_dot(weight, x)
    if layer.bias is not None:
        _add(y, layer.bias)
    return y


def _parallel_dot(weight: Array, x: Array) -> Array:
    """``weight.dot(x)``, with the rows of the weight divided among the threads.

    A product with few columns takes as long as reading the weight, and one thread does not reach
    the bandwidth of the memory.
    """
    y = np.empty((len(weight), *x.shape[1:]), np.result_type(weight, x))

    def work(i: int, j: int) -> None:
        np.dot(weight[i:j], x, out=y[i:j])

    parallel_ranges(work, len(weight))
    return y
