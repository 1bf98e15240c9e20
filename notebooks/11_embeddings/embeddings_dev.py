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
# # Lesson 11: Embeddings
#
# Lesson 10 turned text into ids: token 17, token 4, token 17. But ids are only names. Token 18 is
# not *more* than token 17, and a network that multiplied ids by weights would treat it that way.
#
# An **embedding** maps each token to its own vector. Training moves these vectors until tokens that
# are used in similar ways lie close together.
#
# One thing is still missing: the order. A network that sees a set of vectors cannot tell which came
# first: *dog bites man* and *man bites dog* are the same set. So each vector must also encode its
# **position**. There are three ways to do this, and you will build all of them:
#
# | positions | method | used by |
# |---|---|---|
# | learned | a second table, one row per position | GPT-2 |
# | sinusoidal | fixed waves of many wavelengths | the original transformer (2017) |
# | rotary | rotates queries and keys by an angle | Llama, and TinyGPT here |

# %% setup=true
import math
from typing import Any

import numpy as np

from tinytorch.arguments import check_integer
from tinytorch.ops import random
from tinytorch.ops.op import op
from tinytorch.ops.operators import same_backend
from tinytorch.backends import Backend
from tinytorch.backends.base import Array, Namespace
from tinytorch.modules.module import Module, Parameter
from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise

# %% [markdown]
# ## The idea, by hand
#
# Letters for shapes: `V` vocabulary size, `C` size of a vector, `B` batch size, `T` tokens per
# sequence.
#
# The table has the shape (V, C). Looking up ids of shape (B, T) gives (B, T, C).

# %%
table = np.array([[0.1, 0.2], [1.0, 1.1], [2.0, 2.1]])  # (V, C) = (3, 2)
ids = np.array([[2, 0, 2]])  # (B, T) = (1, 3)
print(table[ids], table[ids].shape)  # (B, T, C) = (1, 3, 2)

# %% [markdown]
# The lookup can be written as a matrix product: a *one-hot* row for each id, times the table. This
# gives the same numbers with V times the work, but it explains the gradient in the next exercise.

# %%
one_hot = np.eye(3)[ids]  # (B, T, V)
print(np.allclose(one_hot @ table, table[ids]))

# %% [markdown]
# ## 11.1 The lookup and its gradient
#
# Forward: copy rows of the table. Backward: each row that was used receives a gradient. If a token
# occurs twice, **both** gradients belong to its row, and they add up. (The transposed one-hot
# matrix times the gradient computes exactly that.) The classic mistake is to overwrite one with the
# other.

# %% exercise="11.1" points=3
from tinytorch.embeddings import embedding, embedding_gradient

# embedding:
#   xp.take_rows(table, ids) looks up rows for ids of any shape.
#   Return the rows, and what the gradient needs: the ids and the shape of the table.
# embedding_gradient:
#   g is (..., C): reshape it to (N, C), and the ids to (N,).
#   xp.segment_sum(values, ids, rows) adds each value to the row given by its id, in a table of
#   zeros with that many rows.
#   Ids have no gradient: return None for them.

# %% test="11.1" points=3
with Exercise("11.1", "embedding") as check:
    weight = Tensor([[0.0, 1.0], [10.0, 11.0], [20.0, 21.0]], requires_grad=True)
    ids = Tensor([[2, 0, 2]])
    found = embedding(weight, ids)
    check.equal(found.shape, (1, 3, 2), "the shape for ids (1, 3) and a table (3, 2)",
                cause="ids (B, T) give (B, T, C)")  # fmt: skip
    check.equal(found.tolist(), [[[20, 21], [0, 1], [20, 21]]], "the vectors of tokens 2, 0, 2")
    found.backward(Tensor([[[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]]]))
    check.equal(weight.grad.shape, (3, 2), "the shape of the table's gradient")
    check.equal(weight.grad.tolist(), [[3, 4], [0, 0], [11, 22]], "the table's gradient",
                cause="token 2 occurs twice: its gradients add up, 1 + 10")  # fmt: skip

# %% [markdown]
# ## 11.2 The layer
#
# A module that holds the table as a parameter. The table starts with random numbers. The layer
# accepts integers only: an id of 2.7 is a bug, and an error is better than rounding.

# %% exercise="11.2" points=1
from tinytorch.embeddings import Embedding

# Embedding.__init__:
#   Store vocab_size and embed_dim. self.weight is a Parameter of random.normal((V, C)).
# Embedding.forward:
#   If ids.is_floating_point(), raise a TypeError that mentions integers. Otherwise apply the op
#   of exercise 11.1.

# %% test="11.2" points=1
with Exercise("11.2", "Embedding") as check:
    layer = Embedding(50, 8)
    check.equal(layer.weight.shape, (50, 8), "the shape of the table", cause="(V, C), not (C, V)")
    check.true(isinstance(layer.weight, Parameter), "weight is a Parameter, so it is trained")
    check.true(0.8 < float(np.std(layer.weight.numpy())) < 1.2, "the standard deviation of the table is near 1",
               cause="use random.normal with its default standard deviation")  # fmt: skip
    check.close(layer(Tensor([[3, 4]]))[0, 1], layer.weight[4], "the vector of token 4")
    check.raises(TypeError, lambda: layer(Tensor([1.0])), "ids that are floats", message="integers")

# %% [markdown]
# ## 11.3 Sinusoidal positions
#
# How can we write a position as C numbers between -1 and 1, different for every position? Think of
# a clock: the second hand is fast, the hour hand is slow, and together they distinguish every
# second of half a day. The original transformer used C / 2 such hands, each with a sine and a
# cosine:
#
# $$ \mathrm{PE}(p, 2i) = \sin(p \cdot \omega_i), \quad \mathrm{PE}(p, 2i+1) = \cos(p \cdot \omega_i),
# \quad \omega_i = 10000^{-2i/C} $$
#
# The first hand turns by 1 radian per position, the last one by nearly 1/10000.

# %% exercise="11.3" points=3
from tinytorch.embeddings import _angles, create_sinusoidal_embeddings

# _angles:
#   np.arange(0, size, 2) is 0, 2, 4, ...: the 2i of the formula. Compute one frequency for each.
#   Multiply a column of positions by the row of frequencies: (T, size/2).
# create_sinusoidal_embeddings:
#   If embed_dim is odd, raise a ValueError that contains its value.
#   Allocate a float32 table (T, C). Sines go into columns 0, 2, 4, ...: table[:, 0::2].
#   Cosines go into columns 1, 3, 5, ...

# %% test="11.3" points=3
with Exercise("11.3", "create_sinusoidal_embeddings") as check:
    check.close(_angles(3, 4, 100.0), [[0, 0], [1, 0.1], [2, 0.2]], "angles of 3 positions with base 100",
                cause="position * base ** (-2i / size): 100 ** 0 = 1, 100 ** -0.5 = 0.1")  # fmt: skip
    table = create_sinusoidal_embeddings(50, 8).numpy()
    check.equal(table.shape, (50, 8), "the shape for 50 positions and C = 8")
    check.close(table[0], [0, 1, 0, 1, 0, 1, 0, 1], "position 0",
                cause="even columns hold sin(0) = 0, odd columns cos(0) = 1")  # fmt: skip
    check.close(table[3, :2], [math.sin(3), math.cos(3)], "the first pair of position 3")
    check.close(table[3, 6:], [math.sin(3e-3), math.cos(3e-3)], "the last pair of position 3",
                cause="the last frequency is 10000 ** (-(C - 2) / C), here 0.001")  # fmt: skip
    check.raises(
        ValueError, lambda: create_sinusoidal_embeddings(5, 7), "an odd embed_dim", message="7"
    )

# %% [markdown]
# Here is the table. Each row is a position; fast waves are on the left, slow ones on the right.

# %%
import matplotlib.pyplot as plt

table = create_sinusoidal_embeddings(100, 64).numpy()
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
axes[0].imshow(table, aspect="auto", cmap="RdBu")
axes[0].set(title="sinusoidal position vectors", xlabel="column", ylabel="position")
axes[1].plot(table @ table[50])
axes[1].set(title="dot product of position 50 with the others", xlabel="position")
figure.tight_layout()
plt.show()

# %% [markdown]
# The right plot shows why this works: the dot product of two positions depends only on their
# distance, and is largest for neighbours.

# %% [markdown]
# ## 11.4 Adding positions
#
# Two modules: one with a learned table, one with your sinusoidal table. Both add rows `start` to
# `start + T` to the token vectors. `start` is not always 0: during generation, a new token comes
# after all the tokens that were already processed.

# %% exercise="11.4" points=2
from tinytorch.embeddings import PositionalEncoding, SinusoidalEncoding, _check_positions

# PositionalEncoding.__init__:
#   Store max_seq_len. self.weight is a Parameter of random.normal with standard deviation 0.02.
# PositionalEncoding.forward:
#   Call _check_positions(start, number of tokens, rows of the table), then add the right rows.
#   T is the second axis from the end of x (B, T, C).
# SinusoidalEncoding.forward:
#   The same, with self.table.

# %% test="11.4" points=2
with Exercise("11.4", "PositionalEncoding and SinusoidalEncoding") as check:
    x = Tensor(np.ones((2, 3, 4), np.float32))
    learned, waves = PositionalEncoding(10, 4), SinusoidalEncoding(10, 4)
    check.equal(learned.weight.shape, (10, 4), "the shape of the learned table")
    check.true(float(np.abs(learned.weight.numpy()).max()) < 0.2, "learned positions start small",
               cause="use a standard deviation of 0.02: at first the token matters more than its position")  # fmt: skip
    check.equal(len(list(waves.parameters())), 0, "the number of parameters of SinusoidalEncoding")
    for layer, rows in ((learned, learned.weight), (waves, waves.table)):
        name = type(layer).__name__
        check.close(layer(x), 1 + np.broadcast_to(rows.numpy()[:3], (2, 3, 4)), f"{name}(x)",
                    cause="add rows 0, 1, 2 to the three tokens of each sequence")  # fmt: skip
        check.close(layer(x, 5), 1 + np.broadcast_to(rows.numpy()[5:8], (2, 3, 4)),
                    f"{name}(x, start=5)", cause="add the rows from start to start + T")  # fmt: skip
        check.raises(
            ValueError,
            lambda layer=layer: layer(x, 8),
            "3 tokens from position 8 of 10",
            message="11",
        )
        layer(x, 7)  # positions 7, 8, 9 exist

# %% [markdown]
# ## 11.5 Rotary positions
#
# Instead of adding a position, **rotate** by it. Group the numbers of a vector into pairs, treat
# each pair as a point in the plane, and rotate it by the angle $p \cdot \omega_i$:
#
# $$ (a, b) \to (a \cos\theta - b \sin\theta,\; b \cos\theta + a \sin\theta) $$
#
# Rotate a query at position $p$ and a key at position $q$: their dot product depends on $p - q$
# only. What matters in language is the distance, not the page number.
#
# Which numbers form a pair? Here, number `i` and number `i + hs/2`: the first half with the second.


# %%
def rotate(point: np.ndarray, angle: float) -> np.ndarray:
    a, b = point
    return np.array([a * math.cos(angle) - b * math.sin(angle),
                     b * math.cos(angle) + a * math.sin(angle)])  # fmt: skip


query, key = np.array([1.0, 0.3]), np.array([0.5, 0.9])
figure, axes = plt.subplots(1, 3, figsize=(10, 3.4))
for axis, (p, q) in zip(axes, [(0, 0), (3, 2), (6, 5)], strict=True):
    a, b = rotate(query, 0.6 * p), rotate(key, 0.6 * q)
    axis.quiver([0, 0], [0, 0], [a[0], b[0]], [a[1], b[1]], color=["C0", "C1"], scale=2.6)
    axis.set(title=f"query at {p}, key at {q}\ndot product {a @ b:.3f}",
             xticks=[], yticks=[], aspect=1)  # fmt: skip
figure.tight_layout()
plt.show()

# %% [markdown]
# The second and third plots have the same distance, so the angle between the arrows and the dot
# product are the same too.

# %% exercise="11.5" points=4
from tinytorch.embeddings import RotaryEmbedding, _rotate, rotary, rotary_gradient

# _rotate:
#   x is (..., T, hs), cos and sin are (T, hs/2). Split the last axis into two halves, rotate them
#   by the formula, and join them with xp.concat.
# rotary:
#   Return the rotated x, and what the gradient needs: cos and sin.
# rotary_gradient:
#   The gradient of a rotation is the inverse rotation: which sign changes? The tables cos and sin
#   have no gradient.
# RotaryEmbedding.forward:
#   self._tables(start, end) returns the rows of cos and sin; T is the second axis from the end.

# %% test="11.5" points=4
with Exercise("11.5", "rotary") as check:
    x = Tensor([[1.0, 2.0, 3.0, 4.0]])  # one token, hs = 4: pairs (1, 3) and (2, 4)
    quarter, none = Tensor([[0.0, 1.0]]), Tensor([[1.0, 0.0]])  # 90 degrees for the first pair
    check.close(rotary(x, quarter, none), [[-3.0, 2.0, 1.0, 4.0]], "the first pair rotated by 90 degrees",
                cause="the pairs are (x[i], x[i + hs/2]), and (a, b) becomes (-b, a)")  # fmt: skip
    rng = np.random.default_rng(0)
    y = Tensor(rng.standard_normal((2, 3, 4)), requires_grad=True)
    angles = rng.standard_normal((3, 2))
    cos, sin = Tensor(np.cos(angles)), Tensor(np.sin(angles))
    check.gradient(lambda y: rotary(y, cos, sin), y, what="rotary", cause="rotate back: -sin")

    layer = RotaryEmbedding(8, 32)
    check.equal(len(list(layer.parameters())), 0, "the number of parameters of RotaryEmbedding")
    z = Tensor(rng.standard_normal((1, 1, 3, 8)).astype(np.float32))
    check.close(layer(z)[:, :, 0], z[:, :, 0], "a token at position 0", cause="its angle is 0")
    check.close((layer(z) * layer(z)).sum(axis=-1), (z * z).sum(axis=-1), "the lengths of the vectors",
                cause="a rotation does not change the length", tolerance=1e-4)  # fmt: skip
    check.close(layer(z, 4), layer(Tensor(np.concatenate([z.numpy()[:, :, :1]] * 4 + [z.numpy()], 2)))[:, :, 4:],
                "three tokens starting at position 4", cause="use rows start to start + T", tolerance=1e-4)  # fmt: skip
    near = (layer(z[:, :, :1], 5) * layer(z[:, :, 1:2], 3)).sum()
    far = (layer(z[:, :, :1], 25) * layer(z[:, :, 1:2], 23)).sum()
    check.close(near, far, "dot products at positions (5, 3) and (25, 23)", tolerance=1e-4,
                cause="the dot product of rotated vectors depends only on the distance")  # fmt: skip

# %% [markdown]
# ## 11.6 Tokens and positions together
#
# The first layer of a language model: token vectors, plus position vectors for the encodings that
# add them. (Rotary positions come later, within attention.) The original transformer multiplied the
# token vectors by $\sqrt{C}$; here that is an option.

# %% exercise="11.6" points=2
from tinytorch.embeddings import ENCODINGS, EmbeddingLayer

# EmbeddingLayer.__init__:
#   Raise a ValueError if pos_encoding is neither None nor in ENCODINGS.
#   self.scale is the square root of C, or 1.0. self.tokens is an Embedding. self.positions is None
#   or the module from ENCODINGS, built with max_seq_len and embed_dim (and backend=backend).
# EmbeddingLayer.forward:
#   Look up the tokens, scale them if required, then add positions from start on.

# %% test="11.6" points=2
with Exercise("11.6", "EmbeddingLayer") as check:
    ids = Tensor([[1, 2, 1], [3, 3, 0]])
    plain = EmbeddingLayer(5, 8, 16, None)
    check.equal(plain(ids).shape, (2, 3, 8), "the shape for ids (2, 3) and C = 8")
    check.close(plain(ids), plain.tokens.weight.numpy()[ids.numpy()], "vectors without positions")
    check.equal(sorted(n for n, _ in EmbeddingLayer(5, 8, 16).named_parameters()),
                ["positions.weight", "tokens.weight"], "the names of the parameters, by default")  # fmt: skip
    for kind, rows in (("learned", "weight"), ("sinusoidal", "table")):
        layer = EmbeddingLayer(5, 8, 16, kind)
        places = getattr(layer.positions, rows).numpy()
        wanted = layer.tokens.weight.numpy()[ids.numpy()] + places[4:7]
        check.close(layer(ids, 4), wanted, f"{kind} positions from 4 on", cause="pass start on")
    scaled = EmbeddingLayer(5, 16, 16, "learned", scale_embeddings=True)
    wanted = scaled.tokens.weight.numpy()[ids.numpy()] * 4 + scaled.positions.weight.numpy()[:3]
    check.close(scaled(ids), wanted, "scaled token vectors plus positions",
                cause="multiply the tokens by sqrt(16) = 4, but not the positions")  # fmt: skip
    check.raises(ValueError, lambda: EmbeddingLayer(5, 8, 16, "rotten"), "an unknown pos_encoding")

# %% [markdown]
# ## See it learn
#
# A task that needs only the tokens: predict the next letter from the current one. A table (V, C)
# and a linear layer are enough. Then see where the letters ended up: the singular value
# decomposition finds the two main directions of the C-dimensional cloud, and we plot those.

# %%
from tinytorch.layers import Linear
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import AdamW

text = (
    "it was the best of times, it was the worst of times, it was the age of wisdom, it was the age"
    " of foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season"
    " of light, it was the season of darkness, it was the spring of hope, it was the winter of despair"
)
letters = sorted(set(text))
numbers = np.array([letters.index(c) for c in text])
random.manual_seed(0)
embed, head, loss_of = Embedding(len(letters), 16), Linear(16, len(letters)), CrossEntropyLoss()
optimizer = AdamW([*embed.parameters(), *head.parameters()], lr=0.02)
losses = []
for _ in range(200):
    loss = loss_of(head(embed(Tensor(numbers[:-1]))), Tensor(numbers[1:]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}; random guessing {math.log(len(letters)):.2f}")

# %%
vectors = embed.weight.numpy() - embed.weight.numpy().mean(axis=0)
places = vectors @ np.linalg.svd(vectors)[2][:2].T  # (V, 2)
figure, axes = plt.subplots(1, 2, figsize=(10, 4))
axes[0].plot(losses)
axes[0].set(title="loss", xlabel="step")
for letter, (a, b) in zip(letters, places, strict=True):
    color = "C3" if letter in "aeiou" else "C7" if letter in " ," else "C0"
    axes[1].text(a, b, "_" if letter == " " else letter, color=color, ha="center", fontsize=13)
axes[1].set(title="letters after training (vowels in red)", xlim=(places[:, 0].min() - 1, places[:, 0].max() + 1),
            ylim=(places[:, 1].min() - 1, places[:, 1].max() + 1))  # fmt: skip
figure.tight_layout()
plt.show()

# %% [markdown]
# ## What it costs
#
# The table has V x C numbers. In a small model it is most of the model; in the smallest GPT-2 it is
# 50,257 x 768 numbers, 38.6 of its 124 million parameters. The lookup reads T rows, so its time
# does not depend on V. The one-hot product does V times the work. Measure it:

# %%
from tinytorch.autograd import no_grad
from tinytorch.tito.measure import seconds

print("     V   table     lookup    one-hot product")
with no_grad():
    for V in (100, 1_000, 10_000):
        layer, ids = Embedding(V, 64), np.arange(256) % V
        rows, one_hot = Tensor(ids), np.eye(V, dtype=np.float32)[ids]
        weight = layer.weight.numpy()
        print(f"{V:6}  {V * 64 * 4 / 1024:6.0f} KiB {1e6 * seconds(lambda: layer(rows)):6.0f} us"
              f"  {1e6 * seconds(lambda: one_hot @ weight):9.0f} us")  # fmt: skip

# %% [markdown]
# ## Questions to think about
#
# 1. If a token does not occur in a batch, what is its gradient? What does AdamW's weight decay do
#    to its vector nevertheless?
# 2. With learned positions for 64 tokens, what happens at the 65th? What about sinusoidal and
#    rotary positions?
# 3. The head of a language model is also a matrix (V, C). Could it be the same as the table? What
#    would that save?
# 4. Why is a position added to the token's vector, and not concatenated with it?
# 5. Rotary positions rotate queries and keys, but not values. Why?
#
# ## In PyTorch
#
# | here | PyTorch |
# |---|---|
# | `Embedding(V, C)` | `torch.nn.Embedding(V, C)` |
# | `xp.segment_sum` | `index_add_`, or internally `embedding_dense_backward` |
# | `PositionalEncoding` | an `nn.Embedding(max_seq_len, C)` applied to `torch.arange(T)` |
# | `RotaryEmbedding` | `RotaryPositionalEmbeddings` in torchtune (which pairs adjacent numbers) |
#
# Sources: A. Vaswani et al., *Attention Is All You Need* (2017), section 3.5; J. Su et al.,
# *RoFormer* (2021), section 3.2.
#
# Next: in lesson 12, the vectors start talking to each other.
