"""Lesson 07: optimizers. Each update is a function of arrays; the class keeps its state.

The updates are ops without a gradient: a backend may offer a kernel for them, which then writes
to the parameter and the state in place.
"""

import math
from collections.abc import Hashable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .autograd import wrap_array
from .backends.base import Array, Namespace
from .nn.module import Parameter
from .ops.op import op
from .tensor import Tensor


class Optimizer:
    """Parameters, their settings and what the optimizer state_names of each.

    Args:
        params: parameters, or groups of them, ``[{"params": [...], "lr": 0.1}, ...]``, each of
            which may set its own of the optimizer's settings.
        defaults: the settings of groups that do not have their own.

    A subclass defines `update`, and names in `state_names` what its state of a parameter holds.
    """

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
        self._step: Any = 0  # the step that `update` is about

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
        """The learning rate of the first group; set, that of all groups."""
        rate: float = self.groups[0]["lr"]
        return rate

    @lr.setter
    def lr(self, value: float) -> None:
        for group in self.groups:
            group["lr"] = value

    def scale_lr(self, factor: float) -> None:
        """Each group's learning rate as it was given, times `factor`."""
        for group in self.groups:
            group["lr"] = group["base_lr"] * factor

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        backend = self.parameters()[0].backend
        self._step = backend.live(self._count)
        groups = [
            {**group, "lr": backend.live(partial(dict.__getitem__, group, "lr"))}
            for group in self.groups
        ]
        pairs = [(p, group) for group in groups for p in group["params"]]
        work = [
            (p, group, self.state.setdefault(index, {}))
            for index, (p, group) in enumerate(pairs)
            if p.grad is not None
        ]
        backend.for_each(lambda item: self.update(*item), work)

    def _count(self) -> int:
        """One more step."""
        self.steps += 1
        return self.steps

    def update(self, p: Parameter, group: dict[str, Any], state: dict[str, Tensor]) -> None:
        """Update one parameter and its state."""
        raise NotImplementedError

    def fixed(self) -> Hashable:
        """What a recording of its step relies on: where parameters and state are, and settings."""
        arrays = [p._array for p in self.parameters()]
        arrays += [t._array for state in self.state.values() for t in state.values()]
        settings = (
            (name, value)
            for group in self.groups
            for name, value in group.items()
            if name not in ("params", "lr")
        )
        return (*map(id, arrays), *settings)

    def state_dict(self) -> dict[str, Any]:
        """Steps, learning rates, and the state of each parameter as NumPy arrays."""
        arrays = {
            f"{index}.{name}": value.numpy().copy()
            for index, state in self.state.items()
            for name, value in state.items()
        }
        rates = [group["lr"] for group in self.groups]
        return {"steps": self.steps, "lr": rates, "arrays": arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: it belongs to other parameters or another optimizer; nothing was changed.
        """
        self.state, self.steps = self.read_state(state), state["steps"]
        for group, rate in zip(self.groups, state["lr"], strict=True):
            group["lr"] = rate

    def read_state(self, state: Mapping[str, Any]) -> dict[int, dict[str, Tensor]]:
        """What a `state_dict` holds of each parameter; raises ValueError if it is another's."""
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
                    f"{type(self).__name__} state_names {[*self.state_names]} of a parameter, this"
                    f" state {sorted(names)}: it is another optimizer's"
                )
        return read


def _check_setting(settings: dict[str, Any]) -> None:
    for name in ("lr", "momentum", "weight_decay", "eps"):
        if name in settings and not settings[name] >= 0:
            raise ValueError(f"{name} is 0 or more, not {settings[name]}")
    if not all(0 <= beta < 1 for beta in settings.get("betas", ())):
        raise ValueError(f"betas lie in [0, 1), not {settings['betas']}")


def _remembered(state: dict[str, Tensor], name: str, p: Parameter) -> Tensor:
    """That part of the state, zeros of the parameter's shape at first."""
    if name not in state:
        state[name] = wrap_array(Tensor, p.backend.xp.zeros_like(p._array), p.backend)
    return state[name]


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
    if not momentum:
        return (p - lr * g,), ()
    v = xp.asarray(g, copy=True) if v is None else momentum * v + g
    return (p - lr * (g + momentum * v if nesterov else v), v), ()


class SGD(Optimizer):
    """Gradient descent with momentum, as in PyTorch: v = momentum v + g; p = p - lr v.

    Source: I. Sutskever et al., "On the importance of initialization and momentum" (2013).

    >>> SGD(model.parameters(), lr=0.1, momentum=0.9)
    """

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

    def update(self, p: Parameter, group: dict[str, Any], state: dict[str, Tensor]) -> None:
        inputs = (p, p.grad, state["v"]) if "v" in state else (p, p.grad)
        new, *velocity = sgd_update(*inputs, **_settings(group))
        p.replace(new._array)
        if velocity:
            state["v"] = velocity[0]


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
    """The parameter and both moments after one step; equations of algorithm 1, in its order."""
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
    """Steps in units of the gradient's recent size.

    Source: D. Kingma and J. Ba, "Adam" (2014), algorithm 1.

    >>> Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.999))
    """

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

    def update(self, p: Parameter, group: dict[str, Any], state: dict[str, Tensor]) -> None:
        m, v = _remembered(state, "m", p), _remembered(state, "v", p)
        new, state["m"], state["v"] = adam_update(
            p, p.grad, m, v, decoupled=self.decoupled, step=self._step, **_settings(group)
        )
        p.replace(new._array)


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters directly, apart from the gradient.

    Source: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization" (2017).

    >>> AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
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
    """The matrix and its momentum after one step along the nearest orthogonal matrix."""
    m = momentum * m + (1 - momentum) * g
    direction = (1 - momentum) * g + momentum * m if nesterov else m
    rate = lr * math.sqrt(max(1.0, p.shape[-2] / p.shape[-1]))
    return (p * (1 - lr * weight_decay) - rate * orthogonalise(xp, direction), m), ()


def orthogonalise(xp: Namespace, G: Array, steps: int = 5) -> Array:
    """Nearly U V^T, for G = U S V^T (..., M, N): its singular values go to about 1.

    Five steps of a quintic polynomial, whose coefficients rise fast at 0 and stay near 1 after.

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
    """Momentum made orthogonal: every direction of a weight matrix learns at the same pace.

    For matrices within a network; embeddings, heads, norms and biases go to `AdamW`.

    Source: K. Jordan et al., "Muon" (2024); arguments as in PyTorch.

    >>> Muon([p for p in model.blocks.parameters() if p.ndim == 2], lr=0.02)
    """

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
                raise ValueError(f"Muon is for matrices; shape {p.shape} goes to AdamW")

    def update(self, p: Parameter, group: dict[str, Any], state: dict[str, Tensor]) -> None:
        m = _remembered(state, "m", p)
        new, state["m"] = muon_update(p, p.grad, m, **_settings(group))
        p.replace(new._array)


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in group.items() if k not in ("params", "base_lr")}
