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
# **You will build** a GPT and text generation. The parts: LayerNorm, the MLP, the transformer block,
# GPT, its initialisation, sampling, and the generation loop. At the end of this notebook, your GPT
# learns a small language.
#
# **You will learn**
#
# - why a deep stack of residual, pre-norm blocks can be trained, and how its weights should start;
# - to write LayerNorm with its gradient, a transformer block and a complete GPT;
# - to choose the next token by temperature, top-k and top-p;
# - to generate text of any length with caches for the keys and values;
# - to count the parameters and the memory of a GPT, from this one to GPT-2.
#
# **Before you start**: attention with a mask and a cache from lesson 12, and from lesson 11 how an
# op and its gradient are written.
#
# **Time**: about four hours, three of them for the seven exercises.
#
# Letters for shapes: `B` batch size, `T` tokens per sequence, `C` embedding size, `V` vocabulary
# size, `L` blocks, `nh` heads.

# %% setup=true
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import Any, Self

import numpy as np

from tinytorch import backends
from tinytorch.ops import random
from tinytorch.activations import GELU, SquaredReLU
from tinytorch.modules.exact_gelu import ExactGELU
from tinytorch.arguments import check_flag, check_integer, check_number
from tinytorch.attention import KVCache, MultiHeadAttention, create_causal_mask
from tinytorch.autograd import enable_grad, is_grad_enabled, no_grad, wrap_array
from tinytorch.ops.op import op
from tinytorch.ops.reductions import _mean
from tinytorch.backends import Backend
from tinytorch.backends.base import Array, Namespace, NumpyArray
from tinytorch.generation.checks import (
    SMALLEST_TEMPERATURE, check_tokens, finite_logits, parse_choice, parse_prompt,
    parse_stop_tokens,
)  # fmt: skip
from tinytorch.generation.decode_step import with_fused_step
from tinytorch.generation.read_ahead import READ_AHEAD, has_decoder, stream_ahead
from tinytorch.embeddings import ENCODINGS, EmbeddingLayer, RotaryEmbedding
from tinytorch.generation.generate import generate
from tinytorch.layers import Dropout, Linear
from tinytorch.modules.containers import ModuleList
from tinytorch.modules.module import Module, Parameter, evaluating
from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise
from tinytorch.transformers import INITIALISATIONS


def randomised(module: Module) -> Module:
    """The module with random values in all parameters, so that no 0 or 1 hides a mistake."""
    random.manual_seed(1)
    for parameter in module.parameters():
        parameter.data = random.normal(parameter.shape, 0.5) + (parameter.ndim == 1)
    return module


def shapes(module: Module) -> list[tuple[str, tuple[int, ...]]]:
    """The names and shapes of all parameters, in order."""
    return [(name, parameter.shape) for name, parameter in module.named_parameters()]


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
#
# There are other norms; they differ in what they average over:
#
# | | averages over | subtracts the mean | in generation | used by |
# |---|---|---|---|---|
# | BatchNorm | each column, all examples of the batch | yes | needs averages kept from training | image networks |
# | LayerNorm | each token, its `C` numbers | yes | the same as in training | GPT-2, BERT |
# | RMSNorm | each token, its `C` numbers | no: divides by $\sqrt{\mathrm{mean}(x^2)}$ | the same as in training | Llama |

# %% given="13.1"
from tinytorch.layers import LayerNorm

# %% exercise="13.1" points=3
from tinytorch.layers import layer_norm, layer_norm_gradient

# layer_norm:
#   xp.mean over the last axis, with keepdims=True so that it broadcasts. The variance is the mean
#   of the squared centred values: divided by C, not by C - 1.
#   Add eps before the square root. Return y, and the tuple that the gradient takes.
# layer_norm_gradient:
#   First d, then its mean and the mean of d * normal, over the last axis.
#   Return a tuple of three: for x the formula, for weight g * normal (a function without arguments),
#   for bias g. Autograd sums the last two to the shapes of weight and bias.

# %% test="13.1" points=3
# fmt: off
with Exercise("13.1", "layer_norm, layer_norm_gradient") as check:
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> Tensor:
        return Tensor(rng.standard_normal(shape), requires_grad=True)  # float64

    one, zero = Tensor([1.0, 1.0], dtype="float64"), Tensor([0.0, 0.0], dtype="float64")
    check.close(lambda: layer_norm(Tensor([[1.0, 3.0], [-4.0, -2.0]], dtype="float64"), one, zero),
                [[-1, 1], [-1, 1]], "the tokens (1, 3) and (-4, -2), whose variance is 1",
                cause="subtract the mean of each token (axis=-1, keepdims=True); the variance is"
                " the mean of the squared centred values: divided by C, not by C - 1",
                tolerance=1e-4)
    tokens = Tensor([[10.0, 30.0], [1.0, 3.0], [5.0, 5.0]], dtype="float64")
    check.close(lambda: layer_norm(tokens, one, zero), [[-1, 1], [-1, 1], [0, 0]],
                "three tokens of different scales",
                cause="divide each token by the square root of its own variance; eps avoids 0 / 0",
                tolerance=1e-4)
    check.equal(lambda: tokens.tolist(), [[10.0, 30.0], [1.0, 3.0], [5.0, 5.0]],
                "the input after layer_norm",
                cause="x -= ... writes into the input, which belongs to the caller: use x - ...")
    check.close(lambda: layer_norm(tokens, one, zero, eps=3.0),
                [[-0.98533, 0.98533], [-0.5, 0.5], [0, 0]], "the same with eps = 3",
                cause="divide by sqrt(variance + eps): for the second token, sqrt(1 + 3)")
    weight, bias = (Tensor(v, dtype="float64") for v in ([2.0, 4.0], [0.5, -0.5]))
    check.close(lambda: layer_norm(tokens, weight, bias)[1], [-1.5, 3.5],
                "the second token scaled by (2, 4) and shifted by (0.5, -0.5)",
                cause="scale first, then shift", tolerance=1e-4)
    check.close(lambda: layer_norm(tokens, weight)[1], [-2, 4], "the second token without a bias",
                cause="the bias may be None: then nothing is added", tolerance=1e-4)
    check.close(lambda: layer_norm(Tensor([[10000.0, 10002.0]]), Tensor([1.0, 1.0]), Tensor([0.0, 0.0])),
                [[-1, 1]], "the token (10000, 10002) in float32",
                cause="subtract the mean before you square: in float32, mean(x * x) - mean * mean"
                " is mostly rounding error", tolerance=1e-4)
    y, w, b = drawn(2, 3, 4), drawn(4), drawn(4)
    centred = y.numpy() - y.numpy().mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    check.close(lambda: layer_norm(y, w, b), centred / deviation * w.numpy() + b.numpy(),
                "an input (2, 3, 4)",
                cause="always normalise over the last axis only, however many axes are before it")
    check.equal(lambda: layer_norm(y.to("float32"), w.to("float32"), b.to("float32")).dtype,
                np.float32, "the dtype for float32 numbers",
                cause="compute with xp and Python numbers only: NumPy's float64 numbers convert"
                " the result")
    check.gradient(lambda y: layer_norm(y, w, b, eps=0.5), y, what="layer_norm for x",
                   cause="(d - mean(d) - normal * mean(d * normal)) * scale, with both means over"
                   " the last axis; the tuple of layer_norm must hold normal, scale = 1 /"
                   " sqrt(variance + eps), weight")
    check.gradient(lambda w: layer_norm(y, w, b, eps=0.5), w, what="layer_norm for weight",
                   cause="the second entry is a function without arguments that returns g * normal")
    check.gradient(lambda b: layer_norm(y, w, b, eps=0.5), b, what="layer_norm for bias",
                   cause="the third entry is g")
    check.gradient(lambda y: y + layer_norm(y, w, eps=0.5), y,
                   what="the sum of an input and its layer_norm without a bias",
                   cause="g *= ... writes into a gradient that others use too: use g * ...")
# fmt: on

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
# fmt: off
with Exercise("13.2", "MLP") as check:
    rng = np.random.default_rng(1)
    check.equal(lambda: shapes(MLP(4)),
                [("fc.weight", (16, 4)), ("fc.bias", (16,)), ("proj.weight", (4, 16)), ("proj.bias", (4,))],
                "the parameters of MLP(4)",
                cause="self.fc is created first, then self.proj; the hidden layer is 4 * C wide")
    check.equal(lambda: shapes(MLP(4, 7)),
                [("fc.weight", (7, 4)), ("fc.bias", (7,)), ("proj.weight", (4, 7)), ("proj.bias", (4,))],
                "the parameters of MLP(4, 7)",
                cause="hidden_dim is the width of the hidden layer; 4 * C is only its default")
    check.equal(lambda: shapes(MLP(4, 7, bias=False)),
                [("fc.weight", (7, 4)), ("proj.weight", (4, 7))],
                "the parameters of MLP(4, 7, bias=False)",
                cause="pass bias to both linear layers")
    weights = {
        "fc.weight": rng.standard_normal((7, 4)), "fc.bias": rng.standard_normal(7),
        "proj.weight": rng.standard_normal((4, 7)), "proj.bias": rng.standard_normal(4),
    }
    x = rng.standard_normal((60, 20, 4))
    hidden = x @ weights["fc.weight"].T + weights["fc.bias"]
    gelu = 0.5 * hidden * (1 + np.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)))
    wanted = gelu @ weights["proj.weight"].T + weights["proj.bias"]

    def loaded(**settings: Any) -> MLP:
        """An MLP of float64 with these weights."""
        mlp = MLP(4, 7, **settings).to("float64")
        mlp.load_state_dict({name: Tensor(value) for name, value in weights.items()})
        return mlp

    check.close(lambda: loaded()(Tensor(x)), wanted, "the output",
                cause="fc, then GELU, then proj; the dropout probability is 0 unless it is given",
                tolerance=1e-6)
    check.close(lambda: loaded(activation="squared_relu")(Tensor(x)),
                np.maximum(hidden, 0) ** 2 @ weights["proj.weight"].T + weights["proj.bias"],
                "the output with squared_relu",
                cause="look up the activation in ACTIVATIONS by its name, and create an instance",
                tolerance=1e-6)
    check.raises(ValueError, lambda: MLP(4, activation="rulu"), "an unknown activation",
                 cause='_choose("activation", ACTIVATIONS, activation) raises this error',
                 message="activation must be one of gelu, gelu_erf, squared_relu, not 'rulu'")
    dropped = check.call(lambda: loaded(dropout=0.25)(Tensor(x)).numpy(),
                         "the output with dropout=0.25",
                         cause="self.dropout = Dropout(dropout), called in forward")
    check.close(lambda: (dropped == 0).mean(), 0.25,
                "the fraction of the output that dropout=0.25 sets to 0",
                cause="dropout comes last, once, with the probability that is given",
                tolerance=0.03)
    check.close(lambda: dropped, lambda: np.where(dropped == 0, 0.0, wanted / 0.75),
                "the output that dropout=0.25 keeps",
                cause="Dropout divides it by 1 - p already; nothing else changes")
    check.close(lambda: loaded(dropout=0.25).eval()(Tensor(x)), wanted,
                "the output with dropout=0.25 in evaluation mode",
                cause="only a Dropout in self knows about evaluation mode: create it in __init__")
    check.equal(lambda: {p.backend.name for p in MLP(4, backend="reference").parameters()},
                {"reference"}, 'the backend of the parameters with backend="reference"',
                cause="pass backend to both linear layers")
    check.gradient(lambda x: loaded()(x), Tensor(x[0, :3], requires_grad=True), what="MLP",
                   cause="compute with tensors: numpy() and detach() leave the graph")

    def without_gradient() -> list[str]:
        mlp = MLP(4)
        mlp(Tensor(x[0].astype(np.float32))).sum().backward()
        return [name for name, parameter in mlp.named_parameters() if parameter.grad is None]

    check.equal(without_gradient, [], "the parameters that get no gradient",
                cause="forward uses them all")
# fmt: on

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
#   self.ln1, self.attention, self.ln2, self.mlp, in this order, so that a seed always gives the
#   same weights. Attention gets dropout, bias and rotary; the MLP is mlp_ratio * embed_dim wide and
#   gets dropout, bias and activation. The norms get bias, and all four the backend.
# TransformerBlock.forward:
#   The two lines above. Attention also gets the mask and the cache.

# %% test="13.3" points=3
# fmt: off
with Exercise("13.3", "TransformerBlock") as check:
    check.equal(lambda: [name for name, _ in TransformerBlock(12, 3).named_children()],
                ["ln1", "attention", "ln2", "mlp"], "the names of its modules",
                cause="create self.ln1, self.attention, self.ln2 and self.mlp, in this order")
    check.equal(lambda: TransformerBlock(12, 3).mlp.fc.weight.shape, (48, 12),
                "the shape of mlp.fc.weight",
                cause="the second argument of MLP is mlp_ratio * embed_dim")
    check.equal(lambda: TransformerBlock(12, 3, mlp_ratio=2).mlp.fc.weight.shape, (24, 12),
                "the shape of mlp.fc.weight with mlp_ratio=2",
                cause="the second argument of MLP is mlp_ratio * embed_dim")
    check.equal(lambda: TransformerBlock(12, 3).attention.num_heads, 3, "the number of heads",
                cause="pass num_heads to MultiHeadAttention")

    def parts(rotary: Any = None, activation: str = "gelu") -> dict[str, Module]:
        """The modules of a block, each with random weights."""
        made = {
            "ln1": LayerNorm(12), "attention": MultiHeadAttention(12, 3, rotary=rotary),
            "ln2": LayerNorm(12), "mlp": MLP(12, 24, activation=activation),
        }
        for index, module in enumerate(made.values()):
            random.manual_seed(index)
            for p in module.parameters():
                p.data = random.normal(p.shape, 0.5) + (p.ndim == 1)
        return made

    def block_of(made: dict[str, Module], **settings: Any) -> TransformerBlock:
        """A block with the weights of these modules."""
        block = TransformerBlock(12, 3, 2, **settings)
        block.load_state_dict({f"{part}.{name}": value for part, module in made.items()
                               for name, value in module.state_dict().items()})
        return block

    def wanted(made: dict[str, Module], x: Tensor, *more: Any) -> Any:
        """The block's output for x."""
        middle = x + made["attention"](made["ln1"](x), *more)
        return (middle + made["mlp"](made["ln2"](middle))).numpy()

    x = Tensor(np.random.default_rng(2).standard_normal((2, 5, 12)).astype(np.float32) * 3)
    made = check.call(parts, "the modules of a block", cause="first solve exercises 13.1 and 13.2")
    block = check.call(lambda: block_of(made), "a block of these modules",
                       cause="they are ln1, attention, ln2, mlp")
    with no_grad():

        def silent(*names: str) -> Any:
            """The output of a block whose modules `names` add zero."""
            quiet = block_of(parts())
            for name in names:
                for p in getattr(quiet, name).proj.parameters():
                    p.data = 0.0
            return quiet(x)

        check.close(lambda: silent("attention", "mlp"), x, "the output when both steps add zero",
                    cause="x + ..., twice: a step only adds something")
        check.close(lambda: silent("mlp"), lambda: x + made["attention"](made["ln1"](x)),
                    "the output when the MLP adds zero",
                    cause="x + attention(ln1(x)): the norm comes before the step, the sum after it",
                    tolerance=1e-4)
        check.close(lambda: silent("attention"), lambda: x + made["mlp"](made["ln2"](x)),
                    "the output when attention adds zero",
                    cause="x + mlp(ln2(x)): the norm comes before the step, the sum after it",
                    tolerance=1e-4)
        given = x.numpy().copy()
        check.close(lambda: block(x), lambda: wanted(made, x), "the output",
                    cause="the second step starts from the first sum, not from x", tolerance=1e-4)
        check.equal(lambda: x.numpy(), given, "the input afterwards",
                    cause="x += ... writes into the input, which belongs to the caller: x = x +"
                    " ...")
        mask = create_causal_mask(5)
        check.close(lambda: block(x, mask), lambda: wanted(made, x, mask),
                    "the output with a causal mask",
                    cause="pass the mask to attention", tolerance=1e-4)
        narrow = Tensor(np.tri(5, dtype=bool) & ~np.tri(5, k=-2, dtype=bool))
        check.close(lambda: block(x, narrow), lambda: wanted(made, x, narrow),
                    "the output with a mask that shows each token itself and the one before it",
                    cause="pass on the mask that was given, not a new one", tolerance=1e-4)

        def continued(block: TransformerBlock) -> Any:
            """The outputs for three tokens, and for the two after them, with a cache."""
            cache = KVCache(8)
            parts = [block(x[:, :3], create_causal_mask(3), cache),
                     block(x[:, 3:], create_causal_mask(2, 3), cache)]
            return np.concatenate([part.numpy() for part in parts], axis=1)

        check.close(lambda: continued(block), lambda: wanted(made, x, mask),
                    "the output for three tokens and two more, with a cache",
                    cause="pass the cache to attention", tolerance=1e-4)
        rotary = RotaryEmbedding(4, 8)
        turned = check.call(lambda: parts(rotary, "squared_relu"), "the modules",
                            cause="first solve exercise 13.2")
        check.close(lambda: block_of(turned, rotary=rotary, activation="squared_relu")(x, mask),
                    lambda: wanted(turned, x, mask),
                    "the output with rotary positions and squared_relu",
                    cause="pass rotary to attention and activation to the MLP", tolerance=1e-4)
    check.equal(lambda: [name for name, _ in shapes(TransformerBlock(12, 3, bias=False))],
                ["ln1.weight", "attention.qkv.weight", "attention.proj.weight", "ln2.weight",
                 "mlp.fc.weight", "mlp.proj.weight"],
                "the parameters with bias=False",
                cause="pass bias to both norms, to attention and to the MLP")

    def probabilities() -> list[float]:
        block = TransformerBlock(12, 3, dropout=0.25)
        dropouts = (
            block.attention.weights_dropout, block.attention.output_dropout, block.mlp.dropout
        )
        return [dropout.p for dropout in dropouts]

    check.equal(probabilities, [0.25, 0.25, 0.25],
                "the probabilities of the three dropouts with dropout=0.25",
                cause="pass dropout to attention and to the MLP")
    check.equal(lambda: {p.backend.name for p in TransformerBlock(12, 3, backend="reference").parameters()},
                {"reference"}, 'the backend of the parameters with backend="reference"',
                cause="pass backend to all four modules")
    check.gradient(lambda x: block_of(made).to("float64")(x),
                   Tensor(x.numpy()[:1, :2].astype(np.float64), requires_grad=True),
                   what="TransformerBlock",
                   cause="compute with tensors: numpy() and detach() leave the graph")
# fmt: on

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
#
# The next cell is given. It creates all modules: `self.embedding`, `self.dropout`, `self.blocks`,
# `self.ln_f` and `self.head`; `self.config` has the sizes, such as `self.config.max_seq_len`.

# %% given="13.4"
from tinytorch.transformers import GPTBase, GPTConfig

# %% exercise="13.4" points=4
from tinytorch.transformers import GPT

# GPT.forward:
#   Ids of a single sequence (T,): reshape them to (1, T), call forward again (with the caches), and
#   return the first row of the batch.
#   past is the length of the first cache, if there are caches.
#   Raise a ValueError that contains both numbers if past + T is more than config.max_seq_len.
#   Create the mask only if T > 1, with past and ids.backend. The embedding needs past too; dropout
#   follows it.
#   Each block gets the mask and its own cache. Then ln_f, then head.
# GPT.new_caches:
#   One KVCache of max_seq_len for each block.

# %% test="13.4" points=4
# fmt: off
with Exercise("13.4", "GPT") as check, no_grad():

    def small(**settings: Any) -> GPT:
        """V = 11, C = 8, L = 3, nh = 2, and at most 6 tokens; with random weights."""
        return randomised(GPT(11, 8, 3, 2, 6, init="zero", **settings))

    ids = Tensor([[1, 2, 3, 4, 5], [5, 5, 0, 10, 1]])
    model = check.call(small, "a small GPT", cause="first solve exercises 13.1 to 13.3")

    def logits(ids: Tensor, mask: Any, between: Any = lambda x: x) -> Any:
        """The logits of the model, with `between` in place of its dropout."""
        x = between(model.embedding(ids))
        for block in model.blocks:
            x = block(x, mask)
        return model.head(model.ln_f(x)).numpy()

    check.equal(lambda: [cache.max_seq_len for cache in model.new_caches()], [6, 6, 6],
                "the sizes of the caches of 3 blocks",
                cause="one cache for each block, of config.max_seq_len")
    check.equal(lambda: len({id(cache) for cache in [*model.new_caches(), *model.new_caches()]}), 6,
                "the number of different caches from two calls",
                cause="each call creates new ones; and [KVCache(...)] * 3 is the same cache three"
                " times")
    check.equal(lambda: model(ids).shape, (2, 5, 11), "the shape of the logits",
                cause="(B, T, V): the head comes last; T is ids.shape[1], and the mask is (T, T)")
    check.close(lambda: model(ids[:, :1]), lambda: logits(ids[:, :1], None),
                "the logits for a single token",
                cause="embedding, then each block with the output of the one before it, ln_f, head",
                tolerance=1e-4)
    check.close(lambda: model(ids), lambda: logits(ids, create_causal_mask(5)),
                "the logits for five tokens",
                cause="more than one token needs the causal mask", tolerance=1e-4)

    class Doubling(Dropout):
        """Stands for a dropout, to see where it is called."""

        def forward(self, x: Tensor) -> Tensor:
            return x * 2.0

    def with_doubling() -> Any:
        doubled = small()
        doubled.dropout = Doubling()
        return doubled(ids)

    check.close(with_doubling,
                lambda: logits(ids, create_causal_mask(5), between=lambda x: x * 2.0),
                "the logits if dropout doubled the vectors",
                cause="self.dropout comes once, between the embedding and the blocks",
                tolerance=1e-4)
    check.close(lambda: model(ids[1]), lambda: model(ids)[1],
                "the logits for a single sequence (T,)",
                cause="as (1, T), then the first row of the result", tolerance=1e-4)

    def pieces(model: GPT, ids: Tensor, *lengths: int) -> tuple[Any, list[int]]:
        """The logits of pieces with caches, joined, and the lengths of the caches at the end."""
        caches, parts, start = model.new_caches(), [], 0
        for length in lengths:
            parts.append(model(ids[..., start : start + length], caches).numpy())
            start += length
        return np.concatenate(parts, axis=-2), [cache.length for cache in caches]

    check.equal(lambda: pieces(model, ids, 1)[1], [1, 1, 1],
                "the lengths of the caches after one token",
                cause="pass each block its own cache: caches[index]")
    check.close(lambda: pieces(model, ids, 1, 1, 1)[0], lambda: model(ids[:, :3]),
                "the logits for three single tokens with caches",
                cause="the embedding needs past, the number of tokens in the first cache",
                tolerance=1e-4)
    check.close(lambda: pieces(model, ids, 2, 3)[0], lambda: model(ids),
                "the logits for two tokens and three more, with caches",
                cause="the mask of a piece is (T, past + T): create_causal_mask needs past",
                tolerance=1e-4)
    check.close(lambda: pieces(model, ids[0], 2, 1, 2)[0], lambda: model(ids[0]),
                "the logits for pieces of a single sequence (T,), with caches",
                cause="pass the caches on when forward calls itself", tolerance=1e-4)
    check.equal(lambda: pieces(randomised(GPT(11, 8, 1, 2, 6, init="zero")), ids, 2, 3)[1], [5],
                "the length of the only cache of a GPT with one block",
                cause="past is the length of the first cache, caches[0]")
    turning = check.call(lambda: small(positions="rotary"), "a small GPT with rotary positions",
                         cause="as above")
    check.close(lambda: pieces(turning, ids, 2, 1, 2)[0], lambda: turning(ids),
                "the logits for pieces with rotary positions and caches",
                cause="each block gets its own cache, which knows the positions", tolerance=1e-4)

    def tight(past: int, T: int) -> list[int]:
        """T tokens after `past` others, at most 4 in all, though all parts have room for 6."""
        model = small()
        model.config = replace(model.config, max_seq_len=4)
        caches = [KVCache(6) for _ in range(3)]
        if past:
            model(ids[:, :past], caches)
        model(ids[:, past : past + T], caches)
        return [cache.length for cache in caches]

    for past, number in ((0, 5), (3, 2)):
        for limit in ("5", "4"):
            check.raises(ValueError, lambda: tight(past, number),
                         f"{past} + {number} tokens for max_seq_len = 4",
                         cause="forward itself compares past + T with config.max_seq_len, and its"
                         " message has both numbers", message=limit)
    check.equal(lambda: [tight(0, 4), tight(3, 1)], [[4, 4, 4], [4, 4, 4]],
                "the lengths of the caches after 0 + 4 and 3 + 1 tokens for max_seq_len = 4",
                cause="exactly max_seq_len tokens still fit")
    check.close(lambda: small(backend="reference")(Tensor(ids.numpy(), backend="reference")),
                lambda: model(ids), 'the logits on backend="reference"',
                cause="create the mask on ids.backend", tolerance=1e-4)

    def without_gradient() -> list[str]:
        model = small()
        with enable_grad():
            (model(ids).sum() + model(ids[0]).sum()).backward()
        return [name for name, parameter in model.named_parameters() if parameter.grad is None]

    check.equal(without_gradient, [], "the parameters that get no gradient",
                cause="compute with tensors: numpy() and detach() leave the graph")
# fmt: on

# %% [markdown]
# ## 13.5 Initialisation
#
# GPT-2 initialises weights from a normal distribution with standard deviation 0.02, and biases with
# zero. The last layer of each step, `proj.weight`, starts smaller: each block adds to the residual
# stream twice, so L blocks add 2 L terms. Divided by $\sqrt{2L}$, their sum is as large for a deep
# model as for a shallow one.

# %% given="13.5"
from tinytorch.transformers import init_zero

# %% exercise="13.5" points=2
from tinytorch.transformers import INITIALISATIONS, init_gpt2

# init_gpt2:
#   Loop over model.named_parameters(). If a name ends in "bias", assign 0.0 to .data.
#   Matrices (ndim 2) get the data random.normal(shape, std): std is 0.02, or the smaller value for
#   names that end in "proj.weight". The weights of the norms stay 1: they have one axis.

# %% test="13.5" points=2
# fmt: off
with Exercise("13.5", "init_gpt2") as check:

    def initialised(layers: int, **settings: Any) -> dict[str, Any]:
        """The parameters of a GPT that were all 7 before."""
        model = GPT(300, 64, layers, 2, 32, init="zero", **settings)
        for parameter in model.parameters():
            parameter.data = 7.0
        random.manual_seed(2)
        init_gpt2(model)
        return {name: p.numpy() for name, p in model.named_parameters()}

    found = check.call(lambda: initialised(8), "a GPT of 8 blocks, initialised",
                       cause="assign to parameter.data")

    def deviations(ending: str, found: Any = found) -> Any:
        """The standard deviations of all matrices whose names end so, in order of names."""
        names = sorted(name for name, value in found.items() if value.ndim == 2)
        return np.array([found[name].std() for name in names if name.endswith(ending)])

    check.equal(
        lambda: {name: value.min() for name, value in found.items() if "ln" in name and "w" in name},
        dict.fromkeys([f"blocks.{i}.ln{k}.weight" for i in range(8) for k in (1, 2)] + ["ln_f.weight"], 7.0),
        "the weights of the norms, which stay as they were",
        cause="initialise only matrices (ndim 2) and biases",
    )
    check.equal(lambda: sorted({float(np.abs(v).max()) for n, v in found.items() if n.endswith("bias")}),
                [0.0], "the largest numbers of the biases",
                cause='every parameter whose name ends in "bias" becomes 0.0')
    for ending, number, what in (
        ("tokens.weight", 1, "the token table"), ("positions.weight", 1, "the position table"),
        ("qkv.weight", 8, "qkv"), ("fc.weight", 8, "fc"), ("head.weight", 1, "the head"),
    ):
        check.close(lambda: deviations(ending), np.full(number, 0.02),
                    f"the standard deviation of {what}",
                    cause="every matrix gets random.normal(shape, std), with std = 0.02",
                    tolerance=1e-3)
    check.close(lambda: deviations("proj.weight"), np.full(16, 0.005),
                "the standard deviation of proj, with 8 blocks",
                cause="0.02 / sqrt(2 L), both in attention and in the MLP: with 8 blocks, 0.02 / 4",
                tolerance=3e-4)
    check.close(lambda: deviations("proj.weight", initialised(2)), np.full(4, 0.01),
                "the standard deviation of proj, with 2 blocks",
                cause="0.02 / sqrt(2 L), where L is model.config.num_layers: with 2 blocks, 0.02 /"
                " 2", tolerance=6e-4)
    check.close(lambda: [np.abs(v).max() > 2.6 * v.std() and abs(v.mean()) < 0.2 * v.std()
                         for v in found.values() if v.ndim == 2],
                [1] * 35, "whether each matrix has mean 0 and the tails of a normal distribution",
                cause="random.normal(shape, std)")
    check.equal(lambda: len({float(value[0, 0]) for value in found.values() if value.ndim == 2}),
                35, "the number of different matrices",
                cause="draw new numbers for each matrix, without a seed of your own")
    check.true(lambda: all((value == found[name]).all() for name, value in initialised(8).items()),
               "the same weights again after manual_seed",
               cause="draw from tinytorch's random.normal, which manual_seed controls")
    check.equal(lambda: {value.dtype.name for value in found.values()}, {"float32"},
                "the dtype of the parameters",
                cause="assign to parameter.data, which keeps the dtype")
# fmt: on

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

# %% given="13.6"
from tinytorch.generation.generate import _nucleus

# %% exercise="13.6" points=3
from tinytorch.generation.generate import sample

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
# fmt: off
PROBABILITIES = np.array([0.05, 0.3, 0.1, 0.02, 0.38, 0.15])


def fractions(**settings: Any) -> np.ndarray:
    """The fraction of 4,000 draws in which each of six tokens is chosen."""
    many = np.repeat(np.log(PROBABILITIES)[None].astype(np.float32), 4000, axis=0)
    chosen = sample(many, rng=np.random.default_rng(7), **settings)
    return np.bincount(chosen, minlength=6) / 4000


def shares(powers: Any, *tokens: int) -> np.ndarray:
    """The weights of some tokens, as fractions of their sum; 0 for all others."""
    kept = np.where(np.isin(np.arange(6), tokens or range(6)), powers, 0.0)
    return kept / kept.sum()


with Exercise("13.6", "sample") as check:
    logits = np.log(PROBABILITIES)[None].astype(np.float32)
    two = np.concatenate([logits, logits[:, ::-1]])
    for heat in (0.0, 1e-320):

        def likeliest(heat: float = heat) -> Any:
            with np.errstate(all="raise"):  # an overflow is an error
                return sample(two, heat, rng=np.random.default_rng(0))

        check.equal(likeliest, [4, 1], f"the tokens of two rows at temperature {heat}",
                    cause="below SMALLEST_TEMPERATURE return np.argmax(logits, axis=-1)")
    close = np.array([[0.0, 1e-4, 0.0]])
    check.equal(lambda: {int(sample(close, 0.0, rng=np.random.default_rng(n))[0]) for n in range(50)},
                {1}, "the tokens of 50 draws at temperature 0, where one logit is larger by 0.0001",
                cause="np.argmax finds the largest; a very small temperature instead of 0 still"
                " draws")
    check.equal(lambda: [sample(two, heat, rng=np.random.default_rng(0)).shape for heat in (0.0, 1.0)],
                [(2,), (2,)], "the shapes for two rows at temperature 0 and 1",
                cause="return an array (B,): one integer for each row")
    check.equal(lambda: sample(two, rng=np.random.default_rng(0)).dtype.kind, "i",
                "the kind of numbers",
                cause="return integers, as np.argmax does")
    check.close(fractions, PROBABILITIES, "the fractions at temperature 1",
                cause="weights are exp(logits); each row throws its own dart, rng.random((B, 1)),"
                " anywhere on its line; the token is the first whose end of the line is beyond it",
                tolerance=0.03)
    for heat, power in ((0.5, 2), (2.0, 0.5)):
        check.close(lambda: fractions(temperature=heat), shares(PROBABILITIES**power),
                    f"the fractions at temperature {heat}",
                    cause="divide the logits by the temperature: a low one favours likely tokens",
                    tolerance=0.03)
    for k, tokens in ((1, [4]), (2, [4, 1]), (3, [4, 1, 5])):
        check.close(lambda: fractions(top_k=k), shares(PROBABILITIES, *tokens),
                    f"the fractions with top_k={k}",
                    cause="exactly the k likeliest remain, with their own weights", tolerance=0.03)
    check.close(lambda: [fractions(top_k=k) for k in (6, 9)], [PROBABILITIES, PROBABILITIES],
                "the fractions with top_k=6 and top_k=9, for 6 tokens",
                cause="a k of V or more keeps all tokens", tolerance=0.03)
    wide = np.random.default_rng(1).standard_normal(2000)
    check.equal(lambda: sorted(
                    set(sample(np.tile(wide, (400, 1)), 1.0, 5, rng=np.random.default_rng(2)).tolist())
                ),
                np.sort(np.argsort(wide)[-5:]),
                "the tokens that occur with top_k=5, of 2,000 tokens",
                cause="np.partition(scaled, -top_k, axis=-1) puts the k-th largest at index -top_k")
    for p, tokens in ((0.2, [4]), (0.6, [4, 1]), (0.7, [4, 1, 5])):
        check.close(lambda: fractions(top_p=p), shares(PROBABILITIES, *tokens),
                    f"the fractions with top_p={p}",
                    cause="weights = _nucleus(weights, top_p), before np.cumsum", tolerance=0.03)
    check.close(lambda: fractions(top_p=1.0), PROBABILITIES, "the fractions with top_p=1",
                cause="a top_p of 1 keeps all tokens", tolerance=0.03)
    check.close(lambda: fractions(temperature=0.5, top_k=3), shares(PROBABILITIES**2, 4, 1, 5),
                "the fractions at temperature 0.5 with top_k=3",
                cause="both apply: temperature first, then the scores below the k-th become -inf",
                tolerance=0.03)
    check.close(lambda: fractions(top_k=2, top_p=0.55), shares(PROBABILITIES, 4),
                "the fractions with top_k=2 and top_p=0.55",
                cause="top_k first: of the two tokens that remain, one has more than 0.55 of the"
                " weight", tolerance=0.03)
    check.close(lambda: fractions(temperature=0.5, top_p=0.5), shares(PROBABILITIES, 4),
                "the fractions at temperature 0.5 with top_p=0.5",
                cause="temperature first: _nucleus gets the weights after it", tolerance=0.03)
    other = np.array([0.01, 0.9, 0.03, 0.02, 0.025, 0.015])
    rows = np.stack([np.log(PROBABILITIES) + 2000, np.log(other) - 2000])

    def of_each_row(**settings: Any) -> list[np.ndarray]:
        chosen = sample(np.repeat(rows, 4000, axis=0), rng=np.random.default_rng(3), **settings)
        return [np.bincount(half, minlength=6) / 4000 for half in np.split(chosen, 2)]

    check.close(of_each_row, [PROBABILITIES, other],
                "the fractions of two rows, with logits around 2000 and -2000",
                cause="each row has its own largest logit, which is subtracted before exp, and its"
                " own length of the line, total[:, -1:]", tolerance=0.03)
    check.close(lambda: of_each_row(top_k=2), [shares(PROBABILITIES, 4, 1), shares(other, 1, 2)],
                "the fractions of these rows with top_k=2",
                cause="each row has its own k-th largest score", tolerance=0.03)
    flat = np.zeros((3000, 5000), np.float16)
    check.close(lambda: np.mean(sample(flat, rng=np.random.default_rng(5))) / 5000, 0.5,
                "the mean position among 5,000 equally likely tokens in float16",
                cause="convert the logits to float64: a sum of ones in float16 ends at 2048",
                tolerance=0.03)
    check.equal(lambda: sample(np.array([[0.0, np.inf, 1.0]]), rng=np.random.default_rng(0)), [1],
                "the token if one logit is infinite",
                cause="continue with the logits that finite_logits returns")
    for heat in (0.0, 1.0):
        check.raises(RuntimeError,
                     lambda: sample(np.array([[0.0, np.nan]]), heat, rng=np.random.default_rng(0)),
                     f"a logit of NaN at temperature {heat}",
                     cause="call finite_logits first; it raises this error")

    def afterwards() -> np.ndarray:
        given = logits.copy()
        sample(given, 0.5, 2, 0.9, rng=np.random.default_rng(0))
        return given

    check.equal(afterwards, logits, "the logits afterwards",
                cause="scaled[...] = -inf, or -=, must not write into the caller's array")
    check.true(lambda: len({int(sample(np.zeros((1, 1000)), rng=np.random.default_rng(5))[0])
                            for _ in range(5)}) == 1,
               "five draws with the same seed are equal",
               cause="use only rng for randomness")
    check.true(lambda: len({int(sample(np.zeros((1, 1000)), rng=np.random.default_rng(seed))[0])
                            for seed in range(5)}) > 1,
               "draws with different seeds differ",
               cause="use rng, not a generator of your own")
# fmt: on

# %% [markdown]
# Six tokens at three temperatures:

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 2.6), sharey=True)
for axis, temperature in zip(axes, (0.3, 1.0, 3.0), strict=True):
    axis.bar(range(6), fractions(temperature=temperature))
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
# With a context of 7, for example, and a prompt of 3 tokens:
#
# | round | window before | read by the model | |
# |---|---|---|---|
# | 1 | 3 tokens | 3 | the whole prompt |
# | 2 | 4 | 1 | the new token only: the caches have the rest |
# | 5 | 7 | 1 | the window is full now: keep the newer 3, and new caches |
# | 6 | 4 | 4 | these 3 and the new token, at positions 0 to 3 |
#
# The function is a *generator*: it yields each token as soon as it is sampled, so that you can read
# along. Given are `_last_logits`, which runs the model in evaluation mode and without gradients;
# `choose_token`, which calls your `sample` (on a GPU it samples on the device); and `stream` and
# `generate`, which check the arguments and call your function (on a GPU, a loop whose tokens stay on
# the device takes its place: `generation/read_ahead.py`).

# %% given="13.7"
from tinytorch.generation.generate import _last_logits, choose_token, generate, stream

# %% exercise="13.7" points=4
from tinytorch.generation.generate import _stream

# _stream:
#   window holds the text that the model still sees (B, T), at most limit tokens, the newest ones of
#   a longer prompt; unread holds the tokens that the model has not processed yet: at first all,
#   later only the last one.
#   In each round: _last_logits(model, model.backend, unread, caches), choose_token(logits, *choice,
#   rng=rng), and yield the token (B,).
#   With stop_tokens (n,), a row that has produced one repeats it; return when all rows have.
#   If the window is full: keep its newer limit // 2, create new caches, and all is unread again.
#   Without a cache (None in place of the caches), everything is always unread.


# %% test="13.7" points=4
# fmt: off
class Oracle(Module):
    """Stands for a GPT: its logits are random, and depend on every token that it sees.

    It notes how many tokens it reads in each call, and under which conditions.
    """

    backend = backends.get("numpy")

    def __init__(self, limit: int = 7, fails_at: int = -1) -> None:
        self.config = SimpleNamespace(max_seq_len=limit, vocab_size=13)
        self.dropout = Dropout(0.5)
        self.read: list[int] = []
        self.conditions: set[Any] = set()
        self.fails_at = fails_at

    def new_caches(self) -> list[Any]:
        return [SimpleNamespace(rows=None, length=0)]

    def forward(self, ids: Tensor, caches: Any = None) -> Tensor:
        rows = ids.numpy().tolist()
        if len(self.read) == self.fails_at:
            raise ArithmeticError("this model fails on purpose")
        self.read.append(len(rows[0]))
        with_dropout = self.training or self.dropout.training
        self.conditions.add((with_dropout, is_grad_enabled(), caches is None, ids.backend.name))
        if caches:
            rows = [old + new for old, new in zip(caches[0].rows or [[]] * len(rows), rows)]  # noqa: B905
            caches[0].rows, caches[0].length = rows, len(rows[0])
        if len(rows[0]) > self.config.max_seq_len:
            raise ValueError(f"{len(rows[0])} tokens exceed max_seq_len={self.config.max_seq_len}")
        return Tensor(np.stack([self.scores(row) for row in rows])[:, None], backend=ids.backend)

    def scores(self, tokens: list[int]) -> np.ndarray:
        """The logits (V,) after these tokens."""
        return np.random.default_rng(tokens).standard_normal(13)


def by_hand(prompts: Any, count: int, limit: int = 7, seed: int = 0, **settings: Any) -> list[Any]:
    """The texts that the loop should write, without caches and as simply as possible."""
    model, rng = Oracle(limit), np.random.default_rng(seed)
    texts = [list(prompt) for prompt in prompts]
    start = max(0, len(texts[0]) - limit)
    for _ in range(count):
        if len(texts[0]) - start > limit:
            start = len(texts[0]) - (limit // 2 + 1)
        logits = np.stack([model.scores(text[start:]) for text in texts])
        for text, token in zip(texts, sample(logits, rng=rng, **settings), strict=True):
            text.append(int(token))
    return texts


def read_in(count: int, prompt: Any = (1, 2, 3), limit: int = 7, **settings: Any) -> list[int]:
    """How many tokens a model reads in each round."""
    model = Oracle(limit)
    generate(model, list(prompt), count, temperature=0.0, **settings)
    return model.read


with Exercise("13.7", "_stream") as check:
    check.equal(lambda: [len(list(stream(Oracle(), [1, 2, 3], count))) for count in (0, 1, 4)],
                [0, 1, 4], "the number of new tokens, for max_new_tokens = 0, 1 and 4",
                cause="one token in each of max_new_tokens rounds; with caches, only it is unread"
                " then")

    def read_before_the_first() -> list[int]:
        model = Oracle()
        next(stream(model, [1, 2, 3], 5))
        return model.read

    check.equal(read_before_the_first, [3],
                "the numbers of tokens that the model reads before it yields the first one",
                cause="yield each token at once, in its own round: a reader sees the text as it"
                " grows")
    check.equal(lambda: [np.shape(token) for token in stream(Oracle(), [[1, 2], [3, 4]], 2)],
                [(2,), (2,)], "the shapes of the tokens for two prompts",
                cause="yield the tokens (B,) that choose_token returns")
    greedy = {"temperature": 0.0}
    check.equal(lambda: generate(Oracle(), [1, 2, 3], 1, **greedy),
                lambda: by_hand([[1, 2, 3]], 1, **greedy)[0],
                "the prompt and the likeliest first token",
                cause="at first, the whole prompt is unread")
    check.equal(lambda: generate(Oracle(), [1, 2, 3], 4, **greedy),
                lambda: by_hand([[1, 2, 3]], 4, **greedy)[0],
                "the prompt and the four likeliest tokens",
                cause="append each new token to the window; with caches, only it is unread")
    check.equal(lambda: read_in(4), [3, 1, 1, 1],
                "the number of tokens that the model reads in each of 4 rounds",
                cause="with caches, each token passes through the model once: only the new one is"
                " unread")
    check.equal(lambda: generate(Oracle(), [1, 2, 3], 20, **greedy),
                lambda: by_hand([[1, 2, 3]], 20, **greedy)[0], "20 tokens with a context of 7",
                cause="a full window keeps its newer limit // 2 tokens, here 3, before the new"
                " token is appended; create new caches, and all 4 are unread")
    check.equal(lambda: read_in(11), [3, 1, 1, 1, 1, 4, 1, 1, 1, 4, 1],
                "the number of tokens that the model reads in each of 11 rounds, with a context of"
                " 7",
                cause="only when the window was full is all of it read again")
    for limit in (1, 2, 8):
        check.equal(lambda: generate(Oracle(limit), [1], 20, **greedy),
                    lambda: by_hand([[1]], 20, limit, **greedy)[0],
                    f"20 tokens with a context of {limit}",
                    cause="keep limit // 2 tokens: window[:, limit - limit // 2 :]. With a context"
                    " of 1 that is none, but window[:, -0:] would be all")
    long = [[int(n) for n in row] for row in np.random.default_rng(0).integers(0, 13, (2, 17))]
    check.equal(lambda: generate(Oracle(), long, 9, **greedy), lambda: by_hand(long, 9, **greedy),
                "9 tokens after two prompts of 17, with a context of 7",
                cause="the window starts with the newest limit tokens of the prompt: window[:,"
                " -limit:]")
    check.equal(lambda: read_in(3, long[0]), [7, 4, 1],
                "the number of tokens that the model reads after a prompt of 17",
                cause="the window starts with the newest limit tokens of the prompt: window[:,"
                " -limit:]")
    check.equal(lambda: generate(Oracle(), [1, 2, 3], 20, use_cache=False, **greedy),
                lambda: by_hand([[1, 2, 3]], 20, **greedy)[0], "20 tokens without a cache",
                cause="without a cache, the whole window is unread in each round")
    check.equal(lambda: read_in(8, use_cache=False), [3, 4, 5, 6, 7, 4, 5, 6],
                "the number of tokens that the model reads in each of 8 rounds without a cache",
                cause="without a cache, the whole window is unread in each round")
    check.equal(lambda: generate(Oracle(), long, 9, use_cache=False, **greedy),
                lambda: by_hand(long, 9, **greedy),
                "9 tokens after two prompts of 17 without a cache",
                cause="the window starts with the newest limit tokens of the prompt: window[:,"
                " -limit:]")
    for settings in ({}, {"temperature": 2.0}, {"top_k": 2}, {"top_p": 0.5}):
        check.equal(lambda: generate(Oracle(), [[1], [2]], 12, seed=9, **settings),
                    lambda: by_hand([[1], [2]], 12, seed=9, **settings),
                    f"12 sampled tokens of two texts, with {settings or 'no settings'}",
                    cause="choose_token(logits, *choice, rng=rng), once in each round")

    # Texts that end: the greedy tokens of four prompts do not depend on one another.
    prompts, count = [[1, 2], [3, 4], [5, 6], [7, 8]], 12

    def ended(stop_tokens: list[int], rows: Any) -> list[list[int]]:
        """The new tokens of these rows: each repeats its first stop token; all end together."""
        free = [text[2:] for text in by_hand([prompts[row] for row in rows], count, **greedy)]
        at = [next((i for i, t in enumerate(row) if t in stop_tokens), count) for row in free]
        length = min(count, max(at) + 1)
        return [
            [*row[: end + 1], *[row[min(end, count - 1)]] * count][:length]
            for row, end in zip(free, at, strict=True)
        ]

    def written(stop_token: Any, rows: Any = (0, 1, 2, 3), **settings: Any) -> list[list[int]]:
        given = [prompts[row] for row in rows]
        tokens = stream(Oracle(), given, count, stop_token=stop_token, **greedy, **settings)
        return np.stack(list(tokens), axis=1).tolist()

    first = check.call(lambda: [text[2:] for text in by_hand(prompts, count, **greedy)],
                       "the greedy texts",
                       cause="first solve exercise 13.6")
    stop = check.call(lambda: first[0][4], "a token of the first text", cause="as above")
    check.equal(lambda: written(stop, [0]), lambda: ended([stop], [0]), "a text with a stop token",
                cause="yield the stop token too, then return")
    check.equal(lambda: written(stop, [0], use_cache=False), lambda: ended([stop], [0]),
                "a text with a stop token, without a cache",
                cause="yield the stop token too, then return")
    several = check.call(lambda: [first[0][1], first[1][3], first[2][5], first[3][2]],
                         "a token of each text",
                         cause="as above")
    check.equal(lambda: written(several[:1]), lambda: ended(several[:1], range(4)),
                "four texts, of which not all find the stop token",
                cause="go on until all rows are done (not any): a row that is done repeats its"
                " stop token")
    check.equal(lambda: written(several), lambda: ended(several, range(4)),
                "four texts that find different stop tokens at different times",
                cause="a row that is done repeats its own last token, and stays done; when all are"
                " done, yield, then return")
    check.equal(lambda: written([1, 2], [0]), lambda: ended([1, 2], [0]),
                "a text whose prompt has the stop tokens",
                cause="stop tokens of the prompt do not count: at first, no row is done")
    check.equal(lambda: written([]), lambda: ended([], range(4)),
                "four texts with an empty list of stop tokens",
                cause="no row is done without a stop token")

    # Modes

    def conditions(use_cache: bool) -> set[Any]:
        model = Oracle()
        generate(model, [1, 2], 12, use_cache=use_cache)
        return model.conditions

    for use_cache in (True, False):
        check.equal(lambda: conditions(use_cache), {(False, False, not use_cache, "numpy")},
                    "what the model notices: (training mode, gradients, no caches, backend), with "
                    f"use_cache={use_cache}",
                    cause="compute the logits with _last_logits(model, model.backend, unread,"
                    " caches); caches are None without a cache")

    def modes(training: bool, end: str) -> set[Any]:
        """The modes of a model and of gradients, between two tokens and afterwards."""
        model = Oracle(fails_at=4 if end == "an error" else -1)
        model.train(training).dropout.train()  # each module keeps its own mode
        seen = set()
        tokens = stream(model, [1, 2], 9)
        try:
            for index, _ in enumerate(tokens):
                seen.add((model.training, model.dropout.training, is_grad_enabled()))
                if index == 2 and end == "a break":
                    break
        except ArithmeticError:
            pass
        return {*seen, (model.training, model.dropout.training, is_grad_enabled())}

    for training in (True, False):
        for end in ("the last token", "a break", "an error"):
            check.equal(lambda: modes(training, end), {(training, True, True)},
                        "the modes (training, of dropout, gradients) between two tokens and after "
                        f"{end}, for a model in {'training' if training else 'evaluation'} mode",
                        cause="leave the modes alone: only _last_logits changes them, for one call")

    class OnReference(Oracle):
        backend = backends.get("reference")

    def elsewhere() -> set[Any]:
        model = OnReference()
        generate(model, [1, 2], 3)
        return model.conditions

    check.equal(elsewhere, {(False, False, False, "reference")},
                "what a model on another backend notices",
                cause="pass model.backend to _last_logits")
    check.equal(lambda: [
                    generate(randomised(GPT(13, 16, 2, 2, 8, init="zero")), [[1, 2], [3, 4]], 20, seed=5,
                             use_cache=use_cache).tolist()[0][:2] for use_cache in (True, False)
                ],
                [[1, 2], [1, 2]], "the first tokens of a GPT's texts",
                cause="generate returns the prompt, then the new tokens")
# fmt: on

# %% [markdown]
# ## Train it
#
# A small made-up language: a few words, combined by rules. A sentence has two clauses; in the
# second, the two nouns have exchanged their roles. Can GPT learn the rules? With the tokenizer of
# lesson 10, each word becomes one token, so a sentence has 14.

# %%
import re

from tinytorch.dataloader import TokenDataset
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import AdamW
from tinytorch.tokenization import BPETokenizer
from tinytorch.training import CosineSchedule, Trainer

rng = np.random.default_rng(0)
NOUNS, VERBS = ["king", "queen", "fool", "ghost"], ["sees", "fears", "loves", "mocks"]


def sentence() -> str:
    """Two clauses, the second with the roles exchanged: its nouns depend on the first clause."""
    a, b = rng.choice(NOUNS, 2, replace=False)
    v, w = rng.choice(VERBS, 2)
    return f"the {a} {v} the {b}, and the {b} {w} the {a}.\n"


noun, verb = "|".join(NOUNS), "|".join(VERBS)
# (?!\1) is "another noun than the first", \2 and \1 are "the second, the first noun again".
RULES = re.compile(rf"the ({noun}) (?:{verb}) the (?!\1)({noun}), and the \2 (?:{verb}) the \1\.")

corpus = "".join(sentence() for _ in range(600))
print(corpus[:130])
tokenizer = BPETokenizer(300)
tokenizer.train(corpus)
data = TokenDataset(tokenizer.encode_array(corpus), block_size=28)

random.manual_seed(5)
model = GPT(tokenizer.vocab_size, embed_dim=32, num_layers=2, num_heads=4, max_seq_len=28,
            positions="rotary", init="zero")  # fmt: skip
print(f"{model.num_parameters():,} parameters, {tokenizer.vocab_size} different tokens")

# %%
END = tokenizer.encode("\n")


def write(count: int) -> list[str]:
    """Sentences of the model, each begun after the end of another."""
    texts = generate(model, [END] * count, 20, seed=1, stop_token=END).numpy()
    return [tokenizer.decode(text).strip() for text in texts]


steps = 1000
trainer = Trainer(model, AdamW(model.parameters(), lr=0.01), CrossEntropyLoss(),
                  CosineSchedule(0.01, 0.001, steps, warmup_steps=10), 1.0)  # fmt: skip
losses = []
for step in range(steps):
    losses.append(trainer.train_step([data.random_batch(16, rng)]).item())
    if step in (0, 100, 300, 600, 999):
        texts = write(200)
        right = sum(RULES.fullmatch(text) is not None for text in texts) / len(texts)
        print(f"step {step:3}, loss {losses[-1]:.2f}, {right:4.0%} by the rules: {texts[0]!r}")

# %% [markdown]
# The last sentences keep the rules nearly always. See how the loss fell: first the model learned the
# words and their order, within a hundred steps; from then on it guessed the nouns of the second
# clause. Only when it had learned to look them up did the loss fall again.
#
# It cannot fall to 0. Nothing determines the first noun (1 of 4), the second (1 of 3) and the two
# verbs: these four choices cost $3 \ln 4 + \ln 3 = 5.26$ per sentence, or 0.38 for each of its 14
# tokens (the dashed line). And when a block of 28 tokens starts within a sentence, the model does
# not see the noun that it should repeat.
#
# Does it look the last noun up, or guess well? Change the first noun of a prompt, and nothing else
# near its end, and see which noun it expects there:

# %%
nouns = [tokenizer.encode(f" {noun}")[0] for noun in NOUNS]
expected = []  # for each first noun: the probabilities of the four last ones
for first in NOUNS:
    second = "ghost" if first == "fool" else "fool"
    ids = tokenizer.encode(f"the {first} loves the {second}, and the {second} sees the")
    with no_grad():
        logits = model.eval()(Tensor([ids])).numpy()[0, -1]  # (V,), after the last "the"
    weights = np.exp(logits - logits.max())
    expected.append(weights[nouns] / weights.sum())

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
axes[0].plot(losses)
axes[0].axhline((3 * math.log(4) + math.log(3)) / 14, linestyle="--", color="gray")
axes[0].set(title="loss", xlabel="step", ylim=(0, 2))
axes[1].imshow(expected, cmap="viridis", vmin=0, vmax=1)
axes[1].set_xticks(range(4), NOUNS)
axes[1].set_yticks(range(4), NOUNS)
axes[1].set(title="probability of the last noun", xlabel="last noun", ylabel="first noun")
for (row, column), p in np.ndenumerate(expected):
    axes[1].text(
        column, row, f"{p:.2f}", ha="center", va="center", color="black" if p > 0.5 else "w"
    )
figure.tight_layout()
plt.show()

# %% [markdown]
# The diagonal is the first noun again, ten tokens later. Only attention moves anything from one
# token to another, so some head found it; nobody told the model where to look. Which head, and
# whether the last *the* reads the first noun itself or a word that has read it before, differs from
# run to run: `model.attention_weights(Tensor([ids]))` has the weights of each block, `(1, nh, T, T)`.
#
# ## What it costs
#
# A block has $4C^2$ parameters in attention (qkv 3, proj 1) and $8C^2$ in the MLP: $12 C^2$, times
# L. The tables and biases come on top. With all biases, learned positions and a tied head, GPT-2
# has $VC + TC + L(12C^2 + 13C) + 2C$ parameters:

# %%
from tinytorch.tinygpt.presets import PRESETS, build_model


def budget(V: int, T: int, C: int, L: int) -> dict[str, int]:
    """The parameters of GPT-2 by place: V tokens, T positions, width C, L blocks."""
    return {"tables": V * C + T * C, "attention": L * (4 * C * C + 4 * C),
            "MLPs": L * (8 * C * C + 5 * C), "norms": L * 4 * C + 2 * C}  # fmt: skip


counted = GPT(100, 24, 2, 3, 16, tie_weights=True).num_parameters()
print(f"the formula and a small GPT: {sum(budget(100, 16, 24, 2).values()):,} and {counted:,}")
print(
    f"TinyGPT, python milestones/tinygpt.py: {build_model(PRESETS['default'], 65).num_parameters():,}"
)
print("                C   L    parameters  tables attention MLPs   float32")
for name, C, L in (
    ("gpt2", 768, 12),
    ("gpt2-medium", 1024, 24),
    ("gpt2-large", 1280, 36),
    ("gpt2-xl", 1600, 48),
):
    parts = budget(50257, 1024, C, L)
    total = sum(parts.values())
    tables, attention, mlps = (
        f"{parts[part] / total:6.0%}" for part in ("tables", "attention", "MLPs")
    )
    print(
        f"{name:12} {C:5} {L:3} {total:13,}  {tables}  {attention} {mlps}  {4 * total / 1e9:5.1f} GB"
    )

# %% [markdown]
# The forward pass needs about two operations per token and parameter, and training three times as
# many. Count and measure:

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

# %% [markdown]
# Memory: training keeps the results of all ops for the backward pass, so it needs more with every
# block. Without gradients, a block's results are freed as soon as the next block has used them:

# %%
import tracemalloc

ids = Tensor(np.zeros((4, 128), np.int64))


def most_memory(net: GPT, gradients: bool) -> float:
    """Megabytes of results at most, in a forward pass."""
    with enable_grad() if gradients else no_grad():
        tracemalloc.start()
        net(ids)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most / 1e6


print("blocks  training  inference   (memory of results at most, for 4 x 128 tokens)")
for L in (2, 4, 8):
    net = GPT(65, 64, L, 4, 128, positions="rotary")
    print(f"{L:6} {most_memory(net, True):6.1f} MB {most_memory(net, False):7.1f} MB")

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
# 5. TinyGPT has 455,712 parameters, and the text has about 1.1 million characters. Will it memorise
#    the text?

# %% [markdown] instructor=true
# ### Answers, for the instructor
#
# 1. For given attention weights, the outputs are sums of linear maps of the inputs, so a stack
#    moves and mixes vectors, but computes nothing new from a single token. It is not linear
#    altogether: the weights depend on the input through the softmax, and LayerNorm divides.
# 2. The residual stream is a sum of many steps, and its scale grows with depth; the head should see
#    vectors of one scale. Every block normalises its own input, so none is needed after the
#    embedding (and it would cost the path of sums nothing to have one; some models do).
# 3. Its logits are nearly equal, so every token has the probability 1 / V, and -ln(1 / V) = ln V. A
#    larger loss at the start means logits that are too large: weights that start too large, or
#    targets that do not fit the ids.
# 4. As input: what the token means to what follows. As output: which vector of the last block makes
#    this token likely. Both gradients add up. (PyTorch and GPT-2 do the same.)
# 5. Hardly in one run: training sees each character a few times, and a parameter holds perhaps two
#    bits, while the text has about two bits per character that cannot be predicted: 0.9 against 2.2
#    million bits. But it starts to: after many epochs the validation loss rises while the training
#    loss falls. Half the points for "no, there are more characters than parameters".
#
# Rubric for each question: 2 points for the right answer with its reason, 1 without. Typical
# trouble: in 13.1 the two averages of the gradient (let them derive it for C = 2), in 13.3 the
# second step that starts from x, in 13.4 `past`, in 13.7 what is unread (let them play the table of
# rounds by hand, with the tokens on slips of paper).

# %% [markdown]
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
# - `tito milestone run 05`: the guided demo, three to five minutes
# - `python milestones/tinygpt.py`: the full program
#
# By default, faster kernels replace many of the ops. With the environment variable
# `TT_BACKEND=reference`, the ops run exactly as you wrote them, only more slowly.
