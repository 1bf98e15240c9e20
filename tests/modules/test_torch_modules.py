"""Modules, containers and hooks behave as PyTorch's: each program runs with both libraries."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch
import tinytorch.nn

torch = require("torch")


def names(pairs: Any) -> list[str]:
    return [name for name, _ in pairs]


def net(nn: Any) -> Any:
    """A module with parameters, a buffer, children within children and a shared parameter."""

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(3, 4, bias=False)
            self.scale = nn.Parameter(self.tensor([1.0, 2.0]))
            self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in "ab"])
            self.register_buffer("table", self.tensor([3.0]))
            self.register_buffer("mask", self.tensor([4.0]), persistent=False)
            self.register_parameter("nothing", None)
            self.head = nn.Linear(3, 4, bias=False)
            self.head.weight = self.embed.weight
            self.again = self.blocks[0]

        def tensor(self, values: Any) -> Any:
            return library(nn).tensor(values) if nn is torch.nn else tinytorch.Tensor(values)

        def forward(self, x: Any) -> Any:
            x = self.embed(x)
            for block in self.blocks:
                x = block(x)
            return x * self.scale.sum()

    return Net()


def library(nn: Any) -> Any:
    return torch if nn is torch.nn else tinytorch


def containers(nn: Any) -> Any:
    layers = nn.ModuleDict({"fc": nn.Identity(), "act": nn.ReLU()})
    layers["out"] = nn.Tanh()
    layers.update({"fc": nn.ReLU(), "more": nn.Identity()})
    popped = type(layers.pop("act")).__name__
    del layers["more"]
    found: list[Any] = [popped, *layers, *layers.keys(), len(layers), "fc" in layers, repr(layers)]
    found += [type(m).__name__ for m in layers.values()] + names(layers.items())
    found += [type(layers.fc).__name__, type(layers["out"]).__name__]
    layers.clear()
    found += [len(layers), repr(layers)]
    weights = nn.ParameterDict({"b": nn.Parameter(library(nn).zeros(2, 3))})
    weights["a"] = nn.Parameter(library(nn).ones(1))
    found += [*weights, *weights.keys(), names(weights.named_parameters()), "a" in weights]
    listed = nn.ParameterList([nn.Parameter(library(nn).zeros(n)) for n in (1, 2)])
    listed.append(library(nn).zeros(3))
    listed.extend([nn.Parameter(library(nn).zeros(4))])
    found += [len(listed), names(listed.named_parameters()), [len(p) for p in listed]]
    found += [type(listed[2]).__name__, type(listed[1:]).__name__, len(listed[1:])]
    return found


def sequential(nn: Any) -> Any:
    model = nn.Sequential(OrderedDict([("one", nn.ReLU()), ("two", nn.Tanh())]))
    model.append(nn.Identity())
    found = [repr(model), names(model.named_children()), type(model.two).__name__]
    found += [repr(model[:2]), names(model[1:].named_children()), type(model[-1]).__name__]
    plain = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Identity())
    del plain[0]
    plain.insert(1, nn.ReLU()).extend([nn.Tanh()])
    found += [repr(plain), type(plain.pop(0)).__name__, repr(plain + plain), len(plain * 2)]
    return found


def reprs(nn: Any) -> Any:
    model = nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh(), nn.Sequential(nn.ReLU())])

    class Mixed(nn.Module):  # type: ignore[misc]
        def __init__(self, extra: str, inner: bool) -> None:
            super().__init__()
            if inner:
                self.inner = model

        extra_repr = lambda self: self.extra  # noqa: E731

    found = []
    for extra in ("", "one", "one\ntwo"):
        for inner in (False, True):
            module = Mixed(extra, inner)
            module.extra = extra
            found.append(repr(module))
    found += map(repr, (model, nn.ModuleList(), nn.Sequential(), nn.Flatten(), nn.Identity(3, a=4)))
    weights = [nn.Parameter(library(nn).zeros(2, 3)), 3]
    found += [repr(nn.ParameterList(weights)), repr(nn.ParameterDict({"a": weights[0], "b": 3}))]
    return [*found, repr(nn.Unflatten(1, (2, 3)))]


def structure(nn: Any) -> Any:
    model = net(nn)
    visited: list[str] = []
    assert model.apply(lambda m: visited.append(type(m).__name__)) is model
    return [
        visited,
        names(model.named_parameters()),
        names(model.named_parameters(prefix="p", recurse=False)),
        names(model.named_parameters(remove_duplicate=False)),
        names(model.named_buffers()),
        names(model.named_modules()),
        names(model.named_modules(prefix="m", remove_duplicate=False)),
        names(model.named_children()),
        [type(m).__name__ for m in model.children()],
        [type(m).__name__ for m in model.modules()],
        len(list(model.parameters(recurse=False))),
        len(list(model.buffers())),
        list(model.state_dict()),
        list(model.state_dict(prefix="p.")),
        [v.requires_grad for v in model.state_dict(keep_vars=True).values()],
        model.get_submodule("blocks.1.0") is model.blocks[1][0],
        model.get_submodule("") is model,
        model.get_parameter("blocks.1.0.bias") is model.blocks[1][0].bias,
        model.get_buffer("table") is model.table,
        [n for n, p in model._parameters.items() if p is not None],
        sorted(model._buffers), list(model._modules),
        next(model.parameters()) is model.scale,
        [p.requires_grad for p in model.requires_grad_(False).parameters()],
        sum(p.numel() for p in model.parameters() if p.requires_grad),
        model._get_name(),
    ]  # fmt: skip


def loading(nn: Any) -> Any:
    model, other = net(nn), net(nn)
    state = model.state_dict()
    found: list[Any] = [repr(other.load_state_dict(state))]
    for name in ("scale", "blocks.0.0.bias"):
        del state[name]
    state["extra"] = state["table"]
    found.append(tuple(other.load_state_dict(state, strict=False)))
    keys = other.load_state_dict(state, strict=False)
    missing, unexpected = keys
    found += [missing == keys.missing_keys, unexpected, str(keys)]
    kept = copy.deepcopy(model.state_dict())
    model.state_dict()["table"].fill_(9)
    return [*found, float(model.table[0]), float(kept["table"][0])]


def changes(nn: Any) -> Any:
    """Assignments through `_modules`, and registration by other names."""
    model = nn.Module()
    model.add_module("a", nn.ReLU())
    model.register_module("b", nn.Tanh())
    model._modules["c"] = nn.Identity()
    model._modules["a"] = nn.Tanh()
    del model._modules["b"]
    model.register_parameter("w", nn.Parameter(library(nn).zeros(2)))
    return [repr(model), names(model.named_children()), next(model.parameters()).tolist()]


PROGRAMS: list[Callable[[Any], Any]] = [
    containers, sequential, reprs, structure, loading, changes,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_gives_the_same_values_as_with_pytorch(program: Callable[[Any], Any]) -> None:
    for found, expected in zip(program(tinytorch.nn), program(torch.nn), strict=True):
        assert found == expected


ERRORS: dict[str, Callable[[Any], Any]] = {
    "no module": lambda nn: nn.Module().add_module("a", 3),
    "a class": lambda nn: nn.Module().add_module("a", nn.ReLU),
    "dot in the name": lambda nn: nn.Module().add_module("a.b", nn.ReLU()),
    "empty name": lambda nn: nn.Module().add_module("", nn.ReLU()),
    "name of a method": lambda nn: nn.Module().add_module("forward", nn.ReLU()),
    "name of a method in a dict": lambda nn: nn.ModuleDict({"keys": nn.ReLU()}),
    "a tensor as parameter": lambda nn: nn.Module().register_parameter(
        "a", library(nn).zeros(2)
    ),
    "missing submodule": lambda nn: net(nn).get_submodule("blocks.5"),
    "a submodule that is none": lambda nn: net(nn).get_submodule("scale"),
    "a parameter that is none": lambda nn: net(nn).get_parameter("table"),
    "a buffer that is none": lambda nn: net(nn).get_buffer("scale"),
    "missing item": lambda nn: nn.ModuleDict()["a"],
    "index": lambda nn: nn.ModuleList([nn.ReLU()])[1],
    "forward of a list": lambda nn: nn.ModuleList([nn.ReLU()])(library(nn).zeros(2)),
    "forward is missing": lambda nn: nn.Module()(library(nn).zeros(2)),
    "mode": lambda nn: nn.ReLU().train(3),
    "missing attribute": lambda nn: net(nn).missing,
}  # fmt: skip


@pytest.mark.parametrize("call", ERRORS.values(), ids=ERRORS)
def test_errors_are_of_the_class_of_pytorch_s(call: Callable[[Any], Any]) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011
        call(torch.nn)
    with pytest.raises(TypeError if call is ERRORS["mode"] else expected.type):
        call(tinytorch.nn)


# Hooks


def hooked(nn: Any, values: Any) -> Any:
    """Hooks of every kind on a small model; what they saw, and the gradients."""
    lib = library(nn)
    tensor = torch.tensor if nn is torch.nn else tinytorch.Tensor
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    for p, v in zip(model.parameters(), values, strict=True):
        with lib.no_grad():
            p.copy_(tensor(v))
    x = tensor([[1.0, 2.0], [3.0, 4.0]])
    seen: list[Any] = []
    handles = [
        model[0].register_forward_pre_hook(lambda m, a: seen.append(("pre", a[0].tolist()))),
        model[0].register_forward_pre_hook(lambda m, a: (a[0] * 2,)),
        model[0].register_forward_pre_hook(lambda m, a: a[0] + 1, prepend=True),
        model[1].register_forward_hook(lambda m, a, o: seen.append(("out", o.tolist()))),
        model[1].register_forward_hook(lambda m, a, o: o * 3),
        model[2].register_forward_hook(
            lambda m, a, k, o: seen.append((len(a), k, o.tolist())), with_kwargs=True
        ),
        model[2].register_full_backward_pre_hook(lambda m, g: (g[0] * 2,)),
        model[2].register_full_backward_hook(
            lambda m, i, o: seen.append(("back", i[0].tolist(), o[0].tolist()))
        ),
        model[1].register_full_backward_hook(lambda m, i, o: (i[0] * 5,)),
        model[0].register_full_backward_hook(
            lambda m, i, o: seen.append(("first", i[0] is None, o[0].tolist()))
        ),
    ]
    gradients = []
    for _ in range(2):
        model.zero_grad()
        loss = (model(x) ** 2).sum()
        loss.backward()
        gradients.append([p.grad.tolist() for p in model.parameters()])
        with lib.no_grad():
            model(x)
        for handle in handles:
            handle.remove()
    return seen, gradients


def flat(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [item for v in value for item in flat(v)]
    return [value]


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_hooks_see_and_change_the_same_values_as_in_pytorch() -> None:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(s).astype("float32") for s in ((3, 2), (3,), (1, 3), (1,))]
    found, expected = (flat(hooked(nn, values)) for nn in (tinytorch.nn, torch.nn))
    assert [v for v in found if isinstance(v, str)] == [v for v in expected if isinstance(v, str)]
    numbers = [np.array([v for v in seen if isinstance(v, float)]) for seen in (found, expected)]
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=1e-4, atol=1e-6)
    assert len(found) == len(expected)


def two_inputs(nn: Any) -> Any:
    class Two(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any, n: Any, y: Any) -> Any:
            return x * n, (x + y).sum()

    tensor = torch.tensor if nn is torch.nn else tinytorch.Tensor
    x, y = tensor([1.0, 2.0]).requires_grad_(), tensor([3.0, 4.0]).requires_grad_()
    seen: list[Any] = []

    def hook(module: Any, grad_input: Any, grad_output: Any) -> None:
        seen.append([g if g is None else g.tolist() for g in (*grad_input, *grad_output)])

    module = Two()
    with module.register_full_backward_hook(hook):
        _, second = module(x, 3, y)
        second.backward()
        module(x.detach(), 3, y)[0].sum()
    module(x, 3, y)[1].backward()
    return seen, x.grad.tolist(), y.grad.tolist()


def test_backward_hooks_of_several_inputs_and_outputs() -> None:
    assert two_inputs(tinytorch.nn) == two_inputs(torch.nn)


class Parts(tinytorch.Module):
    """The same modules in a list or a dict, and as attributes."""

    def __init__(self) -> None:
        self.listed: list[Any] = []
        self.chain = tinytorch.Sequential(tinytorch.Linear(1, 1), tinytorch.ReLU())
        self.listed += list(self.chain)
        self.weight = tinytorch.Parameter([1.0])
        self.weights = {"w": self.weight}
        self.only = [tinytorch.Linear(2, 2, bias=False)]


def test_what_is_in_a_list_and_an_attribute_has_the_name_of_the_attribute() -> None:
    module = Parts()
    expected = ["weight", "chain.0.weight", "chain.0.bias", "only.0.weight"]
    assert names(module.named_parameters()) == list(module.state_dict()) == expected
    assert names(module.named_children()) == ["chain", "only.0"]
    assert "listed" not in repr(module)
    visited: list[Any] = []
    module.apply(visited.append)
    assert len(visited) == 5


def test_missing_methods_and_attributes() -> None:
    with pytest.raises(AttributeError, match=r"torch.nn.Module.share_memory is not in tinytorch"):
        tinytorch.nn.ReLU().share_memory()
    with pytest.raises(AttributeError, match="'ReLU' object has no attribute 'weight'"):
        tinytorch.nn.ReLU().weight  # noqa: B018


@pytest.mark.parametrize("name", ["half", "double", "float", "cpu"])
def test_conversions_return_the_module(name: str) -> None:
    ours, theirs = (getattr(net(nn), name)() for nn in (tinytorch.nn, torch.nn))
    assert str(ours.scale.dtype) in str(theirs.scale.dtype)
    assert ours.table.dtype == ours.scale.dtype
    with pytest.raises(TypeError, match="no backend has bfloat16"):
        ours.bfloat16()


def test_a_conversion_without_effect_keeps_gradients_and_graphs() -> None:
    layer = tinytorch.Linear(2, 1)
    loss = layer(tinytorch.ones(2)).sum()
    layer.to("cpu").float()
    loss.backward()
    layer.to("cpu")
    assert layer.weight.grad.tolist() == [[1, 1]]
    assert layer.double().weight.grad.dtype == layer.weight.dtype
