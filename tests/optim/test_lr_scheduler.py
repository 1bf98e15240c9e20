"""Schedulers set the same rates as PyTorch's."""

import copy
import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch
from tinytorch import Parameter
from tinytorch.optim import SGD, Adam, Optimizer, lr_scheduler

# Made from the module of schedulers and an optimizer with two groups.
CASES: dict[str, Callable[[Any, Any], Any]] = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda e: 0.95**e),
    "LambdaLR list": lambda s, o: s.LambdaLR(o, [lambda e: 0.95**e, lambda e: 1 / (1 + e)]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda e: 1 - 0.01 * (e % 7)),
    "StepLR": lambda s, o: s.StepLR(o, 7, 0.5),
    "StepLR keywords": lambda s, o: s.StepLR(o, step_size=30),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [3, 20, 20, 60], gamma=0.3),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.25, 9),
    "ConstantLR defaults": lambda s, o: s.ConstantLR(o),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.1, 0.9, 30),
    "LinearLR down": lambda s, o: s.LinearLR(o, 1.0, 0.0, 30),
    "LinearLR defaults": lambda s, o: s.LinearLR(o),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.97),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 40, 2.0),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 100),
    "CosineAnnealingLR again": lambda s, o: s.CosineAnnealingLR(o, T_max=13, eta_min=0.01),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 10),
    "CosineAnnealingWarmRestarts mult": lambda s, o: s.CosineAnnealingWarmRestarts(
        o, T_0=5, T_mult=2, eta_min=1e-3
    ),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.5, 100),
    "OneCycleLR epochs": lambda s, o: s.OneCycleLR(
        o, max_lr=[0.5, 0.1], epochs=10, steps_per_epoch=10, anneal_strategy="linear"
    ),
    "OneCycleLR three": lambda s, o: s.OneCycleLR(
        o, max_lr=0.5, total_steps=100, three_phase=True, pct_start=0.4, div_factor=10
    ),
    "OneCycleLR fixed": lambda s, o: s.OneCycleLR(o, 0.5, 100, cycle_momentum=False),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 8),
    "CyclicLR halved": lambda s, o: s.CyclicLR(o, [0.01, 0.02], 0.1, 8, 5, "triangular2"),
    "CyclicLR exp": lambda s, o: s.CyclicLR(
        o, 0.01, 0.1, step_size_up=6, mode="exp_range", gamma=0.98
    ),
    "CyclicLR function": lambda s, o: s.CyclicLR(
        o, 0.01, 0.1, 6, scale_fn=lambda x: 1 / x, cycle_momentum=False
    ),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=10), s.CosineAnnealingLR(o, 50, 1e-3)], [10]
    ),
    "SequentialLR three": lambda s, o: s.SequentialLR(
        o,
        [s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.9), s.StepLR(o, 5)],
        milestones=[20, 55],
    ),
    "SequentialLR restarts": lambda s, o: s.SequentialLR(
        o, [s.LambdaLR(o, lambda e: (e + 1) / 8), s.CosineAnnealingWarmRestarts(o, 9)], [8]
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler(
        [s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.9)]
    ),
    "ChainedScheduler warm-up": lambda s, o: s.ChainedScheduler(
        [s.LinearLR(o, 0.5, total_iters=15), s.CosineAnnealingLR(o, 30, 0.01)], optimizer=o
    ),
}
EACH = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


def optimizer_of(library: Any, name: str = "SGD") -> Any:
    parameter = Parameter if library is tinytorch else library.nn.Parameter
    a, b = (parameter(library.ones(2)) for _ in "ab")
    settings: Any = {"momentum": 0.9} if name == "SGD" else {}
    groups = [{"params": [a]}, {"params": [b], "lr": 0.02}]
    return getattr(library.optim, name)(groups, lr=0.1, **settings)


def settings_of(optimizer: Any) -> list[tuple[float, float]]:
    """The rate and the momentum of each group."""
    groups = optimizer.param_groups
    return [(g["lr"], g["momentum"] if "momentum" in g else g["betas"][0]) for g in groups]


def run(library: Any, make: Any, name: str = "SGD", steps: int = 100) -> Any:
    optimizer = optimizer_of(library, name)
    scheduler = make(library.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(steps):
        rates.append([*settings_of(optimizer), tuple(scheduler.get_last_lr())])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.filterwarnings("ignore:.*epoch parameter:UserWarning")  # PyTorch's own calls
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@EACH
def test_rates_and_momentum_over_100_steps_equal_pytorch(make: Any, optimizer: str) -> None:
    ours, theirs = (run(library, make, optimizer) for library in (tinytorch, require("torch")))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)


@EACH
def test_a_scheduler_continues_from_its_saved_state(make: Any) -> None:
    expected = run(tinytorch, make, steps=60)
    optimizer = optimizer_of(tinytorch)
    scheduler = make(lr_scheduler, optimizer)
    for _ in range(25):
        optimizer.step()
        scheduler.step()
    saved = copy.deepcopy((scheduler.state_dict(), optimizer.state_dict()))
    other = optimizer_of(tinytorch)
    again = make(lr_scheduler, other)
    again.load_state_dict(saved[0])
    other.load_state_dict(saved[1])
    for rates in expected[25:]:
        assert [*settings_of(other), tuple(again.get_last_lr())] == rates
        other.step()
        again.step()


@pytest.mark.parametrize(
    "make",
    [
        lambda s, o: s.StepLR(o, 3),
        lambda s, o: s.LinearLR(o),
        lambda s, o: s.OneCycleLR(o, 0.5, 100),
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o), s.StepLR(o, 3)], [4]),
        lambda s, o: s.LambdaLR(o, lambda e: 0.5**e),
        lambda s, o: s.ReduceLROnPlateau(o),
    ],
)
def test_states_can_be_written_as_json(make: Any) -> None:
    state = make(lr_scheduler, optimizer_of(tinytorch)).state_dict()
    assert json.loads(json.dumps(state)).keys() == state.keys()
    assert "optimizer" not in state


PLATEAUS: list[dict[str, Any]] = [
    {},
    {"factor": 0.5, "patience": 2},
    {"mode": "max", "factor": 0.5, "patience": 1, "threshold": 0.05},
    {"factor": 0.3, "patience": 1, "cooldown": 3, "min_lr": [1e-3, 5e-3]},
    {"factor": 0.9, "patience": 0, "threshold_mode": "abs", "threshold": 0.1, "eps": 1e-3},
    {"mode": "max", "patience": 1, "threshold_mode": "abs", "threshold": 0.02},
]


@pytest.mark.parametrize("settings", PLATEAUS)
@pytest.mark.parametrize("start", [1.0, -3.0])
def test_reduce_on_plateau_equals_pytorch(settings: dict[str, Any], start: float) -> None:
    results = []
    for library in (tinytorch, require("torch")):
        rng = np.random.default_rng(0)
        optimizer = optimizer_of(library)
        scheduler = library.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **settings)
        rates = []
        for step in range(100):
            scheduler.step(library.ones(()) * (start / (1 + step) + 0.2 * rng.standard_normal()))
            rates.append([*settings_of(optimizer), tuple(scheduler.get_last_lr())])
        results.append((rates, scheduler.num_bad_epochs, scheduler.best))
    (ours, *rest), (theirs, *other) = results
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert rest == pytest.approx(other, rel=1e-6)


@pytest.mark.filterwarnings("ignore:.*epoch parameter:UserWarning")
@pytest.mark.parametrize("name", ["StepLR", "ExponentialLR", "CosineAnnealingLR", "LinearLR"])
def test_the_epoch_may_be_given(name: str) -> None:
    results = []
    for library in (tinytorch, require("torch")):
        optimizer = optimizer_of(library)
        make = getattr(library.optim.lr_scheduler, name)
        argument = {"StepLR": [4], "ExponentialLR": [0.9], "CosineAnnealingLR": [20]}
        scheduler = make(optimizer, *argument.get(name, []))
        rates = []
        for epoch in (0, 1, 2, 9, 8, 8, 15, 3):
            optimizer.step()
            scheduler.step(epoch)
            rates.append(settings_of(optimizer))
        results.append(rates)
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)


def test_restarts_take_fractions_of_epochs() -> None:
    results = []
    for library in (tinytorch, require("torch")):
        optimizer = optimizer_of(library)
        make = library.optim.lr_scheduler.CosineAnnealingWarmRestarts
        scheduler = make(optimizer, T_0=3, T_mult=2)
        rates = []
        for epoch in range(14):
            for batch in range(4):
                optimizer.step()
                scheduler.step(epoch + batch / 4)
                rates.append(settings_of(optimizer))
        results.append(rates)
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)


def test_schedulers_written_for_pytorch_run() -> None:
    results = []
    for library in (tinytorch, require("torch")):

        class Warmup(library.optim.lr_scheduler._LRScheduler):  # type: ignore[misc, name-defined]
            def __init__(self, optimizer: Any, steps: int, last_epoch: int = -1) -> None:
                self.steps = steps
                super().__init__(optimizer, last_epoch)

            def get_lr(self) -> list[float]:
                return [b * min(1.0, (self.last_epoch + 1) / self.steps) for b in self.base_lrs]

        results.append(run(library, lambda s, o, make=Warmup: make(o, 7), steps=20))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)


def test_a_rate_set_by_hand_is_the_start_of_the_next_step() -> None:
    results = []
    for library in (tinytorch, require("torch")):
        optimizer = optimizer_of(library)
        scheduler = library.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 1.0
        scheduler.step()
        results.append(settings_of(optimizer))
    assert results[0] == results[1]


def test_a_scheduler_before_the_optimizer_warns() -> None:
    optimizer = SGD([Parameter([1.0])])
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    with pytest.warns(UserWarning, match=r"called before optimizer\.step\(\)"):
        scheduler.step()
    optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()
        other = SGD([Parameter([1.0])])
        scheduler = lr_scheduler.StepLR(other, 2)
        other.step()
        scheduler.step()

        class Own(Optimizer):
            def step(self, closure: Any = None) -> None:
                pass

        own = Own([Parameter([1.0])], {"lr": 0.1})
        scheduler = lr_scheduler.StepLR(own, 2)
        own.step()
        scheduler.step()


def test_two_schedulers_share_the_initial_rate() -> None:
    optimizer = Adam([Parameter([1.0])], lr=0.1)
    first = lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    first.step()
    assert lr_scheduler.LambdaLR(optimizer, lambda e: 1.0).base_lrs == [0.1]
    optimizer.scale_lr(0.3)
    assert optimizer.lr == pytest.approx(0.03)
    resumed = lr_scheduler.StepLR(optimizer, 2, last_epoch=3)
    assert resumed.last_epoch == 4


ERRORS: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "no optimizer": (lambda o: lr_scheduler.StepLR([o], 3), TypeError, "must be an Optimizer"),
    "step_size 0": (lambda o: lr_scheduler.StepLR(o, 0), ValueError, "step_size must be at least"),
    "no function": (lambda o: lr_scheduler.LambdaLR(o, 0.5), TypeError, "function of the step"),
    "lambdas": (lambda o: lr_scheduler.LambdaLR(o, [abs]), ValueError, "1 values for 2 parameter"),
    "resumed": (lambda o: lr_scheduler.StepLR(o, 3, last_epoch=2), KeyError, "initial_lr"),
    "start": (lambda o: lr_scheduler.LinearLR(o, 0.0), ValueError, "start_factor must be in"),
    "end": (lambda o: lr_scheduler.LinearLR(o, 0.5, 2.0), ValueError, "end_factor must be in"),
    "constant": (lambda o: lr_scheduler.ConstantLR(o, 2.0), ValueError, "factor must be in"),
    "T_0": (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 0), ValueError, "T_0 must be"),
    "no total": (lambda o: lr_scheduler.OneCycleLR(o, 0.1), ValueError, "needs total_steps, or"),
    "strategy": (lambda o: lr_scheduler.OneCycleLR(o, 0.1, 9, anneal_strategy="x"), ValueError,
                 "anneal_strategy must be"),
    "mode": (lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2, mode="x"), ValueError, "mode must be"),
    "factor": (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), ValueError, "less than 1"),
    "plateau": (lambda o: lr_scheduler.ReduceLROnPlateau(o, "mean"), ValueError, "mode must be"),
    "threshold": (lambda o: lr_scheduler.ReduceLROnPlateau(o, threshold_mode="x"), ValueError,
                  "threshold_mode must be"),
    "milestones": (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [3]),
                   ValueError, "one milestone less"),
    "two optimizers": (lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.StepLR(o, 1), lr_scheduler.StepLR(SGD([Parameter([1.0])]), 1)], [3]
    ), ValueError, "schedulers of one optimizer"),
    "a plateau in a sequence": (lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ReduceLROnPlateau(o)], []), ValueError, "schedulers of steps"),
    "nothing chained": (lambda o: lr_scheduler.ChainedScheduler([]), ValueError, "at least one"),
    "no momentum": (lambda o: lr_scheduler.OneCycleLR(
        Optimizer([Parameter([1.0])], {"lr": 1.0}), 0.1, 9), ValueError, "cycle_momentum=False"),
    "no rates": (lambda o: lr_scheduler.LRScheduler(o), NotImplementedError, "must define get_lr"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "match"), ERRORS.values(), ids=ERRORS)
def test_wrong_arguments_raise_an_error(call: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        call(optimizer_of(tinytorch))


def test_one_cycle_ends() -> None:
    optimizer = optimizer_of(tinytorch)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, 5)
    for _ in range(5):
        optimizer.step()
        scheduler.step()
    with pytest.raises(ValueError, match="step 6 is after the last of total_steps=5"):
        scheduler.step()


def test_a_missing_scheduler_is_named() -> None:
    with pytest.raises(AttributeError, match=r"lr_scheduler\.StepsLR is not in .* mean StepLR"):
        lr_scheduler.StepsLR  # noqa: B018
