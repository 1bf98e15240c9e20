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
# # Lesson 01: Tensors
#
# A picture, a sentence, the weights of a network: to the machine, all of them are blocks of numbers
# in rows and columns, and sometimes in more directions than that. Such a block is a **tensor**. A
# language model computes nothing but a few kinds of operations on tensors, many billions of times.
# In this lesson you write these operations; all later lessons use them.
#
# | kind of operation | examples | what happens to the shape |
# |---|---|---|
# | elementwise | `x + y`, `x.exp()` | stays, or broadcasts |
# | reduction | `x.mean(axis=0)` | loses axes |
# | matrix product | `x @ y` | (M, K) and (K, N) give (M, N) |
# | movement | `reshape`, `permute`, `concat` | changes, the numbers stay |
# | indexing | `x[0]`, `x[:, 1:3]`, `x[mask]` | the key decides |
#
# **You will build** a tensor's operations.
#
# **You will learn**
#
# - how an op is written, as everywhere in this course;
# - to predict the shape of each result, by the rules of broadcasting, reductions and products;
# - which operations and keys move no number at all, and which copy: views and strides;
# - what a dtype can hold, and where float32 and integers surprise you;
# - whether the processor or the memory limits an operation, with measurements.
#
# **Before you start**: Python with classes, decorators and slices; NumPy arrays; the product of two
# matrices. This is the first lesson.
#
# **Time**: about three hours, ten minutes per exercise and the rest for reading and
# experiments.

# %% setup=true
import builtins
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytorch.arguments import ShapeError
from tinytorch.backends import get
from tinytorch.backends.arrays import Array, Axis, Namespace, Shape
from tinytorch.functions.creation import full, zeros
from tinytorch.methods import Methods
from tinytorch.ops.op import op
from tinytorch.ops.reductions import _axes
from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise


def saved(function: Any, *tensors: Tensor, **settings: Any) -> list[Any]:
    """Return what an op keeps for its gradient."""
    arrays = [x._array if isinstance(x, Tensor) else x for x in tensors]
    with np.errstate(all="ignore"):
        _, kept = function.forward(get("numpy").xp, *arrays, **settings)
    return list(kept)


# %% [markdown]
# ## Shapes, by hand
#
# `shape` lists the sizes of all axes, from the outermost to the innermost. Three marks of two
# students are a matrix of shape (2, 3). What each step does to the shape is the first thing to ask,
# and the first thing to print when something fails. Besides lists, there are `zeros`, `ones` and
# `full` to create tensors of any shape, and `arange`, whose core you write in 1.8.

# %%
marks = Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]])  # (students, exams) = (2, 3)
print(marks)
print("shape", marks.shape, " axes", marks.ndim, " dtype", marks.dtype)
print(zeros(2, 3))
print(full((2, 2), 7.0))

# %% [markdown]
# Suppose that the exams were of different difficulty, and we want to subtract the mean of each. On
# paper, with the shapes:
#
# | step | result | shape |
# |---|---|---|
# | marks | 1 2 3 / 4 5 9 | (2, 3) |
# | mean over axis 0, the students | 2.5 3.5 6 | (3,) |
# | marks - mean: the row is repeated for each student | -1.5 -1.5 -3 / 1.5 1.5 3 | (2, 3) |
# | times the weights 1 0 2 of the exams, `@` | -7.5 / 7.5 | (2,) |
#
# All that is missing are the functions. At the end of this lesson this example runs on yours.

# %% [markdown]
# ## How an op is written
#
# An **op** is one step of a computation, written as a function of plain arrays. Here is a complete
# one, the distance of two points on a line:


# %%
@op
def distance(xp: Namespace, x: Array, y: Array) -> Any:
    """The absolute value of x - y."""
    difference = x - y
    return xp.abs(difference), (difference,)  # the result, and what the gradient will need


print(distance(Tensor([1.0, 5.0]), Tensor([3.0, 2.0])))

# %% [markdown]
# Line by line:
#
# - **`@op`** makes a function of tensors out of your function of arrays. It takes the arrays out of
#   the tensors, calls your function, and wraps the result.
# - **`xp`** is the library of the arrays: NumPy here, CuPy on a GPU. Write `xp.exp(x)` instead of
#   `np.exp(x)`, and the op runs on both. Most names are NumPy's; a hint mentions those that are not.
#   Operators such as `x * y`, `x.shape`, `x.ndim` and slices work as usual.
# - **The function returns two things**: the result, and a tuple of what its *gradient* will need
#   later, such as arrays or shapes. Lesson 06 explains why; until then a hint says what to put
#   there. `()` means nothing. A tuple of one needs its comma: `(x,)`.
# - `@op(promote="float")` also converts dtypes first: integers become floats. `"number"` and
#   `"common"` give two inputs one dtype; 1.8 has the rules. That part is given.
# - Arguments after `*` are **settings**, such as an axis. They are passed by name.
# - `Namespace`, `Array` and `Any` are types: they tell a reader what to expect, and do nothing.
#
# In this notebook, call your ops by name, `add(x, y)`. The operators of a tensor, `x + y`, call the
# package's ops: they are yours after `tito export 1`.

# %% [markdown]
# ## 1.1 Arithmetic
#
# The simplest ops: each element of the result depends on one element of each input. Return two
# things each time: the result, and the tuple of what is needed later.

# %% exercise="1.1" points=2
from tinytorch.ops.elementwise import add, divide, multiply, negative, subtract

# add:
#   The arrays know the operator: x + y. The gradient needs nothing: ().
# subtract:
#   Nothing is needed later.
# multiply:
#   Return x times y; the gradient needs both inputs: (x, y).
# divide:
#   Return the quotient; the gradient needs both inputs, (x, y).
# negative:
#   Nothing is needed later.

# %% test="1.1" points=2
# fmt: off
with Exercise("1.1", "add, subtract, multiply, divide, negative") as check:
    a, b = np.array([[6.0, -3.0], [0.5, 8.0]], np.float32), np.array([[4.0, 2.0], [-0.25, 5.0]], np.float32)
    x, y = Tensor(a), Tensor(b)
    for name, function, wanted, kept, formula in (
        ("add", add, [[10.0, -1.0], [0.25, 13.0]], [], "x + y, ()"),
        ("subtract", subtract, [[2.0, -5.0], [0.75, 3.0]], [], "x - y, ()"),
        ("multiply", multiply, [[24.0, -6.0], [-0.125, 40.0]], [a, b], "x * y, (x, y)"),
        ("divide", divide, [[1.5, -1.5], [-2.0, 1.6]], [a, b], "x / y, (x, y)"),
    ):
        check.close(lambda: function(x, y), wanted, f"{name} of two (2, 2) tensors",
                    cause=f"return {formula}: two things, the result first")
        check.equal(lambda: [x, y], [a, b], f"x and y after {name}", cause="x += y writes into x: return a new array")
        check.equal(lambda: saved(function, x, y), kept, f"what {name} keeps for its gradient",
                    cause=f"return two things: {formula}")
        check.equal(lambda: str(function(x, y).dtype), "float32", f"the dtype of {name}",
                    cause="use the operators alone: they keep float32")
        check.close(lambda: function(x, Tensor(b[1])), getattr(np, name)(a, b[1]), f"{name} of (2, 2) and (2,)",
                    cause="the operators broadcast; do not compare or change shapes")
    check.equal(lambda: negative(x), [[-6.0, 3.0], [-0.5, -8.0]], "negative of x", cause="return -x, ()")
    check.equal(lambda: x, a, "x after negative", cause="x *= -1 writes into x: return a new array")
    check.equal(lambda: saved(negative, x), [], "what negative keeps", cause="the gradient needs nothing: ()")
    check.equal(lambda: subtract(10.0, x), [[4.0, 13.0], [9.5, 2.0]], "10 - x",
                cause="x is the first argument, y the second: one of them may be a number")
    check.close(lambda: divide(Tensor([7, 9]), Tensor([2, 4])), [3.5, 2.25], "7 / 2 and 9 / 4 of integers",
                cause="/ is the true quotient; // rounds down")

# %% [markdown]
# ## 1.2 Functions of each element, and casting
#
# Exponential, logarithm, root, and a limit. With `clip`, one bound may be missing (None). An
# element that is NaN ("not a number", the result of 0/0) must stay NaN: a limit that hides it would
# hide a bug.
#
# **Casting** fits numbers into another dtype. To integers, the fraction is cut off, towards 0: -2.7
# becomes -2. What does not fit wraps around: 300 becomes 300 - 256 = 44 in int8. As a boolean, all
# but 0 is true. Between floats, numbers are rounded, or become infinite.

# %% exercise="1.2" points=3
from tinytorch.ops.elementwise import cast, clip, exp, log, sqrt

# exp:
#   xp.exp. The gradient will need the result y: (y,).
# log:
#   xp.log. The gradient needs the input.
# sqrt:
#   xp.sqrt. The gradient needs the result.
# clip:
#   Start with y = x. If there is a min, replace what is smaller:
#   y = xp.where(condition, value where it is true, value elsewhere). The value must be an array:
#   xp.full_like(y, min). Then the same for max. A bound that is NaN makes all NaN: min != min is
#   true for NaN alone, so add | (min != min) to the condition.
#   The gradient needs a mask of the elements that did not change: (x == y,).
# cast:
#   xp.astype(x, dtype). The dtype may be given by its name, a str: getattr(xp, "int8") is xp.int8.
#   The gradient needs nothing.

# %% test="1.2" points=3
# fmt: off
with Exercise("1.2", "exp, log, sqrt, clip, cast") as check:
    a = np.array([[0.25, 1.0, 4.0], [9.0, 2.0, 0.01]])
    x = Tensor(a)
    for name, function, wanted, keeps in (
        ("exp", exp, np.exp(a), "result"), ("log", log, np.log(a), "input"), ("sqrt", sqrt, np.sqrt(a), "result"),
    ):
        check.close(lambda: function(x), wanted, f"{name} of six numbers", tolerance=1e-9,
                    cause=f"xp.{name}(x), element by element")
        check.close(lambda: saved(function, x), [wanted if keeps == "result" else a], f"what {name} keeps", tolerance=1e-9,
                    cause=f"a tuple of one, with its comma: the {keeps}")
    check.close(lambda: sqrt(Tensor([4, 9])), [2.0, 3.0], "sqrt of integers", cause="xp.sqrt(x): @op has made floats of them")
    b = np.array([-3.0, -1.0, 0.5, 2.0, 7.0, math.nan])
    z = Tensor(b)
    for low, high, wanted, why in (
        (-1.0, 2.0, [-1.0, -1.0, 0.5, 2.0, 2.0, math.nan], "first min, then max of the result; NaN stays NaN: ask for y < min, which is false for it"),
        (0.0, None, [0.0, 0.0, 0.5, 2.0, 7.0, math.nan], "0.0 is a bound: ask whether min is not None"),
        (None, 0.0, [-3.0, -1.0, 0.0, 0.0, 0.0, math.nan], "0.0 is a bound: ask whether max is not None"),
        (None, None, [-3.0, -1.0, 0.5, 2.0, 7.0, math.nan], "without bounds, y is x"),
        (3.0, 1.0, [1.0, 1.0, 1.0, 1.0, 1.0, math.nan], "first min, then max of the result: y, not x"),
        (math.nan, 1.0, [math.nan] * 6, "a bound that is NaN makes all NaN: (y < min) | (min != min)"),
        (0.0, math.nan, [math.nan] * 6, "a bound that is NaN makes all NaN: (y > max) | (max != max)"),
    ):
        name = f"clip of -3 -1 0.5 2 7 NaN with min={low}, max={high}"
        check.equal(lambda: [str(v) for v in clip(z, min=low, max=high).tolist()], [str(v) for v in wanted], name, cause=why)
        check.equal(lambda: z.numpy()[:5], b[:5], "x after clip", cause="do not write into x: xp.where returns a new array")
        check.equal(lambda: saved(clip, z, min=low, max=high), [[p == q for p, q in zip(b, wanted, strict=True)]],
                    f"the mask of {name}", cause="(x == y,), with the x before and the y after both bounds")
    check.equal(lambda: str(clip(Tensor([1, 5]), max=3).dtype), "int64", "the dtype of clipped integers",
                cause="xp.full_like(y, max) has the dtype of y")
    for values, before, after, wanted, why in (
        ([2.7, -2.7, 0.5, -0.5, 3.0], "float64", "int64", [2, -2, 0, 0, 3], "the fraction is cut off, not rounded"),
        ([300, 128, -129, 127], "int64", "int8", [44, -128, 127, 127], "integers wrap around"),
        ([0.0, 0.5, -1.0, math.nan], "float32", "bool", [False, True, True, True], "all but 0 is true"),
        ([True, False], "bool", "float32", [1.0, 0.0], "True is 1"),
        ([2**24, 2**24 + 1, 2**24 + 3], "int64", "float32", [2.0**24, 2.0**24, 2.0**24 + 4], "24 bits: the nearest number, or the even one of two"),
        ([0.1, 1e39], "float64", "float32", [13421773 / 2**27, math.inf], "24 bits: the nearest number, or infinity"),
        ([1.5, 70000.0], "float32", "float16", [1.5, math.inf], "65504 is the largest float16"),
    ):
        x = Tensor(values, dtype=before)
        for dtype in (after, np.dtype(after)):
            got = check.call(lambda: cast(x, dtype=dtype), f"{values} cast to {dtype!r}", cause="a str is a name: getattr(xp, dtype); else it is the dtype")
            check.equal(lambda: str(got.dtype), after, f"the dtype of {values} cast to {dtype!r}", cause="xp.astype(x, dtype)")
            check.equal(lambda: got, wanted, f"{values} cast to {dtype!r}", cause=f"xp.astype(x, dtype): {why}")
            check.equal(lambda: saved(cast, x, dtype=dtype), [], "what cast keeps", cause="the gradient needs nothing: ()")

# %% [markdown]
# Your functions, drawn. The slope at a point is what gradients will be about.

# %%
import matplotlib.pyplot as plt

grid = Tensor(np.linspace(0.02, 3, 200))
figure, axis = plt.subplots(figsize=(7, 3.4))
for function in (exp, log, sqrt):
    axis.plot(grid.numpy(), function(grid).numpy(), label=function.name)
axis.plot(grid.numpy(), clip(grid, min=0.5, max=2.0).numpy(), label="clip to 0.5 ... 2")
axis.set(ylim=(-3, 6), xlabel="x", title="functions of each element")
axis.legend()
plt.show()

# %% [markdown]
# ## 1.3 Broadcasting
#
# What is (2, 3) plus (3,)? The row is added to both rows of the matrix, as if it had been repeated.
# The rule, for any number of tensors:
#
# 1. Write the shapes below each other, aligned **on the right**; fill up on the left with 1.
# 2. In each column all sizes must be equal, but for 1s. The common size is the one that is not 1.
# 3. An axis of size 1 is repeated.
#
# ```text
#   (8, 1, 6)      (4, 3)      (   3)      (2, 3)
#   (   7, 1)      (   3)      (2, 1)      (   2)
#   ---------      ------      ------      ------
#   (8, 7, 6)      (4, 3)      (2, 3)      an error: 3 and 2
# ```
#
# Size 0 is a size like any other: (1, 3) and (0, 3) give (0, 3).
#
# Shapes that do not fit raise a `ShapeError`: this package's own `ValueError`, whose text contains
# the shapes, because those are what its reader needs.

# %% exercise="1.3" points=3
from tinytorch.functions.repeating import _broadcast

# _broadcast:
#   How many axes has the longest shape? Put (1,) * missing in front of each shape.
#   zip(*rows) yields the columns. Collect the sizes that are not 1 in a set: with more than one,
#   raise a ShapeError that contains the shapes. An empty set gives 1. No shapes at all give ().

# %% test="1.3" points=3
# fmt: off
with Exercise("1.3", "_broadcast") as check:
    for shapes, wanted in (
        ([(2, 3), (3,)], (2, 3)), ([(3,), (2, 3)], (2, 3)), ([(8, 1, 6), (7, 1)], (8, 7, 6)),
        ([(3,), (2, 1)], (2, 3)), ([(5, 4), ()], (5, 4)), ([(), ()], ()), ([], ()),
        ([(1, 1), (1,)], (1, 1)), ([(1, 3), (0, 3)], (0, 3)), ([(0,), (1,)], (0,)),
        ([(2, 1, 1), (3, 1), (4,)], (2, 3, 4)), ([(4, 5)], (4, 5)), ([(1,), (1, 1, 7), (2, 1)], (1, 2, 7)),
    ):
        check.equal(lambda: _broadcast(shapes), wanted, f"the common shape of {shapes}",
                    cause="align on the right, fill up with 1 on the left, take the size that is not 1 (0 is one)")
        check.true(lambda: type(_broadcast(shapes)) is tuple, f"the result for {shapes} is a tuple", cause="return tuple(...)")
    for shapes in (
        [(2, 3), (2,)],
        [(3, 1), (2, 2)],
        [(2, 4), (1, 3), (1, 1)],
        [(0,), (2,)],
        [(7,), (1,), (6,)],
    ):
        check.raises(ShapeError, lambda: _broadcast(shapes), f"the shapes {shapes}", message=str(shapes[0][-1]),
                     cause="two sizes in a column that differ, and neither is 1: a ShapeError with the shapes")

# %% [markdown]
# The picture of (3, 1) and (4,): dark numbers exist, pale ones are repeated.

# %%
column, row = np.array([[0.0], [10.0], [20.0]]), np.array([1.0, 2.0, 3.0, 4.0])
total = add(Tensor(column), Tensor(row)).numpy()
common = _broadcast([column.shape, row.shape])
figure, axes = plt.subplots(1, 3, figsize=(10, 2.6))
for axis, values, real, title in (
    (axes[0], np.broadcast_to(column, common), lambda i, j: j == 0, "(3, 1)"),
    (axes[1], np.broadcast_to(row, common), lambda i, j: i == 0, "(4,)"),
    (axes[2], total, lambda i, j: True, f"the sum {common}"),
):
    axis.imshow(values, cmap="Blues", vmin=-10, vmax=40)
    for (i, j), value in np.ndenumerate(values):
        axis.text(j, i, f"{value:.0f}", ha="center", va="center", alpha=1 if real(i, j) else 0.35)
    axis.set(title=title, xticks=[], yticks=[])
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 1.4 Reductions
#
# A reduction computes one number from many: over all axes (`axis=None`), one, or several. The axes
# disappear from the shape; with `keepdims=True` they stay with size 1, so that the result still
# broadcasts against the input: `x - mean(x, axis=1, keepdims=True)`.
#
# | x (2, 3, 4) | result | with keepdims |
# |---|---|---|
# | axis=1 | (2, 4) | (2, 1, 4) |
# | axis=(0, 2) | (3,) | (1, 3, 1) |
# | axis=None | () | (1, 1, 1) |
#
# `sum` and `max` are given (they are one call each). You write the mean and the variance,
#
# $$ \mathrm{var} = \frac{1}{n - \mathrm{correction}} \sum_i (x_i - \mathrm{mean})^2 $$
#
# Subtract the mean *before* squaring: the formula "mean of squares minus square of the mean"
# subtracts two large numbers of nearly the same size, and nothing correct is left.
#
# `_axes(x, axis)` is given. It returns a tuple of axes that counts from 0: -1 is the last.

# %% given="1.4"
from tinytorch.ops.reductions import _drop_axes

# %% exercise="1.4" points=4
from tinytorch.ops.reductions import _count, _kept_shape, _mean, _variance, mean, var

# _kept_shape:
#   The shape of x, with 1 in place of each size whose axis is in axes.
# _count:
#   The product of the sizes of these axes; math.prod of nothing is 1.
# mean:
#   axes = _axes(x, axis). The result is that of _mean. The gradient needs three things: the shape
#   with kept axes, the shape of x, and the count.
# _mean:
#   xp.mean(x, axis=axes, keepdims=keepdims). Where the count is 0 it would warn: return
#   the sum, of the same shape, times math.nan.
# var:
#   _variance returns three things. The result is its first without the axes: _drop_axes(xp, y,
#   axes, keepdims). The gradient needs the second, the shape of the first, and the third.
# _variance:
#   Return the variance with kept axes, x minus its mean, and the divisor: count - correction, but
#   at least 0.0 (a float).

# %% test="1.4" points=4
# fmt: off
with Exercise("1.4", "mean, var") as check:
    a = np.random.default_rng(4).integers(-9, 9, (2, 3, 4)).astype(np.float64)
    x = Tensor(a)
    for axes, kept, count in (
        ((0,), (1, 3, 4), 2),
        ((1,), (2, 1, 4), 3),
        ((0, 2), (1, 3, 1), 8),
        ((), (2, 3, 4), 1),
        ((0, 1, 2), (1, 1, 1), 24),
    ):
        check.equal(lambda: _kept_shape(a, axes), kept, f"_kept_shape of (2, 3, 4) for the axes {axes}",
                    cause="size 1 where the axis is in axes: enumerate(x.shape)")
        check.equal(lambda: _count(a, axes), count, f"_count of (2, 3, 4) for the axes {axes}",
                    cause="the product, not the sum, of the sizes x.shape[a] of these axes")
    for axis in (None, 0, 1, -1, (0, 2), (-1, 0)):
        for keepdims in (False, True):
            how = f"axis={axis}, keepdims={keepdims}"
            check.close(lambda: mean(x, axis=axis, keepdims=keepdims), a.mean(axis=axis, keepdims=keepdims), f"mean of (2, 3, 4), {how}",
                        cause="hand on axes and keepdims, and divide by the count", tolerance=1e-12)
            for correction in (1, 0, 1.5):
                count = a.size // a.mean(axis=axis).size
                centred = a - a.mean(axis=axis, keepdims=True)
                wanted = (centred**2).sum(axis=axis, keepdims=keepdims) / (count - correction)
                check.close(lambda: var(x, axis=axis, correction=correction, keepdims=keepdims), wanted,
                            f"var of (2, 3, 4), {how}, correction={correction}", tolerance=1e-12,
                            cause="sum of (x - mean)^2, over count - correction; then drop the axes")
    for axis, wanted in ((1, (1,)), (-1, (1,)), (0, (3,))):
        check.equal(lambda: [mean(Tensor([[1.0, 2.0, 6.0]]), axis=axis).shape, var(Tensor([[1.0, 2.0, 6.0]]), axis=axis).shape], [wanted, wanted],
                    f"the shapes of mean and var of (1, 3), axis={axis}", cause="drop the axes of the reduction alone: another axis of size 1 stays")
    check.equal(lambda: saved(mean, x, axis=-1), [(2, 3, 1), (2, 3, 4), 4], "what mean keeps, axis=-1",
                cause="(_kept_shape(x, axes), x.shape, count)")
    check.close(lambda: saved(var, x, axis=1)[0], a - a.mean(axis=1, keepdims=True), "the first that var keeps", cause="x minus its mean")
    check.equal(lambda: saved(var, x, axis=1, correction=0)[1:], [(2, 1, 4), 3.0], "the rest that var keeps, axis=1, correction=0",
                cause="the shape with kept axes, and count - correction")
    check.close(lambda: var(Tensor(np.float32([10000.0, 10001.0, 10002.0]))), 1.0, "var of 10000, 10001, 10002 in float32",
                cause="subtract the mean before squaring")
    for function in (mean, var):
        check.equal(lambda: [str(v) for v in function(Tensor(np.zeros((0, 3))), axis=0).tolist()], ["nan"] * 3,
                    "the mean and variance of no values, (0, 3) over axis 0",
                    cause="count 0: xp.sum(...) * math.nan; the divisor is not below 0")
    check.equal(lambda: mean(Tensor(np.zeros((0, 3))), axis=0, keepdims=True).shape, (1, 3),
                "the shape of the mean of no values, keepdims=True", cause="hand on keepdims to xp.sum as well")
    with np.errstate(all="ignore"):
        check.true(lambda: math.isinf(var(Tensor([1.0, 3.0]), correction=5).item()), "var of two values with correction=5 is infinite",
                   cause="the divisor is at least 0.0: max(0.0, ...) of builtins")

    def mean_of_none() -> list[bool]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return np.isnan(_mean(get("numpy").xp, np.zeros((0, 3)), (0,), False)).tolist()

    check.equal(lambda: mean_of_none(), [True] * 3, "the mean of no values gives no warning", cause="do not call xp.mean if the count is 0")

# %% [markdown]
# Your means, drawn. Axis 0 runs down, so the mean over it leaves one row; axis 1 runs to the right.

# %%
x = Tensor(np.array([[1.0, 2, 3, 6], [4, 4, 4, 4], [7, 9, 8, 8]]))
means = [x, mean(x, axis=0, keepdims=True), mean(x, axis=1, keepdims=True), mean(x, keepdims=True)]
names = ["x", "axis=0", "axis=1", "axis=None"]
figure, axes = plt.subplots(1, 4, figsize=(9, 2.4))
for axis, name, result in zip(axes, names, means, strict=True):
    axis.imshow(result.numpy(), cmap="Blues", vmin=0, vmax=16)
    for (i, j), value in np.ndenumerate(result.numpy()):
        axis.text(j, i, f"{value:.3g}", ha="center", va="center")
    axis.set(title=f"{name}\n{result.shape}", xticks=[], yticks=[], xlim=(-0.5, 3.5), ylim=(2.5, -0.5))
    axis.spines[:].set_visible(False)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 1.5 The matrix product
#
# (M, K) @ (K, N) gives (M, N): each result is the sum of K products, of a row with a column. The
# definition as three loops, which you would not want to wait for:


# %%
def by_hand(x: Any, y: Any) -> Any:
    M, K, N = len(x), len(y), len(y[0])
    return [[sum(x[m][k] * y[k][n] for k in range(K)) for n in range(N)] for m in range(M)]


print(by_hand([[1, 2], [3, 4], [5, 6]], [[10, 20, 30], [1, 2, 3]]), "(3, 2) @ (2, 3) = (3, 3)")

# %% [markdown]
# | x | y | x @ y |
# |---|---|---|
# | (M, K) | (K, N) | (M, N) |
# | (M, K) | (K,) | (M,) |
# | (B, M, K) | (B, K, N) | (B, M, N), a product for each of the B pairs |
# | (B, T, K) | (K, N) | (B, T, N), each of the B with the same y |
#
# The sizes next to the @ must agree, and disappear; axes in front of the last two broadcast.
#
# In models, x is often a batch of sequences, (B, T, K), and y one matrix of weights, (K, N). Then
# one product of (B T, K) with (K, N) is faster than B small products: the same numbers, in fewer
# calls. `_rows` makes a matrix of a stack; a size of -1 could not be inferred if K is 0.

# %% exercise="1.5" points=2
from tinytorch.ops.linalg import _rows, matmul

# _rows:
#   xp.reshape(x, (product of all sizes but the last, the last)).
# matmul:
#   If y is a matrix and x has more than two axes: multiply the rows of x by y, and reshape the
#   result to x's shape with the last size replaced by y's. In all other cases, x @ y.
#   The gradient needs x and y as they came.

# %% test="1.5" points=2
# fmt: off
with Exercise("1.5", "matmul") as check:
    rng = np.random.default_rng(5)
    x, y = Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), Tensor([[10.0, 20.0, 30.0], [1.0, 2.0, 3.0]])
    check.equal(lambda: matmul(x, y), [[12.0, 24.0, 36.0], [34.0, 68.0, 102.0], [56.0, 112.0, 168.0]], "(3, 2) @ (2, 3)",
                cause="rows of x times columns of y: x @ y, not x * y")
    for shape, wanted in (
        ((2, 3, 4), (6, 4)),
        ((5,), (1, 5)),
        ((2, 0), (2, 0)),
        ((2, 3, 0), (6, 0)),
        ((2, 1, 3, 2), (6, 2)),
    ):
        check.equal(lambda: _rows(get("numpy").xp, np.zeros(shape)).shape, wanted, f"the shape of the rows of {shape}",
                    cause="(math.prod(x.shape[:-1]), x.shape[-1])")
    for left, right in (
        ((4, 3), (3, 5)), ((2, 4, 3), (3, 5)), ((2, 1, 4, 3), (3, 5)), ((2, 4, 3), (2, 3, 5)), ((7, 1, 4, 3), (2, 3, 5)),
        ((3,), (3, 5)), ((4, 3), (3,)), ((2, 4, 3), (3,)), ((3,), (3,)), ((3,), (2, 3, 5)), ((4, 3), (2, 3, 5)), ((2, 3, 0), (0, 4)), ((0, 2, 3), (3, 4)),
    ):
        a, b = rng.standard_normal(left), rng.standard_normal(right)
        check.close(lambda: matmul(Tensor(a), Tensor(b)), np.matmul(a, b), f"{left} @ {right}", tolerance=1e-10,
                    cause="rows only if y has two axes and x more than two; the result is (..., M, N)")
        check.equal(lambda: saved(matmul, Tensor(a), Tensor(b)), [a, b], f"what {left} @ {right} keeps",
                    cause="(x, y), as they came: not the reshaped rows")
    sizes: list[int] = []

    class Counting(np.ndarray):
        """An array that notes how many axes the operands of @ have."""

        def __matmul__(self, other: Any) -> Any:
            sizes.append(self.ndim)
            return np.asarray(self) @ np.asarray(other)

    check.call(lambda: matmul.forward(get("numpy").xp, np.ones((2, 4, 3)).view(Counting), np.ones((3, 5))), "(2, 4, 3) @ (3, 5)",
               cause="multiply _rows(xp, x) by y")
    check.true(lambda: sizes in ([2], []), "(2, 4, 3) @ (3, 5) is one product of matrices", cause="_rows(xp, x) @ y, then reshape")

# %% [markdown]
# ## 1.6 Reshape and permute
#
# In memory, a tensor is one long row of numbers. Its **strides** say how many to skip for a step
# along each axis: a (2, 3) tensor has the strides (3, 1). A transposed matrix has the same numbers
# in the same places, read with the strides (1, 3): a **view**. No number moves.
#
# `reshape` keeps the order of the numbers (row by row: *row-major*), `permute` changes which axis
# comes first.
# Do not confuse them: (2, 3) reshaped to (3, 2) is *not* the transpose.

# %% exercise="1.6" points=3
from tinytorch.ops.movement import permute, reshape

# reshape:
#   xp.reshape(x, shape). The gradient needs the old shape.
#   NumPy raises a ValueError if the sizes do not fit: catch it, and raise a ShapeError with both
#   shapes instead. NumPy also infers a size of -2, which is nonsense: sizes below -1 are the same
#   error. A shape may be (): then there is no smallest size.
# permute:
#   xp.permute_dims(x, axes). The gradient needs the axes. A ValueError becomes a ShapeError with
#   the axes and x's shape.

# %% test="1.6" points=3
# fmt: off
with Exercise("1.6", "reshape, permute") as check:
    a = np.arange(24.0).reshape(2, 3, 4)
    x = Tensor(a)
    for shape in ((6, 4), (24,), (-1, 8), (4, 3, 2), (1, 2, 12, 1)):
        check.equal(lambda: reshape(x, shape=shape), a.reshape(shape), f"(2, 3, 4) reshaped to {shape}",
                    cause="xp.reshape(x, shape) keeps the order of the numbers")
    check.equal(lambda: reshape(Tensor([7.0]), shape=()).shape, (), "(1,) reshaped to ()", cause="min(shape, default=0): () has no smallest size")
    check.equal(lambda: saved(reshape, x, shape=(6, 4)), [(2, 3, 4)], "what reshape keeps", cause="(x.shape,): the old shape")
    for axes, wanted in (
        ((2, 0, 1), (4, 2, 3)),
        ((1, 2, 0), (3, 4, 2)),
        ((0, 1, 2), (2, 3, 4)),
        ((-1, 0, 1), (4, 2, 3)),
    ):
        check.equal(lambda: permute(x, axes=axes), a.transpose(axes), f"(2, 3, 4) permuted to {axes}",
                    cause=f"the shape is {wanted}: the first axis of the result is axis {axes[0]} of x")
    check.equal(lambda: saved(permute, x, axes=(2, 0, 1)), [(2, 0, 1)], "what permute keeps", cause="(axes,)")
    for shape in ((5, 5), (-2, 12), (-1, 7), (24, -2)):
        check.raises(ShapeError, lambda: reshape(x, shape=shape), f"(2, 3, 4) reshaped to {shape}", message=str(shape),
                     cause="a ShapeError with both shapes, also for sizes below -1")
        check.raises(ShapeError, lambda: reshape(x, shape=shape), f"(2, 3, 4) reshaped to {shape}", message="(2, 3, 4)",
                     cause="the message contains x.shape, too")
    for axes in ((0, 1), (0, 0, 1), (0, 1, 3)):
        check.raises(ShapeError, lambda: permute(x, axes=axes), f"(2, 3, 4) permuted to {axes}", message=str(axes),
                     cause="a ShapeError with the axes")
        check.raises(ShapeError, lambda: permute(x, axes=axes), f"(2, 3, 4) permuted to {axes}", message="(2, 3, 4)",
                     cause="the message contains x.shape, too")
    for what, view in (
        ("reshape", lambda: reshape(x, shape=(6, 4))),
        ("permute", lambda: permute(x, axes=(2, 0, 1))),
    ):
        check.true(lambda: np.shares_memory(view().numpy(), x.numpy()), f"{what} is a view of the same memory",
                   cause="no copy is necessary: return what xp returns")

# %% [markdown]
# Drawn by your ops: the number in each cell is its place in memory. Both results read the same
# twelve numbers. NumPy counts strides in bytes, four for each of these. Broadcasting is a view, too:
# the axis that it repeats has the stride 0, so that the same number is read again and again.

# %%
places = Tensor(np.arange(12, dtype=np.int32).reshape(3, 4))
repeated = np.broadcast_to(places.numpy()[0], (3, 4))
print("a row broadcast to (3, 4): strides", tuple(n // 4 for n in repeated.strides))
reshaped, permuted = reshape(places, shape=(4, 3)), permute(places, axes=(1, 0))
names = ["x", "reshape, shape=(4, 3)", "permute, axes=(1, 0)"]
figure, axes = plt.subplots(1, 3, figsize=(9, 2.9))
for axis, name, view in zip(axes, names, [places, reshaped, permuted], strict=True):
    axis.imshow(view.numpy(), cmap="viridis", alpha=0.6)
    for (i, j), place in np.ndenumerate(view.numpy()):
        axis.text(j, i, place, ha="center", va="center")
    strides = tuple(n // 4 for n in view.numpy().strides)
    axis.set(title=f"{name}\n{view.shape}, strides {strides}", xticks=[], yticks=[])
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 1.7 Index, split, join
#
# A **key** between brackets selects elements. Its parts belong to the axes, from the left; an axis
# without a part stays whole. For x (3, 4):
#
# | key | selects | shape | |
# |---|---|---|---|
# | `x[1]` | row 1; the axis disappears | (4,) | view |
# | `x[2, -1]` | one number | () | view |
# | `x[:, 1:3]` | columns 1 and 2; the axis stays | (3, 2) | view |
# | `x[::2]` | every second row | (2, 4) | view |
# | `x[:, None]` | all, with a new axis of size 1 | (3, 1, 4) | view |
# | `x[..., 0]` | `...` is all axes that have no part: column 0 | (3,) | view |
# | `x[[2, 0, 2]]` | these rows, in this order | (3, 4) | copy |
# | `x[[0, 1], [3, 2]]` | pairs: the elements (0, 3) and (1, 2) | (2,) | copy |
# | `x[x > 5]` | where a mask is true, in order | (how many,) | copy |
#
# Why is a slice a view? Its elements follow a rule. By hand: x has the strides (4, 1), so
# `x[1:, ::2]` begins at place $1 \cdot 4 + 0 \cdot 1 = 4$ and has the strides
# $(1 \cdot 4, 2 \cdot 1) = (4, 2)$: element (i, j) is at place $4 + 4 i + 2 j$. The rows 2, 0, 2 or
# a mask follow no such rule, so their numbers are copied.
#
# Python hands `x[1, 2:4]` on as the tuple `(1, slice(2, 4))`. Lists become arrays before your op is
# called.
#
# `split` cuts an axis into slices. `concat` is its inverse: along an axis that exists, (2, 3) and
# (4, 3) give (6, 3). `stack` makes a new axis: two (3,) give (2, 3). Both copy.

# %% given="1.7"
from tinytorch.ops.movement import _cannot_join

# %% exercise="1.7" points=4
from tinytorch.ops.movement import _split, concat, getitem, split, stack

# getitem:
#   xp.index(x, key): NumPy's x[key], but one number is an array, too. The gradient needs x.shape
#   and the key.
#   The text of NumPy's IndexError lacks the shape of x: catch it, and raise an IndexError that
#   contains x.shape and the old text.
# concat:
#   xp.concat(arrays, axis=axis). The gradient needs the list of sizes along the axis, and the axis.
#   NumPy raises a ValueError or an IndexError: raise _cannot_join("concat", arrays, axis) instead.
# split:
#   A negative size, or sizes that do not add up to that of the axis, are a ShapeError with the
#   sizes. Return a tuple of pieces. The gradient needs x.shape, the sizes and the axis.
# _split:
#   A list of slices of x along the axis, each beginning where the one before ended. An index for
#   axis 2 is x[:, :, start:stop]: as a tuple, (slice(None), slice(None), slice(start, stop)).
#   A negative axis counts from the end: axis % x.ndim.
# stack:
#   xp.stack(arrays, axis=axis). The gradient needs the number of arrays, and the axis. Errors as
#   for concat.

# %% test="1.7" points=4
# fmt: off
with Exercise("1.7", "getitem, split, concat, stack") as check:
    grid = 10.0 * np.arange(1, 13).reshape(3, 4)
    x = Tensor(grid)
    for text, key, wanted, is_view in (
        ("1", 1, [50.0, 60.0, 70.0, 80.0], True), ("2, -1", (2, -1), 120.0, True),
        (":, 1:3", (slice(None), slice(1, 3)), [[20.0, 30.0], [60.0, 70.0], [100.0, 110.0]], True),
        ("::2", slice(None, None, 2), [[10.0, 20.0, 30.0, 40.0], [90.0, 100.0, 110.0, 120.0]], True),
        ("1:, ::2", (slice(1, None), slice(None, None, 2)), [[50.0, 70.0], [90.0, 110.0]], True),
        ("..., 0", (..., 0), [10.0, 50.0, 90.0], True), (":, None, 3:", (slice(None), None, slice(3, None)), [[[40.0]], [[80.0]], [[120.0]]], True),
        ("3:", slice(3, None), np.zeros((0, 4)), True),
        ("[2, 0, 2]", np.array([2, 0, 2]), [[90.0, 100.0, 110.0, 120.0], [10.0, 20.0, 30.0, 40.0], [90.0, 100.0, 110.0, 120.0]], False),
        ("[0, 1], [3, 2]", (np.array([0, 1]), np.array([3, 2])), [40.0, 70.0], False),
        (":, [3, 3]", (slice(None), np.array([3, 3])), [[40.0, 40.0], [80.0, 80.0], [120.0, 120.0]], False),
        ("x > 75", grid > 75, [80.0, 90.0, 100.0, 110.0, 120.0], False),
        ("[False, True, True], 1", (np.array([False, True, True]), 1), [60.0, 100.0], False),
    ):
        check.equal(lambda: getitem(x, key=key), wanted, f"x[{text}] for x (3, 4), the numbers 10, 20, ... 120",
                    cause="xp.index(x, key) with the key as it came")
        check.true(lambda: type(getitem.forward(get("numpy").xp, grid, key=key)[0]) is np.ndarray, f"x[{text}] is an array",
                   cause="x[key] of one number is not an array in NumPy: xp.index(x, key) is")
        check.true(lambda: np.shares_memory(getitem(x, key=key).numpy(), x.numpy()) == (is_view and 0 not in np.shape(wanted)),
                   f"x[{text}] is a {'view' if is_view else 'copy'}", cause="return what xp.index returns: no copy")
        check.true(lambda: (kept := saved(getitem, x, key=key))[0] == (3, 4) and len(kept) == 2 and kept[1] is key, f"what x[{text}] keeps",
                   cause="(x.shape, key)")
    for text, key in (("3", 3), ("0, 4", (0, 4)), ("[0, -4]", np.array([0, -4])), ("0, 0, 0", (0, 0, 0)), ("a mask of shape (2,)", np.array([True, False]))):
        check.raises(IndexError, lambda: getitem(x, key=key), f"x[{text}] for x (3, 4)", message="(3, 4)", cause="catch the IndexError, and raise one that contains x.shape")
    check.raises(IndexError, lambda: getitem(x, key=3), "x[3] for x (3, 4)", message="out of bounds", cause="the new message ends with the old: {error}")
    a, b = np.arange(6.0).reshape(2, 3), 10 + np.arange(12.0).reshape(4, 3)
    check.equal(lambda: concat(Tensor(a), Tensor(b)), np.concatenate([a, b]), "(2, 3) and (4, 3) joined",
                cause="xp.concat(arrays, axis=axis), by default along axis 0")
    for axis, other in ((1, 9 * np.ones((2, 5))), (-1, np.ones((2, 1))), (0, np.zeros((0, 3)))):
        check.equal(lambda: concat(Tensor(a), Tensor(other), Tensor(a), axis=axis), np.concatenate([a, other, a], axis=axis),
                    f"(2, 3), {other.shape} and (2, 3) joined along axis {axis}", cause="hand on the axis")
        check.equal(lambda: saved(concat, Tensor(a), Tensor(other), axis=axis), [[a.shape[axis], other.shape[axis]], axis],
                    f"what concat keeps, axis={axis}", cause="([a.shape[axis] for a in arrays], axis)")
    for axis in (0, 1, 2, -1):
        check.equal(lambda: stack(Tensor(a), Tensor(a + 7), axis=axis), np.stack([a, a + 7], axis=axis), f"two (2, 3) stacked along axis {axis}",
                    cause="xp.stack(arrays, axis=axis)")
        check.equal(lambda: saved(stack, Tensor(a), Tensor(a), Tensor(a), axis=axis), [3, axis], f"what stack keeps for three, axis={axis}",
                    cause="(len(arrays), axis)")
    check.equal(lambda: stack(Tensor([1.0]), Tensor([2.0])), [[1.0], [2.0]], "two (1,) stacked", cause="by default along axis 0")
    c = np.arange(30.0).reshape(2, 5, 3)
    for sizes, axis in (
        ((2, 3), 1),
        ((1, 4), -2),
        ((1, 1), 0),
        ((1, 0, 2), 2),
        ((3,), -1),
        ((2,), 0),
        ((1, 1, 3), 1),
    ):
        wanted = [p.tolist() for p in np.split(c, np.cumsum(sizes)[:-1], axis=axis)]
        pieces = check.call(lambda: _split(c, sizes, axis), f"_split of (2, 5, 3) into {sizes} along axis {axis}", count=len(sizes),
                            cause="one piece for each size, in a list: x[key] with a tuple of slices as the key")
        check.equal(lambda: [p.tolist() for p in pieces], wanted, f"_split of (2, 5, 3) into {sizes} along axis {axis}",
                    cause="each piece begins where the one before ended: start += size; axis % x.ndim axes in front")
        check.true(lambda: all(np.shares_memory(p, c) for p in pieces if p.size), f"the pieces of {sizes} along axis {axis} are views",
                   cause="x[...] with slices is a view; np.take and lists of indices copy")
        check.equal(lambda: [p.tolist() for p in split(Tensor(c), sizes=sizes, axis=axis)], wanted, f"(2, 5, 3) split into {sizes} along axis {axis}",
                    cause="return tuple(_split(x, sizes, axis)); compare with x.shape[axis]; a size of 0 is allowed")
        check.equal(lambda: saved(split, Tensor(c), sizes=sizes, axis=axis), [(2, 5, 3), sizes, axis], f"what split into {sizes} keeps",
                    cause="(x.shape, sizes, axis)")
    check.equal(lambda: [p.tolist() for p in split(Tensor(a), sizes=(1, 1))], [[[0.0, 1.0, 2.0]], [[3.0, 4.0, 5.0]]], "(2, 3) split into (1, 1)",
                cause="by default along axis 0")
    for sizes in ((2, 2), (2, 4), (-1, 6), (6, -1), ()):
        check.raises(ShapeError, lambda: split(Tensor(c), sizes=sizes, axis=1), f"axis of size 5 split into {sizes}", message=str(sizes),
                     cause="sizes must be 0 or more, and add up to 5: else a ShapeError with the sizes")
    for function, other in ((concat, np.ones((2, 4))), (stack, np.ones((3, 2)))):
        check.raises(ShapeError, lambda: function(Tensor(a), Tensor(other)), f"(2, 3) joined with {other.shape}", message=str(other.shape),
                     cause="catch the ValueError, and raise _cannot_join(name, arrays, axis) with the op's own name")
        check.raises(ShapeError, lambda: function(Tensor(a), Tensor(a), axis=5), "(2, 3) joined along axis 5", message="axis 5",
                     cause="catch the IndexError, too")
    for name, function in (("concat", concat), ("stack", stack)):
        check.raises(ShapeError, lambda: function(Tensor(a), Tensor(np.ones((5, 5)))), f"{name} of (2, 3) and (5, 5)", message=name,
                     cause="the first argument of _cannot_join is the name of the op")

# %% [markdown]
# What your keys select, on the places of before. White cells are not selected.

# %%
keys = {
    "x[1]": 1,
    "x[2, -1]": (2, -1),
    "x[:, 1:3]": (slice(None), slice(1, 3)),
    "x[::2]": slice(None, None, 2),
    "x[1:, ::2]": (slice(1, None), slice(None, None, 2)),
    "x[[2, 0, 2]]": np.array([2, 0, 2]),
    "x[[0, 1], [3, 2]]": (np.array([0, 1]), np.array([3, 2])),
    "x[x > 5]": places.numpy() > 5,
}
results = {text: getitem(places, key=key) for text, key in keys.items()}
figure, axes = plt.subplots(2, 4, figsize=(9, 5))
for axis, (text, result) in zip(axes.flat, results.items(), strict=True):
    kind = "view" if np.shares_memory(result.numpy(), places.numpy()) else "copy"
    axis.imshow(np.isin(places.numpy(), result.numpy()), cmap="Blues", vmin=0, vmax=2)
    for (i, j), place in np.ndenumerate(places.numpy()):
        axis.text(j, i, place, ha="center", va="center")
    axis.set(title=f"{text}\n{result.shape}, a {kind}", xticks=[], yticks=[])
figure.tight_layout()
plt.show()

# %% [markdown]
# Writing into a view writes into x. That saves memory, and it is the cause of many bugs.

# %%
x = Tensor(np.zeros((3, 4)))
row, rows = getitem(x, key=1), getitem(x, key=np.array([0, 2]))
row[...] = 1  # a view
rows[...] = 5  # a copy
print(x)

# %% [markdown]
# ## 1.8 What a dtype can hold, and numbers in rows
#
# A float32 has 32 bits: one for the sign, 8 for an exponent, and **24 bits** for its digits (one of
# them is always 1, and not stored). So it is $\pm m \cdot 2^e$ with a whole number $m < 2^{24}$.
#
# - **0.1**: the best $m$ is $0.1 \cdot 2^{27} = 13421772.8$, rounded to 13421773. What is stored is
#   $13421773 / 2^{27} = 0.1000000015$. No binary fraction is exactly 0.1.
# - **$2^{24} + 1$** has 25 bits. Its neighbours in float32 are $2^{24}$ and $2^{24} + 2$.
#
# | dtype | bytes | bits of $m$ | largest | first whole number that is missing |
# |---|---|---|---|---|
# | float64 | 8 | 53 | about 1.8e308 | $2^{53} + 1$ |
# | float32 | 4 | 24 | about 3.4e38 | $2^{24} + 1$ = 16777217 |
# | float16 | 2 | 11 | 65504 | $2^{11} + 1$ = 2049 |
# | int64 | 8 | | $2^{63} - 1$, about 9.2e18 | none |
# | int8 | 1 | | 127 | none, but 127 + 1 is -128 |

# %%
m = round(0.1 * 2**27)
print("0.1 in float32:", m, "/ 2^27 =", m / 2**27, " NumPy:", float(np.float32(0.1)))
sizes = np.logspace(-4, 10, 400)
figure, axis = plt.subplots(figsize=(7, 3.4))
for dtype in (np.float16, np.float32, np.float64):
    inside = sizes[sizes <= min(float(np.finfo(dtype).max), 1e10)].astype(dtype)
    axis.loglog(inside, np.spacing(inside).astype(float), label=dtype.__name__)
axis.axhline(1, color="gray", linestyle=":")
axis.annotate("above: whole numbers are missing", (1e-4, 20), color="gray")
axis.set(xlabel="x", ylabel="to the next number", title="The larger a float, the farther its neighbours")
axis.legend(loc="lower right")
plt.show()

# %% [markdown]
# Rounding errors add up. `arange(0, 1, 0.1)` counts in steps: adding 0.1 again and again would add
# its rounding error again and again; better is `start + i * step` for each `i` by itself. How many
# numbers are there? All that are below the end: (end - start) / step, rounded up. `arange` itself is
# given; it checks its arguments, and calls `_steps`.

# %% exercise="1.8" points=2
from tinytorch.functions.creation import _steps

# _steps:
#   Whole numbers: xp.arange(start, end, step, dtype=xp.int64).
#   Else count the numbers (math.ceil), make the indices 0, 1, ... in float64 with xp.arange(0,
#   count, 1, dtype=xp.float64), and compute all numbers from them at once.

# %% test="1.8" points=2
# fmt: off
with Exercise("1.8", "_steps") as check:
    for start, end, step in ((0, 5, 1), (2, 11, 3), (7, 0, -2), (3, 3, 1), (-4, 2, 5)):
        got = check.call(lambda: _steps(get("numpy").xp, start, end, step, True), f"{start} to {end} in steps of {step}",
                         cause="xp.arange(start, end, step, dtype=xp.int64)")
        check.equal(lambda: got, list(range(start, end, step)), f"{start} to {end} in steps of {step}", cause="without the end, in this order")
        check.equal(lambda: str(got.dtype), "int64", "the dtype of whole numbers", cause="dtype=xp.int64")
    for start, end, step, wanted in (
        (0.0, 1.0, 0.25, [0.0, 0.25, 0.5, 0.75]), (1, 2.1, 0.5, [1.0, 1.5, 2.0]), (2.0, 0.0, -0.75, [2.0, 1.25, 0.5]),
        (0.5, 0.5, 1.0, []), (0, 0.7, 1, [0.0]),
    ):
        got = check.call(lambda: _steps(get("numpy").xp, start, end, step, False), f"{start} to {end} in steps of {step}",
                         cause="indices * step + start")
        check.equal(lambda: got, wanted, f"{start} to {end} in steps of {step}", cause="ceil((end - start) / step) numbers: i * step + start")
        check.equal(lambda: str(got.dtype), "float64", "the dtype of numbers with a fraction", cause="dtype=xp.float64")
    for start in (0.0, 1.0):
        check.equal(lambda: float(_steps(get("numpy").xp, start, 100.0, 0.1, False)[777]), start + 777 * 0.1, f"number 777 from {start} on, in steps of 0.1",
                    cause="777 * 0.1 + start by itself, from the index 777: not a sum of steps, nor xp.arange with the step 0.1, which rounds it")

# %% [markdown]
# Four surprises. Explain each before you read on.

# %%
print("0.1 + 0.2 == 0.3:", 0.1 + 0.2 == 0.3, " the sum is", 0.1 + 0.2)
big = Tensor([2.0**24], dtype="float32")
print("2^24 + 1 in float32:", add(big, 1.0).item(), " 2^24:", big.item())
small = Tensor([120], dtype="int8")
print("120 + 10 in int8:", add(small, Tensor([10], dtype="int8")).item())
print("exp(89) in float32:", exp(Tensor([89.0])).item(), " exp(88):", exp(Tensor([88.0])).item())

# %% [markdown]
# 0.1, 0.2 and 0.3 are all rounded, in float64 too, and the errors do not cancel. From $2^{24}$ on,
# the distance of two neighbours in float32 is 2. Integers wrap around without a warning. And exp
# leaves the range of float32 just below 89.
#
# **When two dtypes meet**, the ops convert both before they call your function (`@op(promote=...)`):
#
# 1. Kinds are ordered: bool, int, float. The higher kind wins; within a kind, the smallest dtype
#    that holds both (int16 for uint8 and int8).
# 2. A Python number counts only if its kind is higher than the tensor's; it is then int64 or float32.
# 3. `divide`, `exp` and others make float32 of integers.
#
# Cover the last column, and predict it.

# %%
for text, function, x, y in (
    ("int8 + int64", add, Tensor([1], dtype="int8"), Tensor([2], dtype="int64")),
    ("int64 + float32", add, Tensor([1], dtype="int64"), Tensor([2.0], dtype="float32")),
    ("float32 * float64", multiply, Tensor([1.0], dtype="float32"), Tensor([2.0], dtype="float64")),
    ("uint8 + int8", add, Tensor([1], dtype="uint8"), Tensor([2], dtype="int8")),
    ("int32 + the number 2", add, Tensor([1], dtype="int32"), 2),
    ("int32 + the number 0.5", add, Tensor([1], dtype="int32"), 0.5),
    ("int8 + the number 127", add, Tensor([1], dtype="int8"), 127),
    ("int64 / int64", divide, Tensor([1], dtype="int64"), Tensor([2], dtype="int64")),
):
    result = function(x, y)
    print(f"{text:24} {result.tolist()!s:8} {result.dtype}")

# %% [markdown]
# ## 1.9 Operators
#
# Now `x + y` should call `add(x, y)`. Python calls `x.__add__(y)`. If the left side does not know how
# to add (`5 - x`: an int knows nothing of tensors), it calls `x.__rsub__(5)` on the right side. Mind
# the order: `5 - x` is not `x - 5`. `Tensor` is derived from this class.

# %% exercise="1.9" points=2
from tinytorch.tensor import Arithmetic

# Arithmetic.__add__:
#   Call your op add with self and other.
# Arithmetic.__radd__:
#   other + self.
# Arithmetic.__sub__:
#   self - other, with subtract.
# Arithmetic.__rsub__:
#   other - self: other comes first.
# Arithmetic.__mul__:
#   multiply
# Arithmetic.__rmul__:
#   other * self
# Arithmetic.__truediv__:
#   self / other, with divide.
# Arithmetic.__rtruediv__:
#   other / self
# Arithmetic.__neg__:
#   negative

# %% test="1.9" points=2
# fmt: off
with Exercise("1.9", "Arithmetic") as check:
    bases = check.call(lambda: (Tensor,) if issubclass(Tensor, Arithmetic) else (Arithmetic, Tensor),  # exported?
                       "the class Arithmetic", cause="change the methods alone")

    class Own(*bases):
        """A tensor with your operators."""

        __slots__ = ()

    x, other = check.call(lambda: (Own([2.0, 5.0]), Own([8.0, 10.0])), "two tensors", count=2,
                          cause="change the methods alone")
    for what, wanted, got in (
        ("x + y", [10.0, 15.0], lambda: x + other), ("x - y", [-6.0, -5.0], lambda: x - other),
        ("x * y", [16.0, 50.0], lambda: x * other), ("x / y", [0.25, 0.5], lambda: x / other),
        ("-x", [-2.0, -5.0], lambda: -x), ("x + 3", [5.0, 8.0], lambda: x + 3), ("x - 3", [-1.0, 2.0], lambda: x - 3),
        ("3 + x", [5.0, 8.0], lambda: 3 + x), ("3 - x", [1.0, -2.0], lambda: 3 - x),
        ("x * 3", [6.0, 15.0], lambda: x * 3), ("3 * x", [6.0, 15.0], lambda: 3 * x),
        ("x / 4", [0.5, 1.25], lambda: x / 4), ("20 / x", [10.0, 4.0], lambda: 20 / x),
        ("[1.0, 2.0] - x", [-1.0, -3.0], lambda: [1.0, 2.0] - x),
    ):
        check.close(got, wanted, f"{what} for x = [2, 5], y = [8, 10]", tolerance=1e-12,
                    cause="call the op, self first; in __rsub__ and __rtruediv__ other comes first")
        check.equal(lambda: [x, other], [[2.0, 5.0], [8.0, 10.0]], f"x and y after {what}", cause="return what the op returns, and write nothing")
        check.true(lambda: isinstance(got(), Tensor), f"{what} is a tensor", cause="return what the op returns")
    n = check.call(lambda: Own([1, 2]), "a tensor of integers", cause="change the methods alone")
    for what, got in (
        ("n + 0.5", lambda: n + 0.5), ("0.5 + n", lambda: 0.5 + n), ("n - 0.5", lambda: n - 0.5), ("0.5 - n", lambda: 0.5 - n),
        ("n * 0.5", lambda: n * 0.5), ("0.5 * n", lambda: 0.5 * n), ("n / 2", lambda: n / 2), ("2 / n", lambda: 2 / n),
    ):
        check.equal(lambda: str(got().dtype), "float32", f"the dtype of {what} for integers n",
                    cause="call the op: it converts dtypes; arithmetic with .numpy() does not")

# %% [markdown]
# ## The example, on your code
#
# The marks of the first page:

# %%
marks = Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]])  # (2, 3)
average = mean(marks, axis=0)  # (3,)
centred = subtract(marks, average)  # (2, 3)
result = matmul(centred, Tensor([1.0, 0.0, 2.0]))  # (2,)
for name, value in (("average", average), ("centred", centred), ("result", result)):
    print(f"{name:8} {value.shape!s:7} {value.tolist()}")

# %% [markdown]
# ## What it costs
#
# An elementwise op reads its inputs from memory, computes once per number, and writes the result: an
# addition moves three numbers. A product of two (N, N) matrices computes $2 N^3$ times, on only
# $3 N^2$ numbers. Which is limited by the memory, which by the arithmetic?

# %%
from tinytorch.tito.measure import seconds

N = 768
rng = np.random.default_rng(0)
x = Tensor(rng.standard_normal((N, N)).astype(np.float32))
y = Tensor(rng.standard_normal((N, N)).astype(np.float32))
print("op          bytes moved   computations      time     GB/s   GFLOP/s")
for name, work, arrays, flops in (
    ("add", lambda: add(x, y), 3, N * N),
    ("exp", lambda: exp(x), 2, N * N),
    ("matmul", lambda: matmul(x, y), 3, 2 * N**3),
):
    moved, time = arrays * 4 * N * N, seconds(work)
    print(f"{name:10} {moved / 1e6:8.1f} MB {flops / 1e6:10.1f} M {1e3 * time:8.2f} ms"
          f" {moved / time / 1e9:8.1f} {flops / time / 1e9:9.1f}")

# %% [markdown]
# The product moves no more bytes than the addition and yet computes many times as much per second:
# each number it loads is used N times. It is limited by arithmetic. The addition uses a number once;
# it waits for the memory, and no faster processor would help.
#
# Each call costs something, too: Python, the wrapping, the choice of a function. One large call
# against many small ones, on the same numbers:

# %%
pieces = [Tensor(row) for row in x.numpy()[:256]]
whole = Tensor(x.numpy()[:256])
one = seconds(lambda: add(whole, 1.0))
many = seconds(lambda: [add(row, 1.0) for row in pieces])
print(f"one call {1e6 * one:.0f} us, 256 calls {1e6 * many:.0f} us: {many / one:.0f} times as much")

# %% [markdown]
# A view costs its call and no more. A permuted matrix has its numbers in the wrong order for a
# reshape, which must copy them all:

# %%
turned = permute(x, axes=(1, 0))
view, copied = seconds(lambda: permute(x, axes=(1, 0))), seconds(lambda: reshape(turned, shape=(N * N,)))
print(f"permute {1e6 * view:.1f} us, reshape of the result {1e6 * copied:.0f} us")

# %% [markdown]
# And the order matters. The numbers of a row have the stride 1, those of a column 4096. Memory comes
# in lines of 64 bytes, 16 numbers: a column needs a line for each number, and wastes the rest of it.

# %%
square = np.zeros((4096, 4096), np.float32)
along, across = seconds(lambda: square[8].sum()), seconds(lambda: square[:, 8].sum())
print(f"sum of a row {1e6 * along:.1f} us, of a column {1e6 * across:.1f} us, both of 4096 numbers")
print(f"of each line of 64 bytes, a column uses {square.itemsize}")

# %% [markdown]
# ## Questions to think about
#
# 1. x is (4, 1, 5) and y is (3, 1). What is the shape of `x + y`? How many numbers are read from
#    memory, how many are written?
# 2. Why does `x - x.mean(axis=1)` fail for x (4, 5), and why does it not fail, but is wrong, for
#    x (5, 5)?
# 3. `permute` takes the same time for ten numbers and for a billion. A following `reshape` may not.
#    Why?
# 4. A loop adds 1.0 to a float32 counter a hundred million times. What is the result?
# 5. An addition and an exponential of the same large tensor: which one waits for the memory?
# 6. You keep `first = x[:, :10]` of a large x, and nothing else of it. Is the memory of x freed? And
#    with `first = x[:, list(range(10))]`?

# %% [markdown] instructor=true
# ### Answers, for the instructor
#
# 1. (4, 3, 5). 20 + 3 numbers are read, 60 written: the repeated ones are not copied.
# 2. The mean has the shape (4,), aligned on the right with the 5: an error. For (5, 5) it fits, but
#    the mean of row i is subtracted from *column* i. `keepdims=True` gives (5, 1).
# 3. `permute` changes shape and strides alone. A reshape needs the numbers in row-major order: where
#    no strides describe the result, it copies all.
# 4. 16777216, $2^{24}$: from there on, adding 1 is rounded away.
# 5. The addition: three numbers are moved for one computation. An exponential needs some tens of
#    instructions per number; whether it waits for the memory, too, depends on the processor. The
#    table above says it.
# 6. No: the slice is a view, and keeps all of x alive. Yes: a list of indices copies ten columns.
#
# Rubric for each question: 2 points for the right answer with its reason, 1 without. Typical
# trouble: in 1.3 shapes aligned on the left, in 1.4 the axes that disappear, in 1.6 reshape in place
# of permute, in 1.7 the end of a slice taken for its size.

# %% [markdown]
# ## In PyTorch
#
# | here | PyTorch |
# |---|---|
# | `@op` with a forward and a gradient | `torch.autograd.Function` |
# | `mean(x, axis=0, keepdims=True)` | `x.mean(dim=0, keepdim=True)` |
# | `x[:, 1:3]`, `x[[2, 0]]`, `x[mask]` | the same keys, and the same views and copies |
# | `cast(x, dtype="int8")` | `x.to(torch.int8)` |
# | int32 tensor + 0.5 is float32 | `torch.result_type` |
# | `concat` | `torch.cat` |
# | `broadcast_shapes` | `torch.broadcast_shapes` |
# | `matmul` of (B, T, K) and (K, N) | `torch.matmul`, which folds B and T in the same way |
#
# Source: the [array API standard](https://data-apis.org/array-api/latest/), whose rules the backends
# share.
#
# Next: in lesson 02, functions that are not linear.
