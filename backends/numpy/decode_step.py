"""The fused decode step: a GPT's forward for one new token, in C or in as few calls as possible.

The model's own forward creates about a hundred tensors per token; for one row that takes four times
as long as the matrix products. This step computes the same logits on plain arrays, mostly in place:
for one text of float32 in C (compiled_decode.py), else in NumPy.

The batch is the last axis: a weight (out, in) times (in, B) takes two thirds of the time of (B, in)
times its transpose. A batch of one is a vector (C,), since NumPy takes twice as long to broadcast a
(1, 1) array as to use a scalar.
"""

import math
from collections.abc import Sequence

import numpy as np

from ..base import NumpyArray as Array
from ..decode_step import BlockWeights, GPTWeights, LinearWeights, NormWeights
from .compiled_decode import compiled_step
from .layer_norm import centred_row
from .rows import constant_column
from .threads import limit_blas_threads, parallel_blocks, parallel_ranges

MIN_PARALLEL_WEIGHT = 2**21  # bytes; reading a smaller weight takes less time than waking a thread


class NumpyDecodeStep:
    """A `DecodeStep` of one model; in-place writes to the weights take effect."""

    def __init__(self, weights: GPTWeights) -> None:
        self.weights = weights
        self._compiled = compiled_step(weights)
        C = weights.tokens.shape[1]
        # The product with this vector is the mean over C, much faster than NumPy's reduction.
        self.average = constant_column(C, 1 / C, weights.norm.weight.dtype)[:, 0]
        if weights.rotary is not None:
            cos, sin = weights.rotary
            # (T, 2, hs/2, 1); they rotate both halves at once: x * cos + swapped(x) * sin.
            self.cos, self.sin = (
                np.stack([cos, cos], axis=1)[..., None],
                np.stack([-sin, sin], axis=1)[..., None],
            )

    def __call__(self, ids: Array, caches: Sequence[tuple[Array, Array]], position: int) -> Array:
        """ids (B,) -> logits (B, V)."""
        w, B = self.weights, len(ids)
        x = self._embed(ids, position)  # (C, B) or (C,)
        if self._compiled is not None and B == 1:
            logits: Array | None = self._compiled(x, caches, position)
            if logits is not None:
                return logits[None]
        for block, (keys, values) in zip(w.blocks, caches, strict=True):
            qkv = _linear(self._norm(x, block.norm1), block.qkv)  # (n, B) or (n,)
            y = self._attention(qkv.reshape(-1, w.head_dim, B), keys, values, position)
            x += _linear(y.reshape(-1, *x.shape[1:]), block.proj)
            x += _linear(self._hidden(self._norm(x, block.norm2), block), block.out)
        y = _linear(self._norm(x, w.norm), w.head)  # (V, B) or (V,)
        return y.reshape(-1, B).T

    def _embed(self, ids: Array, position: int) -> Array:
        """The vectors of the tokens (B,): (C, B), or (C,) for one."""
        w, which = self.weights, ids if len(ids) > 1 else ids[0]
        x: Array = w.tokens[which].T.astype(self.average.dtype)
        if w.tokens_scale is not None:
            x *= w.tokens_scale[which]
        if w.scale != 1.0:
            x *= w.scale
        if w.positions is not None:
            _add(x, w.positions[position])
        return x

    def _hidden(self, x: Array, block: BlockWeights) -> Array:
        """The hidden layer of a block's MLP: (C, B) -> (hidden, B), or without B."""
        y: Array = self.weights.activation(_linear(x, block.gate or block.fc))
        if block.gate is not None:
            y *= _linear(x, block.fc)
        return y

    def _attention(self, qkv: Array, keys: Array, values: Array, position: int) -> Array:
        """Queries, keys and values (nh + 2 nkv, hs, B) -> the heads' outputs (nh, hs, B)."""
        _, hs, B = qkv.shape
        nh, nkv = self.weights.num_heads, self.weights.num_kv_heads
        rotated = qkv[: nh + nkv]  # queries and keys
        if self.weights.rotary is not None:
            pairs = rotated.reshape(nh + nkv, 2, hs // 2, B)
            rotated = pairs * self.cos[position]
            rotated += pairs[:, ::-1] * self.sin[position]
            rotated = rotated.reshape(nh + nkv, hs, B)
        query, key, value = rotated[:nh] * (1 / math.sqrt(hs)), rotated[nh:], qkv[nh + nkv :]
        keys[:, :, position] = key.transpose(2, 0, 1)
        values[:, :, position] = value.transpose(2, 0, 1)
        # (B, nkv, nh / nkv, hs): the queries of a group are the rows of one product
        query = np.ascontiguousarray(query.transpose(2, 0, 1)).reshape(B, nkv, nh // nkv, hs)
        S = position + 1
        scores = np.matmul(keys[:, :, :S], query.swapaxes(2, 3))  # (B, nkv, S, nh / nkv)
        weights = scores.reshape(B, nkv, 1, S) if nh == nkv else scores.swapaxes(2, 3)
        weights -= np.maximum.reduce(weights, axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        y: Array = np.matmul(weights, values[:, :, :S])  # (B, nkv, nh / nkv, hs)
        y /= np.add.reduce(weights, axis=-1, keepdims=True)
        return y.reshape(B, nh, hs).transpose(1, 2, 0)  # (nh, hs, B)

    def _norm(self, x: Array, norm: NormWeights) -> Array:
        """The norm of every column of x (C, B), or of x (C,)."""
        if not norm.centred:
            squares = self.average.dot(x * x)  # () or (B,)
            y: Array = x * (1 / np.sqrt(squares + norm.eps))
            y *= norm.weight if x.ndim == 1 else norm.weight[:, None]
        elif x.ndim == 1:
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
    if layer.scale is not None:
        y = _int8_dot(weight, x)
        y *= layer.scale if x.ndim == 1 else layer.scale[:, None]
    elif weight.nbytes < MIN_PARALLEL_WEIGHT or not limit_blas_threads():
        y = weight.dot(x)
    else:
        y = _parallel_dot(weight, x)
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


def _int8_dot(weight: Array, x: Array) -> Array:
    """``weight.dot(x)`` for a weight of int8, of which only a few rows at a time become floats."""
    y = np.empty((len(weight), *x.shape[1:]), x.dtype)

    def work(i: int, j: int) -> None:
        np.dot(weight[i:j].astype(x.dtype), x, out=y[i:j])

    parallel_blocks(work, len(weight), weight.shape[1] * x.itemsize)
    return y
