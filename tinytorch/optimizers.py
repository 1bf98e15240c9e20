"""Lesson 07: optimizers. An update rule is a function of arrays; the class keeps its state.

A rule is an op without gradient: it computes the new parameter and state from one parameter, its
gradient and its state. The optimizer applies the rule to all parameters.
"""

import inspect
import itertools
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .arguments import check_like, check_number, check_type, python_number
from .autograd import wrap_array
from .backends.base import Array, Namespace
from .modules.module import Parameter
from .ops.op import Op, op
from .ops.update import update_tensors
from .serialization.optimizer_state import OptimizerState, read_state
from .tensor import Tensor


class Optimizer:
    """Base class of all optimizers.

    A subclass sets `rule`, the update rule, and `state_names`, the names of the arrays that the
    rule keeps for each parameter; these are initialised to zeros of the parameter's shape.

    Args:
        params: parameters, or groups of them, ``[{"params": [...], "lr": 0.1}, ...]``; a group
            may override any of the optimizer's settings. Parameters that do not require gradients
            are skipped until they do.
        defaults: the settings, for groups that do not override them. Each has the type of its
            default value in the signature of the subclass, and numbers are 0 or more.

    Attributes:
        groups: the groups of parameters with their settings.
        state: index of a parameter -> its state by name.
        steps: number of steps taken.
        missed: index of a parameter -> number of steps in which it had no gradient, if any. Its
            number of updates, used by Adam's bias correction, is ``steps`` minus this.

    Raises:
        TypeError: `params` is not an iterable of tensors or of groups.
        ValueError: no parameters, a parameter given twice or computed by an op, or a setting
            unknown or out of range.

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
        name = type(self).__name__
        signature = inspect.signature(type(self)).parameters
        examples = {n: signature[n].default if n in signature else v for n, v in defaults.items()}
        self.groups: list[dict[str, Any]] = []
        for group in parameter_groups(name, params):
            unknown = set(group) - {"params"} - set(defaults)
            if unknown:
                raise ValueError(f"{name} has no setting {sorted(unknown)}")
            settings = {**defaults, **group}
            if "lr" not in settings:
                raise TypeError(f"{name} needs the setting lr")
            own = settings.pop("params")
            settings = {
                key: check_like(f"{name}: {key}", value, examples[key])
                for key, value in settings.items()
            }
            rate = check_number(f"{name}: lr", settings["lr"])
            self.groups.append({**settings, "params": own, "lr": rate, "base_lr": rate})
            self.check_settings(self.groups[-1])
        self._check_parameters()
        self.state: dict[int, dict[str, Tensor]] = {}
        self.steps = 0
        self.missed: dict[int, int] = {}

    def _check_parameters(self) -> None:
        name = type(self).__name__
        if not self.parameters():
            raise ValueError(f"{name} got no parameters")
        for parameter in self.parameters():
            check_type(f"{name}: a parameter", parameter, Tensor, "a Tensor")
            if parameter._node is not None:
                raise ValueError(
                    f"{name} got a tensor of shape {parameter.shape} that was computed from others:"
                    " updates of it would have no effect; pass the tensors that it depends on"
                )
        if len({id(p) for p in self.parameters()}) != len(self.parameters()):
            raise ValueError(f"{name}: a parameter is given twice")

    def check_settings(self, group: Mapping[str, Any]) -> None:
        """Raise ValueError if settings of a group, whose types are right, are out of range."""

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
        value = check_number("lr", value)
        for group in self.groups:
            group["lr"] = value

    def scale_lr(self, factor: float) -> None:
        """Set each group's learning rate to its initial value times `factor`."""
        for group in self.groups:
            group["lr"] = group["base_lr"] * factor

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients of all parameters to None, or to zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.zero_grad()
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self.count_step(self.update(*self.next_step()))

    def next_step(self) -> list[float]:
        """The numbers of the next step: its own, from 1, and the learning rate of each group."""
        return [self.steps + 1, *(float(group["lr"]) for group in self.groups)]

    def count_step(self, updated: Collection[int]) -> None:
        """Count a step that has updated the parameters with these indices."""
        self.steps += 1
        if len(updated) < len(self.parameters()):
            for index in set(range(len(self.parameters()))).difference(updated):
                self.missed[index] = self.missed.get(index, 0) + 1

    def update(self, step: Any, *rates: Any) -> list[int]:
        """Update every parameter that has a gradient; does not count the step.

        Args:
            step: number of the step, from 1.
            rates: learning rate of each group.

        Returns:
            the indices of the updated parameters.
        """
        if not hasattr(self, "rule"):
            raise TypeError(f"{type(self).__name__} has no update rule: set the attribute `rule`")
        updated: list[int] = []
        index = itertools.count()
        for group, lr in zip(self.groups, rates, strict=True):
            by_missed: dict[int, list[Any]] = {}  # rows with the same number of earlier updates
            for p, i in zip(group["params"], index, strict=False):
                if p.grad is not None:
                    rows = by_missed.setdefault(self.missed.get(i, 0), [])
                    rows.append((p, p.grad, *self._state_of(i, p, group)))
                    updated.append(i)
            for missed, rows in by_missed.items():
                own_step = step - missed if missed else step
                update_tensors(self.rule, rows, **self.settings({**group, "lr": lr}, own_step))
        return updated

    def settings(self, group: dict[str, Any], step: Any) -> dict[str, Any]:
        """The rule's settings for the parameters of a group."""
        names = (name for name in group if name not in ("params", "base_lr"))
        return {name: python_number(group[name]) for name in names}

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
        """Counts of steps, settings of each group, and the state of each parameter.

        Returns:
            a dict with "steps", "missed", "lr" and "groups", which JSON can represent, and
            "arrays", NumPy arrays by the parameter's index and the name of the state ("0.m").
        """
        arrays = {
            f"{index}.{name}": value.numpy().copy()
            for index, state in self.state.items()
            for name, value in state.items()
        }
        groups = [_saved_settings(group) for group in self.groups]
        rates = [float(group["lr"]) for group in self.groups]
        missed = {str(index): count for index, count in self.missed.items()}
        return {"steps": self.steps, "missed": missed, "lr": rates, "groups": groups,
                "arrays": arrays}  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`, with its settings, as in PyTorch.

        State from before the settings of groups were saved leaves all but the learning rate as they
        are. `Adam` and `AdamW` load each other's state.

        Raises:
            ValueError: it belongs to other parameters or another optimizer, or it is damaged;
                nothing is changed then.
        """
        read = self.read_state(state)
        parameters = self.parameters()
        self.state = {
            index: {
                name: Tensor(a, dtype=parameters[index].dtype, backend=parameters[index].backend)
                for name, a in arrays.items()
            }
            for index, arrays in read.arrays.items()
        }
        self.steps, self.missed = read.steps, read.missed
        for group, settings in zip(self.groups, read.groups, strict=True):
            group.update(settings)

    def read_state(self, state: Mapping[str, Any]) -> OptimizerState:
        """Convert and check a `state_dict`; raises ValueError if it does not match."""
        groups = [_saved_settings(group) for group in self.groups]
        shapes = [p.shape for p in self.parameters()]
        try:
            read = read_state(state, groups, shapes, self.state_names)
            for own, group in zip(self.groups, read.groups, strict=True):
                self.check_settings({**own, **group})
            return read
        except (TypeError, ValueError) as error:
            raise ValueError(f"{type(self).__name__} cannot load this state: {error}") from None


def _saved_settings(group: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that JSON can represent; others, such as functions, are not saved."""
    plain = (int, float, str, bool, type(None))
    values = {name: python_number(group[name]) for name in sorted(group) if name != "params"}
    return {
        name: value
        for name, value in values.items()
        if all(isinstance(v, plain) for v in (value if isinstance(value, tuple) else (value,)))
    }


def parameter_groups(name: str, params: Any) -> list[dict[str, Any]]:
    """Parameter groups, each with a list of parameters.

    Raises:
        TypeError: `params` is not an iterable of tensors or of groups.
    """
    given = [params] if isinstance(params, Mapping) else _list_of(name, params)
    grouped = [isinstance(item, Mapping) for item in given]
    if any(grouped) and not all(grouped):
        raise TypeError(f"{name} takes either parameters or groups (dicts), not both")
    groups = given if any(grouped) else [{"params": given}]
    for group in groups:
        if "params" not in group:
            raise ValueError(f'{name}: a group needs the key "params", got {sorted(group)}')
    one = (g["params"] for g in groups)
    lists = [[p] if isinstance(p, Tensor) else _list_of(name, p) for p in one]
    return [{**g, "params": own} for g, own in zip(groups, lists, strict=True)]


def _list_of(name: str, params: Any) -> list[Any]:
    if isinstance(params, Tensor):
        raise TypeError(f"{name} takes a list of parameters, not one Tensor: put it in a list")
    if isinstance(params, set | frozenset):
        raise TypeError(f"{name} needs parameters in order, not in a set: its state is by index")
    try:
        if isinstance(params, str):
            raise TypeError
        return list(params)
    except TypeError:
        raise TypeError(
            f"{name} takes a list of parameters, as of model.parameters(), not"
            f" {type(params).__name__}"
        ) from None


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

    Pass `weight_decay` and `nesterov` by name: PyTorch has a `dampening` before them.

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
        super().__init__(
            params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
        )

    def check_settings(self, group: Mapping[str, Any]) -> None:
        if group["nesterov"] and not group["momentum"]:
            raise ValueError("nesterov needs a momentum")

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

    def check_settings(self, group: Mapping[str, Any]) -> None:
        if not all(beta < 1 for beta in group["betas"]):
            raise ValueError(f"betas must be in [0, 1), not {group['betas']}")

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
    rate = lr * math.sqrt(max(1.0, p.shape[-2] / max(1, p.shape[-1])))
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
