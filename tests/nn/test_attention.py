"""scaled_dot_product_attention and MultiheadAttention, against PyTorch's."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import load_module, require

import tinytorch
from tinytorch import Tensor, nn, ones
from tinytorch.nn import functional as F  # noqa: N812

against_torch = load_module(Path(__file__).with_name("against_torch.py"))
assert_same, pair = against_torch.assert_same, against_torch.pair


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def boolean(*shape: int, first: bool = True) -> np.ndarray:
    """A random mask in which the first key has the value `first`."""
    mask = np.random.default_rng(1).random(shape) < 0.5
    mask[..., 0] = first
    return mask


def causal(T: int) -> np.ndarray:
    return np.where(np.tri(T, dtype=bool), np.float32(0), np.float32(-math.inf))


CALLS: list[tuple[Any, dict[str, Any]]] = [
    ([(2, 3, 5, 4)] * 3, {}),
    ([(2, 3, 5, 4)] * 3, {"is_causal": True}),
    ([(2, 3, 40, 16)] * 3, {"is_causal": True}),  # large enough for the fused kernel
    ([(2, 3, 40, 16)] * 3, {"is_causal": True, "scale": 0.1}),
    ([(2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)], {"is_causal": True}),
    ([(2, 3, 7, 4), (2, 3, 5, 4), (2, 3, 5, 6)], {"is_causal": True}),
    ([(3, 5, 4)] * 3, {"is_causal": True}),
    ([(5, 4)] * 3, {"attn_mask": boolean(5, 5)}),
    ([(2, 3, 5, 4)] * 3, {"attn_mask": boolean(5, 5), "scale": 2.0}),
    ([(2, 3, 5, 4)] * 3, {"attn_mask": boolean(2, 1, 1, 5)}),
    ([(2, 3, 5, 4)] * 3, {"attn_mask": normal(5, 5)}),
    ([(2, 3, 5, 4)] * 3, {"attn_mask": causal(5)}),
    ([(2, 4, 5, 8), (2, 2, 5, 8), (2, 2, 5, 8)], {"is_causal": True, "enable_gqa": True}),
    ([(2, 4, 40, 8), (2, 1, 40, 8), (2, 1, 40, 8)], {"is_causal": True, "enable_gqa": True}),
]


@pytest.mark.parametrize(("shapes", "settings"), CALLS)
def test_scaled_dot_product_attention_equals_pytorch(shapes: Any, settings: Any) -> None:
    theirs = require("torch").nn.functional.scaled_dot_product_attention
    inputs = [normal(*shape) + i for i, shape in enumerate(shapes)]
    assert_same(F.scaled_dot_product_attention, theirs, *inputs, **settings)


def test_a_query_that_sees_no_key_has_the_output_zero() -> None:
    x, mask = ones(1, 1, 2, 4), Tensor([[True, False], [False, False]])
    y = F.scaled_dot_product_attention(x, x, x, mask)
    assert y[0, 0, :, 0].tolist() == [1.0, 0.0]


def test_dropout_applies_to_the_weights() -> None:
    tinytorch.manual_seed(0)
    x = ones(8, 8, 64, 8)
    y = F.scaled_dot_product_attention(x, x, x, dropout_p=0.5).numpy()
    assert 0.01 < y.std() < 0.3
    assert y.mean() == pytest.approx(1, abs=0.02)
    assert F.scaled_dot_product_attention(x, x, x, dropout_p=1.0).numpy().max() == 0


@pytest.mark.parametrize("T", [5, 40])
def test_scaled_dot_product_attention_on_every_backend(T: int, backend: str) -> None:
    results = []
    for name in ("numpy", backend):
        q, k, v = (Tensor(normal(2, 2, T, 16) + i, True, backend=name) for i in range(3))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3)
        (y * y).sum().backward()
        results.append([y.numpy(), *(t.grad.numpy() for t in (q, k, v))])
    for found, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


q = ones(2, 3, 5, 4)
ERRORS: list[tuple[Any, str]] = [
    (lambda: F.scaled_dot_product_attention(q, q, q, Tensor(boolean(5, 5)), is_causal=True),
     "attn_mask or is_causal=True, not both"),
    (lambda: F.scaled_dot_product_attention(q, q, q, dropout_p=1.5), r"dropout_p .* not 1.5"),
    (lambda: F.scaled_dot_product_attention(q, q, q, ones(5, 5, dtype="int64")), "int64"),
    (lambda: F.scaled_dot_product_attention(q, q, q, Tensor(boolean(4, 4))), r"\(4, 4\)"),
    (lambda: F.scaled_dot_product_attention(q, ones(2, 3, 5, 6), q), "incompatible shapes"),
    (lambda: F.scaled_dot_product_attention(q, q, ones(2, 3, 4, 4)), "incompatible shapes"),
    (lambda: F.scaled_dot_product_attention(ones(4), q, q), r"two axes, got \(4,\)"),
    (lambda: F.scaled_dot_product_attention(q, q, q.numpy()), "value must be a tensor"),
    (lambda: F.scaled_dot_product_attention(q, ones(2, 2, 5, 4), q, enable_gqa=True),
     r"heads of key \(2, 2, 5, 4\)"),
    (lambda: nn.MultiheadAttention(10, 3), "num_heads=3 does not divide embed_dim=10"),
    (lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True), "not supported"),
    (lambda: nn.MultiheadAttention(8, 2)(*[ones(5, 2, 6)] * 3), r"\(T, B, 8\).* got \(5, 2, 6\)"),
    (lambda: nn.MultiheadAttention(8, 2)(ones(5, 2, 8), *[ones(5, 3, 8)] * 2), "same batch"),
    (lambda: nn.MultiheadAttention(8, 2)(*[ones(5, 2, 8)] * 3, is_causal=True), "needs attn_mask"),
    (lambda: nn.MultiheadAttention(8, 2)(*[ones(5, 2, 8)] * 3, attn_mask=Tensor(boolean(4, 4))),
     r"attn_mask must have the shape \(5, 5\) or \(4, 5, 5\), got \(4, 4\)"),
    (lambda: nn.MultiheadAttention(8, 2)(*[ones(5, 2, 8)] * 3, Tensor(boolean(5, 2))),
     r"key_padding_mask must have the shape \(2, 5\)"),
    (lambda: nn.MultiheadAttention(8, 2)(*[ones(5, 2, 8)] * 3,
                                         ones(2, 5, dtype="int64")), "mask == 1"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_wrong_arguments_are_errors_that_name_the_right_ones(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_multihead_attention_equals_pytorch(batch_first: bool, need_weights: bool) -> None:
    ours, theirs = pair("MultiheadAttention", 8, 2, batch_first=batch_first)
    x = normal(3, 3, 8)  # B = T = 3
    padding = boolean(3, 3, first=False)
    for masks in (
        {},
        {"attn_mask": ~np.tri(3, dtype=bool)},
        {"attn_mask": causal(3), "is_causal": True},
        {"attn_mask": boolean(6, 3, 3, first=False)},
        {"attn_mask": normal(6, 3, 3)},
        {"key_padding_mask": padding},
        {"attn_mask": boolean(3, 3, first=False), "key_padding_mask": padding},
    ):
        assert_same(ours, theirs, x, x, x, need_weights=need_weights, **masks)
    y, z = normal(3, 3, 8) + 1, normal(3, 3, 8) - 1
    assert_same(ours, theirs, x, y, z, need_weights=need_weights)
    assert_same(ours, theirs, x, y, y, need_weights=need_weights)


def test_multihead_attention_to_another_sequence() -> None:
    ours, theirs = pair("MultiheadAttention", 8, 2, kdim=5, vdim=6)
    assert_same(ours, theirs, normal(4, 3, 8), normal(7, 3, 5), normal(7, 3, 6))
    ours, theirs = pair("MultiheadAttention", 8, 2, bias=False)
    keys = normal(7, 3, 8)
    assert_same(ours, theirs, normal(4, 3, 8), keys, keys, average_attn_weights=False)


def test_multihead_attention_without_a_batch() -> None:
    ours, theirs = pair("MultiheadAttention", 8, 2, batch_first=True)
    x = normal(4, 8)
    assert_same(ours, theirs, x, x, x, attn_mask=causal(4))
    assert_same(ours, theirs, x, x, x, boolean(4, first=False), need_weights=False)


def test_multihead_attention_has_dropout_in_training_only() -> None:
    layer, x = nn.MultiheadAttention(8, 2, dropout=0.5), Tensor(normal(5, 2, 8))
    for need_weights in (True, False):
        first, again = (layer(x, x, x, need_weights=need_weights)[0].numpy() for _ in range(2))
        assert not np.array_equal(first, again)
    layer.eval()
    np.testing.assert_array_equal(layer(x, x, x)[0].numpy(), layer(x, x, x)[0].numpy())


def test_initial_weights_have_pytorchs_distribution() -> None:
    layer = nn.MultiheadAttention(64, 2)
    bound = math.sqrt(6 / (4 * 64))
    assert 0.95 * bound < np.abs(layer.in_proj_weight.numpy()).max() <= bound
    assert not layer.in_proj_bias.numpy().any()
    assert not layer.out_proj.bias.numpy().any()
