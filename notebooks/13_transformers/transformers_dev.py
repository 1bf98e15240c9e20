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
# # Lesson 13: Transformers
#
# In lesson 12, tokens learned to look at each other. A **transformer** alternates two steps, again
# and again:
#
# 1. *attention*: collect information from other tokens;
# 2. *an MLP*: process it, for each token separately.
#
# Two small additions to each step make a deep stack trainable: a **residual** connection
# (`x + step(x)`, so that a step only adds something), and a **LayerNorm** in front of it (so that
# each step sees numbers of the same scale, at any depth).
#
# You will build: LayerNorm, the MLP, the transformer block, GPT, its initialisation, sampling, and
# the generation loop. At the end of this notebook, your GPT learns a small language.
#
# Letters for shapes: `B` batch size, `T` tokens per sequence, `C` embedding size, `V` vocabulary
# size, `L` blocks, `nh` heads.

# %% setup=true
import math
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from tinytorch.ops import random
from tinytorch.activations import GELU, SquaredReLU
from tinytorch.arguments import check_flag, check_integer, check_number
from tinytorch.attention import KVCache, MultiHeadAttention, create_causal_mask
from tinytorch.autograd import no_grad, wrap_array
from tinytorch.ops.op import op
from tinytorch.ops.reductions import _mean
from tinytorch.backends import Backend
from tinytorch.backends.base import Array, Namespace, NumpyArray
from tinytorch.generation.checks import (
    SMALLEST_TEMPERATURE, check_tokens, finite_logits, parse_choice, parse_prompt,
    parse_stop_tokens,
)  # fmt: skip
from tinytorch.generation.decode_step import with_fused_step
from tinytorch.embeddings import ENCODINGS, EmbeddingLayer, RotaryEmbedding
from tinytorch.generation.generate import generate
from tinytorch.layers import Dropout, Linear
from tinytorch.modules.containers import ModuleList
from tinytorch.modules.module import Module, Parameter, evaluating
from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise
from tinytorch.transformers import INITIALISATIONS

# %% [markdown]
# ## 13.1 LayerNorm
#
# For each token separately, over its `C` numbers:
#
# $$ n = \frac{x - \mathrm{mean}(x)}{\sqrt{\mathrm{var}(x) + \varepsilon}}, \qquad y = n \odot w + b $$
#
# Whatever the input, $n$ has mean 0 and variance 1. The tiny $\varepsilon$ avoids a division by
# zero when all numbers of a token are equal. The parameters $w$ and $b$ then scale and shift each
# of the `C` columns.
#
# Backward: let $d = g \odot w$. Changing one number of $x$ also changes the mean and the variance
# of the whole token, so two averages are subtracted:
#
# $$ dx = (d - \mathrm{mean}(d) - n \cdot \mathrm{mean}(d \odot n)) / \sqrt{\mathrm{var} + \varepsilon} $$

# %% exercise="13.1" points=3
from tinytorch.layers import LayerNorm, layer_norm, layer_norm_gradient

# layer_norm:
#   xp.mean over the last axis, with keepdims=True so that it broadcasts. The variance is the mean
#   of the squared centred values: divided by C, not by C - 1.
#   Add eps before the square root. Return y, and the tuple that the gradient takes.
# layer_norm_gradient:
#   First d, then its mean and the mean of d * normal, over the last axis.
#   Return three entries: for x the formula, for weight g * normal (a function without arguments),
#   for bias g. Autograd sums the last two to the shapes of weight and bias.

# %% test="13.1" points=3
with Exercise("13.1", "layer_norm") as check:
    x = Tensor([[1.0, 3.0], [10.0, 30.0], [5.0, 5.0]], dtype="float64")
    one, zero = Tensor([1.0, 1.0], dtype="float64"), Tensor([0.0, 0.0], dtype="float64")
    check.close(layer_norm(x, one, zero), [[-1, 1], [-1, 1], [0, 0]], "three tokens normalised",
                cause="normalise over the last axis; the variance divides by C", tolerance=1e-4)  # fmt: skip
    check.close(layer_norm(x, one, zero, eps=3.0)[0], [-0.5, 0.5], "the first token with eps = 3",
                cause="divide by sqrt(variance + eps), here sqrt(1 + 3)")  # fmt: skip
    scaled = layer_norm(
        x, Tensor([2.0, 4.0], dtype="float64"), Tensor([0.5, -0.5], dtype="float64")
    )
    check.close(scaled[0], [-1.5, 3.5], "the first token scaled by (2, 4) and shifted by (0.5, -0.5)", tolerance=1e-4,
                cause="scale first, then shift")  # fmt: skip
    check.close(layer_norm(x, one)[1], [-1, 1], "the second token without a bias", tolerance=1e-4)
    rng = np.random.default_rng(0)
    y, w, b = (Tensor(rng.standard_normal(s), requires_grad=True) for s in ((2, 3, 4), 4, 4))
    check.gradient(lambda y, w, b: layer_norm(y, w, b, eps=1e-3), y, w, b, what="layer_norm",
                   cause="subtract both averages, then divide everything by the square root")  # fmt: skip

# %% [markdown]
# ## 13.2 The MLP
#
# Two linear layers with an activation between them. The hidden layer is four times as wide: room to
# try many combinations, from which the second layer keeps the useful ones. Most of a transformer's
# parameters are here.

# %% exercise="13.2" points=2
from tinytorch.transformers import ACTIVATIONS, MLP, _choose

# MLP.__init__:
#   hidden_dim defaults to 4 * embed_dim. self.fc maps C to hidden, self.proj maps back (bias and
#   backend as given). The activation: _choose looks up a class in ACTIVATIONS by name; create an
#   instance of it. self.dropout.
# MLP.forward:
#   fc, activation, proj, dropout.

# %% test="13.2" points=2
with Exercise("13.2", "MLP") as check, no_grad():
    mlp = MLP(4)
    shapes = {name: p.shape for name, p in mlp.named_parameters()}
    check.equal(shapes, {"fc.weight": (16, 4), "fc.bias": (16,), "proj.weight": (4, 16), "proj.bias": (4,)},
                "the shapes of the parameters", cause="the hidden layer is 4 * C wide")  # fmt: skip
    x = Tensor(np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float32))
    hidden = x.numpy() @ mlp.fc.weight.numpy().T + mlp.fc.bias.numpy()
    gelu = 0.5 * hidden * (1 + np.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)))
    wanted = gelu @ mlp.proj.weight.numpy().T + mlp.proj.bias.numpy()
    check.close(mlp(x), wanted, "the output", cause="fc, GELU, proj", tolerance=1e-4)
    check.equal(MLP(4, 7).fc.weight.shape, (7, 4), "the shape of fc.weight with hidden_dim=7")
    check.equal(len(list(MLP(4, bias=False).parameters())), 2, "parameter count with bias=False")
    squared = MLP(4, activation="squared_relu")
    squared.load_state_dict(mlp.state_dict())
    wanted = np.maximum(hidden, 0) ** 2 @ mlp.proj.weight.numpy().T + mlp.proj.bias.numpy()
    check.close(squared(x), wanted, "the output with squared_relu", tolerance=1e-4)
    check.close(MLP(4, dropout=1.0)(x), np.zeros((2, 3, 4)), "the output when everything is dropped",
                cause="dropout comes last")  # fmt: skip
    check.raises(
        ValueError, lambda: MLP(4, activation="rulu"), "an unknown activation", message="rulu"
    )

# %% [markdown]
# ## 13.3 The block
#
# ```
# x = x + attention(norm1(x))
# x = x + mlp(norm2(x))
# ```
#
# The norm comes **before** each step (pre-norm). The original transformer had it after the sum
# (post-norm), and needed great care to train. The reason: with pre-norm, there is a path from the
# last block to the first through sums only, so gradients arrive undiminished.

# %% exercise="13.3" points=3
from tinytorch.transformers import TransformerBlock

# TransformerBlock.__init__:
#   self.ln1, self.attention, self.ln2, self.mlp, in this order. Attention gets dropout, bias and
#   rotary; the MLP is mlp_ratio * embed_dim wide and gets dropout, bias and activation.
# TransformerBlock.forward:
#   The two lines above. Attention also gets the mask and the cache.

# %% test="13.3" points=3
with Exercise("13.3", "TransformerBlock") as check, no_grad():
    random.manual_seed(0)
    block = TransformerBlock(8, 2)
    for norm in (block.ln1, block.ln2):  # so that a missing norm is noticed
        norm.weight.data = random.uniform((8,), 0.5, 2.0)
    check.equal(
        [name for name, _ in block.named_children()],
        ["ln1", "attention", "ln2", "mlp"],
        "the names of its submodules",
    )
    check.equal(
        block.mlp.fc.weight.shape, (32, 8), "the shape of mlp.fc.weight", cause="mlp_ratio * C"
    )
    x = Tensor(np.random.default_rng(2).standard_normal((2, 5, 8)).astype(np.float32) * 3)
    mask = create_causal_mask(5)
    middle = x.numpy() + block.attention(block.ln1(x), mask).numpy()
    wanted = middle + block.mlp(block.ln2(Tensor(middle))).numpy()
    check.close(block(x, mask), wanted, "the output", tolerance=1e-4,
                cause="the norm comes before each step, the sum after it; the second step starts from the first sum")  # fmt: skip
    cache = KVCache(8)
    parts = [block(x[:, :3], create_causal_mask(3), cache), block(x[:, 3:4], None, cache)]
    check.close(parts[1], block(x[:, :4], create_causal_mask(4))[:, 3:], "the fourth token with a cache",
                cause="pass the cache to attention", tolerance=1e-4)  # fmt: skip
    for p in (block.attention.proj, block.mlp.proj):
        p.weight.data, p.bias.data = 0.0, 0.0
    check.close(block(x, mask), x, "the output when steps add nothing", cause="x + ..., twice")
    rotating = TransformerBlock(8, 2, rotary=RotaryEmbedding(4, 8), dropout=0.25, bias=False)
    check.true(rotating.attention.rotary is not None, "attention has rotary positions")
    check.equal(
        [rotating.mlp.dropout.p, rotating.attention.output_dropout.p],
        [0.25, 0.25],
        "the dropout probabilities",
    )
    check.equal([rotating.mlp.fc.bias, rotating.ln1.bias, rotating.attention.proj.bias], [None] * 3,
                "the biases with bias=False")  # fmt: skip

# %% [markdown]
# The claim about gradients, measured: how large is the gradient at each depth of 24 blocks?

# %%
import matplotlib.pyplot as plt


def step(block: TransformerBlock, x: Tensor, mask: Tensor, pre_norm: bool) -> Tensor:
    if pre_norm:
        return block(x, mask)
    x = block.ln1(x + block.attention(x, mask))
    return block.ln2(x + block.mlp(x))


def gradient_sizes(pre_norm: bool) -> list[float]:
    """The mean absolute gradient at the input of each of 24 blocks, from first to last."""
    random.manual_seed(3)
    rng, mask = np.random.default_rng(0), create_causal_mask(16)
    blocks = [TransformerBlock(32, 2) for _ in range(24)]
    inputs = [Tensor(rng.standard_normal((1, 16, 32)).astype(np.float32))]
    with no_grad():
        for block in blocks:
            inputs.append(step(block, inputs[-1], mask, pre_norm))
    gradient = Tensor(rng.standard_normal((1, 16, 32)).astype(np.float32))
    sizes = []
    for block, x in zip(reversed(blocks), reversed(inputs[:-1]), strict=True):
        x.requires_grad = True  # one block at a time, to see the gradient between blocks
        step(block, x, mask, pre_norm).backward(gradient)
        gradient = x.grad
        sizes.append(float(np.abs(gradient.numpy()).mean()))
    return sizes[::-1]


figure, axis = plt.subplots(figsize=(6, 3.2))
for name, pre_norm in (("pre-norm, as here", True), ("post-norm, as in 2017", False)):
    axis.semilogy(gradient_sizes(pre_norm), "o-", markersize=3, label=name)
axis.set(title="mean |gradient| at each block's input", xlabel="block (the loss is on the right)")
axis.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 13.4 GPT
#
# All parts in sequence:
#
# `ids (B, T)` -> embedding `(B, T, C)` -> dropout -> L blocks -> LayerNorm -> head `(B, T, V)`
#
# At each position, the head outputs a score (a logit) for every token of the vocabulary: how likely
# is it to come **next**? With a cache for each block, the ids continue a text: they are at
# positions `past`, `past + 1`, ... A single new token needs no mask, since it may see everything.

# %% exercise="13.4" points=4
from tinytorch.transformers import GPT, GPTBase, GPTConfig

# GPT.forward:
#   Ids of a single sequence (T,): reshape them to (1, T), call forward again, and return the first
#   row of the batch.
#   past is the length of the first cache, if there are caches.
#   Raise a ValueError that contains both numbers if past + T is more than config.max_seq_len.
#   Create the mask only if T > 1, with past. The embedding needs past too.
#   Each block gets the mask and its own cache. Then ln_f, then head.
# GPT.new_caches:
#   One KVCache of max_seq_len for each block.

# %% test="13.4" points=4
with Exercise("13.4", "GPT") as check, no_grad():
    random.manual_seed(1)
    model = GPT(vocab_size=11, embed_dim=8, num_layers=3, num_heads=2, max_seq_len=6)
    for p in model.parameters():
        p.data = random.normal(p.shape, 0.5) + (p.ndim == 1)
    ids = Tensor([[1, 2, 3, 4, 5], [5, 5, 0, 10, 1]])
    x = model.embedding(ids)
    for block in model.blocks:
        x = block(x, create_causal_mask(5))
    check.equal(model(ids).shape, (2, 5, 11), "the shape of the logits", cause="(B, T, V)")
    check.close(model(ids), model.head(model.ln_f(x)), "the logits", tolerance=1e-4,
                cause="embedding, blocks with the causal mask, ln_f, head")  # fmt: skip
    check.equal(model(ids[0]).shape, (5, 11), "the shape for a single sequence (T,)")
    check.close(model(ids[0]), model(ids)[0], "the logits for a single sequence", tolerance=1e-4)
    caches = model.new_caches()
    check.equal(
        [c.max_seq_len for c in caches], [6, 6, 6], "the sizes of the caches", cause="one per block"
    )
    check.true(len({id(c) for c in caches}) == 3, "each block has its own cache",
               cause="[KVCache(...)] * 3 is the same cache three times")  # fmt: skip
    steps = [model(ids[:, :2], caches), model(ids[:, 2:4], caches), model(ids[:, 4:], caches)]
    check.equal([c.length for c in caches], [5, 5, 5], "the lengths of the caches after five tokens",
                cause="pass each block its own cache")  # fmt: skip
    check.close(np.concatenate([s.numpy() for s in steps], axis=1), model(ids), tolerance=1e-4,
                what="the logits in three pieces with caches",
                cause="the embedding and the mask need the number of earlier tokens")  # fmt: skip
    check.raises(
        ValueError, lambda: model(Tensor([[0] * 7])), "7 tokens for 6 positions", message="7"
    )
    check.raises(
        ValueError, lambda: model(ids[:, :2], caches), "5 + 2 tokens for 6 positions", message="7"
    )
    model(ids[:, :1], caches)  # the sixth token still fits

# %% [markdown]
# ## 13.5 Initialisation
#
# GPT-2 initialises weights from a normal distribution with standard deviation 0.02, and biases with
# zero. The last layer of each step, `proj.weight`, starts smaller: each block adds to the residual
# stream twice, so L blocks add 2 L terms. Divided by $\sqrt{2L}$, their sum is as large for a deep
# model as for a shallow one.

# %% exercise="13.5" points=2
from tinytorch.transformers import INITIALISATIONS, init_gpt2, init_zero

# init_gpt2:
#   Loop over model.named_parameters(). If a name ends in "bias", assign 0.0 to .data.
#   Matrices (ndim 2) get the data random.normal(shape, std): std is 0.02, or the smaller value for
#   names that end in "proj.weight". The weights of the norms stay 1: they have one axis.

# %% test="13.5" points=2
with Exercise("13.5", "init_gpt2") as check:
    random.manual_seed(2)
    model = GPT(300, 64, 8, 2, 32)
    for p in model.parameters():
        p.data = 7.0
    init_gpt2(model)
    found = {name: p.numpy() for name, p in model.named_parameters()}
    for name in ("embedding.tokens.weight", "blocks.3.attention.qkv.weight", "blocks.0.mlp.fc.weight",
                 "head.weight"):  # fmt: skip
        check.close(found[name].std(), 0.02, f"the standard deviation of {name}", tolerance=1e-3)
        check.close(found[name].mean(), 0.0, f"the mean of {name}", tolerance=1e-3)
    for name in ("blocks.0.attention.proj.weight", "blocks.7.mlp.proj.weight"):
        check.close(found[name].std(), 0.005, f"the standard deviation of {name}", tolerance=3e-4,
                    cause="0.02 / sqrt(2 L): with 8 blocks, 0.02 / 4")  # fmt: skip
    check.equal(float(np.abs(found["blocks.2.mlp.fc.bias"]).max()), 0.0, "the largest bias")
    check.equal(float(found["blocks.2.ln1.weight"].min()), 7.0, "the weight of a norm, which stays unchanged",
                cause="initialise only matrices and biases")  # fmt: skip

# %% [markdown]
# ## 13.6 Sampling
#
# The model outputs a score for each token. How do we choose one?
#
# - **temperature**: divide the scores by it before the softmax. Low: the likeliest token nearly
#   always wins. High: everything becomes possible. 0 means: always take the likeliest.
# - **top-k**: only the k likeliest tokens may be chosen.
# - **top-p**: only the likeliest tokens that together have the probability p (given: `_nucleus`).
#
# To sample in proportion to weights, lay them side by side on a line, throw a dart, and see where
# it lands.

# %% exercise="13.6" points=3
from tinytorch.generation.generate import _nucleus, sample

# sample:
#   First finite_logits(logits): it returns the logits (B, V) and the largest of each row (B, 1), or
#   raises an error if the model has diverged to NaN.
#   A temperature of 0, or below SMALLEST_TEMPERATURE: np.argmax over the last axis.
#   Otherwise, in float64, subtract the largest of the row, so that exp cannot overflow, and divide.
#   top_k: np.partition puts the k-th largest at index -k; set smaller scores to -inf.
#   Weights: exp of the scores.
#   top_p below 1: _nucleus(weights, top_p).
#   np.cumsum is the line; the dart is rng.random((B, 1)) times its length; np.argmax of a boolean
#   row finds the first True.

# %% test="13.6" points=3
with Exercise("13.6", "sample") as check:
    logits = np.log(np.array([[0.1, 0.2, 0.3, 0.4]], np.float32))

    def fractions(**settings: Any) -> np.ndarray:
        """The fraction of 4,000 draws in which each token is chosen."""
        many = np.repeat(logits, 4000, axis=0)
        chosen = sample(many, rng=np.random.default_rng(7), **settings)
        return np.bincount(chosen, minlength=4) / 4000

    check.equal(sample(logits, 0.0, rng=np.random.default_rng(0)).tolist(), [3], "temperature 0")
    check.close(fractions(), [0.1, 0.2, 0.3, 0.4], "the fractions at temperature 1", tolerance=0.04,
                cause="weights are exp(logits), and the dart may land anywhere in their sum")  # fmt: skip
    squares = np.array([1, 4, 9, 16]) / 30
    check.close(fractions(temperature=0.5), squares, "the fractions at temperature 0.5", tolerance=0.04,
                cause="divide the logits by the temperature: a low one favours likely tokens")  # fmt: skip
    check.close(fractions(top_k=2), [0, 0, 3 / 7, 4 / 7], "the fractions with top_k = 2", tolerance=0.04,
                cause="exactly the k likeliest remain, with their own weights")  # fmt: skip
    check.close(fractions(top_k=9), [0.1, 0.2, 0.3, 0.4], "the fractions with top_k = 9", tolerance=0.04,
                cause="a k larger than V keeps all tokens")  # fmt: skip
    check.close(
        fractions(top_p=0.6), [0, 0, 3 / 7, 4 / 7], "the fractions with top_p = 0.6", tolerance=0.04
    )
    rows = np.array([[0.0, 50.0], [50.0, 0.0]])
    check.equal(sample(rows, rng=np.random.default_rng(0)).tolist(), [1, 0], "one token per row")
    large = np.array([[1e4, 1e4 + 50]])
    check.equal(sample(large, rng=np.random.default_rng(0)).tolist(), [1], "the token for logits of 10,000",
                cause="subtract the maximum before exp")  # fmt: skip
    again = [sample(np.zeros((1, 1000)), rng=np.random.default_rng(5))[0] for _ in range(2)]
    check.equal(
        again[0], again[1], "a draw with the same seed", cause="use only rng for randomness"
    )

# %% [markdown]
# The same four tokens at three temperatures:

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 2.6), sharey=True)
for axis, temperature in zip(axes, (0.3, 1.0, 3.0), strict=True):
    axis.bar(range(4), fractions(temperature=temperature))
    axis.set(title=f"temperature {temperature}", xlabel="token")
axes[0].set_ylabel("fraction of 4,000 draws")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 13.7 Generating text
#
# The loop: compute the logits for the text so far, sample a token, append it, and repeat. With
# caches, only the new token passes through the model. When the context is full, the older half is
# dropped and the rest is processed again with new caches, so that the text can have any length.
#
# The function is a *generator*: it yields each token as soon as it is sampled, so that you can read
# along.

# %% exercise="13.7" points=4
from tinytorch.generation.generate import _last_logits, _stream, choose_token, generate, stream

# _stream:
#   window holds the text that the model still sees (B, T), at most limit tokens; unread holds the
#   tokens that the model has not processed yet: at first all, later only the last one.
#   In each round: _last_logits, choose_token(logits, *choice, rng=rng), and yield the token.
#   choose_token calls your sample; on a GPU it samples on the device.
#   With stop_tokens (n,), a row that has produced one repeats it; return when all rows have.
#   If the window is full: keep its newer limit // 2, create new caches, and all is unread again.
#   Without a cache, everything is always unread.

# %% test="13.7" points=4
with Exercise("13.7", "_stream") as check:
    random.manual_seed(4)
    model = GPT(13, 16, 2, 2, 8)
    for p in model.parameters():
        if p.ndim == 2:
            p.data = random.normal(p.shape, 0.5)
    text, start, rng = [1, 2, 3], 0, np.random.default_rng(9)
    for _ in range(20):  # the same without caches, as simply as possible
        if len(text) - start > 8:
            start += 4
        with no_grad():
            logits = model(Tensor([text[start:]])).numpy()[:, -1]
        text.append(int(sample(logits, rng=rng)[0]))
    check.equal(generate(model, [1, 2, 3], 5, seed=9).tolist(), text[:8], "the first tokens",
                cause="append each new token to the window; it is unread")  # fmt: skip
    check.equal(generate(model, [1, 2, 3], 20, seed=9).tolist(), text,
                "20 tokens with a context of 8",
                cause="a full window keeps its newer half; create new caches, and process all of it again")  # fmt: skip
    check.equal(generate(model, [1, 2, 3], 20, seed=9, use_cache=False).tolist(), text,
                "20 tokens without a cache", cause="process the whole window in each round")  # fmt: skip
    lengths, forward = [], model.forward

    def spy(ids: Tensor, caches: Any = None) -> Tensor:
        lengths.append(ids.shape[1])
        return forward(ids, caches)

    model.forward = spy
    generate(model, [1, 2, 3], 10)
    model.forward = forward
    check.equal(lengths, [3, 1, 1, 1, 1, 1, 5, 1, 1, 1], "the number of tokens processed in each step",
                cause="with caches, each token passes through the model once")  # fmt: skip
    one, other = (generate(model, [[1], [2]], 12, seed=3).tolist() for _ in range(2))
    check.equal(one, other, "the same text for the same seed", cause="pass rng to choose_token")
    check.true(one != generate(model, [[1], [2]], 12, seed=4).tolist(), "the seed matters")
    hot = generate(model, [[1], [2]], 12, seed=3, temperature=5.0).tolist()
    check.true(hot != one, "the temperature matters", cause="pass *choice to choose_token")
    stop = text[4]
    ended = [int(t[0]) for t in stream(model, [1, 2, 3], 20, seed=9, stop_token=stop)]
    check.equal(ended, text[3 : 3 + ended.index(stop) + 1] if stop in ended else [stop],
                "a text that ends at its stop token", cause="yield the stop token, then return")  # fmt: skip
    check.true(len(ended) < 20, "the stop token ends the text")
    model.train()
    generate(model, [1], 2)
    check.true(model.training, "a model in training mode is in training mode again afterwards",
               cause="compute the logits with _last_logits, which does not change it")  # fmt: skip

# %% [markdown]
# ## Train it
#
# A small made-up language: a few words, combined by rules. Can GPT learn the rules?

# %%
from tinytorch.dataloader import TokenDataset
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import AdamW
from tinytorch.tokenization import CharTokenizer
from tinytorch.training import CosineSchedule, Trainer

rng = np.random.default_rng(0)
NOUNS, VERBS = ["king", "queen", "fool", "ghost"], ["sees", "fears", "loves", "mocks"]


def sentence() -> str:
    """Two clauses, the second with the roles exchanged: its nouns depend on the first clause."""
    a, b = rng.choice(NOUNS, 2, replace=False)
    v, w = rng.choice(VERBS, 2)
    return f"the {a} {v} the {b}, and the {b} {w} the {a}.\n"


corpus = "".join(sentence() for _ in range(600))
print(corpus[:130])
tokenizer = CharTokenizer()
tokenizer.build_vocab(corpus)
data = TokenDataset(tokenizer.encode_array(corpus), block_size=48)

random.manual_seed(5)
model = GPT(tokenizer.vocab_size, embed_dim=32, num_layers=2, num_heads=2, max_seq_len=48,
            positions="rotary", init="zero")  # fmt: skip
print(f"{model.num_parameters():,} parameters, {tokenizer.vocab_size} different characters")

# %%
steps = 300
trainer = Trainer(model, AdamW(model.parameters(), lr=0.01), CrossEntropyLoss(),
                  CosineSchedule(0.01, 0.001, steps, warmup_steps=10), 1.0)  # fmt: skip
losses = []
for step in range(steps):
    losses.append(trainer.train_step([data.random_batch(16, rng)]).item())
    if step in (0, 30, 299):
        start = tokenizer.encode("the ")
        text = tokenizer.decode(generate(model, start, 60, seed=1).numpy())
        print(f"step {step:3}, loss {losses[-1]:.2f}: {text!r}")

# %%
with no_grad():
    line = "the king loves the fool, and the fool "
    seen = model.attention_weights(Tensor([tokenizer.encode(line)]))
figure, axes = plt.subplots(1, 2, figsize=(11, 4))
axes[0].plot(losses)
axes[0].set(title="loss", xlabel="step")
axes[1].imshow(seen[1].numpy()[0].max(axis=0), cmap="viridis")
axes[1].set(title="block 2: attention weights, maximum over heads")
for axis in (axes[1].xaxis, axes[1].yaxis):
    axis.set_ticks(range(len(line)), list(line.replace(" ", "_")), fontsize=7)
figure.tight_layout()
plt.show()

# %% [markdown]
# Look at the second *fool*: to write it, the model had to find the first one.
#
# ## What it costs
#
# A block has $4C^2$ parameters in attention (qkv 3, proj 1) and $8C^2$ in the MLP: $12 C^2$, times
# L. The forward pass needs about two operations per token and parameter, and training three times
# as many. Count and measure:

# %%
from tinytorch.tito.measure import seconds

print("  C  L   T  parameters  12 L C^2  forward    per token and parameter")
for C, L, T in ((64, 2, 64), (64, 4, 64), (128, 4, 64), (128, 4, 128), (128, 4, 256)):
    net = GPT(65, C, L, 4, T, positions="rotary")
    ids = Tensor(np.zeros((4, T), np.int64))
    with no_grad():
        t = seconds(lambda: net(ids))
    per = t / (4 * T * net.num_parameters())
    print(
        f"{C:3} {L:2} {T:3} {net.num_parameters():11,} {12 * L * C * C:9,} {1e3 * t:6.1f} ms {1e12 * per:9.1f} ps"
    )

# %%
net = GPT(65, 64, 2, 4, 128, positions="rotary").eval()
for use_cache in (False, True):
    t = seconds(lambda: generate(net, [0], 120, use_cache=use_cache, seed=0), 2)
    print(f"{'with' if use_cache else 'without'} a cache: {120 / t:6.0f} tokens per second")

# %% [markdown]
# ## Questions to think about
#
# 1. Without the MLPs, what can a stack of attention layers still compute?
# 2. Why is there a LayerNorm before the head, but none after the embedding?
# 3. The loss of an untrained model is about $\ln V$. Why? What does a larger loss tell you?
# 4. With the head tied to the embedding, each row of the table has two roles. Which?
# 5. TinyGPT has half a million parameters, and the text has a million characters. Will it memorise
#    the text?
#
# ## In PyTorch
#
# | here | PyTorch |
# |---|---|
# | `LayerNorm` | `torch.nn.LayerNorm` |
# | `TransformerBlock` | `torch.nn.TransformerEncoderLayer(norm_first=True)` with a causal mask |
# | `GPT`, `generate` | `GPT2LMHeadModel` and its `generate`, in Hugging Face's transformers |
#
# Sources: A. Vaswani et al., *Attention Is All You Need* (2017); A. Radford et al., *Language
# Models are Unsupervised Multitask Learners* (2019).
#
# ## TinyGPT
#
# You now have all the parts. Export your four lessons, and train your model on Shakespeare:
#
# - `tito milestone run 05`: the guided demo, about three minutes
# - `python milestones/tinygpt.py`: the full program
#
# By default, faster kernels replace many of the ops. With the environment variable
# `TT_BACKEND=reference`, the ops run exactly as you wrote them, only more slowly.
