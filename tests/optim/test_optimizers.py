"""Optimizers as scripts for PyTorch use them, compared with PyTorch."""

import copy
import inspect
from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch
from tinytorch import Parameter, Tensor
from tinytorch.optim import SGD, Adam, AdamW, Optimizer

START = [np.array([[1.0, -2.0], [0.5, 3.0]], np.float32), np.array([0.3, -0.7], np.float32)]

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"lr": 0.1, "betas": (0.8, 0.9), "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "eps": 1e-6, "weight_decay": 0.1, "momentum": 0.9}),
    ("RMSprop", {"centered": True, "maximize": True}),
    ("RMSprop", {"centered": True, "momentum": 0.8}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "eps": 1e-6}),
    ("Adagrad", {"initial_accumulator_value": 0.3, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1}),
]
EACH = pytest.mark.parametrize(("name", "settings"), CASES)


def both(name: str, settings: dict[str, Any]) -> Any:
    """(library, parameters, optimizer) for TinyTorch and PyTorch, with the same parameters."""
    torch = require("torch")
    own = [Parameter(a) for a in START]
    theirs = [torch.nn.Parameter(torch.from_numpy(a.copy())) for a in START]
    return [
        (library, parameters, getattr(library.optim, name)(parameters, **settings))
        for library, parameters in ((tinytorch, own), (torch, theirs))
    ]


@EACH
def test_steps_equal_pytorch(name: str, settings: dict[str, Any]) -> None:
    results = []
    for library, parameters, optimizer in both(name, settings):
        train(library, parameters, optimizer, 12)
        results.append(values(parameters))
    assert_close(*results)
    assert not np.allclose(results[0][0], START[0], rtol=1e-5)


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_are_equal_on_every_backend(
    name: str, settings: dict[str, Any], dtype: str, backend: str
) -> None:
    results = []
    for place in ("numpy", backend):
        p = Parameter(START[0], dtype=dtype, backend=place)
        optimizer = getattr(tinytorch.optim, name)([p], **settings)
        for step in range(4):
            p.grad = Tensor(START[0] * (step - 1.2), dtype=dtype, backend=place)
            optimizer.step()
        results.append([p.numpy()])
    assert str(p.numpy().dtype) == dtype
    assert_close(*results)


def train(library: Any, parameters: Any, optimizer: Any, steps: int = 5, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        for p in parameters:
            g = rng.standard_normal(tuple(p.shape)).astype(np.float32)
            p.grad = Tensor(g) if library is tinytorch else library.from_numpy(g)
        optimizer.step()


def values(parameters: Any) -> list[Any]:
    return [p.detach().numpy() for p in parameters]


def assert_close(ours: Any, theirs: Any) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


@EACH
def test_state_dicts_have_the_layout_and_the_values_of_pytorch(name: str, settings: Any) -> None:
    states = []
    for library, parameters, optimizer in both(name, settings):
        train(library, parameters, optimizer)
        states.append(optimizer.state_dict())
    ours, theirs = states
    assert [*ours] == [*theirs]
    assert ours["param_groups"] == theirs["param_groups"]
    if name in ("SGD", "Adam", "AdamW"):  # they are also printed in the same order
        assert str(ours["param_groups"]) == str(theirs["param_groups"])
    assert {i: [*own] for i, own in ours["state"].items()} == {
        i: [*own] for i, own in theirs["state"].items()
    }
    for i, own in ours["state"].items():
        for key, value in own.items():
            np.testing.assert_allclose(value.numpy(), theirs["state"][i][key], rtol=1e-5)


@EACH
def test_states_of_pytorch_can_be_loaded_and_ours_by_pytorch(name: str, settings: Any) -> None:
    torch = require("torch")
    (_, own, optimizer), (_, theirs, reference) = both(name, settings)
    train(torch, theirs, reference)
    for p, q in zip(own, theirs, strict=True):
        p.data = q.detach().numpy()
    optimizer.load_state_dict(reference.state_dict())
    for library, parameters, each in ((tinytorch, own, optimizer), (torch, theirs, reference)):
        train(library, parameters, each, seed=1)
    assert_close(values(own), values(theirs))

    back = getattr(torch.optim, name)(theirs, lr=0.9)
    state = optimizer.state_dict()
    state["state"] = {
        i: {key: torch.from_numpy(value.numpy().copy()) for key, value in kept.items()}
        for i, kept in state["state"].items()
    }
    back.load_state_dict(state)
    train(tinytorch, own, optimizer, seed=2)
    train(torch, theirs, back, seed=2)
    assert_close(values(own), values(theirs))


@EACH
def test_optimizers_are_printed_as_in_pytorch(name: str, settings: Any) -> None:
    (_, _, ours), (_, _, theirs) = both(name, settings)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "AdamW", "Muon", "RMSprop", "Adagrad", "Adadelta", "Adamax"]
)
def test_positional_arguments_and_defaults_are_those_of_pytorch(name: str) -> None:
    torch = require("torch")

    def positional(make: Any) -> list[tuple[str, Any]]:
        parameters = inspect.signature(make).parameters.values()
        return [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    ours = positional(getattr(tinytorch.optim, name))
    assert ours == positional(getattr(torch.optim, name))[: len(ours)]
    assert len(ours) >= 5


def test_rates_and_other_settings_of_groups_can_be_changed_between_steps() -> None:
    results = []
    for library, parameters, optimizer in both("SGD", {"lr": 0.1, "momentum": 0.9}):
        for step in range(6):
            for group in optimizer.param_groups:
                group["lr"] = 0.1 * 0.5**step
                group["momentum"] = 0.9 if step < 3 else 0.5
            train(library, parameters, optimizer, 1, step)
        results.append(values(parameters))
    assert_close(*results)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_groups_can_be_added_while_training(name: str) -> None:
    results = []
    for library, parameters, _ in both("SGD", {}):
        optimizer = getattr(library.optim, name)(parameters[:1], lr=0.1)
        train(library, parameters[:1], optimizer, 3)
        optimizer.add_param_group({"params": parameters[1], "lr": 0.01, "name": "biases"})
        train(library, parameters, optimizer, 3)
        assert optimizer.param_groups[1]["name"] == "biases"
        results.append(values(parameters))
        state = copy.deepcopy(optimizer.state_dict())
        assert [g["params"] for g in state["param_groups"]] == [[0], [1]]
        optimizer.load_state_dict(state)
        train(library, parameters, optimizer, 3)
        results.append(values(parameters))
    assert_close(results[0] + results[1], results[2] + results[3])


def test_an_added_group_is_checked() -> None:
    p = Parameter([1.0])
    optimizer = SGD([p], lr=0.1)
    for group, error, message in (
        ({"params": p}, ValueError, "a parameter is given twice"),
        ([p], TypeError, "a group must be a dict, not list"),
        ({"lr": 0.1}, ValueError, 'needs the key "params"'),
        ({"params": [Parameter([1.0])], "lr": -1}, ValueError, "lr must be at least 0"),
        ({"params": [Parameter([1.0])], "momentun": 1}, ValueError, "did you mean 'momentum'"),
        ({"params": [p * 2]}, ValueError, "computed from others"),
    ):
        with pytest.raises(error, match=message):
            optimizer.add_param_group(group)  # type: ignore[arg-type]
    assert len(optimizer.param_groups) == 1


def test_settings_of_other_names_stay_in_the_group_and_in_its_state() -> None:
    p = Parameter([1.0])
    optimizer = AdamW([{"params": [p], "name": "all", "lr_scale": 0.5}], lr=0.1)
    p.grad = Tensor([1.0])
    optimizer.step()
    state = optimizer.state_dict()
    assert state["param_groups"][0]["name"] == "all"
    other = AdamW([Parameter([1.0])])
    other.load_state_dict(state)
    assert (other.param_groups[0]["name"], other.param_groups[0]["lr_scale"]) == ("all", 0.5)
    other.load_state_dict(AdamW([Parameter([1.0])], lr=0.3).state_dict())
    assert (other.lr, other.param_groups[0]["name"]) == (0.3, "all")


def test_a_step_with_a_closure_returns_the_loss() -> None:
    results = []
    for _, (p, _), optimizer in both("SGD", {"lr": 0.1}):

        def closure(p: Any = p, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = (p * p).sum()
            loss.backward()
            return loss

        losses = []
        for _ in range(3):
            with tinytorch.no_grad():
                losses.append(optimizer.step(closure).item())
        results.append(losses)
        assert optimizer.step() is None
    assert_close([results[0]], [results[1]])


def custom(library: Any) -> Any:
    """An optimizer as tutorials for PyTorch write it."""

    class RunningSign(library.optim.Optimizer):  # type: ignore[misc]
        def __init__(self, params: Any, lr: float = 0.1, beta: float = 0.9) -> None:
            if lr < 0:
                raise ValueError("negative rate")
            super().__init__(params, {"lr": lr, "beta": beta})

        def step(self, closure: Any = None) -> Any:
            with library.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is None:
                            continue
                        state = self.state[p]
                        if len(state) == 0:
                            state["step"] = 0
                            state["mean"] = p.grad * 0
                        state["step"] += 1
                        state["mean"] = group["beta"] * state["mean"] + p.grad
                        p -= group["lr"] * state["mean"] / state["step"]

    return RunningSign


def test_optimizers_written_for_pytorch_run() -> None:
    results = []
    for library, parameters, _ in both("SGD", {}):
        optimizer = custom(library)(parameters, lr=0.2)
        assert optimizer.defaults == {"lr": 0.2, "beta": 0.9}
        train(library, parameters, optimizer, 3)
        state = copy.deepcopy(optimizer.state_dict())
        train(library, parameters, optimizer, 2)
        results.append(values(parameters))
        again = custom(library)(parameters, lr=0.5)
        again.load_state_dict(state)
        assert again.state[parameters[0]]["step"] == 3
        assert again.param_groups[0]["lr"] == 0.2
        train(library, parameters, again, 2)
        results.append(values(parameters))
        optimizer.zero_grad()
        assert all(p.grad is None for p in parameters)
    assert_close(results[0] + results[1], results[2] + results[3])


def test_state_is_by_parameter_and_may_be_cleared() -> None:
    results = []
    for library, parameters, optimizer in both("Adam", {"lr": 0.1}):
        train(library, parameters, optimizer)
        assert set(optimizer.state[parameters[0]]) >= {"exp_avg", "exp_avg_sq"}
        optimizer.state.clear()
        train(library, parameters, optimizer)
        results.append(values(parameters))
    assert_close(*results)


def test_copies_of_model_and_optimizer_train_alike() -> None:
    model = tinytorch.Linear(2, 2)
    optimizer = Adam(model.parameters(), lr=0.1)
    train(tinytorch, optimizer.parameters(), optimizer)
    twin, other = copy.deepcopy((model, optimizer))
    assert other.parameters()[0] is twin.weight
    train(tinytorch, optimizer.parameters(), optimizer)
    train(tinytorch, other.parameters(), other)
    np.testing.assert_array_equal(model.weight.numpy(), twin.weight.numpy())


def test_parameters_may_have_names() -> None:
    printed = []
    for library in (tinytorch, require("torch")):
        layer = library.nn.Linear(2, 2)
        optimizer = library.optim.SGD(layer.named_parameters(), lr=0.1)
        assert optimizer.param_groups[0]["params"][0] is layer.weight
        optimizer.load_state_dict(optimizer.state_dict())
        grouped = library.optim.SGD([{"params": layer.named_parameters(), "lr": 0.2}])
        printed.append([repr(optimizer), repr(grouped), optimizer.state_dict()])
    assert printed[0] == printed[1]


def test_choices_of_implementations_are_accepted() -> None:
    p = Parameter([1.0])
    for make in (SGD, Adam, AdamW):
        assert make([p], foreach=False, fused=True).param_groups[0]["fused"] is True
    Adam([p], capturable=True)
    with pytest.raises(TypeError, match="SGD got an unexpected argument 'capturable'"):
        SGD([p], capturable=True)


def test_the_base_class_takes_defaults_as_in_pytorch() -> None:
    optimizer = Optimizer([Parameter([1.0])], {"lr": 0.1, "note": [1]})
    assert optimizer.param_groups[0]["note"] == [1]
    assert Optimizer([Parameter([1.0])], defaults={}).param_groups[0].keys() == {"params"}
    with pytest.raises(TypeError, match="has no update rule: set the attribute `rule`, or overr"):
        optimizer.step()
