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
#
# **You will build** token and position vectors.
#
# **You will learn**
#
# - how a table of vectors replaces ids, and why the gradient of a lookup is a sum of rows;
# - how an op and its gradient are written, as in the rest of the course;
# - how waves and rotations encode a position, and why only distances matter then;
# - how much of a model of real size its tables are.
#
# **Before you start**: ids from lesson 10; shapes, broadcasting and how an op is written from lesson
# 01; the chain rule. What you need of gradients is explained below, in *How an op is written*.
#
# **Time**: about two hours, ten minutes per exercise and the rest for reading and experiments.

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
# ## How an op is written
#
# A reminder of lesson 01, and what it left for later: the gradient.
#
# A **tensor** is an array that remembers how it was computed. When you call `backward()` on a
# result, **autograd** walks back through that history and collects in `x.grad` how much the result
# changes with each `x` that has `requires_grad=True`.
#
# An **op** is one step of such a computation. It consists of two functions of plain arrays. Here is
# a complete one, $y = x \cdot e^s$:


# %%
@op
def times_exp(xp: Namespace, x: Array, s: Array) -> Any:
    """x * exp(s)."""
    factor = xp.exp(s)
    return x * factor, (x, factor)  # the result, and what the gradient needs


@times_exp.gradient
def times_exp_gradient(xp: Namespace, g: Array, x: Array, factor: Array) -> Any:
    return lambda: g * factor, lambda: g * x * factor  # one entry for x, one for s


x, s = Tensor([1.0, 2.0], requires_grad=True), Tensor([0.0, 1.0], requires_grad=True)
times_exp(x, s).backward(Tensor([1.0, 10.0]))  # g
print("gradient of x:", x.grad, " by hand:", [1.0, 10 * math.e])
print("gradient of s:", s.grad, " by hand:", [1.0, 10 * 2 * math.e])

# %% [markdown]
# Line by line:
#
# - **`@op`** turns a function of arrays into a function of tensors, and remembers the call for
#   `backward()`. **`xp`** is the library of the arrays, so that the op also runs on a GPU (the last
#   part of `tito test` tries that).
# - **The forward function returns two things**: the result, and a tuple of **what the gradient
#   needs**, such as arrays or shapes; `()` if it needs nothing.
# - **The gradient function** receives `g`, the gradient of the loss with respect to the result (so
#   it has the shape of the result), and then the saved values, in their order. It returns **one
#   entry for each input**: the chain rule says `g` times the derivative. The product `x * factor`
#   changes by `factor` when x grows by 1, hence `g * factor`.
# - An entry may be an array, or a **lambda** without arguments that computes it: autograd calls it
#   only if that input requires a gradient, which saves work. An input without a gradient, such as
#   integer ids, has the entry `None`. With one input, the entry needs no tuple.
#
# Three rules cover most ops of this course:
#
# | result | gradients |
# |---|---|
# | `x * y`, elementwise | `g * y` and `g * x` |
# | `x @ y`, a matrix product | `g @ yᵀ` and `xᵀ @ g`: of the shapes that you can multiply, the ones that fit |
# | a sum, or an input that was used several times | every use has its gradient, and they add up |
#
# **Backends.** NumPy and CuPy are two *backends*. A tensor belongs to one, `Tensor(data,
# backend=backend)`, and layers hand on the argument `backend` to all tensors that they create.
#
# **Layers** are classes derived from `Module`. `__init__` stores tensors and further layers as
# attributes. A `Parameter` is a tensor that is trained: `layer.parameters()` finds them all, also
# in inner layers, and an optimizer changes them. `layer(x)` calls `layer.forward(x)`.

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
#   xp.take_rows(table, ids) looks up rows for ids of any shape. It raises the IndexError.
#   Return the rows, and what the gradient needs: the ids and the shape of the table.
# embedding_gradient:
#   g is (..., C): reshape it to (N, C), and the ids to (N,).
#   xp.segment_sum(values, ids, rows) adds each value to the row given by its id, in a table of
#   zeros with that many rows.
#   Ids have no gradient: return None for them.

# %% test="11.1" points=3
# fmt: off
with Exercise("11.1", "embedding") as check:
    weight = Tensor([[0.0, 1.0], [10.0, 11.0], [20.0, 21.0]], requires_grad=True)
    found = check.call(lambda: embedding(weight, Tensor([[2, 0, 2]])), "the vectors of tokens 2, 0, 2",
                       cause="xp.take_rows(table, ids); return two things: the rows, and a tuple of what the gradient needs")
    check.equal(lambda: found.shape, (1, 3, 2), "the shape for ids (1, 3) and a table (3, 2)",
                cause="ids (B, T) give (B, T, C)")
    check.equal(lambda: found, [[[20.0, 21.0], [0.0, 1.0], [20.0, 21.0]]], "the vectors of tokens 2, 0, 2",
                cause="id 2 selects row 2 of the table, not column 2")
    check.call(lambda: found.backward(Tensor([[[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]]])),
               "the gradient of the table, for tokens 2, 0, 2",
               cause="embedding_gradient receives the saved ids and shape, and returns one entry for"
               " each input: the table's gradient, and None for the ids")
    check.equal(lambda: weight.grad, [[3.0, 4.0], [0.0, 0.0], [11.0, 22.0]], "the table's gradient",
                cause="the first entry, (V, C) like the table; token 2 occurs twice: its gradients add up, 1 + 10")

    table = np.random.default_rng(11).standard_normal((7, 3))  # V = 7, C = 3
    for ids in (
        np.array([[2, 5, 2, 0, 1], [5, 2, 2, 6, 1]]), np.array([6, 0, 6, 6]), np.array(4),
        np.array([[[3, 1]], [[1, 5]], [[0, 3]]]),
    ):
        name = f"ids of shape {ids.shape} and a table (7, 3)"
        check.close(lambda: embedding(Tensor(table), Tensor(ids)), table[ids], f"the vectors for {name}",
                    cause="ids may have any shape: append an axis C to it")
        check.gradient(lambda w: embedding(w, Tensor(ids)), Tensor(table, requires_grad=True), what=f"embedding for {name}",
                       cause="reshape g to (N, C) and the ids to (N,), then add the rows of equal ids")
    check.equal(lambda: str(embedding(Tensor(table.astype(np.float32)), Tensor([1])).dtype), "float32",
                "the dtype of vectors from a float32 table", cause="copy rows; do not compute with float64")
    for wrong in (3, -1):
        check.raises(IndexError, lambda: embedding(weight, Tensor([0, wrong])), f"id {wrong} for a table of 3 rows",
                     cause="use xp.take_rows, which raises it: plain indexing takes the last row for -1")
# fmt: on

# %% [markdown]
# Both directions in one picture, computed by your code: the lookup *gathers* rows, its gradient
# *scatters* them back, and what arrives in the same row is added. Row 1 was not used: its gradient
# is 0.

# %%
import matplotlib.pyplot as plt
from matplotlib.axes import Axes


def draw_rows(axis: Axes, x: float, rows: np.ndarray, label: str, color: str) -> None:
    axis.text(x, 0.6, label, ha="center")
    for y, row in enumerate(rows):
        axis.text(x, -y, f"{row[0]:.0f}  {row[1]:.0f}", ha="center", va="center", family="monospace",
                  bbox={"boxstyle": "square,pad=0.5", "facecolor": color, "edgecolor": "none"})  # fmt: skip


weight = Tensor([[0.0, 1.0], [10.0, 11.0], [20.0, 21.0]], requires_grad=True)
tokens, g = [2, 0, 2], np.array([[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]])
vectors = embedding(weight, Tensor(tokens))
vectors.backward(Tensor(g))
figure, axes = plt.subplots(1, 2, figsize=(10, 3))
draw_rows(axes[0], 0, weight.numpy(), "table (V, C)", "#cfe2f3")
draw_rows(axes[0], 2, vectors.numpy(), f"vectors of tokens {tokens}", "#d9ead3")
draw_rows(axes[1], 0, weight.grad.numpy(), "gradient of the table", "#f4cccc")
draw_rows(axes[1], 2, g, "g, the gradient of the vectors", "#fce5cd")
for place, token in enumerate(tokens):
    color = f"C{place}"
    for axis, ends in (
        (axes[0], [(0.4, -token), (1.6, -place)]),
        (axes[1], [(1.6, -place), (0.4, -token)]),
    ):
        axis.annotate(
            "", ends[1], ends[0], arrowprops={"arrowstyle": "->", "color": color, "lw": 2}
        )
axes[0].set_title("forward: gather")
axes[1].set_title("backward: scatter and add")
for axis in axes:
    axis.set(xlim=(-0.7, 2.7), ylim=(-2.6, 1))
    axis.axis("off")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 11.2 The layer
#
# A module that holds the table as a parameter. The table starts with random numbers. The layer
# accepts integers only: an id of 2.7 is a bug, and an error is better than rounding.

# %% exercise="11.2" points=1
from tinytorch.embeddings import Embedding

# Embedding.__init__:
#   Store vocab_size and embed_dim. self.weight is a Parameter of random.normal((V, C)), on the
#   backend of the argument: Parameter(..., backend=backend).
# Embedding.forward:
#   If ids.is_floating_point(), or if ids.dtype is ids.backend.xp.bool, raise a TypeError that
#   mentions integers. Otherwise apply the op of exercise 11.1.

# %% test="11.2" points=1
# fmt: off
with Exercise("11.2", "Embedding") as check:
    layer = check.call(lambda: Embedding(50, 8), "Embedding(50, 8)",
                       cause="random.normal takes the shape as a tuple: random.normal((V, C))")
    check.equal(lambda: (layer.vocab_size, layer.embed_dim), (50, 8), "vocab_size and embed_dim of Embedding(50, 8)",
                cause="store both as attributes")
    check.equal(lambda: layer.weight.shape, (50, 8), "the shape of the table",
                cause="(V, C), not (C, V)")
    check.true(lambda: isinstance(layer.weight, Parameter), "weight is a Parameter",
               cause="a plain Tensor is not found by parameters(), and never trained")
    check.equal(lambda: [name for name, _ in layer.named_parameters()], ["weight"], "the names of the parameters",
                cause="the table is the only parameter, called weight")
    check.equal(lambda: str(layer.weight.dtype), "float32", "the dtype of the table",
                cause="random.normal gives float32; NumPy's own functions give float64")

    def table_of(seed: int) -> np.ndarray:
        random.manual_seed(seed)
        return Embedding(300, 20).weight.numpy()

    check.true(lambda: 0.95 < table_of(1).std() < 1.05, "the standard deviation of the table is near 1",
               cause="use random.normal with its default standard deviation")
    check.true(lambda: abs(table_of(1).mean()) < 0.05 and np.abs(table_of(1)).max() > 2.5,
               "the table is normally distributed: mean 0, a few numbers beyond 2.5",
               cause="use random.normal, and the numbers as they are")
    check.true(lambda: np.array_equal(table_of(1), table_of(1)), "the same random.manual_seed gives the same table",
               cause="draw with random.normal, not with np.random: then manual_seed repeats it")
    check.true(lambda: not np.array_equal(table_of(1), table_of(2)), "another seed gives another table",
               cause="draw with random.normal, without a seed of your own")
    check.true(lambda: not np.array_equal(table_of(1), Embedding(300, 20).weight.numpy()), "a second layer has another table",
               cause="draw with random.normal, without a seed of your own")
    for ids in ([[3, 49, 0], [7, 7, 1]], [4, 3, 4, 2], 5):
        check.equal(lambda: layer(Tensor(ids)), lambda: layer.weight.numpy()[np.array(ids)], f"the vectors of tokens {ids}",
                    cause="embedding(self.weight, ids): ids of any shape give (..., C)")
    check.equal(lambda: layer(Tensor(np.array([3, 4], np.int32)))[1], lambda: layer.weight.numpy()[4], "ids of dtype int32",
                cause="all kinds of integers are ids")
    check.call(lambda: layer(Tensor([[3, 1, 3]])).sum().backward(), "the gradient of the layer",
               cause="apply the op to self.weight itself, so that its gradient is computed")
    check.equal(lambda: None if layer.weight.grad is None else layer.weight.grad[:5, 7], [0.0, 1.0, 0.0, 2.0, 0.0],
                "the gradient in the last column, for tokens 3, 1, 3",
                cause="apply the op to self.weight itself, so that its gradient is computed")
    check.equal(lambda: Embedding(5, 3, backend="reference").weight.backend.name, "reference",
                'the backend of Embedding(5, 3, backend="reference")', cause="Parameter(..., backend=backend)")
    check.raises(TypeError, lambda: layer(Tensor([1.0])), "ids that are floats", message="integers",
                 cause="2.7 is not an id: check ids.is_floating_point(), and mention integers")
    check.raises(TypeError, lambda: layer(Tensor([True, False])), "ids that are booleans", message="integers",
                 cause="a mask is not ids: check ids.dtype too, and mention integers")
# fmt: on

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
#   Multiply a column of positions by the row of frequencies: (T, size/2), in float64 as NumPy does.
# create_sinusoidal_embeddings:
#   If embed_dim is odd, raise a ValueError that contains its value.
#   Allocate a float32 table (T, C). Sines go into columns 0, 2, 4, ...: table[:, 0::2].
#   Cosines go into columns 1, 3, 5, ... Return Tensor(table, backend=backend).

# %% test="11.3" points=3
# fmt: off
with Exercise("11.3", "create_sinusoidal_embeddings") as check:
    check.close(lambda: _angles(3, 4, 100.0), [[0, 0], [1, 0.1], [2, 0.2]], "angles of 3 positions, size 4, base 100",
                cause="position * base ** (-2i / size): 100 ** 0 = 1, 100 ** -0.5 = 0.1")
    check.close(lambda: _angles(4, 6, 1000.0), [[0, 0, 0], [1, 0.1, 0.01], [2, 0.2, 0.02], [3, 0.3, 0.03]],
                "angles of 4 positions, size 6, base 1000",
                cause="three frequencies, 1000 ** (-0/6), 1000 ** (-2/6), 1000 ** (-4/6)")
    check.true(lambda: isinstance(create_sinusoidal_embeddings(50, 8), Tensor), "the result is a Tensor",
               cause="return Tensor(table, backend=backend)")
    check.equal(lambda: create_sinusoidal_embeddings(50, 8).requires_grad, False, "requires_grad of the table",
                cause="return a Tensor, not a Parameter: these positions are not trained")
    table = check.call(lambda: create_sinusoidal_embeddings(50, 8).numpy(), "the table of 50 positions, C = 8",
                       cause="np.empty((max_seq_len, embed_dim), dtype=np.float32)")
    check.equal(lambda: table.shape, (50, 8), "the shape for 50 positions and C = 8",
                cause="(T, C)")
    check.equal(lambda: str(table.dtype), "float32", "the dtype of the table",
                cause="np.empty(..., dtype=np.float32): its default is float64")
    check.close(lambda: table[0], [0, 1, 0, 1, 0, 1, 0, 1], "position 0",
                cause="even columns hold sin(0) = 0, odd columns cos(0) = 1")
    check.close(lambda: table[3, :2], [math.sin(3), math.cos(3)], "the first pair of position 3",
                cause="the first frequency is 1: sin(3) and cos(3)")
    check.close(lambda: table[49, 2:4], [math.sin(4.9), math.cos(4.9)], "the second pair of position 49",
                cause="the second frequency is 10000 ** (-2 / 8) = 0.1", tolerance=1e-6)
    check.close(lambda: table[49], [f(49 * 10.0**-i) for i in range(4) for f in (math.sin, math.cos)], "position 49",
                cause="the frequencies are 1, 0.1, 0.01, 0.001: base 10000", tolerance=1e-6)
    check.close(lambda: create_sinusoidal_embeddings(5000, 8)[4999, 2:4], [math.sin(499.9), math.cos(499.9)],
                "the second pair of position 4999", cause="compute the angles in float64, NumPy's default", tolerance=1e-6)
    check.close(lambda: create_sinusoidal_embeddings(3, 2), [[math.sin(p), math.cos(p)] for p in range(3)],
                "3 positions, C = 2", cause="only embed_dim must be even; one pair has the frequency 1")
    check.equal(lambda: create_sinusoidal_embeddings(4, 6, "reference").backend.name, "reference",
                'the backend of create_sinusoidal_embeddings(4, 6, "reference")', cause="Tensor(table, backend=backend)")
    check.raises(ValueError, lambda: create_sinusoidal_embeddings(4, 37), "an odd embed_dim, 37", message="37",
                 cause="check embed_dim % 2 first, and put its value into the message")
# fmt: on

# %% [markdown]
# Here is the table. Each row is a position; fast waves are on the left, slow ones on the right.

# %%
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
#   Store max_seq_len. self.weight is a Parameter of random.normal with standard deviation 0.02, on
#   the backend of the argument.
# PositionalEncoding.forward:
#   Call _check_positions(start, number of tokens, rows of the table), then add the right rows.
#   T is the second axis from the end of x (..., T, C).
# SinusoidalEncoding.forward:
#   The same, with self.table.

# %% test="11.4" points=2
# fmt: off
with Exercise("11.4", "PositionalEncoding and SinusoidalEncoding") as check:
    learned = check.call(lambda: PositionalEncoding(10, 4), "PositionalEncoding(10, 4)",
                         cause="random.normal takes a tuple, then the standard deviation: random.normal((T, C), 0.02)")
    waves = check.call(lambda: SinusoidalEncoding(10, 4), "SinusoidalEncoding(10, 4)",
                       cause="its __init__ is given")
    check.equal(lambda: learned.max_seq_len, 10, "max_seq_len of PositionalEncoding(10, 4)",
                cause="store it as an attribute")
    check.equal(lambda: learned.weight.shape, (10, 4), "the shape of the learned table",
                cause="(max_seq_len, C)")
    check.true(lambda: isinstance(learned.weight, Parameter), "weight is a Parameter",
               cause="a plain Tensor is not found by parameters(), and never trained")
    check.equal(lambda: [name for name, _ in learned.named_parameters()], ["weight"], "the names of the parameters",
                cause="the table is the only parameter, called weight")
    check.equal(lambda: str(learned.weight.dtype), "float32", "the dtype of the learned table",
                cause="random.normal gives float32; NumPy's own functions give float64")
    check.equal(lambda: PositionalEncoding(10, 4, backend="reference").weight.backend.name, "reference",
                'the backend of PositionalEncoding(10, 4, backend="reference")', cause="Parameter(..., backend=backend)")

    def learned_table(seed: int) -> np.ndarray:
        random.manual_seed(seed)
        return PositionalEncoding(300, 20).weight.numpy()

    check.true(lambda: 0.019 < learned_table(1).std() < 0.021, "the standard deviation of learned positions is near 0.02",
               cause="use random.normal(shape, 0.02): at first the token matters more than its position")
    check.true(lambda: abs(learned_table(1).mean()) < 0.001 and np.abs(learned_table(1)).max() > 0.05,
               "learned positions are normally distributed: mean 0, a few numbers beyond 0.05",
               cause="use random.normal, and the numbers as they are")
    check.true(lambda: np.array_equal(learned_table(1), learned_table(1)), "the same random.manual_seed gives the same table",
               cause="draw with random.normal, not with np.random: then manual_seed repeats it")
    check.true(lambda: not np.array_equal(learned_table(1), learned_table(2)), "another seed gives another table",
               cause="draw with random.normal, without a seed of your own")

    rng = np.random.default_rng(4)
    before = rng.standard_normal((2, 3, 4)).astype(np.float32)  # (B, T, C)
    x = Tensor(before.copy())
    learned_rows = check.call(lambda: learned.weight.numpy(), "the learned table",
                              cause="weight is a Parameter")
    waves_rows = check.call(lambda: waves.table.numpy(), "the table of waves",
                            cause="see exercise 11.3")
    for name, layer, rows in (("PositionalEncoding", learned, learned_rows),
                              ("SinusoidalEncoding", waves, waves_rows)):
        check.close(lambda: layer(x), lambda: before + rows[:3], f"{name}(x) for x (2, 3, 4)",
                    cause="add rows 0, 1, 2 to the three tokens of each sequence")
        check.equal(lambda: x, before, f"x itself, after {name}(x)",
                    cause="return a new tensor, and leave x as it is: x + rows")
        for start in (5, 7):
            check.close(lambda: layer(x, start), lambda: before + rows[start : start + 3], f"{name}(x, start={start})",
                        cause="add the rows from start to start + T; the last row is 9")
            check.close(lambda: layer(x[1], start), lambda: before[1] + rows[start : start + 3], f"{name}(x, start={start}) for x (3, 4)",
                        cause="T is x.shape[-2], also without an axis for the batch")
        check.close(lambda: layer(x[:, :1], 9), lambda: before[:, :1] + rows[9:], f"{name}(x, start=9) for one token",
                    cause="position 9 of 10 exists: check T = x.shape[-2] positions from start on")
        check.equal(lambda: str(layer(x).dtype), "float32", f"the dtype of {name}(x)",
                    cause="add the rows as they are: they are float32")
        check.raises(ValueError, lambda: layer(x, 8), f"{name}: 3 tokens from position 8 of 10", message="11",
                     cause="_check_positions(start, T, self.max_seq_len)")
        check.raises(ValueError, lambda: layer(x[:, :1], -1), f"{name}: start=-1", message="-1",
                     cause="_check_positions(start, T, self.max_seq_len)")
    x, factor = (
        Tensor(before, requires_grad=True),
        rng.standard_normal((2, 3, 4)).astype(np.float32),
    )
    check.call(lambda: (learned(x, 2) * Tensor(factor)).sum().backward(), "the gradient of PositionalEncoding",
               cause="add rows of self.weight itself, so that its gradient is computed")
    check.close(lambda: x.grad, factor, "the gradient of x",
                cause="x + rows: the gradient of x is that of the sum")
    wanted = np.concatenate([np.zeros((2, 4)), factor.sum(axis=0), np.zeros((5, 4))])
    check.close(lambda: learned.weight.grad, wanted, "the gradient of the learned table, for start=2",
                cause="add rows of self.weight itself, so that its gradient is computed")
# fmt: on

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

# %% [markdown]
# The angles of all positions are known in advance, so their cosines and sines are computed once.
# This class is given: it builds both tables and returns their rows. Your `RotaryEmbedding` is
# derived from it.

# %% given="11.5"
from tinytorch.embeddings import _RotaryTables

# %% exercise="11.5" points=4
from tinytorch.embeddings import RotaryEmbedding, _rotate, rotary, rotary_gradient

# _rotate:
#   x is (..., T, hs), cos and sin are (T, hs/2). Split the last axis into two halves, rotate them
#   by the formula, and join them with xp.concat([...], axis=-1).
# rotary:
#   Return the rotated x, and what the gradient needs: cos and sin.
# rotary_gradient:
#   The gradient of a rotation is the inverse rotation: which sign changes? The tables cos and sin
#   have no gradient: one entry for each of the three inputs.
# RotaryEmbedding.forward:
#   self._check_shape(x) raises an error if the last axis is not hs. self._tables(start, end)
#   returns the rows of cos and sin; T is the second axis from the end.

# %% test="11.5" points=4
# fmt: off
with Exercise("11.5", "rotary") as check:
    x = np.array([[1.0, 2.0, 3.0, 4.0]])  # one token, hs = 4: pairs (1, 3) and (2, 4)
    check.call(lambda: rotary(Tensor(x), Tensor([[0.0, 1.0]]), Tensor([[1.0, 0.0]])), "rotary(x, cos, sin)",
               cause="return two things: the rotated x, and the tuple (cos, sin)")
    check.close(lambda: rotary(Tensor(x), Tensor([[0.0, 1.0]]), Tensor([[1.0, 0.0]])), [[-3.0, 2.0, 1.0, 4.0]],
                "1 2 3 4 with the first pair rotated by 90 degrees",
                cause="the pairs are (x[i], x[i + hs/2]), and (a, b) becomes (-b, a)")
    check.close(lambda: rotary(Tensor(x), Tensor([[1.0, 0.6]]), Tensor([[0.0, 0.8]])), [[1.0, -2.0, 3.0, 4.0]],
                "1 2 3 4 with the second pair rotated by cos 0.6, sin 0.8",
                cause="(a, b) becomes (a cos - b sin, b cos + a sin): 2 * 0.6 - 4 * 0.8, 4 * 0.6 + 2 * 0.8")

    rng = np.random.default_rng(5)
    values, angles = (
        rng.standard_normal((2, 3, 5, 6)),
        rng.standard_normal((5, 3)),
    )  # (B, nh, T, hs)

    def rotated(values: np.ndarray, angles: np.ndarray) -> np.ndarray:
        half = values.shape[-1] // 2
        pairs = (values[..., :half] + 1j * values[..., half:]) * np.exp(1j * angles)
        return np.concatenate([pairs.real, pairs.imag], axis=-1)

    y = Tensor(values.copy(), requires_grad=True)
    cos, sin = Tensor(np.cos(angles)), Tensor(np.sin(angles))
    small, turns = values[0, :, :2, :4], rng.standard_normal((2, 2))  # (nh, T, hs) = (3, 2, 4)
    check.close(lambda: rotary(Tensor(small), Tensor(np.cos(turns)), Tensor(np.sin(turns))), rotated(small, turns),
                "x (3, 2, 4) rotated by 2 x 2 angles",
                cause="each token has its own row of cos and sin, the same in all heads")
    check.gradient(lambda x: rotary(x, Tensor(np.cos(turns)), Tensor(np.sin(turns))), Tensor(small, requires_grad=True),
                   what="rotary", cause="rotate g back: cos and -sin; return None for cos and for sin")
    check.close(lambda: rotary(y, cos, sin), rotated(values, angles), "x (2, 3, 5, 6) rotated by 5 x 3 angles",
                cause="each token has its own row of cos and sin, the same in all heads")
    check.equal(lambda: y, values, "x itself, afterwards", cause="do not write into x")
    check.gradient(lambda y: rotary(y, cos, sin), y, what="rotary",
                   cause="rotate g back: cos and -sin; return None for cos and for sin")

    layer = check.call(lambda: RotaryEmbedding(6, 20, base=100.0), "RotaryEmbedding(6, 20, base=100)",
                       cause="its __init__ is given, and uses _angles of exercise 11.3")
    z = values[:, :, :4].astype(np.float32)  # (2, 3, 4, 6)
    frequencies = 100.0 ** (-np.arange(3) / 3)
    check.close(lambda: layer(Tensor(z[:, :, :1]), 0), z[:, :, :1], "one token at position 0",
                cause="position 0 is not rotated: its cos is 1 and its sin 0, and rotary takes cos first")
    for start in (0, 7, 16):
        turns = (start + np.arange(4))[:, None] * frequencies
        for x in (z[1, 2], z[0], z):  # (4, 6), (3, 4, 6), (2, 3, 4, 6)
            check.close(lambda: layer(Tensor(x), start), rotated(x, turns), f"RotaryEmbedding of x {x.shape} from position {start} on",
                        cause="use rows start to start + T; T is x.shape[-2], for any number of axes")
    check.close(lambda: layer(Tensor(z[:, :, :1]), 19), rotated(z[:, :, :1], 19 * frequencies[None]),
                "one token at position 19 of 20", cause="use rows start to start + T, here one row")
    check.equal(lambda: str(layer(Tensor(z)).dtype), "float32", "the dtype of the result for a float32 tensor",
                cause="compute with xp and operators alone")
    check.raises(ValueError, lambda: layer(Tensor(z[:, :, :1]), 20), "position 20 of 20", message="21",
                 cause="self._tables(start, start + T) checks the positions")
    check.raises(ValueError, lambda: layer(Tensor(z[..., :2])), "a last axis of 2 instead of hs = 6", message="6",
                 cause="call self._check_shape(x) first")
    w = check.call(lambda: Tensor(z, requires_grad=True), "a tensor", cause="a tensor")
    check.call(lambda: (layer(w, 3) * Tensor(z[::-1].copy())).sum().backward(), "the gradient of RotaryEmbedding",
               cause="apply rotary to x itself, so that its gradient is computed")
    check.close(lambda: w.grad, rotated(z[::-1], -(3 + np.arange(4))[:, None] * frequencies), "the gradient of RotaryEmbedding",
                cause="apply rotary to x itself, so that its gradient is computed")
    near, far = (check.call(lambda: (layer(Tensor(z[:, :, :1]), p) * layer(Tensor(z[:, :, 1:2]), q)).sum(),
                            f"dot products at positions {p} and {q}", cause="see the messages above")
                 for p, q in ((5, 3), (18, 16)))
    check.close(lambda: near, far, "dot products at positions (5, 3) and (18, 16)", tolerance=1e-4,
                cause="the dot product of rotated vectors depends only on the distance")
# fmt: on

# %% [markdown]
# ## 11.6 Tokens and positions together
#
# The first layer of a language model: token vectors, plus position vectors for the encodings that
# add them. (Rotary positions come later, within attention.) The original transformer multiplied the
# token vectors by $\sqrt{C}$; here that is an option.

# %% exercise="11.6" points=2
from tinytorch.embeddings import ENCODINGS, EmbeddingLayer

# EmbeddingLayer.__init__:
#   Raise a ValueError with the name if pos_encoding is neither None nor in ENCODINGS.
#   self.scale is the square root of C if scale_embeddings, or else 1.0.
#   self.tokens is an Embedding. self.positions is None, or the module from ENCODINGS, built with
#   max_seq_len and embed_dim. Hand on backend=backend to both.
# EmbeddingLayer.forward:
#   Look up the tokens, scale them if required, then add positions from start on.

# %% test="11.6" points=2
# fmt: off
with Exercise("11.6", "EmbeddingLayer") as check:
    ids = np.array([[1, 2, 1], [3, 6, 0]])  # (B, T) = (2, 3), of V = 7 tokens
    plain = check.call(lambda: EmbeddingLayer(7, 6, 16, None), "EmbeddingLayer(7, 6, 16, None)",
                       cause="None is allowed: then self.positions is None")
    check.equal(lambda: plain.tokens.weight.shape, (7, 6), "the shape of the table of tokens",
                cause="self.tokens = Embedding(vocab_size, embed_dim, backend=backend)")
    check.equal(lambda: plain.positions, None, "positions for pos_encoding=None",
                cause="self.positions is None then")
    check.equal(lambda: plain(Tensor(ids)), lambda: plain.tokens.weight.numpy()[ids], "vectors without positions",
                cause="without positions and scale, it is self.tokens(ids)")
    check.equal(lambda: plain(Tensor(ids), 40), lambda: plain.tokens.weight.numpy()[ids], "vectors without positions, from 40 on",
                cause="without positions, start has no effect")
    for kind, expected in ((None, ["tokens.weight"]), ("sinusoidal", ["tokens.weight"]),
                           ("learned", ["positions.weight", "tokens.weight"])):
        check.equal(lambda: sorted(name for name, _ in EmbeddingLayer(7, 6, 16, kind).named_parameters()), expected,
                    f"the names of the parameters for {kind!r}",
                    cause="the layers are called tokens and positions, and ENCODINGS[pos_encoding] is the class of positions")
    check.equal(lambda: type(EmbeddingLayer(7, 6).positions).__name__, "PositionalEncoding", "positions by default",
                cause="ENCODINGS[pos_encoding] is the class to use")
    check.equal(lambda: EmbeddingLayer(7, 6, 16).positions.weight.shape, (16, 6), "the table of positions",
                cause="ENCODINGS[pos_encoding](max_seq_len, embed_dim, backend=backend)")
    for kind, rows in (("learned", "weight"), ("sinusoidal", "table")):
        for scaled in (False, True):
            name = f'EmbeddingLayer(7, 6, 16, "{kind}", {scaled})'
            layer = check.call(lambda: EmbeddingLayer(7, 6, 16, kind, scaled), name,
                               cause="ENCODINGS[pos_encoding](max_seq_len, embed_dim, backend=backend)")
            vectors = check.call(lambda: layer.tokens.weight.numpy()[ids] * (math.sqrt(6) if scaled else 1),
                                 name, cause="self.tokens is an Embedding")
            places = check.call(lambda: getattr(layer.positions, rows).numpy(), name,
                                cause="self.positions is a module from ENCODINGS")
            check.close(lambda: layer(Tensor(ids)), lambda: vectors + places[:3], f"the vectors of {name}",
                        cause="multiply the tokens by sqrt(6), but not the positions" if scaled
                        else "add the positions to the tokens, once: self.positions(x, start)")
            check.close(lambda: layer(Tensor(ids), 4), lambda: vectors + places[4:7], f"{name} from position 4 on",
                        cause="hand on start: self.positions(x, start)")
            check.close(lambda: layer(Tensor(ids[1]), 13), lambda: vectors[1] + places[13:], f"{name} for one text, from position 13 on",
                        cause="ids (T,) give (T, C); hand on start")
            check.raises(ValueError, lambda: layer(Tensor(ids), 14), f"{name}: 3 tokens from position 14 of 16", message="17",
                         cause="hand on max_seq_len and start to the positions")
            check.equal(lambda: str(layer(Tensor(ids)).dtype), "float32", f"the dtype of {name}",
                        cause="the scale is a Python number")
            check.equal(lambda: [b.backend.name for b in (lambda e: (e.tokens.weight, getattr(e.positions, rows)))(
                            EmbeddingLayer(7, 6, 16, kind, scaled, backend="reference"))], ["reference", "reference"],
                        f"the backends of tokens and positions ({kind})", cause="hand on backend=backend to both layers")
    check.call(lambda: layer(Tensor(ids)).sum().backward(), "the gradient of scaled tokens",
               cause="multiply tensors: x * self.scale")
    check.close(lambda: layer.tokens.weight.grad[:, 0], math.sqrt(6) * np.array([1, 2, 1, 1, 0, 0, 1]),
                "the gradient of the scaled table: the root of C, as often as each token occurs",
                cause="multiply the tensor, not its numbers: x * self.scale")
    only = check.call(lambda: EmbeddingLayer(7, 4, 16, None, True), "EmbeddingLayer(7, 4, 16, None, True)",
                      cause="the scale does not need positions")
    check.close(lambda: only(Tensor(ids)), lambda: only.tokens.weight.numpy()[ids] * 2.0, "scaled vectors without positions",
                cause="the scale does not need positions")
    for wrong in ("rotten", "rotary", ""):
        check.raises(ValueError, lambda: EmbeddingLayer(7, 6, 16, wrong), f"pos_encoding={wrong!r}", message=wrong,
                     cause="neither None nor in ENCODINGS: raise a ValueError with the name, also if it is empty")
# fmt: on

# %% [markdown]
# ## See it learn
#
# A task that needs only the tokens: predict the next word from the current one, in a made-up
# language of one kind of sentence. A table (V, C) and a linear layer are enough. Nobody tells the
# model which words are nouns.

# %%
from tinytorch.layers import Linear
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import AdamW

kinds = {
    "adjective": ["old", "young", "brave", "tired", "happy"],
    "noun": ["king", "queen", "fool", "ghost", "witch", "knight"],
    "verb": ["sees", "hears", "fears", "greets", "follows"],
}
rng = np.random.default_rng(0)
text = []
for _ in range(300):
    adjective, verb = rng.choice(kinds["adjective"]), rng.choice(kinds["verb"])
    subject, object_ = rng.choice(kinds["noun"], 2)
    text += ["the", adjective, subject, verb, "the", object_, "."]
print(" ".join(text[:14]))

words = sorted(set(text))
numbers = np.array([words.index(word) for word in text])
random.manual_seed(1)
embed, head, loss_of = Embedding(len(words), 16), Linear(16, len(words)), CrossEntropyLoss()
optimizer = AdamW([*embed.parameters(), *head.parameters()], lr=0.02)
tables, losses = [embed.weight.numpy().copy()], []
for _ in range(200):
    loss = loss_of(head(embed(Tensor(numbers[:-1]))), Tensor(numbers[1:]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
tables.append(embed.weight.numpy())
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}; random guessing {math.log(len(words)):.2f}")

# %% [markdown]
# Where did the words end up? The singular value decomposition finds the two main directions of the
# cloud of 16-dimensional vectors; we plot those.

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 4))
for axis, vectors, title in zip(axes, tables, ("before training", "after 200 steps"), strict=True):
    centred = vectors - vectors.mean(axis=0)
    points = centred @ np.linalg.svd(centred)[2][:2].T  # (V, 2)
    for word, (a, b) in zip(words, points, strict=True):
        kind = next((i for i, own in enumerate(kinds.values()) if word in own), 7)
        axis.text(a, b, word, color=f"C{kind}", ha="center")
    axis.set(title=title, xlim=(points[:, 0].min() - 1, points[:, 0].max() + 1),
             ylim=(points[:, 1].min() - 1, points[:, 1].max() + 1))  # fmt: skip
figure.tight_layout()
plt.show()

# %% [markdown]
# Words that are used in the same way have moved together. *the* has joined the adjectives: here,
# both are followed by nouns.

# %% [markdown]
# ## What it costs
#
# Time: the lookup reads T rows, however large V is. The one-hot product does V times the work.
# Measure it:

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
# Memory: the table has V x C numbers, learned positions another T x C. How much of a model is that?
# Sizes as published, at two bytes per number:

# %%
models = {  # V, C, number of learned positions, number of parameters
    "TinyGPT here": (65, 96, 0, 455_712),
    "GPT-2 small": (50_257, 768, 1024, 124_439_808),
    "GPT-2 XL": (50_257, 1600, 1024, 1_557_611_200),
    "Llama 3 8B": (128_256, 4096, 0, 8_030_261_248),
    "GPT-3": (50_257, 12_288, 2048, 175_000_000_000),
}
print("              token table          positions     share of all parameters")
for name, (V, C, T, total) in models.items():
    print(f"{name:13} {V * C / 1e6:7.2f} million {T * C / 1e6:7.2f} million  {(V + T) * C / total:6.1%}"
          f"  ({2 * (V + T) * C / 2**20:6.1f} MiB)")  # fmt: skip

# %% [markdown]
# The blocks of a transformer grow with $C^2$, the table only with $C$: a third of the smallest GPT-2
# is its table, and next to nothing of GPT-3. A larger vocabulary costs parameters, but makes texts
# shorter (lesson 10).
#
# Which positions should a model have?
#
# | | what it does | parameters | texts longer than those in training | used by |
# |---|---|---|---|---|
# | learned | adds a row of a table | T x C | impossible: no row | GPT-2, GPT-3 |
# | sinusoidal | adds waves | 0 | computable, but never trained | the transformer of 2017 |
# | rotary | rotates queries and keys | 0 | computable; works after slowing the rotation down | Llama |
# | ALiBi | subtracts slope x distance from each score | 0 | made for it: far tokens count less | BLOOM, MPT |
#
# ALiBi needs no vectors at all. It is a table of numbers that is added to the scores of attention,
# with another slope for each head; after lesson 12 you can build it as a mask.

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

# %% [markdown] instructor=true
# ### Answers, for the instructor
#
# 1. Its row of the gradient is 0. AdamW still multiplies the row by `1 - lr * weight_decay` in each
#    step, so vectors of rare tokens shrink; and its momentum, from batches in which the token did
#    occur, moves the row on for some steps. (Half an answer: "0".)
# 2. Learned: `_check_positions` raises a ValueError, as there is no row 64. Sinusoidal and rotary:
#    the formula gives values for every position, so a longer table is enough. But the model never
#    saw these values in training, and usually becomes worse quickly.
# 3. Yes: the score of a token is then the dot product of its own vector with the output, C numbers
#    both. It saves V x C parameters, 38.6 million in the smallest GPT-2, which does that. The
#    gradients of both uses add up.
# 4. Concatenating makes vectors longer, and with them all later matrices. A linear layer of a
#    concatenation is the sum of two linear layers, so adding loses little: in many dimensions
#    training can keep both parts apart, in different directions.
# 5. Scores should depend on the distance, and a dot product of two rotated vectors does. Values are
#    not compared with anything: they are summed up as what a token has to say. If they were rotated
#    too, the result would depend on absolute positions.
#
# Rubric for each question: 2 points for the right answer with its reason, 1 without. Typical
# trouble: in 11.1 assigning instead of adding (show the picture of gather and scatter), in 11.3 `i`
# and `2i`, in 11.5 which numbers form a pair (draw the vector as two halves).

# %% [markdown]
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
# *RoFormer* (2021), section 3.2; O. Press et al., *Train Short, Test Long* (2021), for ALiBi.
#
# Next: in lesson 12, the vectors start talking to each other.
