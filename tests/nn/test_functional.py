"""torch.nn.functional, called as scripts for PyTorch do."""

from typing import Any

import numpy as np
import pytest
from parity import UNARY, Row, bools, check, each, floats, ints, probabilities

from tinytorch import Tensor, nn

FLOATS = {k: v for k, v in UNARY.items() if v[0].dtype.kind == "f"}
LIMITS = {"limits": (np.float32([-6, -3, -1, -0.5, 0, 0.5, 1, 3, 6, 7, 30, -30, 100, -100]),)}


NAN_GRADIENT = {"special": "the gradient at NaN is a number in PyTorch"}
AT_INFINITY = {"special": "the value at an infinity is NaN in PyTorch"}


def activation(name: str, *arguments: Any, inputs: Any = FLOATS, **settings: Any) -> Row:
    return Row(
        f"{name}{arguments or ''}",
        lambda torch, x: getattr(torch.nn.functional, name)(x, *arguments),
        {**inputs, **LIMITS},
        **settings,
    )


ACTIVATIONS = [
    activation("relu", inputs=UNARY, more={"boolean": "computed as any other dtype"}),
    activation("leaky_relu"),
    activation("leaky_relu", 0.2, True, inputs={}, grad=False, differs={"limits": "not in place"}),
    activation("leaky_relu", -0.5),
    activation("elu", differs=NAN_GRADIENT),
    activation("elu", 0.3, differs=NAN_GRADIENT),
    activation("celu", differs=NAN_GRADIENT),
    activation("celu", 2.0, differs=NAN_GRADIENT),
    activation("selu", differs=NAN_GRADIENT),
    activation("silu"),
    activation("mish"),
    activation("softplus"),
    activation("softplus", 2.0),
    activation("softplus", 1.0, 3.0),
    activation("softplus", 0.5, 1.0),
    activation("gelu", differs=AT_INFINITY),
    Row(
        "gelu none",
        lambda torch, x: torch.nn.functional.gelu(x, approximate="none"),
        {"float64": (floats(400).astype(np.float64) * 4,)},
        tolerance=1e-13,
    ),
    activation("softsign"),
    activation("logsigmoid"),
    activation("tanhshrink"),
    activation("softshrink"),
    activation("softshrink", 1.0),
    activation("hardshrink"),
    activation("hardtanh"),
    activation("hardtanh", -0.5, 3),
    activation("relu6"),
    activation("hardswish", differs=AT_INFINITY),
    activation("hardsigmoid", differs={"special": "the gradient at NaN is 0 in PyTorch"}),
    activation("threshold", 0.5, 7.0),
    activation("sigmoid"),
    activation("tanh"),
    Row(
        "gelu tanh",
        lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh"),
        {**FLOATS, **LIMITS},
        differs={"special": "the gradient at infinity is not NaN"},
    ),
    Row("gelu wrong", lambda torch, x: torch.nn.functional.gelu(x, "sigmoid"), LIMITS),
    Row("softmax", lambda torch, x: torch.nn.functional.softmax(x, dim=-1), FLOATS),
    Row("softmax 0", lambda torch, x: torch.nn.functional.softmax(x, 0), FLOATS),
    Row(
        "softmax dtype",
        lambda torch, x, y: torch.nn.functional.softmax(x, dim=-1, dtype=y.dtype),
        {"plain": (floats(3, 4), np.zeros(1)), "integers": (ints(3, 4), np.zeros(1))},
    ),
    Row("log_softmax", lambda torch, x: torch.nn.functional.log_softmax(x, dim=-1), FLOATS),
    Row("softmin", lambda torch, x: torch.nn.functional.softmin(x, dim=0), FLOATS),
    Row(
        "glu",
        lambda torch, x: torch.nn.functional.glu(x),
        {"plain": (floats(3, 4),), "odd": (floats(3, 3),), "scalar": (floats(),)},
    ),
    Row("glu 0", lambda torch, x: torch.nn.functional.glu(x, 0), {"plain": (floats(4, 3),)}),
    Row(
        "prelu",
        lambda torch, x, w: torch.nn.functional.prelu(x, w),
        {
            "one": (floats(3, 4), floats(1)),
            "each": (floats(3, 4), floats(4, seed=4)),
            "axis 1": (floats(3, 2, 5), floats(2, seed=4)),
            "vector": (floats(4), floats(1, seed=4)),
        },
    ),
]
IDS = {"targets": (floats(4, 5), ints(4, low=0, high=5))}
CLASSES: dict[str, Any] = {
    "rows": (floats(4, 5), ints(4, low=0, high=5)),
    "ignored": (floats(4, 5), np.array([1, -100, 4, 0])),
    "all ignored": (floats(2, 5), np.array([-100, -100])),
    "vector": (floats(5), np.array(3)),
    "axis 1": (floats(2, 5, 3), ints(2, 3, low=0, high=5)),
    "two more axes": (floats(2, 5, 3, 2), ints(2, 3, 2, low=0, high=5)),
    "ambiguous": (floats(2, 3, 3), ints(2, 3, low=0, high=3)),
    "last axis": (floats(2, 3, 5), ints(2, 3, low=0, high=5)),
    "wrong batch": (floats(4, 5), ints(3, low=0, high=5)),
    "column": (floats(4, 5), ints(4, 1, low=0, high=5)),
    "float targets": (floats(4, 5), floats(4)),
    "boolean targets": (floats(4, 5), bools(4)),
    "integer scores": (ints(4, 5), ints(4, low=0, high=5)),
    "empty": (floats(0, 5), ints(0)),
    "float64": (floats(4, 5).astype(np.float64), ints(4, low=0, high=5)),
    "int32": (floats(4, 5), ints(4, low=0, high=5).astype(np.int32)),
}
SMALL_INTS = {"int32": "any integers are classes"}
SOFT = {
    "rows": (floats(4, 5), probabilities(4, 5)),
    "axis 1": (floats(2, 5, 3), probabilities(2, 5, 3)),
    "vector": (floats(5), probabilities(5)),
}
WEIGHT = np.float32([0.5, 1, 2, 0, 3])


def weight_for(torch: Any, x: Any) -> Any:
    classes = x.shape[1] if len(x.shape) > 1 else x.shape[0]
    values = [0.5, 1.0, 2.0, 0.0, 3.0][:classes]
    return (
        torch.tensor(values, dtype=x.dtype)
        if torch.__name__ == "torch"
        else torch.Tensor(values, dtype=x.dtype)
    )


def cross_entropy(name: str, inputs: Any = CLASSES, weight: bool = False, **settings: Any) -> Row:
    def call(torch: Any, x: Any, y: Any) -> Any:
        more = {"weight": weight_for(torch, x)} if weight else {}
        return torch.nn.functional.cross_entropy(x, y, **settings, **more)

    return Row(name, call, inputs, more=SMALL_INTS)


CLASS_LOSSES = [
    cross_entropy("cross_entropy"),
    cross_entropy("sum", reduction="sum"),
    cross_entropy("none", reduction="none"),
    cross_entropy("wrong reduction", {"rows": CLASSES["rows"]}, reduction="avg"),
    cross_entropy(
        "ignore_index", {k: CLASSES[k] for k in ("rows", "vector", "axis 1")}, ignore_index=1
    ),
    cross_entropy("weight", weight=True),
    cross_entropy("weight sum", weight=True, reduction="sum"),
    cross_entropy("weight none", weight=True, reduction="none"),
    cross_entropy("smoothing", label_smoothing=0.1),
    cross_entropy("smoothing none", label_smoothing=0.1, reduction="none"),
    cross_entropy("smoothing weight", label_smoothing=0.1, weight=True),
    cross_entropy("smoothing weight none", label_smoothing=0.3, weight=True, reduction="none"),
    cross_entropy("smoothing too large", {"rows": CLASSES["rows"]}, label_smoothing=1.5),
    cross_entropy("soft", SOFT),
    cross_entropy("soft sum", SOFT, reduction="sum"),
    cross_entropy("soft none", SOFT, reduction="none"),
    cross_entropy("soft weight", SOFT, weight=True, label_smoothing=0.2),
    Row(
        "nll_loss",
        lambda torch, x, y: torch.nn.functional.nll_loss(x, y),
        CLASSES,
        more=SMALL_INTS,
    ),
    Row(
        "nll_loss of log_softmax",
        lambda torch, x, y: torch.nn.functional.nll_loss(
            torch.nn.functional.log_softmax(x, dim=1), y
        ),
        IDS,
    ),
    Row(
        "nll_loss weight",
        lambda torch, x, y: torch.nn.functional.nll_loss(x, y, weight_for(torch, x)),
        CLASSES,
        more=SMALL_INTS,
    ),
    Row(
        "nll_loss none",
        lambda torch, x, y: torch.nn.functional.nll_loss(x, y, reduction="none"),
        CLASSES,
        more=SMALL_INTS,
    ),
]
CLASS_LOSSES += [
    Row(
        f"{name} out of range",
        lambda torch, x, y, name=name: getattr(torch.nn.functional, name)(x, y),
        {"large": (floats(2, 5), np.array([1, 5])), "negative": (floats(2, 5), np.array([-1, 5]))},
        backends=("numpy", "strict"),  # on a GPU the error comes later
    )
    for name in ("cross_entropy", "nll_loss")
]
PAIRS: dict[str, Any] = {
    "plain": (floats(3, 4), floats(3, 4, seed=4)),
    "empty": (floats(0, 4), floats(0, 4)),
    "scalar": (floats(), floats(seed=4)),
    "transposed": (floats(4, 3).T, floats(3, 4, seed=4)),
    "equal": (floats(3, 4), floats(3, 4)),
    "float64": (floats(3, 4), floats(3, 4, seed=4).astype(np.float64)),
}
SHAPES = {"shapes": "a warning in PyTorch"}
UNIT_PAIRS: dict[str, Any] = {
    "plain": (probabilities(3, 4), probabilities(3, 4, seed=4)),
    "labels": (probabilities(3, 4), bools(3, 4).astype(np.float32)),
    "saturated": (np.float32([0, 1, 0, 1, 0.5]), np.float32([0, 1, 1, 0, 1])),
    "outside": (np.float32([0.5, 1.5]), np.float32([0, 1])),
    "targets outside": (np.float32([0.5, 0.7]), np.float32([-0.1, 1.2])),
    "integer targets": (probabilities(3), ints(3, low=0, high=2)),
    "shapes": (probabilities(3, 4), probabilities(4)),
    "scalar": (probabilities(), probabilities(seed=4)),
}


DIFFERENT_LOSSES = {
    "outside": "on a device a loss is NaN",
    "targets outside": "not checked on a device",
    "float64": "PyTorch's huber_loss rounds to the dtype of the input",
    "zeros": "the gradient of 0 log 0 is NaN in PyTorch",
}


def loss(name: str, inputs: Any = PAIRS, more: Any = None, **settings: Any) -> list[Row]:
    """The rows of a loss, for each reduction."""
    label = f"{name}{settings or ''}"
    return [
        Row(
            f"{label} {reduction}",
            lambda torch, *xs, r=reduction: getattr(torch.nn.functional, name)(
                *xs, reduction=r, **settings
            ),
            inputs,
            more=more or {},
            differs=DIFFERENT_LOSSES,
        )
        for reduction in ("mean", "sum", "none")
    ]


SIGNS = np.float32([1, -1, 1, -1])
NUMBER_LOSSES = [
    *loss("mse_loss"),
    *loss("l1_loss"),
    *loss("smooth_l1_loss"),
    *loss("smooth_l1_loss", beta=0.3),
    *loss("smooth_l1_loss", beta=0.0),
    *loss("huber_loss"),
    *loss("huber_loss", delta=0.4),
    *loss("binary_cross_entropy", UNIT_PAIRS),
    *loss(
        "binary_cross_entropy_with_logits",
        {
            "plain": (floats(3, 4), probabilities(3, 4)),
            "large": (np.float32([100, -100, 100, -100, 0]), np.float32([0, 0, 1, 1, 0.5])),
            "integer targets": (floats(3), ints(3, low=0, high=2)),
            "shapes": (floats(3, 1), probabilities(3)),
        },
    ),
    *loss("kl_div", {
        "plain": (floats(3, 4), probabilities(3, 4)),
        "zeros": (floats(5), np.float32([0, 1, 0, 0.5, 0])),
    }),
    Row(
        "kl_div batchmean",
        lambda torch, x, y: torch.nn.functional.kl_div(x, y, reduction="batchmean"),
        {"plain": (floats(3, 4), probabilities(3, 4))},
    ),
    Row(
        "kl_div log_target",
        lambda torch, x, y: torch.nn.functional.kl_div(x, y, log_target=True, reduction="sum"),
        {"plain": (floats(3, 4), floats(3, 4, seed=4))},
    ),
    Row(
        "bce weight",
        lambda torch, x, y, w: torch.nn.functional.binary_cross_entropy(x, y, w.detach()),
        {"plain": (probabilities(3, 4), bools(3, 4).astype(np.float32), probabilities(4))},
    ),
    Row(
        "bce with logits weights",
        lambda torch, x, y, w, p: torch.nn.functional.binary_cross_entropy_with_logits(
            x, y, weight=w.detach(), pos_weight=p.detach()
        ),
        {"plain": (floats(3, 4), probabilities(3, 4), probabilities(4), 3 * probabilities(4))},
    ),
    Row(
        "old flags",
        lambda torch, x, y: torch.nn.functional.mse_loss(x, y, size_average=False),
        {"plain": PAIRS["plain"]},
    ),
    Row(
        "mse weight",
        lambda torch, x, y, w: torch.nn.functional.mse_loss(x, y, weight=w.detach()),
        {"plain": (floats(3, 4), floats(3, 4, seed=4), probabilities(3, 4))},
    ),
    *loss("cosine_embedding_loss", {
        "plain": (floats(4, 3), floats(4, 3, seed=4), SIGNS),
        "vector": (floats(3), floats(3, seed=4), np.array(-1, np.float32)),
    }, margin=0.1),
    *loss("margin_ranking_loss", {"plain": (floats(4), floats(4, seed=4), SIGNS)}, margin=0.5),
    *loss("hinge_embedding_loss", {"plain": (floats(4), SIGNS)}),
    *loss("soft_margin_loss", {"plain": (floats(4), SIGNS.astype(int))}),
    *loss("triplet_margin_loss", {
        "plain": (floats(4, 3), floats(4, 3, seed=4), floats(4, 3, seed=5)),
    }),
    *loss("triplet_margin_loss", {
        "plain": (floats(4, 3), floats(4, 3, seed=4), floats(4, 3, seed=5)),
    }, swap=True, p=1, margin=0.3),
    *loss("gaussian_nll_loss", {
        "plain": (floats(4, 3), floats(4, 3, seed=4), probabilities(4, 3)),
        "shared": (floats(4, 3), floats(4, 3, seed=4), probabilities(4, 1)),
    }, full=True),
    *loss("poisson_nll_loss", {"plain": (floats(4, 3), 5 * probabilities(4, 3))}, full=True),
    *loss("poisson_nll_loss", {"plain": (probabilities(4, 3), 5 * probabilities(4, 3))},
          log_input=False),
]  # fmt: skip
VECTORS = {
    "plain": (floats(4, 3), floats(4, 3, seed=4)),
    "zero": (np.zeros((2, 3), np.float32), floats(2, 3)),
    "broadcast": (floats(2, 1, 3), floats(4, 3, seed=4)),
}
F_ROWS = [
    Row(
        "cosine_similarity",
        lambda torch, x, y: torch.nn.functional.cosine_similarity(x, y, dim=-1),
        VECTORS,
    ),
    Row(
        "pairwise_distance",
        lambda torch, x, y: torch.nn.functional.pairwise_distance(x, y),
        VECTORS,
    ),
    Row(
        "normalize",
        lambda torch, x: torch.nn.functional.normalize(x, dim=-1),
        {"plain": (floats(3, 4),), "zero": (np.zeros((2, 3), np.float32),)},
    ),
    Row(
        "normalize 1",
        lambda torch, x: torch.nn.functional.normalize(x, p=1.0),
        {"plain": (floats(3, 4),)},
    ),
    Row(
        "linear",
        lambda torch, *xs: torch.nn.functional.linear(*xs),
        {
            "bias": (floats(2, 3, 4), floats(5, 4), floats(5)),
            "no bias": (floats(3, 4), floats(5, 4)),
            "vector": (floats(4), floats(5, 4), floats(5)),
            "one output": (floats(3, 4), floats(4)),
            "shapes": (floats(3, 4), floats(4, 5)),
            "bias shape": (floats(3, 4), floats(5, 4), floats(4)),
        },
    ),
    Row(
        "bilinear",
        lambda torch, *xs: torch.nn.functional.bilinear(*xs),
        {
            "plain": (floats(2, 3), floats(2, 4), floats(5, 3, 4), floats(5)),
            "more axes": (floats(2, 6, 3), floats(2, 6, 4), floats(5, 3, 4)),
        },
    ),
    Row(
        "embedding",
        lambda torch, w, ids: torch.nn.functional.embedding(ids, w),
        {
            "plain": (floats(5, 3), ints(2, 4, low=0, high=5)),
            "floats": (floats(5, 3), floats(4)),
            "empty": (floats(5, 3), ints(0)),
            "scalar": (floats(5, 3), np.array(2)),
        },
    ),
    Row(
        "embedding padding",
        lambda torch, w, ids: torch.nn.functional.embedding(ids, w, padding_idx=-1),
        {"plain": (floats(5, 3), np.array([[4, 1], [0, 4]]))},
    ),
    Row(
        "one_hot",
        lambda torch, ids: torch.nn.functional.one_hot(ids, 5),
        {
            "plain": (ints(2, 3, low=0, high=5),),
            "scalar": (np.array(2),),
            "empty": (ints(0),),
            "floats": (floats(3),),
        },
    ),
    Row(
        "one_hot out of range",
        lambda torch, ids: torch.nn.functional.one_hot(ids, 5),
        {"large": (np.array([5]),), "negative": (np.array([-1]),)},
        backends=("numpy",),
    ),
    Row(
        "one_hot counted",
        lambda torch, ids: torch.nn.functional.one_hot(ids),
        {"plain": (ints(2, 3, low=0, high=5),), "negative": (np.array([-1]),)},
        backends=("numpy", "cupy"),
    ),
    *[
        Row(
            f"pad {mode} {widths}",
            lambda torch, x, w=widths, m=mode: torch.nn.functional.pad(x, w, mode=m),
            {"plain": (floats(2, 3, 4),)},
        )
        for mode in ("constant", "reflect", "replicate", "circular")
        for widths in ((1, 2), (2, 0), (0, 0))
    ],
    *[
        Row(
            f"pad {widths} {value}",
            lambda torch, x, w=widths, v=value: torch.nn.functional.pad(x, w, value=v),
            {"plain": (floats(3, 4),), "integers": (ints(3, 4),), "booleans": (bools(3, 4),),
             "empty": (floats(0, 4),), "vector": (floats(4),)},
        )
        for widths in ((1, 2), (1, 0, 2, 1), (-1, 2), (0, -1, -1, 0), (-5, 0), (1,))
        for value in (None, 2)
    ],
    Row(
        "dropout in evaluation",
        lambda torch, x: torch.nn.functional.dropout(x, 0.5, training=False),
        {"plain": (floats(3, 4),)},
    ),
    Row("dropout 1", lambda torch, x: torch.nn.functional.dropout(x, 1.0), FLOATS,
        differs={"special": "NaN"}),
    Row("dropout 2", lambda torch, x: torch.nn.functional.dropout(x, 2.0), {"x": (floats(3),)}),
    Row(
        "dropout",
        lambda torch, x: torch.nn.functional.dropout(x),
        {"plain": (floats(3, 4),)},
        values=False,
    ),
    Row(
        "gumbel_softmax",
        lambda torch, x: torch.nn.functional.gumbel_softmax(x, tau=0.5, hard=True),
        {"plain": (floats(3, 4),)},
        values=False,
    ),
]  # fmt: skip
RUNNING = np.float32([0, 1, 2, 3]), np.float32([1, 2, 3, 4])
NORMS = [
    *[
        Row(
            f"layer_norm {shape}",
            lambda torch, x, w, b, s=shape: (
                torch.nn.functional.layer_norm(x, s),
                torch.nn.functional.layer_norm(x, s, w),
                torch.nn.functional.layer_norm(x, s, w, b, 1e-3),
                torch.nn.functional.layer_norm(x, s, bias=b),
            ),
            {
                "plain": (floats(2, 3, 4), floats(*shape, seed=4), floats(*shape, seed=6)),
                "transposed": (floats(4, 3, 2).T, floats(*shape, seed=4), floats(*shape, seed=6)),
                "wrong": (floats(2, 3, 5), floats(*shape, seed=4), floats(*shape, seed=6)),
            },
        )
        for shape in ((4,), (3, 4), (2, 3, 4))
    ],
    *[
        Row(
            f"rms_norm {shape}",
            lambda torch, x, w, s=shape: (
                torch.nn.functional.rms_norm(x, s),
                torch.nn.functional.rms_norm(x, s, w),
                torch.nn.functional.rms_norm(x, s, w, 1e-2),
            ),
            {
                "plain": (floats(2, 3, 4), floats(*shape, seed=4)),
                "wrong": (floats(2, 3, 5), floats(*shape, seed=4)),
            },
        )
        for shape in ((4,), (3, 4))
    ],
    Row(
        "group_norm",
        lambda torch, x, w, b: (
            torch.nn.functional.group_norm(x, 2),
            torch.nn.functional.group_norm(x, 2, w, b),
            torch.nn.functional.group_norm(x, 4, w),
        ),
        {
            "plain": (floats(3, 4, 5), floats(4), floats(4, seed=6)),
            "no more axes": (floats(3, 8), floats(8), floats(8, seed=6)),
            "image": (floats(2, 4, 3, 3), floats(4), floats(4, seed=6)),
            "wrong": (floats(3, 5, 5), floats(5), floats(5, seed=6)),
        },
        tolerance=1e-4,
    ),
    *[
        Row(
            f"batch_norm {'training' if training else 'evaluation'}",
            lambda torch, x, w, b, m, v, t=training: (
                torch.nn.functional.batch_norm(x, None, None, training=True),
                torch.nn.functional.batch_norm(x, m.detach(), v.detach(), w, b, t, 0.3),
            ),
            {
                "rows": (floats(6, 4), floats(4), floats(4), *RUNNING),
                "axes": (floats(6, 4, 2), floats(4), floats(4), *RUNNING),
                "one row": (floats(1, 4), floats(4), floats(4), *RUNNING),
            },
        )
        for training in (False, True)
    ],
]


@each(ACTIVATIONS)
@pytest.mark.filterwarnings("ignore")
def test_activation(row: Row, backend: str) -> None:
    check(row, backend)


@each(CLASS_LOSSES)
@pytest.mark.filterwarnings("ignore")
def test_class_loss(row: Row, backend: str) -> None:
    check(row, backend)


@each(NUMBER_LOSSES)
@pytest.mark.filterwarnings("ignore")
def test_number_loss(row: Row, backend: str) -> None:
    check(row, backend)


@each(F_ROWS)
def test_function(row: Row, backend: str) -> None:
    check(row, backend)


@each(NORMS)
def test_normalization(row: Row, backend: str) -> None:
    check(row, backend)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_of_large_numbers_is_0_or_the_number(approximate: str) -> None:
    values = np.array([-1e10, -100.0, -6.0, 20.0, 1e10], np.float32)
    x = Tensor(np.repeat(values[:, None], 5000, 1), requires_grad=True)
    y = nn.functional.gelu(x, approximate=approximate)
    y.sum().backward()
    np.testing.assert_allclose(y.numpy()[:, 0], np.where(values < 0, 0, values), atol=1e-7)
    np.testing.assert_allclose(x.grad.numpy()[:, 0], values > 0, atol=1e-6)
