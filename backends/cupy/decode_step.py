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
ACTIVATIONS = {"gelu": 1, "squared_relu": 2, "silu": 3}  # op -> the kernel's number


class CupyDecodeStep:
    """A `DecodeStep` of one model; in-place writes to the weights take effect.

    Raises:
        NotFusableError: the kernels do not support the model.
    """

    def __init__(self, weights: GPTWeights) -> None:
        self.weights = weights
        if weights.head_dim > MAX_HEAD_DIM:
            raise NotFusableError(f"its heads have more than {MAX_HEAD_DIM} elements")
        if weights.activation_name not in ACTIVATIONS:
            raise NotFusableError(f"{weights.activation_name} is not an activation of the kernels")
        if len(weights.head.weight) > len(weights.tokens):
            raise NotFusableError("its head has tokens that the embedding lacks")
        if any(layer.scale is not None for layer in _layers(weights)):
            raise NotFusableError("its weights are integers")
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
            qkv = _linear(x, block.qkv, block.norm1)  # (B, (nh + 2 nkv) hs)
            y = self._attention(qkv, keys, values, state)
            x = _linear(y, block.proj, residual=x)
            gate, activation = block.gate or block.fc, ACTIVATIONS[w.activation_name]
            up = _linear(x, block.fc, block.norm2) if block.gate else None  # (B, hidden)
            hidden = _linear(x, gate, block.norm2, activation, up)
            x = _linear(hidden, block.out, residual=x)
        return _linear(x, w.head, w.norm)

    def _attention(self, qkv: Array, keys: Array, values: Array, state: Array) -> Array:
        """qkv (B, (nh + 2 nkv) hs), keys and values (B, nkv, limit, hs) -> (B, nh hs)."""
        B, nkv, limit, hs = keys.shape
        nh = self.weights.num_heads
        cosine, sine = self.weights.rotary or (None, None)
        y = cupy.empty((B, nh * hs), qkv.dtype)
        launch(
            "decode_attention", qkv.dtype, (nh, B), (32, WARPS),
            qkv, keys, values, cosine, sine, state, y, nkv, limit, hs,
        )  # fmt: skip
        return y


def _linear(
    x: Array,
    layer: LinearWeights,
    norm: NormWeights | None = None,
    activation: int = 0,
    factor: Array | None = None,
    residual: Array | None = None,
) -> Array:
    """residual + factor * activation(norm(x) @ weight.T + bias): x (B, in) -> (B, out)."""
    weight, bias, _ = layer
    scale, shift, eps, centred = norm or (None, None, 0.0, True)
    (B, size), out = x.shape, len(weight)
    y = cupy.empty((B, out), x.dtype)
    grid = (-(-out // WARPS), -(-B // TEXTS))
    launch(
        "decode_linear", x.dtype, grid, (32, WARPS),
        x, scale, shift, weight, bias, factor, residual, y, B, size, out, eps, int(centred),
        activation,
    )  # fmt: skip
    return y


def _layers(weights: GPTWeights) -> list[LinearWeights]:
    blocks = [part for block in weights.blocks for part in block]
    return [part for part in [*blocks, weights.head] if isinstance(part, LinearWeights)]


def _arrays(value: Any) -> Iterator[Array]:
    """All arrays in a nested tuple or list."""
    if isinstance(value, tuple | list):
        for part in value:
            yield from _arrays(part)
    elif isinstance(value, cupy.ndarray):
        yield value
