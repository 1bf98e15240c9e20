"""The names of `torch.optim.lr_scheduler`: learning rates that change from epoch to epoch.

A scheduler sets the rates of an optimizer's groups when it is created and in each `step`. Most
compute the new rate from the present one, so that several can be chained.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..arguments import check_integer, check_number, check_type, shown, warn
from ..missing import missing_name
from ..optimizers import Optimizer

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


class LRScheduler:
    """Base class of the schedulers.

    A subclass defines `rate`, the new rate of a group, or `get_lr`, those of all groups.

    Args:
        optimizer: its groups get the rates.
        last_epoch: number of the last step; -1 for the start. To continue from another number, the
            groups need the key "initial_lr", as after loading the optimizer's state.

    Attributes:
        last_epoch: number of the present step, from 0.
        base_lrs: the initial rate of each group.

    >>> from tinytorch import SGD, Parameter
    >>> from tinytorch.optim.lr_scheduler import LRScheduler
    >>> class InverseLR(LRScheduler):
    ...     def get_lr(self):
    ...         return [base / (1 + self.last_epoch) for base in self.base_lrs]
    >>> optimizer = SGD([Parameter([1.0])], lr=0.1)
    >>> scheduler = InverseLR(optimizer)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.05]
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        _check_optimizer(self, optimizer)
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param_groups[{number}] needs the key 'initial_lr' to continue from"
                    f" last_epoch={last_epoch}: load the state of the optimizer first"
                )
        self.optimizer = optimizer
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._first_step = optimizer.steps
        self._step_count = 0
        self._last_lr: list[float] = []
        self._start()

    def _start(self) -> None:
        """Set the rates of the first step."""
        self.step()

    def rate(self, lr: float, base: float) -> float:
        """The new rate of a group from its present and its initial rate."""
        raise NotImplementedError(f"{type(self).__name__} must define get_lr()")

    def get_lr(self) -> list[float]:
        """The rates of step number `last_epoch`."""
        groups = self.optimizer.param_groups
        return [self.rate(g["lr"], base) for g, base in zip(groups, self.base_lrs, strict=True)]

    def get_last_lr(self) -> list[float]:
        """The present rate of each group."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next step, or of step number `epoch`."""
        if self._step_count == 1 and epoch is None:
            self._check_order()
        self._step_count += 1
        if epoch is None:
            self.last_epoch += 1
            self._set(self.get_lr())
        else:
            self._jump(epoch)

    def _jump(self, epoch: int) -> None:
        """Set the rates of step number `epoch`, computed from the initial ones."""
        self._set(self.base_lrs)
        for self.last_epoch in range(check_integer("epoch", epoch) + 1):
            self._set(self.get_lr())

    def _set(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _check_order(self) -> None:
        """Warn if the first rate is never used; an optimizer with a step of its own counts none."""
        counts_steps = type(self.optimizer).step is Optimizer.step
        if counts_steps and self.optimizer.steps == self._first_step:
            warn(
                "lr_scheduler.step() was called before optimizer.step(), so the first value of the"
                " schedule is skipped: call optimizer.step() first"
            )

    def state_dict(self) -> dict[str, Any]:
        """All attributes except the optimizer and functions."""
        return {
            name: value
            for name, value in vars(self).items()
            if name != "optimizer" and not _has_function(value)
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a `state_dict`; the rates themselves are in the optimizer's state."""
        check_type("state_dict", state_dict, dict, "a dict")
        vars(self).update(state_dict)


def _check_optimizer(scheduler: Any, optimizer: Any) -> None:
    check_type(f"{type(scheduler).__name__}: optimizer", optimizer, Optimizer, "an Optimizer")


def _has_function(value: Any) -> bool:
    return any(map(callable, value if isinstance(value, list) else [value]))


class LambdaLR(LRScheduler):
    """The initial rate times a function of the step number.

    Args:
        optimizer: its groups get the rates.
        lr_lambda: the function, or a list with one for each group.
        last_epoch: see `LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        _check_optimizer(self, optimizer)
        count = len(optimizer.param_groups)
        self.lr_lambdas = _for_groups("lr_lambda", lr_lambda, count)
        for function in self.lr_lambdas:
            if not callable(function):
                raise TypeError(
                    f"{type(self).__name__}: lr_lambda must be a function of the step number, not"
                    f" {shown(function)}"
                )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [base * function(self.last_epoch) for base, function in pairs]


class MultiplicativeLR(LambdaLR):
    """In each step, the present rate times a function of the step number."""

    def get_lr(self) -> list[float]:
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if self.last_epoch <= 0:
            return rates
        pairs = zip(rates, self.lr_lambdas, strict=True)
        return [rate * function(self.last_epoch) for rate, function in pairs]


class StepLR(LRScheduler):
    """Multiply the rate by `gamma` after every `step_size` steps.

    >>> from tinytorch import SGD, Parameter
    >>> from tinytorch.optim.lr_scheduler import StepLR
    >>> optimizer = SGD([Parameter([1.0])], lr=0.5)
    >>> scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> optimizer.param_groups[0]["lr"]
    0.125
    """

    def __init__(
        self, optimizer: Optimizer, step_size: float, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        whole = isinstance(step_size, float) and step_size.is_integer()
        self.step_size = check_integer(
            "StepLR: step_size", int(step_size) if whole else step_size, 1
        )
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return lr * self.gamma if due else lr


class MultiStepLR(LRScheduler):
    """Multiply the rate by `gamma` at each of the steps `milestones`."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        if self.last_epoch not in self.milestones:
            return lr
        return float(lr * self.gamma ** self.milestones[self.last_epoch])


class ExponentialLR(LRScheduler):
    """Multiply the rate by `gamma` in every step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        return lr if self.last_epoch == 0 else lr * self.gamma


class ConstantLR(LRScheduler):
    """The initial rate times `factor` for `total_iters` steps, then the initial rate."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor must be in [0, 1], not {shown(factor)}")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        if self.last_epoch == 0:
            return lr * self.factor
        return lr * (1 / self.factor) if self.last_epoch == self.total_iters else lr


class LinearLR(LRScheduler):
    """The initial rate times a factor that changes linearly over `total_iters` steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must be in (0, 1], not {shown(start_factor)}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor must be in [0, 1], not {shown(end_factor)}")
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        if self.last_epoch == 0:
            return lr * self.start_factor
        if self.last_epoch > self.total_iters:
            return lr
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return lr * (1 + rise / before)


class PolynomialLR(LRScheduler):
    """The initial rate times (1 - step / total_iters) ** power, and then 0."""

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        if not 0 < self.last_epoch <= self.total_iters:
            return lr
        now = 1 - self.last_epoch / self.total_iters
        before = 1 - (self.last_epoch - 1) / self.total_iters
        return float(lr * (now / before) ** self.power)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to `eta_min` in `T_max` steps, then up again.

    Source: I. Loshchilov and F. Hutter, "SGDR" (2016), equation 5, without restarts.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        if self.last_epoch == 0:
            return lr
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # at the minimum before
            return lr + (base - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        return (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / (
            1 + math.cos(math.pi * (self.last_epoch - 1) / self.T_max)
        ) * (lr - self.eta_min) + self.eta_min


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the initial rate to `eta_min`, again and again.

    Args:
        optimizer: its groups get the rates.
        T_0: length of the first cycle in steps.
        T_mult: each cycle is this many times as long as the one before.
        eta_min: the lowest rate.
        last_epoch: see `LRScheduler`.

    Source: I. Loshchilov and F. Hutter, "SGDR" (2016), equation 5.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_0 = self.T_i = check_integer("CosineAnnealingWarmRestarts: T_0", T_0, 1)
        self.T_mult = check_integer("CosineAnnealingWarmRestarts: T_mult", T_mult, 1)
        self.eta_min, self.T_cur = eta_min, float(last_epoch)
        super().__init__(optimizer, last_epoch)

    def rate(self, lr: float, base: float) -> float:
        cosine = math.cos(math.pi * self.T_cur / self.T_i)
        return self.eta_min + (base - self.eta_min) * (1 + cosine) / 2

    def step(self, epoch: float | None = None) -> None:
        """Set the rates of the next step, or of `epoch`, which may be a fraction."""
        if self._step_count == 1 and epoch is None:
            self._check_order()
        self._step_count += 1
        epoch = self.last_epoch + 1 if epoch is None else check_number("epoch", epoch)
        start, self.T_i = 0, self.T_0
        if self.T_mult == 1:
            start = int(epoch // self.T_0) * self.T_0
        while epoch >= start + self.T_i:
            start, self.T_i = start + self.T_i, self.T_i * self.T_mult
        self.T_cur = epoch - start
        self.last_epoch = math.floor(epoch)
        self._set(self.get_lr())


class _Cycle(LRScheduler):
    """A schedule that changes the momentum with the rate, if `cycle_momentum` is set."""

    cycle_momentum: bool

    def _check_momentum(self, optimizer: Optimizer) -> None:
        _check_optimizer(self, optimizer)
        if self.cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise ValueError(
                f"{type(self).__name__} changes the momentum, which {type(optimizer).__name__} does"
                " not have: pass cycle_momentum=False"
            )

    def _set_momentum(self, group: dict[str, Any], value: float) -> None:
        if "betas" in self.optimizer.defaults:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value


class OneCycleLR(_Cycle):
    """Rise from max_lr / div_factor to `max_lr`, then fall to initial rate / final_div_factor.

    The momentum changes the other way, from `max_momentum` to `base_momentum` and back.

    Args:
        optimizer: its groups get the rates.
        max_lr: the highest rate, or a list with one for each group.
        total_steps: the number of steps; or give `epochs` and `steps_per_epoch`.
        epochs: number of epochs.
        steps_per_epoch: number of steps in each.
        pct_start: the fraction of the steps in which the rate rises.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: change the momentum, or the first of `betas`.
        base_momentum: the lowest momentum, or a list.
        max_momentum: the highest momentum, or a list.
        div_factor: the highest rate divided by the initial rate.
        final_div_factor: the initial rate divided by the last rate.
        three_phase: fall to the initial rate as fast as it rose, then on to the last rate.
        last_epoch: see `LRScheduler`.

    Source: L. Smith and N. Topin, "Super-Convergence" (2017).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self.cycle_momentum = cycle_momentum
        self._check_momentum(optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR needs total_steps, or epochs and steps_per_epoch")
            epochs = check_integer("OneCycleLR: epochs", epochs, 1)
            total_steps = epochs * check_integer("OneCycleLR: steps_per_epoch", steps_per_epoch, 1)
        self.total_steps = check_integer("OneCycleLR: total_steps", total_steps, 1)
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must be in [0, 1], not {shown(pct_start)}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f'OneCycleLR: anneal_strategy must be "cos" or "linear", not'
                f" {shown(anneal_strategy)}"
            )
        self.anneal_strategy = anneal_strategy
        rise, last = float(pct_start * total_steps) - 1, total_steps - 1
        # (last step, key of the rate at its start and end, and those of the momentum)
        up = (rise, "initial_lr", "max_lr", "max_momentum", "base_momentum")
        if three_phase:
            self._phases = [
                up,
                (2 * pct_start * total_steps - 2, *up[2:0:-1], *up[:2:-1]),
                (last, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
            ]
        else:
            self._phases = [up, (last, "max_lr", "min_lr", "base_momentum", "max_momentum")]
        if last_epoch == -1:
            count = len(optimizer.param_groups)
            values = {
                "max_lr": _for_groups("max_lr", max_lr, count),
                "base_momentum": _for_groups("base_momentum", base_momentum, count),
                "max_momentum": _for_groups("max_momentum", max_momentum, count),
            }
            for number, group in enumerate(optimizer.param_groups):
                group["max_lr"] = values["max_lr"][number]
                group["initial_lr"] = group["max_lr"] / div_factor
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group["max_momentum"] = values["max_momentum"][number]
                    group["base_momentum"] = values["base_momentum"][number]
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {step} is after the last of total_steps={self.total_steps}"
            )
        rates = []
        for group in self.optimizer.param_groups:
            start = 0.0
            for phase in self._phases:
                end, rate_from, rate_to, momentum_from, momentum_to = phase
                if step <= end or phase is self._phases[-1]:
                    part = (step - start) / (end - start)
                    rates.append(self._between(group[rate_from], group[rate_to], part))
                    if self.cycle_momentum:
                        momentum = self._between(group[momentum_from], group[momentum_to], part)
                        self._set_momentum(group, momentum)
                    break
                start = end
        return rates

    def _between(self, start: float, end: float, part: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * part + start
        return end + (start - end) / 2 * (math.cos(math.pi * part) + 1)


class CyclicLR(_Cycle):
    """Rise from `base_lr` to `max_lr` and fall back, again and again.

    Args:
        optimizer: its groups get the rates.
        base_lr: the lowest rate, or a list with one for each group.
        max_lr: the highest rate, or a list.
        step_size_up: number of steps in which the rate rises.
        step_size_down: number of steps in which it falls; by default the same.
        mode: "triangular"; "triangular2" halves the height after each cycle; "exp_range" scales it
            by gamma ** step.
        gamma: see `mode`.
        scale_fn: scales the height instead of `mode`.
        scale_mode: whether `scale_fn` takes the number of the "cycle", from 1, or of
            "iterations".
        cycle_momentum: change the momentum, or the first of `betas`, the other way.
        base_momentum: the lowest momentum, or a list.
        max_momentum: the highest momentum, or a list.
        last_epoch: see `LRScheduler`.

    Source: L. Smith, "Cyclical Learning Rates for Training Neural Networks" (2015).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        self.cycle_momentum = cycle_momentum
        self._check_momentum(optimizer)
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(
                'CyclicLR: mode must be "triangular", "triangular2" or "exp_range", not'
                f" {shown(mode)}"
            )
        count = len(optimizer.param_groups)
        base_lrs = _for_groups("base_lr", base_lr, count)
        self.max_lrs = _for_groups("max_lr", max_lr, count)
        self.base_momentums = _for_groups("base_momentum", base_momentum, count)
        self.max_momentums = _for_groups("max_momentum", max_momentum, count)
        self.step_size_up = float(step_size_up)
        self.total_size = self.step_size_up + (step_size_down or step_size_up)
        self.mode, self.gamma, self.scale_fn, self.scale_mode = mode, gamma, scale_fn, scale_mode
        if last_epoch == -1:
            for group, rate in zip(optimizer.param_groups, base_lrs, strict=True):
                group["lr"] = rate
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def _scale(self, cycle: float) -> float:
        if self.scale_fn is not None:
            return self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.mode == "triangular2":
            return float(1 / 2.0 ** (cycle - 1))
        return float(self.gamma**self.last_epoch) if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        place = 1 + self.last_epoch / self.total_size - cycle  # in [0, 1) of the cycle
        top = self.step_size_up / self.total_size
        height = place / top if place <= top else (place - 1) / (top - 1)
        scale = height * self._scale(cycle)
        for i, group in enumerate(self.optimizer.param_groups):
            if self.cycle_momentum:
                low, high = self.base_momentums[i], self.max_momentums[i]
                self._set_momentum(group, high - (high - low) * scale)
        pairs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [low + (high - low) * scale for low, high in pairs]


class SequentialLR(LRScheduler):
    """One scheduler after the other.

    Args:
        optimizer: the optimizer of all schedulers.
        schedulers: the schedulers.
        milestones: the steps at which the second and each further scheduler begin.
        last_epoch: see `LRScheduler`.

    >>> from tinytorch import SGD, Parameter
    >>> from tinytorch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
    >>> optimizer = SGD([Parameter([1.0])], lr=0.1)
    >>> warmup, decay = LinearLR(optimizer, 0.5, total_iters=2), CosineAnnealingLR(optimizer, 4)
    >>> scheduler = SequentialLR(optimizer, [warmup, decay], milestones=[2])
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     print(round(scheduler.get_last_lr()[0], 4))
    ...     scheduler.step()
    0.05
    0.075
    0.1
    0.0854
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        _check_schedulers(self, optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR needs one milestone less than schedulers, {len(schedulers) - 1},"
                f" not {len(milestones)}"
            )
        self._schedulers, self._milestones = list(schedulers), list(milestones)
        super().__init__(optimizer, last_epoch)

    def _start(self) -> None:
        """Undo the first steps of all schedulers, and repeat that of the first."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for scheduler in self._schedulers:
            scheduler.last_epoch -= 1
            scheduler._step_count = 0
        self.last_epoch += 1
        self._step_count = 1
        self._schedulers[0]._start()
        self._last_lr = self._schedulers[0].get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next step."""
        if epoch is not None:
            raise ValueError("SequentialLR.step takes no epoch")
        self.last_epoch += 1
        index = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[index]
        begins = index > 0 and self._milestones[index - 1] == self.last_epoch
        scheduler.step(0 if begins else None)
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return _with_states(super().state_dict(), self._schedulers)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(_load_states(state_dict, self._schedulers))


class ChainedScheduler(LRScheduler):
    """Several schedulers, each of which changes the rates in every step."""

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if not schedulers:
            raise ValueError("ChainedScheduler needs at least one scheduler")
        self.optimizer = optimizer or schedulers[0].optimizer
        _check_schedulers(self, self.optimizer, schedulers)
        self._schedulers = list(schedulers)
        self._last_lr = self._schedulers[-1].get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next step."""
        for scheduler in self._schedulers:
            scheduler.step(epoch)
        self._last_lr = self._schedulers[-1].get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return _with_states(super().state_dict(), self._schedulers)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(_load_states(state_dict, self._schedulers))


def _check_schedulers(owner: Any, optimizer: Any, schedulers: Sequence[Any]) -> None:
    name = type(owner).__name__
    _check_optimizer(owner, optimizer)
    for scheduler in schedulers:
        if isinstance(scheduler, ReduceLROnPlateau) or not hasattr(scheduler, "get_last_lr"):
            raise ValueError(f"{name} takes schedulers of steps, not {shown(scheduler)}")
        if scheduler.optimizer is not optimizer:
            raise ValueError(f"{name} needs schedulers of one optimizer")


def _with_states(state: dict[str, Any], schedulers: Sequence[Any]) -> dict[str, Any]:
    return {**state, "_schedulers": [scheduler.state_dict() for scheduler in schedulers]}


def _load_states(state: dict[str, Any], schedulers: Sequence[Any]) -> dict[str, Any]:
    """Load the states of schedulers; returns the rest of the state."""
    for scheduler, own in zip(schedulers, state["_schedulers"], strict=True):
        scheduler.load_state_dict(own)
    return {name: value for name, value in state.items() if name != "_schedulers"}


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rate by `factor` when a metric has not improved for some epochs.

    Args:
        optimizer: its groups get the rates.
        mode: "min" if the metric is to decrease, such as a loss, or "max".
        factor: the rate is multiplied by it; less than 1.
        patience: number of epochs without improvement that are allowed.
        threshold: an improvement must be larger.
        threshold_mode: "rel" if `threshold` is a fraction of the best value, or "abs".
        cooldown: number of epochs to wait after a change.
        min_lr: the lowest rate, or a list with one for each group.
        eps: smaller changes are not made.

    >>> from tinytorch import SGD, Parameter
    >>> from tinytorch.optim.lr_scheduler import ReduceLROnPlateau
    >>> optimizer = SGD([Parameter([1.0])], lr=0.5)
    >>> scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     scheduler.step(loss)
    >>> optimizer.param_groups[0]["lr"]
    0.25
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        _check_optimizer(self, optimizer)
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be less than 1, not {shown(factor)}")
        if mode not in ("min", "max"):
            raise ValueError(f'ReduceLROnPlateau: mode must be "min" or "max", not {shown(mode)}')
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                'ReduceLROnPlateau: threshold_mode must be "rel" or "abs", not'
                f" {shown(threshold_mode)}"
            )
        self.optimizer = optimizer
        self.mode, self.threshold, self.threshold_mode = mode, threshold, threshold_mode
        self.factor, self.patience, self.cooldown, self.eps = factor, patience, cooldown, eps
        self.min_lrs = _for_groups("min_lr", min_lr, len(optimizer.param_groups))
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Compare the metric of an epoch, a number or a 0-d tensor, with the best one."""
        value = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.is_better(value, self.best):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, lowest in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                rate = max(float(group["lr"]) * self.factor, lowest)
                if group["lr"] - rate > self.eps:
                    group["lr"] = rate
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    @property
    def in_cooldown(self) -> bool:
        """Whether epochs without improvement do not count."""
        return self.cooldown_counter > 0

    def is_better(self, value: float, best: float) -> bool:
        """Whether a value improves on the best one."""
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * value < sign * best * (1 - sign * self.threshold)
        return sign * value < sign * best - self.threshold


def _for_groups(name: str, value: Any, count: int) -> list[Any]:
    """A value for each group."""
    if not isinstance(value, list | tuple):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{name} has {len(value)} values for {count} parameter groups")
    return list(value)


def __getattr__(name: str) -> Any:
    if name == "_LRScheduler":  # in older versions of PyTorch
        return LRScheduler
    raise missing_name("torch.optim.lr_scheduler", name, globals())
