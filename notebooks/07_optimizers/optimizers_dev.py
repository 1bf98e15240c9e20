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
# # Lesson 07: Optimizers
#
# Lesson 06 ended with a network that learns: each weight takes a small step against its gradient. That
# is gradient descent, and it is often slow. The gradient says which way is down *here*; it does not
# say how far to go, nor what the last hundred gradients had in common.
#
# An **optimizer** decides the step. All of those in this lesson are a few lines each, and differ only in
# what they remember:
#
# | | remembers for each weight | step |
# |---|---|---|
# | SGD | nothing | against the gradient |
# | momentum | a velocity | against a sum of past gradients |
# | Adam | averages of the gradient and of its square | of about the same size for every weight |
# | AdamW | as Adam | as Adam, with a weight decay that works |
# | Muon | an average of the gradient, a matrix | of about the same size in every *direction* of the matrix |
#
# **You will build** SGD, Adam, AdamW and Muon.
#
# **You will learn**
#
# - why plain gradient descent zigzags in a ravine, and how momentum helps;
# - what Adam's two averages do, and why they need a bias correction;
# - why weight decay belongs on the weights, and not into the gradient;
# - what Muon does to a matrix of gradients, with nothing but products;
# - what each optimizer costs in memory and time, and how they compare on handwritten digits.
#
# **Before you start**: lessons 01 to 04, and lesson 06. From school: vectors, and the derivative of $x^2$.
#
# **Time**: about two hours, ten minutes per exercise and the rest for reading and experiments.

# %% setup=true
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from tinytorch.autograd import enable_grad, is_grad_enabled, no_grad
from tinytorch.backends.base import Array, Namespace
from tinytorch.modules.module import Parameter
from tinytorch.ops.op import Op, op
from tinytorch.ops.random import manual_seed
from tinytorch.ops.update import update_tensors
from tinytorch.optimizers import OptimizerBase
from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise


def five_rounds(G: Any, rounds: int = 5, eps: float = 1e-7) -> Any:
    """U f(S) V^T for G = U S V^T, with the polynomial of 7.7 for f, computed from the SVD."""
    U, S, Vt = np.linalg.svd(G, full_matrices=False)
    S = S / (np.sqrt((S * S).sum(-1, keepdims=True)) + eps)
    for _ in range(rounds):
        S = 3.4445 * S - 4.7750 * S**3 + 2.0315 * S**5
    return (U * S[..., None, :]) @ Vt


def dtypes(arrays: Iterable[Any]) -> list[str]:
    return [array.dtype.name for array in arrays]


# %% [markdown]
# ## A ravine
#
# Two weights, x and y, and a loss that is steep in one direction and almost flat in the other:
#
# $$\text{loss} = \tfrac12 (x^2 + 20\, y^2), \qquad \text{gradient} = (x,\; 20\, y).$$
#
# Real networks have such ravines, with millions of directions and far worse ratios than 20.
#
# **By hand**, from (-4, 1) with a learning rate of 0.09:
#
# | step | x | y | gradient | new x | new y |
# |---|---|---|---|---|---|
# | 1 | -4 | 1 | (-4, 20) | -3.64 | -0.8 |
# | 2 | -3.64 | -0.8 | (-3.64, -16) | -3.31 | 0.64 |
#
# y jumps from one wall to the other, while x crawls. With a learning rate above 0.1 y grows at every
# step: each step multiplies it by $1 - 20 \cdot lr$, which is below -1 then. So the steepest direction
# limits the rate, and the flattest one pays for it.

# %%
import matplotlib.pyplot as plt


def ravine_gradient(p: Any) -> Any:
    return p * np.array([1.0, 20.0])


def draw_paths(paths: dict[str, Any], title: str = "") -> None:
    """Draw paths of (x, y) over the contour lines of the ravine."""
    x, y = np.meshgrid(np.linspace(-5, 2, 141), np.linspace(-1.6, 1.6, 81))
    _, axis = plt.subplots(figsize=(8, 3))
    axis.contour(x, y, 0.5 * (x * x + 20 * y * y), levels=np.geomspace(0.05, 40, 12), alpha=0.4)
    for label, path in paths.items():
        axis.plot(*np.array(path).T, "o-", markersize=3, linewidth=1, label=label)
    axis.plot(0, 0, "k*", markersize=10)
    axis.set(xlim=(-5, 2), ylim=(-1.6, 1.6), xlabel="x", ylabel="y", title=title)
    axis.legend(fontsize=8)
    plt.show()


# %% [markdown]
# ## 7.1 A step, and momentum
#
# A ball that rolls down the ravine does not zigzag: its **velocity** remembers where it came from. The
# pushes across the ravine change their sign at each step and cancel. Those along it add up.
#
# $$v \leftarrow \mu\, v + g, \qquad p \leftarrow p - lr \cdot v.$$
#
# If g is always the same, v grows up to $g + \mu g + \mu^2 g + \dots = g / (1 - \mu)$: ten times g for
# $\mu = 0.9$.
#
# Some like the new gradient to count less: it is multiplied by 1 - `dampening`. As in PyTorch, the very
# first gradient is not dampened.

# %% exercise="7.1" points=2
from tinytorch.optimizers import descend, update_velocity

# descend:
#   Against the direction, times the learning rate. Return a new array: p -= ... would write into
#   memory that others hold.
# update_velocity:
#   Multiply the old velocity by the momentum, and add the gradient.
#   From step 2 on, the gradient is first multiplied by 1 - dampening.

# %% test="7.1" points=2
# fmt: off
with Exercise("7.1", "descend, update_velocity") as check:
    p, d = np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, -30.0])
    check.close(lambda: descend(p, d, 0.5), [-4.0, -8.0, 18.0], "a step of 0.5 from [1, 2, 3] against [10, 20, -30]", cause="p - lr * direction")
    check.equal(lambda: [p, d], [[1.0, 2.0, 3.0], [10.0, 20.0, -30.0]], "p and the direction after the step", cause="return a new array instead of p -= ...")
    check.equal(lambda: descend(np.float32([1.0]), np.float32([2.0]), 0.1).dtype.name, "float32", "the dtype of a float32 parameter after a step", cause="use the operators alone: they keep float32")
    v, g = np.array([1.0, -2.0]), np.array([4.0, 8.0])
    check.close(lambda: update_velocity(v, g, 0.5), [4.5, 7.0], "the velocity [1, -2] with the gradient [4, 8] and momentum 0.5", cause="momentum * v + g")
    check.close(lambda: update_velocity(v, g, 0.5, step=3), [4.5, 7.0], "the same in step 3, without dampening", cause="momentum * v + g: dampening is 0")
    for step, expected in ((1, [4.75, 6.5]), (2, [3.75, 4.5]), (3, [3.75, 4.5])):
        check.close(lambda: update_velocity(v, g, 0.75, 0.25, step), expected, f"the velocity with momentum 0.75 and dampening 0.25, in step {step}",
                    cause="momentum * v + (1 - dampening) * g, and + g in step 1")
    check.close(lambda: update_velocity(v, g, 0.0, 0.25, 2), [3.0, 6.0], "the velocity without momentum and with dampening 0.25, in step 2", cause="the dampening does not depend on the momentum")
    check.equal(lambda: [v, g], [[1.0, -2.0], [4.0, 8.0]], "v and g after that", cause="return a new array instead of v *= ...")
    check.equal(lambda: dtypes([update_velocity(np.float32([1.0]), np.float32([2.0]), 0.1, 0.2, 2)]), ["float32"], "the dtype of a float32 velocity",
                cause="use the operators alone, with the numbers as they are: they keep float32")
# fmt: on

# %%
walks: dict[str, Any] = {}
for label, lr, momentum in (("plain", 0.09, 0.0), ("momentum 0.8", 0.02, 0.8)):
    p, v = np.array([-4.0, 1.0]), np.zeros(2)
    walks[label] = [p]
    for _ in range(30):
        v = update_velocity(v, ravine_gradient(p), momentum)
        p = descend(p, v, lr)
        walks[label].append(p)
    print(f"{label}: the loss after 30 steps is {0.5 * (p * ravine_gradient(p)).sum():.4f}")
draw_paths(walks, "30 steps")

# %% [markdown]
# ## 7.2 Weight decay
#
# Large weights make a network trust small details of the training data. **Weight decay** pulls all of
# them towards 0, a little at each step. There are two ways to do it:
#
# - in the gradient: add the penalty $\frac{\lambda}{2} \sum p^2$ to the loss. Its gradient is
#   $\lambda p$, which is added to g. This is *L2 regularization*;
# - **decoupled**: leave g alone, and multiply the weights by $1 - lr \cdot \lambda$ before the step.
#
# **By hand**: p = 2, g = 1, lr = 0.1, λ = 0.5. In the gradient: g becomes 2, and the step leads to
# 2 - 0.1 · 2 = 1.8. Decoupled: p becomes 2 · 0.95 = 1.9, and the step leads to 1.9 - 0.1 · 1 = 1.8.
# The same! For plain SGD it always is. You will see below where it is not.

# %% exercise="7.2" points=2
from tinytorch.optimizers import apply_weight_decay

# apply_weight_decay:
#   Return a pair: the parameter and the gradient. Only one of them changes.
#   If weight_decay is 0, return both as they are: 0 times an infinite weight would be NaN.

# %% test="7.2" points=2
# fmt: off
with Exercise("7.2", "apply_weight_decay") as check:
    p, g = np.array([2.0, -4.0]), np.array([1.0, 3.0])
    for decoupled, parameter, gradient in ((False, [2.0, -4.0], [2.0, 1.0]), (True, [1.9, -3.8], [1.0, 3.0])):
        cause = "p * (1 - lr * weight_decay), and g as it is" if decoupled else "p as it is, and g + weight_decay * p, without lr"
        what = f"with weight_decay=0.5, lr=0.1, decoupled={decoupled}"
        found = check.call(lambda: apply_weight_decay(p, g, 0.1, 0.5, decoupled), f"p and g {what}", count=2, cause="return a pair: p, g")
        check.close(lambda: found[0], parameter, f"the parameter [2, -4] {what}", cause=cause)
        check.close(lambda: found[1], gradient, f"the gradient [1, 3] {what}", cause=cause)
        found = check.call(lambda: apply_weight_decay(np.array([np.inf, 2.0]), g, 0.1, 0.0, decoupled), f"p and g without a decay, decoupled={decoupled}", count=2, cause="return a pair: p, g")
        check.equal(lambda: found, [[np.inf, 2.0], [1.0, 3.0]], f"p = [inf, 2] and g = [1, 3] without a decay, decoupled={decoupled}", cause="if weight_decay is 0, return both as they are: 0 * inf is NaN")
    check.equal(lambda: [p, g], [[2.0, -4.0], [1.0, 3.0]], "p and g after that", cause="return new arrays instead of p *= ... or g += ...")
    for decoupled, parameter, gradient in ((False, 2.0, 0.02), (True, 1.998, 0.0)):
        found = check.call(lambda: apply_weight_decay(np.array([2.0]), np.zeros(1), 0.1, 0.01, decoupled), f"p and g for a gradient of 0, decoupled={decoupled}", count=2, cause="return a pair: p, g")
        check.close(lambda: found, [[parameter], [gradient]], f"p = [2] and g = [0] with weight_decay=0.01, lr=0.1, decoupled={decoupled}", cause="weights without a gradient decay as all others")
        check.equal(lambda: dtypes(apply_weight_decay(p.astype("f"), g.astype("f"), 0.1, 0.5, decoupled)), ["float32"] * 2, f"the dtypes for float32, decoupled={decoupled}",
                    cause="use the operators alone, with the numbers as they are: they keep float32")
# fmt: on

# %% [markdown]
# ## 7.3 SGD
#
# Now put them together. An **update rule** is an op without a gradient, as those of lesson 01: it gets
# arrays, and returns a pair. The first is a tuple of the new parameter and whatever the rule
# remembers, here the velocity. The second, what a gradient would need, is empty.
#
# ```python
# @op
# def sign_update(xp, p, g, *, lr):
#     return (p - lr * xp.sign(g),), ()
# ```
#
# Two variants of SGD in one rule: without a velocity (`v` is None: a plain step), and with one. And
# **Nesterov**'s idea: the velocity will carry us on anyway, so use the gradient *plus* the momentum of
# the new velocity, $g + \mu v$, instead of v. It reacts one step earlier.

# %% exercise="7.3" points=3
from tinytorch.optimizers import sgd_update

# sgd_update:
#   First the weight decay, in the gradient.
#   Without a velocity, v is None: descend along g. The result is a tuple of one: (p,), ()
#   Otherwise compute the new velocity, choose the direction, and return (p, v), ()
#   Nesterov's direction uses the new velocity, and g with the decay in it.

# %% test="7.3" points=3
# fmt: off
with Exercise("7.3", "sgd_update") as check:
    rng = np.random.default_rng(3)
    p, g, v = (rng.standard_normal((2, 3)) for _ in range(3))
    kept = [x.copy() for x in (p, g, v)]
    plain = {"lr": 0.3, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False}
    pair = "return a pair of tuples: (p,), () without a velocity and (p, v), () with one"
    for weight_decay in (0.0, 0.7):
        what = f"a plain step with weight_decay={weight_decay}"
        result, saved = (check.call(lambda i=i: sgd_update.forward(np, p, g, **{**plain, "weight_decay": weight_decay})[i], f"part {i} of the result of {what}", cause=pair, count=1 - i) for i in range(2))
        check.close(lambda: result[0], p - 0.3 * (g + weight_decay * p), f"the parameter after {what}", cause="descend(p, g, lr) with the gradient of apply_weight_decay(p, g, lr, weight_decay, decoupled=False)")
    for name, settings in (
        ("momentum", {}), ("weight decay", {"weight_decay": 0.7}), ("nesterov", {"nesterov": True}), ("nesterov and weight decay", {"nesterov": True, "weight_decay": 0.7}),
        ("dampening, step 1", {"dampening": 0.4, "step": 1}), ("dampening, step 2", {"dampening": 0.4, "step": 2}),
    ):
        every: dict[str, Any] = {**plain, "momentum": 0.8, **settings}
        decayed = g + every["weight_decay"] * p
        share = 1 - every.get("dampening", 0) if every.get("step", 1) > 1 else 1
        velocity = 0.8 * v + share * decayed
        direction = decayed + 0.8 * velocity if every["nesterov"] else velocity
        what = f"a step with {name}"
        result, saved = (check.call(lambda i=i: sgd_update.forward(np, p, g, v, **every)[i], f"part {i} of the result of {what}", cause=pair, count=2 - 2 * i) for i in range(2))
        check.close(lambda: result[1], velocity, f"the velocity after {what}", cause="update_velocity(v, g, momentum, dampening, step), with the decayed gradient")
        check.close(lambda: result[0], p - 0.3 * direction, f"the parameter after {what}", cause="descend along v, or along g + momentum * v for nesterov, with the new v")
    check.equal(lambda: [p, g, v], kept, "p, g and v after that", cause="compute new arrays; write into none")
# fmt: on

# %% [markdown]
# ## 7.4 The optimizer's step
#
# A rule knows one parameter. The optimizer has all of them, in **groups** that may have their own
# settings, such as no weight decay for biases. `OptimizerBase` is given: it checks the settings, keeps
# the groups in `self.param_groups` and the remembered arrays in `self.state`, and saves and loads all
# of it. It has for you:
#
# | | |
# |---|---|
# | `self.parameters()` | all parameters, in order |
# | `self.next_step()` | the list `[number of the step, lr of group 0, lr of group 1, ...]` |
# | `self.update(step, *rates)` | calls your `update_group` for each group; returns all indices |
# | `self._state_of(i, p, group)` | the list of tensors that are remembered for parameter i; zeros at first |
# | `self.settings(group, step)` | what the rule needs of a group, and the step, as a dict |
# | `self.rule_of(group)` | the rule |
# | `update_tensors(rule, rows, **settings)` | applies a rule to rows `(p, g, *state)`, and writes the results to these tensors |
#
# Two details matter. A parameter without a gradient (`grad` is None) is left alone, and its step does
# not count: `self.missed` has the number of steps that it has missed, by its index. Adam's bias
# correction needs the difference. And rates come as an argument, `lr`, since a schedule may change
# them.

# %% exercise="7.4" points=4
from tinytorch.optimizers import OptimizerSteps

# OptimizerSteps.zero_grad:
#   For each parameter: parameter.zero_grad() sets its gradient to None. Otherwise, if it has a
#   gradient, parameter.grad.zero_() fills it with zeros.
# OptimizerSteps.step:
#   A closure is called inside of "with enable_grad():", and its result returned at the end; None
#   without a closure. Call update with the numbers of next_step (*numbers), and count the step
#   with what update returns.
# OptimizerSteps.count_step:
#   One more in self.steps. Each index that is not in updated has missed one more step.
# OptimizerSteps.update_group:
#   Number the parameters from first. For each that has a gradient, build its row: the parameter,
#   the gradient (its negative if group.get("maximize")), and its state. _state_of may set
#   self.missed, so read that afterwards; .get(i, 0) is 0 for those that missed none.
#   Rows that have missed equally many steps can be updated in one call of update_tensors. Their
#   step is step - missed. The settings are those of {**group, "lr": lr}.
#   Return the list of the indices that have been updated.

# %% test="7.4" points=4
# fmt: off
with Exercise("7.4", "OptimizerSteps") as check:
    seen: list[Any] = []

    @op
    def adding_update(xp: Any, p: Any, g: Any, total: Any, *, lr: float, factor: float, step: int) -> Any:
        seen.append((p.shape[0], step))
        return (p - lr * factor * g, total + g), ()

    class Adding(OptimizerSteps):
        rule = adding_update
        state_names = ("total",)

    def given(*sizes: int) -> list[Parameter]:
        """Parameters of ones; each gradient has the size as its value, and one of -n is None."""
        made = [Parameter(np.ones(abs(n))) for n in sizes]
        for p, n in zip(made, sizes, strict=True):
            p.grad = Tensor(np.full(n, float(n))) if n > 0 else None
        return made

    def optimizer_of(groups: Any, steps: int = 0, **settings: Any) -> Any:
        seen.clear()
        own = Adding(groups, lr=0.5, factor=2.0, **settings)
        for _ in range(steps):
            own.step()
        return own

    def after(groups: Any, steps: int = 1, **settings: Any) -> list[Any]:
        """The first number of each parameter, after some steps."""
        return [p.numpy()[0] for p in optimizer_of(groups, steps, **settings).parameters()]

    def zeroed(sizes: list[int], *arguments: Any) -> list[Any]:
        parameters = given(*sizes)
        parameters[0].grad = Tensor(np.array([math.nan, math.inf]))
        optimizer_of([{"params": parameters[:2]}, {"params": parameters[2:]}]).zero_grad(*arguments)
        return [None if p.grad is None else p.grad.numpy() for p in parameters]

    check.equal(lambda: zeroed([2, -1, 3]), [None, None, None], "the gradients of two groups after zero_grad()", cause="parameter.zero_grad() for each of self.parameters()")
    check.equal(lambda: zeroed([2, -1, 3], False), [[0.0, 0.0], None, [0.0, 0.0, 0.0]], "the gradients after zero_grad(False), of which one was [nan, inf]", cause="parameter.grad.zero_() where there is a gradient: times 0, NaN stays NaN; None stays None")
    cause = "one row (p, gradient, *state) for each parameter with a gradient, and update_tensors with the rule of the group, the rows and the settings"
    check.equal(lambda: after(given(2, 3)), [-1.0, -2.0], "two parameters of ones with gradients 2 and 3 after a step of p - lr * factor * g, with lr 0.5 and factor 2", cause=cause)
    check.equal(lambda: after(given(2, -1, 3)), [-1.0, 1.0, -2.0], "three parameters, of which the second has no gradient", cause="leave it alone if p.grad is None, and go on")
    def signed() -> Any:
        """Gradients of 0, 3 and -4: of the last, a maximum is looked for."""
        parameters = given(2, 3, 4)
        parameters[0].grad, parameters[2].grad = Tensor(np.zeros(2)), Tensor(np.full(4, -4.0))
        own = optimizer_of([{"params": parameters[:2], "maximize": False}, {"params": parameters[2:], "maximize": True}], 1)
        return [p.numpy()[0] for p in own.parameters()], own.missed

    check.equal(signed, ([1.0, -2.0, -3.0], {}), "parameters with gradients of 0, 3 and -4, with maximize=False for the first two and True for the last, and self.missed",
                cause="-p.grad if group.get('maximize') is true, else p.grad; a gradient of 0 is a gradient")
    check.equal(lambda: after([{"params": given(-2)}, {"params": given(3)}]), [1.0, -2.0], "two groups, the first without any gradient", cause="go on with the next group; no call of update_tensors without rows")

    def groups() -> list[dict[str, Any]]:
        return [{"params": given(2, -1)}, {"params": given(3), "lr": 0.25}, {"params": given(4), "factor": 10.0, "maximize": True}]

    check.equal(lambda: after(groups()), [-1.0, 1.0, -0.5, 21.0], "parameters in three groups: one has lr 0.25, one has factor 10 and maximize", cause="settings of {**group, 'lr': lr}; with maximize, the gradient is -p.grad")
    check.equal(lambda: [s["total"].numpy()[0] for s in optimizer_of(groups(), 3).state.values()], [6.0, 9.0, -12.0], "the sums of gradients that the rule remembers after three steps", cause="the row is p, gradient, *self._state_of(i, p, group)")
    check.equal(lambda: [p.grad.numpy()[0] for p in optimizer_of(groups(), 2).parameters() if p.grad is not None], [2.0, 3.0, 4.0], "the gradients after two steps", cause="do not change them: -p.grad is a new tensor")
    check.equal(lambda: (optimizer_of(given(2, 3), 3), seen.copy())[1], [(2, 1), (3, 1), (2, 2), (3, 2), (2, 3), (3, 3)], "sizes and steps that the rule has seen in three steps", cause="count_step adds 1 to self.steps; the first step has the number 1")
    check.equal(lambda: optimizer_of(given(2, -1, 3), 3).steps, 3, "self.steps after three steps", cause="count_step adds 1 to self.steps")
    check.equal(lambda: [(o := optimizer_of(given(-2), 2)).steps, o.missed], [2, {0: 2}], "self.steps and self.missed after two steps without any gradient", cause="such a step counts too")
    check.equal(lambda: optimizer_of(given(2, 3), 3).missed, {}, "self.missed if all parameters had gradients in three steps", cause="only indices that are not in updated")
    check.equal(lambda: optimizer_of(given(2, -1, 3, -4), 3).missed, {1: 3, 3: 3}, "self.missed if parameters 1 and 3 had no gradient in three steps", cause="for each index that is not in updated: self.missed.get(index, 0) + 1")
    check.equal(lambda: optimizer_of([{"params": given(2, -1)}, {"params": given(3, -4)}], 2).missed, {1: 2, 3: 2}, "the same with two groups, after two steps", cause="enumerate(group['params'], first): numbers go on through all groups")

    def counts() -> Any:
        """The steps that the rule sees if a gradient is missing in steps 1, 2 and 5."""
        parameters = given(2, -3, 4)
        own = optimizer_of(parameters)
        for step in range(1, 7):
            parameters[1].grad = None if step in (1, 2, 5) else Tensor(np.full(3, 3.0))
            own.step()
        return [step for size, step in seen if size == 3], [step for size, step in seen if size == 4]

    check.equal(counts, ([1, 2, 3], [1, 2, 3, 4, 5, 6]), "the steps of a parameter that had no gradient in steps 1, 2 and 5, and those of another", cause="its step is step - self.missed.get(i, 0), where missed is read after _state_of")

    def late() -> Any:
        """The steps that the rule sees of a parameter that is added after three steps."""
        own = optimizer_of(given(2), 3)
        own.add_param_group({"params": given(3)})
        own.step()
        own.step()
        return [step for size, step in seen if size == 3], own.missed

    check.equal(late, ([1, 2], {1: 3}), "the steps of a parameter that was added after three steps, and self.missed", cause="call _state_of(i, p, group), with its index; then read self.missed.get(i, 0)")

    def direct(sizes: list[int], first: int, step: int, lr: float) -> Any:
        own = optimizer_of(given(*sizes))
        own.missed = {first: 4}
        updated = own.update_group(own.param_groups[0], first, step, lr)
        return list(updated), [p.numpy()[0] for p in own.parameters()], seen.copy(), own.steps, own.param_groups[0]["lr"]

    found = check.call(lambda: direct([2, -1, 3], 5, 9, 1.0), "update_group", count=5, cause="return the list of indices")
    check.equal(lambda: found[0], [5, 7], "the result of update_group for three parameters from 5 on, the second without a gradient", cause="the indices of those that have a gradient")
    check.equal(lambda: found[1], [-3.0, 1.0, -5.0], "the parameters after it, with lr=1 as an argument", cause="the settings are those of {**group, 'lr': lr}")
    check.equal(lambda: sorted(found[2]), [(2, 5), (3, 9)], "the steps of parameter 5, which has missed 4, and of 7, in step 9", cause="step - missed")
    check.equal(lambda: found[3], 0, "self.steps after update_group", cause="only count_step counts")
    check.equal(lambda: found[4], 0.5, "the lr of the group, which was 0.5, after that", cause="do not change the group: {**group, 'lr': lr} is a new dict")

    @op
    def other_update(xp: Any, p: Any, g: Any, total: Any, *, factor: float) -> Any:
        return (p - factor * g, total), ()

    class Choosing(Adding):
        """One group has another rule, and the factor is always 3."""

        def rule_of(self, group: Any) -> Any:
            return other_update if group["lr"] == 0.25 else self.rule

        def settings(self, group: Any, step: Any) -> Any:
            return super().settings({**group, "factor": 3.0}, step)

    def chosen() -> list[Any]:
        own = Choosing([{"params": given(2)}, {"params": given(3), "lr": 0.25}], lr=0.5, factor=2.0)
        own.step()
        return [p.numpy()[0] for p in own.parameters()]

    check.equal(chosen, [-2.0, -8.0], "parameters after a step of an optimizer with its own rule_of and settings, as Adam has",
                cause="ask self.rule_of and self.settings: an optimizer may have its own")
    check.equal(lambda: [optimizer_of(given(2)).step(*closure) for closure in ((), (lambda: 7.5,), (lambda: 0.0,))], [None, 7.5, 0.0], "the results of step() and of step(closure), for losses of 7.5 and 0.0", cause="return what the closure returns")

    def with_closure() -> Any:
        (p,), enabled = given(-2), []
        own = optimizer_of([p])

        def closure() -> None:
            enabled.append(is_grad_enabled())
            p.grad = Tensor(np.full(2, 2.0))

        with no_grad():
            own.step(closure)
        return enabled, p.numpy()[0]

    check.equal(with_closure, ([True], -1.0), "whether gradients are enabled in a closure under no_grad, called once, and the parameter after the step", cause="call the closure first, inside of: with enable_grad()")
# fmt: on

# %% [markdown]
# Two more given classes: `Optimizer` is a name for all of it, with the documentation. `SGD` says which
# rule it has and what is remembered; it is all that an optimizer of your own needs.

# %% given="7.4"
from tinytorch.optimizers import SGD, Optimizer

# %% [markdown]
# ## Averages that forget
#
# The two walls of the ravine are 20 times as steep as its floor. What if each weight had its own
# learning rate, small where gradients are large? For that we need to know how large they usually are.
#
# An **exponential moving average** remembers, in a single number: at each step it keeps the share β and
# takes 1 - β of the new value. It looks back about 1 / (1 - β) steps.
#
# It has a flaw: it begins at 0. **By hand**, β = 0.9, and all values are 5:
#
# | step | average | sum of the weights, $1 - 0.9^t$ | average / sum |
# |---|---|---|---|
# | 1 | 0.9 · 0 + 0.1 · 5 = 0.5 | 0.1 | 5 |
# | 2 | 0.9 · 0.5 + 0.5 = 0.95 | 0.19 | 5 |
# | 3 | 0.9 · 0.95 + 0.5 = 1.355 | 0.271 | 5 |
#
# So divide by what the weights sum to. This is the **bias correction**.

# %% [markdown]
# ## 7.5 Moving averages and their bias

# %% exercise="7.5" points=2
from tinytorch.optimizers import correct_bias, moving_average

# moving_average:
#   The share beta of the old average, and the rest of the new value.
# correct_bias:
#   The weights of the values sum to 1 - beta to the power of step.

# %% test="7.5" points=2
# fmt: off
with Exercise("7.5", "moving_average, correct_bias") as check:
    old, new = np.array([1.0, 2.0]), np.array([5.0, -6.0])
    check.close(lambda: moving_average(old, new, 0.75), [2.0, 0.0], "the average [1, 2] with the new value [5, -6] and beta 0.75", cause="beta * average + (1 - beta) * new")
    check.equal(lambda: [old, new], [[1.0, 2.0], [5.0, -6.0]], "both arrays after that", cause="return a new array instead of average *= ...")
    for step, expected in ((1, [5.0, -10.0]), (2, [2.7777777, -5.5555555]), (3, [2.0491803, -4.0983606])):
        check.close(lambda: correct_bias(np.array([1.0, -2.0]), 0.8, step), expected, f"the average [1, -2] with beta 0.8, corrected in step {step}", cause="divide by 1 - beta ** step")
    check.equal(lambda: dtypes([moving_average(np.float32([1.0]), np.float32([2.0]), 0.9), correct_bias(np.float32([1.0]), 0.9, 3)]), ["float32"] * 2, "the dtypes for float32",
                cause="use the operators alone, with the numbers as they are: they keep float32")

    def constant(beta: float) -> list[Any]:
        average, corrected = np.zeros(1), []
        for step in range(1, 5):
            average = moving_average(average, np.array([5.0]), beta)
            corrected.append(correct_bias(average, beta, step)[0])
        return corrected

    check.close(lambda: constant(0.9), [5.0] * 4, "the corrected averages of 5, 5, 5, 5", cause="divide by 1 - beta ** step")
# fmt: on

# %%
rng = np.random.default_rng(0)
values = 1 + 0.3 * rng.standard_normal(100)
average, averages, corrected = np.zeros(()), [], []
for t, value in enumerate(values, 1):
    average = moving_average(average, value, 0.95)
    averages.append(average)
    corrected.append(correct_bias(average, 0.95, t))
figure, axis = plt.subplots(figsize=(7, 2.8))
axis.plot(values, ".", alpha=0.4, label="values")
axis.plot(averages, label="average, β = 0.95")
axis.plot(corrected, label="corrected")
axis.set(xlabel="step", title="an average that begins at 0")
axis.legend()
plt.show()

# %% [markdown]
# ## 7.6 Adam
#
# Adam keeps two averages: m of the gradient (which way, as momentum), and v of its square (how large).
#
# $$p \leftarrow p - lr \cdot \frac{\hat m}{\sqrt{\hat v} + \epsilon}$$
#
# where the hats are the bias corrections. If a gradient is always the same, then $\hat m = g$ and
# $\sqrt{\hat v} = |g|$: the step is lr, however large g is. If its sign changes all the time, $\hat m$
# is near 0, and the steps are small. Multiply a loss by 1000, and Adam does the same steps as before.
#
# ε is there for gradients that are all 0. It is outside of the root.
#
# **AMSGrad** is a small variant: where a gradient is large only now and then, v forgets it, and the steps
# grow again. So it divides by the largest v so far, which it keeps as a third array.

# %% exercise="7.6" points=3
from tinytorch.optimizers import adam_update, amsgrad_update

# adam_update:
#   First the weight decay; decoupled says which one.
#   Then both averages, with betas[0] and betas[1], and their corrections.
#   The state is what the averages are, without the correction: return (p, m, v), ()
#   The square root is xp.sqrt.
# amsgrad_update:
#   As adam_update, but with the larger of v_max and the new v, number by number, below the root:
#   xp.maximum. Its bias is corrected like that of v. The average v itself goes on as before.

# %% test="7.6" points=3
# fmt: off
with Exercise("7.6", "adam_update, amsgrad_update") as check:
    rng = np.random.default_rng(6)
    settings: dict[str, Any] = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 0.2, "weight_decay": 0.0, "decoupled": False}
    pair = "return (p, m, v), ()"
    cause = {
        1: "the average of the gradients, with betas[0], not corrected",
        2: "the average of g * g, with betas[1], not corrected",
        0: "p - lr * m_hat / (sqrt(v_hat) + eps), where m_hat and v_hat are corrected with their own beta",
    }
    start = [rng.standard_normal((2, 3)) for _ in range(2)]
    start += [0.3 * rng.standard_normal((2, 3)), rng.uniform(0.1, 1.0, (2, 3))]
    for step, decay, decoupled in ((1, 0.0, False), (2, 0.0, True), (5, 0.0, False), (3, 0.6, False), (3, 0.6, True)):
        p, g, m, v = (x.copy() for x in start)
        what = f"step {step} with weight_decay={decay}, decoupled={decoupled}"
        result = check.call(lambda: adam_update.forward(np, p, g, m, v, **{**settings, "weight_decay": decay, "decoupled": decoupled}, step=step), f"the result of {what}", cause=pair, count=2)
        arrays = check.call(lambda: result[0], f"the parameter and both averages after {what}", cause=pair, count=3)
        check.equal(lambda: result[1], (), f"what {what} saves for a gradient", cause=pair)
        check.equal(lambda: [p, g, m, v], start, f"p, g, m and v after {what}", cause="compute new arrays; write into none")
        if decay and decoupled:
            p = p * (1 - 0.1 * decay)
        elif decay:
            g = g + decay * p
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
        p = p - 0.1 * (m / (1 - 0.8**step)) / (np.sqrt(v / (1 - 0.95**step)) + 0.2)
        for i, expected, name in ((1, m, "m"), (2, v, "v"), (0, p, "the parameter")):
            check.close(lambda: arrays[i], expected, f"{name} after {what}", cause=cause[i] if not decay else f"{cause[i]}; first apply_weight_decay(p, g, lr, weight_decay, decoupled)")
    pair = "return (p, m, v, v_max), ()"
    cause = {
        1: "as in adam_update", 2: "as in adam_update: the average of g * g, which v_max does not change", 3: "xp.maximum(v_max, v) with the new v, both without the correction",
        0: "p - lr * m_hat / (sqrt(v_hat) + eps), where v_hat is the corrected v_max, the new one; the rest as in adam_update",
    }
    largest = rng.uniform(0.1, 1.0, (2, 3))
    start.append(largest)
    for step, decay, decoupled in ((2, 0.0, False), (4, 0.6, False), (4, 0.6, True)):
        p, g, m, v, v_max = (x.copy() for x in start)
        what = f"step {step} of AMSGrad with weight_decay={decay}, decoupled={decoupled}"
        result = check.call(lambda: amsgrad_update.forward(np, p, g, m, v, v_max, **{**settings, "weight_decay": decay, "decoupled": decoupled}, step=step), f"the result of {what}", cause=pair, count=2)
        arrays = check.call(lambda: result[0], f"the parameter and the three arrays after {what}", cause=pair, count=4)
        check.equal(lambda: result[1], (), f"what {what} saves for a gradient", cause=pair)
        check.equal(lambda: [p, g, m, v, v_max], start, f"p, g, m, v and v_max after {what}", cause="compute new arrays; write into none")
        if decay and decoupled:
            p = p * (1 - 0.1 * decay)
        elif decay:
            g = g + decay * p
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
        v_max = np.maximum(v_max, v)
        p = p - 0.1 * (m / (1 - 0.8**step)) / (np.sqrt(v_max / (1 - 0.95**step)) + 0.2)
        for i, expected, name in ((1, m, "m"), (2, v, "v"), (3, v_max, "v_max"), (0, p, "the parameter")):
            check.close(lambda: arrays[i], expected, f"{name} after {what}", cause=cause[i])
    for name, rule, arrays in (("adam_update", adam_update, start[:4]), ("amsgrad_update", amsgrad_update, start)):
        check.equal(lambda: dtypes(rule.forward(np, *(a.astype("f") for a in arrays), **settings, step=3)[0]), ["float32"] * (len(arrays) - 1), f"the dtypes of the results of {name} for float32",
                    cause="arrays and numbers of Python keep float32, but the result of np.sqrt(1 - ...) is a float64: use math.sqrt for numbers")
    zeros, gradient = np.zeros(3), np.array([1e-3, -5.0, 200.0])
    check.close(lambda: adam_update.forward(np, zeros, gradient, zeros, zeros, **{**settings, "eps": 1e-12}, step=1)[0][0], [-0.1, 0.1, -0.1],
                "the first step with gradients of 0.001, -5 and 200: all as large as lr", cause="correct the bias of both averages")
# fmt: on

# %% [markdown]
# The classes, given: `Adam` and `AdamW` have the same rules; `AdamW` sets `decoupled`.

# %% given="7.6"
from tinytorch.optimizers import Adam, AdamW


# %%
def walk(optimizer_class: Any, steps: int = 40, **settings: Any) -> list[Any]:
    """The path of an optimizer through the ravine; the two weights are a matrix, for Muon."""
    weights = Parameter(np.array([[-4.0], [1.0]]))
    own = optimizer_class([weights], **settings)
    path = [weights.numpy()[:, 0].copy()]
    for _ in range(steps):
        weights.grad = Tensor(ravine_gradient(path[-1])[:, None])
        own.step()
        path.append(weights.numpy()[:, 0].copy())
    return path


draw_paths(
    {
        "SGD, lr 0.09": walk(SGD, lr=0.09),
        "momentum 0.8, lr 0.02": walk(SGD, lr=0.02, momentum=0.8),
        "Adam, lr 0.3": walk(Adam, lr=0.3),
    },
    "40 steps: Adam goes diagonally, as if the ravine were round",
)

# %% [markdown]
# Without the bias correction, the first steps would be wrong by a factor: m is too small by 1 - 0.9,
# and the root of v by $\sqrt{1 - 0.999}$, so that the first step would be 3 times as large as lr.
#
# ## Why AdamW
#
# With SGD the two weight decays were the same. With Adam they are not. In the gradient, the decay is
# divided by $\sqrt{\hat v}$ too: **a weight with large gradients hardly decays**, and one with small
# gradients decays at full speed. That is the wrong way round. Here are two weights whose gradients are
# pure noise, of size 0.1 and of size 10. Only the decay should move them.


# %%
def decaying(optimizer_class: Any, steps: int = 300, **settings: Any) -> Any:
    """Two weights that begin at 1, with noise of size 0.1 and 10 for gradients."""
    rng = np.random.default_rng(1)
    weights = Parameter(np.ones((2, 20)))  # 20 of each
    own = optimizer_class([weights], weight_decay=0.2, **settings)
    path = []
    for _ in range(steps):
        noise = np.array([[0.1], [10.0]]) * rng.standard_normal((2, 20))
        weights.grad = Tensor(noise)
        own.step()
        path.append(weights.numpy().mean(axis=1))
    return np.array(path)


figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for axis, kind in zip(axes, (Adam, AdamW), strict=True):
    path = decaying(kind, lr=0.01)
    axis.plot(path[:, 0], label="small gradients")
    axis.plot(path[:, 1], label="large gradients")
    axis.plot((1 - 0.01 * 0.2) ** np.arange(300), "k:", label="(1 - lr · decay) ** step")
    axis.set(xlabel="step", title=f"{kind.__name__}, the mean of 20 weights")
    axis.legend(fontsize=8)
plt.show()

# %% [markdown]
# AdamW lets both decay alike, at the rate that was asked for. That is why it trains almost every large
# language model.
#
# ## 7.7 All directions of a matrix
#
# Adam treats a weight matrix as a bag of numbers. But a matrix is a map: by its singular values it
# stretches some directions and ignores others, $G = U S V^\top$. The gradients of hidden layers have a
# few huge singular values and many tiny ones: a ravine again, among directions. **Muon** makes all of
# them 1: it steps along $U V^\top$.
#
# A singular value decomposition is slow on a GPU. Products are fast. So use a polynomial: since
# $(X X^\top) X = U S^3 V^\top$, a product of matrices is a power of each singular value. This one
# pushes every value in (0, 1] close to 1, when it is applied five times:
#
# $$f(s) = 3.4445\, s - 4.7750\, s^3 + 2.0315\, s^5.$$
#
# Before that, divide G by the root of the sum of its squares, so that no singular value is above 1.

# %%
s = np.linspace(0, 1, 300)
figure, axis = plt.subplots(figsize=(6, 2.8))
for n in range(1, 6):
    s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    axis.plot(np.linspace(0, 1, 300), s, alpha=0.8, label=f"{n} rounds")
axis.axhline(1, color="k", linewidth=0.5)
axis.set(xlabel="singular value", title="the polynomial, applied again and again")
axis.legend(fontsize=8)
plt.show()

# %% exercise="7.7" points=3
from tinytorch.optimizers import orthogonalise

# orthogonalise:
#   A matrix with more rows than columns: transpose it first, and the result at the end, since
#   X X^T is the smaller product then. xp.matrix_transpose transposes the last two axes.
#   Divide by the root of the sum of the squares, plus 1e-7. xp.sum takes axis and keepdims: each
#   matrix of a batch has its own.
#   In each round: A = X X^T, and f of the singular values is 3.4445 X + (-4.7750 A + 2.0315 A A) X.

# %% test="7.7" points=3
# fmt: off
with Exercise("7.7", "orthogonalise") as check:
    rng = np.random.default_rng(7)
    for shape in ((3, 5), (5, 3), (4, 4), (2, 3, 5), (2, 1, 6, 2), (1, 4)):
        G = rng.standard_normal(shape) * np.arange(1, shape[0] + 1).reshape(-1, *[1] * (len(shape) - 1))
        kept = G.copy()
        for rounds in (0, 1, 5):
            check.close(lambda: orthogonalise(np, G, rounds), five_rounds(G, rounds), f"a matrix {shape} after {rounds} rounds",
                        cause="the norm of each matrix alone; A = X X^T, then X = 3.4445 X + (-4.7750 A + 2.0315 A A) X; a tall matrix is transposed before and after")
        check.close(lambda: orthogonalise(np, G), five_rounds(G), f"a matrix {shape}, steps left out", cause="five rounds")
        check.equal(lambda: G, kept, f"the matrix {shape} itself after that", cause="compute new arrays: X /= ... writes into G")
    check.equal(lambda: orthogonalise(np, np.zeros((2, 3))), np.zeros((2, 3)), "a matrix of zeros", cause="add 1e-7 to the norm")
    check.close(lambda: orthogonalise(np, np.array([[3e-7, 4e-7]]), 0), [[0.5, 2 / 3]], "the matrix [[3e-7, 4e-7]] after 0 rounds", cause="divide by the norm plus 1e-7")
    check.equal(lambda: orthogonalise(np, np.ones((2, 3), np.float32)).dtype.name, "float32", "the dtype", cause="the operators and functions of xp keep float32")

    class Watched(np.ndarray):
        """An array that notes the shapes of matrix products."""

        shapes: ClassVar[list[Any]] = []

        def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
            plain = [x.view(np.ndarray) if isinstance(x, Watched) else x for x in inputs]
            result = np.asarray(getattr(ufunc, method)(*plain, **settings))
            if ufunc is np.matmul:
                self.shapes.append(result.shape)
            return result.view(Watched)

    def largest(shape: Any) -> int:
        """The number of rows and columns of the largest square in a product."""
        Watched.shapes.clear()
        orthogonalise(np, np.ones(shape).view(Watched))
        return max((min(product[-2:]) for product in Watched.shapes), default=0)

    for shape in ((6, 2), (2, 6), (2, 6, 3), (7, 2, 3), (7, 6, 2)):
        check.true(lambda: largest(shape) <= min(shape[-2:]), f"X X^T is the smaller product for {shape}", cause="transpose first if there are more rows than columns; these are the last two axes")
# fmt: on

# %%
rng = np.random.default_rng(0)
G = rng.standard_normal((64, 8)) @ np.diag(2.0 ** -np.arange(8.0)) @ rng.standard_normal((8, 8))
figure, axis = plt.subplots(figsize=(6, 2.8))
before = np.linalg.svd(G, compute_uv=False)
axis.semilogy(before / before[0], "o-", label="of a gradient, the largest is 1")
axis.semilogy(np.linalg.svd(orthogonalise(np, G), compute_uv=False), "o-", label="orthogonalised")
axis.set(xlabel="number", title="singular values")
axis.legend()
plt.show()

# %% [markdown]
# ## 7.8 Muon
#
# Momentum (here as a moving average), orthogonalised, and a decoupled weight decay. Nesterov is the same
# average once more: $\mu m + (1 - \mu) g$ with the new m.
#
# One more detail: all singular values of the step are about 1, whatever its shape. So that the *output*
# of the layer changes as much for tall matrices as for wide ones, the rate is multiplied by
# $\sqrt{\max(1, \text{rows} / \text{columns})}$.
#
# Muon is for matrices of hidden layers. Embeddings, the last layer, biases and norms get AdamW.

# %% exercise="7.8" points=2
from tinytorch.optimizers import muon_update

# muon_update:
#   First the weight decay, decoupled. Then the average m; the direction is m, or Nesterov's.
#   Descend along the orthogonalised direction. The rate grows with rows / columns, the last two
#   axes of p. Take at least 1 for the columns: a matrix may be empty.
#   Return (p, m), ()

# %% test="7.8" points=2
# fmt: off
with Exercise("7.8", "muon_update") as check:
    rng = np.random.default_rng(8)
    for shape in ((3, 5), (7, 2), (4, 4), (6, 1), (2, 6, 3)):
        start = [rng.standard_normal(shape) for _ in range(3)]
        for nesterov, decay in ((False, 0.0), (True, 0.0), (False, 0.5), (True, 0.5)):
            p, g, m = (x.copy() for x in start)
            what = f"a step of a matrix {shape} with nesterov={nesterov}, weight_decay={decay}"
            result = check.call(lambda: muon_update.forward(np, p, g, m, lr=0.1, momentum=0.8, nesterov=nesterov, weight_decay=decay), f"the result of {what}", cause="return (p, m), ()", count=2)
            arrays = check.call(lambda: result[0], f"the parameter and the average after {what}", cause="return (p, m), ()", count=2)
            check.equal(lambda: result[1], (), f"what {what} saves for a gradient", cause="return (p, m), ()")
            check.equal(lambda: [p, g, m], start, f"p, g and m after {what}", cause="compute new arrays; write into none")
            m = 0.8 * m + 0.2 * g
            direction = five_rounds(0.8 * m + 0.2 * g if nesterov else m)
            p = p * (1 - 0.1 * decay) - 0.1 * max(1, shape[-2] / shape[-1]) ** 0.5 * direction
            check.close(lambda: arrays[1], m, f"the average after {what}", cause="moving_average(m, g, momentum)")
            check.close(lambda: arrays[0], p, f"the parameter after {what}", cause="decay p; the direction is m, or its average with g for nesterov; the rate is lr * sqrt(max(1, rows / columns))")
    tall = [rng.standard_normal((8, 2)) for _ in range(3)]
    muon: dict[str, Any] = {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.5}
    check.equal(lambda: dtypes(muon_update.forward(np, *(a.astype("f") for a in tall), **muon)[0]), ["float32"] * 2, "the dtypes of the results for float32",
                cause="the rate is a number: math.sqrt and max of Python; NumPy's roots are float64")
    empty = np.ones((3, 0))
    check.equal(lambda: muon_update.forward(np, empty, empty, empty, lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.1)[0][0].shape, (3, 0), "the shape of a matrix without columns after a step", cause="rows / max(1, columns)")
# fmt: on

# %% given="7.8"
from tinytorch.optimizers import Muon

# %% [markdown]
# All of them in the ravine. (A matrix of two rows and one column has a single direction, so Muon is a
# momentum of constant speed here. Its strength shows below.)

# %%
draw_paths(
    {
        "SGD, lr 0.09": walk(SGD, lr=0.09),
        "momentum 0.8, lr 0.02": walk(SGD, lr=0.02, momentum=0.8),
        "Adam, lr 0.3": walk(Adam, lr=0.3),
        "AdamW, lr 0.3, decay 0.1": walk(AdamW, lr=0.3, weight_decay=0.1),
        "Muon, lr 0.1": walk(Muon, lr=0.1, momentum=0.8, weight_decay=0.0),
    },
    "40 steps",
)

# %% [markdown]
# ## A race on handwritten digits
#
# 1,437 images of 8 x 8 pixels, a network with two hidden layers, the same first weights and the same
# batches for everybody. The learning rates are those with the lowest loss at the end, out of four for
# each optimizer, such as 0.001, 0.003, 0.01 and 0.03 for Adam.

# %%
from tinytorch.activations import ReLU
from tinytorch.data.digits import small_digits
from tinytorch.layers import Linear
from tinytorch.losses import CrossEntropyLoss
from tinytorch.modules.containers import Sequential

digits = small_digits()
images = Tensor(digits.images.reshape(-1, 64))  # (N, 64)
labels = Tensor(digits.labels)
test_images = Tensor(digits.test_images.reshape(-1, 64))
criterion = CrossEntropyLoss()


def network() -> Sequential:
    manual_seed(0)
    return Sequential(Linear(64, 128), ReLU(), Linear(128, 128), ReLU(), Linear(128, 10))


def train(make: Callable[[Any], list[Any]], epochs: int = 8, batch: int = 64) -> tuple[Any, float]:
    """The losses of all steps, and the share of held-out digits that is right at the end."""
    model, rng, history = network(), np.random.default_rng(0), []
    optimizers = make(model)
    for _ in range(epochs):
        order = rng.permutation(len(digits.labels))
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start : start + batch]
            loss = criterion(model(images[chosen]), labels[chosen])
            for own in optimizers:
                own.zero_grad()
            loss.backward()
            for own in optimizers:
                own.step()
            history.append(loss.item())
    with no_grad():
        right = model(test_images).numpy().argmax(axis=1) == digits.test_labels
    return history, float(right.mean())


def muon_and_adamw(model: Any) -> list[Any]:
    """Muon for the hidden matrices, AdamW for the rest."""
    hidden = [model[0].weight, model[2].weight]
    rest = [p for p in model.parameters() if not any(p is h for h in hidden)]
    return [Muon(hidden, lr=0.03), AdamW(rest, lr=0.003)]


racers: dict[str, Callable[[Any], list[Any]]] = {
    "SGD, lr 0.3": lambda model: [SGD(model.parameters(), lr=0.3)],
    "momentum 0.9, lr 0.1": lambda model: [SGD(model.parameters(), lr=0.1, momentum=0.9)],
    "Adam, lr 0.01": lambda model: [Adam(model.parameters(), lr=0.01)],
    "AdamW, lr 0.01": lambda model: [AdamW(model.parameters(), lr=0.01, weight_decay=0.1)],
    "Muon, lr 0.03": muon_and_adamw,
}
figure, axis = plt.subplots(figsize=(8, 3.4))
for name, make in racers.items():
    history, right = train(make)
    smooth = np.convolve(history, np.ones(10) / 10, mode="valid")
    axis.semilogy(smooth, label=f"{name}: {right:.1%}")
axis.set(
    xlabel="step", ylabel="loss, mean of 10 steps", title="digits; right answers on held-out ones"
)
axis.legend(fontsize=8)
plt.show()

# %% [markdown]
# Eight epochs are short. Plain SGD is still on its way; momentum has caught up with a large part; Adam
# and Muon are through, and Muon, which treats the matrices as matrices, has the lowest loss. On held-out
# digits, Adam, AdamW and Muon are within a percent of each other: a lower training loss is not the same
# as more right answers. (This is one seed. Try others, and more epochs, before you believe a ranking.)
#
# What about the tuning? Multiply the loss by 10, and SGD needs another learning rate; Adam does not
# notice.
#
# ## What it costs
#
# **Memory.** What is remembered has the size of the weights, once or twice. Add the gradient, and
# training with Adam takes four times the memory of the weights, before any activation.

# %%
from tinytorch.tito.measure import seconds

big = [(512, 512)] * 4
print("               state / weights   bytes per weight   ms per step")
for name, make_one in {
    "SGD": lambda p: SGD(p, lr=1e-3),
    "momentum": lambda p: SGD(p, lr=1e-3, momentum=0.9),
    "Adam": lambda p: Adam(p),
    "Adam, amsgrad": lambda p: Adam(p, amsgrad=True),
    "AdamW": lambda p: AdamW(p),
    "Muon": lambda p: Muon(p),
}.items():
    weights = [Parameter(np.ones(shape, np.float32)) for shape in big]
    for p in weights:
        p.grad = Tensor(np.full(p.shape, 0.5, np.float32))
    own = make_one(weights)
    own.step()
    size = float(np.sum([p.numpy().nbytes for p in weights]))
    kept = float(np.sum([a.numpy().nbytes for s in own.state.values() for a in s.values()]))
    spent = seconds(own.step, rounds=2)
    total = 4 * (2 + kept / size)  # weights, gradients and state, in float32
    print(f"{name:15s} {kept / size:14.0f} {total:18.0f} {1e3 * spent:13.1f}")

# %% [markdown]
# **Time.** SGD and Adam read and write each number a few times: memory is the limit, and the package's
# fast versions (`backends/`) do all of it in one pass. Muon multiplies matrices: for an n x n matrix 15
# products, about $30\, n^3$ operations. That is much here, and little beside a forward and a backward
# with thousands of tokens, $6\, n^2$ operations for each: n / batch is what counts.
#
# ## Questions to think about
#
# 1. With a learning rate of 0.09, how many steps does plain gradient descent need in the ravine until x
#    is below 0.04 of its start? What if y had 200 in place of 20?
# 2. A loss is multiplied by 10. What must change for SGD, for Adam, for Muon, to get the same steps?
# 3. A weight has the gradient 0 for 1000 steps, and then 1. How large is Adam's step with the default
#    betas? Without the bias correction, at the very first step?
# 4. A model has 10.7 million weights in float32. How much memory do weights, gradients and state take
#    with AdamW? With SGD? And for a thousand times as many? What could be kept in fewer bits?
# 5. Embeddings are matrices too. Why should Muon not update them?

# %% [markdown] instructor=true
# ### Answers, for the instructor
#
# 1. x shrinks by 0.91 at each step: $\log 0.04 / \log 0.91 \approx 34$ steps. With 200 the rate must be
#    below 0.01, say 0.009: 356 steps, ten times as many. The number of steps grows with the ratio.
# 2. SGD: a tenth of the learning rate. Adam: nothing (but for ε), since $\hat m$ and $\sqrt{\hat v}$ both
#    grow by 10. Muon: nothing, G is divided by its norm. *The decay in the gradient would change too.*
# 3. m = 0.1 and v = 0.001, and the corrections are about 1 and 0.63: 0.1 / 0.04 = 2.5 times lr.
#    At the very first step without a correction: 0.1 / 0.0316 = 3.2 times lr.
# 4. AdamW: 4 times 4 bytes for each, 171 MB. SGD: 86 MB. A thousand times as many take 171 GB, more than
#    one GPU has: the state is split among several, or kept in 16 or 8 bits. Weights need more bits than
#    that, since steps are small beside them.
# 5. A batch uses a few rows; the rest of the gradient is 0. Rows are looked up, not multiplied: they are
#    vectors side by side. Orthogonalising would mix them, and give rare tokens steps as large as others.
#
# Rubric for each question: 2 points for the right answer with its reason, 1 without. Typical trouble: in
# 7.3 the old velocity in Nesterov's direction; in 7.4 groups whose numbers begin at 0 again; in 7.6 a
# corrected average that is returned as the state.

# %% [markdown]
# ## In PyTorch
#
# | here | PyTorch |
# |---|---|
# | `SGD`, `Adam`, `AdamW`, `Muon` | `torch.optim`, the same arguments and numbers |
# | `param_groups`, `state`, `state_dict()`, `zero_grad()`, `step(closure)` | the same names |
# | `sgd_update`, `adam_update` | `torch.optim.sgd.sgd`, `torch.optim.adam.adam` |
# | one call for many parameters | `foreach=True`, `fused=True` |
# | `missed` | a counter `step` in the state of each parameter |
#
# Sources: B. Polyak, *Some methods of speeding up the convergence of iteration methods* (1964); Y.
# Nesterov (1983); I. Sutskever et al., *On the importance of initialization and momentum* (2013); D.
# Kingma and J. Ba, *Adam* (2014); I. Loshchilov and F. Hutter, *Decoupled Weight Decay Regularization*
# (2017); K. Jordan et al., *Muon* (2024).
#
# Next: lesson 08 builds the loop around it: schedules, clipping, checkpoints.
