"""Lesson 08: schedules, clipping, and a Trainer that accumulates, evaluates and resumes exactly."""

import copy
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from helpers import old_optimizer_state, require

from tinytorch import (
    GPT,
    SGD,
    AdamW,
    CosineSchedule,
    CrossEntropyLoss,
    DataLoader,
    Dropout,
    Linear,
    LinearSchedule,
    Module,
    MSELoss,
    Muon,
    Optimizer,
    Parameter,
    Schedule,
    Sequential,
    Tanh,
    Tensor,
    TensorDataset,
    TokenDataset,
    Trainer,
    clip_grad_norm,
    manual_seed,
)
from tinytorch.backends import BackendError
from tinytorch.ops import random as tt_random
from tinytorch.runtime.graphed import GraphedStep
from tinytorch.serialization import checkpoint
from tinytorch.serialization.random_state import random_state, set_random_state

NAN, INF = float("nan"), float("inf")
P1 = Parameter([1.0])

# Schedules


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (CosineSchedule(1.0, 0.1, 10), {0: 1.0, 5: 0.55, 10: 0.1, 99: 0.1}),
        (CosineSchedule(1.0, 0.1, 14, 4), {0: 0.2, 1: 0.4, 3: 0.8, 4: 1.0, 9: 0.55, 14: 0.1}),
        (CosineSchedule(total_steps=10, min_lr=0.5), {0: 1.0, 5: 0.75, 10: 0.5}),
        (LinearSchedule(2.0, 0.0, 10), {0: 2.0, 5: 1.0, 9: 0.2, 10: 0.0, 11: 0.0}),
        (LinearSchedule(2.0, 1.0, 10, fraction=0.5), {0: 2.0, 5: 2.0, 6: 1.8, 10: 1.0}),
        (LinearSchedule(1.0, 0.0, 12, 2, 0.5), {0: 1 / 3, 1: 2 / 3, 2: 1.0, 7: 1.0, 8: 0.8}),
        (LinearSchedule(1.0, 0.0, 4, 4), {0: 0.2, 3: 0.8, 4: 1.0, 5: 0.0}),
    ],
)
def test_schedule_rates(schedule: Schedule, rates: dict[int, float]) -> None:
    assert [schedule.get_lr(s) for s in rates] == pytest.approx([*rates.values()], abs=1e-12)


def test_cosine_schedule_equals_pytorch() -> None:
    torch = require("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.03)
    expected = []
    for _ in range(20):
        expected.append(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()
    ours = CosineSchedule(0.3, 0.03, 20)
    assert [ours.get_lr(s) for s in range(20)] == pytest.approx(expected, rel=1e-9)


def test_a_schedule_sets_one_rate_or_scales_the_rate_of_each_optimizer() -> None:
    def optimizers() -> Any:
        a, b, c = (Parameter([1.0]) for _ in range(3))
        return [SGD([a], lr=0.5), AdamW([{"params": [b], "lr": 0.1}, {"params": [c]}], lr=0.2)]

    rates: dict[Any, Any] = {}
    for max_lr in (1.0, None):
        both = optimizers()
        LinearSchedule(max_lr, total_steps=10).apply(both, 5)
        rates[max_lr] = [g["lr"] for o in both for g in o.param_groups]
    assert rates == {1.0: [0.5, 0.5, 0.5], None: [0.25, 0.05, 0.1]}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CosineSchedule(total_steps=0), "total_steps must be at least 1, not 0"),
        (
            lambda: CosineSchedule(total_steps=5, warmup_steps=6),
            r"warmup_steps must be in \[0, 5\], not 6",
        ),
        (
            lambda: CosineSchedule(total_steps=5, warmup_steps=-1),
            r"warmup_steps must be in \[0, 5\], not -1",
        ),
        (lambda: LinearSchedule(fraction=0.0), "fraction must be in"),
        (lambda: LinearSchedule(fraction=1.1), "fraction must be in"),
    ],
)
def test_invalid_schedules_raise_an_error(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CosineSchedule(total_steps=10.0), TypeError, "total_steps must be an integer"),
        (lambda: CosineSchedule(total_steps=NAN), TypeError, "total_steps must be an integer"),
        (lambda: CosineSchedule(total_steps="9"), TypeError, "total_steps must be an integer"),
        (lambda: CosineSchedule(total_steps=None), TypeError, "total_steps must be an integer"),
        (lambda: CosineSchedule(total_steps=True), TypeError, "total_steps must be an integer"),
        (lambda: CosineSchedule(warmup_steps=0.5), TypeError, "warmup_steps must be an integer"),
        (lambda: CosineSchedule(NAN), ValueError, "max_lr must be at least 0"),
        (lambda: CosineSchedule(-1.0), ValueError, "max_lr must be at least 0"),
        (lambda: CosineSchedule("a"), TypeError, "max_lr must be a number"),
        (lambda: CosineSchedule(SGD([P1])), TypeError, "max_lr must be a number"),
        (lambda: CosineSchedule(min_lr=-1.0), ValueError, "min_lr must be at least 0"),
        (lambda: LinearSchedule(fraction=NAN), ValueError, "fraction must be"),
        (lambda: LinearSchedule(fraction="a"), TypeError, "fraction must be a number"),
        (
            lambda: CosineSchedule().apply("SGD", 0),
            TypeError,
            "optimizers must be an Optimizer or several, not 'S'",
        ),
        (
            lambda: CosineSchedule().apply([None], 0),
            TypeError,
            "optimizers must be an Optimizer or several, not None",
        ),
        (lambda: CosineSchedule().get_lr(-1), ValueError, "step must be at least 0, not -1"),
        (lambda: CosineSchedule().get_lr(NAN), ValueError, "step must be at least 0, not nan"),
        (lambda: CosineSchedule().apply(SGD([P1]), -1), ValueError, "step must be at least 0"),
    ],
)
def test_invalid_arguments_of_schedules_raise_an_error(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("step", [10, 11, 1000, 10**400, np.int64(2**62), 1e300])
@pytest.mark.parametrize("kind", [CosineSchedule, LinearSchedule])
def test_rate_is_constant_after_the_last_step(kind: Any, step: Any) -> None:
    for warmup in (0, 3, 10):
        schedule = kind(1.0, 0.25, np.int64(10), warmup)
        expected = 1.0 if warmup == 10 and step == 10 else 0.25
        assert schedule.get_lr(step) == pytest.approx(expected)


def test_apply_takes_one_or_several_optimizers() -> None:
    optimizers = [SGD([Parameter([1.0])], 0.1) for _ in range(3)]
    schedule = CosineSchedule(0.5, total_steps=10)
    schedule.apply(optimizers[0], 5)
    schedule.apply((o for o in optimizers[1:]), 5)
    assert [o.lr for o in optimizers] == pytest.approx([0.25] * 3)


# Clipping


@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clipping_equals_pytorch(max_norm: float, backend: str) -> None:
    torch = require("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in ((3, 4), (5,), (1,))]
    ours = [Parameter(a, backend=backend) for a in [*arrays, np.zeros(2)]]
    theirs = [torch.nn.Parameter(torch.from_numpy(a)) for a in arrays]
    for p, q, a in zip(ours[:-1], theirs, arrays, strict=True):  # the last has no gradient
        p.grad, q.grad = Tensor(2 * a, backend=backend), torch.from_numpy(2 * a)
    norm = clip_grad_norm(ours, max_norm)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    np.testing.assert_allclose(norm.numpy(), expected.item(), rtol=1e-12)
    assert norm.shape == ()
    for p, q in zip(ours[:-1], theirs, strict=True):
        assert p.grad is not None
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-12)


def test_clipping_without_gradients_raises_an_error() -> None:
    """PyTorch returns 0; here clipping before backward is reported."""
    for parameters in ([Parameter([1.0])], [], Parameter([1.0])):
        with pytest.raises(ValueError, match="call backward first"):
            clip_grad_norm(parameters, 1.0)


@pytest.mark.parametrize("max_norm", [0, 0.0, 1.0, 1e30, INF, np.float32(0.5), np.array(0.5)])
@pytest.mark.parametrize(
    "gradients",
    [
        [[1.0, -2.0], [3.0]],
        [[0.0, 0.0], [0.0]],
        [[NAN, 1.0], [2.0]],
        [[INF, 1.0], [2.0]],
        [[-INF, INF], [2.0]],
        [[1e30, 1.0], [2.0]],
        [[1.0, 2.0], []],
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
def test_clipping_of_extreme_values_equals_pytorch(
    gradients: Any, max_norm: Any, backend: str
) -> None:
    torch = require("torch")
    ours, theirs = [], []
    for values in gradients:
        array = np.array(values, np.float32)
        p, q = Parameter(np.zeros_like(array), backend=backend), torch.zeros(len(values))
        p.grad, q.grad = Tensor(array, backend=backend), torch.from_numpy(array.copy())
        ours.append(p)
        theirs.append(q)
    norm = clip_grad_norm(ours, max_norm)
    expected = torch.nn.utils.clip_grad_norm_(theirs, float(max_norm))
    np.testing.assert_allclose(norm.numpy(), expected.item(), rtol=1e-6)
    for p, q in zip(ours, theirs, strict=True):
        assert p.grad is not None
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-6)


def test_clipping_accepts_a_single_tensor_and_any_iterable() -> None:
    def parameter() -> Parameter:
        p = Parameter([[1.0, 2.0], [3.0, 4.0]])
        (p * p).sum().backward()
        return p

    for given in (lambda p: p, lambda p: [p], lambda p: (q for q in [p]), lambda p: iter([p])):
        p = parameter()
        assert clip_grad_norm(given(p), 1.0).item() == pytest.approx(120**0.5)
        assert p.grad is not None
        assert np.linalg.norm(p.grad.numpy()) == pytest.approx(1.0, rel=1e-5)


def test_gradients_of_several_dtypes_are_clipped_together() -> None:
    parameters = [Parameter(np.zeros(3, dtype)) for dtype in ("float16", "float32", "float64")]
    for p in parameters:
        p.grad = Tensor(np.full(3, 300.0, p.numpy().dtype))  # squares overflow in float16
    assert clip_grad_norm(parameters, 3.0).item() == pytest.approx(900.0)
    for p in parameters:
        assert p.grad is not None
        assert p.grad.dtype == p.dtype
        np.testing.assert_allclose(p.grad.numpy(), 1.0, rtol=1e-3)


@pytest.mark.parametrize(
    ("parameters", "max_norm", "error", "message"),
    [
        ([P1], -1.0, ValueError, "max_norm must be at least 0, not -1"),
        ([P1], NAN, ValueError, "max_norm must be at least 0, not nan"),
        ([P1], "1", TypeError, "max_norm must be a number, not '1'"),
        ([P1], None, TypeError, "max_norm must be a number, not None"),
        ([P1], [1.0], TypeError, "max_norm must be a number"),
        ([P1, np.zeros(3)], 1.0, TypeError, "each parameter must be a Tensor, not ndarray"),
        (["w"], 1.0, TypeError, "each parameter must be a Tensor, not 'w'"),
        ([None], 1.0, TypeError, "each parameter must be a Tensor, not None"),
    ],
)
def test_invalid_arguments_of_clipping_raise_an_error(
    parameters: Any, max_norm: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        clip_grad_norm(parameters, max_norm)


def test_gradients_on_several_backends_cannot_be_clipped_together(strict: str) -> None:
    parameters = [Parameter([1.0]), Parameter([1.0], backend=strict)]
    for p in parameters:
        p.grad = Tensor([1.0], backend=p.backend)
    with pytest.raises(BackendError, match=r"clip_gradients: one tensor is on '\w+'"):
        clip_grad_norm(parameters, 1.0)


# The Trainer


def regression(dropout: float = 0.0, width: int = 6) -> Module:
    return Sequential(Linear(3, width), Tanh(), Dropout(dropout), Linear(width, 2))


def examples(count: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((count, 3)).astype(np.float32)
    return Tensor(x), Tensor(np.stack([x[:, 0] * x[:, 1], np.sin(x[:, 2])], axis=1))


def trainer(seed: int = 5, width: int = 6, dropout: float = 0.0, **settings: Any) -> Trainer:
    """A model with Muon for the matrices and AdamW for the biases, on a schedule."""
    manual_seed(seed)
    model = regression(dropout, width)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim != 2]
    optimizers = [Muon(matrices, lr=0.02), AdamW(rest, lr=0.01)]
    schedule = LinearSchedule(total_steps=20, warmup_steps=2)
    return Trainer(model, optimizers, MSELoss(), schedule, 1.0, **settings)


def values(model: Module) -> list[np.ndarray]:
    return [t.numpy().copy() for t in model.state_dict().values()]


def assert_equal(a: list[np.ndarray], b: list[np.ndarray], rtol: float = 0) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("sizes", [[12], [4, 4, 4], [7, 1, 4], [1, 11]])
def test_accumulated_micro_batches_equal_one_large_batch(sizes: list[int]) -> None:
    x, y = examples(12)
    cuts = np.cumsum([0, *sizes])
    parts = [(x[i:j], y[i:j]) for i, j in pairwise(cuts)]
    whole, divided = trainer(), trainer()
    for _ in range(3):
        expected = whole.train_step([(x, y)])
        loss = divided.train_step(parts)
        assert loss.shape == ()
        assert not loss.requires_grad
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert_equal(values(divided.model), values(whole.model), rtol=1e-4)
    assert all(p.grad is None for p in divided.model.parameters())


def test_the_schedule_starts_at_the_first_step() -> None:
    run, (x, y) = trainer(), examples(4)
    rates = []
    for _ in range(4):
        run.train_step([(x, y)])
        rates.append(run.optimizers[1].lr)
    assert rates == pytest.approx([0.01 / 3, 0.02 / 3, 0.01, 0.01 * 17 / 18])


def test_an_epoch_may_end_with_a_smaller_update_and_returns_the_mean_loss() -> None:
    x, y = examples(11)
    loader = DataLoader(TensorDataset(x, y), batch_size=2)  # 5 batches of 2, and one of 1
    run, by_hand = trainer(), trainer()
    mean = run.train_epoch(loader, accumulation_steps=4)
    assert run.step == 2
    first = by_hand.train_step([(x[:8], y[:8])]).item()
    second = by_hand.train_step([(x[8:], y[8:])]).item()
    assert mean == pytest.approx((8 * first + 3 * second) / 11, rel=1e-5)
    assert_equal(values(run.model), values(by_hand.model), rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_counts_each_target_once_and_restores_the_mode(training: bool) -> None:
    run, (x, y) = trainer(dropout=0.5), examples(11)
    run.model.train(training)
    before = values(run.model)
    mean = run.evaluate(DataLoader(TensorDataset(x, y), batch_size=4))
    assert all(m.training == training for m in run.model.modules())
    whole = MSELoss()(run.model.eval()(x), y)
    assert mean == pytest.approx(whole.item(), rel=1e-6)
    assert_equal(values(run.model), before)


def test_evaluation_restores_the_mode_after_an_error() -> None:
    run = trainer()
    with pytest.raises(ValueError, match="MSELoss"):
        run.evaluate([(Tensor(np.zeros((2, 3))), Tensor(np.zeros((2, 3))))])
    assert run.model.training


def part_modes(model: Module) -> list[bool]:
    return [module.training for module in model.modules()]


def test_training_and_evaluation_keep_the_mode_of_each_module() -> None:
    manual_seed(0)
    model = Sequential(Linear(3, 4), Dropout(0.5), Linear(4, 2), Dropout(0.5))
    run, batch = Trainer(model, SGD(model.parameters(), 0.1), MSELoss()), examples(4)
    model[1].eval()
    modes = part_modes(model)
    run.evaluate([batch])
    assert part_modes(model) == modes
    run.train_step([batch])
    run.train_epoch([batch])
    assert part_modes(model) == modes
    model.eval()
    expected = MSELoss()(model(batch[0]), batch[1]).item()
    assert run.train_step([batch]).item() == pytest.approx(expected), "no dropout"
    assert not any(part_modes(model))
    model.train()
    run.evaluate([batch])
    assert all(part_modes(model))


X, Y = Tensor([[1.0, 2.0], [3.0, 4.0]]), Tensor([[1.0], [2.0]])


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ((X, Y), r"put a single batch in a list, \[\(x, y\)\]"),
        ([X, Y], "put a single batch in a list"),
        (X, "put a single batch in a list"),
        ([(X,)], "pair .x, y. of tensors, not tuple of length 1"),
        ([[]], r"not \[\]"),
        ([(X, Y, Y)], "not tuple of length 3"),
        ([(X.numpy(), Y.numpy())], "not .ndarray of shape .*, ndarray of shape .*: convert arrays"),
        ([(X, Y.numpy())], "not .Tensor of shape .*, ndarray of shape"),
        ([(X, [[1.0], [2.0]])], "not .Tensor of shape .*, list of length 2.: convert"),
        ([(X, 1)], "not .Tensor of shape .*, 1.: convert"),
        ([(X, None)], "not .Tensor of shape .*, None.: convert"),
        ([None], "not None"),
        (["xy"], "not 'xy'"),
        ([{"x": X, "y": Y}], "not dict"),
        ([(X, Y), X], "got a tensor"),
        ([[(X, Y)]], "not list of length 1"),
    ],
)
def test_invalid_batches_raise_an_error(batches: Any, message: str) -> None:
    model = Linear(2, 1)
    run = Trainer(model, SGD(model.parameters(), 0.1), MSELoss())
    for use in (run.train_step, run.evaluate, run.train_epoch):
        with pytest.raises(TypeError, match=message):
            use(batches)


def test_a_type_error_of_a_loader_is_not_called_a_wrong_argument() -> None:
    class Broken:
        def __iter__(self) -> Any:
            raise TypeError("a fault of the loader")

    model = Linear(2, 1)
    trainer = Trainer(model, SGD(model.parameters()), MSELoss())
    with pytest.raises(TypeError, match="a fault of the loader"):
        trainer.train_epoch(Broken())


def test_batches_may_be_any_iterable() -> None:
    run, (x, y) = trainer(), examples(6)
    pairs: Any = [[x[:2], y[:2]], (x[2:], y[2:])]
    losses = [trainer().train_step(b).item() for b in (pairs, tuple(pairs), iter(pairs))]
    assert losses == [run.train_step(pair for pair in pairs).item()] * 3


def test_targets_on_another_backend_raise_an_error(strict: str) -> None:
    model = Linear(2, 1)
    run = Trainer(model, SGD(model.parameters(), 0.1), MSELoss())
    with pytest.raises(BackendError, match=r"is on '\w+' and another on 'strict'"):
        run.train_step([(X, Y.to(backend=strict))])


@pytest.mark.parametrize("processes", [1, 2])
def test_parameters_outside_of_the_model_are_trained_and_cleared(processes: int) -> None:
    model, scale, shift = Linear(2, 1), Parameter([2.0]), Parameter([0.5])

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        return ((prediction * scale + shift - target) ** 2).mean()

    results = []
    for count in (1, processes):
        model.load_state_dict({"weight": np.ones((1, 2)), "bias": np.zeros(1)})
        scale.data, shift.data = Tensor([2.0]), Tensor([0.5])
        optimizers = [SGD(model.parameters(), 0.01), SGD([scale, shift], 0.01)]
        run = Trainer(model, optimizers, loss, grad_clip_norm=1.0, processes=count)
        losses = [run.train_step([(X, Y)]).item() for _ in range(3)]
        assert all(p.grad is None for p in (*model.parameters(), scale, shift))
        results.append([*losses, scale.item(), shift.item()])
    assert results[0][-1] != 0.5
    assert results[1] == pytest.approx(results[0], rel=1e-5)


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("settings", [{}, {"processes": 2}])
def test_optimizers_of_another_model_raise_an_error(settings: Any, clip: Any) -> None:
    model, other = Linear(2, 1), Linear(2, 1)
    run = Trainer(model, SGD(other.parameters(), 0.1), MSELoss(), None, clip, **settings)
    with pytest.raises(ValueError, match="no parameter of the model, so a step would change"):
        run.train_step([(X, Y)])


@pytest.mark.parametrize("value", [1.0, None, np.float32(1.0)])
def test_a_loss_function_that_returns_no_tensor_raises_an_error(value: Any) -> None:
    model = Linear(2, 1)
    run = Trainer(model, SGD(model.parameters(), 0.1), lambda prediction, target: value)
    with pytest.raises(TypeError, match="the loss must be a Tensor with one element, not"):
        run.train_step([(X, Y)])


@pytest.mark.parametrize("processes", [1, 2])
def test_gradients_from_before_a_step_are_added(processes: int) -> None:
    results = []
    for own in (True, False):
        manual_seed(0)
        model = Linear(2, 1)
        run = Trainer(model, SGD(model.parameters(), 0.01), MSELoss(), processes=processes)
        for _ in range(2):
            if own:
                MSELoss()(model(X), Y).backward()
                run.train_step([(X, Y)])
            else:
                run.train_step([(X, Y)])
        results.append(values(model)[0])
    manual_seed(0)
    by_hand = Linear(2, 1)
    optimizer = SGD(by_hand.parameters(), 0.01)
    for _ in range(2):
        for _ in range(2):
            MSELoss()(by_hand(X), Y).backward()
        optimizer.step()
        optimizer.zero_grad()
    np.testing.assert_allclose(results[0], values(by_hand)[0], rtol=1e-5)
    assert (results[0] != results[1]).any()


def test_invalid_arguments_raise_an_error() -> None:
    run = trainer()
    with pytest.raises(ValueError, match="at least one batch"):
        run.train_step([])
    model = run.model
    for optimizer in (None, "SGD", [SGD([P1]), 3], model.parameters()):
        with pytest.raises(TypeError, match="optimizer"):
            Trainer(model, optimizer, MSELoss())  # type: ignore[arg-type]
    for bad in (None, abs, 3):
        with pytest.raises(TypeError, match="model must be a Module"):
            Trainer(bad, SGD([P1]), MSELoss())  # type: ignore[arg-type]
    for loss in (None, "mse", MSELoss):
        with pytest.raises(TypeError, match=r"loss_fn must be a loss such as MSELoss\(\)"):
            Trainer(model, SGD([P1]), loss)
    for schedule in (1.0, "cosine", CosineSchedule):
        with pytest.raises(TypeError, match="scheduler must be a Schedule, not"):
            Trainer(model, SGD([P1]), MSELoss(), schedule)  # type: ignore[arg-type]
    for steps in (1.5, "2", True, None):
        with pytest.raises(TypeError, match="accumulation_steps must be an integer"):
            run.train_epoch([], accumulation_steps=steps)  # type: ignore[arg-type]
    for nothing in (None, 3, abs):
        for use in (run.train_step, run.evaluate, run.train_epoch):
            with pytest.raises(TypeError, match="expected a list of batches"):
                use(nothing)  # type: ignore[arg-type]
    for norm in (-1.0, NAN, "1"):
        with pytest.raises((TypeError, ValueError), match="grad_clip_norm must be"):
            Trainer(model, SGD([P1]), MSELoss(), grad_clip_norm=norm)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="accumulation_steps must be at least 1"):
        run.train_epoch([], accumulation_steps=0)
    for use in (run.evaluate, run.train_epoch):
        with pytest.raises(ValueError, match="no batch"):
            use([])


# Checkpoints


def gpt_trainer(seed: int) -> Trainer:
    manual_seed(seed)
    model = GPT(11, 8, 1, 2, 6, dropout=0.2, positions="rotary", init="zero")
    inner = [p for p in model.blocks.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if not any(p is q for q in inner)]
    schedule = CosineSchedule(total_steps=12, warmup_steps=2)
    return Trainer(model, [Muon(inner, 0.02), AdamW(rest, 0.01)], CrossEntropyLoss(), schedule, 1.0)


def gpt_losses(run: Trainer, steps: int) -> list[float]:
    """Random batches from the global generator, two for each step."""
    data = TokenDataset(np.random.default_rng(0).integers(0, 11, 200), block_size=6)
    return [
        run.train_step([data.random_batch(4), data.random_batch(3)]).item() for _ in range(steps)
    ]


def test_training_resumes_from_a_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    straight = gpt_trainer(seed=1)
    gpt_losses(straight, 4)
    straight.save_checkpoint(path, note="half way", numbers=[1, 2])
    expected = gpt_losses(straight, 4)

    resumed = gpt_trainer(seed=2)
    metadata = resumed.load_checkpoint(path)
    assert (metadata["note"], metadata["numbers"]) == ("half way", [1, 2])
    assert resumed.step == 4
    assert gpt_losses(resumed, 4) == expected
    assert_equal(values(resumed.model), values(straight.model))


@pytest.mark.parametrize("age", ["before settings were saved", "before PyTorch's layout"])
def test_older_checkpoints_resume_bit_for_bit(age: str, tmp_path: Path) -> None:
    path, run = tmp_path / "checkpoint.safetensors", gpt_trainer(seed=1)
    gpt_losses(run, 4)
    run.save_checkpoint(path)
    arrays, metadata = checkpoint.load(path)
    arrays = {name: a for name, a in arrays.items() if name.startswith("model/")}
    metadata["optimizers"] = [old_optimizer_state(o) for o in run.optimizers]
    for index, state in enumerate(metadata["optimizers"]):
        arrays |= {f"optimizer{index}/{name}": a for name, a in state.pop("arrays").items()}
        if age == "before settings were saved":
            assert state.pop("missed") == {}
            del state["groups"]
    checkpoint.save(path, arrays, metadata)
    expected = gpt_losses(run, 4)
    resumed = gpt_trainer(seed=2)
    resumed.load_checkpoint(path)
    assert gpt_losses(resumed, 4) == expected
    assert_equal(values(resumed.model), values(run.model))


@pytest.mark.parametrize("value", [None, -1, 1.5, "3", [], {}, [3], [{}], {"0": {}}, True])
@pytest.mark.parametrize("name", ["step", "optimizers", "random"])
def test_malformed_metadata_raises_a_value_error(name: str, value: Any, tmp_path: Path) -> None:
    run, path = trainer(), tmp_path / "checkpoint.safetensors"
    run.train_step([examples(4)])
    run.save_checkpoint(path)
    arrays, metadata = checkpoint.load(path)
    checkpoint.save(path, arrays, {**metadata, name: value})
    before = everything(run)
    with pytest.raises(ValueError, match=r"checkpoint|optimizer|generator"):
        run.load_checkpoint(path)
    assert everything(run) == before


WRONG: list[Any] = [
    None, True, -1, 0, 1, 2**64, 10**400, -1.5, NAN, INF, "", "a", "²", [], {}, [[]], [None],
    {"a": 1}, [1] * 5, "0.m", {"0": 1}, [0.9, 0.9],
]  # fmt: skip


def mutated(value: Any, rng: Random) -> Any:
    """A copy of JSON data in which one entry is replaced, removed or added."""
    value = copy.deepcopy(value)
    node = value
    while True:
        keys = [*node] if isinstance(node, dict) else [*range(len(node))]
        if not keys:
            return value
        key = rng.choice(keys)
        if isinstance(node[key], dict | list) and rng.random() < 0.85:
            node = node[key]
        elif rng.random() < 0.7:
            node[key] = copy.deepcopy(rng.choice(WRONG))
            return value
        elif isinstance(node, dict) and rng.random() < 0.5:
            node[rng.choice(["x", "0", "lr", "²"])] = copy.deepcopy(rng.choice(WRONG))
            return value
        else:
            del node[key]
            return value


def test_fuzzed_checkpoints_raise_a_value_error_and_change_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, rng, batch = tmp_path / "checkpoint.safetensors", Random(0), examples(2)
    run = trainer()
    run.train_step([batch])
    run.save_checkpoint(path)
    arrays, metadata = checkpoint.load(path)
    loaded = 0
    for _ in range(300):
        wrong = mutated(metadata, rng)
        monkeypatch.setattr(checkpoint, "load", lambda path, wrong=wrong: (dict(arrays), wrong))
        fresh = trainer()
        before = everything(fresh)
        try:
            fresh.load_checkpoint(path)
        except ValueError:
            assert everything(fresh) == before
        else:
            fresh.train_step([batch])
            loaded += 1
    assert 0 < loaded < 150


@pytest.mark.parametrize("name", ["step", "optimizers", "random"])
def test_reserved_metadata_names_raise_an_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(ValueError, match=rf"save_checkpoint writes \['{name}'\] itself"):
        trainer().save_checkpoint(path, note="a", **{name: 99})
    assert not path.exists()


def everything(run: Trainer) -> Any:
    states = [o.state_dict() for o in run.optimizers]
    return (
        [a.tolist() for a in values(run.model)],
        [[{n: a.tolist() for n, a in own.items()} for own in s["state"].values()] for s in states],
        [s["param_groups"] for s in states],
        run.step,
        tt_random.generator().bit_generator.state,
        tt_random.mask_state(),
    )


def with_optimizers(change: Any) -> Trainer:
    run = trainer()
    run.optimizers = change(*run.optimizers)
    return run


OTHERS = {
    "another width": lambda: trainer(width=5),
    "one optimizer": lambda: with_optimizers(lambda muon, adamw: [muon]),
    "exchanged": lambda: with_optimizers(lambda muon, adamw: [adamw, muon]),
    "other groups": lambda: with_optimizers(
        lambda muon, adamw: [muon, AdamW([{"params": [p]} for p in adamw.parameters()])]
    ),
    "another kind": lambda: with_optimizers(
        lambda muon, adamw: [muon, SGD(adamw.parameters(), momentum=0.9)]
    ),
    "without state": lambda: with_optimizers(lambda muon, adamw: [muon, SGD(adamw.parameters())]),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_loading_the_checkpoint_of_another_run_changes_nothing(other: Any, tmp_path: Path) -> None:
    path, batch = tmp_path / "checkpoint.safetensors", examples(4)
    run = other()
    run.train_step([batch])
    run.save_checkpoint(path)
    run = trainer(seed=6)
    for _ in range(2):
        run.train_step([batch])
    before = everything(run)
    with pytest.raises(ValueError, match=r"cannot load|optimizer"):
        run.load_checkpoint(path)
    assert everything(run) == before


def test_a_file_without_training_state_raises_an_error(tmp_path: Path) -> None:
    run, path = trainer(), tmp_path / "weights.safetensors"
    checkpoint.save(path, run.model.state_dict(), {"step": 3})
    with pytest.raises(checkpoint.CheckpointError, match="not a training checkpoint"):
        run.load_checkpoint(path)
    with pytest.raises(checkpoint.CheckpointError):
        run.load_checkpoint(tmp_path / "nothing")


@pytest.mark.parametrize("masks", [[1], [1, 2.0], "12", [True, 1], {"key": 1}])
def test_a_malformed_mask_state_raises_an_error(masks: Any, tmp_path: Path) -> None:
    run, path = trainer(), tmp_path / "checkpoint.safetensors"
    run.save_checkpoint(path)
    arrays, metadata = checkpoint.load(path)
    metadata["random"]["masks"] = masks
    checkpoint.save(path, arrays, metadata)
    before = everything(run)
    with pytest.raises(checkpoint.CheckpointError, match="not the state of dropout masks"):
        run.load_checkpoint(path)
    assert everything(run) == before


def test_checkpoints_without_a_mask_state_can_be_resumed(tmp_path: Path) -> None:
    """Checkpoints from before the state of dropout masks was saved."""
    run, path = gpt_trainer(seed=1), tmp_path / "checkpoint.safetensors"
    gpt_losses(run, 2)
    run.save_checkpoint(path)
    arrays, metadata = checkpoint.load(path)
    del metadata["random"]["masks"]
    checkpoint.save(path, arrays, metadata)
    losses = []
    for seed in (2, 3):
        resumed = gpt_trainer(seed)
        resumed.load_checkpoint(path)
        losses.append(gpt_losses(resumed, 3))
    assert losses[0] == losses[1]


def test_the_deprecated_name_of_cuda_graph_still_works() -> None:
    model = Linear(2, 1)
    with pytest.warns(DeprecationWarning, match="cuda_graph="):
        run = Trainer(model, SGD(model.parameters()), MSELoss(), record=True)
    assert isinstance(run.runner, GraphedStep)


@pytest.mark.parametrize("backend", ["numpy", "reference"])
def test_a_failed_step_leaves_no_gradients_behind(backend: str) -> None:
    model = Linear(2, 1, backend=backend)
    x, y = Tensor([[1.0, 2.0]], backend=backend), Tensor([[3.0]], backend=backend)
    run = Trainer(model, SGD(model.parameters(), 0.1), MSELoss())
    with pytest.raises(ValueError, match="shape"):
        run.train_step([(x, y), (Tensor([[1.0]], backend=backend), y)])
    assert all(p.grad is None for p in model.parameters())
    assert (run.step, run.optimizers[0].steps) == (0, 0)


@pytest.mark.parametrize("settings", [{}, {"processes": 2}, {"cuda_graph": True}])
def test_a_copy_of_a_trainer_trains_as_the_original_does(settings: dict[str, Any]) -> None:
    def loss(run: Trainer) -> float:
        return run.train_step([(Tensor([[1.0], [2.0]]), Tensor([[3.0], [4.0]]))]).item()

    manual_seed(1)
    model = Linear(1, 1)
    run = Trainer(model, AdamW(model.parameters(), 0.1), MSELoss(), **settings)
    loss(run)
    duplicate = copy.deepcopy(run)
    expected = [loss(run), loss(run)]
    assert [loss(duplicate), loss(duplicate)] == pytest.approx(expected, rel=1e-6)
    assert [loss(run)] == pytest.approx([loss(duplicate)], rel=1e-6)


def test_a_custom_training_loop_resumes_from_the_random_state() -> None:
    """Batches and dropout masks continue, without a Trainer."""

    def losses(steps: int) -> list[float]:
        found = []
        for _ in range(steps):
            x = Tensor(tt_random.normal((4, 3)))
            loss = dropout(layer(x)).sum()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            found.append(loss.item())
        return found

    manual_seed(3)
    layer, dropout = Linear(3, 3), Dropout(0.5)
    optimizer = SGD(layer.parameters(), 0.1)
    losses(2)
    state, weights = random_state(), copy.deepcopy(layer.state_dict())
    expected = losses(3)
    manual_seed(4)
    layer.load_state_dict(weights)
    set_random_state(state)
    assert losses(3) == expected


def test_optimizers_without_a_rule_may_define_step_alone() -> None:
    class Plain(Optimizer):
        def step(self) -> None:
            for p in self.parameters():
                if p.grad is not None:
                    p.data = p.numpy() - self.lr * p.grad.numpy()
            self.steps += 1

    model = Linear(2, 1)
    run = Trainer(model, Plain(model.parameters(), lr=0.1), MSELoss(), cuda_graph=True)
    batch = (Tensor([[1.0, 2.0]]), Tensor([[3.0]]))
    losses = [run.train_step([batch]).item() for _ in range(5)]
    assert losses[-1] < losses[0]
    assert run.optimizers[0].steps == 5


def test_a_numpy_learning_rate_can_be_saved(tmp_path: Path) -> None:
    run = trainer()
    run.optimizers[0].lr = np.float32(0.5)  # type: ignore[assignment]
    run.save_checkpoint(tmp_path / "checkpoint.safetensors")
    metadata = run.load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert metadata["optimizers"][0]["param_groups"][0]["lr"] == 0.5


def test_a_step_that_was_replaced_on_an_optimizer_is_called() -> None:
    model, calls = Linear(2, 1), []
    optimizer = SGD(model.parameters(), lr=0.1)
    original = optimizer.step
    optimizer.step = lambda: (calls.append(1), original())  # type: ignore[assignment, func-returns-value]
    run = Trainer(model, optimizer, MSELoss(), cuda_graph=True)
    for _ in range(3):
        run.train_step([(Tensor([[1.0, 2.0]]), Tensor([[3.0]]))])
    assert (len(calls), optimizer.steps) == (3, 3)


def test_arguments_of_a_wrong_type_are_named() -> None:
    model = Linear(1, 1)
    with pytest.raises(TypeError, match="clip_grad_norm takes parameters, not Linear"):
        clip_grad_norm(model, 1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="optimizers must be an Optimizer or several, not Linear"):
        CosineSchedule(1.0).apply(model, 0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"SGD: a parameter must be a Tensor, not torch.Tensor"):
        SGD([require("torch").ones(2)])


MIXED = (["float16", "float16"], ["float16", "float32"], ["float32", "float64"])


@pytest.mark.parametrize("dtypes", MIXED)
def test_gradients_of_each_dtype_are_clipped_and_keep_it(dtypes: list[str], backend: str) -> None:
    if backend == "strict" and "float16" in dtypes:
        pytest.skip("the standard has no float16")
    parameters = [Parameter([0.0], dtype=dtype, backend=backend) for dtype in dtypes]
    for p, value in zip(parameters, (300.0, 400.0), strict=True):  # the squares overflow float16
        p.grad = Tensor([value], dtype=p.dtype, backend=backend)
    norm = clip_grad_norm(parameters, 5.0)
    assert norm.item() == 500
    for p, value, dtype in zip(parameters, (3.0, 4.0), dtypes, strict=True):
        assert str(p.grad.dtype).rsplit(".", 1)[-1] == dtype
        np.testing.assert_allclose(p.grad.numpy(), [value], rtol=1e-3)
