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
# **You will build** attention with a KV cache.
#
# **You will learn**
#
# - how a mask hides the future, and why masked scores are $-\infty$ and not 0
# - to write scaled dot-product attention and its gradient, and why there is a square root in it
# - to split a token's vector into heads without mixing up tokens, and to merge them again
# - how a KV cache saves most of the work of generating text
# - what attention costs: memory and time for long texts
#
# **You need** lesson 11 (how an op and its gradient are written; rotary positions), matrix products
# and broadcasting in NumPy. Every function is graded on its own, and the package has all others, so
# a blank exercise does not stop you.
#
# **Time**: 3 to 4 hours. 12.1 is a warm-up; 12.5 and 12.7 take longest.

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
#   Compare them: broadcasting builds the table, of booleans. A token sees itself.
#   wrap_array(Tensor, array, backend) makes a tensor of it.

# %% test="12.1" points=2
# fmt: off
with Exercise("12.1", "create_causal_mask") as check:
    check.equal(lambda: create_causal_mask(3).tolist(),
                [[True, False, False], [True, True, False], [True, True, True]],
                "the mask of 3 tokens",
                cause="row t is True up to and including column t: a token sees itself and those"
                " before it")
    check.equal(lambda: create_causal_mask(3, past=2).tolist(),
                [[True, True, True, False, False], [True, True, True, True, False], [True] * 5],
                "the mask of 3 tokens that follow 2 others",
                cause="keys start at 0 and queries at past; both end at past + seq_len")
    check.equal(lambda: create_causal_mask(1, 3).tolist(), [[True] * 4],
                "the mask of one new token",
                cause="the only query is at position past, and sees all the keys")
    check.equal(lambda: create_causal_mask(2).numpy().dtype.name, "bool", "the dtype of the mask",
                cause="return the result of the comparison: a mask of the numbers 0 and 1 hides"
                " nothing, since it is added to the scores")
    check.equal(lambda: create_causal_mask(0).shape, (0, 0), "the shape of the mask of no tokens",
                cause="0 tokens are allowed; only negative numbers are an error")
    check.raises(ValueError, lambda: create_causal_mask(-1, past=3), "a negative number of tokens",
                 cause="check seq_len: arange of a negative number would be empty, without an"
                 " error")
    check.raises(ValueError, lambda: create_causal_mask(3, past=-1), "a negative past",
                 cause="check past as well as seq_len")
    check.equal(lambda: create_causal_mask(2, backend="reference").backend.name, "reference",
                "the backend of a mask for the backend 'reference'",
                cause="pass the argument on: get(backend), and its result to wrap_array")
# fmt: on

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
# - Masked scores are set to $-\infty$, so that their weights are exactly 0 after the softmax. A
#   large negative number such as $-10^9$ is not the same: if *all* keys of a query are masked, the
#   softmax shifts the scores by their maximum, and every masked key gets a weight.
# - The softmax runs over the **keys**, the last axis: the weights of each query sum to 1.
#
# This is an *op* (lesson 11, "How an op is written"): it works on arrays of the namespace `xp`, and
# returns two things, its result and a tuple of what its gradient needs.

# %% exercise="12.2" points=3
from tinytorch.attention import attention_weights

# attention_weights:
#   Scores: each query times each key. xp.matrix_transpose swaps the last two axes. Then the scale.
#   A boolean mask: xp.where selects the score or -inf (xp.full_like creates an array of -inf).
#   A float mask is added to the scaled scores; None means no mask.
#   softmax_array(xp, scores) is the softmax over the last axis, given in tinytorch/activations.py:
#   it subtracts the maximum first, and gives weights of 0 where all scores are -inf.
#   Return weights, and the tuple that the gradient needs: q, k, weights, scale.

# %% test="12.2" points=3
# fmt: off
with Exercise("12.2", "attention_weights") as check:
    q, k = Tensor([[1.0, 0.0], [0.0, 2.0]]), Tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    check.equal(lambda: attention_weights(q, k, scale=0.5).shape, (2, 3),
                "the shape for 2 queries, 3 keys",
                cause="(T, S): each query times each key is q @ the transpose of k")
    check.close(lambda: attention_weights(q, k, scale=0.5).sum(axis=-1), [1.0, 1.0],
                "the sum of each query's weights",
                cause="the softmax runs over the keys, the last axis")
    check.close(lambda: attention_weights(q, k, scale=0.5),
                [[0.3837, 0.2327, 0.3837], [0.1554, 0.4223, 0.4223]], "the weights with scale 0.5",
                cause="multiply the scores, q @ k.T, by scale before the softmax", tolerance=1e-3)

    only = np.array([[True, False, True], [True, True, False]])
    check.close(lambda: attention_weights(q, k, Tensor(only), scale=0.5),
                [[0.5, 0, 0.5], [0.2689, 0.7311, 0]], "the weights with a boolean mask",
                cause="True means visible; masked scores become -inf before the softmax, not 0",
                tolerance=1e-3)
    for name, added, wanted in (
        ("numbers", [[0.0, 1.0, 2.0], [3.0, 2.0, 1.0]],
         [[0.0996, 0.1643, 0.7361], [0.4223, 0.4223, 0.1554]]),
        ("0 and -inf", np.where(only, 0, -np.inf), [[0.5, 0, 0.5], [0.2689, 0.7311, 0]]),
    ):
        check.close(lambda: attention_weights(q, k, Tensor(added), scale=0.5), wanted,
                    f"the weights with a float mask of {name}",
                    cause="add it, as it is, to the scaled scores; only a mask whose dtype is"
                    " xp.bool goes through xp.where", tolerance=1e-3)

    rng = np.random.default_rng(5)  # B = 2, nh = 3, T = 4, S = 5, hs = 6
    q, k = (Tensor(rng.standard_normal((2, 3, n, 6)).astype(np.float32)) for n in (4, 5))
    visible = np.array([[1, 0, 1, 0, 1], [0, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 0]]) == 1
    bias = rng.standard_normal((3, 4, 5)).astype(np.float32)  # one for each head
    scores = q.numpy() @ k.numpy().swapaxes(-1, -2) * 0.3

    def softmax(scores: np.ndarray) -> np.ndarray:
        powers = np.exp(scores)
        return powers / powers.sum(axis=-1, keepdims=True)

    for name, mask, wanted in (
        ("no mask", None, softmax(scores)),
        ("a boolean mask", Tensor(visible), softmax(np.where(visible, scores, -np.inf))),
        ("a float mask for each head", Tensor(bias), softmax(scores + bias)),
    ):
        check.close(lambda: attention_weights(q, k, mask, scale=0.3), wanted,
                    f"the weights of 2 texts and 3 heads with {name}",
                    cause="transpose only the last two axes, with xp.matrix_transpose")
    nothing = Tensor(np.array([[True] * 5, [False] * 5, [True] * 5, [True] * 5]))
    check.close(lambda: attention_weights(q, k, nothing, scale=0.3)[:, :, 1], np.zeros((2, 3, 5)),
                "the weights of a query that sees no key",
                cause="masked scores are -inf, not a large negative number; use softmax_array")
    check.close(lambda: attention_weights(q * 1000, k, scale=1.0).sum(axis=-1), np.ones((2, 3, 4)),
                "the sums of the weights for scores in the thousands",
                cause="exp overflows unless the maximum is subtracted first: use softmax_array")
    check.equal(lambda: attention_weights(q, k, Tensor(visible), scale=0.3).numpy().dtype.name,
                "float32", "the dtype of the weights of float32 queries",
                cause="xp.full_like(scores, -math.inf) has the dtype of the scores")
    saved = check.call(lambda: attention_weights.forward(
                           get("numpy").xp, q.numpy(), k.numpy(), visible, scale=0.3
                       )[1],
                       "the tuple for the gradient",
                       cause="return weights, (q, k, weights, scale)", count=4)
    wanted = (q, k, softmax(np.where(visible, scores, -np.inf)), 0.3)
    for name, got, value in zip(("q", "k", "weights", "scale"), saved, wanted, strict=True):
        check.close(got, value, f"{name} in the tuple for the gradient",
                    cause="its order is q, k, weights, scale, and the weights are those after the"
                    " softmax")
# fmt: on

# %% [markdown]
# ## 12.3 The gradient of attention weights
#
# Let $W$ be the weights and $G$ the gradient of the loss with respect to them. Through the softmax
# of a row, the gradient with respect to its scores is
#
# $$ D = W \odot (G - \textstyle\sum_s G_s W_s) $$
#
# The sum is there because raising one score lowers the weights of all the others. The scores
# $Q K^\top \cdot \mathrm{scale}$ are a matrix product. The gradients of $Y = A B$ are
# $dA = dY\,B^\top$ and $dB = A^\top dY$ (the shapes leave no other choice), so
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
#   gradient is needed. Autograd sums the mask's to the mask's shape.

# %% test="12.3" points=3
# fmt: off
with Exercise("12.3", "attention_weights_gradient") as check:
    rng = np.random.default_rng(0)  # B = 2, T = 3, S = 5, hs = 4
    q, k = (Tensor(rng.standard_normal((2, n, 4)), requires_grad=True) for n in (3, 5))
    bias = Tensor(rng.standard_normal((3, 5)), requires_grad=True)
    fixed_q, fixed_k = q.detach(), k.detach()
    check.gradient(lambda bias: attention_weights(fixed_q, fixed_k, bias, scale=0.3), bias,
                   what="attention_weights, as a function of a float mask,",
                   cause="it is d itself, weights * (g - sum(g * weights)), third of the three"
                   " functions")
    check.gradient(lambda q: attention_weights(q, fixed_k, scale=0.3), q,
                   what="attention_weights, as a function of q,",
                   cause="d @ k, times the scale, first of the three functions")
    check.gradient(lambda k: attention_weights(fixed_q, k, scale=0.3), k,
                   what="attention_weights, as a function of k,",
                   cause="the transpose of d @ q, times the scale, second of the three functions")
    visible = Tensor(np.array([[1, 0, 1, 0, 0], [0, 1, 0, 0, 0], [1, 1, 1, 1, 1]]) == 1)
    check.gradient(lambda q, k: attention_weights(q, k, visible, scale=0.3), q, k,
                   what="attention_weights with a boolean mask",
                   cause="no special case: the weight of a masked key is 0, so its d is 0")
    check.gradient(lambda q, k, bias: attention_weights(q, k, bias, scale=0.3), q, k, bias,
                   what="attention_weights with a float mask",
                   cause="return three functions, for q, k and the mask, in this order")
# fmt: on

# %% [markdown]
# ## 12.4 Scaled dot-product attention
#
# $$ \mathrm{Attention}(Q, K, V) = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt{hs}}\right) V $$
#
# Why the square root? A score is a sum of `hs` products. If the factors have variance 1, the sum
# has variance `hs`: the longer the vectors, the larger the scores, and a softmax of large numbers
# puts nearly all the weight on one key. Its gradient is then close to 0, and nothing is learned.
# Dividing by $\sqrt{hs}$ brings the variance back to 1. The average over 500 queries of random
# numbers, each with 16 keys, shows both:

# %%
rng = np.random.default_rng(0)
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for hs, line in ((4, "-"), (64, "--"), (1024, ":")):
    draws = [rng.standard_normal((16, hs)) @ rng.standard_normal(hs) for _ in range(500)]
    for axis, scale in zip(axes, (1, 1 / math.sqrt(hs)), strict=True):
        scores = scale * np.array(draws)  # (500, 16)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights = np.sort(weights / weights.sum(axis=1, keepdims=True))[:, ::-1]
        label = f"hs = {hs}, variance of the scores {scores.var():.1f}"
        axis.plot(range(1, 17), weights.mean(axis=0), line, marker=".", label=label)
for axis, title in zip(axes, ("unscaled", "divided by $\\sqrt{hs}$"), strict=True):
    axis.set(title=title, xlabel="key, by weight", ylim=(0, 1))
    axis.legend(fontsize=8)
axes[0].set_ylabel("weight, averaged")
figure.tight_layout()
plt.show()

# %% [markdown]
# Unscaled, the largest weight grows with `hs` until it takes nearly everything; scaled, the three
# lines lie on each other.
#
# By hand, for three queries, the `keys` and `values` from the beginning, and the causal mask. The
# size hs is 2, so the scores are divided by 1.414; `x` is masked:
#
# | query | scores | scaled | masked | weights | output |
# |---|---|---|---|---|---|
# | 2, 0 | 2, 0, 2 | 1.41, 0, 1.41 | 1.41, x, x | 1, 0, 0 | 10, 0 |
# | 0, 2 | 0, 2, 2 | 0, 1.41, 1.41 | 0, 1.41, x | 0.196, 0.804, 0 | 1.96, 8.04 |
# | 4, 0 | 4, 0, 4 | 2.83, 0, 2.83 | 2.83, 0, 2.83 | 0.486, 0.029, 0.486 | 7.28, 2.72 |
#
# The first token sees only itself, so its output is the first value. The second would have liked
# the third key as much as its own, but may not see it: the weights of the others still sum to 1.

# %% given="12.4"
from tinytorch.attention import _check_arguments

# %% exercise="12.4" points=2
from tinytorch.attention import scaled_dot_product_attention

# scaled_dot_product_attention:
#   _check_arguments(Q, K, V, dropout), given above, comes first.
#   Q and K must have the same last axis, K and V the same number of tokens; otherwise raise a
#   ValueError with the three shapes. The last axis of V, hv, may be of any size.
#   If there is a mask, call check_mask(Q, K, mask): it refuses masks of integers.
#   attention_weights does most of the work; which scale? (max(1, hs) avoids a division by 0.)
#   Dropout, if given, is a function: apply it to the weights, before the product with the values.
#   Return the output and the weights (those without dropout).

# %% test="12.4" points=2
# fmt: off
with Exercise("12.4", "scaled_dot_product_attention") as check:
    rng = np.random.default_rng(1)  # B = 2, nh = 3, T = 4, S = 5, hs = 6, hv = 7
    shapes = {"Q": (2, 3, 4, 6), "K": (2, 3, 5, 6), "V": (2, 3, 5, 7)}
    Q, K, V = (Tensor(rng.standard_normal(s).astype(np.float32)) for s in shapes.values())
    visible = np.array([[1, 0, 1, 0, 1], [0, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 0]]) == 1
    bias = rng.standard_normal((4, 5)).astype(np.float32)
    dropped = np.array([0.0, 2.0, 2.0, 0.0, 2.0], np.float32)  # as dropout with p = 0.5 may do
    scores = Q.numpy() @ K.numpy().swapaxes(-1, -2) / 6**0.5

    def softmax(scores: np.ndarray) -> np.ndarray:
        powers = np.exp(scores)
        return powers / powers.sum(axis=-1, keepdims=True)

    for name, mask, wanted in (
        ("without a mask", None, softmax(scores)),
        ("with a boolean mask", Tensor(visible), softmax(np.where(visible, scores, -np.inf))),
        ("with a float mask", Tensor(bias), softmax(scores + bias)),
    ):
        output, weights = check.call(lambda: scaled_dot_product_attention(Q[0, 0], K[0, 0], V[0, 0], mask),
                                     f"the results {name}, without B and nh",
                                     cause="return output, weights: a pair, in this order; count"
                                     " axes from the end, -1 is hs", count=2)
        check.equal(lambda pair=(output, weights): [x.shape for x in pair], [(4, 7), (4, 5)],
                    f"the shapes of the output (T, hv) and the weights (T, S) {name}",
                    cause="return output, weights: a pair, in this order; the output is weights @"
                    " V")
        check.close(weights, wanted[0, 0], f"the weights {name}",
                    cause="the scale is 1 / sqrt(hs), and hs is the last axis of Q" if mask is None
                    else "pass the mask on to attention_weights, as it is")
        check.close(output, wanted[0, 0] @ V.numpy()[0, 0], f"the output {name}",
                    cause="the output is weights @ V")
        check.close(lambda: scaled_dot_product_attention(Q, K, V, mask)[0], wanted @ V.numpy(),
                    f"the output of 2 texts and 3 heads {name}",
                    cause="count axes from the end: -1 is hs and -2 is T or S")
    check.close(lambda: scaled_dot_product_attention(Q[0, 0, :, :1], K[0, 0, :, :1], V[0, 0])[1],
                softmax(Q.numpy()[0, 0, :, :1] @ K.numpy()[0, 0, :, :1].T),
                "the weights for vectors of size hs = 1",
                cause="for hs = 1 the scale is 1")
    wanted = softmax(np.where(visible, scores, -np.inf))[0, 0]
    output, weights = check.call(
        lambda: scaled_dot_product_attention(
            Q[0, 0], K[0, 0], V[0, 0], Tensor(visible), lambda w: w * Tensor(dropped)
        ),
        "the results with dropout", cause="dropout is a function of a tensor: dropout(weights)",
        count=2,
    )
    check.close(output, wanted * dropped @ V.numpy()[0, 0], "the output with dropout",
                cause="apply dropout to the weights, before the product with V")
    check.close(weights, wanted, "the returned weights with dropout",
                cause="return the weights as they were before dropout")

    for name, shape in shapes.items():
        check.raises(ValueError, lambda: scaled_dot_product_attention(Q, K, V[:, :, 1:]),
                     "fewer values than keys", message=str((2, 3, 4, 7) if name == "V" else shape),
                     cause=f"K and V need one S, axis -2; the message contains all shapes, also {name}'s")
    check.raises(ValueError, lambda: scaled_dot_product_attention(Q, K[..., :3], V),
                 "keys that differ in size from the queries", message="(2, 3, 5, 3)",
                 cause="Q and K need one hs, axis -1; the message contains their shapes")
    for name, vectors in (
        ("Q", (Q[0, 0, 0], K[0, 0], V[0, 0])),
        ("K", (Q[0, 0], K[0, 0, 0], V[0, 0])),
        ("V", (Q[0, 0], K[0, 0], V[0, 0, 0])),
    ):
        check.raises(ValueError, lambda: scaled_dot_product_attention(*vectors),
                     f"a {name} without an axis of tokens",
                     cause="call _check_arguments(Q, K, V, dropout) first")
    check.raises(
        ValueError, lambda: scaled_dot_product_attention(Q[:, :, :1], K, V, Tensor(visible)),
        "a mask of 4 queries for one query", cause="if there is a mask, call check_mask(Q, K, mask)",
    )
    check.raises(TypeError, lambda: scaled_dot_product_attention(Q, K, V, Tensor(visible * 1)),
                 "a mask of integers",
                 cause="if there is a mask, call check_mask(Q, K, mask)")
# fmt: on

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
#   xp.reshape the last axis into 3, num_heads and hs; then xp.permute_dims as above.
#   Return a tuple of three arrays, (B, nh, T, hs) each, and a tuple with the shape of the input.
# split_heads_gradient:
#   gs has one gradient for each of the three; it is None for an output that was not used: take
#   zeros there.
#   xp.stack them to (3, B, nh, T, hs), and undo the forward steps: permute, then reshape.
# merge_heads:
#   (B, nh, T, hs) -> (B, T, nh, hs) -> (B, T, C). Permute first!
#   Return the result and a tuple with the shape of the input.
# merge_heads_gradient:
#   The same two steps in reverse.

# %% test="12.5" points=4
# fmt: off
with Exercise("12.5", "split_heads and merge_heads") as check:
    small = Tensor(np.arange(24.0).reshape(1, 2, 12))  # T = 2, C = 4
    q, k, v = check.call(lambda: split_heads(small, num_heads=2), "the queries, keys and values",
                         cause="return a tuple of three arrays, and the tuple (qkv.shape,)",
                         count=3)
    order = "reshape to (B, T, 3, nh, hs) first, then permute to (3, B, nh, T, hs)"
    row = "a row holds all queries, then all keys, then all values"
    for name, got, wanted, cause in (
        ("queries", q, [[[[0, 1], [12, 13]], [[2, 3], [14, 15]]]], order),
        ("keys", k, [[[[4, 5], [16, 17]], [[6, 7], [18, 19]]]], row),
        ("values", v, [[[[8, 9], [20, 21]], [[10, 11], [22, 23]]]], row),
    ):
        check.close(got, wanted, f"the {name} of the 2 heads of 2 tokens", cause=cause)
    y = Tensor(np.array([[[[0.0, 1.0], [12.0, 13.0]], [[2.0, 3.0], [14.0, 15.0]]]]))
    check.close(lambda: merge_heads(y), [[[0, 1, 2, 3], [12, 13, 14, 15]]],
                "the merged heads of 2 tokens",
                cause="permute (B, nh, T, hs) to (B, T, nh, hs) before you reshape")

    large = np.arange(360.0).reshape(2, 3, 60)  # B = 2, T = 3, nh = 4, hs = 5
    for i, name in enumerate(("queries", "keys", "values")):
        wanted = [[large[b, :, 20 * i + 5 * h :][:, :5] for h in range(4)] for b in range(2)]
        check.close(lambda: split_heads(Tensor(large), num_heads=4)[i], np.array(wanted),
                    f"the {name} of 2 texts, 3 tokens and 4 heads",
                    cause=order)
    heads = np.arange(120.0).reshape(2, 4, 3, 5)  # (B, nh, T, hs)
    wanted = np.concatenate([heads[:, h] for h in range(4)], axis=-1)  # (B, T, C)
    check.close(lambda: merge_heads(Tensor(heads)), wanted, "the merged heads of 2 texts",
                cause="permute (B, nh, T, hs) to (B, T, nh, hs) before you reshape to (B, T, nh *"
                " hs)")

    rng = np.random.default_rng(2)
    x = Tensor(rng.standard_normal((2, 3, 24)), requires_grad=True)
    for i, name in enumerate(("queries", "keys", "values")):
        check.gradient(lambda x, i=i: split_heads(x, num_heads=4)[i], x, what=f"the {name} alone",
                       cause="stack zeros for the two that are None; permute (3, B, nh, T, hs) to"
                       " (B, T, 3, nh, hs), then reshape to the shape of the input")

    def all_three(x: Tensor) -> Tensor:
        q, k, v = split_heads(x, num_heads=4)
        return q + k * 2 + v * 3

    check.gradient(all_three, x, what="queries, keys and values together",
                   cause="stack the three gradients on a new first axis, in their order")
    y = Tensor(rng.standard_normal((2, 4, 3, 5)), requires_grad=True)
    check.gradient(lambda y: merge_heads(y), y, what="merge_heads",
                   cause="undo the reshape first, to (B, T, nh, hs), then permute to (B, nh, T,"
                   " hs)")
# fmt: on

# %% [markdown]
# ## 12.6 The KV cache
#
# When text is generated, the tokens are processed one at a time. Each query needs the keys and
# values of **all** previous tokens, and these never change, since no token looks ahead. So they are
# computed once and cached. Without the cache, the 100th token would compute the first 99 again.

# %% given="12.6"
from tinytorch.attention import _allocate, _first, _write

# %% exercise="12.6" points=3
from tinytorch.attention import KVCache

# KVCache.append:
#   start is the current length, end is the length with the new tokens (axis 2 of keys).
#   First the checks. Raise a ValueError that contains max_seq_len and end if end is larger.
#   Raise a RuntimeError if keys.requires_grad: no gradient flows through a cached array.
#   The first time, allocate both arrays with _allocate. Later, the first two axes, B and nh, must
#   match: raise a ValueError if they do not.
#   _write stores keys and values at slice(start, end) and returns the array that has them: keep it.
#   Update the length, and return with _first the keys and values of all tokens so far.

# %% test="12.6" points=3
# fmt: off
with Exercise("12.6", "KVCache") as check:

    def numbered(first: int, count: int, hs: int) -> Tensor:
        """Tokens first, first + 1, ..., (B, nh, T, hs) = (2, 3, count, hs), each its number."""
        tokens = np.arange(first, first + count, dtype=np.float32)[:, None]
        kinds = np.arange(2)[:, None, None, None] / 2 + np.arange(3)[:, None, None] / 8
        return Tensor((tokens + kinds + np.arange(hs) / 64).astype(np.float32))

    cache = check.call(lambda: KVCache(13), "a new cache", cause="KVCache(max_seq_len)")
    for first, count in ((0, 2), (2, 1), (3, 9)):
        end = first + count
        kept_keys, kept_values = check.call(lambda: cache.append(
                                                numbered(first, count, 4), numbered(100 + first, count, 5)
                                            ),
                                            f"tokens {first} to {end - 1}, appended",
                                            cause="T is keys.shape[2]; keys and values, whose"
                                            " sizes differ, have one array each; return both with"
                                            " _first", count=2)
        check.equal(lambda: cache.length, end, f"the length with {end} tokens",
                    cause="the length counts tokens: end becomes the new length")
        for name, got, start, hs in (("keys", kept_keys, 0, 4), ("values", kept_values, 100, 5)):
            check.equal(lambda: got.shape, (2, 3, end, hs), f"the shape of the {name}",
                        cause="return all tokens so far, and no empty places; values may be of"
                        " another size")
            check.equal(lambda: got.numpy()[0, 0, :, 0], np.arange(start, start + end),
                        f"the tokens whose {name} are in the cache",
                        cause="write new ones at slice(start, end), keys and values each to its"
                        " own array")
            check.true(lambda: np.array_equal(
                           got.numpy(), numbered(start, end, hs).numpy()
                       ),
                       f"every text, head and element of the {name} is as it was appended",
                       cause="_write takes the whole tensor, of all texts and heads")

    def append(into: KVCache, count: int, learned: bool = False) -> object:
        tokens = numbered(12, count, 4)
        tokens.requires_grad = learned
        return into.append(tokens, numbered(112, count, 5))

    for number in ("13", "14"):
        check.raises(ValueError, lambda: append(cache, 2),
                     "2 more tokens, for a cache of 13 that has 12", message=number,
                     cause="compare end with max_seq_len; the message contains both")
    check.raises(ValueError, lambda: append(KVCache(1), 2), "2 tokens for a cache of 1",
                 cause="the first tokens, too, may be too many")
    check.equal(lambda: cache.length, 12, "the length after an error",
                cause="check before you write, and before you change the length")
    check.call(lambda: append(KVCache(3), 3), "3 tokens, for a cache of 3",
               cause="max_seq_len tokens fit: the error is raised only if end > max_seq_len")
    check.raises(RuntimeError, lambda: append(cache, 1, learned=True),
                 "keys that require a gradient",
                 cause="check keys.requires_grad")
    for B, nh in ((1, 3), (2, 1)):
        wrong = numbered(12, 1, 4)[:B, :nh], numbered(112, 1, 5)[:B, :nh]
        check.raises(ValueError, lambda: cache.append(*wrong),
                     f"keys of (B, nh) = {(B, nh)} for a cache of (2, 3)",
                     cause="compare the first two axes, both, with those of the array that is"
                     " allocated")
    check.equal(lambda: append(cache, 1)[1].numpy()[1, 2, :, 0], np.arange(100, 113) + 0.75,
                "the values of a cache that is full to the last place",
                cause="13 tokens fit into a cache of 13; an error must leave it as it was")
# fmt: on

# %% [markdown]
# ## 12.7 Multi-head attention
#
# Now put everything together: one linear layer computes queries, keys and values; rotary positions
# (lesson 11) rotate queries and keys, so that a score depends on the distance between two tokens;
# the cache, if there is one, adds the earlier keys and values; then attention, merging the heads,
# and one more linear layer that combines their results.
#
# Generation reads all cached keys and values for every token, and the cache is the memory that grows
# with the text. **Grouped-query attention** shrinks both: with `nkv < nh` heads of keys and values,
# each serves `nh / nkv` heads of queries. Llama models have it: SmolLM2 has 9 heads of queries and 3
# of keys and values. The row that the first linear layer computes is then shorter,
# `(nh + 2 nkv) hs` numbers, `3 C` if `nkv = nh`.

# %% [markdown]
# Four functions are given. `split_groups` is your `split_heads` for `nkv` heads of keys and values;
# `repeat_heads` gives every head of queries the keys or values of its group. `attention` returns the
# output alone, for callers that do not need the weights; `fused_attention` below it may be replaced
# by a backend's kernel, which never stores the table of weights (see "What it costs").

# %% given="12.7"
from tinytorch.attention import (
    _check_tokens,
    attention,
    fused_attention,
    repeat_heads,
    split_groups,
)

# %% exercise="12.7" points=4
from tinytorch.attention import MultiHeadAttention

# MultiHeadAttention.__init__:
#   num_kv_heads is num_heads if it is None. Raise a ValueError if num_heads is below 1 or does not
#   divide embed_dim, or if num_kv_heads is below 1 or does not divide num_heads.
#   Keep embed_dim, num_heads, num_kv_heads and rotary; qkv, a Linear from C to (nh + 2 nkv) hs, and
#   proj, one from C to C (bias and backend as given); weights_dropout and output_dropout.
# MultiHeadAttention.forward:
#   Return the output of attend only; it need not compute the weights.
# MultiHeadAttention.attend:
#   _check_tokens(x, self.embed_dim), given above, comes first.
#   Read the length of the cache before you append to it: that is where x starts.
#   Then: qkv, split_groups, rotary for q and k (with where they start), cache, repeat_heads for k
#   and v, attention, merge, proj, dropout. The cache holds the nkv heads. Without need_weights, call
#   `attention` and return None for the weights.

# %% test="12.7" points=4
# fmt: off
with Exercise("12.7", "MultiHeadAttention") as check, no_grad():
    rng = np.random.default_rng(4)  # B = 2, T = 5, C = 12, nh = 3, hs = 4
    shapes = {
        "qkv.weight": (36, 12),
        "qkv.bias": (36,),
        "proj.weight": (12, 12),
        "proj.bias": (12,),
    }
    numbers = {n: (rng.standard_normal(s) / 2).astype(np.float32) for n, s in shapes.items()}

    def made(parameters: dict[str, Any] = numbers, **settings: Any) -> MultiHeadAttention:
        layer = MultiHeadAttention(12, 3, **settings)
        layer.load_state_dict(parameters)
        return layer

    def by_hand(
        x: Any, visible: Any = True, bias: Any = 0.0, rotate: Any = None, parameters: Any = numbers
    ) -> Any:
        """The output and the weights, one head at a time, in plain NumPy."""
        qkv = x @ parameters["qkv.weight"].T + parameters["qkv.bias"]
        outputs, tables = [], []
        for head in range(3):
            query, key, value = (qkv[..., 12 * i + 4 * head :][..., :4] for i in range(3))
            if rotate is not None:
                query, key = rotate(Tensor(query)).numpy(), rotate(Tensor(key)).numpy()
            powers = np.exp(np.where(visible, query @ key.swapaxes(1, 2) / 2 + bias, -np.inf))
            tables.append(powers / powers.sum(axis=-1, keepdims=True))
            outputs.append(tables[-1] @ value)
        merged = np.concatenate(outputs, axis=-1)  # (B, T, C)
        return merged @ parameters["proj.weight"].T + parameters["proj.bias"], np.stack(tables, 1)

    check.equal(lambda: {name: p.shape for name, p in MultiHeadAttention(12, 3).named_parameters()},
                shapes, "the parameters and their shapes",
                cause="self.qkv is a Linear from C to 3 C, self.proj one from C to C, with a bias"
                " by default")
    layer = check.call(lambda: made(), "a layer", cause="see the hints for __init__")
    check.equal(lambda: (layer.embed_dim, layer.num_heads), (12, 3), "embed_dim and num_heads",
                cause="keep both in self")
    check.equal(lambda: sorted(n for n, _ in MultiHeadAttention(12, 3, bias=False).named_parameters()),
                ["proj.weight", "qkv.weight"], "the parameters with bias=False",
                cause="pass bias on to both linear layers")
    check.equal(
        lambda: [p.backend.name for p in MultiHeadAttention(12, 3, backend="reference").parameters()],
        ["reference"] * 4, "the backends of the parameters with backend='reference'",
        cause="pass backend on to both linear layers",
    )
    for heads in (5, 0, -3):
        check.raises(ValueError, lambda n=heads: MultiHeadAttention(12, n),
                     f"{heads} heads for C = 12",
                     cause="raise it if num_heads is below 1, or if embed_dim % num_heads is not 0")

    x = rng.standard_normal((2, 5, 12)).astype(np.float32)
    visible = np.tril(np.ones((5, 5), bool), 1)  # each token sees one ahead: no causal mask
    visible[3, 0] = False
    padding = np.array([[[True] * 5], [[True] * 3 + [False] * 2]])  # (B, 1, S)
    bias = rng.standard_normal((5, 5)).astype(np.float32)
    for name, mask, settings in (
        ("without a mask", None, {}),
        ("with a boolean mask", visible, {"visible": visible}),
        ("with a mask for each text", padding[:, None], {"visible": padding}),
        ("with a float mask", bias, {"bias": bias}),
    ):
        mask = None if mask is None else Tensor(mask)
        expected, table = by_hand(x, **settings)
        output, weights = check.call(
            lambda: layer.attend(Tensor(x), mask), f"the results of attend {name}",
            cause="attend returns output, weights: a pair, in this order", count=2,
        )
        check.close(weights, table, f"the weights (B, nh, T, S) {name}", tolerance=1e-4,
                    cause="q, k, v are the self.num_heads heads of self.qkv(x); the mask is passed"
                    " as it is, None too; nothing is rotated if self.rotary is None")
        check.close(output, expected, f"the output of attend {name}", tolerance=1e-4,
                    cause="attention averages v; then merge_heads, then proj: is a step missing?")
        check.close(lambda: layer(Tensor(x), mask), expected, f"the output of the layer {name}",
                    cause="forward returns the output of attend alone, with the same mask",
                    tolerance=1e-4)
    check.equal(lambda: MultiHeadAttention(12, 1).attend(Tensor(x))[1].shape, (2, 1, 5, 5),
                "the shape of the weights of a layer with one head",
                cause="one head is allowed")
    check.true(lambda: layer.attend(Tensor(x), need_weights=False)[1] is None,
               "with need_weights=False, the second result is None",
               cause="call attention then, which returns the output alone")
    check.raises(ValueError, lambda: layer(x.tolist()), "an x that is a list",
                 cause="call _check_tokens first")

with Exercise("12.7", "MultiHeadAttention with rotary positions and a cache") as check, no_grad():
    rotary = RotaryEmbedding(4, 5)  # for 5 positions
    causal = np.tril(np.ones((5, 5), bool))
    for name, rotate in (("with rotary positions", rotary), ("without them", None)):
        layer = check.call(lambda: made(rotary=rotate), f"a layer {name}",
                           cause="see the hints for __init__")
        expected, table = by_hand(x, causal, rotate=rotate)
        output, weights = check.call(
            lambda: layer.attend(Tensor(x), Tensor(causal)), f"the results {name}",
            cause="without a cache, positions start at 0: self.rotary(q, 0)", count=2,
        )
        check.close(weights, table, f"the weights {name}", tolerance=1e-4,
                    cause="self.rotary rotates both q and k")
        check.close(output, expected, f"the output {name}", tolerance=1e-4,
                    cause="self.rotary rotates q and k, not v")
        cache, other = check.call(lambda: (KVCache(8), KVCache(8)), "two caches",
                                  cause="see exercise 12.6", count=2)
        reason = "rotary starts at the cache's length, read before append; then attention uses " \
                 "all the keys and values that append returns"
        for start, end in ((0, 2), (2, 3), (3, 5)):
            given = Tensor(x[:, start:end]), Tensor(causal[start:end, :end])
            what = f"of tokens {start} to {end - 1} {name}, with a cache"
            output, weights = check.call(lambda: layer.attend(*given, cache), f"the results {what}",
                                         cause="k, v = cache.append(k, v): the tokens so far",
                                         count=2)
            check.close(weights, table[:, :, start:end, :end], f"the weights {what}",
                        cause=reason, tolerance=1e-4)
            check.close(output, expected[:, start:end], f"the output {what}",
                        cause=reason, tolerance=1e-4)
            check.close(lambda: layer(*given, other), expected[:, start:end],
                        f"the output of the layer {what}",
                        cause="forward passes mask and cache on to attend", tolerance=1e-4)
        check.equal(lambda: cache.length, 5, "the length of the cache afterwards",
                    cause="append once for each call")

with Exercise("12.7", "grouped-query attention") as check, no_grad():
    rotary = RotaryEmbedding(4, 5)  # C = 16, nh = 4, nkv = 2, hs = 4
    grouped = check.call(lambda: MultiHeadAttention(16, 4, rotary=rotary, num_kv_heads=2),
                         "a layer with 2 heads of keys and values for 4 of queries",
                         cause="see the hints for __init__")
    check.equal(lambda: (grouped.num_kv_heads, MultiHeadAttention(16, 4).num_kv_heads), (2, 4),
                "num_kv_heads, and its default", cause="keep it in self; by default it is num_heads")
    check.equal(lambda: (grouped.qkv.weight.shape, grouped.qkv.bias.shape), ((32, 16), (32,)),
                "the shapes of the weight and the bias of qkv",
                cause="4 heads of queries and twice 2 of keys and values, of size hs = 4 each")
    for heads in (3, 8, 0, -2):
        check.raises(ValueError, lambda n=heads: MultiHeadAttention(16, 4, num_kv_heads=n),
                     f"{heads} heads of keys and values for 4 of queries",
                     cause="raise it if num_kv_heads is below 1 or does not divide num_heads")

    def doubled() -> MultiHeadAttention:
        """The same layer with 4 heads of keys and values: each of the 2 twice."""
        parameters = {name: p.numpy() for name, p in grouped.named_parameters()}
        for name in ("qkv.weight", "qkv.bias"):
            q, *kv = np.split(parameters[name], [16, 24])
            kv = [np.repeat(part.reshape(2, 4, -1), 2, axis=0).reshape(q.shape) for part in kv]
            parameters[name] = np.concatenate([q, *kv])
        full = MultiHeadAttention(16, 4, rotary=rotary)
        full.load_state_dict(parameters)
        return full

    x = Tensor(rng.standard_normal((2, 5, 16)).astype(np.float32))
    full = check.call(doubled, "a layer with 4 heads of each", cause="see the hints for __init__")
    expected, table = check.call(lambda: [y.numpy() for y in full.attend(x, Tensor(causal))],
                                 "the results with 4 heads of each",
                                 cause="see the hints for attend", count=2)
    check.close(lambda: grouped.attend(x, Tensor(causal))[1], table, "the weights",
                cause="repeat_heads(k, self.num_heads)", tolerance=1e-4)
    check.close(lambda: grouped.attend(x, Tensor(causal))[0], expected,
                "the output of attend", cause="repeat_heads(v, self.num_heads)", tolerance=1e-4)
    check.close(lambda: grouped(x, Tensor(causal)), expected, "the output of the layer",
                cause="repeat the heads of k and v for `attention`, too", tolerance=1e-4)
    cache = check.call(lambda: KVCache(5), "a cache", cause="see exercise 12.6")
    check.close(lambda: np.concatenate(
                    [grouped(x[:, t : t + 1], cache=cache).numpy() for t in range(5)], axis=1
                ),
                expected, "the outputs of one token after another with a cache",
                cause="repeat the heads of all keys and values that append returns", tolerance=1e-4)
    check.equal(lambda: cache._keys.shape, (2, 2, 5, 4), "the shape of the keys in the cache",
                cause="append keys and values before you repeat their heads: that saves memory")

with Exercise("12.7", "dropout in MultiHeadAttention") as check, no_grad():
    x = rng.standard_normal((64, 1, 12)).astype(np.float32)  # one token sees itself: weights of 1
    plain = numbers | {"proj.weight": np.eye(12, dtype=np.float32), "proj.bias": np.zeros(12)}
    expected, values = by_hand(x)[0], by_hand(x, parameters=plain)[0].reshape(192, 4)

    def dropped(name: str, parameters: dict[str, Any], without: str) -> np.ndarray:
        """The output of the layer, or of attend, with only one of the two dropouts."""
        layer = made(parameters, dropout=0.5)
        setattr(layer, without, Dropout(0.0))
        return (layer(Tensor(x)) if name == "layer" else layer.attend(Tensor(x))[0]).numpy()

    check.close(lambda: made(dropout=0.5).eval()(Tensor(x)), expected,
                "the output after layer.eval()",
                cause="use Dropout modules, kept in self: eval() switches them off", tolerance=1e-4)
    for name in ("layer", "attend"):
        check.close(lambda: np.unique(
                        (dropped(name, numbers, without="weights_dropout") / expected).round(2)
                    ),
                    [0, 2], f"{name}: the factors by which output_dropout changes the output",
                    cause="output_dropout, with p = dropout, is the last step, after proj; of all"
                    " elements, half become 0 and half are doubled")
        check.close(lambda: np.unique(
                        (dropped(name, plain, without="output_dropout").reshape(192, 4) / values).round(2),
                        axis=0,
                    ),
                    [[0, 0, 0, 0], [2, 2, 2, 2]],
                    f"{name}: the factors by which weights_dropout changes the heads of a single token",
                    cause="pass self.weights_dropout to the attention: it drops weights, so a head"
                    " that sees one token is dropped or doubled as a whole")
    check.close(lambda: made(dropout=0.5).attend(Tensor(x))[1], np.ones((64, 3, 1, 1)),
                "the returned weights with dropout",
                cause="attend returns the weights as they were before dropout")
    check.close(lambda: made(dropout=1.0)(Tensor(x)), np.zeros((64, 1, 12)),
                "the output when everything is dropped", cause="output_dropout comes last")

with Exercise("12.7", "gradients of MultiHeadAttention") as check:
    x = Tensor(rng.standard_normal((2, 3, 8)), requires_grad=True)
    visible = Tensor(np.tril(np.ones((3, 3), bool)))
    layer = check.call(lambda: MultiHeadAttention(8, 2, rotary=RotaryEmbedding(4, 5)).to(dtype="float64"),
                       "a layer in float64",
                       cause="see the hints for __init__")

    def without_gradient(name: str) -> list[str]:
        """Backpropagate through the layer, or through attend; the parameters it did not reach."""
        layer.zero_grad()
        (layer(x, visible) if name == "layer" else layer.attend(x, visible)[0]).sum().backward()
        return [
            n for n, p in layer.named_parameters() if p.grad is None or not p.grad.numpy().any()
        ]

    reason = "use tensor operations only: autograd does not record .numpy() and .data"
    check.gradient(lambda x: layer(x, visible), x, what="the output of the layer", cause=reason)
    check.gradient(lambda x: layer.attend(x, visible)[0], x, what="the output of attend",
                   cause=reason)
    for name in ("layer", "attend"):
        check.equal(lambda: without_gradient(name), [],
                    f"{name}: the parameters without a gradient", cause=reason)
# fmt: on

# %% [markdown]
# ## See it learn
#
# A small task: repeat the previous token. The layer must find *the previous position*, whichever
# token is there: attention by position. Compare the weights before and after training.

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
# At the size of real models, for one text of full length and 2 bytes per number:

# %%
MODELS = {  # layers, heads of queries, heads of keys and values, hs, context
    "GPT-2 small": (12, 12, 12, 64, 1024),
    "GPT-3": (96, 96, 96, 128, 2048),
    "Llama 3.1 8B": (32, 32, 8, 128, 131072),  # four heads of queries share one of keys and values
}
print("model          context   weights of one layer   KV cache of all layers")
for name, (layers, nh, kv_heads, hs, T) in MODELS.items():
    table, cached = 2 * nh * T * T, 2 * 2 * layers * kv_heads * hs * T
    print(f"{name:13}  {T:7}   {table / 2**20:16,.0f} MiB   {cached / 2**20:18,.0f} MiB")

# %% [markdown]
# ### Outlook: attention without the table
#
# No GPU has room for the table of the last model. **FlashAttention** never builds it: it goes
# through the keys in blocks, and keeps for each query three things: the largest score so far, the
# sum of the powers, and the sum of the values weighted by them. When a block brings a larger score,
# the sums are multiplied by exp(old maximum - new maximum), as if they had been computed with the
# new one from the start. This *online softmax* is exact, and needs memory for a block only.


# %%
def attention_in_blocks(query: np.ndarray, keys: np.ndarray, values: np.ndarray, size: int) -> Any:
    """softmax(keys @ query) @ values for one query, `size` keys at a time."""
    largest, total, output = -math.inf, 0.0, np.zeros(values.shape[1])
    for start in range(0, len(keys), size):
        scores = keys[start : start + size] @ query
        before, largest = largest, max(largest, scores.max())
        powers, shrink = np.exp(scores - largest), np.exp(before - largest)
        total = shrink * total + powers.sum()
        output = shrink * output + powers @ values[start : start + size]
    return output / total


rng = np.random.default_rng(0)
keys, values, query = (rng.standard_normal(shape) for shape in ((100, 8), (100, 5), (8,)))
powers = np.exp(keys @ query)
print("at once  ", (powers @ values / powers.sum()).round(6))
print("in blocks", attention_in_blocks(query, keys, values, 16).round(6))

# %% [markdown]
# The package's kernels for `fused_attention` work in blocks too: `backends/numpy/attention.py` and
# `backends/cupy/attention.py`.

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

# %% [markdown] instructor=true
# ## Answers
#
# 1. An average of nothing has no right value. Here the weights are all 0, and so is the output:
#    `softmax_array` replaces a maximum of -inf, and a sum of 0. A plain softmax gives
#    0 / 0 = NaN, which spreads through the whole model; -1e9 instead of -inf gives the average of
#    all the masked values. *Full marks for NaN or 0 with the reason.*
# 2. The mask hides keys after the query. The cache holds only earlier tokens, and the new one is
#    the last: its row of the mask is all `True`.
# 3. One of query and key, and one of value and output. The scores are $x W_q^\top W_k x^\top$:
#    only the product of the two matrices counts, and with one head (hs = C) it can be any C x C
#    matrix. So does the product of the value and output maps. With several heads hs < C, and the
#    product has rank hs: the pairs are then a saving, and a restriction. *Half marks for one pair.*
# 4. No: scores, weights and outputs depend on the vectors alone, and permuting the tokens only
#    permutes the outputs. With a causal mask the *number* of visible tokens differs, so a stack of
#    layers can learn something about positions even without an encoding. *Full marks without the
#    remark on the mask.*
# 5. 2 (keys and values) x 32 layers x 8192 tokens x 4096 numbers x 2 bytes = 4 GiB, a quarter of
#    the memory that 8 billion weights take. *Half marks if keys or layers are forgotten.*
#
# Where students get stuck: 12.3 (write the formula for one row on the board first), the reshape of
# 12.5 (let them print `np.arange` as in the cell above the exercise), and in 12.7 the cache's
# length, which has to be read before `append`.

# %% [markdown]
# ## In PyTorch
#
# | here | PyTorch |
# |---|---|
# | `scaled_dot_product_attention` | `torch.nn.functional.scaled_dot_product_attention` (does not return the weights: it never builds the table) |
# | `MultiHeadAttention` | `torch.nn.MultiheadAttention` (its boolean mask is inverted: `True` hides) |
# | `create_causal_mask` | `is_causal=True` |
# | `KVCache` | `DynamicCache` in Hugging Face's transformers |
#
# Sources: A. Vaswani et al., *Attention Is All You Need* (2017), section 3.2; M. Milakov and
# N. Gimelshein, *Online normalizer calculation for softmax* (2018); T. Dao et al.,
# *FlashAttention* (2022).
#
# Next: lesson 13 adds an MLP after each attention, stacks the two, and trains TinyGPT.
