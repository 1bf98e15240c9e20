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
# # Lesson 02: Activations
#
# Two matrices in a row are only one matrix: $(x A) B = x (A B)$. A network of many linear
# layers can do no more than a single one, unless something that is *not* linear stands between
# them. That is an **activation function**. It looks harmless, a curve for each number, and yet it
# is why networks can do more than draw straight lines.
#
# | | shape of the curve | used for |
# |---|---|---|
# | ReLU, squared ReLU | a bend at 0 | image models, some language models |
# | sigmoid, tanh | an S | gates, probabilities of yes and no |
# | softplus, GELU | a smooth bend | positive numbers; the layers of GPT |
# | softmax | scores become shares of 1 | probabilities of many classes, attention |
#
# **You will build** activations and softmax.
#
# **You will learn**
#
# - what each function does, and what its slope means for training;
# - why the formula in the textbook is not the one to compute: `exp(89)` does not fit into float32;
# - how softmax turns scores into probabilities, and why you may subtract the maximum;
# - what an activation costs: not so much arithmetic as branches, and the way to the memory.
#
# **Before you start**: lesson 01, tensors (elementwise ops, broadcasting, reductions), and how an op
# is written. No gradient is needed here: lesson 06 adds them.
#
# **Time**: about two hours, ten minutes per exercise and the rest for reading and experiments.

# %% setup=true
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.backends.arrays import Array, Axis, Namespace
from tinytorch.modules.module import Module
from tinytorch.ops.op import op
from tinytorch.ops.reductions import _axes
from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise


def strictly(function: Any, x: Tensor, **settings: Any) -> tuple[Any, Any]:
    """Return an op's result and what it saves, as arrays; a number that overflows is an error."""
    with np.errstate(over="raise", invalid="raise"):
        result, saved = function.forward(x.backend.xp, x._array, **settings)
        return result, saved


# %% [markdown]
# ## The idea, by hand
#
# Letters for shapes: `B` batch size, `V` number of classes. One unit of a network computes a score
# for each example, here $s = 2x - 1$, and the activation decides how much of it goes on. The shape
# stays: (B,) scores give (B,) numbers.

# %%
x = np.array([-1.0, 0.0, 1.0, 2.0])  # (B,) = (4,)
s = 2 * x - 1
print("scores    ", s)
print("rectified ", np.maximum(s, 0))  # a bend
print("two units ", np.maximum(s, 0) - np.maximum(s - 1, 0))  # a ramp that ends

# %% [markdown]
# Softmax is different: it looks at a whole row. Scores (B, V) give probabilities (B, V), and each
# row sums to 1. By hand, for one row of three classes: exponentials, then shares.

# %%
scores = np.array([[1.0, 2.0, 3.0]])  # (B, V) = (1, 3)
weights = np.exp(scores)  # 2.718, 7.389, 20.086: together 30.193
print(weights / weights.sum(axis=-1, keepdims=True))  # 0.090, 0.245, 0.665

# %% [markdown]
# ## Ops and modules
#
# You write most functions twice. First as an **op** of plain arrays, as in lesson 01:
#
# - `xp` is the library of the arrays. `xp.exp`, `xp.where(condition, a, b)`, `xp.zeros_like(x)` and
#   the operators work as in NumPy.
# - It returns a pair: the result, and a tuple of what lesson 06 will need for the gradient. The
#   hints say what to put there, and the tests check it: the gradient functions are already in the
#   package and need exactly that.
# - `@op(promote="float")` turns integers into floats before your code sees them. With `"common"`
#   they stay integers.
#
# Here is a complete one:


# %%
@op(promote="float")
def hat(xp: Namespace, x: Array) -> Any:
    """1 - |x|, but never below 0."""
    height = 1 - xp.abs(x)
    return xp.where(height > 0, height, xp.zeros_like(x)), (height,)


print(hat(Tensor([-2.0, -0.5, 0.0, 0.25])))

# %% [markdown]
# Then as a **module**, which can be put between the layers of a model: a class derived from `Module`
# whose method `forward` calls the op. Lesson 03 shows what `Module` does; here it is given.

# %%
import matplotlib.pyplot as plt


def draw(functions: dict[str, Callable[[Tensor], Tensor]], limit: float = 5.0) -> None:
    """Draw functions, and their slopes by finite differences."""
    points, h = np.linspace(-limit, limit, 401), 1e-4
    curves: dict[str, dict[str, np.ndarray]] = {"value": {}, "slope": {}}
    for name, function in functions.items():
        values, above, below = (function(Tensor(points + step)).numpy() for step in (0, h, -h))
        curves["value"][name], curves["slope"][name] = values, (above - below) / (2 * h)
    figure, axes = plt.subplots(1, 2, figsize=(10, 3))
    for axis, title in zip(axes, curves, strict=True):
        for name, values in curves[title].items():
            axis.plot(points, values, label=name)
        axis.set(title=title, xlabel="x")
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.tight_layout()
    plt.show()


draw({"hat": hat})

# %% [markdown]
# ## 2.1 ReLU
#
# The *rectified linear unit* lets positive numbers pass and replaces the others by 0. Its slope is 1
# or 0: a unit that is off learns nothing from this example.
#
# One number needs care. NaN, "not a number", is what a diverged model computes. It must come out as
# NaN, so that you see it. Note that `x <= 0` and `x > 0` are both false for NaN.

# %% exercise="2.1" points=2
from tinytorch.activations import ReLU, relu

# relu:
#   Find out where x <= 0. Use xp.where to take zeros there, and x elsewhere.
#   Save that table of booleans, in a tuple with one entry, for the gradient of lesson 6.
# ReLU.forward:
#   Call the op.

# %% test="2.1" points=2
# fmt: off
with Exercise("2.1", "relu") as check:
    x = Tensor([[-2.0, 0.0, 3.0], [0.5, -0.25, -7.0]])
    check.equal(lambda: relu(x), [[0.0, 0.0, 3.0], [0.5, 0.0, 0.0]], "relu of 2 x 3 numbers",
                cause="zeros where x <= 0, and x itself elsewhere; return a pair: the result, and a tuple of what to save")
    check.equal(lambda: x, [[-2.0, 0.0, 3.0], [0.5, -0.25, -7.0]], "x after relu",
                cause="do not write into x: xp.where returns a new array")
    check.equal(lambda: relu(Tensor([-3.0, -1.0, 1.0, 3.0])), [0.0, 0.0, 1.0, 3.0], "relu of the scores at the beginning",
                cause="negative scores become 0, the others stay as they are")
    check.equal(lambda: np.isnan(relu(Tensor([math.nan, -1.0, 1.0])).numpy()), [True, False, False], "where relu is NaN, for [nan, -1, 1]",
                cause="NaN stays NaN: ask for x <= 0, which is false for NaN, and take x elsewhere")
    check.equal(lambda: relu(Tensor([-math.inf, math.inf])), [0.0, math.inf], "relu of [-inf, inf]",
                cause="use xp.where: a product with 0 gives NaN for infinity")
    for kind in ("float32", "int64"):
        check.equal(lambda: str(relu(Tensor(np.array([-1, 2], kind))).dtype), kind, f"the dtype of relu for {kind}",
                    cause="xp.zeros_like(x) has the dtype of x")
    check.equal(lambda: strictly(relu, x)[1][0], [[True, True, False], [False, True, True]], "what relu saves",
                cause="a tuple with the booleans x <= 0: (off,); at 0 it is off")
    check.equal(lambda: len(strictly(relu, x)[1]), 1, "how many things relu saves",
                cause="(off,) is a tuple with one entry")
    check.equal(lambda: ReLU().forward(x), [[0.0, 0.0, 3.0], [0.5, 0.0, 0.0]], "ReLU().forward of 2 x 3 numbers",
                cause="return relu(x)")
    check.equal(lambda: ReLU().forward(Tensor([1.0], backend="reference")).backend.name, "reference", "the backend of ReLU().forward",
                cause="return relu(x): the op takes a tensor and returns one; NumPy's functions lose its backend, and later its gradient")
# fmt: on

# %% [markdown]
# Sums of bends draw any curve. Each unit $a_i \, \mathrm{relu}(x - k_i)$ changes the slope by $a_i$ at
# the point $k_i$. Eight units are eight straight pieces; more units follow the curve more closely.

# %%
x = np.linspace(0, 6, 301)
drawn = {"sin x": np.sin(x)}
for units in (3, 8):
    k = np.linspace(0, 6, units + 1)  # (units + 1,): where the pieces begin and end
    a = np.diff(np.diff(np.sin(k)) / np.diff(k), prepend=0)  # (units,): changes of the slope
    bends = relu(Tensor(x[:, None] - k[:-1])).numpy()  # (N, 1) - (units,) = (N, units)
    drawn[f"{units} units"] = bends @ a
for name, y in drawn.items():
    plt.plot(x, y, label=name)
plt.gcf().set_size_inches(6, 2.5)
plt.xlabel("x")
plt.legend()
plt.show()

# %% [markdown]
# ## 2.2 Squared ReLU
#
# A search over thousands of variants of the transformer (D. So et al., *Primer*, 2021) found that
# squaring the ReLU makes the model train a little faster. The slope of ReLU jumps at 0; that of the
# square does not. Compare both in the figure below.

# %% exercise="2.2" points=2
from tinytorch.activations import SquaredReLU, squared_relu

# squared_relu:
#   First rectify x as in 2.1, with NaN staying NaN; here you have arrays, so use xp.where again.
#   Return its square, and save the rectified numbers (not the squares).
# SquaredReLU.forward:
#   Call the op.

# %% test="2.2" points=2
# fmt: off
with Exercise("2.2", "squared_relu") as check:
    x = Tensor([[-2.0, 0.0, 3.0], [0.5, -0.25, 1.5]])
    check.equal(lambda: squared_relu(x), [[0.0, 0.0, 9.0], [0.25, 0.0, 2.25]], "squared_relu of 2 x 3 numbers",
                cause="rectify first, then square: the square of -2 is 4, but must be 0 here")
    check.equal(lambda: x, [[-2.0, 0.0, 3.0], [0.5, -0.25, 1.5]], "x after squared_relu",
                cause="do not write into x: xp.where returns a new array")
    check.equal(lambda: np.isnan(squared_relu(Tensor([math.nan, -1.0, 1.0])).numpy()), [True, False, False],
                "where squared_relu is NaN, for [nan, -1, 1]", cause="NaN stays NaN: zeros only where x <= 0")
    check.equal(lambda: squared_relu(Tensor([-math.inf, math.inf])), [0.0, math.inf], "squared_relu of [-inf, inf]",
                cause="use xp.where: a product with 0 gives NaN for infinity")
    check.equal(lambda: str(squared_relu(Tensor(np.array([-1, 2], np.float32))).dtype), "float32", "the dtype for float32",
                cause="xp.zeros_like(x) has the dtype of x")
    check.equal(lambda: strictly(squared_relu, x)[1][0], [[0.0, 0.0, 3.0], [0.5, 0.0, 1.5]], "what squared_relu saves",
                cause="a tuple with the rectified numbers: (rectified,)")
    check.equal(lambda: len(strictly(squared_relu, x)[1]), 1, "how many things squared_relu saves",
                cause="(rectified,) is a tuple with one entry")
    check.equal(lambda: SquaredReLU().forward(x), [[0.0, 0.0, 9.0], [0.25, 0.0, 2.25]], "SquaredReLU().forward of 2 x 3 numbers",
                cause="return squared_relu(x)")
    check.equal(lambda: SquaredReLU().forward(Tensor([1.0], backend="reference")).backend.name, "reference", "the backend of SquaredReLU().forward",
                cause="return squared_relu(x): the op takes a tensor and returns one; NumPy's functions lose its backend, and later its gradient")
# fmt: on

# %%
draw({"relu": relu, "squared_relu": squared_relu}, limit=2.0)

# %% [markdown]
# ## 2.3 Sigmoid
#
# $\sigma(x) = 1 / (1 + e^{-x})$ maps every number to one between 0 and 1: a probability, or a gate
# that is more or less open. At 0 it is one half.
#
# On paper, $1 / (1 + e^{-x})$ and $e^x / (e^x + 1)$ are the same. In a computer they are not: the
# largest float32 is $3.4 \cdot 10^{38}$, so $e^{89}$ overflows to infinity.

# %%
big = np.array([-100.0, 0.0, 100.0], dtype=np.float32)
with np.errstate(all="ignore"):
    print("1 / (1 + e^-x) ", 1 / (1 + np.exp(-big)), "with", np.exp(-big))
    print("e^x / (e^x + 1)", np.exp(big) / (np.exp(big) + 1), "with", np.exp(big))

# %% [markdown]
# The second formula gives NaN for large $x$: infinity divided by infinity. The first one overflows
# for very negative $x$ and is right by luck only, as 1 divided by infinity is 0. A safe formula never takes
# `exp` of a positive number. With $m = e^{-|x|}$, which is at most 1:
#
# $$\sigma(x) = \frac{1}{1 + m} \text{ for } x \ge 0, \qquad
#   \sigma(x) = \frac{m}{1 + m} \text{ for } x < 0.$$
#
# **By hand**, for $x = \pm \log 3$ (the natural logarithm, as in Python): $m = 1/3$, so
# $\sigma = 1 / (4/3) = 0.75$, and $(1/3) / (4/3) = 0.25$.

# %% exercise="2.3" points=4
from tinytorch.activations import Sigmoid, sigmoid

# sigmoid:
#   Compute m, the exponential of minus the absolute value.
#   The denominator is the same for all numbers; xp.where chooses the numerator, 1 or m.
#   Save the result y: the gradient of lesson 6 is computed from it alone.
# Sigmoid.forward:
#   Call the op.

# %% test="2.3" points=4
# fmt: off
with Exercise("2.3", "sigmoid") as check:
    third = math.log(3.0)
    check.close(lambda: sigmoid(Tensor([-third, 0.0, third])), [0.25, 0.5, 0.75], "sigmoid of [-log 3, 0, log 3]",
                cause="x >= 0 has the numerator 1, x < 0 the numerator m; the denominator is 1 + m")
    points = np.array([[-4.0, -1.5, -0.1], [0.2, 2.5, 6.0]])
    check.close(lambda: sigmoid(Tensor(points)), 1 / (1 + np.exp(-points)), "sigmoid of 2 x 3 numbers",
                cause="m = exp(-|x|)")
    check.close(lambda: strictly(sigmoid, Tensor(np.array([-1000.0, -100.0, 100.0, 1000.0], np.float32)))[0], [0.0, 0.0, 1.0, 1.0],
                "sigmoid of [-1000, -100, 100, 1000], without overflow",
                cause="never take exp of a positive number, not even for results that xp.where discards")
    for far in (-30.0, -700.0):
        check.close(lambda: sigmoid(Tensor(np.array([far]))).numpy() * np.exp(-far), [1.0], f"sigmoid of {far}, divided by exp(x)",
                    cause="for negative x divide m by 1 + m: 1 - 1 / (1 + m) loses all digits, and a limit for x changes the result")
    x = Tensor(points)
    check.call(lambda: sigmoid(x), "sigmoid of 2 x 3 numbers", cause="return a pair: the result, and (y,)")
    check.equal(lambda: x, points, "x after sigmoid", cause="do not write into x: xp.abs and - return new arrays")
    check.equal(lambda: np.isnan(sigmoid(Tensor([math.nan, 1.0])).numpy()), [True, False], "where sigmoid is NaN, for [nan, 1]",
                cause="NaN stays NaN")
    for kind, result in (("float32", "float32"), ("float64", "float64"), ("int64", "float32")):
        check.equal(lambda: str(sigmoid(Tensor(np.array([-1, 2], kind))).dtype), result, f"the dtype of sigmoid for {kind}",
                    cause='@op(promote="float"); xp.ones_like(x) has the dtype of x')
    check.close(lambda: strictly(sigmoid, Tensor(points))[1][0], 1 / (1 + np.exp(-points)), "what sigmoid saves",
                cause="a tuple with the result: (y,)")
    check.equal(lambda: len(strictly(sigmoid, Tensor(points))[1]), 1, "how many things sigmoid saves",
                cause="(y,) is a tuple with one entry")
    check.close(lambda: Sigmoid().forward(Tensor([-third, 0.0, third])), [0.25, 0.5, 0.75], "Sigmoid().forward of [-log 3, 0, log 3]",
                cause="return sigmoid(x)")
    check.equal(lambda: Sigmoid().forward(Tensor([1.0], backend="reference")).backend.name, "reference", "the backend of Sigmoid().forward",
                cause="return sigmoid(x): the op takes a tensor and returns one; NumPy's functions lose its backend, and later its gradient")
# fmt: on

# %% [markdown]
# ## 2.4 Tanh
#
# The hyperbolic tangent is a sigmoid that was stretched: $\tanh x = 2 \sigma(2x) - 1$, from -1 to 1,
# with 0 at 0. Its outputs lie around 0, not around one half, which made it the standard of the
# nineties. Libraries compute it without overflow, so use theirs.

# %% exercise="2.4" points=2
from tinytorch.activations import Tanh, tanh

# tanh:
#   xp has a function for it. Save the result.
# Tanh.forward:
#   Call the op.

# %% test="2.4" points=2
# fmt: off
with Exercise("2.4", "tanh") as check:
    points = np.array([[-4.0, -0.5, 0.0], [0.25, 1.5, 3.0]])
    two = np.exp(2 * points)
    check.close(lambda: tanh(Tensor(points)), (two - 1) / (two + 1), "tanh of 2 x 3 numbers",
                cause="xp.tanh(x), between -1 and 1; not the tangent, xp.tan")
    check.close(lambda: strictly(tanh, Tensor(np.array([-1000.0, 1000.0], np.float32)))[0], [-1.0, 1.0], "tanh of [-1000, 1000], without overflow",
                cause="use xp.tanh: exp(2000) overflows")
    check.equal(lambda: str(tanh(Tensor(np.array([-1, 2], np.float32))).dtype), "float32", "the dtype of tanh for float32",
                cause="the functions of xp keep the dtype")
    check.close(lambda: strictly(tanh, Tensor(points))[1][0], (two - 1) / (two + 1), "what tanh saves",
                cause="a tuple with the result: (y,)")
    check.equal(lambda: len(strictly(tanh, Tensor(points))[1]), 1, "how many things tanh saves",
                cause="(y,) is a tuple with one entry")
    check.close(lambda: Tanh().forward(Tensor(points)), (two - 1) / (two + 1), "Tanh().forward of 2 x 3 numbers",
                cause="return tanh(x)")
    check.equal(lambda: Tanh().forward(Tensor([1.0], backend="reference")).backend.name, "reference", "the backend of Tanh().forward",
                cause="return tanh(x): the op takes a tensor and returns one; NumPy's functions lose its backend, and later its gradient")
# fmt: on

# %%
draw({"sigmoid": sigmoid, "tanh": tanh, "relu": relu})

# %% [markdown]
# The slope of the sigmoid is at most 1/4. Through ten layers, slopes multiply: $4^{-10}$ is a
# millionth. The first layers would learn nothing: the *vanishing gradient*. Watch it with finite
# differences:

# %%
start, h = np.linspace(-2, 2, 5), 1e-3
for name, function in (("sigmoid", sigmoid), ("tanh", tanh), ("relu", relu)):
    above, below = Tensor(start + h), Tensor(start - h)
    slopes = []
    for _ in range(10):
        above, below = function(above), function(below)
        slopes.append(np.abs(above.numpy() - below.numpy()).max() / (2 * h))
    shown = "".join(f"{slopes[times - 1]:10.2g}" for times in (1, 5, 10))
    print(f"{name:8} steepest slope after 1, 5, 10 times: {shown}")

# %% [markdown]
# The slope of tanh is 1 at 0 and less everywhere else, so it shrinks too, but more slowly. ReLU's
# slope stays 1 for all positive numbers: one reason why deep networks use it.

# %% [markdown]
# ## 2.5 Softplus
#
# $\log(1 + e^x)$ is a ReLU with a rounded corner. It is always positive, so models use it for what
# must be positive: a width, a rate. Again the formula overflows, at $x = 89$, where the answer is
# simply 89. The cure is an identity for two numbers, $1 = e^0$ and $e^x$:
#
# $$\log(e^a + e^b) = \max(a, b) + \log(1 + e^{-|a - b|})$$
#
# It is so common that libraries have it: `xp.logaddexp(a, b)`. **By hand**: $x = 0$ gives
# $\log 2 = 0.693$, and $x = \log 3$ gives $\log 4 = 1.386$.

# %% exercise="2.5" points=3
from tinytorch.activations import softplus

# softplus:
#   Which a and b make log(exp(a) + exp(b)) the softplus of x? One of them is xp.zeros_like(x).
#   Save the result.

# %% test="2.5" points=3
# fmt: off
with Exercise("2.5", "softplus") as check:
    check.close(lambda: softplus(Tensor([0.0, math.log(3.0)])), [math.log(2.0), math.log(4.0)], "softplus of [0, log 3]",
                cause="log(exp(0) + exp(x)): one of the two numbers is 0")
    points = np.array([[-4.0, -0.5, 0.1], [0.25, 1.5, 3.0]])
    check.close(lambda: softplus(Tensor(points)), np.log(1 + np.exp(points)), "softplus of 2 x 3 numbers",
                cause="xp.logaddexp(x, xp.zeros_like(x))")
    check.close(lambda: strictly(softplus, Tensor(np.array([-1000.0, 89.0, 1000.0], np.float32)))[0], [0.0, 89.0, 1000.0],
                "softplus of [-1000, 89, 1000], without overflow", cause="do not compute exp(x): xp.logaddexp avoids it")
    check.equal(lambda: str(softplus(Tensor(np.array([-1, 2], np.float32))).dtype), "float32", "the dtype of softplus for float32",
                cause="xp.zeros_like(x) has the dtype of x")
    check.close(lambda: strictly(softplus, Tensor(points))[1][0], np.log(1 + np.exp(points)), "what softplus saves",
                cause="a tuple with the result: (y,)")
    check.equal(lambda: len(strictly(softplus, Tensor(points))[1]), 1, "how many things softplus saves",
                cause="(y,) is a tuple with one entry")
# fmt: on

# %% [markdown]
# ## 2.6 GELU
#
# The activation of GPT. $x \, \Phi(x)$: a number passes with the probability that a standard normal
# number is smaller than it. Far on the right it is nearly $x$, far on the left nearly 0, with a small
# dip in between. $\Phi$ has no simple formula; GPT-2 uses an approximation with tanh
# (D. Hendrycks and K. Gimpel, *Gaussian Error Linear Units*, 2016):
#
# $$\mathrm{gelu}(x) = \tfrac{1}{2} x \, (1 + t), \qquad
#   t = \tanh\left(\sqrt{2 / \pi} \; (x + 0.044715 \, x^3)\right)$$
#
# **By hand**, for $x = 1$: $t = \tanh(0.79788 \cdot 1.044715) = \tanh(0.83356) = 0.68238$, and half
# of $1.68238$ is $0.84119$.

# %% exercise="2.6" points=3
from tinytorch.activations import GELU, gelu

# gelu:
#   Compute t first. math.sqrt and math.pi are for single numbers, xp.tanh is for arrays.
#   x * x * x is many times faster than x**3.
#   Save x and t, in this order.
# GELU.forward:
#   Call the op.

# %% test="2.6" points=3
# fmt: off
with Exercise("2.6", "gelu") as check:
    check.close(lambda: gelu(Tensor([1.0, 0.0, -1.0])), [0.84119199, 0.0, -0.15880801], "gelu of [1, 0, -1]",
                cause="0.5 * x * (1 + t), with t = tanh(sqrt(2 / pi) * (x + 0.044715 * x cubed))", tolerance=1e-6)
    points = np.array([[-3.0, -0.5, 0.1], [0.25, 1.5, 2.5]])
    table = [[-0.00363739, -0.15428599, 0.05398278], [0.14967535, 1.39957157, 2.48491539]]
    t = [[-0.99757507, -0.38285605, 0.07965556], [0.19740277, 0.86609542, 0.98793231]]
    check.close(lambda: gelu(Tensor(points)), table, "gelu of 2 x 3 numbers",
                cause="0.044715 belongs to x cubed, and sqrt(2 / pi) to the whole sum", tolerance=1e-6)
    x = Tensor(points)
    check.call(lambda: gelu(x), "gelu of 2 x 3 numbers", cause="return a pair: the result, and (x, t)")
    check.equal(lambda: x, points, "x after gelu", cause="do not write into x: x *= and x += change it")
    check.close(lambda: strictly(gelu, Tensor(np.array([-1000.0, 1000.0], np.float32)))[0], [0.0, 1000.0], "gelu of [-1000, 1000]",
                cause="xp.tanh does not overflow")
    check.equal(lambda: str(gelu(Tensor(np.array([-1, 2], np.float32))).dtype), "float32", "the dtype of gelu for float32",
                cause="math.sqrt gives a Python number, which keeps the dtype; np.sqrt gives float64")
    for i, (name, wanted) in enumerate((("x", points), ("t", t))):
        check.close(lambda: strictly(gelu, Tensor(points))[1][i], wanted, f"entry {i} of what gelu saves, {name}",
                    cause="save (x, t), in this order", tolerance=1e-6)
    check.equal(lambda: len(strictly(gelu, Tensor(points))[1]), 2, "how many things gelu saves", cause="(x, t)")
    check.close(lambda: GELU().forward(Tensor([1.0, 0.0, -1.0])), [0.84119199, 0.0, -0.15880801], "GELU().forward of [1, 0, -1]",
                cause="return gelu(x)")
    check.equal(lambda: GELU().forward(Tensor([1.0], backend="reference")).backend.name, "reference", "the backend of GELU().forward",
                cause="return gelu(x): the op takes a tensor and returns one; NumPy's functions lose its backend, and later its gradient")
# fmt: on

# %%
draw({"relu": relu, "softplus": softplus, "gelu": gelu})

# %% [markdown]
# ## 2.7 Softmax, without overflow
#
# $\mathrm{softmax}(x)_i = e^{x_i} / \sum_j e^{x_j}$. Written like this, it fails for large scores:

# %%
for row in ([1.0, 2.0, 3.0], [101.0, 102.0, 103.0], [-201.0, -202.0, -203.0]):
    with np.errstate(all="ignore"):
        weights = np.exp(np.array(row, np.float32))
        print(f"{row!s:25} exp {weights!s:34} shares {weights / weights.sum()}")

# %% [markdown]
# Infinity divided by infinity is NaN, and so is 0 divided by 0. But only differences count: a
# constant $c$ cancels,
#
# $$\frac{e^{x_i - c}}{\sum_j e^{x_j - c}} = \frac{e^{-c} \, e^{x_i}}{e^{-c} \sum_j e^{x_j}}.$$
#
# So subtract the maximum of the row: the largest exponent is 0, and nothing can overflow. **By
# hand**: `[1001, 1002, 1003]` becomes `[-2, -1, 0]`, and the shares are 0.090, 0.245, 0.665, as at
# the beginning.
#
# A score of $-\infty$ gets the share 0; attention (lesson 12) hides words like this. If a whole row is
# hidden, its maximum is $-\infty$ too, and $-\infty - (-\infty)$ is NaN. Then all shares must be 0.
#
# `softmax_array` is a function of arrays, not an op, because attention uses it inside its own op.

# %% exercise="2.7" points=4
from tinytorch.activations import softmax_array

# softmax_array:
#   If x.size is 0 there is no maximum: return xp.zeros_like(x).
#   xp.max over axis, with keepdims=True: the result broadcasts against x, so it can be subtracted.
#   Where it is -math.inf, subtract 0 instead: xp.where, as in relu.
#   Add the exponentials with xp.sum over the same axis. Where the sum is 0, divide by 1 instead.

# %% test="2.7" points=4
# fmt: off
with Exercise("2.7", "softmax_array") as check:
    xp = Tensor([0.0]).backend.xp

    def softmax_of(values: Any, kind: str = "float64", **settings: Any) -> Any:
        """The student's softmax of an array; overflow, 0 / 0 and inf - inf are errors."""
        with np.errstate(over="raise", invalid="raise"):
            return softmax_array(xp, Tensor(np.array(values, kind))._array, **settings)

    shares = [0.09003057, 0.24472847, 0.66524096]
    check.close(lambda: softmax_of([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]]), [shares, [shares[2], shares[0], shares[1]]],
                "softmax of [[1, 2, 3], [3, 1, 2]]", cause="return an array: exponentials over their sum, each row by itself, with axis=axis and keepdims=True")
    scores = np.array([[3.0, 1.0, 2.0], [-math.inf, 0.0, -math.inf]])
    before = scores.copy()
    check.call(lambda: softmax_array(xp, scores), "softmax of an array", cause="subtract the maximum")
    check.equal(lambda: scores, before, "the array after softmax_array", cause="do not write into x: use -, not -=")
    for kind in ("float32", "float64"):
        check.close(lambda: softmax_of([[1001.0, 1002.0, 1003.0], [-1003.0, -1005.0, -1004.0]], kind), [shares, [shares[2], shares[0], shares[1]]],
                    f"softmax of scores near 1000 and -1000 in {kind}", cause="subtract each row's own maximum before xp.exp")
        check.equal(lambda: str(softmax_of([[1.0, 2.0]], kind).dtype), kind, f"the dtype for {kind}",
                    cause="xp.zeros_like and xp.ones_like keep the dtype")
    check.close(lambda: softmax_of([[0.0, -1e5], [1e5, 0.0]]), [[1.0, 0.0], [1.0, 0.0]], "softmax of rows that differ by 100000",
                cause="the maximum of each row, with axis=axis: not one maximum for the whole array")
    table = np.random.default_rng(2).standard_normal((2, 3, 4))
    for axis in (0, 1, 2, -1, -2, (0, 2)):
        powers = np.exp(table)
        check.close(lambda: softmax_of(table, axis=axis), powers / powers.sum(axis=axis, keepdims=True), f"softmax over axis {axis} of shape (2, 3, 4)",
                    cause="use the argument axis in both reductions, with keepdims=True")
    check.close(lambda: softmax_of(table), np.exp(table) / np.exp(table).sum(axis=-1, keepdims=True), "softmax without the argument axis",
                cause="it is -1 by default, as the signature says")
    hidden = -math.inf
    check.close(lambda: softmax_of([[0.0, hidden, 0.0], [hidden, hidden, 2.0], [hidden] * 3]), [[0.5, 0.0, 0.5], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]],
                "softmax of rows with hidden scores, the last one hidden everywhere",
                cause="where the maximum is -inf, subtract 0; where the sum is 0, divide by 1")
    check.equal(lambda: [str(v) for v in softmax_array(xp, np.array([math.nan, 1.0])).tolist()], ["nan", "nan"], "softmax of [nan, 1]",
                cause="replace a maximum of -inf only, so that a diverged model shows it")
    for shape in ((0, 3), (2, 0)):
        check.equal(lambda: softmax_of(np.zeros(shape)).shape, shape, f"the shape of softmax for shape {shape}",
                    cause="if x.size == 0, return zeros like x: an empty row has no maximum")
# fmt: on

# %% [markdown]
# ## 2.8 Softmax as an op
#
# The op wraps that function. `_axes(x, axis)` is given, as in lesson 01: it checks the axis and
# returns a tuple of axes, none of them negative.

# %% exercise="2.8" points=2
from tinytorch.activations import Softmax, softmax

# softmax:
#   _axes(x, axis) is a tuple. If it has one entry, take that number: NumPy is faster then.
#   Call softmax_array of 2.7 with it. Save the result, and the number or tuple that you passed.
# Softmax.__init__:
#   Store the axis in self.axis.
# Softmax.forward:
#   Call the op with it.

# %% test="2.8" points=2
# fmt: off
with Exercise("2.8", "softmax") as check:
    table = np.random.default_rng(8).standard_normal((2, 3, 4))
    powers = np.exp(table)
    check.close(lambda: softmax(Tensor([[1.0, 2.0, 3.0]])), [[0.09003057, 0.24472847, 0.66524096]], "softmax of [1, 2, 3]",
                cause="return a pair: the result of softmax_array, and a tuple of what to save")
    check.close(lambda: softmax(Tensor(table)), powers / powers.sum(axis=-1, keepdims=True), "softmax over the last axis, the default",
                cause="hand on the axis: softmax_array(xp, x, ...)")
    for axis in (0, 1, -2, (0, 2), (-1, 1)):
        wanted = powers / powers.sum(axis=axis, keepdims=True)
        check.close(lambda: softmax(Tensor(table), axis=axis), wanted, f"softmax over axis {axis} of shape (2, 3, 4)",
                    cause="hand on the axis, and all of its entries if there are several")
        check.close(lambda: strictly(softmax, Tensor(table), axis=axis)[1][0], wanted, f"what softmax over axis {axis} saves first",
                    cause="save the result, then the axes")
        check.close(lambda: wanted.sum(axis=strictly(softmax, Tensor(table), axis=axis)[1][1]), wanted.sum(axis=axis),
                    f"the sum over what softmax over axis {axis} saves second", cause="save the axis or the axes over which it sums to 1")
    check.equal(lambda: len(strictly(softmax, Tensor(table))[1]), 2, "how many things softmax saves", cause="(y, along)")
    check.close(lambda: softmax(Tensor(3.0)), 1.0, "softmax of a single number, without an axis",
                cause="_axes gives () for it: do not take its first entry")
    check.raises(IndexError, lambda: softmax(Tensor(table), axis=3), "axis 3 of 3 axes", message="axis 3 does not exist",
                 cause="_axes raises it: call it first")
    check.equal(lambda: str(softmax(Tensor([1, 2])).dtype), "float32", "the dtype of softmax for integers",
                cause='@op(promote="float") stands above the function')
    for axis in (-1, 0, 1):
        check.equal(lambda: Softmax(axis).axis, axis, f"the axis of Softmax({axis})", cause="self.axis = axis")
        check.close(lambda: Softmax(axis).forward(Tensor(table)), powers / powers.sum(axis=axis, keepdims=True), f"Softmax({axis}).forward",
                    cause="softmax(x, axis=self.axis)")
    check.close(lambda: Softmax().forward(Tensor(table)), powers / powers.sum(axis=-1, keepdims=True), "Softmax().forward",
                cause="the axis is -1 by default")
    check.equal(lambda: Softmax().forward(Tensor([1.0], backend="reference")).backend.name, "reference", "the backend of Softmax().forward",
                cause="return softmax(x, axis=self.axis): the op takes a tensor and returns one; NumPy's functions lose its backend, and later its gradient")
# fmt: on

# %% [markdown]
# How does the share of one of three classes depend on its own score, if the other two scores are 0?


# %%
def of_three(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the function's value for the first of three scores, the others being 0."""

    def first(x: Tensor) -> Tensor:
        score = x.numpy()
        rows = np.stack([score, np.zeros_like(score), np.zeros_like(score)], axis=-1)  # (N, V)
        return Tensor(function(Tensor(rows)).numpy()[:, 0])

    return first


draw({"softmax, first of three": of_three(softmax), "sigmoid": sigmoid})

# %% [markdown]
# It is a sigmoid, moved to the right by $\log 2$: at 0 each class has a third, not a half. And like
# the sigmoid it is flat on both sides.
#
# A **temperature** divides the scores before the softmax. Small temperatures sharpen the
# distribution towards the largest score; large ones flatten it. This is how a language model is made
# bolder or duller.

# %%
scores = Tensor([1.0, 2.0, 0.5, 3.0, -1.0])
shares = {temperature: softmax(scores / temperature).numpy() for temperature in (0.3, 1.0, 5.0)}
figure, axes = plt.subplots(1, 3, figsize=(10, 2.5), sharey=True)
for axis, temperature in zip(axes, shares, strict=True):
    axis.bar(range(5), shares[temperature])
    axis.set(title=f"temperature {temperature}", xlabel="class", ylim=(0, 1))
axes[0].set_ylabel("probability")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 2.9 The logarithm of softmax
#
# A loss (lesson 04) needs the *logarithms* of probabilities. A probability of $e^{-200}$ is 0 in
# float32, and its logarithm is $-\infty$, where -200 would be right. So never take the logarithm of a
# softmax: simplify the formula first. With $s_i = x_i - \max_j x_j$,
#
# $$\log \mathrm{softmax}(x)_i = \log \frac{e^{s_i}}{\sum_j e^{s_j}} = s_i - \log \sum_j e^{s_j}.$$
#
# **By hand**: `[0, 0, 200]` gives $s$ = `[-200, -200, 0]`, the sum is 1, its logarithm 0, so the
# result is `[-200, -200, 0]`.

# %% exercise="2.9" points=3
from tinytorch.activations import log_softmax

# log_softmax:
#   axes = _axes(x, axis) is a tuple. If x.size is 0, there is no maximum: xp.zeros_like(x) is the
#   result then, and x and axes are saved.
#   Subtract the maximum over these axes from x: this is s. Then subtract xp.log of the sum of the
#   exponentials of s. Both reductions need keepdims=True.
#   Save the result, and the axes.

# %% test="2.9" points=3
# fmt: off
with Exercise("2.9", "log_softmax") as check:
    check.close(lambda: log_softmax(Tensor([[0.0, 0.0, 200.0], [3.0, 1.0, 2.0]])),
                [[-200.0, -200.0, 0.0], [-0.40760596, -2.40760596, -1.40760596]], "log_softmax of [[0, 0, 200], [3, 1, 2]]",
                cause="s minus the logarithm of the sum of exp(s), with keepdims=True: not the logarithm of a probability, which may be 0")
    x = Tensor([[3.0, 1.0, 2.0]])
    check.call(lambda: log_softmax(x), "log_softmax of [3, 1, 2]", cause="return a pair: the result, and (y, axes)")
    check.equal(lambda: x, [[3.0, 1.0, 2.0]], "x after log_softmax", cause="do not write into x: use -, not -=")
    check.close(lambda: strictly(log_softmax, Tensor(np.array([[1000.0, 1001.0], [-1000.0, -998.0]], np.float32)))[0],
                [[-1.31326169, -0.31326169], [-2.12692801, -0.12692801]], "log_softmax of scores near 1000 and -1000, without overflow",
                cause="subtract each row's own maximum before xp.exp", tolerance=1e-4)
    check.close(lambda: strictly(log_softmax, Tensor(np.array([[0.0, -1e5], [1e5, 0.0]], np.float32)))[0], [[0.0, -1e5], [0.0, -1e5]],
                "log_softmax of rows that differ by 100000", cause="the maximum of each row: axis=axes, keepdims=True")
    table = np.random.default_rng(9).standard_normal((2, 3, 4))
    for axis in (-1, 0, 1, -2, (0, 2), (-1, 1)):
        wanted = table - np.log(np.exp(table).sum(axis=axis, keepdims=True))
        check.close(lambda: log_softmax(Tensor(table), axis=axis), wanted, f"log_softmax over axis {axis} of shape (2, 3, 4)",
                    cause="use the axes in both reductions, with keepdims=True")
        check.close(lambda: strictly(log_softmax, Tensor(table), axis=axis)[1][0], wanted, f"what log_softmax over axis {axis} saves first",
                    cause="save the result, then the axes")
        check.close(lambda: table.sum(axis=strictly(log_softmax, Tensor(table), axis=axis)[1][1]), table.sum(axis=axis),
                    f"the sum over what log_softmax over axis {axis} saves second", cause="save (y, axes)")
    check.close(lambda: log_softmax(Tensor(table)), table - np.log(np.exp(table).sum(axis=-1, keepdims=True)), "log_softmax over the last axis, the default",
                cause="the axis is -1 by default")
    check.equal(lambda: len(strictly(log_softmax, Tensor(table))[1]), 2, "how many things log_softmax saves", cause="(y, axes)")
    check.close(lambda: log_softmax(Tensor([0.0, -math.inf, 0.0])), [-math.log(2.0), -math.inf, -math.log(2.0)], "log_softmax of [0, -inf, 0]",
                cause="a hidden score has the probability 0, and its logarithm is -inf")
    for shape in ((0, 3), (2, 0)):
        check.equal(lambda: log_softmax(Tensor(np.zeros(shape))).shape, shape, f"the shape of log_softmax for shape {shape}",
                    cause="if x.size == 0, return zeros like x, and what to save")
        check.equal(lambda: [tuple(strictly(log_softmax, Tensor(np.zeros(shape)))[1][0].shape), len(strictly(log_softmax, Tensor(np.zeros(shape)))[1])], [shape, 2],
                    f"what log_softmax saves for shape {shape}", cause="a pair for empty tensors too: zeros like x, and (x, axes)")
    check.raises(IndexError, lambda: log_softmax(Tensor(table), axis=3), "axis 3 of 3 axes", message="axis 3 does not exist",
                 cause="_axes raises it: call it first")
    for kind, result in (("float32", "float32"), ("int64", "float32")):
        check.equal(lambda: str(log_softmax(Tensor(np.array([1, 2], kind))).dtype), result, f"the dtype for {kind}",
                    cause='@op(promote="float"); the functions of xp keep the dtype')
# fmt: on

# %% [markdown]
# What the textbook's formula gives, and what yours gives, for the first of three classes while its
# score sinks:

# %%
depths = np.arange(0.0, 201.0, 5.0, dtype=np.float32)
rows = np.stack([-depths, np.zeros_like(depths), np.zeros_like(depths)], axis=-1)  # (N, V)
with np.errstate(all="ignore"):
    naive = np.log(softmax(Tensor(rows)).numpy())[:, 0]
ours = log_softmax(Tensor(rows)).numpy()[:, 0]
plt.figure(figsize=(6, 2.6))
plt.plot(-depths, ours, label="log_softmax")
plt.plot(-depths, naive, "o", markersize=4, label="log of softmax, in float32")
plt.gca().invert_xaxis()
plt.xlabel("score of the first class")
plt.ylabel("log probability")
plt.legend()
plt.tight_layout()
plt.show()
print(f"{np.isinf(naive).sum()} of {naive.size} logarithms of a softmax are -inf: no points there")

# %% [markdown]
# Now the slopes of both. Far on the left softmax is flat, but its logarithm has the slope 1. This is
# why losses are logarithms: the more wrong the model is, the more there is to learn from.

# %%
draw({"softmax, first of three": of_three(softmax), "log_softmax": of_three(log_softmax)})

# %% [markdown]
# ## What it costs
#
# ReLU only compares, the others call `exp` or `tanh`. So ReLU should be the fastest. Guess before you
# run the cell, then look at the line with sorted numbers.

# %%
from tinytorch.tito.measure import seconds

normal = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
million, in_order = Tensor(normal), Tensor(np.sort(normal))
copying = seconds(lambda: normal.copy())
print("a million numbers           time   relative to a copy")
for name, work in (
    ("copy", lambda: normal.copy()),
    ("np.maximum(x, 0)", lambda: np.maximum(normal, 0)),
    ("np.exp", lambda: np.exp(normal)),
    ("relu, sorted numbers", lambda: relu(in_order)),
):
    print(f"{name:23} {1e3 * seconds(work):5.2f} ms {seconds(work) / copying:9.0f}")
for function in (relu, squared_relu, sigmoid, tanh, softplus, gelu, softmax, log_softmax):
    time = seconds(lambda function=function: function(million))
    print(f"{function.name:23} {1e3 * time:5.2f} ms {time / copying:9.0f}")

# %% [markdown]
# The arithmetic is not what decides:
#
# - A processor can work on several numbers at once (SIMD). In NumPy `exp`, `tanh` and `maximum` do,
#   `logaddexp`, and with it softplus, goes number by number.
# - `where` goes number by number too, and the processor guesses the sign of the next number before it
#   is known. With signs at random, half of the guesses are wrong, and each costs many steps. Sorted
#   numbers are easy to guess.
# - Each step of an op, such as `x * x`, reads an array from the memory and writes another one: a
#   **pass**. Your GELU makes about nine of them.
#
# What you see depends on your processor. (The package's own fast versions avoid all three, if your
# folder has them.)
#
# If all passes worked on a block that stays in the processor's cache, only the first read and the
# last write would go to the memory. That is what a **fused** kernel does, on CPUs and on GPUs. You
# can try it without writing a kernel: the same passes, block by block.


# %%
def gelu_passes(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def polynomial_passes(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + 0.3 * (x + 0.044715 * x * x * x))  # the same passes, but no tanh


def in_blocks(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, size: int) -> np.ndarray:
    result = np.empty_like(x)
    for start in range(0, x.size, size):
        result[start : start + size] = function(x[start : start + size])
    return result


numbers = np.random.default_rng(0).standard_normal(4_000_000).astype(np.float32)  # 16 MB
for name, passes in (("gelu", gelu_passes), ("without tanh", polynomial_passes)):
    assert np.array_equal(passes(numbers), in_blocks(passes, numbers, 16_384))
    line = f"{name:13} all at once {1e3 * seconds(lambda passes=passes: passes(numbers)):6.1f} ms"
    for size in (256, 16_384):
        blocks = seconds(lambda passes=passes, size=size: in_blocks(passes, numbers, size))
        line += f"   blocks of {size:6} {1e3 * blocks:6.1f} ms"
    print(line)

# %% [markdown]
# Blocks that fit into the cache are faster though the arithmetic is the same. Blocks that are too
# small pay for the calls of Python. The less arithmetic there is, the more the memory counts.
#
# And memory: the saved values stay until the gradient is computed. For (B, T, C) = (12, 64, 384)
# numbers of the hidden layer of a small GPT, what do the ops keep?

# %%
hidden = Tensor(np.zeros((12, 64, 384), np.float32))
for function in (relu, squared_relu, sigmoid, gelu):
    saved = function.forward(hidden.backend.xp, hidden._array)[1]
    print(f"{function.name:13} {sum(part.nbytes for part in saved) / 2**10:6.0f} KiB")

# %% [markdown]
# ## Questions to think about
#
# 1. Ten linear layers without activations: what is the smallest network that computes the same?
# 2. How are `sigmoid(x)` and `softmax([x, 0])` related?
# 3. Which scores does softmax turn into `[0.5, 0.5]`? Can you compute the scores from the
#    probabilities?
# 4. A ReLU unit is off for every example of the data. Can training switch it on again?
# 5. A GPU moves 2 TB per second and computes 60 TFLOP per second in float32. GELU needs about 20
#    operations per number, which is read and written once. What is the limit, memory or arithmetic?

# %% [markdown] instructor=true
# ### Answers, for the instructor
#
# 1. A single linear layer, whose matrix is the product of the ten (and whose bias collects the
#    others). If an inner layer is narrower, the matrix has at most that rank. *Half marks without
#    the product.*
# 2. They are equal: $e^x / (e^x + e^0) = 1 / (1 + e^{-x})$. Sigmoid is softmax with the second score
#    fixed at 0.
# 3. All pairs of equal scores. Only up to a constant for each row: $\log p$ is one solution,
#    because adding a constant changes nothing.
# 4. No: its slope is 0 for every example, so its weights get no gradient: a *dead* unit. It can
#    come back only if earlier layers change its inputs (or through weight decay on its weights).
# 5. Memory: 8 bytes a number allow 250 billion numbers per second, and arithmetic 3000 billion. That
#    is why kernels fuse the activation with what comes before. *Half marks for the right limit
#    without numbers.*
#
# Rubric for each question: 2 points for the right answer with its reason, 1 without. Typical
# trouble: in 2.1 a `where` with the condition the wrong way round, which loses NaN; in 2.3 both
# branches are computed, and one overflows; in 2.7 `keepdims`; in 2.9 the logarithm of 2.8.

# %% [markdown]
# ## In PyTorch
#
# | here | PyTorch |
# |---|---|
# | `relu`, `sigmoid`, `tanh` | `torch.relu`, `torch.sigmoid`, `torch.tanh` |
# | `ReLU()`, `Sigmoid()`, `Tanh()` | the same names in `torch.nn` |
# | `squared_relu(x)` | `torch.relu(x).square()` |
# | `GELU()` | `torch.nn.GELU(approximate="tanh")`; without it, the exact $\Phi$ |
# | `softplus` | `torch.nn.functional.softplus` |
# | `Softmax(axis=1)` | `torch.nn.Softmax(dim=1)` |
# | `softmax(x, axis=1)`, `log_softmax(x, axis=1)` | `torch.softmax(x, dim=1)`, `torch.log_softmax(x, dim=1)` |
# | the default axis is the last one | `dim` must be given |
# | a row of `-inf`: softmax gives 0 | NaN |
#
# Sources: V. Nair and G. Hinton, *Rectified Linear Units Improve Restricted Boltzmann Machines*
# (2010); D. Hendrycks and K. Gimpel, *Gaussian Error Linear Units* (2016); D. So et al., *Primer*
# (2021); N. Higham et al., *Accurately computing the log-sum-exp and softmax functions* (2021).
#
# Next: lesson 03 puts these functions between layers with weights.
