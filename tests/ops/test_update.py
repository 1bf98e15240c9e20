"""Multi-tensor updates equal the update rules of lesson 07, which are tested against PyTorch."""

import inspect
from typing import Any

import numpy as np
import pytest

from tinytorch import AdamW, Linear, Parameter, Tensor, backends, no_grad
from tinytorch.ops.op import OPS
from tinytorch.ops.update import scaled_gradients, update_tensors

ADAM = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.2, "step": 3}
MUON = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}
SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "dampening": 0.0, "step": 1}
CASES = [
    ("adam_update", 2, {**ADAM, "decoupled": True}),
    ("adam_update", 2, {**ADAM, "decoupled": False}),
    ("adam_update", 2, {**ADAM, "decoupled": True, "weight_decay": 0.0, "step": 1000}),
    ("muon_update", 1, {**MUON, "nesterov": True}),
    ("muon_update", 1, {**MUON, "nesterov": False, "weight_decay": 0.0}),
    ("sgd_update", 1, {**SGD, "nesterov": True}),
    ("sgd_update", 0, {**SGD, "nesterov": False, "momentum": 0.0}),
    ("sgd_update", 1, {**SGD, "nesterov": False, "dampening": 0.3, "step": 2}),
    ("sgd_update", 1, {**SGD, "nesterov": False, "dampening": 0.3, "step": 1}),
]
MATRICES = [(3, 5), (5, 3), (3, 5), (1, 4), (130, 70), (0, 4), (4, 4)]
SHAPES = {"muon_update": MATRICES}
ANY_SHAPES = [(3, 5), (7,), (), (0, 4), (300, 130), (3, 5)]


def make_rows(name: str, states: int, dtype: str, backend: str, order: Any) -> list[list[Tensor]]:
    rng = np.random.default_rng(3)

    def tensor(shape: tuple[int, ...]) -> Tensor:
        array = np.abs(rng.standard_normal(shape))
        return Tensor(np.asarray(array, dtype, order=order), backend=backend)

    shapes = SHAPES.get(name, ANY_SHAPES)
    return [[tensor(shape) for _ in range(2 + states)] for shape in shapes]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "states", "settings"), CASES)
def test_updates_of_all_rows_equal_the_rule(
    name: str, states: int, settings: Any, dtype: str, order: Any, backend: str
) -> None:
    rule = OPS[name]
    rows = make_rows(name, states, dtype, backend, order)
    expected = [[t.numpy() for t in rule(*row, **settings)] for row in rows]
    gradients = [row[1].numpy().copy() for row in rows]
    update_tensors(rule, rows, **settings)
    rtol, atol = (1e-3, 2e-4) if dtype == "float32" else (1e-9, 1e-10)
    for row, new, gradient in zip(rows, expected, gradients, strict=True):
        np.testing.assert_array_equal(row[1].numpy(), gradient)
        for tensor, array in zip((row[0], *row[2:]), new, strict=True):
            assert tensor.dtype == tensor.backend.asarray(array).dtype
            assert tensor.shape == array.shape
            np.testing.assert_allclose(tensor.numpy(), array, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", ["numpy", "cupy"])
def test_updates_have_the_settings_of_their_rule(name: str, request: pytest.FixtureRequest) -> None:
    if name == "cupy":
        request.getfixturevalue("cupy")
    updates = backends.get(name).updates
    assert updates
    for key, function in updates.items():
        takes = inspect.signature(OPS[key].forward).parameters.values()
        settings = [p.name for p in takes if p.kind is p.KEYWORD_ONLY]
        scale = ["scale"] if backends.get(name).clip_factor else []
        assert [*inspect.signature(function).parameters] == ["rows", *settings, *scale]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "states", "settings"), CASES)
def test_updates_multiply_gradients_by_a_factor(
    name: str, states: int, settings: Any, dtype: str, cupy_fp32: str
) -> None:
    """By the multi-tensor updates, and by a rule without one."""
    rows = make_rows(name, states, dtype, cupy_fp32, "C")
    factor = Tensor(0.3, dtype=dtype, backend=cupy_fp32)
    expected = [[t.numpy() for t in OPS[name](p, g * 0.3, *s, **settings)] for p, g, *s in rows]
    gradients = [row[1].numpy().copy() for row in rows]
    with scaled_gradients(factor):
        update_tensors(OPS[name], rows, **settings)
    rtol, atol = (1e-3, 2e-4) if dtype == "float32" else (1e-9, 1e-10)
    for row, new, gradient in zip(rows, expected, gradients, strict=True):
        np.testing.assert_array_equal(row[1].numpy(), gradient)
        for tensor, array in zip((row[0], *row[2:]), new, strict=True):
            np.testing.assert_allclose(tensor.numpy(), array, rtol=rtol, atol=atol)


def test_rows_of_several_dtypes_are_updated_together(backend: str) -> None:
    """A float32 and a float64 parameter in one optimizer."""
    updated = []
    for together in (True, False):
        values = np.linspace(-1, 1, 6).reshape(2, 3)
        parameters = [Parameter(values, dtype=d, backend=backend) for d in ("float32", "float64")]
        optimizers = [AdamW(parameters)] if together else [AdamW([p]) for p in parameters]
        for p in parameters:
            p.grad = Tensor(values, dtype=p.dtype, backend=backend)
        for optimizer in optimizers:
            optimizer.step()
        updated.append([p.numpy().copy() for p in parameters])
    for a, b in zip(*updated, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_update_counts_as_an_in_place_write() -> None:
    """Backward through weights that were updated after the forward pass is an error."""
    layer = Linear(2, 2)
    y = layer(layer(Tensor([[1.0, 2.0]]))).sum()
    for p in layer.parameters():
        p.grad = Tensor(np.ones(p.shape, np.float32))
    AdamW(layer.parameters()).step()
    with pytest.raises(RuntimeError, match="in place"):
        y.backward()


def test_updating_tensors_of_two_backends_raises(strict: str) -> None:
    rows = [[Tensor([1.0]), Tensor([1.0], backend=strict)]]
    settings = {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False}
    with pytest.raises(backends.BackendError, match="'numpy' and another on 'strict'"):
        update_tensors(OPS["sgd_update"], rows, **settings)


def test_updating_no_rows_does_nothing() -> None:
    update_tensors(OPS["sgd_update"], [])


def rows_of_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list to which each call of NumPy's Adam appends its number of rows."""
    calls: list[int] = []
    fused = backends.get("numpy").updates["adam_update"]

    def counted(rows: Any, **settings: Any) -> Any:
        calls.append(len(rows))
        return fused(rows, **settings)

    monkeypatch.setitem(backends.get("numpy").updates, "adam_update", counted)
    return calls


@pytest.mark.parametrize("view", [lambda t: t.detach(), lambda t: t.reshape(-1)[1:].reshape(2, -1)])
def test_views_of_a_parameter_are_updated_one_after_another(
    view: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = rows_of_calls(monkeypatch)
    shared, alone = (Tensor(np.ones((3, 20_001), np.float32)) for _ in range(2))
    with no_grad():
        parameters = [shared, view(shared), alone]
    rows = [
        [p, *(Tensor(np.full(p.shape, value, np.float32)) for value in (i - 1.0, 0.0, 0.0))]
        for i, p in enumerate(parameters)
    ]
    update_tensors(OPS["adam_update"], rows, **ADAM, decoupled=True)
    update_tensors(OPS["adam_update"], rows[1:], **ADAM, decoupled=True)
    assert calls == [1, 1, 1, 2]


def test_parts_of_one_array_are_updated_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the parameters of ranks that divide an optimizer are: each has its own place."""
    calls = rows_of_calls(monkeypatch)
    memory = np.ones((2, 5), np.float32)
    rows = [[Tensor(np.ones(5, np.float32)) for _ in range(4)] for _ in memory]
    for row, place in zip(rows, memory, strict=True):
        row[0]._set_array(place)
    update_tensors(OPS["adam_update"], rows, **ADAM, decoupled=True)
    assert calls == [2]
    assert (memory != 1).all()
