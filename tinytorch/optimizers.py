"""Lesson 07: optimizers. An update rule is a function of arrays; the class keeps its state.

A rule is an op without gradient: it computes the new parameter and state from one parameter, its
gradient and its state. The optimizer applies the rule to all parameters.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .autograd import wrap_array
from .backends.base import Array, Namespace
from .nn.module import Parameter
from .ops.op import Op, op
from .ops.update import update_tensors
from .tensor import Tensor


class Optimizer:
    """Base class of all optimizers.

    A subclass sets `rule`, the update rule, and `state_names`, the names of the arrays that the
    rule keeps for each parameter; these are initialised to zeros of the parameter's shape.

    Args:
        params: parameters, or groups of them, ``[{"params": [...], "lr": 0.1}, ...]``; a group
            may override any of the optimizer's settings.
        defaults: the settings, for groups that do not override them.

    Attributes:
        groups: the groups of parameters with their settings.
        state: index of a parameter -> its state by name.
        steps: number of steps taken.

    Raises:
        ValueError: no parameters, a parameter given twice, or a setting unknown or out of range.

    >>> from tinytorch import Optimizer, Parameter, Tensor
    >>> from tinytorch.ops.op import op
    >>> @op
    ... def sign_update(xp, p, g, m, *, lr, decay):
    ...     m = decay * m + (1 - decay) * g
    ...     return (p - lr * xp.sign(m), m), ()
    >>> class SignSGD(Optimizer):
    ...     rule = sign_update
    ...     state_names = ("m",)
    >>> weight = Parameter([1.0, 2.0])
    >>> (weight * weight).sum().backward()
    >>> SignSGD([weight], lr=0.5, decay=0.9).step()
    >>> weight.tolist()
    [0.5, 1.5]
    """

    rule: Op
    state_names: tuple[str, ...] = ()

    def __init__(self, params: Iterable[Any], **defaults: Any) -> None:
        given = list(params)
        groups = given if given and isinstance(given[0], dict) else [{"params": given}]
        self.groups: list[dict[str, Any]] = []
        for group in groups:
            unknown = set(group) - {"params"} - set(defaults)
            if unknown:
                raise ValueError(f"{type(self).__name__} has no setting {sorted(unknown)}")
            settings = {**defaults, **group, "params": list(group["params"])}
            settings["base_lr"] = settings["lr"]
            _check_setting(settings)
            self.groups.append(settings)
        self._check_parameters()
        self.state: dict[int, dict[str, Tensor]] = {}
        self.steps = 0

    def _check_parameters(self) -> None:
        if not self.parameters():
            raise ValueError(f"{type(self).__name__} got no parameters")
        for parameter in self.parameters():
            if not isinstance(parameter, Tensor):
                raise TypeError(f"a parameter must be a Tensor, not {type(parameter).__name__}")
        if len({id(p) for p in self.parameters()}) != len(self.parameters()):
            raise ValueError("a parameter is given twice")

    def parameters(self) -> list[Parameter]:
        """The parameters of all groups, in order."""
        return [p for group in self.groups for p in group["params"]]

    @property
    def lr(self) -> float:
        """The learning rate of the first group; assigning to it sets the rates of all groups."""
        rate: float = self.groups[0]["lr"]
        return rate

    @lr.setter
    def lr(self, value: float) -> None:
        for group in self.groups:
            group["lr"] = value

    def scale_lr(self, factor: float) -> None:
        """Set each group's learning rate to its initial value times `factor`."""
        for group in self.groups:
            group["lr"] = group["base_lr"] * factor

    def zero_grad(self) -> None:
        """Clear the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self.update(*self.next_step())
        self.steps += 1

    def next_step(self) -> list[float]:
        """The numbers of the next step: its own, from 1, and the learning rate of each group."""
        return [self.steps + 1, *(float(group["lr"]) for group in self.groups)]

    def update(self, step: Any, *rates: Any) -> None:
        """Update every parameter that has a gradient; does not count the step.

        Args:
            step: number of the step, from 1.
            rates: learning rate of each group.
        """
        if not hasattr(self, "rule"):
            raise TypeError(f"{type(self).__name__} has no update rule: set the attribute `rule`")
        start = 0
        for group, lr in zip(self.groups, rates, strict=True):
            rows = [
                (p, p.grad, *self._state_of(start + i, p, group))
                for i, p in enumerate(group["params"])
                if p.grad is not None
            ]
            update_tensors(self.rule, rows, **self.settings({**group, "lr": lr}, step))
            start += len(group["params"])

    def settings(self, group: dict[str, Any], step: Any) -> dict[str, Any]:
        """The rule's settings for the parameters of a group."""
        names = (name for name in group if name not in ("params", "base_lr"))
        return {name: _python_number(group[name]) for name in names}

    def state_names_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        """Names of the state arrays of a group's parameters."""
        return self.state_names

    def _state_of(self, index: int, p: Parameter, group: dict[str, Any]) -> list[Tensor]:
        """The state of a parameter, created as zeros of its shape if missing."""
        state = self.state.setdefault(index, {})
        for name in self.state_names_of(group):
            if name not in state:
                state[name] = wrap_array(Tensor, p.backend.xp.zeros_like(p._array), p.backend)
        return [state[name] for name in self.state_names_of(group)]

    def state_dict(self) -> dict[str, Any]:
        """Steps, learning rates, and the state of each parameter as NumPy arrays."""
        arrays = {
            f"{index}.{name}": value.numpy().copy()
            for index, state in self.state.items()
            for name, value in state.items()
        }
        rates = [float(group["lr"]) for group in self.groups]
        return {"steps": self.steps, "lr": rates, "arrays": arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            ValueError: it belongs to other parameters or another optimizer; nothing is changed
                then.
        """
        self.state, self.steps = self.read_state(state), state["steps"]
        for group, rate in zip(self.groups, state["lr"], strict=True):
            group["lr"] = rate

    def read_state(self, state: Mapping[str, Any]) -> dict[int, dict[str, Tensor]]:
        """The state of each parameter in a `state_dict`; raises ValueError if it does not match."""
        if len(state["lr"]) != len(self.groups):
            raise ValueError(
                f"the optimizer state has {len(state['lr'])} groups, not {len(self.groups)}"
            )
        parameters = self.parameters()
        read: dict[int, dict[str, Tensor]] = {}
        for key, array in state["arrays"].items():
            place, _, name = key.partition(".")
            index = int(place)
            if index >= len(parameters) or parameters[index].shape != np.shape(array):
                raise ValueError(f"the optimizer state {key} {np.shape(array)} fits no parameter")
            p = parameters[index]
            read.setdefault(index, {})[name] = Tensor(array, dtype=p.dtype, backend=p.backend)
        for names in map(set, read.values()):
            if names != set(self.state_names):
                raise ValueError(
                    f"{type(self).__name__} has the state {[*self.state_names]} per parameter, but"
                    f" this state dict has {sorted(names)}: it is another optimizer's"
                )
        return read


def _python_number(value: Any) -> Any:
    """NumPy scalars as Python numbers, which keep the dtype of the arrays that they meet."""
    if isinstance(value, tuple):
        return tuple(map(_python_number, value))
    return value.item() if isinstance(value, np.generic) else value


def _check_setting(settings: dict[str, Any]) -> None:
    for name in ("lr", "momentum", "weight_decay", "eps"):
        if name in settings and not settings[name] >= 0:
            raise ValueError(f"{name} must be 0 or more, not {settings[name]}")
    if not all(0 <= beta < 1 for beta in settings.get("betas", ())):
        raise ValueError(f"betas must be in [0, 1), not {settings['betas']}")


@op
def sgd_update(
    xp: Namespace,
    p: Array,
    g: Array,
    v: Array | None = None,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
) -> Any:
    """The parameter and its velocity after one step of gradient descent."""
    g = g + weight_decay * p if weight_decay else g
    if v is None:
        return (p - lr * g,), ()
    v = momentum * v + g
    return (p - lr * (g + momentum * v if nesterov else v), v), ()


class SGD(Optimizer):
    """Gradient descent with momentum, as in PyTorch: v = momentum v + g; p = p - lr v.

    Source: I. Sutskever et al., "On the importance of initialization and momentum" (2013).

    >>> from tinytorch import SGD, Linear, Tensor
    >>> layer = Linear(2, 1, bias=False)
    >>> optimizer = SGD(layer.parameters(), lr=0.1, momentum=0.9)
    >>> layer.weight.data = 1.0
    >>> layer(Tensor([[1.0, 2.0]])).sum().backward()
    >>> optimizer.step()
    >>> layer.weight
    Parameter([[0.9, 0.8]], requires_grad=True)
    """

    rule = sgd_update
    state_names = ("v",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if nesterov and not momentum:
            raise ValueError("nesterov needs a momentum")
        super().__init__(
            params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
        )

    def state_names_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        return self.state_names if group["momentum"] else ()


@op
def adam_update(
    xp: Namespace,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> Any:
    """The parameter and both moments after one step; equations in the order of algorithm 1."""
    if weight_decay and decoupled:
        p = p * (1 - lr * weight_decay)
    elif weight_decay:
        g = g + weight_decay * p
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * (g * g)
    m_hat = m / (1 - betas[0] ** step)
    v_hat = v / (1 - betas[1] ** step)
    return (p - lr * m_hat / (xp.sqrt(v_hat) + eps), m, v), ()


class Adam(Optimizer):
    """Adaptive moments: step sizes are normalised by a running RMS of the gradient.

    Source: D. Kingma and J. Ba, "Adam" (2014), algorithm 1.

    >>> from tinytorch import Adam, Linear
    >>> optimizer = Adam(Linear(2, 1).parameters(), lr=1e-3, betas=(0.9, 0.999))
    """

    rule = adam_update
    state_names = ("m", "v")
    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def settings(self, group: dict[str, Any], step: Any) -> dict[str, Any]:
        return {**super().settings(group, step), "decoupled": self.decoupled, "step": step}


class AdamW(Adam):
    """Adam with decoupled weight decay: it shrinks the parameters directly, not the gradient.

    Source: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization" (2017).

    >>> from tinytorch import AdamW, Linear
    >>> optimizer = AdamW(Linear(2, 1).parameters(), lr=1e-3, weight_decay=0.1)
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)


@op
def muon_update(
    xp: Namespace,
    p: Array,
    g: Array,
    m: Array,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> Any:
    """The matrix and its momentum after one step along the orthogonalised momentum."""
    m = momentum * m + (1 - momentum) * g
    direction = (1 - momentum) * g + momentum * m if nesterov else m
    rate = lr * math.sqrt(max(1.0, p.shape[-2] / p.shape[-1]))
    return (p * (1 - lr * weight_decay) - rate * orthogonalise(xp, direction), m), ()


def orthogonalise(xp: Namespace, G: Array, steps: int = 5) -> Array:
    """Approximate U V^T for G = U S V^T (..., M, N): all singular values become about 1.

    Newton-Schulz iteration with a quintic polynomial that is steep at 0 and near 1 elsewhere.

    Source: K. Jordan et al., "Muon" (2024), Newton-Schulz iteration.
    """
    tall = G.shape[-2] > G.shape[-1]
    X = xp.matrix_transpose(G) if tall else G  # (..., m, n) with m <= n
    X = X / (xp.sqrt(xp.sum(X * X, axis=(-2, -1), keepdims=True)) + 1e-7)
    for _ in range(steps):
        A = X @ xp.matrix_transpose(X)  # (..., m, m)
        X = 3.4445 * X + (-4.7750 * A + 2.0315 * (A @ A)) @ X
    return xp.matrix_transpose(X) if tall else X


class Muon(Optimizer):
    """Orthogonalised momentum: all directions of a weight matrix get updates of the same size.

    For weight matrices of hidden layers; use `AdamW` for embeddings, heads, norms and biases.

    Source: K. Jordan et al., "Muon" (2024); arguments as in PyTorch.

    >>> from tinytorch import Linear, Muon
    >>> optimizer = Muon([p for p in Linear(2, 3).parameters() if p.ndim == 2], lr=0.02)
    """

    rule = muon_update
    state_names = ("m",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
    ) -> None:
        super().__init__(
            params, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov
        )
        for p in self.parameters():
            if p.ndim != 2:
                raise ValueError(f"Muon updates matrices only; use AdamW for shape {p.shape}")
