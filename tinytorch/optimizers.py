"""Lesson 07: optimizers. An update rule is a function of arrays; the class keeps its state.

A rule is an op without gradient: it computes the new parameter and state from one parameter, its
gradient and its state. The optimizer applies the rule to all parameters.
"""

import copy
import difflib
import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from .arguments import check_like, check_number, check_type, python_number
from .autograd import enable_grad, wrap_array
from .backends.base import Array, Namespace
from .modules.module import Parameter
from .ops.op import Op, op
from .ops.update import update_tensors
from .serialization.optimizer_state import OptimizerState, read_state
from .tensor import Tensor


class OptimizerBase:
    """Parameter groups, settings and state of an optimizer, for `Optimizer`."""

    rule: Op
    state_names: tuple[str, ...] = ()
    saves_step = True  # whether a state_dict has the number of updates, as PyTorch's has
    choices: ClassVar[dict[str, Any]] = {"foreach": None, "differentiable": False, "fused": None}

    def __init__(
        self, params: Iterable[Any], defaults: Mapping[str, Any] | None = None, **settings: Any
    ) -> None:
        self.defaults: dict[str, Any] = {**(defaults or {}), **settings}
        self._examples: dict[str, Any] | None = None  # setting -> a value of its type
        if defaults is None:
            signature = inspect.signature(type(self)).parameters
            self._examples = {
                name: signature[name].default if name in signature else value
                for name, value in settings.items()
            }
        self.param_groups: list[dict[str, Any]] = []
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.steps = 0
        self.missed: dict[int, int] = {}
        for group in parameter_groups(type(self).__name__, params):
            self.add_param_group(group)
        if not self.parameters():
            raise ValueError(f"{type(self).__name__} got no parameters")

    def accept(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        """PyTorch's choices among its implementations, which have no effect here.

        Raises:
            TypeError: other arguments.
        """
        name = type(self).__name__
        for key in choices:
            if key not in self.choices:
                known = [*inspect.signature(type(self)).parameters, *self.choices]
                near = difflib.get_close_matches(key, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise TypeError(f"{name} got an unexpected argument {key!r}{hint}")
        if choices.get("differentiable"):
            raise ValueError(f"{name} has no gradient: leave out differentiable=True")
        return {**self.choices, **choices}

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group of parameters, such as ``{"params": layer.parameters(), "lr": 0.1}``.

        Settings that the optimizer does not have are kept in the group, as in PyTorch, unless they
        look like misspelled ones.
        """
        name = type(self).__name__
        check_type(f"{name}: a group", param_group, Mapping, "a dict")
        (group,) = parameter_groups(name, [param_group])
        for key in set(group) - {"params", "param_names"} - set(self.defaults):
            if near := difflib.get_close_matches(str(key), self.defaults, 1, 0.85):
                raise ValueError(f"{name} has no setting {key!r}; did you mean {near[0]!r}?")
        parameters = group["params"]
        settings = {**group, **{k: v for k, v in self.defaults.items() if k not in group}}
        if self._examples is not None:
            if "lr" not in settings:
                raise TypeError(f"{name} needs the setting lr")
            for key in self._examples:
                settings[key] = check_like(f"{name}: {key}", settings[key], self._examples[key])
            settings["lr"] = check_number(f"{name}: lr", settings["lr"])
            self.check_settings(settings)
        self._check_parameters(name, parameters)
        self.param_groups.append(settings)

    def _check_parameters(self, name: str, parameters: list[Any]) -> None:
        present = {id(p) for p in self.parameters()}
        for parameter in parameters:
            check_type(f"{name}: a parameter", parameter, Tensor, "a Tensor")
            if parameter._node is not None:
                raise ValueError(
                    f"{name} got a tensor of shape {parameter.shape} that was computed from others:"
                    " updates of it would have no effect; pass the tensors that it depends on"
                )
            if id(parameter) in present:
                raise ValueError(f"{name}: a parameter is given twice")
            present.add(id(parameter))

    def check_settings(self, group: Mapping[str, Any]) -> None:
        """Raise ValueError if settings of a group, whose types are right, are out of range."""

    def parameters(self) -> list[Parameter]:
        """The parameters of all groups, in order."""
        return [p for group in self.param_groups for p in group["params"]]

    @property
    def groups(self) -> list[dict[str, Any]]:
        """Another name of `param_groups`."""
        return self.param_groups

    @property
    def lr(self) -> float:
        """The learning rate of the first group; assigning to it sets the rates of all groups."""
        rate: float = self.param_groups[0]["lr"]
        return rate

    @lr.setter
    def lr(self, value: float) -> None:
        value = check_number("lr", value)
        for group in self.param_groups:
            group["lr"] = value

    def scale_lr(self, factor: float) -> None:
        """Set each group's learning rate to its initial value times `factor`.

        The initial value is that of the first call, as for the schedulers of PyTorch.
        """
        for group in self.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def next_step(self) -> list[float]:
        """The numbers of the next step: its own, from 1, and the learning rate of each group."""
        return [self.steps + 1, *(float(group["lr"]) for group in self.param_groups)]

    def update(self, step: Any, *rates: Any) -> list[int]:
        """Update every parameter that has a gradient; does not count the step.

        Args:
            step: number of the step, from 1.
            rates: learning rate of each group.

        Returns:
            the indices of the updated parameters.
        """
        if not hasattr(self, "rule"):
            raise TypeError(
                f"{type(self).__name__} has no update rule: set the attribute `rule`, or override"
                " step()"
            )
        updated: list[int] = []
        first = 0
        for group, lr in zip(self.param_groups, rates, strict=True):
            updated += self.update_group(group, first, step, lr)
            first += len(group["params"])
        return updated

    def update_group(self, group: dict[str, Any], first: int, step: Any, lr: Any) -> list[int]:
        """Update the parameters of a group; see `OptimizerSteps`."""
        raise NotImplementedError

    def rule_of(self, group: Mapping[str, Any]) -> Op:
        """The update rule for the parameters of a group."""
        return self.rule

    def settings(self, group: dict[str, Any], step: Any) -> dict[str, Any]:
        """The rule's settings for the parameters of a group."""
        values = {**group, "step": step}
        names = self.rule_of(group).settings
        return {name: python_number(values[name]) for name in names if name in values}

    def state_names_of(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the state arrays of a group's parameters."""
        return self.state_names

    def initial_state(self, name: str, p: Tensor, group: Mapping[str, Any]) -> Array:
        """A state array of a parameter before its first update."""
        return p.backend.xp.zeros_like(p._array)

    def _state_of(self, index: int, p: Parameter, group: dict[str, Any]) -> list[Tensor]:
        """The state of a parameter, which is created if it is missing."""
        names = self.state_names_of(group)
        if not names:
            return []
        state = self.state[p]
        for name in names:
            if name not in state:
                array = self.initial_state(name, p, group)
                state[name] = wrap_array(Tensor, array, p.backend)
                if self.steps:
                    self.missed[index] = self.steps  # updates are counted from here
        return [state[name] for name in names]

    def state_dict(self) -> dict[str, Any]:
        """The settings of each group and the state of each parameter, as in PyTorch.

        Returns:
            ``{"state": {0: {"step": ..., "exp_avg": ...}, ...}, "param_groups": [...]}``, where
            parameters are numbered through all groups, and tensors are copies.
        """
        parameters = self.parameters()
        numbers = {id(p): i for i, p in enumerate(parameters)}
        state: dict[int, dict[str, Any]] = {}
        for p in parameters:
            if values := self.state.get(p):
                i = numbers[id(p)]
                count = float(self.steps - self.missed.get(i, 0))
                with_step = hasattr(self, "rule") and self.saves_step
                state[i] = {"step": Tensor(count, backend="numpy")} if with_step else {}
                state[i] |= {name: _copy(value) for name, value in values.items()}
        groups = [
            {**settings, "params": [numbers[id(p)] for p in group["params"]]}
            for settings, group in zip(self._settings(), self.param_groups, strict=True)
        ]
        return {"state": state, "param_groups": groups}

    def _settings(self) -> list[dict[str, Any]]:
        """The settings of each group."""
        return [
            {name: value for name, value in group.items() if name != "params"}
            for group in self.param_groups
        ]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`, with its settings, as in PyTorch.

        States that older versions saved, and those of PyTorch's optimizers, can be loaded. `Adam`
        and `AdamW` load each other's state.

        Raises:
            ValueError: it belongs to other parameters or another optimizer, or it is damaged;
                nothing is changed then.
        """
        read = self.read_state(state)
        parameters = self.parameters()
        self.state.clear()
        for index, values in read.values.items():
            p = parameters[index]
            dtype = p.dtype if hasattr(self, "rule") else None
            for name, value in values.items():
                is_array = isinstance(value, np.ndarray)
                new = Tensor(value, dtype=dtype, backend=p.backend) if is_array else _copy(value)
                self.state[p][name] = new
        self.steps, self.missed = read.steps, read.missed
        for group, settings in zip(self.param_groups, read.groups, strict=True):
            group.update(settings)

    def read_state(self, state: Mapping[str, Any]) -> OptimizerState:
        """Convert and check a `state_dict`; raises ValueError if it does not match."""
        groups = self._settings()
        shapes = [[p.shape for p in group["params"]] for group in self.param_groups]
        has_rule = hasattr(self, "rule")
        try:
            read = read_state(
                state,
                groups,
                self.defaults,
                shapes,
                self.state_names_of if has_rule else None,
                self.rule.name if has_rule else "",
            )
            for own, group in zip(groups, read.groups, strict=True):
                self.check_settings({**own, **group})
            return read
        except (TypeError, ValueError) as error:
            raise ValueError(f"{type(self).__name__} cannot load this state: {error}") from None

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


class OptimizerSteps(OptimizerBase):
    """The steps of an optimizer, for `Optimizer`."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients of all parameters to None, or to zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.zero_grad()
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the gradients and returns the loss, which is then the result.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self.count_step(self.update(*self.next_step()))
        return loss

    def count_step(self, updated: Collection[int]) -> None:
        """Count a step that has updated the parameters with these indices."""
        self.steps += 1
        if len(updated) < len(self.parameters()):
            for index in set(range(len(self.parameters()))).difference(updated):
                self.missed[index] = self.missed.get(index, 0) + 1

    def update_group(self, group: dict[str, Any], first: int, step: Any, lr: Any) -> list[int]:
        """Update every parameter of a group that has a gradient.

        Args:
            group: one of `param_groups`.
            first: index of its first parameter; parameters are numbered through all groups.
            step: number of the step, from 1.
            lr: learning rate of the group.

        Returns:
            the indices of the updated parameters.
        """
        updated: list[int] = []
        by_missed: dict[int, list[Any]] = {}  # rows with the same number of earlier updates
        for i, p in enumerate(group["params"], first):
            if p.grad is not None:
                gradient = -p.grad if group.get("maximize") else p.grad
                row = p, gradient, *self._state_of(i, p, group)
                by_missed.setdefault(self.missed.get(i, 0), []).append(row)
                updated.append(i)
        for missed, rows in by_missed.items():
            settings = self.settings({**group, "lr": lr}, step - missed if missed else step)
            update_tensors(self.rule_of(group), rows, **settings)
        return updated


class Optimizer(OptimizerSteps):
    """Base class of all optimizers.

    A subclass sets `rule`, the update rule, and `state_names`, the names of the arrays that the
    rule keeps for each parameter; these are initialised to zeros of the parameter's shape. The
    settings in the signature of the rule are passed to it. Instead, as in PyTorch, a subclass may
    override `step`, and keep values in `state`.

    Args:
        params: parameters, also as pairs with their names, or groups of them,
            ``[{"params": [...], "lr": 0.1}, ...]``; a group may override any of the optimizer's
            settings. Parameters that do not require gradients are skipped until they do.
        defaults: the settings, for groups that do not override them. Each has the type of its
            default value in the signature of the subclass, and numbers are 0 or more.
            ``Optimizer(params, {"lr": 0.1})`` is PyTorch's form, for any values.

    Attributes:
        param_groups: the groups of parameters with their settings, which may be changed.
        state: parameter -> its state by name.
        defaults: the settings of groups that do not override them.
        steps: number of steps taken.
        missed: index of a parameter -> number of steps in which it had no gradient, if any. Its
            number of updates, used by Adam's bias correction, is ``steps`` minus this.

    Raises:
        TypeError: `params` is not an iterable of tensors or of groups.
        ValueError: no parameters, a parameter given twice or computed by an op, or a setting
            misspelled or out of range.

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


def _copy(value: Any) -> Any:
    """A copy of a value in an optimizer's state."""
    return value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)


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
    return [{**group, **_named(name, group["params"])} for group in groups]


def _named(name: str, params: Any) -> dict[str, list[Any]]:
    """The parameters of a group as a list, and their names if it has pairs of both."""
    items = [params] if isinstance(params, Tensor) else _list_of(name, params)
    pairs = [p for p in items if isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str)]
    if not pairs or len(pairs) < len(items):
        return {"params": items}
    return {"params": [p for _, p in pairs], "param_names": [n for n, _ in pairs]}


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


def descend(p: Array, direction: Array, lr: float) -> Array:
    """The parameter after a step of size `lr` against a direction."""
    return p - lr * direction


def update_velocity(
    v: Array, g: Array, momentum: float, dampening: float = 0, step: int = 1
) -> Array:
    """The velocity with the gradient added; all but the first gradient are dampened."""
    damped = g * (1 - dampening * (step > 1)) if dampening else g
    return momentum * v + damped


def apply_weight_decay(
    p: Array, g: Array, lr: float, weight_decay: float, decoupled: bool
) -> tuple[Array, Array]:
    """The parameter and its gradient with weight decay: one of them is changed.

    Args:
        decoupled: whether the parameter shrinks directly; else a multiple of it is added to the
            gradient, which is the gradient of the penalty ``weight_decay / 2 * sum(p * p)``.
    """
    if not weight_decay:
        return p, g
    if decoupled:
        return p * (1 - lr * weight_decay), g
    return p, g + weight_decay * p


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
    dampening: float = 0,
    step: int = 1,
) -> Any:
    """The parameter and its velocity after one step of gradient descent."""
    p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled=False)
    if v is None:
        return (descend(p, g, lr),), ()
    v = update_velocity(v, g, momentum, dampening, step)
    return (descend(p, g + momentum * v if nesterov else v, lr), v), ()


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
    state_names = ("momentum_buffer",)
    saves_step = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **choices: Any,
    ) -> None:
        super().__init__(
            params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
            nesterov=nesterov, maximize=maximize, **self.accept(choices),
        )  # fmt: skip

    def check_settings(self, group: Mapping[str, Any]) -> None:
        if group["nesterov"] and not group["momentum"]:
            raise ValueError("nesterov needs a momentum")
        if group["nesterov"] and group["dampening"]:
            raise ValueError("nesterov needs dampening=0")

    def state_names_of(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return self.state_names if group["momentum"] else ()


def moving_average(average: Array, new: Array, beta: float) -> Array:
    """An exponential moving average: it keeps the share `beta`, the rest is new."""
    return beta * average + (1 - beta) * new


def correct_bias(average: Array, beta: float, step: int) -> Array:
    """A moving average after `step` updates from 0, divided by the sum of its weights."""
    return average / (1 - beta**step)


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
    p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled)
    m = moving_average(m, g, betas[0])
    v = moving_average(v, g * g, betas[1])
    m_hat = correct_bias(m, betas[0], step)
    v_hat = correct_bias(v, betas[1], step)
    return (p - lr * m_hat / (xp.sqrt(v_hat) + eps), m, v), ()


@op
def amsgrad_update(
    xp: Namespace,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    v_max: Array,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> Any:
    """As `adam_update`, with the largest second moment so far instead of the present one.

    Source: S. Reddi et al., "On the Convergence of Adam and Beyond" (2018), algorithm 2.
    """
    p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled)
    m = moving_average(m, g, betas[0])
    v = moving_average(v, g * g, betas[1])
    v_max = xp.maximum(v_max, v)
    m_hat = correct_bias(m, betas[0], step)
    v_hat = correct_bias(v_max, betas[1], step)
    return (p - lr * m_hat / (xp.sqrt(v_hat) + eps), m, v, v_max), ()


class Adam(Optimizer):
    """Adaptive moments: step sizes are normalised by a running RMS of the gradient.

    Source: D. Kingma and J. Ba, "Adam" (2014), algorithm 1.

    >>> from tinytorch import Adam, Linear
    >>> optimizer = Adam(Linear(2, 1).parameters(), lr=1e-3, betas=(0.9, 0.999))
    """

    rule = adam_update
    state_names = ("exp_avg", "exp_avg_sq")
    choices: ClassVar[dict[str, Any]] = {
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "fused": None,
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        **choices: Any,
    ) -> None:
        super().__init__(
            params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
            maximize=maximize, **self.accept(choices),
            decoupled_weight_decay=decoupled_weight_decay,
        )  # fmt: skip

    def check_settings(self, group: Mapping[str, Any]) -> None:
        if not all(beta < 1 for beta in group["betas"]):
            raise ValueError(f"betas must be in [0, 1), not {group['betas']}")

    def rule_of(self, group: Mapping[str, Any]) -> Op:
        return amsgrad_update if group["amsgrad"] else self.rule

    def state_names_of(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return (*self.state_names, "max_exp_avg_sq") if group["amsgrad"] else self.state_names

    def settings(self, group: dict[str, Any], step: Any) -> dict[str, Any]:
        return super().settings({**group, "decoupled": group["decoupled_weight_decay"]}, step)


class AdamW(Adam):
    """Adam with decoupled weight decay: it shrinks the parameters directly, not the gradient.

    Source: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization" (2017).

    >>> from tinytorch import AdamW, Linear
    >>> optimizer = AdamW(Linear(2, 1).parameters(), lr=1e-3, weight_decay=0.1)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **choices: Any,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize,
            decoupled_weight_decay=True, **choices,
        )  # fmt: skip


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
    p, _ = apply_weight_decay(p, g, lr, weight_decay, decoupled=True)
    m = moving_average(m, g, momentum)
    direction = moving_average(m, g, momentum) if nesterov else m
    rate = lr * math.sqrt(max(1.0, p.shape[-2] / max(1, p.shape[-1])))
    return (descend(p, orthogonalise(xp, direction), rate), m), ()


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
    state_names = ("momentum_buffer",)
    saves_step = False

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
