"""The fused decode step on CUDA: a GPT's forward for one new token, in five kernels a block.

The kernels are in decode.cu. Products are computed in full float32, whatever ``TT_MATMUL`` is: they
are bound by the memory that holds the weights.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import cupy
import numpy as np

from ..base import NativeArray as Array
from ..decode_step import GPTWeights, LinearWeights, NormWeights, NotFusableError
from .devices import prepare_thread
from .graph import to_device
from .launch import launch, launch_elementwise

TEXTS, WARPS = 8, 8  # DECODE_TEXTS and DECODE_WARPS of decode.cu
MAX_HEAD_DIM = 128
ACTIVATIONS = {"gelu": 1, "squared_relu": 2}  # op -> the kernel's number


class CupyDecodeStep:
    """A `DecodeStep` of one model; in-place writes to the weights take effect.

    Raises:
        NotFusableError: the kernels do not support the model.
    """

    def __init__(self, weights: GPTWeights) -> None:
        self.weights = weights
        self.head_dim = weights.tokens.shape[1] // weights.num_heads
        if self.head_dim > MAX_HEAD_DIM:
            raise NotFusableError(f"its heads have more than {MAX_HEAD_DIM} elements")
        if weights.activation_name not in ACTIVATIONS:
            raise NotFusableError(f"{weights.activation_name} is not an activation of the kernels")
        if len(weights.head.weight) > len(weights.tokens):
            raise NotFusableError("its head has tokens that the embedding lacks")
        if not all(array.flags.c_contiguous for array in _arrays(weights)):
            raise NotFusableError("a weight is not contiguous")

    def __call__(self, ids: Array, caches: Sequence[tuple[Array, Array]], position: int) -> Array:
        """ids (B,) -> logits (B, V)."""
        prepare_thread()
        state = to_device(np.array([position, 0], np.int64))
        return self.logits(ids.astype(cupy.int64, copy=False), caches, state)

    def logits(self, ids: Array, caches: Sequence[tuple[Array, Array]], state: Array) -> Array:
        """As the call, with the position in ``state[0]`` on the device."""
        w, B = self.weights, len(ids)
        C, dtype = w.tokens.shape[1], w.tokens.dtype
        x = cupy.empty((B, C), dtype)
        launch_elementwise(
            "decode_embedding", x, w.tokens, w.positions, ids, state, x, B, C, w.scale
        )
        for block, (keys, values) in zip(w.blocks, caches, strict=True):
            qkv = _linear(x, block.qkv, block.norm1)  # (B, 3 C)
            y = self._attention(qkv, keys, values, state)
            x = _linear(y, block.proj, residual=x)
            hidden = _linear(x, block.fc, block.norm2, ACTIVATIONS[w.activation_name])  # (B, 4 C)
            x = _linear(hidden, block.out, residual=x)
        return _linear(x, w.head, w.norm)

    def _attention(self, qkv: Array, keys: Array, values: Array, state: Array) -> Array:
        """qkv (B, 3 C), keys and values (B, nh, limit, hs) -> (B, C)."""
        B, nh, limit, hs = keys.shape
        cosine, sine = self.weights.rotary or (None, None)
        y = cupy.empty((B, nh * hs), qkv.dtype)
        launch(
            "decode_attention", qkv.dtype, (nh, B), (32, WARPS),
            qkv, keys, values, cosine, sine, state, y, limit, hs,
        )  # fmt: skip
        return y


def _linear(
    x: Array,
    layer: LinearWeights,
    norm: NormWeights | None = None,
    activation: int = 0,
    residual: Array | None = None,
) -> Array:
    """residual + activation(norm(x) @ weight.T + bias): x (B, in) -> (B, out)."""
    weight, bias = layer
    scale, shift, eps = norm or (None, None, 0.0)
    (B, size), out = x.shape, len(weight)
    y = cupy.empty((B, out), x.dtype)
    grid = (-(-out // WARPS), -(-B // TEXTS))
    launch(
        "decode_linear", x.dtype, grid, (32, WARPS),
        x, scale, shift, weight, bias, residual, y, B, size, out, eps, activation,
    )  # fmt: skip
    return y


def _arrays(value: Any) -> Iterator[Array]:
    """All arrays in a nested tuple or list."""
    if isinstance(value, tuple | list):
        for part in value:
            yield from _arrays(part)
    elif isinstance(value, cupy.ndarray):
        yield value
