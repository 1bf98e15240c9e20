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
# # Lesson 08: Training
#
# You have gradients (lesson 06) and optimizers that use them (lesson 07). Training is the program
# around them: it fetches batches, steps, watches, and survives the night. It looks like four lines,
# and most failed experiments fail in what those four lines leave out.
#
# | what goes wrong | what helps | exercises |
# |---|---|---|
# | the first steps are too large, the last ones too | a schedule | 8.1, 8.2 |
# | one strange batch ruins the weights | clipping | 8.3 |
# | a large batch does not fit into memory | accumulation | 8.4, 8.5 |
# | a step is forgotten, or done twice | one function for a step | 8.6 |
# | the network learns its examples by heart | evaluation | 8.7 |
# | the machine stops | a checkpoint | 8.8 |
#
# **You will build** schedules and the trainer.
#
# **You will learn**
#
# - why the learning rate rises first and falls later;
# - how small batches add up to the exact gradient of a large one;
# - how to measure a network fairly, and to see overfitting on two curves;
# - why a run diverges, and where you see it first: loss, gradient norm, activations;
# - what a checkpoint must hold so that a run goes on bit for bit.
#
# **Before you start**: lessons 03 to 07: modules, losses, batches, gradients and optimizers.
#
# **Time**: about three hours, ten to fifteen minutes per exercise and the rest for experiments.

# %% setup=true
import contextlib
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any
from unittest.mock import patch

import numpy as np

from tinytorch.activations import Tanh
from tinytorch.arguments import check_integer, check_number, check_type, shown
from tinytorch.autograd import no_grad
from tinytorch.backends.base import Array, Namespace
from tinytorch.layers import Dropout, Linear, Sequential
from tinytorch.losses import CrossEntropyLoss, MSELoss
from tinytorch.modules.module import Module, Parameter, evaluating
from tinytorch.ops import random
from tinytorch.ops.elementwise import where
from tinytorch.ops.op import op
from tinytorch.ops.random import manual_seed
from tinytorch.optimizers import SGD, AdamW, Optimizer
from tinytorch.serialization import checkpoint
from tinytorch.serialization.optimizer_state import split_state
from tinytorch.serialization.random_state import random_state, read_random_state
from tinytorch.serialization.training_state import read_training_state
from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise


def line(weights: Any = (1.0, -2.0, 0.5), bias: float = 0.25) -> Linear:
    """A layer (N, 3) -> (N, 1) with these weights."""
    layer = Linear(3, 1)
    layer.weight.data, layer.bias.data = np.array([weights]), np.array([bias])
    return layer


def examples(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """x (count, 3) and y (count, 1), random."""
    rng = np.random.default_rng(seed)
    return tuple(Tensor(rng.standard_normal((count, n)).astype(np.float32)) for n in (3, 1))


def weights_and_bias(layer: Linear) -> list[float]:
    """The four numbers of `line()`."""
    return [*layer.weight.numpy().ravel().tolist(), *layer.bias.numpy().tolist()]


def slopes(layer: Linear) -> list[float]:
    """The four gradients of `line()`."""
    return [*layer.weight.grad.numpy().ravel().tolist(), *layer.bias.grad.numpy().tolist()]


# %% [markdown]
# ## The idea, by hand
#
# One weight `w`, the prediction `w x`, two examples: x = 1 wants 2, and x = 2 wants 4. The loss is
# the mean of the squared errors, `((w - 2)² + (2 w - 4)²) / 2 = 2.5 (w - 2)²`, so the gradient is
# `5 (w - 2)`. With w = 0 and a learning rate of 0.1:
#
# | step | loss | gradient | new w |
# |---|---|---|---|
# | 0 | 10 | -10 | 0 + 0.1 · 10 = 1 |
# | 1 | 2.5 | -5 | 1 + 0.1 · 5 = 1.5 |
# | 2 | 0.625 | -2.5 | 1.75 |
#
# The distance to 2 is multiplied by `1 - 5 · rate` in each step. With a rate of 0.1 it is halved,
# with 0.2 it is zero at once, with 0.4 it flips its sign for ever, and above 0.4 it **grows**: the
# run diverges. This is the whole trouble with learning rates. It is worse for networks only
# because the number 5 there changes with every step.

# %%
x, y = Tensor([1.0, 2.0]), Tensor([2.0, 4.0])
for rate in (0.1, 0.4, 0.5):
    w, losses = Parameter([0.0]), []
    optimizer = SGD([w], lr=rate)
    for _ in range(5):
        loss = ((w * x - y) ** 2).mean()  # 1. forward
        loss.backward()  # 2. backward: adds to w.grad
        optimizer.step()  # 3. update
        optimizer.zero_grad()  # 4. forget, or the next gradient is added to this one
        losses.append(round(loss.item(), 3))
    print(f"rate {rate}: losses {losses}")

# %% [markdown]
# ## 8.1 Warm-up, then decay
#
# At the start the weights are random: gradients are large, point in changing directions, and Adam's
# averages have seen almost nothing. So the rate rises from nearly 0, the **warm-up**. At the end the
# rate must fall, because steps of fixed size cannot settle: they jump around the minimum.
#
# With `w` warm-up steps, step number s (from 0) has the rate
#
# - `high · (s + 1) / (w + 1)` if s < w: never 0, and step w would be the first with `high`;
# - afterwards `min_lr + (high - min_lr) · decay(progress)`. The progress is 0 at step w, 1 at step
#   `total_steps`, and stays 1. `decay` falls from 1 to 0; its shape is the next exercise.
#
# By hand: `high` 2, `min_lr` 0.5, 4 warm-up steps of 10: the rates are 0.4, 0.8, 1.2, 1.6, then 2 at
# step 4. Step 7 is half way: with a straight decay, 0.5 + 1.5 · 0.5 = 1.25.
#
# `high` is `max_lr`, or 1 if that is None: then rates are factors for the optimizers' own rates,
# which `apply` (given) multiplies.

# %% exercise="8.1" points=3
from tinytorch.training import Schedule

# Schedule.get_lr:
#   If step is not 0 or more, raise a ValueError with the text "step must be at least 0". (Ask
#   `not step >= 0`: that is true for NaN as well.)
#   Then the two cases. If warm-up fills all steps, the length of the decay is 0: divide by at
#   least 1.

# %% test="8.1" points=3
# fmt: off
with Exercise("8.1", "Schedule") as check:
    def curve(**settings: Any) -> Any:
        class Bent(Schedule):
            def decay(self, progress: float) -> float:
                return 1 - progress**2
        return Bent(**settings)

    def rates(steps: Any, **settings: Any) -> list[float]:
        return [curve(**settings).get_lr(step) for step in steps]

    HAND = {"max_lr": 2.0, "min_lr": 0.5, "total_steps": 10, "warmup_steps": 4}
    check.close(lambda: rates(range(4), **HAND), [0.4, 0.8, 1.2, 1.6], "the rates of the warm-up by hand",
                cause="high * (step + 1) / (warmup_steps + 1)")
    check.close(lambda: rates([4], **HAND), [2.0], "the rate of step 4, the first after the warm-up",
                cause="progress is 0 there: steps after the warm-up, divided by their number")
    check.close(lambda: rates([5, 7, 9], **HAND), [2 - 1.5 / 36, 0.5 + 1.5 * 0.75, 0.5 + 1.5 * 11 / 36],
                "the rates of steps 5, 7 and 9", cause="min_lr + (high - min_lr) * self.decay((step - warmup) / (total - warmup))")
    check.close(lambda: rates([10, 11, 40], **HAND), [0.5, 0.5, 0.5], "the rates from the last step on",
                cause="progress is at most 1")
    check.close(lambda: rates([0, 3, 6], max_lr=3.0, total_steps=6), [3.0, 2.25, 0.0], "rates without a warm-up",
                cause="with 0 warm-up steps, step 0 has the whole rate")
    check.close(lambda: rates([0, 1, 2, 5], min_lr=0.1, total_steps=5, warmup_steps=1), [0.5, 1.0, 0.1 + 0.9 * 15 / 16, 0.1],
                "factors: max_lr=None, min_lr=0.1", cause="high is 1.0 if max_lr is None")
    check.equal(lambda: rates([0, 2, 4], max_lr=0.0, total_steps=4, warmup_steps=2), [0.0, 0.0, 0.0], "rates with max_lr=0",
                cause="ask whether max_lr is None: 0.0 is a rate too")
    check.close(lambda: rates([2, 3, 4], max_lr=4.0, min_lr=1.0, total_steps=3, warmup_steps=3), [3.0, 4.0, 1.0],
                "rates if all 3 steps are warm-up", cause="divide by max(1, total_steps - warmup_steps)")
    for step in (-1, math.nan):
        check.raises(ValueError, lambda: rates([step], **HAND), f"step {step}", message="step must be at least 0",
                     cause="ask `not step >= 0` first: every comparison with NaN is False")
# fmt: on

# %% [markdown]
# ## 8.2 Two shapes
#
# - **Cosine**: half a wave, $\frac{1}{2}(1 + \cos(\pi \cdot progress))$. It starts flat, is steepest
#   in the middle and ends flat.
# - **Linear** at the end: constant 1, and over the last `fraction` of the way straight down to 0.
#   With a fraction of 1 it is a straight line. By hand, fraction 0.5: progress 0.25 gives 1, 0.75
#   gives 0.5.
#
# You can lengthen a run with a constant rate at any time: only the last part depends on its length.

# %% exercise="8.2" points=2
from tinytorch.training import CosineSchedule, LinearSchedule

# CosineSchedule.decay:
#   The formula, with math.cos and math.pi.
# LinearSchedule.decay:
#   What is left of the way, divided by the fraction: that is more than 1 before the decay starts.

# %% test="8.2" points=2
# fmt: off
with Exercise("8.2", "two shapes") as check:
    for progress, value in ((0.0, 1.0), (1 / 3, 0.75), (0.5, 0.5), (2 / 3, 0.25), (0.75, 0.1464466), (1.0, 0.0)):
        check.close(lambda: CosineSchedule().decay(progress), value, f"the cosine decay at {progress:.2f}",
                    cause="0.5 * (1 + cos(pi * progress)), in radians", tolerance=1e-6)
    for fraction, progress, value in (
        (0.5, 0.0, 1.0), (0.5, 0.25, 1.0), (0.5, 0.5, 1.0), (0.5, 0.75, 0.5), (0.5, 1.0, 0.0),
        (0.2, 0.7, 1.0), (0.2, 0.85, 0.75), (0.2, 0.95, 0.25), (1.0, 0.0, 1.0), (1.0, 0.3, 0.7), (1.0, 1.0, 0.0),
    ):
        check.close(lambda: LinearSchedule(fraction=fraction).decay(progress), value,
                    f"the linear decay at {progress}, fraction {fraction}", cause="min(1, (1 - progress) / fraction)", tolerance=1e-6)
# fmt: on

# %%
import matplotlib.pyplot as plt

figure, axis = plt.subplots(figsize=(7, 3))
for name, schedule in {
    "cosine": CosineSchedule(1.0, 0.1, 100, 10),
    "linear": LinearSchedule(1.0, 0.0, 100, 10),
    "linear over the last fifth": LinearSchedule(1.0, 0.0, 100, 10, fraction=0.2),
}.items():
    axis.plot([schedule.get_lr(step) for step in range(111)], label=name)
axis.set(xlabel="step", ylabel="learning rate", title="10 steps of warm-up, 100 in all")
axis.legend(loc="lower center")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 8.3 Clipping
#
# One strange batch, or one steep place of the loss, and the gradient is a thousand times as long as
# usual. The step would throw away what hundreds of steps have learned. **Clipping** limits its
# length but keeps its direction: all gradients, of all parameters, are one long vector. If its norm
# is above the maximum, all are multiplied by the same number.
#
# By hand: two parameters have the gradients 3 and 4. The norm is $\sqrt{3^2 + 4^2} = 5$. With a
# maximum of 1, both are divided by 5: 0.6 and 0.8. With a maximum of 10, nothing changes.
#
# As in PyTorch the factor is `max_norm / (norm + 1e-6)`, and at most 1. The small number is there
# for a norm of 0.

# %% exercise="8.3" points=3
from tinytorch.training import clip_gradients

# clip_gradients:
#   Add up the squares of all numbers of all gradients: for example xp.vecdot(f, f) of each one as
#   a vector f = xp.reshape(g, (-1,)). The norm is the root of the sum.
#   Stay on the device: no float(...), no `if`. xp.where(condition, a, b) chooses; a factor that is
#   NaN must stay NaN. xp.ones_like(scale) is a 1 of the right dtype.
#   Return ((norm, first gradient, second gradient, ...), ()): nothing is saved.
#   Make new arrays: the gradients you get are not yours.

# %% test="8.3" points=3
# fmt: off
with Exercise("8.3", "clip_gradients") as check:
    def clipped(max_norm: float, *gradients: Any) -> list[Any]:
        return [t.numpy().tolist() for t in clip_gradients(*(Tensor(g) for g in gradients), max_norm=max_norm)]

    norm, a, b = check.call(lambda: clipped(1.0, [3.0], [4.0]), "the norm and both gradients", count=3,
                            cause="return ((norm, *gradients), ())")
    check.close(lambda: norm, 5.0, "the norm of the gradients 3 and 4", cause="the root of the sum of all squares")
    check.close(lambda: [a, b], [[0.6], [0.8]], "the gradients 3 and 4, for a maximum of 1",
                cause="one factor for all: max_norm / (norm + 1e-6)")
    for most in (10.0, 5.5):
        check.equal(lambda: clipped(most, [3.0], [4.0]), [5.0, [3.0], [4.0]], f"for a maximum of {most}, above the norm",
                    cause="the factor is at most 1: gradients never grow")
    rng = np.random.default_rng(3)
    parts = [rng.standard_normal(shape) for shape in ((2, 3), (4,), (), (2, 1, 2))]
    whole = math.sqrt(sum(float((p**2).sum()) for p in parts))
    for most in (0.5, 2.0):
        check.close(lambda: clipped(most, *parts)[0], whole, "the norm of gradients of four shapes",
                    cause="all numbers of all gradients; not the norm of the last, nor the largest one")
        for i, part in enumerate(parts):
            check.close(lambda: clipped(most, *parts)[1 + i], part * most / (whole + 1e-6), f"gradient {i}, of shape {part.shape}, for a maximum of {most}",
                        cause="the same factor for all, with the shape kept")
    check.equal(lambda: clipped(2.0, [0.0, 0.0]), [0.0, [0.0, 0.0]], "gradients of 0", cause="divide by norm + 1e-6: 2 / 0 is infinite, and inf * 0 is NaN")
    check.equal(lambda: clipped(0.0, [3.0], [4.0])[1:], [[0.0], [0.0]], "the gradients for a maximum of 0", cause="the factor is 0 then")
    check.close(lambda: np.array(clipped(1e-6, [1e-6])[1]) * 1e6, [0.5], "a gradient of 1e-6 for a maximum of 1e-6, times 1e6",
                cause="the factor is max_norm / (norm + 1e-6), 0.5 here")
    check.true(lambda: np.isnan(clipped(1.0, [math.nan], [4.0])[2][0]).item(), "with NaN in one gradient, the others become NaN",
               cause="a factor that is NaN must stay NaN: ask scale >= 1, not scale < 1, and do not use minimum of Python")
    check.equal(lambda: clipped(1.0, [math.inf], [4.0])[2], [0.0], "with inf in one gradient, the finite ones", cause="the norm is inf, the factor 0")
    single, given = np.float32([3.0, 4.0]), Tensor(0.0).backend.xp
    results = check.call(lambda: clip_gradients.forward(given, single, max_norm=1.0), "the two results of the forward", count=2,
                         cause="the results, and the tuple of what is saved")
    check.equal(lambda: len(results[1]), 0, "the number of saved values", cause="no gradient flows through: save ()")
    class Unread(np.ndarray):
        def read(self) -> Any:
            raise ValueError("an array was read")
        __bool__ = __float__ = item = read
    check.close(lambda: np.asarray(clip_gradients.forward(given, single.view(Unread), max_norm=1.0)[0][1]), [0.6, 0.8], "gradients of a norm that cannot be read",
                cause="no float(...), `if` or min of Python: a GPU would have to finish first")
    check.equal(lambda: single.tolist(), [3.0, 4.0], "the gradient that was given, afterwards", cause="g *= scale writes into it: use g * scale")
    check.equal(lambda: [r.dtype.name for r in results[0]], ["float32", "float32"], "dtypes for a float32 gradient",
                cause="xp.ones_like(scale): a factor of float64 would cast the gradients")
    check.equal(lambda: results[0][0].shape, (), "the shape of the norm", cause="it is one number, without axes")
# fmt: on

# %% given="8.3"
from tinytorch.training import clip_grad_norm

# %% [markdown]
# Limiting each *number* instead of the norm would be simpler, but it turns the gradient. Ten
# gradients of two numbers, before and after:

# %%
directions = np.random.default_rng(1).standard_normal((10, 2)) * 2
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharex=True, sharey=True)
shorter = [
    np.stack([p.numpy() for p in clip_gradients(Tensor(d), max_norm=1.0)[1:]])[0]
    for d in directions
]
for axis, title, arrows in (
    (axes[0], "before", directions),
    (axes[1], "norm at most 1", shorter),
    (axes[2], "each number at most 0.7", directions.clip(-0.7, 0.7)),
):
    for i, (right, up) in enumerate(arrows):
        axis.plot([0, right], [0, up], color=f"C{i}")
    axis.set(title=title, aspect="equal")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 8.4 Gradients of parts
#
# A batch of 1000 does not fit into memory? Take parts of it: backward **adds** to the gradients, so
# after all parts the parameters hold the sum. The mean over all targets is the sum of the parts'
# means, each weighted by its share of the targets.
#
# By hand: parts of 3 and 1 targets have mean losses of 2 and 6. The mean of all four is
# `(3 · 2 + 1 · 6) / 4 = 3/4 · 2 + 1/4 · 6 = 3`, not 4. The weights are 3/4 and 1/4, and the
# gradients have the same weights.
#
# Counts that are tensors (a loss that ignores targets counts on the device) go to the given
# `_weights_of_tensors`. `count_targets` asks the loss how many targets a batch has.
#
# Here and in all that follows, the *mode* of the model (`train()`, `eval()`) is the caller's choice:
# a part that is frozen may be in evaluation mode on purpose. Leave it as it is.

# %% given="8.4"
from tinytorch.training import (
    _checked_loss,
    _weights_of_tensors,
    _zero_if_unweighted,
    count_targets,
)

# %% exercise="8.4" points=3
from tinytorch.training import accumulate_gradients, weights_of

# weights_of:
#   Add up the counts. If the total is a Tensor, _weights_of_tensors does the rest.
#   Otherwise each count divided by the total, a float. If the total is 0, all weights are equal,
#   and their sum is 1.
# accumulate_gradients:
#   Prediction, loss. Then loss, weight = _checked_loss(loss, weight).
#   Multiply them, go backward. Return the detached loss, else the caller would hold the graph;
#   _zero_if_unweighted makes it 0 if the weight is 0.
#   Do not clear any gradient: they must add up.

# %% test="8.4" points=3
# fmt: off
with Exercise("8.4", "gradients of parts") as check:
    for counts, shares in (([3, 1], [0.75, 0.25]), ([2, 3, 5], [0.2, 0.3, 0.5]), ([4, 0], [1.0, 0.0]), ([7], [1.0]), ((1, 3), [0.25, 0.75])):
        check.close(lambda: weights_of(counts), shares, f"the weights of the counts {counts}", cause="each count, divided by the sum of all")
    check.close(lambda: weights_of([0, 0, 0, 0]), [0.25] * 4, "the weights of four counts of 0", cause="1 / len(counts), if the total is 0")
    check.equal(lambda: [type(w).__name__ for w in weights_of([np.int64(3), 1])], ["float", "float"], "the types of the weights", cause="float(count / total)")
    check.equal(lambda: [type(w).__name__ for w in weights_of([Tensor(3), Tensor(1)])], ["Tensor", "Tensor"], "the types of weights of counts that are tensors",
                cause="ask whether the total is a Tensor, and leave such counts to _weights_of_tensors")
    check.close(lambda: weights_of([Tensor(3), Tensor(1)]), [0.75, 0.25], "the weights of tensors 3 and 1", cause="use the given function for tensors: it returns tensors")

    def skewed(prediction: Tensor, target: Tensor) -> Tensor:
        return ((prediction - 3.0 * target) ** 2).mean()

    x, y = examples(5)
    flat = x.numpy().astype(float)
    errors = (flat @ [[1.0], [-2.0], [0.5]]) + 0.25 - 3.0 * y.numpy()
    wanted = np.append((2 * errors * flat).mean(axis=0), 2 * errors.mean())
    value = (errors**2).mean()
    for weight in (1.0, 0.25, Tensor(0.25, dtype="float64")):
        shown_weight = 1.0 if weight == 1.0 else 0.25
        model = line()
        loss = check.call(lambda: accumulate_gradients(model, skewed, x, y, weight), f"the loss with a weight of {weight}",
                          cause="loss_fn(model(x), y): the prediction first")
        check.close(lambda: loss, value * shown_weight, f"the loss with a weight of {weight}", cause="return the loss times the weight, once", tolerance=1e-4)
        check.close(lambda: slopes(model), np.array(wanted) * shown_weight, f"the gradients with a weight of {weight}",
                    cause="multiply before backward: (loss * weight).backward()", tolerance=1e-4)
        check.true(lambda: not loss.requires_grad, "the result has no graph", cause="loss.detach()")
        check.equal(lambda: str(loss.dtype), "float32", f"the dtype of the loss with a weight of {weight}", cause="use the weight that _checked_loss returns")
        check.call(lambda: accumulate_gradients(model, skewed, x, y, 2.0), "a second call", cause="it adds to the gradients")
        check.close(lambda: slopes(model), np.array(wanted) * (2 + shown_weight), "the gradients after a second call, with a weight of 2",
                    cause="do not clear gradients: they add up", tolerance=1e-4)
        check.equal(lambda: weights_and_bias(model), [1.0, -2.0, 0.5, 0.25], "the weights afterwards", cause="no step: this is only the gradient")
    for mode in (True, False):
        check.equal(lambda: (lambda m: (accumulate_gradients(m, skewed, x, y), m.training)[1])(line().train(mode)), mode, f"model.training afterwards, if it was {mode}",
                    cause="do not call train() or eval(): the caller has chosen the mode")
    def unread() -> bool:
        def read(tensor: Tensor) -> None:
            raise ValueError("a tensor was read")
        shared = Tensor(0.25)
        with patch.object(Tensor, "__bool__", read), patch.object(Tensor, "__float__", read), patch.object(Tensor, "item", read):
            weights_of([Tensor(3), Tensor(1)])
            accumulate_gradients(line(), skewed, x, y, shared)
        return True
    check.true(unread, "weights that are tensors are not read", cause="no float(weight), no `if` that asks for its value: a GPU would have to finish first")
    for weight in (0.0, Tensor(0.0)):
        check.equal(lambda: accumulate_gradients(line(), lambda p, t: (p * math.nan).mean(), x, y, weight), 0.0,
                    f"a loss of NaN with a weight of {weight}", cause="the last step is _zero_if_unweighted: it replaces a loss that nobody counts")
    model = line()
    check.call(lambda: accumulate_gradients(model, skewed, x, y, 0.0), "a loss with a weight of 0", cause="multiply: (loss * weight).backward()")
    check.equal(lambda: slopes(model), [0.0] * 4, "the gradients with a weight of 0", cause="multiply the loss by the weight unless that is 1")
    check.raises(TypeError, lambda: accumulate_gradients(line(), lambda p, t: 1.5, x, y, 0.5), "a loss that is a number", message="the loss",
                 cause="call _checked_loss before anything else is done with the loss")
# fmt: on

# %% [markdown]
# ## 8.5 Accumulate, update
#
# Now the trainer, class by class; each inherits from the one before, and the last is `Trainer`. The
# given `TrainerBase` holds the model, the optimizers (a list), the loss, the scheduler and the
# maximum norm. `self.parameters()` has each parameter once, `self.zero_grad()` clears all gradients.
#
# `accumulate` takes a list of batches, and leaves the gradient of the mean over **all** their
# targets. `update` changes the parameters: clip, step, clear, in this order.

# %% given="8.5"
from tinytorch.training import TrainerBase

# %% exercise="8.5" points=4
from tinytorch.training import AccumulatingTrainer

# AccumulatingTrainer.accumulate:
#   backward, if it is None, is accumulate_gradients of self.model and self.loss_fn: use partial.
#   The weights: weights_of the batches' numbers of targets, count_targets(self.loss_fn, y).
#   Call backward(x, y, weight) for each batch, and return the sum of what it returns.
# AccumulatingTrainer.update:
#   First self._check_optimizers(). Clip the gradients of self.parameters(), if there is a maximum
#   (0 is one).
#   Set self.updating to True: from here on, an error may leave some parameters changed.
#   Step each optimizer: optimizer.step(), or step(optimizer) if step is given. Clear all gradients.

# %% test="8.5" points=4
# fmt: off
with Exercise("8.5", "AccumulatingTrainer") as check:
    def adder(rate: float = 0.5, most: float | None = None) -> Any:
        model = line()
        return AccumulatingTrainer(model, SGD(model.parameters(), lr=rate), MSELoss(), grad_clip_norm=most)

    x, y = examples(7)
    flat = x.numpy().astype(float)
    errors = (flat @ [[1.0], [-2.0], [0.5]]) + 0.25 - y.numpy()
    gradient = np.asarray(np.append((2 * errors * flat).mean(axis=0), 2 * errors.mean()))
    start = np.array([1.0, -2.0, 0.5, 0.25])
    for cuts in ([0, 7], [0, 1, 5, 7], [0, 4, 7]):
        batches = [(x[i:j], y[i:j]) for i, j in pairwise(cuts)]
        sizes = [after - before for before, after in pairwise(cuts)]
        trainer = check.call(adder, "a trainer", cause="TrainerBase is given")
        loss = check.call(lambda: trainer.accumulate(batches), f"the loss of batches of {sizes}", cause="return the sum of the weighted losses")
        check.close(lambda: loss, (errors**2).mean(), f"the loss of batches of {sizes}, as of one large batch",
                    cause="weight each batch by its number of targets", tolerance=1e-4)
        check.close(lambda: slopes(trainer.model), gradient, f"the gradients of batches of {sizes}, as of one large batch",
                    cause="weights_of([count_targets(self.loss_fn, y) for _, y in batches])", tolerance=1e-4)
        check.equal(lambda: weights_and_bias(trainer.model), start.tolist(), "the weights after accumulate", cause="update steps, accumulate does not")
        check.true(lambda: isinstance(loss, Tensor), "the loss is a tensor", cause="add up tensors: .item() would make a GPU wait")
        check.call(lambda: trainer.accumulate(batches), "accumulate, a second time", cause="it adds to the gradients")
        check.close(lambda: slopes(trainer.model), 2 * gradient, "the gradients after a second time", cause="do not clear gradients: update does, after the step", tolerance=1e-4)
    trainer = check.call(lambda: adder(most=0.1), "a trainer with a maximum norm of 0.1", cause="TrainerBase is given")
    check.call(lambda: (trainer.model.eval(), trainer.accumulate([(x[:3], y[:3]), (x[3:], y[3:])])), "accumulate in eval mode", cause="do not touch the mode")
    check.close(lambda: slopes(trainer.model), gradient, "the gradients of two batches, not clipped yet", cause="update clips, once, when all parts are there", tolerance=1e-4)
    check.true(lambda: not trainer.model.training, "the model is still in eval mode", cause="do not call train(): the caller has chosen the mode")
    calls: list[Any] = []
    def noted(x: Tensor, y: Tensor, weight: Any) -> Tensor:
        calls.append((len(x), len(y), weight))
        return Tensor(10.0 * len(x))
    check.equal(lambda: adder().accumulate([(x[:1], y[:1]), (x[:3], y[:3])], noted), 40.0, "the sum of what a `backward` of the caller returns",
                cause="use backward if it is given, and return the sum: it has weighted the losses already")
    check.equal(lambda: calls, [(1, 1, 0.25), (3, 3, 0.75)], "what it was called with", cause="backward(x, y, weight), once for each batch")
    scores, classes = Tensor(np.float32([[1, 2, 3], [0, 1, 5], [2, 2, 1]])), [Tensor([0, -100, -100]), Tensor([2, 1, 0])]
    class Pass(Module):
        def forward(self, x: Tensor) -> Tensor:
            return x
    def ignoring() -> Any:
        return AccumulatingTrainer(Pass(), SGD([Parameter([1.0])], 0.1), CrossEntropyLoss())
    check.close(lambda: ignoring().accumulate([(scores.detach().requires_grad_(), c) for c in classes]),
                float((CrossEntropyLoss()(scores, classes[0]) + 3 * CrossEntropyLoss()(scores, classes[1])).item()) / 4,
                "the loss of batches with 1 and 3 targets that are not ignored", cause="ask count_targets: len(y) counts the ignored ones too")
    for most, norm in ((None, None), (0.5, 0.5), (1e9, None), (0.0, 0.0)):
        trainer = check.call(lambda: adder(most=most), "a trainer", cause="TrainerBase is given")
        check.call(lambda: (trainer.accumulate([(x, y)]), trainer.update()), f"an update with a maximum norm of {most}", cause="clip, step, clear")
        step = gradient * (1 if norm is None else norm / np.linalg.norm(gradient))
        check.close(lambda: weights_and_bias(trainer.model), start - 0.5 * step, f"the weights after an update with a maximum norm of {most}",
                    cause="clip_grad_norm of all parameters before the step, unless the maximum is None (0.0 is a maximum); one step", tolerance=1e-4)
        check.true(lambda: all(p.grad is None for p in trainer.parameters()), "no gradient is left", cause="zero_grad, after the step")
        check.true(lambda: trainer.updating, "updating is True afterwards", cause="self.updating = True; train_step sets it back")
        check.equal(lambda: trainer.step, 0, "the number of steps after an update", cause="train_step counts steps, update does not")
    def two(most: float) -> Any:
        model = line()
        return AccumulatingTrainer(model, [SGD([model.weight], lr=1.0), SGD([model.bias], lr=2.0)], MSELoss(), grad_clip_norm=most)
    trainer = check.call(lambda: two(0.5), "a trainer with two optimizers", cause="TrainerBase is given")
    check.call(lambda: (trainer.accumulate([(x, y)]), trainer.update()), "an update with two optimizers", cause="step each of self.optimizers")
    check.close(lambda: weights_and_bias(trainer.model), start - [1, 1, 1, 2] * gradient * 0.5 / np.linalg.norm(gradient), "the weights after it",
                cause="clip all parameters together, once, and step every optimizer", tolerance=1e-4)
    check.true(lambda: all(p.grad is None for p in trainer.parameters()), "no gradient of any optimizer's parameters is left", cause="clear the gradients of all parameters")
    def frozen() -> Any:
        model = line()
        return AccumulatingTrainer(model, SGD([model.bias], lr=1.0), MSELoss())
    trainer = check.call(frozen, "a trainer whose optimizer has only the bias", cause="TrainerBase is given")
    check.call(lambda: (trainer.accumulate([(x, y)]), trainer.update()), "an update of it", cause="step, clear")
    check.true(lambda: trainer.model.weight.grad is None, "the gradient of a weight that no optimizer has is cleared", cause="self.parameters() has it too: clear all")
    trainer, seen = check.call(lambda: two(0.5), "a trainer", cause="TrainerBase is given"), []
    check.call(lambda: (trainer.accumulate([(x, y)]), trainer.update(lambda o: seen.append((o.lr, trainer.updating)))), "an update with `step`", cause="step(optimizer)")
    check.equal(lambda: seen, [(1.0, True), (2.0, True)], "what `step` saw", cause="call step(optimizer) for each, after self.updating = True")
    check.equal(lambda: weights_and_bias(trainer.model), start.tolist(), "the weights after it", cause="`step` replaces optimizer.step()")
    def foreign() -> Any:
        return AccumulatingTrainer(line(), SGD(line().parameters(), 0.1), MSELoss())
    check.raises(ValueError, lambda: foreign().update(), "optimizers of another model", message="no parameter of the model", cause="self._check_optimizers() comes first")
    for make, name in ((foreign, "optimizers of another model"), (lambda: adder(most=1.0), "no gradients to clip")):
        trainer = check.call(make, "a trainer", cause="TrainerBase is given")
        check.raises(ValueError, lambda: trainer.update(), f"an update with {name}", cause="check, clip, and only then step")
        check.true(lambda: not trainer.updating, f"updating stays False after the error: {name}", cause="set it to True after the checks and clipping: no parameter has changed before")
    class Scaled(MSELoss):
        def __init__(self) -> None:
            super().__init__()
            self.scale = Parameter(np.float32([2.0]))
        def forward(self, prediction: Any, target: Any) -> Tensor:
            return (self.scale * (prediction - target) ** 2).mean()
    def with_scale() -> Any:
        model, loss = line(), Scaled()
        return AccumulatingTrainer(model, SGD([*model.parameters(), loss.scale], lr=0.5), loss, grad_clip_norm=0.5)
    trainer = check.call(with_scale, "a trainer whose loss has a parameter", cause="TrainerBase is given")
    check.call(lambda: (trainer.accumulate([(x, y)]), trainer.update()), "an update of it", cause="clip, step, clear")
    every = np.append(2 * gradient, (errors**2).mean())  # of the four numbers and of the scale
    check.close(lambda: [*weights_and_bias(trainer.model), trainer.loss_fn.scale.numpy().item()], np.append(start, 2.0) - 0.5 * every * 0.5 / np.linalg.norm(every),
                "all parameters after it", cause="clip self.parameters(): those of the loss too", tolerance=1e-4)
    check.true(lambda: trainer.loss_fn.scale.grad is None, "the gradient of the loss's parameter is cleared", cause="self.zero_grad() clears all, model.zero_grad() does not")
# fmt: on

# %% [markdown]
# ## 8.6 A step
#
# One method for a whole step, so that nothing can be forgotten: check the batches, set the rates for
# this step, run it (`run_step` is given: accumulate, then update), count it. And if something raises
# an error in between, say Ctrl-C, gradients must not stay: the next step would add to them.

# %% given="8.6"
from tinytorch.training import _checked_batch, checked_batches

# %% exercise="8.6" points=3
from tinytorch.training import SteppingTrainer

# SteppingTrainer.train_step:
#   A list of the checked_batches; if it is empty, a ValueError with the text "at least one
#   batch".
#   self.scheduler, if there is one, applies the rate of step self.step to self.optimizers.
#   loss = self.run_step(batches), within try: on any error, also a KeyboardInterrupt, clear the
#   gradients and raise it again.
#   Then count the step, set self.updating to False, and return the loss.

# %% test="8.6" points=3
# fmt: off
with Exercise("8.6", "SteppingTrainer") as check:
    def stepper(schedule: Any = None, loss: Any = None) -> Any:
        model = line()
        return SteppingTrainer(model, SGD(model.parameters(), lr=0.5), loss or MSELoss(), schedule)

    x, y = examples(6)
    flat = x.numpy().astype(float)
    errors = (flat @ [[1.0], [-2.0], [0.5]]) + 0.25 - y.numpy()
    gradient = np.asarray(np.append((2 * errors * flat).mean(axis=0), 2 * errors.mean()))
    start = np.array([1.0, -2.0, 0.5, 0.25])
    for name, give in (("a list", list), ("a generator", iter), ("a tuple", tuple)):
        trainer = check.call(stepper, "a trainer", cause="TrainerBase is given")
        loss = check.call(lambda: trainer.train_step(give([(x[:2], y[:2]), (x[2:], y[2:])])), f"a step of two batches in {name}",
                          cause="make one list of checked_batches(...), and use it from then on")
        check.close(lambda: loss, (errors**2).mean(), "the loss of the step", cause="return the loss of run_step, the one before the update", tolerance=1e-4)
        check.close(lambda: weights_and_bias(trainer.model), start - 0.5 * gradient, "the weights after one step", cause="self.run_step(batches), once", tolerance=1e-4)
        check.equal(lambda: (trainer.step, trainer.updating), (1, False), "step and updating afterwards", cause="count the step, and set updating to False")
        check.true(lambda: isinstance(loss, Tensor), "the loss is a tensor", cause="return it: .item() would make a GPU wait")
    class Halved(CosineSchedule):
        def get_lr(self, step: float) -> float:
            return 1.0 / 2**step
    def rates_of_steps() -> list[float]:
        trainer, found = stepper(Halved(1.0)), []
        for _ in range(3):
            trainer.train_step([(x, y)])
            found.append(trainer.optimizers[0].lr)
        return found
    check.equal(rates_of_steps, [1.0, 0.5, 0.25], "the rates of the first three steps", cause="apply before the step, with self.step as it is, from 0")
    trainer = check.call(lambda: stepper(Halved(1.0)), "a trainer with a schedule", cause="TrainerBase is given")
    check.call(lambda: trainer.train_step([(x, y)]), "a step", cause="apply, run")
    check.close(lambda: weights_and_bias(trainer.model), start - 1.0 * gradient, "the weights after a step with a rate of 1, set by the schedule",
                cause="set the rate before run_step", tolerance=1e-4)
    for error in (RuntimeError, KeyboardInterrupt):
        def broken(prediction: Tensor, target: Tensor, error: Any = error) -> Tensor:
            if len(target) == 1:
                raise error("stop")
            return ((prediction - target) ** 2).mean()
        def after_error(error: Any = error, broken: Any = broken) -> Any:
            trainer = stepper(loss=broken)
            try:
                trainer.train_step([(x, y), (x[:1], y[:1])])
            except error:
                return trainer
            return "no error"
        trainer = check.call(after_error, f"a step in which the loss raises {error.__name__}", cause="raise it again")
        check.true(lambda: isinstance(trainer, SteppingTrainer), f"the {error.__name__} is raised again", cause="end the except branch with a bare raise")
        check.equal(lambda: [p.grad for p in trainer.parameters()], [None, None], f"the gradients after {error.__name__}",
                    cause="except BaseException: self.zero_grad(), then raise")
        check.equal(lambda: trainer.step, 0, f"the number of steps after {error.__name__}", cause="count a step after it has succeeded")
    def fails_in_update() -> Any:
        trainer = stepper()
        def stop() -> None:
            raise RuntimeError("stop")
        trainer.optimizers[0].step = stop
        try:
            trainer.train_step([(x, y)])
        except RuntimeError:
            return trainer.updating
    check.true(fails_in_update, "updating after an error in the update", cause="on an error leave updating as it is: the weights may be half updated")
    def rates_of_factors() -> list[float]:
        trainer = stepper(Halved(None))
        return [(trainer.train_step([(x, y)]), trainer.optimizers[0].lr)[1] for _ in range(3)]
    check.equal(rates_of_factors, [0.5, 0.25, 0.125], "the rates of three steps, of an optimizer with lr=0.5, for factors 1, 1/2 and 1/4", cause="self.scheduler.apply(...): it knows whether rates are factors, get_lr does not")
    def owners() -> Any:
        """Two optimizers, and a weight that neither has."""
        class Stopping(MSELoss):
            def __init__(self) -> None:
                super().__init__()
                self.scale = Parameter(np.float32([2.0]))
            def forward(self, prediction: Any, target: Any) -> Tensor:
                if len(target) == 1:
                    raise RuntimeError("stop")
                return (self.scale * (prediction - target) ** 2).mean()
        model, loss = Sequential(line(), Linear(1, 1)), Stopping()
        return SteppingTrainer(model, [SGD([model[0].bias], lr=0.25), SGD([loss.scale], lr=0.25)], loss, Halved(1.0))
    def left_over() -> list[Any]:
        trainer = owners()
        try:
            trainer.train_step([(x, y), (x[:1], y[:1])])
        except RuntimeError:
            return [p.grad for p in trainer.parameters()]
        return ["no error"]
    check.equal(left_over, [None] * 5, "the gradients after an error, of the model's four and of the loss's one, of which the optimizers have two",
                cause="self.zero_grad() clears all; those of the optimizers or of the model are not all")
    check.equal(lambda: (lambda t: (t.train_step([(x, y)]), t.train_step([(x, y)]), [o.lr for o in t.optimizers], t.step)[2:])(owners()), ([0.5, 0.5], 2),
                "the rates of two optimizers, and the number of steps, after two steps", cause="apply takes all of self.optimizers")
    class Noting(SteppingTrainer):
        def run_step(self, batches: Any) -> Tensor:
            return Tensor(7.0 * len(batches))
    check.equal(lambda: (lambda t: (t.train_step([(x, y)] * 3), t.train_step([(x, y)]), t.step))(Noting(line(), SGD([Parameter([1.0])], lr=0.5), MSELoss())), (21.0, 7.0, 2),
                "two steps of a trainer with a run_step of its own, and their number", cause="loss = self.run_step(batches): the package has one for graphs on a GPU")
    check.raises(ValueError, lambda: stepper().train_step([]), "no batches", message="at least one batch", cause="if not batches: raise ValueError")
    check.raises(ValueError, lambda: stepper().train_step(iter(())), "a generator without batches", message="at least one batch", cause="make a list first: a generator is always true")
    check.raises(TypeError, lambda: stepper().train_step((x, y)), "a pair instead of a list of pairs", message="got a tensor", cause="take the batches from checked_batches, which says what is wrong")
    trainer = check.call(stepper, "a trainer", cause="TrainerBase is given")
    check.call(lambda: (trainer.model.eval(), trainer.train_step([(x, y)])), "a step in eval mode", cause="do not touch the mode")
    check.true(lambda: not trainer.model.training, "the model is still in eval mode", cause="train_step leaves modes alone")
# fmt: on

# %% [markdown]
# ## 8.7 Epochs and evaluation
#
# `train_epoch` goes through a loader once, with several batches for each update if asked. What is
# left at the end is an update too. `evaluate` measures: no gradients, and every module in evaluation
# mode (`with evaluating():`), since dropout would make the network worse and the number random.
#
# Both report the mean over all *targets*. By hand: losses of 1, 1 and 4 over 4, 4 and 2 targets have
# the mean (4 + 4 + 8) / 10 = 1.6, not 2.

# %% exercise="8.7" points=4
from tinytorch.training import EpochTrainer, mean_loss

# mean_loss:
#   Pairs (loss, count). Without any pair, a ValueError with the text "no batch".
#   Counts may be tensors: .item() reads them. Leave out pairs with a count of 0: their loss may be
#   NaN. If no targets are left, the mean is NaN. It is a float.
# EpochTrainer.train_epoch:
#   check_integer("accumulation_steps", accumulation_steps, 1) first. Collect batches until there
#   are enough, train_step, keep (loss, self._targets(batches)), start a new list.
# EpochTrainer.evaluate:
#   @no_grad() is there already. Losses as pairs with self._targets([(x, y)]), their mean.

# %% test="8.7" points=4
# fmt: off
with Exercise("8.7", "epochs and evaluation") as check:
    for losses, mean in (
        ([(Tensor(1.0), 4), (Tensor(1.0), 4), (Tensor(4.0), 2)], 1.6), ([(Tensor(3.0), 1)], 3.0),
        ([(Tensor(2.0), Tensor(3)), (Tensor(6.0), Tensor(1))], 3.0), ([(Tensor(math.nan), 0), (Tensor(5.0), 2)], 5.0),
        ([(Tensor(0.0), 2), (Tensor(3.0), 1)], 1.0),
    ):
        text = [(number.item(), float(many)) for number, many in losses]
        check.close(lambda: mean_loss(losses), mean, f"the mean of {text}", cause="sum of loss * count, divided by the sum of the counts; leave out counts of 0")
        check.true(lambda: type(mean_loss(losses)) is float, "the mean is a float", cause="loss.item(), and float(...)")
    tenth, third = float(np.float32(0.1)), float(np.float32(1 / 3))
    for few, many in ((3, 7), (Tensor(3), Tensor(7)), (np.int64(3), np.int64(7))):
        check.close(lambda: mean_loss([(Tensor(0.1), few), (Tensor(1 / 3), many)]) - tenth, 0.7 * (third - tenth), f"the mean of 0.1 and 1/3 over {few} and {many} targets, minus 0.1",
                    cause="compute with numbers, in double precision: .item() of losses and of counts", tolerance=1e-12)
        check.true(lambda: type(mean_loss([(Tensor(0.1), few), (Tensor(1 / 3), many)])) is float, f"the mean is a float, for {few} and {many} targets", cause="float(...)")
    for losses in ([(Tensor(math.nan), 2), (Tensor(1.0), 1)], [(Tensor(1.0), 0), (Tensor(1.0), Tensor(0))]):
        check.true(lambda: math.isnan(mean_loss(losses)), "the mean is NaN, of a diverged run or of no targets", cause="leave out by the count, not by the loss; math.nan without any target")
    check.raises(ValueError, lambda: mean_loss([]), "no losses", message="no batch", cause="raise a ValueError if the list is empty")

    def runner() -> Any:
        class Watched(EpochTrainer):
            groups: list[Any]
            def train_step(self, batches: Any) -> Tensor:
                batches = list(batches)
                self.groups = [*getattr(self, "groups", []), [len(y) for _, y in batches]]
                return super().train_step(batches)
        model = line()
        return Watched(model, SGD(model.parameters(), lr=0.0), MSELoss())

    x, y = examples(9)
    cuts = [(0, 1), (1, 4), (4, 5), (5, 7), (7, 9)]
    batches = [(x[i:j], y[i:j]) for i, j in cuts]
    errors = (x.numpy().astype(float) @ [[1.0], [-2.0], [0.5]]) + 0.25 - y.numpy()
    for size, groups in ((1, [[1], [3], [1], [2], [2]]), (2, [[1, 3], [1, 2], [2]]), (5, [[1, 3, 1, 2, 2]]), (7, [[1, 3, 1, 2, 2]])):
        trainer = check.call(runner, "a trainer", cause="TrainerBase is given")
        check.close(lambda: trainer.train_epoch(iter(batches), size), (errors**2).mean(), f"the mean loss of an epoch, {size} batches for each update",
                    cause="mean_loss of (loss, self._targets(batches)), of every update", tolerance=1e-4)
        check.equal(lambda: trainer.groups, groups, f"the sizes of the batches of each update, {size} at a time",
                    cause="start a new list after each update, and update once more with what is left")
    check.equal(lambda: (lambda t: (t.train_epoch(batches), t.step)[1])(runner()), 5, "the number of steps by default", cause="accumulation_steps=1: a step for each batch")
    check.equal(lambda: (lambda t: (t.train_epoch(batches), t.train_epoch(batches, 2), t.step)[2])(runner()), 8, "the number of steps after a second epoch, of three updates", cause="train_step counts them; do not start again")
    check.raises(ValueError, lambda: runner().train_epoch(batches, 0), "accumulation_steps=0", message="accumulation_steps", cause="check_integer comes first")
    check.raises(TypeError, lambda: runner().train_epoch(3), "a number instead of a loader", message="expected a list of batches", cause="for batch in checked_batches(loader)")
    check.raises(ValueError, lambda: runner().train_epoch([]), "an empty loader", message="no batch", cause="mean_loss raises it")

    class Spy(MSELoss):
        graphs: list[bool]
        def forward(self, prediction: Any, target: Any) -> Tensor:
            self.graphs = [*getattr(self, "graphs", []), prediction.requires_grad]
            return ((prediction - 3.0 * target) ** 2).mean()
        def count_targets(self, target: Any) -> int:
            return 1 + 3 * target.size  # no other count has these shares
    def judged() -> Any:
        manual_seed(1)
        model = Sequential(line(), Dropout(0.5))
        return EpochTrainer(model, SGD(model.parameters(), lr=1.0), Spy())
    squares = [((errors[i:j] - 2.0 * y.numpy()[i:j]) ** 2).mean() for i, j in cuts]
    shares = np.array([1 + 3 * (j - i) for i, j in cuts])
    trainer = check.call(judged, "a trainer of a network with dropout", cause="TrainerBase is given")
    for loader in (batches, iter(batches)):
        check.close(lambda: trainer.evaluate(loader), (squares * shares).sum() / shares.sum(), "the loss of an evaluation",
                    cause="with evaluating(): dropout is off; weight by targets: self._targets([(x, y)])", tolerance=1e-4)
    check.equal(lambda: set(trainer.loss_fn.graphs), {False}, "whether predictions have a graph", cause="keep @no_grad()")
    check.true(lambda: trainer.model.training, "the model is in training mode afterwards", cause="with evaluating(): ends by itself; do not call eval()")
    def modes(failing: bool) -> list[bool]:
        """Modes after an evaluation of a model in eval mode, whose first layer trains."""
        trainer = judged()
        trainer.model.eval()
        trainer.model[0].train()
        with contextlib.suppress(TypeError):
            trainer.evaluate([*batches, 3] if failing else batches)
        return [module.training for module in (trainer.model, *trainer.model)]
    for failing in (False, True):
        check.equal(lambda: modes(failing), [False, True, False], f"modes of a model in eval mode, of its training layer and its dropout, after an evaluation{' with an error' if failing else ''}",
                    cause="with evaluating(): leaves each module its own mode; eval() and train() do not")
    check.equal(lambda: (trainer.step, weights_and_bias(trainer.model[0])), (0, [1.0, -2.0, 0.5, 0.25]), "steps and weights after an evaluation", cause="evaluate changes nothing")
    def kept() -> Any:
        trainer = judged()
        trainer.accumulate(batches)
        before = slopes(trainer.model[0]), random_state()
        trainer.evaluate(batches)
        return before == (slopes(trainer.model[0]), random_state())
    check.true(kept, "gradients and random state are as before, after an evaluation", cause="evaluate changes nothing: no zero_grad, no seed")
    check.true(lambda: isinstance(trainer.evaluate(batches), float), "the loss is a float", cause="mean_loss")
    check.raises(TypeError, lambda: trainer.evaluate((x, y)), "a pair instead of a list of pairs", message="got a tensor", cause="for x, y in checked_batches(loader)")
    def in_eval_mode() -> Any:
        model = line().eval()
        return EpochTrainer(model, SGD(model.parameters(), lr=0.0), Spy())
    trainer = check.call(in_eval_mode, "a trainer of a model in eval mode", cause="TrainerBase is given")
    for size in (1, 2):
        check.close(lambda: trainer.train_epoch(batches, size), (squares * shares).sum() / shares.sum(), f"the mean loss of an epoch, {size} batches for each update, of a loss that counts targets in its own way",
                    cause="self._targets(batches) asks the loss; len(y) and y.size do not", tolerance=1e-4)
    check.true(lambda: not trainer.model.training, "a model in eval mode still is after an epoch", cause="do not call train(): the caller has chosen the mode")
# fmt: on

# %% [markdown]
# ## Overfitting, on two curves
#
# Twenty noisy points of a sine for training, 200 others for evaluation, and a network with far more
# weights than points. The noise alone has a mean square of 0.09: no network can be better than that
# on new points. Watch the two losses part.


# %%
def wave(count: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, (count, 1))
    y = np.sin(x) + 0.3 * rng.standard_normal((count, 1))
    return Tensor(x.astype(np.float32)), Tensor(y.astype(np.float32))


def tanh_network(width: int = 64) -> Sequential:
    return Sequential(Linear(1, width), Tanh(), Linear(width, width), Tanh(), Linear(width, 1))


few, fresh = wave(20, 0), wave(200, 1)
manual_seed(0)
model = tanh_network()
trainer = EpochTrainer(model, AdamW(model.parameters(), lr=0.01), MSELoss())
own, other, kept = [], [], {}
for epoch in range(800):
    trainer.train_epoch([few])
    own.append(trainer.evaluate([few]))
    other.append(trainer.evaluate([fresh]))
    if other[-1] == min(other):
        kept = {
            "epoch": epoch,
            "weights": {k: v.numpy().copy() for k, v in model.state_dict().items()},
        }
print(f"last epoch: training {own[-1]:.3f}, evaluation {other[-1]:.3f}")
print(
    f"best epoch, {kept['epoch']}: training {own[kept['epoch']]:.3f}, evaluation {min(other):.3f}"
)

across = np.linspace(-3, 3, 200, dtype=np.float32)[:, None]
with no_grad():
    last = model(Tensor(across)).numpy()
    model.load_state_dict(kept["weights"])
    best = model(Tensor(across)).numpy()
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4))
axes[0].plot(own, label="training, 20 points")
axes[0].plot(other, label="evaluation, 200 others")
axes[0].axvline(kept["epoch"], color="gray", linestyle=":")
axes[0].set(yscale="log", xlabel="epoch", ylabel="mean squared error")
axes[1].plot(few[0].numpy(), few[1].numpy(), "ko", markersize=4, label="the 20 points")
axes[1].plot(across, best, label="at the best epoch")
axes[1].plot(across, last, label="at the end")
for axis in axes:
    axis.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# The training loss keeps falling: only the other curve shows that the network now learns the noise.
# Keeping the weights of the best evaluation is called **early stopping**. Those 200 points have been
# used for a choice then, so a final score needs a third part (lesson 05).
#
# ## A run that diverges
#
# Four runs of the same network, watched at three places: the loss, the norm of all gradients (which
# clipping computes anyway), and the mean size of the last hidden layer's results.


# %%
def watched(rate: float, most: float = 1e9, schedule: Any = None) -> np.ndarray:
    """(steps, 3): loss, gradient norm, and mean size of the activations."""
    manual_seed(0)
    model = tanh_network()
    hidden = Sequential(*list(model)[:4])
    trainer = SteppingTrainer(model, SGD(model.parameters(), lr=rate), MSELoss(), schedule)
    rows = []
    for _ in range(60):
        loss = trainer.accumulate([fresh])
        norm = clip_grad_norm(trainer.parameters(), most)
        with no_grad():
            size = abs(hidden(fresh[0]).numpy()).mean()
        rows.append([loss.item(), norm.item(), size])
        if schedule is not None:
            schedule.apply(trainer.optimizers, len(rows) - 1)
        trainer.update()
    return np.array(rows)


runs = {
    "rate 0.15": watched(0.15),
    "rate 1": watched(1.0),
    "rate 1, norm at most 0.1": watched(1.0, most=0.1),
    "rate up to 0.2, with warm-up": watched(0.2, schedule=CosineSchedule(0.2, 0.0, 60, 20)),
}
figure, axes = plt.subplots(1, 3, figsize=(11, 3.2))
for name, rows in runs.items():
    for axis, column in zip(axes, rows.T, strict=True):
        axis.plot(column, label=name)
for axis, title in zip(axes, ("loss", "gradient norm", "size of activations"), strict=True):
    axis.set(title=title, xlabel="step")
axes[0].set_yscale("log")
axes[1].set_yscale("log")
axes[2].legend(fontsize=8)
figure.tight_layout()
plt.show()
for name, rows in runs.items():
    print(f"{name:26} last loss {rows[-1, 0]:8.3f}, largest norm {rows[:, 1].max():8.2f}")

# %% [markdown]
# Read such a picture from the right. **Activations** near 1 for tanh mean that the layer is
# saturated: its slope is 0 and it does not learn any more. The **norm** jumps before or with the
# loss: a value ten times its usual one is the moment to look at. The **loss** comes last, and once it
# is NaN, nothing that follows can be rescued: go back to a checkpoint, take a lower rate or clip.
#
# A rate of 0.15 is fine, and 0.2 is not, with or without warm-up: as in the example by hand there is
# a limit, set by the steepest direction. Warm-up helps where only the *first* steps are too steep.
#
# ## 8.8 Checkpoints
#
# To go on *bit for bit*, a run needs more than the weights:
#
# | | without it |
# |---|---|
# | the weights | it starts again |
# | the optimizers' averages | the first steps are wrong, the loss jumps |
# | the number of steps | the schedule warms up again |
# | the state of the random numbers | other dropout masks, other batches |
#
# In the file are named arrays, and metadata that JSON can hold. Names: `model/...`, `optimizer0/...`,
# `optimizer1/...`. When reading, everything is checked **before** anything is changed: a run must not
# end half loaded. The functions that read and check are given.

# %% given="8.8"
from tinytorch.training import _check_names

# %% exercise="8.8" points=3
from tinytorch.training import Trainer

# Trainer.save_checkpoint:
#   Call _check_names(metadata). The arrays: "model/..." for each entry of the model's state_dict, as
#   NumPy arrays. For optimizer number i, split_state of its state_dict returns its settings and its
#   arrays, which are named "optimizer{i}/...".
#   Into the metadata: "step", "optimizers" (the list of settings), "random" (random_state()).
#   checkpoint.save takes the path, the arrays and the metadata.
# Trainer.load_checkpoint:
#   checkpoint.load returns arrays and metadata; read_training_state(path, arrays, metadata, number of
#   optimizers) the optimizers' states, the step and the random state.
#   Check: each optimizer's read_state takes its state; read_random_state returns two things.
#   Only then load: the model (checkpoint.strip_prefix takes "model/" off the names), the optimizers,
#   the step; updating is False; random.set_generator takes the two things. Return the metadata.

# %% test="8.8" points=3
# fmt: off
with Exercise("8.8", "checkpoints") as check:
    x, y = examples(8)
    def dropping(seed: int, rate: float = 0.05, width: int = 5) -> Any:
        manual_seed(seed)
        model = Sequential(Linear(3, width), Tanh(), Dropout(0.3), Linear(width, 1))
        optimizers = [AdamW(list(model[0].parameters()), rate), SGD(list(model[3].parameters()), rate, momentum=0.9)]
        return Trainer(model, optimizers, MSELoss(), CosineSchedule(None, 0.0, 12, 3))
    def losses_of(trainer: Any, steps: int) -> list[str]:
        return [float(trainer.train_step([(x, y)]).item()).hex() for _ in range(steps)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.safetensors"
        def unchanged() -> Any:
            own = dropping(5)
            own.model[0].eval()
            own.train_step([(x, y)])
            own.accumulate([(x, y)])
            def state() -> Any:
                return random_state(), own.step, slopes(own.model[0]), [module.training for module in own.model.modules()]
            before = state()
            own.save_checkpoint(Path(folder) / "second.safetensors")
            return before == state()
        check.true(unchanged, "random state, step, gradients and modes are as before, after a checkpoint", cause="only read: draw no number, clear nothing")
        first = check.call(lambda: dropping(1), "a trainer", cause="TrainerBase is given")
        check.call(lambda: (losses_of(first, 4), first.save_checkpoint(path, note="half way")), "a checkpoint after four steps", cause="checkpoint.save takes the path, the arrays, the metadata")
        arrays, metadata = check.call(lambda: checkpoint.load(path), "the file's contents", cause="checkpoint.save writes both to path", count=2)
        check.equal(lambda: sorted(n for n in arrays if n.startswith("model/")), ["model/0.bias", "model/0.weight", "model/3.bias", "model/3.weight"],
                    "names of the model's arrays", cause='f"model/{name}" for each entry of state_dict')
        check.equal(lambda: sorted({n.split("/")[0] for n in arrays}), ["model", "optimizer0", "optimizer1"], "the first parts of all names", cause='f"optimizer{index}/{name}", from 0')
        check.equal(lambda: sorted(metadata), ["note", "optimizers", "random", "step"], "names in the metadata", cause="the caller's own, and three more")
        check.equal(lambda: (metadata["step"], metadata["note"], len(metadata["optimizers"])), (4, "half way", 2), "step, note and number of optimizers", cause="self.step; settings of each optimizer")
        later = check.call(lambda: losses_of(first, 4), "four more steps", cause="a checkpoint changes nothing in the run")
        second = check.call(lambda: dropping(2, rate=0.5), "another trainer", cause="TrainerBase is given")
        check.call(lambda: losses_of(second, 1), "a step of it", cause="train_step")
        def set_updating() -> None:
            second.updating = True
        check.call(set_updating, "an interrupted update", cause="updating is an attribute")
        check.equal(lambda: second.load_checkpoint(path), lambda: metadata, "what load_checkpoint returns", cause="return the metadata, all of it")
        check.equal(lambda: [o.lr for o in second.optimizers], lambda: [group["lr"] for settings in metadata["optimizers"] for group in settings["param_groups"]], "the rates of both optimizers after loading", cause="optimizer.load_state_dict has the settings too")
        check.equal(lambda: (second.step, second.updating), (4, False), "step and updating after loading", cause="the step of the file; no update is under way")
        check.equal(lambda: second.model[0].weight.numpy(), lambda: arrays["model/0.weight"], "the weights after loading", cause="load_state_dict(checkpoint.strip_prefix(arrays, 'model/'))")
        check.equal(lambda: losses_of(second, 4), later, "four steps after loading, bit for bit",
                    cause="weights, optimizers, step and random numbers must all be loaded")
        def numbers_after() -> list[float]:
            dropping(4).load_checkpoint(path)
            return random.generator().random(3).tolist()
        check.equal(numbers_after, lambda: checkpoint.restore_rng(metadata["random"]).random(3).tolist(), "random numbers after loading", cause="give both things from read_random_state to random.set_generator")
        check.raises(ValueError, lambda: first.save_checkpoint(path, step=3), "metadata named step", message="save_checkpoint writes", cause="_check_names(metadata)")
        def refused(width: int, kinds: list[Any], file: Path = path, more: bool = False) -> list[Any]:
            third = dropping(3, width=width)
            if more:
                third.model.append(Linear(1, 1))
            owners = (third.model[0], third.model[3])
            third.optimizers = [kind(owner.parameters()) for kind, owner in zip(kinds, owners, strict=False)]
            def whole() -> list[Any]:
                return [third.step, third.updating, random_state(), [p.tolist() for p in third.parameters()], [o.lr for o in third.optimizers]]
            third.updating = True
            before = whole()
            try:
                third.load_checkpoint(file)
            except ValueError:
                return [before == whole()]
            return ["no error"]
        momentum = partial(SGD, lr=0.1, momentum=0.9)
        for width, kinds, name in (
            (6, [AdamW, momentum], "another width"), (5, [AdamW], "one optimizer"),
            (5, [momentum, momentum], "another first optimizer"), (5, [AdamW, AdamW], "another second optimizer"),
        ):
            check.equal(lambda: refused(width, kinds), [True], f"a ValueError for a trainer with {name}, which is not changed",
                        cause="read and check everything first, each optimizer.read_state(state) too, then load")
        check.equal(lambda: refused(5, [AdamW, momentum], more=True), [True], "a ValueError for a model with one more layer, and nothing is changed",
                    cause="load the model first of all: if names are missing it refuses, and keeps its weights; leave it strict")
        damaged = Path(folder) / "damaged.safetensors"
        check.call(lambda: checkpoint.save(damaged, arrays, {**metadata, "random": {**metadata["random"], "masks": "no"}}), "a file with a damaged random state", cause="checkpoint.save is given")
        check.equal(lambda: refused(5, [AdamW, momentum], damaged), [True], "an error for a damaged random state, and nothing is changed", cause="read_random_state comes before anything is loaded")
        class Counting(Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = Parameter(np.float32([1.0]))
                self.register_buffer("seen", Tensor([5.0]))
        def buffered() -> list[float]:
            first, second = ((lambda m: Trainer(m, SGD(m.parameters(), lr=0.1), MSELoss()))(Counting()) for _ in range(2))
            second.model.seen = Tensor([0.0])
            first.save_checkpoint(Path(folder) / "buffers.safetensors")
            second.load_checkpoint(Path(folder) / "buffers.safetensors")
            return second.model.seen.tolist()
        check.equal(buffered, [5.0], "a buffer of the model, after loading", cause="model.state_dict() has parameters and buffers, named_parameters() the former alone")
# fmt: on

# %% [markdown]
# ## What it costs
#
# Where does the time of a step go? And what does accumulation save, what does it cost: one batch of
# 512 in 1, 4, 16 and 64 parts, with the same gradient each time?

# %%
import tracemalloc

from tinytorch.tito.measure import seconds

x, y = examples(512)
wide = Sequential(Linear(3, 256), Tanh(), Linear(256, 256), Tanh(), Linear(256, 1))
trainer = Trainer(wide, AdamW(wide.parameters()), MSELoss())
batch = [(x, y)]
costs = {
    "forward": seconds(lambda: trainer.loss_fn(wide(x), y)),
    "forward and backward": seconds(lambda: (trainer.accumulate(batch), trainer.zero_grad())),
    "a whole step": seconds(lambda: trainer.train_step(batch)),
}
trainer.accumulate(batch)  # gradients, for clipping and update
costs["clipping"] = seconds(lambda: clip_grad_norm(wide.parameters(), 1.0))
costs["update"] = seconds(lambda: trainer.optimizers[0].step())
for name, time in costs.items():
    print(f"{name:20} {1e6 * time:8.0f} µs")

print("parts       time   memory at the peak")
for parts in (1, 4, 16, 64):
    n = 512 // parts
    batches = [(x[i : i + n], y[i : i + n]) for i in range(0, 512, n)]
    time = seconds(lambda batches=batches: trainer.train_step(batches))
    tracemalloc.start()
    trainer.train_step(batches)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"{parts:5} {1e3 * time:7.2f} ms {peak / 2**20:10.2f} MiB")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "run.safetensors"
    saving = seconds(lambda: trainer.save_checkpoint(path))
    weights = sum(p.size * 4 for p in wide.parameters())
    print(
        f"checkpoint: {path.stat().st_size / weights:.2f} times the weights, {1e3 * saving:.1f} ms"
    )

# %% [markdown]
# Clipping and the update are small beside the backward pass. The memory of the activations falls
# with the parts, until what remains is that of weights and gradients. Time rises slowly at first:
# small products use the processor badly, and every part pays for the calls of Python. A
# checkpoint with AdamW is three times the weights, as its two averages are as large as they are.

# %% [markdown]
# ## Questions to think about
#
# 1. In the example by hand, which rate reaches the minimum in one step? Why is there none for two
#    weights whose curvatures are 5 and 50?
# 2. A colleague accumulates 4 batches, and divides the loss by 4 each time. When is that not the
#    gradient of the large batch?
# 3. Why is clipping done after accumulation, and not for each part?
# 4. A run continues from its weights only. Which three things in the loss curve could you see?
# 5. Your training loss is 0.01, the evaluation 0.5. What do you try? And if both are 0.5?
# 6. The gradient norm is exactly your maximum, in every step. What does that say about the rate?

# %% [markdown] instructor=true
# ### Answers, for the instructor
#
# 1. 0.2, since the distance is multiplied by 1 - 5 · rate = 0. With curvatures 5 and 50 a rate above
#    2 / 50 = 0.04 diverges in the steep direction, and below it the flat one is slow.
# 2. When the batches have different numbers of targets: the last one of an epoch, or padded texts.
# 3. The norm of a sum is not the sum of norms: parts are noisier, would be clipped more often, and
#    the result would no longer equal that of the large batch.
# 4. A jump upwards at the restart (AdamW's averages are 0), a second warm-up (the schedule starts at
#    step 0), and another curve afterwards (other batches and dropout masks).
# 5. More data, dropout, weight decay, early stopping, a smaller network. If both are high, it
#    underfits: a larger network, a longer run, another rate; first look for a mistake in the data.
# 6. Every gradient is longer than the maximum and only its direction counts, so the step's length is
#    rate · maximum: the true size is hidden. Raise the maximum, or think of it as the rate.
#
# Rubric: 25 points for the exercises; 2 points for each question, 1 without the reason. Typical
# trouble: in 8.1 progress counted from step 0; in 8.3 one norm for each gradient; in 8.4 weight after
# backward; in 8.5 `len(y)` instead of `count_targets`; in 8.7 the last batches, and a mean of means.

# %% [markdown]
# ## In PyTorch
#
# | here | PyTorch |
# |---|---|
# | `CosineSchedule`, `LinearSchedule` | `torch.optim.lr_scheduler`: `SequentialLR` of `LinearLR` and `CosineAnnealingLR` |
# | `clip_grad_norm(parameters, 1.0)` | `torch.nn.utils.clip_grad_norm_` |
# | `trainer.train_step(batches)` | a loop of your own: forward, `backward()`, clip, `step()`, `zero_grad()` |
# | `trainer.evaluate(loader)` | `model.eval()`, `torch.no_grad()`, and `model.train()` afterwards |
# | `save_checkpoint` | `torch.save` of the `state_dict` of model, optimizer and scheduler, and random states |
#
# Sources: P. Goyal et al., *Accurate, Large Minibatch SGD* (2017), for warm-up; I. Loshchilov and F.
# Hutter, *SGDR* (2016), for the cosine; A. Hägele et al., *Scaling Laws and Compute-Optimal Training
# Beyond Fixed Training Durations* (2024), for the linear end; R. Pascanu et al., *On the difficulty of
# training recurrent neural networks* (2012), for clipping; L. Prechelt, *Early Stopping, But When?*
# (1998).
#
# Next: lesson 09 builds layers for images.
