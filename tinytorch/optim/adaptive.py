"""Adaptive optimizers that no lesson builds: RMSprop, Adagrad, Adadelta, Adamax."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ..backends.base import Array, Namespace
from ..ops.op import op
from ..optimizers import Optimizer
from ..tensor import Tensor


@op
def rmsprop_update(
    xp: Namespace,
    p: Array,
    g: Array,
    v: Array,
    *rest: Array,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
) -> Any:
    """The parameter and its state after one step.

    Args:
        v: running mean of the squared gradient.
        rest: the velocity, with `momentum`, and the running mean of the gradient, if `centered`.
    """
    g = g + weight_decay * p if weight_decay else g
    v = alpha * v + (1 - alpha) * (g * g)
    state, variance = [v], v
    means = [alpha * rest[-1] + (1 - alpha) * g] if centered else []
    for mean in means:
        variance = v - mean * mean
    direction = g / (xp.sqrt(variance) + eps)
    if momentum:
        direction = momentum * rest[0] + direction
        state.append(direction)
    return (p - lr * direction, *state, *means), ()


class RMSprop(Optimizer):
    """Steps divided by a running RMS of the gradient; with `centered`, by its standard deviation.

    Source: T. Hinton, "Neural Networks for Machine Learning" (2012), lecture 6e; A. Graves,
    "Generating Sequences With Recurrent Neural Networks" (2013), for `centered`.

    >>> from tinytorch import Linear
    >>> from tinytorch.optim import RMSprop
    >>> optimizer = RMSprop(Linear(2, 1).parameters(), lr=1e-3)
    """

    rule = rmsprop_update
    choices: ClassVar[dict[str, Any]] = {
        "capturable": False,
        "foreach": None,
        "differentiable": False,
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
        **choices: Any,
    ) -> None:
        super().__init__(
            params, lr=lr, momentum=momentum, alpha=alpha, eps=eps, centered=centered,
            weight_decay=weight_decay, maximize=maximize, **self.accept(choices),
        )  # fmt: skip

    def state_names_of(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        velocity = ("momentum_buffer",) if group["momentum"] else ()
        mean = ("grad_avg",) if group["centered"] else ()
        return ("square_avg", *velocity, *mean)


@op
def adagrad_update(
    xp: Namespace,
    p: Array,
    g: Array,
    total: Array,
    *,
    lr: float,
    lr_decay: float,
    weight_decay: float,
    eps: float,
    step: int,
) -> Any:
    """The parameter and the sum of its squared gradients after one step."""
    g = g + weight_decay * p if weight_decay else g
    rate = lr / (1 + (step - 1) * lr_decay)
    total = total + g * g
    return (p - rate * g / (xp.sqrt(total) + eps), total), ()


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients.

    Source: J. Duchi et al., "Adaptive Subgradient Methods" (2011).

    >>> from tinytorch import Linear
    >>> from tinytorch.optim import Adagrad
    >>> optimizer = Adagrad(Linear(2, 1).parameters(), lr=0.05)
    """

    rule = adagrad_update
    state_names = ("sum",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        **choices: Any,
    ) -> None:
        super().__init__(
            params, lr=lr, lr_decay=lr_decay, eps=eps, weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value, maximize=maximize,
            **self.accept(choices),
        )  # fmt: skip

    def initial_state(self, name: str, p: Tensor, group: Mapping[str, Any]) -> Array:
        zeros = super().initial_state(name, p, group)
        return zeros + float(group["initial_accumulator_value"])


@op
def adadelta_update(
    xp: Namespace,
    p: Array,
    g: Array,
    v: Array,
    d: Array,
    *,
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
) -> Any:
    """The parameter and the running means of its squared gradients and steps; algorithm 1."""
    g = g + weight_decay * p if weight_decay else g
    v = rho * v + (1 - rho) * (g * g)
    direction = xp.sqrt(d + eps) / xp.sqrt(v + eps) * g
    d = rho * d + (1 - rho) * (direction * direction)
    return (p - lr * direction, v, d), ()


class Adadelta(Optimizer):
    """Steps whose size follows that of the earlier steps, so that it has the parameter's unit.

    Source: M. Zeiler, "ADADELTA" (2012), algorithm 1.
    """

    rule = adadelta_update
    state_names = ("square_avg", "acc_delta")
    choices: ClassVar[dict[str, Any]] = RMSprop.choices

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **choices: Any,
    ) -> None:
        super().__init__(
            params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize,
            **self.accept(choices),
        )  # fmt: skip

    def check_settings(self, group: Mapping[str, Any]) -> None:
        if group["rho"] > 1:
            raise ValueError(f"rho must be in [0, 1], not {group['rho']}")


@op
def adamax_update(
    xp: Namespace,
    p: Array,
    g: Array,
    m: Array,
    u: Array,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    step: int,
) -> Any:
    """The parameter, its first moment and its infinity norm after one step; algorithm 2."""
    g = g + weight_decay * p if weight_decay else g
    m = betas[0] * m + (1 - betas[0]) * g
    u = xp.maximum(betas[1] * u, xp.abs(g) + eps)
    return (p - lr / (1 - betas[0] ** step) * m / u, m, u), ()


class Adamax(Optimizer):
    """Adam with the infinity norm instead of the second moment.

    Source: D. Kingma and J. Ba, "Adam" (2014), algorithm 2.
    """

    rule = adamax_update
    state_names = ("exp_avg", "exp_inf")
    choices: ClassVar[dict[str, Any]] = RMSprop.choices

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **choices: Any,
    ) -> None:
        super().__init__(
            params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize,
            **self.accept(choices),
        )  # fmt: skip

    def check_settings(self, group: Mapping[str, Any]) -> None:
        if not all(beta < 1 for beta in group["betas"]):
            raise ValueError(f"betas must be in [0, 1), not {group['betas']}")
