"""Attention of zero-size axes, and the messages of its errors.

They are about the package's code. The tests of lesson 12 accept solutions without them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import require

from tinytorch import KVCache, MultiHeadAttention, Tensor, create_causal_mask
from tinytorch import scaled_dot_product_attention as sdpa
from tinytorch.attention import attention

ATTENTION = [sdpa, attention]


def draw(*shapes: tuple[int, ...], dtype: Any = np.float64) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("axis", [0, 1, 2, 3, 4, 5], ids=["B", "nh", "T", "S", "hs", "hv"])
@pytest.mark.parametrize("mask", [None, "boolean", "additive"])
@pytest.mark.parametrize("function", ATTENTION)
def test_zero_size_axes_equal_pytorch(function: Any, mask: Any, axis: int, backend: str) -> None:
    torch = require("torch")
    sizes = [2, 3, 5, 4, 6, 7]
    sizes[axis] = 0
    B, nh, T, S, hs, hv = sizes
    arrays = draw((B, nh, T, hs), (B, nh, S, hs), (B, nh, S, hv))
    visible = np.arange(S) <= np.arange(T)[:, None]
    given = {None: None, "boolean": visible, "additive": np.where(visible, 0.0, -np.inf)}[mask]
    ours = [Tensor(a, True, backend=backend) for a in arrays]
    y = function(*ours, None if given is None else Tensor(given, backend=backend))
    y = y if isinstance(y, Tensor) else y[0]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    expected = torch.nn.functional.scaled_dot_product_attention(
        *theirs, attn_mask=None if given is None else torch.tensor(given)
    )
    y.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (0, 0, 4)], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_multi_head_attention_of_an_empty_batch_is_empty(
    shape: tuple[int, ...], masked: bool, backend: str
) -> None:
    layer = MultiHeadAttention(4, 2, backend=backend)
    x = Tensor(np.zeros(shape, np.float32), True, backend=backend)
    mask = create_causal_mask(shape[1], backend=backend) if masked else None
    y, weights = layer.attend(x, mask)
    assert (y.shape, weights.shape) == (shape, (shape[0], 2, shape[1], shape[1]))
    (y.sum() + layer(x, mask).sum()).backward()
    assert x.grad.shape == shape
    assert not layer.qkv.weight.grad.numpy().any()


def _zeros(*shape: int, learned: bool = False) -> Tensor:
    return Tensor(np.zeros(shape), requires_grad=learned)


def _filled(*shape: int) -> KVCache:
    cache = KVCache(4)
    cache.append(_zeros(*shape), _zeros(*shape))
    return cache


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: create_causal_mask(-1), ValueError, "seq_len and past must be at least 0"),
        (lambda: create_causal_mask(2, -1), ValueError, "seq_len and past must be at least 0"),
        (lambda: sdpa(_zeros(5, 4), _zeros(5, 3), _zeros(5, 4)), ValueError, "incompatible shapes"),
        (lambda: sdpa(_zeros(5, 4), _zeros(5, 4), _zeros(6, 4)), ValueError, "incompatible shapes"),
        (lambda: MultiHeadAttention(12, 5), ValueError, "num_heads=5 does not divide embed_dim=12"),
        (lambda: MultiHeadAttention(12, 0), ValueError, "num_heads=0 does not divide embed_dim=12"),
        (lambda: _filled(1, 2, 3, 5).append(_zeros(1, 2, 3, 5), _zeros(1, 2, 3, 5)),
         ValueError, "the cache holds at most 4 tokens, got 6"),
        (lambda: KVCache(4).append(_zeros(2, 2, 1, 3, learned=True), _zeros(2, 2, 1, 3)),
         RuntimeError, "no_grad"),
        (lambda: _filled(2, 2, 1, 3).append(_zeros(1, 2, 1, 3), _zeros(1, 2, 1, 3)),
         ValueError, r"\(B, nh\) = \(2, 2\), got \(1, 2\)"),
    ],
)  # fmt: skip
def test_messages_of_attention(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
