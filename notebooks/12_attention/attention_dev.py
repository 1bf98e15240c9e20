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
# After lesson 11 each token is a vector, and each vector knows only its own token and place. But
# what a word means depends on the words around it: in *the king took the crown and put it on*,
# who knows what *it* is?
#
# **Attention** lets a token ask the tokens before it. Each token makes three vectors:
#
# | vector | what it says |
# |---|---|
# | query | what am I looking for? |
# | key | what do I have? |
# | value | what do I give to those who want it? |
#
# A query is compared with all keys. The values of the keys that fit best are averaged. That is all.
#
# You will build: the causal mask, attention weights with their gradient, scaled dot-product
# attention, heads, a cache of keys and values, and the module that GPT is made of.

# %% setup=true
import math
from typing import Any

import numpy as np

from tinytorch.activations import softmax_array
from tinytorch.autograd import wrap_array, no_grad
from tinytorch.ops.op import composite, op
from tinytorch.backends import Backend, get
from tinytorch.backends.base import Array, Namespace
from tinytorch.embeddings import RotaryEmbedding
from tinytorch.layers import Dropout, Linear
from tinytorch.nn.module import Module
from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise

# %% [markdown]
# ## The idea, by hand
#
# Three tokens, vectors of size 2. Letters for shapes in this lesson:
#
# - `B` texts in a batch, `T` tokens that ask, `S` tokens that are asked
# - `C` size of a token's vector, `nh` heads, `hs = C / nh` size of a head

# %%
keys = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # (S, hs) = (3, 2)
values = np.array([[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]])  # (S, hs)
query = np.array([4.0, 0.0])  # what the last token looks for, (hs,)

scores = keys @ query  # how well each key fits, (S,)
weights = np.exp(scores) / np.exp(scores).sum()  # positive, together 1
print("scores ", scores)
print("weights", weights.round(3))
print("result ", (weights @ values).round(2), "<- an average of the values")

# %% [markdown]
# The query has a large first number, so keys with a large first number win: the first and the
# third. Nothing in it is a lookup that fails or succeeds: all is smooth, so gradients flow.

# %% [markdown]
# ## 12.1 The causal mask
#
# GPT learns to predict the *next* token. If a token could look ahead, it would copy the answer.
# So a table says who may look at whom: `True` at row `t`, column `s` if token `t` may see token `s`.
#
# Later we generate text token by token. Then `past` tokens have been read already, and the
# queries are the tokens after them.

# %% exercise="12.1" points=2
from tinytorch.attention import create_causal_mask

# create_causal_mask:
#   The queries stand at positions past, past + 1, ...: there are seq_len of them.
#   The keys stand at positions 0, 1, 2, ... up to the last query.
#   get(backend) is the backend that is meant; its xp has arange and expand_dims: make a column of
#   the one, a row of the other.
#   Compare them: broadcasting makes the table. A token sees itself.

# %% test="12.1" points=2
with Exercise("12.1", "create_causal_mask") as check:
    check.equal(create_causal_mask(3).shape, (3, 3), "the shape of the mask of 3 tokens")
    check.equal(
        create_causal_mask(3).tolist(),
        [[True, False, False], [True, True, False], [True, True, True]],
        "the mask of 3 tokens",
        cause="row t has True up to and with column t: a token sees itself and what came before",
    )
    check.equal(
        create_causal_mask(2, past=2).tolist(),
        [[True, True, True, False], [True, True, True, True]],
        "the mask of 2 tokens that follow 2 others",
        cause="keys begin at 0 and queries at past; both end at past + seq_len",
    )
    check.equal(create_causal_mask(1, past=3).tolist(), [[True] * 4], "the mask of one new token")

# %% [markdown]
# A picture says it faster. Rows ask, columns are asked.

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
# - `q` (..., T, hs), `k` (..., S, hs), so scores are (..., T, S).
# - What the mask forbids gets the score $-\infty$: after the softmax it is exactly 0.
# - The softmax runs over the **keys**, the last axis: each query shares out a total of 1.
#
# It is an *op*, as in lesson 6: it works on arrays of the namespace `xp`, and returns its result
# and what its gradient will need.

# %% exercise="12.2" points=3
from tinytorch.attention import attention_weights

# attention_weights:
#   Scores: each query times each key. xp.matrix_transpose turns the last two axes. Then the scale.
#   A boolean mask: xp.where keeps a score or puts -inf (xp.full_like makes an array of it).
#   A mask of numbers is added to the scores; None is no mask.
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
        cause="True means may be seen; what is hidden gets -inf before the softmax, not 0",
        tolerance=1e-3,
    )  # fmt: skip
    added = Tensor([[0.0, -1e9, -1e9], [0.0, -1e9, 0.0]])
    check.close(
        attention_weights(q, k, added, scale=1.0)[1], [0.1192, 0.0, 0.8808],
        "the weights with numbers as a mask", cause="add them to the scores", tolerance=1e-3,
    )  # fmt: skip

# %% [markdown]
# ## 12.3 Its gradient
#
# Let $W$ be the weights and $G$ the gradient of the loss with respect to them. The softmax of a row
# has the gradient
#
# $$ D = W \odot (G - \textstyle\sum_s G_s W_s) $$
#
# for its scores: raising one score lowers the others' share, therefore the sum. Then the scores
# $Q K^\top \cdot \mathrm{scale}$ are a product, and as in lesson 6
#
# $$ dQ = D\,K \cdot \mathrm{scale}, \qquad dK = D^\top Q \cdot \mathrm{scale}. $$
#
# A mask of numbers was added to the scores, so its gradient is $D$ itself. A hidden key has weight
# 0, so its $D$ is 0: the boolean mask needs nothing.

# %% exercise="12.3" points=3
from tinytorch.attention import attention_weights_gradient

# attention_weights_gradient:
#   First d, the gradient of the scores: the formula above; the sum is over the last axis, and
#   keepdims=True lets it broadcast.
#   Return three functions without arguments, for q, k and the mask: each is called only if
#   somebody needs it.

# %% test="12.3" points=3
with Exercise("12.3", "attention_weights_gradient") as check:
    rng = np.random.default_rng(0)
    q = Tensor(rng.standard_normal((2, 3, 4)), requires_grad=True)
    k = Tensor(rng.standard_normal((2, 3, 4)), requires_grad=True)
    check.gradient(
        lambda q, k: attention_weights(q, k, scale=0.5), q, k, what="attention_weights",
        cause="d = weights * (g - sum(g * weights)); then the product's rule, and the scale again",
    )  # fmt: skip
    mask = create_causal_mask(3)
    check.gradient(
        lambda q, k: attention_weights(q, k, mask, scale=0.5), q, k,
        what="attention_weights with a causal mask",
    )  # fmt: skip
    bias = Tensor(rng.standard_normal((3, 3)), requires_grad=True)
    check.gradient(
        lambda q, k, bias: attention_weights(q, k, bias, scale=0.5), q, k, bias,
        what="attention_weights with numbers as a mask", cause="the mask's gradient is d itself",
    )  # fmt: skip

# %% [markdown]
# ## 12.4 Scaled dot-product attention
#
# $$ \mathrm{Attention}(Q, K, V) = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt{hs}}\right) V $$
#
# Why the root? A score is a sum of `hs` products. If their parts have variance 1, the sum has
# variance `hs`: the longer the vectors, the larger the scores, and a softmax of large numbers is all
# on one key. Then its gradient is nearly 0, and nothing is learned. Dividing by $\sqrt{hs}$ brings
# the variance back to 1.

# %%
rng = np.random.default_rng(0)
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for axis, scaled in zip(axes, (False, True), strict=True):
    for hs in (4, 64, 1024):
        scores = rng.standard_normal((16, hs)) @ rng.standard_normal(hs)
        weights = np.exp(scores / math.sqrt(hs) if scaled else scores - scores.max())
        axis.plot(np.sort(weights / weights.sum())[::-1], "o-", label=f"hs = {hs}")
    axis.set(title="divided by $\\sqrt{hs}$" if scaled else "as it is", xlabel="key, sorted")
axes[0].set_ylabel("weight")
axes[0].legend()
figure.tight_layout()
plt.show()

# %% exercise="12.4" points=2
from tinytorch.attention import attention, scaled_dot_product_attention

# scaled_dot_product_attention:
#   Q and K must agree in their last axis, K and V in the number of tokens: else a ValueError with
#   the three shapes.
#   attention_weights does most of it; which scale?
#   Dropout, if there is one, drops weights: before they meet the values.
#   Return the output and the weights (those without dropout).
# The function `attention` under it is given: the output alone, for whoever needs no weights. On a
# GPU one kernel takes its place, in which the table of weights never stands in memory.

# %% test="12.4" points=2
with Exercise("12.4", "scaled_dot_product_attention") as check:
    rng = np.random.default_rng(1)
    Q, K, V = (Tensor(rng.standard_normal((2, 3, 4)).astype(np.float32)) for _ in range(3))
    output, weights = scaled_dot_product_attention(Q, K, V)
    scores = Q.numpy() @ K.numpy().swapaxes(-1, -2) / 2  # the root of 4
    wanted = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    check.close(weights, wanted, "the weights", cause="the scale is 1 / sqrt(hs), here 1 / 2")
    check.close(output, wanted @ V.numpy(), "the output", cause="the output is weights @ V")
    output, weights = scaled_dot_product_attention(Q, K, V, create_causal_mask(3))
    check.close(output[:, 0], V[:, 0], "what the first of masked tokens gets",
                cause="it sees only itself: is the mask handed on?")  # fmt: skip
    output, weights = scaled_dot_product_attention(Q, K, V, None, Dropout(1.0))
    check.close(output, np.zeros((2, 3, 4)), "the output if all weights are dropped",
                cause="dropout is applied to the weights, and their product with V follows")  # fmt: skip
    check.close(weights.sum(axis=-1), np.ones((2, 3)), "the sums of the weights that come back",
                cause="return the weights as they were before dropout")  # fmt: skip
    check.raises(ValueError, lambda: scaled_dot_product_attention(Q, K[:, :, :3], V),
                 "keys of another size than the queries", says="(2, 3, 3)")  # fmt: skip
    check.raises(ValueError, lambda: scaled_dot_product_attention(Q, K, V[:, :2]),
                 "fewer values than keys")  # fmt: skip

# %% [markdown]
# ## 12.5 Heads
#
# One average of values is one answer. A token may need several: who is the subject, which verb
# comes next, how long is the line? So C is cut into `nh` **heads** of size `hs = C / nh`, and each
# does its own attention.
#
# One product makes queries, keys and values of all heads: a row of `3 C` numbers a token. They lie
# like this, and have to come apart without being mixed:
#
# `(B, T, 3 C)` -> reshape `(B, T, 3, nh, hs)` -> permute `(3, B, nh, T, hs)`
#
# A reshape only reads the same numbers, in the same order, with other axes. It cannot exchange two
# axes: that is what `permute_dims` is for. A reshape straight to `(B, nh, T, hs)` has the right
# shape and mixes the tokens: the most common bug of this lesson.

# %%
row = np.arange(12).reshape(1, 2, 6)  # B=1, T=2, C=6: token 0 has 0-5, token 1 has 6-11
print("right: head 0 of each token\n", row.reshape(1, 2, 3, 2).transpose(0, 2, 1, 3)[0, 0])
print("wrong: the right shape, one token cut in two\n", row.reshape(1, 3, 2, 2)[0, 0])

# %% exercise="12.5" points=4
from tinytorch.attention import (
    merge_heads,
    merge_heads_gradient,
    split_heads,
    split_heads_gradient,
)

# split_heads:
#   xp.reshape the last axis into 3, num_heads and -1; then xp.permute_dims as above.
#   Return a tuple of three arrays, (B, nh, T, hs) each, and the shape that came in.
# split_heads_gradient:
#   gs has one gradient for each of the three; where nobody needed one it is None: zeros then.
#   xp.stack them to (3, B, nh, T, hs), and go back the way you came: permute, then reshape.
# merge_heads:
#   (B, nh, T, hs) -> (B, T, nh, hs) -> (B, T, C). Permute first!
#   Return the result and the shape that came in.
# merge_heads_gradient:
#   The same two steps backwards.

# %% test="12.5" points=4
with Exercise("12.5", "split_heads and merge_heads") as check:
    qkv = Tensor(np.arange(24.0).reshape(1, 2, 12))  # T=2, C=4
    q, k, v = split_heads(qkv, num_heads=2)
    check.equal([q.shape, k.shape, v.shape], [(1, 2, 2, 2)] * 3, "the shapes of q, k and v")
    check.equal(q.tolist(), [[[[0, 1], [12, 13]], [[2, 3], [14, 15]]]], "the queries",
                cause="reshape to (B, T, 3, nh, hs) first, then permute to (3, B, nh, T, hs)")  # fmt: skip
    check.equal(k.tolist(), [[[[4, 5], [16, 17]], [[6, 7], [18, 19]]]], "the keys",
                cause="in a row stand all queries, then all keys, then all values")  # fmt: skip
    check.equal(v.tolist(), [[[[8, 9], [20, 21]], [[10, 11], [22, 23]]]], "the values")
    check.equal(merge_heads(q).tolist(), [[[0, 1, 2, 3], [12, 13, 14, 15]]], "the heads merged",
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
# ## 12.6 A cache of keys and values
#
# When text is generated, one token comes at a time. Its query needs the keys and values of **all**
# tokens before it, and these do not change: no token looks ahead. So they are computed once and
# kept. Without that, the 100th token would compute the first 99 again.

# %% exercise="12.6" points=3
from tinytorch.attention import KVCache, _write

# KVCache.append:
#   start is the length so far, end is the length with the new tokens (axis 2 of keys).
#   A ValueError if end is more than max_seq_len, naming both.
#   A RuntimeError if keys.requires_grad: what is kept in an array has no gradient.
#   The first time, make both arrays with _room_for. Later, the first two axes must be the same.
#   Remember the new length; _write puts keys and values at slice(start, end) and returns all.

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
                    cause="new ones are written after those that are there, from length on")  # fmt: skip
        check.close(kept_values, wanted * 2, f"all values after step {n + 1}",
                    cause="keys and values have an array each")  # fmt: skip
        check.equal(cache.length, wanted.shape[2], f"the length after step {n + 1}",
                    cause="the length counts tokens, and grows with each append")  # fmt: skip
    check.raises(ValueError, lambda: cache.append(steps[1], steps[1]), "a token too many")
    check.equal(cache.length, 4, "the length after an error", cause="check before you write")
    check.raises(ValueError, lambda: KVCache(1).append(steps[0], steps[0]), "two tokens for one")
    learned = Tensor(steps[1].numpy(), requires_grad=True)
    check.raises(RuntimeError, lambda: KVCache(4).append(learned, learned), "keys with a gradient")
    half = KVCache(4)
    half.append(steps[1], steps[1])
    check.raises(ValueError, lambda: half.append(steps[1][:1], steps[1][:1]), "another batch")

# %% [markdown]
# ## 12.7 Multi-head attention
#
# All of it together: one linear layer makes queries, keys and values; rotary positions (lesson 11)
# turn queries and keys, so that a score depends on the distance of two tokens; the cache, if there
# is one; attention; the heads merged; and one more linear layer that mixes what they found.

# %% exercise="12.7" points=4
from tinytorch.attention import MultiHeadAttention

# MultiHeadAttention.__init__:
#   A ValueError if num_heads is below 1 or does not divide embed_dim.
#   self.embed_dim, self.num_heads; self.qkv, a Linear from C to 3 C; self.proj, one from C to C
#   (bias and backend as given); self.weights_dropout and self.output_dropout; self.rotary.
# MultiHeadAttention.forward:
#   What attend returns, without the weights, which it need not make.
# MultiHeadAttention.attend:
#   Ask the cache for its length before you append to it: that is where x begins.
#   Then: qkv, split, rotary for q and k (with where they begin), cache, attention, merge, proj,
#   dropout. Without need_weights call `attention`, and return None for the weights.

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
    mask = create_causal_mask(5)
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
    check.close(layer(x, mask), wanted, "what calling the layer returns", tolerance=1e-4,
                cause="forward returns the output only")  # fmt: skip

    turning = MultiHeadAttention(8, 2, rotary=RotaryEmbedding(4, 16))
    turning.load_state_dict(layer.state_dict())
    whole = turning(x, mask)
    q, k, _ = split_heads(layer.qkv(x), num_heads=2)
    turned = attention_weights(turning.rotary(q), turning.rotary(k), mask, scale=0.5)
    check.close(turning.attend(x, mask)[1], turned, "the weights with rotary positions",
                cause="self.rotary turns q and k, both, and not v", tolerance=1e-4)  # fmt: skip
    cache = KVCache(16)
    parts = [turning(x[:, :2], create_causal_mask(2), cache)]
    parts += [turning(x[:, t : t + 1], None, cache) for t in range(2, 5)]
    check.close(np.concatenate([p.numpy() for p in parts], axis=1), whole, tolerance=1e-4,
                what="token by token with a cache, against all at once",
                cause="rotary begins at the cache's length, taken before append")  # fmt: skip
    still = MultiHeadAttention(8, 2, dropout=1.0)(x, mask)
    check.close(still, np.zeros((2, 5, 8)), "the output if everything is dropped",
                cause="output_dropout comes last")  # fmt: skip
    for heads in (3, 0):
        check.raises(ValueError, lambda n=heads: MultiHeadAttention(8, n), f"{heads} heads for C=8")

with Exercise("12.7", "MultiHeadAttention, its gradients") as check:
    x = Tensor(rng.standard_normal((1, 3, 8)), requires_grad=True)
    layer = layer.to(dtype="float64")
    check.gradient(lambda x: layer(x, create_causal_mask(3)), x, what="the output",
                   cause="stay with tensors: .numpy() and .data lose the tape")  # fmt: skip
    check.true(all(p.grad is not None for p in layer.parameters()), "every weight has a gradient")

# %% [markdown]
# ## See it learn
#
# A small task: repeat the token before. The layer must find *the previous position*, whatever
# stands there: attention by position. Watch the weights before and after a hundred steps.

# %%
from tinytorch.embeddings import EmbeddingLayer
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import AdamW
from tinytorch.ops.random import manual_seed


class Copier(Module):
    """Embedding, one attention, and logits."""

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
    logits = model(Tensor(ids))[:, 1:]  # the first token has none before it
    loss = loss_of(logits, Tensor(ids[:, :-1]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.3f}; guessing would be {math.log(10):.2f}")

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
# After training a bright line stands below the diagonal: each token looks at the one before it.
#
# ## What it costs
#
# The weights are a table of T x T a head. Twice the context, four times the memory and the time for
# that part. That is why long contexts are dear. Measure it:

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
# And what the cache saves, for 128 tokens one after the other:

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
# 1. A mask of all `False` in a row: what should the weights be? What are they here?
# 2. Why is the mask not needed when one token is read with a cache?
# 3. Which of the four linear maps (query, key, value, output) could you leave out with one head
#    without losing anything?
# 4. Two tokens with the same vector and no positions: can attention tell which came first?
# 5. A model of 32 layers, C = 4096, context 8192, 2 bytes a number: how large is the cache of one
#    text?
#
# ## In PyTorch
#
# | here | PyTorch |
# |---|---|
# | `scaled_dot_product_attention` | `torch.nn.functional.scaled_dot_product_attention` (no weights come back: it never builds the table) |
# | `MultiHeadAttention` | `torch.nn.MultiheadAttention` (its boolean mask is the other way round: `True` hides) |
# | `create_causal_mask` | `is_causal=True` |
# | `KVCache` | `DynamicCache` of Hugging Face's transformers |
#
# Source: A. Vaswani et al., *Attention Is All You Need* (2017), section 3.2.
#
# Next: lesson 13 puts a layer of thinking behind each attention, stacks them, and trains TinyGPT.
