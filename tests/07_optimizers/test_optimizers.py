"""Lesson 07: every optimizer takes the same steps as PyTorch's."""

import json
from typing import Any

import numpy as np
import pytest
from helpers import old_optimizer_state, require

from tinytorch import SGD, Adam, AdamW, Muon, Optimizer, Parameter, Tensor
from tinytorch.ops.op import op
from tinytorch.optimizers import orthogonalise
from tinytorch.serialization.optimizer_state import join_state, split_state

SHAPES = [(4, 3), (3, 7), (5,), ()]
STEPS = 12


def start(shapes: list[Any] = SHAPES) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [np.asarray(rng.standard_normal(shape), np.float32) for shape in shapes]


def gradients(step: int, shapes: list[Any] = SHAPES) -> list[np.ndarray]:
    rng = np.random.default_rng(100 + step)
    return [np.asarray(rng.standard_normal(shape), np.float32) for shape in shapes]


def train(
    optimizer: Optimizer, first: int = 0, last: int = STEPS, shapes: list[Any] = SHAPES
) -> list[np.ndarray]:
    """Take steps with prescribed gradients; return the parameters after them."""
    parameters = optimizer.parameters()
    for step in range(first, last):
        for p, g in zip(parameters, gradients(step, shapes), strict=True):
            p.grad = Tensor(g.astype(p.numpy().dtype), backend=p.backend)
        optimizer.step()
    return [p.numpy().copy() for p in parameters]


def parameters(shapes: list[Any] = SHAPES, **settings: Any) -> list[Parameter]:
    return [Parameter(a, **settings) for a in start(shapes)]


def train_torch(make: Any, shapes: list[Any] = SHAPES) -> list[np.ndarray]:
    """As `train`, with the PyTorch optimizer that `make(torch, parameters)` returns."""
    torch = require("torch")
    references = [torch.nn.Parameter(torch.from_numpy(a)) for a in start(shapes)]
    optimizer = make(torch, references)
    for step in range(STEPS):
        for p, g in zip(references, gradients(step, shapes), strict=True):
            p.grad = torch.from_numpy(g)
        optimizer.step()
    return [p.detach().numpy() for p in references]


def assert_close(ours: list[np.ndarray], theirs: list[np.ndarray], **tolerance: float) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, **{"rtol": 2e-5, "atol": 2e-6, **tolerance})


CASES = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "weight_decay": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "maximize": True}),
    (Adam, {}),
    (Adam, {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    (Adam, {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (Adam, {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3}),
    (Adam, {"lr": 0.05, "weight_decay": 0.1}),
    (AdamW, {}),
    (AdamW, {"lr": 0.05, "betas": (0.9, 0.95), "weight_decay": 0.3}),
    (AdamW, {"lr": 0.05, "weight_decay": 0.0}),
    (AdamW, {"lr": 0.05, "amsgrad": True, "weight_decay": 0.3}),
]
NAMES = [f"{make.__name__}-{'-'.join(settings) or 'defaults'}" for make, settings in CASES]


@pytest.mark.parametrize(("make", "settings"), CASES, ids=NAMES)
def test_steps_equal_pytorch(make: Any, settings: dict[str, Any]) -> None:
    ours = train(make(parameters(), **settings))
    theirs = train_torch(lambda torch, p: getattr(torch.optim, make.__name__)(p, **settings))
    assert_close(ours, theirs)


def test_groups_have_their_own_settings_and_rates() -> None:
    def groups(p: Any) -> Any:
        return [{"params": p[:2], "weight_decay": 0.3}, {"params": p[2:], "lr": 0.01}]

    ours = AdamW(groups(parameters()), lr=0.05, weight_decay=0.0)
    assert [g["lr"] for g in ours.param_groups] == [0.05, 0.01]
    theirs = train_torch(lambda torch, p: torch.optim.AdamW(groups(p), lr=0.05, weight_decay=0.0))
    assert_close(train(ours), theirs)
    ours.scale_lr(0.5)
    assert [g["lr"] for g in ours.param_groups] == [0.025, 0.005]
    ours.lr = 0.2
    assert [g["lr"] for g in ours.param_groups] == [0.2, 0.2]


@pytest.mark.parametrize("make", [SGD, Adam, AdamW, Muon])
def test_fortran_ordered_parameters_are_updated(make: Any) -> None:
    matrix, g = start([(4, 3)])[0], gradients(0, [(4, 3)])[0]
    results = []
    for order in "CF":
        p = Parameter(np.asarray(matrix, order=order))
        p.grad = Tensor(np.asarray(g, order=order))
        make([p], lr=0.1).step()
        results.append(p.numpy())
    assert (results[0] != matrix).all()
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)


# Muon

MATRICES = [(4, 4), (3, 8), (9, 2), (1, 5)]


def newton_schulz(G: np.ndarray) -> np.ndarray:
    """As in the paper, with X transposed so that X X^T is the smaller product."""
    X = (G.T if G.shape[0] > G.shape[1] else G) / (np.linalg.norm(G) + 1e-7)
    for _ in range(5):
        A = X @ X.T
        X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X
    return X.T if G.shape[0] > G.shape[1] else X


@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_equals_the_paper(nesterov: bool) -> None:
    lr, decay, momentum = 0.05, 0.2, 0.9
    expected = [a.astype(np.float64) for a in start(MATRICES)]
    memory = [np.zeros_like(a) for a in expected]
    for step in range(STEPS):
        for i, g in enumerate(gradients(step, MATRICES)):
            memory[i] += (1 - momentum) * (g - memory[i])
            direction = g + momentum * (memory[i] - g) if nesterov else memory[i]
            rate = lr * max(1, g.shape[0] / g.shape[1]) ** 0.5
            expected[i] *= 1 - lr * decay
            expected[i] -= rate * newton_schulz(direction)
    for dtype, atol in (("float64", 1e-10), ("float32", 2e-4)):
        muon = Muon(parameters(MATRICES, dtype=dtype), lr, decay, momentum, nesterov)
        assert_close(train(muon, shapes=MATRICES), expected, rtol=atol, atol=atol)


@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_equals_pytorch_up_to_bfloat16_rounding(nesterov: bool) -> None:
    settings: Any = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.95, "nesterov": nesterov}
    ours = train(Muon(parameters(MATRICES), **settings), shapes=MATRICES)
    theirs = train_torch(lambda torch, p: torch.optim.Muon(p, **settings), MATRICES)
    moved = [np.linalg.norm(a - b) for a, b in zip(ours, start(MATRICES), strict=True)]
    apart = [np.linalg.norm(a - b) for a, b in zip(ours, theirs, strict=True)]
    assert (np.array(apart) < 0.03 * np.array(moved)).all(), (apart, moved)


@pytest.mark.parametrize("shape", [(30, 10), (10, 30), (20, 20), (3, 20, 10)])
def test_orthogonalise_gives_singular_values_near_one(shape: tuple[int, ...]) -> None:
    values = np.linalg.svd(
        orthogonalise(np, np.random.default_rng(0).standard_normal(shape)), compute_uv=False
    )
    assert values.min() > 0.3
    assert values.max() < 1.25


def test_muon_rejects_parameters_that_are_not_matrices() -> None:
    with pytest.raises(ValueError, match=r"use AdamW for shape \(3,\)"):
        Muon([Parameter(np.zeros((2, 2))), Parameter(np.zeros(3))])


# Errors, and state

P = Parameter([1.0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD([P], lr=-1), ValueError, "lr must be at least 0"),
        (lambda: SGD([P], lr=float("nan")), ValueError, "lr must be at least 0"),
        (lambda: SGD([P], momentum=-0.1), ValueError, "momentum must be at least 0"),
        (lambda: SGD([P], nesterov=True), ValueError, "nesterov needs a momentum"),
        (lambda: Adam([P], betas=(0.9, 1.0)), ValueError, "betas must be in"),
        (lambda: Adam([P], eps=-1e-8), ValueError, "eps must be at least 0"),
        (lambda: AdamW([P], weight_decay=-0.1), ValueError, "weight_decay must be at least 0"),
        (lambda: AdamW([{"params": [P], "lr": -1}]), ValueError, "lr must be at least 0"),
        (
            lambda: AdamW([{"params": [P], "weight_deacy": 1}]),
            ValueError,
            "no setting 'weight_deacy'; did you mean 'weight_decay'",
        ),
        (lambda: SGD([P], momentun=1), TypeError, "argument 'momentun'; did you mean momentum"),
        (lambda: SGD([P], 0.1, 0.9, 0.5, 0.0, True), ValueError, "nesterov needs dampening=0"),
        (lambda: Adam([P], differentiable=True), ValueError, "leave out differentiable"),
        (lambda: AdamW([]), ValueError, "no parameters"),
        (lambda: AdamW([P, P]), ValueError, "twice"),
        (lambda: AdamW([{"params": [P]}, {"params": [P]}]), ValueError, "twice"),
        (lambda: AdamW([np.zeros(3)]), TypeError, "must be a Tensor, not ndarray"),
    ],
)
def test_invalid_settings_raise_an_error(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


ALL = [
    lambda p: SGD(p, lr=0.1, momentum=0.9),
    lambda p: SGD(p, lr=0.1),
    lambda p: Adam(p, lr=0.1),
    lambda p: AdamW(p, lr=0.1),
    lambda p: Muon(p, lr=0.1),
]
EACH = pytest.mark.parametrize("make", ALL, ids=["momentum", "SGD", "Adam", "AdamW", "Muon"])


@EACH
def test_a_parameter_without_gradient_is_unchanged(make: Any) -> None:
    learned, frozen = parameters([(2, 2), (3, 3)])
    optimizer, before = make([frozen, learned]), frozen.numpy().copy()
    learned.grad = Tensor(np.ones((2, 2), np.float32))
    optimizer.step()
    np.testing.assert_array_equal(frozen.numpy(), before)
    assert (learned.numpy() != start([(2, 2)])[0]).all()
    assert 0 not in optimizer.state_dict()["state"]


@EACH
def test_training_continues_exactly_from_a_saved_state(make: Any) -> None:
    one = make(parameters(MATRICES))
    half = train(one, 0, 5, MATRICES)
    one.lr = 0.03
    saved = one.state_dict()
    expected = train(one, 5, 10, MATRICES)
    other = make([Parameter(a) for a in half])
    other.load_state_dict(saved)
    for a, b in zip(train(other, 5, 10, MATRICES), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def state_of(make: Any, shapes: Any, groups: int = 1, old: bool = False) -> dict[str, Any]:
    p = parameters(shapes)
    optimizer = make(p if groups == 1 else [{"params": [q]} for q in p])
    train(optimizer, 0, 1, shapes)
    state: dict[str, Any] = old_optimizer_state(optimizer) if old else optimizer.state_dict()
    return state


KINDS = ["shape", "more", "groups", "SGD", "Muon"]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (state_of(AdamW, [(2, 3), (5,)]), "fits no parameter"),
        (state_of(AdamW, [(3, 2), (4,), (1,)]), "group 0 has 3 parameters, not 2"),
        (state_of(AdamW, [(3, 2), (4,)], groups=2), "2 groups, not 1"),
        (state_of(ALL[0], [(3, 2), (4,)]), "another optimizer's"),
        (state_of(Muon, [(3, 2), (3, 2)]), "another optimizer's"),
        (state_of(AdamW, [(2, 3), (5,)], old=True), "fits no parameter"),
        (state_of(AdamW, [(3, 2), (4,), (1,)], old=True), "fits no parameter"),
        (state_of(AdamW, [(3, 2), (4,)], groups=2, old=True), "2 groups, not 1"),
        (state_of(ALL[0], [(3, 2), (4,)], old=True), "another optimizer's"),
        (state_of(Muon, [(3, 2)], old=True), "another optimizer's"),
    ],
    ids=[a + b for b in ("", " of an old version") for a in KINDS],
)
def test_loading_the_state_of_another_optimizer_raises_an_error(state: Any, message: str) -> None:
    optimizer = AdamW(parameters([(3, 2), (4,)]))
    before = plain(optimizer.state_dict())
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    assert plain(optimizer.state_dict()) == before


def plain(state: Any) -> Any:
    """A state with lists instead of tensors."""
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    if isinstance(state, list):
        return [plain(value) for value in state]
    return state.tolist() if isinstance(state, Tensor) else state


@EACH
def test_strict_equals_numpy(make: Any, strict: str) -> None:
    on_device = make(parameters(MATRICES, dtype="float64", backend=strict))
    on_host = make(parameters(MATRICES, dtype="float64"))
    assert_close(
        train(on_device, shapes=MATRICES), train(on_host, shapes=MATRICES), rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize("backend", ["numpy", "reference", "strict"])
@EACH
def test_settings_may_be_numpy_numbers(make: Any, backend: str) -> None:
    p = Parameter(np.ones((2, 2), np.float32), backend=backend)
    p.grad = Tensor(np.ones((2, 2), np.float32), backend=backend)
    optimizer = make([p])
    optimizer.lr = np.float64(0.1)
    for name in {"momentum", "weight_decay", "eps"} & set(optimizer.param_groups[0]):
        optimizer.param_groups[0][name] = np.float64(optimizer.param_groups[0][name])
    if "betas" in optimizer.param_groups[0]:
        optimizer.param_groups[0]["betas"] = (np.float64(0.9), np.float64(0.99))
    optimizer.step()
    assert p.numpy().dtype == np.float32
    assert np.isfinite(p.numpy()).all()


def test_an_optimizer_updates_parameters_of_several_backends(strict: str) -> None:
    parameters = [Parameter([1.0]), Parameter([1.0], backend=strict)]
    for p in parameters:
        p.grad = Tensor([1.0], backend=p.backend)
    AdamW(parameters, lr=0.1).step()
    np.testing.assert_allclose(parameters[1].numpy(), parameters[0].numpy(), rtol=1e-6)


def test_an_optimizer_without_a_rule_raises_an_error() -> None:
    class Empty(Optimizer):
        pass

    with pytest.raises(TypeError, match="Empty has no update rule"):
        Empty([P], lr=0.1).step()


def test_custom_optimizer_with_rule_and_state_names() -> None:
    class SignSGD(Optimizer):
        """Steps of the sign of a running mean of the gradient."""

        rule = sign_update
        state_names = ("m",)

    p = Parameter([1.0, 1.0])
    optimizer = SignSGD([p], lr=0.5, decay=0.9)
    for gradient in ([1.0, -2.0], [-0.1, 0.1]):
        p.grad = Tensor(gradient)
        optimizer.step()
    assert p.tolist() == [0.0, 2.0]
    np.testing.assert_allclose(
        optimizer.state_dict()["state"][0]["m"].numpy(), [0.08, -0.17], rtol=1e-5
    )


@op
def sign_update(xp: Any, p: Any, g: Any, m: Any, *, lr: float, decay: float) -> Any:
    m = decay * m + (1 - decay) * g
    return (p - lr * xp.sign(m), m), ()


# Parameters without gradients in some steps

# Indices of the parameters that have a gradient in each of 12 steps; some steps have none.
USED = [{0}, {0, 1}, set(), {0}, {0, 1}, {0, 2}, set(), {1, 2}, {0, 1, 2}, {0}, {2}, {0, 1, 2}]
SOME = [(3, 2), (2, 3), (2, 2), (2, 4)]


def train_some(optimizer: Optimizer, first: int = 0, last: int = len(USED)) -> list[np.ndarray]:
    """As `train`, with gradients for the parameters in `USED` only."""
    for step in range(first, last):
        optimizer.zero_grad()
        for i in USED[step]:
            p = optimizer.parameters()[i]
            p.grad = Tensor(gradients(step, SOME)[i].astype(p.numpy().dtype), backend=p.backend)
        optimizer.step()
    return [p.numpy().copy() for p in optimizer.parameters()]


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("make", "settings"), CASES, ids=NAMES)
def test_updates_are_counted_per_parameter_as_in_pytorch(
    make: Any, settings: dict[str, Any], grouped: bool, backend: str
) -> None:
    torch = require("torch")

    def groups(p: Any) -> Any:
        return [{"params": p[:2]}, {"params": p[2:], "lr": 0.02}] if grouped else p

    ours = make(groups(parameters(SOME, backend=backend)), **settings)
    references = [torch.nn.Parameter(torch.from_numpy(a)) for a in start(SOME)]
    theirs = getattr(torch.optim, make.__name__)(groups(references), **settings)
    for step in range(len(USED)):
        theirs.zero_grad()
        for i in USED[step]:
            references[i].grad = torch.from_numpy(gradients(step, SOME)[i])
        theirs.step()
    assert_close(train_some(ours), [p.detach().numpy() for p in references])
    counts = [ours.steps - ours.missed.get(i, 0) for i in range(len(SOME))]
    assert counts == [sum(i in used for used in USED) for i in range(len(SOME))]


def test_first_update_of_a_parameter_has_full_size_at_any_step() -> None:
    early, late = Parameter([1.0]), Parameter([1.0])
    optimizer = Adam([early, late], lr=0.01)
    for _ in range(10):
        early.grad = Tensor([0.5])
        optimizer.step()
    late.grad = Tensor([0.5])
    optimizer.step()
    assert late.item() == pytest.approx(0.99)


@EACH
@pytest.mark.parametrize("middle", [1, 5, 7])
def test_update_counts_are_saved_and_restored(make: Any, middle: int) -> None:
    one = make(parameters(SOME))
    half = train_some(one, 0, middle)
    saved = one.state_dict()
    expected = train_some(one, middle)
    other = make([Parameter(a) for a in half])
    other.load_state_dict(json_copy(saved))
    for a, b in zip(train_some(other, middle), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def json_copy(state: dict[str, Any]) -> dict[str, Any]:
    """As a state comes back from a checkpoint."""
    if "param_groups" in state:
        values, arrays = split_state(state)
        return join_state(json.loads(json.dumps(values)), arrays)
    values = {name: value for name, value in state.items() if name != "arrays"}
    return {**json.loads(json.dumps(values)), "arrays": state["arrays"]}


@EACH
@pytest.mark.parametrize("middle", [1, 5, 7])
def test_states_of_older_versions_continue_exactly(make: Any, middle: int) -> None:
    one = make(parameters(SOME))
    half = train_some(one, 0, middle)
    old = json_copy(old_optimizer_state(one))
    expected = train_some(one, middle)
    other = make([Parameter(a) for a in half])
    other.load_state_dict(old)
    for a, b in zip(train_some(other, middle), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@EACH
def test_state_from_before_counts_and_settings_were_saved_continues_exactly(make: Any) -> None:
    one = make(parameters(MATRICES))
    half = train(one, 0, 5, MATRICES)
    state = old_optimizer_state(one)
    old = {name: state[name] for name in ("steps", "lr", "arrays")}
    expected = train(one, 5, 10, MATRICES)
    other = make([Parameter(a) for a in half])
    other.load_state_dict(json_copy(old))
    for a, b in zip(train(other, 5, 10, MATRICES), expected, strict=True):
        np.testing.assert_array_equal(a, b)


# Loading


def test_settings_are_restored_as_in_pytorch() -> None:
    saved = AdamW([{"params": [P], "weight_decay": 0.5}], 0.3, (0.8, 0.9), 1e-3)
    saved.scale_lr(0.5)
    loaded = AdamW([Parameter([2.0])], 0.1)
    loaded.load_state_dict(json_copy(saved.state_dict()))
    settings = [
        {k: v for k, v in o.param_groups[0].items() if k != "params"} for o in (saved, loaded)
    ]
    assert settings[0] == settings[1]
    assert (loaded.lr, loaded.param_groups[0]["betas"]) == (0.15, (0.8, 0.9))
    loaded.scale_lr(1.0)
    assert loaded.lr == 0.3
    momentum = SGD([Parameter([2.0])], 0.1)
    momentum.load_state_dict(SGD([P], 0.1, 0.9, 0, 0.01, nesterov=True).state_dict())
    assert (momentum.param_groups[0]["momentum"], momentum.param_groups[0]["nesterov"]) == (
        0.9,
        True,
    )


def test_adam_and_adamw_load_each_others_state() -> None:
    one = Adam(parameters(MATRICES), 0.1)
    train(one, 0, 3, MATRICES)
    other = AdamW(parameters(MATRICES))
    other.load_state_dict(one.state_dict())
    assert (other.steps, other.lr) == (3, 0.1)
    assert other.param_groups[0]["decoupled_weight_decay"] is True


GOOD = state_of(AdamW, [(3, 2), (4,)], old=True)
GROUP = GOOD["groups"][0]
NEW = state_of(AdamW, [(3, 2), (4,)])
NEW_GROUP = NEW["param_groups"][0]


def changed(**values: Any) -> dict[str, Any]:
    return {**GOOD, **values}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


def new(**values: Any) -> dict[str, Any]:
    return {**NEW, **values}


def new_group(**values: Any) -> dict[str, Any]:
    return new(param_groups=[{**NEW_GROUP, **values}])


def new_values(**values: Any) -> dict[str, Any]:
    return new(state={**NEW["state"], 1: {**NEW["state"][1], **values}})


def with_array(name: str, value: Any) -> dict[str, Any]:
    return changed(arrays={**GOOD["arrays"], name: value})


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "param_groups missing"),
        (without("steps"), "steps missing"),
        (without("lr"), "lr missing"),
        (without("arrays"), "arrays missing"),
        (None, "expected a dict, got NoneType"),
        ([1], "expected a dict, got list"),
        (changed(steps=-1), "steps must be a count of steps, not -1"),
        (changed(steps=1.5), "steps must be"),
        (changed(steps="3"), "steps must be"),
        (changed(steps=True), "steps must be"),
        (changed(steps=None), "steps must be"),
        (changed(steps=10**400), "steps must be a count of steps, not 1000"),
        (changed(lr=[10**400]), "lr is too large: it has 1329 bits"),
        (changed(lr=0.1), "lr must be a list of numbers"),
        (changed(lr=[]), "0 groups, not 1"),
        (changed(lr=[0.1, 0.1]), "2 groups, not 1"),
        (changed(lr=["a"]), "lr must be a number, not 'a'"),
        (changed(lr=[None]), "lr must be a number, not None"),
        (changed(lr=[float("nan")]), "lr must be at least 0, not nan"),
        (changed(lr=[-1]), "lr must be at least 0, not -1"),
        (changed(lr=[[0.1]]), "lr must be a number"),
        (changed(missed=3), "missed must be a dict"),
        (changed(missed={"7": 1}), "'7' fits no parameter"),
        (changed(missed={"-1": 1}), "'-1' fits no parameter"),
        (changed(missed={"²": 1}), "fits no parameter"),
        (changed(missed={"0": 5}), "missed 0 must be a count of steps, not 5"),
        (changed(missed={"0": "1"}), "missed 0 must be a count of steps"),
        (changed(groups=3), "groups must be a list of dicts"),
        (changed(groups=[3]), "groups must be a list of dicts"),
        (changed(groups=[]), "0 groups, not 1"),
        (changed(groups=[{"lr": 0.1}]), "another optimizer's.*betas"),
        (changed(groups=[{**GROUP, "betas": [0.9]}]), "betas must be a tuple of 2 numbers"),
        (changed(groups=[{**GROUP, "betas": [0.9, 1.0]}]), "betas must be in"),
        (changed(groups=[{**GROUP, "betas": "ab"}]), "betas must be a tuple of 2 numbers"),
        (changed(groups=[{**GROUP, "betas": [0.9] * 3}]), "betas must be a tuple of 2 numbers"),
        (changed(groups=[{**GROUP, "eps": None}]), "eps must be a number"),
        (changed(groups=[{**GROUP, "weight_decay": [1]}]), "weight_decay must be a number"),
        (changed(arrays=[1]), "arrays must be a dict"),
        (with_array("m", np.zeros(4)), "'m' fits no parameter"),
        (with_array("x.m", np.zeros(4)), "fits no parameter"),
        (with_array("9.m", np.zeros(4)), "fits no parameter"),
        (with_array("-1.m", np.zeros(4)), "fits no parameter"),
        (with_array("1.m", np.zeros(5)), "fits no parameter"),
        (with_array("1.m", np.zeros(())), "fits no parameter"),
        (with_array("1.m", np.array(list("abcd"))), "fits no parameter"),
        (with_array("1.w", np.zeros(4)), "another optimizer's"),
        (changed(arrays={"1.m": np.zeros(4)}), "another optimizer's"),
        (SGD([P], 0.1, 0.9).state_dict(), "another optimizer's"),
        (Muon([Parameter([[1.0]])]).state_dict(), "another optimizer's"),
        (new(param_groups=3), "param_groups must be a list of dicts, not 3"),
        (new(param_groups=[3]), "param_groups must be a list of dicts, not 3"),
        (new(param_groups=[]), "0 groups, not 1"),
        (new(state=None), "state must be a dict, not None"),
        (new(state=[1]), "state must be a dict"),
        (new(state={0: 3}), "state 0 must be a dict, not 3"),
        (new(state={"0": 3}), "state '0' must be a dict, not 3"),
        (new(state={2: {}}), "2 fits no parameter of the 2"),
        (new(state={None: {}}), "None fits no parameter"),
        (new(state={0: {}}), "another optimizer's"),
        (new_group(params=None), "params must be a list of numbers"),
        (new_group(params=[0]), "group 0 has 1 parameters, not 2"),
        (new_group(params=[0, 1, 2]), "group 0 has 3 parameters, not 2"),
        (new_group(lr=None), "lr must be a number, not None"),
        (new_group(lr=-1), "lr must be at least 0, not -1"),
        (new_group(betas=[0.9, 1.0]), "betas must be in"),
        (new_group(amsgrad=3), "amsgrad must be True or False"),
        (new_group(amsgrad=True), "another optimizer's"),
        (new_values(step=-1), "step must be a count of steps, not -1"),
        (new_values(step=1.5), "step must be a count"),
        (new_values(step="a"), "step must be a count"),
        (new_values(step=[1]), "step must be a count"),
        (new_values(exp_avg=np.zeros(5)), "1.exp_avg of shape .5,. .* fits no parameter"),
        (new_values(exp_avg="a"), "fits no parameter"),
        (new_values(exp_avg=None), "another optimizer's"),
        (new_values(w=np.zeros(4)), "another optimizer's"),
    ],
)
def test_loading_damaged_state_raises_an_error_and_changes_nothing(
    state: Any, message: str
) -> None:
    optimizer = AdamW(parameters([(3, 2), (4,)]))
    train(optimizer, 0, 2, [(3, 2), (4,)])
    before = plain(optimizer.state_dict())
    with pytest.raises(ValueError, match=f"AdamW cannot load this state: .*({message})"):
        optimizer.load_state_dict(state)
    assert plain(optimizer.state_dict()) == before


def test_settings_that_json_cannot_represent_are_left_out_of_files() -> None:
    class WithFunction(SGD):
        def __init__(self, params: Any, scale: Any) -> None:
            Optimizer.__init__(
                self, params, lr=0.1, momentum=0.0, dampening=0.0, weight_decay=0.0,
                nesterov=False, scale=scale,
            )  # fmt: skip

    optimizer = WithFunction([Parameter([1.0])], abs)
    assert optimizer.state_dict()["param_groups"][0]["scale"] is abs
    assert "scale" not in json_copy(optimizer.state_dict())["param_groups"][0]
    optimizer.load_state_dict(json_copy(optimizer.state_dict()))
    assert optimizer.param_groups[0]["scale"] is abs


# Parameters and settings


def leaf(*shape: int) -> Parameter:
    return Parameter(np.ones(shape, np.float32))


def test_a_single_tensor_is_accepted_in_a_group_only() -> None:
    w = leaf(2, 2)
    with pytest.raises(TypeError, match="SGD takes a list of parameters, not one Tensor"):
        SGD(w)
    for given in ([{"params": w}], {"params": [w]}, ({"params": p} for p in [w]), iter([w])):
        assert SGD(given).parameters()[0] is w
    computed = w * 2
    with pytest.raises(ValueError, match=r"SGD got a tensor of shape .2, 2. that was computed"):
        SGD([computed])
    with pytest.raises(ValueError, match="computed"):
        SGD([{"params": computed}])
    assert SGD([computed.detach()]).parameters()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("weights", TypeError, "list of parameters"),
        (3, TypeError, "list of parameters.*not int"),
        (None, TypeError, "list of parameters.*not NoneType"),
        (["a"], TypeError, "must be a Tensor, not 'a'"),
        ([1.0], TypeError, "must be a Tensor, not 1.0"),
        ([None], TypeError, "must be a Tensor, not None"),
        ([("w", 1.0)], TypeError, "must be a Tensor, not 1.0"),
        ([("w", P), P], TypeError, "must be a Tensor, not tuple of length 2"),
        ([(P, "w")], TypeError, "must be a Tensor, not tuple of length 2"),
        ([[P]], TypeError, "must be a Tensor, not list of length 1"),
        ({P}, TypeError, "in a set"),
        ([P, {"params": [P]}], TypeError, "either parameters or groups"),
        ([{"params": [P]}, P], TypeError, "either parameters or groups"),
        ([{"lr": 0.1}], ValueError, 'needs the key "params"'),
        ([{"params": "w"}], TypeError, "list of parameters"),
        ([{"params": {P}}], TypeError, "in a set"),
        ({}, ValueError, 'needs the key "params"'),
        ([], ValueError, "got no parameters"),
        ([{"params": []}], ValueError, "got no parameters"),
        ((p for p in ()), ValueError, "got no parameters"),
    ],
)
@pytest.mark.parametrize("make", [SGD, Adam, AdamW, Muon])
def test_invalid_parameters_raise_an_error(make: Any, given: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make(given)


def test_zero_grad_sets_gradients_to_none_or_to_zeros() -> None:
    used, unused = leaf(2), leaf(2)
    optimizer = SGD([used, unused])
    (used * used).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert used.grad is not None
    assert (used.grad.tolist(), unused.grad) == ([0.0, 0.0], None)
    optimizer.zero_grad(set_to_none=True)
    assert used.grad is None


def test_custom_optimizers_have_settings_of_their_own() -> None:
    optimizer = Optimizer([P], lr=0.1, betas=(0.9, 0.99, 0.999), scale=2.0, momentum=0.0)
    state = json_copy(optimizer.state_dict())
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.99, 0.999)
    state["param_groups"][0]["scale"] = "a"
    with pytest.raises(ValueError, match="scale must be a number, not 'a'"):
        optimizer.load_state_dict(state)
    Muon([leaf(2, 2)], momentum=0.0)  # with nesterov, as in PyTorch


def test_an_optimizer_without_learning_rate_raises_an_error() -> None:
    with pytest.raises(TypeError, match="Optimizer needs the setting lr"):
        Optimizer([P], momentum=0.9)


def test_empty_groups_and_frozen_parameters_are_accepted() -> None:
    frozen = Parameter([1.0], requires_grad=False)
    optimizer = AdamW([{"params": []}, {"params": [frozen]}])
    optimizer.step()
    assert frozen.item() == 1.0
    frozen.requires_grad_(True)
    (frozen * frozen).sum().backward()
    optimizer.step()
    assert frozen.item() < 1.0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: SGD([P], 0.1, 0.9, 0, 0, 1e-4),
            TypeError,
            "SGD: nesterov must be True or False, not 0.0001",
        ),
        (lambda: SGD([P], 0.1, 0.9, 0, 0, 1), TypeError, "nesterov must be True or False"),
        (lambda: SGD([P], lr="0.1"), TypeError, "lr must be a number, not '0.1'"),
        (lambda: SGD([P], lr=None), TypeError, "lr must be a number"),
        (lambda: SGD([P], lr=True), TypeError, "lr must be a number"),
        (lambda: SGD([P], lr=[0.1]), TypeError, "lr must be a number"),
        (lambda: SGD([P], lr=Tensor([0.1])), TypeError, r"lr must be a number, not Tensor of"),
        (lambda: SGD([P], lr=Tensor(-0.1)), ValueError, "lr must be at least 0"),
        (lambda: SGD([P], P), TypeError, "lr must be a number, not Parameter of shape"),
        (lambda: SGD([P], lr=1j), TypeError, "lr must be a number"),
        (lambda: Adam([P], betas=0.9), TypeError, "betas must be a tuple of 2 numbers, not 0.9"),
        (lambda: Adam([P], betas=(0.9,)), TypeError, "a tuple of 2 numbers"),
        (lambda: Adam([P], betas=(0.9, 0.9, 0.9)), TypeError, "betas must be a tuple of 2 numbers"),
        (lambda: Adam([P], 1e-3, 0.9, 0.999), TypeError, "betas must be a tuple of 2 numbers"),
        (lambda: Adam([P], betas="ab"), TypeError, "betas must be a tuple of 2 numbers"),
        (
            lambda: Adam([{"params": [P], "betas": (0.9,)}]),
            TypeError,
            "betas must be a tuple of 2 numbers",
        ),
        (lambda: SGD([{"params": [P], "nesterov": True}]), ValueError, "nesterov needs a momentum"),
        (
            lambda: Adam([P], betas=(0.9, float("nan"))),
            ValueError,
            "betas must be at least 0, not nan",
        ),
        (lambda: Adam([P], eps=float("nan")), ValueError, "eps must be at least 0"),
        (lambda: AdamW([{"params": [P], "lr": "a"}]), TypeError, "lr must be a number"),
        (lambda: Muon([leaf(2, 2)], momentum="a"), TypeError, "momentum must be a number"),
        (lambda: Muon([leaf(2, 2)], nesterov=None), TypeError, "nesterov must be True"),
        (lambda: Muon([leaf(2, 2, 2)]), ValueError, "matrices only"),
        (lambda: Muon([leaf()]), ValueError, "matrices only"),
    ],
)
def test_settings_of_wrong_types_raise_an_error(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("value", [float("nan"), -1.0, "0.1", None, Tensor([0.1])])
def test_an_invalid_rate_cannot_be_assigned(value: Any) -> None:
    optimizer = SGD([P], lr=0.1)
    with pytest.raises((TypeError, ValueError), match="lr must be"):
        optimizer.lr = value
    assert optimizer.lr == 0.1


SCALARS = [0.5, np.float64(0.5), np.float32(0.5), np.array(0.5), Tensor(0.5)]


@pytest.mark.parametrize("value", SCALARS, ids=lambda value: type(value).__name__)
def test_numpy_scalars_and_0d_tensors_are_accepted_as_settings(value: Any) -> None:
    results = []
    for number in (0.5, value):
        p = leaf(2, 3)
        optimizer = AdamW([p], lr=number, betas=[number, number], weight_decay=number)  # type: ignore[arg-type]
        optimizer.lr = number
        p.grad = Tensor(np.ones((2, 3), np.float32))
        optimizer.step()
        results.append(p.numpy())
        assert all(type(v) is float for k, v in optimizer.param_groups[0].items() if k == "lr")
    np.testing.assert_array_equal(results[1], results[0])


@EACH
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 3)])
def test_updates_keep_dtype_and_accept_zero_size_parameters(
    make: Any, dtype: str, shape: Any, backend: str
) -> None:
    if backend != "numpy" and dtype == "float16":
        pytest.skip("float16 is not a dtype of the standard")
    p = Parameter(np.ones(shape, dtype), backend=backend)
    optimizer = make([p])
    for _ in range(2):
        p.grad = Tensor(np.ones(shape, dtype), backend=backend)
        optimizer.step()
    assert (p.shape, str(p.numpy().dtype)) == (shape, dtype)
