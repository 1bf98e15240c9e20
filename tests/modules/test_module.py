"""Lesson 03: modules register, save and move their contents; layers equal PyTorch's."""

import copy
import math
import pickle
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch
from tinytorch import (
    GPT,
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
from tinytorch.modules.module import evaluating


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
    assert [n for n, _ in block.named_modules()] == ["", "first", "layers.0", "layers.1"]
    assert [n for n, _ in block.named_children()] == ["first", "layers.0", "layers.1"]
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
    assert list(both.state_dict()) == ["0.weight", "1.weight", "2.weight"]
    both.load_state_dict({"0.weight": np.eye(2)})  # as older checkpoints, which have some names
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


def test_module_list_is_changed_like_a_list() -> None:
    a, b, c, d = (Linear(1, n, bias=False) for n in (1, 2, 3, 4))
    layers = ModuleList([a])
    layers += [b]
    assert layers.extend([c]) is layers
    layers.insert(0, d)
    layers[1] = c
    del layers[2]
    assert list(layers) == [d, c, c]
    assert list(layers[1:]) == [c, c]
    assert isinstance(layers[1:], ModuleList)
    assert list(layers.__add__([a])) == [d, c, c, a]
    assert list(reversed(layers)) == [c, c, d]
    assert c in layers
    assert list(layers.state_dict()) == ["0.weight", "1.weight", "2.weight"]
    with pytest.raises(IndexError):
        layers[3] = a


def test_sequential_takes_named_modules_and_keeps_the_names() -> None:
    model = Sequential(OrderedDict([("1", Linear(2, 3)), ("out", Linear(3, 1))]))
    model.append(ReLU()).append(ReLU())
    assert [n for n, _ in model.named_children()] == ["1", "out", "2", "3"]
    assert model(Tensor([[1.0, 2.0]])).shape == (1, 1)
    assert [type(m) for m in model[1:3]] == [Linear, ReLU]
    assert isinstance(model[1:3], Sequential)


NO_MODULES: dict[str, tuple[Any, str]] = {
    "class": (ReLU, r"the class ReLU is not a Module; create an instance: ReLU\(...\)"),
    "function": (tinytorch.relu, "relu is not a Module"),
    "lambda": (lambda x: x, "is not a Module"),
    "list": ([ReLU()], r"pass the modules as arguments: \w+\(\*modules\)"),
    "None": (None, "NoneType is not a Module"),
    "number": (3, "int is not a Module"),
}


@pytest.mark.parametrize(("value", "message"), NO_MODULES.values(), ids=NO_MODULES)
def test_containers_take_modules_only(value: Any, message: str) -> None:
    for create in (Sequential, lambda *v: ModuleList(v), lambda *v: Sequential({"a": v[-1]})):
        with pytest.raises(TypeError, match=message):
            create(value) if isinstance(value, list) else create(ReLU(), value)
    layers = ModuleList([ReLU()])
    for change in (
        layers.append,
        lambda v: layers.insert(0, v),
        lambda v: layers.__setitem__(0, v),
        lambda v: layers.extend([ReLU(), v]),
    ):
        with pytest.raises(TypeError, match=message):
            change(value)
    assert len(layers) == 1


class Filled(Module):
    """Lists and dicts that are filled, changed and nested after their assignment."""

    def __init__(self) -> None:
        self.later: list[Any] = []
        self.later.append(Linear(1, 1, bias=False))
        self.later += [Linear(1, 1, bias=False)]
        self.later[0] = Linear(1, 1, bias=False)
        given = [Linear(1, 1, bias=False)]
        self.given = given
        given.append(Linear(1, 1, bias=False))
        self.given.extend([Linear(1, 1, bias=False)])
        self.nested = [[Linear(1, 1, bias=False)], (ReLU(), {"a": Linear(1, 1, bias=False)})]
        self.named = {"x": Linear(1, 1, bias=False)}
        self.mixed = [None, Linear(1, 1, bias=False), "text"]
        self.weights = [Parameter([1.0]), Parameter([2.0])]
        self.numbers = [1, 2, 3]


def test_modules_in_lists_and_dicts_are_found_however_they_are_filled() -> None:
    filled = Filled()
    names = [
        *("later.0.weight", "later.1.weight"),
        *("given.0.weight", "given.1.weight", "given.2.weight"),
        *("nested.0.0.weight", "nested.1.1.a.weight", "named.x.weight", "mixed.1.weight"),
        *("weights.0", "weights.1"),
    ]
    assert sorted(n for n, _ in filled.named_parameters()) == sorted(names)
    assert sorted(filled.state_dict()) == sorted(names)
    assert not any(m.training for m in filled.eval().modules())
    assert filled.later[1].training is False
    assert filled.numbers == [1, 2, 3]
    other = Filled()
    other.load_state_dict(filled.state_dict())
    assert other.later[0].weight.tolist() == filled.later[0].weight.tolist()
    assert "(nested.0.0): Linear" in repr(filled)


def test_lists_and_tuples_of_modules_stay_what_they_are() -> None:
    module, layers = Module(), [Linear(1, 1), Linear(1, 1)]
    module.layers, module.pair = layers, tuple(layers)
    assert module.layers is layers
    assert type(module.pair) is tuple
    listed = Module()
    listed.layers = ModuleList(layers)
    assert [n for n, _ in module.named_parameters()] == [n for n, _ in listed.named_parameters()]
    listed.layers = layers  # over a ModuleList
    assert list(listed.state_dict())[:2] == ["layers.0.weight", "layers.0.bias"]


def test_two_tensors_of_one_name_are_an_error() -> None:
    layer = Linear(1, 1)
    layer.more = {1: Linear(1, 1), "1": Linear(1, 1)}
    with pytest.raises(ValueError, match=r"two tensors with the name 'more\.1\.weight'"):
        layer.state_dict()


def test_attributes_may_be_assigned_before_the_base_class_is_initialised() -> None:
    class Late(Module):
        def __init__(self) -> None:
            self.first = Linear(1, 1)
            super().__init__()
            self.second = Linear(1, 1)

    assert [n for n, _ in Late().named_children()] == ["first", "second"]


def test_a_module_may_contain_itself() -> None:
    layer = Linear(2, 1)
    layer.itself = layer
    assert len(list(layer.parameters())) == 2
    assert "..." in repr(layer)


ASSIGNMENTS: dict[str, tuple[str, Any, type[Exception] | None]] = {
    "tensor to parameter": ("weight", Tensor([[1.0]]), TypeError),
    "array to parameter": ("weight", np.ones((1, 1)), TypeError),
    "number to parameter": ("weight", 1.0, TypeError),
    "parameter to parameter": ("weight", Parameter([[1.0]]), None),
    "None to parameter": ("weight", None, None),
    "function to module": ("child", tinytorch.relu, TypeError),
    "class to module": ("child", ReLU, TypeError),
    "module to module": ("child", ReLU(), None),
    "None to module": ("child", None, None),
    "array to buffer": ("table", np.ones(1), TypeError),
    "tensor to buffer": ("table", Tensor([1]), None),
    "None to buffer": ("table", None, None),
    "dotted parameter": ("a.b", Parameter([1.0]), ValueError),
    "dotted module": ("a.b", ReLU(), ValueError),
}


@pytest.mark.parametrize(("name", "value", "error"), ASSIGNMENTS.values(), ids=ASSIGNMENTS)
def test_assignments_that_would_unregister_are_errors(name: str, value: Any, error: Any) -> None:
    module = Linear(1, 1, bias=False)
    module.child = ReLU()
    module.register_buffer("table", Tensor([2.0]))
    if error is not None:
        with pytest.raises(error, match=name if error is TypeError else "dot"):
            setattr(module, name, value)
        assert list(module.state_dict()) == ["weight", "table"]
        return
    setattr(module, name, value)
    assert getattr(module, name) is value
    missing = [name] if value is None else []
    assert [n for n in ("weight", "table") if n not in missing] == list(module.state_dict())
    module.to("float64")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("b", np.ones(1), TypeError),
        ("b", [1.0], TypeError),
        ("b", 1.0, TypeError),
        ("b", Parameter([1.0]), TypeError),
        ("a.b", Tensor([1.0]), ValueError),
        ("", Tensor([1.0]), ValueError),
        (1, Tensor([1.0]), ValueError),
        ("weight", Tensor([1.0]), ValueError),
        ("forward", Tensor([1.0]), ValueError),
    ],
)
def test_wrong_buffers_are_refused_at_once(name: Any, value: Any, error: Any) -> None:
    layer = Linear(1, 1)
    with pytest.raises(error, match="register_buffer"):
        layer.register_buffer(name, value)
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_a_buffer_may_be_none_and_be_assigned_later() -> None:
    layer = Linear(1, 1)
    layer.register_buffer("scale", None)
    assert "scale" not in layer.state_dict()
    layer.scale = Tensor([2.0])
    layer.register_buffer("scale", Tensor([3.0]))  # registering again replaces it
    assert layer.state_dict()["scale"] == 3


@pytest.mark.parametrize("dtype", ["int64", "bool", "uint8", np.int32, np.dtype("int64")])
def test_weights_cannot_become_integers(dtype: Any, backend: str) -> None:
    layer = Linear(2, 2, backend=backend)
    with pytest.raises(TypeError, match=r"Linear.to: weights cannot become .*floating"):
        layer.to(dtype)
    assert "float32" in str(layer.weight.dtype)


def test_mode_and_backend_errors_are_clear() -> None:
    with pytest.raises(TypeError, match="True or False"):
        Linear(1, 1).train([1])
    with pytest.raises(ValueError, match="ReLU has no parameters"):
        ReLU().backend  # noqa: B018
    assert ReLU().to("float64").training


def test_sequential_chains_modules() -> None:
    layers = [Linear(2, 3), ReLU(), Linear(3, 1)]
    x = Tensor([[1.0, 2.0]])
    expected = layers[2](layers[1](layers[0](x))).tolist()
    assert Sequential(*layers)(x).tolist() == expected
    assert Sequential()(x) is x


def test_state_dict_shares_memory_and_loading_copies(backend: str) -> None:
    block, other = Block().to(backend), Block().to(backend)
    state = block.state_dict()
    other.load_state_dict(state)
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[name].numpy())
    kept = copy.deepcopy(state)
    state["scale"] += 1
    assert not state["scale"].requires_grad
    np.testing.assert_array_equal(block.scale.numpy(), [2, 3])
    np.testing.assert_array_equal(kept["scale"].numpy(), [1, 2])
    np.testing.assert_array_equal(other.scale.numpy(), [1, 2])
    other.load_state_dict({"scale": [7, 8]}, strict=False)  # cast to the parameter's dtype
    np.testing.assert_array_equal(other.scale.numpy(), np.array([7, 8], "float32"))


def test_a_failed_load_lists_all_problems_and_changes_nothing() -> None:
    block = Block()
    before = {n: v.numpy().copy() for n, v in block.state_dict().items()}
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
        np.testing.assert_array_equal(value.numpy(), before[name])


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
    assert [m.training for m in block.modules()] == [False] * 4
    assert all(m.training for m in block.train().modules())


def test_to_moves_parameters_and_buffers_in_place(backend: str) -> None:
    block = Block()
    before = block.scale
    block.scale.sum().backward()
    assert block.to(backend) is block
    block.to("float64")
    assert block.scale is before
    assert block.scale.grad.tolist() == [1, 1]
    assert block.scale.grad.dtype == block.scale.dtype
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
        "  (0): Linear(in_features=2, out_features=3, bias=True)\n"
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
    with evaluating():
        assert not any(module.training for module in model.modules())
    with pytest.raises(KeyError), evaluating():
        raise KeyError
    assert [module.training for module in model.modules()] == [True, False, True]


def test_evaluating_holds_for_every_module_of_one_thread() -> None:
    model, x = Dropout(0.5), tinytorch.ones(100)

    def is_active() -> bool:
        return model.training and bool((model(x).numpy() == 0).any())

    with evaluating(), ThreadPoolExecutor(1) as pool:
        assert not is_active()
        assert pool.submit(is_active).result()
        assert not Dropout(0.5).training  # also of a module that is created within
        with evaluating():
            pass
        assert not is_active()  # not until the outer context is left
        assert not pool.submit(evaluating()(is_active)).result()  # as a decorator
        assert pool.submit(is_active).result()
    assert is_active()


def test_a_mode_that_is_set_within_evaluating_takes_effect_afterwards() -> None:
    model = Sequential(Dropout(0.5), Dropout(0.5), Dropout(0.5))
    with evaluating():
        model[0].eval()
        model[1].train()
        model[2].training = False
        assert [module.training for module in model] == [False, False, False]
        copied, pickled = copy.deepcopy(model), pickle.dumps(model)
    for found in (model, copied, pickle.loads(pickled)):
        assert [module.training for module in found] == [False, True, False]


def test_a_class_may_begin_in_evaluation_mode() -> None:
    class Frozen(Dropout):
        training: bool = False

    class Thawed(Frozen):
        training = True

    assert [Frozen().training, Thawed().training, Dropout().training] == [False, True, True]
    model = Sequential(Frozen(0.5))
    with evaluating():
        pass
    assert [module.training for module in model.modules()] == [True, False]
    model.train()
    assert model[0].training
    with evaluating():
        assert not model[0].training


LAYER_ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "Linear, dtype": (lambda: Linear(2, 2, "float64"), TypeError, "bias must be True or False"),
    "Linear, size": (lambda: Linear(2.5, 2), TypeError, "in_features must be an integer, not 2.5"),
    "Linear, negative": (
        lambda: Linear(2, -2),
        ValueError,
        "out_features must be at least 0, not -2",
    ),
    "LayerNorm, axes": (lambda: LayerNorm((3, 4)), TypeError, r"an integer, not \(3, 4\)"),
    "Dropout, flag": (lambda: Dropout(True), TypeError, "must be a number, not True"),
    "GPT, layers": (lambda: GPT(10, 8, 0, 2), ValueError, "GPT: num_layers must be at least 1"),
    "GPT, vocabulary": (lambda: GPT(0, 8, 1, 2), ValueError, "GPT: vocab_size must be at least 1"),
    "GPT, float": (lambda: GPT(10, 8.0, 1, 2), TypeError, "embed_dim must be an integer"),
    "GPT, flag": (lambda: GPT(10, 8, 1, 2, tie_weights=1), TypeError, "tie_weights must be True"),
    "list": (lambda: Linear(2, 1)([1.0, 2.0]), TypeError, "Linear takes tensors, not list"),
    "nested": (lambda: Sequential(Linear(2, 1))([1.0]), TypeError, "Linear takes tensors"),
    "ids": (lambda: GPT(10, 8, 1, 2)([[1]]), TypeError, "GPT takes tensors, not list"),
    "None": (lambda: GPT(10, 8, 1, 2)(None), TypeError, "GPT takes tensors, not NoneType"),
    "weights": (lambda: GPT(10, 8, 1, 2).attention_weights(Tensor([1])), ValueError, "(B, T)"),
}


@pytest.mark.parametrize(("call", "error", "match"), LAYER_ERRORS.values(), ids=LAYER_ERRORS)
def test_layers_name_the_wrong_argument(call: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        call()


def test_other_attribute_errors_are_not_changed() -> None:
    class Broken(Module):
        def forward(self, x: Any) -> Any:
            if x is None:
                raise AttributeError("missing, says the module")
            return [].missing if x == [] else self.missing

    for value in ([], 1, None):
        with pytest.raises(AttributeError, match="missing"):
            Broken()(value)


def test_layer_norm_takes_the_shape_of_one_axis() -> None:
    assert LayerNorm((4,))(tinytorch.ones(2, 4)).shape == (2, 4)


class FrozenPart(Module):
    """Overrides `train` to keep a part in evaluation mode."""

    def __init__(self) -> None:
        self.part = Sequential(Dropout(0.5))
        self.head = Dropout(0.5)

    def train(self, mode: bool = True) -> "FrozenPart":
        super().train(mode)
        self.part.eval()
        return self


def test_train_of_an_outer_module_calls_overridden_train_of_inner_ones() -> None:
    inner = FrozenPart()
    Sequential(Sequential(inner), Dropout(0.5)).train()
    assert [m.training for m in inner.modules()] == [True, False, False, True]
    assert not inner.eval().head.training


def test_a_named_tuple_of_modules_keeps_its_names() -> None:
    Pair = namedtuple("Pair", "first second")
    module = Module()
    module.pair = Pair(Linear(2, 2), ReLU())
    assert isinstance(module.pair.second, ReLU)
    assert [n for n, _ in module.named_parameters()] == ["pair.0.weight", "pair.0.bias"]


@pytest.mark.parametrize("state", [None, "model.safetensors", [1], Linear(2, 2)])
def test_load_state_dict_takes_a_dict_only(state: Any) -> None:
    with pytest.raises(TypeError, match="takes a dict of tensors by name"):
        Linear(2, 2).load_state_dict(state)


def test_load_state_dict_with_no_name_that_fits_warns() -> None:
    layer = Linear(2, 2)
    state = {f"module.{name}": value for name, value in layer.state_dict().items()}
    with pytest.warns(UserWarning, match=r"it has 'module.weight', not 'weight'"):
        keys = layer.load_state_dict(state, strict=False)
    assert keys.missing_keys == ["weight", "bias"]
    assert keys.unexpected_keys == ["module.weight", "module.bias"]
    assert layer.load_state_dict({}, strict=False).missing_keys == ["weight", "bias"]


def test_a_probability_of_dropout_that_is_assigned_later_is_checked() -> None:
    layer, x = Dropout(0.5), tinytorch.ones(3)
    layer.p = np.float64(0.5)
    assert layer(x).dtype == x.dtype
    for wrong in (1.5, -0.1, math.nan):
        layer.p = wrong
        with pytest.raises(ValueError, match="must be in"):
            layer(x)
