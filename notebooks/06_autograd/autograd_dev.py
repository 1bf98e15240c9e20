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
# # Lesson 06: Autograd
#
# A network has a loss and many weights. To learn, it needs to know one thing about each weight: if
# this weight grows a little, does the loss go up or down, and how fast? That number is the
# **derivative** of the loss with respect to the weight; all of them together are the **gradient**.
#
# You could change each weight a little and compute the loss again. For a million weights that is a
# million passes. Autograd gets all derivatives from *one* pass backwards, and it is exact.
#
# | | one derivative at a time | autograd |
# |---|---|---|
# | idea | change a weight, look at the loss | the chain rule, from the loss back to the weights |
# | work for P weights | more than P forward passes | that of about 3, for all of them |
# | error | from the size of the change | rounding only |
# | memory | no more than a forward pass | everything that the gradients need |
#
# **You will build** reverse-mode autograd.
#
# **You will learn**
#
# - what a derivative is, by a small change, and how to check any gradient with it;
# - what the tape keeps of each op, and the gradients of the ops of lessons 01 to 04;
# - why a value that is used several times gets the sum of its gradients;
# - how the graph is walked from the loss to the weights, each node once and without recursion;
# - what `no_grad`, `detach`, a second backward and a write in place do, and what the tape costs.
#
# **Before you start**: lessons 01 to 04: ops, activations, layers, losses. From school: the
# derivatives of $x^2$, $e^x$ and $\log x$, and the chain rule.
#
# **Time**: about three hours, ten minutes per exercise and the rest for reading and experiments.

# %% setup=true
import heapq
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinytorch import activations, layers, losses
from tinytorch.autograd import Edge, Hook, Node, Variable, Version, no_grad, wrap_array
from tinytorch.backends import get
from tinytorch.backends.arrays import Array, Axis, Namespace, Shape
from tinytorch.backends.float_errors import ignored
from tinytorch.ops import elementwise, linalg, movement, reductions
from tinytorch.ops.linalg import _rows
from tinytorch.ops.op import Op, op
from tinytorch.ops.random import manual_seed
from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise


def copy_of(original: Any) -> Op:
    """Return a copy of an op of the package, to which you give a gradient of your own."""

    def forward(xp: Namespace, *arrays: Array, **settings: Any) -> Any:
        return original.forward(xp, *arrays, **settings)

    forward.__name__ = original.name
    copy = Op(forward, original.promote)
    copy._keep = original._keep
    copy.gradient(original.reference.gradient)  # until you declare yours
    return copy


def by_rule(op: Op, g: Any, *inputs: Any, **settings: Any) -> list[Any]:
    """Return what an op's gradient function returns, computed from g and from what is saved.

    Raises:
        ValueError: the function wrote into g or into what is saved.
    """
    xp = get("numpy").xp
    with np.errstate(all="ignore"):
        _, saved = op.forward(xp, *inputs, **settings)
    lent = [a for a in (g, *saved) if isinstance(a, np.ndarray)]
    before = [a.tobytes() for a in lent]
    gradients = op.reference.gradient(xp, g, *saved)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    gradients = [part() if callable(part) else part for part in gradients]
    if [a.tobytes() for a in lent] != before:
        raise ValueError(
            f"the gradient of {op.name} wrote into g or into a saved array, which others hold:"
            " compute a new array"
        )
    return gradients


def by_small_change(op: Op, g: Any, *inputs: Any, h: float = 1e-6, **settings: Any) -> list[Any]:
    """Return the gradients of sum(op(*inputs) * g): each number is moved up and down by h."""
    xp, results = get("numpy").xp, []
    for i, x in enumerate(inputs):
        results.append(np.zeros_like(x))
        for place in np.ndindex(x.shape):
            ends = []
            for step in (h, -h):
                moved = x.copy()
                moved[place] += step
                changed = (*inputs[:i], moved, *inputs[i + 1 :])
                ends.append(np.sum(op.forward(xp, *changed, **settings)[0] * g))
            results[i][place] = (ends[0] - ends[1]) / (2 * h)
    return results


def nodes_of(root: Tensor) -> list[Any]:
    """Return the nodes that a tensor depends on, the youngest first."""
    found = {root._node.sequence_nr: root._node}
    waiting = [root._node]
    while waiting:
        for edge in waiting.pop().inputs:
            target = None if edge is None else edge.target
            if isinstance(target, Node) and target.sequence_nr not in found:
                found[target.sequence_nr] = target
                waiting.append(target)
    return [found[n] for n in sorted(found, reverse=True)]


# Copies of the package's ops, to which this notebook gives gradients.
add, subtract = copy_of(elementwise.add), copy_of(elementwise.subtract)
multiply, divide = copy_of(elementwise.multiply), copy_of(elementwise.divide)
exp, log = copy_of(elementwise.exp), copy_of(elementwise.log)
sum, mean = copy_of(reductions.sum), copy_of(reductions.mean)
reshape, permute = copy_of(movement.reshape), copy_of(movement.permute)
getitem, matmul = copy_of(movement.getitem), copy_of(linalg.matmul)
relu, sigmoid = copy_of(activations.relu), copy_of(activations.sigmoid)
tanh, softmax = copy_of(activations.tanh), copy_of(activations.softmax)
log_softmax, linear = copy_of(activations.log_softmax), copy_of(layers.linear)
cross_entropy = copy_of(losses.cross_entropy)


# %% [markdown]
# ## A derivative by a small change
#
# The smallest network: one weight `w`, one bias `b`, and a squared error. For x = 3 its result
# should be 5.

# %%
x, target = 3.0, 5.0


def loss_of(w: float, b: float) -> float:
    return (w * x + b - target) ** 2


w, b, h = 2.0, 1.0, 1e-4
print("loss", loss_of(w, b))
print("d loss / d w", (loss_of(w + h, b) - loss_of(w - h, b)) / (2 * h))
print("d loss / d b", (loss_of(w, b + h) - loss_of(w, b - h)) / (2 * h))

# %% [markdown]
# So `w` should decrease, and `b` too, but `w` matters three times as much. This is a **finite difference**.
# Moving both up and down (a *central* difference) makes the error shrink with $h^2$ instead of $h$.
#
# How small should h be? Too large, and the curve is not a line; too small, and the two losses agree in
# almost all digits, so that their difference consists of rounding errors.

# %%
import matplotlib.pyplot as plt

steps = 10.0 ** np.arange(-12, 0.5, 0.5)
figure, axis = plt.subplots(figsize=(6.5, 3))
for kind in (np.float32, np.float64):
    at = kind(1.0)
    ends = [np.exp(at + kind(s)) - np.exp(at - kind(s)) for s in steps]
    slopes = np.array(ends, float) / (2 * steps)
    axis.loglog(steps, np.abs(slopes - math.e) + 1e-18, "o-", markersize=3, label=kind.__name__)
axis.set(xlabel="h", ylabel="error", title="slope of exp at 1, by a central difference")
axis.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# In float64 about ten digits are right with h between 1e-6 and 1e-5; in float32 at most four or five. So
# finite differences are too slow and too coarse for training. But they need no thinking, and that makes
# them the judge of everything that follows: each gradient you write is compared with them, in float64.

# %% [markdown]
# ## The chain rule, backwards
#
# The same loss, step by step. Forwards, each step computes its value. Backwards, each step turns the
# derivative of the loss with respect to its *result* into those with respect to its *inputs*: it
# multiplies by its own slope.
#
# | step | value | its slope | d loss / d value |
# |---|---|---|---|
# | m = w x | 6 | by w: x = 3, by x: w = 2 | 4, so w gets 4 · 3 = **12**, x gets 4 · 2 = 8 |
# | y = m + b | 7 | by m: 1, by b: 1 | 4, so m gets 4, b gets **4** |
# | d = y - 5 | 2 | by y: 1 | 4, so y gets 4 |
# | loss = d d | 4 | 2 d = 4 | 1, so d gets 4 |
#
# Read it from the bottom to the top: 12 and 4, as above, in one pass. No step knows anything about the
# others. So all that autograd needs is
#
# 1. for each op a **gradient function**: from `g`, the derivatives with respect to the result, to those
#    with respect to the inputs (6.1 to 6.4, 6.7 to 6.9);
# 2. a **tape** that says which op was called on what (given, you look at it below);
# 3. a **walk** along it, from the loss back (6.5, 6.6).

# %% [markdown]
# ## 6.1 Elementwise ops
#
# In lesson 01 each op returned a pair: the result, and what its gradient will need. Now comes the
# function that needs it. It is declared directly below its op:
#
# ```python
# @op(promote="float")
# def cube(xp, x):
#     return x * x * x, (x,)
#
#
# @cube.gradient
# def cube_gradient(xp, g, x):
#     return g * 3 * x * x
# ```
#
# - `g` has the shape of the result. After it come the saved values, in their order.
# - It returns one gradient for each input: an array, or for two inputs a pair. None stands for "no
#   gradient", such as that of a table of booleans.
# - Instead of an array it may return a function without arguments that computes it, such as
#   `lambda: g * y`. It is called only if somebody needs that gradient.
# - Do not write into `g` or into a saved array: others may hold it too, such as the tensor that the op
#   returned.
# - You need not think of broadcasting: if y (3,) was repeated to the shape (2, 3) of x, return a
#   gradient (2, 3) for it. Exercise 6.5 sums it back, for all ops.
#
# In this notebook you give gradients to *copies* of the package's ops, made in the first code cell. So
# call ops by name, `multiply(x, y)`: the operators `x * y` use the package's, whose gradients are yours
# after `tito export 6`.

# %% exercise="6.1" points=3
from tinytorch.ops.elementwise import (
    add_gradient,
    divide_gradient,
    exp_gradient,
    log_gradient,
    multiply_gradient,
    subtract_gradient,
)

# add_gradient:
#   If one summand grows by 1, so does the sum.
# subtract_gradient:
#   If y grows by 1, x - y shrinks by 1.
# multiply_gradient:
#   How fast does x * y grow with x? And with y? Times g.
# divide_gradient:
#   x / y is linear in x. For y: the derivative of 1 / y is -1 / y². Since y * y could overflow,
#   divide by y twice.
# exp_gradient:
#   The slope of exp at x is exp(x) itself. That is why y, the result, was saved.
# log_gradient:
#   The slope of log at x is 1 / x.

# %% test="6.1" points=3
# fmt: off
with Exercise("6.1", "elementwise gradients") as check:
    rng = np.random.default_rng(1)
    x, y, g = (rng.uniform(0.5, 2.0, (2, 3)) for _ in range(3))
    for name, function, inputs, rule in (
        ("add", add, (x, y), "both summands get g"),
        ("subtract", subtract, (x, y), "x gets g, y gets -g"),
        ("multiply", multiply, (x, y), "x gets g * y, y gets g * x"),
        ("divide", divide, (x, y), "x gets g / y, y gets -g * x / y / y"),
        ("exp", exp, (x,), "g times the saved result"),
        ("log", log, (x,), "g / x"),
    ):
        found = check.call(lambda: by_rule(function, g, *inputs), f"the gradients of {name}, one for each input", count=len(inputs),
                           cause=rule + "; return a pair" * (len(inputs) == 2))
        for got, wanted, which in zip(found, by_small_change(function, g, *inputs), "xy", strict=False):
            check.close(got, wanted, f"the gradient of {name} with respect to {which}", cause=rule)
    huge, one = np.array([1e200, -1e200]), np.array([1.0, 2.0])
    check.close(lambda: by_rule(divide, one, huge, huge)[1] * 1e200, [-1.0, 2.0],
                "the gradient of x / y with respect to y, for x = y = ±1e200, times 1e200", cause="y * y overflows: divide by y twice")
    check.equal(lambda: by_rule(multiply, np.float32([2.0]), np.float32([3.0]), np.float32([4.0]))[0].dtype.name, "float32", "the dtype of a gradient",
                cause="use the operators alone: they keep float32")
# fmt: on

# %% [markdown]
# ## The tape
#
# When an op has a gradient function and one of its inputs requires a gradient, calling it leaves a
# **node** behind (the classes `Node` and `Edge` in `tinytorch/autograd.py`; read them, they are short):
#
# | a node keeps | |
# |---|---|
# | `name`, `gradient` | of the op |
# | `inputs` | an edge for each input: to the node that computed it, or to a **leaf**; None where no gradient is needed |
# | `saved` | what the forward has put into the tuple |
# | `sequence_nr` | a number that counts up: a node is younger than all that it depends on |
#
# The tensor points to its node, the node to those of its inputs. That is the whole tape: nothing is
# written down in one place, and when the last tensor that needs it is gone, Python frees it.

# %%
w, x, b = (Tensor([value], requires_grad=value != 3.0) for value in (2.0, 3.0, 1.0))
m = multiply(w, x)
y = add(m, b)
for tensor in (m, y):
    node = tensor._node
    targets = [None if edge is None else edge.target for edge in node.inputs]
    kinds = [getattr(target, "name", target) for target in targets]
    print(f"node {node.name}: inputs {kinds}, saved {node.saved}")

# %% [markdown]
# `w` and `b` are leaves: no op computed them, and they require a gradient. `x` is data, so its edge is
# None. `add` saves nothing; `multiply` keeps both factors.
#
# Here is a picture of any graph. You need it as soon as you build one yourself.


# %%
def draw_graph(root: Tensor, names: dict[str, Tensor], title: str = "") -> None:
    """Draw the graph of a tensor: leaves on the left, with these names, the result on the right."""
    depth: dict[int, int] = {}
    edges, labels = [], {}
    for node in reversed(nodes_of(root)):
        labels[id(node)], depth[id(node)] = node.name, 1
        for edge in node.inputs:
            if edge is not None:
                leaf = edge.target if isinstance(edge.target, Tensor) else None
                if leaf is not None:
                    own = [n for n, x in names.items() if x is leaf]
                    labels[id(leaf)] = own[0] if own else "leaf"
                    depth.setdefault(id(leaf), 0)
                depth[id(node)] = max(depth[id(node)], depth[id(edge.target)] + 1)
                edges.append((id(edge.target), id(node)))
    columns: dict[int, list[int]] = {}
    for key, column in depth.items():
        columns.setdefault(column, []).append(key)
    places = {
        key: (column, len(keys) / 2 - row)
        for column, keys in columns.items()
        for row, key in enumerate(keys)
    }
    _, axis = plt.subplots(figsize=(1.6 * len(columns) + 1, 2.6))
    for i, (start, end) in enumerate(edges):
        bend = 0.35 if (start, end) in edges[:i] else -0.35 * edges[i + 1 :].count((start, end))
        style = {"arrowstyle": "->", "color": "gray", "shrinkA": 24, "shrinkB": 24}
        style["connectionstyle"] = f"arc3,rad={bend}"
        axis.annotate("", places[start], places[end], arrowprops=style)
    for key, place in places.items():
        color = "lightblue" if depth[key] else "khaki"
        box = {"boxstyle": "round", "facecolor": color, "edgecolor": "gray"}
        axis.text(*place, labels[key], ha="center", va="center", bbox=box)
    axis.set_title(title)
    axis.margins(0.2)
    axis.axis("off")
    axis.plot(*zip(*places.values(), strict=True), ".", alpha=0)
    plt.show()


difference = subtract(y, Tensor([5.0]))
draw_graph(multiply(difference, difference), {"w": w, "b": b}, "(w x + b - 5)²")

# %% [markdown]
# The arrows point the way that gradients go, from the loss back to the leaves. `subtract` is used
# twice by the last `multiply`: two edges lead to it.

# %% [markdown]
# ## 6.2 Sum and mean
#
# $s = x_1 + x_2 + x_3$: each $x_i$ has the slope 1. So each gets the gradient of the sum it was in: the
# gradient of a sum *repeats* g. For a mean over n numbers, each gets g / n.
#
# The forward may have dropped axes: for x (2, 3) and `axis=1`, g is (2,), which does not broadcast to
# (2, 3). `kept_shape` is the shape with keepdims, here (2, 1).

# %% exercise="6.2" points=2
from tinytorch.ops.reductions import mean_gradient, sum_gradient

# sum_gradient:
#   First give g the kept shape, with xp.reshape. Then repeat it up to the shape of x, with
#   xp.broadcast_to.
# mean_gradient:
#   The same for g / count: count numbers went into each mean.

# %% test="6.2" points=2
# fmt: off
with Exercise("6.2", "gradients of sum and mean") as check:
    x = np.random.default_rng(2).standard_normal((2, 3, 4))
    for name, function, rule in (("sum", sum, "reshape g to kept_shape, then broadcast it to shape"), ("mean", mean, "that of a sum, of g / count")):
        for axis in (None, 0, 1, 2, (0, 2), (1, 2)):
            for keepdims in (False, True):
                settings = {"axis": axis, "keepdims": keepdims}
                shape = np.sum(x, **settings).shape
                g = np.cos(np.arange(math.prod(shape)) + 1.0).reshape(shape)
                wanted = by_small_change(function, g, x, **settings)[0]
                what = f"the gradient of {name} over axis {axis} of shape (2, 3, 4), keepdims={keepdims}"
                (got,) = check.call(lambda: by_rule(function, g, x, **settings), what, count=1, cause=rule)
                check.close(got, wanted, what, cause=rule)
    for name, function, rule in (("sum", sum, "broadcast_to keeps the dtype; a product with xp.ones(shape) is float64"), ("mean", mean, "g / count keeps the dtype of g")):
        check.equal(lambda: by_rule(function, np.ones((2, 3), np.float32), x.astype(np.float32), axis=2)[0].dtype.name, "float32", f"the dtype of the gradient of {name}", cause=rule)
# fmt: on

# %% [markdown]
# ## 6.3 Moving numbers
#
# Reshape, permute and indexing compute nothing: each number of the result *is* a number of x. So its
# gradient goes back to where the number came from. What is not chosen by `x[key]` has no influence: its
# gradient is 0. And a number that is chosen twice, as in `x[[0, 0, 2]]`, has two paths to the loss.
#
# **By hand**: x (3,), key `[0, 0, 2]`, g = `[1, 10, 100]`. x[0] gets 1 + 10 = 11, x[1] gets 0, x[2] gets
# 100.

# %% exercise="6.3" points=3
from tinytorch.ops.movement import getitem_gradient, permute_gradient, reshape_gradient

# reshape_gradient:
#   shape is that of x: back into it.
# permute_gradient:
#   Axis i of the result was axis axes[i] of x. Negative axes count from the end, so first make a
#   list, order, of a % len(axes) for each of them. For each axis a of x, 0, 1, ..., find where it is
#   now: order.index(a) is the place of a in the list. Then xp.permute_dims(g, the tuple of places).
# getitem_gradient:
#   Start with zeros of the given shape, and of the dtype of g: xp.zeros(shape, dtype=...).
#   xp.index_add(array, key, values) adds values to array[key] and returns the array; an index that
#   occurs twice gets both values.

# %% test="6.3" points=3
# fmt: off
with Exercise("6.3", "gradients of reshape, permute, getitem") as check:
    x, rng = np.random.default_rng(3).standard_normal((2, 3, 4)), np.random.default_rng(4)
    permutations = [(f"permute with {axes}", permute, {"axes": axes}, "for each axis of x, the place where it is now: the inverse of axes, not axes itself" + "; a negative axis counts from the end: a % len(axes)" * (min(axes) < 0))
                    for axes in ((1, 2, 0), (2, 0, 1), (0, 2, 1), (-1, 0, 1), (1, -1, -3))]
    indices = [(f"x[{name}]", getitem, {"key": key}, "add g to zeros of x's shape at key, with xp.index_add")
               for name, key in (("1", 1), ("1:", slice(1, None)), (":, 2", (slice(None), 2)), ("0, 1:, -1", (0, slice(1, None), -1)), ("[1, 0, 1], [2, 1, 2]", ([1, 0, 1], [2, 1, 2])),
                                 ("..., [0, 0, 3]", (..., [0, 0, 3])), ("x > 0", x > 0))]
    for name, function, settings, rule in (
        ("reshape to (4, 6)", reshape, {"shape": (4, 6)}, "reshape g to shape"),
        ("reshape to (3, -1)", reshape, {"shape": (3, -1)}, "reshape g to shape"),
        *permutations,
        *indices,
    ):
        g = rng.standard_normal(function.forward(np, x, **settings)[0].shape if function is not getitem else x[settings["key"]].shape)
        (got,) = check.call(lambda: by_rule(function, g, x, **settings), f"the gradient of {name}", count=1, cause=rule)
        check.close(got, by_small_change(function, g, x, **settings)[0], f"the gradient of {name}, for x of shape (2, 3, 4)", cause=rule)
    check.equal(lambda: by_rule(getitem, np.array([1.0, 10.0, 100.0]), np.zeros(3), key=[0, 0, 2])[0], [11.0, 0.0, 100.0], "the example by hand",
                cause="an index that occurs twice gets both gradients: xp.index_add, not an assignment")
    check.equal(lambda: by_rule(getitem, np.float32([1.0]), np.zeros(3, np.float32), key=[1])[0].dtype.name, "float32", "the dtype of a gradient",
                cause="xp.zeros(shape, dtype=g.dtype)")
# fmt: on

# %% [markdown]
# ## 6.4 The matrix product
#
# $Z = X Y$ with X (M, K) and Y (K, N). $Z_{mn} = \sum_k X_{mk} Y_{kn}$, so $X_{mk}$ appears in row m
# of Z, each time with the factor $Y_{kn}$:
#
# $$dX_{mk} = \sum_n g_{mn} Y_{kn}, \quad\text{that is}\quad dX = g\,Y^\top, \qquad dY = X^\top g.$$
#
# No need to learn it by heart: the shapes leave no other choice. g is (M, N); dX must be (M, K), and
# only g (M, N) times $Y^\top$ (N, K) gives that.
#
# Products of many matrices at once, x (..., M, K), use the last two axes in the same way. One case is
# special: x (B, T, K) times *one* matrix y (K, N). Every row of every batch uses y, so dy sums over all
# of them: as one product of (K, B·T) and (B·T, N). `_rows`, from 1.5, makes rows of all axes but the
# last. Vectors are a tiresome special case, and given.

# %% given="6.4"
from tinytorch.ops.linalg import _vector_gradients

# %% exercise="6.4" points=2
from tinytorch.ops.linalg import matmul_gradient

# matmul_gradient:
#   If x or y is a vector, return _vector_gradients(xp, g, x, y).
#   xp.matrix_transpose swaps the last two axes.
#   For dy: if y has two axes and x has more, use _rows(xp, x) and _rows(xp, g).
#   Return a pair; functions without arguments save the work for an input that is data.

# %% test="6.4" points=2
# fmt: off
with Exercise("6.4", "matmul_gradient") as check:
    rng, vectors = np.random.default_rng(5), "if x or y has one axis, return _vector_gradients(xp, g, x, y)"
    for first, second in (((2, 3), (3, 4)), ((5, 3), (3, 1)), ((2, 4, 3), (3, 5)), ((2, 2, 4, 3), (3, 2)), ((2, 4, 3), (2, 3, 5)), ((2, 1, 4, 3), (2, 1, 3, 2)),
                          ((3,), (3, 4)), ((4, 3), (3,)), ((3,), (3,))):
        x, y = rng.standard_normal(first), rng.standard_normal(second)
        g = rng.standard_normal((x @ y).shape)
        what = f"of {first} @ {second}"
        found = check.call(lambda: by_rule(matmul, g, x, y), f"the gradients {what}", count=2,
                           cause=vectors if 1 in (x.ndim, y.ndim) else "a pair: g @ the transpose of y, and the transpose of x @ g; xp.matrix_transpose swaps the last two axes only")
        for got, wanted, which, rule in zip(found, by_small_change(matmul, g, x, y), "xy",
                                            ("g @ the transpose of y", "the transpose of x @ g; if y has two axes and x has more, with _rows of both"), strict=True):
            check.close(got, wanted, f"the gradient {what} with respect to {which}", cause=rule)
    many, vector, g = rng.standard_normal((2, 3, 4)), rng.standard_normal(4), rng.standard_normal((2, 3))
    for name, got in (("(2, 3, 4) @ (4,)", lambda: by_rule(matmul, g, many, vector)[0]), ("(4,) @ (2, 4, 3)", lambda: np.swapaxes(by_rule(matmul, g, vector, np.swapaxes(many, 1, 2))[1], 1, 2))):
        check.close(got, g[:, :, None] * vector, f"the gradient of {name} with respect to the matrices", cause=vectors)
    for first, second in (((2, 2, 4, 3), (2, 3, 5)), ((4, 3), (2, 3, 5)), ((2, 1, 4, 3), (3, 3, 2))):
        x, y = rng.standard_normal(first), rng.standard_normal(second)
        g = rng.standard_normal((x @ y).shape)
        what = f"of {first} @ {second}"
        found = check.call(lambda: by_rule(matmul, g, x, y), f"the gradients {what}", count=2, cause="_rows only if y is one matrix: y.ndim == 2 and x.ndim > 2")
        for got, wanted, which in zip(found, by_small_change(matmul, g, x, y), "xy", strict=True):
            repeated = tuple(i - wanted.ndim for i, n in enumerate(wanted.shape) if n == 1)
            check.close(lambda: np.sum(np.reshape(np.sum(got, axis=repeated, keepdims=True), (-1, *wanted.shape)), axis=0), wanted,
                        f"the gradient {what} with respect to {which}, summed over the axes that were broadcast", cause="_rows only if y is one matrix: y.ndim == 2 and x.ndim > 2")
# fmt: on

# %% [markdown]
# ## 6.5 Used several times: add up
#
# If a number is used in several places, a small change of it changes the loss through all of them. The
# changes add up, and so do the gradients. This happens in two ways.
#
# **Paths that meet.** In `multiply(d, d)` both edges lead to d, and each brings a gradient. The class
# below keeps the sum for each output of each node until its turn comes. The first gradient is kept as
# it is, without a copy, since most outputs get only one. But it may be the array of somebody else:
# `add` returned the same g for both inputs! So the second gradient must not be added *into* the first;
# it makes a new array. That one is ours, and further gradients can be added in place.
#
# **Broadcasting.** A bias (3,) that is added to (2, 3) is used by both rows, so its gradient is the sum
# of both. That is the same for all ops, and so it is done once, here, and not in each of them: a
# gradient that has the broadcast shape is summed back to the shape of the input.
#
# | g | input | sum over | result |
# |---|---|---|---|
# | (2, 3) | (3,) | axis 0, which was added | (3,) |
# | (2, 3) | (2, 1) | axis 1, which was repeated | (2, 1) |
# | (4, 2, 3) | (1, 3) | axes 0 and 1 | (1, 3) |

# %% exercise="6.5" points=3
from tinytorch.autograd import _PendingGradients, _sum_to_shape

# _PendingGradients.add:
#   self._sums maps (id(target), output_nr) to the sum so far; self._allocated is the set of keys
#   whose array is our own.
#   Three cases: the key is new; its array is ours, so add in place; or it is not: store a new
#   array, the sum a + b of both, and note that it is ours.
# _sum_to_shape:
#   How many axes more has the gradient? Those in front were added. Of the others, an axis of size
#   1 in `shape` was repeated; its number in the gradient is larger by what was added.
#   xp.sum(gradient, axis=a tuple, keepdims=True, dtype=dtype) sums over all of them at once; then
#   xp.reshape drops the axes in front.

# %% test="6.5" points=3
# fmt: off
with Exercise("6.5", "sums of gradients") as check:
    xp, rng = get("numpy").xp, np.random.default_rng(6)
    for large, small in (((2, 3), (3,)), ((2, 3), (2, 1)), ((2, 3), (1, 3)), ((4, 2, 3), (1, 3)), ((4, 2, 3), (2, 1)), ((4, 2, 3), ()), ((2, 3), (1, 1)), ((5, 1, 3), (1, 3)),
                         ((4, 1, 3), (1, 1, 3)), ((2, 3, 4, 5), (3, 1, 5)), ((0, 3), (1, 3)), ((2,), (1,)), ((1, 3), (1,)), ((5, 3, 1), (1, 1)), ((5, 1, 3), (1, 1))):
        g = rng.standard_normal(large)
        x = np.zeros(small)
        wanted = np.array([g[np.broadcast_to(np.arange(x.size).reshape(small), large) == i].sum() for i in range(x.size)]).reshape(small)
        check.close(lambda: _sum_to_shape(xp, g, small), wanted, f"a gradient {large} summed to the shape {small}",
                    cause="sum over the axes in front, and over those of size 1 in shape, whose numbers are larger by the axes in front")
    half = np.full((3000, 2), 60, np.float16)
    in_dtype = "pass dtype on to xp.sum; a cast afterwards comes too late, since float16 ends at 65504"
    check.equal(lambda: _sum_to_shape(xp, half, (2,), np.float32).dtype.name, "float32", "the dtype of a sum with dtype=float32", cause=in_dtype)
    check.equal(lambda: _sum_to_shape(xp, half, (2,), np.float32), [180000.0, 180000.0], "3000 rows of 60 in float16, summed with dtype=float32", cause=in_dtype)
    check.equal(lambda: _sum_to_shape(xp, np.ones((3, 2), np.float32), (2,)).dtype.name, "float32", "the dtype of a sum of float32", cause="dtype is None by default")

    x = Tensor(np.zeros(2))
    other = Tensor(np.zeros(2))
    node = Node("split", None, True, get("numpy"), [], ())
    given = [np.array([1.0, 2.0]), np.array([10.0, 30.0]), np.array([100.0, 500.0])]
    pending = check.call(lambda: _PendingGradients(), "an object without gradients", cause="change only the method add")
    for target, output_nr, entries in ((node, 0, given), (node, 1, given[:1]), (x, 0, given[1:]), (other, 0, given[:2]), (node, 2, given[::-1])):
        for entry in entries:
            check.call(lambda: pending.add(target, output_nr, entry), "add", cause="three cases: a new key, an array of our own, another array")
    check.equal(lambda: given, [[1.0, 2.0], [10.0, 30.0], [100.0, 500.0]], "the arrays that were added, afterwards",
                cause="the second gradient must not be added into the first, which others may hold: make a new array")
    found = check.call(lambda: pending.pop(node, 4), "the gradients of the four outputs of a node", count=4, cause="the key is (id(target), output_nr)")
    for i, got, wanted in zip(range(4), found, ([111.0, 532.0], [1.0, 2.0], [111.0, 532.0], None), strict=True):
        check.equal(got, wanted, f"the sum for output {i}, after three, one, three and no gradients", cause="add to what is there, under the key (id(target), output_nr)")
    for name, target, wanted in (("x", x, [[110.0, 530.0]]), ("another tensor", other, [[11.0, 32.0]])):
        check.equal(lambda: pending.pop(target), wanted, f"the sum for {name}, after two gradients", cause="the key is (id(target), output_nr): id, since equal tensors are not the same")
    same = check.call(lambda: _PendingGradients(), "a third object", cause="change only the method add")
    for _ in range(3):
        check.call(lambda: same.add(node, 0, given[0]), "add of the same array", cause="three cases: a new key, an array of our own, another array")
    check.equal(lambda: same.pop(node), [[3.0, 6.0]], "the sum of one array that was added three times", cause="x + x hands the same array on twice, and both count: ask for the key, not for the array")
    alone = check.call(lambda: _PendingGradients(), "another object", cause="change only the method add")
    check.call(lambda: alone.add(x, 0, given[0]), "add", cause="the first gradient is stored as it is")
    check.true(lambda: alone.pop(x)[0] is given[0], "a single gradient is stored without a copy", cause="self._sums[key] = gradient")
    ours = check.call(lambda: _PendingGradients(), "another object", cause="change only the method add")
    for entry in given[:2]:
        check.call(lambda: ours.add(x, 0, entry), "add", cause="add to what is there")
    second = check.call(lambda: ours._sums[id(x), 0], "the sum of two", cause="self._sums[key], with the key (id(target), output_nr)")
    check.call(lambda: ours.add(x, 0, given[2]), "add", cause="add to what is there")
    check.true(lambda: ours.pop(x)[0] is second, "the third gradient is added in place", cause="once the array is ours, use +=: no further allocation")
# fmt: on

# %% [markdown]
# ## 6.6 The walk
#
# A node may run when *all* gradients of its outputs have arrived. Which one is next? Look at
# `add(a, c)` below: if `a` ran as soon as it has a gradient, that of the path through `b` and `c` would
# come too late.
#
# ```text
#      x -> a -> b -> c          a = 2 x,  b = 3 a,  c = 4 b,  loss = a + c
#           |         |
#           +-> loss <+          sequence_nr:  a 0,  b 1,  c 2,  loss 3
# ```
#
# Every node is younger than those it depends on. So **always take the youngest** of those that wait:
# then everything that uses it has run. `heapq` keeps the smallest number at the front, so the queue
# holds pairs of `-sequence_nr` and node. A gradient None is not passed on (`_input_gradients` leaves it
# out), and a node that no gradient reaches does not run.
#
# Two things can go wrong, and both would give wrong gradients silently. So before a node runs:
#
# - **Was it run before?** After a backward its saved values are freed, because they take most of the
#   memory. A second backward is an error, unless the first was told to keep them: `retain_graph=True`.
# - **Was something that it saved changed since?** `multiply` keeps its factors, not copies of them. If
#   one was written to in place, the product's gradient would use the new numbers. Each piece of memory
#   has a counter of writes, its `Version`; a node remembers the counts that it saw.
#
# The rest is given: `_input_gradients` calls the gradient function of a node, and sums over broadcast
# axes with your function. `_Collector` receives what arrives at leaves: it adds to their `grad`. It
# also runs *hooks*, functions that somebody has attached to a tensor and that may change its gradient.

# %% given="6.6"
from tinytorch.autograd import (
    _accumulate,
    _Collector,
    _hooked,
    _input_gradients,
    _unbroadcast,
    run_backward,
)

# %% exercise="6.6" points=4
from tinytorch.autograd import _check_saved, _propagate

# _propagate:
#   pending = _PendingGradients() holds what has arrived. Add the gradient of the root's output.
#   The queue begins with the root. Also keep a set of the numbers that were ever in the queue:
#   each node goes in once.
#   While the queue is not empty: heapq.heappop gives the pair of the youngest node.
#   pending.pop(node, node.num_outputs) is the list of the gradients of its outputs. Pass node and
#   list through collector.outputs_of, and the result to _input_gradients: it returns triples of an
#   edge, a gradient, and whether a leaf may keep that array.
#   edge.target is a Variable, a leaf: collector.add(target, gradient, can_steal). Or it is a node:
#   add the gradient to pending, for edge.output_nr, and heapq.heappush it into the queue.
#   When a node is done, node.free_saved(), unless the graph is retained.
# _check_saved:
#   node.saved is None after free_saved. The message of the RuntimeError contains node.name, and
#   what to do: retain_graph=True.
#   node.saved_versions is a list of pairs: a weak reference and a count. Calling the reference
#   gives the Version, or None if no tensor holds it any more (then nobody could write). Its
#   attribute count must be the one in the pair. Else a RuntimeError with node.name that says that
#   a tensor was modified in place.

# %% test="6.6" points=4
# fmt: off
with Exercise("6.6", "_propagate, _check_saved") as check:
    versions = [Version(), Version(), Version()]
    node = Node("double", None, True, get("numpy"), [], (1.0,))
    check.equal(lambda: _check_saved(node), None, "the check of a node that saved a number", cause="saved is not None, and there are no versions: no error")
    empty = Node("add", None, True, get("numpy"), [], ())
    check.equal(lambda: _check_saved(empty), None, "the check of a node that had nothing to save: its saved is ()", cause="only None means freed: if node.saved is None")
    node.saved_versions = [(weakref.ref(version), 0) for version in versions]
    check.equal(lambda: _check_saved(node), None, "the check of a node whose three versions have not changed", cause="an error only if version.count differs from the count in the pair")
    for i in (2, 0, 1):
        versions[i].count = 1
        for part in ("double", "in place"):
            check.raises(RuntimeError, lambda: _check_saved(node), f"version {i} of three was written to", message=part,
                         cause="go through all pairs; compare version.count with the count; the message has node.name, and says: modified in place")
        versions[i].count = 0
    versions[1].count = 7
    node.saved_versions[1] = (weakref.ref(versions[1]), 7)
    check.equal(lambda: _check_saved(node), None, "the check of a node that was made after seven writes", cause="compare with the count in the pair, not with 0")
    node.saved_versions.insert(0, (weakref.ref(Version()), 0))
    check.equal(lambda: _check_saved(node), None, "the check with a version that is gone", cause="reference() is None then: go on with the next pair")
    versions[2].count = 1
    check.raises(RuntimeError, lambda: _check_saved(node), "a version that is gone, and then one that has changed", message="in place", cause="go on with the next pair")
    node.free_saved()
    for part in ("double", "retain_graph=True"):
        check.raises(RuntimeError, lambda: _check_saved(node), "a node whose saved values are freed", message=part,
                     cause="if node.saved is None, a RuntimeError with node.name and the words retain_graph=True")

    runs: list[str] = []

    @op
    def halves(xp: Any, x: Any, label: str = "") -> Any:
        return (x[:2] * 3, x[2:] * 5), (x.shape,)

    @halves.gradient
    def halves_gradient(xp: Any, g: Any, shape: Any) -> Any:
        return np.concatenate([np.zeros(2) if part is None else part * factor for part, factor in zip(g, (3, 5), strict=True)])

    def scaled(factor: float) -> Any:
        @op
        def scale(xp: Any, x: Any) -> Any:
            return x * factor, ()

        @scale.gradient
        def scale_gradient(xp: Any, g: Any) -> Any:
            runs.append(f"{factor:g}")
            return g * factor

        return scale

    @op
    def plus(xp: Any, x: Any, y: Any) -> Any:
        return x + y, ()

    @plus.gradient
    def plus_gradient(xp: Any, g: Any) -> Any:
        return (g, g)

    def grads(function: Any, *values: Any, g: Any = None, times: int = 1) -> Any:
        """The gradients of leaves with these values, after backward through the function's result."""
        leaves = [Tensor(np.array(value), requires_grad=True) for value in values]
        runs.clear()
        result = function(*leaves)
        for _ in range(times):
            run_backward(result, np.ones(result.shape) if g is None else np.array(g), retain_graph=times > 1)
        return [None if x.grad is None else x.grad.numpy() for x in leaves]

    double, triple, quadruple = scaled(2), scaled(3), scaled(4)
    order = "always take the youngest node: the queue holds pairs of -sequence_nr and node, each node once"
    check.equal(lambda: grads(double, [1.0, 5.0]), [[2.0, 2.0]], "the gradient of 2 x", cause="collector.add(edge.target, gradient, can_steal) for a leaf; node.free_saved() after the node has run")
    check.equal(lambda: grads(double, [1.0, 5.0], g=[10.0, 7.0]), [[20.0, 14.0]], "that of 2 x, for g = [10, 7]", cause="begin with pending.add(root, output_nr, gradient)")
    check.equal(lambda: grads(lambda x: plus(double(x), x), [1.0]), [[3.0]], "the gradient of 2 x + x", cause="go on with all edges: leaves and nodes")

    def late(x: Any) -> Any:
        a = double(x)
        return plus(a, quadruple(triple(a)))

    check.equal(lambda: grads(late, [1.0]), [[26.0]], "the gradient of a + 4 * 3 * a with a = 2 x", cause=order)
    check.equal(lambda: (grads(late, [1.0]), list(runs))[1], ["4", "3", "2"], "the order in which 2, 3 and 4 ran, each once", cause=order)

    def early(x: Any) -> Any:
        a = double(x)
        return plus(quadruple(triple(a)), a)

    check.equal(lambda: grads(early, [1.0]), [[26.0]], "the gradient of 4 * 3 * a + a with a = 2 x", cause=order)
    check.equal(lambda: (grads(early, [1.0]), list(runs))[1], ["4", "3", "2"], "the order in which 2, 3 and 4 ran, each once", cause=order)
    check.equal(lambda: grads(plus, [1.0], [2.0], g=[5.0]), [[5.0], [5.0]], "the gradients of x + y, for g = [5]", cause="go on with all edges of a node")
    check.equal(lambda: grads(plus, [1.0], [2.0], times=2), [[2.0], [2.0]], "the gradients of x + y after two passes",
                cause="pass can_steal on to collector.add: a leaf may not keep an array that another leaf or the caller holds")
    check.equal(lambda: grads(lambda x, y: plus(triple(plus(x, y)), quadruple(plus(y, x))), [1.0], [2.0]), [[7.0], [7.0]], "the gradients of 3 (x + y) + 4 (y + x)", cause=order)

    def tangled(seed: int) -> tuple[Any, float]:
        """A random graph of 60 nodes on one leaf, and its slope, by counting along."""
        rng, leaf = np.random.default_rng(seed), Tensor([1.0], requires_grad=True)
        values, slopes = [leaf], [1.0]
        for _ in range(60):
            i, j = rng.integers(0, len(values), 2)
            values.append(plus(values[i], values[j]) if rng.random() < 0.6 else scaled(0.5)(values[i]))
            slopes.append(slopes[i] + slopes[j] if values[-1]._node.name == "plus" else 0.5 * slopes[i])
        total, slope = values[0], slopes[0]
        for value, own in zip(values[1:], slopes[1:], strict=True):
            total, slope = plus(total, value), slope + own
        run_backward(total, np.ones(1))
        return leaf.grad, slope

    for seed in range(5):
        result = check.call(lambda: tangled(seed), f"random graph {seed}", cause=order, count=2)
        check.close(lambda: result[0], lambda: [result[1]], f"the gradient of random graph {seed}", cause=f"{order}; only heapq.heappop and heapq.heappush keep it in order")

    def both(x: Any) -> Any:
        first, second = halves(x)
        return plus(first, triple(second))

    x = [1.0, 2.0, 3.0, 4.0]
    check.equal(lambda: grads(both, x), [[3.0, 3.0, 15.0, 15.0]], "the gradient through an op with two results", cause="pending.add(target, edge.output_nr, gradient), and pending.pop(node, node.num_outputs)")
    check.equal(lambda: grads(lambda x: halves(x)[1], x), [[0.0, 0.0, 5.0, 5.0]], "the gradient of the second result alone", cause="begin with pending.add(root, output_nr, gradient)")
    check.equal(lambda: grads(lambda x: halves(double(x))[0], x, g=[1.0, 10.0]), [[6.0, 60.0, 0.0, 0.0]], "the gradient of the first result alone", cause="begin with pending.add(root, output_nr, gradient)")

    @op
    def gate(xp: Any, x: Any, y: Any) -> Any:
        return x * 1, ()

    @gate.gradient
    def gate_gradient(xp: Any, g: Any) -> Any:
        return g, None

    def closed(x: Any, y: Any) -> Any:
        a = double(x)
        return plus(gate(y, triple(a)), a)

    check.equal(lambda: (grads(closed, [1.0], [1.0]), list(runs)), ([[2.0], [1.0]], ["2"]), "the gradients of y + 2 x, where an op between has the gradient None for 3 * 2 x, and what has run",
                cause="a node goes into the queue when its first gradient arrives; one that gets none does not run, and nobody waits for it")

    def deep(x: Any) -> Any:
        for _ in range(3000):
            x = plus(x, x) if x.numpy()[0] < 8 else scaled(1)(x)
        return x

    check.equal(lambda: grads(deep, [1.0]), [[8.0]], "the gradient through a chain of 3000 nodes", cause="a loop with a queue, not a function that calls itself")
    check.equal(lambda: grads(late, [1.0], times=2), [[52.0]], "the gradient after two passes with retain_graph=True", cause="free_saved only if the graph is not retained")

    used = [late(Tensor([1.0], requires_grad=True)) for _ in range(2)]
    nodes = [nodes_of(y) for y in used]
    check.call(lambda: run_backward(used[0], np.ones(1)), "a pass", cause="node.free_saved() at the end")
    check.equal(lambda: [(n.saved, n.inputs) for n in nodes[0]], [(None, [])] * 4, "what the four nodes keep after a pass, saved values and edges",
                cause="call node.free_saved() for every node, unless retain_graph")
    check.raises(RuntimeError, lambda: run_backward(used[0], np.ones(1)), "a second pass", message="retain_graph=True", cause="call node.free_saved() for every node, unless retain_graph")
    check.call(lambda: run_backward(used[1], np.ones(1), retain_graph=True), "a pass that retains the graph", cause="node.free_saved() only without retain_graph")
    check.equal(lambda: [n.saved for n in nodes[1]], [()] * 4, "what they keep with retain_graph=True", cause="free_saved only if the graph is not retained")

    leaf = Tensor([1.0], requires_grad=True)
    middle = double(leaf)
    top = triple(middle)
    found = check.call(lambda: run_backward(top, np.ones(1), wanted=[middle, leaf, top], retain_graph=True), "the gradients of x, of 2 x, and of 3 * 2 x", count=3,
                       cause="pass the list through collector.outputs_of(node, list)")
    check.equal(lambda: found, [[3.0], [6.0], [1.0]], "the gradients of 2 x, of x, and of 3 * 2 x", cause="pass the list through collector.outputs_of(node, list)")
    middle._node.hooks = {0: [lambda g: g * 100]}
    check.equal(lambda: run_backward(top, np.ones(1), wanted=[leaf]), [[600.0]], "the gradient if a hook makes that of 2 x a hundred times as large",
                cause="use the list that collector.outputs_of returns")
# fmt: on

# %% [markdown]
# The example by hand, on your code. (The package's `backward` is this function, after the export.)


# %%
def backward(result: Tensor) -> None:
    """Add the gradients of a tensor with one element to `grad` of its leaves."""
    run_backward(result, np.ones_like(result.numpy()))


difference = subtract(add(multiply(w, x := Tensor([3.0])), b), Tensor([5.0]))
backward(multiply(difference, difference))
print("d loss / d w", w.grad, " d loss / d b", b.grad)

# %% [markdown]
# 12 and 4. Gradients are *added* to `grad`: a second loss adds its own. That is useful for a batch in
# pieces, and the reason why a training loop sets `grad` to None before each step.
#
# What happens if something is done twice, or changed? Read each message.

# %%
x = Tensor([2.0, 3.0], requires_grad=True)
y = sum(multiply(x, x))
backward(y)
try:
    backward(y)
except RuntimeError as error:
    print("a second backward:", error)

h = multiply(x, Tensor([1.0, 1.0]))
y = sum(multiply(h, h))
h.data = [7.0, 7.0]
try:
    backward(y)
except RuntimeError as error:
    print("a write in place:", error)

# %% [markdown]
# Three ways to stay off the tape:
#
# - **data**: a tensor that does not require a gradient, such as the inputs, adds no node;
# - **`no_grad`**: within it no op adds a node; for evaluation, and for the update of weights;
# - **`detach`**: the same numbers, but without their past. Gradients stop there.

# %%
x = Tensor([2.0], requires_grad=True)
with no_grad():
    print("within no_grad:", multiply(x, x))
y = multiply(x, x)
print("x² has a node:", y._node, " detached:", y.detach()._node)
x.grad = None
backward(multiply(y.detach(), x))  # 4 x, as if x² were a number
print("gradient of detach(x²) x:", x.grad, " (that of x³ would be 12)")

# %% [markdown]
# ## 6.7 Activations
#
# Now the ops of lesson 02. Elementwise ones multiply g by their slope, often written with the result:
# for $y = \sigma(x)$ it is $y (1 - y)$, for $y = \tanh x$ it is $1 - y^2$. So the forward saved y, and
# no exponential is computed again.
#
# Softmax is different: every $y_i$ depends on every $x_j$. If $x_j$ grows, $y_j$ grows by $y_j$, and all
# shares shrink by $y_i y_j$ since they must sum to 1:
#
# $$dx_j = y_j\,(g_j - \textstyle\sum_i g_i y_i).$$
#
# For its logarithm, $y_i = x_i - \log \sum_j e^{x_j}$, the first part passes $g_j$, and the second
# takes away the share of the sum of all: $dx_j = g_j - e^{y_j} \sum_i g_i$.

# %% exercise="6.7" points=3
from tinytorch.activations import (
    log_softmax_gradient,
    relu_gradient,
    sigmoid_gradient,
    softmax_gradient,
    tanh_gradient,
)

# relu_gradient:
#   off is the table of booleans: zeros there, g elsewhere. xp.where selects.
# sigmoid_gradient:
#   The slope is y (1 - y).
# tanh_gradient:
#   The slope is 1 - y².
# softmax_gradient:
#   The sum of g * y over the axis `along`, with keepdims=True, is one number for each row.
# log_softmax_gradient:
#   exp(y) are the shares. The sum of g over the axes, with keepdims=True.

# %% test="6.7" points=3
# fmt: off
with Exercise("6.7", "gradients of activations") as check:
    rng = np.random.default_rng(7)
    x, g = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4))
    shares = [(f"softmax over axis {axis}", softmax, {"axis": axis}, "y * (g - sum of g * y), the sum over `along` with keepdims=True") for axis in (-1, 0, 1, (0, 2))]
    logarithms = [(f"log_softmax over axis {axis}", log_softmax, {"axis": axis}, "g - exp(y) * sum of g, the sum over the axes with keepdims=True") for axis in (-1, 0, 1, (0, 2))]
    for name, function, settings, rule in (
        ("relu", relu, {}, "zeros where off is true, g elsewhere"),
        ("sigmoid", sigmoid, {}, "g * y * (1 - y)"),
        ("tanh", tanh, {}, "g * (1 - y * y)"),
        *shares,
        *logarithms,
    ):
        (got,) = check.call(lambda: by_rule(function, g, x, **settings), f"the gradient of {name}", count=1, cause=rule)
        check.close(got, by_small_change(function, g, x, **settings)[0], f"the gradient of {name} of shape (2, 3, 4)", cause=rule)
    check.equal(lambda: by_rule(relu, np.array([5.0, 5.0, math.inf, 5.0]), np.array([0.0, -1.0, -1.0, 2.0])), [[0.0, 0.0, 0.0, 5.0]],
                "the gradient of relu at 0, -1, -1, 2 for g = 5, 5, inf, 5", cause="select with xp.where: a product with 0 gives NaN for infinity")
    for function in (sigmoid, tanh):
        check.equal(lambda: by_rule(function, np.array([3.0, 3.0]), np.array([-800.0, 800.0])), [[0.0, 0.0]], f"the gradient of {function.name} at -800 and 800",
                    cause="use the saved y: an exponential of x would overflow")
    for function in (relu, sigmoid, tanh, softmax, log_softmax):
        check.equal(lambda: by_rule(function, np.float32([1.0, 2.0]), np.float32([0.5, 1.0]))[0].dtype.name, "float32", f"the dtype of the gradient of {function.name}",
                    cause="the operators and functions of xp keep float32")
# fmt: on

# %% [markdown]
# Your gradients (lines) and small changes (dots). Where the slope is almost 0, almost nothing is passed
# back, and the layers before learn nothing: that is what is meant by *vanishing gradients*.

# %%
points = np.linspace(-5, 5, 201)
figure, axis = plt.subplots(figsize=(7, 3))
for function in (relu, sigmoid, tanh):
    (line,) = axis.plot(
        points, by_rule(function, np.ones_like(points), points)[0], label=function.name
    )
    few, h = points[7::20], 1e-5
    up, down = (function.forward(get("numpy").xp, few + s)[0] for s in (h, -h))
    axis.plot(few, (up - down) / (2 * h), "o", markersize=4, color=line.get_color())
axis.set(xlabel="x", title="slopes")
axis.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 6.8 The linear layer
#
# $Y = X W^\top + b$, with rows X (N, in), W (out, in) and b (out,). It is the matrix product of 6.4
# with a transpose in it. g is (N, out): find the products whose shapes fit.
#
# | | shape | from |
# |---|---|---|
# | dX | (N, in) | g (N, out) and W (out, in) |
# | dW | (out, in) | g (N, out) and X (N, in) |
# | db | (out,) | g (N, out): every row uses b |

# %% exercise="6.8" points=2
from tinytorch.layers import linear_gradient

# linear_gradient:
#   The forward made rows of all axes of x but the last, and saved them, W, and the shape of x.
#   g has the shape of the result: make rows (N, out) of it first.
#   Return three gradients, for x, W and b. That of x needs its shape again.

# %% test="6.8" points=2
# fmt: off
with Exercise("6.8", "linear_gradient") as check:
    rng = np.random.default_rng(8)
    for shape, outs in (((5, 3), 4), ((2, 5, 3), 4), ((3,), 2), ((2, 1, 4, 3), 1), ((1, 3), 3)):
        x, weight, bias, g = rng.standard_normal(shape), rng.standard_normal((outs, shape[-1])), rng.standard_normal(outs), rng.standard_normal((*shape[:-1], outs))
        what = f"of linear for x {shape} and W {weight.shape}"
        found = check.call(lambda: by_rule(linear, g, x, weight, bias), f"the gradients {what}", count=3, cause="three, for x, W and b, from the rows of g (N, out) and of x (N, in)")
        for got, wanted, which, rule in zip(found, by_small_change(linear, g, x, weight, bias), ("x", "W", "b"),
                                            ("rows of g @ W, in the shape of x", "the transpose of g's rows @ the rows of x", "the sum of g's rows over axis 0"), strict=True):
            check.close(got, wanted, f"the gradient {what} with respect to {which}", cause=rule)
    x, weight, g = np.ones((2, 3)), np.ones((4, 3)), np.ones((2, 4))
    check.equal(lambda: by_rule(linear, g, x, weight)[:2], [[[4.0] * 3] * 2, [[2.0] * 3] * 4], "the gradients of x and W without a bias, all ones",
                cause="they do not depend on b; a third gradient, of a bias that is not there, is ignored")
# fmt: on

# %% [markdown]
# ## 6.9 Cross-entropy
#
# The loss of lesson 04, for a row of logits x and a target t, is $-\log p_t = -x_t + \log \sum_j
# e^{x_j}$. Its gradient is the most beautiful formula of this course:
#
# $$\frac{\partial\,\text{loss}}{\partial x_j} = p_j - [j = t], \qquad [j = t] = 1 \text{ for the target, } 0 \text{ for all others.}$$
#
# Probability minus truth. A model that is sure and right gets almost nothing; one that is sure and
# wrong gets a push of almost 1, however flat the softmax is there: the logarithm undoes its flatness.
#
# **By hand**: p = `[0.7, 0.2, 0.1]`, target 1: the gradient is `[0.7, -0.8, 0.1]`. It sums to 0.
#
# The loss is the mean over the targets that count, so each row is divided by their number; rows that
# are ignored get 0.

# %% exercise="6.9" points=2
from tinytorch.losses import cross_entropy_gradient

# cross_entropy_gradient:
#   Saved are log_p (N, V), the one-hot rows hit (N, V), counted (N, 1) with 1 or 0, and the shape
#   of the logits. g is a single number.
#   How many count? If none does, divide by 1: all gradients are 0 then. xp.maximum compares with
#   xp.ones_like(count).
#   The rows: probabilities minus hit, times g and counted, divided by the count, in the shape of
#   the logits. Targets are integers: None is their gradient.

# %% test="6.9" points=2
# fmt: off
with Exercise("6.9", "cross_entropy_gradient") as check:
    p = np.log([[0.7, 0.2, 0.1]])
    pair = "a pair: the gradient of the logits, and None for the targets"
    check.close(lambda: by_rule(cross_entropy, np.array(1.0), p, np.array([1]))[0], [[0.7, -0.8, 0.1]], "the example by hand", cause="probabilities minus hit, xp.exp(log_p) - hit, divided by the number of rows that count, here 1")
    check.equal(lambda: by_rule(cross_entropy, np.array(1.0), p, np.array([1]))[1], None, "the gradient of the targets", cause=pair)
    check.equal(lambda: len(by_rule(cross_entropy, np.array(1.0), p, np.array([1]))), 2, "the number of gradients", cause=pair)
    rng, h = np.random.default_rng(9), 1e-6
    for shape, targets, settings in (((4, 3), [2, 0, 1, 1], {}), ((2, 3, 5), [[4, 0, 1], [2, 2, 3]], {}), ((4, 3), [2, -100, 1, -100], {}), ((5, 4), [3, 0, 0, 1, 0], {"ignore_index": 0}),
                                     ((5,), 3, {})):
        logits, t = 3 * rng.standard_normal(shape), np.array(targets)
        what = f"the gradient for logits {shape} and the targets {targets}, g = 2.5"
        got, _ = check.call(lambda: by_rule(cross_entropy, np.array(2.5), logits, t, **settings), what, count=2, cause=pair)

        @op
        def of_logits(xp: Any, x: Any) -> Any:
            return cross_entropy.forward(get("numpy").xp, x, t, **settings)[0], ()

        check.close(got, by_small_change(of_logits, np.array(2.5), logits)[0], what, cause="(xp.exp(log_p) - hit) * counted * g / count, in the shape of the logits; count is the sum of counted")
    check.close(lambda: by_rule(cross_entropy, np.array(2.0), np.ones((2, 3)), np.array([-100, -100]))[0], np.zeros((2, 3)), "the gradient if all targets are ignored",
                cause="the count is at least 1: xp.maximum(count, xp.ones_like(count))")
    check.equal(lambda: by_rule(cross_entropy, np.float32(1.0), np.ones((2, 3), np.float32), np.array([0, 1]))[0].dtype.name, "float32", "the dtype of a gradient",
                cause="the functions of xp keep the dtype")
# fmt: on

# %% [markdown]
# ## It learns
#
# Everything is there. The layers of lesson 03 bring the weights, your ops compute and differentiate,
# and a step against the gradient makes the loss smaller: $w \leftarrow w - \eta\, dw$.

# %%
manual_seed(0)
rng = np.random.default_rng(0)
V, each = 3, 80
angle = np.linspace(0, 4, each) + 2.1 * np.arange(V)[:, None] + 0.2 * rng.standard_normal((V, each))
radius = np.linspace(0.1, 1, each)
points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=-1).reshape(-1, 2)
inputs = Tensor(points.astype(np.float32))  # (N, 2)
targets = Tensor(np.repeat(np.arange(V), each))  # (N,)
hidden_layer, output_layer = layers.Linear(2, 32), layers.Linear(32, V)
parameters = [*hidden_layer.parameters(), *output_layer.parameters()]


def network(x: Tensor) -> Tensor:
    """(N, 2) -> logits (N, V)."""
    h = tanh(linear(x, hidden_layer.weight, hidden_layer.bias))
    return linear(h, output_layer.weight, output_layer.bias)


history = []
for _ in range(1500):
    loss = cross_entropy(network(inputs), targets)
    backward(loss)
    with no_grad():
        for p in parameters:
            p.data = p.numpy() - 1.0 * p.grad.numpy()
            p.grad = None
    history.append(loss.item())
right = (network(inputs).numpy().argmax(axis=1) == targets.numpy()).mean()
print(
    f"loss {history[0]:.3f} (chance is {math.log(V):.3f}) -> {history[-1]:.3f}, {right:.0%} right"
)

# %%
across = np.linspace(-1.2, 1.2, 120, dtype=np.float32)
grid = np.stack(np.meshgrid(across, across), axis=-1).reshape(-1, 2)  # (120 * 120, 2)
with no_grad():
    regions = network(Tensor(grid)).numpy().argmax(axis=1).reshape(120, 120)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
axes[0].plot(history)
axes[0].set(xlabel="step", ylabel="loss", yscale="log", title="plain gradient descent")
axes[1].contourf(across, across, regions, levels=[-0.5, 0.5, 1.5, 2.5], alpha=0.3, cmap="brg")
axes[1].scatter(*points.T, c=targets.numpy(), s=8, cmap="brg")
axes[1].set(title="what the network says", aspect="equal")
figure.tight_layout()
plt.show()

# %% [markdown]
# And its graph, from your tape. Four leaves, four nodes.

# %%
names = dict(zip(("W1", "b1", "W2", "b2"), parameters, strict=True))
draw_graph(cross_entropy(network(inputs), targets), names, "a network with one hidden layer")

# %% [markdown]
# After `tito export 6` the same works with modules, operators and `loss.backward()`. The gradients of
# the other ops, such as `gelu`, `dropout` and `max`, are given in the same form, each below its forward:
# read some of them.
#
# ## What it costs
#
# **Time.** A linear layer is one product forwards and two backwards, so a backward should take about
# twice as long as a forward. By small changes it takes two forwards for *each* weight.

# %%
from tinytorch.tito.measure import seconds


def deep_loss(depth: int, width: int = 128, batch: int = 256) -> Tensor:
    """A loss of `depth` layers of linear and tanh."""
    x = Tensor(np.ones((batch, width), np.float32))
    for _ in range(depth):
        weight = Tensor(np.full((width, width), 1 / width, np.float32), requires_grad=True)
        x = tanh(linear(x, weight))
    return mean(x)


forwards = seconds(lambda: deep_loss(8))
with no_grad():
    alone = seconds(lambda: deep_loss(8))
all_of_it = seconds(lambda: backward(deep_loss(8)))
weights = 8 * 128 * 128
print(f"forward {1e3 * forwards:.1f} ms, without a tape {1e3 * alone:.1f} ms")
print(f"backward {1e3 * (all_of_it - forwards):.1f} ms")
print(f"by small changes, {weights} weights: {2 * weights * alone / 60:.0f} minutes")

# %% [markdown]
# **Memory.** The tape holds what the gradients need until backward has used it: the results of all
# layers. Without a tape, each is freed as soon as the next one is computed. Let's measure it, by adding
# up what the nodes keep, and by asking Python for the largest use of memory.

# %%
import tracemalloc


def taped_bytes(root: Tensor) -> int:
    """The bytes of all memory that the tape of a tensor keeps, each piece counted once."""
    arrays = [a for node in nodes_of(root) for a in node.saved if isinstance(a, np.ndarray)]
    memory = {id(a): a for a in (a if a.base is None else a.base for a in arrays)}  # not of views
    return int(np.sum([a.nbytes for a in memory.values()]))


def peak_bytes(work: Callable[[], Any]) -> int:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


depths = [1, 2, 4, 8, 16]
taped = [taped_bytes(deep_loss(depth)) / 2**20 for depth in depths]
with_tape = [peak_bytes(lambda d=depth: deep_loss(d)) / 2**20 for depth in depths]
with no_grad():
    without = [peak_bytes(lambda d=depth: deep_loss(d)) / 2**20 for depth in depths]
figure, axis = plt.subplots(figsize=(6, 3))
for label, values in (
    ("on the tape", taped),
    ("most in use", with_tape),
    ("most in use, no_grad", without),
):
    axis.plot(depths, values, "o-", label=label)
axis.set(xlabel="layers", ylabel="MiB", title="batch 256, width 128")
axis.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# It grows with every layer, and with the batch. So memory, not time, usually limits the size of a
# batch, and evaluation belongs in `no_grad`. After backward the tape is empty:

# %%
loss = deep_loss(8)
nodes = nodes_of(loss)
before = taped_bytes(loss)
backward(loss)
print(f"on the tape before backward: {before / 2**20:.1f} MiB, nodes {len(nodes)}")
print("kept by these nodes after it:", {node.saved for node in nodes})

# %% [markdown]
# ## Questions to think about
#
# 1. Forward mode pushes the derivatives with respect to *one* input along with the values. For which
#    functions would it be cheaper than the walk backwards?
# 2. `y = x + x + x + x` in a loop of n steps: how many nodes, and how much memory for saved values?
#    And for `y = x * x * x * x`?
# 3. Weights are updated in place. Why does that not raise the error of 6.6 in a training loop?
# 4. The loss of a batch of 1000 examples does not fit into memory. How do you get its gradient from
#    batches of 100?
# 5. A colleague saves memory with `y = relu(x)` by keeping the result instead of the table of
#    booleans. Is the gradient still right? What about sigmoid and keeping x?

# %% [markdown] instructor=true
# ### Answers, for the instructor
#
# 1. For few inputs and many outputs: one pass for each input, against one for each output backwards.
#    A loss has one output and millions of inputs. *Half marks without the number of passes.*
# 2. n nodes in both. `add` saves nothing, so there is no memory but for the nodes; each `multiply` keeps
#    both factors, so the memory grows with n times the size of x.
# 3. The update comes after backward, which has freed the tape; the next forward makes a new one that
#    sees the new counts. An update *between* forward and backward does raise it.
# 4. A backward for each piece adds to `grad`. The mean over 1000 is the mean of ten means over 100, so
#    each piece's loss is divided by 10 first. Gradients accumulate because they are added.
# 5. Yes: relu is off exactly where the result is 0 (but for NaN), and the result is kept by the next
#    layer anyway. Sigmoid with x: right, but the exponential is computed again. That trade of time for
#    memory is called *recomputation*, or gradient checkpointing.
#
# Rubric for each question: 2 points for the right answer with its reason, 1 without. Typical trouble:
# in 6.3 the permutation itself instead of its inverse; in 6.5 an addition into the first gradient; in
# 6.6 a queue that takes the oldest first, which passes all chains and fails where paths meet.

# %% [markdown]
# ## In PyTorch
#
# | here | PyTorch |
# |---|---|
# | `@multiply.gradient` | the static method `backward` of a `torch.autograd.Function` |
# | `saved` | `ctx.saved_tensors` |
# | `x._node` | `x.grad_fn` |
# | `sequence_nr`, youngest first | the same, in the engine in C++ |
# | `backward()`, `retain_graph=True`, `no_grad`, `detach` | the same names |
# | finite differences | `torch.autograd.gradcheck` |
# | gradients of gradients | `create_graph=True`; here not available |
#
# Sources: S. Linnainmaa, *Taylor expansion of the accumulated rounding error* (1976), the first
# reverse mode; D. Rumelhart, G. Hinton and R. Williams, *Learning representations by back-propagating
# errors* (1986); A. Griewank and A. Walther, *Evaluating Derivatives* (2008).
#
# Next: lesson 07 makes better steps out of the same gradients.
