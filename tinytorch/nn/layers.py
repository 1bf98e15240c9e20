"""PyTorch's layers that the lessons build with fewer arguments, and functions of arrays of data."""

import math
from typing import Any, Self

import numpy as np

from .. import embeddings, layers
from ..arguments import DtypeError, ShapeError, check_integer, check_number
from ..backends import Backend
from ..modules.module import Module, Parameter
from ..ops import random
from ..ops.elementwise import clip, where
from ..ops.operators import constant, same_backend
from ..ops.reductions import _axes, vector_norm
from ..tensor import Tensor
from .activations import softmax

__all__ = [
    "Bilinear",
    "Dropout",
    "Embedding",
    "Linear",
]

Linear = layers.Linear


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias, for input (..., in), weight (out, in) or (in,), and bias (out,)."""
    if weight.ndim == 1 and input.ndim and input.shape[-1:] == weight.shape:
        y = input @ weight
        return y if bias is None else y + bias
    fits = weight.ndim == 2 and input.shape[-1:] == weight.shape[1:]
    if not fits or not (bias is None or bias.shape in ((), weight.shape[:1])):
        sizes = "" if bias is None else f" and bias {bias.shape}"
        raise ShapeError(
            f"linear needs input (..., in), weight (out, in) and bias (out,), got input"
            f" {input.shape}, weight {weight.shape}{sizes}"
        )
    return layers.linear(input, weight, bias)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input1 @ weight[k] @ input2 + bias[k] for each k: (..., out) from (..., in1), (..., in2).

    The weight is (out, in1, in2).
    """
    out, in1, in2 = weight.shape
    if input1.shape[-1:] != (in1,) or input2.shape != (*input1.shape[:-1], in2):
        raise ShapeError(
            f"bilinear with a weight {weight.shape} needs inputs (..., {in1}) and (..., {in2}),"
            f" got {input1.shape} and {input2.shape}"
        )
    rows = input1 @ weight.permute(1, 0, 2).reshape(in1, out * in2)  # (..., out * in2)
    rows = rows.reshape(*input1.shape[:-1], out, in2)
    y = (rows @ input2.reshape(*input2.shape, 1)).reshape(*input1.shape[:-1], out)
    return y if bias is None else y + bias


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero elements with probability p and scale the others by 1 / (1 - p), if `training`."""
    p = float(check_number("dropout: p", p, 0, 1))
    if not training:
        return input
    return layers.apply_dropout(input, p, random.next_seed() if 0 < p < 1 else None)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of weight (V, C) for integers (...) -> (..., C); row `padding_idx` gets no gradient."""
    _check_unsupported("embedding", max_norm, scale_grad_by_freq)
    ids = same_backend(weight, input)
    if ids.is_floating_point() or ids.dtype == ids.backend.xp.bool:
        raise DtypeError(
            f"embedding needs integers, not {ids.dtype}; convert them with input.long()"
        )
    rows = embeddings.embedding(weight, ids)
    if padding_idx is None:
        return rows
    padding = _padding_idx("embedding", padding_idx, weight.shape[0])
    return where((ids == padding).unsqueeze(-1), rows.detach(), rows)


def _check_unsupported(name: str, max_norm: float | None, scale_grad_by_freq: bool) -> None:
    if max_norm is not None or scale_grad_by_freq:
        what = "scale_grad_by_freq" if max_norm is None else "max_norm"
        raise NotImplementedError(f"{name}: {what} is not in tinytorch; see docs/pytorch.md")


def _padding_idx(name: str, index: int, rows: int) -> int:
    """The row that does not change, where -1 is the last one."""
    index = check_integer(f"{name}: padding_idx", index, -rows, rows - 1)
    return index % rows


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Integers (...) -> (..., num_classes) with a 1 at each integer; by default, as many as needed.

    Raises:
        ValueError: an integer is outside of [0, num_classes); on a device its row has zeros only.
    """
    if tensor.is_floating_point() or tensor.dtype == tensor.backend.xp.bool:
        raise DtypeError(f"one_hot needs integers, not {tensor.dtype}; convert with .long()")
    array = tensor._array
    if num_classes == -1:
        if not array.size:
            raise ValueError("one_hot of an empty tensor needs num_classes")
        num_classes = int(tensor.max().item()) + 1
    num_classes = check_integer("one_hot: num_classes", num_classes, 1)
    if isinstance(array, np.ndarray) and array.size:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= num_classes:
            wrong = low if low < 0 else high
            raise ValueError(f"one_hot: {wrong} is outside of the {num_classes} classes")
    xp = tensor._backend.xp
    hit = xp.expand_dims(array, axis=-1) == xp.arange(num_classes)
    return constant(tensor, xp.astype(hit, xp.int64))


def normalize(
    input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: None = None
) -> Tensor:
    """x divided by its p-norm over `dim`, which counts as at least `eps`."""
    return input / clip(vector_norm(input, p=p, axis=dim, keepdims=True), min=eps)


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """A random choice of a class as softmax((logits + noise) / tau), from Gumbel's distribution.

    With `hard` the result is one-hot, and its gradient is that of the softmax.

    Source: E. Jang et al., "Categorical Reparameterization with Gumbel-Softmax" (2016).
    """
    xp = logits._backend.xp
    bits = xp.astype(xp.random_bits(random.next_seed(), logits.shape), logits.dtype)
    uniform = (bits + 0.5) / 2**32
    noise = -xp.log(-xp.log(xp.where(uniform == 1, 1 - 2**-24 * xp.ones_like(uniform), uniform)))
    soft = softmax((logits + constant(logits, noise)) / tau, dim=dim)
    if not hard:
        return soft
    (axis,) = _axes(logits._array, (dim,))
    chosen = xp.argmax(soft._array, axis=axis, keepdims=True)
    shape = tuple(soft.shape[axis] if a == axis else 1 for a in range(soft.ndim))
    hit = xp.reshape(xp.arange(soft.shape[axis]), shape) == chosen
    return constant(soft, xp.astype(hit, soft.dtype)) - soft.detach() + soft


class Dropout(layers.Dropout):
    """During training, zero elements with probability p and scale the others by 1 / (1 - p)."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__(p)
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Embedding(embeddings.Embedding):
    """Lookup table with one vector for each integer.

    Args:
        num_embeddings: V, number of rows.
        embedding_dim: C, size of a row.
        padding_idx: a row that is 0 and gets no gradient.
        max_norm: not supported; nor are `norm_type` and `scale_grad_by_freq`.
        sparse: without effect; gradients are dense.
        _weight: the rows (V, C), instead of normal random numbers.
        _freeze: whether the rows are not trained.
        device: of the weight.
        dtype: of the weight.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        backend: str | Backend | None = None,
    ) -> None:
        Module.__init__(self)
        _check_unsupported("Embedding", max_norm, scale_grad_by_freq)
        self.num_embeddings = check_integer("Embedding: num_embeddings", num_embeddings)
        self.embedding_dim = check_integer("Embedding: embedding_dim", embedding_dim)
        shape = (self.num_embeddings, self.embedding_dim)
        if padding_idx is not None:
            padding_idx = _padding_idx("Embedding", padding_idx, shape[0])
        self.padding_idx = padding_idx
        place = device if backend is None else backend
        if _weight is None:
            values: Any = random.normal(shape)
            if padding_idx is not None:
                values[padding_idx] = 0
        elif (values := _weight).shape != shape:
            raise ShapeError(f"Embedding{shape} cannot take a weight of shape {values.shape}")
        self.weight = Parameter(values, not _freeze, dtype=dtype, backend=place)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """A table of given rows (V, C), which are copied."""
        rows, size = embeddings.shape
        _check_unsupported("from_pretrained", max_norm, scale_grad_by_freq)
        return cls(rows, size, padding_idx, _weight=embeddings, _freeze=freeze)

    def forward(self, input: Tensor) -> Tensor:
        """Integers (...) -> (..., C)."""
        return embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Bilinear(Module):
    """y[k] = x1 @ W[k] @ x2 + b[k], on the last axis.

    The weight (out_features, in1_features, in2_features) and the bias (out_features,) are
    initialised uniformly in ±1/sqrt(in1_features).
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        in1_features = check_integer("Bilinear: in1_features", in1_features, 1)
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        bound = 1 / math.sqrt(in1_features)
        shape = (out_features, in1_features, in2_features)
        weight = random.uniform(shape, -bound, bound)
        self.weight = Parameter(weight, dtype=dtype, backend=device)
        self.bias = None
        if bias:
            values = random.uniform(shape[:1], -bound, bound)
            self.bias = Parameter(values, dtype=dtype, backend=device)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        sizes = f"in1_features={self.in1_features}, in2_features={self.in2_features}"
        return f"{sizes}, out_features={self.out_features}, bias={self.bias is not None}"
