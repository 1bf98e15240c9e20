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
# # Lesson 04: Losses
#
# A network computes numbers. Is it right? Training needs **one** number that says how wrong the
# network is, small when it is nearly right and large when it is not: the **loss**. All that
# training does is to make this number smaller, so a network learns exactly what its loss rewards.
#
# | the network predicts | loss | exercises |
# |---|---|---|
# | a quantity, such as a price | mean squared error | 4.1 |
# | yes or no | binary cross entropy | 4.2, 4.3 |
# | one of V classes, such as the next character | cross entropy | 4.4 to 4.7 |
# | a whole text, one character after the other | perplexity | 4.8 |
#
# **You will build** three losses and perplexity.
#
# **You will learn**
#
# - how three losses measure errors, and which errors cost the most;
# - what a probability of zero does, and how to live with it;
# - why cross entropy is computed from scores (*logits*), and never as `log(softmax(x))`;
# - how padded targets are left out of a mean, and how perplexity compares models of text;
# - how much memory the loss of a large vocabulary needs.
#
# **Before you start**: tensors and ops from lesson 01, softmax from lesson 02, `Module` from lesson
# 03; the natural logarithm and `exp`.
#
# **Time**: about two hours, ten minutes per exercise and the rest for reading and experiments.

# %% setup=true
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytorch.arguments import ShapeError, check_integer
from tinytorch.backends.arrays import Array, Namespace
from tinytorch.modules.module import Module
from tinytorch.ops.op import op
from tinytorch.ops.operators import same_backend
from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise

# %% [markdown]
# ## The idea, by hand
#
# Letters for shapes: `N` examples, `V` classes.
#
# A network has scored three classes. Its scores, the **logits**, are `ln 1`, `ln 2` and `ln 5`, so
# that `exp` gives round numbers. Softmax divides by their sum, 8: the probabilities are 1/8, 2/8
# and 5/8. If class 2 is right, the network gave it 5/8, and the loss is `-ln(5/8) = 0.47`. If class
# 0 is right, the loss is `-ln(1/8) = 2.08`. Certain and right costs 0; certain and wrong costs
# without limit. (`ln` is the natural logarithm, which is called `log` in code.)

# %%
logits = np.log([[1.0, 2.0, 5.0], [1.0, 2.0, 5.0]])  # (N, V) = (2, 3)
targets = np.array([2, 0])  # (N,)
p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)  # (N, V)
one_hot = np.array([[0, 0, 1], [1, 0, 0]])  # (N, V): row n has a 1 in the column of its class
losses = -(one_hot * np.log(p)).sum(axis=1)  # (N,)
print("probabilities", p[0])
print("losses       ", losses.round(2), "  mean", losses.mean().round(2))

# %% [markdown]
# ## 4.1 Mean squared error
#
# For N quantities: subtract each target $t_n$ from its prediction $y_n$, square, take the mean.
#
# $$\frac{1}{N} \sum_n (y_n - t_n)^2$$
#
# By hand: the predictions 1, 2, 4 and the targets 0, 4, 7 have errors of 1, -2 and -3, squares of 1,
# 4 and 9, and a loss of 14/3. One error of 4 is as bad as sixteen errors of 1.
#
# The shapes must be **equal**. A prediction (4, 1) minus a target (4,) broadcasts to (4, 4), all
# pairs, and the network learns to predict the mean of the targets, without an error message. The
# given `_check_shapes` refuses that, and turns a target that is a list into a tensor.

# %% given="4.1"
from tinytorch.losses import _check_shapes, _tensors

# %% exercise="4.1" points=2
from tinytorch.losses import MSELoss

# MSELoss.forward:
#   _check_shapes("MSELoss", prediction, target) returns both as tensors of one shape: go on with
#   what it returns.
#   Then compute with tensors, as in lesson 01. The result is a scalar: the mean over all axes.

# %% test="4.1" points=2
# fmt: off
with Exercise("4.1", "MSELoss") as check:
    check.close(lambda: MSELoss()(Tensor([1.0, 2.0, 4.0]), Tensor([0.0, 4.0, 7.0])), 14 / 3,
                "the loss of [1, 2, 4] for the targets [0, 4, 7]",
                cause="the errors are 1, -2, -3; their squares 1, 4, 9; and the mean divides by 3")
    guess, wanted = np.random.default_rng(4).standard_normal((2, 2, 3, 5))
    check.close(lambda: MSELoss()(Tensor(guess), Tensor(wanted)), np.mean((guess - wanted) ** 2),
                "the loss of shapes (2, 3, 5)",
                cause="the mean over all axes: .mean() without an axis")
    check.equal(lambda: str(MSELoss()(Tensor(np.float32([1.5])), Tensor(np.float32([2.0]))).dtype),
                "float32", "the dtype of a loss of float32 tensors",
                cause="compute with the tensors, not with NumPy's float64")
    check.equal(lambda: MSELoss()(Tensor([1.5, 3.0]), [1, 1]), 2.125,
                "the loss for a list of targets",
                cause="use what _check_shapes returns: it turns the list into a tensor")
    check.equal(lambda: MSELoss()(Tensor([1.5], backend="reference"), [1.0]).backend.name,
                "reference", "the backend of the loss",
                cause="compute with the tensors, and create none")
    y, t = Tensor([1.5, 3.0]), Tensor([1.0, 1.0])
    check.call(lambda: MSELoss()(y, t), "the loss of [1.5, 3] for the targets [1, 1]",
               cause="the mean of the squares")
    check.equal(lambda: [y.tolist(), t.tolist()], [[1.5, 3.0], [1.0, 1.0]],
                "prediction and target afterwards",
                cause="prediction -= target would write into the caller's tensor: use -, not -=")
    for shape in ((4,), (1, 4), (1,)):
        check.raises(ValueError,
                     lambda: MSELoss()(Tensor(np.zeros((4, 1))), Tensor(np.zeros(shape))),
                     message="MSELoss needs", what=f"a prediction (4, 1) and a target {shape}",
                     cause='these broadcast, so call _check_shapes("MSELoss", prediction, target)')
# fmt: on

# %% [markdown]
# A **loss landscape** is the loss as a function of the network's weights. Here the network is a
# line, `w * x + b`, for data that scatters around `2 * x + 1`. Each point of the map is one line,
# judged by your code: the two lines on the left are the two dots on the right. Training walks
# downhill on such a map, usually one with millions of axes.

# %%
import matplotlib.pyplot as plt

rng = np.random.default_rng(0)
x = rng.uniform(-1, 2, 30)
y = 2 * x + 1 + 0.3 * rng.standard_normal(30)
W, B = np.linspace(-1, 5, 41), np.linspace(-2, 4, 41)
heights = np.array([[MSELoss()(Tensor(w * x + b), Tensor(y)).item() for w in W] for b in B])
best_b, best_w = np.unravel_index(heights.argmin(), heights.shape)

figure, axes = plt.subplots(1, 2, figsize=(10, 3.8))
axes[0].plot(x, y, ".", color="gray", label="data")
shown = axes[1].contourf(W, B, np.log10(heights), levels=16)
figure.colorbar(shown)
for color, w, b in (("orange", W[best_w], B[best_b]), ("red", 0.0, 3.0)):
    loss = MSELoss()(Tensor(w * x + b), Tensor(y)).item()
    axes[0].plot([-1, 2], [b - w, b + 2 * w], color, label=f"w={w:.2f}, b={b:.2f}: loss {loss:.2f}")
    axes[1].plot(w, b, "o", color=color, markeredgecolor="white", markersize=9)
axes[0].legend()
axes[0].set(xlabel="x", ylabel="y", title="the best line, and a poor one")
axes[1].set(xlabel="w", ylabel="b", title="log10 of the loss of all lines")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 4.2 Binary cross entropy
#
# For yes or no, the network gives a probability `p` of yes (a sigmoid, lesson 02), and the target
# `t` is 1 or 0. The loss is minus the logarithm of the probability of what happened. One of the two
# terms is always multiplied by 0:
#
# $$-\left(t \ln p + (1 - t) \ln (1 - p)\right)$$
#
# By hand: `p = 0.25` and `t = 0` cost `-ln 0.75 = 0.29`, but `t = 1` costs `-ln 0.25 = 1.39`.
#
# **What does a probability of zero do?** Here the network is nearly right once, and then exactly 0
# twice: first wrong, then right.

# %%
p, t = np.array([0.9, 0.0, 0.0]), np.array([1.0, 1.0, 0.0])
with np.errstate(all="ignore"):
    losses = -(t * np.log(p) + (1 - t) * np.log(1 - p))
print("losses", losses.round(2), "  mean", losses.mean())

# %% [markdown]
# `ln 0` is minus infinity, and one such example destroys the mean of all. The right answer fares
# even worse: its loss should be 0, but `0 * -inf` is NaN.
#
# PyTorch limits each **logarithm** to at least -100, and so do we. Then the losses are 0.11, 100
# and 0. (Limiting `p`, say to 1e-7, is common too, but it hides differences between small
# probabilities.)
#
# Reminder: an op computes with arrays, `xp` is their library, and it returns the result and a tuple
# of what its gradient will need. `promote="float"` converts integers before your code sees them. The
# gradients of this lesson are given.

# %% exercise="4.2" points=4
from tinytorch.losses import binary_cross_entropy

# binary_cross_entropy:
#   xp.log(p) and xp.log(1 - p) are the two logarithms. xp.maximum(a, b) takes two arrays: compare
#   with an array of -100, xp.full_like(p, -100.0).
#   Insert both into the formula. The mean: xp.sum, divided by p.size.
#   Save p and target, for the gradient.

# %% test="4.2" points=4
# fmt: off
with Exercise("4.2", "binary_cross_entropy") as check:
    FORMULA = "-(t log p + (1 - t) log(1 - p)), and the mean over all elements"
    check.close(lambda: binary_cross_entropy(Tensor([0.25]), Tensor([0.0])), -math.log(0.75),
                "the loss of p = 0.25 for t = 0",
                cause="if t is 0, it is -log(1 - p), above 0; xp.maximum keeps logarithms above -100")
    check.close(lambda: binary_cross_entropy(Tensor([0.25]), Tensor([1.0])), -math.log(0.25),
                "the loss of p = 0.25 for t = 1",
                cause="if t is 1, it is -log(p), above 0; log is xp.log")
    rng = np.random.default_rng(42)
    for shape in ((3,), (2, 5), (2, 3, 4)):
        chance, soft = rng.uniform(0.05, 0.95, shape), rng.uniform(0, 1, shape)
        for name, t in (("0 or 1", np.round(soft)), ("between 0 and 1", soft)):
            expected = -np.mean(t * np.log(chance) + (1 - t) * np.log(1 - chance))
            check.close(lambda: binary_cross_entropy(Tensor(chance), Tensor(t)), expected,
                        f"the loss of shape {shape}, targets {name}",
                        cause=FORMULA)
    for p, t, expected in (
        (0.0, 1.0, 100), (1.0, 0.0, 100), (0.0, 0.0, 0), (1.0, 1.0, 0), (0.0, 0.5, 50), (1e-60, 1.0, 100),
    ):
        check.close(lambda: binary_cross_entropy(Tensor([p]), Tensor([t])), expected,
                    f"the loss of p = {p} for t = {t}",
                    cause="limit both logarithms to at least -100, before multiplying")
    p, t = Tensor([0.0, 1.0, 0.5]), Tensor([1.0, 0.0, 0.5])
    check.call(lambda: binary_cross_entropy(p, t), "the loss of p = 0, 1 and 0.5", cause="return two things")
    check.equal(lambda: [p, t], [[0.0, 1.0, 0.5], [1.0, 0.0, 0.5]], "p and t afterwards",
                cause="do not write into them: limit the logarithms with xp.maximum, which returns a new array")
    check.close(lambda: binary_cross_entropy(Tensor([1e-30]), Tensor([1.0])), 30 * math.log(10),
                "the loss of p = 1e-30 for t = 1",
                cause="limit the logarithm, not p: only logarithms below -100 change")
    for p, reason in (
        (math.nan, "xp.maximum keeps NaN; comparisons with NaN are false"),
        (1.5, "the logarithm of a negative number is NaN: limit the logarithms, not p or 1 - p"),
        (-0.5, "the logarithm of a negative number is NaN: limit the logarithms, not p or 1 - p"),
    ):
        check.true(lambda: math.isnan(binary_cross_entropy(Tensor([p, 0.5]), Tensor([1.0, 1.0])).item()),
                   f"the loss of p = {p} is NaN", cause=reason)
    check.equal(lambda: str(binary_cross_entropy(Tensor(np.float32([0.5])), Tensor([1])).dtype),
                "float32", "the dtype for float32 probabilities",
                cause="xp.full_like(p, -100.0) has the dtype of p")
    xp = Tensor(0.0).backend.xp
    p, t = np.array([[0.2, 0.9]]), np.array([[1.0, 0.0]])
    _, saved = check.call(lambda: binary_cross_entropy.forward(xp, p, t),
                          "the result, and what the gradient needs", count=2,
                          cause="return two things: the mean, and the tuple (p, target)")
    check.equal(lambda: list(saved), [[[0.2, 0.9]], [[1.0, 0.0]]], "what the gradient needs",
                cause="save (p, target), in this order, and do not change them")
# fmt: on

# %% [markdown]
# The limit is far away: it changes only probabilities below 4e-44. With a limit of `p`, all of
# the last three would cost the same.

# %%
print("      p    -ln(p)   p limited to 1e-7    yours")
for p in (0.5, 1e-3, 1e-9, 1e-30, 0.0):
    with np.errstate(divide="ignore"):
        plain, limited = -np.log(p), -np.log(max(p, 1e-7))
    loss = binary_cross_entropy(Tensor([p]), Tensor([1.0])).item()
    print(f"{p:7.0e}  {plain:8.2f}  {limited:18.2f}  {loss:7.2f}")

# %% [markdown]
# Both losses of one example, drawn by your code, as functions of the network's score x, where `p`
# is the sigmoid of x. The squared error is at most 1, and flat where the network is certain and
# wrong, where it most needs a push. Cross entropy is steep there.

# %%
x = np.linspace(-6, 6, 100)
chances = 1 / (1 + np.exp(-x))
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True)
for axis, t in zip(axes, (1.0, 0.0), strict=True):
    for name, function in {
        "cross entropy": binary_cross_entropy,
        "squared error": MSELoss(),
    }.items():
        losses = [function(Tensor([p]), Tensor([t])).item() for p in chances]
        axis.plot(x, losses, label=name)
    axis.set(xlabel="score x", title=f"target {t:.0f}")
    axis.legend()
axes[0].set_ylabel("loss")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 4.3 The module BinaryCrossEntropyLoss
#
# Modules check what they are given. The usual mistake of users is to pass scores, such as 3.2,
# where probabilities are needed; the given `check_probabilities` raises an error then. (In the
# docstrings of this lesson, a *device* is a GPU, and the *host* the processor that gives it work: to
# look at a number there, the host must wait for the GPU.)

# %% given="4.3"
from tinytorch.losses import check_probabilities

# %% exercise="4.3" points=2
from tinytorch.losses import BinaryCrossEntropyLoss

# BinaryCrossEntropyLoss.forward:
#   Check the shapes as in 4.1, with the name "BinaryCrossEntropyLoss".
#   check_probabilities(name, "predictions", prediction), and the same for the "targets".
#   Then apply the op.

# %% test="4.3" points=2
# fmt: off
with Exercise("4.3", "BinaryCrossEntropyLoss") as check:
    check.close(lambda: BinaryCrossEntropyLoss()(Tensor([0.25, 0.9, 0.4]), Tensor([0.0, 1.0, 0.3])),
                -(math.log(0.75) + math.log(0.9) + 0.3 * math.log(0.4) + 0.7 * math.log(0.6)) / 3,
                "the loss of [0.25, 0.9, 0.4] for the targets [0, 1, 0.3]",
                cause="binary_cross_entropy(prediction, target), in this order")
    check.close(lambda: BinaryCrossEntropyLoss()(Tensor([0.25, 0.0, 1.0]), [0, 0, 1]),
                -math.log(0.75) / 3, "the loss for a list of targets",
                cause="use what _check_shapes returns; 0 and 1 are probabilities too")
    for p, t, name in (
        (1.5, 1.0, "predictions"), (-0.1, 0.0, "predictions"), (0.5, 2.0, "targets"), (0.5, -1.0, "targets"),
    ):
        check.raises(ValueError, lambda: BinaryCrossEntropyLoss()(Tensor([p]), Tensor([t])),
                     f"p = {p} and t = {t}", message=f"BinaryCrossEntropyLoss needs {name}",
                     cause=f'check_probabilities("BinaryCrossEntropyLoss", "{name}", ...), before the op')
    check.raises(ValueError,
                 lambda: BinaryCrossEntropyLoss()(Tensor([[0.5], [0.5]]), Tensor([1.0, 0.0])),
                 "shapes (2, 1) and (2,)", message="BinaryCrossEntropyLoss needs",
                 cause='call _check_shapes first, with the name "BinaryCrossEntropyLoss"')
    check.equal(lambda: BinaryCrossEntropyLoss()(Tensor([0.5], backend="reference"), [1]).backend.name,
                "reference", "the backend of the loss",
                cause="return what the op returns: a tensor; .item() and NumPy lose it, and later the gradient")
# fmt: on

# %% [markdown]
# ## 4.4 Logarithms of probabilities
#
# For V classes, the loss needs the logarithms of softmax. Computing softmax first and its logarithm
# afterwards fails twice: `exp` of a large score is infinite, and a small probability is rounded to
# 0, whose logarithm is minus infinity.

# %%
scores = np.array([[1000.0, 1001.0, 0.0], [0.0, -200.0, 1.0]], np.float32)
with np.errstate(all="ignore"):
    e = np.exp(scores)
    print(np.log(e / e.sum(axis=1, keepdims=True)))

# %% [markdown]
# Write the logarithm of the fraction as a difference, and both problems disappear:
#
# $$\ln \frac{e^{x_i}}{\sum_j e^{x_j}} = (x_i - m) - \ln \sum_j e^{x_j - m}$$
#
# This holds for every number $m$, as $e^{m}$ cancels. With the largest score of the row as $m$, no
# exponential exceeds 1, and one of them is exactly 1, so the logarithm is of a number between 1 and
# V. This is the *log-sum-exp trick*.
#
# By hand, for the first row above: m = 1001, and the shifted scores are -1, 0 and -1001. Their
# exponentials are 0.37, 1 and 0, together 1.37, and `ln 1.37 = 0.31`. The results are -1.31, -0.31
# and -1001.31.
#
# (Lesson 02's `log_softmax` is this function as an op, for any axis. Here you need it for rows of
# arrays, as one step inside of an op.)

# %% exercise="4.4" points=3
from tinytorch.losses import log_probabilities

# log_probabilities:
#   Each row has its own maximum: axis=-1, and keepdims=True so that (N, 1) broadcasts over (N, V).
#   Subtract it once, and use the shifted scores in both places of the formula.

# %% test="4.4" points=3
# fmt: off
with Exercise("4.4", "log_probabilities") as check:
    xp = Tensor(0.0).backend.xp
    check.close(lambda: log_probabilities(xp, np.log([[1.0, 2.0, 5.0]])),
                np.log([[1 / 8, 2 / 8, 5 / 8]]), "log probabilities of the scores ln 1, ln 2, ln 5",
                cause="x - m - log(sum(exp(x - m))), where m is the row's maximum")
    rows = np.random.default_rng(44).standard_normal((4, 3)) * 2  # N = 4, V = 3
    check.close(lambda: log_probabilities(xp, rows),
                rows - np.log(np.exp(rows).sum(axis=1, keepdims=True)),
                "the values for rows (4, 3)",
                cause="sum over the classes, axis=-1, with keepdims=True")
    apart = np.array([[900.0], [-900.0], [3.0], [0.0]]) + rows
    check.close(lambda: log_probabilities(xp, apart),
                rows - np.log(np.exp(rows).sum(axis=1, keepdims=True)),
                "rows with scores near 900 and near -900",
                cause="subtract the maximum of each row before exp: not that of the whole array, nor after")
    check.close(lambda: log_probabilities(xp, np.float32([[0.0, -200.0, -300.0]])),
                [[0.0, -200.0, -300.0]], "scores 0, -200, -300 in float32",
                cause="do not take the logarithm of each probability: exp(-200) is 0 in float32; and limit nothing")
    check.equal(lambda: str(log_probabilities(xp, np.float32([[1.0, 2.0]])).dtype), "float32",
                "the dtype of float32 scores",
                cause="compute with xp's functions only")
    scores_before = np.array([[3.0, 1.0, 2.0]])
    check.call(lambda: log_probabilities(xp, scores_before), "the values for the scores 3, 1, 2",
               cause="subtract the maximum, 3")
    check.equal(lambda: scores_before, [[3.0, 1.0, 2.0]], "the scores 3, 1, 2 afterwards",
                cause="rows -= ... would write into the caller's array: use -, not -=")
    check.close(lambda: np.exp(log_probabilities(xp, np.array([[0.0, -math.inf, 0.0]]))),
                [[0.5, 0.0, 0.5]], "exp of the values for the scores 0, -inf, 0",
                cause="a score of -inf is a class of probability 0: exp(-inf - m) is 0")
# fmt: on

# %% [markdown]
# The scores from above, in your hands. `xp` is NumPy here:

# %%
for row in log_probabilities(np, scores):
    print(*(f"{value:9.2f}" for value in row))

# %% [markdown]
# ## 4.5 Targets as rows
#
# Targets are class numbers. To pick the log probability of each target, compare it with all class
# numbers: this gives a **one-hot** row.
#
# Some targets must not count: sentences of a batch have different lengths, and the shorter ones are
# padded with a number that is no class, -100 by default. Their rows are zero, and a second array
# says which targets count.
#
# | targets, V = 3 | one-hot rows, `hit` | `counted` |
# |---|---|---|
# | 2 | 0 0 1 | 1 |
# | -100 | 0 0 0 | 0 |
# | 0 | 1 0 0 | 1 |
#
# The given `look_up_classes` returns the class numbers, with 0 in place of those that do not count. It
# raises an error if a class that counts does not exist.

# %% given="4.5"
from tinytorch.losses import look_up_classes

# %% exercise="4.5" points=4
from tinytorch.losses import one_hot_targets

# one_hot_targets:
#   Targets have any shape: reshape them to (N, 1), where N is targets.size, and cast them with
#   xp.astype(array, xp.int64).
#   Find out which of them count. look_up_classes(xp, classes, counted, V) takes these booleans.
#   Compare its result with xp.arange(V): (N, 1) and (V,) broadcast to a table.
#   A target that does not count has a row of zeros, also if ignore_index is a class: & is "and".
#   Cast both results to the argument dtype.

# %% test="4.5" points=4
# fmt: off
with Exercise("4.5", "one_hot_targets") as check:
    xp = Tensor(0.0).backend.xp
    hit, counted = check.call(lambda: one_hot_targets(xp, np.array([2, 1]), 3, -100, xp.float32),
                              "the targets 2 and 1", count=2,
                              cause="reshape the targets to (N, 1), combine booleans with &, and return two arrays:"
                              " the one-hot rows, and which targets count")
    check.equal(lambda: hit, [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]], "the rows of the targets 2 and 1",
                cause="row n has a 1 in the column of its class: compare classes (N, 1) with"
                " xp.arange(V)")
    hit, counted = check.call(lambda: one_hot_targets(xp, np.array([2, -100, 0]), 3, -100, xp.float32),
                              "the targets 2, -100, 0", count=2,
                              cause="compare with ignore_index first, and give look_up_classes the result")
    check.equal(lambda: hit, [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]],
                "the rows of the targets 2, -100, 0",
                cause="the row of a target that does not count has no 1, and the others one: hit & counted")
    check.equal(lambda: counted, [[1.0], [0.0], [1.0]], "which of the targets 2, -100, 0 count",
                cause="those that differ from ignore_index, with the shape (N, 1)")
    check.equal(lambda: (str(hit.dtype), str(counted.dtype)), ("float32", "float32"), "the dtypes",
                cause="cast both with xp.astype(..., dtype), the argument")
    many = np.array([[1, 4, 0, 1], [3, 1, 1, 2]])
    for ignored in (-100, 1, 0):
        hit, counted = check.call(lambda: one_hot_targets(xp, many, 5, ignored, xp.float64),
                                  f"targets (2, 4), ignore_index={ignored}", count=2,
                                  cause="reshape the targets to (N, 1), N = targets.size")
        keep = (many != ignored).reshape(8, 1)
        check.equal(lambda: hit, np.eye(5)[many.reshape(8)] * keep,
                    f"the rows of targets (2, 4), ignore_index={ignored}",
                    cause="rows (8, 5); a target equal to ignore_index has a row of zeros, even"
                    " if it is a class")
        check.equal(lambda: counted, keep * 1.0,
                    f"which of targets (2, 4) count, ignore_index={ignored}",
                    cause="compare with ignore_index")
        check.equal(lambda: str(hit.dtype), "float64", "the dtype of the rows for dtype=float64",
                    cause="cast to the argument dtype")
    check.equal(lambda: many, [[1, 4, 0, 1], [3, 1, 1, 2]], "the targets afterwards",
                cause="do not write into them, use xp.where: they belong to the caller")
    check.equal(lambda: one_hot_targets(xp, np.array(1), 2, -100, xp.float32)[0], [[0.0, 1.0]],
                "the row of a single target",
                cause="a target of shape () is one row: N = targets.size")
    check.equal(lambda: one_hot_targets(xp, np.array([1, 0], np.uint8), 2, -100, xp.float32)[0],
                [[0.0, 1.0], [1.0, 0.0]], "targets of dtype uint8",
                cause="cast the targets to xp.int64, before comparing with -100")
    for wrong, ignored in ((3, -100), (-1, -100), (-100, -1)):
        check.raises(IndexError,
                     lambda: one_hot_targets(xp, np.array([0, wrong]), 3, ignored, xp.float32),
                     message="outside of the 3 classes",
                     what=f"target {wrong} of 3 classes, ignore_index={ignored}",
                     cause="compare with the classes from look_up_classes, which checks them")
# fmt: on

# %% [markdown]
# ## 4.6 Cross entropy
#
# Both parts together: the mean of `-log_p` at the targets, over those that count.
#
# $$-\frac{\sum_n c_n \ln p_n[t_n]}{\sum_n c_n}, \qquad c_n = 1 \text{ if target } n
#   \text{ counts, else } 0$$
#
# If none counts, this is 0 / 0, NaN, as in PyTorch.
#
# Again a probability of zero is a trap. A class with the score -inf has `log_p = -inf`. The product of
# the one-hot rows and `log_p` contains `0 * -inf = NaN` then, even if that class is not the target.
# `xp.where` picks, and does not multiply.
#
# In the first line, `keep` says that the targets stay integers when `promote` converts the logits.

# %% exercise="4.6" points=4
from tinytorch.losses import cross_entropy

# cross_entropy:
#   Logits (..., V) become rows (N, V), N = targets.size. Exercises 4.4 and 4.5 do the rest:
#   one_hot_targets takes the dtype of the logits.
#   xp.where(condition, a, b) takes two arrays: b is xp.zeros_like(log_p).
#   Divide by the number of targets that count, xp.sum(counted).
#   Save four things for the gradient: log_p, the one-hot rows, counted, and the shape of the logits.

# %% test="4.6" points=4
# fmt: off
with Exercise("4.6", "cross_entropy") as check:
    by_hand = np.log([[1.0, 2.0, 5.0], [1.0, 2.0, 5.0]])
    check.close(lambda: cross_entropy(Tensor(by_hand), Tensor([2, 0])),
                (math.log(8 / 5) + math.log(8)) / 2, "the loss of the example by hand",
                cause="the mean of -log_p at the targets: 0.47 and 2.08")
    rng = np.random.default_rng(46)
    for shape in ((4,), (2, 3), (2, 3, 2), ()):
        scores, classes = rng.standard_normal((*shape, 5)) * 2, rng.integers(0, 5, shape)
        flat, right = scores.reshape(-1, 5), classes.reshape(-1)
        each = np.log(np.exp(flat).sum(axis=1)) - flat[np.arange(len(flat)), right]
        check.close(lambda: cross_entropy(Tensor(scores), Tensor(classes)), each.mean(),
                    f"the loss of logits {(*shape, 5)}",
                    cause="reshape the logits to (N, V); divide by the number of targets")
        for ignored in (int(classes.flat[0]), 1):
            keep = right != ignored
            if keep.any():
                check.close(lambda: cross_entropy(Tensor(scores), Tensor(classes), ignore_index=ignored),
                            each[keep].mean(),
                            f"the loss of logits {(*shape, 5)}, ignore_index={ignored}",
                            cause="hand on ignore_index; divide by the number of targets that count")
    check.close(lambda: cross_entropy(Tensor(np.float32([[1e4, 0.0, 2.0]])), Tensor([1])), 1e4,
                "the loss of the logits 10000, 0, 2 for class 1",
                cause="use log_probabilities of exercise 4.4")
    check.close(lambda: cross_entropy(Tensor([[0.0, -math.inf, 0.0]]), Tensor([2])), math.log(2),
                "the loss with a score of -inf for another class",
                cause="0 * -inf is NaN: pick with xp.where instead of multiplying")
    check.equal(lambda: cross_entropy(Tensor([[0.0, -math.inf]]), Tensor([1])), math.inf,
                "the loss with a score of -inf for the target",
                cause="a probability of 0 for what happened costs infinity: limit nothing")
    check.close(lambda: cross_entropy(Tensor(by_hand), Tensor([2, -100])), math.log(8 / 5),
                "the loss with the second target -100",
                cause="ignore_index is -100 by default")
    check.true(lambda: math.isnan(cross_entropy(Tensor(by_hand), Tensor([-100, -100])).item()),
               "without any target, the loss is NaN",
               cause="divide by the number of targets that count, also if it is 0")
    check.equal(lambda: str(cross_entropy(Tensor(by_hand.astype(np.float32)), Tensor([2, 0])).dtype),
                "float32", "the dtype of the loss",
                cause="one_hot_targets(..., logits.dtype)")
    xp = Tensor(0.0).backend.xp
    scores, classes = np.array([[[0.0, 1.0, 3.0], [2.0, 0.0, 1.0]]]), np.array([[1, -100]])
    _, saved = check.call(lambda: cross_entropy.forward(xp, scores, classes),
                          "the result, and what the gradient needs", count=2,
                          cause="return two things: the mean, and a tuple of four")
    check.call(lambda: saved, "what the gradient needs", count=4,
               cause="the tuple (log_p, hit, counted, logits.shape)")
    check.close(lambda: saved[0][:, 1],
                [1.0 - np.log(np.exp([0.0, 1.0, 3.0]).sum()), -np.log(np.exp([2.0, 0.0, 1.0]).sum())],
                "log_p of class 1, saved first",
                cause="save log_p (N, V) first")
    check.equal(lambda: saved[1], [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]],
                "the one-hot rows, saved second",
                cause="(log_p, hit, counted, logits.shape)")
    check.equal(lambda: saved[2], [[1.0], [0.0]], "which targets count, saved third",
                cause="(log_p, hit, counted, logits.shape)")
    check.equal(lambda: tuple(saved[3]), (1, 2, 3), "the shape saved last",
                cause="the shape of the logits as they came, not of the rows")
    check.equal(lambda: [scores, classes], [[[[0.0, 1.0, 3.0], [2.0, 0.0, 1.0]]], [[1, -100]]],
                "logits and targets afterwards", cause="do not write into them: they belong to the caller")
# fmt: on

# %% [markdown]
# The landscape of one example with two classes, as a function of both logits, drawn by your code.
# The loss is the same along each diagonal: only **differences** of logits matter. It is never 0,
# and falls ever more slowly: there is always a little to gain by being more certain. On the other
# side it is nearly a straight line: there, one more point for the wrong class costs one more.

# %%
grid = np.linspace(-4, 4, 61)
target = Tensor([0])
heights = np.array([[cross_entropy(Tensor([[a, b]]), target).item() for a in grid] for b in grid])
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8))
shown = axes[0].contourf(grid, grid, heights, levels=16)
axes[0].set(xlabel="logit of class 0, the target", ylabel="logit of class 1", title="cross entropy")
figure.colorbar(shown)
for other in (0.0, 2.0):
    losses = [cross_entropy(Tensor([[a, other]]), target).item() for a in grid]
    axes[1].plot(grid, losses, label=f"logit of class 1: {other:.0f}")
axes[1].set(xlabel="logit of class 0, the target", ylabel="loss", title="two cuts")
axes[1].legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 4.7 The module CrossEntropyLoss
#
# The module stores `ignore_index`, and counts targets. The counts are needed to combine the means of
# two batches: one may be of 100 targets, and the other of 3.

# %% given="4.7"
from tinytorch.losses import _check_classes

# %% exercise="4.7" points=3
from tinytorch.losses import CrossEntropyLoss

# CrossEntropyLoss.__init__:
#   check_integer(name, value, lowest) raises an error if a value is not an integer, or too small.
#   The name is "CrossEntropyLoss: ignore_index", and the lowest value -(2**63), the smallest
#   int64. Store an int.
# CrossEntropyLoss.forward:
#   _check_classes(logits, targets) checks shapes and dtypes, and returns both as tensors.
#   Then apply the op; ignore_index is a keyword argument.
# CrossEntropyLoss.count_targets:
#   A comparison of a tensor gives a tensor of booleans, and .sum() counts them.

# %% test="4.7" points=3
# fmt: off
with Exercise("4.7", "CrossEntropyLoss") as check:
    by_hand = Tensor(np.log([[1.0, 2.0, 5.0], [1.0, 2.0, 5.0]]))
    check.equal(lambda: CrossEntropyLoss().ignore_index, -100, "ignore_index by default",
                cause="store the argument in self.ignore_index")
    check.close(lambda: CrossEntropyLoss()(by_hand, Tensor([2, 0])),
                (math.log(8 / 5) + math.log(8)) / 2, "the loss of the example by hand",
                cause="cross_entropy(logits, targets, ignore_index=self.ignore_index)")
    check.close(lambda: CrossEntropyLoss(0)(by_hand, [2, 0]), math.log(8 / 5),
                "the loss with ignore_index=0, for a list of targets",
                cause="hand on self.ignore_index, and the targets that _check_classes returns")
    check.close(lambda: CrossEntropyLoss()(by_hand, Tensor([-100, 0])), math.log(8),
                "the loss with the first target -100",
                cause="hand on self.ignore_index")
    check.equal(lambda: CrossEntropyLoss().count_targets(Tensor([[2, -100, 0], [0, -100, 1]])).item(),
                4, "the number of targets other than -100",
                cause="count the targets that differ from self.ignore_index")
    count = check.call(lambda: CrossEntropyLoss(0).count_targets(Tensor([[2, -100, 0], [0, 0, 1]])),
                       "a count",
                       cause="(targets != self.ignore_index).sum()")
    check.equal(lambda: count.shape, (), "the shape of the count",
                cause="sum over all axes")
    check.equal(lambda: count.item(), 3, "the number of targets other than 0",
                cause="compare with self.ignore_index, not with -100")
    check.true(lambda: isinstance(count, Tensor), "the count is a tensor",
               cause="return the tensor: reading its value would make a GPU wait")
    check.equal(lambda: str(count.dtype), "int64", "the dtype of the count",
                cause="the sum of booleans is an integer: no cast is necessary")
    check.equal(lambda: CrossEntropyLoss().count_targets(Tensor([1, 2], backend="reference")).backend.name,
                "reference", "the backend of the count", cause="compute with the tensor, and create none")
    check.equal(lambda: CrossEntropyLoss()(Tensor([[0.0, 0.0]], backend="reference"), [1]).backend.name,
                "reference", "the backend of the loss",
                cause="return what the op returns: a tensor; .item() and NumPy lose it, and later the gradient")
    for wrong in (1.5, "1", None):
        check.raises(TypeError, lambda: CrossEntropyLoss(wrong), f"ignore_index={wrong!r}",
                     message="CrossEntropyLoss: ignore_index",
                     cause='call check_integer with the name "CrossEntropyLoss: ignore_index"')
    check.equal(lambda: type(CrossEntropyLoss(np.int64(7)).ignore_index).__name__, "int",
                "the type of ignore_index=np.int64(7)",
                cause="store int(ignore_index)")
    check.equal(lambda: CrossEntropyLoss(-(2**63)).ignore_index, -(2**63),
                "the smallest ignore_index",
                cause="the lower limit is -(2**63)")
    check.raises(ValueError, lambda: CrossEntropyLoss(-(2**63) - 1),
                 "an ignore_index too small for int64", message="ignore_index",
                 cause="the lower limit is -(2**63), the smallest int64")
    for classes in ([2.0, 0.0], [[2, 0]], [2]):
        check.raises(ValueError, lambda: CrossEntropyLoss()(by_hand, Tensor(classes)),
                     f"logits (2, 3) and the targets {classes}", message="cross entropy needs",
                     cause="call _check_classes(logits, targets)")
# fmt: on

# %% [markdown]
# ## 4.8 Perplexity
#
# A cross entropy of 2.08 says little; `exp` of it says more. If a model gives each of V classes the
# same probability, its loss is `ln V`, and its **perplexity** `exp(ln V) = V`: it is as uncertain as
# a fair choice among V. Language models are compared this way. (The unit of a loss that is made of
# natural logarithms is called a *nat*; with logarithms to base 2, it would be a bit.)
#
# A text is judged in batches, and the mean over all targets is **not** the mean of the batches'
# means, if these have different numbers of targets. By hand: means of 1 and 4 over 3 and 1 targets
# give `(3 * 1 + 1 * 4) / 4 = 1.75`. Only this mean becomes a power: `exp(1.75) = 5.75`.

# %% exercise="4.8" points=2
from tinytorch.losses import perplexity

# perplexity:
#   Pair losses and counts with zip(..., strict=True), and drop the pairs whose count is 0: their
#   loss is NaN. If none is left, raise a ValueError that mentions the target.
#   Weight each loss by its count, divide by the number of all targets, and apply math.exp. It
#   raises an OverflowError if the result is too large for a float: return math.inf then.

# %% test="4.8" points=2
# fmt: off
with Exercise("4.8", "perplexity") as check:
    check.close(lambda: perplexity([math.log(10)], [7]), 10.0, "the perplexity of a loss of ln 10",
                cause="math.exp of the mean loss")
    check.true(lambda: isinstance(perplexity([1.0], [1]), float), "the perplexity is a float",
               cause="use math.exp")
    check.close(lambda: perplexity([0.0, 2.0], [1, 3]), math.exp(1.5), "the perplexity of means 0 and 2, over 1 and 3 targets",
                cause="a loss of 0 counts: ask whether the count is 0, not the loss")
    check.close(lambda: perplexity([1.0, 4.0], [3, 1]), math.exp(1.75),
                "the perplexity of means 1 and 4, over 3 and 1 targets",
                cause="exp((3 * 1 + 1 * 4) / 4): weight by the counts, and apply exp once, at the end")
    check.close(lambda: perplexity((0.5, math.nan, 2.0), (2, 0, 6)), math.exp(13 / 8),
                "the perplexity with a batch of no targets",
                cause="drop batches whose count is 0: 0 * NaN is NaN")
    check.true(lambda: math.isnan(perplexity([1.0, math.nan], [1, 2])),
               "the perplexity of a diverged model is NaN",
               cause="drop batches by their count, not by their loss")
    check.equal(lambda: perplexity([1000.0, 800.0], [2, 1]), math.inf,
                "the perplexity of losses of 1000 and 800",
                cause="math.exp raises an OverflowError above 709: catch it, and return math.inf")
    check.close(lambda: math.log(perplexity([709.0], [1])), 709.0,
                "the logarithm of the perplexity of a loss of 709",
                cause="exp(709) still is a number: return math.inf only for what overflows")
    for losses, counts in (([math.nan], [0]), ([], [])):
        check.raises(ValueError, lambda: perplexity(losses, counts),
                     f"losses {losses} and counts {counts}", message="target",
                     cause="without any target there is no mean: raise a ValueError that mentions the target")
    check.raises(ValueError, lambda: perplexity([1.0, 2.0], [3]), "two losses and one count",
                 cause="zip(losses, counts, strict=True)")
# fmt: on

# %% [markdown]
# ## Three models of English, without training
#
# Your loss can already judge models. The text is two chapters of Python's manual, which come with
# Python: the first 80 % are for counting, the rest is for judging. Each model is a table of logits,
# one row for each current character, one column for each following one:
#
# | model | logits |
# |---|---|
# | fair | zeros: every character is as likely as another |
# | frequencies | the logarithm of how often each character occurs, in all rows |
# | pairs | the logarithm of how often each character followed the current one |
#
# All counts start at 1. Otherwise a pair that was never seen would have a probability of zero, and
# the first one in the rest of the text would cost infinity.

# %%
from pydoc_data.topics import topics

text = " ".join((topics["types"] + topics["execmodel"]).split())
characters = sorted(set(text))
ids = np.array([characters.index(c) for c in text])
V, split = len(characters), len(ids) * 8 // 10
train, test = ids[:split], ids[split:]
single, pairs = np.ones(V), np.ones((V, V))
np.add.at(single, train, 1)
np.add.at(pairs, (train[:-1], train[1:]), 1)
models = {
    "fair": np.zeros((V, V)),
    "frequencies": np.log(np.tile(single, (V, 1))),
    "pairs": np.log(pairs),
}  # each (V, V): row c has the logits of what follows c
loss_of = CrossEntropyLoss()
print(f"{len(ids)} characters, {V} different")
for name, table in models.items():
    losses, counts = [], []
    for start in range(0, len(test) - 1, 500):
        known, following = test[:-1][start : start + 500], test[1:][start : start + 500]
        losses.append(loss_of(Tensor(table[known]), Tensor(following)).item())
        counts.append(loss_of.count_targets(Tensor(following)).item())
    print(f"{name:12} perplexity {perplexity(losses, counts):6.1f}")

# %% [markdown]
# The fair model has a perplexity of V, exactly. This is also where every untrained network should
# start: a first loss far from `ln V` is a sign of a mistake in the network.
#
# And where do the pairs help? This is the loss of every single character of one passage, `-log_p`
# of your exercise 4.4. Capital letters surprise both models. The space after an `s` or `t` is easy
# for the pairs; but a rare pair of common letters costs them more than the frequencies. Find one.

# %%
passage = slice(1680, 1750)
known, following = test[:-1][passage], test[1:][passage]
figure, axis = plt.subplots(figsize=(10, 2.8))
for name in ("frequencies", "pairs"):
    log_p = log_probabilities(np, models[name][known])  # (70, V)
    axis.plot(-log_p[np.arange(70), following], "o-", markersize=3, label=name)
axis.set_xticks(range(70), [characters[c] for c in following])
axis.set(ylabel="loss", title="loss of each character")
axis.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## What it costs
#
# The one-hot rows are simple, but they have V numbers for each target, of which one is 1. Looking
# up the target's log probability reads one number instead. Measure both:

# %%
from tinytorch.tito.measure import seconds


def pick_by_one_hot(log_p: np.ndarray, targets: np.ndarray) -> Any:
    xp = Tensor(0.0).backend.xp
    hit, _ = one_hot_targets(xp, targets, log_p.shape[1], -100, xp.float32)
    return np.where(hit > 0, log_p, 0).sum()


def pick_by_lookup(log_p: np.ndarray, targets: np.ndarray) -> Any:
    return log_p[np.arange(len(targets)), targets].sum()


N = 256
print("     V   logits (N, V)   cross entropy   one-hot part   lookup instead")
for V in (100, 1_000, 10_000):
    scores = np.random.default_rng(0).standard_normal((N, V)).astype(np.float32)
    classes = np.arange(N) % V
    whole = seconds(lambda: cross_entropy(Tensor(scores), Tensor(classes)))
    one_hot = seconds(lambda: pick_by_one_hot(scores, classes))
    lookup = seconds(lambda: pick_by_lookup(scores, classes))
    print(f"{V:6} {scores.nbytes / 2**20:11.2f} MiB", end="")
    print(f"{1e3 * whole:13.2f} ms {1e3 * one_hot:11.2f} ms {1e3 * lookup:13.3f} ms")

# %% [markdown]
# And memory. Logits, their shifted copy, exponentials, log probabilities, one-hot rows: all are
# (N, V). Python can tell how much your op needs at its peak, beside the logits. Below that, what
# this means for the batches of real models, with their vocabularies:

# %%
import tracemalloc

logits, targets = Tensor(scores), Tensor(classes)
tracemalloc.start()
cross_entropy(logits, targets)
_, peak = tracemalloc.get_traced_memory()
tracemalloc.stop()
print(f"at the peak {peak / scores.nbytes:.1f} times the memory of the logits")

batches = {"TinyGPT": (12 * 64, 65), "GPT-2": (8 * 1024, 50_257), "Llama 3": (8 * 8192, 128_256)}
for name, (N, V) in batches.items():
    one = 4 * N * V / 2**30  # 4 bytes per number
    print(f"{name:8} {N:6} x {V:7,}: {one:8.4f} GiB the logits, {2 * one:8.4f} GiB saved")

# %% [markdown]
# What remains saved for the gradient are the log probabilities and the one-hot rows: twice the
# logits.
#
# For large vocabularies, the loss needs more memory than any layer of the model. Fused versions
# look targets up instead of building one-hot rows, work in place, or compute the logits piece by
# piece, without ever storing all of them. TinyTorch's fast version on the CPU does the first two.

# %% [markdown]
# ## Questions to think about
#
# 1. A network for 65 characters has a loss of 4.17 before its first step. Is that good? And 9?
# 2. Why does a squared error of probabilities learn slowly from an example on which the network is
#    certain and wrong?
# 3. Two batches have the means 1.0 (100 targets) and 3.0 (3 targets). What is the mean over all
#    targets? Why do programs often show another number?
# 4. Adding 7 to all logits of a row changes nothing in the loss. Where in the formula do you see
#    that, and what does it allow?
# 5. In the data for 4.1, one y is wrong by 100. What happens to the line that minimizes the mean
#    squared error? Which loss would suffer less?

# %% [markdown] instructor=true
# ### Answers, for the instructor
#
# 1. `ln 65 = 4.17` is a fair choice among all: the best that a network can do without knowledge, so
#    it is right. 9 is worse than chance: the network starts certain and wrong, usually because its
#    last layer starts with too large weights.
# 2. The squared error of `sigmoid(x)` is flat where the sigmoid is: for a large negative x, p is
#    nearly 0, and a change of x changes the loss hardly at all. Cross entropy is about `-x` there, a
#    straight line (see the figures of 4.2).
# 3. `(100 * 1.0 + 3 * 3.0) / 103 = 1.06`. The mean of the means is 2.0. It is shown often because a
#    program does not count the targets; the error is small if all batches but the last are equal.
# 4. In `x - m`: a constant cancels, as it does in numerator and denominator of softmax. It allows
#    subtracting the maximum, so that nothing overflows.
# 5. Its square, 10000, dominates the sum, and the line moves towards that point. The mean absolute
#    error grows only linearly, and so does Huber's loss far from 0.
#
# Rubric: 24 points for the exercises; 2 points for each question, 1 without the reason. Typical
# trouble: in 4.2 limiting `p`; in 4.4 the maximum of the whole array; in 4.5 `arange(V)` against
# targets (N,), which broadcasts only if N is V; in 4.6 dividing by N.

# %% [markdown]
# ## In PyTorch
#
# | here | PyTorch |
# |---|---|
# | `MSELoss()` | `torch.nn.MSELoss()`; it only warns if shapes broadcast |
# | `BinaryCrossEntropyLoss()` | `torch.nn.BCELoss()`; from logits, `BCEWithLogitsLoss()` |
# | `CrossEntropyLoss(ignore_index)` | `torch.nn.CrossEntropyLoss(ignore_index=...)` |
# | logits (B, T, V) | (B, V, T): the classes are on axis 1, so permute them first |
# | `loss.count_targets(targets)` | `(targets != -100).sum()` |
# | `log_probabilities` | `torch.log_softmax(x, dim=-1)` |
# | `perplexity` | `torch.exp` of the mean loss |
#
# PyTorch's losses also return the sum, or the loss of each target (`reduction="sum"`, `"none"`).
# `tinytorch.nn` has losses with all these arguments, and with the classes on axis 1.
#
# Sources: C. Bishop, *Pattern Recognition and Machine Learning* (2006), sections 1.2.5 and 4.3; F.
# Jelinek et al., *Perplexity, a measure of the difficulty of speech recognition tasks* (1977).
#
# Next: in lesson 05, data arrives in batches.
