"""Lesson 12: attention equals PyTorch's and respects its mask."""

import math
import re
import warnings
from typing import Any

import numpy as np
import pytest
from helpers import require

from tinytorch import (
    Dropout,
    KVCache,
    MultiHeadAttention,
    RotaryEmbedding,
    Tensor,
    create_causal_mask,
    no_grad,
    scaled_dot_product_attention,
)
from tinytorch.attention import attention

SHAPE = (2, 3, 5, 4)  # (B, nh, T, hs)


def draw(*shapes: tuple[int, ...], dtype: Any = np.float64) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


CAUSAL = np.tril(np.ones((5, 5), bool))
PADDING = (np.arange(5) < np.array([[5], [2]]))[:, None, None, :]  # (B, 1, 1, S)
ADDITIVE = draw((3, 5, 5))[0] - np.where(CAUSAL, 0, np.inf)  # different for each head
MASKS = {
    "none": None,
    "causal": CAUSAL,
    "padding": PADDING,
    "both": CAUSAL & PADDING,
    "additive": ADDITIVE,
}


def test_causal_mask_allows_the_past_and_the_present(backend: str) -> None:
    assert (
        create_causal_mask(3, backend=backend).tolist() == np.tril(np.ones((3, 3), bool)).tolist()
    )
    past = create_causal_mask(2, past=2, backend=backend)
    assert past.tolist() == [[True, True, True, False], [True, True, True, True]]
    assert create_causal_mask(0, backend=backend).shape == (0, 0)


@pytest.mark.parametrize(("seq_len", "past"), [(-1, 0), (2, -1)])
def test_negative_sizes_of_a_causal_mask_raise(seq_len: int, past: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        create_causal_mask(seq_len, past)


def test_a_dropout_probability_instead_of_a_function_raises() -> None:
    x = Tensor(np.ones((2, 4), np.float32))
    for function in (scaled_dot_product_attention, attention):
        with pytest.raises(
            TypeError, match=r"a function of the weights, as Dropout\(0.1\), got 0.5"
        ):
            function(x, x, x, None, 0.5)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_attention_and_its_gradients_equal_pytorch(mask: np.ndarray | None, backend: str) -> None:
    torch = require("torch")
    arrays, factor = draw(SHAPE, SHAPE, (2, 3, 5, 6)), draw((2, 3, 5, 6))[0]
    ours = [Tensor(a, True, backend=backend) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    given = None if mask is None else Tensor(mask, backend=backend)
    y, weights = scaled_dot_product_attention(*ours, mask=given)
    expected = torch.nn.functional.scaled_dot_product_attention(
        *theirs, attn_mask=None if mask is None else torch.tensor(mask)
    )
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(weights.numpy().sum(axis=-1), 1, rtol=1e-12)
    if mask is not None:
        hidden = ~mask if mask.dtype == bool else np.isinf(mask)
        assert (weights.numpy()[np.broadcast_to(hidden, weights.shape)] == 0).all()
    (y * Tensor(factor, backend=backend)).sum().backward()
    (expected * torch.tensor(factor)).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad is not None
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-10)


def test_a_fully_masked_query_gets_zeros(backend: str) -> None:
    q, k, v = (Tensor(a, True, backend=backend) for a in draw(SHAPE, SHAPE, SHAPE))
    mask = CAUSAL.copy()
    mask[2] = False
    y, weights = scaled_dot_product_attention(q, k, v, Tensor(mask, backend=backend))
    assert (weights.numpy()[:, :, 2] == 0).all()
    assert (y.numpy()[:, :, 2] == 0).all()
    y.sum().backward()
    for x in (q, k, v):
        assert x.grad is not None
        assert np.isfinite(x.grad.numpy()).all()
    assert q.grad is not None
    assert (q.grad.numpy()[:, :, 2] == 0).all()


@pytest.mark.parametrize("texts", [SHAPE[0], 100])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0, 1e4])
def test_rows_of_weights_sum_to_one_for_scores_of_any_size(scale: float, texts: int) -> None:
    """Including queries whose unmasked scores are far below the largest score."""
    shape = (texts, *SHAPE[1:])
    q, k, v = (a * scale**0.5 for a in draw(shape, shape, shape, dtype=np.float32))
    q[:, :, 0] *= 3
    _, weights = scaled_dot_product_attention(Tensor(q), Tensor(k), Tensor(v), Tensor(CAUSAL))
    scores = np.where(CAUSAL, q.astype(float) @ k.swapaxes(-1, -2).astype(float) / 2, -np.inf)
    exact = np.exp(scores - scores.max(axis=-1, keepdims=True))
    exact /= exact.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(weights.numpy().sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(weights.numpy(), exact, rtol=1e-4 * max(1, scale), atol=1e-5)


def test_dropout_is_applied_to_the_weights() -> None:
    q, k, v = (Tensor(a) for a in draw(SHAPE, SHAPE, SHAPE))
    dropped, weights = scaled_dot_product_attention(q, k, v, dropout=Dropout(1.0))
    assert (dropped.numpy() == 0).all()
    np.testing.assert_allclose(weights.numpy().sum(axis=-1), 1)
    kept = Dropout(1.0).eval()
    assert scaled_dot_product_attention(q, k, v, dropout=kept)[0].numpy().any()


@pytest.mark.parametrize(
    "shapes", [((5, 4), (5, 3), (5, 4)), ((5, 4), (5, 4), (6, 4))], ids=["size", "length"]
)
def test_mismatched_shapes_raise(shapes: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(str(shapes[2]))):
        scaled_dot_product_attention(*(Tensor(a) for a in draw(*shapes)))


@pytest.mark.parametrize("shapes", [((4,), (5, 4), (5, 4)), ((5, 4), (5, 4), (5,))], ids=str)
def test_vectors_raise(shapes: Any) -> None:
    with pytest.raises(ValueError, match="need at least two axes"):
        scaled_dot_product_attention(*(Tensor(a) for a in draw(*shapes)))


# Masks of other dtypes and shapes

ATTENTION = [scaled_dot_product_attention, attention]


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "int8"])
@pytest.mark.parametrize("function", ATTENTION)
@pytest.mark.parametrize("size", [5, 80])  # NumPy's fused kernel computes large tables
def test_an_integer_mask_raises_and_names_the_fix(
    size: int, function: Any, dtype: str, backend: str
) -> None:
    x = Tensor(np.ones((1, 1, size, 4), np.float32), backend=backend)
    for ones in (np.tril(np.ones((size, size), dtype)), np.ones((1, 1, size, size), dtype)):
        mask = Tensor(ones, backend=backend)
        with pytest.raises(TypeError, match=r'mask\.to\("bool"\) or mask == 1'):
            function(x, x, x, mask)
        function(x, x, x, mask == 1)
        function(x, x, x, mask.to("bool"))


def test_multi_head_attention_refuses_integer_masks(backend: str) -> None:
    x = Tensor(np.ones((2, 3, 8), np.float32), backend=backend)
    mask = Tensor(np.ones((3, 3), np.int64), backend=backend)
    layer = MultiHeadAttention(8, 2, backend=backend)
    for call in (layer, layer.attend):
        with pytest.raises(TypeError, match=r"got .*int64; convert"):
            call(x, mask)


@pytest.mark.parametrize("function", ATTENTION)
@pytest.mark.parametrize("name", ["numpy", "reference"])
def test_a_floating_mask_of_0_and_1_warns(function: Any, name: str) -> None:
    x = Tensor(np.ones((1, 1, 5, 4), np.float32), backend=name)
    for dtype in ("float32", "float64"):
        mask = Tensor(np.tril(np.ones((5, 5), dtype)), backend=name)
        with pytest.warns(UserWarning, match="hides nothing; pass a boolean.*mask == 1") as found:
            function(x, x, x, mask)
        assert [warning.filename for warning in found] == [__file__]


def test_masks_may_be_arrays_and_lists() -> None:
    x = Tensor(np.ones((1, 1, 2, 4), np.float32))
    expected = scaled_dot_product_attention(x, x, x, Tensor(np.tri(2) == 1))[1].tolist()
    for mask in (np.tri(2) == 1, [[True, False], [True, True]], [[0.0, -np.inf], [0.0, 0.0]]):
        assert scaled_dot_product_attention(x, x, x, mask)[1].tolist() == expected
    for wrong in ([[1, 0], [1, 1]], np.tri(2, dtype=np.uint8), "ab"):
        with pytest.raises(TypeError, match="an attention mask must be"):
            scaled_dot_product_attention(x, x, x, wrong)


def test_the_warning_of_a_mask_names_the_line_that_called_the_model() -> None:
    layer, x = MultiHeadAttention(8, 2), Tensor(np.ones((1, 3, 8), np.float32))
    for call in (layer, no_grad()(layer)):
        with pytest.warns(UserWarning, match="hides nothing") as found:
            call(x, Tensor(np.tri(3)))
        assert [warning.filename for warning in found] == [__file__]


@pytest.mark.parametrize("name", ["numpy", "reference"])
@pytest.mark.parametrize(
    "mask",
    [np.where(CAUSAL, 0, -np.inf), np.where(CAUSAL, 0, -1e9), np.zeros((5, 5)), np.ones((5, 5)),
     ADDITIVE, np.where(CAUSAL, 0.5, 1), np.eye(5) * 2, np.full((5, 5), np.nan)],
    ids=["-inf", "-1e9", "zeros", "ones", "biases", "half", "twos", "nan"],
)  # fmt: skip
def test_other_floating_masks_do_not_warn(mask: np.ndarray, name: str) -> None:
    x = Tensor(np.ones((1, 3, 5, 4)), backend=name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attention(x, x, x, Tensor(mask, backend=name))


@pytest.mark.parametrize(
    "shape", [(4, 5), (5, 4), (4,), (5, 1, 1, 4), (3, 1, 5, 5), (2, 2, 5, 5), (7, 5)], ids=str
)
def test_a_mask_of_another_shape_raises(shape: tuple[int, ...], backend: str) -> None:
    q, k, v = (Tensor(a, backend=backend) for a in draw(SHAPE, SHAPE, SHAPE))
    masks = np.ones(shape, bool), np.zeros(shape)
    for mask in masks:
        for function in ATTENTION:
            with pytest.raises(ValueError, match=r"attention mask of shape .* does not broadcast"):
                function(q, k, v, Tensor(mask, backend=backend))
    with pytest.raises(ValueError, match="does not broadcast"):  # of more queries than there are
        attention(q[:, :, :1], k, v, Tensor(CAUSAL, backend=backend))


# Multi-head attention


@pytest.mark.parametrize(
    ("x", "given"),
    [
        (np.zeros((3, 8)), r"shape \(3, 8\)"),
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\)"),
        (np.zeros((1, 2, 3, 8)), r"shape \(1, 2, 3, 8\)"),
        ([[[0.0] * 8]], "list"),
        (None, "NoneType"),
    ],
    ids=str,
)
def test_other_inputs_of_multi_head_attention_raise(x: Any, given: str) -> None:
    x = Tensor(x) if isinstance(x, np.ndarray) else x
    with pytest.raises(ValueError, match=rf"takes a tensor \(B, T, 8\), got {given}"):
        MultiHeadAttention(8, 2)(x)


OPTIONS = [
    pytest.param(bias, rotary, causal, id="-".join(n for n, on in zip(
        ("bias", "rotary", "causal"), (bias, rotary, causal), strict=True) if on) or "none")
    for bias in (True, False) for rotary in (True, False) for causal in (True, False)
]  # fmt: skip


@pytest.mark.parametrize(("bias", "rotary", "causal"), OPTIONS)
def test_multi_head_attention_equals_pytorch(bias: bool, rotary: bool, causal: bool) -> None:
    torch_reference = require("torch_reference")
    torch = torch_reference.torch
    encoding = RotaryEmbedding(4, 9) if rotary else None
    ours = MultiHeadAttention(12, 3, bias=bias, rotary=encoding).to("float64")
    their_encoding = torch_reference.Rotary(4, 9) if rotary else None
    reference = torch_reference.MultiHeadAttention(
        12, 3, bias=bias, rotary=their_encoding, causal=causal
    )
    torch_reference.copy_weights(ours, reference)
    array, factor = draw((2, 7, 12), (2, 7, 12))
    x, their_x = Tensor(array, True), torch.tensor(array, requires_grad=True)
    y, expected = ours(x, create_causal_mask(7) if causal else None), reference(their_x)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-9)
    (y * Tensor(factor)).sum().backward()
    (expected * torch.tensor(factor)).sum().backward()
    theirs = {**torch_reference.gradients(reference), "x": their_x.grad.numpy()}
    for name, p in [*ours.named_parameters(), ("x", x)]:
        assert p.grad is not None, name
        np.testing.assert_allclose(p.grad.numpy(), theirs[name], rtol=1e-8, atol=1e-8)


def test_a_token_does_not_depend_on_later_ones(backend: str) -> None:
    attention = MultiHeadAttention(12, 3, backend=backend)
    x = draw((1, 6, 12), dtype=np.float32)[0]
    mask = create_causal_mask(6, backend=backend)
    before = attention(Tensor(x, backend=backend), mask).numpy()
    for place in range(6):
        changed = x.copy()
        changed[:, place] += 1
        after = attention(Tensor(changed, backend=backend), mask).numpy()
        np.testing.assert_allclose(after[:, :place], before[:, :place], rtol=1e-5, atol=1e-6)
        assert (np.abs(after[:, place:] - before[:, place:]).max(axis=-1) > 1e-4).all()


def test_padding_does_not_change_the_output(backend: str) -> None:
    attention = MultiHeadAttention(12, 3, backend=backend)
    x = draw((2, 5, 12), dtype=np.float32)[0]
    whole = attention(Tensor(x, backend=backend), Tensor(PADDING, backend=backend)).numpy()
    short = attention(Tensor(x[1:, :2], backend=backend)).numpy()
    np.testing.assert_allclose(whole[1:, :2], short, rtol=1e-5, atol=1e-6)


def test_attend_returns_the_weights_as_well() -> None:
    attention, x = MultiHeadAttention(12, 3), Tensor(draw((2, 5, 12), dtype=np.float32)[0])
    y, weights = attention.attend(x, create_causal_mask(5))
    assert weights.shape == (2, 3, 5, 5)
    assert y.tolist() == attention(x, create_causal_mask(5)).tolist()


@pytest.mark.parametrize("heads", [5, 0, -3])
def test_a_number_of_heads_that_does_not_divide_embed_dim_raises(heads: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        MultiHeadAttention(12, heads)


# KV cache


@pytest.mark.parametrize("rotary", [True, False])
@pytest.mark.parametrize("parts", [[1] * 8, [3, 1, 4], [8], [5, 3]])
def test_attention_with_a_cache_equals_attention_without(
    parts: list[int], rotary: bool, backend: str
) -> None:
    encoding = RotaryEmbedding(4, 8, backend=backend) if rotary else None
    attention = MultiHeadAttention(12, 3, rotary=encoding, backend=backend)
    x = Tensor(draw((2, 8, 12), dtype=np.float32)[0], backend=backend)
    whole = attention(x, create_causal_mask(8, backend=backend)).numpy()
    cache, found = KVCache(8), []
    with no_grad():
        for size in parts:
            past = cache.length
            mask = create_causal_mask(size, past, backend)
            found.append(attention(x[:, past : past + size], mask, cache).numpy())
    assert cache.length == 8
    np.testing.assert_allclose(np.concatenate(found, axis=1), whole, rtol=1e-4, atol=1e-6)


def test_appending_to_a_full_cache_raises() -> None:
    cache, part = KVCache(4), Tensor(np.zeros((1, 2, 3, 5), np.float32))
    keys, values = cache.append(part, part + 1)
    assert (keys.shape, values.shape, cache.length) == ((1, 2, 3, 5), (1, 2, 3, 5), 3)
    assert math.isclose(values.numpy().mean(), 1)
    with pytest.raises(ValueError, match=r"4.*6|6.*4"):
        cache.append(part, part)
    assert cache.length == 3


def test_a_cache_with_gradients_or_another_batch_size_raises() -> None:
    cache, two = KVCache(4), Tensor(np.zeros((2, 2, 1, 3), np.float32))
    with pytest.raises(RuntimeError):
        cache.append(Tensor(np.zeros((2, 2, 1, 3)), requires_grad=True), two)
    cache.append(two, two)
    with pytest.raises(ValueError):  # noqa: PT011
        cache.append(two[:1], two[:1])
    assert cache.length == 1
