"""Layers and losses of torch.nn that no lesson builds, compared with PyTorch's."""

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import load_module, require

import tinytorch
from tinytorch import Tensor, Trainer, losses, nn
from tinytorch.nn import functional as F  # noqa: N812

against_torch = load_module(Path(__file__).with_name("against_torch.py"))
assert_same, pair = against_torch.assert_same, against_torch.pair
rng = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return rng.standard_normal(shape).astype(np.float32)


MODULES: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[Any, ...]]] = [
    ("Linear", (4, 3), {}, (normal(2, 4),)),
    ("Linear", (4, 3, False), {}, (normal(2, 5, 4),)),
    ("LayerNorm", (4,), {}, (normal(2, 4),)),
    ("LayerNorm", ([3, 4],), {"bias": False}, (normal(2, 3, 4),)),
    ("LayerNorm", (4, 1e-3, False), {}, (normal(2, 3, 4),)),
    ("RMSNorm", (4,), {}, (normal(2, 4),)),
    ("RMSNorm", ((3, 4), 1e-3), {}, (normal(2, 3, 4),)),
    ("GroupNorm", (2, 4), {}, (normal(3, 4, 5),)),
    ("GroupNorm", (2, 4), {"affine": False}, (normal(3, 4),)),
    ("BatchNorm1d", (4,), {}, (normal(3, 4),)),
    ("BatchNorm1d", (4,), {"track_running_stats": False}, (normal(3, 4, 5),)),
    ("Embedding", (5, 3), {}, (np.array([[0, 4], [1, 1]]),)),
    ("Embedding", (5, 3, -1), {}, (np.array([[0, 4], [1, 1]]),)),
    ("Bilinear", (3, 4, 2), {}, (normal(5, 3), normal(5, 4))),
    ("PReLU", (), {}, (normal(3, 4),)),
    ("PReLU", (4, 0.1), {}, (normal(3, 4, 2),)),
    ("GELU", (), {}, (normal(3, 4),)),
    ("GELU", ("tanh",), {}, (normal(3, 4),)),
    ("Softmax", (), {"dim": 0}, (normal(3, 4),)),
    ("LogSoftmax", (1,), {}, (normal(3, 4),)),
    ("Softmin", (1,), {}, (normal(3, 4),)),
    ("GLU", (), {}, (normal(3, 4),)),
    ("Threshold", (0.3, -1.0), {}, (normal(3, 4),)),
    ("Softplus", (2.0, 1.0), {}, (normal(3, 4),)),
    ("Dropout", (0.5,), {}, (normal(3, 4),)),
    ("CosineSimilarity", (), {}, (normal(3, 4), normal(3, 4))),
    ("PairwiseDistance", (), {"keepdim": True}, (normal(3, 4), normal(3, 4))),
    *[
        (name, (), {}, (normal(3, 4),))
        for name in (
            "ReLU", "ReLU6", "LeakyReLU", "ELU", "CELU", "SELU", "SiLU", "Mish", "Hardtanh",
            "Hardswish", "Hardsigmoid", "Softsign", "LogSigmoid", "Tanhshrink", "Softshrink",
            "Hardshrink", "Sigmoid", "Tanh",
        )
    ],
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "settings", "inputs"), MODULES)
def test_module_equals_pytorchs(name: str, arguments: Any, settings: Any, inputs: Any) -> None:
    ours, theirs = pair(name, *arguments, **settings)
    assert repr(ours) == repr(theirs)
    assert_same(ours, theirs, *inputs)
    assert repr(copy.deepcopy(ours)) == repr(theirs)


CLASS = (normal(6, 4), np.array([0, 3, 1, -100, 2, 2]))
PAIR = (normal(6, 4), normal(6, 4))
LOSSES: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
    ("CrossEntropyLoss", {}, CLASS),
    ("CrossEntropyLoss", {"label_smoothing": 0.1, "weight": [1.0, 2.0, 0.5, 1.0]}, CLASS),
    ("CrossEntropyLoss", {"reduction": "none", "ignore_index": -100}, CLASS),
    ("NLLLoss", {"weight": [1.0, 2.0, 0.5, 1.0]}, CLASS),
    ("MSELoss", {}, PAIR),
    ("MSELoss", {"reduction": "sum"}, PAIR),
    ("L1Loss", {}, PAIR),
    ("SmoothL1Loss", {"beta": 0.5}, PAIR),
    ("HuberLoss", {"delta": 0.5}, PAIR),
    ("BCELoss", {}, (1 / (1 + np.exp(-normal(6, 1))), (normal(6, 1) > 0).astype(float))),
    ("BCEWithLogitsLoss", {"pos_weight": [2.0, 1.0, 3.0, 1.0]}, (PAIR[0], 1.0 * (PAIR[1] > 0))),
    ("KLDivLoss", {"reduction": "batchmean", "log_target": True}, PAIR),
    ("SoftMarginLoss", {}, (normal(6, 4), np.sign(normal(6, 4)).astype(int))),
    ("HingeEmbeddingLoss", {}, (normal(6, 2), np.sign(normal(6, 2)))),
    ("MarginRankingLoss", {"margin": 0.3}, (normal(6, 2), normal(6, 2), np.sign(normal(6, 2)))),
    ("CosineEmbeddingLoss", {"margin": 0.1}, (*PAIR, np.sign(normal(6)))),
    ("TripletMarginLoss", {"swap": True}, (*PAIR, normal(6, 4))),
    ("PoissonNLLLoss", {}, PAIR),
    ("GaussianNLLLoss", {}, (*PAIR, np.abs(normal(6, 4)) + 0.1)),
]


@pytest.mark.parametrize(("name", "settings", "inputs"), LOSSES)
def test_loss_module_equals_pytorchs(name: str, settings: Any, inputs: Any) -> None:
    torch = require("torch")
    inputs = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in inputs]
    made = []
    for library in (tinytorch, torch):
        converted = {
            key: library.tensor(value) if isinstance(value, list) else value
            for key, value in settings.items()
        }
        made.append(getattr(library.nn, name)(**converted))
    assert repr(made[0]) == repr(made[1])
    assert list(made[0].state_dict()) == list(made[1].state_dict())
    assert_same(made[0], made[1], inputs[0], *inputs[1:])


@pytest.mark.parametrize("momentum", [0.1, 0.5, None])
@pytest.mark.parametrize("shape", [(8, 3), (4, 3, 5)])
def test_batch_norm_tracks_the_batches(momentum: float | None, shape: tuple[int, ...]) -> None:
    ours, theirs = pair("BatchNorm1d", 3, momentum=momentum)
    ours.train()
    theirs.train()
    for _ in range(4):
        assert_same(ours, theirs, 2 * normal(*shape) + 1)
    for (name, mine), other in zip(
        ours.state_dict().items(), theirs.state_dict().values(), strict=True
    ):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-5, err_msg=name)
    assert ours.num_batches_tracked.item() == 4
    ours.eval()
    theirs.eval()
    assert_same(ours, theirs, normal(*shape))
    ours.reset_running_stats()
    assert ours.running_var.tolist() == [1, 1, 1]


def test_a_padding_row_is_zero_and_stays_so() -> None:
    table = nn.Embedding(4, 3, padding_idx=0)
    assert table.weight[0].tolist() == [0, 0, 0]
    (table(Tensor([0, 1, 0, 1])) ** 2).sum().backward()
    assert table.weight.grad is not None
    assert table.weight.grad[0].tolist() == [0, 0, 0]
    assert table.weight.grad[1].abs().sum().item() > 0


def test_embedding_from_pretrained_rows() -> None:
    rows = Tensor([[1.0, 2.0], [3.0, 4.0]])
    table = nn.Embedding.from_pretrained(rows)
    assert not table.weight.requires_grad
    assert table(Tensor([1])).tolist() == [[3, 4]]
    assert nn.Embedding.from_pretrained(rows, freeze=False).weight.requires_grad


def test_dropout_scales_what_it_keeps() -> None:
    x = tinytorch.ones(1000)
    y = F.dropout(x, 0.25)
    np.testing.assert_allclose(np.unique(y.numpy()), [0, 4 / 3], rtol=1e-6)
    assert F.dropout(x, 0.25, training=False).tolist() == x.tolist()
    assert 0.15 < (y == 0).to("float32").mean().item() < 0.35


def test_gumbel_softmax_draws_classes_by_their_probabilities() -> None:
    tinytorch.manual_seed(0)
    logits = Tensor(np.log(np.float32([[0.2, 0.5, 0.3]] * 20000)), requires_grad=True)
    drawn = F.gumbel_softmax(logits, hard=True)
    np.testing.assert_allclose(drawn.mean(0).tolist(), [0.2, 0.5, 0.3], atol=0.02)
    assert set(np.unique(np.round(drawn.detach().numpy(), 5))) == {0, 1}
    drawn[:, 0].sum().backward()
    assert logits.grad is not None
    soft = F.gumbel_softmax(logits, tau=2.0)
    np.testing.assert_allclose(soft.sum(-1).detach().numpy(), 1, rtol=1e-5)


# The axis of the classes


def test_classes_on_the_last_axis_are_an_error_that_names_the_fix() -> None:
    scores, targets = Tensor(normal(2, 3, 5)), Tensor(rng.integers(0, 5, (2, 3)))
    with pytest.raises(ValueError, match=r"last axis: flatten both, cross_entropy\(input.view\("):
        F.cross_entropy(scores, targets)
    flat = F.cross_entropy(scores.view(-1, 5), targets.view(-1))
    assert flat.item() == losses.CrossEntropyLoss()(scores, targets).item()
    swapped = F.cross_entropy(scores.transpose(1, -1), targets)
    np.testing.assert_allclose(flat.item(), swapped.item(), rtol=1e-6)


def test_a_shape_that_fits_both_layouts_warns_once_a_line() -> None:
    scores, targets = Tensor(normal(2, 3, 3)), Tensor(rng.integers(0, 3, (2, 3)))
    with pytest.warns(UserWarning, match=r"takes axis 1 .* flatten both"):
        nn.CrossEntropyLoss()(scores, targets)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            nn.CrossEntropyLoss()(scores, targets)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.CrossEntropyLoss()(Tensor(normal(2, 3, 4)), Tensor(rng.integers(0, 3, (2, 4))))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: F.cross_entropy(x, y.float()), r"target.long\(\); for class probabilities"),
        (lambda x, y: F.cross_entropy(x, y.unsqueeze(1)), r"target.squeeze\(1\)"),
        (lambda x, y: F.cross_entropy(x, y[:2]), r"got \(4, 3\) and \(2,\)"),
        (lambda x, y: F.cross_entropy(x, y + 3), "outside of the 3 classes"),
        (lambda x, y: F.cross_entropy(x, y, weight=tinytorch.ones(2)), "each of the 3 classes"),
        (lambda x, y: F.cross_entropy(x, y, reduction="avg"), "must be one of"),
        (lambda x, y: F.nll_loss(x, y.float()), r"convert it with target.long\(\)$"),
        (lambda x, y: F.mse_loss(x, y.float()), "of the same shape"),
        (lambda x, y: F.binary_cross_entropy(x, x), "between 0 and 1"),
        (lambda x, y: F.binary_cross_entropy_with_logits(x[:, 0], y), r"target.float\(\)"),
        (lambda x, y: F.embedding(x, x), r"input.long\(\)"),
        (lambda x, y: F.one_hot(y, 2), "2 is outside of the 2 classes"),
        (lambda x, y: F.linear(x, x.T), r"weight \(out, in\)"),
        (lambda x, y: F.layer_norm(x, (4,)), "cannot normalise"),
        (lambda x, y: F.gelu(x, "sigmoid"), "'none' or 'tanh'"),
        (lambda x, y: nn.BatchNorm1d(3)(x[:1]), "more than 1 value"),
        (lambda x, y: nn.BatchNorm1d(4)(x), r"needs x \(N, 4\)"),
        (lambda x, y: nn.Embedding(3, 2, max_norm=1.0), "max_norm is not in tinytorch"),
        (lambda x, y: nn.Embedding(3, 2)(x), r"input.long\(\)"),
        (lambda x, y: F.pad(x, (1,)), "two widths for each"),
        (lambda x, y: F.nothing(x), "is not in tinytorch"),
    ],
)
def test_errors_name_the_fix(call: Any, message: str) -> None:
    with pytest.raises(Exception, match=message):
        call(Tensor(normal(4, 3) * 9), Tensor([0, 2, 1, 1]))


# With the Trainer


@pytest.mark.parametrize(
    "settings", [{}, {"ignore_index": 2}, {"weight": [1.0, 5.0, 0.5]}, {"label_smoothing": 0.1}]
)
def test_gradients_of_parts_of_a_batch_add_up(settings: dict[str, Any]) -> None:
    settings = {k: Tensor(v) if isinstance(v, list) else v for k, v in settings.items()}
    x, y = Tensor(normal(6, 4)), Tensor([0, 1, 2, 2, 1, 0])
    steps = []
    for parts in ([slice(0, 6)], [slice(0, 2), slice(2, 6)]):
        tinytorch.manual_seed(1)
        model = nn.Linear(4, 3)
        loss_fn = nn.CrossEntropyLoss(**settings)
        optimizer = tinytorch.optim.SGD(model.parameters(), lr=0.1)
        trainer = Trainer(model, optimizer, loss_fn)
        steps.append(
            (trainer.train_step([(x[p], y[p]) for p in parts]).item(), model.weight.tolist())
        )
    np.testing.assert_allclose(steps[0][0], steps[1][0], rtol=1e-5)
    np.testing.assert_allclose(steps[0][1], steps[1][1], rtol=1e-4, atol=1e-6)


def test_a_batch_is_not_divided_for_a_sum() -> None:
    for loss in (nn.CrossEntropyLoss(reduction="sum"), nn.MSELoss(reduction="sum")):
        with pytest.raises(ValueError, match="reduction 'sum'; use 'mean'"):
            loss.count_targets(Tensor([0, 1]))


def test_a_distance_of_0_has_the_gradient_0() -> None:
    x = Tensor([[1.0, 2.0]], requires_grad=True)
    nn.functional.pairwise_distance(x, x.detach(), eps=0).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("settings", [{"processes": 2}, {"cuda_graph": True}])
def test_batch_norm_is_computed_from_the_whole_batch(settings: dict[str, Any]) -> None:
    results = []
    for runner in ({}, settings):
        tinytorch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
        optimizer = tinytorch.optim.SGD(model.parameters(), lr=0.1)
        trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), **runner)
        x, y = Tensor(np.float32(np.arange(24).reshape(6, 4) % 7)), Tensor([0, 1, 2, 2, 1, 0])
        losses_ = [trainer.train_step([(x, y)]).item() for _ in range(3)]
        results.append((losses_, model[1].running_var.tolist()))
    assert results[0] == results[1]
