"""The decode step in C: one call for each thread computes all blocks, and the threads meet in it.

A step reads every weight once, so it takes as long as the memory needs; about ten NumPy calls for
each block, and waking a thread for each of its products, take a third of that again. Here a thread
is woken once for each token. The code is in decode.c, which declares the same structures.
"""

import ctypes
import math
from collections.abc import Callable, Iterator, Sequence
from operator import is_
from typing import Any

import numpy as np

from ..base import NumpyArray as Array
from ..decode_step import BlockWeights, GPTWeights, LinearWeights, NormWeights
from . import compiled
from .threads import num_threads, together

MIN_PARALLEL_BYTES = 2**21  # of weights; fewer are read in less time than waking a thread takes
ACTIVATIONS = {"gelu": 0, "squared_relu": 1, "silu": 2}

Pointer, Int = ctypes.c_void_p, ctypes.c_int64


class Norm(ctypes.Structure):
    """Norm of decode.c."""

    _fields_ = (("weight", Pointer), ("bias", Pointer), ("eps", ctypes.c_float),
                ("centred", ctypes.c_int32))  # fmt: skip


class Linear(ctypes.Structure):
    """Linear of decode.c."""

    _fields_ = (("weight", Pointer), ("quantized", Pointer), ("scale", Pointer), ("bias", Pointer),
                ("rows", Int), ("columns", Int))  # fmt: skip


class Block(ctypes.Structure):
    """Block of decode.c."""

    _fields_ = (("norm1", Norm), ("norm2", Norm), ("qkv", Linear), ("proj", Linear),
                ("gate", Linear), ("fc", Linear), ("out", Linear))  # fmt: skip


class Model(ctypes.Structure):
    """Model of decode.c."""

    _fields_ = (("blocks", Pointer), ("cosine", Pointer), ("sine", Pointer), ("norm", Norm),
                ("head", Linear), ("num_blocks", Int), ("num_heads", Int), ("num_kv_heads", Int),
                ("head_dim", Int), ("hidden_dim", Int), ("activation", Int))  # fmt: skip


class CompiledDecodeStep:
    """The blocks and the head of one model for one token; in-place writes to weights take effect.

    Create it by `compiled_step`.
    """

    def __init__(self, weights: GPTWeights, call: Callable[..., None]) -> None:
        self._weights, self._call = weights, call  # the weights keep the arrays alive
        blocks = (Block * len(weights.blocks))(*map(_block, weights.blocks))
        cosine, sine = weights.rotary or (None, None)
        self._positions = math.inf if cosine is None else len(cosine)
        hs, hidden = weights.head_dim, len(weights.blocks[0].fc.weight)
        self._blocks, self._model = blocks, Model(
            ctypes.addressof(blocks), _address(cosine), _address(sine), _norm(weights.norm),
            _linear(weights.head), len(blocks), weights.num_heads, weights.num_kv_heads, hs, hidden,
            ACTIVATIONS[weights.activation_name],
        )  # fmt: skip
        size = 2 * (weights.num_heads + weights.num_kv_heads) * hs + 2 * hidden
        self._shared = np.empty(size, np.float32)
        large = sum(array.nbytes for array in _arrays(weights)) >= MIN_PARALLEL_BYTES
        self._threads = num_threads() if large else 1
        self._caches: list[Array] = []
        self._pointers: Any = None

    def __call__(
        self, x: Array, caches: Sequence[tuple[Array, Array]], position: int
    ) -> Array | None:
        """The vector x (C,) of the token at `position`, which is overwritten -> logits (V,).

        Returns None if C cannot use x, the caches or the tables of angles.
        """
        limit = caches[0][0].shape[2]
        fits = position < min(limit, self._positions) and x.dtype == np.float32
        if not fits or not self._has_addresses_of(caches):
            return None
        logits = np.empty(self._model.head.rows, np.float32)
        own_size = len(x) + self._model.head_dim + limit
        barrier = (Int * 3)()  # the last number ends the wait of all threads
        vector, shared, result = map(_address, (x, self._shared, logits))

        def work(number: int, count: int) -> None:
            try:
                own = np.empty(own_size, np.float32)
                self._call(
                    ctypes.addressof(self._model), self._pointers, limit, position, vector, shared,
                    _address(own), result, ctypes.addressof(barrier), number, count,
                )  # fmt: skip
            except BaseException:  # Ctrl-C
                barrier[2] = 1
                raise

        try:
            together(work, self._threads)
        except BaseException:  # before all threads had begun
            barrier[2] = 1
            raise
        return logits

    def _has_addresses_of(self, caches: Sequence[tuple[Array, Array]]) -> bool:
        """Whether C can use the caches, whose addresses are read if they are others than before."""
        arrays = [array for pair in caches for array in pair]
        if len(arrays) == len(self._caches) and all(map(is_, arrays, self._caches)):
            return True
        shape = 1, self._model.num_kv_heads, arrays[0].shape[2], self._model.head_dim
        if not all(
            a.shape == shape and a.dtype == np.float32 and _is_usable(a) and a.flags.writeable
            for a in arrays
        ):
            return False
        self._pointers = (Pointer * len(arrays))(*map(_address, arrays))
        self._caches = arrays
        return True


def compiled_step(weights: GPTWeights) -> CompiledDecodeStep | None:
    """The step in C, or None if NumPy is to compute it."""
    library = compiled.load()
    if weights.activation_name not in ACTIVATIONS:
        return None
    arrays = list(_arrays(weights._replace(tokens=None, tokens_scale=None, positions=None)))
    if library is None or not all(map(_is_usable, arrays)):
        return None
    return CompiledDecodeStep(weights, library.functions["decode_step"].call)


def _arrays(value: Any) -> Iterator[Array]:
    """All arrays in a nested tuple or list."""
    if isinstance(value, tuple | list):
        for part in value:
            yield from _arrays(part)
    elif isinstance(value, np.ndarray):
        yield value


def _is_usable(array: Array) -> bool:
    """Whether C can read an array; int8 only occurs as a weight with a scale."""
    flags = array.flags
    return array.dtype in (np.float32, np.int8) and flags.c_contiguous and flags.aligned


def _address(array: Array | None) -> int | None:
    return None if array is None else compiled.address(array)


def _norm(norm: NormWeights) -> Norm:
    return Norm(_address(norm.weight), _address(norm.bias), norm.eps, norm.centred)


def _linear(layer: LinearWeights | None) -> Linear:
    if layer is None:
        return Linear()
    weight, quantized = (layer.weight, None) if layer.scale is None else (None, layer.weight)
    addresses = map(_address, (weight, quantized, layer.scale, layer.bias))
    return Linear(*addresses, *layer.weight.shape)


def _block(b: BlockWeights) -> Block:
    layers = (b.qkv, b.proj, b.gate, b.fc, b.out)
    return Block(_norm(b.norm1), _norm(b.norm2), *map(_linear, layers))
