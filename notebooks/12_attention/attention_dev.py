# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 12: Attention
#
# After lesson 11, each token is a vector that encodes only the token itself and its position. But
# the meaning of a word depends on the words around it: in *the king took the crown and put it on*,
# what does *it* refer to?
#
# **Attention** lets each token look at the tokens before it. Each token computes three vectors:
#
# | vector | what it says |
# |---|---|
# | query | what am I looking for? |
# | key | what do I have? |
# | value | what do I pass on to tokens that attend to me? |
#
# A query is compared with all keys, and the result is an average of the values: the better a key
# matches, the larger its weight. That is all.
#
# You will build: the causal mask, attention weights and their gradient, scaled dot-product
# attention, multiple heads, a KV cache, and the attention module that GPT is made of.

# %% setup=true
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.activations import softmax_array
from tinytorch.autograd import wrap_array, no_grad
from tinytorch.ops.op import composite, op
from tinytorch.backends import Backend, get
from tinytorch.backends.base import Array, Namespace
from tinytorch.embeddings import RotaryEmbedding
from tinytorch.layers import Dropout, Linear, apply_dropout
from tinytorch.modules.attention_mask import check_mask
from tinytorch.modules.module import Module
from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise

# %% [markdown]
# ## The idea, by hand
#
# Three tokens, with vectors of size 2. Letters for shapes in this lesson:
#
# - `B` batch size, `T` number of queries, `S` number of keys and values
# - `C` size of a token's vector, `nh` number of heads, `hs = C / nh` size of a head

# %%
keys = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # (S, hs) = (3, 2)
values = np.array([[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]])  # (S, hs)
query = np.array([4.0, 0.0])  # what the last token is looking for, (hs,)

scores = keys @ query  # how well each key matches, (S,)
weights = np.exp(scores) / np.exp(scores).sum()  # positive, with a sum of 1
print("scores ", scores)
print("weights", weights.round(3))
print("result ", (weights @ values).round(2), "<- an average of the values")

# %% [markdown]
# The first number of the query is large, so keys with a large first number win: the first and the
# third. Unlike a dictionary lookup, which either succeeds or fails, attention is smooth, so gradients
# can flow through it.

# %% [markdown]
# ## 12.1 The causal mask
#
# GPT learns to predict the *next* token. If a token could look ahead, it would simply copy the
# answer. So a mask defines which tokens each token may see: row `t`, column `s` is `True` if token
# `t` may see token `s`.
#
# Later we generate text token by token. Then `past` tokens have already been processed, and the
# queries are the tokens after them.

# %% exercise="12.1" points=2
from tinytorch.attention import create_causal_mask

# create_causal_mask:
#   Raise a ValueError if seq_len or past is negative.
#   The queries are at positions past, past + 1, ...: seq_len of them.
#   The keys are at positions 0, 1, 2, ... up to the last query.
#   get(backend) returns the backend; its xp has arange and expand_dims: turn one of the two into a
#   column, the other into a row.
#   Compare them: broadcasting builds the table. A token sees itself.

# %% test="12.1" points=2
with Exercise("12.1", "create_causal_mask") as check:
    check.equal(create_causal_mask(3).shape, (3, 3), "the shape of the mask of 3 tokens")
    check.equal(
        create_causal_mask(3).tolist(),
        [[True, False, False], [True, True, False], [True, True, True]],
        "the mask of 3 tokens",
        cause="row t is True up to and including column t: a token sees itself and those before it",
    )
    check.equal(
        create_causal_mask(2, past=2).tolist(),
        [[True, True, True, False], [True, True, True, True]],
        "the mask of 2 tokens that follow 2 others",
        cause="keys start at 0 and queries at past; both end at past + seq_len",
    )
    check.equal(create_causal_mask(1, past=3).tolist(), [[True] * 4], "the mask of one new token")

# %% [markdown]
# A picture shows it best: rows are queries, columns are keys.

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(8, 3))
for axis, (title, mask) in zip(
    axes,
    {
        "8 tokens": create_causal_mask(8),
        "3 tokens after 5 others": create_causal_mask(3, 5),
    }.items(),
    strict=True,
):
    axis.imshow(mask.numpy(), cmap="Blues", vmin=0, vmax=1.3)
    axis.set(title=title, xlabel="key", ylabel="query")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 12.2 Attention weights
#
# For all queries at once, $W = \mathrm{softmax}(Q K^\top \cdot \mathrm{scale})$.
#
# - `q` is (..., T, hs) and `k` is (..., S, hs), so the scores are (..., T, S).
# - Masked scores are set to $-\infty$, so that their weights are exactly 0 after the softmax.
# - The softmax runs over the **keys**, the last axis: the weights of each query sum to 1.
#
# This is an *op*, as in lesson 6: it works on arrays of the namespace `xp`, and returns its result
# and what its gradient needs.

# %% exercise="12.2" points=3
from tinytorch.attention import attention_weights

# attention_weights:
#   Scores: each query times each key. xp.matrix_transpose swaps the last two axes. Then the scale.
#   A boolean mask: xp.where selects the score or -inf (xp.full_like creates an array of -inf).
#   A float mask is added to the scores; None means no mask.
#   softmax_array(xp, scores) is the softmax over the last axis, from lesson 2.
#   Return weights, and the tuple that the gradient needs: q, k, weights, scale.

# %% test="12.2" points=3
with Exercise("12.2", "attention_weights") as check:
    q, k = Tensor([[1.0, 0.0], [0.0, 2.0]]), Tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    got = attention_weights(q, k, scale=1.0)
    check.equal(got.shape, (2, 3), "the shape for 2 queries and 3 keys", cause="(T, S)")
    check.close(got.sum(axis=-1), [1.0, 1.0], "the sum of each query's weights",
                cause="the softmax runs over the keys, the last axis")  # fmt: skip
    check.close(
        got, [[0.4223, 0.1554, 0.4223], [0.0634, 0.4683, 0.4683]], "the weights",
        cause="scores are q @ k.T", tolerance=1e-3,
    )  # fmt: skip
    check.close(
        attention_weights(q, k, scale=0.5)[1], [0.1554, 0.4223, 0.4223],
        "the second query's weights with scale 0.5",
        cause="multiply the scores by scale before the softmax", tolerance=1e-3,
    )  # fmt: skip
    only = Tensor([[True, False, False], [True, False, True]])
    check.close(
        attention_weights(q, k, only, scale=1.0), [[1.0, 0.0, 0.0], [0.1192, 0.0, 0.8808]],
        "the weights with a mask",
        cause="True means visible; masked scores become -inf before the softmax, not 0",
        tolerance=1e-3,
    )  # fmt: skip
    added = Tensor([[0.0, -1e9, -1e9], [0.0, -1e9, 0.0]])
    check.close(
        attention_weights(q, k, added, scale=1.0)[1], [0.1192, 0.0, 0.8808],
        "the weights with a float mask", cause="add the mask to the scores", tolerance=1e-3,
    )  # fmt: skip

# %% [markdown]
# ## 12.3 The gradient of attention weights
#
# Let $W$ be the weights and $G$ the gradient of the loss with respect to them. Through the softmax
# of a row, the gradient with respect to its scores is
#
# $$ D = W \odot (G - \textstyle\sum_s G_s W_s) $$
#
# The sum is there because raising one score lowers the weights of all the others. The scores
# $Q K^\top \cdot \mathrm{scale}$ are a matrix product, so as in lesson 6
#
# $$ dQ = D\,K \cdot \mathrm{scale}, \qquad dK = D^\top Q \cdot \mathrm{scale}. $$
#
# A float mask is added to the scores, so its gradient is $D$ itself. A masked key has weight 0, so
# its $D$ is 0: a boolean mask needs no special case.

# %% exercise="12.3" points=3
from tinytorch.attention import attention_weights_gradient

# attention_weights_gradient:
#   First compute d, the gradient of the scores, by the formula above. The sum is over the last
#   axis, with keepdims=True so that it broadcasts.
#   Return three functions without arguments, for q, k and the mask: each is called only if its
#   gradient is needed.

# %% test="12.3" points=3
with Exercise("12.3", "attention_weights_gradient") as check:
    rng = np.random.default_rng(0)
    q = Tensor(rng.standard_normal((2, 3, 4)), requires_grad=True)
    k = Tensor(rng.standard_normal((2, 3, 4)), requires_grad=True)
    check.gradient(
        lambda q, k: attention_weights(q, k, scale=0.5), q, k, what="attention_weights",
        cause="d = weights * (g - sum(g * weights)); then the matrix product, and the scale again",
    )  # fmt: skip
    mask = create_causal_mask(3)
    check.gradient(
        lambda q, k: attention_weights(q, k, mask, scale=0.5), q, k,
        what="attention_weights with a causal mask",
    )  # fmt: skip
    bias = Tensor(rng.standard_normal((3, 3)), requires_grad=True)
    check.gradient(
        lambda q, k, bias: attention_weights(q, k, bias, scale=0.5), q, k, bias,
        what="attention_weights with a float mask", cause="the gradient of the mask is d itself",
    )  # fmt: skip

# %% [markdown]
# ## 12.4 Scaled dot-product attention
#
# $$ \mathrm{Attention}(Q, K, V) = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt{hs}}\right) V $$
#
# Why the square root? A score is a sum of `hs` products. If the factors have variance 1, the sum
# has variance `hs`: the longer the vectors, the larger the scores, and a softmax of large numbers
# puts nearly all the weight on one key. Its gradient is then close to 0, and nothing is learned.
# Dividing by $\sqrt{hs}$ brings the variance back to 1.

# %%
rng = np.random.default_rng(0)
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for axis, scaled in zip(axes, (False, True), strict=True):
    for hs in (4, 64, 1024):
        scores = rng.standard_normal((16, hs)) @ rng.standard_normal(hs)
        weights = np.exp(scores / math.sqrt(hs) if scaled else scores - scores.max())
        axis.plot(np.sort(weights / weights.sum())[::-1], "o-", label=f"hs = {hs}")
    axis.set(title="divided by $\\sqrt{hs}$" if scaled else "unscaled", xlabel="key, sorted")
axes[0].set_ylabel("weight")
axes[0].legend()
figure.tight_layout()
plt.show()

# %% exercise="12.4" points=2
from tinytorch.attention import attention, fused_attention, scaled_dot_product_attention

# scaled_dot_product_attention:
#   Q and K must have the same last axis, K and V the same number of tokens; otherwise raise a
#   ValueError with the three shapes.
#   If there is a mask, call check_mask(Q, K, mask): it refuses masks of integers.
#   attention_weights does most of the work; which scale?
#   Dropout, if given, is applied to the weights, before they are multiplied by the values.
#   Return the output and the weights (those without dropout).
# The functions `attention` and `fused_attention` below are given: they return the output alone, for
# callers that do not need the weights. A backend may replace the second with a kernel that never
# stores the table of weights.

# %% test="12.4" points=2
with Exercise("12.4", "scaled_dot_product_attention") as check:
    rng = np.random.default_rng(1)
    Q, K, V = (Tensor(rng.standard_normal((2, 3, 4)).astype(np.float32)) for _ in range(3))
    output, weights = scaled_dot_product_attention(Q, K, V)
    scores = Q.numpy() @ K.numpy().swapaxes(-1, -2) / 2  # the square root of 4
    wanted = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    check.close(weights, wanted, "the weights", cause="the scale is 1 / sqrt(hs), here 1 / 2")
    check.close(output, wanted @ V.numpy(), "the output", cause="the output is weights @ V")
    output, weights = scaled_dot_product_attention(Q, K, V, create_causal_mask(3))
    check.close(output[:, 0], V[:, 0], "the output of the first token with a causal mask",
                cause="it sees only itself: is the mask passed on?")  # fmt: skip
    output, weights = scaled_dot_product_attention(Q, K, V, None, Dropout(1.0))
    check.close(output, np.zeros((2, 3, 4)), "the output when all weights are dropped",
                cause="apply dropout to the weights, before the product with V")  # fmt: skip
    check.close(weights.sum(axis=-1), np.ones((2, 3)), "the sums of the returned weights",
                cause="return the weights without dropout")  # fmt: skip
    check.raises(ValueError, lambda: scaled_dot_product_attention(Q, K[:, :, :3], V),
                 "keys that differ in size from the queries", message="(2, 3, 3)")  # fmt: skip
    check.raises(ValueError, lambda: scaled_dot_product_attention(Q, K, V[:, :2]),
                 "fewer values than keys")  # fmt: skip

# %% [markdown]
# ## 12.5 Heads
#
# One average of the values is one answer. A token may need several: who is the subject, which verb
# comes next, how long is the line? So C is split into `nh` **heads** of size `hs = C / nh`, and
# each head computes its own attention.
#
# A single matrix product computes the queries, keys and values of all heads: `3 C` numbers per
# token. They have to be separated without mixing them up:
#
# `(B, T, 3 C)` -> reshape `(B, T, 3, nh, hs)` -> permute `(3, B, nh, T, hs)`
#
# A reshape keeps the numbers in the same order and only groups them into different axes. It
# cannot swap two axes: that is what `permute_dims` is for. Reshaping directly to `(B, nh, T, hs)`
# gives the right shape but mixes the tokens: the most common bug of this lesson.

# %%
row = np.arange(12).reshape(1, 2, 6)  # B=1, T=2, C=6: token 0 has 0-5, token 1 has 6-11
print("right: head 0 of each token\n", row.reshape(1, 2, 3, 2).transpose(0, 2, 1, 3)[0, 0])
print("wrong: the right shape, but one token is cut in two\n", row.reshape(1, 3, 2, 2)[0, 0])

# %% exercise="12.5" points=4
from tinytorch.attention import (
    merge_heads,
    merge_heads_gradient,
    split_heads,
    split_heads_gradient,
)

# split_heads:
#   xp.reshape the last axis into 3, num_heads and -1; then xp.permute_dims as above.
#   Return a tuple of three arrays, (B, nh, T, hs) each, and the shape of the input.
# split_heads_gradient:
#   gs has one gradient for each of the three; it is None for an output that was not used: take
#   zeros there.
#   xp.stack them to (3, B, nh, T, hs), and undo the forward steps: permute, then reshape.
# merge_heads:
#   (B, nh, T, hs) -> (B, T, nh, hs) -> (B, T, C). Permute first!
#   Return the result and the shape of the input.
# merge_heads_gradient:
#   The same two steps in reverse.

# %% test="12.5" points=4
with Exercise("12.5", "split_heads and merge_heads") as check:
    qkv = Tensor(np.arange(24.0).reshape(1, 2, 12))  # T=2, C=4
    q, k, v = split_heads(qkv, num_heads=2)
    check.equal([q.shape, k.shape, v.shape], [(1, 2, 2, 2)] * 3, "the shapes of q, k and v")
    check.equal(q.tolist(), [[[[0, 1], [12, 13]], [[2, 3], [14, 15]]]], "the queries",
                cause="reshape to (B, T, 3, nh, hs) first, then permute to (3, B, nh, T, hs)")  # fmt: skip
    check.equal(k.tolist(), [[[[4, 5], [16, 17]], [[6, 7], [18, 19]]]], "the keys",
                cause="a row holds all queries, then all keys, then all values")  # fmt: skip
    check.equal(v.tolist(), [[[[8, 9], [20, 21]], [[10, 11], [22, 23]]]], "the values")
    check.equal(merge_heads(q).tolist(), [[[0, 1, 2, 3], [12, 13, 14, 15]]], "the merged heads",
                cause="permute (B, nh, T, hs) to (B, T, nh, hs) before you reshape")  # fmt: skip
    rng = np.random.default_rng(2)
    x = Tensor(rng.standard_normal((2, 3, 12)), requires_grad=True)
    for index, name in enumerate(("queries", "keys", "values")):
        check.gradient(lambda x, i=index: split_heads(x, num_heads=2)[i], x, what=f"the {name}",
                       cause="permute (3, B, nh, T, hs) to (B, T, 3, nh, hs), then reshape")  # fmt: skip
    y = Tensor(rng.standard_normal((2, 2, 3, 4)), requires_grad=True)
    check.gradient(lambda y: merge_heads(y), y, what="merge_heads",
                   cause="reshape to (B, T, nh, hs), then permute")  # fmt: skip

# %% [markdown]
# ## 12.6 The KV cache
#
# When text is generated, the tokens are processed one at a time. Each query needs the keys and
# values of **all** previous tokens, and these never change, since no token looks ahead. So they are
# computed once and cached. Without the cache, the 100th token would compute the first 99 again.

# %% exercise="12.6" points=3
from tinytorch.attention import KVCache, _first, _write

# KVCache.append:
#   start is the current length, end is the length with the new tokens (axis 2 of keys).
#   Raise a ValueError that contains both numbers if end is more than max_seq_len.
#   Raise a RuntimeError if keys.requires_grad: no gradient flows through a cached array.
#   The first time, allocate both arrays with _allocate. Later, the first two axes must match:
#   raise a ValueError if they do not.
#   _write stores keys and values at slice(start, end) and returns the array that has them: keep it.
#   Update the length, and return with _first the keys and values of all tokens so far.

# %% test="12.6" points=3
with Exercise("12.6", "KVCache") as check:
    rng = np.random.default_rng(3)
    steps = [Tensor(rng.standard_normal((2, 3, n, 4)).astype(np.float32)) for n in (2, 1, 1)]
    cache = KVCache(4)
    check.equal(cache.length, 0, "the length of a new cache")
    for n, step in enumerate(steps):
        kept_keys, kept_values = cache.append(step, step * 2)
        wanted = np.concatenate([s.numpy() for s in steps[: n + 1]], axis=2)
        check.close(kept_keys, wanted, f"all keys after step {n + 1}",
                    cause="write the new ones after those already stored, starting at length")  # fmt: skip
        check.close(kept_values, wanted * 2, f"all values after step {n + 1}",
                    cause="keys and values each have their own array")  # fmt: skip
        check.equal(cache.length, wanted.shape[2], f"the length after step {n + 1}",
                    cause="the length counts tokens, and grows with each append")  # fmt: skip
    check.raises(ValueError, lambda: cache.append(steps[1], steps[1]), "one token too many")
    check.equal(cache.length, 4, "the length after an error", cause="check before you write")
    check.raises(
        ValueError, lambda: KVCache(1).append(steps[0], steps[0]), "two tokens for a cache of one"
    )
    learned = Tensor(steps[1].numpy(), requires_grad=True)
    check.raises(
        RuntimeError, lambda: KVCache(4).append(learned, learned), "keys that require a gradient"
    )
    half = KVCache(4)
    half.append(steps[1], steps[1])
    check.raises(ValueError, lambda: half.append(steps[1][:1], steps[1][:1]), "another batch size")

# %% [markdown]
# ## 12.7 Multi-head attention
#
# Now put everything together: one linear layer computes queries, keys and values; rotary positions
# (lesson 11) rotate queries and keys, so that a score depends on the distance between two tokens;
# the cache, if there is one, adds the earlier keys and values; then attention, merging the heads,
# and one more linear layer that combines their results.

# %% exercise="12.7" points=4
from tinytorch.attention import MultiHeadAttention

# MultiHeadAttention.__init__:
#   Raise a ValueError if num_heads is below 1 or does not divide embed_dim.
#   self.embed_dim, self.num_heads; self.qkv, a Linear from C to 3 C; self.proj, one from C to C
#   (bias and backend as given); self.weights_dropout and self.output_dropout; self.rotary.
# MultiHeadAttention.forward:
#   Return the output of attend only; it need not compute the weights.
# MultiHeadAttention.attend:
#   Raise a ValueError if x is not a tensor (B, T, embed_dim).
#   Read the length of the cache before you append to it: that is where x starts.
#   Then: qkv, split, rotary for q and k (with where they start), cache, attention, merge, proj,
#   dropout. Without need_weights, call `attention` and return None for the weights.

# %% test="12.7" points=4
with Exercise("12.7", "MultiHeadAttention") as check, no_grad():
    rng = np.random.default_rng(4)
    layer = MultiHeadAttention(8, 2)
    for p in layer.parameters():
        p.data = rng.standard_normal(p.shape).astype(np.float32)
    check.equal(sorted(n for n, _ in layer.named_parameters()),
                ["proj.bias", "proj.weight", "qkv.bias", "qkv.weight"], "the parameters")  # fmt: skip
    check.equal(layer.qkv.weight.shape, (24, 8), "the shape of qkv.weight")
    check.equal(MultiHeadAttention(8, 2, bias=False).proj.bias, None, "proj.bias with bias=False")
    x = Tensor(rng.standard_normal((2, 5, 8)).astype(np.float32))
    mask = Tensor(np.tril(np.ones((5, 5), bool)))
    output, weights = layer.attend(x, mask)
    check.equal(weights.shape, (2, 2, 5, 5), "the shape of the weights", cause="(B, nh, T, S)")
    qkv = x.numpy() @ layer.qkv.weight.numpy().T + layer.qkv.bias.numpy()
    found = []
    for head in range(2):  # one head at a time, in plain NumPy
        q, k, v = (qkv[..., i * 8 + head * 4 :][..., :4] for i in range(3))
        scores = np.where(mask.numpy(), q @ k.swapaxes(1, 2) / 2, -np.inf)
        w = np.exp(scores - scores.max(axis=-1, keepdims=True))
        found.append(w / w.sum(axis=-1, keepdims=True) @ v)
    wanted = np.concatenate(found, axis=-1) @ layer.proj.weight.numpy().T + layer.proj.bias.numpy()
    check.close(output, wanted, "the output", tolerance=1e-4,
                cause="qkv, split, attention with the mask, merge, proj: is a step missing?")  # fmt: skip
    check.close(layer(x, mask), wanted, "the result of calling the layer", tolerance=1e-4,
                cause="forward returns only the output")  # fmt: skip

    rotating = MultiHeadAttention(8, 2, rotary=RotaryEmbedding(4, 16))
    rotating.load_state_dict(layer.state_dict())
    at_once = rotating(x, mask)
    q, k, _ = split_heads(layer.qkv(x), num_heads=2)
    rotated = attention_weights(rotating.rotary(q), rotating.rotary(k), mask, scale=0.5)
    check.close(rotating.attend(x, mask)[1], rotated, "the weights with rotary positions",
                cause="self.rotary rotates both q and k, but not v", tolerance=1e-4)  # fmt: skip
    cache = KVCache(16)
    parts = [rotating(x[:, :2], create_causal_mask(2), cache)]
    parts += [rotating(x[:, t : t + 1], None, cache) for t in range(2, 5)]
    check.close(np.concatenate([p.numpy() for p in parts], axis=1), at_once, tolerance=1e-4,
                what="the output token by token with a cache",
                cause="rotary starts at the cache's length, read before append")  # fmt: skip
    dropped = MultiHeadAttention(8, 2, dropout=1.0)(x, mask)
    check.close(dropped, np.zeros((2, 5, 8)), "the output when everything is dropped",
                cause="output_dropout comes last")  # fmt: skip
    for heads in (3, 0):
        check.raises(ValueError, lambda n=heads: MultiHeadAttention(8, n), f"{heads} heads for C=8")

with Exercise("12.7", "gradients of MultiHeadAttention") as check:
    x = Tensor(rng.standard_normal((1, 3, 8)), requires_grad=True)
    layer = layer.to(dtype="float64")
    check.gradient(lambda x: layer(x, create_causal_mask(3)), x, what="the output",
                   cause="use tensor operations only: autograd does not record .numpy() and .data")  # fmt: skip
    check.true(all(p.grad is not None for p in layer.parameters()), "all parameters have gradients")

# %% [markdown]
# ## See it learn
#
# A small task: repeat the previous token. The layer must find *the previous position*, whichever
# token is there: attention by position. Compare the weights before and after 150 training steps.

# %%
from tinytorch.embeddings import EmbeddingLayer
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import AdamW
from tinytorch.ops.random import manual_seed


class Copier(Module):
    """An embedding, one attention layer and a linear head."""

    def __init__(self) -> None:
        self.embedding = EmbeddingLayer(10, 32, 12, None)
        self.attention = MultiHeadAttention(32, 1, rotary=RotaryEmbedding(32, 12))
        self.head = Linear(32, 10)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.attention(self.embedding(ids), create_causal_mask(ids.shape[1])))

    def look(self, ids: Tensor) -> np.ndarray:
        with no_grad():
            return self.attention.attend(self.embedding(ids), create_causal_mask(12))[1].numpy()[
                0, 0
            ]


manual_seed(1)
rng = np.random.default_rng(1)
model, loss_of = Copier(), CrossEntropyLoss()
optimizer = AdamW(model.parameters(), lr=0.01)
example = Tensor(rng.integers(0, 10, (1, 12)))
before, losses = model.look(example), []
for _ in range(150):
    ids = rng.integers(0, 10, (32, 12))
    logits = model(Tensor(ids))[:, 1:]  # the first token has no previous one
    loss = loss_of(logits, Tensor(ids[:, :-1]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.3f}; random guessing {math.log(10):.2f}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.2))
for axis, title, seen in zip(
    axes, ("before", "after"), (before, model.look(example)), strict=False
):
    axis.imshow(seen, cmap="viridis", vmin=0, vmax=1)
    axis.set(title=f"weights {title} training", xlabel="key", ylabel="query")
axes[2].plot(losses)
axes[2].set(title="loss", xlabel="step")
figure.tight_layout()
plt.show()

# %% [markdown]
# After training, there is a bright line below the diagonal: each token attends to its predecessor.
#
# ## What it costs
#
# The weights are a table of T x T numbers per head. Twice the context takes four times the memory
# and time for that part, which is why long contexts are expensive. Measure it:

# %%
from tinytorch.tito.measure import seconds

layer = MultiHeadAttention(64, 4)
print("   T   weights      time")
with no_grad():
    for T in (64, 128, 256, 512, 1024):
        x, mask = Tensor(np.zeros((1, T, 64), np.float32)), create_causal_mask(T)
        kibibytes = 4 * T * T * 4 / 1024  # nh * T * T numbers of 4 bytes
        print(f"{T:4}  {kibibytes:6.0f} KiB  {1000 * seconds(lambda: layer(x, mask)):6.2f} ms")

# %% [markdown]
# And this is what the cache saves when 128 tokens are processed one at a time:

# %%
text = Tensor(np.zeros((1, 128, 64), np.float32))


def with_cache() -> None:
    cache = KVCache(128)
    for t in range(128):
        layer(text[:, t : t + 1], None, cache)


def without_cache() -> None:
    for t in range(1, 129):
        layer(text[:, :t], create_causal_mask(t))


with no_grad():
    slow, fast = seconds(without_cache, 3), seconds(with_cache, 3)
print(f"without {1000 * slow:.0f} ms, with {1000 * fast:.0f} ms: {slow / fast:.1f} times as fast")
print(f"the cache holds {2 * 128 * 64 * 4 / 1024:.0f} KiB for this layer: 2 x T x C numbers")

# %% [markdown]
# ## Questions to think about
#
# 1. If a row of the mask is all `False`, what should the weights be? What are they here?
# 2. Why is no mask needed when a single token is processed with a cache?
# 3. With one head, which of the four linear maps (query, key, value, output) could you leave out
#    without losing anything?
# 4. Two tokens have the same vector and no positions: can attention tell which came first?
# 5. A model has 32 layers, C = 4096, a context of 8192 tokens, and 2 bytes per number: how large is
#    the cache for one sequence?
#
# ## In PyTorch
#
# | here | PyTorch |
# |---|---|
# | `scaled_dot_product_attention` | `torch.nn.functional.scaled_dot_product_attention` (does not return the weights: it never builds the table) |
# | `MultiHeadAttention` | `torch.nn.MultiheadAttention` (its boolean mask is inverted: `True` hides) |
# | `create_causal_mask` | `is_causal=True` |
# | `KVCache` | `DynamicCache` in Hugging Face's transformers |
#
# Source: A. Vaswani et al., *Attention Is All You Need* (2017), section 3.2.
#
# Next: lesson 13 adds an MLP after each attention, stacks the two, and trains TinyGPT.
