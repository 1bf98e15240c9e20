"""Lesson 11: token embeddings and three kinds of positional encoding."""

import math
from typing import Any

import numpy as np

from .arguments import check_integer
from .backends import Backend
from .backends.base import Array, Namespace
from .modules.module import Module, Parameter
from .ops import random
from .ops.op import op
from .ops.operators import same_backend
from .tensor import Tensor


@op
def embedding(xp: Namespace, weight: Array, ids: Array) -> Any:
    """weight[ids]: rows of weight (V, C) for integer ids (...) of any shape -> (..., C).

    Raises:
        IndexError: an id is outside of [0, V); on a device, raised at the next copy to host.
    """
    return xp.take_rows(weight, ids), (ids, weight.shape)


@embedding.gradient
def embedding_gradient(xp: Namespace, g: Array, ids: Array, shape: tuple[int, int]) -> Any:
    flat = xp.reshape(g, (math.prod(ids.shape), shape[1]))  # (N, C)
    return xp.segment_sum(flat, xp.reshape(ids, (-1,)), shape[0]), None


class Embedding(Module):
    """Lookup table with one learned vector for each token.

    Args:
        vocab_size: V, number of tokens.
        embed_dim: C, size of a vector.

    Attributes:
        weight: (V, C), initialised from a standard normal distribution, as in PyTorch.

    >>> from tinytorch import Embedding, Tensor
    >>> Embedding(vocab_size=65, embed_dim=8)(Tensor([[0, 5], [5, 1]])).shape
    (2, 2, 8)
    """

    def __init__(
        self, vocab_size: int, embed_dim: int, *, backend: str | Backend | None = None
    ) -> None:
        vocab_size = check_integer("Embedding: vocab_size", vocab_size)
        embed_dim = check_integer("Embedding: embed_dim", embed_dim)
        self.vocab_size, self.embed_dim = vocab_size, embed_dim
        self.weight = Parameter(random.normal((vocab_size, embed_dim)), backend=backend)

    def forward(self, ids: Tensor) -> Tensor:
        """Integer ids (...) -> (..., C).

        Raises:
            TypeError: the ids are not integers.
            IndexError: an id is outside of [0, V), as in `embedding`.
        """
        ids = same_backend(self.weight, ids)
        if ids.is_floating_point() or ids.dtype == ids.backend.xp.bool:
            raise TypeError(f"token ids must be integers, not {ids.dtype}")
        return embedding(self.weight, ids)

    def extra_repr(self) -> str:
        return f"{self.vocab_size}, {self.embed_dim}"


def create_sinusoidal_embeddings(
    max_seq_len: int, embed_dim: int, backend: str | Backend | None = None
) -> Tensor:
    """Fixed position vectors (T, C): sines in even columns, cosines in odd columns.

    Computed in float64, stored as float32.

    Raises:
        ValueError: embed_dim is odd.

    Source: A. Vaswani et al., "Attention Is All You Need" (2017), section 3.5.

    >>> from tinytorch import create_sinusoidal_embeddings
    >>> create_sinusoidal_embeddings(64, 32).shape
    (64, 32)
    """
    if embed_dim % 2:
        raise ValueError(f"embed_dim={embed_dim} must be even, for pairs of a sine and a cosine")
    angles = _angles(max_seq_len, embed_dim, 10000.0)  # (T, C/2)
    table = np.empty((max_seq_len, embed_dim), dtype=np.float32)
    table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles)
    return Tensor(table, backend=backend)


def _angles(positions: int, size: int, base: float) -> Any:
    """position * base ** (-2i / size) for each position and pair i: (positions, size / 2)."""
    frequencies = base ** (-np.arange(0, size, 2) / size)
    return np.arange(positions)[:, None] * frequencies


class PositionalEncoding(Module):
    """Learned positional encoding: adds one learned vector for each position.

    Attributes:
        weight: (max_seq_len, C), initialised from a normal distribution with standard deviation
            0.02.
    """

    def __init__(
        self, max_seq_len: int, embed_dim: int, *, backend: str | Backend | None = None
    ) -> None:
        self.max_seq_len = max_seq_len
        self.weight = Parameter(random.normal((max_seq_len, embed_dim), 0.02), backend=backend)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """x (..., T, C) -> (..., T, C), where `start` is the position of the first token."""
        _check_positions(start, x.shape[-2], self.max_seq_len)
        return x + self.weight[start : start + x.shape[-2]]


class SinusoidalEncoding(Module):
    """Fixed positional encoding: adds `create_sinusoidal_embeddings`."""

    table: Tensor

    def __init__(
        self, max_seq_len: int, embed_dim: int, *, backend: str | Backend | None = None
    ) -> None:
        self.max_seq_len = max_seq_len
        table = create_sinusoidal_embeddings(max_seq_len, embed_dim, backend)
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """x (..., T, C) -> (..., T, C), where `start` is the position of the first token."""
        _check_positions(start, x.shape[-2], self.max_seq_len)
        return x + self.table[start : start + x.shape[-2]]


@op(promote="float")
def rotary(xp: Namespace, x: Array, cos: Array, sin: Array) -> Any:
    """Rotate each pair (x[i], x[i + hs/2]) of x (..., T, hs) by its angle; cos, sin (T, hs/2)."""
    return _rotate(xp, x, cos, sin), (cos, sin)


@rotary.gradient
def rotary_gradient(xp: Namespace, g: Array, cos: Array, sin: Array) -> Any:
    return _rotate(xp, g, cos, -sin), None, None  # the transpose of a rotation is its inverse


def _rotate(xp: Namespace, x: Array, cos: Array, sin: Array) -> Array:
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    return xp.concat([first * cos - second * sin, second * cos + first * sin], axis=-1)


class _RotaryTables(Module):
    """cos and sin of the angles of `max_seq_len` positions: (max_seq_len, hs/2) each."""

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        head_dim: int,
        max_seq_len: int,
        base: float = 10000.0,
        *,
        backend: str | Backend | None = None,
    ) -> None:
        if head_dim % 2:
            raise ValueError(f"head_dim={head_dim} must be even: rotary encoding rotates pairs")
        self.max_seq_len = max_seq_len
        self._cached: tuple[int, int, int, Tensor, Tensor] | None = None
        angles = _angles(max_seq_len, head_dim, base)  # (T, hs/2)
        for name, table in (("cos", np.cos(angles)), ("sin", np.sin(angles))):
            tensor = Tensor(table.astype(np.float32), backend=backend)
            self.register_buffer(name, tensor, persistent=False)

    def _check_shape(self, x: Tensor) -> None:
        """Check that x is (..., T, hs)."""
        hs = 2 * self.cos.shape[1]
        if x.ndim < 2 or x.shape[-1] != hs:
            raise ValueError(f"RotaryEmbedding takes a tensor (..., T, {hs}), got shape {x.shape}")

    def _tables(self, start: int, end: int) -> tuple[Tensor, Tensor]:
        """The rows [start, end) of both tables; cached, since all blocks of a step use the same."""
        key = start, end, id(self.cos._array)
        cached = self._cached  # read once: another thread may replace it
        if cached is None or cached[:3] != key:
            _check_positions(start, end - start, self.max_seq_len)
            cached = self._cached = (*key, self.cos[start:end], self.sin[start:end])
        return cached[3:]


class RotaryEmbedding(_RotaryTables):
    """Rotary positional encoding (RoPE): rotates queries and keys by their positions.

    The dot product of a rotated query and key depends only on the distance between them.

    Args:
        head_dim: hs, an even number.
        max_seq_len: number of positions.
        base: the angle of pair i grows by base ** (-2i / hs) per position.

    Source: J. Su et al., "RoFormer" (2021), section 3.2; pairs as in GPT-NeoX.
    """

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """x (..., T, hs) -> (..., T, hs), where `start` is the position of the first token."""
        self._check_shape(x)
        cos, sin = self._tables(start, start + x.shape[-2])
        return rotary(x, cos, sin)


def _check_positions(start: int, length: int, limit: int) -> None:
    """Check that the positions from `start` on, `length` of them, are in [0, limit)."""
    if start < 0:
        raise ValueError(f"the first position must be at least 0, got start={start}")
    if start + length > limit:
        raise ValueError(f"{start + length} positions exceed max_seq_len={limit} of the encoding")


ENCODINGS = {"learned": PositionalEncoding, "sinusoidal": SinusoidalEncoding}


class EmbeddingLayer(Module):
    """Token embedding plus positional encoding.

    Args:
        vocab_size: V, number of tokens.
        embed_dim: C, size of a vector.
        max_seq_len: maximum number of positions.
        pos_encoding: "learned", "sinusoidal", or None if the model encodes positions elsewhere.
        scale_embeddings: multiply the token vectors by sqrt(C), as in "Attention Is All You Need".

    Raises:
        ValueError: unknown `pos_encoding`.
    """

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int,
        max_seq_len: int = 512,
        pos_encoding: str | None = "learned",
        scale_embeddings: bool = False,
        *,
        backend: str | Backend | None = None,
    ) -> None:
        if pos_encoding is not None and pos_encoding not in ENCODINGS:
            raise ValueError(
                f"pos_encoding must be one of {[*ENCODINGS, None]}, not {pos_encoding!r}"
            )
        self.scale = math.sqrt(embed_dim) if scale_embeddings else 1.0
        self.tokens = Embedding(vocab_size, embed_dim, backend=backend)
        self.positions = None
        if pos_encoding is not None:
            self.positions = ENCODINGS[pos_encoding](max_seq_len, embed_dim, backend=backend)

    def forward(self, ids: Tensor, start: int = 0) -> Tensor:
        """Integer ids (B, T) -> (B, T, C), where `start` is the position of the first token."""
        x = self.tokens(ids)
        if self.scale != 1.0:
            x = x * self.scale
        return x if self.positions is None else self.positions(x, start)
