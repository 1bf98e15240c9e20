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
# # Lesson 03: Layers
#
# You have tensors, and functions that bend them. What is missing is something that can *learn*: a
# function with numbers of its own, which training will adjust. That is a **layer**. A network is a
# chain of them, and all of its knowledge is in these numbers, the **parameters**: GPT-3 has 175
# billion, and nobody wants to keep a list of them by hand.
#
# | you build | what it does |
# |---|---|
# | `linear`, `Linear` | $y = x W^\top + b$: nearly all arithmetic of a network |
# | `Contents`, `Module` | finds all parameters of a network, and switches its mode |
# | initialisers | random numbers of the right size to begin with |
# | `dropout`, `Dropout` | noise during training, nothing afterwards |
# | `Sequential` | a chain of layers is a layer itself |
#
# **You will build** layers, dropout, networks.
#
# **You will learn**
#
# - what a linear layer computes, for inputs with any number of axes;
# - how a network finds its parameters, in a tree of modules, without a list that you maintain;
# - why weights must be random, and of which size: signals that neither explode nor vanish;
# - why dropout divides by $1 - p$, and why a network needs two modes;
# - to predict the memory and the arithmetic of a network before you run it.
#
# **Before you start**: lesson 01 (shapes, how an op is written) and lesson 02 (ReLU); classes and
# generators (`yield`) of Python. No gradient is needed here.
#
# **Time**: about two and a half hours, ten minutes per exercise and the rest for reading and
# experiments.

# %% setup=true
import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Self

import numpy as np

from tinytorch.arguments import ShapeError, check_flag, check_integer, check_number
from tinytorch.backends import Backend, get
from tinytorch.backends.base import Array, Namespace
from tinytorch.modules.base import BaseModule, module_text
from tinytorch.modules.parameter import Parameter
from tinytorch.nn.init import calculate_gain, normal_, uniform_
from tinytorch.ops import random
from tinytorch.ops.op import op
from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise

# %% [markdown]
# ## The idea, by hand
#
# Letters for shapes: `B` batch size, `in` and `out` the sizes of an input and an output vector.
#
# One output is a weighted sum of all inputs, plus a bias. A layer computes `out` of them at once.
# Each has a **row** of weights, so $W$ is (out, in), and $y = x W^\top + b$. Two examples, three
# inputs, two outputs:

# %%
x = np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 2.0]])  # (B, in) = (2, 3)
W = np.array([[1.0, 0.0, -1.0], [2.0, 1.0, 0.0]])  # (out, in) = (2, 3)
b = np.array([0.5, -1.0])  # (out,) = (2,)
print(x @ W.T + b)

# %% [markdown]
# On paper, each number is a row of `x` times a row of `W`:
#
# | step | first example | second example | shape |
# |---|---|---|---|
# | x | 1, 2, 3 | 0, -1, 2 | (2, 3) |
# | x @ W.T | -2, 4 | -2, -1 | (2, 3) @ (3, 2) = (2, 2) |
# | + b, repeated for each example | -1.5, 3 | -1.5, -2 | (2, 2) + (2,) = (2, 2) |
# | relu | 0, 3 | 0, 0 | (2, 2) |
#
# The layer has 8 numbers to learn, 2 x 3 in `W` and 2 in `b`. A larger `B` does not need more of
# them: the same weights serve every example.

# %% [markdown]
# ## 3.1 The linear map
#
# Inputs often have more axes: (B, T, in) for T tokens of B texts. The layer treats the last axis as
# the vector, and all others as one long list of examples. So: flatten to (N, in), multiply once,
# and restore the axes. One large product is much faster than many small ones, as you will measure.

# %% exercise="3.1" points=3
from tinytorch.layers import linear

# linear:
#   Name the rows: xp.reshape x to (N, in). N is the product of all sizes but the last: math.prod
#   also works for a single vector, where it is 1.
#   Multiply by the transpose of weight (xp.matrix_transpose), and add the bias unless it is None.
#   Return two things: y in the shape of x, with out in place of in; and for lesson 6 the tuple
#   (rows, weight, x.shape).

# %% test="3.1" points=3
# fmt: off
with Exercise("3.1", "linear") as check:
    x = np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 2.0]])
    W, b = np.array([[1.0, 0.0, -1.0], [2.0, 1.0, 0.0]]), np.array([0.5, -1.0])
    check.close(lambda: linear(Tensor(x), Tensor(W)), [[-2.0, 4.0], [-2.0, -1.0]],
                "x @ W.T of the example, without a bias",
                cause="rows @ xp.matrix_transpose(weight), with out in place of in in the shape;"
                      " bias may be None; return two things: y and a tuple")
    check.close(lambda: linear(Tensor(x), Tensor(W), Tensor(b)), [[-1.5, 3.0], [-1.5, -2.0]],
                "the example with its bias",
                cause="add the bias to the (N, out) products: it is repeated for each row")
    rng = np.random.default_rng(3)
    W, b = rng.standard_normal((4, 5)), rng.standard_normal(4)  # in = 5, out = 4
    for shape in ((2, 3, 5), (7, 5), (5,), (2, 1, 3, 5), (0, 5), (2, 0, 5)):
        x = rng.standard_normal(shape)
        check.close(lambda: linear(Tensor(x), Tensor(W), Tensor(b)), x @ W.T + b,
                    f"linear of {shape} with weights (4, 5)",
                    cause="the result has the shape (*x.shape[:-1], out); N is"
                          " math.prod(x.shape[:-1])")
        check.close(lambda: linear(Tensor(x), Tensor(W)), x @ W.T,
                    f"linear of {shape} without a bias",
                    cause="bias is None by default: add nothing")
        kept = check.call(lambda: linear.forward(get("numpy").xp, x, W, b)[1],
                          f"what linear keeps for {shape}", count=3,
                          cause="the tuple (rows, weight, x.shape)")
        wanted = (x.reshape(math.prod(shape[:-1]), 5), W, shape)
        for name, got, value in zip(("rows", "weight", "x.shape"), kept, wanted, strict=True):
            check.equal(got, value, f"{name} in what linear keeps for {shape}",
                        cause="(rows, weight, x.shape): rows is x as (N, in), weight is not"
                              " transposed, and the shape is the one before")
    x = rng.standard_normal((3, 5))
    check.equal(
        lambda: str(linear(Tensor(x.astype(np.float32)), Tensor(W.astype(np.float32))).dtype),
        "float32", "the dtype for float32",
        cause="the operators keep float32")
    inputs = Tensor(x), Tensor(W), Tensor(b)
    check.call(lambda: linear(*inputs), "linear of (3, 5)", cause="y = y + bias")
    check.equal(lambda: list(inputs), [x, W, b], "x, weight and bias afterwards",
                cause="do not write into the inputs")
# fmt: on

# %% [markdown]
# What such a map does to a plane: it turns, stretches and shifts it, but straight lines stay
# straight. Then ReLU folds it: everything left of an axis is pressed onto that axis. Layers of both
# fold again and again, and folds can separate what no straight line can.

# %%
import matplotlib.pyplot as plt

from tinytorch.activations import relu

grid = np.stack(np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21)), axis=-1)  # (21, 21, 2)
turned = linear(Tensor(grid), Tensor([[1.0, 0.6], [-0.5, 1.2]]), Tensor([0.3, -0.1]))
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharex=True, sharey=True)
for axis, title, points in (
    (axes[0], "x, a grid", grid),
    (axes[1], "linear(x)", turned.numpy()),
    (axes[2], "relu(linear(x))", relu(turned).numpy()),
):
    colors = (grid[..., 0] > 0) + 2 * (grid[..., 1] > 0)  # by quarter of the grid
    axis.scatter(points[..., 0], points[..., 1], c=colors, cmap="tab10", vmax=9, s=12)
    axis.axhline(0, color="gray", lw=0.5)
    axis.axvline(0, color="gray", lw=0.5)
    axis.set_title(title)
    axis.set_aspect("equal")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Modules
#
# A network is an object with attributes: tensors, and smaller networks. A **parameter** is a tensor
# of the class `Parameter`, which says: training may change me. A **module** is an object whose
# class is derived from `Module`. So a network is a tree:
#
# ```text
#   model                       a module
#   ├── scale                   a parameter    "scale"
#   ├── first                   a module
#   │   ├── weight              a parameter    "first.weight"
#   │   └── bias                a parameter    "first.bias"
#   └── block                   a module
#       └── inner               a module
#           └── weight          a parameter    "block.inner.weight"
# ```
#
# The dotted names are those under which models are saved in files. `BaseModule` is given; it does
# what needs no exercise:
#
# | given | |
# |---|---|
# | `self.first = ...` | an attribute like any other; a parameter or module in it is found later |
# | `layer(x)` | calls `layer.forward(x)` |
# | `read = self._reader()` | `read(module)` returns two lists of what that module itself holds: `(name, tensor)`, and `(name, module)` |
# | `register_buffer(name, tensor)` | a tensor that is saved, but not trained |
# | `state_dict`, `to`, `repr` | save, move, print |
#
# It also looks into lists and dicts of modules, whose items have names such as `blocks.0`.


# %%
class Scale(BaseModule):
    """x times a number that is learned."""

    def __init__(self) -> None:
        self.factor = Parameter([2.0])
        self.note = "neither a tensor nor a module"

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Pair(BaseModule):
    """Two modules."""

    def __init__(self) -> None:
        self.left, self.right = Scale(), Scale()


scale, pair = Scale(), Pair()
print("scale(x)  ", scale(Tensor([1.0, 5.0])).tolist())
for name, module in (("scale", scale), ("pair", pair)):
    tensors, modules = module._reader()(module)
    print(
        f"{name:5} holds the tensors {[n for n, _ in tensors]}, modules {[n for n, _ in modules]}"
    )

# %% [markdown]
# ## 3.2 Walk through the tree
#
# You visit each module, parents before children and in the order of the attributes. Two traps:
#
# - **Shared modules.** Two attributes may hold the same module, for example to share weights. It is
#   visited once, under its first name, or its gradient would be applied twice.
# - **Cycles.** A module may hold its parent. With `once=False` a shared module is visited under each
#   of its names, but not in itself, so the walk ends.
#
# Each is a matter of identity, `id(module)`: two different modules with equal weights are two.
#
# **By hand**, with a list of what is still to be visited, from which you always take the last one:
#
# | taken | its own tensors | still to be visited |
# |---|---|---|
# | "" | scale | block, first |
# | first | weight, bias | block |
# | block | | block.inner |
# | block.inner | weight | |

# %% exercise="3.2" points=4
from tinytorch.modules.module import Contents

# Contents._walk:
#   read = self._reader() is described above. The list of what is still to be visited begins
#   with (prefix, self, ()): a name, a module, and the ids of the modules it is in.
#   While there is any, pop the last one. Skip it if its id was seen, or, without once, if it
#   is among those of the modules it is in. Otherwise remember the id.
#   Yield the name, the module, and the tensors it holds. Then put its children on the list,
#   the last child first, so that the first is popped next. A child's name is "parent.child",
#   or just "child" if the parent's name is empty. Its ids are those of the parent, and the
#   parent's own: a new tuple, since the other children have the same.
# Contents.named_parameters:
#   self._named_tensors(prefix, recurse, remove_duplicate) yields (dotted name, tensor) for
#   all tensors: it uses your walk. Leave out those that are no Parameter, and, with
#   remove_duplicate, parameters that you have yielded before.
# Contents.parameters:
#   The parameters without their names.
# Contents.num_parameters:
#   tensor.size is the number of its elements.


# %% test="3.2" points=4
# fmt: off
class Node(Contents):
    """A module with the attributes that it is given."""

    def __init__(self, **parts: Any) -> None:
        for part in parts:
            setattr(self, part, parts[part])


def parameter(*shape: int) -> Parameter:
    return Parameter(np.zeros(shape, np.float32))


with Exercise("3.2", "Contents") as check:
    inner = check.call(lambda: Node(weight=parameter(5, 2), scale=parameter(3)), "a module",
                       cause="change the methods alone")
    left = check.call(lambda: Node(weight=parameter(4)), "a module",
                      cause="change the methods alone")
    tree = check.call(
        lambda: Node(size=7, bias=parameter(2, 3), left=left,
                     middle=Node(inner=inner, bias=parameter(1)), right=Node()),
        "a tree of modules",
        cause="change the methods alone")

    def names(*arguments: Any, of: Any = tree, **settings: Any) -> list[str]:
        return [name for name, _, _ in of._walk(*arguments, **settings)]

    check.equal(lambda: names(), ["", "left", "middle", "middle.inner", "right"],
                "the names of all modules in a tree",
                cause="parents before children, children in their order: push the last child"
                      " first; the root's name is the prefix, here empty")
    check.true(
        lambda: [m for _, m, _ in tree._walk()]
        == [tree, tree.left, tree.middle, tree.middle.inner, tree.right],
        "the modules of the tree are in this order, in a second walk too",
        cause="yield name, module, tensors; and begin each walk with nothing seen")
    check.equal(lambda: [[name for name, _ in own] for _, _, own in tree._walk()],
                [["bias"], ["weight"], ["bias"], ["weight", "scale"], []],
                "the tensors that each module holds itself",
                cause="yield the first list of read(module), for this module alone")
    check.equal(lambda: names("net"),
                ["net", "net.left", "net.middle", "net.middle.inner", "net.right"],
                'the names with the prefix "net"',
                cause='start with (prefix, self, ()), and join "parent.child"')
    check.equal(lambda: names("net", of=inner), ["net"], "the names in a module without children",
                cause="the module itself comes first")
    deep = check.call(lambda: Node(a=Node(b=Node(c=left, d=inner)), e=left),
                      "a tree with a shared module",
                      cause="change the methods alone")
    check.equal(lambda: names(of=deep), ["", "a", "a.b", "a.b.c", "a.b.d"],
                "the names, where e is the same module as a.b.c",
                cause="a module is visited once, under its first name: remember id(module) when"
                      " you visit it, not when you find it")
    check.equal(lambda: names(of=deep, once=False), ["", "a", "a.b", "a.b.c", "a.b.d", "e"],
                "the names with once=False, where e is a.b.c",
                cause="without once, only modules in themselves are left out: look into the ids on"
                      " the way to it, not into all that were seen")
    twins = check.call(lambda: Node(a=left, b=left), "one module under two names",
                       cause="change the methods alone")
    check.equal(lambda: [names(of=twins), names(of=twins, once=False)], [["", "a"], ["", "a", "b"]],
                "the names of one module in a and in b, with once and without",
                cause="siblings are not in each other: each child has its own ids, (*parents,"
                      " id(module))")
    cycle = check.call(lambda: Node(child=Node(), other=left), "a module",
                       cause="change the methods alone")
    check.call(lambda: setattr(cycle.child, "parent", cycle), "a module that holds its parent",
               cause="change the methods alone")
    for once in (True, False):
        check.equal(lambda: names(of=cycle, once=once), ["", "child", "other"],
                    f"the names in a cycle, once={once}",
                    cause="a module in itself is skipped: its id is among the ids on the way to it")
    cycle_below = check.call(lambda: Node(top=Node(cycle=cycle)), "a cycle below others",
                             cause="change the methods alone")
    check.equal(lambda: names(of=cycle_below, once=False),
                ["", "top", "top.cycle", "top.cycle.child", "top.cycle.other"],
                "the names in a cycle below others",
                cause="the ids on the way: those of the parent, and the parent's own")

    blocks = check.call(
        lambda: Node(early=Node(parts=[left]), blocks=[Node(weight=parameter(2)), (Node(),)],
                     table={"key": inner}, late=left),
        "a module with lists and dicts of modules",
        cause="change the methods alone")
    check.equal(lambda: names(of=blocks),
                ["", "early", "blocks.0", "blocks.1.0", "table.key", "late"],
                "the names in a module with lists and dicts",
                cause="use one read = self._reader() for the whole walk: it finds what lists and"
                      " dicts hold, unless an attribute anywhere in the tree has it too")
    counting = check.call(lambda: Node(part=Node()), "a module", cause="change the methods alone")
    check.call(lambda: counting.part.register_buffer("mean", Tensor([1.0])), "a buffer",
               cause="change the methods alone")
    check.equal(lambda: list(counting.state_dict()), ["part.mean"], "what a module with a buffer saves",
                cause="yield all tensors of read(module), buffers too")

    all_names = ["bias", "left.weight", "middle.bias", "middle.inner.weight", "middle.inner.scale"]
    check.equal(lambda: [name for name, _ in tree.named_parameters()], all_names,
                "the names of all parameters",
                cause="dotted names, from _named_tensors")
    check.true(
        lambda: list(map(id, tree.parameters()))
        == list(map(id, [tree.bias, left.weight, tree.middle.bias, inner.weight, inner.scale])),
        "parameters() yields the parameters themselves",
        cause="the second of each pair")
    check.true(lambda: next(tree.parameters()) is tree.bias, "next(tree.parameters()) is the first",
               cause="a generator, not a list: yield them, or (... for ...)")
    check.equal(
        lambda: [[name for name, _ in tree.named_parameters(recurse=False)],
                 len(list(tree.parameters(recurse=False)))],
        [["bias"], 1], "the parameters with recurse=False",
        cause="pass recurse on")
    check.equal(lambda: [name for name, _ in tree.named_parameters(prefix="net")],
                [f"net.{name}" for name in all_names], 'the names with the prefix "net"',
                cause="pass prefix on")
    check.call(lambda: left.register_buffer("mean", Tensor([1.0, 2.0])), "a buffer",
               cause="change the methods alone")
    check.call(lambda: setattr(tree.right, "again", inner.weight), "a shared parameter",
               cause="change the methods alone")
    check.equal(lambda: [name for name, _ in tree.named_parameters()], all_names,
                "the names of all parameters, when left has a buffer and right holds the parameter"
                " of another module",
                cause="skip tensors that are no Parameter, and parameters whose id was there"
                      " before")
    check.equal(lambda: [name for name, _ in tree.named_parameters(remove_duplicate=False)],
                [*all_names, "right.again"], "the names with remove_duplicate=False",
                cause="a parameter is left out only with remove_duplicate")
    check.equal(lambda: [name for name, _ in twins.named_parameters(remove_duplicate=False)],
                ["a.weight", "b.weight"],
                "the names in a module with two names, with remove_duplicate=False",
                cause="pass remove_duplicate on")
    check.equal(lambda: [len(list(tree.parameters())), len(list(twins.parameters()))], [5, 1],
                "the numbers of parameters",
                cause="each parameter once")
    check.equal(lambda: tree.num_parameters(), 6 + 4 + 1 + 10 + 3,
                "the number of elements of all parameters",
                cause="sum p.size; a shared parameter and a buffer do not count")
    check.equal(lambda: Node().num_parameters(), 0, "the number without parameters",
                cause="the sum of nothing is 0")
    alike = check.call(lambda: Node(a=parameter(4), b=parameter(4), left=Node(), right=Node()),
                       "equal parameters and equal modules",
                       cause="change the methods alone")
    check.equal(lambda: [name for name, _ in alike.named_parameters()], ["a", "b"],
                "the names of two parameters of the same size and values",
                cause="compare ids, not values: they are two")
    check.equal(lambda: names(of=alike), ["", "left", "right"], "the names of two equal modules",
                cause="compare ids: they are two")
    check.call(lambda: alike.b.requires_grad_(False), "a frozen parameter",
               cause="change the methods alone")
    check.call(lambda: alike.register_buffer("table", Tensor([1.0], requires_grad=True)),
               "a buffer with a gradient",
               cause="change the methods alone")
    check.call(lambda: setattr(alike, "factor", parameter()), "a parameter that is one number",
               cause="change the methods alone")
    check.equal(lambda: [name for name, _ in alike.named_parameters()], ["a", "b", "factor"],
                "the names, where b is frozen and table is a buffer with a gradient",
                cause="a parameter is what isinstance(value, Parameter) says, frozen or not")
    check.equal(lambda: alike.num_parameters(), 4 + 4 + 1,
                "the number of elements of two vectors of 4 and one number",
                cause="the size of a parameter without axes is 1")
# fmt: on

# %% [markdown]
# ## 3.3 Two modes
#
# Some layers behave differently in training and afterwards: dropout, which you build soon, is noise
# while training, and must be off when the network is used. So each module has a mode, `training`,
# which is True at first. `model.train()` and `model.eval()` set it for the whole tree.
#
# A class may define its own `train`, for example to keep a part of it frozen in evaluation mode.
# That must also work if the module is somewhere within another one.

# %% exercise="3.3" points=2
from tinytorch.modules.module import Module

# Module.train:
#   Anything but True or False is a TypeError (mode="eval" would be true). self.modules(),
#   which uses your walk, yields this module and all within it. Set a mode with
#   module.__dict__["training"] = mode. If another module's class has a train of its own,
#   which is to say that type(module).train is not Module.train, call that instead.
#   Go through the modules in reverse: a parent's own train must have the last word.
#   Return self, so that model = build().eval() works.
# Module.eval:
#   The mode False, by the method above: a class that defines its own train is then respected.

# %% test="3.3" points=2
# fmt: off
with Exercise("3.3", "Module") as check:

    class Part(Module):
        """A module with the attributes that it is given."""

        def __init__(self, **parts: Any) -> None:
            for part in parts:
                setattr(self, part, parts[part])

    class Frozen(Part):
        """A module whose part `fixed` is always in evaluation mode."""

        calls = 0

        def train(self, mode: bool = True) -> Self:
            Frozen.calls += 1
            super().train(mode)
            self.fixed.eval()
            return self

    def modes(model: Any) -> list[bool]:
        return [module.training for module in model.modules()]

    tree = check.call(lambda: Part(a=Part(b=Part()), c=Part()), "a tree of four modules",
                      cause="change the methods alone")
    check.equal(lambda: modes(tree), [True] * 4, "training of a new tree",
                cause="change the methods alone")
    check.true(lambda: tree.eval() is tree, "eval returns the module",
               cause="train returns self, and eval returns self.train(False)")
    check.equal(lambda: modes(tree), [False] * 4, "training of all modules after eval()",
                cause="set the given mode of all of self.modules(), of which self is one")
    check.true(lambda: tree.train() is tree, "train returns the module", cause="return self")
    check.equal(lambda: modes(tree), [True] * 4, "training of all modules after train()",
                cause="True by default; do not negate the mode")
    check.call(lambda: tree.a.eval(), "eval of a part", cause="return self.train(False)")
    check.equal(lambda: modes(tree), [True, False, False, True],
                "training after eval() of the part a",
                cause="only a and what is within it")
    check.call(lambda: tree.train(False), "train(False)", cause="the same as eval()")
    check.equal(lambda: modes(tree), [False] * 4, "training after train(False)",
                cause="set the mode that is given")
    for wrong in ("eval", 1, None):
        check.raises(TypeError, lambda: tree.train(wrong), f"train({wrong!r})",
                     cause="isinstance(mode, bool): everything else is an error")
    check.equal(lambda: modes(tree), [False] * 4, "training after train('eval')",
                cause="check mode before you set anything")
    frozen = check.call(lambda: Frozen(fixed=Part(deep=Part()), free=Part()),
                        "a module with a train of its own",
                        cause="change the methods alone")
    outer = check.call(lambda: Part(first=Part(second=frozen), last=Part()), "a tree around it",
                       cause="change the methods alone")
    for name, model, count in (("alone", frozen, 4), ("in another module", outer, 7)):
        check.call(lambda: model.train(), f"train() of a module with a train of its own, {name}",
                   cause="no endless recursion: the module itself is set, not called again")
        check.equal(lambda: modes(frozen), [True, False, False, True],
                    f"training of it, its fixed part, what is in that, and its free part, {name}",
                    cause="call module.train(mode) where the class has its own, and go in reverse"
                          " order, so that it comes after the modules within it")
        check.equal(lambda: modes(model.eval()), [False] * count, f"training after eval(), {name}",
                    cause="eval is train(False)")
    cycle = check.call(lambda: Part(child=Part(), other=Part()), "a module",
                       cause="change the methods alone")
    check.call(lambda: setattr(cycle.child, "parent", cycle), "a module that holds its parent",
               cause="change the methods alone")
    check.equal(lambda: modes(cycle.eval()), [False] * 3,
                "training of a module that holds its parent, after eval()",
                cause="go through self.modules(), which has each module once: a recursion over the"
                      " children never ends")
    before = check.call(lambda: Frozen.calls, "the calls of the class's own train",
                        cause="a class's own train is called as module.train(mode)")
    check.call(lambda: frozen.eval(), "eval() of a module with a train of its own",
               cause="return self.train(False)")
    check.true(lambda: Frozen.calls > before, "eval() calls the class's own train",
               cause="eval calls self.train(False), which a class may define")
    weighed = check.call(lambda: Part(weight=Parameter([1.0])), "a module with a parameter",
                         cause="change the methods alone")
    check.true(lambda: weighed.eval().weight.requires_grad, "a parameter can be trained after eval()",
               cause="eval changes the mode alone: it does not freeze parameters")
# fmt: on

# %% [markdown]
# ## 3.4 The layer
#
# Now weights get a home. `Linear` creates them as parameters, and its `forward` applies your op.
#
# With which numbers? If all weights were equal, all outputs would be equal, and training would
# change all of them in the same way forever: the layer would have one output in many copies. So
# they are **random**. Of which size is the question of the next exercise; here we take the range
# that PyTorch takes, uniform between $-1/\sqrt{\mathrm{in}}$ and $1/\sqrt{\mathrm{in}}$.

# %% exercise="3.4" points=3
from tinytorch.layers import Linear

# Linear.__init__:
#   Both sizes go through check_integer("Linear: in_features", in_features), which returns
#   the size or raises a TypeError; check_flag("Linear: bias", bias) checks the flag. Keep the
#   sizes as attributes.
#   random.uniform(shape, low, high) draws numbers, shape is a tuple. Draw the weight first,
#   then the bias. in_features may be 0: then the bound is 0.
#   Parameter(numbers, dtype=dtype, device=device, backend=backend) puts them where the caller
#   wants them. Without a bias, self.bias is None.
# Linear.forward:
#   If the last axis does not fit, raise a ShapeError with both sizes of the layer and
#   x.shape: it is the most frequent error of all. (For a number, x.shape[-1:] is ().)
#   Otherwise call your op.

# %% test="3.4" points=3
# fmt: off
with Exercise("3.4", "Linear") as check:
    layer = check.call(lambda: Linear(3, 2), "Linear(3, 2)",
                       cause="random.uniform takes the shape as a tuple")
    check.equal(lambda: [layer.in_features, layer.out_features], [3, 2],
                "in_features and out_features of Linear(3, 2)",
                cause="keep both sizes")
    check.equal(lambda: [layer.weight.shape, layer.bias.shape], [(2, 3), (2,)],
                "the shapes of weight and bias of Linear(3, 2)",
                cause="weight is (out, in), bias is (out,)")
    check.equal(lambda: [name for name in vars(layer) if isinstance(vars(layer)[name], Parameter)],
                ["weight", "bias"], "the names of the parameters",
                cause="self.weight and self.bias are Parameters, assigned in this order; nothing"
                      " else is one")
    check.equal(lambda: [str(layer.weight.dtype), str(layer.bias.dtype)], ["float32", "float32"],
                "the dtypes",
                cause="random.uniform gives float32; NumPy gives float64")
    plain = check.call(lambda: Linear(3, 2, bias=False), "Linear(3, 2, bias=False)",
                       cause="without a bias, self.bias is None")
    check.true(lambda: plain.bias is None, "the bias of Linear(3, 2, bias=False) is None",
               cause="self.bias = None, so that forward can pass it on")
    check.equal(lambda: [Linear(784, 128).weight.size, Linear(784, 128).bias.size],
                [784 * 128, 128], "the numbers of weights and biases of Linear(784, 128)",
                cause="out * in weights, and out biases")

    def numbers(seed: int, *arguments: Any, **settings: Any) -> list[Any]:
        random.manual_seed(seed)
        made = Linear(*arguments, **settings)
        return [made.weight.numpy(), made.bias.numpy() if made.bias is not None else None]

    def expected(seed: int, inputs: int, outputs: int) -> list[Any]:
        random.manual_seed(seed)
        bound = 1 / math.sqrt(inputs)
        return [random.uniform(s, -bound, bound) for s in ((outputs, inputs), (outputs,))]

    for inputs, outputs in ((16, 300), (400, 25), (1, 2000)):
        weight, bias = check.call(lambda: numbers(1, inputs, outputs),
                                  f"Linear({inputs}, {outputs})",
                                  cause="draw with random.uniform(shape, -bound, bound)", count=2)
        bound = 1 / math.sqrt(inputs)
        for name, values in (("weights", weight), ("biases", bias)):
            check.true(lambda: bool(np.abs(values).max() <= bound * 1.0001),
                       f"the {name} of Linear({inputs}, {outputs}) are at most {bound:.3f}",
                       cause="the bound is 1 / sqrt(in_features), for both")
            check.true(lambda: bool(values.min() < -0.85 * bound and values.max() > 0.85 * bound),
                       f"the {name} of Linear({inputs}, {outputs}) reach from -{bound:.3f} to"
                       f" {bound:.3f}",
                       cause="random.uniform(shape, -bound, bound), for weights and biases")
        wanted = expected(1, inputs, outputs)
        for name, values, those in zip(("weights", "biases"), (weight, bias), wanted, strict=True):
            check.close(values, those,
                        f"the {name} of Linear({inputs}, {outputs}) after manual_seed(1)",
                        tolerance=1e-6,
                        cause="random.uniform(shape, -bound, bound), the weight first and then the"
                              " bias: each seed gives the same network")
    check.close(lambda: numbers(4, 6, 5, False)[0], expected(4, 6, 5)[0],
                "the weights of Linear(6, 5, False) after manual_seed(4)",
                cause="the third argument is bias")
    follow = check.call(lambda: [numbers(4, 6, 5, False), random.uniform((3,))][1],
                        "the numbers drawn after Linear(6, 5, False)",
                        cause="self.bias = None without a bias")
    random.manual_seed(4)
    random.uniform((5, 6))
    check.equal(follow, random.uniform((3,)), "the numbers drawn after Linear(6, 5, False)",
                cause="do not draw a bias that nobody needs: all later numbers would be others")
    rng = np.random.default_rng(4)
    W, b = rng.standard_normal((2, 3)).astype(np.float32), rng.standard_normal(2).astype(np.float32)
    for target, name, values in ((layer, "weight", W), (layer, "bias", b), (plain, "weight", W)):
        check.call(lambda: setattr(target, name, Parameter(values)), f"a {name} of our own",
                   cause="keep weight and bias as attributes")
    for shape in ((4, 3), (3,), (2, 4, 3), (0, 3)):
        x = rng.standard_normal(shape).astype(np.float32)
        check.close(lambda: layer(Tensor(x)), x @ W.T + b, f"the output for x {shape}",
                    cause="linear(x, self.weight, self.bias), for any number of axes: the last one"
                          " has in_features")
        check.close(lambda: plain(Tensor(x)), x @ W.T, f"the output for x {shape} without a bias",
                    cause="linear(x, self.weight, self.bias), where the bias is None")
    for shape in ((4, 2), (3, 4), (2,), (), (3, 1)):
        check.raises(ShapeError, lambda: layer(Tensor(np.zeros(shape, np.float32))),
                     f"x of shape {shape} for Linear(3, 2)", message=str(shape),
                     cause="compare x.shape[-1:] with (self.in_features,), and raise a ShapeError"
                           " whose message contains x.shape")
    check.raises(ShapeError, lambda: Linear(31, 17)(Tensor(np.zeros((5, 4), np.float32))),
                 "x (5, 4) for Linear(31, 17)", message="31",
                 cause="the message names the sizes of the layer")
    check.equal(lambda: [Linear(0, 3).weight.shape, Linear(0, 3).bias], [(3, 0), [0.0, 0.0, 0.0]],
                "the weight's shape and the bias of Linear(0, 3)",
                cause="1 / sqrt(0) is an error: the bound is then 0")
    for wrong, name in (
        ((2.5, 3), "in_features"), (("2", 3), "in_features"), ((3, 2.5), "out_features"),
        ((3, None), "out_features"),
    ):
        check.raises(TypeError, lambda: Linear(*wrong), f"Linear{wrong}", message=f"Linear: {name}",
                     cause=f'check_integer("Linear: {name}", {name}) raises it')
    check.equal(lambda: Linear(np.int64(3), 2).in_features, 3,
                "in_features of Linear(np.int64(3), 2)",
                cause="check_integer returns the size")
    check.raises(TypeError, lambda: Linear(3, 2, bias="no"), 'Linear(3, 2, bias="no")',
                 message="Linear: bias",
                 cause='check_flag("Linear: bias", bias) raises it')

    def both(**place: Any) -> list[Tensor]:
        made = Linear(3, 2, **place)
        return [made.weight, made.bias]

    for name, got, wanted in (
        ('backend="reference"', lambda: [p.backend.name for p in both(backend="reference")],
         ["reference"] * 2),
        ('dtype="float64"', lambda: [str(p.dtype) for p in both(dtype="float64")], ["float64"] * 2),
        ("device=...", lambda: [p.backend.name for p in both(device=get("reference"))],
         ["reference"] * 2),
    ):
        check.equal(got, wanted, f"weight and bias of Linear(3, 2, {name})",
                    cause="pass dtype, device and backend on to both Parameters")
    away = Tensor(np.ones((4, 3), np.float32), backend="reference")
    check.equal(lambda: Linear(3, 2, backend="reference")(away).backend.name, "reference",
                "the backend of the output",
                cause="linear(x, self.weight, self.bias), your op: NumPy's functions would leave"
                      " the backend, and lesson 6 would find no way back to the parameters")
    check.equal(lambda: repr(Linear(3, 2, bias=False)),
                "Linear(in_features=3, out_features=2, bias=False)", "the text of a layer",
                cause="keep the attributes in_features, out_features and bias")
# fmt: on

# %% [markdown]
# ## 3.5 The size of the first weights
#
# Take one output, $y = \sum_i w_i x_i$, with random weights of mean 0 and variance $\sigma^2$. The
# variances of independent terms add up, so with `in` of them
#
# $$ \mathrm{E}[y^2] = \mathrm{in} \cdot \sigma^2 \cdot \mathrm{E}[x^2]. $$
#
# With $\mathrm{in} \cdot \sigma^2 = 2$, ten layers multiply by $2^{10}$: the signal explodes. With
# 0.5 it vanishes. It stays as it is only for $\sigma^2 = 1 / \mathrm{in}$. ReLU after each layer
# sets half of the numbers to 0, so it halves $\mathrm{E}[y^2]$: then $\sigma^2$ must be
# $2 / \mathrm{in}$. That factor is written as $\mathrm{gain}^2$.
#
# | name | variance | for |
# |---|---|---|
# | Kaiming (He) | gain² / fan | ReLU, with gain $\sqrt 2$ |
# | Xavier (Glorot) | gain² · 2 / (fan in + fan out) | tanh: a compromise between signals forward and gradients backward |
#
# *Fan in* is the number of inputs of one output, *fan out* the number of outputs that one input
# reaches. A convolution's weight is (out, in, height, width): each output sees `in` channels at
# height times width places, so both fans have that factor.
#
# A uniform number between $-b$ and $b$ has the variance $b^2 / 3$. **By hand**: a variance of
# $2 / (4 + 2) = 1/3$ needs $b = 1$.

# %% exercise="3.5" points=4
from tinytorch.nn.init import _fans, _kaiming_std, kaiming_normal_, xavier_uniform_

# _fans:
#   With fewer than two axes, raise a ValueError that contains name and the shape.
#   All axes after the second are places. Return (fan in, fan out), neither below 1.
# _kaiming_std:
#   A mode that is neither "fan_in" nor "fan_out" is a ValueError that contains name and the mode.
#   a is the slope of leaky ReLU on the negative side; pass it on.
#   calculate_gain(nonlinearity, a) is given: sqrt(2) for "relu". The standard deviation is the root
#   of the variance in the table.
# kaiming_normal_:
#   normal_(tensor, mean, std, generator) is given: it fills the tensor in place and returns it.
# xavier_uniform_:
#   Find b from the variance in the table. uniform_(tensor, low, high, generator) is given.

# %% test="3.5" points=4
# fmt: off
with Exercise("3.5", "_fans, _kaiming_std, kaiming_normal_, xavier_uniform_") as check:
    def zeros(*shape: int) -> Tensor:
        return Tensor(np.zeros(shape))

    for shape, wanted in (
        ((4, 3), (3, 4)), ((6, 5, 3, 2), (30, 36)), ((2, 7, 4), (28, 8)), ((1, 1), (1, 1)),
        ((3, 0), (1, 3)), ((0, 5), (5, 1)),
    ):
        check.equal(lambda: tuple(_fans("mine_", zeros(*shape))), wanted,
                    f"fan in and fan out of a weight {shape}",
                    cause="(in, out), each times the product of the sizes after the second axis,"
                          " and at least 1")
    for shape in ((5,), ()):
        check.raises(ValueError, lambda: _fans("mine_", zeros(*shape)),
                     f"a tensor of shape {shape}", message=str(shape),
                     cause="a bias has no fans: fewer than two axes is a ValueError that contains"
                           " the shape")
        check.raises(ValueError, lambda: _fans("mine_", zeros(*shape)),
                     f"a tensor of shape {shape}", message="mine_",
                     cause="the message begins with the argument name")
    weight = zeros(8, 18)
    for mode, nonlinearity, a, wanted in (
        ("fan_in", "relu", 0, math.sqrt(2 / 18)), ("fan_out", "relu", 0, math.sqrt(2 / 8)),
        ("fan_in", "linear", 0, math.sqrt(1 / 18)), ("fan_out", "tanh", 0, 5 / 3 / math.sqrt(8)),
        ("fan_in", "leaky_relu", 1.0, math.sqrt(1 / 18)),
        ("fan_in", "leaky_relu", 0.5, math.sqrt(1.6 / 18)),
    ):
        check.close(lambda: _kaiming_std("mine_", weight, a, mode, nonlinearity), wanted,
                    f"the standard deviation for {nonlinearity}, a={a}, {mode}, weight (8, 18)",
                    tolerance=1e-9,
                    cause="calculate_gain(nonlinearity, a) / sqrt(fan), with the fan that mode"
                          " names")
    check.close(lambda: _kaiming_std("mine_", zeros(4, 2, 3, 5), 0, "fan_in", "relu"),
                math.sqrt(2 / 30), "the standard deviation for relu, weight (4, 2, 3, 5)",
                cause="use _fans")
    for wrong in ("fan", "in", ""):
        check.raises(ValueError, lambda: _kaiming_std("mine_", weight, 0, wrong, "relu"),
                     f"the mode {wrong!r}", message=str(wrong),
                     cause="check the mode, and put it into the message")
        check.raises(ValueError, lambda: _kaiming_std("mine_", weight, 0, wrong, "relu"),
                     f"the mode {wrong!r}", message="mine_",
                     cause="the message begins with the argument name")

    def source() -> np.random.Generator:
        return np.random.default_rng(5)

    for settings, std in (
        ({}, math.sqrt(2 / 18)), ({"nonlinearity": "relu", "mode": "fan_out"}, 0.5),
        ({"a": 1.0}, math.sqrt(1 / 18)), ({"nonlinearity": "linear"}, math.sqrt(1 / 18)),
    ):
        check.close(lambda: kaiming_normal_(zeros(8, 18), generator=source(), **settings),
                    source().standard_normal((8, 18)) * std, f"kaiming_normal_ with {settings}",
                    tolerance=1e-9,
                    cause="normal_(tensor, 0.0, std, generator), with std from _kaiming_std for a,"
                          " mode and nonlinearity")
    check.close(lambda: kaiming_normal_(zeros(8, 18), 0.5, "fan_out", "leaky_relu", source()),
                source().standard_normal((8, 18)) * math.sqrt(1.6 / 8),
                "kaiming_normal_ with all arguments", tolerance=1e-9,
                cause="pass a, mode and nonlinearity to _kaiming_std")
    for shape, gain, bound in (
        ((2, 4), 1.0, 1.0), ((8, 18), 1.0, math.sqrt(6 / 26)),
        ((8, 18), 5 / 3, 5 / 3 * math.sqrt(6 / 26)), ((4, 2, 3, 5), 2.0, 2 * math.sqrt(6 / 90)),
    ):
        check.close(lambda: xavier_uniform_(zeros(*shape), gain, source()),
                    source().uniform(-bound, bound, shape),
                    f"xavier_uniform_ of {shape} with gain {gain:.3f}", tolerance=1e-9,
                    cause="b is the root of three times the variance: gain * sqrt(6 / (fan in +"
                          " fan out)); return uniform_(tensor, -b, b, generator)")
    check.close(lambda: xavier_uniform_(zeros(8, 18), generator=source()),
                source().uniform(-math.sqrt(6 / 26), math.sqrt(6 / 26), (8, 18)),
                "xavier_uniform_ by default",
                cause="the gain is 1")
    check.raises(ValueError, lambda: _kaiming_std("mine_", zeros(5), 0, "fan_in", "relu"),
                 "the standard deviation for a bias", message="mine_",
                 cause="_fans(name, tensor), with the name of the argument")
    for name, function in (
        ("kaiming_normal_", kaiming_normal_), ("xavier_uniform_", xavier_uniform_),
    ):
        tensor = zeros(30, 20)
        check.true(lambda: function(tensor) is tensor, f"{name} returns the tensor itself",
                   cause=f"return what {'normal_' if 'normal' in name else 'uniform_'} returns")
        check.true(lambda: bool(tensor.numpy().std() > 0.1), f"{name} fills the tensor in place",
                   cause="do not create another tensor")
        first, second = check.call(
            lambda: [(random.manual_seed(2), function(zeros(3, 4)).numpy())[1] for _ in range(2)],
            f"{name} twice after manual_seed(2)", count=2,
            cause="normal_ and uniform_ fill the tensor and return it")
        check.equal(first, second, f"{name} twice after manual_seed(2)",
                    cause="pass the generator on; None is the one of manual_seed")
        check.raises(ValueError, lambda: function(zeros(5)), f"{name} of a bias", message=name,
                     cause=f'_fans("{name}", tensor) raises it, with the right name')
    check.raises(ValueError, lambda: kaiming_normal_(zeros(5, 4), mode="fan"),
                 "kaiming_normal_ with a wrong mode", message="kaiming_normal_",
                 cause='_kaiming_std("kaiming_normal_", ...) raises it')
# fmt: on

# %% [markdown]
# Ten layers of 256 numbers, with your code. Each curve is one way to draw the weights:

# %%
random.manual_seed(3)
signals = Tensor(random.normal((500, 256)))  # (B, in)
starts = {
    "standard deviation 0.01": lambda w: normal_(w, 0.0, 0.01),
    "standard deviation 0.2": lambda w: normal_(w, 0.0, 0.2),
    "Linear as it is": lambda w: w,
    "Xavier": xavier_uniform_,
    "Kaiming, for ReLU": lambda w: kaiming_normal_(w, nonlinearity="relu"),
}


def sizes(start: Any, activation: Any) -> list[float]:
    """Return the root of the mean square of the signals before and after each of ten layers."""
    x, found = signals, [1.0]
    for _ in range(10):
        layer = Linear(256, 256, bias=False)
        start(layer.weight)
        x = activation(layer(x))
        found.append(float(np.sqrt(np.mean(x.numpy() ** 2))))
    return found


figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), sharey=True)
for axis, title, activation in (
    (axes[0], "linear layers alone", lambda x: x),
    (axes[1], "with ReLU", relu),
):
    for name, start in starts.items():
        axis.semilogy(sizes(start, activation), "o-", markersize=3, label=name)
    axis.axhline(1, color="gray", lw=0.5)
    axis.set(title=title, xlabel="layer", ylim=(1e-10, 1e7))
axes[0].set_ylabel("size of the signals")
axes[1].legend(fontsize=8, loc="lower left")
figure.tight_layout()
plt.show()

# %% [markdown]
# Only one curve is flat in each picture: Xavier without an activation (here fan in and fan out are
# equal), Kaiming with ReLU. And `Linear` as it is? Uniform numbers up to $1/\sqrt{\mathrm{in}}$ have
# the variance $1 / (3\,\mathrm{in})$, so each layer shrinks the signal by $\sqrt 3$, with ReLU by
# $\sqrt 6$. In ten layers that is a factor of 243, or of 7776. For a few layers it does not matter;
# deep networks draw their weights anew, or normalise between the layers (lesson 13 does both).

# %% [markdown]
# ## 3.6 Dropout
#
# A network with enough parameters can learn its examples by heart. **Dropout** makes that harder: in
# each step of training, each number is set to 0 with probability $p$. No unit can rely on another
# one to be there, so what they learn is spread over many.
#
# A sum over the numbers that remain would be smaller, by the factor $1 - p$. So what remains is
# divided by $1 - p$: then the average over all masks is $x$ itself.
#
# **By hand**: `[2, 4, 6, 8]` with $p = 1/4$ and a mask that drops the second number gives
# `[2.67, 0, 8, 10.67]`.

# %% exercise="3.6" points=3
from tinytorch.layers import dropout

# dropout:
#   xp.random_bits(seed, shape) gives random integers from 0 to 2**32 - 1, the same ones for the
#   same seed on every backend. A number is dropped if its bits are below p * 2**32: int(p * 2**32).
#   Turn the table of what stays into numbers of x's dtype, with xp.astype(booleans, dtype), and
#   scale it. Return x times that, and keep the scaled table: (keep,).

# %% test="3.6" points=3
# fmt: off
with Exercise("3.6", "dropout") as check:
    xp, rng = get("numpy").xp, np.random.default_rng(6)
    random.manual_seed(6)
    for shape, p in (((200,), 0.25), ((4, 5, 6), 0.5), ((50, 3), 0.9), ((3, 40), 0.1)):
        x, seed = rng.standard_normal(shape).astype(np.float32), random.next_seed()
        bits = np.asarray(xp.random_bits(seed, shape))
        wanted = np.where(bits >= p * 2**32, 1 / (1 - p), 0)
        got = check.call(lambda: dropout(Tensor(x), p=p, seed=seed),
                         f"dropout of {shape} with p = {p}",
                         cause="return two things: x * keep, and (keep,)")
        check.equal(lambda: got.numpy() == 0, wanted == 0,
                    f"where dropout of {shape} with p = {p} gives 0",
                    cause="keep is bits >= int(p * 2**32): those below are dropped, a share of p")
        check.close(got, x * wanted, f"dropout of {shape} with p = {p}",
                    cause="what stays is divided by 1 - p")
        kept = check.call(lambda: dropout.forward(xp, x, p=p, seed=seed)[1], "what dropout keeps",
                          cause="a tuple of one: (keep,)", count=1)
        check.close(lambda: kept[0], wanted, "what dropout keeps",
                    cause="the scaled table: 0 or 1 / (1 - p), not x")
        check.equal(lambda: str(kept[0].dtype), "float32", "the dtype of what dropout keeps",
                    cause="xp.astype(..., x.dtype)")
    for kind in ("float32", "float64"):
        check.equal(lambda: str(dropout(Tensor(x.astype(kind)), p=0.5, seed=seed).dtype), kind,
                    f"the dtype of dropout for {kind}",
                    cause="xp.astype(..., x.dtype), times a Python number")
    bits = np.asarray(xp.random_bits(seed, (8,)))
    edge = int(bits[3]) / 2**32  # the limit is the number itself
    check.equal(lambda: dropout(Tensor(np.ones(8)), p=edge, seed=seed).numpy() == 0, bits < bits[3],
                "what is dropped if the limit is one of the random integers",
                cause="a number is dropped if its bits are below the limit: keep is >=")
    check.true(
        lambda: abs(dropout(Tensor(np.ones(40_000)), p=0.3, seed=seed).numpy().mean() - 1) < 0.02,
        "the mean of many ones stays near 1",
        cause="divide by 1 - p, not by p")
    first, second = check.call(
        lambda: [dropout(Tensor(np.ones(64)), p=0.5, seed=s).numpy()
                 for s in (seed, random.next_seed())],
        "two seeds", count=2,
        cause="random bits are for x.shape")
    check.true(lambda: not np.array_equal(first, second), "another seed drops other numbers",
               cause="pass seed to xp.random_bits")
    tensor = Tensor(x)
    check.call(lambda: dropout(tensor, p=0.5, seed=seed), "dropout of (3, 40)",
               cause="return x * keep")
    check.equal(lambda: tensor, x, "x afterwards", cause="do not write into x")
    check.equal(lambda: str(dropout.forward(xp, np.ones(9), p=0.3, seed=seed)[1][0].dtype), "float64",
                "the dtype of what dropout keeps for float64",
                cause="xp.astype(..., x.dtype)")
# fmt: on

# %% [markdown]
# Three masks of the same numbers, and the average of a thousand:

# %%
ramp = Tensor(np.tile(np.linspace(0, 1, 24, dtype=np.float32), (8, 1)))  # (8, 24)
masked = [dropout(ramp, p=0.5, seed=random.next_seed()).numpy() for _ in range(1000)]
figure, axes = plt.subplots(1, 5, figsize=(12, 1.8))
images = [ramp.numpy(), *masked[:3], np.mean(masked, axis=0)]
names = ["x", "mask 1", "mask 2", "mask 3", "average of 1000"]
for axis, title, image in zip(axes, names, images, strict=True):
    axis.imshow(image, cmap="viridis", vmin=0, vmax=2)
    axis.set_title(title, fontsize=9)
    axis.axis("off")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 3.7 Dropout as a layer
#
# The module decides three things: whether anything is dropped (only in training mode), with which
# probability, and with which seed: a new one for each call. Two cases need no mask: with $p = 0$
# everything stays, and with $p = 1$ nothing does, where dividing by $1 - p$ would fail.

# %% given="3.7"
from tinytorch.layers import _probability

# %% exercise="3.7" points=3
from tinytorch.layers import Dropout, apply_dropout

# apply_dropout:
#   For p = 0 return x itself; for p = 1 zeros: x * 0, so that it is still computed from x.
#   Otherwise call your op, with p and seed by name.
# Dropout.__init__:
#   Keep p; _probability(p) is given: it returns a float, or raises an error outside of [0, 1].
# Dropout.draw:
#   Return two things. The probability is 0 unless self.training is true; check self.p again, since
#   somebody may have assigned it. The seed comes from random.next_seed(), but only if a mask is
#   needed: else None. Seeds are counted, so drawing one for nothing would change all later masks.
# Dropout.forward:
#   Draw, then apply.

# %% test="3.7" points=3
# fmt: off
with Exercise("3.7", "apply_dropout and Dropout") as check:
    random.manual_seed(7)
    x = np.random.default_rng(7).standard_normal((30, 4)).astype(np.float32)
    seed = random.next_seed()
    bits, tensor = np.asarray(get("numpy").xp.random_bits(seed, (30, 4))), Tensor(x)
    check.true(lambda: apply_dropout(tensor, 0.0, None) is tensor,
               "apply_dropout returns x itself for p = 0",
               cause="nothing is dropped: return x")
    check.equal(lambda: apply_dropout(tensor, 1.0, None), np.zeros((30, 4)),
                "apply_dropout with p = 1",
                cause="everything is dropped: x * 0, without a division by 0")
    check.true(lambda: isinstance(apply_dropout(tensor, 1.0, None), Tensor),
               "the result for p = 1 is a tensor",
               cause="x * 0")
    for p in (0.25, 0.8):
        check.close(lambda: apply_dropout(tensor, p, seed),
                    np.where(bits >= p * 2**32, x / (1 - p), 0), f"apply_dropout with p = {p}",
                    cause="dropout(x, p=p, seed=seed)")

    check.equal(lambda: [Dropout().p, Dropout(0.1).p, Dropout(1).p], [0.5, 0.1, 1.0],
                "p of Dropout(), Dropout(0.1) and Dropout(1)",
                cause="self.p = _probability(p)")
    for wrong, error in ((1.5, ValueError), (-0.1, ValueError), ("0.5", TypeError)):
        check.raises(error, lambda: Dropout(wrong), f"Dropout({wrong!r})",
                     cause="check p with _probability")
    layer = check.call(lambda: Dropout(0.3), "Dropout(0.3)", cause="self.p = _probability(p)")
    p, drawn = check.call(lambda: layer.draw(), "draw() while training",
                          cause="return two things: p and a seed", count=2)
    check.equal(lambda: p, 0.3, "the probability while training",
                cause="self.p in training mode, 0 otherwise; p comes first, then the seed")
    check.true(lambda: drawn is not None, "a seed is drawn while training",
               cause="random.next_seed() if 0 < p < 1")

    def used(p: float) -> Dropout:
        made = Dropout(p)
        made.training = False  # as eval() does
        return made

    check.equal(lambda: used(0.3).draw(), (0.0, None), "draw() outside of training",
                cause="p is 0 unless self.training, and then no seed is needed")
    check.equal(lambda: [Dropout(p).draw() for p in (0.0, 1.0)], [(0.0, None), (1.0, None)],
                "draw() for p = 0 and p = 1",
                cause="no mask is needed: the seed is None")

    def seeds_of(work: Any) -> int:
        before = random.mask_state()[1]
        work()
        return random.mask_state()[1] - before

    check.true(lambda: apply_dropout(Tensor(x, requires_grad=True), 1.0, None).requires_grad,
               "the zeros for p = 1 are computed from x",
               cause="x * 0: new zeros would not depend on x")
    both = check.call(lambda: Dropout(0.3), "Dropout(0.3)", cause="self.p = _probability(p)")
    check.call(lambda: (setattr(both, "training", False), both(tensor), setattr(both, "training", True)),
               "a call outside of training",
               cause="p is then 0")
    check.equal(lambda: [both.p, both.draw()[0]], [0.3, 0.3],
                "p and the probability while training, after a call outside of training",
                cause="do not assign self.p: draw returns another number, and changes nothing")
    for name, work, count in (
        ("draw() while training", lambda: layer.draw(), 1),
        ("a call while training", lambda: layer(tensor), 1),
        ("a call outside of training", lambda: used(0.3)(tensor), 0),
        ("a call with p = 0", lambda: Dropout(0.0)(tensor), 0),
        ("a call with p = 1", lambda: Dropout(1.0)(tensor), 0),
        ("creating a layer", lambda: Dropout(0.3), 0),
    ):
        check.equal(lambda: seeds_of(work), count, f"the number of seeds used by {name}",
                    cause="call random.next_seed() in draw alone, once for each mask; forward is"
                          " apply_dropout(x, *self.draw())")
    assigned = check.call(lambda: Dropout(0.3), "Dropout(0.3)", cause="self.p = _probability(p)")
    check.call(lambda: setattr(assigned, "p", 1.0), "p assigned later",
               cause="p is a plain attribute")
    check.equal(lambda: assigned.draw(), (1.0, None), "draw() after p = 1.0 was assigned",
                cause="read self.p at each call")
    check.call(lambda: setattr(assigned, "p", 3.0), "p assigned later",
               cause="p is a plain attribute")
    check.raises(ValueError, lambda: assigned(tensor), "a call after p = 3.0 was assigned",
                 cause="_probability(self.p) in draw, too")

    def after_seed(work: Any) -> np.ndarray:
        random.manual_seed(8)
        return work().numpy()

    random.manual_seed(8)
    bits = np.asarray(get("numpy").xp.random_bits(random.next_seed(), (30, 4)))
    check.close(lambda: after_seed(lambda: layer(tensor)),
                np.where(bits >= 0.3 * 2**32, x / 0.7, 0), "Dropout(0.3) after manual_seed(8)",
                cause="apply_dropout with the p and the seed of draw()")
    check.true(lambda: not np.array_equal(layer(tensor).numpy(), layer(tensor).numpy()),
               "two calls drop different numbers",
               cause="draw a new seed for each call")
    check.true(lambda: used(0.3)(tensor) is tensor,
               "Dropout(0.3) returns x itself outside of training",
               cause="p is then 0")
    check.equal(lambda: [Dropout(1.0)(tensor), Dropout(0.0)(tensor)], [np.zeros((30, 4)), x],
                "Dropout(1.0) and Dropout(0.0)",
                cause="apply_dropout handles both")
    check.true(lambda: type(layer.p) is float, "p is a float",
               cause="p is a number, not a parameter")
# fmt: on

# %% [markdown]
# ## 3.8 A chain of layers
#
# A list of layers that is a module itself: its parameters are those of all its layers, with the
# names `0.weight`, `0.bias`, `1.weight`. `ModuleList` is given. `Sequential` adds what a chain does:
# the output of each layer is the input of the next.

# %% given="3.8"
from tinytorch.modules.containers import ModuleList, _check_module

# %% exercise="3.8" points=2
from tinytorch.modules.containers import Sequential

# Sequential.forward:
#   Iterating over self yields the modules in order. Call each: module(x), not module.forward(x),
#   which would skip its hooks: functions that a user attaches to a module, to look at what it
#   computes. Without any modules, the result is x.
# Sequential.__getitem__:
#   A slice is a Sequential again, with the names that the modules have here: self._items() is the
#   dict of modules by name, and Sequential(dict) keeps names. Any other index: super().__getitem__.

# %% test="3.8" points=2
# fmt: off
with Exercise("3.8", "Sequential") as check:

    class Affine(Module):
        """x * factor + shift, which counts its calls."""

        def __init__(self, factor: float, shift: float) -> None:
            self.factor, self.shift = factor, shift

        def forward(self, x: Tensor) -> Tensor:
            return Tensor(x.numpy() * self.factor + self.shift)

    def chain(*numbers: tuple[float, float]) -> Any:
        return Sequential(*[Affine(*pair) for pair in numbers])

    pairs = (2.0, 1.0), (3.0, -4.0), (-1.0, 0.5)
    check.equal(lambda: chain(*pairs)(Tensor([1.0, 5.0])), [-4.5, -28.5],
                "three layers, 2x + 1, then 3x - 4, then -x + 0.5",
                cause="x = module(x) for each module, in order, and return the last x")
    check.equal(lambda: chain(pairs[0])(Tensor([1.0, 5.0])), [3.0, 11.0], "one layer, 2x + 1",
                cause="return x after the loop")
    x = Tensor([1.0, 5.0])
    check.true(lambda: Sequential()(x) is x, "a chain of no layers returns x itself",
               cause="return x after the loop")
    hooked = check.call(lambda: chain(*pairs), "a chain of three layers",
                        cause="change the methods alone")
    for index in (0, 2, -1):
        check.true(lambda: hooked[index] is list(hooked)[index], f"the layer at index {index}",
                   cause="super().__getitem__(index)")
    seen: list[int] = []
    check.call(
        lambda: hooked[1].register_forward_hook(lambda module, inputs, output: seen.append(1)),
        "a hook on the second layer",
        cause="any index but a slice: super().__getitem__(index)")
    check.call(lambda: hooked(x), "a chain with a hook", cause="x = module(x)")
    check.equal(lambda: len(seen), 1, "the number of calls of a hook on the second layer",
                cause="call module(x): module.forward(x) skips hooks, and each module is called"
                      " once")
    check.equal(lambda: [name for name, _ in hooked.named_children()], ["0", "1", "2"],
                "the names of the layers",
                cause="change the methods alone")
    check.raises(IndexError, lambda: hooked[3], "index 3 of three layers",
                 cause="super().__getitem__ raises it")
    for text, part, kept in (
        ("1:", slice(1, None), ["1", "2"]), (":2", slice(2), ["0", "1"]),
        ("::2", slice(None, None, 2), ["0", "2"]), ("0:0", slice(0, 0), []),
    ):
        values = np.array([1.0, 5.0])
        for factor, shift in pairs[part]:
            values = values * factor + shift
        check.true(lambda: type(hooked[part]) is Sequential, f"[{text}] is a Sequential",
                   cause="Sequential(...), not a list and not a ModuleList")
        check.equal(lambda: hooked[part](Tensor([1.0, 5.0])), values,
                    f"the chain [{text}] of three layers",
                    cause="a slice is a Sequential of the modules in it")
        check.equal(lambda: [name for name, _ in hooked[part].named_children()], kept,
                    f"the names in [{text}]",
                    cause="a dict keeps the names: Sequential(dict(...))")
    named = check.call(
        lambda: Sequential({"first": Affine(2.0, 0.0), "second": Affine(1.0, 1.0),
                            "last": Affine(5.0, 0.0)}),
        "a chain with names",
        cause="change the methods alone")
    check.equal(lambda: [name for name, _ in named[1:].named_children()], ["second", "last"],
                "the names in a slice of a chain with names",
                cause="take the items of self._items() in the slice")
    check.true(lambda: named[1:][0] is list(named)[1], "a slice holds the same modules, not copies",
               cause="the modules of self._items()")
    check.equal(lambda: named(x), [15.0, 55.0], "a chain with names",
                cause="x = module(x) for each module")
    twice = check.call(lambda: Affine(2.0, 1.0), "a layer", cause="change the methods alone")
    for text, made in (
        ("Sequential(f, f)", lambda: Sequential(twice, twice)),
        ("Sequential(f, f, g)[:2]", lambda: Sequential(twice, twice, Affine(9.0, 9.0))[:2]),
    ):
        check.equal(lambda: made()(x), [7.0, 23.0], f"{text}, where f is 2x + 1",
                    cause="iterate over self: named_children() and children() leave out a module"
                          " that was there before")
    nested = check.call(lambda: Sequential(chain(*pairs), Affine(2.0, 0.0)), "a chain in a chain",
                        cause="change the methods alone")
    check.equal(lambda: nested(x), [-9.0, -57.0], "a chain in a chain",
                cause="a Sequential is a module like any other")
# fmt: on

# %% [markdown]
# ## A network
#
# XOR is true if exactly one of two inputs is. No single linear layer can compute it, as M. Minsky and
# S. Papert proved (*Perceptrons*, 1969). Two layers can. Training will find such weights; here they
# are set by hand: one unit counts the inputs, one fires if both are there, and the output subtracts
# the second twice.


# %%
class ReLU(Module):
    """`relu` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return relu(x)


xor = Sequential(Linear(2, 2), ReLU(), Linear(2, 1, bias=False))
xor.load_state_dict(
    {"0.weight": [[1.0, 1.0], [1.0, 1.0]], "0.bias": [0.0, -1.0], "2.weight": [[1.0, -2.0]]}
)
cases = Tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])  # (4, 2)
hidden = xor[:2](cases)
for case, middle, result in zip(cases.tolist(), hidden.tolist(), xor(cases).tolist(), strict=True):
    print(case, "->", middle, "->", result)
print(xor)

# %%
axis_values = np.linspace(-0.3, 1.3, 161, dtype=np.float32)
points = np.stack(np.meshgrid(axis_values, axis_values), axis=-1)  # (161, 161, 2)
surface = xor(Tensor(points)).numpy()[..., 0]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
image = axes[0].contourf(
    axis_values, axis_values, surface, levels=20, cmap="RdBu_r", vmin=-1, vmax=2
)
axes[0].contour(axis_values, axis_values, surface, levels=[0.5], colors="black")
figure.colorbar(image)
for axis, places, title in (
    (axes[0], cases.numpy(), "output, and the line of 0.5"),
    (axes[1], hidden.numpy(), "after the first layer and ReLU"),
):
    axis.scatter(*places.T, c=["white", "orange", "orange", "white"], edgecolor="black", s=90)
    axis.set_title(title)
axes[1].plot([0, 2], [-0.25, 0.75], color="black")  # h1 - 2 h2 = 0.5
axes[1].set(xlabel="first unit", ylabel="second unit", xlim=(-0.3, 2.3), ylim=(-0.4, 1.3))
figure.tight_layout()
plt.show()

# %% [markdown]
# After the fold, both orange points are the same point, and one straight line separates it.

# %% [markdown]
# ## What it costs
#
# **Memory.** A float32 takes 4 bytes. Count a network for pictures of 28 x 28 pixels:

# %%
random.manual_seed(0)
network = Sequential(Linear(784, 128), ReLU(), Dropout(0.2), Linear(128, 10))
for name, p in network.named_parameters():
    print(f"{name:10} {p.shape!s:11} {p.size:8,} numbers {p.numpy().nbytes:9,} bytes")
count = network.num_parameters()
print(f"{'together':22} {count:8,} numbers {4 * count:9,} bytes")

# %% [markdown]
# Training needs more than that. Each parameter has a gradient of the same size, and Adam, the usual
# optimizer, keeps two averages for each: four times the memory, 16 bytes per parameter. And that is
# before a single example. The signals between the layers are kept for the gradients, too; they grow
# with the batch:

# %%
for name, size in (
    ("this network", count),
    ("GPT-2 small", 124_439_808),
    ("Llama 3 8B", 8_030_261_248),
):
    used, trained = 4 * size / 2**20, 16 * size / 2**20  # 16 = 4 + 4 for the gradient + 8 for Adam
    print(f"{name:13} to use it {used:10,.1f} MiB, to train it {trained:11,.1f} MiB")
batch = 512
signals = 4 * batch * (784 + 128 + 128 + 128 + 10)  # inputs and outputs of the layers
print(f"the signals of {batch} pictures {signals / 2**20:.1f} MiB")

# %% [markdown]
# **Arithmetic.** A linear layer multiplies and adds `in` times for each output: 2 · in · out
# operations per example. Its weights are read from memory once per call, however many examples there
# are. With a single example, each weight is fetched for one multiplication: the layer waits for the
# memory. The larger the batch, the more the same bytes do:

# %%
from tinytorch.tito.measure import seconds

layer = Linear(1024, 1024)
rng = np.random.default_rng(0)
batches, speeds = [1, 4, 16, 64, 256, 1024], []
print("    B      time   GFLOP/s   weights read, GB/s")
for B in batches:
    x = Tensor(rng.standard_normal((B, 1024)).astype(np.float32))
    time, flops = seconds(lambda x=x: layer(x)), 2 * B * 1024 * 1024
    speeds.append(flops / time / 1e9)
    read = layer.weight.numpy().nbytes / time / 1e9
    print(f"{B:5} {1e3 * time:6.2f} ms {speeds[-1]:9.1f} {read:12.1f}")

# %% [markdown]
# The same in another way, one large product against many small ones on the same 256 examples:

# %%
whole = Tensor(rng.standard_normal((256, 1024)).astype(np.float32))
pieces = [Tensor(row) for row in whole.numpy()]
one, many = seconds(lambda: layer(whole)), seconds(lambda: [layer(row) for row in pieces], 3)
print(f"one call {1e3 * one:.1f} ms, 256 calls {1e3 * many:.1f} ms: {many / one:.0f} times as much")
figure, axes = plt.subplots(1, 2, figsize=(10, 3))
axes[0].semilogx(batches, speeds, "o-", base=2)
axes[0].set(xlabel="batch size", ylabel="GFLOP/s", title="Linear(1024, 1024)", ylim=(0, None))
axes[1].bar(["weights", "gradients", "Adam"], [4, 4, 8], color=["C0", "C1", "C2"])
axes[1].set(ylabel="bytes", title="memory for one parameter")
figure.tight_layout()
plt.show()

# %% [markdown]
# This is why training uses batches, and why a chatbot that serves one person is expensive: for each
# token, all its weights travel through the processor for a single vector.

# %% [markdown]
# ## Questions to think about
#
# 1. All weights of a layer start at 0, the biases too. What does a network of two such layers with
#    ReLU compute, and what can training change?
# 2. A layer maps 512 numbers to 2048, and a second one back to 512, both with biases. How many
#    parameters are there? How many bytes does training with Adam need for them?
# 3. A network of 20 layers with ReLU was initialised with Xavier, with equal fans. By which factor
#    has the signal shrunk at its end?
# 4. Somebody forgets `model.eval()` before measuring the accuracy. What happens, and what happens
#    if they forget `model.train()` afterwards?
# 5. A class keeps its layers in a set, `self.layers = {a, b}`. What goes wrong, and when is it
#    noticed?

# %% [markdown] instructor=true
# ### Answers, for the instructor
#
# 1. It computes 0 for every input. The hidden units are all equal, and stay equal: their gradients
#    are equal (here even 0, because the second layer's weights are 0). Only the last bias can learn.
#    *Half marks for "all units stay equal".*
# 2. 512 · 2048 + 2048 + 2048 · 512 + 512 = 2099712. With 16 bytes each, 33595392 bytes, 32 MiB.
#    *Half marks for 4 bytes each.*
# 3. Equal fans give $\sigma^2 = 1/\mathrm{in}$, and ReLU halves the mean square: $\sqrt 2$ per layer,
#    $2^{10} = 1024$ after 20.
# 4. Dropout stays active: the accuracy is lower than it should be, and differs from run to run.
#    Without `train()`, all later training runs without dropout, without an error: the network
#    overfits, and nobody knows why.
# 5. A set is not searched (its order would change from run to run): the parameters are not found, so
#    they are neither trained nor saved. There is no error; the loss just does not fall as it should.
#    *Full marks for "they are not trained".* Let students count with `num_parameters()`.
#
# Rubric for each question: 2 points for the right answer with its reason, 1 without. Typical
# trouble: in 3.2 the order of the children and siblings that share one list of ids; in 3.5 the
# variance and its root; in 3.6 a division by p; in 3.7 a seed that is drawn in evaluation mode.

# %% [markdown]
# ## In PyTorch
#
# | here | PyTorch |
# |---|---|
# | `linear(x, weight, bias)` | `torch.nn.functional.linear` |
# | `Linear`, `Dropout`, `Sequential`, `Module`, `Parameter` | the same names in `torch.nn` |
# | `BaseModule.__init__` is not needed | `super().__init__()` first, in every module |
# | `blocks = [a, b]` in a module is found | use `torch.nn.ModuleList` |
# | `model.num_parameters()` | `sum(p.numel() for p in model.parameters())` |
# | `kaiming_normal_`, `xavier_uniform_` | the same names in `torch.nn.init` |
# | dropout masks are the same on CPU and GPU | they differ |
#
# Sources: X. Glorot and Y. Bengio, *Understanding the difficulty of training deep feedforward neural
# networks* (2010); K. He et al., *Delving Deep into Rectifiers* (2015); N. Srivastava et al.,
# *Dropout* (2014).
#
# Next: in lesson 04, a loss says how wrong a network is.
