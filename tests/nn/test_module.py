"""Lesson 03: modules register, save and move their contents; layers equal PyTorch's."""

import copy
import math
from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch
from tinytorch import (
    Dropout,
    LayerNorm,
    Linear,
    Module,
    ModuleList,
    Parameter,
    ReLU,
    Sequential,
    Tensor,
)


class Block(Module):
    """A module with one of everything that can be registered."""

    def __init__(self) -> None:
        self.scale = Parameter([1.0, 2.0])
        self.first = Linear(2, 3)
        self.layers = [Linear(3, 3), Linear(3, 2, bias=False)]
        self.empty: list[Module] = []
        self.note = "no parameter"
        self.register_buffer("table", Tensor([1.0, 2.0]))
        self.register_buffer("mask", Tensor([True, False]), persistent=False)


LINEARS = ["first.weight", "first.bias", "layers.0.weight", "layers.0.bias", "layers.1.weight"]


def test_attributes_are_registered_in_order_of_assignment() -> None:
    block = Block()
    assert [n for n, _ in block.named_parameters()] == ["scale", *LINEARS]
    assert [n for n, _ in block.named_modules()] == ["", "first", "layers", "layers.0", "layers.1"]
    assert [n for n, _ in block.named_children()] == ["first", "layers"]
    assert isinstance(block.layers, ModuleList)
    assert block.num_parameters() == 2 + 9 + 12 + 6
    assert list(block.state_dict()) == ["scale", "table", *LINEARS]  # the mask is not persistent


def test_a_new_assignment_replaces_the_old_module() -> None:
    block = Block()
    block.first = Linear(2, 3, bias=False)
    block.layers = [Linear(1, 1)]
    block.scale = None
    names = [n for n, _ in block.named_parameters()]
    assert names == ["first.weight", "layers.0.weight", "layers.0.bias"]


def test_shared_parameters_count_once_and_are_saved_under_every_name() -> None:
    one, two = Linear(2, 2, bias=False), Linear(2, 2, bias=False)
    two.weight = one.weight
    both = ModuleList([one, two, one])
    assert [n for n, _ in both.named_parameters()] == ["0.weight"]
    assert list(both.state_dict()) == ["0.weight", "1.weight"]
    both.load_state_dict({"0.weight": np.eye(2), "1.weight": np.eye(2)})
    assert both[1].weight.tolist() == [[1, 0], [0, 1]]
    copied = copy.deepcopy(both)
    assert copied[0].weight is copied[1].weight is not one.weight


def test_module_list_behaves_like_a_list() -> None:
    layers = ModuleList([ReLU()])
    layers.append(Linear(1, 2))
    assert len(layers) == 2
    assert [type(m) for m in layers] == [ReLU, Linear]
    assert layers[-1] is layers[1]
    with pytest.raises(NotImplementedError, match="ModuleList does not define forward"):
        layers(1)


def test_sequential_chains_modules() -> None:
    layers = [Linear(2, 3), ReLU(), Linear(3, 1)]
    x = Tensor([[1.0, 2.0]])
    expected = layers[2](layers[1](layers[0](x))).tolist()
    assert Sequential(*layers)(x).tolist() == expected
    assert Sequential()(x) is x


def test_state_dict_round_trip_and_copies(backend: str) -> None:
    block, other = Block().to(backend), Block().to(backend)
    state = block.state_dict()
    other.load_state_dict(state)
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, state[name])
    state["scale"] += 1
    np.testing.assert_array_equal(block.scale.numpy(), [1, 2])
    other.load_state_dict({"scale": [7, 8]}, strict=False)  # cast to the parameter's dtype
    np.testing.assert_array_equal(other.scale.numpy(), np.array([7, 8], "float32"))


def test_a_failed_load_lists_all_problems_and_changes_nothing() -> None:
    block = Block()
    before = block.state_dict()
    wrong = {n: v + 1 for n, v in before.items()}
    wrong["first.bias"] = np.zeros(4)
    del wrong["table"]
    wrong["extra"] = np.zeros(1)
    parts = ["Block", r"first.bias has shape \(4,\), not \(3,\)", "table is miss", "extra is unexp"]
    with pytest.raises(ValueError, match=".*".join(parts)):
        block.load_state_dict(wrong)
    with pytest.raises(ValueError, match="shape"):
        block.load_state_dict(wrong, strict=False)
    with pytest.raises(TypeError, match="expected numbers"):
        block.load_state_dict({**wrong, "first.bias": ["a"] * 3, "scale": [9, 9]}, strict=False)
    for name, value in block.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    "change", [lambda m: m.load_state_dict(m.state_dict()), lambda m: m.to("float64")]
)
def test_changing_a_parameter_between_forward_and_backward_raises(change: Any) -> None:
    layer = Linear(2, 2)
    loss = layer(Tensor([1.0, 2.0], True)).sum()
    change(layer)
    with pytest.raises(RuntimeError, match="modified in place"):
        loss.backward()


def test_train_and_eval_apply_to_every_module() -> None:
    block = Block()
    assert block.eval() is block
    assert [m.training for m in block.modules()] == [False] * 5
    assert all(m.training for m in block.train().modules())


def test_to_moves_parameters_and_buffers_in_place(backend: str) -> None:
    block = Block()
    before = block.scale
    block.scale.sum().backward()
    assert block.to(backend) is block
    block.to("float64")
    assert block.scale is before
    assert block.scale.grad is None
    for tensor in (*block.parameters(), block.table, block.mask):
        assert tensor.backend.name == backend
    dtypes = [str(t.dtype).rsplit(".", 1)[-1] for t in (block.scale, block.table, block.mask)]
    assert dtypes == ["float64", "float64", "bool"]
    np.testing.assert_array_equal(block.table.numpy(), [1, 2])


def test_zero_grad_clears_all_gradients() -> None:
    layer = Linear(2, 1)
    layer(Tensor([1.0, 2.0])).sum().backward()
    assert layer.weight.grad.tolist() == [[1, 2]]
    layer.zero_grad()
    assert [p.grad for p in layer.parameters()] == [None, None]


def test_repr_shows_the_tree_of_modules() -> None:
    assert repr(Sequential(Linear(2, 3), ModuleList([Dropout(0.1)]), LayerNorm(3))) == (
        "Sequential(\n"
        "  (0): Linear(2, 3, bias=True)\n"
        "  (1): ModuleList(\n"
        "    (0): Dropout(p=0.1)\n"
        "  )\n"
        "  (2): LayerNorm(3, eps=1e-05, bias=True)\n"
        ")"
    )


# Layers


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (0, 4)])
@pytest.mark.parametrize(
    ("name", "arguments", "settings"),
    [
        ("Linear", (4, 5), {}),
        ("Linear", (4, 5), {"bias": False}),
        ("LayerNorm", (4,), {}),
        ("LayerNorm", (4,), {"eps": 0.1, "bias": False}),
    ],
)
def test_layers_equal_pytorch(
    shape: Any, name: str, arguments: Any, settings: Any, backend: str
) -> None:
    torch = require("torch")
    reference = getattr(torch.nn, name)(*arguments, **settings).double()
    with torch.no_grad():
        for p in reference.parameters():
            p.add_(torch.randn_like(p))
    layer = getattr(tinytorch, name)(*arguments, **settings, backend=backend).to("float64")
    layer.load_state_dict({n: p.detach().numpy() for n, p in reference.named_parameters()})
    array = np.random.default_rng(3).standard_normal(shape)
    x, u = Tensor(array, True, backend=backend), torch.tensor(array, requires_grad=True)
    y, v = layer(x), reference(u)
    (y * y).sum().backward()
    (v * v).sum().backward()
    pairs = [(y, v.detach()), (x.grad, u.grad)]
    pairs += [
        (p.grad, dict(reference.named_parameters())[n].grad) for n, p in layer.named_parameters()
    ]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-10)


def test_linear_is_initialised_as_in_pytorch_and_equally_on_all_backends(backend: str) -> None:
    layer = Linear(64, 50, backend=backend)
    for p in layer.parameters():
        array, bound = p.numpy(), 1 / math.sqrt(64)
        assert array.dtype == np.float32
        assert np.abs(array).max() <= bound
        assert abs(array.mean()) < 0.2 * bound
        np.testing.assert_allclose(array.std(), bound / math.sqrt(3), rtol=0.2)
    tinytorch.manual_seed(1234)
    np.testing.assert_array_equal(layer.weight.numpy(), Linear(64, 50, backend="numpy").weight)


def test_errors_name_wrong_shapes() -> None:
    with pytest.raises(ValueError, match=r"Linear\(4, 5\) needs a last axis of 4.*\(2, 3\)"):
        Linear(4, 5)(tinytorch.ones(2, 3))
    with pytest.raises(ValueError, match=r"LayerNorm\(4\) cannot normalise shape \(2, 3\)"):
        LayerNorm(4)(tinytorch.ones(2, 3))
    for layer in (Linear(4, 5), LayerNorm(4)):
        with pytest.raises(ValueError, match=r"\(\)"):
            layer(Tensor(1.0))


def test_dropout_zeroes_a_fraction_p_and_scales_the_rest(backend: str) -> None:
    x = Tensor(np.full((100, 100), 3.0), True, backend=backend)
    y = Dropout(0.25)(x)
    values, dropped = y.numpy(), y.numpy() == 0
    np.testing.assert_allclose(values[~dropped], 4)
    assert abs(dropped.mean() - 0.25) < 0.02
    for axis in (0, 1):  # no row or column differs from the others
        assert np.abs(dropped.mean(axis=axis) - 0.25).max() < 0.25
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), values / 3)
    assert (Dropout(0.25)(x).numpy() != values).any()  # a new mask each time


def test_dropout_masks_are_equal_on_every_backend(strict: str) -> None:
    masks = []
    for backend in ("numpy", strict):
        tinytorch.manual_seed(5)
        masks.append(Dropout(0.5)(tinytorch.ones(7, 9, backend=backend)).numpy())
    np.testing.assert_array_equal(*masks)


def test_dropout_with_p_0_and_1(backend: str) -> None:
    x = Tensor([1.0, 2.0], True, backend=backend)
    assert Dropout(0.0)(x) is x
    assert Dropout(0.9).eval()(x) is x
    y = Dropout(1.0)(x)
    y.sum().backward()
    np.testing.assert_array_equal((y.numpy(), x.grad.numpy()), np.zeros((2, 2)))
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            Dropout(wrong)


def test_evaluating_restores_the_mode_of_each_module_also_after_an_error() -> None:
    model = Sequential(Linear(2, 2), Dropout(0.5))
    model[0].eval()
    with model.evaluating():
        assert not any(module.training for module in model.modules())
    with pytest.raises(KeyError), model.evaluating():
        raise KeyError
    assert [module.training for module in model.modules()] == [True, False, True]
