"""Lesson 09: functions of images equal PyTorch's in values, gradients and errors."""

import itertools
from typing import Any

import numpy as np
import pytest
from helpers import require
from parity import NAN, Row, check, each, floats, ints

import tinytorch
from tinytorch import Tensor
from tinytorch.nn import functional as F  # noqa: N812

INF = float("inf")


def named(function: str, *arguments: Any, **settings: Any) -> str:
    given = [*map(str, arguments), *(f"{k}={v}" for k, v in settings.items())]
    return f"{function}({', '.join(given)})"


def call(function: str, *arguments: Any, **settings: Any) -> Any:
    """A call of a function of torch.nn.functional with further arguments."""
    return lambda torch, *inputs: getattr(torch.nn.functional, function)(
        *inputs, *arguments, **settings
    )


# Convolution: the images and kernels that every combination of arguments is tried with.

IMAGES = {
    "plain": (floats(2, 4, 7, 6), floats(6, 4, 3, 2, seed=4), floats(6, seed=5)),
    "one image": (floats(4, 7, 6), floats(6, 4, 3, 2, seed=4), floats(6, seed=5)),
    "empty batch": (floats(0, 4, 7, 6), floats(6, 4, 3, 2, seed=4), floats(6, seed=5)),
    "float64": tuple(
        x.astype(np.float64)
        for x in (floats(2, 4, 7, 6), floats(6, 4, 3, 2, seed=4), floats(6, seed=5))
    ),
    "transposed": (floats(6, 7, 4, 2).T, floats(2, 3, 4, 6, seed=4).T, floats(6, seed=5)),
    "strided": (floats(4, 8, 7, 12)[::2, ::2, :, ::2], floats(6, 4, 3, 2), floats(6, seed=5)),
    "other channels": (floats(2, 3, 7, 6), floats(6, 4, 3, 2), floats(6)),
    "image smaller than the kernel": (floats(2, 4, 1, 6), floats(6, 4, 7, 2), floats(6)),
    "other bias": (floats(2, 4, 7, 6), floats(6, 4, 3, 2), floats(5)),
    "too few axes": (floats(4, 7), floats(6, 4, 3, 2), floats(6)),
    "too many axes": (floats(1, 2, 4, 7, 6), floats(6, 4, 3, 2), floats(6)),
    "kernel with too few axes": (floats(2, 4, 7, 6), floats(6, 4, 3), floats(6)),
}
GROUPED = {
    "plain": (floats(2, 4, 7, 6), floats(6, 2, 3, 3, seed=4), floats(6, seed=5)),
    "one image": (floats(4, 7, 6), floats(6, 2, 3, 3, seed=4), floats(6, seed=5)),
    "other channels": (floats(2, 5, 7, 6), floats(6, 2, 3, 3), floats(6)),
    "not divisible": (floats(2, 4, 7, 6), floats(5, 2, 3, 3), floats(5)),
}
SETTINGS: list[dict[str, Any]] = [
    {"stride": stride, "padding": padding, "dilation": dilation}
    for stride, padding, dilation in itertools.product((1, 2, (2, 3)), (0, 1, (2, 1)), (1, (1, 2)))
]
SETTINGS += [
    {"padding": "same"},
    {"padding": "same", "dilation": (1, 3)},
    {"padding": "valid", "stride": 2},
    {"padding": "same", "stride": 2},
    {"padding": "full"},
    {"stride": 0},
    {"padding": -1},
    {"dilation": 0},
    {"stride": (1, 1, 1)},
    {"stride": [1, 2]},
    {"stride": (2,)},
    {"stride": 1.5},
    {"padding": 9},
]
CHECKED = {"empty batch": "our arguments are checked for an empty batch too"}
WRONG: tuple[dict[str, Any], ...] = ({"dilation": 0}, {"stride": 2, "output_padding": 2})
CONV2D = [
    Row(named("conv2d", **s), call("conv2d", **s), IMAGES, differs=CHECKED if s in WRONG else {})
    for s in SETTINGS
]
CONV2D += [
    Row(named("conv2d", groups=2, **s), call("conv2d", groups=2, **s), GROUPED)
    for s in ({}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": "same"})
]
CONV2D += [
    Row(
        "conv2d without bias",
        lambda torch, x, w: torch.nn.functional.conv2d(x, w, None, 2, 1),
        {"plain": (floats(2, 3, 5, 5), floats(2, 3, 3, 3))},
    ),
    Row(
        "depthwise",
        lambda torch, x, w: torch.nn.functional.conv2d(x, w, padding=1, groups=3),
        {"plain": (floats(2, 3, 5, 5), floats(6, 1, 3, 3))},
    ),
    Row(
        "pointwise",
        lambda torch, x, w, b: torch.nn.functional.conv2d(x, w, b),
        {"plain": (floats(2, 3, 5, 5), floats(6, 3, 1, 1), floats(6))},
    ),
    Row(
        "conv2d of integers",
        lambda torch, x, w: torch.nn.functional.conv2d(x, w),
        {"plain": (ints(2, 3, 5, 5), ints(2, 3, 3, 3))},
        differs={"plain": "computed in float32, as linear is"},
    ),
]
SEQUENCES = {
    "plain": (floats(2, 4, 9), floats(6, 4, 3, seed=4), floats(6, seed=5)),
    "one sequence": (floats(4, 9), floats(6, 4, 3, seed=4), floats(6, seed=5)),
    "empty batch": (floats(0, 4, 9), floats(6, 4, 3), floats(6)),
    "even kernel": (floats(2, 4, 9), floats(6, 4, 4, seed=4), floats(6, seed=5)),
    "transposed": (floats(9, 4, 2).T, floats(3, 4, 6, seed=4).T, floats(6)),
    "short": (floats(2, 4, 2), floats(6, 4, 7), floats(6)),
    "an image": (floats(2, 4, 9, 9), floats(6, 4, 3), floats(6)),
}
CONV1D = [
    Row(named("conv1d", **s), call("conv1d", **s), SEQUENCES)
    for s in (
        {},
        {"stride": 2, "padding": 1},
        {"stride": (2,), "padding": [2], "dilation": 2},
        {"padding": "same", "dilation": 2},
        {"padding": "valid"},
        {"padding": "same", "stride": 2},
        {"stride": (1, 2)},
        {"groups": 3},
    )
]
MAPS = {
    "plain": (floats(2, 4, 5, 4), floats(4, 6, 3, 2, seed=4), floats(6, seed=5)),
    "one image": (floats(4, 5, 4), floats(4, 6, 3, 2, seed=4), floats(6, seed=5)),
    "empty batch": (floats(0, 4, 5, 4), floats(4, 6, 3, 2), floats(6)),
    "float64": tuple(
        x.astype(np.float64)
        for x in (floats(2, 4, 5, 4), floats(4, 6, 3, 2, seed=4), floats(6, seed=5))
    ),
    "transposed": (floats(4, 5, 4, 2).T, floats(2, 3, 6, 4, seed=4).T, floats(6, seed=5)),
    "other channels": (floats(2, 6, 5, 4), floats(4, 6, 3, 2), floats(6)),
    "other bias": (floats(2, 4, 5, 4), floats(4, 6, 3, 2), floats(4)),
    "too few axes": (floats(5, 4), floats(4, 6, 3, 2), floats(6)),
}
CONV_TRANSPOSE2D = [
    Row(
        named("conv_transpose2d", **s),
        call("conv_transpose2d", **s),
        MAPS,
        differs=CHECKED if s in WRONG else {},
    )
    for s in (
        {},
        {"stride": 2},
        {"stride": 2, "padding": 1},
        {"stride": 2, "padding": 1, "output_padding": 1},
        {"stride": (3, 2), "padding": (1, 0), "output_padding": (2, 1), "dilation": (2, 1)},
        {"dilation": 3, "output_padding": 2},
        {"stride": 2, "output_padding": 2},
        {"stride": 0},
        {"padding": -1},
        {"padding": (9, 0)},
    )
]
CONV_TRANSPOSE2D += [
    Row(
        named("conv_transpose2d", groups=2),
        call("conv_transpose2d", stride=2, padding=1, groups=2),
        {
            "plain": (floats(2, 4, 5, 4), floats(4, 3, 3, 3, seed=4), floats(6, seed=5)),
            "not divisible": (floats(2, 3, 5, 4), floats(3, 3, 3, 3), floats(6)),
        },
    )
]

# Pooling

POOLED = {
    "plain": (floats(2, 3, 8, 7),),
    "one image": (floats(3, 8, 7),),
    "empty batch": (floats(0, 3, 8, 7),),
    "float64": (floats(2, 3, 8, 7).astype(np.float64),),
    "transposed": (floats(7, 8, 3, 2).T,),
    "strided": (floats(4, 3, 16, 7)[::2, :, ::2],),
    "smaller than the kernel": (floats(2, 3, 1, 1),),
    "too few axes": (floats(8, 7),),
    "no channels": (floats(2, 0, 8, 7),),
}
MORE = {"no channels": "an empty result, as of adaptive_avg_pool2d"}
EQUAL = {
    "equal": (np.ones((2, 3, 8, 7), np.float32),),
    "few values": (np.round(floats(2, 3, 8, 7)),),
    "infinite": (np.full((1, 2, 8, 7), -INF, np.float32),),
    "NaN": (np.where(floats(2, 3, 8, 7) > 0.7, np.float32(NAN), floats(2, 3, 8, 7)),),
}
POOLS: list[tuple[Any, ...]] = [
    (2,),
    (3, 2),
    ((3, 2), (1, 2), 1),
    ((2, 3), None, (1, 0)),
    ([3],),
    (1,),
    (0,),
    (2, 0),
    (3, 2, 2),
    (3, 2, -1),
    ((2, 2, 2),),
]
FINITE = {k: v for k, v in POOLED.items() if k != "smaller than the kernel"}
MAX_POOL = [
    Row(named("max_pool2d", *a, **s), call("max_pool2d", *a, **s), inputs, more=MORE)
    for a, s, inputs in [  # with dilation PyTorch crashes where a kernel sees no finite number
        *((a, {}, {**POOLED, **EQUAL}) for a in POOLS),
        ((3, 2, 1), {"ceil_mode": True}, {**POOLED, **EQUAL}),
        ((2, 3, 1), {"ceil_mode": True, "dilation": 2}, FINITE),
        ((2,), {"dilation": (3, 2)}, FINITE),
        ((3, 1, 1, 2), {}, FINITE),
        ((2,), {"return_indices": True}, {**POOLED, **EQUAL}),
        ((3, (1, 2), 1), {"return_indices": True}, {**POOLED, **EQUAL}),
        (((2, 3), 2, 1, 2, True), {"return_indices": True}, FINITE),
    ]
]
AVG_POOL = [
    Row(named("avg_pool2d", *a, **s), call("avg_pool2d", *a, **s), POOLED, more=MORE)
    for a, s in [
        *((a, {}) for a in POOLS),
        ((3, 2, 1), {"ceil_mode": True}),
        ((3, 2, 1), {"count_include_pad": False}),
        (((2, 3), (3, 2), 1, True, False), {}),
        ((3, 2, 1, True, True), {"divisor_override": 2}),
        ((2,), {"divisor_override": -3}),
        ((2,), {"divisor_override": 0}),
    ]
]
ADAPTED = {k: v for k, v in POOLED.items() if k not in ("no channels", "too few axes")}
ADAPTIVE = [
    Row(named("adaptive_avg_pool2d", size), call("adaptive_avg_pool2d", size), ADAPTED)
    for size in (1, 2, (4, 7), (3, None), (None, 1), (5, 3), 9, (1, 2, 3), -1)
]

# Batch norm: further cases are in tests/nn/test_functional.py.

RUNNING = floats(3) * 0, np.abs(floats(3, seed=9))
NORMS = [
    Row(
        f"batch_norm {training} {momentum}",
        lambda torch, x, w, b, m, v, t=training, momentum=momentum: torch.nn.functional.batch_norm(
            x, m.detach(), v.detach(), w, b, t, momentum, 1e-3
        ),
        {
            "images": (floats(4, 3, 5, 4), floats(3), floats(3, seed=4), *RUNNING),
            "transposed": (floats(4, 5, 3, 4).T, floats(3), floats(3, seed=4), *RUNNING),
            "empty batch": (floats(0, 3, 5, 4), floats(3), floats(3), *RUNNING),
            "one pixel": (floats(1, 3, 1, 1), floats(3), floats(3), *RUNNING),
            "other channels": (floats(4, 2, 5, 4), floats(2), floats(2), *RUNNING),
            "other weight": (floats(4, 3, 5, 4), floats(2), floats(3), *RUNNING),
            "float64": tuple(
                x.astype(np.float64) for x in (floats(4, 3, 5, 4), floats(3), floats(3), *RUNNING)
            ),
        },
        tolerance=1e-4,
    )
    for training in (True, False)
    for momentum in (0.1, 1.0)
]


@each(CONV2D)
def test_conv2d(row: Row, backend: str) -> None:
    check(row, backend)


@each(CONV1D)
def test_conv1d(row: Row, backend: str) -> None:
    check(row, backend)


@each(CONV_TRANSPOSE2D)
def test_conv_transpose2d(row: Row, backend: str) -> None:
    check(row, backend)


@each(MAX_POOL)
def test_max_pool2d(row: Row, backend: str) -> None:
    check(row, backend)


@each(AVG_POOL)
def test_avg_pool2d(row: Row, backend: str) -> None:
    check(row, backend)


@each(ADAPTIVE)
def test_adaptive_avg_pool2d(row: Row, backend: str) -> None:
    check(row, backend)


@each(NORMS)
def test_batch_norm(row: Row, backend: str) -> None:
    check(row, backend)


@pytest.mark.parametrize(
    ("function", "facts"),
    [
        (lambda x, w: F.conv2d(x, w), ("conv2d", "(4, 3, 3, 3)", "(N, 3, H, W)", "(2, 2, 5, 5)")),
        (lambda x, w: F.conv2d(x[..., :2], w[:, :2]), ("kernel (3, 3)", "image (5, 2)")),
        (lambda x, w: F.conv2d(x, w[:, :2], Tensor([1.0])), ("bias (4,)", "(1,)")),
        (lambda x, w: F.conv2d(x, w, groups=3), ("divisible by groups=3", "(4, 3, 3, 3)")),
        (lambda x, w: F.conv2d(x, w[:, :2], padding="full"), ("'valid'", "'same'", "'full'")),
        (lambda x, w: F.conv2d(x, w[:, :2], stride=0), ("conv2d: stride", "at least 1", "0")),
        (lambda x, w: F.conv1d(x, w), ("conv1d", "(O, C / groups, KL)", "(4, 3, 3, 3)")),
        (lambda x, w: F.max_pool2d(x, 6), ("max_pool2d", "(6, 6)", "(5, 5)")),
        (lambda x, w: F.max_pool2d(x, 2, padding=2), ("padding (2, 2)", "half", "(2, 2)")),
        (lambda x, w: F.max_pool2d(x[0, 0], 2), ("(N, C, H, W)", "(5, 5)")),
        (lambda x, w: F.batch_norm(x, w, w), ("running_mean (2,)", "(4, 3, 3, 3)")),
    ],
)
def test_errors_name_the_function_the_shapes_and_what_is_needed(function: Any, facts: Any) -> None:
    with pytest.raises((ValueError, RuntimeError)) as caught:
        function(Tensor(floats(2, 2, 5, 5)), Tensor(floats(4, 3, 3, 3)))
    for fact in facts:
        assert fact in str(caught.value)


def test_a_convolution_is_a_sum_over_patches() -> None:
    x, w = floats(1, 2, 4, 5), floats(3, 2, 2, 2)
    y = F.conv2d(Tensor(x), Tensor(w), stride=(2, 1)).numpy()
    assert y.shape == (1, 3, 2, 4)
    for o, i, j in itertools.product(range(3), range(2), range(4)):
        patch = x[0, :, 2 * i : 2 * i + 2, j : j + 2]
        np.testing.assert_allclose(y[0, o, i, j], (patch * w[o]).sum(), rtol=1e-5)


def test_float16_is_computed_in_float32_and_rounded() -> None:
    x, w = Tensor(floats(2, 3, 6, 6)).half(), Tensor(floats(4, 3, 3, 3)).half()
    expected = F.conv2d(x.float(), w.float())
    result = F.conv2d(x, w)
    assert result.dtype == "float16"
    np.testing.assert_array_equal(result.numpy(), expected.half().numpy())


def test_second_arguments_are_not_changed(backend: str) -> None:
    """Kernels write neither to the inputs nor to the gradient."""
    x = Tensor(floats(3, 4, 8, 8), True, backend=backend)
    w = Tensor(floats(4, 4, 3, 3), True, backend=backend)
    before = x.numpy().copy(), w.numpy().copy()
    y = F.max_pool2d(F.conv2d(x, w, padding=1), 2)
    g = Tensor(floats(*y.shape), backend=backend)
    y.backward(g)
    np.testing.assert_array_equal(x.numpy(), before[0])
    np.testing.assert_array_equal(w.numpy(), before[1])
    np.testing.assert_array_equal(g.numpy(), floats(*y.shape))


def test_pytorch_has_no_more_arguments() -> None:
    """Positional arguments have PyTorch's order."""
    torch = require("torch")
    x, w, b = floats(2, 4, 9, 9), floats(6, 2, 3, 3), floats(6)
    for function, arguments in {
        "conv2d": (w, b, (2, 1), (1, 2), (1, 2), 2),
        "conv_transpose2d": (floats(4, 3, 3, 3), b, 2, 1, 1, 2, 3),
        "max_pool2d": (3, 2, 1, 2, True),
        "avg_pool2d": (3, 2, 1, True, False, 5),
    }.items():
        results = [
            getattr(library.nn.functional, function)(
                *(library.tensor(a) if isinstance(a, np.ndarray) else a for a in (x, *arguments))
            )
            for library in (tinytorch, torch)
        ]
        np.testing.assert_allclose(*(r.numpy() for r in results), rtol=1e-4, atol=1e-5)
